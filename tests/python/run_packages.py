"""Runs packages in a process without torch.

    python run_packages.py JOB.json

JOB is {"libraries": [path], "models": {name: {"package": path, "runs": [[{"file", "dtype"}]]}},
"output": folder}. Output i of run r of a model goes to <folder>/<name>.<r>.<i>.npy, bfloat16 as
fp32. Prints a JSON object: model -> list of [dtype, shape, strides] lists, or an error's text.
"""

import json
import sys

import numpy as np

import aotiny


def run_model(name: str, job: dict, folder: str) -> list:
    model = aotiny.Model(job["package"])
    described = []
    for r, inputs in enumerate(job["runs"]):
        tensors = []
        for entry in inputs:
            tensor = aotiny.Tensor(np.load(entry["file"]))
            tensors.append(tensor.to("bfloat16") if entry["dtype"] == "bfloat16" else tensor)
        outputs = model(*tensors)
        for i, tensor in enumerate(outputs):
            stored = tensor.to("float32") if tensor.dtype == "bfloat16" else tensor
            np.save(f"{folder}/{name}.{r}.{i}.npy", np.asarray(stored))
        described.append([[t.dtype, list(t.shape), list(t.strides)] for t in outputs])
    return described


def main() -> None:
    with open(sys.argv[1]) as file:
        job = json.load(file)
    for library in job["libraries"]:
        aotiny.load_library(library)
    results = {}
    for name, model in job["models"].items():
        try:
            results[name] = run_model(name, model, job["output"])
        except aotiny.Error as error:
            results[name] = str(error)
    assert "torch" not in sys.modules
    with open("/proc/self/maps") as maps:
        assert "libtorch" not in maps.read()
    print(json.dumps(results))


main()
