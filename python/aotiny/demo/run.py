"""The demo from end to end."""

import json
import sys
import tempfile
from pathlib import Path

from . import corpus, packages, report
from .files import cache_key, cache_root, require_extra
from .measure import measure


def run_demo(cache_dir: str | None = None, as_json: bool = False) -> None:
    """Exports what is missing, measures in fresh processes and prints to stdout.

    With as_json stdout gets one JSON object and nothing else; progress goes to stderr always.
    """
    require_extra()
    import numpy as np

    from aotiny.exporter.target import choose_target, host_features

    def announce(what: str) -> None:
        print(f"aotiny demo: {what}", file=sys.stderr, flush=True)

    target = choose_target(None, host_features()).march
    folder = cache_root(cache_dir) / f"demo-{cache_key(target)}"
    announce(f"packages are kept in {folder}")
    tokens = corpus.tokenize()
    packages.prepare(folder, target, tokens, announce)
    reference = np.load(folder / packages.REFERENCE)

    with tempfile.TemporaryDirectory(prefix="aotiny-demo-") as inputs:
        corpus.write(tokens, Path(inputs))
        rows = [
            measure(
                name,
                "torch" if name == packages.TORCH_PACKAGE else "aotiny",
                packages.package_path(folder, name),
                Path(inputs),
                reference,
                announce,
            )
            for name in (*packages.VARIANTS, packages.TORCH_PACKAGE)
        ]
    *variants, torch_row = rows
    if as_json:
        print(
            json.dumps(
                {"variants": [v.as_json() for v in variants], "torch": torch_row.as_json()},
                indent=1,
            )
        )
    else:
        lines = [*report.search_lines(variants), "", *report.table_lines(variants, torch_row)]
        print("\n".join(lines))
