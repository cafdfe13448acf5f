"""Question answering: a memory network learns to answer questions about stories, and shows which sentences tell it.

The stories are those of bAbI (`--data FOLDER`), or of eleven of its tasks as they are simulated here.  The score is the
share of wrong answers, over all questions and for each task.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

from minattn.data import Splits, Vocabulary
from minattn.data.qa.simulated import load_simulated
from minattn.data.qa.stories import Question, Sentence, Stories, read_babi, read_babi_folder, words_of
from minattn.data.text.texts import read_text
from minattn.errors import DataError
from minattn.tasks.config import with_settings
from minattn.tasks.qa.answerer import Answer, Answerer, StoredWords, percent_wrong
from minattn.tasks.qa.settings import ALL_TASKS, ONE_TASK, QAConfig
from minattn.tasks.task import Evaluation, OnProgress, Output, Source, Task, ignore_progress
from minattn.training import Metric, as_kind

HOPS = "hops.png"

FAILED = 5.0  # percent: a task with more wrong answers counts as failed, as in the paper


@dataclass(frozen=True)
class BabiSource(Source):
    """A folder of bAbI's files, or simulated tasks."""

    data: Annotated[
        str | None, "a folder of bAbI's files, qa1_.._train.txt and so on  [default: eleven tasks, simulated]", "FOLDER"
    ] = None

    hint_if_few: ClassVar[str] = "a folder with more questions"

    def load(self, config: QAConfig) -> Splits[Stories]:
        if self.data is None:
            return load_simulated(config.task)
        return read_babi_folder(self.data, config.task)

    def name(self, part: str) -> str:
        return "the simulated tasks" if self.data is None else self.data

    def absolute(self) -> "BabiSource":
        return self if self.data is None else BabiSource(str(Path(self.data).absolute()))


class QuestionAnswering(Task):
    """Question answering."""

    name = "qa"
    help = "Learn to answer questions about stories."
    source = BabiSource
    items = "questions"
    models: ClassVar[dict[str, QAConfig]] = {"memn2n": ALL_TASKS}
    metrics = (Metric("error", "wrong answers", axis="wrong answers (%)", unit="% wrong"),)

    def configure(self, settings: Sequence[str] = (), model: str | None = None, source: Any = None) -> QAConfig:
        """The default settings for all tasks, or with "task=N" those for one, changed."""
        config = super().configure(settings, model, source)
        if config.task is None:
            return config
        return with_settings(ONE_TASK, [setting for setting in settings if not setting.startswith("model=")])

    def build(self, config: QAConfig, splits: Splits[Stories]) -> Answerer:
        return Answerer.of(config, splits)

    def restored(self, config: QAConfig, meta: Mapping[str, Any]) -> Answerer:
        stored = as_kind({"slots": meta.get("places"), **meta}, StoredWords)  # as they were called at first
        return Answerer(config, Vocabulary.from_list(stored.words), stored.slots)

    def describe(self, splits: Splits[Stories]) -> str:
        longest = max(len(question.story) for part in splits for question in part)
        return f"of {len(splits.train.tasks)} tasks, stories of up to {longest} sentences"

    def evaluate(self, predictor: Answerer, data: Stories, on_progress: OnProgress = ignore_progress) -> Evaluation:
        """Score a run's best model on its test questions: wrong answers in percent, for each task too.

        While a run trains, its development questions choose among the networks that are trained at once.
        """
        answered = predictor.answer_all(data, on_progress)
        if data is predictor.dev:
            predictor.model.choose(answered.best())
        network = predictor.model.number
        right, losses = answered.right[network], answered.losses[network]
        task_of = [question.task for question in data]
        tasks = {str(task): percent_wrong(right[[number == task for number in task_of]]) for task in data.tasks}
        details = {"tasks": tasks, "failed": sum(error > FAILED for error in tasks.values())}
        if len(answered.right) > 1:
            details["of_all_networks"] = [percent_wrong(row) for row in answered.right]
        return Evaluation({"loss": float(losses.mean()), "error": percent_wrong(right)}, len(data), details)

    def read(self, predictor: Answerer, path: str) -> Stories:
        return read_babi(path)

    def summary(self, test: Mapping[str, Any]) -> str:
        line = super().summary(test)
        if len(test["tasks"]) == 1:
            return line
        by_task = ", ".join(f"{task}: {error:.1f}" for task, error in test["tasks"].items())
        return f"{line}; by task: {by_task}; {test['failed']} of {len(test['tasks'])} tasks with more than 5 % wrong"

    # ------------------------------------------------------------------------------------------ looking at it
    def figures(self, predictor: Answerer, test: Stories, evaluation: Evaluation, folder: Path) -> Sequence[str]:
        """The hops of a question of each of a few tasks, as in the paper's Figure 2."""
        told = Stories(tuple(question for question in test if question.story))  # others have nothing to look at
        if not told:
            return []
        shown = [_typical(told.of_task(task)) for task in told.tasks[:6]]
        draw_hops([(" ".join(q.words), predictor.ask(q.story, q.words)) for q in shown], folder / HOPS)
        return [HOPS]

    def predict(
        self,
        predictor: Answerer,
        output: Output,
        question: Annotated[str, "the question", "QUESTION"],
        *,
        story: Annotated[Path, "a file with the story, one sentence a line", "FILE"],
        plot: Annotated[Path | None, "draw the hops: FILE.png, .svg or .pdf", "FILE"] = None,
    ) -> None:
        """Answer a question about a story, and show the sentences that each hop found."""
        from minattn.viz import terminal_alignment
        from minattn.viz.saving import check_figure_path

        if plot is not None:
            check_figure_path(plot)
        asked = words_of(question)
        answer = predictor.ask(read_story(story), asked)
        if answer.forgotten:
            output.note(
                f"the memory has room for {len(answer.sentences)} sentences: the first {answer.forgotten} are left out"
            )
        output.line(f"{answer.answer}  (probability {answer.probability:.3f})")
        output.show(terminal_alignment(answer.weights, hop_names(answer), [" ".join(s) for s in answer.sentences]))
        if plot is not None:
            draw_hops([(" ".join(asked), answer)], plot)
            output.line(f"hops drawn into {plot}")

    def example(self, source: BabiSource) -> str:
        return '--story FILE "Where is Mary?"'


def read_story(path: Path) -> list[Sentence]:
    """The sentences of a file, one a line, with numbers before them or without; lines with a question are left out."""
    story = []
    for line in read_text(path).splitlines():
        words = words_of(line)
        words = words[1:] if words and words[0].isdigit() else words
        if words and "\t" not in line and not line.rstrip().endswith("?"):
            story.append(words)
    if not story:
        raise DataError(f"{path} has no sentence; hint: one a line, such as Mary moved to the bathroom.")
    return story


def _typical(stories: Stories) -> Question:
    """The first question with a story of middle length."""
    lengths = sorted(len(question.story) for question in stories)
    middle = min(lengths[len(lengths) // 2], 12)
    return next((question for question in stories if len(question.story) >= middle), stories.questions[0])


def hop_names(answer: Answer) -> list[str]:
    """The headings of the columns of weights."""
    return [f"hop {k + 1}" for k in range(answer.weights.shape[1])]


def draw_hops(answers: Sequence[tuple[str, Answer]], path: Path) -> None:
    """Draw a panel for each question: the sentences down, the hops across, the weights as shades."""
    from minattn.viz import Alignment, alignment_grid, save_figure

    panels = [
        Alignment(
            answer.weights,
            hop_names(answer),
            [" ".join(sentence) for sentence in answer.sentences],
            f"{question}? {answer.answer}",
            answer.probability,
        )
        for question, answer in answers
    ]
    save_figure(alignment_grid(panels), path)
