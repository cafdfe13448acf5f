"""A data set in three parts: to train on, to choose the best model by, and to report on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

PARTS = ("train", "dev", "test")

SHARES = {"train": 0.85, "dev": 0.05, "test": 0.1}
"""Of the names that `part_of` divides."""

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Splits(Generic[T]):
    """The parts of a data set; each is a text, or has a `fingerprint()` as `Lexicon` and `Images` have."""

    train: T
    dev: T
    test: T

    def __iter__(self) -> Iterator[T]:
        """train, dev, test."""
        return iter(self.parts().values())

    def parts(self) -> dict[str, T]:
        """The parts by name."""
        return {name: getattr(self, name) for name in PARTS}

    def fingerprints(self) -> dict[str, str]:
        """The fingerprint of each part: by it a resumed run knows that its data are the same."""
        return {name: fingerprint(part) for name, part in self.parts().items()}


def fingerprint(part: Any) -> str:
    """SHA-256 of a part of a data set."""
    return hashlib.sha256(part.encode()).hexdigest() if isinstance(part, str) else part.fingerprint()


def place_of(name: str) -> int:
    """The number from 0 to 999 that the hash of a name gives: below 100 is test, 100 to 149 dev, the rest train.

    It is the first eight bytes of the SHA-256 of the name (UTF-8), read as a big-endian number, modulo 1000.
    """
    return int.from_bytes(digest_of(name)[:8], "big") % 1000


def part_of(name: str) -> str:
    """The part that the `place_of` a name puts it into: "train", "dev" or "test"."""
    place = place_of(name)
    return "test" if place < 100 else "dev" if place < 150 else "train"


def digest_of(name: str) -> bytes:
    """SHA-256 of a name in UTF-8."""
    return hashlib.sha256(name.encode()).digest()
