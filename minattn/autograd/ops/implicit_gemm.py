"""Convolutions as matrix products over blocks of pixels: implicit GEMM.

With channels last (NHWC) the patch that a pixel of y sees is k_h runs of k_w C neighbors in memory, and a convolution
is one product of all patches with the weight; so is its weight gradient, with the gradient g of y:

    y = P W,    dW = P' g         P: (pixels of y, k_h k_w C),  W: (k_h k_w C, C_out)

P has k_h k_w times the numbers of x, so it is never there as a whole: a block of it, for some images or for some rows
of one, is gathered into a buffer that stays in the cache and multiplied while it is there.

    gather      one copy of a view of x whose windows overlap, whole runs at a time; none where P lies in memory as it
                is, as for a 1x1 kernel
    multiply    one product for a block
    slide       in place of both where BLAS is quick with small products and channels are few: P as overlapping views
    groups      P and W are stacks, with a matrix for each group
    depthwise   where each channel is a group, P W is a sum over the kernel's elements, taken from the view of x

The gradient of x is of the same kind: each s-th pixel of dx, for the stride s, is a correlation of g with every s-th
element of the kernel, turned by 180 degrees.

Threads share the blocks (`blocks.py`).  Which pixels are in a block depends on shapes alone, and sums over blocks are
taken in a fixed order, so no result depends on the number of threads.
"""

import math
from typing import NamedTuple

import numpy as np

from minattn.autograd.backend import Array, Shape, matmul, xp
from minattn.autograd.blas import has_small_products
from minattn.autograd.blocks import alone, for_each

Pair = tuple[int, int]
"""One number for the height and one for the width."""

Block = tuple[slice, slice]
"""Some images, and some rows of y."""

HOST_BLOCK = 1 << 20
"""Numbers that a block holds on the host, of P as a rule: 4 MiB of float32.  BLAS and the copies read and write them in
order, so that it hardly matters whether a core's own cache has room for all of them; but between the few calls for a
block, threads wait for the interpreter's lock."""

DEVICE_BLOCK = 1 << 26
"""The same on a GPU, where many small products would take longer than they compute."""

FEWEST_PIXELS = 256
"""Pixels of a block, where there are as many: BLAS rearranges W anew for every product."""

SMALL = 1_000_000
"""Multiplications of a product, at most, that OpenBLAS computes without rearranging the matrices where it has the
kernels (`has_small_products`): a quarter quicker where channels are few.  Products are cut into such pieces then."""

FEWEST_ROWS = 64
"""Rows of P in a piece of a product; where SMALL has no room for as many, products are whole."""

PAGE, ROOM = 4096, 8
"""Numbers so many bytes apart share a place in a processor's first cache, which has room for so many of them.  Where
more channels are as far apart, as those of 32 x 32 pixels that do not come last, reading all of a pixel is slow."""

SHARED = 1 << 24
"""From how many multiplications on threads share a convolution: they wake faster than they compute so many."""

PARTS = 4
"""Where threads share a convolution its images are cut into a multiple of so many blocks, and dW is so many sums."""


class Geometry(NamedTuple):
    """How y sees x: element i of the kernel looks at pixel stride h + dilation i - padding for pixel h of y, along both
    axes, and sees 0 outside of the image."""

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

    def output_size(self, size: Shape) -> Pair:
        """The size of y for images of that size: floor((n + 2p - d (k - 1) - 1) / s) + 1."""
        each = zip(size, self.padding, self.effective_kernel, self.stride, strict=True)
        height, width = ((n + 2 * p - k) // s + 1 for n, p, k, s in each)
        return height, width

    def padded_size(self, size: Shape) -> Pair:
        """The size of the padded images that a y of that size has seen: s (m - 1) + d (k - 1) + 1."""
        height, width = (s * (m - 1) + k for m, s, k in zip(size, self.stride, self.effective_kernel, strict=True))
        return height, width


# ---------------------------------------------------------------------------------------------- the three maps
# Arrays come as the user sees them, x (N, C, ..), y or g (N, C_out, h, w), weight (C_out, C / groups, k_h, k_w).
def correlate(x: Array, weight: Array, geometry: Geometry, y: Array) -> None:
    """Write y(n, o, h) = sum_{c,i} W(o, c, i) x(n, c, s h + d i - p) to `y`."""
    images, result, depthwise = x.transpose(0, 2, 3, 1), y.transpose(0, 2, 3, 1), _is_depthwise(weight.shape, geometry)
    matrices, slides = _matrices(weight, geometry.groups), _slides(x, weight.shape, geometry, y.shape[3])
    if slides:
        matrices = matrices.reshape(geometry.kernel[0], -1, len(weight))
    elif depthwise:
        matrices = xp(x).ascontiguousarray(matrices[..., 0].T).reshape(*geometry.kernel, x.shape[1])

    def work(block: Block) -> None:
        if slides:
            _slide(images, block, matrices, geometry, result[block])
        elif depthwise:
            patches = _patches(images, block, y.shape[3], geometry, 1)[0]
            result[block] = xp(x).einsum("nhwijc,ijc->nhwc", patches, matrices)
        else:
            patches = _patches(images, block, y.shape[3], geometry, geometry.groups)
            _multiply(_gathered(patches), matrices, result[block])

    blocks, share = _blocks(y, weight.shape, _held(weight.shape, slides, depthwise))
    for_each(work, blocks, share, products=True)


def weight_gradient(x: Array, g: Array, geometry: Geometry) -> Array:
    """dW(o, c, i) = sum_{n,h} g(n, o, h) x(n, c, s h + d i - p)."""
    groups, (k_h, k_w), inputs, outputs = geometry.groups, geometry.kernel, x.shape[1], g.shape[1]
    weight = outputs, inputs // groups, k_h, k_w
    images, upstream, depthwise = x.transpose(0, 2, 3, 1), g.transpose(0, 2, 3, 1), _is_depthwise(weight, geometry)
    slides = _slides(x, weight, geometry, g.shape[3])
    blocks, share = _blocks(g, weight, _held(weight, slides, depthwise))
    parts = min(PARTS, len(blocks)) if share else 1
    totals = xp(x).zeros((parts, groups, k_h * k_w * inputs // groups, outputs // groups), xp(x).result_type(x, g))

    def work(part: int) -> None:
        for block in blocks[part * len(blocks) // parts : (part + 1) * len(blocks) // parts]:
            totals[part] += of_block(block)

    def of_block(block: Block) -> Array:
        if slides:
            product = _slide_weight_gradient(images, upstream[block], block, geometry)
            if np.isfinite(product).all():  # else by the patches alone: what lies between them counts 0 times
                return product
        patches = _patches(images, block, g.shape[3], geometry, 1 if depthwise else groups)
        if depthwise:
            product = xp(x).einsum("nhwijc,nhwc->ijc", patches[0], upstream[block])
            return product.reshape(k_h * k_w, groups, 1).swapaxes(0, 1)
        return _summed_products(_gathered(patches), upstream[block])

    for_each(work, range(parts), share, products=True)
    by_element = totals.sum(0).reshape(groups, k_h, k_w, inputs // groups, outputs // groups)
    return by_element.transpose(0, 4, 3, 1, 2).reshape(weight)


def input_gradient(g: Array, weight: Array, geometry: Geometry, dx: Array) -> None:
    """Write dx(n, c, q) = sum of W(o, c, i) g(n, o, h) over all o, i, h with s h + d i - p = q to `dx`."""
    groups, (outputs, per_group, *kernel) = geometry.groups, weight.shape
    turned = weight.reshape(groups, outputs // groups, per_group, *kernel).swapaxes(1, 2)[..., ::-1, ::-1]
    turned = turned.reshape(groups * per_group, outputs // groups, *kernel)
    for phase in np.ndindex(*geometry.stride):
        rows, columns = (_looking_at(geometry, axis, phase[axis]) for axis in (0, 1))
        some = turned[:, :, rows[0], columns[0]]
        pixels = dx[:, :, phase[0] :: geometry.stride[0], phase[1] :: geometry.stride[1]]
        if not some.size:
            pixels[...] = 0
        elif pixels.size:
            padding, dilation = (rows[1], columns[1]), (rows[2], columns[2])
            correlate(g, some, Geometry(some.shape[2:], (1, 1), padding, dilation, groups), pixels)


def _looking_at(geometry: Geometry, axis: int, phase: int) -> tuple[slice, int, int]:
    """What pixels phase, phase + s, .. of x see of g along an axis: every step-th element of the turned kernel, with
    that padding and that dilation.

    s h + d i - p = phase + s q  gives  h = q + (phase + p - d i) / s, for i = k - 1 - j of element j.
    """
    k, stride, padding, dilation = (pair[axis] for pair in geometry[:4])
    from_there = [phase + padding - dilation * (k - 1 - j) for j in range(k)]
    start = next((j for j in range(k) if from_there[j] % stride == 0), k)
    step = stride // math.gcd(stride, dilation)
    return slice(start, None, step), -from_there[min(start, k - 1)] // stride, dilation * step // stride


def _is_depthwise(weight: Shape, geometry: Geometry) -> bool:
    """Whether each channel is a group, of x and of y."""
    return tuple(weight[:2]) == (geometry.groups, 1)


# ---------------------------------------------------------------------------------------------- blocks
def _blocks(y: Array, weight: Shape, held: int) -> tuple[list[Block], bool]:
    """The blocks of y (N, C_out, h, w), of several whole images or of some rows of one, and whether threads share
    them; held: the numbers that a block has for each of its pixels."""
    batch, _, height, width = y.shape
    on_host, multiplications = xp(y) is np, y.size * math.prod(weight[1:])
    share = on_host and multiplications >= SHARED and not alone()
    pixels = max((HOST_BLOCK if on_host else DEVICE_BLOCK) // held, FEWEST_PIXELS if on_host else 1)
    images = _even(batch, pixels // max(1, height * width), PARTS if share else 1)
    rows = height if images > 1 else _even(height, pixels // max(1, width), 1)
    return [
        (slice(n, min(n + images, batch)), slice(h, min(h + rows, height)))
        for n in range(0, batch, images)
        for h in range(0, height, rows)
    ], share


def _held(weight: Shape, slides: bool, depthwise: bool) -> int:
    """The numbers that a block has for each pixel: its patch, or where there are no patches what stands for them, the
    pixel itself twice, what each row of the kernel makes of it, and their sum."""
    outputs, channels, k_h, k_w = weight
    if depthwise:
        return 4 * outputs  # what it sees, its result and copies on the way
    return 2 * channels + (k_h + 1) * outputs if slides else channels * k_h * k_w


def _even(count: int, most: int, multiple: int) -> int:
    """How many of `count` things each of some equal parts has, `most` at most; a multiple of so many parts."""
    parts = -(-count // max(1, most))
    return max(1, -(-count // max(1, -(-parts // multiple) * multiple)))


# ---------------------------------------------------------------------------------------------- gather
def _patches(images: Array, block: Block, width: int, geometry: Geometry, groups: int) -> Array:
    """The patches of images (N, H, W, C) that a block of y sees, as a view that overlaps:
    (groups, N, rows, w, k_h, k_w, C / groups)."""
    some, rows = block
    height = rows.stop - rows.start
    kernel, (s_h, s_w), (top, left), (d_h, d_w), _ = geometry
    seen_height, seen_width = geometry.padded_size((height, width))
    first = s_h * rows.start - top
    padded = _padded(images[some], slice(first, first + seen_height), slice(-left, seen_width - left), groups)
    groups, n, h, w, c = padded.strides
    shape = *padded.shape[:2], height, width, *kernel, padded.shape[4]
    strides = groups, n, s_h * h, s_w * w, d_h * h, d_w * w, c
    return xp(images).lib.stride_tricks.as_strided(padded, shape, strides)


def _padded(images: Array, rows: slice, columns: slice, groups: int) -> Array:
    """The pixels [rows, columns] of images (N, H, W, C), 0 outside of the image, with the channels of a group next to
    one another: (groups, N, rows, columns, C / groups)."""
    batch, height, width, channels = images.shape
    inside = 0 <= rows.start < rows.stop <= height and 0 <= columns.start < columns.stop <= width
    if groups == 1 and inside and images.strides[3] == images.itemsize:
        return images[None, :, rows, columns]
    shape = groups, batch, rows.stop - rows.start, columns.stop - columns.start, channels // groups
    padded = xp(images).zeros(shape, images.dtype)
    by_group = images.reshape(batch, height, width, groups, channels // groups)
    _fill(padded.transpose(1, 2, 3, 0, 4), by_group, rows.start, columns.start)
    return padded


def _fill(padded: Array, images: Array, top: int, left: int) -> None:
    """Write the pixels of images (N, H, W, ..) from (top, left) on to `padded`, which is 0 where there are none."""
    rows, from_rows = _common(top, padded.shape[1], images.shape[1])
    columns, from_columns = _common(left, padded.shape[2], images.shape[2])
    seen = images[:, from_rows, from_columns]
    apart = seen.strides[-1]
    if xp(seen) is np and seen.shape[-1] > ROOM and apart > 0 and apart % PAGE == 0:
        seen = np.ascontiguousarray(seen.swapaxes(2, -1)).swapaxes(2, -1)  # whole rows first, then row by row
    padded[:, rows, columns] = seen


def _common(first: int, size: int, whole: int) -> tuple[slice, slice]:
    """What [first, first + size) has in common with [0, whole): counted from `first`, and as it is."""
    start = max(first, 0)
    stop = max(start, min(first + size, whole))
    return slice(start - first, stop - first), slice(start, stop)


def _gathered(patches: Array) -> Array:
    """The patches as matrices (groups, pixels, k_h k_w C / groups), in memory of their own unless they lie like that.

    NumPy copies a run of neighbors as one element of so many bytes, which takes half the time.
    """
    groups, batch, height, width, k_h, k_w, channels = patches.shape
    if xp(patches) is np:
        if patches.strides[5] == channels * patches.itemsize:
            patches = patches.reshape(*patches.shape[:5], k_w * channels)
        in_bytes = patches.view(np.dtype((np.void, patches.shape[-1] * patches.itemsize)))
        patches = np.ascontiguousarray(in_bytes).view(patches.dtype)
    return patches.reshape(groups, batch * height * width, k_h * k_w * channels)


# ---------------------------------------------------------------------------------------------- slide
def _slides(x: Array, weight: Shape, geometry: Geometry, width: int) -> bool:
    """Whether BLAS multiplies small matrices where they lie, and the kernel has stride 1 and few channels."""
    outputs, channels, _, k_w = weight
    _, stride, (_, left), (_, d_w), groups = geometry
    right = width + k_w - 1 - left - x.shape[3]  # the padding there, which lies in the next row's on the left
    fits = (stride, d_w, groups) == ((1, 1), 1, 1) and 0 <= right <= min(left, k_w - 1)
    return xp(x) is np and fits and FEWEST_ROWS * k_w * channels * outputs <= SMALL and has_small_products()


def _slide(images: Array, block: Block, matrices: Array, geometry: Geometry, y: Array) -> None:
    """Write P W to y (N, rows, w, C_out), as k_h products, one for each row of the kernel."""
    batch, height, width, outputs = y.shape
    patches, row = _overlapping(images, block, outputs, geometry)
    k_h, k_w, pieces, count, _ = patches.shape
    parts = np.empty((k_h, pieces, count, k_w, outputs), y.dtype)
    matmul(patches, matrices[:, None, None], parts.transpose(0, 3, 1, 2, 4))
    for part in parts[2:]:
        parts[1] += part
    lines = parts.reshape(k_h, -1, outputs)[:2, : height * batch * row].reshape(-1, height, batch, row, outputs)
    in_rows = y.swapaxes(0, 1)
    if k_h > 1:
        np.add(lines[0, :, :, :width], lines[1, :, :, :width], in_rows)
    else:
        in_rows[...] = lines[0, :, :, :width]


def _slide_weight_gradient(images: Array, g: Array, block: Block, geometry: Geometry) -> Array:
    """P' g for g (N, rows, w, C_out), in the shape of the matrices W; g is 0 for the pixels between the rows."""
    batch, height, width, outputs = g.shape
    patches, row = _overlapping(images, block, outputs, geometry)
    k_h, k_w, pieces, count, run = patches.shape
    strip = np.zeros((pieces, count, k_w, outputs), g.dtype)
    lines = strip.reshape(-1, outputs)[: height * batch * row].reshape(height, batch, row, outputs)
    lines[:, :, :width] = g.swapaxes(0, 1)
    products = matmul(patches.swapaxes(3, 4), strip.transpose(2, 0, 1, 3))
    return products.sum((1, 2)).reshape(1, k_h * run, outputs)


def _overlapping(images: Array, block: Block, outputs: int, geometry: Geometry) -> tuple[Array, int]:
    """P of a block as overlapping views, (k_h, k_w, pieces, count, k_w C), and the pixels from a line to the next.

    The block becomes one strip of pixels, row by row of all its images, each with its padding on the left; what is
    missing on the right is the padding of the next.  What a row of the kernel covers is k_w C neighbors then for every
    pixel.  Rows of a matrix may not overlap, so there are k_w matrices, each with every k_w-th pixel.
    """
    (k_h, k_w), (top, left), channels = geometry.kernel, geometry.padding, images.shape[3]
    some, rows = block
    seen = images[some]
    batch, height, row = len(seen), rows.stop - rows.start, left + images.shape[2]
    line, high = batch * row, height + geometry.effective_kernel[0] - 1
    of_each = -(-height * line // k_w)  # rows that each of the k_w matrices has, in all its pieces
    pieces = -(-of_each * k_w * channels * outputs // SMALL)
    count = -(-of_each // pieces)
    strip = np.zeros((high * line + (pieces + k_w) * k_w, channels), images.dtype)
    _fill(strip[: high * line].reshape(high, batch, row, channels).swapaxes(0, 1), seen, rows.start - top, -left)
    pixel = strip.strides[0]
    strides = geometry.dilation[0] * line * pixel, pixel, count * k_w * pixel, k_w * pixel, strip.itemsize
    return np.ndarray((k_h, k_w, pieces, count, k_w * channels), strip.dtype, strip, 0, strides), row


# ---------------------------------------------------------------------------------------------- multiply
def _matrices(weight: Array, groups: int) -> Array:
    """W of all groups: (groups, k_h k_w C / groups, C_out / groups)."""
    outputs, per_group, k_h, k_w = weight.shape
    by_element = weight.reshape(groups, outputs // groups, per_group, k_h, k_w).transpose(0, 3, 4, 2, 1)
    return by_element.reshape(groups, k_h * k_w * per_group, outputs // groups)


def _multiply(patches: Array, matrices: Array, y: Array) -> None:
    """Write P W to y (N, rows, w, C_out)."""
    groups, pixels, _ = patches.shape
    if xp(y) is not np:
        y[...] = matmul(patches, matrices).swapaxes(0, 1).reshape(y.shape)
        return
    result = y if y.flags.c_contiguous else np.empty(y.shape, y.dtype)
    out = result.reshape(pixels, groups, -1).swapaxes(0, 1)
    whole, piece = _pieces(patches, matrices.shape[2])
    matmul(_stack(patches, whole, piece), matrices[:, None], _stack(out, whole, piece))
    if whole < pixels:
        matmul(patches[:, whole:], matrices, out[:, whole:])
    if result is not y:
        y[...] = result


def _summed_products(patches: Array, g: Array) -> Array:
    """P' g for g (N, rows, w, C_out), in the shape of the matrices W."""
    groups, pixels, _ = patches.shape
    upstream = xp(g).ascontiguousarray(g).reshape(pixels, groups, -1).swapaxes(0, 1)
    whole, piece = _pieces(patches, upstream.shape[2])
    total = matmul(_stack(patches, whole, piece).swapaxes(2, 3), _stack(upstream, whole, piece)).sum(1)
    if whole < pixels:
        total += matmul(patches[:, whole:].swapaxes(1, 2), upstream[:, whole:])
    return total


def _pieces(patches: Array, outputs: int) -> tuple[int, int]:
    """How many rows of P are in pieces of one size, and their size; all rows in one where products are whole."""
    _, pixels, numbers = patches.shape
    most = SMALL // max(1, numbers * outputs)
    if xp(patches) is not np or not FEWEST_ROWS <= most < pixels or not has_small_products():
        return pixels, pixels
    least = -(-pixels // most)
    count = next((count for count in range(least, 2 * least) if pixels % count == 0), least)
    return pixels // count * count, pixels // count


def _stack(rows: Array, whole: int, piece: int) -> Array:
    """(groups, pixels, d) in pieces: (groups, pieces, piece, d)."""
    return rows[:, :whole].reshape(len(rows), -1, piece, rows.shape[2])
