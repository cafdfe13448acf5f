"""Activation functions: the sigmoid and the family of the rectified linear unit."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from minattn.autograd import backend
from minattn.autograd.backend import Array, xp
from minattn.autograd.blocks import LONG, NEW, over_elements
from minattn.autograd.engine import Result, op
from minattn.autograd.ops.elementwise import tanh


def sigmoid_of(x: Array, y: Array | None = None, opposite: Array | None = None) -> Array:
    """s(x) = 1 / (1 + e^-x), written to `y` if there is one, which may be x itself.

    opposite: gets s(-x) = e^-x s(x) from the same exponential; 1 - s(x) is the same thing, but has no digits left where
    it is small.  Nor has (1 + tanh(x/2)) / 2.
    """
    module = xp(x)
    if opposite is not None:
        with np.errstate(over="ignore", invalid="ignore"):
            module.multiply(x, -1.0, opposite)
            module.exp(opposite, opposite)
            y = module.add(opposite, 1, y)
            module.divide(1, y, y)
            opposite *= y
            module.fmin(opposite, 1, out=opposite)  # infinity times 0 is 1 here
        return y
    y = module.multiply(x, -1.0, y)
    out = y if y.ndim else None  # NumPy makes scalars of 0-d arrays
    with np.errstate(over="ignore"):
        y = module.exp(y, out)
    y += 1
    return module.divide(1, y, out)


def _times(slope: Array) -> Callable[[Array], Array]:
    """The pullback g -> g * slope, which is called once only and so may write where the slope was."""

    def pullback(g: Array) -> Array:
        return over_elements(xp(g).multiply, g, slope, into=[slope])

    return pullback


@op
def sigmoid(x: Array, /) -> Result:
    """s(x) = 1 / (1 + e^-x).  d/dx = s(x) s(-x), which has its digits where 1 - s(x) has none left."""
    y = over_elements(sigmoid_of, x, into=[NEW])

    def backward(x: Array, y: Array, g: Array, dx: Array | None = None) -> Array:
        with np.errstate(over="ignore"):
            dx = xp(x).exp(x, dx)
        dx += 1
        dx = xp(x).divide(y, dx, dx if dx.ndim else None)
        dx *= g
        return dx

    return y, lambda g: over_elements(backward, x, y, g, into=[NEW])


@op
def relu(x: Array, /) -> Result:
    """max(x, 0).  d/dx = 1 for x > 0, else 0 (at 0 too).  Nair & Hinton 2010."""
    return _positive_part(x), lambda g: g * (x.real > 0)


def _positive_part(x: Array, out: Array | None = None) -> Array:
    """max(x, 0), written to `out` if there is one.

    NumPy compares two arrays up to four times as fast as an array and a number, if memory keeps up.
    """
    zero = np.zeros_like(x) if type(x) is np.ndarray and x.size < LONG else 0
    return xp(x).maximum(x, zero, out=out) if out is not None else xp(x).maximum(x, zero)


def add_relu_equation(x: Any, y: Any) -> Any:
    """max(x + y, 0)."""
    return relu(x + y)


@op(equation=add_relu_equation)
def add_relu(x: Array, y: Array, /) -> Result:
    """max(x + y, 0), in one pass: the end of a residual block.  Both gradients are g where x + y > 0, else 0."""

    def forward(x: Array, y: Array, z: Array | None = None) -> Array:
        z = xp(x).add(x, y, z)
        return _positive_part(z, z if z.ndim else None)

    alike = x.shape == y.shape and x.dtype == y.dtype
    z = over_elements(forward, x, y, into=[NEW]) if alike else forward(x, y)

    def pullback(g: Array) -> tuple[Array, Array]:
        # z comes first, for h to lie in memory as z does: g may be one number for all positions
        h = over_elements(lambda z, g, h=None: xp(g).multiply(g, z.real > 0, h), z, g, into=[NEW])
        return h, h

    return z, pullback


@op
def leaky_relu(x: Array, /, slope: float = 0.01) -> Result:
    """x for x > 0, else slope * x.  Maas et al. 2013."""
    positive = x.real > 0
    factor = positive + slope * ~positive
    factor = factor.astype(x.real.dtype)
    return x * factor, lambda g: g * factor


@op
def elu(x: Array, /, alpha: float = 1.0) -> Result:
    """x for x > 0, else alpha (e^x - 1).  Clevert et al. 2016."""
    module, positive = xp(x), x.real > 0
    tail = module.expm1(module.where(positive, 0, x))  # exp of a large positive x would overflow

    def pullback(g: Array) -> Array:  # not by tail + 1, which has no digits left where it is small
        return g * module.where(positive, 1, alpha * module.exp(module.where(positive, 0, x)))

    return module.where(positive, x, alpha * tail), pullback


@op
def softplus(x: Array, /) -> Result:
    """log(1 + e^x).  d/dx = sigmoid(x)."""
    module, positive = xp(x), x.real > 0
    tail = module.log1p(module.exp(module.where(positive, -x, x)))  # never overflows
    return module.where(positive, x, 0) + tail, lambda g: g * sigmoid_of(x)


@op
def silu(x: Array, /) -> Result:
    """x sigmoid(x), also called swish.  d/dx = s + x s (1 - s)."""
    s = sigmoid_of(x)
    return x * s, lambda g: g * (s * (1 + x * (1 - s)))


@op
def gelu(x: Array, /) -> Result:
    """x Phi(x), Phi the normal distribution function.  d/dx = Phi + x phi.  Hendrycks & Gimpel 2016."""
    module = xp(x)

    def forward(x: Array, y: Array | None = None, cdf: Array | None = None) -> tuple[Array, Array]:
        cdf = module.multiply(backend.erf(x * math.sqrt(0.5)), 0.5, cdf)
        cdf += 0.5
        return module.multiply(x, cdf, y), cdf

    def backward(g: Array, x: Array, cdf: Array, dx: Array | None = None) -> Array:
        slope = module.exp(-0.5 * x * x)
        slope *= 1 / math.sqrt(2 * math.pi)
        slope *= x
        slope += cdf
        return module.multiply(g, slope, dx)

    y, cdf = over_elements(forward, x, into=[NEW, NEW])
    return y, lambda g: over_elements(backward, g, x, cdf, into=[cdf])


def gelu_tanh_equation(x: Any) -> Any:
    """y = x/2 (1 + tanh u) with u = sqrt(2/pi) (x + 0.044715 x^3)."""
    return 0.5 * x * (1 + tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * (x * x * x))))


@op(equation=gelu_tanh_equation)
def gelu_tanh(x: Array, /) -> Result:
    """The tanh form of GELU: x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))).  Hendrycks & Gimpel 2016.

    d/dx = (1 + t)/2 + x/2 (1 - t^2) u'  with t = tanh u.
    """
    module, c = xp(x), math.sqrt(2 / math.pi)

    def forward(x: Array, y: Array | None = None, slope: Array | None = None) -> tuple[Array, Array]:
        cx = module.multiply(x, c, y)
        u = cx * cx
        u *= 0.044715 / c**2
        u += 1
        u *= cx  # u = c x (1 + 0.044715 x^2), so x u' = 3 u - 2 c x
        t = module.tanh(u)
        u *= -1.5
        u += cx  # -x/2 u'
        slope = module.multiply(t, t, slope)
        slope -= 1
        slope *= u
        t += 1
        t *= 0.5
        slope += t
        return module.multiply(x, t, y), slope

    y, slope = over_elements(forward, x, into=[NEW, NEW])
    return y, _times(slope)


@op
def hard_sigmoid(x: Array, /) -> Result:
    """clip(x/6 + 1/2, 0, 1).  d/dx = 1/6 strictly between -3 and 3, else 0."""
    inside = xp(x).abs(x.real) < 3
    y = xp(x).minimum(xp(x).maximum(x * (1 / 6) + 0.5, 0), 1)
    return y, lambda g: g * inside * (1 / 6)
