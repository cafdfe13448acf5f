"""The fused gated recurrent unit and its gradient, on raw arrays; its equations are in `minattn.nn.recurrent.gru`.

    z_i  = sigma(x_i W_z + h_{i-1} U_z)    r_i = sigma(x_i W_r + h_{i-1} U_r)
    h~_i = tanh (x_i W   + (r_i o h_{i-1}) U)
    h_i  = h_{i-1} + z_i o (h~_i - h_{i-1})

`projected` is x W plus a bias.  The two gates lie side by side, [z | r], and take one product, with [U_z | U_r].
"""

from typing import Any

from minattn.autograd import Array, xp
from minattn.autograd.backend import matmul
from minattn.autograd.engine import Result
from minattn.autograd.ops.activations import sigmoid_of
from minattn.nn.kernels.steps import carry, carry_backward, check_sizes, real_steps


# ---------------------------------------------------------------------------------------------- one step
def gru_cell(projected: Array, state: Array, U: Array, /) -> Result:
    """One step:  projected (B, 3n), state (B, n), U (n, 3n) -> (B, n)."""
    check_sizes(projected, state, U, gates=3, ndim=2)
    module, (batch, n) = xp(state), state.shape
    dtype = module.result_type(projected, state, U)
    gates, closed = module.empty((2, batch, 2 * n), dtype)
    candidate = module.empty((batch, n), dtype)
    matmul(state, U[:, : 2 * n], gates)
    out = gru_step(projected, state, U[:, 2 * n :], gates, closed, candidate)

    def pullback(g: Array) -> tuple[Array, Array, Array]:
        d_projected = module.empty((batch, 3 * n), dtype)
        d_state = gru_step_backward(g, state, U[:, 2 * n :].T, gates, closed, candidate, d_projected)
        d_state += matmul(d_projected[:, : 2 * n], U[:, : 2 * n].T)
        return d_projected, d_state, recurrent_gradient(state, gates[:, n:] * state, d_projected)

    return out, pullback


def gru_step(projected: Array, state: Array, U_h: Array, gates: Array, closed: Array, candidate: Array) -> Array:
    """The next state, where `gates` (B, 2n) holds h [U_z | U_r]; leaves [z | r] in `gates`, 1 minus that in `closed`
    and h~ in `candidate`.

    The product with the gates' weights is the caller's, who may have it done together with others.
    """
    n = state.shape[-1]
    gates += projected[:, : 2 * n]
    sigmoid_of(gates, gates, closed)
    z, r = gates[:, :n], gates[:, n:]
    matmul(r * state, U_h, candidate)
    candidate += projected[:, 2 * n :]
    xp(candidate).tanh(candidate, candidate)
    step = candidate - state
    step *= z
    step += state
    return step


def gru_step_backward(
    g: Array, state: Array, U_hT: Array, gates: Array, closed: Array, candidate: Array, d_projected: Array
) -> Array:
    """Gradient of `gru_step`: fills d_projected (B, 3n), that of the pre-activations; returns that of the old state.

    What comes to the state through the gates, d_projected[:, :2n] [U_z | U_r]^T, is left to the caller.

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
    d_reset_state = matmul(d_candidate, U_hT)  # gradient of r o h
    module.multiply(gates, closed, d_gates)
    change = candidate - state
    change *= g
    d_gates[:, :n] *= change
    d_gates[:, n:] *= state * d_reset_state
    d_reset_state *= r
    d_state += d_reset_state
    return d_state


def recurrent_gradient(states: Array, reset_states: Array, d_projected: Array) -> Array:
    """Gradient of U from rows of h, r o h and d_projected, for any number of steps at once."""
    n = states.shape[-1]
    d_U = xp(states).empty((n, 3 * n), d_projected.dtype)
    d_U[:, : 2 * n] = matmul(states.T, d_projected[:, : 2 * n])
    d_U[:, 2 * n :] = matmul(reset_states.T, d_projected[:, 2 * n :])
    return d_U


# ---------------------------------------------------------------------------------------------- whole sequences
def gru(projected: Array, state: Array, U: Array, /, mask: Any = None, reverse: bool = False) -> Result:
    """The unit over a whole sequence, with backpropagation through time written out.

    projected: (B, T, 3n); state: (B, n), before the first step; U: (n, 3n); mask: (B, T), True = a real step, False
    carries the state over.  reverse=True runs from the last step to the first.  Returns the states of
    all time steps, (B, T, n), in the order of the input.
    """
    check_sizes(projected, state, U, gates=3, ndim=3)
    module, (batch, time, _), n = xp(state), projected.shape, state.shape[-1]
    dtype = module.result_type(projected, state, U)
    projected, mask = real_steps(projected, mask)
    order = range(time)[::-1] if reverse else range(time)
    gates, closed = module.empty((2, time, batch, 2 * n), dtype)  # the numbers of one step lie together
    candidates = module.empty((time, batch, n), dtype)
    states = module.empty((batch, time, n), dtype)
    before = module.empty((time, batch, n), dtype)  # the state that each step starts from
    h = state
    for t in order:
        before[t] = h
        matmul(before[t], U[:, : 2 * n], gates[t])
        new = gru_step(projected[:, t], before[t], U[:, 2 * n :], gates[t], closed[t], candidates[t])
        h = carry(mask, t, new, before[t])
        states[:, t] = h

    def pullback(g: Array) -> tuple[Array, Array, Array]:
        d_projected = module.empty((batch, time, 3 * n), dtype)
        d_h = module.zeros((batch, n), dtype)
        # Products with matrices as they lie are quicker, and there are many.
        gates_T, candidate_T = (module.ascontiguousarray(u.T) for u in (U[:, : 2 * n], U[:, 2 * n :]))
        for t in order[::-1]:
            d_h += g[:, t]
            fresh, past = carry_backward(mask, t, d_h)
            d_h = gru_step_backward(
                fresh, before[t], candidate_T, gates[t], closed[t], candidates[t], d_projected[:, t]
            )
            d_h += matmul(d_projected[:, t, : 2 * n], gates_T)
            d_h += past
        steps = d_projected.swapaxes(0, 1)
        resets = gates[:, :, n:] * before
        d_U = recurrent_gradient(before.reshape(-1, n), resets.reshape(-1, n), steps.reshape(-1, 3 * n))
        return d_projected, d_h, d_U

    return states, pullback
