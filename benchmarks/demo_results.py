"""The demo's figures as data, table and picture.

    python benchmarks/demo_results.py record   # runs `aotiny demo --json` here, writes the data
    python benchmarks/demo_results.py render   # README table and docs/demo.svg, from the data
    python benchmarks/demo_results.py check    # fails if the README's table is not the data's

`record` wants a machine with nothing else to do; `render` needs matplotlib.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "benchmarks/results/demo.json"
README = ROOT / "README.md"
PICTURE = ROOT / "docs/demo.svg"
BEGIN, END = "<!-- demo table: benchmarks/demo_results.py -->", "<!-- end of demo table -->"
INSTRUCTION_SETS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16")
COMMAND = "aotiny demo --json"


def machine() -> dict:
    cpuinfo = Path("/proc/cpuinfo").read_text().splitlines()
    fields = dict(line.split(":", 1) for line in cpuinfo if ":" in line)
    fields = {key.strip(): value.strip() for key, value in fields.items()}
    flags = fields.get("flags", "").split()
    return {
        "cpu": f"{fields.get('model name')}, family {fields.get('cpu family')}",
        "cores": os.cpu_count(),
        "instruction_sets": [name for name in INSTRUCTION_SETS if name in flags],
        "kernel": platform.release(),
    }


def record() -> None:
    import numpy
    import torch

    import aotiny

    run = [sys.executable, "-m", *COMMAND.split()]
    figures = json.loads(subprocess.run(run, check=True, stdout=subprocess.PIPE).stdout)
    data = {
        "command": COMMAND,
        "machine": machine(),
        "versions": {
            "aotiny": aotiny.__version__,
            "torch": torch.__version__,
            "numpy": numpy.__version__,
            "python": platform.python_version(),
        },
        **figures,
    }
    DATA.parent.mkdir(exist_ok=True)
    DATA.write_text(json.dumps(data, indent=1) + "\n")


def rows(data: dict) -> list[dict]:
    return [*data["variants"], data["torch"]]


def label(row: dict) -> str:
    return "torch 2.13, fp32" if row["name"] == "torch" else f"aotiny, {row['name']}"


def table(data: dict) -> str:
    lines = [
        "| | package | cold start | batch 1 | batch 32 | peak memory | cosine, mean | worst |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows(data):
        lines.append(
            f"| {label(row)} | {row['package_mb']:.0f} MB | {row['cold_start_ms']:.0f} ms "
            f"| {row['latency_ms']['1']:.2f} ms | {row['latency_ms']['32']:.1f} ms "
            f"| {row['peak_rss_mb']:.0f} MB | {row['cosine_mean']:.5f} | {row['cosine_min']:.5f} |"
        )
    host, versions = data["machine"], data["versions"]
    lines += [
        "",
        f"Measured by `{data['command']}` on {host['cores']} cores of {host['cpu']} "
        f"({', '.join(host['instruction_sets'])}), Python {versions['python']}, "
        f"torch {versions['torch']}.",
    ]
    return "\n".join(lines)


def split_readme() -> tuple[str, str, str]:
    before, rest = README.read_text().split(BEGIN)
    inside, after = rest.split(END)
    return before, inside, after


def render(data: dict) -> None:
    before, _, after = split_readme()
    README.write_text(f"{before}{BEGIN}\n{table(data)}\n{END}{after}")

    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "aotiny"
    import matplotlib.pyplot as plt

    panels = {
        "cold start, ms (log)": lambda row: row["cold_start_ms"],
        "batch 1, ms": lambda row: row["latency_ms"]["1"],
        "batch 32, ms": lambda row: row["latency_ms"]["32"],
        "peak memory, MB": lambda row: row["peak_rss_mb"],
    }
    figure, axes = plt.subplots(1, len(panels), figsize=(11, 2.4), sharey=True)
    names = [label(row) for row in rows(data)]
    colors = ["#2f6f9f"] * len(data["variants"]) + ["#b5542a"]
    for axis, (title, value) in zip(axes, panels.items(), strict=True):
        bars = axis.barh(names, [value(row) for row in rows(data)], color=colors)
        axis.bar_label(
            bars, fmt=lambda v: f"{v:.0f}" if v >= 100 else f"{v:.3g}", padding=2, fontsize=8
        )
        axis.set_title(title, fontsize=9)
        axis.set_xscale("log" if "log" in title else "linear")
        axis.margins(x=0.25)
        axis.tick_params(labelsize=8)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].invert_yaxis()
    figure.tight_layout()
    figure.savefig(PICTURE, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("action", choices=["record", "render", "check"])
    action = parser.parse_args().action
    if action == "record":
        record()
        return
    data = json.loads(DATA.read_text())
    if action == "render":
        render(data)
    elif split_readme()[1].strip() != table(data):
        sys.exit(f"the table in {README.name} is not that of {DATA.name}: render it again")


if __name__ == "__main__":
    main()
