"""Stages of a long piece of work, with their times."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Callback = Callable[[str, float | None], None]


class Progress:
    """Tells a callback, stderr, both or nobody about stages.

    verbose None means: print if stderr is a terminal. The callback gets (stage, None) when a stage
    begins and (stage, seconds) when it has ended.
    """

    def __init__(self, verbose: bool | None = None, callback: Callback | None = None):
        self._print = sys.stderr.isatty() if verbose is None else verbose
        self._callback = callback

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        begin = time.monotonic()
        self._report(name, None)
        yield
        self._report(name, time.monotonic() - begin)

    def _report(self, name: str, seconds: float | None) -> None:
        if self._print:
            if seconds is None:
                print(f"aotiny: {name} ...", file=sys.stderr, flush=True)
            else:
                print(f"aotiny: {name}: {seconds:.1f} s", file=sys.stderr, flush=True)
        if self._callback:
            self._callback(name, seconds)
