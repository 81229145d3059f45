"""aotiny quantize, and aotiny inspect of what it reads and writes, as processes."""

import json
import os
import pty
import re
import subprocess
import sys

import numpy as np
import pytest
import safetensors.torch
import torch

import aotiny
import aotiny.store
from aotiny.cli.table import bytes_text, table_lines
from cli_process import cli, failure, success


def tensors() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)

    def random(*shape):
        return torch.randn(*shape, generator=generator)

    return {
        "a.weight": random(24, 64),
        "a.bias": random(24),
        "b.weight": random(7, 128).half() * 0.05,
        "c.experts": random(3, 5, 96).bfloat16(),
        "head.weight": random(9, 64),
        "ids": torch.arange(128).reshape(2, 64),
        "precise": random(4, 64).double(),
        "narrow": random(4, 80),
        "deep": random(2, 2, 2, 32),
    }


@pytest.fixture(scope="module")
def dense(tmp_path_factory):
    path = tmp_path_factory.mktemp("dense") / "in.safetensors"
    safetensors.torch.save_file(tensors(), path, {"who": "me"})
    return path


def snr(values: torch.Tensor, decoded: np.ndarray) -> float:
    values, decoded = values.double(), torch.from_numpy(decoded).double()
    return float(10 * torch.log10(values.square().sum() / (values - decoded).square().sum()))


def test_matrices_are_quantized_and_the_rest_is_kept(dense, tmp_path):
    out = tmp_path / "out.safetensors"
    arguments = ("--format", "int4", "--variant", "A", "--method", "hqq", "--exclude", r"^head\.")
    report = json.loads(success("quantize", dense, out, *arguments, "--json"))
    entries = {entry["name"]: entry for entry in report["tensors"]}
    saved, loaded = tensors(), aotiny.load_file(out)
    assert entries.keys() == loaded.keys() == saved.keys()
    quantized = {"a.weight", "b.weight", "c.experts"}
    assert {name: entry["kept"] for name, entry in entries.items() if "kept" in entry} == {
        "a.bias": "1 dimensions",
        "head.weight": "excluded",
        "ids": "int64",
        "precise": "float64",
        "narrow": "CoalescedInt4A: K = 80 is not a multiple of the group size 32",
        "deep": "4 dimensions",
    }
    for name, entry in entries.items():
        assert entry["shape"] == list(saved[name].shape) == list(loaded[name].shape)
        assert entry["source_nbytes"] == saved[name].nbytes
        assert entry["source"] == str(saved[name].dtype).removeprefix("torch.")
        assert entry["nbytes"] == loaded[name].nbytes
        if name not in quantized:
            assert torch.equal(torch.from_dlpack(loaded[name]), saved[name])
            assert "snr_db" not in entry
            continue
        assert loaded[name] == aotiny.quantize(saved[name], "int4", variant="A", method="hqq")
        decoded = loaded[name].dequantize().numpy()
        assert entry["snr_db"] == pytest.approx(snr(saved[name], decoded), abs=1e-4)
        largest = np.abs(decoded - saved[name].float().numpy()).max()
        assert entry["max_error"] == pytest.approx(float(largest), rel=1e-6)
        assert entry["bits_per_weight"] == 5
        assert (entry["type"], entry["variant"], entry["group_size"]) == ("CoalescedInt4", "A", 32)
    totals = report["totals"]
    assert (totals["tensors"], totals["quantized"]) == (9, 3)
    assert totals["source_nbytes"] == sum(tensor.nbytes for tensor in saved.values())
    assert totals["nbytes"] == sum(value.nbytes for value in loaded.values())
    assert totals["bits_per_weight"] == 5
    names = sorted(quantized)
    flat = torch.cat([saved[name].double().flatten() for name in names])
    decoded = np.concatenate([loaded[name].dequantize().numpy().ravel() for name in names])
    assert totals["snr_db"] == pytest.approx(snr(flat, decoded), abs=1e-4)
    assert totals["max_error"] == max(entries[name]["max_error"] for name in names)
    assert aotiny.store.StoreFile(out).metadata == {"who": "me"}


def test_the_report_in_words(dense, tmp_path):
    out = tmp_path / "out.safetensors"
    text = success("quantize", dense, out, "--format", "int8", "--include", "weight|bias")
    lines = text.splitlines()
    assert lines[0].split() == ["name", "shape", "from", "to", "bits", "SNR", "dB", "max", "error"]
    (line,) = [line for line in lines if line.startswith("b.weight")]
    assert line.split()[:7] == ["b.weight", "[7,", "128]", "float16", "Int8", "A", "g32"]
    decoded = aotiny.load_file(out)["b.weight"].dequantize().numpy()
    assert f" 8.750   {snr(tensors()['b.weight'], decoded):.2f}  " in line
    assert any("ids" in line and line.endswith("kept: not included") for line in lines)
    assert any("a.bias" in line and line.endswith("kept: 1 dimensions") for line in lines)
    assert "3 of 9 tensors quantized" in text and "those: 8.750 bits a weight, SNR" in text


def test_group_size_and_default_variant(dense, tmp_path):
    out = tmp_path / "out.safetensors"
    success("quantize", dense, out, "--format", "int4", "--group-size", "64", "--include", "^b")
    assert aotiny.load_file(out)["b.weight"] == aotiny.quantize(tensors()["b.weight"], "int4", 64)
    success("quantize", dense, out, "--format", "int6", "--include", "^b")
    assert aotiny.load_file(out)["b.weight"] == aotiny.quantize(tensors()["b.weight"], "int6")


def test_values_that_are_exact_have_no_ratio(tmp_path):
    path, out = tmp_path / "zeros.safetensors", tmp_path / "out.safetensors"
    aotiny.save_file({"z": np.zeros((4, 64), np.float32)}, path)
    report = json.loads(success("quantize", path, out, "--format", "int4", "--json"))
    for part in (report["totals"], report["tensors"][0]):
        assert part["snr_db"] is None and part["max_error"] == 0
    assert "no error, largest error 0" in success("quantize", path, out, "--format", "int4")


def test_quantized_weights_are_kept_or_quantized_anew(dense, tmp_path):
    first, exact, anew = (tmp_path / f"{name}.safetensors" for name in ("first", "exact", "anew"))
    success("quantize", dense, first, "--format", "int8")
    report = json.loads(success("quantize", first, exact, "--format", "exact", "--json"))
    assert exact.read_bytes() == first.read_bytes()
    assert report["totals"]["quantized"] == 0 and report["totals"]["snr_db"] is None
    success("quantize", first, anew, "--format", "int4")
    for name in ("a.weight", "c.experts"):
        before = aotiny.load_file(first)[name].dequantize()
        assert aotiny.load_file(anew)[name] == aotiny.quantize(before, "int4")


def test_what_cannot_be_quantized(dense, tmp_path):
    out = tmp_path / "out.safetensors"
    int4 = ("--format", "int4")
    link = tmp_path / "link.safetensors"
    link.symlink_to(dense)
    for arguments, text in (
        ((dense, out), "--format is needed"),
        ((dense, out, "--format", "int3"), 'format "int3" is none of "int4"'),
        ((dense, out, *int4, "--variant", "Z"), 'CoalescedInt4 has no variant "Z"'),
        ((dense, out, *int4, "--method", "magic"), "a.weight: .*magic"),
        ((dense, out, *int4, "--group-size", "31"), "nothing to quantize.*group size 31"),
        ((dense, out, *int4, "--include", "nothing"), "among 9 tensors: not included"),
        ((dense, out, "--format", "exact", "--variant", "A"), "--variant is of no use"),
        ((dense, out, "--format", "exact", "--group-size", "32"), "--group-size is of no use"),
        ((dense, tmp_path / "out.gguf", *int4), "is a .safetensors file, not .*out.gguf"),
        ((dense, dense, *int4), "in.safetensors is the input"),
        ((dense, link, *int4), "link.safetensors is the input"),
        ((dense, tmp_path / "no" / "out.safetensors", *int4), "No such file"),
        ((tmp_path / "no.safetensors", out, *int4), "no.safetensors: No such file"),
        ((tmp_path / "x.bin", out, *int4), "neither a .safetensors nor a .gguf file"),
    ):
        assert re.search(text, failure("quantize", *arguments)), text
    assert os.listdir(tmp_path) == ["link.safetensors"]
    assert cli("quantize", dense, out, *int4, "--include", "(").returncode == 2
    assert cli("quantize", dense).returncode == 2


def test_a_failure_leaves_the_old_output(tmp_path):
    """The tensor before the one with a NaN has been written by then."""
    path, out = tmp_path / "nan.safetensors", tmp_path / "out.safetensors"
    values = np.ones((4, 64), np.float32)
    bad = values.copy()
    bad[2, 5] = np.nan
    aotiny.save_file({"good": values, "bad": bad}, path)
    out.write_bytes(b"old")
    text = failure("quantize", path, out, "--format", "int4")
    assert "nan.safetensors: bad: " in text and "[2, 5] is nan" in text
    assert out.read_bytes() == b"old"
    assert sorted(os.listdir(tmp_path)) == ["nan.safetensors", "out.safetensors"]


def test_progress_is_for_terminals(dense, tmp_path):
    main, terminal = pty.openpty()
    command = [sys.executable, "-m", "aotiny", "quantize", dense, tmp_path / "o.safetensors"]
    with os.fdopen(terminal, "wb") as stderr:
        done = subprocess.run(
            [*command, "--format", "int8"], stderr=stderr, stdout=subprocess.PIPE, timeout=120
        )
        written = os.read(main, 1 << 20).decode()
    os.close(main)
    assert done.returncode == 0 and b"quantized" in done.stdout
    shown = [part for part in written.split("\r\033[K") if part]
    assert len(shown) == 9
    assert "1 of 9: 'ids', 1.0 kB" in shown and "9 of 9: " in written


def test_memory_for_one_tensor_at_a_time(tmp_path, run_python):
    path, out = tmp_path / "many.safetensors", tmp_path / "out.safetensors"
    values = np.random.default_rng(0).standard_normal((1024, 2048), dtype=np.float32)
    aotiny.save_file({str(i): values for i in range(8)}, path)
    # The weight that is written, and pieces of one that are compared.
    peak = run_python(
        """
import sys, aotiny
from aotiny.cli import main
assert main(["quantize", *sys.argv[1:], "--format", "int8", "--json"]) == 0
print()
print(aotiny.allocator_stats()["peak_allocated_bytes"])
""",
        path,
        out,
    ).split()[-1]
    assert int(peak) < values.nbytes


# --- inspect ------------------------------------------------------------------------------------


def test_inspect_a_store(dense, tmp_path):
    out = tmp_path / "out.safetensors"
    success("quantize", dense, out, "--format", "int4", "--include", "^a|^c")
    found = json.loads(success("inspect", out, "--json"))
    loaded = aotiny.load_file(out)
    assert (found["kind"], found["version"]) == ("safetensors", "1")
    assert found["metadata"] == {"who": "me"}
    assert found["totals"] == {
        "tensors": 9,
        "weights": 2,
        "numel": sum(tensor.numel() for tensor in tensors().values()),
        "nbytes": sum(value.nbytes for value in loaded.values()),
    }
    entries = {entry.pop("name"): entry for entry in found["tensors"]}
    assert list(entries) == list(loaded)
    assert entries["a.weight"] == {
        "shape": [24, 64], "type": "CoalescedInt4", "variant": "B", "group_size": 32,
        "bits_per_weight": loaded["a.weight"].bits_per_weight, "nbytes": loaded["a.weight"].nbytes,
    }  # fmt: skip
    assert entries["ids"] == {"shape": [2, 64], "dtype": "int64", "nbytes": 1024}
    text = success("inspect", out)
    assert text.startswith("safetensors, version 1\n")
    assert "\n  who: me\n" in text  # safetensors writes metadata in any order
    assert "9 tensors, 2 of them quantized; " in text
    assert re.search(r"a\.weight +\[24, 64\] +CoalescedInt4 B g32 +5.000 +960\n", text)


def test_inspect_other_peoples_files(dense, tmp_path):
    text = success("inspect", dense)
    assert text.startswith("safetensors\n")
    assert "\n  who: me\n" in text
    assert "9 tensors, 0 of them quantized" in text
    path = tmp_path / "odd.SAFETENSORS"
    safetensors.torch.save_file(
        {"new\nline\033[2J": torch.zeros(())}, path, {"long": "x" * 1000, "b\tell": "a\ab"}
    )
    text = success("inspect", path)
    assert "\033" not in text and "\a" not in text
    assert "new\\nline" in text and "x... (1000 characters)" in text


def test_inspect_says_what_is_wrong(dense, tmp_path):
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(dense.read_bytes()[:-1])
    assert "1 bytes after the data" in failure("inspect", broken)
    assert "has no checksums to verify" in failure("inspect", dense, "--verify")
    assert "No such file" in failure("inspect", tmp_path / "no.safetensors")


def test_tables():
    lines = table_lines(("a", " b"), [("one", "1"), ("x\ny", "100")])
    assert lines == ["a       b", "one     1", "x\\ny  100"]
    assert [bytes_text(n) for n in (0, 999, 1000, 54_321, 2_000_000, 3_456_000_000_000)] == [
        "0 B", "999 B", "1.0 kB", "54.3 kB", "2.0 MB", "3456.0 GB",
    ]  # fmt: skip
