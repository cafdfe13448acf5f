"""Hard visual attention: what is maximized, its gradient by enumeration of every sequence of locations, and the
learning rule, whose mean that is.

The network is the decoder of captions with L = 4 locations and C = 3 words, so that there are 64 sequences.
"""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minattn as ma
from minattn.attention.sequence import HardAttentionLoss, hard_loss, hard_weights
from minattn.attention.sequence.visual_hard import entropy, log_probability
from minattn.autograd import ops
from minattn.models import ShowAttendTell, ShowAttendTellConfig
from minattn.models.captions.show_attend_tell import Draws
from minattn.testing import check_gradients

SEEDS = st.integers(0, 2**32 - 1)
LOCATIONS, WORDS, VOCABULARY = 4, 3, 6
SEQUENCES = np.array(list(itertools.product(range(LOCATIONS), repeat=WORDS)))


class Enumerated:
    """A random network, an image and a caption, and all sequences of locations as the captions of one batch.

    A draw in the middle of a location's weight draws that location; the weights of a word depend on the locations
    before it, so the draws are found word by word.
    """

    def __init__(self, seed):
        rng = np.random.default_rng(seed)
        config = ShowAttendTellConfig(
            vocab_size=VOCABULARY, annotation=3, embedding=2, hidden=3, attention="hard", dropout=0.0
        )
        self.model = ShowAttendTell(config, rng)
        for parameter in self.model.parameters():
            parameter.replace_data(rng.normal(scale=0.7, size=parameter.shape))
        self.image = ma.tensor(rng.normal(size=(1, LOCATIONS, 3)))
        self.words = rng.integers(1, VOCABULARY, WORDS + 1)
        draws = np.zeros(SEQUENCES.shape)
        with ma.no_grad():
            for t in range(WORDS):
                weights = self.run(draws, SEQUENCES)[1].data
                ends = np.cumsum(weights[:, t], 1)[np.arange(len(SEQUENCES)), SEQUENCES[:, t]]
                draws[:, t] = ends - weights[np.arange(len(SEQUENCES)), t, SEQUENCES[:, t]] / 2
        self.draws = draws

    def run(self, draws, sequences, sampled=True):
        """(log p(y_t | s, a), weights, locations) of each of the sequences."""
        count = len(sequences)
        image = ops.broadcast_to(self.image, (count, *self.image.shape[1:]))
        previous = np.broadcast_to(self.words[:-1], (count, WORDS))
        chance = Draws(draws, np.full(count, sampled))
        logits, attention = self.model(image, previous, chance, return_attention=True)
        log_p = ops.log_softmax(logits)[:, np.arange(WORDS), self.words[1:]]
        weights = attention["attention"]
        return log_p, weights, hard_weights(weights, draws, np.full(draws.shape, sampled))

    def gradient(self, loss):
        for parameter in self.model.parameters():
            parameter.grad = None
        loss.backward()
        grads = [p.grad if p.grad is not None else np.zeros(p.shape) for p in self.model.parameters()]
        return np.concatenate([g.ravel() for g in grads])

    def expected_log_p(self):
        """L_s = sum_s p(s | a) log p(y | s, a)."""
        log_p, weights, locations = self.run(self.draws, SEQUENCES)
        p_s = ops.exp(ops.sum(log_probability(locations, weights), axis=1))
        return ops.sum(p_s * ops.sum(log_p, axis=1))

    def rule(self, baseline, reward_weight=1.0, entropy_weight=0.0):
        """The learning rule of every sequence alone, a row each, and how likely each sequence is."""
        rows, log_p_s = [], []
        for draw, sequence in zip(self.draws, SEQUENCES, strict=True):
            log_p, weights, locations = self.run(draw[None], sequence[None])
            log_p_y, s = ops.sum(log_p, axis=1), ops.sum(log_probability(ma.tensor(locations.data), weights), axis=1)
            H = ops.sum(entropy(weights), axis=1)
            rows.append(-self.gradient(hard_loss(log_p_y, s, H, log_p_y.data, baseline, reward_weight, entropy_weight)))
            log_p_s.append(s.item())
        return np.array(rows), np.exp(log_p_s)


@pytest.fixture(scope="module")
def enumerated():
    return Enumerated(0)


# ---------------------------------------------------------------------------------------------- what is maximized
@pytest.mark.parametrize("seed", range(4))
def test_locations_are_those_of_the_sequences_and_their_probabilities_sum_to_one(seed):
    problem = Enumerated(seed)
    _, weights, locations = problem.run(problem.draws, SEQUENCES)
    np.testing.assert_array_equal(locations.data.argmax(-1), SEQUENCES)
    total = np.exp(ops.sum(log_probability(locations, weights), axis=1).data).sum()
    assert total == pytest.approx(1)


@pytest.mark.parametrize("seed", range(8))
def test_what_is_maximized_is_never_more_than_the_log_likelihood(seed):
    problem = Enumerated(seed)
    log_p, weights, locations = problem.run(problem.draws, SEQUENCES)
    p_s = np.exp(ops.sum(log_probability(locations, weights), axis=1).data)
    likelihood = np.log((p_s * np.exp(log_p.data.sum(1))).sum())
    assert problem.expected_log_p().item() <= likelihood + 1e-12


def test_it_is_the_log_likelihood_where_the_locations_do_not_matter(enumerated):
    problem = Enumerated(1)
    for parameter in (problem.model.W_z, problem.model.L_z.weight):
        parameter.data = np.zeros(parameter.shape)
    log_p = problem.run(problem.draws, SEQUENCES)[0].data.sum(1)
    assert problem.expected_log_p().item() == pytest.approx(log_p[0])


def test_it_is_the_log_likelihood_where_one_place_has_all_weight():
    problem = Enumerated(2)
    problem.model.attention.U.data = 1e6 * problem.model.attention.U.data
    draws = np.full((1, WORDS), 0.5)
    log_p, weights, _ = problem.run(draws, SEQUENCES[:1])
    assert weights.data.max(-1).min() > 1 - 1e-9
    soft, *_ = problem.run(draws, SEQUENCES[:1], sampled=False)
    np.testing.assert_allclose(log_p.data, soft.data, atol=1e-9)


# ---------------------------------------------------------------------------------------------- the learning rule
@pytest.mark.parametrize("baseline", [0.0, -3.0, 10.0])
def test_the_mean_of_the_rule_is_the_gradient_of_what_is_maximized(enumerated, baseline):
    """With any constant baseline: every sequence is enumerated, weighted by its probability."""
    exact = enumerated.gradient(enumerated.expected_log_p())
    rows, p_s = enumerated.rule(baseline)
    np.testing.assert_allclose(p_s @ rows, exact, rtol=1e-9, atol=1e-12)
    assert np.abs(exact).max() > 0.01


def test_samples_agree_with_the_enumeration_within_their_standard_error(enumerated):
    rows, p_s = enumerated.rule(-4.0)
    exact, count = p_s @ rows, 4000
    drawn = rows[np.random.default_rng(0).choice(len(rows), count, p=p_s / p_s.sum())]
    error = drawn.std(0) / np.sqrt(count)
    assert (np.abs(drawn.mean(0) - exact) <= 4.5 * error + 1e-12).all()


def test_the_entropy_enters_by_its_own_gradient(enumerated):
    without, _ = enumerated.rule(0.0)
    rows, _ = enumerated.rule(0.0, entropy_weight=0.3)
    for row, plain, draw, sequence in zip(rows[:5], without, enumerated.draws, SEQUENCES, strict=False):
        _, weights, _ = enumerated.run(draw[None], sequence[None])
        expected = enumerated.gradient(ops.sum(entropy(weights)))
        np.testing.assert_allclose(row - plain, 0.3 * expected, rtol=1e-8, atol=1e-11)


def test_the_weight_of_the_reward_scales_the_second_part_alone(enumerated):
    none, full, half = (enumerated.rule(1.0, weight)[0] for weight in (0.0, 1.0, 0.5))
    np.testing.assert_allclose(half - none, 0.5 * (full - none), rtol=1e-8, atol=1e-11)
    assert np.abs(full - none).max() > 0.01


def test_a_baseline_changes_the_variance_and_the_best_constant_is_the_known_one(enumerated):
    """Of the part of the rule that has the baseline, (log p - b) d log p(s)/dW: the variance is least for
    b = E[|d log p(s)|^2 log p] / E[|d log p(s)|^2], and less for the mean of log p than for 0."""
    log_p_y = enumerated.run(enumerated.draws, SEQUENCES)[0].data.sum(1)
    zero, one = (enumerated.rule(b)[0] for b in (0.0, 1.0))
    _, p_s = enumerated.rule(0.0)
    scores = zero - one  # d log p(s)/dW of every sequence

    def variance(b):
        rows = (log_p_y - b)[:, None] * scores
        return (p_s @ (rows - p_s @ rows) ** 2).sum()

    squares = (scores**2).sum(1)
    best = (p_s @ (squares * log_p_y)) / (p_s @ squares)
    assert variance(best) < min(variance(best - 0.1), variance(best + 0.1))
    assert variance(p_s @ log_p_y) < 0.2 * variance(0.0)


# ---------------------------------------------------------------------------------------------- entropy
@given(st.integers(1, 5), SEEDS)
def test_the_gradient_of_the_entropy_is_the_known_one(locations, seed):
    energies = ma.tensor(np.random.default_rng(seed).normal(size=(2, locations)), requires_grad=True)
    weights = ops.softmax(energies)
    H = entropy(weights)
    ops.sum(H).backward()
    expected = -weights.data * (np.log(weights.data) + H.data[:, None])
    np.testing.assert_allclose(energies.grad, expected, rtol=1e-9, atol=1e-12)


def test_a_weight_of_zero_adds_nothing_to_the_entropy():
    weights = ma.tensor(np.array([[1.0, 0.0]]), requires_grad=True)
    H = entropy(weights)
    H.backward(np.ones(1))
    assert H.data.tolist() == [0.0]
    assert np.isfinite(weights.grad).all()


# ---------------------------------------------------------------------------------------------- the loss of a batch
def some_batch(seed=0, captions=3):
    rng = np.random.default_rng(seed)
    log_p = ma.tensor(-rng.random((captions, WORDS)), requires_grad=True)
    weights = ma.tensor(rng.dirichlet(np.ones(LOCATIONS), (captions, WORDS)), requires_grad=True)
    sampled = np.array([True, False, True])
    locations = hard_weights(
        weights, rng.random((captions, WORDS)), np.broadcast_to(sampled[:, None], (captions, WORDS))
    )
    mask = np.array([[True] * 3, [True] * 3, [True, True, False]])
    return log_p, weights, locations, sampled, mask


@pytest.mark.parametrize("per_word", [True, False])
def test_the_baseline_moves_by_a_tenth_toward_the_rewards(per_word):
    loss, batch = HardAttentionLoss(per_word=per_word), some_batch()
    log_p, *_, mask = batch
    summed = (log_p.data * mask).sum(1)
    reward = np.mean(summed / mask.sum(1) if per_word else summed)
    loss(*batch)
    assert loss.baseline.item() == pytest.approx(0.1 * reward, rel=1e-6)
    loss(*batch)
    assert loss.baseline.item() == pytest.approx(0.9 * 0.1 * reward + 0.1 * reward, rel=1e-6)
    loss.eval()(*batch)
    assert loss.baseline.item() == pytest.approx(0.19 * reward, rel=1e-6)


def test_the_loss_is_the_rule_of_every_caption_with_the_baseline_of_before():
    log_p, weights, locations, sampled, mask = some_batch()
    module = HardAttentionLoss(reward_weight=0.5, entropy_weight=0.1)
    module.baseline.replace_data(np.array([-1.5]))
    expected = []
    for i in range(len(log_p)):
        words = np.flatnonzero(mask[i])
        total = log_p.data[i, words].sum()
        chosen = weights.data[i, words, locations.data[i, words].argmax(1)] if sampled[i] else np.ones(1)
        H = -(weights.data[i, words] * np.log(weights.data[i, words])).sum()
        expected.append(total + 0.5 * (total + 1.5) * np.log(chosen).sum() + 0.1 * H)
    assert module(log_p, weights, locations, sampled, mask).item() == pytest.approx(-np.mean(expected))


def test_padding_and_what_is_not_drawn_get_no_gradient_from_the_reward():
    log_p, weights, locations, sampled, mask = some_batch()
    module = HardAttentionLoss()
    module(log_p, weights, locations, sampled, mask).backward()
    assert not weights.grad[~sampled].any()
    assert not weights.grad[~mask].any()
    assert (weights.grad != 0).sum() == mask[sampled].sum()  # the drawn location of every word
    np.testing.assert_allclose(log_p.grad, mask / -3)


def test_gradients_of_the_loss_with_the_reward_held():
    log_p, weights, locations, sampled, mask = some_batch()
    real, reward = mask.astype(float), (log_p.data * mask).sum(1)

    def loss(log_p, weights):
        s = ops.sum(real * sampled[:, None] * log_probability(ma.tensor(locations.data), weights), axis=1)
        H = ops.sum(real * entropy(weights), axis=1)
        return hard_loss(ops.sum(real * log_p, axis=1), s, H, reward, -1.0, 0.5, 0.2)

    check_gradients(loss, log_p.data, weights.data, method="complex")


# ---------------------------------------------------------------------------------------------- what a mask hides
def test_what_the_mask_hides_may_hold_anything():
    rng = np.random.default_rng(0)
    weights = rng.dirichlet(np.ones(LOCATIONS), (2, WORDS))
    locations, log_p = np.eye(LOCATIONS)[rng.integers(LOCATIONS, size=(2, WORDS))], -rng.random((2, WORDS))
    mask, sampled = np.array([[True, True, False], [True, False, False]]), np.ones(2, bool)

    def results(log_p, weights):
        loss = HardAttentionLoss(0.5, 0.1)
        log_p, weights = ma.tensor(log_p, requires_grad=True), ma.tensor(weights, requires_grad=True)
        value = loss(log_p, weights, ma.tensor(locations), sampled, mask)
        value.backward()
        return value.item(), log_p.grad, weights.grad, loss.baseline.data

    hidden_p, hidden = np.where(mask, log_p, -np.inf), np.where(mask[:, :, None], weights, np.nan)
    for one, other in zip(results(log_p, weights), results(hidden_p, hidden), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_batch_without_captions_or_words_leaves_the_baseline():
    loss = HardAttentionLoss(per_word=True)
    loss.baseline.replace_data(np.array([-2.0], np.float32))
    none = [np.zeros((0, WORDS)), np.zeros((0, WORDS, LOCATIONS)), np.zeros((0, WORDS, LOCATIONS))]
    loss(*map(ma.tensor, none), np.ones(0, bool), np.ones((0, WORDS), bool))
    assert loss.baseline.data == -2
    words = [np.zeros((1, WORDS)), np.full((1, WORDS, LOCATIONS), 0.25), np.full((1, WORDS, LOCATIONS), 0.25)]
    assert np.isfinite(loss(*map(ma.tensor, words), np.ones(1, bool), np.zeros((1, WORDS), bool)).item())
    assert np.isfinite(loss.baseline.data).all()
