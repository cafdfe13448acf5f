"""Reshaping, slicing, indexing, masks, convolution."""

import numpy as np
from hypothesis import strategies as st

from minattn.testing import strategies

from .entry import ROWS, matrices, one, right


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
