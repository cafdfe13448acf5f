"""Pooling: the maximum or the mean of each window of images (.., H, W), such as (N, C, H, W).

Along an axis of n numbers, windows of k numbers start at i s - p, for the stride s and the padding p, and there are

    floor((n + 2p - k) / s) + 1  of them,   with ceil=True  ceil((n + 2p - k) / s) + 1,

less one where the last would start behind the image.  Padding is never stored: a window on the border is the part of it
that lies in the image.  The mean over all of an image is plain `mean(x, (-2, -1))`.
"""

from collections.abc import Iterator
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from minattn.autograd.backend import Array, like, xp
from minattn.autograd.blocks import Part, for_each_part
from minattn.autograd.engine import Result, op
from minattn.autograd.ops.images import Pair, both_sizes, check_images, pair
from minattn.autograd.ops.reductions import max as max_of
from minattn.autograd.ops.reductions import sum as sum_of
from minattn.autograd.ops.shaping import pad, stack
from minattn.errors import ConfigError, ShapeError

Tap = tuple[slice, slice]
"""One position of the window: the windows that have it inside the image, and the pixels there."""


# ---------------------------------------------------------------------------------------------- windows
class AxisWindows(NamedTuple):
    """m windows of k numbers along one axis of n numbers, with stride s and padding p."""

    n: int
    k: int
    s: int
    p: int
    m: int

    def taps(self) -> list[Tap]:
        """Place 0, 1, .. k - 1 of the window; those that lie in the padding for all windows are left out."""
        n, k, s, p, m = self
        found = []
        for start in range(-p, k - p):  # window i has its position at start + i s, which must be in [0, n)
            first, end = max(0, -(start // s)), min(m, (n - 1 - start) // s + 1)
            if first < end:
                found.append((slice(first, end), slice(start + first * s, start + (end - 1) * s + 1, s)))
        return found

    def sizes(self, count_padding: bool) -> np.ndarray:
        """The number of elements of each window: in the image, or in the image with its padding."""
        n, k, s, p, m = self
        start = np.arange(m) * s - p
        border = p if count_padding else 0
        return np.minimum(start + k, n + border) - np.maximum(start, -border)


def _windows(x: Any, kernel: Pair, stride: Pair | None, padding: Pair, ceil: bool) -> tuple[AxisWindows, AxisWindows]:
    """The windows along the last two axes of x."""
    check_images(x)
    steps = kernel if stride is None else stride
    each = zip(x.shape[-2:], pair(kernel, "kernel"), pair(steps, "stride"), pair(padding, "padding"), strict=True)
    height, width = (_along(*sizes, ceil) for sizes in each)
    return height, width


def _along(n: int, k: int, s: int, p: int, ceil: bool) -> AxisWindows:
    if k < 1 or s < 1:
        raise ConfigError(f"a kernel of {k} with stride {s} has no windows; hint: both of at least 1")
    if not 0 <= p < k:
        raise ConfigError(
            f"a padding of {p} does not go with a kernel of {k}: windows would hold nothing but padding; hint: a "
            f"padding between 0 and {k - 1}"
        )
    if n < 1 or k > n + 2 * p:
        raise ShapeError(
            f"a kernel of {k} is larger than an axis of {n} with a padding of {p} on both sides; hint: larger "
            "images, a smaller kernel or more padding"
        )
    room = n + 2 * p - k
    count = (-(-room // s) if ceil else room // s) + 1
    return AxisWindows(n, k, s, p, count - 1 if (count - 1) * s >= n + p else count)


def _grid(height: AxisWindows, width: AxisWindows) -> Iterator[tuple[Any, Any]]:
    """For every position of the window: an index of the windows, and one of the pixels there."""
    for (above, rows), (left, columns) in product(height.taps(), width.taps()):
        yield (..., above, left), (..., rows, columns)


def _stacked(x: Any, height: AxisWindows, width: AxisWindows, value: float) -> Any:
    """The windows of x, as the equations see them: (.., h, w, positions), with `value` in the padding."""
    widths = [(0, 0)] * (x.ndim - 2)
    widths += [(w.p, max(0, (w.m - 1) * w.s + w.k - w.n - w.p)) for w in (height, width)]
    padded = pad(x, widths, value)

    def at(position: int, w: AxisWindows) -> slice:
        return slice(position, position + (w.m - 1) * w.s + 1, w.s)

    positions = product(range(height.k), range(width.k))
    return stack([padded[..., at(a, height), at(b, width)] for a, b in positions], -1)


# ---------------------------------------------------------------------------------------------- maximum
def max_pool2d_equation(x: Any, kernel: Pair, stride: Pair | None = None, padding: Pair = 0, ceil: bool = False) -> Any:
    """y_ij = max over a < k, b < k of x_{i s + a - p, j s + b - p}, which is -inf outside of the image."""
    return max_of(_stacked(x, *_windows(x, kernel, stride, padding, ceil), -np.inf), -1)


@op(equation=max_pool2d_equation)
def max_pool2d(x: Array, /, kernel: Pair, stride: Pair | None = None, padding: Pair = 0, ceil: bool = False) -> Result:
    """The largest number of each window:  x (.., H, W) -> (.., h, w); see the top of this file for h and w.

    stride: the kernel's size unless told.  padding: never the largest, whatever is beside it.
    Where several pixels of a window are the largest, they share its gradient equally.
    Raises ShapeError for a kernel larger than the padded image, ConfigError for a padding as large as the kernel.
    """
    height, width = _windows(x, kernel, stride, padding, ceil)
    module, grid = xp(x), list(_grid(height, width))
    y = module.full_like(x, _lowest(x), shape=(*x.shape[:-2], height.m, width.m))

    def forward(images: Part) -> None:
        for windows, pixels in grid:
            so_far = y[images][windows]
            module.maximum(so_far, x[images][pixels], out=so_far)

    def pullback(g: Array) -> Array:
        d_x = module.zeros_like(x, g.dtype)

        def backward(images: Part) -> None:
            ties = module.zeros_like(y[images].real, g.real.dtype)
            largest = [x[images][pixels].real == y[images][windows].real for windows, pixels in grid]
            for (windows, _), here in zip(grid, largest, strict=True):
                ties[windows] += here
            share = g[images] / ties
            for (windows, pixels), here in zip(grid, largest, strict=True):
                d_x[images][pixels] += share[windows] * here

        for_each_part(backward, x)
        return d_x

    for_each_part(forward, x)
    return y, pullback


def _lowest(x: Array) -> Any:
    """The lower bound of x's dtype."""
    if x.dtype.kind in "fc":
        return -np.inf
    return False if x.dtype.kind == "b" else int(np.iinfo(x.dtype).min)


# ---------------------------------------------------------------------------------------------- mean
def average_pool2d_equation(
    x: Any,
    kernel: Pair,
    stride: Pair | None = None,
    padding: Pair = 0,
    ceil: bool = False,
    count_padding: bool = True,
) -> Any:
    """y_ij = sum over a < k, b < k of x_{i s + a - p, j s + b - p} / n_ij, which is 0 outside of the image."""
    height, width = _windows(x, kernel, stride, padding, ceil)
    n = np.outer(height.sizes(count_padding), width.sizes(count_padding))
    return sum_of(_stacked(x, height, width, 0.0), -1) / like(n.astype(x.dtype), x._data)


@op(equation=average_pool2d_equation)
def average_pool2d(
    x: Array,
    /,
    kernel: Pair,
    stride: Pair | None = None,
    padding: Pair = 0,
    ceil: bool = False,
    count_padding: bool = True,
) -> Result:
    """The mean of each window:  x (.., H, W) -> (.., h, w); see the top of this file for h and w.

    stride: the kernel's size unless told.  count_padding: whether the mean is over the zeros of the padding too, as in
    Caffe and by default in PyTorch, or over the image's own pixels alone, as in TensorFlow.  What ceil=True adds behind
    the padding never counts.
    Every pixel of window ij gets g_ij / n_ij.
    Raises ShapeError for a kernel larger than the padded image, ConfigError for a padding as large as the kernel.
    """
    height, width = _windows(x, kernel, stride, padding, ceil)
    module, grid, dtype = xp(x), list(_grid(height, width)), xp(x).result_type(x, 1.0)
    n = like(np.outer(height.sizes(count_padding), width.sizes(count_padding)).astype(x.real.dtype), x)
    y = module.zeros_like(x, dtype, shape=(*x.shape[:-2], height.m, width.m))
    for windows, pixels in grid:
        y[windows] += x[pixels]
    y /= n

    def pullback(g: Array) -> Array:
        share, d_x = g / n, module.zeros_like(x, g.dtype)
        for windows, pixels in grid:
            d_x[pixels] += share[windows]
        return d_x

    return y, pullback


# ---------------------------------------------------------------------------------------------- adaptive
def adaptive_windows(n: int, m: int) -> list[tuple[int, int]]:
    """m windows that cover n pixels, and overlap where m does not divide n: from i n / m, rounded down, to
    (i + 1) n / m, rounded up."""
    return [(i * n // m, -(-(i + 1) * n // m)) for i in range(m)]


@op
def adaptive_average_pool2d(x: Array, /, size: Pair) -> Result:
    """The means of h x w windows that cover the image:  x (.., H, W) -> (.., h, w); see `adaptive_windows`.

    First of the rows, then of the columns; every pixel of a window of n gets g / n.
    """
    height, width, h, w = both_sizes(x, size)
    rows, columns = adaptive_windows(height, h), adaptive_windows(width, w)
    y = _averages(_averages(x, rows, -2), columns, -1)
    return y, lambda g: _shares(_shares(g, columns, width, -1), rows, height, -2)


def _averages(x: Array, windows: list[tuple[int, int]], axis: int) -> Array:
    """The means of x over the windows along `axis`."""
    means = [x[_at(slice(start, end), axis)].mean(axis, keepdims=True) for start, end in windows]
    return means[0] if len(means) == 1 else xp(x).concatenate(means, axis)


def _shares(g: Array, windows: list[tuple[int, int]], n: int, axis: int) -> Array:
    """The gradient of `_averages`, along an axis of n pixels."""
    shape = list(g.shape)
    shape[axis] = n
    d_x = xp(g).zeros(shape, g.dtype)
    for i, (start, end) in enumerate(windows):
        d_x[_at(slice(start, end), axis)] += g[_at(slice(i, i + 1), axis)] / (end - start)
    return d_x


def _at(positions: slice, axis: int) -> Any:
    """The index of `positions` along the last axis (-1) or the one before (-2)."""
    return (..., positions) if axis == -1 else (..., positions, slice(None))


def adaptive_max_pool2d_equation(x: Any, size: Pair) -> Any:
    """y_ij = the largest number of window ij."""
    height, width, h, w = both_sizes(x, size)
    rows = [
        stack([max_of(x[..., a:b, c:d], (-2, -1)) for c, d in adaptive_windows(width, w)], -1)
        for a, b in adaptive_windows(height, h)
    ]
    return stack(rows, -2)


@op(equation=adaptive_max_pool2d_equation)
def adaptive_max_pool2d(x: Array, /, size: Pair) -> Result:
    """The largest numbers of h x w windows that cover the image:  x (.., H, W) -> (.., h, w); see `adaptive_windows`.

    Where several pixels of a window are the largest, they share its gradient equally.
    """
    height, width, h, w = both_sizes(x, size)
    module = xp(x)
    y = module.empty_like(x, shape=(*x.shape[:-2], h, w))
    grid = [
        ((..., i, j), (..., slice(a, b), slice(c, d)))
        for i, (a, b) in enumerate(adaptive_windows(height, h))
        for j, (c, d) in enumerate(adaptive_windows(width, w))
    ]
    for window, pixels in grid:
        y[window] = x[pixels].max((-2, -1))

    def pullback(g: Array) -> Array:
        d_x = module.zeros_like(x, g.dtype)
        for window, pixels in grid:
            ties = x[pixels].real == y[window].real[..., None, None]
            share = g[window] / ties.sum((-2, -1)).astype(g.real.dtype)
            d_x[pixels] += share[..., None, None] * ties
        return d_x

    return y, pullback
