"""torch.ops.aotiny against the reference, and as torch wants its operators."""

from contextlib import nullcontext

import pytest

import aotiny

torch = pytest.importorskip("torch")

from torch._subclasses import FakeTensorMode  # noqa: E402

import plain_reference as reference  # noqa: E402
from aotiny.torch import ops  # noqa: E402

# format -> (type, variant) that the packers of plain_reference make
PACKED = {"int4": ("CoalescedInt4", "B"), "int8": ("Int8", "A")}


def packed(format: str, n: int, k: int, group_size: int = 32) -> dict:
    weight = torch.randn(n, k, generator=torch.Generator().manual_seed(n + k))
    pack = reference.pack_int4 if format == "int4" else reference.pack_int8
    return pack(weight, group_size)


def weight_arguments(format: str, tensors: dict, group_size: int = 32) -> tuple:
    return (list(tensors.values()), *PACKED[format], group_size)


def values(format: str, tensors: dict, group_size: int = 32):
    unpack = reference.unpack_int4_weight if format == "int4" else reference.int8_values
    return unpack(*tensors.values(), group_size)


def activations(*shape: int, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(7)).to(dtype)


@pytest.mark.parametrize("format", ["int4", "int8"])
@pytest.mark.parametrize(
    ("shape", "n", "group_size"),
    [((5, 96), 33, 32), ((1, 64), 1, 64), ((2, 3, 128), 17, 32), ((64,), 5, 32), ((0, 64), 5, 32)],
)
def test_matmul_matches_the_reference(format, shape, n, group_size):
    tensors = packed(format, n, shape[-1], group_size)
    x, bias = activations(*shape), activations(n)
    arguments = weight_arguments(format, tensors, group_size)
    expected = getattr(reference, f"{format}_plain_mm")(x, *tensors.values(), group_size)
    actual = torch.ops.aotiny.weight_matmul(x, *arguments)
    assert actual.shape == expected.shape == (*shape[:-1], n)
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-5)
    actual = torch.ops.aotiny.weight_matmul(x, *arguments, bias)
    torch.testing.assert_close(actual, expected + bias, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("format", ["int4", "int8"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_activations_give_half_results(format, dtype):
    tensors = packed(format, 9, 64)
    x = activations(4, 64, dtype=dtype)
    actual = torch.ops.aotiny.weight_matmul(x, *weight_arguments(format, tensors))
    assert actual.dtype == dtype
    # Both round one fp32 or fp64 sum; they may differ where it lies between two values.
    eps = torch.finfo(dtype).eps
    expected = getattr(reference, f"{format}_plain_mm")(x, *tensors.values(), 32)
    torch.testing.assert_close(actual, expected, rtol=eps, atol=eps)


@pytest.mark.parametrize("format", ["int4", "int8"])
def test_strided_activations(format):
    arguments = weight_arguments(format, packed(format, 9, 64))
    x = activations(64, 6).T
    expected = torch.ops.aotiny.weight_matmul(x.contiguous(), *arguments)
    assert torch.equal(torch.ops.aotiny.weight_matmul(x, *arguments), expected)


@pytest.mark.parametrize("format", ["int4", "int8"])
def test_bmm_is_matmul_of_each(format):
    each = [packed(format, 9, 64) for _ in range(3)]
    for i, tensors in enumerate(each):
        each[i] = {name: tensor.roll(i, 0) for name, tensor in tensors.items()}
    stack = {name: torch.stack([e[name] for e in each]) for name in each[0]}
    x = activations(3, 5, 64)
    actual = torch.ops.aotiny.weight_bmm(x, *weight_arguments(format, stack))
    for i, tensors in enumerate(each):
        expected = getattr(reference, f"{format}_plain_mm")(x[i], *tensors.values(), 32)
        torch.testing.assert_close(actual[i], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("format", ["int4", "int8"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_embedding_looks_rows_up(format, dtype):
    tensors = packed(format, 9, 64)
    indices = torch.tensor([[0, 8, 3], [3, 3, 1]])
    arguments = weight_arguments(format, tensors)
    actual = torch.ops.aotiny.weight_embedding(indices, *arguments, dtype)
    expected = values(format, tensors)[indices].to(dtype)
    assert actual.dtype == dtype and actual.shape == (2, 3, 64)
    torch.testing.assert_close(actual, expected)
    assert torch.equal(torch.ops.aotiny.weight_embedding(indices.int(), *arguments, dtype), actual)
    empty = torch.ops.aotiny.weight_embedding(indices[:, :0], *arguments, dtype)
    assert empty.shape == (2, 0, 64)
    for wrong in (9, -1):
        with pytest.raises(aotiny.Error, match=f"{wrong}.*9|9.*{wrong}"):
            torch.ops.aotiny.weight_embedding(torch.tensor([0, wrong]), *arguments, dtype)


@pytest.mark.parametrize("format", ["int4", "int8"])
def test_are_proper_torch_operators(format):
    tensors = packed(format, 9, 64)
    stack = {name: torch.stack([tensor, tensor]) for name, tensor in tensors.items()}
    weight, batch = weight_arguments(format, tensors), weight_arguments(format, stack)
    here = torch.ops.aotiny
    torch.library.opcheck(here.weight_matmul.default, (activations(3, 64), *weight, activations(9)))
    torch.library.opcheck(here.weight_bmm.default, (activations(2, 3, 64), *batch))
    indices = torch.tensor([0, 8])
    torch.library.opcheck(here.weight_embedding.default, (indices, *weight, torch.float16))


def test_gradients_are_refused():
    x = activations(3, 64).requires_grad_()
    y = torch.ops.aotiny.weight_matmul(x, *weight_arguments("int8", packed("int8", 9, 64)))
    with pytest.raises(NotImplementedError, match="no gradients"):
        y.sum().backward()


INT4 = packed("int4", 9, 64)
INT4_STACK = {name: torch.stack([tensor, tensor]) for name, tensor in INT4.items()}


def matmul_with(x=None, tensors=INT4, kind=("CoalescedInt4", "B"), group_size=32, bias=None):
    x = activations(3, 64) if x is None else x
    return lambda: torch.ops.aotiny.weight_matmul(
        x, list(tensors.values()), *kind, group_size, bias
    )


def embedding_with(indices, tensors=INT4, dtype=torch.float32):
    return lambda: torch.ops.aotiny.weight_embedding(
        indices, *weight_arguments("int4", tensors), dtype
    )


@pytest.mark.parametrize("fake", [False, True])
@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (matmul_with(activations(3, 32)), ValueError, r"\[3, 32\].*K = 64"),
        (matmul_with(torch.tensor(1.0)), ValueError, "K = 64"),
        (matmul_with(activations(3, 64).double()), TypeError, "float64"),
        (matmul_with(group_size=48), aotiny.Error, "48"),
        (matmul_with(group_size=0), aotiny.Error, "group size 0"),
        (matmul_with(group_size=128), aotiny.Error, "128"),
        (matmul_with(kind=("CoalescedInt4", "A")), aotiny.Error, "4 tensors.*3"),
        (matmul_with(kind=("CoalescedInt4", "Z")), aotiny.Error, "Z"),
        (matmul_with(kind=("Int3", "")), aotiny.Error, "Int3"),
        (matmul_with(tensors={**INT4, "scale": INT4["scale"].T}), aotiny.Error, r"\[2, 9\]"),
        (matmul_with(tensors={**INT4, "zero": INT4["zero"].char()}), aotiny.Error, "int8"),
        (matmul_with(bias=activations(8)), ValueError, r"\[8\], not \[9\]"),
        (matmul_with(bias=torch.ones(9, dtype=torch.int32)), TypeError, "int32"),
        (matmul_with(tensors=INT4_STACK), ValueError, "weight_bmm"),
        (
            lambda: torch.ops.aotiny.weight_bmm(
                activations(3, 1, 64), *weight_arguments("int4", INT4_STACK)
            ),
            ValueError,
            r"\[3, 1, 64\], not \[2, M, 64\]",
        ),
        (
            lambda: torch.ops.aotiny.weight_bmm(
                activations(2, 1, 64), *weight_arguments("int4", INT4)
            ),
            ValueError,
            "no stack",
        ),
        (embedding_with(activations(2)), TypeError, "float32"),
        (embedding_with(torch.tensor([0]), dtype=torch.float64), TypeError, "float64"),
        (embedding_with(torch.tensor([0]), INT4_STACK), ValueError, r"\[2, 9, 64\]"),
    ],
)
def test_refusals_carry_the_numbers_when_tracing_and_when_running(fake, call, error, text):
    mode = FakeTensorMode(allow_non_fake_inputs=True) if fake else nullcontext()
    with mode, pytest.raises(error, match=text):
        call()


def test_declarations_name_the_c_symbols():
    for operator, declarations in ops.C_SHIMS.items():
        name = operator._schema.name.removeprefix("aotiny::")
        for device, declaration in zip(("cpu", "cuda"), declarations, strict=True):
            assert f"aoti_torch_{device}_{name}(" in declaration
            # One C parameter for each argument, one for the number of planes, one for the result.
            assert declaration.count(",") == len(operator._schema.arguments) + 1
