import time
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minattn.data import Lexicon
from minattn.errors import DataError
from minattn.tasks.g2p.error_rates import Score, edit_distance, score, score_by_length

spoken = st.lists(st.sampled_from(["AH", "T", "N"]), max_size=6).map(tuple)
accepted = st.lists(spoken.filter(len), min_size=1, max_size=3)
words = st.text("ab", min_size=1, max_size=6)
scored = st.dictionaries(words, st.tuples(spoken, accepted), min_size=1, max_size=12)


def naive_distance(first, second):
    """The recursive definition, without a table."""

    @cache
    def distance(i, j):
        if i == 0 or j == 0:
            return i + j
        return min(
            distance(i - 1, j) + 1,
            distance(i, j - 1) + 1,
            distance(i - 1, j - 1) + (first[i - 1] != second[j - 1]),
        )

    return distance(len(first), len(second))


@given(spoken, spoken)
def test_edit_distance_is_the_recursive_definition(first, second):
    assert edit_distance(first, second) == naive_distance(first, second)


@given(spoken, spoken, spoken)
def test_edit_distance_is_a_metric(first, second, third):
    assert (edit_distance(first, second) == 0) == (first == second)
    assert edit_distance(first, second) == edit_distance(second, first)
    assert edit_distance(first, third) <= edit_distance(first, second) + edit_distance(second, third)


@given(spoken, spoken)
def test_edit_distance_lies_between_its_bounds(first, second):
    assert abs(len(first) - len(second)) <= edit_distance(first, second) <= max(len(first), len(second))


def test_edit_distance_of_known_words():
    assert edit_distance("kitten", "sitting") == 3
    assert edit_distance("", "abc") == 3
    assert edit_distance(["K", "AE", "T"], ("K", "AE", "T")) == 0


@given(scored)
def test_score_is_the_definition(drawn):
    predictions = {word: prediction for word, (prediction, _) in drawn.items()}
    references = {word: possible for word, (_, possible) in drawn.items()}
    edits = phonemes = wrong = 0
    for word, prediction in predictions.items():
        closest = references[word][0]
        for other in references[word][1:]:
            if naive_distance(prediction, other) < naive_distance(prediction, closest):
                closest = other
        edits += naive_distance(prediction, closest)
        phonemes += len(closest)
        wrong += prediction not in references[word]
    found = score(predictions, references)
    assert found == Score(words=len(drawn), wrong_words=wrong, phonemes=phonemes, edits=edits)
    assert found.per == pytest.approx(100 * edits / phonemes)
    assert found.wer == pytest.approx(100 * wrong / len(drawn))


@given(scored)
def test_the_lengths_add_up_to_the_whole(drawn):
    predictions = {word: prediction for word, (prediction, _) in drawn.items()}
    references = {word: possible for word, (_, possible) in drawn.items()}
    whole = score(predictions, references)
    by_length = score_by_length(predictions, references, shortest=2, longest=4)
    assert list(by_length) == sorted(by_length)
    assert set(by_length) == {min(max(len(word), 2), 4) for word in drawn}
    for name in ("words", "wrong_words", "phonemes", "edits"):
        assert sum(getattr(part, name) for part in by_length.values()) == getattr(whole, name)


def test_any_reference_makes_a_word_right():
    lexicon = Lexicon([("either", ["IY", "DH", "ER"]), ("either", ["AY", "DH", "ER"])])
    for reference in lexicon["either"]:
        assert score({"either": list(reference)}, lexicon) == Score(1, 0, 3, 0)


def test_edits_count_against_the_closest_reference_and_its_length():
    references = {"tomato": [("T", "AH", "M", "EY", "T", "OW"), ("T", "M", "AA")]}
    found = score({"tomato": ("T", "M", "EY")}, references)
    assert found == Score(words=1, wrong_words=1, phonemes=3, edits=1)
    assert (found.per, found.wer) == (100 / 3, 100)


def test_of_equally_close_references_the_first_counts():
    long, short = ("A", "B", "C"), ("A",)
    assert score({"x": ("A", "B")}, {"x": [long, short]}).phonemes == 3
    assert score({"x": ("A", "B")}, {"x": [short, long]}).phonemes == 1


def test_rates_are_of_totals_and_not_means_of_words():
    found = score({"a": ("X",), "b": ("A",) * 9}, {"a": [("A",)], "b": [("A",) * 9]})
    assert (found.per, found.wer) == (10, 50)
    assert str(found) == "PER 10.00 %, WER 50.00 % over 2 words"


def test_short_and_long_words_are_counted_together():
    words = ["a", "abc", "abcd", "a" * 14, "a" * 20]
    predictions = dict.fromkeys(words, ("AH",))
    by_length = score_by_length(predictions, {word: [("AH",)] for word in words})
    assert {length: part.words for length, part in by_length.items()} == {3: 2, 4: 1, 14: 2}


@pytest.mark.parametrize("measure", [score, score_by_length])
class TestWhatCannotBeScored:
    def test_nothing(self, measure):
        with pytest.raises(DataError, match="there are no predictions to score"):
            measure({}, {})

    def test_words_without_a_prediction(self, measure):
        with pytest.raises(DataError, match=r"some words \(2 in all\) have no prediction, such as b c\."):
            measure({"a": ["A"]}, {"a": [["A"]], "c": [["C"]], "b": [["B"]]})

    def test_words_without_a_reference(self, measure):
        with pytest.raises(DataError, match=r"some words \(1 in all\) have no reference, such as b\..*same words"):
            measure({"a": ["A"], "b": ["B"]}, {"a": [["A"]]})

    @pytest.mark.parametrize("empty", [[], [[]], [["A"], []]])
    def test_an_empty_reference(self, measure, empty):
        with pytest.raises(DataError, match="the word 'a' has no reference or an empty one"):
            measure({"a": ["A"]}, {"a": empty})


def test_a_test_set_of_13_000_words_is_scored_in_two_seconds():
    rng = np.random.default_rng(0)

    def pronounce():
        return [str(phoneme) for phoneme in rng.integers(0, 39, rng.integers(3, 11))]

    predictions = {str(word): pronounce() for word in range(13_000)}
    references = {word: [pronounce()] for word in predictions}
    start = time.process_time()
    score(predictions, references)
    assert time.process_time() - start < 2
