"""RNNsearch, the first network with attention, and RNNencdec, its baseline without attention.

D. Bahdanau, K. Cho and Y. Bengio, "Neural machine translation by jointly learning to align and translate", ICLR 2015,
section 3 and appendix A.  Vectors are rows, so every matrix of the paper stands transposed and on the right.  What the
paper does not number has a letter.

Encoder (A.2.1):
    h_j = [h->_j ; h<-_j], gated recurrent units (A.1.1) over the source, forwards and backwards               (a)
Decoder (A.2.2), for i = 1, 2, ..:
    s_0 = tanh(W_s h<-_1)                                                                                      (b)
    c_i = sum_j alpha_ij h_j, alpha_i the additive attention of s_{i-1} over h                                 (5) (6)
    s_i = gated recurrent unit of (E y_{i-1}, c_i) and s_{i-1}                                                 (c)
    t_i = maxout(U_o s_{i-1} + V_o E y_{i-1} + C_o c_i)                                                        (d)
    p(y_i | y_1 .. y_{i-1}, x) = softmax(W_o t_i)                                                              (e)
RNNencdec reads forwards only, and c_i = h->_T for every i                                                     (f)

Deviations from the paper:
* y_0, which the paper does not define, is BOS, with an embedding of its own.
* s_0 of RNNencdec is tanh(W_s h->_T): without a backward unit there is no h<-_1.
* The paper is inconsistent about (d): the appendix prints s_{i-1}, (4) has s_i.  `readout="previous"` follows the
  appendix, `readout="current"` follows (4); the parameter count is the same.
* The printed formulas omit biases, yet the appendix initializes them to 0: `biases` selects either.
* `dropout` (on embeddings and on t_i) is not in the paper; 0, the default, is the paper.
* `init="glorot"` draws v_a and all matrices except U Glorot-uniform, and the embeddings from N(0, 0.1^2).  The paper's
  initial values are made for n = 1000; a small model hardly learns from them at first, and its attention stays diffuse.
* Padding, which the paper does not mention, is masked: the encoder carries its state past it, and attention skips it.
"""

from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

from jaxtyping import Bool, Inexact, Integer

from minattn.attention.sequence import AdditiveAttention, attentive_gru
from minattn.autograd import Array, Tensor, ops, xp
from minattn.autograd.backend import like
from minattn.errors import ConfigError, ShapeError
from minattn.models.settings import check_choices, check_sizes
from minattn.nn import GRU, BidirectionalGRU, Dropout, Embedding, Module, gru, gru_cell, initializers, maxout
from minattn.nn.attention_paths import Attention
from minattn.nn.initializers import Rng
from minattn.nn.masks import padding_mask
from minattn.nn.recurrent.shared import Initializer, side_by_side
from minattn.published import Network, Paper


@dataclass(frozen=True)
class RNNsearchConfig:
    """Sizes by the paper's letters.  The defaults are the paper's own, with 30,000 words of each language."""

    source_vocab_size: Annotated[int, "K_x: size of the source vocabulary"] = 30_000
    target_vocab_size: Annotated[int, "K_y: size of the target vocabulary"] = 30_000
    embedding: Annotated[int, "m: size of the word embeddings"] = 620
    hidden: Annotated[int, "n: size of the hidden states"] = 1000
    alignment: Annotated[int, "n': size of the hidden layer of the alignment model"] = 1000
    maxout: Annotated[int, "l: size of the maxout layer"] = 500
    biases: Annotated[bool, "biases, which start at 0"] = False
    attention: Annotated[bool, "attention; without it the network is RNNencdec"] = True
    readout: Annotated[Literal["previous", "current"], "state that predicts y_i: s_{i-1} or s_i"] = "previous"
    dropout: Annotated[float, "dropout rate of the embeddings and the maxout layer"] = 0.0
    init: Annotated[Literal["paper", "glorot"], "initial values of the parameters"] = "paper"

    def __post_init__(self) -> None:
        check_sizes(self, "source_vocab_size", "target_vocab_size", "embedding", "hidden", "alignment", "maxout")
        check_choices(self, readout=("previous", "current"), init=("paper", "glorot"))
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"dropout must be in [0, 1), got {self.dropout}")

    @property
    def annotation(self) -> int:
        """The size of an annotation h_j, and of the context."""
        return 2 * self.hidden if self.attention else self.hidden


CONFIGURATIONS = {
    "rnnsearch": RNNsearchConfig(),  # 80,401,000 parameters
    "rnnencdec": RNNsearchConfig(attention=False),  # 68,540,000 parameters
}
"""The published configurations."""


class Source(NamedTuple):
    """An encoded batch of sources, as the decoder needs it."""

    annotations: Tensor  # h (B, T, 2n); RNNencdec: the last state (B, 1, n)
    keys: Tensor | None  # U_a h (B, T, n')
    mask: Array | None  # (B, T), True = a real position
    state: Tensor  # s_0 (B, n)

    @property
    def batch(self) -> int:
        """The number of sources."""
        return self.state.shape[0]

    def select(self, rows: Array) -> "Source":
        """Return the sources at these row indices, which may repeat."""
        mask = None if self.mask is None else self.mask.take(like(rows, self.mask), 0)
        keys = None if self.keys is None else ops.take(self.keys, rows)
        return Source(ops.take(self.annotations, rows), keys, mask, ops.take(self.state, rows))


class Encoder(Module):
    """Embeddings and gated recurrent units, forwards and backwards (a), or forwards only for RNNencdec."""

    def __init__(self, config: RNNsearchConfig, rng: Rng) -> None:
        unit = BidirectionalGRU if config.attention else GRU
        self.embedding = Embedding(config.source_vocab_size, config.embedding, rng, std=_embedding_std(config))
        self.dropout = Dropout(config.dropout, rng)
        self.unit = unit(config.embedding, config.hidden, rng, bias=config.biases, init=_initializer(config))

    def forward(
        self, source: Integer[Array, "batch source"], mask: Bool[Array, "batch source"] | None
    ) -> Inexact[Tensor, "batch source annotation"]:
        return self.unit(self.dropout(self.embedding(source)), mask)  # (a)


class Decoder(Module):
    """The first state (b), the next state (c) and the logits, (d) and (e).  The context is an argument."""

    def __init__(self, config: RNNsearchConfig, rng: Rng) -> None:
        m, n, l2, init = config.embedding, config.hidden, 2 * config.maxout, _initializer(config)
        self.hidden, self.readout = n, config.readout
        self.embedding = Embedding(config.target_vocab_size, m, rng, std=_embedding_std(config))
        self.dropout = Dropout(config.dropout, rng)
        self.W_s = init((n, n), rng)
        self.W = side_by_side(m, n, rng, init)  # [W_z | W_r | W]
        self.U = initializers.orthogonal((n, 3 * n), rng, blocks=3)  # [U_z | U_r | U]
        self.C = side_by_side(config.annotation, n, rng, init)  # [C_z | C_r | C]
        self.U_o = init((n, l2), rng)
        self.V_o = init((m, l2), rng)
        self.C_o = init((config.annotation, l2), rng)
        self.W_o = init((config.maxout, config.target_vocab_size), rng)
        with_bias = config.biases
        self.b_s = initializers.zeros((n,)) if with_bias else None
        self.b = initializers.zeros((3 * n,)) if with_bias else None
        self.b_t = initializers.zeros((l2,)) if with_bias else None
        self.b_o = initializers.zeros((config.target_vocab_size,)) if with_bias else None

    def first_state(self, annotation: Inexact[Tensor, "batch hidden"]) -> Inexact[Tensor, "batch hidden"]:
        """s_0 from h<-_1, the backward state at the first word."""
        return ops.tanh(ops.linear(annotation, self.W_s, self.b_s))  # (b)

    def embed(self, previous: Integer[Array, "*batch"]) -> Inexact[Tensor, "*batch embedding"]:
        """E y_{i-1}, for one step or for all of them at once."""
        return self.dropout(self.embedding(previous))

    def project(self, embedded: Inexact[Tensor, "*batch embedding"]) -> Inexact[Tensor, "*batch gates"]:
        """E y_{i-1} W: the part of (c) that does not depend on the state; in training for all steps at once."""
        return ops.linear(embedded, self.W, self.b)

    def next_state(
        self,
        projected: Inexact[Tensor, "batch gates"],
        context: Inexact[Tensor, "batch annotation"],
        state: Inexact[Tensor, "batch hidden"],
    ) -> Inexact[Tensor, "batch hidden"]:
        """s_i from E y_{i-1} W, c_i and s_{i-1}."""
        return gru_cell(projected + context @ self.C, state, self.U)  # (c)

    def logits(
        self,
        state: Inexact[Tensor, "*batch hidden"],
        embedded: Inexact[Tensor, "*batch embedding"],
        context: Inexact[Tensor, "*batch annotation"],
    ) -> Inexact[Tensor, "*batch vocab"]:
        """The logits of y_i, for one step or for all of them at once."""
        t = maxout(ops.linear(state, self.U_o, self.b_t) + embedded @ self.V_o + context @ self.C_o)  # (d)
        return ops.linear(self.dropout(t), self.W_o, self.b_o)  # (e)


class RNNsearch(Module):
    """RNNsearch, or RNNencdec with `attention=False` in its configuration.

    rng draws the parameters, and in training the dropout masks.
    """

    def __init__(self, config: RNNsearchConfig, rng: Rng) -> None:
        self.config = config
        self.encoder = Encoder(config, rng)
        sizes = (config.hidden, config.annotation, config.alignment)
        self.attention = AdditiveAttention(*sizes, rng, config.init) if config.attention else None
        self.decoder = Decoder(config, rng)

    def encode(self, source: Integer[Array, "batch source"], mask: Bool[Array, "batch source"] | None = None) -> Source:
        """Encode the source: ids (B, T), mask True = a real position (None: all are)."""
        annotations = self.encoder(source, mask)
        if not annotations.shape[1]:
            raise ShapeError(
                f"a source of shape {annotations.shape[:2]} has no positions; hint: at least its end symbol"
            )
        if self.attention is None:
            last = annotations[:, -1]  # padding carries the last real state to the end
            return Source(ops.expand_dims(last, 1), None, None, self.decoder.first_state(last))  # (f)
        first = annotations[:, 0, self.config.hidden :]  # h<-_1
        mask = padding_mask(mask, annotations)
        return Source(annotations, self.attention.keys(annotations), mask, self.decoder.first_state(first))

    def attend(
        self, state: Inexact[Tensor, "batch hidden"], source: Source
    ) -> tuple[Inexact[Tensor, "batch annotation"], Inexact[Tensor, "batch source"]]:
        """Return (context, weights) for the state s_{i-1}; RNNencdec's context is always its one annotation."""
        if self.attention is None:
            only = source.annotations.data
            return source.annotations[:, 0], Tensor(xp(only).ones(only.shape[:2], only.dtype))  # (f)
        return self.attention(state, source.annotations, source.mask, source.keys)  # (5) (6)

    def forward(
        self,
        source: Integer[Array, "batch source"],
        previous: Integer[Array, "batch target"],
        mask: Bool[Array, "batch source"] | None = None,
        return_attention: bool = False,
    ) -> Inexact[Tensor, "batch target vocab"] | tuple[Inexact[Tensor, "batch target vocab"], Attention]:
        """Teacher forcing: return the logits of every y_i given the true y_0 .. y_{i-1}.

        previous: y_0 (BOS) .. y_{T-1}.  return_attention=True: (logits, attention), with the alignment (batch, target,
        source) under "attention"; RNNencdec has none.
        """
        encoded = self.encode(source, mask)
        embedded = self.decoder.embed(previous)
        states, contexts, attention = self._all_steps(self.decoder.project(embedded), encoded)
        if self.decoder.readout == "previous":
            states = ops.concat([ops.expand_dims(encoded.state, 1), states[:, :-1]], axis=1)
        logits = self.decoder.logits(states, embedded, contexts)
        return (logits, attention) if return_attention else logits

    def _all_steps(
        self, projected: Inexact[Tensor, "batch target gates"], source: Source
    ) -> tuple[Inexact[Tensor, "batch target hidden"], Inexact[Tensor, "batch target annotation"], Attention]:
        """Return (s_i, c_i, attention) of all steps at once, from the projected embeddings of y_0 .. y_{T-1}."""
        C, U = self.decoder.C, self.decoder.U
        if self.attention is None:
            last = source.annotations  # (B, 1, n)
            states = gru(projected + last @ C, source.state, U)  # (c)
            return states, ops.broadcast_to(last, (*projected.shape[:2], last.shape[-1])), {}  # (f)
        W_a, v_a = self.attention.W_a, self.attention.v_a
        states, contexts, alignment = attentive_gru(  # (5) (6) (c)
            projected, source.state, source.keys, source.annotations, W_a, v_a, C, U, source.mask
        )
        return states, contexts, {"attention": alignment}

    def step(
        self, state: Inexact[Tensor, "batch hidden"], previous: Integer[Array, " batch"], source: Source
    ) -> tuple[Inexact[Tensor, "batch hidden"], Inexact[Tensor, "batch vocab"], Inexact[Tensor, "batch source"]]:
        """One step of decoding: return (s_i, log p(y_i), alpha_i) from s_{i-1} and y_{i-1}."""
        embedded = self.decoder.embed(previous)
        context, weights = self.attend(state, source)
        new = self.decoder.next_state(self.decoder.project(embedded), context, state)
        logits = self.decoder.logits(state if self.decoder.readout == "previous" else new, embedded, context)
        return new, ops.log_softmax(logits), weights


def _initializer(config: RNNsearchConfig) -> Initializer:
    """The initializer of matrices that are not recurrent: N(0, 0.01^2) in appendix B.1."""
    return initializers.normal if config.init == "paper" else initializers.glorot_uniform


def _embedding_std(config: RNNsearchConfig) -> float:
    return 0.01 if config.init == "paper" else 0.1


NETWORK = Network(
    name="RNNsearch, RNNencdec",
    paper=Paper(
        "Bahdanau, Cho & Bengio",
        2015,
        "Neural machine translation by jointly learning to align and translate",
    ),
    equation=(
        "(4) p(y_i) = g(y_i-1, s_i, c_i); appendix A.2.2, unnumbered: s_i = gated unit of (E y_i-1, c_i) and s_i-1"
    ),
    code="RNNsearch",
    command="minattn train g2p",
    experiment="experiments/rnnsearch_length.py",
)
