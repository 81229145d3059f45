"""The demo's output: a semantic search and the table."""

import textwrap

from .corpus import QUERIES, sentences
from .measure import COLD_STARTS, Measurement
from .worker import BATCH_RUNS, SINGLE_RUNS

NEAREST = 3


def search_lines(variants: list[Measurement]) -> list[str]:
    """For each query the nearest sentences of the first variant, with everybody's scores."""
    texts = sentences()
    lines = [f"Semantic search in {len(texts)} sentences; scores: " + _names(variants)]
    for i, query in enumerate(QUERIES):
        scores = [v.embeddings @ v.queries[i] for v in variants]
        lines += ["", f'  "{query}"']
        for j in scores[0].argsort()[::-1][:NEAREST]:
            numbers = "  ".join(f"{score[j]:.3f}" for score in scores)
            lines.append(f"    {numbers}  {texts[j]}")
    return lines


def _names(variants: list[Measurement]) -> str:
    return ", ".join(v.name for v in variants)


def table_lines(
    variants: list[Measurement], peers: list[Measurement], device: str = "cpu"
) -> list[str]:
    """The table and what its columns mean."""
    memory = "peak memory" if device == "cpu" else "GPU memory"
    header = (
        f"{'':8}{'package':>10}{'cold start':>13}{'batch 1':>11}{'batch 32':>12}"
        f"{memory:>14}{'mean cosine':>14}{'worst cosine':>15}"
    )
    lines = [header]
    for v in (*variants, *peers):
        used = v.peak_rss_mb if v.device_memory_mb is None else v.device_memory_mb
        lines.append(
            f"{v.name:8}{v.package_mb:>7.1f} MB{v.cold_start_ms:>10.0f} ms"
            f"{v.latency_ms['1']:>8.2f} ms{v.latency_ms['32']:>9.1f} ms"
            f"{used:>11.0f} MB{v.cosine_mean:>14.6f}{v.cosine_min:>15.6f}"
        )
    lines.append("")
    for v in variants:
        lines.append(f"worst sentence, {v.name}: {sentences()[v.worst_sentence]}")
    return [*lines, "", *_notes(device)]


def _notes(device: str) -> list[str]:
    torch_rows = (
        "`torch` is torch's own AOTInductor package with its default options, run by torch's"
    )
    torch_rows += " loader." if device == "cpu" else " loader, `eager` the module in torch."
    if device == "cpu":
        memory = (
            "Peak memory: the process's resident high-water mark, mapped pages of the weights "
            "included."
        )
    else:
        memory = (
            "Latency includes copying ids to the GPU and embeddings back. GPU memory: what the "
            "process took beside its CUDA context, with what its allocator keeps; other processes "
            "on the same GPU would disturb it."
        )
    notes = (
        "Each row is a process of its own; those of aotiny check that torch is not loaded.",
        torch_rows,
        "Cold start: from just before the process is started to its first embedding, median of",
        f"{COLD_STARTS['aotiny']} ({COLD_STARTS['torch']} for torch), files in the page cache.",
        f"Latency: median of {SINGLE_RUNS} sentences one by one and of {BATCH_RUNS} batches of 32,",
        "after warm-up.",
        memory,
        "Cosine: with torch's eager fp32 embeddings, computed on the CPU. Sentences are tokenized",
        "before, for all rows alike; the processes read token ids from files.",
    )
    return textwrap.wrap(" ".join(notes), 100)
