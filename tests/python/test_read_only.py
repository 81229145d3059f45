"""Models are given read-only memory: nothing is written to it."""

import numpy as np
import pytest

import aotiny
from models import package_fixture, with_manifest, x  # noqa: F401

pytest.importorskip("torch")


def readonly(array):
    array.flags.writeable = False
    return array


def test_a_model_that_writes_to_its_input(package):
    # Which only a package without a manifest can.
    model = aotiny.Model(package("writes_input"))
    kept, written = readonly(x()), x()
    (y,) = model(kept)
    np.testing.assert_array_equal(y.numpy(), (x() + 1) * 2)
    np.testing.assert_array_equal(kept, x())
    model(written)
    np.testing.assert_array_equal(written, x() + 1)


@pytest.mark.parametrize("described", [True, False])
def test_outputs_that_are_inputs(package, tmp_path, described):
    path = package("aliases")
    if described:
        spec = {"name": "x", "dtype": "float32", "shape": [3, 16]}
        path = with_manifest(
            path, tmp_path / "a.pt2", inputs=[spec], outputs=[spec] * 5, constants=[]
        )
    model = aotiny.Model(path)
    for value, is_shared in ((readonly(x()), described), (x(), False)):
        same, view, once, *_ = model(value)
        assert [t.readonly for t in (same, view, once)] == [is_shared, is_shared, False]
        np.testing.assert_array_equal(same.numpy(), x())
        np.testing.assert_array_equal(view.numpy(), x()[1:])
