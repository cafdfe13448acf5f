"""Reductions over any axes: `axis` is None (all), an int or a tuple of ints."""

import math
from typing import Any

import numpy as np

from minattn.autograd.backend import Array, Axes, xp
from minattn.autograd.engine import Result, op
from minattn.autograd.ops.elementwise import sqrt


@op
def sum(x: Array, /, axis: Axes | None = None, keepdims: bool = False) -> Result:
    """The sum over `axis`."""
    kept = kept_shape(x, axis)
    return _sum(x, axis, keepdims), lambda g: xp(g).broadcast_to(g.reshape(kept), x.shape)


@op
def mean(x: Array, /, axis: Axes | None = None, keepdims: bool = False) -> Result:
    """The mean over `axis`."""
    kept, n = kept_shape(x, axis), _count(x, axis)
    return _mean(x, axis, keepdims), lambda g: xp(g).broadcast_to(g.reshape(kept) / n, x.shape)


@op
def var(x: Array, /, axis: Axes | None = None, keepdims: bool = False, ddof: int = 0) -> Result:
    """The variance over `axis`: the sum of squared deviations over (n - ddof)."""
    kept, n = kept_shape(x, axis), _count(x, axis)
    if n <= ddof:
        raise ValueError(f"the variance of {n} elements with ddof={ddof} does not exist")
    deviation = x - _mean(x, axis, keepdims=True)
    y = _sum(deviation * deviation, axis, keepdims) / (n - ddof)
    return y, lambda g: g.reshape(kept) * (2 / (n - ddof)) * deviation


def std(x: Any, axis: Axes | None = None, keepdims: bool = False, ddof: int = 0) -> Any:
    """The standard deviation over `axis`, the square root of `var`; its slope is taken as 0 where it is 0."""
    return sqrt(var(x, axis, keepdims, ddof))


@op
def prod(x: Array, /, axis: Axes | None = None, keepdims: bool = False) -> Result:
    """The product over `axis`.  dx_i = g times the product of the others, whatever is 0 among them."""
    kept = kept_shape(x, axis)
    return x.prod(axis, keepdims=keepdims), lambda g: g.reshape(kept) * _products_of_the_others(x, _axes(x, axis))


def _products_of_the_others(x: Array, axes: tuple[int, ...]) -> Array:
    """For each element the product of the others over `axes`: of those before it times those after it."""
    module, last = xp(x), tuple(range(-len(axes), 0))
    moved = module.moveaxis(x, axes, last)
    rows = moved.reshape(math.prod(moved.shape[: x.ndim - len(axes)]), math.prod(x.shape[a] for a in axes))
    before, after = module.ones_like(rows), module.ones_like(rows)
    before[:, 1:] = module.cumprod(rows[:, :-1], 1)
    after[:, :-1] = module.cumprod(rows[:, :0:-1], 1)[:, ::-1]
    before *= after
    return module.moveaxis(before.reshape(moved.shape), last, axes)


@op
def max(x: Array, /, axis: Axes | None = None, keepdims: bool = False) -> Result:
    """The maximum over `axis`.  Where several elements reach it, they share the gradient equally."""
    return _extreme(x, x.max(axis, keepdims=True), axis, keepdims)


@op
def min(x: Array, /, axis: Axes | None = None, keepdims: bool = False) -> Result:
    """The minimum over `axis`.  Where several elements reach it, they share the gradient equally."""
    return _extreme(x, x.min(axis, keepdims=True), axis, keepdims)


def _extreme(x: Array, best: Array, axis: Any, keepdims: bool) -> Any:
    def pullback(g: Array) -> Array:
        ties = x.real == best.real
        share = g.reshape(best.shape) / ties.sum(axis, keepdims=True).astype(g.real.dtype)
        return ties * share

    return best if keepdims else best.squeeze(_axes(x, axis)), pullback


@op
def logsumexp(x: Array, /, axis: Axes | None = None, keepdims: bool = False) -> Result:
    """log sum exp(x) over `axis`, without overflow.  d/dx = softmax(x)."""
    module = xp(x)
    shift = x.real.max(axis, keepdims=True)
    shift = module.where(module.isfinite(shift), shift, _like_zero(shift))
    e = module.exp(x - shift)
    total = e.sum(axis, keepdims=True)
    with np.errstate(divide="ignore"):  # the sum of nothing but exp(-inf) is 0, and its logarithm -inf
        y = module.log(total) + shift
    kept = total.shape
    weights = e / (total + (total == 0))
    return y if keepdims else y.squeeze(_axes(x, axis)), lambda g: g.reshape(kept) * weights


@op
def argmax(x: Array, /, axis: int | None = None, keepdims: bool = False) -> Result:
    """The index of the first maximum along `axis` (of the flattened tensor for None), without a gradient."""
    return x.real.argmax(axis, keepdims=keepdims), None


@op
def argmin(x: Array, /, axis: int | None = None, keepdims: bool = False) -> Result:
    """The index of the first minimum along `axis` (of the flattened tensor for None), without a gradient."""
    return x.real.argmin(axis, keepdims=keepdims), None


def _axes(x: Array, axis: Any) -> tuple[int, ...]:
    if axis is None:
        return tuple(range(x.ndim))
    return tuple(a % x.ndim for a in (axis if isinstance(axis, tuple) else (axis,)))


def kept_shape(x: Array, axis: Any) -> tuple[int, ...]:
    """The shape of the result with keepdims=True."""
    if axis is None:
        return (1,) * x.ndim
    for a in axis if isinstance(axis, tuple) else (axis,):
        if not -x.ndim <= a < x.ndim:
            raise ValueError(f"axis {a} is out of range for {x.ndim} dimensions")
    reduced = _axes(x, axis)
    return tuple(1 if i in reduced else n for i, n in enumerate(x.shape))


def _sum(x: Array, axis: Any, keepdims: bool) -> Array:
    if _at_once(x, axis):
        return x.sum(axis, keepdims=keepdims)
    return one_after_another(x, _axes(x, axis), keepdims)


def _mean(x: Array, axis: Any, keepdims: bool) -> Array:
    if _at_once(x, axis):
        return x.mean(axis, keepdims=keepdims)
    return one_after_another(x, _axes(x, axis), keepdims) / _count(x, axis)


def _at_once(x: Array, axis: Any) -> bool:
    """True if the backend's own sum or mean is to be taken: it is quick in C order, sums float16 in float32, and
    refuses an axis given twice."""
    if type(axis) is not tuple or x.flags.c_contiguous or x.dtype.char not in "fdFD" or not x.size:
        return True
    return len(set(_axes(x, axis))) < len(axis)


def one_after_another(x: Array, axes: tuple[int, ...], keepdims: bool = True) -> Array:
    """The sum over one axis after the other.  Where the channels of images come last in memory, one sum over all
    axes would take many steps of a few channels each, and lose two or three of float32's seven digits."""
    for axis in axes:
        x = x.sum(axis, keepdims=True)
    return x if keepdims else x.squeeze(axes)


def _count(x: Array, axis: Any) -> int:
    """The number of elements that make one element of the result."""
    return math.prod(x.shape[a] for a in _axes(x, axis))


def _like_zero(x: Array) -> Array:
    return xp(x).zeros((), x.dtype)
