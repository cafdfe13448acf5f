"""Memory networks with their words: trained, scored and asked."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Self

import numpy as np

from minattn.attention.memory import with_noise
from minattn.autograd import Tensor, asnumpy, no_grad, ops
from minattn.data import Splits, Vocabulary
from minattn.data.qa.batches import EncodedStories, StoryBatch, StoryBatches, evaluation_stories
from minattn.data.qa.stories import Question, Sentence, Stories
from minattn.errors import ConfigError, DataError
from minattn.tasks.qa.settings import QAConfig
from minattn.tasks.task import OnProgress, ignore_progress
from minattn.tasks.threads import blas_threads

EVALUATION_BATCH = 128
"""Questions that are scored at a time."""


class Answer(NamedTuple):
    """An answer, its probability, and for every hop the weights of the story's sentences."""

    answer: str
    probability: float
    sentences: list[Sentence]
    """Those in the memory, in the order of the story."""
    weights: np.ndarray
    """(sentences, hops); the rest, up to 1 in each hop, is on empty memories."""
    forgotten: int
    """Sentences at the story's beginning that the memory has no room for."""


@dataclass(frozen=True)
class Answered:
    """What all networks make of some questions: right (networks, questions), and -log p of the answer likewise."""

    right: np.ndarray
    losses: np.ndarray

    def best(self) -> int:
        """The network with the fewest errors; of several the one with the lowest loss."""
        return min(range(len(self.right)), key=lambda i: (-int(self.right[i].sum()), float(self.losses[i].mean())))


@dataclass
class StoredWords:
    """What a checkpoint says beside the networks' parameters."""

    words: list[str]
    slots: int


class Answerer:
    """Memory networks with the words that they know.

    slots: of the memory, those that stay empty too; dev: the development questions, by which one of the networks is
    chosen, None where it was.
    """

    def __init__(self, config: QAConfig, words: Vocabulary, slots: int, dev: Stories | None = None) -> None:
        if config.network.vocab_size != len(words):
            raise ConfigError(f"the network is for {config.network.vocab_size} words, and there are {len(words)}")
        if not 1 <= slots <= config.network.memory:
            raise ConfigError(f"the memory has {config.network.memory} slots, and {slots} are to be used")
        self.config, self.words, self.slots, self.dev = config, words, slots, dev
        self.model = config.build()

    @classmethod
    def of(cls, config: QAConfig, splits: Splits[Stories]) -> Self:
        """An untrained one for the words of all parts, as in the authors' code: what training lacks it cannot learn."""
        words, longest, most = set(), 1, 1
        for question in (question for part in splits for question in part):
            for sentence in (*question.story, question.words):
                words.update(sentence)
                longest = max(longest, len(sentence))
            words.add(question.answer)
            most = max(most, len(question.story))
        vocabulary = Vocabulary(sorted(words))
        slots = min(config.network.memory, most + math.ceil(config.noise * most))  # as many as are ever used
        network = replace(config.network, vocab_size=len(vocabulary), longest=longest)
        return cls(replace(config, network=network), vocabulary, slots, splits.dev)

    # ------------------------------------------------------------------------------------------ training and scoring
    def encode(self, stories: Stories) -> EncodedStories:
        """Stories and questions as numbers."""
        return EncodedStories.of(stories, self.words, self.slots)

    def batches(self, train: Stories) -> StoryBatches:
        """Batches of questions, with random noise in their stories."""
        config = self.config

        def add_noise(batch: StoryBatch, rng: np.random.Generator) -> StoryBatch:
            return batch._replace(story=with_noise(batch.story, rng, self.slots, config.noise))

        change = add_noise if config.noise else None
        return StoryBatches(self.encode(train), config.batch_size, config.seed, config.linear_epochs, change)

    @staticmethod
    def tokens(batch: StoryBatch) -> int:
        """The number of questions in a batch."""
        return len(batch.answer)

    def loss(self, model: Any, batch: StoryBatch) -> Tensor:
        """The mean over a batch of -log p(answer), in nats, summed over the networks."""
        logits = model(batch.story, batch.question, batch.linear)
        answers = np.broadcast_to(batch.answer, logits.shape[:2])
        return ops.cross_entropy(logits, answers, reduction="sum") / len(batch.answer)

    def check(self, stories: Stories, name: str) -> None:
        """Raise DataError where stories, called `name`, have words that the networks do not know."""
        for question in stories:
            for sentence in (question.words, *question.story):
                self._check_words(sentence, f"{name}: {' '.join(sentence)!r}")
            if question.answer not in self.words:
                raise DataError(
                    f"{name}: the answer {question.answer!r} is none that the network knows; hint: train on questions "
                    "that have it"
                )

    def _check_words(self, sentence: Sentence, where: str) -> None:
        longest = self.config.network.longest
        if unknown := [word for word in sentence if word not in self.words]:
            raise DataError(
                f"{where} has {unknown[0]!r}, which no story trained on has; hint: "
                f"{' '.join(self.words.to_list()[3:15])} .. are known"
            )
        if len(sentence) > longest:
            raise DataError(f"{where} has {len(sentence)} words; hint: at most {longest}, as the stories trained on")

    @blas_threads()
    @no_grad()
    def answer_all(self, stories: Stories, on_progress: OnProgress = ignore_progress) -> Answered:
        """What every network makes of these questions."""
        self.model.eval()
        encoded, count = self.encode(stories), len(self.model.networks)
        right, losses, done = np.zeros((count, len(encoded)), bool), np.zeros((count, len(encoded))), 0
        for rows, batch in evaluation_stories(encoded, EVALUATION_BATCH):
            log_p = asnumpy(ops.log_softmax(self.model(batch.story, batch.question)).data)
            right[:, rows] = log_p.argmax(-1) == batch.answer
            losses[:, rows] = -log_p[:, np.arange(len(rows)), batch.answer]
            done += len(rows)
            on_progress(done, len(encoded))
        return Answered(right, losses)

    # ------------------------------------------------------------------------------------------ asking
    @no_grad()
    def ask(self, story: Sequence[Sentence], question: Sentence) -> Answer:
        """The answer to a question about a story.

        Raises DataError for words that are not known, for a story without a sentence and a question without a word.
        """
        if not story or not question:
            what = "question has no word" if story else "story has no sentence"
            raise DataError(f"the {what}; hint: a file with one sentence a line, and a question")
        for sentence in (question, *story):
            self._check_words(sentence, repr(" ".join(sentence)))
        self.model.eval()
        asked = Stories((Question(0, tuple(story), question, question[0]),))
        batch = self.encode(asked).batch(np.arange(1))
        logits, attention = self.model.best(batch.story, batch.question, return_attention=True)
        p = asnumpy(ops.softmax(logits).data)[0]
        kept = min(len(story), self.slots)
        weights = asnumpy(attention["memory"].data)[0, :, :kept][:, ::-1].T
        answer = self.words.to_list()[int(p.argmax())]
        return Answer(answer, float(p.max()), list(story)[-kept:], weights, len(story) - kept)

    # ------------------------------------------------------------------------------------------ checkpoints
    def meta(self) -> dict[str, Any]:
        """The words and the number of memory slots, for a checkpoint."""
        return {"words": self.words.to_list(), "slots": self.slots}


def percent_wrong(right: np.ndarray) -> float:
    """Wrong answers in percent."""
    return 100 * float(1 - right.mean()) if right.size else math.nan
