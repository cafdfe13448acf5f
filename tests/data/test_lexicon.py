import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minattn.data import Lexicon, read_lexicon
from minattn.data.text.lexicon import folded
from minattn.errors import DataError

words = st.text("ABabéİ'", min_size=1, max_size=3)
phonemes = st.sampled_from(["AH", "AH0", "AH1", "AH2", "T", "NG", "ʃ", "2"])
pronunciations = st.lists(phonemes, min_size=1, max_size=4)
entry_lists = st.lists(st.tuples(words, pronunciations), min_size=1, max_size=12)


def test_words_are_folded_stress_goes_and_duplicates_are_dropped():
    lexicon = Lexicon([("Read", ["R", "IY1", "D"]), ("read", ["R", "EH1", "D"]), ("READ", ["R", "IY0", "D"])])
    assert dict(lexicon) == {"read": (("R", "IY", "D"), ("R", "EH", "D"))}
    assert len(lexicon) == 1
    assert repr(lexicon) == "Lexicon of 1 words with 2 pronunciations"
    with pytest.raises(KeyError):
        lexicon["write"]


def test_every_pronunciation_is_a_pair_of_its_own():
    lexicon = Lexicon([("a", ["AH"]), ("b", ["B", "IY"]), ("a", ["EY"])])
    assert lexicon.pairs() == [("a", ("AH",)), ("a", ("EY",)), ("b", ("B", "IY"))]


def without_stress(phoneme):
    """What the few phonemes of these tests become."""
    return {"AH0": "AH", "AH1": "AH", "AH2": "AH"}.get(phoneme, phoneme)


def test_a_digit_that_is_no_stress_stays():
    assert Lexicon([("deux", ["d", "2"]), ("so", ["O3", "12"])]).pairs() == [("deux", ("d", "2")), ("so", ("O3", "12"))]


@given(entry_lists)
def test_no_pronunciation_is_lost_or_made_up(entries):
    lexicon = Lexicon(entries)
    expected = {(word.lower(), tuple(map(without_stress, phonemes))) for word, phonemes in entries}
    assert set(lexicon.pairs()) == expected
    assert len(lexicon.pairs()) == len(expected)


@given(entry_lists)
def test_building_a_lexicon_from_its_own_pairs_changes_nothing(entries):
    lexicon = Lexicon(entries)
    assert list(Lexicon(lexicon.pairs()).items()) == list(lexicon.items())


@given(entry_lists, st.sets(words.map(str.lower)))
def test_a_part_keeps_words_pronunciations_and_order(entries, wanted):
    lexicon = Lexicon(entries)
    part = lexicon.only(wanted)
    assert list(part.items()) == [(word, found) for word, found in lexicon.items() if word in wanted]


@given(entry_lists)
def test_a_written_lexicon_is_read_back(tmp_path_factory, entries):
    path = tmp_path_factory.mktemp("lexicon") / "words.txt"
    path.write_text("".join(f"{word}\t{' '.join(phonemes)}\n" for word, phonemes in entries), encoding="utf-8")
    assert list(read_lexicon(path).items()) == list(Lexicon(entries).items())


@pytest.mark.parametrize(
    "raw",
    [
        b"ABADI\tAH B AE1 D IY\nA\tAH0",
        b"ABADI\tAH B AE D IY\r\nA\tAH\r\n",
        b"\xef\xbb\xbfABADI\tAH B AE D IY\n\n  \nA\tAH\n",
        b"ABADI \t AH  B AE D IY \nA\tAH\n",
    ],
    ids=["no last newline", "windows", "byte-order mark and blank lines", "stray spaces"],
)
def test_the_same_lexicon_however_it_was_saved(tmp_path, raw):
    path = tmp_path / "words.txt"
    path.write_bytes(raw)
    assert dict(read_lexicon(path)) == {"abadi": (("AH", "B", "AE", "D", "IY"),), "a": (("AH",),)}
    assert read_lexicon(str(path)) == read_lexicon(path)


CMUDICT = """;;; # CMUdict  --  Major Version: 0.07
;;; a comment\twith a tab
!EXCLAMATION-POINT  EH2 K S K L AH0 M EY1 SH AH0 N P OY2 N T
DON'T  D OW1 N T
EITHER  IY1 DH ER0
EITHER(1)  AY1 DH ER0

AALBORG  AO1 L B AO0 R G # place, danish
"""


def test_cmudict_as_it_is_published(tmp_path):
    path = tmp_path / "cmudict.txt"
    path.write_text(CMUDICT, encoding="utf-8")
    lexicon = read_lexicon(path)
    assert list(lexicon) == ["!exclamation-point", "don't", "either", "aalborg"]
    assert lexicon["either"] == (("IY", "DH", "ER"), ("AY", "DH", "ER"))
    assert lexicon["aalborg"] == (("AO", "L", "B", "AO", "R", "G"),)


def test_older_releases_of_cmudict_are_in_latin_1(tmp_path):
    path = tmp_path / "cmudict-0.7b"
    line = "D\u00c9J\u00c0  D EY2 ZH AA1\r\n".encode("latin-1")
    path.write_bytes(CMUDICT.encode() + line)
    assert read_lexicon(path)["d\u00e9j\u00e0"] == (("D", "EY", "ZH", "AA"),)
    path.write_bytes(line)
    with pytest.raises(DataError, match="the line is not UTF-8 text"):
        read_lexicon(path)


def test_a_line_of_cmudict_that_cannot_be_read_is_named(tmp_path):
    path = tmp_path / "cmudict.txt"
    path.write_text(";;; a comment\nCAT K AE1 T\n")
    with pytest.raises(DataError, match=r"line 2: no tab between the word and its pronunciation"):
        read_lexicon(path)


def test_further_pronunciations_may_be_numbered_after_a_tab_too(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text("READ\tR IY D\nREAD(2)\tR EH D\n(2)\tT UW\n")
    assert dict(read_lexicon(path)) == {"read": (("R", "IY", "D"), ("R", "EH", "D")), "(2)": (("T", "UW"),)}


@pytest.mark.parametrize("apostrophe", ["'", "\u2019", "\u02bc", "\uff07"])
def test_a_typographic_apostrophe_is_a_plain_one(apostrophe):
    lexicon = Lexicon([("don't", ["D", "OW", "N", "T"]), (f"DON{apostrophe}T", ["D", "OW", "N"])])
    assert dict(lexicon) == {"don't": (("D", "OW", "N", "T"), ("D", "OW", "N"))}
    assert folded(f"DON{apostrophe}T") == "don't"


@pytest.mark.parametrize("entry", [("", ["AH"]), ("a", []), ("a", ["AH", ""])])
def test_empty_entries_are_refused(entry):
    with pytest.raises(DataError, match="neither may be empty"):
        Lexicon([("b", ["B"]), entry])


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("CAT K AE T", "no tab between the word and its pronunciation; write WORD<TAB>PH PH PH"),
        ("CAT\t0.5\tK AE T", "more than one tab; write WORD<TAB>PH PH PH, with spaces between the phonemes"),
        (" \tK AE T", "no word before the tab; write one or delete the line"),
        ("CAT\t ", "no pronunciation after the tab; write one or delete the line"),
    ],
)
def test_a_line_that_cannot_be_read_is_named(tmp_path, line, reason):
    path = tmp_path / "words.txt"
    path.write_text(f"A\tAH\n\n{line}\nB\tB IY\n")
    with pytest.raises(DataError) as caught:
        read_lexicon(path)
    assert str(caught.value) == f"{path}, line 3: {reason}. The line reads {line!r}."


def test_undecodable_bytes_are_named_with_their_line(tmp_path):
    path = tmp_path / "words.txt"
    line = b"CAF\xc9\tK AE F EY"
    path.write_bytes(b"A\tAH\n" + line + b"\nB\tB IY\n")
    with pytest.raises(DataError) as caught:
        read_lexicon(path)
    assert str(caught.value) == (
        f"{path}, line 2: the line is not UTF-8 text. It reads {line!r}; hint: save the file as UTF-8"
    )


@pytest.mark.parametrize("raw", [b"", b"\n \n"])
def test_a_file_without_words(tmp_path, raw):
    path = tmp_path / "words.txt"
    path.write_bytes(raw)
    with pytest.raises(DataError, match=re.escape(f"{path} holds no words: write one WORD<TAB>PH PH PH a line")):
        read_lexicon(path)


def test_a_missing_file(tmp_path):
    path = tmp_path / "words.txt"
    with pytest.raises(DataError, match=re.escape(f"there is no file {path}; hint: check the path")):
        read_lexicon(path)


def test_a_directory(tmp_path):
    with pytest.raises(DataError, match=re.escape(f"{tmp_path} is a directory; hint: name a file inside it")):
        read_lexicon(tmp_path)


def test_a_file_that_cannot_be_opened(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text("A\tAH\n")
    with pytest.raises(DataError, match=re.escape(f"{path / 'inside'} cannot be read: Not a directory")):
        read_lexicon(path / "inside")
