"""W2: a multi-layer perceptron, trained with Adam."""

from functools import partial
from itertools import pairwise

import numpy as np

from benchmarks.inputs import Arrays, Labeled, labeled, matrix
from benchmarks.workload import NEEDS_IMAGES, Limit, Workload, product

LAYERS = (784, 512, 512, 10)
BATCH = 128


def data() -> tuple[Arrays, list[Labeled]]:
    """Parameters W1 (784, 512), b1 .. W3, b3 of y = x W + b, and the batches."""
    rng = np.random.RandomState(2)
    parameters = {}
    for i, (fan_in, fan_out) in enumerate(pairwise(LAYERS), start=1):
        parameters |= {f"W{i}": matrix(rng, fan_in, fan_out), f"b{i}": np.zeros(fan_out, np.float32)}
    return parameters, labeled(rng, (BATCH, LAYERS[0]), LAYERS[-1])


def work() -> float:
    """Three products for each layer: y = x W, then dW = x' dy and dx = dy W', but the first needs no dx."""
    layers = [product(BATCH, fan_in, fan_out) for fan_in, fan_out in pairwise(LAYERS)]
    return 3 * sum(layers) - layers[0]


def in_minattn(e):
    import minattn as ma
    from minattn import nn

    class MLP(nn.Module):
        def __init__(self, rng) -> None:
            self.layers = [nn.Linear(fan_in, fan_out, rng) for fan_in, fan_out in pairwise(LAYERS)]

        def forward(self, x):
            for layer in self.layers[:-1]:
                x = ma.relu(layer(x))
            return self.layers[-1](x)

    parameters, batches = data()
    model = MLP(np.random.default_rng(0))
    names = {"W": "weight", "b": "bias"}
    model.load_state_dict({f"layers.{int(name[1]) - 1}.{names[name[0]]}": p for name, p in parameters.items()})

    def loss_of(images, labels):
        return ma.cross_entropy(model(ma.tensor(images)), labels)

    return e.trained(model, loss_of, batches)


def in_torch(e, fused=False):
    from torch import nn

    p, batches = data()
    first, second, third = (e.linear(p[f"W{i}"], p[f"b{i}"]) for i in (1, 2, 3))
    return e.trained(nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), third), batches, fused)


def in_others(e):
    def loss_of(p, images, labels):
        x = e.relu(e.linear(images, p["W1"], p["b1"]))
        x = e.relu(e.linear(x, p["W2"], p["b2"]))
        return e.cross_entropy(e.linear(x, p["W3"], p["b3"]), labels)

    return e.trained(loss_of, *data())


WORKLOADS = [
    Workload(
        "W2",
        "MLP",
        f"{'-'.join(map(str, LAYERS))}, ReLU, cross-entropy, batch {BATCH}, Adam",
        {"minattn": in_minattn, "torch": in_torch, "torch-fused": partial(in_torch, fused=True)}
        | dict.fromkeys(("jax", "autograd", "mygrad", "chainer", "dezero", "pydynet", "smallpebble"), in_others),
        {"torch-channels-last": NEEDS_IMAGES},
        Limit.GEMM,
        work(),
    )
]
