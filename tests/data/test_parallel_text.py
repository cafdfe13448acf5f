"""Parallel text: its files, what is wrong with them, and how it is divided."""

import gzip
import os
import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from minattn.data.splits import place_of
from minattn.data.text import parallel
from minattn.data.text.parallel import (
    ParallelText,
    hold_out_pairs,
    parallel_files,
    read_lines,
    read_parallel,
    split_parallel,
)
from minattn.errors import DataError

sentences = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=8)
pair_lists = st.lists(st.tuples(sentences, sentences), min_size=1, max_size=8)


# ---------------------------------------------------------------------------------------------- the container
def test_pairs_are_had_by_number_and_in_turn():
    text = ParallelText.of([("one", "eins"), ("two", "zwei")])
    assert len(text) == 2
    assert text[1] == ("two", "zwei")
    assert text[1].target == "zwei"
    assert list(text) == [("one", "eins"), ("two", "zwei")]
    assert text.only([1, 0]) == ParallelText(("two", "one"), ("zwei", "eins"))
    assert repr(text) == "ParallelText of 2 pairs"


@given(pair_lists, st.randoms())
def test_a_fingerprint_is_that_of_the_pairs_in_their_order(pairs, random):
    shuffled = random.sample(pairs, len(pairs))
    same = ParallelText.of(pairs).fingerprint() == ParallelText.of(shuffled).fingerprint()
    assert same == (pairs == shuffled)


def test_a_fingerprint_knows_which_side_a_word_is_on():
    one, other = ParallelText.of([("a b", "c")]), ParallelText.of([("a", "b c")])
    assert one.fingerprint() != other.fingerprint()


@pytest.mark.parametrize(
    ("sources", "targets", "says"),
    [
        (("a", "b"), ("c",), "there are 2 source and 1 target sentences; hint"),
        ((), (), "there are no sentence pairs; hint"),
        (("a", " "), ("b", "c"), "the source of pair 2 is ' ', expected one line that is not blank; hint"),
        (("a",), ("b\nc",), r"the target of pair 1 is 'b\\nc', expected one line"),
    ],
)
def test_what_is_no_parallel_text(sources, targets, says):
    with pytest.raises(DataError, match=says):
        ParallelText(sources, targets)


# ---------------------------------------------------------------------------------------------- files
@given(pair_lists, st.booleans(), st.booleans())
def test_what_was_written_is_read(tmp_path_factory, pairs, packed, two_files):
    folder = tmp_path_factory.mktemp("text")

    def write(name, lines):
        content = "".join(f"{line}\n" for line in lines).encode()
        (folder / name).write_bytes(gzip.compress(content) if packed else content)
        return folder / name

    if two_files:
        text = read_parallel(write("a", [a for a, _ in pairs]), write("b", [b for _, b in pairs]))
    else:
        text = read_parallel(write("ab", [f"{a}\t{b}" for a, b in pairs]))
    assert list(text) == pairs


@pytest.mark.parametrize(
    "raw",
    [b"the cat\tle chat\nno\tnon", b"the cat \t le chat\r\nno\tnon\r\n", b"\xef\xbb\xbfthe cat\tle chat\nno\tnon\n"],
    ids=["no last newline", "windows and stray spaces", "byte-order mark"],
)
def test_the_same_text_however_it_was_saved(tmp_path, raw):
    (tmp_path / "text").write_bytes(raw)
    assert list(read_parallel(tmp_path / "text")) == [("the cat", "le chat"), ("no", "non")]


def test_only_newlines_end_a_line(tmp_path):
    (tmp_path / "text").write_text("a\u2028b\tc\x0bd\n", encoding="utf-8")
    assert read_parallel(str(tmp_path / "text"))[0] == ("a\u2028b", "c\x0bd")


def test_another_separator(tmp_path):
    (tmp_path / "text").write_text("a b ||| c \n")
    assert list(read_parallel(tmp_path / "text", separator="|||")) == [("a b", "c")]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("", "line 2, is empty; hint: leave it out"),
        ("   ", "line 2, is empty; hint: leave it out"),
        (
            "the cat",
            "line 2, has no tabs, expected one, between a sentence and its translation, and reads 'the cat'; hint",
        ),
        ("the\tcat\tle chat", r"line 2, has 2 tabs, expected one, .* reads 'the\\tcat\\tle chat'; hint"),
        ("\tle chat", r"line 2, has no source, and reads '\\tle chat'; hint: leave the line out"),
        ("the cat\t ", "line 2, has no target, .*; hint: leave the line out"),
        ("x" * 100, "line 2, has no tabs, .* and reads 'x{60}'[.][.]; hint"),
        ("the\0cat\tle chat", r"line 2, has a zero byte: 'the\\x00cat.*; hint: .*iconv -f UTF-16"),
    ],
)
def test_a_line_that_is_no_pair_is_named(tmp_path, line, says):
    path = tmp_path / "text"
    path.write_text(f"no\tnon\n{line}\nyes\toui\n")
    with pytest.raises(DataError, match=f"^{re.escape(str(path))}, {says}") as caught:
        read_parallel(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("first", "second"), [(3, 2), (2, 3), (1, 5), (5, 1)])
def test_files_of_unequal_lengths(tmp_path, first, second):
    one, other = tmp_path / "text.en", tmp_path / "text.es"
    one.write_text("a\n" * first)
    other.write_text("b\n" * second)
    with pytest.raises(DataError, match=rf"text.en has {first} lines and .*text.es has {second}; hint: line n"):
        read_parallel(one, other)


@pytest.mark.parametrize("side", [0, 1])
def test_an_empty_line_of_two_files_is_named(tmp_path, side):
    files = [tmp_path / "text.en", tmp_path / "text.es"]
    for number, path in enumerate(files):
        path.write_text("a\n\nc\n" if number == side else "a\nb\nc\n")
    with pytest.raises(DataError, match=rf"{files[side].name}, line 2, is empty; hint: .* both text.en and text.es"):
        read_parallel(*files)


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (
            "a\tcafé\n".encode("latin-1"),
            r"line 1, is no UTF-8 text: b'a\\tcaf\\xe9\\n'; hint: iconv -f ISO-8859-1 -t UTF-8",
        ),
        ("a\tb\n".encode("utf-16"), "line 1, is no UTF-8 text: .*; hint: iconv -f UTF-16 -t UTF-8 text > new"),
        ("a\tb\n".encode("utf-16-le"), "line 1, has a zero byte: .*; hint: .*iconv -f UTF-16"),
    ],
)
def test_other_encodings(tmp_path, raw, says):
    (tmp_path / "text").write_bytes(raw)
    with pytest.raises(DataError, match=says):
        read_parallel(tmp_path / "text")


@pytest.mark.parametrize("two", [False, True])
def test_a_file_without_lines(tmp_path, two):
    path = tmp_path / "text"
    path.write_text("")
    with pytest.raises(DataError, match="text holds no pairs; hint: SOURCE<TAB>TARGET"):
        read_parallel(path, path if two else None)


def test_what_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").write_text("a\tb\n")
    for path, says in (
        (tmp_path, "is a folder; hint: name a file inside it"),
        (tmp_path / "none", "^there is no file .*none; hint: check the path"),
        (tmp_path / "pipe", "is a pipe or a device and no file; hint: write its text to a file first"),
        ("/dev/null", "/dev/null is a pipe or a device"),
        (tmp_path / "file" / "inside", "cannot be read: Not a directory; hint"),
        ("zero\0byte", "cannot be read: .*null byte.*; hint"),
        (tmp_path / ("x" * 300), "cannot be read: File name too long; hint"),
    ):
        with pytest.raises(DataError, match=says):
            read_parallel(path)


def test_a_damaged_archive(tmp_path):
    packed = gzip.compress("".join(f"{n}\tb\n" for n in range(10_000)).encode())
    for content in (packed[:-1000], packed[:100] + b"xxxx" + packed[104:], packed[:5]):
        (tmp_path / "text.gz").write_bytes(content)
        with pytest.raises(DataError, match=r"text.gz is damaged or cut off: .*; hint: fetch it anew"):
            read_parallel(tmp_path / "text.gz")


def test_a_file_that_is_too_large_is_refused_before_it_is_read(tmp_path):
    with (tmp_path / "text").open("wb") as file:
        file.truncate(3 * 2**30)  # of zeros that take no space
    with pytest.raises(DataError, match=r"text has 3,221,225,472 bytes, and .* at most 536,870,912 .*; hint: .*head"):
        next(read_lines(tmp_path / "text"))


def test_an_archive_that_unpacks_to_too_much_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(parallel, "MOST_BYTES", 1000)
    (tmp_path / "text").write_bytes(gzip.compress(b"a\tb\n" * 10_000))
    with pytest.raises(DataError, match=r"text has more than 1,000 bytes, .*; hint"):
        read_parallel(tmp_path / "text")


def test_a_line_that_never_ends_is_refused(tmp_path):
    (tmp_path / "text").write_bytes(gzip.compress(b"a" * (parallel.MOST_LINE_BYTES + 10)))
    with pytest.raises(DataError, match="text, line 1, has more than 1,048,576 bytes; hint: one sentence a line"):
        read_parallel(tmp_path / "text")


# ---------------------------------------------------------------------------------------------- naming files
def test_an_option_names_one_file_or_two(tmp_path):
    assert [str(path) for path in parallel_files("pairs.tsv")] == ["pairs.tsv"]
    assert [str(path) for path in parallel_files("a/text.en,a/text.es")] == ["a/text.en", "a/text.es"]
    (tmp_path / "a,b").write_text("x\ty\n")
    assert parallel_files(str(tmp_path / "a,b")) == (tmp_path / "a,b",)
    assert parallel_files("x" * 300)[0].name == "x" * 300, "it is refused when it is read"


@pytest.mark.parametrize("files", ["", "a,", ",b", "a,b,c", " "])
def test_an_option_that_names_none(files):
    with pytest.raises(DataError, match=f"^'{files}' names no parallel text; hint: .*text.en,text.es"):
        parallel_files(files)


# ---------------------------------------------------------------------------------------------- dividing
def test_the_hash_of_the_source_or_of_a_key_decides():
    text = ParallelText.of([(str(n), "x") for n in range(300)])
    splits = split_parallel(text)
    assert [place_of(source) < 100 for source in splits.test.sources] == [True] * len(splits.test)
    assert [100 <= place_of(source) < 150 for source in splits.dev.sources] == [True] * len(splits.dev)
    assert sorted(map(int, splits.train.sources + splits.dev.sources + splits.test.sources)) == list(range(300))
    keys = [f"verse {n}" for n in range(300)]
    assert splits.fingerprints() != split_parallel(text, keys).fingerprints()
    assert split_parallel(text, text.sources).fingerprints() == splits.fingerprints()


def test_translations_of_one_sentence_stay_together():
    splits = split_parallel(ParallelText.of([(str(n % 50), str(n)) for n in range(200)]))
    parts = [set(part.sources) for part in splits]
    assert not parts[0] & parts[1]
    assert not parts[0] & parts[2]
    assert not parts[1] & parts[2]


def test_too_few_pairs_to_divide():
    with pytest.raises(DataError, match=r"1 pairs are too few to be divided: none would be left for .*; hint"):
        split_parallel(ParallelText.of([("a", "b")]))


@given(st.lists(st.integers(0, 5), min_size=2, max_size=30), st.integers(1, 10))
def test_a_part_is_held_out_with_all_translations_of_its_sentences(numbers, n):
    most = max(map(numbers.count, numbers))
    assume(n + most <= len(numbers))
    text = ParallelText.of([(str(source), str(index)) for index, source in enumerate(numbers)])
    kept, held_out = hold_out_pairs(text, n)
    assert sorted([*kept, *held_out]) == sorted(text)
    assert not set(kept.sources) & set(held_out.sources)
    assert list(map(int, kept.targets)) == sorted(map(int, kept.targets)), "the order stays"
    assert n <= len(held_out) < n + most


def test_nothing_to_hold_out():
    text = ParallelText.of([("a", "b"), ("c", "d")])
    assert sorted(map(len, hold_out_pairs(text, 1))) == [1, 1]
    with pytest.raises(DataError, match="cannot hold out 1 of 2 pairs"):
        hold_out_pairs(ParallelText.of([("a", "b"), ("a", "c")]), 1)
    for n in (0, -1, 2, 3):
        with pytest.raises(DataError, match=rf"cannot hold out {n} of 2 pairs and keep some; hint: fewer, but"):
            hold_out_pairs(text, n)
