"""Additive attention in one op, with its gradient.  The equation is on `sequence/additive.py`:

e = tanh(query + keys) v                                    (a)
alpha = softmax(e), over the source positions               (6)
c = sum_j alpha_j values_j                                  (5)
"""

from typing import Any

from minattn.attention.kernels.softmax import softmax, softmax_gradient
from minattn.autograd import Array, xp
from minattn.autograd.backend import matmul
from minattn.autograd.engine import Result
from minattn.errors import ShapeError
from minattn.nn.masks import padding_mask, without_padding


def additive_attention(query: Array, keys: Array, v: Array, values: Array, /, mask: Any = None) -> Result:
    """Additive attention of one query over a whole source, (a), (6) and (5), in one op.

    query: (B, a), s_{i-1} W_a; keys: (B, T, a), h U_a; v: (a); values: (B, T, d), the annotations h; mask: (B, T),
    True = a real position.  Returns the context (B, d) and the weights (B, T).
    """
    _check_sizes(query, keys, v, values)
    batch, time, a = keys.shape
    real = padding_mask(mask, keys)
    keys, values = without_padding(real, keys), without_padding(real, values)
    hidden = keys + query[:, None, :]
    xp(hidden).tanh(hidden, hidden)
    energies = matmul(hidden.reshape(-1, a), v).reshape(batch, time)  # (a)
    weights = softmax(energies, real)  # (6)
    context = matmul(weights[:, None, :], values)[:, 0, :]  # (5)

    def pullback(g_context: Array, g_weights: Array) -> tuple[Array, Array, Array, Array]:
        d_weights = matmul(values, g_context[:, :, None])[:, :, 0] + g_weights
        d_values = weights[:, :, None] * g_context[:, None, :]
        d_energies = softmax_gradient(d_weights, weights)
        d_v = matmul(d_energies.reshape(-1), hidden.reshape(-1, a))
        d_hidden = d_energies[:, :, None] * v
        d_hidden *= 1 - hidden * hidden  # through tanh
        return d_hidden.sum(1), d_hidden, d_v, d_values

    return (context, weights), pullback


def _check_sizes(query: Array, keys: Array, v: Array, values: Array) -> None:
    fits = keys.ndim == 3 and values.ndim == 3 and values.shape[:2] == keys.shape[:2]
    if not fits or query.shape != keys.shape[::2] or v.shape != keys.shape[2:]:
        raise ShapeError(
            f"expected query (batch, a), keys (batch, time, a), v (a) and values (batch, time, d); "
            f"got {query.shape}, {keys.shape}, {v.shape} and {values.shape}"
        )
