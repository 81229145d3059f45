"""Models on CUDA devices: what they compute, their state and memory, and what is refused."""

import ctypes
import gc
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import aotiny
from aotiny import cuda
from cuda_packages import (  # noqa: F401
    allocated,
    described_fixture,
    either_fixture,
    gpu,
    host,
    load,
    make_stream_fixture,
    needs_gpu,
    ones,
    package_fixture,
    runtime_fixture,
    stall_fixture,
)
from model_options import ModelOptions
from models import affine, failure, rewrite, x

pytestmark = needs_gpu


# --- running --------------------------------------------------------------------------------


@pytest.mark.parametrize("cuda_graph", [False, True])
@pytest.mark.parametrize("rows", [1, 3, 64])
def test_runs(either, rows, cuda_graph):
    model = load(either("affine"), cuda_graph=cuda_graph)
    assert (model.device, model.cuda_graph) == ("cuda:0", cuda_graph)
    for scale in (1, -2, 3):
        (y,) = model(gpu(x(rows) * scale))
        assert y.device == "cuda:0" and y.shape == (rows, 16)
        np.testing.assert_allclose(host(y), affine(x(rows) * scale, 2), rtol=1e-6)


def test_weights_in_the_code(package):
    model = load(package("embedded"))
    np.testing.assert_allclose(host(model(gpu(x()))[0]), affine(x(), 2), rtol=1e-6)


def test_models_with_the_same_symbols(either):
    two, minus_five = load(either("affine")), load(either("other_affine"))
    for _ in range(2):
        np.testing.assert_allclose(host(two(gpu(x()))[0]), affine(x(), 2), rtol=1e-6)
        np.testing.assert_allclose(host(minus_five(gpu(x()))[0]), affine(x(), -5), rtol=1e-6)


def test_strided_and_misaligned_inputs(either):
    model = load(either("affine"))
    wide = np.random.default_rng(1).standard_normal((16, 6)).astype(np.float32)
    flat = gpu(np.random.default_rng(2).standard_normal(16 * 4 + 1).astype(np.float32))
    for view in (gpu(wide).transpose(0, 1), gpu(wide.T)[1:5:2], flat[1:].reshape([4, 16])):
        (y,) = model(view)
        np.testing.assert_allclose(host(y), affine(host(view), 2), rtol=1e-6)


def test_outputs_that_are_inputs(package):
    model = load(package("aliases"))
    value = gpu(x())
    same, view, once, twice, none = model(value)
    assert none is None
    assert same.data_ptr == value.data_ptr and view.data_ptr == value.data_ptr + 64
    del value, same, model  # the view alone keeps the input's memory
    gc.collect()
    np.testing.assert_array_equal(host(view), x()[1:])
    np.testing.assert_array_equal(host(once), x() + 1)
    np.testing.assert_array_equal(host(twice), x() + 1)


def test_weights_of_odd_lengths_are_aligned(described, package):
    value = np.linspace(-1, 1, 4096, dtype=np.float32)
    weight = (np.arange(4096 * 4096, dtype=np.float64).reshape(4096, 4096)) % 7
    expected = weight @ value + 45 * 77
    for path in (described("large"), package("large")):
        (y,) = load(path)(gpu(value))
        np.testing.assert_allclose(host(y), expected, rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize("options", [{}, {"cuda_graph": True}, {"num_models": 2}])
def test_runs_in_the_current_stream(package, make_stream, stall, options):
    model, value = load(package("affine"), **options), gpu(x())
    streams, replacements = [make_stream() for _ in range(2)], [gpu(x() * i) for i in range(6)]
    model(value)
    cuda.synchronize()
    results = []
    for i, replacement in enumerate(replacements):
        with cuda.stream(streams[i % 2]):
            stall(streams[i % 2], 0.02)
            value.copy_(replacement)  # which a run in any other stream would be ahead of
            results += model(value)
        cuda.synchronize()
    for i, y in enumerate(results):
        np.testing.assert_allclose(host(y), affine(x() * i, 2), rtol=1e-6)
    del results, y


# --- state ----------------------------------------------------------------------------------


@pytest.mark.parametrize("cuda_graph", [False, True])
def test_state_advances_once_a_call(either, cuda_graph):
    first, second = (load(either("counter"), cuda_graph=cuda_graph) for _ in range(2))
    results = [first(ones())[0] for _ in range(6)]
    assert [host(y)[7] for y in results] == [1, 2, 3, 4, 5, 6]  # and earlier results stay
    third = first.instance()
    assert host(second(ones())[0])[7] == 1
    assert [host(third(ones())[0])[7] for _ in range(3)] == [1, 2, 3]
    assert host(first(ones())[0])[7] == 7


@pytest.mark.parametrize("cuda_graph", [False, True])
def test_state_is_ordered_across_streams(described, make_stream, stall, cuda_graph):
    model = load(described("counter"), cuda_graph=cuda_graph)
    value, streams = ones(), [make_stream() for _ in range(3)]
    assert host(model(value)[0])[3] == 1
    cuda.synchronize()
    results = []
    for i in range(12):
        with cuda.stream(streams[i % 3]):
            if i % 2 == 0:
                stall(streams[i % 3], 0.02)  # the next run, in another stream, could be ahead
            results += model(value)
    cuda.synchronize()
    assert [host(y)[3] for y in results] == list(range(2, 14))
    del results


def test_state_is_ordered_where_a_stream_takes_the_place_of_another(
    described, runtime, make_stream, stall
):
    model, value, kept = load(described("counter")), ones(), make_stream()
    model(value)
    cuda.synchronize()
    calls, reused = 1, 0
    for _ in range(20):
        first = make_stream()
        with cuda.stream(first):
            stall(first, 0.02)
            model(value)  # whose result goes at once, and its memory with it
        make_stream.destroy(first)  # returns before the run is done
        second = make_stream()  # CUDA may give it the handle of the first
        reused += first == second
        with cuda.stream(second):
            (y,) = model(value)
        calls += 2
        with cuda.stream(kept):
            assert host(model(value)[0])[3] == calls + 1
        calls += 1
        assert host(y)[3] == calls - 1
        del y
    if not reused:
        pytest.skip("CUDA gave no handle twice")


def run_cache(model, steps, seed):
    rng = np.random.default_rng(seed)
    rows, found = np.zeros((32, 8), np.float32), []
    for _ in range(steps):
        value, position = rng.standard_normal((1, 8)).astype(np.float32), rng.integers(0, 32, 1)
        total, row = model(gpu(value), gpu(position))
        rows[position] = value * 3
        found.append((host(total), rows.sum(0), host(row), rows[position] + 1))
    for total, expected_total, row, expected_row in found:
        np.testing.assert_allclose(total, expected_total, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(row, expected_row, rtol=1e-6)


@pytest.mark.parametrize("cuda_graph", [False, True])
def test_instances_run_in_threads_with_their_own_state(either, make_stream, cuda_graph):
    model = load(either("cache"), cuda_graph=cuda_graph)
    instances = [model, *[model.instance() for _ in range(3)]]
    failures, streams = [], [make_stream() for _ in instances]

    def work(i):
        try:
            with cuda.stream(streams[i]):
                run_cache(instances[i], 40, i)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(instances))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures


@pytest.mark.parametrize("num_models", [1, 3])
def test_threads_share_a_model(either, num_models):
    model = load(either("affine"), num_models=num_models)
    failures = []

    def work(t):
        try:
            for i in range(25):
                (y,) = model(gpu(x(1 + (t + i) % 7) * t))
                np.testing.assert_allclose(host(y), affine(x(1 + (t + i) % 7) * t, 2), rtol=1e-6)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(t,)) for t in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures


# --- memory ---------------------------------------------------------------------------------

LARGE = 4 * 4096 * 4096


def test_unloading_gives_memory_back(described):
    before = allocated()
    cuda.empty_cache()
    reserved = cuda.memory_stats()["reserved_bytes"]
    model = load(described("large"))
    assert LARGE <= allocated() - before <= LARGE + 4096
    model(gpu(np.ones(4096, np.float32)))
    assert cuda.memory_stats()["reserved_bytes"] >= LARGE
    del model
    assert allocated() == before
    cuda.empty_cache()
    assert cuda.memory_stats()["reserved_bytes"] <= reserved


def test_a_model_that_goes_waits_for_its_runs(described, make_stream, stall):
    for options in ({}, {"cuda_graph": True}, {"num_models": 3}):
        model, value = load(described("large"), **options), gpu(np.ones(4096, np.float32))
        expected, streams = host(model(value)[0]), [make_stream() for _ in range(3)]
        cuda.synchronize()
        results = []
        for stream in streams:
            with cuda.stream(stream):
                stall(stream, 0.05)
                results += model(value)
        start = time.perf_counter()
        del model  # its weights, too, which the runs have not read yet
        gc.collect()
        assert time.perf_counter() - start > 0.02
        for y in results:
            np.testing.assert_array_equal(host(y), expected)
        del results, y, value


def test_models_with_the_same_weights_share_them(described, package, tmp_path):
    before = allocated()
    value, model = gpu(np.ones(4096, np.float32)), load(described("large"))
    expected = host(model(value)[0])
    once = allocated()
    copy = shutil.copy(described("large"), tmp_path / "copy.pt2")
    others = [load(described("large")), load(copy), model.instance()]
    assert allocated() == once
    del model
    for other in others:
        np.testing.assert_array_equal(host(other(value)[0]), expected)
    assert allocated() == once

    # The same checksum in the directory, but not the same bytes.
    content = bytearray(Path(copy).read_bytes())
    needle = (np.arange(100, 200, dtype=np.float32) % 7).tobytes()
    content[content.index(needle)] ^= 0x40
    content[content.index(np.arange(1, 10, dtype=np.float32).tobytes()) + 2] ^= 0x40
    forged = tmp_path / "forged.pt2"
    forged.write_bytes(content)
    changed = load(forged)
    assert allocated() >= once + LARGE
    assert not np.array_equal(host(changed(value)[0]), expected)
    np.testing.assert_array_equal(host(others[0](value)[0]), expected)
    del changed, others, other, value
    assert allocated() == before


def test_state_is_not_shared(described):
    before = allocated()
    models = [load(described("counter")) for _ in range(3)]
    # One copy of the weight, three of the total; each of 64 bytes, laid out in 256.
    assert allocated() - before == 4 * 256
    del models
    assert allocated() == before


@pytest.mark.parametrize("cuda_graph", [False, True])
def test_loading_again_and_again_takes_no_memory(described, cuda_graph):
    def once():
        model = load(described("cache"), cuda_graph=cuda_graph)
        for position in (3, 4, 5):
            model(gpu(np.ones((1, 8), np.float32)), gpu(np.array([position])))

    def resident() -> int:
        with open("/proc/self/statm") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGESIZE")

    for _ in range(5):
        once()
    before, lost = allocated(), []
    for _ in range(4):
        cuda.empty_cache()
        free, host_bytes = cuda.get_device_properties()["free_bytes"], resident()
        for _ in range(50):
            once()
        assert allocated() == before
        cuda.empty_cache()
        lost.append(free - cuda.get_device_properties()["free_bytes"])
        grown = resident() - host_bytes
        assert grown <= 24 << 20, grown
    # Of the whole device, where other processes take memory now and then: we would every time.
    assert min(lost) <= 4 << 20, lost
    with open("/proc/self/maps") as maps:
        assert "aotiny:" not in maps.read()  # their code is gone too


# --- what is refused ------------------------------------------------------------------------


def test_other_compute_capabilities(package, tmp_path):
    major, minor = cuda.get_device_properties()["compute_capability"]
    for other in ("70", "120", f"{major}{minor + 1}"):

        def change(name, data, other=other):
            if not name.endswith("wrapper_metadata.json"):
                return data
            return json.dumps({**json.loads(data), "AOTI_COMPUTE_CAPABILITY": other}).encode()

        path = rewrite(package("affine"), tmp_path / f"{other}.pt2", change)
        error = failure(load, path)
        assert error.name == "NotSupported"
        assert f"{other[:-1]}.{other[-1]}" in str(error) and f"{major}.{minor}" in str(error)


def test_devices_that_do_not_fit(package, described):
    error = failure(lambda: aotiny.Model(package("affine")))
    assert error.name == "NotSupported" and "compiled for device cuda" in str(error)
    error = failure(lambda: load(package("affine"), device="cuda:99"))
    assert error.name == "InvalidArgument" and "cuda:99" in str(error)
    for path in (package("affine"), described("affine")):
        error = failure(load(path), x())
        assert error.name == "InvalidArgument"
        assert 'is on cpu, it takes tensors on cuda:0 (.to("cuda:0") copies' in str(error)


def test_inputs_that_do_not_fit(described):
    model = load(described("affine"))
    assert "float64" in str(failure(model, gpu(x().astype(np.float64))))
    assert "size 65" in str(failure(model, gpu(x(65))))
    assert "1 inputs, got 2" in str(failure(model, gpu(x()), gpu(x())))
    np.testing.assert_allclose(host(model(gpu(x()))[0]), affine(x(), 2), rtol=1e-6)


@pytest.mark.parametrize("cuda_graph", [False, True])
def test_indices_out_of_range(described, cuda_graph):
    model, table = load(described("lookup"), cuda_graph=cuda_graph), np.arange(40.0).reshape(10, 4)
    for bad in (10, -11, 2**40):
        error = failure(model, gpu(np.array([1, bad, 2])))
        assert f"to {max(bad, 2)}; they must lie in -10..9" in str(error)
        np.testing.assert_array_equal(host(model(gpu(np.array([9, -10, 0])))[0]), table[[9, 0, 0]])


def test_a_ruined_device_is_said_once(package, run_python):
    code = """
import sys, numpy as np, aotiny
model = aotiny.Model(sys.argv[1], device="cuda")
for _ in range(3):
    try:
        y, = model(aotiny.Tensor(np.array([1, 100000, 2])).to("cuda"))
        y.to("cpu")
    except aotiny.Error as error:
        print(error)
"""
    lines = run_python(code, package("lookup")).splitlines()
    told = [line for line in lines if "can no longer use CUDA" in line]
    first = next(line for line in lines if "cudaError" in line)
    assert "can no longer use CUDA" not in first and len(told) >= 2, lines


# --- several devices ------------------------------------------------------------------------


@pytest.mark.skipif(cuda.device_count() < 2, reason="there is one device")
@pytest.mark.parametrize("cuda_graph", [False, True])
def test_the_second_device(either, cuda_graph):
    before = [allocated(f"cuda:{i}") for i in range(2)]
    models = [load(either("cache"), device=f"cuda:{i}", cuda_graph=cuda_graph) for i in (1, 0)]
    assert [model.device for model in models] == ["cuda:1", "cuda:0"]
    for step in range(3):
        for i, model in zip((1, 0), models, strict=True):
            value = gpu(np.full((1, 8), step + i, np.float32), f"cuda:{i}")
            total, row = model(value, gpu(np.array([step]), f"cuda:{i}"))
            assert total.device == f"cuda:{i}"
            assert host(row)[0, 0] == 3 * (step + i) + 1
            assert host(total)[0] == 3 * sum(s + i for s in range(step + 1))
    error = failure(models[0], gpu(np.ones((1, 8), np.float32), "cuda:0"), gpu(np.array([1])))
    assert "is on cuda:0, it takes tensors on cuda:1" in str(error)
    del models, model, value, total, row, error  # whose frames hold tensors
    assert [allocated(f"cuda:{i}") for i in range(2)] == before


@pytest.mark.skipif(cuda.device_count() < 2, reason="there is one device")
def test_the_first_device_stays_unused(described, package, run_python):
    code = """
import ctypes, sys, threading
import numpy as np, aotiny
from aotiny import cuda

driver = ctypes.CDLL("libcuda.so.1")
def check(what):
    flags, active, current = ctypes.c_uint(), ctypes.c_int(), ctypes.c_int(-1)
    assert driver.cuDevicePrimaryCtxGetState(0, ctypes.byref(flags), ctypes.byref(active)) == 0
    with open("/proc/self/maps") as maps:
        path = next(line.split()[-1] for line in maps if "libcudart.so" in line)
    assert ctypes.CDLL(path).cudaGetDevice(ctypes.byref(current)) == 0
    assert (active.value, current.value) == (0, 0), f"after {what}: {active}, {current}"

def work():
    x = aotiny.Tensor(np.ones((3, 16), np.float32)).to("cuda:1")
    check("a copy to the device")
    pinned = cuda.empty_pinned([3, 16], "float32")
    pinned.copy_(x, non_blocking=True)
    cuda.manual_seed(3, "cuda:1")
    weight = aotiny.quantize(np.ones((16, 64), np.float32), "int4").to("cuda:1")
    aotiny.matmul(aotiny.Tensor(np.ones((3, 64), np.float32)).to("cuda:1"), weight)
    check("a product")
    for path in sys.argv[1:]:
        for options in ({}, {"cuda_graph": True}, {"num_models": 2}):
            model = aotiny.Model(path, device="cuda:1", **options)
            check(f"loading a model, {options}")
            for _ in range(3):
                y, = model(x)
            assert y.to("cpu").numpy()[1, 2] == 4
            check(f"running a model, {options}")
            del model, y
            check(f"unloading a model, {options}")
    del x, weight, pinned
    cuda.synchronize("cuda:1"), cuda.empty_cache("cuda:1"), cuda.memory_stats("cuda:1")
    check("everything")

work()
thread = threading.Thread(target=work)
thread.start()
thread.join()
check("a thread")
print("unused")
"""
    assert "unused" in run_python(code, described("affine"), package("affine"))


# --- around it ------------------------------------------------------------------------------


def test_inspect_and_the_command_line(described, tmp_path):
    model = aotiny.inspect(described("affine"))["models"]["model"]
    assert model["missing_symbols"] == [] and model["missing_libraries"] == []
    np.save(tmp_path / "x.npy", x())
    command = [
        sys.executable, "-m", "aotiny", "run", described("affine"), "--input", tmp_path / "x.npy",
        "--device", "cuda", "--output-dir", tmp_path,
    ]  # fmt: skip
    subprocess.run(list(map(str, command)), check=True, capture_output=True)
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), affine(x(), 2), rtol=1e-6)


def test_the_c_api(described):
    lib = ctypes.CDLL(str(next(Path(aotiny.cmake_prefix()).glob("lib*/libaotiny.so.0"))))
    options = ModelOptions(ctypes.sizeof(ModelOptions), b"cuda:0", 0, None, 1)
    model, instance = ctypes.c_void_p(), ctypes.c_void_p()
    path = os.fsencode(described("counter"))
    assert lib.aotiny_model_load_with(path, ctypes.byref(options), ctypes.byref(model)) == 0
    kind, index = ctypes.c_int32(), ctypes.c_int32()
    assert lib.aotiny_model_device(model, ctypes.byref(kind), ctypes.byref(index)) == 0
    assert (kind.value, index.value) == (1, 0)
    assert lib.aotiny_model_instance(model, ctypes.byref(instance)) == 0

    sizes, strides = (ctypes.c_int64 * 1)(16), (ctypes.c_int64 * 1)(1)
    handle = ctypes.c_void_p()
    value = ones()
    assert lib.aoti_torch_create_tensor_from_blob(
        ctypes.c_void_p(value.data_ptr), ctypes.c_int64(1), sizes, strides, ctypes.c_int64(0),
        lib.aoti_torch_dtype_float32(), 1, 0, ctypes.byref(handle),
    ) == 0  # fmt: skip
    for target in (model, instance):
        for step in (1, 2, 3):
            inputs, outputs = (ctypes.c_void_p * 1)(handle), (ctypes.c_void_p * 1)()
            one = ctypes.c_int64(1)
            assert lib.aotiny_model_run(target, inputs, one, outputs, one) == 0
            found = ctypes.c_float()
            element = ctypes.c_void_p()
            output = ctypes.c_void_p(outputs[0])
            none = (ctypes.c_int64 * 0)()
            assert (
                lib.aoti_torch__reinterpret_tensor(
                    output, ctypes.c_int64(0), none, none, ctypes.c_int64(7), ctypes.byref(element)
                )
                == 0
            )
            assert lib.aoti_torch_item_float32(element, ctypes.byref(found)) == 0
            assert found.value == step
            for made in (output, element):
                assert lib.aoti_torch_delete_tensor_object(made) == 0
    lib.aotiny_model_free(model)
    lib.aotiny_model_free(instance)
    assert lib.aoti_torch_delete_tensor_object(handle) == 0
