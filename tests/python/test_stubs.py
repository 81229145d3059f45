"""_core.pyi against the native module: the same names, the same parameters and defaults."""

import ast
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

import aotiny
from aotiny import _core

STUB = ast.parse(Path(aotiny.__file__).with_name("_core.pyi").read_text())

# What the stub says and the module does not have, or the other way round, and why.
ONLY_IN_STUB = {
    "Tensor.__iter__": "rows come through __getitem__ and __len__, which type checkers do not take",
    "Tensor.__buffer__": "the buffer protocol is a method since Python 3.12 only",
}
ONLY_AT_RUNTIME = {
    "__init__", "__getstate__", "__setstate__", "__repr__", "__hash__",
    "__release_buffer__",  # comes with __buffer__
}  # fmt: skip


def members(body) -> dict[str, ast.AST]:
    """Public names, and special ones, that statements of the stub define."""
    found = {}
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found[node.name] = node
        elif isinstance(node, ast.AnnAssign):
            found[node.target.id] = node
    return {name: node for name, node in found.items() if name[0] != "_" or name[:2] == "__"}


def parameters(function: ast.FunctionDef) -> list:
    """(name, default as text) of each parameter, with the marks * and **."""
    arguments = function.args
    plain = [*arguments.posonlyargs, *arguments.args]
    defaults = [None] * (len(plain) - len(arguments.defaults)) + arguments.defaults
    found = [(a.arg, d and ast.unparse(d)) for a, d in zip(plain, defaults, strict=True)]
    if arguments.vararg:
        found.append(("*args", None))  # whatever it is called
    elif arguments.kwonlyargs:
        found.append(("*", None))
    for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        found.append((argument.arg, default and ast.unparse(default)))
    if arguments.kwarg:
        found.append(("**kwargs", None))
    return found


def runtime_function(value) -> ast.FunctionDef:
    """The signature that pybind11 writes into the first line of a docstring."""
    line = value.__doc__.splitlines()[0]
    return ast.parse(f"def {line}: ...").body[0]


def stub_functions():
    for name, node in members(STUB.body).items():
        if isinstance(node, ast.FunctionDef):
            yield name, node, None
        elif isinstance(node, ast.ClassDef):
            for inner, method in members(node.body).items():
                if isinstance(method, ast.FunctionDef):
                    yield f"{name}.{inner}", method, node.name


def is_property(node: ast.FunctionDef) -> bool:
    return any(isinstance(d, ast.Name) and d.id == "property" for d in node.decorator_list)


def public(names) -> set[str]:
    return {name for name in names if not name.startswith("_")}


def test_the_same_names():
    stub = members(STUB.body)
    assert public(vars(_core)) == public(stub)
    for name, node in stub.items():
        if isinstance(node, ast.ClassDef):
            inside, real = set(members(node.body)), vars(getattr(_core, name))
            if name == "Error":  # its attributes belong to each exception
                continue
            assert public(real) == public(inside), name
            special = {n for n, v in real.items() if n[:2] == "__" and callable(v)}
            assert special - inside <= ONLY_AT_RUNTIME, name


@pytest.mark.parametrize(
    ("name", "node"), [pytest.param(name, node, id=name) for name, node, _ in stub_functions()]
)
def test_the_same_parameters(name, node):
    if name in ONLY_IN_STUB:
        assert name.rpartition(".")[2] not in vars(_core.Tensor) or sys.version_info >= (3, 12)
        return
    owner, _, function = name.rpartition(".")
    value = getattr(getattr(_core, owner) if owner else _core, function)
    if is_property(node):
        assert isinstance(value, property)
        return
    expected = parameters(runtime_function(value))
    # Operators and __getitem__ take their operand by place alone, under a name that pybind11 makes.
    actual = parameters(node)
    if any(parameter.startswith("arg") and parameter[3:].isdigit() for parameter, _ in expected):
        assert len(actual) == len(expected)
    else:
        assert actual == expected


def test_errors_have_what_the_stub_says():
    with pytest.raises(aotiny.Error) as caught:
        aotiny.empty([-1])
    error = next(node for node in STUB.body if getattr(node, "name", "") == "Error")
    for name, node in members(error.body).items():
        assert type(getattr(caught.value, name)).__name__ == node.annotation.id


def test_everything_public_is_there_and_typed():
    for name in aotiny.__all__:
        assert getattr(aotiny, name) is not None
    assert Path(aotiny.__file__).with_name("py.typed").exists()


@pytest.mark.skipif(importlib.util.find_spec("mypy") is None, reason="needs mypy")
def test_mypy_takes_a_typical_program(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        """
import numpy as np
import aotiny

model = aotiny.Model("m.pt2", num_models=2)
outputs: tuple[aotiny.Tensor | None, ...] = model(np.zeros(3), aotiny.empty([2, 3], "bfloat16"))
w = aotiny.quantize(np.zeros((4, 64), np.float32), "int4", group_size=64, variant="A")
y = aotiny.matmul(np.zeros((2, 64), np.float32), w)
same: bool = w == aotiny.Int8.from_tensors(group_size=64, **w.tensors())
first: aotiny.Tensor = aotiny.from_dlpack(np.zeros(3))[0, ..., 1:]
rows: list[aotiny.Tensor] = [row for row in first]
try:
    aotiny.inspect("m.pt2")
except aotiny.Error as error:
    code: int = error.code
wrong: int = aotiny.empty([2])
"""
    )
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache"), program],
        capture_output=True, text=True, cwd=tmp_path,
    )  # fmt: skip
    # Only the last line is wrong, and mypy sees that: the types are found.
    found = [line for line in done.stdout.splitlines() if line.startswith("program.py")]
    assert len(found) == 1 and 'type "Tensor", variable has type "int"' in found[0], (
        done.stdout + done.stderr
    )
