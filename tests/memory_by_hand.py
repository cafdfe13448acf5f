"""End-to-end memories written out from the paper, one number at a time: lists, indices and sums.

Nothing is vectorized, batched or masked; the parameters are read out of the modules.
"""

import math


def weight(encoding, j, k, J, d):
    """l_kj, j and k counted from 1."""
    if encoding == "bag":
        return 1.0
    if encoding == "position":
        return (1 - j / J) - (k / d) * (1 - 2 * j / J)
    return 1 + 4 * (k - (d + 1) / 2) * (j - (J + 1) / 2) / (d * J)


def sentence(table, words, encoding, J):
    """sum_j l_j o A x_j over the words of a sentence, of which 0 is none."""
    d = len(table[0])
    vector = [0.0] * d
    for j, word in enumerate(words, start=1):
        if word != 0:
            for k in range(d):
                vector[k] += weight(encoding, j, k + 1, J, d) * table[word][k]
    return vector


def memory(table, times, words, i, encoding, J):
    """m_i, i counted from 0, the most recent sentence."""
    vector = sentence(table, words, encoding, J)
    return [x + times[i][k] for k, x in enumerate(vector)] if times and any(words) else vector


def weights_over(u, ms, linear):
    """p_i of a question over the input memories."""
    scores = []
    for m in ms:
        total = 0.0
        for k in range(len(u)):
            total += u[k] * m[k]
        scores.append(total)
    if linear:
        return scores
    exponentials = [math.exp(score - max(scores)) for score in scores]
    return [e / sum(exponentials) for e in exponentials]


def hop(u, ms, cs, linear):
    """(o, p) of one hop."""
    p = weights_over(u, ms, linear)
    o = [0.0] * len(u)
    for i in range(len(ms)):
        for k in range(len(u)):
            o[k] += p[i] * cs[i][k]
    return o, p


def end_to_end(module, u, story, encoding, J, linear=False):
    """(u^{K+1}, p^1 .. p^K) of an `EndToEndMemory` for one question and the sentences of one story."""
    tables = [table.data.tolist() for table in module.embedding.words]
    times = [T.data.tolist() for T in module.embedding.times] or [None] * len(tables)
    H = None if module.H is None else module.H.data.tolist()
    d, found = len(u), []
    for k in range(module.hops):
        a = k if H is None else 0
        ms = [memory(tables[a], times[a], words, i, encoding, J) for i, words in enumerate(story)]
        cs = [memory(tables[a + 1], times[a + 1], words, i, encoding, J) for i, words in enumerate(story)]
        o, p = hop(u, ms, cs, linear)
        mapped = u if H is None else [sum(u[i] * H[i][k] for i in range(d)) for k in range(d)]
        u = [mapped[k] + o[k] for k in range(d)]
        for k in range(d - module.rectified, d):
            u[k] = max(u[k], 0.0)
        found.append(p)
    return u, found


def key_value(module, question, keys, values):
    """(q_{H+1}, p_1 .. p_H) of a `KeyValueMemory` for one question: the words of it, and of the keys and values."""
    A = module.A.data.tolist()
    d, found = len(A[0]), []
    q = sentence(A, question, "bag", 0)
    ks, vs = ([sentence(A, words, "bag", 0) for words in bags] for bags in (keys, values))
    for j in range(module.hops):
        o, p = hop(q, ks, vs, False)
        q = [q[k] + o[k] for k in range(d)]
        if j < len(module.R):
            R = module.R[j].data.tolist()
            b = module.b[j].data.tolist() if module.b else [0.0] * d
            q = [sum(q[i] * R[i][k] for i in range(d)) + b[k] for k in range(d)]
        found.append(p)
    return q, found
