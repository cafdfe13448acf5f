"""SENet-154, which won ILSVRC 2017.

J. Hu, L. Shen and G. Sun, "Squeeze-and-excitation networks", CVPR 2018, appendix; the authors' model file has the
sizes.  It is ResNeXt-152 64x4d with SE and five changes:

    stem          three 3x3 convolutions to 64, 64 and 128 channels, the first with stride 2, instead of one of 7x7
    bottleneck    1x1 to half the channels of its 3x3 convolution, instead of to all of them
    shortcut      3x3 convolutions with stride 2 where the image shrinks, instead of 1x1
    classifier    dropout 0.2 before it
    labels        smoothed in training, `cross_entropy(label_smoothing=0.1)`

    stage     output     block                                        x
    conv1     112x112    3x3, 64, stride 2; 3x3, 64; 3x3, 128
    conv2_x   56x56      3x3 max pool, stride 2, then
                         1x1, 128; 3x3, 256, 64 groups; 1x1, 256      3
    conv3_x   28x28      1x1, 256; 3x3, 512, 64 groups; 1x1, 512      8
    conv4_x   14x14      1x1, 512; 3x3, 1024, 64 groups; 1x1, 1024    36
    conv5_x   7x7        1x1, 1024; 3x3, 2048, 64 groups; 1x1, 2048   3
              1x1        mean, dropout, linear layer to 1000 classes

Strides are in the 3x3 convolutions.  SE, with biases, is in the standard position; `residual_blocks.py`.

Deviations from the paper: `se=None` leaves SE out.  Weights of convolutions are drawn He-normal, those of the linear
layer Glorot-uniform.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from jaxtyping import Inexact

from minattn.attention.channel.squeeze_excitation import SqueezeExcitation
from minattn.autograd import Tensor, ops
from minattn.errors import ConfigError
from minattn.models.registry import register
from minattn.models.settings import Channels, Classes, DropoutRate, Reduction, check_settings
from minattn.models.vision.residual_blocks import ResidualBlock, ResidualNetwork, Stage
from minattn.nn import ConvNorm, Dropout, Linear, Module
from minattn.nn.convolution import check_groups
from minattn.nn.initializers import Rng
from minattn.published import Network, Paper


@dataclass(frozen=True)
class SENetConfig:
    """The defaults are SENet-154."""

    blocks: Annotated[tuple[int, int, int, int], "blocks of conv2_x to conv5_x"] = (3, 8, 36, 3)
    groups: Annotated[int, "groups of the 3x3 convolutions"] = 64
    se: Reduction = 16
    dropout: DropoutRate = 0.2
    classes: Classes = 1000
    channels: Channels = 3
    size: ClassVar[int] = 224

    def __post_init__(self) -> None:
        check_settings(self, "groups")
        if len(self.blocks) != 4 or min(self.blocks) < 1:
            raise ConfigError(f"blocks are those of 4 stages, got {self.blocks}; hint: for example (3, 8, 36, 3)")
        check_groups(128, 256, self.groups)  # of the 3x3 convolutions in conv2_x; all others are multiples of these


CONFIGURATIONS = {"senet154": SENetConfig()}


class SENetBlock(ResidualBlock):
    """1x1 to half of `outputs`, 3x3 in groups with the stride, 1x1; and SE."""

    def __init__(self, config: SENetConfig, inputs: int, outputs: int, stride: int, rng: Rng) -> None:
        convolutions = [
            ConvNorm(inputs, outputs // 2, 1, rng),
            ConvNorm(outputs // 2, outputs, 3, rng, stride=stride, padding=1, groups=config.groups),
            ConvNorm(outputs, outputs, 1, rng, relu=False),
        ]
        shortcut = None
        if stride != 1:
            shortcut = ConvNorm(inputs, outputs, 3, rng, stride=stride, padding=1, relu=False)
        elif inputs != outputs:
            shortcut = ConvNorm(inputs, outputs, 1, rng, relu=False)
        se = SqueezeExcitation(outputs, rng, config.se) if config.se is not None else None
        super().__init__(convolutions, shortcut, se)


def make_stage(config: SENetConfig, index: int, rng: Rng) -> Stage:
    """Stage 0 to 3, conv2_x to conv5_x; the first block of all but conv2_x has stride 2."""
    stride, outputs = (1, 2, 2, 2)[index], 256 * 2**index
    inputs = outputs // 2

    def block(inputs: int, stride: int) -> Module:
        return SENetBlock(config, inputs, outputs, stride, rng)

    return Stage.of(block, config.blocks[index], inputs, outputs, stride)


@register(CONFIGURATIONS)
class SENet(ResidualNetwork):
    """SENet-154.  rng draws the parameters and, in training, the dropout masks."""

    def __init__(self, config: SENetConfig, rng: Rng) -> None:
        self.config = config
        self.conv1 = [
            ConvNorm(config.channels, 64, 3, rng, stride=2, padding=1),
            ConvNorm(64, 64, 3, rng, padding=1),
            ConvNorm(64, 128, 3, rng, padding=1),
        ]
        self.stages = [make_stage(config, index, rng) for index in range(4)]
        self.dropout = Dropout(config.dropout, rng)
        self.classifier = Linear(2048, config.classes, rng)

    def stem(
        self, images: Inexact[Tensor, "batch channels height width"]
    ) -> Inexact[Tensor, "batch filters new_height new_width"]:
        """Return the feature maps of the three convolutions and max pooling: (N, 128, 56, 56) of images of 224x224."""
        for convolution in self.conv1:
            images = convolution(images)
        return ops.max_pool2d(images, 3, 2, ceil=True)

    def pool(self, features: Inexact[Tensor, "batch filters height width"]) -> Inexact[Tensor, "batch filters"]:
        """Return the mean of every feature map, after dropout."""
        return self.dropout(super().pool(features))


NETWORK = Network(
    name="SENet-154",
    paper=Paper("Hu, Shen & Sun", 2018, "Squeeze-and-excitation networks"),
    code="SENet",
    command="minattn train images --data FOLDER --set size=224 --model senet154",
)
