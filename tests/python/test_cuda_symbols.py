"""What libaotiny_cuda exports: exactly the C names of its symbols.def, with torch's types."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import aotiny

pytest.importorskip("torch")

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

import make_symbol_table
from c_declarations import CUDA_SYMBOLS_FILE, exported_symbols


@pytest.fixture(scope="module")
def defined():
    """The dynamic symbols that the library defines."""
    if shutil.which("nm") is None:
        pytest.skip("nm (binutils) is not installed")
    found = list(Path(aotiny.cmake_prefix()).glob("lib*/libaotiny_cuda.so.0"))
    if not found:
        pytest.skip("built without CUDA")
    command = ["nm", "-D", "--defined-only", "--format=posix", str(found[0])]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return {line.split()[0].split("@")[0] for line in listed.splitlines()}


def test_c_names_are_those_of_the_list(defined):
    names = {name for name in defined if not name.startswith("_Z")}
    assert names == set(exported_symbols(CUDA_SYMBOLS_FILE))


def test_other_names_are_in_namespace_aotiny_cuda(defined):
    mangled = {name for name in defined if name.startswith("_Z")}
    outside = {n for n in mangled if not re.match(r"_Z(T[ISV]|GV)?Z?N[rVKRO]*6aotiny4cuda", n)}
    assert mangled and not outside


def test_types_are_torchs():
    ours, theirs = make_symbol_table.our_types(CUDA_SYMBOLS_FILE), make_symbol_table.torch_types()
    shared = ours.keys() & theirs.keys()
    assert len(shared) >= 6
    assert {n: ours[n] for n in shared} == {n: theirs[n] for n in shared}


def test_the_headers_declare_the_list():
    for name, header in exported_symbols(CUDA_SYMBOLS_FILE).items():
        assert re.search(rf"\b{name}\b", header.read_text()), name
