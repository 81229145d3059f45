"""Quantized weights as torch.export takes them: planes that are buffers.

A parameter or buffer that is a WeightTensor is replaced by a buffer for each of its planes and a
property of the same name that puts them together again. So whatever the module does with its weight
is traced, and the package has the planes as constants: `head.weight` becomes `head.qdata`,
`head.scale`, ...
"""

import copy
from itertools import chain

from torch import nn

from aotiny.torch import WeightTensor


def shared_copy(module: nn.Module) -> nn.Module:
    """A copy of the module's structure that shares its parameters and buffers."""
    tensors = {id(tensor): tensor for tensor in chain(module.parameters(), module.buffers())}
    return copy.deepcopy(module, tensors)


def has_quantized_weights(module: nn.Module) -> bool:
    tensors = chain(module.parameters(), module.buffers())
    return any(isinstance(tensor, WeightTensor) for tensor in tensors)


def planes_to_buffers(module: nn.Module) -> None:
    """Replaces the quantized parameters, and buffers, in place. A shared one's planes lie in its
    first owner."""
    owners: dict[int, tuple[nn.Module, dict[str, str]]] = {}
    for part in list(module.modules()):
        for name, weight in [*part._parameters.items(), *part._buffers.items()]:
            if not isinstance(weight, WeightTensor):
                continue
            delattr(part, name)
            if id(weight) not in owners:
                owners[id(weight)] = part, _register(part, name, weight)
            _add_property(part, name, weight, *owners[id(weight)])


def _register(part: nn.Module, name: str, weight: WeightTensor) -> dict[str, str]:
    """Plane -> the name of its buffer: its own, unless something else has it."""
    names = {}
    for plane, tensor in weight.planes.items():
        taken = name != "weight" or hasattr(part, plane)
        names[plane] = f"{name}_{plane}" if taken else plane
        part.register_buffer(names[plane], tensor)
    return names


def _add_property(
    part: nn.Module, name: str, weight: WeightTensor, owner: nn.Module, names: dict[str, str]
) -> None:
    def put_together(_) -> WeightTensor:
        return weight.with_planes([getattr(owner, buffer) for buffer in names.values()])

    kind = type(part)
    part.__class__ = type(kind.__name__, (kind,), {name: property(put_together)})
