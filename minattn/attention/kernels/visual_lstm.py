"""The decoder of captions, whole sequences in one op, with backpropagation through time.

The equation is on `sequence/visual_lstm.py`.  For t = 1, 2, ..:

    alpha_t  = softmax(tanh(p + h_{t-1} W_d) U + c), over the locations of the image      (a)
    beta_t   = sigma(h_{t-1} W_beta + b_beta)                                          (b)
    z_t      = beta_t sum_i s_ti a_i, s_t = alpha_t                                    (c)
             or s_t one-hot, drawn from alpha_t                                        (d)
    h_t, c_t = LSTM of x_t + z_t W_z, h_{t-1} and c_{t-1}                              (e)

Two things make it fast and change nothing but rounding.  h_{t-1} is multiplied by U, W_d and W_beta at once.  The
gradients of parameters are one product each over all steps, after backpropagation through time; that of p is summed
while it goes, so that what tanh gave is written over with its slopes.

Letters of shapes: B batch, T words, L locations, n state, a hidden layer of the attention, D annotation, q = 4n + a,
and 1 more with a gate.
"""

from typing import Any, NamedTuple

from minattn.attention.kernels.softmax import softmax, softmax_gradient
from minattn.autograd import Array, xp
from minattn.autograd.backend import like, matmul
from minattn.autograd.engine import Result, mode
from minattn.autograd.ops.activations import sigmoid_of
from minattn.errors import ShapeError
from minattn.nn.kernels.lstm import lstm_pointwise, lstm_step_backward


class Inputs(NamedTuple):
    """What every step reads, laid out for its products."""

    projected: Array  # (B, T, 4n), the x_t
    keys: Array  # (B, L, a), p
    annotations: Array  # (B, L, D)
    from_state: Array  # (n, q), [U | W_d | W_beta]
    U_att: Array  # (a)
    c_att: Array  # (1,)
    W_z: Array  # (D, 4n)
    b_beta: Array | None  # (1,), None without a gate
    draws: Array | None  # (B, T), None where nothing is drawn
    sampled: Array | None  # (B, 1)


class Steps(NamedTuple):
    """What the steps compute.  Without a gradient, what only the backward pass needs is kept of one step."""

    states: Array  # (T + 1, B, n), h_0 .. h_T
    cells: Array  # (T + 1, B, n)
    weights: Array  # (B, T, L), alpha
    locations: Array  # (B, T, L), s; the same memory as the weights where nothing is drawn
    contexts: Array  # (T, B, D), z
    beta: Array | None  # (T, B, 1)
    hidden: Array  # (T, B, L, a), tanh(p + h_{t-1} W_d)
    gates: Array  # (T, B, 4n), [i | f | o | g]
    closed: Array  # (T, B, 3n), 1 - [i | f | o]
    squashed: Array  # (T, B, n), tanh of the cells


class StepGradients(NamedTuple):
    """What backpropagation through time leaves, step by step."""

    d_from_state: Array  # (T, B, q), of h_{t-1} [U | W_d | W_beta]; the first 4n are those of x_t + z_t W_z too
    d_sums: Array  # (B, T, D), of sum_i s_ti a_i
    d_keys: Array  # (B, L, a)
    d_U_att: Array  # (B, 1, a)
    d_c_att: Array  # (1,)


def sampled_locations(weights: Array, draws: Array) -> Array:
    """s (.., L) one-hot: the location where the sum of the weights (.., L) goes beyond the draws (..), in [0, 1)."""
    module, weights = xp(weights), weights.real
    sums = module.cumsum(weights, -1)
    before = sums <= (draws * sums[..., -1])[..., None]  # rounding may let all weights sum to less than 1
    return (module.arange(weights.shape[-1]) == before.sum(-1)[..., None]).astype(weights.dtype)


def visual_lstm(
    projected: Array,
    hidden: Array,
    cell: Array,
    keys: Array,
    annotations: Array,
    W_d: Array,
    U_att: Array,
    c_att: Array,
    W_z: Array,
    U: Array,
    W_beta: Array | None = None,
    b_beta: Array | None = None,
    /,
    draws: Any = None,
    sampled: Any = None,
) -> Result:
    """The LSTM with visual attention before every word, over a whole caption, in one op.

    projected: (B, T, 4n), the x_t; hidden, cell: (B, n), before the first word; keys: (B, L, a), p; annotations:
    (B, L, D); W_d: (n, a); U_att: (a); c_att: (1); W_z: (D, 4n); U: (n, 4n); W_beta (n, 1) and b_beta (1): of the gate.
    draws: (B, T), uniform in [0, 1), by which the locations of the captions that are `sampled` (B,) are drawn; through
    drawn locations no gradient goes to the weights.
    Returns the states h_t (B, T, n), the contexts z_t (B, T, D) and the weights alpha_t (B, T, L).
    """
    _check_sizes(projected, hidden, cell, keys, annotations, W_d, U_att, c_att, W_z, U, W_beta, b_beta, draws, sampled)
    given = (projected, hidden, cell, keys, annotations, W_d, U_att, c_att, W_z, U, W_beta, b_beta)
    module, dtype = xp(hidden), xp(hidden).result_type(*(array for array in given if array is not None))
    (batch, time, _), n, a = projected.shape, hidden.shape[1], len(U_att)
    inputs = Inputs(
        *(projected, keys, annotations),
        module.concatenate([matrix for matrix in (U, W_d, W_beta) if matrix is not None], 1),
        *(U_att, c_att, W_z, b_beta),
        None if draws is None else like(draws, keys),
        None if draws is None else like(sampled, keys).reshape(batch, 1),
    )
    steps = _allocate(inputs, hidden, cell, dtype)
    for t in range(time):
        _step(t, inputs, steps)

    def pullback(g_states: Array, g_contexts: Array, g_weights: Array) -> tuple[Any, ...]:
        gradients, d_hidden, d_cell = _through_time(inputs, steps, g_states, g_contexts, g_weights)
        rows = time * batch
        of_rows = gradients.d_from_state.reshape(rows, gradients.d_from_state.shape[2])
        d_matrix = matmul(steps.states[:-1].reshape(rows, n).T, of_rows)
        d_W_z = matmul(steps.contexts.reshape(rows, steps.contexts.shape[2]).T, of_rows[:, : 4 * n])
        d_annotations = matmul(steps.locations.swapaxes(1, 2), gradients.d_sums)
        d_projected = module.ascontiguousarray(gradients.d_from_state[:, :, : 4 * n].swapaxes(0, 1))
        d_W_beta = d_b_beta = None
        if b_beta is not None:
            d_W_beta, d_b_beta = d_matrix[:, 4 * n + a :], of_rows[:, 4 * n + a :].sum(0)
        return (
            *(d_projected, d_hidden, d_cell, gradients.d_keys * U_att, d_annotations),
            *(d_matrix[:, 4 * n : 4 * n + a], gradients.d_U_att.sum((0, 1)), gradients.d_c_att, d_W_z),
            *(d_matrix[:, : 4 * n], d_W_beta, d_b_beta),
        )

    by_caption = (module.ascontiguousarray(array.swapaxes(0, 1)) for array in (steps.states[1:], steps.contexts))
    return (*by_caption, steps.weights), pullback


# ---------------------------------------------------------------------------------------------- forward
def _allocate(inputs: Inputs, hidden: Array, cell: Array, dtype: Any) -> Steps:
    """Memory for all steps, with what the first starts from in it."""
    empty, (batch, time, _), n = xp(hidden).empty, inputs.projected.shape, hidden.shape[1]
    _, locations, a = inputs.keys.shape
    kept = time if mode.recording else 1
    weights = empty((batch, time, locations), dtype)
    steps = Steps(
        states=empty((time + 1, batch, n), dtype),
        cells=empty((time + 1, batch, n), dtype),
        weights=weights,
        locations=weights if inputs.draws is None else empty((batch, time, locations), dtype),
        contexts=empty((time, batch, inputs.annotations.shape[2]), dtype),
        beta=None if inputs.b_beta is None else empty((time, batch, 1), dtype),
        hidden=empty((kept, batch, locations, a), dtype),
        gates=empty((kept, batch, 4 * n), dtype),
        closed=empty((kept, batch, 3 * n), dtype),
        squashed=empty((kept, batch, n), dtype),
    )
    steps.states[0], steps.cells[0] = hidden, cell
    return steps


def _step(t: int, inputs: Inputs, steps: Steps) -> None:
    """One step of the decoder: the attention of h_{t-1}, its context, and from these h_t."""
    (n, a), k = (steps.states.shape[2], len(inputs.U_att)), t % len(steps.gates)
    from_state = matmul(steps.states[t], inputs.from_state)
    steps.weights[:, t] = _attend(from_state[:, 4 * n : 4 * n + a], inputs, steps.hidden[k])
    if inputs.draws is not None:
        drawn = sampled_locations(steps.weights[:, t], inputs.draws[:, t])
        steps.locations[:, t] = xp(drawn).where(inputs.sampled, drawn, steps.weights[:, t])  # (d)
    context = matmul(steps.locations[:, t, None, :], inputs.annotations)[:, 0]
    if inputs.b_beta is not None:
        steps.beta[t] = sigmoid_of(from_state[:, 4 * n + a :] + inputs.b_beta)  # (b)
        context *= steps.beta[t]
    steps.contexts[t] = context  # (c)
    gates = matmul(context, inputs.W_z, steps.gates[k])
    gates += from_state[:, : 4 * n]
    gates += inputs.projected[:, t]
    steps.states[t + 1], steps.cells[t + 1] = lstm_pointwise(
        steps.cells[t], gates, steps.closed[k], steps.squashed[k]
    )  # (e)


def _attend(query: Array, inputs: Inputs, hidden: Array) -> Array:
    """The weights (B, L) of the query h_{t-1} W_d; leaves the values of tanh in `hidden` (B, L, a)."""
    module, (batch, locations, a) = xp(query), hidden.shape
    module.add(inputs.keys, query[:, None, :], hidden)
    module.tanh(hidden, hidden)
    energies = matmul(hidden.reshape(batch * locations, a), inputs.U_att).reshape(batch, locations)
    energies += inputs.c_att
    return softmax(energies)  # (a)


# ---------------------------------------------------------------------------------------------- backward
def _through_time(
    inputs: Inputs, steps: Steps, g_states: Array, g_contexts: Array, g_weights: Array
) -> tuple[StepGradients, Array, Array]:
    """Backpropagation through time, the last step first: what every step leaves, the gradients of h_0 and c_0."""
    module, dtype, (batch, time, _), n = xp(g_states), steps.states.dtype, g_states.shape, steps.states.shape[2]
    a = len(inputs.U_att)
    gradients = StepGradients(
        d_from_state=module.empty((time, batch, inputs.from_state.shape[1]), dtype),
        d_sums=module.empty((batch, time, inputs.annotations.shape[2]), dtype),
        d_keys=module.zeros(inputs.keys.shape, dtype),
        d_U_att=module.zeros((batch, 1, a), dtype),
        d_c_att=module.zeros((1,), dtype),
    )
    d_hidden, d_cell = module.zeros((2, batch, n), dtype)
    to_state, to_context = (module.ascontiguousarray(matrix.T) for matrix in (inputs.from_state, inputs.W_z))
    for t in reversed(range(time)):
        d_hidden += g_states[:, t]
        d_gates, d_cell = lstm_step_backward(
            d_hidden, d_cell, steps.cells[t], steps.gates[t], steps.closed[t], steps.squashed[t]
        )
        d_from_state = gradients.d_from_state[t]
        d_from_state[:, : 4 * n] = d_gates
        d_context = matmul(d_gates, to_context)
        d_context += g_contexts[:, t]
        if inputs.b_beta is not None:
            d_from_state[:, 4 * n + a :] = _gate_backward(t, d_context, inputs, steps)
            d_context *= steps.beta[t]
        gradients.d_sums[:, t] = d_context
        _attend_backward(t, d_context, g_weights[:, t], inputs, steps, gradients)
        d_hidden = matmul(d_from_state, to_state)
    return gradients, d_hidden, d_cell


def _gate_backward(t: int, d_context: Array, inputs: Inputs, steps: Steps) -> Array:
    """The gradient of h W_beta:  dz . (z / beta) beta (1 - beta) = dz . z (1 - beta)."""
    return (d_context * steps.contexts[t]).sum(1, keepdims=True) * (1 - steps.beta[t])


def _attend_backward(
    t: int, d_context: Array, g_weights: Array, inputs: Inputs, steps: Steps, gradients: StepGradients
) -> None:
    """The backward pass through the attention of one step, to the query, the keys, U and c.

    With P the weights and H the values of tanh:  dP = dz a^T + what the weights get, but of drawn locations the latter
    alone;  dE = P o (dP - <dP, P>);  dU = dE H;  dp = dE (1 - H^2) o U.  Leaves dE (1 - H^2) where H was.
    """
    n = steps.states.shape[2]
    d_weights = matmul(inputs.annotations, d_context[:, :, None])[:, :, 0]
    if inputs.draws is not None:
        d_weights = xp(d_weights).where(inputs.sampled, 0, d_weights)
    d_weights += g_weights
    d_energies = softmax_gradient(d_weights, steps.weights[:, t])
    slopes, d_U_att, d_c_att, d_keys = steps.hidden[t], gradients.d_U_att, gradients.d_c_att, gradients.d_keys
    d_U_att += matmul(d_energies[:, None, :], slopes)
    d_c_att += d_energies.sum()
    slopes *= slopes
    xp(slopes).subtract(1, slopes, slopes)
    slopes *= d_energies[:, :, None]
    d_keys += slopes
    gradients.d_from_state[t, :, 4 * n : 4 * n + len(inputs.U_att)] = slopes.sum(1) * inputs.U_att


def _check_sizes(
    projected: Array,
    hidden: Array,
    cell: Array,
    keys: Array,
    annotations: Array,
    W_d: Array,
    U_att: Array,
    c_att: Array,
    W_z: Array,
    U: Array,
    W_beta: Array | None,
    b_beta: Array | None,
    draws: Any,
    sampled: Any,
) -> None:
    if (projected.ndim, hidden.ndim, keys.ndim, annotations.ndim) != (3, 2, 3, 3) or not annotations.shape[1]:
        raise ShapeError(
            "expected projected (batch, words, 4n), hidden (batch, n), keys (batch, locations, a) and annotations "
            f"(batch, locations, D), locations at least 1; got {projected.shape}, {hidden.shape}, {keys.shape} and "
            f"{annotations.shape}"
        )
    (batch, time, _), (_, n), (_, locations, a), D = projected.shape, hidden.shape, keys.shape, annotations.shape[2]
    expected = {
        "projected": (projected, (batch, time, 4 * n)),
        "hidden": (hidden, (batch, n)),
        "cell": (cell, (batch, n)),
        "keys": (keys, (batch, locations, a)),
        "annotations": (annotations, (batch, locations, D)),
        "W_d": (W_d, (n, a)),
        "U_att": (U_att, (a,)),
        "c_att": (c_att, (1,)),
        "W_z": (W_z, (D, 4 * n)),
        "U": (U, (n, 4 * n)),
        "W_beta": (W_beta, (n, 1)),
        "b_beta": (b_beta, (1,)),
        "draws": (draws, (batch, time)),
        "sampled": (sampled, (batch,)),
    }
    wrong = [
        f"{name} {tuple(array.shape)}, expected {shape}"
        for name, (array, shape) in expected.items()
        if array is not None and tuple(array.shape) != shape
    ]
    pairs = {"W_beta and b_beta": (W_beta, b_beta), "draws and sampled": (draws, sampled)}
    wrong += [f"{names}, one without the other" for names, (x, y) in pairs.items() if (x is None) != (y is None)]
    if wrong:
        raise ShapeError(f"sizes that do not fit: {'; '.join(wrong)}")
