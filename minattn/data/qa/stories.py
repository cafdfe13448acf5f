"""Questions about stories, and the files of the bAbI tasks that hold them.

    J. Weston et al. (2015). Towards AI-complete question answering: a set of prerequisite toy tasks. arXiv:1502.05698.

A line of such a file is `1 Mary moved to the bathroom.`, or a question, `3 Where is Mary? <TAB>bathroom<TAB>1`, with
its answer and the numbers of the sentences that tell it; a line with the number 1 begins a new story.  An answer of
several words, such as `apple,milk`, is one answer.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from minattn.data.splits import Splits
from minattn.data.text.texts import NUMBER, read_text
from minattn.errors import DataError

Sentence = tuple[str, ...]
"""A sentence's words, in lower case and without the mark at its end."""

FILE = re.compile(r"qa([0-9]{1,9})_.*_(train|test)\.txt")


@dataclass(frozen=True, slots=True)
class Question:
    """A question, the sentences that come before it, and its answer; facts: the indices of those that tell it."""

    task: int
    story: tuple[Sentence, ...]
    words: Sentence
    answer: str
    facts: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class Stories:
    """Questions about stories."""

    questions: tuple[Question, ...]

    def __len__(self) -> int:
        return len(self.questions)

    def __iter__(self) -> Iterator[Question]:
        return iter(self.questions)

    @property
    def tasks(self) -> list[int]:
        """The numbers of the tasks, each once."""
        return sorted({question.task for question in self.questions})

    def of_task(self, task: int) -> Stories:
        """The questions of one task."""
        return Stories(tuple(question for question in self.questions if question.task == task))

    def fingerprint(self) -> str:
        """SHA-256 of everything that is in the questions."""
        digest, before = hashlib.sha256(), ()
        for question in self.questions:
            new = question.story[len(before) :] if question.story[: len(before)] == before else question.story
            digest.update(repr((question.task, len(question.story), new, question.words, question.answer)).encode())
            before = question.story
        return digest.hexdigest()


def words_of(text: str) -> Sentence:
    """The words of a sentence or a question."""
    return tuple(text.lower().replace("?", " ").replace(".", " ").split())


def read_babi(path: str | Path) -> Stories:
    """Read one file of a task, whose number its name has; 0 where it has another name.

    Raises DataError, with the file and the line, for a line of another form, for a story that does not begin with
    number 1, and for a file without a question.
    """
    questions: list[Question] = []
    story: list[Sentence] = []
    indices: dict[int, int | None] = {}  # of each line's sentence in the story; None for a question
    named = FILE.fullmatch(Path(path).name)
    task = int(named[1]) if named else 0
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        index, text = _numbered(line, where)
        if index == 1:
            story, indices = [], {}
        elif index != len(indices) + 1:
            raise DataError(f"{where}: number {index} does not follow the one before; hint: 1 begins a new story")
        if "\t" not in text:
            indices[index] = len(story)
            story.append(words_of(text))
            continue
        indices[index] = None
        questions.append(_question(text, task, story, indices, where))
    if not questions:
        raise DataError(f"{path} has no question; hint: lines such as 3 Where is Mary?<TAB>bathroom<TAB>1")
    return Stories(tuple(questions))


def _numbered(line: str, where: str) -> tuple[int, str]:
    index, _, text = line.strip("\n").partition(" ")
    if not NUMBER.fullmatch(index) or not words_of(text.partition("\t")[0]):
        raise DataError(f"{where}: {line[:60]!r} is no numbered sentence; hint: such as 1 Mary moved to the bathroom.")
    return int(index), text


def _question(text: str, task: int, story: Sequence[Sentence], indices: dict[int, int | None], where: str) -> Question:
    question, answer, *rest = text.split("\t")
    numbers = rest[0].split() if rest else []
    facts = [indices.get(int(number)) if NUMBER.fullmatch(number) else None for number in numbers]
    if not answer.strip():
        raise DataError(
            f"{where}: the question {question.strip()!r} has no answer; hint: <TAB> and the answer behind it"
        )
    if len(rest) > 1 or None in facts:
        raise DataError(
            f"{where}: behind the answer stands {' '.join(rest)!r}, and the numbers of sentences of the story were "
            "expected; hint: numbers with blanks between them"
        )
    answered = answer.strip().lower()
    return Question(task, tuple(story), words_of(question), answered, tuple(fact for fact in facts if fact is not None))


def read_babi_folder(folder: str | Path, task: int | None = None) -> Splits[Stories]:
    """Read the tasks in a folder, or one of them: files qaN_NAME_train.txt and qaN_NAME_test.txt.

    The last tenth of each task's training questions are held out for development.
    Raises DataError where there is no such file, one of a pair is missing, or a task has two of a kind.
    """
    found: dict[int, dict[str, Path]] = {}
    for path in sorted(Path(folder).glob("qa*.txt")):
        if match := FILE.fullmatch(path.name):
            files = found.setdefault(int(match[1]), {})
            if other := files.get(match[2]):
                raise DataError(
                    f"{folder} has {other.name} and {path.name} for task {match[1]}; hint: a folder with one of them"
                )
            files[match[2]] = path
    if not found:
        raise DataError(f"{folder} has no files of bAbI; hint: a folder with qa1_.._train.txt, qa1_.._test.txt, ..")
    chosen = sorted(found) if task is None else [task]
    for number in chosen:
        if missing := {"train", "test"} - set(found.get(number, {})):
            raise DataError(
                f"{folder} has no {' and no '.join(sorted(missing))} file of task {number}; hint: it has tasks "
                f"{', '.join(map(str, sorted(found)))}"
            )
    parts = {part: [read_babi(found[number][part]) for number in chosen] for part in ("train", "test")}
    return held_out(parts["train"], parts["test"])


def held_out(train: Sequence[Stories], test: Sequence[Stories]) -> Splits[Stories]:
    """The splits of some tasks: the last tenth of each one's training questions are for development."""
    kept, dev = [], []
    for stories in train:
        count = len(stories) - len(stories) // 10
        kept += stories.questions[:count]
        dev += stories.questions[count:]
    return Splits(Stories(tuple(kept)), Stories(tuple(dev)), Stories(tuple(q for part in test for q in part)))
