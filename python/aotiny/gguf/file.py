"""GGUF files as weights and tensors."""

import mmap
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from io import FileIO
from typing import Any

from .._core import Error, Tensor, gguf_types, read_gguf
from ..errors import error, os_error, prefixed
from ..store.plan import Plan, TensorPlan, WeightPlan
from .header import Header, TensorInfo, read_header

# GGUF types that are mapped as they are, and their dtypes.
DENSE_TYPES = {
    "F32": "float32", "F16": "float16", "BF16": "bfloat16", "F64": "float64",
    "I8": "int8", "I16": "int16", "I32": "int32", "I64": "int64",
}  # fmt: skip


_QUANTIZED = gguf_types()


def _open(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # which does not wait for a pipe's other end


def _map(path: str) -> tuple[FileIO, mmap.mmap]:
    """The open file and its bytes. Fails with the path unless it is a file with something in it."""
    try:
        file = FileIO(path, "rb", opener=_open)
    except OSError as failure:
        raise os_error(path, failure) from None
    try:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise error(f"{path} is not a regular file", "AccessFailed")
        if status.st_size == 0:
            raise error(f"{path} is empty, no GGUF file")
        return file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as failure:
        file.close()
        raise os_error(path, failure) from None
    except BaseException:
        file.close()
        raise


def _reason(info: TensorInfo) -> str:
    """Why a tensor cannot be loaded; "" if it can."""
    if info.type in DENSE_TYPES:
        return ""
    if info.type not in _QUANTIZED:
        known = ", ".join([*_QUANTIZED, *DENSE_TYPES])
        return f"is of type {info.type}, which is none of {known}"
    if len(info.shape) not in (2, 3):
        return (
            f"is of type {info.type} with shape {list(info.shape)}; a quantized weight has 2 "
            "dimensions, a stack of them 3"
        )
    return ""


def check(source: str | os.PathLike[str] | bytes | mmap.mmap | memoryview) -> Header:
    """Checks a GGUF file without loading anything: time and memory are bounded by its header.

    Args:
        source: a path, or the file's bytes

    Returns the header: version, alignment, metadata (a mapping whose values are read when they are
    asked for) and tensors, name -> TensorInfo(type, shape, offset, nbytes), in the file's order.
    Raises aotiny.Error, with the key or tensor and the numbers, for what does not hold together.
    """
    if isinstance(source, bytes | mmap.mmap | memoryview):
        return read_header(source, "GGUF bytes")
    path = os.fsdecode(source)
    file, data = _map(path)
    with file:
        return read_header(data, path)


class GGUFFile(Mapping[str, Any]):
    """A GGUF file: tensor names to weights and tensors, which are read when they are asked for.

        with GGUFFile("model.gguf") as file:
            weight = file["blk.0.ffn_up.weight"]

    Quantized tensors become aotiny weights with the same values, bit for bit; they need no file
    any more. Others are aotiny.Tensors, read-only, that share the mapped file, which must not
    shrink; they stay valid when the GGUFFile is closed. Shapes are [..., N, K], GGUF's dimensions
    reversed. One object serves any number of threads, until it is closed.

    Raises aotiny.Error for a file that does not hold together, when it is opened.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fsdecode(path)
        self._file, data = _map(self.path)
        try:
            self._header = read_header(data, self.path)
        except BaseException:
            self._file.close()
            raise
        self._bytes: Tensor | None = Tensor(data)

    @property
    def version(self) -> int:
        return self._header.version

    @property
    def metadata(self) -> Mapping[str, Any]:
        """Keys to Python numbers, strings and lists, which are read when they are asked for.

        Reading one raises aotiny.Error if it has a string that is not UTF-8.
        """
        return self._header.metadata

    def info(self, name: str) -> TensorInfo:
        """The GGUF type ('Q4_K'), the shape [..., N, K], offset and nbytes in the file."""
        return self._header.tensors[name]

    def plan(self, name: str) -> Plan:
        """What file[name] will make: type, variant, shape and group size, or dtype and shape.

        Raises aotiny.Error for a tensor that cannot be loaded.
        """
        info = self._header.tensors[name]
        reason = _reason(info)
        if reason:
            raise error(f"{self.path}: {name} {reason}", "NotSupported")
        if info.type in DENSE_TYPES:
            return TensorPlan(DENSE_TYPES[info.type], info.shape)
        type, variant, group_size = _QUANTIZED[info.type]
        return WeightPlan(type, variant, info.shape, group_size)

    def unsupported(self) -> dict[str, str]:
        """The tensors that cannot be loaded, and why."""
        reasons = {name: _reason(info) for name, info in self._header.tensors.items()}
        return {name: reason for name, reason in reasons.items() if reason}

    def __getitem__(self, name: str) -> Any:
        info = self._header.tensors[name]
        if self._bytes is None:
            raise error(f"{self.path} is closed")
        if info.type in DENSE_TYPES:
            data = self._bytes[info.offset : info.offset + info.nbytes]
            return data.view(DENSE_TYPES[info.type]).reshape(info.shape)
        self.plan(name)  # or there is none
        try:
            return read_gguf(self._file.fileno(), info.offset, info.type, info.shape)
        except Error as failure:
            raise prefixed(f"{self.path}: {name}", failure) from None

    def __contains__(self, name: object) -> bool:
        return name in self._header.tensors

    def __iter__(self) -> Iterator[str]:
        return iter(self._header.tensors)

    def __len__(self) -> int:
        return len(self._header.tensors)

    # Comparing values would load both files.
    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def close(self) -> None:
        self._bytes = None
        self._file.close()

    def __enter__(self) -> "GGUFFile":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            self._file.close()


def load_gguf(
    path: str | os.PathLike[str],
    progress: Callable[[int, int], object] | None = None,
    device: str = "cpu",
) -> dict[str, Any]:
    """All tensors of a GGUF file, name -> weight or aotiny.Tensor, in the file's order.

    Args:
        path: the file. It must not shrink while tensors that are not quantized are in use: they
            share its mapping. A part of a split model is a file like any other.
        progress: called after each tensor with (bytes of the file done, bytes in all)
        device: where they shall be, "cpu", "cuda" or "cuda:N"; those for another device than the
            CPU are made on the CPU one after another and copied, and share no file

    Q4_K becomes ExactInt4, Q5_K ExactInt5, Q6_K PlanarInt6, Q8_0 Int8 and Q4_0 CoalescedInt4, each
    with the same values bit for bit; F32, F16, BF16, F64 and integers become Tensors. Raises
    aotiny.Error before anything is loaded, naming the tensor, if one has another type.
    """
    with GGUFFile(path) as file:
        unsupported = file.unsupported()
        for name, reason in unsupported.items():
            others = f" ({len(unsupported) - 1} more like it)" if len(unsupported) > 1 else ""
            raise error(
                f"{file.path}: {name} {reason}{others}; aotiny.gguf.GGUFFile loads the others one "
                "by one",
                "NotSupported",
            )
        total = sum(file.info(name).nbytes for name in file)
        done, loaded = 0, {}
        for name in file:
            loaded[name] = file[name].to(device)
            done += file.info(name).nbytes
            if progress is not None:
                progress(done, total)
        return loaded
