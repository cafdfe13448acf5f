"""The workloads in DeZero.

It has no concatenation, which is added here as its users add functions, and products of two matrices only, so that
attention is summed by broadcasting.  Its index adds up gradients element by element, slowly: a gated unit has a layer
for each gate, like its own LSTM, and words are embedded by a product with one-hot rows.  Labels are int16, as those of
32 bits or more turn all gradients to float64.
"""

from itertools import cycle

import dezero
import dezero.functions as F
import dezero.layers as L
import inputs
import numpy as np
from dezero import Function, Model, Parameter, Variable


def version() -> str:
    return dezero.__version__


def w1(threads):
    arrays = inputs.chain()
    w, b = Parameter(arrays["w"]), Parameter(arrays["b"])

    def step():
        w.cleargrad()
        b.cleargrad()
        x = Variable(arrays["x"])
        for _ in range(inputs.LINKS):
            x = F.tanh(x * w + b)
        loss = F.sum(x)
        loss.backward()
        return float(loss.data)

    return step


def trained(model, batches):
    """A step of Adam on the next batch; model(*batch) is the loss."""
    optimizer = dezero.optimizers.Adam(alpha=1e-3).setup(model)
    coming = cycle(batches)

    def step():
        loss = model.forward(*next(coming))
        model.cleargrads()
        loss.backward()
        optimizer.update()
        return float(loss.data)

    return step


def linear(weight, bias=None):
    """A layer that starts from weight (inputs, outputs)."""
    layer = L.Linear(weight.shape[1], nobias=bias is None, in_size=weight.shape[0])
    layer.W.data = weight.copy()
    if bias is not None:
        layer.b.data = bias.copy()
    return layer


class MLP(Model):
    def __init__(self, weights) -> None:
        super().__init__()
        self.first = linear(weights["W1"], weights["b1"])
        self.second = linear(weights["W2"], weights["b2"])
        self.third = linear(weights["W3"], weights["b3"])

    def forward(self, images, labels):
        x = F.relu(self.second(F.relu(self.first(Variable(images)))))
        return F.softmax_cross_entropy(self.third(x), labels)


def w2(threads):
    weights, batches = inputs.mlp()
    return trained(MLP(weights), [(images, labels.astype(np.int16)) for images, labels in batches])


class Concatenate(Function):
    def __init__(self, axis) -> None:
        self.axis = axis

    def forward(self, *xs):
        self.ends = np.cumsum([x.shape[self.axis] for x in xs])[:-1]
        return np.concatenate(xs, self.axis)

    def backward(self, gy):
        return tuple(Variable(part) for part in np.split(gy.data, self.ends, self.axis))


def concatenate(xs, axis=1):
    return Concatenate(axis)(*xs)


class GatedUnit(L.Layer):
    """The reset-after GRU."""

    def __init__(self, weights, name) -> None:
        super().__init__()
        W, b, U, c = (np.split(weights[f"{name}_{part}"], 3, axis=-1) for part in "WbUc")
        self.x2r, self.x2z, self.x2n = map(linear, W, b)
        self.h2r, self.h2z, self.h2n = map(linear, U, c)

    def forward(self, x, state):
        r = F.sigmoid(self.x2r(x) + self.h2r(state))
        z = F.sigmoid(self.x2z(x) + self.h2z(state))
        n = F.tanh(self.x2n(x) + r * self.h2n(state))
        return n + z * (state - n)


def read(unit, words):
    """The states of the unit after each of the words, a list of (pairs, embedding)."""
    state, states = Variable(np.zeros((inputs.PAIRS, inputs.STATE), np.float32)), []
    for word in words:
        state = unit(word, state)
        states.append(state)
    return states


def embedded(table, ids):
    """A list of (pairs, embedding), one for each column of ids."""
    one_hot = np.eye(inputs.WORDS, dtype=np.float32)
    return [F.matmul(Variable(one_hot[column]), table) for column in ids.T]


class RNNsearch(Model):
    def __init__(self, weights) -> None:
        super().__init__()
        self.source_embedding = Parameter(weights["source_embedding"])
        self.target_embedding = Parameter(weights["target_embedding"])
        self.forwards = GatedUnit(weights, "forwards")
        self.backwards = GatedUnit(weights, "backwards")
        self.first_state = linear(weights["W_s"], weights["b_s"])
        self.query = linear(weights["W_a"])
        self.key = linear(weights["U_a"])
        self.energy = linear(weights["v"][:, None])
        self.decoder = GatedUnit(weights, "decoder")
        self.readout = linear(weights["W_o"], weights["b_o"])

    def forward(self, source, previous, target):
        batch, length = inputs.PAIRS, inputs.LENGTH
        words = embedded(self.source_embedding, source)
        forwards, backwards = read(self.forwards, words), read(self.backwards, words[::-1])[::-1]
        states = concatenate([concatenate(both) for both in zip(forwards, backwards, strict=True)])
        annotations = F.reshape(states, (batch, length, 2 * inputs.STATE))
        keys = F.reshape(self.key(F.reshape(states, (batch * length, -1))), (batch, length, inputs.ALIGNMENT))
        state = F.tanh(self.first_state(backwards[0]))
        outputs = []
        for word in embedded(self.target_embedding, previous):
            hidden = F.tanh(F.expand_dims(self.query(state), 1) + keys)
            energies = self.energy(F.reshape(hidden, (batch * length, -1)))
            alignment = F.softmax(F.reshape(energies, (batch, length)))
            context = F.sum(F.expand_dims(alignment, 2) * annotations, axis=1)
            state = self.decoder(concatenate([word, context]), state)
            outputs.append(concatenate([state, context]))
        return F.softmax_cross_entropy(self.readout(concatenate(outputs, axis=0)), target.T.ravel())


def w3(threads):
    weights, batches = inputs.rnnsearch()
    return trained(RNNsearch(weights), [(*words, target.astype(np.int16)) for *words, target in batches])


def w8(function, *names):
    """A step of function(x, *the arrays with these names), forward and backward."""
    arrays = inputs.rows()
    x, *parameters = (Parameter(arrays[name]) for name in ("x", *names))

    def step():
        for parameter in (x, *parameters):
            parameter.cleargrad()
        y = function(x, *parameters)
        y.grad = Variable(arrays["g"])
        y.backward()
        return float(x.grad.data[inputs.ELEMENT])

    return step


def layer_norm(x, weight, bias):
    size = x.shape[1]
    deviation = x - F.sum(x, axis=1, keepdims=True) / size
    variance = F.sum(deviation * deviation, axis=1, keepdims=True) / size
    return deviation * (variance + 1e-5) ** -0.5 * weight + bias


def gelu(x):
    """0.5 x (1 + tanh u) = x sigma(2 u) for u = sqrt(2 / pi) (x + 0.044715 x^3)."""
    return x * F.sigmoid(x * (1.5957691216 + 0.0713548163 * (x * x)))


WORKLOADS = {
    "W1": w1,
    "W2": w2,
    "W3": w3,
    "W8-softmax": lambda threads: w8(F.softmax),
    "W8-layernorm": lambda threads: w8(layer_norm, "weight", "bias"),
    "W8-gelu": lambda threads: w8(gelu),
}
WITHOUT_HEADS = "its product is of two matrices, so that attention would be a loop over sentences and heads"
NOT_WRITTEN = "it has convolutions, but this is not written for it"
CANNOT = {
    "W4": WITHOUT_HEADS,
    "W5": WITHOUT_HEADS,
    "W6": NOT_WRITTEN,
    "W6se": NOT_WRITTEN,
    "W6i": NOT_WRITTEN,
    "W6sei": NOT_WRITTEN,
    "W7-forward": NOT_WRITTEN,
    "W7-backward": NOT_WRITTEN,
}
