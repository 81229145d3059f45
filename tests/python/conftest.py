"""Fixtures that every test module may use."""

import subprocess
import sys

import pytest


@pytest.fixture
def run_python():
    """Runs code in a fresh interpreter and returns what it printed; fails with its errors."""

    def run(code: str, *arguments: str, timeout: float = 300, env: dict | None = None) -> str:
        done = subprocess.run(
            [sys.executable, "-c", code, *map(str, arguments)],
            capture_output=True, text=True, timeout=timeout, env=env, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    return run
