"""ResNet for small images: ResNet-20 to ResNet-1202 of CIFAR-10.

K. He, X. Zhang, S. Ren and J. Sun, "Deep residual learning for image recognition", CVPR 2016, section 4.2.  A network
of depth 6n + 2 on images of 32x32:

    output        32x32      16x16      8x8
    layers        1 + 2n     2n         2n          3x3 convolutions: the first one, then blocks of two
    filters       16         32         64

    then the mean over 8x8 and a linear layer to the classes.

The blocks, and the shortcuts of option A (the paper's choice here) and B, are in `residual_blocks.py`.  The first block
of 16x16 and of 8x8 has stride 2.

Deviations from the paper:
* `se` puts Squeeze-and-Excitation (Hu et al. 2018) on the residual branch of every block, with biases.
* `block="bottleneck"` makes blocks of 1x1, 3x3 and 1x1 convolutions with 4 times the filters going out: depth 9n + 2,
  as ResNet-164 of "Identity mappings in deep residual networks" (He et al., ECCV 2016), but with batch norm after the
  convolutions.
* ResNet-8 (n = 1) is not in the paper.  Images may have other sizes and numbers of channels.
* Weights of convolutions are drawn He-normal as there, those of the linear layer Glorot-uniform.
"""

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal

from jaxtyping import Inexact

from minattn.autograd import Tensor
from minattn.errors import ConfigError
from minattn.models.registry import register
from minattn.models.settings import Channels, Classes, Reduction, check_choices, check_settings
from minattn.models.vision.residual_blocks import BasicBlock, Bottleneck, Option, ResidualNetwork, Stage
from minattn.nn import ConvNorm, Linear, Module
from minattn.nn.initializers import Rng
from minattn.published import Network, Paper


@dataclass(frozen=True)
class CifarResNetConfig:
    """The defaults are ResNet-20 for CIFAR-10."""

    depth: Annotated[int, "layers: 6n + 2, of bottlenecks 9n + 2"] = 20
    shortcut: Annotated[Option, "option where the size changes: zeros (A) or a projection (B)"] = "A"
    block: Annotated[Literal["basic", "bottleneck"], "kind of block"] = "basic"
    se: Reduction = None
    classes: Classes = 10
    channels: Channels = 3
    width: Annotated[int, "filters at 32x32"] = 16
    size: ClassVar[int] = 32

    def __post_init__(self) -> None:
        check_settings(self, "depth", "width")
        check_choices(self, shortcut=("A", "B"), block=("basic", "bottleneck"))
        if self.n < 1 or self.layers * self.n + 2 != self.depth:
            nearest = self.layers * max(1, round((self.depth - 2) / self.layers)) + 2
            raise ConfigError(
                f"a ResNet of {self.block} blocks has depth {self.layers}n + 2, got {self.depth}; hint: for "
                f"example {nearest}"
            )

    @property
    def layers(self) -> int:
        """Layers per n: three stages of blocks of two or three convolutions."""
        return 6 if self.block == "basic" else 9

    @property
    def n(self) -> int:
        """Blocks in a stage."""
        return (self.depth - 2) // self.layers

    @property
    def outputs(self) -> tuple[int, int, int]:
        """Output channels of each stage."""
        expansion = 1 if self.block == "basic" else 4
        return self.width * expansion, 2 * self.width * expansion, 4 * self.width * expansion


DEPTHS = (20, 32, 44, 56, 110, 1202)  # table 6
CONFIGURATIONS = {
    "resnet8": CifarResNetConfig(8),  # not in the paper
    **{f"resnet{depth}": CifarResNetConfig(depth) for depth in DEPTHS},
    **{f"resnet{depth}_b": CifarResNetConfig(depth, "B") for depth in (8, *DEPTHS)},
    "resnet164_b": CifarResNetConfig(164, "B", "bottleneck"),
}
CONFIGURATIONS |= {f"se_{name}": replace(config, se=16) for name, config in CONFIGURATIONS.items()}
"""Table 6, with shortcuts A and (`_b`) B, without and (`se_`) with Squeeze-and-Excitation."""


def make_stage(config: CifarResNetConfig, index: int, rng: Rng, stride: int | None = None) -> Stage:
    """Stage 0, 1 or 2: n blocks, the first with the stride (None: 1, 2 and 2)."""
    stride = (1, 2, 2)[index] if stride is None else stride
    width, outputs = config.width * 2**index, config.outputs[index]
    inputs = config.width if index == 0 else config.outputs[index - 1]

    def block(inputs: int, stride: int) -> Module:
        settings = {"option": config.shortcut, "se": config.se}
        if config.block == "basic":
            return BasicBlock(inputs, outputs, stride, rng, **settings)
        return Bottleneck(inputs, width, outputs, stride, rng, **settings)

    return Stage.of(block, config.n, inputs, outputs, stride)


@register(CONFIGURATIONS)
class CifarResNet(ResidualNetwork):
    """ResNet for small images.  rng draws the parameters."""

    def __init__(self, config: CifarResNetConfig, rng: Rng) -> None:
        self.config = config
        self.conv1 = ConvNorm(config.channels, config.width, 3, rng, padding=1)
        self.stages = [make_stage(config, index, rng) for index in range(3)]
        self.classifier = Linear(config.outputs[-1], config.classes, rng)

    def stem(
        self, images: Inexact[Tensor, "batch channels height width"]
    ) -> Inexact[Tensor, "batch filters height width"]:
        """Return the feature maps of the first convolution."""
        return self.conv1(images)


NETWORK = Network(
    name="ResNet for small images",
    paper=Paper("He et al.", 2016, "Deep residual learning for image recognition"),
    code="CifarResNet",
    command="minattn train images --model resnet20",
)
