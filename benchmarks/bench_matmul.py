"""Products with quantized weights on a GPU, against torch's in the same process.

    python benchmarks/bench_matmul.py [--quick] [--json] [--record]
        [--shape N,K ...] [--m M ...] [--format NAME ...] [--activation default|int8|native ...]

x is bf16. Every cell's result is checked, then a CUDA graph of calls that take several weights in
turns is replayed; matmul_cells.py has what is measured and the bounds of the check. Prints a table
for each shape, or data with --json. --record writes benchmarks/results/matmul.json, from which
matmul_results.py makes docs/cuda_speed.md and its pictures; it wants the GPU for itself and every
cell right. Needs torch with CUDA and Triton, and aotiny.
"""

import argparse
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from itertools import groupby

import torch
from gpu_rates import measured_rates
from gpu_timing import captured, time_calls
from matmul_cells import (
    ACTIVATIONS,
    BOUNDS,
    GPU_FORMATS,
    GPU_PEERS,
    PEERS,
    QUICK_ROWS,
    QUICK_SHAPES,
    ROWS,
    SHAPES,
    Cell,
    chosen_cells,
    copies_of,
    floor_us,
)
from matmul_results import DATA, all_tables, as_json
from random_weights import random_weight

import aotiny

DEVICE = "cuda:0"
SEED = 2026
IDLE_MIB = 1000  # more memory than this in use before we begin is another process's


def weight_of(name: str, n: int, k: int):
    """A random weight of a format, or a tensor for "bf16"."""
    if name == "bf16":
        return torch.randn(n, k, device=DEVICE, dtype=torch.bfloat16) * 0.05
    return random_weight(name, n, k, DEVICE)


class Weights:
    """Copies of a random weight, and the exact products of x with them."""

    def __init__(self, name: str, n: int, k: int, least_m: int, x: torch.Tensor):
        first = weight_of(name, n, k)
        self.nbytes = first.nbytes
        count = copies_of(self.nbytes, least_m, n)
        self.copies = [first] + [weight_of(name, n, k) for _ in range(count - 1)]
        # Rows of a product do not depend on each other: all cells take theirs from these.
        self.exact = [x.float() @ dense(weight).t() for weight in self.copies]


def dense(weight) -> torch.Tensor:
    """The values of a weight, fp32."""
    if isinstance(weight, torch.Tensor):
        return weight.float()
    return torch.from_dlpack(weight.dequantize())


def product_of(cell: Cell, weight) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """f(x, out) that returns the tensor with the result: `out`, or one of its own."""
    if cell.name == "torch-bf16":
        transposed = weight.t()
        return lambda x, out: torch.mm(x, transposed, out=out)
    if cell.name in PEERS:
        planes = {name: torch.from_dlpack(plane) for name, plane in weight.tensors().items()}
        codes, scales = planes["qdata"], planes["scales_and_zeros"]
        size = weight.group_size
        return lambda x, out: torch.ops.aten._weight_int4pack_mm(x, codes, size, scales)
    activation = None if cell.activation == "default" else cell.activation
    return lambda x, out: aotiny.matmul(x, weight, out=out, activation=activation)


def measure(cell: Cell, weights: Weights, x: torch.Tensor, stream: torch.cuda.Stream) -> dict:
    """The cell's figures; ValueError for a wrong result."""
    count = copies_of(weights.nbytes, cell.m, cell.n)
    x = x[: cell.m]
    outs = [torch.empty(cell.m, cell.n, dtype=x.dtype, device=x.device) for _ in range(count)]
    products = [product_of(cell, weight) for weight in weights.copies]
    calls = [partial(f, x, out) for f, out in zip(products, outs, strict=False)]
    torch.cuda.synchronize()
    with torch.cuda.stream(stream), aotiny.cuda.stream(stream.cuda_stream, x.device.index):
        calls[0]()  # loads what a capture cannot
    stream.synchronize()
    graph, results = captured(stream, calls)

    for result in results:
        result.fill_(float("nan"))
    torch.cuda.synchronize()
    with torch.cuda.stream(stream):
        graph.replay()
    torch.cuda.synchronize()
    errors = [
        (torch.linalg.vector_norm(result.float() - exact[: cell.m]))
        / torch.linalg.vector_norm(exact[: cell.m])
        for result, exact in zip(results, weights.exact, strict=False)
    ]
    error, bound = torch.stack(errors).max().item(), BOUNDS[cell.arithmetic]
    if not error <= bound:  # NaN is wrong
        raise ValueError(f"the result is off by {error:.2e} of its norm, bound {bound:.0e}")
    return {
        **asdict(cell),
        "arithmetic": cell.arithmetic,
        "weight_bytes": weights.nbytes,
        "copies": count,
        "error": round(error, 6),
        **time_calls(stream, calls, graph),
    }


def measure_all(cells: Sequence[Cell], rates: dict, stream: torch.cuda.Stream) -> tuple[list, list]:
    """The figures of the cells that are right, and sentences about the others."""
    rows, failures = [], []
    for (n, k, name), group in groupby(cells, key=lambda cell: (cell.n, cell.k, cell.weight)):
        group = list(group)
        sizes = [cell.m for cell in group]
        x = torch.randn(max(sizes), k, device=DEVICE).bfloat16()
        weights = Weights(name, n, k, min(sizes), x)
        for cell in group:
            try:
                row = measure(cell, weights, x, stream)
            except (ValueError, RuntimeError) as error:
                failures.append(f"{cell}: {error}")
                print(failures[-1], file=sys.stderr, flush=True)
                continue
            rows.append(row)
            print(
                f"{n:6}x{k:<6}{row['m']:5}  {row['name']:19}{row['activation']:8}"
                f"{row['us']:10.1f} us  {row['us_low']:.1f}..{row['us_high']:.1f}"
                f"  {floor_us(row, rates) / row['us']:5.0%} of the floor  error {row['error']:.1e}",
                file=sys.stderr,
                flush=True,
            )
        del weights
    return rows, failures


def query(what: str) -> str:
    """A field of nvidia-smi's about the first GPU."""
    command = ["nvidia-smi", f"--query-gpu={what}", "--format=csv,noheader,nounits", "--id=0"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def machine() -> dict:
    properties = aotiny.cuda.get_device_properties(0)
    return {
        "gpu": properties["name"],
        "compute_capability": list(properties["compute_capability"]),
        "multiprocessors": properties["num_multiprocessors"],
        "l2_cache_bytes": properties["l2_cache_bytes"],
        "driver": query("driver_version"),
    }


def versions() -> dict:
    return {
        "aotiny": aotiny.__version__,
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "python": platform.python_version(),
    }


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer shapes and rows")
    parser.add_argument("--shape", nargs="+", default=[], metavar="N,K")
    parser.add_argument("--m", nargs="+", type=int, help="rows of x")
    parser.add_argument("--format", nargs="+", choices=GPU_FORMATS, default=GPU_FORMATS)
    parser.add_argument("--activation", nargs="+", choices=ACTIVATIONS, default=["default"])
    parser.add_argument("--no-peers", action="store_true", help="without torch's products")
    parser.add_argument("--json", action="store_true", help="print data instead of tables")
    parser.add_argument("--record", action="store_true", help=f"write {DATA.name} in results/")
    options = parser.parse_args()
    shapes = [tuple(map(int, shape.split(","))) for shape in options.shape]
    options.shapes = shapes or (QUICK_SHAPES if options.quick else SHAPES)
    options.m = options.m or (QUICK_ROWS if options.quick else ROWS)
    return options


def main() -> None:
    options = arguments()
    if not torch.cuda.is_available():
        sys.exit("torch finds no GPU")
    in_use = int(query("memory.used"))  # before this process takes any
    if aotiny.cuda.why_not():
        sys.exit(aotiny.cuda.why_not())
    if options.record and in_use > IDLE_MIB:
        sys.exit(f"another process has {in_use} MiB of the GPU: what it does would be recorded too")
    torch.manual_seed(SEED)
    torch.backends.cuda.matmul.allow_tf32 = False
    stream = torch.cuda.Stream()
    start = time.perf_counter()
    rates = measured_rates(stream)
    cells = list(
        chosen_cells(
            options.shapes,
            options.m,
            options.format,
            options.activation,
            [] if options.no_peers else GPU_PEERS,
        )
    )
    rows, failures = measure_all(cells, rates, stream)
    data = {
        "command": " ".join(["python benchmarks/bench_matmul.py", *sys.argv[1:]]),
        "machine": machine(),
        "versions": versions(),
        "memory_in_use_before_mib": in_use,
        "seconds": round(time.perf_counter() - start, 1),
        "bounds": BOUNDS,
        "rates": rates,
        "failures": failures,
        "cells": rows,
    }
    print(as_json(data) if options.json else all_tables(data))
    if failures:
        sys.exit(f"{len(failures)} of {len(cells)} cells failed: {failures[0]}")
    if options.record:
        DATA.write_text(as_json(data) + "\n")


if __name__ == "__main__":
    main()
