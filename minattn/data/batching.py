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

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int64

from minattn.data.text.vocabulary import PAD, Numbers
from minattn.errors import ConfigError, DataError

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


def deal_rows(count: int, parts: int) -> list[tuple[slice, float]]:
    """The rows of each of at most `parts` hands when `count` are dealt out, and its share of them.

    Neighbours, which are of similar length where rows are sorted, go to different hands.
    """
    parts = max(1, min(parts, count))
    return [(slice(first, None, parts), len(range(first, count, parts)) / max(1, count)) for first in range(parts)]


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


class LengthBucketedBatches:
    """Training batches of pairs of similar length, in an order that only `(seed, epoch)` decides.

    Because nothing else decides it, a run that stopped before batch k of an epoch goes on with
    `iterate(epoch, start=k)` and sees exactly the batches it would have seen.  The last batch of an epoch's
    last fetch may be smaller; every pair comes exactly once per epoch.

    Raises DataError where there are no pairs or one of them has an empty side, and ConfigError for a batch
    size below 1 or a negative seed.
    """

    def __init__(self, pairs: Sequence[Pair], batch_size: int, seed: int):
        if seed < 0:
            raise ConfigError(f"the seed must not be negative, and is {seed}")
        self._pairs = _checked_pairs(pairs, batch_size)
        self._lengths = _lengths(self._pairs)
        self.batch_size = batch_size
        self.seed = seed

    def __len__(self) -> int:
        """Batches per epoch."""
        return math.ceil(len(self._pairs) / self.batch_size)

    def iterate(self, epoch: int, start: int = 0) -> Iterator[PaddedBatch]:
        """The batches of one epoch (counted from 0), from batch `start` on.

        Raises ConfigError for a negative epoch and DataError for a `start` that is not within the epoch.
        """
        check_place(epoch, start, len(self))
        return (_pad_pairs(self._pairs, indices) for indices in self._order(epoch)[start:])

    def _order(self, epoch: int) -> list[np.ndarray]:
        rng = np.random.default_rng([self.seed, epoch])
        shuffled = rng.permutation(len(self._pairs))
        batches = []
        for fetched in _cut(shuffled, BATCHES_PER_FETCH * self.batch_size):
            by_length = fetched[np.argsort(self._lengths[fetched], kind="stable")]
            cut = _cut(by_length, self.batch_size)
            batches += [cut[i] for i in rng.permutation(len(cut))]
        return batches


def check_place(epoch: int, start: int, batches: int) -> None:
    """Raise ConfigError for a negative epoch, DataError for a `start` outside an epoch of so many batches."""
    if epoch < 0:
        raise ConfigError(f"epochs are counted from 0, and epoch {epoch} was asked for")
    if not 0 <= start <= batches:
        raise DataError(
            f"an epoch has {batches} batches, so it cannot go on at batch {start}. "
            "Continue a run with the data and the batch size that it was started with."
        )


def evaluation_batches(pairs: Sequence[Pair], batch_size: int) -> Iterator[PaddedBatch]:
    """Batches of pairs in the order of their length, the same every time.

    Raises the errors of `LengthBucketedBatches`.
    """
    checked = _checked_pairs(pairs, batch_size)
    return (_pad_pairs(checked, indices) for indices in _in_length_order(_lengths(checked), batch_size))


def source_batches(
    sources: Sequence[Numbers], batch_size: int
) -> Iterator[tuple[Int64[np.ndarray, "batch time"], Bool[np.ndarray, "batch time"], Int64[np.ndarray, " batch"]]]:
    """Batches of sequences that have no target yet, in the order of their length: `(source, mask, indices)`.

    Raises DataError for a sequence that is empty or not made of integers, ConfigError for a batch size
    below 1.
    """
    _check_batch_size(batch_size)
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
    return _cut(np.argsort(lengths, kind="stable"), batch_size)


def _cut(indices: np.ndarray, size: int) -> list[np.ndarray]:
    return [indices[begin : begin + size] for begin in range(0, len(indices), size)]


def _lengths(pairs: Sequence[Pair]) -> np.ndarray:
    return np.array([max(len(source), len(target)) for source, target in pairs], dtype=np.int64)


def _checked_pairs(pairs: Sequence[Pair], batch_size: int) -> list[Pair]:
    _check_batch_size(batch_size)
    if not pairs:
        raise DataError("there are no pairs to make batches of: give at least one (source, target) pair")
    return [
        (_non_empty(source, f"the source of pair {index}"), _non_empty(target, f"the target of pair {index}"))
        for index, (source, target) in enumerate(pairs)
    ]


def _check_batch_size(batch_size: int) -> None:
    if batch_size < 1:
        raise ConfigError(f"the batch size must be at least 1, and is {batch_size}")


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
