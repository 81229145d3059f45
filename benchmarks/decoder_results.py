"""Tables of what bench_decoder.py recorded, in docs/cuda_decoder.md.

python benchmarks/decoder_results.py print     # the tables
python benchmarks/decoder_results.py render    # the page, from the data
python benchmarks/decoder_results.py check     # fails if the page is not the data's
"""

import argparse
import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "benchmarks/results/decoder.json"
PAGE = ROOT / "docs/cuda_decoder.md"
BEGIN, END = "<!-- figures: benchmarks/decoder_results.py -->", "<!-- end of figures -->"
MOST_KERNELS = 12  # in the table of them


def floor_us(row: dict, read_bytes_per_s: float) -> float:
    """The least time of a token: its weights and the cache, read once."""
    return (row["weight_bytes"] + row["cache_bytes"]) / read_bytes_per_s * 1e6


def further_layer(first: dict, last: dict) -> dict:
    """What one layer more takes: the difference of two rows, divided."""
    layers = last["layers"] - first["layers"]
    keys = ("weight_bytes", "cache_bytes", "us", "call_us", "kernels_us")
    return {
        key: (last[key] - first[key]) / layers if first[key] and last[key] else None for key in keys
    }


def line(name: str, row: dict, rate: float) -> str:
    floor = floor_us(row, rate)
    kernels = f"{row['kernels_us']:.0f}" if row["kernels_us"] else "-"
    error = f"{row['error']:.1e}" if "error" in row else ""
    return (
        f"| {name} | {(row['weight_bytes'] + row['cache_bytes']) / 1e6:.0f} | {floor:.0f} "
        f"| {row['us']:.0f} | {floor / row['us']:.0%} | {kernels} | {row['call_us']:.0f} "
        f"| {error} |"
    )


def table(data: dict) -> str:
    rows, rate = sorted(data["rows"], key=lambda row: row["layers"]), data["read_bytes_per_s"]
    lines = [
        "| layers | MB | floor µs | token µs | of the floor's | kernels µs | call µs | error |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
        *(line(f"{row['layers']} and the head", row, rate) for row in rows),
    ]
    if len(rows) > 1:
        lines.append(line("one more", further_layer(rows[0], rows[-1]), rate))
    return "\n".join(lines)


def short(name: str) -> str:
    """A kernel's name without its arguments, namespaces and what a compiler adds."""
    name = name.removeprefix("void ").replace("(anonymous namespace)::", "")
    name = re.sub(r"\([\w:]+\)(?=-?\d)", "", name)  # (bool)1, (Variant)2
    name = re.sub(r"\(.*", "", name)
    head, bracket, rest = name.partition("<")
    head = head.rsplit("::", 1)[-1]
    text = head + bracket + re.sub(r"\w+::", "", rest)
    return text if len(text) <= 60 else text[:57] + "..."


def kernel_table(row: dict) -> str:
    kernels = row["kernels"]
    total = sum(kernel["us"] for kernel in kernels)
    lines = ["| kernel | launches | µs | share |", "|---|---:|---:|---:|"]
    for kernel in kernels[:MOST_KERNELS]:
        name, us = short(kernel["name"]).replace("|", "\\|"), kernel["us"]
        lines.append(f"| `{name}` | {kernel['count']:.0f} | {us:.1f} | {us / total:.1%} |")
    if rest := kernels[MOST_KERNELS:]:
        us, count = (sum(kernel[key] for kernel in rest) for key in ("us", "count"))
        lines.append(f"| {len(rest)} others | {count:.0f} | {us:.1f} | {us / total:.1%} |")
    return "\n".join(lines)


def all_tables(data: dict | None) -> str:
    """The page's generated part; "" where nothing has been recorded."""
    if data is None:
        return ""
    host, versions = data["machine"], data["versions"]
    source = (
        f"Measured by `{data['command']}` on one {host['gpu']} (driver {host['driver']}), CUDA "
        f"{versions['cuda']}, torch {versions['torch']}, aotiny {versions['aotiny']}. The card "
        f"reads {data['read_bytes_per_s'] / 1e12:.2f} TB/s ({data['read_by']})."
    )
    largest = max(data["rows"], key=lambda row: row["layers"])
    parts = [source, table(data)]
    if largest["kernels"]:
        parts += [f"The kernels of a token, {largest['layers']} layers:", kernel_table(largest)]
    return "\n\n".join(parts)


def with_figures(page: str, data: dict | None) -> str:
    """The page with what stands between its marks made from the data."""
    before, rest = page.split(BEGIN)
    inside = all_tables(data)
    return f"{before}{BEGIN}\n{inside}{chr(10) if inside else ''}{END}{rest.split(END)[1]}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("action", choices=["print", "render", "check"])
    action = parser.parse_args().action
    data = json.loads(DATA.read_text()) if DATA.exists() else None
    page = PAGE.read_text()
    if action == "print":
        print(all_tables(data))
    elif action == "render":
        PAGE.write_text(with_figures(page, data))
    elif page != with_figures(page, data):
        sys.exit(f"the figures in {PAGE.name} are not those of {DATA.name}: render it again")


if __name__ == "__main__":
    main()
