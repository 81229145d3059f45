"""AotinyModelOptions of aotiny.h, for calls through ctypes."""

import ctypes


class ModelOptions(ctypes.Structure):
    _fields_ = (
        ("struct_size", ctypes.c_size_t), ("device", ctypes.c_char_p),
        ("num_models", ctypes.c_int64), ("model_name", ctypes.c_char_p),
        ("cuda_graph", ctypes.c_int32),
    )  # fmt: skip
