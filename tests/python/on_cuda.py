"""Tensors that say of themselves that they are in a GPU's memory, where nothing may read them."""

import ctypes

import aotiny


class OnCuda:
    """A DLPack producer, without a GPU: importing it works, reading it must not be tried."""

    def __init__(self, shape, dtype):
        self.shape, self.dtype = shape, dtype

    def __dlpack__(self, **_):
        capsule = aotiny.empty(self.shape, dtype=self.dtype).__dlpack__()
        get = ctypes.pythonapi.PyCapsule_GetPointer
        get.restype, get.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
        device_type = get(capsule, b"dltensor") + ctypes.sizeof(ctypes.c_void_p)
        ctypes.c_int32.from_address(device_type).value = 2
        return capsule
