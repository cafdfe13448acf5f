"""Random inputs, targets and initial parameters that are the same for every engine.

They come from `numpy.random.RandomState`, whose stream is the same in every version of NumPy, as the engines need
different ones.  Floats are float32 and ids int64.
"""

from typing import NamedTuple

import numpy as np

Arrays = dict[str, np.ndarray]
RNG = np.random.RandomState

BATCHES = 10  # a step takes the next of them, and after the last the first again
EPSILON = 1e-5  # of every normalization


class Labeled(NamedTuple):
    """A batch of images or feature vectors."""

    images: np.ndarray
    labels: np.ndarray


class Sentences(NamedTuple):
    """A batch of sentence pairs, ids (pairs, length)."""

    source: np.ndarray
    previous: np.ndarray  # the word before each word of the target
    target: np.ndarray


def normal(rng: RNG, *shape: int) -> np.ndarray:
    return rng.standard_normal(shape).astype(np.float32)


def matrix(rng: RNG, fan_in: int, fan_out: int) -> np.ndarray:
    """A Glorot-uniform matrix (inputs, outputs)."""
    bound = (6 / (fan_in + fan_out)) ** 0.5
    return rng.uniform(-bound, bound, (fan_in, fan_out)).astype(np.float32)


def kernels(rng: RNG, channels: int, outputs: int) -> np.ndarray:
    """He-normal kernels of 3x3."""
    return (2 / (9 * channels)) ** 0.5 * normal(rng, outputs, channels, 3, 3)


def norm(name: str, size: int) -> Arrays:
    return {f"{name}_weight": np.ones(size, np.float32), f"{name}_bias": np.zeros(size, np.float32)}


def float32(parameters: Arrays) -> Arrays:
    return {name: array.astype(np.float32) for name, array in parameters.items()}


def sentences(rng: RNG, words: int, pairs: int, length: int) -> list[Sentences]:
    """Batches of random words; word 0 stands before each target."""
    batches = []
    for _ in range(BATCHES):
        source = rng.randint(0, words, (pairs, length)).astype(np.int64)
        target = rng.randint(0, words, (pairs, length)).astype(np.int64)
        previous = np.concatenate([np.zeros((pairs, 1), np.int64), target[:, :-1]], axis=1)
        batches.append(Sentences(source, previous, target))
    return batches


def labeled(rng: RNG, shape: tuple[int, ...], classes: int) -> list[Labeled]:
    return [Labeled(normal(rng, *shape), rng.randint(0, classes, shape[0]).astype(np.int64)) for _ in range(BATCHES)]
