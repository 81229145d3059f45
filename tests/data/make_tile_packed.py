"""Writes tile_packed.npz: what torch's own packer and product make of 4-bit weights on a GPU.

    python tests/data/make_tile_packed.py [tile_packed.npz]

Needs torch with CUDA, and numpy. For every case `NAME` of CASES the file has
    NAME.codes   uint8 [N, K], 0..15
    NAME.packed  int32 [N/8, K/(16·t), 32, t/2], from torch's packer with t inner k-tiles
    NAME.pairs   uint16 [K/g, N, 2], the bits of bfloat16 scales and zeros
    NAME.x       uint16 [M, K], the bits of bfloat16 activations
    NAME.y       uint16 [M, N], the bits of bfloat16 results
where value = (code - 8)·scale + zero.
"""

import sys
from pathlib import Path

import numpy as np
import torch

M = 3
# (t, N, K, g): every t with every group size.
CASES = [
    (2, 8, 256, 32),
    (2, 16, 256, 64),
    (2, 24, 256, 128),
    (2, 8, 512, 256),
    (4, 24, 256, 32),
    (4, 8, 256, 64),
    (4, 16, 512, 128),
    (4, 8, 256, 256),
    (8, 16, 256, 32),
    (8, 24, 256, 64),
    (8, 8, 256, 128),
    (8, 16, 512, 256),
]


def bits(tensor: torch.Tensor) -> np.ndarray:
    return tensor.contiguous().cpu().view(torch.int16).numpy().view(np.uint16)


def make(inner_k_tiles: int, n: int, k: int, group_size: int, seed: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    codes = random.integers(0, 16, (n, k), dtype=np.uint8)
    pairs = np.stack(
        [random.uniform(0.005, 0.05, (k // group_size, n)),
         random.standard_normal((k // group_size, n)) * 0.1], axis=-1,
    )  # fmt: skip
    pairs = torch.from_numpy(pairs).bfloat16().cuda()
    x = torch.from_numpy(random.standard_normal((M, k))).bfloat16().cuda()
    # The packer takes two codes a byte, the even k in the high nibble.
    bytes_ = torch.from_numpy(codes[:, 0::2] << 4 | codes[:, 1::2]).cuda()
    packed = torch.ops.aten._convert_weight_to_int4pack(bytes_, inner_k_tiles)
    y = torch.ops.aten._weight_int4pack_mm(x, packed, group_size, pairs)
    assert packed.shape == (n // 8, k // (16 * inner_k_tiles), 32, inner_k_tiles // 2)
    assert y.shape == (M, n) and torch.isfinite(y).all()
    return {
        "codes": codes,
        "packed": packed.cpu().numpy(),
        "pairs": bits(pairs),
        "x": bits(x),
        "y": bits(y),
    }


def main() -> None:
    default = Path(__file__).with_name("tile_packed.npz")
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else default
    arrays = {}
    for seed, (inner_k_tiles, n, k, group_size) in enumerate(CASES):
        name = f"t{inner_k_tiles}_n{n}_k{k}_g{group_size}"
        for part, array in make(inner_k_tiles, n, k, group_size, seed).items():
            arrays[f"{name}.{part}"] = array
    np.savez_compressed(target, **arrays)
    print(f"{target}: {target.stat().st_size} bytes, torch {torch.__version__}")


if __name__ == "__main__":
    main()
