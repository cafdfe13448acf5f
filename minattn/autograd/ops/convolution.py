"""Convolutions of images: conv2d, and conv_transpose2d, which is the input gradient of conv2d.

As in all papers on convolutional networks, a convolution is a cross-correlation: the kernel is not flipped.
With stride s, padding p, dilation d, and one group,

    y(n, o, h, w) = b(o) + sum_{c,i,j} W(o, c, i, j) x(n, c, s h + d i - p, s w + d j - p)

where x is 0 outside the image.  With g groups the channels are cut into g parts, and every part of y sees its own part
of x only: a depthwise convolution has as many groups as channels.

The arithmetic is in `implicit_gemm.py`; here are the ops, their equations, and what they refuse.  Results are views
(N, C, H, W) of memory with channels last (NHWC): a convolution that follows reads it as it lies.
"""

from typing import Any

import numpy as np

from minattn.autograd.backend import Array, Shape, xp
from minattn.autograd.engine import Result, op
from minattn.autograd.ops.images import pair
from minattn.autograd.ops.implicit_gemm import Geometry, Pair, correlate, input_gradient, weight_gradient
from minattn.autograd.ops.products import column_sums, einsum
from minattn.autograd.ops.shaping import expand_dims, pad, reshape, squeeze
from minattn.errors import ConfigError, ShapeError


# ---------------------------------------------------------------------------------------------- conv2d
def conv2d_equation(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: int | Pair = 1,
    padding: int | Pair = 0,
    dilation: int | Pair = 1,
    groups: int = 1,
) -> Any:
    """y = b + sum_{i,j} x(s h + d i - p, s w + d j - p) W(i, j): for every element of the kernel, a product over the
    channels of each group."""
    geometry = _geometry(weight, stride, padding, dilation, groups)
    (k_h, k_w), (s_h, s_w), (top, left), (d_h, d_w) = geometry[:4]
    height, width = geometry.output_size(x.shape[2:])
    x = pad(x, [(0, 0), (0, 0), (top, top), (left, left)])
    x = reshape(x, (x.shape[0], groups, weight.shape[1], *x.shape[2:]))
    weight = reshape(weight, (groups, weight.shape[0] // groups, *weight.shape[1:]))
    y = 0.0
    for i in range(k_h):
        for j in range(k_w):
            rows, columns = slice(d_h * i, d_h * i + s_h * height, s_h), slice(d_w * j, d_w * j + s_w * width, s_w)
            patches = x[..., rows, columns]
            y = y + einsum("ngchw,goc->ngohw", patches, weight[..., i, j])
    y = reshape(y, (x.shape[0], weight.shape[0] * weight.shape[1], height, width))
    return y if bias is None else y + reshape(bias, (-1, 1, 1))


@op(equation=conv2d_equation)
def conv2d(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    /,
    stride: int | Pair = 1,
    padding: int | Pair = 0,
    dilation: int | Pair = 1,
    groups: int = 1,
) -> Result:
    """The cross-correlation of images x (N, C_in, H, W) with kernels `weight` (C_out, C_in / groups, k_h, k_w):
    (N, C_out, floor((H + 2p - d (k_h - 1) - 1) / s) + 1, the same of the width), plus bias (C_out) or None.

    stride, padding (with zeros, on both sides), dilation: an int, or a pair for height and width.
    groups: that many groups of channels see their own group of x only.

    dx: every g(h, w) puts g W back to the pixels that it was computed from, see `conv_transpose2d`.
    dW(i, j) = sum_{n,h,w} g(h, w) x(s h + d i - p, s w + d j - p);  db = sum_{n,h,w} g.
    Raises ShapeError for shapes that do not fit, ConfigError for a stride, padding, dilation or groups that cannot be.
    """
    geometry = _geometry(weight, stride, padding, dilation, groups)
    _check_images(x, weight, groups, channels=weight.shape[1] * groups)
    _check_bias(bias, weight.shape[0])
    if min(geometry.output_size(x.shape[2:])) < 1:
        raise ShapeError(
            f"a kernel of size {geometry.kernel} with dilation {geometry.dilation} covers {geometry.effective_kernel} "
            f"pixels, more than images of size {x.shape[2:]} have with padding {geometry.padding}; hint: larger "
            "images, more padding, or a smaller kernel"
        )
    y = _images(x, len(weight), geometry.output_size(x.shape[2:]), weight)
    correlate(x, weight, geometry, y)

    def d_x(g: Array) -> Array:
        d_x = _images(g, x.shape[1], x.shape[2:], weight)
        input_gradient(g, weight, geometry, d_x)
        return d_x

    return _plus(y, bias), (d_x, lambda g: weight_gradient(x, g, geometry), _over_pixels)


# ---------------------------------------------------------------------------------------------- conv1d
def conv1d(
    x: Any, weight: Any, bias: Any = None, stride: int = 1, padding: int = 0, dilation: int = 1, groups: int = 1
) -> Any:
    """The cross-correlation of sequences x (N, C_in, L) with kernels `weight` (C_out, C_in / groups, k), plus bias
    (C_out) or None:  y(n, o, l) = b(o) + sum_{c,i} W(o, c, i) x(n, c, s l + d i - p), that is `conv2d` of images one
    pixel high.

    Raises ShapeError and ConfigError as conv2d does.
    """
    if np.ndim(x) != 3 or np.ndim(weight) != 3:
        raise ShapeError(
            f"conv1d: x (N, C_in, L) and a weight (C_out, C_in / groups, k) are expected, got {np.shape(x)} and "
            f"{np.shape(weight)}; hint: x[None] for a single sequence"
        )
    y = conv2d(expand_dims(x, 2), expand_dims(weight, 2), bias, (1, stride), (0, padding), (1, dilation), groups)
    return squeeze(y, 2)


# ---------------------------------------------------------------------------------------------- conv_transpose2d
def conv_transpose2d_equation(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: int | Pair = 1,
    padding: int | Pair = 0,
    output_padding: int | Pair = 0,
    dilation: int | Pair = 1,
    groups: int = 1,
) -> Any:
    """Every x(h, w) adds x W(i, j) to the position (s h + d i - p, s w + d j - p) of the output."""
    geometry = _geometry(weight, stride, padding, dilation, groups)
    (k_h, k_w), (s_h, s_w), (top, left), (d_h, d_w) = geometry[:4]
    height, width = _transposed_size(x.shape[2:], geometry, output_padding)
    batch, channels, rows, columns = x.shape
    x = pad(reshape(x, (batch, channels, rows, 1, columns, 1)), [(0, n - 1) for n in (1, 1, 1, s_h, 1, s_w)])
    x = reshape(x, (batch, groups, channels // groups, s_h * rows, s_w * columns))  # with zeros in between
    x = x[..., : s_h * (rows - 1) + 1, : s_w * (columns - 1) + 1]
    weight = reshape(weight, (groups, channels // groups, *weight.shape[1:]))
    y: Any = 0.0
    for i in range(k_h):
        for j in range(k_w):
            put = einsum("ngohw,goc->ngchw", x, weight[..., i, j])
            below, right = height + 2 * top - d_h * i - x.shape[3], width + 2 * left - d_w * j - x.shape[4]
            y = y + pad(put, [(0, 0), (0, 0), (0, 0), (d_h * i, below), (d_w * j, right)])
    y = y[..., top : top + height, left : left + width]
    y = reshape(y, (batch, groups * weight.shape[2], height, width))
    return y if bias is None else y + reshape(bias, (-1, 1, 1))


@op(equation=conv_transpose2d_equation)
def conv_transpose2d(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    /,
    stride: int | Pair = 1,
    padding: int | Pair = 0,
    output_padding: int | Pair = 0,
    dilation: int | Pair = 1,
    groups: int = 1,
) -> Result:
    """The input gradient of conv2d: x (N, C_in, H, W) and `weight` (C_in, C_out / groups, k_h, k_w), the weight
    of the conv2d that maps C_out channels to C_in, give (N, C_out, s (H - 1) + d (k_h - 1) + 1 - 2p + output_padding,
    the same of the width), plus bias (C_out) or None.

    output_padding, less than the stride or the dilation, adds rows and columns at the end: it chooses among the sizes
    that conv2d maps to (H, W).  Zeiler et al. 2010.

    dx = conv2d(g, W);  dW is that of conv2d with x and g exchanged;  db = sum_{n,h,w} g.
    Raises ShapeError and ConfigError as conv2d does.
    """
    geometry = _geometry(weight, stride, padding, dilation, groups)
    _check_images(x, weight, groups, channels=weight.shape[0])
    _check_bias(bias, weight.shape[1] * groups)
    y = _images(x, weight.shape[1] * groups, _transposed_size(x.shape[2:], geometry, output_padding), weight)
    input_gradient(x, weight, geometry, y)

    def d_x(g: Array) -> Array:
        d_x = _images(g, x.shape[1], x.shape[2:], weight)
        correlate(g, weight, geometry, d_x)
        return d_x

    return _plus(y, bias), (d_x, lambda g: weight_gradient(g, x, geometry), _over_pixels)


def _transposed_size(size: Shape, geometry: Geometry, output_padding: int | Pair) -> Pair:
    more = _pair(output_padding, "output_padding", at_least=0)
    if any(n >= max(s, d) for n, s, d in zip(more, geometry.stride, geometry.dilation, strict=True)):
        raise ConfigError(
            f"output_padding {more} must be less than the stride {geometry.stride} or the dilation "
            f"{geometry.dilation}; hint: output_padding=0, the default"
        )
    each = zip(geometry.padded_size(size), geometry.padding, more, strict=True)
    height, width = (n - 2 * p + m for n, p, m in each)
    if min(*size, height, width) < 1:
        raise ShapeError(
            f"images of size {size} would become ones of size {(height, width)}: nothing is left within the padding "
            f"{geometry.padding}; hint: larger images or less padding"
        )
    return height, width


def _images(x: Array, channels: int, size: Shape, weight: Array) -> Array:
    """Images (N, channels, *size) to be written, for as many as in x, with channels last in memory."""
    y = xp(x).empty((len(x), *size, channels), xp(x).result_type(x, weight))
    return y.transpose(0, 3, 1, 2)


def _over_pixels(g: Array) -> Array:
    """db of the gradient g of y."""
    return column_sums(g.transpose(0, 2, 3, 1).reshape(-1, g.shape[1]))


def _plus(y: Array, bias: Array | None) -> Array:
    """y + b, written over y where that can hold it."""
    if bias is None:
        return y
    return xp(y).add(y, bias[:, None, None], y if bias.dtype == y.dtype else None)


# ---------------------------------------------------------------------------------------------- checks
def _geometry(weight: Any, stride: Any, padding: Any, dilation: Any, groups: Any) -> Geometry:
    if len(weight.shape) != 4 or min(weight.shape) < 1:
        raise ShapeError(
            f"a weight of four axes with one number at least is expected, got {weight.shape}; hint: (C_out, C_in / "
            "groups, k_h, k_w) for conv2d, (C_in, C_out / groups, k_h, k_w) for conv_transpose2d"
        )
    if not hasattr(groups, "__index__") or groups < 1:
        raise ConfigError(f"groups must be an int of 1 or more, got {groups!r}; hint: groups=1, the default")
    kernel = (weight.shape[2], weight.shape[3])
    return Geometry(
        kernel, _pair(stride, "stride", 1), _pair(padding, "padding", 0), _pair(dilation, "dilation", 1), groups
    )


def _pair(value: Any, name: str, at_least: int) -> Pair:
    """An int twice, or a pair of ints as it is."""
    height, width = pair(value, name)
    if min(height, width) < at_least:
        raise ConfigError(f"{name} must be {at_least} or more, got {value}; hint: {name}={at_least}, the default")
    return height, width


def _check_images(x: Array, weight: Array, groups: int, channels: int) -> None:
    """channels: how many the weight is for."""
    if x.ndim != 4:
        raise ShapeError(f"x must be images (N, C, H, W), got {x.shape}; hint: x[None] for a single image")
    if x.shape[1] % groups or len(weight) % groups:
        raise ShapeError(
            f"groups={groups} must divide the {x.shape[1]} channels of x {x.shape} and the {len(weight)} of the weight "
            f"{weight.shape}; hint: a number of groups that divides both"
        )
    if x.shape[1] != channels:
        raise ShapeError(
            f"x {x.shape} has {x.shape[1]} channels, but the weight {weight.shape} with groups={groups} is for "
            f"{channels}; hint: a weight (C_out, C_in / groups, k_h, k_w) for conv2d, (C_in, C_out / groups, k_h, "
            "k_w) for conv_transpose2d"
        )


def _check_bias(bias: Any, channels: int) -> None:
    if bias is not None and getattr(bias, "shape", ()) != (channels,):
        given = getattr(bias, "shape", bias)
        raise ShapeError(f"the bias must be one number for each of the {channels} channels of the result, got {given}")
