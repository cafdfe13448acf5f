"""A language model of the Transformer's layers: p(text) = product over t of p(symbol_t | symbols before).

The decoder of A. Vaswani et al., "Attention is all you need", NIPS 2017, without an encoder to attend to: layers of
causal self-attention and a feed-forward network, one matrix E going in and coming out (section 3.4).

    x_0 = Dropout(sqrt(d) E[symbols] + PE)
    x_l = layer l of x_{l-1}, causal
    p(symbol_{t+1}) = softmax(LayerNorm(x_N) E^T)_t         the layer norm with norm="pre" alone

Deviations from the paper: the defaults are those of A. Radford et al., "Language models are unsupervised multitask
learners", 2019 (GPT-2): layer norm in front, the tanh form of GELU for max(0, .), learned positions and biases in the
projections.  GPT-2's embeddings are not multiplied by sqrt(d), its weights start at N(0, 0.02^2), smaller at the end of
each sub-layer, and its layer norm's eps is 1e-5; here all that is as in `transformer.py`.  It trains with dropout 0.1,
which is 0 here unless set.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
from jaxtyping import Inexact, Integer

from minattn.autograd import Array, Tensor, asnumpy, no_grad
from minattn.errors import ConfigError
from minattn.models.sequence.search import refuse_nan
from minattn.models.sequence.transformer_layers import (
    ACTIVATIONS,
    Activation,
    Cache,
    EncoderLayer,
    Norm,
    Positions,
    WordEmbedding,
    check_network,
    make_positions,
)
from minattn.models.settings import check_choices, check_sizes
from minattn.nn import Dropout, LayerNorm, Module
from minattn.nn.initializers import Rng


@dataclass(frozen=True)
class LanguageModelConfig:
    """Sizes by the Transformer's letters; `words` is the number of symbols, be they words, characters or bytes."""

    words: int = 256
    layers: int = 4
    d_model: int = 256
    d_ff: int = 1024
    heads: int = 4
    dropout: float = 0.0
    norm: Norm = "pre"
    positions: Positions = "learned"
    max_length: int = 128  # learned positions only
    activation: Activation = "gelu_tanh"
    biases: bool = True
    layer_norm_eps: float = 1e-6

    def __post_init__(self) -> None:
        check_sizes(self, "words", "layers", "d_model", "d_ff", "heads", "max_length")
        choices = {"norm": ("post", "pre"), "positions": ("sinusoidal", "learned"), "activation": tuple(ACTIVATIONS)}
        check_choices(self, **choices)
        check_network(self)


class LanguageModel(Module):
    """A causal language model.  rng draws the weights, and in training what dropout leaves out."""

    def __init__(self, config: LanguageModelConfig, rng: Rng) -> None:
        self.config = config
        d, eps = config.d_model, config.layer_norm_eps
        self.embedding = WordEmbedding(config.words, d, rng)
        self.positions = make_positions(config, rng)
        self.dropout = Dropout(config.dropout, rng)
        settings = {name: getattr(config, name) for name in ("dropout", "norm", "biases", "activation")} | {"eps": eps}
        self.layers = [EncoderLayer(d, config.heads, config.d_ff, rng, **settings) for _ in range(config.layers)]
        self.norm = LayerNorm(d, eps) if config.norm == "pre" else None

    def forward(
        self, ids: Integer[Array, "batch n"], weights: bool = False
    ) -> tuple[Inexact[Tensor, "batch n words"], tuple[Inexact[Tensor, "batch heads n n"], ...] | None]:
        """The logits of the symbol after each; weights=True: also the weights of every head, a tensor for each layer.

        Raises ShapeError for more symbols than there are learned positions.
        """
        x = self.dropout(self.positions(self.embedding(ids)))
        alignments = []
        for layer in self.layers:
            x, alignment = layer(x, causal=True, weights=weights)
            alignments.append(alignment)
        return self._scores(x), tuple(alignments) if weights else None

    def step(
        self, state: Cache | None, ids: Integer[Array, "batch n"]
    ) -> tuple[Cache, Inexact[Tensor, "batch n words"]]:
        """Read on: (state, logits of the symbol after each) for symbols that follow those of `state`; None: the first.

        The state holds the keys and values of all symbols so far, so that none is read twice.
        """
        state = Cache((None,) * len(self.layers)) if state is None else state
        x, memories = self.dropout(self.positions(self.embedding(ids), start=state.length)), []
        for layer, past in zip(self.layers, state.layers, strict=True):
            x, memory = layer.step(x, past)
            memories.append(memory)
        return Cache(tuple(memories)), self._scores(x)

    def generate(
        self,
        prompt: Integer[np.ndarray, " n"],
        length: int,
        rng: Rng,
        temperature: float = 1.0,
        top_k: int | None = None,
        end: int | None = None,
    ) -> Integer[np.ndarray, " made"]:
        """`length` symbols that go on from the prompt, as `symbols` draws them; fewer where `end` comes, the last then.

        Raises ConfigError for an empty prompt and for numbers that make no sense, TrainingError where logits are NaN.
        """
        if length < 0:
            raise ConfigError(f"length must be at least 0, got {length}")
        made: list[int] = []
        for symbol in islice(self.symbols(prompt, rng, temperature, top_k), length):
            made.append(symbol)
            if symbol == end:
                break
        return np.array(made, dtype=int)

    def symbols(
        self,
        prompt: Integer[np.ndarray, " n"],
        rng: Rng,
        temperature: float = 1.0,
        top_k: int | None = None,
        longest: int | None = None,
    ) -> Iterator[int]:
        """The symbols that go on from the prompt, without end, each drawn from softmax(logits / temperature).

        temperature: below 1 the likely get likelier; 0 takes the likeliest.  top_k: draw among the k likeliest only.
        longest: how many symbols the model sees at most, as many as it was trained on; where the text gets longer than
        that, or than there are learned positions, the model goes on from its last half.  `eval()` is the caller's: in
        training mode dropout is on here too.

        Raises ConfigError, before the first symbol is asked for, as `generate` does.
        """
        prompt = np.asarray(prompt)
        if len(prompt) == 0:
            raise ConfigError("a prompt needs at least one symbol, got none; hint: begin with a line break")
        if not 0 <= temperature < np.inf or (top_k is not None and top_k < 1):
            raise ConfigError(
                f"temperature must be a finite number of at least 0 and top_k, if given, at least 1; got {temperature} "
                f"and {top_k}"
            )
        if longest is not None and longest < 1:
            raise ConfigError(f"longest, if given, must be at least 1, got {longest}")
        room = [self.config.max_length] if self.config.positions == "learned" else []
        room += [] if longest is None else [longest]
        return self._symbols(prompt.tolist(), rng, temperature, top_k, min(room, default=None))

    def _symbols(
        self, text: list[int], rng: Rng, temperature: float, top_k: int | None, longest: int | None
    ) -> Iterator[int]:
        state, read = None, 0
        while True:
            if longest is not None and len(text) - read + _length(state) > longest:
                state, read = None, len(text) - (longest + 1) // 2
            with no_grad():  # not across the yield: whoever takes the symbol may want gradients
                state, logits = self.step(state, np.array([text[read:]]))
            read = len(text)
            text.append(_drawn(asnumpy(logits.data)[0, -1].astype(np.float64), rng, temperature, top_k))
            yield text[-1]

    def _scores(self, x: Tensor) -> Tensor:
        """The logits."""
        return self.embedding.scores(x if self.norm is None else self.norm(x))


def _length(state: Cache | None) -> int:
    return 0 if state is None else state.length


def _drawn(logits: np.ndarray, rng: Rng, temperature: float, top_k: int | None) -> int:
    """A symbol from softmax(logits / temperature), among the top_k likeliest."""
    refuse_nan(logits)
    if temperature == 0:
        return int(np.argmax(logits))
    likeliest = np.argsort(-logits, kind="stable")[:top_k]
    with np.errstate(over="ignore"):  # a temperature near 0 makes the unlikely impossible
        p = np.exp((logits[likeliest] - logits[likeliest[0]]) / temperature)
    return int(rng.choice(likeliest, p=p / p.sum()))
