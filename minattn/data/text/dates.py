"""Dates as people write them, translated into ISO 8601, with the alignment of every character known.

    fr vendredi 3 mars 2017         2017-03-03
    en_US Fri, 3/3/2017             2017-03-03
    ja 2017年3月3日(金)              2017-03-03

A source names its locale and then the date in one of the locale's own formats, as the Common Locale Data Repository
(CLDR) has them.  It comes through the PyPI package `babel`, whose version decides how the dates are written, so results
are those of a version: `babel_version()`.

A format is a pattern of fields, such as "EEEE d MMMM y": https://www.unicode.org/reports/tr35/tr35-dates.html, Date
Format Patterns.  Dates are written field by field, so for each character it is known from which field it comes, and a
digit of the ISO form can be aligned with what it was read from:

* one that is copied has a sure link to the digit it is a copy of
* one that is worked out has possible links: those of a month to all letters of its name, the 0 that fills up a day or a
  month of one digit to that digit
* the hyphens, of which no field tells, have none

Formats without a year of four digits are left out.  A date, in all its locales and formats, is either trained on or
tested on, as the hash of its ISO form decides, so no model has seen the answer to a test question.
"""

from __future__ import annotations

import re
import unicodedata
from datetime import date, timedelta
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from minattn.data.splits import PARTS, Splits, part_of
from minattn.data.text.alignments import AlignedText, Alignment, Link
from minattn.data.text.parallel import ParallelText
from minattn.errors import ConfigError, MissingDependencyError

LOCALES = ("en_US", "en_GB", "de", "fr", "es", "it", "nl", "pl", "ru", "el", "tr", "ja")

FORMATS = ("full", "long", "medium", "short")
SKELETONS = ("yMd", "yMEd", "yMMMd", "yMMMEd", "yMMMMd", "yMMMMEd")
"""The names under which CLDR lists the patterns of a locale; several may have the same one."""

FIRST, LAST = date(1900, 1, 1), date(2099, 12, 31)

PAIRS = (30_000, 1_000, 2_000)  # to train on, for dev and to test on

QUOTE_OR_FIELD = re.compile(r"''|'(?P<quoted>(?:[^']|'')+)'|(?P<field>(?P<letter>[A-Za-z])(?P=letter)*)|[^'A-Za-z]+")

TARGET_POSITIONS = {"year": (0, 1, 2, 3), "month": (5, 6), "day": (8, 9)}  # in 2017-03-03


class Part(NamedTuple):
    """A piece of a pattern: a field of CLDR, such as "MMMM", or text that stands for itself."""

    text: str
    is_field: bool


class AlignedDate(NamedTuple):
    """A date in words, its ISO form, and which characters of the latter come from which of the former."""

    source: str
    target: str
    alignment: Alignment


def load_dates(seed: int = 1, pairs: tuple[int, int, int] = PAIRS) -> Splits[ParallelText]:
    """Dates drawn at random: the locale, the format and the date with equal chances each.

    pairs: how many to train on, for dev and to test on.  dev and test are `AlignedText`s.  No pair comes twice.

    Raises MissingDependencyError where babel is not installed, ConfigError for numbers of pairs that cannot be.
    """
    if min(pairs) < 1 or seed < 0:
        raise ConfigError(f"the seed must be at least 0 and each number of pairs at least 1, got {seed} and {pairs}")
    formats = [(locale, pattern) for locale in LOCALES for pattern in date_patterns(locale)]
    days = _days()
    parts = []
    for number, (part, count) in enumerate(zip(PARTS, pairs, strict=True)):
        if count > len(days[part]):
            raise ConfigError(f"there are {len(days[part]):,} dates for {part}, got {count:,} pairs; hint: fewer pairs")
        parts.append(_draw(count, formats, days[part], np.random.default_rng([seed, number])))
    train, dev, test = parts
    return Splits(ParallelText(train.sources, train.targets), dev, test)


def babel_version() -> str:
    """The version of babel, on which the texts depend."""
    return _babel().__version__


def _draw(count: int, formats: list[tuple[str, str]], days: list[date], rng: np.random.Generator) -> AlignedText:
    """So many different dates, written in formats of (locale, pattern)."""
    written: dict[str, AlignedDate] = {}
    while len(written) < count:
        size = (2, count - len(written))
        for i, j in zip(*rng.integers([[len(formats)], [len(days)]], size=size).tolist(), strict=True):
            locale, pattern = formats[i]
            drawn = write_date(days[j], pattern, locale)
            written.setdefault(drawn.source, drawn)
    sources, targets, alignments = zip(*written.values(), strict=True)
    return AlignedText(sources, targets, alignments, unit="character")


@cache
def _days() -> dict[str, list[date]]:
    """The dates of the parts train, dev and test."""
    days: dict[str, list[date]] = {part: [] for part in PARTS}
    for number in range((LAST - FIRST).days + 1):
        day = FIRST + timedelta(days=number)
        days[part_of(day.isoformat())].append(day)
    return days


# ---------------------------------------------------------------------------------------------- patterns
def parse_pattern(pattern: str) -> list[Part]:
    """The pieces of a CLDR pattern: runs of one letter are fields, and what is in quotes stands for itself.

    parse_pattern("d 'de' MMM y")     # d, " ", "de", " ", MMM, " ", y
    """
    parts = []
    for match in QUOTE_OR_FIELD.finditer(pattern):
        if match["field"]:
            parts.append(Part(match["field"], True))
        else:
            parts.append(Part("'" if match[0] == "''" else (match["quoted"] or match[0]).replace("''", "'"), False))
    return parts


@cache
def date_patterns(locale: str) -> tuple[str, ...]:
    """The locale's patterns with a day, a month and a year of four digits, each once, in the order of CLDR's names.

    Raises ConfigError for a locale that babel does not know, MissingDependencyError where it is not installed.
    """
    babel = _babel()
    try:
        found = babel.Locale.parse(locale)
    except (ValueError, babel.UnknownLocaleError) as error:
        raise ConfigError(f"babel knows no locale {locale!r}; hint: one such as {', '.join(LOCALES)}") from error
    patterns = [found.date_formats[name].pattern for name in FORMATS]
    patterns += [found.datetime_skeletons[name].pattern for name in SKELETONS if name in found.datetime_skeletons]
    return tuple(dict.fromkeys(pattern for pattern in patterns if _is_whole(pattern)))


def _is_whole(pattern: str) -> bool:
    fields = [part.text for part in parse_pattern(pattern) if part.is_field]
    kinds = sorted(kind for field in fields if (kind := _kind(field)))
    return kinds == ["day", "month", "year"] and "yy" not in fields


def _kind(field: str) -> str | None:
    """The part of a date that a field tells, if it is one of the ISO form."""
    return {"y": "year", "M": "month", "L": "month", "d": "day"}.get(field[0])


# ---------------------------------------------------------------------------------------------- writing dates
def write_date(day: date, pattern: str, locale: str) -> AlignedDate:
    """The date in a pattern of the locale, behind the locale's name, and in ISO form."""
    source, sure, possible = f"{locale} ", set(), set()
    for text, is_field in parse_pattern(pattern):
        written = _plain(_field_text(text, locale, _representative(text, day)) if is_field else text)
        if is_field and (kind := _kind(text)):
            copied, worked_out = _links(written, len(source), kind)
            sure |= copied
            possible |= worked_out
        source += written
    return AlignedDate(source, day.isoformat(), Alignment.of(sure, possible))


def _links(written: str, start: int, kind: str) -> tuple[set[Link], set[Link]]:
    """The (sure, possible) links of a field that is written from position `start` of the source on."""
    positions = TARGET_POSITIONS[kind]
    digits = [start + i for i, character in enumerate(written) if character.isdigit()]
    if not digits:
        letters = [start + i for i, character in enumerate(written) if character.isalpha()]
        return set(), {(i, j) for i in letters for j in positions}
    filled = len(positions) - len(digits)  # how many zeros stand before the copied digits
    return set(zip(digits, positions[filled:], strict=True)), {(i, j) for i in digits for j in positions[:filled]}


@cache
def _field_text(field: str, locale: str, day: date) -> str:
    return _babel().dates.format_date(day, field, locale)


def _representative(field: str, day: date) -> date:
    """A date that a field writes just as this one; there are few of them, whose texts are made once."""
    match _kind(field):
        case "year":
            return date(day.year, 1, 1)
        case "month":
            return date(2000, day.month, 1)
        case "day":
            return date(2000, 1, day.day)
    return date(2000, 1, 3 + day.weekday()) if field[0] in "Ec" else day  # the third was a Monday


def _plain(text: str) -> str:
    """The text in composed characters, with plain spaces for all that CLDR has."""
    return re.sub(r"\s", " ", unicodedata.normalize("NFC", text))


def _babel() -> Any:
    try:
        import babel
        import babel.dates
    except ImportError as error:
        raise MissingDependencyError(
            "dates in words need babel, which is not installed: pip install 'minattn[translate]'"
        ) from error
    return babel
