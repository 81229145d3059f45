"""Show what is in a file.

Of a .pt2 package: inputs, outputs, constants, sizes, symbols, compile options. Of a .safetensors or
.gguf file: the weights and tensors, their types and sizes, and the metadata.
"""

import argparse
import math
from pathlib import Path

from .sources import SUFFIXES, Source
from .table import bytes_text, format_text, json_text, printable, table_lines

HELP = "show what is in a package or a file of weights"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="a .pt2, .safetensors or .gguf file")
    parser.add_argument(
        "--verify",
        action="store_true",
        help="read everything and compare the checksums; .pt2 only, others have none",
    )


def execute(options: argparse.Namespace) -> None:
    import aotiny

    if Path(options.file).suffix.lower() in SUFFIXES:
        if options.verify:
            raise ValueError(f"{options.file} has no checksums to verify; .pt2 packages have")
        description = _describe(Source(options.file))
        lines = _file_lines
    else:
        description = aotiny.inspect(options.file)
        if options.verify:
            _verify(options.file)
            description["verified"] = True
        lines = _package_lines
    if options.json:
        print(json_text(description, indent=1))
    else:
        print("\n".join(map(printable, lines(description))))


def _describe(source: Source) -> dict:
    """A file of weights."""
    tensors = [source.describe(name) for name in source]
    return {
        "kind": source.kind,
        "version": source.version,
        "metadata": dict(source.metadata),
        "totals": {
            "tensors": len(tensors),
            "weights": sum("type" in tensor for tensor in tensors),
            "numel": sum(math.prod(tensor["shape"]) for tensor in tensors),
            "nbytes": sum(tensor["nbytes"] for tensor in tensors),
        },
        "tensors": tensors,
    }


_SHOWN = 100  # characters of a text in the metadata, and elements of a list


def _file_lines(description: dict):
    version, totals = description["version"], description["totals"]
    yield f"{description['kind']}{'' if version is None else f', version {version}'}"
    for key, value in description["metadata"].items():
        yield f"  {_short(key)}: {_short(value)}"
    yield (
        f"{totals['tensors']} tensors, {totals['weights']} of them quantized; "
        f"{totals['numel']} values, {bytes_text(totals['nbytes'])}"
    )
    yield ""
    yield from table_lines(
        ("name", "shape", "type", " bits", " bytes"),
        [
            (
                tensor["name"],
                str(tensor["shape"]),
                _type_text(tensor),
                f"{tensor['bits_per_weight']:.3f}" if "bits_per_weight" in tensor else "",
                str(tensor["nbytes"]),
            )
            for tensor in description["tensors"]
        ],
    )


def _type_text(tensor: dict) -> str:
    if "gguf_type" not in tensor:
        return format_text(tensor)
    known = "type" in tensor or "dtype" in tensor
    return f"{tensor['gguf_type']}: {format_text(tensor) if known else 'not supported'}"


def _short(value) -> str:
    """One line about a value of the metadata."""
    if isinstance(value, list) and len(value) > _SHOWN:
        return f"{len(value)} values"
    text = value if isinstance(value, str) and value.isprintable() else repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}... ({len(text)} characters)"


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


def _package_lines(description: dict):
    return _lines(description, "")


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
