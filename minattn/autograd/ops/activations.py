"""Activation functions: the sigmoid and the family of the rectified linear unit."""

import math
from collections.abc import Callable
from typing import Any

from minattn.autograd import backend
from minattn.autograd.backend import Array, xp
from minattn.autograd.blocks import NEW, over_elements
from minattn.autograd.engine import Result, op
from minattn.autograd.ops.elementwise import tanh


def _sigmoid(x: Array) -> Array:
    return 0.5 * xp(x).tanh(0.5 * x) + 0.5  # never overflows, and faster than 1 / (1 + exp(-x))


def _times(slope: Array) -> Callable[[Array], Array]:
    """The pullback g -> g * slope, which is called once only and so may write where the slope was."""

    def pullback(g: Array) -> Array:
        return over_elements(xp(g).multiply, g, slope, into=[slope])

    return pullback


@op
def sigmoid(x: Array, /) -> Result:
    """s(x) = 1 / (1 + e^-x).  d/dx = s (1 - s)."""
    y = _sigmoid(x)
    return y, lambda g: g * (y * (1 - y))


@op
def relu(x: Array, /) -> Result:
    """max(x, 0).  d/dx = 1 for x > 0, else 0 (at 0 too).  Nair & Hinton 2010."""
    return xp(x).maximum(x, 0), lambda g: g * (x.real > 0)


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
    return module.where(positive, x, alpha * tail), lambda g: g * (positive + alpha * ((tail + 1) * ~positive))


@op
def softplus(x: Array, /) -> Result:
    """log(1 + e^x).  d/dx = sigmoid(x)."""
    module, positive = xp(x), x.real > 0
    tail = module.log1p(module.exp(module.where(positive, -x, x)))  # never overflows
    return module.where(positive, x, 0) + tail, lambda g: g * _sigmoid(x)


@op
def silu(x: Array, /) -> Result:
    """x sigmoid(x), also called swish.  d/dx = s + x s (1 - s)."""
    s = _sigmoid(x)
    return x * s, lambda g: g * (s * (1 + x * (1 - s)))


@op
def gelu(x: Array, /) -> Result:
    """x Phi(x), Phi the normal distribution function.  d/dx = Phi + x phi.  Hendrycks & Gimpel 2016."""
    cdf = 0.5 * (1 + backend.erf(x * math.sqrt(0.5)))

    def pullback(g: Array) -> Array:
        density = xp(x).exp(-0.5 * x * x) * (1 / math.sqrt(2 * math.pi))
        return g * (cdf + x * density)

    return x * cdf, pullback


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
        cx = c * x
        u = x * x
        u *= 0.044715
        u += 1
        u *= cx  # u = c x (1 + 0.044715 x^2), so x u' = 3 u - 2 c x
        t = module.tanh(u)
        u *= 1.5
        u -= cx  # x/2 u'
        slope = module.subtract(1, t * t, slope)
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
