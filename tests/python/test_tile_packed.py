"""Int4TilePacked against torch's tinygemm: its packer and product on a GPU, whose results
data/make_tile_packed.py keeps in data/tile_packed.npz, and its CPU op on the same codes."""

from pathlib import Path

import numpy as np
import pytest
import torch

import aotiny
from weight_formulas import native_values, pack_tiles, values

DATA = np.load(Path(__file__).parents[1] / "data/tile_packed.npz")
CASES = sorted({name.partition(".")[0] for name in DATA.files})


def bfloat16(bits: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(bits.view(np.int16)).view(torch.bfloat16)


class Case:
    def __init__(self, name: str):
        self.codes = DATA[f"{name}.codes"]
        self.packed = torch.from_numpy(DATA[f"{name}.packed"])
        self.pairs, self.x, self.y = (
            bfloat16(DATA[f"{name}.{part}"]) for part in ("pairs", "x", "y")
        )
        self.group_size = int(name.partition("_g")[2])

    def weight(self):
        return aotiny.Int4TilePacked.from_tensors(
            qdata=self.packed, scales_and_zeros=self.pairs, group_size=self.group_size
        )

    def scale_and_zero(self) -> tuple[np.ndarray, np.ndarray]:
        """Of every code, float64 [N, K]."""
        pairs = self.pairs.double().numpy().repeat(self.group_size, axis=0)
        return pairs[..., 0].T, pairs[..., 1].T

    def values(self) -> np.ndarray:
        scale, zero = self.scale_and_zero()
        return (self.codes.astype(np.float64) - 8) * scale + zero


cases = pytest.mark.parametrize("case", [Case(name) for name in CASES], ids=CASES)


def distance_in_ulps(actual: torch.Tensor, expected: np.ndarray) -> float:
    """The largest distance in units of bfloat16's last place (2^-7 of a value's power of two)."""
    unit = np.exp2(np.floor(np.log2(np.abs(expected))) - 7)
    return float((np.abs(actual.double().numpy() - expected) / unit).max())


def test_the_data_has_every_packing_and_group_size():
    kinds = {(Case(name).packed.shape[3] * 2, Case(name).group_size) for name in CASES}
    assert kinds == {(t, g) for t in (2, 4, 8) for g in (32, 64, 128, 256)}


@cases
def test_we_read_the_codes_that_torch_packed(case):
    weight = case.weight()
    assert weight.shape == case.codes.shape
    # Products of 4-bit and bfloat16 numbers are exact in float32, so a value is rounded once.
    np.testing.assert_array_equal(weight.dequantize().numpy(), case.values().astype(np.float32))


@cases
def test_we_pack_as_torch_does_byte_for_byte(case):
    # The same codes in the plain layout, low nibble first, brought into the tile-packed one.
    codes = ((case.codes ^ 8) & 15).reshape(len(case.codes), -1, 2)
    plain = aotiny.Int4Plain.from_tensors(
        qdata=(codes[..., 0] | codes[..., 1] << 4).view(np.int8),
        scale=case.pairs[..., 0].contiguous(),
        zero_point=case.pairs[..., 1].contiguous(),
        group_size=case.group_size,
    )
    tiles = aotiny.convert(plain, "Int4TilePacked", str(case.packed.shape[3] * 2)).tensors()
    assert torch.equal(torch.from_dlpack(tiles["qdata"]), case.packed)
    assert torch.equal(torch.from_dlpack(tiles["scales_and_zeros"]), case.pairs)


@cases
def test_pack_tiles_takes_codes_as_torch_does(case):
    t = case.packed.shape[3] * 2
    pairs = case.codes[:, 0::2] << 4 | case.codes[:, 1::2]
    for codes in (pairs, case.codes.astype(np.int32), np.asfortranarray(pairs)):
        packed = aotiny.pack_tiles(codes, t)
        assert torch.equal(torch.from_dlpack(packed), case.packed)
    if t == 8:
        assert torch.equal(torch.from_dlpack(aotiny.pack_tiles(pairs)), case.packed)
    # Rows that are not there are zeros, as torch has them.
    part = np.array(aotiny.pack_tiles(pairs[:-3], t))
    filled = np.vstack([pairs[:-3], np.zeros_like(pairs[:3])])
    np.testing.assert_array_equal(part, np.array(aotiny.pack_tiles(filled, t)))


def test_pack_tiles_refuses_what_does_not_fit():
    def refuse(codes, t, kind, text):
        with pytest.raises(aotiny.Error, match=text) as caught:
            aotiny.pack_tiles(codes, t)
        assert caught.value.name == kind

    refuse(np.zeros((8, 64), np.int64), 2, "InvalidType", "int64, not uint8 or int32")
    refuse(np.zeros(64, np.uint8), 2, "InvalidArgument", r"not \[N, K/2\]")
    refuse(np.zeros((8, 64), np.uint8), 6, "InvalidArgument", "6 inner k-tiles")
    refuse(np.zeros((8, 80), np.int32), 4, "InvalidArgument", "K = 80.*multiple of 64")
    codes = np.zeros((8, 64), np.int32)
    codes[3, 33] = 16
    refuse(codes, 4, "InvalidArgument", r"the code at \[3, 33\] is 16, outside 0..15")


@cases
def test_products_agree_with_torchs_gpu_op(case):
    x = case.x.double().numpy()
    ours = torch.from_dlpack(aotiny.weight_int4pack_mm(case.x, case.weight()))
    assert ours.dtype == torch.bfloat16
    # torch's kernel rounds each weight to bfloat16 before it multiplies.
    rounded = torch.from_numpy(case.values()).bfloat16().double().numpy()
    # Ours is that product or, where the processor does not multiply bfloat16, the exact one; it is
    # rounded once, at the end.
    exact = x @ native_values(case.weight(), torch.bfloat16).T
    size = np.abs(x) @ np.abs(case.values()).T
    error = np.abs(ours.double().numpy() - exact)
    assert (error <= np.abs(exact) * 2**-8 + size * 1e-6).all()
    theirs = case.y.double().numpy()
    assert (np.abs(theirs - x @ rounded.T) <= np.abs(theirs) * 2**-8 + size * 1e-6).all()
    # So the two differ by that much and by the rounding of the results.
    assert (np.abs(ours.double().numpy() - theirs) <= np.abs(theirs) * 2**-7 + size * 2**-9).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize(("n", "k", "group_size"), [(16, 256, 32), (48, 256, 64), (64, 512, 256)])
def test_products_agree_with_torchs_cpu_op(n, k, group_size, dtype):
    random = np.random.default_rng(n + k)
    codes = random.integers(0, 16, (n, k), dtype=np.int32)
    pairs = torch.from_numpy(random.uniform(-0.1, 0.1, (k // group_size, n, 2))).bfloat16()
    x = torch.from_numpy(random.standard_normal((5, k))).to(dtype)
    # torch's CPU op wants scales and zeros in x's dtype: what is exact in both is the same weight.
    pairs = pairs.to(dtype).bfloat16()
    packed = torch.ops.aten._convert_weight_to_int4pack_for_cpu(torch.from_numpy(codes), 8)
    theirs = torch.ops.aten._weight_int4pack_mm_for_cpu(x, packed, group_size, pairs.to(dtype))
    for variant in ("2", "4", "8"):
        weight = aotiny.Int4TilePacked.from_tensors(
            qdata=pack_tiles(codes, int(variant)), scales_and_zeros=pairs, group_size=group_size
        )
        ours = torch.from_dlpack(aotiny.weight_int4pack_mm(x, weight))
        assert ours.dtype == dtype
        tolerance = {torch.float32: 1e-6, torch.float16: 1e-3, torch.bfloat16: 8e-3}[dtype]
        size = x.double().abs() @ torch.from_numpy(weight.dequantize().numpy()).double().abs().T
        # torch's op keeps weights as they are, ours may round them first.
        rounding = torch.from_numpy(native_values(weight, dtype) - values(weight))
        difference = (ours.double() - (theirs.double() + x.double() @ rounding.T)).abs()
        assert (difference <= tolerance * theirs.double().abs() + 1e-6 * size).all()


@cases
def test_the_formula_packs_as_torch_does(case):
    np.testing.assert_array_equal(
        pack_tiles(case.codes, case.packed.shape[3] * 2), case.packed.numpy()
    )


@cases
def test_tensors_pass_both_ways_without_a_copy(case):
    weight = case.weight()
    tensors = {name: torch.from_dlpack(tensor) for name, tensor in weight.tensors().items()}
    assert tensors["qdata"].data_ptr() == case.packed.data_ptr()
    assert tensors["scales_and_zeros"].data_ptr() == case.pairs.data_ptr()
    assert torch.equal(tensors["qdata"], case.packed)
    assert torch.equal(tensors["scales_and_zeros"], case.pairs)
    assert aotiny.Int4TilePacked.from_tensors(**tensors, group_size=case.group_size) == weight
    # As torch would call its own op with them.
    assert tensors["qdata"].dtype == torch.int32
    assert tensors["scales_and_zeros"].dtype == torch.bfloat16


def test_strided_tensors_are_shared_too():
    case = Case(CASES[-1])
    tiles = case.packed.shape[1] // 2
    weight = aotiny.Int4TilePacked.from_tensors(
        qdata=case.packed[:, :tiles],
        scales_and_zeros=case.pairs[: len(case.pairs) // 2],
        group_size=case.group_size,
    )
    assert weight.tensors()["qdata"].data_ptr == case.packed.data_ptr()
    k = weight.shape[1]
    np.testing.assert_array_equal(
        weight.dequantize().numpy(), case.values()[:, :k].astype(np.float32)
    )
