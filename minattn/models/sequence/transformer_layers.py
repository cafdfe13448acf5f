"""The layers of the Transformer, which language models and BERT are made of too.

A. Vaswani et al., "Attention is all you need", NIPS 2017; d is d_model.

Embeddings (3.4):        sqrt(d) E[words] going in, and the logits x E^T coming out
Sub-layers (3.1, 5.4):   x <- LayerNorm(x + Dropout(Sublayer(x)))
Encoder layer (3.1):     multi-head self-attention, then a feed-forward network
Decoder layer (3.1):     causal self-attention, attention over the encoder's output, then a feed-forward network
Feed-forward (3.3):      FFN(x) = max(0, x W_1 + b_1) W_2 + b_2                                                (2)

Deviations from the paper: `norm="pre"`, `biases=True`, and with `activation` another function for max(0, .); what the
paper leaves open is as `transformer.py` says.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Inexact, Integer

from minattn.attention.self_attention import KeyValues, LearnedPositions, MultiHeadAttention, SinusoidalPositions
from minattn.autograd import Array, Tensor, ops
from minattn.autograd.backend import like
from minattn.errors import ConfigError, ShapeError
from minattn.nn import Dropout, Embedding, LayerNorm, Module
from minattn.nn import initializers as init
from minattn.nn.initializers import Rng

Norm = Literal["post", "pre"]
Positions = Literal["sinusoidal", "learned"]
Activation = Literal["relu", "gelu", "gelu_tanh"]

ACTIVATIONS: dict[str, Callable[[Any], Any]] = {"relu": ops.relu, "gelu": ops.gelu, "gelu_tanh": ops.gelu_tanh}


# ---------------------------------------------------------------------------------------------- settings
def check_network(config: Any) -> None:
    """Raise ConfigError unless the heads, dropout, the layer norm's eps and sinusoidal positions are possible."""
    if not 0 <= config.dropout < 1:
        raise ConfigError(f"dropout must be in [0, 1), got {config.dropout}")
    if config.layer_norm_eps <= 0:
        raise ConfigError(f"layer_norm_eps must be positive, got {config.layer_norm_eps}")
    if config.positions == "sinusoidal" and config.d_model % 2:
        raise ConfigError(
            f"sinusoidal positions need an even d_model, got {config.d_model}; hint: an even one, or "
            'positions="learned"'
        )
    if config.d_model % config.heads and None in (getattr(config, "d_k", None), getattr(config, "d_v", None)):
        raise ConfigError(f"heads must divide d_model = {config.d_model}, got {config.heads}")


# ---------------------------------------------------------------------------------------------- embeddings
class WordEmbedding(Embedding):
    """Section 3.4: sqrt(d) E[words] going in, and the logits x E^T coming out."""

    def __init__(self, words: int, d_model: int, rng: Rng) -> None:
        super().__init__(words, d_model, rng, std=d_model**-0.5)

    def forward(self, ids: Integer[Array, "batch n"]) -> Inexact[Tensor, "batch n d_model"]:
        check_ids(ids)
        return ops.embedding(self.weight, ids) * math.sqrt(self.weight.shape[1])

    def scores(self, x: Inexact[Tensor, "batch n d_model"]) -> Inexact[Tensor, "batch n words"]:
        return ops.linear(x, self.weight.T)


def make_positions(config: Any, rng: Rng) -> Module:
    """Section 3.5: what is added to the embeddings, by `positions`, `max_length` and `d_model`."""
    if config.positions == "sinusoidal":
        return SinusoidalPositions()
    return LearnedPositions(config.max_length, config.d_model, rng, std=math.sqrt(0.5))


# ---------------------------------------------------------------------------------------------- layers
class FeedForward(Module):
    """(2): FFN(x) = max(0, x W_1 + b_1) W_2 + b_2, at each position alike.

    activation: what stands for max(0, .); "gelu" is the exact one, of BERT, "gelu_tanh" its approximation, of GPT-2.
    """

    def __init__(self, d_model: int, d_ff: int, rng: Rng, activation: Activation = "relu") -> None:
        self.activation = activation
        self.W_1 = init.glorot_uniform((d_model, d_ff), rng)
        self.b_1 = init.zeros((d_ff,))
        self.W_2 = init.glorot_uniform((d_ff, d_model), rng)
        self.b_2 = init.zeros((d_model,))

    def forward(self, x: Inexact[Tensor, "*batch d_model"]) -> Inexact[Tensor, "*batch d_model"]:
        hidden = ACTIVATIONS[self.activation](ops.linear(x, self.W_1, self.b_1))
        return ops.linear(hidden, self.W_2, self.b_2)  # (2)


class Residual(Module):
    """What goes round each sub-layer: dropout, the residual connection, and layer norm after it or before."""

    def __init__(self, dropout: float, norm: Norm, rng: Rng) -> None:
        self.dropout = Dropout(dropout, rng)
        self.norm_first = norm == "pre"

    def before(self, x: Inexact[Tensor, "batch n d_model"], norm: LayerNorm) -> Inexact[Tensor, "batch n d_model"]:
        """What the sub-layer sees."""
        return norm(x) if self.norm_first else x

    def after(
        self, x: Inexact[Tensor, "batch n d_model"], given: Inexact[Tensor, "batch n d_model"], norm: LayerNorm
    ) -> Inexact[Tensor, "batch n d_model"]:
        """x + Dropout(given) for what the sub-layer gave; with layer norm unless that came first."""
        total = x + self.dropout(given)
        return total if self.norm_first else norm(total)


def attend_to_past(
    attention: MultiHeadAttention, x: Inexact[Tensor, "batch n d_model"], past: KeyValues | None
) -> tuple[Inexact[Tensor, "batch n d_model"], KeyValues]:
    """Causal self-attention of new positions over those before them and themselves: (context, what the next need)."""
    new = attention.keys_values(x)
    memory = new if past is None else past.append(new)
    context, _ = attention.attend(attention.queries(x), memory, causal=True, weights=False)
    return context, memory


class EncoderLayer(Residual):
    """Self-attention and a feed-forward network (3.1).  With causal=True it is a layer of a language model."""

    def __init__(
        self,
        d_model: int,
        heads: int,
        d_ff: int,
        rng: Rng,
        *,
        d_k: int | None = None,
        d_v: int | None = None,
        dropout: float = 0.0,
        norm: Norm = "post",
        biases: bool = False,
        activation: Activation = "relu",
        eps: float = 1e-6,
    ) -> None:
        super().__init__(dropout, norm, rng)
        self.attention = MultiHeadAttention(d_model, heads, rng, d_k, d_v, biases)
        self.feed_forward = FeedForward(d_model, d_ff, rng, activation)
        self.norm_1, self.norm_2 = LayerNorm(d_model, eps), LayerNorm(d_model, eps)

    def forward(
        self,
        x: Inexact[Tensor, "batch n d_model"],
        mask: Bool[Array, "#batch #n n"] | None = None,
        causal: bool = False,
        weights: bool = False,
    ) -> tuple[Inexact[Tensor, "batch n d_model"], Inexact[Tensor, "batch heads n n"] | None]:
        """(x, weights of every head); weights=False: (x, None), in less time.  mask: True = may attend."""
        context, alignment = self.attention(self.before(x, self.norm_1), mask=mask, causal=causal, weights=weights)
        return self._finish(x, context), alignment

    def step(
        self, x: Inexact[Tensor, "batch n d_model"], memory: KeyValues | None = None
    ) -> tuple[Inexact[Tensor, "batch n d_model"], KeyValues]:
        """The causal layer for new positions, which follow those in `memory`: (x, memory with the new ones)."""
        context, memory = attend_to_past(self.attention, self.before(x, self.norm_1), memory)
        return self._finish(x, context), memory

    def _finish(self, x: Tensor, context: Tensor) -> Tensor:
        x = self.after(x, context, self.norm_1)
        return self.after(x, self.feed_forward(self.before(x, self.norm_2)), self.norm_2)


class DecoderLayer(Residual):
    """Causal self-attention, attention over the encoder's output and a feed-forward network (3.1)."""

    def __init__(
        self,
        d_model: int,
        heads: int,
        d_ff: int,
        rng: Rng,
        *,
        d_k: int | None = None,
        d_v: int | None = None,
        dropout: float = 0.0,
        norm: Norm = "post",
        biases: bool = False,
        activation: Activation = "relu",
        eps: float = 1e-6,
    ) -> None:
        super().__init__(dropout, norm, rng)
        self.self_attention = MultiHeadAttention(d_model, heads, rng, d_k, d_v, biases)
        self.attention = MultiHeadAttention(d_model, heads, rng, d_k, d_v, biases)
        self.feed_forward = FeedForward(d_model, d_ff, rng, activation)
        self.norm_1, self.norm_2, self.norm_3 = (LayerNorm(d_model, eps) for _ in range(3))

    def forward(
        self,
        x: Inexact[Tensor, "batch n d_model"],
        source: KeyValues,
        mask: Bool[Array, "#batch #n source"] | None = None,
        weights: bool = False,
    ) -> tuple[
        Inexact[Tensor, "batch n d_model"],
        Inexact[Tensor, "batch heads n n"] | None,
        Inexact[Tensor, "batch heads n source"] | None,
    ]:
        """(x, weights of self-attention, weights over the source); weights=False: (x, None, None), in less time.

        source: `attention.keys_values` of the encoder's output; mask: which of it may be attended to.
        """
        y = self.before(x, self.norm_1)
        context, own = self.self_attention(y, causal=True, weights=weights)  # 3.2.3
        x, across = self._finish(x, context, source, mask, weights)
        return x, own, across

    def step(
        self,
        x: Inexact[Tensor, "batch n d_model"],
        memory: KeyValues | None,
        source: KeyValues,
        mask: Bool[Array, "#batch #n source"] | None = None,
        weights: bool = False,
    ) -> tuple[Inexact[Tensor, "batch n d_model"], KeyValues, Inexact[Tensor, "batch heads n source"] | None]:
        """The layer for new positions, which follow those in `memory`: (x, memory with the new ones, weights)."""
        context, memory = attend_to_past(self.self_attention, self.before(x, self.norm_1), memory)
        x, across = self._finish(x, context, source, mask, weights)
        return x, memory, across

    def _finish(
        self, x: Tensor, context: Tensor, source: KeyValues, mask: Array | None, weights: bool
    ) -> tuple[Tensor, Tensor | None]:
        x = self.after(x, context, self.norm_1)
        queries = self.attention.queries(self.before(x, self.norm_2))
        context, across = self.attention.attend(queries, source, mask, weights=weights)  # 3.2.3
        x = self.after(x, context, self.norm_2)
        return self.after(x, self.feed_forward(self.before(x, self.norm_3)), self.norm_3), across


# ---------------------------------------------------------------------------------------------- decoding
@dataclass(frozen=True)
class Cache:
    """The decoder's state: the keys and values of every position so far, for each layer; None before the first."""

    layers: tuple[KeyValues | None, ...]

    @property
    def length(self) -> int:
        """How many positions there are."""
        first = self.layers[0]
        return 0 if first is None else first.keys.shape[2]

    def __getitem__(self, rows: Array) -> "Cache":
        """The state of the sequences with these row numbers; one may come several times."""
        return Cache(tuple(None if layer is None else layer.select(rows) for layer in self.layers))


# ---------------------------------------------------------------------------------------------- ids, padding
def check_ids(ids: Array) -> None:
    """Raise ShapeError unless ids are (batch, n) with n of 1 at least."""
    if ids.ndim != 2 or not ids.shape[1]:
        raise ShapeError(f"ids must be (batch, n), n at least 1, got {ids.shape}; hint for one text: ids[None]")


def padding_mask(
    mask: Array | None, ids: Array, x: Inexact[Tensor, "batch n d_model"]
) -> Bool[Array, "batch 1 n"] | None:
    """The mask (batch, n), True = a real position, for every query and on x's device; None where it is known that
    nothing is padding."""
    if mask is None:
        return None
    if mask.dtype != bool or mask.shape != ids.shape:
        raise ShapeError(
            f"the mask must be boolean and have the shape of the ids, {ids.shape}, True = a real position; got "
            f"{mask.dtype} {mask.shape}"
        )
    if isinstance(mask, np.ndarray) and mask.all():  # on a GPU, looking would mean waiting for it
        return None
    return like(mask, x.data)[:, None, :]
