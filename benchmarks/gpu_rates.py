"""What a GPU can do at most, as measured: bytes read a second, operations a second.

    python benchmarks/gpu_rates.py

Needs torch with Triton, and aotiny.
"""

import json
from collections.abc import Callable

import torch
import triton
import triton.language as tl
from gpu_timing import captured, time_calls

READ_BYTES = 4 << 30
SIZES = (4096, 8192, 16384)  # of the matrices
READS = [(block, programs) for block in (4096, 8192) for programs in (2, 4, 8, 16)]


@triton.jit
def read_kernel(x, out, count, BLOCK: tl.constexpr):
    """Sums of parts of x, each program's part in strides over all of it."""
    index = tl.arange(0, BLOCK)
    total = tl.zeros([BLOCK], tl.int32)
    for begin in range(tl.program_id(0) * BLOCK, count, tl.num_programs(0) * BLOCK):
        total += tl.load(x + begin + index)
    tl.store(out + tl.program_id(0), tl.sum(total))


def time_us(stream: torch.cuda.Stream, call: Callable[[], object]) -> float:
    with torch.cuda.stream(stream):
        call()
    graph, _ = captured(stream, [call])
    return time_calls(stream, [call], graph)["us"]


def read_rates(stream: torch.cuda.Stream) -> dict[str, float]:
    """Bytes a second of several ways to read READ_BYTES; that of a copy counts what it writes."""
    x = torch.randint(-(2**31), 2**31, [READ_BYTES // 4], dtype=torch.int32, device="cuda")
    processors = torch.cuda.get_device_properties(x.device).multi_processor_count
    out = torch.empty([processors * 16], dtype=torch.int32, device="cuda")
    bytes_per_us = {}
    for block, programs in READS:
        grid = (processors * programs,)
        time = time_us(
            stream,
            lambda grid=grid, block=block: read_kernel[grid](
                x, out, x.numel(), BLOCK=block, num_warps=8
            ),
        )
        name = f"Triton sum, {block} elements a block, {programs} blocks a multiprocessor"
        bytes_per_us[name] = READ_BYTES / time
    half = x.numel() // 2
    bytes_per_us["torch.amax"] = READ_BYTES / time_us(stream, lambda: torch.amax(x))
    copy = time_us(stream, lambda: x[:half].copy_(x[half:]))
    bytes_per_us["torch copy, read and written"] = READ_BYTES / copy
    return {name: rate * 1e6 for name, rate in bytes_per_us.items()}


def matrix_rates(stream: torch.cuda.Stream) -> dict[str, dict[int, float]]:
    """Operations a second of torch's (cuBLAS's) products of random square matrices, by size."""
    rates = {"bf16": {}, "int8": {}}
    for size in SIZES:
        a, b = (torch.randn(size, size, device="cuda").bfloat16() for _ in range(2))
        out = torch.empty_like(a)
        bf16 = time_us(stream, lambda a=a, b=b, out=out: torch.mm(a, b.t(), out=out))
        a, b = (
            torch.randint(-127, 128, (size, size), dtype=torch.int8, device="cuda")
            for _ in range(2)
        )
        int8 = time_us(stream, lambda a=a, b=b: torch._int_mm(a, b.t()))
        for name, us in (("bf16", bf16), ("int8", int8)):
            rates[name][size] = 2 * size**3 / us * 1e6
    return rates


def measured_rates(stream: torch.cuda.Stream) -> dict:
    reads = read_rates(stream)
    torch.cuda.empty_cache()
    products = matrix_rates(stream)
    best = max(reads, key=reads.__getitem__)
    return {
        "read_bytes_per_s": reads[best],
        "read_by": best,
        "reads": reads,
        "operations_per_s": {name: max(rates.values()) for name, rates in products.items()},
        "products": products,
    }


if __name__ == "__main__":
    print(json.dumps(measured_rates(torch.cuda.Stream()), indent=1))
