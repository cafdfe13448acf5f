"""A run of question answering that takes a second: two tasks of a few stories."""

from pathlib import Path

from minattn.data.qa.simulated import simulate
from minattn.data.qa.stories import Stories

SMALL = (
    "size=6",
    "hops=2",
    "memory=8",
    "restarts=2",
    "linear_epochs=1",
    "epochs=2",
    "batch_size=8",
    "halve_every=1",
    "evaluate_every=9",
)


def lines_of(stories: Stories) -> str:
    """The questions as a file of bAbI has them, each with its whole story before it."""
    lines = []
    for question in stories:
        lines += [f"{i} {' '.join(sentence)}.\n" for i, sentence in enumerate(question.story, start=1)]
        facts = " ".join(str(fact + 1) for fact in question.facts)
        lines.append(f"{len(question.story) + 1} {' '.join(question.words)}? \t{question.answer}\t{facts}\n")
    return "".join(lines)


def write_stories(folder: Path, questions: int = 40) -> str:
    """The files of two tasks in a folder: its path."""
    for task in (1, 12):
        for part, seed in (("train", 0), ("test", 1)):
            text = lines_of(simulate(task, questions, seed))
            (folder / f"qa{task}_simulated_{part}.txt").write_text(text, encoding="utf-8")
    return str(folder)


def train_arguments(folder: Path | str, *settings: str) -> list[str]:
    """What to give `minattn` to train such a run in `folder`, on the files that `write_stories` wrote to "stories"."""
    return ["train", "qa", "--out", str(folder), "--data=stories", *(f"--set={s}" for s in (*SMALL, *settings))]
