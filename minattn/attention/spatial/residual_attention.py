"""Residual attention: a soft mask, one value for every element of the trunk's output, with a large receptive field.

F. Wang, M. Jiang, C. Qian, S. Yang, C. Li, H. Zhang, X. Wang and X. Tang, "Residual attention network for image
classification", CVPR 2017, section 3, and the authors' networks.  An attention module has two branches, the trunk T(x)
and the soft mask M(x) of the same shape; i is a position, c a channel:

    H_ic(x) = M_ic(x) T_ic(x)                                    (a)  naive attention learning (NAL)
    dH / d phi = M(x) dT(x, phi) / d phi                         (b)  phi: the trunk's; M filters its update
    H_ic(x) = (1 + M_ic(x)) T_ic(x)                              (c)  attention residual learning (ARL), section 3.1

With NAL every module attenuates, and many in a row leave nothing; with ARL a mask of zeros changes nothing.  The mask
is one of these activations (section 3.2) of the last feature maps x of its branch:

    mixed     M_ic = 1 / (1 + exp(-x_ic))                                   (d)
    channel   M_ic = x_ic / ||x_i||,  the length over the channels          (e)  of one position
    spatial   M_ic = 1 / (1 + exp(-(x_ic - mean_c) / std_c))                (f)  mean and deviation over the positions

The branch downsamples and upsamples again, so that the mask at a position depends on much of the image.  At depth d,
where every R is a residual unit of its own,

    z = R(pool(x));  level_d(x) = R(up(level_d-1(z)) + R(z))                (g)
    z = R(pool(x));  level_1(x) = R(z)                                      (h)
    maps = conv(a(conv(a(up(level_d(x)))))),  1x1 each, a(x) = ReLU(BN(x))  (i)

where pool is 3x3 max pooling with stride 2, incomplete windows included, and up is bilinear, to the size before the
pool, with aligned corners.  The R(z) of (g) is the skip connection of figure 2.

The letters are this file's.

Deviations from the paper: none known.  What it leaves open is as in the authors' networks: the two units of (h), the
normalizations of (i), the corners; and the divisors of (e) and (f) near zero: at least 1e-6, and sqrt(std^2 + 1e-5).
"""

from collections.abc import Callable
from typing import Literal

from jaxtyping import Inexact

from minattn.autograd import Tensor, ops
from minattn.errors import ConfigError, ShapeError
from minattn.nn import BatchNorm2d, Conv2d, ConvNorm, Module
from minattn.nn.initializers import Rng
from minattn.published import Mechanism, Paper

Activation = Literal["mixed", "channel", "spatial"]


# ---------------------------------------------------------------------------------------------- the mask's activations
def mixed(x: Inexact[Tensor, "batch channels height width"]) -> Inexact[Tensor, "batch channels height width"]:
    """Return 1 / (1 + exp(-x_ic)): between 0 and 1 everywhere."""
    return ops.sigmoid(x)  # (d)


def channel(x: Inexact[Tensor, "batch channels height width"]) -> Inexact[Tensor, "batch channels height width"]:
    """Return x_ic / ||x_i||: of length 1 over the channels at every position."""
    return ops.normalize(x, axis=1, eps=1e-6)  # (e)


def spatial(x: Inexact[Tensor, "batch channels height width"]) -> Inexact[Tensor, "batch channels height width"]:
    """Return 1 / (1 + exp(-(x_ic - mean_c) / std_c)): a channel standardized to mean 0 and deviation 1."""
    pixels = (2, 3)
    deviation = ops.sqrt(ops.var(x, pixels, keepdims=True) + 1e-5)
    return ops.sigmoid((x - ops.mean(x, pixels, keepdims=True)) / deviation)  # (f)


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"mixed": mixed, "channel": channel, "spatial": spatial}


def check_activation(activation: str) -> None:
    """Raise ConfigError unless there is a mask activation of that name."""
    if activation not in ACTIVATIONS:
        raise ConfigError(f"the mask activation {activation!r} does not exist; hint: one of {', '.join(ACTIVATIONS)}")


# ---------------------------------------------------------------------------------------------- the mask
class Level(Module):
    """(g), or (h) at depth 1.  unit() makes a residual unit that keeps the shape of its maps."""

    def __init__(self, depth: int, unit: Callable[[], Module]) -> None:
        self.down = unit()
        self.inner = Level(depth - 1, unit) if depth > 1 else None
        self.skip = unit() if depth > 1 else None
        self.up = unit()

    def forward(
        self, x: Inexact[Tensor, "batch channels height width"]
    ) -> Inexact[Tensor, "batch channels half_height half_width"]:
        """Return the maps of half the height and width."""
        z = self.down(ops.max_pool2d(x, 3, 2, ceil=True))
        if self.inner is None:
            return self.up(z)  # (h)
        return self.up(upsampled(self.inner(z), z) + self.skip(z))  # (g)


def upsampled(
    maps: Inexact[Tensor, "batch channels height width"], like: Inexact[Tensor, "batch channels more_rows more_columns"]
) -> Inexact[Tensor, "batch channels more_rows more_columns"]:
    """Return the maps at the height and width of others, bilinear, with aligned corners."""
    return ops.resize_bilinear(maps, like.shape[2:], align_corners=True)


class SoftMask(Module):
    """The soft mask branch (d)-(i) of maps with `channels` channels.

    depth: how often the maps are halved; unit() makes a residual unit; norm=False: units that end in a ReLU need none
    in (i) before the first convolution, and no normalization there.  Raises ConfigError for a depth below 1 and for an
    activation that does not exist.
    """

    def __init__(
        self,
        channels: int,
        depth: int,
        unit: Callable[[], Module],
        rng: Rng,
        activation: Activation = "mixed",
        norm: bool = True,
    ) -> None:
        check_activation(activation)
        if depth < 1:
            raise ConfigError(f"a soft mask branch goes down at least once, got the depth {depth}; hint: 1 or more")
        self.level = Level(depth, unit)
        self.norm = BatchNorm2d(channels) if norm else None
        self.conv1 = ConvNorm(channels, channels, 1, rng)
        self.conv2 = Conv2d(channels, channels, 1, rng, bias=False)
        self.depth, self.activation = depth, activation

    def forward(
        self, x: Inexact[Tensor, "batch channels height width"]
    ) -> Inexact[Tensor, "batch channels height width"]:
        """Return the mask M of the maps x.

        Raises ShapeError for maps that are too small to be halved `depth` times.
        """
        smallest = 3 * 2 ** (self.depth - 1)  # the last pool has a window of 3
        if x.ndim != 4 or min(x.shape[2:]) < smallest:
            raise ShapeError(
                f"a soft mask of depth {self.depth} got maps of shape {x.shape}, expected (batch, channels, height, "
                f"width) of at least {smallest}x{smallest}; hint: larger images, or a mask of less depth"
            )
        maps = upsampled(self.level(x), x)
        maps = maps if self.norm is None else self.norm(maps, relu=True)
        maps = self.conv2(self.conv1(maps))  # (i)
        return ACTIVATIONS[self.activation](maps)


# ---------------------------------------------------------------------------------------------- the two branches
class ResidualAttention(Module):
    """Trunk and soft mask, side by side.

    trunk: a module that turns the maps x into T of the same shape; residual: attention residual learning, (c), else
    naive attention learning, (a).
    """

    def __init__(self, trunk: Module, mask: SoftMask, residual: bool = True) -> None:
        self.trunk, self.mask, self.residual = trunk, mask, residual

    def forward(
        self, x: Inexact[Tensor, "batch channels height width"]
    ) -> tuple[Inexact[Tensor, "batch channels height width"], Inexact[Tensor, "batch channels height width"]]:
        """Return (H, the mask M) of the maps x."""
        return masked(self.trunk(x), self.mask(x), self.residual)


def masked(
    t: Inexact[Tensor, "batch channels height width"],
    m: Inexact[Tensor, "batch channels height width"],
    residual: bool = True,
) -> tuple[Inexact[Tensor, "batch channels height width"], Inexact[Tensor, "batch channels height width"]]:
    """Return ((1 + M) T, M); with residual=False (M T, M).

    Raises ShapeError where the mask has not the shape of the trunk's maps.
    """
    if t.shape != m.shape:
        raise ShapeError(
            f"a mask of shape {m.shape} does not fit the trunk's maps of shape {t.shape}; hint: a trunk that keeps the "
            "shape of what it gets"
        )
    return (m * t + t if residual else m * t), m  # (c) (a)


PAPER = Paper("Wang et al.", 2017, "Residual attention network for image classification")
MECHANISM = Mechanism(
    name="residual attention",
    paper=PAPER,
    equation="section 3.1: H_ic = (1 + M_ic) F_ic, M a soft mask; section 3.2: M_ic = 1 / (1 + exp(-x_ic))",
    code="ResidualAttention",
    model="minattn.models.ResidualAttentionNetwork",
    command="minattn train images --data fashion-mnist --model cifar_attention56",
    experiment="experiments/residual_attention.py",
)
MASK = Mechanism(
    name="soft mask branch",
    paper=PAPER,
    equation="section 3.2: M_ic = 1 / (1 + exp(-x_ic)), or x_ic / ||x_i||, or 1 / (1 + exp(-(x_ic - mean_c) / std_c))",
    code="SoftMask",
    model="minattn.models.ResidualAttentionNetwork",
    command="minattn train images --data fashion-mnist --model cifar_attention56 --set activation=spatial",
)
