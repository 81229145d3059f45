"""The figures of bench_matmul_cpu.py as tables and a picture.

    python benchmarks/matmul_cpu_results.py render   # docs/cpu_speed.md and its picture
    python benchmarks/matmul_cpu_results.py check    # fails if the page's tables are not the data's
    python benchmarks/matmul_cpu_results.py print [--data FILE]

Nothing here needs torch or aotiny; `render` needs matplotlib.
"""

import argparse
import json
import sys
from pathlib import Path
from statistics import median

from matmul_results import ROOT, between_marks, draw_panels, table

DATA = ROOT / "benchmarks/results/matmul_cpu.json"
PAGE = ROOT / "docs/cpu_speed.md"
SWEEP = ROOT / "docs/cpu_matmul.svg"
BEGIN = "<!-- figures: benchmarks/matmul_cpu_results.py -->"


def panels(data: dict) -> list[tuple[str, list[dict], dict]]:
    """(title, cells, rates) for each shape and number of threads. The rate of reading is the best
    that was seen with as many threads."""
    groups = {}
    for row in data["cells"]:
        groups.setdefault((row["n"], row["k"], row["threads"]), []).append(row)
    best = {}
    for row in data["cells"]:
        best[row["threads"]] = max(best.get(row["threads"], 0), row["read_bytes_per_s"])
    return [
        (
            f"N = {n}, K = {k}, {threads} thread{'s' * (threads > 1)}",
            rows,
            {"read_bytes_per_s": best[threads]},
        )
        for (n, k, threads), rows in groups.items()
    ]


def source(data: dict) -> str:
    host, versions = data["machine"], data["versions"]
    spreads = [(row["us_high"] - row["us_low"]) / row["us"] for row in data["cells"]]
    worst = {
        arithmetic: max(
            (row["error"] for row in data["cells"] if row["arithmetic"] == arithmetic), default=0
        )
        for arithmetic in data["bounds"]
    }
    errors = ", ".join(
        f"{worst[name]:.1e} where {name} is computed with (bound {bound:.0e})"
        for name, bound in data["bounds"].items()
    )
    reads = {row["threads"]: rates for _, rows, rates in panels(data) for row in rows}
    rates = " and ".join(
        f"{rate['read_bytes_per_s'] / 1e9:.1f} GB/s with {threads} thread{'s' * (threads > 1)}"
        for threads, rate in sorted(reads.items())
    )
    left_out = "".join(f" {sentence}." for sentence in data["left_out"])
    return (
        f"Measured by `{data['command']}` in {data['seconds']:.0f} s on {host['processors']} "
        f"processors ({host['processor']}; load average before: {host['load_before'][0]:.2f}), "
        f"torch {versions['torch']}, aotiny {versions['aotiny']}. Memory was read at {rates}. "
        f"From the 10th to the 90th percentile, the calls of a cell differ by "
        f"{median(spreads):.1%} of its time in the median cell and by {max(spreads):.1%} in the "
        f"worst. Largest error: {errors}.{left_out}"
    )


def all_tables(data: dict | None) -> str:
    """The page's generated part; "" where nothing has been recorded."""
    if data is None or not data["cells"]:
        return ""
    parts = [source(data)]
    for title, rows, rates in panels(data):
        parts += [f"### {title}", table(rows, rates)]
    return "\n\n".join(parts)


def with_figures(page: str, data: dict | None) -> str:
    """The page with what stands between its marks made from the data."""
    picture = f"![time against M, by shape and threads]({SWEEP.name})"
    return between_marks(page, picture, all_tables(data), BEGIN)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("action", choices=["print", "render", "check"])
    parser.add_argument("--data", type=Path, help="print that of another file")
    options = parser.parse_args()
    path = options.data or DATA
    data = json.loads(path.read_text()) if path.exists() else None
    if options.action == "print":
        print(all_tables(data))
        return
    page = PAGE.read_text()
    if options.action == "check":
        if page != with_figures(page, data):
            sys.exit(f"the figures in {PAGE.name} are not those of {DATA.name}: render it again")
        return
    PAGE.write_text(with_figures(page, data))
    if data is not None:
        most = max(row["threads"] for row in data["cells"])
        chosen = [panel for panel in panels(data) if panel[1][0]["threads"] == most]
        draw_panels(chosen, SWEEP)


if __name__ == "__main__":
    main()
