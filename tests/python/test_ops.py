"""torch.ops.aotiny against the reference, and as torch wants its operators."""

import pytest

import aotiny

torch = pytest.importorskip("torch")

import plain_reference as reference  # noqa: E402
from aotiny import ops  # noqa: E402


def packed(format: str, n: int, k: int, group_size: int) -> dict:
    weight = torch.randn(n, k, generator=torch.Generator().manual_seed(n + k))
    pack = reference.pack_int4 if format == "int4" else reference.pack_int8
    return pack(weight, group_size)


def call(format: str, where, x, tensors: dict, group_size: int):
    return getattr(where, f"{format}_plain_mm")(x, *tensors.values(), group_size)


def activations(*shape: int, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(7)).to(dtype)


@pytest.mark.parametrize("format", ["int4", "int8"])
@pytest.mark.parametrize(
    ("shape", "n", "group_size"),
    [((5, 96), 33, 32), ((1, 64), 1, 64), ((2, 3, 128), 17, 32), ((64,), 5, 32), ((0, 64), 5, 32)],
)
def test_matches_the_reference(format, shape, n, group_size):
    tensors = packed(format, n, shape[-1], group_size)
    x = activations(*shape)
    actual = call(format, torch.ops.aotiny, x, tensors, group_size)
    expected = call(format, reference, x, tensors, group_size)
    assert actual.shape == expected.shape == (*shape[:-1], n)
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("format", ["int4", "int8"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_activations_give_half_results(format, dtype):
    tensors = packed(format, 9, 64, 32)
    x = activations(4, 64, dtype=dtype)
    actual = call(format, torch.ops.aotiny, x, tensors, 32)
    assert actual.dtype == dtype
    # Both round one fp32 or fp64 sum; they may differ where it lies between two values.
    eps = torch.finfo(dtype).eps
    expected = call(format, reference, x, tensors, 32)
    torch.testing.assert_close(actual, expected, rtol=eps, atol=eps)


@pytest.mark.parametrize("format", ["int4", "int8"])
def test_strided_activations(format):
    tensors = packed(format, 9, 64, 32)
    x = activations(64, 6).T
    expected = call(format, torch.ops.aotiny, x.contiguous(), tensors, 32)
    assert torch.equal(call(format, torch.ops.aotiny, x, tensors, 32), expected)


@pytest.mark.parametrize("format", ["int4", "int8"])
def test_is_a_proper_torch_operator(format):
    tensors = packed(format, 9, 64, 32)
    operator = getattr(torch.ops.aotiny, f"{format}_plain_mm").default
    torch.library.opcheck(operator, (activations(3, 64), *tensors.values(), 32))


@pytest.mark.parametrize("format", ["int4", "int8"])
@pytest.mark.parametrize("fake", [False, True])
@pytest.mark.parametrize(
    ("x", "group_size", "text"),
    [
        (activations(3, 32), 32, "K = 64"),
        (activations(3, 64).double(), 32, "float64"),
        (activations(3, 64), 48, "48"),
        (activations(3, 64), 0, "group_size 0"),
        (activations(3, 64), 128, "128"),
        (torch.tensor(1.0), 32, "K = 64"),
    ],
)
def test_refusals_carry_the_numbers_when_tracing_and_when_running(
    format, fake, x, group_size, text
):
    from contextlib import nullcontext

    from torch._subclasses import FakeTensorMode

    tensors = packed(format, 9, 64, 32)
    mode = FakeTensorMode(allow_non_fake_inputs=True) if fake else nullcontext()
    with mode, pytest.raises(ValueError, match=text):
        call(format, torch.ops.aotiny, x, tensors, group_size)


def test_native_layout_of_metadata_is_refused():
    tensors = packed("int4", 9, 64, 32)
    tensors["scale"] = tensors["scale"].T.contiguous()
    with pytest.raises(aotiny.Error):
        call("int4", torch.ops.aotiny, activations(3, 64), tensors, 32)


def test_declarations_name_the_c_symbols():
    for operator, (declaration,) in ops.C_SHIMS.items():
        name = operator._schema.name.removeprefix("aotiny::")
        assert f"aoti_torch_cpu_{name}(" in declaration
        # One C parameter for each argument and one for the result.
        assert declaration.count(",") == len(operator._schema.arguments)
