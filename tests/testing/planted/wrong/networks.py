"""Softmax, normalization, recurrence, attention."""

import numpy as np

from ..right.networks import normalized, normalized_vjp, recurrent, recurrent_vjp, softmaxed, states
from .plant import X, draw, plant

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
    says="no gradient only at the first index along axis 0",
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
