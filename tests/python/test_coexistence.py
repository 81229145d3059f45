"""torch and aotiny in one process, and aotiny in one without torch."""

import pytest

from models import package_fixture  # noqa: F401

pytest.importorskip("torch")

# argv: a package for aotiny, one for torch, the order of imports. Each runs its own model, also
# after the other has.
_BOTH = """
import ctypes, sys
order = sys.argv[3]
if order == "aotiny":
    import aotiny
    model = aotiny.Model(sys.argv[1])
import torch
if order == "global":
    from pathlib import Path
    lib = Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"
    ctypes.CDLL(str(lib), ctypes.RTLD_GLOBAL)
import aotiny
x = torch.randn(3, 16, generator=torch.Generator().manual_seed(0))
theirs = torch._inductor.aoti_load_package(sys.argv[2])
ours = aotiny.Model(sys.argv[1])
models = [ours] + ([model] if order == "aotiny" else [])
for _ in range(3):
    for m in models:
        y = torch.from_dlpack(m(x)[0])
        torch.testing.assert_close(y, x * 2 + torch.arange(16.0))
    torch.testing.assert_close(theirs(x), x * -5 + torch.arange(16.0))
before = aotiny.allocator_stats()["num_allocations"]
ours(x)
assert aotiny.allocator_stats()["num_allocations"] > before, "the model did not use aotiny"
del ours, models
theirs2 = torch._inductor.aoti_load_package(sys.argv[2])
torch.testing.assert_close(theirs2(x), x * -5 + torch.arange(16.0))
torch.testing.assert_close(torch.mm(x, x.T), (x.double() @ x.T.double()).float())
print("both")
"""


@pytest.mark.parametrize("order", ["aotiny", "torch", "global"])
def test_torch_and_aotiny_in_one_process(package, run_python, order):
    done = run_python(_BOTH, package("affine"), package("default_options"), order)
    assert done.strip() == "both"


def test_no_torch_in_the_process(package, run_python):
    code = """
import sys, aotiny, numpy
y, = aotiny.Model(sys.argv[1])(numpy.ones((2, 16), numpy.float32))
assert y.numpy()[0, 1] == 3.0
assert not [name for name in sys.modules if name.split(".")[0] == "torch"]
maps = open("/proc/self/maps").read()
assert "libtorch" not in maps and "libc10" not in maps
"""
    run_python(code, package("affine"))


def test_the_same_package_in_both(package, run_python):
    code = """
import sys, aotiny, torch
x = torch.ones(3, 16)
ours = aotiny.Model(sys.argv[1])
theirs = torch._inductor.aoti_load_package(sys.argv[1])
torch.testing.assert_close(torch.from_dlpack(ours(x)[0]), theirs(x))
torch.testing.assert_close(theirs(x), x * -5 + torch.arange(16.0))
"""
    run_python(code, package("default_options"))
