"""The plain operators and their weight formats in a few lines of torch: the tests' oracle.

It shares no code with aotiny's quantizers and kernels. Sums run in fp64.
"""

import math

import torch

BLOCK = 32


def _codes(values: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
    """values [N, G] >= 0 as u8 multiples of step [N, 1]; a zero step gives zero codes."""
    safe = torch.where(step > 0, step, torch.ones_like(step))
    return (values / safe).round().clamp(0, 255).to(torch.uint8)


def pack_int4(weight: torch.Tensor, group_size: int = 32, metadata: str = "B") -> dict:
    """weight [N, K] -> qdata u8 [N, K/2] and the scales and zeros of metadata A or B."""
    n, k = weight.shape
    groups = weight.float().reshape(n, k // group_size, group_size)
    low = groups.amin(-1).clamp(max=0)
    high = groups.amax(-1).clamp(min=0)
    scale = (high - low) / 15
    if metadata == "A":
        stored = {"scale": scale.bfloat16()}
        scale = stored["scale"].float()
        safe = torch.where(scale > 0, scale, torch.ones_like(scale))
        stored["zero"] = (-low / safe).bfloat16()
        zero = stored["zero"].float()
    else:
        steps = torch.zeros(n, 2, dtype=torch.bfloat16)
        steps[:, 0] = (scale.amax(1) / 255).bfloat16()
        scale_codes = _codes(scale, steps[:, :1].float())
        scale = scale_codes * steps[:, :1].float()
        safe = torch.where(scale > 0, scale, torch.ones_like(scale))
        zero = torch.where(scale > 0, -low / safe, torch.zeros_like(scale)).clamp(0, 15)
        steps[:, 1] = (zero.amax(1) / 255).bfloat16()
        zero_codes = _codes(zero, steps[:, 1:].float())
        zero = zero_codes * steps[:, 1:].float()
        stored = {"scale": scale_codes, "zero": zero_codes, "steps": steps}
    q = (groups / safe[..., None] + zero[..., None]).round().clamp(0, 15)
    q = q.to(torch.uint8).reshape(n, k)
    return {"qdata": q[:, 0::2] | (q[:, 1::2] << 4), **stored}


def pack_int8(weight: torch.Tensor, group_size: int = 32) -> dict:
    """weight [N, K] -> qdata i8 [N, K], scale bf16 and zero i8 [N, K/g]."""
    n, k = weight.shape
    groups = weight.float().reshape(n, k // group_size, group_size)
    scale = (groups.abs().amax(-1) / 127).bfloat16()
    safe = torch.where(scale > 0, scale.float(), torch.ones_like(scale.float()))
    q = (groups / safe[..., None]).round().clamp(-128, 127).to(torch.int8).reshape(n, k)
    return {"qdata": q, "scale": scale, "zero": torch.zeros(n, k // group_size, dtype=torch.int8)}


def quantize_activations(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """x [M, K] -> integer codes (as fp64) [M, K/32, 32] and d fp32 [M, K/32]."""
    blocks = x.float().reshape(x.shape[0], x.shape[1] // BLOCK, BLOCK)
    d = blocks.abs().amax(-1) / 127
    safe = torch.where(d > 0, d, torch.ones_like(d))
    q = (blocks / safe[..., None]).round().clamp(-128, 127)
    return torch.where(d[..., None] > 0, q, torch.zeros_like(q)).double(), d


def plain_mm(x, q, scale, zero, group_size):
    """x [..., K], q codes [N, K], scale and zero [N, K/g] as values -> [..., N] in x's dtype."""
    n, k = q.shape
    codes, d = quantize_activations(x.reshape(math.prod(x.shape[:-1]), k))
    per_group = group_size // BLOCK
    weights = q.double().reshape(n, k // BLOCK, BLOCK)
    dots = torch.einsum("mbk,nbk->mbn", codes, weights)
    scale = scale.double().repeat_interleave(per_group, 1).T
    zero = zero.double().repeat_interleave(per_group, 1).T
    y = (d.double()[..., None] * (scale * dots - scale * zero * codes.sum(-1)[..., None])).sum(1)
    return y.to(x.dtype).reshape(*x.shape[:-1], n)


def unpack_int4(qdata: torch.Tensor) -> torch.Tensor:
    return torch.stack([qdata & 15, qdata >> 4], -1).reshape(qdata.shape[0], -1)


def int4_values(scale, zero, steps=None):
    """Scales and zeros as fp32 values, from metadata A (no steps) or B."""
    if steps is None:
        return scale.float(), zero.float()
    steps = steps.float()
    return scale.float() * steps[:, :1], zero.float() * steps[:, 1:]


def int4_plain_mm(x, qdata, scale, zero, steps, group_size):
    return plain_mm(x, unpack_int4(qdata), *int4_values(scale, zero, steps), group_size)


def int8_plain_mm(x, qdata, scale, zero, group_size):
    return plain_mm(x, qdata, scale.float(), zero.float(), group_size)


def unpack_int4_weight(qdata, scale, zero, steps, group_size):
    """The weight [N, K] that metadata B stands for, in fp32."""
    scale, zero = int4_values(scale, zero, steps)
    q = unpack_int4(qdata).float()
    return (q - zero.repeat_interleave(group_size, 1)) * scale.repeat_interleave(group_size, 1)


def int8_values(qdata, scale, zero, group_size):
    """The weight [N, K] that an Int8 stands for, in fp32."""
    scale, zero = (t.float().repeat_interleave(group_size, 1) for t in (scale, zero))
    return (qdata.float() - zero) * scale
