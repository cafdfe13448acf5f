"""ResNets with attention-augmented convolutions: AA-ResNet, AA-WRN-28-10.

I. Bello, B. Zoph, A. Vaswani, J. Shlens and Q. V. Le, "Attention augmented convolutional networks", ICCV 2019.  The
layer is in `attention/self_attention/augmented_convolution.py`, the backbones are in `resnet.py`, `wide_resnet.py` and
`cifar_resnet.py`.  In every block of the augmented stages one 3x3 convolution has attention beside it:

    bottleneck    the 3x3 convolution            ImageNet, the last three stages: 28x28, 14x14, 7x7
    basic block   the first of two               the same; Wide ResNet: all stages

and batch norm follows the concatenation.  Of F_out filters kappa F_out is d_k and upsilon F_out is d_v, each rounded
down to a multiple of the heads N_h; keys have at least 20 dimensions a head.  AA-ResNet-50, -101 and -152 have
kappa = 2 upsilon = 0.2 and N_h = 8.

Deviations from the paper: those of the backbones.  AA-ResNet-34 has kappa = upsilon = 0.25, which gives the printed
20.7 million parameters; AA-WRN-28-10 has 36.1 million, printed are 36.2.  `aa_resnet20`, the last stage of ResNet-20
for small images, is not in the paper: 4 heads, keys of at least 4 numbers.  Nor is `both`, which augments both
3x3 convolutions of a basic block: with kappa = upsilon = 1 attention replaces them, as it replaces a bottleneck's.
"""

from dataclasses import dataclass, replace
from typing import Annotated

from jaxtyping import Inexact

from minattn.attention.self_attention.augmented_convolution import POSITIONS, AugmentedConvolution, Positions
from minattn.autograd import Tensor, ops
from minattn.errors import ConfigError
from minattn.models.registry import register
from minattn.models.settings import Channels, Classes, check_choices, check_sizes
from minattn.models.vision import cifar_resnet, resnet, wide_resnet
from minattn.models.vision.cifar_resnet import CifarResNet, CifarResNetConfig
from minattn.models.vision.residual_blocks import BasicBlock, Bottleneck, Stage
from minattn.models.vision.resnet import ResNet, ResNetConfig
from minattn.models.vision.wide_resnet import WideBlock, WideResNet, WideResNetConfig
from minattn.nn import Conv2d, ConvNorm, Module
from minattn.nn.attention_paths import Attention, prefixed
from minattn.nn.initializers import Rng
from minattn.published import Network, Paper

BackboneConfig = ResNetConfig | CifarResNetConfig | WideResNetConfig
BACKBONES: dict[str, BackboneConfig] = {
    name: config
    for configurations in (resnet.CONFIGURATIONS, cifar_resnet.CONFIGURATIONS, wide_resnet.CONFIGURATIONS)
    for name, config in configurations.items()
    if config.se is None and getattr(config, "groups", 1) == 1
} | {"wrn_28_10_a": replace(wide_resnet.CONFIGURATIONS["wrn_28_10"], shortcut="A")}
"""Residual networks by name; `wrn_28_10_a`: shortcuts without parameters, as the paper's counts have them."""


@dataclass(frozen=True)
class AugmentedResNetConfig:
    """The defaults are AA-ResNet-50.  backbone: a name of `BACKBONES`."""

    backbone: Annotated[str, "residual network, by its name"] = "resnet50"
    kappa: Annotated[float, "keys of all heads, as a share of the filters"] = 0.2
    upsilon: Annotated[float, "values of all heads, the share of the filters that attention replaces"] = 0.1
    heads: Annotated[int, "number of heads, N_h"] = 8
    least_key: Annotated[int, "least size of a head's keys"] = 20
    positions: Annotated[Positions, "position encoding of attention"] = "relative"
    stages: Annotated[int, "how many stages are augmented, the last ones"] = 3
    both: Annotated[bool, "augment both 3x3 convolutions of a basic block, not the first alone"] = False
    classes: Classes = 1000
    channels: Channels = 3
    sides: Annotated[tuple[int, int], "height and width of the images"] = (224, 224)

    def __post_init__(self) -> None:
        check_sizes(self, "classes", "channels", "heads", "least_key", "stages")
        check_choices(self, positions=POSITIONS)
        if self.backbone not in BACKBONES:
            raise ConfigError(f"there is no backbone {self.backbone!r}; hint: one of {', '.join(BACKBONES)}")
        if not (0 <= self.kappa <= 1000 and 0 <= self.upsilon <= 1):
            raise ConfigError(
                f"kappa is at least 0 and upsilon a share, got {self.kappa} and {self.upsilon}; hint: 0.2 and 0.1"
            )
        if self.both and isinstance(self.network, WideResNetConfig):
            raise ConfigError("in a wide block one convolution is augmented; hint: both=False, or another backbone")
        if min(self.sides) < 1:
            raise ConfigError(f"sides are the height and width of the images, got {self.sides}; hint: (224, 224)")

    @property
    def size(self) -> int:
        """The longer side of the images."""
        return max(self.sides)

    @property
    def network(self) -> BackboneConfig:
        """The configuration of the backbone."""
        return replace(BACKBONES[self.backbone], classes=self.classes, channels=self.channels)

    def sides_of(self, stage: int) -> tuple[int, int]:
        """Height and width of the feature maps of a stage, counted from 0."""
        factor = 2**stage * (4 if isinstance(self.network, ResNetConfig) else 1)
        height, width = (-(-side // factor) for side in self.sides)
        return height, width


AA_RESNET_50 = AugmentedResNetConfig()
AA_RESNET_20 = AugmentedResNetConfig("resnet20", heads=4, least_key=4, stages=1, classes=10, sides=(32, 32))
CONFIGURATIONS = {
    "aa_resnet34": AugmentedResNetConfig("resnet34", kappa=0.25, upsilon=0.25),
    "aa_resnet50": AA_RESNET_50,
    "aa_resnet101": replace(AA_RESNET_50, backbone="resnet101"),
    "aa_resnet152": replace(AA_RESNET_50, backbone="resnet152"),
    **{f"aa_resnet50_{share}": replace(AA_RESNET_50, kappa=share, upsilon=share) for share in (0.25, 0.5, 0.75, 1.0)},
    "aa_wrn_28_10": AugmentedResNetConfig("wrn_28_10_a", classes=100, sides=(32, 32)),
    "aa_resnet20": AA_RESNET_20,  # not in the paper
    "aa_resnet20_1.0": replace(AA_RESNET_20, kappa=1.0, upsilon=1.0),  # nor is this: attention alone in the last stage
}
"""The published sizes; `aa_resnet50_0.25` to `_1.0` are the sweep of kappa = upsilon."""


# ---------------------------------------------------------------------------------------------- blocks
def augmented(conv: Conv2d, config: AugmentedResNetConfig, sides: tuple[int, int], rng: Rng) -> AugmentedConvolution:
    """Return the augmented form of a convolution: d_k and d_v are the shares kappa and upsilon of its filters."""
    outputs, inputs, kernel, _ = conv.weight.shape
    d_k, d_v = (config.heads * int(share * outputs // config.heads) for share in (config.kappa, config.upsilon))
    return AugmentedConvolution(
        inputs,
        outputs,
        kernel,
        rng,
        d_k=max(d_k, config.heads * config.least_key),
        d_v=d_v,
        heads=config.heads,
        sides=sides,
        positions=config.positions,
        stride=conv.stride,
    )


class AugmentedConvNorm(Module):
    """BN(aug(x)), without the ReLU: the last of a block has its ReLU after the sum."""

    def __init__(self, convolution: ConvNorm, config: AugmentedResNetConfig, sides: tuple[int, int], rng: Rng) -> None:
        self.augmented, self.norm = augmented(convolution.conv, config, sides, rng), convolution.norm

    def forward(
        self, x: Inexact[Tensor, "batch inputs height width"]
    ) -> tuple[Inexact[Tensor, "batch outputs height width"], Attention]:
        """Return (y, the weights under "augmented")."""
        y, weights = self.augmented(x)
        return self.norm(y), found(weights)


class AugmentedBlock(Module):
    """y = ReLU(F(x) + shortcut(x)), one of the convolutions of F being augmented, or both."""

    def __init__(
        self, block: BasicBlock | Bottleneck, config: AugmentedResNetConfig, sides: tuple[int, int], rng: Rng
    ) -> None:
        index = 1 if isinstance(block, Bottleneck) else 0  # of the first 3x3 convolution
        replaced = block.convolutions[index]
        self.before, self.after = block.convolutions[:index], block.convolutions[index + 1 :]
        self.augmented = augmented(replaced.conv, config, sides, rng)
        self.norm = replaced.norm
        self.last = None
        if config.both and isinstance(block, BasicBlock):
            self.last = AugmentedConvNorm(self.after.pop(), config, sides, rng)
        self.shortcut = block.shortcut

    def forward(
        self, x: Inexact[Tensor, "batch inputs height width"]
    ) -> tuple[Inexact[Tensor, "batch outputs new_height new_width"], Attention]:
        """Return (y, the weights under "augmented", and "last.augmented" where both convolutions are)."""
        residual = x
        for convolution in self.before:
            residual = convolution(residual)
        residual, weights = self.augmented(residual)
        residual = self.norm(residual, relu=True)
        attention = found(weights)
        for convolution in self.after:
            residual = convolution(residual)
        if self.last is not None:
            residual, last = self.last(residual)
            attention |= prefixed("last", last)
        shortcut = x if self.shortcut is None else self.shortcut(x)
        return ops.add_relu(residual, shortcut), attention


class AugmentedWideBlock(Module):
    """y = shortcut + conv(dropout(ReLU(BN(aug(ReLU(BN(x))))))), aug being the augmented convolution."""

    def __init__(self, block: WideBlock, config: AugmentedResNetConfig, sides: tuple[int, int], rng: Rng) -> None:
        self.norm1, self.norm2, self.dropout, self.conv2 = block.norm1, block.norm2, block.dropout, block.conv2
        self.padded, self.projection = block.padded, block.projection
        self.augmented = augmented(block.conv1, config, sides, rng)

    def forward(
        self, x: Inexact[Tensor, "batch inputs height width"]
    ) -> tuple[Inexact[Tensor, "batch outputs new_height new_width"], Attention]:
        """Return (y, the weights under "augmented")."""
        activated = self.norm1(x, relu=True)
        residual, weights = self.augmented(activated)
        residual = self.conv2(self.dropout(self.norm2(residual, relu=True)))
        if self.projection is not None:
            return residual + self.projection(activated), found(weights)
        return residual + (x if self.padded is None else self.padded(x)), found(weights)


def found(weights: Tensor | None) -> Attention:
    """The attention of a block, which has none where upsilon is too small for one value per head."""
    return {} if weights is None else {"augmented": weights}


# ---------------------------------------------------------------------------------------------- the network
@register(CONFIGURATIONS)
class AugmentedResNet(Module):
    """A residual network whose last stages are augmented.  rng draws the parameters: first the backbone's."""

    def __init__(self, config: AugmentedResNetConfig, rng: Rng) -> None:
        self.config = config
        network = config.network
        kind = {ResNetConfig: ResNet, CifarResNetConfig: CifarResNet, WideResNetConfig: WideResNet}[type(network)]
        block = AugmentedWideBlock if kind is WideResNet else AugmentedBlock
        self.backbone = kind(network, rng)
        stages = self.backbone.stages
        for index in range(max(0, len(stages) - config.stages), len(stages)):
            sides = config.sides_of(index)
            stages[index] = Stage([block(plain, config, sides, rng) for plain in stages[index].blocks])

    def forward(
        self, images: Inexact[Tensor, "batch channels height width"], return_attention: bool = False
    ) -> Inexact[Tensor, "batch classes"] | tuple[Inexact[Tensor, "batch classes"], Attention]:
        """Return the logits; with return_attention=True, (logits, attention).

        attention: the weights (batch, heads, height, width, height, width) of every augmented convolution, and the
        class activation maps under "backbone.classifier".
        """
        if not return_attention:
            return self.backbone(images)
        logits, attention = self.backbone(images, return_attention=True)
        return logits, prefixed("backbone", attention)


NETWORK = Network(
    name="AA-ResNet, AA-WRN",
    paper=Paper("Bello et al.", 2019, "Attention augmented convolutional networks"),
    code="AugmentedResNet",
    command="minattn train images --data fashion-mnist --model aa_resnet20",
)
