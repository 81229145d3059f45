"""aotiny.cuda, CUDA tensors in Python, and what is said where there is no GPU."""

import ctypes
import shutil
from pathlib import Path

import numpy as np
import pytest

import aotiny
from aotiny import Tensor, cuda

WHY_NOT = cuda.why_not()
needs_gpu = pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)
no_gpu = pytest.mark.skipif(not WHY_NOT, reason="there is a GPU")
LIBRARY_FOLDER = next(Path(aotiny.cmake_prefix()).glob("lib*"))


# --- without a GPU ----------------------------------------------------------------------------


def test_importing_does_not_open_the_library(run_python):
    run_python(
        "import aotiny, aotiny.cuda\n"
        "maps = open('/proc/self/maps').read()\n"
        "assert 'libaotiny.so' in maps\n"
        "assert 'libaotiny_cuda' not in maps and 'libcudart' not in maps, maps\n"
        "assert 'libcuda.so' not in maps, maps"
    )


@no_gpu
def test_every_function_says_what_is_missing():
    assert WHY_NOT.startswith("CUDA is not available: ")
    assert not cuda.is_available() and cuda.device_count() == 0
    tensor = aotiny.empty([2])
    for call in (
        cuda.get_device_properties, cuda.synchronize, cuda.current_stream, cuda.memory_stats,
        cuda.empty_cache, cuda.reset_peak, lambda: cuda.set_memory_limit(1),
        lambda: cuda.empty_pinned([2]), lambda: cuda.stream(0).__enter__(),
        lambda: tensor.to("cuda"), lambda: tensor.to("cuda:3"),
        lambda: aotiny.empty([2], device="cuda"), lambda: aotiny.allocator_stats("cuda:0"),
        lambda: cuda.manual_seed(1), lambda: cuda.manual_seed(1, 0), cuda.initial_seed,
    ):  # fmt: skip
        with pytest.raises(aotiny.Error) as caught:
            call()
        assert (str(caught.value), caught.value.name) == (WHY_NOT, "NotFound")


@no_gpu
def test_the_missing_piece_is_the_one_that_is_missing():
    if not (LIBRARY_FOLDER / "libaotiny_cuda.so.0").exists():
        assert "built without it" in WHY_NOT and str(LIBRARY_FOLDER) in WHY_NOT
        return
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        assert "libcudart" in WHY_NOT or "libcuda.so.1 was not found" in WHY_NOT
    else:
        assert "driver is too old" in WHY_NOT or "no GPU" in WHY_NOT or "does not start" in WHY_NOT


@pytest.fixture
def copied_package(tmp_path):
    """A copy of the installed package, whose CUDA library can be taken away or spoiled."""
    copy = tmp_path / "aotiny"
    shutil.copytree(aotiny.cmake_prefix(), copy, ignore=shutil.ignore_patterns("include", "demo"))
    for file in Path(aotiny.__file__).parent.glob("*.py"):  # elsewhere in an editable install
        shutil.copy(file, copy / file.name)
    return copy


def why_not_of(package: Path, run_python) -> str:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import aotiny; print(aotiny.cuda.why_not())"
    )
    return run_python(code, package.parent).strip()


def test_a_build_without_cuda_says_so(copied_package, run_python):
    library = next(copied_package.glob("lib*")) / "libaotiny_cuda.so.0"
    library.unlink(missing_ok=True)
    why = why_not_of(copied_package, run_python)
    assert why == (
        "CUDA is not available: this aotiny was built without it (there is no "
        f"{library})"
    )  # fmt: skip


def test_a_broken_library_says_so(copied_package, run_python):
    library = next(copied_package.glob("lib*")) / "libaotiny_cuda.so.0"
    library.write_bytes(b"not a library")
    why = why_not_of(copied_package, run_python)
    assert why.startswith(f"CUDA is not available: {library} cannot be loaded: ")


@pytest.mark.skipif(
    not (LIBRARY_FOLDER / "libaotiny_cuda.so.0").exists(), reason="built without CUDA"
)
def test_a_missing_runtime_says_where_it_was_looked_for(copied_package, run_python):
    library = next(copied_package.glob("lib*")) / "libaotiny_cuda.so.0"
    content = library.read_bytes()
    name = b"libcudart.so."
    assert content.count(name) >= 1
    # Another runtime, of the same length, that no machine has.
    library.write_bytes(content.replace(name, b"libcudart.sx."))
    why = why_not_of(copied_package, run_python)
    assert "cannot be loaded: libcudart.sx." in why
    digit = content.index(name) + len(name)
    other = content[:digit] + b"9" + content[digit + 1 :]
    library.write_bytes(other)
    why = why_not_of(copied_package, run_python)
    major = f"9{chr(content[digit + 1])}"
    assert f"the CUDA runtime libcudart.so.{major} was not found" in why
    assert str(copied_package.parent / f"nvidia/cu{major}/lib") in why
    assert "/usr/local/cuda/lib64" in why and "nvidia-cuda-runtime)" in why


@pytest.mark.parametrize("device", ["cpu", "cuda:-1", "cuda:x", "tpu", "cuda:128"])
def test_other_devices_are_refused(device):
    with pytest.raises(aotiny.Error) as caught:
        cuda.synchronize(device)
    if cuda.is_available():
        assert caught.value.name == "InvalidArgument"


def test_a_limit_below_one_is_refused():
    with pytest.raises(ValueError, match="0 bytes"):
        cuda.set_memory_limit(0)


# --- with a GPU -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def torch():
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("torch has no CUDA")
    return torch


@needs_gpu
def test_devices_describe_themselves(torch):
    assert cuda.is_available() and cuda.device_count() == torch.cuda.device_count()
    for index in range(cuda.device_count()):
        found, expected = cuda.get_device_properties(index), torch.cuda.get_device_properties(index)
        assert found["name"] == expected.name
        assert found["compute_capability"] == (expected.major, expected.minor)
        assert found["num_multiprocessors"] == expected.multi_processor_count
        assert 0 < found["free_bytes"] <= found["total_bytes"]
        assert found["driver_version"] >= found["runtime_version"][:1]
    with pytest.raises(aotiny.Error, match=f"no device cuda:{cuda.device_count()}"):
        cuda.get_device_properties(cuda.device_count())


@needs_gpu
def test_to_the_device_and_back():
    source = np.random.default_rng(0).standard_normal((5, 7, 3)).astype("float32")
    tensor = Tensor(source.transpose(2, 0, 1)).to("cuda")
    assert (tensor.device, tensor.shape) == ("cuda:0", (3, 5, 7))
    assert tensor.to("cuda:0").data_ptr == tensor.data_ptr
    np.testing.assert_array_equal(tensor.to("cpu").numpy(), source.transpose(2, 0, 1))
    np.testing.assert_array_equal(
        tensor[1, ::2].to("float16").to("cpu").numpy(), source[::2, :, 1].astype("float16")
    )
    assert tensor[1, 2, 3].item() == source[2, 3, 1]
    assert tensor[0, :2].tolist() == source[:2, :, 0].tolist()
    with pytest.raises(BufferError) as caught:
        memoryview(tensor)
    assert 'cuda:0 has no buffer: copy it with .to("cpu")' in str(caught.value.__cause__)


@needs_gpu
@pytest.mark.parametrize("dtype", ["bool", "uint8", "int32", "int64", "float16", "bfloat16",
                                   "float32", "float64", "complex64"])  # fmt: skip
def test_torch_both_ways(torch, dtype):
    source = torch.arange(24, device="cuda").to(getattr(torch, dtype)).reshape(4, 6).T
    tensor = Tensor(source)
    assert (tensor.device, tensor.dtype, tensor.strides) == ("cuda:0", dtype, (1, 6))
    assert tensor.data_ptr == source.data_ptr()
    back = torch.from_dlpack(tensor)
    assert back.data_ptr() == source.data_ptr() and torch.equal(back, source)
    assert tensor.__dlpack_device__() == (2, 0)
    assert torch.equal(torch.from_dlpack(tensor.clone()), source)
    ours = aotiny.empty([6, 4], dtype, device="cuda:0")
    ours.copy_(source)
    assert torch.equal(torch.from_dlpack(ours), source)


@needs_gpu
def test_conversions_are_torchs(torch):
    source = torch.randn(257, 33, device="cuda") * 100
    tensor = Tensor(source)
    for dtype in ("float16", "bfloat16", "float64", "int8", "uint8", "int16", "int32", "int64"):
        ours = torch.from_dlpack(tensor.to(dtype))
        wanted = source
        if dtype in ("int8", "uint8"):  # outside the range, the result is nobody's
            wanted = source.clamp(0, 100)
            ours = torch.from_dlpack(Tensor(wanted).to(dtype))
        assert torch.equal(ours, wanted.to(getattr(torch, dtype))), dtype


@needs_gpu
def test_export_to_the_cpu(torch):
    tensor = Tensor(np.arange(6.0)).to("cuda")
    np.testing.assert_array_equal(np.from_dlpack(tensor, device="cpu"), np.arange(6.0))
    with pytest.raises(BufferError, match="without a copy"):
        tensor.__dlpack__(dl_device=(1, 0), copy=False)
    with pytest.raises(BufferError, match="DLPack device"):
        tensor.__dlpack__(dl_device=(2, 99))


@needs_gpu
def test_a_consumer_stream_waits_for_ours(torch):
    ours, theirs = torch.cuda.Stream(), torch.cuda.Stream()
    block = torch.zeros(64 << 20, dtype=torch.uint8, device="cuda")
    torch.cuda.synchronize()
    for value in (3, 4):
        with torch.cuda.stream(ours):
            for _ in range(100):
                block.fill_(value)
        with cuda.stream(ours.cuda_stream):
            assert cuda.current_stream() == ours.cuda_stream
            tensor = aotiny.from_dlpack(block)
            # torch passes its own current stream, which then waits for ours.
            with torch.cuda.stream(theirs):
                seen = torch.from_dlpack(tensor).clone()
        theirs.synchronize()
        assert (seen == value).all()
    assert cuda.current_stream() == 0


@needs_gpu
def test_our_stream_waits_for_a_producers(torch):
    ours, theirs = torch.cuda.Stream(), torch.cuda.Stream()
    block = torch.zeros(64 << 20, dtype=torch.uint8, device="cuda")
    torch.cuda.synchronize()
    with torch.cuda.stream(theirs):
        for _ in range(100):
            block.fill_(9)
        with cuda.stream(ours.cuda_stream):
            copy = Tensor(block).clone()
            first = copy.to("cpu")
    assert (first.numpy() == 9).all()
    cuda.synchronize()


@needs_gpu
def test_stream_numbers_of_the_standard(torch):
    tensor = aotiny.empty([4], device="cuda")
    stream = torch.cuda.Stream()
    for number in (None, -1, 1, 2, stream.cuda_stream):
        assert "dltensor" in repr(tensor.__dlpack__(stream=number))
    for number in (0, -2):
        with pytest.raises(BufferError, match="stream must be"):
            tensor.__dlpack__(stream=number)


@needs_gpu
def test_memory_is_counted_limited_and_returned():
    cuda.empty_cache()
    before = cuda.memory_stats()
    tensor = aotiny.empty([1 << 20], device="cuda:0")
    during = aotiny.allocator_stats("cuda:0")
    assert during["allocated_bytes"] - before["allocated_bytes"] == 4 << 20
    assert during["num_allocations"] == before["num_allocations"] + 1
    cuda.set_memory_limit(during["allocated_bytes"] + 100)
    try:
        with pytest.raises(aotiny.Error, match="cannot allocate 404 bytes on cuda:0") as caught:
            aotiny.empty([101], device="cuda")
        assert caught.value.name == "MemoryAllocationFailed"
    finally:
        cuda.set_memory_limit(None)
    aotiny.empty([101], device="cuda")
    del tensor
    cuda.empty_cache()
    after = cuda.memory_stats("cuda:0")
    assert after["allocated_bytes"] == before["allocated_bytes"]
    assert after["peak_allocated_bytes"] >= during["allocated_bytes"]
    cuda.reset_peak()
    assert cuda.memory_stats()["peak_allocated_bytes"] == after["allocated_bytes"]


@needs_gpu
def test_pinned_memory_copies_without_waiting():
    pinned = cuda.empty_pinned([3, 5], "int32")
    pinned.copy_(np.arange(15, dtype="int32").reshape(3, 5))
    device = aotiny.empty([3, 5], "int32", device="cuda")
    device.copy_(pinned, non_blocking=True)
    back = cuda.empty_pinned([3, 5], "int32")
    back.copy_(device, non_blocking=True)
    cuda.synchronize()
    np.testing.assert_array_equal(back.numpy(), np.arange(15).reshape(3, 5))


@needs_gpu
def test_works_within_torchs_graphs(torch):
    source = torch.zeros(1000, device="cuda")
    target = torch.zeros(1000, device="cuda", dtype=torch.float16)
    graph = torch.cuda.CUDAGraph()
    ours, theirs = Tensor(source), Tensor(target)
    with torch.cuda.graph(graph), cuda.stream(torch.cuda.current_stream().cuda_stream):
        rounded = ours.to("bfloat16")
        theirs.copy_(rounded)
        del rounded
    for value in (1.0, 2.5, 0.1):
        source.fill_(value)
        graph.replay()
        torch.cuda.synchronize()
        assert torch.equal(target, source.bfloat16().half())


@needs_gpu
@pytest.mark.skipif(not WHY_NOT and cuda.device_count() < 2, reason="there is one GPU")
def test_between_devices(torch):
    source = np.random.default_rng(1).standard_normal((65, 33)).astype("float32")
    tensor = Tensor(source).to("cuda:1")
    assert tensor.device == "cuda:1" and cuda.memory_stats(1)["num_allocations"] >= 1
    there = tensor.transpose(0, 1).to("cuda:0")
    np.testing.assert_array_equal(there.to("cpu").numpy(), source.T)
    np.testing.assert_array_equal(there.to("cuda:1").to("cpu").numpy(), source.T)
    with torch.cuda.device(1):  # torch exports tensors of its current device only
        shared = torch.from_dlpack(tensor)
        assert shared.device.index == 1 and shared.data_ptr() == tensor.data_ptr
        assert Tensor(shared).device == "cuda:1"
