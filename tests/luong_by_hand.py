"""Luong's attention and network written out from the paper, one number at a time: lists, indices and sums.

Nothing is vectorized, batched or masked; the parameters are read out of the modules.
"""

import math


def attend(attention, h, source, real, t):
    """(context, weights) of the state h of step t over the rows of `source`, of which `real` says which are words.

    The parameters are read out of the module, whose matrices, but for general's, have the paper's transposed.
    """
    p = {name: tensor.data.tolist() for name, tensor in attention.named_parameters().items()}
    n, size = len(h), len(source[0])
    words = [s for s in range(len(source)) if real[s]]
    if attention.score == "location":
        words = [s for s in words if s < len(p["W_a"][0])]
    length = words[-1] + 1 if words else 0

    gaussian = dict.fromkeys(words, 1.0)
    if "v_p" in p:
        center = position(p, h, length)
        gaussian = {s: math.exp(-((s - center) ** 2) / (2 * attention.sigma**2)) for s in words}  # (10)
    else:
        center = min(t, length - 1)
    if hasattr(attention, "window"):  # local attention
        words = [s for s in words if center - attention.window <= s <= center + attention.window]

    e = {}
    for s in words:
        e[s] = 0.0
        if attention.score == "dot":
            for i in range(n):
                e[s] += h[i] * source[s][i]
        elif attention.score == "general":
            for i in range(n):
                for j in range(size):
                    e[s] += h[i] * p["W_a"][i][j] * source[s][j]
        elif attention.score == "location":
            for i in range(n):
                e[s] += p["W_a"][i][s] * h[i]  # location, section 3.1
        else:
            for k in range(len(p["v_a"])):
                inner = 0.0
                for i in range(n):
                    inner += p["W_a"][i][k] * h[i]
                if attention.score == "concat":
                    for j in range(size):
                        inner += p["W_a"][n + j][k] * source[s][j]
                else:
                    inner += source[s][k]
                e[s] += p["v_a"][k] * math.tanh(inner)

    weights = [0.0] * len(source)
    for s in words:
        weights[s] = (
            math.exp(e[s]) / sum(math.exp(e[other]) for other in words) * gaussian[s]
        )  # sections 3.1 and 3.2, (10)
    context = [sum(weights[s] * source[s][j] for s in words) for j in range(size)]
    return context, weights


def position(p, h, length):
    """p_t, a real number from 0 to the length of the source."""
    logit = 0.0
    for k in range(len(p["v_p"])):
        logit += p["v_p"][k] * math.tanh(sum(p["W_p"][i][k] * h[i] for i in range(len(h))))
    return length / (1 + math.exp(-logit))  # (9)


# ---------------------------------------------------------------------------------------------- the network
def network(model, sentence, previous):
    """(logits, alignment), a list of lists each: of every y_t given y_0 .. y_{t-1} = `previous`."""
    p, c = {name: tensor.data.tolist() for name, tensor in model.named_parameters().items()}, model.config
    source, hidden, cells = encode([p["encoder.embedding.weight"][word] for word in sentence], p, c)
    vector, logits, alignment = [0.0] * c.hidden, [], []
    for t, word in enumerate(previous):
        x = p["decoder.embedding.weight"][word]
        if c.feeding:
            x = x + vector
        for k in range(c.layers):
            hidden[k], cells[k] = lstm(x, hidden[k], cells[k], p, f"decoder.layers.{k}")
            x = hidden[k]
        vector = x
        if c.attention != "none":
            context, weights = attend(model.attention, x, source, [True] * len(source), t)
            vector = [math.tanh(total) for total in product(context + x, p["decoder.W_c"])]  # (5)
            alignment.append(weights)
        logits.append(product(vector, p["decoder.W_s"]))  # (6)
    return logits, alignment


def encode(x, p, c):
    """(states of the last layer, in the order of the sentence; the last states of all layers; their last cells)."""
    if c.reverse:
        x = x[::-1]
    hidden, cells = [], []
    for k in range(c.layers):
        h, cell, states = [0.0] * c.hidden, [0.0] * c.hidden, []
        for x_s in x:
            h, cell = lstm(x_s, h, cell, p, f"encoder.layers.{k}")
            states.append(h)
        hidden.append(h)
        cells.append(cell)
        x = states
    return x[::-1] if c.reverse else x, hidden, cells


def lstm(x, h, cell, p, path):
    """(state, cell), the gates in the order input, forget, output, candidate."""
    n = len(h)
    gates = [a + b for a, b in zip(product(x, p[f"{path}.W"]), product(h, p[f"{path}.U"]), strict=True)]
    if f"{path}.bias" in p:
        gates = [a + b for a, b in zip(gates, p[f"{path}.bias"], strict=True)]
    i, f, o = ([1 / (1 + math.exp(-gate)) for gate in gates[k * n : (k + 1) * n]] for k in range(3))
    g = [math.tanh(gate) for gate in gates[3 * n :]]
    cell = [f[k] * cell[k] + i[k] * g[k] for k in range(n)]
    return [o[k] * math.tanh(cell[k]) for k in range(n)], cell


def product(x, W):
    return [sum(x[i] * W[i][k] for i in range(len(x))) for k in range(len(W[0]))]
