"""Export all-MiniLM-L6-v2 as fp32, int8, int6 and int4, run each without torch, search, and compare
with torch. What was exported is kept and used again by the next run."""

import argparse
import re

HELP = "export MiniLM, run it without torch, compare with torch"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--cache-dir",
        metavar="DIR",
        help="where exported packages are kept (default: $XDG_CACHE_HOME/aotiny)",
    )
    parser.add_argument(
        "--device",
        metavar="DEVICE",
        default="cpu",
        type=_device,
        help="cpu (the default), cuda or cuda:N",
    )


def _device(text: str) -> str:
    if not re.fullmatch(r"cpu|cuda(:\d+)?", text):
        raise argparse.ArgumentTypeError(f"{text!r} is none of cpu, cuda, cuda:N")
    return text


def execute(options: argparse.Namespace) -> None:
    from aotiny.demo.run import run_demo

    run_demo(options.cache_dir, options.json, options.device)
