"""Luong's network against the paper's equations written out by hand, and what must hold of it."""

import luong_by_hand
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_models import SEEDS, SIZES, batches, luong_configurations, random_luong

import minattn as ma
from minattn.autograd import ops
from minattn.errors import ConfigError, ShapeError
from minattn.models import Luong, LuongConfig, beam_search
from minattn.testing import check_gradients
from minattn.training import Adam

BOS, EOS, PAD = 1, 2, 0
KINDS = pytest.mark.parametrize("attention", ["none", "global", "local-m", "local-p"])
EVERY = [
    pytest.param({"attention": attention, "score": score, "feeding": feeding}, id=f"{attention}-{score}-{feeding}")
    for attention, score in [
        *[("global", score) for score in ("dot", "general", "concat", "concat_coded", "location")],
        *[(kind, score) for kind in ("local-m", "local-p") for score in ("dot", "general")],
    ]
    for feeding in (True, False)
] + [pytest.param({"attention": "none", "feeding": False}, id="none")]


def run(model, source, previous, mask=None):
    """(logits, weights or None)."""
    logits, attention = model(source, previous, mask, return_attention=True)
    return logits.numpy(), attention["attention"].numpy() if attention else None


def loss_of(model, source, previous, targets, mask):
    """The sum of -log p(y | x) over the sentences, by their number."""
    logits = model(source, previous, mask)
    return ma.cross_entropy(logits, targets, ignore_index=PAD, reduction="sum") / len(source)


def some_batch(seed=0, batch=3, time=4):
    """Ids, targets with padding (0), and a mask with padding at the end of all rows but the first."""
    rng = np.random.default_rng(seed)
    source = rng.integers(0, SIZES["source_vocab_size"], (batch, time))
    previous, targets = rng.integers(1, SIZES["target_vocab_size"], (2, batch, time - 1))
    targets[-1, -1] = PAD
    mask = np.arange(time) < np.array([time, *rng.integers(1, time, batch - 1)])[:, None]
    return source, previous, targets, mask


def without_feeding(attention):
    return {"attention": attention, "feeding": attention != "none"}


# ---------------------------------------------------------------------------------------------- the equations
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@given(settings=luong_configurations(), batch=batches(), seed=SEEDS)
def test_the_model_is_the_papers_equations(dtype, settings, batch, seed):
    """A sentence by hand has no padding: with padding at the end, the model must do as if it were not there."""
    model, (source, previous, mask) = random_luong(seed, dtype, **settings), batch
    mask = None if mask is None else np.sort(mask, 1)[:, ::-1] | (np.arange(source.shape[1]) == 0)
    logits, weights = run(model, source, previous, mask)
    assert logits.dtype == dtype
    tolerance = 1e-4 if dtype == np.float32 else 1e-10
    for b in range(len(source)):
        length = source.shape[1] if mask is None else mask[b].sum()
        expected, alignment = luong_by_hand.network(model, source[b, :length].tolist(), previous[b].tolist())
        np.testing.assert_allclose(logits[b], expected, rtol=tolerance, atol=tolerance)
        if model.attention is None:
            assert weights is None
        else:
            assert weights.shape == (*previous.shape, source.shape[1])
            np.testing.assert_allclose(weights[b, :, :length], alignment, rtol=tolerance, atol=tolerance)
            assert (weights[b, :, length:] == 0).all()


@given(luong_configurations(), batches(), SEEDS)
def test_teacher_forcing_is_one_step_after_another(settings, batch, seed):
    model, (source, previous, mask) = random_luong(seed, np.float64, **settings), batch
    logits, attention = model(source, previous, mask, return_attention=True)
    encoded = model.encode(source, mask)
    state = encoded.state
    for t in range(previous.shape[1]):
        state, log_p, weights = model.step(state, previous[:, t], encoded)
        np.testing.assert_allclose(log_p.data, ma.log_softmax(logits[:, t]).data, rtol=1e-9, atol=1e-11)
        if attention:
            np.testing.assert_allclose(weights.data, attention["attention"].data[:, t], rtol=1e-9, atol=1e-11)
        else:
            np.testing.assert_array_equal(weights.data, np.ones((len(source), 1)))


@given(luong_configurations(), batches(), SEEDS, st.data())
def test_a_word_changes_nothing_before_it(settings, batch, seed, data):
    model, (source, previous, mask) = random_luong(seed, np.float64, **settings), batch
    t = data.draw(st.integers(0, previous.shape[1] - 1))
    other = previous.copy()
    other[:, t] = (other[:, t] + 1) % SIZES["target_vocab_size"]
    first, second = (model(source, words, mask).data for words in (previous, other))
    np.testing.assert_allclose(first[:, :t], second[:, :t], rtol=1e-12, atol=1e-14)


# ---------------------------------------------------------------------------------------------- gradients
@pytest.mark.parametrize("settings", EVERY)
def test_gradients_of_the_loss(settings):
    model = random_luong(1, np.float64, **settings, biases=True, window=2)
    source, previous, targets, mask = some_batch(batch=2, time=3)
    parameters = model.named_parameters()
    check_gradients(lambda: loss_of(model, source, previous, targets, mask), parameters=parameters, method="complex")
    loss_of(model, source, previous, targets, mask).backward()
    assert [name for name, p in parameters.items() if not np.any(p.grad)] == []


@KINDS
def test_gradients_in_float32_and_through_the_weights(attention):
    model = random_luong(2, **without_feeding(attention), window=2)
    source, previous, _, mask = some_batch(batch=2, time=3)

    def outputs():
        logits, attended = model(source, previous, mask, return_attention=True)
        return logits, *attended.values()

    check_gradients(outputs, parameters=model.named_parameters(), method="complex")


@KINDS
def test_padding_sends_no_gradient(attention):
    """The source's word 0 is only ever padding, so its embedding must stay as it is."""
    model, (source, previous, targets, mask) = random_luong(**without_feeding(attention)), some_batch()
    source = np.where(mask, np.maximum(source, 1), 0)
    loss_of(model, source, previous, targets, mask).backward()
    gradient = model.encoder.embedding.weight.grad
    assert (gradient[0] == 0).all()
    assert (gradient[np.unique(source[mask])] != 0).any(1).all()


# ---------------------------------------------------------------------------------------------- identities
@given(batches(), SEEDS, st.sampled_from(["global", "local-m", "local-p"]), st.sampled_from(["dot", "general"]))
def test_a_model_that_gives_the_context_no_part_is_the_one_without_attention_and_a_tanh_layer(batch, seed, kind, score):
    source, previous, mask = batch
    model = random_luong(seed, np.float64, attention=kind, score=score, feeding=False)
    plain = random_luong(seed, np.float64, attention="none", feeding=False)
    n = SIZES["hidden"]
    theirs = model.named_parameters()
    theirs["decoder.W_c"].data = np.concatenate([np.zeros((n, n)), theirs["decoder.W_c"].data[n:]])
    for name, parameter in plain.named_parameters().items():
        parameter.data = theirs[name].data
    states = plain.decoder.states(previous, plain.encode(source, mask).state).data
    expected = np.tanh(states @ theirs["decoder.W_c"].data[n:]) @ theirs["decoder.W_s"].data
    np.testing.assert_allclose(model(source, previous, mask).data, expected, rtol=1e-10, atol=1e-12)


@given(luong_configurations(), batches(), SEEDS)
def test_input_feeding_by_a_matrix_of_zeros_is_no_input_feeding(settings, batch, seed):
    source, previous, mask = batch
    if settings["attention"] == "none":
        settings = {**settings, "attention": "global"}
    fed, plain = (random_luong(seed, np.float64, **{**settings, "feeding": feeding}) for feeding in (True, False))
    m = fed.config.embedding
    first = fed.decoder.layers[0].W
    first.data = np.concatenate([first.data[:m], np.zeros_like(first.data[m:])])
    theirs = fed.named_parameters()
    for name, parameter in plain.named_parameters().items():
        parameter.data = theirs[name].data[: parameter.shape[0]]
    results = run(fed, source, previous, mask), run(plain, source, previous, mask)
    for result, value in zip(*results, strict=True):
        np.testing.assert_allclose(result, value, rtol=1e-10, atol=1e-12)


@given(batches(), SEEDS, st.sampled_from(["none", "global", "local-p"]))
def test_a_reversed_source_is_the_reverse_of_a_source(batch, seed, kind):
    """But for local-m, which follows the order: the reversed model on a sentence is the plain one on its reverse."""
    source, previous, _ = batch
    settings = {**without_feeding(kind), "window": 10}
    reverse, plain = (random_luong(seed, np.float64, **settings, reverse=flag) for flag in (True, False))
    if kind == "local-p":
        for model in (reverse, plain):
            model.attention.sigma = 1e8
    logits, weights = run(reverse, source, previous)
    expected, mirrored = run(plain, source[:, ::-1], previous)
    np.testing.assert_allclose(logits, expected, rtol=1e-9, atol=1e-11)
    if weights is not None:
        np.testing.assert_allclose(weights, mirrored[..., ::-1], rtol=1e-9, atol=1e-11)


@given(batches(), SEEDS)
def test_location_does_not_look_at_the_words_of_the_source_but_for_the_state(batch, seed):
    """Without feeding and with the same decoder states, weights of other words are the same."""
    source, previous, mask = batch
    model = random_luong(seed, np.float64, attention="global", score="location", feeding=False, positions=4)
    encoded, others = (model.encode(words, mask) for words in (source, (source + 1) % SIZES["source_vocab_size"]))
    states = model.decoder.states(previous, encoded.state)
    (_, weights), (_, same) = (model.attention.attend(states, s.memory) for s in (encoded, others))
    np.testing.assert_array_equal(weights.data, same.data)


# ---------------------------------------------------------------------------------------------- batches
@given(luong_configurations(), batches(), SEEDS, st.integers(1, 3))
def test_padding_a_batch_changes_nothing(settings, batch, seed, extra):
    model, (source, previous, mask) = random_luong(seed, np.float64, **settings), batch
    mask = np.ones(source.shape, bool) if mask is None else mask
    padded = np.pad(source, ((0, 0), (0, extra)), constant_values=seed % SIZES["source_vocab_size"])
    logits, weights = run(model, source, previous, mask)
    again, longer = run(model, padded, previous, np.pad(mask, ((0, 0), (0, extra))))
    np.testing.assert_allclose(again, logits, rtol=1e-10, atol=1e-12)
    if weights is not None:
        np.testing.assert_allclose(longer[..., : source.shape[1]], weights, rtol=1e-10, atol=1e-12)
        assert (longer[..., source.shape[1] :] == 0).all()


@given(luong_configurations(), batches(), SEEDS, st.randoms(use_true_random=False))
def test_the_order_of_the_sentences_does_not_matter(settings, batch, seed, random):
    model, (source, previous, mask) = random_luong(seed, np.float64, **settings), batch
    order = random.sample(range(len(source)), len(source))
    expected = model(source, previous, mask).data
    result = model(source[order], previous[order], None if mask is None else mask[order]).data
    np.testing.assert_allclose(result, expected[order], rtol=1e-10, atol=1e-12)


@KINDS
def test_a_source_can_be_selected_by_rows(attention):
    model, (source, previous, _, mask) = random_luong(dtype=np.float64, **without_feeding(attention)), some_batch()
    rows = np.array([2, 0, 0, 1])
    selected, expected = model.encode(source, mask).select(rows), model.encode(source[rows], mask[rows])
    assert selected.batch == expected.batch == 4
    for t in range(2):
        steps = [model.step(s.state, previous[rows, t], s) for s in (selected, expected)]
        for result, value in zip(steps[0][1:], steps[1][1:], strict=True):
            np.testing.assert_allclose(result.data, value.data, rtol=1e-10)


@KINDS
def test_the_best_sequence_of_a_beam_has_the_probability_that_teacher_forcing_gives_it(attention):
    model, (source, _, _, mask) = random_luong(dtype=np.float64, **without_feeding(attention)), some_batch()
    for row, found in enumerate(beam_search(model, model.encode(source, mask), 3, BOS, EOS, 4)):
        for hypothesis in found:
            target = [*hypothesis.ids, EOS] if hypothesis.finished else hypothesis.ids
            previous = np.array([[BOS, *target[:-1]]])
            logits, weights = run(model, source[row : row + 1], previous, mask[row : row + 1])
            log_p = ma.log_softmax(ma.tensor(logits)).data[0]
            total = sum(log_p[t, word] for t, word in enumerate(target))
            assert hypothesis.log_probability == pytest.approx(total, rel=1e-9)
            if weights is not None:
                np.testing.assert_allclose(hypothesis.alignment, weights[0], rtol=1e-9, atol=1e-11)


@KINDS
def test_no_sentences_and_no_words(attention):
    model = random_luong(**without_feeding(attention))
    for batch, time in ((0, 3), (2, 0)):
        logits = model(np.ones((batch, 4), int), np.ones((batch, time), int))
        assert logits.shape == (batch, time, SIZES["target_vocab_size"])


def test_a_source_of_no_positions_is_refused():
    with pytest.raises(ShapeError, match=r"at least one position, got \(2, 0\); hint"):
        random_luong().encode(np.ones((2, 0), int))


# ---------------------------------------------------------------------------------------------- dropout
@KINDS
def test_dropout_acts_in_training_only(attention):
    settings = without_feeding(attention)
    model, plain = random_luong(**settings, dropout=0.5), random_luong(**settings)
    source, previous, _, mask = some_batch()
    first, second = (model(source, previous, mask).data for _ in range(2))
    assert np.abs(first - second).max() > 0.01
    model.eval()
    for _ in range(2):
        np.testing.assert_array_equal(model(source, previous, mask).data, plain(source, previous, mask).data)


WORD, VECTOR = slice(SIZES["embedding"]), slice(SIZES["embedding"], None)  # rows of W for E y and for h~


@pytest.mark.parametrize(
    ("layers", "name", "rows"),
    [
        (1, "encoder.layers.0.W", slice(None)),
        (2, "encoder.layers.1.W", slice(None)),
        (1, "decoder.layers.0.W", WORD),
        (1, "decoder.layers.0.W", VECTOR),
        (2, "decoder.layers.1.W", slice(None)),
        (2, None, None),
    ],
)
def test_dropout_is_on_the_inputs_of_every_lstm_and_nowhere_else(layers, name, rows):
    """All inputs but one are multiplied by zeros: what is drawn reaches the logits through that one alone."""
    model, (source, previous, _, mask) = (
        random_luong(attention="global", dropout=0.5, biases=True, layers=layers),
        some_batch(),
    )
    for other, parameter in model.named_parameters().items():
        if other.endswith(".W"):
            kept = np.zeros_like(parameter.data)
            if other == name:
                kept[rows] = parameter.data[rows]
            parameter.data = kept
    first, second = (model(source, previous, mask).data for _ in range(2))
    assert (np.abs(first - second).max() > 1e-4) == (name is not None)


# ---------------------------------------------------------------------------------------------- errors
@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        *[
            ({name: 0}, f"{name} must be .*at least 1, got 0")
            for name in ("embedding", "hidden", "layers", "positions")
        ],
        ({"hidden": 2.5}, "hidden must be a whole number of at least 1, got 2.5"),
        ({"attention": "local"}, "attention must be one of .*; got 'local'; hint"),
        ({"score": "cosine"}, "score must be one of .*; got 'cosine'; hint"),
        ({"init": "zeros"}, "init must be one of .*; got 'zeros'; hint"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\), got 1.0; hint"),
        ({"dropout": float("nan")}, r"dropout must be in \[0, 1\), got nan; hint"),
        ({"window": 0}, "window must be a whole number of at least 1, got 0; hint"),
        ({"window": -1, "attention": "local-m"}, "window must be a whole number of at least 0, got -1; hint"),
        ({"window": 2.5}, "window must be a whole number, got 2.5; hint"),
        ({"attention": "none"}, "without attention there is no vector to feed; hint: feeding=False"),
    ],
    ids=str,
)
def test_a_configuration_that_makes_no_sense_is_refused(wrong, message):
    config = LuongConfig()
    for name, value in wrong.items():
        object.__setattr__(config, name, value)  # the tests' type checks would be first to refuse it
    with pytest.raises(ConfigError, match=message):
        config.__post_init__()


def test_the_same_seed_gives_the_same_model():
    sizes = {name: SIZES[name] for name in ("source_vocab_size", "target_vocab_size", "embedding", "hidden")}
    states = [Luong(LuongConfig(**sizes), np.random.default_rng(seed)).state_dict() for seed in (3, 3, 4)]
    assert all(np.array_equal(states[0][name], states[1][name]) for name in states[0])
    assert not np.array_equal(states[0]["decoder.W_s"], states[2]["decoder.W_s"])


def test_the_attentional_vector_is_not_saturated_by_the_frequencies_of_many_words():
    """The first thing to learn is which words are frequent; h~ must not go to the ends of its tanh for it."""
    words, rng = 1000, np.random.default_rng(0)
    config = LuongConfig(
        words, words, embedding=16, hidden=16, layers=2, attention="global", dropout=0.0, biases=True, init="glorot"
    )
    model = Luong(config, rng)
    optimizer, share = Adam(model.named_parameters(), 1e-2), 1 / np.arange(1, words + 1)
    for _ in range(40):
        sentences = rng.choice(words, (16, 7), p=share / share.sum())
        logits = model(sentences[:, 1:], sentences[:, :-1])
        ops.cross_entropy(logits, sentences[:, 1:], reduction="mean").backward()
        optimizer.step()
        model.zero_grad()
    memory, state = model.encode(sentences[:, 1:])
    vectors, _ = model.decoder.feed(sentences[:, :-1], state, memory, model.attention)
    assert np.std(vectors.data, axis=(0, 1)).mean() > 0.01
