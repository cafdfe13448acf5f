"""Show, Attend and Tell written out from the paper and its authors' code, one number at a time: lists, indices, sums.

Nothing is vectorized or batched; the parameters are read out of the modules.
"""

import math


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def product(x, matrix, bias=None):
    """x times a matrix, plus a bias."""
    found = []
    for j in range(len(matrix[0])):
        total = 0.0 if bias is None else bias[j]
        for i in range(len(x)):
            total += x[i] * matrix[i][j]
        found.append(total)
    return found


def lists(module):
    return {name: tensor.data.tolist() for name, tensor in module.named_parameters().items()}


def weights_of(attention, h, annotations):
    """alpha of the state h over the annotations."""
    p = lists(attention)
    energies = []
    for a in annotations:
        projected = product(a, p["W_c.0"], p["b.0"])
        layer = 1
        while f"W_c.{layer}" in p:
            projected = [math.tanh(x) for x in product(projected, p[f"W_c.{layer}"], p[f"b.{layer}"])]
            layer += 1
        asked = product(h, p["W_d"])
        energy = p["c"][0]
        for k in range(len(projected)):
            energy += p["U"][k] * math.tanh(projected[k] + asked[k])
        energies.append(energy)
    total = sum(math.exp(e) for e in energies)
    return [math.exp(e) / total for e in energies]


def beta(attention, h):
    p = lists(attention)
    return sigmoid(product(h, p["W_beta"], p["b_beta"])[0]) if "W_beta" in p else 1.0


def context_of(places, annotations, gate):
    return [gate * sum(s * a[d] for s, a in zip(places, annotations, strict=True)) for d in range(len(annotations[0]))]


def drawn(weights, draw):
    """One-hot: the first place where the sum of the weights is more than the draw."""
    total, found = 0.0, len(weights) - 1
    for i, weight in enumerate(weights):
        total += weight
        if total > draw:
            found = i
            break
    return [float(i == found) for i in range(len(weights))]


def network(model, annotations, previous, draws=None):
    """(logits of every word, weights of every word, None without attention) of one image and one caption.

    draws: for each word a number in [0, 1), None: the places are not drawn.
    """
    p, n = lists(model), model.config.hidden
    mean = [sum(a[d] for a in annotations) / len(annotations) for d in range(len(annotations[0]))]
    summary, layer = mean, 0
    while f"init_layers.{layer}.weight" in p:
        summary = product(summary, p[f"init_layers.{layer}.weight"], p[f"init_layers.{layer}.bias"])
        summary = [max(x, 0.0) for x in summary]
        layer += 1
    h = [math.tanh(x) for x in product(summary, p["init_h.weight"], p["init_h.bias"])]
    c = [math.tanh(x) for x in product(summary, p["init_c.weight"], p["init_c.bias"])]
    logits, alignment = [], []
    for t, word in enumerate(previous):
        z = mean
        if model.attention is not None:
            alpha = weights_of(model.attention, h, annotations)
            alignment.append(alpha)
            z = context_of(alpha if draws is None else drawn(alpha, draws[t]), annotations, beta(model.attention, h))
        E = p["embedding.weight"][word]
        parts = zip(product(E, p["W"], p["b"]), product(z, p["W_z"]), product(h, p["U"]), strict=True)
        gates = [sum(part) for part in parts]
        for k in range(n):
            i, f, o, g = (gates[block * n + k] for block in range(4))
            c[k] = sigmoid(f) * c[k] + sigmoid(i) * math.tanh(g)
            gates[k] = sigmoid(o) * math.tanh(c[k])
        h = gates[:n]
        by_state = product(h, p["L_h.weight"], p["L_h.bias"])
        by_context = product(z, p["L_z.weight"], p["L_z.bias"])
        u = [math.tanh(E[k] + by_state[k] + by_context[k]) for k in range(len(E))]
        logits.append(product(u, p["L_o.weight"], p["L_o.bias"]))
    return logits, alignment or None


def doubly_stochastic_penalty(weights):
    """sum_i (1 - sum_t alpha_ti)^2 of the weights of one caption."""
    total = 0.0
    for i in range(len(weights[0])):
        column = 0.0
        for t in range(len(weights)):
            column += weights[t][i]
        total += (1 - column) ** 2
    return total
