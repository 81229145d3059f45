"""Loading a GGUF file against plainly reading it: time, GB/s and peak memory.

    OMP_NUM_THREADS=2 python benchmarks/bench_gguf.py [--gb 3] [--rounds 3] [--folder DIR] [--json]
    python benchmarks/bench_gguf.py --vocabulary

Makes a file up with the tensors of a Llama model in Q4_K_M (Q4_K, Q6_K and F32), and reads it and
loads it with aotiny.load_gguf in turn, each in a process of its own: cold, after the system was
told to drop the file's pages, and warm. Reading is pread into a buffer of 1 MiB a thread, with as
many threads as load_gguf uses, or into new memory as large as the file. Prints medians; memory is
the process's VmHWM. The file is deleted in the end.

--vocabulary instead opens a made-up file with 128256 tokens and 280147 merges with GGUFFile and
with the gguf package's reader.
"""

import argparse
import json
import os
import statistics
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator

import numpy as np

TYPES = {"F32": (0, 1, 4, ()), "Q4_K": (12, 256, 144, (0, 2)), "Q6_K": (14, 256, 210, (208,))}
HIDDEN, FFN, VOCABULARY, KEYS = 4096, 14336, 32000, 1024


def tensors(wanted_bytes: int) -> Iterator[tuple[str, str, tuple[int, ...]]]:
    """Name, type and shape [N, K] of as many layers as make about so many bytes."""
    yield "token_embd.weight", "Q4_K", (VOCABULARY, HIDDEN)
    yield "output.weight", "Q6_K", (VOCABULARY, HIDDEN)
    left = wanted_bytes - VOCABULARY * HIDDEN * (144 + 210) // 256
    layer = 0
    while left > 0:
        more = "Q6_K" if layer % 2 == 0 else "Q4_K"  # of the two that a Q4_K_M mix keeps finer
        for name, type, shape in [
            ("attn_norm", "F32", (HIDDEN,)),
            ("attn_q", "Q4_K", (HIDDEN, HIDDEN)),
            ("attn_k", "Q4_K", (KEYS, HIDDEN)),
            ("attn_v", more, (KEYS, HIDDEN)),
            ("attn_output", "Q4_K", (HIDDEN, HIDDEN)),
            ("ffn_norm", "F32", (HIDDEN,)),
            ("ffn_gate", "Q4_K", (FFN, HIDDEN)),
            ("ffn_up", "Q4_K", (FFN, HIDDEN)),
            ("ffn_down", more, (HIDDEN, FFN)),
        ]:
            yield f"blk.{layer}.{name}.weight", type, shape
            left -= nbytes(type, shape)
        layer += 1


def nbytes(type: str, shape: tuple[int, ...]) -> int:
    _, block, block_bytes, _ = TYPES[type]
    return int(np.prod(shape)) // block * block_bytes


def random_bytes(type: str, rng: np.random.Generator) -> bytes:
    """A few megabytes of blocks with finite scales."""
    _, _, block_bytes, steps = TYPES[type]
    blocks = rng.integers(0, 256, ((8 << 20) // block_bytes, block_bytes), dtype=np.uint8)
    for step in steps:
        blocks[:, step + 1] &= 0xBB
    return blocks.tobytes()


def make_file(path: str, wanted_bytes: int) -> None:
    entries = list(tensors(wanted_bytes))
    header = b"GGUF" + struct.pack("<IQQ", 3, len(entries), 0)
    offset = 0
    for name, type, shape in entries:
        header += struct.pack("<Q", len(name)) + name.encode() + struct.pack("<I", len(shape))
        header += struct.pack(f"<{len(shape)}QIQ", *shape[::-1], TYPES[type][0], offset)
        offset += nbytes(type, shape)
        offset += -offset % 32
    rng = np.random.default_rng(0)
    patterns = {type: random_bytes(type, rng) for type in TYPES}
    with open(path, "wb") as file:
        file.write(header + bytes(-len(header) % 32))
        for _, type, shape in entries:
            left = nbytes(type, shape)
            while left:
                left -= file.write(patterns[type][:left])
            file.write(bytes(-file.tell() % 32))
        file.flush()
        os.fsync(file.fileno())


# Reads into one small buffer a thread, or into new memory for all of it.
READ = """
import mmap, threading
def read():
    descriptor = os.open(path, os.O_RDONLY)
    size, threads, piece = os.path.getsize(path), int(os.environ["OMP_NUM_THREADS"]), 1 << 20
    private = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    whole = memoryview(mmap.mmap(-1, size if keeps else 1, flags=private))
    if keeps: whole.obj.madvise(mmap.MADV_HUGEPAGE)
    def run(first):
        buffer = bytearray(piece)
        for at in range(first * piece, size, threads * piece):
            os.preadv(descriptor, [whole[at : at + piece] if keeps else buffer], at)
    workers = [threading.Thread(target=run, args=(i,)) for i in range(threads)]
    for worker in workers: worker.start()
    for worker in workers: worker.join()
    return size, size if keeps else 0
"""
LOAD = """
from aotiny import load_gguf
def read():
    loaded = load_gguf(path)
    return os.path.getsize(path), sum(w.nbytes for w in loaded.values())
"""
RUN = """
import json, os, sys, time
path, cold, keeps = sys.argv[1], sys.argv[2] == "cold", sys.argv[3] == "keeps"
{0}
if cold:
    descriptor = os.open(path, os.O_RDONLY)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(descriptor)
start, cpu = time.perf_counter(), time.process_time()
size, output = read()
seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
status = open("/proc/self/status").read()
peak = int(status.split("VmHWM:")[1].split()[0]) << 10
found = dict(bytes=size, seconds=seconds, cpu_seconds=cpu, output_bytes=output, peak_bytes=peak)
print(json.dumps(found))
"""
WAYS = {"read": (READ, ""), "read to memory": (READ, "keeps"), "load_gguf": (LOAD, "")}


def make_vocabulary(path: str) -> None:
    def strings(texts: list[str]) -> bytes:
        packed = b"".join(struct.pack("<Q", len(text)) + text.encode() for text in texts)
        return struct.pack("<IIQ", 9, 8, len(texts)) + packed

    content = b"GGUF" + struct.pack("<IQQ", 3, 0, 2)
    for key, texts in [
        ("tokenizer.ggml.tokens", [f"t{i}" for i in range(128256)]),
        ("tokenizer.ggml.merges", [f"a{i} b{i}" for i in range(280147)]),
    ]:
        content += struct.pack("<Q", len(key)) + key.encode() + strings(texts)
    with open(path, "wb") as file:
        file.write(content + bytes(-len(content) % 32))


OPEN = {
    "aotiny.gguf.GGUFFile": "from aotiny.gguf import GGUFFile as Reader",
    "gguf.GGUFReader": "from gguf import GGUFReader as Reader",
}


def measure_vocabulary(folder: str) -> None:
    path = os.path.join(folder, "vocabulary.gguf")
    make_vocabulary(path)
    for name, imports in OPEN.items():
        code = f"""
import sys, time
{imports}
def peak(): return int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0]) / 1e3
before, start = peak(), time.process_time()
reader = Reader(sys.argv[1])
print(f"{{time.process_time() - start:8.3f}} s of processor time {{peak() - before:8.1f}} MB more")
"""
        done = subprocess.run(
            [sys.executable, "-c", code, path], check=True, capture_output=True, text=True
        )
        print(f"{name:22}{done.stdout.strip()}")


def measure(path: str, way: str, cold: bool) -> dict:
    code, keeps = WAYS[way]
    command = [sys.executable, "-c", RUN.format(code), path, "cold" if cold else "warm", keeps]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gb", type=float, default=3, help="size of the file")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", help="where to make the file; default: the temporary folder")
    parser.add_argument("--vocabulary", action="store_true", help="measure opening a header")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    arguments = parser.parse_args()
    if arguments.vocabulary:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
            measure_vocabulary(folder)
        return
    os.environ.setdefault("OMP_NUM_THREADS", str(os.cpu_count()))
    results = []
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        path = os.path.join(folder, "model.gguf")
        make_file(path, int(arguments.gb * 1e9))
        measure(path, "read", cold=False)
        for cold in (True, False):
            runs: dict[str, list[dict]] = {way: [] for way in WAYS}
            for _ in range(arguments.rounds):
                for way in WAYS:
                    runs[way].append(measure(path, way, cold))
            for name, found in runs.items():
                median = sorted(found, key=lambda run: run["seconds"])[len(found) // 2]
                rates = [run["bytes"] / run["seconds"] / 1e9 for run in found]
                results.append(
                    {
                        "name": name,
                        "pages": "cold" if cold else "warm",
                        **median,
                        "gb_per_s": statistics.median(rates),
                        "best_gb_per_s": max(rates),
                    }
                )
    if arguments.json:
        print(json.dumps({"threads": os.environ["OMP_NUM_THREADS"], "results": results}, indent=1))
        return
    print(
        f"{'':14} {'pages':6} {'GB':>6} {'s':>7} {'cpu s':>6} {'GB/s':>6} {'best':>6} "
        f"{'output GB':>10} {'peak GB':>8} {'peak/output':>12}"
    )
    for r in results:
        output, peak = r["output_bytes"] / 1e9, r["peak_bytes"] / 1e9
        print(
            f"{r['name']:14} {r['pages']:6} {r['bytes'] / 1e9:6.2f} {r['seconds']:7.2f} "
            f"{r['cpu_seconds']:6.2f} {r['gb_per_s']:6.2f} {r['best_gb_per_s']:6.2f} "
            + (f"{output:10.2f} {peak:8.2f} {peak / output:12.3f}" if output else "")
        )


if __name__ == "__main__":
    main()
