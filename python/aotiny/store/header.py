"""The header of a safetensors file: which tensors it holds, and where.

Eight bytes give the length of the JSON text that follows (little endian); after it come the bytes
of the tensors, without holes. The text maps each name to dtype, shape and data_offsets (from the
end of the header), and "__metadata__" to strings.
"""

import json
import math
from collections.abc import Mapping
from typing import Any, NamedTuple, NoReturn

from ..errors import error

# The dtypes of the format that aotiny has too, by their names there, and the bytes of an element.
DTYPES = {
    "BOOL": ("bool", 1),
    "U8": ("uint8", 1),
    "I8": ("int8", 1),
    "F8_E5M2": ("float8_e5m2", 1),
    "F8_E4M3": ("float8_e4m3fn", 1),
    "F8_E5M2FNUZ": ("float8_e5m2fnuz", 1),
    "F8_E4M3FNUZ": ("float8_e4m3fnuz", 1),
    "U16": ("uint16", 2),
    "I16": ("int16", 2),
    "F16": ("float16", 2),
    "BF16": ("bfloat16", 2),
    "U32": ("uint32", 4),
    "I32": ("int32", 4),
    "F32": ("float32", 4),
    "U64": ("uint64", 8),
    "I64": ("int64", 8),
    "F64": ("float64", 8),
    "C64": ("complex64", 8),
}
ITEMSIZES = dict(DTYPES.values())
_CODES = {name: code for code, (name, _) in DTYPES.items()}

MAX_HEADER = 100_000_000  # bytes of JSON text; the limit of the safetensors package
ALIGNMENT = 64  # of the data in files that aotiny writes
_MAX_DIMS = 64
_MAX_INT = 2**63 - 1


class TensorInfo(NamedTuple):
    """A tensor of a file. `begin` is counted in bytes from the end of the header."""

    dtype: str  # aotiny's name
    shape: tuple[int, ...]
    begin: int

    @property
    def itemsize(self) -> int:
        return ITEMSIZES[self.dtype]

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.itemsize


class Header(NamedTuple):
    tensors: dict[str, TensorInfo]  # in the order of the text
    metadata: dict[str, str]
    data_begin: int  # where the header ends, in bytes from the beginning of the file


def quoted(text: str) -> str:
    """A name from a file, in one line of bounded length."""
    return repr(text if len(text) <= 80 else text[:77] + "...")


def strict_json(text: str) -> Any:
    """What a JSON text holds. Raises ValueError for what JSON leaves open: twice the same key,
    NaN, nesting without a bound, half of a surrogate pair."""

    def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
        found = dict(pairs)
        if len(found) < len(pairs):
            seen: set[str] = set()
            for key, _ in pairs:
                if key in seen:
                    raise ValueError(f"the key {quoted(key)} is there twice")
                seen.add(key)
        for key, value in pairs:
            key.encode()  # raises UnicodeEncodeError, a ValueError, on halves of pairs
            if isinstance(value, str):
                value.encode()
        return found

    def no_constant(name: str) -> NoReturn:
        raise ValueError(f"{name} is no JSON")

    try:
        return json.loads(text, object_pairs_hook=unique, parse_constant=no_constant)
    except RecursionError:
        raise ValueError("it nests too deep") from None


def read_header(file: memoryview, path: str) -> Header:
    """The header of a file of these bytes, every number checked against the others.

    Raises aotiny.Error, naming `path` and the tensor, for anything that the format does not allow.
    """
    size = len(file)
    if size < 8:
        raise error(f"{path} has {size} bytes; a safetensors file has at least 8")
    length = int.from_bytes(file[:8], "little")
    if length > MAX_HEADER:
        raise error(f"{path}: a header of {length} bytes; at most {MAX_HEADER} are read")
    if length > size - 8:
        raise error(f"{path}: a header of {length} bytes, but {size - 8} are left in the file")
    try:
        text = str(file[8 : 8 + length], "utf-8")
        if not text.startswith("{"):
            raise ValueError("it does not begin with {")
        entries = strict_json(text)
    except ValueError as failure:
        raise error(f"{path}: the header is no valid JSON: {failure}") from None
    assert isinstance(entries, dict)  # it begins with {

    metadata = entries.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(type(v) is str for v in metadata.values()):
        raise error(f"{path}: __metadata__ does not map strings to strings")
    tensors, regions = {}, []
    for name, entry in entries.items():
        info, end = _tensor_info(entry, f"{path}: tensor {quoted(name)}")
        tensors[name] = info
        regions.append((info.begin, end, name))
    _check_regions(regions, size - 8 - length, path)
    return Header(tensors, metadata, 8 + length)


def _is_size(value: object) -> bool:
    return type(value) is int and 0 <= value <= _MAX_INT


def _tensor_info(entry: object, where: str) -> tuple[TensorInfo, int]:
    """A tensor's entry, and where the tensor ends."""
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        found = quoted(", ".join(entry)) if isinstance(entry, dict) else type(entry).__name__
        raise error(f"{where} is described by {found}, not by dtype, shape and data_offsets")
    code, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(code, str) or code not in DTYPES:
        raise error(f"{where} has dtype {quoted(str(code))}, which aotiny does not have")
    if not isinstance(shape, list) or not all(map(_is_size, shape)):
        raise error(f"{where} has shape {quoted(str(shape))}, not a list of sizes below 2^63")
    if len(shape) > _MAX_DIMS:
        raise error(f"{where} has {len(shape)} dimensions, at most {_MAX_DIMS} are supported")
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(map(_is_size, offsets)):
        raise error(f"{where} has data_offsets {quoted(str(offsets))}, not two numbers from 0 on")
    begin, end = offsets
    if begin > end:
        raise error(f"{where} begins at {begin}, after its end at {end}")
    info = TensorInfo(DTYPES[code][0], tuple(shape), begin)
    # A size of 0 must not hide that the others are too many for 64 bits.
    if math.prod(size for size in shape if size) * info.itemsize > _MAX_INT:
        raise error(f"{where}: shape {shape} of {code} overflows 64 bits")
    if info.nbytes != end - begin:
        raise error(
            f"{where} has {end - begin} bytes ({begin} to {end}), but shape {shape} of {code} "
            f"needs {info.nbytes}"
        )
    return info, end


def _check_regions(regions: list[tuple[int, int, str]], data_size: int, path: str) -> None:
    """Raises unless the tensors follow each other and fill the data."""
    last, last_name = 0, ""
    for begin, end, name in sorted(regions):
        if begin < last:
            raise error(
                f"{path}: tensor {quoted(name)} begins at {begin}, inside of {quoted(last_name)}, "
                f"which ends at {last}"
            )
        if begin > last:
            raise error(
                f"{path}: a hole of {begin - last} bytes at {last}, before tensor {quoted(name)}"
            )
        last, last_name = end, name
    if last > data_size:
        raise error(
            f"{path}: tensor {quoted(last_name)} ends at {last}, {last - data_size} bytes after "
            f"the data, which has {data_size}"
        )
    if last < data_size:
        raise error(f"{path}: {data_size - last} bytes at {last} belong to no tensor")


def build_header(
    tensors: Mapping[str, tuple[str, tuple[int, ...]]], metadata: Mapping[str, str]
) -> tuple[bytes, Header]:
    """The first bytes of a file with tensors of these dtypes and shapes, and what they say.

    The data begins at a multiple of 64 bytes. Holes are not allowed, so tensors whose bytes are a
    multiple of 64 come first, all aligned to it, then the others by the size of their elements, all
    aligned to that.
    """
    infos = {name: TensorInfo(dtype, shape, 0) for name, (dtype, shape) in tensors.items()}
    order = sorted(
        infos, key=lambda name: (infos[name].nbytes % ALIGNMENT != 0, -infos[name].itemsize)
    )
    begin = 0
    for name in order:
        infos[name] = infos[name]._replace(begin=begin)
        begin += infos[name].nbytes
    if begin > _MAX_INT:
        raise error(f"{begin} bytes of tensors overflow 64 bits")
    entries: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    for name, info in infos.items():
        entries[name] = {
            "dtype": _CODES[info.dtype],
            "shape": list(info.shape),
            "data_offsets": [info.begin, info.begin + info.nbytes],
        }
    text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-(8 + len(text)) % ALIGNMENT)
    if len(text) > MAX_HEADER:
        raise error(f"a header of {len(text)} bytes; at most {MAX_HEADER} can be read")
    return len(text).to_bytes(8, "little") + text, Header(infos, dict(metadata), 8 + len(text))
