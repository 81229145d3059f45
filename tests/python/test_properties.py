"""What holds of every weight, for weights that hypothesis chooses."""

import itertools

import numpy as np
import pytest
import torch

import aotiny
import weight_formulas
from weight_kinds import KINDS, cut_of, dense, over

hypothesis = pytest.importorskip("hypothesis")
st = hypothesis.strategies

TYPES = {
    (format, variant): getattr(aotiny, name) for format, variant, name in weight_formulas.KINDS
}
LEVELS = {"int4": 15, "exact_int4": 15, "exact_int5": 31, "int6": 62, "int8": 255}

# Metadata of each kind: dtype, and what an element serves ("pair": scale and zero of a group).
CODES = {"scale": ("uint8", "group"), "min": ("uint8", "group")}
METADATA = {
    ("int4", "A"): {"scale": ("bfloat16", "group"), "zero": ("bfloat16", "group")},
    ("int4", "H"): {"scale": ("float16", "group"), "zero": ("float16", "group")},
    ("int4", "B"): {
        "scale": ("uint8", "group"), "zero": ("uint8", "group"), "steps": ("bfloat16", "row"),
    },
    ("int4", "C"): {
        "scale": ("uint8", "group"), "scale_step": ("float16", "super"),
        "zero": ("uint8", "group"), "zero_point_step": ("float16", "super"),
    },
    ("exact_int4", ""): {**CODES, "d": ("float16", "super"), "dmin": ("float16", "super")},
    ("exact_int5", ""): {**CODES, "d": ("float16", "super"), "dmin": ("float16", "super")},
    ("int6", "A"): {"scale": ("bfloat16", "group")},
    ("int6", "B"): {"scale": ("int8", "group"), "steps": ("bfloat16", "step")},
    ("int6", "C"): {"scale": ("int8", "group"), "steps": ("float16", "super")},
    ("int8", "A"): {"scale": ("bfloat16", "group"), "zero": ("int8", "group")},
    ("int8", "H"): {"scale": ("float16", "group"), "zero": ("int8", "group")},
    **{
        ("int4_plain", dtype): {"scale": (dtype, "first"), "zero_point": (dtype, "first")}
        for dtype in ("bfloat16", "float16", "float32")
    },
    **{
        ("int4_tile_packed", tiles): {"scales_and_zeros": ("bfloat16", "pair")}
        for tiles in ("2", "4", "8")
    },
}  # fmt: skip
NOTHING = ("zero", "zero_point", "min")  # 0 where all values shall be the codes


def every(max_examples: int, **strategies):
    """A test over what the strategies draw, the same in every run."""

    def decorate(test):
        settings = hypothesis.settings(
            max_examples=max_examples, deadline=None, derandomize=True, database=None,
            suppress_health_check=list(hypothesis.HealthCheck),
        )  # fmt: skip
        return settings(hypothesis.given(**strategies)(test))

    return decorate


def shape_of(kind, n: int, groups: int, power: int) -> tuple[int, int, int]:
    """(N, K, group size) of about `n` rows and `groups` groups, that the kind can hold."""
    group = 32 << power
    if kind[0].startswith("exact"):
        group = 32
    elif kind[0] == "int6":
        group = 16 << power
    elif kind[1] == "C":
        group = min(group, 256)
    rows, columns = cut_of(kind, group)
    return -(-n // rows) * rows, -(-group * groups // columns) * columns, group


SHAPE = {
    "n": st.integers(1, 20),
    "groups": st.integers(1, 12),
    "power": st.integers(0, 3),
    "seed": st.integers(0, 2**32 - 1),
}


# --- packing, written here from the drawings of the formats -------------------------------------


def nibbles(codes: np.ndarray) -> np.ndarray:
    return (codes[:, ::2] & 15 | (codes[:, 1::2] & 15) << 4).astype(np.uint8)


def high_bits(codes: np.ndarray, places, width: int, count: int) -> np.ndarray:
    """`count` bytes for every 32 codes; places(k) gives byte and bit of code k of them."""
    packed = np.zeros((len(codes), codes.shape[1] // 32, count), np.uint8)
    for k in range(32):
        byte, bit = places(k)
        packed[:, :, byte] |= ((codes[:, k::32] >> 4 & (1 << width) - 1) << bit).astype(np.uint8)
    return packed.reshape(len(codes), -1)


def tiles(codes: np.ndarray, inner: int) -> np.ndarray:
    """int32 [N/8, K/(16·t), 32, t/2]: one nibble after another."""
    n, k = codes.shape
    packed = np.zeros((n // 8, k // (16 * inner), 32, inner // 2), np.uint32)
    order = [0, 4, 1, 5, 2, 6, 3, 7]  # v0..v7 are at these nibbles of a word
    for lane in range(32):
        for word in range(inner // 2):
            for v in range(8):
                offset = 32 * word + 16 * (v // 4) + 2 * (lane % 4) + (0, 1, 8, 9)[v % 4]
                code = codes[lane // 4 :: 8, offset :: 16 * inner].astype(np.uint32)
                packed[:, :, lane, word] |= code << np.uint32(4 * order[v])
    return packed.view(np.int32)


def code_range(kind) -> tuple[int, int]:
    format = kind[0]
    if format == "int8":
        return -128, 127
    if format == "int6":
        return -32, 31
    if format in ("int4_plain", "int4_tile_packed"):
        return -8, 7
    return 0, 31 if format == "exact_int5" else 15


def pack(kind, codes: np.ndarray) -> dict[str, np.ndarray]:
    """The planes of codes [N, K]."""
    format, variant = kind
    if format == "int8":
        return {"qdata": codes.astype(np.int8)}
    if format == "int4_plain":
        return {"qdata": nibbles(codes).view(np.int8)}
    if format == "int4_tile_packed":
        return {"qdata": tiles(codes + 8, int(variant))}
    if format == "exact_int5":
        places = lambda k: (k % 8 // 2, k % 2 * 4 + k // 8)  # noqa: E731
        return {"ql": nibbles(codes), "qh": high_bits(codes, places, 1, 4)}
    if format == "int6":
        places = lambda k: (k % 2 * 4 + k // 8, k % 8 // 2 * 2)  # noqa: E731
        return {"ql": nibbles(codes + 32), "qh": high_bits(codes + 32, places, 2, 8)}
    return {"qdata": nibbles(codes)}


def weight_of(kind, codes: np.ndarray, group: int, fill):
    """A weight of codes [N, K] and metadata that fill(name, shape, dtype) makes as float64."""
    n, k = codes.shape
    shapes = {
        "group": (n, k // group), "first": (k // group, n), "pair": (k // group, n, 2),
        "row": (n, 2), "step": (n, 1), "super": (n, k // 256),
    }  # fmt: skip
    planes = {
        name: torch.from_numpy(fill(name, shapes[per], dtype)).to(getattr(torch, dtype))
        for name, (dtype, per) in METADATA[kind].items()
    }
    return TYPES[kind].from_tensors(group_size=group, **pack(kind, codes), **planes)


# --- the properties -----------------------------------------------------------------------------


def unit(name: str, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    filled = np.zeros(shape) if name in NOTHING else np.ones(shape)
    if name == "scales_and_zeros":
        filled[..., 1] = 0
    return filled


@over(KINDS)
@every(20, **SHAPE)
def test_every_code_is_read_back(kind, n, groups, power, seed):
    n, k, group = shape_of(kind, n, groups, power)
    low, high = code_range(kind)
    codes = np.random.default_rng(seed).integers(low, high, (n, k), endpoint=True)
    places = np.random.default_rng(seed).permutation(n * k)[: high - low + 1]
    codes.flat[places] = np.arange(low, high + 1)[: len(places)]  # each at least once
    weight = weight_of(kind, codes, group, unit)
    assert weight.shape == (n, k) and weight.variant == kind[1]
    np.testing.assert_array_equal(dense(weight), codes)


@over(KINDS)
@every(20, **SHAPE)
def test_dequantize_is_the_formula(kind, n, groups, power, seed):
    n, k, group = shape_of(kind, n, groups, power)
    rng = np.random.default_rng(seed)
    codes = rng.integers(*code_range(kind), (n, k), endpoint=True)

    def fill(name, shape, dtype):
        if dtype in ("int8", "uint8"):
            bounds = np.iinfo(dtype)
            return rng.integers(bounds.min, bounds.max, shape, endpoint=True).astype(np.float64)
        filled = rng.standard_normal(shape) * 2.0 ** rng.integers(-8, 4, shape)
        return abs(filled) + 2.0**-10 if "step" in name else filled

    weight = weight_of(kind, codes, group, fill)
    expected = weight_formulas.values(weight)
    # Two roundings in fp32, each relative to what is rounded: the result or, first, code·scale.
    first = abs(dense(weight)).max() + 8 * 64 if kind == ("int4_plain", "float32") else 0
    np.testing.assert_allclose(dense(weight), expected, rtol=2.0**-22, atol=first * 2.0**-24)


@over(KINDS)
@every(20, **SHAPE, exponent=st.integers(-12, 12), offset=st.sampled_from([0.0, 0.0, 1.0, -3.0]))
def test_quantization_errors_are_bounded(kind, n, groups, power, seed, exponent, offset):
    n, k, group = shape_of(kind, n, groups, power)
    values = np.random.default_rng(seed).standard_normal((n, k)) + offset
    values = (values * 2.0**exponent).astype(np.float32)
    weight = aotiny.quantize(values, kind[0], group, variant=kind[1])
    error = abs(dense(weight) - values).reshape(n, -1, group).max(axis=-1)
    by_group = values.reshape(n, -1, group)
    low, high = np.minimum(by_group.min(axis=-1), 0), np.maximum(by_group.max(axis=-1), 0)
    largest = np.maximum(-low, high)
    step = (2 * largest if kind[0] == "int6" else high - low) / LEVELS.get(kind[0], 15)
    # Codes are the nearest; metadata is rounded, to 8 bits of itself or of the row's largest.
    shared = 0.15 * step.max(axis=-1, keepdims=True) if kind[1] in ("B", "C", "") else 0
    assert (error <= step / 2 + shared + 2.0**-7 * largest).all()


@over(KINDS)
@every(12, **SHAPE, data=st.data())
def test_slices_join_to_the_whole(kind, n, groups, power, seed, data):
    n, k, group = shape_of(kind, n + 8, groups + 2, power)
    rng = np.random.default_rng(seed)
    stack = data.draw(st.booleans())
    shape = (3, n, k) if stack else (n, k)
    whole = aotiny.quantize(
        rng.standard_normal(shape).astype(np.float32), kind[0], group, variant=kind[1]
    )
    dim = data.draw(st.integers(0, len(shape) - 1))
    rows, columns = cut_of(kind, group)
    multiple = ((1, rows, columns) if stack else (rows, columns))[dim]
    places = st.integers(0, shape[dim] // multiple).map(lambda place: place * multiple)
    cuts = sorted({0, shape[dim], *data.draw(st.lists(places, max_size=4))})
    parts = [whole.slice(dim, a, b) for a, b in itertools.pairwise(cuts)]
    for part, expected in zip(parts, np.split(dense(whole), cuts[1:-1], axis=dim), strict=True):
        np.testing.assert_array_equal(dense(part), expected)
    assert aotiny.cat(parts, dim=dim) == whole
    assert aotiny.cat([part.clone() for part in parts], dim=dim) == whole
    if stack:
        assert aotiny.stack(list(whole)) == whole
    outside = data.draw(st.integers(1, shape[dim] - 1))
    if outside % multiple:
        with pytest.raises(aotiny.Error, match=f"{outside} goes through"):
            whole.slice(dim, 0, outside)
