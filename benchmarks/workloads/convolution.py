"""W7: one convolution, over all channels and depthwise, forward, and with both gradients."""

from functools import partial

import numpy as np

from benchmarks.inputs import Arrays, kernels, normal
from benchmarks.workload import NEEDS_ADAM, NOT_WRITTEN, Limit, Workload, convolution_work

SHAPE = (64, 64, 32, 32)
PIXEL, TAP = (5, 7, 11, 13), (3, 5, 2, 1)  # the elements that a step returns in place of a loss
OTHERS = ("mygrad", "dezero", "pydynet", "smallpebble")
CANNOT = dict.fromkeys(OTHERS, NOT_WRITTEN) | {
    "torch-fused": NEEDS_ADAM,
    "autograd": "its convolution has no padding",
}


def arrays(depthwise: bool) -> Arrays:
    """x and the upstream gradient g (64, 64, 32, 32), weight (64, 64, 3, 3), or (64, 1, 3, 3) of a depthwise one."""
    rng = np.random.RandomState(7)
    seen = 1 if depthwise else SHAPE[1]
    return {"x": normal(rng, *SHAPE), "g": normal(rng, *SHAPE), "weight": kernels(rng, seen, SHAPE[1])}


def convolution(e, depthwise, gradients, **settings):
    given = arrays(depthwise)
    g = given.pop("g")
    output, channel, *tap = TAP

    def function(p):
        return e.conv(p["x"], p["weight"], 1, **({"groups": SHAPE[1]} if depthwise else {}))

    if gradients:
        elements = {"weight": (output, 0 if depthwise else channel, *tap), "x": PIXEL}
        return e.pulled_back(function, given, g, elements, **settings)
    return e.applied(function, given, PIXEL, **settings)


def workload(depthwise: bool, gradients: bool) -> Workload:
    """Depthwise, the few multiplications count for nothing: the images have to be read and written."""
    batch, channels, height, width = SHAPE
    run = partial(convolution, depthwise=depthwise, gradients=gradients)
    engines, without = ("minattn", "torch", "jax", "chainer"), {}
    if depthwise:
        engines, without = engines[:2], dict.fromkeys(engines[2:], "it could, but this is not written for it")
    steps = dict.fromkeys(engines, run) | {"torch-channels-last": partial(run, channels_last=True)}
    part = "backward" if gradients else "forward"
    title = "depthwise convolution" if depthwise else "convolution"
    passes = 5 if gradients else 2  # forward reads x and writes y; backward reads g and x, and writes dx
    return Workload(
        f"W7-depthwise-{part}" if depthwise else f"W7-{part}",
        f"{title} and gradients" if gradients else title,
        f"3x3 {title}, {channels} to {channels} channels of {height}x{width}, batch {batch}, "
        f"{'forward and backward with a fixed upstream gradient' if gradients else 'forward'}",
        steps,
        CANNOT | without,
        Limit.COPY if depthwise else Limit.GEMM,
        4.0 * passes * np.prod(SHAPE) if depthwise else (3 if gradients else 1) * convolution_work(SHAPE, channels),
    )


WORKLOADS = [workload(depthwise, gradients) for depthwise in (False, True) for gradients in (False, True)]
