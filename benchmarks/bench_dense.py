"""Dense products and attention against torch's, in one process and on the same threads.

    python benchmarks/bench_dense.py [--threads N ...] [--only TEXT] [--realtime]
    python benchmarks/bench_dense.py --record        # measures, writes results/dense.json
    python benchmarks/bench_dense.py --render        # the table in docs/dense.md, from that

Each row is the median of both, taken in turns, and their ratio (below 1: aotiny is faster). Weights
larger than the cache rotate, so that neither side finds them there. --realtime has the system leave
the processors to a row while it is measured, which needs root and is unkind to whoever else works
on the machine. Needs torch and aotiny, or the path of a libaotiny.
"""

import argparse
import ctypes
import json
import os
import platform
import statistics
import time
from pathlib import Path

import torch

DTYPE_CODES = {torch.float32: 6, torch.bfloat16: 15, torch.float16: 5, torch.float64: 7}
ROTATED_BYTES = 128 << 20
SECONDS = 0.1  # per row and side
ROOT = Path(__file__).resolve().parent.parent
DATA, PAGE = ROOT / "benchmarks/results/dense.json", ROOT / "docs/dense.md"
BEGIN, END = "<!-- figures: benchmarks/bench_dense.py -->", "<!-- end of figures -->"


class Library:
    def __init__(self, path: Path):
        self.c = ctypes.CDLL(str(path))

    def handle(self, tensor: torch.Tensor) -> ctypes.c_void_p:
        dims = ctypes.c_int64 * tensor.ndim
        handle = ctypes.c_void_p()
        code = self.c.aoti_torch_create_tensor_from_blob(
            ctypes.c_void_p(tensor.data_ptr()),
            ctypes.c_int64(tensor.ndim),
            dims(*tensor.shape),
            dims(*tensor.stride()),
            ctypes.c_int64(0),
            DTYPE_CODES[tensor.dtype],
            0,
            -1,
            ctypes.byref(handle),
        )
        assert code == 0, code
        return handle

    def addmm(self, out, bias, x, weight):
        code = self.c.aoti_torch_cpu_addmm_out(
            out, bias, x, weight, ctypes.c_double(1), ctypes.c_double(1)
        )
        assert code == 0, code

    def bmm(self, out, a, b):
        assert self.c.aoti_torch_cpu_bmm_out(out, a, b) == 0

    def attention(self, q, k, v, causal):
        outputs = ctypes.c_void_p(), ctypes.c_void_p()
        code = self.c.aoti_torch_cpu__scaled_dot_product_flash_attention_for_cpu(
            q, k, v, ctypes.c_double(0), int(causal), None, None, *map(ctypes.byref, outputs)
        )
        assert code == 0, code
        for output in outputs:
            self.c.aoti_torch_delete_tensor_object(output)


def median_seconds(sides):
    """The median time of a call of each, calls taken in turns."""
    times = [[] for _ in sides]
    for side in sides:
        side(0)
    start = time.perf_counter()
    turn = 0
    while time.perf_counter() - start < SECONDS * len(sides) or turn < 5:
        for side, record in zip(sides, times, strict=True):
            begin = time.perf_counter()
            side(turn)
            record.append(time.perf_counter() - begin)
        turn += 1
    return [statistics.median(record) for record in times]


def linear_row(library, dtype, m, n, k):
    copies = max(1, min(64, ROTATED_BYTES // (n * k * dtype.itemsize)))
    weights = [torch.randn(n, k).to(dtype).t() for _ in range(copies)]
    x, bias = torch.randn(m, k).to(dtype), torch.randn(n).to(dtype)
    out = torch.empty(m, n, dtype=dtype)
    handles = [library.handle(w) for w in weights]
    h_out, h_bias, h_x = map(library.handle, (out, bias, x))
    seconds = median_seconds(
        [
            lambda i: library.addmm(h_out, h_bias, h_x, handles[i % copies]),
            # Not the weights that the other side has just brought into the cache.
            lambda i: torch.addmm(bias, x, weights[(i + copies // 2) % copies], out=out),
        ]
    )
    return f"linear {str(dtype)[6:]} m={m} n={n} k={k}", seconds, 2 * m * n * k


def bmm_row(library, dtype, b, m, n, k):
    x, y = torch.randn(b, m, k).to(dtype), torch.randn(b, k, n).to(dtype)
    out = torch.empty(b, m, n, dtype=dtype)
    handles = [library.handle(t) for t in (out, x, y)]
    seconds = median_seconds([lambda i: library.bmm(*handles), lambda i: torch.bmm(x, y, out=out)])
    return f"bmm {str(dtype)[6:]} b={b} m={m} n={n} k={k}", seconds, 2 * b * m * n * k


def attention_row(library, dtype, b, h, hkv, tq, tk, d, causal=False):
    q, k, v = (
        torch.randn(b, t, heads, d).to(dtype).transpose(1, 2)
        for t, heads in ((tq, h), (tk, hkv), (tk, hkv))
    )
    handles = [library.handle(t) for t in (q, k, v)]
    attention = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    seconds = median_seconds(
        [
            lambda i: library.attention(*handles, causal),
            lambda i: attention(q, k, v, 0.0, causal),
        ]
    )
    name = f"attention {str(dtype)[6:]} b={b} h={h}/{hkv} tq={tq} tk={tk} d={d}"
    return name + (" causal" if causal else ""), seconds, 4 * b * h * tq * tk * d


def all_rows(dtypes):
    """(function, arguments) of every row."""
    for dtype in dtypes:
        for n, k in [(384, 384), (1536, 384), (384, 1536)]:
            for m in (1, 8, 16, 32, 64, 128, 512, 1024):
                yield linear_row, (dtype, m, n, k)
        for m in (1, 8, 32, 128):
            yield linear_row, (dtype, m, 4096, 4096)
        for sizes in [(12, 16, 16, 32), (12, 128, 128, 32), (384, 32, 32, 32), (12, 128, 32, 128)]:
            yield bmm_row, (dtype, *sizes)
        for b in (1, 32):
            for t in (8, 16, 32, 64, 128):
                yield attention_row, (dtype, b, 12, 12, t, t, 32)
        for t in (16, 128, 512, 2048):
            yield attention_row, (dtype, 1, 32, 8, 1, t, 128)
        yield attention_row, (dtype, 1, 32, 8, 128, 128, 128, True)
        yield attention_row, (dtype, 1, 32, 8, 128, 2048, 128)


def measure_row(function, library, sizes, threads, realtime):
    if realtime:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    try:
        name, (ours, theirs), flops = function(library, *sizes)
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    row = {"name": name, "threads": threads, "aotiny_us": round(ours * 1e6, 1)}
    row |= {"torch_us": round(theirs * 1e6, 1), "ratio": round(ours / theirs, 3)}
    return row | {"aotiny_gflops": round(flops / ours / 1e9, 1)}


def machine() -> dict:
    cpuinfo = Path("/proc/cpuinfo").read_text().splitlines()
    fields = {k.strip(): v.strip() for k, v in (line.split(":", 1) for line in cpuinfo if line)}
    return {
        "cpu": f"{fields.get('model name', platform.machine())}, family {fields.get('cpu family')}",
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
    }


def table(data: dict) -> str:
    """A line for each shape; microseconds of aotiny and of torch."""
    cells = {}
    for row in data["rows"]:
        kind, dtype, shape = row["name"].split(" ", 2)
        cells.setdefault(f"{kind} {shape}", {})[dtype, row["threads"]] = row
    columns = [(dtype, n) for dtype in ("float32", "bfloat16") for n in (1, 2)]
    lines = ["| aotiny / torch | " + " | ".join(f"{d}, {n} thr." for d, n in columns) + " |"]
    lines.append("|---|" + "---:|" * len(columns))
    for name, row in cells.items():
        texts = [f"{row[c]['aotiny_us']:.0f} / {row[c]['torch_us']:.0f}" for c in columns]
        lines.append(f"| {name} | " + " | ".join(texts) + " |")
    return "\n".join(lines)


def rendered(page: str, data: dict) -> str:
    head, rest = page.split(BEGIN)
    return head + f"{BEGIN}\n{table(data)}\n{END}" + rest.split(END)[1]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--library", type=Path, help="default: that of the installed aotiny")
    parser.add_argument("--threads", type=int, nargs="+", default=[torch.get_num_threads()])
    parser.add_argument("--only", default="", help="linear, bmm or attention")
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--realtime", action="store_true")
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--render", action="store_true")
    arguments = parser.parse_args()
    if arguments.render:
        PAGE.write_text(rendered(PAGE.read_text(), json.loads(DATA.read_text())))
        return
    if arguments.library is None:
        import aotiny

        arguments.library = Path(aotiny.__file__).parent / "lib" / "libaotiny.so.0"
    library = Library(arguments.library)
    dtypes = [getattr(torch, name) for name in arguments.dtypes]
    rows = []
    for threads in [1, 2] if arguments.record else arguments.threads:
        torch.set_num_threads(threads)
        torch.manual_seed(0)
        for function, sizes in all_rows(dtypes):
            if arguments.only not in function.__name__:
                continue
            row = measure_row(function, library, sizes, threads, arguments.realtime)
            rows.append(row)
            print(
                f"{row['name']:56} {row['aotiny_us']:10.1f} us  torch {row['torch_us']:10.1f} us  "
                f"ratio {row['ratio']:5.2f}  {row['aotiny_gflops']:7.1f} GFLOP/s",
                flush=True,
            )
    if arguments.record:
        data = {"machine": machine(), "torch": torch.__version__, "rows": rows}
        data["realtime"] = arguments.realtime
        DATA.write_text(json.dumps(data, indent=1) + "\n")


if __name__ == "__main__":
    main()
