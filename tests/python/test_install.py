"""What an install brings."""

import shutil
import subprocess
from pathlib import Path

import pytest

import aotiny

PREFIX = Path(aotiny.cmake_prefix())


def test_the_install_is_small():
    files = [path for path in PREFIX.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    # The CUDA library is there only where a toolkit built it, and has a bound of its own.
    cuda = [path for path in files if path.name.startswith("libaotiny_cuda")]
    assert sum(path.stat().st_size for path in set(files) - set(cuda)) < 10_000_000
    assert sum(path.stat().st_size for path in cuda) < 5_000_000


@pytest.mark.skipif(shutil.which("pkg-config") is None, reason="needs pkg-config")
def test_pkg_config_links_a_program(tmp_path):
    (folder,) = PREFIX.glob("lib*/pkgconfig")
    command = ["pkg-config", "--cflags", "--libs", str(folder / "aotiny.pc")]
    flags = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    source, program = tmp_path / "version.c", tmp_path / "version"
    source.write_text(
        "#include <stdio.h>\n"
        "#include <aotiny/abi/aotiny.h>\n"
        "int main(void) { puts(aotiny_version()); return 0; }\n"
    )
    subprocess.run(["cc", str(source), "-o", str(program), *flags], check=True)
    done = subprocess.run([str(program)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == aotiny.__version__
