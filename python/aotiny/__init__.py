"""aotiny: AOTInductor models without libtorch, with weights at 4, 5, 6 and 8 bits.

    >>> model = aotiny.Model("model.pt2")
    >>> (y,) = model(x)                      # numpy, torch, jax ... in; aotiny.Tensor out
    >>> w = aotiny.quantize(weight, "int4")  # [N, K] floats to packed codes
    >>> y = aotiny.matmul(x, w)              # x @ W.T

Importing aotiny imports neither torch nor numpy; `aotiny.export` needs torch when it is called.
"""

from . import _openmp as _openmp  # before anything else loads _core
from . import cuda
from ._core import (
    CoalescedInt4,
    Error,
    ExactInt4,
    ExactInt5,
    Int4Plain,
    Int4TilePacked,
    Int8,
    Model,
    PlanarInt6,
    Tensor,
    Weight,
    allocator_stats,
    bmm,
    cat,
    convert,
    embedding,
    empty,
    empty_cache,
    exact_int4_plain_mm,
    exact_int5_plain_mm,
    from_dlpack,
    get_num_threads,
    inspect,
    int4_plain_mm,
    int6_plain_mm,
    int8_plain_mm,
    load_library,
    matmul,
    pack_tiles,
    quantize,
    set_num_threads,
    stack,
    weight_int4pack_mm,
)

TYPE_CHECKING = False  # as type checkers know it, without importing typing
if TYPE_CHECKING:
    from .exporter import export
    from .gguf import load_gguf
    from .store import load_file, save_file

__version__ = "0.1.0"

__all__ = [
    "CoalescedInt4",
    "Error",
    "ExactInt4",
    "ExactInt5",
    "Int4Plain",
    "Int4TilePacked",
    "Int8",
    "Model",
    "PlanarInt6",
    "Tensor",
    "Weight",
    "allocator_stats",
    "bmm",
    "cat",
    "cmake_prefix",
    "convert",
    "cuda",
    "embedding",
    "empty",
    "empty_cache",
    "exact_int4_plain_mm",
    "exact_int5_plain_mm",
    "export",
    "from_dlpack",
    "get_num_threads",
    "inspect",
    "int4_plain_mm",
    "int6_plain_mm",
    "int8_plain_mm",
    "load_file",
    "load_gguf",
    "load_library",
    "matmul",
    "pack_tiles",
    "quantize",
    "save_file",
    "set_num_threads",
    "stack",
    "weight_int4pack_mm",
]


def cmake_prefix() -> str:
    """The folder to put on CMAKE_PREFIX_PATH so that find_package(aotiny) finds this install."""
    import os

    from . import _core

    # Beside the native part: in an editable install this file is elsewhere.
    return os.path.dirname(os.path.abspath(_core.__file__))


def __getattr__(name: str) -> object:
    if name == "export":
        from .exporter import export

        return export
    if name == "load_gguf":
        from .gguf import load_gguf

        return load_gguf
    if name in ("load_file", "save_file"):
        from . import store

        return getattr(store, name)
    raise AttributeError(f"module 'aotiny' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
