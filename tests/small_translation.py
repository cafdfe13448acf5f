"""A translation run that takes a second: numbers in one made-up language into another, word by word, the last first."""

import itertools
from pathlib import Path

from minattn.data import AlignedText, Alignment

WORDS = {"uno": "un", "dos": "deux", "tres": "trois", "seis": "six"}
PAIRS = [
    (" ".join(words), " ".join(WORDS[word] for word in reversed(words)))
    for length in (2, 3)
    for words in itertools.product(WORDS, repeat=length)
]
SMALL = ("symbols=words", "embedding=8", "hidden=16", "alignment=8", "maxout=8", "batch_size=16", "epochs=4", "lr=0.03")


def aligned(pairs) -> AlignedText:
    """Such pairs with their alignments."""
    sources, targets = zip(*pairs, strict=True)
    lengths = [len(source.split()) for source in sources]
    links = [Alignment.of((n - 1 - j, j) for j in range(n)) for n in lengths]
    return AlignedText(sources, targets, tuple(links))


def lines(pairs):
    return "".join(f"{source}\t{target}\n" for source, target in pairs)


def write_pairs(folder: Path) -> dict[str, str]:
    """Files of 60 pairs to train on, 10 for dev and 10 to test on in `folder`: their paths by name."""
    parts = {"train": PAIRS[::8] + PAIRS[1::8] + PAIRS[3::4] + PAIRS[2::4], "dev": PAIRS[4::8], "test": PAIRS[5::8]}
    for name, pairs in parts.items():
        (folder / f"{name}.tsv").write_text(lines(pairs), encoding="utf-8")
    return {name: str(folder / f"{name}.tsv") for name in parts}


def train_arguments(folder: Path | str, *settings: str, small: tuple[str, ...] = SMALL) -> list[str]:
    """What to give `minattn` to train such a run in `folder`, on the pairs that `write_pairs` wrote where it works."""
    files = ("--train=train.tsv", "--dev=dev.tsv", "--test=test.tsv")
    return ["train", "translate", "--out", str(folder), *files, *(f"--set={s}" for s in (*small, *settings))]
