"""Writing a file, tensor by tensor."""

import contextlib
import os
from collections.abc import Mapping

from .._core import Error, Tensor, Weight
from ..errors import error, os_error, prefixed
from .header import ITEMSIZES, build_header, quoted
from .plan import (
    RESERVED,
    STORE_KEY,
    STORE_VERSION,
    WEIGHT_KEY,
    Plan,
    TensorPlan,
    WeightPlan,
    describe,
    plan_of,
)


class Writer:
    """Writes a file tensor by tensor, in any order; only the one at hand need be in memory.

        with Writer(path, {"a": WeightPlan("Int8", "A", (8, 64), 32)}) as writer:
            writer.write("a", weight)

    The plans give the header, which comes first. The file appears at `path` when the block ends
    with everything written, and not at all when it ends otherwise.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        plans: Mapping[str, Plan],
        metadata: Mapping[str, str] | None = None,
    ):
        self.path = os.path.realpath(os.fsdecode(path))
        self._plans = dict(plans)
        self._missing = dict.fromkeys(self._plans)  # names, in order
        try:
            self._first, header = build_header(*_layout(self._plans, metadata or {}))
        except Error as failure:
            raise prefixed(self.path, failure) from None
        self._tensors = header.tensors
        self._data_begin = header.data_begin
        self._file: int | None = None

    def __enter__(self) -> "Writer":
        if os.path.exists(self.path) and not os.path.isfile(self.path):
            raise error(f"{self.path} is not a regular file", "AccessFailed")
        folder = os.path.dirname(self.path)
        self._temporary = os.path.join(folder, f".aotiny-{os.urandom(8).hex()}.tmp")
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            self._file = os.open(self._temporary, flags, 0o666)
        except OSError as failure:
            raise os_error(self.path, failure) from None
        try:
            self._put(self._first, 0)
        except BaseException:
            self._abandon()
            raise
        return self

    def write(self, name: str, value: Weight | Tensor) -> None:
        """Writes one of the planned weights or tensors; raises aotiny.Error if it is another."""
        if self._file is None:
            raise error(f"{self.path} is written in a with block, and not after it", "InvalidState")
        if name not in self._missing:
            state = "written already" if name in self._plans else "not in the plan"
            raise error(f"{self.path}: {quoted(name)} is {state}")
        if plan_of(value) != self._plans[name]:
            raise error(
                f"{self.path}: {quoted(name)} is {plan_of(value)}, planned was {self._plans[name]}"
            )
        if isinstance(value, Weight):
            for plane, tensor in value.tensors().items():
                self._write_tensor(f"{name}.{plane}", tensor)
        else:
            self._write_tensor(name, value)
        del self._missing[name]

    def _write_tensor(self, name: str, tensor: Tensor) -> None:
        info = self._tensors[name]
        if info.nbytes:
            flat = tensor.contiguous().to("cpu").reshape([-1]).view("uint8")
            self._put(memoryview(flat), self._data_begin + info.begin)

    def _put(self, content: bytes | memoryview, where: int) -> None:
        assert self._file is not None
        try:
            rest = memoryview(content)
            while rest:
                written = os.pwrite(self._file, rest, where)
                rest, where = rest[written:], where + written
        except OSError as failure:
            raise os_error(self.path, failure) from None

    def _close(self) -> None:
        assert self._file is not None
        os.close(self._file)
        self._file = None

    def _abandon(self) -> None:
        self._close()
        with contextlib.suppress(OSError):
            os.unlink(self._temporary)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._abandon()
            return
        try:
            assert self._file is not None
            if self._missing:
                raise error(f"{self.path}: {quoted(next(iter(self._missing)))} was not written")
            os.fsync(self._file)  # or a crash could leave the name without the bytes
            os.replace(self._temporary, self.path)
        except OSError as failure:
            self._abandon()
            raise os_error(self.path, failure) from None
        except BaseException:
            self._abandon()
            raise
        self._close()


def _layout(
    plans: Mapping[str, Plan], metadata: Mapping[str, str]
) -> tuple[dict[str, tuple[str, tuple[int, ...]]], dict[str, str]]:
    """The tensors, {name: (dtype, shape)}, and the metadata of a file with these."""
    tensors: dict[str, tuple[str, tuple[int, ...]]] = {}
    owners: dict[str, str] = {}
    strings = _checked_strings(metadata)
    if any(isinstance(plan, WeightPlan) for plan in plans.values()):
        strings[STORE_KEY] = STORE_VERSION

    def add(tensor: str, dtype: str, shape: tuple[int, ...], owner: str) -> None:
        if dtype not in ITEMSIZES:
            raise error(f"{quoted(tensor)} is {dtype}, which safetensors has not", "InvalidType")
        if tensor in tensors or tensor == "__metadata__":
            raise error(
                f"{owner} and {owners.get(tensor, 'the metadata')} have one name, {quoted(tensor)}"
            )
        tensors[tensor], owners[tensor] = (dtype, shape), owner

    for name, plan in plans.items():
        _check_text(name, "a name")
        if isinstance(plan, TensorPlan):
            add(name, plan.dtype, plan.shape, f"tensor {quoted(name)}")
            continue
        for plane, (dtype, shape) in plan.planes().items():
            add(f"{name}.{plane}", dtype, shape, f"{plane} of weight {quoted(name)}")
        strings[WEIGHT_KEY + name] = describe(plan)
    return tensors, strings


def _checked_strings(metadata: Mapping[str, str]) -> dict[str, str]:
    for key, text in metadata.items():
        _check_text(key, "a key of metadata")
        _check_text(text, f"metadata {quoted(key)}")
        if key.startswith(RESERVED):
            raise error(f"metadata {quoted(key)}: keys that begin with {RESERVED!r} are aotiny's")
    return dict(metadata)


def _check_text(text: object, what: str) -> None:
    if not isinstance(text, str):
        raise error(
            f"{what} is {quoted(str(text))} of {type(text).__name__}, not a string", "InvalidType"
        )
    try:
        text.encode()
    except UnicodeEncodeError:
        raise error(f"{what}, {quoted(text)}, cannot be written as UTF-8") from None
