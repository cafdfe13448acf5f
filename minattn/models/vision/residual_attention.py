"""Residual Attention Network: ResNets with soft masks on the features of every stage.

F. Wang et al., "Residual attention network for image classification", CVPR 2017, table 2, and the authors' networks.
The mechanism is in `attention/spatial/residual_attention.py`.  On images of 224x224:

    output   maps   masks halve         Attention-56            Attention-92
    112x112  64     -                   conv 7x7, stride 2      the same
    56x56    256    3 times, to 7x7     pool; unit, 1 module    pool; unit, 1 module
    28x28    512    twice               unit, 1 module          unit, 2 modules
    14x14    1024   once                unit, 1 module          unit, 3 modules
    7x7      2048   -                   3 units                 3 units
    1x1                                 mean, linear layer to 1000 classes

A unit is a bottleneck with its normalizations first ("pre-activation", He et al., ECCV 2016):

    y = shortcut + conv1x1(a(conv3x3(a(conv1x1(a(x)))))),  a(x) = ReLU(BN(x))           (a)

where the shortcut is x, or, where the size changes, conv1x1(a(x)).  An attention module (p, t, r) = (1, 2, 1) is

    u = unit(x);  H = (1 + M(u)) unit(unit(u));  y = unit(H)                            (b)

and in its mask every r of figure 2 is one unit (r = 1).  With m modules in each stage the trunk is 36 m + 20 layers
deep.  AttentionNeXt has the units of ResNeXt (`residual_blocks.py`): normalizations after the convolutions, a ReLU
after the sum, the 3x3 convolution half as wide as the maps and in 32 groups.

For CIFAR the authors published the depths and parameters of their networks and no tables.  `cifar_attention..` is a
reconstruction: 3x3 convolution to 16 maps, stages of 64, 128 and 256 maps at 32x32, 16x16 and 8x8 with m modules each,
whose masks halve 2, 2 and 1 times, 3 units of 256 maps, the mean.  For m = 2 and 6 it has as many parameters as the
paper says, 1.9 and 5.1 millions.  `narrow` divides all numbers of channels, for a computer without a GPU.

The letters are this file's.

Deviations from the paper: the released Attention-92 has 52.5 million parameters, and the paper prints 51.3; this is the
released network.  Weights of convolutions are drawn He-normal, those of the linear layer Glorot-uniform.
"""

from dataclasses import dataclass, replace
from typing import Annotated

from jaxtyping import Inexact

from minattn.attention.spatial.residual_attention import ACTIVATIONS, Activation, ResidualAttention, SoftMask
from minattn.autograd import Tensor, ops
from minattn.errors import ConfigError
from minattn.models.registry import register
from minattn.models.settings import Channels, Classes, check_choices, check_settings
from minattn.models.vision.layers import PooledNetwork
from minattn.models.vision.residual_blocks import Bottleneck
from minattn.nn import BatchNorm2d, Conv2d, ConvNorm, Linear, Module
from minattn.nn.attention_paths import Attention, in_sequence
from minattn.nn.initializers import Rng
from minattn.published import Network, Paper

GROUPS = 32  # of AttentionNeXt
PUBLISHED_WIDTHS = {224: (64, 256, 512, 1024, 2048), 32: (16, 64, 128, 256, 256)}
"""Maps of the stem, of the three stages and of the last units, by the side of the images."""


@dataclass(frozen=True)
class ResidualAttentionConfig:
    """The defaults are Attention-56."""

    modules: Annotated[tuple[int, int, int], "attention modules of each stage"] = (1, 1, 1)
    grouped: Annotated[bool, "units with 32 groups, as ResNeXt's"] = False
    residual: Annotated[bool, "attention residual learning (1 + M) T, else naive M T"] = True
    activation: Annotated[Activation, "activation of the masks"] = "mixed"
    masks: Annotated[bool, "soft masks; without them the trunk alone"] = True
    narrow: Annotated[int, "by what the published numbers of maps are divided"] = 1
    classes: Classes = 1000
    channels: Channels = 3
    size: Annotated[int, "side of the images: 224, or 32 for the reconstruction for CIFAR"] = 224

    def __post_init__(self) -> None:
        check_settings(self, "narrow")
        check_choices(self, activation=tuple(ACTIVATIONS))
        if len(self.modules) != 3 or min(self.modules) < 0:
            raise ConfigError(f"modules are those of 3 stages, got {self.modules}; hint: for example (1, 1, 1)")
        if self.size not in (32, 224):
            raise ConfigError(f"size is 224 for ImageNet's form or 32 for CIFAR's, got {self.size}; hint: one of these")
        least = 2 * GROUPS if self.grouped else 4  # maps of a unit, whose inner convolutions have half or a quarter
        allowed = [n for n in (1, 2, 4, 8, 16) if PUBLISHED_WIDTHS[self.size][1] >= least * n]
        if self.narrow not in allowed:
            raise ConfigError(
                f"narrow={self.narrow} leaves no whole number of maps for every convolution, or group; "
                f"hint: one of {', '.join(map(str, allowed))}"
            )

    @property
    def widths(self) -> tuple[int, ...]:
        """Maps of the stem, of the three stages and of the last units."""
        return tuple(width // self.narrow for width in PUBLISHED_WIDTHS[self.size])

    @property
    def depths(self) -> tuple[int, int, int]:
        """How often the masks of each stage halve their maps."""
        return (3, 2, 1) if self.size == 224 else (2, 2, 1)

    @property
    def unit(self) -> "type[Unit] | type[GroupedUnit]":
        """The residual unit: (inputs, outputs, stride, rng)."""
        return GroupedUnit if self.grouped else Unit


ATTENTION_56 = ResidualAttentionConfig()
ATTENTION_92 = ResidualAttentionConfig((1, 2, 3))
CIFAR_56 = ResidualAttentionConfig(classes=10, size=32)

CONFIGURATIONS = {
    "attention56": ATTENTION_56,
    "attention92": ATTENTION_92,
    "attentionnext56": replace(ATTENTION_56, grouped=True),
    "attentionnext92": replace(ATTENTION_92, grouped=True),
    **{f"cifar_attention{36 * m + 20}": replace(CIFAR_56, modules=(m, m, m)) for m in (1, 2, 3, 4, 6)},
}
"""Table 2 and the released networks; for CIFAR the depths of table 1, reconstructed."""


class Unit(Module):
    """A bottleneck with its normalizations first, (a); the 3x3 convolution has the stride."""

    def __init__(self, inputs: int, outputs: int, stride: int, rng: Rng) -> None:
        width = outputs // 4
        self.norm = BatchNorm2d(inputs)
        self.conv1 = ConvNorm(inputs, width, 1, rng)
        self.conv2 = ConvNorm(width, width, 3, rng, stride=stride, padding=1)
        self.conv3 = Conv2d(width, outputs, 1, rng, bias=False)
        same = inputs == outputs and stride == 1
        self.projection = None if same else Conv2d(inputs, outputs, 1, rng, stride=stride, bias=False)

    def forward(
        self, x: Inexact[Tensor, "batch inputs height width"]
    ) -> Inexact[Tensor, "batch outputs new_height new_width"]:
        activated = self.norm(x, relu=True)
        shortcut = x if self.projection is None else self.projection(activated)
        return self.conv3(self.conv2(self.conv1(activated))) + shortcut  # (a)


class GroupedUnit(Bottleneck):
    """ResNeXt's bottleneck with 32 groups, half as wide as its output; it returns its maps alone."""

    def __init__(self, inputs: int, outputs: int, stride: int, rng: Rng) -> None:
        super().__init__(inputs, outputs // 2, outputs, stride, rng, groups=GROUPS)

    def forward(
        self, x: Inexact[Tensor, "batch inputs height width"]
    ) -> Inexact[Tensor, "batch outputs new_height new_width"]:
        return super().forward(x)[0]


class Units(Module):
    """Units one after another."""

    def __init__(self, units: list[Module]) -> None:
        self.units = units

    def forward(
        self, x: Inexact[Tensor, "batch inputs height width"]
    ) -> Inexact[Tensor, "batch outputs new_height new_width"]:
        for unit in self.units:
            x = unit(x)
        return x


class AttentionModule(Module):
    """An attention module, (b), of maps with `channels` channels; depth: how often its mask halves them."""

    def __init__(self, config: ResidualAttentionConfig, channels: int, depth: int, rng: Rng) -> None:
        def unit() -> Module:
            return config.unit(channels, channels, 1, rng)

        self.first = unit()
        self.trunk = self.attention = None
        trunk = Units([unit(), unit()])
        if config.masks:
            mask = SoftMask(channels, depth, unit, rng, config.activation, norm=not config.grouped)
            self.attention = ResidualAttention(trunk, mask, config.residual)
        else:
            self.trunk = trunk
        self.last = unit()

    def forward(
        self, x: Inexact[Tensor, "batch channels height width"]
    ) -> tuple[Inexact[Tensor, "batch channels height width"], Attention]:
        """Return (y, the mask M under "attention")."""
        u = self.first(x)
        if self.attention is None:
            return self.last(self.trunk(u)), {}
        h, m = self.attention(u)
        return self.last(h), {"attention": m}  # (b)


class AttentionStage(Module):
    """A unit that changes the size, and attention modules."""

    def __init__(self, first: Module, modules: list[AttentionModule]) -> None:
        self.first, self.modules = first, modules

    def forward(
        self, x: Inexact[Tensor, "batch inputs height width"]
    ) -> tuple[Inexact[Tensor, "batch outputs new_height new_width"], Attention]:
        """Return (the maps of the last module, the masks of all)."""
        return in_sequence("modules", self.modules, self.first(x))


@register(CONFIGURATIONS)
class ResidualAttentionNetwork(PooledNetwork):
    """The Residual Attention Network.  rng draws the parameters."""

    def __init__(self, config: ResidualAttentionConfig, rng: Rng) -> None:
        self.config = config
        stem, *widths, last = config.widths
        large = config.size == 224
        kernel, stride, padding = (7, 2, 3) if large else (3, 1, 1)
        self.conv1 = ConvNorm(config.channels, stem, kernel, rng, stride=stride, padding=padding)
        self.stages = []
        inputs = stem
        for i, (width, depth, count) in enumerate(zip(widths, config.depths, config.modules, strict=True)):
            first = config.unit(inputs, width, 1 if i == 0 else 2, rng)
            modules = [AttentionModule(config, width, depth, rng) for _ in range(count)]
            self.stages.append(AttentionStage(first, modules))
            inputs = width
        first = config.unit(inputs, last, 2 if large else 1, rng)
        self.last = Units([first, *(config.unit(last, last, 1, rng) for _ in range(2))])
        self.norm = None if config.grouped else BatchNorm2d(last)
        self.classifier = Linear(last, config.classes, rng)

    def features_and_attention(
        self, images: Inexact[Tensor, "batch channels height width"]
    ) -> tuple[Inexact[Tensor, "batch filters new_height new_width"], Attention]:
        """Return (the last feature maps, after a ReLU, the masks of every attention module)."""
        x = self.conv1(images)
        x = ops.max_pool2d(x, 3, 2, ceil=True) if self.config.size == 224 else x
        x, masks = in_sequence("stages", self.stages, x)
        x = self.last(x)
        return x if self.norm is None else self.norm(x, relu=True), masks


NETWORK = Network(
    name="Residual Attention Network",
    paper=Paper("Wang et al.", 2017, "Residual attention network for image classification"),
    code="ResidualAttentionNetwork",
    command="minattn train images --data fashion-mnist --model cifar_attention56",
    experiment="experiments/residual_attention.py",
)
