"""The command line: `aotiny run | inspect | quantize | demo`.

Importing this imports neither torch nor numpy. Errors are one line on stderr and exit code 1.
"""

import argparse
import os
import sys
from collections.abc import Sequence

from . import demo, inspect, quantize, run
from .table import printable


def _parser() -> argparse.ArgumentParser:
    from aotiny import __version__

    parser = argparse.ArgumentParser(
        prog="aotiny", description="Runs AOTInductor-compiled models without libtorch."
    )
    parser.add_argument("--version", action="version", version=f"aotiny {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    for command in (run, inspect, quantize, demo):
        name = command.__name__.rpartition(".")[2]
        one = commands.add_parser(name, help=command.HELP, description=command.__doc__)
        one.add_argument("--json", action="store_true", help="print JSON and nothing else")
        command.add_arguments(one)
        one.set_defaults(execute=command.execute)
    return parser


def _flush_stdout() -> None:
    """Writes what is buffered, or drops it: the interpreter would try again at its exit."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; 0 for success, 1 for a failure, 2 for wrong usage (argparse exits)."""
    options = _parser().parse_args(arguments)
    try:
        try:
            options.execute(options)
        finally:
            _flush_stdout()
    except BrokenPipeError:
        return 1  # whoever read our output has seen enough; there is nobody to tell
    except KeyboardInterrupt:
        print("aotiny: interrupted", file=sys.stderr)
        return 1
    except Exception as error:
        text = " ".join(str(error).split()) or type(error).__name__
        print(f"aotiny: error: {printable(text)}", file=sys.stderr)
        return 1
    return 0
