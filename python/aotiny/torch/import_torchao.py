"""Weights from torchao's tensors. Needs torchao, whose tensors are left as they are.

    Int4Tensor                -> Int4Plain        shares its memory
    Int4TilePackedTo4dTensor  -> Int4TilePacked   shares its memory; padding is left off
    IntxUnpackedToInt8Tensor  -> CoalescedInt4 (int1 to int4), Int8 (int5 to int8)

A weight's values are kept exactly. How torchao quantizes activations is no part of a weight, and
aotiny does it in its own way.
"""

from collections.abc import Mapping

import torch

import aotiny
from aotiny import errors

from .integer_codes import require_all, weight_of_codes


def from_torchao(tensor: torch.Tensor, *, rounding: bool = False) -> aotiny.Weight:
    """The aotiny.Weight of a quantized torchao tensor.

    Args:
        tensor: an Int4Tensor, Int4TilePackedTo4dTensor or IntxUnpackedToInt8Tensor, of two or three
            dimensions, or a parameter that is one
        rounding: for IntxUnpackedToInt8Tensor, round scales that neither bfloat16 nor float16 hold
            to bfloat16 instead of refusing them, and zeros likewise

    Raises TypeError for another tensor, ValueError for what the aotiny format cannot hold, with the
    reason: pre-scaled activations, float8 activations, groups that are no part of one row, codes
    beyond their dtype (with place and value); aotiny.Error for shapes and values that do not fit.
    """
    kind = type(tensor).__name__
    readers = _readers()
    reader = next((read for known, read in readers.items() if isinstance(tensor, known)), None)
    if reader is None:
        names = ", ".join(known.__name__ for known in readers)
        raise TypeError(f"from_torchao takes {names}, not {kind}")
    if tensor.device.type != "cpu":
        raise ValueError(f"{kind} is on {tensor.device}; move it to the CPU")
    if getattr(tensor, "act_pre_scale", None) is not None:
        raise ValueError(
            f"{kind} has act_pre_scale, which scales the activations first: no part of a weight"
        )
    return reader(tensor, rounding)


def from_torchao_state_dict(
    state_dict: Mapping[str, object], *, rounding: bool = False
) -> dict[str, object]:
    """The state dict with its quantized torchao tensors as weights; all else stays what it is.

    The result can be given to aotiny.save_file. Errors are those of from_torchao, with the name.
    """
    known = tuple(_readers())
    result: dict[str, object] = {}
    for name, value in state_dict.items():
        if not isinstance(value, known):
            if type(value).__module__.startswith("torchao."):
                raise TypeError(f"{name}: from_torchao does not take {type(value).__name__}")
            result[name] = value
            continue
        try:
            result[name] = from_torchao(value, rounding=rounding)
        except ValueError as failure:
            raise ValueError(f"{name}: {failure}") from None
        except aotiny.Error as failure:
            raise errors.prefixed(name, failure) from None
    return result


def _readers() -> dict:
    try:
        from torchao.quantization import (
            Int4Tensor,
            Int4TilePackedTo4dTensor,
            IntxUnpackedToInt8Tensor,
        )
    except ImportError as error:
        raise ImportError("from_torchao needs torchao 0.18: pip install torchao") from error
    return {
        Int4Tensor: _int4,
        Int4TilePackedTo4dTensor: _tile_packed,
        IntxUnpackedToInt8Tensor: _intx,
    }


def _group_size(tensor) -> int:
    block = list(tensor.block_size)
    if len(block) not in (2, 3) or len(block) != tensor.dim() or any(n != 1 for n in block[:-1]):
        raise ValueError(
            f"{type(tensor).__name__} of shape {list(tensor.shape)} has blocks of {block}; a group "
            "is a part of one row"
        )
    return int(block[-1])


def _int4(tensor, rounding: bool) -> aotiny.Int4Plain:
    dtype = getattr(tensor, "activation_dtype", None)
    if dtype is not None and "float8" in str(dtype):
        raise ValueError(f"Int4Tensor is for activations in {dtype}, whose products differ")
    group_size = _group_size(tensor)
    qdata = tensor.qdata
    if qdata.dtype == torch.uint8:
        qdata = qdata.view(torch.int8)
    weight = aotiny.Int4Plain.from_tensors(
        qdata=qdata, scale=tensor.scale, zero_point=tensor.zero_point, group_size=group_size
    )
    if weight.shape != tuple(tensor.shape):
        raise ValueError(
            f"Int4Tensor has shape {list(tensor.shape)}, its codes {list(weight.shape)}"
        )
    return weight


def _tile_packed(tensor, rounding: bool) -> aotiny.Int4TilePacked:
    group_size = _group_size(tensor)
    qdata, pairs = tensor.qdata, tensor.scale_and_zero
    n, k = tensor.shape[-2:]
    if qdata.dim() < 4:
        raise ValueError(f"qdata has {qdata.dim()} dimensions, not 4 or 5")
    tile_k = 32 * qdata.shape[-1]  # 16 along k for each inner k-tile, two of which are a word
    padded = [8 * qdata.shape[-4], tile_k * qdata.shape[-3]]
    if n > padded[0] or k > padded[1]:
        raise ValueError(f"the weight has shape [{n}, {k}], its codes only {padded}")
    if n % 8 or k % tile_k or k % group_size:
        raise ValueError(
            f"the weight [{n}, {k}] is padded to {padded} inside a tile of 8 by {tile_k} or a "
            f"group of {group_size}; Int4TilePacked holds whole ones"
        )
    # The padding is whole tiles and groups at the end, left off as views.
    qdata = qdata[..., : n // 8, : k // tile_k, :, :]
    pairs = pairs[..., : k // group_size, :n, :]
    return aotiny.Int4TilePacked.from_tensors(
        qdata=qdata, scales_and_zeros=pairs, group_size=group_size
    )


def _intx(tensor, rounding: bool) -> aotiny.CoalescedInt4 | aotiny.Int8:
    group_size = _group_size(tensor)
    bits = int(str(tensor.target_dtype).removeprefix("torch.int"))
    low, high = -(1 << bits - 1), (1 << bits - 1) - 1
    codes = tensor.qdata
    require_all(
        (codes >= low) & (codes <= high), codes, "code",
        f"outside {low}..{high} of {tensor.target_dtype}",
    )  # fmt: skip
    # Codes from 0 on for nibbles: the zero moves along.
    shift = 8 if bits <= 4 else 0
    zero = tensor.zero_point.to(torch.float64)  # so that moving it does not round
    return weight_of_codes(
        codes.to(torch.int32) + shift if shift else codes, tensor.scale, zero + shift,
        4 if bits <= 4 else 8, group_size, rounding=rounding,
    )  # fmt: skip
