"""W6: ResNet-20 on small images with and without squeeze-and-excitation, training and inference."""

from functools import partial

import numpy as np

from benchmarks.inputs import RNG, Arrays, Labeled, float32, kernels, labeled, matrix, norm
from benchmarks.workload import NEEDS_ADAM, NOT_WRITTEN, Limit, Workload, convolution_work, product
from benchmarks.workloads.transformer_layers import SHARING

BLOCKS, FILTERS, CLASSES, REDUCTION = 3, 16, 10, 16  # blocks of a stage
IMAGES = (64, 3, 32, 32)
RATE, MOMENTUM, DECAY = 0.1, 0.9, 1e-4


def blocks() -> list[tuple[str, int]]:
    """The name of each block and its stride."""
    found = [(stage, block) for stage in (1, 2, 3) for block in range(1, BLOCKS + 1)]
    return [(f"stage{stage}_block{block}", 2 if stage > 1 and block == 1 else 1) for stage, block in found]


def data(se: bool) -> tuple[Arrays, list[Labeled]]:
    """Parameters and batches.

    A convolution NAME and the batch norm behind it have NAME_W (outputs, inputs, 3, 3), NAME_norm_weight and
    NAME_norm_bias.  There is conv; then, for each block, BLOCK_conv1 and _conv2, and with SE BLOCK_se_W_1
    (inputs, outputs), _b_1, _W_2 and _b_2; then classifier_W (inputs, outputs) and _b.  The running mean of every
    batch norm is 0 at first, its running variance 1.
    """
    rng = np.random.RandomState(6)
    p = unit(rng, "conv", IMAGES[1], FILTERS)
    before = filters = FILTERS
    for name, stride in blocks():
        filters *= stride
        p |= unit(rng, f"{name}_conv1", before, filters) | unit(rng, f"{name}_conv2", filters, filters)
        before = filters
        if se:
            hidden = max(1, filters // REDUCTION)
            p |= {f"{name}_se_W_1": matrix(rng, filters, hidden), f"{name}_se_b_1": np.zeros(hidden)}
            p |= {f"{name}_se_W_2": matrix(rng, hidden, filters), f"{name}_se_b_2": np.zeros(filters)}
    p |= {"classifier_W": matrix(rng, before, CLASSES), "classifier_b": np.zeros(CLASSES)}
    return float32(p), labeled(rng, IMAGES, CLASSES)


def unit(rng: RNG, name: str, channels: int, outputs: int) -> Arrays:
    return {f"{name}_W": kernels(rng, channels, outputs)} | norm(f"{name}_norm", outputs)


def work(se: bool, training: bool) -> float:
    """Convolutions and the classifier; three times that in training, but the images need no gradient."""
    batch, _, height, width = IMAGES
    forward = first = convolution_work(IMAGES, FILTERS)
    before = filters = FILTERS
    for _, stride in blocks():
        filters, height, width = filters * stride, height // stride, width // stride
        forward += convolution_work((batch, before, height, width), filters)
        forward += convolution_work((batch, filters, height, width), filters)
        forward += 2 * product(batch, filters, max(1, filters // REDUCTION)) if se else 0
        before = filters
    forward += product(batch, before, CLASSES)
    return 3 * forward - first if training else forward


# ---------------------------------------------------------------------------------------------- minattn
def in_minattn(e, se, training):
    import minattn as ma
    from minattn.data import ImageBatch
    from minattn.models.vision.cifar_resnet import CifarResNet, CifarResNetConfig
    from minattn.training import SGD

    p, batches = data(se)
    depth, reduction = 6 * BLOCKS + 2, REDUCTION if se else None
    config = CifarResNetConfig(depth=depth, shortcut="A", se=reduction, classes=CLASSES, width=FILTERS)
    model = CifarResNet(config, np.random.default_rng(0))
    model.load_state_dict(model.state_dict() | state_dict(p, se))  # the running statistics stay as they are
    if not training:
        model.eval()
        return e.inferred(lambda batch: model(ma.tensor(batch.images)), batches)

    def mean_loss(model, batch):
        return ma.cross_entropy(model(ma.tensor(batch.images)), batch.labels)

    optimizer = SGD(model.named_parameters(), RATE, MOMENTUM, weight_decay=DECAY)
    return e.trained_in_parallel(model, [ImageBatch(*batch) for batch in batches], mean_loss, optimizer)


def state_dict(p, se):
    """The parameters under minattn's names."""
    paths = {"conv": "conv1"}
    state = {"classifier.weight": p["classifier_W"], "classifier.bias": p["classifier_b"]}
    for place, (name, _) in enumerate(blocks()):
        path = f"stages.{place // BLOCKS}.blocks.{place % BLOCKS}"
        paths |= {f"{name}_conv{i + 1}": f"{path}.convolutions.{i}" for i in range(2)}
        if se:
            state |= {f"{path}.se.{part}": p[f"{name}_se_{part}"] for part in ("W_1", "b_1", "W_2", "b_2")}
    own = {"W": "conv.weight", "norm_weight": "norm.weight", "norm_bias": "norm.bias"}
    return state | {f"{path}.{o}": p[f"{name}_{given}"] for name, path in paths.items() for given, o in own.items()}


# ---------------------------------------------------------------------------------------------- PyTorch
def in_torch(e, se, training, fused=False, channels_last=False):
    import torch
    import torch.nn.functional as F
    from torch import nn

    class Unit(nn.Sequential):
        """A convolution of 3x3 and the batch norm behind it."""

        def __init__(self, p, name, stride=1) -> None:
            outputs, channels, _, _ = p[f"{name}_W"].shape
            super().__init__(nn.Conv2d(channels, outputs, 3, stride, padding=1, bias=False), nn.BatchNorm2d(outputs))
            for own, given in zip(self.parameters(), ("W", "norm_weight", "norm_bias"), strict=True):
                e.copy(own, p[f"{name}_{given}"])

    class SqueezeExcitation(nn.Module):
        def __init__(self, p, name) -> None:
            super().__init__()
            self.first, self.second = (e.linear(p[f"{name}_W_{i}"], p[f"{name}_b_{i}"]) for i in (1, 2))

        def forward(self, x):
            gates = torch.sigmoid(self.second(F.relu(self.first(x.mean((2, 3))))))
            return x * gates[:, :, None, None]

    class Block(nn.Module):
        """Two units; a shortcut that changes the size takes every second pixel and pads the channels."""

        def __init__(self, p, name, stride) -> None:
            super().__init__()
            self.first, self.second = Unit(p, f"{name}_conv1", stride), Unit(p, f"{name}_conv2")
            self.se = SqueezeExcitation(p, f"{name}_se") if se else nn.Identity()
            self.stride = stride

        def forward(self, x):
            y = self.se(self.second(F.relu(self.first(x))))
            if self.stride > 1:
                new = y.shape[1] - x.shape[1]
                x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, new))
            return F.relu(y + x)

    class ResNet(nn.Module):
        def __init__(self, p) -> None:
            super().__init__()
            self.conv = Unit(p, "conv")
            self.blocks = nn.Sequential(*(Block(p, name, stride) for name, stride in blocks()))
            self.classifier = e.linear(p["classifier_W"], p["classifier_b"])

        def forward(self, images):
            return self.classifier(self.blocks(F.relu(self.conv(images))).mean((2, 3)))

    parameters, batches = data(se)
    model = ResNet(parameters)
    if channels_last:
        model = model.to(memory_format=torch.channels_last)
    if not training:
        return e.inferred(model, batches, channels_last)
    settings = {"momentum": MOMENTUM, "weight_decay": DECAY, "fused": fused}
    optimizer = torch.optim.SGD(model.parameters(), RATE, **settings)
    return e.trained(model, batches, optimizer=optimizer, channels_last=channels_last)


# ---------------------------------------------------------------------------------------------- the others
def in_others(e, se, training):
    def network(p, running, images):
        """The logits, and the running statistics after this batch."""
        after = {}

        def unit(name, x, stride=1):
            x = e.conv(x, p[f"{name}_W"], stride)
            affine = p[f"{name}_norm_weight"], p[f"{name}_norm_bias"]
            x, after[name] = e.batch_norm(x, *affine, running[name], training)
            return x

        def block(name, x, stride):
            y = unit(f"{name}_conv2", e.relu(unit(f"{name}_conv1", x, stride)))
            if se:
                hidden = e.relu(e.linear(e.mean_of_pixels(y), p[f"{name}_se_W_1"], p[f"{name}_se_b_1"]))
                y = e.scaled(y, e.sigmoid(e.linear(hidden, p[f"{name}_se_W_2"], p[f"{name}_se_b_2"])))
            if stride > 1:
                x = e.pad_channels(x[:, :, ::stride, ::stride], y.shape[1] - x.shape[1])
            return e.relu(y + x)

        x = e.relu(unit("conv", images))
        for name, stride in blocks():
            x = block(name, x, stride)
        return e.linear(e.mean_of_pixels(x), p["classifier_W"], p["classifier_b"]), after

    def loss_of(p, running, images, labels):
        logits, after = network(p, running, images)
        return e.cross_entropy(logits, labels), after

    parameters, batches = data(se)
    sizes = {name.removesuffix("_norm_weight"): len(p) for name, p in parameters.items() if "_norm_weight" in name}
    running = {name: [np.zeros(size, np.float32), np.ones(size, np.float32)] for name, size in sizes.items()}
    if training:
        return e.trained_with_momentum(loss_of, parameters, running, batches, RATE, MOMENTUM, DECAY)
    return e.inferred(lambda p, images: network(p, running, images)[0], parameters, batches)


def workload(name: str, title: str, se: bool, training: bool) -> Workload:
    batch, *image = IMAGES
    network = f"ResNet-{6 * BLOCKS + 2}{f' with SE, r = {REDUCTION}' if se else ''}, shortcuts A"
    apart = f"{SHARING}; each thread normalizes its own part"
    how = f"cross-entropy, SGD with momentum and weight decay; {apart}" if training else "evaluation, without gradients"
    what = {"se": se, "training": training}
    engines = {"minattn": in_minattn, "torch": in_torch, "jax": in_others, "chainer": in_others}
    steps = {engine: partial(step, **what) for engine, step in engines.items()}
    steps["torch-channels-last"] = partial(in_torch, **what, channels_last=True)
    cannot = dict.fromkeys(("mygrad", "dezero", "pydynet"), NOT_WRITTEN)
    cannot["autograd"] = "its convolution has no padding and no strides, and it has no batch norm"
    cannot["smallpebble"] = (
        "its backward pass takes every path through the graph by itself, and the paths multiply at every residual "
        "connection"
    )
    if training:
        steps["torch-fused"] = partial(in_torch, **what, fused=True)
    else:
        cannot["torch-fused"] = NEEDS_ADAM
    return Workload(
        name,
        title,
        f"{network}, images {'x'.join(map(str, image))}, batch {batch}, {how}",
        steps,
        cannot,
        Limit.GEMM,
        work(se, training),
        other_forms={"minattn": "with several threads each normalizes its own part of the batch"} if training else {},
    )


WORKLOADS = [
    workload("W6", "ResNet", se=False, training=True),
    workload("W6se", "SE-ResNet", se=True, training=True),
    workload("W6i", "ResNet, inference", se=False, training=False),
    workload("W6sei", "SE-ResNet, inference", se=True, training=False),
]
