"""The algorithms that convolve one tile of images: implicit GEMM, im2col by kernel row, and direct.

With channels last, the pixels of a tile are the rows of a matrix.  The patch under one row i of the kernel is k_w C
numbers, so that a convolution is one GEMM for each row of the kernel:

    y(h) = sum_i patches(s h + d i) W_i          patches: (.., k_w C), W_i: (k_w C, C_out)

* **implicit GEMM**, for stride 1 and few channels: the tile is copied once, with its padding, and the patches are
  overlapping views of the copy.  Rows of a matrix may not overlap, so there are k_w matrices, each with every k_w-th of
  the patches.  A row of pixels is followed by the padding of the next; what is computed there is thrown away.
* **im2col**, one kernel row at a time: the tile is copied once for every column j of the kernel, shifted by d j.
* **direct**, for depthwise kernels, whose matrices would have one column: each tap of the kernel, one of its elements,
  multiplies all pixels that lie under it.

Each has a forward pass, a weight gradient (wgrad) and an input gradient (dgrad).
"""

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from minattn.autograd.backend import Array, Shape, matmul, xp
from minattn.autograd.ops.products import column_sums

Pair = tuple[int, int]
"""One number for the height and one for the width."""

Tile = tuple[slice, slice]
"""Some images, and some rows of y."""

SMALL = 1_000_000
"""Products of up to so many multiplications OpenBLAS computes without rearranging the matrices, which is quicker where
channels are few, and in the caller's thread."""

FEW_ROWS = 64
"""GEMMs are cut where SMALL has room for so many rows: there convolutions are implicit and threads share tiles."""


class Geometry(NamedTuple):
    """Kernel size, stride, padding and dilation, a pair each for height and width, and the number of groups."""

    kernel: Pair
    stride: Pair
    padding: Pair
    dilation: Pair
    groups: int

    @property
    def effective_kernel(self) -> Pair:
        """The effective kernel size, dilation included: d (k - 1) + 1."""
        (k_h, k_w), (d_h, d_w) = self.kernel, self.dilation
        return d_h * (k_h - 1) + 1, d_w * (k_w - 1) + 1

    @property
    def pointwise(self) -> bool:
        """True for a 1x1 convolution: one GEMM over all pixels."""
        return (*self[:3], self.groups) == ((1, 1), (1, 1), (0, 0), 1)

    def output_size(self, size: Shape) -> Pair:
        """The size of y for images of that size: floor((n + 2p - d (k - 1) - 1) / s) + 1."""
        each = zip(size, self.padding, self.effective_kernel, self.stride, strict=True)
        height, width = ((n + 2 * p - k) // s + 1 for n, p, k, s in each)
        return height, width

    def padded_size(self, size: Shape) -> Pair:
        """The size of the padded images that a y of that size has seen: s (m - 1) + d (k - 1) + 1."""
        height, width = (s * (m - 1) + k for m, s, k in zip(size, self.stride, self.effective_kernel, strict=True))
        return height, width

    def under_tap(self, axis: int, tap: int, size: int) -> slice:
        """The padded pixels along an axis that lie under a tap of the kernel, for so many pixels of y."""
        first, step = self.dilation[axis] * tap, self.stride[axis]
        return slice(first, first + step * (size - 1) + 1, step)


class Algorithm(NamedTuple):
    """How a tile is convolved: y of it, written to the last argument; its part of dW, added to its total; its part of
    dx."""

    forward: Callable[[Array, Tile, Array, Geometry, Array], None]
    weight_gradient: Callable[[Array, Array, Tile, Array, Geometry], None]
    input_gradient: Callable[[Array, Tile, Array, Geometry], Array]


def choose_algorithm(x: Array, weight: Shape, geometry: Geometry) -> Algorithm:
    """The fastest algorithm for a weight of that shape on images x."""
    if tuple(weight[:2]) == (geometry.groups, 1):
        return Algorithm(_direct, _direct_weight_gradient, _direct_input_gradient)
    if xp(x) is np and _suits_implicit_gemm(weight, geometry):
        # dx with stride 1 is a correlation itself, see `convolution_maps.input_gradient`
        return Algorithm(_implicit_gemm, _implicit_gemm_weight_gradient, _col2im_input_gradient)
    return Algorithm(_im2col, _im2col_weight_gradient, _col2im_input_gradient)


# ---------------------------------------------------------------------------------------------- implicit GEMM
def _suits_implicit_gemm(weight: Shape, geometry: Geometry) -> bool:
    """True for stride 1 and few channels: up to 72 for 3x3."""
    unit = (geometry.stride, geometry.dilation[1], geometry.groups) == ((1, 1), 1, 1)
    narrow = geometry.padding[1] < geometry.kernel[1]
    return unit and narrow and FEW_ROWS * math.prod(weight) <= SMALL * geometry.kernel[0]


def _implicit_gemm(images: Array, tile: Tile, matrices: Array, geometry: Geometry, y: Array) -> None:
    """Write y of a tile, (N, rows, W, C_out)."""
    patches, lines = _overlapping_patches(images, tile, matrices.shape[3], geometry)
    k_h, k_w, pieces, count, _ = patches.shape
    parts = np.empty((k_h, pieces, count, k_w, matrices.shape[3]), y.dtype)
    matmul(patches, matrices[:, :, None], parts.transpose(0, 3, 1, 2, 4))
    for part in parts[1:-1]:
        parts[0] += part
    first, last, y = lines.of(parts[0]), lines.of(parts[-1]), y.swapaxes(0, 1)
    if k_h == 1:
        y[...] = first
    else:
        np.add(first, last, y)


def _implicit_gemm_weight_gradient(
    images: Array, upstream: Array, tile: Tile, total: Array, geometry: Geometry
) -> None:
    """Add the tile's part to the gradients of the W_i."""
    outputs = upstream.shape[3]
    patches, lines = _overlapping_patches(images, tile, outputs, geometry)
    _, k_w, pieces, count, _ = patches.shape
    g = np.empty((pieces, count, k_w, outputs), upstream.dtype)
    lines.write(g, upstream[tile])
    total += matmul(patches.swapaxes(3, 4), g.transpose(2, 0, 1, 3)).sum((1, 2))[:, None]


class Lines(NamedTuple):
    """The pixels of y in a strip of pixels."""

    rows: int
    batch: int
    row: int  # pixels from one line to the next
    width: int  # of which y has so many

    def of(self, strip: Array) -> Array:
        """The pixels of y on a strip (.., C), as (rows, N, W, C); a view."""
        return self._all(strip)[:, :, : self.width]

    def write(self, strip: Array, g: Array) -> None:
        """Write g (N, rows, W, C) to the pixels of y, and zeros between them."""
        lines = self._all(strip)
        lines[:, :, : self.width] = g.swapaxes(0, 1)
        lines[:, :, self.width :] = 0
        strip.reshape(-1, strip.shape[-1])[lines.size // strip.shape[-1] :] = 0

    def _all(self, strip: Array) -> Array:
        rows, batch, row, _ = self
        return strip.reshape(-1, strip.shape[-1])[: rows * batch * row].reshape(rows, batch, row, -1)


def _overlapping_patches(images: Array, tile: Tile, outputs: int, geometry: Geometry) -> tuple[Array, Lines]:
    """The patches of a tile as overlapping views, (k_h, k_w, pieces, count, k_w C), and the pixels of y in it.

    The tile becomes one strip of pixels.  A row has its padding on the left; what is missing on the right is the
    padding of the next.  Row q of matrix (i, j) is the k_w neighbors from pixel j + k_w q of row i on.
    """
    (k_h, k_w), (_, left), channels = geometry.kernel, geometry.padding, images.shape[3]
    rows, batch = tile[1].stop - tile[1].start, len(range(*tile[0].indices(len(images))))
    row, (_, width) = images.shape[2] + left, geometry.output_size(images.shape[1:3])
    kernel_row, height = geometry.dilation[0] * batch * row, rows + geometry.effective_kernel[0] - 1
    of_each = -(-rows * batch * row // k_w)  # rows that each of the k_w matrices has, in all its pieces
    pieces = len(_pieces(of_each, k_w * channels * outputs))
    count = -(-of_each // pieces)
    strip = np.empty(((k_h - 1) * kernel_row + (pieces * count + 1) * k_w, channels), images.dtype)  # 1: the last j
    strip[height * batch * row :] = 0
    _fill(strip[: height * batch * row].reshape(height, batch, row, channels), images, tile, geometry)
    pixel = strip.strides[0]
    strides = kernel_row * pixel, pixel, count * k_w * pixel, k_w * pixel, strip.itemsize
    shape = k_h, k_w, pieces, count, k_w * channels
    patches = np.ndarray(shape, strip.dtype, buffer=strip, strides=strides)
    return patches, Lines(rows, batch, row, width)


# ---------------------------------------------------------------------------------------------- im2col
def _im2col(images: Array, tile: Tile, matrices: Array, geometry: Geometry, y: Array) -> None:
    """Write y of a tile, (N, rows, W, C_out)."""
    columns, size = _columns(_padded(images, tile, geometry), geometry)
    total = _stacked(_under(columns, 0, size[0], geometry), matrices[0])
    for i in range(1, len(matrices)):
        total += _stacked(_under(columns, i, size[0], geometry), matrices[i])
    groups, _, per_group = total.shape
    total = total.reshape(groups, size[0], len(y), size[1], per_group).transpose(2, 1, 3, 0, 4)
    y.reshape(*y.shape[:3], groups, per_group)[...] = total


def _im2col_weight_gradient(images: Array, upstream: Array, tile: Tile, total: Array, geometry: Geometry) -> None:
    """Add the tile's part to the gradients of the W_i."""
    columns, size = _columns(_padded(images, tile, geometry), geometry)
    g = _by_group(_rows_first(upstream[tile]), geometry.groups)
    for i in range(len(total)):
        patches = _under(columns, i, size[0], geometry)
        if len(patches) == 1:
            _add_product(patches[0], g[0], total[i, 0])
        else:
            total[i] += matmul(patches.swapaxes(1, 2), g)


def _multiply(a: Array, b: Array, out: Array) -> None:
    """out = a b, in products of at most SMALL multiplications."""
    for piece in _pieces(len(a), b.size):
        matmul(a[piece], b, out[piece])


def _stacked(a: Array, b: Array) -> Array:
    """a b for stacks of matrices."""
    if len(a) > 1 or xp(a) is not np:
        return matmul(a, b)
    out = np.empty((*a.shape[:2], b.shape[2]), np.result_type(a, b))
    _multiply(a[0], b[0], out[0])
    return out


def _add_product(a: Array, g: Array, total: Array) -> None:
    """total += a' g, in products of at most SMALL multiplications."""
    for piece in _pieces(len(a), total.size):
        total += matmul(a[piece].T, g[piece])


def _pieces(rows: int, multiplications: int) -> list[slice]:
    """The rows of a product in pieces of one size, where that leaves each of them enough; multiplications: of a row."""
    most = SMALL // max(1, multiplications)
    count = max(1, -(-rows // most)) if most >= FEW_ROWS else 1
    return [slice(k * rows // count, (k + 1) * rows // count) for k in range(count)]


def _col2im_input_gradient(upstream: Array, tile: Tile, matrices: Array, geometry: Geometry) -> Array:
    """The gradient of a padded tile of x: (N, rows of x, W + 2p, C)."""
    g = _rows_first(upstream[tile])
    rows, batch, columns, _ = g.shape
    height, width = geometry.padded_size((rows, columns))
    k_w, groups, module = geometry.kernel[1], geometry.groups, xp(g)
    per_group = matrices.shape[2] // k_w
    dtype = module.result_type(g, matrices)
    patches = module.zeros((height, batch, columns, groups, k_w, per_group), dtype)
    for i in range(len(matrices)):
        part = matmul(_by_group(g, groups), matrices[i].swapaxes(1, 2)).swapaxes(0, 1)
        patches[geometry.under_tap(0, i, rows)] += part.reshape(rows, *patches.shape[1:])
    piece = module.zeros((height, batch, width, groups, per_group), dtype)
    for j in range(k_w):
        piece[:, :, geometry.under_tap(1, j, columns)] += patches[..., j, :]
    return piece.reshape(height, batch, width, groups * per_group).swapaxes(0, 1)


def _columns(piece: Array, geometry: Geometry) -> tuple[Array, Pair]:
    """The patches under one row of the kernel, (rows of x, N, W of y, groups, k_w, C / groups), and the size of y."""
    rows, batch, width, channels = piece.shape
    stride, k_w, groups = geometry.stride, geometry.kernel[1], geometry.groups
    effective = geometry.effective_kernel
    size = (rows - effective[0]) // stride[0] + 1, (width - effective[1]) // stride[1] + 1
    columns = xp(piece).empty((rows, batch, size[1], groups, k_w, channels // groups), piece.dtype)
    parts = piece.reshape(rows, batch, width, groups, channels // groups)
    for j in range(k_w):
        columns[..., j, :] = parts[:, :, geometry.under_tap(1, j, size[1])]
    return columns, size


def _under(columns: Array, i: int, height: int, geometry: Geometry) -> Array:
    """The patches under row i of the kernel as matrices (groups, pixels of y, k_w C / groups); a view where the stride
    is 1."""
    patches = columns[geometry.under_tap(0, i, height)]
    rows, batch, width, groups, k_w, channels = patches.shape
    return patches.reshape(rows * batch * width, groups, k_w * channels).swapaxes(0, 1)


def _by_group(g: Array, groups: int) -> Array:
    """(rows, N, W, C) as matrices (groups, pixels, C / groups)."""
    rows, batch, width, channels = g.shape
    return g.reshape(rows * batch * width, groups, channels // groups).swapaxes(0, 1)


# ---------------------------------------------------------------------------------------------- direct
def _direct(images: Array, tile: Tile, matrices: Array, geometry: Geometry, y: Array) -> None:
    """Write y of a tile, (N, rows, W, C)."""
    taps = _each_tap(_padded(images, tile, geometry), geometry)
    (i, j), seen = next(taps)
    total = seen * _along_rows(matrices[i, :, j, 0], seen)
    part = None
    for (i, j), seen in taps:
        part = xp(seen).multiply(seen, _along_rows(matrices[i, :, j, 0], seen), part)
        total += part
    y[...] = total.swapaxes(0, 1)


def _direct_weight_gradient(images: Array, upstream: Array, tile: Tile, total: Array, geometry: Geometry) -> None:
    """Add the tile's part to the gradients of the W_i."""
    g = _rows_first(upstream[tile])
    rows, batch, width, channels = g.shape
    part = None
    for (i, j), seen in _each_tap(_padded(images, tile, geometry), geometry):
        part = xp(g).multiply(seen, g, part)
        total[i, :, j, 0] += column_sums(part.reshape(rows * batch * width, channels))


def _direct_input_gradient(upstream: Array, tile: Tile, matrices: Array, geometry: Geometry) -> Array:
    """The gradient of a padded tile of x: (N, rows of x, W + 2p, C)."""
    g = _rows_first(upstream[tile])
    rows, batch, width, channels = g.shape
    height_of_x, width_of_x = geometry.padded_size((rows, width))
    piece = xp(g).zeros((height_of_x, batch, width_of_x, channels), xp(g).result_type(g, matrices))
    part = None
    for (i, j), seen in _each_tap(piece, geometry):
        part = xp(g).multiply(g, _along_rows(matrices[i, :, j, 0], g), part)
        seen += part
    return piece.swapaxes(0, 1)


def _each_tap(piece: Array, geometry: Geometry) -> Iterator[tuple[Pair, Array]]:
    """Every tap of the kernel, and the pixels of the padded tile that lie under it: (rows, N, W, C) of y."""
    (k_h, k_w), effective, stride = geometry.kernel, geometry.effective_kernel, geometry.stride
    rows, columns = (piece.shape[0] - effective[0]) // stride[0] + 1, (piece.shape[2] - effective[1]) // stride[1] + 1
    for i in range(k_h):
        for j in range(k_w):
            yield (i, j), piece[geometry.under_tap(0, i, rows), :, geometry.under_tap(1, j, columns)]


def _along_rows(channels: Array, seen: Array) -> Array:
    """(C) for every pixel of a row, (W, C), in memory of its own: operations on long rows are quicker."""
    return xp(channels).ascontiguousarray(xp(channels).broadcast_to(channels, seen.shape[2:]))


# ---------------------------------------------------------------------------------------------- padding
def _padded(images: Array, tile: Tile, geometry: Geometry) -> Array:
    """The pixels of images (N, H, W, C) that a tile of y sees, padded with zeros: (rows of x, N, W + 2p, C)."""
    some, rows = tile
    count, _ = geometry.padded_size((rows.stop - rows.start, 1))
    batch, width = len(range(*some.indices(len(images)))), images.shape[2] + 2 * geometry.padding[1]
    piece = xp(images).empty((count, batch, width, images.shape[3]), images.dtype)
    _fill(piece, images, tile, geometry)
    return piece


def _fill(piece: Array, images: Array, tile: Tile, geometry: Geometry) -> None:
    """Write the pixels that a tile of y sees, padded with zeros, to `piece` (rows of x, N, row, C)."""
    (some, rows), (top, left) = tile, geometry.padding
    first = geometry.stride[0] * rows.start - top
    low = max(first, 0)
    high = max(low, min(first + len(piece), images.shape[1]))
    piece[: low - first] = 0
    piece[high - first :] = 0
    inside, right = piece[low - first : high - first], left + images.shape[2]
    inside[:, :, :left] = 0
    inside[:, :, right:] = 0
    inside[:, :, left:right] = images[some, low:high].swapaxes(0, 1)


def _rows_first(g: Array) -> Array:
    """(N, rows, W, C) as (rows, N, W, C) in memory."""
    return xp(g).ascontiguousarray(g.swapaxes(0, 1))
