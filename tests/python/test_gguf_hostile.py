"""GGUF files that do not hold together: each refused with a sentence, at once."""

import os
import random
import struct
import time

import numpy as np
import pytest

import aotiny
from aotiny import gguf
from gguf_files import array, gguf_bytes, key, random_blocks, scalar, string, tensor

HUGE = 1 << 60
F32, Q4_K, IQ4_XS, U8, U32, STRING, ARRAY, BOOL = 0, 12, 23, 0, 4, 8, 9, 7
DATA = bytes(256)


def empties(depth: int) -> bytes:
    """Arrays in arrays, `depth` of them, the last without an element."""
    inner = struct.pack("<IQ", U8, 0)
    for _ in range(depth - 1):
        inner = struct.pack("<IQ", ARRAY, 1) + inner
    return struct.pack("<I", ARRAY) + inner


def one(*arguments, **named) -> bytes:
    return gguf_bytes([], [tensor(*arguments, **named)], DATA)


def aligned(value: bytes) -> bytes:
    return gguf_bytes([key("general.alignment", value)], [tensor("a", [4])], DATA)


HOSTILE = {
    "short": (b"GGU", r"the magic at byte 0 has 4 bytes, but the file ends at byte 3: 1 are"),
    "magic": (b"GGML" + bytes(60), r"it begins with b'GGML'"),
    "version 1": (gguf_bytes(version=1), "version 1 of GGUF is not one of 2 and 3"),
    "version 4": (gguf_bytes(version=4), "version 4 of GGUF"),
    "big-endian": (gguf_bytes(version=3 << 24), "a big-endian file"),
    "number of tensors": (
        gguf_bytes(counts=(1 << 63, 0)),
        r"9223372036854775808 tensors and 0 keys cannot lie in the 8 bytes",
    ),
    "number of keys": (gguf_bytes(counts=(0, 1 << 63)), r"0 tensors and 9223372036854775808 keys"),
    "both numbers": (gguf_bytes(counts=((1 << 64) - 1,) * 2), "cannot lie in"),
    "array of nothing": (
        gguf_bytes([key("k", array(STRING, HUGE))]),
        rf"the value of k is an array of {HUGE} elements, which take 8 bytes or more each",
    ),
    "array of arrays of nothing": (
        gguf_bytes([key("k", array(ARRAY, HUGE))]),
        rf"array of {HUGE} elements, which take 12 bytes or more",
    ),
    "array of bytes": (gguf_bytes([key("k", array(U8, HUGE))]), rf"array of {HUGE} elements"),
    "array of strings, the last too long": (
        gguf_bytes([key("k", array(STRING, 3, string("a") + string("") + struct.pack("<Q", 99)))]),
        r"element 2 of the value of k at byte \d+ has 99 bytes",
    ),
    "array of strings, one missing": (
        gguf_bytes([key("k", array(STRING, 2, string("a" * 30)))], alignment=1),
        r"the length of element 1 of the value of k at byte \d+ has 8 bytes, .* 8 are missing",
    ),
    "array type": (gguf_bytes([key("k", array(13, 1))]), "array of the unknown type 13"),
    "nesting": (gguf_bytes([key("k", empties(6))]), "arrays in arrays, more than 4 deep"),
    "value type": (gguf_bytes([key("k", struct.pack("<IQ", 99, 0))]), "of the unknown type 99"),
    "string": (
        gguf_bytes([key("k", struct.pack("<IQ", STRING, HUGE))]),
        rf"the value of k at byte \d+ has {HUGE} bytes, but the file ends at byte \d+",
    ),
    "key length": (gguf_bytes([struct.pack("<QQ", HUGE, 0)]), "key 0 has .* at most 65535"),
    "key not UTF-8": (gguf_bytes([key(b"\xff\xfe", scalar(U8, "B", 1))]), "key 0 .* is not UTF-8"),
    "key twice": (gguf_bytes([key("k", scalar(U8, "B", 1))] * 2), "the key k is there twice"),
    "boolean": (gguf_bytes([key("k", scalar(BOOL, "B", 2))]), "neither 0 nor 1"),
    "booleans": (gguf_bytes([key("k", array(BOOL, 3, b"\0\1\7"))]), "neither 0 nor 1"),
    "alignment 0": (aligned(scalar(U32, "I", 0)), "general.alignment is 0, not a power of two"),
    "alignment 4": (aligned(scalar(U32, "I", 4)), "general.alignment is 4"),
    "alignment 48": (aligned(scalar(U32, "I", 48)), "general.alignment is 48"),
    "alignment huge": (aligned(scalar(U32, "I", 1 << 31)), "general.alignment is 2147483648"),
    "alignment type": (aligned(scalar(10, "Q", 32)), r"type 10, not uint32 \(4\)"),
    "name length": (one("n" * 65, [4]), "the name of tensor 0 has 65 bytes, at most 64"),
    "name huge": (
        gguf_bytes([], [struct.pack("<Q", HUGE) + bytes(40)]),
        rf"the name of tensor 0 has {HUGE} bytes",
    ),
    "name not UTF-8": (one(b"\xc3\x28", [4]), "the name of tensor 0 .* is not UTF-8"),
    "name twice": (
        gguf_bytes([], [tensor("a", [4]), tensor("a", [4], offset=32)], DATA),
        "the tensor a is there twice",
    ),
    "no dimension": (one("a", []), "a has 0 dimensions, not 1 to 4"),
    "5 dimensions": (one("a", [1] * 5), "a has 5 dimensions"),
    "dimensions": (one("a", [4], num_dims=(1 << 32) - 1), "a has 4294967295 dimensions"),
    "dimension 0": (one("a", [4, 0]), r"a has shape \[0, 4\], without any element"),
    "product": (one("a", [1 << 62, 1 << 62]), r"a has shape \[4611686018427387904, 46.* too many"),
    "product 0 in 64 bits": (one("a", [1 << 32, 1 << 32]), "too many"),
    "product that wraps": (one("a", [(1 << 63) + 1, 2]), "too many"),
    "block": (one("a", [128, 2], kind=Q4_K), "type Q4_K with K = 128, which is not .* block, 256"),
    "type": (one("a", [4], kind=4), "a is of the unknown type 4"),
    "type 4294967295": (one("a", [4], kind=(1 << 32) - 1), "a is of the unknown type 4294967295"),
    "offset": (one("a", [4], offset=8), "a has offset 8, not a multiple of 32"),
    "offset outside": (one("a", [4], offset=512), "a ends at byte 592, .* 272 bytes are missing"),
    "offset huge": (one("a", [4], offset=1 << 63), "bytes are missing"),
    "overlap": (
        gguf_bytes([], [tensor("a", [16]), tensor("b", [4], offset=32)], DATA),
        "a ends at byte 160, but b begins at byte 128: they overlap",
    ),
    "truncated": (
        gguf_bytes([], [tensor("a", [64]), tensor("b", [64], offset=256)], bytes(500)),
        "b ends at byte 608, the file at byte 596: 12 bytes are missing",
    ),
}  # fmt: skip


def attempt(path) -> None:
    """Whatever the file, either all of it loads or aotiny.Error is raised."""
    try:
        with gguf.GGUFFile(path) as file:
            dict(file.metadata)
            for name in file:
                file[name]
    except aotiny.Error:
        pass


@pytest.mark.parametrize("case", HOSTILE)
def test_refused_at_once_with_the_numbers(case, tmp_path):
    content, text = HOSTILE[case]
    path = tmp_path / "hostile.gguf"
    path.write_bytes(content)
    for read in (gguf.check, gguf.GGUFFile, aotiny.load_gguf):
        start = time.process_time()
        with pytest.raises(aotiny.Error, match=text) as caught:
            read(path)
        assert time.process_time() - start < 0.2
        assert caught.value.name == "InvalidArgument"
        assert str(caught.value).startswith(f"{path}: ")
    with pytest.raises(aotiny.Error, match=text):
        gguf.check(content)


def test_an_array_of_arrays_within_bounds_is_read():
    inner = struct.pack("<IQ", U8, 2) + b"\1\2"
    values = struct.pack("<IQ", STRING, 1) + string("x")
    header = gguf.check(gguf_bytes([key("k", array(ARRAY, 2, inner + values))]))
    assert header.metadata["k"] == [[1, 2], ["x"]]


def test_a_million_empty_strings_take_no_longer_than_their_bytes():
    content = gguf_bytes([key("k", array(STRING, 1 << 20, bytes(8 << 20)))])
    start = time.process_time()
    assert len(gguf.check(content).metadata) == 1
    assert time.process_time() - start < 5


def test_a_string_value_that_is_not_utf8_is_told_when_it_is_asked_for():
    value = array(STRING, 2, string("fine") + string(b"\xff"))
    header = gguf.check(gguf_bytes([key("good", scalar(U32, "I", 7)), key("bad", value)]))
    assert header.metadata["good"] == 7
    assert "bad" in header.metadata
    with pytest.raises(
        aotiny.Error, match=r"element 1 of the value of bad at byte \d+ is not UTF-8"
    ):
        header.metadata["bad"]


def test_what_is_no_file(tmp_path):
    with pytest.raises(aotiny.Error, match=r"nothing\.gguf") as caught:
        aotiny.load_gguf(tmp_path / "nothing.gguf")
    assert caught.value.name == "NotFound"
    with pytest.raises(aotiny.Error, match="directory") as caught:
        aotiny.load_gguf(tmp_path)
    assert caught.value.name == "AccessFailed"
    empty = tmp_path / "empty.gguf"
    empty.write_bytes(b"")
    with pytest.raises(aotiny.Error, match=r"empty.gguf is empty"):
        aotiny.load_gguf(empty)
    pipe = tmp_path / "pipe.gguf"
    os.mkfifo(pipe)
    with pytest.raises(aotiny.Error, match="is not a regular file"):
        aotiny.load_gguf(pipe)


def test_types_and_shapes_that_no_weight_has(tmp_path):
    path = tmp_path / "other.gguf"
    path.write_bytes(gguf_bytes([], [
        tensor("plain", [4]),
        tensor("small", [256, 1], kind=IQ4_XS, offset=32),
        tensor("flat", [256], kind=Q4_K, offset=192),
    ], bytes(400)))  # fmt: skip
    assert list(gguf.check(path).tensors) == ["plain", "small", "flat"]
    with pytest.raises(
        aotiny.Error, match=r"small is of type IQ4_XS, which is none of Q4_0.* \(1 more like it\)"
    ) as caught:
        aotiny.load_gguf(path)
    assert caught.value.name == "NotSupported"
    with gguf.GGUFFile(path) as file:
        assert list(file.unsupported()) == ["small", "flat"]
        assert file["plain"].shape == (4,)
        with pytest.raises(
            aotiny.Error, match=r"flat is of type Q4_K with shape \[256\]; .* has 2"
        ):
            file["flat"]


def small_file() -> bytes:
    blocks = random_blocks("Q4_K", (2, 256), 1).tobytes()
    return gguf_bytes(
        [
            key("general.architecture", struct.pack("<I", STRING) + string("test")),
            key("general.alignment", scalar(U32, "I", 32)),
            key("tokens", array(STRING, 3, string("a") + string("") + string("ç"))),
            key("flags", array(BOOL, 2, b"\1\0")),
        ],
        [tensor("one", [256, 2], Q4_K), tensor("two", [3, 2], F32, 288)],
        blocks + np.arange(6, dtype=np.float32).tobytes(),
    )


def test_truncated_at_every_byte(tmp_path):
    content = small_file()
    path = tmp_path / "truncated.gguf"
    path.write_bytes(content)
    assert list(aotiny.load_gguf(path)) == ["one", "two"]
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(aotiny.Error, match=r"empty|missing|cannot lie in|are left"):
            aotiny.load_gguf(path)


def test_any_byte_changed_loads_or_is_refused(tmp_path):
    content = small_file()
    header_bytes = gguf.check(content).tensors["one"].offset
    path = tmp_path / "changed.gguf"
    rng = random.Random(0)
    for at in range(header_bytes):
        for value in {rng.randrange(256), content[at] ^ 1 << rng.randrange(8), 0, 255}:
            path.write_bytes(content[:at] + bytes([value]) + content[at + 1 :])
            attempt(path)


def test_any_few_bytes_changed_load_or_are_refused(tmp_path):
    content = small_file()
    path = tmp_path / "changed.gguf"
    rng = random.Random(1)
    for _ in range(500):
        changed = bytearray(content)
        for _ in range(rng.randrange(2, 20)):
            changed[rng.randrange(len(content))] = rng.choice([0, 1, 4, 8, 9, 127, 255])
        path.write_bytes(changed)
        attempt(path)
