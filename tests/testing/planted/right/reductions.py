"""Sums, means, maxima, norms."""

import numpy as np

from .entry import POSITIVE, ROWS, one, right


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
