"""How a kernel is laid on images, and the three maps that convolutions are made of.

A convolution is linear in its images x and in its weight W.  `correlate` computes its result y, `by_weight` and
`by_input` are the transposed maps, which bring the gradient of y back to W and to x.

A user's images are (N, C, H, W); in here channels come last, so that a pixel's channels are one row of a matrix.  A 1x1
kernel is one product over all pixels.  For others the images go through in blocks, several images or some rows of one:
a block is small enough for the cache, and no more than a block is ever copied; how it is multiplied by the kernel is in
`window_products.py`.  Threads share the blocks where a kernel has few channels.  Results are (N, C, H, W) views of
memory in which channels come last: a convolution that follows reads it as it lies.
"""

from collections.abc import Sequence

import numpy as np

from minattn.autograd.backend import Array, Shape, matmul, xp
from minattn.autograd.blocks import for_each
from minattn.autograd.ops.window_products import FEW_ROWS, SMALL, Place, Windows, way_of

HOST_BLOCK = 1 << 19
"""About how many numbers of copies and of products are in a block on the host, counted as for shifted copies: 2 MiB of
float32, a part of which is at work at a time and stays in a core's own cache."""

DEVICE_BLOCK = 1 << 26
"""The same on a GPU, where many small products would take longer than they compute."""

SHARED = 1 << 24
"""From how many multiplications on threads share a convolution: they wake faster than they compute so many."""

PARTS = 4
"""How many sums of its own a weight's gradient is made of where threads share it, so that the result does not depend on
the number of threads."""


# ---------------------------------------------------------------------------------------------- the three maps
# conv2d is linear in x and in W.  Here are the map and its transposes; both ops are made of these three.
def correlate(x: Array, weight: Array, windows: Windows) -> Array:
    """conv2d's y of x and W."""
    if windows.pointwise:
        return _images(matmul(pixels(x), weight[:, :, 0, 0].T), x.shape)
    height, width = windows.places(x.shape[2:])
    images, matrices = x.transpose(0, 2, 3, 1), _matrices(weight, windows.groups)
    y = xp(x).empty((len(x), height, width, len(weight)), xp(x).result_type(x, weight))
    way = way_of(x, weight.shape, windows)

    def work(place: Place) -> None:
        way.forward(images, place, matrices, windows, y[place])

    for_each(work, _blocks(x.shape, len(weight), windows, x), _is_shared(y, weight.shape, windows))
    return y.transpose(0, 3, 1, 2)


def by_weight(x: Array, g: Array, windows: Windows) -> Array:
    """dW of x and the gradient g of y."""
    if windows.pointwise:
        return matmul(pixels(g).T, pixels(x))[:, :, None, None]
    groups, (k_h, k_w), inputs, outputs = windows.groups, windows.kernel, x.shape[1], g.shape[1]
    shape = outputs, inputs // groups, k_h, k_w
    images, upstream = x.transpose(0, 2, 3, 1), g.transpose(0, 2, 3, 1)
    places = _blocks(x.shape, outputs, windows, x)
    way, shared = way_of(x, shape, windows), _is_shared(g, shape, windows)
    parts = PARTS if shared else 1
    of_each = k_h, groups, k_w * inputs // groups, outputs // groups  # that of `_matrices`
    totals = xp(x).zeros((parts, *of_each), xp(x).result_type(x, g))

    def work(part: int) -> None:
        for place in places[part * len(places) // parts : (part + 1) * len(places) // parts]:
            way.by_weight(images, upstream, place, totals[part], windows)

    for_each(work, range(parts), shared)
    total = totals.sum(0).reshape(k_h, groups, k_w, inputs // groups, outputs // groups)
    return total.transpose(1, 4, 3, 0, 2).reshape(shape)


def by_input(g: Array, weight: Array, windows: Windows, size: Shape) -> Array:
    """dx of the gradient g of y and W, for images of that size.  With stride 1 it is a correlation with the turned
    kernel, unless the padding is wider than the kernel; else what the blocks put back to the pixels adds up."""
    opposite = windows.reach[0] - 1 - windows.padding[0], windows.reach[1] - 1 - windows.padding[1]
    if windows.stride == (1, 1) and min(opposite) >= 0:
        return correlate(g, _turned(weight, windows.groups), windows._replace(padding=opposite))
    module, (top, left), (height, width) = xp(g), windows.padding, size
    upstream, matrices = g.transpose(0, 2, 3, 1), _matrices(weight, windows.groups)
    channels = windows.groups * weight.shape[1]
    dx = module.zeros((len(g), height + 2 * top, width + 2 * left, channels), module.result_type(g, weight))
    way = way_of(g, weight.shape, windows)

    def work(places: Sequence[Place]) -> None:
        for block, rows in places:
            piece = way.by_input(upstream, (block, rows), matrices, windows)
            first = windows.stride[0] * rows.start
            dx[block, first : first + piece.shape[1], : piece.shape[2]] += piece

    places = _blocks((len(g), channels, height, width), len(weight), windows, g)
    for_each(work, _by_images(places), _is_shared(g, weight.shape, windows))
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
def _blocks(shape: Shape, outputs: int, windows: Windows, on: Array) -> list[Place]:
    """The images and the rows of y of one block after another, for images x of that shape and a y of so many channels:
    several whole images, or some rows of one."""
    batch, channels = shape[:2]
    height, width = windows.places(shape[2:])
    limit = HOST_BLOCK if xp(on) is np else DEVICE_BLOCK
    a_row = max(1, width * (windows.stride[0] * windows.kernel[1] * channels + 2 * outputs))
    images = max(1, limit // max(1, a_row * height))
    pieces = max(1, -(-height // max(1, limit // a_row)))
    rows = max(1, -(-height // pieces))
    return [
        (slice(n, n + images), slice(h, min(h + rows, height)))
        for n in range(0, batch, images)
        for h in range(0, height, rows)
    ]


def _by_images(places: Sequence[Place]) -> list[list[Place]]:
    """The blocks of the same images together, whose gradients overlap."""
    together: dict[int, list[Place]] = {}
    for block, rows in places:
        together.setdefault(block.start, []).append((block, rows))
    return list(together.values())


def _is_shared(y: Array, weight: Shape, windows: Windows) -> bool:
    """Whether threads share the blocks: on the host, where there is enough to do, and channels so few that BLAS has
    little to share."""
    outputs, per_group, k_h, k_w = weight
    multiplications = y.size * per_group * k_h * k_w
    of_one_place = k_w * per_group * outputs // windows.groups
    return xp(y) is np and multiplications >= SHARED and FEW_ROWS * of_one_place <= SMALL


def _matrices(weight: Array, groups: int) -> Array:
    """The W_i of all groups: (k_h, groups, k_w C_in / groups, C_out / groups)."""
    outputs, per_group, k_h, k_w = weight.shape
    parts = weight.reshape(groups, outputs // groups, per_group, k_h, k_w).transpose(3, 0, 4, 2, 1)
    return parts.reshape(k_h, groups, k_w * per_group, outputs // groups)
