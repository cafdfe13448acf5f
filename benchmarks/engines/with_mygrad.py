"""The workloads in MyGrad, with its memory guard off, as its manual advises where speed counts.

It has no optimizer, so Adam is written out.  A plain number would turn a tensor to float64, so numbers are np.float32.
"""

from itertools import cycle
from types import SimpleNamespace

import inputs
import mygrad as mg
import numpy as np
from mygrad.nnet.activations import relu, sigmoid, softmax
from mygrad.nnet.losses import softmax_crossentropy

mg.turn_memory_guarding_off()


def version() -> str:
    return mg.__version__


def w1(threads):
    arrays = inputs.chain()
    w, b = mg.tensor(arrays["w"]), mg.tensor(arrays["b"])

    def step():
        x = arrays["x"]
        for _ in range(inputs.LINKS):
            x = mg.tanh(x * w + b)
        loss = mg.sum(x)
        loss.backward()
        return loss.item()

    return step


def trained(loss_of, weights, batches):
    """A step of Adam on the next batch; loss_of(parameters, *batch)."""
    parameters = {name: mg.tensor(weight) for name, weight in weights.items()}
    adam = Adam(parameters.values())
    coming = cycle(batches)

    def step():
        loss = loss_of(SimpleNamespace(**parameters), *next(coming))
        loss.backward()
        adam.step()
        return loss.item()

    return step


class Adam:
    """In place; a tensor's gradient is forgotten when the tensor is next used."""

    def __init__(self, parameters, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8) -> None:
        self.slots = [(p, np.zeros_like(p.data), np.zeros_like(p.data)) for p in parameters]
        self.lr, self.beta1, self.beta2, self.eps = lr, beta1, beta2, eps
        self.t = 0

    def step(self) -> None:
        self.t += 1
        rate = self.lr * (1 - self.beta2**self.t) ** 0.5 / (1 - self.beta1**self.t)
        eps = self.eps * (1 - self.beta2**self.t) ** 0.5
        for p, m, v in self.slots:
            g = p.grad
            m *= self.beta1
            m += (1 - self.beta1) * g
            v *= self.beta2
            v += (1 - self.beta2) * (g * g)
            root = np.sqrt(v)
            root += eps
            p.data -= rate * m / root


def w2(threads):
    def loss_of(p, images, labels):
        x = relu(images @ p.W1 + p.b1)
        x = relu(x @ p.W2 + p.b2)
        return softmax_crossentropy(x @ p.W3 + p.b3, labels)

    return trained(loss_of, *inputs.mlp())


def gru_cell(x, state, U, c):
    """One step of the reset-after GRU; x: the input's part, W x + b."""
    n = inputs.STATE
    h = state @ U + c
    gates = sigmoid(x[:, : 2 * n] + h[:, : 2 * n])
    r, z = gates[:, :n], gates[:, n:]
    candidate = mg.tanh(x[:, 2 * n :] + r * h[:, 2 * n :])
    return candidate + z * (state - candidate)


def read(words, W, U, b, c):
    """The states of a gated unit after each of the words (length, pairs, embedding)."""
    state, states = np.zeros((inputs.PAIRS, inputs.STATE), np.float32), []
    for x in words @ W + b:
        state = gru_cell(x, state, U, c)
        states.append(state)
    return states


def rnnsearch(p, source, previous):
    """Logits (length, pairs, words)."""
    words = p.source_embedding[source.T]
    forwards = read(words, p.forwards_W, p.forwards_U, p.forwards_b, p.forwards_c)
    backwards = read(words[::-1], p.backwards_W, p.backwards_U, p.backwards_b, p.backwards_c)[::-1]
    annotations = mg.concatenate([mg.stack(forwards, axis=1), mg.stack(backwards, axis=1)], axis=2)
    keys = annotations @ p.U_a
    state = mg.tanh(backwards[0] @ p.W_s + p.b_s)
    outputs = []
    for word in p.target_embedding[previous.T]:
        energies = mg.tanh(mg.expand_dims(state @ p.W_a, 1) + keys) @ p.v
        context = (softmax(energies)[:, None] @ annotations)[:, 0]
        x = mg.concatenate([word, context], axis=1) @ p.decoder_W + p.decoder_b
        state = gru_cell(x, state, p.decoder_U, p.decoder_c)
        outputs.append(mg.concatenate([state, context], axis=1))
    return mg.stack(outputs) @ p.W_o + p.b_o


def w3(threads):
    def loss_of(p, source, previous, target):
        logits = rnnsearch(p, source, previous)
        return softmax_crossentropy(logits.reshape(-1, inputs.WORDS), target.T.ravel())

    return trained(loss_of, *inputs.rnnsearch())


def attention(p, name, x, memory, length, heads, mask=None):
    """Multi-head attention of x (batch * length, d) over memory; mask: what is added to the scores."""

    def heads_of(y, part):
        projected = y @ p[f"{name}_W_{part}"]
        return mg.swapaxes(projected.reshape(-1, length, heads, x.shape[1] // heads), 1, 2)

    q, k, v = heads_of(x, "Q"), heads_of(memory, "K"), heads_of(memory, "V")
    scores = (q * np.float32(q.shape[-1] ** -0.5)) @ mg.swapaxes(k, 2, 3)
    context = softmax(scores if mask is None else scores + mask) @ v
    return mg.swapaxes(context, 1, 2).reshape(x.shape) @ p[f"{name}_W_O"]


def causal_mask(length):
    return np.triu(np.full((length, length), -1e9, np.float32), 1)


def feed_forward(p, name, x, activation):
    return activation(x @ p[f"{name}_W_1"] + p[f"{name}_b_1"]) @ p[f"{name}_W_2"] + p[f"{name}_b_2"]


def norm(p, name, x):
    return layer_norm(x, p[f"{name}_weight"], p[f"{name}_bias"])


def transformer(p, source, previous):
    """Post-norm; logits (pairs * length, words)."""
    layers, d_model, _, heads = inputs.TRANSFORMER
    length, mask, scale = inputs.LENGTH, causal_mask(inputs.LENGTH), np.float32(d_model**0.5)
    positions = np.tile(inputs.sinusoids(), (inputs.PAIRS, 1))
    x = p["source_embedding"][source.ravel()] * scale + positions
    for layer in (f"encoder{i}" for i in range(1, layers + 1)):
        x = norm(p, f"{layer}_norm1", x + attention(p, f"{layer}_self", x, x, length, heads))
        x = norm(p, f"{layer}_norm2", x + feed_forward(p, f"{layer}_forward", x, relu))
    y = p["target_embedding"][previous.ravel()] * scale + positions
    for layer in (f"decoder{i}" for i in range(1, layers + 1)):
        y = norm(p, f"{layer}_norm1", y + attention(p, f"{layer}_self", y, y, length, heads, mask))
        y = norm(p, f"{layer}_norm2", y + attention(p, f"{layer}_across", y, x, length, heads))
        y = norm(p, f"{layer}_norm3", y + feed_forward(p, f"{layer}_forward", y, relu))
    return y @ p["target_embedding"].T


def w4(threads):
    def loss_of(p, source, previous, target):
        return softmax_crossentropy(transformer(vars(p), source, previous), target.ravel())

    return trained(loss_of, *inputs.transformer())


def language_model(p, source):
    """Pre-norm; logits (texts * length, words)."""
    layers, d_model, _, heads = inputs.LANGUAGE_MODEL
    length, mask = inputs.CONTEXT, causal_mask(inputs.CONTEXT)
    x = (p["embedding"][source] * np.float32(d_model**0.5) + p["positions"]).reshape(-1, d_model)
    for layer in (f"layer{i}" for i in range(1, layers + 1)):
        y = norm(p, f"{layer}_norm1", x)
        x = x + attention(p, f"{layer}_self", y, y, length, heads, mask)
        x = x + feed_forward(p, f"{layer}_forward", norm(p, f"{layer}_norm2", x), gelu)
    return norm(p, "norm", x) @ p["embedding"].T


def w5(threads):
    def loss_of(p, source, target):
        return softmax_crossentropy(language_model(vars(p), source), target.ravel())

    return trained(loss_of, *inputs.language_model())


def w8(function, *names):
    """A step of function(x, *the arrays with these names), forward and backward."""
    arrays = inputs.rows()
    x, *parameters = (mg.tensor(arrays[name]) for name in ("x", *names))

    def step():
        function(x, *parameters).backward(arrays["g"])
        return x.grad[inputs.ELEMENT].item()

    return step


def layer_norm(x, weight, bias):
    size, eps, one = np.float32([x.shape[1], inputs.EPSILON, 1])
    deviation = x - mg.mean(x, axis=1, keepdims=True)
    variance = mg.einsum("nd,nd->n", deviation, deviation) / size
    return mg.einsum("nd,n,d->nd", deviation, one / mg.sqrt(variance + eps), weight) + bias


def gelu(x):
    """0.5 x (1 + tanh u) = x sigma(2 u) for u = sqrt(2 / pi) (x + 0.044715 x^3)."""
    a, b = np.float32([1.5957691216, 0.0713548163])
    return x * sigmoid(x * (a + b * mg.square(x)))


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
