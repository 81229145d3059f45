"""topk, sort, cumsum, cumprod and nonzero: libaotiny against libtorch."""

from functools import cache

import pytest

torch = pytest.importorskip("torch")

from shim import ShimError, aotiny_shim, torch_shim  # noqa: E402

INVALID_ARGUMENT, INVALID_TYPE = 0x12, 0x13

FLOATS = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
INTEGERS = [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64]
UNSIGNED = [torch.uint16, torch.uint32, torch.uint64]
NAN, INF = float("nan"), float("inf")


def samples(shape, dtype, seed=0):
    """Values with many ties; NaN, infinities and both zeros among the floats."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randint(0, 9, shape, generator=generator)
    if dtype not in FLOATS:
        return values.to(torch.int64).to(dtype)
    table = torch.tensor([NAN, INF, -INF, 0.0, -0.0, 1.5, -1.5, 2.0, 0.25])
    return table[values].to(dtype)


@cache
def layouts(dtype):
    """The same kind of values with different strides; the dimension of size 37 is always there."""
    base = samples((5, 37, 6), dtype)
    return {
        "contiguous": base,
        "transposed": base.transpose(0, 2),
        "sliced": samples((10, 37, 13), dtype, 1)[1::2, :, 3:11:2],
        "sliced transposed": samples((8, 74, 6), dtype, 2)[:5, ::2].permute(2, 1, 0),
        "broadcast": samples((1, 37, 1), dtype, 3).expand(3, 37, 4),
        "broadcast sorted": samples((37, 4), dtype, 4).expand(3, 37, 4),
        "one dimension": samples((37,), dtype, 5),
        "one element": samples((1, 1), dtype, 6),
        "0-d": samples((), dtype, 7),
        "no rows": samples((0, 37), dtype),
        "empty rows": samples((3, 0), dtype),
        "many rows": samples((300, 130), dtype, 8),
        "long row": samples((2, 40001), dtype, 9),
    }


LAYOUTS = list(layouts(torch.int64))


def same_bits(a, b):
    """Equal dtype, shape, strides and elements, NaN included."""
    assert (a.dtype, a.shape, a.stride()) == (b.dtype, b.shape, b.stride())
    # Not all operations exist for the wide unsigned dtypes.
    if a.dtype in UNSIGNED:
        assert a.tolist() == b.tolist()
    else:
        assert torch.equal(torch.nan_to_num(a, 77.0), torch.nan_to_num(b, 77.0))
        assert torch.equal(a != a, b != b)


def dims_of(x):
    return range(-x.ndim, x.ndim) if x.ndim else [0, -1]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [*FLOATS, *INTEGERS, torch.bool, *UNSIGNED], ids=str)
@pytest.mark.parametrize("descending", [0, 1])
def test_sort(layout, dtype, descending):
    x = layouts(dtype)[layout]
    for dim in dims_of(x):
        ours = aotiny_shim().call("aoti_torch_cpu_sort_stable", x, 1, dim, descending)
        theirs = torch_shim().call("aoti_torch_cpu_sort_stable", x, 1, dim, descending)
        same_bits(ours[0], theirs[0])
        same_bits(ours[1], theirs[1])


def test_sort_without_a_stable_argument():
    x = torch.tensor([1, 0, 1, 0])
    values, indices = aotiny_shim().call("aoti_torch_cpu_sort_stable", x, None, 0, 1)
    assert (values.tolist(), indices.tolist()) == ([1, 1, 0, 0], [0, 2, 1, 3])


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [*FLOATS, *INTEGERS], ids=str)
@pytest.mark.parametrize("largest", [0, 1])
def test_topk(layout, dtype, largest):
    x = layouts(dtype)[layout]
    for dim in dims_of(x):
        length = x.shape[dim] if x.ndim else 1
        for k in sorted({0, 1, 3, length // 2, length}):
            if k > length:
                continue
            values, indices = aotiny_shim().call("aoti_torch_cpu_topk", x, k, dim, largest, 1)
            expected = torch_shim().call("aoti_torch_cpu_topk", x, k, dim, largest, 1)
            same_bits(values, expected[0])
            assert indices.stride() == expected[1].stride()
            # Torch leaves open which of equal elements it takes; here it is the first of them.
            order = torch_shim().call("aoti_torch_cpu_sort_stable", x, 1, dim, largest)[1]
            assert torch.equal(indices, order.narrow(dim, 0, k) if x.ndim else order)


def test_topk_unsorted_has_the_same_elements_every_time():
    x = torch.randn(7, 1000, generator=torch.Generator().manual_seed(0))
    first = aotiny_shim().call("aoti_torch_cpu_topk", x, 20, 1, 1, 0)
    again = aotiny_shim().call("aoti_torch_cpu_topk", x, 20, 1, 1, 0)
    assert torch.equal(first[1], again[1])
    assert torch.equal(first[0].sort(descending=True)[0], x.topk(20).values)


@pytest.mark.parametrize(
    "x, k, dim, text",
    [
        (torch.zeros(3, 4), 5, 1, r"k 5 .*0\.\.4.*dimension 1"),
        (torch.zeros(3, 4), -1, 1, r"k -1 .*0\.\.4"),
        (torch.zeros(3, 4), 2, 2, r"dimension 2 is outside -2\.\.1"),
        (torch.zeros(()), 2, 0, r"k 2 .*0\.\.1"),
        (torch.zeros(3, 0), 1, 1, r"k 1 .*0\.\.0"),
    ],
)
def test_topk_refuses(x, k, dim, text):
    with pytest.raises(ShimError, match=text) as error:
        aotiny_shim().call("aoti_torch_cpu_topk", x, k, dim, 1, 1)
    assert error.value.code == INVALID_ARGUMENT
    with pytest.raises(ShimError):
        torch_shim().call("aoti_torch_cpu_topk", x, k, dim, 1, 1)


@pytest.mark.parametrize("name", ["cumsum", "cumprod"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [*FLOATS, *INTEGERS, torch.bool, *UNSIGNED], ids=str)
def test_scans(name, layout, dtype):
    x = layouts(dtype)[layout]
    for dim in dims_of(x):
        ours = aotiny_shim().call(f"aoti_torch_cpu_{name}", x, dim, None)
        theirs = torch_shim().call(f"aoti_torch_cpu_{name}", x, dim, None)
        same_bits(ours, theirs)


@pytest.mark.parametrize("name", ["cumsum", "cumprod"])
@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_scans_accumulate_as_torch_does(name, dtype):
    generator = torch.Generator().manual_seed(1)
    x = (1 + 0.1 * torch.randn(11, 501, generator=generator, dtype=torch.float64)).to(dtype)
    for dim in 0, 1:
        ours = aotiny_shim().call(f"aoti_torch_cpu_{name}", x, dim, None)
        same_bits(ours, torch_shim().call(f"aoti_torch_cpu_{name}", x, dim, None))


@pytest.mark.parametrize("name", ["cumsum", "cumprod"])
@pytest.mark.parametrize("source", [*FLOATS, *INTEGERS, torch.bool], ids=str)
@pytest.mark.parametrize("result", [*FLOATS, *INTEGERS], ids=str)
def test_scans_into_another_dtype(name, source, result):
    generator = torch.Generator().manual_seed(2)
    x = (torch.rand(4, 9, generator=generator) * 3).to(source).t()
    ours = aotiny_shim().call(f"aoti_torch_cpu_{name}", x, 0, result)
    same_bits(ours, torch_shim().call(f"aoti_torch_cpu_{name}", x, 0, result))


def test_scans_refuse():
    for name in "aoti_torch_cpu_cumsum", "aoti_torch_cpu_cumprod":
        with pytest.raises(ShimError, match=r"dimension 1 is outside -1\.\.0") as error:
            aotiny_shim().call(name, torch.zeros(3), 1, None)
        assert error.value.code == INVALID_ARGUMENT
        with pytest.raises(ShimError, match="bool") as error:
            aotiny_shim().call(name, torch.zeros(3), 0, torch.bool)
        assert error.value.code == INVALID_TYPE
        with pytest.raises(ShimError) as error:
            aotiny_shim().call(name, torch.zeros(3, dtype=torch.complex64), 0, None)
        assert error.value.code == INVALID_TYPE


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [*FLOATS, *INTEGERS, torch.bool], ids=str)
def test_nonzero(layout, dtype):
    x = layouts(dtype)[layout]
    same_bits(
        aotiny_shim().call("aoti_torch_cpu_nonzero", x),
        torch_shim().call("aoti_torch_cpu_nonzero", x),
    )


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_nonzero_of_equal_elements(value):
    for shape in (3, 100000), (), (1,), (2, 3, 1, 4):
        x = torch.full(shape, value)
        same_bits(
            aotiny_shim().call("aoti_torch_cpu_nonzero", x),
            torch_shim().call("aoti_torch_cpu_nonzero", x),
        )
