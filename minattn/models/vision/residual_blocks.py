"""Residual networks: blocks with and without Squeeze-and-Excitation, shortcuts, stages.

K. He, X. Zhang, S. Ren and J. Sun, "Deep residual learning for image recognition", CVPR 2016; figures 2 and 5:

    y = F(x) + x                                                         (1)  a shortcut that is the identity
    y = F(x) + W_s x                                                     (2)  one that changes the size

    BasicBlock:   F is 3x3, 3x3               Bottleneck:   F is 1x1, 3x3, 1x1

each convolution followed by batch norm, and by ReLU but for the last, which has its ReLU after the sum.  Where the size
changes (3.3 and 4.1):

    option A:     every second pixel of x, and zeros for the new channels: no parameters
    option B:     W_s is a 1x1 convolution with batch norm

J. Hu, L. Shen and G. Sun, "Squeeze-and-excitation networks", CVPR 2018; figure 5 of the version in TPAMI:

    standard:     y = ReLU(SE(F(x)) + x)
    pre:          y = ReLU(F(SE(x)) + x)
    post:         y = SE(ReLU(F(x) + x))
    identity:     y = ReLU(F(x) + SE(x))
    3x3:          SE is inside F of the bottleneck, after the 3x3 convolution

Deviations from the papers: none known.  What they leave open: option A adds its zeros after the channels of x, as the
authors' code does; "identity" gates what the shortcut gives, W_s x where there is a projection; "3x3" gates what
follows the 3x3 convolution's batch norm and ReLU.  The weights of batch norm all start at 1, those of a block's last
one too.
"""

from collections.abc import Callable
from typing import Literal

from jaxtyping import Inexact

from minattn.attention.channel.squeeze_excitation import SqueezeExcitation
from minattn.autograd import Tensor, ops
from minattn.models.vision.layers import PooledNetwork
from minattn.nn import ConvNorm, Module
from minattn.nn.attention_paths import Attention, in_sequence
from minattn.nn.initializers import Rng

Option = Literal["A", "B"]
Position = Literal["standard", "pre", "post", "identity", "3x3"]


# ---------------------------------------------------------------------------------------------- shortcuts
class PaddedShortcut(Module):
    """Option A: every `stride`-th pixel, and zeros for the channels that x does not have."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        self.new = outputs - inputs
        self.stride = stride

    def forward(
        self, x: Inexact[Tensor, "batch inputs height width"]
    ) -> Inexact[Tensor, "batch outputs new_height new_width"]:
        pixels = x[:, :, :: self.stride, :: self.stride]
        return ops.pad(pixels, ((0, 0), (0, self.new), (0, 0), (0, 0)))


def make_shortcut(option: Option, inputs: int, outputs: int, stride: int, rng: Rng) -> Module | None:
    """Return the shortcut from `inputs` channels to `outputs`; None is the identity."""
    if inputs == outputs and stride == 1:
        return None
    if option == "A":
        return PaddedShortcut(inputs, outputs, stride)
    return ConvNorm(inputs, outputs, 1, rng, stride=stride, relu=False)  # W_s


# ---------------------------------------------------------------------------------------------- blocks
class ResidualBlock(Module):
    """y = ReLU(F(x) + shortcut(x)), and SE in its `position`.

    convolutions: those of F; shortcut: None is the identity; se: None is a block without SE.
    """

    def __init__(
        self,
        convolutions: list[ConvNorm],
        shortcut: Module | None,
        se: SqueezeExcitation | None = None,
        position: Position = "standard",
    ) -> None:
        self.convolutions = convolutions
        self.shortcut = shortcut
        self.se = se
        self.position = position if se is not None else None

    def forward(
        self, x: Inexact[Tensor, "batch inputs height width"]
    ) -> tuple[Inexact[Tensor, "batch outputs new_height new_width"], Attention]:
        """Return (y, the gates under "se")."""
        attention: Attention = {}

        def se(position: Position, maps: Tensor) -> Tensor:
            """The maps scaled by SE, if SE is in this position."""
            if position == self.position:
                maps, attention["se"] = self.se(maps)
            return maps

        shortcut = x if self.shortcut is None else self.shortcut(x)
        residual = se("pre", x)
        for i, convolution in enumerate(self.convolutions):
            residual = convolution(residual)
            if i == 1:
                residual = se("3x3", residual)
        y = ops.add_relu(se("standard", residual), se("identity", shortcut))  # (1) (2)
        return se("post", y), attention


class BasicBlock(ResidualBlock):
    """F is two 3x3 convolutions, the first with the stride.  se: the reduction r of SE in the standard position."""

    def __init__(
        self, inputs: int, outputs: int, stride: int, rng: Rng, *, option: Option = "B", se: int | None = None
    ) -> None:
        super().__init__(
            [
                ConvNorm(inputs, outputs, 3, rng, stride=stride, padding=1),
                ConvNorm(outputs, outputs, 3, rng, padding=1, relu=False),
            ],
            make_shortcut(option, inputs, outputs, stride, rng),
            SqueezeExcitation(outputs, rng, se) if se is not None else None,
        )


class Bottleneck(ResidualBlock):
    """F is a 1x1 convolution to `width` channels, a 3x3 one, and a 1x1 one to `outputs`.

    strided: which of the first two has the stride; groups: of the 3x3 convolution; se: the reduction r of SE.
    """

    def __init__(
        self,
        inputs: int,
        width: int,
        outputs: int,
        stride: int,
        rng: Rng,
        *,
        strided: Literal["1x1", "3x3"] = "3x3",
        groups: int = 1,
        option: Option = "B",
        se: int | None = None,
        position: Position = "standard",
    ) -> None:
        first, second = (stride, 1) if strided == "1x1" else (1, stride)
        gated = {"pre": inputs, "3x3": width}.get(position, outputs)
        super().__init__(
            [
                ConvNorm(inputs, width, 1, rng, stride=first),
                ConvNorm(width, width, 3, rng, stride=second, padding=1, groups=groups),
                ConvNorm(width, outputs, 1, rng, relu=False),
            ],
            make_shortcut(option, inputs, outputs, stride, rng),
            SqueezeExcitation(gated, rng, se) if se is not None else None,
            position,
        )


# ---------------------------------------------------------------------------------------------- networks
class Stage(Module):
    """A sequence of blocks, the first of which may change the size."""

    def __init__(self, blocks: list[Module]) -> None:
        self.blocks = blocks

    @classmethod
    def of(cls, block: Callable[[int, int], Module], count: int, inputs: int, outputs: int, stride: int) -> "Stage":
        """`count` blocks, each block(its inputs, its stride): the first has `inputs` and the stride, the others the
        `outputs` of the one before and stride 1."""
        first = block(inputs, stride)
        return cls([first, *(block(outputs, 1) for _ in range(count - 1))])

    def forward(
        self, x: Inexact[Tensor, "batch inputs height width"]
    ) -> tuple[Inexact[Tensor, "batch outputs new_height new_width"], Attention]:
        """Return (the feature maps of the last block, the gates of every block)."""
        return in_sequence("blocks", self.blocks, x)


class ResidualNetwork(PooledNetwork):
    """A stem, stages of blocks, the mean over positions, and a linear layer to the classes.

    A network of this kind sets `stages` and `classifier`, and defines `stem`.
    """

    stages: list[Stage]

    def stem(
        self, images: Inexact[Tensor, "batch channels height width"]
    ) -> Inexact[Tensor, "batch filters new_height new_width"]:
        """Return the feature maps that the first stage takes."""
        raise NotImplementedError(f"{type(self).__name__} has no stem")

    def features_and_attention(
        self, images: Inexact[Tensor, "batch channels height width"]
    ) -> tuple[Inexact[Tensor, "batch filters new_height new_width"], Attention]:
        """Return (the feature maps of the last stage, the gates of every block)."""
        return in_sequence("stages", self.stages, self.stem(images))
