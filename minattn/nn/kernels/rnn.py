"""The fused tanh unit and its gradient, on raw arrays; its equation is in `minattn.nn.recurrent.rnn`.

    h_i = tanh(x_i W + h_{i-1} U)

`projected` is x W plus a bias.
"""

from typing import Any

from minattn.autograd import Array, xp
from minattn.autograd.backend import matmul
from minattn.autograd.engine import Result
from minattn.nn.kernels.steps import carry, carry_backward, check_sizes, real_steps


# ---------------------------------------------------------------------------------------------- one step
def rnn_cell(projected: Array, state: Array, U: Array, /) -> Result:
    """One step:  projected (B, n), state (B, n), U (n, n) -> (B, n).

    With d = g (1 - h^2):  d projected = d;  d state = d U^T;  dU = state^T d.
    """
    check_sizes(projected, state, U, gates=1, ndim=2)
    new = _step(projected, state, U)

    def pullback(g: Array) -> tuple[Array, Array, Array]:
        d = _step_backward(g, new)
        return d, matmul(d, U.T), matmul(state.T, d)

    return new, pullback


def _step(projected: Array, state: Array, U: Array) -> Array:
    """The next state."""
    into = matmul(state, U) + projected
    return xp(into).tanh(into, into)


def _step_backward(g: Array, new: Array) -> Array:
    """Gradient of the pre-activation from that of the new state."""
    return g - g * new * new


# ---------------------------------------------------------------------------------------------- whole sequences
def rnn(projected: Array, state: Array, U: Array, /, mask: Any = None, reverse: bool = False) -> Result:
    """The unit over a whole sequence, with backpropagation through time written out.

    projected: (B, T, n); state: (B, n), before the first step; U: (n, n); mask: (B, T), True = a real step, False
    carries the state over.  reverse=True runs from the last step to the first.  Returns the states of
    all time steps, (B, T, n), in the order of the input.
    """
    check_sizes(projected, state, U, gates=1, ndim=3)
    module, (batch, time, n) = xp(state), projected.shape
    dtype = module.result_type(projected, state, U)
    projected, mask = real_steps(projected, mask)
    order = range(time)[::-1] if reverse else range(time)
    states = module.empty((batch, time, n), dtype)
    before, news = (module.empty((time, batch, n), dtype) for _ in range(2))  # the numbers of one step lie together
    h = state
    for t in order:
        before[t] = h
        news[t] = _step(projected[:, t], before[t], U)
        h = carry(mask, t, news[t], before[t])
        states[:, t] = h

    def pullback(g: Array) -> tuple[Array, Array, Array]:
        d_steps = module.empty((time, batch, n), dtype)
        d_h = module.zeros((batch, n), dtype)
        U_T = module.ascontiguousarray(U.T)  # products with matrices as they lie are quicker
        for t in order[::-1]:
            d_h += g[:, t]
            fresh, past = carry_backward(mask, t, d_h)
            d_steps[t] = _step_backward(fresh, news[t])
            d_h = matmul(d_steps[t], U_T)
            d_h += past
        d_U = matmul(before.reshape(-1, n).T, d_steps.reshape(-1, n))
        return d_steps.swapaxes(0, 1), d_h, d_U

    return states, pullback
