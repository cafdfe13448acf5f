"""W13: a stacked hourglass of one stack on small images, trained with Adam."""

from functools import partial
from typing import NamedTuple

import numpy as np

from benchmarks.inputs import BATCHES, RNG, Arrays, float32, norm, normal
from benchmarks.workload import ENGINES, Limit, Workload, product

ORDER, FEATURES, JOINTS = 3, 64, 16
IMAGES = (8, 3, 64, 64)


class Layer(NamedTuple):
    """A convolution of `inputs` to `outputs` features, for maps of size x size places, and its batch norm."""

    conv: str  # the path of its weight and bias
    norm: str | None  # that of its batch norm, which stands before it with as many features as inputs, or else behind
    inputs: int
    outputs: int
    kernel: int
    size: int

    @property
    def normalized(self) -> int:
        return self.inputs if self.conv.endswith((".first.conv", ".middle.conv", ".last.conv")) else self.outputs


def residual(path: str, inputs: int, outputs: int, size: int) -> list[Layer]:
    half = outputs // 2
    parts = ("first", inputs, half, 1), ("middle", half, half, 3), ("last", half, outputs, 1)
    layers = [Layer(f"{path}.{name}.conv", f"{path}.{name}.norm", *rest, size) for name, *rest in parts]
    return layers if inputs == outputs else [*layers, Layer(f"{path}.shortcut", None, inputs, outputs, 1, size)]


def hourglass(path: str, order: int, size: int) -> list[Layer]:
    inner, low = f"{path}.inner", size // 2
    return [
        *residual(f"{path}.beside", FEATURES, FEATURES, size),
        *residual(f"{path}.down", FEATURES, FEATURES, low),
        *(hourglass(inner, order - 1, low) if order > 1 else residual(inner, FEATURES, FEATURES, low)),
        *residual(f"{path}.up", FEATURES, FEATURES, low),
    ]


def layers() -> list[Layer]:
    """All convolutions, by the paths that both networks give them."""
    quarter, half, size = FEATURES // 4, FEATURES // 2, IMAGES[3]
    return [
        Layer("conv1.conv", "conv1.norm", IMAGES[1], quarter, 7, size // 2),
        *residual("front.0", quarter, half, size // 2),
        *residual("front.1", half, half, size // 4),
        *residual("front.2", half, FEATURES, size // 4),
        *hourglass("stacks.0.hourglass", ORDER, size // 4),
        *residual("stacks.0.after", FEATURES, FEATURES, size // 4),
        Layer("stacks.0.linear.conv", "stacks.0.linear.norm", FEATURES, FEATURES, 1, size // 4),
        Layer("stacks.0.maps", None, FEATURES, JOINTS, 1, size // 4),
    ]


def data() -> tuple[Arrays, list[tuple[np.ndarray, np.ndarray]]]:
    """Parameters by their paths, and batches of images with a heat map for each joint (8, 16, 16, 16)."""
    rng = np.random.RandomState(13)
    p: Arrays = {}
    for layer in layers():
        p[f"{layer.conv}.weight"] = kernels(rng, layer)
        p[f"{layer.conv}.bias"] = np.zeros(layer.outputs)
        if layer.norm:
            p |= {name.replace("_", "."): array for name, array in norm(layer.norm, layer.normalized).items()}
    maps = (IMAGES[0], JOINTS, IMAGES[2] // 4, IMAGES[3] // 4)
    return float32(p), [(normal(rng, *IMAGES), normal(rng, *maps)) for _ in range(BATCHES)]


def kernels(rng: RNG, layer: Layer) -> np.ndarray:
    shape = layer.outputs, layer.inputs, layer.kernel, layer.kernel
    return (2 / (layer.inputs * layer.kernel**2)) ** 0.5 * normal(rng, *shape)


def work() -> float:
    """Three products for each convolution: y, dW and dx, but the images need no dx."""
    each = [product(IMAGES[0] * n.size**2, n.inputs * n.kernel**2, n.outputs) for n in layers()]
    return 3 * sum(each) - each[0]


# ---------------------------------------------------------------------------------------------- minattn
def in_minattn(e):
    import minattn as ma
    from minattn.models.pose.hourglass import HourglassConfig, StackedHourglass, heat_map_loss

    p, batches = data()
    config = HourglassConfig(1, JOINTS, FEATURES, ORDER, IMAGES[1])
    model = StackedHourglass(config, np.random.default_rng(0))
    model.load_state_dict(model.state_dict() | p)  # the running statistics stay as they are

    def loss_of(images, targets):
        return heat_map_loss(model(ma.tensor(images)), ma.tensor(targets))

    return e.trained(model, loss_of, batches)


# ---------------------------------------------------------------------------------------------- PyTorch
def in_torch(e, fused=False, channels_last=False):
    import torch
    import torch.nn.functional as F
    from torch import nn

    def conv(inputs, outputs, kernel, stride=1):
        return nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2)

    class NormConv(nn.Module):
        def __init__(self, inputs, outputs, kernel) -> None:
            super().__init__()
            self.norm, self.conv = nn.BatchNorm2d(inputs), conv(inputs, outputs, kernel)

        def forward(self, x):
            return self.conv(F.relu(self.norm(x)))

    class ConvThenNorm(nn.Module):
        def __init__(self, inputs, outputs, kernel, stride=1) -> None:
            super().__init__()
            self.conv, self.norm = conv(inputs, outputs, kernel, stride), nn.BatchNorm2d(outputs)

        def forward(self, x):
            return F.relu(self.norm(self.conv(x)))

    class Residual(nn.Module):
        def __init__(self, inputs, outputs) -> None:
            super().__init__()
            half = outputs // 2
            self.first, self.middle = NormConv(inputs, half, 1), NormConv(half, half, 3)
            self.last = NormConv(half, outputs, 1)
            self.shortcut = nn.Identity() if inputs == outputs else conv(inputs, outputs, 1)

        def forward(self, x):
            return self.last(self.middle(self.first(x))) + self.shortcut(x)

    class Hourglass(nn.Module):
        def __init__(self, order) -> None:
            super().__init__()
            self.beside, self.down, self.up = (Residual(FEATURES, FEATURES) for _ in range(3))
            self.inner = Hourglass(order - 1) if order > 1 else Residual(FEATURES, FEATURES)

        def forward(self, x):
            low = self.up(self.inner(self.down(F.max_pool2d(x, 2))))
            return self.beside(x) + F.interpolate(low, scale_factor=2)

    class Stack(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.hourglass, self.after = Hourglass(ORDER), Residual(FEATURES, FEATURES)
            self.linear, self.maps = ConvThenNorm(FEATURES, FEATURES, 1), conv(FEATURES, JOINTS, 1)

        def forward(self, x):
            return self.maps(self.linear(self.after(self.hourglass(x))))

    class StackedHourglass(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            quarter, half = FEATURES // 4, FEATURES // 2
            self.conv1 = ConvThenNorm(IMAGES[1], quarter, 7, stride=2)
            sizes = (quarter, half), (half, half), (half, FEATURES)
            self.front = nn.ModuleList(Residual(inputs, outputs) for inputs, outputs in sizes)
            self.stacks = nn.ModuleList([Stack()])

        def forward(self, images):
            first, second, third = self.front
            return self.stacks[0](third(second(F.max_pool2d(first(self.conv1(images)), 2))))

    p, batches = data()
    model = StackedHourglass()
    model.load_state_dict(model.state_dict() | {name: torch.from_numpy(array) for name, array in p.items()})
    if channels_last:
        model = model.to(memory_format=torch.channels_last)
    return e.trained(model, batches, fused, channels_last=channels_last, mean_loss=F.mse_loss)


WORKLOADS = [
    Workload(
        "W13",
        "hourglass",
        f"one stacked hourglass of order {ORDER}, {FEATURES} features, {JOINTS} joints, images "
        f"{'x'.join(map(str, IMAGES[1:]))}, batch {IMAGES[0]}, mean squared error of the heat maps, Adam",
        {
            "minattn": in_minattn,
            "torch": in_torch,
            "torch-fused": partial(in_torch, fused=True),
            "torch-channels-last": partial(in_torch, channels_last=True),
        },
        dict.fromkeys(ENGINES[2:], "it could, but this is not written for it"),
        Limit.GEMM,
        work(),
    )
]
