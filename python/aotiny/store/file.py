"""Reading a file."""

import mmap
import os
import stat
from collections.abc import Iterator, Mapping
from typing import Any

from .. import _core
from .._core import Error, Tensor
from ..errors import error, os_error, prefixed
from .header import TensorInfo, quoted, read_header
from .plan import (
    RESERVED,
    STORE_KEY,
    STORE_VERSION,
    WEIGHT_KEY,
    Plan,
    TensorPlan,
    parse_weight,
)


class StoreFile(Mapping[str, Any]):
    """The weights and tensors of a safetensors file, by name, each made when it is asked for.

    Opening checks the header and everything that it says; file[name] checks the numbers of a
    weight's metadata. Errors are as load_file's.

    Attributes:
        path: str
        metadata: the file's own strings, those of the store left out
        version: of the store, or None for a file without weights
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.path = os.fsdecode(path)
        self._bytes = memoryview(_map(self.path))
        header = read_header(self._bytes, self.path)
        self._tensors = header.tensors
        self._data_begin = header.data_begin
        self.metadata = {
            key: text for key, text in header.metadata.items() if not key.startswith(RESERVED)
        }
        self.version = header.metadata.get(STORE_KEY)
        self._plans = self._read_plans(header.metadata)

    def plan(self, name: str) -> Plan:
        """What there is at this name, without reading it."""
        return self._plans[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._plans)

    def __len__(self) -> int:
        return len(self._plans)

    def __contains__(self, name: object) -> bool:
        return name in self._plans

    def __getitem__(self, name: str) -> Any:
        plan = self._plans[name]
        if isinstance(plan, TensorPlan):
            return self._tensor(name)
        planes = {plane: self._tensor(f"{name}.{plane}") for plane in plan.planes()}
        try:
            return getattr(_core, plan.type).from_tensors(group_size=plan.group_size, **planes)
        except Error as failure:
            raise prefixed(f"{self.path}: weight {quoted(name)}", failure) from None

    # Comparing values would read both files.
    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def _tensor(self, name: str) -> Tensor:
        info = self._tensors[name]
        begin = self._data_begin + info.begin
        part = self._bytes[begin : begin + info.nbytes]
        # Whatever is not 0 or 1 is a bool that compilers do not count on.
        if info.dtype == "bool" and part.tobytes().strip(b"\0\1"):
            raise error(f"{self.path}: tensor {quoted(name)} of BOOL has bytes that are not 0 or 1")
        flat = Tensor(part)
        if begin % info.itemsize:
            flat = flat.clone()
        return flat.view(info.dtype).reshape(info.shape)

    def _read_plans(self, metadata: Mapping[str, str]) -> dict[str, Plan]:
        """What the file holds, in the order of its tensors."""
        entries = {
            key.removeprefix(WEIGHT_KEY): text
            for key, text in metadata.items()
            if key.startswith(WEIGHT_KEY)
        }
        if self.version is None and entries:
            raise error(f"{self.path} describes {len(entries)} weights, but has no {STORE_KEY}")
        if self.version not in (None, STORE_VERSION):
            raise error(
                f"{self.path} is of store version {quoted(str(self.version))}; this aotiny reads "
                f"version {STORE_VERSION}",
                "NotSupported",
            )
        weights, owners = {}, {}
        for name, text in entries.items():
            where = f"{self.path}: weight {quoted(name)}"
            weights[name] = plan = parse_weight(text, where)
            try:
                planes = plan.planes()
            except Error as failure:
                raise prefixed(where, failure) from None
            for plane, (dtype, shape) in planes.items():
                _check_plane(self._tensors.get(f"{name}.{plane}"), plane, dtype, shape, where)
                owners[f"{name}.{plane}"] = name
        plans: dict[str, Plan] = {}
        for tensor, info in self._tensors.items():
            if tensor in owners:
                plans[owners[tensor]] = weights[owners[tensor]]
            elif tensor in weights:
                raise error(f"{self.path}: {quoted(tensor)} is both a weight and a tensor")
            else:
                plans[tensor] = TensorPlan(info.dtype, info.shape)
        return plans


def _map(path: str) -> mmap.mmap | bytes:
    """The bytes of a regular file."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            status = os.fstat(file)
            if not stat.S_ISREG(status.st_mode):
                raise error(f"{path} is not a regular file", "AccessFailed")
            return (
                mmap.mmap(file, status.st_size, access=mmap.ACCESS_READ) if status.st_size else b""
            )
        finally:
            os.close(file)
    except OSError as failure:
        raise os_error(path, failure) from None


def _check_plane(
    found: TensorInfo | None, plane: str, dtype: str, shape: tuple[int, ...], where: str
) -> None:
    if found is None:
        raise error(f"{where}: its tensor {plane} is missing")
    if found.dtype != dtype:
        raise error(f"{where}: {plane} has dtype {found.dtype}, not {dtype}", "InvalidType")
    if found.shape != shape:
        raise error(f"{where}: {plane} has shape {list(found.shape)}, not {list(shape)}")
