"""What the recurrent units share: weights side by side by gate, the state to start from, and padding."""

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Inexact

from minattn.autograd import Array, Tensor, ops, xp
from minattn.autograd.backend import is_array, like
from minattn.nn import initializers as init
from minattn.nn.initializers import Rng
from minattn.nn.module import Module, Parameter

Initializer = Callable[[tuple[int, ...], Rng], Parameter]


class RecurrentUnit(Module):
    """The weights of a unit of `size` = n numbers with several gates.

    W: (inputs, gates n), each gate's block drawn on its own from `weights`; U: (n, gates n), every block orthogonal;
    bias: (gates n), or None.
    """

    def __init__(
        self, inputs: int, size: int, gates: int, rng: Rng, bias: Parameter | None, weights: Initializer
    ) -> None:
        self.size = size
        self.W = side_by_side(inputs, size, rng, weights, gates)
        self.U = init.orthogonal((size, gates * size), rng, blocks=gates)
        self.bias = bias

    def project(self, x: Inexact[Tensor, "*batch inputs"]) -> Inexact[Tensor, "*batch gates"]:
        """x W + bias, for one step or for all of them at once."""
        return ops.linear(x, self.W, self.bias)


def side_by_side(inputs: int, size: int, rng: Rng, weights: Initializer, blocks: int = 3) -> Parameter:
    """`blocks` matrices (inputs, size), each drawn on its own, as one: [W_z | W_r | W] for the gated unit."""
    return init.joined([weights((inputs, size), rng).data for _ in range(blocks)])


def zero_state(x: Tensor, size: int) -> Tensor:
    """h_0 = 0, in the dtype and on the device of x (batch, ..)."""
    return Tensor(xp(x.data).zeros((x.shape[0], size), x.dtype))


def check_sizes(projected: Array, state: Array, U: Array, gates: int, ndim: int) -> None:
    """Raise ValueError unless projected (batch, [time,] gates n), state (batch, n) and U (n, gates n) fit together.

    ndim: 2 for one step, 3 for a sequence.
    """
    fits = (projected.ndim, state.ndim, U.ndim) == (ndim, 2, 2) and projected.shape[0] == state.shape[0]
    n = state.shape[1] if fits else 0
    if not fits or U.shape != (n, gates * n) or projected.shape[-1] != gates * n:
        axes = "batch, time" if ndim == 3 else "batch"
        raise ValueError(
            f"expected projected ({axes}, {gates}n), state (batch, n) and U (n, {gates}n); "
            f"got {projected.shape}, {state.shape} and {U.shape}"
        )


# ---------------------------------------------------------------------------------------------- padding
def raw(mask: Any) -> Array:
    """The array of a mask that may be a tensor or a list."""
    if isinstance(mask, Tensor):
        return mask.data
    return mask if is_array(mask) else np.asarray(mask)


def carry_mask(mask: Any, projected: Array) -> Array | None:
    """A mask (batch, time) as 1 and 0 in the dtype and on the device of the data; None where it is known to be all
    True."""
    if mask is None:
        return None
    mask = raw(mask)
    if mask.dtype != bool or mask.shape != projected.shape[:2]:
        raise ValueError(
            f"the mask must be boolean (batch, time) = {projected.shape[:2]}, True = a real step; got {mask.dtype} "
            f"{mask.shape}"
        )
    if isinstance(mask, np.ndarray) and mask.all():  # on a GPU, looking would mean waiting for it
        return None
    return like(mask, projected).astype(projected.real.dtype)


def carried(mask: Array | None, t: int, new: Array, old: Array) -> Array:
    """The new state where step t is real, the old one where it is padding."""
    if mask is None:
        return new
    real = mask[:, t, None]
    return new * real + old * (1 - real)


def parted(mask: Array | None, t: int, g: Array) -> tuple[Array, Any]:
    """The gradient of `carried`: the part for the new state and the part that goes past the step to the old one."""
    if mask is None:
        return g, 0
    to_new = g * mask[:, t, None]
    return to_new, g - to_new
