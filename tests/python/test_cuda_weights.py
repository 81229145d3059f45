"""Weights on a CUDA device: the same as on the CPU, which is the oracle here."""

import pickle
import re

import numpy as np
import pytest

import aotiny
from aotiny import Tensor, cuda
from gguf_files import BLOCKS, gguf_bytes, random_blocks, tensor
from on_cuda import OnCuda
from weight_kinds import KINDS, PRODUCTS, cut_of, dense, group_for, over, random_weight

WHY_NOT = cuda.why_not()
needs_gpu = pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)
no_gpu = pytest.mark.skipif(not WHY_NOT, reason="there is a GPU")
two_gpus = pytest.mark.skipif(
    bool(WHY_NOT) or cuda.device_count() < 2, reason=WHY_NOT or "there is one GPU"
)
TOLERANCE = {"float32": 1e-5, "float16": 1e-3, "bfloat16": 6e-3}
TYPED = {
    "int4": aotiny.int4_plain_mm,
    "exact_int4": aotiny.exact_int4_plain_mm,
    "exact_int5": aotiny.exact_int5_plain_mm,
    "int6": aotiny.int6_plain_mm,
    "int8": aotiny.int8_plain_mm,
    "int4_tile_packed": aotiny.weight_int4pack_mm,
}


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def host(tensor) -> np.ndarray:
    return tensor.to("cpu").to("float32").numpy()


def assert_same(device, cpu):
    """A weight elsewhere that equals one on the CPU in every respect."""
    assert type(device) is type(cpu)
    assert (device.shape, device.variant, device.group_size) == (
        cpu.shape, cpu.variant, cpu.group_size
    )  # fmt: skip
    assert device.device.startswith("cuda:") and cpu.device == "cpu"
    assert device.is_transposed == cpu.is_transposed
    assert device == cpu and cpu == device
    assert device.to("cpu") == cpu
    values = device.dequantize()
    assert (values.device, values.dtype, values.shape) == (device.device, "float32", cpu.shape)
    np.testing.assert_array_equal(host(values), dense(cpu))


def assert_close(actual, expected, tolerance):
    actual, expected = host(actual).astype(np.float64), host(expected).astype(np.float64)
    assert actual.shape == expected.shape
    assert np.linalg.norm(actual - expected) <= tolerance * np.linalg.norm(expected)


# --- without a GPU ----------------------------------------------------------------------------


def as_if_on_gpu(kind, shape):
    """A weight that says of itself to be on a GPU; nothing may read it."""
    weight = random_weight(kind, shape)
    planes = [OnCuda(t.shape, t.dtype) for t in weight.tensors().values()]
    return aotiny._core.weight_of_planes(
        type(weight).__name__, weight.variant, planes, weight.group_size
    )


def test_to_the_cpu_is_the_weight_itself():
    weight = random_weight(("int4", "B"), (8, 64))
    memory = {name: t.data_ptr for name, t in weight.to("cpu").tensors().items()}
    assert memory == {name: t.data_ptr for name, t in weight.tensors().items()}
    with pytest.raises(aotiny.Error, match='device "gpu" is not "cpu", "cuda" or "cuda:N"'):
        weight.to("gpu")


@no_gpu
def test_without_a_gpu_moving_says_what_is_missing(tmp_path):
    weight = random_weight(("int4", "B"), (8, 64))
    aotiny.save_file({"w": weight}, tmp_path / "w.safetensors")
    for call in (
        lambda: weight.to("cuda"),
        lambda: weight.to("cuda:1"),
        lambda: aotiny.load_file(tmp_path / "w.safetensors", device="cuda"),
    ):
        with pytest.raises(aotiny.Error) as caught:
            call()
        assert (str(caught.value), caught.value.name) == (WHY_NOT, "NotFound")


def test_tensors_of_different_devices_are_refused():
    weight = random_weight(("int8", "A"), (8, 64))
    planes = weight.tensors()
    for name in ("scale", "zero"):
        mixed = {**planes, name: OnCuda(planes[name].shape, planes[name].dtype)}
        with pytest.raises(aotiny.Error, match=f"{name} is on cuda:0, qdata on cpu"):
            aotiny.Int8.from_tensors(group_size=32, **mixed)


def test_arguments_on_different_devices_are_refused():
    weight, stack = as_if_on_gpu(("int4", "A"), (8, 64)), as_if_on_gpu(("int4", "A"), (2, 8, 64))
    x, bias = normal(3, 64), np.zeros(8, np.float32)
    on_gpu = OnCuda((3, 64), "float32")
    ours = random_weight(("int4", "A"), (8, 64))
    for call, what in (
        (lambda: aotiny.matmul(x, weight), "x is on cpu, the weight on cuda:0"),
        (lambda: aotiny.int4_plain_mm(x, weight), "x is on cpu, the weight on cuda:0"),
        (lambda: aotiny.matmul(on_gpu, weight, bias), "bias is on cpu, the weight on cuda:0"),
        (
            lambda: aotiny.matmul(on_gpu, weight, out=aotiny.empty([3, 8])),
            "out is on cpu, the weight on cuda:0",
        ),
        (lambda: aotiny.bmm(normal(2, 3, 64), stack), "x is on cpu, the weight on cuda:0"),
        (
            lambda: aotiny.embedding(np.zeros(2, np.int64), weight),
            "the tensor of indices is on cpu, the weight on cuda:0",
        ),
        (lambda: aotiny.matmul(on_gpu, ours), "x is on cuda:0, the weight on cpu"),
        (lambda: aotiny.cat([weight, ours]), "a weight is on cuda:0, another on cpu"),
        (lambda: aotiny.stack([ours, weight]), "a weight is on cpu, another on cuda:0"),
    ):
        with pytest.raises(aotiny.Error, match=re.escape(what)) as caught:
            call()
        assert caught.value.name == "InvalidArgument"


def test_what_is_done_on_the_cpu_only_says_so():
    weight = as_if_on_gpu(("int4", "A"), (8, 64))
    assert "device='cuda:0'" in repr(weight) and weight.device == "cuda:0"
    assert "device" not in repr(random_weight(("int4", "A"), (8, 64)))
    for call, name in (
        (lambda: aotiny.convert(weight, "int4", variant="B"), "NotImplemented"),
        (lambda: aotiny.quantize(OnCuda((8, 64), "float32"), "int4"), "NotImplemented"),
        (lambda: pickle.dumps(weight), "NotSupported"),
    ):
        with pytest.raises(aotiny.Error, match=r'cuda:0.*\.to\("cpu"\) copies it there') as caught:
            call()
        assert caught.value.name == name


# --- with a GPU -------------------------------------------------------------------------------


@needs_gpu
@over(KINDS)
@pytest.mark.parametrize("shape", [(40, 1280), (3, 24, 768)], ids=str)
def test_there_and_back(kind, shape):
    weight = random_weight(kind, shape, 64)
    device = weight.to("cuda")
    assert device.device == "cuda:0" and device.is_contiguous and not device.readonly
    assert_same(device, weight)
    assert_same(device.mT, weight.mT)
    assert {t.device for t in device.tensors().values()} == {"cuda:0"}
    for name, plane in weight.tensors().items():
        there = device.tensors()[name]
        assert there.readonly and (there.shape, there.dtype) == (plane.shape, plane.dtype)
        np.testing.assert_array_equal(
            there.to("cpu").contiguous().reshape([-1]).view("uint8").numpy(),
            plane.contiguous().reshape([-1]).view("uint8").numpy(),
        )


@needs_gpu
def test_to_its_own_device_is_the_weight_itself():
    device = random_weight(("int6", "B"), (8, 64)).to("cuda")
    again = device.to("cuda:0")
    assert [t.data_ptr for t in again.tensors().values()] == [
        t.data_ptr for t in device.tensors().values()
    ]
    assert device.clone().tensors()["ql"].data_ptr != device.tensors()["ql"].data_ptr


@needs_gpu
@over(KINDS)
def test_views_copies_and_joins(kind):
    weight = random_weight(kind, (48, 1536), 64)
    stack = random_weight(kind, (4, 16, 768), 64, seed=1)
    n, k = cut_of(kind, weight.group_size)
    for part in (
        lambda w: w[n : 3 * n],
        lambda w: w[:, k:],
        lambda w: w[n:, k : 2 * k],
        lambda w: w[n:, k:].contiguous(),
        lambda w: w.mT.clone(),
        lambda w: aotiny.cat([w, w[:n], w]),
        lambda w: aotiny.cat([w[:, k:], w[:, :k]], dim=1),  # slices of one weight share its steps
        lambda w: aotiny.stack([w[:n], w[n : 2 * n]]),
        lambda w: w.reshape((2, 24, 1536)),
        lambda w: w.shard(1, 2),
        lambda w: w.shard(2, 3, dim=1),
        lambda w: w.shard(4, 5, pad=True),
        lambda w: w.unsqueeze(),
    ):
        assert_same(part(weight.to("cuda")), part(weight))
    for part in (
        lambda w: w[2],
        lambda w: w[1:3, n:, k:],
        lambda w: w[1:].mT,
        lambda w: w.reshape((64, 768)),
        lambda w: w[1:3, :, k:].reshape((32, 768 - k)),
        lambda w: w[3:].squeeze(),
    ):
        assert_same(part(stack.to("cuda")), part(stack))


@needs_gpu
@over(KINDS)
def test_copies_into_views_from_any_device(kind):
    whole = random_weight(kind, (48, 768), 64).to("cuda")
    rows = random_weight(kind, (16, 768), 64, seed=1)
    whole[8:24].copy_(rows)  # from the host
    assert_same(whole[8:24], rows)
    whole[32:48].copy_(rows.to("cuda"))
    assert_same(whole[32:48], rows)
    back = random_weight(kind, (48, 768), 64, seed=2)
    back[16:32].copy_(whole[32:48])  # to the host
    assert back[16:32] == rows
    assert whole[:8].to("cpu") == random_weight(kind, (48, 768), 64)[:8]
    assert whole != back and whole[:8] != back[:8]


@needs_gpu
@over(KINDS)
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_products(kind, dtype):
    weight = random_weight(kind, (72, 768), 64)
    device = weight.to("cuda")
    x, bias = Tensor(normal(9, 768)).to(dtype), Tensor(normal(72, seed=1))
    for activation in (None, "native", "int8") if kind in PRODUCTS else (None, "native"):
        expected = aotiny.matmul(x, weight, bias, activation=activation)
        y = aotiny.matmul(x.to("cuda"), device, bias.to("cuda"), activation=activation)
        assert (y.device, y.dtype) == ("cuda:0", dtype)
        assert_close(y, expected, TOLERANCE[dtype])
        out = aotiny.empty([9, 72], dtype, device="cuda")
        out.copy_(np.float32(np.nan))
        assert aotiny.matmul(x.to("cuda"), device, out=out, activation=activation) is out
        assert_close(out, aotiny.matmul(x, weight, activation=activation), TOLERANCE[dtype])
    if kind[0] in TYPED:
        typed = TYPED[kind[0]]
        expected = typed(x, weight, bias)
        assert_close(typed(x.to("cuda"), device, bias.to("cuda")), expected, TOLERANCE[dtype])
    vector = aotiny.matmul(x[3].to("cuda"), device)
    assert vector.shape == (72,)
    assert_close(vector, aotiny.matmul(x[3], weight), TOLERANCE[dtype])


@needs_gpu
@over(KINDS)
def test_batched_products(kind):
    stack = random_weight(kind, (3, 24, 512), 64)
    x = normal(3, 5, 512)
    for activation in (None, "native"):
        y = aotiny.bmm(Tensor(x).to("cuda"), stack.to("cuda"), activation=activation)
        assert_close(y, aotiny.bmm(x, stack, activation=activation), TOLERANCE["float32"])


@needs_gpu
@over(KINDS)
def test_embedding(kind):
    weight = random_weight(kind, (40, 768), 64)
    device = weight.to("cuda")
    indices = np.array([[39, 0, 7], [7, 21, 1]])
    for dtype in TOLERANCE:
        for rows in (indices, indices.astype(np.int32), indices.T, indices[:, :0]):
            y = aotiny.embedding(Tensor(rows).to("cuda"), device, dtype)
            assert (y.device, y.dtype) == ("cuda:0", dtype)
            np.testing.assert_array_equal(host(y), host(aotiny.embedding(rows, weight, dtype)))
    for wrong in (-1, 40, 2**40):
        with pytest.raises(
            aotiny.Error, match=rf"index at \[1\] is {wrong}, the weight has N = 40"
        ):
            aotiny.embedding(Tensor(np.array([3, wrong])).to("cuda"), device)


@needs_gpu
@over(KINDS)
def test_weights_of_torchs_tensors(kind):
    torch = pytest.importorskip("torch")
    weight = random_weight(kind, (40, 768), 64)
    type_of = type(weight)
    planes = {name: torch.from_dlpack(plane).cuda() for name, plane in weight.tensors().items()}
    shared = type_of.from_tensors(group_size=weight.group_size, **planes)
    assert_same(shared, weight)
    assert {name: t.data_ptr for name, t in shared.tensors().items()} == {
        name: t.data_ptr() for name, t in planes.items()
    }
    first = next(iter(planes))
    with pytest.raises(aotiny.Error, match=r"is on cuda:0, .* on cpu"):
        type_of.from_tensors(group_size=weight.group_size, **{**planes, first: planes[first].cpu()})
    # At addresses that kernels cannot load from, and with gaps within a row, they are copied.
    moved, strided = {}, {}
    for name, plane in planes.items():
        flat = torch.empty(plane.numel() + 1, dtype=plane.dtype, device="cuda")
        moved[name] = flat[1:].reshape(plane.shape)
        moved[name].copy_(plane)
        strided[name] = torch.stack([plane, plane], dim=-1)[..., 0]
    assert_same(type_of.from_tensors(group_size=weight.group_size, **moved), weight)
    assert_same(type_of.from_tensors(group_size=weight.group_size, **strided), weight)
    x = Tensor(normal(3, 768)).to("cuda")
    y = aotiny.matmul(x, type_of.from_tensors(group_size=weight.group_size, **moved))
    np.testing.assert_array_equal(host(y), host(aotiny.matmul(x, shared)))


@needs_gpu
def test_metadata_is_checked_on_a_device_too():
    torch = pytest.importorskip("torch")
    planes = {
        name: torch.from_dlpack(plane).cuda().clone()
        for name, plane in random_weight(("int4", "A"), (8, 64)).tensors().items()
    }
    planes["scale"][3, 1] = float("nan")
    with pytest.raises(aotiny.Error, match=r"scale at \[3, 1\] is nan, not finite"):
        aotiny.CoalescedInt4.from_tensors(group_size=32, **planes)


@needs_gpu
def test_files_of_device_weights(tmp_path):
    weights = {"-".join(kind): random_weight(kind, (24, 768), 64) for kind in KINDS}
    mixed = {name: w.to("cuda") for name, w in weights.items()}
    mixed |= {"stack": random_weight(("int4", "B"), (2, 8, 64)).to("cuda")}
    mixed |= {"view": weights["int6-B"].to("cuda")[3:9, 64:128]}
    mixed |= {"dense": Tensor(normal(3, 5)).to("cuda"), "number": Tensor(np.array(1.5)).to("cuda")}
    aotiny.save_file(mixed, tmp_path / "w.safetensors")
    for device in ("cpu", "cuda"):
        loaded = aotiny.load_file(tmp_path / "w.safetensors", device=device)
        assert loaded.keys() == mixed.keys()
        for name, value in loaded.items():
            assert value.device == ("cpu" if device == "cpu" else "cuda:0")
            assert value.readonly == (device == "cpu")
            if isinstance(value, Tensor):
                np.testing.assert_array_equal(host(value), host(mixed[name]))
            else:
                assert value == mixed[name]
    with pytest.raises(aotiny.Error, match="no device cuda:99"):
        aotiny.load_file(tmp_path / "w.safetensors", device="cuda:99")


@needs_gpu
def test_gguf_files(tmp_path):
    entries, data = [], b""
    for seed, (name, (number, *_)) in enumerate(BLOCKS.items()):
        entries.append(tensor(name, (512, 6), number, len(data)))
        blocks = random_blocks(name, (6, 512), seed).tobytes()
        data += blocks + bytes(-len(blocks) % 32)
    entries.append(tensor("dense", (4, 3), 0, len(data)))
    data += normal(3, 4).tobytes()
    (tmp_path / "m.gguf").write_bytes(gguf_bytes(tensors=entries, data=data))
    expected = aotiny.load_gguf(tmp_path / "m.gguf")
    loaded = aotiny.load_gguf(tmp_path / "m.gguf", device="cuda")
    assert loaded.keys() == expected.keys()
    np.testing.assert_array_equal(host(loaded.pop("dense")), host(expected["dense"]))
    for name, weight in loaded.items():
        assert_same(weight, expected[name])


@needs_gpu
def test_in_a_graph():
    torch = pytest.importorskip("torch")
    weight = random_weight(("int4", "B"), (40, 256))
    device = weight.to("cuda")
    indices = torch.zeros(3, dtype=torch.int64, device="cuda")
    rows = torch.zeros(3, 256, device="cuda")
    values = torch.zeros(40, 256, device="cuda")
    ours, theirs, all_values = Tensor(indices), Tensor(rows), Tensor(values)
    graph = torch.cuda.CUDAGraph()
    torch.cuda.synchronize()
    with torch.cuda.graph(graph), cuda.stream(torch.cuda.current_stream().cuda_stream):
        theirs.copy_(aotiny.embedding(ours, device))
        all_values.copy_(device[8:].clone().dequantize()[:1])
        with pytest.raises(aotiny.Error, match="while a stream is being captured"):
            device.to("cpu")
        with pytest.raises(aotiny.Error, match="while a stream is being captured"):
            assert device == weight
    for wanted in ([1, 2, 3], [39, 0, 40], [-1, 5, 5]):
        indices.copy_(torch.tensor(wanted))
        graph.replay()
        torch.cuda.synchronize()
        expected = [dense(weight)[i] if 0 <= i < 40 else np.full(256, np.nan) for i in wanted]
        np.testing.assert_array_equal(rows.cpu().numpy(), np.stack(expected))
    assert (values.cpu().numpy() == dense(weight)[8]).all()


@needs_gpu
def test_device_memory_is_given_back():
    weight = random_weight(("int4", "B"), (256, 1024))
    before = cuda.memory_stats()["allocated_bytes"]
    device = weight.to("cuda")
    assert cuda.memory_stats()["allocated_bytes"] - before >= weight.nbytes
    view = device[8:16]
    del device
    assert cuda.memory_stats()["allocated_bytes"] > before
    del view
    assert cuda.memory_stats()["allocated_bytes"] == before
    cuda.set_memory_limit(before + 1024)
    try:
        with pytest.raises(aotiny.Error, match="cannot allocate") as caught:
            weight.to("cuda")
        assert caught.value.name == "MemoryAllocationFailed"
    finally:
        cuda.set_memory_limit(None)
    assert cuda.memory_stats()["allocated_bytes"] == before


@two_gpus
@over(KINDS)
def test_on_another_device(kind):
    weight = random_weight(kind, (40, 768), 64)
    first, second = weight.to("cuda:0"), weight.to("cuda:1")
    assert second.device == "cuda:1"
    assert_same(second, weight)
    assert_same(first.to("cuda:1"), weight)
    assert first == second and first[8:].to("cuda:1").device == "cuda:1"
    x = Tensor(normal(3, 768))
    y = aotiny.matmul(x.to("cuda:1"), second)
    assert y.device == "cuda:1"
    assert_close(y, aotiny.matmul(x, weight), TOLERANCE["float32"])
    rows = aotiny.embedding(Tensor(np.array([5, 39])).to("cuda:1"), second)
    np.testing.assert_array_equal(host(rows), dense(weight)[[5, 39]])
    for call in (
        lambda: aotiny.matmul(x.to("cuda:0"), second),
        lambda: aotiny.embedding(Tensor(np.array([5])).to("cuda:0"), second),
    ):
        with pytest.raises(aotiny.Error, match="is on cuda:0, the weight on cuda:1"):
            call()
    second[8:16].copy_(first[16:24])
    assert second[8:16] == weight[16:24]
    assert group_for(kind, 64) == weight.group_size
