"""Residual networks with non-local blocks, of images and of video.

X. Wang, R. Girshick, A. Gupta and K. He, "Non-local neural networks", CVPR 2018, section 4 and table 1.  The block is
in `attention/self_attention/non_local.py`, the residual networks are in `resnet.py` and `cifar_resnet.py`.  C2D runs a
ResNet on every frame of a clip; only its pools mix frames:

    layer     T x H x W of a clip of 32x224x224
    conv1     16x112x112    7x7, 64, stride 2; every second frame
    pool1     8x56x56       max of 3x3x3, stride 2
    res2      8x56x56
    pool2     4x56x56       max of 3x1x1, stride 2 in time
    res3      4x28x28
    res4      4x14x14
    res5      4x7x7
              1             mean over all positions and frames, dropout 0.5, linear layer to 400 classes

Non-local blocks follow residual blocks: one before the last block of res4; five after every second block of res3
and res4 (of ResNet-101 every seventh of res4); ten after every block of res3 and of ResNet-50's res4, and in ResNet-101
after "the corresponding" ones.  They are embedded Gaussians, in the authors' code sub-sampled.

Deviations from the paper: those of the block and of the residual networks; pools pad by 1.  Every seventh block of
ResNet-101 is from the authors' code; which of its 23 are the corresponding six the paper does not say, and here they
are spread evenly.  A bottleneck has its stride in the 3x3 convolution.  `nl_resnet20`, with a block
before the last residual block on 16x16 positions, is not in the paper.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated

from jaxtyping import Inexact

from minattn.attention.self_attention.non_local import (
    EXTENTS,
    PAIRS,
    SUBSAMPLES,
    Extent,
    NonLocalBlock,
    Pair,
    Subsample,
)
from minattn.attention.spatial.class_activation_map import class_activation_map
from minattn.autograd import Tensor, ops
from minattn.errors import ConfigError, ShapeError
from minattn.models.registry import register
from minattn.models.settings import Channels, Classes, DropoutRate, check_choices, check_sizes
from minattn.models.vision import cifar_resnet, resnet
from minattn.models.vision.cifar_resnet import CifarResNet, CifarResNetConfig
from minattn.models.vision.resnet import ResNet, ResNetConfig
from minattn.nn import Dropout, Module
from minattn.nn.attention_paths import Attention, prefixed
from minattn.nn.initializers import Rng
from minattn.published import Network, Paper

BACKBONES: dict[str, ResNetConfig | CifarResNetConfig] = {**resnet.CONFIGURATIONS, **cifar_resnet.CONFIGURATIONS}
BlockIndex = tuple[int, int]
"""A residual block, by its stage and its index there, both from 0."""


def insertion_points(count: int, blocks: Sequence[int]) -> list[BlockIndex]:
    """Return the residual blocks that 1, 5 or 10 non-local blocks follow, for so many residual blocks in each stage.

    They are in the two stages before the last one, res3 and res4 of ResNet-50 and -101.  Raises ConfigError for another
    count, and where there are too few residual blocks for it.
    """
    last = len(blocks) - 2
    res3, res4 = blocks[last - 1], blocks[last]
    every = {
        0: [],
        1: [(last, res4 - 2)],
        5: [(last - 1, i) for i in range(1, res3, 2)] + [(last, i) for i in _spread(res4)],
        10: [(last - 1, i) for i in range(res3)]
        + [(last, (i + 1) * res4 // 6 - 1) for i in range(6 if res4 > 5 else 0)],
    }
    if count not in every or len(every[count]) != count or any(i < 0 for _, i in every[count]):
        possible = ", ".join(str(n) for n, points in every.items() if len(points) == n and (n != 1 or res4 > 1))
        raise ConfigError(f"{count} non-local blocks cannot be spread over stages of {blocks}; hint: one of {possible}")
    return every[count]


def _spread(res4: int) -> range:
    """Every second of a few blocks, every seventh of many."""
    step = 2 if res4 < 14 else 7
    return range(step - 1, res4, step)


# ---------------------------------------------------------------------------------------------- images
@dataclass(frozen=True)
class NonLocalResNetConfig:
    """The defaults are ResNet-50 with one block.  backbone: a name of `BACKBONES`."""

    backbone: Annotated[str, "residual network, by its name"] = "resnet50"
    blocks: Annotated[int, "number of non-local blocks: 0, 1, 5 or 10"] = 1
    pair: Annotated[Pair, "pairwise function f"] = "embedded"
    subsample: Annotated[Subsample, "where 2 x 2 positions are max-pooled: after phi and g, before them, or none"] = (
        "none"
    )
    classes: Classes = 1000
    channels: Channels = 3

    def __post_init__(self) -> None:
        check_sizes(self, "classes", "channels")
        check_choices(self, pair=PAIRS, subsample=SUBSAMPLES)
        if type(self.blocks) is not int:
            raise ConfigError(f"blocks is a whole number, got {self.blocks!r}; hint: 0, 1, 5 or 10")
        if self.backbone not in BACKBONES:
            raise ConfigError(f"there is no backbone {self.backbone!r}; hint: one of {', '.join(BACKBONES)}")
        self.insertion_points()

    @property
    def size(self) -> int:
        """The side of the images that the backbone was published for."""
        return BACKBONES[self.backbone].size

    @property
    def network(self) -> ResNetConfig | CifarResNetConfig:
        """The configuration of the backbone."""
        return replace(BACKBONES[self.backbone], classes=self.classes, channels=self.channels)

    def insertion_points(self) -> list[BlockIndex]:
        """The residual blocks that are followed by a non-local one."""
        network = self.network
        return insertion_points(self.blocks, network.blocks if isinstance(network, ResNetConfig) else (network.n,) * 3)


CONFIGURATIONS = {
    "nl_resnet50": NonLocalResNetConfig(),
    "nl_resnet101": NonLocalResNetConfig("resnet101"),
    "nl_resnet20": NonLocalResNetConfig("resnet20", classes=10),  # not in the paper
}


@register(CONFIGURATIONS)
class NonLocalResNet(Module):
    """A residual network with non-local blocks.  rng draws the parameters: first the backbone's."""

    extent: Extent = "spacetime"

    def __init__(self, config: NonLocalResNetConfig, rng: Rng) -> None:
        self.config = config
        network = config.network
        self.backbone = ResNet(network, rng) if isinstance(network, ResNetConfig) else CifarResNet(network, rng)
        self.non_local = [
            NonLocalBlock(network.outputs[stage], rng, pair=config.pair, subsample=config.subsample, extent=self.extent)
            for stage, _ in config.insertion_points()
        ]

    def forward(
        self, images: Inexact[Tensor, "batch channels height width"], return_attention: bool = False
    ) -> Inexact[Tensor, "batch classes"] | tuple[Inexact[Tensor, "batch classes"], Attention]:
        """Return the logits; with return_attention=True, (logits, attention).

        attention: the weights (batch, positions, positions) of every non-local block, the class activation maps under
        "backbone.classifier", and the gates of the backbone's blocks.
        """
        x, attention = self.backbone.stem(images), {}
        for index in range(len(self.backbone.stages)):
            x, found = self.stage(index, x, 1, return_attention)
            attention |= found
        logits = self.backbone.classifier(self.backbone.pool(x))
        if not return_attention:
            return logits
        return logits, attention | {"backbone.classifier": class_activation_map(x, self.backbone.classifier.weight)}

    def stage(
        self, index: int, x: Inexact[Tensor, "images filters height width"], frames: int, need_weights: bool
    ) -> tuple[Inexact[Tensor, "images more_filters new_height new_width"], Attention]:
        """Run the residual blocks of a stage, and the non-local ones that follow them, on clips of so many frames."""
        attention: Attention = {}
        points = self.config.insertion_points()
        for i, block in enumerate(self.backbone.stages[index].blocks):
            x, gates = self.residual(block, x, frames)
            attention |= prefixed(f"backbone.stages.{index}.blocks.{i}", gates)
            if (index, i) in points:
                k = points.index((index, i))
                z, weights = self.non_local[k](as_clips(x, frames), need_weights)
                x = as_frames(z)
                if weights is not None:
                    attention[f"non_local.{k}"] = weights
        return x, attention

    def residual(
        self, block: Module, x: Inexact[Tensor, "images filters height width"], frames: int
    ) -> tuple[Inexact[Tensor, "images more_filters new_height new_width"], Attention]:
        """Run a residual block on clips of so many frames, each frame alone."""
        return block(x)


def as_frames(
    clips: Inexact[Tensor, "batch channels frames height width"],
) -> Inexact[Tensor, "images channels height width"]:
    """All frames of all clips, one after another."""
    batch, channels, frames, height, width = clips.shape
    return ops.reshape(ops.swapaxes(clips, 1, 2), (batch * frames, channels, height, width))


def as_clips(
    x: Inexact[Tensor, "images channels height width"], frames: int
) -> Inexact[Tensor, "batch channels frames height width"]:
    """The clips of so many frames each; an image is a clip of one."""
    images, *shape = x.shape
    return ops.swapaxes(ops.reshape(x, (images // frames, frames, *shape)), 1, 2)


# ---------------------------------------------------------------------------------------------- video
@dataclass(frozen=True)
class C2DConfig(NonLocalResNetConfig):
    """The defaults are the paper's baseline, C2D of ResNet-50 on Kinetics, without non-local blocks."""

    blocks: Annotated[int, "number of non-local blocks: 0, 1, 5 or 10"] = 0
    subsample: Annotated[Subsample, "where 2 x 2 positions are max-pooled: after phi and g, before them, or none"] = (
        "after"
    )
    classes: Classes = 400
    extent: Annotated[
        Extent, "what a position attends to: all positions and frames, its frame, or itself in all frames"
    ] = "spacetime"
    dropout: DropoutRate = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choices(self, extent=EXTENTS)
        if self.extent == "time" and self.subsample != "none" and self.blocks:
            raise ConfigError(
                "2 x 2 positions cannot be pooled where each attends to itself alone; hint: subsample=none"
            )
        if not isinstance(self.network, ResNetConfig):
            raise ConfigError(f"C2D is a ResNet for 224x224, got {self.backbone!r}; hint: resnet50")


C2D_CONFIGURATIONS = {
    "c2d_resnet50": C2DConfig(),
    "c2d_resnet101": C2DConfig("resnet101"),
    **{f"c2d_resnet50_nl{blocks}": C2DConfig(blocks=blocks) for blocks in (1, 5, 10)},
    **{f"c2d_resnet101_nl{blocks}": C2DConfig("resnet101", blocks=blocks) for blocks in (1, 5, 10)},
}
"""Tables 1 and 2: the baselines, and with 1, 5 and 10 non-local blocks."""


class C2D(NonLocalResNet):
    """A residual network on every frame of a clip, pools between frames, and non-local blocks across them."""

    def __init__(self, config: C2DConfig, rng: Rng) -> None:
        self.extent = config.extent
        super().__init__(config, rng)
        self.dropout = Dropout(config.dropout, rng)

    def forward(
        self, clips: Inexact[Tensor, "batch channels frames height width"], return_attention: bool = False
    ) -> Inexact[Tensor, "batch classes"] | tuple[Inexact[Tensor, "batch classes"], Attention]:
        """Return the logits; with return_attention=True, (logits, the weights of every non-local block).

        Raises ShapeError for a clip without frames.
        """
        if clips.ndim != 5 or clips.shape[2] < 1:
            raise ShapeError(
                f"C2D got clips of shape {clips.shape}, expected (batch, channels, frames, height, width) with a frame "
                "at least; hint: an image is a clip of one, images[:, :, None]"
            )
        x, frames = self.first(clips)  # conv1 and pool1
        attention: Attention = {}
        for index in range(len(self.backbone.stages)):
            x, found = self.stage(index, x, frames, return_attention)
            attention |= found
            if index == 0:
                x, frames = pooled_in_time(x, frames)  # pool2
        logits = self.backbone.classifier(self.dropout(ops.mean(as_clips(x, frames), (2, 3, 4))))
        return (logits, attention) if return_attention else logits

    def first(
        self, clips: Inexact[Tensor, "batch channels frames height width"]
    ) -> tuple[Inexact[Tensor, "images filters new_height new_width"], int]:
        """Return (the feature maps of every second frame after conv1 and pool1, the number of frames that are left)."""
        every_second = clips[:, :, ::2]
        return pooled_in_time(self.backbone.stem(as_frames(every_second)), every_second.shape[2])


def pooled_in_time(
    x: Inexact[Tensor, "images channels height width"], frames: int
) -> tuple[Inexact[Tensor, "fewer channels height width"], int]:
    """Return (the maximum of three frames around every second one, the number of frames that are left)."""
    *lead, height, width = as_clips(x, frames).shape
    pooled = ops.max_pool2d(ops.reshape(as_clips(x, frames), (*lead, height * width)), (3, 1), (2, 1), (1, 0))
    frames = pooled.shape[2]
    return as_frames(ops.reshape(pooled, (*lead[:2], frames, height, width))), frames


NETWORK = Network(
    name="non-local networks, C2D, I3D",
    paper=Paper("Wang et al.", 2018, "Non-local neural networks"),
    code="NonLocalResNet",
    command="minattn train images --data fashion-mnist --model nl_resnet20",
    experiment="experiments/non_local.py",
)
