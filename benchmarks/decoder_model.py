"""A decoder with the shapes of Gemma-31B and random low-bit weights, one token at a time.

Its weights are as in a Q4_K_M file: 4 bits, and 6 for what comes last in a layer and for the table
of tokens, which is the head too. Every layer is like those with local attention, five of six in
that model, but attends to all positions of the cache.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from random_weights import random_weight
from torch import nn

from aotiny.torch import WeightTensor

INT4, INT6 = "CoalescedInt4", "PlanarInt6"
DTYPE = torch.bfloat16  # of products, of the cache and of the logits


@dataclass(frozen=True)
class Shape:
    hidden: int = 5376
    inner: int = 21504
    heads: int = 32
    kv_heads: int = 16
    head: int = 256  # the size of a head
    vocabulary: int = 262144
    positions: int = 2048

    @property
    def cache_bytes(self) -> int:
        """Of one layer's keys and values, all of which a step reads."""
        return 2 * self.kv_heads * self.positions * self.head * DTYPE.itemsize


GEMMA = Shape()


def low_bit(n: int, k: int, format: str, device: str) -> nn.Parameter:
    weight = WeightTensor.from_weight(random_weight(format, n, k, device), DTYPE)
    return nn.Parameter(weight, requires_grad=False)


def linear(n: int, k: int, format: str, device: str) -> nn.Linear:
    layer = nn.Linear(k, n, bias=False, device="meta")
    layer.weight = low_bit(n, k, format, device)
    return layer


class Norm(nn.Module):
    """x / its root mean square * weight, in fp32, to DTYPE"""

    def __init__(self, size: int, device: str):
        super().__init__()
        self.weight = nn.Parameter(1 + 0.1 * torch.randn(size, device=device))

    def forward(self, x):
        x = x.float()
        return (x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6) * self.weight).to(DTYPE)


def rotate(x, angle):
    """x [heads, head] turned pairwise, i with i + head / 2."""
    first, second = x.float().chunk(2, -1)
    cos, sin = angle.cos(), angle.sin()
    return torch.cat([first * cos - second * sin, second * cos + first * sin], -1).to(DTYPE)


class Layer(nn.Module):
    def __init__(self, shape: Shape, device: str):
        super().__init__()
        self.shape = shape
        queries, keys = shape.heads * shape.head, shape.kv_heads * shape.head
        self.qkv = linear(queries + 2 * keys, shape.hidden, INT4, device)
        self.out = linear(shape.hidden, queries, INT4, device)
        self.gate_up = linear(2 * shape.inner, shape.hidden, INT4, device)
        self.down = linear(shape.hidden, shape.inner, INT6, device)
        self.before_attention, self.after_attention, self.before_mlp, self.after_mlp = (
            Norm(shape.hidden, device) for _ in range(4)
        )
        self.query_norm, self.key_norm = (Norm(shape.head, device) for _ in range(2))
        for name in ("keys", "values"):
            cache = torch.randn(shape.kv_heads, shape.positions, shape.head, device=device)
            self.register_buffer(name, cache.to(DTYPE))

    def attend(self, x, position, angle, kept):
        shape = self.shape
        sizes = [shape.heads * shape.head, *[shape.kv_heads * shape.head] * 2]
        q, k, v = self.qkv(x).split(sizes, -1)
        q = rotate(self.query_norm(q.view(shape.heads, shape.head)), angle)
        k = rotate(self.key_norm(k.view(shape.kv_heads, shape.head)), angle)
        self.keys.index_copy_(1, position, k[:, None])
        self.values.index_copy_(1, position, v.view(shape.kv_heads, 1, shape.head))
        # Query heads that share keys are the rows of one product.
        q = q.view(shape.kv_heads, -1, shape.head)
        scores = torch.bmm(q, self.keys.transpose(1, 2)).float() * shape.head**-0.5
        chances = scores.masked_fill(~kept, float("-inf")).softmax(-1).to(DTYPE)
        return self.out(torch.bmm(chances, self.values).view(1, -1))

    def forward(self, x, position, angle, kept):
        attended = self.attend(self.before_attention(x), position, angle, kept)
        x = x + self.after_attention(attended).float()
        gate, up = self.gate_up(self.before_mlp(x)).float().chunk(2, -1)
        inner = (F.gelu(gate, approximate="tanh") * up).to(DTYPE)
        return x + self.after_mlp(self.down(inner)).float()


class Decoder(nn.Module):
    """token int64 [1], position int64 [1] -> logits bf16 [vocabulary]"""

    def __init__(self, shape: Shape, layers: int, device: str):
        super().__init__()
        self.scale = shape.hidden**0.5
        self.embedding = nn.Embedding(shape.vocabulary, shape.hidden, device="meta")
        self.head = nn.Linear(shape.hidden, shape.vocabulary, bias=False, device="meta")
        table = low_bit(shape.vocabulary, shape.hidden, INT6, device)
        self.embedding.weight = self.head.weight = table
        self.layers = nn.ModuleList(Layer(shape, device) for _ in range(layers))
        self.norm = Norm(shape.hidden, device)
        steps = torch.arange(shape.head // 2, device=device) * 2.0 / shape.head
        self.register_buffer("frequencies", 10000.0**-steps)
        self.register_buffer("positions", torch.arange(shape.positions, device=device))

    def forward(self, token, position):
        x = self.embedding(token).float() * self.scale
        angle = position * self.frequencies
        kept = self.positions <= position
        for layer in self.layers:
            x = layer(x, position, angle, kept)
        return self.head(self.norm(x))[0]


def decoder(shape: Shape, layers: int, device: str, seed: int = 2026) -> Decoder:
    """The same weights and the same full cache for a seed and a kind of device."""
    torch.manual_seed(seed)
    with torch.no_grad():
        return Decoder(shape, layers, device).eval()


def example(device: str) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.tensor([5], device=device), torch.tensor([0], device=device)


def weight_bytes(model: nn.Module) -> int:
    """Of the low-bit weights, which a step reads once each."""
    weights = [p for p in model.parameters() if isinstance(p, WeightTensor)]
    return sum(plane.nbytes for weight in weights for plane in weight.planes.values())
