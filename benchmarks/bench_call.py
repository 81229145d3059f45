"""What a call of a model costs beyond the model itself, on graphs that compute next to nothing.

    python benchmarks/bench_call.py [--seconds N] [--json]

The contestants take turns, a short loop each, in one process. "container" is the compiled code's
own entry point, called from C with a handle for each input: what is left when nothing is checked
and nothing converted. The others are aotiny's C API and calls from Python with inputs of each kind.
The least of many repetitions, in microseconds. Needs torch, aotiny and a C compiler.
"""

import argparse
import ctypes
import json
import os
import subprocess
import tempfile
import time
import zipfile
from pathlib import Path

import numpy as np
import torch
from torch import nn

import aotiny

CALLS = 20  # in one loop: few, so that some loops run undisturbed

# Each function makes `calls` runs and returns the seconds that all of them took, or -1.
SOURCE = r"""
#include <stdint.h>
#include <time.h>

typedef void* Handle;
extern int32_t aoti_torch_new_tensor_handle(Handle, Handle*);
extern int32_t aoti_torch_delete_tensor_object(Handle);
extern int32_t aotiny_model_run(void*, const Handle*, int64_t, Handle*, int64_t);

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec + 1e-9 * time.tv_nsec;
}

typedef int32_t (*Run)(void*, Handle*, size_t, Handle*, size_t, void*, void*);

double container(Run run, void* model, Handle* inputs, int64_t count, int64_t calls) {
  const double begin = now();
  for (int64_t i = 0; i < calls; ++i) {
    Handle taken[8], output;  /* a run takes its inputs' handles over */
    for (int64_t j = 0; j < count; ++j) {
      if (aoti_torch_new_tensor_handle(inputs[j], &taken[j]) != 0) return -1;
    }
    if (run(model, taken, count, &output, 1, 0, 0) != 0) return -1;
    aoti_torch_delete_tensor_object(output);
  }
  return now() - begin;
}

double c_api(void* model, Handle* inputs, int64_t count, int64_t calls) {
  const double begin = now();
  for (int64_t i = 0; i < calls; ++i) {
    Handle output;
    if (aotiny_model_run(model, inputs, count, &output, 1) != 0) return -1;
    aoti_torch_delete_tensor_object(output);
  }
  return now() - begin;
}
"""


class Add(nn.Module):
    def forward(self, x):
        return x + 1


class Lookup(nn.Module):
    """Indices, whose values are checked, and a mask, of two dynamic sizes."""

    def __init__(self):
        super().__init__()
        self.table = nn.Parameter(torch.randn(1000, 4))

    def forward(self, ids, mask):
        return self.table[ids] * mask[..., None]


def models():
    """(name, module, inputs, dynamic shapes) of each."""
    yield "add of 8 floats", Add(), (torch.randn(8),), None
    batch, length = torch.export.Dim("batch", max=64), torch.export.Dim("length", max=512)
    sizes = {0: batch, 1: length}
    ids, mask = torch.randint(0, 1000, (2, 8)), torch.ones(2, 8)
    yield "lookup of 2 x 8 indices", Lookup(), (ids, mask), (sizes, sizes)


def compile_loops(folder: Path, library: Path) -> ctypes.CDLL:
    source, target = folder / "loops.c", folder / "loops.so"
    source.write_text(SOURCE)
    compiler = os.environ.get("CC", "cc")
    subprocess.run([compiler, "-O2", "-shared", "-fPIC", "-o", target, source, library], check=True)
    loops = ctypes.CDLL(str(target))
    loops.container.restype = loops.c_api.restype = ctypes.c_double
    return loops


def handle_of(library: ctypes.CDLL, tensor: torch.Tensor) -> ctypes.c_void_p:
    dims = ctypes.c_int64 * tensor.ndim
    handle = ctypes.c_void_p()
    codes = {torch.float32: 6, torch.int64: 4}
    code = library.aoti_torch_create_tensor_from_blob(
        ctypes.c_void_p(tensor.data_ptr()), ctypes.c_int64(tensor.ndim), dims(*tensor.shape),
        dims(*tensor.stride()), ctypes.c_int64(0), codes[tensor.dtype], 0, -1, ctypes.byref(handle),
    )  # fmt: skip
    assert code == 0, code
    return handle


class Native:
    """The loops of one package. (Its code is opened once more, beside aotiny's own copy of it.)"""

    def __init__(self, folder: Path, package: Path, library: ctypes.CDLL, loops: ctypes.CDLL):
        self.loops, self.library = loops, library
        with zipfile.ZipFile(package) as archive:
            (entry,) = (name for name in archive.namelist() if name.endswith(".so"))
            code = folder / f"{package.stem}.so"
            code.write_bytes(archive.read(entry))
            blob = [name for name in archive.namelist() if name.endswith(".blob")]
            self.weights = archive.read(blob[0]) if blob else b""
        self.code = ctypes.CDLL(str(code))
        self.container = ctypes.c_void_p()
        assert (
            self.code.AOTInductorModelContainerCreateWithDevice(
                ctypes.byref(self.container), ctypes.c_size_t(1), b"cpu", None
            )
            == 0
        )
        if self.weights:
            assert (
                self.code.AOTInductorModelUpdateConstantsFromBlob(self.container, self.weights) == 0
            )
        self.model = ctypes.c_void_p()
        assert (
            library.aotiny_model_load(
                str(package).encode(), b"cpu", ctypes.c_int64(1), None, ctypes.byref(self.model)
            )
            == 0
        )

    def sides(self, tensors):
        handles = [handle_of(self.library, tensor) for tensor in tensors]
        inputs = (ctypes.c_void_p * len(handles))(*handles)
        count, calls = ctypes.c_int64(len(handles)), ctypes.c_int64(CALLS)

        def container():
            run = self.code.AOTInductorModelContainerRun
            return self.loops.container(run, self.container, inputs, count, calls)

        def c_api():
            return self.loops.c_api(self.model, inputs, count, calls)

        return {"container": container, "C API": c_api}


def python_side(model, inputs, convert=None):
    def side():
        begin = time.perf_counter()
        for _ in range(CALLS):
            (output,) = model(*inputs)
            if convert is not None:
                convert(output)
        return time.perf_counter() - begin

    return side


def measure(sides: dict, seconds: float) -> dict[str, float]:
    """The least microseconds of a call of each; loops taken in turns."""
    times = {name: [] for name in sides}
    for side in sides.values():
        side()
    start = time.perf_counter()
    while time.perf_counter() - start < seconds:
        for name, side in sides.items():
            took = side()
            assert took >= 0, name
            times[name].append(took / CALLS * 1e6)
    return {name: min(record) for name, record in times.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=5, help="for each model")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    path = Path(aotiny.__file__).parent / "lib" / "libaotiny.so.0"
    library = ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)
    results = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        loops = compile_loops(folder, path)
        for index, (title, module, tensors, sizes) in enumerate(models()):
            package = folder / f"model{index}.pt2"
            aotiny.export(module.eval(), tensors, package, dynamic_shapes=sizes)
            model = aotiny.Model(package)
            arrays = [tensor.numpy() for tensor in tensors]
            shared = [aotiny.from_dlpack(array) for array in arrays]
            (y,) = model(*arrays)
            assert np.allclose(np.asarray(y), module(*tensors).detach().numpy())
            sides = Native(folder, package, library, loops).sides(tensors)
            sides |= {
                "aotiny.Tensor": python_side(model, shared),
                "numpy": python_side(model, arrays),
                "torch": python_side(model, tensors),
                "numpy, to numpy": python_side(model, arrays, np.asarray),
                "torch, to torch": python_side(model, tensors, torch.from_dlpack),
            }
            results[title] = measure(sides, arguments.seconds)
    load = os.getloadavg()[0]
    if arguments.json:
        print(json.dumps({"torch": torch.__version__, "load": load, "us": results}, indent=2))
        return
    print(f"microseconds a call, and beyond the container's own (load average {load:.1f})")
    for title, row in results.items():
        print(title)
        for name, took in row.items():
            print(f"  {name:18} {took:8.2f} {took - row['container']:+8.2f}")


if __name__ == "__main__":
    main()
