"""BLEU, chrF and exact match, as sacrebleu counts them."""

import sys

import pytest

from minattn.errors import ConfigError, DataError, MissingDependencyError
from minattn.training.translation_metrics import score_by_length, score_translations

REFERENCES = ["the cat sat on the mat .", "it is a guide to action that ensures that the military obeys .", "no ."]


def test_the_references_themselves_are_perfect():
    score = score_translations(REFERENCES, REFERENCES)
    assert (score.bleu, score.chrf, score.exact, score.sentences) == pytest.approx((100, 100, 100, 3))


def test_bleu_is_of_the_corpus_by_its_definition():
    """Precisions 5/6, 3/5, 1/4 of n-grams and 0 of the longest, smoothed to 1 / (2 * 3); no brevity penalty."""
    score = score_translations(["a b c x d e"], ["a b c d e f"], "none")
    precisions = 5 / 6, 3 / 5, 1 / 4, 1 / (2 * 3)
    expected = 100
    for precision in precisions:
        expected *= precision ** (1 / 4)
    assert score.bleu == pytest.approx(expected)
    assert "tok:none" in score.signature
    assert "version:" in score.signature


def test_the_tokenization_matters():
    given, wanted = ["it is , he said , the cat"], ["it is, he said, the cat"]
    assert score_translations(given, wanted).bleu == pytest.approx(100)
    assert score_translations(given, wanted, "none").bleu < 50


def test_exact_match_does_not_count_spaces():
    assert score_translations(["a  b", "c"], ["a b ", "d"]).exact == 50
    assert str(score_translations(["a b c d"], ["a b c d"])).startswith(
        "BLEU 100.00, chrF 100.00, exact 100.00 % over 1 "
    )


def test_nothing_said_is_scored():
    score = score_translations(["", ""], ["a b", "c"])
    assert (score.bleu, score.chrf, score.exact) == (0, 0, 0)


def test_scores_by_length():
    by_length = score_by_length(["a", "x", "b c d e", "f"], ["a", "b", "b c d e", "f"], [3, 10, 11, 99], ends=(10, 20))
    assert {end: (s.sentences, s.exact) for end, s in by_length.items()} == {10: (2, 50), 20: (1, 100), 99: (1, 100)}
    assert list(by_length) == [10, 20, 99]


def test_what_cannot_be_scored():
    for given, wanted in ((["a"], []), ([], [])):
        with pytest.raises(
            DataError, match=r"translations and 0 references; hint: one reference for each, and at least one"
        ):
            score_translations(given, wanted)
    with pytest.raises(ConfigError, match=r"tokenization must be one of 13a, none, .*, got 'moses'"):
        score_translations(["a"], ["a"], "moses")
    with pytest.raises(DataError, match="there are 1 references and 2 lengths; hint"):
        score_by_length(["a"], ["a"], [1, 2])


def test_sacrebleu_is_needed(monkeypatch):
    monkeypatch.setitem(sys.modules, "sacrebleu", None)
    with pytest.raises(MissingDependencyError, match=r"BLEU needs sacrebleu, .*: pip install 'minattn\[translate\]'"):
        score_translations(["a"], ["a"])
