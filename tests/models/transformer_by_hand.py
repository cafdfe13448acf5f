"""The Transformer written out from "Attention is all you need" (Vaswani et al. 2017), one number at a time.

    Attention(Q, K, V) = softmax(Q K^T / sqrt(d_k)) V          (1)
    FFN(x) = max(0, x W_1 + b_1) W_2 + b_2                     (2)

What has no number there is named by its section.  Nothing is vectorized or batched: a sentence is a list of word
numbers, x a list of vectors, and a mask the list of the positions that are real.  The parameters are read out of the
module.
"""

import math

from by_hand import added, product


def transformer(model, source, real, previous):
    """(logits, weights of the encoder, of the decoder, across): weights[layer][head][i][j]."""
    c, p = model.config, weights_of(model)
    encoder, decoder, across = [], [], []
    x = embedded(source, p["source_embedding.weight"], p.get("source_positions.weight"))
    for n in range(c.layers):
        layer = at(p, f"encoder.{n}")
        x, alignments = attention(x, c, layer, "self_attention", "norm_1", lambda i, j: real[j])
        x = feed_forward(x, c, layer, "norm_2")
        encoder.append(alignments)
    memory = x if c.norm == "post" else [layer_norm(x_i, at(p, "encoder_norm"), c) for x_i in x]

    E = p["source_embedding.weight"] if c.tied == "all" else p["target_embedding.weight"]
    x = embedded(previous, E, p.get("target_positions.weight"))
    for n in range(c.layers):
        layer = at(p, f"decoder.{n}")
        x, alignments = attention(x, c, layer, "self_attention", "norm_1", lambda i, j: j <= i)
        decoder.append(alignments)
        x, alignments = attention(x, c, layer, "cross_attention", "norm_2", lambda i, j: real[j], memory)
        across.append(alignments)
        x = feed_forward(x, c, layer, "norm_3")
    x = x if c.norm == "post" else [layer_norm(x_i, at(p, "decoder_norm"), c) for x_i in x]
    W_o = p["W_o"] if c.tied == "none" else [list(column) for column in zip(*E, strict=True)]  # section 3.4
    logits = [product(x_i, W_o) for x_i in x]
    return logits, encoder, decoder, across


def language_model(model, text):
    """(logits, weights[layer][head][i][j])."""
    c, p = model.config, weights_of(model)
    alignments = []
    x = embedded(text, p["embedding.weight"], p.get("positions.weight"), c.positions == "rotary")
    for n in range(c.layers):
        layer = at(p, f"layers.{n}")
        x, found = attention(x, c, layer, "self_attention", "norm_1", lambda i, j: j <= i)
        x = feed_forward(x, c, layer, "norm_2", c.activation)
        alignments.append(found)
    x = x if c.norm == "post" else [layer_norm(x_i, at(p, "norm"), c) for x_i in x]
    return [[dot(x_i, row) for row in p["embedding.weight"]] for x_i in x], alignments


# ---------------------------------------------------------------------------------------------- what goes in
def embedded(words, E, learned, alone=False):
    """Embeddings and positions, sections 3.4 and 3.5; alone: no positions."""
    d = len(E[0])
    x = [[math.sqrt(d) * number for number in E[word]] for word in words]
    if alone:
        return x
    for pos, x_pos in enumerate(x):
        for i in range(d):
            angle = pos / 10000 ** ((i - i % 2) / d)
            x_pos[i] += learned[pos][i] if learned else (math.cos(angle) if i % 2 else math.sin(angle))
    return x


# ---------------------------------------------------------------------------------------------- sub-layers
def sublayer(x, c, norm, function):
    """Section 3.1: LayerNorm(x + Sublayer(x)), or with norm="pre" x + Sublayer(LayerNorm(x)); and the rest."""
    if c.norm == "post":
        given, told = function(x)
        return [layer_norm(added(x_i, y_i), norm, c) for x_i, y_i in zip(x, given, strict=True)], told
    given, told = function([layer_norm(x_i, norm, c) for x_i in x])
    return [added(x_i, y_i) for x_i, y_i in zip(x, given, strict=True)], told


def attention(x, c, layer, name, norm, allowed, memory=None):
    """Attention of x over itself, or over `memory`; allowed: whether i may attend to j."""

    def every(y):
        return attend(y, y if memory is None else memory, c, at(layer, name), allowed)

    return sublayer(x, c, at(layer, norm), every)


def attend(x, memory, c, p, allowed):
    """Multi-head attention, section 3.2.2."""
    d_k = getattr(c, "d_k", None) or c.d_model // c.heads
    d_v = getattr(c, "d_v", None) or c.d_model // c.heads
    contexts, alignments = [[] for _ in x], []
    for h in range(c.heads):
        q = [projected(x_i, p, "Q", h, d_k) for x_i in x]
        k = [projected(m_j, p, "K", h, d_k) for m_j in memory]
        v = [projected(m_j, p, "V", h, d_v) for m_j in memory]
        if getattr(c, "positions", None) == "rotary":
            q, k = ([turned(y[m], m) for m in range(len(y))] for y in (q, k))
        alignment = []
        for i in range(len(x)):
            e = [math.exp(dot(q[i], k[j]) / math.sqrt(d_k)) if allowed(i, j) else 0.0 for j in range(len(memory))]
            total = sum(e)
            alpha = [e_j / total if total else 0.0 for e_j in e]  # (1)
            contexts[i] += [sum(alpha[j] * v[j][n] for j in range(len(memory))) for n in range(d_v)]
            alignment.append(alpha)
        alignments.append(alignment)
    return [added(product(context, p["W_O"]), p.get("b_O")) for context in contexts], alignments


def turned(x, m):
    """Su et al. 2021: every pair of features turned by the angle m 10000^(-2i/d)."""
    y = []
    for i in range(len(x) // 2):
        angle = m / 10000 ** (2 * i / len(x))
        a, b = x[2 * i], x[2 * i + 1]
        y += [a * math.cos(angle) - b * math.sin(angle), a * math.sin(angle) + b * math.cos(angle)]
    return y


def projected(x, p, name, h, size):
    columns = range(h * size, (h + 1) * size)
    own = [[row[n] for n in columns] for row in p[f"W_{name}"]]
    bias = [p[f"b_{name}"][n] for n in columns] if f"b_{name}" in p else None
    return added(product(x, own), bias)


def feed_forward(x, c, layer, norm, activation="relu"):
    """The feed-forward network."""
    p = at(layer, "feed_forward")

    def every(y):
        hidden = [[ACTIVATIONS[activation](n) for n in added(product(y_i, p["W_1"]), p["b_1"])] for y_i in y]
        return [added(product(hidden_i, p["W_2"]), p["b_2"]) for hidden_i in hidden], None  # (2)

    return sublayer(x, c, at(layer, norm), every)[0]


ACTIVATIONS = {
    "relu": lambda x: max(0.0, x),
    "gelu": lambda x: x * (1 + math.erf(x / math.sqrt(2))) / 2,
    "gelu_tanh": lambda x: x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2,
}


def layer_norm(x, p, c):
    mean = sum(x) / len(x)
    variance = sum((x_i - mean) ** 2 for x_i in x) / len(x)
    scale = 1 / math.sqrt(variance + c.layer_norm_eps)
    return [(x[i] - mean) * scale * p["weight"][i] + p["bias"][i] for i in range(len(x))]


# ---------------------------------------------------------------------------------------------- small things
def weights_of(model):
    return {name: tensor.data.tolist() for name, tensor in model.named_parameters().items()}


def at(p, name):
    """The weights of one part, by their names within it."""
    return {key.removeprefix(f"{name}."): value for key, value in p.items() if key.startswith(f"{name}.")}


def dot(a, b):
    return sum(a[i] * b[i] for i in range(len(a)))
