"""The command line as a process, for tests."""

import subprocess
import sys


def cli(*arguments) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "aotiny", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def success(*arguments) -> str:
    """What a command that succeeds prints; nothing on stderr."""
    process = cli(*arguments)
    assert (process.returncode, process.stderr) == (0, "")
    return process.stdout


def failure(*arguments) -> str:
    """The one line that a failing command says, from "aotiny: error: " on."""
    process = cli(*arguments)
    assert process.returncode == 1 and process.stdout == ""
    lines = process.stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith("aotiny: error: "), process.stderr
    return lines[0]
