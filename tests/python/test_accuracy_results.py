"""The tables of docs/accuracy.md are those of the recorded data."""

import importlib
import json
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def results(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("bench_accuracy")


def check(results, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["bench_accuracy.py", "check"])
    results.main()


def test_the_tables_are_those_of_the_data(results, monkeypatch):
    check(results, monkeypatch)


def test_a_table_that_differs_is_found(results, monkeypatch, tmp_path):
    page = results.PAGE.read_text()
    value = json.loads(results.DATA.read_text())["rows"][0]["cosine_mean"]
    assert f"{value:.5f}" in page
    monkeypatch.setattr(results, "PAGE", tmp_path / "accuracy.md")
    results.PAGE.write_text(page.replace(f"{value:.5f}", "0.99999", 1))
    with pytest.raises(SystemExit, match="render it again"):
        check(results, monkeypatch)


def test_hqq_is_better_than_minmax_on_minilm(results):
    """What docs/quantization.md concludes, from the data."""
    table = results.by_configuration(json.loads(results.DATA.read_text()), "minilm")
    for (format, _, group_size), methods in table.items():
        minmax, hqq = methods["minmax"], methods["hqq"]
        assert hqq["snr_db"] > minmax["snr_db"]
        if format == "int4" and group_size >= 64:
            assert hqq["cosine_mean"] > minmax["cosine_mean"]
