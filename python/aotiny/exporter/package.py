"""The .pt2 archive: reading what AOTInductor wrote and adding the manifest."""

import json
import re
import zipfile
from pathlib import Path

MANIFEST = "extra/aotiny.json"

_CONSTANT = re.compile(r"constants_info_\[(\d+)\]\.(\w+) = (.*);")
_DTYPE = re.compile(r"cached_torch_dtype_(\w+)")
_DEVICE = re.compile(r"cached_torch_device_type_(\w+)")
_INPUT = re.compile(r"inputs_info_\[(\d+)\]\.name = ")
_OUTPUT = re.compile(r"outputs_info_\[(\d+)\]\.name = ")
_INTEGER = re.compile(r"-?\d+")


def _integers(braces: str) -> list[int]:
    return [int(number) for number in _INTEGER.findall(braces)]


class CompiledPackage:
    """What AOTInductor wrote: counts, constants, metadata and whether kernels use vectors."""

    def __init__(self, path: Path):
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            self.root = names[0].split("/", 1)[0]
            wrapper = archive.read(_only(names, ".wrapper.cpp")).decode()
            self.metadata = json.loads(archive.read(_only(names, ".wrapper_metadata.json")))
            kernels = [name for name in names if name.endswith(".kernel.cpp")]
            self.sources = [wrapper, *(archive.read(name).decode() for name in kernels)]
        self.num_inputs = len(set(_INPUT.findall(wrapper)))
        self.num_outputs = len(set(_OUTPUT.findall(wrapper)))
        self.constants = _constants(wrapper)

    @property
    def isa(self) -> str:
        return self.metadata.get("AOTI_CPU_ISA", "")

    @property
    def is_vectorized(self) -> bool:
        return any("at::vec::" in source for source in self.sources)


def _only(names: list[str], suffix: str) -> str:
    found = [name for name in names if name.endswith(suffix)]
    if len(found) != 1:
        raise RuntimeError(f"AOTInductor wrote {len(found)} entries *{suffix}, 1 expected")
    return found[0]


def _constants(wrapper: str) -> list[dict]:
    """The constants as the generated code lists them, without those folded from others."""
    fields: dict[int, dict[str, str]] = {}
    for index, field, value in _CONSTANT.findall(wrapper):
        fields.setdefault(int(index), {})[field] = value
    constants = []
    for index in sorted(fields):
        entry = fields[index]
        if entry["from_folded"] == "true":
            continue
        dtype = _DTYPE.fullmatch(entry["dtype"])
        if not dtype:
            raise RuntimeError(f"constant {index} has a dtype that reads {entry['dtype']!r}")
        device = _DEVICE.fullmatch(entry["device_type"])
        if not device:
            raise RuntimeError(
                f"constant {index} is on a device that reads {entry['device_type']!r}"
            )
        constants.append(
            {
                "name": json.loads(entry["name"]),
                "fqn": json.loads(entry["original_fqn"]),
                "dtype": dtype.group(1),
                "device": device.group(1),
                "shape": _integers(entry["shape"]),
                "strides": _integers(entry["stride"]),
                "bytes": int(entry["data_size"]),
            }
        )
    return constants


def add_manifest(path: Path, root: str, manifest: dict) -> None:
    """Appends the manifest to the archive, stored, as all its entries are."""
    with zipfile.ZipFile(path, "a", zipfile.ZIP_STORED) as archive:
        # A fixed date: equal input gives an equal archive.
        entry = zipfile.ZipInfo(f"{root}/{MANIFEST}", (1980, 1, 1, 0, 0, 0))
        archive.writestr(entry, json.dumps(manifest, separators=(",", ":")))
