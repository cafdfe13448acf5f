"""Normalization of images x (N, C, ..) over groups of channels and over neighboring channels.

Group normalization subtracts the mean of a set S of numbers and divides by their standard deviation,

    n_i = (x_i - mean_S) / sqrt(var_S + eps),    y_i = w_c n_i + b_c    for the channel c of i.

With h = w g the gradient is  dx = (h - mean_S h - n mean_S(h n)) / sqrt(var_S + eps).

Batch normalization, in `batch_norm.py`, differs in S alone, which is what the batch has of a channel.
"""

import math
from typing import Any

from minattn.autograd.backend import Array, xp
from minattn.autograd.engine import Result, op
from minattn.autograd.ops.elementwise import power, sqrt
from minattn.autograd.ops.reductions import mean, one_after_another
from minattn.autograd.ops.shaping import pad, reshape
from minattn.errors import ConfigError, ShapeError


# ---------------------------------------------------------------------------------------------- over a set
def _standardized(rows: Array, eps: float) -> tuple[Array, Array]:
    """n and 1 / sqrt(var + eps) of the sets, which are the rows of a matrix."""
    normal = rows - rows.mean(-1, keepdims=True)
    inverse = 1 / xp(rows).sqrt((normal * normal).mean(-1, keepdims=True) + eps)
    normal *= inverse
    return normal, inverse


def _standardized_gradient(h: Array, normal: Array, inverse: Array) -> Array:
    """(h - mean h - n mean(h n)) / sqrt(var + eps), written over h."""
    mean_h, mean_hn = h.mean(-1, keepdims=True), (h * normal).mean(-1, keepdims=True)
    h -= mean_h
    h -= normal * mean_hn
    h *= inverse
    return h


def channel_axes(x: Any, **weights: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The shape in which one number for each channel meets x, and the axes of x without the channels'.

    Raises ShapeError unless x has channels and `weights` have one number for each.
    """
    if x.ndim < 2 or x.shape[1] == 0:
        raise ShapeError(f"an array of shape {tuple(x.shape)} has no channels; hint: the shape (N, C, H, W)")
    channels = x.shape[1]
    for name, weight in weights.items():
        if tuple(weight.shape) != (channels,):
            raise ShapeError(
                f"{name} of shape {tuple(weight.shape)} does not go with {channels} channels; hint: {name} of "
                f"shape ({channels},)"
            )
    return (1, channels, *(1,) * (x.ndim - 2)), (0, *range(2, x.ndim))


def numbers(x: Any, axes: tuple[int, ...]) -> int:
    """The number of elements in a set.  Raises ShapeError where there is none."""
    n = math.prod(x.shape[axis] for axis in axes)
    if n == 0:
        raise ShapeError(
            f"an array of shape {tuple(x.shape)} has no mean over axes {axes}; hint: at least one number there, or "
            "batch_norm_inference with statistics that are known"
        )
    return n


# ---------------------------------------------------------------------------------------------- group norm
def group_norm_equation(x: Any, weight: Any, bias: Any, groups: int, eps: float = 1e-5) -> Any:
    """y = w (x - mean) / sqrt(var + eps) + b, with mean and var of each image over each group of its channels."""
    shape, _ = channel_axes(x, weight=weight, bias=bias)
    rows = reshape(x, _grouped(x, groups))
    deviation = rows - mean(rows, -1, keepdims=True)
    normal = deviation / sqrt(mean(deviation * deviation, -1, keepdims=True) + eps)
    return reshape(normal, x.shape) * reshape(weight, shape) + reshape(bias, shape)


@op(equation=group_norm_equation)
def group_norm(x: Array, weight: Array, bias: Array, /, groups: int, eps: float = 1e-5) -> Result:
    """Group normalization of x (N, C, ..), weight (C), bias (C), in `groups` groups of C / groups channels each.

    S = {i : image of i is n, floor(channel of i / (C / groups)) = g}.  Wu & He 2018, eq. 7; its gradient is the one at
    the top of this file.  groups = C is instance normalization, groups = 1 layer normalization over (C, ..).
    Raises ConfigError where the channels do not make so many groups of one size.
    """
    shape, axes = channel_axes(x, weight=weight, bias=bias)
    rows = _grouped(x, groups)
    dtype = xp(x).result_type(x, weight, bias, 1.0)
    normal, inverse = _standardized(x.reshape(rows).astype(dtype, copy=False), eps)
    scale, of_x = weight.reshape(shape), normal.reshape(x.shape)

    def pullback(g: Array) -> tuple[Array, Array, Array]:
        h = (g * scale).reshape(rows)
        d_x = _standardized_gradient(h, normal, inverse)
        return (
            d_x.reshape(x.shape),
            one_after_another(g * of_x, axes).reshape(-1),
            one_after_another(g, axes).reshape(-1),
        )

    return of_x * scale + bias.reshape(shape), pullback


def _grouped(x: Any, groups: int) -> tuple[int, int, int]:
    """(N, groups, numbers of a group)."""
    check_channel_groups(x.shape[1], groups)
    return x.shape[0], groups, numbers(x, tuple(range(1, x.ndim))) // groups


def check_channel_groups(channels: int, groups: int) -> None:
    """Raise ConfigError where so many channels do not make so many groups of one size."""
    if groups < 1 or channels % groups:
        raise ConfigError(
            f"{channels} channels do not make {groups} groups of one size; hint: a number of groups that divides "
            f"{channels}"
        )


# ---------------------------------------------------------------------------------------------- local response
def local_response_norm_equation(x: Any, n: int = 5, k: float = 2.0, alpha: float = 1e-4, beta: float = 0.75) -> Any:
    """b^i = a^i / (k + alpha sum_{j = max(0, i - n/2)}^{min(C - 1, i + n/2)} (a^j)^2)^beta."""
    half, channels = _half(x, n), x.shape[1]
    squares = pad(x * x, [(half, half) if axis == 1 else (0, 0) for axis in range(x.ndim)])
    total = squares[:, :channels]
    for j in range(1, n):
        total = total + squares[:, j : j + channels]
    return x / power(k + alpha * total, beta)


@op(equation=local_response_norm_equation)
def local_response_norm(x: Array, /, n: int = 5, k: float = 2.0, alpha: float = 1e-4, beta: float = 0.75) -> Result:
    """Local response normalization of x (N, C, ..) over n neighboring channels, with the paper's constants.

    b^i = a^i / s_i^beta  with  s_i = k + alpha sum_j (a^j)^2,  j the channels that are at most n // 2 from i.
    da^i = g_i / s_i^beta - 2 alpha beta a^i sum_j g_j b^j / s_j.
    Krizhevsky et al. 2012, section 3.3.  alpha is the paper's: some frameworks divide it by n.
    """
    half = _half(x, n)
    s = k + alpha * _neighbors(x * x, half)
    divisor = s**beta
    y = x / divisor

    def pullback(g: Array) -> Array:
        return g / divisor - (2 * alpha * beta) * x * _neighbors(g * y / s, half)

    return y, pullback


def _half(x: Any, n: int) -> int:
    """The number of neighbors that count on each side."""
    channel_axes(x)
    if n < 1 or n % 2 == 0:
        raise ConfigError(f"{n} channels have none in their middle; hint: an odd number n")
    return n // 2


def _neighbors(x: Array, half: int) -> Array:
    """For each channel the sum of the channels that are at most `half` from it."""
    total = x.copy()
    for distance in range(1, half + 1):
        total[:, distance:] += x[:, :-distance]
        total[:, :-distance] += x[:, distance:]
    return total
