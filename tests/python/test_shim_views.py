"""Creation, views, copies and scalars: the same calls on libaotiny and on libtorch."""

import itertools
import random

import pytest

torch = pytest.importorskip("torch")

from shim import ShimError, aotiny_shim, torch_shim  # noqa: E402

INVALID_ARGUMENT = 0x12


def described(handle):
    """All that a handle says of itself, and its elements."""
    return (
        handle.sizes,
        handle.strides,
        handle.dtype,
        handle.get("storage_offset"),
        handle.get("storage_size"),
        handle.tensor().tolist(),
    )


def both(name, *arguments):
    """The results of libaotiny and libtorch; the arguments are copied for each of them."""
    return [shim.handles(name, *arguments) for shim in (aotiny_shim(), torch_shim())]


def random_view(generator, dtype=torch.float32):
    """A permuted, sliced and perhaps broadcast view."""
    ndim = generator.randint(0, 5)
    base = torch.arange(4**ndim).reshape([4] * ndim).to(dtype)
    view = base.permute(generator.sample(range(ndim), ndim))
    for d in range(ndim):
        start = generator.randint(0, 3)
        view = view.narrow(d, start, generator.randint(1, 4 - start))
        if generator.random() < 0.2:
            view = view.narrow(d, 0, 1).expand([3 if i == d else -1 for i in range(ndim)])
    return view


@pytest.mark.parametrize("seed", range(60))
@pytest.mark.parametrize("name", ["clone", "clone_preserve_strides", "new_tensor_handle"])
def test_handles_of_views(name, seed):
    view = random_view(random.Random(seed))
    ours, theirs = both(f"aoti_torch_{name}", view)
    assert described(ours) == described(theirs)


@pytest.mark.parametrize("name", ["clone", "clone_preserve_strides"])
@pytest.mark.parametrize("shape", [(0,), (3, 0, 2), (0, 4)])
def test_clones_of_empty_tensors(name, shape):
    ours, theirs = both(f"aoti_torch_{name}", torch.empty(shape).transpose(0, -1))
    assert (ours.sizes, ours.strides) == (theirs.sizes, theirs.strides)


def test_parts_of_a_pool():
    pool = torch.arange(256, dtype=torch.uint8)
    for dtype, offset in (torch.float32, 64), (torch.int16, 128), (torch.uint8, 3):
        code = aotiny_shim().dtype_codes[dtype]
        ours, theirs = both("aoti_torch__alloc_from_pool", pool, offset, code, 2, [3, 4], [5, 1])
        assert described(ours) == described(theirs)


def test_reinterpret_adds_to_the_offset_and_as_strided_keeps_it():
    view = torch.arange(24.0).view(4, 6)[1:, 2:]
    ours, theirs = both("aoti_torch__reinterpret_tensor", view, 2, [2, 2], [3, 1], 4)
    assert described(ours) == described(theirs)
    assert ours.get("storage_offset") == view.storage_offset() + 4
    ours, theirs = both("aoti_torch_as_strided", view, [2, 2], [1, 0])
    assert described(ours) == described(theirs)
    assert ours.get("storage_offset") == view.storage_offset()


def test_views_outside_the_storage_are_refused():
    view = torch.arange(24.0).view(4, 6)
    for sizes, strides, offset in ([25], [1], 0), ([24], [1], 1), ([2], [1], -1), ([2], [-1], 3):
        with pytest.raises(ShimError) as error:
            aotiny_shim().handles("aoti_torch__reinterpret_tensor", view, 1, sizes, strides, offset)
        assert error.value.code == INVALID_ARGUMENT


NUMBER_DTYPES = [
    torch.uint8,
    torch.int8,
    torch.int16,
    torch.int32,
    torch.int64,
    torch.float16,
    torch.float32,
    torch.float64,
    torch.bool,
    torch.bfloat16,
]


@pytest.mark.parametrize(
    "to, source", list(itertools.product(NUMBER_DTYPES, NUMBER_DTYPES)), ids=str
)
def test_copies_convert(to, source):
    values = torch.tensor([0.0, 1.0, 2.5, 100.7, 3.99], dtype=torch.float64).to(source)
    for name in "copy_", "tensor_copy_":
        results = []
        for shim in aotiny_shim(), torch_shim():
            target = torch.full((3, 10), 7).to(to)[:, ::2]
            if name == "copy_":
                shim.call("aoti_torch_copy_", target, values, 0)
            else:
                shim.call("aoti_torch_tensor_copy_", values, target)
            results.append(target)
        assert torch.equal(*results)


def test_copies_of_other_dtypes_move_bytes():
    for dtype in torch.complex64, torch.complex128, torch.float8_e4m3fn, torch.uint64:
        source = torch.arange(6).to(dtype).view(2, 3).t()
        target = torch.zeros(3, 2, dtype=dtype)
        aotiny_shim().call("aoti_torch_copy_", target, source, 0)
        assert target.tolist() == source.tolist()


def test_copy_broadcasts_and_refuses_what_does_not():
    target = torch.zeros(2, 3)
    aotiny_shim().call("aoti_torch_copy_", target, torch.tensor([[5.0], [6.0]]), 0)
    assert target.tolist() == [[5, 5, 5], [6, 6, 6]]
    with pytest.raises(ShimError, match=r"\[2\].*\[2, 3\]"):
        aotiny_shim().call("aoti_torch_copy_", target, torch.zeros(2), 0)


@pytest.mark.parametrize("dtype", [*NUMBER_DTYPES, torch.complex64, torch.float8_e5m2], ids=str)
def test_zero_touches_the_view_alone(dtype):
    base = torch.full((4, 6), 3.0).to(dtype)
    aotiny_shim().call("aoti_torch_zero_", base[1:3, ::2])
    expected = torch.full((4, 6), 3.0).to(dtype)
    expected[1:3, ::2] = 0
    assert torch.equal(base.view(torch.uint8), expected.view(torch.uint8))


ITEMS = {
    "float32": -2.5,
    "float64": 1e300,
    "uint8": 255,
    "uint16": 65535,
    "uint32": 2**32 - 1,
    "uint64": 2**64 - 1,
    "int8": -128,
    "int16": -32768,
    "int32": -(2**31),
    "int64": -(2**63),
    "bool": True,
}


@pytest.mark.parametrize("name", ITEMS)
def test_items_and_scalars(name):
    value, dtype = ITEMS[name], getattr(torch, name)
    for shim in aotiny_shim(), torch_shim():
        scalar = shim.handles(f"aoti_torch_scalar_to_tensor_{name}", value)
        assert (scalar.sizes, scalar.dtype) == ((), dtype)
        assert shim.call(f"aoti_torch_item_{name}", scalar) == value
        assert shim.call(f"aoti_torch_item_{name}", scalar.tensor().reshape(1, 1)) == value


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_items_of_16_bit_floats_are_their_bits(dtype):
    tensor = torch.tensor(-2.5, dtype=dtype)
    name = f"aoti_torch_item_{str(dtype).removeprefix('torch.')}"
    bits = tensor.view(torch.int16).item() & 0xFFFF
    assert aotiny_shim().call(name, tensor) == torch_shim().call(name, tensor) == bits


@pytest.mark.parametrize("name", ["int8", "uint8", "int32", "int64", "float32", "bool"])
@pytest.mark.parametrize(
    "value",
    [torch.tensor(v) for v in (0, 1, -1, 127, 128, -129, 1 << 40, 0.5, -2.9, 127.9, 1e300, True)]
    + [torch.tensor(v, dtype=torch.float64) for v in (float("inf"), 1e300, 2.0**63)]
    + [torch.tensor(-2.5, dtype=torch.bfloat16), torch.tensor(300.0, dtype=torch.float16)],
    ids=repr,
)
def test_item_converts_as_torch_does(name, value):
    def item(shim):
        try:
            return shim.call(f"aoti_torch_item_{name}", value)
        except ShimError:
            return "refused"

    ours, theirs = item(aotiny_shim()), item(torch_shim())
    wraps = (name == "uint8" and value.item() < 0) or (name == "int64" and value.item() == 2.0**63)
    # Where torch wraps around, aotiny refuses: no answer is better than a wrong one.
    assert ours == ("refused" if wraps else theirs)


def test_item_refuses_counts_but_one():
    with pytest.raises(ShimError, match="2 elements") as error:
        aotiny_shim().call("aoti_torch_item_float32", torch.zeros(2))
    assert error.value.code == INVALID_ARGUMENT


def test_assignment_shares_storage():
    for shim in aotiny_shim(), torch_shim():
        source = shim.handle(torch.arange(6.0).view(2, 3))
        target = shim.handle(torch.zeros(1))
        shim.call("aoti_torch_assign_tensors", source, target)
        assert target.sizes == (2, 3)
        alias = shim.handles("aoti_torch_assign_tensors_out", source)
        shim.call("aoti_torch_zero_", alias)
        assert target.get("data_ptr") == alias.get("data_ptr") == source.get("data_ptr")
        assert target.tensor().sum() == 0
