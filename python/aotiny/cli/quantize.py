"""Quantize the matrices of a file into a .safetensors file, and say how close they stayed.

Tensors with two dimensions (or three, a stack) of float32, float16 or bfloat16 whose shape fits the
format are quantized; all others are kept as they are. From a .gguf file weights that are quantized
already are carried over exactly unless a format is named.
"""

import argparse
import math
import os
import re
import sys
from pathlib import Path
from typing import Any

from .sources import Source
from .table import bytes_text, format_text, json_text, table_lines

HELP = "quantize a .safetensors or .gguf file"

_FLOATS = ("float32", "float16", "bfloat16")
_CHUNK = 1 << 20  # values compared at a time


def _pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no regular expression: {error}") from None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("input", metavar="IN", help="a .safetensors or .gguf file")
    parser.add_argument("output", metavar="OUT", help="the .safetensors file to write")
    parser.add_argument(
        "--format",
        metavar="F",
        help="as aotiny.quantize knows them: int4, int6, int8, ...; or exact, the default for "
        ".gguf: every tensor as it is",
    )
    parser.add_argument("--variant", metavar="V", help="of the format, such as A, B or C")
    parser.add_argument("--group-size", metavar="G", type=int, help="weights that share a scale")
    parser.add_argument(
        "--method", metavar="M", default="minmax", help="minmax (the default), ..._symmetric or hqq"
    )
    parser.add_argument(
        "--include",
        metavar="REGEX",
        type=_pattern,
        help="quantize only tensors in whose name this is found",
    )
    parser.add_argument(
        "--exclude",
        metavar="REGEX",
        type=_pattern,
        help="quantize no tensors in whose name this is found",
    )


def execute(options: argparse.Namespace) -> None:
    from aotiny.store import WeightPlan, Writer

    _check_paths(options.input, options.output)
    source = Source(options.input)
    if options.format is None and source.kind != "gguf":
        raise ValueError(f"--format is needed for {options.input}; only .gguf has a default")
    plans, kept = _plan(source, options)
    entries = []
    with (
        _Progress(len(plans)) as progress,
        Writer(options.output, plans, _strings(source)) as writer,
    ):
        for name, plan in plans.items():
            progress.show(name, source.nbytes(name))
            value = source[name]
            entry = {
                "name": name,
                "shape": list(plan.shape),
                "source": _format_text(source.plan(name)),
                "source_nbytes": source.nbytes(name),
                "nbytes": plan.nbytes,
            }
            if isinstance(plan, WeightPlan):
                entry |= {
                    "type": plan.type,
                    "variant": plan.variant,
                    "group_size": plan.group_size,
                    "bits_per_weight": plan.bits_per_weight,
                }
            if name in kept:
                entry["kept"] = kept[name]
            else:
                value, errors = _quantize(value, plan, options, name)
                entry |= errors
            writer.write(name, value)
            entries.append(entry)
    report = {
        "input": options.input,
        "output": options.output,
        "totals": _totals(entries),
        "tensors": entries,
    }
    if options.json:
        print(json_text(report, indent=1))
    else:
        print("\n".join(_lines(report)))


def _check_paths(source: str, target: str) -> None:
    if Path(target).suffix != ".safetensors":
        raise ValueError(f"the output is a .safetensors file, not {target}")
    if os.path.exists(target) and os.path.exists(source) and os.path.samefile(source, target):
        raise ValueError(f"{target} is the input; it is not overwritten")


def _plan(source: Source, options: argparse.Namespace) -> tuple[dict[str, Any], dict[str, str]]:
    """What the output holds, and why what is kept as it is is kept."""
    if options.format in (None, "exact"):
        for option in ("variant", "group_size", "include", "exclude"):
            if getattr(options, option) is not None:
                raise ValueError(f"--{option.replace('_', '-')} is of no use without a --format")
        names = list(source)
        return {name: source.plan(name) for name in names}, dict.fromkeys(names, "exact")

    from aotiny import Error, _core
    from aotiny.store import TensorPlan, WeightPlan

    type, variant, group_size = _core.named_format(options.format, options.variant)
    if options.group_size is not None:
        group_size = options.group_size
    plans, kept = {}, {}
    for name in source:
        before = plans[name] = source.plan(name)
        if options.include and not options.include.search(name):
            kept[name] = "not included"
        elif options.exclude and options.exclude.search(name):
            kept[name] = "excluded"
        elif isinstance(before, TensorPlan) and before.dtype not in _FLOATS:
            kept[name] = before.dtype
        elif len(before.shape) not in (2, 3):
            kept[name] = f"{len(before.shape)} dimensions"
        else:
            after = WeightPlan(type, variant, before.shape, group_size)
            try:
                after.planes()
            except Error as error:
                kept[name] = str(error)
            else:
                plans[name] = after
    if len(kept) == len(plans):
        reasons = sorted(set(kept.values()))
        raise ValueError(
            f"{options.input} has nothing to quantize among {len(plans)} tensors: "
            + "; ".join(reasons[:5])
        )
    return plans, kept


def _quantize(value, plan, options: argparse.Namespace, name: str) -> tuple[Any, dict[str, Any]]:
    """The weight, and how far it is from the values."""
    import aotiny
    from aotiny.errors import prefixed

    values = value.dequantize() if isinstance(value, aotiny.Weight) else value
    try:
        weight = aotiny.quantize(
            values, options.format, plan.group_size, options.method, plan.variant
        )
    except aotiny.Error as failure:
        raise prefixed(f"{options.input}: {name}", failure) from None
    return weight, _errors(values, weight)


def _errors(values, weight) -> dict[str, Any]:
    """Signal to noise and the largest difference, and the sums that totals are made of."""
    import numpy as np

    is_stack = len(values.shape) == 3
    matrices = zip(values, weight, strict=True) if is_stack else [(values, weight)]
    signal = noise = largest = 0.0
    for matrix, packed in matrices:
        n, k = matrix.shape
        step = max(8, _CHUNK // k // 8 * 8)  # some types are cut between eights of rows only
        for begin in range(0, n, step):
            rows = matrix[begin : begin + step].to("float32").numpy()
            difference = packed[begin : begin + step].dequantize().numpy() - rows
            signal += float(np.square(rows, dtype=np.float64).sum())
            noise += float(np.square(difference, dtype=np.float64).sum())
            largest = max(largest, float(np.abs(difference).max()))
    return {"snr_db": _snr(signal, noise), "max_error": largest, "signal": signal, "noise": noise}


def _snr(signal: float, noise: float) -> float | None:
    """In dB; None where nothing was lost or nothing was there."""
    return 10 * math.log10(signal / noise) if signal > 0 and noise > 0 else None


def _totals(entries: list[dict[str, Any]]) -> dict[str, Any]:
    """Sums over all tensors; bits and errors over those that were quantized."""
    signal = sum(entry.pop("signal", 0) for entry in entries)
    noise = sum(entry.pop("noise", 0) for entry in entries)
    quantized = [entry for entry in entries if "kept" not in entry]
    count = sum(math.prod(entry["shape"]) for entry in quantized)
    nbytes = sum(entry["nbytes"] for entry in quantized)
    return {
        "tensors": len(entries),
        "quantized": len(quantized),
        "source_nbytes": sum(entry["source_nbytes"] for entry in entries),
        "nbytes": sum(entry["nbytes"] for entry in entries),
        "bits_per_weight": 8 * nbytes / count if count else None,
        "snr_db": _snr(signal, noise),
        "max_error": max((entry["max_error"] for entry in quantized), default=None),
    }


def _format_text(plan) -> str:
    """A dtype, or type, variant and group size."""
    return format_text(plan._asdict())


def _lines(report: dict[str, Any]):
    totals = report["totals"]
    rows = [_row(entry) for entry in report["tensors"]]
    yield from table_lines(("name", "shape", "from", "to", " bits", " SNR dB", " max error"), rows)
    yield ""
    yield (
        f"{totals['quantized']} of {totals['tensors']} tensors quantized; "
        f"{bytes_text(totals['source_nbytes'])} -> {bytes_text(totals['nbytes'])}"
    )
    if totals["quantized"]:
        snr = "no error" if totals["snr_db"] is None else f"SNR {totals['snr_db']:.2f} dB"
        yield (
            f"those: {totals['bits_per_weight']:.3f} bits a weight, {snr}, largest error "
            f"{totals['max_error']:.3g}"
        )


def _row(entry: dict[str, Any]) -> tuple[str, ...]:
    shape = str(entry["shape"])
    bits = f"{entry['bits_per_weight']:.3f}" if "bits_per_weight" in entry else ""
    if "kept" in entry:
        return entry["name"], shape, entry["source"], f"kept: {entry['kept']}", bits, "", ""
    snr = "-" if entry["snr_db"] is None else f"{entry['snr_db']:.2f}"
    error = f"{entry['max_error']:.3g}"
    return entry["name"], shape, entry["source"], format_text(entry), bits, snr, error


def _strings(source: Source) -> dict[str, str]:
    """The input's metadata for the output: texts as they are, other values but lists as JSON."""
    return {
        key: value if isinstance(value, str) else json_text(value)
        for key, value in source.metadata.items()
        if not isinstance(value, list)
    }


class _Progress:
    """One line on stderr that changes, if stderr is a terminal."""

    def __init__(self, total: int):
        self._total = total
        self._done = 0
        self._shown = sys.stderr.isatty()

    def show(self, name: str, nbytes: int) -> None:
        self._done += 1
        if self._shown:
            text = f"{self._done} of {self._total}: {name[:60]!r}, {bytes_text(nbytes)}"
            print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)

    def __enter__(self) -> "_Progress":
        return self

    def __exit__(self, *_: object) -> None:
        if self._shown:
            print("\r\033[K", end="", file=sys.stderr, flush=True)
