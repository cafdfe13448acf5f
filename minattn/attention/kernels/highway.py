"""The gate of a highway layer in one op, with its gradient: `channel/highway.py` has the equation."""

from typing import Literal

from minattn.autograd import Array, xp
from minattn.autograd.engine import Result
from minattn.autograd.ops.activations import sigmoid_of
from minattn.errors import ShapeError


def gated(a_H: Array, a_T: Array, x: Array, /, activation: Literal["relu", "tanh"] = "relu") -> Result:
    """(y, T) of the sums a_H and a_T before the activation and the gate, and of what is carried, all of one shape."""
    if not a_H.shape == a_T.shape == x.shape:
        raise ShapeError(
            f"a highway layer cannot mix {a_H.shape} with {x.shape} by gates of {a_T.shape}; hint: as many units, or "
            "channels, going out as come in"
        )
    module = xp(x)
    h = module.maximum(a_H, 0) if activation == "relu" else module.tanh(a_H)
    t = sigmoid_of(a_T)  # (b)
    c = 1 - t
    y = h * t
    y += x * c  # (3)

    def pullback(g: Array, g_t: Array) -> tuple[Array, Array, Array]:
        d_H = g * t
        d_H *= a_H.real > 0 if activation == "relu" else 1 - h * h
        d_T = h - x
        d_T *= g
        d_T += g_t
        d_T *= t
        d_T *= c
        return d_H, d_T, g * c

    return (y, t), pullback
