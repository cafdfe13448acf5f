"""The decoder that attends at every step, whole sequences in one op, with backpropagation through time.

The equation is on `sequence/attentive_gru.py`.  For i = 1, 2, ..:

    e_i     = tanh(s_{i-1} W_a + h U_a) v_a                                 (a)  A.1.2, unnumbered
    alpha_i = softmax(e_i), over the source positions                       (6)
    c_i     = sum_j alpha_ij h_j                                            (5)
    s_i     = gated recurrent unit of x_i + c_i C and s_{i-1}               (b)  A.2.2, unnumbered

Three things make it fast and change nothing but rounding.  c_i C is taken as sum_j alpha_ij (h_j C): h C, like the keys
h U_a, is computed once for the whole sequence.  s_{i-1} is multiplied by U_z, U_r and W_a at once.  The gradients of
parameters are one product each over all steps, after backpropagation through time.

Letters of shapes: B batch, T steps of the target, S positions of the source, n state, a alignment, d annotation.
"""

from typing import Any, NamedTuple

import numpy as np

from minattn.autograd import Array, xp
from minattn.autograd.backend import matmul
from minattn.autograd.engine import Result, mode
from minattn.autograd.ops.neural import row_exponentials
from minattn.errors import ShapeError
from minattn.nn.kernels.gru import gru_step, gru_step_backward
from minattn.nn.masks import padding_mask, without_padding


class Inputs(NamedTuple):
    """The inputs of every step, laid out for its products."""

    projected: Array  # (B, T, 3n), the x_i
    keys: Array  # (S, B, a), h U_a; the source first, so that s W_a is added to one slab after the other
    values_C: Array  # (B, S, 3n), h C
    from_state: Array  # (n, 2n + a), [U_z | U_r | W_a]
    U: Array  # (n, n), of the candidate
    v_a: Array  # (a)
    may_attend: Array | None  # (S, B), None where all positions are real


class Steps(NamedTuple):
    """The results of all steps.  Without a gradient, what only the backward pass needs is kept of one step."""

    states: Array  # (T + 1, B, n), s_0 .. s_T
    alignment: Array  # (B, T, S), alpha
    hidden: Array  # (T, S, B, a), tanh(s_{i-1} W_a + h U_a)
    gates: Array  # (T, B, 2n), [z_i | r_i]
    closed: Array  # (T, B, 2n), [1 - z_i | 1 - r_i]
    candidates: Array  # (T, B, n)
    x: Array  # (B, 1, 3n), x_i + c_i C of the present step


class StepGradients(NamedTuple):
    """The gradients that backpropagation through time leaves, step by step."""

    d_x: Array  # (B, T, 3n), of x_i + c_i C
    d_from_state: Array  # (T, B, 2n + a), of s_{i-1} [U_z | U_r | W_a]
    d_energies: Array  # (S, B, T)
    d_v_a: Array  # (B, 1, a), summed over the steps


def attentive_gru(
    projected: Array,
    state: Array,
    keys: Array,
    values: Array,
    W_a: Array,
    v_a: Array,
    C: Array,
    U: Array,
    /,
    mask: Any = None,
) -> Result:
    """The gated recurrent unit with additive attention at every step, over a whole sequence, in one op.

    projected: (B, T, 3n), the x_i; state: (B, n), s_0; keys: (B, S, a), h U_a; values: (B, S, d), the annotations h;
    W_a: (n, a); v_a: (a); C: (d, 3n), [C_z | C_r | C]; U: (n, 3n); mask: (B, S), True = a real position of the source.
    Returns the states s_i (B, T, n), the contexts c_i (B, T, d) and the alignment (B, T, S).
    """
    _check_sizes(projected, state, keys, values, W_a, v_a, C, U)
    real = padding_mask(mask, keys)
    keys, values = without_padding(real, keys), without_padding(real, values)
    inputs = _inputs(projected, keys, values, W_a, v_a, C, U, real)
    steps = _allocate(inputs, state, xp(state).result_type(projected, state, keys, values, W_a, v_a, C, U))
    for t in range(projected.shape[1]):
        _step(t, inputs, steps)
    contexts = matmul(steps.alignment, values)  # (5)

    def pullback(g_states: Array, g_contexts: Array, g_alignment: Array) -> tuple[Array, ...]:
        d_alignment = matmul(g_contexts, values.swapaxes(1, 2)) + g_alignment
        d_state, gradients = _through_time(inputs, steps, g_states, d_alignment)
        d_keys = _keys_gradient(inputs, steps, gradients)
        d_values, d_C = _source_gradients(steps, gradients, values, C, g_contexts)
        d_U, d_W_a = _state_gradients(steps, gradients)
        return gradients.d_x, d_state, d_keys, d_values, d_W_a, gradients.d_v_a.sum((0, 1)), d_C, d_U

    states = xp(state).ascontiguousarray(steps.states[1:].swapaxes(0, 1))
    return (states, contexts, steps.alignment), pullback


# ---------------------------------------------------------------------------------------------- forward
def _inputs(
    projected: Array, keys: Array, values: Array, W_a: Array, v_a: Array, C: Array, U: Array, may_attend: Array | None
) -> Inputs:
    module, (batch, source, d), n = xp(keys), values.shape, len(U)
    values_C = matmul(values.reshape(batch * source, d), C).reshape(batch, source, 3 * n)
    from_state = module.concatenate([U[:, : 2 * n], W_a], 1)
    slabs = module.ascontiguousarray(keys.swapaxes(0, 1))
    return Inputs(
        projected, slabs, values_C, from_state, U[:, 2 * n :], v_a, None if may_attend is None else may_attend.T
    )


def _allocate(inputs: Inputs, state: Array, dtype: Any) -> Steps:
    """Memory for all steps, with s_0 in it."""
    empty, (batch, time, _), n = xp(state).empty, inputs.projected.shape, state.shape[-1]
    source, _, a = inputs.keys.shape
    kept = time if mode.recording else 1
    steps = Steps(
        states=empty((time + 1, batch, n), dtype),
        alignment=empty((batch, time, source), dtype),
        hidden=empty((kept, source, batch, a), dtype),
        gates=empty((kept, batch, 2 * n), dtype),
        closed=empty((kept, batch, 2 * n), dtype),
        candidates=empty((kept, batch, n), dtype),
        x=empty((batch, 1, 3 * n), dtype),
    )
    steps.states[0] = state
    return steps


def _step(t: int, inputs: Inputs, steps: Steps) -> None:
    """One step of the decoder: the attention of s_{i-1}, and from its context s_i.  (i is t + 1.)"""
    state, kept, n = steps.states[t], t % len(steps.gates), steps.states.shape[-1]
    from_state = matmul(state, inputs.from_state)
    steps.alignment[:, t] = _attend(from_state[:, 2 * n :], inputs, steps.hidden[kept]).T
    x = matmul(steps.alignment[:, t : t + 1], inputs.values_C, steps.x)  # c_i C
    x += inputs.projected[:, t : t + 1]
    gates = steps.gates[kept]
    gates[:] = from_state[:, : 2 * n]
    steps.states[t + 1] = gru_step(x[:, 0], state, inputs.U, gates, steps.closed[kept], steps.candidates[kept])  # (b)


def _attend(query: Array, inputs: Inputs, hidden: Array) -> Array:
    """The weights (S, B) of the query s_{i-1} W_a; leaves the values of tanh in `hidden` (S, B, a)."""
    module, (source, batch, a) = xp(query), hidden.shape
    module.add(inputs.keys, query, hidden)
    module.tanh(hidden, hidden)
    energies = matmul(hidden.reshape(source * batch, a), inputs.v_a).reshape(source, batch)  # (a)
    masked = inputs.may_attend is not None
    if masked:
        energies = module.where(inputs.may_attend, energies, -np.inf)
    weights, total = row_exponentials(energies, 0, masked)
    weights /= total  # (6)
    return weights


# ---------------------------------------------------------------------------------------------- backward
def _through_time(inputs: Inputs, steps: Steps, g_states: Array, d_alignment: Array) -> tuple[Array, StepGradients]:
    """Backpropagation through time, the last step first: return the gradient of s_0 and those of every step.

    g_states: the upstream gradient of the states; d_alignment: that of the alignment, the contexts' part in it.
    """
    module, dtype, (batch, time, source) = xp(g_states), steps.states.dtype, steps.alignment.shape
    n, a = steps.states.shape[-1], inputs.keys.shape[-1]
    gradients = StepGradients(
        d_x=module.empty((batch, time, 3 * n), dtype),
        d_from_state=module.empty((time, batch, 2 * n + a), dtype),
        d_energies=module.empty((source, batch, time), dtype),
        d_v_a=module.zeros((batch, 1, a), dtype),
    )
    d_state = module.zeros((batch, n), dtype)
    to_state, U_T = (module.ascontiguousarray(m.T) for m in (inputs.from_state, inputs.U))
    for t in reversed(range(time)):
        d_state += g_states[:, t]
        d_state = gru_step_backward(
            d_state, steps.states[t], U_T, steps.gates[t], steps.closed[t], steps.candidates[t], gradients.d_x[:, t]
        )
        _attend_backward(t, inputs, steps, d_alignment[:, t], gradients)
        gradients.d_from_state[t, :, : 2 * n] = gradients.d_x[:, t, : 2 * n]
        d_state += matmul(gradients.d_from_state[t], to_state)
    return d_state, gradients


def _attend_backward(t: int, inputs: Inputs, steps: Steps, d_alignment: Array, gradients: StepGradients) -> None:
    """The backward pass through the attention of one step, to the query s_{i-1} W_a, the energies and v_a.

    With P the weights and H the values of tanh:  dP = dx (h C)^T + what the alignment gets;  dE = P o (dP - <dP, P>);
    dv_a = dE H;  d query = dE (1 - H^2) o v_a.  Leaves 1 - H^2 where H was: a pullback runs once.
    """
    weights, a = steps.alignment[:, t], len(inputs.v_a)
    d_energies = matmul(inputs.values_C, gradients.d_x[:, t, :, None])[:, :, 0]
    d_energies += d_alignment
    d_energies -= (weights * d_energies).sum(1, keepdims=True)
    d_energies *= weights
    gradients.d_energies[:, :, t] = d_energies.T
    hidden = steps.hidden[t]
    of_batch = d_energies[:, None, :]
    d_v_a = gradients.d_v_a
    d_v_a += matmul(of_batch, hidden.swapaxes(0, 1))
    hidden *= hidden
    slopes = xp(hidden).subtract(1, hidden, hidden)
    gradients.d_from_state[t, :, -a:] = matmul(of_batch, slopes.swapaxes(0, 1))[:, 0] * inputs.v_a


# --------------------------------------------------------------------------------------------- gradients over all steps
def _keys_gradient(inputs: Inputs, steps: Steps, gradients: StepGradients) -> Array:
    """d keys = sum_i dE_i (1 - H_i^2) o v_a, (B, S, a); `hidden` holds 1 - H^2 by now."""
    slopes = steps.hidden.transpose(1, 2, 0, 3)  # (S, B, T, a)
    d_keys = matmul(gradients.d_energies[:, :, None, :], slopes)[:, :, 0] * inputs.v_a
    return d_keys.swapaxes(0, 1)


def _source_gradients(
    steps: Steps, gradients: StepGradients, values: Array, C: Array, g_contexts: Array
) -> tuple[Array, Array]:
    """The gradients of the values and of C: the values go into every c_i, and into h C."""
    (batch, source, d), alignment_T = values.shape, steps.alignment.swapaxes(1, 2)
    d_values_C = matmul(alignment_T, gradients.d_x).reshape(batch * source, C.shape[1])
    d_C = matmul(values.reshape(batch * source, d).T, d_values_C)
    d_values = matmul(d_values_C, C.T).reshape(values.shape)
    d_values += matmul(alignment_T, g_contexts)
    return d_values, d_C


def _state_gradients(steps: Steps, gradients: StepGradients) -> tuple[Array, Array]:
    """The gradients of U and of W_a, by which the states are multiplied."""
    time, batch, n = steps.candidates.shape
    rows, size, past = time * batch, gradients.d_from_state.shape[-1], steps.states[:-1]
    by_state = matmul(past.reshape(rows, n).T, gradients.d_from_state.reshape(rows, size))  # [U_z | U_r | W_a]
    reset = (steps.gates[:, :, n:] * past).reshape(rows, n)
    d_candidates = gradients.d_x[:, :, 2 * n :].swapaxes(0, 1).reshape(rows, n)
    d_U = xp(past).concatenate([by_state[:, : 2 * n], matmul(reset.T, d_candidates)], 1)
    return d_U, by_state[:, 2 * n :]


def _check_sizes(
    projected: Array, state: Array, keys: Array, values: Array, W_a: Array, v_a: Array, C: Array, U: Array
) -> None:
    ranks = (projected.ndim, state.ndim, keys.ndim, values.ndim, W_a.ndim, v_a.ndim, C.ndim, U.ndim)
    if ranks == (3, 2, 3, 3, 2, 1, 2, 2):
        (batch, n), (_, source, a), d, time = state.shape, keys.shape, values.shape[2], projected.shape[1]
        expected = (
            *((batch, time, 3 * n), (batch, n), (batch, source, a), (batch, source, d)),
            *((n, a), (a,), (d, 3 * n), (n, 3 * n)),
        )
        if expected == tuple(array.shape for array in (projected, state, keys, values, W_a, v_a, C, U)):
            return
    raise ShapeError(
        "expected projected (batch, time, 3n), state (batch, n), keys (batch, source, a), values (batch, source, d), "
        f"W_a (n, a), v_a (a), C (d, 3n) and U (n, 3n); got {projected.shape}, {state.shape}, {keys.shape}, "
        f"{values.shape}, {W_a.shape}, {v_a.shape}, {C.shape} and {U.shape}"
    )
