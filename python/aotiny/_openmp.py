"""Loads _core, and OpenMP's library with it, which reads its settings from the environment then.

Threads that wait for each other spin, with libgomp's default for milliseconds. Where two of them
have to take turns on one processor, because other processes are busy, every wait lasts that long,
and a run takes a hundred times as long as it need. 3000 rounds, some 75 us, are enough for the
gaps inside a model. Nothing is changed if libgomp is loaded already (by torch, imported first), or
if the environment has settings of its own.
"""

import os

_SPIN_COUNT = "GOMP_SPINCOUNT"

if os.environ.keys() & {_SPIN_COUNT, "OMP_WAIT_POLICY"}:
    from . import _core as _core
else:
    os.environ[_SPIN_COUNT] = "3000"
    try:
        from . import _core as _core
    finally:
        del os.environ[_SPIN_COUNT]  # not for the processes that this one starts
