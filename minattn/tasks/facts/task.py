"""Questions about facts: a key-value memory network finds the facts that answer them.

The facts are those of `countryinfo` about countries, or a knowledge base of one's own; the questions are made from them
by templates, or one's own too.  The score is hits@1, the share of questions whose best answer is a right one; what is
named in a question is no answer to it.  What is held out are facts: no training question asks for one that a test
question needs, in other words, from its other end or as half of a way of two: the answer is in the memory alone.
So that answers are read from the memory and not memorized, the names are permuted in every training batch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np

from minattn.data import Splits, Vocabulary
from minattn.data.qa.facts import (
    REVERSED,
    FactQuestions,
    generate_questions,
    load_countries,
    read_facts,
    read_questions,
)
from minattn.data.splits import PARTS
from minattn.errors import ConfigError, DataError
from minattn.tasks.facts.answerer import FactAnswer, FactAnswerer, StoredFacts, hits_at_1
from minattn.tasks.facts.settings import FactsConfig
from minattn.tasks.task import Evaluation, OnProgress, Output, Source, Task, ignore_progress
from minattn.training import Metric, as_kind

HOPS = "hops.png"

SHOWN_SLOTS = 8  # those with the largest weights


@dataclass(frozen=True)
class FactSource(Source):
    """A knowledge base, and questions in three files or made from it; or countries."""

    facts: Annotated[
        str | None, "lines subject<TAB>relation<TAB>object  [default: countries, of countryinfo]", "FILE"
    ] = None
    train: Annotated[
        str | None, "training questions, lines question<TAB>answer|answer  [default: made from the facts]", "FILE"
    ] = None
    dev: Annotated[str | None, "development questions, in the same form", "FILE"] = None
    test: Annotated[str | None, "test questions, in the same form", "FILE"] = None

    hint_if_few: ClassVar[str] = "more facts, or questions in files"

    def __post_init__(self) -> None:
        given = [part for part in PARTS if getattr(self, part) is not None]
        if given and len(given) < len(PARTS):
            raise ConfigError(f"--train, --dev and --test go together, and there is only --{' and --'.join(given)}")
        if given and self.facts is None:
            raise ConfigError("questions of one's own go with facts of one's own; hint: --facts FILE")

    def load(self, config: FactsConfig) -> Splits[FactQuestions]:
        facts = load_countries() if self.facts is None else read_facts(self.facts)
        if self.train is None:
            return generate_questions(facts, config.two_hops)
        return Splits(*(read_questions(getattr(self, part), facts) for part in PARTS))

    def name(self, part: str) -> str:
        return getattr(self, part) or self.facts or "countryinfo"

    def absolute(self) -> "FactSource":
        paths = (self.facts, self.train, self.dev, self.test)
        return FactSource(*(None if path is None else str(Path(path).absolute()) for path in paths))


class FactAnswering(Task):
    """Questions about facts."""

    name = "facts"
    help = "Learn to answer questions from a memory of facts."
    source = FactSource
    items = "questions"
    models: ClassVar[dict[str, FactsConfig]] = {"key_value": FactsConfig()}
    metrics = (Metric("hits", "hits@1", axis="hits@1 (%)", unit="% right", lower_is_better=False),)

    def build(self, config: FactsConfig, splits: Splits[FactQuestions]) -> FactAnswerer:
        return FactAnswerer.of(config, splits)

    def restored(self, config: FactsConfig, meta: Mapping[str, Any]) -> FactAnswerer:
        stored = as_kind(meta, StoredFacts)
        return FactAnswerer(config, Vocabulary.from_list(stored.words), stored.facts)

    def describe(self, splits: Splits[FactQuestions]) -> str:
        return f"about {len(splits.train.facts):,} facts"

    def evaluate(
        self, predictor: FactAnswerer, data: FactQuestions, on_progress: OnProgress = ignore_progress
    ) -> Evaluation:
        """Score a run's best model on its test questions: right answers in percent, for each kind too."""
        right, loss = predictor.score(data, on_progress)
        kinds = np.array([_kind(question.relations) for question in data])
        by_kind = {kind: hits_at_1(right[kinds == kind]) for kind in sorted(set(kinds.tolist()))}
        return Evaluation({"loss": loss, "hits": hits_at_1(right)}, len(data), {"kinds": by_kind})

    def read(self, predictor: FactAnswerer, path: str) -> FactQuestions:
        return read_questions(path, predictor.facts)

    def summary(self, test: Mapping[str, Any]) -> str:
        kinds = ", ".join(f"{kind} {value:.1f}" for kind, value in test["kinds"].items())
        return f"{super().summary(test)}; {kinds}"

    def figures(
        self, predictor: FactAnswerer, test: FactQuestions, evaluation: Evaluation, folder: Path
    ) -> Sequence[str]:
        """The slots that a question of each kind finds, and their weights hop by hop."""
        answered = [question for question in test.questions if len(predictor.retrieved(question.words))]
        first = {_kind(question.relations): question.words for question in reversed(answered)}
        if not first:
            return []
        draw_slots([(" ".join(words), predictor.answer(words)) for words in first.values()], folder / HOPS)
        return [HOPS]

    def predict(
        self,
        predictor: FactAnswerer,
        output: Output,
        question: Annotated[str, "the question", "QUESTION"],
        *,
        plot: Annotated[Path | None, "draw the hops: FILE.png, .svg or .pdf", "FILE"] = None,
    ) -> None:
        """Answer a question from the facts, and show those that each hop attends to."""
        from minattn.viz import terminal_alignment
        from minattn.viz.saving import check_figure_path

        if plot is not None:
            check_figure_path(plot)
        answer = predictor.ask(question)
        output.line(f"{answer.answer}  (probability {answer.probability:.3f})")
        weights, hop_names, slots = panel(answer)
        output.show(terminal_alignment(weights, hop_names, slots))
        if plot is not None:
            draw_slots([(question, answer)], plot)
            output.line(f"hops drawn into {plot}")

    def example(self, source: FactSource) -> str:
        return '"What is the capital of France?"' if source.facts is None else "QUESTION"


def _kind(relations: Sequence[str]) -> str:
    if len(relations) != 1:
        return "two hops" if relations else "questions"
    return "subjects" if relations[0].startswith(REVERSED) else "objects"


def panel(answer: FactAnswer) -> tuple[np.ndarray, list[str], list[str]]:
    """(weights, the hops' names, the slots as text) of the slots with the largest weights in any hop."""
    order = np.argsort(-answer.weights.max(1), kind="stable")[:SHOWN_SLOTS]
    slots = [f"{' '.join(answer.slots[i].key)} = {' '.join(answer.slots[i].value)}" for i in order]
    return answer.weights[order], [f"hop {k + 1}" for k in range(answer.weights.shape[1])], slots


def draw_slots(answers: Sequence[tuple[str, FactAnswer]], path: Path) -> None:
    """Draw a panel for each question: the slots down, the hops across.  Raises DataError where there is none."""
    from minattn.viz import Alignment, alignment_grid, save_figure

    if not answers:
        raise DataError("there is nothing to draw; hint: a question")
    panels = [
        Alignment(*panel(answer), f"{question.rstrip('? ')}? {answer.answer}", answer.probability)
        for question, answer in answers
    ]
    save_figure(alignment_grid(panels, columns=1), path)
