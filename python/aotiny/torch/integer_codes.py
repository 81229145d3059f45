"""Weights from unpacked integer codes with a scale and a zero for each group: what importers share.

value(n, k) = (codes - zero) * scale. Nothing is rounded unless the caller says so: a scale or zero
that the format cannot hold exactly is refused, with its place.
"""

import torch

import aotiny


def first_place(wrong: torch.Tensor) -> list[int]:
    return torch.nonzero(wrong)[0].tolist()


def require_all(fits: torch.Tensor, values: torch.Tensor, what: str, why: str) -> None:
    """Raises ValueError with the first place and value where `fits` is not true."""
    if not bool(fits.all()):
        place = first_place(~fits)
        raise ValueError(f"{what} at {place} is {values[tuple(place)].item()}, {why}")


def weight_of_codes(
    codes: torch.Tensor,
    scale: torch.Tensor,
    zero: torch.Tensor,
    bits: int,
    group_size: int,
    *,
    rounding: bool = False,
) -> aotiny.CoalescedInt4 | aotiny.Int8:
    """A CoalescedInt4 (up to 4 bits) or Int8 (up to 8) of codes that are not packed yet.

    Args:
        codes: integers [N, K] or [B, N, K]; 0..15 for 4 bits, -128..127 for 8
        scale, zero: [.., N, K / group_size], of any float dtype; zeros of integers too
        bits: 4 or 8
        rounding: round scales, and zeros of 4-bit codes, to bfloat16 where neither bfloat16 nor
            float16 hold them, and zeros of 8-bit codes to integers

    Raises ValueError, with the place and value, for codes beyond their range, for scales and zeros
    that would be rounded, and for zeros of 8-bit codes that are no codes; aotiny.Error for shapes
    and group sizes that do not fit and for scales that are not finite.
    """
    low, high = (0, 15) if bits == 4 else (-128, 127)
    require_all((codes >= low) & (codes <= high), codes, "code", f"outside {low}..{high}")
    # Numbers that are not finite are from_tensors' to refuse, by their names.
    exact = [scale] if bits == 8 else [scale, zero]
    dtype = next((d for d in (torch.bfloat16, torch.float16) if _hold(exact, d)), None)
    if dtype is None and not rounding:
        for name, values in zip(("scale", "zero"), exact, strict=False):
            held = values.to(torch.bfloat16).to(values.dtype) == values
            require_all(
                held, values, name,
                "which neither bfloat16 for all of them nor float16 holds; rounding=True rounds to "
                "bfloat16",
            )  # fmt: skip
    dtype = dtype or torch.bfloat16
    if bits == 4:
        packed = (codes[..., 0::2] | codes[..., 1::2] << 4).to(torch.uint8)
        return aotiny.CoalescedInt4.from_tensors(
            qdata=packed, scale=scale.to(dtype).contiguous(), zero=zero.to(dtype).contiguous(),
            group_size=group_size,
        )  # fmt: skip
    if rounding:
        zero = zero.round()
    is_code = (zero == zero.round()) & (zero >= low) & (zero <= high)
    require_all(is_code, zero, "zero", "no integer in -128..127, which zeros of Int8 are")
    return aotiny.Int8.from_tensors(
        qdata=codes.to(torch.int8).contiguous(), scale=scale.to(dtype).contiguous(),
        zero=zero.to(torch.int8).contiguous(), group_size=group_size,
    )  # fmt: skip


def _hold(tensors: list[torch.Tensor], dtype: torch.dtype) -> bool:
    return all(bool(((t.to(dtype).to(t.dtype) == t) | ~torch.isfinite(t)).all()) for t in tensors)
