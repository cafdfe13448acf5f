"""Parts that the recurrent units share: parameters side by side by gate, the initial state, the loop over time."""

from collections.abc import Callable
from typing import Any, ClassVar

from jaxtyping import Bool, Inexact

from minattn.autograd import Array, Tensor, ops, xp
from minattn.nn import initializers
from minattn.nn.initializers import Rng
from minattn.nn.masks import padding_mask
from minattn.nn.module import Module, Parameter

Initializer = Callable[[tuple[int, ...], Rng], Parameter]


class RecurrentUnit(Module):
    """The parameters of a unit of `size` = n numbers with several gates.

    W: (inputs, gates n), each gate's block drawn on its own from `init`; U: (n, gates n), every block orthogonal;
    bias: (gates n), or None.
    """

    def __init__(self, inputs: int, size: int, gates: int, rng: Rng, bias: Parameter | None, init: Initializer) -> None:
        self.size = size
        self.W = side_by_side(inputs, size, rng, init, gates)
        self.U = initializers.orthogonal((size, gates * size), rng, blocks=gates)
        self.bias = bias

    def project(self, x: Inexact[Tensor, "*batch inputs"]) -> Inexact[Tensor, "*batch gates"]:
        """x W + bias, for one step or for all of them at once."""
        return ops.linear(x, self.W, self.bias)


class BothWays(Module):
    """Two units of the subclass's kind, one reading forwards and one backwards; their states (B, T, 2n) side by side.

    M. Schuster and K. Paliwal, "Bidirectional recurrent neural networks", IEEE Transactions on Signal Processing, 1997.
    """

    unit: ClassVar[Any]  # the class of the two

    def __init__(
        self, inputs: int, size: int, rng: Rng, bias: bool = True, init: Initializer = initializers.glorot_uniform
    ) -> None:
        self.forwards = self.unit(inputs, size, rng, bias, init=init)
        self.backwards = self.unit(inputs, size, rng, bias, reverse=True, init=init)

    def forward(
        self, x: Inexact[Tensor, "batch time inputs"], mask: Bool[Array, "batch time"] | None = None
    ) -> Inexact[Tensor, "batch time twice"]:
        return ops.concat([self.forwards(x, mask), self.backwards(x, mask)], axis=-1)


def side_by_side(inputs: int, size: int, rng: Rng, init: Initializer, blocks: int = 3) -> Parameter:
    """One parameter of `blocks` matrices (inputs, size), each drawn on its own: [W_z | W_r | W] of a GRU."""
    return initializers.concatenated([init((inputs, size), rng).data for _ in range(blocks)])


def zero_state(x: Tensor, size: int) -> Tensor:
    """h_0 = 0, in the dtype and on the device of x (batch, ..)."""
    return Tensor(xp(x.data).zeros((x.shape[0], size), x.dtype))


def over_time(
    step: Callable[..., tuple[Any, ...]], projected: Any, state: tuple[Any, ...], mask: Any, reverse: bool
) -> tuple[Any, tuple[Any, ...]]:
    """The first of the states at every step, (B, T, n), and the state at the end: state = step(projected_t, *state).

    projected: (B, T, ..); mask (B, T): where it is False the state is carried over unchanged.
    """
    steps = range(projected.shape[1])
    states, real = {}, padding_mask(mask, projected)
    if real is not None:  # padding may hold anything, and 0 times NaN is NaN
        projected = ops.where(real[:, :, None], projected, 0.0)
    for t in reversed(steps) if reverse else steps:
        new = step(projected[:, t], *state)
        if real is not None:
            new = tuple(ops.where(real[:, t, None], *pair) for pair in zip(new, state, strict=True))
        states[t], state = new[0], new
    return ops.stack([states[t] for t in steps], axis=1), state
