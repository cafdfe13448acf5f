"""Dates in words: babel's own strings, field by field, and what each digit of the ISO form comes from."""

import sys
from datetime import date

import pytest
from babel import Locale, localedata
from babel.dates import format_date
from hypothesis import given
from hypothesis import strategies as st

from minattn.data.splits import place_of
from minattn.data.text.alignments import AlignedText
from minattn.data.text.dates import (
    FORMATS,
    LOCALES,
    Part,
    _plain,
    babel_version,
    date_patterns,
    load_dates,
    parse_pattern,
    write_date,
)
from minattn.errors import ConfigError, MissingDependencyError

every_locale = st.sampled_from(LOCALES)
days = st.dates(date(1900, 1, 1), date(2099, 12, 31))


@pytest.fixture(scope="module")
def splits():
    return load_dates(pairs=(500, 100, 200))


# ---------------------------------------------------------------------------------------------- patterns
@pytest.mark.parametrize(
    ("pattern", "parts"),
    [
        (
            "d 'de' MMM y",
            [("d", True), (" ", False), ("de", False), (" ", False), ("MMM", True), (" ", False), ("y", True)],
        ),
        ("y年M月d日", [("y", True), ("年", False), ("M", True), ("月", False), ("d", True), ("日", False)]),
        ("h 'o''clock' ''y", [("h", True), (" ", False), ("o'clock", False), (" ", False), ("'", False), ("y", True)]),
        ("ddMM", [("dd", True), ("MM", True)]),
        ("", []),
    ],
)
def test_a_pattern_is_fields_and_text(pattern, parts):
    assert parse_pattern(pattern) == [Part(*part) for part in parts]


@given(st.sampled_from(sorted(localedata.locale_identifiers())), st.sampled_from(FORMATS), days)
def test_fields_together_are_what_babel_writes_in_every_locale_it_has(name, style, day):
    locale = Locale.parse(name)
    written = write_date(day, locale.date_formats[style].pattern, name)
    assert written.source == f"{name} " + _plain(format_date(day, style, locale))


@given(every_locale, days, st.data())
def test_all_formats_have_day_month_and_year(locale, day, data):
    pattern = data.draw(st.sampled_from(date_patterns(locale)))
    written = write_date(day, pattern, locale)
    assert str(day.year) in written.source
    assert str(day.day) in written.source
    assert written.target == day.isoformat()


@pytest.mark.parametrize("locale", LOCALES)
def test_each_locale_has_several_formats(locale):
    patterns = date_patterns(locale)
    assert len(patterns) == len(set(patterns)) >= 5


def test_another_locale():
    with pytest.raises(ConfigError, match="babel knows no locale 'xx'; hint: one such as en_US, "):
        date_patterns("xx")


# ---------------------------------------------------------------------------------------------- alignments
def linked(written, links):
    """The characters of both sides that are linked, in the order of the target."""
    return [(written.source[i], written.target[j], j) for i, j in sorted(links, key=lambda link: link[::-1])]


def test_digits_come_from_digits_and_months_from_their_names():
    written = write_date(date(2017, 3, 5), "EEEE, d MMMM y", "en_GB")
    assert written[:2] == ("en_GB Sunday, 5 March 2017", "2017-03-05")
    assert linked(written, written.alignment.sure) == [
        ("2", "2", 0),
        ("0", "0", 1),
        ("1", "1", 2),
        ("7", "7", 3),
        ("5", "5", 9),
    ]
    possible = linked(written, written.alignment.possible - written.alignment.sure)
    assert possible == [(c, "0", 5) for c in "March"] + [(c, "3", 6) for c in "March"] + [("5", "0", 8)]


def test_months_in_digits_are_copied_and_filled_up():
    written = write_date(date(1999, 3, 12), "y年M月d日(E)", "ja")
    assert written.source == "ja 1999年3月12日(金)"
    assert (8, 6) in written.alignment.sure
    assert written.alignment.possible - written.alignment.sure == {(8, 5)}
    two = write_date(date(1999, 11, 12), "dd.MM.y", "de")
    assert linked(two, two.alignment.sure) == [(c, c, j) for j, c in enumerate("1999-11-12") if c != "-"]
    assert two.alignment.possible == two.alignment.sure


@given(every_locale, days, st.data())
def test_what_is_sure_is_a_copy_and_every_digit_comes_from_somewhere(locale, day, data):
    written = write_date(day, data.draw(st.sampled_from(date_patterns(locale))), locale)
    assert all(one == other for one, other, _ in linked(written, written.alignment.sure))
    assert {j for _, j in written.alignment.possible} == {0, 1, 2, 3, 5, 6, 8, 9}
    assert not any(i < len(locale) + 1 for i, _ in written.alignment.possible), "nothing comes from the locale's name"
    assert len({i for i, _ in written.alignment.sure}) == len(written.alignment.sure)


# ---------------------------------------------------------------------------------------------- the data
def test_as_many_as_were_asked_for_none_twice(splits):
    assert [len(part) for part in splits] == [500, 100, 200]
    assert all(len(set(part.sources)) == len(part) for part in splits)
    assert {source.split()[0] for source in splits.train.sources} == set(LOCALES)


def test_dev_and_test_are_aligned_by_characters(splits):
    for part in (splits.dev, splits.test):
        assert isinstance(part, AlignedText)
        assert part.unit == "character"


def test_no_date_is_in_two_parts(splits):
    assert all(place_of(target) >= 150 for target in splits.train.targets)
    assert all(100 <= place_of(target) < 150 for target in splits.dev.targets)
    assert all(place_of(target) < 100 for target in splits.test.targets)


def test_the_seed_decides(splits):
    assert load_dates(pairs=(500, 100, 200)).fingerprints() == splits.fingerprints()
    others = load_dates(seed=2, pairs=(500, 100, 200)).fingerprints()
    assert not set(others.values()) & set(splits.fingerprints().values())
    more = load_dates(pairs=(600, 100, 200)).fingerprints()
    assert (more["dev"], more["test"]) == (splits.fingerprints()["dev"], splits.fingerprints()["test"])


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"seed": -1}, "seed must be at least 0"),
        ({"pairs": (1, 0, 1)}, r"each number of pairs at least 1, got 1 and \(1, 0, 1\)"),
        ({"pairs": (1, 10**6, 1)}, r"there are 3,\d\d\d dates for dev, got 1,000,000 pairs; hint: fewer pairs"),
    ],
)
def test_numbers_that_cannot_be(arguments, says):
    with pytest.raises(ConfigError, match=says):
        load_dates(**arguments)


def test_babel_is_needed_and_has_a_version(monkeypatch):
    assert babel_version()[0].isdigit()
    monkeypatch.setitem(sys.modules, "babel", None)
    with pytest.raises(MissingDependencyError, match=r"need babel, .*: pip install 'minattn\[translate\]'"):
        babel_version()
