"""Tiny packages for the loader's tests, compiled once a session, in a process of their own.

The packages are those of plain AOTInductor: no manifest, no dependency on aotiny. Test modules
import package_fixture for the fixture `package`. `python models.py FOLDER` compiles all of them and
copies two with a manifest; AOTINY_TEST_PACKAGES=FOLDER names them to the tests.
"""

import json
import os
import sys
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest

import aotiny
import package_sources
from package_sources import OPTIONS, SOURCES, compile_sources

CPU_OPTIONS = {**OPTIONS, "cpp.vec_isa_ok": True, "cpp.dynamic_threads": True}

CPU_SOURCES = {
    **SOURCES,
    # The same with its weights inside the library, by assembly: an executable stack is asked for.
    "embedded": SOURCES["affine"]
    + """
options = {"aot_inductor.package_constants_on_disk_format": None,
           "aot_inductor.use_consts_asm_build": True}
""",
    # Compiled with PyTorch's defaults: the library asks for libtorch.
    "default_options": SOURCES["other_affine"] + "options = None\n",
    # Indices are checked by the code, in one thread, so that a bad one is an error of the run.
    "lookup": SOURCES["lookup"] + 'options = {"cpp.threads": 1, "cpp.dynamic_threads": False}\n',
    "writes_input": """
class WritesInput(torch.nn.Module):
    def forward(self, x):
        x.add_(1)
        return x * 2
module, example = WritesInput(), (torch.zeros(3, 16),)
""",
    # An operator without a C shim.
    "proxy": """
class Proxy(torch.nn.Module):
    def forward(self, x):
        return torch.multinomial(x, 2)
module, example = Proxy(), (torch.rand(3, 16),)
""",
    # An operator whose C shim is a library of the test's own.
    "custom": """
@torch.library.custom_op("tests::triple", mutates_args=())
def triple(x: torch.Tensor) -> torch.Tensor:
    return x * 3
triple.register_fake(torch.empty_like)
class Custom(torch.nn.Module):
    def forward(self, x):
        return torch.ops.tests.triple(x) + 1
module, example = Custom(), (torch.zeros(3, 16),)
options = {"aot_inductor.custom_ops_to_c_shims": {torch.ops.tests.triple.default:
    ["int32_t aoti_torch_cpu_triple(AtenTensorHandle, AtenTensorHandle*)"]}}
""",
}


def compile_packages(names: list[str], folder: Path) -> None:
    compile_sources({name: CPU_SOURCES[name] for name in names}, folder, "cpu", CPU_OPTIONS)


@pytest.fixture(scope="session", name="package")
def package_fixture(tmp_path_factory):
    """package(name): the path of one of CPU_SOURCES, compiled when it is first asked for."""
    made_before = os.environ.get("AOTINY_TEST_PACKAGES")
    # One for all modules that import this.
    folder = Path(made_before or tmp_path_factory.getbasetemp() / "packages")
    folder.mkdir(exist_ok=True)
    lock = threading.Lock()

    def get(name: str) -> Path:
        path = folder / f"{name}.pt2"
        with lock:
            if not path.exists():
                compile_packages([name], folder)
            return path

    return get


def x(rows=3):
    return np.random.default_rng(5).standard_normal((rows, 16)).astype(np.float32)


def affine(x, scale):
    """What the affine models compute; `affine` has scale 2, `other_affine` -5."""
    return x * np.float32(scale) + np.arange(16, dtype=np.float32)


def failure(call, *args) -> aotiny.Error:
    with pytest.raises(aotiny.Error) as caught:
        call(*args)
    assert caught.value.code != 0
    return caught.value


def rewrite(source: Path, target: Path, change) -> Path:
    """Copies a package; change(name, data) gives an entry's new data, or None to drop it."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as new:
        for item in old.infolist():
            data = change(item.filename, old.read(item))
            if data is not None:
                new.writestr(item.filename, data)
    return target


def add_entry(source: Path, target: Path, name: str, data: bytes | str) -> Path:
    """Copies a package byte by byte and appends an entry below its root folder."""
    target.write_bytes(source.read_bytes())
    with zipfile.ZipFile(target, "a", zipfile.ZIP_STORED) as archive:
        root = archive.namelist()[0].split("/")[0]
        archive.writestr(f"{root}/{name}", data)
    return target


AFFINE_MANIFEST = {
    "format": "aotiny-manifest",
    "version": 1,
    "inputs": [
        {
            "name": "x",
            "dtype": "float32",
            "device": "cpu",
            "shape": [{"name": "n", "min": 1, "max": 64}, 16],
        }
    ],
    "outputs": [{"name": "y", "dtype": "float32", "shape": [{"name": "n"}, 16]}],
    "constants": [
        {"name": name, "fqn": name, "dtype": "float32", "shape": [16], "strides": [1]}
        for name in ("scale", "shift")
    ],
}


def with_manifest(source, target, **changes):
    text = json.dumps({**AFFINE_MANIFEST, **changes})
    return add_entry(source, target, "extra/aotiny.json", text)


LOOKUP_MANIFEST = {
    "inputs": [{"name": "i", "dtype": "int64", "shape": [3], "range": [-10, 9]}],
    "outputs": [{"name": "y", "dtype": "float32", "shape": [3, 4]}],
    "constants": [{"name": "table", "dtype": "float32", "shape": [10, 4], "strides": [4, 1]}],
}


def compile_all(folder: Path) -> None:
    """Compiles every package that is not there yet; all of them where this file has changed."""
    folder.mkdir(parents=True, exist_ok=True)
    stamp = folder / "made_by.py"
    source = Path(__file__).read_text() + Path(package_sources.__file__).read_text()
    if not stamp.exists() or stamp.read_text() != source:
        for path in folder.glob("*.pt2"):
            path.unlink()
        stamp.write_text(source)
    compile_packages([n for n in CPU_SOURCES if not (folder / f"{n}.pt2").exists()], folder)
    with_manifest(folder / "affine.pt2", folder / "affine_described.pt2")
    with_manifest(folder / "lookup.pt2", folder / "lookup_described.pt2", **LOOKUP_MANIFEST)


if __name__ == "__main__":
    compile_all(Path(sys.argv[1]))
