"""Highway layers: an elementwise gate decides what is transformed and what is carried through unchanged.

R. K. Srivastava, K. Greff and J. Schmidhuber, "Training very deep networks", NIPS 2015, section 2.  A plain layer
transforms its input.  A highway layer has a second transformation, the transform gate T, and mixes the result with its
input, which the carry gate C passes on:

    y = H(x, W_H)                                                (1)  a plain layer
    y = H(x, W_H) T(x, W_T) + x C(x, W_C)                        (2)  a highway layer; products are elementwise
    y = H(x, W_H) T(x, W_T) + x (1 - T(x, W_T))                  (3)  with C = 1 - T, as in all experiments

    H(x, W_H) = f(x W_H + b_H),  f = ReLU or tanh                (a)  or x * W_H + b_H, a convolution
    T(x, W_T) = sigma(x W_T + b_T)                               (b)  or x * W_T + b_T

So y lies between x and H(x), element by element.  Where T = 0, y = x and dy/dx = I; where T = 1 the layer is plain,
with dy/dx = H'(x).  In between

    dy/dx = diag(1 - T) + diag(T) H'(x) + diag((H - x) T (1 - T)) W_T^T          (c)

and the gradient has a path through any number of layers.  b_T starts negative (section 2.2), so that a deep network
starts near the identity, with 1 - T = sigma(-b_T): 0.73 at -1, 0.88 at -2, 0.95 at -3.

Vectors are rows here, so the matrices stand on the right.  The letters are this file's.

Deviations from the paper: none known.  What it leaves open ("various zero-mean distributions"): W_H is drawn He-normal
where f is ReLU, else Glorot-uniform, and W_T Glorot-uniform.
"""

import math
from collections.abc import Callable
from numbers import Integral, Real
from typing import Any, Literal

from jaxtyping import Inexact

from minattn.attention.kernels import highway as kernels
from minattn.autograd import Tensor, op, ops
from minattn.errors import ConfigError, ShapeError
from minattn.nn import Module, initializers
from minattn.nn.initializers import Rng
from minattn.published import Mechanism, Paper

Activation = Literal["relu", "tanh"]

ACTIVATIONS: dict[str, Callable[[Any], Tensor]] = {"relu": ops.relu, "tanh": ops.tanh}

WEIGHTS_BEFORE = {"relu": initializers.he_normal, "tanh": initializers.glorot_uniform}
"""How the weights before an activation are drawn."""


def gated_equation(a_H: Any, a_T: Any, x: Any, activation: Activation = "relu") -> Any:
    """(y, T) of the sums a_H = x W_H + b_H and a_T = x W_T + b_T, all of the shape of x."""
    h = ACTIVATIONS[activation](a_H)  # (a)
    t = ops.sigmoid(a_T)  # (b)
    return h * t + x * (1 - t), t  # (3)


gated = op(kernels.gated, equation=gated_equation)


class Highway(Module):
    """A fully connected highway layer of `size` units, (3).

    W_H, W_T: (size, size); b_H: zero; b_T: `bias`.  Raises ConfigError for a size below 1 and for an activation that
    does not exist.
    """

    def __init__(self, size: int, rng: Rng, bias: float = -1.0, activation: Activation = "relu") -> None:
        check_layer(size, activation, bias)
        self.W_H = WEIGHTS_BEFORE[activation]((size, size), rng)
        self.b_H = initializers.zeros((size,))
        self.W_T = initializers.glorot_uniform((size, size), rng)
        self.b_T = initializers.constant((size,), bias)
        self.activation = activation

    def forward(
        self, x: Inexact[Tensor, "*batch size"]
    ) -> tuple[Inexact[Tensor, "*batch size"], Inexact[Tensor, "*batch size"]]:
        """Return (y, the transform gate T) of x.  Raises ShapeError for x of another size than the layer's."""
        size = self.b_H.shape[0]
        if x.ndim < 1 or x.shape[-1] != size:
            raise ShapeError(
                f"a highway layer of {size} units got x of shape {x.shape}, expected (.., {size}); hint: a plain "
                "layer before it, where the size changes"
            )
        return gated(ops.linear(x, self.W_H, self.b_H), ops.linear(x, self.W_T, self.b_T), x, self.activation)


class ConvHighway(Module):
    """A convolutional highway layer of maps with `channels` channels, (3): x W is a convolution that keeps their size.

    W_H, W_T: (channels, channels, kernel, kernel); b_H: zero; b_T: `bias`.  Raises ConfigError for no channels, for a
    kernel that is even or below 1, and for an activation that does not exist.
    """

    def __init__(
        self, channels: int, rng: Rng, kernel: int = 3, bias: float = -1.0, activation: Activation = "relu"
    ) -> None:
        check_layer(channels, activation, bias)
        if kernel < 1 or kernel % 2 == 0:
            raise ConfigError(
                f"a highway layer keeps the size of its maps, which no kernel of {kernel} does with zeros on both "
                "sides; hint: an odd kernel, such as 3"
            )
        shape = channels, channels, kernel, kernel
        self.W_H = WEIGHTS_BEFORE[activation](shape, rng)
        self.b_H = initializers.zeros((channels,))
        self.W_T = initializers.glorot_uniform(shape, rng)
        self.b_T = initializers.constant((channels,), bias)
        self.activation = activation

    def forward(
        self, x: Inexact[Tensor, "batch channels height width"]
    ) -> tuple[Inexact[Tensor, "batch channels height width"], Inexact[Tensor, "batch channels height width"]]:
        """Return (y, the transform gate T) of the maps x.

        Raises ShapeError for maps with another number of channels than the layer's.
        """
        channels, _, kernel, _ = self.W_H.shape
        if x.ndim != 4 or x.shape[1] != channels:
            raise ShapeError(
                f"a highway layer of {channels} channels got maps of shape {x.shape}, expected (batch, {channels}, "
                "height, width); hint: a plain convolution before it, where the number of channels changes"
            )
        padding = kernel // 2
        a_H = ops.conv2d(x, self.W_H, self.b_H, padding=padding)
        a_T = ops.conv2d(x, self.W_T, self.b_T, padding=padding)
        return gated(a_H, a_T, x, self.activation)


def check_layer(size: Any, activation: str, bias: Any) -> None:
    """Raise ConfigError unless a layer has at least one unit, ReLU or tanh, and a finite bias."""
    if not isinstance(size, Integral) or isinstance(size, bool) or size < 1:
        raise ConfigError(f"a highway layer has at least one unit, or channel, got {size!r}; hint: 1 or more")
    if activation not in ACTIVATIONS:
        raise ConfigError(f"the activation {activation!r} does not exist; hint: one of {', '.join(ACTIVATIONS)}")
    if not isinstance(bias, Real) or not math.isfinite(bias):
        raise ConfigError(f"the gates' bias b_T is a finite number, got {bias!r}; hint: a negative one, such as -1")


PAPER = Paper("Srivastava, Greff & Schmidhuber", 2015, "Training very deep networks")
MECHANISM = Mechanism(
    name="highway layer",
    paper=PAPER,
    equation="(3) y = H(x, W_H) T(x, W_T) + x (1 - T(x, W_T)); section 2.2: T = sigma(W_T x + b_T), b_T < 0",
    code="Highway",
    model="minattn.models.ThinHighway",
    command="minattn train images --model highway20",
    experiment="experiments/highway_depth.py",
)
CONVOLUTION = Mechanism(
    name="convolutional highway layer",
    paper=PAPER,
    equation="(3) y = H(x, W_H) T(x, W_T) + x (1 - T(x, W_T)); section 2.2: T = sigma(x * W_T + b_T), a convolution",
    code="ConvHighway",
    model="minattn.models.CifarHighway",
    command="minattn train images --model highway_cifar10",
)
