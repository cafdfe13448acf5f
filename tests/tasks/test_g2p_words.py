"""The words of a g2p run: from which files, and whether they are still the same."""

from pathlib import Path

import pytest
from small_g2p import WORDS, lines, write_words

from minattn.data import Lexicon
from minattn.errors import ConfigError
from minattn.tasks.g2p.task import LexiconFiles


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_words(tmp_path)
    Path("all.tsv").write_text(lines(WORDS))
    return tmp_path


def words_of(splits):
    return [set(splits.train), set(splits.dev), set(splits.test)]


def test_three_files_are_taken_as_they_are(files):
    train, dev, test = words_of(LexiconFiles("train.tsv", "dev.tsv", "test.tsv").load())
    assert (len(train), len(dev), len(test)) == (110, 20, 20)


def test_development_words_are_held_out_where_none_are_given(files):
    train, dev, test = words_of(LexiconFiles("train.tsv", test="test.tsv").load())
    assert (len(train), len(dev), len(test)) == (105, 5, 20)


def test_one_file_is_divided(files):
    parts = words_of(LexiconFiles("all.tsv").load())
    assert set().union(*parts) == set(WORDS)
    assert sum(map(len, parts)) == len(WORDS)
    assert len(parts[0]) > len(parts[2]) > 0


@pytest.mark.parametrize("given", [("train.tsv", "dev.tsv", "test.tsv"), ("all.tsv", None, None)])
def test_the_test_words_alone_are_those_of_the_splits(files, given):
    assert list(LexiconFiles(*given).load_test()) == list(LexiconFiles(*given).load().test)


@pytest.mark.parametrize("given", [(None, "d", None), (None, None, "t"), (None, "d", "t"), ("t", "d", None)])
def test_files_that_do_not_go_together_are_refused(given):
    with pytest.raises(ConfigError, match="--dev"):
        LexiconFiles(*given)


def test_files_are_found_from_another_folder(files, tmp_path_factory, monkeypatch):
    here = LexiconFiles("train.tsv", test="./test.tsv").absolute()
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert here.dev is None
    assert len(here.load().test) == 20


ENTRIES = [("ab", ["A", "B"]), ("ba", ["B", "A"])]


def test_the_same_words_have_the_same_fingerprint(tmp_path):
    assert Lexicon(ENTRIES).fingerprint() == Lexicon([("AB", ["A0", "B"]), ("ba", ["B", "A1"])]).fingerprint()


@pytest.mark.parametrize(
    "other",
    [
        ENTRIES[::-1],
        ENTRIES[:1],
        [*ENTRIES, ("ab", ["B"])],
        [("ab", ["A", "B"]), ("ba", ["BA"])],
        [("ab", ["A", "B"]), ("bb", ["B", "A"])],
    ],
)
def test_other_words_have_another_fingerprint(other):
    assert Lexicon(ENTRIES).fingerprint() != Lexicon(other).fingerprint()
