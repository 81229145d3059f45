"""A Llama-style decoder with a KV cache in buffers, small, with fixed random weights."""

import torch
import torch.nn.functional as F
from torch import nn

VOCABULARY, WIDTH, INNER, LAYERS, HEADS, KV_HEADS, POSITIONS = 2048, 512, 1408, 4, 8, 2, 64
HEAD = WIDTH // HEADS


def rms_norm(x, weight):
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-5) * weight


def rotate(x, angle):
    """x [heads, HEAD] turned pairwise, i with i + HEAD / 2."""
    first, second = x.chunk(2, -1)
    cos, sin = angle.cos(), angle.sin()
    return torch.cat([first * cos - second * sin, second * cos + first * sin], -1)


class Layer(nn.Module):
    def __init__(self, dtype):
        super().__init__()

        def linear(k, n):
            return nn.Linear(k, n, bias=False, dtype=dtype)

        self.query, self.out = linear(WIDTH, WIDTH), linear(WIDTH, WIDTH)
        self.key, self.value = linear(WIDTH, KV_HEADS * HEAD), linear(WIDTH, KV_HEADS * HEAD)
        self.gate, self.up, self.down = (
            linear(WIDTH, INNER),
            linear(WIDTH, INNER),
            linear(INNER, WIDTH),
        )
        self.attention_norm = nn.Parameter(1 + 0.1 * torch.randn(WIDTH))
        self.norm = nn.Parameter(1 + 0.1 * torch.randn(WIDTH))
        for name in ("keys", "values"):
            self.register_buffer(name, torch.zeros(KV_HEADS, POSITIONS, HEAD, dtype=dtype))

    def forward(self, x, position, angle, kept):
        dtype = self.keys.dtype
        h = rms_norm(x, self.attention_norm).to(dtype)
        q = rotate(self.query(h).float().view(HEADS, HEAD), angle).to(dtype)
        k = rotate(self.key(h).float().view(KV_HEADS, HEAD), angle).to(dtype)
        self.keys.index_copy_(1, position, k[:, None])
        self.values.index_copy_(1, position, self.value(h).view(KV_HEADS, 1, HEAD))
        keys = self.keys.repeat_interleave(HEADS // KV_HEADS, 0)
        values = self.values.repeat_interleave(HEADS // KV_HEADS, 0)
        attended = F.scaled_dot_product_attention(
            q[None, :, None], keys[None], values[None], attn_mask=kept
        )
        x = x + self.out(attended.reshape(1, WIDTH)).float()
        h = rms_norm(x, self.norm).to(dtype)
        inner = F.silu(self.gate(h).float()) * self.up(h).float()
        return x + self.down(inner.to(dtype)).float()


class Decoder(nn.Module):
    """token int64 [1], position int64 [1] -> logits fp32 [VOCABULARY].

    Products but for the head's are in `dtype`; what is between them is in fp32 and rounded where it
    says so: compiled code, which rounds in no other places, and eager torch differ by little.
    """

    def __init__(self, dtype=torch.bfloat16):
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, WIDTH, dtype=dtype)
        self.layers = nn.ModuleList(Layer(dtype) for _ in range(LAYERS))
        self.norm = nn.Parameter(1 + 0.1 * torch.randn(WIDTH))
        self.head = nn.Linear(WIDTH, VOCABULARY, bias=False)
        self.register_buffer("frequencies", 10000.0 ** (-torch.arange(HEAD // 2) * 2.0 / HEAD))
        self.register_buffer("positions", torch.arange(POSITIONS))

    def forward(self, token, position):
        x = self.embedding(token).float()
        angle = position * self.frequencies
        kept = (self.positions <= position)[None, None, None]
        for layer in self.layers:
            x = layer(x, position, angle, kept)
        return self.head(rms_norm(x, self.norm))[0]


# What the decoder has learnt to say: after PROMPT tokens of it, the rest.
SENTENCE = torch.randperm(VOCABULARY, generator=torch.Generator().manual_seed(3))[:58].tolist()
PROMPT = 8


def decoder(dtype=torch.bfloat16) -> Decoder:
    torch.manual_seed(11)
    with torch.no_grad():
        model = Decoder(dtype)
        for layer in model.layers:  # as much to say as the embedding has
            layer.out.weight *= 3
            layer.down.weight *= 3
        _learn(model)
    return model.eval()


def _learn(model: Decoder) -> None:
    """Gives the head the smallest change with which SENTENCE follows its beginning, by far.

    The tokens of a model without a favourite hang on the last bit: where activations are rounded to
    8 bits, compiled and eager torch, both right, soon say different ones.
    """
    states = []
    hook = model.head.register_forward_pre_hook(lambda _, inputs: states.append(inputs[0][0]))
    for position, token in enumerate(SENTENCE[:-1]):
        model(torch.tensor([token]), torch.tensor([position]))
    hook.remove()
    lift = torch.zeros(len(states), VOCABULARY)
    lift[range(len(states)), SENTENCE[1:]] = 5.0
    model.head.weight += (torch.linalg.pinv(torch.stack(states)) @ lift).T
    for layer in model.layers:
        layer.keys.zero_()
        layer.values.zero_()


def example():
    return torch.tensor([5]), torch.tensor([0])


def greedy(step, count: int = 50) -> tuple[list[int], list]:
    """Tokens and logits that step(token, position) gives after the prompt, each the likeliest."""
    tokens, logits = [], []
    for position in range(PROMPT + count - 1):
        token = SENTENCE[position] if position < PROMPT else tokens[-1]
        found = step(token, position)
        if position >= PROMPT - 1:
            tokens.append(int(found.argmax()))
            logits.append(found)
    return tokens, logits
