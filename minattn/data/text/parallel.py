"""Parallel text: sentences and their translations, read from files and divided.

A file has `SOURCE<TAB>TARGET` a line a pair; or two files have the sentences line by line, the source's in one and the
target's in the other.  Files may be packed by gzip.  They are checked line by line while they are read, so a file that
cannot be used is refused at its first bad line, and one that is too large before it fills the memory.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import stat
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, NamedTuple, Self

from minattn.data.splits import PARTS, Splits, digest_of, part_of
from minattn.errors import DataError

MOST_BYTES = 2**29
"""Of a file of parallel text, unpacked; its pairs are held in memory."""

MOST_LINE_BYTES = 2**20

SHOWN_CHARACTERS = 60  # of a line that an error complains of


class SentencePair(NamedTuple):
    """A sentence and its translation."""

    source: str
    target: str


@dataclass(frozen=True)
class ParallelText:
    """Sentences and their translations, in order: `text[3].source`, `for source, target in text`.

    Raises DataError where the two sides differ in number, there are none, or a sentence is blank or more than a line.
    """

    sources: tuple[str, ...]
    targets: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self.sources) != len(self.targets):
            raise DataError(
                f"there are {len(self.sources):,} source and {len(self.targets):,} target sentences; "
                "hint: one translation for each sentence"
            )
        if not self.sources:
            raise DataError("there are no sentence pairs; hint: give at least one")
        for number, pair in enumerate(self, start=1):
            for side, sentence in zip(SentencePair._fields, pair, strict=True):
                if not sentence.strip() or "\n" in sentence:
                    raise DataError(
                        f"the {side} of pair {number:,} is {shown(sentence)}, expected one line that is not blank; "
                        "hint: leave the pair out"
                    )

    @classmethod
    def of(cls, pairs: Iterable[tuple[str, str]]) -> ParallelText:
        """The text of these (source, target) pairs."""
        pairs = list(pairs)
        return ParallelText(tuple(source for source, _ in pairs), tuple(target for _, target in pairs))

    def __len__(self) -> int:
        return len(self.sources)

    def __getitem__(self, index: int) -> SentencePair:
        return SentencePair(self.sources[index], self.targets[index])

    def __iter__(self) -> Iterator[SentencePair]:
        return map(SentencePair, self.sources, self.targets)

    def only(self, indices: Iterable[int]) -> Self:
        """The pairs with these numbers, in this order."""
        pairs = [self[i] for i in indices]
        return replace(self, sources=tuple(p.source for p in pairs), targets=tuple(p.target for p in pairs))

    def fingerprint(self) -> str:
        """SHA-256 of the sentences in their order: by it a resumed run knows that they are the same."""
        digest = hashlib.sha256()
        for source, target in self:
            digest.update(f"{source}\n{target}\n".encode())
        return digest.hexdigest()

    def __repr__(self) -> str:
        return f"{type(self).__name__} of {len(self):,} pairs"


def split_parallel(text: ParallelText, keys: Sequence[str] | None = None) -> Splits[ParallelText]:
    """Divide pairs into about 85 % train, 5 % dev and 10 % test, by the hash of a key, as `split_lexicon` does words.

    keys: one for each pair, such as the name of a verse; None: the source, so that all translations of a sentence stay
    together.  Raises DataError where a part would be empty.
    """
    keys = text.sources if keys is None else keys
    parts: dict[str, list[int]] = {name: [] for name in PARTS}
    for index, key in enumerate(keys):
        parts[part_of(key)].append(index)
    if empty := [name for name, indices in parts.items() if not indices]:
        raise DataError(
            f"{len(text):,} pairs are too few to be divided: none would be left for {' and '.join(empty)}; "
            "hint: files of their own for train, dev and test, or more pairs"
        )
    return Splits(**{name: text.only(indices) for name, indices in parts.items()})


def hold_out_pairs(text: ParallelText, n: int) -> tuple[ParallelText, ParallelText]:
    """Hold out the pairs of the sources with the smallest SHA-256, `n` or a few more: `(kept, held_out)`.

    All translations of a sentence stay together.  Raises DataError where nothing would be held out or kept.
    """
    order = sorted(range(len(text)), key=lambda index: digest_of(text.sources[index]))
    end = n
    while 0 < end < len(order) and text.sources[order[end]] == text.sources[order[end - 1]]:
        end += 1
    if not 0 < end < len(order):
        raise DataError(f"cannot hold out {n:,} of {len(text):,} pairs and keep some; hint: fewer, but at least 1")
    return text.only(sorted(order[end:])), text.only(sorted(order[:end]))


# ---------------------------------------------------------------------------------------------- files
def parallel_files(files: str) -> tuple[Path, ...]:
    """The files that an option names: `"pairs.tsv"`, or `"text.en,text.es"` for one a side.

    A file whose name has a comma is itself where there is such a file.  Raises DataError for more than two names, and
    for an empty one.
    """
    names = [files] if os.path.exists(files) else files.split(",")
    if len(names) > 2 or not all(name.strip() for name in names):
        raise DataError(
            f"{files!r} names no parallel text; hint: one file of SOURCE<TAB>TARGET lines, or two with a comma "
            "between them, such as text.en,text.es"
        )
    return tuple(map(Path, names))


def read_parallel(source: str | Path, target: str | Path | None = None, separator: str = "\t") -> ParallelText:
    """Read a UTF-8 file of pairs, or one file a side.

    separator: between the two sentences of a line, where there is one file.

    Raises DataError with the file, and for a line that cannot be read also its number.
    """
    one = Path(source)
    pairs = list(_pairs_of_lines(one, separator) if target is None else _pairs_of_files(one, Path(target)))
    if not pairs:
        raise DataError(f"{source} holds no pairs; hint: SOURCE<TAB>TARGET a line a pair, or one file a side")
    return ParallelText.of(pairs)


def _pairs_of_lines(path: Path, separator: str) -> Iterator[tuple[str, str]]:
    name = "tab" if separator == "\t" else repr(separator)
    for number, line in enumerate(read_lines(path), start=1):
        sides = [side.strip() for side in line.split(separator)]
        if not line.strip():
            raise DataError(f"{path}, line {number:,}, is empty; hint: leave it out, so that each line is a pair")
        if len(sides) != 2:
            found = "no" if len(sides) == 1 else f"{len(sides) - 1:,}"
            raise DataError(
                f"{path}, line {number:,}, has {found} {name}s, expected one, between a sentence and its translation, "
                f"and reads {shown(line)}; hint: SOURCE<TAB>TARGET a line a pair, or one file a side"
            )
        if not all(sides):
            side = "source" if not sides[0] else "target"
            raise DataError(
                f"{path}, line {number:,}, has no {side}, and reads {shown(line)}; hint: leave the line out"
            )
        yield sides[0], sides[1]


def _pairs_of_files(source: Path, target: Path) -> Iterator[tuple[str, str]]:
    sources, targets = read_lines(source), read_lines(target)
    number = 0
    for number, line in enumerate(sources, start=1):
        other = next(targets, None)
        if other is None:
            raise _unequal(source, number + sum(1 for _ in sources), target, number - 1)
        for path, sentence in ((source, line), (target, other)):
            if not sentence.strip():
                raise DataError(
                    f"{path}, line {number:,}, is empty; hint: leave it out of both {source.name} and {target.name}"
                )
        yield line.strip(), other.strip()
    if rest := sum(1 for _ in targets):
        raise _unequal(source, number, target, number + rest)


def _unequal(source: Path, sources: int, target: Path, targets: int) -> DataError:
    return DataError(
        f"{source} has {sources:,} lines and {target} has {targets:,}; hint: line n of the one must be the "
        "translation of line n of the other"
    )


def read_lines(path: str | Path) -> Iterator[str]:
    """The lines of a UTF-8 text file, one after the other, without their ends; the file may be packed by gzip.

    Raises DataError where it is missing, no file, too large or no UTF-8 text; for the latter with the line's number.
    """
    path = Path(path)
    with _opened(path) as file:
        total = 0
        for number, raw in enumerate(iter(lambda: file.readline(MOST_LINE_BYTES + 1), b""), start=1):
            total += len(raw)
            if total > MOST_BYTES:
                raise _too_large(path, f"more than {MOST_BYTES:,} bytes")
            yield _decoded(raw, path, number)


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    """The open file, unpacked where it is packed; errors while it is read become DataErrors too."""
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise DataError(f"{path} is a folder; hint: name a file inside it")
        if not stat.S_ISREG(status.st_mode):
            raise DataError(f"{path} is a pipe or a device and no file; hint: write its text to a file first")
        if status.st_size > MOST_BYTES:
            raise _too_large(path, f"{status.st_size:,} bytes")
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            with gzip.open(file) if packed else file as unpacked:
                yield unpacked
    except FileNotFoundError:
        raise DataError(f"there is no file {path}; hint: check the path") from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path} is damaged or cut off: {error}; hint: fetch it anew") from error
    except (OSError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        what = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
        raise DataError(f"{path} cannot be read: {what}; hint: a file that can be read") from error


def _too_large(path: Path, size: str) -> DataError:
    return DataError(
        f"{path} has {size}, and parallel text is held in memory, at most {MOST_BYTES:,} bytes of it; "
        f"hint: a part of it, such as head -n 1000000 {path.name} > part"
    )


def _decoded(raw: bytes, path: Path, number: int) -> str:
    if len(raw) > MOST_LINE_BYTES:
        raise DataError(f"{path}, line {number:,}, has more than {MOST_LINE_BYTES:,} bytes; hint: one sentence a line")
    try:
        line = raw.decode("utf-8-sig" if number == 1 else "utf-8")  # some editors put a byte-order mark first
    except UnicodeDecodeError:
        encoding = "UTF-16" if number == 1 and raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "ISO-8859-1"
        raise DataError(
            f"{path}, line {number:,}, is no UTF-8 text: {shown(raw)}; hint: iconv -f {encoding} -t UTF-8 "
            f"{path.name} > new, if that is its encoding"
        ) from None
    if "\0" in line:
        raise DataError(
            f"{path}, line {number:,}, has a zero byte: {shown(line)}; hint: a text file; if its encoding is UTF-16, "
            f"iconv -f UTF-16 -t UTF-8 {path.name} > new"
        )
    return line.rstrip("\r\n")


def shown(text: str | bytes) -> str:
    """The text as an error shows it: in quotes, and its beginning if it is long."""
    return repr(text) if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]!r}.."
