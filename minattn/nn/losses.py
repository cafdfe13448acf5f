"""Losses, which training minimizes.

Each has a `reduction`: "mean" over all losses, their "sum", or "none" for one loss each.  Targets are tensors, arrays
or lists, in the shape of the predictions and taken in their dtype.  `ShapeError` is raised for targets that do not fit,
`ConfigError` for another reduction.  `cross_entropy`, of logits and class ids, is a fused op.
"""

from typing import Any

import numpy as np
from jaxtyping import Inexact

from minattn.autograd import Tensor, ops, xp
from minattn.autograd.backend import as_array, like
from minattn.autograd.ops import cross_entropy
from minattn.errors import ConfigError, ShapeError

__all__ = [
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "huber",
    "kl_divergence",
    "mean_absolute_error",
    "mean_squared_error",
    "negative_log_likelihood",
]


def mean_squared_error(
    predictions: Inexact[Tensor, "..."], targets: Any, reduction: str = "mean"
) -> Inexact[Tensor, "..."]:
    """(y - t)^2."""
    targets = _targets("mean_squared_error", predictions, targets)
    return _reduced(ops.square(predictions - targets), reduction)


def mean_absolute_error(
    predictions: Inexact[Tensor, "..."], targets: Any, reduction: str = "mean"
) -> Inexact[Tensor, "..."]:
    """|y - t|, also called the L1 loss.  Its slope at y = t is taken as 0."""
    targets = _targets("mean_absolute_error", predictions, targets)
    return _reduced(ops.abs(predictions - targets), reduction)


def huber(
    predictions: Inexact[Tensor, "..."],
    targets: Any,
    delta: float = 1.0,
    reduction: str = "mean",
) -> Inexact[Tensor, "..."]:
    """r^2 / 2 for r = |y - t| <= delta, and delta (r - delta / 2) beyond: outliers pull with a constant force.

    P. J. Huber, "Robust estimation of a location parameter", Annals of Mathematical Statistics 35, 1964.
    """
    targets = _targets("huber", predictions, targets)
    if delta <= 0:
        raise ConfigError(f"huber: delta must be positive, got {delta}")
    r = ops.abs(predictions - targets)
    near = ops.clip(r, high=delta)
    return _reduced(near * (r - 0.5 * near), reduction)


def binary_cross_entropy_with_logits(
    logits: Inexact[Tensor, "..."], targets: Any, reduction: str = "mean", pos_weight: Any = None
) -> Inexact[Tensor, "..."]:
    """-w t log s(x) - (1 - t) log(1 - s(x)) for the logistic function s and targets t in [0, 1].

    Neither logarithm is taken: -log s(x) = softplus(-x) and -log(1 - s(x)) = softplus(x), which do not overflow.
    pos_weight: w, 1 unless given: a number, or an array that broadcasts to the logits, such as one for each class.
    """
    targets = _targets("binary_cross_entropy_with_logits", logits, targets)
    positive = targets * ops.softplus(-logits)
    if pos_weight is not None:
        positive = positive * _in_dtype_of(logits, pos_weight)
    if positive.shape != logits.shape:
        raise ShapeError(
            f"binary_cross_entropy_with_logits: a pos_weight of shape {np.shape(pos_weight)} does not broadcast to "
            f"logits of shape {logits.shape}; hint: a number, or one for each class"
        )
    return _reduced(positive + (1 - targets) * ops.softplus(logits), reduction)


def negative_log_likelihood(
    log_probabilities: Inexact[Tensor, "*batch classes"],
    targets: Any,
    reduction: str = "mean",
    ignore_index: int | None = None,
    weight: Any = None,
) -> Inexact[Tensor, "..."]:
    """-w_t log p_t for log-probabilities (.., K) and class ids t (..): cross-entropy whose softmax was taken already.

    ignore_index: an id whose positions count for nothing, whatever their log-probabilities.  weight: w, one for each
    class (K), 1 unless given.  The mean is over the sum of the weights of the targets that count.
    Raises IndexError for an id outside [-K, K).
    """
    _check_predictions("negative_log_likelihood", log_probabilities)
    ids = targets if isinstance(targets, Tensor) else Tensor(as_array(targets))
    if ids.shape != log_probabilities.shape[:-1]:
        raise ShapeError(
            f"negative_log_likelihood: log-probabilities of shape {log_probabilities.shape} need ids of shape "
            f"{log_probabilities.shape[:-1]}, got {ids.shape}"
        )
    kept = None if ignore_index is None else ids != ignore_index
    ids = ids if kept is None else ops.where(kept, ids, 0)
    losses = -ops.squeeze(ops.gather(log_probabilities, ops.expand_dims(ids, -1), axis=-1), -1)
    if weight is None and kept is None:
        return _reduced(losses, reduction)
    weights = ops.take(_class_weights(weight, log_probabilities), ids)
    losses = losses * weights
    if kept is not None:
        losses, weights = ops.where(kept, losses, 0.0), ops.where(kept, weights, 0.0)
    if reduction == "mean":
        total = ops.sum(weights)
        return ops.sum(losses) / (total + (total == 0))  # the mean of nothing is 0
    return _reduced(losses, reduction)


def _class_weights(weight: Any, log_probabilities: Tensor) -> Tensor:
    """One weight for each class, 1 unless given."""
    classes = log_probabilities.shape[-1:]
    if weight is None:
        return Tensor(xp(log_probabilities.data).ones(classes, log_probabilities.dtype))
    weight = _in_dtype_of(log_probabilities, weight)
    if weight.shape != classes:
        raise ShapeError(
            f"negative_log_likelihood: weights of shape {weight.shape} do not fit log-probabilities of shape "
            f"{log_probabilities.shape}; hint: one for each class"
        )
    return weight


def _in_dtype_of(x: Tensor, value: Any) -> Tensor:
    """A tensor as it is; numbers, lists and arrays as one in the dtype and on the device of x."""
    return value if isinstance(value, Tensor) else Tensor(like(as_array(value), x.data).astype(x.data.real.dtype))


def kl_divergence(
    log_p: Inexact[Tensor, "*batch classes"], log_q: Any, reduction: str = "mean"
) -> Inexact[Tensor, "..."]:
    """KL(p || q) = sum_k p_k (log p_k - log q_k) over the last axis, of log-probabilities; 0 where p_k = 0.

    One loss for each distribution.  S. Kullback and R. A. Leibler, "On information and sufficiency", Annals of
    Mathematical Statistics 22, 1951.
    """
    log_q = _targets("kl_divergence", log_p, log_q)
    possible = log_p > -float("inf")
    difference = ops.where(possible, log_p, 0.0) - ops.where(possible, log_q, 0.0)
    return _reduced(ops.sum(ops.exp(log_p) * difference, axis=-1), reduction)


def _targets(loss: str, predictions: Tensor, targets: Any) -> Tensor:
    """The targets as a tensor, of the shape of the predictions: (batch,) against (batch, 1) would broadcast to all
    pairs without a word."""
    _check_predictions(loss, predictions)
    targets = targets if isinstance(targets, Tensor) else as_array(targets)
    if tuple(targets.shape) != tuple(predictions.shape):
        raise ShapeError(f"{loss}: predictions of shape {predictions.shape}, targets of shape {targets.shape}")
    return targets if isinstance(targets, Tensor) else Tensor(targets.astype(predictions.dtype))


def _check_predictions(loss: str, predictions: Any) -> None:
    if not isinstance(predictions, Tensor):
        raise TypeError(f"{loss}: the predictions come first, a tensor; got {type(predictions).__name__}")


def _reduced(losses: Tensor, reduction: str) -> Tensor:
    if reduction == "mean":
        return ops.mean(losses)
    if reduction == "sum":
        return ops.sum(losses)
    if reduction == "none":
        return losses
    raise ConfigError(f'reduction must be "mean", "sum" or "none", got {reduction!r}')
