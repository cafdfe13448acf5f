"""What is measured: the workloads, their sizes, and the work that none of them can do without.

Everything is float32.  A step is a full training step unless its workload says otherwise, and reading the loss is part
of it.  `share` of a limit is told from `work`: the floating-point operations of the matrix products of a step, or the
bytes that a step must move; all else that it does counts as nothing.
"""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple


class Limit(StrEnum):
    """What the machine itself can do, measured beside the engines."""

    GEMM = "gemm"  # one large matrix product, operations a second
    COPY = "copy"  # a large array copied, bytes a second, read and written


@dataclass(frozen=True)
class Unit:
    """What the time of a step is told in."""

    name: str
    a_second: float  # how many there are in a second


@dataclass(frozen=True)
class Workload:
    """What every engine is asked to do."""

    name: str  # what the command and the results call it
    title: str
    step: str  # what is timed
    unit: Unit
    limit: Limit | None = None
    work: float = 0.0  # of a step: operations or bytes, whichever its limit counts
    other_forms: dict[str, str] = field(default_factory=dict)  # engine -> why its loss is not that of the others

    @property
    def heading(self) -> str:
        """The name, but for what the title says, and the title."""
        return f"{self.name.partition('-')[0]} {self.title}"


MILLISECONDS = Unit("ms", 1e3)

SHARING = "minattn's threads share the batch, as `DataParallel` does, those of the others each product"

# W1
LINKS = 333
OPS = 3 * LINKS + 1

# W2
LAYERS = (784, 512, 512, 10)
BATCH = 128

# W3
WORDS, EMBEDDING, STATE, ALIGNMENT = 100, 64, 128, 128
LENGTH, PAIRS = 20, 64
ANNOTATION = 2 * STATE


class Stack(NamedTuple):
    """The size of a Transformer."""

    layers: int  # of the encoder, and as many of the decoder where there is one
    d_model: int
    d_ff: int
    heads: int

    def __str__(self) -> str:
        return f"{self.layers} layers, d {self.d_model}, {self.heads} heads, feed-forward {self.d_ff}"


# W4; words, lengths and batch as W3
TRANSFORMER = Stack(layers=2, d_model=128, d_ff=512, heads=4)

# W5
LANGUAGE_MODEL = Stack(layers=4, d_model=256, d_ff=1024, heads=4)
BYTES, CONTEXT, TEXTS = 256, 128, 16

# W6
BLOCKS, FILTERS, CLASSES, REDUCTION = 3, 16, 10, 16
IMAGES = (64, 3, 32, 32)

# W7
MAPS = (64, 64, 32, 32)

# W8
ROWS, COLUMNS = 4096, 1024
PASSES = 5  # over the array: forward reads x and writes y; backward reads g and either x or y, and writes dx

# the limits
GEMM_SIZE = 1024  # of each side
COPY_BYTES = 64 * 2**20
LIMIT_WORK = {Limit.GEMM: 2.0 * GEMM_SIZE**3, Limit.COPY: 2.0 * COPY_BYTES}


def product(rows: int, inner: int, columns: int) -> float:
    """Operations of (rows, inner) @ (inner, columns): a multiplication and an addition each."""
    return 2.0 * rows * inner * columns


def mlp_work() -> float:
    """Each layer has three products: y = x W, and backwards dW = x' dy and dx = dy W', but the first needs no dx."""
    layers = [product(BATCH, inputs, outputs) for inputs, outputs in itertools.pairwise(LAYERS)]
    return 3 * sum(layers) - layers[0]


def rnnsearch_work() -> float:
    """Three times the products forward, as in the MLP; scores and contexts, products with vectors, do not count."""
    words = LENGTH * PAIRS  # of a batch, on either side
    encoder = 2 * (product(words, EMBEDDING, 3 * STATE) + product(words, STATE, 3 * STATE))
    start = product(PAIRS, STATE, STATE)
    attention = product(words, ANNOTATION, ALIGNMENT) + product(words, STATE, ALIGNMENT)
    decoder = product(words, EMBEDDING + ANNOTATION, 3 * STATE) + product(words, STATE, 3 * STATE)
    logits = product(words, STATE + ANNOTATION, WORDS)
    return 3 * (encoder + start + attention + decoder + logits)


def transformer_work() -> float:
    """Three times the products forward: an encoder layer, a decoder layer as often, and the logits.

    Both sides have as many words, so attention over the encoder is as much work as self-attention, and that of the
    decoder counts in full, causal or not.
    """
    attention, feed_forward = _layer_work(TRANSFORMER, PAIRS, LENGTH)
    encoder, decoder = attention + feed_forward, 2 * attention + feed_forward
    logits = product(PAIRS * LENGTH, TRANSFORMER.d_model, WORDS)
    return 3 * (TRANSFORMER.layers * (encoder + decoder) + logits)


def language_model_work() -> float:
    """Three times the products forward; the attention counts in full, though half of its scores are masked."""
    layer = sum(_layer_work(LANGUAGE_MODEL, TEXTS, CONTEXT))
    logits = product(TEXTS * CONTEXT, LANGUAGE_MODEL.d_model, BYTES)
    return 3 * (LANGUAGE_MODEL.layers * layer + logits)


def resnet_work(se: bool, training: bool) -> float:
    """Convolutions, each a product of all pixels, and the classifier; three times that in training, but the images need
    no gradient.
    """
    batch, channels, height, width = IMAGES
    first = convolution_work((batch, channels, height, width), FILTERS)
    forward, before = first, FILTERS
    for stage in range(3):
        filters, size = FILTERS * 2**stage, (height // 2**stage, width // 2**stage)
        forward += convolution_work((batch, before, *size), filters)
        forward += (2 * BLOCKS - 1) * convolution_work((batch, filters, *size), filters)
        forward += 2 * BLOCKS * product(batch, filters, max(1, filters // REDUCTION)) if se else 0
        before = filters
    forward += product(batch, before, CLASSES)
    return 3 * forward - first if training else forward


def convolution_work(maps: tuple[int, int, int, int], outputs: int) -> float:
    """Of 3x3 to maps of this size: for each pixel, a product of 9 pixels' channels with the weights."""
    batch, channels, height, width = maps
    return product(batch * height * width, 9 * channels, outputs)


def _layer_work(stack: Stack, batch: int, length: int) -> tuple[float, float]:
    """Of an attention, with its four projections, and of a feed-forward."""
    d_model, d_k = stack.d_model, stack.d_model // stack.heads
    projections = 4 * product(batch * length, d_model, d_model)
    scores_and_context = 2 * batch * stack.heads * product(length, d_k, length)
    return projections + scores_and_context, 2 * product(batch * length, d_model, stack.d_ff)


def _resnet(name: str, title: str, se: bool, training: bool) -> Workload:
    batch, *image = IMAGES
    apart = f"{SHARING}; each thread normalizes its own part"
    network = f"ResNet-{6 * BLOCKS + 2}{f' with SE, r = {REDUCTION}' if se else ''}, shortcuts A"
    how = f"cross-entropy, SGD with momentum and weight decay; {apart}" if training else "evaluation, without gradients"
    step = f"{network}, images {'x'.join(map(str, image))}, batch {batch}, {how}"
    other = {"minattn": "with several threads each normalizes its own part of the batch"} if training else {}
    return Workload(name, title, step, MILLISECONDS, Limit.GEMM, resnet_work(se, training), other)


def _convolution(name: str, title: str, step: str, passes: int) -> Workload:
    batch, channels, height, width = MAPS
    return Workload(
        f"W7-{name}",
        title,
        f"3x3 convolution, {channels} to {channels} channels of {height}x{width}, batch {batch}, {step}",
        MILLISECONDS,
        Limit.GEMM,
        passes * convolution_work(MAPS, channels),
    )


def _over_rows(name: str, title: str) -> Workload:
    return Workload(
        f"W8-{name}",
        title,
        f"{title} of each row of ({ROWS}, {COLUMNS}), forward and backward with a fixed upstream gradient",
        MILLISECONDS,
        Limit.COPY,
        4.0 * PASSES * ROWS * COLUMNS,
    )


WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload(
            "W1",
            "tiny ops",
            f"{LINKS} times x = tanh(x w + b) on 8 numbers, and a sum: {OPS:,} ops, forward and backward",
            Unit("µs an op", 1e6 / OPS),
        ),
        Workload(
            "W2",
            "MLP",
            f"{'-'.join(map(str, LAYERS))}, ReLU, cross-entropy, batch {BATCH}, Adam",
            MILLISECONDS,
            Limit.GEMM,
            mlp_work(),
        ),
        Workload(
            "W3",
            "RNNsearch",
            f"bidirectional GRU {STATE}, additive attention {ALIGNMENT}, GRU decoder {STATE}, embedding {EMBEDDING}, "
            f"{WORDS} words, lengths {LENGTH} and {LENGTH}, batch {PAIRS}, Adam",
            MILLISECONDS,
            Limit.GEMM,
            rnnsearch_work(),
            dict.fromkeys(("minattn", "pydynet"), "its gated unit resets the state before the product, as the paper's"),
        ),
        Workload(
            "W4",
            "Transformer",
            f"encoder and decoder of {TRANSFORMER} each, post-norm, ReLU, sinusoidal positions, "
            f"{WORDS} words, lengths {LENGTH} and {LENGTH}, batch {PAIRS}, no dropout, Adam; {SHARING}",
            MILLISECONDS,
            Limit.GEMM,
            transformer_work(),
        ),
        Workload(
            "W5",
            "language model",
            f"causal Transformer of {LANGUAGE_MODEL}, pre-norm, GELU, learned positions, {BYTES} words, "
            f"length {CONTEXT}, batch {TEXTS}, no dropout, Adam; {SHARING}",
            MILLISECONDS,
            Limit.GEMM,
            language_model_work(),
        ),
        _resnet("W6", "ResNet", se=False, training=True),
        _resnet("W6se", "SE-ResNet", se=True, training=True),
        _resnet("W6i", "ResNet, inference", se=False, training=False),
        _resnet("W6sei", "SE-ResNet, inference", se=True, training=False),
        _convolution("forward", "convolution", "forward", 1),
        _convolution("backward", "convolution and gradients", "forward and backward with a fixed upstream gradient", 3),
        _over_rows("softmax", "softmax"),
        _over_rows("layernorm", "layer norm"),
        _over_rows("gelu", "GELU"),
        Workload("W9", "import", "a new process that imports the library and ends", MILLISECONDS),
    )
}
IMPORT = WORKLOADS["W9"]


def find_workloads(wanted: Iterable[str]) -> list[Workload]:
    """The workloads of these names, whatever their case, in the order of the list; "W8" means all that begin so.

    None wanted means all.  Raises KeyError with the first name that there is none of.
    """
    found = set()
    for name in wanted:
        matching = {each for each in WORKLOADS if name.casefold() in (each.casefold(), each.split("-")[0].casefold())}
        if not matching:
            raise KeyError(name)
        found |= matching
    return [workload for name, workload in WORKLOADS.items() if name in found or not found]
