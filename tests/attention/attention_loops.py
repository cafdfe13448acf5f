"""Scaled dot-product attention, (1) of Vaswani et al. 2017, written out twice: in loops, and row by row in float64 with
gradients."""

import math

import numpy as np


def allowed_keys(mask, causal, place, i, n_q, n_k, shape):
    """The keys that query i may attend to, in the batch element `place`; the queries are the last of the positions."""
    keys = []
    for j in range(n_k):
        if mask is not None and not np.broadcast_to(mask, shape)[(*place, i, j)]:
            continue
        if causal and j > i + (n_k - n_q):
            continue
        keys.append(j)
    return keys


def by_loops(q, k, v, mask=None, causal=False):
    """(context, weights) of (1), one number at a time."""
    *lead, n_q, d_k = q.shape
    n_k, d_v = v.shape[-2:]
    shape = (*lead, n_q, n_k)
    contexts, weights = np.zeros((*lead, n_q, d_v)), np.zeros(shape)
    for place in np.ndindex(*lead):
        Q, K, V = (x[place].tolist() for x in (q, k, v))
        for i in range(n_q):
            scores = {}
            for j in allowed_keys(mask, causal, place, i, n_q, n_k, shape):
                product = 0.0
                for c in range(d_k):
                    product += Q[i][c] * K[j][c]
                scores[j] = product / math.sqrt(d_k)
            if not scores:
                continue
            largest = max(scores.values())
            total = sum(math.exp(scores[j] - largest) for j in scores)
            for j in scores:
                weights[(*place, i, j)] = math.exp(scores[j] - largest) / total
                for c in range(d_v):
                    contexts[(*place, i, c)] += weights[(*place, i, j)] * V[j][c]
    return contexts, weights


def by_rows(q, k, v, mask=None, causal=False, g_context=0.0, g_weights=0.0):
    """(context, weights, dQ, dK, dV) in float64, one query after another, each with the largest score of its own."""
    q, k, v = (x.astype(np.float64) for x in (q, k, v))
    *lead, n_q, d_k = q.shape
    n_k, d_v = v.shape[-2:]
    mask = np.broadcast_to(True if mask is None else mask, (*lead, n_q, n_k))
    g_context = np.broadcast_to(g_context, (*lead, n_q, d_v))
    g_weights = np.broadcast_to(g_weights, (*lead, n_q, n_k))
    context, weights = np.zeros((*lead, n_q, d_v)), np.zeros((*lead, n_q, n_k))
    dq, dk, dv = np.zeros(q.shape), np.zeros(k.shape), np.zeros(v.shape)
    for place in np.ndindex(*lead, n_q):
        *b, i = place
        b = tuple(b)
        keys = np.flatnonzero(mask[place])
        if causal:
            keys = keys[keys <= i + n_k - n_q]
        if not len(keys):
            continue
        K, V = k[b][keys], v[b][keys]
        scores = K @ q[place] / math.sqrt(d_k)
        e = np.exp(scores - scores.max())
        p = e / e.sum()
        weights[(*place, keys)] = p
        context[place] = p @ V
        d_p = V @ g_context[place] + g_weights[place][keys]
        d_scores = p * (d_p - p @ d_p) / math.sqrt(d_k)
        dq[place] = d_scores @ K
        dk[(*b, keys)] += np.outer(d_scores, q[place])
        dv[(*b, keys)] += np.outer(p, g_context[place])
    return context, weights, dq, dk, dv
