"""Basic layers: linear, embedding, dropout, layer norm, maxout."""

import functools
from typing import Any

from jaxtyping import Inexact, Integer

from minattn.autograd import Array, Tensor, op, ops, xp
from minattn.autograd.engine import Result
from minattn.errors import ConfigError, ShapeError
from minattn.nn import initializers
from minattn.nn.initializers import Rng
from minattn.nn.module import Module


class Linear(Module):
    """y = x W + b.  weight: (inputs, outputs), drawn Glorot-uniform; bias: (outputs), zero, or None."""

    def __init__(self, inputs: int, outputs: int, rng: Rng, bias: bool = True) -> None:
        self.weight = initializers.glorot_uniform((inputs, outputs), rng)
        self.bias = initializers.zeros((outputs,)) if bias else None

    def forward(self, x: Inexact[Tensor, "*batch inputs"]) -> Inexact[Tensor, "*batch outputs"]:
        return ops.linear(x, self.weight, self.bias)


class Embedding(Module):
    """Row i of weight (count, size) for id i; drawn from N(0, std^2)."""

    def __init__(self, count: int, size: int, rng: Rng, std: float = 0.01) -> None:
        self.weight = initializers.normal((count, size), rng, std)

    def forward(self, ids: Integer[Array, "*batch"]) -> Inexact[Tensor, "*batch size"]:
        return ops.embedding(self.weight, ids)


class Dropout(Module):
    """In training, sets each element to 0 with probability `rate` and divides the others by 1 - rate.

    Draws from the generator it is given, which a checkpoint must hold for a run to be resumed exactly.
    """

    def __init__(self, rate: float, rng: Rng) -> None:
        if not 0 <= rate < 1:
            raise ConfigError(f"the dropout rate must be in [0, 1), got {rate}")
        self.rate = rate
        self.rng = rng

    def forward(self, x: Inexact[Tensor, "*shape"]) -> Inexact[Tensor, "*shape"]:
        return ops.dropout(x, self.rate, self.rng) if self.training and self.rate > 0 else x


class LayerNorm(Module):
    """(x - mean) / sqrt(var + eps) * weight + bias over the last axis of length `size`, or the last axes of lengths
    `size`.  Ba et al. 2016, eq. 4."""

    def __init__(self, size: int | tuple[int, ...], eps: float = 1e-5) -> None:
        shape = size if isinstance(size, tuple) else (size,)
        self.weight = initializers.ones(shape)
        self.bias = initializers.zeros(shape)
        self.eps = eps

    def forward(self, x: Inexact[Tensor, "*shape"]) -> Inexact[Tensor, "*shape"]:
        return ops.layer_norm(x, self.weight, self.bias, self.eps)


class RMSNorm(Module):
    """x / sqrt(mean(x^2) + eps) * weight over the last axis of length `size`, or the last axes of lengths `size`.

    B. Zhang and R. Sennrich, "Root mean square layer normalization", NeurIPS 2019, section 4; they have no eps.
    """

    def __init__(self, size: int | tuple[int, ...], eps: float = 1e-5) -> None:
        self.weight = initializers.ones(size if isinstance(size, tuple) else (size,))
        self.eps = eps

    def forward(self, x: Inexact[Tensor, "*shape"]) -> Inexact[Tensor, "*shape"]:
        return ops.rms_norm(x, self.weight, self.eps)


def maxout_equation(x: Any, pieces: int = 2) -> Any:
    """t_j = max over the `pieces` neighbors x_{pieces (j-1) + 1} .. x_{pieces j}."""
    return ops.max(ops.reshape(x, (*x.shape[:-1], x.shape[-1] // pieces, pieces)), axis=-1)


@op(equation=maxout_equation)
def maxout(x: Array, /, pieces: int = 2) -> Result:
    """The largest of each group of `pieces` neighbors on the last axis: (.., d) -> (.., d / pieces).

    t_j = max(x_{2j-1}, x_{2j}) for pieces = 2 in Bahdanau et al. 2015, appendix A.2.2.  Goodfellow et al. 2013.
    Equal members of a group share the gradient.
    """
    if x.shape[-1] % pieces:
        raise ShapeError(f"{x.shape[-1]} features do not make groups of {pieces}")
    members = [x[..., i::pieces] for i in range(pieces)]
    y = functools.reduce(xp(x).maximum, members)  # much faster than a reduction over a short last axis
    winners = [member.real == y.real for member in members]

    def pullback(g: Array) -> Array:
        count = functools.reduce(lambda a, b: a + b, [w.astype(g.real.dtype) for w in winners])
        share = g / count
        d_x = xp(g).empty(x.shape, g.dtype)
        for i, winner in enumerate(winners):
            d_x[..., i::pieces] = share * winner
        return d_x

    return y, pullback


class Maxout(Module):
    """The largest of `pieces` linear maps of x, unit by unit.  Goodfellow et al. 2013."""

    def __init__(self, inputs: int, outputs: int, rng: Rng, pieces: int = 2, bias: bool = True) -> None:
        self.linear = Linear(inputs, outputs * pieces, rng, bias)
        self.pieces = pieces

    def forward(self, x: Inexact[Tensor, "*batch inputs"]) -> Inexact[Tensor, "*batch outputs"]:
        return maxout(self.linear(x), self.pieces)
