"""RNNsearch, the first network with attention, and RNNencdec, the network without it that it was compared to.

D. Bahdanau, K. Cho and Y. Bengio, "Neural machine translation by jointly learning to align and translate", ICLR 2015,
appendix A.  Vectors are rows, so every matrix of the paper stands transposed and on the right.

Encoder (A.2.1): two gated units read the source forwards and backwards; annotation h_j = [h->_j ; h<-_j]   (1.2) (1.3)
Decoder (A.2.2), for i = 1, 2, ..:
    s_0 = tanh(W_s h<-_1)                                                                                   (1.4)
    c_i, alpha_i = additive attention of s_{i-1} over h                                                     (1.5) (1.6)
    s_i = gated unit of (E y_{i-1}, c_i) and s_{i-1}                                                        (1.7)
    t_i = maxout(U_o s_{i-1} + V_o E y_{i-1} + C_o c_i)                                                     (1.8)
    p(y_i) = softmax(W_o t_i)                                                                               (1.8)
RNNencdec reads forwards only, and c_i = h->_T for every i                                                  (1.9)

Deviations from the paper:
* y_0, which the paper does not define, is a begin symbol with an embedding of its own.
* s_0 of RNNencdec is tanh(W_s h->_T): without a backward unit there is no h<-_1.
* The paper disagrees with itself on (1.8): the appendix prints s_{i-1}, the body s_i.  `readout="previous"` is the
  appendix, `readout="current"` the body; the number of weights is the same.
* The printed formulas leave biases out but say that they start at 0: `biases` has both.
* `dropout` (on embeddings and on t_i) is not in the paper; 0, the default, is the paper.
* `initial="glorot"` starts all matrices but U, and v_a, Glorot-uniform, and the embeddings at N(0, 0.1^2).  The paper's
  values are made for n = 1000; they leave a small model almost blind at first, and its attention spread out for good.
* Padding, which the paper does not speak of, is masked: the encoder carries its state past it, and attention skips it.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

from jaxtyping import Bool, Inexact, Integer

from minattn.attention.sequence import AdditiveAttention, attentive_gru
from minattn.autograd import Array, Tensor, ops, xp
from minattn.autograd.backend import like
from minattn.errors import ConfigError
from minattn.nn import GRU, BidirectionalGRU, Dropout, Embedding, Module, gru, gru_cell, maxout
from minattn.nn import initializers as init
from minattn.nn.initializers import Rng
from minattn.nn.recurrent.shared import Initializer, side_by_side


@dataclass(frozen=True)
class RNNsearchConfig:
    """Sizes by the paper's letters.  The defaults are the paper's own, 30,000 words a language."""

    source_vocab_size: int = 30_000  # K_x
    target_vocab_size: int = 30_000  # K_y
    embedding: int = 620  # m
    hidden: int = 1000  # n
    alignment: int = 1000  # n'
    maxout: int = 500  # l
    biases: bool = False
    attention: bool = True  # False: RNNencdec
    readout: Literal["previous", "current"] = "previous"
    dropout: float = 0.0
    initial: Literal["paper", "glorot"] = "paper"

    def __post_init__(self) -> None:
        for name in ("source_vocab_size", "target_vocab_size", "embedding", "hidden", "alignment", "maxout"):
            size = getattr(self, name)
            if not isinstance(size, int) or size < 1:
                raise ConfigError(f"{name} must be a whole number of at least 1, got {size!r}")
        if self.readout not in ("previous", "current"):
            raise ConfigError(f'readout must be "previous" or "current", got {self.readout!r}')
        if self.initial not in ("paper", "glorot"):
            raise ConfigError(f'initial must be "paper" or "glorot", got {self.initial!r}')
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"dropout must be in [0, 1), got {self.dropout}")

    @property
    def annotation(self) -> int:
        """The size of an annotation h_j, and of the context."""
        return 2 * self.hidden if self.attention else self.hidden


CONFIGURATIONS = {
    "rnnsearch": RNNsearchConfig(),  # 80,401,000 weights
    "rnnencdec": RNNsearchConfig(attention=False),  # 68,540,000 weights
}
"""The published configurations."""


class Source(NamedTuple):
    """What the decoder needs of an encoded source."""

    annotations: Tensor  # h (B, T, 2n); RNNencdec: the last state (B, 1, n)
    keys: Tensor | None  # U_a h (B, T, n')
    mask: Array | None  # (B, T), True = a real position
    state: Tensor  # s_0 (B, n)

    @property
    def batch(self) -> int:
        """How many sources there are."""
        return self.state.shape[0]

    def select(self, rows: Array) -> "Source":
        """The sources with these row numbers; one may come several times."""
        mask = None if self.mask is None else self.mask.take(like(rows, self.mask), 0)
        keys = None if self.keys is None else ops.take(self.keys, rows)
        return Source(ops.take(self.annotations, rows), keys, mask, ops.take(self.state, rows))


class Encoder(Module):
    """(1.2) and (1.3): embeddings and gated units, forwards and backwards, or forwards only for RNNencdec."""

    def __init__(self, config: RNNsearchConfig, rng: Rng) -> None:
        weights = _initializer(config)
        unit = BidirectionalGRU if config.attention else GRU
        self.embedding = Embedding(config.source_vocab_size, config.embedding, rng, std=_embedding_std(config))
        self.dropout = Dropout(config.dropout, rng)
        self.unit = unit(config.embedding, config.hidden, rng, bias=config.biases, init=weights)

    def forward(
        self, source: Integer[Array, "batch source"], mask: Bool[Array, "batch source"] | None
    ) -> Inexact[Tensor, "batch source annotation"]:
        return self.unit(self.dropout(self.embedding(source)), mask)


class Decoder(Module):
    """(1.4), (1.7) and (1.8); the context comes from outside."""

    def __init__(self, config: RNNsearchConfig, rng: Rng) -> None:
        m, n, l2, weights = config.embedding, config.hidden, 2 * config.maxout, _initializer(config)
        self.hidden, self.readout = n, config.readout
        self.embedding = Embedding(config.target_vocab_size, m, rng, std=_embedding_std(config))
        self.dropout = Dropout(config.dropout, rng)
        self.W_s = weights((n, n), rng)
        self.W = side_by_side(m, n, rng, weights)  # [W_z | W_r | W]
        self.U = init.orthogonal((n, 3 * n), rng, blocks=3)  # [U_z | U_r | U]
        self.C = side_by_side(config.annotation, n, rng, weights)  # [C_z | C_r | C]
        self.U_o = weights((n, l2), rng)
        self.V_o = weights((m, l2), rng)
        self.C_o = weights((config.annotation, l2), rng)
        self.W_o = weights((config.maxout, config.target_vocab_size), rng)
        with_bias = config.biases
        self.b_s = init.zeros((n,)) if with_bias else None
        self.b = init.zeros((3 * n,)) if with_bias else None
        self.b_t = init.zeros((l2,)) if with_bias else None
        self.b_o = init.zeros((config.target_vocab_size,)) if with_bias else None

    def initial_state(self, first: Inexact[Tensor, "batch hidden"]) -> Inexact[Tensor, "batch hidden"]:
        return ops.tanh(ops.linear(first, self.W_s, self.b_s))  # (1.4)

    def embed(self, previous: Integer[Array, "*batch"]) -> Inexact[Tensor, "*batch embedding"]:
        """E y_{i-1}, for one step or for all of them at once."""
        return self.dropout(self.embedding(previous))

    def project(self, embedded: Inexact[Tensor, "*batch embedding"]) -> Inexact[Tensor, "*batch gates"]:
        """E y_{i-1} W: the part of (1.7) that is known for all steps before the first, in training."""
        return ops.linear(embedded, self.W, self.b)

    def advance(
        self,
        projected: Inexact[Tensor, "batch gates"],
        context: Inexact[Tensor, "batch annotation"],
        state: Inexact[Tensor, "batch hidden"],
    ) -> Inexact[Tensor, "batch hidden"]:
        return gru_cell(projected + context @ self.C, state, self.U)  # (1.7)

    def scores(
        self,
        state: Inexact[Tensor, "*batch hidden"],
        embedded: Inexact[Tensor, "*batch embedding"],
        context: Inexact[Tensor, "*batch annotation"],
    ) -> Inexact[Tensor, "*batch words"]:
        """The logits of y_i, for one step or for all of them at once."""
        t = maxout(ops.linear(state, self.U_o, self.b_t) + embedded @ self.V_o + context @ self.C_o)  # (1.8)
        return ops.linear(self.dropout(t), self.W_o, self.b_o)  # (1.8)


class RNNsearch(Module):
    """RNNsearch, or RNNencdec with `attention=False` in its configuration.

    rng draws the weights, and in training what dropout leaves out.
    """

    def __init__(self, config: RNNsearchConfig, rng: Rng) -> None:
        self.config = config
        self.encoder = Encoder(config, rng)
        sizes = (config.hidden, config.annotation, config.alignment)
        self.attention = AdditiveAttention(*sizes, rng, config.initial) if config.attention else None
        self.decoder = Decoder(config, rng)

    def encode(self, source: Integer[Array, "batch source"], mask: Bool[Array, "batch source"] | None = None) -> Source:
        """Read the source: ids (B, T), mask True = a real position (None: all are)."""
        states = self.encoder(source, mask)
        if self.attention is None:
            last = states[:, -1]  # padding carries the last real state to the end
            return Source(ops.expand_dims(last, 1), None, None, self.decoder.initial_state(last))  # (1.9)
        first = states[:, 0, self.config.hidden :]  # h<-_1
        mask = None if mask is None else like(mask, states.data)
        return Source(states, self.attention.keys(states), mask, self.decoder.initial_state(first))

    def attend(
        self, state: Inexact[Tensor, "batch hidden"], source: Source
    ) -> tuple[Inexact[Tensor, "batch annotation"], Inexact[Tensor, "batch source"]]:
        """(context, weights) for the state s_{i-1}; RNNencdec's context is always its one annotation."""
        if self.attention is None:
            only = source.annotations.data
            return source.annotations[:, 0], Tensor(xp(only).ones(only.shape[:2], only.dtype))
        return self.attention(state, source.annotations, source.mask, source.keys)

    def forward(
        self,
        source: Integer[Array, "batch source"],
        previous: Integer[Array, "batch target"],
        mask: Bool[Array, "batch source"] | None = None,
    ) -> tuple[Inexact[Tensor, "batch target words"], Inexact[Tensor, "batch target attended"]]:
        """Teacher forcing: the logits of every y_i given the true y_0 .. y_{i-1}, and the alignment.

        previous: y_0 (the begin symbol) .. y_{T-1}.
        """
        read = self.encode(source, mask)
        embedded = self.decoder.embed(previous)
        states, contexts, alignment = self.decode(self.decoder.project(embedded), read)
        if self.decoder.readout == "previous":
            states = ops.concat([ops.expand_dims(read.state, 1), states[:, :-1]], axis=1)
        return self.decoder.scores(states, embedded, contexts), alignment

    def decode(
        self, projected: Inexact[Tensor, "batch target gates"], source: Source
    ) -> tuple[
        Inexact[Tensor, "batch target hidden"],
        Inexact[Tensor, "batch target annotation"],
        Inexact[Tensor, "batch target attended"],
    ]:
        """(s_i, c_i, alpha_i) of all steps at once, (1.5)-(1.7), from the decoder's `project`ed y_{i-1}."""
        decoder, batch, time = self.decoder, *projected.shape[:2]
        if self.attention is None:
            only = source.annotations  # (B, 1, n)
            states = gru(projected + only @ decoder.C, source.state, decoder.U)
            ones = xp(only.data).ones((batch, time, 1), only.dtype)
            return states, ops.broadcast_to(only, (batch, time, only.shape[-1])), Tensor(ones)
        W_a, v_a = self.attention.W_a, self.attention.v_a
        return attentive_gru(
            projected, source.state, source.keys, source.annotations, W_a, v_a, decoder.C, decoder.U, source.mask
        )

    def step(
        self, state: Inexact[Tensor, "batch hidden"], previous: Integer[Array, " batch"], source: Source
    ) -> tuple[Inexact[Tensor, "batch hidden"], Inexact[Tensor, "batch words"], Inexact[Tensor, "batch source"]]:
        """One step of decoding: (s_i, log p(y_i), alpha_i) from s_{i-1} and y_{i-1}."""
        embedded = self.decoder.embed(previous)
        context, weights = self.attend(state, source)
        new = self.decoder.advance(self.decoder.project(embedded), context, state)
        scores = self.decoder.scores(state if self.decoder.readout == "previous" else new, embedded, context)
        return new, ops.log_softmax(scores), weights


def _initializer(config: RNNsearchConfig) -> Initializer:
    """How weights start that are not recurrent: N(0, 0.01^2) in appendix B.1."""
    return init.normal if config.initial == "paper" else init.glorot_uniform


def _embedding_std(config: RNNsearchConfig) -> float:
    return 0.01 if config.initial == "paper" else 0.1
