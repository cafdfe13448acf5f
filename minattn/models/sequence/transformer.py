"""The Transformer: attention alone, in an encoder and a decoder.

A. Vaswani, N. Shazeer, N. Parmar, J. Uszkoreit, L. Jones, A. N. Gomez, L. Kaiser and I. Polosukhin, "Attention is all
you need", NIPS 2017.  Vectors are rows, as in the paper; d is d_model.

Embeddings (sections 3.4, 5.4):  x_0 = Dropout(sqrt(d) E[words] + PE), and the logits are x_N E^T, with one matrix E
                                 for the source, the target and the softmax                                   (a)
Positions (section 3.5):         PE, in `attention/self_attention/positions.py`
Encoder (section 3.1):           N layers of self-attention and a feed-forward network
Decoder (sections 3.1, 3.2.3):   N layers of causal self-attention, attention over the encoder's output, and a
                                 feed-forward network
The layers are in `transformer_layers.py`, with the feed-forward network (2) and LayerNorm(x + Dropout(Sublayer(x)));
attention (1) is in `attention/self_attention`.

The rest is training: the schedule (3) is `training.Noam`, label smoothing (section 5.4)
`cross_entropy(label_smoothing=0.1)`, and the length penalty of beam search (section 6.1) `beam_search(alpha=0.6)`.
Label smoothing here spreads eps over all words, including the correct one, q = (1 - eps) onehot + eps / V; the authors'
code spreads it over the others.  Dropout (section 5.4) is on the output of each sub-layer and on the sum of embeddings
and positions.

Deviations from the paper:
* `norm="pre"` puts layer norm first, x <- x + Dropout(Sublayer(LayerNorm(x))), with one more at the end of each stack:
  deep models start training more easily.  `norm="post"`, the default, is the paper.
* `tied="target"` gives the source embeddings of their own, for two vocabularies; `tied="none"` the softmax too.
* `biases=True` gives the projections of attention the biases that the paper does not have.
* The paper gives no initial values.  As in the authors' code, tensor2tensor, E is drawn from N(0, 1/d), so that sqrt(d)
  E has the scale of a layer norm's output, and the layer norm's eps is 1e-6.  Unlike there, where the scale depends on
  the inputs alone, other matrices are drawn Glorot-uniform.  Learned positions (Table 3, row E) are one vector for each
  of `max_length` positions and stack, drawn as large as sines and cosines are, from N(0, 1/2).
* Padding, which the paper does not mention, is masked in the source.  At the end of the target it needs no mask: no
  position attends to later ones.
"""

from dataclasses import dataclass, replace
from typing import Annotated, Literal, NamedTuple

from jaxtyping import Bool, Inexact, Integer

from minattn.attention.self_attention import KeyValues
from minattn.autograd import Array, Tensor, ops
from minattn.autograd.backend import like
from minattn.errors import ConfigError
from minattn.models.sequence.transformer_layers import (
    Cache,
    DecoderLayer,
    EncoderLayer,
    LayerConfig,
    Norm,
    Positions,
    WordEmbedding,
    check_network,
    keys_mask,
    make_positions,
)
from minattn.models.settings import check_choices, check_sizes
from minattn.nn import Dropout, LayerNorm, Module, initializers
from minattn.nn.attention_paths import Attention, prefixed
from minattn.nn.initializers import Rng
from minattn.published import Network, Paper


@dataclass(frozen=True)
class TransformerConfig:
    """Sizes by the paper's letters.  The defaults are its base model, with 37,000 words of both languages."""

    source_vocab_size: Annotated[int, "size of the source vocabulary"] = 37_000
    target_vocab_size: Annotated[int, "size of the target vocabulary"] = 37_000
    layers: Annotated[int, "N: layers of the encoder, and of the decoder"] = 6
    d_model: Annotated[int, "size of the embeddings and of the output of every sub-layer"] = 512
    d_ff: Annotated[int, "size of the hidden layer of the feed-forward networks"] = 2048
    heads: Annotated[int, "h: attention heads"] = 8
    d_k: Annotated[int | None, "size of a head's queries and keys; d_model / heads if None"] = None
    d_v: Annotated[int | None, "size of a head's values; d_model / heads if None"] = None
    dropout: Annotated[float, "P_drop: dropout rate of sub-layers and embeddings"] = 0.1
    norm: Annotated[Norm, "layer norm after each residual connection, or before each sub-layer"] = "post"
    positions: Annotated[Positions, "positional encoding"] = "sinusoidal"
    max_length: Annotated[int, "number of positions, where they are learned"] = 512
    tied: Annotated[
        Literal["all", "target", "none"], "one matrix for both embeddings and softmax, for target and softmax, or none"
    ] = "all"
    biases: Annotated[bool, "biases in the projections of attention"] = False
    layer_norm_eps: Annotated[float, "epsilon of layer norm"] = 1e-6

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


BASE = TransformerConfig()  # 62,984,192 parameters in matrices
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
class Source(NamedTuple):
    """An encoded batch of sources, as the decoder needs it."""

    layers: tuple[KeyValues, ...]  # the encoder's output, projected for each layer of the decoder
    mask: Array | None  # (batch, 1, source), True = a real position; None: all are

    @property
    def batch(self) -> int:
        """The number of sources."""
        return self.layers[0].keys.shape[0]

    @property
    def state(self) -> Cache:
        """The state of decoding before the first step."""
        return Cache((None,) * len(self.layers))

    def select(self, rows: Array) -> "Source":
        """Return the sources at these row indices, which may repeat."""
        mask = None if self.mask is None else self.mask.take(like(rows, self.mask), 0)
        return Source(tuple(layer.select(rows) for layer in self.layers), mask)


class Transformer(Module):
    """The Transformer.  rng draws the parameters, and in training the dropout masks."""

    def __init__(self, config: TransformerConfig, rng: Rng) -> None:
        self.config = config
        d, eps, layer = config.d_model, config.layer_norm_eps, LayerConfig.of(config)
        self.source_embedding = WordEmbedding(config.source_vocab_size, d, rng)
        one_matrix = config.tied == "all"
        self.target_embedding = self.source_embedding if one_matrix else WordEmbedding(config.target_vocab_size, d, rng)
        self.source_positions, self.target_positions = make_positions(config, rng), make_positions(config, rng)
        self.dropout = Dropout(config.dropout, rng)
        self.encoder = [EncoderLayer(layer, rng) for _ in range(config.layers)]
        self.decoder = [DecoderLayer(layer, rng) for _ in range(config.layers)]
        self.encoder_norm = LayerNorm(d, eps) if config.norm == "pre" else None
        self.decoder_norm = LayerNorm(d, eps) if config.norm == "pre" else None
        self.W_o = initializers.glorot_uniform((d, config.target_vocab_size), rng) if config.tied == "none" else None

    def encode(self, source: Integer[Array, "batch source"], mask: Bool[Array, "batch source"] | None = None) -> Source:
        """Encode the source: ids (B, S), mask True = a real position (None: all are)."""
        return self._encode(source, mask, need_weights=False)[0]

    def forward(
        self,
        source: Integer[Array, "batch source"],
        previous: Integer[Array, "batch target"],
        mask: Bool[Array, "batch source"] | None = None,
        return_attention: bool = False,
    ) -> Inexact[Tensor, "batch target vocab"] | tuple[Inexact[Tensor, "batch target vocab"], Attention]:
        """Teacher forcing: return the logits of every y_i given the true y_0 .. y_{i-1}, all at once.

        previous: y_0 (BOS) .. y_{T-1}.  return_attention=True: (logits, attention), the weights of every head under
        "encoder.0.self_attention", "decoder.0.self_attention", "decoder.0.cross_attention", and so on for each layer.
        Raises ShapeError for a mask that does not fit, and for sequences longer than the learned positions.
        """
        encoded, attention = self._encode(source, mask, return_attention)
        x = self.dropout(self.target_positions(self.target_embedding(previous)))  # (a)
        for i, (layer, memory) in enumerate(zip(self.decoder, encoded.layers, strict=True)):
            x, inner = layer(x, memory, encoded.mask, return_attention)
            attention |= prefixed(f"decoder.{i}", inner)
        logits = self._logits(x)
        return (logits, attention) if return_attention else logits

    def step(
        self, state: Cache, previous: Integer[Array, " batch"], source: Source
    ) -> tuple[Cache, Inexact[Tensor, "batch vocab"], Inexact[Tensor, "batch source"]]:
        """One step of decoding: return (state, log p(y_i), alignment) from y_{i-1} and the state of the last step.

        The alignment is the attention of the last layer over the source, the mean over its heads.
        """
        x = self.target_positions(self.target_embedding(previous[:, None]), start=state.length)
        x, layers, attention = self.dropout(x), [], {}
        for layer, past, memory in zip(self.decoder, state.layers, source.layers, strict=True):
            last = layer is self.decoder[-1]
            x, past, attention = layer.step(x, past, memory, source.mask, need_weights=last)
            layers.append(past)
        alignment = ops.mean(attention["cross_attention"][:, :, 0], axis=1)
        return Cache(tuple(layers)), ops.log_softmax(self._logits(x)[:, 0]), alignment

    def _encode(self, source: Array, mask: Array | None, need_weights: bool) -> tuple[Source, Attention]:
        """Return the encoded source and the attention of the encoder."""
        x = self.dropout(self.source_positions(self.source_embedding(source)))  # (a)
        mask, attention = keys_mask(mask, x), {}
        for i, layer in enumerate(self.encoder):
            x, inner = layer(x, mask, need_weights=need_weights)
            attention |= prefixed(f"encoder.{i}", inner)
        x = x if self.encoder_norm is None else self.encoder_norm(x)
        return Source(tuple(layer.cross_attention.keys_values(x) for layer in self.decoder), mask), attention

    def _logits(self, x: Tensor) -> Tensor:
        x = x if self.decoder_norm is None else self.decoder_norm(x)
        return self.target_embedding.logits(x) if self.W_o is None else ops.linear(x, self.W_o)  # (a)


NETWORK = Network(
    name="Transformer",
    paper=Paper("Vaswani et al.", 2017, "Attention is all you need"),
    code="Transformer",
    command="minattn train g2p --model transformer",
    experiment="experiments/transformer_table3.py",
)
