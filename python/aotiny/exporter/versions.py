"""Which versions of torch the exporter knows, and how they differ.

What differs is looked for by name, not by version:

- `cpp.march` and `aot_inductor.enable_line_tables` are options from 2.13 on. Before, -march=native
  is fixed (target.vector_isa replaces it), and there are no line tables.
"""

from collections.abc import Mapping
from functools import reduce

SUPPORTED_TORCH = ("2.11", "2.12", "2.13")

_NEWER_OPTIONS = ("cpp.march", "aot_inductor.enable_line_tables")


def require_torch() -> None:
    versions = f"torch {SUPPORTED_TORCH[0]} to {SUPPORTED_TORCH[-1]}"
    try:
        import torch
    except ImportError as error:
        raise ImportError(
            f"aotiny.export needs {versions}: pip install 'aotiny[export]'"
        ) from error
    if ".".join(torch.__version__.split(".")[:2]) not in SUPPORTED_TORCH:
        raise ImportError(
            f"aotiny.export needs {versions}, whose compiled code it knows; "
            f"this is torch {torch.__version__}"
        )


def has_option(name: str) -> bool:
    """Whether this torch's inductor has the option."""
    from torch._inductor import config

    *owners, last = name.split(".")
    return hasattr(reduce(getattr, owners, config), last)


def without_newer_options(options: Mapping[str, object]) -> dict[str, object]:
    """The options but for those of ours that this torch is too old for."""
    absent = {name for name in _NEWER_OPTIONS if not has_option(name)}
    return {name: value for name, value in options.items() if name not in absent}
