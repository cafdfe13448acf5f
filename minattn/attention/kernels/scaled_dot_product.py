"""Scaled dot-product attention in one op, with its gradient: with the weights at hand, or in blocks without them.

The equation is on `self_attention/scaled_dot_product.py`:

    Attention(Q, K, V) = softmax(Q K^T / sqrt(d_k)) V                                                       (1)
"""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from minattn.attention.kernels.softmax import softmax_gradient
from minattn.autograd import Array, xp
from minattn.autograd.backend import dots, matmul
from minattn.autograd.engine import Result, mode
from minattn.autograd.ops.neural import row_exponentials, shared_exponentials
from minattn.errors import ShapeError
from minattn.nn.masks import check_mask

ROWS = 64
"""Queries in a block, at least: enough for a matrix product to be quick."""

SCORES = 1 << 20
"""Scores in a block where no gradient is wanted, 4 MiB of float32, unless ROWS queries have more."""


def attention(q: Array, k: Array, v: Array, /, mask: Any = None, causal: bool = False) -> Result:
    """Scaled dot-product attention, (1), in one op: the context (.., n_q, d_v) and the weights (.., n_q, n_k).

    With C the context and P the weights, which have an upstream gradient G of their own:  dV = P^T dC;
    dP = dC V^T + G;  dS = P (dP - <dP, P>);  dQ = dS K / sqrt(d_k);  dK = dS^T Q / sqrt(d_k).
    """
    check_sizes(q, k, v, causal)
    scale = 1 / math.sqrt(q.shape[-1])
    scaled = q * scale
    everything = Block(slice(0, q.shape[-2]), k.shape[-2])
    weights, total = _exponentials(scaled, k, everything, _checked_mask(mask, q, k), causal)
    weights /= total
    context = _product(weights, v)  # (1)

    def pullback(g_context: Array, g_weights: Array) -> tuple[Array, Array, Array]:
        d_v = _product(weights.swapaxes(-1, -2), g_context)
        d_weights = matmul(g_context, v.swapaxes(-1, -2)) + g_weights
        d_scores = softmax_gradient(d_weights, weights)
        d_q = _product(d_scores, k)
        d_q *= scale
        return d_q, _product(d_scores.swapaxes(-1, -2), scaled), d_v

    return (context, weights), pullback


def attention_context(q: Array, k: Array, v: Array, /, mask: Any = None, causal: bool = False) -> Result:
    """The context of (1) alone, (.., n_q, d_v), one block of queries after the other.

    Without a gradient, the scores of one block alone are in memory.  With `causal`, its scores with keys later than
    all its queries, nearly half of all, are not computed.  The context is divided by the sum Z of the softmax, not the
    weights, of which there are more:  C = E V / Z with E = exp(S);  dV = E^T (dC / Z);
    dS = E ((dC / Z) V^T - <dC / Z, C>);  dQ = dS K / sqrt(d_k);  dK = dS^T Q / sqrt(d_k).
    """
    check_sizes(q, k, v, causal)
    scale = 1 / math.sqrt(q.shape[-1])
    scaled, mask = q * scale, _checked_mask(mask, q, k)
    context = _heads_inside(q, v, xp(q).result_type(scaled, k, v))
    kept = []
    for block in _blocks(q, k, causal):
        e, total = _exponentials(scaled, k, block, mask, causal)
        part = matmul(e, v[..., : block.keys, :], context[..., block.queries, :])
        part /= total
        if mode.recording:
            kept.append((block, e, total))

    def pullback(g: Array) -> tuple[Array, Array, Array]:
        dtype = xp(q).result_type(g, scaled, k, v)
        d_q, d_k, d_v = (_heads_inside(x, x, dtype) for x in (q, k, v))
        for block, e, total in reversed(kept):
            rows, keys = (..., block.queries, slice(None)), (..., slice(block.keys), slice(None))
            g_part = g[rows] / total
            d_scores = matmul(g_part, v[keys].swapaxes(-1, -2))
            d_scores -= dots(g_part, context[rows])
            d_scores *= e
            matmul(d_scores, k[keys], d_q[rows])
            if block is kept[-1][0]:  # attends to all keys, and comes first here
                matmul(d_scores.swapaxes(-1, -2), scaled[rows], d_k)
                matmul(e.swapaxes(-1, -2), g_part, d_v)
            else:
                d_k[keys] += matmul(d_scores.swapaxes(-1, -2), scaled[rows])
                d_v[keys] += matmul(e.swapaxes(-1, -2), g_part)
        d_q *= scale
        return d_q, d_k, d_v

    return context, pullback


# ---------------------------------------------------------------------------------------------- blocks
class Block(NamedTuple):
    """Some queries, and how many of the keys they may attend to."""

    queries: slice
    keys: int


def _blocks(q: Array, k: Array, causal: bool) -> Iterator[Block]:
    """The queries, block by block."""
    n_q, n_k = q.shape[-2], k.shape[-2]
    rows = ROWS if causal else n_q
    if not mode.recording:
        rows = max(ROWS, SCORES // max(1, n_k * math.prod(q.shape[:-2])))
    for start in range(0, max(n_q, 1), max(rows, 1)):
        stop = min(start + rows, n_q)
        yield Block(slice(start, stop), n_k - n_q + stop if causal else n_k)


def _exponentials(scaled: Array, k: Array, block: Block, mask: Array | None, causal: bool) -> tuple[Array, Array]:
    """exp of a block's scores, less a shift that cancels, and their sums over the keys; scaled: Q / sqrt(d_k)."""
    found = shared_exponentials(scores := _scores(scaled, k, block, mask, causal), out=scores)
    if found is None:  # the scores may be overwritten
        scores = _scores(scaled, k, block, mask, causal)
        found = row_exponentials(scores, masked=mask is not None, out=scores)
    return found


def _scores(scaled: Array, k: Array, block: Block, mask: Array | None, causal: bool) -> Array:
    """A block's Q K^T / sqrt(d_k), -inf where a query may not attend."""
    scores = matmul(scaled[..., block.queries, :], k[..., : block.keys, :].swapaxes(-1, -2))
    if mask is not None:
        scores += _hiding(_part(mask, block), scores)
    if causal:
        rows = scores.shape[-2]
        scores[..., block.keys - rows :] += _hiding(xp(scores).tri(rows, dtype=bool), scores)
    return scores


def _hiding(mask: Array, scores: Array) -> Array:
    """Return the addend of the scores: 0 where the mask is True, -inf elsewhere."""
    return xp(scores).where(mask, xp(scores).zeros((), scores.real.dtype), -np.inf)


def _checked_mask(mask: Any, q: Array, k: Array) -> Array | None:
    return None if mask is None else check_mask(mask, q, (*q.shape[:-1], k.shape[-2]))


def _part(mask: Array, block: Block) -> Array:
    """The mask of a block; an axis of length 1, or that is not there, is the same for all."""
    if mask.ndim and mask.shape[-1] != 1:
        mask = mask[..., : block.keys]
    if mask.ndim > 1 and mask.shape[-2] != 1:
        mask = mask[..., block.queries, :]
    return mask


def _heads_inside(x: Array, y: Array, dtype: Any) -> Array:
    """An array (.., n of x, size of y); (batch, heads, n, size) lies in memory as (batch, n, heads, size), so that
    concatenating the heads copies nothing."""
    module, n, size = xp(x), x.shape[-2], y.shape[-1]
    if x.ndim != 4:
        return module.empty((*x.shape[:-2], n, size), dtype)
    batch, heads = x.shape[:2]
    return module.empty((batch, n, heads, size), dtype).swapaxes(1, 2)


def _product(a: Array, b: Array) -> Array:
    """a @ b, in the memory of `_heads_inside`."""
    return matmul(a, b, _heads_inside(a, b, xp(a).result_type(a, b)))


def check_sizes(q: Array, k: Array, v: Array, causal: bool) -> None:
    """Raise ShapeError unless these fit together."""
    given = f"got q {q.shape}, k {k.shape} and v {v.shape}"
    if min(q.ndim, k.ndim, v.ndim) < 2 or q.shape[-1] != k.shape[-1] or k.shape[-2] != v.shape[-2]:
        raise ShapeError(f"expected q (.., n_q, d_k), k (.., n_k, d_k) and v (.., n_k, d_v); {given}")
    if not q.shape[:-2] == k.shape[:-2] == v.shape[:-2]:
        raise ShapeError(f"q, k and v must have the same leading axes; {given}")
    if not k.shape[-2] or not q.shape[-1]:
        raise ShapeError(f"there must be a key at least, and its size must be 1 at least; {given}")
    if causal and q.shape[-2] > k.shape[-2]:
        raise ShapeError(
            f"causal queries are the last of the keys' positions, so there cannot be more of them; {given}"
        )
