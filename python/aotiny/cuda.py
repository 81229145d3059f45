"""CUDA devices: whether there are any, their streams and their memory.

    >>> aotiny.cuda.is_available() or print(aotiny.cuda.why_not())
    >>> x = aotiny.Tensor(array).to("cuda:0")
    >>> with aotiny.cuda.stream(torch.cuda.current_stream().cuda_stream):
    ...     y = x.clone()                    # in torch's stream

A device is "cuda:N", its number N, or "cuda", which is number 0. The CUDA library, the driver and a
GPU are looked for when one of these functions, or a tensor, first asks for a device; importing
aotiny does not. Where one of them is missing, functions raise aotiny.Error with the sentence that
why_not() returns. Each thread has a current stream for each device, at first its default stream;
work on a tensor goes to the current stream of the tensor's device.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from . import _core

__all__ = [
    "current_stream",
    "device_count",
    "empty_cache",
    "empty_pinned",
    "get_device_properties",
    "initial_seed",
    "is_available",
    "manual_seed",
    "memory_stats",
    "reset_peak",
    "set_memory_limit",
    "stream",
    "synchronize",
    "why_not",
]


def _name(device: int | str) -> str:
    return device if isinstance(device, str) else f"cuda:{device}"


def is_available() -> bool:
    """Whether there is a CUDA device that aotiny can use."""
    return not why_not()


def why_not() -> str:
    """The sentence that says which piece is missing; "" if nothing is."""
    return _core.cuda_why_not()


def device_count() -> int:
    """The number of CUDA devices; 0 where CUDA is not available."""
    return _core.cuda_device_count() if is_available() else 0


def get_device_properties(device: int | str = 0) -> dict[str, Any]:
    """What a device is: name, compute_capability (major, minor), total_bytes and free_bytes of its
    memory, num_multiprocessors, l2_cache_bytes, max_shared_memory_bytes (of a block), and
    driver_version and runtime_version of CUDA (major, minor)."""
    return _core.cuda_device_properties(_name(device))


def synchronize(device: int | str = 0) -> None:
    """Waits until all work of the device, in every stream, is done."""
    _core.cuda_synchronize(_name(device))


def current_stream(device: int | str = 0) -> int:
    """This thread's current stream of the device, as the integer of a cudaStream_t; 0 is the
    default stream."""
    return _core.cuda_current_stream(_name(device))


@contextmanager
def stream(pointer: int, device: int | str = 0) -> Iterator[None]:
    """In the `with` block, and on this thread, the stream is the device's current one.

    `pointer` is the integer of a cudaStream_t (torch's Stream.cuda_stream, cupy's Stream.ptr). The
    stream must outlive the tensors that are made in the block. CUDA's per-thread default stream, 2,
    is refused with aotiny.Error: it stands for another stream in each thread.
    """
    name = _name(device)
    before = _core.cuda_current_stream(name)
    _core.cuda_set_current_stream(name, pointer)
    try:
        yield
    finally:
        _core.cuda_set_current_stream(name, before)


def memory_stats(device: int | str = 0) -> dict[str, int]:
    """aotiny.allocator_stats of the device: bytes allocated, their peak, bytes reserved, and
    numbers of calls so far."""
    return _core.allocator_stats(_name(device))


def set_memory_limit(nbytes: int | None, device: int | str = 0) -> None:
    """The most bytes that aotiny may have allocated on the device at a time; None for no limit.

    What would exceed it raises aotiny.Error with the name MemoryAllocationFailed.
    """
    if nbytes is not None and nbytes < 1:
        raise ValueError(f"a memory limit of {nbytes} bytes is below 1")
    _core.cuda_set_memory_limit(_name(device), nbytes or 0)


def reset_peak(device: int | str = 0) -> None:
    """Makes peak_allocated_bytes the present allocated_bytes."""
    _core.cuda_reset_peak(_name(device))


def empty_cache(device: int | str = 0) -> None:
    """Waits for the device, then returns cached memory to the system."""
    _core.empty_cache(_name(device))


def manual_seed(seed: int, device: int | str | None = None) -> None:
    """Begins the sequence of random numbers of `seed`, of 64 bits, on the device; None for all of
    them.

    Models, and the C functions that make random numbers, draw from it. A process begins with a seed
    that is different each time. The same draws in the same order give the same numbers, which are
    those that torch makes after torch.cuda.manual_seed on the same GPU. A CUDA graph draws from a
    part of the sequence of its own, and other numbers each time that it is launched; synchronise
    before seeding while one runs. A negative seed counts as seed + 2**64.
    """
    if not -(2**63) <= seed < 2**64:
        raise ValueError(f"a seed of {seed} does not fit 64 bits")
    for name in range(_core.cuda_device_count()) if device is None else [device]:
        _core.cuda_manual_seed(_name(name), seed % 2**64)


def initial_seed(device: int | str = 0) -> int:
    """The seed of the device's random numbers: the last one given to manual_seed, or the one that
    the process began with."""
    return _core.cuda_seed(_name(device))


def empty_pinned(shape: Sequence[int], dtype: str = "float32") -> _core.Tensor:
    """An uninitialised row-major CPU tensor in pinned memory, which devices read and write
    directly: Tensor.copy_(..., non_blocking=True) needs it to return early."""
    return _core.cuda_empty_pinned(shape, dtype)
