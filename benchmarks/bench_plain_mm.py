"""Products with packed weights against torch's fp32, bf16 and int4 products in the same process.

    OMP_NUM_THREADS=2 python benchmarks/bench_plain_mm.py [--json] [--shape N,K ...] [--m M ...]

Every call takes the next of several copies of its weight, so that a small cache does not serve the
same one again and again. Prints medians in microseconds, the weights' bytes per second, and how
many times faster than torch's fp32 product each is.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from functools import partial
from itertools import cycle

import torch

import aotiny

SHAPES = [(384, 384), (1536, 384), (384, 1536)]
ROWS = [1, 8, 16, 32, 128, 1024]
COPIES_BYTES = 64 << 20  # of copies of a weight, at most 16


def median_us(call: Callable[[object], object], weights: list, seconds: float) -> float:
    """The median time of call(weight) over about that many seconds, at least five calls."""
    rotation = cycle(weights)
    for _ in range(3):
        call(next(rotation))
    times: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 5:
        start = time.perf_counter()
        call(next(rotation))
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e6


def copies(make: Callable[[], object], nbytes: int) -> list:
    return [make() for _ in range(max(1, min(16, COPIES_BYTES // nbytes)))]


def torch_int4(weight: torch.Tensor, group_size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Random codes in the packing of torch's own CPU operator; only its speed is wanted."""
    n, k = weight.shape
    codes = torch.randint(0, 16, (n, k), dtype=torch.int32)
    packed = torch.ops.aten._convert_weight_to_int4pack_for_cpu(codes, 2)
    return packed, torch.rand(k // group_size, n, 2, dtype=torch.bfloat16)


def contestants(
    n: int, k: int, group_size: int
) -> dict[str, tuple[list, int, torch.dtype, Callable]]:
    """name -> (copies of the weight, its bytes, activations' dtype, product)."""
    dense = torch.randn(n, k) * 0.05
    linear = torch.nn.functional.linear
    result = {}
    for name, dtype in [("torch fp32", torch.float32), ("torch bf16", torch.bfloat16)]:
        nbytes = n * k * dtype.itemsize
        weights = copies(lambda dtype=dtype: dense.to(dtype, copy=True), nbytes)
        result[name] = (weights, nbytes, dtype, linear)
    pack_bytes = n * k // 2 + 4 * n * (k // group_size)
    result["torch int4"] = (
        copies(lambda: torch_int4(dense, group_size), pack_bytes),
        pack_bytes,
        torch.bfloat16,
        lambda x, w: torch.ops.aten._weight_int4pack_mm_for_cpu(x, w[0], group_size, w[1]),
    )
    for name, format, variant in [
        ("int8", "int8", None),
        ("int4 A", "int4", "A"),
        ("int4 B", "int4", "B"),
    ]:
        make = partial(aotiny.quantize, dense, format, group_size, variant=variant)
        nbytes = make().nbytes
        result[f"aotiny {name}"] = (copies(make, nbytes), nbytes, torch.float32, aotiny.matmul)
    return result


def measure(shapes: list, rows: list[int], group_size: int, seconds: float) -> list[dict]:
    results = []
    for n, k in shapes:
        candidates = contestants(n, k, group_size)
        for m in rows:
            reference = None
            for name, (weights, nbytes, dtype, product) in candidates.items():
                x = torch.randn(m, k).to(dtype)
                us = median_us(lambda w, x=x, product=product: product(x, w), weights, seconds)
                reference = reference or us
                results.append(
                    {
                        "name": name,
                        "n": n,
                        "k": k,
                        "m": m,
                        "us": us,
                        "gb_per_s": nbytes / us / 1e3,
                        "times_torch_fp32": reference / us,
                    }
                )
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--shape", nargs="+", default=[], help="N,K")
    parser.add_argument("--m", nargs="+", type=int, default=ROWS)
    parser.add_argument("--group-size", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=0.3, help="per measurement")
    arguments = parser.parse_args()
    shapes = [tuple(map(int, shape.split(","))) for shape in arguments.shape] or SHAPES
    results = measure(shapes, arguments.m, arguments.group_size, arguments.seconds)
    if arguments.json:
        report = {"threads": torch.get_num_threads(), "torch": torch.__version__}
        print(json.dumps({**report, "results": results}, indent=1))
        return
    print(f"{'N':>6} {'K':>6} {'M':>5}  {'product':14} {'us':>10} {'GB/s':>7} {'x fp32':>7}")
    for r in results:
        print(
            f"{r['n']:6} {r['k']:6} {r['m']:5}  {r['name']:14} {r['us']:10.1f} "
            f"{r['gb_per_s']:7.1f} {r['times_torch_fp32']:7.2f}"
        )


if __name__ == "__main__":
    main()
