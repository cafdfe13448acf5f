"""Running text: files of it, its parts, and its characters as numbers."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from minattn.data.splits import Splits
from minattn.errors import DataError

NUMBER = re.compile("[0-9]{1,9}")
"""A number that counts lines or words in a file."""

SHOWN_CHARACTERS = 20  # an error names at most so many of the characters that it complains of


def read_text(path: str | Path) -> str:
    """The text of a UTF-8 file; its lines end in "\\n" whatever they ended in.

    Raises DataError, with the number of the line where one is to blame, for a file that cannot be read as such.
    """
    path = Path(path)
    if path.is_dir():
        raise DataError(f"{path} is a directory; hint: name a file inside it")
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"there is no file {path}; hint: check the path") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}; hint: a file that can be read") from error
    try:
        text = raw.decode("utf-8-sig")  # some editors put a byte-order mark before the first word
    except UnicodeDecodeError as error:
        before = error.object[: error.start]
        line = error.object[before.rfind(b"\n") + 1 :].split(b"\n")[0]
        raise DataError(
            f"{path}, line {before.count(10) + 1}: the line is not UTF-8 text. "
            f"It reads {line!r}; hint: save the file as UTF-8"
        ) from None
    return text.replace("\r\n", "\n")


def split_text(text: str) -> Splits[str]:
    """The first 90 % of the characters to train on, then 5 % each for dev and test.

    Neighbours and not lines drawn at random, so that what is reported on is text the model has seen nothing of.
    """
    rest, test = cut_tail(text)
    train, dev = cut_tail(rest, of=len(text))
    return Splits(train, dev, test)


def cut_tail(text: str, of: int | None = None) -> tuple[str, str]:
    """(what comes before, the last 5 %): 5 % of the text's own length, or of the length `of`."""
    where = len(text) - (of or len(text)) // 20
    return text[:where], text[where:]


class Alphabet:
    """A numbering of characters, by their code points; there are no others, no padding and no marks.

        letters = Alphabet("banana")
        letters.encode("nab")       # array([2, 0, 1])
        letters.decode([2, 0, 1])   # "nab"

    A language model's `Vocabulary`: it predicts characters and nothing else.
    """

    def __init__(self, characters: Iterable[str]) -> None:
        self._codes = np.array(sorted({ord(character) for character in characters}), dtype=np.int64)

    def encode(self, text: str) -> Int64[np.ndarray, " time"]:
        """The numbers of the text's characters.  Raises DataError naming those that have none."""
        codes = np.array(list(map(ord, text)), dtype=np.int64)
        numbers = np.searchsorted(self._codes, codes)
        if missing := sorted(set(text) - set(self.characters)):
            named = " ".join(map(repr, missing[:SHOWN_CHARACTERS])) + (" ..." if missing[SHOWN_CHARACTERS:] else "")
            raise DataError(f"the model does not know {named}; hint: write it without, in characters of its text")
        return numbers.astype(np.int64)

    def decode(self, numbers: Iterable[int]) -> str:
        """The text that these numbers spell."""
        return "".join(self.characters[number] for number in numbers)

    @property
    def characters(self) -> str:
        """All characters, in the order of their numbers."""
        return "".join(map(chr, self._codes))

    def __len__(self) -> int:
        return len(self._codes)

    def __contains__(self, character: object) -> bool:
        return isinstance(character, str) and character in self.characters
