"""Files of weights and tensors that commands read: .safetensors and .gguf, seen alike."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

SUFFIXES = (".safetensors", ".gguf")


class Source:
    """A file by its suffix: names, with what is there before it is read, and reading it.

    Attributes:
        kind: "safetensors" or "gguf"
        version: of the store, None if it is none; or of GGUF
        metadata: the file's own keys and values
    """

    def __init__(self, path: str):
        suffix = Path(path).suffix.lower()
        if suffix not in SUFFIXES:
            raise ValueError(f"{path} is neither a .safetensors nor a .gguf file")
        self.kind = suffix[1:]
        if self.kind == "gguf":
            from aotiny.gguf import GGUFFile

            self._file: Any = GGUFFile(path)
            self._unsupported = self._file.unsupported()
        else:
            from aotiny.store import StoreFile

            self._file = StoreFile(path)
            self._unsupported = {}
        self.version = self._file.version
        self.metadata: Mapping[str, Any] = self._file.metadata

    def __iter__(self) -> Iterator[str]:
        return iter(self._file)

    def __getitem__(self, name: str):
        """The aotiny weight or Tensor."""
        return self._file[name]

    def plan(self, name: str):
        """A TensorPlan or a WeightPlan; raises aotiny.Error if aotiny cannot read the tensor."""
        return self._file.plan(name)

    def nbytes(self, name: str) -> int:
        """What it takes in the file."""
        return self._file.info(name).nbytes if self.kind == "gguf" else self.plan(name).nbytes

    def describe(self, name: str) -> dict[str, Any]:
        """The tensor in words and numbers, as JSON has them."""
        found: dict[str, Any] = {"name": name, "nbytes": self.nbytes(name)}
        if self.kind == "gguf":
            info = self._file.info(name)
            found |= {"shape": list(info.shape), "gguf_type": info.type}
        if name not in self._unsupported:
            plan = self.plan(name)
            found |= plan._asdict() | {"shape": list(plan.shape)}
            if "type" in found:
                found["bits_per_weight"] = plan.bits_per_weight
        return found
