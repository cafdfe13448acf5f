"""Attention-augmented convolution: some of a layer's feature maps come from a convolution, the others from attention.

I. Bello, B. Zoph, A. Vaswani, J. Shlens and Q. V. Le, "Attention augmented convolutional networks", ICCV 2019,
sections 3.1 and 3.2.  The H W positions of an image are a sequence X (HW, F_in), and each attends to all:

    O_h = softmax((X W_q)(X W_k)^T / sqrt(d_k^h)) (X W_v)                                       (a)  a head
    MHA(X) = Concat(O_1, .., O_Nh) W^O                                                          (b)
    l_ij = q_i^T / sqrt(d_k^h) (k_j + r^W_{jx - ix} + r^H_{jy - iy})                            (c)  relative logits
    O_h = softmax((Q K^T + S^rel_H + S^rel_W) / sqrt(d_k^h)) V                                  (d)
          S^rel_H[i, j] = q_i^T r^H_{jy - iy},  S^rel_W[i, j] = q_i^T r^W_{jx - ix}
    AAConv(X) = Concat(Conv(X), MHA(X))                                                         (e)  section 3.2

All N_h heads together have keys of depth d_k and values of depth d_v, d_k^h = d_k / N_h each; the convolution has the
other F_out - d_v filters.  The embeddings r^W of the 2W - 1 distances along a row and r^H of the 2H - 1 along a column
are shared by the heads, not by the layers.  S^rel_W of all positions is one product with r^W (2W - 1, d_k^h), which has
the distances -W + 1 to W - 1 in its columns, and then a shift of row i by i, `relative_to_absolute`; so no embedding of
a pair of positions is ever made.  The other position encodings, which they compare (c) with, are part of X: sines of
the row and of the column added to it, or two more channels with the coordinates ("CoordConv").

The letters are this file's.

Deviations from the paper: none known.  What it leaves open: with a stride, what attends is X after a 3x3 average pool
of that stride; a sine's channels are half of them the row's, half the column's; coordinates go from -1 to 1.
Projections have no biases and are drawn Glorot-uniform, r^H and r^W from N(0, 1 / d_k^h).
"""

from typing import Literal

import numpy as np
from jaxtyping import Inexact, Num

from minattn.attention.self_attention.modified_attention import modified_attention
from minattn.attention.self_attention.positions import sinusoidal_positions
from minattn.autograd import Tensor, ops
from minattn.autograd.backend import like
from minattn.errors import ConfigError, ShapeError
from minattn.nn import Conv2d, Module, initializers
from minattn.nn.initializers import Rng
from minattn.published import Mechanism, Paper

Positions = Literal["none", "sinusoidal", "coordinates", "relative"]
POSITIONS = ("none", "sinusoidal", "coordinates", "relative")


# ---------------------------------------------------------------------------------------------- relative logits
def relative_to_absolute(
    by_distance: Inexact[Tensor, "*batch length distances"],
) -> Inexact[Tensor, "*batch length length"]:
    """Return y[i, j] = x[i, j - i + L - 1] of x (.., L, 2L - 1): from an index by distance, -L + 1 to L - 1,
    to one by position.

    With a column of zeros more, x has rows of 2L numbers; read in rows of 2L - 1, its row i is shifted by i.
    Raises ShapeError where the distances are not 2L - 1.
    """
    *batch, length, distances = by_distance.shape
    if length < 1 or distances != 2 * length - 1:
        raise ShapeError(
            f"logits by distance are (.., L, 2L - 1), got {by_distance.shape}; hint: embeddings of {2 * length - 1} "
            f"distances for {length} positions"
        )
    column = [(0, 0)] * len(batch) + [(0, 0), (0, 1)]
    flat = ops.reshape(ops.pad(by_distance, column), (*batch, length * 2 * length))
    flat = ops.pad(flat, [(0, 0)] * len(batch) + [(0, length - 1)])
    return ops.reshape(flat, (*batch, length + 1, distances))[..., :length, length - 1 :]


def relative_logits(
    q: Inexact[Tensor, "batch heads height width d"],
    r_H: Inexact[Tensor, "vertical d"],
    r_W: Inexact[Tensor, "horizontal d"],
) -> Inexact[Tensor, "batch heads positions positions"]:
    """Return S^rel_H + S^rel_W of (d) for all H W positions.  r_H: (2H - 1, d), r_W: (2W - 1, d)."""
    batch, heads, height, width, _ = q.shape
    s_W = relative_to_absolute(q @ ops.swapaxes(r_W, 0, 1))  # [.., iy, ix, jx]
    s_H = relative_to_absolute(ops.swapaxes(q, 2, 3) @ ops.swapaxes(r_H, 0, 1))  # [.., ix, iy, jy]
    s_H = ops.swapaxes(s_H, 2, 3)  # [.., iy, ix, jy]
    logits = ops.expand_dims(s_H, -1) + ops.expand_dims(s_W, -2)  # [.., iy, ix, jy, jx]
    return ops.reshape(logits, (batch, heads, height * width, height * width))


# ---------------------------------------------------------------------------------------------- positions in X
def with_sinusoids(x: Num[Tensor, "batch height width channels"]) -> Num[Tensor, "batch height width channels"]:
    """Return X plus the sines of the row in the first half of the channels and of the column in the second half."""
    _, height, width, channels = x.shape
    rows = np.broadcast_to(sinusoidal_positions(height, channels // 2)[:, None], (height, width, channels // 2))
    columns = np.broadcast_to(sinusoidal_positions(width, channels // 2), rows.shape)
    return x + like(np.concatenate([rows, columns], axis=-1).astype(real_dtype(x)), x.data)


def with_coordinates(x: Num[Tensor, "batch height width channels"]) -> Num[Tensor, "batch height width more"]:
    """Return X with two more channels: the row and the column, from -1 to 1."""
    batch, height, width, _ = x.shape
    grid = np.stack(np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij"), axis=-1)
    grid = np.broadcast_to(grid.astype(real_dtype(x)), (batch, height, width, 2))
    return ops.concat([x, like(grid, x.data)], axis=-1)


def real_dtype(x: Tensor) -> np.dtype:
    """The dtype of positions beside x: float32 where x has integers."""
    return x.data.real.dtype if x.data.dtype.kind in "fc" else np.dtype(np.float32)


# ---------------------------------------------------------------------------------------------- attention
class ImageAttention(Module):
    """Multi-head self-attention over the positions of an image, (a) to (d).

    d_k, d_v: sizes of the keys and of the values of all heads together, multiples of `heads`.  sides: height and
    width of the feature maps, for which positions="relative" has embeddings; other positions take any size.
    W_q, W_k: (F_in, d_k); W_v: (F_in, d_v); W_O: (d_v, d_v); r_H: (2H - 1, d_k / heads); r_W: (2W - 1, d_k / heads).
    """

    def __init__(
        self,
        inputs: int,
        rng: Rng,
        *,
        d_k: int,
        d_v: int,
        heads: int,
        sides: tuple[int, int] | None = None,
        positions: Positions = "relative",
    ) -> None:
        check_positions(positions)
        if min(inputs, d_k, d_v, heads) < 1 or d_k % heads or d_v % heads:
            raise ConfigError(
                f"heads share their keys and values, got {heads} heads for d_k = {d_k} and d_v = {d_v} of {inputs} "
                f"channels; hint: multiples of {max(heads, 1)}, at least one of each"
            )
        if positions == "sinusoidal" and inputs % 4:
            raise ConfigError(
                f"sines and cosines of rows and columns are four to a group, got {inputs} channels; hint: a "
                "multiple of 4"
            )
        if positions == "relative" and (np.shape(sides) != (2,) or min(sides) < 1):
            raise ConfigError(
                f"relative positions need the height and width of the feature maps, got {sides}; hint: "
                "sides=(8, 8) for 8 x 8"
            )
        channels = inputs + 2 if positions == "coordinates" else inputs
        self.heads, self.positions, self.sides = heads, positions, sides
        self.W_q = initializers.glorot_uniform((channels, d_k), rng)
        self.W_k = initializers.glorot_uniform((channels, d_k), rng)
        self.W_v = initializers.glorot_uniform((channels, d_v), rng)
        self.W_O = initializers.glorot_uniform((d_v, d_v), rng)
        self.r_H = self.r_W = None
        if positions == "relative":
            size = d_k // heads
            self.r_H, self.r_W = (initializers.normal((2 * n - 1, size), rng, size**-0.5) for n in sides)

    def forward(
        self, maps: Inexact[Tensor, "batch inputs height width"], need_weights: bool = True
    ) -> tuple[
        Inexact[Tensor, "batch d_v height width"], Inexact[Tensor, "batch heads height width height width"] | None
    ]:
        """Return (MHA(X) as feature maps, the weights of every head), [.., iy, ix, jy, jx] those of query i for key j.

        need_weights=False: (the feature maps, None).  Raises ShapeError for another size than `sides`, where positions
        are relative, and where there is no position.
        """
        batch, _, height, width = maps.shape
        if self.positions == "relative" and (height, width) != tuple(self.sides):
            raise ShapeError(
                f"attention with relative positions got feature maps of {height} x {width}, expected {self.sides[0]} x "
                f"{self.sides[1]}, for which it was built; hint: images of that size, or other positions"
            )
        if height * width == 0:
            raise ShapeError(f"attention got feature maps without a position, {maps.shape}; hint: larger images")
        x = ops.moveaxis(maps, 1, -1)
        if self.positions == "sinusoidal":
            x = with_sinusoids(x)
        elif self.positions == "coordinates":
            x = with_coordinates(x)
        q, k, v = (self._split(ops.linear(x, W)) for W in (self.W_q, self.W_k, self.W_v))
        bias = None
        if self.positions == "relative":
            by_position = ops.reshape(q, (batch, self.heads, height, width, q.shape[-1]))
            bias = relative_logits(by_position, self.r_H, self.r_W) / q.shape[-1] ** 0.5
        heads, weights = modified_attention(q, k, v, need_weights=need_weights, bias=bias)  # (a) (d)
        concat = ops.reshape(ops.swapaxes(heads, 1, 2), (batch, height, width, self.W_O.shape[0]))
        if weights is not None:
            weights = ops.reshape(weights, (batch, self.heads, height, width, height, width))
        return ops.moveaxis(ops.linear(concat, self.W_O), -1, 1), weights  # (b)

    def _split(self, x: Inexact[Tensor, "batch height width all"]) -> Inexact[Tensor, "batch heads positions d"]:
        batch, height, width, size = x.shape
        return ops.swapaxes(ops.reshape(x, (batch, height * width, self.heads, size // self.heads)), 1, 2)


class AugmentedConvolution(Module):
    """AAConv, (e): `outputs` feature maps, of which the last d_v come from attention.

    kernel: of the convolution, an odd number, padded so that it keeps height and width; no bias.  d_v = `outputs`
    is attention alone, d_v = 0 the convolution alone.  sides: height and width of the output, after the stride.
    d_k, heads, positions: as in `ImageAttention`.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        rng: Rng,
        *,
        d_k: int,
        d_v: int,
        heads: int,
        sides: tuple[int, int] | None = None,
        positions: Positions = "relative",
        stride: int = 1,
    ) -> None:
        check_positions(positions)
        if kernel < 1 or kernel % 2 == 0:
            raise ConfigError(
                f"an augmented convolution keeps the size of its input, got a kernel of {kernel}; hint: 3"
            )
        if outputs < 1 or not 0 <= d_v <= outputs:
            raise ConfigError(
                f"attention gives 0 to {outputs} of {outputs} feature maps, got d_v = {d_v}; hint: one between"
            )
        self.stride = stride
        self.conv = self.attention = None
        if d_v < outputs:
            self.conv = Conv2d(inputs, outputs - d_v, kernel, rng, stride=stride, padding=kernel // 2, bias=False)
        if d_v > 0:
            self.attention = ImageAttention(
                inputs, rng, d_k=d_k, d_v=d_v, heads=heads, sides=sides, positions=positions
            )

    def forward(
        self, x: Inexact[Tensor, "batch inputs height width"], need_weights: bool = True
    ) -> tuple[
        Inexact[Tensor, "batch outputs new_height new_width"],
        Inexact[Tensor, "batch heads new_height new_width new_height new_width"] | None,
    ]:
        """Return (the feature maps, first those of the convolution, then those of attention; the weights).

        The weights are None with need_weights=False, and where there is no attention.
        """
        if self.attention is None:
            return self.conv(x), None
        pooled = x if self.stride == 1 else ops.average_pool2d(x, 3, self.stride, 1, count_padding=False)
        attended, weights = self.attention(pooled, need_weights)
        if self.conv is None:
            return attended, weights
        return ops.concat([self.conv(x), attended], axis=1), weights  # (e)


def check_positions(positions: str) -> None:
    """Raise ConfigError unless there are positions of that kind."""
    if positions not in POSITIONS:
        raise ConfigError(f"positions={positions!r} do not exist; hint: one of {', '.join(POSITIONS)}")


MECHANISM = Mechanism(
    name="attention-augmented convolution",
    paper=Paper("Bello et al.", 2019, "Attention augmented convolutional networks"),
    equation=(
        "section 3.1: O_h = softmax((Q K' + S^rel_H + S^rel_W) / sqrt(d_k^h)) V, MHA = Concat(O_1 .. O_Nh) W^O; "
        "section 3.2: AAConv(X) = Concat(Conv(X), MHA(X))"
    ),
    code="AugmentedConvolution",
    model="minattn.models.AugmentedResNet",
    command="minattn train images --data fashion-mnist --model aa_resnet20",
    experiment="experiments/augmented_convolution.py",
)
