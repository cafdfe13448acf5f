"""AlexNet: the eight-layer network that established deep convolutional networks for images.

A. Krizhevsky, I. Sutskever and G. E. Hinton, "ImageNet classification with deep convolutional neural networks", NIPS
2012, and its form for one GPU in A. Krizhevsky, "One weird trick for parallelizing convolutional neural networks",
arXiv:1404.5997, 2014:

               2012                          2014       maps of an image
    input      227x227                       224x224
    conv1      11x11, 96, stride 4           64         55x55     then response normalization, and a pool: 27x27
    conv2      5x5, 256, two groups          192        27x27     then response normalization, and a pool: 13x13
    conv3      3x3, 384                      384        13x13
    conv4      3x3, 384, two groups          256        13x13
    conv5      3x3, 256, two groups          256        13x13     then a pool: 6x6
    fc6, fc7   4096, with dropout            4096
    fc8        1000                          1000

Every layer but the last is followed by ReLU (section 3.1).  Max pooling is 3x3 with stride 2 (section 3.4).  Groups are
the halves of the network that the paper put on two GPUs.  Response normalization (section 3.3) is
`ops.local_response_norm` with the paper's constants; the 2014 form has none.  Weights are drawn from N(0, 0.01^2);
biases of conv2, conv4, conv5, fc6 and fc7 start at 1, all others at 0 (section 5).

Deviations from the papers:
* The 2012 paper says 224x224, for which the maps of conv1 would not be 55x55; for 227x227 without padding they are.
  The 2014 form pads 224x224 by 2.
* The 2014 paper says 384 for conv4 in a footnote; 256 is from its author's code and from the networks known as AlexNet
  today, such as torchvision's, which omit response normalization.
* The 2014 form has the initial values of 2012 too, and its logits are for a softmax, not for one logistic unit each.
* Dropout scales by 1 / (1 - rate) in training, where the paper halves the outputs in evaluation.
* `se` puts Squeeze-and-Excitation (Hu et al. 2018) after the ReLU of each of the five convolutions.
* `groups=1` is the 2012 network without the division in two.
"""

from dataclasses import dataclass, replace
from typing import Annotated

from jaxtyping import Inexact

from minattn.autograd import Tensor, ops
from minattn.errors import ConfigError
from minattn.models.registry import register
from minattn.models.settings import Channels, Classes, DropoutRate, Reduction, Side, check_settings
from minattn.models.vision.layers import ConvReLU, Gated, flatten
from minattn.nn import Conv2d, Dropout, Linear, Module, initializers
from minattn.nn.attention_paths import Attention, prefixed
from minattn.nn.initializers import Rng
from minattn.published import Network, Paper


@dataclass(frozen=True)
class AlexNetConfig:
    """The defaults are the network of 2012."""

    widths: Annotated[tuple[int, int, int, int, int], "channels of conv1 to conv5"] = (96, 256, 384, 384, 256)
    groups: Annotated[int, "groups of conv2, conv4 and conv5"] = 2
    padding: Annotated[int, "padding of conv1"] = 0
    response_norm: Annotated[bool, "response normalization after conv1 and conv2"] = True
    dropout: DropoutRate = 0.5
    se: Reduction = None
    classes: Classes = 1000
    channels: Channels = 3
    size: Side = 227

    def __post_init__(self) -> None:
        check_settings(self, "groups")
        smallest = 67 - 2 * self.padding
        if self.size < smallest:
            raise ConfigError(
                f"images of side {self.size} leave AlexNet's last pool nothing; hint: size={smallest} at least"
            )

    @property
    def side(self) -> int:
        """The side of the feature maps after the last pool: 6."""
        conv1 = (self.size + 2 * self.padding - 11) // 4 + 1
        pool1 = (conv1 - 3) // 2 + 1
        pool2 = (pool1 - 3) // 2 + 1
        return (pool2 - 3) // 2 + 1


CONFIGURATIONS = {
    "alexnet": AlexNetConfig((64, 192, 384, 256, 256), groups=1, padding=2, response_norm=False, size=224),
    "alexnet_2012": AlexNetConfig(),
    "alexnet_2012_ungrouped": AlexNetConfig(groups=1),
}
CONFIGURATIONS |= {f"se_{name}": replace(config, se=16) for name, config in CONFIGURATIONS.items()}
"""The forms of 2014 and of 2012, without and (`se_`) with Squeeze-and-Excitation."""


class AlexNetMaps(Module):
    """conv1 to conv5 with the pools between them; images of the published size give feature maps of 13x13."""

    def __init__(self, config: AlexNetConfig, rng: Rng) -> None:
        w1, w2, w3, w4, w5 = config.widths
        convolutions = [
            ConvReLU(config.channels, w1, 11, rng, stride=4, padding=config.padding),
            ConvReLU(w1, w2, 5, rng, padding=2, groups=config.groups),
            ConvReLU(w2, w3, 3, rng, padding=1),
            ConvReLU(w3, w4, 3, rng, padding=1, groups=config.groups),
            ConvReLU(w4, w5, 3, rng, padding=1, groups=config.groups),
        ]
        for layer, bias in zip(convolutions, (0.0, 1.0, 0.0, 1.0, 1.0), strict=True):
            initialized(layer.conv, bias, rng)
        gated = zip(convolutions, config.widths, strict=True)
        self.convolutions = [Gated(layer, width, rng, config.se) for layer, width in gated]
        self.response_norm = config.response_norm

    def forward(
        self, images: Inexact[Tensor, "batch channels height width"]
    ) -> tuple[Inexact[Tensor, "batch maps new_height new_width"], Attention]:
        """Return (the feature maps of conv5, the gates of every convolution)."""
        x = images
        attention: Attention = {}
        for i, convolution in enumerate(self.convolutions):
            x, gates = convolution(x)
            attention |= prefixed(f"convolutions.{i}", gates)
            if i < 2:
                x = ops.local_response_norm(x) if self.response_norm else x
                x = ops.max_pool2d(x, 3, stride=2)
        return x, attention


@register(CONFIGURATIONS)
class AlexNet(Module):
    """AlexNet.  rng draws the parameters and, in training, the dropout masks."""

    def __init__(self, config: AlexNetConfig, rng: Rng) -> None:
        self.config = config
        self.maps = AlexNetMaps(config, rng)
        inputs = config.widths[-1] * config.side**2
        self.fc6 = initialized(Linear(inputs, 4096, rng), 1.0, rng)
        self.fc7 = initialized(Linear(4096, 4096, rng), 1.0, rng)
        self.fc8 = initialized(Linear(4096, config.classes, rng), 0.0, rng)
        self.dropout = Dropout(config.dropout, rng)

    def forward(
        self, images: Inexact[Tensor, "batch channels height width"], return_attention: bool = False
    ) -> Inexact[Tensor, "batch classes"] | tuple[Inexact[Tensor, "batch classes"], Attention]:
        """Return the logits; with return_attention=True, (logits, the gates (batch, channels) of every convolution).

        Raises ShapeError for images of another side than config.size, unless they give maps of the same size.
        """
        features, gates = self.maps(images)
        x = flatten(ops.max_pool2d(features, 3, stride=2), self.fc6)
        x = self.dropout(ops.relu(self.fc6(x)))
        x = self.dropout(ops.relu(self.fc7(x)))
        logits = self.fc8(x)
        return (logits, prefixed("maps", gates)) if return_attention else logits


def initialized(layer: Conv2d | Linear, bias: float, rng: Rng) -> Conv2d | Linear:
    """Return the layer with weights from N(0, 0.01^2) and this value for every bias."""
    layer.weight = initializers.normal(layer.weight.shape, rng, std=0.01)
    layer.bias = initializers.constant(layer.bias.shape, bias)
    return layer


NETWORK = Network(
    name="AlexNet",
    paper=Paper(
        "Krizhevsky, Sutskever & Hinton", 2012, "ImageNet classification with deep convolutional neural networks"
    ),
    code="AlexNet",
    command="minattn train images --data FOLDER --set size=224 --model alexnet",
)
