"""The README's table of the demo's figures is the recorded data's."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks/demo_results.py"


@pytest.fixture
def results():
    spec = importlib.util.spec_from_file_location("demo_results", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def check(results, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["demo_results.py", "check"])
    results.main()


def test_the_table_is_that_of_the_data(results, monkeypatch):
    if not results.DATA.exists():
        # Where there is no data the README must not quote any.
        assert results.split_readme()[1].strip() == ""
        return
    check(results, monkeypatch)


def test_a_table_that_differs_is_found(results, monkeypatch, tmp_path):
    row = {
        "cosine_mean": 0.99,
        "cosine_min": 0.98,
        "cold_start_ms": 12.0,
        "latency_ms": {"1": 1.5, "32": 30.0},
        "peak_rss_mb": 80.0,
        "package_mb": 90.0,
    }
    data = {
        "command": "c",
        "machine": {"cpu": "p", "cores": 2, "instruction_sets": ["avx2"]},
        "versions": {"python": "3", "torch": "2"},
        "variants": [{"name": "fp32", **row}],
        "torch": {"name": "torch", **row},
    }
    monkeypatch.setattr(results, "DATA", tmp_path / "demo.json")
    monkeypatch.setattr(results, "README", tmp_path / "README.md")
    results.DATA.write_text(json.dumps(data))
    text = f"before {results.BEGIN}\n{results.table(data)}\n{results.END} after"
    results.README.write_text(text)
    check(results, monkeypatch)
    results.README.write_text(text.replace("1.50 ms", "1.40 ms", 1))
    with pytest.raises(SystemExit, match="render it again"):
        check(results, monkeypatch)
