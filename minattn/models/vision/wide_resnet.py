"""Wide residual networks: WRN-28-10 and others of CIFAR-10 and CIFAR-100.

S. Zagoruyko and N. Komodakis, "Wide residual networks", BMVC 2016, table 1.  WRN-n-k has n = 6N + 4 convolutions and is
k times as wide as ResNet for CIFAR:

    group     output     block: 3x3 and 3x3
    conv1     32x32      one 3x3 convolution to 16
    conv2     32x32      16k, x N
    conv3     16x16      32k, x N
    conv4     8x8        64k, x N
              1x1        batch norm, ReLU, mean, linear layer to the classes

Blocks are those of K. He et al., "Identity mappings in deep residual networks", ECCV 2016: batch norm and ReLU come
before a convolution, and nothing after the sum,

    y = x + conv(dropout(ReLU(BN(conv(ReLU(BN(x)))))))

and where the size changes the shortcut is a 1x1 convolution of ReLU(BN(x)).

Deviations from the paper:
* `se` puts Squeeze-and-Excitation (J. Hu et al., CVPR 2018) on the residual branch of every block; with biases, or as
  the formula has it `se_biases=False`.
* `shortcut="A"` takes every second pixel of x and zeros for new channels, instead of the 1x1 convolution.
* Dropout is 0 by default; the paper tries it with 0.3 on CIFAR.
* Weights of convolutions are drawn He-normal, those of the linear layer Glorot-uniform.
"""

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

from jaxtyping import Inexact

from minattn.attention.channel.squeeze_excitation import SqueezeExcitation
from minattn.autograd import Tensor
from minattn.errors import ConfigError
from minattn.models.registry import register
from minattn.models.settings import Channels, Classes, DropoutRate, Reduction, check_choices, check_settings
from minattn.models.vision.residual_blocks import Option, PaddedShortcut, ResidualNetwork, Stage
from minattn.nn import BatchNorm2d, Conv2d, Dropout, Linear, Module
from minattn.nn.attention_paths import Attention
from minattn.nn.initializers import Rng
from minattn.published import Network, Paper


@dataclass(frozen=True)
class WideResNetConfig:
    """The defaults are WRN-28-10 for CIFAR-10."""

    depth: Annotated[int, "n: convolutions, 6N + 4"] = 28
    widening: Annotated[int, "k: factor by which it is wider than ResNet for CIFAR"] = 10
    dropout: DropoutRate = 0.0
    shortcut: Annotated[Option, "option where the size changes: zeros (A) or a projection (B)"] = "B"
    se: Reduction = None
    se_biases: Annotated[bool, "biases in squeeze-and-excitation"] = True
    classes: Classes = 10
    channels: Channels = 3
    size: ClassVar[int] = 32

    def __post_init__(self) -> None:
        check_settings(self, "depth", "widening")
        check_choices(self, shortcut=("A", "B"))
        if self.depth < 10 or (self.depth - 4) % 6:
            nearest = 6 * max(1, round((self.depth - 4) / 6)) + 4
            raise ConfigError(f"a WRN has depth 6N + 4, got {self.depth}; hint: for example {nearest}")


CONFIGURATIONS = {
    "wrn_28_10": WideResNetConfig(),
    "wrn_40_4": WideResNetConfig(40, 4),
    "wrn_16_8": WideResNetConfig(16, 8),
}
CONFIGURATIONS |= {f"se_{name}": replace(config, se=16) for name, config in CONFIGURATIONS.items()}
"""Sizes of table 5; of those with Squeeze-and-Excitation, `se_`, the SENet paper has WRN-16-8."""


class WideBlock(Module):
    """y = x + conv(dropout(ReLU(BN(conv(ReLU(BN(x))))))), the first convolution with the stride."""

    def __init__(self, config: WideResNetConfig, inputs: int, outputs: int, stride: int, rng: Rng) -> None:
        self.norm1 = BatchNorm2d(inputs)
        self.conv1 = Conv2d(inputs, outputs, 3, rng, stride=stride, padding=1, bias=False)
        self.norm2 = BatchNorm2d(outputs)
        self.dropout = Dropout(config.dropout, rng)
        self.conv2 = Conv2d(outputs, outputs, 3, rng, padding=1, bias=False)
        self.se = SqueezeExcitation(outputs, rng, config.se, biases=config.se_biases) if config.se is not None else None
        self.padded = self.projection = None
        if inputs != outputs or stride != 1:
            if config.shortcut == "A":
                self.padded = PaddedShortcut(inputs, outputs, stride)
            else:
                self.projection = Conv2d(inputs, outputs, 1, rng, stride=stride, bias=False)

    def forward(
        self, x: Inexact[Tensor, "batch inputs height width"]
    ) -> tuple[Inexact[Tensor, "batch outputs new_height new_width"], Attention]:
        """Return (y, the gates under "se")."""
        attention: Attention = {}
        activated = self.norm1(x, relu=True)
        residual = self.dropout(self.norm2(self.conv1(activated), relu=True))
        residual = self.conv2(residual)
        if self.se is not None:
            residual, attention["se"] = self.se(residual)
        if self.projection is not None:
            return residual + self.projection(activated), attention
        return residual + (x if self.padded is None else self.padded(x)), attention


def make_stage(config: WideResNetConfig, index: int, rng: Rng) -> Stage:
    """Stage 0, 1 or 2, the groups conv2, conv3 and conv4; the first block of all but conv2 has stride 2."""
    stride, outputs = (1, 2, 2)[index], 16 * config.widening * 2**index
    inputs = 16 if index == 0 else outputs // 2

    def block(inputs: int, stride: int) -> Module:
        return WideBlock(config, inputs, outputs, stride, rng)

    return Stage.of(block, (config.depth - 4) // 6, inputs, outputs, stride)


@register(CONFIGURATIONS)
class WideResNet(ResidualNetwork):
    """WRN-n-k.  rng draws the parameters and, in training, the dropout masks."""

    def __init__(self, config: WideResNetConfig, rng: Rng) -> None:
        self.config = config
        self.conv1 = Conv2d(config.channels, 16, 3, rng, padding=1, bias=False)
        self.stages = [make_stage(config, index, rng) for index in range(3)]  # conv2 to conv4
        self.norm = BatchNorm2d(64 * config.widening)
        self.classifier = Linear(64 * config.widening, config.classes, rng)

    def stem(
        self, images: Inexact[Tensor, "batch channels height width"]
    ) -> Inexact[Tensor, "batch filters height width"]:
        """Return the feature maps of the first convolution, without batch norm or ReLU."""
        return self.conv1(images)

    def features_and_attention(
        self, images: Inexact[Tensor, "batch channels height width"]
    ) -> tuple[Inexact[Tensor, "batch filters new_height new_width"], Attention]:
        """Return (the last feature maps, after batch norm and ReLU, the gates of every block)."""
        features, attention = super().features_and_attention(images)
        return self.norm(features, relu=True), attention


NETWORK = Network(
    name="Wide ResNet",
    paper=Paper("Zagoruyko & Komodakis", 2016, "Wide residual networks"),
    code="WideResNet",
    command="minattn train images --model wrn_16_8",
)
