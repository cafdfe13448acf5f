"""Normalization of each position by itself: layer norm, and RMS norm, which leaves the mean where it is.

The weight has the shape of the last axes of x, one or several: over these are mean and variance taken.
"""

import math
from typing import Any

from minattn.autograd.backend import Array, dots, sums, xp
from minattn.autograd.blocks import NEW, over_rows
from minattn.autograd.engine import Result, op
from minattn.autograd.ops.elementwise import sqrt
from minattn.autograd.ops.reductions import mean
from minattn.errors import ShapeError


# ---------------------------------------------------------------------------------------------- layer norm
def layer_norm_equation(x: Any, weight: Any, bias: Any, eps: float = 1e-5) -> Any:
    """y = w (x - mean) / sqrt(var + eps) + b, mean and variance over the axes of w.  Ba et al. 2016, eq. 4."""
    axes = _axes(weight)
    deviation = x - mean(x, axes, keepdims=True)
    return deviation / sqrt(mean(deviation * deviation, axes, keepdims=True) + eps) * weight + bias


@op(equation=layer_norm_equation)
def layer_norm(x: Array, weight: Array, bias: Array, /, eps: float = 1e-5) -> Result:
    """Layer normalization over the last axes:  x (.., d), weight (d), bias (d), where d may be several axes.

    Ba et al. 2016, eq. 4.  With h = w g and n = (x - mean) / sqrt(var + eps),

        dx = (h - mean h - n mean(h n)) / sqrt(var + eps);  dw = sum of g n over the positions;  db = sum of g.
    """
    rows, d = _rows(x, weight=weight, bias=bias)
    module, w, b = xp(x), weight.reshape(-1), bias.reshape(-1)

    def forward(x: Array, y: Array | None = None) -> tuple[Array, Array, Array]:
        mean = sums(x) / d
        y = module.subtract(x, mean, y)
        inverse = 1 / module.sqrt(dots(y, y) / d + eps)
        y *= inverse
        y *= w
        y += b
        return y, mean, inverse

    def backward(
        g: Array, x: Array, mean: Array, inverse: Array, dx: Array | None = None
    ) -> tuple[Array, Array, Array]:
        d_bias = g.sum(0, keepdims=True)
        deviation = x - mean
        dx = module.multiply(g, inverse, dx)
        d_weight = (dx * deviation).sum(0, keepdims=True)
        dx *= w
        deviation *= dots(dx, deviation) * inverse * inverse / d
        dx -= sums(dx) / d
        dx -= deviation
        return dx, d_weight, d_bias

    def pullback(g: Array) -> tuple[Array, Array, Array]:
        dx, d_weight, d_bias = over_rows(backward, g.reshape(rows.shape), rows, mean, inverse, into=[NEW])
        return dx.reshape(x.shape), d_weight.sum(0).reshape(weight.shape), d_bias.sum(0).reshape(bias.shape)

    y, mean, inverse = over_rows(forward, rows, into=[NEW])
    return y.reshape(x.shape), pullback


# ---------------------------------------------------------------------------------------------- RMS norm
def rms_norm_equation(x: Any, weight: Any, eps: float = 1e-5) -> Any:
    """y = w x / sqrt(mean(x^2) + eps), the mean over the axes of w.  Zhang & Sennrich 2019, section 4."""
    return x / sqrt(mean(x * x, _axes(weight), keepdims=True) + eps) * weight


@op(equation=rms_norm_equation)
def rms_norm(x: Array, weight: Array, /, eps: float = 1e-5) -> Result:
    """Root mean square normalization over the last axes:  x (.., d), weight (d), where d may be several axes.

    B. Zhang and R. Sennrich, "Root mean square layer normalization", NeurIPS 2019, section 4; they have no eps.  With
    h = w g and n = x / sqrt(mean(x^2) + eps),

        dx = (h - n mean(h n)) / sqrt(mean(x^2) + eps);  dw = sum of g n over the positions.
    """
    rows, d = _rows(x, weight=weight)
    module, w = xp(x), weight.reshape(-1)

    def forward(x: Array, y: Array | None = None) -> tuple[Array, Array]:
        inverse = 1 / module.sqrt(dots(x, x) / d + eps)
        y = module.multiply(x, inverse, y)
        y *= w
        return y, inverse

    def backward(g: Array, x: Array, inverse: Array, dx: Array | None = None) -> tuple[Array, Array]:
        dx = module.multiply(g, inverse, dx)
        d_weight = (dx * x).sum(0, keepdims=True)
        dx *= w
        dx -= x * (dots(dx, x) * inverse * inverse / d)
        return dx, d_weight

    def pullback(g: Array) -> tuple[Array, Array]:
        dx, d_weight = over_rows(backward, g.reshape(rows.shape), rows, inverse, into=[NEW])
        return dx.reshape(x.shape), d_weight.sum(0).reshape(weight.shape)

    y, inverse = over_rows(forward, rows, into=[NEW])
    return y.reshape(x.shape), pullback


# ---------------------------------------------------------------------------------------------- axes
def _axes(weight: Any) -> tuple[int, ...]:
    return tuple(range(-weight.ndim, 0))


def _rows(x: Array, **parameters: Array) -> tuple[Array, int]:
    """x as a matrix with a row for each position, in the dtype of the result, and the length of a row, 1 at least.

    Raises ShapeError unless every parameter has the shape of x's last axes.
    """
    weight = parameters["weight"]
    axes = weight.ndim
    expected = x.shape[-axes:] if 0 < axes <= x.ndim else None
    for name, parameter in parameters.items():
        if parameter.shape != expected:
            raise ShapeError(
                f"{name} of shape {parameter.shape} does not go with x of shape {x.shape}; hint: the shape of the last "
                "axes of x, over which it is normalized"
            )
    dtype = xp(x).result_type(x, *parameters.values(), 1.0)
    rows = x.reshape(math.prod(x.shape[:-axes]), weight.size)
    return rows if x.dtype == dtype else rows.astype(dtype), weight.size or 1
