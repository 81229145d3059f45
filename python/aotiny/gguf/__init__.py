"""Weights from GGUF files, value for value: GGUFFile, load_gguf and check.

The header is read by header.py alone, and the `gguf` package is not needed.
"""

from .file import DENSE_TYPES, GGUFFile, check, load_gguf
from .header import Header, TensorInfo

__all__ = ["DENSE_TYPES", "GGUFFile", "Header", "TensorInfo", "check", "load_gguf"]
