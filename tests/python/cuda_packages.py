"""Tiny packages for CUDA, compiled once a session by whichever torch is there.

    python cuda_packages.py FOLDER      # compiles them, several at a time

The models are small and plain; what their products compute is tested elsewhere. Test modules import
the fixtures. AOTINY_TEST_CUDA_PACKAGES=FOLDER names the packages made before, these and those of
cuda_models.py; the tests add what is missing there.
"""

import ctypes
import gc
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest

import aotiny
from aotiny import Tensor, cuda
from models import add_entry
from package_sources import OPTIONS, SOURCES, compile_sources

WHY_NOT = cuda.why_not()
needs_gpu = pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)

CUDA_OPTIONS = {**OPTIONS, "aot_inductor.embed_kernel_binary": True}

CUDA_SOURCES = {
    **SOURCES,
    "embedded": SOURCES["affine"]
    + 'options = {"aot_inductor.package_constants_on_disk_format": None}\n',
    # A row goes into a cache at a position; what is in it so far is added up.
    "cache": """
class Cache(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("rows", torch.zeros(32, 8))
        self.weight = torch.nn.Parameter(torch.full((8,), 3.0))
    def forward(self, x, position):
        self.rows[position] = x * self.weight
        return self.rows.sum(0), self.rows[position] + 1
module, example = Cache(), (torch.zeros(1, 8, device=device),
                            torch.zeros(1, dtype=torch.int64, device=device))
""",
    # 64 MiB of weights, between two that are not as long as a kernel's loads.
    "large": """
class Large(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.before = torch.nn.Parameter(torch.arange(9.0) + 1)
        self.weight = torch.nn.Parameter(torch.arange(4096 * 4096.0).reshape(4096, 4096) % 7)
        self.after = torch.nn.Parameter(torch.arange(11.0) + 2)
    def forward(self, x):
        return (self.weight * x).sum(1) + self.before.sum() * self.after.sum()
module, example = Large(), (torch.zeros(4096, device=device),)
""",
    # How large the result is depends on the values: the model has to look at them.
    "looks": """
class Looks(torch.nn.Module):
    def forward(self, x):
        n = x.to(torch.int64).sum().item()
        torch._check(n >= 0)
        torch._check(n < 100)
        return torch.zeros(n, device=x.device) + x[0]
module, example = Looks(), (torch.ones(3, device=device),)
""",
}


def compile_packages(folder: Path) -> None:
    """Makes the packages that are not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    missing = {n: s for n, s in CUDA_SOURCES.items() if not (folder / f"{n}.pt2").exists()}
    compile_sources(missing, folder, "cuda", CUDA_OPTIONS)


def kept_packages(tmp_path_factory, kind: str) -> Path:
    """Where packages of a kind are, or go."""
    made_before = os.environ.get("AOTINY_TEST_CUDA_PACKAGES")
    return Path(made_before or tmp_path_factory.getbasetemp() / "cuda-packages") / kind


@pytest.fixture(scope="session", name="package")
def package_fixture(tmp_path_factory):
    """package(name): the path of one of CUDA_SOURCES."""
    folder = kept_packages(tmp_path_factory, "plain")
    if any(not (folder / f"{name}.pt2").exists() for name in CUDA_SOURCES):
        pytest.importorskip("torch")
        compile_packages(folder)
    return lambda name: folder / f"{name}.pt2"


def spec(name, dtype, *shape, **more):
    return {"name": name, "dtype": dtype, "device": "cuda", "shape": list(shape), **more}


def constant(name, *shape, **more):
    strides = [int(np.prod(shape[i + 1 :])) for i in range(len(shape))]
    described = {"name": name, "fqn": name, "dtype": "float32"}
    return {**described, "shape": list(shape), "strides": strides, **more}


N = {"name": "n", "min": 1, "max": 64}
AFFINE_CONSTANTS = [constant("scale", 16), constant("shift", 16)]
MANIFESTS = {
    "affine": ([spec("x", "float32", N, 16)], [spec("y", "float32", N, 16)], AFFINE_CONSTANTS),
    "other_affine": (
        [spec("x", "float32", N, 16)], [spec("y", "float32", N, 16)], AFFINE_CONSTANTS,
    ),
    "cache": (
        [spec("x", "float32", 1, 8), spec("position", "int64", 1, range=[0, 31])],
        [spec("sum", "float32", 8), spec("row", "float32", 1, 8)],
        [constant("weight", 8), constant("rows", 32, 8, mutable=True)],
    ),
    "counter": (
        [spec("x", "float32", 16)], [spec("y", "float32", 16)],
        [constant("weight", 16), constant("total", 16, mutable=True)],
    ),
    "lookup": (
        [spec("i", "int64", 3, range=[-10, 9])], [spec("y", "float32", 3, 4)],
        [constant("table", 10, 4)],
    ),
    "large": (
        [spec("x", "float32", 4096)], [spec("y", "float32", 4096)],
        [constant("before", 9), constant("weight", 4096, 4096), constant("after", 11)],
    ),
}  # fmt: skip


def describe(source: Path, target: Path, name: str, **devices) -> Path:
    """Copies a package, with a manifest; `devices` says which values are on other devices."""
    inputs, outputs, constants = MANIFESTS[name]
    on = {value: {"device": device} for value, device in devices.items()}
    inputs, constants = ([{**v, **on.get(v["name"], {})} for v in vs] for vs in (inputs, constants))
    manifest = {
        "format": "aotiny-manifest", "version": 1, "inputs": inputs, "outputs": outputs,
        "constants": constants,
    }  # fmt: skip
    return add_entry(source, target, "extra/aotiny.json", json.dumps(manifest))


@pytest.fixture(scope="session", name="described")
def described_fixture(package, tmp_path_factory):
    """described(name): the package with a manifest."""
    folder = tmp_path_factory.getbasetemp() / "cuda-described"
    folder.mkdir(exist_ok=True)

    def get(name: str) -> Path:
        path = folder / f"{name}.pt2"
        return path if path.exists() else describe(package(name), path, name)

    return get


@pytest.fixture(params=["bare", "described"], name="either")
def either_fixture(request, package, described):
    """either(name): the package without and with a manifest."""
    return package if request.param == "bare" else described


def load(path, **options) -> aotiny.Model:
    return aotiny.Model(path, device=options.pop("device", "cuda"), **options)


def gpu(array, device="cuda") -> Tensor:
    return Tensor(np.ascontiguousarray(array)).to(device)


def host(tensor: Tensor) -> np.ndarray:
    return tensor.to("cpu").numpy()


def ones() -> Tensor:
    return gpu(np.ones(16, np.float32))


def allocated(device="cuda:0") -> int:
    gc.collect()
    return cuda.memory_stats(device)["allocated_bytes"]


@pytest.fixture(name="runtime")
def runtime_fixture():
    """The CUDA runtime that is loaded."""
    with open("/proc/self/maps") as maps:
        path = next(line.split()[-1] for line in maps if "libcudart.so" in line)
    return ctypes.CDLL(path)


@pytest.fixture(name="stall")
def stall_fixture(runtime):
    """stall(stream, seconds): what is put into the stream from now on waits that long."""
    usleep = ctypes.CDLL(None).usleep

    def stall(stream: int, seconds: float) -> None:
        microseconds = ctypes.c_void_p(int(seconds * 1e6))
        assert runtime.cudaLaunchHostFunc(ctypes.c_void_p(stream), usleep, microseconds) == 0

    return stall


@pytest.fixture(name="make_stream")
def make_stream_fixture(runtime):
    """make_stream(): a stream that does not wait for the default one; make_stream.destroy(it)."""
    made = []

    def make() -> int:
        stream = ctypes.c_void_p()
        assert runtime.cudaStreamCreateWithFlags(ctypes.byref(stream), 1) == 0
        made.append(stream.value)
        return stream.value

    def destroy(stream: int) -> None:
        made.remove(stream)
        assert runtime.cudaStreamDestroy(ctypes.c_void_p(stream)) == 0

    make.destroy = destroy
    yield make
    gc.collect()
    cuda.synchronize()
    for stream in list(made):
        destroy(stream)


if __name__ == "__main__":
    compile_packages(Path(sys.argv[1]) / "plain")
