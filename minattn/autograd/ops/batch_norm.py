"""Batch normalization of images x (N, C, ..), with the statistics of the batch or with given ones, and ReLU if wanted.

For every channel, over the m numbers that the batch has of it,

    mu = sum x / m,    var = sum (x - mu)^2 / m,    n = (x - mu) / sqrt(var + eps),    y = w n + b.

With h the gradient of y, its gradient is  dw = sum h n,  db = sum h,  dx = w / sqrt(var + eps) (h - db / m - n dw / m).

All passes over the rows of pixels (`channels.py`) run in blocks: one that sums, and one that writes the result; on the
backward pass one before them, where a ReLU lets only some of the gradient through.
Nothing is kept for the backward pass but x, y and the statistics.
"""

from typing import Any

from minattn.autograd.backend import Array, xp
from minattn.autograd.blocks import NEW, over_rows
from minattn.autograd.engine import Result, op
from minattn.autograd.ops.activations import relu as relu_of
from minattn.autograd.ops.channels import along, as_images, by_channel, rows_of_pixels, sum_of_products
from minattn.autograd.ops.elementwise import sqrt
from minattn.autograd.ops.norms import channel_axes, numbers
from minattn.autograd.ops.reductions import mean, var
from minattn.autograd.ops.shaping import reshape


# ---------------------------------------------------------------------------------------------- of the batch
def batch_norm_equation(x: Any, weight: Any, bias: Any, eps: float = 1e-5, relu: bool = False) -> Any:
    """y = w (x - mean) / sqrt(var + eps) + b, with mean and var of each channel over the batch and all positions."""
    shape, axes = channel_axes(x, weight=weight, bias=bias)
    mu, variance = mean(x, axes, keepdims=True), var(x, axes, keepdims=True)
    normal = (x - mu) / sqrt(variance + eps)
    y = normal * reshape(weight, shape) + reshape(bias, shape)
    return relu_of(y) if relu else y, reshape(mu, (-1,)), reshape(variance, (-1,))


@op(equation=batch_norm_equation)
def batch_norm(x: Array, weight: Array, bias: Array, /, eps: float = 1e-5, relu: bool = False) -> Result:
    """Batch normalization of x (N, C, ..), weight (C), bias (C): y, and the mean and variance (C) of each channel.

    The variance is the biased one, the mean squared deviation.  relu: max(y, 0) in place of y, in the same pass.
    Ioffe & Szegedy 2015, algorithm 1; its gradient is the one at the top of this file.  The mean and the variance have
    gradients as well, 1/m and 2 (x - mean)/m for the m numbers of a channel.
    Raises ShapeError for an empty batch, which has no statistics.
    """
    _, axes = channel_axes(x, weight=weight, bias=bias)
    m = numbers(x, axes)
    rows = rows_of_pixels(x.astype(xp(x).result_type(x, weight, bias, 1.0), copy=False))
    mu, variance = _moments(rows, len(weight), m)
    inverse = 1 / xp(x).sqrt(variance + eps)
    y = _scaled(rows, mu, weight * inverse, bias, relu)

    def pullback(g: Array, g_mean: Array, g_variance: Array) -> tuple[Array, Array, Array]:
        h, into = _upstream(g, y, relu)
        d_weight, d_bias = _sums(rows, h, mu)
        d_weight = d_weight * inverse
        through_mean = (weight * inverse * d_bias - g_mean) / m
        through_variance = (weight * inverse * inverse * d_weight - 2 * g_variance) / m
        d_x = _d_x(rows, h, mu, weight * inverse, through_mean, through_variance, into)
        return as_images(d_x, x.shape), d_weight, d_bias

    return (as_images(y, x.shape), mu, variance), pullback


# ---------------------------------------------------------------------------------------------- given
def batch_norm_inference_equation(
    x: Any, weight: Any, bias: Any, mean: Any, variance: Any, eps: float = 1e-5, relu: bool = False
) -> Any:
    """y = w (x - mean) / sqrt(var + eps) + b, with the mean and the variance that are given."""
    shape, _ = channel_axes(x, weight=weight, bias=bias, mean=mean, variance=variance)
    mu, variance, weight, bias = (reshape(t, shape) for t in (mean, variance, weight, bias))
    y = (x - mu) / sqrt(variance + eps) * weight + bias
    return relu_of(y) if relu else y


@op(equation=batch_norm_inference_equation)
def batch_norm_inference(
    x: Array, weight: Array, bias: Array, mean: Array, variance: Array, /, eps: float = 1e-5, relu: bool = False
) -> Result:
    """Batch normalization of x (N, C, ..) with a mean (C) and a variance (C) that are given, as in evaluation.

    Ioffe & Szegedy 2015, algorithm 2, step 11.  relu: max(y, 0) in place of y, in the same pass.
    With r = 1 / sqrt(var + eps), and sums over all but the channels:
    dx = w r h,  dw = r sum h (x - mean),  db = sum h,  dmean = - w r db,  dvar = - w r^2 dw / 2.
    """
    channel_axes(x, weight=weight, bias=bias, mean=mean, variance=variance)
    rows = rows_of_pixels(x.astype(xp(x).result_type(x, weight, bias, mean, variance, 1.0), copy=False))
    inverse = 1 / xp(x).sqrt(variance + eps)
    slope = weight * inverse
    y = _scaled(rows, mean, slope, bias, relu)

    def pullback(g: Array) -> tuple[Array, ...]:
        h, into = _upstream(g, y, relu)
        d_weight, d_bias = _sums(rows, h, mean)
        d_weight = d_weight * inverse
        slopes = along(h, slope)
        d_x = over_rows(lambda h, d_x=None: xp(h).multiply(h, slopes, d_x), h, into=[into])
        return as_images(d_x, x.shape), d_weight, d_bias, -slope * d_bias, -0.5 * slope * inverse * d_weight

    return as_images(y, x.shape), pullback


# ---------------------------------------------------------------------------------------------- passes
def _moments(rows: Array, channels: int, m: int) -> tuple[Array, Array]:
    """Mean and variance of each channel, out of those of each block."""

    def body(block: Array) -> tuple[Array, ...]:
        count = block.size // channels
        mu = by_channel(block.sum(0), channels) / count
        deviation = block - along(block, mu[0])
        squares = by_channel(sum_of_products(deviation, deviation), channels)
        return mu, squares, xp(block).full((1, 1), count, mu.dtype)

    means, squares, counts = over_rows(body, rows)
    mu = (counts * means).sum(0) / m
    return mu, (squares + counts * (means - mu) ** 2).sum(0) / m


def _scaled(rows: Array, mu: Array, slope: Array, bias: Array, relu: bool) -> Array:
    """slope (x - mu) + bias, or its positive part."""
    module, mu, slope, bias = xp(rows), along(rows, mu), along(rows, slope), along(rows, bias)
    zeros = module.zeros_like(bias)  # NumPy compares two arrays several times as fast as an array and a number

    def body(block: Array, y: Array | None = None) -> Array:
        y = module.subtract(block, mu, y)  # first: where a channel hardly varies, slope x and slope mu are large
        y *= slope
        y += bias
        return module.maximum(y, zeros, out=y) if relu else y

    return over_rows(body, rows, into=[NEW])


def _sums(rows: Array, h: Array, mu: Array) -> tuple[Array, Array]:
    """sum h (x - mu) and sum h for each channel."""
    channels, mu = len(mu), along(rows, mu)

    def body(block: Array, h: Array) -> tuple[Array, Array]:
        return by_channel(sum_of_products(block - mu, h), channels), by_channel(h.sum(0), channels)

    with_deviation, alone = over_rows(body, rows, h)
    return with_deviation.sum(0), alone.sum(0)


def _upstream(g: Array, y: Array, relu: bool) -> tuple[Array, Array | None]:
    """The gradient of what the ReLU is given, as rows; and where dx may be written: over it where it was made here,
    else to an array of its own, NEW."""
    g = rows_of_pixels(g)
    if not relu:
        return g, NEW
    h = over_rows(lambda g, y, h=None: xp(g).multiply(g, y.real > 0, h), g, y, into=[NEW])
    return h, h


def _d_x(rows: Array, h: Array, mu: Array, slope: Array, constant: Array, linear: Array, into: Array | None) -> Array:
    """slope h - constant - linear (x - mu), written `into` an array."""
    mu, slope, constant, linear = (along(rows, channels) for channels in (mu, slope, constant, linear))

    def body(block: Array, h: Array, d_x: Array | None = None) -> Array:
        through_moments = block - mu
        through_moments *= linear
        through_moments += constant
        d_x = xp(block).multiply(h, slope, d_x)
        d_x -= through_moments
        return d_x

    return over_rows(body, rows, h, into=[into])
