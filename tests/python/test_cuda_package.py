"""Packages for CUDA where there may be no GPU: what they say they need, and what is refused.

The libraries in them are made here, of a few references: neither torch nor a driver is needed.
"""

import json
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

import aotiny
from aotiny import cuda

LIBRARY = next(Path(aotiny.cmake_prefix()).glob("lib*")) / "libaotiny_cuda.so.0"
pytestmark = [
    pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler"),
    pytest.mark.skipif(not LIBRARY.exists(), reason="built without CUDA"),
]

# Of aotiny, its CUDA library, the CUDA runtime, the driver; and what nobody has.
SYMBOLS = ["aoti_torch_empty_strided", "aoti_torch_create_cuda_stream_guard", "cudaMalloc",
           "cuLaunchKernel", "cuModuleLoadData", "aoti_torch_cuda_no_such_operator"]  # fmt: skip


def has(library: str) -> bool:
    listed = subprocess.run(["ldconfig", "-p"], capture_output=True, text=True, check=False).stdout
    return library in listed


@pytest.fixture
def make_package(tmp_path):
    def make(**metadata) -> Path:
        declarations = "".join(f"int {name}(void);\n" for name in SYMBOLS)
        calls = " + ".join(f"{name}()" for name in SYMBOLS)
        (tmp_path / "driver.c").write_text(
            "int cuLaunchKernel(void) { return 0; } int cuModuleLoadData(void) { return 0; }\n"
        )
        (tmp_path / "code.c").write_text(f"{declarations}int run(void) {{ return {calls}; }}\n")
        driver, code = tmp_path / "libcuda.so.1", tmp_path / "code.so"
        build = ["cc", "-shared", "-fPIC"]
        subprocess.run(
            [*build, "-Wl,-soname,libcuda.so.1", str(tmp_path / "driver.c"), "-o", str(driver)],
            check=True,
        )
        subprocess.run([*build, str(tmp_path / "code.c"), str(driver), "-o", str(code)], check=True)
        path = tmp_path / "m.pt2"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
            folder = "m/data/aotinductor/model"
            archive.writestr(f"{folder}/m.wrapper.so", code.read_bytes())
            archive.writestr(
                f"{folder}/m.wrapper_metadata.json",
                json.dumps({"AOTI_DEVICE_KEY": "cuda", **metadata}),
            )
        return path

    return make


def inspect(path) -> dict:
    return aotiny.inspect(path)["models"]["model"]


def test_inspect_needs_no_driver(make_package):
    model = inspect(make_package())
    assert "aoti_torch_create_cuda_stream_guard" in model["required_symbols"]
    assert model["needed"][0] == "libcuda.so.1"
    missing = model["missing_symbols"]
    if any("libcudart" in sentence for sentence in model["missing_libraries"]):
        assert {"cudaMalloc", "aoti_torch_cuda_no_such_operator"} <= set(missing)
    else:
        assert missing == ["aoti_torch_cuda_no_such_operator"]
    if not has("libcuda.so.1"):  # which is then what is missing, not each of its functions
        assert any(s.startswith("libcuda.so.1: ") for s in model["missing_libraries"])


def test_inspect_says_that_the_library_is_missing(make_package, run_python, tmp_path):
    copy = tmp_path / "aotiny"
    shutil.copytree(aotiny.cmake_prefix(), copy, ignore=shutil.ignore_patterns("include", "demo"))
    for file in Path(aotiny.__file__).parent.glob("*.py"):  # elsewhere in an editable install
        shutil.copy(file, copy / file.name)
    next(copy.glob("lib*/libaotiny_cuda.so.0")).unlink()
    code = (
        "import sys, json; sys.path.insert(0, sys.argv[1]); import aotiny\n"
        "print(json.dumps(aotiny.inspect(sys.argv[2])['models']['model']))"
    )
    model = json.loads(run_python(code, tmp_path, make_package()))
    assert any("built without it" in sentence for sentence in model["missing_libraries"])
    assert "aoti_torch_create_cuda_stream_guard" in model["missing_symbols"]
    assert "aoti_torch_empty_strided" not in model["missing_symbols"]


def test_loading_says_what_is_missing(make_package):
    path = make_package()
    with pytest.raises(aotiny.Error) as caught:
        aotiny.Model(path)
    assert caught.value.name == "NotSupported" and "compiled for device cuda" in str(caught.value)
    with pytest.raises(aotiny.Error) as caught:
        aotiny.Model(path, device="cuda")
    if cuda.is_available():
        assert caught.value.name == "OperatorMissing"
        assert "provide: aoti_torch_cuda_no_such_operator" in str(caught.value)
    else:
        assert str(caught.value) == cuda.why_not()


def test_the_capability_must_be_a_number(make_package):
    path = make_package(AOTI_COMPUTE_CAPABILITY="ninety")
    with pytest.raises(aotiny.Error) as caught:
        aotiny.Model(path, device="cuda")
    if cuda.is_available():
        assert caught.value.name == "InvalidProgram" and '"ninety"' in str(caught.value)
    else:
        assert str(caught.value) == cuda.why_not()
