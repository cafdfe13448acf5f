"""The layers of the Transformer, of language models and of BERT.

A. Vaswani et al., "Attention is all you need", NIPS 2017; d is d_model.

Embeddings (section 3.4):             sqrt(d) E[words] at the input, and the logits x E^T at the output
Sub-layers (sections 3.1, 5.4):       x <- LayerNorm(x + Dropout(Sublayer(x)))                                   (a)
Encoder layer (section 3.1):          multi-head self-attention, then a feed-forward network
Decoder layer (sections 3.1, 3.2.3):  causal self-attention, attention over the encoder's output, a feed-forward network
Feed-forward network (section 3.3):   FFN(x) = max(0, x W_1 + b_1) W_2 + b_2                                     (2)

Deviations from the paper:
* `norm="pre"` puts layer norm first:  x <- x + Dropout(Sublayer(LayerNorm(x)))                                (b)
* `biases=True` gives the projections of attention biases, and `activation` another function in place of max(0, .).
What the paper leaves open is as `transformer.py` has it.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from jaxtyping import Bool, Inexact, Integer

from minattn.attention.self_attention import (
    KeyValues,
    LearnedPositions,
    MultiHeadAttention,
    RotaryPositions,
    SinusoidalPositions,
)
from minattn.autograd import Array, Tensor, ops
from minattn.errors import ConfigError, ShapeError
from minattn.nn import Dropout, Embedding, LayerNorm, Module, initializers
from minattn.nn.attention_paths import Attention
from minattn.nn.initializers import Rng
from minattn.nn.masks import padding_mask

Norm = Literal["post", "pre"]
Positions = Literal["sinusoidal", "learned"]
Activation = Literal["relu", "gelu", "gelu_tanh"]

ACTIVATIONS: dict[str, Callable[[Any], Any]] = {"relu": ops.relu, "gelu": ops.gelu, "gelu_tanh": ops.gelu_tanh}


# ---------------------------------------------------------------------------------------------- settings
@dataclass(frozen=True)
class LayerConfig:
    """Sizes and settings of an encoder or decoder layer, named as in the configurations of models."""

    d_model: int
    heads: int
    d_ff: int
    d_k: int | None = None
    d_v: int | None = None
    dropout: float = 0.0
    norm: Norm = "post"
    biases: bool = False
    activation: Activation = "relu"
    layer_norm_eps: float = 1e-6
    rotary: bool = False  # rotary positions in self-attention

    @classmethod
    def of(cls, config: Any, **changes: Any) -> "LayerConfig":
        """Return those of a model's configuration, with changes; what it does not have is as above."""
        names = [field.name for field in fields(cls) if hasattr(config, field.name)]
        return cls(**{name: getattr(config, name) for name in names} | changes)


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
    """The embedding of section 3.4: sqrt(d) E[words] at the input, and the logits x E^T at the output."""

    def __init__(self, vocab_size: int, d_model: int, rng: Rng) -> None:
        super().__init__(vocab_size, d_model, rng, std=d_model**-0.5)

    def forward(self, ids: Integer[Array, "batch n"]) -> Inexact[Tensor, "batch n d_model"]:
        check_ids(ids)
        return ops.embedding(self.weight, ids) * math.sqrt(self.weight.shape[1])

    def logits(self, x: Inexact[Tensor, "batch n d_model"]) -> Inexact[Tensor, "batch n vocab"]:
        return ops.linear(x, self.weight.T)


def make_positions(config: Any, rng: Rng) -> Module:
    """Return the positions of section 3.5 that a configuration's `positions`, `max_length` and `d_model` ask for."""
    if config.positions == "sinusoidal":
        return SinusoidalPositions()
    if config.positions == "rotary":
        return NoPositions()
    return LearnedPositions(config.max_length, config.d_model, rng, std=math.sqrt(0.5))


class NoPositions(Module):
    """x as it is, where self-attention has rotary positions."""

    def forward(self, x: Inexact[Tensor, "batch n d"], start: int = 0) -> Inexact[Tensor, "batch n d"]:
        return x


# ---------------------------------------------------------------------------------------------- layers
class FeedForward(Module):
    """The feed-forward network (2), the same at each position: FFN(x) = max(0, x W_1 + b_1) W_2 + b_2.

    activation: the function in place of max(0, .); "gelu" is the exact one, of BERT, "gelu_tanh" its approximation, of
    GPT-2.
    """

    def __init__(self, d_model: int, d_ff: int, rng: Rng, activation: Activation = "relu") -> None:
        self.activation = activation
        self.W_1 = initializers.glorot_uniform((d_model, d_ff), rng)
        self.b_1 = initializers.zeros((d_ff,))
        self.W_2 = initializers.glorot_uniform((d_ff, d_model), rng)
        self.b_2 = initializers.zeros((d_model,))

    def forward(self, x: Inexact[Tensor, "*batch d_model"]) -> Inexact[Tensor, "*batch d_model"]:
        hidden = ACTIVATIONS[self.activation](ops.linear(x, self.W_1, self.b_1))
        return ops.linear(hidden, self.W_2, self.b_2)  # (2)


class EncoderLayer(Module):
    """Self-attention and a feed-forward network (section 3.1).  With causal=True it is a layer of a language model."""

    def __init__(self, config: LayerConfig, rng: Rng) -> None:
        self.pre_norm = config.norm == "pre"
        self.self_attention = _attention(config, rng)
        self.feed_forward = FeedForward(config.d_model, config.d_ff, rng, config.activation)
        self.norm_1, self.norm_2 = (LayerNorm(config.d_model, config.layer_norm_eps) for _ in range(2))
        self.dropout = Dropout(config.dropout, rng)

    def forward(
        self,
        x: Inexact[Tensor, "batch n d_model"],
        mask: Bool[Array, "#batch #n n"] | None = None,
        causal: bool = False,
        need_weights: bool = True,
    ) -> tuple[Inexact[Tensor, "batch n d_model"], Attention]:
        """Return (x, attention): the weights of every head (batch, heads, n, n) under "self_attention".

        mask: True = may attend.  need_weights=False: (x, {}), in less time.
        """
        x, _, attention = self.step(x, None, mask, causal, need_weights)
        return x, attention

    def step(
        self,
        x: Inexact[Tensor, "batch n d_model"],
        past: KeyValues | None = None,
        mask: Bool[Array, "#batch #n n_k"] | None = None,
        causal: bool = True,
        need_weights: bool = True,
    ) -> tuple[Inexact[Tensor, "batch n d_model"], KeyValues, Attention]:
        """Return (x, past, attention) for positions that follow those of `past`, which has the new ones then too."""
        if self.pre_norm:
            context, weights, past = self.self_attention.self_attend(self.norm_1(x), past, mask, causal, need_weights)
            x = x + self.dropout(context)  # (b)
            x = x + self.dropout(self.feed_forward(self.norm_2(x)))  # (b)
        else:
            context, weights, past = self.self_attention.self_attend(x, past, mask, causal, need_weights)
            x = self.norm_1(x + self.dropout(context))  # (a)
            x = self.norm_2(x + self.dropout(self.feed_forward(x)))  # (a)
        return x, past, {"self_attention": weights} if need_weights else {}


class DecoderLayer(Module):
    """Causal self-attention, attention over the encoder's output and a feed-forward network (section 3.1)."""

    def __init__(self, config: LayerConfig, rng: Rng) -> None:
        self.pre_norm = config.norm == "pre"
        self.self_attention = _attention(config, rng)
        self.cross_attention = _attention(replace(config, rotary=False), rng)
        self.feed_forward = FeedForward(config.d_model, config.d_ff, rng, config.activation)
        self.norm_1, self.norm_2, self.norm_3 = (LayerNorm(config.d_model, config.layer_norm_eps) for _ in range(3))
        self.dropout = Dropout(config.dropout, rng)

    def forward(
        self,
        x: Inexact[Tensor, "batch n d_model"],
        source: KeyValues,
        mask: Bool[Array, "#batch #n source"] | None = None,
        need_weights: bool = True,
    ) -> tuple[Inexact[Tensor, "batch n d_model"], Attention]:
        """Return (x, attention): the weights of every head under "self_attention", (batch, heads, n, n), and
        "cross_attention", (batch, heads, n, source).

        source: `cross_attention.keys_values` of the encoder's output; mask: which of it may be attended to.
        need_weights=False: (x, {}), in less time.
        """
        x, _, attention = self.step(x, None, source, mask, need_weights)
        return x, attention

    def step(
        self,
        x: Inexact[Tensor, "batch n d_model"],
        past: KeyValues | None,
        source: KeyValues,
        mask: Bool[Array, "#batch #n source"] | None = None,
        need_weights: bool = True,
    ) -> tuple[Inexact[Tensor, "batch n d_model"], KeyValues, Attention]:
        """Return (x, past, attention) for positions that follow those of `past`, which has the new ones then too."""
        if self.pre_norm:
            context, own, past = self.self_attention.self_attend(self.norm_1(x), past, None, True, need_weights)
            x = x + self.dropout(context)  # (b)
            context, across = self._cross_attend(self.norm_2(x), source, mask, need_weights)
            x = x + self.dropout(context)  # (b)
            x = x + self.dropout(self.feed_forward(self.norm_3(x)))  # (b)
        else:
            context, own, past = self.self_attention.self_attend(x, past, None, True, need_weights)
            x = self.norm_1(x + self.dropout(context))  # (a)
            context, across = self._cross_attend(x, source, mask, need_weights)
            x = self.norm_2(x + self.dropout(context))  # (a)
            x = self.norm_3(x + self.dropout(self.feed_forward(x)))  # (a)
        return x, past, {"self_attention": own, "cross_attention": across} if need_weights else {}

    def _cross_attend(
        self, x: Tensor, source: KeyValues, mask: Array | None, need_weights: bool
    ) -> tuple[Tensor, Tensor | None]:
        queries = self.cross_attention.queries(x)
        return self.cross_attention.attend(queries, source, mask, need_weights=need_weights)


def _attention(config: LayerConfig, rng: Rng) -> MultiHeadAttention:
    rotary = RotaryPositions() if config.rotary else None
    sizes = config.d_model, config.heads
    return MultiHeadAttention(*sizes, rng, config.d_k, config.d_v, config.biases, rotary=rotary)


# ---------------------------------------------------------------------------------------------- decoding
@dataclass(frozen=True)
class Cache:
    """The state of decoding: the keys and values of all positions so far, for each layer; None before the first."""

    layers: tuple[KeyValues | None, ...]

    @property
    def length(self) -> int:
        """The number of positions."""
        first = self.layers[0]
        return 0 if first is None else first.keys.shape[2]

    def __getitem__(self, rows: Array) -> "Cache":
        """Return the state of the sequences at these row indices, which may repeat."""
        return Cache(tuple(None if layer is None else layer.select(rows) for layer in self.layers))


# ---------------------------------------------------------------------------------------------- ids, padding
def check_ids(ids: Array) -> None:
    """Raise ShapeError unless ids are (batch, n) with n of 1 at least."""
    if ids.ndim != 2 or not ids.shape[1]:
        raise ShapeError(f"ids must be (batch, n), n at least 1, got {ids.shape}; hint for one text: ids[None]")


def keys_mask(mask: Array | None, x: Inexact[Tensor, "batch n d_model"]) -> Bool[Array, "batch 1 n"] | None:
    """Return the padding mask (batch, n) of x, True = a real position, as every query has it; None without padding."""
    mask = padding_mask(mask, x)
    return None if mask is None else mask[:, None, :]
