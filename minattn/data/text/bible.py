"""The Bible in English and Spanish, verse by verse: the King James Version and the Reina-Valera of 1909.

Both are in the public domain.  Debian has them as the packages sword-text-kjv and sword-text-sparv, for the programs of
the SWORD project, and their files are read where they lie.  The language is that of 1769 and of 1909.

The modules number verses as the King James Version does, but in ten chapters or so the Spanish text is still divided
as in its own editions, and verses beside each other are not of the same words.  Both modules give words their Strong's
numbers, those of the Hebrew or Greek word that they translate, so such verses are known by numbers that differ, and are
left out: 194 of 31,084 in versions 14.3 and 2.60.

The files are in the format zText of https://wiki.crosswire.org/File_Formats.  Each testament has three:

    .bzv    10 bytes a slot: its block, where in it the slot's text begins (4 bytes each), and the text's length (2)
    .bzs    12 bytes a block: where it begins in the third file, its length there, and its length unpacked (4 each)
    .bzz    the blocks, packed by zlib

all numbers with the lowest byte first.  Slots are two of the testament, and then for each book one of its own, and for
each chapter one of its own and one a verse, so that the same slot is the same verse in every translation of the same
versification.  The slot of a chapter tells its name, such as Gen.1, and verse 3 is Gen.1.3.
"""

from __future__ import annotations

import html
import os
import re
import struct
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from minattn.data.splits import Splits
from minattn.data.text.parallel import ParallelText, split_parallel
from minattn.errors import DataError

VARIABLE = "MINATTN_SWORD"
DEBIAN = Path("/usr/share/sword/modules/texts/ztext")
PACKAGES = {"engKJV2006eb": "sword-text-kjv", "spaRV1909eb": "sword-text-sparv"}
"""The folders of the two translations, English first, and the Debian packages that have them."""

TESTAMENTS = ("ot", "nt")

BOOK = re.compile(r'<div\b(?=[^>]*\btype="book")[^>]*\bsID=')
CHAPTER = re.compile(r'<chapter\b[^>]*\bosisID="([^"]+)"')

ASIDE = re.compile(r'<(note|title)\b(?![^>]*canonical="true")[^>]*(?<!/)>.*?</\1>|<RF>.*?<Rf>', re.DOTALL)
"""Notes and headings; the headings of psalms are part of the text."""

ADDED = re.compile(r"</?transChange\b[^>]*>")
"""Around words that the original has not; the Spanish module often forgets the space there, save before a pronoun."""

FORGOTTEN_SPACE = re.compile(r"(?<=\w)\0+(?=\w)(?!(?:me|te|se|le|lo|la|nos|os|les|los|las)\b)")

INLINE = re.compile(r"</?(?:w|q|divineName|seg|foreign|hi|i|b|font|sync|[WF][A-Za-z]?[0-9]*)\b[^>]*>")
OTHER_TAG = re.compile(r"<[^<>]*>")
LEFT_OVER = re.compile(r"\\\+?[a-z]+[0-9]?\*?")  # marks of USFM that a conversion has forgotten, such as \nd
PILCROW = "¶"

STRONG = re.compile(r"[HG][0-9]{3,5}")
SAME = 0.4
"""Verses with a smaller share of Strong's numbers in common are not translations of each other; the mean is 0.85."""


class Verse(NamedTuple):
    """The words of a verse, and the Strong's numbers of those that have one."""

    text: str
    strong: Counter[str]

    def translates(self, other: Verse) -> bool:
        """True if both have words, and the same numbers as far as they have any."""
        if not (self.text and other.text):
            return False
        total = self.strong.total() + other.strong.total()
        known = self.strong and other.strong
        return not known or 2 * (self.strong & other.strong).total() >= SAME * total


def load_bible(folder: str | Path | None = None) -> Splits[ParallelText]:
    """English and Spanish verses, divided by the hash of a verse's name: 85 % train, 5 % dev and 10 % test.

    folder: where the folders engKJV2006eb and spaRV1909eb lie; None: where the environment variable MINATTN_SWORD says,
    or else where Debian's packages put them.
    Raises DataError where one of them is missing or damaged, naming its package.
    """
    names, text = read_bible(folder)
    return split_parallel(text, names)


def read_bible(folder: str | Path | None = None) -> tuple[list[str], ParallelText]:
    """The names of all verses that both translations have, such as Gen.1.1, and the verses.

    folder and errors as of `load_bible`.
    """
    folder = Path(folder or os.environ.get(VARIABLE) or DEBIAN)
    english, spanish = (_read_verses(folder, name) for name in PACKAGES)
    both = [name for name in english if name in spanish and english[name].translates(spanish[name])]
    if not both:
        raise DataError(f"the Bibles in {folder} have no verse in common; hint: {_install()}")
    return both, ParallelText.of((english[name].text, spanish[name].text) for name in both)


def plain_verse(markup: str) -> str:
    """The words of a verse, without the markup of OSIS, ThML or GBF, without notes and headings."""
    text = INLINE.sub("", ADDED.sub("\0", ASIDE.sub("", markup)))
    text = OTHER_TAG.sub(" ", FORGOTTEN_SPACE.sub(" ", text).replace("\0", ""))  # what divides lines divides words too
    text = LEFT_OVER.sub("", html.unescape(text)).replace(PILCROW, " ")
    return " ".join(text.split())


def _read_verses(folder: Path, module: str) -> dict[str, Verse]:
    """The verses of a translation by their names, in order."""
    verses = {}
    for testament in TESTAMENTS:
        chapter, number = "", 0
        for markup in read_ztext(folder / module / testament):
            if found := CHAPTER.search(markup):
                chapter, number = found[1], 0
            elif BOOK.search(markup):
                chapter = ""
            elif chapter:
                number += 1
                body = ASIDE.sub("", markup)
                verses[f"{chapter}.{number}"] = Verse(plain_verse(body), Counter(STRONG.findall(body)))
    return verses


def read_ztext(testament: Path) -> list[str]:
    """The text of every slot, with its markup.  testament: the files' path without .bzv, .bzs and .bzz.

    Raises DataError where a file is missing or damaged.
    """
    slots, index, packed = (_content(testament.with_suffix(suffix)) for suffix in (".bzv", ".bzs", ".bzz"))
    try:
        blocks = [zlib.decompress(packed[first : first + size]) for first, size, _ in struct.iter_unpack("<III", index)]
        return list(_texts(slots, blocks))
    except (struct.error, zlib.error, IndexError, UnicodeDecodeError) as error:
        raise DataError(
            f"{testament}.bz? are damaged or cut off: {error}; hint: {_install(testament.parent.name)}"
        ) from error


def _texts(slots: bytes, blocks: list[bytes]) -> Iterator[str]:
    for block, first, size in struct.iter_unpack("<IIH", slots):
        text = blocks[block][first : first + size] if size else b""
        if len(text) != size:
            raise IndexError(f"a text of {size} bytes at {first} is not within its block")
        yield text.decode()


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}; hint: {_install(path.parent.name)}") from error


def _install(module: str | None = None) -> str:
    packages = PACKAGES[module] if module in PACKAGES else " ".join(PACKAGES.values())
    return f"apt install {packages}, or the modules' own folder in {VARIABLE}"
