"""A gated recurrent unit that attends at every step: the decoder of the first attention network.

D. Bahdanau, K. Cho and Y. Bengio, "Neural machine translation by jointly learning to align and translate", ICLR 2015,
section 3.1 and appendices A.1.2 and A.2.2, in row vectors, for i = 1, 2, ..:

    c_i     = sum_j alpha_ij h_j                                                        (5)
    alpha_i = softmax over j of e_ij                                                    (6)
    e_ij    = v_a^T tanh(s_{i-1} W_a + h_j U_a)                                         (a)  A.1.2, unnumbered
    s_i     = gated recurrent unit of x_i + c_i C and s_{i-1},  x_i = E y_{i-1} W + b   (b)  A.2.2, unnumbered

In training all y_{i-1} are known, so the x_i are computed for all steps at once; the op below does the rest.  It owns
no parameters: W_a, U_a and v_a are in `AdditiveAttention`, W, U and C in the decoder.

Deviations from the paper: the bias b, which the appendix initializes to 0 and omits from the formulas.  Padding of the
source is masked.
"""

from typing import Any

from minattn.attention.kernels import attentive_gru as kernels
from minattn.attention.sequence.additive import additive_attention_equation
from minattn.autograd import op, ops
from minattn.nn.recurrent.gru import gru_cell_equation


def attentive_gru_equation(
    projected: Any, state: Any, keys: Any, values: Any, W_a: Any, v_a: Any, C: Any, U: Any, mask: Any = None
) -> Any:
    """The decoder step by step; projected = x, state = s_0, keys = h U_a, values = h."""
    states, contexts, alignment = [], [], []
    for x in ops.unstack(projected, axis=1):
        context, weights = additive_attention_equation(state @ W_a, keys, v_a, values, mask)  # (a) (6) (5)
        state = gru_cell_equation(x + context @ C, state, U)  # (b)
        states.append(state)
        contexts.append(context)
        alignment.append(weights)
    return ops.stack(states, axis=1), ops.stack(contexts, axis=1), ops.stack(alignment, axis=1)


attentive_gru = op(kernels.attentive_gru, equation=attentive_gru_equation)
