"""minattn."""

import math
from itertools import cycle

import minattn as ma
from minattn.data.batches import deal_rows
from minattn.training import Adam, DataParallel

ma.keep_freed_memory()  # as its training loop does
threads = 1
constant, gelu, layer_norm, softmax, sum, tanh = ma.tensor, ma.gelu_tanh, ma.layer_norm, ma.softmax, ma.sum, ma.tanh


def use(number: int) -> None:
    global threads
    threads = number


def conv(x, weight, stride, groups=1):
    return ma.conv2d(x, weight, stride=stride, padding=1, groups=groups)


def differentiated(loss_of, parameters):
    p = {name: ma.tensor(array, requires_grad=True) for name, array in parameters.items()}

    def step():
        for parameter in p.values():
            parameter.grad = None
        loss = loss_of(p)
        loss.backward()
        return loss.item()

    return step


def pulled_back(function, inputs, g, elements):
    p = {name: ma.tensor(array, requires_grad=True) for name, array in inputs.items()}

    def step():
        for parameter in p.values():
            parameter.grad = None
        function(p).backward(g)
        return math.fsum(p[name].grad[index].item() for name, index in elements.items())

    return step


def applied(function, inputs, element):
    p = {name: ma.tensor(array) for name, array in inputs.items()}

    @ma.no_grad()
    def step():
        return function(p)[element].item()

    return step


def trained(model, loss_of, batches):
    optimizer = Adam(model.named_parameters(), lr=1e-3)
    coming = cycle(batches)

    def step():
        loss = loss_of(*next(coming))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


class Batch(tuple):
    """Arrays with a row for each sentence; the last has the words that a Transformer of all others is to predict."""

    def split(self, parts):
        return [(Batch(array[rows] for array in self), share) for rows, share in deal_rows(len(self[0]), parts)]


def cross_entropy(model, batch):
    *given, target = batch
    return ma.cross_entropy(model(*given), target)


def trained_in_parallel(model, batches, mean_loss=None, optimizer=None):
    """The threads share the batch; BLAS has one thread in each of them.  Of sentences and with Adam unless given."""
    if mean_loss is None:
        mean_loss, batches = cross_entropy, [Batch(batch) for batch in batches]
    parallel = DataParallel(model, mean_loss, threads)
    optimizer = optimizer or Adam(model.named_parameters(), lr=1e-3)
    coming = cycle(batches)

    def step():
        optimizer.zero_grad()
        loss = parallel.backward(next(coming))
        optimizer.step()
        return float(loss)

    return step


def inferred(forward, batches):
    """A step is forward on the next batch and gives the largest logit."""
    coming = cycle(batches)

    @ma.no_grad()
    def step():
        return forward(next(coming)).data.max().item()

    return step
