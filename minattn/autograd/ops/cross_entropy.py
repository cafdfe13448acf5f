"""Cross-entropy of logits with class ids, or with distributions over the classes, as one fused op.

    L_i = -sum_k q_ik log p_ik    with p = softmax(logits) and the target distribution q

Of a class id q is one-hot.  Label smoothing spreads a share eps over all K classes, (1 - eps) q + eps / K, and weights
of the classes multiply what that gives.
"""

from typing import Any

import numpy as np

from minattn.autograd.backend import Array, as_array, as_index, like, sums, xp
from minattn.autograd.blocks import NEW, over_rows
from minattn.autograd.engine import Result, op
from minattn.autograd.ops.elementwise import where
from minattn.autograd.ops.indexing import one_hot
from minattn.autograd.ops.neural import log_softmax_equation
from minattn.autograd.ops.reductions import sum
from minattn.errors import ConfigError, ShapeError


def cross_entropy_equation(
    logits: Any,
    targets: Any,
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
    weight: Any = None,
) -> Any:
    """L_i = -sum_k q_ik log p_ik, the mean over the sum of the targets' weights."""
    q, classes, per_class = as_array(targets), logits.shape[-1], _per_class(weight, logits.data)
    if q.shape == logits.shape:
        q = like(q, logits.data)
        counted = of_target = xp(q).ones(logits.shape[:-1], _dtype(logits.data))
    else:
        counted, ids = _counted(q, ignore_index, classes, logits.data)
        if ignore_index is not None:
            logits = where(counted[..., None] == 0, 0.0, logits)
        q = one_hot(ids, classes, _dtype(logits.data)).data
        of_target = counted if per_class is None else counted * per_class[ids]
    q = ((1 - label_smoothing) * q + label_smoothing / classes) * (1.0 if per_class is None else per_class)
    q = q * counted[..., None]
    losses = -sum(q * where(q == 0, 0.0, log_softmax_equation(logits)), -1)  # 0 log 0 is 0
    return losses if reduction == "none" else sum(losses) / _divisor(of_target, reduction)


@op(equation=cross_entropy_equation)
def cross_entropy(
    logits: Array,
    /,
    targets: Any,
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
    weight: Any = None,
) -> Result:
    """The negative log-likelihood of `targets` under softmax(logits), logits of shape (.., K).

    targets: class ids (..), or distributions over the classes (.., K), which need not add up to 1.
    ignore_index: an id whose positions count for nothing, whatever their logits.  label_smoothing: eps of Szegedy et
    al. 2016, the share of the target distribution that is spread over all K classes.  weight: one for each class (K).
    reduction: "mean" over the sum of the weights of the targets that count (over their number, for distributions),
    "sum", or "none": one loss for each target, 0 where ignored.

    dlogits = p sum_k q_k - q.  Raises ShapeError for shapes that do not fit, IndexError for an id outside [0, K),
    ConfigError for settings that cannot be.
    """
    if reduction not in ("mean", "sum", "none"):
        raise ConfigError(f'reduction must be "mean", "sum" or "none", got {reduction!r}')
    if not 0 <= label_smoothing <= 1:
        raise ConfigError(f"label_smoothing must be in [0, 1], got {label_smoothing}")
    targets, per_class = as_array(targets), _per_class(weight, logits)
    if targets.shape == logits.shape and logits.ndim:
        if ignore_index is not None:
            raise ConfigError("ignore_index is for class ids, not for distributions; hint: rows of zeros count nothing")
        return _of_distributions(logits, like(targets, logits), label_smoothing, reduction, per_class)
    if tuple(targets.shape) != logits.shape[:-1]:
        raise ShapeError(
            f"targets of shape {targets.shape} do not fit logits of shape {logits.shape}; hint: ids (..) or "
            "distributions (.., K) for logits (.., K)"
        )
    counted, ids = _counted(targets, ignore_index, logits.shape[-1], logits)
    return _of_ids(logits, ids, counted, ignore_index is not None, label_smoothing, reduction, per_class)


def _of_ids(
    logits: Array, ids: Array, counted: Array, some_ignored: bool, eps: float, reduction: str, per_class: Array | None
) -> Result:
    module, classes, shape = xp(logits), logits.shape[-1], ids.shape
    of_target = counted if per_class is None else counted * per_class[ids]
    divisor = _divisor(of_target, reduction)
    ids, counted, of_target = (a.reshape(-1, 1) for a in (ids, counted, of_target))
    spread = eps / classes if per_class is None else per_class * (eps / classes)  # of every class
    mass = (1 - eps) * of_target + counted * (eps if per_class is None else spread.sum())

    def forward(
        z: Array, ids: Array, of_target: Array, counted: Array, mass: Array, e: Array | None = None
    ) -> tuple[Array, Array, Array]:
        z = module.where(counted == 0, 0, z) if some_ignored else z  # 0 times what is not finite would not be 0
        e = module.subtract(z, z.real.max(-1, keepdims=True), e)
        losses = (eps - 1) * e[module.arange(len(ids))[:, None], ids] * of_target
        if eps:
            losses -= counted * (spread * sums(e) if per_class is None else sums(spread * e))
        e = _exp(e)
        total = sums(e)
        losses += module.log(total) * mass
        return e, total, losses

    def backward(
        e: Array, total: Array, ids: Array, of_target: Array, counted: Array, mass: Array, d: Array | None = None
    ) -> Array:
        d = module.multiply(e, mass / total, d)
        if eps:
            d -= spread * counted
        d[module.arange(len(ids))[:, None], ids] -= (1 - eps) * of_target
        return d

    def pullback(g: Array) -> Array:
        scale = g.reshape(-1, 1) / divisor
        rows = of_target * scale, counted * scale, mass * scale
        return over_rows(backward, e, total, ids, *rows, into=[e]).reshape(logits.shape)

    z = logits.reshape(len(ids), classes)
    e, total, losses = over_rows(forward, z, ids, of_target, counted, mass, into=[NEW])
    return losses.reshape(shape) if reduction == "none" else losses.sum() / divisor, pullback


def _of_distributions(logits: Array, q: Array, eps: float, reduction: str, per_class: Array | None) -> Result:
    module, classes, shape = xp(logits), logits.shape[-1], logits.shape[:-1]
    rows = q.size // max(classes, 1)
    z, q = logits.reshape(rows, classes), q.reshape(rows, classes).astype(_dtype(logits))
    q = (1 - eps) * q + eps / classes if eps else q
    q = q if per_class is None else q * per_class
    divisor = max(rows, 1) if reduction == "mean" else 1

    def forward(z: Array, q: Array, e: Array | None = None) -> tuple[Array, Array, Array, Array]:
        e = module.subtract(z, z.real.max(-1, keepdims=True), e)
        mass = sums(q)
        losses = -sums(q * module.where(q == 0, 0, e))  # a class that cannot be and is no target counts nothing
        e = _exp(e)
        total = sums(e)
        losses += module.log(total) * mass
        return e, total, mass, losses

    def backward(e: Array, total: Array, q: Array, mass: Array, scale: Array, d: Array | None = None) -> Array:
        d = module.multiply(e, mass / total, d)
        d -= q
        d *= scale
        return d

    def pullback(g: Array) -> Array:
        scale = module.broadcast_to(g.reshape(-1, 1) / divisor, (rows, 1))
        return over_rows(backward, e, total, q, mass, scale, into=[e]).reshape(logits.shape)

    e, total, mass, losses = over_rows(forward, z, q, into=[NEW])
    return losses.reshape(shape) if reduction == "none" else losses.sum() / divisor, pullback


def _counted(targets: Any, ignore_index: int | None, classes: int, like: Array) -> tuple[Array, Array]:
    """A mask of the targets that count (1 or 0, in the logits' dtype), and the ids, with 0 for the ignored ones."""
    if ignore_index is not None:
        kept = targets != ignore_index
        ids = as_index(targets * kept, like, classes, from_end=False)
        kept = kept if xp(kept) is xp(like) else xp(like).asarray(kept)
    else:
        ids = as_index(targets, like, classes, from_end=False)
        kept = xp(like).ones(ids.shape, bool)
    return kept.astype(_dtype(like)), ids


def _per_class(weight: Any, logits: Array) -> Array | None:
    """The weights of the classes in the logits' dtype, on their device; None where all are 1."""
    if weight is None:
        return None
    weight = like(as_array(weight), logits).astype(_dtype(logits), copy=False)
    if weight.shape != logits.shape[-1:]:
        raise ShapeError(
            f"weights of shape {weight.shape} do not fit logits of shape {logits.shape}; hint: one for each class, (K)"
        )
    return weight


def _divisor(of_target: Array, reduction: str) -> Any:
    """The sum of the targets' weights, or 1 where there is none."""
    if reduction != "mean":
        return 1.0
    total = of_target.sum()
    return total + (total == 0)


def _dtype(logits: Array) -> Any:
    """The real dtype of the losses."""
    return logits.real.dtype if logits.dtype.kind in "fc" else np.float64


def _exp(x: Array) -> Array:
    """exp(x), written over x where that can hold it."""
    return xp(x).exp(x, x if x.dtype.kind in "fc" else None)
