"""mm_out, addmm_out, bmm_out and baddbmm_out against torch, over sizes, strides and dtypes."""

import os

import pytest

torch = pytest.importorskip("torch")

from shim import ShimError, aotiny_shim  # noqa: E402

DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16]
SIZES = [(1, 1, 1), (1, 257, 130), (3, 40, 33), (8, 384, 384), (17, 49, 65), (64, 96, 384)]
SIZES += [(130, 31, 1025), (5, 2, 1537)]
# One instruction set below the best, so that machines with everything test the others too.
CAPABILITIES = ["portable", "avx2", "avx512", "avx512_bf16"]


def randn(*sizes, dtype, layout="rows"):
    """Values whose rows, columns, or neither are contiguous; NaN fills the memory between."""
    if layout == "rows":
        return torch.randn(*sizes).to(dtype)
    if layout == "columns":
        return torch.randn(*sizes[:-2], sizes[-1], sizes[-2]).to(dtype).transpose(-1, -2)
    *batch, rows, columns = sizes
    memory = torch.full((*batch, 2 * rows, 3 * columns), torch.nan, dtype=dtype)
    memory[..., ::2, ::3] = torch.randn(*sizes).to(dtype)
    return memory[..., ::2, ::3]


def assert_close(out, exact, magnitude):
    """Within one rounding of the exact result, and of fp32 sums over terms of this magnitude."""
    unit = torch.finfo(out.dtype).eps / 2
    sums = torch.finfo(torch.float64 if out.dtype == torch.float64 else torch.float32).eps
    limit = unit * 1.01 * exact.abs() + sums * 8 * magnitude + 1e-300
    error = (out.double() - exact).abs()
    assert (error <= limit).all(), (error / limit).max().item()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("layout_out", ["rows", "columns", "neither"])
def test_mm_out(dtype, layout_out):
    torch.manual_seed(0)
    for m, n, k in SIZES:
        for layout_a in ("rows", "columns", "neither"):
            for layout_b in ("rows", "columns", "neither"):
                a = randn(m, k, dtype=dtype, layout=layout_a)
                b = randn(k, n, dtype=dtype, layout=layout_b)
                out = randn(m, n, dtype=dtype, layout=layout_out)
                aotiny_shim().call("aoti_torch_cpu_mm_out", out, a, b)
                exact = a.double() @ b.double()
                assert_close(out, exact, a.double().abs() @ b.double().abs())


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_addmm_out(dtype):
    torch.manual_seed(1)
    for m, n, k in SIZES:
        for self_sizes in [(), (n,), (1, n), (m, 1), (m, n)]:
            for beta, alpha in [(1, 1), (-0.5, 2), (0, 1)]:
                bias = torch.randn(self_sizes).to(dtype)
                if beta == 0:
                    bias.fill_(torch.nan)
                x = randn(m, k, dtype=dtype)
                w = randn(k, n, dtype=dtype, layout="columns")
                out = torch.full((m, n), torch.nan, dtype=dtype)
                aotiny_shim().call("aoti_torch_cpu_addmm_out", out, bias, x, w, beta, alpha)
                exact = alpha * (x.double() @ w.double())
                magnitude = abs(alpha) * (x.double().abs() @ w.double().abs())
                if beta != 0:
                    exact += beta * bias.double()
                    magnitude += abs(beta) * bias.double().abs()
                assert_close(out, exact, magnitude)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("layout", ["rows", "columns", "neither"])
def test_bmm_out(dtype, layout):
    torch.manual_seed(2)
    for batch, m, n, k in [(1, 3, 5, 7), (12, 16, 16, 32), (3, 65, 33, 128), (48, 1, 40, 9)]:
        a = randn(batch, m, k, dtype=dtype, layout=layout)
        b = randn(batch, k, n, dtype=dtype, layout=layout)
        out = torch.full((m, batch, n), torch.nan, dtype=dtype).transpose(0, 1)
        aotiny_shim().call("aoti_torch_cpu_bmm_out", out, a, b)
        assert_close(out, a.double() @ b.double(), a.double().abs() @ b.double().abs())


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_baddbmm_out(dtype):
    torch.manual_seed(5)
    for batch, m, n, k in [(1, 3, 5, 7), (3, 65, 33, 128), (48, 1, 40, 9)]:
        for self_sizes in [(), (n,), (m, 1), (batch, 1, n), (batch, m, n)]:
            bias = torch.randn(self_sizes).to(dtype)
            a = randn(batch, m, k, dtype=dtype, layout="columns")
            b = randn(batch, k, n, dtype=dtype)
            out = torch.full((batch, m, n), torch.nan, dtype=dtype)
            aotiny_shim().call("aoti_torch_cpu_baddbmm_out", out, bias, a, b, -0.5, 2)
            exact = torch.baddbmm(bias.double(), a.double(), b.double(), beta=-0.5, alpha=2)
            magnitude = 2 * (a.double().abs() @ b.double().abs()) + bias.double().abs()
            assert_close(out, exact, magnitude)


def test_empty_sizes():
    for m, n, k in [(0, 3, 4), (3, 0, 4), (3, 4, 0), (0, 0, 0)]:
        out = torch.full((m, n), torch.nan)
        aotiny_shim().call("aoti_torch_cpu_mm_out", out, torch.ones(m, k), torch.ones(k, n))
        assert torch.equal(out, torch.ones(m, k) @ torch.ones(k, n))


def test_result_does_not_depend_on_other_rows():
    torch.manual_seed(3)
    x, w = torch.randn(64, 384), torch.randn(96, 384).t()
    whole, part = torch.empty(64, 96), torch.empty(32, 96)
    aotiny_shim().call("aoti_torch_cpu_mm_out", whole, x, w)
    x[32:] = torch.randn(32, 384)
    again = torch.empty(64, 96)
    aotiny_shim().call("aoti_torch_cpu_mm_out", again, x, w)
    assert torch.equal(whole[:32], again[:32])
    aotiny_shim().call("aoti_torch_cpu_mm_out", part, x[:32], w)
    assert torch.equal(whole[:32], part)


@pytest.mark.parametrize(
    ("name", "arguments", "code", "text"),
    [
        ("mm_out", [(2, 5), (2, 3), (4, 5)], 0x12, "3 columns, 4 rows"),
        ("mm_out", [(2, 6), (2, 3), (3, 5)], 0x12, r"\[2, 6\]"),
        ("mm_out", [(2, 5), (3,), (3, 5)], 0x12, "1 dimensions"),
        ("bmm_out", [(2, 2, 5), (2, 2, 3), (3, 3, 5)], 0x12, "mat2 3"),
    ],
)
def test_refusals_carry_the_numbers(name, arguments, code, text):
    with pytest.raises(ShimError, match=text) as error:
        aotiny_shim().call(f"aoti_torch_cpu_{name}", *map(torch.ones, arguments))
    assert error.value.code == code


@pytest.mark.parametrize("dtype", [torch.int32, torch.complex64, torch.bool], ids=str)
def test_other_dtypes_are_refused(dtype):
    with pytest.raises(ShimError, match=str(dtype)[6:]) as error:
        tensors = [torch.ones(3, 3, dtype=dtype) for _ in range(3)]
        aotiny_shim().call("aoti_torch_cpu_mm_out", *tensors)
    assert error.value.code == 0x13


MISSING_BLAS = """
import sys; sys.path.insert(0, sys.argv[1])
import torch
from shim import aotiny_shim
torch.manual_seed(0)
for dtype in (torch.float64, torch.float32):
    a, b = torch.randn(70, 80, dtype=dtype), torch.randn(80, 90, dtype=dtype)
    out = torch.full((70, 90), torch.nan, dtype=dtype)
    aotiny_shim().call("aoti_torch_cpu_mm_out", out, a, b)
    assert (out - a @ b).abs().max() < (1e-12 if dtype == torch.float64 else 1e-4)
"""


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_without_a_blas(run_python, capability):
    environment = {
        **os.environ,
        "AOTINY_BLAS_LIBRARY": "/nonexistent/libblas.so",
        "AOTINY_CPU_CAPABILITY": capability,
    }
    run_python(MISSING_BLAS, os.path.dirname(__file__), env=environment)
