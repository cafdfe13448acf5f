"""W1: a chain of operations on eight numbers, which measures the overhead of an operation."""

import numpy as np

from benchmarks.inputs import Arrays, normal
from benchmarks.workload import ENGINES, NEEDS_ADAM, NEEDS_IMAGES, Unit, Workload

LINKS = 333
OPS = 3 * LINKS + 1


def arrays() -> Arrays:
    """x, w and b, 8 numbers each."""
    rng = np.random.RandomState(1)
    return {name: normal(rng, 8) for name in "xwb"}


def chain(e):
    def loss_of(p):
        x, w, b = x0, p["w"], p["b"]
        for _ in range(LINKS):
            x = e.tanh(x * w + b)
        return e.sum(x)

    parameters = arrays()
    x0 = e.constant(parameters.pop("x"))
    return e.differentiated(loss_of, parameters)


def jax_chain(e):
    """A loop of JAX, which compiles one link."""
    from jax import lax

    def loss_of(p):
        return e.sum(lax.fori_loop(0, LINKS, lambda _, x: e.tanh(x * p["w"] + p["b"]), x0))

    parameters = arrays()
    x0 = parameters.pop("x")
    return e.differentiated(loss_of, parameters)


WORKLOADS = [
    Workload(
        "W1",
        "tiny ops",
        f"{LINKS} times x = tanh(x w + b) on 8 numbers, and a sum: {OPS:,} ops, forward and backward",
        dict.fromkeys(ENGINES, chain) | {"jax": jax_chain},
        {"torch-fused": NEEDS_ADAM, "torch-channels-last": NEEDS_IMAGES},
        unit=Unit("µs an op", 1e6 / OPS),
    )
]
