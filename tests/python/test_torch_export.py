"""Models with quantized weights through aotiny.export, against the same models run eagerly."""

import json
import zipfile

import pytest

import aotiny

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from aotiny.torch import WeightTensor, quantize_  # noqa: E402
from torch_modules import Experts, Tied  # noqa: E402

BATCH = torch.export.Dim("batch", min=1, max=16)


def run(path, *inputs):
    return torch.from_dlpack(aotiny.Model(path)(*inputs)[0])


def size_of_constants(path) -> int:
    with zipfile.ZipFile(path) as archive:
        return sum(e.file_size for e in archive.infolist() if "/weights/" in e.filename)


@pytest.mark.parametrize("format", ["int4", "int6", "int8", "exact_int4"])
def test_tied_embedding_and_head(format, tmp_path):
    module = Tied().eval()
    path = tmp_path / "tied.pt2"
    manifest = aotiny.export(
        module, (torch.zeros(2, 3, dtype=torch.int64),), path,
        dynamic_shapes=({0: BATCH},), quantize=format, method="hqq",
    )  # fmt: skip
    assert type(module.head.weight) is nn.Parameter
    assert sorted(manifest["quantization"]["quantized"]) == ["embedding", "head", "inner"]
    assert manifest["quantization"]["method"] == "hqq"
    assert manifest["quantization"]["group_size"] == (16 if format == "int6" else 32)
    assert manifest["inputs"][0]["range"] == [0, 71]
    names = [constant["fqn"] for constant in manifest["constants"]]
    # One copy of the shared planes.
    assert "embedding.qdata" in names or "embedding.ql" in names
    assert not [name for name in names if name.startswith("head.")]

    quantize_(module, format, method="hqq")
    floats = sum(p.numel() * 4 for p in module.parameters() if not isinstance(p, WeightTensor))
    packed = module.inner.weight.weight().nbytes + module.head.weight.weight().nbytes
    assert size_of_constants(path) < packed + floats + 64 * (len(names) + 1)
    for batch in (1, 2, 16):
        ids = torch.randint(0, 72, (batch, 3), generator=torch.Generator().manual_seed(batch))
        with torch.no_grad():
            expected = module(ids)
        torch.testing.assert_close(run(path, ids), expected, rtol=1e-2, atol=1e-4)
    with pytest.raises(aotiny.Error, match="72"):
        aotiny.Model(path)(torch.tensor([[0, 72, 1]]))


def test_a_quantized_module_needs_no_more(tmp_path):
    """Weights that the module uses itself, among them a stack, and one row of activations."""
    torch.manual_seed(2)
    module = Experts().eval()
    floats = module.experts.detach().clone()
    packed = aotiny.quantize(floats, "int8")
    module.experts = nn.Parameter(WeightTensor.from_weight(packed), requires_grad=False)
    path = tmp_path / "experts.pt2"
    manifest = aotiny.export(module, (torch.randn(3, 1, 64),), path)
    assert isinstance(module.experts, WeightTensor) and manifest["quantization"] is None
    assert {c["fqn"] for c in manifest["constants"]} == {
        f"experts_{plane}" for plane in ("qdata", "scale", "zero")
    }
    x = torch.randn(3, 1, 64)
    torch.testing.assert_close(run(path, x), module(x), rtol=1e-5, atol=1e-5)
    exact = torch.relu(torch.bmm(x, floats.mT))
    assert (run(path, x) - exact).norm() < 0.02 * exact.norm()


@pytest.mark.parametrize("how", ["buffer", "attribute"])
def test_weights_that_are_no_parameters(how, tmp_path):
    w = WeightTensor.from_weight(aotiny.quantize(torch.randn(9, 64), "int6"))

    class Wrapper(nn.Module):
        def __init__(self):
            super().__init__()
            if how == "buffer":
                self.register_buffer("w", w)
            else:
                self.w = w

        def forward(self, x):
            return torch.sigmoid(x @ self.w.T)

    module, x = Wrapper().eval(), torch.randn(1, 64)
    aotiny.export(module, (x,), tmp_path / "w.pt2")
    torch.testing.assert_close(run(tmp_path / "w.pt2", x), module(x), rtol=1e-5, atol=1e-5)


def test_torch_export_takes_the_tensor_itself():
    torch.manual_seed(3)
    module = Tied().eval()
    quantize_(module, "int4")
    for example in (torch.tensor([[3]]), torch.tensor([[3, 5], [0, 71]])):
        program = torch.export.export(module, (example,)).module()
        with torch.no_grad():
            assert torch.equal(program(example), module(example))


def test_hooks_go_along(tmp_path):
    module = nn.Sequential(nn.Linear(32, 32), nn.Linear(32, 32)).eval()
    module[0].register_forward_hook(lambda layer, inputs, output: output * 3)
    module[1].register_forward_pre_hook(lambda layer, inputs: (inputs[0] * 3,))
    path = tmp_path / "hooks.pt2"
    aotiny.export(module, (torch.ones(2, 32),), path, quantize="int8")
    x = torch.randn(2, 32, generator=torch.Generator().manual_seed(4))
    expected = module(x)
    assert (run(path, x) - expected).norm() < 0.03 * expected.norm()


def test_variant_and_refusals(tmp_path):
    module, x = nn.Linear(64, 8).eval(), torch.ones(2, 64)
    manifest = aotiny.export(module, (x,), tmp_path / "a.pt2", quantize="int4", variant="A")
    assert "steps" not in {c["fqn"] for c in manifest["constants"]}
    assert json.loads(json.dumps(manifest))["quantization"]["variant"] == "A"
    for bad, text in (
        ({"quantize": "int3"}, '"int3" is none of "int4"'),
        ({"quantize": "int4", "group_size": 33}, "33"),
        ({"quantize": "int4", "variant": "Q"}, "Q"),
        ({"quantize": "int4", "method": "guess"}, "guess"),
        ({"quantize": "int8", "group_size": 96}, "no linear layer.*96"),
    ):
        with pytest.raises(ValueError, match=text):
            aotiny.export(module, (x,), tmp_path / "b.pt2", **bad)
    assert [p.name for p in tmp_path.iterdir()] == ["a.pt2"]
