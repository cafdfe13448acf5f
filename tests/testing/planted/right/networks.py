"""Softmax, normalization, attention, recurrence, dropout."""

import numpy as np
from hypothesis import strategies as st

from minattn.testing import strategies

from .entry import ROWS, matrices, one, right


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
