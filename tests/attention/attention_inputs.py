"""What attention is tested with: arrays and masks of every kind, and both ops held to the rows written out."""

import numpy as np
from attention_loops import by_rows
from hypothesis import strategies as st

import minattn as ma
from minattn.attention.self_attention import (
    attention,
    attention_context,
    scaled_dot_product_attention,
)
from minattn.testing import strategies

SEEDS = st.integers(0, 2**32 - 1)


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


def rows_apart(levels, dtype=np.float32, n_k=7):
    """q, k, v whose scores are exactly level_i + b_j: the weights of every row are softmax(b), however low it lies."""
    b = np.arange(n_k) % 5 / 4
    q, k = np.zeros((len(levels), 4)), np.zeros((n_k, 4))
    q[:, 0], q[:, 1] = 2 * np.array(levels), 2  # sqrt(d_k) = 2
    k[:, 0], k[:, 1] = 1, b
    return q.astype(dtype), k.astype(dtype), np.random.default_rng(0).normal(size=(n_k, 3)).astype(dtype)


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
        context, weights = scaled_dot_product_attention(*leaves, mask, causal, need_weights=g_weights is not None)
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
