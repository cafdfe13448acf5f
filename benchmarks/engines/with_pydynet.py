"""The workloads in PyDyNet.

Its index keeps only one of the gradients of a row that is taken twice, so words are embedded by a product with one-hot
rows; its layer norm is over the batch, so that over rows is written out.
"""

from importlib import metadata
from itertools import cycle

import inputs
import numpy as np
import pydynet as pdn
import pydynet.nn.functional as F
from pydynet import nn
from pydynet.optim import Adam


def version() -> str:
    return metadata.version("pydynet")


def leaf(array):
    return pdn.Tensor(array, dtype=np.float32, requires_grad=True)


def w1(threads):
    arrays = inputs.chain()
    w, b = leaf(arrays["w"]), leaf(arrays["b"])

    def step():
        w.zero_grad()
        b.zero_grad()
        x = pdn.Tensor(arrays["x"])
        for _ in range(inputs.LINKS):
            x = pdn.tanh(x * w + b)
        loss = x.sum()
        loss.backward()
        return loss.item()

    return step


def trained(loss_of, parameters, batches):
    """A step of Adam on the next batch; loss_of(*batch)."""
    optimizer = Adam(parameters, lr=1e-3)
    coming = cycle(batches)

    def step():
        loss = loss_of(*next(coming))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def w2(threads):
    weights, batches = inputs.mlp()
    W1, b1, W2, b2, W3, b3 = parameters = [leaf(weight) for weight in weights.values()]

    def loss_of(images, labels):
        x = F.relu(F.linear(pdn.Tensor(images), W1, b1))
        x = F.relu(F.linear(x, W2, b2))
        return F.cross_entropy_loss(F.linear(x, W3, b3), labels)

    return trained(loss_of, parameters, batches)


class RNNsearch(nn.Module):
    def __init__(self, weights) -> None:
        super().__init__()
        self.encoder = nn.GRU(inputs.EMBEDDING, inputs.STATE, bidirectional=True, dtype=np.float32)
        load_cell(self.encoder.gru_0, weights, "forwards")
        load_cell(self.encoder.rgru_0, weights, "backwards")
        self.decoder = nn.GRUCell(inputs.EMBEDDING + 2 * inputs.STATE, inputs.STATE, dtype=np.float32)
        load_cell(self.decoder, weights, "decoder")
        for name in ("source_embedding", "target_embedding", "W_s", "b_s", "W_a", "U_a", "v", "W_o", "b_o"):
            setattr(self, name, nn.Parameter(pdn.Tensor(weights[name])))

    def forward(self, source, previous):
        """Logits (length * pairs, words)."""
        states, _ = self.encoder(one_hot(source.T) @ self.source_embedding)
        annotations = states.swapaxes(0, 1)
        keys = annotations @ self.U_a
        state = F.tanh(F.linear(states[0, :, inputs.STATE :], self.W_s, self.b_s))
        outputs = []
        for ids in previous.T:
            word = one_hot(ids) @ self.target_embedding
            energies = F.tanh(pdn.unsqueeze(state @ self.W_a, 1) + keys) @ self.v
            context = pdn.squeeze(pdn.unsqueeze(F.softmax(energies, axis=1), 1) @ annotations, 1)
            state = self.decoder(pdn.concat([word, context], axis=1), state)
            outputs.append(pdn.concat([state, context], axis=1))
        return F.linear(pdn.concat(outputs), self.W_o, self.b_o)


def load_cell(cell, weights, name):
    """PyDyNet's gated unit is minattn's: it resets the state before the product, and z says how much is renewed."""
    for own, given in ("Wx", "W"), ("Wh", "U"), ("bias", "b"):
        reset, update, candidate = np.split(weights[f"{name}_{given}"], 3, axis=-1)
        getattr(cell, f"{own}1").data[...] = np.concatenate([-update, reset], axis=-1)
        getattr(cell, f"{own}2").data[...] = candidate


def one_hot(ids, words=inputs.WORDS):
    return pdn.Tensor(np.eye(words, dtype=np.float32)[ids])


def w3(threads):
    weights, batches = inputs.rnnsearch()
    model = RNNsearch(weights)

    def loss_of(source, previous, target):
        return F.cross_entropy_loss(model(source, previous), target.T.ravel())

    return trained(loss_of, model.parameters(), batches)


def attention(p, name, x, memory, length, heads, mask=None):
    """Multi-head attention of x (batch * length, d) over memory; mask: what is added to the scores."""

    def heads_of(y, part):
        projected = y @ p[f"{name}_W_{part}"]
        return projected.reshape(-1, length, heads, x.shape[1] // heads).swapaxes(1, 2)

    q, k, v = heads_of(x, "Q"), heads_of(memory, "K"), heads_of(memory, "V")
    scores = (q * q.shape[-1] ** -0.5) @ k.swapaxes(2, 3)
    context = F.softmax(scores if mask is None else scores + mask, axis=3) @ v
    return context.swapaxes(1, 2).reshape(*x.shape) @ p[f"{name}_W_O"]


def causal_mask(length):
    return pdn.Tensor(np.triu(np.full((length, length), -1e9, np.float32), 1))


def feed_forward(p, name, x, activation):
    hidden = activation(F.linear(x, p[f"{name}_W_1"], p[f"{name}_b_1"]))
    return F.linear(hidden, p[f"{name}_W_2"], p[f"{name}_b_2"])


def norm(p, name, x):
    return layer_norm(x, p[f"{name}_weight"], p[f"{name}_bias"])


def transformer(p, source, previous):
    """Post-norm; logits (pairs * length, words)."""
    layers, d_model, _, heads = inputs.TRANSFORMER
    length, mask = inputs.LENGTH, causal_mask(inputs.LENGTH)
    positions = pdn.Tensor(np.tile(inputs.sinusoids(), (inputs.PAIRS, 1)))
    x = one_hot(source.ravel()) @ p["source_embedding"] * d_model**0.5 + positions
    for layer in (f"encoder{i}" for i in range(1, layers + 1)):
        x = norm(p, f"{layer}_norm1", x + attention(p, f"{layer}_self", x, x, length, heads))
        x = norm(p, f"{layer}_norm2", x + feed_forward(p, f"{layer}_forward", x, F.relu))
    y = one_hot(previous.ravel()) @ p["target_embedding"] * d_model**0.5 + positions
    for layer in (f"decoder{i}" for i in range(1, layers + 1)):
        y = norm(p, f"{layer}_norm1", y + attention(p, f"{layer}_self", y, y, length, heads, mask))
        y = norm(p, f"{layer}_norm2", y + attention(p, f"{layer}_across", y, x, length, heads))
        y = norm(p, f"{layer}_norm3", y + feed_forward(p, f"{layer}_forward", y, F.relu))
    return y @ p["target_embedding"].T


def w4(threads):
    weights, batches = inputs.transformer()
    p = {name: leaf(weight) for name, weight in weights.items()}

    def loss_of(source, previous, target):
        return F.cross_entropy_loss(transformer(p, source, previous), target.ravel())

    return trained(loss_of, list(p.values()), batches)


def language_model(p, source):
    """Pre-norm; logits (texts * length, words)."""
    layers, d_model, _, heads = inputs.LANGUAGE_MODEL
    length, mask = inputs.CONTEXT, causal_mask(inputs.CONTEXT)
    words = one_hot(source.ravel(), inputs.BYTES) @ p["embedding"] * d_model**0.5
    x = (words.reshape(-1, length, d_model) + p["positions"]).reshape(-1, d_model)
    for layer in (f"layer{i}" for i in range(1, layers + 1)):
        y = norm(p, f"{layer}_norm1", x)
        x = x + attention(p, f"{layer}_self", y, y, length, heads, mask)
        x = x + feed_forward(p, f"{layer}_forward", norm(p, f"{layer}_norm2", x), gelu)
    return norm(p, "norm", x) @ p["embedding"].T


def w5(threads):
    weights, batches = inputs.language_model()
    p = {name: leaf(weight) for name, weight in weights.items()}

    def loss_of(source, target):
        return F.cross_entropy_loss(language_model(p, source), target.ravel())

    return trained(loss_of, list(p.values()), batches)


def w8(function, *names):
    """A step of function(x, *the arrays with these names), forward and backward from a sum, the only way it has."""
    arrays = inputs.rows()
    g = pdn.Tensor(arrays["g"])
    x, *parameters = (leaf(arrays[name]) for name in ("x", *names))

    def step():
        for parameter in (x, *parameters):
            parameter.zero_grad()
        pdn.sum(function(x, *parameters) * g).backward()
        return x.grad[inputs.ELEMENT].item()

    return step


def softmax(x):
    return F.softmax(x, axis=1)


def layer_norm(x, weight, bias):
    deviation = x - x.mean(1, keepdims=True)
    variance = pdn.square(deviation).mean(1, keepdims=True)
    return deviation * (1 / pdn.sqrt(variance + inputs.EPSILON)) * weight + bias


def gelu(x):
    """0.5 x (1 + tanh u) = x / (1 + exp(-2 u)) for u = sqrt(2 / pi) (x + 0.044715 x^3)."""
    return x / (1 + pdn.exp(x * (-1.5957691216 - 0.0713548163 * pdn.square(x))))


WORKLOADS = {
    "W1": w1,
    "W2": w2,
    "W3": w3,
    "W4": w4,
    "W5": w5,
    "W8-softmax": lambda threads: w8(softmax),
    "W8-layernorm": lambda threads: w8(layer_norm, "weight", "bias"),
    "W8-gelu": lambda threads: w8(gelu),
}
NOT_WRITTEN = "it has convolutions, but this is not written for it"
CANNOT = {
    "W6": NOT_WRITTEN,
    "W6se": NOT_WRITTEN,
    "W6i": NOT_WRITTEN,
    "W6sei": NOT_WRITTEN,
    "W7-forward": NOT_WRITTEN,
    "W7-backward": NOT_WRITTEN,
}
