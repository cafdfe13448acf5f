"""The workloads in SmallPebble.

It has no tanh, which is added here as its own functions are made.
"""

import sys
from importlib import metadata
from itertools import cycle

import inputs
import numpy as np
import smallpebble as sp


def version() -> str:
    return metadata.version("smallpebble")


def constant(number):
    return sp.Variable(np.array(number, np.float32))


def tanh(x):
    y = np.tanh(x.array)
    return sp.Variable(y, [(x, lambda g: g * (1 - y * y))])


def w1(threads):
    sys.setrecursionlimit(10_000)  # it walks the graph by recursion
    x0, w, b = (sp.Variable(array) for array in inputs.chain().values())

    def step():
        x = x0
        for _ in range(inputs.LINKS):
            x = tanh(x * w + b)
        loss = sp.sum(x)
        sp.get_gradients(loss)
        return float(loss.array)

    return step


def w2(threads):
    weights, batches = inputs.mlp()
    W1, b1, W2, b2, W3, b3 = parameters = [sp.Variable(weight) for weight in weights.values()]
    adam = sp.Adam(alpha=1e-3)
    coming = cycle(batches)

    def relu(x):
        return sp.leaky_relu(x, alpha=0)

    def step():
        images, labels = next(coming)
        x = relu(sp.matmul(sp.Variable(images), W1) + b1)
        x = relu(sp.matmul(x, W2) + b2)
        logits = sp.matmul(x, W3) + b3
        loss = sp.cross_entropy(sp.softmax(logits), labels) / constant(len(labels))
        adam.training_step(parameters, sp.get_gradients(loss))
        return float(loss.array)

    return step


def w8(function, *names):
    """A step of function(x, *the arrays with these names), forward and backward from a sum, the only way it has."""
    arrays = inputs.rows()
    g = sp.Variable(arrays["g"])
    x, *parameters = (sp.Variable(arrays[name]) for name in ("x", *names))

    def step():
        loss = sp.sum(function(x, *parameters) * g)
        return float(sp.get_gradients(loss)[x][inputs.ELEMENT])

    return step


def layer_norm(x, weight, bias):
    rows, size = x.shape

    def mean(x):
        return sp.reshape(sp.sum(x, axis=1), (rows, 1)) / constant(size)

    deviation = x - mean(x)
    inverse = sp.exp(constant(-0.5) * sp.log(mean(sp.square(deviation)) + constant(1e-5)))
    return deviation * inverse * weight + bias


def gelu(x):
    """0.5 x (1 + tanh u) = x / (1 + exp(-2 u)) for u = sqrt(2 / pi) (x + 0.044715 x^3)."""
    return x / (constant(1) + sp.exp(x * (constant(-1.5957691216) - constant(0.0713548163) * sp.square(x))))


WORKLOADS = {
    "W1": w1,
    "W2": w2,
    "W8-softmax": lambda threads: w8(sp.softmax),
    "W8-layernorm": lambda threads: w8(layer_norm, "weight", "bias"),
    "W8-gelu": lambda threads: w8(gelu),
}
MANY_PATHS = "its backward pass walks every path through the graph by itself, and the paths multiply at every "
NOT_WRITTEN = "it has convolutions, but this is not written for it"
CANNOT = {
    "W3": MANY_PATHS + "step of a recurrent network",
    "W4": MANY_PATHS + "residual connection",
    "W5": MANY_PATHS + "residual connection",
    "W6": MANY_PATHS + "residual connection",
    "W6se": MANY_PATHS + "residual connection",
    "W6i": MANY_PATHS + "residual connection",
    "W6sei": MANY_PATHS + "residual connection",
    "W7-forward": NOT_WRITTEN,
    "W7-backward": NOT_WRITTEN,
}
