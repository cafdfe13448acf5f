"""Resizing images (.., H, W): what is bilinear is a product with a matrix on either side, Y = R X C^T.

R (h, H) says what each row of the result is made of, C (w, W) the same for columns.  The gradient is dX = R^T dY C.
"""

import functools
from operator import index
from typing import Any

import numpy as np

from minattn.autograd.backend import Array, like, matmul, xp
from minattn.autograd.engine import Result, op
from minattn.errors import ConfigError, ShapeError

Pair = int | tuple[int, int]
"""One number for height and width, or one for each."""


def pair(value: Pair, name: str) -> tuple[int, int]:
    """(for the height, for the width).  Raises ConfigError, with the value's name, where it is of neither form."""
    try:
        height, width = value if isinstance(value, (tuple, list)) else (value, value)
        return index(height), index(width)
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"{name} must be an int or a pair (height, width), got {value!r}; hint: one int or two"
        ) from error


def check_images(x: Any) -> None:
    """Raises ShapeError for an x without a height and a width."""
    if x.ndim < 2:
        raise ShapeError(f"an array of shape {tuple(x.shape)} holds no images; hint: the shape (N, C, H, W)")


def both_sizes(x: Any, size: Pair) -> tuple[int, int, int, int]:
    """Height and width of the images x, and those they are brought to.

    Raises ShapeError for a size below 1, and for images without a pixel.
    """
    check_images(x)
    h, w = pair(size, "size")
    if h < 1 or w < 1:
        raise ShapeError(f"an image cannot have the size {h} x {w}; hint: a height and a width of at least 1")
    height, width = x.shape[-2:]
    if height < 1 or width < 1:
        raise ShapeError(f"images of {height} x {width} have no pixel; hint: images of at least 1 x 1")
    return height, width, h, w


# ---------------------------------------------------------------------------------------------- nearest
def nearest_pixels(n: int, m: int) -> np.ndarray:
    """For each of m positions, the one of n that it shows: floor(i n / m)."""
    return np.arange(m) * n // m


@op
def resize_nearest(x: Array, /, size: Pair) -> Result:
    """x (.., H, W) -> (.., h, w), a copy of a pixel each:  y_ij = x_kl with k = floor(i H / h), l = floor(j W / w).

    g_ij is added to the gradient of pixel kl.
    """
    height, width, h, w = both_sizes(x, size)
    rows, columns = nearest_pixels(height, h), nearest_pixels(width, w)
    y = x.take(like(rows, x), -2).take(like(columns, x), -1)
    return y, lambda g: product(np.eye(height)[:, rows], g, np.eye(width)[:, columns])


# ---------------------------------------------------------------------------------------------- bilinear
def bilinear_matrix(n: int, m: int, align_corners: bool) -> np.ndarray:
    """The matrix (m, n) that interpolates n pixels at m positions: 1 - f at floor(u), f at the next, f = u - floor(u).

    align_corners=False:  u = (i + 1/2) n/m - 1/2, held within [0, n - 1]: pixels are areas, the borders agree.
    align_corners=True:   u = i (n - 1) / (m - 1), and 0 for m = 1: pixels are points, the first and the last agree.
    """
    i = np.arange(m)
    u = i * ((n - 1) / max(m - 1, 1)) if align_corners else (i + 0.5) * (n / m) - 0.5
    u = np.clip(u, 0, n - 1)
    return np.maximum(0, 1 - np.abs(u[:, None] - np.arange(n)))


@op
def resize_bilinear(x: Array, /, size: Pair, align_corners: bool = False) -> Result:
    """x (.., H, W) -> (.., h, w), each pixel between the four next to it:  Y = R X C^T; see `bilinear_matrix`.

    To the size it has is the identity.  Making an image smaller leaves pixels out, without averaging over them.
    """
    height, width, h, w = both_sizes(x, size)
    if (h, w) == (height, width):
        return x.astype(xp(x).result_type(x, 1.0)), lambda g: g
    return two_sided(bilinear_matrix(height, h, align_corners), x, bilinear_matrix(width, w, align_corners))


# ---------------------------------------------------------------------------------------------- products
def two_sided(rows: np.ndarray, x: Array, columns: np.ndarray) -> Result:
    """Y = R X C^T for every image X of x, and its pullback dX = R^T dY C."""
    return product(rows, x, columns), lambda g: product(rows.T, g, columns.T)


def product(rows: np.ndarray, x: Array, columns: np.ndarray) -> Array:
    """R X C^T in the dtype of x, or float64 for integers.  A pixel without a share in a position, NaN or inf too, does
    not reach it."""
    dtype = x.dtype if x.dtype.kind in "fc" else np.float64
    if xp(x) is not np or not np.isfinite(x).all():
        return _mixed(columns, _mixed(rows, x.astype(dtype), -2), -1)
    left, right = rows.astype(dtype), columns.T.astype(dtype)
    return matmul(matmul(left, np.ascontiguousarray(x)), right)  # BLAS takes no channels-last images


def _mixed(matrix: np.ndarray, x: Array, axis: int) -> Array:
    """The sum of M_ik x_k over the k that have a part in it, M_ik > 0, along an axis."""
    module, part = xp(x), matrix > 1e-12  # less is rounding, where a position of the result is one of x
    first = np.argsort(~part, axis=1, kind="stable")[:, : max(1, part.sum(1).max())]  # those that have a part
    shares = np.take_along_axis(matrix, first, 1).astype(x.dtype)
    sources = np.where(np.take_along_axis(part, first, 1), first, matrix.shape[1])  # else the zero after the last
    shape = list(x.shape)
    shape[axis] = 1
    x = module.concatenate([x, module.zeros(shape, x.dtype)], axis)
    along = (slice(None), None) if axis == -2 else slice(None)
    terms = (x.take(like(k, x), axis) * like(share, x)[along] for k, share in zip(sources.T, shares.T, strict=True))
    return functools.reduce(module.add, terms)
