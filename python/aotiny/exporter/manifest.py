"""What a package says about itself: inputs, outputs, constants, target, options.

AOTInductor's shared object checks and describes next to nothing, so the loader relies on this.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass

import torch
from torch.export import Dim, ExportedProgram
from torch.export.graph_signature import InputKind, OutputKind, TensorArgument

from aotiny.torch import QuantizationReport

from .index_range import Range, index_ranges
from .package import CompiledPackage
from .target import Target

FORMAT, VERSION = "aotiny-manifest", 1

# Symbols stand for sizes that fit in an int64 many times over; torch calls larger bounds infinite.
_UNBOUNDED = 2**62


def dtype_name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _leaf_specs(value, spec) -> Iterator[tuple[torch.Tensor, object]]:
    """(tensor, its part of dynamic_shapes) for the tensors in a nest of arguments."""
    if isinstance(value, torch.Tensor):
        yield value, spec
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _leaf_specs(item, spec[key] if spec else None)
    elif isinstance(value, list | tuple):
        for i, item in enumerate(value):
            yield from _leaf_specs(item, spec[i] if spec else None)


class Dimensions:
    """Sizes as the manifest writes them: numbers, or named ranges."""

    def __init__(self, program: ExportedProgram):
        self._ranges = program.range_constraints
        self._names: dict[str, str] = {}

    def learn_names(self, placeholders: list[torch.Tensor], arguments, dynamic_shapes) -> None:
        """Takes the names that the caller's Dims have; other dimensions keep their symbols'."""
        leaves = list(_leaf_specs(arguments, dynamic_shapes))
        for value, (_, spec) in zip(placeholders, leaves, strict=True):
            items = spec.items() if isinstance(spec, Mapping) else enumerate(spec or ())
            for dim, entry in items:
                size = value.shape[dim]
                if isinstance(entry, Dim) and isinstance(size, torch.SymInt):
                    expression = size.node.expr
                    self._names[str(expression)] = entry.__name__
                    root = getattr(entry, "root", None)  # of a derived Dim, such as 2 * n
                    if root is not None and len(expression.free_symbols) == 1:
                        self._names[str(*expression.free_symbols)] = root.__name__

    def describe(self, size: int | torch.SymInt) -> int | dict:
        if not isinstance(size, torch.SymInt):
            return int(size)
        expression = size.node.expr
        if expression.is_number:
            return int(expression)
        low, high = self._bounds(expression)
        return {
            "name": self._name(expression),
            "min": low,
            "max": high,
            **self._derivation(expression),
        }

    def _name(self, expression) -> str:
        text = str(expression)
        if text in self._names:
            return self._names[text]
        # Whole words, each once: a symbol's name may be part of another's, or a caller's Dim.
        return re.sub(r"\w+", lambda word: self._names.get(word[0], word[0]), text)

    def _bounds(self, expression) -> tuple[int, int | None]:
        from torch.utils._sympy.value_ranges import bound_sympy

        bounds = bound_sympy(expression, self._ranges)
        # Torch has an infinity of its own for integers, which calls itself finite.
        low = int(bounds.lower) if bounds.lower.is_Integer else 0
        high = int(bounds.upper) if bounds.upper.is_Integer else None
        return max(low, 0), None if high is None or high > _UNBOUNDED else high

    def _derivation(self, expression) -> dict:
        """For multiple_of * symbol + offset, how the size follows from the symbol's; else empty."""
        offset, term = expression.as_coeff_Add()
        multiple, symbol = term.as_coeff_Mul()
        if not (symbol.is_Symbol and multiple.is_Integer and offset.is_Integer and multiple > 0):
            return {}
        derivation = {} if expression == symbol else {"of": self._name(symbol)}
        if multiple != 1:
            derivation["multiple_of"] = int(multiple)
        if offset != 0:
            derivation["offset"] = int(offset)
        return derivation


def _placeholders(program: ExportedProgram) -> dict[str, torch.Tensor]:
    return {node.name: node.meta["val"] for node in program.graph.nodes if node.op == "placeholder"}


def user_tensors(program: ExportedProgram) -> dict[str, torch.Tensor]:
    """Name -> fake tensor of each input, in order. Raises TypeError for inputs of other kinds."""
    values = _placeholders(program)
    tensors = {}
    for spec in program.graph_signature.input_specs:
        if spec.kind == InputKind.USER_INPUT:
            if not isinstance(spec.arg, TensorArgument):
                raise TypeError(
                    f"input {spec.arg.name!r} is no tensor; bind it, for example with "
                    "functools.partial, or make it a tensor"
                )
            tensors[spec.arg.name] = values[spec.arg.name]
    return tensors


def _inputs(program: ExportedProgram, dims: Dimensions, overrides: Mapping[str, Range]) -> list:
    tensors = user_tensors(program)
    unknown = set(overrides) - set(tensors)
    if unknown:
        raise ValueError(
            f"input_ranges names {', '.join(sorted(unknown))}; the inputs are {', '.join(tensors)}"
        )
    ranges = {**index_ranges(program.graph_module), **overrides}
    inputs = []
    for name, value in tensors.items():
        entry = {
            "name": name,
            "dtype": dtype_name(value.dtype),
            "device": value.device.type,
            "shape": [dims.describe(size) for size in value.shape],
        }
        if not value.is_contiguous():
            strides = value.stride()
            if not all(isinstance(stride, int) for stride in strides):
                raise ValueError(
                    f"input {name!r} is not contiguous and has dynamic strides {strides}: "
                    "give contiguous example inputs"
                )
            entry["strides"] = list(strides)
        if name in ranges:
            low, high = ranges[name]
            if low > high:
                raise ValueError(f"input {name!r} has an empty range [{low}, {high}]")
            entry["range"] = [int(low), int(high)]
        inputs.append(entry)
    return inputs


def _writes(module: torch.fx.GraphModule) -> bool:
    """Whether any operator of the graph, or of the branches in it, writes to an argument."""
    return any(
        isinstance(node.target, torch._ops.OpOverload) and node.target._schema.is_mutable
        for part in module.modules()
        if isinstance(part, torch.fx.GraphModule)
        for node in part.graph.nodes
    )


def mutated_buffers(program: ExportedProgram) -> set[str]:
    """Qualified names of the buffers that a run writes to.

    The traced graph has in-place operators; torch works out what they reach when it makes the graph
    functional. Raises ValueError if that is an input.
    """
    if not _writes(program.graph_module):
        return set()
    signature = program.run_decompositions({}).graph_signature
    for spec in signature.output_specs:
        if spec.kind == OutputKind.USER_INPUT_MUTATION:
            raise ValueError(
                f"the module writes to its input {spec.target!r}; keep state in a buffer instead"
            )
    return set(signature.buffers_to_mutate.values())


def _outputs(program: ExportedProgram, dims: Dimensions) -> list:
    values = {node.name: node.meta.get("val") for node in program.graph.nodes}
    outputs = []
    for index, spec in enumerate(program.graph_signature.output_specs):
        if spec.kind != OutputKind.USER_OUTPUT:
            continue
        value = values.get(getattr(spec.arg, "name", None))
        name = spec.arg.name if value is not None else f"output {index}"
        if isinstance(value, torch.Tensor):
            dtype, shape = dtype_name(value.dtype), [dims.describe(size) for size in value.shape]
        elif isinstance(value, torch.SymInt):
            dtype, shape = "int64", []
        else:
            raise TypeError(f"{name} is {value!r}; only tensors can be returned")
        outputs.append({"name": name, "dtype": dtype, "shape": shape})
    return outputs


def has_scalar_state(program: ExportedProgram, mutated: set[str]) -> bool:
    """Whether a run writes to a buffer of one element."""
    tensors = {**program.state_dict, **program.constants}
    return any(tensors[name].numel() == 1 for name in mutated if name in tensors)


def _constants(
    program: ExportedProgram, package: CompiledPackage, mutated: set[str], device: torch.device
) -> list:
    """The compiled constants, each compared with the tensor it came from."""
    sources = {**program.state_dict, **program.constants}
    constants = []
    for entry in package.constants:
        source = sources.get(entry["fqn"])
        if isinstance(source, torch.Tensor):
            expected = (dtype_name(source.dtype), list(source.shape))
            if (entry["dtype"], entry["shape"]) != expected:
                raise RuntimeError(
                    f"constant {entry['fqn']!r} was compiled as {entry['dtype']}{entry['shape']}, "
                    f"but is {expected[0]}{expected[1]}"
                )
            # Torch knows two places: the model's device and the CPU.
            if source.device not in (device, torch.device("cpu")):
                raise ValueError(
                    f"constant {entry['fqn']!r} is on {source.device}, the package for {device}"
                )
            if entry["device"] != source.device.type:
                raise RuntimeError(
                    f"constant {entry['fqn']!r} was compiled for {entry['device']}, "
                    f"but is on {source.device}"
                )
        described = {key: value for key, value in entry.items() if key != "bytes"}
        if entry["device"] == device.type:  # what is said of the package
            del described["device"]
        constants.append({**described, "mutable": entry["fqn"] in mutated})
    return constants


def _cuda(device: torch.device) -> dict:
    """The GPU that the kernels are compiled for, and the CUDA of the torch that did it."""
    major, minor = torch.cuda.get_device_capability(device)
    return {"compute_capability": f"{major}.{minor}", "cuda_version": torch.version.cuda}


@dataclass
class Description:
    """What the traced program alone tells, known before it is compiled."""

    inputs: list[dict]
    outputs: list[dict]
    mutated: set[str]


def describe(
    program: ExportedProgram, dims: Dimensions, input_ranges: Mapping[str, Range]
) -> Description:
    return Description(
        _inputs(program, dims, input_ranges), _outputs(program, dims), mutated_buffers(program)
    )


def build_manifest(
    program: ExportedProgram,
    description: Description,
    package: CompiledPackage,
    device: torch.device,
    target: Target,
    options: Mapping[str, object],
    quantization: QuantizationReport | None,
) -> dict:
    """The manifest of a package. Raises if the compiled code disagrees with the program."""
    from aotiny import __version__

    for kind, described, compiled in (
        ("inputs", len(description.inputs), package.num_inputs),
        ("outputs", len(description.outputs), package.num_outputs),
    ):
        if described != compiled:
            raise RuntimeError(f"{described} {kind} were traced, {compiled} compiled")
    return {
        "format": FORMAT,
        "version": VERSION,
        "aotiny_version": __version__,
        "torch_version": torch.__version__,
        "device": device.type,
        **({"cuda": _cuda(device)} if device.type == "cuda" else {}),
        "cpu": {
            "march": target.march,
            "simdlen": target.simdlen,
            "features": list(target.features),
        },
        "inputs": description.inputs,
        "outputs": description.outputs,
        "constants": _constants(program, package, description.mutated, device),
        "quantization": asdict(quantization) if quantization else None,
        "compile_options": {key: str(value) for key, value in options.items()},
    }
