"""W12: a highway network of 50 layers of 50 units, trained with Adam."""

from functools import partial

import numpy as np

from benchmarks.inputs import Arrays, Labeled, float32, labeled, matrix
from benchmarks.workload import ENGINES, NEEDS_IMAGES, Limit, Workload, product

PIXELS, WIDTH, DEPTH, CLASSES = 784, 50, 50, 10
BATCH = 128
BIAS = -5.0


def data() -> tuple[Arrays, list[Labeled]]:
    """Parameters and batches.

    W (784, 50) and b of the plain first layer; W_H0 (50, 50), b_H0, W_T0, b_T0 .. of the highway layers behind it; V
    (50, 10) and c of the logits.
    """
    rng = np.random.RandomState(12)
    p = {
        "W": matrix(rng, PIXELS, WIDTH),
        "b": np.zeros(WIDTH),
        "V": matrix(rng, WIDTH, CLASSES),
        "c": np.zeros(CLASSES),
    }
    for i in range(DEPTH - 1):
        p |= {f"W_H{i}": matrix(rng, WIDTH, WIDTH), f"b_H{i}": np.zeros(WIDTH)}
        p |= {f"W_T{i}": matrix(rng, WIDTH, WIDTH), f"b_T{i}": np.full(WIDTH, BIAS)}
    return float32(p), labeled(rng, (BATCH, 1, 28, 28), CLASSES)


def work() -> float:
    """Three products for each matrix: y = x W, then dW = x' dy and dx = dy W', but the first needs no dx."""
    first = product(BATCH, PIXELS, WIDTH)
    forward = first + 2 * (DEPTH - 1) * product(BATCH, WIDTH, WIDTH) + product(BATCH, WIDTH, CLASSES)
    return 3 * forward - first


def in_minattn(e):
    import minattn as ma
    from minattn.models.vision.highway import ThinHighway, ThinHighwayConfig

    p, batches = data()
    model = ThinHighway(ThinHighwayConfig(DEPTH, WIDTH, classes=CLASSES, pixels=PIXELS), np.random.default_rng(0))
    state = {"first.weight": p["W"], "first.bias": p["b"], "output.weight": p["V"], "output.bias": p["c"]}
    for i in range(DEPTH - 1):
        state |= {f"layers.{i}.{name}": p[f"{name}{i}"] for name in ("W_H", "b_H", "W_T", "b_T")}
    model.load_state_dict(state)

    def loss_of(images, labels):
        return ma.cross_entropy(model(ma.tensor(images)), labels)

    return e.trained(model, loss_of, batches)


def in_torch(e, fused=False):
    import torch
    from torch import nn

    class Highway(nn.Module):
        def __init__(self, p, i) -> None:
            super().__init__()
            self.transform = e.linear(p[f"W_H{i}"], p[f"b_H{i}"])
            self.gate = e.linear(p[f"W_T{i}"], p[f"b_T{i}"])

        def forward(self, x):
            t = torch.sigmoid(self.gate(x))
            return torch.relu(self.transform(x)) * t + x * (1 - t)

    p, batches = data()
    layers = [Highway(p, i) for i in range(DEPTH - 1)]
    first, last = e.linear(p["W"], p["b"]), e.linear(p["V"], p["c"])
    return e.trained(nn.Sequential(nn.Flatten(), first, nn.ReLU(), *layers, last), batches, fused)


WORKLOADS = [
    Workload(
        "W12",
        "highway network",
        f"{DEPTH} layers of {WIDTH} units, one plain, on {PIXELS} numbers, ReLU, cross-entropy, batch {BATCH}, Adam",
        {"minattn": in_minattn, "torch": in_torch, "torch-fused": partial(in_torch, fused=True)},
        {"torch-channels-last": NEEDS_IMAGES} | dict.fromkeys(ENGINES[2:], "it could, but this is not written for it"),
        Limit.GEMM,
        work(),
    )
]
