"""Scaled dot-product attention against loops, its equation, the complex step, and what must hold for every input."""

import contextlib
import inspect
import tracemalloc

import fakecupy
import numpy as np
import pytest
from attention_loops import by_loops, by_rows
from hypothesis import given
from hypothesis import strategies as st

import minattn as ma
from minattn.attention.self_attention import (
    attention,
    attention_context,
    causal_mask,
    scaled_dot_product,
    scaled_dot_product_attention,
)
from minattn.attention.self_attention.scaled_dot_product import attention_equation
from minattn.autograd import asnumpy, device_of
from minattn.errors import DeviceError, MinattnError, ShapeError
from minattn.testing import assert_equation, check_gradients, strategies

SEEDS = st.integers(0, 2**32 - 1)


# ---------------------------------------------------------------------------------------------- what is drawn
@st.composite
def sizes(draw, max_dims=3):
    """(leading axes, n_q, n_k, d_k, d_v)."""
    lead = draw(strategies.shapes(max_dims=max_dims, max_side=2))
    n_k, d_k, d_v = (draw(st.integers(1, 4)) for _ in range(3))
    return lead, draw(st.integers(0, 4)), n_k, d_k, d_v


@st.composite
def masks(draw, full, full_rows=True):
    """Boolean masks, in any memory, of any shape that broadcasts to `full`."""
    shape = full[draw(st.integers(0, len(full))) :] if full_rows else full
    shape = tuple(n if not full_rows or draw(st.booleans()) else 1 for n in shape)
    return draw(strategies.layouts(draw(strategies.masks(shape, full_rows=full_rows))))


@st.composite
def calls(draw, dtype=None, max_dims=3, full_rows=True):
    """([q, k, v], mask or None, causal): the arrays in any memory layout."""
    lead, n_q, n_k, d_k, d_v = draw(sizes(max_dims))
    dtype = draw(st.sampled_from(strategies.DTYPES)) if dtype is None else dtype
    shapes = (*lead, n_q, d_k), (*lead, n_k, d_k), (*lead, n_k, d_v)
    inputs = [draw(strategies.arrays(shape, dtype)) for shape in shapes]
    causal = full_rows and n_q <= n_k and draw(st.booleans())
    return inputs, draw(st.none() | masks((*lead, n_q, n_k), full_rows)), causal


@st.composite
def calls_in_blocks(draw):
    """Like `calls`, with several queries in every call and no fewer keys."""
    n_q, dtype = draw(st.integers(3, 5)), draw(st.sampled_from(strategies.DTYPES))
    lead, n_k = draw(strategies.shapes(max_dims=2, min_side=1, max_side=2)), n_q + draw(st.integers(0, 2))
    inputs = [draw(strategies.arrays((*lead, n, d), dtype)) for n, d in ((n_q, 2), (n_k, 2), (n_k, 3))]
    return inputs, draw(st.none() | masks((*lead, n_q, n_k))), draw(st.booleans())


def random_inputs(*shapes, seed=0, dtype=np.float32):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=shape).astype(dtype) for shape in shapes]


def close(dtype):
    return {"rtol": 1e-4, "atol": 1e-5} if dtype == np.float32 else {"rtol": 1e-10, "atol": 1e-12}


def assert_rows(inputs, mask=None, causal=False, seed=0, **tolerance):
    """Both ops equal `by_rows` in values and in gradients, with random upstream gradients and without any gradient."""
    q, k, v = inputs
    rng, tolerance = np.random.default_rng(seed), tolerance or close(q.dtype)
    g_context = rng.normal(size=(*q.shape[:-1], v.shape[-1])).astype(q.dtype)
    for g_weights in (rng.normal(size=(*q.shape[:-1], k.shape[-2])).astype(q.dtype), None):
        expected = by_rows(q, k, v, mask, causal, g_context, 0.0 if g_weights is None else g_weights)
        leaves = [ma.tensor(x, requires_grad=True) for x in inputs]
        context, weights = scaled_dot_product_attention(*leaves, mask, causal, weights=g_weights is not None)
        total = (context * g_context).sum()
        if g_weights is None:
            assert weights is None
        else:
            total = total + (weights * g_weights).sum()
            np.testing.assert_allclose(weights.data, expected[1], **tolerance)
        np.testing.assert_allclose(context.data, expected[0], **tolerance)
        total.backward()
        for leaf, gradient in zip(leaves, expected[2:], strict=True):
            np.testing.assert_allclose(leaf.grad, gradient, **tolerance)
    with ma.no_grad():
        np.testing.assert_allclose(attention(*inputs, mask, causal)[0].data, expected[0], **tolerance)
        np.testing.assert_allclose(attention_context(*inputs, mask, causal).data, expected[0], **tolerance)


# ---------------------------------------------------------------------------------------------- the paper's loops
@given(calls())
def test_values_are_those_of_the_loops(call):
    inputs, mask, causal = call
    context, weights = scaled_dot_product_attention(*map(ma.tensor, inputs), mask, causal)
    alone, none = scaled_dot_product_attention(*map(ma.tensor, inputs), mask, causal, weights=False)
    with ma.no_grad():
        unrecorded = attention_context(*inputs, mask, causal)
    expected = by_loops(*inputs, mask, causal)
    assert none is None
    for result, value in zip((context, weights, alone, unrecorded), (*expected, *expected[:1] * 2), strict=True):
        assert result.dtype == inputs[0].dtype
        assert result.shape == value.shape
        np.testing.assert_allclose(result.data, value, **close(result.dtype))


@given(calls(), SEEDS)
def test_values_and_gradients_are_those_row_by_row(call, seed):
    inputs, mask, causal = call
    assert_rows(inputs, mask, causal, seed)


@given(calls(dtype=np.float64))
def test_the_rows_are_the_loops(call):
    inputs, mask, causal = call
    for rows, loops in zip(by_rows(*inputs, mask, causal)[:2], by_loops(*inputs, mask, causal), strict=True):
        np.testing.assert_allclose(rows, loops, rtol=1e-12, atol=1e-14)


# ---------------------------------------------------------------------------------------------- equation, gradients
@given(calls(), SEEDS)
def test_the_ops_are_their_equation(call, seed):
    inputs, mask, causal = call
    assert_equation(
        lambda *tensors: attention(*tensors, mask, causal),
        lambda *tensors: attention_equation(*tensors, mask, causal),
        *inputs,
        seed=seed,
    )
    assert_equation(
        lambda *tensors: attention_context(*tensors, mask, causal),
        lambda *tensors: attention_equation(*tensors, mask, causal)[0],
        *inputs,
        seed=seed,
    )


@given(calls(), st.sampled_from([(0, 1), (0,), (1,)]), SEEDS)
def test_gradients_through_context_and_weights(call, judged, seed):
    inputs, mask, causal = call
    check_gradients(
        lambda *tensors: tuple(attention(*tensors, mask, causal)[i] for i in judged),
        *inputs,
        seed=seed,
        method="complex",
    )


@given(calls(), SEEDS)
def test_gradients_of_the_context_alone(call, seed):
    inputs, mask, causal = call
    check_gradients(lambda *tensors: attention_context(*tensors, mask, causal), *inputs, seed=seed, method="complex")


@given(strategies.arrays(st.tuples(*[st.integers(1, 3)] * 3)), st.booleans(), st.booleans(), SEEDS)
def test_gradients_where_queries_keys_and_values_are_one_array(x, causal, weights, seed):
    check_gradients(
        lambda x: tuple(y for y in scaled_dot_product_attention(x, x, x, None, causal, weights) if y is not None),
        x,
        seed=seed,
        method="complex",
    )


WHICH = [(0,), (1,), (2,), (0, 1), (0, 2), (1, 2)]


@given(st.sampled_from(WHICH), st.booleans(), calls(dtype=np.float64))
def test_gradients_of_some_arguments_alone(wanted, weights, call):
    inputs, mask, causal = call

    def gradients(which):
        leaves = [ma.tensor(x, requires_grad=i in which) for i, x in enumerate(inputs)]
        results = scaled_dot_product_attention(*leaves, mask, causal, weights)
        sum((y**2).sum() for y in results if y is not None).backward()
        return [leaf.grad for leaf in leaves]

    for i, (some, every) in enumerate(zip(gradients(wanted), gradients((0, 1, 2)), strict=True)):
        if i in wanted:
            np.testing.assert_allclose(some, every, rtol=1e-12, atol=1e-14)
        else:
            assert some is None


@pytest.mark.parametrize("which", range(3), ids="qkv")
@pytest.mark.parametrize("weights", [True, False])
def test_second_derivatives_by_one_argument_alone(which, weights):
    """A complex step through the backward pass in which only one argument is complex."""
    inputs = random_inputs((2, 2, 3, 4), (2, 2, 5, 4), (2, 2, 5, 3), dtype=np.float64, seed=which)
    mask = np.random.default_rng(3).random((2, 1, 3, 5)) < 0.7

    def loss(x):
        results = scaled_dot_product_attention(
            *[ma.tensor(x) if not isinstance(x, ma.Tensor) else x for x in (*inputs[:which], x, *inputs[which + 1 :])],
            mask,
            True,
            weights,
        )
        return sum((y**3).sum() for y in results if y is not None)

    x, h = inputs[which], 1e-5
    v = np.random.default_rng(4).normal(size=x.shape)
    difference = (ma.grad(loss)(x + h * v) - ma.grad(loss)(x - h * v)) / (2 * h)
    np.testing.assert_allclose(ma.hvp(loss, x, v), difference, rtol=1e-6, atol=1e-8)


@given(calls(dtype=np.float64), st.data())
def test_an_upstream_gradient_may_lie_in_any_memory_and_stays(call, data):
    inputs, mask, causal = call
    g_context, g_weights = (data.draw(strategies.arrays(y.shape, np.float64)) for y in by_loops(*inputs, mask, causal))
    _, _, *expected = by_rows(*inputs, mask, causal, g_context, g_weights)
    _, _, *of_context = by_rows(*inputs, mask, causal, g_context)
    leaves = [ma.tensor(x, requires_grad=True) for x in inputs]
    context, weights = attention(*leaves, mask, causal)
    ((context * g_context).sum() + (weights * g_weights).sum()).backward()
    for leaf, gradient in zip(leaves, expected, strict=True):
        np.testing.assert_allclose(leaf.grad, gradient, **close(np.float64))
    for op in (lambda *x: attention(*x, mask, causal)[0], lambda *x: attention_context(*x, mask, causal)):
        leaves, before = [ma.tensor(x, requires_grad=True) for x in inputs], g_context.copy()
        op(*leaves).backward(g_context)
        np.testing.assert_array_equal(g_context, before)
        for leaf, gradient in zip(leaves, of_context, strict=True):
            np.testing.assert_allclose(leaf.grad, gradient, **close(np.float64))
            assert not np.may_share_memory(leaf.grad, g_context)


@given(calls())
def test_results_have_memory_of_their_own_and_the_backward_pass_leaves_them(call):
    inputs, mask, causal = call
    leaves = [ma.tensor(x, requires_grad=True) for x in inputs]
    context, weights = attention(*leaves, mask, causal)
    alone = attention_context(*leaves, mask, causal)
    results = [context, weights, alone]
    before = [y.numpy().copy() for y in results]
    masked = None if mask is None else mask.copy()
    sum((y**2).sum() for y in results).backward()
    for i, (y, values) in enumerate(zip(results, before, strict=True)):
        np.testing.assert_array_equal(y.data, values)
        for other in (*inputs, *(x.grad for x in leaves), *(z.data for z in results[:i])):
            assert not np.may_share_memory(y.data, other)
    assert mask is None or np.array_equal(mask, masked)


@pytest.mark.parametrize("weights", [True, False])
@pytest.mark.parametrize("doubles", WHICH, ids=str)
def test_mixed_precision_gives_float64_and_each_gradient_its_own_dtype(doubles, weights):
    plain = random_inputs((2, 2, 3, 4), (2, 2, 5, 4), (2, 2, 5, 3))
    inputs = [x.astype(np.float64) if i in doubles else x for i, x in enumerate(plain)]
    leaves = [ma.tensor(x, requires_grad=True) for x in inputs]
    context, _ = scaled_dot_product_attention(*leaves, None, True, weights)
    context.sum().backward()
    expected = by_rows(*plain, None, True, 1.0)
    assert context.dtype == np.float64
    np.testing.assert_allclose(context.data, expected[0], rtol=1e-5, atol=1e-6)
    for leaf, x, gradient in zip(leaves, inputs, expected[2:], strict=True):
        assert leaf.grad.dtype == x.dtype
        np.testing.assert_allclose(leaf.grad, gradient, rtol=1e-4, atol=1e-5)


# ---------------------------------------------------------------------------------------------- memory layouts
def from_one_projection(x, batch, n, heads, d):
    """(batch, heads, n, d) as it lies after one product gave (batch, n, heads d)."""
    return (
        np.ascontiguousarray(x.swapaxes(1, 2)).reshape(batch, n, heads * d).reshape(batch, n, heads, d).swapaxes(1, 2)
    )


def sizes_last_but_one(x):
    return np.ascontiguousarray(x.swapaxes(-1, -2)).swapaxes(-1, -2)


def packed_with_others(x):
    """One of three that lie side by side."""
    return np.concatenate([np.full_like(x, np.nan), x, np.full_like(x, np.nan)], -1)[..., x.shape[-1] : 2 * x.shape[-1]]


LAYOUTS = {
    "one projection": lambda x: from_one_projection(x, *(x.shape[i] for i in (0, 2, 1, 3))),
    "columns": sizes_last_but_one,
    "Fortran": np.asfortranarray,
    "packed": packed_with_others,
    "backward": lambda x: np.ascontiguousarray(x[:, ::-1, ::-1, ::-1])[:, ::-1, ::-1, ::-1],
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("causal", [False, True])
def test_where_the_numbers_lie_does_not_matter(layout, causal):
    inputs = random_inputs((2, 3, 70, 8), (2, 3, 90, 8), (2, 3, 90, 5))
    mask = np.random.default_rng(1).random((2, 1, 70, 90)) < 0.8
    laid_out = [layout(x) for x in inputs]
    for x, y in zip(inputs, laid_out, strict=True):
        np.testing.assert_array_equal(x, y)
    assert_rows(laid_out, layout(mask), causal)


@pytest.mark.parametrize("causal", [False, True])
def test_one_memory_for_every_head_and_every_key(causal):
    """Strides of 0: arrays that were broadcast."""
    q, k, v = random_inputs((2, 1, 4, 3), (2, 1, 1, 3), (1, 1, 5, 2))
    inputs = [np.broadcast_to(x, (2, 3, *s)) for x, s in ((q, (4, 3)), (k, (5, 3)), (v, (5, 2)))]
    assert_rows(inputs, np.broadcast_to(np.array([True, False, True, True, True]), (2, 3, 4, 5)), causal)


# ---------------------------------------------------------------------------------------------- identities
@given(calls(dtype=np.float64), st.randoms(use_true_random=False))
def test_4d3_the_order_of_keys_and_queries(call, random):
    """Keys may come in any order together with their values; the contexts come in the order of the queries."""
    inputs, mask, _ = call
    q, k, v = inputs
    context, weights = attention(q, k, v, mask)
    rows, columns = (random.sample(range(n), n) for n in weights.shape[-2:])
    whole = None if mask is None else np.broadcast_to(mask, weights.shape)[..., rows, :][..., columns]
    again, moved = attention(q[..., rows, :], k[..., columns, :], v[..., columns, :], whole)
    np.testing.assert_allclose(again.data, context.data[..., rows, :], rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(moved.data, weights.data[..., rows, :][..., columns], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("n", [5, 150])
@pytest.mark.parametrize("weights", [True, False])
@pytest.mark.parametrize("recorded", [True, False])
def test_4d4_a_causal_output_is_deaf_to_the_future(n, weights, recorded):
    inputs = random_inputs((2, 2, n, 3), (2, 2, n, 3), (2, 2, n, 4), seed=n)
    for t in (0, n // 2, n - 2):
        changed = [np.concatenate([x[..., : t + 1, :], 7 * x[..., t + 1 :, :] + 1], -2) for x in inputs]
        with contextlib.nullcontext() if recorded else ma.no_grad():
            before, after = (
                scaled_dot_product_attention(*map(ma.tensor, x), None, True, weights)[0] for x in (inputs, changed)
            )
        np.testing.assert_allclose(after.data[..., : t + 1, :], before.data[..., : t + 1, :], rtol=2e-5, atol=1e-6)
        assert np.abs(after.data[..., t + 1 :, :] - before.data[..., t + 1 :, :]).max() > 0.1


@pytest.mark.parametrize("n", [5, 150])
@pytest.mark.parametrize("ahead", [0, 3])
@pytest.mark.parametrize("weights", [True, False])
def test_4d4_the_gradient_to_the_future_is_exactly_zero(n, ahead, weights):
    """ahead: how many keys stand before those of the first query."""
    inputs = random_inputs((2, 2, n, 3), (2, 2, n + ahead, 3), (2, 2, n + ahead, 4))
    for t in (0, n // 2, n - 1):
        leaves = [ma.tensor(x, requires_grad=True) for x in inputs]
        context, alignment = scaled_dot_product_attention(*leaves, None, True, weights)
        loss = (context[:, :, t] ** 2).sum()
        if weights:
            loss = loss + (alignment[:, :, t] ** 2).sum()
            assert (alignment.data[:, :, t, t + ahead + 1 :] == 0).all()
        loss.backward()
        dq, dk, dv = (leaf.grad for leaf in leaves)
        assert (dq[:, :, np.arange(n) != t] == 0).all()
        assert (dk[:, :, t + ahead + 1 :] == 0).all()
        assert (dv[:, :, t + ahead + 1 :] == 0).all()
        assert (dv[:, :, : t + ahead + 1] != 0).all()


@given(calls(full_rows=False), st.sampled_from([0, 1]))
def test_4d5_where_all_scores_are_equal_the_context_is_the_mean_value(call, zero):
    inputs, mask, _ = call
    inputs[zero] = np.zeros_like(inputs[zero])
    context, weights = attention(*inputs, mask)
    whole = np.ones(weights.shape, bool) if mask is None else np.broadcast_to(mask, weights.shape)
    uniform = whole / whole.sum(-1, keepdims=True)
    np.testing.assert_allclose(weights.data, uniform, **close(weights.dtype))
    np.testing.assert_allclose(context.data, uniform @ inputs[2], **close(weights.dtype))
    np.testing.assert_allclose(attention_context(*inputs, mask).data, uniform @ inputs[2], **close(weights.dtype))


@given(calls(dtype=np.float64, full_rows=False), SEEDS)
def test_4d6_one_vector_added_to_every_key_or_value(call, seed):
    (q, k, v), mask, _ = call
    c_k, c_v = (np.random.default_rng(seed).normal(size=n) for n in (k.shape[-1], v.shape[-1]))
    context, weights = attention(q, k, v, mask)
    again, same = attention(q, k + c_k, v + c_v, mask)
    np.testing.assert_allclose(same.data, weights.data, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(again.data, context.data + c_v, rtol=1e-9, atol=1e-12)


@given(calls(), st.integers(1, 3), st.sampled_from([1.0, 1e4, 1e30]), st.booleans(), SEEDS)
def test_4d11_padding_changes_nothing_and_gets_nothing(call, extra, scale, weights, seed):
    inputs, mask, _ = call
    (q, k, v), dtype = inputs, inputs[0].dtype
    *lead, n_k, _ = k.shape
    rng = np.random.default_rng(seed)
    whole = np.broadcast_to(True if mask is None else mask, (*q.shape[:-1], n_k))
    padded_mask = np.concatenate([whole, np.zeros((*q.shape[:-1], extra), bool)], -1)
    longer = [
        np.concatenate([x, (scale * rng.normal(size=(*lead, extra, x.shape[-1]))).astype(dtype)], -2) for x in (k, v)
    ]
    g_context = rng.normal(size=(*q.shape[:-1], v.shape[-1])).astype(dtype)
    expected = by_rows(q, k, v, whole, False, g_context)
    leaves = [ma.tensor(x, requires_grad=True) for x in (q, *longer)]
    context, alignment = scaled_dot_product_attention(*leaves, padded_mask, False, weights)
    (context * g_context).sum().backward()
    np.testing.assert_allclose(context.data, expected[0], **close(dtype))
    if weights:
        np.testing.assert_allclose(alignment.data[..., :n_k], expected[1], **close(dtype))
        assert (alignment.data[..., n_k:] == 0).all()
    for leaf, gradient in zip(leaves, expected[2:], strict=True):
        np.testing.assert_allclose(leaf.grad[..., : gradient.shape[-2], :], gradient, **close(dtype))
        assert (leaf.grad[..., gradient.shape[-2] :, :] == 0).all()


@pytest.mark.parametrize("d_k", [4, 64, 256])
def test_4d13_scores_have_variance_one(d_k):
    """With two keys, log(w_1 / w_2) is the difference of two scores, whose variance is 2 whatever d_k is."""
    q, k, v = random_inputs((5000, 1, d_k), (5000, 2, d_k), (5000, 2, 1), dtype=np.float64)
    weights = attention(q, k, v)[1].data
    assert np.var(np.log(weights[..., 0] / weights[..., 1])) == pytest.approx(2, rel=0.1)


# ---------------------------------------------------------------------------------------------- rows without a key
@pytest.mark.parametrize("weights", [True, False])
@pytest.mark.parametrize("n", [4, 140])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("rows", ["some", "all", "a whole sequence"])
def test_a_query_with_nothing_to_attend_gives_zeros_and_no_gradient(n, causal, weights, rows):
    inputs = random_inputs((2, 2, n, 3), (2, 2, n, 3), (2, 2, n, 4))
    mask = np.random.default_rng(0).random((2, 1, n, n)) < 0.7
    nothing = {"some": np.s_[:, :, 1::3], "all": np.s_[:], "a whole sequence": np.s_[1]}[rows]
    mask[nothing] = False
    leaves = [ma.tensor(x, requires_grad=True) for x in inputs]
    context, alignment = scaled_dot_product_attention(*leaves, mask, causal, weights)
    assert (context.data[nothing] == 0).all()
    loss = (context[nothing] + 1.0).sum()
    if weights:
        assert (alignment.data[nothing] == 0).all()
        loss = loss + ((alignment[nothing] + 1.0) ** 2).sum()
    loss.backward()
    for leaf in leaves:
        assert (leaf.grad == 0).all()
    assert_rows(inputs, mask, causal)


@pytest.mark.parametrize("far", [0.0, 100.0, 1e4])
def test_rows_without_a_key_beside_rows_of_very_different_scores(far):
    """The largest score of a block cannot be that of a row that has none, nor serve the rows far below it."""
    q, k, v = rows_apart([0.0, far, -far, 0.0, -far, 0.0])
    mask = np.ones((6, k.shape[-2]), bool)
    mask[[0, 4]] = False
    assert_rows([q, k, v], mask, rtol=1e-4, atol=1e-3 * max(1.0, far))
    weights = attention(q, k, v, mask)[1].data
    assert (weights[[0, 4]] == 0).all()
    np.testing.assert_allclose(weights[[1, 2, 3, 5]].sum(-1), 1, rtol=1e-5)


# ---------------------------------------------------------------------------------------------- hard numbers
def rows_apart(levels, dtype=np.float32, n_k=7):
    """q, k, v whose scores are exactly level_i + b_j: the weights of every row are softmax(b), however low it lies."""
    b = np.arange(n_k) % 5 / 4
    q, k = np.zeros((len(levels), 4)), np.zeros((n_k, 4))
    q[:, 0], q[:, 1] = 2 * np.array(levels), 2  # sqrt(d_k) = 2
    k[:, 0], k[:, 1] = 1, b
    return q.astype(dtype), k.astype(dtype), np.random.default_rng(0).normal(size=(n_k, 3)).astype(dtype)


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
    context, alignment = scaled_dot_product_attention(*leaves, weights=weights)
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
    monkeypatch.setattr(scaled_dot_product, "ROWS", request.param)
    monkeypatch.setattr(scaled_dot_product, "SCORES", 1)


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
        with pytest.raises(TypeError, match=r"True = may attend\) must be boolean, got (float|int|uint|object)"):
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
            with pytest.raises(DeviceError, match=r"on cpu and cuda:0.*the cure: move them"):
                op(*inputs, causal=causal)


def test_the_function_says_what_it_takes():
    """(1) has no other knob: no scale, no dropout, nothing kept."""
    names = list(inspect.signature(scaled_dot_product_attention).parameters)
    assert names == ["q", "k", "v", "mask", "causal", "weights"]
