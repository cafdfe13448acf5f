"""Word alignments: which word of a sentence which word of its translation comes from, marked by hand.

Two kinds of links are told apart since

    Och, F. J. & Ney, H. (2003). A systematic comparison of various statistical alignment models. Computational
    Linguistics 29(1), section 5: sure links are unambiguous, possible ones may be there or not.

A link is (source position, target position), both from 0.  Files have them in one of two forms:

* Pharaoh: a line a sentence, `0-0 1-2 2p3`, where `-` is a sure link and `p` or `?` a possible one
* that of the shared task of 2003 (Mihalcea & Pedersen): a line a link, `SENTENCE SOURCE TARGET [S|P]`

and count from 0 or from 1, which the files do not say.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, Self

from minattn.data.text.parallel import ParallelText, read_lines, read_parallel, shown
from minattn.data.text.texts import NUMBER
from minattn.errors import DataError

Link = tuple[int, int]

PHARAOH = re.compile(f"({NUMBER.pattern})([-p?])({NUMBER.pattern})")


@dataclass(frozen=True, slots=True)
class Alignment:
    """The links of a sentence pair; every sure link is a possible one too."""

    sure: frozenset[Link]
    possible: frozenset[Link]

    def __post_init__(self) -> None:
        object.__setattr__(self, "possible", self.possible | self.sure)

    @classmethod
    def of(cls, sure: Iterable[Link], possible: Iterable[Link] = ()) -> Self:
        """The alignment with these sure links, and with these possible ones besides."""
        return cls(frozenset(sure), frozenset(possible))


@dataclass(frozen=True, repr=False)
class AlignedText(ParallelText):
    """Parallel text with the alignment of each pair, between whitespace-separated words or between characters.

    Raises DataError unless each pair has an alignment, within its sentences.
    """

    alignments: tuple[Alignment, ...]
    unit: Literal["word", "character"] = "word"

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.alignments) != len(self):
            raise DataError(
                f"there are {len(self):,} sentence pairs and {len(self.alignments):,} alignments; hint: one for each"
            )
        for number, (pair, alignment) in enumerate(zip(self, self.alignments, strict=True), start=1):
            source, target = (len(s.split()) if self.unit == "word" else len(s) for s in pair)
            for i, j in alignment.possible:
                if not (0 <= i < source and 0 <= j < target):
                    raise DataError(
                        f"the alignment of pair {number:,} links {self.unit}s {i} and {j}, from 0, of sentences with "
                        f"{source} and {target} {self.unit}s; hint: check whether its file counts from 0 or from 1"
                    )

    @classmethod
    def of_text(cls, text: ParallelText, alignments: Iterable[Alignment]) -> Self:
        """The text with these alignments between its words."""
        return cls(text.sources, text.targets, tuple(alignments))

    def only(self, indices: Iterable[int]) -> Self:
        indices = list(indices)
        text = ParallelText(self.sources, self.targets).only(indices)
        return type(self)(text.sources, text.targets, tuple(self.alignments[i] for i in indices), self.unit)


# ---------------------------------------------------------------------------------------------- files
def read_pharaoh(path: str | Path, first: int = 0) -> list[Alignment]:
    """The alignments of a file that has a line `0-0 1-2 2p3` for each sentence pair; empty lines have no links.

    first: the number of a sentence's first word.  Raises DataError with the line that cannot be read.
    """
    return [_parse_pharaoh(line, first, f"{path}, line {n:,}") for n, line in enumerate(read_lines(path), start=1)]


def _parse_pharaoh(line: str, first: int, where: str) -> Alignment:
    links: dict[bool, list[Link]] = {True: [], False: []}
    for text in line.split():
        if not (found := PHARAOH.fullmatch(text)):
            raise DataError(f"{where}, has {shown(text)}, expected links; hint: 3-4, or 3p4 if possible")
        links[found[2] == "-"].append(_link(found[1], found[3], first, where))
    return Alignment.of(links[True], links[False])


def read_numbered_links(path: str | Path, sentences: int, first: int = 1) -> list[Alignment]:
    """The alignments of a file that has a line `SENTENCE SOURCE TARGET [S|P]` for each link.

    Sentences count from 1.  sentences: how many there are; those without a line have no links.  first: the number of a
    sentence's first word.  Raises DataError with the line that cannot be read.
    """
    sure: list[list[Link]] = [[] for _ in range(sentences)]
    possible: list[list[Link]] = [[] for _ in range(sentences)]
    for number, line in enumerate(read_lines(path), start=1):
        where = f"{path}, line {number:,}"
        columns = line.split()
        if len(columns) not in (3, 4, 5) or not all(map(NUMBER.fullmatch, columns[:3])):
            raise DataError(f"{where}, reads {shown(line)}, expected a link; hint: SENTENCE SOURCE TARGET [S|P]")
        sentence = int(columns[0])
        if not 1 <= sentence <= sentences:
            raise DataError(f"{where}, is about sentence {sentence:,} of {sentences:,}; hint: count from 1")
        kind = columns[3] if len(columns) > 3 else "S"
        if kind not in ("S", "P"):
            raise DataError(f"{where}, has {shown(kind)}, expected S or P; hint: S if sure, P if possible")
        (sure if kind == "S" else possible)[sentence - 1].append(_link(columns[1], columns[2], first, where))
    return [Alignment.of(*links) for links in zip(sure, possible, strict=True)]


def _link(source: str, target: str, first: int, where: str) -> Link:
    if min(int(source), int(target)) < first:
        raise DataError(
            f"{where}, has word {min(int(source), int(target))}, where the first is {first}; hint: check whether the "
            "file counts from 0 or from 1"
        )
    return int(source) - first, int(target) - first


class AlignmentData(NamedTuple):
    """Sentences aligned by hand, and the pairs to train on, where they come with some."""

    gold: AlignedText
    train: ParallelText | None


def read_alignment_folder(folder: str | Path) -> AlignmentData:
    """The sentences aligned by hand in a folder, in one of two layouts.

    * `src-tgt` with lines `SOURCE ||| TARGET`, and `gold` in Pharaoh's form, from 1
    * `NAME.key` of numbered links, from 1, and the two sides `NAME.A` and `NAME.B`, source first by alphabet; the pairs
      to train on, if any, are in `train*.A` and `train*.B`

    Raises DataError where it is neither, and for files that cannot be used.
    """
    folder = Path(folder)
    if os.path.isfile(folder / "src-tgt") and os.path.isfile(folder / "gold"):
        text = read_parallel(folder / "src-tgt", separator="|||")
        return AlignmentData(AlignedText.of_text(text, read_pharaoh(folder / "gold", first=1)), None)
    keys = sorted(folder.glob("*.key"))
    if len(keys) == 1:
        sides = sorted(path for path in folder.glob(f"{keys[0].stem}.*") if path != keys[0])
        if len(sides) == 2:
            text = read_parallel(*sides)
            gold = AlignedText.of_text(text, read_numbered_links(keys[0], len(text)))
            train = [path for side in sides for path in sorted(folder.glob(f"train*{side.suffix}"))]
            return AlignmentData(gold, read_parallel(*train) if len(train) == 2 else None)
    raise DataError(
        f"{folder} has no sentences aligned by hand; hint: src-tgt and gold, or a NAME.key with its NAME.A and NAME.B"
    )
