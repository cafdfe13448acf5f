"""Gradients that forget what the complex step drops."""

import numpy as np

from .plant import LARGE, LONG, NEGATIVE, OTHER, X, plant

plant("not analytic", "1e-4 |x|", lambda x: x + 1e-4 * np.abs(x), lambda g, x: g.copy(), NEGATIVE)
plant("not analytic", "1e-4 |x| of 200", lambda x: x + 1e-4 * np.abs(x), lambda g, x: g.copy(), LONG)
plant("not analytic", "1e-8 |x|", lambda x: x + 1e-8 * np.abs(x), lambda g, x: g.copy(), NEGATIVE)
plant("not analytic", "real part", lambda x: x + 1e-5 * x.real**2, lambda g, x: g.copy(), X)
plant("not analytic", "modulus for softsign", lambda x: x / (1 + np.abs(x)), lambda g, x: g / (1 + np.abs(x)), LARGE)
plant(
    "not analytic",
    "one of 200",
    lambda x: np.where(np.arange(200) == 9, x.real, x),
    lambda g, x: g * (np.arange(200) != 9),
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
