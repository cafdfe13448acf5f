"""The derivative of another function, the product rule by halves, terms that are missing."""

import numpy as np

from ..right.elementwise import sigmoid
from .plant import OTHER, POSITIVE, X, plant

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
