"""Pronunciation lexicons: words and how they are spoken, and their division into train, dev and test words.

Words are divided and not lines, so that no pronunciation of a test word is ever trained on.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from minattn.data.splits import Splits, digest_of, place_of
from minattn.data.text.texts import read_text
from minattn.errors import DataError

CANONICAL_DEV_WORDS = 2670
STRESS_DIGITS = "012"  # CMUdict writes no, primary and secondary stress behind a vowel

APOSTROPHES = str.maketrans("\u2019\u02bc\uff07", "'''")  # typographic ones, and the plain one for each

COMMENT = ";;;"  # a line of CMUdict that begins so has no word
ALTERNATE = re.compile(r"(?<=.)\(\d+\)$")  # the second pronunciation of "either" is listed as "either(2)"

Pronunciation = tuple[str, ...]


def folded(word: str) -> str:
    """The word as lexicons have it: in lower-case letters, with plain apostrophes in place of typographic ones."""
    return word.lower().translate(APOSTROPHES)


class Lexicon(Mapping[str, tuple[Pronunciation, ...]]):
    """A mapping from a word to all its accepted pronunciations, in the order in which they were given.

        lexicon = Lexicon([("Either", "IY1 DH ER0".split()), ("either", "AY1 DH ER0".split())])
        lexicon["either"]       # (("IY", "DH", "ER"), ("AY", "DH", "ER"))

    Words become lower-case letters with plain apostrophes, and phonemes lose their stress digits; a pronunciation that
    a word then already has is dropped.  Raises DataError for an empty word, pronunciation or phoneme.
    """

    def __init__(self, entries: Iterable[tuple[str, Sequence[str]]]):
        accepted: dict[str, dict[Pronunciation, None]] = {}  # inner dict: a set that keeps its order
        for word, phonemes in entries:
            if not word or not phonemes or not all(phonemes):
                raise DataError(f"the word {word!r} has the pronunciation {phonemes!r}: neither may be empty")
            # A phoneme that is nothing but digits, as SAMPA has some, bears no stress and stays.
            pronunciation = tuple(phoneme.rstrip(STRESS_DIGITS) or phoneme for phoneme in phonemes)
            accepted.setdefault(folded(word), {})[pronunciation] = None
        self._pronunciations = {word: tuple(pronunciations) for word, pronunciations in accepted.items()}

    def __getitem__(self, word: str) -> tuple[Pronunciation, ...]:
        return self._pronunciations[word]

    def __iter__(self) -> Iterator[str]:
        return iter(self._pronunciations)

    def __len__(self) -> int:
        """The number of words."""
        return len(self._pronunciations)

    def pairs(self) -> list[tuple[str, Pronunciation]]:
        """Every pronunciation as a (word, pronunciation) pair of its own, as they are trained on."""
        return [(word, pronunciation) for word, accepted in self._pronunciations.items() for pronunciation in accepted]

    def only(self, words: Iterable[str]) -> Lexicon:
        """The part of this lexicon whose words are among `words`, in this lexicon's order."""
        wanted = set(words)
        part = Lexicon([])
        part._pronunciations = {word: accepted for word, accepted in self._pronunciations.items() if word in wanted}
        return part

    def fingerprint(self) -> str:
        """SHA-256 of the words and pronunciations in their order."""
        lines = [f"{word}\t{' '.join(pronunciation)}\n" for word, pronunciation in self.pairs()]
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    def __repr__(self) -> str:
        return f"Lexicon of {len(self):,} words with {len(self.pairs()):,} pronunciations"


@dataclass(frozen=True, eq=False)
class LexiconSplits(Splits[Lexicon]):
    """Lexicons to train on, to tune on and to report on.  Raises DataError where two of them share a word."""

    def __post_init__(self) -> None:
        for (one, words), (other, others) in combinations(self.parts().items(), 2):
            if shared := sorted(words.keys() & others.keys()):
                examples = " ".join(shared[:5])
                raise DataError(
                    f"{one} and {other} share words ({len(shared):,} in all), such as {examples}. "
                    "Divide by words and not by lines, or results come out too good."
                )


def split_lexicon(lexicon: Lexicon) -> LexiconSplits:
    """Divide a lexicon into about 85 % train, 5 % dev and 10 % test words, by the `place_of` each word."""
    places = {word: place_of(word) for word in lexicon}
    return LexiconSplits(
        train=lexicon.only(word for word, place in places.items() if place >= 150),
        dev=lexicon.only(word for word, place in places.items() if 100 <= place < 150),
        test=lexicon.only(word for word, place in places.items() if place < 100),
    )


def hold_out(lexicon: Lexicon, n: int = CANONICAL_DEV_WORDS) -> tuple[Lexicon, Lexicon]:
    """Hold out the `n` words with the smallest SHA-256 (of the word in UTF-8): `(kept, held_out)`.

    This makes a development set for a split that has only train and test files, such as the one of the
    CMUdict literature, where papers held out 2,670 training words and did not say which.

    Raises DataError unless 0 < n < number of words.
    """
    if not 0 < n < len(lexicon):
        raise DataError(f"cannot hold out {n:,} of {len(lexicon):,} words and keep some: choose fewer, but at least 1")
    held_out = set(sorted(lexicon, key=digest_of)[:n])
    return lexicon.only(lexicon.keys() - held_out), lexicon.only(held_out)


def read_lexicon(path: str | Path) -> Lexicon:
    """Read a UTF-8 text file with one `WORD<TAB>PH PH PH` a line, or the CMU Pronouncing Dictionary as it is published.

    That has two spaces in place of the tab, WORD(2) for a word's second pronunciation, comments after ";;;" and, in
    older releases, Latin-1.  A word on several lines has several accepted pronunciations; blank lines are skipped.
    Raises DataError with the file, and for a line that cannot be read also its number and text.
    """
    entries = []
    for number, line in enumerate(_content(path).split("\n"), start=1):
        if line.strip() and not line.startswith(COMMENT):
            try:
                entries.append(_parse(line))
            except DataError as error:
                raise DataError(f"{path}, line {number}: {error}. The line reads {line!r}.") from None
    if not entries:
        raise DataError(f"{path} holds no words: write one WORD<TAB>PH PH PH a line")
    return Lexicon(entries)


def _content(path: str | Path) -> str:
    """The text of a file: UTF-8, or Latin-1 where a comment of CMUdict comes first."""
    try:
        return read_text(path)
    except DataError:
        if not Path(path).is_file() or not (raw := Path(path).read_bytes()).startswith(COMMENT.encode()):
            raise
        return raw.decode("latin-1").replace("\r\n", "\n")


def _parse(line: str) -> tuple[str, list[str]]:
    """(word, phonemes) of a line, with a tab between them or, as CMUdict has it, two spaces."""
    if "\t" not in line:
        line = line.partition(" #")[0].replace("  ", "\t", 1)
    word, *rest = line.split("\t")
    if not rest:
        raise DataError("no tab between the word and its pronunciation; write WORD<TAB>PH PH PH")
    if len(rest) > 1:
        raise DataError("more than one tab; write WORD<TAB>PH PH PH, with spaces between the phonemes")
    if not word.strip():
        raise DataError("no word before the tab; write one or delete the line")
    if not rest[0].strip():
        raise DataError("no pronunciation after the tab; write one or delete the line")
    return ALTERNATE.sub("", word.strip()), rest[0].split()
