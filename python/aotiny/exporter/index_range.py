"""Which values the integer inputs of a graph may take.

An index out of bounds ends the process when the compiled kernel that meets it runs in parallel, so
a package says which values its index inputs may take, and the loader looks before each run. The
bounds come from the graph: every use of an input, or of a view, cast or shift by a constant of it,
as an index into a dimension of known size narrows them. What reaches an index by other arithmetic
is not seen; input_ranges= says it.
"""

import torch
from torch.fx import GraphModule, Node

Range = tuple[int, int]

_SAME_VALUES = frozenset(
    f"aten::{name}"
    for name in (
        *("_to_copy", "_unsafe_view", "alias", "chunk", "clone", "contiguous", "detach", "expand"),
        *("flatten", "lift_fresh", "narrow", "permute", "repeat", "reshape", "select", "slice"),
        *("split", "squeeze", "t", "to", "transpose", "type_as", "unbind", "unflatten"),
        *("unsqueeze", "view"),
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
    """(index node, source node, dim, negative allowed) for each index that this node takes."""
    name = _operator(node)
    if name in _BY_DIM:
        index, source, dim, wraps = _BY_DIM[name]
        yield (
            _argument(node, index),
            _argument(node, source),
            0 if dim is None else _argument(node, dim),
            wraps,
        )
    elif name in _BY_LIST:
        # None keeps a dimension; a boolean mask covers several, and nothing after it is placed.
        for dim, index in enumerate(_argument(node, 1)):
            if index is None:
                continue
            if index.meta["val"].dtype in (torch.bool, torch.uint8):
                break
            yield index, _argument(node, 0), dim, True


def _origin(node: Node) -> tuple[Node, int] | None:
    """The placeholder whose values, plus a constant, this node holds."""
    shift = 0
    while node.op == "call_function":
        name = _operator(node)
        # The parts of split and chunk.
        is_item = getattr(node.target, "__name__", "") == "getitem"
        if name in ("aten::add", "aten::sub") and isinstance(_argument(node, 1), int):
            if node.kwargs.get("alpha", 1) != 1:
                return None
            shift += _argument(node, 1) if name == "aten::add" else -_argument(node, 1)
        elif name not in _SAME_VALUES and not is_item:
            return None
        node = node.args[0]
        if not isinstance(node, Node):
            return None
    return (node, shift) if node.op == "placeholder" else None


def index_ranges(module: GraphModule) -> dict[str, Range]:
    """Placeholder name -> smallest inclusive range that keeps every index in bounds."""
    ranges: dict[str, Range] = {}

    def narrow(node, low: int, high: int) -> None:
        origin = _origin(node) if isinstance(node, Node) else None
        if origin is None:
            return
        placeholder, shift = origin
        value = placeholder.meta.get("val")
        if not isinstance(value, torch.Tensor) or value.dtype.is_floating_point:
            return
        before = ranges.get(placeholder.name, (low - shift, high - shift))
        ranges[placeholder.name] = (max(before[0], low - shift), min(before[1], high - shift))

    for node in module.graph.nodes:
        if node.op != "call_function":
            continue
        for index, source, dim, wraps in _index_uses(node):
            size = source.meta["val"].shape[dim]
            if isinstance(size, int):
                narrow(index, -size if wraps else 0, size - 1)
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
