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


def in_minattn(e, gradients):
    import minattn as ma

    given = arrays()
    x, weight = (ma.tensor(given[name], requires_grad=gradients) for name in ("x", "weight"))

    @ma.no_grad()
    def forward():
        return ma.conv2d(x, weight, padding=1)[PIXEL].item()

    def both():
        x.grad = weight.grad = None
        ma.conv2d(x, weight, padding=1).backward(given["g"])
        return weight.grad[TAP].item() + x.grad[PIXEL].item()

    return both if gradients else forward


def in_torch(e, gradients, channels_last=False):
    import torch
    import torch.nn.functional as F

    layout = torch.channels_last if channels_last else torch.contiguous_format
    given = {name: torch.from_numpy(array).contiguous(memory_format=layout) for name, array in arrays().items()}
    x, weight = (given[name].requires_grad_(gradients) for name in ("x", "weight"))

    @torch.inference_mode()
    def forward():
        return F.conv2d(x, weight, padding=1)[PIXEL].item()

    def both():
        x.grad = weight.grad = None
        F.conv2d(x, weight, padding=1).backward(given["g"])
        return weight.grad[TAP].item() + x.grad[PIXEL].item()

    return both if gradients else forward


def in_others(e, gradients):
    given = arrays()
    inputs = {name: given[name] for name in ("x", "weight")}

    def function(p):
        return e.conv(p["x"], p["weight"], 1)

    if gradients:
        return e.pulled_back(function, inputs, given["g"], {"weight": TAP, "x": PIXEL})
    return e.applied(function, inputs, PIXEL)


def workload(name: str, title: str, description: str, gradients: bool) -> Workload:
    batch, channels, height, width = SHAPE
    engines = {"minattn": in_minattn, "torch": in_torch, "jax": in_others, "chainer": in_others}
    steps = {engine: partial(step, gradients=gradients) for engine, step in engines.items()}
    steps["torch-channels-last"] = partial(in_torch, gradients=gradients, channels_last=True)
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
