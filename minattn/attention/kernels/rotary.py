"""Turning pairs of features in one op; the equation is on `self_attention/rotary.py`."""

from typing import Any

import numpy as np

from minattn.autograd import Array, xp
from minattn.autograd.backend import as_array, like
from minattn.autograd.engine import Result
from minattn.errors import ShapeError


def rotate(x: Array, /, cos: Any, sin: Any, interleaved: bool = True) -> Result:
    """x (.., d) with pairs of its first 2 m features turned by angles whose `cos` and `sin` are (.., m).

    The gradient is turned back.
    """
    dtype = x.real.dtype if x.dtype.kind in "fc" else np.float64
    cos, sin = (like(as_array(table), x).astype(dtype, copy=False) for table in (cos, sin))
    check_sizes(x, cos, sin)
    return turned(x, cos, sin, interleaved), lambda g: turned(g, cos, -sin, interleaved)


def turned(x: Array, cos: Array, sin: Array, interleaved: bool) -> Array:
    """x with (a) and (b) in place of its pairs."""
    size = 2 * cos.shape[-1]
    y = xp(x).empty_like(x, dtype=xp(x).result_type(x, cos))
    y[..., size:] = x[..., size:]
    (a, b), (y_a, y_b) = pairs(x, size, interleaved), pairs(y, size, interleaved)
    y_a[...] = a * cos - b * sin  # (a)
    y_b[...] = a * sin + b * cos  # (b)
    return y


def pairs(x: Any, size: int, interleaved: bool) -> tuple[Any, Any]:
    """The first and the second features of the pairs: neighbors, or those of the two halves."""
    if interleaved:
        return x[..., 0:size:2], x[..., 1:size:2]
    return x[..., : size // 2], x[..., size // 2 : size]


def check_sizes(x: Any, cos: Array, sin: Array) -> None:
    """Raise ShapeError unless the tables go with x."""
    fits = x.ndim and 1 <= cos.ndim <= x.ndim and cos.shape == sin.shape and 2 * cos.shape[-1] <= x.shape[-1]
    lead = zip(cos.shape[-2::-1], x.shape[-2::-1], strict=False) if fits else ()
    if not fits or any(n not in (1, m) for n, m in lead):
        raise ShapeError(
            f"x of shape {x.shape} cannot be turned by tables of shapes {cos.shape} and {sin.shape}; hint: (.., m) for "
            "both, the leading axes those of x or of length 1, and 2 m features of x at least"
        )
