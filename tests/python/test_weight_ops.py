"""matmul, bmm, embedding and the operators of one type, for every type and variant of weight."""

import numpy as np
import pytest
import torch

import aotiny
from weight_formulas import (
    KINDS,
    activations_of_any_layout,
    k_for,
    n_for,
    native_values,
    quantized,
    random,
    values,
)

INT8_TYPES = {"CoalescedInt4", "ExactInt4", "ExactInt5", "PlanarInt6", "Int8"}
OPERATORS = {
    "int4_plain_mm": "CoalescedInt4",
    "exact_int4_plain_mm": "ExactInt4",
    "exact_int5_plain_mm": "ExactInt5",
    "int6_plain_mm": "PlanarInt6",
    "int8_plain_mm": "Int8",
    "weight_int4pack_mm": "Int4TilePacked",
}
TYPES = sorted({kind for _, _, kind in KINDS})
DTYPES = [torch.float32, torch.float16, torch.bfloat16]
# How far a result may be from the formula: float32 sums, and the rounding of the result.
SUMS = 2e-6
ROUNDING = {torch.float32: 0, torch.float16: 2**-11, torch.bfloat16: 2**-8}

kinds = pytest.mark.parametrize(
    ("format", "variant", "kind"), KINDS, ids=[f"{kind}{variant}" for _, variant, kind in KINDS]
)


def make(format, variant, n=37, k=96, batch=None, seed=0, group_size=None):
    n, k = n_for(format, n), k_for(format, variant, k)
    shape = (n, k) if batch is None else (batch, n, k)
    array = np.random.default_rng(seed).standard_normal(shape, dtype=np.float32) * 0.05
    return aotiny.quantize(array, format, group_size, variant=variant or None)


def of_type(kind):
    format, variant, _ = next(entry for entry in KINDS if entry[2] == kind)
    return make(format, variant)


def check(y, x, weight, activation, bias=None):
    """y [..., M, N] against the formula, each element within what its sum may have lost."""
    y = torch.from_dlpack(y)
    assert y.dtype == x.dtype
    assert y.shape == (*x.shape[:-1], weight.shape[-2])
    w = values(weight) if activation == "int8" else native_values(weight, x.dtype)
    exact_x = x.float().numpy()
    exact_x = quantized(exact_x) if activation == "int8" else exact_x.astype(np.float64)
    expected = exact_x @ np.swapaxes(w, -1, -2)
    size = np.abs(exact_x) @ np.swapaxes(np.abs(w), -1, -2)
    # With int8 activations the parts of a group, codes and zero, are summed apart.
    size = size + np.abs(exact_x).sum(axis=-1, keepdims=True) * np.abs(w).max()
    if bias is not None:
        expected = expected + bias.double().numpy()
        size = size + bias.double().abs().numpy()
    error = np.abs(y.double().numpy() - expected)
    assert (error <= SUMS * size + ROUNDING[x.dtype] * np.abs(expected) + 1e-7).all()


def activations_of(kind) -> list[str]:
    return ["int8", "native"] if kind in INT8_TYPES else ["native"]


# --- matmul -----------------------------------------------------------------------------------


@kinds
@pytest.mark.parametrize("m", [0, 1, 2, 7, 33])
def test_matmul_follows_the_formula(format, variant, kind, m):
    weight = make(format, variant)
    for dtype in DTYPES:
        x = random(m, weight.shape[1], dtype=dtype)
        bias = random(weight.shape[0], seed=2, dtype=dtype)
        for activation in activations_of(kind):
            check(aotiny.matmul(x, weight, activation=activation), x, weight, activation)
            y = aotiny.matmul(x, weight, bias, activation=activation)
            check(y, x, weight, activation, bias)


@kinds
def test_large_weights_and_groups(format, variant, kind):
    group_size = {"int4_tile_packed": 128, "exact_int4": 32, "exact_int5": 32}.get(format, 64)
    weight = make(format, variant, 203, 1600 // 128 * 128, group_size=group_size)
    x = random(19, weight.shape[1])
    for activation in activations_of(kind):
        check(aotiny.matmul(x, weight, activation=activation), x, weight, activation)


@kinds
def test_the_default_is_int8_where_there_is_such_a_product(format, variant, kind):
    weight = make(format, variant)
    x = random(3, weight.shape[1])
    default = aotiny.matmul(x, weight).numpy()
    chosen = activations_of(kind)[0]
    assert np.array_equal(default, aotiny.matmul(x, weight, activation=chosen).numpy())
    if kind in INT8_TYPES:
        native = aotiny.matmul(x, weight, activation="native").numpy()
        assert not np.array_equal(default, native)
    else:
        with pytest.raises(aotiny.Error, match=f"{kind} with int8 activations: .*no product"):
            aotiny.matmul(x, weight, activation="int8")


@kinds
def test_matmul_takes_strides_and_any_rank(format, variant, kind):
    weight = make(format, variant)
    n, k = weight.shape
    for x in activations_of_any_layout(k):
        for activation in activations_of(kind):
            y = aotiny.matmul(x, weight, activation=activation)
            check(y, x, weight, activation)
            assert y.shape == (*x.shape[:-1], n)


@kinds
def test_weights_of_strided_planes(format, variant, kind):
    """A weight between others: every plane a view of a larger one, shared and not copied."""
    weight = make(format, variant)
    tensors = {}
    for name, tensor in weight.tensors().items():
        plane = torch.from_dlpack(tensor)
        room = torch.zeros([size + 4 for size in plane.shape[:2]] + list(plane.shape[2:]))
        view = room.to(plane.dtype)[2:-2, 3:-1]
        if name == "steps" and variant == "B":  # steps of a row lie together
            view = torch.zeros(len(plane) + 4, plane.shape[1]).to(plane.dtype)[2:-2]
        view.copy_(plane)
        tensors[name] = view
    strided = type(weight).from_tensors(group_size=weight.group_size, **tensors)
    for name, tensor in strided.tensors().items():
        assert tensor.data_ptr == tensors[name].data_ptr(), name
    assert strided == weight
    x = random(6, weight.shape[1])
    for activation in activations_of(kind):
        y = aotiny.matmul(x, strided, activation=activation).numpy()
        assert np.array_equal(y, aotiny.matmul(x, weight, activation=activation).numpy())
    every = np.arange(weight.shape[0])
    assert np.array_equal(
        aotiny.embedding(every, strided).numpy(), aotiny.embedding(every, weight).numpy()
    )


@kinds
def test_matmul_writes_to_out(format, variant, kind):
    weight = make(format, variant)
    n, k = weight.shape
    x = random(5, k)
    bias = random(n, seed=4)
    for activation in activations_of(kind):
        expected = aotiny.matmul(x, weight, bias, activation=activation).numpy()
        out = torch.full((5, n), float("nan"))
        assert aotiny.matmul(x, weight, bias, out, activation) is out
        assert np.array_equal(out.numpy(), expected)


@kinds
@pytest.mark.parametrize("dtype", DTYPES)
def test_matmul_writes_over_its_operands(format, variant, kind, dtype):
    weight = make(format, variant, 256, 256)
    for activation in activations_of(kind):
        memory = random(256, 256, dtype=dtype)
        expected = torch.from_dlpack(
            aotiny.matmul(memory, weight, memory[0].clone(), activation=activation)
        )
        aotiny.matmul(memory, weight, memory[0], memory, activation)
        assert torch.equal(memory, expected)


@kinds
def test_a_row_does_not_depend_on_the_others(format, variant, kind):
    weight = make(format, variant, 131, 640)
    x = random(50, weight.shape[1])
    for activation in activations_of(kind):
        batch = aotiny.matmul(x, weight, activation=activation).numpy()
        for begin, end in [(0, 1), (3, 5), (10, 26), (31, 50)]:
            part = aotiny.matmul(x[begin:end], weight, activation=activation).numpy()
            assert np.array_equal(part, batch[begin:end])


@kinds
def test_native_activations_that_are_not_finite(format, variant, kind):
    weight = make(format, variant)
    x = torch.ones(3, weight.shape[1])
    x[1, 40] = float("nan")
    x[2, 40] = float("inf")
    y = aotiny.matmul(x, weight, activation="native").numpy()
    assert np.isfinite(y[0]).all()
    assert np.isnan(y[1]).all()
    sign = np.sign(values(weight)[:, 40])
    assert np.array_equal(y[2][sign != 0], sign[sign != 0] * np.inf)


# --- stacks -----------------------------------------------------------------------------------


@kinds
@pytest.mark.parametrize("m", [0, 1, 7])
def test_bmm_multiplies_each_of_a_stack(format, variant, kind, m):
    stack = make(format, variant, 21, batch=3)
    for dtype in DTYPES:
        x = random(3, m, stack.shape[2], dtype=dtype)
        for activation in activations_of(kind):
            check(aotiny.bmm(x, stack, activation), x, stack, activation)
    chosen = activations_of(kind)[0]
    default = torch.from_dlpack(aotiny.bmm(x, stack))
    assert torch.equal(default, torch.from_dlpack(aotiny.bmm(x, stack, activation=chosen)))


@kinds
def test_bmm_takes_strides(format, variant, kind):
    stack = make(format, variant, 21, batch=3)
    k = stack.shape[2]
    for x in (
        random(4, 3, k).transpose(0, 1),
        random(3, k, 4).transpose(1, 2),
        random(1, 4, k).expand(3, 4, k),
        random(6, 8, k + 3)[::2, ::2, 1:-2],
    ):
        for activation in activations_of(kind):
            check(aotiny.bmm(x, stack, activation), x, stack, activation)


def test_stacks_and_single_weights_are_told_apart():
    single = aotiny.quantize(np.ones((8, 64), np.float32), "int8")
    stack = aotiny.quantize(np.ones((2, 8, 64), np.float32), "int8")
    x = np.ones((2, 3, 64), np.float32)
    with pytest.raises(aotiny.Error, match=r"\[2, 8, 64\]; a stack of weights takes bmm"):
        aotiny.matmul(x, stack)
    with pytest.raises(aotiny.Error, match=r"\[8, 64\]; a single weight takes matmul"):
        aotiny.bmm(x, single)
    with pytest.raises(aotiny.Error, match=r"embedding: .*\[2, 8, 64\]"):
        aotiny.embedding(np.zeros(3, np.int64), stack)
    for wrong in (x[:1], x[..., :32], x[0], np.ones((3, 3, 64), np.float32)):
        with pytest.raises(aotiny.Error, match=r"bmm: x has shape .*not \[B = 2, M, K = 64\]"):
            aotiny.bmm(wrong, stack)


# --- embedding --------------------------------------------------------------------------------


@kinds
def test_embedding_gathers_rows(format, variant, kind):
    weight = make(format, variant)
    n, k = weight.shape
    w = values(weight)
    indices = np.random.default_rng(5).integers(0, n, (4, 6))
    for dtype in DTYPES:
        name = str(dtype).removeprefix("torch.")
        for given in (indices, indices.astype(np.int32), indices.T, indices[1, 2], indices[:, :0]):
            y = torch.from_dlpack(aotiny.embedding(given, weight, name))
            assert y.dtype == dtype
            assert y.shape == (*given.shape, k)
            expected = torch.from_numpy(w[given])
            # Values are rounded to float32 once or twice, and then to the dtype.
            error = (y.double() - expected).abs()
            room = max(ROUNDING[dtype], 2**-24) * expected.abs() + 1e-7 * np.abs(w).max()
            assert (error <= room + (2**-25 if dtype == torch.float16 else 0)).all()
    whole = weight.dequantize().numpy()
    assert np.array_equal(aotiny.embedding(indices, weight).numpy(), whole[indices])


@kinds
def test_one_weight_serves_as_embedding_and_as_matmul(format, variant, kind):
    weight = make(format, variant)
    n = weight.shape[0]
    tokens = np.array([2, n - 1, 0])
    hidden = aotiny.embedding(tokens, weight)
    logits = aotiny.matmul(hidden, weight, activation="native").numpy()
    w = values(weight)
    np.testing.assert_allclose(logits, w[tokens] @ w.T, atol=1e-5)


def test_embedding_refuses_with_the_numbers():
    weight = aotiny.quantize(np.ones((8, 64), np.float32), "int8")
    for indices, text in [
        (np.array([0, 8]), r"index at \[1\] is 8, the weight has N = 8 rows"),
        (np.array([[0, 1], [-1, 2]]), r"index at \[1, 0\] is -1"),
        (np.array([[0, 1], [7, 2**40]]).T, r"index at \[1, 1\] is 1099511627776"),
        (np.array(-9, np.int32), r"index at \[\] is -9"),
        (np.array([1.0, 2.0]), "float64, not int64 or int32"),
        (np.array([1, 2], np.int16), "int16"),
        (np.array([True]), "bool"),
    ]:
        with pytest.raises(aotiny.Error, match=text):
            aotiny.embedding(indices, weight)
    for dtype in ("float64", "int8", "float33"):
        with pytest.raises(aotiny.Error, match=dtype):
            aotiny.embedding(np.array([1]), weight, dtype)


# --- operators of one type ----------------------------------------------------------------------


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("kind", TYPES)
def test_an_operator_takes_one_type_of_weight(name, kind):
    weight = of_type(kind)
    assert type(weight).__name__ == kind
    operator, taken = getattr(aotiny, name), OPERATORS[name]
    x = random(3, weight.shape[1])
    if kind != taken:
        with pytest.raises(TypeError, match=f"{name}: w is a {kind}, not a {taken}$"):
            operator(x, weight)
        return
    bias = random(weight.shape[0], seed=2)
    activation = "native" if kind == "Int4TilePacked" else "int8"
    check(operator(x, weight), x, weight, activation)
    check(operator(x, weight, bias), x, weight, activation, bias)
    check(operator(x=x, w=weight, bias=bias), x, weight, activation, bias)


@pytest.mark.parametrize("name", OPERATORS)
def test_an_operator_takes_every_variant_of_its_type(name):
    for format, variant, kind in KINDS:
        if kind != OPERATORS[name]:
            continue
        weight = make(format, variant)
        x = random(5, weight.shape[1], dtype=torch.bfloat16)
        check(getattr(aotiny, name)(x, weight), x, weight, activations_of(kind)[0])


@pytest.mark.parametrize("name", [*OPERATORS, "matmul", "bmm"])
@pytest.mark.parametrize("other", [None, 3, "int4", np.ones((8, 64), np.float32)])
def test_what_is_no_weight_is_a_type_error(name, other):
    with pytest.raises(TypeError):
        getattr(aotiny, name)(np.ones((3, 64), np.float32), other)


@pytest.mark.parametrize("name", OPERATORS)
def test_operators_refuse_what_matmul_refuses(name):
    weight = of_type(OPERATORS[name])
    n, k = weight.shape
    operator = getattr(aotiny, name)
    x = np.ones((3, k), np.float32)
    with pytest.raises(aotiny.Error, match=rf"\[3, {k - 1}\].*K = {k}"):
        operator(x[:, 1:], weight)
    with pytest.raises(aotiny.Error, match="x has dtype float64"):
        operator(x.astype(np.float64), weight)
    with pytest.raises(aotiny.Error, match=rf"bias has shape \[{n + 1}\], not \[{n}\]"):
        operator(x, weight, np.ones(n + 1, np.float32))
    with pytest.raises(TypeError, match="x"):
        operator("x", weight)


def test_an_unknown_activation_is_refused():
    weight = of_type("Int8")
    for call in (aotiny.matmul, aotiny.bmm):
        with pytest.raises(aotiny.Error, match='activation "int4" is neither "int8" nor "native"'):
            call(np.ones((1, weight.shape[1]), np.float32), weight, activation="int4")
