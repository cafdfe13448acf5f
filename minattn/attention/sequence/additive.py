"""Additive attention, the first attention mechanism.

D. Bahdanau, K. Cho and Y. Bengio, "Neural machine translation by jointly learning to align and translate", ICLR 2015,
section 3.1 and appendix A.1.2.  At step i the decoder, in state s_{i-1}, attends to all annotations h_1 .. h_T of the
source:

    c_i      = sum_j alpha_ij h_j                                (5)  the context
    alpha_ij = exp(e_ij) / sum_k exp(e_ik)                       (6)  the alignment
    e_ij     = v_a^T tanh(W_a s_{i-1} + U_a h_j)                 (a)  the energy; appendix A.1.2, unnumbered

Vectors are rows here, so matrices stand on the right: s_{i-1} W_a.  U_a h_j does not depend on i and is computed once
per sentence (`keys`).

Deviations from the paper: none in the equations.  Padding, which the paper does not mention, is masked: the sum in (6)
runs over the real positions only, and a sentence without any gives a context of zeros.  `init="glorot"` is not the
paper's.
"""

import math
from typing import Any, Literal

from jaxtyping import Bool, Inexact

from minattn.attention.kernels import additive as kernels
from minattn.autograd import Array, Tensor, op, ops
from minattn.autograd.backend import as_array
from minattn.errors import ConfigError
from minattn.nn import Module, initializers
from minattn.nn.initializers import Rng
from minattn.published import Mechanism, Paper


def additive_attention_equation(query: Any, keys: Any, v: Any, values: Any, mask: Any = None) -> Any:
    """(5), (6) and (a) in primitive ops; query = s_{i-1} W_a, keys = h U_a, v = v_a, values = h."""
    if mask is not None:  # padding may hold anything, and 0 times NaN is NaN
        keys, values = (ops.where(as_array(mask)[:, :, None], x, 0.0) for x in (keys, values))
    energies = ops.tanh(query[:, None, :] + keys) @ v  # (a)
    weights = ops.softmax(energies, axis=-1, mask=mask)  # (6)
    context = (weights[:, None, :] @ values)[:, 0, :]  # (5)
    return context, weights


additive_attention = op(kernels.additive_attention, equation=additive_attention_equation)


class AdditiveAttention(Module):
    """Additive attention, (5), (6) and (a).

    state: size of the decoder state s; annotation: size of an annotation h; hidden: n' of the paper.  init="paper" has
    the values of appendix B.1: W_a, U_a ~ N(0, 0.001^2), v_a = 0, so that at first the weights are uniform and the
    context is the mean annotation.  init="glorot" draws all three Glorot-uniform: attention is active from the first
    step, and a small model learns sharper alignments.
    """

    def __init__(
        self, state: int, annotation: int, hidden: int, rng: Rng, init: Literal["paper", "glorot"] = "paper"
    ) -> None:
        initializers.check_sizes(state=state, annotation=annotation, hidden=hidden)
        if init == "paper":
            self.W_a = initializers.normal((state, hidden), rng, std=0.001)
            self.U_a = initializers.normal((annotation, hidden), rng, std=0.001)
            self.v_a = initializers.zeros((hidden,))
        elif init == "glorot":
            self.W_a = initializers.glorot_uniform((state, hidden), rng)
            self.U_a = initializers.glorot_uniform((annotation, hidden), rng)
            self.v_a = initializers.uniform((hidden,), rng, bound=math.sqrt(6 / (hidden + 1)))  # (hidden, 1)
        else:
            raise ConfigError(f'init must be "paper" or "glorot", got {init!r}')

    def keys(self, annotations: Inexact[Tensor, "batch source annotation"]) -> Inexact[Tensor, "batch source hidden"]:
        """U_a h_j for every j: the part of (a) that is the same at every step."""
        return annotations @ self.U_a

    def forward(
        self,
        state: Inexact[Tensor, "batch state"],
        annotations: Inexact[Tensor, "batch source annotation"],
        mask: Bool[Array, "batch source"] | None = None,
        keys: Inexact[Tensor, "batch source hidden"] | None = None,
    ) -> tuple[Inexact[Tensor, "batch annotation"], Inexact[Tensor, "batch source"]]:
        """Return (context c_i, alignment alpha_i) for the decoder state s_{i-1}; `keys` from `keys()`, if known."""
        keys = self.keys(annotations) if keys is None else keys
        return additive_attention(state @ self.W_a, keys, self.v_a, annotations, mask)


MECHANISM = Mechanism(
    name="additive attention",
    paper=Paper(
        "Bahdanau, Cho & Bengio",
        2015,
        "Neural machine translation by jointly learning to align and translate",
    ),
    equation=(
        "(6) alpha_ij = exp(e_ij) / sum_k exp(e_ik), (5) c_i = sum_j alpha_ij h_j; appendix A.1.2, "
        "unnumbered: e_ij = v_a' tanh(W_a s_i-1 + U_a h_j)"
    ),
    code="AdditiveAttention",
    model="minattn.models.RNNsearch",
    command="minattn train g2p",
    experiment="experiments/rnnsearch_length.py",
)
