"""The workloads in autograd (HIPS).

Its optimizers run a whole training and turn everything to float64, so Adam is written out.  np.split takes arrays
apart: its gradient is one concatenation, that of an index an array of zeros each time.  The gradients of np.mean and
np.maximum are float64, so neither is used.
"""

from importlib import metadata
from itertools import cycle
from types import SimpleNamespace

import autograd.numpy as np
import inputs
from autograd.differential_operators import make_vjp, value_and_grad
from autograd.tracer import getval


def version() -> str:
    return metadata.version("autograd")


def w1(threads):
    arrays = inputs.chain()

    def chain(w, b):
        x = arrays["x"]
        for _ in range(inputs.LINKS):
            x = np.tanh(x * w + b)
        return np.sum(x)

    gradient = value_and_grad(chain, argnum=(0, 1))

    def step():
        loss, _ = gradient(arrays["w"], arrays["b"])
        return float(loss)

    return step


def trained(loss_of, weights, batches):
    """A step of Adam on the next batch; loss_of(weights, *batch)."""
    gradient = value_and_grad(loss_of)
    adam = Adam(weights)
    coming = cycle(batches)

    def step():
        loss, gradients = gradient(weights, *next(coming))
        adam.step(gradients)
        return float(loss)

    return step


class Adam:
    """In place, on a dict of arrays."""

    def __init__(self, weights, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8) -> None:
        self.weights, self.lr, self.beta1, self.beta2, self.eps = weights, lr, beta1, beta2, eps
        self.m = {name: np.zeros_like(weight) for name, weight in weights.items()}
        self.v = {name: np.zeros_like(weight) for name, weight in weights.items()}
        self.t = 0

    def step(self, gradients) -> None:
        self.t += 1
        rate = self.lr * (1 - self.beta2**self.t) ** 0.5 / (1 - self.beta1**self.t)
        eps = self.eps * (1 - self.beta2**self.t) ** 0.5
        for name, g in gradients.items():
            m, v = self.m[name], self.v[name]
            m *= self.beta1
            m += (1 - self.beta1) * g
            v *= self.beta2
            v += (1 - self.beta2) * (g * g)
            root = np.sqrt(v)
            root += eps
            self.weights[name] -= rate * m / root


def cross_entropy(logits, labels):
    """The mean, of logits (n, classes) and labels (n,)."""
    logits = logits - getval(logits).max(1, keepdims=True)
    of_label = logits[np.arange(len(labels)), labels]
    return np.sum(np.log(np.sum(np.exp(logits), axis=1)) - of_label) / len(labels)


def relu(x):
    return x * (x > 0)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softmax(x):
    e = np.exp(x - getval(x).max(-1, keepdims=True))
    return e * (1 / np.sum(e, axis=-1, keepdims=True))


def w2(threads):
    def loss_of(weights, images, labels):
        x = relu(np.matmul(images, weights["W1"]) + weights["b1"])
        x = relu(np.matmul(x, weights["W2"]) + weights["b2"])
        return cross_entropy(np.matmul(x, weights["W3"]) + weights["b3"], labels)

    return trained(loss_of, *inputs.mlp())


def gru_cell(x, state, U, c):
    """One step of the reset-after GRU; x: the input's part, W x + b."""
    r_x, z_x, n_x = np.split(x, 3, axis=1)
    r_h, z_h, n_h = np.split(np.matmul(state, U) + c, 3, axis=1)
    z = sigmoid(z_x + z_h)
    n = np.tanh(n_x + sigmoid(r_x + r_h) * n_h)
    return n + z * (state - n)


def read(words, W, U, b, c):
    """The states of a gated unit after each of the words, a list of (pairs, embedding)."""
    state, states = np.zeros((inputs.PAIRS, inputs.STATE), np.float32), []
    for word in words:
        state = gru_cell(np.matmul(word, W) + b, state, U, c)
        states.append(state)
    return states


def embedded(table, ids):
    """A list of (pairs, embedding), one for each column of ids."""
    rows = np.matmul(np.eye(inputs.WORDS, dtype=np.float32)[ids.T.ravel()], table)
    return list(np.split(rows, ids.shape[1]))


def rnnsearch(weights, source, previous):
    """Logits (length * pairs, words)."""
    p = SimpleNamespace(**{name: weights[name] for name in weights})
    words = embedded(p.source_embedding, source)
    forwards = read(words, p.forwards_W, p.forwards_U, p.forwards_b, p.forwards_c)
    backwards = read(words[::-1], p.backwards_W, p.backwards_U, p.backwards_b, p.backwards_c)[::-1]
    annotations = np.concatenate([np.stack(forwards, axis=1), np.stack(backwards, axis=1)], axis=2)
    keys = np.matmul(annotations, p.U_a)
    state = np.tanh(np.matmul(backwards[0], p.W_s) + p.b_s)
    outputs = []
    for word in embedded(p.target_embedding, previous):
        hidden = np.tanh(np.expand_dims(np.matmul(state, p.W_a), 1) + keys)
        alignment = softmax(np.matmul(hidden, p.v))
        context = np.squeeze(np.matmul(np.expand_dims(alignment, 1), annotations), 1)
        x = np.matmul(np.concatenate([word, context], axis=1), p.decoder_W) + p.decoder_b
        state = gru_cell(x, state, p.decoder_U, p.decoder_c)
        outputs.append(np.concatenate([state, context], axis=1))
    return np.matmul(np.concatenate(outputs), p.W_o) + p.b_o


def w3(threads):
    def loss_of(weights, source, previous, target):
        return cross_entropy(rnnsearch(weights, source, previous), target.T.ravel())

    return trained(loss_of, *inputs.rnnsearch())


def attention(p, name, x, memory, length, heads, mask=0.0):
    """Multi-head attention of x (batch * length, d) over memory; mask: what is added to the scores."""

    def heads_of(y, part):
        projected = np.matmul(y, p[f"{name}_W_{part}"])
        return np.swapaxes(np.reshape(projected, (-1, length, heads, x.shape[1] // heads)), 1, 2)

    q, k, v = heads_of(x, "Q"), heads_of(memory, "K"), heads_of(memory, "V")
    scores = np.matmul(q * (1 / q.shape[-1] ** 0.5), np.swapaxes(k, 2, 3)) + mask
    context = np.reshape(np.swapaxes(np.matmul(softmax(scores), v), 1, 2), x.shape)
    return np.matmul(context, p[f"{name}_W_O"])


def causal_mask(length):
    return -1e9 * np.triu(np.ones((length, length), np.float32), 1)


def feed_forward(p, name, x, activation):
    hidden = activation(np.matmul(x, p[f"{name}_W_1"]) + p[f"{name}_b_1"])
    return np.matmul(hidden, p[f"{name}_W_2"]) + p[f"{name}_b_2"]


def norm(p, name, x):
    return layer_norm(x, p[f"{name}_weight"], p[f"{name}_bias"])


def one_hot(ids, words):
    return np.eye(words, dtype=np.float32)[ids.ravel()]


def transformer(p, source, previous):
    """Post-norm; logits (pairs * length, words)."""
    layers, d_model, _, heads = inputs.TRANSFORMER
    length, mask = inputs.LENGTH, causal_mask(inputs.LENGTH)
    positions = np.tile(inputs.sinusoids(), (inputs.PAIRS, 1))
    target_embedding = p["target_embedding"]
    x = np.matmul(one_hot(source, inputs.WORDS), p["source_embedding"]) * d_model**0.5 + positions
    for layer in (f"encoder{i}" for i in range(1, layers + 1)):
        x = norm(p, f"{layer}_norm1", x + attention(p, f"{layer}_self", x, x, length, heads))
        x = norm(p, f"{layer}_norm2", x + feed_forward(p, f"{layer}_forward", x, relu))
    y = np.matmul(one_hot(previous, inputs.WORDS), target_embedding) * d_model**0.5 + positions
    for layer in (f"decoder{i}" for i in range(1, layers + 1)):
        y = norm(p, f"{layer}_norm1", y + attention(p, f"{layer}_self", y, y, length, heads, mask))
        y = norm(p, f"{layer}_norm2", y + attention(p, f"{layer}_across", y, x, length, heads))
        y = norm(p, f"{layer}_norm3", y + feed_forward(p, f"{layer}_forward", y, relu))
    return np.matmul(y, target_embedding.T)


def w4(threads):
    def loss_of(weights, source, previous, target):
        return cross_entropy(transformer(weights, source, previous), target.ravel())

    return trained(loss_of, *inputs.transformer())


def language_model(p, source):
    """Pre-norm; logits (texts * length, words)."""
    layers, d_model, _, heads = inputs.LANGUAGE_MODEL
    length, mask = inputs.CONTEXT, causal_mask(inputs.CONTEXT)
    embedding = p["embedding"]
    embedded = np.matmul(one_hot(source, inputs.BYTES), embedding) * d_model**0.5
    x = np.reshape(np.reshape(embedded, (-1, length, d_model)) + p["positions"], embedded.shape)
    for layer in (f"layer{i}" for i in range(1, layers + 1)):
        y = norm(p, f"{layer}_norm1", x)
        x = x + attention(p, f"{layer}_self", y, y, length, heads, mask)
        x = x + feed_forward(p, f"{layer}_forward", norm(p, f"{layer}_norm2", x), gelu)
    return np.matmul(norm(p, "norm", x), embedding.T)


def w5(threads):
    def loss_of(weights, source, target):
        return cross_entropy(language_model(weights, source), target.ravel())

    return trained(loss_of, *inputs.language_model())


def w8(function, *names):
    """A step of function(x, *the arrays with these names), forward and backward."""
    arrays = inputs.rows()
    given = [arrays[name] for name in ("x", *names)]
    differentiable = make_vjp(function, argnum=tuple(range(len(given))))

    def step():
        pull_back, _ = differentiable(*given)
        d_x, *_ = pull_back(arrays["g"])
        return float(d_x[inputs.ELEMENT])

    return step


def layer_norm(x, weight, bias):
    size = x.shape[1]
    deviation = x - np.sum(x, axis=1, keepdims=True) / size
    variance = np.einsum("nd,nd->n", deviation, deviation) / size
    return np.einsum("nd,n,d->nd", deviation, 1 / np.sqrt(variance + inputs.EPSILON), weight) + bias


def gelu(x):
    """0.5 x (1 + tanh u) = x / (1 + exp(-2 u)) for u = sqrt(2 / pi) (x + 0.044715 x^3)."""
    return x / (1 + np.exp(x * (-1.5957691216 - 0.0713548163 * (x * x))))


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
WITHOUT_IMAGES = "its convolution has no padding and no strides, and it has no batch norm"
CANNOT = {
    "W6": WITHOUT_IMAGES,
    "W6se": WITHOUT_IMAGES,
    "W6i": WITHOUT_IMAGES,
    "W6sei": WITHOUT_IMAGES,
    "W7-forward": WITHOUT_IMAGES,
    "W7-backward": WITHOUT_IMAGES,
}
