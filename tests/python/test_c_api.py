"""The C API: a C program without Python, and the functions one by one through ctypes."""

import ctypes
import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import aotiny
from model_options import ModelOptions
from models import package_fixture  # noqa: F401

pytest.importorskip("torch")

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def lib():
    library = next(Path(aotiny.cmake_prefix()).glob("lib*/libaotiny.so.0"))
    api = ctypes.CDLL(str(library))
    for name in ("version", "last_error", "last_warning", "status_name"):
        getattr(api, f"aotiny_{name}").restype = ctypes.c_char_p
    return api


def load(lib, path, device=b"cpu", num_models=1, name=None):
    model = ctypes.c_void_p()
    code = lib.aotiny_model_load(
        os.fsencode(path), device, ctypes.c_int64(num_models), name, ctypes.byref(model)
    )
    return code, model


def tensor(lib, array):
    handle = ctypes.c_void_p()
    sizes = (ctypes.c_int64 * array.ndim)(*array.shape)
    strides = (ctypes.c_int64 * array.ndim)(*[s // array.itemsize for s in array.strides])
    code = lib.aoti_torch_create_tensor_from_blob(
        ctypes.c_void_p(array.ctypes.data), ctypes.c_int64(array.ndim), sizes, strides,
        ctypes.c_int64(0), lib.aoti_torch_dtype_float32(), 0, -1, ctypes.byref(handle),
    )  # fmt: skip
    assert code == 0
    return handle


def test_load_run_free(lib, package):
    code, model = load(lib, package("affine"), None)
    assert code == 0, lib.aotiny_last_error()
    count = ctypes.c_int64()
    assert lib.aotiny_model_num_inputs(model, ctypes.byref(count)) == 0 and count.value == 1
    assert lib.aotiny_model_num_outputs(model, ctypes.byref(count)) == 0 and count.value == 1
    text = ctypes.c_char_p(b"before")
    assert lib.aotiny_model_manifest(model, ctypes.byref(text)) == 0 and text.value is None

    x = np.ones((2, 16), np.float32)
    inputs, outputs = (ctypes.c_void_p * 1)(tensor(lib, x)), (ctypes.c_void_p * 1)(99)
    assert lib.aotiny_model_run(model, inputs, ctypes.c_int64(1), outputs, ctypes.c_int64(1)) == 0
    data = ctypes.c_void_p()
    assert lib.aoti_torch_get_data_ptr(ctypes.c_void_p(outputs[0]), ctypes.byref(data)) == 0
    y = np.ctypeslib.as_array(ctypes.cast(data, ctypes.POINTER(ctypes.c_float)), (2, 16))
    np.testing.assert_array_equal(y, x * 2 + np.arange(16))

    lib.aotiny_model_free(model)  # the output outlives it
    np.testing.assert_array_equal(y[1], 2 + np.arange(16))
    for handle in (inputs[0], outputs[0]):
        assert lib.aoti_torch_delete_tensor_object(ctypes.c_void_p(handle)) == 0


def test_load_with_options_and_instances(lib, package):
    path = os.fsencode(package("affine"))
    model, instance = ctypes.c_void_p(), ctypes.c_void_p()
    size = ctypes.sizeof(ModelOptions)

    def load_with(options):
        code = lib.aotiny_model_load_with(path, options, ctypes.byref(model))
        assert bool(model.value) == (code == 0)
        return lib.aotiny_status_name(code).decode(), lib.aotiny_last_error().decode()

    refused = [
        (ModelOptions(size - 1), "InvalidArgument", f"struct_size is {size - 1}, below {size}"),
        (ModelOptions(size, b"tpu"), "InvalidArgument", "tpu"),
        (ModelOptions(size, None, 5000), "InvalidArgument", "num_models is 5000"),
        (ModelOptions(size, None, 0, b"third"), "NotFound", "third"),
        (ModelOptions(size, None, 0, None, 1), "InvalidArgument", "cuda_graph is for"),
    ]
    for options, name, sentence in refused:
        found = load_with(ctypes.byref(options))
        assert found[0] == name and sentence in found[1]
    assert load_with(None)[0] == "InvalidArgument"

    class Longer(ModelOptions):
        _fields_ = (("later", ctypes.c_int64),)

    longer = Longer(ctypes.sizeof(Longer))
    longer.later = 1
    assert load_with(ctypes.byref(longer))[0] == "NotSupported"
    longer.later = 0
    for options in (ModelOptions(size), longer):
        assert load_with(ctypes.byref(options))[0] == "Ok"
        kind, index = ctypes.c_int32(5), ctypes.c_int32(5)
        assert lib.aotiny_model_device(model, ctypes.byref(kind), ctypes.byref(index)) == 0
        assert (kind.value, index.value) == (0, -1)
        assert lib.aotiny_model_instance(model, ctypes.byref(instance)) == 0
        lib.aotiny_model_free(model)  # in any order
        count = ctypes.c_int64()
        assert lib.aotiny_model_num_inputs(instance, ctypes.byref(count)) == 0 and count.value == 1
        lib.aotiny_model_free(instance)
    instance.value = 1
    assert lib.aotiny_model_instance(None, ctypes.byref(instance)) == 0x12
    assert not instance.value


def test_failures_leave_nulls(lib, package):
    code, model = load(lib, "/nowhere.pt2")
    assert lib.aotiny_status_name(code) == b"NotFound" and not model.value
    assert b"/nowhere.pt2" in lib.aotiny_last_error()
    assert lib.aotiny_status_name(load(lib, package("affine"), b"tpu")[0]) == b"InvalidArgument"
    assert lib.aotiny_status_name(load(lib, package("affine"), None, 0)[0]) == b"InvalidArgument"
    assert lib.aotiny_status_name(load(lib, package("affine"), None, 1, b"z")[0]) == b"NotFound"
    assert lib.aotiny_model_load(None, None, ctypes.c_int64(1), None, None) == 0x12
    assert lib.aotiny_model_load(os.fsencode(package("affine")), None, ctypes.c_int64(1), None,
                                 None) == 0x12  # fmt: skip

    _, model = load(lib, package("affine"))
    handle = tensor(lib, np.ones((2, 16), np.float32))
    inputs, outputs = (ctypes.c_void_p * 1)(handle), (ctypes.c_void_p * 2)(99, 99)
    one, two = ctypes.c_int64(1), ctypes.c_int64(2)
    assert lib.aotiny_model_run(model, inputs, one, outputs, two) == 0x12
    assert list(outputs) == [None, None]
    assert b"1 outputs, there is room for 2" in lib.aotiny_last_error()
    assert lib.aotiny_model_run(model, inputs, two.__class__(0), outputs, one) == 0x12
    assert lib.aotiny_model_run(model, None, one, outputs, one) == 0x12
    assert lib.aotiny_model_run(model, (ctypes.c_void_p * 1)(None), one, outputs, one) == 0x12
    assert lib.aotiny_model_run(None, inputs, one, outputs, one) == 0x12
    assert lib.aotiny_model_run(model, inputs, one, None, one) == 0x12
    assert lib.aotiny_model_num_inputs(None, ctypes.byref(one)) == 0x12
    assert lib.aotiny_model_num_inputs(model, None) == 0x12
    assert lib.aoti_torch_delete_tensor_object(handle) == 0
    lib.aotiny_model_free(model)
    lib.aotiny_model_free(None)


def test_inspect(lib, package):
    text = ctypes.c_void_p()
    assert lib.aotiny_inspect(os.fsencode(package("affine")), ctypes.byref(text)) == 0
    assert json.loads(ctypes.string_at(text)) == aotiny.inspect(package("affine"))
    lib.aotiny_string_free(text)
    assert lib.aotiny_inspect(b"/nowhere.pt2", ctypes.byref(text)) == 0x20 and not text.value
    assert lib.aotiny_inspect(None, ctypes.byref(text)) == 0x12


def test_version_names_and_statistics(lib):
    assert lib.aotiny_version().decode() == aotiny.__version__
    assert lib.aotiny_status_name(0) == b"Ok"
    assert lib.aotiny_status_name(999) == b"unknown status"
    stats = (ctypes.c_uint64 * 5)()
    assert lib.aotiny_allocator_stats(None, stats) == 0
    assert stats[1] >= stats[0]
    assert lib.aotiny_allocator_stats(b"cpu", None) == 0x12


def test_seeds(lib):
    seed = ctypes.c_uint64(2**64 - 3)
    assert lib.aotiny_manual_seed(None, seed) == 0x12
    assert lib.aotiny_manual_seed(b"cpu", seed) == 0x12
    assert b"on the CPU" in lib.aotiny_last_error()
    assert lib.aotiny_manual_seed(b"gpu", seed) == 0x12
    if aotiny.cuda.is_available():
        assert lib.aotiny_manual_seed(b"cuda:0", seed) == 0
        assert aotiny.cuda.initial_seed("cuda:0") == 2**64 - 3
    else:
        assert lib.aotiny_manual_seed(b"cuda", seed) == 0x20


def test_proxy_calls_fail(lib):
    args = (None, 3, 0, None, 0, None)
    assert lib.aoti_torch_proxy_executor_call_function(*args) == 0x14
    assert b"proxy node 3" in lib.aotiny_last_error()


CUSTOM_OP = """
#include <stdlib.h>
#include "aotiny/abi/aoti_torch.h"

AOTITorchError aoti_torch_cpu_triple(AtenTensorHandle x, AtenTensorHandle* ret0) {
  *ret0 = NULL;
  AOTITorchError code = aoti_torch_clone(x, ret0);
  if (code != 0) return code;
  void* data = NULL;
  int64_t numel = 0;
  if ((code = aoti_torch_get_data_ptr(*ret0, &data)) != 0) return code;
  if ((code = aoti_torch_get_numel(*ret0, &numel)) != 0) return code;
  for (int64_t i = 0; i < numel; ++i) ((float*)data)[i] *= 3;
  return 0;
}
"""


@pytest.mark.parametrize("soname", [[], ["-Wl,-soname,libtriple.so"]])
def test_load_library_provides_custom_operators(package, tmp_path, run_python, soname):
    prefix = Path(aotiny.cmake_prefix())
    (tmp_path / "triple.c").write_text(CUSTOM_OP)
    library = tmp_path / "t.so"
    # The path is the library's name where it has no soname; a model has room for short ones.
    library = Path("/tmp") / f"aotiny-{os.getpid()}.so" if not soname else library
    try:
        subprocess.run(
            ["cc", "-shared", "-fPIC", f"-I{prefix / 'include'}", str(tmp_path / "triple.c"),
             "-o", str(library), *soname, f"-L{next(prefix.glob('lib*'))}", "-l:libaotiny.so.0"],
            check=True,
        )  # fmt: skip
        code = """
import sys, aotiny, numpy
x = numpy.arange(48, dtype=numpy.float32).reshape(3, 16)
for _ in range(8):  # once is enough, and more does no harm
    aotiny.load_library(sys.argv[2])
assert aotiny.inspect(sys.argv[1])["models"]["model"]["missing_symbols"] == []
y, = aotiny.Model(sys.argv[1])(x)
numpy.testing.assert_array_equal(y.numpy(), x * 3 + 1)
try:
    aotiny.load_library("/nowhere.so")
except aotiny.Error as error:
    assert error.name == "AccessFailed" and "/nowhere.so" in str(error)
else:
    raise AssertionError("a missing library was opened")
"""
        run_python(code, package("custom"), library)
    finally:
        library.unlink(missing_ok=True)


@pytest.mark.skipif(shutil.which("cmake") is None, reason="needs cmake")
def test_c_program(package, tmp_path):
    build = tmp_path / "build"
    for command in (
        ["cmake", "-S", EXAMPLES / "run_model", "-B", build,
         f"-DCMAKE_PREFIX_PATH={aotiny.cmake_prefix()}"],
        ["cmake", "--build", build],
    ):  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    program = build / "run_model"
    done = subprocess.run([program, package("affine"), "2x16"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "output 0: float32 [2, 16]" in done.stdout
    first = done.stdout.split("first values:")[1].split()
    assert [float(v) for v in first[:3]] == [2.0, 3.0, 4.0]  # an input of ones
    needed = subprocess.run(["ldd", program], capture_output=True, text=True).stdout
    assert "libaotiny" in needed and "libpython" not in needed and "libtorch" not in needed

    done = subprocess.run([program, "/nowhere.pt2"], capture_output=True, text=True)
    assert done.returncode == 1 and "NotFound: /nowhere.pt2" in done.stderr
    done = subprocess.run([program, package("affine"), "2x16", "2x16"], capture_output=True,
                          text=True)  # fmt: skip
    assert done.returncode == 1 and "takes 1 inputs, got 2" in done.stderr
