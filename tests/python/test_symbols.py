"""What libaotiny exports: exactly the C names of symbols.def, with torch's types and codes."""

import ctypes
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from shim import aotiny_shim, torch_shim  # noqa: E402

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

import make_symbol_table  # noqa: E402
from c_declarations import ABI_HEADER, declarations, exported_symbols  # noqa: E402

# Types of aotiny's own that torch's header does not have to share.
OWN = {
    "aoti_torch_cpu__weight_int4pack_mm",  # torch has it for GPUs
    "aoti_torch_cpu_int4_plain_mm",
    "aoti_torch_cpu_exact_int4_plain_mm",
    "aoti_torch_cpu_exact_int5_plain_mm",
    "aoti_torch_cpu_int6_plain_mm",
    "aoti_torch_cpu_int8_plain_mm",
    "aoti_torch_cpu_weight_matmul",
    "aoti_torch_cpu_weight_bmm",
    "aoti_torch_cpu_weight_embedding",
}


@pytest.fixture(scope="module")
def defined():
    """The dynamic symbols that the library defines."""
    if shutil.which("nm") is None:
        pytest.skip("nm (binutils) is not installed")
    command = ["nm", "-D", "--defined-only", "--format=posix", aotiny_shim().path]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return {line.split()[0].split("@")[0] for line in listed.splitlines()}


def test_c_names_are_those_of_the_list(defined):
    assert {name for name in defined if not name.startswith("_Z")} == set(exported_symbols())


def test_other_names_are_in_namespace_aotiny(defined):
    mangled = {name for name in defined if name.startswith("_Z")}
    assert mangled
    outside = {name for name in mangled if not re.match(r"_Z(T[ISV]|GV)?Z?N[rVKRO]*6aotiny", name)}
    assert not outside


def test_the_headers_declare_the_list():
    symbols = exported_symbols()
    in_c_headers = {name for name, header in symbols.items() if header.parent.name == "abi"}
    assert set(make_symbol_table.our_types()) == in_c_headers
    for name in symbols.keys() - in_c_headers:
        assert re.search(rf"\b{name}\b", symbols[name].read_text()), name


def test_types_are_torchs():
    ours = {name: found.types for name, found in declarations(ABI_HEADER).items()}
    theirs = make_symbol_table.torch_types()
    assert set(ours) - set(theirs) == OWN
    assert {n: t for n, t in ours.items() if n not in OWN} == {
        n: theirs[n] for n in ours if n not in OWN
    }


def test_the_comparison_of_types_sees_a_difference(tmp_path):
    changed = ABI_HEADER.read_text().replace(
        "aoti_torch_get_dim(AtenTensorHandle tensor, int64_t* ret_dim)",
        "aoti_torch_get_dim(AtenTensorHandle tensor, int32_t* ret_dim)",
    )
    header = tmp_path / "changed.h"
    header.write_text(changed)
    original, other = declarations(ABI_HEADER), declarations(header)
    assert [name for name in original if original[name] != other[name]] == ["aoti_torch_get_dim"]


CODES = re.compile(r"aoti_torch_(dtype|layout|device_type|memory_format)_(?!element_size)\w+")


def test_codes_are_torchs():
    names = [name for name in exported_symbols() if CODES.fullmatch(name)]
    assert len(names) > 30
    ours = {name: aotiny_shim().call(name) for name in names}
    assert ours == {name: torch_shim().call(name) for name in names}


def test_element_sizes_are_torchs():
    for name in (name for name in exported_symbols() if "_torch_dtype_" in name):
        if CODES.fullmatch(name):
            code = aotiny_shim().call(name)
            ours = aotiny_shim().call("aoti_torch_dtype_element_size", code)
            assert ours == torch_shim().call("aoti_torch_dtype_element_size", code) > 0
    assert aotiny_shim().call("aoti_torch_dtype_element_size", 99) == 0


def test_the_table_is_up_to_date():
    table = make_symbol_table.TABLE_FILE.read_text()
    if tuple(map(int, torch.__version__.split(".")[:2])) < (2, 12):
        # Made from the headers of a later torch; of this one it says that it lacks the youngest.
        table = table.replace("| 2.13 |", "| no |")
    assert table == make_symbol_table.table(), "run scripts/make_symbol_table.py"


def test_sleef_names_resolve():
    """Vectorised kernels of a model import the Sleef functions that torch's headers call."""
    root = Path(torch.__file__).parent / "include/ATen/cpu/vec"
    names = set()
    for header in [*root.glob("vec256/*.h"), *root.glob("vec512/*.h")]:
        names.update(re.findall(r"\bSleef_\w+", header.read_text()))
    assert {"Sleef_expf16_u10", "Sleef_expf8_u10", "Sleef_erfd4_u10"} <= names
    library = ctypes.CDLL(str(aotiny_shim().path))
    missing = []
    for name in sorted(names):
        try:
            library[name]
        except AttributeError:
            missing.append(name)
    assert not missing
