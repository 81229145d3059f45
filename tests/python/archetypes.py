"""Small torch models, one for each kind of code that AOTInductor makes of a real one.

An archetype is a module, example inputs, and the inputs of the runs that are compared with eager
torch. Seeds are fixed; sizes are odd where a model allows it.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import nn
from torch.nn import functional as F

from plain_reference import int4_plain_mm, int8_plain_mm, pack_int4, pack_int8


@dataclass
class Archetype:
    """make() gives a fresh module; runs are the inputs of successive calls on one loaded model."""

    make: Callable[[], nn.Module]
    example: tuple
    runs: list[tuple]
    dynamic_shapes: object = None
    tolerance: float = 1e-5  # of max |difference|, relative to max |expected|
    vectorized: bool = True
    ranges: dict[str, list[int]] = field(default_factory=dict)  # what the exporter must derive
    mutable: set[str] = field(default_factory=set)  # buffers that a run writes to
    custom_ops: Callable[[], dict] = dict
    oracle: Callable | None = None  # (module, *inputs) -> outputs, where not eager torch itself


def _randn(*shape: int, seed: int = 1, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def _ids(high: int, *shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randint(0, high, shape, generator=torch.Generator().manual_seed(seed))


def _seeded(make: Callable[[], nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    return make().eval()


class RMSNorm(nn.Module):
    def __init__(self, size: int):
        super().__init__()
        self.weight = nn.Parameter(1 + 0.1 * torch.randn(size))

    def forward(self, x):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5) * self.weight


class LlamaBlock(nn.Module):
    """One decoder block that keeps its keys and values; x [1, 1, 64] at position pos [1]."""

    HIDDEN, HEADS, KV_HEADS, INNER, LENGTH = 64, 4, 2, 96, 24

    def __init__(self):
        super().__init__()
        d = self.HIDDEN // self.HEADS
        self.query = nn.Linear(self.HIDDEN, self.HEADS * d, bias=False)
        self.key = nn.Linear(self.HIDDEN, self.KV_HEADS * d, bias=False)
        self.value = nn.Linear(self.HIDDEN, self.KV_HEADS * d, bias=False)
        self.out = nn.Linear(self.HEADS * d, self.HIDDEN, bias=False)
        self.gate = nn.Linear(self.HIDDEN, self.INNER, bias=False)
        self.up = nn.Linear(self.HIDDEN, self.INNER, bias=False)
        self.down = nn.Linear(self.INNER, self.HIDDEN, bias=False)
        self.norm1, self.norm2 = RMSNorm(self.HIDDEN), RMSNorm(self.HIDDEN)
        angles = torch.arange(self.LENGTH)[:, None] / 10000 ** (torch.arange(0, d, 2) / d)
        self.register_buffer("cosine", angles.cos())
        self.register_buffer("sine", angles.sin())
        self.register_buffer("keys", torch.zeros(1, self.KV_HEADS, self.LENGTH, d))
        self.register_buffer("values", torch.zeros(1, self.KV_HEADS, self.LENGTH, d))

    def rotate(self, x, pos):
        cosine, sine = self.cosine[pos], self.sine[pos]
        even, odd = x[..., 0::2], x[..., 1::2]
        return torch.stack([even * cosine - odd * sine, even * sine + odd * cosine], -1).flatten(-2)

    def forward(self, x, pos):
        b, t, _ = x.shape
        h = self.norm1(x)
        q = self.rotate(self.query(h).view(b, t, self.HEADS, -1).transpose(1, 2), pos)
        k = self.rotate(self.key(h).view(b, t, self.KV_HEADS, -1).transpose(1, 2), pos)
        v = self.value(h).view(b, t, self.KV_HEADS, -1).transpose(1, 2)
        self.keys.index_copy_(2, pos, k)
        self.values.index_copy_(2, pos, v)
        seen = torch.arange(self.LENGTH)[None, :] <= pos[:, None]
        bias = torch.where(seen, 0.0, -1e9)[None, None]
        a = F.scaled_dot_product_attention(
            q, self.keys, self.values, attn_mask=bias, enable_gqa=True
        )
        x = x + self.out(a.transpose(1, 2).reshape(b, t, -1))
        h = self.norm2(x)
        return x + self.down(F.silu(self.gate(h)) * self.up(h))


class Mlp(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(33, 65), nn.GELU(), nn.Linear(65, 17), nn.Tanh())

    def forward(self, x):
        return torch.softmax(self.layers(x), -1)


class Bf16Linear(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(96, 48, dtype=torch.bfloat16)

    def forward(self, x):
        return torch.relu(self.linear(x)) + 1


class TorchInt4(nn.Module):
    """torch's own int4 operator for the CPU, on weights that torch's packer packed."""

    N, K, GROUP = 64, 128, 32

    def __init__(self):
        super().__init__()
        codes = torch.randint(0, 16, (self.N, self.K), dtype=torch.int32)
        packed = torch.ops.aten._convert_weight_to_int4pack_for_cpu(codes, 1)
        self.register_buffer("packed", packed)
        scales = torch.rand(self.K // self.GROUP, self.N, 2) * 0.1
        self.register_buffer("scales", scales.bfloat16())

    def forward(self, x):
        y = torch.ops.aten._weight_int4pack_mm_for_cpu(x, self.packed, self.GROUP, self.scales)
        return F.silu(y)


class TiedHead(nn.Module):
    """Embedding, a norm, the embedding again as the head, and the five best tokens."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(101, 48)
        self.norm = nn.LayerNorm(48)

    def forward(self, ids):
        x = self.norm(self.embedding(ids) * math.sqrt(48))
        values, indices = torch.topk(F.linear(x, self.embedding.weight), 5)
        return values, indices


class Gpt2Block(nn.Module):
    def __init__(self, hidden: int, heads: int):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(hidden), nn.LayerNorm(hidden)
        self.qkv, self.out = nn.Linear(hidden, 3 * hidden), nn.Linear(hidden, hidden)
        self.up, self.down = nn.Linear(hidden, 4 * hidden), nn.Linear(4 * hidden, hidden)

    def forward(self, x):
        b, t, h = x.shape
        shape = (b, t, self.heads, h // self.heads)
        q, k, v = (y.reshape(shape).transpose(1, 2) for y in self.qkv(self.norm1(x)).chunk(3, -1))
        a = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(a.transpose(1, 2).reshape(b, t, h))
        return x + self.down(F.gelu(self.up(self.norm2(x)), approximate="tanh"))


class Gpt2(nn.Module):
    """ids int64 [batch, seq] -> logits [batch, seq, 97]."""

    def __init__(self):
        super().__init__()
        self.tokens, self.positions = nn.Embedding(97, 48), nn.Embedding(32, 48)
        self.blocks = nn.ModuleList(Gpt2Block(48, 3) for _ in range(2))
        self.norm = nn.LayerNorm(48)

    def forward(self, ids):
        x = self.tokens(ids) + self.positions(torch.arange(ids.shape[1]))
        for block in self.blocks:
            x = block(x)
        return F.linear(self.norm(x), self.tokens.weight)


class Cond(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(32, 32), nn.Linear(32, 32)

    def forward(self, x):
        return torch.cond(
            x.sum() > 0, lambda x: self.a(x).exp(), lambda x: self.b(x).sigmoid() - 1, (x,)
        )


class Nonzero(nn.Module):
    """The output's size depends on the values: rows whose mean is positive, doubled and shifted."""

    def forward(self, x):
        rows = torch.nonzero(x.mean(1) > 0).squeeze(1)
        return x[rows] * 2 + torch.tanh(x[rows]), rows


class PlainMm(nn.Module):
    """The C functions for one type of weight each, as models made elsewhere call them."""

    def __init__(self):
        super().__init__()
        for name, tensor in pack_int4(torch.randn(48, 64)).items():
            self.register_buffer(f"int4_{name}", tensor)
        for name, tensor in pack_int8(torch.randn(64, 48 * 2)[:, :64]).items():
            self.register_buffer(f"int8_{name}", tensor)

    def forward(self, x):
        y = torch.ops.archetypes.int8_plain_mm(
            x, self.int8_qdata, self.int8_scale, self.int8_zero, 32
        )
        return torch.ops.archetypes.int4_plain_mm(
            torch.tanh(y), self.int4_qdata, self.int4_scale, self.int4_zero, self.int4_steps, 32
        )


def _plain_mm_shims() -> dict:
    return {
        getattr(torch.ops.archetypes, name).default: [
            f"AOTITorchError aoti_torch_cpu_{name}("
            f"{'AtenTensorHandle, ' * tensors}int64_t, AtenTensorHandle*)"
        ]
        for name, tensors in (("int4_plain_mm", 5), ("int8_plain_mm", 4))
    }


def _plain_mm_oracle(module: PlainMm, x):
    y = int8_plain_mm(x, module.int8_qdata, module.int8_scale, module.int8_zero, 32)
    return int4_plain_mm(
        torch.tanh(y),
        module.int4_qdata,
        module.int4_scale,
        module.int4_zero,
        module.int4_steps,
        32,
    )


class UserOp(nn.Module):
    """An operator of the user's own, whose C shim is a library of the user's own."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(33))

    def forward(self, x):
        return torch.exp(torch.ops.archetypes.axpy(x, self.weight.expand_as(x), 0.5)) - 1


USER_LIBRARY = torch.library.Library("archetypes", "DEF")
USER_LIBRARY.define("axpy(Tensor x, Tensor y, float alpha) -> Tensor")
USER_LIBRARY.impl("axpy", lambda x, y, alpha: alpha * x + y, "CPU")
torch.library.register_fake(
    "archetypes::axpy", lambda x, y, alpha: torch.empty(x.shape), lib=USER_LIBRARY
)
for _name, _planes in (
    ("int4_plain_mm", "Tensor qdata, Tensor scale, Tensor zero, Tensor steps"),
    ("int8_plain_mm", "Tensor qdata, Tensor scale, Tensor zero"),
):
    USER_LIBRARY.define(f"{_name}(Tensor x, {_planes}, int group_size) -> Tensor")
    torch.library.register_fake(
        f"archetypes::{_name}",
        lambda x, qdata, *rest: x.new_empty(*x.shape[:-1], qdata.shape[0]),
        lib=USER_LIBRARY,
    )


def _user_shims() -> dict:
    return {
        torch.ops.archetypes.axpy.default: [
            "AOTITorchError aoti_torch_cpu_axpy("
            "AtenTensorHandle, AtenTensorHandle, double, AtenTensorHandle*)"
        ]
    }


# Walks both inputs by their strides, as a shim must.
USER_SHIM_SOURCE = r"""
#include <aotiny/abi/aoti_torch.h>

AOTITorchError aoti_torch_cpu_axpy(AtenTensorHandle x, AtenTensorHandle y, double alpha,
                                   AtenTensorHandle* ret) {
  int64_t dim = 0, *sizes = 0, *sx = 0, *sy = 0;
  void *px = 0, *py = 0, *pr = 0;
  if (aoti_torch_get_dim(x, &dim) || dim != 2 || aoti_torch_get_sizes(x, &sizes) ||
      aoti_torch_get_strides(x, &sx) || aoti_torch_get_strides(y, &sy) ||
      aoti_torch_get_data_ptr(x, &px) || aoti_torch_get_data_ptr(y, &py))
    return 1;
  const int64_t strides[2] = {sizes[1], 1};
  int err = aoti_torch_empty_strided(2, sizes, strides, aoti_torch_dtype_float32(),
                                     aoti_torch_device_type_cpu(), -1, ret);
  if (err || aoti_torch_get_data_ptr(*ret, &pr)) return 1;
  for (int64_t i = 0; i < sizes[0]; i++)
    for (int64_t j = 0; j < sizes[1]; j++)
      ((float*)pr)[i * sizes[1] + j] = (float)alpha * ((float*)px)[i * sx[0] + j * sx[1]] +
                                       ((float*)py)[i * sy[0] + j * sy[1]];
  return 0;
}
"""

BATCH = torch.export.Dim("batch", min=1, max=64)


def _llama_steps() -> list[tuple]:
    return [(_randn(1, 1, 64, seed=step), torch.tensor([step])) for step in range(20)]


ARCHETYPES: dict[str, Archetype] = {
    "llama": Archetype(
        lambda: _seeded(LlamaBlock),
        _llama_steps()[3],
        _llama_steps(),
        ranges={"pos": [0, LlamaBlock.LENGTH - 1]},
        mutable={"keys", "values"},
    ),
    "mlp": Archetype(
        lambda: _seeded(Mlp),
        (_randn(6, 33),),
        [(_randn(n, 33, seed=n),) for n in (1, 7, 64)],
        dynamic_shapes=({0: BATCH},),
    ),
    "bf16": Archetype(
        lambda: _seeded(Bf16Linear),
        (_randn(5, 96, dtype=torch.bfloat16),),
        [(_randn(n, 96, seed=n, dtype=torch.bfloat16),) for n in (1, 13)],
        dynamic_shapes=({0: BATCH},),
        tolerance=1e-2,  # a rounding to bf16 that falls the other way
    ),
    "torch_int4": Archetype(
        lambda: _seeded(TorchInt4),
        (_randn(3, 128, dtype=torch.bfloat16),),
        [(_randn(3, 128, seed=2, dtype=torch.bfloat16),)],
        tolerance=1e-2,
    ),
    "tied_head": Archetype(
        lambda: _seeded(TiedHead),
        (_ids(101, 3, 5),),
        [(_ids(101, n, 5, seed=n),) for n in (1, 9)],
        dynamic_shapes=({0: BATCH},),
        ranges={"ids": [0, 100]},
    ),
    "gpt2": Archetype(
        lambda: _seeded(Gpt2),
        (_ids(97, 2, 9),),
        [(_ids(97, b, t, seed=t),) for b, t in ((1, 1), (3, 31), (2, 32))],
        dynamic_shapes=({0: BATCH, 1: torch.export.Dim("seq", min=1, max=32)},),
        ranges={"ids": [0, 96]},
    ),
    "cond": Archetype(
        lambda: _seeded(Cond),
        (_randn(3, 32),),
        [(_randn(3, 32, seed=2).abs(),), (-_randn(3, 32, seed=3).abs(),)],
    ),
    "nonzero": Archetype(
        lambda: _seeded(Nonzero),
        (_randn(9, 32),),
        [(_randn(9, 32, seed=2),), (_randn(9, 32, seed=3) + 9,), (_randn(9, 32, seed=3) - 9,)],
    ),
    "plain_mm": Archetype(
        lambda: _seeded(PlainMm),
        (_randn(4, 64),),
        [(_randn(n, 64, seed=n),) for n in (1, 11)],
        dynamic_shapes=({0: BATCH},),
        tolerance=1e-2,  # tanh may differ in the last bit, and a code then falls the other way
        custom_ops=_plain_mm_shims,
        oracle=_plain_mm_oracle,
    ),
    "user_op": Archetype(
        lambda: _seeded(UserOp),
        (_randn(4, 33),),
        [(_randn(n, 33, seed=n),) for n in (1, 8)],
        dynamic_shapes=({0: BATCH},),
        custom_ops=_user_shims,
    ),
}


def expected_outputs(archetype: Archetype) -> list[tuple]:
    """What each run must give, from eager torch (or the oracle) on a fresh module."""
    module = archetype.make()
    results = []
    with torch.no_grad():
        for inputs in archetype.runs:
            outputs = archetype.oracle(module, *inputs) if archetype.oracle else module(*inputs)
            results.append(outputs if isinstance(outputs, tuple) else (outputs,))
    return results
