"""GGUF files for tests: random blocks, and headers written byte by byte."""

import struct

import numpy as np

# type -> number, weights in a block, its bytes, where in it the fp16 numbers begin
BLOCKS = {
    "Q4_0": (2, 32, 18, (0,)),
    "Q8_0": (8, 32, 34, (0,)),
    "Q4_K": (12, 256, 144, (0, 2)),
    "Q5_K": (13, 256, 176, (0, 2)),
    "Q6_K": (14, 256, 210, (208,)),
}


def random_blocks(type: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Random bytes [..., N, bytes of a row] with finite fp16 numbers of either sign.

    Among them are the smallest subnormals, minus zero and the largest finite number.
    """
    _, block, nbytes, steps = BLOCKS[type]
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 256, (*shape[:-1], shape[-1] // block, nbytes), dtype=np.uint8)
    special = [(1, 0), (1, 0x80), (0, 0x80), (0xFF, 0x7B), (0xFF, 0xFB), (0, 0), (0xFF, 3)]
    for i, step in enumerate(steps):
        blocks[..., step + 1] &= 0xBB  # an exponent bit cleared
        flat = blocks.reshape(-1, nbytes)
        for j, pair in enumerate(special):
            flat[(5 * j + i) % len(flat), step : step + 2] = pair
    return blocks.reshape(*shape[:-1], -1)


def string(text: str | bytes) -> bytes:
    raw = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(raw)) + raw


def scalar(kind: int, form: str, value) -> bytes:
    return struct.pack(f"<I{form}", kind, value)


def array(kind: int, count: int, elements: bytes = b"") -> bytes:
    """An array with its own type (9) in front, as a key's value has it."""
    return struct.pack("<IIQ", 9, kind, count) + elements


def key(name: str | bytes, value: bytes) -> bytes:
    return string(name) + value


def tensor(name: str | bytes, dims, kind: int = 0, offset: int = 0, num_dims=None) -> bytes:
    """An entry; `dims` in GGUF's order, K first."""
    count = len(dims) if num_dims is None else num_dims
    return string(name) + struct.pack(f"<I{len(dims)}QIQ", count, *dims, kind, offset)


def gguf_bytes(keys=(), tensors=(), data=b"", *, version=3, counts=None, alignment=32) -> bytes:
    """A file of these entries, padded to the alignment; `counts` if it shall say other numbers."""
    num_tensors, num_keys = counts or (len(tensors), len(keys))
    header = b"GGUF" + struct.pack("<IQQ", version, num_tensors, num_keys)
    header += b"".join(keys) + b"".join(tensors)
    return header + bytes(-len(header) % alignment) + data
