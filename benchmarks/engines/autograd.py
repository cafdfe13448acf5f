"""autograd (HIPS).

Its optimizers run a whole training and turn everything to float64, so Adam is written out.  np.split takes arrays
apart: its gradient is one concatenation, that of an index an array of zeros each time.  The gradients of np.mean and
np.maximum are float64, so neither is used.
"""

from itertools import cycle

import autograd.numpy as np
from autograd.differential_operators import make_vjp, value_and_grad
from autograd.tracer import getval

from benchmarks.engines.common import Adam
from benchmarks.inputs import EPSILON

concat, matmul, reshape, split, sum, swapaxes, tanh = (
    *(np.concatenate, np.matmul, np.reshape, np.split, np.sum, np.swapaxes, np.tanh),
)


def constant(array):
    return array


def linear(x, weight, bias=None):
    return np.matmul(x, weight) if bias is None else np.matmul(x, weight) + bias


def tied(x, embedding):
    return np.matmul(x, embedding.T)


def embed(table, ids):
    return np.matmul(np.eye(table.shape[0], dtype=np.float32)[ids], table)


def stack(xs):
    return np.stack(xs, axis=1)


def relu(x):
    return x * (x > 0)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softmax(x):
    e = np.exp(x - getval(x).max(-1, keepdims=True))
    return e * (1 / np.sum(e, axis=-1, keepdims=True))


def layer_norm(x, weight, bias):
    size = x.shape[1]
    deviation = x - np.sum(x, axis=1, keepdims=True) / size
    variance = np.einsum("nd,nd->n", deviation, deviation) / size
    return np.einsum("nd,n,d->nd", deviation, 1 / np.sqrt(variance + EPSILON), weight) + bias


def gelu(x):
    """0.5 x (1 + tanh u) = x / (1 + exp(-2 u)) for u = sqrt(2 / pi) (x + 0.044715 x^3)."""
    return x / (1 + np.exp(x * (-1.5957691216 - 0.0713548163 * (x * x))))


def cross_entropy(logits, labels):
    logits = logits - getval(logits).max(1, keepdims=True)
    of_label = logits[np.arange(len(labels)), labels]
    return np.sum(np.log(np.sum(np.exp(logits), axis=1)) - of_label) / len(labels)


# ---------------------------------------------------------------------------------------------- steps
def differentiated(loss_of, parameters):
    gradient = value_and_grad(loss_of)

    def step():
        loss, _ = gradient(parameters)
        return float(loss)

    return step


def pulled_back(function, inputs, g, elements):
    differentiable = make_vjp(function)

    def step():
        pull_back, _ = differentiable(inputs)
        gradients = pull_back(g)
        return float(np.sum([gradients[name][index] for name, index in elements.items()]))

    return step


def trained(loss_of, parameters, batches):
    gradient = value_and_grad(loss_of)
    adam, coming = Adam(), cycle(batches)

    def step():
        loss, gradients = gradient(parameters, *next(coming))
        adam.step({name: (parameters[name], g) for name, g in gradients.items()})
        return float(loss)

    return step
