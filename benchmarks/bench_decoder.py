"""Tokens a second of a decoder with Gemma-31B's shapes, exported and run by aotiny.Model.

    python benchmarks/bench_decoder.py [--layers N ...] [--packages FOLDER] [--compile] [--json]
        [--record]

Weights are random, at 4 and 6 bits; decoder_model.py has the model. For each number of layers it is
exported for CUDA, unless FOLDER has its package from an earlier run (--compile only makes those),
compared with the same module in eager torch for a few steps, and timed: a call of a model that
replays recordings, and the replay alone. Prints a table, or data with --json. --record writes
benchmarks/results/decoder.json, from which decoder_results.py makes docs/cuda_decoder.md; it wants
the GPU for itself. Needs torch with CUDA and Triton, and aotiny.
"""

import argparse
import gc
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import torch
from bench_matmul import IDLE_MIB, machine, query, versions
from decoder_model import GEMMA, Decoder, decoder, example, weight_bytes
from decoder_results import DATA, all_tables
from gpu_rates import read_rates
from gpu_timing import captured, time_calls

import aotiny

DEVICE = "cuda:0"
STEPS = (0, 1, 2, GEMMA.positions - 1)  # positions that are compared
# Of |logits - eager's| / |eager's|. Where activations are rounded to 8 bits, the last bit of what
# comes in decides about a whole step of 1/127, and eager torch rounds in more places.
BOUND = 2**-5
CALLS = 30  # timed from outside, and profiled


def package_path(folder: Path, layers: int) -> Path:
    return folder / f"decoder-{layers}.pt2"


def compile_package(layers: int, path: Path) -> None:
    start = time.perf_counter()
    aotiny.export(decoder(GEMMA, layers, DEVICE), example(DEVICE), path, verbose=True)
    seconds = time.perf_counter() - start
    print(f"{path.stat().st_size / 1e9:.2f} GB, exported in {seconds:.0f} s", file=sys.stderr)
    torch.cuda.empty_cache()


def inputs_of(position: int) -> tuple[torch.Tensor, torch.Tensor]:
    token = torch.tensor([(position * 7919 + 3) % GEMMA.vocabulary], device=DEVICE)
    return token, torch.tensor([position], device=DEVICE)


def largest_error(model: aotiny.Model, module: Decoder) -> float:
    """Of a few steps' logits, against eager torch with the same operators."""
    errors = []
    for position in STEPS:
        (logits,) = model(*inputs_of(position))
        logits = torch.from_dlpack(logits).float()
        with torch.no_grad():
            exact = module(*inputs_of(position)).float()
        errors.append(float((logits - exact).norm() / exact.norm()))
    return max(errors) if all(e == e for e in errors) else float("nan")


def call_times(model: aotiny.Model) -> list[float]:
    """Microseconds from a call to its logits, one call after another."""
    inputs, times = inputs_of(STEPS[-1]), []
    for _ in range(CALLS + 3):
        torch.cuda.synchronize()
        start = time.perf_counter()
        model(*inputs)
        aotiny.cuda.synchronize(DEVICE)
        times.append((time.perf_counter() - start) * 1e6)
    return times[3:]


def kernels_of(graph: torch.cuda.CUDAGraph) -> list[dict]:
    """name, count and us of the kernels of a replay, longest first; nothing where torch's profiler
    does not see them."""
    what = [torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=what, acc_events=True) as profile:
        for _ in range(CALLS):
            graph.replay()
        torch.cuda.synchronize()
    events = [e for e in profile.key_averages() if e.self_device_time_total > 0]
    found = [
        {"name": e.key, "count": e.count / CALLS, "us": e.self_device_time_total / CALLS}
        for e in events
    ]
    return sorted(found, key=lambda kernel: -kernel["us"])


def measure(layers: int, path: Path, stream: torch.cuda.Stream) -> dict:
    module = decoder(GEMMA, layers, DEVICE)
    row = {
        "layers": layers,
        "weight_bytes": weight_bytes(module),
        "cache_bytes": layers * GEMMA.cache_bytes,
        "package_bytes": path.stat().st_size,
    }
    start = time.perf_counter()
    model = aotiny.Model(path, device=DEVICE, cuda_graph=True)
    row["load_s"] = round(time.perf_counter() - start, 3)
    error = largest_error(model, module)
    if not error <= BOUND:  # NaN is wrong
        raise ValueError(f"{layers} layers: logits are off by {error:.2e} of their norm")
    row["error"] = round(error, 6)
    del module
    gc.collect()
    torch.cuda.empty_cache()
    row["call_us"] = round(median(call_times(model)), 1)

    # The caller's own capture of a call can be replayed without the host in between.
    plain, inputs = aotiny.Model(path, device=DEVICE), inputs_of(STEPS[-1])
    call = lambda: plain(*inputs)  # noqa: E731
    with torch.cuda.stream(stream), aotiny.cuda.stream(stream.cuda_stream, 0):
        call()
    stream.synchronize()
    graph, _results = captured(stream, [call])
    row.update(time_calls(stream, [call], graph))
    row["kernels"] = kernels_of(graph)
    row["kernels_us"] = round(sum(kernel["us"] for kernel in row["kernels"]), 1) or None
    return row


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--layers", nargs="+", type=int, default=[2, 8], help="how many, each by itself"
    )
    parser.add_argument("--packages", type=Path, help="folder that keeps the packages")
    parser.add_argument("--compile", action="store_true", help="only make the packages")
    parser.add_argument("--json", action="store_true", help="print data instead of a table")
    parser.add_argument("--record", action="store_true", help=f"write {DATA.name} in results/")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    if not torch.cuda.is_available():
        sys.exit("torch finds no GPU")
    in_use = int(query("memory.used"))  # before this process takes any
    if aotiny.cuda.why_not():
        sys.exit(aotiny.cuda.why_not())
    if options.record and in_use > IDLE_MIB:
        sys.exit(f"another process has {in_use} MiB of the GPU: what it does would be recorded too")
    with tempfile.TemporaryDirectory(prefix="aotiny-decoder-") as temporary:
        folder = options.packages or Path(temporary)
        os.makedirs(folder, exist_ok=True)
        for layers in options.layers:
            if not package_path(folder, layers).exists():
                compile_package(layers, package_path(folder, layers))
        if options.compile:
            return
        stream = torch.cuda.Stream()
        reads = read_rates(stream)
        torch.cuda.empty_cache()
        read_by = max(reads, key=reads.__getitem__)
        rows = [measure(n, package_path(folder, n), stream) for n in options.layers]
    data = {
        "command": " ".join(["python benchmarks/bench_decoder.py", *sys.argv[1:]]),
        "machine": machine(),
        "versions": versions(),
        "memory_in_use_before_mib": in_use,
        "read_bytes_per_s": reads[read_by],
        "read_by": read_by,
        "bound": BOUND,
        "rows": rows,
    }
    text = json.dumps(data, indent=1)
    print(text if options.json else all_tables(data))
    if options.record:
        DATA.write_text(text + "\n")


if __name__ == "__main__":
    main()
