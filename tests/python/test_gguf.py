"""GGUF files and blocks: the gguf package writes the files and is the oracle for the values."""

import gc
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

import aotiny
from aotiny import _core
from aotiny.gguf import GGUFFile, check
from gguf_files import BLOCKS, random_blocks
from on_cuda import OnCuda

gguf = pytest.importorskip("gguf", reason="gguf is not installed")

TYPES = {
    "Q4_0": (aotiny.CoalescedInt4, "H", 32),
    "Q8_0": (aotiny.Int8, "H", 32),
    "Q4_K": (aotiny.ExactInt4, "", 32),
    "Q5_K": (aotiny.ExactInt5, "", 32),
    "Q6_K": (aotiny.PlanarInt6, "C", 16),
}
types = pytest.mark.parametrize("type", TYPES)


def dequantized(blocks: np.ndarray, type: str) -> np.ndarray:
    return gguf.dequantize(blocks, gguf.GGMLQuantizationType[type])


def assert_same_bits(values, expected: np.ndarray) -> None:
    values = np.asarray(values)
    assert values.dtype == expected.dtype == np.float32
    assert values.shape == expected.shape
    assert np.array_equal(values.view(np.uint32), expected.view(np.uint32))


@types
@pytest.mark.parametrize("shape", [(1, 256), (7, 768), (301, 2048), (3, 5, 512), (1, 1, 256)])
def test_blocks_become_weights_with_the_same_bits(type, shape):
    blocks = random_blocks(type, shape, seed=len(shape) + shape[-2])
    weight = _core.import_gguf(blocks, type, shape)
    cls, variant, group_size = TYPES[type]
    assert isinstance(weight, cls)
    assert (weight.shape, weight.variant, weight.group_size) == (shape, variant, group_size)
    assert_same_bits(weight.dequantize(), dequantized(blocks, type))
    assert _core.gguf_types()[type] == (cls.__name__, variant, group_size)


@types
def test_every_code_and_every_scale_of_a_block(type):
    _, _, nbytes, steps = BLOCKS[type]
    blocks = np.repeat(np.arange(256, dtype=np.uint8)[:, None], nbytes, 1)
    for step in steps:
        blocks[:, step : step + 2] = np.float16([-0.37]).view(np.uint8)
    shape = (256, BLOCKS[type][1])
    assert_same_bits(_core.import_gguf(blocks, type, shape).dequantize(), dequantized(blocks, type))


@pytest.mark.parametrize("type", ["Q4_0", "Q8_0"])
def test_what_gguf_quantized_keeps_its_values(type):
    values = np.random.default_rng(7).standard_normal((33, 384), dtype=np.float32) * 0.05
    blocks = gguf.quantize(values, gguf.GGMLQuantizationType[type])
    weight = _core.import_gguf(blocks, type, values.shape)
    assert_same_bits(weight.dequantize(), dequantized(blocks, type))


@types
def test_imported_weights_multiply(type):
    blocks = random_blocks(type, (40, 512), seed=3)
    for step in BLOCKS[type][3]:  # scales near 0.01, so that sums are of ordinary size
        view = blocks.reshape(-1, BLOCKS[type][2])
        view[:, step : step + 2] = np.float16([0.01]).view(np.uint8)
    weight = _core.import_gguf(blocks, type, (40, 512))
    x = np.random.default_rng(4).standard_normal((3, 512), dtype=np.float32)
    y = aotiny.matmul(x, weight).numpy().astype(np.float64)
    expected = x.astype(np.float64) @ dequantized(blocks, type).T.astype(np.float64)
    assert np.linalg.norm(y - expected) < 0.01 * np.linalg.norm(expected)  # 8-bit activations


def test_blocks_may_be_strided():
    blocks = random_blocks("Q4_K", (8, 512), seed=5)
    every_other = _core.import_gguf(blocks[::2], "Q4_K", (4, 512))
    assert_same_bits(every_other.dequantize(), dequantized(blocks[::2].copy(), "Q4_K"))


@pytest.mark.parametrize(
    ("type", "shape", "nbytes", "text", "name"),
    [
        ("Q4_K", (2, 256), 287, r"\[2, 256\] needs 288 bytes of blocks, 287", "InvalidArgument"),
        ("Q4_K", (2, 256), 289, "needs 288 bytes", "InvalidArgument"),
        ("Q6_K", (2, 128), 210, r"\[2, 128\] is not of whole blocks of 256", "InvalidArgument"),
        ("Q8_0", (2, 0), 0, r"\[2, 0\] is not of whole blocks of 32", "InvalidArgument"),
        ("Q8_0", (32,), 34, r"not 1 \(shape \[32\]\)", "InvalidArgument"),
        ("Q8_0", (1, 1, 1, 32), 34, "not 4", "InvalidArgument"),
        ("Q8_0", (-2, 32), 34, "-2", "InvalidArgument"),
        ("Q8_0", (1 << 40, 1 << 40), 34, "1099511627776", "InvalidArgument"),
        ("Q3_K", (2, 256), 220, "Q3_K is none of Q4_0, Q8_0, Q4_K", "NotSupported"),
    ],
)
def test_blocks_that_do_not_fit_are_refused(type, shape, nbytes, text, name):
    with pytest.raises(aotiny.Error, match=text) as caught:
        _core.import_gguf(np.zeros(nbytes, np.uint8), type, shape)
    assert caught.value.name == name


def test_blocks_are_bytes():
    with pytest.raises(aotiny.Error, match="blocks have dtype float32"):
        _core.import_gguf(np.zeros(36, np.float32), "Q4_K", (1, 256))


def test_blocks_on_a_gpu_are_not_read():
    with pytest.raises(aotiny.Error, match="blocks are on cuda:0") as caught:
        _core.import_gguf(OnCuda([144], "uint8"), "Q4_K", (1, 256))
    assert caught.value.name == "NotImplemented"


@types
@pytest.mark.parametrize("bad", [0x7C00, 0xFC00, 0x7E01])
def test_scales_that_are_not_finite_are_refused_with_their_place(type, bad):
    shape = (400, 1024)
    blocks = random_blocks(type, shape, seed=6)
    _, block, nbytes, steps = BLOCKS[type]
    per_row = 1024 // block
    view = blocks.reshape(-1, nbytes)
    for place in (5 * per_row + per_row - 1, 399 * per_row):
        view[place, steps[-1] : steps[-1] + 2] = np.uint16([bad]).view(np.uint8)
    with pytest.raises(aotiny.Error, match=f"{type}: block {per_row - 1} of row 5 has a scale"):
        _core.import_gguf(blocks, type, shape)


# --- files ------------------------------------------------------------------------------------

DENSE = {
    "norm.weight": np.arange(96, dtype=np.float32),
    "half": np.arange(15, dtype=np.float16).reshape(3, 5),
    "stack": np.arange(24, dtype=np.int32).reshape(2, 3, 4),
}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """A file with every type, written by gguf's own writer."""
    path = tmp_path_factory.mktemp("gguf") / "model.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_uint32("llama.block_count", 2)
    writer.add_float32("llama.rope", 0.5)
    writer.add_bool("flag", True)
    writer.add_int64("negative", -(1 << 40))
    writer.add_array("tokenizer.ggml.tokens", ["a", "", "çé", "<|end|>"])
    writer.add_array("numbers", [3, -1, 2])
    for i, type in enumerate(TYPES):
        for shape in [(5, 512), (3, 4, 256)]:
            blocks = random_blocks(type, shape, seed=i)
            dtype = gguf.GGMLQuantizationType[type]
            writer.add_tensor(f"{type}.{len(shape)}", blocks, raw_dtype=dtype)
    for name, values in DENSE.items():
        writer.add_tensor(name, values)
    bf16 = torch.arange(12, dtype=torch.bfloat16).reshape(3, 4)
    writer.add_tensor(
        "brain",
        bf16.view(torch.uint8).numpy(),
        raw_shape=(3, 8),
        raw_dtype=gguf.GGMLQuantizationType.BF16,
    )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_a_file_loads_as_gguf_reads_it(path):
    loaded = aotiny.load_gguf(path)
    reader = gguf.GGUFReader(path)
    assert list(loaded) == [tensor.name for tensor in reader.tensors]
    for tensor in reader.tensors:
        ours, shape = loaded[tensor.name], tuple(tensor.shape[::-1].tolist())
        assert ours.shape == shape
        if tensor.name.partition(".")[0] in TYPES:
            expected = gguf.dequantize(tensor.data, tensor.tensor_type)
            assert_same_bits(ours.dequantize(), expected.reshape(shape))
        elif tensor.name == "brain":
            expected = torch.arange(12, dtype=torch.bfloat16).reshape(3, 4)
            assert torch.equal(torch.from_dlpack(ours), expected)
        else:
            assert ours.readonly
            assert np.array_equal(ours.numpy(), DENSE[tensor.name])
            assert ours.numpy().dtype == DENSE[tensor.name].dtype


def test_metadata_is_what_gguf_reads(path):
    with GGUFFile(path) as file:
        fields = gguf.GGUFReader(path).fields
        assert list(file.metadata) == [name for name in fields if not name.startswith("GGUF.")]
        for name, value in file.metadata.items():
            assert value == fields[name].contents(), name
        assert file.metadata["tokenizer.ggml.tokens"] == ["a", "", "çé", "<|end|>"]
        assert file.metadata["flag"] is True
        assert file.version == 3


def test_a_file_is_a_mapping_that_reads_on_demand(path):
    with GGUFFile(path) as file:
        reader = gguf.GGUFReader(path)
        assert len(file) == len(reader.tensors)
        assert "half" in file and "absent" not in file
        for tensor in reader.tensors:
            info = file.info(tensor.name)
            assert info.type == tensor.tensor_type.name
            assert info.shape == tuple(tensor.shape[::-1].tolist())
            assert (info.offset, info.nbytes) == (tensor.data_offset, tensor.n_bytes)
        with pytest.raises(KeyError, match="absent"):
            file["absent"]
        assert file["Q4_K.2"] == file["Q4_K.2"]
        half = file["half"]
        assert half.data_ptr == file["half"].data_ptr  # the mapping, not copies
    with pytest.raises(aotiny.Error, match=r"model\.gguf is closed"):
        file["half"]
    gc.collect()
    assert np.array_equal(half.numpy(), DENSE["half"])
    assert check(path.read_bytes()).tensors == check(path).tensors


def test_progress_counts_the_bytes_of_the_file(path):
    seen = []
    aotiny.load_gguf(path, progress=lambda done, total: seen.append((done, total)))
    sizes = np.cumsum([tensor.n_bytes for tensor in gguf.GGUFReader(path).tensors])
    assert seen == [(done, sizes[-1]) for done in sizes]
    with pytest.raises(ZeroDivisionError):
        aotiny.load_gguf(path, progress=lambda done, total: 1 // 0)


def test_a_file_that_became_shorter_is_refused_with_the_tensor(path, tmp_path):
    copy = tmp_path / "copy.gguf"
    copy.write_bytes(path.read_bytes())
    with GGUFFile(copy) as file:
        info = file.info("Q6_K.3")
        with open(copy, "r+b") as shorter:
            shorter.truncate(info.offset + 100)
        with pytest.raises(aotiny.Error, match=r"copy.gguf: Q6_K.3: .* reach beyond the file's"):
            file["Q6_K.3"]


def test_a_scale_that_is_not_finite_is_told_with_file_and_tensor(path, tmp_path):
    content = bytearray(path.read_bytes())
    offset = check(path).tensors["Q8_0.2"].offset
    content[offset + 34 : offset + 36] = b"\x00\x7c"
    bad = tmp_path / "bad.gguf"
    bad.write_bytes(content)
    with pytest.raises(aotiny.Error, match=r"bad.gguf: Q8_0.2: Q8_0: block 1 of row 0") as caught:
        aotiny.load_gguf(bad)
    assert caught.value.name == "InvalidArgument"


def test_threads_share_a_file(path):
    with GGUFFile(path) as file:
        expected, results = file["Q5_K.3"], []
        threads = [
            threading.Thread(target=lambda: results.append(file["Q5_K.3"] == expected))
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert results == [True] * 4


def is_mapped(path) -> bool:
    return str(path) in Path("/proc/self/maps").read_text()


def test_the_mapping_goes_with_the_last_tensor(path):
    file = GGUFFile(path)
    tensor = file["half"]
    file.close()
    del file
    gc.collect()
    assert is_mapped(path)
    del tensor
    gc.collect()
    assert not is_mapped(path)


def test_loading_takes_the_memory_of_the_weights(tmp_path, run_python):
    """The file's bytes are in no buffer beside the weights, and plain tensors in none at all."""
    big = tmp_path / "big.gguf"
    writer = gguf.GGUFWriter(big, "llama")
    blocks = np.tile(random_blocks("Q4_K", (256, 4096), 1), (64, 1))  # 38 MB
    for i in range(3):
        writer.add_tensor(f"w{i}", blocks, raw_dtype=gguf.GGMLQuantizationType.Q4_K)
    writer.add_tensor("dense", np.zeros((8192, 4096), np.float32))  # 134 MB
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    code = """
import sys, aotiny
def high_water():
    return int(next(l for l in open("/proc/self/status") if l.startswith("VmHWM")).split()[1]) << 10
import aotiny.gguf
before = high_water()
loaded = aotiny.load_gguf(sys.argv[1])
print(high_water() - before, sum(w.nbytes for n, w in loaded.items() if n != "dense"))
"""
    used, output = map(int, run_python(code, str(big)).split())
    assert output == 3 * (64 * 256 * 4096 * 37 // 64)
    assert used < 1.2 * output
