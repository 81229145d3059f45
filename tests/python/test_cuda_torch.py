"""Quantized weights in torch on a GPU: aotiny.torch against dequantized weights and the CPU."""

import copy
import io

import pytest

import aotiny
from cuda_models import needs_torch_cuda

torch = pytest.importorskip("torch")

from torch.nn import functional as F  # noqa: E402

from aotiny.torch import WeightTensor, quantize_  # noqa: E402
from torch_modules import Tied  # noqa: E402

pytestmark = needs_torch_cuda

# format -> how far int8 activations take products from those of the dequantized weight
FORMATS = {"int4": 0.01, "int6": 0.01, "int8": 0.01, "exact_int4": 0.01, "int4_tile_packed": 0.003}
DEVICE = "cuda:0"


def values(*shape, dtype=torch.float32, seed=3):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def weight(format="int4", shape=(40, 256), **kwargs) -> WeightTensor:
    group = {"group_size": 32} if format == "int4_tile_packed" else {}
    return WeightTensor.from_weight(aotiny.quantize(values(*shape), format, **group), **kwargs)


def distance(actual, wanted) -> float:
    assert (actual.shape, actual.device) == (wanted.shape, wanted.device)
    return float((actual.double() - wanted.double()).norm() / wanted.double().norm())


@pytest.mark.parametrize("format", FORMATS)
def test_weights_move_both_ways(format):
    here = weight(format)
    there = here.to("cuda")
    assert there.device == torch.device(DEVICE) and there.weight().device == DEVICE
    assert all(plane.device == there.device for plane in there.planes.values())
    assert torch.equal(there.cpu(), here) and torch.equal(
        there.dequantize().cpu(), here.dequantize()
    )
    with pytest.raises(NotImplementedError, match="weights on cpu and cuda:0"):
        torch.equal(here, there)
    with pytest.raises(NotImplementedError, match="not on meta"):
        there.to("meta")
    half = here.to("cuda", torch.float16)
    assert half.dtype == torch.float16 and half.device == there.device


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_linear(format, dtype):
    w = weight(format).to(DEVICE)
    bias = values(40, seed=4).to(DEVICE)
    floats = w.dequantize().double()
    for rows in (1, 3, 17, 65):
        x = values(rows, 256, dtype=dtype).to(DEVICE)
        y = F.linear(x, w, bias)
        assert y.dtype == dtype
        wanted = F.linear(x.double(), floats, bias.double())
        assert distance(y, wanted) < FORMATS[format] + torch.finfo(dtype).eps
    strided = values(256, 9, dtype=dtype).to(DEVICE).T
    assert torch.equal(F.linear(strided, w), F.linear(strided.contiguous(), w))
    assert F.linear(x[:0], w).shape == (0, 40)


def test_the_gpu_computes_what_the_cpu_does():
    w, x = weight("int6"), values(5, 256)
    assert distance(F.linear(x.to(DEVICE), w.to(DEVICE)).cpu(), F.linear(x, w)) < 1e-6


def test_stacks():
    w = weight("int6", (3, 40, 64)).to(DEVICE)
    x = values(3, 5, 64).to(DEVICE)
    y = torch.bmm(x, w.transpose(-2, -1))
    assert distance(y, torch.bmm(x, w.dequantize().mT)) < 0.01
    assert torch.equal(y[1], x[1] @ w[1].T)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_embedding(format, dtype):
    w = weight(format, dtype=dtype).to(DEVICE)
    ids = torch.tensor([[0, 39, 3], [3, 3, 1]], device=DEVICE)
    assert torch.equal(F.embedding(ids, w), w.dequantize()[ids])
    assert torch.equal(F.embedding(ids.int(), w), F.embedding(ids, w))
    assert torch.equal(F.embedding(ids, w).cpu(), F.embedding(ids.cpu(), w.cpu()))


def test_indices_out_of_bounds():
    w = weight().to(DEVICE)
    for bad in (40, -1):
        ids = torch.tensor([0, bad], device=DEVICE)
        with pytest.raises(aotiny.Error, match=f"{bad}.*40|40.*{bad}"):
            F.embedding(ids, w)
    graph = torch.cuda.CUDAGraph()
    torch.cuda.synchronize()
    with torch.cuda.graph(graph):  # nobody can look at the indices now
        rows = F.embedding(ids, w)
    graph.replay()
    torch.cuda.synchronize()
    assert torch.equal(rows[0], w.dequantize()[0]) and rows[1].isnan().all()


def test_devices_do_not_mix():
    here, there = weight(), weight().to(DEVICE)
    x, ids = values(3, 256), torch.tensor([0, 1])
    for call in (
        lambda: F.linear(x, there),
        lambda: F.embedding(ids, there),
        lambda: F.linear(x, there, values(40)),
    ):
        with pytest.raises(ValueError, match="on cpu, the weight on cuda:0"):
            call()
    with pytest.raises(ValueError, match="x is on cuda:0, the weight on cpu"):
        F.linear(x.to(DEVICE), here)
    with pytest.raises(ValueError, match="bias is on cpu, the weight on cuda:0"):
        F.linear(x.to(DEVICE), there, values(40))
    planes = list(here.planes.values())
    with pytest.raises(ValueError, match="planes on cpu and cuda:0"):
        here.with_planes([planes[0].to(DEVICE), *planes[1:]])


@pytest.mark.parametrize("first", ["quantize", "move"])
def test_modules_on_the_gpu(first):
    module, reference = Tied().eval(), Tied().eval()
    quantize_(reference, "int4")
    if first == "quantize":
        quantize_(module, "int4")
        module.to(DEVICE)
    else:
        report = quantize_(module.to(DEVICE), "int4")
        assert sorted(report.quantized) == ["embedding", "head", "inner"] and not report.skipped
    assert module.head.weight is module.embedding.weight
    assert module.head.weight.device == torch.device(DEVICE)
    assert torch.equal(module.head.weight.cpu(), reference.head.weight)
    ids = torch.arange(72).view(8, 9)
    with torch.no_grad():
        # Activations are rounded to 8 bits; where one lies between two codes either may be taken.
        assert distance(module(ids.to(DEVICE)).cpu(), reference(ids)) < 1e-3
    module.to("cpu")
    with torch.no_grad():
        assert torch.equal(module(ids), reference(ids))


def test_state_dicts_go_from_device_to_device():
    here, there = Tied().eval(), Tied().eval()
    quantize_(here, "int6")
    quantize_(there.to(DEVICE), "int4")
    quantized = there.head.weight.clone()
    with pytest.raises(RuntimeError, match=r"copy_: (PlanarInt6|CoalescedInt4)"):  # another format
        there.load_state_dict(here.state_dict())
    there = Tied().eval().to(DEVICE)
    quantize_(there, "int6")
    with torch.no_grad():
        for parameter in there.parameters():
            if isinstance(parameter, WeightTensor):
                for plane in parameter.planes.values():
                    plane.zero_()
    there.load_state_dict(here.state_dict())
    assert there.inner.weight.device == torch.device(DEVICE)
    for name, value in here.state_dict().items():
        assert torch.equal(there.state_dict()[name].cpu(), value), name
    here.inner.weight.planes["ql"].zero_()
    here.load_state_dict(there.state_dict())
    assert torch.equal(here.inner.weight, there.inner.weight.cpu())
    assert quantized.device == torch.device(DEVICE)


@pytest.mark.parametrize("place", ["cpu", DEVICE, None])
def test_files(place):
    module = Tied().eval().to(DEVICE)
    quantize_(module, "int4")
    file = io.BytesIO()
    torch.save(module.state_dict(), file)
    file.seek(0)
    state = torch.load(file, map_location=place, weights_only=True)
    loaded = state["head.weight"]
    assert isinstance(loaded, WeightTensor) and loaded.device == torch.device(place or DEVICE)
    assert torch.equal(loaded.cpu(), module.head.weight.cpu())


def test_views_and_copies():
    here = weight("int8")
    there = here.to(DEVICE)
    assert torch.equal(there[3:9].cpu(), here[3:9])
    assert torch.equal(torch.cat([there[:7], there[7:]]), there)
    assert torch.equal(torch.stack([there, there])[1], there)
    for other in (copy.deepcopy(there), there.clone(), there.contiguous()):
        assert torch.equal(other, there) and other.device == there.device
    there[:4].copy_(here[8:12])
    assert torch.equal(there[:4].cpu(), here[8:12]) and torch.equal(there[4:].cpu(), here[4:])


def test_work_goes_to_the_current_stream_of_torch():
    """In a stream that is busy, products wait for what was put there before."""
    w = weight("int8", (64, 256)).to(DEVICE)
    x, y = values(33, 256).to(DEVICE), values(33, 256, seed=9).to(DEVICE)
    expected = F.linear(y, w)
    rows = F.embedding(torch.tensor([63], device=DEVICE), w)
    big = values(4096, 4096).to(DEVICE)
    stream = torch.cuda.Stream()
    torch.cuda.synchronize()
    for _ in range(5):
        ids = torch.zeros(1, dtype=torch.int64, device=DEVICE)
        with torch.cuda.stream(stream):
            for _ in range(8):
                big = (big @ big).clamp(-1, 1)  # keeps the stream busy while we go on
            buffer = x.clone()
            buffer.copy_(y)
            ids.fill_(63)
            product, looked_up = F.linear(buffer, w), F.embedding(ids, w)
        stream.synchronize()
        assert torch.equal(product, expected) and torch.equal(looked_up, rows)


def test_captured_into_a_graph_of_torch():
    w, bias = weight("int4", (64, 256)).to(DEVICE), values(64).to(DEVICE)
    x = values(5, 256).to(DEVICE)
    wanted = F.linear(x * 2, w, bias)
    F.linear(x, w, bias)
    graph = torch.cuda.CUDAGraph()
    torch.cuda.synchronize()
    with torch.cuda.graph(graph):
        y = F.linear(x, w, bias)
    x.mul_(2)
    y.zero_()
    graph.replay()
    torch.cuda.synchronize()
    assert torch.equal(y, wanted)


def test_operators_are_proper_on_the_gpu():
    w = weight().to(DEVICE)
    arguments = (list(w.planes.values()), w.format, w.variant, w.group_size)
    torch.library.opcheck(
        torch.ops.aotiny.weight_matmul.default, (values(3, 256).to(DEVICE), *arguments)
    )
    ids = torch.tensor([0, 39], device=DEVICE)
    torch.library.opcheck(
        torch.ops.aotiny.weight_embedding.default, (ids, *arguments, torch.float16)
    )
