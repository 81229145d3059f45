"""The command line, as its user meets it: processes, files, exit codes."""

import json
import os
import subprocess
import sys
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import aotiny  # noqa: E402
from aotiny.cli import inspect as inspect_command  # noqa: E402
from aotiny.cli import main  # noqa: E402
from aotiny.cli import run as run_command  # noqa: E402
from cli_process import cli, failure  # noqa: E402


class TwoOutputs(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = torch.nn.Embedding(20, 6)

    def forward(self, ids, scale):
        x = torch.exp(self.embedding(ids)) * scale
        return x, x.bfloat16().sum(-1)


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("cli") / "two.pt2"
    batch = torch.export.Dim("batch", min=1, max=9)
    module = TwoOutputs().eval()
    aotiny.export(
        module,
        (torch.zeros(2, 3, dtype=torch.int64), torch.ones(2, 1, 1)),
        path,
        dynamic_shapes=({0: batch}, {0: batch}),
    )
    return module, path


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    ids = np.arange(12).reshape(4, 3)
    scale = np.linspace(0.5, 2, 4, dtype=np.float32).reshape(4, 1, 1)
    np.save(folder / "ids.npy", ids)
    np.save(folder / "scale.npy", scale)
    return folder, ids, scale


def test_run_writes_the_outputs(package, inputs, tmp_path):
    module, path = package
    folder, ids, scale = inputs
    out = tmp_path / "new" / "folder"
    arguments = ("run", path, "--input", folder / "ids.npy", "--input", folder / "scale.npy")
    process = cli(*arguments, "--output-dir", out, "--json")
    assert process.returncode == 0 and process.stderr == ""
    result = json.loads(process.stdout)
    assert [(o["dtype"], o["shape"]) for o in result["outputs"]] == [
        ("float32", [4, 3, 6]),
        ("bfloat16", [4, 3]),
    ]
    assert result["load_ms"] > 0 and result["run_ms"] > 0
    with torch.no_grad():
        expected = module(torch.from_numpy(ids), torch.from_numpy(scale))
    first, second = (np.load(o["file"]) for o in result["outputs"])
    np.testing.assert_allclose(first, expected[0].numpy(), rtol=1e-5)
    # bfloat16 is stored as the fp32 of the same value.
    np.testing.assert_allclose(second, expected[1].float().numpy(), rtol=1e-2)


def test_run_without_output_folder_prints_shapes(package, inputs):
    folder, *_ = inputs
    both = (folder / "ids.npy", folder / "scale.npy")
    process = cli("run", package[1], "--input", *both)
    assert process.returncode == 0
    assert "float32[4, 3, 6]" in process.stdout and " ms" in process.stdout


def test_inputs_go_where_the_package_wants_them():
    model = SimpleNamespace(
        device="cuda:1", inputs=[{"device": "cuda"}, {"device": "cpu"}, {"device": "cuda"}]
    )
    assert run_command._places(model, 3) == ["cuda:1", "cpu", "cuda:1"]
    # What has no place is for the model to refuse.
    assert run_command._places(model, 1) == ["cuda:1"]
    assert run_command._places(model, 4)[3] == "cuda:1"
    model.inputs = None
    assert run_command._places(model, 2) == ["cuda:1"] * 2
    model.device = "cpu"
    assert run_command._places(model, 1) == ["cpu"]


def test_inspect_as_json_and_as_text(package):
    process = cli("inspect", package[1], "--json")
    assert process.returncode == 0
    description = json.loads(process.stdout)
    assert [spec["name"] for spec in description["inputs"]] == ["ids", "scale"]
    text = cli("inspect", package[1])
    assert text.returncode == 0
    assert "ids: int64[batch in 1..9, 3], values 0..19" in text.stdout
    assert "embedding.weight: float32[20, 6]" in text.stdout


def test_errors_are_one_line(package, inputs, tmp_path):
    folder, *_ = inputs
    path = package[1]
    ids, scale = folder / "ids.npy", folder / "scale.npy"
    assert "no-such.pt2" in failure("run", tmp_path / "no-such.pt2")
    assert "no-such.npy" in failure("run", path, "--input", tmp_path / "no-such.npy", scale)
    assert "2" in failure("run", path, "--input", ids)
    failure("run", path, "--input", scale, ids)
    text = tmp_path / "text.npy"
    text.write_text("not numpy")
    assert "text.npy" in failure("run", path, "--input", text, scale)
    np.save(tmp_path / "high.npy", np.full((4, 3), 20))
    assert "20" in failure("run", path, "--input", tmp_path / "high.npy", scale)
    broken = tmp_path / "broken.pt2"
    broken.write_bytes(path.read_bytes()[:5000])
    failure("inspect", broken)
    with zipfile.ZipFile(tmp_path / "empty.pt2", "w") as archive:
        archive.writestr("nothing", "")
    failure("inspect", tmp_path / "empty.pt2")


def test_verify_finds_damaged_weights(package, tmp_path):
    path = package[1]
    process = cli("inspect", path, "--verify", "--json")
    assert process.returncode == 0 and json.loads(process.stdout)["verified"] is True
    weights = torch.nn.Embedding.from_pretrained(package[0].embedding.weight.detach()).weight
    contents = bytearray(path.read_bytes())
    where = contents.find(weights.numpy().tobytes())
    assert where > 0
    contents[where + 17] ^= 1
    damaged = tmp_path / "damaged.pt2"
    damaged.write_bytes(contents)
    assert cli("inspect", damaged).returncode == 0  # the weights are not read to load a package
    assert "_weights.blob is damaged" in failure("inspect", damaged, "--verify")


def renamed(path, target, names):
    """A copy of the package whose manifest has other names for the outputs."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as new:
        for item in old.infolist():
            data = old.read(item)
            if item.filename.endswith("extra/aotiny.json"):
                manifest = json.loads(data)
                for output, name in zip(manifest["outputs"], names, strict=True):
                    output["name"] = name
                data = json.dumps(manifest)
            new.writestr(item.filename, data)
    return target


@pytest.mark.parametrize("names", [("same", "same"), ("../../up", "/a/b c"), ("..", "")])
def test_outputs_are_files_of_the_folder_whatever_they_are_called(package, inputs, tmp_path, names):
    path = renamed(package[1], tmp_path / "names.pt2", names)
    folder, *_ = inputs
    out = tmp_path / "deep" / "out"
    both = (folder / "ids.npy", folder / "scale.npy")
    process = cli("run", path, "--input", *both, "--output-dir", out, "--json")
    assert process.returncode == 0, process.stderr
    results = json.loads(process.stdout)["outputs"]
    assert [entry["name"] for entry in results] == list(names)
    assert sorted(entry["file"] for entry in results) == sorted(map(str, out.iterdir()))
    assert [np.load(entry["file"]).ndim for entry in results] == [3, 2]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["deep", "names.pt2"]


def test_outputs_that_a_model_leaves_out(monkeypatch, capsys):
    class Model:
        manifest = inputs = outputs = None
        device = "cpu"

        def __init__(self, path, device):
            assert device == "cpu"

        def __call__(self):
            return None, aotiny.empty([2])

    monkeypatch.setattr(aotiny, "Model", Model)
    assert main(["run", "m.pt2"]) == 0
    assert capsys.readouterr().out.startswith("output0: none\noutput1: float32[2]\n")


@pytest.mark.parametrize("stdout", ["pipe", "/dev/full"])
def test_output_that_cannot_be_written(package, stdout):
    """No traceback and no complaint from the interpreter's own flush at exit."""
    command = [sys.executable, "-m", "aotiny", "inspect", str(package[1])]
    if stdout == "pipe":
        read, write = os.pipe()
        os.close(read)
    else:
        write = os.open(stdout, os.O_WRONLY)
    process = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert process.returncode == 1
    expected = "" if stdout == "pipe" else "aotiny: error: [Errno 28] No space left on device\n"
    assert process.stderr == expected


def test_usage_errors_exit_with_2():
    assert cli().returncode == 2
    assert cli("paint").returncode == 2
    assert cli("--version").stdout.strip() == f"aotiny {aotiny.__version__}"


def test_the_command_line_imports_neither_torch_nor_numpy():
    program = "import sys, aotiny.cli; print('torch' in sys.modules, 'numpy' in sys.modules)"
    process = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert process.stdout.split() == ["False", "False"], process.stderr


def test_inspect_formats_every_kind_of_value():
    lines = list(
        inspect_command._lines(
            {
                "inputs": [
                    {"name": "x", "dtype": "int8", "shape": [{"name": "n", "min": 2, "max": None}]}
                ],
                "constants": [{"fqn": "a.b", "dtype": "float32", "shape": [3], "mutable": True}],
                "missing_symbols": [],
                "options": {"march": "x86-64-v4", "nothing": None},
                "entries": [{"name": "f", "size": 3}],
            },
            "",
        )
    )
    assert lines == [
        "inputs (1):",
        "  x: int8[n in 2..]",
        "constants (1):",
        "  a.b: float32[3], mutable",
        "missing_symbols: none",
        "options:",
        "  march: x86-64-v4",
        "  nothing: none",
        "entries (1):",
        "  name f, size 3",
    ]
