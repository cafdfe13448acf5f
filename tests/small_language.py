"""A language run that takes a second: rows of four words, in any order."""

from pathlib import Path

import numpy as np

WORDS = ("the cat", "a dog", "sleeps", "eats\n")
SMALL = (
    *("layers=1", "d_model=8", "d_ff=16", "heads=2", "context=8"),
    *("batch_size=4", "steps=10", "lr=0.02", "evaluate_every=3", "sample=12"),
)


def some_text(words: int = 200) -> str:
    rng = np.random.default_rng(0)
    return " ".join(WORDS[i] for i in rng.integers(len(WORDS), size=words))


def write_text(folder: Path) -> str:
    """A text in `folder`: its path."""
    (folder / "text.txt").write_text(some_text(), encoding="utf-8")
    return str(folder / "text.txt")


def train_arguments(folder: Path | str, *settings: str) -> list[str]:
    """What to give `minattn` to train such a run in `folder`, on the text that `write_text` wrote where it works."""
    return ["train", "lm", "--out", str(folder), "--train=text.txt", *(f"--set={s}" for s in (*SMALL, *settings))]
