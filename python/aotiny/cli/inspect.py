"""Show what is in a package: inputs, outputs, constants, sizes, symbols, compile options."""

import argparse
import json

HELP = "show what is in a package"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("package", help="a .pt2 package")
    parser.add_argument(
        "--verify", action="store_true", help="read everything and compare the checksums"
    )


def execute(options: argparse.Namespace) -> None:
    import aotiny

    description = aotiny.inspect(options.package)
    if options.verify:
        _verify(options.package)
        description["verified"] = True
    if options.json:
        print(json.dumps(description, indent=1))
    else:
        print("\n".join(_lines(description, "")))


def _verify(path: str) -> None:
    """Raises ValueError for the first entry whose bytes do not have its checksum."""
    import zipfile

    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()
    if damaged is not None:
        raise ValueError(f"{path}: {damaged} is damaged: its checksum differs from the archive's")


def _dimension(size) -> str:
    """A size, or name in min..max."""
    if not isinstance(size, dict):
        return str(size)
    high = "" if size.get("max") is None else size["max"]
    return f"{size.get('name', '?')} in {size.get('min', 0)}..{high}"


def _tensor(spec: dict) -> str:
    """One line about an input, an output or a constant."""
    text = f"{spec.get('dtype', '?')}[{', '.join(map(_dimension, spec.get('shape', ())))}]"
    if "range" in spec:
        text += f", values {spec['range'][0]}..{spec['range'][1]}"
    if spec.get("mutable"):
        text += ", mutable"
    return f"{spec.get('fqn') or spec.get('name', '?')}: {text}"


def _lines(value, indent: str):
    """A nest of dicts and lists as indented text; tensors on one line each."""
    if isinstance(value, dict):
        for key, item in value.items():
            if isinstance(item, dict | list) and item:
                count = f" ({len(item)})" if isinstance(item, list) else ""
                yield f"{indent}{key}{count}:"
                yield from _lines(item, indent + "  ")
            else:
                text = "none" if item in (None, [], {}) else item
                yield f"{indent}{key}: {text}"
    else:
        for item in value:
            if isinstance(item, dict) and "dtype" in item:
                yield indent + _tensor(item)
            elif isinstance(item, dict):
                yield indent + ", ".join(f"{key} {text}" for key, text in item.items())
            else:
                yield f"{indent}{item}"
