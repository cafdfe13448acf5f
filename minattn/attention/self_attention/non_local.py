"""Non-local blocks: the response at a position of an image or a video is a weighted mean over all positions.

X. Wang, R. Girshick, A. Gupta and K. He, "Non-local neural networks", CVPR 2018, section 3.  x_i, with C
channels, is the vector at position i of N, which are H x W or T x H x W; W_g, W_theta and W_phi are 1x1 convolutions to
C_i = C / 2 channels, and W_z is one from there to C:

    y_i = 1 / C(x) sum_j f(x_i, x_j) g(x_j),   g(x_j) = W_g x_j                                 (1)
    f(x_i, x_j) = exp(x_i^T x_j),                          C(x) = sum_j f(x_i, x_j)             (2)  Gaussian
    f(x_i, x_j) = exp(theta(x_i)^T phi(x_j)),              C(x) = sum_j f(x_i, x_j)             (3)  embedded Gaussian
    f(x_i, x_j) = theta(x_i)^T phi(x_j),                   C(x) = N                             (4)  dot product
    f(x_i, x_j) = ReLU(w_f^T [theta(x_i), phi(x_j)]),      C(x) = N                             (5)  concatenation
    z_i = W_z y_i + x_i                                                                         (6)

Batch normalization follows W_z, and its weight gamma starts at 0: a new block is the identity, and can be inserted into
a trained network.  (2) and (3) are softmax attention without 1 / sqrt(C_i).  Sub-sampling (section 3.3) max-pools 2 x 2
positions of each frame after phi and g, which leaves a quarter of the pairs; N in C(x) is then the number of positions
after pooling.  In a video a position may attend to all positions, to those of its frame, or to itself in all frames
(table 2d).

With need_weights=False (4) is computed as theta (phi^T g / N), with C_i x C_i numbers in place of N x N, and the others
for one block of queries after another, so that without gradients no N x N matrix is in memory.

Deviations from the paper: the four convolutions have biases, as in the authors' code.  That code pools x before phi
and g, subsample="before", which is another function than the paper's "after", multiplies the
logits of (3) by 1 / sqrt(C_i), and draws weights from N(0, 0.01^2); here they are He-normal, as the paper says.
"""

import math
from typing import Literal

from jaxtyping import Inexact

from minattn.attention.self_attention.modified_attention import modified_attention
from minattn.autograd import Tensor, ops
from minattn.errors import ConfigError, ShapeError
from minattn.nn import BatchNorm2d, Module, Parameter, initializers
from minattn.nn.initializers import Rng
from minattn.published import Mechanism, Paper

Pair = Literal["gaussian", "embedded", "dot", "concatenation"]
PAIRS = ("gaussian", "embedded", "dot", "concatenation")
Subsample = Literal["none", "after", "before"]
SUBSAMPLES = ("none", "after", "before")
Extent = Literal["spacetime", "space", "time"]
EXTENTS = ("spacetime", "space", "time")
BLOCK = 256  # queries of (5) at a time


# ---------------------------------------------------------------------------------------------- pairwise functions
def gaussian(
    theta: Inexact[Tensor, "batch n d"],
    phi: Inexact[Tensor, "batch m d"],
    g: Inexact[Tensor, "batch m d_g"],
    need_weights: bool = True,
) -> tuple[Inexact[Tensor, "batch n d_g"], Inexact[Tensor, "batch n m"] | None]:
    """Return (y, f / C(x)) with f = exp(theta^T phi) and C(x) its sum over j, (2) and (3)."""
    return modified_attention(theta, phi, g, need_weights=need_weights, scale=1.0)


def dot_product(
    theta: Inexact[Tensor, "batch n d"],
    phi: Inexact[Tensor, "batch m d"],
    g: Inexact[Tensor, "batch m d_g"],
    need_weights: bool = True,
) -> tuple[Inexact[Tensor, "batch n d_g"], Inexact[Tensor, "batch n m"] | None]:
    """Return (y, f / C(x)) with f = theta^T phi and C(x) = N, (4)."""
    count = phi.shape[1]
    if not need_weights:
        return theta @ (ops.swapaxes(phi, 1, 2) @ g / count), None
    weights = theta @ ops.swapaxes(phi, 1, 2) / count
    return weights @ g, weights


def concatenation(
    from_i: Inexact[Tensor, "batch n 1"],
    from_j: Inexact[Tensor, "batch m 1"],
    g: Inexact[Tensor, "batch m d_g"],
    need_weights: bool = True,
) -> tuple[Inexact[Tensor, "batch n d_g"], Inexact[Tensor, "batch n m"] | None]:
    """Return (y, f / C(x)) with f = ReLU(w_f^T [theta_i, phi_j]) and C(x) = N, (5).

    w_f^T [theta_i, phi_j] is the sum of from_i, what half of w_f makes of theta, and from_j, the other half of phi.
    """
    count, n = g.shape[1], from_i.shape[1]
    from_j = ops.swapaxes(from_j, 1, 2)
    if not need_weights:
        rows = [ops.relu(from_i[:, i : i + BLOCK] + from_j) @ g / count for i in range(0, n, BLOCK)]
        return ops.concat(rows, axis=1), None
    weights = ops.relu(from_i + from_j) / count
    return weights @ g, weights


# ---------------------------------------------------------------------------------------------- the block
class NonLocalBlock(Module):
    """z = W_z y + x, (6), of feature maps with `channels` channels; the four convolutions and gamma.

    inner: C_i, half of the channels unless given.  pair: the pairwise function f, (2) to (5).  subsample: where 2 x 2
    positions are max-pooled, "after" phi and g, "before" them, or "none".  extent: what a position of a video attends
    to.  norm=False: without batch normalization; W_z starts at 0 instead.
    W_theta, W_phi, W_g: (C, C_i); W_z: (C_i, C); w_f: (2 C_i, 1); where f has them.
    """

    def __init__(
        self,
        channels: int,
        rng: Rng,
        *,
        inner: int | None = None,
        pair: Pair = "embedded",
        subsample: Subsample = "none",
        extent: Extent = "spacetime",
        norm: bool = True,
    ) -> None:
        choices = (("pair", pair, PAIRS), ("subsample", subsample, SUBSAMPLES), ("extent", extent, EXTENTS))
        for name, given, allowed in choices:
            if given not in allowed:
                raise ConfigError(f"{name}={given!r} does not exist; hint: one of {', '.join(allowed)}")
        inner = max(1, channels // 2) if inner is None else inner
        if min(channels, inner) < 1:
            raise ConfigError(f"a non-local block has channels, got {channels} and {inner} inside; hint: 1 or more")
        if extent == "time" and subsample != "none":
            raise ConfigError(
                "2 x 2 positions cannot be pooled where each attends to itself alone; hint: subsample='none'"
            )
        self.pair, self.subsample, self.extent = pair, subsample, extent
        embeds = pair != "gaussian"
        self.W_theta, self.b_theta = projection(channels, inner, rng) if embeds else (None, None)
        self.W_phi, self.b_phi = projection(channels, inner, rng) if embeds else (None, None)
        self.W_g, self.b_g = projection(channels, inner, rng)
        self.W_z, self.b_z = projection(inner, channels, rng)
        self.w_f = initializers.he_normal((2 * inner, 1), rng) if pair == "concatenation" else None
        self.norm = BatchNorm2d(channels) if norm else None
        start = self.norm.weight if norm else self.W_z
        start.replace_data(0 * start.data)

    def forward(
        self, x: Inexact[Tensor, "batch channels *positions"], need_weights: bool = True
    ) -> tuple[Inexact[Tensor, "batch channels *positions"], Inexact[Tensor, "several n m"] | None]:
        """Return (z, the weights f / C(x)) of feature maps (batch, C, H, W) or (batch, C, T, H, W).

        The weights are (batch, N, M), N positions in row-major order, M as many or, sub-sampled, a quarter, an odd last
        row or column being left out; with extent="space" those of a frame for (batch T), with "time" those of a
        position for (batch H W).  need_weights=False: (z, None).  Raises ShapeError for other axes, and for a single
        row or column to pool.
        """
        images = " or (batch, channels, height, width)" if self.extent == "spacetime" else ""
        if x.ndim not in ((4, 5) if images else (5,)) or 0 in x.shape[2:]:
            raise ShapeError(
                f"a non-local block over {self.extent} got feature maps of shape {x.shape}, expected (batch, channels, "
                f"frames, height, width){images}; hint: at least one position, and one frame"
            )
        batch, channels, *sides = x.shape
        apart = ops.moveaxis(x, 1, -1)  # channels last: (batch, .., height, width, C)
        if self.extent == "space":
            apart = ops.reshape(apart, (batch * sides[0], *sides[1:], channels))
        elif self.extent == "time":
            apart = ops.moveaxis(apart, 1, 3)
            apart = ops.reshape(apart, (batch * sides[1] * sides[2], 1, sides[0], channels))
        y, weights = self.response(apart, need_weights)
        z = ops.linear(y, self.W_z, self.b_z)
        if self.extent == "time":
            z = ops.moveaxis(ops.reshape(z, (batch, *sides[1:], sides[0], channels)), 3, 1)
        z = ops.reshape(z, (batch, math.prod(sides[:-1]), sides[-1], channels))
        z = ops.moveaxis(z, -1, 1)
        if self.norm is not None:
            z = self.norm(z)
        return ops.reshape(z, x.shape) + x, weights  # (6)

    def response(
        self, x: Inexact[Tensor, "batch *positions channels"], need_weights: bool
    ) -> tuple[Inexact[Tensor, "batch n inner"], Inexact[Tensor, "batch n m"] | None]:
        """Return (y, f / C(x)) of (1)."""
        pooled = max_pooled(x) if self.subsample == "before" else x
        phi = pooled if self.W_phi is None else ops.linear(pooled, self.W_phi, self.b_phi)
        g = ops.linear(pooled, self.W_g, self.b_g)
        if self.subsample == "after":
            phi, g = max_pooled(phi), max_pooled(g)
        theta = x if self.W_theta is None else ops.linear(x, self.W_theta, self.b_theta)
        theta, phi, g = (as_sequence(each) for each in (theta, phi, g))
        if self.pair == "dot":
            return dot_product(theta, phi, g, need_weights)
        if self.pair == "concatenation":
            inner = theta.shape[-1]
            return concatenation(theta @ self.w_f[:inner], phi @ self.w_f[inner:], g, need_weights)
        return gaussian(theta, phi, g, need_weights)


def projection(inputs: int, outputs: int, rng: Rng) -> tuple[Parameter, Parameter]:
    """The weight, He-normal, and the bias, 0, of a 1x1 convolution."""
    return initializers.he_normal((inputs, outputs), rng), initializers.zeros((outputs,))


def max_pooled(x: Inexact[Tensor, "batch *positions d"]) -> Inexact[Tensor, "batch *fewer d"]:
    """Max pooling of 2 x 2 positions of each frame."""
    return ops.moveaxis(ops.max_pool2d(ops.moveaxis(x, -1, 1), 2), 1, -1)


def as_sequence(x: Inexact[Tensor, "batch *positions d"]) -> Inexact[Tensor, "batch n d"]:
    """All positions on one axis."""
    return ops.reshape(x, (x.shape[0], math.prod(x.shape[1:-1]), x.shape[-1]))


MECHANISM = Mechanism(
    name="non-local block",
    paper=Paper("Wang et al.", 2018, "Non-local neural networks"),
    equation="(1) y_i = 1/C(x) sum_j f(x_i, x_j) g(x_j); (2)-(5) four pairwise functions f; (6) z_i = W_z y_i + x_i",
    code="NonLocalBlock",
    model="minattn.models.NonLocalResNet",
    command="minattn train images --data fashion-mnist --model nl_resnet20",
    experiment="experiments/non_local.py",
)
