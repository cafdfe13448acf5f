"""Rotary positions: queries and keys are turned by angles that grow with the position.

J. Su, Y. Lu, S. Pan, A. Murtadha, B. Wen and Y. Liu, "RoFormer: enhanced Transformer with rotary position embedding",
2021, section 3.2.2.  Of a query or a key at position m each pair of features, (x_2i, x_2i+1), is turned by the angle
m theta_i with theta_i = 10000^(-2i/d), i = 0 .. d/2 - 1:

    y_2i   = x_2i cos(m theta_i) - x_2i+1 sin(m theta_i)                                                    (a)
    y_2i+1 = x_2i sin(m theta_i) + x_2i+1 cos(m theta_i)                                                    (b)

The product of a query at position m and a key at position n then depends on their distance m - n alone.

Deviations from the paper: none.  interleaved=False pairs x_i with x_{i + d/2}, which is another order of the features;
models whose parameters were learned so (GPT-NeoX, Llama) need it.  `size` turns the first features only.
"""

import functools
from typing import Any

import numpy as np
from jaxtyping import Float, Inexact

from minattn.attention.kernels import rotary as kernels
from minattn.autograd import Tensor, op, ops
from minattn.autograd.backend import as_array, asnumpy
from minattn.errors import ConfigError
from minattn.nn import Module
from minattn.published import Mechanism, Paper


def rotate_equation(x: Any, cos: Any, sin: Any, interleaved: bool = True) -> Any:
    """(a) and (b) in primitive ops, for angles whose cosines and sines are given."""
    size = 2 * cos.shape[-1]
    first, second = kernels.pairs(x, size, interleaved)
    cos, sin = (as_array(table).astype(x.data.real.dtype) for table in (cos, sin))
    turned = [first * cos - second * sin, first * sin + second * cos]  # (a), (b)
    turned = ops.reshape(ops.stack(turned, -1 if interleaved else -2), (*x.shape[:-1], size))
    return ops.concat([turned, x[..., size:]], -1)


rotate = op(kernels.rotate, equation=rotate_equation)


def rotary_angles(positions: Any, size: int, base: float = 10000.0) -> Float[np.ndarray, "*shape half"]:
    """m theta_i for every position m (.., n) and i = 0 .. size/2 - 1: (.., n, size/2), in float64."""
    if size % 2 or size < 0:
        raise ConfigError(f"features are turned in pairs, so their number must be even, got {size}")
    theta = float(base) ** (-np.arange(0, size, 2) / max(size, 1))
    return asnumpy(as_array(positions))[..., None] * theta


@functools.lru_cache(maxsize=16)
def _tables(start: int, n: int, size: int, base: float) -> tuple[np.ndarray, np.ndarray]:
    angles = rotary_angles(np.arange(start, start + n), size, base)
    return np.cos(angles), np.sin(angles)


class RotaryPositions(Module):
    """Turn queries or keys (.., n, d) by their positions.

    base: 10000 in the paper; larger ones for longer texts.  size: how many of the first features are turned, all d
    unless given.  interleaved: whether a pair are neighbors, or x_i and x_{i + size/2}.
    """

    def __init__(self, base: float = 10000.0, interleaved: bool = True, size: int | None = None) -> None:
        if not base > 0:
            raise ConfigError(f"the base of the angles must be positive, got {base}; hint: 10000, the paper's")
        self.base = base
        self.interleaved = interleaved
        self.size = size

    def forward(
        self, x: Inexact[Tensor, "*batch n d"], start: int = 0, positions: Any = None
    ) -> Inexact[Tensor, "*batch n d"]:
        """start: the position of x's first symbol; or positions: one for each symbol, broadcastable to (*batch, n).

        Raises ConfigError for an odd number of features, ShapeError for positions that do not fit.
        """
        size = x.shape[-1] if self.size is None else self.size
        if positions is None:
            cos, sin = _tables(start, x.shape[-2], size, self.base)
        else:
            angles = rotary_angles(positions, size, self.base)
            cos, sin = np.cos(angles), np.sin(angles)
        return rotate(x, cos, sin, self.interleaved)


MECHANISM = Mechanism(
    name="rotary positions",
    paper=Paper("Su et al.", 2021, "RoFormer: enhanced Transformer with rotary position embedding"),
    equation=(
        "section 3.2.2, unnumbered: (x_2i, x_2i+1) of a query or a key at position m is turned by the angle "
        "m 10000^(-2i/d)"
    ),
    code="RotaryPositions",
    model="minattn.models.LanguageModel",
    command="minattn train lm --set positions=rotary",
)
