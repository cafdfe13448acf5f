"""Operations on each channel of images (N, C, .., W) alike, row of pixels by row of pixels.

With channels last in memory, a row of pixels is a row of a matrix: the numbers of one channel are C apart in it, and
what there is of each channel is repeated along it.  NumPy is quick on such long rows, and slow on the few channels of
one pixel.
"""

import math
from typing import Any

from minattn.autograd.backend import Array, Shape, xp
from minattn.autograd.blocks import for_each_part
from minattn.autograd.engine import Result, op
from minattn.autograd.ops.shaping import reshape
from minattn.errors import ShapeError


# ---------------------------------------------------------------------------------------------- rows of pixels
def rows_of_pixels(x: Array) -> Array:
    """x (N, C, .., W) as a matrix with a row for each row of pixels, (N .., W C); a view where channels come last."""
    last = x.transpose(0, *range(2, x.ndim), 1)
    return last.reshape(math.prod(last.shape[:-2]), math.prod(last.shape[-2:])) if x.ndim > 2 else last


def as_images(rows: Array, shape: Shape) -> Array:
    """The inverse of `rows_of_pixels`, for an x of that shape."""
    return rows.reshape(shape[0], *shape[2:], shape[1]).transpose(0, -1, *range(1, len(shape) - 1))


def along(row: Array, channels: Array) -> Array:
    """(C) repeated along a row of pixels."""
    return channels[None].repeat(row.shape[-1] // len(channels), 0).reshape(-1)


def by_channel(row: Array, channels: int) -> Array:
    """A row of pixels, summed over its pixels: (1, C)."""
    return row.reshape(row.size // channels, channels).sum(0, keepdims=True)


def sum_of_products(a: Array, b: Array) -> Array:
    """The sum of a b over the rows."""
    return xp(a).einsum("ij,ij->j", a, b)


# ---------------------------------------------------------------------------------------------- scaling
def scale_channels_equation(x: Any, s: Any) -> Any:
    """y_nc = s_nc x_nc, for every position."""
    return x * reshape(s, (*s.shape, 1, 1))


@op(equation=scale_channels_equation)
def scale_channels(x: Array, s: Array, /) -> Result:
    """Every map of images x (N, C, H, W) times a number s (N, C) of its own.

    dx = s g;  ds = sum_{h,w} g x.
    Raises ShapeError where s is not one number for each map.
    """
    if x.ndim != 4 or s.shape != x.shape[:2]:
        raise ShapeError(
            f"x (N, C, H, W) and s (N, C) are expected, got {x.shape} and {s.shape}; hint: one number for each "
            "image and channel"
        )
    batch, channels, height, width = x.shape
    of_image = (batch, height, width * channels)
    rows = rows_of_pixels(x).reshape(of_image)
    factors = xp(s).tile(s, (1, width))[:, None]

    def scaled(rows: Array) -> Array:
        y = xp(rows).empty(of_image, xp(rows).result_type(rows, factors))
        for_each_part(lambda images: xp(y).multiply(rows[images], factors[images], y[images]), y)
        return as_images(y, x.shape)

    def pullback(g: Array) -> tuple[Array, Array]:
        h = rows_of_pixels(g).reshape(of_image)
        d_s = xp(g).einsum("nhi,nhi->ni", h, rows).reshape(batch, width, channels).sum(1)
        return scaled(h), d_s

    return scaled(rows), pullback
