"""Sums of the vectors of words, sentence by sentence: `memory/sentences.py` has the equation.

The table is multiplied by the weights of every position first, so that a sentence is a sum of rows of J tables.  On the
host that sum is a product with a sparse matrix of ones, in which padding has no place.
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
    count, d = table.shape
    ids = as_index(as_array(ids), table, count, from_end=False)
    *batch, J = ids.shape
    ids = ids.reshape(math.prod(batch), J)
    if weights is None:
        scaled, places = table[None], ids
    else:
        if tuple(weights.shape) != (J, d):
            raise ShapeError(
                f"sentences of {J} words and vectors of size {d} need weights ({J}, {d}), got {weights.shape}; "
                "hint: position_weights(J, d)"
            )
        weights = like(weights, table).astype(table.real.dtype)[:, None]
        scaled, places = table * weights, ids + count * xp(ids).arange(J)
    rows = scaled.reshape(-1, d)
    add, spread = _sparse(places, ids, rows) if isinstance(table, np.ndarray) else _dense(places, ids, rows)

    def pullback(g: Array) -> Array:
        gradient = spread(g.reshape(-1, d)).reshape(scaled.shape)
        return gradient[0] if weights is None else (gradient * weights).sum(0)

    return add(rows).reshape(*batch, d), pullback


def _sparse(places: np.ndarray, ids: np.ndarray, rows: np.ndarray) -> Any:
    """The sum over the words of each sentence of the rows at these places, and its transpose."""
    from scipy.sparse import csr_matrix

    real = ids != 0
    ends = np.concatenate([[0], np.cumsum(real.sum(1))])
    chosen = places[real]
    product = csr_matrix((np.ones(len(chosen), rows.dtype), chosen, ends), shape=(len(ids), len(rows)))
    return (lambda rows: np.asarray(product @ rows)), (lambda g: np.asarray(product.T @ g))


def _dense(places: Array, ids: Array, rows: Array) -> Any:
    """The same in plain array code."""
    real, (n, J) = (ids != 0)[:, :, None], ids.shape

    def spread(g: Array) -> Array:
        of_words = xp(g).where(real, g[:, None], 0)
        return add_rows(of_words.reshape(n * J, rows.shape[1]), places.reshape(-1), len(rows))

    return (lambda rows: xp(rows).where(real, rows.take(places, 0), 0).sum(1)), spread
