"""A stacked LSTM that attends at every step and feeds the attentional vector into the next: Luong's decoder.

M.-T. Luong, H. Pham and C. D. Manning, "Effective approaches to attention-based neural machine translation", EMNLP
2015, section 3, in row vectors, for t = 1, 2, .., with h~_0 = 0:

    h_t^1 = LSTM of [E y_{t-1} ; h~_{t-1}] and h_{t-1}^1                       (a)  input feeding, section 3.3
    h_t^l = LSTM of h_t^{l-1} and h_{t-1}^l, for the layers l = 2 .. L          (b)
    c_t   = global or local attention of h_t = h_t^L                           (c)  sections 3.1 and 3.2
    h~_t  = tanh([c_t ; h_t] W_c)                                              (5)

In training all y_{t-1} are known, so the contribution of E y_{t-1} to the gates is computed for all steps at once; the
op below does the rest.  It owns no parameters: those of (c) are in `GlobalAttention` and `LocalAttention`, those of the
LSTMs and W_c in the decoder.

Deviations from the paper: none but those of the attention.
"""

from typing import Any

from minattn.attention.kernels import attentional_lstm as kernels
from minattn.attention.sequence.luong import attentional_vector, global_attention
from minattn.attention.sequence.luong_local import local_attention
from minattn.autograd import op, ops
from minattn.nn.masks import padding_mask
from minattn.nn.recurrent.lstm import lstm_cell_equation
from minattn.nn.recurrent.shared import zero_state


def attentional_lstm_equation(
    projected: Any,
    hidden: Any,
    cell: Any,
    layers: Any,
    keys: Any,
    values: Any,
    W_c: Any,
    bias: Any = None,
    W_a: Any = None,
    v_a: Any = None,
    W_p: Any = None,
    v_p: Any = None,
    mask: Any = None,
    window: int | None = None,
    sigma: float | None = None,
    keep: Any = None,
) -> Any:
    """The decoder step by step; layers: matrices that multiply [input ; own state]; keep: dropout of the inputs."""
    h, c = list(ops.unstack(hidden)), list(ops.unstack(cell))
    vector, vectors, alignment = zero_state(projected, W_c.shape[1]), [], []
    mask = padding_mask(mask, values)
    if mask is not None:  # padding may hold anything, and 0 times NaN is NaN
        keys, values = (ops.where(mask[:, :, None], x, 0.0) for x in (keys, values))
    source = (keys, values, W_a, v_a)
    for t, added in enumerate(ops.unstack(projected, axis=1)):
        below = vector
        for i, matrix in enumerate(ops.unstack(layers)):
            below = below if keep is None else below * keep[i, t]
            added = added if bias is None else added + bias[i]
            h[i], c[i] = lstm_cell_equation(added, ops.concat([below, h[i]], axis=-1), c[i], matrix)  # (a) (b)
            below, added = h[i], 0.0
        state = ops.expand_dims(below, 1)
        if window is None:
            context, weights = global_attention(state, *source, mask)  # (c)
        else:
            context, weights = local_attention(state, *source, W_p, v_p, mask, window, sigma, first=t)  # (c)
        vector = attentional_vector(context, state, W_c)[:, 0]  # (5)
        vectors.append(vector)
        alignment.append(weights[:, 0])
    return ops.stack(vectors, axis=1), ops.stack(alignment, axis=1)


attentional_lstm = op(kernels.attentional_lstm, equation=attentional_lstm_equation)
