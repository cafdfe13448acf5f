"""Additive attention, the first attention mechanism.

D. Bahdanau, K. Cho and Y. Bengio, "Neural machine translation by jointly learning to align and translate", ICLR 2015,
section 3.1 and appendix A.1.2.  At step i the decoder, in state s_{i-1}, looks at all annotations h_1 .. h_T of the
source:

    e_ij     = v_a^T tanh(W_a s_{i-1} + U_a h_j)                 (1.5)  how well j fits what i needs
    alpha_ij = exp(e_ij) / sum_k exp(e_ik)                       (1.6)  the alignment
    c_i      = sum_j alpha_ij h_j                                (1.6)  the context

Vectors are rows here, so the matrices stand on the right: s_{i-1} W_a.  U_a h_j does not depend on i and is computed
once per sentence (`keys`).

Deviations from the paper: none in the equations.  Padding, which the paper does not speak of, is masked: the sum in
(1.6) runs over the real positions only, and a sentence without any gives a context of zeros.
"""

import math
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Inexact

from minattn.autograd import OPS, Array, Tensor, op, ops, xp
from minattn.autograd.backend import like, matmul
from minattn.autograd.engine import Result
from minattn.errors import ConfigError
from minattn.nn import Module
from minattn.nn import initializers as init
from minattn.nn.initializers import Rng
from minattn.nn.recurrent.shared import raw

softmax = OPS["softmax"].function  # on raw arrays: (weights, pullback)


def additive_attention_equation(query: Any, keys: Any, v: Any, values: Any, mask: Any = None) -> Any:
    """(1.5) and (1.6) in primitive ops; query = s_{i-1} W_a, keys = h U_a."""
    energies = ops.tanh(query[:, None, :] + keys) @ v  # (1.5)
    weights = ops.softmax(energies, axis=-1, mask=mask)  # (1.6)
    context = (weights[:, None, :] @ values)[:, 0, :]  # (1.6)
    return context, weights


@op(equation=additive_attention_equation)
def additive_attention(query: Array, keys: Array, v: Array, values: Array, /, mask: Any = None) -> Result:
    """Additive attention of one query over a whole source, (1.5) and (1.6), in one op.

    query: (B, a), s_{i-1} W_a; keys: (B, T, a), h U_a; v: (a); values: (B, T, d), the annotations h; mask: (B, T),
    True = may attend.  Returns the context (B, d) and the weights (B, T).
    """
    _check_sizes(query, keys, v, values)
    batch, time, a = keys.shape
    hidden = keys + query[:, None, :]
    xp(hidden).tanh(hidden, hidden)
    energies = matmul(hidden.reshape(-1, a), v).reshape(batch, time)  # (1.5)
    weights, by_energies = softmax(energies, -1, checked_mask(mask, keys))  # (1.6)
    context = matmul(weights[:, None, :], values)[:, 0, :]  # (1.6)

    def pullback(g_context: Array, g_weights: Array) -> tuple[Array, Array, Array, Array]:
        d_weights = matmul(values, g_context[:, :, None])[:, :, 0] + g_weights
        d_values = weights[:, :, None] * g_context[:, None, :]
        d_energies = by_energies(d_weights)
        d_v = matmul(d_energies.reshape(-1), hidden.reshape(-1, a))
        d_hidden = d_energies[:, :, None] * v
        d_hidden *= 1 - hidden * hidden
        return d_hidden.sum(1), d_hidden, d_v, d_values

    return (context, weights), pullback


def checked_mask(mask: Any, keys: Array) -> Array | None:
    """The mask (batch, time) as an array on the device of the keys (batch, time, a), None where it is known to be all
    True.  Raises ValueError unless it is boolean and has that shape."""
    if mask is None:
        return None
    mask = raw(mask)
    if mask.dtype != bool or mask.shape != keys.shape[:2]:
        raise ValueError(
            f"the mask must be boolean (batch, time of the source) = {keys.shape[:2]}, True = may attend; got "
            f"{mask.dtype} {mask.shape}"
        )
    if isinstance(mask, np.ndarray) and mask.all():  # on a GPU, looking would mean waiting for it
        return None
    return like(mask, keys)


def _check_sizes(query: Array, keys: Array, v: Array, values: Array) -> None:
    fits = keys.ndim == 3 and values.ndim == 3 and values.shape[:2] == keys.shape[:2]
    if not fits or query.shape != keys.shape[::2] or v.shape != keys.shape[2:]:
        raise ValueError(
            f"expected query (batch, a), keys (batch, time, a), v (a) and values (batch, time, d); "
            f"got {query.shape}, {keys.shape}, {v.shape} and {values.shape}"
        )


class AdditiveAttention(Module):
    """Additive attention, (1.5)-(1.6).

    state: size of the decoder state s; annotations: size of an annotation h; hidden: n' of the paper.
    initial="paper" has the values of appendix B.1: W_a, U_a ~ N(0, 0.001^2), v_a = 0, so that at first the weights are
    uniform and the context is the mean annotation.  initial="glorot" draws all three Glorot-uniform: attention takes
    part from the first step, and a small model learns sharper alignments.
    """

    def __init__(
        self, state: int, annotations: int, hidden: int, rng: Rng, initial: Literal["paper", "glorot"] = "paper"
    ) -> None:
        if initial == "paper":
            self.W_a = init.normal((state, hidden), rng, std=0.001)
            self.U_a = init.normal((annotations, hidden), rng, std=0.001)
            self.v_a = init.zeros((hidden,))
        elif initial == "glorot":
            self.W_a = init.glorot_uniform((state, hidden), rng)
            self.U_a = init.glorot_uniform((annotations, hidden), rng)
            self.v_a = init.uniform((hidden,), rng, bound=math.sqrt(6 / (hidden + 1)))  # as a matrix (hidden, 1)
        else:
            raise ConfigError(f'initial must be "paper" or "glorot", got {initial!r}')

    def keys(self, annotations: Inexact[Tensor, "batch source annotation"]) -> Inexact[Tensor, "batch source hidden"]:
        """U_a h_j for every j: the part of (1.5) that is the same at every step."""
        return annotations @ self.U_a

    def forward(
        self,
        state: Inexact[Tensor, "batch state"],
        annotations: Inexact[Tensor, "batch source annotation"],
        mask: Bool[Array, "batch source"] | None = None,
        keys: Inexact[Tensor, "batch source hidden"] | None = None,
    ) -> tuple[Inexact[Tensor, "batch annotation"], Inexact[Tensor, "batch source"]]:
        """(context c_i, alignment alpha_i) for the decoder state s_{i-1}; `keys` from `keys()`, if at hand."""
        keys = self.keys(annotations) if keys is None else keys
        return additive_attention(state @ self.W_a, keys, self.v_a, annotations, mask)
