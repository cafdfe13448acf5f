"""VGG: deep stacks of 3x3 convolutions with pooling in between.

K. Simonyan and A. Zisserman, "Very deep convolutional networks for large-scale image recognition", ICLR 2015.  Its
table 1 is `TABLE_1` below, a column a network and an entry a convolution: 64 is "conv3-64", 1-256 is "conv1-256", a 1x1
convolution, and LRN is response normalization with AlexNet's constants.  Each convolution is followed by ReLU.  A comma
is a pool of 2x2 pixels with stride 2, and there is one more at the end: 224 -> 112 -> 56 -> 28 -> 14 -> 7.  Then come

    FC-4096, FC-4096, FC-1000       with ReLU and dropout 0.5 after the first two

Columns D and E are known as VGG-16 and VGG-19, by the layers with weights.

Deviations from the paper:
* `norm=True` puts batch normalization (Ioffe & Szegedy 2015) before every ReLU of a convolution.  The biases stay, as
  in the networks that are known as VGG-16-BN.
* `se` puts Squeeze-and-Excitation (Hu et al. 2018) after the ReLU of every convolution.
* `head="mean"` has no last pool and no hidden linear layers: the logits are a linear map of the means of the last
  convolution's feature maps, so that class activation maps are defined.
* VGG-8, for small images with one channel, is not in the paper: seven convolutions with batch normalization, the mean
  and one linear layer.  It is for images of 28x28, also takes 8x8, and is small enough to train on a CPU.
* In the paper the deep networks are initialized with the first four convolutions and the linear layers of the trained
  net A, and the other layers with variance 1e-2; it says that Glorot & Bengio's initialization does as well.  Here
  convolutions are drawn He-normal, linear layers Glorot-uniform.
"""

from dataclasses import dataclass, replace
from typing import Annotated, Literal

from jaxtyping import Inexact

from minattn.autograd import Tensor, ops
from minattn.errors import ConfigError
from minattn.kinds import shown
from minattn.models.registry import register
from minattn.models.settings import Channels, Classes, Reduction, Side, check_choices, check_settings
from minattn.models.vision.layers import ConvReLU, Gated, PooledNetwork, flatten
from minattn.nn import Dropout, Linear, Module
from minattn.nn.attention_paths import Attention, in_sequence, prefixed
from minattn.nn.initializers import Rng
from minattn.published import Network, Paper

TABLE_1 = {
    "A": "64, 128, 256 256, 512 512, 512 512",
    "A-LRN": "64 LRN, 128, 256 256, 512 512, 512 512",
    "B": "64 64, 128 128, 256 256, 512 512, 512 512",
    "C": "64 64, 128 128, 256 256 1-256, 512 512 1-512, 512 512 1-512",
    "D": "64 64, 128 128, 256 256 256, 512 512 512, 512 512 512",
    "E": "64 64, 128 128, 256 256 256 256, 512 512 512 512, 512 512 512 512",
}


@dataclass(frozen=True)
class VGGConfig:
    """The defaults are VGG-16, column D."""

    column: Annotated[str, "layers, in the notation of table 1"] = TABLE_1["D"]
    norm: Annotated[bool, "batch normalization after every convolution"] = False
    head: Annotated[Literal["fc", "mean"], "end in three linear layers, or in the mean and one"] = "fc"
    dropout: Annotated[float, "rate of dropout in training, with head=fc only"] = 0.5
    se: Reduction = None
    classes: Classes = 1000
    channels: Channels = 3
    size: Side = 224

    def __post_init__(self) -> None:
        check_settings(self)
        check_choices(self, head=("fc", "mean"))
        for entry in self.column.replace(",", " ").split():
            if entry != "LRN" and not (entry.removeprefix("1-").isdecimal() and len(entry) < 9):
                raise ConfigError(
                    f"{shown(entry)} is no entry of table 1; hint: a width such as 64, 1-64 for a 1x1 kernel, or LRN"
                )
        if self.head == "fc" and self.side < 1:
            raise ConfigError(
                f"{len(self.stages)} pools leave nothing of images of side {self.size}; hint: a side of "
                f'{2 ** len(self.stages)} at least, or head="mean"'
            )

    @property
    def stages(self) -> list[list[str]]:
        """The column's entries, a list for the convolutions between two pools."""
        return [stage.split() for stage in self.column.split(",")]

    @property
    def side(self) -> int:
        """The side of the feature maps after the last pool of head="fc": 7."""
        return self.size // 2 ** len(self.stages)


VGG8 = VGGConfig("16 16, 32 32, 64 64 64", norm=True, head="mean", classes=10, channels=1, size=28)
CONFIGURATIONS = {
    "vgg8": VGG8,  # not in the paper
    "vgg11": VGGConfig(TABLE_1["A"]),
    "vgg11_lrn": VGGConfig(TABLE_1["A-LRN"]),
    "vgg13": VGGConfig(TABLE_1["B"]),
    "vgg16_c": VGGConfig(TABLE_1["C"]),
    "vgg16": VGGConfig(TABLE_1["D"]),
    "vgg16_bn": VGGConfig(TABLE_1["D"], norm=True),
    "vgg19": VGGConfig(TABLE_1["E"]),
    "vgg19_bn": VGGConfig(TABLE_1["E"], norm=True),
}
CONFIGURATIONS |= {f"se_{name}": replace(config, se=16) for name, config in CONFIGURATIONS.items()}
"""Table 1 by the number of layers, without and (`se_`) with Squeeze-and-Excitation."""


class ResponseNorm(Module):
    """Response normalization, an entry of column A-LRN; it has no parameters."""

    def forward(
        self, x: Inexact[Tensor, "batch channels height width"]
    ) -> tuple[Inexact[Tensor, "batch channels height width"], Attention]:
        return ops.local_response_norm(x), {}


class VGGMaps(Module):
    """The convolutions, with a pool between two stages and none after the last: 14x14 of 224x224."""

    def __init__(self, config: VGGConfig, rng: Rng) -> None:
        self.stages: list[list[Module]] = []
        inputs = config.channels
        for entries in config.stages:
            stage: list[Module] = []
            for entry in entries:
                if entry == "LRN":
                    stage.append(ResponseNorm())
                    continue
                kernel, outputs = (1 if entry.startswith("1-") else 3), int(entry.removeprefix("1-"))
                convolution = ConvReLU(inputs, outputs, kernel, rng, padding=kernel // 2, norm=config.norm)
                stage.append(Gated(convolution, outputs, rng, config.se))
                inputs = outputs
            self.stages.append(stage)
        self.outputs = inputs

    def forward(
        self, images: Inexact[Tensor, "batch channels height width"]
    ) -> tuple[Inexact[Tensor, "batch maps new_height new_width"], Attention]:
        """Return (the feature maps of the last convolution, the gates of every convolution)."""
        x = images
        attention: Attention = {}
        for i, stage in enumerate(self.stages):
            x = ops.max_pool2d(x, 2) if i > 0 else x
            x, gates = in_sequence(f"stages.{i}", stage, x)
            attention |= gates
        return x, attention


@register(CONFIGURATIONS)
class VGG(PooledNetwork):
    """VGG.  rng draws the parameters and, in training, the dropout masks.

    With head="mean" it ends in pooling and a linear layer; with head="fc" there is no `classifier`.
    """

    def __init__(self, config: VGGConfig, rng: Rng) -> None:
        self.config = config
        self.maps = VGGMaps(config, rng)
        if config.head == "mean":
            self.classifier = Linear(self.maps.outputs, config.classes, rng)
        else:
            self.fc1 = Linear(self.maps.outputs * config.side**2, 4096, rng)
            self.fc2 = Linear(4096, 4096, rng)
            self.fc3 = Linear(4096, config.classes, rng)
            self.dropout = Dropout(config.dropout, rng)

    def features_and_attention(
        self, images: Inexact[Tensor, "batch channels height width"]
    ) -> tuple[Inexact[Tensor, "batch maps new_height new_width"], Attention]:
        """Return (the last feature maps, the gates of every convolution).

        (N, 512, 14, 14) of images of 224x224, (N, 64, 7, 7) of VGG-8 for 28x28.
        """
        features, gates = self.maps(images)
        return features, prefixed("maps", gates)

    def forward(
        self, images: Inexact[Tensor, "batch channels height width"], return_attention: bool = False
    ) -> Inexact[Tensor, "batch classes"] | tuple[Inexact[Tensor, "batch classes"], Attention]:
        """Return the logits; with return_attention=True, (logits, attention).

        attention: the gates of every convolution, with head="mean" also the class activation maps.  Raises ShapeError
        with head="fc" for images of another side than config.size, unless they give feature maps of the same size.
        """
        if self.config.head == "mean":
            return super().forward(images, return_attention)
        features, attention = self.features_and_attention(images)
        logits = self._linear(features)
        return (logits, attention) if return_attention else logits

    def _linear(self, features: Tensor) -> Tensor:
        """The last pool and the three linear layers."""
        x = flatten(ops.max_pool2d(features, 2), self.fc1)
        x = self.dropout(ops.relu(self.fc1(x)))
        x = self.dropout(ops.relu(self.fc2(x)))
        return self.fc3(x)


NETWORK = Network(
    name="VGG",
    paper=Paper("Simonyan & Zisserman", 2015, "Very deep convolutional networks for large-scale image recognition"),
    code="VGG",
    command="minattn train images --model vgg8",
)
