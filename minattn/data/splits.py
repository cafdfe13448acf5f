"""Dividing a lexicon by its words, the same way everywhere: the hash of a word decides, not its neighbors.

Words are divided and not lines, so that no pronunciation of a test word is ever trained on.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from minattn.data.text.lexicon import Lexicon
from minattn.errors import DataError

CANONICAL_DEV_WORDS = 2670


@dataclass(frozen=True, slots=True)
class Splits:
    """Lexicons to train on, to tune on and to report on.  Raises DataError where two of them share a word."""

    train: Lexicon
    dev: Lexicon
    test: Lexicon

    def __post_init__(self) -> None:
        for one, other in (("train", "dev"), ("train", "test"), ("dev", "test")):
            shared = sorted(getattr(self, one).keys() & getattr(self, other).keys())
            if shared:
                examples = " ".join(shared[:5])
                raise DataError(
                    f"{one} and {other} share words ({len(shared):,} in all), such as {examples}. "
                    "Divide by words and not by lines, or results come out too good."
                )


def split_lexicon(lexicon: Lexicon) -> Splits:
    """Divide a lexicon into about 85 % train, 5 % dev and 10 % test words.

    The first eight bytes of the SHA-256 of the word (UTF-8), read as a big-endian number and taken modulo
    1000, decide: below 100 is test, 100 to 149 dev, the rest train.
    """
    places = {word: place_of(word) for word in lexicon}
    return Splits(
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
    held_out = set(sorted(lexicon, key=_digest)[:n])
    return lexicon.only(lexicon.keys() - held_out), lexicon.only(held_out)


def _digest(word: str) -> bytes:
    return hashlib.sha256(word.encode()).digest()


def place_of(word: str) -> int:
    """The word's number from 0 to 999, by its hash: below 100 is test, 100 to 149 dev, the rest train."""
    return int.from_bytes(_digest(word)[:8], "big") % 1000
