"""RNNsearch and RNNencdec against the paper's equations written out by hand, and what must hold of them."""

import itertools

import by_hand
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_models import SEEDS, SIZES, batches, configurations, random_model

import minattn as ma
from minattn.errors import ConfigError
from minattn.models import RNNsearch, RNNsearchConfig
from minattn.testing import check_gradients

KINDS = pytest.mark.parametrize("attention", [True, False], ids=["RNNsearch", "RNNencdec"])
EVERY = [
    pytest.param(dict(zip(("attention", "readout", "biases"), choice, strict=True)), id="-".join(map(str, choice)))
    for choice in itertools.product([True, False], ["previous", "current"], [True, False])
]


def run(model, source, previous, mask=None):
    """(logits, alignment); RNNencdec's one annotation has the weight 1."""
    logits, attention = model(source, previous, mask, return_attention=True)
    assert list(attention) == (["attention"] if model.config.attention else [])
    alignment = attention["attention"].numpy() if attention else np.ones((*previous.shape, 1), logits.dtype)
    return logits.numpy(), alignment


def loss_of(model, source, previous, targets, mask, pad=0):
    """The mean over the sentences of sum_i -log p(y_i)."""
    logits = model(source, previous, mask)
    return ma.cross_entropy(logits, targets, ignore_index=pad, reduction="sum") / len(source)


def some_batch(seed=0, batch=3, time=4):
    """Ids, targets with padding (0), and a mask with padding at the end of all rows but the first."""
    rng = np.random.default_rng(seed)
    source = rng.integers(0, SIZES["source_vocab_size"], (batch, time))
    previous, targets = rng.integers(1, SIZES["target_vocab_size"], (2, batch, time - 1))
    targets[-1, -1] = 0
    mask = np.arange(time) < np.array([time, *rng.integers(1, time, batch - 1)])[:, None]
    return source, previous, targets, mask


# ---------------------------------------------------------------------------------------------- the equations
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@given(settings=configurations(), batch=batches(), seed=SEEDS)
def test_the_model_is_the_papers_equations(dtype, settings, batch, seed):
    """A sentence by hand has no padding: wherever the mask has it, the model must do as if it were not there."""
    model, (source, previous, mask) = random_model(seed, dtype, **settings), batch
    logits, alignment = run(model, source, previous, mask)
    assert logits.dtype == alignment.dtype == dtype
    tolerance = 1e-4 if dtype == np.float32 else 1e-11
    for b in range(len(source)):
        real = np.ones(source.shape[1], bool) if mask is None else mask[b]
        expected, alphas = by_hand.rnnsearch(model, source[b][real].tolist(), previous[b].tolist())
        np.testing.assert_allclose(logits[b], expected, rtol=tolerance, atol=tolerance)
        attended = real if model.config.attention else [True]
        assert alignment.shape[1:] == (previous.shape[1], len(attended))
        np.testing.assert_allclose(alignment[b][:, attended], alphas, rtol=tolerance, atol=tolerance)
        assert (alignment[b][:, np.logical_not(attended)] == 0).all()


@given(configurations(), batches(), SEEDS)
def test_teacher_forcing_is_one_step_after_another(settings, batch, seed):
    model, (source, previous, mask) = random_model(seed, np.float64, **settings), batch
    logits, alignment = run(model, source, previous, mask)
    read = model.encode(source, mask)
    state = read.state
    for i in range(previous.shape[1]):
        state, log_p, weights = model.step(state, previous[:, i], read)
        np.testing.assert_allclose(log_p.data, ma.log_softmax(ma.tensor(logits[:, i])).data, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(weights.data, alignment[:, i], rtol=1e-10, atol=1e-12)


@given(configurations(), batches(), SEEDS, st.data())
def test_a_word_changes_nothing_before_it(settings, batch, seed, data):
    model, (source, previous, mask) = random_model(seed, np.float64, **settings), batch
    i = data.draw(st.integers(0, previous.shape[1] - 1))
    other = previous.copy()
    other[:, i] = (other[:, i] + 1) % SIZES["target_vocab_size"]
    (logits, alignment), (again, realigned) = (run(model, source, p, mask) for p in (previous, other))
    np.testing.assert_array_equal(logits[:, :i], again[:, :i])
    np.testing.assert_array_equal(alignment[:, : i + 1], realigned[:, : i + 1])  # alpha_i is of s_{i-1}, not of y_{i-1}


def test_a_word_of_the_target_reaches_the_output_and_the_state_after_it():
    model, (source, previous, _, mask) = random_model(dtype=np.float64), some_batch()
    other = previous.copy()
    other[:, 0] = previous[:, 0] % 4 + 1
    (logits, alignment), (again, realigned) = (run(model, source, p, mask) for p in (previous, other))
    assert (np.abs(logits - again).max((0, 2)) > 1e-3).all()
    assert (np.abs(alignment - realigned)[:1, 1:].max((0, 2)) > 1e-4).all()


# ---------------------------------------------------------------------------------------------- gradients
@pytest.mark.parametrize("settings", EVERY)
def test_gradients_of_the_loss(settings):
    model = random_model(1, np.float64, **settings)
    source, previous, targets, mask = some_batch(batch=2, time=3)
    parameters = model.named_parameters()
    check_gradients(lambda: loss_of(model, source, previous, targets, mask), parameters=parameters, method="complex")
    loss_of(model, source, previous, targets, mask).backward()
    assert [name for name, p in parameters.items() if not np.any(p.grad)] == []


@KINDS
def test_gradients_in_float32_and_through_the_alignment(attention):
    model = random_model(2, attention=attention, biases=True)
    source, previous, _, mask = some_batch(batch=2, time=3)

    def everything():
        logits, weights = model(source, previous, mask, return_attention=True)
        return logits, *weights.values()

    check_gradients(everything, parameters=model.named_parameters(), method="complex")


@KINDS
def test_padding_sends_no_gradient(attention):
    """The source's word 0 is only ever padding, so its embedding must stay as it is."""
    model, (source, previous, targets, mask) = random_model(attention=attention), some_batch()
    source = np.where(mask, np.maximum(source, 1), 0)
    loss_of(model, source, previous, targets, mask).backward()
    gradient = model.encoder.embedding.weight.grad
    assert (gradient[0] == 0).all()
    assert (gradient[np.unique(source[mask])] != 0).any(1).all()


# ---------------------------------------------------------------------------------------------- identities
@given(batches(), SEEDS, st.sampled_from(["previous", "current"]))
def test_attention_to_the_last_word_alone_is_RNNencdec(batch, seed, readout):
    source, previous, _ = batch
    n, settings = SIZES["hidden"], {"readout": readout, "biases": True}
    search = random_model(seed, np.float64, **settings)
    encdec = random_model(seed + 1, np.float64, attention=False, **settings)
    theirs = search.named_parameters()
    for name, own in encdec.named_parameters().items():
        weight = theirs[name.replace("encoder.unit", "encoder.unit.forwards")].data
        if name in ("decoder.C", "decoder.C_o"):
            weight[n:] = 0  # the half that the backward states meet
            weight = weight[:n]
        own.data = weight.copy()
    last_only = np.arange(source.shape[1]) == np.full((len(source), 1), source.shape[1] - 1)
    simple = encdec.encode(source)
    read = search.encode(source)._replace(mask=last_only, state=simple.state)
    state, simple_state = read.state, simple.state
    for i in range(previous.shape[1]):
        state, log_p, weights = search.step(state, previous[:, i], read)
        simple_state, expected, _ = encdec.step(simple_state, previous[:, i], simple)
        np.testing.assert_array_equal(weights.data, last_only)
        np.testing.assert_allclose(log_p.data, expected.data, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(state.data, simple_state.data, rtol=1e-10, atol=1e-12)


@KINDS
def test_maxout_takes_the_larger_of_each_pair_of_neighbors(attention):
    model, (source, previous, _, mask) = random_model(attention=attention, biases=True, maxout=3), some_batch()
    into_maxout = [model.decoder.U_o, model.decoder.V_o, model.decoder.C_o, model.decoder.b_t]
    assert {p.shape[-1] for p in into_maxout} == {2 * 3}
    assert model.decoder.W_o.shape[0] == 3
    before, _ = run(model, source, previous, mask)

    def reordered(order):
        kept = [p.data for p in into_maxout]
        for p in into_maxout:
            p.data = p.data[..., order]
        logits, _ = run(model, source, previous, mask)
        for p, data in zip(into_maxout, kept, strict=True):
            p.data = data
        return logits

    np.testing.assert_allclose(reordered([1, 0, 2, 3, 5, 4]), before, rtol=1e-5, atol=1e-6)  # within pairs
    assert np.abs(reordered([2, 1, 0, 3, 4, 5]) - before).max() > 0.01  # across pairs


# ---------------------------------------------------------------------------------------------- batches
@given(configurations(), batches(), SEEDS, st.integers(1, 3))
def test_padding_a_batch_changes_nothing(settings, batch, seed, extra):
    model, (source, previous, mask) = random_model(seed, np.float64, **settings), batch
    time = source.shape[1]
    mask = np.ones(source.shape, bool) if mask is None else mask
    padded = np.pad(source, ((0, 0), (0, extra)), constant_values=seed % SIZES["source_vocab_size"])
    logits, alignment = run(model, source, previous, mask)
    again, longer = run(model, padded, previous, np.pad(mask, ((0, 0), (0, extra))))
    np.testing.assert_allclose(again, logits, rtol=1e-10, atol=1e-12)
    if model.config.attention:
        np.testing.assert_allclose(longer[..., :time], alignment, rtol=1e-10, atol=1e-12)
        assert (longer[..., time:] == 0).all()


@given(configurations(), batches(), SEEDS)
def test_a_mask_that_is_all_true_is_no_mask(settings, batch, seed):
    model, (source, previous, _) = random_model(seed, np.float64, **settings), batch
    for result, value in zip(
        run(model, source, previous, np.ones(source.shape, bool)), run(model, source, previous), strict=True
    ):
        np.testing.assert_allclose(result, value, rtol=1e-12, atol=1e-14)


@given(configurations(), batches(), SEEDS, st.randoms(use_true_random=False))
def test_the_order_of_the_sentences_does_not_matter(settings, batch, seed, random):
    model, (source, previous, mask) = random_model(seed, np.float64, **settings), batch
    order = random.sample(range(len(source)), len(source))
    expected = run(model, source, previous, mask)
    results = run(model, source[order], previous[order], None if mask is None else mask[order])
    for result, value in zip(results, expected, strict=True):
        np.testing.assert_allclose(result, value[order], rtol=1e-10, atol=1e-12)


@KINDS
def test_a_source_can_be_selected_by_rows(attention):
    model, (source, _, _, mask) = random_model(attention=attention), some_batch()
    rows = np.array([2, 0, 0, 1])
    selected, expected = model.encode(source, mask).select(rows), model.encode(source[rows], mask[rows])
    for got, wanted in zip(selected, expected, strict=True):
        if wanted is not None:
            np.testing.assert_allclose(getattr(got, "data", got), getattr(wanted, "data", wanted), rtol=1e-6)
        assert (got is None) == (wanted is None)
    assert model.encode(source).select(rows).mask is None


# ---------------------------------------------------------------------------------------------- dropout
@KINDS
def test_dropout_acts_in_training_only(attention):
    model = random_model(attention=attention, dropout=0.5)
    plain = random_model(attention=attention)
    source, previous, _, mask = some_batch()
    first, second = (run(model, source, previous, mask)[0] for _ in range(2))
    assert np.abs(first - second).max() > 0.01
    model.eval()
    for _ in range(2):
        np.testing.assert_array_equal(run(model, source, previous, mask)[0], run(plain, source, previous, mask)[0])
    model.train()
    assert np.abs(run(model, source, previous, mask)[0] - run(plain, source, previous, mask)[0]).max() > 0.01


def test_dropout_is_on_both_embeddings_and_on_the_maxout():
    model, (source, previous, _, _) = random_model(dropout=0.5, embedding=40, maxout=40), some_batch()
    decoder, plain = model.decoder, model.decoder.embedding(previous).data
    embedded = decoder.embed(previous).data
    assert set(np.unique(np.round(embedded / plain, 5))) == {0, 2}
    state, context = (ma.tensor(np.ones((1, size), np.float32)) for size in (3, 6))
    for twice in (
        lambda: model.encode(source).annotations,
        lambda: decoder.logits(state, ma.tensor(plain[:1, 0]), context),
    ):
        assert np.abs(twice().data - twice().data).max() > 0.01


# ---------------------------------------------------------------------------------------------- errors
@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        *[({name: 0}, f"{name} must be .*at least 1, got 0") for name in SIZES],
        ({"hidden": -3}, "hidden must be .*at least 1, got -3"),
        ({"hidden": 2.5}, "hidden must be a whole number of at least 1, got 2.5"),
        ({"maxout": "500"}, "maxout must be a whole number of at least 1, got '500'"),
        ({"readout": "next"}, 'readout must be one of "previous", "current"; got \'next\'; hint'),
        ({"init": "zeros"}, 'init must be one of "paper", "glorot"; got \'zeros\'; hint'),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\), got 1.0"),
        ({"dropout": -0.1}, r"dropout must be in \[0, 1\), got -0.1"),
        ({"dropout": float("nan")}, r"dropout must be in \[0, 1\), got nan"),
    ],
    ids=str,
)
def test_a_configuration_that_makes_no_sense_is_refused(wrong, message):
    config = RNNsearchConfig()
    for name, value in wrong.items():
        object.__setattr__(config, name, value)  # the tests' type checks would be first to refuse it
    with pytest.raises(ConfigError, match=message):
        config.__post_init__()


@pytest.mark.parametrize(("source", "previous", "number"), [(6, 0, 6), (0, 5, 5), (-1, 0, -1), (0, -1, -1)])
def test_words_outside_the_vocabulary_are_refused(source, previous, number):
    with pytest.raises(IndexError, match=f"embedding: id {number}"):
        random_model()(np.array([[1, source]]), np.array([[previous]]))


def test_the_same_seed_gives_the_same_model():
    states = [RNNsearch(RNNsearchConfig(**SIZES), np.random.default_rng(seed)).state_dict() for seed in (3, 3, 4)]
    assert all(np.array_equal(states[0][name], states[1][name]) for name in states[0])
    assert not np.array_equal(states[0]["decoder.W"], states[2]["decoder.W"])
