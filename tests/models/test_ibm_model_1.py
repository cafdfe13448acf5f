"""IBM model 1 against its definition, written out in loops."""

import math
from collections import Counter, defaultdict
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minattn.errors import ConfigError, DataError
from minattn.models.sequence.ibm_model_1 import IBMModel1, intersection, turned

sentences = st.lists(st.sampled_from("abcde"), min_size=1, max_size=4)
corpora = st.lists(st.tuples(sentences, sentences), min_size=1, max_size=5)

BOOK = [
    (["das", "haus"], ["the", "house"]),
    (["das", "buch"], ["the", "book"]),
    (["ein", "buch"], ["a", "book"]),
]


def by_loops(pairs, iterations):
    """(t, the log-likelihoods), word by word; the empty word is None."""
    target_words = {f for _, target in pairs for f in target}
    t = defaultdict(lambda: 1 / len(target_words))
    logs = []
    for _ in range(iterations):
        log, counts, totals = 0.0, Counter(), Counter()
        for source, target in pairs:
            choices = [*source, None]
            for f in target:
                total = sum(t[f, e] for e in choices)
                log += math.log(total / len(choices))
                for e in choices:
                    counts[f, e] += t[f, e] / total
                    totals[e] += t[f, e] / total
        t = defaultdict(float, {(f, e): count / totals[e] for (f, e), count in counts.items()})
        logs.append(log)
    return t, logs


@given(corpora, st.integers(1, 4))
def test_it_is_the_definition(pairs, iterations):
    model = IBMModel1(pairs, iterations)
    t, logs = by_loops(pairs, iterations)
    assert model.log_likelihoods == pytest.approx(logs)
    for source, target in pairs:
        expected = [[t[f, e] for e in [*source, None]] for f in target]
        assert model.probabilities(source, target).tolist() == [pytest.approx(row) for row in expected]


@given(corpora)
def test_no_iteration_makes_the_text_less_likely(pairs):
    logs = IBMModel1(pairs, 8).log_likelihoods
    assert all(later >= earlier - 1e-9 for earlier, later in pairwise(logs))


@given(corpora)
def test_the_translations_of_a_word_add_up_to_one(pairs):
    words = sorted({f for _, target in pairs for f in target})
    model = IBMModel1(pairs)
    for source, _ in pairs:
        assert model.probabilities(source, words).sum(0) == pytest.approx(1)


def test_words_find_their_translations():
    model = IBMModel1(BOOK, 20)
    assert model.align(["das", "buch"], ["the", "book"]) == {(0, 0), (1, 1)}
    assert model.align(["buch", "das", "haus"], ["house", "the", "book"]) == {(2, 0), (1, 1), (0, 2)}


def test_unknown_words_have_no_link():
    model = IBMModel1(BOOK)
    assert model.align(["das", "nichts"], ["nothing", "the"]) == {(0, 1)}
    assert model.align([], ["the"]) == set()
    assert model.align(["das"], []) == set()
    assert model.align(["ein"], ["house"]) == set(), "they have never met"


def test_what_comes_from_no_word_has_no_link():
    pairs = [([e], [e.upper(), "of"]) for e in "abcdefgh"]
    assert IBMModel1(pairs, 10).align(["a"], ["A", "of"]) == {(0, 0)}


@given(
    st.frozensets(st.tuples(st.integers(0, 3), st.integers(0, 3))),
    st.frozensets(st.tuples(st.integers(0, 3), st.integers(0, 3))),
)
def test_the_intersection_has_what_both_directions_have(forward, backward):
    both = intersection(forward, backward)
    assert both == {(i, j) for i, j in forward if (j, i) in backward}
    assert intersection(backward, forward) == turned(both)


def test_what_it_cannot_learn_from():
    for pairs in ([], [([], ["a"])], [(["a"], [])]):
        with pytest.raises(DataError, match="needs sentence pairs, none of them with an empty side; hint"):
            IBMModel1(pairs)
    with pytest.raises(ConfigError, match="iterations must be at least 1, got 0"):
        IBMModel1(BOOK, 0)
