"""W8: softmax, layer norm and GELU of the rows of a matrix, forward and backward."""

from functools import partial

import numpy as np

from benchmarks.inputs import Arrays, normal
from benchmarks.workload import NEEDS_ADAM, NEEDS_IMAGES, Limit, Workload

ROWS, COLUMNS = 4096, 1024
PASSES = 5  # over the array: forward reads x and writes y; backward reads g and either x or y, and writes dx
ELEMENT = (1234, 567)  # the element of the gradient that a step returns in place of a loss


def arrays(function: str) -> tuple[Arrays, np.ndarray]:
    """x (4096, 1024), with weight and bias (1024) of the layer norm, and the upstream gradient g."""
    rng = np.random.RandomState(8)
    x, g = normal(rng, ROWS, COLUMNS), normal(rng, ROWS, COLUMNS)
    affine = {"weight": 1 + normal(rng, COLUMNS) / 10, "bias": normal(rng, COLUMNS) / 10}
    return {"x": x} | (affine if function == "layer_norm" else {}), g


def in_minattn(e, function):
    import minattn as ma

    inputs, g = arrays(function)
    x, *affine = (ma.tensor(array, requires_grad=True) for array in inputs.values())
    apply = {"softmax": ma.softmax, "layer_norm": ma.layer_norm, "gelu": ma.gelu_tanh}[function]

    def step():
        for tensor in (x, *affine):
            tensor.grad = None
        apply(x, *affine).backward(g)
        return x.grad[ELEMENT].item()

    return step


def in_torch(e, function):
    import torch
    import torch.nn.functional as F

    inputs, g = arrays(function)
    x, *affine = (torch.from_numpy(array).requires_grad_() for array in inputs.values())
    g = torch.from_numpy(g)
    apply = {
        "softmax": lambda x: F.softmax(x, dim=-1),
        "layer_norm": lambda x, weight, bias: F.layer_norm(x, weight.shape, weight, bias),
        "gelu": lambda x: F.gelu(x, approximate="tanh"),
    }[function]

    def step():
        for tensor in (x, *affine):
            tensor.grad = None
        apply(x, *affine).backward(g)
        return x.grad[ELEMENT].item()

    return step


def in_others(e, function):
    inputs, g = arrays(function)
    return e.pulled_back(lambda p: getattr(e, function)(*(p[name] for name in inputs)), inputs, g, {"x": ELEMENT})


def workload(name: str, title: str, function: str) -> Workload:
    engines = dict.fromkeys(("jax", "autograd", "mygrad", "chainer", "dezero", "pydynet", "smallpebble"), in_others)
    return Workload(
        name,
        title,
        f"{title} of each row of ({ROWS}, {COLUMNS}), forward and backward with a fixed upstream gradient",
        {e: partial(s, function=function) for e, s in {"minattn": in_minattn, "torch": in_torch, **engines}.items()},
        {"torch-fused": NEEDS_ADAM, "torch-channels-last": NEEDS_IMAGES},
        Limit.COPY,
        4.0 * PASSES * ROWS * COLUMNS,
    )


WORKLOADS = [
    workload("W8-softmax", "softmax", "softmax"),
    workload("W8-layernorm", "layer norm", "layer_norm"),
    workload("W8-gelu", "GELU", "gelu"),
]
