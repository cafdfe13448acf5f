"""End-to-end memory against the paper's loops, and the identities it must have."""

import inspect
import math

import memory_by_hand
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minattn as ma
from minattn.attention.memory import EndToEndMemory, SentenceEmbedding, position_weights, with_noise
from minattn.attention.memory.end_to_end import hop, memory_hops
from minattn.attention.self_attention import attention
from minattn.errors import ConfigError, ShapeError
from minattn.nn import Parameter
from minattn.testing import check_gradients

SEEDS = st.integers(0, 2**32 - 1)
WORDS, SIZE, LONGEST, TIMES = 6, 4, 3, 5
ENCODINGS = st.sampled_from(["bag", "position", "position_coded"])


# ---------------------------------------------------------------------------------------------- what is drawn
def random_memory(seed=0, dtype=np.float64, hops=2, times=TIMES, **settings):
    """A memory all of whose parameters come from N(0, 0.7^2)."""
    module = EndToEndMemory(WORDS, SIZE, hops, np.random.default_rng(seed), LONGEST, times, **settings)
    rng = np.random.default_rng(seed)
    for parameter in module.parameters():
        parameter.replace_data(rng.normal(scale=0.7, size=parameter.shape).astype(dtype))
    return module


def random_story(seed=0, batch=2, n=4):
    """(questions, stories with words missing at the ends of sentences, a mask with padding behind the stories)."""
    rng = np.random.default_rng(seed)
    story = rng.integers(1, WORDS, (batch, n, LONGEST))
    story[np.arange(LONGEST) >= rng.integers(1, LONGEST + 1, (batch, n))[:, :, None]] = 0
    mask = np.arange(n) < rng.integers(1, n + 1, batch)[:, None]
    return rng.normal(size=(batch, SIZE)), story, mask


@st.composite
def settings(draw):
    return {
        "hops": draw(st.integers(1, 3)),
        "times": draw(st.sampled_from([0, TIMES])),
        "tying": draw(st.sampled_from(["adjacent", "layer-wise"])),
        "encoding": draw(ENCODINGS),
        "rectified": draw(st.integers(0, SIZE - 1)),
    }


def run(module, u, story, mask=None, linear=False):
    out, weights = module(ma.tensor(u), story, mask, linear)
    return out.numpy(), weights.numpy()


# ---------------------------------------------------------------------------------------------- the paper's loops
@given(settings(), st.booleans(), st.booleans(), SEEDS)
def test_hops_are_those_of_the_papers_loops(chosen, linear, masked, seed):
    module = random_memory(seed, **chosen)
    u, story, mask = random_story(seed)
    found, weights = run(module, u, story, mask if masked else None, linear)
    for b, n in enumerate(mask.sum(1) if masked else [4, 4]):
        sentences = story[b, :n].tolist()
        expected, ps = memory_by_hand.end_to_end(module, u[b].tolist(), sentences, chosen["encoding"], LONGEST, linear)
        np.testing.assert_allclose(found[b], expected, rtol=1e-9, atol=1e-10)
        np.testing.assert_allclose(weights[b, :, :n], ps, rtol=1e-9, atol=1e-10)
        assert not weights[b, :, n:].any()


def test_float32_stays_float32():
    module = random_memory(dtype=np.float32, tying="layer-wise")
    u, story, mask = random_story()
    assert {x.dtype for x in run(module, u.astype(np.float32), story, mask)} == {np.dtype(np.float32)}


@pytest.mark.parametrize("tying", ["adjacent", "layer-wise"])
@pytest.mark.parametrize("linear", [False, True])
def test_gradients_of_questions_and_of_every_parameter(tying, linear):
    module = random_memory(3, tying=tying, rectified=1)
    u, story, mask = random_story(3)
    check_gradients(lambda u: module(u, story, mask, linear), u, parameters=module.named_parameters(), method="complex")


@pytest.mark.parametrize("linear", [False, True])
def test_gradients_with_noise(linear):
    module = random_memory(4)
    u, story, _ = random_story(4, n=3)
    story = with_noise(story, np.random.default_rng(0), most=TIMES, share=0.9)
    assert not story.any(-1).all()
    check_gradients(lambda u: module(u, story, None, linear), u, parameters=module.named_parameters(), method="complex")


# ---------------------------------------------------------------------------------------------- sentences
@given(st.integers(1, 6), st.integers(1, 8))
def test_position_weights_are_the_papers_and_twice_that_in_the_code(J, d):
    for coded, encoding in ((False, "position"), (True, "position_coded")):
        found = position_weights(J, d, coded)
        expected = [[memory_by_hand.weight(encoding, j, k, J, d) for k in range(1, d + 1)] for j in range(1, J + 1)]
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)
    j, k = np.arange(1, J + 1)[:, None], np.arange(1, d + 1)
    printed, coded = position_weights(J, d), position_weights(J, d, coded=True)
    np.testing.assert_allclose(coded - 2 * printed, (1 + 1 / d) * (1 + 1 / J) - 1 - 2 * (j + k) / (d * J), atol=1e-12)
    np.testing.assert_allclose(coded.mean(), 1, atol=1e-12)
    np.testing.assert_allclose(printed.mean(0), (J - 1) / (2 * J) + k / (d * J), atol=1e-12)


@given(st.integers(1, 8))
def test_a_sentence_of_one_word_has_the_weights_k_over_d(d):
    np.testing.assert_allclose(position_weights(1, d)[0], np.arange(1, d + 1) / d, rtol=1e-12)


def test_weights_change_with_the_length_that_a_sentence_is_filled_up_to():
    assert np.abs(position_weights(3, 4)[:2] - position_weights(2, 4)).max() > 0.1


@given(ENCODINGS, SEEDS)
def test_only_a_bag_of_words_takes_them_in_any_order(encoding, seed):
    module = SentenceEmbedding(1, WORDS, SIZE, np.random.default_rng(seed), LONGEST, 0, encoding)
    forward, backward = (module(np.array([words])).numpy() for words in ([1, 2, 3], [3, 2, 1]))
    assert np.allclose(forward, backward, atol=1e-7) == (encoding == "bag")


def test_no_word_counts_for_nothing_whatever_its_vector():
    module = random_memory(1)
    u, story, _ = random_story(1)
    before = run(module, u, story)
    for table in module.embedding.words:
        table.data = np.where(np.arange(WORDS)[:, None] == 0, np.nan, table.data)
    for found, expected in zip(run(module, u, story), before, strict=True):
        np.testing.assert_array_equal(found, expected)


@given(st.lists(st.integers(1, 12), min_size=1, max_size=4), st.integers(1, 12), SEEDS)
def test_noise_keeps_the_sentences_in_their_order_and_the_most_recent_at_least(lengths, most, seed):
    wide = max(lengths)
    story = np.where(np.arange(wide) < np.array(lengths)[:, None], np.arange(1, wide + 1), 0)[:, :, None]
    noisy = with_noise(story, np.random.default_rng(seed), most)
    assert noisy.shape == (len(lengths), most, 1)
    for row, n in zip(noisy[:, :, 0], lengths, strict=True):
        kept = row[row != 0]
        np.testing.assert_array_equal(kept, np.arange(1, len(kept) + 1))
        assert min(n, most) - math.ceil(0.1 * n) <= len(kept) <= n


def test_noise_is_a_tenth_at_most_and_all_amounts_are_as_likely():
    story = np.ones((4000, 20, 1), int)
    noisy = with_noise(story, np.random.default_rng(0), most=50)[:, :, 0]
    assert (noisy.sum(1) == 20).all()
    last = [np.flatnonzero(row).max() + 1 for row in noisy]  # slots, but for empty ones at the end
    assert (min(last), max(last)) == (20, 22)
    assert 0.25 < np.mean(noisy[:, 21]) < 0.35  # a third have 22 slots, of which the last holds a sentence in 20 of 22


# ---------------------------------------------------------------------------------------------- identities
@given(st.booleans(), SEEDS)
def test_a_hop_is_dot_product_attention_without_its_scale(masked, seed):
    u, m, c = np.random.default_rng(seed).normal(size=(3, 2, 5, SIZE))
    u, mask = u[:, 0], np.arange(5) < [[3], [5]] if masked else None
    o, p = hop(ma.tensor(u), ma.tensor(m), ma.tensor(c), mask)
    context, weights = attention(u[:, None] * math.sqrt(SIZE), m, c, None if mask is None else mask[:, None])
    np.testing.assert_allclose(o.data, context.data[:, 0], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(p.data, weights.data[:, 0], rtol=1e-9, atol=1e-12)


@given(SEEDS)
def test_without_temporal_encoding_sentences_may_come_in_any_order(seed):
    u, story, _ = random_story(seed)
    order = np.random.default_rng(seed).permutation(4)
    module = random_memory(seed, times=0)
    (out, weights), (moved, moved_weights) = run(module, u, story), run(module, u, story[:, order])
    np.testing.assert_allclose(moved, out, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(moved_weights, weights[:, :, order], rtol=1e-9, atol=1e-12)
    if (order != np.arange(4)).any() and (story[0] != story[0, order]).any():
        timed = random_memory(seed)
        assert np.abs(run(timed, u, story)[0] - run(timed, u, story[:, order])[0]).max() > 1e-9


@given(st.integers(1, 3), st.floats(-3, 3), SEEDS)
def test_with_linear_start_one_hop_is_linear_in_the_question(hops, scale, seed):
    u, story, mask = random_story(seed)
    for count in {1, hops}:
        module = random_memory(seed, hops=count)
        out, scaled = (run(module, factor * u, story, mask, linear=True)[0] for factor in (1, scale))
        np.testing.assert_allclose(scaled, scale * out, rtol=1e-7, atol=1e-7)


@given(st.sampled_from(["adjacent", "layer-wise"]), SEEDS)
def test_output_memories_of_zeros_leave_the_question_as_it_is(tying, seed):
    u, story, mask = random_story(seed)
    module = random_memory(seed, tying=tying)
    for parameter in [*module.embedding.words[1:], *module.embedding.times[1:]]:
        parameter.data = np.zeros_like(parameter.data)
    if module.H is not None:
        module.H.data = np.eye(SIZE)
    np.testing.assert_allclose(run(module, u, story, mask)[0], u, rtol=1e-12)


@given(st.integers(1, 3), SEEDS)
def test_layer_wise_tying_with_the_identity_is_adjacent_tying_of_equal_matrices(hops, seed):
    """A = C in both, as C^k is A^{k+1} too."""
    u, story, mask = random_story(seed)
    adjacent, layered = random_memory(seed, hops=hops), random_memory(seed, hops=hops, tying="layer-wise")
    for module in (adjacent, layered):
        for name in ("words", "times"):
            for parameter in getattr(module.embedding, name):
                parameter.data = getattr(adjacent.embedding, name)[0].data.copy()
    layered.H.data = np.eye(SIZE)
    for found, expected in zip(run(layered, u, story, mask), run(adjacent, u, story, mask), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-10)


@given(st.sampled_from([0, TIMES]), SEEDS)
def test_empty_memories_are_zeros_that_compete_with_the_score_zero(times, seed):
    u, story, _ = random_story(seed)
    story[:, 1:] = 0
    module = random_memory(seed, hops=1, times=times)
    memories = module.embedding.memories(story).data
    assert not memories[:, 1:].any()
    score = (memories[:, 0, 0] * u).sum(-1)
    competing = np.exp(score) / (np.exp(score) + 3)  # three empty memories of e^0
    out, weights = run(module, u, story)
    np.testing.assert_allclose(weights[:, 0, 0], competing, rtol=1e-9)
    np.testing.assert_allclose(out, u + competing[:, None] * memories[:, 0, 1], rtol=1e-9, atol=1e-12)


@given(SEEDS)
def test_doubling_questions_and_input_memories_is_a_temperature_of_a_quarter(seed):
    u, m, c = np.random.default_rng(seed).normal(size=(3, 2, 5, SIZE))
    _, p = hop(*map(ma.tensor, (2 * u[:, 0], 2 * m, c)))
    expected = ma.ops.softmax(ma.tensor(4 * (m @ u[:, 0, :, None])[:, :, 0])).data
    np.testing.assert_allclose(p.data, expected, rtol=1e-10)


@given(SEEDS)
def test_the_gradient_of_a_tied_matrix_is_the_sum_of_those_of_its_uses(seed):
    """C^1 is the output memory of the first hop and the input memory of the second."""
    u, story, mask = random_story(seed)
    module = random_memory(seed, hops=2)
    (module(ma.tensor(u), story, mask)[0] * np.arange(1, SIZE + 1)).sum().backward()
    tables = [Parameter(module.embedding.words[i].data) for i in (0, 1, 1, 2)]
    times = [module.embedding.times[i].data for i in (0, 1, 1, 2)]
    weights = module.embedding.weights

    def stored(i):
        words = ma.ops.embedding(tables[i], story) * (story != 0)[..., None] * weights
        return ma.ops.sum(words, axis=-2) + times[i][: story.shape[1]]

    o, _ = hop(ma.tensor(u), stored(0), stored(1), mask)
    u2 = u + o
    o, _ = hop(u2, stored(2), stored(3), mask)
    ((u2 + o) * np.arange(1, SIZE + 1)).sum().backward()
    np.testing.assert_allclose(module.embedding.words[1].grad, tables[1].grad + tables[2].grad, rtol=1e-8, atol=1e-10)


def test_hops_from_outputs_of_zero_keep_the_question():
    u, memories = np.ones((2, 3)), np.zeros((2, 4, 4, 3))
    out, weights = memory_hops(u, memories, None, hops=3)
    np.testing.assert_array_equal(out.data, u)
    np.testing.assert_allclose(weights.data, 0.25)


def test_a_story_without_a_sentence_leaves_the_question_as_it_is():
    u, story, mask = random_story(2)
    mask[0] = False
    out, weights = run(random_memory(2), u, story, mask)
    np.testing.assert_array_equal(out[0], u[0])
    assert not weights[0].any()


@pytest.mark.parametrize("linear", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_a_batch_of_stories_without_a_sentence_leaves_the_questions_as_they_are(linear, masked):
    u, memories = ma.tensor(np.ones((2, 3)), requires_grad=True), ma.tensor(np.ones((2, 0, 3, 3)), requires_grad=True)
    out, weights = memory_hops(u, memories, hops=2, mask=np.ones((2, 0), bool) if masked else None, linear=linear)
    ma.sum(out * out).backward()
    np.testing.assert_array_equal(out.data, u.data)
    np.testing.assert_array_equal(u.grad, 2)
    assert weights.shape == (2, 2, 0)
    assert memories.grad.shape == memories.shape


# ---------------------------------------------------------------------------------------------- refusals
def refuse(module, *sizes, **settings):
    inspect.unwrap(module.__init__)(object.__new__(module), *sizes, **settings)


def test_wrong_settings_and_shapes_are_refused():
    rng = np.random.default_rng(0)
    with pytest.raises(ConfigError, match="there is no tying 'none'; hint: adjacent, layer-wise"):
        refuse(EndToEndMemory, WORDS, SIZE, 1, rng, LONGEST, tying="none")
    with pytest.raises(ConfigError, match="there is no encoding 'words'; hint: bag, position, position_coded"):
        refuse(SentenceEmbedding, 1, WORDS, SIZE, rng, LONGEST, encoding="words")
    module, (u, story, _) = random_memory(), random_story()
    with pytest.raises(ShapeError, match="a story of 6 sentences, and there is a temporal encoding of 5; hint"):
        module(ma.tensor(u), np.ones((2, 6, LONGEST), int))
    with pytest.raises(ShapeError, match=f"a sentence has 4 words, at most {LONGEST} expected"):
        module(ma.tensor(u), np.ones((2, 2, 4), int))
    with pytest.raises(ShapeError, match=r"expected questions \(batch, d\) and memories"):
        memory_hops(u, np.zeros((2, 4, 2, SIZE)), None, hops=2)
    with pytest.raises(ShapeError, match=r"need weights \(3, 4\), got \(2, 4\)"):
        ma.attention.memory.sentence_vectors(np.zeros((WORDS, SIZE)), story, np.zeros((2, SIZE)))
