"""Highway networks: the thin ones of the study of depth, and the convolutional ones for MNIST and CIFAR.

R. K. Srivastava, K. Greff and J. Schmidhuber, "Training very deep networks", NIPS 2015, sections 3.1 to 3.3, and the
authors' code.  The layers are in `attention/channel/highway.py`; plain ones are

    y = f(x W + b)                                    (1)

Thin networks, section 3.1: one plain layer, depth - 1 highway layers of 50 units, a linear layer to the classes.  The
plain networks beside them have layers of 71 units: some 5,000 parameters a layer in both.

MNIST, 10 layers, widths 16 and 32:                   CIFAR, 19 layers:

    28x28   dropout 0.2                               32x32   dropout 0.2
    24x24   plain 5x5, no padding; 2 highway          32x32   plain to 32 channels; 4 highway
    12x12   max pool 3x3, dropout 0.3; 3 highway      16x16   max pool 2x2, dropout 0.2; plain to 80; 5 highway
    6x6     max pool 3x3, dropout 0.4; 3 highway      8x8     max pool 2x2, dropout 0.2; plain to 128; 5 highway
    3x3     max pool 2x2, dropout 0.5                 8x8     plain 1x1 to 100
            linear layer to the classes                       mean, dropout 0.2, linear layer to the classes

Convolutions are 3x3 unless told, pools of 3x3 overlap (stride 2).  In the paper the CIFAR network is Highway B.

Deviations from the paper:
* The authors draw the weights of convolutions Glorot-uniform; here those before ReLU are drawn He-normal, those of the
  gates Glorot-uniform.
* The biases of the gates have the same learning rate as all others, in the authors' code twice that rate.
* The study of depth searched for the learning rate, f and b_T of each depth; here ReLU and -5 are the defaults.
"""

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

from jaxtyping import Inexact

from minattn.attention.channel.highway import ACTIVATIONS, WEIGHTS_BEFORE, Activation, ConvHighway, Highway
from minattn.autograd import Tensor, ops
from minattn.errors import ConfigError
from minattn.models.registry import register
from minattn.models.settings import Channels, Classes, Side, check_choices, check_settings
from minattn.models.vision.layers import ConvReLU, PooledNetwork, flatten
from minattn.nn import Dropout, Linear, Module
from minattn.nn.attention_paths import Attention, prefixed
from minattn.nn.initializers import Rng
from minattn.published import Network, Paper

GateBias = Annotated[float, "b_T: where the biases of the transform gates start"]


# ---------------------------------------------------------------------------------------------- thin networks
@dataclass(frozen=True)
class ThinHighwayConfig:
    """The defaults are the highway network of 10 layers on MNIST."""

    depth: Annotated[int, "layers but for the last, linear one"] = 10
    width: Annotated[int, "units of a layer"] = 50
    gates: Annotated[bool, "highway layers, after a plain first one; or plain ones only"] = True
    bias: GateBias = -5.0
    activation: Annotated[Activation, "f"] = "relu"
    classes: Classes = 10
    channels: Channels = 1
    pixels: Annotated[int, "height times width of the images"] = 28 * 28
    size: ClassVar[int] = 28

    def __post_init__(self) -> None:
        check_settings(self, "depth", "width", "pixels")
        check_choices(self, activation=tuple(ACTIVATIONS))


DEPTHS = (10, 20, 50, 100)  # figure 1
THIN = {f"highway{depth}": ThinHighwayConfig(depth) for depth in DEPTHS}
THIN |= {f"plain{depth}": ThinHighwayConfig(depth, width=71, gates=False) for depth in DEPTHS}
"""Figure 1: highway layers of 50 units and plain ones of 71."""


class Plain(Linear):
    """y = f(x W + b), (1).  weight: (inputs, outputs), drawn as W_H of a highway layer; bias: (outputs), zero."""

    def __init__(self, inputs: int, outputs: int, activation: Activation, rng: Rng) -> None:
        super().__init__(inputs, outputs, rng)
        self.weight = WEIGHTS_BEFORE[activation]((inputs, outputs), rng)  # in place of Linear's own
        self.activation = activation

    def forward(self, x: Inexact[Tensor, "*batch inputs"]) -> Inexact[Tensor, "*batch outputs"]:
        return ACTIVATIONS[self.activation](super().forward(x))  # (1)


@register(THIN)
class ThinHighway(Module):
    """A thin network of highway layers, or a plain one.  rng draws the parameters."""

    def __init__(self, config: ThinHighwayConfig, rng: Rng) -> None:
        self.config = config
        width, f = config.width, config.activation
        self.first = Plain(config.channels * config.pixels, width, f, rng)
        self.layers: list[Module] = [
            Highway(width, rng, config.bias, f) if config.gates else Plain(width, width, f, rng)
            for _ in range(config.depth - 1)
        ]
        self.output = Linear(width, config.classes, rng)

    def forward(
        self, images: Inexact[Tensor, "batch channels height width"], return_attention: bool = False
    ) -> Inexact[Tensor, "batch classes"] | tuple[Inexact[Tensor, "batch classes"], Attention]:
        """Return the logits; with return_attention=True, (logits, attention).

        attention: the transform gates T (batch, width) of every highway layer.  Raises ShapeError for images of another
        number of pixels than the network is built for.
        """
        attention: Attention = {}
        x = self.first(flatten(images, self.first))
        for i, layer in enumerate(self.layers):
            if self.config.gates:
                x, attention[f"layers.{i}"] = layer(x)
            else:
                x = layer(x)
        logits = self.output(x)
        return (logits, attention) if return_attention else logits


# ---------------------------------------------------------------------------------------------- convolutional networks
class HighwayStage(Module):
    """A plain layer where there is one, and `count` convolutional highway layers of `width` channels."""

    def __init__(self, plain: ConvReLU | None, width: int, count: int, bias: float, rng: Rng) -> None:
        self.plain = plain
        self.layers = [ConvHighway(width, rng, bias=bias) for _ in range(count)]

    def forward(
        self, x: Inexact[Tensor, "batch inputs height width"]
    ) -> tuple[Inexact[Tensor, "batch outputs new_height new_width"], Attention]:
        """Return (the maps of the last layer, the transform gates of every highway layer)."""
        attention: Attention = {}
        x = x if self.plain is None else self.plain(x)
        for i, layer in enumerate(self.layers):
            x, attention[f"layers.{i}"] = layer(x)
        return x, attention


SMALLEST = 12
"""The smallest side of images from which the pools of the MNIST network leave at least a pixel."""


@dataclass(frozen=True)
class MnistHighwayConfig:
    """The defaults are the network of 32 channels."""

    width: Annotated[int, "channels of every layer"] = 32
    bias: GateBias = -1.0
    classes: Classes = 10
    channels: Channels = 1
    size: Side = 28

    def __post_init__(self) -> None:
        check_settings(self, "width")
        if self.size < SMALLEST:
            raise ConfigError(f"images of side {self.size} leave the last pool nothing; hint: size={SMALLEST} at least")

    @property
    def side(self) -> int:
        """The side of the last maps: 3 of 28."""
        side = self.size - 4  # the 5x5 convolution
        for kernel in (3, 3, 2):
            side = -(-(side - kernel) // 2) + 1  # a pool that keeps what does not fill a window
        return side


MNIST = {f"highway_mnist{width}": MnistHighwayConfig(width) for width in (16, 32)}
"""Table 1."""


@register(MNIST)
class MnistHighway(Module):
    """The network of 10 layers for MNIST.  rng draws the parameters and, in training, the dropout masks."""

    def __init__(self, config: MnistHighwayConfig, rng: Rng) -> None:
        self.config = config
        first = ConvReLU(config.channels, config.width, 5, rng)
        self.stages = [
            HighwayStage(plain, config.width, count, config.bias, rng)
            for plain, count in ((first, 2), (None, 3), (None, 3))
        ]
        self.dropouts = [Dropout(rate, rng) for rate in (0.2, 0.3, 0.4, 0.5)]
        self.fc = Linear(config.width * config.side**2, config.classes, rng)

    def forward(
        self, images: Inexact[Tensor, "batch channels height width"], return_attention: bool = False
    ) -> Inexact[Tensor, "batch classes"] | tuple[Inexact[Tensor, "batch classes"], Attention]:
        """Return the logits; with return_attention=True, (logits, attention).

        attention: the transform gates T (batch, width, height, width) of every highway layer.  Raises ShapeError for
        images of another side than config.size.
        """
        attention: Attention = {}
        x = images
        for i, (dropout, stage, kernel) in enumerate(zip(self.dropouts[:3], self.stages, (3, 3, 2), strict=True)):
            x, gates = stage(dropout(x))
            x = ops.max_pool2d(x, kernel, 2, ceil=True)
            attention |= prefixed(f"stages.{i}", gates)
        logits = self.fc(self.dropouts[3](flatten(x, self.fc)))
        return (logits, attention) if return_attention else logits


@dataclass(frozen=True)
class CifarHighwayConfig:
    """The defaults are the network of 19 layers for CIFAR-10."""

    widths: Annotated[tuple[int, int, int], "channels at 32x32, 16x16 and 8x8"] = (32, 80, 128)
    last: Annotated[int, "channels of the last convolution, 1x1"] = 100
    bias: GateBias = -2.0
    classes: Classes = 10
    channels: Channels = 3
    size: ClassVar[int] = 32

    def __post_init__(self) -> None:
        check_settings(self, "last")
        if len(self.widths) != 3 or min(self.widths) < 1:
            raise ConfigError(
                f"widths are the channels of 3 stages, got {self.widths}; hint: for example (32, 80, 128)"
            )


CIFAR = {"highway_cifar10": CifarHighwayConfig(), "highway_cifar100": replace(CifarHighwayConfig(), classes=100)}
"""Highway B of table 2, and the network of table 3."""


@register(CIFAR)
class CifarHighway(PooledNetwork):
    """The network of 19 layers for CIFAR.  rng draws the parameters and, in training, the dropout masks."""

    def __init__(self, config: CifarHighwayConfig, rng: Rng) -> None:
        self.config = config
        self.stages = []
        inputs = config.channels
        for width, count in zip(config.widths, (4, 5, 5), strict=True):
            plain = ConvReLU(inputs, width, 3, rng, padding=1)
            self.stages.append(HighwayStage(plain, width, count, config.bias, rng))
            inputs = width
        self.dropout = Dropout(0.2, rng)
        self.last = ConvReLU(inputs, config.last, 1, rng)
        self.classifier = Linear(config.last, config.classes, rng)

    def features_and_attention(
        self, images: Inexact[Tensor, "batch channels height width"]
    ) -> tuple[Inexact[Tensor, "batch maps new_height new_width"], Attention]:
        """Return (the maps of the 1x1 convolution, the transform gates of every highway layer)."""
        attention: Attention = {}
        x = images
        for i, stage in enumerate(self.stages):
            x = ops.max_pool2d(x, 2) if i > 0 else x
            x, gates = stage(self.dropout(x))
            attention |= prefixed(f"stages.{i}", gates)
        return self.last(x), attention

    def pool(self, features: Inexact[Tensor, "batch maps height width"]) -> Inexact[Tensor, "batch maps"]:
        """Return the mean of every feature map, with dropout in training."""
        return self.dropout(super().pool(features))


PAPER = Paper("Srivastava, Greff & Schmidhuber", 2015, "Training very deep networks")
THIN_NETWORK = Network(
    name="thin highway networks, and plain ones",
    paper=PAPER,
    code="ThinHighway",
    command="minattn train images --model highway20",
    experiment="experiments/highway_depth.py",
)
MNIST_NETWORK = Network(
    name="highway networks for MNIST",
    paper=PAPER,
    code="MnistHighway",
    command="minattn train images --data fashion-mnist --model highway_mnist16",
)
CIFAR_NETWORK = Network(
    name="highway networks for CIFAR",
    paper=PAPER,
    code="CifarHighway",
    command="minattn train images --model highway_cifar10",
)
