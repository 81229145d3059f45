"""Calls the C functions of libaotiny on torch tensors, and libtorch's own for comparison.

    y = aotiny_shim().call("aoti_torch_cpu_topk", x, 3, -1, True, True)

The arguments are those of the C declaration, without its output pointers, which become the result:
torch tensors for handles, numbers for numbers. An argument that is a pointer to a number or handle
is optional and takes None; a pointer to an array takes a sequence (its length is an argument of its
own, as in C). Torch tensors are passed without a copy, with their strides and storage offset, so
`out` arguments are written in place.
"""

import ctypes
import importlib.util
import os
import re
import sys
from functools import cache
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from c_declarations import ABI_HEADER, CUDA_HEADER, declarations

C_TYPES = {
    "bool": ctypes.c_bool,
    "float": ctypes.c_float,
    "double": ctypes.c_double,
    "int": ctypes.c_int,
    "intptr_t": ctypes.c_ssize_t,
    "size_t": ctypes.c_size_t,
    **{
        f"{u}int{bits}_t": getattr(ctypes, f"c_{u}int{bits}")
        for u in ("", "u")
        for bits in (8, 16, 32, 64)
    },
}
DTYPE_NAMES = [f"{u}int{bits}" for u in ("", "u") for bits in (8, 16, 32, 64)]
DTYPE_NAMES += [f"float{bits}" for bits in (16, 32, 64)]
DTYPE_NAMES += [f"complex{bits}" for bits in (32, 64, 128)]
DTYPE_NAMES += ["bool", "bfloat16"]
DTYPE_NAMES += [f"float8_{name}" for name in ("e5m2", "e4m3fn", "e5m2fnuz", "e4m3fnuz")]
# How output pointers are named; they come back as results.
OUTPUT_NAME = re.compile(r"ret\w*|new_handle")


class ShimError(Exception):
    """A call returned a code other than 0."""

    def __init__(self, code: int, text: str):
        super().__init__(text)
        self.code = code


class Handle:
    """An owned AtenTensorHandle."""

    def __init__(self, shim: "Shim", pointer: int | None, memory=None):
        self.shim, self.pointer, self._memory = shim, pointer, memory

    def __del__(self):
        if self.pointer:
            self.shim.library.aoti_torch_delete_tensor_object(ctypes.c_void_p(self.pointer))

    def get(self, attribute: str):
        """The result of aoti_torch_get_<attribute>."""
        return self.shim.call(f"aoti_torch_get_{attribute}", self)

    def _dims(self, attribute: str) -> tuple[int, ...]:
        pointer = ctypes.POINTER(ctypes.c_int64)()
        self.shim.check(
            getattr(self.shim.library, f"aoti_torch_get_{attribute}")(
                ctypes.c_void_p(self.pointer), ctypes.byref(pointer)
            )
        )
        return tuple(pointer[: self.get("dim")])

    @property
    def sizes(self) -> tuple[int, ...]:
        return self._dims("sizes")

    @property
    def strides(self) -> tuple[int, ...]:
        return self._dims("strides")

    @property
    def dtype(self) -> torch.dtype:
        return self.shim.dtypes[self.get("dtype")]

    def tensor(self) -> torch.Tensor:
        """A copy with the same strides, on the CPU."""
        sizes, strides, dtype = self.sizes, self.strides, self.dtype
        if 0 in sizes:
            return torch.empty_strided(sizes, strides, dtype=dtype)
        if self.get("device_type") != 0:
            host = torch.empty_strided(sizes, strides, dtype=dtype)
            self.shim.call("aoti_torch_copy_", host, self, 0)
            return host
        span = 1 + sum((n - 1) * s for n, s in zip(sizes, strides, strict=True))
        content = bytearray(ctypes.string_at(self.get("data_ptr"), span * dtype.itemsize))
        return torch.frombuffer(content, dtype=dtype).as_strided(sizes, strides)


class Shim:
    """The C functions of one shared library."""

    def __init__(self, path: Path, *more_headers: Path):
        self.path = Path(path)
        self.library = ctypes.CDLL(str(path))
        self.declarations = declarations(ABI_HEADER)
        for header in more_headers:
            self.declarations |= declarations(header)
        code_of = {
            getattr(torch, name): getattr(self.library, f"aoti_torch_dtype_{name}")()
            for name in DTYPE_NAMES
        }
        self.dtypes = {code: dtype for dtype, code in code_of.items()}
        self.dtype_codes = code_of

    def last_error(self) -> str:
        """The thread's last error sentence; "" for a library that keeps none."""
        try:
            function = self.library.aotiny_last_error
        except AttributeError:
            return ""
        function.restype = ctypes.c_char_p
        return function().decode()

    def check(self, code: int) -> None:
        if code != 0:
            raise ShimError(code, self.last_error())

    def handle(self, tensor: torch.Tensor) -> Handle:
        """A handle on the tensor's own memory."""
        pointer = ctypes.c_void_p()
        dims = ctypes.c_int64 * tensor.ndim
        self.check(
            self.library.aoti_torch_create_tensor_from_blob(
                ctypes.c_void_p(tensor.untyped_storage().data_ptr()),
                ctypes.c_int64(tensor.ndim),
                dims(*tensor.shape),
                dims(*tensor.stride()),
                ctypes.c_int64(tensor.storage_offset()),
                ctypes.c_int32(self.dtype_codes[tensor.dtype]),
                ctypes.c_int32(1 if tensor.is_cuda else 0),
                ctypes.c_int32(tensor.device.index or 0),
                ctypes.byref(pointer),
            )
        )
        return Handle(self, pointer.value, tensor)

    def raw(self, name: str, *arguments) -> int:
        """The function's code on ctypes arguments as they are; None is a null pointer."""
        converted = [ctypes.c_void_p(None) if a is None else a for a in arguments]
        return getattr(self.library, name)(*converted)

    def _input(self, parameter, value, keep: list):
        base = parameter.type.removeprefix("const ")
        if base == "AtenTensorHandle":
            handle = self.handle(value) if isinstance(value, torch.Tensor) else value
            keep.append(handle)
            return ctypes.c_void_p(handle.pointer if handle is not None else None)
        if base == "AtenTensorHandle*":
            if value is None:
                return ctypes.c_void_p(None)
            return ctypes.byref(
                self._input(parameter._replace(type="AtenTensorHandle"), value, keep)
            )
        if base == "char*":
            return ctypes.c_char_p(value.encode())
        if isinstance(value, torch.dtype):
            value = self.dtype_codes[value]
        if base.endswith("*") and base != "void*":
            if value is None:
                return ctypes.c_void_p(None)
            values = value if isinstance(value, list | tuple) else [value]
            return (C_TYPES[base[:-1]] * len(values))(*values)
        return ctypes.c_void_p(value) if base == "void*" else C_TYPES[base](value)

    def handles(self, name: str, *arguments):
        """Calls the function; output handles stay `Handle`s. See the module's description."""
        declaration = self.declarations[name]
        values, outputs, keep, call = list(arguments), [], [], []
        for parameter in declaration.parameters:
            if parameter.type.endswith("*") and OUTPUT_NAME.fullmatch(parameter.name):
                base = parameter.type[:-1]
                is_pointer = base == "AtenTensorHandle" or base.endswith("*")
                outputs.append((base, ctypes.c_void_p() if is_pointer else C_TYPES[base]()))
                call.append(ctypes.byref(outputs[-1][1]))
            else:
                call.append(self._input(parameter, values.pop(0), keep))
        if values:
            raise TypeError(f"{name}: {len(values)} arguments too many")
        function = getattr(self.library, name)
        if declaration.returns != "AOTITorchError":
            function.restype = C_TYPES.get(declaration.returns)
            return function(*call)
        self.check(function(*call))
        results = [
            Handle(self, value.value, keep) if base == "AtenTensorHandle" else value.value
            for base, value in outputs
        ]
        return results[0] if len(results) == 1 else tuple(results) or None

    def call(self, name: str, *arguments):
        """Calls the function; output handles become torch tensors."""
        results = self.handles(name, *arguments)
        if isinstance(results, tuple):
            return tuple(r.tensor() if isinstance(r, Handle) else r for r in results)
        return results.tensor() if isinstance(results, Handle) else results


@cache
def aotiny_shim() -> Shim:
    """libaotiny: the one named by AOTINY_LIBRARY, or that of the installed package."""
    if "AOTINY_LIBRARY" in os.environ:
        return Shim(os.environ["AOTINY_LIBRARY"])
    package = Path(importlib.util.find_spec("aotiny").origin).parent
    return Shim(next((package / "lib").glob("libaotiny.so*")))


@cache
def cuda_shim() -> Shim:
    """libaotiny_cuda, with libaotiny's functions. Like torch, it works in the default stream."""
    return Shim(aotiny_shim().path.with_name("libaotiny_cuda.so.0"), CUDA_HEADER)


@cache
def torch_shim() -> Shim:
    """Torch's own implementation of the same functions."""
    return Shim(Path(torch.__file__).parent / "lib" / "libtorch_cpu.so")
