"""The gradient of another argument, transposed, or in another order."""

import numpy as np

from .plant import OTHER, POSITIVE, SQUARE, VECTOR, X, draw, plant

SWAPPED = "the gradients of input 0 and input 1 swapped"
plant("swapped", "multiply", np.multiply, lambda g, a, b: (g * a, g * b), X, OTHER, says=SWAPPED)
plant("swapped", "dot", np.dot, lambda g, a, b: (g * a, g * b), VECTOR, VECTOR[::-1] + 1, says=SWAPPED)
plant(
    "swapped",
    "power",
    lambda a, b: a**b,
    lambda g, a, b: (g * a**b * np.log(a), g * b * a ** (b - 1)),
    POSITIVE,
    OTHER,
    says=SWAPPED,
)
plant("swapped", "divide", lambda a, b: a / b, lambda g, a, b: (-g * a / b**2, g / b), X, OTHER, says=SWAPPED)
plant(
    "swapped",
    "one for both",
    np.multiply,
    lambda g, a, b: (g * b, g * b),
    X,
    OTHER,
    says="the gradient of input 0 given to input 1",
)
plant(
    "swapped",
    "where",
    lambda a, b: np.where(SQUARE[:3] > 0, a, b),
    lambda g, a, b: (np.where(SQUARE[:3] > 0, 0, g), np.where(SQUARE[:3] > 0, g, 0)),
    X,
    OTHER,
    says=SWAPPED,
)
TRANSPOSE = "the transpose of the right gradient"
plant("transpose", "weight", lambda w: X @ w, lambda g, w: (X.T @ g).T.copy(), SQUARE, says=TRANSPOSE)
plant("transpose", "of a transpose", lambda x: x.T * 2, lambda g, x: 2 * g, SQUARE, says=TRANSPOSE)
plant(
    "transpose",
    "trace of a product",
    lambda a: (SQUARE * a).sum(),
    lambda g, a: g * SQUARE.T,
    SQUARE[::-1] + 1,
    says=TRANSPOSE,
)
plant("transpose", "matmul with b", lambda a, b: a @ b, lambda g, a, b: (g @ b, a.T @ g), X, SQUARE)
plant("transpose", "matmul with a", lambda a, b: a @ b, lambda g, a, b: (g @ b.T, a @ g), SQUARE, SQUARE.T + 1)
plant(
    "transpose",
    "inverse",
    np.linalg.inv,
    lambda g, a: -np.linalg.inv(a) @ g @ np.linalg.inv(a),
    np.eye(3) + 0.2 * draw(3, 3),
)
plant(
    "transpose",
    "determinant",
    np.linalg.det,
    lambda g, a: g * np.linalg.det(a) * np.linalg.inv(a),
    SQUARE,
    says=TRANSPOSE,
)
plant("transpose", "shape", lambda x: x.T * 2, lambda g, x: 2 * g, X, says=TRANSPOSE)
plant("order", "flipped", lambda x: x[::-1] * 2, lambda g, x: 2 * g, VECTOR, says="in reversed order along axis 0")
plant("order", "running sum", np.cumsum, lambda g, x: np.cumsum(g), VECTOR)
plant(
    "order",
    "reversed running sum",
    lambda x: np.cumsum(x),
    lambda g, x: np.cumsum(g[::-1]),
    VECTOR,
    says="in reversed order along axis 0",
)
plant("order", "rolled the same way", lambda x: np.roll(x, 1), lambda g, x: np.roll(g, 1), VECTOR)
plant("order", "sorted", np.sort, lambda g, x: g.copy(), VECTOR)
plant(
    "order",
    "off by one",
    lambda x: x[1:] * 1.0,
    lambda g, x: np.concatenate([g, [0.0]]),
    VECTOR,
    says="shifted by one along axis 0",
)
plant("order", "reshaped in another order", lambda x: x.reshape(-1, order="F"), lambda g, x: g.reshape(x.shape), X)
