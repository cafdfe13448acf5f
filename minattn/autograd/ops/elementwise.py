"""Elementwise ops: arithmetic, comparison, and the functions of calculus.

Each op is its value and, under it, its pullback.  Broadcasting is undone by the engine.  Comparisons and choices
look at real parts, so that the complex step follows the same branch as the real function does.
"""

import math
from typing import Any

from minattn.autograd import backend
from minattn.autograd.backend import Array, xp
from minattn.autograd.engine import Result, op
from minattn.autograd.masks import as_boolean
from minattn.errors import ConfigError


# ---------------------------------------------------------------------------------------------- arithmetic
@op
def add(a: Array, b: Array, /) -> Result:
    """a + b."""
    return a + b, _BOTH


@op
def subtract(a: Array, b: Array, /) -> Result:
    """a - b."""
    return a - b, (lambda g: g, lambda g: -g)


@op
def multiply(a: Array, b: Array, /) -> Result:
    """a * b, elementwise."""
    return a * b, (lambda g: g * b, lambda g: g * a)


@op
def divide(a: Array, b: Array, /) -> Result:
    """a / b, elementwise.  d/da = 1/b;  d/db = -a/b^2."""
    return a / b, (lambda g: _quotient(g, b), lambda g: -_quotient(_quotient(g * a, b), b))


@op
def floor_divide(a: Array, b: Array, /) -> Result:
    """floor(a / b), elementwise: a // b.  Its slopes are 0."""
    q = _whole_quotient(a, b)
    return q.astype(xp(a, b).result_type(a, b)), (_nothing, _nothing)


@op
def remainder(a: Array, b: Array, /) -> Result:
    """a - b floor(a / b), elementwise: a % b, which has the sign of b.  d/da = 1;  d/db = -floor(a / b)."""
    q = _whole_quotient(a, b)
    complex_ = xp(a, b).result_type(a, b).kind == "c"
    return a - b * q if complex_ else xp(a, b).remainder(a, b), (_same, lambda g: -g * q)


@op
def negative(x: Array, /) -> Result:
    """-x."""
    return -x, lambda g: -g


@op
def power(a: Array, b: Array, /) -> Result:
    """a ** b, elementwise.  d/da = b a^(b-1), which is 0 for b = 0;  d/db = a^b log a, taken as 0 for a = 0.

    For a < 0 there is no d/db: it is NaN.
    """
    y = a**b

    def base(g: Array) -> Array:
        if isinstance(b, (int, float)):
            return g * 0 if b == 0 else g * (b * a ** (b - 1))
        zero = b == 0
        return g * (b * (a + zero * (a == 0)) ** (b - 1))

    def exponent(g: Array) -> Array:
        if isinstance(a, (int, float)):
            return g * y * (0.0 if a == 0 else math.log(a) if a > 0 else math.nan)
        return g * y * xp(a).log(a + (a == 0))

    return y, (base, exponent)


@op
def square(x: Array, /) -> Result:
    """x^2.  d/dx = 2x."""
    return x * x, lambda g: g * (2 * x)


# ---------------------------------------------------------------------------------------------- functions
@op
def exp(x: Array, /) -> Result:
    """e^x.  d/dx = e^x."""
    y = xp(x).exp(x)
    return y, lambda g: g * y


@op
def log(x: Array, /) -> Result:
    """The natural logarithm.  d/dx = 1/x; where the upstream gradient is 0 the gradient is 0, at x = 0 too."""
    return xp(x).log(x), lambda g: _quotient(g, x)


@op
def expm1(x: Array, /) -> Result:
    """e^x - 1, to full precision where x is small.  d/dx = e^x."""
    return xp(x).expm1(x), lambda g: g * xp(x).exp(x)


@op
def log1p(x: Array, /) -> Result:
    """log(1 + x), to full precision where x is small.  d/dx = 1 / (1 + x); 0 where the upstream gradient is 0."""
    return xp(x).log1p(x), lambda g: _quotient(g, 1 + x)


@op
def sqrt(x: Array, /) -> Result:
    """The square root.  d/dx = 1 / (2 sqrt x); at x = 0, where the slope is infinite, it is taken as 0."""
    y = xp(x).sqrt(x)

    def pullback(g: Array) -> Array:
        zero = y == 0
        return g * ~zero / (2 * (y + zero))

    return y, pullback


@op
def tanh(x: Array, /) -> Result:
    """tanh x.  d/dx = 1 - tanh^2 x."""
    y = xp(x).tanh(x)
    return y, lambda g: g - g * y * y


@op
def sin(x: Array, /) -> Result:
    """sin x.  d/dx = cos x."""
    return xp(x).sin(x), lambda g: g * xp(x).cos(x)


@op
def cos(x: Array, /) -> Result:
    """cos x.  d/dx = -sin x."""
    return xp(x).cos(x), lambda g: -g * xp(x).sin(x)


@op
def erf(x: Array, /) -> Result:
    """The error function.  d/dx = 2/sqrt(pi) e^(-x^2)."""
    return backend.erf(x), lambda g: g * (2 / math.sqrt(math.pi) * xp(x).exp(-x * x))


@op
def abs(x: Array, /) -> Result:
    """|x|.  d/dx = sign x, which is 0 at 0."""
    slope = xp(x).sign(x.real)
    return (x * slope if x.dtype.kind == "c" else xp(x).abs(x)), lambda g: g * slope


@op
def sign(x: Array, /) -> Result:
    """-1, 0 or 1 as x is negative, 0 or positive.  Its slope is 0, at 0 too."""
    return xp(x).sign(x.real).astype(x.dtype), _nothing


@op
def floor(x: Array, /) -> Result:
    """The largest whole number that is not above x.  Its slope is 0, at whole numbers too."""
    return xp(x).floor(x.real).astype(x.dtype), _nothing


# ---------------------------------------------------------------------------------------------- choices
@op
def maximum(a: Array, b: Array, /) -> Result:
    """The larger of a and b.  Where they are equal the gradient is shared, half to each."""
    larger, tie = a.real > b.real, a.real == b.real
    y = xp(a, b).maximum(a, b)
    return y, (lambda g: g * larger + 0.5 * g * tie, lambda g: g * ~(larger | tie) + 0.5 * g * tie)


@op
def minimum(a: Array, b: Array, /) -> Result:
    """The smaller of a and b.  Where they are equal the gradient is shared, half to each."""
    smaller, tie = a.real < b.real, a.real == b.real
    y = xp(a, b).minimum(a, b)
    return y, (lambda g: g * smaller + 0.5 * g * tie, lambda g: g * ~(smaller | tie) + 0.5 * g * tie)


@op
def clip(x: Array, low: Array | None = None, high: Array | None = None, /) -> Result:
    """min(max(x, low), high), with bounds that are numbers, arrays that broadcast, tensors, or None.

    d/dx = 1 inside and at the bounds; outside the gradient goes to the bound.
    """
    if low is None and high is None:
        raise ConfigError("no bound is given; hint: low, high or both")
    module = xp(x, low, high)
    raised = x if low is None else module.maximum(x, low)
    y = raised if high is None else module.minimum(raised, high)
    below = module.zeros((), bool) if low is None else x.real < low.real
    above = module.zeros((), bool) if high is None else raised.real > high.real
    return y, (lambda g: g * ~(below | above), lambda g: g * (below & ~above), lambda g: g * above)


@op
def _where(a: Array, b: Array, /, condition: Any) -> Result:
    condition = as_boolean(condition, a if backend.is_array(a) else b, "the condition")
    module = xp(condition)

    def chosen(g: Array) -> Array:
        return module.where(condition, g, _zero_like(g))

    def other(g: Array) -> Array:
        return module.where(condition, _zero_like(g), g)

    return module.where(condition, a, b), (chosen, other)


def where(condition: Any, a: Any, b: Any) -> Any:
    """a where `condition` (boolean) is True, b elsewhere.

    The side not chosen gets a gradient of exactly 0, never NaN, whatever its value.
    """
    return _where(a, b, condition)


# ---------------------------------------------------------------------------------------------- comparison
@op
def equal(a: Array, b: Array, /) -> Result:
    """a == b, without a gradient."""
    return a.real == b.real, None


@op
def not_equal(a: Array, b: Array, /) -> Result:
    """a != b, without a gradient."""
    return a.real != b.real, None


@op
def less(a: Array, b: Array, /) -> Result:
    """a < b, without a gradient."""
    return a.real < b.real, None


@op
def less_equal(a: Array, b: Array, /) -> Result:
    """a <= b, without a gradient."""
    return a.real <= b.real, None


@op
def greater(a: Array, b: Array, /) -> Result:
    """a > b, without a gradient."""
    return a.real > b.real, None


@op
def greater_equal(a: Array, b: Array, /) -> Result:
    """a >= b, without a gradient."""
    return a.real >= b.real, None


@op
def logical_not(a: Array, /) -> Result:
    """not a, elementwise, without a gradient."""
    return xp(a).logical_not(a), None


@op
def logical_and(a: Array, b: Array, /) -> Result:
    """a and b, elementwise, without a gradient."""
    return xp(a, b).logical_and(a, b), None


@op
def logical_or(a: Array, b: Array, /) -> Result:
    """a or b, elementwise, without a gradient."""
    return xp(a, b).logical_or(a, b), None


# ---------------------------------------------------------------------------------------------- helpers
def _same(g: Array) -> Array:
    return g


_BOTH = (_same, _same)


def _nothing(g: Array) -> Array:
    return xp(g).zeros_like(g)


def _whole_quotient(a: Array, b: Array) -> Array:
    return xp(a, b).floor_divide(a.real, b.real)


def _quotient(g: Array, x: Any) -> Array:
    """g / x, with 0/0 = 0: where nothing comes from upstream, a singular point passes nothing on."""
    if isinstance(x, (int, float)):
        return g / x
    return g / (x + (g == 0) * (x == 0))


def _zero_like(g: Array) -> Array:
    return xp(g).zeros((), g.dtype)
