"""Packages for CUDA with operators that stay calls, on any GPU, captured by the caller.

Torch's compiler makes kernels of most operators; what it leaves to functions of the runtime, and
packages for another device than the first, are compared with eager torch here.
"""

from itertools import permutations

import numpy as np
import pytest

import aotiny
from cuda_models import CASES, cuda_package_fixture, needs_torch_cuda

torch = pytest.importorskip("torch")

from aotiny.torch import quantize_  # noqa: E402

pytestmark = needs_torch_cuda
__all__ = ["cuda_package_fixture"]

ROWS = (1, 3, 64)


def eager(name: str, device: str = "cuda"):
    case = CASES[name]
    module = case.build()
    if "quantize" in case.options:
        quantize_(module, case.options["quantize"], embeddings=False)
    module.to(device)

    def run(*inputs):
        with torch.no_grad():
            return module(*inputs)

    return run


def load(path, device: str = "cuda", **options):
    """f(*inputs) with torch's tensors."""
    model = aotiny.Model(path, device=device, **options)
    return lambda *inputs: [torch.from_dlpack(output) for output in model(*inputs)]


def random(*shape, device="cuda"):
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randn(*shape, generator=generator).to(device)


def calls(path) -> set[str]:
    """The operators that a package leaves to the runtime."""
    (model,) = aotiny.inspect(path)["models"].values()
    assert model["missing_symbols"] == []
    return {name.removeprefix("aoti_torch_cuda_") for name in model["required_symbols"]}


def assert_equal(found, wanted):
    for ours, theirs in zip(found, wanted, strict=True):
        assert (ours.dtype, ours.device) == (theirs.dtype, theirs.device)
        assert torch.equal(ours, theirs)


# --- selection and scans ------------------------------------------------------------------------


@pytest.mark.parametrize("cuda_graph", [False, True])
def test_selection(cuda_graph, cuda_package):
    path = cuda_package("selection")
    assert {"sort_stable", "topk"} <= calls(path)
    model, module = load(path, cuda_graph=cuda_graph), eager("selection")
    for rows in (*ROWS, *ROWS):
        x = random(rows, 600)
        x[:, ::7] = x[:, :1]  # equal ones: a stable sort keeps their order
        sorted_, places, least, least_places = model(x)
        wanted = module(x)
        assert_equal((sorted_, places, least), wanted[:3])
        # Which of equal ones topk gives is left open: the places need to have the values.
        assert torch.equal(x.gather(1, least_places), least)


@pytest.mark.parametrize("cuda_graph", [False, True])
def test_scans(cuda_graph, cuda_package):
    model, module = load(cuda_package("scans"), cuda_graph=cuda_graph), eager("scans")
    for rows in (*ROWS, *ROWS):
        x = random(rows, 70)
        sums, products, integers = model(x)
        wanted = module(x)
        torch.testing.assert_close(sums, wanted[0], rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(products, wanted[1], rtol=1e-4, atol=1e-6)
        assert_equal([integers], wanted[2:])


def test_nonzero(cuda_package):
    path = cuda_package("nonzero")
    assert "nonzero" in calls(path)
    model, module = load(path), eager("nonzero")
    for shift in (0, 0.3, 9, -9):  # some, all and none
        x = random(40, 16) + shift
        assert_equal(model(x), module(x))
    recorded = aotiny.Model(path, device="cuda", cuda_graph=True)
    for _ in range(2):
        with pytest.raises(aotiny.Error, match="load it without cuda_graph"):
            recorded(random(40, 16))
    assert_equal(model(x), module(x))


# --- random numbers -----------------------------------------------------------------------------


def torchs_numbers(order, seed: int, rows: int) -> list[torch.Tensor]:
    """What the case draws twice, drawn by torch in this order of its three operators."""
    draw = {
        "integers": lambda: torch.randint(-5, 95, (rows, 33), device="cuda"),
        "uniform": lambda: torch.rand(rows, 33, device="cuda"),
        "normal": lambda: torch.randn(rows, 33, device="cuda"),
    }
    torch.cuda.manual_seed(seed)
    drawn = [{name: draw[name]() for name in order} for _ in range(2)]
    return [one[name] for one in drawn for name in ("uniform", "integers", "normal")]


def test_random_numbers_are_torchs(cuda_package):
    path = cuda_package("random-calls")
    assert {"rand", "randint_low", "randn"} <= calls(path)
    model, orders = load(path), list(permutations(("integers", "uniform", "normal")))
    for rows in ROWS:
        x = torch.zeros(rows, 33, device="cuda")
        aotiny.cuda.manual_seed(rows)
        drawn = model(x) + model(x)
        # The compiler may put operators that do not depend on each other into another order.
        orders = [
            order
            for order in orders
            if all(map(torch.equal, drawn, torchs_numbers(order, rows, rows)))
        ]
    assert len(orders) == 1


@pytest.mark.parametrize("name", ["random", "random-calls"])
@pytest.mark.parametrize("cuda_graph", [False, True])
def test_random_numbers_differ_from_call_to_call(name, cuda_graph, cuda_package):
    model = load(cuda_package(name), cuda_graph=cuda_graph)
    x = torch.zeros(64, 33, device="cuda")

    def draw():
        uniform, integers, normal = (output.double().cpu().numpy() for output in model(x))
        assert uniform.min() >= 0 and uniform.max() < 1
        assert integers.min() >= -5 and integers.max() <= 94 and len(np.unique(integers)) == 100
        # 2112 numbers: five standard deviations of their means.
        assert abs(uniform.mean() - 0.5) < 5 * 0.289 / 2112**0.5
        assert abs(normal.mean()) < 5 / 2112**0.5 and 0.9 < normal.std() < 1.1
        return np.stack([uniform, integers, normal])

    draws = []
    for _ in range(2):
        aotiny.cuda.manual_seed(3)
        draws += [draw() for _ in range(3)]
    different = [not np.array_equal(a, b) for i, a in enumerate(draws[:3]) for b in draws[:i]]
    assert all(different)
    if not cuda_graph:  # a graph's numbers go on from launch to launch
        assert all(np.array_equal(a, b) for a, b in zip(draws[:3], draws[3:], strict=True))


# --- constants on the CPU -----------------------------------------------------------------------


@pytest.mark.parametrize("cuda_graph", [False, True])
def test_constants_on_the_host(cuda_graph, cuda_package):
    path = cuda_package("table")
    model, module = load(path, cuda_graph=cuda_graph), eager("table")
    for rows in (*ROWS, *ROWS):
        x = random(rows, 16)
        torch.testing.assert_close(model(x)[0], module(x), rtol=1e-6, atol=0)
    manifest = aotiny.Model(path, device="cuda").manifest
    devices = {constant["fqn"]: constant.get("device") for constant in manifest["constants"]}
    assert devices.pop("scale") is None  # on the GPU with the package
    assert "cpu" in devices.values(), devices


# --- other devices ------------------------------------------------------------------------------


@pytest.mark.skipif(aotiny.cuda.device_count() < 2, reason="there is one device")
@pytest.mark.parametrize("cuda_graph", [False, True])
@pytest.mark.parametrize("device", ["cuda:1", "cuda:0"])
@pytest.mark.parametrize("name", ["second", "mlp-int4", "selection", "random-calls", "table"])
def test_packages_run_on_any_device(name, device, cuda_graph, cuda_package):
    """Wherever they were compiled, and whichever device is torch's current one."""
    model = load(cuda_package(name), device=device, cuda_graph=cuda_graph)
    module = eager(name, device)
    dtype = torch.bfloat16 if name == "mlp-int4" else torch.float32
    width = CASES[name].args()[0].shape[1]
    others = [i for i in range(aotiny.cuda.device_count()) if f"cuda:{i}" != device]
    before = [aotiny.cuda.memory_stats(i)["allocated_bytes"] for i in others]
    for rows in (*ROWS, *ROWS):
        x = random(rows, width, device=device).to(dtype)
        found = model(x)
        assert {output.device for output in found} == {torch.device(device)}
        if name == "random-calls":
            assert all(output.isfinite().all() for output in found)
            continue
        wanted = module(x)
        wanted = wanted if isinstance(wanted, tuple) else (wanted,)
        for ours, theirs in zip(found[:3], wanted, strict=False):
            error = (ours.double() - theirs.double()).norm() / theirs.double().norm()
            assert error < 2**-8
    assert [aotiny.cuda.memory_stats(i)["allocated_bytes"] for i in others] == before


# --- graphs of the caller's ---------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mlp-int4", "selection", "random-calls"])
def test_torch_captures_a_call(name, cuda_package):
    model = aotiny.Model(cuda_package(name), device="cuda")
    width = CASES[name].args()[0].shape[1]
    dtype = torch.bfloat16 if name == "mlp-int4" else torch.float32
    stream = torch.cuda.Stream()
    x = random(17, width).to(dtype)
    torch.cuda.synchronize()

    def run():
        with aotiny.cuda.stream(stream.cuda_stream, stream.device_index):
            return [torch.from_dlpack(output) for output in model(x)]

    with torch.cuda.stream(stream):
        targets = [result.clone() for result in run()]  # what a capture cannot do comes first
    stream.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream):
        # Results lie in memory that a launch allocates and the next one frees.
        for target, result in zip(targets, run(), strict=True):
            target.copy_(result)
    uncaptured, integers = load(cuda_package(name)), []
    for scale in (1, -2, 3):
        with torch.cuda.stream(stream):
            x.copy_(random(17, width) * scale)
            for target in targets:
                target.fill_(-7)
            graph.replay()
        stream.synchronize()
        if name == "random-calls":
            integers.append(targets[1].clone())
            assert int(targets[1].min()) >= -5 and int(targets[1].max()) <= 94
        else:
            assert torch.equal(targets[0], uncaptured(x)[0])
    assert len({tuple(drawn.flatten().tolist()) for drawn in integers}) == len(integers)
