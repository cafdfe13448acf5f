"""How a kernel is laid on images, and the three maps that convolutions are made of.

A convolution is linear in its images x and in its weight W.  `correlate` computes its result y, `by_weight` and
`by_input` are the transposed maps, which bring the gradient of y back to W and to x.

A user's images are (N, C, H, W); in here channels come last, so that a pixel's channels are one row of a matrix.  A
block of images, or of rows of one image, is copied once for every column j of the kernel, shifted by d j.  All pixels
under one row of the kernel then lie side by side, and the convolution is one matrix product for every row i:

    y(h) = sum_i shifted(s h + d i) W_i          shifted: (.., k_w C), W_i: (k_w C, C_out)

A block is small enough for the cache, and no more than a block is ever copied.  Results are (N, C, H, W) views of
memory in which channels come last: a convolution that follows reads it as it lies.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from minattn.autograd.backend import Array, Shape, matmul, xp
from minattn.autograd.ops.products import column_sums

Pair = tuple[int, int]
"""One number for the height and one for the width."""

HOST_BLOCK = 3 << 17
"""How many numbers of shifted copies and of products are in a block on the host: 1.5 MiB of float32, a third of which
is at work at a time and stays in a core's own cache."""

DEVICE_BLOCK = 1 << 26
"""The same on a GPU, where many small products would take longer than they compute."""


class Windows(NamedTuple):
    """Where a kernel is laid on an image; a pair each for height and width."""

    kernel: Pair
    stride: Pair
    padding: Pair
    dilation: Pair
    groups: int

    @property
    def reach(self) -> Pair:
        """How many pixels lie under a kernel from its first to its last: d (k - 1) + 1."""
        (k_h, k_w), (d_h, d_w) = self.kernel, self.dilation
        return d_h * (k_h - 1) + 1, d_w * (k_w - 1) + 1

    @property
    def pointwise(self) -> bool:
        """Whether every pixel is taken by itself, all channels together."""
        return (*self[:3], self.groups) == ((1, 1), (1, 1), (0, 0), 1)

    def places(self, size: Shape) -> Pair:
        """How many kernels fit on an image of that size: floor((n + 2p - d (k - 1) - 1) / s) + 1."""
        each = zip(size, self.padding, self.reach, self.stride, strict=True)
        height, width = ((n + 2 * p - reach) // s + 1 for n, p, reach, s in each)
        return height, width

    def covered(self, places: Shape) -> Pair:
        """The smallest size, padding included, on which that many kernels fit."""
        height, width = (s * (m - 1) + reach for m, s, reach in zip(places, self.stride, self.reach, strict=True))
        return height, width

    def under(self, axis: int, tap: int, places: int) -> slice:
        """The pixels along an axis that lie under a kernel's element number `tap`, at so many places."""
        first, step = self.dilation[axis] * tap, self.stride[axis]
        return slice(first, first + step * (places - 1) + 1, step)


# ---------------------------------------------------------------------------------------------- the three maps
# conv2d is linear in x and in W.  Here are the map and its transposes; both ops are made of these three.
def correlate(x: Array, weight: Array, windows: Windows) -> Array:
    """conv2d's y of x and W."""
    if windows.pointwise:
        return _images(matmul(pixels(x), weight[:, :, 0, 0].T), x.shape)
    module, groups = xp(x), windows.groups
    height, width = windows.places(x.shape[2:])
    product = _taps if _is_depthwise(weight, groups) else _products
    images, matrices = x.transpose(0, 2, 3, 1), _matrices(weight, groups)
    y = module.empty((len(x), height, width, groups, len(weight) // groups), module.result_type(x, weight))
    for block, rows in _blocks(x.shape, len(weight), windows, x):
        y[block, rows] = product(_padded(images, block, rows, windows), matrices, windows)
    return y.reshape(len(x), height, width, len(weight)).transpose(0, 3, 1, 2)


def by_weight(x: Array, g: Array, windows: Windows) -> Array:
    """dW of x and the gradient g of y."""
    if windows.pointwise:
        return matmul(pixels(g).T, pixels(x))[:, :, None, None]
    module, groups, (k_h, k_w) = xp(x), windows.groups, windows.kernel
    per_group, outputs = x.shape[1] // groups, g.shape[1] // groups
    product = _taps_by_weight if per_group == outputs == 1 else _products_by_weight
    images, upstream = x.transpose(0, 2, 3, 1), g.transpose(0, 2, 3, 1)
    total = module.zeros((k_h, groups, k_w * per_group, outputs), module.result_type(x, g))
    for block, rows in _blocks(x.shape, g.shape[1], windows, x):
        part = module.ascontiguousarray(upstream[block, rows].swapaxes(0, 1))
        product(_padded(images, block, rows, windows), part, total, windows)
    total = total.reshape(k_h, groups, k_w, per_group, outputs).transpose(1, 4, 3, 0, 2)
    return total.reshape(g.shape[1], per_group, k_h, k_w)


def by_input(g: Array, weight: Array, windows: Windows, size: Shape) -> Array:
    """dx of the gradient g of y and W, for images of that size."""
    opposite = windows.reach[0] - 1 - windows.padding[0], windows.reach[1] - 1 - windows.padding[1]
    if windows.stride == (1, 1) and min(opposite) >= 0:
        return correlate(g, _turned(weight, windows.groups), windows._replace(padding=opposite))
    module, groups, ((top, left), (height, width)) = xp(g), windows.groups, (windows.padding, size)
    product = _taps_by_input if _is_depthwise(weight, groups) else _products_by_input
    upstream, matrices = g.transpose(0, 2, 3, 1), _matrices(weight, groups)
    shape = (len(g), groups * weight.shape[1], height + 2 * top, width + 2 * left)
    dx = module.zeros((len(g), *shape[2:], shape[1]), module.result_type(g, weight))
    for block, rows in _blocks((*shape[:2], height, width), len(weight), windows, g):
        part = module.ascontiguousarray(upstream[block, rows].swapaxes(0, 1))
        piece = product(part, matrices, windows).swapaxes(0, 1)
        first = windows.stride[0] * rows.start
        dx[block, first : first + piece.shape[1], : piece.shape[2]] += piece
    return dx[:, top : top + height, left : left + width].transpose(0, 3, 1, 2)


def _turned(weight: Array, groups: int) -> Array:
    """The weight of the conv2d that leads back where the stride is 1: turned by 180 degrees, its inputs and outputs
    exchanged."""
    parts = weight.reshape(groups, len(weight) // groups, *weight.shape[1:]).swapaxes(1, 2)[..., ::-1, ::-1]
    return parts.reshape(groups * weight.shape[1], len(weight) // groups, *weight.shape[2:])


def pixels(x: Array) -> Array:
    """(N, C, H, W) as a matrix with a row for each pixel."""
    batch, channels, height, width = x.shape
    return x.transpose(0, 2, 3, 1).reshape(batch * height * width, channels)


def _images(pixels: Array, shape: Shape) -> Array:
    """The inverse of `pixels`, for images of that shape but for their channels."""
    return pixels.reshape(shape[0], *shape[2:], pixels.shape[1]).transpose(0, 3, 1, 2)


# ---------------------------------------------------------------------------------------------- blocks
def _blocks(shape: Shape, outputs: int, windows: Windows, on: Array) -> Iterator[tuple[slice, slice]]:
    """The images and the rows of y of one block after another, for images x of that shape and a y of so many channels:
    several whole images, or some rows of one."""
    batch, channels = shape[:2]
    height, width = windows.places(shape[2:])
    limit = HOST_BLOCK if xp(on) is np else DEVICE_BLOCK
    a_row = max(1, width * (windows.stride[0] * windows.kernel[1] * channels + 2 * outputs))
    images = max(1, limit // max(1, a_row * height))
    pieces = max(1, -(-height // max(1, limit // a_row)))
    rows = max(1, -(-height // pieces))
    for n in range(0, batch, images):
        for h in range(0, height, rows):
            yield slice(n, n + images), slice(h, min(h + rows, height))


def _padded(images: Array, block: slice, rows: slice, windows: Windows) -> Array:
    """What these rows of y see of a block of images (N, H, W, C), with zeros around: (rows of x, N, W + 2p, C)."""
    top, left = windows.padding
    first = windows.stride[0] * rows.start - top
    count, _ = windows.covered((rows.stop - rows.start, 1))
    low = max(first, 0)
    high = max(low, min(first + count, images.shape[1]))
    seen = images[block, low:high]
    width = images.shape[2]
    piece = xp(images).zeros((count, len(seen), width + 2 * left, images.shape[3]), images.dtype)
    piece[low - first : high - first, :, left : left + width] = seen.swapaxes(0, 1)
    return piece


def _matrices(weight: Array, groups: int) -> Array:
    """The W_i of all groups: (k_h, groups, k_w C_in / groups, C_out / groups)."""
    outputs, per_group, k_h, k_w = weight.shape
    parts = weight.reshape(groups, outputs // groups, per_group, k_h, k_w).transpose(3, 0, 4, 2, 1)
    return parts.reshape(k_h, groups, k_w * per_group, outputs // groups)


# ---------------------------------------------------------------------------------------------- one block: products
def _products(piece: Array, matrices: Array, windows: Windows) -> Array:
    """y (rows, N, W, groups, C_out / groups), first two axes exchanged, of a padded block of x."""
    shifted, places = _shifted(piece, windows)
    y = matmul(_under(shifted, 0, places[0], windows), matrices[0])
    for i in range(1, len(matrices)):
        y += matmul(_under(shifted, i, places[0], windows), matrices[i])
    return y.reshape(len(y), places[0], shifted.shape[1], places[1], y.shape[2]).transpose(2, 1, 3, 0, 4)


def _products_by_weight(piece: Array, g: Array, total: Array, windows: Windows) -> None:
    """Add the block's part to the gradients of the W_i."""
    shifted, places = _shifted(piece, windows)
    for i in range(len(total)):
        total[i] += matmul(_under(shifted, i, places[0], windows).swapaxes(1, 2), _by_group(g, windows.groups))


def _products_by_input(g: Array, matrices: Array, windows: Windows) -> Array:
    """The gradient of a padded block of x."""
    rows, batch, places, _ = g.shape
    height, width = windows.covered((rows, places))
    k_w, groups, module = windows.kernel[1], windows.groups, xp(g)
    per_group = matrices.shape[2] // k_w
    dtype = module.result_type(g, matrices)
    shifted = module.zeros((height, batch, places, groups, k_w, per_group), dtype)
    for i in range(len(matrices)):
        part = matmul(_by_group(g, groups), matrices[i].swapaxes(1, 2)).swapaxes(0, 1)
        shifted[windows.under(0, i, rows)] += part.reshape(rows, *shifted.shape[1:])
    piece = module.zeros((height, batch, width, groups, per_group), dtype)
    for j in range(k_w):
        piece[:, :, windows.under(1, j, places)] += shifted[..., j, :]
    return piece.reshape(height, batch, width, groups * per_group)


def _shifted(piece: Array, windows: Windows) -> tuple[Array, Pair]:
    """The pixels under one row of the kernel side by side, (rows of x, N, W of y, groups, k_w, C / groups), and how
    many rows and columns y has."""
    rows, batch, width, channels = piece.shape
    stride, k_w, groups = windows.stride, windows.kernel[1], windows.groups
    places = (rows - windows.reach[0]) // stride[0] + 1, (width - windows.reach[1]) // stride[1] + 1
    shifted = xp(piece).empty((rows, batch, places[1], groups, k_w, channels // groups), piece.dtype)
    parts = piece.reshape(rows, batch, width, groups, channels // groups)
    for j in range(k_w):
        shifted[..., j, :] = parts[:, :, windows.under(1, j, places[1])]
    return shifted, places


def _under(shifted: Array, i: int, places: int, windows: Windows) -> Array:
    """What lies under row i of the kernel at all places, as matrices (groups, pixels of y, k_w C / groups); a view
    where the stride is 1."""
    seen = shifted[windows.under(0, i, places)]
    rows, batch, width, groups, k_w, channels = seen.shape
    return seen.reshape(rows * batch * width, groups, k_w * channels).swapaxes(0, 1)


def _by_group(g: Array, groups: int) -> Array:
    """(rows, N, W, C) as matrices (groups, pixels, C / groups)."""
    rows, batch, width, channels = g.shape
    return g.reshape(rows * batch * width, groups, channels // groups).swapaxes(0, 1)


# ---------------------------------------------------------------------------------------------- one block: depthwise
# Matrices of one number each would be slow: every element of the kernel multiplies all pixels that lie under it.
def _is_depthwise(weight: Array, groups: int) -> bool:
    return tuple(weight.shape[:2]) == (groups, 1)


def _taps(piece: Array, matrices: Array, windows: Windows) -> Array:
    """As `_products`."""
    y: Array = None
    part: Array = None
    for (i, j), seen in _each_tap(piece, windows):
        part = xp(seen).multiply(seen, _along_rows(matrices[i, :, j, 0], seen), part)
        if y is None:
            y, part = part, None
        else:
            y += part
    return y.swapaxes(0, 1)[..., None]


def _taps_by_weight(piece: Array, g: Array, total: Array, windows: Windows) -> None:
    """As `_products_by_weight`."""
    rows, batch, width, channels = g.shape
    part = None
    for (i, j), seen in _each_tap(piece, windows):
        part = xp(g).multiply(seen, g, part)
        total[i, :, j, 0] += column_sums(part.reshape(rows * batch * width, channels))


def _taps_by_input(g: Array, matrices: Array, windows: Windows) -> Array:
    """As `_products_by_input`."""
    rows, batch, width, channels = g.shape
    covered = windows.covered((rows, width))
    piece = xp(g).zeros((covered[0], batch, covered[1], channels), xp(g).result_type(g, matrices))
    part = None
    for (i, j), seen in _each_tap(piece, windows):
        part = xp(g).multiply(g, _along_rows(matrices[i, :, j, 0], g), part)
        seen += part
    return piece


def _each_tap(piece: Array, windows: Windows) -> Iterator[tuple[Pair, Array]]:
    """Every element of the kernel, and the pixels of the padded block that lie under it: (rows, N, W, C) of y."""
    (k_h, k_w), reach, stride = windows.kernel, windows.reach, windows.stride
    places = (piece.shape[0] - reach[0]) // stride[0] + 1, (piece.shape[2] - reach[1]) // stride[1] + 1
    for i in range(k_h):
        for j in range(k_w):
            yield (i, j), piece[windows.under(0, i, places[0]), :, windows.under(1, j, places[1])]


def _along_rows(channels: Array, seen: Array) -> Array:
    """(C) for every pixel of a row, (W, C), in memory of its own: operations on long rows are quicker."""
    return xp(channels).ascontiguousarray(xp(channels).broadcast_to(channels, seen.shape[2:]))
