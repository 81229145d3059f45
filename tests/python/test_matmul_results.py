"""bench_matmul.py's choice of cells, its floors and its tables; nothing is timed."""

import importlib
import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
RATES = {
    "read_bytes_per_s": 4e12,
    "read_by": "a kernel",
    "operations_per_s": {"bf16": 800e12, "int8": 1600e12},
}


@pytest.fixture
def cells(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("matmul_cells")


@pytest.fixture
def results(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("matmul_results")


def row(name, m, us, *, n=4096, k=2048, activation="default", arithmetic="int8", nbytes=5_000_000):
    return {
        "n": n,
        "k": k,
        "m": m,
        "name": name,
        "activation": activation,
        "arithmetic": arithmetic,
        "weight_bytes": nbytes,
        "copies": 60,
        "error": 0.005,
        "us": us,
        "us_low": 0.99 * us,
        "us_high": 1.01 * us,
        "calls": 60,
        "replays": 25,
    }


@pytest.fixture
def data():
    return {
        "command": "python benchmarks/bench_matmul.py",
        "machine": {"gpu": "a GPU", "multiprocessors": 132, "driver": "1.2"},
        "versions": {"aotiny": "0.1.0", "torch": "2.11.0", "cuda": "13.0", "python": "3.12"},
        "seconds": 12.0,
        "bounds": {"bf16": 4e-3, "int8": 1e-2},
        "rates": RATES,
        "failures": [],
        "cells": [
            row("torch-bf16", 1, 8.0, activation="native", arithmetic="bf16", nbytes=16_777_216),
            row("torch-int4-32", 1, 5.0, activation="native", arithmetic="bf16"),
            row("ExactInt4", 1, 2.0),
            row("PlanarInt6", 1, 4.0),
            row("torch-bf16", 512, 20.0, activation="native", arithmetic="bf16", nbytes=16_777_216),
            row("ExactInt4", 512, 40.0),
            row("ExactInt4", 1, 3.0, n=1024),
        ],
    }


def test_the_scripts_parts_need_neither_torch_nor_aotiny():
    """The choice of cells, the tables and the check of the page run anywhere."""
    code = (
        "import sys; sys.modules.update(torch=None, aotiny=None, numpy=None, matplotlib=None); "
        f"sys.path.insert(0, {str(BENCHMARKS)!r}); sys.argv = ['x', 'check']; "
        "import matmul_results; matmul_results.main()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_all_cells(cells):
    chosen = list(cells.chosen_cells(cells.SHAPES, cells.ROWS, cells.GPU_FORMATS))
    assert len(set(chosen)) == len(chosen)
    # Four shapes; six formats and cuBLAS at every M, torch's int4 in two group sizes up to 128.
    assert len(chosen) == 4 * (7 * 15 + 2 * 10)
    weights = [(cell.n, cell.k, cell.weight) for cell in chosen]
    changes = sum(a != b for a, b in pairwise(weights))
    assert changes + 1 == len(set(weights)) == 4 * 7  # each weight is made once
    for cell in chosen:
        if cell.name.startswith("torch-int4"):
            assert cell.m <= 128
            assert cell.weight.rpartition("-")[2] == cell.name.rpartition("-")[2]


def test_chosen_cells(cells):
    def names(formats, **options):
        chosen = cells.chosen_cells([(8, 32)], [1, 256], formats, **options)
        return [(cell.name, cell.activation, cell.m) for cell in chosen]

    assert names(["PlanarInt6"]) == [
        ("torch-bf16", "native", 1),
        ("torch-bf16", "native", 256),
        ("PlanarInt6", "default", 1),
        ("PlanarInt6", "default", 256),
    ]
    assert names(["Int4TilePacked-128"], peers=[]) == [
        ("Int4TilePacked-128", "default", 1),
        ("Int4TilePacked-128", "default", 256),
    ]
    # A format's peer comes along although nobody asked for the weight that it takes.
    assert ("torch-int4-32", "native", 1) in names(["ExactInt4"])
    both = names(["Int8", "Int4TilePacked-32"], activations=["int8", "native"], peers=[])
    assert both == [
        ("Int8", "int8", 1),
        ("Int8", "int8", 256),
        ("Int8", "native", 1),
        ("Int8", "native", 256),
        ("Int4TilePacked-32", "native", 1),
        ("Int4TilePacked-32", "native", 256),
    ]


def test_the_fastest_arithmetic_that_a_cell_may_use(cells):
    def of(name, activation):
        return cells.Cell(8, 32, 1, name, activation).arithmetic

    assert of("ExactInt4", "default") == of("ExactInt4", "int8") == "int8"
    assert of("ExactInt4", "native") == of("Int4TilePacked-32", "default") == "bf16"
    assert of("torch-bf16", "native") == of("torch-int4-32", "native") == "bf16"


def test_weights_and_outputs_exceed_a_cache(cells):
    assert cells.copies_of(462_422_016, 1, 43008) == 2  # more than that in one
    assert cells.copies_of(10_000_000, 1, 1000) == 30
    assert cells.copies_of(10_000_000, 4096, 4096) == 7  # of 43.6 MB each
    for nbytes in (2_000_000, 9_700_000, 134_000_000):
        for m in cells.ROWS:
            copies = cells.copies_of(nbytes, m, 4096)
            assert copies * (nbytes + 8192 * m) >= 300e6


def test_rounds_make_graphs_long_enough(cells):
    assert cells.rounds_of(3, 30) == 23  # 69 calls of 30 us
    assert cells.rounds_of(3, 200) == 4  # 2.4 ms
    assert cells.rounds_of(3, 5000) == 1
    assert cells.rounds_of(150, 5) == 2  # at least 200 calls
    assert cells.rounds_of(31, 5) == 7
    assert cells.rounds_of(31, 0.01) == 7  # calls that take no time


def test_floors(cells):
    one = row("ExactInt4", 1, 2.0)
    # 5,000,000 of the weight, 4,096 of x, 8,192 of y, at 4 bytes a picosecond
    assert cells.floor_us(one, RATES) == pytest.approx(5_012_288 / 4e6)
    many = row("ExactInt4", 4096, 2.0)
    operations = 2 * 4096 * 4096 * 2048
    assert cells.floor_us(many, RATES) == pytest.approx(operations / 1600e6)
    many["arithmetic"] = "bf16"
    assert cells.floor_us(many, RATES) == pytest.approx(operations / 800e6)
    # The baselines' figure: 43008 x 5376 at 4.625 bits a weight and 4.55 TB/s takes 29.4 us.
    gemma = row("ExactInt4", 1, 1.0, n=43008, k=5376, nbytes=43008 * 5376 * 37 // 64)
    assert cells.floor_us(gemma, {**RATES, "read_bytes_per_s": 4.55e12}) == pytest.approx(
        29.4, abs=0.05
    )


def test_the_best_peer(cells, data):
    rows = data["cells"]
    assert cells.best_peer_us(rows[2], rows) == 5.0
    assert cells.best_peer_us(rows[3], rows) == 8.0  # torch's int4 is no peer of 6 bits
    assert cells.best_peer_us(rows[5], rows) == 20.0
    assert cells.best_peer_us(rows[6], rows) is None  # none of that shape
    assert cells.best_peer_us(rows[0], rows) is None  # a peer itself


def test_the_data_survive_being_written(results, data):
    text = results.as_json(data)
    assert json.loads(text) == data
    assert sum('"us"' in line for line in text.splitlines()) == len(data["cells"])


def test_the_table(results, data):
    first, second = results.shapes(data).values()
    assert results.table(first, RATES).splitlines() == [
        "| M | torch bf16 | torch int4 g32 | ExactInt4 | PlanarInt6 C |",
        "|---:|---:|---:|---:|---:|",
        "| 1 | 8.0, 52% | 5.0, 25% | 2.0, 63%, 2.50x | 4.0, 31%, 2.00x |",
        "| 512 | 20.0, 54% | - | 40.0, 13%, 0.50x | - |",
    ]
    assert results.table(second, RATES).splitlines()[2] == "| 1 | 3.0, 42% |"


def test_activations_have_columns_of_their_own(results):
    rows = [
        row("ExactInt4", 1, 2.0, activation="native", arithmetic="bf16"),
        row("ExactInt4", 1, 1.9, activation="int8"),
        row("ExactInt4", 1, 1.8),
    ]
    header = results.table(rows, RATES).splitlines()[0]
    assert header == "| M | ExactInt4 | ExactInt4, int8 | ExactInt4, native |"


def test_the_page_is_that_of_the_data(results, monkeypatch):
    if not results.DATA.exists():
        # Where there is no data the page must not quote any.
        inside = results.PAGE.read_text().split(results.BEGIN)[1].split(results.END)[0]
        assert inside.strip() == ""
    monkeypatch.setattr(sys, "argv", ["matmul_results.py", "check"])
    results.main()


def test_a_figure_that_differs_is_found(results, data, monkeypatch, tmp_path):
    monkeypatch.setattr(results, "DATA", tmp_path / "matmul.json")
    monkeypatch.setattr(results, "PAGE", tmp_path / "cuda_speed.md")
    monkeypatch.setattr(sys, "argv", ["matmul_results.py", "check"])
    results.DATA.write_text(json.dumps(data))
    page = results.with_figures(f"before {results.BEGIN}\n{results.END} after", data)
    assert page.startswith("before ") and page.endswith(" after")
    results.PAGE.write_text(page)
    results.main()
    results.PAGE.write_text(page.replace("2.0, 63%", "1.9, 63%", 1))
    with pytest.raises(SystemExit, match="render it again"):
        results.main()
    # The same page made again from the data loses what stood there.
    assert results.with_figures(results.PAGE.read_text(), data) == page


def test_pictures(results, data, tmp_path):
    pytest.importorskip("matplotlib")
    for draw in (results.draw_sweep, results.draw_roofline):
        path = tmp_path / f"{draw.__name__}.svg"
        draw(data, path)
        first = path.read_text()
        assert "<svg" in first
        draw(data, path)
        assert path.read_text() == first  # the same bytes for the same data
