"""Batches of sequences of different lengths, padded as little as possible.

A batch costs as much as its longest sequence, so sequences of similar length go together.  How to do that
and still see the data in random order is taken from

    Bahdanau, D., Cho, K. & Bengio, Y. (2015). Neural machine translation by jointly learning to align
    and translate. ICLR 2015. Appendix B.2: every 20 updates, enough sentence pairs for 20 minibatches are
    fetched, sorted by length and cut into minibatches.

The length of a pair is the longer of its two sequences, as in the authors' program.

Deviations from the paper:
* it shuffles the corpus once before training; here every epoch has an order of its own
* it does not speak of an order within a fetch; here its minibatches are shuffled, so that lengths do not rise
  and fall in step with the updates
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int64

from minattn.data.batches import SeededBatches, check_least, cut, deal_rows
from minattn.data.text.vocabulary import PAD, Numbers
from minattn.errors import DataError

BATCHES_PER_FETCH = 20

Pair = tuple[Numbers, Numbers]


@dataclass(frozen=True, slots=True)
class PaddedBatch:
    """Source and target sequences of a batch; the masks are True where a number is no padding.

    `indices` says which pairs of the data set these are, so that results can be put back in its order.
    """

    source: Int64[np.ndarray, "batch source"]
    source_mask: Bool[np.ndarray, "batch source"]
    target: Int64[np.ndarray, "batch target"]
    target_mask: Bool[np.ndarray, "batch target"]
    indices: Int64[np.ndarray, " batch"]

    def split(self, parts: int) -> list[tuple[PaddedBatch, float]]:
        """At most `parts` batches that have every row once, and each one's share of the rows."""
        arrays = (self.source, self.source_mask, self.target, self.target_mask, self.indices)
        return [
            (PaddedBatch(*(array[rows] for array in arrays)), share)
            for rows, share in deal_rows(len(self.source), parts)
        ]


def pad_sequences(
    sequences: Sequence[Numbers],
) -> tuple[Int64[np.ndarray, "batch time"], Bool[np.ndarray, "batch time"]]:
    """Fill sequences of numbers up to the length of the longest: `(numbers, mask)`, both (batch, time).

    The mask is True where a number is real and False where it is padding.

    Raises DataError for a sequence that is not one-dimensional or does not consist of integers.
    """
    rows = [_as_numbers(sequence, f"sequence {index}") for index, sequence in enumerate(sequences)]
    lengths = np.array([len(row) for row in rows], dtype=np.int64)
    mask = np.arange(lengths.max(initial=0)) < lengths[:, None]
    numbers = np.full(mask.shape, PAD, dtype=np.int64)
    if rows:
        numbers[mask] = np.concatenate(rows)
    return numbers, mask


class LengthBucketedBatches(SeededBatches[PaddedBatch]):
    """Training batches of pairs of similar length.

    The last batch of an epoch's last fetch may be smaller; every pair comes exactly once per epoch.

    Raises DataError where there are no pairs or one of them has an empty side, and ConfigError for a batch
    size below 1 or a negative seed.
    """

    what = "pairs"

    def __init__(self, pairs: Sequence[Pair], batch_size: int, seed: int):
        super().__init__(len(pairs), batch_size, seed)
        self._pairs = _checked_pairs(pairs)
        self._lengths = _lengths(self._pairs)

    def order(self, rng: np.random.Generator) -> list[np.ndarray]:
        """Fetches of shuffled pairs, each sorted by length and cut into batches that are shuffled."""
        batches = []
        for fetched in cut(rng.permutation(self.examples), BATCHES_PER_FETCH * self.batch_size):
            by_length = cut(fetched[np.argsort(self._lengths[fetched], kind="stable")], self.batch_size)
            batches += [by_length[i] for i in rng.permutation(len(by_length))]
        return batches

    def batch(self, examples: np.ndarray, rng: np.random.Generator) -> PaddedBatch:
        """These pairs, padded."""
        return _pad_pairs(self._pairs, examples)


def evaluation_batches(pairs: Sequence[Pair], batch_size: int) -> Iterator[PaddedBatch]:
    """Batches of pairs in the order of their length, the same every time.

    Raises the errors of `LengthBucketedBatches`.
    """
    check_least("batch size", batch_size, 1)
    if not pairs:
        raise DataError("there are no pairs to make batches of; hint: give at least one (source, target) pair")
    checked = _checked_pairs(pairs)
    return (_pad_pairs(checked, indices) for indices in _in_length_order(_lengths(checked), batch_size))


def source_batches(
    sources: Sequence[Numbers], batch_size: int
) -> Iterator[tuple[Int64[np.ndarray, "batch time"], Bool[np.ndarray, "batch time"], Int64[np.ndarray, " batch"]]]:
    """Batches of sequences that have no target yet, in the order of their length: `(source, mask, indices)`.

    Raises DataError for a sequence that is empty or not made of integers, ConfigError for a batch size
    below 1.
    """
    check_least("batch size", batch_size, 1)
    checked = [_non_empty(source, f"source {index}") for index, source in enumerate(sources)]
    lengths = np.array([len(source) for source in checked], dtype=np.int64)
    return (
        (*pad_sequences([checked[i] for i in indices]), indices) for indices in _in_length_order(lengths, batch_size)
    )


def _pad_pairs(pairs: Sequence[Pair], indices: np.ndarray) -> PaddedBatch:
    source, source_mask = pad_sequences([pairs[i][0] for i in indices])
    target, target_mask = pad_sequences([pairs[i][1] for i in indices])
    return PaddedBatch(source, source_mask, target, target_mask, indices)


def _in_length_order(lengths: np.ndarray, batch_size: int) -> list[np.ndarray]:
    return cut(np.argsort(lengths, kind="stable"), batch_size)


def _lengths(pairs: Sequence[Pair]) -> np.ndarray:
    return np.array([max(len(source), len(target)) for source, target in pairs], dtype=np.int64)


def _checked_pairs(pairs: Sequence[Pair]) -> list[Pair]:
    return [
        (_non_empty(source, f"the source of pair {index}"), _non_empty(target, f"the target of pair {index}"))
        for index, (source, target) in enumerate(pairs)
    ]


def _non_empty(sequence: Numbers, name: str) -> np.ndarray:
    numbers = _as_numbers(sequence, name)
    if not len(numbers):
        raise DataError(f"{name} is empty: leave it out")
    return numbers


def _as_numbers(sequence: Numbers, name: str) -> np.ndarray:
    numbers = np.asarray(sequence)
    if numbers.shape == (0,):
        return numbers.astype(np.int64)  # an empty list has no integers by which to know its type
    if numbers.ndim != 1 or not np.issubdtype(numbers.dtype, np.integer):
        raise DataError(
            f"{name} is not a row of integers but has shape {numbers.shape} and dtype {numbers.dtype}: "
            "encode it with a Vocabulary first"
        )
    return numbers.astype(np.int64, copy=False)
