"""A g2p run that takes a second: a language of five letters, spoken as it is written."""

import itertools
from pathlib import Path

LETTERS = "abcde"
WORDS = ["".join(word) for length in (2, 3) for word in itertools.product(LETTERS, repeat=length)]
SMALL = ("embedding=6", "hidden=8", "alignment=6", "maxout=6", "batch_size=16", "epochs=3", "lr=0.03")
STEPS = 21  # of such a run
SMALL_TRANSFORMER = ("model=transformer", "d_model=32", "d_ff=32", "heads=2", "batch_size=16", "epochs=8", "lr=0.01")


def lines(words):
    return "".join(f"{word}\t{' '.join(word.upper())}\n" for word in words)


def write_words(folder: Path) -> dict[str, str]:
    """Lexicons of 110 train, 20 dev and 20 test words in `folder`: their paths by name."""
    parts = {"train": [], "dev": WORDS[3::15] + WORDS[8::15], "test": WORDS[5::15] + WORDS[11::15]}
    parts["train"] = [word for word in WORDS if word not in parts["dev"] + parts["test"]]
    for name, words in parts.items():
        (folder / f"{name}.tsv").write_text(lines(words), encoding="utf-8")
    return {name: str(folder / f"{name}.tsv") for name in parts}


def train_arguments(folder: Path | str, *settings: str, small: tuple[str, ...] = SMALL) -> list[str]:
    """What to give `minattn` to train such a run in `folder`, on the words that `write_words` wrote where it works."""
    files = ("--train=train.tsv", "--dev=dev.tsv", "--test=test.tsv")
    return ["train", "g2p", "--out", str(folder), *files, *(f"--set={s}" for s in (*small, *settings))]
