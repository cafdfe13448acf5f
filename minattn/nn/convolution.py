"""The layers of convolutional networks: convolution, and convolution with batch normalization and ReLU."""

from jaxtyping import Inexact

from minattn.autograd import Tensor, ops
from minattn.autograd.ops.images import pair
from minattn.errors import ConfigError
from minattn.nn import initializers
from minattn.nn.initializers import Rng
from minattn.nn.module import Module
from minattn.nn.normalization import BatchNorm2d

Pair = int | tuple[int, int]
"""One number for height and width, or one for each."""


PADDING_MODES = ("zeros", "reflect", "replicate", "circular")


class Conv2d(Module):
    """y = x * W + b, the cross-correlation of images with `outputs` kernels; see `ops.conv2d`.

    weight: (outputs, inputs / groups, height, width), drawn He-normal; bias: (outputs), zero, or None.
    padding_mode: "zeros" around the image, or what `ops.pad` puts there by "reflect", "replicate" or "circular".
    Raises ConfigError for a kernel without a pixel and for groups that do not divide both numbers of channels.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: Pair,
        rng: Rng,
        *,
        stride: Pair = 1,
        padding: Pair = 0,
        dilation: Pair = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
    ) -> None:
        height, width = pair(kernel, "kernel")
        if min(height, width) < 1:
            raise ConfigError(f"a kernel has one pixel at least, got {kernel!r}; hint: kernel=1 or more")
        check_groups(inputs, outputs, groups)
        self.weight = initializers.he_normal((outputs, inputs // groups, height, width), rng)
        self.bias = initializers.zeros((outputs,)) if bias else None
        self.stride = stride
        self.padding = padding
        self.dilation = dilation
        self.groups = groups
        self.padding_mode = checked_mode(padding_mode)

    def forward(
        self, x: Inexact[Tensor, "batch inputs height width"]
    ) -> Inexact[Tensor, "batch outputs new_height new_width"]:
        padding = self.padding
        if self.padding_mode != "zeros":
            vertical, horizontal = pair(padding, "padding")
            x, padding = ops.pad(x, [(0, 0), (0, 0), (vertical,) * 2, (horizontal,) * 2], mode=self.padding_mode), 0
        return ops.conv2d(x, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)


class Conv1d(Module):
    """y = x * W + b, the cross-correlation of sequences (batch, inputs, length) with `outputs` kernels of length
    `kernel`; see `ops.conv1d`.

    weight: (outputs, inputs / groups, kernel), drawn He-normal; bias: (outputs), zero, or None.  padding_mode as in
    `Conv2d`, and what is refused too.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        rng: Rng,
        *,
        stride: int = 1,
        padding: int = 0,
        dilation: int = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
    ) -> None:
        if kernel < 1:
            raise ConfigError(f"a kernel has at least one element, got {kernel!r}; hint: kernel=1 or more")
        check_groups(inputs, outputs, groups)
        self.weight = initializers.he_normal((outputs, inputs // groups, kernel), rng)
        self.bias = initializers.zeros((outputs,)) if bias else None
        self.stride = stride
        self.padding = padding
        self.dilation = dilation
        self.groups = groups
        self.padding_mode = checked_mode(padding_mode)

    def forward(self, x: Inexact[Tensor, "batch inputs length"]) -> Inexact[Tensor, "batch outputs new_length"]:
        padding = self.padding
        if self.padding_mode != "zeros":
            x, padding = ops.pad(x, [(0, 0), (0, 0), (padding, padding)], mode=self.padding_mode), 0
        return ops.conv1d(x, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)


def checked_mode(padding_mode: str) -> str:
    """`padding_mode` if there is one of that name, else ConfigError."""
    if padding_mode not in PADDING_MODES:
        raise ConfigError(f"unknown padding_mode {padding_mode!r}; hint: one of {', '.join(PADDING_MODES)}")
    return padding_mode


class ConvNorm(Module):
    """ReLU(BN(x * W)), or BN(x * W) with relu=False: the unit of nearly all networks since Ioffe & Szegedy 2015.

    The convolution has no bias, which the normalization would take away again.
    """

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
        relu: bool = True,
    ) -> None:
        self.conv = Conv2d(inputs, outputs, kernel, rng, stride=stride, padding=padding, groups=groups, bias=False)
        self.norm = BatchNorm2d(outputs)
        self.relu = relu

    def forward(
        self, x: Inexact[Tensor, "batch inputs height width"]
    ) -> Inexact[Tensor, "batch outputs new_height new_width"]:
        return self.norm(self.conv(x), self.relu)


def check_groups(inputs: int, outputs: int, groups: int) -> None:
    """Raise ConfigError unless `groups` divides both numbers of channels."""
    if min(inputs, outputs, groups) < 1 or inputs % groups or outputs % groups:
        raise ConfigError(
            f"groups={groups} must divide the {inputs} channels that come in and the {outputs} that go out; hint: "
            "a number of groups that divides both"
        )
