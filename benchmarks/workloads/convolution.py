"""W7: one convolution, forward, and with both gradients."""

from functools import partial

import numpy as np

from benchmarks.inputs import Arrays, kernels, normal
from benchmarks.workload import NEEDS_ADAM, NOT_WRITTEN, Limit, Workload, convolution_work

SHAPE = (64, 64, 32, 32)
PIXEL, TAP = (5, 7, 11, 13), (3, 5, 2, 1)  # the elements that a step returns in place of a loss

G = "a fixed upstream gradient"


def arrays() -> Arrays:
    """x and the upstream gradient g (64, 64, 32, 32), weight (64, 64, 3, 3)."""
    rng = np.random.RandomState(7)
    return {"x": normal(rng, *SHAPE), "g": normal(rng, *SHAPE), "weight": kernels(rng, SHAPE[1], SHAPE[1])}


def convolution(e, gradients, **settings):
    given = arrays()
    g = given.pop("g")

    def function(p):
        return e.conv(p["x"], p["weight"], 1)

    if gradients:
        return e.pulled_back(function, given, g, {"weight": TAP, "x": PIXEL}, **settings)
    return e.applied(function, given, PIXEL, **settings)


def workload(name: str, title: str, description: str, gradients: bool) -> Workload:
    batch, channels, height, width = SHAPE
    steps = dict.fromkeys(("minattn", "torch", "jax", "chainer"), partial(convolution, gradients=gradients))
    steps["torch-channels-last"] = partial(convolution, gradients=gradients, channels_last=True)
    cannot = dict.fromkeys(("mygrad", "dezero", "pydynet", "smallpebble"), NOT_WRITTEN)
    cannot |= {"torch-fused": NEEDS_ADAM, "autograd": "its convolution has no padding"}
    return Workload(
        name,
        title,
        f"3x3 convolution, {channels} to {channels} channels of {height}x{width}, batch {batch}, {description}",
        steps,
        cannot,
        Limit.GEMM,
        (3 if gradients else 1) * convolution_work(SHAPE, channels),
    )


WORKLOADS = [
    workload("W7-forward", "convolution", "forward", gradients=False),
    workload("W7-backward", "convolution and gradients", f"forward and backward with {G}", gradients=True),
]
