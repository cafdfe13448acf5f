"""What is done to the upstream gradient."""

import numpy as np

from .plant import SQUARE, X, plant

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
