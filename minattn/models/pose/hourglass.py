"""Stacked hourglass: a network that combines features of all scales, and refines its own heat maps stack by stack.

A. Newell, K. Yang and J. Deng, "Stacked hourglass networks for human pose estimation", ECCV 2016, sections 3.1 to 3.3,
and the authors' code.  All convolutions have biases; a(x) = ReLU(BN(x)):

    R(x) = conv1x1(a(conv3x3(a(conv1x1(a(x)))))) + x                            (a)  residual module
    conv7x7 with stride 2, a; R to 128; pool; R to 128; R to 256                (b)  front end, 256x256 -> 64x64
    hourglass_n(x) = R(x) + up(R(inner(R(pool(x)))))                            (c)
    h = a(conv1x1(R(hourglass_4(x)))),  S = conv1x1(h)                          (d)  S: a heat map for every joint
    next x = x + conv1x1(h) + conv1x1(S)                                        (e)  the input of the next stack
    L = sum over the stacks of mean (S - target)^2                              (f)  intermediate supervision

inner is hourglass_n-1, or R at n = 1.  R has half as many features inside, and a 1x1 convolution on its shortcut where
the number of features changes.  pool is 2x2 max pooling and up nearest-neighbor upsampling: detail lost on the way down
returns through the R(x) of (c).  Targets and the decoding of maps are in `heat_maps.py`.

The letters are this file's.

The small networks are not published ones: they have order 3 and fewer features, for images of 64x64.

Deviations from the paper: joints may be left out of the loss.  Weights of convolutions are drawn He-normal, those of
the heat maps from N(0, 0.01^2), so that the maps start near 0.
"""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from jaxtyping import Bool, Inexact

from minattn.autograd import Tensor, ops, to_device
from minattn.errors import ConfigError, ShapeError
from minattn.models.registry import register
from minattn.models.settings import Channels, check_sizes
from minattn.nn import BatchNorm2d, Conv2d, Module, initializers
from minattn.nn.attention_paths import Attention
from minattn.nn.initializers import Rng
from minattn.published import Network, Paper

REDUCTION = 4
"""The sides of the images over those of the heat maps."""


@dataclass(frozen=True)
class HourglassConfig:
    """The defaults are the network of eight stacks for the 16 joints of MPII."""

    stacks: Annotated[int, "hourglasses one after another"] = 8
    joints: Annotated[int, "joints to find"] = 16
    features: Annotated[int, "features of the hourglasses"] = 256
    order: Annotated[int, "n: how often an hourglass halves its maps"] = 4
    channels: Channels = 3
    size: Annotated[int, "the side of the images that it is made for"] = 256

    def __post_init__(self) -> None:
        check_sizes(self, "stacks", "joints", "features", "order", "channels", "size")
        if self.features % 4:
            raise ConfigError(f"features must be a multiple of 4, got {self.features}; hint: 256, as in the paper")
        if self.size % self.multiple:
            raise ConfigError(
                f"hourglasses of order {self.order} do not take images of {self.size} x {self.size}; hint: a size that "
                f"is a multiple of {self.multiple}"
            )

    @property
    def multiple(self) -> int:
        """The sides of images are multiples of this, such as 64, so that every pooling halves its maps exactly."""
        return REDUCTION * 2**self.order


CONFIGURATIONS = {f"hourglass{stacks}": HourglassConfig(stacks) for stacks in (1, 2, 4, 8)} | {
    f"small_hourglass{stacks}": HourglassConfig(stacks, features=48, order=3, size=64) for stacks in (1, 2)
}
"""By the number of stacks: the published networks, and small ones for images of 64x64."""


class NormConv(Module):
    """conv(ReLU(BN(x))), with a bias."""

    def __init__(self, inputs: int, outputs: int, kernel: int, rng: Rng) -> None:
        self.norm = BatchNorm2d(inputs)
        self.conv = Conv2d(inputs, outputs, kernel, rng, padding=kernel // 2)

    def forward(self, x: Inexact[Tensor, "batch inputs height width"]) -> Inexact[Tensor, "batch outputs height width"]:
        return self.conv(self.norm(x, relu=True))


class Residual(Module):
    """A residual module, (a), from `inputs` features to `outputs`."""

    def __init__(self, inputs: int, outputs: int, rng: Rng) -> None:
        half = outputs // 2
        self.first = NormConv(inputs, half, 1, rng)
        self.middle = NormConv(half, half, 3, rng)
        self.last = NormConv(half, outputs, 1, rng)
        self.shortcut = None if inputs == outputs else Conv2d(inputs, outputs, 1, rng)

    def forward(self, x: Inexact[Tensor, "batch inputs height width"]) -> Inexact[Tensor, "batch outputs height width"]:
        shortcut = x if self.shortcut is None else self.shortcut(x)
        return self.last(self.middle(self.first(x))) + shortcut  # (a)


class ConvThenNorm(Module):
    """ReLU(BN(conv(x))), with a bias."""

    def __init__(self, inputs: int, outputs: int, kernel: int, rng: Rng, stride: int = 1) -> None:
        self.conv = Conv2d(inputs, outputs, kernel, rng, stride=stride, padding=kernel // 2)
        self.norm = BatchNorm2d(outputs)

    def forward(
        self, x: Inexact[Tensor, "batch inputs height width"]
    ) -> Inexact[Tensor, "batch outputs new_height new_width"]:
        return self.norm(self.conv(x), relu=True)


class Hourglass(Module):
    """An hourglass of order n, (c)."""

    def __init__(self, order: int, features: int, rng: Rng) -> None:
        self.beside = Residual(features, features, rng)
        self.down = Residual(features, features, rng)
        self.inner = Hourglass(order - 1, features, rng) if order > 1 else Residual(features, features, rng)
        self.up = Residual(features, features, rng)

    def forward(
        self, x: Inexact[Tensor, "batch features height width"]
    ) -> Inexact[Tensor, "batch features height width"]:
        """Return maps of the shape of x.  Raises ShapeError for a height or width that is odd."""
        height, width = x.shape[2:]
        if height % 2 or width % 2:
            raise ShapeError(
                f"an hourglass cannot halve maps of {height}x{width}; hint: sides that are a multiple of 2 to its order"
            )
        low = self.up(self.inner(self.down(ops.max_pool2d(x, 2))))
        return self.beside(x) + ops.resize_nearest(low, (height, width))  # (c)


class Stack(Module):
    """An hourglass with its heat maps, (d), and the input of the next stack, (e), if there is one."""

    def __init__(self, config: HourglassConfig, last: bool, rng: Rng) -> None:
        features, joints = config.features, config.joints
        self.hourglass = Hourglass(config.order, features, rng)
        self.after = Residual(features, features, rng)
        self.linear = ConvThenNorm(features, features, 1, rng)
        self.maps = Conv2d(features, joints, 1, rng)
        self.maps.weight = initializers.normal(self.maps.weight.shape, rng, 0.01)
        self.features_back = None if last else Conv2d(features, features, 1, rng)
        self.maps_back = None if last else Conv2d(joints, features, 1, rng)

    def forward(
        self, x: Inexact[Tensor, "batch features height width"]
    ) -> tuple[Inexact[Tensor, "batch features height width"], Inexact[Tensor, "batch joints height width"]]:
        """Return (the input of the next stack, the heat maps S); of the last stack (x, S)."""
        h = self.linear(self.after(self.hourglass(x)))
        s = self.maps(h)  # (d)
        if self.features_back is None or self.maps_back is None:
            return x, s
        return x + self.features_back(h) + self.maps_back(s), s  # (e)


@register(CONFIGURATIONS)
class StackedHourglass(Module):
    """The stacked hourglass network.  rng draws the parameters."""

    def __init__(self, config: HourglassConfig, rng: Rng) -> None:
        self.config = config
        quarter, half, features = config.features // 4, config.features // 2, config.features
        self.conv1 = ConvThenNorm(config.channels, quarter, 7, rng, stride=2)
        self.front = [Residual(quarter, half, rng), Residual(half, half, rng), Residual(half, features, rng)]
        self.stacks = [Stack(config, i == config.stacks - 1, rng) for i in range(config.stacks)]

    def forward(
        self, images: Inexact[Tensor, "batch channels rows columns"], return_attention: bool = False
    ) -> (
        Inexact[Tensor, "batch stacks joints height width"]
        | tuple[Inexact[Tensor, "batch stacks joints height width"], Attention]
    ):
        """Return the heat maps of every stack, a quarter of the images' height and width; the last are the prediction.

        With return_attention=True, (heat maps, attention), where attention has the same maps (batch, joints, height,
        width) by the path of each stack.  Raises ShapeError for images whose sides are no multiple of config.multiple.
        """
        multiple = self.config.multiple
        if any(n % multiple for n in images.shape[2:]):
            raise ShapeError(
                f"an hourglass of order {self.config.order} does not take images of {images.shape[3]} x "
                f"{images.shape[2]}; hint: sides that are multiples of {multiple}"
            )
        first, second, third = self.front
        x = third(second(ops.max_pool2d(first(self.conv1(images)), 2)))  # (b)
        attention: Attention = {}
        for i, stack in enumerate(self.stacks):
            x, attention[f"stacks.{i}"] = stack(x)
        maps = ops.stack(list(attention.values()), axis=1)
        return (maps, attention) if return_attention else maps


def heat_map_loss(
    maps: Inexact[Tensor, "batch stacks joints height width"],
    targets: Inexact[Tensor, "batch joints height width"],
    intermediate: bool = True,
    labeled: Bool[np.ndarray, "batch joints"] | None = None,
) -> Inexact[Tensor, ""]:
    """Return L, the mean squared error of every stack's maps, added up; intermediate=False: that of the last alone.

    labeled: False for a joint that is left out of the loss, whatever its targets are; None: all count.  The loss of no
    images is 0.  Raises ShapeError where the targets are not maps of the same joints and size, or the labels not those
    of the joints.
    """
    batch, _, *rest = maps.shape
    if targets.shape != (batch, *rest):
        raise ShapeError(
            f"heat maps of shape {maps.shape} need targets of shape {(batch, *rest)}, got {targets.shape}; hint: a map "
            "of each joint, as large as the network's"
        )
    if labeled is not None and labeled.shape != targets.shape[:2]:
        raise ShapeError(
            f"maps of {targets.shape[1]} joints of {batch} images have labels of shape {labeled.shape}; hint: True or "
            "False for each of them"
        )
    differences = maps - ops.expand_dims(targets, 1)
    if labeled is not None:
        differences = ops.where(to_device(labeled[:, None, :, None, None], maps.device), differences, 0.0)
    errors = ops.mean(ops.square(differences), axis=(3, 4))  # (batch, stacks, joints)
    errors = errors if intermediate else errors[:, -1:]
    return ops.sum(errors) / max(1, batch * targets.shape[1])  # (f)


NETWORK = Network(
    name="stacked hourglass",
    paper=Paper("Newell, Yang & Deng", 2016, "Stacked hourglass networks for human pose estimation"),
    code="StackedHourglass",
    command="minattn train pose",
    experiment="experiments/hourglass_supervision.py",
)
