"""ResNet for images of 224x224, with its relatives ResNeXt, Wide ResNet-50-2, SE-ResNet and SE-ResNeXt.

K. He, X. Zhang, S. Ren and J. Sun, "Deep residual learning for image recognition", CVPR 2016, table 1:

    stage     output     18         34         50                         101          152
    conv1     112x112    7x7, 64, stride 2
    conv2_x   56x56      3x3 max pool, stride 2, then
                         3x3, 64    3x3, 64    1x1, 64
                         3x3, 64    3x3, 64    3x3, 64
                                               1x1, 256
                         x 2        x 3        x 3                        x 3          x 3
    conv3_x   28x28      128: x 2   128: x 4   128, 128, 512: x 4         x 4          x 8
    conv4_x   14x14      256: x 2   256: x 6   256, 256, 1024: x 6        x 23         x 36
    conv5_x   7x7        512: x 2   512: x 3   512, 512, 2048: x 3        x 3          x 3
              1x1        mean, linear layer to 1000 classes, softmax

The first block of conv3_x, conv4_x and conv5_x has stride 2; shortcuts are of option B.  Blocks: `residual_blocks.py`.

S. Xie, R. Girshick, P. Dollar, Z. Tu and K. He, "Aggregated residual transformations for deep neural networks", CVPR
2017, table 1: in ResNeXt CxBd the 3x3 convolution of conv2_x has C groups of B channels, and so on twice as wide.
S. Zagoruyko and N. Komodakis, "Wide residual networks", BMVC 2016: in WRN-50-2-bottleneck the first two
convolutions of a bottleneck are twice as wide.
J. Hu, L. Shen and G. Sun, "Squeeze-and-excitation networks", CVPR 2018, table 1: SE in every block.

Deviations from the papers:
* `strided`: the authors of ResNet and of the SE-ResNets have a bottleneck's stride in its first 1x1 convolution; the
  3x3 one, the default, is how ResNeXt's authors have it and most have since.  The parameters are the same.
* SE has biases, as the authors' models do and the formula does not; `position` is from the longer version of the paper.
* Max pooling pads by 1 on every side, so that images of 224x224 have the sizes of the table.
* Weights of convolutions are drawn He-normal as there, those of the linear layer Glorot-uniform; the last batch norm of
  a block starts like the others.
"""

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal

from jaxtyping import Inexact

from minattn.autograd import Tensor, ops
from minattn.errors import ConfigError
from minattn.models.registry import register
from minattn.models.settings import Channels, Classes, Reduction, check_choices, check_settings
from minattn.models.vision.residual_blocks import BasicBlock, Bottleneck, Position, ResidualNetwork, Stage
from minattn.nn import ConvNorm, Linear, Module
from minattn.nn.convolution import check_groups
from minattn.nn.initializers import Rng
from minattn.published import Network, Paper


@dataclass(frozen=True)
class ResNetConfig:
    """The defaults are ResNet-50, with the stride in the 3x3 convolution."""

    blocks: Annotated[tuple[int, int, int, int], "blocks of conv2_x to conv5_x"] = (3, 4, 6, 3)
    block: Annotated[Literal["basic", "bottleneck"], "kind of block"] = "bottleneck"
    strided: Annotated[Literal["1x1", "3x3"], "convolution that has the stride of a bottleneck"] = "3x3"
    groups: Annotated[int, "C: groups of the 3x3 convolutions, the cardinality of ResNeXt"] = 1
    width: Annotated[int, "channels of the 3x3 convolutions in conv2_x: C times B in ResNeXt"] = 64
    se: Reduction = None
    position: Annotated[Position, "where a block has its squeeze-and-excitation"] = "standard"
    classes: Classes = 1000
    channels: Channels = 3
    size: ClassVar[int] = 224

    def __post_init__(self) -> None:
        check_settings(self, "groups", "width")
        choices = ("standard", "pre", "post", "identity", "3x3")
        check_choices(self, block=("basic", "bottleneck"), strided=("1x1", "3x3"), position=choices)
        check_groups(self.width, self.width, self.groups)
        if len(self.blocks) != 4 or min(self.blocks) < 1:
            raise ConfigError(f"blocks are those of 4 stages, got {self.blocks}; hint: for example (3, 4, 6, 3)")
        if self.block == "basic" and (self.groups, self.width, self.position) != (1, 64, "standard"):
            raise ConfigError(
                f"basic blocks have groups 1, width 64 and SE in the standard position, got {self.groups}, "
                f'{self.width} and "{self.position}"; hint: block="bottleneck"'
            )

    @property
    def outputs(self) -> tuple[int, int, int, int]:
        """Output channels of each stage."""
        first = 64 if self.block == "basic" else 256
        return first, 2 * first, 4 * first, 8 * first


RESNET_50 = ResNetConfig()
RESNET_101 = ResNetConfig((3, 4, 23, 3))
RESNET_152 = ResNetConfig((3, 8, 36, 3))
RESNEXT_50 = replace(RESNET_50, groups=32, width=32 * 4)
RESNEXT_101 = replace(RESNET_101, groups=32, width=32 * 4)
SE_RESNET_50 = replace(RESNET_50, strided="1x1", se=16)

CONFIGURATIONS = {
    "resnet18": ResNetConfig((2, 2, 2, 2), "basic"),
    "resnet34": ResNetConfig((3, 4, 6, 3), "basic"),
    "resnet50": RESNET_50,
    "resnet101": RESNET_101,
    "resnet152": RESNET_152,
    "resnet50_1x1": replace(RESNET_50, strided="1x1"),
    "resnet101_1x1": replace(RESNET_101, strided="1x1"),
    "resnet152_1x1": replace(RESNET_152, strided="1x1"),
    "resnext50_32x4d": RESNEXT_50,
    "resnext101_32x4d": RESNEXT_101,
    "resnext101_32x8d": replace(RESNET_101, groups=32, width=32 * 8),
    "wide_resnet50_2": replace(RESNET_50, width=2 * 64),
    "se_resnet50": SE_RESNET_50,
    "se_resnet101": replace(RESNET_101, strided="1x1", se=16),
    "se_resnet152": replace(RESNET_152, strided="1x1", se=16),
    "se_resnext50_32x4d": replace(RESNEXT_50, se=16),
    "se_resnext101_32x4d": replace(RESNEXT_101, se=16),
    **{f"se_resnet50_r{r}": replace(SE_RESNET_50, se=r) for r in (2, 4, 8, 32)},
    "se_pre_resnet50": replace(SE_RESNET_50, position="pre"),
    "se_post_resnet50": replace(SE_RESNET_50, position="post"),
    "se_identity_resnet50": replace(SE_RESNET_50, position="identity"),
    "se_3x3_resnet50": replace(SE_RESNET_50, position="3x3"),
}
"""The published sizes; `_1x1` has the stride in the first convolution, as the SE-ResNets do."""


def make_stage(config: ResNetConfig, index: int, rng: Rng, stride: int | None = None) -> Stage:
    """Stage 0 to 3, conv2_x to conv5_x; the first block has the stride (None: 1, 2, 2 and 2)."""
    stride = (1, 2, 2, 2)[index] if stride is None else stride
    width, outputs = config.width * 2**index, config.outputs[index]
    inputs = 64 if index == 0 else config.outputs[index - 1]

    def block(inputs: int, stride: int) -> Module:
        if config.block == "basic":
            return BasicBlock(inputs, outputs, stride, rng, se=config.se)
        settings = {name: getattr(config, name) for name in ("strided", "groups", "se", "position")}
        return Bottleneck(inputs, width, outputs, stride, rng, **settings)

    return Stage.of(block, config.blocks[index], inputs, outputs, stride)


@register(CONFIGURATIONS)
class ResNet(ResidualNetwork):
    """ResNet of table 1.  rng draws the parameters."""

    def __init__(self, config: ResNetConfig, rng: Rng) -> None:
        self.config = config
        self.conv1 = ConvNorm(config.channels, 64, 7, rng, stride=2, padding=3)
        self.stages = [make_stage(config, index, rng) for index in range(4)]  # conv2_x to conv5_x
        self.classifier = Linear(config.outputs[-1], config.classes, rng)

    def stem(
        self, images: Inexact[Tensor, "batch channels height width"]
    ) -> Inexact[Tensor, "batch filters new_height new_width"]:
        """Return the feature maps of conv1 and max pooling: (N, 64, 56, 56) of images of 224x224."""
        return ops.max_pool2d(self.conv1(images), 3, 2, 1)


NETWORK = Network(
    name="ResNet, ResNeXt, SE-ResNet",
    paper=Paper("He et al.", 2016, "Deep residual learning for image recognition"),
    code="ResNet",
    command="minattn train images --data FOLDER --set size=224 --model resnet50",
)
