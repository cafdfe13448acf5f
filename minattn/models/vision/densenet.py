"""DenseNet: every layer takes the feature maps of all layers before it.

G. Huang, Z. Liu, L. van der Maaten and K. Q. Weinberger, "Densely connected convolutional networks", CVPR 2017:

    x_l = H_l([x_0, x_1, .., x_{l-1}])                                                                            (2)

where [..] concatenates feature maps, and H_l gives k new ones, the growth rate.  So layer l of a block takes
k_0 + k (l - 1) feature maps, where the block takes k_0.

    H_l                    BN, ReLU, 3x3 convolution to k
    H_l, bottleneck (B)    BN, ReLU, 1x1 convolution to 4k, BN, ReLU, 3x3 convolution to k
    transition             BN, ReLU, 1x1 convolution to theta of the maps, 2x2 mean with stride 2      (C: theta = 0.5)
    end                    BN, ReLU, the mean over the image, a linear layer

The stem is, for ImageNet (table 1), a 7x7 convolution with stride 2 to 2k feature maps, BN, ReLU and a 3x3 max pool
with stride 2: 224 -> 112 -> 56, and the blocks have feature maps of 56, 28, 14 and 7.  For CIFAR it is a 3x3
convolution, to 16 maps or with B and C to 2k, and three blocks of equally many layers have maps of 32, 16 and 8.

Deviations from the paper:
* The paper has dropout 0.2 after every convolution where data are not augmented; there is no dropout here.
* DenseNet-264 has the blocks of table 1, which amount to 265 layers.
* DenseNet-161 (k = 48) is in an earlier version of the paper and in its authors' code.
* Convolutions are drawn He-normal as there, the linear layer Glorot-uniform.
"""

from dataclasses import dataclass
from typing import Annotated

from jaxtyping import Inexact

from minattn.autograd import Tensor, ops
from minattn.errors import ConfigError
from minattn.models.registry import register
from minattn.models.settings import Channels, Classes, check_settings
from minattn.models.vision.layers import PooledNetwork
from minattn.nn import BatchNorm2d, Conv2d, ConvNorm, Linear, Module
from minattn.nn.attention_paths import Attention
from minattn.nn.initializers import Rng
from minattn.published import Network, Paper


@dataclass(frozen=True)
class DenseNetConfig:
    """The defaults are DenseNet-121."""

    blocks: Annotated[tuple[int, ...], "layers of each block"] = (6, 12, 24, 16)
    growth: Annotated[int, "k: growth rate, the feature maps that a layer adds"] = 32
    first: Annotated[int, "feature maps before the first block"] = 64
    bottleneck: Annotated[bool, "B: a 1x1 convolution to 4k feature maps before every 3x3"] = True
    compression: Annotated[float, "theta: share of the feature maps that a transition keeps"] = 0.5
    classes: Classes = 1000
    channels: Channels = 3
    size: Annotated[int, "side of the images: 224, or 32 for CIFAR's stem, a 3x3 convolution alone"] = 224

    def __post_init__(self) -> None:
        check_settings(self, "growth", "first")
        if not self.blocks or min(self.blocks) < 1:
            raise ConfigError(f"every block has at least one layer, got blocks={self.blocks}; hint: (6, 12, 24, 16)")
        if not 0 < self.compression <= 1:
            raise ConfigError(f"compression must be above 0 and at most 1, got {self.compression}; hint: 0.5")
        if self.size not in (32, 224):
            raise ConfigError(f"size is 224 for ImageNet's stem or 32 for CIFAR's, got {self.size}")


def cifar(depth: int, growth: int, bottleneck: bool) -> DenseNetConfig:
    """The network L = depth, k = growth of table 2, plain or BC.

    Raises ConfigError for a depth that three equal blocks do not make.
    """
    each = 6 if bottleneck else 3  # three blocks of layers of one convolution or two
    layers, rest = divmod(depth - 4, each)
    if layers < 1 or rest:
        nearest = each * max(1, round((depth - 4) / each)) + 4
        raise ConfigError(f"a DenseNet for CIFAR has depth {each}n + 4, got {depth}; hint: for example {nearest}")
    first, theta = (2 * growth, 0.5) if bottleneck else (16, 1.0)
    return DenseNetConfig((layers,) * 3, growth, first, bottleneck, theta, classes=10, size=32)


CONFIGURATIONS = {
    "densenet121": DenseNetConfig(),
    "densenet169": DenseNetConfig((6, 12, 32, 32)),
    "densenet201": DenseNetConfig((6, 12, 48, 32)),
    "densenet264": DenseNetConfig((6, 12, 64, 48)),
    "densenet161": DenseNetConfig((6, 12, 36, 24), growth=48, first=96),
    "densenet40_k12": cifar(40, 12, bottleneck=False),
    "densenet_bc100_k12": cifar(100, 12, bottleneck=True),
    "densenet_bc250_k24": cifar(250, 24, bottleneck=True),
    "densenet_bc190_k40": cifar(190, 40, bottleneck=True),
}
"""Table 1, and of table 2 the plain network of 40 layers and the BC networks, for CIFAR-10."""


class NormConv(Module):
    """ReLU(BN(x)) * W: the order of all layers after the stem."""

    def __init__(self, inputs: int, outputs: int, kernel: int, rng: Rng) -> None:
        self.norm = BatchNorm2d(inputs)
        self.conv = Conv2d(inputs, outputs, kernel, rng, padding=kernel // 2, bias=False)

    def forward(self, x: Inexact[Tensor, "batch inputs height width"]) -> Inexact[Tensor, "batch outputs height width"]:
        return self.conv(self.norm(x, relu=True))


class DenseLayer(Module):
    """H_l, plain or with the bottleneck."""

    def __init__(self, inputs: int, growth: int, bottleneck: bool, rng: Rng) -> None:
        self.reduce = NormConv(inputs, 4 * growth, 1, rng) if bottleneck else None
        self.three = NormConv(4 * growth if bottleneck else inputs, growth, 3, rng)

    def forward(self, x: Inexact[Tensor, "batch inputs height width"]) -> Inexact[Tensor, "batch growth height width"]:
        return self.three(x if self.reduce is None else self.reduce(x))


class DenseBlock(Module):
    """Layers, each of which takes the block's input and the feature maps of all layers before it."""

    def __init__(self, inputs: int, layers: int, growth: int, bottleneck: bool, rng: Rng) -> None:
        self.layers = [DenseLayer(inputs + number * growth, growth, bottleneck, rng) for number in range(layers)]
        self.outputs = inputs + layers * growth

    def forward(self, x: Inexact[Tensor, "batch inputs height width"]) -> Inexact[Tensor, "batch outputs height width"]:
        for layer in self.layers:
            x = ops.concat([x, layer(x)], axis=1)  # (2)
        return x


class Transition(Module):
    """Fewer feature maps, of half the size."""

    def __init__(self, inputs: int, outputs: int, rng: Rng) -> None:
        self.one = NormConv(inputs, outputs, 1, rng)

    def forward(
        self, x: Inexact[Tensor, "batch inputs height width"]
    ) -> Inexact[Tensor, "batch outputs new_height new_width"]:
        return ops.average_pool2d(self.one(x), 2)


@register(CONFIGURATIONS)
class DenseNet(PooledNetwork):
    """DenseNet.  rng draws the parameters."""

    def __init__(self, config: DenseNetConfig, rng: Rng) -> None:
        self.config = config
        if config.size == 32:
            self.conv1 = Conv2d(config.channels, config.first, 3, rng, padding=1, bias=False)
        else:
            self.conv1 = ConvNorm(config.channels, config.first, 7, rng, stride=2, padding=3)
        self.stages: list[Module] = []  # block, transition, block, .. block
        maps = config.first
        for number, layers in enumerate(config.blocks):
            if number > 0:
                compressed = int(maps * config.compression)
                self.stages.append(Transition(maps, compressed, rng))
                maps = compressed
            block = DenseBlock(maps, layers, config.growth, config.bottleneck, rng)
            self.stages.append(block)
            maps = block.outputs
        self.norm = BatchNorm2d(maps)
        self.classifier = Linear(maps, config.classes, rng)

    def features_and_attention(
        self, images: Inexact[Tensor, "batch channels height width"]
    ) -> tuple[Inexact[Tensor, "batch maps new_height new_width"], Attention]:
        """Return (the last feature maps, {}): (N, 1024, 7, 7) of DenseNet-121 for 224x224."""
        x = self.conv1(images)
        x = x if self.config.size == 32 else ops.max_pool2d(x, 3, stride=2, padding=1)
        for stage in self.stages:
            x = stage(x)
        return self.norm(x, relu=True), {}


NETWORK = Network(
    name="DenseNet",
    paper=Paper("Huang et al.", 2017, "Densely connected convolutional networks"),
    code="DenseNet",
    command="minattn train images --model densenet40_k12",
)
