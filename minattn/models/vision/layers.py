"""What the networks for images without shortcuts share: convolutions with biases, layers with a gate."""

from jaxtyping import Inexact

from minattn.attention.channel.squeeze_excitation import SqueezeExcitation
from minattn.autograd import Tensor, ops
from minattn.errors import ShapeError
from minattn.nn import BatchNorm2d, Conv2d, Linear, Module
from minattn.nn.convolution import Pair
from minattn.nn.initializers import Rng


class ConvReLU(Module):
    """ReLU(x * W + b), or with norm=True ReLU(BN(x * W + b)), where the bias b stays although BN takes it away."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: Pair,
        rng: Rng,
        *,
        stride: Pair = 1,
        padding: Pair = 0,
        groups: int = 1,
        norm: bool = False,
    ) -> None:
        self.conv = Conv2d(inputs, outputs, kernel, rng, stride=stride, padding=padding, groups=groups)
        self.norm = BatchNorm2d(outputs) if norm else None

    def forward(
        self, x: Inexact[Tensor, "batch inputs height width"]
    ) -> Inexact[Tensor, "batch outputs new_height new_width"]:
        y = self.conv(x)
        return ops.relu(y) if self.norm is None else self.norm(y, relu=True)


class Gated(Module):
    """A layer, and Squeeze-and-Excitation of the `channels` maps that it gives.  se: the reduction r; None: without."""

    def __init__(self, layer: Module, channels: int, rng: Rng, se: int | None) -> None:
        self.layer = layer
        self.se = SqueezeExcitation(channels, rng, se) if se is not None else None

    def forward(
        self, x: Inexact[Tensor, "batch inputs height width"]
    ) -> tuple[Inexact[Tensor, "batch outputs new_height new_width"], Inexact[Tensor, "batch outputs"] | None]:
        """(the maps, the gates s or None)."""
        y = self.layer(x)
        return (y, None) if self.se is None else self.se(y)


def flatten(maps: Inexact[Tensor, "batch channels height width"], into: Linear) -> Inexact[Tensor, "batch inputs"]:
    """All numbers of an image side by side, for the linear layer that takes them.

    Raises ShapeError where it takes another number of them.
    """
    channels, height, width = maps.shape[1:]
    expected = into.weight.shape[0]
    if channels * height * width != expected:
        raise ShapeError(
            f"the linear layer takes {expected} numbers of an image, and these images give {channels} maps of "
            f"{height}x{width}; hint: images of the side that the network is built for, its config's `size`"
        )
    return ops.reshape(maps, (maps.shape[0], expected))
