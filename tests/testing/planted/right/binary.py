"""Functions of two arrays that broadcast, with ties, and with two results."""

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minattn.testing import strategies

from .entry import OFF_ZERO, POSITIVE, RIGHT, Right, right, several, sums


def binary(name, f, by_a, by_b, *domains):
    def vjp(g, a, b):
        return sums(g * by_a(a, b), a.shape), sums(g * by_b(a, b), b.shape)

    RIGHT.append(Right(name, f, vjp, several(2, *domains)))


binary("add", np.add, lambda a, b: 1.0, lambda a, b: 1.0)
binary("subtract", np.subtract, lambda a, b: 1.0, lambda a, b: -1.0)
binary("multiply", np.multiply, lambda a, b: b, lambda a, b: a)
binary("divide", np.divide, lambda a, b: 1 / b, lambda a, b: -a / b**2, {}, OFF_ZERO)
binary("power", lambda a, b: a**b, lambda a, b: b * a ** (b - 1), lambda a, b: a**b * np.log(a), POSITIVE, {})
binary(
    "hypotenuse",
    lambda a, b: np.sqrt(a * a + b * b),
    lambda a, b: a / np.hypot(a, b),
    lambda a, b: b / np.hypot(a, b),
    POSITIVE,
    POSITIVE,
)
binary("arctan2", np.arctan2, lambda a, b: b / (a * a + b * b), lambda a, b: -a / (a * a + b * b), POSITIVE, POSITIVE)
binary("maximum", np.maximum, lambda a, b: (a > b) * 1.0, lambda a, b: (b > a) * 1.0, {}, {"low": 3, "high": 4})


@st.composite
def tying(draw, count):
    """Arrays of one shape, of few different numbers."""
    shape = draw(strategies.shapes(min_dims=1, min_side=1))
    return tuple(draw(hnp.arrays(np.float64, shape, elements=st.sampled_from([-1.0, 0.0, 2.0]))) for _ in range(count))


@right(tying(2))
def maximum_with_ties():
    def vjp(g, a, b):
        return g * ((a > b) + 0.5 * (a == b)), g * ((b > a) + 0.5 * (a == b))

    return np.maximum, vjp


@right(tying(1))
def the_first_of_equal_maxima():
    def vjp(g, x):
        gradient = np.zeros(x.shape)
        np.put_along_axis(gradient, x.argmax(-1)[..., None], g[..., None], -1)
        return gradient

    return (lambda x: x.max(-1)), vjp


@right(tying(1))
def relu_at_its_kink():
    return (lambda x: np.maximum(x, 0)), lambda g, x: g * (x > 0)


@right(several(3, same=True))
def sum_of_products():
    return lambda a, b, c: a * b + b * c, lambda g, a, b, c: (g * b, g * (a + c), g * b)


@right(several(2, same=True))
def two_results():
    return (lambda a, b: (a * b, np.sin(a))), lambda g, h, a, b: (g * b + h * np.cos(a), g * a)
