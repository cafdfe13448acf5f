"""I3D: C2D with some of its kernels inflated, so that convolutions span several frames of a clip.

J. Carreira and A. Zisserman, "Quo vadis, action recognition? A new model and the Kinetics dataset", CVPR 2017, have the
inflation; X. Wang, R. Girshick, A. Gupta and K. He, "Non-local neural networks", CVPR 2018, section 4.1, this network,
beside their blocks in C2D (`non_local_resnet.py`).  One kernel of every two residual blocks has three frames, and conv1
five:

    conv1         1x7x7 becomes 5x7x7
    "3x3x3"       the 3x3 kernel of a bottleneck, 1x3x3, becomes 3x3x3
    "3x1x1"       its first one, 1x1x1, becomes 3x1x1

    w3[t] = w2 / T for t = 1 .. T                                                                  (a)

(a) is how a kernel of T frames starts from one of images.  On a clip of T equal frames it gives what the kernel of
images gives for one, and so the whole network gives for a still clip what the network of images gives for the image.
A convolution of t x k x k is one of k x k over frames that are stacked with their neighbors, t times the channels.

The letter is this file's.

Deviations from the papers: those of C2D.  Clips are padded with their first and last frames, where the
authors' code pads with zeros: so (a) holds at the ends of a clip too.  Of every two blocks of a stage the first is
inflated; the authors' code inflates all three of res2 and one of res5.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from jaxtyping import Inexact

from minattn.autograd import Tensor, ops
from minattn.errors import ConfigError
from minattn.models.settings import check_choices
from minattn.models.vision.non_local_resnet import C2D, C2DConfig, as_clips, as_frames, pooled_in_time
from minattn.models.vision.residual_blocks import Bottleneck
from minattn.nn import ConvNorm, Module, Parameter, initializers
from minattn.nn.attention_paths import Attention
from minattn.nn.initializers import Rng

INFLATED = {"3x1x1": 0, "3x3x3": 1}
"""Which convolution of a bottleneck has three frames."""
Inflated = Literal["3x1x1", "3x3x3"]


# ---------------------------------------------------------------------------------------------- the convolution
class InflatedConv3d(Module):
    """y = x * W over the frames of clips: W is (outputs, inputs, frames, height, width), drawn He-normal.

    kernel: its height and width; kernel_frames: its frames, an odd number; stride: of rows and columns;
    temporal_stride: of frames.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        kernel_frames: int,
        rng: Rng,
        *,
        stride: int = 1,
        temporal_stride: int = 1,
    ) -> None:
        if kernel_frames % 2 == 0:
            raise ConfigError(f"a kernel is centered on a frame, got {kernel_frames} frames; hint: 3 or 5")
        self.weight: Parameter = initializers.he_normal((outputs, inputs, kernel_frames, kernel, kernel), rng)
        self.stride, self.temporal_stride = stride, temporal_stride

    def forward(
        self, x: Inexact[Tensor, "images inputs height width"], frames: int
    ) -> tuple[Inexact[Tensor, "fewer outputs new_height new_width"], int]:
        """Return (the feature maps of all frames of all clips, frames a clip in them); x: clips of `frames` frames."""
        outputs, inputs, kernel_frames, kernel, _ = self.weight.shape
        clips, margin = as_clips(x, frames), kernel_frames // 2
        padded = ops.pad(clips, [(0, 0), (0, 0), (margin, margin), (0, 0), (0, 0)], mode="replicate")
        neighbors = [padded[:, :, t : t + frames : self.temporal_stride] for t in range(kernel_frames)]
        stacked = ops.concat(neighbors, axis=1)  # (batch, kernel_frames * inputs, .)
        weight = ops.reshape(ops.swapaxes(self.weight, 1, 2), (outputs, kernel_frames * inputs, kernel, kernel))
        return ops.conv2d(as_frames(stacked), weight, None, self.stride, kernel // 2), stacked.shape[2]


def inflated(kernel: np.ndarray, kernel_frames: int) -> np.ndarray:
    """The kernel (outputs, inputs, height, width) of images as one of clips, (a): (outputs, inputs, frames, ..)."""
    return np.repeat(kernel[:, :, None], kernel_frames, axis=2) / kernel_frames


class InflatedBottleneck(Module):
    """A bottleneck on clips, with three frames in one of its three kernels."""

    def __init__(self, block: Bottleneck, which: int, rng: Rng) -> None:
        self.convolutions: list[ConvNorm] = block.convolutions
        self.shortcut, self.which = block.shortcut, which
        conv = block.convolutions[which].conv
        outputs, inputs, kernel, _ = conv.weight.shape
        block.convolutions[which].conv = InflatedConv3d(inputs, outputs, kernel, 3, rng, stride=conv.stride)

    def forward(
        self, x: Inexact[Tensor, "images inputs height width"], frames: int
    ) -> tuple[Inexact[Tensor, "images outputs new_height new_width"], Attention]:
        """Return (y, no attention)."""
        shortcut = x if self.shortcut is None else self.shortcut(x)
        for i, layer in enumerate(self.convolutions):
            x = layer(x) if i != self.which else layer.norm(layer.conv(x, frames)[0], layer.relu)
        return ops.add_relu(x, shortcut), {}


# ---------------------------------------------------------------------------------------------- the network
@dataclass(frozen=True)
class I3DConfig(C2DConfig):
    """The defaults are the paper's I3D of ResNet-50 on Kinetics, without non-local blocks."""

    inflate: Annotated[Inflated, "the kernel that has three frames, in one of two blocks"] = "3x1x1"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choices(self, inflate=tuple(INFLATED))
        network = self.network
        if network.block != "bottleneck" or network.groups != 1 or network.se is not None:
            raise ConfigError(f"I3D inflates bottlenecks of ResNet, got {self.backbone!r}; hint: resnet50 or resnet101")


I3D_CONFIGURATIONS = {
    f"i3d_{backbone}_{kernel}{f'_nl{blocks}' if blocks else ''}": I3DConfig(backbone, blocks=blocks, inflate=kernel)
    for backbone in ("resnet50", "resnet101")
    for kernel in INFLATED
    for blocks in (0, 5)
}
"""Tables 2e and 2f: both inflations, and with 5 non-local blocks."""


class I3D(C2D):
    """C2D with five frames in the kernel of conv1, and three in a kernel of every second residual block."""

    def __init__(self, config: I3DConfig, rng: Rng) -> None:
        super().__init__(config, rng)
        which = INFLATED[config.inflate]
        self.backbone.conv1.conv = InflatedConv3d(config.channels, 64, 7, 5, rng, stride=2, temporal_stride=2)
        for stage in self.backbone.stages:
            for i in range(0, len(stage.blocks), 2):
                stage.blocks[i] = InflatedBottleneck(stage.blocks[i], which, rng)

    def first(
        self, clips: Inexact[Tensor, "batch channels frames height width"]
    ) -> tuple[Inexact[Tensor, "images filters new_height new_width"], int]:
        conv1 = self.backbone.conv1
        x, frames = conv1.conv(as_frames(clips), clips.shape[2])
        return pooled_in_time(ops.max_pool2d(conv1.norm(x, conv1.relu), 3, 2, 1), frames)

    def residual(self, block: Module, x: Tensor, frames: int) -> tuple[Tensor, Attention]:
        return block(x, frames) if isinstance(block, InflatedBottleneck) else block(x)

    def load_inflated(self, state: dict[str, np.ndarray]) -> None:
        """Start from the state of a C2D with the same backbone and non-local blocks: its kernels are inflated, (a).

        Raises ShapeError as `load_state_dict` does.
        """
        own = self.state_dict()
        is_of_clips = {name for name, array in own.items() if array.ndim == 5}
        self.load_state_dict(
            {
                name: inflated(array, own[name].shape[2]) if name in is_of_clips and array.ndim == 4 else array
                for name, array in state.items()
            }
        )
