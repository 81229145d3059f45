"""The exported models and torch's own results, made once and kept."""

import os
from collections.abc import Callable
from pathlib import Path

from .corpus import Corpus

# What `export` is told beside the model.
VARIANTS = {
    "fp32": {},
    "int8": {"quantize": "int8"},
    "int6": {"quantize": "int6"},
    "int4": {"quantize": "int4"},
    "int4-hqq": {"quantize": "int4", "method": "hqq"},
}
TORCH_PACKAGE = "torch"
REFERENCE = "reference.npy"


def package_path(folder: Path, name: str) -> Path:
    return folder / f"minilm-{name}.pt2"


def missing(folder: Path) -> list[str]:
    """What is not there yet."""
    names = [n for n in (*VARIANTS, TORCH_PACKAGE) if not package_path(folder, n).exists()]
    return names if (folder / REFERENCE).exists() else [*names, REFERENCE]


def prepare(folder: Path, target: str, corpus: Corpus, announce: Callable[[str], None]) -> None:
    """Makes what is missing in the folder. Imports torch only then."""
    todo = missing(folder)
    if not todo:
        announce("using the packages of an earlier run")
        return
    announce("importing torch")
    import torch

    from aotiny.exporter import export

    from . import minilm

    folder.mkdir(parents=True, exist_ok=True)
    model = minilm.load()
    for name, how in VARIANTS.items():
        if name in todo:
            announce(f"exporting {name}")
            export(
                model,
                minilm.example_inputs(),
                package_path(folder, name),
                dynamic_shapes=minilm.dynamic_shapes(),
                **how,
                target=target,
                verbose=False,
            )
    if TORCH_PACKAGE in todo:
        announce("compiling torch's own package")
        _compile_for_torch(torch, model, package_path(folder, TORCH_PACKAGE))
    if REFERENCE in todo:
        announce("computing the reference in torch")
        _write_reference(torch, model, corpus, folder / REFERENCE)


def _compile_for_torch(torch, model, path: Path) -> None:
    """AOTInductor with torch's default options, which tune for this very machine."""
    import warnings

    from . import minilm

    partial = path.with_name(f"partial-{path.name}")
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        program = torch.export.export(
            model, minilm.example_inputs(), dynamic_shapes=minilm.dynamic_shapes()
        )
        torch._inductor.aoti_compile_and_package(program, package_path=str(partial))
    os.replace(partial, path)


def _write_reference(torch, model, corpus: Corpus, path: Path) -> None:
    """Eager fp32 embeddings of all sentences: fp32 [sentences, 384]."""
    import numpy as np

    with torch.no_grad():
        parts = [model(*map(torch.from_numpy, pair)).numpy() for pair in corpus.batches]
    partial = path.with_name(f"partial-{path.name}")
    np.save(partial, np.concatenate(parts))
    os.replace(partial, path)
