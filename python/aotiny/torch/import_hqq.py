"""Weights from HQQ's linear layers, by their state dicts. HQQ itself is not needed."""

from collections.abc import Mapping

import torch

import aotiny

from .integer_codes import weight_of_codes

_UINT8_PACKINGS = ("4bit_u8", "8bit_u8")


def from_hqq(
    state_dict: Mapping[str, object], prefix: str = "", *, rounding: bool = False
) -> aotiny.CoalescedInt4 | aotiny.Int8:
    """The weight of an HQQLinear: CoalescedInt4 for 4 bits and fewer, Int8 for more.

    HQQ holds a weight [N, K] as rows of one group each, in codes from 0 on, with a scale and a zero
    a row: value = (code - zero) * scale. In the packing "4bit_u8" the high nibbles are the codes of
    the first half of the rows, the low nibbles those of the second.

    Args:
        state_dict: of one HQQLinear, or of a model with `prefix` before the layer's names: W_q,
            scale, zero, nbits, group_size, shape, axis and packing, as they are or encoded as
            tensors; in an older one they are in a dict under "meta"
        rounding: round scales and zeros that neither bfloat16 nor float16 hold to bfloat16, and
            the zeros of Int8 to integers, which moves its values by up to half a step

    Raises KeyError for a missing entry; ValueError for groups along axis 0, which are no part of a
    row, for scales and zeros that are quantized themselves, other packings, sizes that disagree,
    and scales and zeros that would be rounded.
    """
    layer = _Layer(state_dict, prefix)
    n, k = (int(size) for size in layer["shape"])
    bits, axis = layer.number("nbits"), layer.number("axis")
    group_size = layer.number("group_size", default=k)
    packing = layer.text("packing")
    if axis != 1:
        raise ValueError(f"groups along axis {axis} are no part of a row; quantize with axis=1")
    for name in ("quant_scale", "quant_zero", "view_as_float"):
        if layer.number(name, default=0):
            raise ValueError(f"{name} is set, which is not supported")
    if packing not in _UINT8_PACKINGS or not 1 <= bits <= (4 if packing == "4bit_u8" else 8):
        raise ValueError(
            f"{bits} bits packed as {packing!r} are not supported; {', '.join(_UINT8_PACKINGS)} are"
        )
    if group_size < 1 or k % group_size:
        raise ValueError(f"group_size {group_size} does not divide K = {k}: groups cross rows")
    groups = n * k // group_size
    codes = layer["W_q"]
    if codes.dtype != torch.uint8:
        raise ValueError(f"W_q is {codes.dtype}, not uint8")
    if packing == "4bit_u8":
        codes = torch.cat([codes >> 4, codes & 15])
    if codes.numel() != n * k:
        raise ValueError(f"W_q has {codes.numel()} codes, not {n * k} of shape [{n}, {k}]")
    for name in ("scale", "zero"):
        if layer[name].numel() != groups:
            raise ValueError(f"{name} has {layer[name].numel()} elements, not {groups}")
    scale = layer["scale"].reshape(n, k // group_size)
    zero = layer["zero"].reshape(n, k // group_size)
    # Int8 has signed codes; moving codes and zero together changes no value.
    shift = 0 if bits <= 4 else 128
    return weight_of_codes(
        codes.reshape(n, k).to(torch.int32) - shift, scale, zero.to(torch.float64) - shift,
        4 if bits <= 4 else 8, group_size, rounding=rounding,
    )  # fmt: skip


class _Layer:
    """The entries of one layer, whichever way they are written."""

    def __init__(self, state_dict: Mapping[str, object], prefix: str):
        meta = state_dict.get(f"{prefix}meta")
        self._entries = dict(meta) if isinstance(meta, Mapping) else {}
        for name, value in state_dict.items():
            if name.startswith(prefix):
                self._entries[name.removeprefix(prefix)] = value
        self._prefix = prefix

    def __getitem__(self, name: str):
        if self._entries.get(name) is None:
            raise KeyError(f"{self._prefix}{name} is not in the state dict")
        return self._entries[name]

    def number(self, name: str, default: int | None = None) -> int:
        value = self._entries.get(name, default) if default is not None else self[name]
        return int(default if value is None else value)

    def text(self, name: str) -> str:
        value = self[name]
        return "".join(map(chr, value.tolist())) if isinstance(value, torch.Tensor) else str(value)
