"""Scaled dot-product attention, the Transformer's.

A. Vaswani, N. Shazeer, N. Parmar, J. Uszkoreit, L. Jones, A. N. Gomez, L. Kaiser and I. Polosukhin, "Attention is all
you need", NIPS 2017, section 3.2.1:

    Attention(Q, K, V) = softmax(Q K^T / sqrt(d_k)) V                                                       (1)

Q holds n_q queries of size d_k, K and V hold n_k keys of size d_k and values of size d_v; row i of the softmax says how
much query i takes of each value.  In a decoder no position may look at later ones: their scores are minus infinity
before the softmax (section 3.2.3), here `causal=True`.

Deviations from the paper: none.  Padding, which the paper does not speak of, is masked: the softmax runs over the keys
that the mask lets through, and a query with none gives zeros.
"""

import math
from typing import Any

import numpy as np
from jaxtyping import Bool, Inexact

from minattn.autograd import OPS, Array, Tensor, op, ops, xp
from minattn.autograd.backend import like, matmul
from minattn.autograd.engine import Result
from minattn.errors import ShapeError

softmax = OPS["softmax"].function  # on raw arrays: (weights, pullback)


def scaled_dot_product_attention(
    q: Inexact[Tensor, "*batch n_q d_k"],
    k: Inexact[Tensor, "*batch n_k d_k"],
    v: Inexact[Tensor, "*batch n_k d_v"],
    mask: Bool[Array, "..."] | None = None,
    causal: bool = False,
    weights: bool = True,
) -> tuple[Inexact[Tensor, "*batch n_q d_v"], Inexact[Tensor, "*batch n_q n_k"] | None]:
    """(context, weights) of (1).

    mask: boolean, broadcastable to (*batch, n_q, n_k), True = may attend.  causal: a query attends to no later key; the
    queries are the last n_q of the n_k positions.  weights=False: (context, None), in less time; and where no gradient
    is wanted, in memory that grows with n_k, not with n_q n_k.

    Raises ShapeError for shapes that do not fit, a mask's among them.
    """
    if weights:
        return attention(q, k, v, mask, causal)
    return attention_context(q, k, v, mask, causal), None


def causal_mask(queries: int, keys: int | None = None) -> Bool[np.ndarray, "queries keys"]:
    """True where a query may look: at the keys that are not later.  The queries are the last of the keys' positions."""
    keys = queries if keys is None else keys
    return np.tri(queries, keys, keys - queries, dtype=bool)


def attention_equation(q: Any, k: Any, v: Any, mask: Any = None, causal: bool = False) -> Any:
    """(1), with everything it goes through in memory."""
    scores = q @ ops.swapaxes(k, -1, -2) / math.sqrt(q.shape[-1])
    weights = ops.softmax(scores, axis=-1, mask=_whole_mask(mask, causal, q, k))
    return weights @ v, weights  # (1)


@op(equation=attention_equation)
def attention(q: Array, k: Array, v: Array, /, mask: Any = None, causal: bool = False) -> Result:
    """Scaled dot-product attention, (1): the context (.., n_q, d_v) and the weights (.., n_q, n_k).

    With S the scores and P the weights:  dV = P^T dC;  dP = dC V^T;  dS by the softmax;  dQ = dS K / sqrt(d_k);
    dK = dS^T Q / sqrt(d_k).
    """
    check_sizes(q, k, v, mask, causal)
    scaled = q * (1 / math.sqrt(q.shape[-1]))
    scores = matmul(scaled, k.swapaxes(-1, -2))
    weights, by_scores = softmax(scores, -1, _whole_mask(mask, causal, q, k))
    context = matmul(weights, v)  # (1)

    def pullback(g_context: Array, g_weights: Array) -> tuple[Array, Array, Array]:
        d_weights = matmul(g_context, v.swapaxes(-1, -2))
        d_weights += g_weights
        d_scores = by_scores(d_weights)
        d_q = matmul(d_scores, k) * (1 / math.sqrt(q.shape[-1]))
        return d_q, matmul(d_scores.swapaxes(-1, -2), scaled), matmul(weights.swapaxes(-1, -2), g_context)

    return (context, weights), pullback


def attention_context_equation(q: Any, k: Any, v: Any, mask: Any = None, causal: bool = False) -> Any:
    """The context of (1) alone."""
    return attention_equation(q, k, v, mask, causal)[0]


@op(equation=attention_context_equation)
def attention_context(q: Array, k: Array, v: Array, /, mask: Any = None, causal: bool = False) -> Result:
    """The context of (1) alone, (.., n_q, d_v)."""
    (context, _), pullback = attention_function(q, k, v, mask, causal)
    return context, lambda g: pullback(g, xp(g).zeros((), g.dtype))


attention_function = OPS["attention"].function


def _whole_mask(mask: Any, causal: bool, q: Any, k: Any) -> Any:
    """The mask and that of `causal` in one, or None."""
    if not causal:
        return mask
    triangle = causal_mask(q.shape[-2], k.shape[-2])
    if mask is None:
        return triangle
    mask = mask._data if isinstance(mask, Tensor) else mask
    return mask & like(triangle, mask)


def check_sizes(q: Array, k: Array, v: Array, mask: Any, causal: bool) -> None:
    """Raise ShapeError unless these fit together."""
    given = f"got q {q.shape}, k {k.shape} and v {v.shape}"
    if min(q.ndim, k.ndim, v.ndim) < 2 or q.shape[-1] != k.shape[-1] or k.shape[-2] != v.shape[-2]:
        raise ShapeError(f"attention: expected q (.., n_q, d_k), k (.., n_k, d_k) and v (.., n_k, d_v); {given}")
    if not q.shape[:-2] == k.shape[:-2] == v.shape[:-2]:
        raise ShapeError(f"attention: q, k and v must have the same leading axes; {given}")
    if causal and q.shape[-2] > k.shape[-2]:
        raise ShapeError(
            f"attention: causal queries are the last of the keys' positions, so there cannot be more of them; {given}"
        )
