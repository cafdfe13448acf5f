"""Show, Attend and Tell: a decoder that describes an image word by word, attending to it before every word.

K. Xu, J. Ba, R. Kiros, K. Cho, A. Courville, R. Salakhutdinov, R. Zemel and Y. Bengio, "Show, attend and tell: neural
image caption generation with visual attention", ICML 2015, sections 3 and 4.  Vectors are rows, so every matrix of the
paper stands transposed and on the right.  An image is L annotations a_i, one for each location of a convolutional map.

    c_0 = f_c(mean_i a_i),  h_0 = f_h(mean_i a_i)                                    (a)  section 3.1.2
    alpha_t, z_t = soft or hard attention of h_{t-1} over a, with the gate beta_t    (b)  sections 4.1 and 4.2
    h_t, c_t = LSTM of E y_{t-1}, h_{t-1} and z_t                                    (c)  section 3.1.2
    p(y_t | a, y_1 .. y_{t-1}) = softmax(L_o (E y_{t-1} + L_h h_t + L_z z_t))        (d)  section 3.1.2

Deviations from the paper; the authors' code has all but the first, `init="glorot"` and attention="none":
* y_0, which is a vector of zeros there, is BOS, with an embedding of its own.
* f_c and f_h are one tanh layer each, on top of `init_layers` - 1 shared ReLU layers.
* (d) has biases and a tanh: L_o tanh(E y_{t-1} + L_h h_t + b_h + L_z z_t + b_z) + b_o.
* Dropout acts on h_t, before L_h, on the tanh, and on the ReLU layers before f_c and f_h.
* Matrices are drawn from N(0, 0.01^2); square ones, except the first of f_att, and the blocks of U are orthogonal.
  `init="glorot"` draws them Glorot-uniform, the blocks of U still orthogonal, and the embeddings from N(0, 1), with
  forget-gate biases of 1.
* attention="none" is the network without attention: z_t is the mean annotation at every step.
"""

from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple, get_args

from jaxtyping import Bool, Float, Inexact, Integer

from minattn.attention.sequence import VisualAttention, visual_lstm
from minattn.attention.sequence.visual import Init, gated_context, start, visual_weights
from minattn.attention.sequence.visual_hard import likeliest_locations
from minattn.autograd import Array, Tensor, ops, xp
from minattn.errors import ConfigError, ShapeError
from minattn.models.settings import check_choices, check_sizes
from minattn.nn import Dropout, Embedding, Linear, Module, initializers, lstm, lstm_cell
from minattn.nn.attention_paths import Attention
from minattn.nn.initializers import Rng
from minattn.nn.recurrent.lstm import FORGET_BIAS
from minattn.published import Network, Paper

Kind = Literal["soft", "hard", "none"]


@dataclass(frozen=True)
class ShowAttendTellConfig:
    """Sizes by the paper's letters.  The defaults are those of the authors' soft attention for MS COCO."""

    vocab_size: Annotated[int, "K: size of the vocabulary"] = 10_000
    annotation: Annotated[int, "D: size of an annotation"] = 512
    embedding: Annotated[int, "m: size of the word embeddings"] = 512
    hidden: Annotated[int, "n: size of the hidden state"] = 1800
    attention: Annotated[Kind, "attention to all locations at once, to one that is drawn, or to their mean"] = "soft"
    attention_layers: Annotated[int, "layers of f_att before the state comes in"] = 2
    init_layers: Annotated[int, "layers of the first state"] = 2
    gate: Annotated[bool, "the gate beta of the context"] = True
    dropout: Annotated[float, "dropout rate of the state before it predicts, and of the tanh"] = 0.5
    init: Annotated[Init, "initial values of the parameters"] = "paper"

    def __post_init__(self) -> None:
        check_sizes(self, "vocab_size", "annotation", "embedding", "hidden", "attention_layers", "init_layers")
        check_choices(self, attention=get_args(Kind), init=get_args(Init))
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"dropout must be in [0, 1), got {self.dropout}; hint: 0 for no dropout")


CONFIGURATIONS = {
    "coco_soft": ShowAttendTellConfig(),  # 35,333,450 parameters, without the network of the annotations
    "coco_hard": ShowAttendTellConfig(attention="hard"),  # as many
}
"""The published configurations."""


# ---------------------------------------------------------------------------------------------- encoded images
@dataclass(frozen=True)
class State:
    """The state of decoding between two steps."""

    hidden: Tensor  # (B, n), h
    cell: Tensor  # (B, n), c

    def __getitem__(self, rows: Array) -> "State":
        """Return the state of the captions at these row indices, which may repeat."""
        return State(ops.take(self.hidden, rows), ops.take(self.cell, rows))


class Source(NamedTuple):
    """A batch of images, as the decoder needs it."""

    annotations: Tensor  # a (B, L, D); without attention the mean annotation (B, 1, D)
    keys: Tensor | None  # p (B, L, D); None without attention
    state: State  # before the first step
    likeliest: bool = False  # in steps of hard attention, the likeliest location and not the expectation

    @property
    def batch(self) -> int:
        """The number of images."""
        return self.annotations.shape[0]

    def select(self, rows: Array) -> "Source":
        """Return the images at these row indices, which may repeat."""
        keys = None if self.keys is None else ops.take(self.keys, rows)
        return Source(ops.take(self.annotations, rows), keys, self.state[rows], self.likeliest)


class Draws(NamedTuple):
    """The random numbers of hard attention, which draw the locations, and whose locations are drawn."""

    uniform: Float[Array, "batch words"]  # in [0, 1)
    sampled: Bool[Array, " batch"]  # False: the expectation is taken


# ---------------------------------------------------------------------------------------------- the network
class ShowAttendTell(Module):
    """The network from annotations to words.  rng draws the parameters and, in training, the dropout masks."""

    def __init__(self, config: ShowAttendTellConfig, rng: Rng) -> None:
        self.config = config
        m, n, D = config.embedding, config.hidden, config.annotation
        glorot = config.init == "glorot"
        self.embedding = Embedding(config.vocab_size, m, rng, std=1.0 if glorot else 0.01)
        self.W = start(config.init, m, 4 * n, rng)  # of the LSTM, [i | f | o | g] side by side
        self.W_z = start(config.init, D, 4 * n, rng)
        self.U = initializers.orthogonal((n, 4 * n), rng, blocks=4)
        self.b = initializers.concatenated(
            [initializers.constant((n,), value).data for value in (0.0, FORGET_BIAS * glorot, 0.0, 0.0)]
        )
        self.attention = None
        if config.attention != "none":
            self.attention = VisualAttention(n, D, rng, config.attention_layers, config.gate, config.init)
        self.init_layers = [self._linear(D, D, rng) for _ in range(config.init_layers - 1)]
        self.init_h, self.init_c = self._linear(D, n, rng), self._linear(D, n, rng)
        self.L_h, self.L_z = self._linear(n, m, rng), self._linear(D, m, rng)
        self.L_o = self._linear(m, config.vocab_size, rng)
        self.dropout = Dropout(config.dropout, rng)

    def _linear(self, inputs: int, outputs: int, rng: Rng) -> Linear:
        """A layer with a bias, whose matrix is initialized as the configuration says."""
        layer = Linear(inputs, outputs, rng)
        if self.config.init == "paper":
            layer.weight = start("paper", inputs, outputs, rng)
        return layer

    def encode(self, annotations: Inexact[Tensor, "batch locations annotation"], likeliest: bool = False) -> Source:
        """Prepare annotations for the steps; likeliest: each step attends to the likeliest location alone.

        Raises ShapeError for images of a single location, with attention.
        """
        locations = annotations.shape[1]
        if locations < 1 + (self.attention is not None):
            raise ShapeError(
                f"an image of {locations} annotations leaves attention nothing to choose; expected 2 at least; hint: "
                "larger images, or an encoder with larger maps"
            )
        mean = summary = ops.mean(annotations, axis=1)
        for layer in self.init_layers:
            summary = self.dropout(ops.relu(layer(summary)))
        state = State(ops.tanh(self.init_h(summary)), ops.tanh(self.init_c(summary)))  # (a)
        if self.attention is None:
            return Source(ops.expand_dims(mean, 1), None, state)
        return Source(annotations, self.attention.keys(annotations), state, likeliest)

    def forward(
        self,
        annotations: Inexact[Tensor, "batch locations annotation"],
        previous: Integer[Array, "batch words"],
        draws: Draws | None = None,
        return_attention: bool = False,
    ) -> Inexact[Tensor, "batch words vocab"] | tuple[Inexact[Tensor, "batch words vocab"], Attention]:
        """Teacher forcing: return the logits of every y_t given the true y_0 .. y_{t-1}.

        previous: y_0 (BOS) .. y_{C-1}.  draws: of hard attention; None: its expectation, which is soft attention.
        return_attention=True: (logits, attention), with the weights (batch, words, locations) under "attention";
        without attention there are none.
        """
        source, embedded = self.encode(annotations), self.embedding(previous)
        projected = ops.linear(embedded, self.W, self.b)
        if self.attention is None:
            gates = projected + source.annotations @ self.W_z
            states, _ = lstm(gates, source.state.hidden, source.state.cell, self.U)  # (c)
            logits = self._logits(embedded, states, source.annotations)
            return (logits, {}) if return_attention else logits
        of = self.attention
        states, contexts, weights = visual_lstm(
            *(projected, source.state.hidden, source.state.cell, source.keys, source.annotations),
            *(of.W_d, of.U, of.c, self.W_z, self.U, *((of.W_beta, of.b_beta) if self.config.gate else ())),
            **({} if draws is None else {"draws": draws.uniform, "sampled": draws.sampled}),
        )  # (b) (c)
        logits = self._logits(embedded, states, contexts)
        return (logits, {"attention": weights}) if return_attention else logits

    def step(
        self, state: State, previous: Integer[Array, " batch"], source: Source
    ) -> tuple[State, Inexact[Tensor, "batch vocab"], Inexact[Tensor, "batch locations"]]:
        """One step of decoding: return (state, log p(y_t), alpha_t) from the state before and y_{t-1}.

        Without attention alpha_t is (B, 1), all of it on the image as a whole.
        """
        embedded = self.embedding(previous)
        context, weights = self._look(state.hidden, source)
        projected = ops.linear(embedded, self.W, self.b) + context @ self.W_z
        after = State(*lstm_cell(projected, state.hidden, state.cell, self.U))  # (c)
        return after, ops.log_softmax(self._logits(embedded, after.hidden, context)), weights

    def _look(
        self, hidden: Inexact[Tensor, "batch hidden"], source: Source
    ) -> tuple[Inexact[Tensor, "batch annotation"], Inexact[Tensor, "batch locations"]]:
        """Return (z_t, alpha_t) for the state h_{t-1}."""
        of = self.attention
        if of is None:
            only = source.annotations.data
            return source.annotations[:, 0], Tensor(xp(only).ones(only.shape[:2], only.dtype))
        weights = locations = visual_weights(hidden @ of.W_d, source.keys, of.U, of.c)
        if source.likeliest:
            locations = likeliest_locations(weights)
        return gated_context(locations, source.annotations, of.gate(hidden)), weights  # (b)

    def _logits(
        self,
        embedded: Inexact[Tensor, "*batch embedding"],
        states: Inexact[Tensor, "*batch hidden"],
        contexts: Inexact[Tensor, "*batch2 annotation"],
    ) -> Inexact[Tensor, "*batch vocab"]:
        """The logits of y_t, for one step or for all of them at once."""
        sums = embedded + self.L_h(self.dropout(states)) + self.L_z(contexts)
        return self.L_o(self.dropout(ops.tanh(sums)))  # (d)


NETWORK = Network(
    name="Show, Attend and Tell",
    paper=Paper("Xu et al.", 2015, "Show, attend and tell: neural image caption generation with visual attention"),
    equation="section 3.1.2: p(y_t) = softmax(L_o (E y_t-1 + L_h h_t + L_z z_t)), h_t an LSTM of E y_t-1, h_t-1, z_t",
    code="ShowAttendTell",
    command="minattn train captions",
    experiment="experiments/captions_attention.py",
)
