"""GoogLeNet: modules of four branches with kernels of different sizes, side by side.

C. Szegedy, W. Liu, Y. Jia, P. Sermanet, S. Reed, D. Anguelov, D. Erhan, V. Vanhoucke and A. Rabinovich, "Going deeper
with convolutions", CVPR 2015, table 1.  An inception module (figure 2b) concatenates the feature maps of its branches:

    1x1   |   1x1, then 3x3   |   1x1, then 5x5   |   3x3 max pool with stride 1, then 1x1

Its widths are `TABLE_1` below.  Every convolution is followed by ReLU.  Before the modules come, for images of 224x224,

    7x7, 64, stride 2         112x112     then a pool: 56x56, and response normalization
    1x1, 64; 3x3, 192         56x56       then response normalization, and a pool: 28x28

and pools follow 3b (14x14) and 4e (7x7), all 3x3 with stride 2.  The mean over 7x7, dropout 0.4 and a linear layer give
the logits.

Deviations from the paper:
* The two auxiliary classifiers, which the paper adds in training and discards, are not here.
* The paper does not say where pooling ends: last windows that are partly outside the image are included, as in Caffe.
* Response normalization has AlexNet's constants (k = 2, alpha = 1e-4, beta = 0.75, 5 maps); the paper prints none.
* Batch normalization is in the networks that are known as GoogLeNet today, such as torchvision's: `norm=True` is its
  form, ReLU(BN(x * W)) without biases, without response normalization, with dropout 0.2, and with a 3x3 convolution
  in the branch "5x5".  Its last pool has 2x2 pixels and its BN the eps 1e-3 there; here 3x3 and 1e-5.
* `se` puts Squeeze-and-Excitation (Hu et al. 2018) after each of the nine modules.
* The initial values are not printed; convolutions are drawn He-normal, the linear layer Glorot-uniform.
"""

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, NamedTuple

from jaxtyping import Inexact

from minattn.autograd import Tensor, ops
from minattn.models.registry import register
from minattn.models.settings import Channels, Classes, DropoutRate, Reduction, check_settings
from minattn.models.vision.layers import ConvReLU, Gated, PooledNetwork
from minattn.nn import ConvNorm, Dropout, Linear, Module
from minattn.nn.attention_paths import Attention, prefixed
from minattn.nn.initializers import Rng
from minattn.published import Network, Paper


class Widths(NamedTuple):
    """A row of table 1: the output channels of every convolution of a module."""

    one: int  # 1x1
    three_reduce: int
    three: int  # 3x3
    five_reduce: int
    five: int  # 5x5
    pool: int  # "pool proj"

    @property
    def outputs(self) -> int:
        """The output channels of the module."""
        return self.one + self.three + self.five + self.pool


TABLE_1 = {
    #            1x1  3x3r  3x3  5x5r  5x5  pool
    "3a": Widths(64, 96, 128, 16, 32, 32),
    "3b": Widths(128, 128, 192, 32, 96, 64),
    "4a": Widths(192, 96, 208, 16, 48, 64),
    "4b": Widths(160, 112, 224, 24, 64, 64),
    "4c": Widths(128, 128, 256, 24, 64, 64),
    "4d": Widths(112, 144, 288, 32, 64, 64),
    "4e": Widths(256, 160, 320, 32, 128, 128),
    "5a": Widths(256, 160, 320, 32, 128, 128),
    "5b": Widths(384, 192, 384, 48, 128, 128),
}


@dataclass(frozen=True)
class GoogLeNetConfig:
    """The defaults are the paper's network."""

    norm: Annotated[bool, "batch normalization, and no 5x5 convolutions"] = False
    dropout: DropoutRate = 0.4
    se: Reduction = None
    classes: Classes = 1000
    channels: Channels = 3
    size: ClassVar[int] = 224

    def __post_init__(self) -> None:
        check_settings(self)


CONFIGURATIONS = {"googlenet": GoogLeNetConfig(), "googlenet_bn": GoogLeNetConfig(norm=True, dropout=0.2)}
CONFIGURATIONS |= {f"se_{name}": replace(config, se=16) for name, config in CONFIGURATIONS.items()}
"""The paper's network and the one with batch normalization, without and (`se_`) with Squeeze-and-Excitation."""


class Inception(Module):
    """Four branches, whose feature maps are concatenated."""

    def __init__(self, inputs: int, widths: Widths, rng: Rng, norm: bool = False) -> None:
        unit = ConvNorm if norm else ConvReLU
        five = 3 if norm else 5
        self.one = unit(inputs, widths.one, 1, rng)
        self.three_reduce = unit(inputs, widths.three_reduce, 1, rng)
        self.three = unit(widths.three_reduce, widths.three, 3, rng, padding=1)
        self.five_reduce = unit(inputs, widths.five_reduce, 1, rng)
        self.five = unit(widths.five_reduce, widths.five, five, rng, padding=five // 2)
        self.pool = unit(inputs, widths.pool, 1, rng)

    def forward(self, x: Inexact[Tensor, "batch inputs height width"]) -> Inexact[Tensor, "batch outputs height width"]:
        branches = [
            self.one(x),
            self.three(self.three_reduce(x)),
            self.five(self.five_reduce(x)),
            self.pool(ops.max_pool2d(x, 3, stride=1, padding=1)),
        ]
        return ops.concat(branches, axis=1)


class GoogLeNetMaps(Module):
    """Everything up to the module `last`: 7x7 of 5b, whose mean the classifier takes, 14x14 of 4e."""

    def __init__(self, config: GoogLeNetConfig, rng: Rng, last: str = "5b") -> None:
        unit = ConvNorm if config.norm else ConvReLU
        self.conv1 = unit(config.channels, 64, 7, rng, stride=2, padding=3)
        self.conv2_reduce = unit(64, 64, 1, rng)
        self.conv2 = unit(64, 192, 3, rng, padding=1)
        self.inception: dict[str, Gated] = {}
        self.outputs = 192
        for name, widths in TABLE_1.items():
            module = Inception(self.outputs, widths, rng, config.norm)
            self.inception[name] = Gated(module, widths.outputs, rng, config.se)
            self.outputs = widths.outputs
            if name == last:
                break
        self.response_norm = not config.norm

    def forward(
        self, images: Inexact[Tensor, "batch channels height width"]
    ) -> tuple[Inexact[Tensor, "batch maps new_height new_width"], Attention]:
        """Return (the feature maps of the last module, the gates of every module)."""
        x = self._stem(images)
        attention: Attention = {}
        for name, module in self.inception.items():
            x = pool(x) if name in ("4a", "5a") else x
            x, gates = module(x)
            attention |= prefixed(f"inception.{name}", gates)
        return x, attention

    def _stem(self, images: Tensor) -> Tensor:
        """Return the feature maps that 3a takes: (N, 192, 28, 28) of images of 224x224."""
        x = pool(self.conv1(images))
        x = ops.local_response_norm(x) if self.response_norm else x
        x = self.conv2(self.conv2_reduce(x))
        x = ops.local_response_norm(x) if self.response_norm else x
        return pool(x)


@register(CONFIGURATIONS)
class GoogLeNet(PooledNetwork):
    """GoogLeNet.  rng draws the parameters and, in training, the dropout masks."""

    def __init__(self, config: GoogLeNetConfig, rng: Rng) -> None:
        self.config = config
        self.maps = GoogLeNetMaps(config, rng)
        self.dropout = Dropout(config.dropout, rng)
        self.classifier = Linear(self.maps.outputs, config.classes, rng)

    def features_and_attention(
        self, images: Inexact[Tensor, "batch channels height width"]
    ) -> tuple[Inexact[Tensor, "batch maps new_height new_width"], Attention]:
        """Return (the last feature maps, the gates of every module): (N, 1024, 7, 7) of images of 224x224."""
        features, gates = self.maps(images)
        return features, prefixed("maps", gates)

    def pool(self, features: Inexact[Tensor, "batch maps height width"]) -> Inexact[Tensor, "batch maps"]:
        """Return the mean of every feature map, after dropout."""
        return self.dropout(super().pool(features))


def pool(x: Tensor) -> Tensor:
    """3x3 max pooling with stride 2: 112 -> 56 -> 28 -> 14 -> 7."""
    return ops.max_pool2d(x, 3, stride=2, ceil=True)


NETWORK = Network(
    name="GoogLeNet",
    paper=Paper("Szegedy et al.", 2015, "Going deeper with convolutions"),
    code="GoogLeNet",
    command="minattn train images --data FOLDER --set size=224 --model googlenet",
)
