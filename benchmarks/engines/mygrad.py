"""MyGrad, with its memory guard off, as its manual advises where speed counts.

It has no optimizer, so Adam is written out.  A plain number would turn a tensor to float64, so numbers are np.float32.
"""

from itertools import cycle

import mygrad as mg
import numpy as np
from mygrad.nnet.activations import relu, sigmoid, softmax
from mygrad.nnet.losses import softmax_crossentropy

from benchmarks.engines.common import Adam
from benchmarks.inputs import EPSILON

mg.turn_memory_guarding_off()

cross_entropy, matmul, reshape, swapaxes = softmax_crossentropy, mg.matmul, mg.reshape, mg.swapaxes
sum, tanh = mg.sum, mg.tanh
__all__ = ["relu", "sigmoid", "softmax"]


def constant(array):
    return array


def linear(x, weight, bias=None):
    return x @ weight if bias is None else x @ weight + bias


def tied(x, embedding):
    return x @ embedding.T


def embed(table, ids):
    return table[ids]


def concat(xs, axis):
    return mg.concatenate(xs, axis=axis)


def stack(xs):
    return mg.stack(xs, axis=1)


def split(x, parts, axis):
    size = x.shape[axis] // parts
    pieces = [slice(i * size, (i + 1) * size) for i in range(parts)]
    return [x[piece] if axis == 0 else x[:, piece] for piece in pieces]


def layer_norm(x, weight, bias):
    size, eps, one = np.float32([x.shape[1], EPSILON, 1])
    deviation = x - mg.mean(x, axis=1, keepdims=True)
    variance = mg.einsum("nd,nd->n", deviation, deviation) / size
    return mg.einsum("nd,n,d->nd", deviation, one / mg.sqrt(variance + eps), weight) + bias


def gelu(x):
    """0.5 x (1 + tanh u) = x sigma(2 u) for u = sqrt(2 / pi) (x + 0.044715 x^3)."""
    a, b = np.float32([1.5957691216, 0.0713548163])
    return x * sigmoid(x * (a + b * mg.square(x)))


# ---------------------------------------------------------------------------------------------- steps
def tensors(arrays):
    return {name: mg.tensor(array) for name, array in arrays.items()}


def differentiated(loss_of, parameters):
    p = tensors(parameters)

    def step():
        loss = loss_of(p)
        loss.backward()
        return loss.item()

    return step


def pulled_back(function, inputs, g, elements):
    p = tensors(inputs)

    def step():
        function(p).backward(g)
        return float(np.sum([p[name].grad[index] for name, index in elements.items()]))

    return step


def trained(loss_of, parameters, batches):
    p, adam, coming = tensors(parameters), Adam(), cycle(batches)

    def step():
        loss = loss_of(p, *next(coming))
        loss.backward()
        adam.step({name: (each.data, each.grad) for name, each in p.items()})
        return loss.item()

    return step
