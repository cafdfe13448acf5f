"""A causal language model made of the Transformer's layers: p(text) = product over t of p(symbol_t | symbols before).

The decoder of A. Vaswani et al., "Attention is all you need", NIPS 2017, without an encoder to attend to: layers of
causal self-attention and a feed-forward network, one matrix E at the input and the output (section 3.4).

    x_0 = Dropout(sqrt(d) E[symbols] + PE)                  (a)  without PE where positions are rotary
    x_l = layer l of x_{l-1}, causal                        (b)
    p(symbol_{t+1}) = softmax(LayerNorm(x_N) E^T)_t         (c)  the layer norm with norm="pre" only

Deviations from the paper: the defaults are those of A. Radford et al., "Language models are unsupervised multitask
learners", 2019 (GPT-2): layer norm before each sub-layer, the tanh form of GELU for max(0, .), learned positions and
biases in the projections.  GPT-2's embeddings are not multiplied by sqrt(d), its parameters start at N(0, 0.02^2),
smaller at the end of each sub-layer, and its layer norm's eps is 1e-5; here all that is as in `transformer.py`.  It
trains with dropout 0.1, which is 0 here unless set.  With positions="rotary", queries and keys are rotated by their
positions (`attention/self_attention/rotary.py`).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Annotated, Literal

import numpy as np
from jaxtyping import Inexact, Integer

from minattn.autograd import Array, Tensor, asnumpy, no_grad
from minattn.errors import ConfigError
from minattn.models.sequence.sampling import checked_prompt, draw
from minattn.models.sequence.transformer_layers import (
    ACTIVATIONS,
    Activation,
    Cache,
    EncoderLayer,
    LayerConfig,
    Norm,
    WordEmbedding,
    check_network,
    make_positions,
)
from minattn.models.settings import check_choices, check_sizes
from minattn.nn import Dropout, LayerNorm, Module
from minattn.nn.attention_paths import Attention, prefixed
from minattn.nn.initializers import Rng
from minattn.published import Network, Paper


@dataclass(frozen=True)
class LanguageModelConfig:
    """Sizes by the Transformer's letters.  Symbols may be words, characters or bytes."""

    vocab_size: Annotated[int, "number of symbols"] = 256
    layers: Annotated[int, "N: layers"] = 4
    d_model: Annotated[int, "size of the embeddings and of the output of every sub-layer"] = 256
    d_ff: Annotated[int, "size of the hidden layer of the feed-forward networks"] = 1024
    heads: Annotated[int, "h: attention heads"] = 4
    dropout: Annotated[float, "dropout rate of sub-layers and embeddings"] = 0.0
    norm: Annotated[Norm, "layer norm after each residual connection, or before each sub-layer"] = "pre"
    positions: Annotated[Literal["sinusoidal", "learned", "rotary"], "positional encoding"] = "learned"
    max_length: Annotated[int, "number of positions, where they are learned"] = 128
    activation: Annotated[Activation, "activation of the feed-forward networks"] = "gelu_tanh"
    biases: Annotated[bool, "biases in the projections of attention"] = True
    layer_norm_eps: Annotated[float, "epsilon of layer norm"] = 1e-6

    def __post_init__(self) -> None:
        check_sizes(self, "vocab_size", "layers", "d_model", "d_ff", "heads", "max_length")
        positions = ("sinusoidal", "learned", "rotary")
        check_choices(self, norm=("post", "pre"), positions=positions, activation=tuple(ACTIVATIONS))
        check_network(self)
        if self.positions == "rotary" and self.d_model // self.heads % 2:
            raise ConfigError(
                f"rotary positions need heads of an even size, got d_model / heads = {self.d_model // self.heads}; "
                'hint: other sizes, or positions="learned"'
            )


class LanguageModel(Module):
    """A causal language model.  rng draws the parameters, and in training the dropout masks."""

    def __init__(self, config: LanguageModelConfig, rng: Rng) -> None:
        self.config = config
        layer = LayerConfig.of(config, rotary=config.positions == "rotary")
        self.embedding = WordEmbedding(config.vocab_size, config.d_model, rng)
        self.positions = make_positions(config, rng)
        self.dropout = Dropout(config.dropout, rng)
        self.layers = [EncoderLayer(layer, rng) for _ in range(config.layers)]
        self.norm = LayerNorm(config.d_model, config.layer_norm_eps) if config.norm == "pre" else None

    def forward(
        self, ids: Integer[Array, "batch n"], return_attention: bool = False
    ) -> Inexact[Tensor, "batch n vocab"] | tuple[Inexact[Tensor, "batch n vocab"], Attention]:
        """Return the logits of the symbol after each; with return_attention=True (logits, attention), the weights of
        every head under "layers.0.self_attention", and so on for each layer.

        Raises ShapeError for more symbols than there are learned positions.
        """
        x, attention = self.dropout(self.positions(self.embedding(ids))), {}  # (a)
        for i, layer in enumerate(self.layers):
            x, inner = layer(x, causal=True, need_weights=return_attention)  # (b)
            attention |= prefixed(f"layers.{i}", inner)
        logits = self._logits(x)
        return (logits, attention) if return_attention else logits

    def step(
        self, state: Cache | None, ids: Integer[Array, "batch n"]
    ) -> tuple[Cache, Inexact[Tensor, "batch n vocab"]]:
        """Return (state, logits of the symbol after each) for symbols that follow those of `state`; None: the first.

        The state holds the keys and values of all symbols so far, so that none is computed twice.
        """
        state = Cache((None,) * len(self.layers)) if state is None else state
        x, layers = self.dropout(self.positions(self.embedding(ids), start=state.length)), []
        for layer, past in zip(self.layers, state.layers, strict=True):
            x, past, _ = layer.step(x, past, need_weights=False)
            layers.append(past)
        return Cache(tuple(layers)), self._logits(x)

    def generate(
        self,
        prompt: Integer[np.ndarray, " n"],
        length: int,
        rng: Rng,
        temperature: float = 1.0,
        top_k: int | None = None,
        eos: int | None = None,
    ) -> Integer[np.ndarray, " made"]:
        """Return `length` symbols that continue the prompt, drawn as by `symbols`; fewer where `eos` comes, then last.

        Raises ConfigError for an empty prompt and for numbers that make no sense, TrainingError where logits are NaN.
        """
        if length < 0:
            raise ConfigError(f"length must be at least 0, got {length}")
        made: list[int] = []
        for symbol in islice(self.symbols(prompt, rng, temperature, top_k), length):
            made.append(symbol)
            if symbol == eos:
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
        """Iterate over symbols that continue the prompt, endlessly, each drawn from softmax(logits / temperature).

        temperature: below 1 sharpens the distribution; 0 takes the likeliest.  top_k: draw among the k likeliest only.
        longest: the longest context, such as that of training; a text longer than that, or than the learned positions,
        is continued from its last half.  Call `eval()` first: in training mode dropout is on here too.

        Raises ConfigError, before the first symbol is asked for, as `generate` does.
        """
        prompt = checked_prompt(prompt, temperature, top_k, longest)
        room = [self.config.max_length] if self.config.positions == "learned" else []
        room += [] if longest is None else [longest]
        return self._symbols(prompt.tolist(), rng, temperature, top_k, min(room, default=None))

    def _symbols(
        self, text: list[int], rng: Rng, temperature: float, top_k: int | None, longest: int | None
    ) -> Iterator[int]:
        state, seen = None, 0
        while True:
            if longest is not None and len(text) - seen + _length(state) > longest:
                state, seen = None, len(text) - (longest + 1) // 2
            with no_grad():  # not across the yield: the caller may want gradients
                state, logits = self.step(state, np.array([text[seen:]]))
            seen = len(text)
            text.append(draw(asnumpy(logits.data)[0, -1].astype(np.float64), rng, temperature, top_k))
            yield text[-1]

    def _logits(self, x: Tensor) -> Tensor:
        return self.embedding.logits(x if self.norm is None else self.norm(x))  # (c)


def _length(state: Cache | None) -> int:
    return 0 if state is None else state.length


NETWORK = Network(
    name="causal language model",
    paper=Paper("Radford et al.", 2019, "Language models are unsupervised multitask learners"),
    equation="p(text) = product of p(symbol_t | symbols before it)",
    code="LanguageModel",
    command="minattn train lm",
)
