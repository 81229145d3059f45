"""_scaled_dot_product_flash_attention_for_cpu against torch's own."""

import math
import os

import pytest

torch = pytest.importorskip("torch")

from shim import ShimError, aotiny_shim  # noqa: E402

NAME = "aoti_torch_cpu__scaled_dot_product_flash_attention_for_cpu"
torch_attention = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
DTYPES = [torch.float32, torch.bfloat16, torch.float16, torch.float64]
# batch, heads, key heads, queries, keys, depth
SHAPES = [
    (1, 1, 1, 1, 1, 1),
    (2, 12, 12, 8, 8, 32),
    (2, 4, 2, 5, 7, 8),
    (1, 32, 8, 1, 300, 128),
    (1, 8, 2, 128, 128, 64),
    (2, 3, 1, 70, 133, 17),
    (1, 6, 6, 65, 260, 40),
]


def operands(shape, dtype):
    """Query and value as [B, T, H, D] seen as [B, H, T, D], key contiguous."""
    b, h, hkv, tq, tk, d = shape
    q = torch.randn(b, tq, h, d).to(dtype).transpose(1, 2)
    k = torch.randn(b, hkv, tk, d).to(dtype)
    v = torch.randn(b, tk, hkv, d).to(dtype).transpose(1, 2)
    return q, k, v


def masks(shape, dtype):
    b, h, _, tq, tk, _ = shape
    hidden = torch.where(torch.rand(b, 1, tq, tk) < 0.3, -math.inf, 0.0)
    hidden[..., 0] = 0.0
    return {
        "none": None,
        "matrix": torch.randn(tq, tk).to(dtype),
        "per batch, -inf": hidden.to(dtype),
        "expanded": torch.randn(b, 1, 1, tk).to(dtype).expand(b, h, tq, tk),
        "padded rows": torch.randn(b, h, tq, tk + 3).to(dtype)[..., :tk],
        "every other": torch.randn(tq, 2 * tk).to(dtype)[:, ::2],
    }


def check(q, k, v, causal=False, mask=None, scale=None):
    """As close to the result in double precision as torch is, in torch's strides."""
    out, logsumexp = aotiny_shim().call(NAME, q, k, v, 0.0, causal, mask, scale)
    theirs, their_logsumexp = torch_attention(q, k, v, 0.0, causal, attn_mask=mask, scale=scale)
    assert (out.stride(), out.dtype) == (theirs.stride(), theirs.dtype)
    assert logsumexp.stride() == their_logsumexp.stride()
    assert (logsumexp.shape, logsumexp.dtype) == (their_logsumexp.shape, their_logsumexp.dtype)
    exact_mask = None if mask is None else mask.double()
    exact, exact_logsumexp = torch_attention(
        q.double(), k.double(), v.double(), 0.0, causal, attn_mask=exact_mask, scale=scale
    )
    floor = 1e-13 if q.dtype == torch.float64 else 2e-6
    error = (out.double() - exact).abs().max()
    assert error <= (theirs.double() - exact).abs().max() * 1.5 + floor
    limit = floor * (2 + exact_logsumexp.abs().max() / 8)
    assert (logsumexp.double() - exact_logsumexp).abs().max() <= limit


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_matches_torch(shape, causal, dtype):
    torch.manual_seed(0)
    for mask in masks(shape, dtype).values():
        check(*operands(shape, dtype), causal, mask)


def test_scale_and_large_scores():
    torch.manual_seed(1)
    q, k, v = operands((1, 2, 2, 40, 200, 16), torch.float32)
    check(q, k, v, scale=0.7)
    check(20 * q, k, v, scale=-1.0)


def test_fp32_mask_on_a_16_bit_query():
    torch.manual_seed(2)
    q, k, v = operands((1, 2, 2, 9, 30, 16), torch.bfloat16)
    mask = torch.randn(9, 30)
    out, _ = aotiny_shim().call(NAME, q, k, v, 0.0, False, mask, None)
    exact = torch_attention(q.double(), k.double(), v.double(), attn_mask=mask.double())[0]
    assert (out.double() - exact).abs().max() < 2**-8


def test_a_fully_masked_row_is_zero():
    torch.manual_seed(3)
    q, k, v = operands((1, 2, 1, 20, 300, 16), torch.float32)
    mask = torch.zeros(20, 300)
    mask[3] = -math.inf
    check(q, k, v, mask=mask)
    out, logsumexp = aotiny_shim().call(NAME, q, k, v, 0.0, False, mask, None)
    assert (out[:, :, 3] == 0).all() and (logsumexp[:, :, 3] == 0).all()


def test_strided_depth():
    torch.manual_seed(4)
    q, k, v = (torch.randn(1, 2, 30, 48)[..., ::3] for _ in range(3))
    check(q, k, v)


@pytest.mark.parametrize(
    ("change", "code", "text"),
    [
        ({"dropout": 0.5}, 0x10, "dropout 0.5"),
        ({"q": torch.ones(2, 4, 3)}, 0x12, "3 dimensions"),
        ({"k": torch.ones(1, 3, 7, 8), "v": torch.ones(1, 3, 7, 8)}, 0x12, "4 query heads"),
        ({"v": torch.ones(1, 2, 6, 8)}, 0x12, r"\[1, 2, 6, 8\]"),
        ({"v": torch.ones(1, 2, 7, 8).half()}, 0x13, "float16"),
        ({"mask": torch.ones(5, 7, dtype=torch.bool)}, 0x13, "bool"),
        ({"mask": torch.ones(4, 5, 7)}, 0x12, "3 dimensions"),
        ({"mask": torch.ones(5, 8)}, 0x12, "8"),
    ],
)
def test_refusals_carry_the_numbers(change, code, text):
    given = {"q": torch.ones(1, 4, 5, 8), "k": torch.ones(1, 2, 7, 8), "v": torch.ones(1, 2, 7, 8)}
    given |= {"dropout": 0.0, "causal": False, "mask": None, "scale": None} | change
    with pytest.raises(ShimError, match=text) as error:
        order = ("q", "k", "v", "dropout", "causal", "mask", "scale")
        aotiny_shim().call(NAME, *(given[key] for key in order))
    assert error.value.code == code


CAPABILITY = """
import sys; sys.path.insert(0, sys.argv[1])
import torch
from test_attention import DTYPES, SHAPES, check, masks, operands
torch.manual_seed(0)
for dtype in DTYPES:
    for shape in SHAPES:
        check(*operands(shape, dtype), True, masks(shape, dtype)["per batch, -inf"])
"""


@pytest.mark.parametrize("capability", ["portable", "avx2", "avx512"])
def test_every_instruction_set(run_python, capability):
    environment = {**os.environ, "AOTINY_CPU_CAPABILITY": capability}
    run_python(CAPABILITY, os.path.dirname(__file__), env=environment)
