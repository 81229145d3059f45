"""The header of a GGUF file, checked: one pass, bounded by the file's size.

Layout, little-endian, as versions 2 and 3 have it:

    "GGUF", version uint32, number of tensors uint64, number of keys uint64
    each key:     string, type uint32, value
    each tensor:  string, number of dimensions uint32, dimensions uint64 (K first), type uint32,
                  offset in the data uint64
    padding to the alignment, then the data

A string is a uint64 length and that many bytes; an array is a type, a uint64 count and elements.
Every count and length is compared with the bytes that are left before anything is done for it.
"""

import struct
from collections.abc import Iterator, Mapping
from itertools import pairwise
from math import prod
from typing import Any, NamedTuple

from .._core import Error
from ..errors import error

DEFAULT_ALIGNMENT = 32
MAX_ALIGNMENT = 1 << 20
MAX_KEY_BYTES = 65535
MAX_NAME_BYTES = 64
MAX_NESTING = 4  # of arrays in arrays
MAX_DIMS = 4

_U32, _U64 = struct.Struct("<I"), struct.Struct("<Q")

STRING, ARRAY, BOOL = 8, 9, 7
_SCALARS = {  # type -> struct format
    0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", BOOL: "?", 10: "Q", 11: "q", 12: "d",
}  # fmt: skip
_LEAST_BYTES = {**{t: struct.calcsize(f) for t, f in _SCALARS.items()}, STRING: 8, ARRAY: 12}

# type number -> name, weights in a block, bytes of a block. Also those that aotiny cannot load:
# where a tensor ends is checked before anybody asks for it.
TENSOR_TYPES = {
    0: ("F32", 1, 4), 1: ("F16", 1, 2), 2: ("Q4_0", 32, 18), 3: ("Q4_1", 32, 20),
    6: ("Q5_0", 32, 22), 7: ("Q5_1", 32, 24), 8: ("Q8_0", 32, 34), 9: ("Q8_1", 32, 40),
    10: ("Q2_K", 256, 84), 11: ("Q3_K", 256, 110), 12: ("Q4_K", 256, 144), 13: ("Q5_K", 256, 176),
    14: ("Q6_K", 256, 210), 15: ("Q8_K", 256, 292), 16: ("IQ2_XXS", 256, 66),
    17: ("IQ2_XS", 256, 74), 18: ("IQ3_XXS", 256, 98), 19: ("IQ1_S", 256, 50),
    20: ("IQ4_NL", 32, 18), 21: ("IQ3_S", 256, 110), 22: ("IQ2_S", 256, 82),
    23: ("IQ4_XS", 256, 136), 24: ("I8", 1, 1), 25: ("I16", 1, 2), 26: ("I32", 1, 4),
    27: ("I64", 1, 8), 28: ("F64", 1, 8), 29: ("IQ1_M", 256, 56), 30: ("BF16", 1, 2),
    34: ("TQ1_0", 256, 54), 35: ("TQ2_0", 256, 66), 39: ("MXFP4", 32, 17), 40: ("NVFP4", 64, 36),
    41: ("Q1_0", 128, 18),
}  # fmt: skip


class TensorInfo(NamedTuple):
    """What a file says of a tensor."""

    type: str  # "Q4_K"
    shape: tuple[int, ...]  # as aotiny orders it: [..., N, K]
    offset: int  # of its first byte in the file
    nbytes: int


class Header(NamedTuple):
    """A header that holds together. Dicts are in the file's order."""

    version: int
    alignment: int
    metadata: Mapping[str, Any]
    tensors: dict[str, TensorInfo]


class _Cursor:
    """Reads a buffer from front to back and never beyond its end."""

    def __init__(self, data: Any, size: int, name: str, at: int = 0) -> None:
        self.data, self.size, self.name, self.at = data, size, name, at

    def fail(self, text: str) -> Error:
        return error(f"{self.name}: {text}")

    def take(self, count: int, what: str) -> int:
        """Where the next `count` bytes begin; they are passed over."""
        begin = self.at
        if count > self.size - begin:
            raise self.fail(
                f"{what} at byte {begin} has {count} bytes, but the file ends at byte "
                f"{self.size}: {count - (self.size - begin)} are missing"
            )
        self.at = begin + count
        return begin

    def u32(self, what: str) -> int:
        return int(_U32.unpack_from(self.data, self.take(4, what))[0])

    def u64(self, what: str) -> int:
        return int(_U64.unpack_from(self.data, self.take(8, what))[0])

    def string(self, what: str, most: int | None = None) -> str:
        length = self.u64(f"the length of {what}")
        if most is not None and length > most:
            raise self.fail(f"{what} has {length} bytes, at most {most} are allowed")
        begin = self.take(length, what)
        try:
            return str(self.data[begin : self.at], "utf-8")
        except UnicodeDecodeError as failure:
            raise self.fail(f"{what} at byte {begin} is not UTF-8: {failure.reason}") from None

    def array(self, what: str) -> tuple[int, int]:
        """The type and the number of the elements that follow."""
        kind, count = self.u32(f"the type of {what}"), self.u64(f"the count of {what}")
        if kind not in _LEAST_BYTES:
            raise self.fail(f"{what} is an array of the unknown type {kind}")
        left = self.size - self.at
        if count > left // _LEAST_BYTES[kind]:
            raise self.fail(
                f"{what} is an array of {count} elements, which take {_LEAST_BYTES[kind]} bytes "
                f"or more each; {left} bytes are left"
            )
        return kind, count

    def skip(self, kind: int, what: str, nesting: int = 0) -> None:
        """Passes over a value, checking all that reading it will rely on but UTF-8."""
        if kind == STRING:
            self.take(self.u64(f"the length of {what}"), what)
        elif kind == ARRAY:
            if nesting == MAX_NESTING:
                raise self.fail(f"{what} has arrays in arrays, more than {MAX_NESTING} deep")
            inner, count = self.array(what)
            if inner == STRING:
                self.skip_strings(count, what)
            elif inner == ARRAY:
                for _ in range(count):
                    self.skip(ARRAY, what, nesting + 1)
            else:
                self.skip_scalars(inner, count, what)
        elif kind in _SCALARS:
            self.skip_scalars(kind, 1, what)
        else:
            raise self.fail(f"{what} is of the unknown type {kind}")

    def skip_strings(self, count: int, what: str) -> None:
        # A vocabulary has hundreds of thousands: the checks of take() in one loop.
        data, size, at, unpack = self.data, self.size, self.at, _U64.unpack_from
        for index in range(count):
            length = unpack(data, at)[0] if size - at >= 8 else size
            if length > size - at - 8:
                self.at = at
                self.skip(STRING, f"element {index} of {what}")  # fails, with the numbers
            at += 8 + length
        self.at = at

    def skip_scalars(self, kind: int, count: int, what: str) -> None:
        begin = self.take(count * _LEAST_BYTES[kind], what)
        if kind == BOOL and bytes(self.data[begin : self.at]).strip(b"\0\1"):
            raise self.fail(f"{what} at byte {begin} has a boolean that is neither 0 nor 1")

    def value(self, kind: int, what: str) -> Any:
        """A value that skip() has passed, as Python's numbers, strings and lists."""
        if kind == STRING:
            return self.string(what)
        if kind != ARRAY:
            form = f"<{_SCALARS[kind]}"
            return struct.unpack_from(form, self.data, self.take(struct.calcsize(form), what))[0]
        inner, count = self.array(what)
        if inner in _SCALARS:
            begin = self.take(count * _LEAST_BYTES[inner], what)
            return list(struct.unpack_from(f"<{count}{_SCALARS[inner]}", self.data, begin))
        return [self.value(inner, f"element {index} of {what}") for index in range(count)]


class _Metadata(Mapping[str, Any]):
    """Keys with values that are read when they are asked for, and then kept."""

    def __init__(self, cursor: _Cursor, places: dict[str, tuple[int, int]]) -> None:
        self._cursor, self._places = cursor, places
        self._values: dict[str, Any] = {}

    def __getitem__(self, key: str) -> Any:
        kind, at = self._places[key]
        if key not in self._values:
            source = self._cursor
            cursor = _Cursor(source.data, source.size, source.name, at)
            self._values[key] = cursor.value(kind, f"the value of {key}")
        return self._values[key]

    def __contains__(self, key: object) -> bool:
        return key in self._places

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


def _read_counts(cursor: _Cursor) -> tuple[int, int, int]:
    """The version and the numbers of tensors and keys."""
    magic = bytes(cursor.data[cursor.take(4, "the magic") : cursor.at])
    if magic != b"GGUF":
        raise cursor.fail(f"no GGUF file: it begins with {magic!r}, not with b'GGUF'")
    version = cursor.u32("the version")
    if version & 0xFFFF == 0:
        raise cursor.fail(f"the version is {version:#010x}: a big-endian file, only little-endian")
    if version not in (2, 3):
        raise cursor.fail(f"version {version} of GGUF is not one of 2 and 3")
    num_tensors, num_keys = cursor.u64("the number of tensors"), cursor.u64("the number of keys")
    left = cursor.size - cursor.at
    if num_tensors * 32 + num_keys * 13 > left:  # of one dimension, of one byte
        raise cursor.fail(
            f"{num_tensors} tensors and {num_keys} keys cannot lie in the {left} bytes that "
            "follow their numbers"
        )
    return version, num_tensors, num_keys


def _read_keys(cursor: _Cursor, count: int) -> dict[str, tuple[int, int]]:
    places: dict[str, tuple[int, int]] = {}
    for index in range(count):
        key = cursor.string(f"key {index}", MAX_KEY_BYTES)
        if key in places:
            raise cursor.fail(f"the key {key} is there twice")
        kind = cursor.u32(f"the type of {key}")
        places[key] = kind, cursor.at
        cursor.skip(kind, f"the value of {key}")
    return places


def _read_alignment(cursor: _Cursor, places: dict[str, tuple[int, int]]) -> int:
    key = "general.alignment"
    if key not in places:
        return DEFAULT_ALIGNMENT
    kind, at = places[key]
    if kind != 4:
        raise cursor.fail(f"{key} is of type {kind}, not uint32 (4)")
    alignment = int(_U32.unpack_from(cursor.data, at)[0])
    if not 8 <= alignment <= MAX_ALIGNMENT or alignment & (alignment - 1):
        raise cursor.fail(f"{key} is {alignment}, not a power of two from 8 to {MAX_ALIGNMENT}")
    return alignment


def _read_tensor(cursor: _Cursor, index: int, alignment: int) -> tuple[str, TensorInfo]:
    """A tensor's entry, its offset still counted from the data's begin."""
    name = cursor.string(f"the name of tensor {index}", MAX_NAME_BYTES)
    num_dims = cursor.u32(f"the number of dimensions of {name}")
    if not 1 <= num_dims <= MAX_DIMS:
        raise cursor.fail(f"{name} has {num_dims} dimensions, not 1 to {MAX_DIMS}")
    begin = cursor.take(8 * num_dims, f"the shape of {name}")
    shape = struct.unpack_from(f"<{num_dims}Q", cursor.data, begin)[::-1]
    kind = cursor.u32(f"the type of {name}")
    offset = cursor.u64(f"the offset of {name}")
    if kind not in TENSOR_TYPES:
        raise cursor.fail(f"{name} is of the unknown type {kind}")
    type_name, block, block_bytes = TENSOR_TYPES[kind]
    if 0 in shape:
        raise cursor.fail(f"{name} has shape {list(shape)}, without any element")
    if shape[-1] % block:
        raise cursor.fail(
            f"{name} is of type {type_name} with K = {shape[-1]}, which is not a multiple of its "
            f"block, {block}"
        )
    nbytes = prod(shape) // block * block_bytes
    if nbytes >= 1 << 63:
        raise cursor.fail(f"{name} has shape {list(shape)}: {nbytes} bytes are too many")
    if offset % alignment:
        raise cursor.fail(f"{name} has offset {offset}, not a multiple of {alignment}")
    return name, TensorInfo(type_name, shape, offset, nbytes)


def _check_places(cursor: _Cursor, tensors: dict[str, TensorInfo]) -> None:
    """Every tensor inside the file, and no byte in two of them."""
    ordered = sorted(tensors.items(), key=lambda item: item[1].offset)
    if ordered:
        name, last = max(ordered, key=lambda item: item[1].offset + item[1].nbytes)
        end = last.offset + last.nbytes
        if end > cursor.size:
            raise cursor.fail(
                f"{name} ends at byte {end}, the file at byte {cursor.size}: "
                f"{end - cursor.size} bytes are missing"
            )
    for (name, one), (other, two) in pairwise(ordered):
        if one.offset + one.nbytes > two.offset:
            raise cursor.fail(
                f"{name} ends at byte {one.offset + one.nbytes}, but {other} begins at byte "
                f"{two.offset}: they overlap"
            )


def read_header(data: Any, name: str) -> Header:
    """The header of a GGUF file in a buffer of bytes (bytes, an mmap, a memoryview).

    `name` is what errors call it. Raises aotiny.Error for whatever does not hold together, with
    the key or tensor and the numbers.
    """
    cursor = _Cursor(data, len(data), name)
    version, num_tensors, num_keys = _read_counts(cursor)
    places = _read_keys(cursor, num_keys)
    alignment = _read_alignment(cursor, places)
    tensors: dict[str, TensorInfo] = {}
    for index in range(num_tensors):
        tensor_name, info = _read_tensor(cursor, index, alignment)
        if tensor_name in tensors:
            raise cursor.fail(f"the tensor {tensor_name} is there twice")
        tensors[tensor_name] = info
    start = -(-cursor.at // alignment) * alignment
    tensors = {key: info._replace(offset=start + info.offset) for key, info in tensors.items()}
    _check_places(cursor, tensors)
    return Header(version, alignment, _Metadata(cursor, places), tensors)
