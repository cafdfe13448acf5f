"""A key-value network with the facts that it answers from: trained, scored and asked."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Self

import numpy as np

from minattn.attention.memory import KeyHashing
from minattn.autograd import Tensor, asnumpy, no_grad, ops
from minattn.data import SeededBatches, Splits, Vocabulary, pad_sequences
from minattn.data.batches import cut, deal_rows
from minattn.data.qa.facts import CENTER, Entities, Fact, FactQuestion, FactQuestions, Slot, memory_of
from minattn.errors import ConfigError, DataError
from minattn.tasks.facts.settings import FactsConfig
from minattn.tasks.task import OnProgress, ignore_progress
from minattn.tasks.threads import blas_threads

EVALUATION_BATCH = 128
"""Questions that are scored at a time."""


class FactBatch(NamedTuple):
    """Questions, the slots retrieved for each, and the number of a right answer among the candidates."""

    question: np.ndarray  # (batch, words)
    keys: np.ndarray  # (batch, slots, words)
    values: np.ndarray  # (batch, slots, words)
    mask: np.ndarray  # (batch, slots)
    answer: np.ndarray  # (batch)

    def split(self, parts: int) -> list[tuple["FactBatch", float]]:
        """At most `parts` batches that have every row once, and each one's share of the rows."""
        return [(FactBatch(*(x[rows] for x in self)), share) for rows, share in deal_rows(len(self.answer), parts)]


class FactAnswer(NamedTuple):
    """An answer, its probability among the names that the question does not have, the slots that were retrieved, and
    for every hop their weights.
    """

    answer: str
    probability: float
    slots: list[Slot]
    weights: np.ndarray
    """(slots, hops)."""


@dataclass
class StoredFacts:
    """What a checkpoint says beside the network's parameters."""

    words: list[str]
    facts: list[Fact]


class FactAnswerer:
    """A key-value network, the facts in its memory and the words that it knows."""

    def __init__(self, config: FactsConfig, words: Vocabulary, facts: Sequence[Fact]) -> None:
        if config.network.features != len(words):
            raise ConfigError(f"the network is for {config.network.features} features, and there are {len(words)}")
        self.config, self.words, self.facts = config, words, tuple(facts)
        self.entities = Entities(facts)
        self.candidates = sorted({name for fact in facts for name in (fact.subject, fact.object)})
        self.candidate_index = {name: i for i, name in enumerate(self.candidates)}
        self.memory = memory_of(facts, config.memory)
        self.keys, _ = pad_sequences([(), *(words.encode(slot.key) for slot in self.memory)])
        self.values, _ = pad_sequences([(), *(words.encode(slot.value) for slot in self.memory)])
        self.hashing = KeyHashing([slot.key for slot in self.memory])
        self._names = words.encode(self.candidates)[:, None]
        has_centers = config.memory in ("centers", "titles")  # then each name is the center of a window
        self._centers = words.encode([CENTER + name for name in self.candidates] if has_centers else [])
        self.model = config.build()

    @classmethod
    def of(cls, config: FactsConfig, splits: Splits[FactQuestions]) -> Self:
        """An untrained one for the features of all facts and the words of all questions."""
        facts = splits.train.facts
        features = {word for part in splits for question in part for word in question.words}
        for slot in memory_of(facts, config.memory):
            features.update((*slot.key, *slot.value))
        features.update(name for fact in facts for name in (fact.subject, fact.object))
        words = Vocabulary(sorted(features))
        return cls(replace(config, network=replace(config.network, features=len(words))), words, facts)

    # ------------------------------------------------------------------------------------------ slots
    def retrieved(self, words: Sequence[str]) -> np.ndarray:
        """The numbers of the slots that are retrieved for a question, from 1.

        The paper retrieves by the words of the question.  With more than one hop the second fact may share none with
        it, so here slots are retrieved for each further hop too, by the names in the values of those before.
        """
        hops, limit = self.config.network.hops, self.config.slots
        asked = [word for word in words if word not in self.candidate_index]
        found = new = self.hashing.slots(words, -(-limit // hops))
        for hop in range(1, hops):
            read = [name for slot in new for name in self.memory[slot].value if name in self.candidate_index]
            names = [name for name in dict.fromkeys(read) if name not in words]
            more = self.hashing.slots([*names, *asked], limit)
            together = list(dict.fromkeys([*found, *more]))[: -(-limit * (hop + 1) // hops)]
            new, found = together[len(found) :], together
        return np.array(found, np.int64) + 1

    def batch(self, questions: Sequence[FactQuestion], slots: Sequence[np.ndarray], answers: np.ndarray) -> FactBatch:
        """The batch of these questions, with their slots and the number of one right answer each."""
        words, _ = pad_sequences([self.words.encode(question.words) for question in questions])
        numbers, mask = pad_sequences(slots)
        if not numbers.shape[1]:
            numbers, mask = np.zeros((len(slots), 1), np.int64), np.zeros((len(slots), 1), bool)
        return FactBatch(words, self.keys[numbers], self.values[numbers], mask, answers)

    def permuted(self, batch: FactBatch, rng: np.random.Generator) -> FactBatch:
        """The batch with its entities permuted, each the same wherever it stands: K. M. Hermann et al., "Teaching
        machines to read and comprehend", NIPS 2015, section 2.2.
        """
        other = rng.permutation(len(self.candidates))
        feature = np.arange(len(self.words))
        feature[self._names[:, 0]] = self._names[other, 0]
        if len(self._centers):
            feature[self._centers] = self._centers[other]
        return FactBatch(
            feature[batch.question], feature[batch.keys], feature[batch.values], batch.mask, other[batch.answer]
        )

    # ------------------------------------------------------------------------------------------ training and scoring
    def batches(self, train: FactQuestions) -> "FactBatches":
        """Batches of questions."""
        return FactBatches(self, train)

    @staticmethod
    def tokens(batch: FactBatch) -> int:
        """The number of questions in a batch."""
        return len(batch.answer)

    def loss(self, model: Any, batch: FactBatch) -> Tensor:
        """The mean over a batch of -log p(answer), in nats; of several right answers one is drawn."""
        return ops.cross_entropy(self._logits(model, batch), batch.answer)

    def _logits(self, model: Any, batch: FactBatch) -> Tensor:
        return model(batch.question, batch.keys, batch.values, self._names, batch.mask)

    def check(self, questions: FactQuestions, name: str) -> None:
        """Raise DataError where questions, called `name`, have words or answers that the network does not know."""
        for question in questions:
            self._check_words(question.words, f"{name}: {' '.join(question.words)!r}")
            if unknown := [answer for answer in question.answers if answer not in self.candidate_index]:
                raise DataError(f"{name}: the answer {unknown[0]!r} is in no fact; hint: add a fact, or leave it out")

    def _check_words(self, words: Sequence[str], where: str) -> None:
        if not words:
            raise DataError("the question has no word; hint: such as what is the capital of france")
        if unknown := [word for word in words if word not in self.words]:
            raise DataError(
                f"{where} has {unknown[0]!r}, which is in no fact and in no question trained on; hint: a name as it is "
                "in the facts, in the words of the training questions"
            )

    @blas_threads()
    @no_grad()
    def score(self, questions: FactQuestions, on_progress: OnProgress = ignore_progress) -> tuple[np.ndarray, float]:
        """Which questions are right, and the mean of -log p of an answer."""
        self.model.eval()
        right, losses = [], []
        for first in range(0, len(questions), EVALUATION_BATCH):
            part = questions.questions[first : first + EVALUATION_BATCH]
            answers = np.array([self.candidate_index[question.answers[0]] for question in part])
            batch = self.batch(part, [self.retrieved(question.words) for question in part], answers)
            log_p = asnumpy(ops.log_softmax(self._logits(self.model, batch)).data)
            losses.append(-log_p[np.arange(len(part)), answers])
            best = np.where([self.candidate_mask(question.words) for question in part], log_p, -np.inf).argmax(1)
            right += [self.candidates[i] in question.answers for i, question in zip(best, part, strict=True)]
            on_progress(len(right), len(questions))
        return np.array(right), float(np.concatenate(losses).mean()) if losses else math.nan

    def candidate_mask(self, words: Sequence[str]) -> np.ndarray:
        """True for every candidate that a question does not name: with B = A its own names score high."""
        found = np.ones(len(self.candidates), bool)
        found[[self.candidate_index[word] for word in words if word in self.candidate_index]] = False
        return found

    # ------------------------------------------------------------------------------------------ asking
    def ask(self, question: str) -> FactAnswer:
        """The answer to a question.  Raises DataError for words that are not known, and where no fact is found."""
        words = self.entities.link(question)
        self._check_words(words, repr(question))
        return self.answer(words)

    @no_grad()
    def answer(self, words: Sequence[str]) -> FactAnswer:
        """The answer to a question of known words and names.  Raises DataError where no fact shares one with it."""
        slots = self.retrieved(words)
        if not len(slots):
            question = " ".join(words)
            raise DataError(f"no fact shares a word with {question!r}; hint: name a thing that the facts are about")
        self.model.eval()
        batch = self.batch([FactQuestion(tuple(words), ())], [slots], np.zeros(1, np.int64))
        logits, attention = self.model(
            batch.question, batch.keys, batch.values, self._names, batch.mask, return_attention=True
        )
        p = asnumpy(ops.softmax(logits, mask=self.candidate_mask(words)).data)[0]
        weights = asnumpy(attention["memory"].data)[0].T
        return FactAnswer(
            self.candidates[int(p.argmax())], float(p.max()), [self.memory[slot - 1] for slot in slots], weights
        )

    # ------------------------------------------------------------------------------------------ checkpoints
    def meta(self) -> dict[str, Any]:
        """The words and the facts, for a checkpoint."""
        return {"words": self.words.to_list(), "facts": [list(fact) for fact in self.facts]}


class FactBatches(SeededBatches[FactBatch]):
    """Training batches of questions in random order, with one of the right answers of each."""

    what = "questions"

    def __init__(self, answerer: FactAnswerer, train: FactQuestions) -> None:
        super().__init__(len(train), answerer.config.batch_size, answerer.config.seed)
        self.answerer, self.train = answerer, train
        self._slots = [answerer.retrieved(question.words) for question in train]

    def order(self, rng: np.random.Generator) -> list[np.ndarray]:
        """The questions of each batch of an epoch."""
        return cut(rng.permutation(self.examples), self.batch_size)

    def batch(self, examples: np.ndarray, rng: np.random.Generator) -> FactBatch:
        """These questions."""
        questions = [self.train.questions[i] for i in examples]
        answers = [self.answerer.candidate_index[q.answers[int(rng.integers(len(q.answers)))]] for q in questions]
        batch = self.answerer.batch(questions, [self._slots[i] for i in examples], np.array(answers))
        return self.answerer.permuted(batch, rng) if self.answerer.config.permute_entities else batch


def hits_at_1(right: np.ndarray) -> float:
    """Right answers in percent."""
    return 100 * float(right.mean()) if right.size else math.nan
