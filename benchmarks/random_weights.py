"""Weights of any format that are random bytes, with scales of a sensible size."""

import torch
from matmul_cells import FORMATS

import aotiny
from aotiny import _core

# Means of scales and steps. Codes of scales and zeros are any; with these, values are about 0.1 and
# their mean is near 0: with a large one |y| would depend on the sum of a row of x alone.
MAGNITUDES = {
    "d": 1e-4,
    "dmin": 7.5e-4,
    "scale": 1e-2,
    "scale_step": 1e-4,
    "scales_and_zeros": 1e-2,
    "steps": 1e-4,
    "zero": 7.5,
    "zero_point_step": 0.06,
}


def random_plane(name: str, dtype: str, shape: tuple[int, ...], device: str) -> torch.Tensor:
    """A plane of a weight: any codes, any codes of metadata, sane scales and steps."""
    if dtype in ("uint8", "int8", "int32"):
        wide = getattr(torch, dtype)
        range = torch.iinfo(wide)
        return torch.randint(range.min, range.max + 1, shape, dtype=wide, device=device)
    size = MAGNITUDES[name]
    return (
        torch.empty(shape, device=device).uniform_(size / 2, 1.5 * size).to(getattr(torch, dtype))
    )


def random_weight(name: str, n: int, k: int, device: str) -> aotiny.Weight:
    """A weight [n, k] of one of FORMATS."""
    format = FORMATS[name]
    planes = _core.planes_of(format.type, format.variant, (n, k), format.group_size)
    tensors = {plane: random_plane(plane, *what, device) for plane, what in planes.items()}
    return getattr(aotiny, format.type).from_tensors(group_size=format.group_size, **tensors)
