"""Beam search against a greedy loop, itself in plain lists, exhaustive enumeration, and the model's probabilities."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_models import SEEDS, SIZES, random_model, random_transformer
from table_model import TableModel, sequences

import minattn as ma
from minattn.errors import ConfigError, TrainingError
from minattn.models import Transformer, beam_search, greedy_search
from minattn.models.sequence.search import Source

BOS, EOS = 0, 1
KINDS = pytest.mark.parametrize("attention", [True, False], ids=["RNNsearch", "RNNencdec"])


ALPHAS = st.sampled_from([0.0, 0.6, 1.0, 3.0])


def penalty(ids, finished, alpha):
    """The length penalty of Wu et al. 2016, (14)."""
    return (5 + len(ids) + finished) ** alpha / (5 + 1) ** alpha


@st.composite
def tables(draw, levels=None, impossible=0.0):
    """(model, end, max_length): a table for up to 3 sources, 3 words and 3 steps."""
    words, length = draw(st.integers(2, 3)), draw(st.integers(1, 3))
    rng = np.random.default_rng(draw(SEEDS))
    return TableModel.random(rng, 3, words, length, levels, impossible), draw(st.integers(0, words - 1)), length


def table_score(model, source, ids, finished, end):
    """The summed log-probability of a sequence, EOS included."""
    total, prefix = 0.0, []
    for word in [*ids, end] if finished else ids:
        total += model.table[source, model.code(prefix), word]
        prefix.append(word)
    return total


def ranking(model, source, end, length):
    """Every possible (score, ids, finished), best first."""
    scored = [
        (table_score(model, source, ids, done, end), ids, done) for ids, done in sequences(model.words, end, length)
    ]
    return sorted((entry for entry in scored if entry[0] > -math.inf), key=lambda entry: -entry[0])


def teacher_forced(model, source, mask, decoded):
    """[(log-probability, alignment)] of sequences (ids, finished) of one source, from one forward pass over them."""
    targets = [ids + [EOS] * finished for ids, finished in decoded]
    longest = max(map(len, targets))
    padded = np.array([target + [EOS] * (longest - len(target)) for target in targets])
    previous = np.concatenate([np.full((len(targets), 1), BOS), padded[:, :-1]], 1)
    batch = np.repeat(source, len(targets), 0), previous, np.repeat(mask, len(targets), 0)
    logits, attention = model(*batch, return_attention=True)
    if isinstance(model, Transformer):
        alignment = ma.mean(attention[f"decoder.{model.config.layers - 1}.cross_attention"], axis=1)
    else:
        alignment = attention.get("attention", ma.tensor(np.ones((*previous.shape, 1))))
    log_p = ma.log_softmax(logits).data
    return [
        (sum(log_p[k, i, word] for i, word in enumerate(target)), alignment.data[k, : len(target)])
        for k, target in enumerate(targets)
    ]


def some_sources(seed=0, batch=3, time=4):
    rng = np.random.default_rng(seed)
    mask = np.arange(time) < rng.integers(1, time + 1, batch)[:, None]
    return rng.integers(0, SIZES["source_vocab_size"], (batch, time)), mask


# ---------------------------------------------------------------------------------------------- identities
@given(tables())
def test_a_beam_of_one_is_greedy_on_a_table(drawn):
    model, end, length = drawn
    found = model.search(greedy_search, [0, 1, 2], BOS, end, length)
    for source, hypothesis in enumerate(found):
        ids = []
        while len(ids) < length and (not ids or ids[-1] != end):
            ids.append(int(np.argmax(model.table[source, model.code(ids)])))
        finished = ids[-1] == end
        assert hypothesis.ids == (ids[:-1] if finished else ids)
        assert hypothesis.finished == finished
    for hypothesis, (same, *others) in zip(
        found, model.search(beam_search, [0, 1, 2], 1, BOS, end, length), strict=True
    ):
        assert (hypothesis.ids, hypothesis.log_probability) == (same.ids, same.log_probability)
        assert not others


@KINDS
@given(seed=SEEDS)
def test_a_beam_of_one_is_greedy_on_the_model(attention, seed):
    model, (sources, masks) = random_model(seed, np.float64, attention=attention, biases=True), some_sources(seed)
    found = greedy_search(model, model.encode(sources, masks), BOS, EOS, 4)
    for b, hypothesis in enumerate(found):
        source, mask = sources[b : b + 1], masks[b : b + 1]
        ids, total = [], 0.0
        while len(ids) < 4 and EOS not in ids:
            logits = model(source, np.array([[BOS, *ids]]), mask).data[0, -1]
            ids.append(int(logits.argmax()))
            total += logits[ids[-1]] - np.log(np.exp(logits).sum())
        assert hypothesis.ids == [word for word in ids if word != EOS]
        assert hypothesis.log_probability == pytest.approx(total, rel=1e-10)


@given(tables(), st.integers(0, 3))
def test_a_beam_of_every_sequence_finds_them_all_in_order(drawn, more):
    model, end, length = drawn
    beam = len(list(sequences(model.words, end, length))) + more
    for source, found in enumerate(model.search(beam_search, [0, 1, 2], beam, BOS, end, length)):
        expected = ranking(model, source, end, length)
        assert [(h.ids, h.finished) for h in found] == [(ids, finished) for _, ids, finished in expected]
        np.testing.assert_allclose([h.log_probability for h in found], [score for score, *_ in expected])


@KINDS
@given(seed=SEEDS)
def test_a_beam_of_every_sequence_is_exhaustive_on_the_model(attention, seed):
    model = random_model(seed, np.float64, attention=attention, biases=True, target_vocab_size=3)
    sources, masks = some_sources(seed, batch=1)
    every = list(sequences(3, EOS, 3))
    found = beam_search(model, model.encode(sources, masks), len(every), BOS, EOS, 3)[0]
    scores = [score for score, _ in teacher_forced(model, sources, masks, every)]
    assert [(h.ids, h.finished) for h in found] == [every[k] for k in np.argsort(scores)[::-1]]
    np.testing.assert_allclose([h.log_probability for h in found], sorted(scores, reverse=True), rtol=1e-10)


# ---------------------------------------------------------------------------------------------- scores
@KINDS
@given(seed=SEEDS, beam=st.integers(1, 6), readout=st.sampled_from(["previous", "current"]))
def test_scores_and_alignments_are_the_models_own(attention, seed, beam, readout):
    model = random_model(seed, np.float64, attention=attention, biases=True, readout=readout)
    sources, masks = some_sources(seed)
    for b, found in enumerate(beam_search(model, model.encode(sources, masks), beam, BOS, EOS, 4)):
        assert len(found) == beam
        forced = teacher_forced(model, sources[[b]], masks[[b]], [(h.ids, h.finished) for h in found])
        for hypothesis, (total, alignment) in zip(found, forced, strict=True):
            assert hypothesis.log_probability == pytest.approx(total, rel=1e-10)
            assert hypothesis.alignment.shape == alignment.shape
            np.testing.assert_allclose(hypothesis.alignment, alignment, rtol=1e-9, atol=1e-12)


@given(tables(), st.integers(1, 8))
def test_what_is_found_is_sorted_distinct_and_truly_scored(drawn, beam):
    model, end, length = drawn
    for source, found in enumerate(model.search(beam_search, [0, 1, 2], beam, BOS, end, length)):
        scores = [h.log_probability for h in found]
        assert scores == sorted(scores, reverse=True)
        assert len({(*h.ids, h.finished) for h in found}) == len(found) <= beam
        for h in found:
            assert h.log_probability == pytest.approx(table_score(model, source, h.ids, h.finished, end), rel=1e-12)
            prefixes = [h.ids[:i] for i in range(len(h.ids) + h.finished)]
            assert h.alignment.tolist() == [[source, model.code(prefix)] for prefix in prefixes]


@given(tables())
def test_no_beam_beats_the_full_one(drawn):
    model, end, length = drawn
    full = len(list(sequences(model.words, end, length)))
    best = [ranking(model, source, end, length)[0][0] for source in range(3)]
    for beam in range(1, full + 3):
        scores = [found[0].log_probability for found in model.search(beam_search, [0, 1, 2], beam, BOS, end, length)]
        if beam >= full:
            np.testing.assert_allclose(scores, best, rtol=1e-12)
        assert all(score <= top + 1e-12 for score, top in zip(scores, best, strict=True))


@given(tables(levels=2), st.integers(1, 30))
def test_ties_are_kept_apart_and_broken_the_same_way_every_time(drawn, beam):
    model, end, length = drawn
    first, second = (model.search(beam_search, [0, 1, 2], beam, BOS, end, length) for _ in range(2))
    for source, (found, again) in enumerate(zip(first, second, strict=True)):
        assert [(h.ids, h.log_probability) for h in found] == [(h.ids, h.log_probability) for h in again]
        assert len({(*h.ids, h.finished) for h in found}) == len(found)
        expected = [score for score, *_ in ranking(model, source, end, length)]
        if beam >= len(expected):
            assert [h.log_probability for h in found] == expected


def test_of_two_equal_words_the_first_is_taken():
    model = TableModel(np.full((1, 15, 3), -1.0))
    found = model.search(beam_search, [0], 4, BOS, 2, 1)[0]
    assert [h.ids for h in found] == [[0], [1], []]
    assert [h.finished for h in found] == [False, False, True]


@given(tables(impossible=0.4), st.integers(1, 30))
def test_what_is_impossible_is_never_returned(drawn, beam):
    model, end, length = drawn
    for source, found in enumerate(model.search(beam_search, [0, 1, 2], beam, BOS, end, length)):
        possible = ranking(model, source, end, length)
        assert all(h.log_probability > -math.inf for h in found)
        assert 1 <= len(found) <= min(beam, len(possible))
        if beam >= len(list(sequences(model.words, end, length))):
            assert len(found) == len(possible)


# ---------------------------------------------------------------------------------------------- length penalty
def search_by_hand(model, source, beam, end, length, alpha):
    """Beam search of one source in plain lists: [(ids, finished, log-probability)], best first."""
    hypotheses = [([], False, 0.0)]
    for _ in range(length):
        found = []
        for ids, finished, log_p in hypotheses:
            for word, more in enumerate(model.table[source, model.code(ids)] if not finished else []):
                found.append((ids if word == end else [*ids, word], word == end, log_p + more))
            if finished:
                found.append((ids, True, log_p))
        possible = [entry for entry in found if entry[2] > -math.inf]
        hypotheses = sorted(possible, key=lambda entry: -entry[2] / penalty(*entry[:2], alpha))[:beam]
    return hypotheses


@given(tables(), st.integers(1, 8), ALPHAS)
def test_search_is_as_by_hand_with_any_length_penalty(drawn, beam, alpha):
    model, end, length = drawn
    for source, found in enumerate(model.search(beam_search, [0, 1, 2], beam, BOS, end, length, alpha)):
        expected = search_by_hand(model, source, beam, end, length, alpha)
        assert [(h.ids, h.finished) for h in found] == [(ids, finished) for ids, finished, _ in expected]
        for h, (_, _, log_p) in zip(found, expected, strict=True):
            assert h.log_probability == pytest.approx(log_p, rel=1e-12)
            assert h.score == pytest.approx(log_p / penalty(h.ids, h.finished, alpha), rel=1e-12)


@given(tables(), ALPHAS)
def test_a_beam_of_every_sequence_ranks_them_all_by_score(drawn, alpha):
    model, end, length = drawn
    every = len(list(sequences(model.words, end, length)))
    for source, found in enumerate(model.search(beam_search, [0, 1, 2], every, BOS, end, length, alpha)):
        scores = [log_p / penalty(ids, done, alpha) for log_p, ids, done in ranking(model, source, end, length)]
        np.testing.assert_allclose([h.score for h in found], sorted(scores, reverse=True))


@given(tables(), st.integers(1, 8))
def test_without_a_penalty_the_score_is_the_log_probability(drawn, beam):
    model, end, length = drawn
    for found in model.search(beam_search, [0, 1, 2], beam, BOS, end, length):
        assert [h.score for h in found] == [h.log_probability for h in found]


def test_the_penalty_lets_a_longer_sequence_win():
    """Ended at once: log 0.5.  Ended after three words more: log 0.4, but of four symbols, (9 / 6)^1 = 1.5 times."""
    model = chain([0.5, 0.5], [1.0, 1e-9], [1.0, 1e-9], [0.2, 0.8])
    for alpha, ids in ((0.0, []), (1.0, [0, 0, 0])):
        best = model.search(beam_search, [0], 3, BOS, EOS, 4, alpha)[0][0]
        assert (best.ids, best.finished) == (ids, True)
    assert best.log_probability == pytest.approx(math.log(0.4))
    assert best.score == pytest.approx(math.log(0.4) / 1.5)


# ---------------------------------------------------------------------------------------------- the Transformer
@given(seed=SEEDS, norm=st.sampled_from(["post", "pre"]), alpha=ALPHAS)
def test_a_beam_of_every_sequence_is_exhaustive_on_the_transformer(seed, norm, alpha):
    model = random_transformer(seed, np.float64, norm=norm, target_vocab_size=3)
    sources, masks = some_sources(seed, batch=1)
    every = list(sequences(3, EOS, 3))
    found = beam_search(model, model.encode(sources, masks), len(every), BOS, EOS, 3, alpha)[0]
    forced = teacher_forced(model, sources, masks, every)
    scores = [log_p / penalty(*h, alpha) for h, (log_p, _) in zip(every, forced, strict=True)]
    np.testing.assert_allclose([h.score for h in found], sorted(scores, reverse=True), rtol=1e-7)


@given(seed=SEEDS, beam=st.integers(1, 5))
def test_scores_and_alignments_are_the_transformers_own_in_a_batch_too(seed, beam):
    model, (sources, masks) = random_transformer(seed, np.float64), some_sources(seed)
    for b, found in enumerate(beam_search(model, model.encode(sources, masks), beam, BOS, EOS, 4)):
        assert len(found) == beam
        forced = teacher_forced(model, sources[[b]], masks[[b]], [(h.ids, h.finished) for h in found])
        for hypothesis, (total, alignment) in zip(found, forced, strict=True):
            assert hypothesis.log_probability == pytest.approx(total, rel=1e-7)
            np.testing.assert_allclose(hypothesis.alignment, alignment, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("model", [random_model(), random_transformer()], ids=["RNNsearch", "Transformer"])
def test_what_models_read_is_what_search_needs(model):
    read = model.encode(*some_sources())
    assert isinstance(read, Source)
    assert read.batch == 3
    assert read.select(np.array([1, 1])).batch == 2


# ---------------------------------------------------------------------------------------------- the end
def chain(*rows):
    """A table of one source in which the words of a row are the probabilities after any prefix of that length."""
    rows, words = np.log(np.array(rows)), len(rows[0])
    return TableModel(np.concatenate([np.repeat(row[None], words**k, 0) for k, row in enumerate(rows)])[None])


def test_a_finished_sequence_stays_while_longer_ones_grow():
    """Ended at once: 0.4.  The best longer one: 0.6 x 0.9 x 0.9 = 0.486, after a step that looked worse."""
    model = chain([0.6, 0.4], [0.9, 0.1], [0.9, 0.1])
    first, second = model.search(beam_search, [0], 2, BOS, EOS, 3)[0]
    assert (first.ids, first.finished) == ([0, 0, 0], False)
    assert first.log_probability == pytest.approx(math.log(0.6 * 0.9 * 0.9))
    assert (second.ids, second.finished) == ([], True)
    assert second.log_probability == pytest.approx(math.log(0.4))
    assert second.alignment.shape == (1, 2)


def test_a_finished_sequence_wins_over_longer_ones_that_fall_below():
    found = chain([0.6, 0.4], [0.45, 0.55], [0.5, 0.5]).search(beam_search, [0], 2, BOS, EOS, 3)[0]
    assert [(h.ids, h.finished) for h in found] == [([], True), ([0], True)]


def test_the_end_symbol_takes_no_step_beyond_max_length():
    model = chain([0.5, 0.5], [0.2, 0.8], [0.5, 0.5])
    for length, ids, finished in ((1, [0], False), (2, [0], True), (3, [0], True)):
        best = model.search(greedy_search, [0], BOS, EOS, length)[0]
        assert (best.ids, best.finished) == (ids, finished)
        assert len(best.alignment) == min(length, 2)


def test_search_stops_when_all_are_finished():
    class Counting(TableModel):
        steps = 0

        def step(self, *args):
            self.steps += 1
            return super().step(*args)

    model = Counting(chain([0.9, 0.1], [0.1, 0.9], [0.5, 0.5], [0.5, 0.5]).table)
    model.search(greedy_search, [0], BOS, EOS, 50)
    assert model.steps == 2


@KINDS
@given(seed=SEEDS, beam=st.integers(1, 5))
def test_a_batch_of_different_lengths_is_one_by_one(attention, seed, beam):
    model, (sources, masks) = random_model(seed, np.float64, attention=attention, biases=True), some_sources(seed)
    together = beam_search(model, model.encode(sources, masks), beam, BOS, EOS, 5)
    for source, mask, found in zip(sources, masks, together, strict=True):
        alone = beam_search(model, model.encode(source[mask][None]), beam, BOS, EOS, 5)[0]
        assert [(h.ids, h.finished) for h in found] == [(h.ids, h.finished) for h in alone]
        for h, expected in zip(found, alone, strict=True):
            assert h.log_probability == pytest.approx(expected.log_probability, rel=1e-10)
            attended = h.alignment[:, : mask.sum()] if attention else h.alignment
            np.testing.assert_allclose(attended, expected.alignment, rtol=1e-9, atol=1e-12)


def test_nothing_is_recorded():
    class Watched(TableModel):
        def step(self, state, previous, source):
            weight = ma.tensor([0.0], requires_grad=True)
            state, log_p, weights = super().step(state, previous, source)
            assert not (log_p + weight).requires_grad
            return state, log_p + weight, weights

    Watched(chain([0.5, 0.5], [0.5, 0.5]).table).search(greedy_search, [0], BOS, EOS, 2)


# ---------------------------------------------------------------------------------------------- errors
@pytest.mark.parametrize(
    ("beam", "bos", "eos", "max_length", "message"),
    [
        (0, 0, 1, 5, "beam and max_length must be at least 1, got 0 and 5"),
        (2, 0, 1, 0, "beam and max_length must be at least 1, got 2 and 0"),
        (2, 0, 5, 5, "eos must be an id of the model's vocabulary, 0 to 4, got 5"),
        (2, 0, -1, 5, "eos must be an id of the model's vocabulary, 0 to 4, got -1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(beam, bos, eos, max_length, message):
    model = random_model()
    with pytest.raises(ConfigError, match=message):
        beam_search(model, model.encode(*some_sources()), beam, bos, eos, max_length)


@pytest.mark.parametrize("alpha", [-0.1, math.inf, math.nan])
def test_a_length_penalty_that_makes_no_sense_is_refused(alpha):
    model = random_model()
    with pytest.raises(ConfigError, match=f"alpha, of the length penalty, must be at least 0, got {alpha}"):
        beam_search(model, model.encode(*some_sources()), 2, BOS, EOS, 3, alpha)


def test_a_bos_that_does_not_exist_is_refused():
    model = random_model()
    with pytest.raises(IndexError, match="id 9 is out of range for 5"):
        beam_search(model, model.encode(*some_sources()), 2, 9, EOS, 3)


def test_a_model_that_gives_no_numbers_is_refused():
    model = random_model()
    model.decoder.W_s.data = np.full_like(model.decoder.W_s.data, np.nan)
    with pytest.raises(TrainingError, match="not numbers"):
        greedy_search(model, model.encode(*some_sources()), BOS, EOS, 3)


def test_no_source_has_no_sequence():
    model = random_transformer()
    read = model.encode(np.ones((1, 2), int))
    assert beam_search(model, read.select(np.arange(0)), 3, 1, 2, 5) == []
