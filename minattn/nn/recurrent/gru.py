"""The gated recurrent unit, one step and whole sequences.

K. Cho et al., "Learning phrase representations using RNN encoder-decoder", EMNLP 2014, in the convention of
D. Bahdanau, K. Cho and Y. Bengio, "Neural machine translation by jointly learning to align and translate", ICLR
2015, appendix A.1.1, equation (1.2) in row vectors:

    z_i  = sigma(x_i W_z + h_{i-1} U_z)                   update gate
    r_i  = sigma(x_i W_r + h_{i-1} U_r)                   reset gate
    h~_i = tanh (x_i W   + (r_i o h_{i-1}) U)             candidate
    h_i  = (1 - z_i) o h_{i-1} + z_i o h~_i

The update gate says how much is *renewed*; Cho et al. and many libraries have it say how much is kept.  The reset
gate acts on the state *before* the product with U; cuDNN and PyTorch have it act after.

The weights stand side by side: W = [W_z | W_r | W], U = [U_z | U_r | U].  `projected` below is x W plus a bias, for
all steps at once: it does not depend on the recurrence.
"""

from typing import Any

from jaxtyping import Bool, Inexact

from minattn.autograd import Array, Tensor, op, ops, xp
from minattn.autograd.backend import matmul
from minattn.autograd.engine import Result
from minattn.nn import initializers as init
from minattn.nn.initializers import Rng
from minattn.nn.module import Module
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
def gru_cell_equation(projected: Any, state: Any, U: Any) -> Any:
    """One step of (1.2) in primitive ops: projected (B, 3n), state (B, n), U (n, 3n) -> (B, n)."""
    n = state.shape[-1]
    x_z, x_r, x_h = ops.split(projected, 3, axis=-1)
    z = ops.sigmoid(x_z + state @ U[:, :n])
    r = ops.sigmoid(x_r + state @ U[:, n : 2 * n])
    candidate = ops.tanh(x_h + (r * state) @ U[:, 2 * n :])
    return (1 - z) * state + z * candidate


@op(equation=gru_cell_equation)
def gru_cell(projected: Array, state: Array, U: Array, /) -> Result:
    """One step of the gated unit (1.2):  projected (B, 3n), state (B, n), U (n, 3n) -> (B, n)."""
    check_sizes(projected, state, U, gates=3, ndim=2)
    module, (batch, n) = xp(state), state.shape
    dtype = module.result_type(projected, state, U)
    gates = module.empty((batch, 2 * n), dtype)
    candidate = module.empty((batch, n), dtype)
    matmul(state, U[:, : 2 * n], gates)
    out = gru_step(projected, state, U[:, 2 * n :], gates, candidate)

    def pullback(g: Array) -> tuple[Array, Array, Array]:
        d_projected = module.empty((batch, 3 * n), dtype)
        d_state = gru_step_backward(g, state, U[:, 2 * n :].T, gates, candidate, d_projected)
        d_state += matmul(d_projected[:, : 2 * n], U[:, : 2 * n].T)
        return d_projected, d_state, recurrent_gradient(state, gates[:, n:] * state, d_projected)

    return out, pullback


def gru_step(projected: Array, state: Array, U_h: Array, gates: Array, candidate: Array) -> Array:
    """The next state, where `gates` (B, 2n) holds h [U_z | U_r]; leaves [z | r] in `gates` and h~ in `candidate`.

    The product with the gates' weights is the caller's, who may have it done together with others.
    """
    n = state.shape[-1]
    gates += projected[:, : 2 * n]
    gates *= 0.5  # sigma(x) = tanh(x / 2) / 2 + 1 / 2
    xp(gates).tanh(gates, gates)
    gates *= 0.5
    gates += 0.5
    z, r = gates[:, :n], gates[:, n:]
    matmul(r * state, U_h, candidate)
    candidate += projected[:, 2 * n :]
    xp(candidate).tanh(candidate, candidate)
    step = candidate - state
    step *= z
    step += state
    return step


def gru_step_backward(g: Array, state: Array, U_hT: Array, gates: Array, candidate: Array, d_projected: Array) -> Array:
    """The backward pass through `gru_step`: fills d_projected (B, 3n), the gradients before the gates and tanh, and
    returns that of the old state, but for what comes to it through the gates, d_projected[:, :2n] [U_z | U_r]^T.

    d h~ = g o z,  dz = g o (h~ - h),  and through tanh' = 1 - h~^2 and sigma' = s (1 - s) to the pre-activations.
    """
    module, n = xp(g), state.shape[-1]
    z, r = gates[:, :n], gates[:, n:]
    d_gates, d_candidate = d_projected[:, : 2 * n], d_projected[:, 2 * n :]
    d_state = g * z
    slope = candidate * candidate
    module.subtract(1, slope, slope)
    module.multiply(slope, d_state, d_candidate)  # d_state is g o z here
    module.subtract(g, d_state, d_state)
    d_reset_state = matmul(d_candidate, U_hT)  # by r o h
    slope = gates * gates
    module.subtract(gates, slope, d_gates)
    change = candidate - state
    change *= g
    d_gates[:, :n] *= change
    d_gates[:, n:] *= state * d_reset_state
    d_reset_state *= r
    d_state += d_reset_state
    return d_state


def recurrent_gradient(states: Array, reset_states: Array, d_projected: Array) -> Array:
    """The gradient of U from rows of h, r o h and d_projected, for any number of steps at once."""
    n = states.shape[-1]
    d_U = xp(states).empty((n, 3 * n), d_projected.dtype)
    d_U[:, : 2 * n] = matmul(states.T, d_projected[:, : 2 * n])
    d_U[:, 2 * n :] = matmul(reset_states.T, d_projected[:, 2 * n :])
    return d_U


# ---------------------------------------------------------------------------------------------- whole sequences
def gru_equation(projected: Any, state: Any, U: Any, mask: Any = None, reverse: bool = False) -> Any:
    """(1.2) for every step; where the mask is False the state is carried over unchanged."""
    steps = range(projected.shape[1])
    states = {}
    for t in reversed(steps) if reverse else steps:
        new = gru_cell_equation(projected[:, t], state, U)
        state = new if mask is None else ops.where(raw(mask)[:, t, None], new, state)
        states[t] = state
    return ops.stack([states[t] for t in steps], axis=1)


@op(equation=gru_equation)
def gru(projected: Array, state: Array, U: Array, /, mask: Any = None, reverse: bool = False) -> Result:
    """The gated unit over a whole sequence, with backpropagation through time written out.

    projected: (B, T, 3n); state: (B, n), before the first step; U: (n, 3n); mask: (B, T), True = a real step, False
    carries the state over.  reverse=True runs from the last step to the first.  Returns all states, (B, T, n), each
    in its own place.
    """
    check_sizes(projected, state, U, gates=3, ndim=3)
    module, (batch, time, _), n = xp(state), projected.shape, state.shape[-1]
    dtype = module.result_type(projected, state, U)
    mask = carry_mask(mask, projected)
    order = range(time)[::-1] if reverse else range(time)
    gates = module.empty((time, batch, 2 * n), dtype)  # the numbers of one step lie together
    candidates = module.empty((time, batch, n), dtype)
    states = module.empty((batch, time, n), dtype)
    before = module.empty((time, batch, n), dtype)  # the state that each step starts from
    h = state
    for t in order:
        before[t] = h
        matmul(before[t], U[:, : 2 * n], gates[t])
        new = gru_step(projected[:, t], before[t], U[:, 2 * n :], gates[t], candidates[t])
        h = carried(mask, t, new, before[t])
        states[:, t] = h

    def pullback(g: Array) -> tuple[Array, Array, Array]:
        d_projected = module.empty((batch, time, 3 * n), dtype)
        d_h = module.zeros((batch, n), dtype)
        # Products with matrices as they lie are quicker, and there are many.
        gates_T, candidate_T = (module.ascontiguousarray(u.T) for u in (U[:, : 2 * n], U[:, 2 * n :]))
        for t in order[::-1]:
            d_h += g[:, t]
            fresh, past = parted(mask, t, d_h)
            d_h = gru_step_backward(fresh, before[t], candidate_T, gates[t], candidates[t], d_projected[:, t])
            d_h += matmul(d_projected[:, t, : 2 * n], gates_T)
            d_h += past
        by_step = d_projected.swapaxes(0, 1)
        resets = gates[:, :, n:] * before
        d_U = recurrent_gradient(before.reshape(-1, n), resets.reshape(-1, n), by_step.reshape(-1, 3 * n))
        return d_projected, d_h, d_U

    return states, pullback


# ---------------------------------------------------------------------------------------------- layers
class GRUCell(RecurrentUnit):
    """One step of the gated unit (1.2).  W: (inputs, 3n), U: (n, 3n) orthogonal by block, bias: (3n), 0, or None."""

    def __init__(
        self, inputs: int, size: int, rng: Rng, bias: bool = True, weights: Initializer = init.glorot_uniform
    ) -> None:
        super().__init__(inputs, size, 3, rng, init.zeros((3 * size,)) if bias else None, weights)

    def forward(
        self, x: Inexact[Tensor, "batch inputs"], state: Inexact[Tensor, "batch size"]
    ) -> Inexact[Tensor, "batch size"]:
        return gru_cell(self.project(x), state, self.U)


class GRU(RecurrentUnit):
    """The gated unit (1.2) over a sequence, forwards, or backwards with reverse=True.

    Returns the states, each in its own place.  `mask` (True = a real step): elsewhere the state is carried over, so
    that padding changes nothing.
    """

    def __init__(
        self,
        inputs: int,
        size: int,
        rng: Rng,
        bias: bool = True,
        reverse: bool = False,
        weights: Initializer = init.glorot_uniform,
    ) -> None:
        super().__init__(inputs, size, 3, rng, init.zeros((3 * size,)) if bias else None, weights)
        self.reverse = reverse

    def forward(
        self,
        x: Inexact[Tensor, "batch time inputs"],
        mask: Bool[Array, "batch time"] | None = None,
        state: Inexact[Tensor, "batch size"] | None = None,
    ) -> Inexact[Tensor, "batch time size"]:
        state = zero_state(x, self.size) if state is None else state
        return gru(self.project(x), state, self.U, mask, self.reverse)


class BidirectionalGRU(Module):
    """Two gated units, one reading forwards and one backwards; their states side by side: (B, T, 2n).  (1.3)"""

    def __init__(
        self, inputs: int, size: int, rng: Rng, bias: bool = True, weights: Initializer = init.glorot_uniform
    ) -> None:
        self.forwards = GRU(inputs, size, rng, bias, weights=weights)
        self.backwards = GRU(inputs, size, rng, bias, reverse=True, weights=weights)

    def forward(
        self, x: Inexact[Tensor, "batch time inputs"], mask: Bool[Array, "batch time"] | None = None
    ) -> Inexact[Tensor, "batch time twice"]:
        return ops.concat([self.forwards(x, mask), self.backwards(x, mask)], axis=-1)
