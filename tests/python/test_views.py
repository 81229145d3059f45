"""Views of weights, and weights made of others: against the same done to the dense array."""

import copy
import pickle

import numpy as np
import pytest
import torch

import aotiny
from aotiny.torch import WeightTensor
from weight_kinds import KINDS, PRODUCTS, cut_of, dense, group_for, over, random_weight

TILES = [kind for kind in KINDS if kind[0] == "int4_tile_packed"]
PER_ROW = [kind for kind in KINDS if kind[1] == "B"]  # steps serve whole rows
GROUPS_FIRST = [kind for kind in KINDS if kind[0] in ("int4_plain", "int4_tile_packed")]


def memory(weight) -> dict[str, tuple[int, int]]:
    """The first byte of each plane and the one after the last."""
    ranges = {}
    for name, t in weight.tensors().items():
        span = sum((n - 1) * s for n, s in zip(t.shape, t.strides, strict=True)) + 1
        ranges[name] = (t.data_ptr, t.data_ptr + span * t.itemsize)
    return ranges


def assert_view(view, whole, expected):
    """Of this value, and within the memory of the whole."""
    assert type(view) is type(whole)
    assert view.shape == expected.shape
    assert (view.group_size, view.variant) == (whole.group_size, whole.variant)
    np.testing.assert_array_equal(dense(view), expected)
    outer = memory(whole)
    for name, (begin, end) in memory(view).items():
        assert outer[name][0] <= begin < end <= outer[name][1]
    assert view.nbytes == sum(t.nbytes for t in view.tensors().values())
    assert view.bits_per_weight == pytest.approx(8 * view.nbytes / expected.size)
    assert view == view.clone() and view.clone().is_contiguous
    assert pickle.loads(pickle.dumps(view)) == view


@over(KINDS)
def test_slices_are_views(kind):
    whole = random_weight(kind, (40, 1024), 64)
    values = dense(whole)
    n, k = cut_of(kind, whole.group_size)
    for rows in (slice(None), slice(n, 3 * n), slice(-n, None), slice(2 * n, 1000)):
        for columns in (slice(None), slice(0, k), slice(k, 3 * k), slice(-k, None)):
            assert_view(whole[rows, columns], whole, values[rows, columns])
    assert_view(whole[n:], whole, values[n:])
    assert_view(whole[..., k:], whole, values[..., k:])
    assert_view(whole[n:, ...], whole, values[n:])
    assert_view(whole.slice(0, n, -n), whole, values[n:-n])
    assert_view(whole.slice(-1, end=k), whole, values[:, :k])
    assert_view(whole.narrow(1, k, 2 * k), whole, values[:, k : 3 * k])
    twice = whole[n:, k:][n : 3 * n, :k]
    assert_view(twice, whole, values[n:, k:][n : 3 * n, :k])


@over(KINDS)
def test_stacks_are_sliced_and_selected(kind):
    whole = random_weight(kind, (4, 24, 768), 64)
    values = dense(whole)
    n, k = cut_of(kind, whole.group_size)
    keys = [
        (2,),
        (-1,),
        (slice(1, 3),),
        (1, slice(n, 2 * n)),
        (slice(1, None), slice(None, n), slice(k, None)),
        (..., slice(k, 2 * k)),
        (0, ..., slice(k, 2 * k)),
        (slice(3, 4), ...),
    ]
    for key in keys:
        assert_view(whole[key], whole, values[key])
    assert_view(whole.select(0, 3), whole, values[3])
    assert [w.shape for w in whole] == [(24, 768)] * 4
    with pytest.raises(IndexError, match=r"index 4 is outside a stack of 4"):
        whole[4]


def round_blocks(x: np.ndarray) -> np.ndarray:
    """Activations as products see them: 8-bit codes in blocks of 32."""
    blocks = x.reshape(len(x), -1, 32)
    d = abs(blocks).max(axis=-1, keepdims=True) / np.float32(127)
    return (np.rint(blocks / d) * d.astype(np.float64)).reshape(x.shape)


@over(PRODUCTS)
def test_products_take_views(kind):
    whole = random_weight(kind, (75, 1024), 64)
    _, k = cut_of(kind, whole.group_size)
    x = np.random.default_rng(1).standard_normal((20, 1024), dtype=np.float32)
    for rows in (slice(0, 1), slice(3, 75), slice(5, 37), slice(40, 41), slice(58, 75)):
        for columns in (slice(0, k), slice(k, 3 * k), slice(1024 - k, None)):
            view = whole[rows, columns]
            for m in (1, 20):
                y = aotiny.matmul(x[:m, columns], view, activation="int8").numpy()
                expected = aotiny.matmul(x[:m, columns], view.clone(), activation="int8").numpy()
                np.testing.assert_array_equal(y, expected)
                rounded, w = round_blocks(x[:m, columns]), dense(view).astype(np.float64)
                assert (abs(y - rounded @ w.T) <= 2e-6 * (abs(rounded) @ abs(w).T)).all()


@over(KINDS)
def test_native_products_take_views(kind):
    whole = random_weight(kind, (3, 48, 1024), 64)
    n, k = cut_of(kind, whole.group_size)
    x = np.random.default_rng(1).standard_normal((3, 7, 1024), dtype=np.float32)
    for rows, columns in ((slice(n, -n), slice(k, 3 * k)), (slice(0, n), slice(1024 - k, None))):
        part, view = x[:, :, columns], whole[:, rows, columns]
        w = dense(view).astype(np.float64).transpose(0, 2, 1)
        y = aotiny.bmm(part, view, activation="native").numpy()
        assert (abs(y - part @ w) <= 2e-6 * (abs(part) @ abs(w))).all()
        one = aotiny.matmul(part[1], view[1], activation="native").numpy()
        assert (abs(one - part[1] @ w[1]) <= 2e-6 * (abs(part[1]) @ abs(w[1]))).all()
        rows_of = aotiny.embedding(np.array([n - 1, 0]), view[2]).numpy()
        np.testing.assert_array_equal(rows_of, dense(view)[2][[n - 1, 0]])


@pytest.mark.parametrize("n", [1, 3, 40])
def test_products_take_rows_that_share_memory(n):
    weight = random_weight(("int8", "H"), (1, 64), 32)
    row = {name: np.array(t) for name, t in weight.tensors().items()}
    repeated = {name: np.broadcast_to(t, (n, t.shape[1])) for name, t in row.items()}
    shared = aotiny.Int8.from_tensors(group_size=32, **repeated)
    x = np.random.default_rng(2).standard_normal((5, 64), dtype=np.float32)
    np.testing.assert_array_equal(
        aotiny.matmul(x, shared).numpy(), np.repeat(aotiny.matmul(x, weight).numpy(), n, axis=1)
    )
    if n > 1:
        with pytest.raises(aotiny.Error, match=r"read-only|share memory"):
            shared.copy_(shared.clone())


@over(KINDS)
def test_cuts_inside_are_refused_with_the_nearest_places(kind):
    whole = random_weight(kind, (24, 768), 64)
    n, k = cut_of(kind, whole.group_size)
    name = type(whole).__name__
    for at in (whole.group_size // 2, k // 2, k + 1, 700):
        if at % k == 0:
            continue
        below = at // k * k
        what = (
            f"groups of {whole.group_size}" if at % whole.group_size
            else "blocks of" if kind in TILES
            else "super-blocks of 256"
        )  # fmt: skip
        text = f"K = {at} goes through {what}.* of {name}.*; .* are {below} and {below + k}"
        for cut in (lambda at=at: whole[:, at:], lambda at=at: whole.narrow(1, 0, at)):
            with pytest.raises(aotiny.Error, match=text):
                cut()
    if n == 8:
        with pytest.raises(aotiny.Error, match=r"N = 12 goes through tiles of 8 .* are 8 and 16"):
            whole[12:]


def test_what_is_no_view_is_refused():
    whole, stack = (random_weight(("int8", "A"), shape) for shape in ((8, 64), (2, 8, 64)))
    for take, text in [
        (lambda: whole[3], r"\[8, 64\] is no weight; a slice of length 1"),
        (lambda: whole[:, 3], r"is no weight"),
        (lambda: stack[0, 3], r"\[8, 64\] is no weight"),
        (lambda: stack.select(1, 3), r"\[2, 8, 64\] is no weight"),
        (lambda: whole[::2], "steps of 1, not 2"),
        (lambda: whole[::-1], "steps of 1, not -1"),
        (lambda: whole[4:4], "4:4 of N = 8 is empty"),
        (lambda: whole[:, 64:], "64:64 of K = 64 is empty"),
        (lambda: stack[2:], "2:2 of B = 2 is empty"),
        (lambda: whole[:, :, :], "3 indices and 0 ellipses for a weight of 2 dimensions"),
        (lambda: whole[..., ...], "0 indices and 2 ellipses"),
        (lambda: whole.slice(2, 0, 4), "slice"),
        (lambda: whole.narrow(0, 6, 3), "3 from 6 on are not within N = 8"),
        (lambda: whole.narrow(0, 0, -1), "-1 from 0 on"),
        (lambda: stack.transpose(0, 1), "only the last two .* not 0 and 1"),
        (lambda: whole.squeeze(), r"\[8, 64\], not one weight in a stack"),
        (lambda: stack.squeeze(), r"\[2, 8, 64\], not one weight in a stack"),
        (lambda: stack.unsqueeze(), "stack already"),
    ]:
        with pytest.raises(aotiny.Error, match=text):
            take()
    for key in ("a", 1.5, None, [0], True, slice(0, 1.5), slice("a", None)):
        with pytest.raises(TypeError):
            whole[key]
        with pytest.raises(TypeError):
            stack[key]
    with pytest.raises(IndexError, match="int"):
        stack[1 << 70]
    assert whole[-(1 << 70) : 1 << 70] == whole  # bounds are cut off, as Python's are


@over(KINDS)
def test_cat_along_n_is_concatenation(kind):
    n, _ = cut_of(kind, 64)
    weights = [random_weight(kind, (n * rows, 512), 64, seed=rows) for rows in (3, 1, 5)]
    fused = aotiny.cat(weights)
    assert type(fused) is type(weights[0]) and fused.is_contiguous and not fused.readonly
    np.testing.assert_array_equal(dense(fused), np.concatenate([dense(w) for w in weights]))
    assert fused[3 * n : 4 * n] == weights[1]
    stacks = [w.unsqueeze() for w in weights]
    assert aotiny.cat(stacks, dim=1) == fused.unsqueeze()
    assert aotiny.cat([w.mT for w in weights], dim=-1) == fused.mT
    if kind in PRODUCTS:
        x = np.random.default_rng(0).standard_normal((3, 512), dtype=np.float32)
        parts = [aotiny.matmul(x, w).numpy() for w in weights]
        np.testing.assert_array_equal(aotiny.matmul(x, fused).numpy(), np.hstack(parts))


@over(KINDS)
def test_cat_along_k_is_concatenation_where_steps_allow_it(kind):
    a, b = (random_weight(kind, (16, k), 64, seed=k) for k in (512, 256))
    if kind in PER_ROW:
        with pytest.raises(aotiny.Error, match=r"steps of .*B serve whole rows and differ.*A or C"):
            aotiny.cat([a, b], dim=1)
    else:
        joined = aotiny.cat([a, b], dim=1)
        np.testing.assert_array_equal(dense(joined), np.hstack([dense(a), dense(b)]))
    whole = random_weight(kind, (2, 16, 768), 64)
    assert aotiny.cat([whole[..., :256], whole[..., 256:]], dim=-1) == whole
    assert aotiny.cat([whole.mT[:, 256:], whole.mT[:, :256]], dim=1).mT[..., 512:] == (
        whole[..., :256].clone()
    )


@over(KINDS)
def test_stack_and_cat_of_stacks(kind):
    weights = [random_weight(kind, (16, 256), seed=seed) for seed in range(3)]
    stacked = aotiny.stack(weights)
    assert stacked.shape == (3, 16, 256)
    np.testing.assert_array_equal(dense(stacked), np.stack([dense(w) for w in weights]))
    assert [*stacked] == weights
    assert aotiny.cat([stacked[1:], stacked[:1]])[2] == weights[0]
    assert aotiny.stack([w.mT for w in weights]) == stacked.mT


def test_cat_and_stack_refuse_what_does_not_fit():
    w = random_weight(("int8", "A"), (8, 128))
    other = [
        (random_weight(("int8", "H"), (8, 128)), "Int8A and Int8H are different formats; convert"),
        (random_weight(("int4", "A"), (8, 128)), "Int8A and CoalescedInt4A are different formats"),
        (random_weight(("int8", "A"), (8, 128), 64), "group sizes 32 and 64 differ"),
        (random_weight(("int8", "A"), (8, 64)), r"shapes \[8, 128\] and \[8, 64\] do not fit"),
        (random_weight(("int8", "A"), (1, 8, 128)), r"shapes \[8, 128\] and \[1, 8, 128\]"),
        (w.mT, r"\[128, 8\] is transposed, the other \[8, 128\] is not"),
    ]
    for second, text in other:
        for join in (aotiny.cat, aotiny.stack):
            with pytest.raises(aotiny.Error, match=text):
                join([w, second])
    for join in (aotiny.cat, aotiny.stack):
        with pytest.raises(aotiny.Error, match="there are no weights"):
            join([])
        with pytest.raises(TypeError, match="ndarray is not a weight"):
            join([w, np.zeros((8, 128))])
    with pytest.raises(aotiny.Error, match="stacks already"):
        aotiny.stack([w.unsqueeze()])
    with pytest.raises(aotiny.Error, match="cat"):
        aotiny.cat([w, w], dim=2)


@over(KINDS)
def test_a_transposed_weight(kind):
    weight = random_weight(kind, (16, 256), 64)
    turned = weight.mT
    assert turned.shape == (256, 16) and turned.is_transposed and not weight.is_transposed
    assert_view(turned, weight, dense(weight).T)
    assert turned.mT == weight and turned != weight
    assert weight.transpose(0, 1) == turned and weight.transpose(1, 1) == weight
    assert "transposed" in repr(turned) and "shape=[256, 16]" in repr(turned)
    assert_view(turned[:256, 8:], weight, dense(weight).T[:, 8:])
    square = random_weight(kind, (256, 256), 64)
    assert square.mT != square
    with pytest.raises(aotiny.Error, match=r"K = 16 goes through"):
        turned[16:]
    x = np.ones((1, 1, 256), np.float32)
    for take in (
        lambda: aotiny.matmul(x, turned),
        lambda: aotiny.embedding(np.array([0]), turned),
        lambda: aotiny.bmm(x, turned.unsqueeze()),
    ):
        with pytest.raises(aotiny.Error, match=r"transposed view .*256, 16\].*\(mT\) .*16, 256\]"):
            take()


@over(KINDS)
def test_what_mixtures_of_experts_do_with_weights(kind):
    """Experts [B, N, K] are turned, resharded in two dimensions, and turned back."""
    experts = random_weight(kind, (2, 24, 512), 64)
    values = dense(experts)
    flat = experts.reshape([-1, 512])
    np.testing.assert_array_equal(dense(flat), values.reshape(-1, 512))
    again = flat.reshape([2, -1, 512])
    assert again == experts
    assert memory(again) == memory(flat)
    turned = experts.transpose(1, 2)
    if kind in PER_ROW:
        with pytest.raises(aotiny.Error, match="steps"):
            turned.reshape([-1, 24])
        return
    flat = turned.reshape([-1, 24]).contiguous()
    np.testing.assert_array_equal(dense(flat), values.transpose(0, 2, 1).reshape(-1, 24))
    back = flat.reshape([2, -1, 24])
    np.testing.assert_array_equal(dense(back), values.transpose(0, 2, 1))
    assert memory(back) == memory(flat)
    assert back.view([1024, 24]) == flat  # what a view split, a view joins
    assert back.transpose(1, 2).contiguous() == experts
    both = [experts, random_weight(kind, (2, 24, 512), 64, seed=5)]
    for dim in (-1, -2):
        np.testing.assert_array_equal(
            dense(aotiny.cat(both, dim=dim)), np.concatenate([dense(w) for w in both], axis=dim)
        )


@over(KINDS)
def test_view_refuses_what_takes_a_copy(kind):
    experts = random_weight(kind, (2, 24, 512), 64)
    if kind in GROUPS_FIRST:
        with pytest.raises(aotiny.Error, match=r"\[48, 512\] only by a copy.*scale.*reshape makes"):
            experts.view([48, 512])
    else:
        assert_view(experts.view([48, 512]), experts, dense(experts).reshape(48, 512))
    assert_view(experts[:1].view([24, 512]), experts, dense(experts)[0])
    assert_view(experts[1:].squeeze(), experts, dense(experts)[1])
    assert experts[0].unsqueeze() == experts[:1]
    with pytest.raises(aotiny.Error, match="only by a copy"):
        experts.mT.view([1024, 24])
    if kind not in TILES:
        with pytest.raises(aotiny.Error, match="only by a copy"):
            experts[:, :20].view([40, 512])
        np.testing.assert_array_equal(
            dense(experts[:, :20].reshape([40, 512])), dense(experts)[:, :20].reshape(40, 512)
        )
    eights = experts.reshape([6, -1, 512])
    assert_view(eights[3], eights, dense(experts)[1, :8])
    for shape in ([24, 1024], [47, 512], [-1, -1, 512], [0, 512], [2, 2, 12, 512], [12288]):
        with pytest.raises(aotiny.Error, match="reshape"):
            experts.reshape(shape)


def test_a_file_holds_views_but_none_transposed(tmp_path):
    whole = random_weight(("int8", "A"), (2, 64, 128), 64)
    aotiny.save_file({"part": whole[1, 8:16, 64:]}, tmp_path / "a.safetensors")
    loaded = aotiny.load_file(tmp_path / "a.safetensors")["part"]
    assert loaded == whole[1, 8:16, 64:] and loaded.readonly
    with pytest.raises(aotiny.Error, match=r"transposed weight \[64, 64\].*save its mT"):
        aotiny.save_file({"turned": whole[0, :, 64:].mT}, tmp_path / "b.safetensors")


def test_torch_sees_orientation_and_protection():
    weight = random_weight(("int8", "A"), (64, 64))
    turned = WeightTensor.from_weight(weight.mT)
    np.testing.assert_array_equal(turned.dequantize().numpy(), dense(weight).T)
    assert turned.weight() == weight.mT
    planes = {name: np.array(torch.from_dlpack(t).float()) for name, t in weight.tensors().items()}
    planes["scale"] = torch.from_numpy(planes["scale"]).bfloat16()
    for name in ("qdata", "zero"):
        planes[name] = planes[name].astype(np.int8)
        planes[name].flags.writeable = False
    frozen = aotiny.Int8.from_tensors(group_size=32, **planes)
    with pytest.raises(aotiny.Error, match="Int8 is read-only"):
        WeightTensor.from_weight(frozen).weight().copy_(weight)


def test_reshape_does_not_cut_tiles():
    weight = random_weight(TILES[0], (24, 256))
    with pytest.raises(aotiny.Error, match="2 weights of 12 rows would cut tiles of 8 rows"):
        weight.reshape([2, 12, 256])
    with pytest.raises(
        aotiny.Error, match="6 weights of 128 along K would cut super-blocks of 256"
    ):
        random_weight(("int4", "C"), (8, 768), 64).mT.reshape([6, 128, 8])


def test_steps_of_rows_are_copied_where_k_is_split():
    weight = random_weight(PER_ROW[0], (8, 256))
    with pytest.raises(aotiny.Error, match="because of its steps"):
        weight.mT.view([2, 128, 8])
    np.testing.assert_array_equal(
        dense(weight.mT.reshape([2, 128, 8])), dense(weight).T.reshape(2, 128, 8)
    )


@over(KINDS)
def test_shards_are_copied_into_a_fused_weight(kind):
    """As a loader does that narrows a parameter and copies a checkpoint's part into it."""
    target, source = (random_weight(kind, (32, 512), 64, seed=seed) for seed in (1, 2))
    for rank in range(2):
        part = target.narrow(0, 16 * rank, 16)
        assert part != source.narrow(0, 16 * rank, 16)
        part.copy_(source.narrow(0, 16 * rank, 16))
        assert part == source.narrow(0, 16 * rank, 16)
        assert (target == source) == (rank == 1)
    fused = aotiny.cat([source, source])
    k = random_weight(kind, (16, 512), 64, seed=3)
    fused[16:32].copy_(k)
    expected = np.concatenate([dense(source)[:16], dense(k), dense(source)])
    np.testing.assert_array_equal(dense(fused), expected)
    fused[8:48].copy_(fused[16:56])  # overlapping, forwards and backwards
    expected[8:48] = expected[16:56].copy()
    fused[16:56].copy_(fused[8:48])
    expected[16:56] = expected[8:48].copy()
    np.testing.assert_array_equal(dense(fused), expected)


def test_copies_are_refused_with_the_reason():
    w = random_weight(("int8", "A"), (8, 128))
    for source, text in [
        (random_weight(("int8", "H"), (8, 128)), "copy_: Int8A and Int8H"),
        (random_weight(("int8", "A"), (8, 128), 64), "group sizes 32 and 64"),
        (random_weight(("int8", "A"), (1, 8, 128)), r"\[8, 128\] and \[1, 8, 128\]"),
        (w[:4], r"\[8, 128\] and \[4, 128\]"),
        (w.mT, "is transposed, the other"),
    ]:
        with pytest.raises(aotiny.Error, match=text):
            w.copy_(source)
    with pytest.raises(TypeError):
        w.copy_(np.zeros((8, 128)))


def read_only_weights(tmp_path):
    """Weights on memory that must not be written to: an array, bytes and a mapped file."""
    weight = random_weight(("int8", "H"), (8, 64))
    planes = {name: np.array(t) for name, t in weight.tensors().items()}
    for name, plane in planes.items():
        (tmp_path / name).write_bytes(plane.tobytes())
    frozen = {name: plane.copy() for name, plane in planes.items()}
    for plane in frozen.values():
        plane.flags.writeable = False
    of_bytes = {
        name: np.frombuffer(plane.tobytes(), plane.dtype).reshape(plane.shape)
        for name, plane in planes.items()
    }
    mapped = {
        name: np.memmap(tmp_path / name, plane.dtype, "r", shape=plane.shape)
        for name, plane in planes.items()
    }
    one = {**planes, "zero": frozen["zero"]}
    return weight, [frozen, of_bytes, mapped, one]


def test_read_only_memory_stays_protected(tmp_path):
    weight, all_planes = read_only_weights(tmp_path)
    other = random_weight(("int8", "H"), (8, 64), seed=9)
    assert not weight.readonly
    for planes in all_planes:
        frozen = aotiny.Int8.from_tensors(group_size=32, **planes)
        assert frozen.readonly and frozen == weight
        for view in (frozen, frozen[2:4], frozen[:, 32:], frozen.mT.mT, frozen.unsqueeze()[0],
                     frozen.reshape([2, 4, 64])[1], frozen.contiguous(), copy.copy(frozen),
                     frozen.shard(1, 2)):  # fmt: skip
            assert view.readonly
            with pytest.raises(aotiny.Error, match=r"Int8 is read-only.*clone"):
                view.copy_(view.clone())
        assert frozen == weight
        for own in (frozen.clone(), copy.deepcopy(frozen), frozen[:, 32:].contiguous(),
                    pickle.loads(pickle.dumps(frozen)), aotiny.cat([frozen])):  # fmt: skip
            assert not own.readonly
        own = frozen.clone()
        own.copy_(other)
        assert own == other and frozen == weight
    writable = aotiny.Int8.from_tensors(
        group_size=32,
        **{name: torch.from_dlpack(t.clone()) for name, t in weight.tensors().items()},
    )
    assert not writable.readonly
    writable.copy_(other)
    assert writable == other


@over(KINDS)
def test_copies_and_contiguity(kind):
    weight = random_weight(kind, (24, 512), 64)
    assert weight.is_contiguous and memory(weight.contiguous()) == memory(weight)
    assert memory(copy.copy(weight)) == memory(weight)
    view = weight[8:16, 256:]
    assert not view.is_contiguous
    for made in (view.contiguous(), view.clone(), copy.deepcopy(view)):
        assert made == view and made.is_contiguous
        for name, (begin, end) in memory(made).items():
            assert end <= memory(weight)[name][0] or begin >= memory(weight)[name][1]
    made = view.contiguous()
    made.copy_(random_weight(kind, (8, 256), 64, seed=7))
    assert made != view  # and the weight that the view is of is as it was
    assert weight == random_weight(kind, (24, 512), 64)


@over(PRODUCTS)
def test_products_of_shards(kind):
    weight = random_weight(kind, (40, 1024), 64)
    x = np.random.default_rng(3).standard_normal((3, 1024), dtype=np.float32)
    whole = aotiny.matmul(x, weight).numpy()
    by_rows = [aotiny.matmul(x, weight.shard(rank, 4)).numpy() for rank in range(4)]
    np.testing.assert_array_equal(np.hstack(by_rows), whole)
    by_columns = [
        aotiny.matmul(part, weight.shard(rank, 2, dim=1)).numpy()
        for rank, part in enumerate(np.split(x, 2, axis=1))
    ]
    np.testing.assert_allclose(sum(by_columns), whole, atol=1e-5)


@over(KINDS)
@pytest.mark.parametrize("turned", [False, True])
def test_padded_shards_are_zeros_at_the_end(kind, turned):
    weight = random_weight(kind, (3, 24, 768), 64)
    n, k = cut_of(kind, weight.group_size)
    values = dense(weight)
    for dim, multiple in ((0, 1), (1, n), (2, k)):
        for world in (1, 2, 5):
            length = values.shape[dim]
            part = -(-length // (world * multiple)) * multiple
            padding = [(0, 0)] * 3
            padding[dim] = (0, part * world - length)
            expected = np.split(np.pad(values, padding), world, axis=dim)
            own = weight.mT if turned else weight
            own_dim = {1: 2, 2: 1}.get(dim, 0) if turned else dim
            for rank in range(world):
                shard = own.shard(rank, world, dim=own_dim, pad=True)
                shard = shard.mT if turned else shard
                np.testing.assert_array_equal(dense(shard), expected[rank])
                if length == part * world:
                    assert_view(shard, weight, expected[rank])
                    assert own.shard(rank, world, dim=own_dim) == (shard.mT if turned else shard)
                else:
                    with pytest.raises(aotiny.Error, match=f"each has {part}$"):
                        own.shard(rank, world, dim=own_dim)


def test_padded_shards_have_the_same_products():
    weight = random_weight(("int4", "B"), (10, 96))
    x = np.random.default_rng(4).standard_normal((3, 96), dtype=np.float32)
    whole = aotiny.matmul(x, weight).numpy()
    by_rows = [aotiny.matmul(x, weight.shard(r, 4, pad=True)).numpy() for r in range(4)]
    np.testing.assert_array_equal(np.hstack(by_rows)[:, :10], whole)
    assert not np.hstack(by_rows)[:, 10:].any()
    padded = np.pad(x, ((0, 0), (0, 32)))
    by_columns = [
        aotiny.matmul(part, weight.shard(rank, 2, dim=1, pad=True)).numpy()
        for rank, part in enumerate(np.split(padded, 2, axis=1))
    ]
    np.testing.assert_allclose(sum(by_columns), whole, atol=1e-6)


def test_shards_are_refused_with_the_numbers():
    weight = random_weight(("int8", "A"), (10, 384), 64)
    for take, text in [
        (lambda: weight.shard(0, 4), "10 rows of Int8A do not make 4 equal shards; .* each has 3"),
        (lambda: weight.shard(0, 4, dim=1),
         "384 columns of Int8A do not make 4 equal .* without cutting groups of 64; .* has 128"),
        (lambda: random_weight(("int4", "C"), (8, 512), 64).shard(0, 4, dim=1),
         "without cutting super-blocks of 256; .* has 256"),
        (lambda: random_weight(TILES[2], (8, 512)).shard(0, 2, dim=0),
         "8 rows .* without cutting tiles of 8 rows; .* has 8"),
        (lambda: weight.shard(2, 2), "rank 2 is not one of 2"),
        (lambda: weight.shard(-1, 2), "rank -1"),
        (lambda: weight.shard(0, 0), "rank 0 is not one of 0"),
        (lambda: weight.shard(0, 2, dim=2), "shard"),
    ]:  # fmt: skip
        with pytest.raises(aotiny.Error, match=text):
            take()


@over(KINDS)
def test_conversion_takes_views(kind):
    weight = random_weight(kind, (3, 16, 512), 64)
    view = weight[1:, 8:, 256:]
    name = type(weight).__name__
    assert aotiny.convert(view, name, kind[1]) == aotiny.convert(view.clone(), name, kind[1])
    turned = aotiny.convert(view.mT, name, kind[1])
    assert turned.is_transposed and turned.mT == aotiny.convert(view, name, kind[1])
    assert group_for(kind, 64) == view.group_size


def test_one_weight_is_no_list_of_weights():
    w = aotiny.quantize(np.ones((8, 64), np.float32), "int8")
    for join in (aotiny.cat, aotiny.stack):
        with pytest.raises(TypeError, match="one weight, not a list of weights"):
            join(w)
