"""save_file and load_file: every format there and back, in files that safetensors reads too."""

import gc
import itertools
import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
import safetensors
import safetensors.numpy
import safetensors.torch
import torch

import aotiny
from aotiny.store import StoreFile, TensorPlan, WeightPlan, Writer

KINDS = [
    ("int4", "A"), ("int4", "H"), ("int4", "B"), ("int4", "C"), ("exact_int4", ""),
    ("int8", "A"), ("int8", "H"), ("int4_plain", "bfloat16"), ("int4_plain", "float16"),
    ("int4_plain", "float32"), ("int4_tile_packed", "2"), ("int4_tile_packed", "4"),
    ("int4_tile_packed", "8"), ("exact_int5", ""), ("int6", "A"), ("int6", "B"), ("int6", "C"),
]  # fmt: skip
kinds = pytest.mark.parametrize(("format", "variant"), KINDS, ids=map("".join, KINDS))


def values(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def weight(*shape: int, format: str = "int4", variant: str = "B", seed: int = 0):
    return aotiny.quantize(values(*shape, seed=seed), format, variant=variant)


def header(path) -> dict:
    content = path.read_bytes()
    return json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])


def raw(tensor: aotiny.Tensor) -> bytes:
    return torch.from_dlpack(tensor).contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


@kinds
@pytest.mark.parametrize("shape", [(8, 256), (24, 512), (3, 16, 256)])
def test_every_format_there_and_back(tmp_path, format, variant, shape):
    saved = weight(*shape, format=format, variant=variant)
    aotiny.save_file({"layer.weight": saved}, tmp_path / "w.safetensors")
    loaded = aotiny.load_file(tmp_path / "w.safetensors")
    assert list(loaded) == ["layer.weight"]
    assert type(loaded["layer.weight"]) is type(saved)
    assert loaded["layer.weight"] == saved
    assert loaded["layer.weight"].variant == variant
    np.testing.assert_array_equal(
        loaded["layer.weight"].dequantize().numpy(), saved.dequantize().numpy()
    )


@pytest.mark.parametrize("n", [1, 7, 33])
def test_odd_numbers_of_rows(tmp_path, n):
    saved = {str(k): weight(n, k, variant="A") for k in (32, 96, 160)}
    saved |= {"a.qdata": weight(n, 64), "a": weight(n, 96)}  # a weight called as a plane is
    aotiny.save_file(saved, tmp_path / "w.safetensors")
    assert aotiny.load_file(tmp_path / "w.safetensors") == saved


@kinds
def test_safetensors_reads_our_planes(tmp_path, format, variant):
    path = tmp_path / "w.safetensors"
    saved = weight(8, 256, format=format, variant=variant)
    dense = values(5, 3)
    aotiny.save_file({"a": saved, "b": dense}, path, {"note": "grün"})
    with safetensors.safe_open(path, "pt") as file:
        planes = saved.tensors()
        assert sorted(file.keys()) == sorted(["b", *(f"a.{plane}" for plane in planes)])
        for plane, tensor in planes.items():
            read = file.get_tensor(f"a.{plane}")
            assert torch.equal(read, torch.from_dlpack(tensor))
            assert str(read.dtype) == f"torch.{tensor.dtype}"
        np.testing.assert_array_equal(file.get_tensor("b").numpy(), dense)
        metadata = file.metadata()
    assert metadata.pop("note") == "grün"
    assert metadata.pop("aotiny.store") == "1"
    assert json.loads(metadata.pop("aotiny.weight.a")) == {
        "type": type(saved).__name__, "variant": variant, "shape": [8, 256],
        "group_size": saved.group_size, "version": 1,
    }  # fmt: skip
    assert metadata == {}


DTYPES = [
    torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.uint16,
    torch.uint32, torch.uint64, torch.float16, torch.bfloat16, torch.float32, torch.float64,
    torch.float8_e5m2, torch.float8_e4m3fn, torch.float8_e5m2fnuz, torch.float8_e4m3fnuz,
    torch.complex64,
]  # fmt: skip


@pytest.mark.parametrize("shape", [(), (1,), (0, 3), (3, 5), (2, 3, 32)])
def test_dense_tensors_of_every_dtype_both_ways(tmp_path, shape):
    """What safetensors.torch writes, in its order and alignment, and what it reads of ours."""
    generator = torch.Generator().manual_seed(0)
    saved = {
        str(dtype): torch.randint(0, 2, shape, generator=generator).to(torch.float32).to(dtype)
        for dtype in DTYPES
    }
    safetensors.torch.save_file(saved, tmp_path / "theirs.safetensors")
    loaded = aotiny.load_file(tmp_path / "theirs.safetensors")
    assert loaded.keys() == saved.keys()
    for name, tensor in saved.items():
        assert (f"torch.{loaded[name].dtype}", loaded[name].shape) == (name, shape)
        assert raw(loaded[name]) == tensor.reshape(-1).view(torch.uint8).numpy().tobytes()
    aotiny.save_file(loaded, tmp_path / "ours.safetensors")
    again = safetensors.torch.load_file(tmp_path / "ours.safetensors")
    for name, tensor in saved.items():
        assert torch.equal(again[name].reshape(-1).view(torch.uint8),
                           tensor.reshape(-1).view(torch.uint8))  # fmt: skip
        assert (again[name].dtype, again[name].shape) == (tensor.dtype, tensor.shape)


def test_numpy_both_ways(tmp_path):
    saved = {"x": values(3, 4), "y": np.arange(7, dtype=np.int16)}
    safetensors.numpy.save_file(saved, tmp_path / "theirs.safetensors", {"format": "np"})
    theirs = StoreFile(tmp_path / "theirs.safetensors")
    assert theirs.metadata == {"format": "np"} and theirs.version is None
    aotiny.save_file(saved, tmp_path / "ours.safetensors")
    for name, array in safetensors.numpy.load_file(tmp_path / "ours.safetensors").items():
        np.testing.assert_array_equal(array, saved[name])
        np.testing.assert_array_equal(theirs[name].numpy(), saved[name])


def test_strided_tensors_and_weights(tmp_path):
    path = tmp_path / "s.safetensors"
    dense = values(6, 10)
    whole = weight(12, 256, format="int8", variant="A")
    planes = {name: tensor[3:10:2] for name, tensor in whole.tensors().items()}
    rows = aotiny.Int8.from_tensors(group_size=32, **planes)
    assert not any(tensor.is_contiguous for tensor in rows.tensors().values())
    aotiny.save_file({"t": dense.T, "back": dense[::-1, ::-3], "w": rows}, path)
    loaded = aotiny.load_file(path)
    np.testing.assert_array_equal(loaded["t"].numpy(), dense.T)
    np.testing.assert_array_equal(loaded["back"].numpy(), dense[::-1, ::-3])
    np.testing.assert_array_equal(
        loaded["w"].dequantize().numpy(), whole.dequantize().numpy()[3:10:2]
    )


def test_names_come_back_in_order_with_metadata(tmp_path):
    path = tmp_path / "o.safetensors"
    names = ["z", "a.b", "Ünï 'code'\n\"", "a", ""]
    saved = {name: weight(4, 64) if i % 2 else values(3) for i, name in enumerate(names)}
    aotiny.save_file(saved, path, {"who": "me", "empty": ""})
    file = StoreFile(path)
    assert list(file) == list(aotiny.load_file(path)) == names
    assert file.metadata == {"who": "me", "empty": ""} and file.version == "1"
    assert len(file) == 5 and "a" in file and "a.qdata" not in file
    assert file.plan("a") == WeightPlan("CoalescedInt4", "B", (4, 64), 32)
    assert file.plan("z") == TensorPlan("float32", (3,))
    with pytest.raises(KeyError, match="nothing"):
        file["nothing"]


def test_an_empty_file_of_tensors(tmp_path):
    aotiny.save_file({}, tmp_path / "e.safetensors")
    assert aotiny.load_file(tmp_path / "e.safetensors") == {}
    assert safetensors.torch.load_file(tmp_path / "e.safetensors") == {}


def test_planes_are_aligned_and_there_are_no_holes(tmp_path):
    path = tmp_path / "a.safetensors"
    aotiny.save_file(
        {"odd": np.ones(3, np.uint8), "w": weight(32, 256), "d": values(2, 3).astype("f8"),
         "h": np.ones(5, np.float16), "one": np.float32(4)},
        path,
    )  # fmt: skip
    entries = header(path)
    del entries["__metadata__"]
    begin = path.stat().st_size - max(e["data_offsets"][1] for e in entries.values())
    assert begin % 64 == 0
    places = sorted(e["data_offsets"] for e in entries.values())
    assert places[0][0] == 0
    assert all(a[1] == b[0] for a, b in itertools.pairwise(places))
    for plane in ("qdata", "scale", "zero", "steps"):
        assert entries[f"w.{plane}"]["data_offsets"][0] % 64 == 0
    for name, width in (("d", 8), ("one", 4), ("h", 2)):
        assert entries[name]["data_offsets"][0] % width == 0


def test_unaligned_tensors_are_copied(tmp_path):
    """safetensors aligns its headers to 8 bytes; a header of another length is legal."""
    path = tmp_path / "u.safetensors"
    array = values(3, 5)
    text = json.dumps({"x": {"dtype": "F32", "shape": [3, 5], "data_offsets": [0, 60]}}).encode()
    for pad in range(4):
        padded = text + b" " * pad
        path.write_bytes(len(padded).to_bytes(8, "little") + padded + array.tobytes())
        loaded = aotiny.load_file(path)["x"]
        np.testing.assert_array_equal(loaded.numpy(), array)
        assert loaded.data_ptr % 4 == 0
        assert loaded.readonly == ((8 + len(padded)) % 4 == 0)  # a copy is one's own


def mapping_of(path) -> list[range]:
    with open("/proc/self/maps") as maps:
        lines = [line.split(maxsplit=5) for line in maps if line.rstrip().endswith(str(path))]
    return [range(*(int(bound, 16) for bound in line[0].split("-"))) for line in lines]


def test_tensors_lie_in_the_mapped_file_as_long_as_they_live(tmp_path):
    path = tmp_path / "m.safetensors"
    aotiny.save_file({"w": weight(64, 256), "x": values(64, 64)}, path)
    expected = weight(64, 256)
    loaded = aotiny.load_file(path)
    (mapped,) = mapping_of(path)
    content, entries = path.read_bytes(), header(path)
    begin = 8 + int.from_bytes(content[:8], "little")
    tensors = {"x": loaded["x"], **{f"w.{k}": t for k, t in loaded["w"].tensors().items()}}
    for name, tensor in tensors.items():
        assert tensor.readonly
        assert tensor.data_ptr == mapped.start + begin + entries[name]["data_offsets"][0]
    with pytest.raises(aotiny.Error, match="read-only"):
        loaded["x"].copy_(loaded["x"])
    plane = tensors["w.scale"]
    expected_plane = raw(plane)
    os.unlink(path)
    del loaded, tensors, tensor
    gc.collect()
    assert len(mapping_of(f"{path} (deleted)")) == 1  # one plane holds it
    assert raw(plane) == expected_plane == raw(expected.tensors()["scale"])
    del plane
    gc.collect()
    assert mapping_of(f"{path} (deleted)") == []


def test_loading_reads_no_codes_into_memory(tmp_path, run_python):
    path = tmp_path / "big.safetensors"
    stack = aotiny.Int8.from_tensors(
        group_size=1024,
        qdata=np.ones((8192, 8192), np.int8),
        scale=torch.ones(8192, 8, dtype=torch.bfloat16),
        zero=np.zeros((8192, 8), np.int8),
    )
    aotiny.save_file({"w": stack, "x": np.ones((4096, 4096), np.float32)}, path)
    size = path.stat().st_size
    assert size > 128 * 2**20
    out = run_python(
        """
import sys, aotiny
from aotiny import store
def resident():
    with open("/proc/self/status") as status:
        return {l.split(":")[0]: int(l.split()[1]) * 1024 for l in status if "Rss" in l}
before = resident()
loaded = aotiny.load_file(sys.argv[1])
after = resident()
print(after["RssAnon"] - before["RssAnon"], after["RssFile"] - before["RssFile"], len(loaded))
""",
        path,
    )
    anonymous, mapped, count = map(int, out.split())
    assert count == 2
    assert anonymous < 2 * 2**20
    assert mapped < 16 * 2**20


def test_a_loaded_file_can_be_replaced(tmp_path):
    path = tmp_path / "r.safetensors"
    aotiny.save_file({"a": weight(16, 64), "b": values(9)}, path)
    loaded = aotiny.load_file(path)
    aotiny.save_file({"a": loaded["a"], "c": loaded["b"]}, path)
    again = aotiny.load_file(path)
    assert again["a"] == loaded["a"] == weight(16, 64)
    np.testing.assert_array_equal(again["c"].numpy(), values(9))
    np.testing.assert_array_equal(loaded["b"].numpy(), values(9))
    assert os.listdir(tmp_path) == ["r.safetensors"]


def test_files_have_the_permissions_of_others(tmp_path):
    aotiny.save_file({}, tmp_path / "p.safetensors")
    (tmp_path / "plain").touch()
    assert (tmp_path / "p.safetensors").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_link_is_written_through(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "target")
    aotiny.save_file({"x": values(3)}, tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert list(aotiny.load_file(tmp_path / "target")) == ["x"]


# --- writing: what is refused, and what is left behind -----------------------------------------


@pytest.mark.parametrize(
    ("weights", "metadata", "text"),
    [
        ({"a": "weight", "a.scale": "tensor"}, None,
         r"tensor 'a.scale' and scale of weight 'a' have one name, 'a.scale'"),
        ({"a.scale": "tensor", "a": "weight"}, None,
         r"scale of weight 'a' and tensor 'a.scale' have one name"),
        ({"__metadata__": "tensor"}, None, "have one name, '__metadata__'"),
        ({"x": np.ones(3, np.complex128)}, None, "'x' is complex128, which safetensors has not"),
        ({3: "tensor"}, None, "a name is '3' of int, not a string"),
        ({"\ud800": "tensor"}, None, r"a name, '\\ud800', cannot be written as UTF-8"),
        ({}, {"n": 3}, "metadata 'n' is '3' of int"),
        ({}, {"aotiny.store": "9"}, "'aotiny.store': keys that begin with 'aotiny.' are aotiny's"),
    ],
)  # fmt: skip
def test_what_cannot_be_saved(tmp_path, weights, metadata, text):
    made = {"weight": weight(4, 64), "tensor": np.ones(3, np.float32)}
    weights = {
        name: made[value] if isinstance(value, str) else value for name, value in weights.items()
    }
    with pytest.raises(aotiny.Error, match=text) as raised:
        aotiny.save_file(weights, tmp_path / "w.safetensors", metadata)
    assert str(raised.value).startswith(str(tmp_path / "w.safetensors"))
    assert os.listdir(tmp_path) == []


def test_views_of_weights_are_saved_but_not_transposed(tmp_path):
    path = tmp_path / "v.safetensors"
    whole, stack = weight(12, 256, variant="A"), weight(3, 8, 64, format="int8", variant="A")
    views = {
        "rows": whole[3:8], "columns": whole[:, 64:192], "one": stack[1], "part": stack[1:, 2:5]
    }  # fmt: skip
    aotiny.save_file(views, path)
    loaded = aotiny.load_file(path)
    assert loaded == views
    np.testing.assert_array_equal(
        loaded["columns"].dequantize().numpy(), whole.dequantize().numpy()[:, 64:192]
    )
    np.testing.assert_array_equal(
        loaded["part"].dequantize().numpy(), stack.dequantize().numpy()[1:, 2:5]
    )
    assert loaded["one"].readonly
    with pytest.raises(aotiny.Error, match=r"v.safetensors: 't' cannot be saved: a transposed"):
        aotiny.save_file({"t": whole.mT}, path)
    assert aotiny.load_file(path) == views


def test_what_is_no_array(tmp_path):
    with pytest.raises(TypeError, match=r"'x' cannot be saved.*str"):
        aotiny.save_file({"x": "text"}, tmp_path / "w.safetensors")
    assert os.listdir(tmp_path) == []


def test_places_where_no_file_can_be(tmp_path):
    for path, text in (
        (tmp_path / "missing" / "w", "No such file"),
        (tmp_path, "is not a regular file"),
        ("/dev/null", "/dev/null is not a regular file"),
    ):
        with pytest.raises(aotiny.Error, match=text):
            aotiny.save_file({"x": values(3)}, path)
    assert os.listdir(tmp_path) == []


def test_a_full_disk_leaves_no_file(tmp_path):
    """A limit on the size of files stands for it: the system call fails halfway."""
    program = """
import resource, signal, sys, numpy, aotiny
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    aotiny.save_file({"x": numpy.ones(30_000, "f4")}, sys.argv[1])
except aotiny.Error as error:
    print(error.name, error)
"""
    path = tmp_path / "full.safetensors"
    path.write_bytes(b"what was there")
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True
    )
    assert re.match(r"AccessFailed .*full.safetensors: File too large", done.stdout)
    assert os.listdir(tmp_path) == ["full.safetensors"]
    assert path.read_bytes() == b"what was there"


def test_the_writer_takes_what_was_planned_and_all_of_it(tmp_path):
    path = tmp_path / "w.safetensors"
    plan = {"a": WeightPlan("CoalescedInt4", "B", (4, 64), 32), "b": TensorPlan("float32", (9,))}
    dense = aotiny.Tensor(values(9))
    for writes, text in (
        ({"a": weight(4, 64)}, "'b' was not written"),
        ({"a": weight(4, 96)}, r"\(4, 96\).*planned was .*\(4, 64\)"),
        ({"a": weight(4, 64, variant="A")}, "variant='A'.*planned was.*variant='B'"),
        ({"c": dense}, "'c' is not in the plan"),
        ({"b": dense[:4]}, r"\(4,\).*planned was.*\(9,\)"),
    ):
        with pytest.raises(aotiny.Error, match=text), Writer(path, plan) as writer:
            for name, value in writes.items():
                writer.write(name, value)
        assert os.listdir(tmp_path) == []
    with pytest.raises(aotiny.Error, match="'b' is written already"), Writer(path, plan) as writer:
        writer.write("b", dense)
        writer.write("b", dense)
    with pytest.raises(KeyboardInterrupt), Writer(path, plan) as writer:
        raise KeyboardInterrupt
    with pytest.raises(aotiny.Error, match="Int9"):
        Writer(path, {"a": WeightPlan("Int9", "", (4, 64), 32)})
    assert os.listdir(tmp_path) == []
    with Writer(path, plan) as writer:
        writer.write("b", dense)  # any order
        writer.write("a", weight(4, 64))
        assert not path.exists()
    with pytest.raises(aotiny.Error, match="in a with block, and not after it"):
        writer.write("b", dense)
    assert list(aotiny.load_file(path)) == ["a", "b"]
