"""Luong's translation network: stacked LSTMs with global or local attention and input feeding.

M.-T. Luong, H. Pham and C. D. Manning, "Effective approaches to attention-based neural machine translation", EMNLP
2015.  Vectors are rows, so every matrix of the paper stands transposed and on the right.  What the paper does not
number has a letter.

Encoder (section 2): L layers of LSTM over the source, from its end to its start (section 4.2); hbar_s is the state of
the last layer at s.
Decoder, from the states and cells that the encoder ends with, for t = 1, 2, ..:
    h_t^1 = LSTM of [E y_{t-1} ; h~_{t-1}] and h_{t-1}^1, h~_0 = 0; input feeding, section 3.3                 (a)
    h_t^l = LSTM of h_t^{l-1} and h_{t-1}^l, for the layers l = 2 .. L; h_t = h_t^L                            (b)
    c_t, a_t = global (section 3.1) or local (section 3.2) attention of h_t over hbar                          (c)
    h~_t  = tanh(W_c [c_t ; h_t])                                                                              (5)
    p(y_t | y_1 .. y_{t-1}, x) = softmax(W_s h~_t)                                                             (6)
Without input feeding (a) is an LSTM of E y_{t-1} alone.  Without attention, attention="none", h~_t is h_t.

Deviations from the paper, besides those of the attention:
* y_0, which the paper does not define, is BOS, with an embedding of its own.
* With a reversed source, the states and the alignment stay in the order of the sentence, which local-m follows.
* `dropout` acts on the inputs of every LSTM: E y, h~ with input feeding, the state of the layer below.  This follows
  the authors' code; the paper refers to Zaremba et al. 2014.
* `biases`, which the authors' code does not have, start at 0, those of the forget gates at 1.
* `init="glorot"` starts matrices Glorot-uniform, the recurrent ones orthogonal, the embeddings at N(0, 1), and W_s,
  whose logits must not depend on the number of words, uniform with variance 1 / n.  The paper's [-0.1, 0.1] is made for
  n = 1000.  With smaller embeddings or a smaller W_s, the network first saturates the tanh of h~, equally for all
  words, to express which words are frequent, and hardly recovers.
* The size of the embeddings, n in the paper, may differ from n.
* Padding, which the paper does not mention, is masked: the encoder carries its state past it, and attention skips it.
"""

import math
from dataclasses import dataclass, replace
from typing import Annotated, Literal, NamedTuple, get_args

from jaxtyping import Bool, Inexact, Integer

from minattn.attention.sequence import GlobalAttention, LocalAttention, attentional_lstm
from minattn.attention.sequence.luong import Memory, Score, attentional_vector, start
from minattn.autograd import Array, Tensor, ops, xp
from minattn.errors import ConfigError, ShapeError
from minattn.models.settings import check_choices, check_sizes
from minattn.nn import LSTM, Dropout, Embedding, Module, Parameter, initializers, lstm_cell
from minattn.nn.attention_paths import Attention
from minattn.nn.initializers import Rng
from minattn.nn.recurrent.shared import zero_state
from minattn.published import Network, Paper

Kind = Literal["none", "global", "local-m", "local-p"]


@dataclass(frozen=True)
class LuongConfig:
    """Sizes by the paper's letters.  The defaults are its best single model, local-p (general) with input feeding."""

    source_vocab_size: Annotated[int, "size of the source vocabulary"] = 50_000
    target_vocab_size: Annotated[int, "size of the target vocabulary"] = 50_000
    embedding: Annotated[int, "size of the word embeddings"] = 1000
    hidden: Annotated[int, "n: size of the hidden states"] = 1000
    layers: Annotated[int, "LSTM layers, in the encoder and in the decoder"] = 4
    attention: Annotated[Kind, "attention over the whole source, or a window that follows the step or is predicted"] = (
        "local-p"
    )
    score: Annotated[Score, "score of the attention"] = "general"
    feeding: Annotated[bool, "feed the attentional vector into the next step"] = True
    reverse: Annotated[bool, "encode the source from its end to its start"] = True
    window: Annotated[int, "D: positions of a local window to each side"] = 10
    positions: Annotated[int, "S_max: positions that the location score knows"] = 50
    dropout: Annotated[float, "dropout rate of the inputs of every LSTM"] = 0.2
    biases: Annotated[bool, "biases in the LSTMs"] = False
    init: Annotated[Literal["paper", "glorot"], "initial values of the parameters"] = "paper"

    def __post_init__(self) -> None:
        check_sizes(self, "source_vocab_size", "target_vocab_size", "embedding", "hidden", "layers", "positions")
        check_choices(self, attention=get_args(Kind), score=get_args(Score), init=("paper", "glorot"))
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"dropout must be in [0, 1), got {self.dropout}; hint: 0 for no dropout")
        least = 1 if self.attention == "local-p" else 0
        if not isinstance(self.window, int) or self.window < least:
            raise ConfigError(f"window must be a whole number of at least {least}, got {self.window!r}; hint: 10")
        if self.feeding and self.attention == "none":
            raise ConfigError('without attention there is no vector to feed; hint: feeding=False or attention="global"')


BASE = LuongConfig(attention="none", feeding=False, reverse=False, dropout=0.0)
GLOBAL = LuongConfig(attention="global")
CONFIGURATIONS = {
    "base": BASE,
    "base, reverse": replace(BASE, reverse=True),
    "base, reverse, dropout": replace(BASE, reverse=True, dropout=0.2),
    "global (location)": replace(GLOBAL, score="location", feeding=False),
    "global (dot)": replace(GLOBAL, score="dot", feeding=False),
    **{f"global ({score}), feed": replace(GLOBAL, score=score) for score in get_args(Score)},
    **{
        f"{attention} ({score}), feed": LuongConfig(attention=attention, score=score)
        for attention in ("local-m", "local-p")
        for score in ("dot", "general")
    },
}
"""The published configurations: the rows of Tables 1 and 4, and the two forms of concat."""


# ---------------------------------------------------------------------------------------------- encoded sources
@dataclass(frozen=True)
class State:
    """The state of decoding between two steps."""

    hidden: Tensor  # (L, B, n), h^1 .. h^L
    cell: Tensor  # (L, B, n)
    vector: Tensor  # (B, n), h~
    steps: int  # that have been made

    def __getitem__(self, rows: Array) -> "State":
        """Return the state of the sequences at these row indices, which may repeat."""
        hidden, cell = ops.take(self.hidden, rows, axis=1), ops.take(self.cell, rows, axis=1)
        return State(hidden, cell, ops.take(self.vector, rows), self.steps)


class Source(NamedTuple):
    """An encoded batch of sources, as the decoder needs it."""

    memory: Memory | None  # None without attention
    state: State  # before the first step

    @property
    def batch(self) -> int:
        """The number of sources."""
        return self.state.vector.shape[0]

    def select(self, rows: Array) -> "Source":
        """Return the sources at these row indices, which may repeat."""
        return Source(None if self.memory is None else self.memory.select(rows), self.state[rows])


# ---------------------------------------------------------------------------------------------- the network
class Encoder(Module):
    """Embeddings and L layers of LSTM, over the source or, reversed, from its end."""

    def __init__(self, config: LuongConfig, rng: Rng) -> None:
        self.embedding = make_embedding(config.source_vocab_size, config, rng)
        self.dropout = Dropout(config.dropout, rng)
        sizes = [config.embedding] + [config.hidden] * (config.layers - 1)
        self.layers = [make_lstm(size, config, rng, config.reverse) for size in sizes]

    def forward(
        self, source: Integer[Array, "batch source"], mask: Bool[Array, "batch source"] | None
    ) -> tuple[
        Inexact[Tensor, "batch source hidden"],
        Inexact[Tensor, "layers batch hidden"],
        Inexact[Tensor, "layers batch hidden"],
    ]:
        """Return (hbar, the states that the layers end with, their cells)."""
        x, hidden, cells = self.embedding(source), [], []
        for layer in self.layers:
            x, cell = layer(self.dropout(x), mask)
            hidden.append(x[:, 0] if layer.reverse else x[:, -1])  # padding carries the state past it
            cells.append(cell)
        return x, ops.stack(hidden), ops.stack(cells)


class Decoder(Module):
    """The layers of LSTM, (5) and (6); the attention comes from outside."""

    def __init__(self, config: LuongConfig, rng: Rng) -> None:
        m, n = config.embedding, config.hidden
        self.feeding = config.feeding
        self.embedding = make_embedding(config.target_vocab_size, config, rng)
        self.dropout = Dropout(config.dropout, rng)
        sizes = [m + n if config.feeding else m] + [n] * (config.layers - 1)
        self.layers = [make_lstm(size, config, rng) for size in sizes]
        self.W_c = None if config.attention == "none" else start(rng, config.init, 2 * n, n)
        self.W_s = make_readout(config, rng)

    def step(
        self, previous: Integer[Array, " batch"], state: State
    ) -> tuple[Inexact[Tensor, "layers batch hidden"], Inexact[Tensor, "layers batch hidden"]]:
        """Return the states and the cells of all layers, from y_{t-1} and the state before."""
        x = self.embedding(previous)
        if self.feeding:
            x = ops.concat([x, state.vector], axis=-1)
        hidden, cells = [], []
        for layer, h, c in zip(self.layers, ops.unstack(state.hidden), ops.unstack(state.cell), strict=True):
            x, cell = lstm_cell(layer.project(self.dropout(x)), h, c, layer.U)  # (a) (b)
            hidden.append(x)
            cells.append(cell)
        return ops.stack(hidden), ops.stack(cells)

    def states(self, previous: Integer[Array, "batch target"], state: State) -> Inexact[Tensor, "batch target hidden"]:
        """Return h_t of all steps, without input feeding."""
        x = self.embedding(previous)
        for layer, h, c in zip(self.layers, ops.unstack(state.hidden), ops.unstack(state.cell), strict=True):
            x, _ = layer(self.dropout(x), hidden=h, cell=c)  # (a) (b)
        return x

    def feed(
        self, previous: Integer[Array, "batch target"], state: State, memory: Memory, attention: GlobalAttention
    ) -> tuple[Inexact[Tensor, "batch target hidden"], Inexact[Tensor, "batch target source"]]:
        """Return (h~_t, a_t) of all steps, with input feeding."""
        first, *others = self.layers
        embedded = self.dropout(self.embedding(previous))
        W_word, W_vector = ops.split(first.W, [embedded.shape[-1], first.size])
        matrices = [(W_vector, first.U), *((layer.W, layer.U) for layer in others)]
        return attentional_lstm(
            embedded @ W_word,
            state.hidden,
            state.cell,
            ops.stack([ops.concat(pair) for pair in matrices]),
            memory.keys,
            memory.values,
            self.W_c,
            None if first.bias is None else ops.stack([layer.bias for layer in self.layers]),
            **attention.arguments(memory),
            mask=memory.mask,
            keep=self._keep(embedded),
        )  # (a) (b) (c) (5)

    def _keep(self, embedded: Tensor) -> Array | None:
        """Return the factors by which dropout multiplies the inputs of the layers, h~ for the first, at every step."""
        if not (self.training and self.dropout.rate):
            return None
        batch, time, _ = embedded.shape
        ones = xp(embedded.data).ones((len(self.layers), time, batch, self.layers[0].size), embedded.dtype)
        return self.dropout(Tensor(ones)).data

    def logits(self, vectors: Inexact[Tensor, "*batch hidden"]) -> Inexact[Tensor, "*batch vocab"]:
        return ops.linear(vectors, self.W_s)  # (6)


class Luong(Module):
    """Luong's network.  rng draws the parameters and, in training, the dropout masks."""

    def __init__(self, config: LuongConfig, rng: Rng) -> None:
        self.config = config
        self.encoder = Encoder(config, rng)
        self.attention = make_attention(config, rng)
        self.decoder = Decoder(config, rng)

    def encode(self, source: Integer[Array, "batch source"], mask: Bool[Array, "batch source"] | None = None) -> Source:
        """Encode the source: ids (B, S), mask True = a real position (None: all are)."""
        if not source.shape[1]:
            raise ShapeError(f"a source needs at least one position, got {source.shape}; hint: EOS alone")
        states, hidden, cell = self.encoder(source, mask)
        memory = None if self.attention is None else self.attention.read(states, mask)
        return Source(memory, State(hidden, cell, zero_state(states, self.config.hidden), 0))

    def forward(
        self,
        source: Integer[Array, "batch source"],
        previous: Integer[Array, "batch target"],
        mask: Bool[Array, "batch source"] | None = None,
        return_attention: bool = False,
    ) -> Inexact[Tensor, "batch target vocab"] | tuple[Inexact[Tensor, "batch target vocab"], Attention]:
        """Teacher forcing: return the logits of every y_t given the true y_0 .. y_{t-1}.

        previous: y_0 (BOS) .. y_{T-1}.  return_attention=True: (logits, attention), with the weights (batch, target,
        source) under "attention"; without attention there are none.
        """
        memory, state = self.encode(source, mask)
        if self.config.feeding:
            vectors, weights = self.decoder.feed(previous, state, memory, self.attention)
        else:
            vectors, weights = self._attend(self.decoder.states(previous, state), memory)
        logits = self.decoder.logits(vectors)
        return (logits, {} if weights is None else {"attention": weights}) if return_attention else logits

    def step(
        self, state: State, previous: Integer[Array, " batch"], source: Source
    ) -> tuple[State, Inexact[Tensor, "batch vocab"], Inexact[Tensor, "batch source"]]:
        """One step of decoding: return (state, log p(y_t), a_t) from the state before and y_{t-1}.

        Without attention a_t is (B, 1), all of it on the source as a whole.
        """
        hidden, cell = self.decoder.step(previous, state)
        vectors, weights = self._attend(ops.expand_dims(hidden[-1], 1), source.memory, state.steps)
        after = State(hidden, cell, vectors[:, 0], state.steps + 1)
        if weights is None:
            weights = Tensor(xp(vectors.data).ones((*vectors.shape[:2], 1), vectors.dtype))
        return after, ops.log_softmax(self.decoder.logits(after.vector)), weights[:, 0]

    def _attend(
        self, states: Inexact[Tensor, "batch target hidden"], memory: Memory | None, first: int = 0
    ) -> tuple[Inexact[Tensor, "batch target hidden"], Inexact[Tensor, "batch target source"] | None]:
        """Return (h~, a) for the states of steps `first`, `first` + 1, ..; without attention (h, None)."""
        if memory is None:
            return states, None
        contexts, weights = self.attention.attend(states, memory, first)  # (c)
        return attentional_vector(contexts, states, self.decoder.W_c), weights  # (5)


# ---------------------------------------------------------------------------------------------- parts, as they start
def make_attention(config: LuongConfig, rng: Rng) -> GlobalAttention | None:
    """The attention of a configuration."""
    n, shared = config.hidden, {"positions": config.positions, "init": config.init}
    if config.attention == "none":
        return None
    if config.attention == "global":
        return GlobalAttention(n, n, rng, config.score, **shared)
    predictive = config.attention == "local-p"
    return LocalAttention(n, n, rng, config.score, predictive, config.window, **shared)


def make_embedding(vocab_size: int, config: LuongConfig, rng: Rng) -> Embedding:
    """Word vectors, uniform in [-0.1, 0.1] in the paper."""
    embedding = Embedding(vocab_size, config.embedding, rng, std=1.0)
    if config.init == "paper":
        embedding.weight = start(rng, "paper", vocab_size, config.embedding)
    return embedding


def make_readout(config: LuongConfig, rng: Rng) -> Parameter:
    """W_s of (6), uniform in [-0.1, 0.1] in the paper."""
    bound = 0.1 if config.init == "paper" else math.sqrt(3 / config.hidden)
    return initializers.uniform((config.hidden, config.target_vocab_size), rng, bound)


def make_lstm(inputs: int, config: LuongConfig, rng: Rng, reverse: bool = False) -> LSTM:
    """A layer of LSTM, all of it uniform in [-0.1, 0.1] in the paper."""
    if config.init == "glorot":
        return LSTM(inputs, config.hidden, rng, config.biases, reverse)
    lstm = LSTM(inputs, config.hidden, rng, config.biases, reverse, init=initializers.uniform)
    lstm.U = initializers.uniform((config.hidden, 4 * config.hidden), rng)
    return lstm


NETWORK = Network(
    name="Luong's network",
    paper=Paper("Luong, Pham & Manning", 2015, "Effective approaches to attention-based neural machine translation"),
    equation="(5) h~_t = tanh(W_c [c_t; h_t]); (6) p(y_t) = softmax(W_s h~_t); section 3.3: h~_t-1 is fed into step t",
    code="Luong",
    command="minattn train translate --model luong",
    experiment="experiments/luong_ladder.py",
)
