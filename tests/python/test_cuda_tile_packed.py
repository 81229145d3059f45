"""Tile-packed weights on a GPU against torch's own packer and product there, byte for byte and
within bfloat16's rounding."""

import numpy as np
import pytest

import aotiny

torch = pytest.importorskip("torch")

WHY_NOT = aotiny.cuda.why_not() or ("" if torch.cuda.is_available() else "torch is without CUDA")
pytestmark = pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)

KINDS = [(t, g) for t in (2, 4, 8) for g in (32, 64, 128, 256)]
ROWS = [1, 2, 3, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100, 128, 129, 200, 256, 300]


def random_pairs(n: int, k: int, seed: int):
    """uint8 [n, k/2] on the GPU: two codes a byte, the even k in the high nibble."""
    generator = torch.Generator(device="cuda").manual_seed(seed)
    return torch.randint(0, 256, (n, k // 2), dtype=torch.uint8, device="cuda", generator=generator)


def codes_of(pairs):
    """The codes, int32 [n, k]."""
    return torch.stack([pairs >> 4, pairs & 15], dim=-1).flatten(1).int()


class Case:
    """A weight that torch packed, the one that aotiny takes it for, and its values."""

    def __init__(self, t: int, group_size: int, n: int, k: int, seed: int = 0):
        generator = torch.Generator(device="cuda").manual_seed(seed)
        pairs = random_pairs(n, k, seed)
        self.packed = torch.ops.aten._convert_weight_to_int4pack(pairs, t)
        scale = torch.rand(k // group_size, n, device="cuda", generator=generator) * 0.1 + 0.01
        zero = torch.randn(k // group_size, n, device="cuda", generator=generator) * 0.1
        self.scale_and_zero = torch.stack([scale, zero], dim=-1).bfloat16()
        self.group_size = group_size
        self.weight = aotiny.Int4TilePacked.from_tensors(
            qdata=self.packed, scales_and_zeros=self.scale_and_zero, group_size=group_size
        )
        wide = self.scale_and_zero.double().repeat_interleave(group_size, dim=0)
        self.values = (codes_of(pairs) - 8) * wide[..., 0].T + wide[..., 1].T

    def x(self, m: int, dtype=torch.bfloat16):
        generator = torch.Generator(device="cuda").manual_seed(m)
        k = self.values.shape[1]
        return torch.randn(m, k, device="cuda", generator=generator).to(dtype)

    def theirs(self, x):
        return torch.ops.aten._weight_int4pack_mm(
            x, self.packed, self.group_size, self.scale_and_zero
        )

    def ours(self, x):
        return torch.from_dlpack(aotiny.weight_int4pack_mm(x, self.weight))


@pytest.mark.parametrize("t", [2, 4, 8])
@pytest.mark.parametrize(("n", "tiles"), [(8, 1), (24, 3), (1032, 2), (4096, 16)])
def test_codes_are_packed_as_torch_packs_them(t, n, tiles):
    pairs = random_pairs(n, 16 * t * tiles, seed=t + n)
    expected = torch.ops.aten._convert_weight_to_int4pack(pairs, t)
    for codes in (pairs, codes_of(pairs), codes_of(pairs).T.contiguous().T):
        packed = torch.from_dlpack(aotiny.pack_tiles(codes, t))
        assert packed.device == pairs.device and torch.equal(packed, expected)
    on_cpu = torch.from_dlpack(aotiny.pack_tiles(pairs.cpu(), t))
    assert torch.equal(on_cpu, expected.cpu())


@pytest.mark.parametrize("n", [1, 13, 20])
def test_rows_beyond_the_last_are_packed_as_torch_packs_them(n):
    pairs = random_pairs(n, 256, seed=n)
    expected = torch.ops.aten._convert_weight_to_int4pack(pairs, 4)
    assert torch.equal(torch.from_dlpack(aotiny.pack_tiles(pairs, 4)), expected)


@pytest.mark.parametrize(("t", "group_size"), KINDS)
def test_products_are_those_of_torchs_op(t, group_size):
    case = Case(t, group_size, n=8 * 37, k=1024)
    for m in ROWS:
        x = case.x(m)
        ours, theirs = case.ours(x).double(), case.theirs(x).double()
        assert ours.shape == theirs.shape == (m, 8 * 37)
        # Both take the weights rounded to bfloat16 and round sums in float32, once.
        rounded = case.values.bfloat16().double()
        exact, size = x.double() @ rounded.T, x.double().abs() @ rounded.abs().T
        assert ((ours - exact).abs() <= 2**-8 * exact.abs() + 1e-5 * size).all()
        assert ((ours - theirs).abs() <= 2**-7 * exact.abs() + 2e-5 * size).all()


def test_a_wide_layer_is_torchs():
    case = Case(8, 128, n=4096, k=4096)
    for m in (1, 16, 300):
        x = case.x(m)
        size = x.double().abs() @ case.values.abs().T
        theirs = case.theirs(x).double()
        difference = (case.ours(x).double() - theirs).abs()
        assert (difference <= 2**-7 * theirs.abs() + 2e-5 * size).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
@pytest.mark.parametrize(("t", "group_size"), [(2, 32), (4, 128), (8, 256)])
def test_float16_and_float32_have_the_product_of_the_values(t, group_size, dtype):
    case = Case(t, group_size, n=136, k=512)
    for m in (1, 16, 70):
        x = case.x(m, dtype)
        ours = case.ours(x)
        assert ours.dtype == dtype
        values = case.values.to(dtype).double()
        exact, size = x.double() @ values.T, x.double().abs() @ values.abs().T
        rounding = 2**-11 if dtype == torch.float16 else 2**-24
        assert ((ours.double() - exact).abs() <= rounding * exact.abs() + 4e-6 * size).all()


def test_the_weight_quantized_on_the_cpu_gives_torch_what_it_gives_us():
    values = np.random.default_rng(5).standard_normal((64, 512)).astype(np.float32)
    weight = aotiny.quantize(values, "int4_tile_packed", 64).to("cuda")
    tensors = {name: torch.from_dlpack(tensor) for name, tensor in weight.tensors().items()}
    x = torch.randn(5, 512, device="cuda", dtype=torch.bfloat16)
    theirs = torch.ops.aten._weight_int4pack_mm(
        x, tensors["qdata"], 64, tensors["scales_and_zeros"]
    )
    ours = torch.from_dlpack(aotiny.matmul(x, weight))
    size = x.double().abs() @ torch.from_dlpack(weight.dequantize()).double().abs().T
    assert (
        (ours.double() - theirs.double()).abs() <= 2**-7 * theirs.double().abs() + 2e-5 * size
    ).all()


def test_tensors_of_other_devices_are_refused():
    case = Case(8, 64, n=16, k=256)
    with pytest.raises(aotiny.Error, match="x is on cpu, the weight on cuda:0"):
        aotiny.weight_int4pack_mm(case.x(2).cpu(), case.weight)
    codes = codes_of(random_pairs(8, 128, seed=1))
    codes[7, 127] = -1
    with pytest.raises(aotiny.Error, match=r"the code at \[7, 127\] is -1, outside 0..15"):
        aotiny.pack_tiles(codes)
