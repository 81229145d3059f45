"""Files that are damaged, or made to harm: each is refused with names and numbers."""

import json
import os
import random
import time

import numpy as np
import pytest
import torch

import aotiny
from aotiny.store import StoreFile


def file_of(path, text, data: bytes = b"", length: int | None = None):
    """A file with this header, which need not be one."""
    if not isinstance(text, str | bytes):
        text = json.dumps(text)
    if isinstance(text, str):
        text = text.encode()
    length = len(text) if length is None else length
    path.write_bytes(length.to_bytes(8, "little") + text + data)
    return path


def entry(dtype="F32", shape=(2, 3), begin=0, end=24, **more) -> dict:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end], **more}


def refusal(path, name: str = "InvalidArgument") -> str:
    begin = time.process_time()
    with pytest.raises(aotiny.Error) as raised:
        aotiny.load_file(path)
    assert time.process_time() - begin < 5
    text = str(raised.value)
    assert text.startswith(str(path)) and "\n" not in text and len(text) < 1000
    assert raised.value.name == name
    return text.removeprefix(str(path))


def test_what_is_no_file(tmp_path):
    assert "No such file" in refusal(tmp_path / "missing", "NotFound")
    assert "not a regular file" in refusal(tmp_path, "AccessFailed")
    os.mkfifo(tmp_path / "pipe")
    assert "not a regular file" in refusal(tmp_path / "pipe", "AccessFailed")
    (tmp_path / "empty").touch()
    assert refusal(tmp_path / "empty") == (" has 0 bytes; a safetensors file has at least 8")


@pytest.mark.parametrize(
    ("text", "length", "said"),
    [
        ("{}", 3, "a header of 3 bytes, but 2 are left in the file"),
        ("{}", 100_000_001, "a header of 100000001 bytes; at most 100000000 are read"),
        ("{}", 2**64 - 1, "a header of 18446744073709551615 bytes; at most"),
        ("{}", 0, "it does not begin with {"),
        ("[]", None, "it does not begin with {"),
        (" {}", None, "it does not begin with {"),
        ("\ufeff{}", None, "it does not begin with {"),
        ("{}".encode("utf-16-le"), None, "no valid JSON"),
        ("{", None, "no valid JSON: Expecting property name"),
        ("{} x", None, "no valid JSON: Extra data"),
        (b'{"\xff": 1}', None, "'utf-8' codec can't decode byte 0xff in position 2"),
        (r'{"\ud800": 1}', None, "surrogates not allowed"),
        ('{"x": NaN}', None, "NaN is no JSON"),
        ('{"x": -Infinity}', None, "-Infinity is no JSON"),
        ('{"x": ' + "9" * 5000 + "}", None, "no valid JSON"),
        ('{"x": ' + "[" * 100_000, None, "it nests too deep"),
        ('{"x": ' + '{"a":' * 100_000, None, "it nests too deep"),
        ('{"a": 1, "b": 2, "a": 3}', None, "the key 'a' is there twice"),
        ('{"a": {"dtype": "U8", "dtype": "I8"}}', None, "the key 'dtype' is there twice"),
        ({"__metadata__": []}, None, "__metadata__ does not map strings to strings"),
        ({"__metadata__": {"a": 3}}, None, "__metadata__ does not map strings to strings"),
    ],
)  # fmt: skip
def test_headers(tmp_path, text, length, said):
    assert said in refusal(file_of(tmp_path / "h", text, length=length))


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (3, "is described by int, not by dtype, shape and data_offsets"),
        ({"dtype": "F32", "shape": []}, "is described by 'dtype, shape', not by"),
        (entry(strides=[1, 2]), "data_offsets, strides', not by"),
        (entry(dtype="F33"), "has dtype 'F33', which aotiny does not have"),
        (entry(dtype="f32"), "has dtype 'f32'"),
        (entry(dtype=3), "has dtype '3'"),
        (entry(dtype=["F32"]), "has dtype"),
        (entry(shape=[2, -3]), "has shape '[2, -3]', not a list of sizes below 2^63"),
        (entry(shape=[2, 3.0]), "has shape '[2, 3.0]'"),
        (entry(shape=[6, True]), "has shape '[6, True]'"),
        (entry(shape=[6, "1"]), "has shape"),
        (entry() | {"shape": 6}, "has shape '6'"),
        (entry(shape=[2**63]), "has shape '[9223372036854775808]'"),
        (entry(shape=[0, 2**63 - 1, 2**63 - 1]), "overflows 64 bits"),
        (entry(shape=[2**32, 2**32]), "overflows 64 bits"),
        (entry(shape=[2**62]), "overflows 64 bits"),
        (entry(shape=[1] * 65), "has 65 dimensions, at most 64"),
        (entry(begin=-24, end=0), "data_offsets '[-24, 0]', not two numbers from 0 on"),
        (entry(begin=0.0), "data_offsets '[0.0, 24]'"),
        (entry(begin=False), "data_offsets '[False, 24]'"),
        (entry(end=2**64 + 24), "data_offsets '[0, 18446744073709551640]'"),
        (entry() | {"data_offsets": [0]}, "data_offsets '[0]'"),
        (entry() | {"data_offsets": 24}, "data_offsets '24'"),
        (entry(begin=24, end=0), "begins at 24, after its end at 0"),
        (entry(shape=[2, 4]), "has 24 bytes (0 to 24), but shape [2, 4] of F32 needs 32"),
        (entry(dtype="F64"), "but shape [2, 3] of F64 needs 48"),
        (entry(shape=[]), "but shape [] of F32 needs 4"),
        (entry(shape=[0]), "but shape [0] of F32 needs 0"),
        (entry(shape=[2, 4], end=32), "'x' ends at 32, 8 bytes after the data, which has 24"),
        (entry(shape=[5], end=20), ": 4 bytes at 20 belong to no tensor"),
        (entry(shape=[5], begin=4), ": a hole of 4 bytes at 0, before tensor 'x'"),
    ],
)  # fmt: skip
def test_tensors(tmp_path, entry, said):
    text = refusal(file_of(tmp_path / "t", {"x": entry}, bytes(24)))
    assert said in text and ("tensor 'x'" in text or "belong" in text)


def test_regions_that_overlap_or_leave_holes(tmp_path):
    both = {"x": entry(), "y": entry(begin=20, end=44)}
    assert refusal(file_of(tmp_path / "o", both, bytes(44))) == (
        ": tensor 'y' begins at 20, inside of 'x', which ends at 24"
    )
    same = {"x": entry(), "y": entry()}
    assert "'y' begins at 0, inside of 'x'" in refusal(file_of(tmp_path / "o", same, bytes(24)))
    inside = {"x": entry(), "nothing": entry(shape=[0], begin=8, end=8)}
    assert "'nothing' begins at 8, inside of" in refusal(file_of(tmp_path / "o", inside, bytes(24)))
    hole = {"x": entry(), "y": entry(begin=28, end=52)}
    assert refusal(file_of(tmp_path / "o", hole, bytes(52))) == (
        ": a hole of 4 bytes at 24, before tensor 'y'"
    )
    assert refusal(file_of(tmp_path / "o", {}, bytes(5))) == ": 5 bytes at 0 belong to no tensor"
    empty = {"a": entry(shape=[0], end=0), "x": entry(), "z": entry(shape=[3, 0], begin=24)}
    assert list(aotiny.load_file(file_of(tmp_path / "o", empty, bytes(24)))) == ["a", "x", "z"]


def test_names_that_would_fill_the_screen(tmp_path):
    text = refusal(file_of(tmp_path / "n", {"x\n" * 100_000: entry(dtype="F33")}, bytes(24)))
    assert r"tensor 'x\nx\n" in text and "..." in text


def test_bytes_that_are_no_bool(tmp_path):
    path = file_of(tmp_path / "b", {"x": entry("BOOL", [4], end=4)}, b"\0\1\2\1")
    assert refusal(path) == ": tensor 'x' of BOOL has bytes that are not 0 or 1"


# --- weights ------------------------------------------------------------------------------------


@pytest.fixture
def saved(tmp_path):
    """A file with one weight, a function that changes its header, and its tensors."""
    path = tmp_path / "w.safetensors"
    values = np.random.default_rng(0).standard_normal((4, 64), dtype=np.float32)
    aotiny.save_file({"a": aotiny.quantize(values, "int4", variant="B")}, path)
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header, data = json.loads(content[8 : 8 + length]), content[8 + length :]

    def change(edit):
        edit(header)
        return file_of(path, header, data)

    return change


def edit_entry(**changes):
    """An edit of the weight's description; a value of None removes the key."""

    def edit(header):
        described = json.loads(header["__metadata__"]["aotiny.weight.a"]) | changes
        described = {key: value for key, value in described.items() if value is not None}
        header["__metadata__"]["aotiny.weight.a"] = json.dumps(described)

    return edit


def edit_text(text: str):
    return lambda header: header["__metadata__"].update({"aotiny.weight.a": text})


@pytest.mark.parametrize(
    ("edit", "said", "name"),
    [
        (lambda h: h["__metadata__"].update({"aotiny.store": "2"}),
         " is of store version '2'; this aotiny reads version 1", "NotSupported"),
        (lambda h: h["__metadata__"].pop("aotiny.store"),
         " describes 1 weights, but has no aotiny.store", None),
        (edit_entry(version=2),
         ": weight 'a': 'CoalescedInt4' of layout version 2; this aotiny reads version 1",
         "NotSupported"),
        (edit_entry(version=2, type="Int3", bits=3), "'Int3' of layout version 2", "NotSupported"),
        (edit_entry(version=0), "its metadata is '{", None),
        (edit_entry(version="1"), "its metadata is '{", None),
        (edit_entry(version=True), "its metadata is '{", None),
        (edit_entry(version=None), "its metadata is '{", None),
        (edit_entry(type="Int3"), ": weight 'a': there is no weight format Int3", None),
        (edit_entry(type="Weight"), "there is no weight format Weight", None),
        (edit_entry(variant="Z"),
         ": weight 'a': CoalescedInt4 has no variant \"Z\"; it has \"A\"", None),
        (edit_entry(type=3), "not type, variant, shape, group_size and version", None),
        (edit_entry(extra=3), "not type, variant, shape, group_size and version", None),
        (edit_entry(shape=[4, 64.0]), "its metadata is", None),
        (edit_entry(shape=[4, 2**63]), "its metadata is", None),
        (edit_entry(shape=[True, 64]), "its metadata is", None),
        (edit_entry(group_size=-(2**63)), "its metadata is", None),
        (edit_entry(shape=[4]), "a weight is [N, K] or [B, N, K], not [4]", None),
        (edit_entry(shape=[-4, 64]), "a weight of shape [-4, 64] has no elements", None),
        (edit_entry(shape=[0, 4, 64]), "a weight of shape [0, 4, 64] has no elements", None),
        (edit_entry(shape=[4, 65]), "K = 65 is not a multiple of the group size 32", None),
        (edit_entry(shape=[4, 96]), ": weight 'a': qdata has shape [4, 32], not [4, 48]", None),
        (edit_entry(shape=[2**40, 2**40]), "qdata has shape [4, 32], not [1099511627776", None),
        (edit_entry(shape=[2, 2, 64]), "qdata has shape [4, 32], not [2, 2, 32]", None),
        (edit_entry(group_size=64), "scale has shape [4, 2], not [4, 1]", None),
        (edit_entry(group_size=0), "group size 0 is not a positive multiple", None),
        (edit_entry(variant="A"), "scale has dtype uint8, not bfloat16", "InvalidType"),
        (edit_entry(type="Int8", variant="A"), "qdata has dtype uint8, not int8", "InvalidType"),
        (edit_entry(variant="C", shape=[4, 256]), "", None),
        (edit_text("{"), "its metadata is no valid JSON", None),
        (edit_text("[1]"), "its metadata is '[1]', not type", None),
        (edit_text("[" * 100_000), "its metadata is no valid JSON: it nests too deep", None),
        (edit_text('{"version": 1, "version": 2}'), "the key 'version' is there twice", None),
        (lambda h: h["__metadata__"].update({"aotiny.weight.b": h["__metadata__"].pop(
            "aotiny.weight.a")}), ": weight 'b': its tensor qdata is missing", None),
        (lambda h: h.update({"a.zeros": h.pop("a.zero")}),
         ": weight 'a': its tensor zero is missing", None),
        (lambda h: h["a.steps"].update(dtype="F16"), "steps has dtype float16, not bfloat16",
         "InvalidType"),
        (lambda h: h["a.steps"].update(shape=[2, 4]), "steps has shape [2, 4], not [4, 2]", None),
        (lambda h: h.update({"a": entry(shape=[0], end=0)}),
         ": 'a' is both a weight and a tensor", None),
    ],
)  # fmt: skip
def test_descriptions_of_weights(saved, edit, said, name):
    assert said in refusal(saved(edit), name or "InvalidArgument")


@pytest.mark.parametrize(
    ("value", "said"),
    [("nan", "is nan, not finite"), ("inf", "is inf, not finite"), ("-inf", "is -inf"),
     ("-1", "is -1, steps are above 0"), ("0", "is 0, steps are above 0")],
)  # fmt: skip
def test_numbers_of_the_metadata(tmp_path, value, said):
    """What Weight.check_values refuses is refused when a file is loaded, too."""
    values = np.random.default_rng(0).standard_normal((4, 64), dtype=np.float32)
    weight = aotiny.quantize(values, "int4", variant="B")
    planes = {name: torch.from_dlpack(t).clone() for name, t in weight.tensors().items()}
    path = tmp_path / "v.safetensors"
    aotiny.save_file({"a": weight}, path)
    content = path.read_bytes()
    old = planes["steps"].view(torch.uint8).numpy().tobytes()
    assert content.count(old) == 1
    planes["steps"][2, 1] = float(value)
    path.write_bytes(content.replace(old, planes["steps"].view(torch.uint8).numpy().tobytes()))
    text = refusal(path)
    assert text.startswith(": weight 'a': CoalescedInt4") and "steps at [2, 1]" in text
    assert said in text
    assert list(StoreFile(path)) == ["a"]  # numbers are looked at when the weight is wanted


# --- damage of any kind -------------------------------------------------------------------------


@pytest.fixture
def small(tmp_path):
    path = tmp_path / "small.safetensors"
    values = np.random.default_rng(0).standard_normal((2, 256), dtype=np.float32)
    aotiny.save_file(
        {"a": aotiny.quantize(values, "int4", variant="C"), "b": values[0, :5]}, path, {"k": "v"}
    )
    return path, path.read_bytes()


def test_truncated_anywhere(small):
    path, content = small
    begin = 8 + int.from_bytes(content[:8], "little")
    places = {*range(0, 10), *range(10, begin, 7), begin - 1, *range(begin, len(content), 61)}
    for size in sorted(places | {len(content) - 1}):
        path.write_bytes(content[:size])
        assert refusal(path)


def test_more_than_there_should_be(small):
    path, content = small
    path.write_bytes(content + b"\0")
    assert "1 bytes at" in refusal(path)


def test_any_byte_changed_loads_or_is_refused(small):
    path, content = small
    generator = random.Random(0)
    header_size = 8 + int.from_bytes(content[:8], "little")
    outcomes = set()
    for _ in range(1500):
        changed = bytearray(content)
        for _ in range(generator.choice((1, 1, 3))):
            changed[generator.randrange(header_size)] = generator.randrange(256)
        path.write_bytes(changed)
        try:
            for value in aotiny.load_file(path).values():
                assert isinstance(value, aotiny.Weight | aotiny.Tensor)
            outcomes.add("loaded")
        except aotiny.Error as refused:
            assert str(refused).startswith(str(path))
            outcomes.add("refused")
    assert outcomes == {"loaded", "refused"}
