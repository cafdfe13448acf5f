"""The plain recurrent unit with tanh, one step and whole sequences.

J. L. Elman, "Finding structure in time", Cognitive Science 14, 1990, in row vectors, with a step's input x_i and its
state h_i:

    h_i = tanh(x_i W + h_{i-1} U)                                                                           (a)

Deviations from the paper: tanh, as has become usual, where it has the logistic function; the exact gradient through all
steps, where it goes back through one.

`projected` below is x W plus a bias, for all steps at once: it does not depend on the recurrence.  The fused form of a
step and of a sequence, with their gradients, is in `minattn.nn.kernels.rnn`.
"""

from typing import Any

from jaxtyping import Bool, Inexact

from minattn.autograd import Array, Tensor, op, ops
from minattn.nn import initializers
from minattn.nn.initializers import Rng
from minattn.nn.kernels import rnn as kernels
from minattn.nn.recurrent.shared import BothWays, Initializer, RecurrentUnit, over_time, zero_state


# ---------------------------------------------------------------------------------------------- one step
def rnn_cell_equation(projected: Any, state: Any, U: Any) -> Any:
    """One step in primitive ops: projected (B, n), state (B, n), U (n, n) -> (B, n)."""
    return ops.tanh(projected + state @ U)  # (a)


rnn_cell = op(kernels.rnn_cell, equation=rnn_cell_equation)


# ---------------------------------------------------------------------------------------------- whole sequences
def rnn_equation(projected: Any, state: Any, U: Any, mask: Any = None, reverse: bool = False) -> Any:
    """The unit at every step; where the mask is False the state is carried over unchanged."""
    states, _ = over_time(lambda x, h: (rnn_cell_equation(x, h, U),), projected, (state,), mask, reverse)
    return states


rnn = op(kernels.rnn, equation=rnn_equation)


# ---------------------------------------------------------------------------------------------- layers
class RNNCell(RecurrentUnit):
    """One step of the unit.  W: (inputs, n); U: (n, n), orthogonal; bias: (n), 0, or None."""

    def __init__(
        self, inputs: int, size: int, rng: Rng, bias: bool = True, init: Initializer = initializers.glorot_uniform
    ) -> None:
        super().__init__(inputs, size, 1, rng, initializers.zeros((size,)) if bias else None, init)

    def forward(
        self, x: Inexact[Tensor, "batch inputs"], state: Inexact[Tensor, "batch size"]
    ) -> Inexact[Tensor, "batch size"]:
        return rnn_cell(self.project(x), state, self.U)


class RNN(RecurrentUnit):
    """The unit over a sequence, forwards, or backwards with reverse=True.

    Returns the states of all time steps, in the order of the input, with reverse=True too.  `mask` (True = a real
    step): elsewhere the state is carried over, so that padding changes nothing.
    """

    def __init__(
        self,
        inputs: int,
        size: int,
        rng: Rng,
        bias: bool = True,
        reverse: bool = False,
        init: Initializer = initializers.glorot_uniform,
    ) -> None:
        super().__init__(inputs, size, 1, rng, initializers.zeros((size,)) if bias else None, init)
        self.reverse = reverse

    def forward(
        self,
        x: Inexact[Tensor, "batch time inputs"],
        mask: Bool[Array, "batch time"] | None = None,
        state: Inexact[Tensor, "batch size"] | None = None,
    ) -> Inexact[Tensor, "batch time size"]:
        state = zero_state(x, self.size) if state is None else state
        return rnn(self.project(x), state, self.U, mask, self.reverse)


class BidirectionalRNN(BothWays):
    """Two plain units, one reading forwards and one backwards; their states side by side: (B, T, 2n)."""

    unit = RNN
