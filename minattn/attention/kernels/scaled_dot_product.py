"""Scaled dot-product attention in one op, with its gradient: with the weights at hand, or in blocks without them.

The equation is on `self_attention/scaled_dot_product.py`:

    Attention(Q, K, V) = softmax(Q K^T / sqrt(d_k)) V                                                       (1)

and what may be done to the scores before the softmax on `self_attention/modified_attention.py`.
"""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from minattn.attention.kernels.softmax import softmax_gradient
from minattn.autograd import Array, xp
from minattn.autograd.backend import dots, is_array, like, matmul
from minattn.autograd.engine import Result, mode, unbroadcast
from minattn.autograd.ops.neural import row_exponentials, shared_exponentials
from minattn.errors import ConfigError, ShapeError
from minattn.nn.masks import check_mask

ROWS = 64
"""Queries in a block, at least: enough for a matrix product to be quick."""

SCORES = 1 << 20
"""Scores in a block where no gradient is wanted, 4 MiB of float32, unless ROWS queries have more."""


class Terms(NamedTuple):
    """The terms of the scores, and the values: S = c tanh(Q K^T s / c) + B; without a soft cap c, Q K^T s + B."""

    scaled: Array  # Q s
    k: Array
    v: Array
    scale: float
    mask: Array | None
    causal: bool
    bias: Array | None = None
    soft_cap: float | None = None


# ---------------------------------------------------------------------------------------------- the ops
def attention(q: Array, k: Array, v: Array, /, mask: Any = None, causal: bool = False) -> Result:
    """Scaled dot-product attention, (1), in one op: the context (.., n_q, d_v) and the weights (.., n_q, n_k).

    With C the context and P the weights, which have an upstream gradient G of their own:  dV = P^T dC;
    dP = dC V^T + G;  dS = P (dP - <dP, P>);  dQ = dS K / sqrt(d_k);  dK = dS^T Q / sqrt(d_k).
    """
    values, pullback = _with_weights(_terms(q, k, v, mask, causal))
    return values, lambda g_context, g_weights: pullback(g_context, g_weights)[:3]


def attention_context(q: Array, k: Array, v: Array, /, mask: Any = None, causal: bool = False) -> Result:
    """The context of (1) alone, (.., n_q, d_v), one block of queries after the other.

    Without a gradient, the scores of one block alone are in memory.  With `causal`, its scores with keys later than
    all its queries, nearly half of all, are not computed.  The context is divided by the sum Z of the softmax, not the
    weights, of which there are more:  C = E V / Z with E = exp(S);  dV = E^T (dC / Z);
    dS = E ((dC / Z) V^T - <dC / Z, C>);  dQ = dS K / sqrt(d_k);  dK = dS^T Q / sqrt(d_k).
    """
    context, pullback = _in_blocks(_terms(q, k, v, mask, causal))
    return context, lambda g: pullback(g)[:3]


def modified_attention_weights(
    q: Array,
    k: Array,
    v: Array,
    bias: Array | None = None,
    /,
    mask: Any = None,
    causal: bool = False,
    scale: float | None = None,
    soft_cap: float | None = None,
) -> Result:
    """`attention` with the scores of `self_attention/modified_attention.py`, S = c tanh(T / c) + B with T = Q K^T s.

    dB = dS, summed over the axes along which B is broadcast;  dT = dS (1 - tanh^2(T / c)).
    """
    return _with_weights(_terms(q, k, v, mask, causal, bias, scale, soft_cap))


def modified_attention_context(
    q: Array,
    k: Array,
    v: Array,
    bias: Array | None = None,
    /,
    mask: Any = None,
    causal: bool = False,
    scale: float | None = None,
    soft_cap: float | None = None,
) -> Result:
    """`attention_context` with the scores of `modified_attention_weights`."""
    return _in_blocks(_terms(q, k, v, mask, causal, bias, scale, soft_cap))


# ---------------------------------------------------------------------------------------------- their bodies
def _terms(
    q: Array,
    k: Array,
    v: Array,
    mask: Any,
    causal: bool,
    bias: Any = None,
    scale: float | None = None,
    soft_cap: float | None = None,
) -> Terms:
    """The terms of the scores, checked."""
    check_sizes(q, k, v, causal)
    if soft_cap is not None and not soft_cap > 0:
        raise ConfigError(f"soft_cap must be positive, got {soft_cap}; hint: None for scores without a cap")
    scale = 1 / math.sqrt(q.shape[-1]) if scale is None else scale
    mask, bias = checked_mask(mask, q, k), _checked_bias(bias, q, k)
    k, v = _seen(mask, k, v)
    return Terms(q * scale, k, v, scale, mask, causal, bias, soft_cap)


def _with_weights(terms: Terms) -> Result:
    q, k, v = terms.scaled, terms.k, terms.v
    everything = Block(slice(0, q.shape[-2]), k.shape[-2])
    weights, total = _exponentials(terms, everything)
    weights /= total
    context = _product(weights, v)  # (1)

    def pullback(g_context: Array, g_weights: Array) -> tuple[Array, ...]:
        d_v = _product(weights.swapaxes(-1, -2), g_context)
        d_weights = matmul(g_context, v.swapaxes(-1, -2)) + g_weights
        d_scores = softmax_gradient(d_weights, weights)
        d_products = _uncapped(d_scores, terms, everything)
        d_q = _product(d_products, k)
        d_q *= terms.scale
        return d_q, _product(d_products.swapaxes(-1, -2), q), d_v, d_scores

    return (context, weights), pullback


def _in_blocks(terms: Terms) -> Result:
    q, k, v = terms.scaled, terms.k, terms.v
    biases = () if terms.bias is None else (terms.bias,)
    context = _heads_inside(q, v, xp(q).result_type(q, k, v, *biases))
    kept = []
    for block in _blocks(q, k, terms.causal):
        e, total = _exponentials(terms, block)
        part = matmul(e, v[..., : block.keys, :], context[..., block.queries, :])
        part /= total
        if mode.recording:
            kept.append((block, e, total))

    def pullback(g: Array) -> tuple[Array | None, ...]:
        dtype = xp(q).result_type(g, q, k, v, *biases)
        d_q, d_k, d_v = (_heads_inside(x, x, dtype) for x in (q, k, v))
        d_bias = None if terms.bias is None else xp(q).zeros(terms.bias.shape, dtype)
        for block, e, total in reversed(kept):
            rows, keys = (..., block.queries, slice(None)), (..., slice(block.keys), slice(None))
            g_part = g[rows] / total
            d_scores = matmul(g_part, v[keys].swapaxes(-1, -2))
            d_scores -= dots(g_part, context[rows])
            d_scores *= e
            if d_bias is not None:
                here = _part(d_bias, block)
                here += unbroadcast(d_scores, here.shape)
            d_products = _uncapped(d_scores, terms, block)
            matmul(d_products, k[keys], d_q[rows])
            if block is kept[-1][0]:  # attends to all keys, and comes first here
                matmul(d_products.swapaxes(-1, -2), q[rows], d_k)
                matmul(e.swapaxes(-1, -2), g_part, d_v)
            else:
                d_k[keys] += matmul(d_products.swapaxes(-1, -2), q[rows])
                d_v[keys] += matmul(e.swapaxes(-1, -2), g_part)
        d_q *= terms.scale
        return d_q, d_k, d_v, d_bias

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


def _exponentials(terms: Terms, block: Block) -> tuple[Array, Array]:
    """exp of a block's scores, less a shift that cancels, and their sums over the keys."""
    found = shared_exponentials(scores := _scores(terms, block), out=scores)
    if found is None:  # the scores may be overwritten
        scores = _scores(terms, block)
        found = row_exponentials(scores, masked=terms.mask is not None or terms.bias is not None, out=scores)
    return found


def _scores(terms: Terms, block: Block) -> Array:
    """A block's scores, -inf where a query may not attend."""
    scores = _products(terms, block)
    if terms.soft_cap is not None:
        scores = _tanh_of_capped(scores, terms.soft_cap)
        scores *= terms.soft_cap
    if terms.bias is not None:
        bias = _part(terms.bias, block)
        scores = xp(scores).add(scores, bias, scores if bias.dtype == scores.dtype else None)
    if terms.mask is not None:
        _hide(scores, _part(terms.mask, block))
    if terms.causal:
        rows = scores.shape[-2]
        _hide(scores[..., block.keys - rows :], xp(scores).tri(rows, dtype=bool))
    return scores


def _products(terms: Terms, block: Block) -> Array:
    """A block's Q K^T s."""
    return matmul(terms.scaled[..., block.queries, :], terms.k[..., : block.keys, :].swapaxes(-1, -2))


def _tanh_of_capped(products: Array, soft_cap: float) -> Array:
    """tanh(T / c), written over T."""
    products /= soft_cap
    return xp(products).tanh(products, products)


def _uncapped(d_scores: Array, terms: Terms, block: Block) -> Array:
    """Gradient of Q K^T s from that of the scores."""
    if terms.soft_cap is None:
        return d_scores
    t = _tanh_of_capped(_products(terms, block), terms.soft_cap)
    return d_scores - d_scores * t * t


def _hide(scores: Array, mask: Array) -> None:
    """Put -inf where the mask is False, whatever is there: fmin(x, NaN) is x, and fmin(NaN, -inf) is -inf."""
    module = xp(scores)
    module.fmin(scores, module.where(mask, module.asarray(np.nan, scores.real.dtype), -np.inf), scores)


def _seen(mask: Array | None, k: Array, v: Array) -> tuple[Array, Array]:
    """The keys and the values, 0 where the mask hides a key from every query: what is there may be NaN."""
    seen = seen_keys(mask)
    return (k, v) if seen is None else (xp(k).where(seen, k, 0), xp(v).where(seen, v, 0))


def seen_keys(mask: Array | None) -> Array | None:
    """The keys (.., n_k or 1, 1) that a mask lets some query see; None where it is known that all are seen."""
    if mask is None:
        return None
    rows = mask if mask.ndim > 1 else mask.reshape(1, -1)
    seen = rows.any(-2)[..., None]
    return None if type(seen) is np.ndarray and seen.all() else seen  # on a GPU, looking would mean waiting for it


def checked_mask(mask: Any, q: Array, k: Array) -> Array | None:
    """The mask on the device of q, checked against the shape of the weights."""
    return None if mask is None else check_mask(mask, q, (*q.shape[:-1], k.shape[-2]))


def _checked_bias(bias: Any, q: Array, k: Array) -> Array | None:
    """The bias as an array.  Raises ShapeError unless it broadcasts to (.., n_q, n_k)."""
    if bias is None:
        return None
    bias = bias if is_array(bias) else like(np.asarray(bias, q.real.dtype), q)
    if bias.dtype == bool:
        raise TypeError("a bias is added to the scores, and this one is boolean; hint: mask= to hide keys")
    expected = (*q.shape[:-1], k.shape[-2])
    pairs = zip(bias.shape[::-1], expected[::-1], strict=False)
    if bias.ndim > len(expected) or any(n not in (1, m) for n, m in pairs):
        raise ShapeError(
            f"a bias of shape {bias.shape} does not broadcast to the scores, (.., n_q, n_k) = {expected}; hint: axes "
            "of that length or of length 1"
        )
    return bias


def _part(mask: Array, block: Block) -> Array:
    """The mask or the bias of a block; an axis of length 1, or that is not there, is the same for all."""
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
