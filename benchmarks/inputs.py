"""The numbers that every engine starts from: inputs, targets, initial weights.

They come from `numpy.random.RandomState`, whose stream is the same in every version of NumPy, as the engines need
different ones.  Floats are float32 and ids int64; everything is made anew at each call.
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np

Arrays = dict[str, np.ndarray]

BATCHES = 10  # a step takes the next of them, and after the last the first again

LINKS = 333

LAYERS = (784, 512, 512, 10)
MLP_BATCH = 128

WORDS, EMBEDDING, STATE, ALIGNMENT = 100, 64, 128, 128
LENGTH, PAIRS = 20, 64


class Stack(NamedTuple):
    """The size of a Transformer."""

    layers: int  # of the encoder, and as many of the decoder where there is one
    d_model: int
    d_ff: int
    heads: int


TRANSFORMER = Stack(layers=2, d_model=128, d_ff=512, heads=4)

LANGUAGE_MODEL = Stack(layers=4, d_model=256, d_ff=1024, heads=4)
BYTES, CONTEXT, TEXTS = 256, 128, 16

EPSILON = 1e-5  # of every layer norm

BLOCKS, FILTERS, CLASSES, REDUCTION = 3, 16, 10, 16
IMAGES = (64, 3, 32, 32)
RATE, MOMENTUM, DECAY = 0.1, 0.9, 1e-4

MAPS = (64, 64, 32, 32)
PIXEL, TAP = (5, 7, 11, 13), (3, 5, 2, 1)  # the elements that W7 returns in place of a loss

ROWS, COLUMNS = 4096, 1024
ELEMENT = (1234, 567)  # the element of the gradient that W8 returns in place of a loss


def chain() -> Arrays:
    """W1: x, w and b, 8 numbers each."""
    rng = np.random.RandomState(1)
    return {name: _normal(rng, 8) for name in "xwb"}


class Pictures(NamedTuple):
    """A batch of W2 or W6."""

    images: np.ndarray  # (128, 784); (64, 3, 32, 32)
    labels: np.ndarray  # (128,); (64,)


def mlp() -> tuple[Arrays, list[Pictures]]:
    """W2: weights W1 (784, 512), b1 .. W3, b3 of y = x W + b, and the batches."""
    rng = np.random.RandomState(2)
    weights = {}
    for i, (fan_in, fan_out) in enumerate(pairwise(LAYERS), start=1):
        weights[f"W{i}"] = _matrix(rng, fan_in, fan_out)
        weights[f"b{i}"] = np.zeros(fan_out, np.float32)
    batches = [
        Pictures(_normal(rng, MLP_BATCH, LAYERS[0]), rng.randint(0, LAYERS[-1], MLP_BATCH).astype(np.int64))
        for _ in range(BATCHES)
    ]
    return weights, batches


class Sentences(NamedTuple):
    """A batch of W3 or W4, ids (64, 20): the sentence to read, the words to say, and the word before each of these."""

    source: np.ndarray
    previous: np.ndarray
    target: np.ndarray


def rnnsearch() -> tuple[Arrays, list[Sentences]]:
    """W3: weights and batches.

    The products are x W, so a matrix is (inputs, outputs).  A gated unit NAME has NAME_W (inputs, 3n), NAME_b (3n),
    NAME_U (n, 3n), NAME_c (3n), its three blocks in the order reset, update, candidate; an engine whose unit resets
    the state before the product has no use for NAME_c, which is 0 at first.  The last rows of decoder_W belong to the
    context, as those of W_o do.
    """
    rng = np.random.RandomState(3)
    annotation = 2 * STATE
    weights = {"source_embedding": _normal(rng, WORDS, EMBEDDING), "target_embedding": _normal(rng, WORDS, EMBEDDING)}
    for unit, inputs in ("forwards", EMBEDDING), ("backwards", EMBEDDING), ("decoder", EMBEDDING + annotation):
        weights[f"{unit}_W"] = _matrix(rng, inputs, 3 * STATE)
        weights[f"{unit}_U"] = _matrix(rng, STATE, 3 * STATE)
        weights[f"{unit}_b"] = np.zeros(3 * STATE, np.float32)
        weights[f"{unit}_c"] = np.zeros(3 * STATE, np.float32)
    weights["W_s"] = _matrix(rng, STATE, STATE)
    weights["b_s"] = np.zeros(STATE, np.float32)
    weights["W_a"] = _matrix(rng, STATE, ALIGNMENT)
    weights["U_a"] = _matrix(rng, annotation, ALIGNMENT)
    weights["v"] = _matrix(rng, ALIGNMENT, 1)[:, 0]
    weights["W_o"] = _matrix(rng, STATE + annotation, WORDS)
    weights["b_o"] = np.zeros(WORDS, np.float32)
    return weights, [_sentences(rng) for _ in range(BATCHES)]


def _sentences(rng: np.random.RandomState) -> Sentences:
    source = rng.randint(0, WORDS, (PAIRS, LENGTH)).astype(np.int64)
    target = rng.randint(0, WORDS, (PAIRS, LENGTH)).astype(np.int64)
    previous = np.concatenate([np.zeros((PAIRS, 1), np.int64), target[:, :-1]], axis=1)  # word 0 stands before all
    return Sentences(source, previous, target)


def transformer() -> tuple[Arrays, list[Sentences]]:
    """W4: weights and batches.

    The products are x W.  Layer i of the encoder, from 1 on, has encoderi_self_W_Q, .._W_K, .._W_V and .._W_O, whose
    columns belong to head after head; encoderi_forward_W_1, .._b_1, .._W_2 and .._b_2; encoderi_norm1_weight and
    .._bias after the attention, encoderi_norm2_.. after the feed-forward.  Layer i of the decoder has, between those
    of decoderi_self and decoderi_forward, decoderi_across, and so three norms.  The target embedding is what the last
    product is with, too.
    """
    rng = np.random.RandomState(4)
    layers, d_model, d_ff, _ = TRANSFORMER
    std = d_model**-0.5
    weights = {
        "source_embedding": std * _normal(rng, WORDS, d_model),
        "target_embedding": std * _normal(rng, WORDS, d_model),
    }
    for i in range(1, layers + 1):
        weights |= _layer(rng, f"encoder{i}", ["self"], d_model, d_ff)
    for i in range(1, layers + 1):
        weights |= _layer(rng, f"decoder{i}", ["self", "across"], d_model, d_ff)
    return _float32(weights), [_sentences(rng) for _ in range(BATCHES)]


def sinusoids() -> np.ndarray:
    """W4: PE(pos, 2i) = sin(pos / 10000^(2i/d)) and PE(pos, 2i+1), its cosine, (20, 128)."""
    pos, i = np.arange(LENGTH)[:, None], np.arange(TRANSFORMER.d_model // 2)
    angles = pos / 10000 ** (2 * i / TRANSFORMER.d_model)
    return np.stack([np.sin(angles), np.cos(angles)], axis=2).reshape(LENGTH, -1).astype(np.float32)


class Text(NamedTuple):
    """A batch of W5, ids (16, 128): what is read, and what comes next."""

    source: np.ndarray
    target: np.ndarray


def language_model() -> tuple[Arrays, list[Text]]:
    """W5: weights and batches.

    After embedding and positions the layers, named layeri and otherwise as those of W4's encoder, and norm_weight and
    norm_bias.
    """
    rng = np.random.RandomState(5)
    layers, d_model, d_ff, _ = LANGUAGE_MODEL
    weights = {
        "embedding": d_model**-0.5 * _normal(rng, BYTES, d_model),
        "positions": 0.5**0.5 * _normal(rng, CONTEXT, d_model),
    }
    for i in range(1, layers + 1):
        weights |= _layer(rng, f"layer{i}", ["self"], d_model, d_ff)
    weights |= _norm("norm", d_model)
    ids = rng.randint(0, BYTES, (BATCHES, TEXTS, CONTEXT + 1)).astype(np.int64)
    return _float32(weights), [Text(each[:, :-1].copy(), each[:, 1:].copy()) for each in ids]


def _layer(rng: np.random.RandomState, name: str, attentions: list[str], d_model: int, d_ff: int) -> Arrays:
    weights = {
        f"{name}_{attention}_{projection}": _matrix(rng, d_model, d_model)
        for attention in attentions
        for projection in ("W_Q", "W_K", "W_V", "W_O")
    }
    weights[f"{name}_forward_W_1"] = _matrix(rng, d_model, d_ff)
    weights[f"{name}_forward_b_1"] = np.zeros(d_ff)
    weights[f"{name}_forward_W_2"] = _matrix(rng, d_ff, d_model)
    weights[f"{name}_forward_b_2"] = np.zeros(d_model)
    for i in range(1, len(attentions) + 2):
        weights |= _norm(f"{name}_norm{i}", d_model)
    return weights


def _norm(name: str, d_model: int) -> Arrays:
    return {f"{name}_weight": np.ones(d_model), f"{name}_bias": np.zeros(d_model)}


def _float32(weights: Arrays) -> Arrays:
    return {name: weight.astype(np.float32) for name, weight in weights.items()}


def resnet(se: bool) -> tuple[Arrays, list[Pictures]]:
    """W6: weights and batches.

    A convolution NAME and the batch norm behind it have NAME_W (outputs, inputs, 3, 3), NAME_norm_weight and
    NAME_norm_bias.  There is conv; then, for stage s and block b from 1 on, stages_blockb_conv1 and _conv2, and with
    SE stages_blockb_se_W_1 (inputs, outputs), _b_1, _W_2 and _b_2; then classifier_W (inputs, outputs) and _b.
    The running mean of every batch norm is 0 at first, its running variance 1.
    """
    rng = np.random.RandomState(6)
    weights = _unit(rng, "conv", IMAGES[1], FILTERS)
    before = FILTERS
    for stage in range(3):
        filters = FILTERS * 2**stage
        for block in range(1, BLOCKS + 1):
            name = f"stage{stage + 1}_block{block}"
            weights |= _unit(rng, f"{name}_conv1", before, filters) | _unit(rng, f"{name}_conv2", filters, filters)
            before = filters
            if se:
                hidden = max(1, filters // REDUCTION)
                weights |= {f"{name}_se_W_1": _matrix(rng, filters, hidden), f"{name}_se_b_1": np.zeros(hidden)}
                weights |= {f"{name}_se_W_2": _matrix(rng, hidden, filters), f"{name}_se_b_2": np.zeros(filters)}
    weights |= {"classifier_W": _matrix(rng, before, CLASSES), "classifier_b": np.zeros(CLASSES)}
    batches = [
        Pictures(_normal(rng, *IMAGES), rng.randint(0, CLASSES, IMAGES[0]).astype(np.int64)) for _ in range(BATCHES)
    ]
    return _float32(weights), batches


def _unit(rng: np.random.RandomState, name: str, inputs: int, outputs: int) -> Arrays:
    return {f"{name}_W": _kernels(rng, inputs, outputs)} | _norm(f"{name}_norm", outputs)


def convolution() -> Arrays:
    """W7: x and the upstream gradient g (64, 64, 32, 32), weight (64, 64, 3, 3)."""
    rng = np.random.RandomState(7)
    channels = MAPS[1]
    return {"x": _normal(rng, *MAPS), "g": _normal(rng, *MAPS), "weight": _kernels(rng, channels, channels)}


def rows() -> Arrays:
    """W8: x and the upstream gradient g (4096, 1024); weight and bias (1024) of the layer norm."""
    rng = np.random.RandomState(8)
    return {
        "x": _normal(rng, ROWS, COLUMNS),
        "g": _normal(rng, ROWS, COLUMNS),
        "weight": 1 + _normal(rng, COLUMNS) / 10,
        "bias": _normal(rng, COLUMNS) / 10,
    }


def _normal(rng: np.random.RandomState, *shape: int) -> np.ndarray:
    return rng.standard_normal(shape).astype(np.float32)


def _kernels(rng: np.random.RandomState, inputs: int, outputs: int) -> np.ndarray:
    """Of 3x3, He-normal."""
    return (2 / (9 * inputs)) ** 0.5 * _normal(rng, outputs, inputs, 3, 3)


def _matrix(rng: np.random.RandomState, fan_in: int, fan_out: int) -> np.ndarray:
    """Glorot-uniform."""
    bound = (6 / (fan_in + fan_out)) ** 0.5
    return rng.uniform(-bound, bound, (fan_in, fan_out)).astype(np.float32)
