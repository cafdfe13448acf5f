"""Soft visual attention against the paper's loops, and the identities it must have."""

import captions_by_hand
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minattn as ma
from minattn.attention.sequence import VisualAttention, doubly_stochastic_penalty, hard_weights
from minattn.attention.sequence.visual import gated_context
from minattn.errors import ConfigError
from minattn.testing import check_gradients, strategies

SEEDS = st.integers(0, 2**32 - 1)


def random_attention(n, d, layers=1, gate=True, seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    attention = VisualAttention(n, d, rng, layers, gate)
    for parameter in attention.parameters():
        parameter.replace_data(rng.normal(scale=0.7, size=parameter.shape).astype(dtype))
    return attention


@st.composite
def problems(draw, dtype=None, least_locations=1):
    """(attention, state, annotations): the layer with every weight random, and what it is given."""
    batch, n, d, layers = (draw(st.integers(1, 3)) for _ in range(4))
    locations = draw(st.integers(least_locations, 4))
    dtype = draw(st.sampled_from(strategies.DTYPES)) if dtype is None else dtype
    attention = random_attention(n, d, layers, draw(st.booleans()), draw(SEEDS), dtype)
    shapes = (batch, n), (batch, locations, d)
    state, annotations = (ma.tensor(draw(strategies.arrays(shape, dtype, plain=True))) for shape in shapes)
    return attention, state, annotations


def weights_strategy(least_words=1):
    """alpha (captions, words, locations)."""

    @st.composite
    def drawn(draw):
        shape = draw(st.integers(1, 3)), draw(st.integers(least_words, 4)), draw(st.integers(1, 4))
        return np.random.default_rng(draw(SEEDS)).dirichlet(np.ones(shape[2]), shape[:2])

    return drawn()


# ---------------------------------------------------------------------------------------------- the equations
@given(problems())
def test_the_layer_is_the_papers_loops(problem):
    attention, state, annotations = problem
    context, weights = attention(state, annotations)
    assert context.dtype == weights.dtype == state.dtype
    tolerance = {"rtol": 1e-4, "atol": 1e-5} if state.dtype == np.float32 else {"rtol": 1e-10, "atol": 1e-12}
    for b, h in enumerate(state.data.tolist()):
        a = annotations.data[b].tolist()
        expected = captions_by_hand.weights_of(attention, h, a)
        np.testing.assert_allclose(weights.data[b], expected, **tolerance)
        z = captions_by_hand.context_of(expected, a, captions_by_hand.beta(attention, h))
        np.testing.assert_allclose(context.data[b], z, **tolerance)


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("gate", [True, False])
def test_gradients(layers, gate):
    attention, rng = random_attention(3, 2, layers, gate), np.random.default_rng(1)
    state, annotations = rng.normal(size=(2, 3)), rng.normal(size=(2, 4, 2))
    parameters = attention.named_parameters()
    check_gradients(attention, state, annotations, parameters=parameters, method="complex")


@given(weights_strategy())
def test_the_penalty_is_the_papers_loops(weights):
    expected = np.mean([captions_by_hand.doubly_stochastic_penalty(one.tolist()) for one in weights])
    np.testing.assert_allclose(doubly_stochastic_penalty(ma.tensor(weights)).item(), expected, rtol=1e-12)


def test_gradients_of_the_penalty():
    weights, mask = np.random.default_rng(0).dirichlet(np.ones(4), (2, 3)), np.array([[True] * 3, [True, False, False]])
    check_gradients(lambda x: doubly_stochastic_penalty(x, mask), weights, method="complex")


# ---------------------------------------------------------------------------------------------- identities
@given(problems(np.float64))
def test_soft_context_is_the_expectation_of_the_hard_one(problem):
    attention, state, annotations = problem
    context, weights = attention(state, annotations)
    gate, locations = attention.gate(state), annotations.shape[1]
    expectation = 0.0
    for i in range(locations):
        one_hot = ma.tensor(np.broadcast_to(np.eye(locations)[i], weights.shape))
        expectation = expectation + weights.data[:, i, None] * gated_context(one_hot, annotations, gate).data
    np.testing.assert_allclose(context.data, expectation, rtol=1e-10, atol=1e-12)


@given(problems(np.float64), st.randoms(use_true_random=False))
def test_the_order_of_the_locations_changes_neither_context_nor_gradient(problem, random):
    attention, state, annotations = problem
    order = list(range(annotations.shape[1]))
    random.shuffle(order)

    def context_and_gradients(a):
        for parameter in attention.parameters():
            parameter.grad = None
        context, _ = attention(state, a)
        ma.sum(context * np.arange(1, context.size + 1).reshape(context.shape)).backward()
        return [context.data, *(p.grad for p in attention.parameters())]

    pairs = zip(context_and_gradients(annotations), context_and_gradients(annotations[:, order]), strict=True)
    for one, other in pairs:
        np.testing.assert_allclose(one, other, rtol=1e-8, atol=1e-10)


@given(problems(np.float64))
def test_a_closed_gate_takes_the_image_away(problem):
    attention, state, annotations = problem
    if attention.W_beta is None:
        return
    attention.W_beta.data, attention.b_beta.data = 0 * attention.W_beta.data, np.array([-1e3])
    context, _ = attention(state, annotations)
    assert not context.data.any()


@given(problems(np.float64, least_locations=2))
def test_large_energies_leave_the_annotation_of_the_largest(problem):
    """As the temperature goes to 0; locations whose energies are nearly the same share the weight, and are left out."""
    attention, state, annotations = problem
    _, before = attention(state, annotations)
    ordered = np.sort(np.log(before.data), axis=1)
    attention.U.data = 1e6 * attention.U.data
    context, _ = attention(state, annotations)
    gate = 1.0 if attention.W_beta is None else attention.gate(state).data
    expected = gate * annotations.data[np.arange(len(state)), before.data.argmax(1)]
    clear = ordered[:, -1] - ordered[:, -2] > 1e-4
    np.testing.assert_allclose(context.data[clear], expected[clear], rtol=1e-8, atol=1e-10)


@given(problems(np.float64), st.floats(-3, 3))
def test_a_bias_of_all_energies_moves_no_weight(problem, shift):
    attention, state, annotations = problem
    _, before = attention(state, annotations)
    attention.c.data = attention.c.data + shift
    _, after = attention(state, annotations)
    np.testing.assert_allclose(after.data, before.data, rtol=1e-9, atol=1e-12)


@given(st.integers(1, 5), SEEDS)
def test_the_penalty_is_zero_where_each_place_gets_one_in_all(locations, seed):
    """Which takes as many words as locations."""
    mixed = np.mean([np.eye(locations)[np.random.default_rng([seed, k]).permutation(locations)] for k in range(3)], 0)
    assert doubly_stochastic_penalty(ma.tensor(mixed[None])).item() == pytest.approx(0, abs=1e-20)


@given(weights_strategy())
def test_the_penalty_has_a_least_value(weights):
    _, words, locations = weights.shape
    least = locations * (1 - words / locations) ** 2
    assert doubly_stochastic_penalty(ma.tensor(weights)).item() >= least - 1e-9
    evenly = np.full_like(weights, 1 / locations)
    assert doubly_stochastic_penalty(ma.tensor(evenly)).item() == pytest.approx(least, abs=1e-12)


@given(weights_strategy(least_words=2), SEEDS)
def test_padding_is_looked_at_by_no_word(weights, seed):
    lengths = np.random.default_rng(seed).integers(1, weights.shape[1] + 1, len(weights))
    mask = np.arange(weights.shape[1]) < lengths[:, None]
    weights[~mask] = np.nan
    found = doubly_stochastic_penalty(ma.tensor(weights), mask).item()
    alone = [one[None, :n] for one, n in zip(weights, lengths, strict=True)]
    expected = np.mean([doubly_stochastic_penalty(ma.tensor(one)).item() for one in alone])
    assert found == pytest.approx(expected)


# ---------------------------------------------------------------------------------------------- semi-sampling
@given(weights_strategy(), SEEDS)
def test_locations_that_are_not_sampled_are_the_weights_and_those_that_are_are_one_hot(weights, seed):
    rng = np.random.default_rng(seed)
    draws, sampled = rng.random(weights.shape[:2]), rng.random(weights.shape[:2]) < 0.5
    locations = hard_weights(ma.tensor(weights), draws, sampled).data
    np.testing.assert_array_equal(locations[~sampled], weights[~sampled])
    for row, weight, draw in zip(locations[sampled], weights[sampled], draws[sampled], strict=True):
        assert row.tolist() == captions_by_hand.drawn(weight.tolist(), draw)


def test_locations_are_drawn_as_often_as_their_weights_say():
    weights = np.array([0.5, 0.3, 0.15, 0.05])
    count = 20_000
    draws = np.random.default_rng(0).random(count)
    tensor = ma.tensor(np.broadcast_to(weights, (count, 4)))
    shares = hard_weights(tensor, draws, np.ones(count, bool)).data.mean(0)
    assert np.abs(shares - weights).max() < 4 * np.sqrt(0.25 / count)


def test_weights_that_sum_to_less_than_a_draw_still_give_a_place():
    weights = np.array([[0.3, 0.7 - 1e-7]], np.float32)
    locations = hard_weights(ma.tensor(weights), np.array([1 - 1e-16]), np.array([True])).data
    assert locations.tolist() == [[0.0, 1.0]]


# ---------------------------------------------------------------------------------------------- what is refused
@pytest.mark.parametrize("wrong", [{"state": 0}, {"annotation": 0}, {"layers": 0}])
def test_sizes_below_one_are_refused(wrong):
    sizes = {"state": 2, "annotation": 3, "layers": 1, **wrong}
    with pytest.raises(ConfigError, match=f"{next(iter(wrong))} must be a whole number of at least 1"):
        VisualAttention(**sizes, rng=np.random.default_rng(0))
