"""Replacing a module's weights by quantized ones."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from torch import nn

import aotiny
from aotiny import _core

from ..errors import prefixed
from .ops import DEVICES
from .weight_tensor import WeightTensor

LayerFilter = Callable[[str, nn.Module], bool]
LayerProgress = Callable[[str, int, int], object]
Holder = tuple[str, nn.Module, str]  # qualified name of a module, the module, its attribute


@dataclass
class QuantizationReport:
    """What was done to a module's layers, by their qualified names."""

    format: str
    group_size: int
    method: str
    variant: str | None = None
    quantized: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)  # name -> why


def quantize_(
    model: nn.Module,
    format: str = "int4",
    group_size: int | None = None,
    method: str = "minmax",
    variant: str | None = None,
    filter: LayerFilter | None = None,
    progress: LayerProgress | None = None,
    *,
    embeddings: bool = True,
) -> QuantizationReport:
    """Puts a WeightTensor in the place of the weight of each nn.Linear and nn.Embedding.

    A weight that several layers share is quantized once and stays shared. Layers stay what they
    are, with their biases and hooks. Weights on a CUDA device are quantized on the CPU, and the
    result goes back to the device.

    Args:
        model: changed in place; its other parameters are not touched.
        format, group_size, method, variant: as for aotiny.quantize, with the same defaults.
        filter: called with (qualified name, layer); False keeps a layer as it is.
        progress: called with (qualified name, weights done, weights in all) before each.
        embeddings: False quantizes of the embeddings only those whose weight a linear layer shares.

    Returns a report of what was quantized, and what was skipped and why: what the format cannot
    hold (sizes that are no multiple of the group size, values beyond its range), subclasses of the
    two layers, which may do more than multiply or look up, weights shared with other modules, and
    those that are no parameters, as weight_norm makes them.

    Raises ValueError for a format, group size, method or variant that there is not, and
    aotiny.Error, with the layer and the first one's place, for a weight that is not finite. Then
    nothing has been changed.
    """
    group_size = _checked_group_size(format, group_size, method, variant)
    report = QuantizationReport(format, group_size, method, variant)
    weights: dict[int, torch.Tensor] = {}
    by_weight: dict[int, list[Holder]] = {}
    for name, layer, attribute, weight in _parameters(model):
        weights[id(weight)] = weight
        by_weight.setdefault(id(weight), []).append((name, layer, attribute))
    kinds = (nn.Linear, nn.Embedding) if embeddings else nn.Linear
    chosen = {
        key: sharing
        for key, sharing in by_weight.items()
        if any(isinstance(layer, kinds) and at == "weight" for _, layer, at in sharing)
    }
    for name, layer in model.named_modules(remove_duplicate=False):
        if isinstance(layer, kinds) and layer._parameters.get("weight") is None:
            report.skipped[name] = "its weight is no parameter, but made of others"
    # Replaced only when all have been made: what fails leaves the model as it was.
    made: list[tuple[list[Holder], nn.Parameter]] = []
    for done, (key, sharing) in enumerate(chosen.items()):
        if progress is not None:
            progress(sharing[0][0], done, len(chosen))
        why = next(_reasons_to_skip(sharing, weights[key], filter), "")
        if not why:
            packed, why = _packed(sharing[0][0], weights[key], report)
        if why:
            report.skipped.update((name, why) for name, _, _ in sharing)
        else:
            made.append((sharing, nn.Parameter(packed, requires_grad=False)))
    for sharing, parameter in made:
        for name, layer, attribute in sharing:
            layer._parameters[attribute] = parameter
            report.quantized.append(name)
    return report


def _checked_group_size(
    format: str, group_size: int | None, method: str, variant: str | None
) -> int:
    """The group size to take. Raises ValueError for arguments that no weight could be given."""
    try:
        type, variant, default = _core.named_format(format, variant)
        group_size = default if group_size is None else group_size
        # K is a multiple of all that formats ask for.
        _core.planes_of(type, variant, (8, 256 * max(group_size, 1)), group_size)
        aotiny.quantize(torch.zeros(8, 256 * default), format, default, method, variant)
    except aotiny.Error as error:
        raise ValueError(str(error)) from None
    return group_size


def _parameters(model: nn.Module) -> Iterator[tuple[str, nn.Module, str, torch.Tensor]]:
    """(qualified name of the module, module, attribute, parameter) of every parameter.

    A module under two names comes under both.
    """
    for name, layer in model.named_modules(remove_duplicate=False):
        for attribute, parameter in layer._parameters.items():
            if parameter is not None:
                yield name, layer, attribute, parameter


def _reasons_to_skip(
    sharing: list[Holder], weight: torch.Tensor, keep: LayerFilter | None
) -> Iterator[str]:
    """Why the layers that share a weight stay as they are; nothing if they do not."""
    if isinstance(weight, WeightTensor):
        yield "is quantized already"
    elif type(weight) not in (torch.Tensor, nn.Parameter):
        yield f"its weight is a {type(weight).__name__}"
    for name, layer, attribute in sharing:
        kind = type(layer)
        if kind not in (nn.Linear, nn.Embedding) or attribute != "weight":
            base = "Linear" if isinstance(layer, nn.Linear) else "Embedding"
            if isinstance(layer, (nn.Linear, nn.Embedding)):
                # It may do more than multiply, or be read by its owner without being called.
                yield f"{kind.__name__} is a subclass of {base}"
            yield f"its weight is {kind.__name__}'s {name}.{attribute} as well"
        if "forward" in vars(layer):
            yield "has a forward of its own, which may read the weight in any way"
        if isinstance(layer, nn.Embedding) and layer.max_norm is not None:
            yield f"max_norm {layer.max_norm} changes the weight in use"
        if keep is not None and not keep(name, layer):
            yield "left out by the filter"
    if weight.dtype not in (torch.float32, torch.float16, torch.bfloat16):
        yield f"its weight is {weight.dtype}"
    if weight.device.type not in DEVICES:
        yield f"its weight is on {weight.device}"


def _packed(
    name: str, weight: torch.Tensor, report: QuantizationReport
) -> tuple[WeightTensor | None, str]:
    """The quantized weight of the layer of this name, or why there is none."""
    values = weight.detach().cpu()
    try:
        packed = aotiny.quantize(
            values, report.format, report.group_size, report.method, report.variant
        )
    except aotiny.Error as error:
        if not torch.isfinite(values).all():
            raise prefixed(name, error) from None
        return None, str(error)
    return WeightTensor.from_weight(packed, weight.dtype).to(weight.device), ""
