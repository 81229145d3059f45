"""The exported models and torch's own results, made once and kept."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .corpus import Corpus


@dataclass(frozen=True)
class Variant:
    """A row of the table: the dtype of what is not quantized, and what `export` is told."""

    dtype: str = "float32"
    options: Mapping[str, str] = field(default_factory=dict)


_VARIANTS = {
    "fp32": Variant(),
    "bf16": Variant("bfloat16"),
    "int8": Variant(options={"quantize": "int8"}),
    "int6": Variant(options={"quantize": "int6"}),
    "int4": Variant(options={"quantize": "int4"}),
    "int4-hqq": Variant(options={"quantize": "int4", "method": "hqq"}),
}
TORCH_PACKAGE = "torch"
REFERENCE = "reference.npy"


def variants(device: str) -> dict[str, Variant]:
    """The table's rows for a device. bf16 is what a GPU multiplies fastest."""
    return {name: v for name, v in _VARIANTS.items() if name != "bf16" or device != "cpu"}


def package_path(folder: Path, name: str) -> Path:
    return folder / f"minilm-{name}.pt2"


def missing(folder: Path, device: str) -> list[str]:
    """What is not there yet."""
    names = (*variants(device), TORCH_PACKAGE)
    absent = [name for name in names if not package_path(folder, name).exists()]
    return absent if (folder / REFERENCE).exists() else [*absent, REFERENCE]


def prepare(
    folder: Path, target: str, device: str, corpus: Corpus, announce: Callable[[str], None]
) -> None:
    """Makes what is missing in the folder. Imports torch only then."""
    absent = missing(folder, device)
    if not absent:
        announce("using the packages of an earlier run")
        return
    announce("importing torch")
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(absent, 1):
        place = f"({number} of {len(absent)})"
        if name == REFERENCE:
            announce(f"computing the reference in torch {place}")
            _write_reference(corpus, folder / REFERENCE)
        elif name == TORCH_PACKAGE:
            announce(f"compiling torch's own package {place}")
            _compile_for_torch(device, package_path(folder, TORCH_PACKAGE))
        else:
            announce(f"exporting {name} {place}")
            export_variant(name, target, device, package_path(folder, name))


def export_variant(name: str, target: str, device: str, path: Path) -> None:
    import torch

    from aotiny.exporter import export

    from . import minilm

    variant = _VARIANTS[name]
    export(
        minilm.load().to(getattr(torch, variant.dtype)),
        minilm.example_inputs(),
        path,
        dynamic_shapes=minilm.dynamic_shapes(),
        device=device,
        **variant.options,
        target=target,
        verbose=False,
    )


def _compile_for_torch(device: str, path: Path) -> None:
    """AOTInductor with torch's default options, which tune for this very machine."""
    import warnings

    import torch

    from . import minilm

    partial = path.with_name(f"partial-{path.name}")
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        program = torch.export.export(
            minilm.load().to(device),
            tuple(example.to(device) for example in minilm.example_inputs()),
            dynamic_shapes=minilm.dynamic_shapes(),
        )
        torch._inductor.aoti_compile_and_package(program, package_path=str(partial))
    os.replace(partial, path)


def _write_reference(corpus: Corpus, path: Path) -> None:
    """Eager fp32 embeddings of all sentences, computed on the CPU: fp32 [sentences, 384]."""
    import numpy as np
    import torch

    from . import minilm

    model = minilm.load()
    with torch.no_grad():
        parts = [model(*map(torch.from_numpy, pair)).numpy() for pair in corpus.batches]
    partial = path.with_name(f"partial-{path.name}")
    np.save(partial, np.concatenate(parts))
    os.replace(partial, path)
