"""Long short-term memory, one step and whole sequences.

S. Hochreiter and J. Schmidhuber, "Long short-term memory", Neural Computation 9(8), 1997, with the forget gate of
F. Gers, J. Schmidhuber and F. Cummins, "Learning to forget", Neural Computation 12(10), 2000.  In row vectors, with a
step's input x_i, its hidden state h_i and its cell c_i:

    i_i = sigma(x_i W_i + h_{i-1} U_i)                    input gate      (a)
    f_i = sigma(x_i W_f + h_{i-1} U_f)                    forget gate     (b)
    o_i = sigma(x_i W_o + h_{i-1} U_o)                    output gate     (c)
    g_i = tanh (x_i W_g + h_{i-1} U_g)                    candidate       (d)
    c_i = f_i o c_{i-1} + i_i o g_i                                       (e)
    h_i = o_i o tanh(c_i)                                                 (f)

Deviations from the papers: none of their memory blocks with several cells to a gate; tanh where they have other
squashing functions of the same shape; the exact gradient, which Hochreiter & Schmidhuber cut off between the gates.
There are no connections from the cell to the gates.

The weights stand side by side: W = [W_i | W_f | W_o | W_g], U = [U_i | U_f | U_o | U_g].  `projected` below is x W
plus a bias, for all steps at once: it does not depend on the recurrence.  The fused form of a step and of a sequence,
with their gradients, is in `minattn.nn.kernels.lstm`.
"""

from typing import Any

from jaxtyping import Bool, Inexact

from minattn.autograd import Array, Tensor, op, ops
from minattn.nn import initializers
from minattn.nn.initializers import Rng
from minattn.nn.kernels import lstm as kernels
from minattn.nn.module import Module, Parameter
from minattn.nn.recurrent.shared import Initializer, RecurrentUnit, over_time, zero_state


# ---------------------------------------------------------------------------------------------- one step
def lstm_cell_equation(projected: Any, hidden: Any, cell: Any, U: Any) -> Any:
    """One step in primitive ops: projected (B, 4n), hidden and cell (B, n), U (n, 4n) -> hidden and cell (B, n)."""
    i, f, o, g = ops.split(projected + hidden @ U, 4, axis=-1)  # (a)-(d), before sigma and tanh
    cell = ops.sigmoid(f) * cell + ops.sigmoid(i) * ops.tanh(g)  # (e)
    return ops.sigmoid(o) * ops.tanh(cell), cell  # (f)


lstm_cell = op(kernels.lstm_cell, equation=lstm_cell_equation)


# ---------------------------------------------------------------------------------------------- whole sequences
def lstm_equation(projected: Any, hidden: Any, cell: Any, U: Any, mask: Any = None, reverse: bool = False) -> Any:
    """The unit at every step; where the mask is False hidden state and cell are carried over unchanged."""
    states, (_, cell) = over_time(
        lambda x, h, c: lstm_cell_equation(x, h, c, U), projected, (hidden, cell), mask, reverse
    )
    return states, cell


lstm = op(kernels.lstm, equation=lstm_equation)


# ---------------------------------------------------------------------------------------------- layers
FORGET_BIAS = 1.0
"""The initial bias of the forget gate, such that the cell remembers at first.  R. Jozefowicz, W. Zaremba and
I. Sutskever, "An empirical exploration of recurrent network architectures", ICML 2015."""


def _biases(size: int, forget_bias: float) -> Parameter:
    """0 for every gate but the forget gate."""
    return initializers.concatenated(
        [initializers.constant((size,), value).data for value in (0.0, forget_bias, 0.0, 0.0)]
    )


class LSTMCell(RecurrentUnit):
    """One step of the unit.  W: (inputs, 4n), U: (n, 4n) orthogonal by block, bias: (4n) or None.

    The biases start at 0, those of the forget gate at `forget_bias`.
    """

    def __init__(
        self,
        inputs: int,
        size: int,
        rng: Rng,
        bias: bool = True,
        forget_bias: float = FORGET_BIAS,
        init: Initializer = initializers.glorot_uniform,
    ) -> None:
        super().__init__(inputs, size, 4, rng, _biases(size, forget_bias) if bias else None, init)

    def forward(
        self,
        x: Inexact[Tensor, "batch inputs"],
        hidden: Inexact[Tensor, "batch size"],
        cell: Inexact[Tensor, "batch size"],
    ) -> tuple[Inexact[Tensor, "batch size"], Inexact[Tensor, "batch size"]]:
        """(the new hidden state, the new cell)."""
        return lstm_cell(self.project(x), hidden, cell, self.U)


class LSTM(RecurrentUnit):
    """The unit over a sequence, forwards, or backwards with reverse=True.

    Returns (states, cell): the hidden states of all time steps, in the order of the input, with reverse=True too, and
    the cell that the run ends with.  `mask` (True = a real step): elsewhere hidden state and cell are carried over, so
    that padding changes nothing.
    """

    def __init__(
        self,
        inputs: int,
        size: int,
        rng: Rng,
        bias: bool = True,
        reverse: bool = False,
        forget_bias: float = FORGET_BIAS,
        init: Initializer = initializers.glorot_uniform,
    ) -> None:
        super().__init__(inputs, size, 4, rng, _biases(size, forget_bias) if bias else None, init)
        self.reverse = reverse

    def forward(
        self,
        x: Inexact[Tensor, "batch time inputs"],
        mask: Bool[Array, "batch time"] | None = None,
        hidden: Inexact[Tensor, "batch size"] | None = None,
        cell: Inexact[Tensor, "batch size"] | None = None,
    ) -> tuple[Inexact[Tensor, "batch time size"], Inexact[Tensor, "batch size"]]:
        hidden = zero_state(x, self.size) if hidden is None else hidden
        cell = zero_state(x, self.size) if cell is None else cell
        return lstm(self.project(x), hidden, cell, self.U, mask, self.reverse)


class BidirectionalLSTM(Module):
    """Two units, one reading forwards and one backwards; their states (B, T, 2n) and last cells (B, 2n) side by side.

    M. Schuster and K. Paliwal, "Bidirectional recurrent neural networks", IEEE Transactions on Signal Processing, 1997.
    """

    def __init__(
        self,
        inputs: int,
        size: int,
        rng: Rng,
        bias: bool = True,
        forget_bias: float = FORGET_BIAS,
        init: Initializer = initializers.glorot_uniform,
    ) -> None:
        self.forwards = LSTM(inputs, size, rng, bias, forget_bias=forget_bias, init=init)
        self.backwards = LSTM(inputs, size, rng, bias, reverse=True, forget_bias=forget_bias, init=init)

    def forward(
        self, x: Inexact[Tensor, "batch time inputs"], mask: Bool[Array, "batch time"] | None = None
    ) -> tuple[Inexact[Tensor, "batch time twice"], Inexact[Tensor, "batch twice"]]:
        forward_states, forward_cell = self.forwards(x, mask)
        backward_states, backward_cell = self.backwards(x, mask)
        states = ops.concat([forward_states, backward_states], axis=-1)
        return states, ops.concat([forward_cell, backward_cell], axis=-1)
