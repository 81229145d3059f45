"""aotiny.Error from Python: as the native side makes it."""

import re
from pathlib import Path

import numpy as np
import pytest

import aotiny
from aotiny import errors

STATUS_H = Path(__file__).parents[2] / "cpp/aotiny/core/status.h"


def test_codes_are_those_of_the_native_side():
    native = dict(re.findall(r"(\w+) = (0x[0-9a-f]+),", STATUS_H.read_text()))
    assert {name: int(native[name], 16) for name in errors._CODES} == errors._CODES


def test_an_error_looks_like_a_native_one():
    with pytest.raises(aotiny.Error) as native:
        aotiny.quantize(np.zeros(64, np.float32), "int4")
    made = errors.error(str(native.value))
    for one in (native.value, made):
        assert (type(one), one.code, one.name) == (aotiny.Error, 0x12, "InvalidArgument")
    assert str(made) == str(native.value)


def test_a_prefix_keeps_the_status():
    too_much = np.broadcast_to(np.float32(1), (1 << 40, 1 << 20))
    with pytest.raises(aotiny.Error) as native:
        aotiny.Tensor(too_much).clone()
    assert native.value.name == "MemoryAllocationFailed"
    made = errors.prefixed("a.gguf: w", native.value)
    assert (made.code, made.name) == (native.value.code, native.value.name)
    assert str(made) == f"a.gguf: w: {native.value}"


def test_failed_system_calls_say_what_and_why(tmp_path):
    for path, name, text in (
        (tmp_path / "missing", "NotFound", "missing: No such file or directory"),
        (tmp_path, "AccessFailed", "Is a directory"),
    ):
        with pytest.raises(aotiny.Error, match=text) as raised:
            try:
                path.read_bytes()
            except OSError as failure:
                raise errors.os_error(str(path), failure) from None
        assert raised.value.name == name
