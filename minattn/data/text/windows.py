"""Windows of a text: what a language model is trained and measured on.

A window of T characters is the input, the same window one character later is the target: at each position the model
predicts the character that comes next, and sees those of the window before it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Int64

from minattn.data.batches import SeededBatches, check_least, cut, deal_rows
from minattn.errors import DataError


class TextBatch(NamedTuple):
    """Windows of a text; `target[b, t]` is what follows `source[b, t]`."""

    source: Int64[np.ndarray, "batch time"]
    target: Int64[np.ndarray, "batch time"]

    def split(self, parts: int) -> list[tuple[TextBatch, float]]:
        """At most `parts` batches that have every row once, and each one's share of the rows."""
        return [
            (TextBatch(self.source[rows], self.target[rows]), share)
            for rows, share in deal_rows(len(self.source), parts)
        ]


class TextWindows(SeededBatches[TextBatch]):
    """Training batches of windows of T characters.

    Each epoch cuts the text into windows anew, beginning at one of its first T characters, and shuffles them.  No
    character is a target twice in an epoch, and all but fewer than 2 T, at the text's two ends, are once; each epoch
    leaves out others.  Every epoch has as many windows; its last batch may be smaller.

    Raises DataError for a text of fewer than 2 T characters, ConfigError for a window or batch size below 1 or a
    negative seed.
    """

    what = "windows"

    def __init__(self, text: np.ndarray, window: int, batch_size: int, seed: int) -> None:
        check_least("window", window, 1)
        if len(text) < 2 * window:
            raise DataError(
                f"the text to train on has {len(text):,} characters, and windows of {window:,} need at least "
                f"{2 * window:,}; hint: a longer text, or shorter windows"
            )
        super().__init__((len(text) - window) // window, batch_size, seed)
        self._text, self.window = text, window

    def order(self, rng: np.random.Generator) -> list[np.ndarray]:
        """The first characters of the windows of each batch."""
        offset = int(rng.integers(self.window))
        return cut(offset + self.window * rng.permutation(self.examples), self.batch_size)

    def batch(self, examples: np.ndarray, rng: np.random.Generator) -> TextBatch:
        """The windows that begin at these characters."""
        positions = examples[:, None] + np.arange(self.window)
        return TextBatch(self._text[positions], self._text[positions + 1])


def evaluation_windows(text: np.ndarray, window: int, batch_size: int) -> Iterator[TextBatch]:
    """The whole text in its order: every character but the first is a target once, in windows side by side.

    So a character has 0 to T - 1 others before it by which it is predicted, (T - 1) / 2 on the average.  The last
    batch is the window that is left over, which is shorter.

    Raises DataError for a text of fewer than 2 characters, ConfigError for a window or batch size below 1.
    """
    check_least("window", window, 1)
    check_least("batch size", batch_size, 1)
    if len(text) < 2:
        raise DataError(f"a text of {len(text)} characters has nothing to predict; hint: a longer text")
    return _side_by_side(text, window, batch_size)


def _side_by_side(text: np.ndarray, window: int, batch_size: int) -> Iterator[TextBatch]:
    whole = (len(text) - 1) // window * window  # characters in windows of full length
    source, target = text[:whole].reshape(-1, window), text[1 : whole + 1].reshape(-1, window)
    for first in range(0, len(source), batch_size):
        yield TextBatch(source[first : first + batch_size], target[first : first + batch_size])
    if whole < len(text) - 1:
        yield TextBatch(text[None, whole:-1], text[None, whole + 1 :])
