"""Compiling torch modules into packages that aotiny runs. Needs torch 2.13 and a C++ compiler.

    >>> aotiny.export(module, (x,), "model.pt2", quantize="int4")

One file a concept: `export` runs the stages, `target` the instruction set and compile options,
`weights` how quantized weights are traced, `index_range` which values inputs used as indices may
take, `manifest` what the package says about itself, `package` the archive.
"""

from .export import SUPPORTED_TORCH, export

__all__ = ["SUPPORTED_TORCH", "export"]
