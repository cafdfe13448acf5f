"""DeZero.

It cannot concatenate or split, which is added here as its users add functions, and has products of two matrices only,
so that attention is summed by broadcasting.  Its index adds up gradients element by element, slowly, so words are
embedded by a product with one-hot rows.  Labels are int16, as those of 32 bits or more turn all gradients to float64.
"""

from itertools import cycle

import dezero
import dezero.functions as F
import numpy as np
from dezero import Function, Layer, Parameter, Variable

constant, relu, reshape, sigmoid, softmax, sum, tanh = (
    *(Variable, F.relu, F.reshape, F.sigmoid, F.softmax, F.sum, F.tanh),
)
cross_entropy = F.softmax_cross_entropy


class Concatenate(Function):
    def __init__(self, axis) -> None:
        self.axis = axis

    def forward(self, *xs):
        self.ends = np.cumsum([x.shape[self.axis] for x in xs])[:-1]
        return np.concatenate(xs, self.axis)

    def backward(self, gy):
        return tuple(Variable(part) for part in np.split(gy.data, self.ends, self.axis))


class Split(Function):
    def __init__(self, parts, axis) -> None:
        self.parts, self.axis = parts, axis

    def forward(self, x):
        return tuple(np.split(x, self.parts, self.axis))

    def backward(self, *gys):
        return Variable(np.concatenate([gy.data for gy in gys], self.axis))


def concat(xs, axis):
    return Concatenate(axis)(*xs)


def split(x, parts, axis):
    return Split(parts, axis)(x)


def stack(xs):
    """Matrices (rows, columns) to (rows, number, columns)."""
    return F.reshape(concat(xs, 1), (xs[0].shape[0], len(xs), -1))


def linear(x, weight, bias=None):
    if x.ndim == 2:
        return F.linear(x, weight, bias)
    return F.reshape(F.linear(F.reshape(x, (-1, x.shape[-1])), weight, bias), (*x.shape[:-1], weight.shape[1]))


def matmul(row, matrices):
    """(n, 1, k) times (n, k, m)."""
    return F.sum(F.reshape(row, (*matrices.shape[:2], 1)) * matrices, axis=1, keepdims=True)


def embed(table, ids):
    return F.matmul(Variable(np.eye(table.shape[0], dtype=np.float32)[ids]), table)


def layer_norm(x, weight, bias):
    size = x.shape[1]
    deviation = x - F.sum(x, axis=1, keepdims=True) / size
    variance = F.sum(deviation * deviation, axis=1, keepdims=True) / size
    return deviation * (variance + 1e-5) ** -0.5 * weight + bias


def gelu(x):
    """0.5 x (1 + tanh u) = x sigma(2 u) for u = sqrt(2 / pi) (x + 0.044715 x^3)."""
    return x * F.sigmoid(x * (1.5957691216 + 0.0713548163 * (x * x)))


# ---------------------------------------------------------------------------------------------- steps
def layer(parameters) -> tuple[Layer, dict[str, Parameter]]:
    """A layer of the parameters, and these by their names."""
    made = Layer()
    for name, array in parameters.items():
        setattr(made, name, Parameter(array))
    return made, {name: getattr(made, name) for name in parameters}


def differentiated(loss_of, parameters):
    model, p = layer(parameters)

    def step():
        model.cleargrads()
        loss = loss_of(p)
        loss.backward()
        return float(loss.data)

    return step


def pulled_back(function, inputs, g, elements):
    model, p = layer(inputs)

    def step():
        model.cleargrads()
        y = function(p)
        y.grad = Variable(g)
        y.backward()
        return float(np.sum([p[name].grad.data[index] for name, index in elements.items()]))

    return step


def trained(loss_of, parameters, batches):
    model, p = layer(parameters)
    optimizer = dezero.optimizers.Adam(alpha=1e-3).setup(model)
    coming = cycle([(*given, labels.astype(np.int16)) for *given, labels in batches])

    def step():
        loss = loss_of(p, *next(coming))
        model.cleargrads()
        loss.backward()
        optimizer.update()
        return float(loss.data)

    return step
