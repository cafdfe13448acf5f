"""One block of images under a kernel: the three ways to multiply them.

With channels last, a block's pixels are the rows of a matrix.  The pixels under one row i of the kernel, side by side,
are k_w C numbers, so that a convolution is one product for each of the kernel's rows:

    y(h) = sum_i seen(s h + d i) W_i          seen: (.., k_w C), W_i: (k_w C, C_out)

* **slid**, where the kernel moves from pixel to pixel and channels are few: the block is copied once, with its padding,
  and k_w neighbors are side by side already.  Rows of a matrix may not overlap, so there are k_w matrices, each with
  every k_w-th of the places, which are views of the copy.  A row of pixels is followed by the padding of the next; what
  is computed there is thrown away.
* **shifted**: the block is copied once for every column j of the kernel, shifted by d j.
* **taps**, for depthwise kernels, whose matrices would have one number: each element of the kernel multiplies all
  pixels that lie under it.
"""

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from minattn.autograd.backend import Array, Shape, matmul, xp
from minattn.autograd.ops.products import column_sums

Pair = tuple[int, int]
"""One number for the height and one for the width."""

Place = tuple[slice, slice]
"""A block: which images, and which rows of y."""

SMALL = 1_000_000
"""Products of up to so many multiplications OpenBLAS computes without rearranging the matrices, which is quicker where
channels are few, and in the caller's thread."""

FEW_ROWS = 64
"""Products are cut where SMALL has room for so many rows; there kernels are slid, and threads share blocks."""


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


class Way(NamedTuple):
    """How a block is multiplied: conv2d's y of it, written to its last argument, its part of dW, which is added to its
    total, and its part of dx."""

    forward: Callable[[Array, Place, Array, Windows, Array], None]
    by_weight: Callable[[Array, Array, Place, Array, Windows], None]
    by_input: Callable[[Array, Place, Array, Windows], Array]


def way_of(x: Array, weight: Shape, windows: Windows) -> Way:
    """The quickest way for a weight of that shape on images x."""
    if tuple(weight[:2]) == (windows.groups, 1):
        return Way(_taps, _taps_by_weight, _taps_by_input)
    if xp(x) is np and _may_slide(weight, windows):
        return Way(_slid, _slid_by_weight, _shifted_by_input)  # dx itself is a correlation, see `windows.by_input`
    return Way(_shifted, _shifted_by_weight, _shifted_by_input)


# ---------------------------------------------------------------------------------------------- slid
def _may_slide(weight: Shape, windows: Windows) -> bool:
    """Whether a kernel can be slid over the pixels, and its channels are few: up to 72 for 3x3."""
    unit = (windows.stride, windows.dilation[1], windows.groups) == ((1, 1), 1, 1)
    return unit and windows.padding[1] < windows.kernel[1] and FEW_ROWS * math.prod(weight) <= SMALL * windows.kernel[0]


def _slid(images: Array, place: Place, matrices: Array, windows: Windows, y: Array) -> None:
    """Write y of a block, (N, rows, W, C_out)."""
    seen, lines = _slid_over(images, place, matrices.shape[3], windows)
    k_h, k_w, pieces, count, _ = seen.shape
    parts = np.empty((k_h, pieces, count, k_w, matrices.shape[3]), y.dtype)
    matmul(seen, matrices[:, :, None], parts.transpose(0, 3, 1, 2, 4))
    for part in parts[1:-1]:
        parts[0] += part
    first, last, y = lines.of(parts[0]), lines.of(parts[-1]), y.swapaxes(0, 1)
    if k_h == 1:
        y[...] = first
    else:
        np.add(first, last, y)


def _slid_by_weight(images: Array, upstream: Array, place: Place, total: Array, windows: Windows) -> None:
    """Add the block's part to the gradients of the W_i."""
    outputs = upstream.shape[3]
    seen, lines = _slid_over(images, place, outputs, windows)
    _, k_w, pieces, count, _ = seen.shape
    g = np.empty((pieces, count, k_w, outputs), upstream.dtype)
    lines.write(g, upstream[place])
    total += matmul(seen.swapaxes(3, 4), g.transpose(2, 0, 1, 3)).sum((1, 2))[:, None]


class Lines(NamedTuple):
    """Where the places of y are in a strip of pixels."""

    rows: int
    batch: int
    row: int  # pixels from one line to the next
    width: int  # of which y has so many

    def of(self, strip: Array) -> Array:
        """The places of y on a strip (.., C), as (rows, N, W, C); a view."""
        return self._all(strip)[:, :, : self.width]

    def write(self, strip: Array, g: Array) -> None:
        """Write g (N, rows, W, C) to the places of y, and zeros between them."""
        lines = self._all(strip)
        lines[:, :, : self.width] = g.swapaxes(0, 1)
        lines[:, :, self.width :] = 0
        strip.reshape(-1, strip.shape[-1])[lines.size // strip.shape[-1] :] = 0

    def _all(self, strip: Array) -> Array:
        rows, batch, row, _ = self
        return strip.reshape(-1, strip.shape[-1])[: rows * batch * row].reshape(rows, batch, row, -1)


def _slid_over(images: Array, place: Place, outputs: int, windows: Windows) -> tuple[Array, Lines]:
    """What a kernel sees of a block, (k_h, k_w, pieces, count, k_w C), and where y is in it.

    The block becomes one strip of pixels.  A row has its padding on the left; what is missing on the right is the
    padding of the next.  Row q of matrix (i, j) is the k_w neighbors from pixel j + k_w q of row i on: a view.
    """
    (k_h, k_w), (_, left), channels = windows.kernel, windows.padding, images.shape[3]
    rows, batch = place[1].stop - place[1].start, len(range(*place[0].indices(len(images))))
    row, (_, width) = images.shape[2] + left, windows.places(images.shape[1:3])
    kernel_row, height = windows.dilation[0] * batch * row, rows + windows.reach[0] - 1
    of_each = -(-rows * batch * row // k_w)  # rows that each of the k_w matrices has, in all its pieces
    pieces = len(_pieces(of_each, k_w * channels * outputs))
    count = -(-of_each // pieces)
    strip = np.empty(((k_h - 1) * kernel_row + (pieces * count + 1) * k_w, channels), images.dtype)  # 1: the last j
    strip[height * batch * row :] = 0
    _fill(strip[: height * batch * row].reshape(height, batch, row, channels), images, place, windows)
    pixel = strip.strides[0]
    strides = kernel_row * pixel, pixel, count * k_w * pixel, k_w * pixel, strip.itemsize
    shape = k_h, k_w, pieces, count, k_w * channels
    seen = np.ndarray(shape, strip.dtype, buffer=strip, strides=strides)
    return seen, Lines(rows, batch, row, width)


# ---------------------------------------------------------------------------------------------- shifted
def _shifted(images: Array, place: Place, matrices: Array, windows: Windows, y: Array) -> None:
    """Write y of a block, (N, rows, W, C_out)."""
    shifted, places = _copies(_padded(images, place, windows), windows)
    total = _stacked(_under(shifted, 0, places[0], windows), matrices[0])
    for i in range(1, len(matrices)):
        total += _stacked(_under(shifted, i, places[0], windows), matrices[i])
    groups, _, per_group = total.shape
    total = total.reshape(groups, places[0], len(y), places[1], per_group).transpose(2, 1, 3, 0, 4)
    y.reshape(*y.shape[:3], groups, per_group)[...] = total


def _shifted_by_weight(images: Array, upstream: Array, place: Place, total: Array, windows: Windows) -> None:
    """Add the block's part to the gradients of the W_i."""
    shifted, places = _copies(_padded(images, place, windows), windows)
    g = _rows_first(upstream[place])
    for i in range(len(total)):
        seen, upstream_of_places = _under(shifted, i, places[0], windows), _by_group(g, windows.groups)
        if len(seen) == 1:
            _add_product(seen[0], upstream_of_places[0], total[i, 0])
        else:
            total[i] += matmul(seen.swapaxes(1, 2), upstream_of_places)


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


def _shifted_by_input(upstream: Array, place: Place, matrices: Array, windows: Windows) -> Array:
    """The gradient of a padded block of x: (N, rows of x, W + 2p, C)."""
    g = _rows_first(upstream[place])
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
    return piece.reshape(height, batch, width, groups * per_group).swapaxes(0, 1)


def _copies(piece: Array, windows: Windows) -> tuple[Array, Pair]:
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


# ---------------------------------------------------------------------------------------------- taps
def _taps(images: Array, place: Place, matrices: Array, windows: Windows, y: Array) -> None:
    """Write y of a block, (N, rows, W, C)."""
    total: Array = None
    part: Array = None
    for (i, j), seen in _each_tap(_padded(images, place, windows), windows):
        part = xp(seen).multiply(seen, _along_rows(matrices[i, :, j, 0], seen), part)
        if total is None:
            total, part = part, None
        else:
            total += part
    y[...] = total.swapaxes(0, 1)


def _taps_by_weight(images: Array, upstream: Array, place: Place, total: Array, windows: Windows) -> None:
    """Add the block's part to the gradients of the W_i."""
    g = _rows_first(upstream[place])
    rows, batch, width, channels = g.shape
    part = None
    for (i, j), seen in _each_tap(_padded(images, place, windows), windows):
        part = xp(g).multiply(seen, g, part)
        total[i, :, j, 0] += column_sums(part.reshape(rows * batch * width, channels))


def _taps_by_input(upstream: Array, place: Place, matrices: Array, windows: Windows) -> Array:
    """The gradient of a padded block of x: (N, rows of x, W + 2p, C)."""
    g = _rows_first(upstream[place])
    rows, batch, width, channels = g.shape
    covered = windows.covered((rows, width))
    piece = xp(g).zeros((covered[0], batch, covered[1], channels), xp(g).result_type(g, matrices))
    part = None
    for (i, j), seen in _each_tap(piece, windows):
        part = xp(g).multiply(g, _along_rows(matrices[i, :, j, 0], g), part)
        seen += part
    return piece.swapaxes(0, 1)


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


# ---------------------------------------------------------------------------------------------- padding
def _padded(images: Array, place: Place, windows: Windows) -> Array:
    """What these rows of y see of a block of images (N, H, W, C), with zeros around: (rows of x, N, W + 2p, C)."""
    block, rows = place
    count, _ = windows.covered((rows.stop - rows.start, 1))
    batch, width = len(range(*block.indices(len(images)))), images.shape[2] + 2 * windows.padding[1]
    piece = xp(images).empty((count, batch, width, images.shape[3]), images.dtype)
    _fill(piece, images, place, windows)
    return piece


def _fill(piece: Array, images: Array, place: Place, windows: Windows) -> None:
    """Write what a block sees of the images, with zeros around, to `piece` (rows of x, N, row, C)."""
    (block, rows), (top, left) = place, windows.padding
    first = windows.stride[0] * rows.start - top
    low = max(first, 0)
    high = max(low, min(first + len(piece), images.shape[1]))
    piece[: low - first] = 0
    piece[high - first :] = 0
    inside, right = piece[low - first : high - first], left + images.shape[2]
    inside[:, :, :left] = 0
    inside[:, :, right:] = 0
    inside[:, :, left:right] = images[block, low:high].swapaxes(0, 1)


def _rows_first(g: Array) -> Array:
    """(N, rows, W, C) as (rows, N, W, C) in memory."""
    return xp(g).ascontiguousarray(g.swapaxes(0, 1))
