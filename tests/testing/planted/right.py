"""Functions whose pullbacks are right, with the inputs that they are tried on: no checker may refuse any of them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import special

from minattn.testing import strategies


@dataclass(frozen=True)
class Right:
    """A function and its pullback, and a hypothesis strategy for tuples of inputs."""

    name: str
    f: Callable[..., Any]
    vjp: Callable[..., Any]
    inputs: st.SearchStrategy[tuple[Any, ...]]


RIGHT: list[Right] = []


def right(inputs: st.SearchStrategy[tuple[Any, ...]]) -> Callable[[Callable[[], Any]], None]:
    """Decorates a function that returns (f, vjp)."""

    def enter(made: Callable[[], Any]) -> None:
        RIGHT.append(Right(made.__name__, *made(), inputs))

    return enter


def sums(g, shape):
    """g summed over the axes along which `shape` was broadcast."""
    lead = g.ndim - len(shape)
    g = g.sum(tuple(range(lead)))
    return g.sum(tuple(i for i, n in enumerate(shape) if n == 1 and g.shape[i] != 1), keepdims=True)


# ---------------------------------------------------------------------------------------------- inputs
def one(shape=None, **domain):
    return st.tuples(strategies.arrays(strategies.shapes() if shape is None else shape, np.float64, **domain))


@st.composite
def several(draw, count, *domains, same=False):
    """That many arrays, of shapes that broadcast together or (same) of one shape."""
    shapes = [draw(strategies.shapes())] * count if same else draw(strategies.broadcastable_shapes(count))
    domains = domains or ({},) * count
    return tuple(draw(strategies.arrays(s, np.float64, **d)) for s, d in zip(shapes, domains, strict=True))


@st.composite
def matrices(draw, *names, **domain):
    """Matrices whose axes have the lengths that `names` say: equal letters are equal lengths."""
    lengths = {letter: draw(st.integers(1, 4)) for name in names for letter in name}
    return tuple(draw(strategies.arrays(tuple(lengths[c] for c in name), np.float64, **domain)) for name in names)


@st.composite
def well_conditioned(draw, *others):
    """A square matrix far from singular, and others by their axes ('n' is its length)."""
    n = draw(st.integers(1, 4))
    a = draw(strategies.arrays((n, n), np.float64, low=-0.2, high=0.2)) + np.eye(n)
    lengths = {"n": n, "m": draw(st.integers(1, 3))}
    return (a, *(draw(strategies.arrays(tuple(lengths[c] for c in name), np.float64)) for name in others))


POSITIVE = {"low": 0.3, "high": 3.0}
OFF_ZERO = {"away_from": (0.0,), "margin": 0.1}
AXIS = {"min_dims": 1, "min_side": 1}
ROWS = strategies.shapes(**AXIS)


# ---------------------------------------------------------------------------------------------- of one number
def elementwise(name, f, slope, **domain):
    RIGHT.append(Right(name, f, lambda g, x: g * slope(x), one(**domain)))


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


elementwise("sin", np.sin, np.cos)
elementwise("cos", np.cos, lambda x: -np.sin(x))
elementwise("exp", np.exp, np.exp)
elementwise("tanh", np.tanh, lambda x: 1 - np.tanh(x) ** 2)
elementwise("sigmoid", sigmoid, lambda x: sigmoid(x) * (1 - sigmoid(x)))
elementwise("log", np.log, lambda x: 1 / x, **POSITIVE)
elementwise("log near 0", np.log, lambda x: 1 / x, low=1e-3, high=2e-3)
elementwise("sqrt", np.sqrt, lambda x: 0.5 / np.sqrt(x), **POSITIVE)
elementwise("square", np.square, lambda x: 2 * x)
elementwise("cube", lambda x: x**3, lambda x: 3 * x * x)
elementwise("reciprocal", lambda x: 1 / x, lambda x: -1 / (x * x), **OFF_ZERO)
elementwise("softplus", lambda x: np.log1p(np.exp(x)), sigmoid)
elementwise("swish", lambda x: x * sigmoid(x), lambda x: sigmoid(x) * (1 + x * (1 - sigmoid(x))))
elementwise("arctan", np.arctan, lambda x: 1 / (1 + x * x))
elementwise("expm1", np.expm1, np.exp)
elementwise("sine of large numbers", np.sin, np.cos, low=1e4, high=2e4)
elementwise("erf", special.erf, lambda x: 2 / np.sqrt(np.pi) * np.exp(-x * x))
elementwise("identity", lambda x: x.copy(), np.ones_like)
elementwise("constant", lambda x: 0 * x + 3, np.zeros_like)
elementwise("steep", lambda x: np.tanh(50 * x), lambda x: 50 * (1 - np.tanh(50 * x) ** 2))
# not analytic, or only in parts
elementwise("relu", lambda x: np.where(x.real > 0, x, 0), lambda x: (x > 0) * 1.0, **OFF_ZERO)
elementwise("relu near its kink", lambda x: np.maximum(x, 0), lambda x: (x > 0) * 1.0, away_from=(0.0,), margin=1e-4)
elementwise("leaky relu", lambda x: np.where(x.real > 0, x, 0.1 * x), lambda x: np.where(x > 0, 1, 0.1), **OFF_ZERO)
elementwise("abs", np.abs, np.sign, **OFF_ZERO)
elementwise("almost analytic", lambda x: x + 1e-4 * np.abs(x), lambda x: 1 + 1e-4 * np.sign(x), **OFF_ZERO)
elementwise("softsign", lambda x: x / (1 + np.abs(x)), lambda x: 1 / (1 + np.abs(x)) ** 2, **OFF_ZERO)
elementwise("cubed modulus", lambda x: np.abs(x) ** 3, lambda x: 3 * x * np.abs(x))
elementwise("x times its modulus", lambda x: x * np.abs(x), lambda x: 2 * np.abs(x), **OFF_ZERO)
elementwise("clip", lambda x: np.clip(x, -1, 1), lambda x: (np.abs(x) < 1) * 1.0, away_from=(-1.0, 1.0))
elementwise("real part", lambda x: np.real(x) ** 2, lambda x: 2 * x)
elementwise(
    "huber",
    lambda x: np.where(np.abs(x) < 1, x * x / 2, np.abs(x) - 0.5),
    lambda x: np.clip(x, -1, 1),
    away_from=(-1.0, 0.0, 1.0),
)


# ---------------------------------------------------------------------------------------------- of two that broadcast
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


# ---------------------------------------------------------------------------------------------- products
@right(matrices("ij", "jk"))
def matmul():
    return np.matmul, lambda g, a, b: (g @ b.T, a.T @ g)


@right(matrices("bij", "bjk"))
def batched_matmul():
    return np.matmul, lambda g, a, b: (g @ np.swapaxes(b, 1, 2), np.swapaxes(a, 1, 2) @ g)


@right(matrices("ni", "io", "o"))
def linear():
    return (lambda x, w, b: x @ w + b), lambda g, x, w, b: (g @ w.T, x.T @ g, g.sum(0))


@right(matrices("i", "i"))
def dot():
    return np.dot, lambda g, a, b: (g * b, g * a)


@right(matrices("i", "j"))
def outer():
    return np.outer, lambda g, a, b: (g @ b, a @ g)


@right(matrices("i", "ij", "j"))
def bilinear():
    return (lambda a, m, b: a @ m @ b), lambda g, a, m, b: (g * (m @ b), g * np.outer(a, b), g * (a @ m))


@right(matrices("ij"))
def gram():
    return (lambda a: a @ a.T), lambda g, a: (g + g.T) @ a


@right(well_conditioned())
def inverse():
    return np.linalg.inv, lambda g, a: -np.linalg.inv(a).T @ g @ np.linalg.inv(a).T


@right(well_conditioned())
def determinant():
    return np.linalg.det, lambda g, a: g * np.linalg.det(a) * np.linalg.inv(a).T


@right(well_conditioned("nm"))
def solve():
    def vjp(g, a, b):
        by_b = np.linalg.solve(a.T, g)
        return -by_b @ np.linalg.solve(a, b).T, by_b

    return np.linalg.solve, vjp


# ---------------------------------------------------------------------------------------------- reductions
@right(one())
def total():
    return np.sum, lambda g, x: np.full(x.shape, g)


@right(one(ROWS))
def mean_of_rows():
    return (lambda x: x.mean(-1)), lambda g, x: np.repeat(g[..., None], x.shape[-1], -1) / x.shape[-1]


@right(one(ROWS))
def variance():
    def vjp(g, x):
        return g[..., None] * 2 * (x - x.mean(-1, keepdims=True)) / x.shape[-1]

    return (lambda x: ((x - x.mean(-1, keepdims=True)) ** 2).mean(-1)), vjp


@right(one(ROWS, distinct=True))
def maximum_of_rows():
    def vjp(g, x):
        return g[..., None] * (x == x.max(-1, keepdims=True))

    return (lambda x: x.max(-1)), vjp


@right(one(ROWS, **POSITIVE))
def product():
    return (lambda x: x.prod(-1)), lambda g, x: (g * x.prod(-1))[..., None] / x


@right(one(ROWS))
def running_sum():
    return (lambda x: np.cumsum(x, -1)), lambda g, x: np.flip(np.cumsum(np.flip(g, -1), -1), -1)


@right(one(ROWS, **POSITIVE))
def norm():
    def f(x):
        return np.sqrt((x * x).sum(-1))

    return f, lambda g, x: (g / f(x))[..., None] * x


@right(one(ROWS, away_from=(0.0,)))
def norm_of_moduli():
    return (lambda x: np.abs(x).sum(-1)), lambda g, x: g[..., None] * np.sign(x)


@right(one(ROWS))
def logsumexp():
    def vjp(g, x):
        e = np.exp(x)
        return (g / e.sum(-1))[..., None] * e

    return (lambda x: np.log(np.exp(x).sum(-1))), vjp


@right(one(ROWS, distinct=True))
def sort():
    def vjp(g, x):
        gradient = np.empty(g.shape)
        np.put_along_axis(gradient, np.argsort(x, -1), g, -1)
        return gradient

    return (lambda x: np.sort(x, -1)), vjp


# ---------------------------------------------------------------------------------------------- rearranging
@right(one())
def reshape():
    return (lambda x: x.reshape(-1).copy()), lambda g, x: g.reshape(x.shape).copy()


@right(one())
def transpose():
    return (lambda x: x.T.copy()), lambda g, x: g.T.copy()


@right(one(ROWS))
def without_the_first():
    def vjp(g, x):
        gradient = np.zeros(x.shape)
        gradient[1:] = g
        return gradient

    return (lambda x: x[1:].copy()), vjp


@right(one(ROWS))
def padded():
    return (lambda x: np.pad(x, [(1, 2)] + [(0, 0)] * (x.ndim - 1))), lambda g, x: g[1:-2].copy()


@right(matrices("im", "jm"))
def concatenated():
    def vjp(g, a, b):
        return g[: len(a)].copy(), g[len(a) :].copy()

    return (lambda a, b: np.concatenate([a, b])), vjp


@right(one(ROWS))
def differences():
    def vjp(g, x):
        gradient = np.zeros(x.shape)
        gradient[1:] += g
        gradient[:-1] -= g
        return gradient

    return (lambda x: x[1:] - x[:-1]), vjp


@st.composite
def table_and_ids(draw):
    rows = draw(st.integers(1, 4))
    return draw(strategies.arrays((rows, 3), np.float64)), draw(strategies.ids((5,), rows))


@right(table_and_ids())
def embedding():
    def vjp(g, x, ids):
        gradient = np.zeros(x.shape)
        np.add.at(gradient, ids, g)
        return gradient

    return (lambda x, ids: x[ids]), vjp


@st.composite
def values_and_mask(draw):
    shape = draw(strategies.shapes(min_dims=1, min_side=1))
    return draw(strategies.arrays(shape, np.float64)), draw(strategies.masks(shape))


@right(values_and_mask())
def masked():
    return (lambda x, mask: np.where(mask, x * x, 0)), lambda g, x, mask: np.where(mask, 2 * x * g, 0)


@right(matrices("n", "k"))
def convolution():
    def vjp(g, x, w):
        return np.convolve(g, w), np.array([(g * x[k : k + len(g)]).sum() for k in range(len(w))])

    def f(x, w):
        n = len(x) - len(w) + 1
        return sum((x[k : k + n] * w[k] for k in range(len(w))), np.zeros(n, np.result_type(x, w)))

    def narrow(x, w):
        return f(x, w[: len(x)])

    def narrow_vjp(g, x, w):
        by_x, by_w = vjp(g, x, w[: len(x)])
        return by_x, np.concatenate([by_w, np.zeros(len(w) - len(by_w))])

    return narrow, narrow_vjp


# ---------------------------------------------------------------------------------------------- of networks
def softmaxed(x):
    e = np.exp(x - x.real.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


@right(one(ROWS))
def softmax():
    def vjp(g, x):
        y = softmaxed(x)
        return y * (g - (g * y).sum(-1, keepdims=True))

    return softmaxed, vjp


@st.composite
def logits_and_targets(draw):
    rows, classes = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    return draw(strategies.arrays((rows, classes), np.float64)), draw(strategies.ids((rows,), classes))


@right(logits_and_targets())
def cross_entropy():
    def f(x, targets):
        return -np.log(softmaxed(x)[np.arange(len(x)), targets]).mean()

    def vjp(g, x, targets):
        gradient = softmaxed(x)
        gradient[np.arange(len(x)), targets] -= 1
        return g * gradient / len(x)

    return f, vjp


def normalized(x, axis):
    centered = x - x.mean(axis, keepdims=True)
    return centered / np.sqrt((centered * centered).mean(axis, keepdims=True) + 0.1)


def normalized_vjp(g, x, axis):
    centered = x - x.mean(axis, keepdims=True)
    deviation = np.sqrt((centered * centered).mean(axis, keepdims=True) + 0.1)
    y = centered / deviation
    return (g - g.mean(axis, keepdims=True) - y * (g * y).mean(axis, keepdims=True)) / deviation


@right(one(ROWS))
def layer_norm():
    return (lambda x: normalized(x, -1)), lambda g, x: normalized_vjp(g, x, -1)


@right(one(ROWS))
def batch_norm():
    return (lambda x: normalized(x, 0)), lambda g, x: normalized_vjp(g, x, 0)


@right(matrices("qd", "kd", "kv"))
def attention():
    def vjp(g, q, k, v):
        p = softmaxed(q @ k.T)
        by_p = g @ v.T
        by_scores = p * (by_p - (by_p * p).sum(-1, keepdims=True))
        return by_scores @ k, by_scores.T @ q, p.T @ g

    return (lambda q, k, v: softmaxed(q @ k.T) @ v), vjp


def states(x, w):
    """h_t = tanh(x_t + h_{t-1} w), from h_0 = 0."""
    hidden, every = np.zeros_like(x[0]), []
    for row in x:
        hidden = np.tanh(row + hidden @ w)
        every.append(hidden)
    return every


def recurrent(x, w):
    return states(x, w)[-1]


def recurrent_vjp(g, x, w, steps=None):
    every = states(x, w)
    by_x, by_w = np.zeros(x.shape), np.zeros(w.shape)
    for t in reversed(range(len(x))[-steps:] if steps else range(len(x))):
        g = g * (1 - every[t] ** 2)
        by_x[t] = g
        if t:
            by_w += np.outer(every[t - 1], g)
            g = w @ g
    return by_x, by_w


@right(matrices("td", "dd"))
def recurrence():
    return recurrent, recurrent_vjp


@right(one(strategies.shapes(min_dims=1)))
def dropout():
    def kept(x):
        return np.random.default_rng(0).random(x.shape) < 0.7

    return (lambda x: x * kept(x) / 0.7), lambda g, x: g * kept(x) / 0.7
