"""Loading and running packages, and what is refused."""

import gc
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import aotiny
from models import (  # noqa: F401
    AFFINE_MANIFEST,
    LOOKUP_MANIFEST,
    affine,
    failure,
    package_fixture,
    with_manifest,
    x,
)

pytest.importorskip("torch")


def mapped_models():
    with open("/proc/self/maps", errors="surrogateescape") as maps:
        return [line for line in maps if "aotiny:" in line or ".pt2" in line]


@pytest.fixture
def affine_package(package, tmp_path):
    return with_manifest(package("affine"), tmp_path / "affine.pt2")


# --- running --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["affine", "embedded"])
def test_runs(package, name):
    model = aotiny.Model(package(name))
    (y,) = model(x())
    np.testing.assert_allclose(y.numpy(), affine(x(), 2), rtol=1e-6)
    assert (model.num_inputs, model.num_outputs) == (1, 1)
    assert model.manifest is None and model.inputs is None
    assert [c["fqn"] for c in model.constants] == ["scale", "shift"]
    assert model.metadata["AOTI_DEVICE_KEY"] == "cpu"
    assert model.missing_symbols == []


@pytest.mark.parametrize("rows", [1, 2, 64])
def test_weights_are_used_where_they_lie(affine_package, rows):
    model = aotiny.Model(affine_package)
    # The mapping of the package is the weights' only home.
    assert any(".pt2" in line and "rw-p" in line for line in mapped_models())
    (y,) = model(x(rows))
    np.testing.assert_allclose(y.numpy(), affine(x(rows), 2), rtol=1e-6)


def test_model_compiled_for_libtorch_runs_without_it(package, run_python):
    path = package("default_options")
    assert any("libtorch" in name for name in aotiny.inspect(path)["models"]["model"]["needed"])
    code = """
import sys, aotiny
y, = aotiny.Model(sys.argv[1])(aotiny.empty([3, 16]))
assert "torch" not in sys.modules
assert "libtorch" not in open("/proc/self/maps").read()
"""
    run_python(code, path)
    (y,) = aotiny.Model(path)(x())
    np.testing.assert_allclose(y.numpy(), affine(x(), -5), rtol=1e-6)


def test_strided_inputs(affine_package, package):
    wide = np.random.default_rng(1).standard_normal((16, 6)).astype(np.float32)
    for path in (affine_package, package("affine")):
        model = aotiny.Model(path)
        for view in (wide.T, wide.T[::2], wide.T[::-1]):
            (y,) = model(view)
            np.testing.assert_allclose(y.numpy(), affine(view, 2), rtol=1e-6)


def test_nan_passes_through(affine_package):
    value = x()
    value[1, 3] = np.nan
    (y,) = aotiny.Model(affine_package)(value)
    assert np.isnan(y.numpy()).sum() == 1


def test_outputs_that_are_inputs(package):
    model = aotiny.Model(package("aliases"))
    value = x()
    expected = value.copy()
    same, view, once, twice, none = model(value)
    assert none is None
    assert same.data_ptr == value.ctypes.data
    assert view.data_ptr == value.ctypes.data + 64
    del value, same, model  # the view alone keeps the input's memory
    gc.collect()
    np.testing.assert_array_equal(view.numpy(), expected[1:])
    np.testing.assert_array_equal(once.numpy(), expected + 1)
    np.testing.assert_array_equal(twice.numpy(), expected + 1)


def test_mutable_buffers_keep_their_values(package, tmp_path):
    one = np.ones(16, np.float32)
    constants = [
        {"name": n, "dtype": "float32", "shape": [16], "strides": [1]} for n in ("weight", "total")
    ]
    inputs = [{"name": "x", "dtype": "float32", "shape": [16]}]
    described = with_manifest(
        package("counter"), tmp_path / "c.pt2", inputs=inputs, outputs=inputs, constants=constants
    )
    before = described.read_bytes()
    for path in (package("counter"), described):
        first, second = aotiny.Model(path), aotiny.Model(path)
        for step in range(1, 6):
            assert first(one)[0].numpy()[7] == step
        assert second(one)[0].numpy()[7] == 1  # each has buffers of its own
    assert described.read_bytes() == before  # and the file is never written to


def test_instances_have_buffers_of_their_own(package, tmp_path):
    one = np.ones(16, np.float32)
    constants = [
        {"name": n, "dtype": "float32", "shape": [16], "strides": [1]} for n in ("weight", "total")
    ]
    inputs = [{"name": "x", "dtype": "float32", "shape": [16]}]
    described = with_manifest(
        package("counter"), tmp_path / "c.pt2", inputs=inputs, outputs=inputs, constants=constants
    )
    for path in (package("counter"), described):
        first = aotiny.Model(path, num_models=2)
        assert (first.device, first.cuda_graph) == ("cpu", False)
        assert [first(one)[0].numpy()[7] for _ in range(3)] == [1, 2, 3]
        second = first.instance()
        assert [second(one)[0].numpy()[7] for _ in range(3)] == [1, 2, 3]  # as if just loaded
        del first  # the one does not need the other
        assert second(one)[0].numpy()[7] == 4
        assert (second.path, second.num_inputs) == (str(path), 1)
    embedded = aotiny.Model(package("embedded")).instance()
    np.testing.assert_allclose(embedded(x())[0].numpy(), affine(x(), 2), rtol=1e-6)


def test_graphs_are_for_devices(affine_package):
    error = failure(lambda: aotiny.Model(affine_package, cuda_graph=True))
    assert error.name == "InvalidArgument" and "not for cpu" in str(error)


def test_models_with_the_same_symbols(package):
    two, minus_five = aotiny.Model(package("affine")), aotiny.Model(package("other_affine"))
    for _ in range(2):
        np.testing.assert_allclose(two(x())[0].numpy(), affine(x(), 2), rtol=1e-6)
        np.testing.assert_allclose(minus_five(x())[0].numpy(), affine(x(), -5), rtol=1e-6)


@pytest.mark.parametrize("described", [True, False])
def test_threads_share_a_model(package, affine_package, described):
    inputs = [np.full((n % 7 + 1, 16), n, np.float32) for n in range(64)]
    for num_models in (1, 3):
        path = affine_package if described else package("affine")
        model = aotiny.Model(path, num_models=num_models)
        with ThreadPoolExecutor(4) as pool:
            for value, (y,) in zip(inputs, pool.map(model, inputs), strict=True):
                np.testing.assert_allclose(y.numpy(), affine(value, 2), rtol=1e-6)


def test_a_model_for_each_thread(package):
    def work(name, scale):
        for _ in range(5):
            model = aotiny.Model(package(name))
            np.testing.assert_allclose(model(x())[0].numpy(), affine(x(), scale), rtol=1e-6)

    with ThreadPoolExecutor(4) as pool:
        jobs = [("affine", 2), ("other_affine", -5)] * 4
        for done in [pool.submit(work, *job) for job in jobs]:
            done.result()


# --- unloading ------------------------------------------------------------------------------


def test_nothing_stays_behind(package, affine_package):
    gc.collect()
    assert mapped_models() == []
    sources = [package("affine"), package("other_affine"), affine_package, package("lookup")]
    for path in sources * 3:
        model = aotiny.Model(path)
        if path == package("lookup"):
            failure(model, np.array([1, 2, 99]))  # leaves a message in the model's thread-locals
        else:
            scale = -5 if "other" in path.name else 2
            np.testing.assert_allclose(model(x())[0].numpy(), affine(x(), scale), rtol=1e-6)
        del model
        gc.collect()
        assert mapped_models() == []


def test_nothing_stays_behind_of_other_threads(package):
    model = [aotiny.Model(package("lookup"))]
    entered, leave = threading.Event(), threading.Event()

    def work():
        failure(model[0], np.array([1, 2, 99]))
        entered.set()
        leave.wait(60)

    thread = threading.Thread(target=work)
    thread.start()
    entered.wait(60)
    model.clear()
    gc.collect()
    assert mapped_models() == []  # although the thread still lives
    leave.set()
    thread.join()


def test_outputs_outlive_their_model(affine_package):
    model = aotiny.Model(affine_package)
    (y,) = model(x())
    del model
    gc.collect()
    np.testing.assert_allclose(y.numpy(), affine(x(), 2), rtol=1e-6)


def test_memory_comes_back(affine_package):
    model = aotiny.Model(affine_package)
    model(x())
    before = aotiny.allocator_stats()["allocated_bytes"]
    for _ in range(20):
        model(x())
        failure(model, x(65))
    assert aotiny.allocator_stats()["allocated_bytes"] == before


# --- refusals -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "name", "text"),
    [
        ((), "InvalidArgument", "takes 1 inputs, got 0"),
        ((x(), x()), "InvalidArgument", "takes 1 inputs, got 2"),
        ((x().astype(np.float64),), "InvalidType", "dtype float64, it takes float32"),
        ((x()[0],), "InvalidArgument", "shape [16], of 1 dimensions"),
        ((x()[:, :15],), "InvalidArgument", "size 15 in dimension 1"),
        ((x(65),), "InvalidArgument", "size 65 in dimension 0"),
        ((x(0),), "InvalidArgument", "size 0 in dimension 0"),
    ],
)
def test_inputs_that_do_not_fit(affine_package, args, name, text):
    error = failure(aotiny.Model(affine_package), *args)
    assert error.name == name
    assert text in str(error)


def test_count_is_checked_without_a_manifest(package):
    model = aotiny.Model(package("affine"))
    assert "takes 1 inputs, got 3" in str(failure(model, x(), x(), x()))


def test_indices_out_of_range(package, tmp_path, capfd):
    model = aotiny.Model(package("lookup"))
    error = failure(model, np.array([1, 2, 10]))  # the code's own check
    assert "index out of bounds" in str(error)
    path = with_manifest(package("lookup"), tmp_path / "l.pt2", **LOOKUP_MANIFEST)
    model = aotiny.Model(path)
    error = failure(model, np.array([1, 2, 10]))
    assert "values from 1 to 10; they must lie in -10..9" in str(error)
    np.testing.assert_array_equal(model(np.array([1, -1, 0]))[0].numpy()[:, 0], [4, 36, 0])
    assert capfd.readouterr().err == ""  # errors are returned, not printed


def test_operators_without_a_shim(package):
    error = failure(aotiny.Model, package("proxy"))
    assert error.name == "OperatorMissing" and "multinomial" in str(error)
    assert (
        "multinomial" in aotiny.inspect(package("proxy"))["models"]["model"]["proxy_operators"][0]
    )


def test_missing_symbols_are_named(package):
    path = package("custom")
    assert aotiny.inspect(path)["models"]["model"]["missing_symbols"] == ["aoti_torch_cpu_triple"]
    error = failure(aotiny.Model, path)
    assert error.name == "OperatorMissing" and "aoti_torch_cpu_triple" in str(error)


@pytest.mark.parametrize("kwargs", [{"num_models": 0}, {"num_models": 5000}, {"device": "tpu"}])
def test_bad_options(package, kwargs):
    with pytest.raises(aotiny.Error):
        aotiny.Model(package("affine"), **kwargs)


def test_cuda_says_what_is_missing(package):
    assert "cuda" in str(failure(lambda: aotiny.Model(package("affine"), device="cuda:0"))).lower()


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"version": 9}, "version 9"),
        ({"inputs": []}, "describes 0 inputs"),
        ({"constants": AFFINE_MANIFEST["constants"][:1]}, "does not describe the constant shift"),
        (
            {"constants": [{**c, "shape": [17]} for c in AFFINE_MANIFEST["constants"]]},
            "takes 68 bytes, its weights have 64",
        ),
        (
            {"constants": [{**c, "dtype": "float16"} for c in AFFINE_MANIFEST["constants"]]},
            "dtype float16 in the manifest",
        ),
        ({"cpu": {"features": ["avx2", "warp_drive"]}}, "lacks: warp_drive"),
    ],
)
def test_manifests_that_contradict_the_model(package, tmp_path, changes, text):
    path = with_manifest(package("affine"), tmp_path / "m.pt2", **changes)
    assert text in str(failure(aotiny.Model, path))
