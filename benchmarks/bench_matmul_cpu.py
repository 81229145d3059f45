"""Products with quantized weights on the CPU, against torch's in the same process.

    python benchmarks/bench_matmul_cpu.py [--quick] [--json] [--record] [--threads T ...]
        [--shape N,K ...] [--m M ...] [--format NAME ...] [--activation default|int8|native ...]
        [--seconds S]

x is bf16 (fp32 for torch's fp32 product). Every cell's result is checked against fp64 before it is
timed. All contestants of a shape, a number of threads and an M take turns, call by call, each with
the next of several copies of its weight, and so does reading memory; so ratios hold on a machine
whose speed drifts. Prints a table for each shape and number of threads, or data with --json.
--record writes benchmarks/results/matmul_cpu.json, from which matmul_cpu_results.py makes
docs/cpu_speed.md and its picture; it wants the machine for itself and every cell right. Shapes that
do not fit into free memory are left out, with a sentence. Needs torch and aotiny.
"""

import argparse
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import cycle, groupby

import torch  # before aotiny: its OpenMP is then the one that both use
from matmul_cells import (
    ACTIVATIONS,
    BOUNDS,
    CPU_FORMATS,
    CPU_PEERS,
    FORMATS,
    PEERS,
    Cell,
    chosen_cells,
)
from matmul_cpu_results import DATA, all_tables
from matmul_results import as_json
from random_weights import random_weight

import aotiny

SEED = 2026
# N, K of Llama-8B's gate and up and its attention's output, of Gemma-31B's gate and up, and of
# MiniLM's attention and its two feed-forward layers.
SHAPES = [(28672, 4096), (4096, 4096), (43008, 5376), (384, 384), (1536, 384), (384, 1536)]
ROWS = [1, 2, 4, 8, 16, 32, 128, 512]
QUICK_SHAPES = [(28672, 4096), (1536, 384)]
QUICK_ROWS = [1, 4, 16, 128]
ROTATED_BYTES = 96e6  # of copies of a weight, several times a third-level cache
MAX_COPIES = 64
READ_BYTES = 256 << 20
LEAST_CALLS = 5
PAUSE_SECONDS = 0.002  # in which the threads of the call before go to sleep
CHUNK = 2048  # rows of a weight that are multiplied in fp64 at a time
IDLE_LOAD = 0.5  # a higher load average before we begin is that of others


def int4pack(n: int, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """torch's own packing for this processor of random codes, and scales and zeros."""
    codes = torch.randint(0, 16, (n, k), dtype=torch.int32)
    packed = torch.ops.aten._convert_weight_to_int4pack_for_cpu(codes, 2)
    scales = torch.empty(k // 32, n, 1).uniform_(5e-3, 1.5e-2)
    zeros = torch.empty(k // 32, n, 1).uniform_(-1.5e-2, 1.5e-2)
    return codes, packed, torch.cat([scales, zeros], 2).bfloat16()


class Weights:
    """Copies of a random weight, and what they are as fp32 [n, k]."""

    def __init__(self, name: str, n: int, k: int):
        if name in ("bf16", "fp32"):
            dtype = torch.bfloat16 if name == "bf16" else torch.float32
            first = (torch.randn(n, k) * 0.05).to(dtype)
            self.nbytes, copy, self.dense = first.nbytes, first.clone, first.float
        elif name == "int4pack-32":
            codes, packed, scales = int4pack(n, k)
            self.nbytes = packed.nbytes + scales.nbytes
            first = (packed, scales)
            copy = lambda: (packed.clone(), scales.clone())  # noqa: E731
            both = scales.float().repeat_interleave(32, 0)  # [k, n, 2]
            self.dense = lambda: (codes - 8) * both[..., 0].t() + both[..., 1].t()
        else:
            first = random_weight(name, n, k, "cpu")
            self.nbytes = first.nbytes
            copy = partial(copied, first)
            self.dense = lambda: torch.from_dlpack(first.dequantize())
        count = int(min(MAX_COPIES, max(2, ROTATED_BYTES // self.nbytes)))
        self.copies = [first] + [copy() for _ in range(count - 1)]


def copied(weight: aotiny.Weight) -> aotiny.Weight:
    tensors = {name: torch.from_dlpack(t).clone() for name, t in weight.tensors().items()}
    return type(weight).from_tensors(group_size=weight.group_size, **tensors)


def exact_product(x: torch.Tensor, dense: torch.Tensor) -> torch.Tensor:
    wide = x.double()
    return torch.cat([wide @ part.double().t() for part in dense.split(CHUNK)], 1)


def product_of(cell: Cell) -> Callable:
    """f(x, weight) -> y."""
    if cell.name == "torch-int4pack-32":
        multiply = torch.ops.aten._weight_int4pack_mm_for_cpu
        return lambda x, weight: multiply(x, weight[0], 32, weight[1])
    if cell.name in PEERS:
        return torch.nn.functional.linear
    activation = None if cell.activation == "default" else cell.activation
    return partial(aotiny.matmul, activation=activation)


def as_tensor(y) -> torch.Tensor:
    return y if isinstance(y, torch.Tensor) else torch.from_dlpack(y)


@dataclass
class Contestant:
    cell: Cell
    x: torch.Tensor
    weights: Weights
    error: float

    def __post_init__(self):
        self.rotation = cycle(self.weights.copies)
        self.product = product_of(self.cell)
        self.seconds: list[float] = []

    def take_turn(self) -> None:
        """A call that wakes the threads, and one that is timed."""
        time.sleep(PAUSE_SECONDS)
        self.product(self.x, next(self.rotation))
        weight = next(self.rotation)
        start = time.perf_counter()
        self.product(self.x, weight)
        self.seconds.append(time.perf_counter() - start)


class Reader:
    """Reads memory with torch, in two ways, of which the faster counts."""

    def __init__(self):
        self.floats = torch.ones(READ_BYTES // 4)
        self.rates: list[float] = []

    def take_turn(self) -> None:
        time.sleep(PAUSE_SECONDS)
        for buffer in (self.floats, self.floats.view(torch.int64)):
            start = time.perf_counter()
            buffer.sum()
            self.rates.append(READ_BYTES / (time.perf_counter() - start))


def error_of(cell: Cell, x: torch.Tensor, weights: Weights, exact: torch.Tensor) -> float:
    """|y - exact| / |exact|; ValueError beyond the bound."""
    y = as_tensor(product_of(cell)(x, weights.copies[-1])).double()
    exact = exact[: cell.m]
    error = (torch.linalg.vector_norm(y - exact) / torch.linalg.vector_norm(exact)).item()
    bound = BOUNDS[cell.arithmetic]
    if not error <= bound:  # NaN is wrong
        raise ValueError(f"the result is off by {error:.2e} of its norm, bound {bound:.0e}")
    return error


def percentile(values: Sequence[float], part: float) -> float:
    return sorted(values)[int(part * (len(values) - 1))]


def row_of(contestant: Contestant, threads: int) -> dict:
    us = [1e6 * seconds for seconds in contestant.seconds]
    return {
        **asdict(contestant.cell),
        "threads": threads,
        "arithmetic": contestant.cell.arithmetic,
        "weight_bytes": contestant.weights.nbytes,
        "copies": len(contestant.weights.copies),
        "error": round(contestant.error, 6),
        "us": round(statistics.median(us), 2),
        "us_low": round(percentile(us, 0.1), 2),
        "us_high": round(percentile(us, 0.9), 2),
        "calls": len(us),
    }


def measure_shape(cells: Sequence[Cell], threads: Sequence[int], seconds: float, reader: Reader):
    """(rows, failures) of the cells of one shape."""
    rows, failures = [], []
    n, k = cells[0].n, cells[0].k
    x = torch.randn(max(cell.m for cell in cells), k).bfloat16()
    weights, errors = {}, {}
    for name, group in groupby(cells, key=lambda cell: cell.weight):
        weights[name] = Weights(name, n, k)
        exact = exact_product(x, weights[name].dense())
        for cell in group:
            try:
                errors[cell] = error_of(cell, x_for(cell, x), weights[name], exact)
            except (ValueError, RuntimeError) as error:
                failures.append(f"{cell}: {error}")
                print(failures[-1], file=sys.stderr, flush=True)
        del exact
    for count in threads:
        torch.set_num_threads(count)
        for m in sorted({cell.m for cell in errors}):
            contestants = [
                Contestant(cell, x_for(cell, x), weights[cell.weight], errors[cell])
                for cell in errors
                if cell.m == m
            ]
            reader.rates = []
            end = time.perf_counter() + seconds * len(contestants)
            while time.perf_counter() < end or len(contestants[0].seconds) < LEAST_CALLS:
                for contestant in contestants:
                    contestant.take_turn()
                if len(reader.rates) < 2 * LEAST_CALLS:
                    reader.take_turn()
            read = percentile(reader.rates, 0.9)
            for contestant in contestants:
                rows.append({**row_of(contestant, count), "read_bytes_per_s": round(read)})
                row = rows[-1]
                print(
                    f"{n:6}x{k:<6}{count} threads{m:5}  {row['name']:19}{row['activation']:8}"
                    f"{row['us']:10.1f} us  {row['us_low']:.1f}..{row['us_high']:.1f}"
                    f"  {row['weight_bytes'] / row['us'] / 1e3:6.1f} of {read / 1e9:.1f} GB/s"
                    f"  error {row['error']:.1e}",
                    file=sys.stderr,
                    flush=True,
                )
    return rows, failures


def x_for(cell: Cell, x: torch.Tensor) -> torch.Tensor:
    return x[: cell.m].float() if cell.weight == "fp32" else x[: cell.m]


def available_bytes() -> int:
    with open("/proc/meminfo") as lines:
        fields = dict(line.split(":") for line in lines)
    return int(fields["MemAvailable"].split()[0]) * 1024


def fits(n: int, k: int) -> bool:
    """Two copies each of fp32, bf16 and six smaller weights, and one in fp32 for checks."""
    return 28 * n * k + READ_BYTES < available_bytes()


def processor() -> str:
    with open("/proc/cpuinfo") as lines:
        fields = dict(line.split(":", 1) for line in lines.read().split("\n\n")[0].splitlines())
    field = {name.strip(): value.strip() for name, value in fields.items()}
    numbers = f"family {field.get('cpu family')}, model {field.get('model')}"
    return f"{field.get('model name', platform.machine())}, {numbers}"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer shapes and rows")
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--shape", nargs="+", default=[], metavar="N,K")
    parser.add_argument("--m", nargs="+", type=int, help="rows of x")
    parser.add_argument("--format", nargs="+", choices=CPU_FORMATS, default=CPU_FORMATS)
    parser.add_argument("--activation", nargs="+", choices=ACTIVATIONS, default=["default"])
    parser.add_argument("--no-peers", action="store_true", help="without torch's products")
    parser.add_argument("--seconds", type=float, default=0.4, help="of calls for each cell")
    parser.add_argument("--json", action="store_true", help="print data instead of tables")
    parser.add_argument("--record", action="store_true", help=f"write {DATA.name} in results/")
    options = parser.parse_args()
    shapes = [tuple(map(int, shape.split(","))) for shape in options.shape]
    options.shapes = shapes or (QUICK_SHAPES if options.quick else SHAPES)
    options.m = options.m or (QUICK_ROWS if options.quick else ROWS)
    return options


def main() -> None:
    options = arguments()
    load = os.getloadavg()
    if options.record and load[0] > IDLE_LOAD:
        sys.exit(f"the load average is {load[0]}: what others do would be recorded too")
    torch.manual_seed(SEED)
    start = time.perf_counter()
    reader = Reader()
    rows, failures, left_out = [], [], []
    for shape in options.shapes:
        if not fits(*shape):
            left_out.append(f"{shape} needs more memory than is free")
            print(left_out[-1], file=sys.stderr)
            continue
        peers = [] if options.no_peers else CPU_PEERS
        cells = chosen_cells([shape], options.m, options.format, options.activation, peers)
        cells = [c for c in cells if c.name in PEERS or FORMATS[c.name].fits(c.k)]
        more = measure_shape(cells, options.threads, options.seconds, reader)
        rows += more[0]
        failures += more[1]
    data = {
        "command": " ".join(["python benchmarks/bench_matmul_cpu.py", *sys.argv[1:]]),
        "machine": {
            "processor": processor(),
            "processors": os.cpu_count(),
            "load_before": list(load),
        },
        "versions": {
            "aotiny": aotiny.__version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
        "seconds": round(time.perf_counter() - start, 1),
        "bounds": BOUNDS,
        "left_out": left_out,
        "failures": failures,
        "cells": rows,
    }
    print(as_json(data) if options.json else all_tables(data))
    if failures:
        sys.exit(f"{len(failures)} cells failed: {failures[0]}")
    if options.record:
        DATA.write_text(as_json(data) + "\n")


if __name__ == "__main__":
    main()
