"""The formats and variants of weights, for tests over all of them."""

import numpy as np
import pytest

import aotiny
import weight_formulas

KINDS = [(format, variant) for format, variant, _ in weight_formulas.KINDS]
# Those with products of int8 activations.
PRODUCTS = [kind for kind in KINDS if not kind[0].startswith("int4_")]


def over(kinds):
    """A parameter `kind` for a test."""
    return pytest.mark.parametrize("kind", kinds, ids=["-".join(kind) for kind in kinds])


def group_for(kind, group_size: int) -> int:
    return 32 if kind[0].startswith("exact") else group_size


def cut_of(kind, group_size: int) -> tuple[int, int]:
    """Where N and K can be cut: at multiples of these."""
    format, variant = kind
    if format == "int4_tile_packed":
        return 8, max(16 * int(variant), group_size)
    if format.startswith("exact") or variant == "C":
        return 1, 256
    return 1, max(group_size, 32)


def random_weight(kind, shape, group_size: int = 32, seed: int = 0):
    values = np.random.default_rng(seed).standard_normal(shape, dtype=np.float32) * 0.05
    format, variant = kind
    return aotiny.quantize(values, format, group_for(kind, group_size), variant=variant)


def dense(weight) -> np.ndarray:
    return weight.dequantize().numpy()
