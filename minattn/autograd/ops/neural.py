"""Fused ops of neural networks: softmax, cross-entropy, layer norm, embedding, dropout.

Each stands beside its equation, the same thing composed of primitive ops, which the tests hold it to in value and
in every gradient.  Masks are boolean, True = may attend; where nothing may be attended to, the result is 0 and so
is the gradient.
"""

from typing import Any

import numpy as np

from minattn.autograd import backend
from minattn.autograd.backend import Array, add_rows, as_index, xp
from minattn.autograd.engine import Result, op
from minattn.autograd.ops.elementwise import exp, log, sqrt, where
from minattn.autograd.ops.indexing import gather, raw_ids
from minattn.autograd.ops.products import column_sums
from minattn.autograd.ops.reductions import mean, sum


# ---------------------------------------------------------------------------------------------- softmax
def softmax_equation(x: Any, axis: int = -1, mask: Any = None) -> Any:
    """p_i = exp(x_i) / sum_k exp(x_k), the sum over the k that the mask lets through."""
    e = exp(x - _largest(x, axis, mask))
    if mask is not None:
        e = where(mask, e, 0.0)
    total = sum(e, axis, keepdims=True)
    return e / (total + (total == 0))


@op(equation=softmax_equation)
def softmax(x: Array, /, axis: int = -1, mask: Any = None) -> Result:
    """p = exp(x) / sum exp(x) along `axis`, over the elements where `mask` (boolean, broadcastable) is True.

    dx = p (g - <g, p>).  A row without a single True gives zeros, and a zero gradient.
    """
    module = xp(x)
    if mask is None:
        p = module.exp(x - x.real.max(axis, keepdims=True))
    else:
        masked = module.where(_attend(mask, x), x, -np.inf)
        peak = masked.real.max(axis, keepdims=True)
        p = module.exp(masked - module.where(peak == -np.inf, module.zeros((), peak.dtype), peak))
    total = p.sum(axis, keepdims=True)
    p /= total if mask is None else total + (total == 0)

    def pullback(g: Array) -> Array:
        gp = g * p
        return gp - p * gp.sum(axis, keepdims=True)

    return p, pullback


def log_softmax_equation(x: Any, axis: int = -1, mask: Any = None) -> Any:
    """log p_i = x_i - log sum_k exp(x_k); 0 where the mask is False."""
    shifted = x - _largest(x, axis, mask)
    if mask is None:
        return shifted - log(sum(exp(shifted), axis, keepdims=True))
    total = sum(where(mask, exp(shifted), 0.0), axis, keepdims=True)
    return where(mask, shifted - log(total + (total == 0)), 0.0)


@op(equation=log_softmax_equation)
def log_softmax(x: Array, /, axis: int = -1, mask: Any = None) -> Result:
    """log softmax along `axis`; elements where `mask` is False count for nothing and give 0.

    dx = g - p <g, 1>.
    """
    module = xp(x)
    attend = None if mask is None else module.broadcast_to(_attend(mask, x), x.shape)
    masked = x if attend is None else module.where(attend, x, -np.inf)
    peak = masked.real.max(axis, keepdims=True)
    peak = peak if attend is None else module.where(peak == -np.inf, module.zeros((), peak.dtype), peak)
    e = module.exp(masked - peak)
    total = e.sum(axis, keepdims=True)
    total = total if attend is None else total + (total == 0)
    p = e / total
    y = x - (peak + module.log(total))
    y = y if attend is None else module.where(attend, y, module.zeros((), y.dtype))

    def pullback(g: Array) -> Array:
        g = g if attend is None else g * attend
        return g - p * g.sum(axis, keepdims=True)

    return y, pullback


def _attend(mask: Any, x: Array) -> Array:
    """The mask as a boolean array on x's device, checked to broadcast to x's shape."""
    mask = backend.as_mask(getattr(mask, "_data", mask), x, "a mask (True = may attend)")
    if not _broadcasts(mask.shape, x.shape):
        raise ValueError(f"a mask of shape {mask.shape} does not broadcast to {x.shape}")
    return mask


def _broadcasts(shape: tuple[int, ...], to: tuple[int, ...]) -> bool:
    pairs = zip(shape[::-1], to[::-1], strict=False)
    return len(shape) <= len(to) and all(n in (1, m) for n, m in pairs)


def _largest(x: Any, axis: int, mask: Any) -> Any:
    """The largest element that the mask lets through, a constant: subtracting it changes nothing but overflow."""
    module = xp(x._data)
    values = x._data.real
    if mask is not None:
        values = module.where(_attend(mask, x._data), values, -np.inf)
    peak = values.max(axis, keepdims=True)
    return module.where(peak == -np.inf, module.zeros((), peak.dtype), peak)


# ---------------------------------------------------------------------------------------------- cross-entropy
def cross_entropy_equation(
    logits: Any,
    targets: Any,
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
) -> Any:
    """L_i = -sum_k q_ik log p_ik with q = (1 - eps) onehot(target) + eps / K, over the targets not ignored."""
    targets = raw_ids(targets)
    counted, ids = _counted(targets, ignore_index, logits.shape[-1], logits._data)
    log_p = log_softmax_equation(logits)
    of_target = gather(log_p, ids[..., None])[..., 0]
    losses = -((1 - label_smoothing) * of_target + label_smoothing * mean(log_p, -1)) * counted
    return losses if reduction == "none" else sum(losses) / _divisor(counted, reduction)


@op(equation=cross_entropy_equation)
def cross_entropy(
    logits: Array,
    /,
    targets: Any,
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
) -> Result:
    """The negative log-likelihood of `targets` (ids, shape (..)) under softmax(logits), logits of shape (.., K).

    ignore_index: an id whose positions count for nothing.  label_smoothing: eps of Szegedy et al. 2016, the share
    of the target distribution that is spread over all K classes.  reduction: "mean" over the counted targets,
    "sum", or "none" (one loss for each target, 0 where ignored).
    dlogits = p - q.
    """
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f'reduction must be "mean", "sum" or "none", got {reduction!r}')
    targets = raw_ids(targets)
    if tuple(targets.shape) != logits.shape[:-1]:
        raise ValueError(f"targets of shape {targets.shape} do not fit logits of shape {logits.shape}")
    module, classes, eps = xp(logits), logits.shape[-1], label_smoothing
    counted, ids = _counted(targets, ignore_index, classes, logits)
    counted, ids = counted.reshape(-1), ids.reshape(-1)
    rows = module.arange(ids.shape[0])
    z = logits.reshape(ids.shape[0], classes)
    z = z - z.real.max(-1, keepdims=True)
    e = module.exp(z)
    total = e.sum(-1, keepdims=True)
    log_total = module.log(total)[:, 0]
    losses = (log_total - (1 - eps) * z[rows, ids] - (eps / classes) * z.sum(-1)) * counted
    divisor = _divisor(counted, reduction)

    def pullback(g: Array) -> Array:
        weight = counted * (g.reshape(-1) / divisor)
        d = e * (weight[:, None] / total)
        d -= (eps / classes) * weight[:, None]
        d[rows, ids] -= (1 - eps) * weight
        return d.reshape(logits.shape)

    return losses.reshape(targets.shape) if reduction == "none" else losses.sum() / divisor, pullback


def _counted(targets: Any, ignore_index: int | None, classes: int, like: Array) -> tuple[Array, Array]:
    """Which targets count (1 or 0, in the dtype of the logits), and the ids with the ignored ones replaced by 0."""
    if ignore_index is not None:
        kept = targets != ignore_index
        ids = as_index(targets * kept, like, classes, "cross_entropy", from_end=False)
        kept = kept if xp(kept) is xp(like) else xp(like).asarray(kept)
    else:
        ids = as_index(targets, like, classes, "cross_entropy", from_end=False)
        kept = xp(like).ones(ids.shape, bool)
    return kept.astype(like.real.dtype), ids


def _divisor(counted: Array, reduction: str) -> Any:
    return xp(counted).maximum(counted.sum(), 1) if reduction == "mean" else 1.0


# ---------------------------------------------------------------------------------------------- layer norm
def layer_norm_equation(x: Any, weight: Any, bias: Any, eps: float = 1e-5) -> Any:
    """y = w (x - mean) / sqrt(var + eps) + b, mean and variance over the last axis.  Ba et al. 2016, eq. 4."""
    deviation = x - mean(x, -1, keepdims=True)
    return deviation / sqrt(mean(deviation * deviation, -1, keepdims=True) + eps) * weight + bias


@op(equation=layer_norm_equation)
def layer_norm(x: Array, weight: Array, bias: Array, /, eps: float = 1e-5) -> Result:
    """Layer normalisation over the last axis:  x (.., d), weight (d), bias (d).  Ba et al. 2016, eq. 4."""
    deviation = x - x.mean(-1, keepdims=True)
    inverse = 1 / xp(x).sqrt((deviation * deviation).mean(-1, keepdims=True) + eps)
    normal = deviation * inverse
    d = x.shape[-1]

    def d_input(g: Array) -> Array:
        gw = g * weight
        return (gw - gw.mean(-1, keepdims=True) - normal * (gw * normal).mean(-1, keepdims=True)) * inverse

    def d_weight(g: Array) -> Array:
        return column_sums((g * normal).reshape(-1, d))

    def d_bias(g: Array) -> Array:
        return column_sums(g.reshape(-1, d))

    return normal * weight + bias, (d_input, d_weight, d_bias)


# ---------------------------------------------------------------------------------------------- embedding, dropout
def embedding_equation(weight: Any, ids: Any) -> Any:
    """y_i = W[id_i], that is one_hot(ids) W."""
    from minattn.autograd.ops.indexing import one_hot

    return one_hot(ids, weight.shape[0], weight.dtype) @ weight


@op(equation=embedding_equation)
def embedding(weight: Array, /, ids: Any) -> Result:
    """The rows of `weight` (K, d) with the integer `ids` (any shape): (.., d).

    The gradient adds the rows of g that share an id.  Raises IndexError for an id outside [0, K).
    """
    count, d = weight.shape
    ids = as_index(raw_ids(ids), weight, count, "embedding", from_end=False)
    return weight.take(ids, 0), lambda g: add_rows(g.reshape(-1, d), ids.reshape(-1), count)


@op
def dropout(x: Array, /, rate: float, rng: np.random.Generator) -> Result:
    """x with each element set to 0 with probability `rate` and the others divided by 1 - rate.

    The choice is drawn on the host from `rng` (numpy.random.Generator), so that all devices draw the same.
    Srivastava et al. 2014.
    """
    if not 0 <= rate < 1:
        raise ValueError(f"the dropout rate must be in [0, 1), got {rate}")
    scale = (rng.random(x.shape, np.float32) >= rate).astype(x.real.dtype)
    scale /= 1 - rate
    scale = backend.like(scale, x)
    return x * scale, lambda g: g * scale
