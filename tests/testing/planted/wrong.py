"""Functions whose pullbacks are wrong, as people get them wrong: a checker has to refuse every one of them.

`says` is what the diagnosis of minattn's message has to hold; None where the evidence is not clear enough for one, and
then there must be none.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .right import normalized, normalized_vjp, recurrent, recurrent_vjp, sigmoid, softmaxed, states


@dataclass(frozen=True)
class Wrong:
    """A function, a pullback that is not its own, and inputs that show it."""

    kind: str
    name: str
    f: Callable[..., Any]
    vjp: Callable[..., Any]
    inputs: tuple[Any, ...]
    says: str | None


WRONG: list[Wrong] = []


def plant(kind, name, f, vjp, *inputs, says=None):
    WRONG.append(Wrong(kind, name, f, vjp, inputs, says))


def draw(*shape, seed=0, low=-2.0, high=2.0):
    return np.random.default_rng(seed).uniform(low, high, shape)


X = draw(3, 4)
POSITIVE = draw(3, 4, seed=1, low=0.4, high=2.0)
OTHER = draw(3, 4, seed=2, low=0.5, high=2.0)
ROW = draw(4, seed=3, low=0.5, high=2.0)
SQUARE = draw(4, 4, seed=4)
VECTOR = draw(6, seed=5)
LONG = draw(200, seed=6)
LARGE = draw(12, 15, seed=7)

# ---------------------------------------------------------------------------------------------- signs and factors
SIGN = "the sign lost"
plant("sign", "cos", np.cos, lambda g, x: g * np.sin(x), X, says=SIGN)
plant("sign", "reciprocal", lambda x: 1 / x, lambda g, x: g / (x * x), POSITIVE, says=SIGN)
plant("sign", "subtract", np.subtract, lambda g, a, b: (g.copy(), g.copy()), X, OTHER, says=SIGN)
plant("sign", "exp(-x)", lambda x: np.exp(-x), lambda g, x: g * np.exp(-x), X, says=SIGN)
plant("sign", "divide", lambda a, b: a / b, lambda g, a, b: (g / b, g * a / b**2), X, OTHER, says=SIGN)
plant("sign", "cos of 180", np.cos, lambda g, x: g * np.sin(x), LARGE, says=SIGN)
plant("factor", "square", lambda x: x * x, lambda g, x: g * x, X, says="a factor 0.5 too many")
plant("factor", "cube", lambda x: x**3, lambda g, x: g * 2 * x * x, X, says="a factor 0.666667 too many")
plant("factor", "sqrt", np.sqrt, lambda g, x: g / np.sqrt(x), POSITIVE, says="a factor 2 too many")
plant("factor", "half a square", lambda x: x * x / 2, lambda g, x: 2 * g * x, X, says="a factor 2 too many")
plant("factor", "scaled", lambda x: 3 * x, lambda g, x: g.copy(), X, says="a factor 0.333333 too many")
plant("factor", "gram", lambda a: a @ a.T, lambda g, a: g @ a + g.T @ a * 2, X)
plant("factor", "slightly", lambda x: np.sin(x), lambda g, x: g * np.cos(x) * (1 + 1e-8), X, says="a factor 1")
plant("factor", "of a scalar", lambda x: x * x, lambda g, x: g * x * 4, np.array(1.5), says="a factor 2")
plant(
    "factor", "of one of two", lambda a, b: a * b, lambda g, a, b: (g * b, 3 * g * a), X, OTHER, says="a factor 3 too"
)
plant("factor", "of 200", lambda x: x**3, lambda g, x: g * 2 * x * x, LONG, says="a factor 0.666667 too many")
MEAN = "a mean where there is a sum"
SUM = "summed twice, or a mean taken for a sum"
plant("reduction", "sum as mean", lambda x: x.sum(1), lambda g, x: np.repeat(g[:, None], 4, 1) / 4, X, says=MEAN)
plant("reduction", "mean as sum", lambda x: x.mean(1), lambda g, x: np.repeat(g[:, None], 4, 1), X, says=SUM)
plant("reduction", "mean of all", lambda x: (x * x).mean(), lambda g, x: g * 2 * x, X, says=SUM)
plant(
    "reduction",
    "mean over the wrong axis",
    lambda x: x.mean(0),
    lambda g, x: np.repeat(g[None], 3, 0) / 4,
    X,
    says="a factor 0.75",
)
plant(
    "reduction",
    "variance by n - 1",
    lambda x: x.var(1),
    lambda g, x: g[:, None] * 2 * (x - x.mean(1)[:, None]) / 3,
    X,
    says="a factor 1.33333 too many",
)

# ---------------------------------------------------------------------------------------------- other derivatives
plant("derivative", "tanh without the square", np.tanh, lambda g, x: g * (1 - np.tanh(x)), X)
plant("derivative", "sigmoid", sigmoid, lambda g, x: g * sigmoid(x), X)
plant("derivative", "log", np.log, lambda g, x: g * x, POSITIVE)
plant("derivative", "power", lambda x: x**4, lambda g, x: 4 * g * x**4, POSITIVE)
plant("derivative", "softsign", lambda x: x / (1 + np.abs(x)), lambda g, x: g / (1 + np.abs(x)), X)
plant("derivative", "arctan", np.arctan, lambda g, x: g / (1 + x), POSITIVE)
plant("derivative", "softplus", lambda x: np.log1p(np.exp(x)), lambda g, x: g * np.tanh(x), X)
plant("derivative", "swish", lambda x: x * sigmoid(x), lambda g, x: g * sigmoid(x) * (1 - x * sigmoid(x)), X)
plant("derivative", "an epsilon", np.sqrt, lambda g, x: 0.5 * g / np.sqrt(x + 1e-8), POSITIVE)
VALUE = "the value used where input 0 stands"
plant("value for input", "sin", np.sin, lambda g, x: g * np.cos(np.sin(x)), X, says=VALUE)
plant("value for input", "log", np.log, lambda g, x: g / np.log(x), POSITIVE + 1, says=VALUE)
plant("value for input", "exp", np.exp, lambda g, x: g * np.exp(np.exp(x)), X, says=VALUE)
plant("value for input", "cube", lambda x: x**3, lambda g, x: 3 * g * x**6, X, says=VALUE)
plant("input for value", "tanh", np.tanh, lambda g, x: g * (1 - x * x), X)
plant("input for value", "sigmoid", sigmoid, lambda g, x: g * x * (1 - x), X)
plant("input for value", "exp", np.exp, lambda g, x: g * x, X)

# ---------------------------------------------------------------------------------------------- product rule
plant("product rule", "x sin x", lambda x: x * np.sin(x), lambda g, x: g * x * np.cos(x), X)
plant("product rule", "x sin x, the other", lambda x: x * np.sin(x), lambda g, x: g * np.sin(x), X)
plant("product rule", "x exp x", lambda x: x * np.exp(x), lambda g, x: g * np.exp(x), X)
plant("product rule", "a quotient", lambda x: x / (1 + x * x), lambda g, x: g / (1 + x * x), X)
plant("product rule", "chain", lambda x: np.sin(x * x), lambda g, x: g * np.cos(x * x), X)
plant("product rule", "gram by one side", lambda a: a @ a.T, lambda g, a: g @ a, X)
plant("missing term", "of the other input", lambda a, b: a * b + a * a, lambda g, a, b: (2 * g * a, g * a), X, OTHER)
plant(
    "missing term",
    "equal to the other gradient",
    lambda a, b: np.exp(a + b) + np.sin(a),
    lambda g, a, b: (g * np.cos(a), g * np.exp(a + b)),
    X,
    OTHER,
    says="a term missing that is the gradient of input 1",
)
plant(
    "missing term",
    "one too many",
    lambda a, b: np.exp(b) + np.sin(a),
    lambda g, a, b: (g * (np.cos(a) + np.exp(b)), g * np.exp(b)),
    X,
    OTHER,
    says="the gradient of input 1 added to that of input 0",
)

# ---------------------------------------------------------------------------------------------- arguments, transposes
SWAPPED = "the gradients of input 0 and input 1 swapped"
plant("swapped", "multiply", np.multiply, lambda g, a, b: (g * a, g * b), X, OTHER, says=SWAPPED)
plant("swapped", "dot", np.dot, lambda g, a, b: (g * a, g * b), VECTOR, VECTOR[::-1] + 1, says=SWAPPED)
plant(
    "swapped",
    "power",
    lambda a, b: a**b,
    lambda g, a, b: (g * a**b * np.log(a), g * b * a ** (b - 1)),
    POSITIVE,
    OTHER,
    says=SWAPPED,
)
plant("swapped", "divide", lambda a, b: a / b, lambda g, a, b: (-g * a / b**2, g / b), X, OTHER, says=SWAPPED)
plant(
    "swapped",
    "one for both",
    np.multiply,
    lambda g, a, b: (g * b, g * b),
    X,
    OTHER,
    says="the gradient of input 0 given to input 1",
)
plant(
    "swapped",
    "where",
    lambda a, b: np.where(SQUARE[:3] > 0, a, b),
    lambda g, a, b: (np.where(SQUARE[:3] > 0, 0, g), np.where(SQUARE[:3] > 0, g, 0)),
    X,
    OTHER,
    says=SWAPPED,
)
TRANSPOSE = "the transpose of the right gradient"
plant("transpose", "weight", lambda w: X @ w, lambda g, w: (X.T @ g).T.copy(), SQUARE, says=TRANSPOSE)
plant("transpose", "of a transpose", lambda x: x.T * 2, lambda g, x: 2 * g, SQUARE, says=TRANSPOSE)
plant(
    "transpose",
    "trace of a product",
    lambda a: (SQUARE * a).sum(),
    lambda g, a: g * SQUARE.T,
    SQUARE[::-1] + 1,
    says=TRANSPOSE,
)
plant("transpose", "matmul with b", lambda a, b: a @ b, lambda g, a, b: (g @ b, a.T @ g), X, SQUARE)
plant("transpose", "matmul with a", lambda a, b: a @ b, lambda g, a, b: (g @ b.T, a @ g), SQUARE, SQUARE.T + 1)
plant(
    "transpose",
    "inverse",
    np.linalg.inv,
    lambda g, a: -np.linalg.inv(a) @ g @ np.linalg.inv(a),
    np.eye(3) + 0.2 * draw(3, 3),
)
plant(
    "transpose",
    "determinant",
    np.linalg.det,
    lambda g, a: g * np.linalg.det(a) * np.linalg.inv(a),
    SQUARE,
    says=TRANSPOSE,
)
plant("transpose", "shape", lambda x: x.T * 2, lambda g, x: 2 * g, X, says=TRANSPOSE)
plant("order", "flipped", lambda x: x[::-1] * 2, lambda g, x: 2 * g, VECTOR, says="in reversed order along axis 0")
plant("order", "running sum", np.cumsum, lambda g, x: np.cumsum(g), VECTOR)
plant(
    "order",
    "reversed running sum",
    lambda x: np.cumsum(x),
    lambda g, x: np.cumsum(g[::-1]),
    VECTOR,
    says="in reversed order along axis 0",
)
plant("order", "rolled the same way", lambda x: np.roll(x, 1), lambda g, x: np.roll(g, 1), VECTOR)
plant("order", "sorted", np.sort, lambda g, x: g.copy(), VECTOR)
plant(
    "order",
    "off by one",
    lambda x: x[1:] * 1.0,
    lambda g, x: np.concatenate([g, [0.0]]),
    VECTOR,
    says="shifted by one along axis 0",
)
plant("order", "reshaped in another order", lambda x: x.reshape(-1, order="F"), lambda g, x: g.reshape(x.shape), X)

# ---------------------------------------------------------------------------------------------- broadcasting
UNSUMMED = "not summed over the broadcast axis 0"
plant("broadcast", "row", np.add, lambda g, a, b: (g.copy(), g.copy()), X, ROW, says=UNSUMMED)
plant("broadcast", "row of a product", np.multiply, lambda g, a, b: (g * b, g * a), X, ROW, says=UNSUMMED)
plant(
    "broadcast",
    "column",
    np.add,
    lambda g, a, b: (g.copy(), g.copy()),
    X,
    X[:, :1].copy(),
    says="not summed over the broadcast axis 1",
)
plant(
    "broadcast",
    "number",
    np.multiply,
    lambda g, a, b: (g * b, g * a),
    X,
    np.array(2.0),
    says="not summed over the broadcast axes 0, 1",
)
plant("broadcast", "first row alone", np.add, lambda g, a, b: (g.copy(), g[0].copy()), X, ROW)
plant("broadcast", "mean over it", np.add, lambda g, a, b: (g.copy(), g.mean(0)), X, ROW, says=MEAN)
plant("broadcast", "over the wrong axis", lambda a, b: a + b, lambda g, a, b: (g.copy(), g.sum(1)), SQUARE, ROW)
plant("broadcast", "everything", np.add, lambda g, a, b: (g.copy(), g.sum()), X, ROW, says="summed over all axes")
plant(
    "broadcast",
    "keepdims",
    lambda a, b: a + b,
    lambda g, a, b: (g.copy(), g.sum(1)),
    X,
    X[:, :1].copy(),
    says="an axis of length 1 that was lost",
)
plant(
    "broadcast",
    "bias of 30 rows",
    lambda x, b: x + b,
    lambda g, x, b: (g.copy(), g.sum(0) / 30),
    draw(30, 4),
    ROW,
    says=MEAN,
)

# ---------------------------------------------------------------------------------------------- the upstream gradient
IGNORED = "the upstream gradient ignored"
plant("upstream", "ignored by square", np.square, lambda g, x: 2 * x, X, says=IGNORED)
plant("upstream", "ignored by sum", lambda x: (x**2).sum(), lambda g, x: 2 * x, X, says=IGNORED)
plant("upstream", "ignored by matmul", lambda a: a @ SQUARE, lambda g, a: np.ones((3, 4)) @ SQUARE.T, X, says=IGNORED)
plant("upstream", "its size alone", np.sin, lambda g, x: np.abs(g) * np.cos(x), X, says="not linear")
plant("upstream", "squared", np.sin, lambda g, x: g * g * np.cos(x), X, says="not linear")
plant("upstream", "clipped", np.sin, lambda g, x: np.clip(g, -100, 100) * np.cos(x), X, says="not linear")
plant(
    "upstream",
    "small ones dropped",
    np.sin,
    lambda g, x: np.where(np.abs(g) < 1e-6, 0, g) * np.cos(x),
    X,
    says="not linear",
)
plant("upstream", "an epsilon added", np.sin, lambda g, x: (g + 1e-13) * np.cos(x), X, says="not linear")
plant("upstream", "its first element for all", np.sin, lambda g, x: g.flat[0] * np.cos(x), X)
plant("upstream", "mean of it", np.sin, lambda g, x: g.mean() * np.cos(x), X)
plant("upstream", "right for ones alone", lambda x: x.sum(0), lambda g, x: np.full(x.shape, g.sum() / g.size), X)
plant("upstream", "weight decay", np.sin, lambda g, x: g * np.cos(x) + 0.01 * x, X, says="not linear")
plant("upstream", "divided by its norm", np.sin, lambda g, x: g / np.linalg.norm(g) * np.cos(x), X, says="not linear")
plant("upstream", "of the other result", lambda x: (np.sin(x), x * x), lambda g, h, x: h * np.cos(x) + 2 * g * x, X)
plant("upstream", "of one result alone", lambda x: (np.sin(x), x * x), lambda g, h, x: g * np.cos(x), X)
plant(
    "upstream",
    "memory order",
    np.exp,
    lambda g, x: (np.exp(x).ravel("K") * g.ravel("K")).reshape(x.shape),
    X,
    says="takes memory to be contiguous",
)


# ---------------------------------------------------------------------------------------------- at a few places
def spoilt(place, by=0.0):
    def vjp(g, x):
        gradient = g * np.cos(x)
        gradient[place] *= by
        return gradient

    return vjp


plant("one place", "first element", np.sin, spoilt(0), VECTOR, says="no gradient only at the first place")
plant("one place", "last element", np.sin, spoilt(-1), VECTOR, says="no gradient only at the last place")
plant("one place", "one of 200", np.sin, spoilt(77), LONG)
plant("one place", "one of 180, slightly", np.sin, spoilt((5, 6), 1 + 1e-7), LARGE)
plant("one place", "last row", np.sin, spoilt((-1,)), X, says="no gradient only at the last place along axis 0")
plant("one place", "first column", np.sin, spoilt((slice(None), 0)), X, says="only at the first place along axis 1")
plant(
    "one place",
    "last column twice",
    np.sin,
    spoilt((slice(None), -1), 2),
    X,
    says="a factor 2 only at the last place along axis 1",
)
plant(
    "one place",
    "both borders",
    lambda x: np.convolve(x, [1.0, 2.0, 1.0], "same"),
    lambda g, x: np.pad(np.convolve(g, [1.0, 2.0, 1.0], "same")[1:-1], 1),
    VECTOR,
    says="no gradient only at the two borders",
)
plant("one place", "middle", np.sin, spoilt(3, 1.5), VECTOR)
NEGATIVE = np.array([[1.0, -1.5, 0.5, -0.25], [-2.0, 1.25, -0.75, 2.0], [0.75, -1.0, 1.5, -0.5]])
plant(
    "one place",
    "abs of negative ones",
    np.abs,
    lambda g, x: g * (x > 0),
    NEGATIVE,
    says="no gradient only where input 0 is negative",
)
plant(
    "one place",
    "sign lost for negative ones",
    np.abs,
    lambda g, x: g.copy(),
    NEGATIVE,
    says="a factor -1 only where input 0 is negative",
)
plant(
    "one place",
    "leaky relu",
    lambda x: np.where(x.real > 0, x, 0.1 * x),
    lambda g, x: g * (x > 0),
    NEGATIVE,
    says="no gradient only where input 0 is negative",
)
plant(
    "one place",
    "elu",
    lambda x: np.where(x.real > 0, x, np.exp(x) - 1),
    lambda g, x: g * np.where(x > 0, 1, np.exp(x) - 1),
    NEGATIVE,
    says="a mistake only where input 0 is negative",
)
plant(
    "one place",
    "relu let through",
    lambda x: np.where(x.real > 0, x, 0),
    lambda g, x: g.copy(),
    NEGATIVE,
    says="a gradient where there is none only where input 0 is negative",
)
plant("one place", "clip at both ends", lambda x: np.clip(x, -1, 1), lambda g, x: g * (x < 1), VECTOR)

# ---------------------------------------------------------------------------------------------- kinks and ties
TIED = np.array([2.0, 1.0, 2.0, 0.5, 2.0])
plant("ties", "maximum to all", lambda x: x.max(), lambda g, x: g * (x == x.max()), TIED, says="all elements that tie")
plant(
    "ties",
    "maximum to none",
    lambda a, b: np.maximum(a, b),
    lambda g, a, b: (g * (a > b), g * (b > a)),
    TIED,
    np.array([2.0, 3.0, 1.0, 0.0, 2.0]),
    says="to none of them",
)
plant("ties", "double at a kink", lambda x: np.maximum(x, 0), lambda g, x: g * 2 * (x >= 0), np.array([0.0, 1.0, -1.0]))
plant(
    "ties",
    "relu at 0",
    lambda x: np.maximum(x, 0),
    lambda g, x: np.where(x == 0, -1, x > 0) * g,
    np.array([1.0, 0.0, -1.0, 2.0]),
    says="only where input 0 is 0",
)
plant(
    "ties",
    "minimum twice",
    lambda x: x.min(),
    lambda g, x: 2 * g * (x == x.min()),
    np.array([1.0, 3.0, 2.0]),
    says="a factor 2 too many",
)
plant(
    "ties",
    "wrong between equals",
    lambda x: np.sort(x)[-2:].sum(),
    lambda g, x: g * (x >= np.sort(x)[-2]),
    TIED,
    says="all elements that tie",
)

# ---------------------------------------------------------------------------------------------- indices and masks
IDS = np.array([0, 2, 2, 3, 2, 0])


def assigned(g, x, ids):
    gradient = np.zeros(x.shape)
    gradient[ids] = g
    return gradient


def added_once(g, x, ids):
    gradient = np.zeros(x.shape)
    gradient[ids] += g
    return gradient


REPEATED = "only where an index of input 1 is repeated"
TABLE = draw(5, 3)
plant("index", "assigned", lambda x, ids: x[ids], assigned, TABLE, IDS, says=REPEATED)
plant("index", "added once", lambda x, ids: x[ids] * 1.0, added_once, TABLE, IDS, says=REPEATED)
plant(
    "index",
    "one off",
    lambda x, ids: x[ids],
    lambda g, x, ids: assigned(g, x, (ids + 1) % 5),
    TABLE,
    np.arange(5),
    says="shifted by one along axis 0",
)
plant(
    "index",
    "negative ones forgotten",
    lambda x, ids: x[ids],
    lambda g, x, ids: assigned(g[ids >= 0], x, ids[ids >= 0]),
    TABLE,
    np.array([0, 1, -1]),
    says="no gradient only at the last place along axis 0",
)
plant(
    "index",
    "counted twice",
    lambda x: x[[0, 1]].sum() + x[2:].sum(),
    lambda g, x: g * np.bincount([0, 1, 1, 2, 3, 4, 5]),
    VECTOR,
)
MASK = np.array([[True, True, False, True], [False, True, True, True], [True, False, True, False]])
plant(
    "mask",
    "forgotten",
    lambda x, m: np.where(m, x * x, 0),
    lambda g, x, m: 2 * g * x,
    X,
    MASK,
    says="where the mask, input 1, is False",
)
plant("mask", "inverted", lambda x, m: np.where(m, x * x, 0), lambda g, x, m: np.where(m, 0, 2 * g * x), X, MASK)
plant(
    "mask",
    "one side wrong",
    lambda x, m: np.where(m, x * x, x),
    lambda g, x, m: np.where(m, 3 * g * x, g),
    X,
    MASK,
    says="a factor 1.5 only where the mask, input 1, is True",
)
plant(
    "mask",
    "mean over all",
    lambda x, m: np.where(m, x, 0).sum() / m.sum(),
    lambda g, x, m: g * m / m.size,
    X,
    MASK,
    says="a factor 0.666667 too many",
)
plant(
    "mask",
    "masked softmax",
    lambda x, m: softmaxed(np.where(m, x, -1e9)) * m,
    lambda g, x, m: softmaxed(x) * (g - (g * softmaxed(x)).sum(-1, keepdims=True)),
    X,
    MASK,
)


def kept(x, seed=0):
    return np.random.default_rng(seed).random(x.shape) < 0.7


plant("dropout", "another mask", lambda x: x * kept(x), lambda g, x: g * kept(x, 1), LARGE[:4])
plant("dropout", "not scaled", lambda x: x * kept(x) / 0.7, lambda g, x: g * kept(x), X, says="a factor 0.7 too many")
plant("dropout", "no mask", lambda x: x * kept(x), lambda g, x: g.copy(), X)

# ---------------------------------------------------------------------------------------------- networks
OFF_DIAGONAL = "the value times a constant along axis 1"
plant("softmax", "diagonal alone", softmaxed, lambda g, x: softmaxed(x) * (1 - softmaxed(x)) * g, X)
plant("softmax", "sum forgotten", softmaxed, lambda g, x: softmaxed(x) * g, X, says=OFF_DIAGONAL)
plant(
    "softmax",
    "over all rows",
    softmaxed,
    lambda g, x: softmaxed(x) * (g - (g * softmaxed(x)).sum()),
    X,
    says=OFF_DIAGONAL,
)
plant("softmax", "log softmax", lambda x: np.log(softmaxed(x)), lambda g, x: g - softmaxed(x) * g, X)
plant(
    "softmax",
    "cross-entropy not averaged",
    lambda x, t: -np.log(softmaxed(x)[np.arange(3), t]).mean(),
    lambda g, x, t: g * (softmaxed(x) - np.eye(4)[t]),
    X,
    np.array([0, 2, 3]),
    says="a factor 3 too many",
)
plant(
    "softmax",
    "cross-entropy with other targets",
    lambda x, t: -np.log(softmaxed(x)[np.arange(3), t]).mean(),
    lambda g, x, t: g * (softmaxed(x) - np.eye(4)[t[::-1]]) / 3,
    X,
    np.array([0, 2, 3]),
)


def layer_norm(x):
    return normalized(x, -1)


def deviations(x):
    return np.sqrt(x.var(-1, keepdims=True) + 0.1)


plant(
    "layer norm",
    "mean forgotten",
    layer_norm,
    lambda g, x: (g - layer_norm(x) * (g * layer_norm(x)).mean(-1, keepdims=True)) / deviations(x),
    X,
    says="a term missing that is constant along axis 1",
)
plant(
    "layer norm",
    "deviation held fixed",
    layer_norm,
    lambda g, x: (g - g.mean(-1, keepdims=True)) / deviations(x),
    X,
    says=OFF_DIAGONAL,
)
plant("layer norm", "both held fixed", layer_norm, lambda g, x: g / deviations(x), X)
plant("layer norm", "over the other axis", layer_norm, lambda g, x: normalized_vjp(g, x, 0), X)
plant(
    "layer norm",
    "epsilon forgotten",
    layer_norm,
    lambda g, x: normalized_vjp(g, x, -1) * deviations(x) / x.std(-1, keepdims=True),
    X,
)
plant("batch norm", "statistics held fixed", lambda x: normalized(x, 0), lambda g, x: g / np.sqrt(x.var(0) + 0.1), X)
plant(
    "batch norm",
    "mean forgotten",
    lambda x: normalized(x, 0),
    lambda g, x: normalized_vjp(g, x, 0) + g.mean(0) / np.sqrt(x.var(0) + 0.1),
    X,
    says="a term missing that is constant along axis 0",
)
plant(
    "centered",
    "mean held fixed",
    lambda x: x - x.mean(1, keepdims=True),
    lambda g, x: g.copy(),
    X,
    says="a term missing that is constant along axis 1",
)
STEPS, LOOP = draw(5, 3), draw(3, 3, seed=8) / 2
plant("recurrence", "truncated to 2 steps", recurrent, lambda g, x, w: recurrent_vjp(g, x, w, 2), STEPS, LOOP)
plant("recurrence", "last step alone", recurrent, lambda g, x, w: recurrent_vjp(g, x, w, 1), STEPS, LOOP)
plant(
    "recurrence",
    "weight not transposed",
    recurrent,
    lambda g, x, w: (recurrent_vjp(g, x, w.T)[0], recurrent_vjp(g, x, w)[1]),
    STEPS,
    LOOP,
)
plant(
    "recurrence",
    "last weight gradient alone",
    recurrent,
    lambda g, x, w: (recurrent_vjp(g, x, w)[0], recurrent_vjp(g, x, w, 1)[1]),
    STEPS,
    LOOP,
)
plant(
    "recurrence",
    "first step forgotten",
    recurrent,
    lambda g, x, w: (recurrent_vjp(g, x, w)[0] * (np.arange(5) > 0)[:, None], recurrent_vjp(g, x, w)[1]),
    STEPS,
    LOOP,
    says="no gradient only at the first place along axis 0",
)
plant(
    "recurrence",
    "state for the derivative",
    recurrent,
    lambda g, x, w: recurrent_vjp(g * states(x, w)[-1], x, w),
    STEPS,
    LOOP,
)
QUERIES, KEYS, VALUES = draw(2, 3), draw(4, 3, seed=9), draw(4, 2, seed=10)


def attention(q, k, v):
    return softmaxed(q @ k.T) @ v


def attention_vjp(g, q, k, v):
    p = softmaxed(q @ k.T)
    by_scores = p * (g @ v.T - (g @ v.T * p).sum(-1, keepdims=True))
    return by_scores @ k, by_scores.T @ q, p.T @ g


plant(
    "attention",
    "softmax without its sum",
    attention,
    lambda g, q, k, v: (softmaxed(q @ k.T) * (g @ v.T) @ k, *attention_vjp(g, q, k, v)[1:]),
    QUERIES,
    KEYS,
    VALUES,
)
plant(
    "attention",
    "values by scores",
    attention,
    lambda g, q, k, v: (*attention_vjp(g, q, k, v)[:2], (q @ k.T).T @ g),
    QUERIES,
    KEYS,
    VALUES,
)
plant(
    "attention",
    "scale forgotten",
    lambda q, k, v: attention(q / 2, k, v),
    lambda g, q, k, v: attention_vjp(g, q / 2, k, v),
    QUERIES,
    KEYS,
    VALUES,
    says="a factor 2 too many",
)

# ---------------------------------------------------------------------------------------------- not analytic
plant("not analytic", "1e-4 |x|", lambda x: x + 1e-4 * np.abs(x), lambda g, x: g.copy(), NEGATIVE)
plant("not analytic", "1e-4 |x| of 200", lambda x: x + 1e-4 * np.abs(x), lambda g, x: g.copy(), LONG)
plant("not analytic", "1e-8 |x|", lambda x: x + 1e-8 * np.abs(x), lambda g, x: g.copy(), NEGATIVE)
plant("not analytic", "real part", lambda x: x + 1e-5 * x.real**2, lambda g, x: g.copy(), X)
plant("not analytic", "modulus for softsign", lambda x: x / (1 + np.abs(x)), lambda g, x: g / (1 + np.abs(x)), LARGE)
plant(
    "not analytic",
    "one of 200",
    lambda x: np.where(np.arange(200) == 9, x.real, x),
    spoilt(9, 0) and (lambda g, x: g * (np.arange(200) != 9)),
    LONG,
)
plant(
    "not analytic",
    "the second input alone",
    lambda a, b: a * 2 + 1e-4 * np.abs(b),
    lambda g, a, b: (2 * g, np.zeros_like(b)),
    X,
    OTHER,
    says="a gradient that is lost",
)
plant(
    "not analytic",
    "modulus cubed, slightly",
    lambda x: np.abs(x) ** 3,
    lambda g, x: 3 * g * x * np.abs(x) * (1 + 1e-8),
    X,
    says="a factor 1",
)
plant("not analytic", "maximum", lambda x: x + 1e-6 * np.maximum(np.abs(x), 1), lambda g, x: g.copy(), LONG)


# ---------------------------------------------------------------------------------------------- what else goes wrong
def stale():
    saved = {}

    def f(x):
        saved["y"] = np.exp(x)
        return saved["y"] * 1

    return f, lambda g, x: g * saved["y"]


def accumulating():
    total = {}

    def vjp(g, x):
        total["g"] = total.get("g", 0) + g * np.cos(x)
        return total["g"].copy()

    return np.sin, vjp


def cached():
    """The slope is computed once for each shape."""
    cache = {}
    return np.sin, lambda g, x: g * cache.setdefault(x.shape, np.cos(x))


def remembered():
    """The gradient of the first call, again and again."""
    cache = {}
    return np.sin, lambda g, x: cache.setdefault("gradient", g * np.cos(x)).copy()


plant("stale", "the last value", *stale(), X, says="another forward pass replaces")
plant("stale", "a gradient that adds up", *accumulating(), X, says="something kept from the first call")
plant("stale", "remembered", *remembered(), X, says="kept from the first call: a cache of its gradient")
plant("stale", "a slope for each shape", *cached(), X, says="a cache that does not look at the inputs")


def writing(f, into):
    def vjp(g, x):
        (g if into == "g" else x)[...] *= 2
        return g * np.cos(x)

    return f, vjp


def normalizes_in_place(x):
    x -= x.mean()
    return x * 2


plant("writes", "upstream", *writing(np.sin, "g"), X)
plant("writes", "input", *writing(np.sin, "x"), X.copy())
plant("writes", "input in the forward pass", normalizes_in_place, lambda g, x: 2 * (g - g.mean()), X.copy())
BUFFER = np.zeros((3, 4))


def in_one_buffer(g, a, b):
    np.multiply(g, 2, out=BUFFER)
    return BUFFER, BUFFER


plant("memory", "the upstream itself", lambda x: x * 1, lambda g, x: g, X)
plant("memory", "a view of the upstream", lambda x: x.reshape(-1) * 1, lambda g, x: g.reshape(x.shape), X)
plant("memory", "one array for two", lambda a, b: 2 * a + 2 * b, in_one_buffer, X, OTHER)
plant("memory", "the input itself", lambda x: x * x / 2, lambda g, x: x if (g == 1).all() else g * x, np.array(1.0))
plant(
    "memory",
    "strides of the input",
    np.sin,
    lambda g, x: g * np.cos(x.ravel("K")).reshape(x.shape),
    X,
    says="takes memory to be contiguous",
)
SINGLE = X.astype(np.float32)
plant("dtype", "float64 gradient of float32", np.sin, lambda g, x: np.cos(x.astype(np.float64)) * g, SINGLE)
plant("dtype", "float64 result of float32", lambda x: np.sin(x) * np.float64(2), lambda g, x: 2 * g * np.cos(x), SINGLE)
plant(
    "dtype",
    "float32 inside",
    np.sin,
    lambda g, x: (g * np.cos(x)).astype(np.float32).astype(np.float64),
    X,
    says="float32 inside",
)
plant("dtype", "float32 slope", np.sin, lambda g, x: g * np.cos(x.astype(np.float32)), X)
plant(
    "dtype",
    "wrong in float32 alone",
    np.sin,
    lambda g, x: g * np.cos(x) * (1.01 if g.dtype == np.float32 else 1),
    X,
    says="fits float64 alone",
)
plant("dtype", "integer inside", lambda x: 2.5 * x, lambda g, x: g * int(2.5), X, says="a factor 0.8 too many")
plant("nothing", "None", np.add, lambda g, a, b: (g.copy(), None), X, OTHER, says="a gradient that is None")
plant("nothing", "zeros", lambda x: np.sin(x), lambda g, x: np.zeros_like(x), X, says="a gradient that is lost")
plant(
    "nothing",
    "NaN at 0",
    lambda x: x**3,
    lambda g, x: 3 * g * x**3 / x,
    np.array([1.0, 0.0, -1.0, 2.0]),
    says="gradients that are not finite only where input 0 is 0",
)
plant("nothing", "NaN for a zero upstream", np.sin, lambda g, x: g * g / g * np.cos(x), X, says="0 / 0 or 0 * inf")
plant("nothing", "infinite", lambda x: 1 / x, lambda g, x: -g / (x - x), POSITIVE)
GENERATOR = np.random.default_rng(0)
plant("not deterministic", "forward", lambda x: x + GENERATOR.normal(), lambda g, x: g.copy(), X)
plant(
    "not deterministic",
    "backward",
    np.sin,
    lambda g, x: g * np.cos(x) * GENERATOR.choice([0.999, 1.001], x.shape),
    X,
    says="another gradient every time",
)
plant("shape", "one element too many", lambda x: x[:-1] * 1, lambda g, x: g.copy(), VECTOR)
plant("shape", "flattened", np.sin, lambda g, x: (g * np.cos(x)).reshape(-1), X)
plant(
    "shape", "too few gradients", lambda a, b, c: a * b * c, lambda g, a, b, c: (g * b * c, g * a * c), X, OTHER, X + 1
)
