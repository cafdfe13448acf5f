"""Cumulative sums, sorting and the largest k."""

from typing import Any

import numpy as np

from minattn.autograd.axes import check_axis
from minattn.autograd.backend import Array, xp
from minattn.autograd.engine import Result, op
from minattn.errors import ShapeError


@op
def cumsum(x: Array, /, axis: int = 0) -> Result:
    """y_i = x_1 + .. + x_i along `axis`.  dx_i = g_i + .. + g_n."""
    axis = check_axis(axis, x.ndim)

    def pullback(g: Array) -> Array:
        module = xp(g)
        return module.flip(module.cumsum(module.flip(g, axis), axis), axis)

    return xp(x).cumsum(x, axis), pullback


@op
def sort(x: Array, /, axis: int = -1, descending: bool = False) -> Result:
    """(values, indices): x in order along `axis`, equal elements as they stood; the gradient goes to the values."""
    module, axis = xp(x), check_axis(axis, x.ndim)
    order = (-x.real if descending else x.real).argsort(axis, kind="stable")
    back = order.argsort(axis, kind="stable")
    y = module.take_along_axis(x, order, axis)
    return (y, order), lambda g, _: module.take_along_axis(g, back, axis)


def topk(x: Any, k: int, axis: int = -1) -> tuple[Any, Any]:
    """(values, indices) of the k largest along `axis`, largest first."""
    values, indices = sort(x, axis, descending=True)
    axis = check_axis(axis, values.ndim)
    n = values.shape[axis]
    if not isinstance(k, (int, np.integer)):
        raise TypeError(f"topk: k must be an int, got {k!r}")
    if not 0 <= k <= n:
        raise ShapeError(f"topk: k={k} is out of range for an axis of length {n}; hint: 0 to {n}")
    first = (slice(None),) * axis + (slice(k),)
    return values[first], indices[first]
