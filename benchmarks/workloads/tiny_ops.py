"""W1: a chain of operations on eight numbers, which measures the overhead of an operation."""

import numpy as np

from benchmarks.inputs import Arrays, normal
from benchmarks.workload import NEEDS_ADAM, NEEDS_IMAGES, Unit, Workload

LINKS = 333
OPS = 3 * LINKS + 1


def arrays() -> Arrays:
    """x, w and b, 8 numbers each."""
    rng = np.random.RandomState(1)
    return {name: normal(rng, 8) for name in "xwb"}


def in_minattn(e):
    import minattn as ma

    x0, w, b = (ma.tensor(array, requires_grad=name != "x") for name, array in arrays().items())

    def step():
        w.grad = b.grad = None
        x = x0
        for _ in range(LINKS):
            x = ma.tanh(x * w + b)
        loss = x.sum()
        loss.backward()
        return loss.item()

    return step


def in_torch(e):
    import torch

    x0, w, b = map(torch.from_numpy, arrays().values())
    w.requires_grad_()
    b.requires_grad_()

    def step():
        w.grad = b.grad = None
        x = x0
        for _ in range(LINKS):
            x = torch.tanh(x * w + b)
        loss = x.sum()
        loss.backward()
        return loss.item()

    return step


def in_jax(e):
    from jax import lax

    def loss_of(p):
        return e.sum(lax.fori_loop(0, LINKS, lambda _, x: e.tanh(x * p["w"] + p["b"]), x0))

    x0, *_ = arrays().values()
    return e.differentiated(loss_of, {name: arrays()[name] for name in "wb"})


def in_others(e):
    def loss_of(p):
        x, w, b = x0, p["w"], p["b"]
        for _ in range(LINKS):
            x = e.tanh(x * w + b)
        return e.sum(x)

    parameters = arrays()
    x0 = e.constant(parameters.pop("x"))
    return e.differentiated(loss_of, parameters)


WORKLOADS = [
    Workload(
        "W1",
        "tiny ops",
        f"{LINKS} times x = tanh(x w + b) on 8 numbers, and a sum: {OPS:,} ops, forward and backward",
        {"minattn": in_minattn, "torch": in_torch, "jax": in_jax}
        | dict.fromkeys(("autograd", "mygrad", "chainer", "dezero", "pydynet", "smallpebble"), in_others),
        {"torch-fused": NEEDS_ADAM, "torch-channels-last": NEEDS_IMAGES},
        unit=Unit("µs an op", 1e6 / OPS),
    )
]
