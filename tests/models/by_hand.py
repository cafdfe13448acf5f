"""RNNsearch and RNNencdec written out from the paper (Bahdanau et al. 2015), one number at a time.

Encoder (A.2.1):
    z, r, h~ and h of a gated recurrent unit (A.1.1)                       (a)
    h_j = [h->_j ; h<-_j]                                                  (b)
Decoder (A.2.2):
    s_0 = tanh(W_s h<-_1)                                                  (c)
    e_ij = v_a^T tanh(W_a s_{i-1} + U_a h_j)  (A.1.2)                      (d)
    alpha_ij = exp(e_ij) / sum_k exp(e_ik)                                 (6)
    c_i = sum_j alpha_ij h_j                                               (5)
    t_i = maxout(U_o s_{i-1} + V_o E y_{i-1} + C_o c_i)                    (e)
    the logits W_o t_i of p(y_i | y_1 .. y_{i-1}, x)                       (4)

Nothing is vectorized, batched or masked: a sentence is a list of word numbers, a vector a list, and x @ W a sum over
indices.  The parameters are read out of the module, whose matrices are the paper's transposed.
"""

import math


def rnnsearch(model, sentence, previous):
    """(logits, alignment), a list of lists each: of every y_i given y_0 .. y_{i-1} = `previous`."""
    c, p = model.config, {name: tensor.data.tolist() for name, tensor in model.named_parameters().items()}
    n = c.hidden
    zero = [0.0] * n
    x = [p["encoder.embedding.weight"][word] for word in sentence]

    # The encoder
    if c.attention:
        forwards = encode(x, p, "encoder.unit.forwards", n)
        backwards = encode(x[::-1], p, "encoder.unit.backwards", n)[::-1]
        h = [forwards[j] + backwards[j] for j in range(len(x))]  # (b)
        first = backwards[0] if x else zero
    else:
        h = encode(x, p, "encoder.unit", n)
        first = h[-1] if x else zero
    s = [math.tanh(total) for total in added(product(first, p["decoder.W_s"]), p.get("decoder.b_s"))]  # (c)

    # The decoder
    logits, alignment = [], []
    for word in previous:
        y = p["decoder.embedding.weight"][word]
        if c.attention:
            context, alpha = attend(s, h, p, 2 * n)
        else:
            context, alpha = first, [1.0]
        before_gates = added(product(y, p["decoder.W"]), product(context, p["decoder.C"]), p.get("decoder.b"))
        new = gru_cell(before_gates, s, p["decoder.U"], n)  # (a)
        logits.append(output(s if c.readout == "previous" else new, y, context, p))
        alignment.append(alpha)
        s = new
    return logits, alignment


def encode(x, p, unit, n):
    h, states = [0.0] * n, []
    for x_i in x:
        h = gru_cell(added(product(x_i, p[f"{unit}.W"]), p.get(f"{unit}.bias")), h, p[f"{unit}.U"], n)
        states.append(h)
    return states


def gru_cell(before_gates, h, U, n):
    """(a), from what does not depend on the state, [z | r | h~], and the state."""
    from_z, from_r, from_h = (before_gates[g * n : (g + 1) * n] for g in range(3))
    U_z, U_r, U_h = ([row[g * n : (g + 1) * n] for row in U] for g in range(3))
    z = [sigmoid(total) for total in added(from_z, product(h, U_z))]
    r = [sigmoid(total) for total in added(from_r, product(h, U_r))]
    reset = [r[k] * h[k] for k in range(n)]
    candidate = [math.tanh(total) for total in added(from_h, product(reset, U_h))]
    return [(1 - z[k]) * h[k] + z[k] * candidate[k] for k in range(n)]


def attend(s, h, p, size):
    """The alignment and the context of s."""
    W_a, U_a, v_a = (p[f"attention.{name}"] for name in ("W_a", "U_a", "v_a"))
    e = []
    for h_j in h:
        inner = added(product(s, W_a), product(h_j, U_a))
        e.append(sum(v_a[k] * math.tanh(inner[k]) for k in range(len(v_a))))  # (d)
    total = sum(math.exp(e_j) for e_j in e)
    alpha = [math.exp(e_j) / total for e_j in e]  # (6)
    context = [sum(alpha[j] * h[j][q] for j in range(len(h))) for q in range(size)]  # (5)
    return context, alpha


def output(s, y, context, p):
    """The logits."""
    terms = [product(s, p["decoder.U_o"]), product(y, p["decoder.V_o"]), product(context, p["decoder.C_o"])]
    before = added(*terms, p.get("decoder.b_t"))
    t = [max(before[2 * j], before[2 * j + 1]) for j in range(len(before) // 2)]  # (e)
    return added(product(t, p["decoder.W_o"]), p.get("decoder.b_o"))  # (4)


def product(x, W):
    columns = range(len(W[0]))
    return [sum(x[i] * W[i][k] for i in range(len(x))) for k in columns]


def added(*vectors):
    """The sum of the vectors, those that are None (biases that are not there) left out."""
    present = [vector for vector in vectors if vector is not None]
    return [sum(vector[k] for vector in present) for k in range(len(present[0]))]


def sigmoid(x):
    return 1 / (1 + math.exp(-x))
