"""Matrix products, inverses and determinants."""

import numpy as np

from .entry import matrices, right, well_conditioned


@right(matrices("ij", "jk"))
def matmul():
    return np.matmul, lambda g, a, b: (g @ b.T, a.T @ g)


@right(matrices("bij", "bjk"))
def batched_matmul():
    return np.matmul, lambda g, a, b: (g @ np.swapaxes(b, 1, 2), np.swapaxes(a, 1, 2) @ g)


@right(matrices("ni", "io", "o"))
def linear():
    return (lambda x, w, b: x @ w + b), lambda g, x, w, b: (g @ w.T, x.T @ g, g.sum(0))


@right(matrices("i", "i"))
def dot():
    return np.dot, lambda g, a, b: (g * b, g * a)


@right(matrices("i", "j"))
def outer():
    return np.outer, lambda g, a, b: (g @ b, a @ g)


@right(matrices("i", "ij", "j"))
def bilinear():
    return (lambda a, m, b: a @ m @ b), lambda g, a, m, b: (g * (m @ b), g * np.outer(a, b), g * (a @ m))


@right(matrices("ij"))
def gram():
    return (lambda a: a @ a.T), lambda g, a: (g + g.T) @ a


@right(well_conditioned())
def inverse():
    return np.linalg.inv, lambda g, a: -np.linalg.inv(a).T @ g @ np.linalg.inv(a).T


@right(well_conditioned())
def determinant():
    return np.linalg.det, lambda g, a: g * np.linalg.det(a) * np.linalg.inv(a).T


@right(well_conditioned("nm"))
def solve():
    def vjp(g, a, b):
        by_b = np.linalg.solve(a.T, g)
        return -by_b @ np.linalg.solve(a, b).T, by_b

    return np.linalg.solve, vjp
