"""Export all-MiniLM-L6-v2 as fp32, int8, int6 and int4, run each without torch, search, and compare
with torch. What was exported is kept and used again by the next run."""

import argparse

HELP = "export MiniLM, run it without torch, compare with torch"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--cache-dir",
        metavar="DIR",
        help="where exported packages are kept (default: $XDG_CACHE_HOME/aotiny)",
    )


def execute(options: argparse.Namespace) -> None:
    from aotiny.demo.run import run_demo

    run_demo(options.cache_dir, options.json)
