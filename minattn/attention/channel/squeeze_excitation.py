"""Squeeze-and-excitation: attention over the channels of a feature map.

J. Hu, L. Shen and G. Sun, "Squeeze-and-Excitation Networks", CVPR 2018, section 3.  A transformation, a convolution or
a whole residual branch, gives the feature maps U = F_tr(X) with C channels (1).  The spatial means of all channels
decide how much of each channel passes:

    z_c  = 1/(HW) sum_ij u_c(i, j)                               (2)  squeeze: one number a channel
    s    = sigma(W_2 delta(W_1 z))                               (3)  excitation: one gate a channel, delta = ReLU
    x~_c = s_c u_c                                               (4)  scale

W_1 maps C values to C / r and W_2 back to C; r is the reduction, 16 in the paper.  In a network whose stage s has N_s
blocks with C_s channels, all W_1 and W_2 together have 2/r sum_s N_s C_s^2 parameters (5).  Vectors are rows here, so
the matrices stand on the right: z W_1.

Deviations from the paper: there are biases after both matrices, as in the authors' models but not in (3); biases=False
is (3) as printed.  The hidden width C / r is rounded down and is at least 1.  The paper draws all parameters He-normal;
W_2, which has no ReLU after it, is drawn Glorot-uniform here. gate="hard_sigmoid" is min(max(x + 3, 0), 6) / 6 instead
of sigma: the gate of the mobile networks that took over the block (A. Howard et al., "Searching for MobileNetV3", ICCV
2019).
"""

from numbers import Integral
from typing import Literal

from jaxtyping import Inexact

from minattn.autograd import Tensor, ops
from minattn.errors import ConfigError, ShapeError
from minattn.nn import Module, initializers
from minattn.nn.initializers import Rng
from minattn.published import Mechanism, Paper

GATES = {"sigmoid": ops.sigmoid, "hard_sigmoid": ops.hard_sigmoid}


class SqueezeExcitation(Module):
    """Squeeze-and-excitation of feature maps with `channels` channels, (2)-(4).

    W_1: (C, C / r), drawn He-normal; W_2: (C / r, C), drawn Glorot-uniform; b_1 and b_2: zero, or None with
    biases=False.  Initially the gates are near 1/2.  Raises ConfigError where channels or reduction is below 1 and for
    a gate that does not exist.
    """

    def __init__(
        self,
        channels: int,
        rng: Rng,
        reduction: int = 16,
        gate: Literal["sigmoid", "hard_sigmoid"] = "sigmoid",
        biases: bool = True,
    ) -> None:
        sizes = channels, reduction
        if not all(isinstance(n, Integral) and not isinstance(n, bool) and n >= 1 for n in sizes):
            raise ConfigError(
                f"squeeze-and-excitation needs at least one channel and a reduction of at least 1, got {channels} "
                f"channels and the reduction {reduction}; hint: the reduction 16, as in the paper"
            )
        if gate not in GATES:
            raise ConfigError(f"the gate {gate!r} does not exist; hint: one of {', '.join(GATES)}")
        hidden = max(1, channels // reduction)
        self.W_1 = initializers.he_normal((channels, hidden), rng)
        self.b_1 = initializers.zeros((hidden,)) if biases else None
        self.W_2 = initializers.glorot_uniform((hidden, channels), rng)
        self.b_2 = initializers.zeros((channels,)) if biases else None
        self.gate = gate

    def forward(
        self, u: Inexact[Tensor, "batch channels height width"]
    ) -> tuple[Inexact[Tensor, "batch channels height width"], Inexact[Tensor, "batch channels"]]:
        """Return (the scaled feature maps x~, the gates s) of the feature maps u."""
        s = self.gates(u)
        return scale(u, s), s

    def gates(self, u: Inexact[Tensor, "batch channels height width"]) -> Inexact[Tensor, "batch channels"]:
        """Return the gates s of the feature maps u, (2) and (3), for a block that scales other maps with them.

        Raises ShapeError where u has another number of channels, or no positions.
        """
        channels = self.W_1.shape[0]
        if u.ndim != 4 or u.shape[1] != channels or 0 in u.shape[2:]:
            raise ShapeError(
                f"squeeze-and-excitation got maps of shape {u.shape}, expected (batch, {channels}, height, width) with "
                "a position at least; hint: build it for the channels of the feature maps that it is given"
            )
        return self.excitation(squeeze(u))

    def excitation(self, z: Inexact[Tensor, "batch channels"]) -> Inexact[Tensor, "batch channels"]:
        """Return s = sigma(W_2 delta(W_1 z))."""
        hidden = ops.relu(ops.linear(z, self.W_1, self.b_1))
        return GATES[self.gate](ops.linear(hidden, self.W_2, self.b_2))  # (3)


def squeeze(u: Inexact[Tensor, "batch channels height width"]) -> Inexact[Tensor, "batch channels"]:
    """Return z_c = 1/(HW) sum_ij u_c(i, j), the mean of every feature map."""
    return ops.mean(u, (2, 3))  # (2)


def scale(
    u: Inexact[Tensor, "batch channels height width"], s: Inexact[Tensor, "batch channels"]
) -> Inexact[Tensor, "batch channels height width"]:
    """Return x~_c = s_c u_c.  Raises ShapeError where the gates s are not one a channel of every image."""
    return ops.scale_channels(u, s)  # (4)


MECHANISM = Mechanism(
    name="squeeze-and-excitation",
    paper=Paper("Hu, Shen & Sun", 2018, "Squeeze-and-excitation networks"),
    equation="(2) z_c = mean of u_c; (3) s = sigma(W_2 delta(W_1 z)); (4) x~_c = s_c u_c",
    code="SqueezeExcitation",
    model="minattn.models.CifarResNet",
    command="minattn train images --model se_resnet20",
    experiment="experiments/se_gates.py",
)
