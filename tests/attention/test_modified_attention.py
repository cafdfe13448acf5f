"""Attention with a scale, a soft cap, a bias and grouped queries: against loops, and by its identities."""

import math

import numpy as np
import pytest
from attention_inputs import SEEDS, close, masks
from attention_loops import allowed_keys
from hypothesis import given
from hypothesis import strategies as st

import minattn as ma
from minattn.attention.kernels import scaled_dot_product as kernels
from minattn.attention.self_attention import (
    modified_attention,
    modified_attention_context,
    scaled_dot_product_attention,
)
from minattn.errors import ConfigError, ShapeError
from minattn.testing import check_gradients, strategies

INF = float("inf")


def by_loops(q, k, v, mask, causal, bias, scale, soft_cap):
    """(context, weights), one number at a time; the heads are on the third axis from the end."""
    *lead, heads, n_q, d_k = q.shape
    groups, n_k, d_v = k.shape[-3], *v.shape[-2:]
    shape = (*lead, heads, n_q, n_k)
    contexts, weights = np.zeros((*lead, heads, n_q, d_v)), np.zeros(shape)
    for *place, h, i in np.ndindex(*lead, heads, n_q):
        of_keys = (*place, h // (heads // groups))
        scores = {}
        for j in allowed_keys(mask, causal, (*place, h), i, n_q, n_k, shape):
            product = 0.0
            for c in range(d_k):
                product += float(q[(*place, h, i, c)]) * float(k[(*of_keys, j, c)])
            score = product * (1 / math.sqrt(d_k) if scale is None else scale)
            if soft_cap is not None:
                score = soft_cap * math.tanh(score / soft_cap)
            if bias is not None:
                score += np.broadcast_to(bias, shape)[(*place, h, i, j)]
            scores[j] = score
        total = sum(math.exp(score) for score in scores.values())
        for j, score in scores.items():
            weights[(*place, h, i, j)] = math.exp(score) / total
            for c in range(d_v):
                contexts[(*place, h, i, c)] += weights[(*place, h, i, j)] * v[(*of_keys, j, c)]
    return contexts, weights


@st.composite
def calls(draw):
    """([q, k, v], bias or None, mask or None, parameters); several heads of queries for each of keys."""
    dtype = draw(st.sampled_from(strategies.DTYPES))
    lead = draw(strategies.shapes(max_dims=2, max_side=2))
    groups, size = draw(st.integers(1, 2)), draw(st.integers(1, 3))
    n_q, (n_k, d_k, d_v) = draw(st.integers(0, 4)), (draw(st.integers(1, 4)) for _ in range(3))
    shapes = (*lead, groups * size, n_q, d_k), (*lead, groups, n_k, d_k), (*lead, groups, n_k, d_v)
    inputs = [draw(strategies.arrays(shape, dtype)) for shape in shapes]
    full = (*lead, groups * size, n_q, n_k)
    bias = None
    if draw(st.booleans()):
        shape = tuple(n if draw(st.booleans()) else 1 for n in full[draw(st.integers(0, len(full))) :])
        bias = draw(strategies.arrays(shape, dtype))
    parameters = {
        "causal": n_q <= n_k and draw(st.booleans()),
        "scale": draw(st.sampled_from([None, 0.3, -1.0])),
        "soft_cap": draw(st.sampled_from([None, 0.5, 4.0])),
    }
    return inputs, bias, draw(st.none() | masks(full)), parameters


@given(calls())
def test_values_are_those_of_the_loops(call):
    inputs, bias, mask, parameters = call
    tensors = [ma.tensor(x) for x in inputs]
    context, weights = modified_attention(*tensors, mask, bias=bias, **parameters)
    alone, none = modified_attention(*tensors, mask, bias=bias, need_weights=False, **parameters)
    expected = by_loops(*inputs, mask, bias=bias, **parameters)
    assert none is None
    for result, value in zip((context, weights, alone), (*expected, expected[0]), strict=True):
        assert result.dtype == inputs[0].dtype
        np.testing.assert_allclose(result.data, value, **close(result.dtype))


@pytest.mark.parametrize("rows", [1, 2, 64])
@given(calls(), st.booleans(), SEEDS)
def test_gradients_in_blocks_and_of_the_bias(rows, call, need_weights, seed):
    (q, k, v), bias, mask, parameters = call
    before, kernels.ROWS = kernels.ROWS, rows
    try:
        check_gradients(
            lambda q, k, v, bias=None: modified_attention(
                q, k, v, mask, bias=bias, need_weights=need_weights, **parameters
            )[: 1 + need_weights],
            *(q, k, v) if bias is None else (q, k, v, bias),
            seed=seed,
            method="complex",
        )
    finally:
        kernels.ROWS = before


# ---------------------------------------------------------------------------------------------- identities
def heads(seed=0, groups=2, size=1, n_q=3, n_k=5):
    rng = np.random.default_rng(seed)
    return [ma.tensor(rng.normal(size=(2, h, n, 4))) for h, n in ((groups * size, n_q), (groups, n_k), (groups, n_k))]


def same(a, b, rtol=1e-12):
    for left, right in zip(a, b, strict=True):
        np.testing.assert_allclose(left.data, right.data, rtol=rtol, atol=1e-14)


def test_without_changes_it_is_scaled_dot_product_attention():
    mask = np.arange(5) < np.array([[2], [5], [3]])
    for causal in (False, True):
        same(modified_attention(*heads(), mask, causal), scaled_dot_product_attention(*heads(), mask, causal))
    same(
        modified_attention(*heads(), soft_cap=1e8, scale=0.5, bias=[0.0] * 5),
        scaled_dot_product_attention(*heads()),
        1e-7,
    )


def test_a_scale_is_a_factor_of_the_queries():
    q, k, v = heads()
    same(modified_attention(q, k, v, scale=3.0), scaled_dot_product_attention(q * 6.0, k, v))


def test_a_bias_of_minus_infinity_is_a_mask_and_one_of_a_query_changes_nothing():
    mask = np.random.default_rng(1).random((2, 2, 3, 5)) < 0.5
    mask[..., 0] = True
    same(modified_attention(*heads(), bias=np.where(mask, 0, -INF)), scaled_dot_product_attention(*heads(), mask))
    same(modified_attention(*heads(), bias=[[7.0], [-3.0], [1.0]]), scaled_dot_product_attention(*heads()))


@pytest.mark.parametrize("need_weights", [True, False])
def test_a_query_whose_bias_is_minus_infinity_everywhere_gives_zeros_and_no_gradient(need_weights):
    q, k, v = (x.requires_grad_() for x in heads())
    bias = ma.tensor(np.array([[0.0], [-INF], [1.0]]), requires_grad=True)
    context, weights = modified_attention(q, k, v, bias=bias, need_weights=need_weights)
    assert (context.data[:, :, 1] == 0).all()
    assert not need_weights or (weights.data[:, :, 1] == 0).all()
    context.sum().backward()
    assert (q.grad[:, :, 1] == 0).all()
    assert all(np.isfinite(x.grad).all() for x in (q, k, v, bias))


def test_no_score_passes_the_soft_cap():
    """The weights of two keys differ by exp(2 c) at most, however far their scores are apart."""
    q, k = np.array([[100.0]]), np.array([[100.0], [-100.0]])
    _, weights = modified_attention(*map(ma.tensor, (q, k, np.eye(2))), soft_cap=1.0)
    np.testing.assert_allclose(weights.data, [[1 / (1 + math.exp(-2)), 1 / (1 + math.exp(2))]])


@pytest.mark.parametrize("need_weights", [True, False])
def test_grouped_queries_attend_to_keys_that_are_repeated(need_weights):
    q, k, v = heads(groups=2, size=3)
    mask, bias = np.random.default_rng(2).random((2, 6, 3, 5)) < 0.7, np.random.default_rng(3).normal(size=(6, 3, 5))
    found = modified_attention(q, k, v, mask, True, need_weights, bias=bias)
    every = modified_attention(q, ma.repeat(k, 3, 1), ma.repeat(v, 3, 1), mask, True, need_weights, bias=bias)
    same(found[: 1 + need_weights], every[: 1 + need_weights])


def test_a_wider_bias_makes_the_result_wider():
    q, k, v = (ma.tensor(x.data.astype(np.float32), requires_grad=True) for x in heads())
    for need_weights in (True, False):
        bias = ma.tensor(np.random.default_rng(0).normal(size=(3, 5)), requires_grad=True)
        context, _ = modified_attention(q, k, v, bias=bias, need_weights=need_weights)
        assert context.dtype == np.float64
        context.sum().backward()
        assert bias.grad.dtype == np.float64
        assert q.grad.dtype == np.float32
    assert modified_attention(q, k, v, bias=[0.5, 0, 0, 0, 0])[0].dtype == np.float32  # a list follows the queries


# ---------------------------------------------------------------------------------------------- refusals
def test_what_is_refused():
    q, k, v = heads(groups=3, size=2)
    with pytest.raises(ConfigError, match=r"soft_cap must be positive, got 0.0; hint"):
        modified_attention(q, k, v, soft_cap=0.0)
    with pytest.raises(TypeError, match=r"this one is boolean; hint: mask="):
        modified_attention(q, k, v, bias=np.ones((3, 5), bool))
    with pytest.raises(ShapeError, match=r"a bias of shape \(4, 5\) does not broadcast to the scores"):
        modified_attention(k, k, v, bias=np.ones((4, 5)))
    with pytest.raises(ShapeError, match=r"6 heads of queries make no groups for 4 heads of keys; .* hint"):
        modified_attention(q, *(ma.tensor(np.ones((2, 4, 5, 4))) for _ in range(2)))
    with pytest.raises(ShapeError, match="must have the same leading axes"):
        modified_attention_context(q, k, v)
