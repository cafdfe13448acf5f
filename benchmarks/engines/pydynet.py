"""PyDyNet.

Its index keeps only one of the gradients of a row that is taken twice, so words are embedded by a product with one-hot
rows; its layer norm is over the batch, so that over rows is written out.
"""

from itertools import cycle

import numpy as np
import pydynet as pdn
import pydynet.nn.functional as F
from pydynet.optim import Adam

from benchmarks.inputs import EPSILON

constant, matmul, relu, sigmoid, split = pdn.Tensor, pdn.matmul, F.relu, F.sigmoid, pdn.split
sum, swapaxes, tanh, cross_entropy = pdn.sum, pdn.swapaxes, pdn.tanh, F.cross_entropy_loss


def leaf(array):
    return pdn.Tensor(array, dtype=np.float32, requires_grad=True)


def linear(x, weight, bias=None):
    return F.linear(x, weight, bias)


def tied(x, embedding):
    return x @ embedding.T


def embed(table, ids):
    return pdn.Tensor(np.eye(table.shape[0], dtype=np.float32)[ids]) @ table


def reshape(x, shape):
    return x.reshape(*shape)


def concat(xs, axis):
    return pdn.concat(xs, axis=axis)


def stack(xs):
    return pdn.concat([pdn.unsqueeze(x, 1) for x in xs], axis=1)


def softmax(x):
    return F.softmax(x, axis=x.ndim - 1)


def layer_norm(x, weight, bias):
    deviation = x - x.mean(1, keepdims=True)
    variance = pdn.square(deviation).mean(1, keepdims=True)
    return deviation * (1 / pdn.sqrt(variance + EPSILON)) * weight + bias


def gelu(x):
    """0.5 x (1 + tanh u) = x / (1 + exp(-2 u)) for u = sqrt(2 / pi) (x + 0.044715 x^3)."""
    return x / (1 + pdn.exp(x * (-1.5957691216 - 0.0713548163 * pdn.square(x))))


# ---------------------------------------------------------------------------------------------- steps
def differentiated(loss_of, parameters):
    p = {name: leaf(array) for name, array in parameters.items()}

    def step():
        for parameter in p.values():
            parameter.zero_grad()
        loss = loss_of(p)
        loss.backward()
        return loss.item()

    return step


def pulled_back(function, inputs, g, elements):
    """Backward from a sum, the only way it has."""
    p, g = {name: leaf(array) for name, array in inputs.items()}, pdn.Tensor(g)

    def step():
        for parameter in p.values():
            parameter.zero_grad()
        pdn.sum(function(p) * g).backward()
        return float(np.sum([p[name].grad[index] for name, index in elements.items()]))

    return step


def trained(loss_of, parameters, batches):
    p = {name: leaf(array) for name, array in parameters.items()}
    optimizer = Adam(list(p.values()), lr=1e-3)
    coming = cycle([[pdn.Tensor(x) if x.dtype == np.float32 else x for x in batch] for batch in batches])

    def step():
        loss = loss_of(p, *next(coming))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step
