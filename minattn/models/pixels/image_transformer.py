"""The Image Transformer: p(image) = product over positions of p(position | those generated before).

N. Parmar, A. Vaswani, J. Uszkoreit, L. Kaiser, N. Shazeer, A. Ku and D. Tran, "Image Transformer", ICML 2018,
section 3.  Layers of the Transformer, with local self-attention (`attention/self_attention/local_attention.py`) in
place of that over all positions, generate an image of H x W pixels and C channels:

    categorical   each channel of a pixel is a position, in the order row, column, channel; a table of embeddings for
                  each channel; p is a softmax over 256 levels
    mixture       each pixel is a position, its channels embedded together; `logistic_mixture.py`

    x_0[t] = Dropout(e(position t - 1) + P_t),  e(position -1) = 0                              (a)
    q_a = LayerNorm(q + Dropout(attention(q)));  q' = LayerNorm(q_a + Dropout(FFN(q_a)))        (b)
    p(position t) = softmax(x_N[t] W + b), or the mixture of x_N[t] W + b                       (c)

t counts positions in the order of generation, which in blocks of two dimensions is block by block.  P_t is d / 2
numbers for the row of position t and d / 2 for its column, C columns for a pixel in the categorical form: sines and
cosines, half of each, or learned.

Super-resolution (section 3) has an encoder of the low-resolution image, layers of the Transformer whose positions, a
channel of a pixel each, attend to all others; every layer of the decoder attends to its output, after its local
attention:

    M = encoder(low-resolution image);  q_b = LayerNorm(q_a + Dropout(attention(q_a, M)))           (d)

and the feed-forward network of (b) takes q_b.

The letters are this file's.

Deviations from the paper: the embeddings are drawn from N(0, 1 / d) and multiplied by sqrt(d), as in the Transformer;
other weights Glorot-uniform.  The sizes for super-resolution are those of the authors' code.  A mixture may
have one channel, too.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from jaxtyping import Bool, Float, Inexact, Integer

from minattn.attention.self_attention import KeyValues
from minattn.attention.self_attention.local_attention import Block, LocalMultiHeadAttention, blocks_1d, blocks_2d
from minattn.autograd import Array, Tensor, asnumpy, no_grad, ops
from minattn.autograd.backend import as_array, like
from minattn.errors import ConfigError, DataError, ShapeError
from minattn.models.pixels.logistic_mixture import LogisticMixture
from minattn.models.sequence.search import refuse_nan
from minattn.models.sequence.transformer_layers import Cache, DecoderLayer, EncoderLayer, LayerConfig
from minattn.models.settings import Channels, DropoutRate, check_choices, check_sizes
from minattn.nn import Dropout, Linear, Module, Parameter, cross_entropy, initializers
from minattn.nn.attention_paths import Attention, in_sequence, prefixed
from minattn.nn.initializers import Rng
from minattn.published import Network, Paper


@dataclass(frozen=True)
class ImageTransformerConfig:
    """The defaults are the paper's categorical model of CIFAR-10."""

    height: Annotated[int, "rows of pixels"] = 32
    width: Annotated[int, "columns of pixels"] = 32
    channels: Channels = 3
    levels: Annotated[int, "levels of a channel of a pixel"] = 256
    likelihood: Annotated[Literal["categorical", "mixture"], "one of the levels, or a mixture of logistics"] = (
        "categorical"
    )
    mixtures: Annotated[int, "logistics of a mixture"] = 10
    blocks: Annotated[Literal["1d", "2d"], "blocks of queries: runs of positions, or rectangles"] = "1d"
    query: Annotated[int, "l_q: positions of a block of one dimension, and of its memory"] = 256
    query_height: Annotated[int, "h_q: rows of a rectangle, and of the memory above it"] = 8
    query_width: Annotated[int, "w_q: columns of a rectangle, and of the memory on each side"] = 16
    layers: Annotated[int, "N: layers"] = 12
    d_model: Annotated[int, "d: size of the embeddings and of the output of every sub-layer"] = 512
    d_ff: Annotated[int, "size of the hidden layer of the feed-forward networks"] = 2048
    heads: Annotated[int, "number of attention heads"] = 4
    d_k: Annotated[int | None, "size of a head's keys and values; none: d / heads"] = None
    dropout: DropoutRate = 0.3
    positions: Annotated[Literal["sinusoidal", "learned"], "encoding of rows and columns"] = "sinusoidal"
    layer_norm_eps: Annotated[float, "epsilon of layer norm"] = 1e-6
    encoder_layers: Annotated[int, "layers of the encoder, in super-resolution; 0: without one"] = 0
    factor: Annotated[int, "how many times as high and wide as the low-resolution image the other one is"] = 4

    def __post_init__(self) -> None:
        sizes = ("height", "width", "channels", "mixtures", "query", "query_height", "query_width")
        check_sizes(self, *sizes, "layers", "d_model", "d_ff", "heads", *(["d_k"] if self.d_k is not None else []))
        check_choices(self, likelihood=("categorical", "mixture"), blocks=("1d", "2d"))
        check_choices(self, positions=("sinusoidal", "learned"))
        if self.levels < 2:
            raise ConfigError(f"a pixel has at least 2 levels, got {self.levels}; hint: 256")
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"dropout must be in [0, 1), got {self.dropout}; hint: 0 for no dropout")
        if self.d_k is None and self.d_model % self.heads:
            raise ConfigError(f"heads must divide d_model = {self.d_model}, got {self.heads}; hint: or give d_k")
        if not 0 < self.layer_norm_eps < math.inf:
            raise ConfigError(f"layer_norm_eps must be a positive number, got {self.layer_norm_eps}; hint: 1e-6")
        if self.d_model % 4:
            raise ConfigError(f"rows and columns share d_model by halves and quarters, got {self.d_model}; hint: 4 n")
        if self.encoder_layers < 0:
            raise ConfigError(f"an encoder has at least 0 layers, got {self.encoder_layers}; hint: 0 is without one")
        if self.encoder_layers and (self.factor < 2 or self.height % self.factor or self.width % self.factor):
            raise ConfigError(
                f"factor must be at least 2 and divide {self.height} rows and {self.width} columns, got {self.factor}; "
                "hint: a common divisor"
            )
        if self.likelihood == "mixture":
            self.mixture()

    def mixture(self) -> LogisticMixture:
        """The distribution of a pixel, where it is a mixture."""
        return LogisticMixture(self.channels, self.mixtures, self.levels)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width)."""
        return self.channels, self.height, self.width

    @property
    def low_resolution(self) -> tuple[int, int, int]:
        """(channels, height, width) of what the encoder takes."""
        return self.channels, self.height // self.factor, self.width // self.factor

    @property
    def columns(self) -> int:
        """Positions in a row: C for each pixel, or one."""
        return self.width * (self.channels if self.likelihood == "categorical" else 1)

    @property
    def length(self) -> int:
        """Positions in an image."""
        return self.height * self.columns

    def order(self) -> tuple[Integer[np.ndarray, " n"], list[Block]]:
        """Return (the positions, row by row, in the order of generation; the blocks)."""
        if self.blocks == "1d":
            return np.arange(self.length), blocks_1d(self.length, self.query)
        rectangle = self.query_height, self.query_width
        return blocks_2d(self.height, self.columns, rectangle, rectangle)


MIXTURE = {
    "likelihood": "mixture",
    "d_model": 256,
    "d_ff": 512,
    "heads": 8,
    "d_k": 64,
    "dropout": 0.2,
    "layers": 14,
    "positions": "learned",
}
CONFIGURATIONS = {
    "cifar10": ImageTransformerConfig(),
    "cifar10_mixture": ImageTransformerConfig(**MIXTURE),
    "cifar10_2d": ImageTransformerConfig(blocks="2d"),
    "imagenet32": ImageTransformerConfig(heads=8, dropout=0.1),
    "super_resolution": ImageTransformerConfig(encoder_layers=4, layers=8, heads=8, query=128, dropout=0.1),
}
"""The published sizes."""


class ImageTransformer(Module):
    """The Image Transformer.  rng draws the parameters, and in training the dropout masks."""

    def __init__(self, config: ImageTransformerConfig, rng: Rng) -> None:
        self.config = config
        self.order, blocks = config.order()
        d, categorical = config.d_model, config.likelihood == "categorical"
        self.embedding = self.color = None
        if categorical:
            self.embedding = initializers.normal((config.channels * config.levels, d), rng, d**-0.5)
        else:
            self.color = initializers.glorot_uniform((config.channels, d), rng)
        self.P_row, self.P_column = position_tables(config, config.height, config.columns, rng)
        self.dropout = Dropout(config.dropout, rng)
        self.encoder = ImageEncoder(config, rng) if config.encoder_layers else None
        kind = LocalLayer if self.encoder is None else LocalDecoderLayer
        self.layers = [kind(config, blocks, rng) for _ in range(config.layers)]
        self.output = Linear(d, config.levels if categorical else config.mixture().size, rng)

    # ------------------------------------------------------------------------------------------ all positions at once
    def forward(
        self,
        images: Integer[Array, "batch channels height width"],
        low_resolution: Integer[Array, "batch channels rows columns"] | None = None,
        return_attention: bool = False,
    ) -> Inexact[Tensor, "batch n outputs"] | tuple[Inexact[Tensor, "batch n outputs"], Attention]:
        """Return x_N W + b of (c), for all positions in the order of generation.

        low_resolution: the images that the encoder takes, where there is one.  With return_attention=True (outputs,
        attention): the weights (batch, heads, n, n) of every layer, in that order, and (batch, heads, n, m) over the
        encoder's positions.  Raises ShapeError for images of another size, DataError for levels out of range.
        """
        embedded = self._embedded(self.tokens(images))
        memory, attention = self._memory(low_resolution, return_attention)
        x = self.dropout(shifted(embedded) + self._positions(0, self.config.length))  # (a)
        for i in range(len(self.layers)):
            x, _, inner = self._layer(i, x, None, memory, return_attention)
            attention |= prefixed(f"layers.{i}", inner)
        outputs = self.output(x)  # (c)
        return (outputs, attention) if return_attention else outputs

    def log_likelihood(
        self,
        images: Integer[Array, "batch channels height width"],
        low_resolution: Integer[Array, "batch channels rows columns"] | None = None,
    ) -> Inexact[Tensor, "batch n"]:
        """Return log p of every position, given those before and what the encoder takes, in the order of generation."""
        outputs, tokens = self(images, low_resolution), self.tokens(images)
        if self.config.likelihood == "mixture":
            return self.config.mixture().log_likelihood(outputs, tokens)
        return -cross_entropy(outputs, tokens[..., 0], reduction="none")

    def tokens(self, images: Integer[Array, "batch channels height width"]) -> Integer[Array, "batch n together"]:
        """Return the levels in the order of generation: a channel at a position, or all of a pixel.

        Raises ShapeError for images of another size, DataError for levels out of range.
        """
        config = self.config
        images = checked_levels(images, config.shape, config.levels)
        rows = images.transpose(0, 2, 3, 1)
        size = config.channels if config.likelihood == "mixture" else 1
        return rows.reshape(len(images), config.length, size)[:, like(self.order, images)]

    def images(
        self, tokens: Integer[np.ndarray, "batch n together"]
    ) -> Integer[np.ndarray, "batch channels height width"]:
        """Return the images of levels in the order of generation: the inverse of `tokens`."""
        config = self.config
        by_row = np.empty_like(tokens)
        by_row[:, self.order] = tokens
        return by_row.reshape(len(tokens), config.height, config.width, config.channels).transpose(0, 3, 1, 2)

    def _embedded(
        self, tokens: Integer[Array, "batch n together"], start: int = 0
    ) -> Inexact[Tensor, "batch n d_model"]:
        """e of the positions from `start` on."""
        if self.color is not None:
            scaled = self.config.mixture().scaled(tokens)
            return ops.linear(like(scaled.astype(self.color.data.real.dtype), self.color.data), self.color)
        channel = self.order[start : start + tokens.shape[1]] % self.config.channels
        return embedded_levels(self.embedding, channel, tokens[..., 0], self.config.levels)

    def _positions(self, start: int, end: int) -> Any:
        """P of positions start to end - 1, (n, d)."""
        tables = self.P_row, self.P_column
        return position_vectors(self.order[start:end], self.config, self.config.columns, tables, self.output.weight)

    def encode(self, low_resolution: Integer[Array, "batch channels rows columns"]) -> tuple[KeyValues, ...]:
        """Return the keys and values of the encoder's output, for every layer of the decoder.

        Raises ShapeError where there is no encoder, and for images of another size.
        """
        return self._memory(low_resolution, need_weights=False)[0]

    def _memory(
        self, low_resolution: Array | None, need_weights: bool
    ) -> tuple[tuple[KeyValues, ...] | None, Attention]:
        """What `encode` returns, None without an encoder, and the encoder's attention."""
        if self.encoder is None and low_resolution is not None:
            raise ShapeError("this Image Transformer has no encoder for low-resolution images; hint: encoder_layers=4")
        if self.encoder is not None and low_resolution is None:
            raise ShapeError("the encoder got no low-resolution images; hint: give those that are to be enlarged")
        if self.encoder is None:
            return None, {}
        x, attention = self.encoder(low_resolution, need_weights)
        return tuple(layer.cross_attention.keys_values(x) for layer in self.layers), prefixed("encoder", attention)

    def _layer(
        self, i: int, x: Any, past: KeyValues | None, memory: tuple[KeyValues, ...] | None, need_weights: bool
    ) -> tuple[Any, KeyValues, Attention]:
        """A layer of (b), with (d) where there is an encoder, on positions that follow those of `past`."""
        source = () if memory is None else (memory[i],)
        return self.layers[i].step(x, past, *source, need_weights=need_weights)

    # ------------------------------------------------------------------------------------------ one after another
    def step(
        self,
        state: Cache | None,
        tokens: Integer[Array, "batch n together"],
        memory: tuple[KeyValues, ...] | None = None,
    ) -> tuple[Cache, Inexact[Tensor, "batch new outputs"]]:
        """Return (state, outputs) of the positions that follow those of `state`, the first of all if it is None.

        tokens: at first the levels of any number of positions, later that of the one position generated since; the
        outputs are of the positions after them, and at first of position 0 too.  The state holds keys and values, so
        that none is computed twice.  memory: what `encode` returns, where there is an encoder.
        """
        if state is None:
            state = Cache((None,) * len(self.layers))
        start = state.length
        before = self._embedded(tokens, max(0, start - 1))
        if start == 0:
            before = ops.pad(before, [(0, 0), (1, 0), (0, 0)])
        x = self.dropout(before + self._positions(start, start + before.shape[1]))  # (a)
        layers = []
        for i, past in enumerate(state.layers):
            x, past, _ = self._layer(i, x, past, memory, need_weights=False)
            layers.append(past)
        return Cache(tuple(layers)), self.output(x)  # (c)

    def sample(
        self,
        tokens: Integer[np.ndarray, "batch n together"],
        given: Bool[np.ndarray, " n"],
        rng: np.random.Generator,
        temperature: float = 1.0,
        low_resolution: Integer[np.ndarray, "batch channels rows columns"] | None = None,
    ) -> Iterator[Integer[np.ndarray, "batch made together"]]:
        """Iterate over the levels so far, in the order of generation, one position more each time.

        Positions that are `given` keep their `tokens`, the others are sampled: the lower half of images whose upper
        half is given, or whole images where nothing is.  temperature: divides the logits, and multiplies the deviations
        of a mixture; 0 takes the likeliest.  low_resolution: the images that the encoder takes, where there is one.
        Call `eval()` first: in training mode dropout is on here too.  Raises ConfigError for a temperature below 0,
        or above 1e30, ShapeError for another number of positions and for low-resolution images that do not fit.
        """
        if not 0 <= temperature <= 1e30:
            raise ConfigError(f"a temperature is a number from 0 to 1e30, got {temperature}; hint: 1")
        if not self.config.length == tokens.shape[1] == len(given):
            raise ShapeError(
                f"an image has {self.config.length} positions, got levels of {tokens.shape[1]} and which are given of "
                f"{len(given)}; hint: model.tokens(images), and a truth value for each"
            )
        with no_grad():
            memory, _ = self._memory(low_resolution, need_weights=False)
        return self._samples(tokens, given, rng, temperature, memory)

    def _samples(
        self,
        tokens: np.ndarray,
        given: np.ndarray,
        rng: np.random.Generator,
        temperature: float,
        memory: tuple[KeyValues, ...] | None,
    ) -> Iterator[np.ndarray]:
        first = int(np.argmin(given)) if not given.all() else self.config.length  # those before pass at once
        made = new = tokens[:, :first]
        state = None
        while made.shape[1] < self.config.length:
            with no_grad():  # not across the yield: the caller may want gradients
                state, outputs = self.step(state, new, memory)
            position = made.shape[1]
            new = tokens[:, position : position + 1]
            if not given[position]:
                new = self._sampled(asnumpy(outputs.data)[:, -1:].astype(np.float64), rng, temperature)
            made = np.concatenate([made, new], axis=1)
            yield made

    def _sampled(self, outputs: np.ndarray, rng: np.random.Generator, temperature: float) -> np.ndarray:
        """Levels (batch, 1, channels) of outputs (batch, 1, .)."""
        refuse_nan(outputs)
        if self.config.likelihood == "mixture":
            return self.config.mixture().sample(outputs, rng, temperature)
        noise = rng.gumbel(size=outputs.shape)  # the largest of logits + noise is drawn from their softmax
        return np.argmax(outputs + temperature * noise, axis=-1)[..., None]


class LocalLayer(EncoderLayer):
    """A layer (b), of local self-attention and a feed-forward network."""

    def __init__(self, config: ImageTransformerConfig, blocks: list[Block], rng: Rng) -> None:
        super().__init__(LayerConfig.of(config, d_v=config.d_k), rng)
        self.self_attention = LocalMultiHeadAttention(config.d_model, config.heads, rng, blocks, config.d_k, config.d_k)


class LocalDecoderLayer(DecoderLayer):
    """A layer (b) with attention (d) over the encoder's output between its two parts."""

    def __init__(self, config: ImageTransformerConfig, blocks: list[Block], rng: Rng) -> None:
        super().__init__(LayerConfig.of(config, d_v=config.d_k), rng)
        self.self_attention = LocalMultiHeadAttention(config.d_model, config.heads, rng, blocks, config.d_k, config.d_k)


class ImageEncoder(Module):
    """The encoder of super-resolution: each channel of a pixel is a position and attends to all."""

    def __init__(self, config: ImageTransformerConfig, rng: Rng) -> None:
        self.config = config
        channels, height, width = config.low_resolution
        self.embedding = initializers.normal((channels * config.levels, config.d_model), rng, config.d_model**-0.5)
        self.P_row, self.P_column = position_tables(config, height, width * channels, rng)
        self.dropout = Dropout(config.dropout, rng)
        layer = LayerConfig.of(config, d_v=config.d_k)
        self.layers = [EncoderLayer(layer, rng) for _ in range(config.encoder_layers)]

    def forward(
        self, low_resolution: Integer[Array, "batch channels rows columns"], need_weights: bool = True
    ) -> tuple[Inexact[Tensor, "batch m d_model"], Attention]:
        """Return (M of (d), the weights (batch, heads, m, m) of every layer), positions row by row.

        Raises ShapeError for images of another size, DataError for levels out of range.
        """
        config = self.config
        channels, height, width = config.low_resolution
        images = checked_levels(low_resolution, config.low_resolution, config.levels)
        positions = np.arange(height * width * channels)
        tokens = images.transpose(0, 2, 3, 1).reshape(len(images), len(positions))
        tables = self.P_row, self.P_column
        x = embedded_levels(self.embedding, positions % channels, tokens, config.levels)
        x = self.dropout(x + position_vectors(positions, config, width * channels, tables, self.embedding))
        return in_sequence("layers", self.layers, x, None, False, need_weights)


# ---------------------------------------------------------------------------------------------- levels and positions
def checked_levels(
    images: Array, shape: tuple[int, int, int], levels: int
) -> Integer[Array, "batch channels height width"]:
    """The images in int64.  Raises ShapeError for another shape, DataError for levels out of range."""
    images = as_array(images)
    if images.ndim != 4 or images.shape[1:] != shape or images.dtype.kind not in "iu":
        raise ShapeError(
            f"the Image Transformer got images {images.dtype} {images.shape}, expected whole numbers (batch, "
            f"{shape[0]}, {shape[1]}, {shape[2]}); hint: images of the size it was trained on"
        )
    if isinstance(images, np.ndarray) and images.size and not 0 <= images.min() <= images.max() < levels:
        raise DataError(
            f"images have levels from {images.min()} to {images.max()}, expected 0 to {levels - 1}; hint: "
            "images with as many levels as the model was trained on"
        )
    return images.astype(np.int64, copy=False)  # what is added to levels overflows none of their dtypes then


def embedded_levels(
    table: Inexact[Tensor, "rows d"], channel: Integer[np.ndarray, " n"], tokens: Integer[Array, "batch n"], levels: int
) -> Inexact[Tensor, "batch n d"]:
    """sqrt(d) times rows of the table, in which the levels of one channel follow those of another."""
    ids = like(channel * levels, tokens) + tokens
    return ops.embedding(table, ids) * math.sqrt(table.shape[1])


def position_tables(
    config: ImageTransformerConfig, height: int, columns: int, rng: Rng
) -> tuple[Parameter, Parameter] | tuple[None, None]:
    """Vectors of d / 2 for rows and columns, where they are learned."""
    if config.positions != "learned":
        return None, None
    d = config.d_model
    rows, of_columns = (initializers.normal((n, d // 2), rng, d**-0.5) for n in (height, columns))
    return rows, of_columns


def position_vectors(
    positions: Integer[np.ndarray, " n"],
    config: ImageTransformerConfig,
    columns: int,
    tables: tuple[Parameter | None, Parameter | None],
    parameter: Parameter,
) -> Any:
    """P (n, d) of positions in row-major order: of the tables, or sinusoidal, in dtype and device as `parameter`."""
    row, column = np.divmod(positions, columns)
    if tables[0] is not None:
        return ops.concat([ops.embedding(tables[0], row), ops.embedding(tables[1], column)], axis=-1)
    table = np.concatenate([sinusoids(row, config.d_model // 2), sinusoids(column, config.d_model // 2)], axis=-1)
    return like(table.astype(parameter.data.real.dtype), parameter.data)


def shifted(x: Inexact[Tensor, "batch n d"]) -> Inexact[Tensor, "batch n d"]:
    """Each position's vector one later; zeros at the first."""
    return ops.pad(x, [(0, 0), (1, 0), (0, 0)])[:, :-1]


def sinusoids(position: Integer[np.ndarray, " n"], d: int) -> Float[np.ndarray, "n d"]:
    """Sines, then cosines, of rows or columns at d / 2 wavelengths from 2 pi to 2 pi 10^4."""
    rates = 10000.0 ** -(np.arange(d // 2) / max(1, d // 2 - 1))
    angles = position[:, None] * rates
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=-1)


NETWORK = Network(
    name="Image Transformer",
    paper=Paper("Parmar et al.", 2018, "Image Transformer"),
    code="ImageTransformer",
    command="minattn train pixels",
)
