"""What there is in a file, without the bytes: the weights and tensors, and how they are described.

A weight "a" is described by an entry of the file's metadata, aotiny.weight.a, a JSON text.
"""

import json
import math
from typing import NamedTuple

from .. import _core
from .._core import Tensor, Weight
from ..errors import error
from .header import ITEMSIZES, quoted, strict_json

STORE_VERSION = "1"  # of the metadata's keys
LAYOUT_VERSION = 1  # of every type's planes: what their bits mean

RESERVED = "aotiny."  # what metadata of users does not begin with
STORE_KEY = "aotiny.store"
WEIGHT_KEY = "aotiny.weight."


class TensorPlan(NamedTuple):
    """A tensor that is or will be in a file."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * ITEMSIZES[self.dtype]


class WeightPlan(NamedTuple):
    """A weight that is or will be in a file."""

    type: str
    variant: str
    shape: tuple[int, ...]
    group_size: int

    def planes(self) -> dict[str, tuple[str, tuple[int, ...]]]:
        """{name: (dtype, shape)}; raises aotiny.Error if there can be no such weight."""
        return _core.planes_of(self.type, self.variant, self.shape, self.group_size)

    @property
    def nbytes(self) -> int:
        """Of all planes together."""
        return sum(TensorPlan(dtype, shape).nbytes for dtype, shape in self.planes().values())

    @property
    def bits_per_weight(self) -> float:
        """Metadata included."""
        return 8 * self.nbytes / math.prod(self.shape)


Plan = TensorPlan | WeightPlan


def plan_of(value: Weight | Tensor) -> Plan:
    """What a file needs to know to hold this."""
    if isinstance(value, Weight):
        if value.is_transposed:
            raise error(
                f"a transposed weight {list(value.shape)} has no place in a file; save its mT"
            )
        return WeightPlan(type(value).__name__, value.variant, value.shape, value.group_size)
    return TensorPlan(value.dtype, value.shape)


def describe(plan: WeightPlan) -> str:
    """A weight's entry in the metadata."""
    return json.dumps({**plan._asdict(), "version": LAYOUT_VERSION})


def parse_weight(text: str, where: str) -> WeightPlan:
    """A weight's entry in the metadata, as far as it can be checked by itself."""
    try:
        entry = strict_json(text)
    except ValueError as failure:
        raise error(f"{where}: its metadata is no valid JSON: {failure}") from None
    version = entry.get("version") if isinstance(entry, dict) else None
    if isinstance(version, int) and version > LAYOUT_VERSION:
        raise error(
            f"{where}: {quoted(str(entry.get('type')))} of layout version {version}; this aotiny "
            f"reads version {LAYOUT_VERSION}",
            "NotSupported",
        )
    wanted = {"type": str, "variant": str, "shape": list, "group_size": int, "version": int}
    if (
        not isinstance(entry, dict)
        or {key: type(value) for key, value in entry.items()} != wanted
        or not all(type(size) is int for size in entry["shape"])
        or not all(abs(number) < 2**63 for number in (*entry["shape"], entry["group_size"]))
        or entry["version"] < 1
    ):
        raise error(
            f"{where}: its metadata is {quoted(text)}, not type, variant, shape, group_size and "
            "version"
        )
    return WeightPlan(entry["type"], entry["variant"], tuple(entry["shape"]), entry["group_size"])
