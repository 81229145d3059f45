"""matmul, bmm and the operators of one type on CUDA, against their results on the CPU."""

import numpy as np
import pytest

import aotiny
from aotiny import cuda

torch = pytest.importorskip("torch")

from weight_formulas import KINDS, activations_of_any_layout, k_for, n_for, random  # noqa: E402

OPERATORS = {
    "int4_plain_mm": "CoalescedInt4",
    "exact_int4_plain_mm": "ExactInt4",
    "exact_int5_plain_mm": "ExactInt5",
    "int6_plain_mm": "PlanarInt6",
    "int8_plain_mm": "Int8",
}
PLAIN_KINDS = [entry for entry in KINDS if entry[2] in OPERATORS.values()]
TYPES = sorted({kind for _, _, kind in KINDS})
DTYPES = [torch.float32, torch.float16, torch.bfloat16]
# |y - cpu| / |cpu|: the order of float32 sums; results of 16 bits round some sums the other way.
TOLERANCE = {torch.float32: 1e-6, torch.float16: 1e-3, torch.bfloat16: 1e-3}

needs_gpu = pytest.mark.skipif(bool(cuda.why_not()), reason=cuda.why_not())
pytestmark = needs_gpu
plain_kinds = pytest.mark.parametrize(
    ("format", "variant"),
    [entry[:2] for entry in PLAIN_KINDS],
    ids=[f"{kind}{variant}" for _, variant, kind in PLAIN_KINDS],
)


def make(format, variant, n=37, k=96, batch=None, group_size=None):
    n, k = n_for(format, n), k_for(format, variant, k)
    shape = (n, k) if batch is None else (batch, n, k)
    array = np.random.default_rng(0).standard_normal(shape, dtype=np.float32) * 0.05
    return aotiny.quantize(array, format, group_size, variant=variant or None)


def check(y, expected):
    """y, on CUDA, is the CPU's result up to the order of sums."""
    y, expected = torch.from_dlpack(y), torch.from_dlpack(expected)
    assert (y.device.type, y.dtype, y.shape) == ("cuda", expected.dtype, expected.shape)
    assert y.is_contiguous()
    error = torch.linalg.vector_norm(y.cpu().double() - expected.double())
    assert error <= TOLERANCE[y.dtype] * torch.linalg.vector_norm(expected.double())


@plain_kinds
@pytest.mark.parametrize("m", [0, 1, 2, 7, 33])
def test_matmul_is_the_cpus(format, variant, m):
    weight = make(format, variant, group_size=None)
    there = weight.to("cuda")
    for dtype in DTYPES:
        x = random(m, weight.shape[1], dtype=dtype)
        bias = random(weight.shape[0], seed=2, dtype=dtype)
        for activation in ("int8", None):
            y = aotiny.matmul(x.cuda(), there, activation=activation)
            check(y, aotiny.matmul(x, weight))
        check(aotiny.matmul(x.cuda(), there, bias.cuda()), aotiny.matmul(x, weight, bias))


@plain_kinds
def test_strides_ranks_and_out(format, variant):
    weight = make(format, variant)
    n, k = weight.shape
    there = weight.to("cuda:0")
    for x in activations_of_any_layout(k):
        on_device = torch.empty_strided(x.shape, x.stride(), device="cuda")
        on_device = x.cuda() if 0 in x.stride() else on_device.copy_(x)
        check(aotiny.matmul(on_device, there), aotiny.matmul(x, weight))
    x = random(5, k)
    out = torch.full((7, n), float("nan"), device="cuda")
    assert aotiny.matmul(x.cuda(), there, out=out[1:6]).data_ptr() == out[1:].data_ptr()
    check(out[1:6], aotiny.matmul(x, weight))
    assert out[0].isnan().all() and out[6].isnan().all()


@plain_kinds
def test_bmm_is_the_cpus(format, variant):
    stack = make(format, variant, 21, batch=3)
    there = stack.to("cuda")
    for m in (0, 1, 7):
        for dtype in DTYPES:
            x = random(3, m, stack.shape[2], dtype=dtype)
            check(aotiny.bmm(x.cuda(), there), aotiny.bmm(x, stack))
            check(aotiny.bmm(x.cuda(), there, "int8"), aotiny.bmm(x, stack, "int8"))


@plain_kinds
def test_slices_of_weights(format, variant):
    """Views, whose planes lie between those of other rows or columns."""
    weight = make(format, variant, 40, 512)
    there = weight.to("cuda")
    for view in (lambda w: w[8:24], lambda w: w[5:6], lambda w: w.narrow(1, 256, 256)):
        x = random(3, view(weight).shape[1])
        check(aotiny.matmul(x.cuda(), view(there)), aotiny.matmul(x, view(weight)))


@plain_kinds
def test_a_row_does_not_depend_on_the_others(format, variant):
    weight = make(format, variant, 131, 640).to("cuda")
    x = random(50, weight.shape[1]).cuda()
    batch = torch.from_dlpack(aotiny.matmul(x, weight))
    for begin, end in [(0, 1), (3, 5), (10, 26), (31, 50)]:
        part = torch.from_dlpack(aotiny.matmul(x[begin:end], weight))
        assert torch.equal(part, batch[begin:end])


@pytest.mark.parametrize("name", OPERATORS)
def test_an_operator_takes_every_variant_of_its_type(name):
    for format, variant, kind in PLAIN_KINDS:
        if kind != OPERATORS[name]:
            continue
        weight = make(format, variant)
        x = random(5, weight.shape[1], dtype=torch.bfloat16)
        bias = random(weight.shape[0], seed=2)
        operator, there = getattr(aotiny, name), weight.to("cuda")
        check(operator(x.cuda(), there), operator(x, weight))
        check(operator(x.cuda(), there, bias.cuda()), operator(x, weight, bias))


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("kind", TYPES)
def test_an_operator_takes_one_type_of_weight(name, kind):
    if kind == OPERATORS[name]:
        return
    format, variant, _ = next(entry for entry in KINDS if entry[2] == kind)
    weight = make(format, variant).to("cuda")
    x = random(3, weight.shape[1]).cuda()
    with pytest.raises(TypeError, match=f"{name}: w is a {kind}, not a {OPERATORS[name]}$"):
        getattr(aotiny, name)(x, weight)


def test_devices_are_not_mixed():
    weight = make("int8", "A")
    there, x, bias = weight.to("cuda"), random(2, 96), random(37)
    for run, text in [
        (lambda: aotiny.matmul(x, there), "x is on cpu, the weight on cuda:0"),
        (lambda: aotiny.matmul(x.cuda(), weight), "x is on cuda:0, the weight on cpu"),
        (lambda: aotiny.int8_plain_mm(x, there), "x is on cpu, the weight on cuda:0"),
        (lambda: aotiny.matmul(x.cuda(), there, bias), "bias is on cpu, the weight on cuda:0"),
        (
            lambda: aotiny.matmul(x.cuda(), there, out=torch.empty(2, 37)),
            "out is on cpu, the weight on cuda:0",
        ),
    ]:
        with pytest.raises(aotiny.Error, match=text) as caught:
            run()
        assert caught.value.name == "InvalidArgument"


def test_shapes_and_dtypes_are_refused_with_the_numbers():
    there = make("int4", "A").to("cuda")
    for run, text in [
        (lambda: aotiny.matmul(random(2, 95).cuda(), there), r"\[2, 95\].*K = 96"),
        (lambda: aotiny.matmul(random(2, 96).cuda().double(), there), "float64"),
        (lambda: aotiny.matmul(random(2, 96).cuda(), there, random(36).cuda()), r"\[36\].*\[37\]"),
        (
            lambda: aotiny.matmul(random(2, 96).cuda(), there, out=torch.empty(3, 37).cuda()),
            r"out has shape \[3, 37\], not \[2, 37\]",
        ),
    ]:
        with pytest.raises(aotiny.Error, match=text):
            run()


def test_torchs_streams_and_graphs():
    weight = make("int4", "A", 128, 256).to("cuda")
    x = random(4, 256, dtype=torch.bfloat16).cuda()
    y = torch.zeros(4, 128, dtype=torch.bfloat16, device="cuda")
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph), cuda.stream(torch.cuda.current_stream().cuda_stream):
        aotiny.matmul(x, weight, out=y)
    for seed in range(3):
        x.copy_(random(4, 256, seed=seed, dtype=torch.bfloat16))
        graph.replay()
        torch.cuda.synchronize()
        assert torch.equal(y, torch.from_dlpack(aotiny.matmul(x, weight)))
