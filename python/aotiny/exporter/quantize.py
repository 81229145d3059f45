"""Replacing linear layers by layers with packed weights."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import chain

import torch
from torch import nn

import aotiny
from aotiny import ops  # noqa: F401  registers torch.ops.aotiny

FORMATS = ("int4", "int8")

LayerFilter = Callable[[str, nn.Linear], bool]


@dataclass
class QuantizationReport:
    """What was done to a module's linear layers, by their qualified names."""

    format: str
    group_size: int
    method: str
    quantized: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)  # name -> why


class QuantizedLinear(nn.Module):
    """y = x @ W.T + bias with W [out_features, in_features] packed: fp x [..., K] -> [..., N]."""

    def __init__(self, linear: nn.Linear, format: str, group_size: int, method: str):
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.format, self.group_size = format, group_size
        packed = aotiny.quantize(
            linear.weight.detach(), format, group_size=group_size, method=method
        )
        for name, tensor in packed.tensors().items():
            self.register_buffer(name, torch.from_dlpack(tensor))
        self.bias = linear.bias

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.format == "int4":
            y = torch.ops.aotiny.int4_plain_mm(
                x, self.qdata, self.scale, self.zero, self.steps, self.group_size
            )
        else:
            y = torch.ops.aotiny.int8_plain_mm(
                x, self.qdata, self.scale, self.zero, self.group_size
            )
        return y if self.bias is None else y + self.bias

    def extra_repr(self) -> str:
        return (
            f"{self.in_features}, {self.out_features}, {self.format}, "
            f"group_size={self.group_size}, bias={self.bias is not None}"
        )


def _reason_to_skip(name: str, linear: nn.Linear, group_size: int, keep: LayerFilter | None) -> str:
    """Why a layer stays as it is; empty if it does not."""
    if type(linear) is not nn.Linear:
        # A subclass may do more than multiply, or be read by its owner without being called.
        return f"{type(linear).__name__} is a subclass of Linear"
    if linear._forward_hooks or linear._forward_pre_hooks or "forward" in vars(linear):
        return "has hooks, or a forward of its own, which would be lost"
    if linear.in_features % group_size:
        return f"in_features {linear.in_features} is no multiple of the group size {group_size}"
    if keep is not None and not keep(name, linear):
        return "left out by the filter"
    return ""


def quantize_linears(
    module: nn.Module,
    format: str,
    group_size: int = 32,
    method: str = "minmax",
    layer_filter: LayerFilter | None = None,
) -> tuple[nn.Module, QuantizationReport]:
    """A copy of the module with its linear layers quantized; everything else is shared with it.

    Raises ValueError if no layer can be quantized. Non-finite weights are an aotiny.Error.
    """
    if format not in FORMATS:
        raise ValueError(f"quantize is one of {', '.join(FORMATS)}, not {format!r}")
    if group_size < 32 or group_size % 32:
        raise ValueError(f"group_size is a positive multiple of 32, not {group_size}")
    report = QuantizationReport(format, group_size, method)
    tensors = {id(tensor): tensor for tensor in chain(module.parameters(), module.buffers())}
    result = copy.deepcopy(module, tensors)
    replaced: dict[int, QuantizedLinear] = {}  # a layer used in two places stays one layer
    for name, layer in list(result.named_modules(remove_duplicate=False)):
        if not isinstance(layer, nn.Linear):
            continue
        if why := _reason_to_skip(name, layer, group_size, layer_filter):
            report.skipped[name] = why
            continue
        if id(layer) not in replaced:
            replaced[id(layer)] = QuantizedLinear(layer, format, group_size, method)
        report.quantized.append(name)
        parent, _, attribute = name.rpartition(".")
        if name:
            setattr(result.get_submodule(parent), attribute, replaced[id(layer)])
        else:
            result = replaced[id(layer)]
    if not report.quantized:
        why = "; ".join(f"{name}: {text}" for name, text in report.skipped.items())
        raise ValueError(f"the module has no linear layer to quantize ({why or 'none at all'})")
    result.train(module.training)
    return result, report
