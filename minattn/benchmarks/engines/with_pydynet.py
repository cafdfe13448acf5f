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


def one_hot(ids):
    return pdn.Tensor(np.eye(inputs.WORDS, dtype=np.float32)[ids])


def w3(threads):
    weights, batches = inputs.rnnsearch()
    model = RNNsearch(weights)

    def loss_of(source, previous, target):
        return F.cross_entropy_loss(model(source, previous), target.T.ravel())

    return trained(loss_of, model.parameters(), batches)


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
    return deviation * (1 / pdn.sqrt(variance + 1e-5)) * weight + bias


def gelu(x):
    """0.5 x (1 + tanh u) = x / (1 + exp(-2 u)) for u = sqrt(2 / pi) (x + 0.044715 x^3)."""
    return x / (1 + pdn.exp(x * (-1.5957691216 - 0.0713548163 * pdn.square(x))))


WORKLOADS = {
    "W1": w1,
    "W2": w2,
    "W3": w3,
    "W8-softmax": lambda threads: w8(softmax),
    "W8-layernorm": lambda threads: w8(layer_norm, "weight", "bias"),
    "W8-gelu": lambda threads: w8(gelu),
}
CANNOT: dict[str, str] = {}
