"""Which values the integer inputs of a graph may take.

An index out of bounds ends the process when the compiled kernel that meets it runs in parallel, so
a package says which values its index inputs may take, and the loader looks before each run. The
bounds come from the graph: every use of an input, or of a view, cast, shift, positive multiple or
clamp of it, as an index into a dimension of known size narrows them. What reaches an index by other
arithmetic is not seen; input_ranges= says it. A part used as an index narrows the whole.
"""

from collections.abc import Iterator

import torch
from torch.fx import GraphModule, Node

from aotiny.torch.ops import weight_shape

Range = tuple[int, int]

_SAME_VALUES = frozenset(
    f"aten::{name}"
    for name in (
        *("_to_copy", "_unsafe_view", "alias", "chunk", "clone", "contiguous", "detach", "expand"),
        *("flatten", "flip", "lift_fresh", "narrow", "permute", "repeat"),
        *("reshape", "roll", "select", "slice", "split", "squeeze", "t", "to", "transpose"),
        *("type_as", "unbind", "unflatten", "unsqueeze", "view"),
    )
)

# operator -> (index argument, source argument, dim argument or None for 0, from the end too)
_BY_DIM = {
    "aten::embedding": (1, 0, None, False),
    "aten::index_select": (2, 0, 1, False),
    "aten::index_copy": (2, 0, 1, False),
    "aten::index_add": (2, 0, 1, False),
    "aten::index_fill": (2, 0, 1, False),
    "aten::gather": (2, 0, 1, False),
    "aten::scatter": (2, 0, 1, False),
    "aten::scatter_add": (2, 0, 1, False),
    "aten::scatter_reduce": (2, 0, 1, False),
}
# operator -> places of its least and its greatest value
_CLAMPS = {
    "aten::clamp": (1, 2),
    "aten::clip": (1, 2),
    "aten::clamp_min": (1, None),
    "aten::clamp_max": (None, 1),
}
_INT64 = torch.iinfo(torch.int64)
_BY_LIST = frozenset({"aten::index", "aten::index_put", "aten::_unsafe_index"})


def _operator(node: Node) -> str:
    """The name of the operator that the node calls, without overload or in-place underscore."""
    if isinstance(node.target, torch._ops.OpOverload):
        return node.target._schema.name.removesuffix("_")
    return ""


def _argument(node: Node, position: int):
    """An argument by its place in the schema, however it was passed; None if it was left out."""
    if position < len(node.args):
        return node.args[position]
    return node.kwargs.get(node.target._schema.arguments[position].name)


def _index_uses(node: Node):
    """(index node, source node, dim or None for all, negative allowed) for each index taken."""
    name = _operator(node)
    if name in _BY_DIM:
        index, source, dim, wraps = _BY_DIM[name]
        yield (
            _argument(node, index),
            _argument(node, source),
            0 if dim is None else _argument(node, dim),
            wraps,
        )
    elif name == "aten::take":  # as of all elements in a row
        yield _argument(node, 1), _argument(node, 0), None, True
    elif name in _BY_LIST:
        # None keeps a dimension; a boolean mask covers as many as it has.
        dim = 0
        for index in _argument(node, 1):
            if index is not None and index.meta["val"].dtype in (torch.bool, torch.uint8):
                dim += index.meta["val"].dim()
                continue
            if index is not None:
                yield index, _argument(node, 0), dim, True
            dim += 1


def _embedded(node: Node):
    """(index node, rows of the table) of a look-up in a quantized weight."""
    if _operator(node) == "aotiny::weight_embedding":
        indices, planes, format, variant, group_size = (_argument(node, i) for i in range(5))
        values = [plane.meta["val"] for plane in planes]
        yield indices, weight_shape(values, format, variant, group_size)[0]


def _origins(node: object, low: int, high: int) -> Iterator[tuple[Node, int, int]]:
    """(placeholder, low, high): what placeholders must keep to for the node's values to lie in
    low..high, as far as it can be told."""
    while isinstance(node, Node) and node.op == "call_function":
        name = _operator(node)
        # The parts of split and chunk.
        is_item = getattr(node.target, "__name__", "") == "getitem"
        if name in ("aten::cat", "aten::stack"):
            for part in _argument(node, 0):
                yield from _origins(part, low, high)
            return
        if name in ("aten::add", "aten::sub", "aten::mul"):
            number = _argument(node, 1)
            if not isinstance(number, int) or node.kwargs.get("alpha", 1) != 1:
                return
            if name == "aten::mul":
                if number < 1:
                    return
                low, high = -(-low // number), high // number
            else:
                shift = number if name == "aten::add" else -number
                low, high = low - shift, high - shift
        elif name in _CLAMPS:
            least, most = (None if i is None else _argument(node, i) for i in _CLAMPS[name])
            if not all(bound is None or isinstance(bound, int) for bound in (least, most)):
                return
            # What the clamp cuts off need not be in bounds before it.
            low = _INT64.min if least is not None and least >= low else low
            high = _INT64.max if most is not None and most <= high else high
        elif name not in _SAME_VALUES and not is_item:
            return
        node = node.args[0]
    if isinstance(node, Node) and node.op == "placeholder":
        yield node, max(low, _INT64.min), min(high, _INT64.max)


def index_ranges(module: GraphModule) -> dict[str, Range]:
    """Placeholder name -> widest inclusive range that keeps every index in bounds."""
    ranges: dict[str, Range] = {}

    def narrow(node, low: int, high: int) -> None:
        for placeholder, least, most in _origins(node, low, high):
            value = placeholder.meta.get("val")
            if not isinstance(value, torch.Tensor) or value.dtype.is_floating_point:
                continue
            before = ranges.get(placeholder.name, (_INT64.min, _INT64.max))
            after = (max(before[0], least), min(before[1], most))
            if after != (_INT64.min, _INT64.max):
                ranges[placeholder.name] = after

    for node in module.graph.nodes:
        if node.op != "call_function":
            continue
        for index, source, dim, wraps in _index_uses(node):
            value = source.meta["val"]
            size = value.numel() if dim is None else value.shape[dim]
            if isinstance(size, int):
                narrow(index, -size if wraps else 0, size - 1)
        for index, rows in _embedded(node):
            narrow(index, 0, rows - 1)
        # Branches of torch.cond: what a branch asks of its arguments is asked of ours.
        if node.target is torch.ops.higher_order.cond:
            for branch in node.args[1:3]:
                inner = getattr(module, branch.target)
                names = [n.name for n in inner.graph.nodes if n.op == "placeholder"]
                asked = index_ranges(inner)
                for name, operand in zip(names, node.args[3], strict=True):
                    if name in asked:
                        narrow(operand, *asked[name])
    return ranges
