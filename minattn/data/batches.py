"""Training batches in an order that only the seed and the epoch decide: the base of those of texts and images."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Generic, TypeVar

import numpy as np

from minattn.errors import ConfigError, DataError

Batch = TypeVar("Batch")


class SeededBatches(Generic[Batch]):
    """Training batches in an order that only `(seed, epoch)` decides.

    Because nothing else decides it, a run that stopped before batch k of an epoch goes on with
    `iterate(epoch, start=k)` and sees exactly the batches it would have seen.

    A subclass cuts an epoch's examples into batches (`order`) and makes each (`batch`).  examples: how many an epoch
    has.  Raises DataError where there are none, ConfigError for a batch size below 1 or a negative seed.
    """

    what = "examples"  # as an error calls them

    def __init__(self, examples: int, batch_size: int, seed: int) -> None:
        check_least("batch size", batch_size, 1)
        check_least("seed", seed, 0)
        if not examples:
            raise DataError(f"there are no {self.what} to make batches of; hint: give at least one")
        self.examples, self.batch_size, self.seed = examples, batch_size, seed

    def __len__(self) -> int:
        """Batches per epoch."""
        return math.ceil(self.examples / self.batch_size)

    def iterate(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches of one epoch (counted from 0), from batch `start` on.

        Raises ConfigError for a negative epoch and DataError for a `start` that is not within the epoch.
        """
        if epoch < 0:
            raise ConfigError(f"epochs are counted from 0, and epoch {epoch} was asked for")
        if not 0 <= start <= len(self):
            raise DataError(
                f"an epoch has {len(self)} batches, so it cannot go on at batch {start}. "
                "Continue a run with the data and the batch size that it was started with."
            )
        order = self.order(np.random.default_rng([self.seed, epoch]))
        # From 1 on: a seed with a 0 at its end is the seed without it, that of the order.
        return (self.batch(order[k], np.random.default_rng([self.seed, epoch, 1 + k])) for k in range(start, len(self)))

    def order(self, rng: np.random.Generator) -> Sequence[np.ndarray]:
        """The examples of each batch of an epoch."""
        raise NotImplementedError

    def batch(self, examples: np.ndarray, rng: np.random.Generator) -> Batch:
        """The batch of these examples; rng is its own, for what is drawn within it."""
        raise NotImplementedError


def cut(examples: np.ndarray, size: int) -> list[np.ndarray]:
    """The examples in pieces of `size`; the last may be smaller."""
    return [examples[first : first + size] for first in range(0, len(examples), size)]


def deal_rows(count: int, parts: int) -> list[tuple[slice, float]]:
    """The rows of each of at most `parts` hands when `count` are dealt out, and its share of them.

    Neighbors, which are of similar length where rows are sorted, go to different hands.
    """
    parts = max(1, min(parts, count))
    return [(slice(first, None, parts), len(range(first, count, parts)) / max(1, count)) for first in range(parts)]


def check_least(name: str, number: int, least: int) -> None:
    """Raise ConfigError for a number below `least`."""
    if number < least:
        raise ConfigError(f"the {name} must be at least {least}, and is {number}; hint: {least} or more")
