"""The CPU's cells of bench_matmul_cpu.py and its tables; nothing is timed."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def cells(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("matmul_cells")


@pytest.fixture
def results(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("matmul_cpu_results")


def row(name, m, us, threads=1, *, read=20e9, nbytes=2_000_000):
    peer = name.startswith("torch")
    return {
        "n": 4096,
        "k": 1024,
        "m": m,
        "name": name,
        "activation": "native" if peer else "default",
        "threads": threads,
        "arithmetic": "bf16" if peer else "int8",
        "weight_bytes": nbytes,
        "copies": 48,
        "error": 0.004 if peer else 0.005,
        "us": us,
        "us_low": 0.9 * us,
        "us_high": 1.1 * us,
        "calls": 20,
        "read_bytes_per_s": read,
    }


@pytest.fixture
def data():
    return {
        "command": "python benchmarks/bench_matmul_cpu.py",
        "machine": {"processor": "a processor", "processors": 2, "load_before": [0.1, 0.2, 0.3]},
        "versions": {"aotiny": "0.1.0", "torch": "2.13.0", "python": "3.11"},
        "seconds": 12.0,
        "bounds": {"bf16": 4e-3, "int8": 1e-2},
        "left_out": [],
        "failures": [],
        "cells": [
            row("torch-bf16", 1, 800.0, nbytes=8_388_608),
            row("torch-int4pack-32", 1, 250.0),
            row("ExactInt4", 1, 125.0, read=16e9),
            row("PlanarInt6", 1, 400.0),
            row("ExactInt4", 1, 62.5, threads=2, read=40e9),
        ],
    }


def test_the_results_need_neither_torch_nor_aotiny():
    code = (
        "import sys; sys.modules.update(torch=None, aotiny=None, numpy=None, matplotlib=None); "
        f"sys.path.insert(0, {str(BENCHMARKS)!r}); sys.argv = ['x', 'check']; "
        "import matmul_cpu_results; matmul_cpu_results.main()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_contestant_of_the_cpu(cells):
    chosen = list(cells.chosen_cells([(8, 32)], [1, 512], cells.CPU_FORMATS, peers=cells.CPU_PEERS))
    names = {cell.name for cell in chosen}
    assert names == {*cells.CPU_FORMATS, "torch-bf16", "torch-fp32", "torch-int4pack-32"}
    assert len(chosen) == 2 * len(names)
    weights = {cell.name: cell.weight for cell in chosen}
    assert weights["torch-fp32"] == "fp32" and weights["torch-int4pack-32"] == "int4pack-32"
    # 6 bits have no peer of 4.
    only = cells.chosen_cells([(8, 32)], [1], ["PlanarInt6"], peers=cells.CPU_PEERS)
    assert [cell.name for cell in only] == ["torch-bf16", "torch-fp32", "PlanarInt6"]


def test_the_tables(results, data):
    text = results.all_tables(data)
    assert "20.0 GB/s with 1 thread and 40.0 GB/s with 2 threads" in text
    # 2,000,000 + 2·1024 + 2·4096 bytes at 20 GB/s take 100.5 us.
    lines = text.splitlines()
    assert lines[2] == "### N = 4096, K = 1024, 1 thread"
    assert lines[4] == "| M | torch bf16 | torch int4 g32 | ExactInt4 | PlanarInt6 C |"
    assert lines[6] == ("| 1 | 800.0, 52% | 250.0, 40% | 125.0, 80%, 2.00x | 400.0, 25%, 2.00x |")
    assert lines[-1] == "| 1 | 62.5, 80% |"
    assert results.all_tables(None) == results.all_tables({**data, "cells": []}) == ""


def test_the_page_is_that_of_the_data(results, data, monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "argv", ["matmul_cpu_results.py", "check"])
    results.main()  # the committed one
    page = tmp_path / "cpu_speed.md"
    page.write_text(results.with_figures(results.PAGE.read_text(), data))
    monkeypatch.setattr(results, "PAGE", page)
    monkeypatch.setattr(results, "DATA", tmp_path / "matmul_cpu.json")
    results.DATA.write_text(json.dumps(data))
    results.main()
    page.write_text(page.read_text().replace("125.0, 80%", "124.0, 80%"))
    with pytest.raises(SystemExit, match="render it again"):
        results.main()


def test_the_picture(results, data, monkeypatch, tmp_path):
    pytest.importorskip("matplotlib")
    page = tmp_path / "cpu_speed.md"
    page.write_text(results.PAGE.read_text())
    monkeypatch.setattr(results, "PAGE", page)
    monkeypatch.setattr(results, "DATA", tmp_path / "matmul_cpu.json")
    monkeypatch.setattr(results, "SWEEP", tmp_path / "cpu_matmul.svg")
    results.DATA.write_text(json.dumps(data))
    monkeypatch.setattr(sys, "argv", ["matmul_cpu_results.py", "render"])
    results.main()
    assert "<svg" in results.SWEEP.read_text()
    assert "N = 4096, K = 1024, 2 threads" in page.read_text()
