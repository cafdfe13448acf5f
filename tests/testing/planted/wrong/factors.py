"""Signs and factors, and means taken for sums."""

import numpy as np

from .plant import LARGE, LONG, OTHER, POSITIVE, X, plant

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
