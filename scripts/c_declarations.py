"""Reads the C function declarations of a header, for the scripts and tests that compare headers."""

import re
from pathlib import Path
from typing import NamedTuple

REPOSITORY = Path(__file__).resolve().parent.parent
ABI_HEADER = REPOSITORY / "cpp/aotiny/abi/aoti_torch.h"
CUDA_HEADER = REPOSITORY / "cuda/aotiny/abi/aoti_torch_cuda.h"
SYMBOLS_FILE = REPOSITORY / "cpp/aotiny/abi/symbols.def"
CUDA_SYMBOLS_FILE = REPOSITORY / "cuda/aotiny/abi/symbols.def"


class Parameter(NamedTuple):
    type: str  # "const int64_t*": one space between words, none before a star
    name: str


class Declaration(NamedTuple):
    returns: str
    parameters: tuple[Parameter, ...]

    @property
    def types(self) -> tuple[str, ...]:
        """The return type and the types of the parameters: what the ABI depends on."""
        return (self.returns, *(parameter.type for parameter in self.parameters))


def _parameter(text: str) -> Parameter:
    type_text, name = re.fullmatch(r"(.*?[\s*&])(\w+)", text.strip(), re.DOTALL).groups()
    return Parameter(re.sub(r"\s*\*\s*", "*", " ".join(type_text.split())), name)


def declarations(path: Path, prefix: str = "aoti") -> dict[str, Declaration]:
    """The functions declared in the header at `path` whose names begin with `prefix`."""
    text = Path(path).read_text()
    text = re.sub(r"/\*.*?\*/", " ", text, flags=re.DOTALL)
    text = re.sub(r"//[^\n]*", " ", text)
    text = re.sub(r"^\s*#[^\n]*", " ", text, flags=re.MULTILINE)
    found = {}
    for returns, name, parameters in re.findall(
        rf"(\w+\*?)\s+({prefix}\w*)\s*\(([^()]*)\)\s*;", text
    ):
        stripped = parameters.strip()
        pieces = [] if stripped in ("", "void") else stripped.split(",")
        found[name] = Declaration(returns, tuple(_parameter(piece) for piece in pieces))
    return found


def exported_symbols(file: Path = SYMBOLS_FILE) -> dict[str, Path]:
    """The names in a symbols.def, in its order, each with the header that its section names."""
    symbols, header = {}, None
    for line in file.read_text().splitlines():
        if section := re.fullmatch(r"# (\S+\.h)", line):
            header = file.parents[1] / section[1]
        elif line and not line.startswith("#"):
            if line in symbols:
                raise ValueError(f"{line} is twice in {file}")
            symbols[line] = header
    return symbols
