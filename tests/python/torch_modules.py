"""Small modules that several tests quantize, export and run. Needs torch."""

import torch
from torch import nn


class Tied(nn.Module):
    """int64 [n] -> [n, 72]: an embedding, a layer with a bias, and the embedding as the head."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(5)
        self.embedding = nn.Embedding(72, 256)
        self.inner = nn.Linear(256, 256)
        self.head = nn.Linear(256, 72, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, ids):
        return self.head(torch.tanh(self.inner(self.embedding(ids))))


class Experts(nn.Module):
    """x [3, m, 64] -> [3, m, 40]: a stack of weights that the module itself multiplies by."""

    def __init__(self):
        super().__init__()
        self.experts = nn.Parameter(torch.randn(3, 40, 64), requires_grad=False)

    def forward(self, x):
        return torch.relu(torch.bmm(x, self.experts.transpose(-2, -1)))
