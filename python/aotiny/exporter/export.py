"""aotiny.export: a torch module to a package."""

import os
import re
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from .progress import Callback, Progress
from .versions import require_torch

# The manifest, or what else is compiled, follows from these arguments: an option that said
# something else would make a package that lies about itself.
_OPTION_ARGUMENTS = {
    "cpp.march": "target",
    "cpp.simdlen": "target",
    "aot_inductor.package_constants_in_so": "constants",
    "aot_inductor.package_constants_on_disk_format": "constants",
    "aot_inductor.custom_ops_to_c_shims": "custom_ops",
}


def _check_module(module) -> None:
    """Refuses what would trace, but into a model that answers wrongly or not at all."""
    from torch import nn

    if not isinstance(module, nn.Module):
        raise TypeError(f"module is a torch.nn.Module, not {type(module).__name__}")
    kinds = (nn.modules.dropout._DropoutNd, nn.modules.batchnorm._BatchNorm)
    for name, part in module.named_modules():
        if part.training and isinstance(part, kinds):
            raise ValueError(f"{name or 'the module'} is in training mode; call eval() first")


@contextmanager
def _without_future_warnings() -> Iterator[None]:
    """Torch's exporter and compiler use names that torch itself has deprecated."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        yield


def export(
    module,
    args: Sequence,
    path: str | os.PathLike,
    *,
    kwargs: Mapping[str, object] | None = None,
    dynamic_shapes=None,
    device: str | None = None,
    quantize: str | None = None,
    group_size: int | None = None,
    method: str = "minmax",
    variant: str | None = None,
    layer_filter: Callable[[str, object], bool] | None = None,
    input_ranges: Mapping[str, tuple[int, int]] | None = None,
    target: str | None = None,
    constants: str = "blob",
    gemm: str = "cublas",
    custom_ops: Mapping[object, Sequence[str]] | None = None,
    options: Mapping[str, object] | None = None,
    verbose: bool | None = None,
    progress: Callback | None = None,
) -> dict:
    """Compiles a torch module into a package that aotiny.Model runs, and returns its manifest.

    Args:
        module: the torch.nn.Module, in eval mode; it is not changed.
        args, kwargs: example inputs, as for torch.export.export. Only tensors may vary.
        path: the package to write, ending in .pt2. It appears whole or not at all.
        dynamic_shapes: as for torch.export.export. A Dim's name, min and max go into the manifest
            and are what the loader allows, size 1 included.
        quantize: None, or a format as for aotiny.torch.quantize_ ("int4", "int6", "int8", ...):
            packs the weights of nn.Linear layers, and of embeddings that share theirs with one. A
            module that was given to quantize_ needs no more of it.
        group_size, method, variant: of the quantizer, as for aotiny.quantize.
        layer_filter: called with (qualified name, layer); False keeps a layer as it is. Layers
            that the format cannot hold stay too; the manifest lists them.
        input_ranges: input name -> inclusive (low, high) that every element must keep to. Inputs
            used as indices get theirs from the graph; this replaces them.
        target: "x86-64-v3" (AVX2) or "x86-64-v4" (AVX-512); default: the most this machine runs.
            On CUDA that of the code around the kernels.
        constants: "blob", mapped from the file at load, or "so", inside the shared object.
        gemm: on CUDA, who multiplies matrices of floats: "cublas", which must be there at run time,
            or "triton": kernels in the package, which are tried out while compiling and take
            longer to compile. Packages for the CPU have no such choice.
        custom_ops: operator overload -> C declarations of its shim, as torch's
            aot_inductor.custom_ops_to_c_shims; the library with the shims is given to
            aotiny.load_library before the model is loaded.
        options: further inductor options; they win over aotiny's own, but for those that target,
            constants and custom_ops decide, which are refused.
        verbose: print the stages with their times to stderr; default: if it is a terminal.
        progress: called with (stage, None) at its begin and (stage, seconds) at its end.

    Raises:
        ImportError: torch is missing or of another version.
        ValueError, TypeError: the arguments do not fit, or the module cannot be exported.
        FileNotFoundError: path's folder does not exist.
        RuntimeError: compilation failed, gave code without vector instructions, or gave code that
            calls operators which aotiny does not have.
    """
    require_torch()
    import torch
    from torch._inductor import config as inductor_config

    from aotiny.torch import quantize_
    from aotiny.torch.ops import C_SHIMS

    from .device import choose_device, is_on, move, moved_inputs, work_on
    from .manifest import Dimensions, build_manifest, describe, has_scalar_state, user_tensors
    from .package import CompiledPackage, add_manifest
    from .target import choose_target, compile_options, cuda_options, host_features, vector_isa
    from .weights import has_quantized_weights, planes_to_buffers, shared_copy

    path = Path(path)
    if path.suffix != ".pt2":
        raise ValueError(f"a package's name ends in .pt2, not {path.name!r}")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {path.parent}")
    _check_module(module)
    chosen = choose_target(target, host_features())
    defaults = compile_options(chosen, constants)
    for_cuda = cuda_options(gemm)
    stages = Progress(verbose, progress)
    if not isinstance(args, tuple | list):
        raise TypeError(f"args is a tuple of example inputs, not {type(args).__name__}")
    kwargs = dict(kwargs or {})
    place = choose_device(module, args, kwargs, device)
    if place.type == "cuda":
        defaults.update(for_cuda)
    elif gemm != "cublas":
        raise ValueError(f"gemm={gemm!r} is for CUDA, and this package is for the CPU")
    c_shims = {operator: list(shims) for operator, shims in (custom_ops or {}).items()}
    for name, argument in _OPTION_ARGUMENTS.items():
        if name in (options or {}):
            raise ValueError(f"{name} follows from {argument}=; give that instead of the option")

    report = None
    if quantize is not None or has_quantized_weights(module) or not is_on(place, module):
        module = shared_copy(module)
    if quantize is not None:
        with stages.stage(f"quantize {quantize}"):
            report = quantize_(
                module, quantize, group_size, method, variant, layer_filter, embeddings=False
            )
            if not report.quantized:
                why = "; ".join(f"{name}: {text}" for name, text in report.skipped.items())
                raise ValueError(f"there is no linear layer to quantize ({why or 'none at all'})")
    planes_to_buffers(module)
    if not is_on(place, module):
        move(module, place)
    args, kwargs = moved_inputs(args, kwargs, place)

    with stages.stage("trace"), torch.no_grad(), work_on(place), _without_future_warnings():
        program = torch.export.export(module, args, kwargs, dynamic_shapes=dynamic_shapes)
        dims = Dimensions(program)
        # Other ways to say dynamic_shapes give no names.
        if isinstance(dynamic_shapes, Mapping | tuple | list):
            arguments, shapes = _by_parameter(module, args, kwargs, dynamic_shapes)
            dims.learn_names(list(user_tensors(program).values()), arguments, shapes)
        description = describe(program, dims, input_ranges or {})

    if has_scalar_state(program, description.mutated):
        # Inductor would take a buffer of one element for the constant that it is at first.
        defaults["joint_graph_constant_folding"] = False

    # Beside the target, so that the last step is a rename; the archive's root is the file's stem.
    work = Path(tempfile.mkdtemp(prefix=".aotiny-export-", dir=path.parent.absolute()))
    build = _build_folder(work)
    try:
        with stages.stage("compile"), vector_isa(chosen), work_on(place):
            config = {
                **defaults,
                "aot_inductor.custom_ops_to_c_shims": {**c_shims, **C_SHIMS},
                **(options or {}),
            }
            written = work / path.name
            # Not among the options, which torch refuses: what compilation leaves behind, a copy of
            # the weights among it, goes away with the folder.
            leftovers = inductor_config.patch({"aot_inductor.output_path": str(build)})
            with leftovers, _without_future_warnings():
                torch._inductor.aoti_compile_and_package(
                    program, package_path=str(written), inductor_configs=config
                )
        with stages.stage("package"):
            package = CompiledPackage(written)
            if package.isa != chosen.isa:
                raise RuntimeError(
                    f"inductor compiled for {package.isa or 'no vector instructions'}, "
                    f"not for {chosen.isa}"
                )
            _check_operators(written, c_shims)
            recorded = {
                key: value
                for key, value in config.items()
                if key != "aot_inductor.custom_ops_to_c_shims"
            }
            manifest = build_manifest(
                program, description, package, place, chosen, recorded, report
            )
            add_manifest(written, package.root, manifest)
            os.replace(written, path)
    finally:
        shutil.rmtree(build, ignore_errors=True)
        shutil.rmtree(work, ignore_errors=True)
    return manifest


def _check_operators(package: Path, c_shims: Mapping[object, Sequence[str]]) -> None:
    """Refuses a package that calls what neither aotiny nor a library of the caller's will have."""
    import aotiny

    declared = " ".join(declaration for shims in c_shims.values() for declaration in shims)
    (model,) = aotiny.inspect(str(package))["models"].values()
    missing = [name for name in model["missing_symbols"] if f"{name}(" not in declared]
    missing += model["proxy_operators"]
    if missing:
        raise RuntimeError(
            f"the compiled module calls {', '.join(missing)}, which aotiny does not have; "
            "operators with C shims of your own are named with custom_ops="
        )


def _build_folder(work: Path) -> Path:
    """Where inductor compiles: in the folder, unless its path would not survive inductor's unquoted
    compiler command."""
    if re.fullmatch(r"[\w/.+-]+", str(work)):
        return work / "build"
    return Path(tempfile.mkdtemp(prefix="aotiny-export-"))


def _by_parameter(module, args, kwargs, dynamic_shapes) -> tuple[object, object]:
    """Arguments and dynamic_shapes by parameter name, both in the order of the program's inputs."""
    import inspect

    signature = inspect.signature(module.forward)
    bound = signature.bind(*args, **kwargs).arguments
    if not isinstance(dynamic_shapes, Mapping):
        dynamic_shapes = dict(zip(bound, dynamic_shapes, strict=False))
    # Torch orders keyword arguments as they are given, not as the signature has them.
    given = [*signature.bind_partial(*args).arguments, *kwargs]
    order = dict.fromkeys([*(name for name in given if name in bound), *bound])
    return (
        {name: bound[name] for name in order},
        {name: dynamic_shapes.get(name) for name in order},
    )
