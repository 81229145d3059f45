"""Files of weights and tensors that commands read: .safetensors and .gguf, seen alike."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

SUFFIXES = (".safetensors", ".gguf")


def open_source(path: str) -> "Source":
    """The file, by its suffix."""
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"{path} is neither a .safetensors nor a .gguf file")
    return GGUFSource(path) if suffix == ".gguf" else StoreSource(path)


class Source:
    """Names, with what is there before it is read, and reading it."""

    kind: str
    version: object  # of the format of the file
    metadata: dict[str, Any]

    def __iter__(self) -> Iterator[str]:
        raise NotImplementedError

    def plan(self, name: str):
        """A TensorPlan or a WeightPlan; raises aotiny.Error if aotiny cannot read the tensor."""
        raise NotImplementedError

    def nbytes(self, name: str) -> int:
        """What it takes in the file."""
        return self.plan(name).nbytes

    def __getitem__(self, name: str):
        """The aotiny weight or Tensor."""
        raise NotImplementedError

    def describe(self, name: str) -> dict[str, Any]:
        """The tensor in words and numbers, as JSON has them."""
        from aotiny.store import TensorPlan

        plan = self.plan(name)
        found: dict[str, Any] = {"name": name, "shape": list(plan.shape)}
        if isinstance(plan, TensorPlan):
            return found | {"dtype": plan.dtype, "nbytes": self.nbytes(name)}
        return found | {
            "type": plan.type,
            "variant": plan.variant,
            "group_size": plan.group_size,
            "bits_per_weight": plan.bits_per_weight,
            "nbytes": self.nbytes(name),
        }


class StoreSource(Source):
    kind = "safetensors"

    def __init__(self, path: str):
        from aotiny.store import StoreFile

        self._file = StoreFile(path)
        self.version = self._file.version
        self.metadata = self._file.metadata

    def __iter__(self) -> Iterator[str]:
        return iter(self._file)

    def plan(self, name: str):
        return self._file.plan(name)

    def __getitem__(self, name: str):
        return self._file[name]


class GGUFSource(Source):
    kind = "gguf"

    def __init__(self, path: str):
        from aotiny.gguf import GGUFFile

        self._file = GGUFFile(path)
        self._unsupported = self._file.unsupported()
        self.version = self._file.version

    @property
    def metadata(self) -> dict[str, Any]:
        return dict(self._file.metadata)

    def __iter__(self) -> Iterator[str]:
        return iter(self._file)

    def plan(self, name: str):
        from aotiny._core import gguf_types
        from aotiny.errors import error
        from aotiny.gguf import DENSE_TYPES
        from aotiny.store import TensorPlan, WeightPlan

        if name in self._unsupported:
            text = f"{self._file.path}: {name} {self._unsupported[name]}"
            raise error(text, "NotSupported")
        info = self._file.info(name)
        if info.type in DENSE_TYPES:
            return TensorPlan(DENSE_TYPES[info.type], info.shape)
        type, variant, group_size = gguf_types()[info.type]
        return WeightPlan(type, variant, info.shape, group_size)

    def nbytes(self, name: str) -> int:
        return self._file.info(name).nbytes

    def __getitem__(self, name: str):
        return self._file[name]

    def describe(self, name: str) -> dict[str, Any]:
        info = self._file.info(name)
        if name in self._unsupported:  # shown all the same
            found = {"name": name, "shape": list(info.shape), "nbytes": info.nbytes}
        else:
            found = super().describe(name)
        return found | {"gguf_type": info.type}
