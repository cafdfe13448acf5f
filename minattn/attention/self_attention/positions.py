"""Positional encodings of the Transformer: sinusoidal and learned.

A. Vaswani et al., "Attention is all you need", NIPS 2017, section 3.5:

    PE(pos, 2i) = sin(pos / 10000^(2i/d)),  PE(pos, 2i+1) = cos(pos / 10000^(2i/d)),  i = 0 .. d/2 - 1

or a learned vector for each position, which does as well (Table 3, row E).

Deviations from the paper: none.  The authors' program tensor2tensor puts all sines before all cosines, at slightly
other frequencies; here they alternate, as printed.
"""

import functools
from typing import Any

import numpy as np
from jaxtyping import Float, Inexact

from minattn.attention.self_attention.scaled_dot_product import VASWANI
from minattn.autograd import Tensor, to_device
from minattn.autograd.backend import Array, device_of
from minattn.errors import ConfigError, ShapeError
from minattn.nn import Module, initializers
from minattn.nn.initializers import Rng
from minattn.published import Mechanism


def sinusoidal_positions(length: int, d: int) -> Float[np.ndarray, "length d"]:
    """PE(0) .. PE(length - 1), in float64."""
    if d % 2:
        raise ConfigError(f"sines and cosines come in pairs, so d must be even, got {d}")
    pos, i = np.arange(length)[:, None], np.arange(d // 2)
    angles = pos / 10000 ** (2 * i / d)
    return np.stack([np.sin(angles), np.cos(angles)], axis=-1).reshape(length, d)


@functools.lru_cache(maxsize=16)
def _table(length: int, d: int, dtype: Any, device: str) -> Array:
    return to_device(sinusoidal_positions(length, d).astype(dtype), device)


def _end(start: int, n: int) -> int:
    if start < 0:
        raise ConfigError(f"positions are counted from 0, and x starts at {start}")
    return start + n


class SinusoidalPositions(Module):
    """Sinusoidal positions: x + PE, for any number of positions."""

    def forward(self, x: Inexact[Tensor, "batch n d"], start: int = 0) -> Inexact[Tensor, "batch n d"]:
        """start: the position of x's first symbol."""
        _, n, d = x.shape
        end = _end(start, n)
        table = _table(1 << max(end - 1, 0).bit_length(), d, x.data.real.dtype, device_of(x.data))
        return x + table[start:end]


class LearnedPositions(Module):
    """Learned positions: x + P with a matrix P (length, d), drawn from N(0, std^2)."""

    def __init__(self, length: int, d: int, rng: Rng, std: float = 0.02) -> None:
        self.weight = initializers.normal((length, d), rng, std)

    def forward(self, x: Inexact[Tensor, "batch n d"], start: int = 0) -> Inexact[Tensor, "batch n d"]:
        """start: the position of x's first symbol.  Raises ShapeError where there are fewer positions than needed."""
        end, length = _end(start, x.shape[1]), self.weight.shape[0]
        if end > length:
            raise ShapeError(f"{end} positions are needed, and {length} were learned; hint: shorter sequences")
        return x + self.weight[start:end]


SINUSOIDAL = Mechanism(
    name="sinusoidal positions",
    paper=VASWANI,
    equation=(
        "section 3.5, unnumbered: PE(pos, 2i) = sin(pos / 10000^(2i/d)), PE(pos, 2i+1) = cos(pos / 10000^(2i/d))"
    ),
    code="SinusoidalPositions",
    model="minattn.models.Transformer",
    command="minattn train g2p --model transformer",
)

LEARNED = Mechanism(
    name="learned positions",
    paper=VASWANI,
    equation=(
        "section 3.5 and table 3, row E, unnumbered: x_pos + P_pos, with a learned vector P_pos for each position"
    ),
    code="LearnedPositions",
    model="minattn.models.Transformer",
    command="minattn train g2p --model transformer --set positions=learned",
    experiment="experiments/transformer_table3.py",
)
