"""aotiny.quantize, matmul and the weight types, against torch and numpy."""

import pickle

import numpy as np
import pytest
import torch

import aotiny
from aotiny import _core
from on_cuda import OnCuda

KINDS = [
    *(("int4", variant) for variant in "AHBC"),
    ("exact_int4", None),
    ("exact_int5", None),
    *(("int6", variant) for variant in "ABC"),
    *(("int8", variant) for variant in "AH"),
]
TYPES = {
    "int4": aotiny.CoalescedInt4,
    "exact_int4": aotiny.ExactInt4,
    "exact_int5": aotiny.ExactInt5,
    "int6": aotiny.PlanarInt6,
    "int8": aotiny.Int8,
}
LARGEST_ERROR = {"int4": 0.13, "exact_int4": 0.13, "exact_int5": 0.07, "int6": 0.04, "int8": 0.01}
kinds = pytest.mark.parametrize(
    ("format", "variant"), KINDS, ids=[format + (variant or "") for format, variant in KINDS]
)


def weight_values(n: int, k: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, k), dtype=np.float32) * 0.05


def k_for(format: str, variant: str | None, k: int) -> int:
    """The least K of at least k that the format can hold: some steps serve 256 weights."""
    return -(-k // 256) * 256 if variant == "C" or format[:5] == "exact" else k


def group_for(format: str, group_size: int) -> int:
    return 32 if format[:5] == "exact" else group_size


def torch_tensors(weight) -> dict[str, torch.Tensor]:
    return {name: torch.from_dlpack(tensor) for name, tensor in weight.tensors().items()}


def nibbles(bytes_: torch.Tensor) -> torch.Tensor:
    return torch.stack([bytes_ & 15, bytes_ >> 4], dim=-1).flatten(1)


def exact_codes(planes) -> torch.Tensor:
    if "qdata" in planes:
        return nibbles(planes["qdata"])
    # Bit 4·odd + word of byte j belongs to k = 8·word + 2·j + odd: [N, K/32, j, bit] to [.., k].
    fifth = (planes["qh"][..., None] >> torch.arange(8)) & 1
    fifth = fifth.unflatten(1, (-1, 4)).unflatten(-1, (2, 4))  # [N, K/32, j, odd, word]
    return nibbles(planes["ql"]) + 16 * fifth.permute(0, 1, 4, 2, 3).flatten(1)


def planar_codes(planes) -> torch.Tensor:
    # Bits 2·i of byte 4·odd + word belong to k = 8·word + 2·i + odd.
    high = (planes["qh"][..., None] >> torch.arange(0, 8, 2)) & 3
    high = high.unflatten(1, (-1, 2, 4))  # [N, K/32, odd, word, i]
    return nibbles(planes["ql"]).int() + 16 * high.permute(0, 1, 3, 4, 2).flatten(1) - 32


def torch_dequantize(weight) -> torch.Tensor:
    """The definition of the formats, from the packed tensors alone."""
    planes = torch_tensors(weight)
    if isinstance(weight, aotiny.ExactInt4 | aotiny.ExactInt5):
        scale, low = (
            planes[codes].double() * planes[step].double().repeat_interleave(8, 1)
            for codes, step in (("scale", "d"), ("min", "dmin"))
        )
        q = exact_codes(planes).unflatten(1, (-1, 32)).double()
        return (q * scale[..., None] - low[..., None]).flatten(1)
    if isinstance(weight, aotiny.PlanarInt6):
        scale = planes["scale"].double()
        if "steps" in planes:
            steps = planes["steps"].double()
            scale = scale * steps.repeat_interleave(scale.shape[1] // steps.shape[1], 1)
        return planar_codes(planes) * scale.repeat_interleave(weight.group_size, 1)
    scale, zero = planes["scale"].double(), planes["zero"].double()
    if "steps" in planes:
        scale = scale * planes["steps"][:, :1].double()
        zero = zero * planes["steps"][:, 1:].double()
    if "scale_step" in planes:
        per_step = 256 // weight.group_size
        scale = scale * planes["scale_step"].double().repeat_interleave(per_step, 1)
        zero = zero * planes["zero_point_step"].double().repeat_interleave(per_step, 1)
    q = planes["qdata"]
    if isinstance(weight, aotiny.CoalescedInt4):
        q = nibbles(q)
    q = q.double().reshape(q.shape[0], -1, weight.group_size)
    return ((q - zero[..., None]) * scale[..., None]).flatten(1)


def torch_matmul(x: torch.Tensor, weight) -> torch.Tensor:
    blocks = x.float().unflatten(-1, (-1, 32))
    d = blocks.abs().amax(-1, keepdim=True) / 127
    q = torch.where(d > 0, blocks / d, 0).round()
    return (q.double() * d.double()).flatten(-2) @ torch_dequantize(weight).T


def relative_error(actual, expected) -> float:
    actual, expected = (torch.as_tensor(a).double() for a in (actual, expected))
    return float((actual - expected).norm() / expected.norm())


@kinds
@pytest.mark.parametrize(("n", "k", "group_size"), [(1, 32, 32), (17, 96, 32), (40, 384, 128)])
def test_dequantize_follows_the_definition(format, variant, n, k, group_size):
    k, group_size = k_for(format, variant, k), group_for(format, group_size)
    values = weight_values(n, k)
    weight = aotiny.quantize(values, format, group_size, variant=variant)
    assert type(weight) is TYPES[format]
    assert weight.shape == (n, k)
    assert weight.group_size == group_size
    assert weight.device == "cpu"
    assert weight.variant == (variant or "")
    assert weight.nbytes == sum(t.nbytes for t in weight.tensors().values())
    assert weight.bits_per_weight == pytest.approx(weight.nbytes * 8 / (n * k))
    assert relative_error(weight.dequantize().numpy(), torch_dequantize(weight)) < 1e-7
    assert relative_error(weight.dequantize().numpy(), values) < LARGEST_ERROR[format]


@kinds
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("shape", [(), (1,), (3, 5), (2, 0)])
def test_matmul_matches_torch(format, variant, dtype, shape):
    k = k_for(format, variant, 96)
    weight = aotiny.quantize(weight_values(37, k), format, variant=variant)
    x = torch.randn((*shape, k), generator=torch.Generator().manual_seed(1)).to(dtype)
    bias = torch.randn(37, generator=torch.Generator().manual_seed(2)).to(dtype)
    tolerance = {torch.float32: 5e-7, torch.float16: 3e-4, torch.bfloat16: 2.5e-3}[dtype]
    for b in (None, bias):
        y = torch.from_dlpack(aotiny.matmul(x, weight, b))
        assert y.dtype == dtype
        assert y.shape == (*shape, 37)
        if y.numel():
            expected = torch_matmul(x, weight) + (0 if b is None else b.double())
            assert relative_error(y, expected) < tolerance


@kinds
def test_matmul_takes_strides_and_writes_to_out(format, variant):
    k = k_for(format, variant, 64)
    weight = aotiny.quantize(weight_values(20, k), format, variant=variant)
    base = torch.randn(k, 9, generator=torch.Generator().manual_seed(3))
    out = torch.full((9, 20), float("nan"))
    assert aotiny.matmul(base.T, weight, out=out) is out
    assert relative_error(out, torch_matmul(base.T, weight)) < 5e-7
    array = np.full((9, 20), np.nan, dtype=np.float32)
    aotiny.matmul(base.T.numpy(), weight, out=array)
    assert np.array_equal(array, out.numpy())


@kinds
def test_a_row_does_not_depend_on_the_others(format, variant):
    k = k_for(format, variant, 384)
    weight = aotiny.quantize(weight_values(65, k), format, variant=variant)
    x = np.random.default_rng(4).standard_normal((50, k), dtype=np.float32)
    batch = aotiny.matmul(x, weight).numpy()
    for begin, end in [(0, 1), (3, 5), (10, 26), (31, 50)]:
        assert np.array_equal(aotiny.matmul(x[begin:end], weight).numpy(), batch[begin:end])


@kinds
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_what_is_not_finite_passes_through_as_nan(format, variant, bad):
    k = k_for(format, variant, 64)
    weight = aotiny.quantize(weight_values(8, k), format, variant=variant)
    x = np.ones((3, k), dtype=np.float32)
    x[1, 40] = bad
    y = aotiny.matmul(x, weight).numpy()
    assert np.isnan(y[1]).all()
    assert np.isfinite(y[[0, 2]]).all()


@kinds
def test_tensors_rebuild_the_weight(format, variant):
    group = group_for(format, 64)
    weight = aotiny.quantize(
        weight_values(12, k_for(format, variant, 128)), format, group, variant=variant
    )
    cls = TYPES[format]
    shared = cls.from_tensors(**weight.tensors(), group_size=group)
    assert shared == weight
    for name, tensor in weight.tensors().items():
        assert shared.tensors()[name].data_ptr == tensor.data_ptr
    assert cls.from_tensors(**torch_tensors(weight), group_size=group) == weight
    transposed = {n: t.T.contiguous().T for n, t in torch_tensors(weight).items()}
    assert cls.from_tensors(**transposed, group_size=group) == weight


@kinds
def test_equality_and_pickling(format, variant):
    group = group_for(format, 64)
    values = weight_values(12, k_for(format, variant, 128))
    weight = aotiny.quantize(values, format, group, variant=variant)
    assert weight == aotiny.quantize(values, format, group, variant=variant)
    assert weight != aotiny.quantize(values + 0.01, format, group, variant=variant)
    if group != 32:
        assert weight != aotiny.quantize(values, format, 32, variant=variant)
    assert weight != "a string"
    loaded = pickle.loads(pickle.dumps(weight))
    assert type(loaded) is type(weight)
    assert loaded == weight
    with pytest.raises(aotiny.Error, match="bytes"):
        state = list(weight.__getstate__())
        state[4] = [b"short", *state[4][1:]]
        type(weight).__new__(type(weight)).__setstate__(tuple(state))


@pytest.mark.parametrize(
    ("part", "value", "text"),
    [
        (0, 3, "CoalescedInt4: .*wrong types: int str list int list bool"),
        (0, "Int8", 'Int8 has no variant "B"'),
        (1, "Z", 'no variant "Z"'),
        (2, (8.5, 64), "wrong types"),
        (2, (64,), r"shape \[64\]"),
        (2, (0, 8, 64), "stack of 0"),
        (2, (1 << 62, 64), "overflows"),
        (3, "a", "wrong types"),
        (3, -32, "group size -32"),
        (4, [1, 2, 3, 4], "wrong types"),
        (4, [b""], "1 tensors, not 4"),
        (5, "x", "wrong types"),
    ],
)
def test_pickles_are_not_trusted(part, value, text):
    weight = aotiny.quantize(weight_values(8, 64), "int4")
    state = list(weight.__getstate__())
    state[part] = value
    with pytest.raises(aotiny.Error, match=text):
        type(weight).__new__(type(weight)).__setstate__(tuple(state))


def test_pickled_metadata_is_looked_at():
    weight = aotiny.quantize(weight_values(8, 64), "int4", variant="A")
    state = list(weight.__getstate__())
    scale = bytearray(state[4][1])
    scale[6:8] = b"\xc0\x7f"  # a bfloat16 NaN
    state[4][1] = bytes(scale)
    with pytest.raises(aotiny.Error, match=r"scale at \[1, 1\] is nan"):
        type(weight).__new__(type(weight)).__setstate__(tuple(state))


def test_weights_on_a_gpu_are_not_pickled():
    planes = [OnCuda([8, 64], "int8"), OnCuda([8, 2], "bfloat16"), OnCuda([8, 2], "int8")]
    weight = _core.weight_of_planes("Int8", "A", planes, 32)
    with pytest.raises(
        aotiny.Error, match="only weights on the CPU are pickled, this is on cuda:0"
    ):
        pickle.dumps(weight)


def test_repr_names_format_shape_and_size():
    weight = aotiny.quantize(weight_values(8, 384), "int4", variant="A")
    assert repr(weight) == (
        "aotiny.CoalescedInt4(shape=[8, 384], group_size=32, variant='A', 5 bits a weight)"
    )
    assert repr(aotiny.quantize(weight_values(8, 512), "int4", 128, variant="C")) == (
        "aotiny.CoalescedInt4(shape=[8, 512], group_size=128, variant='C', 4.25 bits a weight)"
    )
    assert repr(aotiny.quantize(weight_values(8, 512), "exact_int4")) == (
        "aotiny.ExactInt4(shape=[8, 512], group_size=32, 4.625 bits a weight)"
    )
    assert repr(aotiny.quantize(weight_values(8, 384), "int8")) == (
        "aotiny.Int8(shape=[8, 384], group_size=32, variant='A', 8.75 bits a weight)"
    )


def test_repr_of_six_and_five_bits():
    assert repr(aotiny.quantize(weight_values(8, 512), "int6", variant="C")) == (
        "aotiny.PlanarInt6(shape=[8, 512], group_size=16, variant='C', 6.562 bits a weight)"
    )
    assert repr(aotiny.quantize(weight_values(8, 512), "exact_int5")) == (
        "aotiny.ExactInt5(shape=[8, 512], group_size=32, 5.625 bits a weight)"
    )


def test_the_default_variants_and_group_sizes():
    for format, variant, group_size in [
        ("int4", "B", 32),
        ("exact_int4", "", 32),
        ("exact_int5", "", 32),
        ("int6", "B", 16),
        ("int8", "A", 32),
    ]:
        weight = aotiny.quantize(weight_values(4, 256), format)
        assert (weight.variant, weight.group_size) == (variant, group_size)


@pytest.mark.parametrize("variant", "ABC")
@pytest.mark.parametrize("group_size", [16, 48, 64, 112])
def test_groups_of_six_bits_may_be_half_blocks(variant, group_size):
    if variant == "C" and 256 % group_size:
        pytest.skip("C has groups that divide 256")
    k = 256 if variant == "C" else 2 * group_size * 3
    weight = aotiny.quantize(weight_values(37, k), "int6", group_size, variant=variant)
    assert relative_error(weight.dequantize().numpy(), torch_dequantize(weight)) == 0
    for m in (1, 9, 40):
        x = torch.randn((m, k), generator=torch.Generator().manual_seed(6))
        assert relative_error(aotiny.matmul(x, weight), torch_matmul(x, weight)) < 5e-7


@kinds
def test_quantize_reads_strides_and_16_bit_floats(format, variant):
    values = torch.from_numpy(weight_values(k_for(format, variant, 96), 20)).T
    expected = aotiny.quantize(values.contiguous(), format, variant=variant)
    assert aotiny.quantize(values, format, variant=variant) == expected
    for dtype in (torch.float16, torch.bfloat16):
        narrow = values.to(dtype)
        assert aotiny.quantize(narrow, format, variant=variant) == aotiny.quantize(
            narrow.float(), format, variant=variant
        )


@pytest.mark.parametrize(
    ("array", "arguments", "text"),
    [
        (np.zeros((4, 96), np.float32), {"group_size": 64}, "K = 96 is not a multiple"),
        (np.zeros((4, 80), np.float32), {"group_size": 40}, "group size 40"),
        (np.zeros((0, 64), np.float32), {}, r"\[0, 64\]"),
        (np.zeros((4, 0), np.float32), {}, r"\[4, 0\]"),
        (np.zeros(64, np.float32), {}, "not 1 .shape"),
        (np.zeros((4, 64), np.float64), {}, "float64"),
        (np.zeros((4, 64), np.int8), {}, "int8"),
        (np.full((4, 64), np.inf, np.float32), {}, r"\[0, 0\] is inf"),
        (np.zeros((4, 64), np.float32), {"format": "int5"}, "int5"),
        (np.zeros((4, 64), np.float32), {"variant": "Z"}, "Z"),
        (np.zeros((4, 384), np.float32), {"variant": "C"}, "K = 384 is not a multiple of 256"),
        (
            np.zeros((4, 512), np.float32),
            {"variant": "C", "group_size": 512},
            "group size 512 does not divide 256",
        ),
        (
            np.zeros((4, 256), np.float32),
            {"format": "exact_int4", "group_size": 64},
            "group size 64 is not 32",
        ),
        (np.zeros((4, 96), np.float32), {"format": "int6", "group_size": 24}, "group size 24"),
        (np.zeros((4, 48), np.float32), {"format": "int6"}, "K = 48 is not a multiple of 32"),
        (np.full((4, 256), 3e8, np.float32), {"format": "int6", "variant": "C"}, "2.57"),
        (np.zeros((4, 128), np.float32), {"format": "exact_int4"}, "K = 128 is not a multiple"),
        (np.full((4, 256), 2e7, np.float32), {"variant": "C"}, "2e.07.*magnitudes up to 1.67"),
        (np.zeros((4, 64), np.float32), {"method": "magic"}, "magic"),
    ],
)
def test_quantize_refuses_with_the_numbers(array, arguments, text):
    with pytest.raises(aotiny.Error, match=text):
        aotiny.quantize(array, **{"format": "int4", **arguments})


def test_quantize_names_the_first_nan():
    values = weight_values(50, 64)
    values[31, 7] = values[40, 2] = np.nan
    with pytest.raises(aotiny.Error, match=r"\[31, 7\] is nan"):
        aotiny.quantize(values, "int8")


def test_matmul_refuses_with_the_numbers():
    weight = aotiny.quantize(weight_values(8, 64), "int8")
    x = np.ones((3, 64), np.float32)
    for arguments, text in [
        ({"x": x[:, :32]}, r"\[3, 32\].*K = 64"),
        ({"x": x.astype(np.float64)}, "float64"),
        ({"x": np.float32(1)}, r"\[\]"),
        ({"bias": np.ones(7, np.float32)}, r"bias has shape \[7\], not \[8\]"),
        ({"bias": np.ones(8, np.int32)}, "bias has dtype int32"),
        ({"out": np.ones((3, 7), np.float32)}, r"out has shape \[3, 7\], not \[3, 8\]"),
        ({"out": np.ones((3, 8), np.float16)}, "out has dtype float16"),
        ({"out": np.ones((8, 3), np.float32).T}, "not contiguous"),
    ]:
        with pytest.raises(aotiny.Error, match=text):
            aotiny.matmul(**{"x": x, "w": weight, **arguments})
    readonly = np.ones((3, 8), np.float32)
    readonly.flags.writeable = False
    with pytest.raises((aotiny.Error, BufferError), match=r"read-?only"):
        aotiny.matmul(x, weight, out=readonly)


def test_weights_are_immutable():
    weight = aotiny.quantize(weight_values(8, 64), "int8")
    for tensor in weight.tensors().values():
        assert tensor.readonly
        with pytest.raises(aotiny.Error, match="read-only"):
            tensor.copy_(tensor.clone())


def test_matmul_writes_over_its_operands():
    weight = aotiny.quantize(weight_values(4096, 4096), "int8")
    memory = np.random.default_rng(3).standard_normal((200, 4096)).astype(np.float32)
    bias = memory[0].copy()
    expected = aotiny.matmul(memory, weight, bias=bias).numpy()
    aotiny.matmul(memory, weight, bias=memory[0], out=memory)
    np.testing.assert_array_equal(memory, expected)


def test_planes_at_odd_addresses_are_copied():
    weight = aotiny.quantize(weight_values(8, 64), "int4", variant="H")
    planes = {}
    for name, plane in weight.tensors().items():
        array = plane.numpy()
        memory = bytearray(b"x") + array.tobytes()
        planes[name] = np.frombuffer(memory, array.dtype, offset=1).reshape(array.shape)
        assert array.itemsize == 1 or not planes[name].flags.aligned
    again = aotiny.CoalescedInt4.from_tensors(**planes, group_size=32)
    assert again == weight
    assert again.tensors()["scale"].data_ptr % 2 == 0


def test_another_type_of_weight_is_a_type_error():
    x = np.ones((3, 64), np.float32)
    for weight in (x, torch.ones(8, 64), None, "int4"):
        with pytest.raises(TypeError, match=r"matmul: w is a \w+, not a weight"):
            aotiny.matmul(x, weight)


def test_a_weight_is_of_one_type():
    int4 = aotiny.quantize(weight_values(8, 64), "int4")
    int8 = aotiny.quantize(weight_values(8, 64), "int8")
    exact = aotiny.quantize(weight_values(8, 256), "exact_int4")
    with pytest.raises(aotiny.Error, match="dmin"):
        aotiny.CoalescedInt4.from_tensors(**exact.tensors(), group_size=32)
    with pytest.raises(aotiny.Error, match="ExactInt4 has no variant with the tensors"):
        aotiny.ExactInt4.from_tensors(
            **aotiny.quantize(weight_values(8, 256), "int4", variant="C").tensors(), group_size=32
        )
    with pytest.raises(aotiny.Error, match="steps"):
        aotiny.Int8.from_tensors(**int4.tensors(), group_size=32)
    with pytest.raises(aotiny.Error, match="qdata has dtype int8, not uint8"):
        aotiny.CoalescedInt4.from_tensors(**int8.tensors(), group_size=32)
    with pytest.raises(aotiny.Error, match="group size 64"):
        aotiny.Int8.from_tensors(**int8.tensors(), group_size=64)
