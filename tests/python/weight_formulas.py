"""The formats and products written as numpy formulas, from packed tensors alone: the oracle of the
tests of weights. It shares no code with aotiny."""

import os
from pathlib import Path

import numpy as np
import torch

# (format as quantize names it, variant, type).
KINDS = [
    ("int4", "A", "CoalescedInt4"),
    ("int4", "H", "CoalescedInt4"),
    ("int4", "B", "CoalescedInt4"),
    ("int4", "C", "CoalescedInt4"),
    ("exact_int4", "", "ExactInt4"),
    ("exact_int5", "", "ExactInt5"),
    ("int6", "A", "PlanarInt6"),
    ("int6", "B", "PlanarInt6"),
    ("int6", "C", "PlanarInt6"),
    ("int8", "A", "Int8"),
    ("int8", "H", "Int8"),
    ("int4_plain", "bfloat16", "Int4Plain"),
    ("int4_plain", "float16", "Int4Plain"),
    ("int4_plain", "float32", "Int4Plain"),
    ("int4_tile_packed", "2", "Int4TilePacked"),
    ("int4_tile_packed", "4", "Int4TilePacked"),
    ("int4_tile_packed", "8", "Int4TilePacked"),
]
SUPER_BLOCK = 256


def n_for(format: str, n: int) -> int:
    """The least N of at least n that the format can hold."""
    return -(-n // 8) * 8 if format == "int4_tile_packed" else n


def k_for(format: str, variant: str, k: int) -> int:
    """The least K of at least k that the format can hold."""
    step = 32
    if variant == "C" or format.startswith("exact"):
        step = SUPER_BLOCK
    elif format == "int4_tile_packed":
        step = 16 * int(variant)
    return -(-k // step) * step


def planes_of(weight) -> dict[str, np.ndarray]:
    """The packed tensors; floats as float64, which holds each of their values."""
    planes = {}
    for name, tensor in weight.tensors().items():
        plane = torch.from_dlpack(tensor)
        planes[name] = (plane.double() if plane.dtype.is_floating_point else plane).numpy()
    return planes


def values(weight) -> np.ndarray:
    """What a weight stands for, float64 [N, K] or [B, N, K]."""
    planes = planes_of(weight)
    if len(weight.shape) == 2:
        return _values(weight, planes)
    count = weight.shape[0]
    return np.stack([_values(weight, {n: p[b] for n, p in planes.items()}) for b in range(count)])


def native_values(weight, dtype: torch.dtype) -> np.ndarray:
    """The same as products with native activations of that dtype take them on the CPU: those of
    tile-packed weights are rounded to bfloat16 where the processor multiplies bfloat16."""
    exact = values(weight)
    limit = os.environ.get("AOTINY_CPU_CAPABILITY", "avx512_bf16")
    multiplies = "avx512_bf16" in Path("/proc/cpuinfo").read_text() and limit == "avx512_bf16"
    if type(weight).__name__ == "Int4TilePacked" and dtype == torch.bfloat16 and multiplies:
        return torch.from_numpy(exact).float().bfloat16().double().numpy()
    return exact


def _values(weight, planes) -> np.ndarray:
    n, k = weight.shape[-2:]
    kind = type(weight).__name__
    groups = k // weight.group_size

    def each(metadata: np.ndarray) -> np.ndarray:
        """[N, columns] spread over K."""
        return metadata.astype(np.float64).repeat(k // metadata.shape[1], axis=1)

    if kind == "Int4TilePacked":
        pairs = planes["scales_and_zeros"]
        assert pairs.shape == (groups, n, 2)
        return (unpack_tiles(planes["qdata"]) - 8.0) * each(pairs[..., 0].T) + each(pairs[..., 1].T)
    if kind == "Int4Plain":
        q = nibbles(planes["qdata"].view(np.uint8))
        q = np.where(q < 8, q, q - 16)
        return q * each(planes["scale"].T) + each(planes["zero_point"].T)
    if kind in ("ExactInt4", "ExactInt5"):
        q = nibbles(planes["qdata"]) if kind == "ExactInt4" else unpack_int5(planes)
        scale = each(planes["scale"]) * each(planes["d"])
        return q * scale - each(planes["min"]) * each(planes["dmin"])
    if kind == "PlanarInt6":
        scale = each(planes["scale"])
        if "steps" in planes:
            scale = scale * each(planes["steps"])
        return unpack_int6(planes) * scale
    scale, zero = each(planes["scale"]), each(planes["zero"])
    if "steps" in planes:
        scale = scale * planes["steps"][:, :1]
        zero = zero * planes["steps"][:, 1:]
    if "scale_step" in planes:
        scale = scale * each(planes["scale_step"])
        zero = zero * each(planes["zero_point_step"])
    q = planes["qdata"] if kind == "Int8" else nibbles(planes["qdata"])
    return (q - zero) * scale


def nibbles(packed: np.ndarray) -> np.ndarray:
    """uint8 [N, K/2] -> 0..15 [N, K], even k in the low nibble."""
    return np.stack([packed & 15, packed >> 4], axis=-1).reshape(len(packed), -1).astype(np.int64)


def unpack_int5(planes) -> np.ndarray:
    """The fifth bit of k is in byte k % 8 / 2 of its 32, at bit k % 2 * 4 + k % 32 / 8."""
    k = np.arange(planes["ql"].shape[1] * 2)
    byte = planes["qh"][:, k // 32 * 4 + k % 8 // 2].astype(np.int64)
    return nibbles(planes["ql"]) + (byte >> (k % 2 * 4 + k % 32 // 8) & 1) * 16


def unpack_int6(planes) -> np.ndarray:
    """The two high bits of k are in byte k % 2 * 4 + k % 32 / 8 of its 32, at bit k % 8 / 2 * 2."""
    k = np.arange(planes["ql"].shape[1] * 2)
    byte = planes["qh"][:, k // 32 * 8 + k % 2 * 4 + k % 32 // 8].astype(np.int64)
    return nibbles(planes["ql"]) + (byte >> (k % 8 // 2 * 2) & 3) * 16 - 32


def tile_places(shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Of int32 [N/8, K/(16·t), 32, t/2] the n and k of every nibble, from the lowest of a word."""
    inner = shape[3] * 2
    tile, k_tile, lane, word = (index[..., None] for index in np.indices(shape))
    place = np.array([0, 2, 4, 6, 1, 3, 5, 7])  # v0..v7 of the word
    k = 16 * (k_tile * inner + 2 * word + place // 4) + 2 * (lane % 4)
    k = k + np.array([0, 1, 8, 9])[place % 4]
    return np.broadcast_to(8 * tile + lane // 4, k.shape), k


def unpack_tiles(packed: np.ndarray) -> np.ndarray:
    """int32 tiles -> 0..15 [N, K]."""
    tiles, k_tiles, _, half = packed.shape
    codes = np.full((8 * tiles, 32 * half * k_tiles), -1, np.int64)
    shifts = 4 * np.arange(8, dtype=np.uint32)
    codes[tile_places(packed.shape)] = packed.view(np.uint32)[..., None] >> shifts & 15
    assert codes.min() >= 0
    return codes


def pack_tiles(codes: np.ndarray, inner: int) -> np.ndarray:
    """0..15 [N, K] -> int32 [N/8, K/(16·t), 32, t/2]."""
    n, k = codes.shape
    places = tile_places((n // 8, k // (16 * inner), 32, inner // 2))
    shifted = codes[places].astype(np.uint32) << 4 * np.arange(8, dtype=np.uint32)
    return np.bitwise_or.reduce(shifted, axis=-1).view(np.int32)


def quantized(x: np.ndarray) -> np.ndarray:
    """float32 [..., K] as 8-bit codes times the scale of each 32, in float64."""
    blocks = x.astype(np.float32).reshape(*x.shape[:-1], x.shape[-1] // 32, 32)
    d = np.abs(blocks).max(axis=-1, keepdims=True) / np.float32(127)
    codes = np.rint(blocks / np.where(d > 0, d, 1))
    return (codes.astype(np.float64) * d).reshape(x.shape)


# --- what products are tested with ------------------------------------------------------------


def random(*shape, seed=1, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def activations_of_any_layout(k: int) -> list[torch.Tensor]:
    """Activations [..., k] of several ranks: strided, shifted, broadcast, a single row, none."""
    return [
        random(k, 9).T,
        random(9, 2 * k)[:, ::2],
        random(18, k + 5)[::2, 5:],
        random(4, 3, k).transpose(0, 1),
        random(1, k).expand(5, k),
        random(k),
        random(2, 0, k),
    ]
