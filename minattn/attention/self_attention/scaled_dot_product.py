"""Scaled dot-product attention, the Transformer's.

A. Vaswani, N. Shazeer, N. Parmar, J. Uszkoreit, L. Jones, A. N. Gomez, L. Kaiser and I. Polosukhin, "Attention is all
you need", NIPS 2017, section 3.2.1:

    Attention(Q, K, V) = softmax(Q K^T / sqrt(d_k)) V                                                       (1)

Q holds n_q queries of size d_k, K and V hold n_k keys of size d_k and values of size d_v; row i of the softmax has the
weights of the values for query i.  In a decoder no position may attend to later ones: their scores are minus infinity
before the softmax (section 3.2.3), here `causal=True`.

Deviations from the paper: none.  Padding, which the paper does not mention, is masked: the softmax runs over the keys
that the mask lets through, and a query with none gives zeros.
"""

import math
from typing import Any

from jaxtyping import Bool, Inexact

from minattn.attention.kernels import scaled_dot_product as kernels
from minattn.autograd import Array, Tensor, op, ops
from minattn.autograd.backend import as_array, like
from minattn.nn.masks import causal_mask
from minattn.published import Mechanism, Paper


def attention_equation(q: Any, k: Any, v: Any, mask: Any = None, causal: bool = False) -> Any:
    """(1) in primitive ops: the context and the weights."""
    seen = kernels.seen_keys(kernels.checked_mask(mask, q, k))
    if seen is not None:  # what is hidden from every query may be NaN
        k, v = ops.where(seen, k, 0.0), ops.where(seen, v, 0.0)
    scores = q @ ops.swapaxes(k, -1, -2) / math.sqrt(q.shape[-1])
    weights = ops.softmax(scores, axis=-1, mask=whole_mask(mask, causal, q, k))
    return weights @ v, weights  # (1)


def attention_context_equation(q: Any, k: Any, v: Any, mask: Any = None, causal: bool = False) -> Any:
    """The context of (1) alone."""
    return attention_equation(q, k, v, mask, causal)[0]


attention = op(kernels.attention, equation=attention_equation)
attention_context = op(kernels.attention_context, equation=attention_context_equation)


def scaled_dot_product_attention(
    q: Inexact[Tensor, "*batch n_q d_k"],
    k: Inexact[Tensor, "*batch n_k d_k"],
    v: Inexact[Tensor, "*batch n_k d_v"],
    mask: Bool[Array, "..."] | None = None,
    causal: bool = False,
    need_weights: bool = True,
) -> tuple[Inexact[Tensor, "*batch n_q d_v"], Inexact[Tensor, "*batch n_q n_k"] | None]:
    """Return (context, weights) of (1).

    mask: boolean, broadcastable to (*batch, n_q, n_k), True = may attend.  causal: no query attends to a later key; the
    queries are the last n_q of the n_k positions.  need_weights=False: (context, None), in less time; and under
    `no_grad()` in memory that grows with n_q and n_k, not with their product.

    Raises ShapeError for shapes that do not fit, a mask's among them.  `modified_attention` has what (1) has not: a
    bias of the scores, another scale, a soft cap, and fewer heads of keys than of queries.
    """
    if need_weights:
        return attention(q, k, v, mask, causal)
    return attention_context(q, k, v, mask, causal), None


def whole_mask(mask: Any, causal: bool, q: Any, k: Any) -> Any:
    """The mask and the causal one in one, or None."""
    if not causal:
        return mask
    triangle = causal_mask(q.shape[-2], k.shape[-2])
    return triangle if mask is None else as_array(mask) & like(triangle, as_array(mask))


VASWANI = Paper("Vaswani et al.", 2017, "Attention is all you need")

MECHANISM = Mechanism(
    name="scaled dot-product attention",
    paper=VASWANI,
    equation=("(1) Attention(Q, K, V) = softmax(Q K' / sqrt(d_k)) V; causal: later keys have the score -infinity"),
    code="scaled_dot_product_attention",
    model="minattn.models.Transformer",
    command="minattn train g2p --model transformer",
)
