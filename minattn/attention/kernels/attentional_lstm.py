"""The decoder of Luong et al., whole sequences in one op, with backpropagation through time.

The equation is on `sequence/attentional_lstm.py`.  For t = 1, 2, .., with h~_0 = 0:

    h_t^1 = LSTM of [E y_{t-1} ; h~_{t-1}] and h_{t-1}^1                          (a)
    h_t^l = LSTM of h_t^{l-1} and h_{t-1}^l, for the layers l = 2 .. L            (b)
    a_t   = softmax of the scores of h_t = h_t^L                                  (c)
            for local-p over the window around p_t (9), and times a Gaussian      (10)
    h~_t  = tanh(c_t W + h_t W'), c_t = sum_s a_t(s) hbar_s, W_c = [W ; W']       (5)

Four things make it fast and change nothing but rounding.  What E y_{t-1} adds to the gates is computed before, for all
steps at once.  c_t W is taken as sum_s a_t(s) (hbar_s W), hbar W once for the whole sequence.  A layer's input and its
own state stand side by side, and h_t is multiplied by W', W_a and W_p at once: one product each.  The gradients of the
parameters are one product each over all steps, after backpropagation through time has left what they need.

Letters of shapes: B batch, T steps of the target, S positions of the source, L layers, n state, a alignment, p position
layer, d size of the encoder's states, q = n and the columns of W_a and W_p.
"""

from typing import Any, NamedTuple

from minattn.attention.kernels.luong import (
    AdditiveScores,
    LocationScores,
    PredictedWindow,
    ProductScores,
    monotonic_windows,
    source_lengths,
)
from minattn.attention.kernels.softmax import softmax, softmax_gradient
from minattn.autograd import Array, xp
from minattn.autograd.backend import like, matmul
from minattn.autograd.engine import Result, mode
from minattn.errors import ConfigError, ShapeError
from minattn.nn.kernels.lstm import lstm_step, lstm_step_backward
from minattn.nn.masks import padding_mask, without_padding


class Inputs(NamedTuple):
    """What every step reads, laid out for its products."""

    projected: Array  # (B, T, 4n), what E y_{t-1} adds to the gates of the first layer
    layers: Array  # (L, 2n, 4n), by which [input ; own state] is multiplied
    bias: Array | None  # (L, 4n)
    keep: Array | None  # (L, T, B, n), what dropout multiplies the inputs of the layers by
    from_state: Array  # (n, q), [W' | W_a | W_p]
    values_W: Array  # (B, S, n), hbar W
    scores: ProductScores | LocationScores | AdditiveScores
    window: PredictedWindow | None  # of local-p
    may_attend: Array | None  # (B or 1, T or 1, S), padding and the windows of local-m; None where all may be attended


class Steps(NamedTuple):
    """What the steps compute.  Without a gradient, what only the backward pass needs is kept of one step."""

    joined: Array  # (L, T + 1, B, 2n), [input ; own state before the step]
    cells: Array  # (L, T + 1, B, n), before the step
    gates: Array  # (L, T, B, 4n), [i | f | o | g]
    closed: Array  # (L, T, B, 3n), 1 - [i | f | o]
    squashed: Array  # (L, T, B, n), tanh of the cells
    vectors: Array  # (T + 1, B, n), h~_0 .. h~_T
    alignment: Array  # (B, T, S), the weights


class StepGradients(NamedTuple):
    """What backpropagation through time leaves, step by step."""

    d_gates: Array  # (L, T, B, 4n), before the squashing
    d_from_state: Array  # (T, B, q), of h_t [W' | W_a | W_p]; the first n are also those before the tanh of (5)
    d_scores: Array  # (B, T, S)


def attentional_lstm(
    projected: Array,
    hidden: Array,
    cell: Array,
    layers: Array,
    keys: Array,
    values: Array,
    W_c: Array,
    bias: Array | None = None,
    W_a: Array | None = None,
    v_a: Array | None = None,
    W_p: Array | None = None,
    v_p: Array | None = None,
    /,
    mask: Any = None,
    window: int | None = None,
    sigma: float | None = None,
    keep: Any = None,
) -> Result:
    """The stacked LSTM with attention and input feeding, over a whole sequence, in one op.

    projected: (B, T, 4n), E y_{t-1} times its part of the first layer's matrix; hidden, cell: (L, B, n), before the
    first step; layers: (L, 2n, 4n), the first for [h~_{t-1} ; h_{t-1}^1], the others for [h_t^{l-1} ; h_{t-1}^l];
    bias: (L, 4n); values: (B, S, d), hbar; keys: (B, S, a), W_a, v_a: as in `scores`; W_c: (d + n, n).
    window: D of local attention, None for global.  With W_p (n, p) and v_p (p) it is local-p, sigma its Gaussian's.
    mask: (B, S), True = a real position of the source.  keep: (L, T, B, n), by which the inputs of the layers (h~ for
    the first) are multiplied, as dropout does.  Returns h~ (B, T, n) and the weights (B, T, S).
    """
    given = projected, hidden, cell, layers, keys, values, W_c, bias, W_a, v_a, W_p, v_p
    keep = None if keep is None else like(keep, values)
    _check_sizes(*given, keep)
    local_p = W_p is not None
    if local_p != (v_p is not None) or (W_a is None and v_a is not None) or (local_p and None in (window, sigma)):
        raise ConfigError(
            "v_a needs W_a, W_p and v_p each other, a window and sigma; hint: the attention's own parameters"
        )
    module, (batch, source, d), n = xp(values), values.shape, W_c.shape[1]
    time, kept = projected.shape[1], projected.shape[1] if mode.recording else 1
    dtype = module.result_type(*(array for array in given if array is not None))
    mask = padding_mask(mask, values)
    keys, values = without_padding(mask, keys), without_padding(mask, values)
    predicted = None
    if W_p is not None:
        length = source_lengths(mask, values)
        predicted = PredictedWindow(v_p, length, source, batch, window, sigma, kept, dtype)
    inputs = Inputs(
        projected=projected,
        layers=layers,
        bias=bias,
        keep=keep,
        from_state=module.concatenate([x for x in (W_c[d:], W_a, W_p) if x is not None], 1),
        values_W=matmul(values.reshape(batch * source, d), W_c[:d]).reshape(batch, source, n),
        scores=_scores(keys, W_a, v_a, kept, dtype),
        window=predicted,
        may_attend=_may_attend(mask, values, window if W_p is None else None, time),
    )
    steps = _allocate(inputs, hidden, cell, dtype)
    for t in range(time):
        _step(t, inputs, steps)

    def pullback(g_vectors: Array, g_alignment: Array) -> tuple[Any, ...]:
        gradients, d_hidden, d_cell = _through_time(inputs, steps, g_vectors, g_alignment)
        d_layers, d_bias = _layer_gradients(inputs, steps, gradients)
        d_W_below, d_W_a, d_W_p = _state_gradients(inputs, steps, gradients)
        d_values, d_W_above = _source_gradients(steps, gradients, values, W_c[:d])
        states = steps.joined[-1, 1:, :, n:].swapaxes(0, 1)
        d_keys, d_v_a = inputs.scores.gradients(gradients.d_scores, states)
        d_v_p = None if inputs.window is None else inputs.window.d_v_p
        d_projected = module.ascontiguousarray(gradients.d_gates[0].swapaxes(0, 1))
        d_W_c = module.concatenate([d_W_above, d_W_below])
        recurrent = d_projected, d_hidden, d_cell, d_layers
        return *recurrent, d_keys, d_values, d_W_c, d_bias, d_W_a, d_v_a, d_W_p, d_v_p

    return (module.ascontiguousarray(steps.vectors[1:].swapaxes(0, 1)), steps.alignment), pullback


# ---------------------------------------------------------------------------------------------- forward
def _scores(keys: Array, W_a: Any, v_a: Any, kept: int, dtype: Any) -> ProductScores | LocationScores | AdditiveScores:
    if W_a is None:
        return ProductScores(keys)
    return LocationScores(keys.shape[1]) if v_a is None else AdditiveScores(keys, v_a, kept, dtype)


def _may_attend(mask: Array | None, values: Array, window: int | None, time: int) -> Array | None:
    """Padding, and the windows of local-m where `window` is not None."""
    if window is None:
        return None if mask is None else mask[:, None]
    windows = monotonic_windows(mask, values, range(time), window)
    return windows if mask is None else windows & mask[:, None]


def _allocate(inputs: Inputs, hidden: Array, cell: Array, dtype: Any) -> Steps:
    """Memory for all steps, with what the first starts from in it."""
    module, (batch, time, _), (layers, _, n) = xp(hidden), inputs.projected.shape, hidden.shape
    (kept, slots), source = (time, time + 1) if mode.recording else (1, 1), inputs.values_W.shape[1]
    steps = Steps(
        joined=module.empty((layers, slots, batch, 2 * n), dtype),
        cells=module.empty((layers, slots, batch, n), dtype),
        gates=module.empty((layers, kept, batch, 4 * n), dtype),
        closed=module.empty((layers, kept, batch, 3 * n), dtype),
        squashed=module.empty((layers, kept, batch, n), dtype),
        vectors=module.empty((time + 1, batch, n), dtype),
        alignment=module.empty((batch, time, source), dtype),
    )
    steps.joined[:, 0, :, n:], steps.cells[:, 0], steps.vectors[0] = hidden, cell, 0
    return steps


def _step(t: int, inputs: Inputs, steps: Steps) -> None:
    """One step of the decoder: the layers from the first to the last, the attention of the last, h~."""
    k, after, n = t % steps.gates.shape[1], (t + 1) % steps.cells.shape[1], steps.cells.shape[-1]
    below = steps.vectors[t]
    for i, matrix in enumerate(inputs.layers):
        joined = steps.joined[i, k]
        joined[:, :n] = below if inputs.keep is None else below * inputs.keep[i, t]
        added = inputs.projected[:, t] if i == 0 else 0.0
        if inputs.bias is not None:
            added = added + inputs.bias[i]
        below, steps.cells[i, after] = lstm_step(
            added, joined, steps.cells[i, k], matrix, steps.gates[i, k], steps.closed[i, k], steps.squashed[i, k]
        )  # (a) (b)
        steps.joined[i, after, :, n:] = below
    from_state = matmul(below, inputs.from_state)
    weights = _attend(t, k, below, from_state[:, n:], inputs)
    steps.alignment[:, t] = weights
    vector = matmul(weights[:, None, :], inputs.values_W)[:, 0]
    vector += from_state[:, :n]
    xp(vector).tanh(vector, steps.vectors[t + 1])  # (5)


def _attend(t: int, k: int, state: Array, queries: Array, inputs: Inputs) -> Array:
    """The weights (B, S) of the state h_t, whose queries are h_t [W_a | W_p]."""
    split, may_attend = inputs.scores.queries, None
    scores = inputs.scores.forward(k, state, queries[:, :split])
    if inputs.may_attend is not None:
        may_attend = inputs.may_attend[:, t % inputs.may_attend.shape[1]]
    if inputs.window is None:
        return softmax(scores, may_attend)  # (c)
    within = inputs.window.within(k, queries[:, split:])  # (9)
    align = softmax(scores, within if may_attend is None else within & may_attend)
    return inputs.window.weigh(k, align)  # (10)


# ---------------------------------------------------------------------------------------------- backward
def _through_time(
    inputs: Inputs, steps: Steps, g_vectors: Array, g_alignment: Array
) -> tuple[StepGradients, Array, Array]:
    """Backpropagation through time, the last step first: what every step leaves, the gradients of hidden and cell."""
    module, dtype, (layers, time, batch, n) = xp(g_vectors), steps.cells.dtype, steps.squashed.shape
    gradients = StepGradients(
        d_gates=module.empty((layers, time, batch, 4 * n), dtype),
        d_from_state=module.empty((time, batch, inputs.from_state.shape[1]), dtype),
        d_scores=module.empty(steps.alignment.shape, dtype),
    )
    d_hidden, d_cell = module.zeros((2, layers, batch, n), dtype)
    d_below = module.zeros((batch, n), dtype)
    to_inputs = [module.ascontiguousarray(matrix.T) for matrix in inputs.layers]
    to_state = module.ascontiguousarray(inputs.from_state.T)
    for t in reversed(range(time)):
        d_vector = d_below + g_vectors[:, t]
        d_below = _attend_backward(t, d_vector, g_alignment[:, t], inputs, steps, gradients)
        d_below += matmul(gradients.d_from_state[t], to_state)
        for i in reversed(range(layers)):
            d_below += d_hidden[i]
            d_gates, d_cell[i] = lstm_step_backward(
                d_below, d_cell[i], steps.cells[i, t], steps.gates[i, t], steps.closed[i, t], steps.squashed[i, t]
            )
            gradients.d_gates[i, t] = d_gates
            d_joined = matmul(d_gates, to_inputs[i])
            d_below, d_hidden[i] = d_joined[:, :n], d_joined[:, n:]
            if inputs.keep is not None:
                d_below *= inputs.keep[i, t]
    return gradients, d_hidden, d_cell


def _attend_backward(
    t: int, d_vector: Array, g_alignment: Array, inputs: Inputs, steps: Steps, gradients: StepGradients
) -> Any:
    """The backward pass from h~_t to h_t W', h_t W_a and h_t W_p, and to the scores.

    Returns what the scores give to h_t itself.  With P the softmax:  da = (1 - h~^2) dh~ (hbar W)^T + what the weights
    get;  dP = da times the Gaussian;  dE = P o (dP - <dP, P>).
    """
    n, split = steps.vectors.shape[-1], steps.vectors.shape[-1] + inputs.scores.queries
    vector, d_from_state, weights = steps.vectors[t + 1], gradients.d_from_state[t], steps.alignment[:, t]
    slopes = vector * vector
    xp(slopes).subtract(1, slopes, slopes)
    d_before = xp(slopes).multiply(slopes, d_vector, d_from_state[:, :n])
    d_align = matmul(inputs.values_W, d_before[:, :, None])[:, :, 0]
    d_align += g_alignment
    align = weights
    if inputs.window is not None:
        d_align = inputs.window.backward(t, d_align, weights, d_from_state[:, split:])
        align = inputs.window.align[t]
    d_scores = softmax_gradient(d_align, align)
    gradients.d_scores[:, t] = d_scores
    return inputs.scores.backward(t, d_scores, d_from_state[:, n:split])


# ---------------------------------------------------------------------------------------------- over all steps
def _layer_gradients(inputs: Inputs, steps: Steps, gradients: StepGradients) -> tuple[Array, Any]:
    """The gradients of the layers' matrices and biases."""
    layers, time, batch, n = steps.squashed.shape
    joined = steps.joined[:, :time].reshape(layers, time * batch, 2 * n)
    d_gates = gradients.d_gates.reshape(layers, time * batch, 4 * n)
    return matmul(joined.swapaxes(1, 2), d_gates), None if inputs.bias is None else d_gates.sum(1)


def _state_gradients(inputs: Inputs, steps: Steps, gradients: StepGradients) -> tuple[Array, Any, Any]:
    """The gradients of W', W_a and W_p, by which h_t is multiplied."""
    _, time, batch, n = steps.squashed.shape
    states = steps.joined[-1, 1:, :, n:].reshape(time * batch, n)
    d_matrix = matmul(states.T, gradients.d_from_state.reshape(time * batch, inputs.from_state.shape[1]))
    split = n + inputs.scores.queries
    d_W_a = d_matrix[:, n:split] if inputs.scores.queries else None
    return d_matrix[:, :n], d_W_a, None if inputs.window is None else d_matrix[:, split:]


def _source_gradients(steps: Steps, gradients: StepGradients, values: Array, W: Array) -> tuple[Array, Array]:
    """The gradients of the values and of W, from those of hbar W."""
    (batch, source, d), n = values.shape, W.shape[1]
    d_before = gradients.d_from_state[:, :, :n].swapaxes(0, 1)
    d_values_W = matmul(steps.alignment.swapaxes(1, 2), d_before).reshape(batch * source, n)
    d_values = matmul(d_values_W, W.T).reshape(values.shape)
    return d_values, matmul(values.reshape(batch * source, d).T, d_values_W)


def _check_sizes(
    projected: Array,
    hidden: Array,
    cell: Array,
    layers: Array,
    keys: Array,
    values: Array,
    W_c: Array,
    bias: Array | None,
    W_a: Array | None,
    v_a: Array | None,
    W_p: Array | None,
    v_p: Array | None,
    keep: Any,
) -> None:
    if (projected.ndim, hidden.ndim, keys.ndim, values.ndim) != (3, 3, 3, 3) or not values.shape[1]:
        raise ShapeError(
            "expected projected (batch, time, 4n), hidden (layers, batch, n), keys (batch, source, a) and values "
            "(batch, source, d), source at least 1; "
            f"got {projected.shape}, {hidden.shape}, {keys.shape} and {values.shape}"
        )
    (batch, time, _), (depth, _, n), (_, source, d) = projected.shape, hidden.shape, values.shape
    a, p = n if v_a is None else len(v_a), 0 if v_p is None else len(v_p)
    location = W_a is not None and v_a is None
    expected = {
        "projected": (projected, (batch, time, 4 * n)),
        "hidden": (hidden, (depth, batch, n)),
        "cell": (cell, (depth, batch, n)),
        "layers": (layers, (depth, 2 * n, 4 * n)),
        "keys": (keys, (batch, source, keys.shape[2] if location else a)),
        "values": (values, (batch, source, d)),
        "W_c": (W_c, (d + n, n)),
        "bias": (bias, (depth, 4 * n)),
        "W_a": (W_a, (n, source if location else a)),
        "v_a": (v_a, (a,)),
        "W_p": (W_p, (n, p)),
        "v_p": (v_p, (p,)),
        "keep": (keep, (depth, time, batch, n)),
    }
    wrong = [
        f"{name} {tuple(array.shape)}, expected {shape}"
        for name, (array, shape) in expected.items()
        if array is not None and tuple(array.shape) != shape
    ]
    if wrong:
        raise ShapeError(f"sizes that do not fit: {'; '.join(wrong)}")
