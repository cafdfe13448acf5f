"""Scaled dot-product attention as later models have it: other scores, and keys that several heads share.

The scores Q K^T / sqrt(d_k) of Vaswani et al. 2017, (1), become, in this order,

    T = s Q K^T                  a scale s of one's own in place of 1 / sqrt(d_k)                               (a)
    S = c tanh(T / c)            a soft cap c: no score is further from 0, and small ones stay as they are      (b)
    S + B                        a bias of every query and key, learned or fixed, such as one of their distance (c)

and the softmax runs over what the mask lets through, as in (1).  With grouped queries there are fewer heads of keys and
values than of queries: with r times as many of the latter, heads 0 to r - 1 of the queries attend to head 0 of the
keys, and so on; one head of keys for all is multi-query attention.

(b) Gemma Team, "Gemma 2: Improving open language models at a practical size", 2024, section 2.
(c) C. Raffel et al., "Exploring the limits of transfer learning with a unified text-to-text transformer", JMLR 21,
2020, section 2.1, learns a bias of the distance; O. Press, N. A. Smith and M. Lewis, "Train short, test long: attention
with linear biases enables input length extrapolation", ICLR 2022, section 3, has a fixed one.
N. Shazeer, "Fast Transformer decoding: one write-head is all you need", 2019: multi-query attention; J. Ainslie et al.,
"GQA: Training generalized multi-query Transformer models from multi-head checkpoints", EMNLP 2023: groups.

Deviations from the papers: none.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Bool, Inexact

from minattn.attention.kernels import scaled_dot_product as kernels
from minattn.attention.self_attention.scaled_dot_product import whole_mask
from minattn.autograd import Array, Tensor, op, ops
from minattn.errors import ShapeError


def modified_attention_weights_equation(
    q: Any,
    k: Any,
    v: Any,
    bias: Any = None,
    mask: Any = None,
    causal: bool = False,
    scale: float | None = None,
    soft_cap: float | None = None,
) -> Any:
    """The context and the weights in primitive ops."""
    scores = q @ ops.swapaxes(k, -1, -2) * (1 / math.sqrt(q.shape[-1]) if scale is None else scale)  # (a)
    if soft_cap is not None:
        scores = soft_cap * ops.tanh(scores / soft_cap)  # (b)
    if bias is not None:
        scores = scores + bias  # (c)
    weights = ops.softmax(scores, axis=-1, mask=whole_mask(mask, causal, q, k))
    return weights @ v, weights


def modified_attention_context_equation(*arguments: Any, **parameters: Any) -> Any:
    """The context alone."""
    return modified_attention_weights_equation(*arguments, **parameters)[0]


modified_attention_weights = op(kernels.modified_attention_weights, equation=modified_attention_weights_equation)
modified_attention_context = op(kernels.modified_attention_context, equation=modified_attention_context_equation)


def modified_attention(
    q: Inexact[Tensor, "*batch n_q d_k"],
    k: Inexact[Tensor, "*memory n_k d_k"],
    v: Inexact[Tensor, "*memory n_k d_v"],
    mask: Bool[Array, "..."] | None = None,
    causal: bool = False,
    need_weights: bool = True,
    *,
    bias: Any = None,
    scale: float | None = None,
    soft_cap: float | None = None,
) -> tuple[Inexact[Tensor, "*batch n_q d_v"], Inexact[Tensor, "*batch n_q n_k"] | None]:
    """Return (context, weights) of attention with the scores (a) to (c).

    k and v may have fewer heads, the third axis from the end, than q: then they are those of groups of queries.
    mask, causal, need_weights: as in `scaled_dot_product_attention`.
    bias: B, a tensor, an array or lists, broadcastable to (*batch, n_q, n_k); a mask of 0 and -infinity may be one, and
    a query that it lets attend to nothing gives zeros.  scale: s, 1 / sqrt(d_k) unless given.  soft_cap: c, or None.

    Raises ShapeError for shapes that do not fit, ConfigError for a soft_cap that is not positive.
    """
    run = modified_attention_weights if need_weights else modified_attention_context
    results = _by_groups(run, q, k, v, bias, mask, causal=causal, scale=scale, soft_cap=soft_cap)
    return results if need_weights else (results, None)


# ---------------------------------------------------------------------------------------------- grouped queries
def _by_groups(
    run: Callable[..., Any], q: Tensor, k: Tensor, v: Tensor, bias: Any, mask: Any, **parameters: Any
) -> Any:
    """`run`, where the heads of a group of queries have an axis of their own, along which its keys are the same."""
    if q.ndim < 3 or k.ndim < 3 or q.shape[-3] == k.shape[-3]:
        return run(q, k, v, bias, mask, **parameters)
    *lead, heads, n_q, d_k = q.shape
    groups = k.shape[-3]
    if groups < 1 or heads % groups:
        raise ShapeError(
            f"{heads} heads of queries make no groups for {groups} heads of keys; got q {q.shape} and k {k.shape}; "
            "hint: a number of heads of keys that divides that of queries"
        )
    size = heads // groups

    def of_groups(x: Any) -> Any:
        """A mask or a bias (.., heads, n_q, n_k) as (.., groups, heads of a group, n_q, n_k), or 1 for both."""
        shape = np.shape(x)
        if x is None or len(shape) < 3:
            return x
        apart = (1, 1) if shape[-3] == 1 else (groups, size)
        return ops.reshape(x, (*shape[:-3], *apart, *shape[-2:]))

    def for_every_head(x: Tensor) -> Tensor:
        return ops.broadcast_to(ops.expand_dims(x, -3), (*x.shape[:-2], size, *x.shape[-2:]))

    q = ops.reshape(q, (*lead, groups, size, n_q, d_k))
    results = run(q, for_every_head(k), for_every_head(v), of_groups(bias), of_groups(mask), **parameters)
    if isinstance(results, tuple):
        return tuple(ops.reshape(y, (*lead, heads, *y.shape[-2:])) for y in results)
    return ops.reshape(results, (*lead, heads, *results.shape[-2:]))
