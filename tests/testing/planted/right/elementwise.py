"""Functions of one number, elementwise."""

import numpy as np
from scipy import special

from .entry import OFF_ZERO, POSITIVE, RIGHT, Right, one


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
