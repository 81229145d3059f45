"""Compiling torch modules into packages that aotiny runs. Needs torch and a C++ compiler.

    >>> aotiny.export(module, (x,), "model.pt2", quantize="int4", device="cuda")

One file a concept: `export` runs the stages, `versions` knows the versions of torch, `device` where
a package runs, `target` the instruction set and compile options, `weights` how quantized weights
are traced, `index_range` which values inputs used as indices may take, `manifest` what the package
says about itself, `package` the archive.
"""

from .export import export
from .versions import SUPPORTED_TORCH

__all__ = ["SUPPORTED_TORCH", "export"]
