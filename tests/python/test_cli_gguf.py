"""aotiny quantize and inspect with .gguf files; the gguf package writes them and is the oracle."""

import json

import numpy as np
import pytest

import aotiny
import gguf_files
from cli_process import failure, success

gguf = pytest.importorskip("gguf", reason="gguf is not installed")

SHAPES = {
    "blk.0.attn_q.weight": ("Q4_K", (24, 512)),
    "blk.0.ffn_down.weight": ("Q6_K", (16, 256)),
    "blk.0.ffn_up_exps.weight": ("Q8_0", (3, 5, 64)),
    "output.weight": ("Q4_0", (9, 64)),
}


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """The path, the values of each tensor and the blocks of the quantized ones."""
    path = tmp_path_factory.mktemp("gguf") / "small.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(1)
    writer.add_name("small")
    writer.add_token_list([f"token{i}" for i in range(300)])
    generator = np.random.default_rng(0)
    values, blocks = {}, {}
    for name, (type, shape) in SHAPES.items():
        made = gguf_files.random_blocks(type, shape, seed=len(name))
        for step in gguf_files.BLOCKS[type][3]:  # scales of an ordinary size
            view = made.reshape(-1, gguf_files.BLOCKS[type][2])
            scales = generator.uniform(0.001, 0.01, len(view)).astype(np.float16)
            view[:, step : step + 2] = scales.view(np.uint8).reshape(-1, 2)
        number = gguf.GGMLQuantizationType[type]
        writer.add_tensor(name, made, raw_dtype=number)
        values[name], blocks[name] = gguf.dequantize(made, number).reshape(shape), made
    for name, array in (
        ("token_embd.weight", generator.standard_normal((7, 64)).astype(np.float16)),
        ("blk.0.attn_norm.weight", generator.standard_normal(64).astype(np.float32)),
    ):
        writer.add_tensor(name, array)
        values[name] = array
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path, values, blocks


def test_gguf_is_carried_over_exactly(file, tmp_path):
    path, values, blocks = file
    out = tmp_path / "out.safetensors"
    report = json.loads(success("quantize", path, out, "--json"))
    loaded = aotiny.load_file(out)
    assert list(loaded) == list(values)
    for entry in report["tensors"]:
        value = loaded[entry["name"]]
        assert entry["kept"] == "exact" and entry["nbytes"] == value.nbytes
        expected = values[entry["name"]]
        if entry["name"] in SHAPES:
            assert entry["source_nbytes"] == blocks[entry["name"]].nbytes
            assert entry["type"] == type(value).__name__
            decoded = value.dequantize().numpy()
            assert np.array_equal(decoded.view(np.uint32), expected.view(np.uint32))
        else:
            np.testing.assert_array_equal(value.numpy(), expected)
            assert entry["source"] == str(expected.dtype)
    metadata = aotiny.store.StoreFile(out).metadata
    assert metadata["general.architecture"] == "llama" and metadata["general.name"] == "small"
    assert metadata["llama.block_count"] == "1"
    assert "tokenizer.ggml.tokens" not in metadata  # lists stay behind


def test_gguf_is_quantized_anew_when_a_format_is_named(file, tmp_path):
    path, values, _ = file
    out = tmp_path / "out.safetensors"
    arguments = ("--format", "int6", "--exclude", "token")
    report = json.loads(success("quantize", path, out, *arguments, "--json"))
    loaded = aotiny.load_file(out)
    for entry in report["tensors"]:
        name = entry["name"]
        if "kept" in entry:
            continue
        assert loaded[name] == aotiny.quantize(values[name], "int6")
        signal = values[name].astype(np.float64)
        noise = loaded[name].dequantize().numpy() - signal
        snr = 10 * np.log10((signal**2).sum() / (noise**2).sum())
        assert entry["snr_db"] == pytest.approx(snr, abs=1e-4)
    kept = {entry["name"]: entry["kept"] for entry in report["tensors"] if "kept" in entry}
    assert kept == {"token_embd.weight": "excluded", "blk.0.attn_norm.weight": "1 dimensions"}


def test_inspect_shows_both_types(file):
    path, values, blocks = file
    found = json.loads(success("inspect", path, "--json"))
    assert (found["kind"], found["version"]) == ("gguf", 3)
    assert found["metadata"]["general.name"] == "small"
    assert len(found["metadata"]["tokenizer.ggml.tokens"]) == 300
    assert (found["totals"]["tensors"], found["totals"]["weights"]) == (6, 4)
    assert found["totals"]["numel"] == sum(array.size for array in values.values())
    entries = {entry["name"]: entry for entry in found["tensors"]}
    assert entries["blk.0.ffn_down.weight"] == {
        "name": "blk.0.ffn_down.weight", "nbytes": blocks["blk.0.ffn_down.weight"].nbytes,
        "shape": [16, 256], "gguf_type": "Q6_K", "type": "PlanarInt6", "variant": "C",
        "group_size": 16, "bits_per_weight": 6.5625,
    }  # fmt: skip
    text = success("inspect", path)
    assert text.startswith("gguf, version 3\n") and "tokenizer.ggml.tokens: 300 values\n" in text
    assert "Q4_K: ExactInt4 g32" in text and "F16: float16" in text


def test_types_that_aotiny_does_not_have(tmp_path):
    path = tmp_path / "odd.gguf"
    entry = gguf_files.tensor("odd.weight", (32, 4), kind=20)  # IQ4_NL: 18 bytes for 32
    path.write_bytes(gguf_files.gguf_bytes(tensors=[entry], data=bytes(96)))
    assert "IQ4_NL: not supported" in success("inspect", path)
    text = failure("quantize", path, tmp_path / "out.safetensors")
    assert "odd.gguf: odd.weight is of type IQ4_NL, which is none of Q4_0" in text
    path.write_bytes(path.read_bytes()[:-60])
    assert "odd.gguf: " in failure("inspect", path)


def test_numbers_that_json_does_not_have(tmp_path):
    path, out = tmp_path / "odd.gguf", tmp_path / "out.safetensors"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_float32("odd.nan", float("nan"))
    writer.add_array("odd.list", [1.0, float("inf")])
    writer.add_tensor("x", np.zeros((2, 32), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()

    def refuse(name):
        raise ValueError(f"{name} is no JSON")

    found = json.loads(success("inspect", path, "--json"), parse_constant=refuse)
    assert found["metadata"]["odd.nan"] == "nan"
    assert found["metadata"]["odd.list"] == [1.0, "inf"]
    success("quantize", path, out)
    assert json.loads(aotiny.store.StoreFile(out).metadata["odd.nan"]) == "nan"


def test_names_in_files_cannot_steer_the_terminal(tmp_path):
    path = tmp_path / "sly.gguf"
    one = gguf_files.key("a\x1b[2J\nb", gguf_files.scalar(4, "I", 7))
    path.write_bytes(gguf_files.gguf_bytes([one]))
    assert r"'a\x1b[2J\nb': 7" in success("inspect", path).splitlines()[1]
    path.write_bytes(gguf_files.gguf_bytes([one, one]))
    for command in (("inspect", path), ("quantize", path, tmp_path / "out.safetensors")):
        assert r"a\x1b[2J b is there twice" in failure(*command)
