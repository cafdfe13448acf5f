"""A gated unit that attends at every step: the decoder of the first attention network, over a whole sequence.

D. Bahdanau, K. Cho and Y. Bengio, "Neural machine translation by jointly learning to align and translate", ICLR 2015,
appendix A.2.2, in row vectors, for i = 1, 2, ..:

    alpha_i = softmax over j of v_a^T tanh(s_{i-1} W_a + h_j U_a)                       (1.5) (1.6)
    c_i     = sum_j alpha_ij h_j                                                        (1.6)
    s_i     = gated unit of x_i + c_i C and s_{i-1},  x_i = E y_{i-1} W + b             (1.7)

In training all y_{i-1} are known, so x_i is computed for all steps at once; what remains of a step is written out here,
forwards and back through time.  One sum is taken in another order than the paper prints it, which changes nothing but
rounding:

    c_i C = sum_j alpha_ij (h_j C)          h C, like the keys h U_a, is computed once per sentence

and s_{i-1} is multiplied by U_z, U_r and W_a together.

Deviations from the paper: none in the equations.  Padding of the source is masked.  In the layer `AttentiveGRU` all
matrices but U, and v_a, start Glorot-uniform, the paper's with values near 0.
"""

from typing import Any

import numpy as np
from jaxtyping import Bool, Inexact

from minattn.attention.sequence.additive import AdditiveAttention, additive_attention_equation, checked_mask
from minattn.autograd import Array, Tensor, op, ops, xp
from minattn.autograd.backend import matmul
from minattn.autograd.engine import Result, mode
from minattn.nn import initializers as init
from minattn.nn.initializers import Rng
from minattn.nn.kernels.gru import gru_step, gru_step_backward
from minattn.nn.recurrent.gru import gru_cell_equation
from minattn.nn.recurrent.shared import Initializer, RecurrentUnit, side_by_side


def attentive_gru_equation(
    projected: Any, state: Any, keys: Any, values: Any, W_a: Any, v_a: Any, C: Any, U: Any, mask: Any = None
) -> Any:
    """(1.5)-(1.7), step by step."""
    states, contexts, alignment = [], [], []
    for x in ops.unstack(projected, axis=1):
        context, weights = additive_attention_equation(state @ W_a, keys, v_a, values, mask)  # (1.5) (1.6)
        state = gru_cell_equation(x + context @ C, state, U)  # (1.7)
        states.append(state)
        contexts.append(context)
        alignment.append(weights)
    return ops.stack(states, axis=1), ops.stack(contexts, axis=1), ops.stack(alignment, axis=1)


@op(equation=attentive_gru_equation)
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
    """The whole decoder, (1.5)-(1.7), with backpropagation through time written out.

    projected: (B, T, 3n), the x_i; state: (B, n), s_0; keys: (B, S, a), h U_a; values: (B, S, d), the annotations h;
    W_a: (n, a); v_a: (a); C: (d, 3n), [C_z | C_r | C]; U: (n, 3n); mask: (B, S), True = a real position of the source.
    Returns the states s_i (B, T, n), the contexts c_i (B, T, d) and the alignment (B, T, S).
    """
    _check_sizes(projected, state, keys, values, W_a, v_a, C, U)
    module, (batch, time, _), n = xp(state), projected.shape, state.shape[-1]
    source, a, d = keys.shape[1], keys.shape[2], values.shape[2]
    dtype = module.result_type(projected, state, keys, values, W_a, v_a, C, U)
    empty = module.empty
    may_attend = checked_mask(mask, keys)
    keys = module.ascontiguousarray(keys.swapaxes(0, 1))  # the source first: s W_a is added to one slab after the other
    values_C = matmul(values.reshape(batch * source, d), C).reshape(batch, source, 3 * n)
    from_state = module.concatenate([U[:, : 2 * n], W_a], 1)  # [U_z | U_r | W_a]
    kept = time if mode.recording else 1  # what only the backward pass needs is kept for it alone
    hidden = empty((kept, source, batch, a), dtype)
    gates, candidates = empty((kept, batch, 2 * n), dtype), empty((kept, batch, n), dtype)
    alignment = empty((batch, time, source), dtype)
    states = empty((time + 1, batch, n), dtype)
    x = empty((batch, 1, 3 * n), dtype)
    states[0] = state
    for t in range(time):
        k = t % kept
        recurrent = matmul(states[t], from_state)
        module.add(keys, recurrent[:, 2 * n :], hidden[k])
        module.tanh(hidden[k], hidden[k])
        energies = matmul(hidden[k].reshape(source * batch, a), v_a).reshape(source, batch)  # (1.5)
        alignment[:, t] = _softmax(energies, may_attend).T  # (1.6)
        matmul(alignment[:, t : t + 1], values_C, x)  # c_i C
        x += projected[:, t : t + 1]
        gates[k] = recurrent[:, : 2 * n]
        states[t + 1] = gru_step(x[:, 0], states[t], U[:, 2 * n :], gates[k], candidates[k])  # (1.7)
    contexts = matmul(alignment, values)  # (1.6)

    def through_time(g_states: Array, g_alignment: Array) -> tuple[Array, ...]:
        """The gradients before the gates (d_x), by s_0, by s_{i-1} [U_z | U_r | W_a], by the keys, and by v_a."""
        d_x, d_state = empty((batch, time, 3 * n), dtype), module.zeros((batch, n), dtype)
        d_energies = empty((source, batch, 1, time), dtype)
        d_from_state = empty((time, batch, 2 * n + a), dtype)
        d_v = module.zeros((batch, 1, a), dtype)
        to_state, to_reset = (module.ascontiguousarray(m.T) for m in (from_state, U[:, 2 * n :]))
        for t in range(time)[::-1]:
            d_state += g_states[:, t]
            d_state = gru_step_backward(d_state, states[t], to_reset, gates[t], candidates[t], d_x[:, t])
            d_weights = matmul(values_C, d_x[:, t, :, None])[:, :, 0]
            d_weights += g_alignment[:, t]
            d_weights -= (alignment[:, t] * d_weights).sum(1, keepdims=True)
            d_weights *= alignment[:, t]  # by the energies, now
            d_energies[:, :, 0, t] = d_weights.T
            d_v += matmul(d_weights[:, None, :], hidden[t].swapaxes(0, 1))
            slopes = hidden[t]  # of tanh, written over its values: a pullback runs once
            slopes *= slopes
            module.subtract(1, slopes, slopes)
            d_from_state[t, :, : 2 * n] = d_x[:, t, : 2 * n]
            d_from_state[t, :, 2 * n :] = matmul(d_weights[:, None, :], slopes.swapaxes(0, 1))[:, 0] * v_a
            d_state += matmul(d_from_state[t], to_state)
        d_keys = matmul(d_energies, hidden.transpose(1, 2, 0, 3))[:, :, 0] * v_a  # slopes
        return d_x, d_state, d_from_state, d_keys.swapaxes(0, 1), d_v.sum((0, 1))

    def pullback(g_states: Array, g_contexts: Array, g_alignment: Array) -> tuple[Array, ...]:
        by_context = matmul(g_contexts, values.swapaxes(1, 2))
        d_x, d_state, d_from_state, d_keys, d_v = through_time(g_states, by_context + g_alignment)
        # For the weights one product for all steps together.
        rows = time * batch
        past = states[:-1].reshape(rows, n)
        resets = (gates[:, :, n:] * states[:-1]).reshape(rows, n)
        by_state = matmul(past.T, d_from_state.reshape(rows, 2 * n + a))
        by_reset = matmul(resets.T, d_x[:, :, 2 * n :].swapaxes(0, 1).reshape(rows, n))
        d_U = module.concatenate([by_state[:, : 2 * n], by_reset], 1)
        d_W_a = by_state[:, 2 * n :]
        to_source = alignment.swapaxes(1, 2)
        d_values_C = matmul(to_source, d_x).reshape(batch * source, 3 * n)
        d_C = matmul(values.reshape(batch * source, d).T, d_values_C)
        d_values = matmul(d_values_C, C.T).reshape(values.shape)
        d_values += matmul(to_source, g_contexts)
        return d_x, d_state, d_keys, d_values, d_W_a, d_v, d_C, d_U

    return (module.ascontiguousarray(states[1:].swapaxes(0, 1)), contexts, alignment), pullback


def _softmax(energies: Array, may_attend: Array | None) -> Array:
    """(1.6) on energies (S, B), over S; may_attend: (B, S), or None where all of S is real."""
    module = xp(energies)
    if may_attend is None:
        weights = module.exp(energies - energies.real.max(0))
        return weights / weights.sum(0)
    energies = module.where(may_attend.T, energies, -np.inf)
    peak = energies.real.max(0)
    weights = module.exp(energies - module.where(peak == -np.inf, 0, peak))
    total = weights.sum(0)
    return weights / (total + (total == 0))


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
    raise ValueError(
        "expected projected (batch, time, 3n), state (batch, n), keys (batch, source, a), values (batch, source, d), "
        f"W_a (n, a), v_a (a), C (d, 3n) and U (n, 3n); got {projected.shape}, {state.shape}, {keys.shape}, "
        f"{values.shape}, {W_a.shape}, {v_a.shape}, {C.shape} and {U.shape}"
    )


class AttentiveGRU(RecurrentUnit):
    """A gated unit that attends at every step, (1.5)-(1.7).

    inputs: size of x; size: n; annotations: size of an annotation h_j; hidden: n' of the paper.  C: (annotations, 3n);
    W, U and bias as in `GRU`; `attention` has W_a, U_a and v_a.
    """

    def __init__(
        self,
        inputs: int,
        size: int,
        annotations: int,
        hidden: int,
        rng: Rng,
        bias: bool = True,
        weights: Initializer = init.glorot_uniform,
    ) -> None:
        super().__init__(inputs, size, 3, rng, init.zeros((3 * size,)) if bias else None, weights)
        self.C = side_by_side(annotations, size, rng, weights)
        self.attention = AdditiveAttention(size, annotations, hidden, rng, initial="glorot")

    def forward(
        self,
        x: Inexact[Tensor, "batch time inputs"],
        annotations: Inexact[Tensor, "batch source annotation"],
        state: Inexact[Tensor, "batch size"],
        mask: Bool[Array, "batch source"] | None = None,
    ) -> tuple[
        Inexact[Tensor, "batch time size"],
        Inexact[Tensor, "batch time annotation"],
        Inexact[Tensor, "batch time source"],
    ]:
        """(states s_i, contexts c_i, alignment) for the inputs x_i, from state s_0; mask: True = a real position."""
        keys, W_a, v_a = self.attention.keys(annotations), self.attention.W_a, self.attention.v_a
        return attentive_gru(self.project(x), state, keys, annotations, W_a, v_a, self.C, self.U, mask)
