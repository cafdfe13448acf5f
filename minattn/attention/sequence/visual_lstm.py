"""The caption decoder: an LSTM that attends to an image before every word.

K. Xu et al., "Show, attend and tell: neural image caption generation with visual attention", ICML 2015, sections 3.1.2
and 4, in row vectors, for t = 1, 2, ..:

    alpha_t  = softmax over i of tanh(p_i + h_{t-1} W_d) U + c         (a)  section 3.1.2, as in `visual.py`
    beta_t   = sigma(h_{t-1} W_beta + b_beta)                          (b)  section 4.2.1
    z_t      = beta_t sum_i s_ti a_i, s_t = alpha_t                    (c)  section 4.2, soft attention
             with s_t drawn from alpha_t                               (d)  section 4.1, hard attention
    h_t, c_t = LSTM of x_t + z_t W_z, h_{t-1} and c_{t-1}              (e)  section 3.1.2,  x_t = E y_{t-1} W + bias

In training all y_{t-1} are known, so the x_t are computed for all steps at once; the op below does the rest.  It owns
no parameters: those of (a) and (b) are in `VisualAttention`, those of the LSTM in the decoder.

Deviations from the paper: none but those of the attention.
"""

from typing import Any

from minattn.attention.kernels import visual_lstm as kernels
from minattn.attention.sequence.visual import gated_context, visual_weights
from minattn.attention.sequence.visual_hard import hard_weights
from minattn.autograd import op, ops
from minattn.nn.recurrent.lstm import lstm_cell_equation


def visual_lstm_equation(
    projected: Any,
    hidden: Any,
    cell: Any,
    keys: Any,
    annotations: Any,
    W_d: Any,
    U_att: Any,
    c_att: Any,
    W_z: Any,
    U: Any,
    W_beta: Any = None,
    b_beta: Any = None,
    draws: Any = None,
    sampled: Any = None,
) -> Any:
    """The decoder step by step; projected = x, keys = p.  With draws (B, T) the locations of the captions that are
    `sampled` (B,) are drawn."""
    states, contexts, alignment = [], [], []
    for t, x in enumerate(ops.unstack(projected, axis=1)):
        weights = locations = visual_weights(hidden @ W_d, keys, U_att, c_att)  # (a)
        gate = None if W_beta is None else ops.sigmoid(hidden @ W_beta + b_beta)  # (b)
        if draws is not None:
            locations = hard_weights(weights, draws[:, t], sampled)  # (d)
        context = gated_context(locations, annotations, gate)  # (c)
        hidden, cell = lstm_cell_equation(x + context @ W_z, hidden, cell, U)  # (e)
        states.append(hidden)
        contexts.append(context)
        alignment.append(weights)
    return ops.stack(states, axis=1), ops.stack(contexts, axis=1), ops.stack(alignment, axis=1)


visual_lstm = op(kernels.visual_lstm, equation=visual_lstm_equation)
