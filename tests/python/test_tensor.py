"""aotiny.Tensor: views, copies, numpy, the buffer protocol and DLPack, both ways."""

import array
import ctypes
import gc
import sys

import numpy as np
import pytest

import aotiny
from aotiny import Tensor

NUMPY_DTYPES = [
    "uint8", "int8", "int16", "int32", "int64", "uint16", "uint32", "uint64",
    "float16", "float32", "float64", "bool", "complex64", "complex128",
]  # fmt: skip


def sample(dtype: str, shape=(3, 4)) -> np.ndarray:
    values = np.random.default_rng(0).integers(0, 100, shape)
    return values.astype(dtype)


@pytest.mark.parametrize("dtype", NUMPY_DTYPES)
def test_numpy_both_ways_shares_memory(dtype):
    source = sample(dtype)
    tensor = Tensor(source)
    assert (tensor.shape, tensor.dtype, tensor.device) == (source.shape, dtype, "cpu")
    back = np.asarray(tensor)
    np.testing.assert_array_equal(back, source)
    assert back.dtype == source.dtype
    assert np.shares_memory(back, source)
    assert np.shares_memory(np.from_dlpack(tensor), source)


@pytest.mark.parametrize(
    "view",
    [lambda a: a.T, lambda a: a[:, ::2], lambda a: a[1:, 1], lambda a: a[::-1, ::-2],
     lambda a: np.broadcast_to(a[0], (5, 4)), lambda a: a[:0], lambda a: a[2, 3]],
)  # fmt: skip
def test_any_numpy_strides(view):
    source = view(sample("float32"))
    tensor = Tensor(np.asarray(source))
    np.testing.assert_array_equal(tensor.numpy(), source)


def test_view_as_another_dtype_of_a_buffer():
    source = np.arange(24, dtype=np.uint16).reshape(2, 12)
    tensor = Tensor(memoryview(source.tobytes())).view("uint16").reshape([2, 12])
    assert tensor.readonly
    np.testing.assert_array_equal(tensor.numpy(), source)
    bfloat16 = tensor.view("bfloat16")
    assert (bfloat16.dtype, bfloat16.data_ptr) == ("bfloat16", tensor.data_ptr)
    expected = (source.astype(np.uint32) << 16).view(np.float32)
    np.testing.assert_array_equal(bfloat16.to("float32").numpy(), expected)
    assert tensor.view("float64").shape == (2, 3)
    for view, dtype, text in (
        (tensor.transpose(0, 1), "uint8", "not contiguous"),
        (Tensor(source[:, :3].copy()), "uint32", "6 bytes are no multiple of 4"),
        (Tensor(memoryview(bytearray(9)))[1:], "uint16", "not aligned for uint16"),
        (tensor, "float", '"float" is not a dtype'),
    ):
        with pytest.raises(aotiny.Error, match=text):
            view.view(dtype)


def test_numpy_arrays_that_dlpack_cannot_express():
    swapped = sample("int32").astype(">i4")
    np.testing.assert_array_equal(Tensor(swapped).numpy(), swapped)
    record = np.zeros(4, dtype=[("a", "i2"), ("b", "f8")])
    record["b"] = np.arange(4)
    np.testing.assert_array_equal(Tensor(record["b"]).numpy(), np.arange(4.0))
    with pytest.raises(BufferError):
        aotiny.from_dlpack(swapped, copy=False)
    with pytest.raises(BufferError, match="negative strides"):
        aotiny.from_dlpack(np.arange(4)[::-1], copy=False)


def test_read_only_memory_stays_read_only():
    source = sample("float32")
    source.flags.writeable = False
    tensor = Tensor(source)
    assert tensor.readonly and tensor[0].readonly and not tensor.clone().readonly
    assert not tensor.numpy().flags.writeable
    assert not np.from_dlpack(tensor).flags.writeable
    with pytest.raises(aotiny.Error, match="read-only"):
        tensor.copy_(np.zeros((3, 4), "float32"))
    with pytest.raises(BufferError, match="read-only"):
        tensor.__dlpack__()


def test_memory_outlives_its_owners():
    tensor = Tensor(np.arange(1000.0).reshape(10, 100))
    array_back = tensor.slice(0, 5, 7).numpy()
    del tensor
    gc.collect()
    np.testing.assert_array_equal(array_back[0], np.arange(500.0, 600.0))


def test_producers_are_released_exactly_once():
    source = np.arange(10)
    before = sys.getrefcount(source)
    tensor = Tensor(source)
    views = [tensor[i:] for i in range(5)]
    capsule = tensor.__dlpack__(max_version=(1, 0))
    assert sys.getrefcount(source) > before
    del tensor, views, capsule  # the capsule was never consumed
    gc.collect()
    assert sys.getrefcount(source) == before


def test_buffers_without_numpy():
    numbers = array.array("q", [1, 2, 3])
    tensor = Tensor(numbers)
    assert (tensor.dtype, tensor.tolist()) == ("int64", [1, 2, 3])
    numbers[1] = 20
    assert tensor[1].item() == 20
    assert Tensor(b"ab").readonly and Tensor(b"ab").dtype == "uint8"
    view = memoryview(Tensor(np.arange(6, dtype="int16").reshape(2, 3)))
    assert (view.format, view.shape, view.strides) == ("h", (2, 3), (6, 2))
    del view, tensor
    numbers.append(4)  # no export is left that would forbid it


def test_capsules_cannot_be_consumed_twice():
    class Once:
        def __init__(self):
            self.capsule = aotiny.empty([2]).__dlpack__()

        def __dlpack__(self):  # an old producer: no keywords
            return self.capsule

        def __dlpack_device__(self):
            return (1, 0)

    producer = Once()
    assert Tensor(producer).shape == (2,)
    with pytest.raises(TypeError, match="capsule"):
        Tensor(producer)


class DLTensor(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p), ("device_type", ctypes.c_int32), ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32), ("code", ctypes.c_uint8), ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16), ("shape", ctypes.c_void_p), ("strides", ctypes.c_void_p),
        ("byte_offset", ctypes.c_uint64),
    ]  # fmt: skip


class Forged:
    """A producer whose capsule is edited before it is handed over."""

    def __init__(self, **edits):
        self.edits = edits

    def __dlpack__(self, **_):
        capsule = aotiny.empty([2, 3]).__dlpack__()
        get = ctypes.pythonapi.PyCapsule_GetPointer
        get.restype, get.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
        managed = DLTensor.from_address(get(capsule, b"dltensor"))
        for name, value in self.edits.items():
            setattr(managed, name, value)
        return capsule


@pytest.mark.parametrize(
    ("edits", "text"),
    [({"device_type": 7}, "device type 7"), ({"bits": 3}, "3 bits"), ({"lanes": 4}, "4 lanes"),
     ({"code": 99}, "code 99"), ({"ndim": 65}, "65 dimensions"), ({"ndim": -1}, "-1 dimensions"),
     ({"data": None}, "null"), ({"shape": None}, "no shape")],
)  # fmt: skip
def test_bad_dlpack_tensors_are_errors_and_do_not_leak(edits, text):
    before = aotiny.allocator_stats()["allocated_bytes"]
    with pytest.raises(aotiny.Error, match=text):
        Tensor(Forged(**edits))
    gc.collect()
    assert aotiny.allocator_stats()["allocated_bytes"] == before


def test_dlpack_export_arguments():
    tensor = Tensor(sample("float32"))
    assert tensor.__dlpack_device__() == (1, 0)
    assert "dltensor_versioned" in repr(tensor.__dlpack__(max_version=(1, 2)))
    assert '"dltensor"' in repr(tensor.__dlpack__(max_version=(0, 8)))
    tensor.__dlpack__(stream=None, dl_device=(1, 0), copy=False)
    copy = np.from_dlpack(tensor, copy=True)
    assert not np.shares_memory(copy, tensor.numpy())
    with pytest.raises(BufferError, match=r"\(2, 0\)"):
        tensor.__dlpack__(dl_device=(2, 0))
    with pytest.raises(BufferError, match="stream"):
        tensor.__dlpack__(stream=1)


def test_torch_both_ways():
    torch = pytest.importorskip("torch")
    source = torch.arange(12, dtype=torch.bfloat16).reshape(3, 4).T
    tensor = Tensor(source)
    assert (tensor.dtype, tensor.shape, tensor.strides) == ("bfloat16", (4, 3), (1, 4))
    assert tensor.data_ptr == source.data_ptr()
    back = torch.from_dlpack(tensor)
    assert back.data_ptr() == source.data_ptr() and torch.equal(back, source)
    back[0, 0] = 42
    assert tensor[0, 0].item() == 42.0
    np.testing.assert_array_equal(tensor.to("float32").numpy(), source.float().numpy())
    with pytest.raises(TypeError, match="bfloat16"):
        tensor.numpy()


def test_views_and_copies():
    reference = np.arange(24).reshape(2, 3, 4)
    tensor = Tensor(reference)
    np.testing.assert_array_equal(tensor[1, ..., ::2].numpy(), reference[1, ..., ::2])
    np.testing.assert_array_equal(tensor[-1, 1:].numpy(), reference[-1, 1:])
    np.testing.assert_array_equal(tensor.permute([2, 0, 1]).numpy(), reference.transpose(2, 0, 1))
    np.testing.assert_array_equal(
        tensor.transpose(0, 2).reshape([4, -1]).numpy(), reference.T.reshape(4, -1)
    )
    window = tensor.as_strided([2, 2], [4, 1], 5).numpy()
    np.testing.assert_array_equal(window, [[5, 6], [9, 10]])
    assert tensor.transpose(0, 2).clone().strides == tensor.transpose(0, 2).strides
    assert tensor.transpose(0, 2).contiguous().is_contiguous
    target = aotiny.empty([2, 3, 4], "float32")
    target.copy_(reference)
    np.testing.assert_array_equal(target.numpy(), reference.astype("float32"))
    assert len(tensor) == 2 and [len(row) for row in tensor] == [3, 3]


@pytest.mark.parametrize(
    "bad",
    [lambda t: t.reshape([5]), lambda t: t.permute([0, 0]), lambda t: t.as_strided([99], [1]),
     lambda t: t[0, 0, 0], lambda t: t.to("float7"), lambda t: t.item(),
     lambda t: aotiny.empty([-1]), lambda t: aotiny.empty([1 << 62, 8]),
     lambda t: aotiny.empty([1], device="tpu"), lambda t: t.slice(0, step=0),
     lambda t: t.copy_(np.zeros(7))],
)  # fmt: skip
def test_errors_are_sentences(bad):
    with pytest.raises(aotiny.Error) as caught:
        bad(Tensor(np.zeros((2, 3))))
    assert caught.value.code > 0 and caught.value.name and len(str(caught.value)) > 10


def test_objects_without_memory_are_type_errors():
    for thing in ([1, 2], 3.0, None, "text"):
        with pytest.raises(TypeError):
            Tensor(thing)


def test_torch_tensors_that_dlpack_cannot_describe_are_refused():
    torch = pytest.importorskip("torch")
    numbers = torch.tensor([1 + 2j, 3 - 4j])
    refused = {
        "gradient": torch.ones(3, requires_grad=True),
        "conj": numbers.conj(),
        "negative of its values": numbers.conj().imag,
        "layout": torch.eye(3).to_sparse(),
    }
    for reason, tensor in refused.items():
        with pytest.raises(BufferError, match=reason):
            aotiny.from_dlpack(tensor)
    values = aotiny.from_dlpack(numbers.conj().imag.resolve_neg())
    assert values.tolist() == [-2.0, 4.0]
    with pytest.raises((BufferError, RuntimeError, ValueError)):
        aotiny.from_dlpack(torch.empty(3, device="meta"))


def test_a_subclass_of_a_torch_tensor_is_asked_itself():
    torch = pytest.importorskip("torch")

    class Doubled(torch.Tensor):
        def __dlpack__(self, **arguments):
            return (2 * self.as_subclass(torch.Tensor)).__dlpack__(**arguments)

    plain = torch.arange(3.0)
    assert aotiny.from_dlpack(plain.as_subclass(Doubled)).tolist() == [0.0, 2.0, 4.0]
    weight = torch.nn.Parameter(plain, requires_grad=False)
    assert aotiny.from_dlpack(weight).tolist() == [0.0, 1.0, 2.0]


def test_a_torch_tensor_lives_as_long_as_its_views():
    torch = pytest.importorskip("torch")
    source = torch.arange(6.0).reshape(2, 3)
    column = aotiny.from_dlpack(source)[:, 1]
    source.add_(10)
    del source
    assert column.tolist() == [11.0, 14.0] and column.strides == (3,)


def test_errors_inside_dlpack_methods_are_not_hidden():
    class Broken:
        def __init__(self, name, error):
            self.name, self.error = name, error

        def __dlpack_device__(self):
            if self.name == "device":
                raise self.error
            return 1, 0

        def __dlpack__(self, **arguments):
            raise self.error

    for name in ("device", "capsule"):
        for error in (AttributeError("no such thing"), ValueError("wrong"), TypeError("odd")):
            with pytest.raises(type(error), match=str(error)):
                aotiny.from_dlpack(Broken(name, error))


def test_importing_aotiny_imports_neither_torch_nor_numpy(run_python):
    run_python("import aotiny, sys; assert not {'torch', 'numpy'} & set(sys.modules)")


def test_allocator_statistics():
    aotiny.empty_cache()
    before = aotiny.allocator_stats()
    tensor = aotiny.empty([1 << 20])
    during = aotiny.allocator_stats()
    assert during["allocated_bytes"] - before["allocated_bytes"] == 4 << 20
    del tensor
    assert aotiny.allocator_stats()["allocated_bytes"] == before["allocated_bytes"]
    aotiny.empty_cache()
    assert aotiny.allocator_stats()["reserved_bytes"] <= during["reserved_bytes"] - (4 << 20)
