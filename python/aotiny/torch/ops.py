"""aotiny's quantized products as torch operators, one for every format.

Importing this module registers

    aotiny::weight_matmul     x [..., K]           -> [..., N]     x @ W.T + bias
    aotiny::weight_bmm        x [B, M, K]          -> [B, M, N]    x[b] @ W[b].T
    aotiny::weight_embedding  int indices [...]    -> [..., K]     rows of W

each with a fake kernel for tracing, an eager kernel that calls aotiny's own on the tensors' memory
(on CUDA in torch's current stream), and in C_SHIMS the declarations with which AOTInductor calls
the C symbols of the same names. A weight is given as its planes, in its format's order, with the
names of format and variant: names do not change their meaning from version to version, as numbers
would.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

import aotiny
from aotiny import _core

FLOATS = (torch.float32, torch.float16, torch.bfloat16)
INDICES = (torch.int64, torch.int32)

_WEIGHT = "Tensor[] planes, str format, str variant, int group_size"
LIBRARY = torch.library.Library("aotiny", "DEF")
LIBRARY.define(f"weight_matmul(Tensor x, {_WEIGHT}, Tensor? bias=None) -> Tensor")
LIBRARY.define(f"weight_bmm(Tensor x, {_WEIGHT}) -> Tensor")
LIBRARY.define(f"weight_embedding(Tensor indices, {_WEIGHT}, ScalarType dtype) -> Tensor")

DEVICES = ("cpu", "cuda")


def _c_shims(name: str, before: str, after: str) -> list[str]:
    """The declarations of an operator's C symbols, one a device."""
    weight = "const AtenTensorHandle*, int64_t, const char*, const char*, int64_t"
    return [
        f"AOTITorchError aoti_torch_{device}_{name}({before}, {weight}, {after})"
        for device in DEVICES
    ]


# For aot_inductor.custom_ops_to_c_shims.
C_SHIMS = {
    torch.ops.aotiny.weight_matmul.default: _c_shims(
        "weight_matmul", "AtenTensorHandle", "AtenTensorHandle*, AtenTensorHandle*"
    ),
    torch.ops.aotiny.weight_bmm.default: _c_shims(
        "weight_bmm", "AtenTensorHandle", "AtenTensorHandle*"
    ),
    torch.ops.aotiny.weight_embedding.default: _c_shims(
        "weight_embedding", "AtenTensorHandle", "int32_t, AtenTensorHandle*"
    ),
}


@contextmanager
def in_torch_stream(device: torch.device) -> Iterator[None]:
    """Makes torch's current stream of the device aotiny's."""
    if device.type != "cuda":
        yield
        return
    with aotiny.cuda.stream(torch.cuda.current_stream(device).cuda_stream, device.index):
        yield


def dtype_name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def weight_shape(
    planes: Sequence[torch.Tensor], format: str, variant: str, group_size: int
) -> tuple[int, ...]:
    """[N, K] or [B, N, K] of the weight that these planes make, fake tensors included.

    Raises aotiny.Error where making it would.
    """
    described = [
        (dtype_name(p.dtype), [int(n) for n in p.shape], [int(n) for n in p.stride()])
        for p in planes
    ]
    return tuple(_core.shape_of_planes(format, variant, described, group_size))


# What follows each operator's name is refused by its fake and its eager kernel alike, so that
# tracing fails as running would.


def _check_devices(op: str, planes, **others) -> None:
    for name, tensor in others.items():
        if tensor is not None and tensor.device != planes[0].device:
            raise ValueError(
                f"{op}: {name} is on {tensor.device}, the weight on {planes[0].device}"
            )


def _matmul_shape(x, planes, format, variant, group_size, bias):
    shape = weight_shape(planes, format, variant, group_size)
    _check_devices("weight_matmul", planes, x=x, bias=bias)
    if x.dtype not in FLOATS:
        raise TypeError(f"weight_matmul: x is float32, float16 or bfloat16, not {x.dtype}")
    if len(shape) != 2:
        raise ValueError(f"weight_matmul: the weight has shape {list(shape)}; weight_bmm takes it")
    if x.dim() < 1 or x.shape[-1] != shape[1]:
        raise ValueError(
            f"weight_matmul: x has shape {list(x.shape)}, its last size must be K = {shape[1]}"
        )
    if bias is not None:
        if bias.dtype not in FLOATS:
            raise TypeError(
                f"weight_matmul: bias is {bias.dtype}, not a float32, float16, bfloat16"
            )
        if tuple(bias.shape) != shape[:1]:
            raise ValueError(f"weight_matmul: bias has shape {list(bias.shape)}, not [{shape[0]}]")
    return (*x.shape[:-1], shape[0])


def _bmm_shape(x, planes, format, variant, group_size):
    shape = weight_shape(planes, format, variant, group_size)
    _check_devices("weight_bmm", planes, x=x)
    if x.dtype not in FLOATS:
        raise TypeError(f"weight_bmm: x is float32, float16 or bfloat16, not {x.dtype}")
    if len(shape) != 3:
        raise ValueError(f"weight_bmm: the weight has shape {list(shape)}, it is no stack")
    if x.dim() != 3 or x.shape[0] != shape[0] or x.shape[2] != shape[2]:
        raise ValueError(
            f"weight_bmm: x has shape {list(x.shape)}, not [{shape[0]}, M, {shape[2]}]"
        )
    return (*x.shape[:-1], shape[1])


def _embedding_shape(indices, planes, format, variant, group_size, dtype):
    shape = weight_shape(planes, format, variant, group_size)
    _check_devices("weight_embedding", planes, indices=indices)
    if indices.dtype not in INDICES:
        raise TypeError(f"weight_embedding: indices are int64 or int32, not {indices.dtype}")
    if dtype not in FLOATS:
        raise TypeError(f"weight_embedding: dtype is float32, float16 or bfloat16, not {dtype}")
    if len(shape) != 2:
        raise ValueError(f"weight_embedding: the weight has shape {list(shape)}, not [N, K]")
    return (*indices.shape, shape[1])


def _fake_matmul(x, planes, format, variant, group_size, bias=None):
    return x.new_empty(_matmul_shape(x, planes, format, variant, group_size, bias))


def _fake_bmm(x, planes, format, variant, group_size):
    return x.new_empty(_bmm_shape(x, planes, format, variant, group_size))


def _fake_embedding(indices, planes, format, variant, group_size, dtype):
    shape = _embedding_shape(indices, planes, format, variant, group_size, dtype)
    return indices.new_empty(shape, dtype=dtype)


def _matmul(x, planes, format, variant, group_size, bias=None):
    out = x.new_empty(_matmul_shape(x, planes, format, variant, group_size, bias))
    with in_torch_stream(x.device):
        weight = _core.weight_of_planes(format, variant, planes, group_size)
        aotiny.matmul(x.detach(), weight, bias=None if bias is None else bias.detach(), out=out)
    return out


def _bmm(x, planes, format, variant, group_size):
    _bmm_shape(x, planes, format, variant, group_size)
    with in_torch_stream(x.device):
        weight = _core.weight_of_planes(format, variant, planes, group_size)
        return torch.from_dlpack(aotiny.bmm(x.detach(), weight))


def _embedding(indices, planes, format, variant, group_size, dtype):
    _embedding_shape(indices, planes, format, variant, group_size, dtype)
    with in_torch_stream(indices.device):
        weight = _core.weight_of_planes(format, variant, planes, group_size)
        return torch.from_dlpack(aotiny.embedding(indices, weight, dtype=dtype_name(dtype)))


for _name, _eager, _fake in (
    ("weight_matmul", _matmul, _fake_matmul),
    ("weight_bmm", _bmm, _fake_bmm),
    ("weight_embedding", _embedding, _fake_embedding),
):
    for _key in ("CPU", "CUDA"):
        LIBRARY.impl(_name, _eager, _key)
    torch.library.register_fake(f"aotiny::{_name}", _fake, lib=LIBRARY)


def _no_backward(ctx, grad):
    raise NotImplementedError("aotiny's quantized products have no gradients: use torch.no_grad()")


for _name in ("weight_matmul", "weight_bmm"):
    torch.library.register_autograd(f"aotiny::{_name}", _no_backward, lib=LIBRARY)
