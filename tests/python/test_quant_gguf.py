"""ExactInt4 holds every Q4_K block without loss: gguf's own dequantizer is the oracle."""

import numpy as np
import pytest

import aotiny

gguf = pytest.importorskip("gguf", reason="gguf is not installed")


def random_blocks(num_rows: int, blocks_per_row: int, seed: int) -> np.ndarray:
    """Q4_K blocks [N, blocks, 144] of random bytes, with d and dmin finite and of either sign."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 256, (num_rows, blocks_per_row, 144), dtype=np.uint8)
    blocks[..., [1, 3]] &= 0xBB  # an exponent bit of each half cleared
    blocks[0, 0, :4] = [1, 0, 0, 0x80]  # the smallest subnormal, and minus zero
    return blocks


def exact_int4_tensors(blocks: np.ndarray) -> dict[str, np.ndarray]:
    """A Q4_K block: d, dmin fp16; 8 scales and 8 mins of 6 bits in 12 bytes; 4 runs of 32 bytes,
    whose low nibbles are one group of 32 and whose high nibbles the next."""
    n = blocks.shape[0]
    packed = blocks[..., 4:16]
    first, second, high = packed[..., 0:4], packed[..., 4:8], packed[..., 8:12]
    scale = np.concatenate([first & 63, (high & 15) | (first >> 6) << 4], -1)
    low = np.concatenate([second & 63, (high >> 4) | (second >> 6) << 4], -1)
    runs = blocks[..., 16:].reshape(*blocks.shape[:2], 4, 32)
    q = np.stack([runs & 15, runs >> 4], -2).reshape(n, -1)
    steps = np.ascontiguousarray(blocks[..., :4]).view(np.float16)
    return {
        "qdata": q[:, 0::2] | q[:, 1::2] << 4,
        "scale": scale.reshape(n, -1),
        "min": low.reshape(n, -1),
        "d": np.ascontiguousarray(steps[..., 0]),
        "dmin": np.ascontiguousarray(steps[..., 1]),
    }


@pytest.mark.parametrize(("num_rows", "blocks_per_row"), [(1, 1), (7, 3), (200, 16)])
def test_q4_k_blocks_are_held_bit_for_bit(num_rows, blocks_per_row):
    blocks = random_blocks(num_rows, blocks_per_row, seed=num_rows)
    expected = gguf.dequantize(blocks.reshape(num_rows, -1), gguf.GGMLQuantizationType.Q4_K)
    weight = aotiny.ExactInt4.from_tensors(**exact_int4_tensors(blocks), group_size=32)
    assert weight.shape == expected.shape == (num_rows, 256 * blocks_per_row)
    values = weight.dequantize().numpy()
    assert np.array_equal(values.view(np.uint32), expected.view(np.uint32))
