"""Chainer, with its type checks off, as its manual advises where speed counts."""

from itertools import cycle

import chainer
import chainer.functions as F
import numpy as np
from chainer import Chain, Parameter, Variable

from benchmarks.inputs import EPSILON

chainer.config.type_check = False

concat, constant, matmul, relu, reshape, sigmoid = F.concat, Variable, F.matmul, F.relu, F.reshape, F.sigmoid
split, sum, swapaxes, tanh = F.split_axis, F.sum, F.swapaxes, F.tanh
cross_entropy, tied = F.softmax_cross_entropy, F.linear


def linear(x, weight, bias=None):
    """`chain` has turned the weight, as Chainer keeps it."""
    return F.linear(x, weight, bias, n_batch_axes=x.ndim - 1)


def embed(table, ids):
    return F.embed_id(ids, table)


def stack(xs):
    return F.stack(xs, axis=1)


def softmax(x):
    return F.softmax(x, axis=x.ndim - 1)


def layer_norm(x, weight, bias):
    return F.layer_normalization(x, weight, bias, eps=EPSILON)


def gelu(x):
    """0.5 x (1 + tanh u) = x sigma(2 u) for u = sqrt(2 / pi) (x + 0.044715 x^3).  (F.gelu is the exact form.)"""
    return x * F.sigmoid(x * (1.5957691216 + 0.0713548163 * F.square(x)))


def conv(x, weight, stride):
    return F.convolution_2d(x, weight, stride=stride, pad=1)


def batch_norm(x, weight, bias, running, training):
    """The normalized x, and the running statistics, which change in place."""
    mean, variance = running
    if not training:
        return F.fixed_batch_normalization(x, weight, bias, mean, variance, eps=EPSILON), running
    return F.batch_normalization(x, weight, bias, eps=EPSILON, running_mean=mean, running_var=variance), running


def mean_of_pixels(x):
    return F.mean(x, (2, 3))


def scaled(x, gates):
    return x * F.broadcast_to(gates[:, :, None, None], x.shape)


def pad_channels(x, new):
    return F.pad(x, ((0, 0), (0, new), (0, 0), (0, 0)), "constant")


# ---------------------------------------------------------------------------------------------- steps
def chain(parameters) -> tuple[Chain, dict[str, Parameter]]:
    """A chain of the parameters, and these by their names; matrices of `linear` are turned to (outputs, inputs)."""
    chain = Chain()
    with chain.init_scope():
        for name, array in parameters.items():
            turned = array.ndim == 2 and not name.endswith(("embedding", "positions"))
            setattr(chain, name, Parameter(array.T.copy() if turned else array))
    return chain, {name: getattr(chain, name) for name in parameters}


def differentiated(loss_of, parameters):
    model, p = chain(parameters)

    def step():
        model.cleargrads()
        loss = loss_of(p)
        loss.backward()
        return loss.item()

    return step


def pulled_back(function, inputs, g, elements):
    p = {name: Parameter(array) for name, array in inputs.items()}

    def step():
        for parameter in p.values():
            parameter.cleargrad()
        y = function(p)
        y.grad = g
        y.backward()
        return float(np.sum([p[name].grad[index] for name, index in elements.items()]))

    return step


def applied(function, inputs, element):
    def step():
        with chainer.no_backprop_mode():
            return function(inputs).array[element].item()

    return step


def trained(loss_of, parameters, batches):
    model, p = chain(parameters)
    return updated(model, chainer.optimizers.Adam(alpha=1e-3).setup(model), lambda *batch: loss_of(p, *batch), batches)


def trained_with_momentum(loss_of, parameters, running, batches, rate, momentum, decay):
    model, p = chain(parameters)
    optimizer = chainer.optimizers.MomentumSGD(rate, momentum).setup(model)
    optimizer.add_hook(chainer.optimizer_hooks.WeightDecay(decay))
    return updated(model, optimizer, lambda *batch: loss_of(p, running, *batch)[0], batches)


def updated(model, optimizer, loss_of, batches):
    """A step of the optimizer; Chainer's ids have 32 bits."""
    coming = cycle([[x.astype(np.int32) if x.dtype == np.int64 else x for x in batch] for batch in batches])

    def step():
        loss = loss_of(*next(coming))
        model.cleargrads()
        loss.backward()
        optimizer.update()
        return loss.item()

    return step


def inferred(logits_of, parameters, batches):
    _, p = chain(parameters)
    coming = cycle(batches)

    def step():
        with chainer.using_config("train", False), chainer.no_backprop_mode():
            return logits_of(p, next(coming).images).array.max().item()

    return step
