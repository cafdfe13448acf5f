"""Mistakes in a few elements alone: at an edge, on one side of a kink."""

import numpy as np

from .plant import LARGE, LONG, NEGATIVE, VECTOR, X, plant, spoilt

plant("one region", "first element", np.sin, spoilt(0), VECTOR, says="no gradient only at the first index")
plant("one region", "last element", np.sin, spoilt(-1), VECTOR, says="no gradient only at the last index")
plant("one region", "one of 200", np.sin, spoilt(77), LONG)
plant("one region", "one of 180, slightly", np.sin, spoilt((5, 6), 1 + 1e-7), LARGE)
plant("one region", "last row", np.sin, spoilt((-1,)), X, says="no gradient only at the last index along axis 0")
plant("one region", "first column", np.sin, spoilt((slice(None), 0)), X, says="only at the first index along axis 1")
plant(
    "one region",
    "last column twice",
    np.sin,
    spoilt((slice(None), -1), 2),
    X,
    says="a factor 2 only at the last index along axis 1",
)
plant(
    "one region",
    "both borders",
    lambda x: np.convolve(x, [1.0, 2.0, 1.0], "same"),
    lambda g, x: np.pad(np.convolve(g, [1.0, 2.0, 1.0], "same")[1:-1], 1),
    VECTOR,
    says="no gradient only at the two borders",
)
plant("one region", "middle", np.sin, spoilt(3, 1.5), VECTOR)
plant(
    "one region",
    "abs of negative ones",
    np.abs,
    lambda g, x: g * (x > 0),
    NEGATIVE,
    says="no gradient only where input 0 is negative",
)
plant(
    "one region",
    "sign lost for negative ones",
    np.abs,
    lambda g, x: g.copy(),
    NEGATIVE,
    says="a factor -1 only where input 0 is negative",
)
plant(
    "one region",
    "leaky relu",
    lambda x: np.where(x.real > 0, x, 0.1 * x),
    lambda g, x: g * (x > 0),
    NEGATIVE,
    says="no gradient only where input 0 is negative",
)
plant(
    "one region",
    "elu",
    lambda x: np.where(x.real > 0, x, np.exp(x) - 1),
    lambda g, x: g * np.where(x > 0, 1, np.exp(x) - 1),
    NEGATIVE,
    says="a mistake only where input 0 is negative",
)
plant(
    "one region",
    "relu let through",
    lambda x: np.where(x.real > 0, x, 0),
    lambda g, x: g.copy(),
    NEGATIVE,
    says="a gradient where there is none only where input 0 is negative",
)
plant("one region", "clip at both ends", lambda x: np.clip(x, -1, 1), lambda g, x: g * (x < 1), VECTOR)
