"""aotiny's quantized products as torch operators. Needs torch.

Importing this module registers `aotiny::int4_plain_mm` and `aotiny::int8_plain_mm`: a fake kernel
for tracing, an eager kernel that calls aotiny's own on the tensors' memory, and in C_SHIMS the
declarations with which AOTInductor calls the C symbols of the same names. They multiply by the
transpose of a packed weight [N, K]; activations are quantized to 8 bits per block of 32 along K.
"""

import torch

import aotiny

LIBRARY = torch.library.Library("aotiny", "DEF")
LIBRARY.define(
    "int4_plain_mm(Tensor self, Tensor qdata, Tensor scale, Tensor zero, Tensor steps, "
    "int group_size) -> Tensor"
)
LIBRARY.define(
    "int8_plain_mm(Tensor self, Tensor qdata, Tensor scale, Tensor zero, int group_size) -> Tensor"
)

FLOATS = (torch.float32, torch.float16, torch.bfloat16)


def _check(name: str, x: torch.Tensor, qdata: torch.Tensor, per_byte: int, group_size: int) -> None:
    """What both the fake and the eager kernels refuse, so that tracing fails as running would."""
    if x.dtype not in FLOATS:
        raise ValueError(f"{name} takes float32, float16 or bfloat16 activations, not {x.dtype}")
    if qdata.dim() != 2:
        raise ValueError(f"{name}: qdata is {qdata.dim()}-dimensional, 2 expected")
    k = qdata.shape[1] * per_byte
    if x.dim() < 1 or x.shape[-1] != k:
        raise ValueError(
            f"{name}: activations of shape {list(x.shape)} do not fit a weight with K = {k}"
        )
    if group_size < 32 or group_size % 32 or k % group_size:
        raise ValueError(
            f"{name}: group_size {group_size} is not a multiple of 32 that divides K = {k}"
        )


def _product(x: torch.Tensor, weight) -> torch.Tensor:
    out = torch.empty(*x.shape[:-1], weight.shape[0], dtype=x.dtype)
    aotiny.matmul(x.detach(), weight, out=out)
    return out


def _int4(self, qdata, scale, zero, steps, group_size):
    """self [..., K] -> [..., N]. qdata u8 [N, K/2], scale and zero u8 codes [N, K/g], steps bf16
    [N, 2]; w = (q - zero * steps[n, 1]) * scale * steps[n, 0]."""
    _check("int4_plain_mm", self, qdata, 2, group_size)
    weight = aotiny.CoalescedInt4.from_tensors(
        qdata=qdata, scale=scale, zero=zero, steps=steps, group_size=group_size
    )
    return _product(self, weight)


def _int8(self, qdata, scale, zero, group_size):
    """self [..., K] -> [..., N]. qdata i8 [N, K], scale bf16 and zero i8 [N, K/g];
    w = (q - zero) * scale."""
    _check("int8_plain_mm", self, qdata, 1, group_size)
    weight = aotiny.Int8.from_tensors(qdata=qdata, scale=scale, zero=zero, group_size=group_size)
    return _product(self, weight)


def _int4_fake(self, qdata, scale, zero, steps, group_size):
    _check("int4_plain_mm", self, qdata, 2, group_size)
    return self.new_empty((*self.shape[:-1], qdata.shape[0]))


def _int8_fake(self, qdata, scale, zero, group_size):
    _check("int8_plain_mm", self, qdata, 1, group_size)
    return self.new_empty((*self.shape[:-1], qdata.shape[0]))


LIBRARY.impl("int4_plain_mm", _int4, "CPU")
LIBRARY.impl("int8_plain_mm", _int8, "CPU")
torch.library.register_fake("aotiny::int4_plain_mm", _int4_fake, lib=LIBRARY)
torch.library.register_fake("aotiny::int8_plain_mm", _int8_fake, lib=LIBRARY)

# For aot_inductor.custom_ops_to_c_shims.
C_SHIMS = {
    torch.ops.aotiny.int4_plain_mm.default: [
        "AOTITorchError aoti_torch_cpu_int4_plain_mm(AtenTensorHandle, AtenTensorHandle, "
        "AtenTensorHandle, AtenTensorHandle, AtenTensorHandle, int64_t, AtenTensorHandle*)"
    ],
    torch.ops.aotiny.int8_plain_mm.default: [
        "AOTITorchError aoti_torch_cpu_int8_plain_mm(AtenTensorHandle, AtenTensorHandle, "
        "AtenTensorHandle, AtenTensorHandle, int64_t, AtenTensorHandle*)"
    ],
}
