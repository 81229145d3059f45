"""A quantized weight as a torch tensor."""

import copy
import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext

import torch
import torch.nn.functional as F

import aotiny
from aotiny import _core

from .ops import DEVICES, FLOATS, dtype_name, in_torch_stream, weight_shape

aten = torch.ops.aten


class WeightTensor(torch.Tensor):
    """A weight [N, K], or a stack [B, N, K], of any of aotiny's formats, in place of a float one.

    It has the shape of the weight and a dtype, float32, float16 or bfloat16, which is that of what
    embedding looks up. Products take activations of any of these and answer in theirs. The planes
    are torch tensors, named as aotiny.Weight.tensors() names them. Whatever is not supported raises
    NotImplementedError with the operator's name; dequantize() gives the values.
    """

    format: str
    variant: str
    group_size: int
    transposed: bool  # shape [..., K, N]: the right-hand side of a product, a view
    readonly: bool  # the memory cannot be written, as that of a mapped file

    @staticmethod
    def __new__(
        cls,
        planes: Sequence[torch.Tensor],
        format: str,
        variant: str,
        group_size: int,
        dtype: torch.dtype = torch.float32,
        transposed: bool = False,
        readonly: bool = False,
    ):
        if dtype not in FLOATS:
            raise TypeError(f"WeightTensor: dtype is float32, float16 or bfloat16, not {dtype}")
        shape = list(weight_shape(planes, format, variant, group_size))
        if len(places := {str(plane.device) for plane in planes}) > 1:
            raise ValueError(f"WeightTensor: planes on {' and '.join(sorted(places))}")
        strides = [shape[-2] * shape[-1], shape[-1], 1][-len(shape) :]
        if transposed:
            for pair in (shape, strides):
                pair[-2], pair[-1] = pair[-1], pair[-2]
        # Not an inference tensor even in that mode: torch cannot make views of others such.
        with torch.inference_mode(False) if torch.is_inference_mode_enabled() else nullcontext():
            self = torch.Tensor._make_wrapper_subclass(
                cls, shape, strides=strides, dtype=dtype, device=planes[0].device
            )
        self.format, self.variant, self.group_size = format, variant, group_size
        self.transposed, self.readonly = transposed, readonly
        for name, plane in zip(_core.plane_names(format, variant), planes, strict=True):
            setattr(self, f"plane_{name}", plane)
        return self

    @classmethod
    def from_weight(
        cls, weight: aotiny.Weight, dtype: torch.dtype = torch.float32
    ) -> "WeightTensor":
        """Shares the memory of an aotiny.Weight, and is read-only if that is."""
        planes = [torch.from_dlpack(plane) for plane in weight.tensors().values()]
        return cls(
            planes, type(weight).__name__, weight.variant, weight.group_size, dtype,
            weight.is_transposed, weight.readonly,
        )  # fmt: skip

    @property
    def planes(self) -> dict[str, torch.Tensor]:
        """The packed tensors by name, sharing their memory. Torch cannot protect them: those of a
        weight that is `readonly`, as from a mapped file, must not be written to."""
        names = _core.plane_names(self.format, self.variant)
        return {name: getattr(self, f"plane_{name}") for name in names}

    def weight(self) -> aotiny.Weight:
        """The same weight as aotiny has it, sharing its memory."""
        planes = list(self.planes.values())
        if _is_fake(planes):
            raise NotImplementedError("of a quantized weight, only products can be traced")
        weight = _core.weight_of_planes(
            self.format, self.variant, planes, self.group_size, self.readonly
        )
        return weight.mT if self.transposed else weight

    # By which what takes weights knows that this is one, without importing torch.
    def __aotiny_weight__(self) -> aotiny.Weight:
        return self.weight()

    def __dlpack__(self, **_):
        raise TypeError("a quantized weight: weight() holds the codes, dequantize() has the values")

    __dlpack_device__ = __dlpack__

    def dequantize(self) -> torch.Tensor:  # type: ignore[override]
        """The values, of this shape and dtype."""
        with in_torch_stream(self.device):
            return torch.from_dlpack(self.weight().dequantize()).to(self.dtype)

    def view_of(self, weight: aotiny.Weight) -> "WeightTensor":
        """What aotiny made of weight(), sharing its memory: of this dtype, read-only as this."""
        result = WeightTensor.from_weight(weight, self.dtype)
        result.readonly = self.readonly or weight.readonly
        return result

    def with_planes(self, planes: Sequence[torch.Tensor], **changes) -> "WeightTensor":
        """A weight of the same kind with other planes; `changes` as the constructor names them."""
        kind = {
            "format": self.format,
            "variant": self.variant,
            "group_size": self.group_size,
            "dtype": self.dtype,
            "transposed": self.transposed,
            "readonly": self.readonly,
        }
        return WeightTensor(planes, **{**kind, **changes})

    def __tensor_flatten__(self):
        names = [f"plane_{name}" for name in self.planes]
        kind = (self.format, self.variant, self.group_size, self.dtype)
        return names, (*kind, self.transposed, self.readonly)

    @staticmethod
    def __tensor_unflatten__(tensors, context, outer_size, outer_stride):
        return WeightTensor(list(tensors.values()), *context)

    def __repr__(self) -> str:  # type: ignore[override]
        kind = f"{self.format} {self.variant}".strip()
        transposed = ", transposed" if self.transposed else ""
        return (
            f"WeightTensor({kind}, shape={list(self.shape)}, group_size={self.group_size}, "
            f"dtype={dtype_name(self.dtype)}{transposed})"
        )

    def __deepcopy__(self, memo):
        if id(self) not in memo:
            planes = [copy.deepcopy(plane, memo) for plane in self.planes.values()]
            memo[id(self)] = _marked(self, self.with_planes(planes, readonly=False))
        return memo[id(self)]

    def __reduce_ex__(self, protocol):
        planes = list(self.planes.values())
        is_parameter = isinstance(self, torch.nn.Parameter)
        kind = (self.format, self.variant, self.group_size, self.dtype, self.transposed)
        return _rebuild, (planes, *kind, is_parameter)

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        if func in _FUNCTIONS:
            return _FUNCTIONS[func](*args, **(kwargs or {}))
        # Not the inherited one, which would make results that are plain tensors ones of this class.
        with torch._C.DisableTorchFunctionSubclass():
            return func(*args, **(kwargs or {}))

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        if func not in _OPERATORS:
            raise NotImplementedError(
                f"{func} is not supported on a quantized weight; dequantize() gives its values"
            )
        return _OPERATORS[func](*args, **(kwargs or {}))


def _is_fake(planes: Sequence[torch.Tensor]) -> bool:
    return any(isinstance(plane, torch._subclasses.FakeTensor) for plane in planes)


def _marked(source: WeightTensor, result: WeightTensor) -> WeightTensor:
    """`result`, a parameter if `source` is one."""
    return torch.nn.Parameter(result, False) if isinstance(source, torch.nn.Parameter) else result


def _rebuild(planes, format, variant, group_size, dtype, transposed, is_parameter):
    result = WeightTensor(planes, format, variant, group_size, dtype, transposed)
    if result.device.type in DEVICES and not _is_fake(planes):
        # A file may hold anything: this looks at the metadata's values as well.
        copy = {name: plane.cpu() for name, plane in result.planes.items()}
        getattr(aotiny, format).from_tensors(group_size=group_size, **copy)
    return torch.nn.Parameter(result, False) if is_parameter else result


_FUNCTIONS: dict[Callable, Callable] = {}  # of Python, before they are taken apart
_OPERATORS: dict[object, Callable] = {}  # of ATen, what is left of the others


def _implements(*functions):
    def register(handler):
        for function in functions:
            is_operator = isinstance(function, torch._ops.OpOverload)
            (_OPERATORS if is_operator else _FUNCTIONS)[function] = handler
        return handler

    return register


def _require_weight(name: str, x, weight) -> None:
    if isinstance(x, WeightTensor) or not isinstance(weight, WeightTensor):
        raise NotImplementedError(f"{name}: a quantized weight is the weight, not the activations")


def _arguments(weight: WeightTensor) -> tuple:
    planes = list(weight.planes.values())
    return planes, weight.format, weight.variant, weight.group_size


@_implements(F.linear, aten.linear.default)
def _linear(input, weight, bias=None):
    _require_weight("linear", input, weight)
    if weight.transposed:
        raise NotImplementedError(f"linear: the weight {list(weight.shape)} is a transpose")
    return torch.ops.aotiny.weight_matmul(input, *_arguments(weight), bias)


@_implements(F.embedding)
def _embedding(
    input, weight, padding_idx=None, max_norm=None, norm_type=2.0,
    scale_grad_by_freq=False, sparse=False,
):  # fmt: skip
    _require_weight("embedding", input, weight)
    if max_norm is not None:
        raise NotImplementedError("embedding: max_norm would change a quantized weight")
    if weight.transposed:
        raise NotImplementedError(f"embedding: the weight {list(weight.shape)} is a transpose")
    return torch.ops.aotiny.weight_embedding(input, *_arguments(weight), weight.dtype)


@_implements(aten.embedding.default)
def _aten_embedding(weight, indices, padding_idx=-1, scale_grad_by_freq=False, sparse=False):
    return _embedding(indices, weight)


@_implements(
    torch.matmul, torch.Tensor.matmul, torch.Tensor.__matmul__, torch.mm, torch.Tensor.mm,
    torch.bmm, torch.Tensor.bmm, aten.mm.default, aten.bmm.default,
)  # fmt: skip
def _matmul(input, other):
    _require_weight("matmul", input, other)
    if not other.transposed:
        raise NotImplementedError(
            f"matmul: the weight {list(other.shape)} is multiplied by its transpose only: x @ w.mT"
        )
    if other.dim() == 2:
        return torch.ops.aotiny.weight_matmul(input, *_arguments(other), None)
    return torch.ops.aotiny.weight_bmm(input, *_arguments(other))


@_implements(aten.addmm.default)
def _addmm(bias, input, other, *, beta=1, alpha=1):
    _require_weight("addmm", input, other)
    if (beta, alpha) != (1, 1) or not other.transposed:
        raise NotImplementedError("addmm: only bias + x @ w.T")
    return torch.ops.aotiny.weight_matmul(input, *_arguments(other), bias)


@_implements(torch.transpose, torch.Tensor.transpose, aten.transpose.int)
def _transpose(input, dim0, dim1):
    rank = input.dim()
    dims = {dim + rank if dim < 0 else dim for dim in (dim0, dim1)}
    if dims != {rank - 2, rank - 1}:
        raise NotImplementedError(
            f"transpose: dimensions {dim0} and {dim1} of {list(input.shape)}; the last two only"
        )
    return input.with_planes(list(input.planes.values()), transposed=not input.transposed)


@_implements(torch.Tensor.mT.__get__)
def _mt(input):
    return _transpose(input, -2, -1)


@_implements(torch.t, torch.Tensor.t, torch.Tensor.T.__get__, aten.t.default)
def _t(input):
    if input.dim() != 2:  # of a stack it would turn the batch as well
        raise NotImplementedError(f"t: the weight {list(input.shape)} is a stack, which has mT")
    return _transpose(input, -2, -1)


@_implements(torch.Tensor.data.__set__)
def _set_data(self, value):
    # Torch would replace the wrapper and leave the planes, which hold the values.
    raise NotImplementedError("data: a quantized weight's data cannot be set; use copy_")


@_implements(torch.Tensor.share_memory_)
def _share_memory(self):
    # Torch would look for the memory of the wrapper, which has none.
    raise NotImplementedError("share_memory_: a quantized weight's memory is its planes'")


@_implements(aten.detach.default, aten.alias.default, aten.lift_fresh.default)
def _same(self):
    return self.with_planes(list(self.planes.values()))


@_implements(aten.clone.default)
def _clone(self, *, memory_format=None):
    if self.transposed and memory_format is torch.contiguous_format:
        raise NotImplementedError("contiguous: a transposed weight is a view only")
    planes = [plane.clone(memory_format=torch.contiguous_format) for plane in self.planes.values()]
    return self.with_planes(planes, readonly=False)


@_implements(torch.Tensor.contiguous)
def _contiguous(self, memory_format=torch.contiguous_format):
    if not self.transposed and all(plane.is_contiguous() for plane in self.planes.values()):
        return self
    return _clone(self, memory_format=memory_format)


@_implements(aten._to_copy.default)
def _to_copy(
    self, *, dtype=None, layout=None, device=None, pin_memory=None, non_blocking=False,
    memory_format=None,
):  # fmt: skip
    device = self.device if device is None else torch.device(device)
    if device.type not in DEVICES or pin_memory or layout not in (None, torch.strided):
        kind = "" if layout in (None, torch.strided) else f", {layout}"
        raise NotImplementedError(
            "to: a quantized weight is on the CPU or a CUDA device, not on "
            f"{device}{kind}{', in pinned memory' if pin_memory else ''}"
        )
    if dtype is not None and dtype not in FLOATS:
        raise NotImplementedError(f"to: a quantized weight stands for floats, not {dtype}")
    planes = [
        plane.to(
            device, non_blocking=non_blocking, copy=True, memory_format=torch.contiguous_format
        )
        for plane in self.planes.values()
    ]
    return self.with_planes(planes, dtype=dtype or self.dtype, readonly=False)


# What aotiny does with weights, by its own rules of what may be cut and joined; it raises
# aotiny.Error with the numbers.


@_implements(aten.slice.Tensor)
def _slice(self, dim=0, start=None, end=None, step=1):
    if step != 1:
        raise NotImplementedError(f"slice: a quantized weight has no steps of {step}")
    return self.view_of(self.weight().slice(dim, start, end))


@_implements(aten.select.int)
def _select(self, dim, index):
    return self.view_of(self.weight().select(dim, index))


@_implements(torch.Tensor.view, aten.view.default)
def _view(self, *size):
    return self.view_of(self.weight().view(_sizes(size, self)))


@_implements(torch.reshape, torch.Tensor.reshape)
def _reshape(self, *shape, **named):
    weight = self.weight().reshape(_sizes(shape or tuple(named.values()), self))
    result = WeightTensor.from_weight(weight, self.dtype)
    # It may be a copy; what could be written of one that is not stays unwritten.
    result.readonly = self.readonly
    return result


def _sizes(size, weight) -> list[int]:
    sizes = size[0] if len(size) == 1 and not isinstance(size[0], int) else size
    if isinstance(sizes, torch.dtype):
        raise NotImplementedError(f"view: {weight!r} cannot be taken for {sizes}")
    known = math.prod(n for n in sizes if n != -1)
    return [weight.numel() // known if n == -1 and known else n for n in sizes]


@_implements(aten.unsqueeze.default)
def _unsqueeze(self, dim):
    if self.dim() != 2 or dim not in (0, -3):
        raise NotImplementedError(
            f"unsqueeze: dimension {dim} of {list(self.shape)}; 0 of a matrix"
        )
    return self.view_of(self.weight().unsqueeze())


@_implements(aten.squeeze.default, aten.squeeze.dim)
def _squeeze(self, dim=0):
    if self.dim() != 3 or dim not in (0, -3) or self.shape[0] != 1:
        raise NotImplementedError(
            f"squeeze: dimension {dim} of {list(self.shape)}; 0 of one weight"
        )
    return self.view_of(self.weight().squeeze())


@_implements(aten.cat.default)
def _cat(tensors, dim=0):
    return _joined(aotiny.cat, tensors, dim)


@_implements(aten.stack.default)
def _stack(tensors, dim=0):
    if dim != 0:
        raise NotImplementedError(f"stack: along dimension 0 only, not {dim}")
    return _joined(aotiny.stack, tensors)


def _joined(join, tensors, *dim):
    if not all(isinstance(tensor, WeightTensor) for tensor in tensors):
        raise NotImplementedError(f"{join.__name__}: quantized weights and float tensors")
    if len({tensor.dtype for tensor in tensors}) > 1:
        raise NotImplementedError(f"{join.__name__}: dtypes {[t.dtype for t in tensors]}")
    with in_torch_stream(tensors[0].device):
        joined = join([tensor.weight() for tensor in tensors], *dim)
        return WeightTensor.from_weight(joined, tensors[0].dtype)


@_implements(aten.copy_.default)
def _copy(self, src, non_blocking=False):
    if not isinstance(self, WeightTensor) or not isinstance(src, WeightTensor):
        raise NotImplementedError(
            "copy_: between quantized and float tensors; quantize_() and dequantize() convert, and "
            "load_state_dict(..., assign=True) replaces"
        )
    if self.readonly:
        raise NotImplementedError("copy_: the weight's memory cannot be written; clone() it")
    source = src if src.device == self.device else _to_copy(src, device=self.device)
    with in_torch_stream(self.device):
        self.weight().copy_(source.weight())
    return self


@_implements(aten.equal.default)
def _equal(self, other):
    both = isinstance(self, WeightTensor) and isinstance(other, WeightTensor)
    if not both or self.dtype != other.dtype:
        return False
    if self.device != other.device:
        raise NotImplementedError(f"equal: weights on {self.device} and {other.device}")
    with in_torch_stream(self.device):
        return self.weight() == other.weight()
