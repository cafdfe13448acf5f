"""The Transformer: attention alone, in an encoder and a decoder.

A. Vaswani, N. Shazeer, N. Parmar, J. Uszkoreit, L. Jones, A. N. Gomez, L. Kaiser and I. Polosukhin, "Attention is all
you need", NIPS 2017.  Vectors are rows, as in the paper; d is d_model.

Sub-layers (3.1, 5.4):   x <- LayerNorm(x + Dropout(Sublayer(x)))
Encoder (3.1):           N layers of multi-head self-attention, then a feed-forward network
Decoder (3.1, 3.2.3):    N layers of causal self-attention, attention over the encoder's output, a feed-forward network
Attention (3.2):         (1), in `attention/self_attention`
Feed-forward (3.3):      FFN(x) = max(0, x W_1 + b_1) W_2 + b_2                                                (2)
Embeddings (3.4, 5.4):   x_0 = Dropout(sqrt(d) E[words] + PE), and the logits are x_N E^T, with one matrix E for the
                         source, the target and the softmax
Positions (3.5):         PE, in `attention/self_attention/positions.py`

The rest is training: the schedule (3) is `training.Noam`, label smoothing (5.4) `cross_entropy(label_smoothing=0.1)`,
and the length penalty of beam search (6.1) `beam_search(alpha=0.6)`.  Label smoothing there spreads eps over all words,
the right one among them, q = (1 - eps) onehot + eps / V; the authors' program spreads it over the others.

Deviations from the paper:
* `norm="pre"` puts the layer norm in front, x <- x + Dropout(Sublayer(LayerNorm(x))), and one more at the end of each
  stack: deep models start training more easily.  `norm="post"`, the default, is the paper.
* `tied="target"` leaves the source embeddings to themselves, for two vocabularies; `tied="none"` the softmax too.
* `biases=True` gives the projections of attention the biases that the paper does not have.
* The paper does not say how weights start.  As in the authors' program tensor2tensor E is drawn from N(0, 1/d), so that
  sqrt(d) E has the size of a layer norm's output, and the layer norm's eps is 1e-6.  Unlike there, where it is by the
  inputs alone, other matrices are drawn Glorot-uniform.  Learned positions (Table 3, row E) are one vector for each of
  `max_length` positions and stack, drawn as large as sines and cosines are, from N(0, 1/2).
* Dropout is where 5.4 has it: on what each sub-layer gives and on the sum of embeddings and positions.
* Padding, which the paper does not speak of, is masked in the source.  At the end of the target it needs no mask: no
  position looks at later ones.
"""

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from jaxtyping import Bool, Inexact, Integer

from minattn.attention.self_attention import KeyValues
from minattn.autograd import Array, Tensor, ops
from minattn.autograd.backend import like
from minattn.errors import ConfigError
from minattn.models.sequence.transformer_layers import (
    Cache,
    DecoderLayer,
    EncoderLayer,
    Norm,
    Positions,
    WordEmbedding,
    check_network,
    make_positions,
    padding_mask,
)
from minattn.models.settings import check_choices, check_sizes
from minattn.nn import Dropout, LayerNorm, Module
from minattn.nn import initializers as init
from minattn.nn.initializers import Rng


@dataclass(frozen=True)
class TransformerConfig:
    """Sizes by the paper's letters.  The defaults are its base model, 37,000 words for both languages."""

    source_vocab_size: int = 37_000
    target_vocab_size: int = 37_000
    layers: int = 6  # N, in the encoder and in the decoder
    d_model: int = 512
    d_ff: int = 2048
    heads: int = 8  # h
    d_k: int | None = None  # None: d_model / heads
    d_v: int | None = None  # None: d_model / heads
    dropout: float = 0.1  # P_drop
    norm: Norm = "post"
    positions: Positions = "sinusoidal"
    max_length: int = 512  # learned positions only
    tied: Literal["all", "target", "none"] = "all"
    biases: bool = False
    layer_norm_eps: float = 1e-6

    def __post_init__(self) -> None:
        check_sizes(self, "source_vocab_size", "target_vocab_size", "layers", "d_model", "d_ff", "heads", "max_length")
        check_sizes(self, *(name for name in ("d_k", "d_v") if getattr(self, name) is not None))
        check_choices(self, norm=("post", "pre"), positions=("sinusoidal", "learned"), tied=("all", "target", "none"))
        check_network(self)
        if self.tied == "all" and self.source_vocab_size != self.target_vocab_size:
            raise ConfigError(
                f'tied="all" needs one vocabulary, got source_vocab_size = {self.source_vocab_size} and '
                f'target_vocab_size = {self.target_vocab_size}; hint: tied="target"'
            )


BASE = TransformerConfig()  # 62,984,192 weights in matrices
CONFIGURATIONS = {
    "base": BASE,
    "big": replace(BASE, d_model=1024, d_ff=4096, heads=16, dropout=0.3),
    **{f"A h={h}": replace(BASE, heads=h) for h in (1, 4, 16, 32)},
    **{f"B d_k={d_k}": replace(BASE, d_k=d_k) for d_k in (16, 32)},
    **{f"C N={n}": replace(BASE, layers=n) for n in (2, 4, 8)},
    **{f"C d_model={d}": replace(BASE, d_model=d) for d in (256, 1024)},
    **{f"C d_ff={d_ff}": replace(BASE, d_ff=d_ff) for d_ff in (1024, 4096)},
    **{f"D P_drop={rate}": replace(BASE, dropout=rate) for rate in (0.0, 0.2)},
    **{f"D eps_ls={eps}": BASE for eps in (0.0, 0.2)},  # label smoothing is the loss's
    "E learned": replace(BASE, positions="learned"),
}
"""The published configurations: every row of Table 3."""


# ---------------------------------------------------------------------------------------------- the network
class Attentions(NamedTuple):
    """The weights of every head, a tensor for each layer."""

    encoder: tuple[Tensor, ...]  # (batch, heads, source, source)
    decoder: tuple[Tensor, ...]  # (batch, heads, target, target)
    across: tuple[Tensor, ...]  # (batch, heads, target, source)


class Source(NamedTuple):
    """What the decoder needs of an encoded source."""

    layers: tuple[KeyValues, ...]  # the encoder's output, projected for each layer of the decoder
    mask: Array | None  # (batch, 1, source), True = a real position; None: all are

    @property
    def batch(self) -> int:
        """How many sources there are."""
        return self.layers[0].keys.shape[0]

    @property
    def state(self) -> Cache:
        """The decoder's state before the first step."""
        return Cache((None,) * len(self.layers))

    def select(self, rows: Array) -> "Source":
        """The sources with these row numbers; one may come several times."""
        mask = None if self.mask is None else self.mask.take(like(rows, self.mask), 0)
        return Source(tuple(layer.select(rows) for layer in self.layers), mask)


class Transformer(Module):
    """The Transformer.  rng draws the weights, and in training what dropout leaves out."""

    def __init__(self, config: TransformerConfig, rng: Rng) -> None:
        self.config = config
        d, eps = config.d_model, config.layer_norm_eps
        self.source_embedding = WordEmbedding(config.source_vocab_size, d, rng)
        one_matrix = config.tied == "all"
        self.target_embedding = self.source_embedding if one_matrix else WordEmbedding(config.target_vocab_size, d, rng)
        self.source_positions, self.target_positions = make_positions(config, rng), make_positions(config, rng)
        self.dropout = Dropout(config.dropout, rng)
        settings = {name: getattr(config, name) for name in ("d_k", "d_v", "dropout", "norm", "biases")} | {"eps": eps}
        self.encoder = [EncoderLayer(d, config.heads, config.d_ff, rng, **settings) for _ in range(config.layers)]
        self.decoder = [DecoderLayer(d, config.heads, config.d_ff, rng, **settings) for _ in range(config.layers)]
        self.encoder_norm = LayerNorm(d, eps) if config.norm == "pre" else None
        self.decoder_norm = LayerNorm(d, eps) if config.norm == "pre" else None
        self.W_o = init.glorot_uniform((d, config.target_vocab_size), rng) if config.tied == "none" else None

    def encode(self, source: Integer[Array, "batch source"], mask: Bool[Array, "batch source"] | None = None) -> Source:
        """Read the source: ids (B, S), mask True = a real position (None: all are)."""
        return self._read(source, mask, weights=False)[0]

    def forward(
        self,
        source: Integer[Array, "batch source"],
        previous: Integer[Array, "batch target"],
        mask: Bool[Array, "batch source"] | None = None,
        weights: bool = False,
    ) -> tuple[Inexact[Tensor, "batch target words"], Attentions | None]:
        """Teacher forcing: the logits of every y_i given the true y_0 .. y_{i-1}, all at once.

        previous: y_0 (the begin symbol) .. y_{T-1}.  weights=True: also the weights of every head.
        Raises ShapeError for a mask that does not fit, and for more symbols than there are learned positions.
        """
        read, encoder = self._read(source, mask, weights)
        x = self.dropout(self.target_positions(self.target_embedding(previous)))
        own, across = [], []
        for layer, memory in zip(self.decoder, read.layers, strict=True):
            x, to_past, to_source = layer(x, memory, read.mask, weights)
            own.append(to_past)
            across.append(to_source)
        return self._scores(x), Attentions(encoder, tuple(own), tuple(across)) if weights else None

    def step(
        self, state: Cache, previous: Integer[Array, " batch"], source: Source
    ) -> tuple[Cache, Inexact[Tensor, "batch words"], Inexact[Tensor, "batch source"]]:
        """One step of decoding: (state, log p(y_i), alignment) from y_{i-1} and the state that the last step gave.

        The alignment is what the last layer takes of each position of the source, the mean over its heads.
        """
        x = self.target_positions(self.target_embedding(previous[:, None]), start=state.length)
        x, layers, across = self.dropout(x), [], None
        for layer, past, memory in zip(self.decoder, state.layers, source.layers, strict=True):
            x, now, across = layer.step(x, past, memory, source.mask, weights=layer is self.decoder[-1])
            layers.append(now)
        return Cache(tuple(layers)), ops.log_softmax(self._scores(x)[:, 0]), ops.mean(across[:, :, 0], axis=1)

    def _read(self, source: Array, mask: Array | None, weights: bool) -> tuple[Source, tuple[Tensor | None, ...]]:
        """(what the decoder needs, the weights of every layer of the encoder)."""
        x = self.dropout(self.source_positions(self.source_embedding(source)))
        mask, alignments = padding_mask(mask, source, x), []
        for layer in self.encoder:
            x, alignment = layer(x, mask, weights=weights)
            alignments.append(alignment)
        x = x if self.encoder_norm is None else self.encoder_norm(x)
        return Source(tuple(layer.attention.keys_values(x) for layer in self.decoder), mask), tuple(alignments)

    def _scores(self, x: Tensor) -> Tensor:
        """The logits."""
        x = x if self.decoder_norm is None else self.decoder_norm(x)
        return self.target_embedding.scores(x) if self.W_o is None else ops.linear(x, self.W_o)
