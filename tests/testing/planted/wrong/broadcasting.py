"""Gradients that are not summed over the axes that were broadcast, or over others."""

import numpy as np

from .factors import MEAN
from .plant import ROW, SQUARE, X, draw, plant

UNSUMMED = "not summed over the broadcast axis 0"
plant("broadcast", "row", np.add, lambda g, a, b: (g.copy(), g.copy()), X, ROW, says=UNSUMMED)
plant("broadcast", "row of a product", np.multiply, lambda g, a, b: (g * b, g * a), X, ROW, says=UNSUMMED)
plant(
    "broadcast",
    "column",
    np.add,
    lambda g, a, b: (g.copy(), g.copy()),
    X,
    X[:, :1].copy(),
    says="not summed over the broadcast axis 1",
)
plant(
    "broadcast",
    "number",
    np.multiply,
    lambda g, a, b: (g * b, g * a),
    X,
    np.array(2.0),
    says="not summed over the broadcast axes 0, 1",
)
plant("broadcast", "first row alone", np.add, lambda g, a, b: (g.copy(), g[0].copy()), X, ROW)
plant("broadcast", "mean over it", np.add, lambda g, a, b: (g.copy(), g.mean(0)), X, ROW, says=MEAN)
plant("broadcast", "over the wrong axis", lambda a, b: a + b, lambda g, a, b: (g.copy(), g.sum(1)), SQUARE, ROW)
plant("broadcast", "everything", np.add, lambda g, a, b: (g.copy(), g.sum()), X, ROW, says="summed over all axes")
plant(
    "broadcast",
    "keepdims",
    lambda a, b: a + b,
    lambda g, a, b: (g.copy(), g.sum(1)),
    X,
    X[:, :1].copy(),
    says="an axis of length 1 that was lost",
)
plant(
    "broadcast",
    "bias of 30 rows",
    lambda x, b: x + b,
    lambda g, x, b: (g.copy(), g.sum(0) / 30),
    draw(30, 4),
    ROW,
    says=MEAN,
)
