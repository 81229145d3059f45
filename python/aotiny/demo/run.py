"""The demo from end to end."""

import json
import sys
import tempfile
from pathlib import Path

from . import corpus, packages, report
from .files import cache_key, cache_root, model_dir, require_extra
from .measure import measure


def run_demo(cache_dir: str | None = None, as_json: bool = False, device: str = "cpu") -> None:
    """Exports what is missing, measures in fresh processes and prints to stdout.

    With as_json stdout gets one JSON object and nothing else; progress goes to stderr always.
    """
    require_extra()
    import numpy as np

    import aotiny
    from aotiny.exporter.target import choose_target, host_features

    def announce(what: str) -> None:
        print(f"aotiny demo: {what}", file=sys.stderr, flush=True)

    described = device
    if device != "cpu":
        found = aotiny.cuda.get_device_properties(device)  # or it says what is missing
        described = "{name} {compute_capability}".format(**found)
        announce(f"on {device}, {described}")
    target = choose_target(None, host_features()).march
    folder = cache_root(cache_dir) / f"demo-{cache_key(target, described)}"
    announce(f"packages are kept in {folder}")
    tokens = corpus.tokenize()
    packages.prepare(folder, target, device, tokens, announce)
    reference = np.load(folder / packages.REFERENCE)

    # name -> (runner, what it loads)
    runs = {
        name: ("aotiny", packages.package_path(folder, name)) for name in packages.variants(device)
    }
    peers = {"torch": ("torch", packages.package_path(folder, packages.TORCH_PACKAGE))}
    if device != "cpu":
        peers["eager"] = ("eager", model_dir() / "model.safetensors")
    with tempfile.TemporaryDirectory(prefix="aotiny-demo-") as inputs:
        corpus.write(tokens, Path(inputs))
        rows = {}
        every = {**runs, **peers}
        for number, (name, (runner, path)) in enumerate(every.items(), 1):
            announce(f"running {name} in fresh processes ({number} of {len(every)})")
            try:
                rows[name] = measure(name, runner, path, Path(inputs), device, reference)
            except RuntimeError as error:
                # On a GPU torch's own package need not run; on the CPU it is what others are
                # compared with.
                if name in runs or device == "cpu":
                    raise
                announce(f"no row for {name}: {error}")
    variants = [rows[name] for name in runs]
    others = [rows[name] for name in peers if name in rows]
    if as_json:
        result = {"variants": [v.as_json() for v in variants]}
        print(json.dumps({**result, **{v.name: v.as_json() for v in others}}, indent=1))
    else:
        lines = [*report.search_lines(variants), "", *report.table_lines(variants, others, device)]
        print("\n".join(lines))
