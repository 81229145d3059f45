"""The one device that a package is for, and putting a module and its example inputs there."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils import _pytree as pytree


def _example_tensors(args: Sequence, kwargs: Mapping) -> Iterator[tuple[str, torch.Tensor]]:
    """(what to call it, tensor) for each tensor in the example inputs."""
    for path, value in pytree.tree_flatten_with_path((tuple(args), dict(kwargs)))[0]:
        if isinstance(value, torch.Tensor):
            yield f"example input {pytree.keystr(path[1:])}", value


def _parsed(name: str) -> torch.device:
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise ValueError(f'device is "cpu", "cuda" or "cuda:N", not {name!r}')
    if device.type == "cpu":
        return torch.device("cpu")
    count = torch.cuda.device_count()
    if count == 0:
        raise ValueError(
            f"exporting for {name} needs a GPU, and torch {torch.__version__} sees none"
        )
    index = torch.cuda.current_device() if device.index is None else device.index
    if index >= count:
        raise ValueError(f"there is no {name}: torch sees {count} GPU{'s' * (count > 1)}")
    return torch.device("cuda", index)


def choose_device(
    module: nn.Module, args: Sequence, kwargs: Mapping, name: str | None
) -> torch.device:
    """The device called `name`; by default the one that module and example inputs are on.

    Raises ValueError if the module lies on several devices, and if without a name the inputs are
    not where the module is.
    """
    owned = [*module.named_parameters(), *module.named_buffers()]
    for other, tensor in owned[1:]:
        if tensor.device != owned[0][1].device:
            raise ValueError(
                f"{owned[0][0]} is on {owned[0][1].device} and {other} on {tensor.device}: "
                "a package is for one device"
            )
    if name is not None:
        return _parsed(name)
    found = [*owned, *_example_tensors(args, kwargs)]
    if not found:
        return torch.device("cpu")
    first, device = found[0][0], found[0][1].device
    if device.type not in ("cpu", "cuda"):
        raise ValueError(f"{first} is on {device}; packages are for the CPU or for CUDA devices")
    for other, tensor in found:
        if tensor.device != device:
            raise ValueError(
                f"{first} is on {device} and {other} on {tensor.device}: move one of them, or say "
                "with device= where the package is to run"
            )
    return device


def is_on(device: torch.device, module: nn.Module) -> bool:
    """Whether all tensors of the module are on the device, plain attributes included."""
    attributes = (value for part in module.modules() for value in vars(part).values())
    tensors = (value for value in attributes if isinstance(value, torch.Tensor))
    return all(t.device == device for t in chain(module.parameters(), module.buffers(), tensors))


def move(module: nn.Module, device: torch.device) -> None:
    """Puts copies of the module's tensors on the device, in place of them.

    Unlike module.to(), which would change the parameters that a shared_copy has in common with the
    caller's module. Tensors that are plain attributes go along.
    """
    moved: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}  # the first keeps its id taken

    def there(tensor: torch.Tensor) -> torch.Tensor:
        if id(tensor) not in moved:
            copy = tensor.detach().to(device)
            if isinstance(tensor, nn.Parameter):
                copy = nn.Parameter(copy, requires_grad=False)
            moved[id(tensor)] = tensor, copy
        return moved[id(tensor)][1]

    for part in module.modules():
        for holder in (part._parameters, part._buffers, vars(part)):
            for name, value in holder.items():
                if isinstance(value, torch.Tensor):
                    holder[name] = there(value)


def moved_inputs(args: Sequence, kwargs: Mapping, device: torch.device) -> tuple[tuple, dict]:
    return pytree.tree_map_only(
        torch.Tensor, lambda tensor: tensor.to(device), (tuple(args), dict(kwargs))
    )


@contextmanager
def work_on(device: torch.device) -> Iterator[None]:
    """Tracing and compiling for the device. On CUDA, attention is taken apart into products and a
    softmax, since the kernels that torch would call for it are torch's own."""
    if device.type == "cpu":
        yield
        return
    with torch.cuda.device(device), sdpa_kernel(SDPBackend.MATH):
        yield
