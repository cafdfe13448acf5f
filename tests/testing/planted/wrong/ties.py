"""Kinks and ties."""

import numpy as np

from .plant import plant

TIED = np.array([2.0, 1.0, 2.0, 0.5, 2.0])
plant("ties", "maximum to all", lambda x: x.max(), lambda g, x: g * (x == x.max()), TIED, says="all elements that tie")
plant(
    "ties",
    "maximum to none",
    lambda a, b: np.maximum(a, b),
    lambda g, a, b: (g * (a > b), g * (b > a)),
    TIED,
    np.array([2.0, 3.0, 1.0, 0.0, 2.0]),
    says="to none of them",
)
plant("ties", "double at a kink", lambda x: np.maximum(x, 0), lambda g, x: g * 2 * (x >= 0), np.array([0.0, 1.0, -1.0]))
plant(
    "ties",
    "relu at 0",
    lambda x: np.maximum(x, 0),
    lambda g, x: np.where(x == 0, -1, x > 0) * g,
    np.array([1.0, 0.0, -1.0, 2.0]),
    says="only where input 0 is 0",
)
plant(
    "ties",
    "minimum twice",
    lambda x: x.min(),
    lambda g, x: 2 * g * (x == x.min()),
    np.array([1.0, 3.0, 2.0]),
    says="a factor 2 too many",
)
plant(
    "ties",
    "wrong between equals",
    lambda x: np.sort(x)[-2:].sum(),
    lambda g, x: g * (x >= np.sort(x)[-2]),
    TIED,
    says="all elements that tie",
)
