"""SmallPebble.  It has no tanh, which is added here as its own functions are made."""

import sys
from itertools import cycle

import numpy as np
import smallpebble as sp

constant, softmax, sum = sp.Variable, sp.softmax, sp.sum


def use(threads) -> None:
    """BLAS is told by environment variables."""
    sys.setrecursionlimit(10_000)  # it goes through the graph by recursion


def number(value):
    return sp.Variable(np.array(value, np.float32))


def tanh(x):
    y = np.tanh(x.array)
    return sp.Variable(y, [(x, lambda g: g * (1 - y * y))])


def relu(x):
    return sp.leaky_relu(x, alpha=0)


def linear(x, weight, bias):
    return sp.matmul(x, weight) + bias


def cross_entropy(logits, labels):
    return sp.cross_entropy(sp.softmax(logits), labels) / number(len(labels))


def layer_norm(x, weight, bias):
    rows, size = x.shape

    def mean(x):
        return sp.reshape(sp.sum(x, axis=1), (rows, 1)) / number(size)

    deviation = x - mean(x)
    inverse = sp.exp(number(-0.5) * sp.log(mean(sp.square(deviation)) + number(1e-5)))
    return deviation * inverse * weight + bias


def gelu(x):
    """0.5 x (1 + tanh u) = x / (1 + exp(-2 u)) for u = sqrt(2 / pi) (x + 0.044715 x^3)."""
    return x / (number(1) + sp.exp(x * (number(-1.5957691216) - number(0.0713548163) * sp.square(x))))


# ---------------------------------------------------------------------------------------------- steps
def differentiated(loss_of, parameters):
    p = {name: sp.Variable(array) for name, array in parameters.items()}

    def step():
        loss = loss_of(p)
        sp.get_gradients(loss)
        return float(loss.array)

    return step


def pulled_back(function, inputs, g, elements):
    """Backward from a sum, the only way it has."""
    p, g = {name: sp.Variable(array) for name, array in inputs.items()}, sp.Variable(g)

    def step():
        gradients = sp.get_gradients(sp.sum(function(p) * g))
        return float(np.sum([gradients[p[name]][index] for name, index in elements.items()]))

    return step


def trained(loss_of, parameters, batches):
    p = {name: sp.Variable(array) for name, array in parameters.items()}
    adam, coming = sp.Adam(alpha=1e-3), cycle(batches)

    def step():
        images, labels = next(coming)
        loss = loss_of(p, sp.Variable(images), labels)
        adam.training_step(list(p.values()), sp.get_gradients(loss))
        return float(loss.array)

    return step
