"""The exporter: what it derives from a graph, what it writes, what it refuses."""

import json
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest

import aotiny

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from aotiny.exporter import export as export_module  # noqa: E402
from aotiny.exporter.device import choose_device, is_on, move, moved_inputs  # noqa: E402
from aotiny.exporter.index_range import index_ranges  # noqa: E402
from aotiny.exporter.manifest import Dimensions, describe, mutated_buffers  # noqa: E402
from aotiny.exporter.manifest import _constants as constants_of  # noqa: E402
from aotiny.exporter.progress import Progress  # noqa: E402
from aotiny.exporter.target import TARGETS, choose_target  # noqa: E402
from aotiny.exporter.weights import planes_to_buffers, shared_copy  # noqa: E402
from aotiny.torch import WeightTensor, quantize_  # noqa: E402
from plain_reference import int8_values, unpack_int4_weight  # noqa: E402


def lambda_module(function, **buffers) -> nn.Module:
    class Module(nn.Module):
        def __init__(self):
            super().__init__()
            for name, tensor in buffers.items():
                self.register_buffer(name, tensor)

        def forward(self, *args):
            return function(self, *args)

    return Module()


def traced(module, *args, dynamic_shapes=None):
    return torch.export.export(module, args, dynamic_shapes=dynamic_shapes)


IDS = torch.tensor([[0, 1, 2], [2, 1, 0]])
TABLE = torch.arange(40.0).reshape(8, 5)


@pytest.mark.parametrize(
    ("function", "index", "expected"),
    [
        (lambda m, i: nn.functional.embedding(i, m.table), IDS, [0, 7]),
        (lambda m, i: m.table[i], IDS, [-8, 7]),
        (lambda m, i: m.table[:, i], IDS, [-5, 4]),
        (lambda m, i: m.table[i + 2], IDS, [-10, 5]),
        (lambda m, i: m.table[i - 1], IDS + 1, [-7, 8]),
        (lambda m, i: m.table[i.to(torch.int64).view(-1).unsqueeze(0)], IDS.int(), [-8, 7]),
        (lambda m, i: m.table.index_select(1, i), IDS[0], [0, 4]),
        (lambda m, i: m.table.gather(0, i), IDS, [0, 7]),
        (lambda m, i: m.table.clone().index_copy_(1, i, m.table[:, :3]), IDS[0], [0, 4]),
        (lambda m, i: m.table[i] + m.table[:, i[0]].sum(), IDS, [-5, 4]),
        (lambda m, i: m.table[i.clamp(0, 7)], IDS, None),
        (lambda m, i: i * 2, IDS, None),
        (lambda m, i: m.table[i.chunk(3, 1)[1]], IDS, [-8, 7]),
        (lambda m, i: m.table[i.clamp(min=0)], IDS, [-(2**63), 7]),
        (lambda m, i: m.table[i.clamp(max=9)], IDS, [-8, 7]),
        (lambda m, i: m.table[i.clamp(-20, 7) - 1], IDS, [-7, 2**63 - 1]),
        (lambda m, i: m.table[i * 3], IDS, [-2, 2]),
        (lambda m, i: m.table[torch.cat([i.flip(0), i + 1])], IDS, [-8, 6]),
        (lambda m, i: torch.take(m.table, i), IDS, [-40, 39]),
        (lambda m, i: m.cube[m.cube[..., 0] > 0, i[0, :1]], IDS, [-5, 4]),
        (lambda m, i: m.table[torch.where(i < 0, 0, i)], IDS, None),
    ],
)
def test_index_range_comes_from_the_graph(function, index, expected):
    program = traced(lambda_module(function, table=TABLE, cube=TABLE.expand(3, 8, 5) + 0), index)
    ranges = index_ranges(program.graph_module)
    assert [list(r) for r in ranges.values()] == ([expected] if expected else [])


def test_index_range_sees_through_cond():
    def forward(m, x, i):
        return torch.cond(x.sum() > 0, lambda i: m.table[i], lambda i: m.table[i] - 1, (i,))

    program = traced(lambda_module(forward, table=TABLE), torch.ones(2), IDS[0])
    assert list(index_ranges(program.graph_module).values()) == [(-8, 7)]


def test_index_range_of_a_dynamic_dimension_is_left_open():
    n = torch.export.Dim("n", min=3, max=9)
    module = lambda_module(lambda m, x, i: x[i])
    program = traced(module, torch.ones(4, 2), IDS[0], dynamic_shapes={"args": ({0: n}, None)})
    assert index_ranges(program.graph_module) == {}


def test_mutated_buffers_are_found_through_views():
    def forward(m, x):
        m.cache[1].view(-1)[2:].add_(x)
        return m.cache.sum() + m.other

    module = lambda_module(forward, cache=torch.zeros(2, 5), other=torch.ones(1))
    assert mutated_buffers(traced(module, torch.ones(3))) == {"cache"}


def test_a_module_that_writes_to_its_input_is_refused():
    with pytest.raises(ValueError, match="writes to its input"):
        mutated_buffers(traced(lambda_module(lambda m, x: x.add_(1)), torch.ones(3)))


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        (TARGETS["x86-64-v4"].features, "x86-64-v4"),
        (TARGETS["x86-64-v3"].features, "x86-64-v3"),
        (set(TARGETS["x86-64-v4"].features) - {"avx512dq"}, "x86-64-v3"),
    ],
)
def test_target_is_the_widest_the_host_runs(host, expected):
    assert choose_target(None, frozenset(host)).march == expected


def test_target_errors_name_the_choices():
    with pytest.raises(ValueError, match=r"x86-64-v3, x86-64-v4"):
        choose_target("znver5", frozenset())
    with pytest.raises(ValueError, match="another machine"):
        choose_target(None, frozenset({"sse2"}))
    assert choose_target("x86-64-v4", frozenset()).simdlen == 512


# --- quantized layers --------------------------------------------------------------------------


class Tower(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(64, 40)
        self.again = self.first
        self.odd = nn.Linear(40, 32, bias=False)
        self.deep = nn.Sequential(nn.Linear(32, 33), nn.ReLU())
        self.attention = nn.MultiheadAttention(32, 2)

    def forward(self, x):
        return self.deep(self.odd(self.first(x)))


@pytest.mark.parametrize("format", ["int8", "int4"])
def test_quantized_weights_become_buffers_of_a_copy(format):
    torch.manual_seed(0)
    module = Tower().eval()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    result = shared_copy(module)
    report = quantize_(result, format, embeddings=False)
    planes_to_buffers(result)
    assert type(module.first) is nn.Linear and type(module.first.weight) is nn.Parameter
    assert all(torch.equal(module.state_dict()[name], tensor) for name, tensor in before.items())
    assert isinstance(result.first.weight, WeightTensor) and result.again is result.first
    assert report.quantized == ["first", "again", "deep.0"]
    assert "40" in report.skipped["odd"] and "attention.out_proj" in report.skipped
    # Shared, not copied: quantizing a large model must not double what it keeps.
    assert result.odd.weight.data_ptr() == module.odd.weight.data_ptr()
    assert not result.training

    packed = result.first
    if format == "int4":
        weight = unpack_int4_weight(packed.qdata, packed.scale, packed.zero, packed.steps, 32)
    else:
        weight = int8_values(packed.qdata, packed.scale, packed.zero, 32)
    error = (weight - module.first.weight).abs().max() / module.first.weight.abs().max()
    assert error < (0.08 if format == "int4" else 0.01)


# --- packages ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def quantized_package(tmp_path_factory):
    """A small network with two inputs, one dynamic, exported as int4 for AVX2."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(50, 64)
            self.linear = nn.Linear(64, 32)

        def forward(self, ids, scale):
            return torch.tanh(self.linear(self.embedding(ids))) * scale["by"], ids + 1

    torch.manual_seed(0)
    module = Net().eval()
    path = tmp_path_factory.mktemp("export") / "net.pt2"
    batch = torch.export.Dim("batch", min=1, max=12)
    stages = []
    manifest = aotiny.export(
        module,
        (torch.zeros(3, 4, dtype=torch.int64), {"by": torch.ones(3, 1, 1)}),
        path,
        dynamic_shapes=({0: batch}, {"by": {0: batch}}),
        quantize="int4",
        target="x86-64-v3",
        progress=lambda stage, seconds: stages.append((stage, seconds)),
    )
    return module, path, manifest, stages


def test_manifest_is_in_the_package_and_complete(quantized_package):
    _, path, manifest, _ = quantized_package
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert all(entry.compress_type == zipfile.ZIP_STORED for entry in archive.infolist())
        assert json.loads(archive.read("net/extra/aotiny.json")) == manifest
    assert (manifest["format"], manifest["version"]) == ("aotiny-manifest", 1)
    assert manifest["torch_version"] == torch.__version__
    batch = {"name": "batch", "min": 1, "max": 12}
    ids, scale = manifest["inputs"]
    assert ids == {
        "name": "ids",
        "dtype": "int64",
        "device": "cpu",
        "shape": [batch, 4],
        "range": [0, 49],
    }
    assert scale["shape"] == [batch, 1, 1] and "range" not in scale and "strides" not in scale
    assert [o["shape"] for o in manifest["outputs"]] == [[batch, 4, 32], [batch, 4]]
    assert [o["dtype"] for o in manifest["outputs"]] == ["float32", "int64"]
    constants = {c["fqn"]: c for c in manifest["constants"]}
    assert constants["linear.qdata"]["shape"] == [32, 32]
    assert constants["linear.steps"]["dtype"] == "bfloat16"
    assert "linear.weight" not in constants
    assert manifest["quantization"]["quantized"] == ["linear"]
    assert manifest["cpu"]["march"] == "x86-64-v3" and "fma" in manifest["cpu"]["features"]
    assert not [f for f in manifest["cpu"]["features"] if f.startswith("avx512")]
    assert manifest["compile_options"]["cpp.simdlen"] == "256"
    assert manifest["compile_options"].get("cpp.march", "x86-64-v3") == "x86-64-v3"


def test_target_decides_the_instructions(quantized_package):
    _, path, _, _ = quantized_package
    with zipfile.ZipFile(path) as archive:
        (library,) = (n for n in archive.namelist() if n.endswith(".so"))
        assert b"libtorch" not in archive.read(library)
        (metadata,) = (n for n in archive.namelist() if n.endswith("wrapper_metadata.json"))
        assert json.loads(archive.read(metadata))["AOTI_CPU_ISA"] == "AVX2"


def test_progress_tells_each_stage_and_its_time(quantized_package):
    _, _, _, stages = quantized_package
    names = ["quantize int4", "trace", "compile", "package"]
    assert [name for name, seconds in stages if seconds is None] == names
    assert [name for name, seconds in stages if seconds is not None] == names


def test_package_runs_and_keeps_to_its_manifest(quantized_package):
    module, path, _, _ = quantized_package
    quantized = shared_copy(module)
    quantize_(quantized, "int4", embeddings=False)
    model = aotiny.Model(path)
    generator = torch.Generator().manual_seed(5)
    for batch in (1, 12):
        ids = torch.randint(0, 50, (batch, 4), generator=generator)
        scale = torch.rand(batch, 1, 1, generator=generator)
        with torch.no_grad():
            expected, shifted = quantized(ids, {"by": scale})
        actual, also_shifted = model(ids, scale)
        torch.testing.assert_close(torch.from_dlpack(actual), expected, rtol=1e-5, atol=1e-6)
        assert torch.equal(torch.from_dlpack(also_shifted), shifted)
    scale = torch.ones(1, 1, 1)
    for bad in (-1, 50, 2**40):
        with pytest.raises(aotiny.Error, match=str(bad)):
            model(torch.tensor([[0, 1, bad, 2]]), scale)
    with pytest.raises(aotiny.Error, match="13"):
        model(torch.zeros(13, 4, dtype=torch.int64), torch.ones(13, 1, 1))
    with pytest.raises(aotiny.Error):
        model(torch.zeros(2, 4, dtype=torch.int64), scale)


class Plain(nn.Module):
    def forward(self, x, y=2):
        return x * y


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"path": "model.zip"}, ValueError, "ends in .pt2"),
        ({"path": "missing/model.pt2"}, FileNotFoundError, "missing"),
        ({"module": lambda x: x}, TypeError, "function"),
        ({"module": nn.Sequential(nn.Dropout(0.5))}, ValueError, "0 is in training mode"),
        ({"module": nn.Linear(2, 2, device="meta")}, ValueError, "weight is on meta"),
        ({"module": lambda_module(lambda m, x: (x + 1, None))}, TypeError, "only tensors"),
        ({"module": lambda_module(lambda m, x: x.add_(1))}, ValueError, "writes to its input"),
        ({"target": "x86-64-v9"}, ValueError, "x86-64-v9"),
        ({"constants": "elsewhere"}, ValueError, "elsewhere"),
        ({"gemm": "cutlass"}, ValueError, "cutlass"),
        ({"gemm": "triton"}, ValueError, "gemm='triton' is for CUDA"),
        ({"device": "tpu"}, ValueError, "'tpu'"),
        ({"device": "meta"}, ValueError, '"cpu", "cuda" or "cuda:N", not \'meta\''),
        ({"quantize": "int4"}, ValueError, "no linear layer"),
        ({"args": (torch.ones(3), 2)}, TypeError, "no tensor"),
        ({"options": {"cpp.march": "native"}}, ValueError, r"cpp\.march follows from target="),
        ({"options": {"cpp.simdlen": 256}}, ValueError, r"cpp\.simdlen follows from target="),
        ({"input_ranges": {"z": (0, 1)}}, ValueError, "inputs are x"),
        ({"input_ranges": {"x": (2, 1)}}, ValueError, "empty range"),
    ],
)
def test_bad_arguments_leave_nothing_behind(change, error, text, tmp_path, monkeypatch):
    arguments = {"module": Plain(), "args": (torch.ones(3),), "path": "model.pt2", **change}
    arguments["path"] = tmp_path / arguments["path"]
    with pytest.raises(error, match=text):
        aotiny.export(**arguments)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_cuda_without_a_gpu_says_so(tmp_path):
    with pytest.raises(ValueError, match=r"exporting for cuda:1 needs a GPU, and torch .* none"):
        aotiny.export(Plain(), (torch.ones(3),), tmp_path / "a.pt2", device="cuda:1")


def test_constants_on_the_cpu_are_said_to_be_there():
    source = {"fqn": torch.ones(3)}
    program = SimpleNamespace(state_dict={}, constants=source)
    entry = {"name": "n", "fqn": "fqn", "dtype": "float32", "device": "cpu", "shape": [3],
             "strides": [1], "bytes": 64}  # fmt: skip
    package = SimpleNamespace(constants=[entry])
    cuda = torch.device("cuda", 0)
    (described,) = constants_of(program, package, set(), cuda)
    assert described["device"] == "cpu" and described["mutable"] is False
    (described,) = constants_of(program, package, {"fqn"}, torch.device("cpu"))
    assert "device" not in described and described["mutable"] is True
    entry["device"] = "cuda"
    with pytest.raises(RuntimeError, match="'fqn' was compiled for cuda, but is on cpu"):
        constants_of(program, package, set(), cuda)
    source["fqn"] = torch.ones(3, device="meta")
    with pytest.raises(ValueError, match="'fqn' is on meta, the package for cuda:0"):
        constants_of(program, package, set(), cuda)


def test_module_and_inputs_are_on_one_device():
    module = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2, device="meta"))
    with pytest.raises(ValueError, match=r"0\.weight is on cpu and 1\.weight on meta"):
        choose_device(module, (torch.ones(2),), {}, "cpu")
    here, elsewhere = torch.ones(2), torch.ones(2, device="meta")
    with pytest.raises(
        ValueError, match=r"weight is on cpu and example input \['y'\] on meta.*device="
    ):
        choose_device(nn.Linear(2, 3), (here,), {"y": elsewhere}, None)
    with pytest.raises(ValueError, match=r"input \[0\] is on cpu and .* \[1\]\['b'\]\[0\] on meta"):
        choose_device(Plain(), (here, {"a": here, "b": [elsewhere]}), {}, None)
    assert choose_device(Plain(), (2,), {}, None) == torch.device("cpu")
    assert choose_device(nn.Linear(2, 3), (elsewhere,), {}, "cpu") == torch.device("cpu")


def test_moving_a_copy_leaves_the_module_alone():
    module = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    module[1].weight = module[0].weight
    module[0].note, module[0].once = torch.ones(2), nn.Buffer(torch.ones(2))
    copy, cpu, meta = shared_copy(module), torch.device("cpu"), torch.device("meta")
    assert copy[0].weight is module[0].weight
    assert is_on(cpu, copy) and not is_on(meta, copy)
    move(copy, meta)
    assert is_on(meta, copy)
    copy[1].once = torch.ones(1)
    assert not is_on(meta, copy)
    assert {t.device.type for t in (*copy.parameters(), *copy.buffers(), copy[0].note)} == {"meta"}
    assert copy[1].weight is copy[0].weight and type(copy[0].weight) is nn.Parameter
    tensors = (*module.parameters(), *module.buffers(), module[0].note)
    assert {t.device.type for t in tensors} == {"cpu"}
    (x,), named = moved_inputs((torch.ones(2),), {"y": [torch.ones(1), 3]}, meta)
    assert (x.device.type, named["y"][0].device.type, named["y"][1]) == ("meta", "meta", 3)


@pytest.mark.parametrize("newer", [False, True])
def test_compiler_gets_the_target_from_every_torch(newer, monkeypatch):
    """Torch before 2.13 has no option for it: -march=native is replaced."""
    from torch._inductor import config, cpp_builder

    from aotiny.exporter import target, versions

    if newer and not versions.has_option("cpp.march"):
        pytest.skip(f"torch {torch.__version__} has no option cpp.march")
    known = versions.has_option
    for module in (target, versions):
        monkeypatch.setattr(
            module, "has_option", lambda name: known(name) and (newer or name != "cpp.march")
        )
    chosen = TARGETS["x86-64-v3"]
    options = target.compile_options(chosen, "blob")
    assert ("cpp.march" in options) == newer
    with target.vector_isa(chosen), config.patch(options):
        flags, _ = cpp_builder._get_optimization_cflags("g++")
    assert [flag for flag in flags if flag.startswith("march")] == ["march=x86-64-v3"]


def test_failed_export_keeps_the_package_that_was_there(tmp_path):
    path = tmp_path / "model.pt2"
    path.write_bytes(b"earlier")
    with pytest.raises(Exception, match="nonsense"):
        aotiny.export(Plain(), (torch.ones(3),), path, options={"nonsense": 1})
    assert path.read_bytes() == b"earlier"
    assert list(tmp_path.iterdir()) == [path]


def test_folders_of_any_name(tmp_path, monkeypatch):
    folder = tmp_path / "it's a $HOME; ü"
    folder.mkdir()
    monkeypatch.chdir(folder)
    aotiny.export(Plain(), (torch.ones(3),), "my model.pt2", quantize=None)
    assert [p.name for p in folder.iterdir()] == ["my model.pt2"]
    assert aotiny.Model("my model.pt2")(torch.ones(3))[0].tolist() == [2.0] * 3


def test_progress_is_printed_only_when_asked(capsys):
    for verbose, printed in ((None, 0), (False, 0), (True, 2)):
        with Progress(verbose).stage("trace"):
            pass
        captured = capsys.readouterr()
        assert captured.out == "" and captured.err.count("aotiny: trace") == printed


@pytest.mark.parametrize("version", ["2.10.0", "2.14.1+cpu", "3.11.0"])
def test_other_torch_versions_are_refused(monkeypatch, version):
    monkeypatch.setattr(torch, "__version__", version)
    with pytest.raises(ImportError, match=rf"needs torch 2\.11 to 2\.13.*{version[:4]}"):
        export_module(Plain(), (torch.ones(3),), "model.pt2")


def test_missing_torch_is_a_clear_error(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ImportError, match=r"aotiny\[export\]"):
        export_module(None, (), "model.pt2")


def test_non_contiguous_examples_are_recorded(tmp_path):
    from aotiny.exporter.manifest import Dimensions, _inputs

    program = traced(Plain(), torch.ones(4, 6).T)
    (entry,) = _inputs(program, Dimensions(program), {})
    assert entry["shape"] == [6, 4] and entry["strides"] == [1, 6]


def test_derived_and_unnamed_dimensions():
    from aotiny.exporter.manifest import Dimensions, _inputs

    n = torch.export.Dim("n", min=2, max=10)
    module = lambda_module(lambda m, x, y: (x.reshape(-1, 2).sum(1) + y,))
    shapes = {"args": ({0: 2 * n}, {0: n})}
    program = traced(module, torch.ones(8), torch.ones(4), dynamic_shapes=shapes)
    dims = Dimensions(program)
    dims.learn_names([], [], [])
    double, single = (entry["shape"][0] for entry in _inputs(program, dims, {}))
    assert (double["min"], double["max"], double["multiple_of"]) == (4, 20, 2)
    assert (single["min"], single["max"]) == (2, 10) and "multiple_of" not in single
    assert double["name"] == f"2*{single['name']}" and double["of"] == single["name"]


def test_derived_dimensions_agree_with_their_root(tmp_path):
    """Compiled code reads as far as one of the sizes says, whatever the other is."""
    n = torch.export.Dim("n", min=2, max=10)
    manifest = aotiny.export(
        lambda_module(lambda m, x, y: x.reshape(-1, 2).sum(1) + y),
        (torch.ones(8), torch.ones(4)),
        tmp_path / "derived.pt2",
        dynamic_shapes={"args": ({0: 2 * n}, {0: n})},
    )
    assert [i["shape"][0] for i in manifest["inputs"]] == [
        {"name": "2*n", "min": 4, "max": 20, "of": "n", "multiple_of": 2},
        {"name": "n", "min": 2, "max": 10},
    ]
    model = aotiny.Model(tmp_path / "derived.pt2")
    assert model(torch.ones(6), torch.ones(3))[0].tolist() == [3.0] * 3
    for x, y in ((8, 5), (10, 4), (4, 10)):
        with pytest.raises(aotiny.Error, match=f"n is {y} in input"):
            model(torch.ones(x), torch.ones(y))


def test_keyword_arguments_keep_their_dimensions_names():
    from aotiny.exporter.export import _by_parameter
    from aotiny.exporter.manifest import Dimensions, _inputs, user_tensors

    class Keywords(nn.Module):
        def forward(self, a, b, c):
            return a.sum(0) + b.sum(0) + c

    module = Keywords()
    a, b = torch.export.Dim("a_rows", min=1, max=9), torch.export.Dim("b_rows", min=1, max=7)
    turned = {"c": torch.ones(2), "b": torch.ones(4, 2)}
    in_order = {name: turned[name] for name in ("b", "c")}
    by_name, by_place = {"a": {0: a}, "b": {0: b}, "c": None}, ({0: a}, {0: b}, None)
    for kwargs, shapes in ((turned, by_name), (in_order, by_name), (in_order, by_place)):
        program = torch.export.export(module, (torch.ones(3, 2),), kwargs, dynamic_shapes=shapes)
        dims = Dimensions(program)
        nests = _by_parameter(module, (torch.ones(3, 2),), kwargs, shapes)
        dims.learn_names(list(user_tensors(program).values()), *nests)
        described = {entry["name"]: entry["shape"][0] for entry in _inputs(program, dims, {})}
        assert described == {
            "a": {"name": "a_rows", "min": 1, "max": 9},
            "c": 2,
            "b": {"name": "b_rows", "min": 1, "max": 7},
        }


def test_sizes_can_be_outputs(tmp_path):
    n = torch.export.Dim("n", min=1, max=9)
    manifest = aotiny.export(
        lambda_module(lambda m, x: (x.exp(), x.shape[0] * 2)),
        (torch.ones(3, 4),),
        tmp_path / "sizes.pt2",
        dynamic_shapes={"args": ({0: n},)},
    )
    assert manifest["outputs"][1]["dtype"] == "int64" and manifest["outputs"][1]["shape"] == []
    assert manifest["inputs"][0]["shape"][0] == {"name": "n", "min": 1, "max": 9}
    model = aotiny.Model(tmp_path / "sizes.pt2")
    for size in (1, 9):
        assert model(torch.ones(size, 4))[1].item() == 2 * size


class Counter(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.register_buffer("n", torch.zeros(shape, dtype=torch.int64))

    def forward(self, x):
        self.n.add_(1)
        return x * self.n.sum(), self.n.clone()


@pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
def test_state_of_one_element_is_not_taken_for_a_constant(shape, tmp_path):
    aotiny.export(Counter(shape).eval(), (torch.ones(3),), tmp_path / "counter.pt2")
    model = aotiny.Model(tmp_path / "counter.pt2")
    for step in (1, 2, 3):
        x, n = model(np.ones(3, np.float32))
        assert (x.tolist(), n.shape, np.asarray(n).sum()) == ([step] * 3, shape, step)


@pytest.mark.parametrize(
    ("dim", "least"),
    [(torch.export.Dim("n"), 0), (torch.export.Dim("n", min=3), 3), (torch.export.Dim.AUTO, 2)],
)
def test_dimensions_without_a_bound(dim, least):
    program = traced(nn.Linear(8, 4), torch.ones(4, 8), dynamic_shapes=({0: dim},))
    (entry,) = describe(program, Dimensions(program), {}).inputs
    size = entry["shape"][0]
    assert (size["min"], size["max"]) == (least, None)


def test_operators_that_aotiny_lacks_are_refused(tmp_path):
    with pytest.raises(RuntimeError, match="aoti_torch_cpu_convolution"):
        aotiny.export(nn.Conv1d(4, 4, 3).eval(), (torch.ones(1, 4, 16),), tmp_path / "conv.pt2")
    assert not list(tmp_path.iterdir())


def test_args_is_a_tuple(tmp_path):
    with pytest.raises(TypeError, match="args is a tuple"):
        aotiny.export(nn.Linear(8, 4).eval(), torch.ones(2, 8), tmp_path / "linear.pt2")
