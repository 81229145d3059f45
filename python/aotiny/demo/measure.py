"""Starts worker processes and gathers what they measured."""

import json
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

COLD_STARTS = {"aotiny": 7, "torch": 3, "eager": 3}
_PROGRAM = "from aotiny.demo.worker import main; main()"
_TIMEOUT_S = 300


@dataclass
class Measurement:
    name: str
    cosine_mean: float
    cosine_min: float
    worst_sentence: int  # its index
    cold_start_ms: float
    latency_ms: dict[str, float]
    peak_rss_mb: float
    device_memory_mb: float | None  # None on the CPU
    package_mb: float
    embeddings: object  # fp32 [sentences, 384], unit length
    queries: object  # fp32 [queries, 384], unit length

    def as_json(self) -> dict:
        keys = ("name", "cosine_mean", "cosine_min", "cold_start_ms", "latency_ms")
        found = {key: getattr(self, key) for key in (*keys, "peak_rss_mb", "package_mb")}
        if self.device_memory_mb is not None:
            found["device_memory_mb"] = self.device_memory_mb
        return found


def _start(runner: str, package: Path, inputs: Path, mode: str, device: str = "cpu") -> dict:
    command = [sys.executable, "-c", _PROGRAM, runner, str(package), device, str(inputs)]
    try:
        worker = subprocess.run(
            [*command, str(time.monotonic_ns()), mode],
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"the {runner} process took more than {_TIMEOUT_S} s") from None
    if worker.returncode:
        code, lines = worker.returncode, worker.stderr.strip().splitlines()
        how = f"{code}" if code > 0 else f"signal {-code}"
        said = lines[-1] if lines else "it said nothing"
        raise RuntimeError(f"the {runner} process ended with {how}: {said}")
    return json.loads(worker.stdout.splitlines()[-1])


def measure(
    name: str,
    runner: str,
    package: Path,
    inputs: Path,
    device: str,
    reference,
) -> Measurement:
    """One row of the table. reference is fp32 [sentences, 384] from torch."""
    import numpy as np

    # The full run comes first: it also brings the package into the page cache for the cold starts.
    full = _start(runner, package, inputs, "full", device)
    cold = [
        _start(runner, package, inputs, "cold", device)["cold_start_ms"]
        for _ in range(COLD_STARTS[runner])
    ]
    rows = np.frombuffer(bytes.fromhex(full["embeddings"]), np.float32)
    rows = rows.reshape(-1, reference.shape[1])
    embeddings, queries = rows[: len(reference)], rows[len(reference) :]
    a, b = embeddings.astype(np.float64), reference.astype(np.float64)
    cosine = (a * b).sum(1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))
    return Measurement(
        name=name,
        cosine_mean=float(cosine.mean()),
        cosine_min=float(cosine.min()),
        worst_sentence=int(cosine.argmin()),
        cold_start_ms=statistics.median(cold),
        latency_ms=full["latency_ms"],
        peak_rss_mb=full["peak_rss_mb"],
        device_memory_mb=full["device_memory_mb"],
        package_mb=package.stat().st_size / 1e6,
        embeddings=embeddings,
        queries=queries,
    )
