"""Bits per character without a network, to compare a language model with.

Each is the cost of the test text for one who has the training text, as the model has, but for gzip, which is given the
test text alone (it could look back over 32 KiB only).
"""

import gzip
import lzma
import math

import numpy as np


def baselines(train: np.ndarray, test: np.ndarray, characters: int, texts: tuple[str, str]) -> dict[str, float]:
    """Bits per character by name.  train, test: the texts as numbers below `characters`; texts: the same as text."""
    return {
        "uniform": math.log2(characters),
        "unigram": unigram_bits(train, test, characters),
        "bigram": bigram_bits(train, test, characters),
        "gzip_of_test_alone": gzip_bits(texts[1]),
        "lzma_after_train": lzma_bits(*texts),
    }


def unigram_bits(train: np.ndarray, test: np.ndarray, characters: int) -> float:
    """Each character by its frequency in the training text; every count is one higher, so that none is 0."""
    counts = np.bincount(train, minlength=characters) + 1.0
    return float(-np.log2(counts / counts.sum())[test[1:]].mean())


def bigram_bits(train: np.ndarray, test: np.ndarray, characters: int) -> float:
    """Each character by its frequency after the one before it in the training text.

    p(c | b) = (count(b c) + p(c)) / (count(b) + 1), p(c) the unigram's: a pair that never came is left to the unigram.
    """
    counts = np.zeros((characters, characters))
    np.add.at(counts, (train[:-1], train[1:]), 1.0)
    single = np.bincount(train, minlength=characters) + 1.0
    p = (counts + single / single.sum()) / (counts.sum(1, keepdims=True) + 1)
    return float(-np.log2(p[test[:-1], test[1:]]).mean())


def gzip_bits(test: str) -> float:
    """The test text as gzip packs it at its best, header included."""
    return 8 * len(gzip.compress(test.encode(), 9, mtime=0)) / len(test)


def lzma_bits(train: str, test: str) -> float:
    """The bits that the test text adds to the training text packed by lzma, which looks back 64 MiB."""

    def packed(text: str) -> int:
        return len(lzma.compress(text.encode(), preset=9 | lzma.PRESET_EXTREME))

    return 8 * (packed(train + test) - packed(train)) / len(test)
