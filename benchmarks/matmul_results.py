"""The figures of bench_matmul.py as tables and pictures.

    python benchmarks/matmul_results.py render   # docs/cuda_speed.md and its pictures
    python benchmarks/matmul_results.py check    # fails if the page's tables are not the data's
    python benchmarks/matmul_results.py print [--data FILE]

Nothing here needs a GPU, torch or aotiny; `render` needs matplotlib.
"""

import argparse
import json
import sys
from itertools import groupby
from pathlib import Path
from statistics import median

from matmul_cells import FORMATS, PEERS, best_peer_us, floor_us

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "benchmarks/results/matmul.json"
PAGE = ROOT / "docs/cuda_speed.md"
SWEEP = ROOT / "docs/cuda_matmul.svg"
ROOFLINE = ROOT / "docs/cuda_roofline.svg"
BEGIN, END = "<!-- figures: benchmarks/matmul_results.py -->", "<!-- end of figures -->"

TICKS = {4**i for i in range(7)}  # on the axis of M
NAMES = {
    "torch-bf16": "torch bf16",
    "torch-fp32": "torch fp32",
    "torch-int4-32": "torch int4 g32",
    "torch-int4-128": "torch int4 g128",
    "torch-int4pack-32": "torch int4 g32",
    "CoalescedInt4": "CoalescedInt4 C",
    "CoalescedInt4-A": "CoalescedInt4 A",
    "ExactInt4": "ExactInt4",
    "PlanarInt6": "PlanarInt6 C",
    "PlanarInt6-A": "PlanarInt6 A",
    "Int8": "Int8",
    "Int4TilePacked-32": "Int4TilePacked g32",
    "Int4TilePacked-128": "Int4TilePacked g128",
}
COLORS = {
    "torch-bf16": "#333333",
    "torch-fp32": "#777777",
    "torch-int4-32": "#999999",
    "torch-int4-128": "#c4c4c4",
    "torch-int4pack-32": "#999999",
    "CoalescedInt4": "#2f6f9f",
    "CoalescedInt4-A": "#94b8d1",
    "ExactInt4": "#62a6c9",
    "PlanarInt6": "#b5542a",
    "PlanarInt6-A": "#daaa95",
    "Int8": "#6b8e3d",
    "Int4TilePacked-32": "#7b4f9d",
    "Int4TilePacked-128": "#b28bd0",
}


def as_json(data: dict) -> str:
    """The data with a line for each cell."""
    lines = ",\n  ".join(map(json.dumps, data["cells"]))
    rest = json.dumps({**data, "cells": []}, indent=1)
    return rest.replace('"cells": []', f'"cells": [\n  {lines}\n ]')


def shapes(data: dict) -> dict[tuple[int, int], list[dict]]:
    """(N, K) to the cells of that shape."""
    result = {}
    for row in data["cells"]:
        result.setdefault((row["n"], row["k"]), []).append(row)
    return result


def columns(rows: list[dict]) -> list[tuple[str, str]]:
    """The contestants, (name, activation): peers first, then formats."""
    present = {(row["name"], row["activation"]) for row in rows}
    order = list(PEERS) + list(FORMATS)
    return sorted(present, key=lambda column: (order.index(column[0]), column[1]))


def label(column: tuple[str, str]) -> str:
    name, activation = column
    suffix = "" if name in PEERS or activation == "default" else f", {activation}"
    return NAMES[name] + suffix


def figures(row: dict, rows: list[dict], rates: dict) -> str:
    """Microseconds, percent of the floor and, for a format, the speed relative to its best peer."""
    parts = [f"{row['us']:.1f}", f"{floor_us(row, rates) / row['us']:.0%}"]
    peer = best_peer_us(row, rows)
    if peer is not None:
        parts.append(f"{peer / row['us']:.2f}x")
    return ", ".join(parts)


def table(rows: list[dict], rates: dict) -> str:
    """Of the cells of one shape: a line for each M, a column for each contestant."""
    across = columns(rows)
    cells = {(row["m"], row["name"], row["activation"]): row for row in rows}
    lines = [
        "| M | " + " | ".join(map(label, across)) + " |",
        "|---:|" + "---:|" * len(across),
    ]
    for m in sorted({row["m"] for row in rows}):
        line = [cells.get((m, *column)) for column in across]
        texts = [figures(row, rows, rates) if row else "-" for row in line]
        lines.append(f"| {m} | " + " | ".join(texts) + " |")
    return "\n".join(lines)


def source(data: dict) -> str:
    host, versions, rates = data["machine"], data["versions"], data["rates"]
    spreads = [(row["us_high"] - row["us_low"]) / row["us"] for row in data["cells"]]
    speeds = rates["operations_per_s"]
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
    return (
        f"Measured by `{data['command']}` in {data['seconds']:.0f} s on one {host['gpu']} "
        f"({host['multiprocessors']} multiprocessors, driver {host['driver']}), CUDA "
        f"{versions['cuda']}, torch {versions['torch']}, aotiny {versions['aotiny']}. The card "
        f"reads {rates['read_bytes_per_s'] / 1e12:.2f} TB/s ({rates['read_by']}) and multiplies "
        f"at {speeds['bf16'] / 1e12:.0f} TFLOP/s in bf16 and {speeds['int8'] / 1e12:.0f} TOP/s in "
        f"int8 (torch, large square matrices). From the 10th to the 90th percentile, "
        f"the replays of a cell differ by {median(spreads):.1%} of its time in the median cell and "
        f"by {max(spreads):.1%} in the worst. Largest error: {errors}."
    )


def all_tables(data: dict | None) -> str:
    """The page's generated part; "" where nothing has been recorded."""
    if data is None:
        return ""
    parts = [source(data)]
    for (n, k), rows in shapes(data).items():
        parts += [f"### N = {n}, K = {k}", table(rows, data["rates"])]
    return "\n\n".join(parts)


def between_marks(page: str, pictures: str, tables: str, begin: str = BEGIN) -> str:
    """The page with that between its marks; nothing if there are no tables."""
    before, rest = page.split(begin)
    inside = f"{pictures}\n\n{tables}\n" if tables else ""
    return f"{before}{begin}\n{inside}{END}{rest.split(END)[1]}"


def with_figures(page: str, data: dict | None) -> str:
    """The page with what stands between its marks made from the data."""
    pictures = (
        f"![time against M, by shape]({SWEEP.name})\n\n"
        f"![operations a second against operations a byte]({ROOFLINE.name})"
    )
    return between_marks(page, pictures, all_tables(data))


def pyplot():
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "aotiny"
    import matplotlib.pyplot as plt

    return plt


def curves(rows: list[dict]):
    """(column, its cells by M) of each contestant."""
    key = lambda row: (row["name"], row["activation"])  # noqa: E731
    by_column = {
        column: sorted(cells, key=lambda row: row["m"])
        for column, cells in groupby(sorted(rows, key=key), key=key)
    }
    return [(column, by_column[column]) for column in columns(rows)]


def line_style(column: tuple[str, str]) -> dict:
    name, activation = column
    return {
        "color": COLORS[name],
        "linestyle": {"native": ":" if name in FORMATS else "-", "int8": "--"}.get(activation, "-"),
        "marker": "o",
        "markersize": 3,
        "linewidth": 1.2,
        "label": label(column),
    }


def draw_sweep(data: dict, path: Path) -> None:
    """Time against M, a panel for each shape."""
    panels = [(f"{n} x {k}", rows, data["rates"]) for (n, k), rows in shapes(data).items()]
    draw_panels(panels, path)


def draw_panels(panels: list[tuple[str, list[dict], dict]], path: Path) -> None:
    """Time against M, a panel for each (title, rows, rates); the thin line is the lowest floor of
    its cells."""
    plt = pyplot()
    figure, axes = plt.subplots(1, len(panels), figsize=(3.4 * len(panels), 4.4), squeeze=False)
    for axis, (title, rows, rates) in zip(axes[0], panels, strict=True):
        for column, cells in curves(rows):
            axis.plot([c["m"] for c in cells], [c["us"] for c in cells], **line_style(column))
        floors = {}
        for row in rows:
            floors[row["m"]] = min(floors.get(row["m"], float("inf")), floor_us(row, rates))
        least = sorted(floors.items())
        axis.plot(*zip(*least, strict=True), color="#000000", linewidth=0.7, label="lowest floor")
        axis.set(xscale="log", yscale="log")
        axis.set_xticks([m for m, _ in least if m in TICKS])
        axis.xaxis.set_major_formatter("{x:.0f}")
        axis.minorticks_off()
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("M", fontsize=9)
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0][0].set_ylabel("µs", fontsize=9)
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=5, fontsize=8, frameon=False)
    figure.tight_layout(rect=(0, 0.12, 1, 1))
    figure.savefig(path, metadata={"Date": None})


def draw_roofline(data: dict, path: Path) -> None:
    """Operations a second against operations a byte, of the shape with the most weights."""
    plt = pyplot()
    rates = data["rates"]
    (n, k), rows = max(shapes(data).items(), key=lambda item: item[0][0] * item[0][1])
    figure, axis = plt.subplots(figsize=(8, 4.8))
    for column, cells in curves(rows):
        operations = [2 * c["m"] * n * k for c in cells]
        nbytes = [c["weight_bytes"] + 2 * c["m"] * (n + k) for c in cells]
        axis.plot(
            [o / b for o, b in zip(operations, nbytes, strict=True)],
            [o / c["us"] / 1e6 for o, c in zip(operations, cells, strict=True)],
            **line_style(column),
        )
    for arithmetic, rate in rates["operations_per_s"].items():
        ridge = rate / rates["read_bytes_per_s"]
        ends = [0.5, ridge, max(4 * ridge, 5000)]
        roof = [min(e * rates["read_bytes_per_s"], rate) / 1e12 for e in ends]
        axis.plot(ends, roof, color="#000000", linewidth=0.7)
        axis.annotate(arithmetic, (ends[-1], roof[-1]), fontsize=8, ha="right", va="bottom")
    axis.set(xscale="log", yscale="log")
    axis.set_title(f"{n} x {k}", fontsize=10)
    axis.set_xlabel("operations a byte of weight, input and output", fontsize=9)
    axis.set_ylabel("10¹² operations a second", fontsize=9)
    axis.grid(alpha=0.3)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(fontsize=8, loc="lower right")
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


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
    else:
        PAGE.write_text(with_figures(page, data))
        if data is not None:
            draw_sweep(data, SWEEP)
            draw_roofline(data, ROOFLINE)


if __name__ == "__main__":
    main()
