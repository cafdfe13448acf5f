"""Scaled dot-product attention at its limits: hard numbers, nothing, many blocks, wrong arguments, other devices."""

import contextlib
import inspect
import tracemalloc

import fakecupy
import numpy as np
import pytest
from attention_inputs import SEEDS, assert_rows, calls, calls_in_blocks, random_inputs, rows_apart
from attention_loops import by_rows
from hypothesis import given

import minattn as ma
from minattn.attention.kernels import scaled_dot_product as kernels
from minattn.attention.self_attention import (
    attention,
    attention_context,
    scaled_dot_product_attention,
)
from minattn.autograd import asnumpy, device_of
from minattn.errors import DeviceError, MinattnError, ShapeError
from minattn.nn.masks import causal_mask
from minattn.testing import check_gradients

# ---------------------------------------------------------------------------------------------- hard numbers
FAR = [10, 18, 30, 80, 87, 89.5, 95, 104, 150, 740, 1000, 10_000]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("far", FAR)
@pytest.mark.parametrize("n_q", [2, 66])
def test_rows_far_below_or_above_others_keep_their_weights(far, dtype, n_q):
    """exp(-104) is 0 in float32, and exp(-87) has lost digits: no row may be measured by another one's largest score,
    nor by a bound."""
    levels = [0.0, -far, far] * (n_q // 2)
    q, k, v = rows_apart(levels[:n_q], dtype)
    b = k[:, 1].astype(np.float64)
    expected = np.exp(b) / np.exp(b).sum()
    digits = 1e-5 if dtype == np.float32 else 1e-10
    for mask in (None, np.ones(len(b), bool)):
        context, weights = attention(q, k, v, mask)
        np.testing.assert_allclose(weights.data, np.broadcast_to(expected, weights.shape), rtol=digits)
        np.testing.assert_allclose(context.data, np.broadcast_to(expected @ v, context.shape), rtol=1e-4, atol=digits)
        for recorded in (True, False):
            with contextlib.nullcontext() if recorded else ma.no_grad():
                alone = attention_context(q, k, v, mask)
            np.testing.assert_allclose(alone.data, context.data, rtol=1e-4, atol=digits)
        g_context = np.random.default_rng(1).normal(scale=100, size=context.shape).astype(dtype)
        *_, dq, dk, dv = by_rows(q, k, v, mask, False, g_context)
        for op in (lambda *x, mask=mask: attention(*x, mask)[0], lambda *x, mask=mask: attention_context(*x, mask)):
            leaves = [ma.tensor(x, requires_grad=True) for x in (q, k, v)]
            op(*leaves).backward(g_context)
            for leaf, gradient in zip(leaves, (dq, dk, dv), strict=True):
                np.testing.assert_allclose(leaf.grad, gradient, rtol=1e-4, atol=10 * digits * np.abs(gradient).max())


@pytest.mark.parametrize("far", FAR)
@pytest.mark.parametrize("causal", [False, True])
def test_what_the_mask_hides_does_not_set_the_scale(far, causal):
    """One hidden key, or a later one, has a score far above those that count."""
    q, k, v = rows_apart([0.0] * 7)
    k[5, 0] = far  # adds `far` times 2 * level = 0; so q gets a level that k alone scales
    q[:, 2], k[5, 2] = 2.0, far
    mask = np.ones((7, 7), bool)
    mask[:, 5] = causal  # then it is hidden from the first five queries alone, and the others see nothing else
    weights = attention(q, k, v, mask, causal)[1].data
    assert (weights[:5, 5] == 0).all()
    np.testing.assert_allclose(weights.sum(-1), 1, rtol=1e-5)
    assert_rows([q, k, v], mask, causal, rtol=2e-4, atol=1e-4 * far)
    expected = by_rows(q, k, v, mask, causal)
    np.testing.assert_allclose(weights, expected[1], rtol=1e-5, atol=1e-7)
    with ma.no_grad():
        np.testing.assert_allclose(attention_context(q, k, v, mask, causal).data, expected[0], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("causal", [False, True])
def test_huge_scores_neither_overflow_nor_become_nan(dtype, causal):
    """Whole numbers up to 10,000, exact in float32."""
    rng = np.random.default_rng(0)
    q, k = (rng.integers(-70, 71, size=(2, 3, 40, 4)).astype(dtype) for _ in range(2))
    v = rng.normal(size=(2, 3, 40, 5)).astype(dtype)
    assert np.abs(q @ k.swapaxes(-1, -2) / 2).max() > 5000
    assert_rows([q, k, v], None, causal, rtol=1e-4, atol=1e-3 if dtype == np.float32 else 1e-10)


def test_equal_scores_that_are_huge_share_the_weight():
    q, k = (np.full((3, 4), sign * 100.0, np.float32) for sign in (1, -1))
    weights = attention(q, k, np.eye(3, dtype=np.float32))[1].data
    np.testing.assert_array_equal(weights, np.full((3, 3), np.float32(1) / np.float32(3)))


def test_minus_zero_is_zero():
    q, k, v = random_inputs((2, 3, 4), (2, 5, 4), (2, 5, 2))
    q[:, 1], k[:, 2], v[:, 0] = 0, 0, 0
    negative = q.copy(), k.copy(), v.copy()
    for x, row in zip(negative, (1, 2, 0), strict=True):
        x[:, row] = -0.0
    for plus, minus in zip(attention(q, k, v), attention(*negative), strict=True):
        np.testing.assert_array_equal(plus.data, minus.data)


# ---------------------------------------------------------------------------------------------- small and empty
@pytest.mark.parametrize("weights", [True, False])
def test_one_key_gets_all_the_weight(weights):
    q, k, v = random_inputs((2, 3, 4), (2, 1, 4), (2, 1, 5))
    leaves = [ma.tensor(x, requires_grad=True) for x in (q, k, v)]
    context, alignment = scaled_dot_product_attention(*leaves, need_weights=weights)
    np.testing.assert_allclose(context.data, np.broadcast_to(v, (2, 3, 5)), rtol=1e-6)
    (context**2).sum().backward()
    assert not weights or (alignment.data == 1).all()
    np.testing.assert_allclose(leaves[0].grad, 0, atol=1e-5)
    np.testing.assert_allclose(leaves[1].grad, 0, atol=1e-5)
    np.testing.assert_allclose(leaves[2].grad, 6 * v, rtol=1e-5)


@pytest.mark.parametrize("shape", [(0, 2, 3), (2, 0, 3), (2, 2, 0), (0,), ()], ids=str)
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("weights", [True, False])
def test_batches_of_nothing_and_no_queries(shape, causal, weights):
    """Leading axes (.., n_q) of length 0; the gradients of keys and values are zeros, not what lay in memory."""
    *lead, n_q = shape or (0,)
    inputs = random_inputs((*lead, n_q, 3), (*lead, 4, 3), (*lead, 4, 5))
    mask = np.ones((*lead, n_q, 4), bool)
    for given_ in (None, mask):
        leaves = [ma.tensor(x, requires_grad=True) for x in inputs]
        context, alignment = scaled_dot_product_attention(*leaves, given_, causal, weights)
        assert context.shape == (*lead, n_q, 5)
        assert not weights or alignment.shape == (*lead, n_q, 4)
        context.sum().backward()
        for leaf in leaves:
            assert (leaf.grad == 0).all()


@pytest.mark.parametrize(("queries", "keys"), [(1, 1), (3, 3), (2, 5), (1, 4), (0, 3)])
def test_the_causal_mask_lets_the_last_queries_see_what_is_not_later(queries, keys):
    expected = [[j <= i + keys - queries for j in range(keys)] for i in range(queries)]
    mask = causal_mask(queries, keys)
    assert mask.dtype == bool
    np.testing.assert_array_equal(mask, np.array(expected, bool).reshape(queries, keys))
    np.testing.assert_array_equal(causal_mask(keys), np.tril(np.ones((keys, keys), bool)))


@given(calls(dtype=np.float64))
def test_causal_is_the_causal_mask(call):
    inputs, mask, _ = call
    n_q, n_k = inputs[0].shape[-2], inputs[1].shape[-2]
    if n_q > n_k:
        return
    triangle = causal_mask(n_q, n_k)
    both = triangle if mask is None else mask & triangle
    for y, z in zip(attention(*inputs, mask, True), attention(*inputs, both), strict=True):
        np.testing.assert_allclose(y.data, z.data, rtol=1e-12, atol=1e-14)


def test_a_mask_may_be_an_array_a_tensor_or_a_list():
    inputs = random_inputs((2, 3, 4), (2, 5, 4), (2, 5, 2))
    mask = np.random.default_rng(1).random((2, 3, 5)) < 0.5
    for causal in (False, True):
        expected = attention(*inputs, mask, causal)[0].data
        for same in (ma.tensor(mask), mask.tolist()):
            np.testing.assert_array_equal(attention(*inputs, same, causal)[0].data, expected)
            np.testing.assert_allclose(attention_context(*inputs, same, causal).data, expected, rtol=1e-5, atol=1e-6)


# ---------------------------------------------------------------------------------------------- where blocks begin
@pytest.fixture(params=[1, 2], ids="{} to a block".format)
def tiny(request, monkeypatch):
    """One or two queries to a block."""
    monkeypatch.setattr(kernels, "ROWS", request.param)
    monkeypatch.setattr(kernels, "SCORES", 1)


@pytest.mark.usefixtures("tiny")
@given(calls_in_blocks(), SEEDS)
def test_small_blocks(call, seed):
    inputs, mask, causal = call
    assert_rows(inputs, mask, causal, seed)


@pytest.mark.usefixtures("tiny")
@given(calls_in_blocks(), SEEDS)
def test_gradients_in_small_blocks(call, seed):
    inputs, mask, causal = call
    check_gradients(lambda *tensors: attention_context(*tensors, mask, causal), *inputs, seed=seed, method="complex")


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("recorded", [True, False])
def test_the_numbers_of_one_block_do_not_touch_another(recorded):
    """A block without a single key, one whose scores lie far below, and one that looks at hidden keys alone."""
    q, k, v = rows_apart([0.0, 1.0, -1e4, -1e4, 1e4, 1e4, 0.0, 0.0], n_k=8)
    mask = np.ones((8, 8), bool)
    mask[6:], mask[1, 1:] = False, False
    for causal in (False, True):
        expected = by_rows(q, k, v, mask, causal)[0]
        with contextlib.nullcontext() if recorded else ma.no_grad():
            context = attention_context(q, k, v, mask, causal).data
        np.testing.assert_allclose(context, expected, rtol=1e-4, atol=1e-5)


MASKS = {
    "no mask": lambda b, h, q, k, rng: None,
    "padding": lambda b, h, q, k, rng: np.arange(k) < rng.integers(k // 3, k, size=(b, 1, 1, 1)),
    "of each head": lambda b, h, q, k, rng: rng.random((b, h, q, k)) < 0.8,
    "of queries": lambda b, h, q, k, rng: rng.random((q, 1)) < 0.9,
    "one row": lambda b, h, q, k, rng: rng.random((1, k)) < 0.9,
}


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(("n_q", "n_k"), [(63, 64), (65, 65), (129, 140), (1, 300)])
def test_long_sequences(n_q, n_k, causal, mask):
    rng = np.random.default_rng(n_q)
    inputs = random_inputs((1, 2, n_q, 4), (1, 2, n_k, 4), (1, 2, n_k, 6), seed=n_k)
    mask = mask(1, 2, n_q, n_k, rng)
    if mask is not None and mask.ndim == 4 and mask.shape[-2] > 100:
        mask[:, :, 64:96] = False  # rows, and in the causal case rows at a border of blocks, without a key
    assert_rows(inputs, mask, causal, rtol=1e-3, atol=2e-5)


@pytest.mark.parametrize("causal", [False, True])
def test_sequences_of_1100(causal):
    """More than 2^20 scores: without a gradient the queries come in several blocks."""
    inputs = random_inputs((1100, 4), (1100, 4), (1100, 4))
    mask = np.random.default_rng(0).random((1100, 1100)) < np.linspace(0.1, 1, 1100)
    mask[:, 1000:] = False  # padding
    mask[940:960] = False  # queries on both sides of a border
    assert_rows(inputs, mask, causal, rtol=1e-3, atol=3e-5)


def test_more_queries_than_keys():
    assert_rows(random_inputs((2, 200, 3), (2, 9, 3), (2, 9, 4)), rtol=1e-3, atol=2e-5)


def test_many_short_sequences():
    inputs = random_inputs((20, 4, 16, 4), (20, 4, 16, 4), (20, 4, 16, 4))
    assert_rows(inputs, np.random.default_rng(0).random((20, 1, 1, 16)) < 0.8, True, rtol=1e-3, atol=2e-5)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_without_a_gradient_or_weights_memory_does_not_grow_with_n_squared(causal, masked):
    """The scores alone would take 64 MiB, and what is made from them as much again."""
    heads, n, d = 4, 2048, 16
    inputs = random_inputs(*[(1, heads, n, d)] * 3)
    mask = (np.arange(n) < n - 50)[None, None, None] if masked else None
    with ma.no_grad():
        tracemalloc.start()
        try:
            context = attention_context(*inputs, mask, causal)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < heads * n * n * 4 / 4
    rows = np.s_[:, :, [0, 700, n - 1]]
    whole = np.ones((n, n), bool) if not causal else causal_mask(n)
    seen = (whole if mask is None else whole & mask[0, 0])[[0, 700, n - 1]]
    expected = by_rows(inputs[0][rows], *inputs[1:], seen)[0]
    np.testing.assert_allclose(context.data[rows], expected, rtol=1e-3, atol=1e-5)


# ---------------------------------------------------------------------------------------------- wrong arguments
SIZES = np.zeros((2, 3, 4)), np.zeros((2, 5, 4)), np.zeros((2, 5, 6))
OPS = pytest.mark.parametrize("op", [attention, attention_context])


@OPS
@pytest.mark.parametrize(
    ("which", "shape"),
    [
        (0, (2, 3, 5)),
        (0, (2, 3, 1)),
        (0, (4,)),
        (0, (1, 3, 4)),  # would stretch
        (0, (3, 4)),
        (1, (2, 6, 4)),
        (1, (2, 1, 4)),
        (1, (1, 5, 4)),
        (1, (2, 2, 5, 4)),
        (2, (2, 4, 6)),
        (2, (2, 1, 6)),
        (2, (5, 6)),
        (2, (3, 5, 6)),
    ],
)
def test_arguments_that_do_not_fit_are_refused_by_their_shapes(op, which, shape):
    inputs = [*SIZES]
    inputs[which] = np.zeros(shape)
    with pytest.raises(ShapeError, match="attention") as error:
        op(*inputs)
    for x in inputs:
        assert str(x.shape) in str(error.value)


@OPS
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(
    "shape", [(3, 4), (5, 3), (3, 3, 5), (1, 2, 3, 5), (2, 5), (2, 3, 6), (2, 1, 4), (5, 1)], ids=str
)
def test_a_mask_that_does_not_fit_is_refused_with_both_shapes(op, causal, shape):
    with pytest.raises(ShapeError, match=r"mask") as error:
        op(*SIZES, np.ones(shape, bool), causal)
    assert str(shape) in str(error.value)
    assert "(2, 3, 5)" in str(error.value)


@OPS
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("dtype", [float, np.float32, int, np.uint8, object])
def test_a_mask_that_is_not_boolean_is_refused(op, causal, dtype):
    for mask in (np.ones((2, 3, 5), dtype), np.ones((2, 3, 5), dtype).tolist()):
        with pytest.raises(TypeError, match=r"a mask .* must be boolean, got (float|int|uint|object)"):
            op(*SIZES, mask, causal)


@OPS
def test_causal_attention_has_no_more_queries_than_keys(op):
    with pytest.raises(ShapeError, match=r"queries.*q \(2, 6, 4\), k \(2, 5, 4\)"):
        op(np.zeros((2, 6, 4)), *SIZES[1:], causal=True)
    op(np.zeros((2, 6, 4)), *SIZES[1:])


@OPS
@pytest.mark.parametrize("causal", [False, True])
def test_no_keys_at_all_is_one_clear_error(op, causal):
    for n_q in (0, 2):
        with pytest.raises(MinattnError, match=r"k \(2, 0, 4\)"):
            op(np.zeros((2, n_q, 4)), np.zeros((2, 0, 4)), np.zeros((2, 0, 6)), causal=causal and not n_q)


# ---------------------------------------------------------------------------------------------- devices
@pytest.mark.parametrize("mask_there", [True, False], ids=["mask there", "mask on the host"])
@pytest.mark.parametrize("scrambled", [False, True], ids=["rows", "scrambled memory"])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("weights", [True, False])
@pytest.mark.parametrize("n", [5, 70])
def test_the_same_numbers_everywhere_and_no_waiting(backend, mask_there, scrambled, causal, weights, n):
    host = random_inputs((2, 2, n, 4), (2, 2, n + 3, 4), (2, 2, n + 3, 6))
    host[0][0, 0, 1] *= 100  # rows of very different scores: looking for them would make the host wait
    mask = np.random.default_rng(1).random((2, 1, n, n + 3)) < 0.7
    mask[:, :, 2] = False
    g_context, g_weights = random_inputs((2, 2, n, 6), (2, 2, n, n + 3), seed=3)
    expected = by_rows(*host, mask, causal, g_context, g_weights if weights else 0.0)

    tensors = [backend.tensor(x, requires_grad=True) for x in host]
    g_context, g_weights = backend.array(g_context), backend.array(g_weights)
    mask = backend.array(mask) if mask_there else mask
    memory = fakecupy.scrambled_layouts() if scrambled else contextlib.nullcontext()
    with memory, fakecupy.no_sync():  # both concern the fake alone
        context, alignment = scaled_dot_product_attention(*tensors, mask, causal, weights)
        loss = (context * g_context).sum()
        if weights:
            loss = loss + (alignment * g_weights).sum()
        loss.backward()
        with ma.no_grad():
            unrecorded = attention_context(*tensors, mask, causal)
    found = [context.data, unrecorded.data, *(x.grad for x in tensors)]
    assert {device_of(x) for x in found} == {device_of(tensors[0].data)}
    for result, value in zip(found, (expected[0], expected[0], *expected[2:]), strict=True):
        assert result.dtype == np.float32
        np.testing.assert_allclose(asnumpy(result), value, rtol=1e-3, atol=1e-4)
    if weights:
        np.testing.assert_allclose(asnumpy(alignment.data), expected[1], rtol=1e-3, atol=1e-5)


@OPS
@pytest.mark.parametrize("causal", [False, True])
def test_mixing_devices_is_an_error_that_names_both(op, causal):
    with fakecupy.installed():
        for which in range(3):
            inputs = [ma.tensor(x, device="cuda" if i == which else "cpu") for i, x in enumerate(SIZES)]
            with pytest.raises(DeviceError, match=r"on cpu and cuda:0.*hint: move them"):
                op(*inputs, causal=causal)


def test_the_function_says_what_it_takes():
    """(1) has no other knob: no scale, no dropout, nothing kept."""
    names = list(inspect.signature(scaled_dot_product_attention).parameters)
    assert names == ["q", "k", "v", "mask", "causal", "need_weights"]
