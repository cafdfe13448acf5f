"""BN-Inception: GoogLeNet with batch normalization, and two 3x3 convolutions in place of each 5x5.

S. Ioffe and C. Szegedy, "Batch normalization: accelerating deep network training by reducing internal covariate shift",
ICML 2015, figure 5.  An inception module concatenates the feature maps of its branches:

    1x1   |   1x1, then 3x3   |   1x1, then 3x3 and 3x3   |   3x3 pool with stride 1, then 1x1

Two modules, 3c and 4e, halve the size: they have no 1x1 branch, the last convolution of the other two has stride 2, and
so has the pool, with no projection after it.  Every convolution is ReLU(BN(x * W)).  `FIGURE_5` below has the widths.
Before the modules come, for images of 224x224,

    7x7, 64, stride 2         112x112     then a pool: 56x56
    1x1, 64; 3x3, 192         56x56       then a pool: 28x28

both 3x3 with stride 2.  The mean over 7x7 and a linear layer give the logits.

Deviations from the paper:
* Four outputs that figure 5 prints, 28x28 of 3c, 576 maps of 4c and of 4d, 14x14 and 1024 maps of 4e, do not follow
  from its strides and widths, which give 14x14, 608, 608, and 7x7 and 1056.  The latter are used here, as in the model
  that the authors of Squeeze-and-Excitation published.
* `se` puts Squeeze-and-Excitation (Hu et al. 2018) after each of the ten modules.
* Convolutions have no biases, which the normalization would cancel; biases would add 10,016 parameters.
* No auxiliary classifiers, and no separable first convolution.  Pooling includes last windows that are partly outside
  the image, as in Caffe.
* The initial values are not printed; convolutions are drawn He-normal, the linear layer Glorot-uniform.
"""

from dataclasses import dataclass, replace
from typing import ClassVar, Literal, NamedTuple

from jaxtyping import Inexact

from minattn.autograd import Tensor, ops
from minattn.errors import ShapeError
from minattn.models.registry import register
from minattn.models.settings import Channels, Classes, Reduction, check_settings
from minattn.models.vision.inception import pool
from minattn.models.vision.layers import Gated, PooledNetwork
from minattn.nn import ConvNorm, Linear, Module
from minattn.nn.attention_paths import Attention, prefixed
from minattn.nn.initializers import Rng
from minattn.published import Network, Paper


class Widths(NamedTuple):
    """A row of figure 5: the output channels of every convolution of a module.

    one = 0 is a module that halves the size, and has no projection after its pool.
    """

    one: int  # 1x1
    three_reduce: int
    three: int  # 3x3
    double_reduce: int
    double_a: int  # the first 3x3 of two
    double_b: int  # the second
    pool: Literal["mean", "max"]
    projection: int  # 1x1 after the pool

    @property
    def stride(self) -> int:
        """2 where the module halves the size."""
        return 1 if self.one else 2


FIGURE_5 = {
    #            1x1  3x3r  3x3  dbl r  a    b    pool
    "3a": Widths(64, 64, 64, 64, 96, 96, "mean", 32),
    "3b": Widths(64, 64, 96, 64, 96, 96, "mean", 64),
    "3c": Widths(0, 128, 160, 64, 96, 96, "max", 0),
    "4a": Widths(224, 64, 96, 96, 128, 128, "mean", 128),
    "4b": Widths(192, 96, 128, 96, 128, 128, "mean", 128),
    "4c": Widths(160, 128, 160, 128, 160, 160, "mean", 128),
    "4d": Widths(96, 128, 192, 160, 192, 192, "mean", 128),
    "4e": Widths(0, 128, 192, 192, 256, 256, "max", 0),
    "5a": Widths(352, 192, 320, 160, 224, 224, "mean", 128),
    "5b": Widths(352, 192, 320, 192, 224, 224, "max", 128),
}


@dataclass(frozen=True)
class BNInceptionConfig:
    """The defaults are the paper's network."""

    se: Reduction = None
    classes: Classes = 1000
    channels: Channels = 3
    size: ClassVar[int] = 224

    def __post_init__(self) -> None:
        check_settings(self)


CONFIGURATIONS = {"bn_inception": BNInceptionConfig()}
CONFIGURATIONS |= {f"se_{name}": replace(config, se=16) for name, config in CONFIGURATIONS.items()}
"""The network without and (`se_`) with Squeeze-and-Excitation."""


class BNInceptionModule(Module):
    """Four branches, or three that halve the size, whose feature maps are concatenated.

    Odd sides cannot be halved: a pool without padding rounds down, a convolution rounds up.
    """

    def __init__(self, inputs: int, widths: Widths, rng: Rng) -> None:
        self.widths = widths
        stride = widths.stride
        self.one = ConvNorm(inputs, widths.one, 1, rng) if widths.one else None
        self.three_reduce = ConvNorm(inputs, widths.three_reduce, 1, rng)
        self.three = ConvNorm(widths.three_reduce, widths.three, 3, rng, stride=stride, padding=1)
        self.double_reduce = ConvNorm(inputs, widths.double_reduce, 1, rng)
        self.double_a = ConvNorm(widths.double_reduce, widths.double_a, 3, rng, padding=1)
        self.double_b = ConvNorm(widths.double_a, widths.double_b, 3, rng, stride=stride, padding=1)
        self.projection = ConvNorm(inputs, widths.projection, 1, rng) if widths.projection else None
        self.outputs = widths.one + widths.three + widths.double_b + (widths.projection or inputs)

    def forward(
        self, x: Inexact[Tensor, "batch inputs height width"]
    ) -> Inexact[Tensor, "batch outputs new_height new_width"]:
        if self.widths.stride == 2 and (x.shape[2] % 2 or x.shape[3] % 2):
            raise ShapeError(
                f"BN-Inception halves maps of {x.shape[2]}x{x.shape[3]}, whose sides must be even; hint: images "
                "whose sides are a multiple of 32, 64 at least"
            )
        branches = [
            self.three(self.three_reduce(x)),
            self.double_b(self.double_a(self.double_reduce(x))),
            self._pool(x) if self.projection is None else self.projection(self._pool(x)),
        ]
        return ops.concat(branches if self.one is None else [self.one(x), *branches], axis=1)

    def _pool(self, x: Tensor) -> Tensor:
        if self.widths.stride == 2:
            return pool(x)
        kind = ops.average_pool2d if self.widths.pool == "mean" else ops.max_pool2d
        return kind(x, 3, stride=1, padding=1)


@register(CONFIGURATIONS)
class BNInception(PooledNetwork):
    """BN-Inception.  rng draws the parameters."""

    def __init__(self, config: BNInceptionConfig, rng: Rng) -> None:
        self.config = config
        self.conv1 = ConvNorm(config.channels, 64, 7, rng, stride=2, padding=3)
        self.conv2_reduce = ConvNorm(64, 64, 1, rng)
        self.conv2 = ConvNorm(64, 192, 3, rng, padding=1)
        self.inception: dict[str, Gated] = {}
        inputs = 192
        for name, widths in FIGURE_5.items():
            module = BNInceptionModule(inputs, widths, rng)
            self.inception[name] = Gated(module, module.outputs, rng, config.se)
            inputs = module.outputs
        self.classifier = Linear(inputs, config.classes, rng)

    def features_and_attention(
        self, images: Inexact[Tensor, "batch channels height width"]
    ) -> tuple[Inexact[Tensor, "batch maps new_height new_width"], Attention]:
        """Return (the last feature maps, the gates of every module): (N, 1024, 7, 7) of images of 224x224.

        Raises ShapeError for images whose feature maps cannot be halved, see `BNInceptionModule`.
        """
        x = pool(self.conv1(images))
        x = pool(self.conv2(self.conv2_reduce(x)))
        attention: Attention = {}
        for name, module in self.inception.items():
            x, gates = module(x)
            attention |= prefixed(f"inception.{name}", gates)
        return x, attention


NETWORK = Network(
    name="BN-Inception",
    paper=Paper(
        "Ioffe & Szegedy",
        2015,
        "Batch normalization: accelerating deep network training by reducing internal covariate shift",
    ),
    code="BNInception",
    command="minattn train images --data FOLDER --set size=224 --model bn_inception",
)
