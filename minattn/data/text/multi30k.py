"""Multi30k: descriptions of 31,014 photographs in English, translated into German and French.

    Elliott, D., Frank, S., Sima'an, K. & Specia, L. (2016). Multi30K: multilingual English-German image descriptions.
    Workshop on Vision and Language, ACL 2016.

The folders `data/task1/raw` and `data/task1/tok` of https://github.com/multi30k/dataset have a file for each part and
language, a sentence a line; line n of every language is of the same photograph.  Published numbers are mostly of the
latter, which its authors have put into lower case and divided into words, so BLEU takes what whitespace divides.
"""

from __future__ import annotations

import os
from pathlib import Path

from minattn.data.splits import Splits
from minattn.data.text.parallel import ParallelText, read_parallel
from minattn.errors import DataError

PARTS = ("train", "val", "test_2016_flickr")

TOKENIZED = ".lc.norm.tok"

SOURCE = "https://github.com/multi30k/dataset"


def load_multi30k(
    folder: str | Path, source: str = "en", target: str = "de", tokenized: bool = True
) -> Splits[ParallelText]:
    """29,000 pairs to train on, 1,014 for dev, and the 1,000 of 2016 to test on.

    folder: where the files of all parts lie, packed or not.  source, target: the languages, en, de or fr.
    tokenized: the authors' lower-case words, else sentences as they were written.

    Raises DataError where a file is missing or cannot be read.
    """
    infix = TOKENIZED if tokenized else ""
    texts = [
        read_parallel(*(_file(Path(folder), f"{part}{infix}.{side}") for side in (source, target))) for part in PARTS
    ]
    return Splits(*texts)


def _file(folder: Path, name: str) -> Path:
    for path in (folder / f"{name}.gz", folder / name):
        if os.path.isfile(path):
            return path
    raise DataError(f"Multi30k's {name} is not in {folder}, packed or not; hint: the files of data/task1 of {SOURCE}")


def has_multi30k(folder: str | Path) -> bool:
    """True for a folder with the training text of any language."""
    return any(Path(folder).glob(f"{PARTS[0]}{TOKENIZED}.*"))
