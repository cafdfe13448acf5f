"""Scaled dot-product attention against loops, its equation, the complex step, and the identities it must have."""

import contextlib

import numpy as np
import pytest
from attention_inputs import SEEDS, assert_rows, calls, close, random_inputs, rows_apart
from attention_loops import by_loops, by_rows
from hypothesis import given
from hypothesis import strategies as st

import minattn as ma
from minattn.attention.self_attention import (
    attention,
    attention_context,
    scaled_dot_product_attention,
)
from minattn.attention.self_attention.scaled_dot_product import attention_equation
from minattn.testing import assert_equation, check_gradients, strategies


# ---------------------------------------------------------------------------------------------- the paper's loops
@given(calls())
def test_values_are_those_of_the_loops(call):
    inputs, mask, causal = call
    context, weights = scaled_dot_product_attention(*map(ma.tensor, inputs), mask, causal)
    alone, none = scaled_dot_product_attention(*map(ma.tensor, inputs), mask, causal, need_weights=False)
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
def test_the_order_of_keys_and_queries(call, random):
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
def test_a_causal_output_is_deaf_to_the_future(n, weights, recorded):
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
def test_the_gradient_to_the_future_is_exactly_zero(n, ahead, weights):
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
def test_where_all_scores_are_equal_the_context_is_the_mean_value(call, zero):
    inputs, mask, _ = call
    inputs[zero] = np.zeros_like(inputs[zero])
    context, weights = attention(*inputs, mask)
    whole = np.ones(weights.shape, bool) if mask is None else np.broadcast_to(mask, weights.shape)
    uniform = whole / whole.sum(-1, keepdims=True)
    np.testing.assert_allclose(weights.data, uniform, **close(weights.dtype))
    np.testing.assert_allclose(context.data, uniform @ inputs[2], **close(weights.dtype))
    np.testing.assert_allclose(attention_context(*inputs, mask).data, uniform @ inputs[2], **close(weights.dtype))


@given(calls(dtype=np.float64, full_rows=False), SEEDS)
def test_one_vector_added_to_every_key_or_value(call, seed):
    (q, k, v), mask, _ = call
    c_k, c_v = (np.random.default_rng(seed).normal(size=n) for n in (k.shape[-1], v.shape[-1]))
    context, weights = attention(q, k, v, mask)
    again, same = attention(q, k + c_k, v + c_v, mask)
    np.testing.assert_allclose(same.data, weights.data, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(again.data, context.data + c_v, rtol=1e-9, atol=1e-12)


@given(calls(), st.integers(1, 3), st.sampled_from([1.0, 1e4, 1e30]), st.booleans(), SEEDS)
def test_padding_changes_nothing_and_gets_nothing(call, extra, scale, weights, seed):
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
def test_scores_have_variance_one(d_k):
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
