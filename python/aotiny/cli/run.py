"""Run a package on inputs from .npy files, in the order of its inputs."""

import argparse
import json
import re
import time
from pathlib import Path

from .table import printable

HELP = "run a package on .npy files"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("package", help="a .pt2 package")
    parser.add_argument(
        "--input",
        nargs="*",
        action="extend",
        default=[],
        metavar="X.npy",
        help="the inputs, in order; may be given several times",
    )
    parser.add_argument("--output-dir", metavar="DIR", help="write each output there as .npy")
    parser.add_argument("--device", default="cpu", help='"cpu", "cuda" or "cuda:N"')


def execute(options: argparse.Namespace) -> None:
    import numpy as np

    import aotiny

    arrays = [_load(np, name) for name in options.input]
    begin = time.perf_counter()
    model = aotiny.Model(options.package, device=options.device)
    loaded = time.perf_counter()
    places = _places(model, len(arrays))
    inputs = [aotiny.Tensor(a).to(place) for a, place in zip(arrays, places, strict=True)]
    outputs = [None if output is None else output.to("cpu") for output in model(*inputs)]
    done = time.perf_counter()

    names = [spec["name"] for spec in model.outputs] if model.manifest else []
    if len(names) != len(outputs):
        names = [f"output{i}" for i in range(len(outputs))]
    results = []
    for name, stem, tensor in zip(names, _stems(names), outputs, strict=True):
        entry = {"name": name, "dtype": None, "shape": None}
        results.append(entry)
        if tensor is None:  # the model leaves this output out
            continue
        entry.update(dtype=tensor.dtype, shape=list(tensor.shape))
        if options.output_dir:
            # .npy has no bfloat16; fp32 holds each of its values.
            stored = tensor.to("float32") if tensor.dtype == "bfloat16" else tensor
            Path(options.output_dir).mkdir(parents=True, exist_ok=True)
            file = Path(options.output_dir) / f"{stem}.npy"
            np.save(file, np.asarray(stored))
            entry["file"] = str(file)

    load_ms, run_ms = (loaded - begin) * 1e3, (done - loaded) * 1e3
    if options.json:
        print(json.dumps({"outputs": results, "load_ms": load_ms, "run_ms": run_ms}))
        return
    for entry in results:
        where = f" -> {entry['file']}" if "file" in entry else ""
        what = f"{entry['dtype']}{entry['shape']}" if entry["dtype"] else "none"
        print(f"{printable(entry['name'])}: {what}{where}")
    print(f"loaded in {load_ms:.1f} ms, ran in {run_ms:.1f} ms")


def _places(model, count: int) -> list[str]:
    """The devices that a model takes `count` inputs from: its own, or the CPU."""
    specs = model.inputs or []  # nobody says so where there is no manifest
    on_cpu = [spec.get("device", "cpu") == "cpu" for spec in specs[:count]]
    on_cpu += [False] * (count - len(on_cpu))
    return ["cpu" if here else model.device for here in on_cpu]


def _stems(names: list[str]) -> list[str]:
    """Names of files in one folder: a package may call its outputs anything, and two the same."""
    safe = [re.sub(r"[^\w.-]", "_", name)[:100] for name in names]
    if len(set(safe)) == len(safe):
        return safe
    return [f"{i}.{stem}" for i, stem in enumerate(safe)]


def _load(np, name: str):
    try:
        return np.load(name, allow_pickle=False)
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no file {name}") from None
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(f"{name} is no readable .npy file: {error}") from error
