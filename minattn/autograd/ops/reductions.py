"""Reductions over any axes: `axis` is None (all), an int or several ints."""

import math
from typing import Any

import numpy as np

from minattn.autograd.axes import check_axes, check_axis
from minattn.autograd.backend import Array, Axes, xp
from minattn.autograd.engine import Result, op
from minattn.autograd.ops.elementwise import sqrt
from minattn.errors import ShapeError


@op
def sum(x: Array, /, axis: Axes | None = None, keepdims: bool = False) -> Result:
    """The sum over `axis`."""
    axes = check_axes(axis, x.ndim)
    kept = kept_shape(x, axes)
    return _sum(x, axes, keepdims), lambda g: xp(g).broadcast_to(g.reshape(kept), x.shape)


@op
def mean(x: Array, /, axis: Axes | None = None, keepdims: bool = False) -> Result:
    """The mean over `axis`."""
    axes = check_axes(axis, x.ndim)
    kept, n = kept_shape(x, axes), _count(x, axes)
    return _mean(x, axes, keepdims), lambda g: xp(g).broadcast_to(g.reshape(kept) / n, x.shape)


@op
def var(x: Array, /, axis: Axes | None = None, keepdims: bool = False, ddof: int = 0) -> Result:
    """The variance over `axis`: the sum of squared deviations over (n - ddof)."""
    axes = check_axes(axis, x.ndim)
    kept, n = kept_shape(x, axes), _count(x, axes)
    if n <= ddof:
        raise ShapeError(f"the variance of {n} elements with ddof={ddof} does not exist; hint: more than ddof elements")
    deviation = x - _mean(x, axes, keepdims=True)
    y = _sum(deviation * deviation, axes, keepdims) / (n - ddof)
    return y, lambda g: g.reshape(kept) * (2 / (n - ddof)) * deviation


def std(x: Any, axis: Axes | None = None, keepdims: bool = False, ddof: int = 0) -> Any:
    """The standard deviation over `axis`, the square root of `var`; its slope is taken as 0 where it is 0."""
    return sqrt(var(x, axis, keepdims, ddof))


@op
def prod(x: Array, /, axis: Axes | None = None, keepdims: bool = False) -> Result:
    """The product over `axis`.  dx_i = g times the product of the others, whatever is 0 among them."""
    axes = check_axes(axis, x.ndim)
    kept = kept_shape(x, axes)
    return x.prod(axes, keepdims=keepdims), lambda g: g.reshape(kept) * _products_of_the_others(x, axes)


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
    axes = check_axes(axis, x.ndim)
    return _extreme(x, x.max(for_numpy(x, axes), keepdims=True), axes, keepdims)


@op
def min(x: Array, /, axis: Axes | None = None, keepdims: bool = False) -> Result:
    """The minimum over `axis`.  Where several elements reach it, they share the gradient equally."""
    axes = check_axes(axis, x.ndim)
    return _extreme(x, x.min(for_numpy(x, axes), keepdims=True), axes, keepdims)


def _extreme(x: Array, best: Array, axes: tuple[int, ...], keepdims: bool) -> Result:
    def pullback(g: Array) -> Array:
        ties = x.real == best.real
        share = g.reshape(best.shape) / ties.sum(axes, keepdims=True).astype(g.real.dtype)
        return ties * share

    return best if keepdims else best.squeeze(axes), pullback


@op
def logsumexp(x: Array, /, axis: Axes | None = None, keepdims: bool = False) -> Result:
    """log sum exp(x) over `axis`, without overflow.  d/dx = softmax(x)."""
    module, axes = xp(x), check_axes(axis, x.ndim)
    if not _count(x, axes):  # the sum of nothing is 0
        y = module.full(kept_shape(x, axes), -np.inf, module.exp(x).dtype)
        return y if keepdims else y.squeeze(axes), lambda g: module.zeros_like(x, g.dtype)
    shift = x.real.max(for_numpy(x, axes), keepdims=True)
    shift = module.where(module.isfinite(shift), shift, _like_zero(shift))
    e = module.exp(x - shift)
    total = e.sum(for_numpy(x, axes), keepdims=True)
    with np.errstate(divide="ignore"):  # the sum of nothing but exp(-inf) is 0, and its logarithm -inf
        y = module.log(total) + shift
    kept = total.shape
    weights = e / (total + (total == 0))
    return y if keepdims else y.squeeze(axes), lambda g: g.reshape(kept) * weights


@op
def argmax(x: Array, /, axis: int | None = None, keepdims: bool = False) -> Result:
    """The index of the first maximum along `axis` (of the flattened tensor for None), without a gradient."""
    return x.real.argmax(_one_axis(x, axis), keepdims=keepdims), None


@op
def argmin(x: Array, /, axis: int | None = None, keepdims: bool = False) -> Result:
    """The index of the first minimum along `axis` (of the flattened tensor for None), without a gradient."""
    return x.real.argmin(_one_axis(x, axis), keepdims=keepdims), None


def _one_axis(x: Array, axis: int | None) -> Any:
    """`axis` counted from the front; None for the flattened x."""
    return None if axis is None else check_axis(axis, x.ndim)


def for_numpy(x: Array, axes: tuple[int, ...]) -> Any:
    """`axes` in the form that reductions take fastest: None for all of them, an int for one."""
    if len(axes) == x.ndim:
        return None
    return axes[0] if len(axes) == 1 else axes


def kept_shape(x: Array, axes: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of the result with keepdims=True."""
    if len(axes) == x.ndim:
        return (1,) * x.ndim
    return tuple([1 if i in axes else n for i, n in enumerate(x.shape)])


def _sum(x: Array, axes: tuple[int, ...], keepdims: bool) -> Array:
    if len(axes) == x.ndim:
        return x.sum(keepdims=keepdims)
    if _at_once(x, axes):
        return x.sum(for_numpy(x, axes), keepdims=keepdims)
    return one_after_another(x, axes, keepdims)


def _mean(x: Array, axes: tuple[int, ...], keepdims: bool) -> Array:
    if len(axes) == x.ndim:
        return x.mean(keepdims=keepdims)
    if _at_once(x, axes):
        return x.mean(for_numpy(x, axes), keepdims=keepdims)
    return one_after_another(x, axes, keepdims) / _count(x, axes)


def _at_once(x: Array, axes: tuple[int, ...]) -> bool:
    """True if the backend's own sum or mean is to be taken: it is quick in C order, and sums float16 in float32."""
    return len(axes) == 1 or x.flags.c_contiguous or x.dtype.char not in "fdFD" or not x.size


def one_after_another(x: Array, axes: tuple[int, ...], keepdims: bool = True) -> Array:
    """The sum over one axis after the other.  Where the channels of images come last in memory, one sum over all
    axes would take many steps of a few channels each, and lose two or three of float32's seven digits."""
    for axis in axes:
        x = x.sum(axis, keepdims=True)
    return x if keepdims else x.squeeze(axes)


def _count(x: Array, axes: tuple[int, ...]) -> int:
    """The number of elements that make one element of the result."""
    return math.prod([x.shape[axis] for axis in axes])


def _like_zero(x: Array) -> Array:
    return xp(x).zeros((), x.dtype)
