"""Files of weights and tensors: aotiny.save_file and aotiny.load_file.

A file is a safetensors file. The planes of a weight "a" are its tensors "a.qdata", "a.scale" and so
on; what they make up is said in the file's metadata. docs/store.md has the details.
"""

import os
from collections.abc import Mapping
from typing import Any

from .._core import Error, Tensor, Weight
from ..errors import prefixed
from .file import StoreFile
from .header import quoted
from .plan import Plan, TensorPlan, WeightPlan, plan_of
from .writer import Writer

__all__ = [
    "Plan",
    "StoreFile",
    "TensorPlan",
    "WeightPlan",
    "Writer",
    "load_file",
    "plan_of",
    "save_file",
]


def save_file(
    weights: Mapping[str, Any],
    path: str | os.PathLike[str],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Writes weights and tensors into a safetensors file, which appears whole or not at all.

    Args:
        weights: by name, weights of any type (stacks and views too; aotiny.torch.WeightTensors),
            or dense tensors: anything that aotiny.Tensor takes. A module's state_dict, for one.
            What is on a GPU is copied to the CPU, one weight at a time
        path: the file; one that is there is replaced, and whoever has loaded it keeps what it held
        metadata: strings by names that do not begin with "aotiny."

    Raises aotiny.Error for names that collide, dtypes that safetensors has not, and files that
    cannot be written; TypeError for values that are neither weights nor tensors.
    """
    values: dict[str, Weight | Tensor] = {}
    plans: dict[str, Plan] = {}
    for name, value in weights.items():
        what = f"{quoted(str(name))} cannot be saved"
        try:
            if hasattr(value, "__aotiny_weight__"):
                value = value.__aotiny_weight__()
            values[name] = value if isinstance(value, Weight | Tensor) else Tensor(value)
            plans[name] = plan_of(values[name])
        except (TypeError, BufferError) as failure:
            raise TypeError(f"{what}: {failure}") from None
        except Error as failure:
            raise prefixed(f"{os.fsdecode(path)}: {what}", failure) from None
    with Writer(path, plans, metadata) as writer:
        for name, value in values.items():
            writer.write(name, value)


def load_file(path: str | os.PathLike[str], device: str = "cpu") -> dict[str, Any]:
    """The weights and tensors of a safetensors file, by name.

    Args:
        path: the file
        device: where they shall be, "cpu", "cuda" or "cuda:N"

    On the CPU nothing is copied: they are read-only views of the mapped file, which stays mapped as
    long as any of them lives. (A tensor that does not lie at a multiple of its element's size is
    copied.) To another device each is copied straight from the mapped file. Files written by others
    give aotiny.Tensors.

    Raises aotiny.Error, naming the file and the tensor, for a file that is damaged or of a version
    or type that this aotiny does not know.
    """
    file = StoreFile(path)
    return {name: file[name].to(device) for name in file}
