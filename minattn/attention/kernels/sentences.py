"""Sums of the vectors of words, sentence by sentence: `memory/sentences.py` has the equation.

The table is multiplied by the weights of every position first, so that a sentence is a sum of rows of J tables.  On the
host that sum is a product with a sparse matrix of ones, in which padding has no entry.
"""

import math
from typing import Any

import numpy as np

from minattn.autograd import Array, xp
from minattn.autograd.backend import add_rows, as_array, as_index, like
from minattn.autograd.engine import Result
from minattn.errors import ShapeError


def sentence_vectors(table: Array, /, ids: Any, weights: Any = None) -> Result:
    """sum_j l_j o table[ids_j] over the words of each sentence: ids (.., J), 0 = no word; weights l (J, d), or None.

    A table (V, d) gives vectors (.., d).  Raises IndexError for an id outside [0, V).
    """
    vectors, spread = _summed(table, None, ids, weights)
    return vectors, lambda g: spread(g)[0]


def story_vectors(table: Array, times: Array, /, ids: Any, weights: Any = None) -> Result:
    """The same of stories (.., n, J), and in each the i-th row of times (n or more, d) more in the i-th sentence, if it
    has a word.
    """
    return _summed(table, times, ids, weights)


def _summed(table: Array, times: Array | None, ids: Any, weights: Any) -> tuple[Array, Any]:
    count, d = table.shape
    ids = as_index(as_array(ids), table, count, from_end=False)
    *batch, J = ids.shape
    ids = ids.reshape(math.prod(batch), J)
    if weights is None:
        scaled, indices = table[None], ids
    else:
        if tuple(weights.shape) != (J, d):
            raise ShapeError(
                f"sentences of {J} words and vectors of size {d} need weights ({J}, {d}), got {weights.shape}; "
                "hint: position_weights(J, d)"
            )
        weights = like(weights, table).astype(table.real.dtype)[:, None]
        scaled, indices = table * weights, ids + count * xp(ids).arange(J)
    rows, real, of_words = scaled.reshape(-1, d), ids != 0, scaled.size // d
    if times is not None:  # one more word of every sentence
        module, n = xp(ids), batch[-1]
        words_of_time = module.tile(of_words + module.arange(n), math.prod(batch[:-1]))[:, None]
        indices, real = (module.concatenate(x, 1) for x in ([indices, words_of_time], [real, real.any(1)[:, None]]))
        rows = xp(rows).concatenate([rows, times])
    add, spread = (_sparse if isinstance(table, np.ndarray) else _dense)(indices, real, rows)

    def pullback(g: Array) -> tuple[Array, Array]:
        gradient = spread(g.reshape(-1, d))
        d_scaled, d_times = gradient[:of_words].reshape(scaled.shape), gradient[of_words:]
        d_table = d_scaled[0] if weights is None else (d_scaled * weights).sum(0)
        return d_table, d_times

    return add(rows).reshape(*batch, d), pullback


def _sparse(indices: np.ndarray, real: np.ndarray, rows: np.ndarray) -> Any:
    """The sum over the real words of each sentence of the rows at their indices, and its transpose."""
    from scipy.sparse import csr_matrix

    ends = np.concatenate([[0], np.cumsum(real.sum(1))])
    chosen = indices[real]
    product = csr_matrix((np.ones(len(chosen), rows.dtype), chosen, ends), shape=(len(real), len(rows)))
    return (lambda rows: np.asarray(product @ rows)), (lambda g: np.asarray(product.T @ g))


def _dense(indices: Array, real: Array, rows: Array) -> Any:
    """The same in plain array code."""
    real, (n, J) = real[:, :, None], real.shape

    def spread(g: Array) -> Array:
        of_words = xp(g).where(real, g[:, None], 0)
        return add_rows(of_words.reshape(n * J, rows.shape[1]), indices.reshape(-1), len(rows))

    return (lambda rows: xp(rows).where(real, rows.take(indices, 0), 0).sum(1)), spread
