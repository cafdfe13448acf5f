"""Fused long short-term memory and its gradient, on raw arrays; its equations are in `minattn.nn.recurrent.lstm`.

    i, f, o = sigma(x W + h_{i-1} U)    g = tanh(x W + h_{i-1} U)
    c_i = f o c_{i-1} + i o g           h_i = o o tanh(c_i)

`projected` is x W plus a bias.  The gates lie side by side, [i | f | o | g], and take one product.
"""

from typing import Any

from minattn.autograd import Array, xp
from minattn.autograd.backend import matmul
from minattn.autograd.engine import Result
from minattn.autograd.ops.activations import sigmoid_of
from minattn.errors import ShapeError
from minattn.nn.kernels.steps import carry, carry_backward, check_sizes, real_steps


# ---------------------------------------------------------------------------------------------- one step
def lstm_cell(projected: Array, hidden: Array, cell: Array, U: Array, /) -> Result:
    """One step:  projected (B, 4n), hidden and cell (B, n), U (n, 4n) -> the new hidden state and cell (B, n)."""
    _check_sizes(projected, hidden, cell, U, ndim=2)
    module, (batch, n) = xp(hidden), hidden.shape
    dtype = module.result_type(projected, hidden, cell, U)
    gates, closed = module.empty((batch, 4 * n), dtype), module.empty((batch, 3 * n), dtype)
    squashed = module.empty((batch, n), dtype)
    out = lstm_step(projected, hidden, cell, U, gates, closed, squashed)

    def pullback(g_hidden: Array, g_cell: Array) -> tuple[Array, Array, Array, Array]:
        d_projected, d_cell = lstm_step_backward(g_hidden, g_cell, cell, gates, closed, squashed)
        return d_projected, matmul(d_projected, U.T), d_cell, matmul(hidden.T, d_projected)

    return out, pullback


def lstm_step(
    projected: Array, hidden: Array, cell: Array, U: Array, gates: Array, closed: Array, squashed: Array
) -> tuple[Array, Array]:
    """The next hidden state and cell; leaves [i | f | o | g] in `gates`, 1 - [i | f | o] in `closed` and tanh c in
    `squashed`."""
    matmul(hidden, U, gates)
    gates += projected
    return lstm_pointwise(cell, gates, closed, squashed)


def lstm_pointwise(cell: Array, gates: Array, closed: Array, squashed: Array) -> tuple[Array, Array]:
    """The same, from what goes into sigma and tanh, which lies in `gates`."""
    n = cell.shape[-1]
    sigmoid_of(gates[:, : 3 * n], gates[:, : 3 * n], closed)
    i, f, o, g = _blocks(gates)
    xp(g).tanh(g, g)
    new_cell = f * cell
    new_cell += i * g
    xp(gates).tanh(new_cell, squashed)
    return o * squashed, new_cell


def lstm_step_backward(
    g_hidden: Array, g_cell: Array, cell: Array, gates: Array, closed: Array, squashed: Array
) -> tuple[Array, Array]:
    """Gradients of the pre-activations and of the old cell, from those of the new hidden state and cell.

    d c = g_cell + g_hidden o o (1 - tanh^2 c),  d i = d c o g,  d f = d c o c_{i-1},  d o = g_hidden o tanh c,
    d g = d c o i,  and through sigma' = s (1 - s) and tanh' = 1 - g^2 to the pre-activations.
    """
    i, f, o, g = _blocks(gates)
    d_cell = squashed * squashed
    xp(gates).subtract(1, d_cell, d_cell)
    d_cell *= o
    d_cell *= g_hidden
    d_cell += g_cell
    d_gates, n = xp(gates).empty_like(gates), cell.shape[-1]
    xp(gates).multiply(gates[:, : 3 * n], closed, d_gates[:, : 3 * n])
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
def lstm(projected: Array, hidden: Array, cell: Array, U: Array, /, mask: Any = None, reverse: bool = False) -> Result:
    """The unit over a whole sequence, with backpropagation through time written out.

    projected: (B, T, 4n); hidden, cell: (B, n), before the first step; U: (n, 4n); mask: (B, T), True = a real step,
    False carries hidden state and cell over.  reverse=True runs from the last step to the first.  Returns the
    hidden states of all time steps, (B, T, n), in the order of the input, and the cell that the run ends with, (B, n).
    """
    _check_sizes(projected, hidden, cell, U, ndim=3)
    module, (batch, time, _), n = xp(hidden), projected.shape, hidden.shape[-1]
    dtype = module.result_type(projected, hidden, cell, U)
    projected, mask = real_steps(projected, mask)
    order = range(time)[::-1] if reverse else range(time)
    gates = module.empty((time, batch, 4 * n), dtype)  # the numbers of one step lie together
    closed = module.empty((time, batch, 3 * n), dtype)
    squashed = module.empty((time, batch, n), dtype)
    hiddens = module.empty((time, batch, n), dtype)  # what each step starts from
    cells = module.empty((time, batch, n), dtype)
    states = module.empty((batch, time, n), dtype)
    h, c = hidden, cell
    for t in order:
        hiddens[t], cells[t] = h, c
        new_h, new_c = lstm_step(projected[:, t], h, c, U, gates[t], closed[t], squashed[t])
        h, c = carry(mask, t, new_h, h), carry(mask, t, new_c, c)
        states[:, t] = h

    def pullback(g_states: Array, g_cell: Array) -> tuple[Array, Array, Array, Array]:
        d_projected = module.empty((time, batch, 4 * n), dtype)
        d_h, d_c = module.zeros((batch, n), dtype), g_cell
        U_T = module.ascontiguousarray(U.T)  # a product with a matrix as it lies is quicker, and there are many
        for t in order[::-1]:
            to_h, past_h = carry_backward(mask, t, d_h + g_states[:, t])
            to_c, past_c = carry_backward(mask, t, d_c)
            d_projected[t], d_c = lstm_step_backward(to_h, to_c, cells[t], gates[t], closed[t], squashed[t])
            d_h = matmul(d_projected[t], U_T) + past_h
            d_c += past_c
        d_U = matmul(hiddens.reshape(-1, n).T, d_projected.reshape(-1, 4 * n))
        return module.ascontiguousarray(d_projected.swapaxes(0, 1)), d_h, d_c, d_U

    return (states, c), pullback


def _check_sizes(projected: Array, hidden: Array, cell: Array, U: Array, ndim: int) -> None:
    check_sizes(projected, hidden, U, gates=4, ndim=ndim)
    if cell.shape != hidden.shape:
        raise ShapeError(f"the cell must have the shape of the hidden state, {hidden.shape}, got {cell.shape}")
