"""The measured process: loads one package, embeds the sentences, reports.

Started as: python -c "from aotiny.demo.worker import main; main()" RUNNER PACKAGE DEVICE FOLDER
START MODE. RUNNER is aotiny, torch (its loader) or eager (the module in torch); START the parent's
monotonic clock in ns just before it started us; MODE is `cold` (stop after the first embedding) or
`full`. What is imported before the first embedding counts, so this file reads its inputs itself
rather than through numpy. A run begins with token ids and ends with embeddings, both in the host's
memory.
"""

import sys
import time

EMBEDDING_BYTES = 384 * 4
WARM_UP, SINGLE_RUNS, BATCH_RUNS = 3, 40, 21


def read_npy(path: str):
    """A memoryview int64 [batch, seq] of a .npy file that `corpus.write` made."""
    with open(path, "rb") as file:
        content = bytearray(file.read())
    begin = 10 + int.from_bytes(content[8:10], "little")
    header = content[10:begin].decode("latin1")
    if (
        content[:7] != b"\x93NUMPY\x01"
        or "'<i8'" not in header
        or "'fortran_order': False" not in header
    ):
        raise ValueError(f"{path} is no int64 array in C order")
    shape = header.partition("(")[2].partition(")")[0].split(",")
    shape = tuple(int(size) for size in shape if size.strip())
    return memoryview(content)[begin:].cast("q", shape)


def load_aotiny(package: str, device: str):
    import aotiny

    model = aotiny.Model(package, device=device)

    def run(pair):
        (embedding,) = model(*(aotiny.Tensor(part).to(device) for part in pair))
        return embedding.to("cpu")

    return run, lambda tensor: bytes(memoryview(tensor))


def run_in_torch(model, device: str):
    import torch

    def run(pair):
        shape = pair[0].shape
        parts = (torch.frombuffer(part, dtype=torch.int64).view(shape) for part in pair)
        with torch.inference_mode():
            return model(*(part.to(device) for part in parts)).cpu()

    return run, lambda tensor: bytes(tensor.numpy())


def load_torch(package: str, device: str):
    import torch

    index = torch.device(device).index
    model = torch._inductor.aoti_load_package(package, device_index=-1 if index is None else index)
    return run_in_torch(model, device)


def load_eager(package: str, device: str):
    from aotiny.demo import minilm

    return run_in_torch(minilm.load().to(device), device)


def free_device_bytes(runner: str, device: str) -> int:
    """What the GPU has left, for every process together; 0 for the CPU."""
    if device == "cpu":
        return 0
    if runner == "aotiny":
        import aotiny

        return aotiny.cuda.get_device_properties(device)["free_bytes"]
    import torch

    return torch.cuda.mem_get_info(device)[0]


def peak_rss_mb() -> float:
    """The high-water mark of this process's resident memory. Unlike ru_maxrss it does not begin
    with that of the parent."""
    with open("/proc/self/status") as status:
        line = next(line for line in status if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def median_ms(run, pairs: list, count: int) -> float:
    """Of `count` runs over the pairs in turn, after some to warm up."""
    for i in range(WARM_UP):
        run(pairs[i % len(pairs)])
    times = []
    for i in range(count):
        begin = time.perf_counter()
        run(pairs[i % len(pairs)])
        times.append(time.perf_counter() - begin)
    return sorted(times)[count // 2] * 1e3


def main() -> None:
    runner, package, device, folder, start, mode = sys.argv[1:7]
    load = {"aotiny": load_aotiny, "torch": load_torch, "eager": load_eager}[runner]
    # Asking makes the CUDA context, whose memory then does not count.
    free_before = free_device_bytes(runner, device) if mode == "full" else 0
    run, to_bytes = load(package, device)

    def read(name: str):
        return tuple(read_npy(f"{folder}/{name}.{part}.npy") for part in ("ids", "mask"))

    first = to_bytes(run(read("single-000")))
    cold_start_ms = (time.monotonic_ns() - int(start)) / 1e6
    if len(first) != EMBEDDING_BYTES:
        raise RuntimeError(f"the embedding has {len(first)} bytes, {EMBEDDING_BYTES} expected")
    if runner == "aotiny" and "torch" in sys.modules:
        raise RuntimeError("torch is loaded in a process that is to do without")

    # Only now what the first embedding did not need.
    import json
    import os

    result = {"cold_start_ms": cold_start_ms}
    if mode == "full":
        names = sorted({name.split(".")[0] for name in os.listdir(folder)})

        def group(kind: str) -> list:
            return [read(name) for name in names if name.startswith(kind)]

        singles, batches = group("single"), group("batch")
        embeddings = b"".join(to_bytes(run(pair)) for pair in batches)
        embeddings += to_bytes(run(*group("query")))
        result["latency_ms"] = {
            "1": median_ms(run, singles, SINGLE_RUNS),
            "32": median_ms(run, [b for b in batches if b[0].shape[0] == 32], BATCH_RUNS),
        }
        result["peak_rss_mb"] = peak_rss_mb()
        # Allocators keep what they once had.
        taken = (free_before - free_device_bytes(runner, device)) / 1e6
        result["device_memory_mb"] = None if device == "cpu" else taken
        result["embeddings"] = embeddings.hex()
    if runner == "aotiny":
        with open("/proc/self/maps") as maps:
            if "libtorch" in maps.read():
                raise RuntimeError("libtorch is mapped in a process that is to do without")
    print(json.dumps(result))
