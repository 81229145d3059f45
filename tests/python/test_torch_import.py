"""Weights from torchao's tensors and HQQ's layers, against the values that those stand for."""

import pytest

import aotiny

torch = pytest.importorskip("torch")
torchao = pytest.importorskip("torchao")

from torchao.quantization import (  # noqa: E402
    Int4Tensor,
    Int4TilePackedTo4dTensor,
    IntxUnpackedToInt8Tensor,
)

from aotiny.torch import from_hqq, from_torchao, from_torchao_state_dict  # noqa: E402


def generator(seed: int = 0):
    return torch.Generator().manual_seed(seed)


def values_of(weight):
    return torch.from_dlpack(weight.dequantize())


# --- Int4Tensor --------------------------------------------------------------------------------


def int4_tensor(*shape: int, group_size=32, dtype=torch.bfloat16, **changes):
    """A torchao tensor and the values that it stands for: q * scale + zero_point."""
    *batch, n, k = shape
    q = torch.randint(-8, 8, shape, dtype=torch.int8, generator=generator(1))
    qdata = ((q[..., 0::2] & 15) | (q[..., 1::2] << 4)).to(torch.int8)
    metadata = (*batch, k // group_size, n)
    scale = (torch.rand(metadata, generator=generator(2)) + 0.1).to(dtype)
    zero = torch.randn(metadata, generator=generator(3)).to(dtype)
    per_value = [t.mT.repeat_interleave(group_size, -1).float() for t in (scale, zero)]
    block = [1] * (len(shape) - 1) + [group_size]
    arguments = {
        "qdata": qdata,
        "scale": scale,
        "zero_point": zero,
        "block_size": block,
        "shape": torch.Size(shape),
    }
    return Int4Tensor(**{**arguments, **changes}), q * per_value[0] + per_value[1]


@pytest.mark.parametrize("shape", [(9, 96), (3, 5, 64)])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_int4_tensor(shape, dtype):
    tensor, expected = int4_tensor(*shape, dtype=dtype)
    weight = from_torchao(tensor)
    assert type(weight) is aotiny.Int4Plain and weight.shape == shape
    torch.testing.assert_close(values_of(weight), expected, rtol=1e-6, atol=1e-6)
    for name, plane in weight.tensors().items():
        assert plane.data_ptr == getattr(tensor, name).data_ptr()


def test_int4_tensor_refusals():
    for changes, text in (
        ({"act_pre_scale": torch.ones(64)}, "act_pre_scale"),
        ({"activation_dtype": torch.float8_e4m3fn}, "float8_e4m3fn"),
        ({"block_size": [2, 32]}, r"\[2, 32\]"),
        ({"shape": torch.Size([4, 62])}, r"\[4, 62\].*\[4, 64\]"),
    ):
        with pytest.raises(ValueError, match=text):
            from_torchao(int4_tensor(4, 64, **changes)[0])
    with pytest.raises(aotiny.Error, match="48"):
        from_torchao(int4_tensor(4, 96, group_size=48)[0])
    bad = torch.full((2, 4), float("nan"), dtype=torch.bfloat16)
    with pytest.raises(aotiny.Error, match=r"scale at .*0, 0"):
        from_torchao(int4_tensor(4, 64, scale=bad)[0])
    with pytest.raises(TypeError, match=r"Int4Tensor, .*not Parameter"):
        from_torchao(torch.nn.Parameter(torch.ones(4, 64)))


# --- Int4TilePackedTo4dTensor -------------------------------------------------------------------


def tile_packed(n: int, k: int, padded_n: int, padded_k: int, group_size: int):
    """A torchao tensor padded as torchao pads, and its values, packed by aotiny's own packer, which
    test_tile_packed holds to torch's."""
    padded = torch.zeros(padded_n, padded_k)
    padded[:n, :k] = torch.randn(n, k, generator=generator(4))
    weight = aotiny.quantize(padded, "int4_tile_packed", group_size=group_size)
    planes = {name: torch.from_dlpack(plane) for name, plane in weight.tensors().items()}
    tensor = Int4TilePackedTo4dTensor(
        planes["qdata"], planes["scales_and_zeros"], [1, group_size], torch.Size([n, k])
    )
    return tensor, values_of(weight)[:n, :k]


@pytest.mark.parametrize("sizes", [(16, 1024, 16, 1024), (8, 384, 24, 1024)])
def test_tile_packed(sizes):
    tensor, expected = tile_packed(*sizes, group_size=64)
    weight = from_torchao(tensor)
    assert type(weight) is aotiny.Int4TilePacked and weight.shape == sizes[:2]
    assert torch.equal(values_of(weight), expected)
    for plane, source in zip(
        weight.tensors().values(), (tensor.qdata, tensor.scale_and_zero), strict=True
    ):
        assert plane.data_ptr == source.data_ptr()


@pytest.mark.parametrize(
    ("n", "k", "group_size"), [(9, 1024, 64), (16, 960, 64), (16, 896, 256), (16, 2048, 64)]
)
def test_padding_inside_a_tile_is_refused(n, k, group_size):
    tensor, _ = tile_packed(8, 128, 16, 1024, group_size)
    tensor = Int4TilePackedTo4dTensor(
        tensor.qdata, tensor.scale_and_zero, tensor.block_size, torch.Size([n, k])
    )
    with pytest.raises(ValueError, match=rf"\[{n}, {k}\].*\[16, 1024\]"):
        from_torchao(tensor)


# --- IntxUnpackedToInt8Tensor -------------------------------------------------------------------


def intx_tensor(bits: int, *shape: int, group_size=32, dtype=torch.bfloat16, **changes):
    """A torchao tensor made by torchao itself."""
    tensor = IntxUnpackedToInt8Tensor.from_hp(
        torch.randn(*shape, generator=generator(5)).to(dtype),
        (*[1] * (len(shape) - 1), group_size),
        getattr(torch, f"int{bits}"),
        mapping_type=torchao.quantization.quant_primitives.MappingType.ASYMMETRIC,
    )
    for name, value in changes.items():
        setattr(tensor, name, value)
    return tensor


@pytest.mark.parametrize("bits", [2, 4, 5, 8])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("shape", [(9, 96), (2, 5, 64)])
def test_intx_tensor(bits, dtype, shape):
    tensor = intx_tensor(bits, *shape, dtype=dtype)
    weight = from_torchao(tensor)
    assert type(weight) is (aotiny.CoalescedInt4 if bits <= 4 else aotiny.Int8)
    assert weight.shape == shape
    assert weight.variant == ("A" if dtype == torch.bfloat16 else "H")
    scale, zero = (t.double().repeat_interleave(32, -1) for t in (tensor.scale, tensor.zero_point))
    expected = (tensor.qdata.double() - zero) * scale
    torch.testing.assert_close(values_of(weight).double(), expected, rtol=1e-6, atol=0)


def test_intx_scales_are_rounded_only_if_asked():
    tensor = intx_tensor(4, 9, 64, dtype=torch.float32)
    with pytest.raises(ValueError, match=r"scale at \[0, 0\] is 0\.\d+.*rounding=True"):
        from_torchao(tensor)
    weight = from_torchao(tensor, rounding=True)
    scale = torch.from_dlpack(weight.tensors()["scale"])
    assert torch.equal(scale, tensor.scale.bfloat16())
    short = intx_tensor(8, 9, 64, dtype=torch.float32)
    short.scale = short.scale.half().float()
    assert from_torchao(short).variant == "H"


def test_intx_refusals():
    codes = torch.zeros(9, 64, dtype=torch.int8)
    codes[3, 17] = 8
    with pytest.raises(ValueError, match=r"code at \[3, 17\] is 8, outside -8\.\.7 of torch.int4"):
        from_torchao(intx_tensor(4, 9, 64, qdata=codes))
    with pytest.raises(ValueError, match=r"zero at \[0, 1\] is 0.5, no integer"):
        from_torchao(intx_tensor(8, 9, 64, zero_point=torch.tensor([[0, 0.5]]).repeat(9, 1)))
    with pytest.raises(ValueError, match=r"\[9, 64\].*\[3, 32\]"):
        from_torchao(intx_tensor(4, 9, 64, block_size=(3, 32)))
    with pytest.raises(aotiny.Error, match="16"):
        from_torchao(intx_tensor(4, 9, 64, group_size=16))


# --- state dicts ---------------------------------------------------------------------------------


def test_state_dict_and_store(tmp_path):
    int4, _ = int4_tensor(8, 64)
    source = {"a.weight": int4, "a.bias": torch.arange(8.0), "b": intx_tensor(8, 4, 64)}
    result = from_torchao_state_dict(source)
    assert [type(v).__name__ for v in result.values()] == ["Int4Plain", "Tensor", "Int8"]
    aotiny.save_file(result, tmp_path / "w.safetensors")
    loaded = aotiny.load_file(tmp_path / "w.safetensors")
    assert loaded["a.weight"] == result["a.weight"] and loaded["b"] == result["b"]
    assert torch.equal(torch.from_dlpack(loaded["a.bias"]), source["a.bias"])
    with pytest.raises(ValueError, match=r"c\.weight: .*act_pre_scale"):
        from_torchao_state_dict({"c.weight": int4_tensor(4, 64, act_pre_scale=torch.ones(64))[0]})
    with pytest.raises(aotiny.Error, match=r"c\.weight: .*48"):
        from_torchao_state_dict({"c.weight": int4_tensor(4, 96, group_size=48)[0]})


def test_torchao_itself_is_left_alone():
    """A tensor that aotiny has not converted multiplies as torchao has it."""
    tensor = intx_tensor(8, 9, 64, dtype=torch.float32)
    x = torch.randn(3, 64, generator=generator(6))
    expected = x @ tensor.dequantize().T
    torch.testing.assert_close(torch.nn.functional.linear(x, tensor), expected)
    assert type(tensor) is IntxUnpackedToInt8Tensor and type(tensor[:3]) is type(tensor)


# --- HQQ -----------------------------------------------------------------------------------------


def hqq_state(bits: int, n: int, k: int, groups_of: int, dtype=torch.float16, **changes):
    """A layer's state dict as HQQ writes it, and the values that it stands for."""
    rows = n * k // groups_of
    codes = torch.randint(0, 1 << bits, (rows, groups_of), generator=generator(7))
    scale = (torch.rand(rows, 1, generator=generator(8)) + 0.1).to(dtype)
    zero = (torch.rand(rows, 1, generator=generator(9)) * (1 << bits)).to(dtype)
    if bits > 4:
        zero = zero.round()
    packed = codes.to(torch.uint8)
    if bits == 4:
        packed = packed[: rows // 2] << 4 | packed[rows // 2 :]
    state = {
        "W_q": packed,
        "scale": scale,
        "zero": zero,
        "nbits": bits,
        "group_size": groups_of,
        "shape": torch.Size([n, k]),
        "axis": 1,
        "packing": "4bit_u8" if bits == 4 else "8bit_u8",
        "view_as_float": False,
        "quant_scale": False,
        "quant_zero": False,
    }
    expected = ((codes - zero.double()) * scale.double()).reshape(n, k)
    return {**state, **changes}, expected


@pytest.mark.parametrize(("bits", "kind"), [(4, aotiny.CoalescedInt4), (8, aotiny.Int8)])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_hqq(bits, kind, dtype):
    state, expected = hqq_state(bits, 6, 128, 64, dtype)
    encoded = {
        name: torch.tensor([ord(c) for c in value], dtype=torch.uint8)
        if isinstance(value, str)
        else torch.as_tensor(value)
        for name, value in state.items()
    }
    older = {"W_q": state["W_q"], "meta": {n: v for n, v in state.items() if n != "W_q"}}
    for form, prefix in (
        (state, ""),
        (encoded, ""),
        (older, ""),
        ({f"mlp.up.{name}": value for name, value in encoded.items()}, "mlp.up."),
    ):
        weight = from_hqq(form, prefix)
        assert type(weight) is kind and weight.shape == (6, 128) and weight.group_size == 64
        torch.testing.assert_close(values_of(weight).double(), expected, rtol=1e-6, atol=1e-6)


def test_hqq_refusals():
    for changes, error, text in (
        ({"axis": 0}, ValueError, "axis 0"),
        ({"quant_zero": True}, ValueError, "quant_zero"),
        ({"packing": "3bit_32", "nbits": 3}, ValueError, "3bit_32"),
        ({"group_size": 80}, ValueError, "80.*128"),
        ({"shape": torch.Size([8, 128])}, ValueError, "768.*1024"),
        ({"scale": torch.ones(5, 1)}, ValueError, "scale has 5 elements, not 12"),
        ({"W_q": torch.zeros(6, 64)}, ValueError, "float32"),
        ({"W_q": None}, KeyError, "W_q"),
    ):
        with pytest.raises(error, match=text):
            from_hqq(hqq_state(4, 6, 128, 64, **changes)[0])
    state, _ = hqq_state(8, 6, 128, 64)
    state["zero"] = state["zero"] + 0.25
    with pytest.raises(ValueError, match=r"zero at \[0, 0\]"):
        from_hqq(state)
    assert type(from_hqq(state, rounding=True)) is aotiny.Int8


@pytest.mark.parametrize("bits", [4, 8])
def test_hqq_itself(bits):
    quantize = pytest.importorskip("hqq.core.quantize")
    layer = torch.nn.Linear(128, 12, dtype=torch.float16)
    config = quantize.BaseQuantizeConfig(nbits=bits, group_size=64, axis=1)
    layer = quantize.HQQLinear(layer, config, compute_dtype=torch.float16, device="cpu")
    weight = from_hqq(layer.state_dict(), rounding=bits == 8)
    error = values_of(weight) - layer.dequantize().float()
    step = layer.meta["scale"].float().max()
    # HQQ computes in fp16: code - zero up to 2^-4 off, the product by 2^-11 of up to 255 steps. For
    # 8 bits the zeros are rounded to integers as well.
    assert error.abs().max() <= (0.5 * (bits == 8) + 2**-4 + 2**-3) * step
