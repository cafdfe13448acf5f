"""A small residual network for a picture or a clip of gray frames, with a non-local block in it or without.

After X. Wang, R. Girshick, A. Gupta and K. He, "Non-local neural networks", CVPR 2018, table 1: a ResNet on every
frame, in which nothing but a pool mixes frames (C2D), and a non-local block before the last residual block.

    layer     T x H x W of a clip of 8x64x64; a picture is a clip of one frame
    stem      8x32x32    3x3, 16, stride 2
    pool      4x32x32    max of 3x1x1, stride 2 in time; of clips alone
    block     4x16x16    3x3, 3x3, 32, the first with stride 2
    between   4x16x16    nothing, one such block more, or a non-local block
    block     4x16x16    3x3, 3x3, 32
              1          mean over all positions and frames, linear layer to the classes

A position of the last feature maps has a receptive field of 31 pixels, and of 47 with one residual block more.  With
`coordinates` the stem gets, beside the gray values, the row, the column and the frame of each pixel, as in CoordConv
(R. Liu et al., "An intriguing failing of convolutional neural networks and the CoordConv solution", NeurIPS 2018).
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from jaxtyping import Inexact

from minattn.attention.self_attention.non_local import EXTENTS, PAIRS, Extent, NonLocalBlock, Pair
from minattn.autograd import Tensor, ops
from minattn.autograd.backend import like
from minattn.models.settings import Channels, Classes, check_choices, check_sizes
from minattn.models.vision.non_local_resnet import as_clips, as_frames, pooled_in_time
from minattn.models.vision.residual_blocks import BasicBlock
from minattn.nn import ConvNorm, Linear, Module
from minattn.nn.attention_paths import Attention
from minattn.nn.initializers import Rng
from minattn.tasks.images.settings import ImageConfig

STRIDE = 4  # pixels from a position of the last feature maps to the next
RECEPTIVE_FIELD = 31  # pixels on a side that a position of the last feature maps depends on
LARGER_RECEPTIVE_FIELD = 47  # with a residual block more


@dataclass(frozen=True)
class ClipNetworkConfig:
    """The defaults are the network without anything between its blocks, for pictures."""

    pair: Annotated[Pair | None, "pairwise function of a non-local block; none: without one"] = None
    extent: Annotated[
        Extent, "what a position attends to: all positions and frames, its frame, or itself in all frames"
    ] = "spacetime"
    extra: Annotated[bool, "one residual block more"] = False
    coordinates: Annotated[bool, "row, column and frame of each pixel as three more channels"] = False
    width: Annotated[int, "channels of the first feature maps, half of those of the others"] = 16
    classes: Classes = 2
    channels: Channels = 1  # the frames of a clip, which are gray
    size: ClassVar[int] = 64

    def __post_init__(self) -> None:
        check_sizes(self, "width", "classes", "channels")
        check_choices(self, extent=EXTENTS, **{} if self.pair is None else {"pair": PAIRS})


class ClipNetwork(Module):
    """A residual network on every frame, and what mixes them.  rng draws the parameters."""

    def __init__(self, config: ClipNetworkConfig, rng: Rng) -> None:
        self.config = config
        width = config.width
        self.stem = ConvNorm(4 if config.coordinates else 1, width, 3, rng, stride=2, padding=1)
        self.first = BasicBlock(width, 2 * width, 2, rng, option="A")
        self.last = BasicBlock(2 * width, 2 * width, 1, rng)
        self.classifier = Linear(2 * width, config.classes, rng)
        self.extra = BasicBlock(2 * width, 2 * width, 1, rng) if config.extra else None
        self.non_local = None
        if config.pair is not None:
            self.non_local = NonLocalBlock(2 * width, rng, pair=config.pair, extent=config.extent)

    def forward(
        self, clips: Inexact[Tensor, "batch frames height width"], return_attention: bool = False
    ) -> Inexact[Tensor, "batch classes"] | tuple[Inexact[Tensor, "batch classes"], Attention]:
        """Return the logits; with return_attention=True, (logits, the weights under "non_local")."""
        frames, attention = clips.shape[1], {}
        x = clips[:, None]
        if self.config.coordinates:
            x = with_coordinates(x)
        x = self.stem(as_frames(x))
        if frames > 1:
            x, frames = pooled_in_time(x, frames)
        x, _ = self.first(x)
        if self.extra is not None:
            x, _ = self.extra(x)
        if self.non_local is not None:
            z, weights = self.non_local(as_clips(x, frames), return_attention)
            x = as_frames(z)
            attention |= {} if weights is None else {"non_local": weights}
        x, _ = self.last(x)
        logits = self.classifier(ops.mean(as_clips(x, frames), (2, 3, 4)))
        return (logits, attention) if return_attention else logits


def with_coordinates(
    clips: Inexact[Tensor, "batch channels frames height width"],
) -> Inexact[Tensor, "batch more frames height width"]:
    """Return the clips with three more channels: frame, row and column, each from -1 to 1."""
    batch, _, *sides = clips.shape
    grid = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in sides), indexing="ij"))
    grid = np.broadcast_to(grid.astype(clips.data.dtype), (batch, *grid.shape))
    return ops.concat([clips, like(grid, clips.data)], axis=1)


class ClipConfig(ImageConfig):
    """The settings of a run with this network, of images with a channel for each frame."""

    def build(self) -> ClipNetwork:
        return ClipNetwork(self.network, np.random.default_rng(self.seed))


def multiply_adds(config: ClipNetworkConfig, side: int) -> int:
    """The multiply-adds of the network for side x side pixels: in convolutions, linear layers and sums over pairs."""
    width, frames = config.width, config.channels
    pooled = -(-frames // 2) if frames > 1 else 1
    in_frame = (-(-side // 4)) ** 2
    positions = pooled * in_frame  # N
    stem = frames * (-(-side // 2)) ** 2 * 9 * width * (4 if config.coordinates else 1)
    first = positions * 9 * (2 + 4) * width**2
    block = positions * 9 * (4 + 4) * width**2
    total = stem + first + (2 if config.extra else 1) * block + 2 * width * config.classes
    if config.pair is None:
        return total
    keys = {"spacetime": positions, "space": in_frame, "time": pooled}[config.extent]
    projections = (2 if config.pair == "gaussian" else 4) * positions * 2 * width * width
    of_f, of_sum = {  # theta^T phi, and f g
        "gaussian": (2 * width * keys, width * keys),
        "embedded": (width * keys, width * keys),
        "dot": (width**2, width**2),  # theta (phi^T g)
        "concatenation": (2 * width, width * keys),
    }[config.pair]
    return total + projections + positions * (of_f + of_sum)
