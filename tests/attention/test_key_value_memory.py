"""Key-value memory and its network against the paper's loops, and the identities that they must have."""

import inspect

import fakecupy
import memory_by_hand
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minattn as ma
from minattn.attention.memory import EndToEndMemory, KeyHashing, KeyValueMemory, key_value_hops
from minattn.autograd import asnumpy
from minattn.errors import ConfigError
from minattn.models import KeyValueNetwork, KeyValueNetworkConfig
from minattn.nn import initializers
from minattn.testing import check_gradients
from minattn.training import SGD

SEEDS = st.integers(0, 2**32 - 1)
FEATURES, SIZE = 8, 4
RULES = pytest.mark.parametrize("rule", ["paper", "coded"])


# ---------------------------------------------------------------------------------------------- what is drawn
def randomised(module, seed, dtype=np.float64):
    rng = np.random.default_rng(seed)
    for parameter in module.parameters():
        parameter.replace_data(rng.normal(scale=0.7, size=parameter.shape).astype(dtype))
    return module


def random_memory(seed=0, hops=2, rule="paper"):
    return randomised(KeyValueMemory(FEATURES, SIZE, hops, np.random.default_rng(seed), rule), seed)


def random_network(seed=0, dtype=np.float64, **settings):
    config = KeyValueNetworkConfig(**{"features": FEATURES, "size": SIZE, **settings})
    return randomised(KeyValueNetwork(config, np.random.default_rng(seed)), seed, dtype)


def random_slots(seed=0, batch=2, n=4):
    """(questions, keys, values, a mask), with bags that are not full."""
    rng = np.random.default_rng(seed)
    question, keys, values = (rng.integers(0, FEATURES, shape) for shape in ((batch, 3), (batch, n, 3), (batch, n, 2)))
    mask = np.arange(n) < rng.integers(1, n + 1, batch)[:, None]
    return question, keys, values, mask


def run(module, question, keys, values, mask=None):
    q, weights = module(module.question(question), keys, values, mask)
    return q.numpy(), weights.numpy()


# ---------------------------------------------------------------------------------------------- the paper's loops
@RULES
@given(hops=st.integers(1, 3), masked=st.booleans(), seed=SEEDS)
def test_hops_are_those_of_the_papers_loops(rule, hops, masked, seed):
    module, (question, keys, values, mask) = random_memory(seed, hops, rule), random_slots(seed)
    assert len(module.R) == (hops if rule == "paper" else hops - 1)
    q, weights = run(module, question, keys, values, mask if masked else None)
    for b, n in enumerate(mask.sum(1) if masked else [4, 4]):
        expected, ps = memory_by_hand.key_value(module, question[b], keys[b, :n].tolist(), values[b, :n].tolist())
        np.testing.assert_allclose(q[b], expected, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(weights[b, :, :n], ps, rtol=1e-9, atol=1e-9)
        assert not weights[b, :, n:].any()


@given(st.booleans(), SEEDS)
def test_the_network_scores_candidates_by_the_sums_of_their_words(tied, seed):
    model, (question, keys, values, mask) = random_network(seed, tied=tied), random_slots(seed)
    candidates = np.random.default_rng(seed).integers(0, FEATURES, (5, 2))
    logits, attention = model(question, keys, values, candidates, mask, return_attention=True)
    q, weights = run(model.memory, question, keys, values, mask)
    B = (model.memory.A if tied else model.B).data.tolist()
    for b in range(2):
        for i, words in enumerate(candidates.tolist()):
            answer = memory_by_hand.sentence(B, words, "bag", 0)
            assert logits.data[b, i] == pytest.approx(sum(q[b, k] * answer[k] for k in range(SIZE)), rel=1e-8, abs=1e-8)
    np.testing.assert_array_equal(attention["memory"].data, weights)


@RULES
@pytest.mark.parametrize("tied", [True, False])
def test_gradients_of_every_parameter(rule, tied):
    model, (question, keys, values, mask) = random_network(1, rule=rule, tied=tied), random_slots(1)
    candidates = np.array([[1, 2], [3, 0], [4, 5]])
    check_gradients(
        lambda: ma.cross_entropy(model(question, keys, values, candidates, mask), np.array([2, 0])),
        parameters=model.named_parameters(),
        method="complex",
    )


# ---------------------------------------------------------------------------------------------- identities
@given(st.integers(1, 3), SEEDS)
def test_with_equal_keys_and_values_and_without_rotation_it_is_an_end_to_end_memory(hops, seed):
    """One with A = C and the identity in place of H."""
    module, (question, keys, _, mask) = random_memory(seed, hops), random_slots(seed)
    for R in module.R:
        R.replace_data(np.eye(SIZE))
    other = EndToEndMemory(FEATURES, SIZE, hops, np.random.default_rng(0), 3, 0, "layer-wise", "bag")
    for table in other.embedding.words:
        table.replace_data(module.A.data.copy())
    other.H.replace_data(np.eye(SIZE))
    expected, ps = other(module.question(question), keys, mask)
    q, weights = run(module, question, keys, keys, mask)
    np.testing.assert_allclose(q, expected.data, rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(weights, ps.data, rtol=1e-9, atol=1e-10)


@given(SEEDS)
def test_a_single_slot_is_read_whatever_is_asked(seed):
    q, keys, values = np.random.default_rng(seed).normal(size=(3, 2, 1, SIZE))
    for question in (q[:, 0], -3 * q[:, 0]):
        out, weights = key_value_hops(ma.tensor(question), ma.tensor(keys), ma.tensor(values), [None])
        np.testing.assert_allclose(out.data - question, values[:, 0], rtol=1e-12, atol=1e-12)
        assert (weights.data == 1).all()


@given(SEEDS)
def test_slots_that_are_masked_change_nothing(seed):
    module, (question, keys, values, mask) = random_memory(seed), random_slots(seed)
    rng = np.random.default_rng(seed + 1)
    others = [np.where(mask[:, :, None], x, rng.integers(0, FEATURES, x.shape)) for x in (keys, values)]
    found, expected = run(module, question, *others, mask), run(module, question, keys, values, mask)
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[1], expected[1])


@pytest.mark.parametrize("anything", [np.nan, np.inf])
def test_masked_slots_may_hold_anything(anything):
    q, keys, values = np.random.default_rng(0).normal(size=(3, 2, 4, SIZE))
    mask = np.array([[True, True, False, False], [True, True, True, True]])
    expected, _ = key_value_hops(ma.tensor(q[:, 0]), ma.tensor(keys), ma.tensor(values), [None, None], (), mask)
    keys[~mask], values[~mask] = anything, anything
    found, _ = key_value_hops(ma.tensor(q[:, 0]), ma.tensor(keys), ma.tensor(values), [None, None], (), mask)
    np.testing.assert_array_equal(found.data, expected.data)


@given(st.floats(-3, 3), SEEDS)
def test_the_next_question_is_linear_in_the_rotation(factor, seed):
    module, (question, keys, values, mask) = random_memory(seed, hops=1), random_slots(seed)
    before, _ = run(module, question, keys, values, mask)
    module.R[0].replace_data(factor * module.R[0].data)
    np.testing.assert_allclose(run(module, question, keys, values, mask)[0], factor * before, rtol=1e-9, atol=1e-10)


@given(SEEDS)
def test_values_of_masked_slots_get_no_gradient_and_keys_of_the_others_do(seed):
    rng = np.random.default_rng(seed)
    q, keys, values = (ma.tensor(x, requires_grad=True) for x in rng.normal(size=(3, 2, 4, SIZE)))
    mask = np.array([[True, True, False, False], [False, True, True, True]])
    out, _ = key_value_hops(q[:, 0], keys, values, [None], (), mask)
    (out * rng.normal(size=out.shape)).sum().backward()
    assert not values.grad[~mask].any()
    assert not keys.grad[~mask].any()
    assert (np.abs(values.grad[mask]).sum(-1) > 0).all()
    assert (np.abs(keys.grad[mask]).sum(-1) > 0).all()


@given(SEEDS)
def test_a_reversed_fact_and_a_question_for_its_subject_are_the_fact_and_one_for_its_object_under_other_names(seed):
    subject, relation, reverse, obj, other = 1, 2, 3, 4, 5
    module = random_memory(seed, hops=1)
    swapped = random_memory(seed, hops=1)
    order = np.arange(FEATURES)
    order[[subject, obj]], order[[relation, reverse]] = [obj, subject], [reverse, relation]
    swapped.A.replace_data(module.A.data[order])
    ask = (
        np.array([[subject, relation]]),
        np.array([[[subject, relation], [other, relation]]]),
        np.array([[[obj], [other]]]),
    )
    back = np.array([[obj, reverse]]), np.array([[[obj, reverse], [other, reverse]]]), np.array([[[subject], [other]]])
    for found, expected in zip(run(swapped, *back), run(module, *ask), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-10)


@given(SEEDS)
def test_with_one_hot_values_candidates_are_ranked_by_the_weights_of_their_slots(seed):
    """Answers that the question and the keys share nothing with, one slot each and one twice."""
    rng = np.random.default_rng(seed)
    A = np.zeros((FEATURES, 8))
    A[1:5, :4], A[5:8, 4:7] = rng.normal(size=(4, 4)), np.eye(3)
    model = random_network(seed, size=8, hops=1, rule="coded")
    model.memory.A.replace_data(A)
    keys, values = np.array([[[1], [2], [3], [4]]]), np.array([[[5], [6], [7], [6]]])
    logits, attention = model(np.array([[1, 2]]), keys, values, np.array([[5], [6], [7]]), return_attention=True)
    p = attention["memory"].data[0, 0]
    np.testing.assert_allclose(logits.data[0], [p[0], p[1] + p[3], p[2]], rtol=1e-9)


# ---------------------------------------------------------------------------------------------- hashing
def test_slots_share_a_word_with_the_question_that_is_not_too_frequent():
    hashing = KeyHashing([[1, 2], [2, 3], [3, 2, 3], [4], [2]], frequent=4)
    assert hashing.slots([2]).tolist() == []  # in four keys
    assert hashing.slots([9]).tolist() == []
    assert hashing.slots([1, 2]).tolist() == [0]
    assert hashing.slots([4, 3]).tolist() == [3, 1, 2]  # the rarer word first
    assert hashing.slots([4, 3], most=2).tolist() == [3, 1]
    assert KeyHashing([[1, 2], [2], [1, 2]]).slots([2, 1]).tolist() == [0, 2, 1]  # two words before one


@given(st.lists(st.lists(st.integers(1, 6), min_size=1, max_size=4), max_size=8), st.lists(st.integers(1, 6)))
def test_hashing_finds_every_slot_that_shares_a_rare_word_and_no_other(keys, question):
    frequent = 3
    count = {word: sum(word in key for key in keys) for word in range(1, 7)}
    expected = [i for i, key in enumerate(keys) if any(w in key and count[w] < frequent for w in question)]
    assert sorted(KeyHashing(keys, frequent).slots(question)) == expected


# ---------------------------------------------------------------------------------------------- sizes and devices
@pytest.mark.parametrize(
    ("settings", "count"),
    [
        ({}, 37_771_000 + 500_000),
        ({"features": 2 * 75_542}, 2 * 37_771_000 + 500_000),
        ({"tied": False}, 2 * 37_771_000 + 500_000),
        ({"rule": "coded"}, 37_771_000 + 250_000 + 500),
    ],
)
def test_sizes_of_the_network(settings, count):
    """d D + H d^2; centers double D, and the authors' code has one rotation less, and biases."""
    with initializers.unallocated():
        model = KeyValueNetwork(KeyValueNetworkConfig(**settings), np.random.default_rng(0))
    assert model.count_parameters() == count


def test_parameters_start_normal():
    model = KeyValueNetwork(KeyValueNetworkConfig(features=300, size=40, rule="coded"), np.random.default_rng(0))
    for parameter in (model.memory.A, *model.memory.R):
        assert parameter.data.std() == pytest.approx(0.1, rel=0.1)
    assert not model.memory.b[0].data.any()


@RULES
def test_a_training_step_is_the_same_everywhere_and_waits_for_nothing(backend, rule):
    question, keys, values, mask = random_slots(3)
    candidates, answers = np.array([[1, 2], [3, 0], [4, 5]]), np.array([2, 0])
    losses, models = [], []
    for device in ("cpu", backend.device):
        model = random_network(3, np.float32, rule=rule).to(device)
        optimizer = SGD(model.named_parameters(), 0.1)
        with fakecupy.no_sync():  # concerns the fake alone
            loss = ma.cross_entropy(model(question, keys, values, candidates, mask), answers)
            loss.backward()
            optimizer.step()
        losses.append(loss)
        models.append(model)
    assert losses[1].dtype == np.float32
    assert float(losses[1]) == pytest.approx(float(losses[0]), rel=1e-5)
    for mine, other in zip(*(model.parameters() for model in models), strict=True):
        np.testing.assert_allclose(asnumpy(other.data), mine.data, rtol=1e-5, atol=1e-6)


def test_wrong_settings_are_refused():
    make = inspect.unwrap(KeyValueMemory.__init__)
    with pytest.raises(ConfigError, match="there is no rule 'other'; hint: paper, coded"):
        make(object.__new__(KeyValueMemory), 2, 2, 1, np.random.default_rng(0), "other")
    with pytest.raises(ConfigError, match=r"std must be a number above 0, 1e30 at most, got 0.0; hint: 0.1"):
        KeyValueNetworkConfig(std=0.0)
    with pytest.raises(ConfigError, match="hops must be a whole number of at least 1, got 0"):
        KeyValueNetworkConfig(hops=0)
