"""W14: a non-local block, trained with Adam."""

from functools import partial

import numpy as np

from benchmarks.inputs import BATCHES, Arrays, float32, matrix, norm, normal
from benchmarks.workload import ENGINES, Limit, Workload, product
from benchmarks.workloads.transformer_layers import SHARING

SHAPE = (8, 64, 32, 32)
INNER = 32
NAMES = ("theta", "phi", "g", "z")


def data() -> tuple[Arrays, list[tuple[np.ndarray, np.ndarray]]]:
    """W_theta, W_phi and W_g (64, 32), W_z (32, 64), biases and batch norm; batches of maps, and others to match."""
    rng = np.random.RandomState(14)
    channels = SHAPE[1]
    p: Arrays = {}
    for name in NAMES:
        inputs, outputs = (INNER, channels) if name == "z" else (channels, INNER)
        p |= {f"W_{name}": matrix(rng, inputs, outputs), f"b_{name}": np.zeros(outputs)}
    return float32(p | norm("norm", channels)), [(normal(rng, *SHAPE), normal(rng, *SHAPE)) for _ in range(BATCHES)]


def work() -> float:
    """Three times the products forward: four projections, the scores and their product with g; x needs no gradient."""
    batch, channels, height, width = SHAPE
    n = height * width
    projection = product(batch * n, channels, INNER)
    pairs = 2 * batch * product(n, INNER, n)
    return 3 * (4 * projection + pairs) - 3 * projection


def in_minattn(e):
    import minattn as ma
    from minattn.attention.self_attention import NonLocalBlock

    p, batches = data()
    block = NonLocalBlock(SHAPE[1], np.random.default_rng(0), inner=INNER)
    names = {name.replace("_", ".", 1) if name.startswith("norm") else name: array for name, array in p.items()}
    block.load_state_dict(block.state_dict() | names)  # the running statistics stay as they are

    def mean_loss(block, batch):
        x, target = batch
        z, _ = block(ma.tensor(x), need_weights=False)
        return ma.mean(ma.square(z - ma.tensor(target)))

    return e.trained_in_parallel(block, [e.Batch(batch) for batch in batches], mean_loss)


def in_torch(e, fused=False):
    import torch
    from torch import nn
    from torch.nn import functional as F

    class Block(nn.Module):
        def __init__(self, p) -> None:
            super().__init__()
            self.theta, self.phi, self.g, self.z = (self.convolution(p, name) for name in NAMES)
            self.norm = nn.BatchNorm2d(SHAPE[1])

        @staticmethod
        def convolution(p, name):
            weight = p[f"W_{name}"]
            layer = nn.Conv2d(*weight.shape, 1)
            e.copy(layer.weight, weight.T[:, :, None, None])
            return layer

        def forward(self, x):
            theta, phi, g = (each(x).flatten(2) for each in (self.theta, self.phi, self.g))
            weights = torch.softmax(theta.transpose(1, 2) @ phi, dim=-1)
            y = (weights @ g.transpose(1, 2)).transpose(1, 2).unflatten(2, x.shape[2:])
            return self.norm(self.z(y)) + x

    p, batches = data()
    return e.trained(Block(p), batches, fused, mean_loss=F.mse_loss)


WORKLOADS = [
    Workload(
        "W14",
        "non-local block",
        f"embedded Gaussian, {SHAPE[1]} channels, {INNER} inside, {SHAPE[2]}x{SHAPE[3]} positions, batch norm, "
        f"squared error, batch {SHAPE[0]}, Adam; {SHARING}",
        {"minattn": in_minattn, "torch": in_torch, "torch-fused": partial(in_torch, fused=True)},
        dict.fromkeys(("torch-channels-last", *ENGINES[2:]), "it could, but this is not written for it"),
        Limit.GEMM,
        work(),
        other_forms={"minattn": "each thread normalizes its own part of the batch"},
    )
]
