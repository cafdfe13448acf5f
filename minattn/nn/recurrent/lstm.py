"""Long short-term memory, one step and whole sequences.

S. Hochreiter and J. Schmidhuber, "Long short-term memory", Neural Computation 9(8), 1997, with the forget gate of
F. Gers, J. Schmidhuber and F. Cummins, "Learning to forget", Neural Computation 12(10), 2000.  In row vectors, with a
step's input x_i, its hidden state h_i and its cell c_i:

    i_i = sigma(x_i W_i + h_{i-1} U_i)                    input gate
    f_i = sigma(x_i W_f + h_{i-1} U_f)                    forget gate
    o_i = sigma(x_i W_o + h_{i-1} U_o)                    output gate
    g_i = tanh (x_i W_g + h_{i-1} U_g)                    candidate
    c_i = f_i o c_{i-1} + i_i o g_i
    h_i = o_i o tanh(c_i)

Deviations from the papers: none of their memory blocks with several cells to a gate; tanh where they have other
squashing functions of the same shape; the exact gradient, which Hochreiter & Schmidhuber cut off between the gates.
There are no connections from the cell to the gates.

The weights stand side by side: W = [W_i | W_f | W_o | W_g], U = [U_i | U_f | U_o | U_g].  `projected` below is x W
plus a bias, for all steps at once: it does not depend on the recurrence.
"""

from typing import Any

from jaxtyping import Bool, Inexact

from minattn.autograd import Array, Tensor, op, ops, xp
from minattn.autograd.backend import matmul
from minattn.autograd.engine import Result
from minattn.nn import initializers as init
from minattn.nn.initializers import Rng
from minattn.nn.module import Module, Parameter
from minattn.nn.recurrent.shared import (
    Initializer,
    RecurrentUnit,
    carried,
    carry_mask,
    check_sizes,
    parted,
    raw,
    zero_state,
)


# ---------------------------------------------------------------------------------------------- one step
def lstm_cell_equation(projected: Any, hidden: Any, cell: Any, U: Any) -> Any:
    """One step in primitive ops: projected (B, 4n), hidden and cell (B, n), U (n, 4n) -> hidden and cell (B, n)."""
    i, f, o, g = ops.split(projected + hidden @ U, 4, axis=-1)
    cell = ops.sigmoid(f) * cell + ops.sigmoid(i) * ops.tanh(g)
    return ops.sigmoid(o) * ops.tanh(cell), cell


@op(equation=lstm_cell_equation)
def lstm_cell(projected: Array, hidden: Array, cell: Array, U: Array, /) -> Result:
    """One step:  projected (B, 4n), hidden and cell (B, n), U (n, 4n) -> the new hidden state and cell (B, n)."""
    _check_sizes(projected, hidden, cell, U, ndim=2)
    module, (batch, n) = xp(hidden), hidden.shape
    dtype = module.result_type(projected, hidden, cell, U)
    gates = module.empty((batch, 4 * n), dtype)
    squashed = module.empty((batch, n), dtype)
    out = lstm_step(projected, hidden, cell, U, gates, squashed)

    def pullback(g_hidden: Array, g_cell: Array) -> tuple[Array, Array, Array, Array]:
        d_projected, d_cell = lstm_step_backward(g_hidden, g_cell, cell, gates, squashed)
        return d_projected, matmul(d_projected, U.T), d_cell, matmul(hidden.T, d_projected)

    return out, pullback


def lstm_step(
    projected: Array, hidden: Array, cell: Array, U: Array, gates: Array, squashed: Array
) -> tuple[Array, Array]:
    """The next hidden state and cell; leaves [i | f | o | g] in `gates` and tanh c in `squashed`."""
    n = hidden.shape[-1]
    matmul(hidden, U, gates)
    gates += projected
    sigmoids = gates[:, : 3 * n]
    sigmoids *= 0.5  # sigma(x) = tanh(x / 2) / 2 + 1 / 2
    xp(gates).tanh(gates, gates)
    sigmoids *= 0.5
    sigmoids += 0.5
    i, f, o, g = _blocks(gates)
    new_cell = f * cell
    new_cell += i * g
    xp(gates).tanh(new_cell, squashed)
    return o * squashed, new_cell


def lstm_step_backward(
    g_hidden: Array, g_cell: Array, cell: Array, gates: Array, squashed: Array
) -> tuple[Array, Array]:
    """The gradients before the gates and by the old cell, given those by the new hidden state and cell.

    d c = g_cell + g_hidden o o (1 - tanh^2 c),  d i = d c o g,  d f = d c o c_{i-1},  d o = g_hidden o tanh c,
    d g = d c o i,  and through sigma' = s (1 - s) and tanh' = 1 - g^2 to the pre-activations.
    """
    i, f, o, g = _blocks(gates)
    d_cell = squashed * squashed
    xp(gates).subtract(1, d_cell, d_cell)
    d_cell *= o
    d_cell *= g_hidden
    d_cell += g_cell
    d_gates = gates - gates * gates
    d_i, d_f, d_o, d_g = _blocks(d_gates)
    d_i *= g * d_cell
    d_f *= cell * d_cell
    d_o *= squashed * g_hidden
    xp(gates).subtract(1, g * g, d_g)
    d_g *= i * d_cell
    d_cell *= f
    return d_gates, d_cell


def _blocks(gates: Array) -> tuple[Array, Array, Array, Array]:
    """Views of the blocks of [i | f | o | g]."""
    n = gates.shape[-1] // 4
    return gates[:, :n], gates[:, n : 2 * n], gates[:, 2 * n : 3 * n], gates[:, 3 * n :]


# ---------------------------------------------------------------------------------------------- whole sequences
def lstm_equation(projected: Any, hidden: Any, cell: Any, U: Any, mask: Any = None, reverse: bool = False) -> Any:
    """The unit at every step; where the mask is False hidden state and cell are carried over unchanged."""
    steps = range(projected.shape[1])
    states = {}
    for t in reversed(steps) if reverse else steps:
        new_hidden, new_cell = lstm_cell_equation(projected[:, t], hidden, cell, U)
        if mask is not None:
            real = raw(mask)[:, t, None]
            new_hidden, new_cell = ops.where(real, new_hidden, hidden), ops.where(real, new_cell, cell)
        states[t], hidden, cell = new_hidden, new_hidden, new_cell
    return ops.stack([states[t] for t in steps], axis=1), cell


@op(equation=lstm_equation)
def lstm(projected: Array, hidden: Array, cell: Array, U: Array, /, mask: Any = None, reverse: bool = False) -> Result:
    """The unit over a whole sequence, with backpropagation through time written out.

    projected: (B, T, 4n); hidden, cell: (B, n), before the first step; U: (n, 4n); mask: (B, T), True = a real step,
    False carries hidden state and cell over.  reverse=True runs from the last step to the first.  Returns all hidden
    states, (B, T, n), each in its own place, and the cell that the run ends with, (B, n).
    """
    _check_sizes(projected, hidden, cell, U, ndim=3)
    module, (batch, time, _), n = xp(hidden), projected.shape, hidden.shape[-1]
    dtype = module.result_type(projected, hidden, cell, U)
    mask = carry_mask(mask, projected)
    order = range(time)[::-1] if reverse else range(time)
    gates = module.empty((time, batch, 4 * n), dtype)  # the numbers of one step lie together
    squashed = module.empty((time, batch, n), dtype)
    hiddens = module.empty((time, batch, n), dtype)  # what each step starts from
    cells = module.empty((time, batch, n), dtype)
    states = module.empty((batch, time, n), dtype)
    h, c = hidden, cell
    for t in order:
        hiddens[t], cells[t] = h, c
        new_h, new_c = lstm_step(projected[:, t], h, c, U, gates[t], squashed[t])
        h, c = carried(mask, t, new_h, h), carried(mask, t, new_c, c)
        states[:, t] = h

    def pullback(g_states: Array, g_cell: Array) -> tuple[Array, Array, Array, Array]:
        d_projected = module.empty((time, batch, 4 * n), dtype)
        d_h, d_c = module.zeros((batch, n), dtype), g_cell
        U_T = module.ascontiguousarray(U.T)  # a product with a matrix as it lies is quicker, and there are many
        for t in order[::-1]:
            to_h, past_h = parted(mask, t, d_h + g_states[:, t])
            to_c, past_c = parted(mask, t, d_c)
            d_projected[t], d_c = lstm_step_backward(to_h, to_c, cells[t], gates[t], squashed[t])
            d_h = matmul(d_projected[t], U_T) + past_h
            d_c += past_c
        d_U = matmul(hiddens.reshape(-1, n).T, d_projected.reshape(-1, 4 * n))
        return module.ascontiguousarray(d_projected.swapaxes(0, 1)), d_h, d_c, d_U

    return (states, c), pullback


def _check_sizes(projected: Array, hidden: Array, cell: Array, U: Array, ndim: int) -> None:
    check_sizes(projected, hidden, U, gates=4, ndim=ndim)
    if cell.shape != hidden.shape:
        raise ValueError(f"the cell must have the shape of the hidden state, {hidden.shape}, got {cell.shape}")


# ---------------------------------------------------------------------------------------------- layers
FORGET_BIAS = 1.0
"""Where the bias of the forget gate starts, so that the cell remembers at first.  R. Jozefowicz, W. Zaremba and
I. Sutskever, "An empirical exploration of recurrent network architectures", ICML 2015."""


def _biases(size: int, forget_bias: float) -> Parameter:
    """0 for every gate but the forget gate."""
    return init.joined([init.constant((size,), value).data for value in (0.0, forget_bias, 0.0, 0.0)])


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
        weights: Initializer = init.glorot_uniform,
    ) -> None:
        super().__init__(inputs, size, 4, rng, _biases(size, forget_bias) if bias else None, weights)

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

    Returns (states, cell): the hidden states, each in its own place, and the cell that the run ends with.  `mask`
    (True = a real step): elsewhere hidden state and cell are carried over, so that padding changes nothing.
    """

    def __init__(
        self,
        inputs: int,
        size: int,
        rng: Rng,
        bias: bool = True,
        reverse: bool = False,
        forget_bias: float = FORGET_BIAS,
        weights: Initializer = init.glorot_uniform,
    ) -> None:
        super().__init__(inputs, size, 4, rng, _biases(size, forget_bias) if bias else None, weights)
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
        weights: Initializer = init.glorot_uniform,
    ) -> None:
        self.forwards = LSTM(inputs, size, rng, bias, forget_bias=forget_bias, weights=weights)
        self.backwards = LSTM(inputs, size, rng, bias, reverse=True, forget_bias=forget_bias, weights=weights)

    def forward(
        self, x: Inexact[Tensor, "batch time inputs"], mask: Bool[Array, "batch time"] | None = None
    ) -> tuple[Inexact[Tensor, "batch time twice"], Inexact[Tensor, "batch twice"]]:
        forward_states, forward_cell = self.forwards(x, mask)
        backward_states, backward_cell = self.backwards(x, mask)
        states = ops.concat([forward_states, backward_states], axis=-1)
        return states, ops.concat([forward_cell, backward_cell], axis=-1)
