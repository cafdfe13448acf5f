"""ResNeXt for small images: ResNeXt-29 of CIFAR-10 and CIFAR-100.

S. Xie, R. Girshick, P. Dollar, Z. Tu and K. He, "Aggregated residual transformations for deep neural networks", CVPR
2017, section 5.3.  A network of depth 9n + 2 with C groups (the cardinality) of B channels (the bottleneck's width):

    output        32x32             16x16              8x8
    blocks        n                 n                  n
    of            1x1, CB           1x1, 2CB           1x1, 4CB
                  3x3, CB, C groups 3x3, 2CB, C groups 3x3, 4CB, C groups
                  1x1, 256          1x1, 512           1x1, 1024

    before them a 3x3 convolution to 64 channels; after them the mean over 8x8 and a linear layer to the classes.

The first block of 16x16 and of 8x8 has stride 2, in its 3x3 convolution; shortcuts are of option B.  The blocks are in
`residual_blocks.py`.

Deviations from the paper: `se` puts Squeeze-and-Excitation on the residual branch of every block.  Weights of
convolutions are drawn He-normal, those of the linear layer Glorot-uniform.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from jaxtyping import Inexact

from minattn.autograd import Tensor
from minattn.errors import ConfigError
from minattn.models.registry import register
from minattn.models.settings import Channels, Classes, Reduction, check_settings
from minattn.models.vision.residual_blocks import Bottleneck, ResidualNetwork, Stage
from minattn.nn import ConvNorm, Linear, Module
from minattn.nn.initializers import Rng
from minattn.published import Network, Paper


@dataclass(frozen=True)
class CifarResNeXtConfig:
    """The defaults are ResNeXt-29, 8x64d, for CIFAR-10."""

    depth: Annotated[int, "layers: 9n + 2"] = 29
    groups: Annotated[int, "C: groups of the 3x3 convolutions, the cardinality"] = 8
    group_width: Annotated[int, "B: channels of a group at 32x32"] = 64
    se: Reduction = None
    classes: Classes = 10
    channels: Channels = 3
    size: ClassVar[int] = 32

    def __post_init__(self) -> None:
        check_settings(self, "depth", "groups", "group_width")
        if self.depth < 11 or (self.depth - 2) % 9:
            raise ConfigError(f"ResNeXt for small images has depth 9n + 2, got {self.depth}; hint: for example 29")


CONFIGURATIONS = {
    "resnext29_8x64d": CifarResNeXtConfig(),
    "resnext29_16x64d": CifarResNeXtConfig(groups=16),
    "se_resnext29_8x64d": CifarResNeXtConfig(se=16),
    "se_resnext29_16x64d": CifarResNeXtConfig(groups=16, se=16),
}
"""Table 7; with Squeeze-and-Excitation, `se_`, they are not from the papers."""


def make_stage(config: CifarResNeXtConfig, index: int, rng: Rng) -> Stage:
    """Stage 0, 1 or 2; the first block of all but stage 0 has stride 2."""
    stride = (1, 2, 2)[index]
    width, outputs = config.groups * config.group_width * 2**index, 256 * 2**index
    inputs = 64 if index == 0 else outputs // 2

    def block(inputs: int, stride: int) -> Module:
        return Bottleneck(inputs, width, outputs, stride, rng, groups=config.groups, se=config.se)

    return Stage.of(block, (config.depth - 2) // 9, inputs, outputs, stride)


@register(CONFIGURATIONS)
class CifarResNeXt(ResidualNetwork):
    """ResNeXt for small images.  rng draws the parameters."""

    def __init__(self, config: CifarResNeXtConfig, rng: Rng) -> None:
        self.config = config
        self.conv1 = ConvNorm(config.channels, 64, 3, rng, padding=1)
        self.stages = [make_stage(config, index, rng) for index in range(3)]
        self.classifier = Linear(1024, config.classes, rng)

    def stem(
        self, images: Inexact[Tensor, "batch channels height width"]
    ) -> Inexact[Tensor, "batch filters height width"]:
        """Return the feature maps of the first convolution."""
        return self.conv1(images)


NETWORK = Network(
    name="ResNeXt for small images",
    paper=Paper("Xie et al.", 2017, "Aggregated residual transformations for deep neural networks"),
    code="CifarResNeXt",
    command="minattn train images --model resnext29_8x64d",
)
