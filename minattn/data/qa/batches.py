"""Stories and questions as numbers, in batches.

Sentences are kept once, in a table, and a story is the numbers of its sentences, the most recent first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Int64

from minattn.data.batches import SeededBatches, cut, deal_rows
from minattn.data.qa.stories import Sentence, Stories
from minattn.data.text.vocabulary import PAD, Vocabulary


class StoryBatch(NamedTuple):
    """Stories, the most recent sentence first and zeros behind the first, with a question and an answer each.

    linear: with linear start.
    """

    story: Int64[np.ndarray, "batch memories words"]
    question: Int64[np.ndarray, "batch words_of_question"]
    answer: Int64[np.ndarray, " batch"]
    linear: bool = False

    def split(self, parts: int) -> list[tuple[StoryBatch, float]]:
        """At most `parts` batches that have every row once, and each one's share of the rows."""
        *arrays, linear = self
        return [
            (StoryBatch(*(array[rows] for array in arrays), linear), share)
            for rows, share in deal_rows(len(self.answer), parts)
        ]


@dataclass(frozen=True)
class EncodedStories:
    """Questions about stories, as numbers.  Row 0 of the table of sentences is none."""

    sentences: Int64[np.ndarray, "sentences words"]
    stories: Int64[np.ndarray, "questions memory"]
    questions: Int64[np.ndarray, "questions words_of_question"]
    answers: Int64[np.ndarray, " questions"]

    @classmethod
    def of(cls, stories: Stories, words: Vocabulary, memory: int) -> EncodedStories:
        """The last `memory` sentences of each story.  Raises DataError for a word that is not in the vocabulary."""
        table: dict[Sentence, int] = {(): 0}
        numbers = np.zeros((len(stories), memory), np.int64)
        for row, question in enumerate(stories):
            recent = question.story[: -memory - 1 : -1]
            numbers[row, : len(recent)] = [table.setdefault(sentence, len(table)) for sentence in recent]
        longest = max((len(sentence) for sentence in table), default=0)
        asked = max((len(question.words) for question in stories), default=0)
        return cls(
            np.stack([_filled(words, sentence, max(1, longest)) for sentence in table]),
            numbers,
            np.stack([_filled(words, question.words, asked) for question in stories]),
            words.encode([question.answer for question in stories]),
        )

    def __len__(self) -> int:
        return len(self.answers)

    def batch(self, rows: np.ndarray) -> StoryBatch:
        """The batch of these questions."""
        return StoryBatch(self.sentences[self.stories[rows]], self.questions[rows], self.answers[rows])


def _filled(words: Vocabulary, sentence: Sentence, length: int) -> np.ndarray:
    numbers = np.full(length, PAD, np.int64)
    numbers[: len(sentence)] = words.encode(sentence)
    return numbers


class StoryBatches(SeededBatches[StoryBatch]):
    """Training batches of questions in random order; in the first `linear_epochs` epochs with linear start.

    change: what is done to each batch, with a generator of its own, such as random noise; None: nothing.
    """

    what = "questions"

    def __init__(
        self,
        stories: EncodedStories,
        batch_size: int,
        seed: int,
        linear_epochs: int = 0,
        change: Callable[[StoryBatch, np.random.Generator], StoryBatch] | None = None,
    ) -> None:
        super().__init__(len(stories), batch_size, seed)
        self._stories, self.linear_epochs, self.change = stories, linear_epochs, change

    def iterate(self, epoch: int, start: int = 0) -> Iterator[StoryBatch]:
        linear = epoch < self.linear_epochs
        return (batch._replace(linear=linear) for batch in super().iterate(epoch, start))

    def order(self, rng: np.random.Generator) -> list[np.ndarray]:
        """The questions of each batch of an epoch."""
        return cut(rng.permutation(self.examples), self.batch_size)

    def batch(self, examples: np.ndarray, rng: np.random.Generator) -> StoryBatch:
        """These questions."""
        batch = self._stories.batch(examples)
        return batch if self.change is None else self.change(batch, rng)


def evaluation_stories(stories: EncodedStories, batch_size: int) -> Iterator[tuple[np.ndarray, StoryBatch]]:
    """(rows, the batch of them) of all questions, in their order."""
    return ((rows, stories.batch(rows)) for rows in cut(np.arange(len(stories)), batch_size))
