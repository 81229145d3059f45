"""bench_decoder.py's model, small and on the CPU, and its tables; nothing is timed."""

import importlib
import json
import zipfile
from pathlib import Path

import pytest

import aotiny

torch = pytest.importorskip("torch")

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def model(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("decoder_model")


@pytest.fixture
def results(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("decoder_results")


def row(layers: int, us: float, kernels_us: float | None = None) -> dict:
    product = "void aotiny::(anonymous namespace)::mm<aotiny::Int4<(aotiny::Kind)2>, (bool)1>(int)"
    kernels = [
        {"name": product, "count": 3.0, "us": 9},
        *({"name": f"triton_{i}", "count": 1.0, "us": 0.5} for i in range(13)),
    ]  # fmt: skip
    return {
        "layers": layers, "weight_bytes": 1_000_000_000 + layers * 300_000_000,
        "cache_bytes": layers * 20_000_000, "package_bytes": 0, "load_s": 1.0, "error": 0.012,
        "call_us": us + 50, "us": us, "us_low": us, "us_high": us, "calls": 4, "replays": 9,
        "kernels": kernels if kernels_us else [], "kernels_us": kernels_us,
    }  # fmt: skip


def data(*rows) -> dict:
    return {
        "command": "python benchmarks/bench_decoder.py",
        "machine": {"gpu": "a GPU", "driver": "1.2"},
        "versions": {"aotiny": "0.1.0", "torch": "2.11.0", "cuda": "13.0", "python": "3.12"},
        "memory_in_use_before_mib": 0, "read_bytes_per_s": 4e12, "read_by": "a kernel",
        "bound": 0.03125, "rows": list(rows),
    }  # fmt: skip


def test_exported_it_gives_eager_torchs_logits(model, tmp_path):
    shape = model.Shape(512, 1024, heads=4, kv_heads=2, head=128, vocabulary=512, positions=16)
    module, again = (model.decoder(shape, 2, "cpu") for _ in range(2))
    assert torch.equal(module.layers[1].keys, again.layers[1].keys)
    assert module.embedding.weight is module.head.weight
    path = tmp_path / "decoder.pt2"
    manifest = aotiny.export(module, model.example("cpu"), path)
    mutable = {c["fqn"] for c in manifest["constants"] if c["mutable"]}
    assert mutable == {f"layers.{i}.{name}" for i in range(2) for name in ("keys", "values")}
    # Every weight is in the package once, the shared one too, padded to 64 bytes; small buffers are
    # in it besides.
    weights = model.weight_bytes(module) + 2 * shape.cache_bytes
    with zipfile.ZipFile(path) as archive:
        blobs = [e.file_size for e in archive.infolist() if e.filename.endswith("_weights.blob")]
    assert weights <= sum(blobs) < weights + 50_000
    exported, quiet = aotiny.Model(path), model.decoder(shape, 2, "cpu")
    for position in (0, 1, 15):
        inputs = torch.tensor([position * 7 + 3]), torch.tensor([position])
        (logits,) = exported(*inputs)
        logits = torch.from_dlpack(logits).float()
        with torch.no_grad():
            wanted, forgetful = module(*inputs).float(), quiet(*inputs).float()
        assert float((logits - wanted).norm() / wanted.norm()) < 2**-5
        quiet = model.decoder(shape, 2, "cpu")  # has not seen what came before
        assert position == 0 or float((forgetful - wanted).norm() / wanted.norm()) > 2**-5


def test_bytes_are_those_of_the_planes(model):
    shape = model.Shape(512, 1024, heads=4, kv_heads=2, head=128, vocabulary=512, positions=16)
    int4 = (1024 * 512 + 512 * 512 + 2048 * 512) * 4.625 / 8
    int6 = (512 * 1024 + 512 * 512) * 6.5625 / 8
    one, two = (model.weight_bytes(model.decoder(shape, layers, "cpu")) for layers in (1, 2))
    assert one == int4 + int6
    assert two - one == int4 + 512 * 1024 * 6.5625 / 8
    assert shape.cache_bytes == 2 * 2 * 16 * 128 * 2
    assert model.GEMMA.cache_bytes == 2 * 16 * 2048 * 256 * 2


def test_the_table_has_the_figures_of_a_further_layer(results):
    lines = results.table(data(row(8, 1600, 1500), row(2, 700, 650))).splitlines()
    assert [line.split("|")[1].strip() for line in lines[2:]] == [
        "2 and the head", "8 and the head", "one more",
    ]  # fmt: skip
    # 1.64 and 3.56 GB at 4 TB/s; 320 MB in (1600 - 700) / 6 µs.
    assert "| 1640 | 410 | 700 | 59% | 650 | 750 | 1.2e-02 |" in lines[2]
    assert "| 3560 | 890 | 1600 | 56% | 1500 | 1650 | 1.2e-02 |" in lines[3]
    assert "| 320 | 80 | 150 | 53% | 142 | 150 |  |" in lines[4]
    alone = results.table(data(row(2, 700))).splitlines()
    assert len(alone) == 3 and "| - |" in alone[2]


def test_kernels_are_named_shortly_and_summed_up(results):
    text = results.kernel_table(row(2, 700, 15.5))
    assert "| `mm<Int4<2>, 1>` | 3 | 9.0 | 58.1% |" in text
    assert text.splitlines()[-1] == "| 2 others | 2 | 1.0 | 6.5% |"
    assert len(results.short("x" * 100)) == 60


def test_the_page_is_made_from_the_data(results):
    page = f"Before\n{results.BEGIN}\nold\n{results.END}\nafter\n"
    made = results.with_figures(page, data(row(2, 700, 650)))
    assert made.startswith("Before\n") and made.endswith(f"{results.END}\nafter\n")
    assert "old" not in made and "4.00 TB/s" in made and "`mm<Int4<2>, 1>`" in made
    assert results.with_figures(made, None) == f"Before\n{results.BEGIN}\n{results.END}\nafter\n"
    recorded = json.loads(results.DATA.read_text()) if results.DATA.exists() else None
    assert results.PAGE.read_text() == results.with_figures(results.PAGE.read_text(), recorded)
