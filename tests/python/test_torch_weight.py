"""WeightTensor in the place of a float weight, and quantize_, against torch on the values."""

import copy
import io

import numpy as np
import pytest

import aotiny

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from aotiny.torch import WeightTensor, quantize_  # noqa: E402

KINDS = [
    ("int4", "A"), ("int4", "H"), ("int4", "B"), ("int4", "C"), ("exact_int4", None),
    ("exact_int5", None), ("int6", None), ("int8", "A"), ("int8", "H"),
    ("int4_plain", "float16"), ("int4_tile_packed", "4"),
]  # fmt: skip
# 8-bit activations are within 1/254 of the largest of their block.
TOLERANCE = 0.02


def randn(*shape: int, seed: int = 0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def quantized(*shape: int, format="int4", variant=None, dtype=torch.float32, seed=0):
    weight = aotiny.quantize(randn(*shape, seed=seed), format, variant=variant)
    return WeightTensor.from_weight(weight, dtype)


def assert_near(actual, expected):
    assert actual.shape == expected.shape and actual.dtype == expected.dtype
    actual, expected = actual.float(), expected.float()
    assert (actual - expected).norm() <= TOLERANCE * expected.norm()


@pytest.mark.parametrize(("format", "variant"), KINDS)
def test_products_and_look_ups(format, variant):
    w = quantized(24, 256, format=format, variant=variant)
    values = w.dequantize()
    bias = randn(24, seed=2)
    for m in (1, 3):
        x = randn(m, 2, 256, seed=m)
        assert_near(F.linear(x, w), x @ values.T)
        assert_near(F.linear(x, w, bias), x @ values.T + bias)
        assert torch.equal(F.linear(x, w, bias=bias), F.linear(x, w, bias))
        assert torch.equal(x @ w.T, F.linear(x, w))
        assert torch.equal(torch.matmul(x, w.transpose(-2, -1)), F.linear(x, w))
        assert torch.equal(torch.mm(x[:, 0], w.t()), F.linear(x[:, 0], w))
    ids = torch.tensor([[0, 23, 7], [7, 7, 1]])
    assert torch.equal(F.embedding(ids, w), values[ids])
    stack = quantized(3, 24, 256, format=format, variant=variant)
    x = randn(3, 2, 256)
    assert_near(torch.bmm(x, stack.transpose(-2, -1)), torch.bmm(x, stack.dequantize().mT))
    assert torch.equal(x @ stack.mT, torch.bmm(x, stack.transpose(1, 2)))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_dtypes(dtype):
    w = quantized(9, 64)
    other = w.to(dtype)
    assert other.dtype == dtype and w.dtype == torch.float32
    ids = torch.tensor([3, 8])
    assert torch.equal(F.embedding(ids, other), F.embedding(ids, w).to(dtype))
    assert_near(
        F.linear(randn(2, 64).to(dtype), other), (randn(2, 64) @ w.dequantize().T).to(dtype)
    )
    assert w.to("cpu") is w and w.to(torch.float32) is w
    assert other.float().dtype == torch.float32 and torch.equal(other.float(), w)


def test_the_memory_is_shared():
    weight = aotiny.quantize(randn(9, 64), "int8")
    w = WeightTensor.from_weight(weight)
    for name, plane in weight.tensors().items():
        assert w.planes[name].data_ptr() == plane.data_ptr
    assert w.weight() == weight
    assert w.detach().planes["qdata"].data_ptr() == w.planes["qdata"].data_ptr()
    assert w.clone().planes["qdata"].data_ptr() != w.planes["qdata"].data_ptr()
    assert torch.equal(w.clone(), w) and not torch.equal(w, quantized(9, 64, seed=1))


@pytest.mark.parametrize(("format", "variant"), KINDS)
def test_slices_and_cat(format, variant):
    w = quantized(24, 512, format=format, variant=variant)
    values = w.dequantize()
    assert torch.equal(w[8:16].dequantize(), values[8:16])
    assert torch.equal(w.narrow(0, 16, 8).dequantize(), values[16:])
    assert torch.equal(w[:, 256:].dequantize(), values[:, 256:])
    assert torch.equal(torch.cat([w[8:], w[:8]]).dequantize(), torch.cat([values[8:], values[:8]]))
    x = randn(3, 512)
    assert torch.equal(F.linear(x, w[8:16]), F.linear(x, w)[:, 8:16])
    cut = w[:, 256:].contiguous()
    assert all(plane.is_contiguous() for plane in cut.planes.values())
    assert torch.equal(cut, w[:, 256:])

    fused = quantized(24, 512, format=format, variant=variant, seed=1).clone()
    for part in range(3):
        fused[8 * part : 8 * part + 8].copy_(w[16 - 8 * part : 24 - 8 * part])
    expected = torch.cat([values[16:], values[8:16], values[:8]])
    assert torch.equal(fused.dequantize(), expected)

    stack = quantized(3, 24, 512, format=format, variant=variant)
    assert torch.equal(stack[1].dequantize(), stack.dequantize()[1])
    assert torch.equal(stack[1:, 8:].dequantize(), stack.dequantize()[1:, 8:])
    assert torch.equal(torch.stack([w, w]).dequantize(), torch.stack([values, values]))
    assert torch.equal(w.unsqueeze(0).squeeze(0), w) and w.unsqueeze(0).shape == (1, 24, 512)


def test_stacks_are_reshaped():
    stack = quantized(3, 24, 64)
    flat = stack.reshape(72, 64)
    assert torch.equal(flat.dequantize(), stack.dequantize().reshape(72, 64))
    assert torch.equal(stack.view(-1, 64), flat) and torch.equal(flat.view(3, 24, 64), stack)


def test_cuts_inside_a_group_are_refused():
    with pytest.raises(aotiny.Error, match="16"):
        quantized(8, 64)[:, 16:]
    with pytest.raises(NotImplementedError, match="steps of 2"):
        quantized(8, 64)[::2]


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda w: w + 1, "aten.add"),
        (lambda w: w.sum(), "aten.sum"),
        (lambda w: torch.empty_like(w), "aten.empty_like"),
        (lambda w: F.linear(w, w), "not the activations"),
        (lambda w: F.linear(w, torch.ones(4, 64)), "not the activations"),
        (lambda w: torch.ones(2, 8) @ w, "its transpose only"),
        (lambda w: F.linear(torch.ones(2, 8), w.T), "is a transpose"),
        (lambda w: F.embedding(torch.tensor([0]), w, max_norm=1.0), "max_norm"),
        (lambda w: w.to(torch.int32), "int32"),
        (lambda w: w.to("meta"), "meta"),
        (lambda w: w.view(torch.int8), "int8"),
        (lambda w: torch.cat([w, torch.ones(8, 64)]), "float tensors"),
        (lambda w: torch.cat([w, w.half()]), "float16"),
        (lambda w: w.copy_(torch.ones(8, 64)), "assign=True"),
        (lambda w: torch.ones(8, 64).copy_(w), "dequantize"),
        (lambda w: w.T.contiguous(), "transposed"),
        (lambda w: w.fill_(0), "aten.fill_"),
        (lambda w: w.transpose(0, 3), r"dimensions 0 and 3 of \[8, 64\]"),
        (lambda w: w.transpose(-3, -1), "dimensions -3 and -1"),
        (lambda w: torch.stack([w, w]).T, r"\[2, 8, 64\] is a stack"),
        (lambda w: setattr(w, "data", torch.ones(8, 64)), "copy_"),
        (lambda w: w.share_memory_(), "share_memory_"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(call, text):
    with pytest.raises(NotImplementedError, match=text):
        call(quantized(8, 64))


def test_memory_that_cannot_be_written_is_not():
    source = aotiny.quantize(randn(8, 64), "int8")
    planes = {name: np.array(plane) if name != "scale" else plane.clone() for name, plane in
              source.tensors().items()}  # fmt: skip
    planes["qdata"].flags.writeable = False
    weight = aotiny.Int8.from_tensors(group_size=32, **planes)
    assert weight.readonly
    w = WeightTensor.from_weight(weight)
    for view in (w, w[:4], w.detach(), w.reshape(8, 64)):
        with pytest.raises(NotImplementedError, match="cannot be written"):
            view.copy_(quantized(8, 64, format="int8", seed=1)[: len(view)])
    w.clone().copy_(quantized(8, 64, format="int8", seed=1))
    assert w.weight() == source
    # As torch.compile takes it apart and puts it together.
    names, context = w.__tensor_flatten__()
    parts = {name: getattr(w, name) for name in names}
    assert WeightTensor.__tensor_unflatten__(parts, context, w.shape, w.stride()).readonly


def test_copy_of_another_kind_is_refused():
    with pytest.raises(aotiny.Error, match="Int8"):
        quantized(8, 64).copy_(quantized(8, 64, format="int8"))
    with pytest.raises(aotiny.Error, match=r"8.*64"):
        quantized(8, 64).copy_(quantized(4, 64))


def test_printing():
    w = quantized(8, 64)
    expected = "WeightTensor(CoalescedInt4 B, shape=[8, 64], group_size=32, dtype=float32)"
    assert repr(w) == str(w) == expected
    assert "shape=[64, 8]" in repr(w.T) and "transposed" in repr(w.T)


def test_bad_planes_are_refused():
    w = quantized(8, 64)
    planes = list(w.planes.values())
    with pytest.raises(aotiny.Error, match=r"3 tensors.*4"):
        WeightTensor(planes[:3], "CoalescedInt4", "B", 32)
    with pytest.raises(aotiny.Error, match="48"):
        WeightTensor(planes, "CoalescedInt4", "B", 48)
    with pytest.raises(TypeError, match="int8"):
        WeightTensor(planes, "CoalescedInt4", "B", 32, torch.int8)


# --- in modules ---------------------------------------------------------------------------------


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(40, 64)
        self.up = nn.Linear(64, 96)
        self.down = nn.Linear(96, 64, bias=False)
        self.odd = nn.Linear(33, 8)
        self.head = nn.Linear(64, 40, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, ids):
        return self.head(self.down(torch.relu(self.up(self.embedding(ids)))))


IDS = torch.tensor([[1, 39], [0, 7], [5, 5]])


def model(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return Model().eval()


@pytest.mark.parametrize("format", ["int4", "int6", "int8"])
def test_quantize_in_place(format):
    module = model()
    seen = []
    report = quantize_(module, format, method="hqq", progress=lambda *a: seen.append(a))
    assert sorted(report.quantized) == ["down", "embedding", "head", "up"]
    assert list(report.skipped) == ["odd"] and "33" in report.skipped["odd"]
    group_size = 16 if format == "int6" else 32
    assert (report.format, report.group_size, report.method) == (format, group_size, "hqq")
    assert [done for _, done, _ in seen] == [0, 1, 2, 3] and {total for *_, total in seen} == {4}
    assert module.head.weight is module.embedding.weight
    assert isinstance(module.head.weight, nn.Parameter) and not module.head.weight.requires_grad
    assert type(module.up) is nn.Linear and type(module.odd.weight) is nn.Parameter

    floats = model()
    for name in report.quantized:
        floats.get_submodule(name).weight = nn.Parameter(
            module.get_submodule(name).weight.dequantize()
        )
    with torch.no_grad():
        assert_near(module(IDS), floats(IDS))
    again = quantize_(module, format)
    assert not again.quantized and "already" in again.skipped["up"]


def test_what_is_skipped_and_why():
    class Own(nn.Linear):
        pass

    module = nn.ModuleDict(
        {
            "own": Own(32, 8),
            "norm": nn.Embedding(8, 32, max_norm=1.0),
            "left": nn.Linear(32, 8),
            "good": nn.Linear(32, 8),
            "shared": nn.Linear(32, 8),
            "redone": nn.Linear(32, 8),
            "computed": nn.utils.parametrizations.weight_norm(nn.Linear(32, 8)),
        }
    )
    module.extra = nn.ParameterList([module["shared"].weight])
    module["redone"].forward = lambda x: x
    report = quantize_(module, "int8", filter=lambda name, layer: name != "left")
    assert report.quantized == ["good"]
    for name, text in (
        ("own", "Own is a subclass of Linear"),
        ("norm", "max_norm 1.0"),
        ("left", "filter"),
        ("shared", "ParameterList"),
        ("redone", "forward of its own"),
        ("computed", "no parameter"),
    ):
        assert text in report.skipped[name], name


@pytest.mark.parametrize(
    ("format", "group_size", "expected"),
    [("int4", None, 32), ("int8", None, 32), ("int6", None, 16), ("int6", 48, 48)],
)
def test_group_sizes_are_those_of_quantize(format, group_size, expected):
    module = nn.Sequential(nn.Linear(96, 8))
    wanted = aotiny.quantize(module[0].weight.detach(), format, group_size)
    report = quantize_(module, format, group_size)
    assert report.group_size == module[0].weight.group_size == wanted.group_size == expected
    assert module[0].weight.weight() == wanted


def test_quantize_refusals():
    for bad, text in (
        ({"format": "int3"}, '"int3" is none of "int4"'),
        ({"group_size": 33}, "33"),
        ({"group_size": 16}, "group size 16"),  # which int6 alone has
        ({"format": "int6", "group_size": 24}, "group size 24"),
        ({"group_size": 0}, "0"),
        ({"method": "guess"}, "guess"),
        ({"variant": "Q"}, "Q"),
    ):
        with pytest.raises(ValueError, match=text):
            quantize_(model(), **bad)
    broken = model()
    with torch.no_grad():
        broken.up.weight[2, 3] = float("nan")
    with pytest.raises(aotiny.Error, match=r"up: .*2, 3"):
        quantize_(broken, "int8")
    assert not any(isinstance(weight, WeightTensor) for weight in broken.parameters())


class OtherWeights(torch.Tensor):
    """Somebody else's tensors in the place of weights."""


def test_tensors_of_others_are_left_alone():
    module = nn.Sequential(nn.Linear(64, 64), nn.Linear(64, 64))
    module[0].weight = nn.Parameter(module[0].weight.detach().as_subclass(OtherWeights), False)
    report = quantize_(module, "int8")
    assert report.quantized == ["1"]
    assert report.skipped == {"0": "its weight is a OtherWeights"}


def test_where_weights_of_aotiny_are_wanted():
    w = quantized(8, 64, format="int8")
    for call in (aotiny.Tensor, lambda w: aotiny.quantize(w, "int4")):
        with pytest.raises(TypeError, match=r"a quantized weight: weight\(\) holds"):
            call(w)
    with pytest.raises(TypeError, match=r"matmul: w is a \w+, not a weight; its weight\(\) is one"):
        aotiny.matmul(torch.ones(1, 64), w)


def test_a_state_dict_is_saved_as_weights(tmp_path):
    module = model()
    quantize_(module, "int4")
    aotiny.save_file(module.state_dict(), tmp_path / "model.safetensors")
    loaded = aotiny.load_file(tmp_path / "model.safetensors")
    for name, value in module.state_dict().items():
        if isinstance(value, WeightTensor):
            assert loaded[name] == value.weight()
        else:
            assert torch.equal(torch.from_dlpack(loaded[name].clone()), value)


def test_state_dict_and_files():
    module = model()
    quantize_(module, "int4")
    with torch.no_grad():
        expected = module(IDS)
    file = io.BytesIO()
    torch.save(module.state_dict(), file)
    file.seek(0)
    state = torch.load(file, weights_only=True)
    assert isinstance(state["up.weight"], WeightTensor)

    other = model(1)
    with pytest.raises(RuntimeError, match="assign=True"):
        other.load_state_dict(state)
    quantize_(other, "int4")
    other.load_state_dict(state)  # into the planes that are there
    assert torch.equal(other(IDS), expected)
    wrong = model(1)
    quantize_(wrong, "int8")
    with pytest.raises(RuntimeError, match="Int8"):
        wrong.load_state_dict(state)
    # Last: torch notes in the state dict's metadata that it was assigned.
    other = model(1)
    other.load_state_dict(state, assign=True)
    assert torch.equal(other(IDS), expected)
    assert isinstance(other.up.weight, nn.Parameter)


def test_files_are_not_trusted():
    def saved(w):
        file = io.BytesIO()
        torch.save({"w": w}, file)
        file.seek(0)
        return file

    w = quantized(8, 64, format="int8").clone()
    assert torch.equal(torch.load(saved(w.T), weights_only=True)["w"].T, w)
    assert torch.load(saved(w), weights_only=True, map_location="meta")["w"].shape == (8, 64)
    w.planes["scale"][3, 1] = float("nan")
    with pytest.raises(aotiny.Error, match=r"scale at .*3, 1.* is nan"):
        torch.load(saved(w), weights_only=True)
    w.group_size = 48
    with pytest.raises(aotiny.Error, match="48"):
        torch.load(saved(w), weights_only=True)


def test_deepcopy_and_pickle_keep_ties_and_parameters():
    module = model()
    quantize_(module, "int4")
    file = io.BytesIO()
    torch.save(module, file)
    file.seek(0)
    for other in (copy.deepcopy(module), torch.load(file, weights_only=False)):
        assert torch.equal(other(IDS), module(IDS))
        assert isinstance(other.up.weight, nn.Parameter)
        assert (
            other.up.weight.planes["qdata"].data_ptr()
            != module.up.weight.planes["qdata"].data_ptr()
        )
    assert copy.deepcopy(module).head.weight is not module.head.weight


def test_modules_change_their_dtype():
    module = model()
    quantize_(module, "int8")
    expected = module(IDS)
    assert module.bfloat16() is module and module.up.weight.dtype == torch.bfloat16
    assert isinstance(module.up.weight, nn.Parameter)
    assert module(IDS).dtype == torch.bfloat16
    assert_near(module(IDS).float(), expected)


def test_inference_mode_and_functions_that_torch_takes_apart():
    w, x = quantized(8, 64, format="int8"), randn(2, 3, 64)
    with torch.inference_mode():
        assert torch.equal(F.linear(x, w)[..., 4:], F.linear(x, w[4:]))
        assert torch.equal(w.clone().T.T, w)
    attention = nn.MultiheadAttention(64, 4, batch_first=True).eval()
    with torch.no_grad():
        expected = attention(x, x, x)[0]
        packed = aotiny.quantize(attention.out_proj.weight.detach(), "int8")
        attention.out_proj.weight = nn.Parameter(WeightTensor.from_weight(packed), False)
        assert_near(attention(x, x, x)[0], expected)


def test_importing_aotiny_imports_no_torch(run_python):
    assert run_python("import sys, aotiny; print('torch' in sys.modules)").strip() == "False"
