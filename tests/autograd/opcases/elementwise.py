"""Cases of the elementwise ops: arithmetic, functions, activations, choices, comparisons."""

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import special

from minattn.testing import strategies

from .case import Call, Case, binary, drawn, dtypes, unary

POSITIVE = {"low": 0.2, "high": 3.0}
NOT_ZERO = {"away_from": (0.0,), "margin": 0.2}
OFF_KINK = {"away_from": (0.0,)}


def hard_sigmoid(x):
    return np.clip(x / 6 + 0.5, 0, 1)


def gelu_tanh(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


@st.composite
def compared(draw):
    """Two arguments with ties among their elements."""
    dtype = draw(dtypes())
    elements = st.sampled_from([-1.0, 0.0, 0.5, 2.0])
    shapes = draw(strategies.broadcastable_shapes(2))
    return Call(tuple(draw(hnp.arrays(dtype, shape, elements=elements)) for shape in shapes), {})


@st.composite
def truth(draw, count):
    """That many boolean arguments."""
    return Call(tuple(draw(hnp.arrays(bool, shape)) for shape in draw(strategies.broadcastable_shapes(count))), {})


@st.composite
def chosen(draw):
    """Two arguments, and a condition that broadcasts with them."""
    a, b, condition = draw(strategies.broadcastable_shapes(3, max_side=3))
    dtype = draw(dtypes())
    inputs = tuple(draw(strategies.arrays(shape, dtype)) for shape in (a, b))
    return Call(inputs, drawn(draw, {"condition": strategies.masks(condition)}))


@st.composite
def without_ties(draw):
    """Two arguments of which no element is near the other's."""
    dtype = draw(dtypes())
    a, b = draw(strategies.broadcastable_shapes(2, max_side=3))
    even = draw(hnp.arrays(dtype, a, elements=st.sampled_from([-2, 0, 2, 4])))
    odd = draw(hnp.arrays(dtype, b, elements=st.sampled_from([-3, -1, 1, 3])))
    return Call((draw(strategies.layouts(even)), draw(strategies.layouts(odd))), {})


@st.composite
def divided(draw):
    """Two arguments whose quotients are no whole numbers."""
    dtype = draw(dtypes())
    a, b = draw(strategies.broadcastable_shapes(2, max_side=3))
    dividend = draw(hnp.arrays(dtype, a, elements=st.sampled_from([-2.5, -0.5, 0.75, 1.5, 2.25])))
    divisor = draw(hnp.arrays(dtype, b, elements=st.sampled_from([-2.0, -1.0, 0.8125, 1.0])))
    return Call((draw(strategies.layouts(dividend)), draw(strategies.layouts(divisor))), {})


BOUNDS = st.sampled_from([(-1.0, 1.0), (None, 1.0), (-1.0, None)])


@st.composite
def clipped(draw):
    """An argument between numbers, or between arrays that broadcast, the lower bound above the upper one at times."""
    if draw(st.booleans()):
        low, high = draw(BOUNDS)
        return Call((draw(strategies.arrays(strategies.shapes(), away_from=(-1.0, 1.0))),), {"low": low, "high": high})
    dtype = draw(dtypes())
    shapes = draw(strategies.broadcastable_shapes(3, max_side=3))
    elements = (-1.5, -0.5, 0.5, 1.5), (-2.0, -1.0, 0.0), (-1.25, 0.25, 1.25)
    inputs = [
        draw(hnp.arrays(dtype, shape, elements=st.sampled_from(values)))
        for shape, values in zip(shapes, elements, strict=True)
    ]
    return Call(tuple(inputs), {})


def sums_off_zero():
    """Two arrays whose sums are not near zero."""
    return without_ties().map(lambda call: Call((call.inputs[0], -call.inputs[1]), call.parameters))


CASES = {
    # arithmetic
    "add": binary(np.add),
    "subtract": binary(np.subtract),
    "multiply": binary(np.multiply),
    "divide": binary(np.divide, b=NOT_ZERO),
    "floor_divide": Case(divided(), np.floor_divide),
    "remainder": Case(divided(), np.remainder),
    "negative": unary(np.negative),
    "power": binary(np.power, a=POSITIVE),
    "square": unary(np.square),
    # functions
    "exp": unary(np.exp),
    "log": unary(np.log, POSITIVE),
    "expm1": unary(np.expm1),
    "log1p": unary(np.log1p, {"low": -0.8, "high": 3.0}),
    "sqrt": unary(np.sqrt, POSITIVE),
    "tanh": unary(np.tanh),
    "sin": unary(np.sin),
    "cos": unary(np.cos),
    "erf": unary(special.erf),
    "abs": unary(np.abs, OFF_KINK),
    "sign": unary(np.sign, OFF_KINK),
    "floor": unary(np.floor, {"away_from": (-2.0, -1.0, 0.0, 1.0, 2.0)}),
    # activations
    "sigmoid": unary(special.expit),
    "relu": unary(lambda x: np.maximum(x, 0), OFF_KINK),
    "add_relu": Case(sums_off_zero(), lambda x, y: np.maximum(x + y, 0)),
    "leaky_relu": unary(lambda x, slope: np.where(x > 0, x, slope * x), OFF_KINK, slope=st.sampled_from([0.01, 0.3])),
    "elu": unary(lambda x, alpha: np.where(x > 0, x, alpha * np.expm1(x)), OFF_KINK, alpha=st.sampled_from([1.0, 0.5])),
    "softplus": unary(lambda x: np.logaddexp(0, x)),
    "silu": unary(lambda x: x * special.expit(x)),
    "gelu": unary(lambda x: x * special.ndtr(x)),
    "gelu_tanh": unary(gelu_tanh),
    "hard_sigmoid": unary(hard_sigmoid, {"low": -5.0, "high": 5.0, "away_from": (-3.0, 3.0)}),
    # choices
    "maximum": Case(without_ties(), np.maximum),
    "minimum": Case(without_ties(), np.minimum),
    "clip": Case(clipped(), lambda x, low=None, high=None: np.clip(x, low, high)),
    "where": Case(chosen(), lambda a, b, condition: np.where(condition, a, b)),
    # comparisons, without a gradient
    "equal": Case(compared(), np.equal, ""),
    "not_equal": Case(compared(), np.not_equal, ""),
    "less": Case(compared(), np.less, ""),
    "less_equal": Case(compared(), np.less_equal, ""),
    "greater": Case(compared(), np.greater, ""),
    "greater_equal": Case(compared(), np.greater_equal, ""),
    "logical_not": Case(truth(1), np.logical_not, ""),
    "logical_and": Case(truth(2), np.logical_and, ""),
    "logical_or": Case(truth(2), np.logical_or, ""),
}
