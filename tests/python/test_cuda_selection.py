"""Selection, scans and random numbers on CUDA: libaotiny_cuda against torch on the same GPU."""

import pytest

import aotiny

torch = pytest.importorskip("torch")

from shim import ShimError, cuda_shim  # noqa: E402
from test_shim_selection import (  # noqa: E402
    FLOATS,
    INTEGERS,
    LAYOUTS,
    NAN,
    dims_of,
    layouts,
    same_bits,
)

WHY_NOT = aotiny.cuda.why_not() or ("" if torch.cuda.is_available() else "torch is without CUDA")
pytestmark = pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)


def call(name, *arguments):
    return cuda_shim().call(f"aoti_torch_cuda_{name}", *arguments)


def on_gpu(x):
    """A copy on the GPU. Torch sorts NaN with the sign bit set before everything there; converting
    on the CPU makes such ones."""
    x = x.cuda()
    if x.is_floating_point():
        x[x.isnan()] = NAN
    return x


# --- selection and scans ------------------------------------------------------------------------


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [*FLOATS, *INTEGERS, torch.bool], ids=str)
def test_sort(layout, dtype):
    x = on_gpu(layouts(dtype)[layout])
    for dim in dims_of(x):
        for descending in False, True:
            ours = call("sort_stable", x, 1, dim, descending)
            theirs = torch.sort(x, dim=dim, descending=descending, stable=True)
            same_bits(ours[0], theirs.values.cpu())
            same_bits(ours[1], theirs.indices.cpu())


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [*FLOATS, *INTEGERS], ids=str)
def test_topk(layout, dtype):
    x = on_gpu(layouts(dtype)[layout])
    for dim in dims_of(x):
        length = x.shape[dim] if x.ndim else 1
        for k in sorted({0, 1, 3, length // 2, length}):
            if k <= length and (k > 0 or x.ndim):
                values, indices = call("topk", x, k, dim, 1, 1)
                same_bits(values, torch.topk(x, k, dim).values.cpu())
                # Torch leaves open which of equal elements it takes; here it is the first of them.
                order = torch.sort(x, dim=dim, descending=True, stable=True).indices.cpu()
                assert torch.equal(indices, order.narrow(dim, 0, k) if x.ndim else order)


@pytest.mark.parametrize("name", ["cumsum", "cumprod"])
@pytest.mark.parametrize("dtype", [*FLOATS, *INTEGERS, torch.bool], ids=str)
def test_scans(name, dtype):
    generator = torch.Generator().manual_seed(3)
    x = (1 + 0.1 * torch.randn(3, 501, 2, generator=generator, dtype=torch.float64)).to(dtype)
    x = x.cuda().transpose(1, 2)
    for dim in range(-3, 3):
        ours = call(name, x, dim, None)
        theirs = getattr(torch, name)(x, dim).cpu()
        assert (ours.dtype, ours.stride()) == (theirs.dtype, theirs.stride())
        if dtype in FLOATS:
            # Torch accumulates in the dtype itself; the CPU's scan, and ours, in a wider one. In
            # fp64 each of up to 500 operations may round.
            exact = getattr(torch, name)(x.double(), dim).cpu()
            error = (ours.double() - exact).norm() / exact.norm()
            rounding = 500 * torch.finfo(torch.float64).eps
            assert error <= (theirs.double() - exact).norm() / exact.norm() + rounding
            assert error <= max(torch.finfo(dtype).eps, rounding)
        else:
            assert torch.equal(ours, theirs)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [*FLOATS, *INTEGERS, torch.bool], ids=str)
def test_nonzero(layout, dtype):
    x = layouts(dtype)[layout].cuda()
    ours, theirs = call("nonzero", x), torch.nonzero(x).cpu()
    if theirs.numel() == 0:  # its strides, which reach no element, depend on the device in torch
        assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
    else:
        same_bits(ours, theirs)


# --- random numbers -----------------------------------------------------------------------------

SEEDS = [0, 1, 2**40 + 12345, 2**64 - 1]
SIZES = [(1,), (0,), (257,), (33, 7, 5), (1000, 1000), (3, 1 << 20)]


def torch_and_ours(seed, theirs, ours):
    """The results of a few draws of torch's and of ours from the same seed, in turn."""
    torch.cuda.manual_seed(seed if seed < 2**63 else seed - 2**64)
    aotiny.cuda.manual_seed(seed)
    for size in SIZES:
        yield theirs(size).cpu(), ours(size)


def cuda_options(dtype):
    return dtype, None, 1, 0, None  # dtype, layout, device, device_index, pin_memory


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("name", ["rand", "randn"])
def test_floats_are_torchs(name, dtype, seed):
    for theirs, ours in torch_and_ours(
        seed,
        lambda size: getattr(torch, name)(size, dtype=dtype, device="cuda"),
        lambda size: call(name, list(size), len(size), *cuda_options(dtype)),
    ):
        same_bits(ours, theirs)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    "low, high, dtype",
    [
        (0, 10, torch.int64),
        (-128, 128, torch.int8),
        (0, 256, torch.uint8),
        (0, 2, torch.bool),
        (-5, 70000, torch.int32),
        (0, (1 << 28) - 1, torch.int64),
        (3, 3 + (1 << 28), torch.int32),
        (-(2**63), 2**63 - 1, torch.int64),
        (-100, 100, torch.float16),
        (0, 256, torch.bfloat16),
        (-1000, 1 << 24, torch.float32),
        (0, 1 << 50, torch.float64),
    ],
    ids=str,
)
def test_integers_are_torchs(low, high, dtype, seed):
    for theirs, ours in torch_and_ours(
        seed,
        lambda size: torch.randint(low, high, size, dtype=dtype, device="cuda"),
        lambda size: call("randint_low", low, high, list(size), len(size), *cuda_options(dtype)),
    ):
        same_bits(ours, theirs)


@pytest.mark.parametrize("seed", SEEDS)
def test_permutations_are_torchs(seed):
    torch.cuda.manual_seed(seed if seed < 2**63 else seed - 2**64)
    aotiny.cuda.manual_seed(seed)
    for n in 0, 1, 2, 3, 10, 1000, 20000, 30000, 40000, 1000003:
        for dtype in torch.int64, torch.int32, torch.float32:
            theirs = torch.randperm(n, dtype=dtype, device="cuda").cpu()
            same_bits(call("randperm", n, *cuda_options(dtype)), theirs)


@pytest.mark.parametrize("seed", SEEDS[:2])
def test_draws_of_all_kinds_in_turn_are_torchs(seed):
    torch.cuda.manual_seed(seed)
    aotiny.cuda.manual_seed(seed)
    like = torch.empty(12, 34, 5, dtype=torch.float16, device="cuda").permute(2, 0, 1)
    same_bits(call("rand", [9], 1, *cuda_options(None)), torch.rand(9, device="cuda").cpu())
    same_bits(call("randperm", 77, *cuda_options(None)), torch.randperm(77, device="cuda").cpu())
    same_bits(call("rand_like", like, *[None] * 3, 0, None, None), torch.rand_like(like).cpu())
    same_bits(call("randn_like", like, *[None] * 3, 0, None, None), torch.randn_like(like).cpu())
    same_bits(
        call("randint_like_low_dtype", like, -7, 9, torch.int16, None, None, 0, None, None),
        torch.randint_like(like, -7, 9, dtype=torch.int16).cpu(),
    )
    same_bits(
        call("uniform", like.float(), -3.0, 5.0, None),
        torch.empty_like(like, dtype=torch.float32).uniform_(-3, 5).cpu(),
    )
    same_bits(
        call("normal_functional", like.double(), 10.0, 0.5, None),
        torch.empty_like(like, dtype=torch.float64).normal_(10, 0.5).cpu(),
    )
    out = torch.empty(5, 6, dtype=torch.int64, device="cuda").t()
    call("randint_low_out", out, -(2**63), 2**63 - 1, [6, 5], 2)
    expected = torch.empty(5, 6, dtype=torch.int64, device="cuda").t()
    assert torch.equal(out, torch.randint(-(2**63), 2**63 - 1, (6, 5), out=expected))
    same_bits(call("randn", [9], 1, *cuda_options(None)), torch.randn(9, device="cuda").cpu())


def test_seeds():
    aotiny.cuda.manual_seed(-1)
    assert aotiny.cuda.initial_seed() == 2**64 - 1
    aotiny.cuda.manual_seed(7, "cuda:0")
    assert aotiny.cuda.initial_seed("cuda:0") == 7
    for seed in 2**64, -(2**63) - 1:
        with pytest.raises(ValueError, match="64 bits"):
            aotiny.cuda.manual_seed(seed)
    with pytest.raises(TypeError):
        aotiny.cuda.manual_seed(1.5)
    with pytest.raises(aotiny.Error, match="no device cuda:99"):
        aotiny.cuda.manual_seed(1, 99)
    with pytest.raises(aotiny.Error, match="not a CUDA device"):
        aotiny.cuda.initial_seed("cpu")


def test_refusals_reach_python():
    with pytest.raises(ShimError, match=r"k 5 is outside 0\.\.3"):
        call("topk", torch.zeros(3, device="cuda"), 5, 0, 1, 1)
    with pytest.raises(ShimError, match="self is on cpu"):
        call("topk", torch.zeros(3), 1, 0, 1, 1)
