"""The lengths of vectors, and what is made of them: norms of any order, unit vectors, the cosine of an angle."""

import math
from typing import Any

from minattn.autograd.axes import check_axes
from minattn.autograd.backend import Array, Axes, xp
from minattn.autograd.engine import Result, op
from minattn.autograd.ops.elementwise import clip, divide
from minattn.autograd.ops.reductions import kept_shape
from minattn.autograd.ops.reductions import sum as sum_of
from minattn.errors import ConfigError


@op
def norm(x: Array, /, axis: Axes | None = None, keepdims: bool = False, order: float = 2.0) -> Result:
    """The norm over `axis`: the Euclidean one; (sum |x_i|^p)^(1/p) for another order p > 0; max |x_i| for order=inf.

    d/dx_i = sign(x_i) (|x_i| / |x|)^(p-1), taken as 0 where x_i = 0; for p = inf the largest share the gradient.
    """
    if not order > 0:
        raise ConfigError(f"the order of a norm must be positive, got {order}; hint: 1, 2 or float('inf')")
    axes = check_axes(axis, x.ndim)
    kept = kept_shape(x, axes)
    if order == 2:
        y = xp(x).sqrt((x * x).sum(axes, keepdims=keepdims))
        return y, lambda g: x * (g.reshape(kept) / _divisor(y.reshape(kept)))
    signs = xp(x).sign(x.real)
    sizes = x * signs
    if order == math.inf:
        y = sizes.max(axes, keepdims=keepdims)
        return y, lambda g: signs * _shared(g.reshape(kept), sizes.real == y.real.reshape(kept), axes)
    y = (sizes**order).sum(axes, keepdims=keepdims) ** (1 / order)

    def pullback(g: Array) -> Array:
        ratio = sizes / _divisor(y.reshape(kept)) + (signs == 0)  # 0 to a negative power is infinite, 0 times it NaN
        return g.reshape(kept) * signs * ratio ** (order - 1)

    return y, pullback


def normalize(x: Any, axis: Axes = -1, order: float = 2.0, eps: float = 1e-12) -> Any:
    """x / max(|x|, eps): vectors of length 1 along `axis`; one of length 0 stays so.  For `order` see `norm`."""
    return divide(x, clip(norm(x, axis, keepdims=True, order=order), low=eps))


def cosine_similarity(a: Any, b: Any, axis: Axes = -1, eps: float = 1e-8) -> Any:
    """The cosine of the angle between a and b along `axis`: <a, b> / (max(|a|, eps) max(|b|, eps))."""
    return sum_of(normalize(a, axis, eps=eps) * normalize(b, axis, eps=eps), axis)


def _divisor(y: Array) -> Array:
    return y + (y == 0)


def _shared(g: Array, ties: Array, axis: Any) -> Array:
    """g, in equal parts, where `ties` is True."""
    return ties * (g / ties.sum(axis, keepdims=True).astype(g.real.dtype))
