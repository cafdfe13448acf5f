"""The three maps that convolutions are made of: forward, weight gradient (wgrad) and input gradient (dgrad).

A convolution is linear in its images x and in its weight W.  `correlate` computes its result y; `weight_gradient` and
`input_gradient`, the transposed maps, bring the gradient of y back to W and to x.

A user's images are (N, C, H, W); in here channels come last (NHWC), so that a pixel's channels are one row of a matrix.
A 1x1 kernel is one GEMM over all pixels.  For others the images go through tile by tile, several images or some rows of
one: a tile is small enough for the cache, and no more than a tile is ever copied.  How it is convolved is in
`convolution_algorithms.py`.  Threads share the tiles where a kernel has few channels.  Results are (N, C, H, W) views
of NHWC memory: a convolution that follows reads it as it lies.
"""

from collections.abc import Sequence

import numpy as np

from minattn.autograd.backend import Array, Shape, matmul, xp
from minattn.autograd.blocks import for_each
from minattn.autograd.ops.convolution_algorithms import FEW_ROWS, SMALL, Geometry, Tile, choose_algorithm

HOST_TILE = 1 << 19
"""About how many numbers of patches and of products are in a tile on the host, counted as for im2col: 2 MiB of float32,
a part of which is at work at a time and stays in a core's own cache."""

DEVICE_TILE = 1 << 26
"""The same on a GPU, where many small products would take longer than they compute."""

SHARED = 1 << 24
"""From how many multiplications on threads share a convolution: they wake faster than they compute so many."""

PARTIAL_SUMS = 4
"""Partial sums of a weight gradient that threads share: a fixed number, so that the result does not depend on how many
threads there are."""


# ---------------------------------------------------------------------------------------------- the three maps
# conv2d is linear in x and in W.  Here are the map and its transposes; both ops are made of these three.
def correlate(x: Array, weight: Array, geometry: Geometry) -> Array:
    """Forward: y of x and W."""
    if geometry.pointwise:
        return _images(matmul(pixels(x), weight[:, :, 0, 0].T), x.shape)
    height, width = geometry.output_size(x.shape[2:])
    images, matrices = x.transpose(0, 2, 3, 1), _matrices(weight, geometry.groups)
    y = xp(x).empty((len(x), height, width, len(weight)), xp(x).result_type(x, weight))
    algorithm = choose_algorithm(x, weight.shape, geometry)

    def work(tile: Tile) -> None:
        algorithm.forward(images, tile, matrices, geometry, y[tile])

    for_each(work, _tiles(x.shape, len(weight), geometry, x), _is_shared(y, weight.shape, geometry))
    return y.transpose(0, 3, 1, 2)


def weight_gradient(x: Array, g: Array, geometry: Geometry) -> Array:
    """Weight gradient (wgrad): dW of x and the gradient g of y."""
    if geometry.pointwise:
        return matmul(pixels(g).T, pixels(x))[:, :, None, None]
    groups, (k_h, k_w), inputs, outputs = geometry.groups, geometry.kernel, x.shape[1], g.shape[1]
    shape = outputs, inputs // groups, k_h, k_w
    images, upstream = x.transpose(0, 2, 3, 1), g.transpose(0, 2, 3, 1)
    tiles = _tiles(x.shape, outputs, geometry, x)
    algorithm, shared = choose_algorithm(x, shape, geometry), _is_shared(g, shape, geometry)
    parts = PARTIAL_SUMS if shared else 1
    of_each = k_h, groups, k_w * inputs // groups, outputs // groups  # that of `_matrices`
    totals = xp(x).zeros((parts, *of_each), xp(x).result_type(x, g))

    def work(part: int) -> None:
        for tile in tiles[part * len(tiles) // parts : (part + 1) * len(tiles) // parts]:
            algorithm.weight_gradient(images, upstream, tile, totals[part], geometry)

    for_each(work, range(parts), shared)
    total = totals.sum(0).reshape(k_h, groups, k_w, inputs // groups, outputs // groups)
    return total.transpose(1, 4, 3, 0, 2).reshape(shape)


def input_gradient(g: Array, weight: Array, geometry: Geometry, size: Shape) -> Array:
    """Input gradient (dgrad): dx of the gradient g of y and W, for images of that size.

    With stride 1 it is a correlation with the flipped kernel, unless the padding is wider than the kernel; else the
    tiles' gradients, which overlap, are added (col2im).
    """
    effective, (top, left) = geometry.effective_kernel, geometry.padding
    opposite = effective[0] - 1 - top, effective[1] - 1 - left
    if geometry.stride == (1, 1) and min(opposite) >= 0:
        return correlate(g, _flipped(weight, geometry.groups), geometry._replace(padding=opposite))
    module, (height, width) = xp(g), size
    upstream, matrices = g.transpose(0, 2, 3, 1), _matrices(weight, geometry.groups)
    channels = geometry.groups * weight.shape[1]
    dx = module.zeros((len(g), height + 2 * top, width + 2 * left, channels), module.result_type(g, weight))
    algorithm = choose_algorithm(g, weight.shape, geometry)

    def work(tiles: Sequence[Tile]) -> None:
        for block, rows in tiles:
            piece = algorithm.input_gradient(upstream, (block, rows), matrices, geometry)
            first = geometry.stride[0] * rows.start
            dx[block, first : first + piece.shape[1], : piece.shape[2]] += piece

    tiles = _tiles((len(g), channels, height, width), len(weight), geometry, g)
    for_each(work, _by_images(tiles), _is_shared(g, weight.shape, geometry))
    return dx[:, top : top + height, left : left + width].transpose(0, 3, 1, 2)


def _flipped(weight: Array, groups: int) -> Array:
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


# ---------------------------------------------------------------------------------------------- tiles
def _tiles(shape: Shape, outputs: int, geometry: Geometry, on: Array) -> list[Tile]:
    """The tiles of y, for images x of that shape and a y of so many channels: several whole images, or some rows of
    one."""
    batch, channels = shape[:2]
    height, width = geometry.output_size(shape[2:])
    limit = HOST_TILE if xp(on) is np else DEVICE_TILE
    a_row = max(1, width * (geometry.stride[0] * geometry.kernel[1] * channels + 2 * outputs))
    images = max(1, limit // max(1, a_row * height))
    pieces = max(1, -(-height // max(1, limit // a_row)))
    rows = max(1, -(-height // pieces))
    return [
        (slice(n, n + images), slice(h, min(h + rows, height)))
        for n in range(0, batch, images)
        for h in range(0, height, rows)
    ]


def _by_images(tiles: Sequence[Tile]) -> list[list[Tile]]:
    """The tiles of the same images together, whose gradients overlap."""
    together: dict[int, list[Tile]] = {}
    for block, rows in tiles:
        together.setdefault(block.start, []).append((block, rows))
    return list(together.values())


def _is_shared(y: Array, weight: Shape, geometry: Geometry) -> bool:
    """True where threads share the tiles: on the host, where there is enough to do, and channels so few that BLAS has
    little to share."""
    outputs, per_group, k_h, k_w = weight
    multiplications = y.size * per_group * k_h * k_w
    of_one_place = k_w * per_group * outputs // geometry.groups
    return xp(y) is np and multiplications >= SHARED and FEW_ROWS * of_one_place <= SMALL


def _matrices(weight: Array, groups: int) -> Array:
    """The W_i of all groups: (k_h, groups, k_w C_in / groups, C_out / groups)."""
    outputs, per_group, k_h, k_w = weight.shape
    parts = weight.reshape(groups, outputs // groups, per_group, k_h, k_w).transpose(3, 0, 4, 2, 1)
    return parts.reshape(k_h, groups, k_w * per_group, outputs // groups)
