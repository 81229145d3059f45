"""Tables of text, and JSON."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def table_lines(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Columns as wide as their widest cell; those whose header begins with a space to the right.

    Names from files cannot break lines: what is not printable is shown as Python writes it.
    """
    titles = [title.strip() for title in header]
    cells = [[printable(cell) for cell in row] for row in (titles, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = []
    for row in cells:
        aligned = (
            cell.rjust(width) if title.startswith(" ") else cell.ljust(width)
            for cell, width, title in zip(row, widths, header, strict=True)
        )
        lines.append("  ".join(aligned).rstrip())
    return lines


def printable(text: str) -> str:
    """Text from a file as a terminal may be given it: no escape sequences, no line breaks."""
    return text if text.isprintable() else repr(text)[1:-1]


def bytes_text(nbytes: float) -> str:
    """In units of 1000."""
    for unit in ("B", "kB", "MB", "GB"):
        if nbytes < 1000 or unit == "GB":
            break
        nbytes /= 1000
    return f"{nbytes:.0f} B" if unit == "B" else f"{nbytes:.1f} {unit}"


def format_text(tensor: Mapping[str, Any]) -> str:
    """A dtype, or a weight's type, variant and group size."""
    if "type" not in tensor:
        return tensor["dtype"]
    variant = f" {tensor['variant']}" if tensor["variant"] else ""
    return f"{tensor['type']}{variant} g{tensor['group_size']}"


def json_text(value: Any, indent: int | None = None) -> str:
    """As JSON, which has no word for NaN and infinity: they become strings."""

    def named(part: Any) -> Any:
        if isinstance(part, float) and not math.isfinite(part):
            return str(part)
        if isinstance(part, Mapping):
            return {key: named(entry) for key, entry in part.items()}
        return list(map(named, part)) if isinstance(part, list | tuple) else part

    return json.dumps(named(value), indent=indent)
