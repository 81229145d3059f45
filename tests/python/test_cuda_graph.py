"""Models that replay recorded runs, and runs that the caller captures."""

import ctypes
import gc
import threading

import numpy as np
import pytest

import aotiny
from aotiny import cuda
from cuda_packages import (  # noqa: F401
    allocated,
    describe,
    described_fixture,
    gpu,
    host,
    load,
    make_stream_fixture,
    needs_gpu,
    ones,
    package_fixture,
    runtime_fixture,
)
from models import affine, failure, x

pytestmark = needs_gpu


# --- graphs ---------------------------------------------------------------------------------


def test_graphs_of_many_shapes(described):
    model = load(described("affine"), cuda_graph=True)
    for _ in range(3):  # 40 shapes, of which 32 are kept
        for rows in range(1, 41):
            (y,) = model(gpu(x(rows)))
            np.testing.assert_allclose(host(y), affine(x(rows), 2), rtol=1e-6)


def test_graphs_return_copies(package):
    model = load(package("aliases"), cuda_graph=True)
    for i in range(4):
        value = gpu(x() * i)
        same, view, once, twice, none = model(value)
        assert none is None and same.data_ptr != value.data_ptr
        assert once.data_ptr != twice.data_ptr
        model(gpu(x() * 100))
        np.testing.assert_array_equal(host(same), x() * i)
        np.testing.assert_array_equal(host(view), x()[1:] * i)
        np.testing.assert_array_equal(host(once), x() * i + 1)
        np.testing.assert_array_equal(host(twice), x() * i + 1)


def test_graphs_of_models_that_look_at_values(package):
    plain = load(package("looks"))
    two = gpu(np.array([2, 1, 0], np.float32))
    np.testing.assert_array_equal(host(plain(two)[0]), np.full(3, 2, np.float32))
    model = load(package("looks"), cuda_graph=True)
    for _ in range(2):
        error = failure(model, two)
        assert error.name == "NotSupported"
        assert "load it without cuda_graph" in str(error) and "item" in str(error)
        assert "captured" in str(error)
    np.testing.assert_array_equal(host(plain(two)[0]), np.full(3, 2, np.float32))


def test_graphs_of_one_instance_in_several_threads(described):
    model, failures = load(described("affine"), cuda_graph=True), []

    def work(t):
        try:
            for i in range(25):
                rows = 1 + (t + i) % 5
                (y,) = model(gpu(x(rows) * t))
                np.testing.assert_allclose(host(y), affine(x(rows) * t, 2), rtol=1e-6)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(t,)) for t in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures


def test_graphs_of_models_that_change_a_buffer_on_the_cpu(package, tmp_path):
    path = describe(package("counter"), tmp_path / "counter.pt2", "counter", total="cpu")
    error = failure(lambda: load(path, cuda_graph=True))
    assert error.name == "NotSupported"
    assert "runs change total, which is on the CPU" in str(error)
    assert "load it without cuda_graph" in str(error)


def test_options_that_do_not_go_with_graphs(described):
    assert "cuda_graph is for" in str(
        failure(lambda: aotiny.Model(described("affine"), cuda_graph=True))
    )
    error = failure(lambda: load(described("affine"), cuda_graph=True, num_models=2))
    assert "num_models is 2" in str(error) and error.name == "InvalidArgument"


def test_a_caller_captures_a_run(described, package, tmp_path, runtime, make_stream):
    stream = make_stream()
    model, value = load(described("counter")), ones()
    target = gpu(np.zeros(16, np.float32))
    cuda.synchronize()
    graph, executable = ctypes.c_void_p(), ctypes.c_void_p()

    def capture(work):
        with cuda.stream(stream):
            assert runtime.cudaStreamBeginCapture(ctypes.c_void_p(stream), 0) == 0
            try:
                work()
            finally:
                code = runtime.cudaStreamEndCapture(ctypes.c_void_p(stream), ctypes.byref(graph))
        return code

    error = None

    def refused():
        nonlocal error
        error = failure(model, value)

    assert capture(refused) == 0 and "has to run once" in str(error)
    assert host(model(value)[0])[0] == 1

    assert capture(lambda: target.copy_(model(value)[0])) == 0
    assert runtime.cudaGraphInstantiate(ctypes.byref(executable), graph, ctypes.c_ulonglong(0)) == 0
    for step in (2, 3, 4):
        assert runtime.cudaGraphLaunch(executable, ctypes.c_void_p(stream)) == 0
        cuda.synchronize()
        assert host(target)[5] == step
    assert host(model(value)[0])[0] == 5
    assert runtime.cudaGraphExecDestroy(executable) == 0

    for options, sentence in (
        ({"num_models": 2}, "num_models above 1"),
        ({"cuda_graph": True}, "cannot be captured into another one"),
    ):
        model = load(described("counter"), **options)
        model(value)
        cuda.synchronize()
        assert capture(refused) == 0 and sentence in str(error)
    model = load(describe(package("counter"), tmp_path / "counter.pt2", "counter", x="cpu"))
    assert capture(refused) == 0 and error.name == "NotSupported"
    assert "cannot be captured into a graph: input x is on the CPU" in str(error)
    assert capture(lambda: failure(load, described("counter"))) == 0


@pytest.mark.parametrize("options", [{}, {"cuda_graph": True}, {"num_models": 2}])
def test_models_come_and_go_while_others_capture(described, package, runtime, make_stream, options):
    # In the global mode, which is torch's, a capture forbids every thread to free memory.
    stream, graph, before = make_stream(), ctypes.c_void_p(), allocated()
    old = [load(path, **options) for path in (described("counter"), package("embedded"))]
    for model in old:
        model(ones() if model.manifest else gpu(x()))
    cuda.synchronize()
    assert runtime.cudaStreamBeginCapture(ctypes.c_void_p(stream), 0) == 0
    del old, model
    gc.collect()
    failures = []

    def work():
        try:
            for path in (described("affine"), package("affine"), package("embedded")):
                model = load(path, **options)
                (y,) = model(gpu(x()))
                np.testing.assert_allclose(host(y), affine(x(), 2), rtol=1e-6)
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    code = runtime.cudaStreamEndCapture(ctypes.c_void_p(stream), ctypes.byref(graph))
    assert not failures, failures
    assert code == 0
    assert runtime.cudaGraphDestroy(graph) == 0
    assert allocated() == before
    with open("/proc/self/maps") as maps:
        assert "aotiny:" not in maps.read()  # no model is left behind
