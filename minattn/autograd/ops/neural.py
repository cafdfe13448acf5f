"""Fused ops of neural networks: softmax, embedding, dropout.

Each stands beside its equation, the same thing composed of primitive ops, which the tests hold it to in value and
in every gradient.  Masks are boolean, True = may attend; where nothing may be attended to, the result is 0 and so
is the gradient.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from minattn.autograd import backend
from minattn.autograd.axes import check_axis
from minattn.autograd.backend import Array, add_rows, as_array, as_index, dots, sums, xp
from minattn.autograd.blocks import NEW, over_rows
from minattn.autograd.engine import Result, op
from minattn.autograd.masks import check_mask
from minattn.autograd.ops.elementwise import exp, log, where
from minattn.autograd.ops.reductions import sum
from minattn.errors import ConfigError, ShapeError


# ---------------------------------------------------------------------------------------------- softmax
def softmax_equation(x: Any, axis: int = -1, mask: Any = None) -> Any:
    """p_i = exp(x_i) / sum_k exp(x_k), the sum over the k that the mask lets through."""
    shifted = x - _largest(x, axis, mask)
    e = exp(shifted) if mask is None else where(mask, exp(where(mask, shifted, 0.0)), 0.0)
    total = sum(e, axis, keepdims=True)
    p = e / (total + (total == 0))
    return p if mask is None else where(mask, p, 0.0)


@op(equation=softmax_equation)
def softmax(x: Array, /, axis: int = -1, mask: Any = None) -> Result:
    """p = exp(x) / sum exp(x) along `axis`, over the elements where `mask` (boolean, broadcastable) is True.

    dx = p (g - <g, p>).  A row without a single True gives zeros, and a zero gradient.
    """
    over, axis = _over(x, axis)
    if not x.size:
        return xp(x).exp(x), lambda g: g
    masked = mask is not None

    def forward(x: Array, p: Array | None = None) -> Array:
        p, total = _exponentials(x, axis, masked, p)
        p /= total
        return p

    def backward(g: Array, p: Array, dx: Array | None = None) -> Array:
        dx = xp(g).subtract(g, dots(g, p, axis), dx)
        dx *= p
        return dx

    if not masked:
        p = over(forward, x, into=[NEW])
        return p, lambda g: over(backward, g, p, into=[NEW])
    module, attend = xp(x), check_mask(mask, x, x.shape)
    p = over(forward, module.where(attend, x, -np.inf), into=[NEW])
    return p, lambda g: over(backward, module.where(attend, g, 0.0), p, into=[NEW])


def log_softmax_equation(x: Any, axis: int = -1, mask: Any = None) -> Any:
    """log p_i = x_i - log sum_k exp(x_k); 0 where the mask is False."""
    shifted = x - _largest(x, axis, mask)
    if mask is None:
        return shifted - log(sum(exp(shifted), axis, keepdims=True))
    shifted = where(mask, shifted, 0.0)
    total = sum(where(mask, exp(shifted), 0.0), axis, keepdims=True)
    return where(mask, shifted - log(total + (total == 0)), 0.0)


@op(equation=log_softmax_equation)
def log_softmax(x: Array, /, axis: int = -1, mask: Any = None) -> Result:
    """log softmax along `axis`; elements where `mask` is False count for nothing and give 0.

    dx = g - p <g, 1>.
    """
    over, axis = _over(x, axis)
    if not x.size:
        return xp(x).exp(x), lambda g: g
    module, masked = xp(x), mask is not None

    def forward(x: Array, y: Array | None = None, p: Array | None = None) -> tuple[Array, Array]:
        peak = _peak(x, axis, masked)
        p, total = _shifted_exponentials(x, peak, axis, masked, p)
        p /= total
        return module.subtract(x, peak + module.log(total), y), p

    def backward(g: Array, p: Array, dx: Array | None = None) -> Array:
        dx = module.multiply(p, -sums(g, axis), dx)
        dx += g
        return dx

    if not masked:
        y, p = over(forward, x, into=[NEW, NEW])
        return y, lambda g: over(backward, g, p, into=[p])
    attend = check_mask(mask, x, x.shape)
    y, p = over(forward, module.where(attend, x, -np.inf), into=[NEW, NEW])
    return module.where(attend, y, 0.0), lambda g: over(backward, module.where(attend, g, 0.0), p, into=[p])


def _over(x: Array, axis: int) -> tuple[Callable[..., Any], int]:
    """The runner of a body that works along `axis`, in blocks of rows or at once, and the axis that it sees."""
    axis = check_axis(axis, x.ndim)
    return (over_rows, -1) if axis == x.ndim - 1 else (_whole, axis)


def _whole(body: Callable[..., Any], *arrays: Array, into: Any) -> Any:
    return body(*arrays)


def _exponentials(x: Array, axis: int, masked: bool, out: Array | None) -> tuple[Array, Array]:
    """exp(x - shift) and its sums over `axis`; the shift cancels in their quotient."""
    return shared_exponentials(x, axis, out) or row_exponentials(x, axis, masked, out)


def shared_exponentials(x: Array, axis: int = -1, out: Array | None = None) -> tuple[Array, Array] | None:
    """exp(x - shift) and its sums over `axis`, the shift being the largest number of all rows; None where that will not
    do.

    On the host one number is found and subtracted several times faster than one for each row, and a small one need not
    be subtracted at all.  Where a row lies so far below it that its sum gets small, the rows need their own.
    """
    if type(x) is np.ndarray and x.dtype.kind == "f" and x.ndim > 1:
        largest = x.max(initial=-np.inf)
        if largest > -np.inf:
            e = np.exp(x, out) if largest < SMALL else np.exp(shifted := np.subtract(x, largest, out), shifted)
            total = sums(e, axis)
            if total.min() > 1e-8:
                return e, total
    return None


SMALL = 8
"""Exponents below this are not shifted: their exponentials, of 3,000 at most, are far from overflowing."""


def row_exponentials(x: Array, axis: int = -1, masked: bool = False, out: Array | None = None) -> tuple[Array, Array]:
    """exp(x - shift) and its sums over `axis`, the shift being the largest number of each row.

    masked: some rows may have -inf alone; they get the sum 1, by which their zeros can be divided.
    """
    return _shifted_exponentials(x, _peak(x, axis, masked), axis, masked, out)


def _shifted_exponentials(x: Array, shift: Array, axis: int, masked: bool, out: Array | None) -> tuple[Array, Array]:
    e = _exp(xp(x).subtract(x, shift, out))
    total = sums(e, axis)
    return e, total + (total == 0) if masked else total


def _exp(x: Array) -> Array:
    """exp(x), written over x where that can hold it."""
    return xp(x).exp(x, x if x.dtype.kind in "fc" else None)


def _peak(x: Array, axis: int, masked: bool) -> Array:
    """The largest number along `axis`; 0 where nothing is left by a mask."""
    peak = x.real.max(axis, keepdims=True)
    return xp(x).where(peak == -np.inf, 0.0, peak) if masked else peak


def _largest(x: Any, axis: int, mask: Any) -> Any:
    """The largest element that the mask lets through, a constant: subtracting it changes nothing but overflow."""
    module = xp(x._data)
    values = x._data.real
    if mask is not None:
        values = module.where(check_mask(mask, x._data, x.shape), values, -np.inf)
    peak = values.max(axis, keepdims=True)
    return module.where(peak == -np.inf, module.zeros((), peak.dtype), peak)


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
    if weight.ndim != 2:
        raise ShapeError(f"a weight {weight.shape} has no rows to choose from; hint: (entries, size)")
    count, d = weight.shape
    ids = as_index(as_array(ids), weight, count, from_end=False)
    return weight.take(ids, 0), lambda g: add_rows(g.reshape(-1, d), ids.reshape(-1), count)


@op
def dropout(x: Array, /, rate: float, rng: np.random.Generator) -> Result:
    """x with each element set to 0 with probability `rate` and the others divided by 1 - rate.

    The choice is drawn on the host from `rng` (numpy.random.Generator), so that all devices draw the same.
    Srivastava et al. 2014.
    """
    if not 0 <= rate < 1:
        raise ConfigError(f"the dropout rate must be in [0, 1), got {rate}")
    if not isinstance(rng, np.random.Generator):
        raise TypeError(
            f"rng must be a numpy.random.Generator, got {type(rng).__name__}; hint: np.random.default_rng(0)"
        )
    if x.dtype.kind not in "fc":
        raise TypeError(f"dropout is for floating-point numbers, got {x.dtype}; hint: astype(x, numpy.float32)")
    scale = np.asarray(rng.random(x.shape, np.float32) >= rate, x.real.dtype)
    scale /= 1 - rate
    scale = backend.like(scale, x)
    return x * scale, lambda g: g * scale
