"""Softmax and its gradient for the kernels of attention."""

import numpy as np

from minattn.autograd import Array, xp
from minattn.autograd.backend import dots
from minattn.autograd.ops.neural import row_exponentials, shared_exponentials


def softmax(scores: Array, mask: Array | None = None) -> Array:
    """Softmax over the last axis, over the elements where the mask is True; a row without any gives zeros."""
    if not scores.size:
        return scores
    if mask is not None:
        scores = xp(scores).where(mask, scores, -np.inf)
    weights, total = shared_exponentials(scores) or row_exponentials(scores, masked=mask is not None)
    weights /= total
    return weights


def softmax_gradient(d_weights: Array, weights: Array) -> Array:
    """Gradient of the scores from that of P = softmax(scores):  dS = P o (dP - <dP, P>)."""
    d_scores = d_weights - dots(d_weights, weights)
    d_scores *= weights
    return d_scores
