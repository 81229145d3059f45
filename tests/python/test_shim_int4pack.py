"""torch's CPU int4 op: libaotiny against libtorch and against the formula in fp64, on weights that
torch packed for each of the instruction sets it knows."""

import os

import pytest

torch = pytest.importorskip("torch")

from shim import ShimError, aotiny_shim, torch_shim  # noqa: E402

NAME = "aoti_torch_cpu__weight_int4pack_mm_cpu_tensor"
INVALID_ARGUMENT, INVALID_TYPE = 0x12, 0x13
DTYPES = {"float32": 2e-6, "float16": 6e-4, "bfloat16": 5e-3}  # tolerance: the result's rounding


def problem(m, n, k, group_size, dtype, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(m, k, generator=generator).to(dtype)
    codes = torch.randint(0, 16, (n, k), generator=generator, dtype=torch.int32)
    pairs = torch.randn(k // group_size, n, 2, generator=generator)
    pairs[..., 0] = pairs[..., 0] * 0.05 + 0.1
    pairs[..., 1] *= 0.1
    pairs = pairs.to(dtype)
    scale, zero = pairs.double().repeat_interleave(group_size, 0).unbind(-1)
    expected = x.double() @ ((codes.T.double() - 8) * scale + zero)
    packed = torch.ops.aten._convert_weight_to_int4pack_for_cpu(codes, 1)
    return (x, packed, torch.tensor(group_size), pairs), expected


def error(result, expected):
    """Normwise and relative, in fp64."""
    norm = torch.linalg.vector_norm
    return (norm(result.double() - expected) / norm(expected)).item()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("group_size", [32, 64, 128, 256])
@pytest.mark.parametrize("m", [1, 2, 3, 4, 7, 33, 300])
def test_matches_the_formula_and_torch(m, group_size, dtype):
    for n in 16, 48, 64, 208:
        arguments, expected = problem(m, n, 512, group_size, getattr(torch, dtype), seed=n)
        result = aotiny_shim().call(NAME, *arguments)
        assert (result.dtype, result.shape) == (arguments[0].dtype, (m, n))
        assert result.is_contiguous()
        assert error(result, expected) < DTYPES[dtype]
        assert error(result, torch_shim().call(NAME, *arguments).double()) < DTYPES[dtype]


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_row_does_not_depend_on_the_others(dtype):
    arguments, _ = problem(11, 144, 256, 64, getattr(torch, dtype))
    together = aotiny_shim().call(NAME, *arguments)
    for row in range(11):
        alone = aotiny_shim().call(NAME, arguments[0][row : row + 1], *arguments[1:])
        assert torch.equal(alone[0], together[row])


def test_strided_activations_and_scales():
    (x, packed, group_size, pairs), _ = problem(6, 64, 256, 32, torch.bfloat16)
    expected = aotiny_shim().call(NAME, x, packed, group_size, pairs)
    strided_x = torch.empty(256, 12, dtype=x.dtype)[:, ::2].T
    strided_x.copy_(x)
    strided_pairs = torch.empty(64, 2, 8, dtype=x.dtype).permute(2, 0, 1)
    strided_pairs.copy_(pairs)
    group_size = group_size.to(torch.int32).reshape(1)
    assert torch.equal(
        aotiny_shim().call(NAME, strided_x, packed, group_size, strided_pairs), expected
    )


def test_no_rows():
    arguments, _ = problem(0, 64, 256, 32, torch.bfloat16)
    assert aotiny_shim().call(NAME, *arguments).shape == (0, 64)


def test_nan_stays_in_its_row():
    arguments, _ = problem(5, 64, 256, 32, torch.float32)
    arguments[0][2, 100] = float("nan")
    result = aotiny_shim().call(NAME, *arguments)
    assert result[2].isnan().all()
    assert not result[[0, 1, 3, 4]].isnan().any()


OTHER_PROCESSOR = """
import sys
sys.path.insert(0, sys.argv[1])
import torch
from test_shim_int4pack import DTYPES, NAME, aotiny_shim, error, problem
assert torch.backends.cpu.get_cpu_capability().lower() == sys.argv[2]
for dtype, tolerance in DTYPES.items():
    for sizes in (1, 16, 256, 64), (2, 96, 256, 128), (5, 240, 512, 32), (64, 32, 96, 32):
        arguments, expected = problem(*sizes, getattr(torch, dtype))
        assert error(aotiny_shim().call(NAME, *arguments), expected) < tolerance, (dtype, sizes)
        theirs = torch.ops.quantized.int4mm_packed_weight_cpu(*arguments)
        assert error(aotiny_shim().call(NAME, *arguments), theirs.double()) < tolerance
print("ok")
"""


@pytest.mark.parametrize("ours", ["portable", "avx2", "avx512"])
@pytest.mark.parametrize("packed_for", ["default", "avx2", "avx512"])
def test_weights_packed_for_each_instruction_set(run_python, packed_for, ours):
    """Torch takes ATEN_CPU_CAPABILITY at its word, so this runs only what the processor has."""
    capability = torch.backends.cpu.get_cpu_capability().lower()
    if packed_for == "avx512" and capability != "avx512":
        pytest.skip(f"torch has {capability} here")
    env = {**os.environ, "ATEN_CPU_CAPABILITY": packed_for, "AOTINY_CPU_CAPABILITY": ours}
    here = os.path.dirname(__file__)
    assert run_python(OTHER_PROCESSOR, here, packed_for, env=env).strip() == "ok"


def replaced(**changes):
    (x, w, group_size, pairs), _ = problem(2, 64, 256, 32, torch.float32)
    arguments = {"x": x, "w": w, "group_size": group_size, "pairs": pairs}
    return list({**arguments, **changes}.values())


REFUSED = {
    "x of int32": ({"x": torch.zeros(2, 256, dtype=torch.int32)}, INVALID_TYPE, "int32"),
    "x of rank 1": ({"x": torch.zeros(256)}, INVALID_ARGUMENT, "2-dimensional"),
    "k no multiple": ({"x": torch.zeros(2, 250)}, INVALID_ARGUMENT, "250 .*group size 32"),
    "other k": ({"x": torch.zeros(2, 288)}, INVALID_ARGUMENT, r"\[N, 144\]"),
    "group size 16": ({"group_size": torch.tensor(16)}, INVALID_ARGUMENT, "group size 16"),
    "group size 0": ({"group_size": torch.tensor(0)}, INVALID_ARGUMENT, "group size 0"),
    "float group size": ({"group_size": torch.tensor(32.0)}, INVALID_ARGUMENT, "one integer"),
    "two group sizes": ({"group_size": torch.tensor([32, 32])}, INVALID_ARGUMENT, "one integer"),
    "w of int8": ({"w": torch.zeros(64, 128, dtype=torch.int8)}, INVALID_TYPE, "int8"),
    "n no multiple": (
        {"w": torch.zeros(20, 128, dtype=torch.uint8)}, INVALID_ARGUMENT, "multiple of 16",
    ),
    "w transposed": (
        {"w": torch.zeros(128, 64, dtype=torch.uint8).T}, INVALID_ARGUMENT, "not contiguous",
    ),
    "pairs of bf16": ({"pairs": torch.zeros(8, 64, 2).bfloat16()}, INVALID_TYPE, "bfloat16"),
    "pairs for other n": ({"pairs": torch.zeros(8, 48, 2)}, INVALID_ARGUMENT, r"\[8, 64, 2\]"),
    "pairs for other k": ({"pairs": torch.zeros(4, 64, 2)}, INVALID_ARGUMENT, r"\[8, 64, 2\]"),
    "no x": ({"x": None}, INVALID_ARGUMENT, "x is null"),
    "no w": ({"w": None}, INVALID_ARGUMENT, "w is null"),
    "no group size": ({"group_size": None}, INVALID_ARGUMENT, "q_group_size is null"),
    "no pairs": ({"pairs": None}, INVALID_ARGUMENT, "q_scale_and_zeros is null"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refuses(case):
    changes, code, text = REFUSED[case]
    with pytest.raises(ShimError, match=text) as raised:
        aotiny_shim().call(NAME, *replaced(**changes))
    assert raised.value.code == code
