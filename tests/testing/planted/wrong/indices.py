"""Indices that are repeated, masks, dropout."""

import numpy as np

from ..right.networks import softmaxed
from .plant import LARGE, VECTOR, X, draw, plant

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
    says="no gradient only at the last index along axis 0",
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
