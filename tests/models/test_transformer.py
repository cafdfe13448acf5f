"""The Transformer against its equations written out, the identities that follow from them, and the complex step."""

import dataclasses
import inspect

import numpy as np
import pytest
import transformer_by_hand as by_hand
from hypothesis import given
from hypothesis import strategies as st
from small_models import SEEDS, SIZES, SMALL, batches, random_transformer, transformers

import minattn as ma
from minattn.errors import ConfigError, ShapeError
from minattn.models import Transformer, TransformerConfig
from minattn.models.sequence.language_model import LanguageModelConfig
from minattn.models.sequence.transformer_layers import (
    DecoderLayer,
    EncoderLayer,
    FeedForward,
    LayerConfig,
    WordEmbedding,
    check_ids,
    keys_mask,
)
from minattn.nn import Dropout, LayerNorm
from minattn.testing import check_gradients

ENCODER, DECODER = "encoder.{}.self_attention", "decoder.{}.self_attention"
ACROSS = "decoder.{}.cross_attention"
NORMS = pytest.mark.parametrize("norm", ["post", "pre"])
EVERY = [
    {"layers": 1},
    {"layers": 1, "norm": "pre", "positions": "learned", "tied": "all"},
    {"layers": 1, "norm": "pre", "tied": "none", "biases": True},
    {"layers": 1, "positions": "learned", "tied": "all", "d_k": 1, "d_v": 3},
]


def a_layer(kind=EncoderLayer, seed=0, **settings):
    """A layer in float64 with random weights."""
    layer = kind(LayerConfig(4, 2, 3, biases=True, **settings), np.random.default_rng(seed))
    rng = np.random.default_rng(seed)
    for parameter in layer.parameters():
        parameter.replace_data(rng.normal(scale=0.7, size=parameter.shape))
    return layer


def inputs(seed=0, batch=2, n=5, d=4):
    return ma.tensor(np.random.default_rng(seed).normal(size=(batch, n, d)), requires_grad=True)


def some_batch(seed=0, batch=2, time=4):
    """Ids, targets with padding (0), and a mask with padding at the end of all rows but the first."""
    rng = np.random.default_rng(seed)
    source = rng.integers(1, SIZES["source_vocab_size"], (batch, time))
    previous, targets = rng.integers(1, SIZES["target_vocab_size"], (2, batch, time - 1))
    targets[-1, -1] = 0
    mask = np.arange(time) < np.array([time, *rng.integers(1, time, batch - 1)])[:, None]
    return source * mask, previous, targets, mask


def paths(model):
    """Of all attention, in the order of the network."""
    layers = range(model.config.layers)
    return [ENCODER.format(i) for i in layers] + [path.format(i) for i in layers for path in (DECODER, ACROSS)]


def loss_of(model, source, previous, targets, mask):
    logits = model(source, previous, mask)
    return ma.cross_entropy(logits, targets, ignore_index=0, label_smoothing=0.1)


# ---------------------------------------------------------------------------------------------- the equations
@given(settings=transformers(), batch=batches(), seed=SEEDS)
def test_the_model_is_the_papers_equations(settings, batch, seed):
    model, (source, previous, mask) = random_transformer(seed, np.float64, **settings), batch
    logits, attention = model(source, previous, mask, return_attention=True)
    assert list(attention) == paths(model)
    assert model.named_modules().keys() >= attention.keys()
    for b in range(len(source)):
        real = [True] * source.shape[1] if mask is None else mask[b].tolist()
        expected, *alignments = by_hand.transformer(model, source[b].tolist(), real, previous[b].tolist())
        np.testing.assert_allclose(logits.data[b], expected, rtol=1e-7, atol=1e-9)
        for path, wanted in zip((ENCODER, DECODER, ACROSS), alignments, strict=True):
            found = [attention[path.format(i)].data[b] for i in range(model.config.layers)]
            np.testing.assert_allclose(found, wanted, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("settings", EVERY)
def test_float32_is_as_near_as_it_can_be(settings):
    source, previous, _, mask = some_batch()
    fine, coarse = (random_transformer(1, dtype, **settings) for dtype in (np.float64, np.float32))
    np.testing.assert_allclose(
        coarse(source, previous, mask).data, fine(source, previous, mask).data, rtol=1e-3, atol=1e-4
    )


@given(settings=transformers(), batch=batches(), seed=SEEDS)
def test_the_logits_are_the_same_with_attention_returned(settings, batch, seed):
    model, (source, previous, mask) = random_transformer(seed, np.float64, **settings), batch
    logits, (again, _) = model(source, previous, mask), model(source, previous, mask, return_attention=True)
    np.testing.assert_allclose(logits.data, again.data, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize(
    ("activation", "expected"),
    [("relu", [0, 0, 0, 1, 2]), ("gelu", [-0.0455003, -0.1586553, 0, 0.8413447, 1.9544997])],
)
def test_feed_forward_is_equation_2(activation, expected):
    feed_forward = FeedForward(1, 2, np.random.default_rng(0), activation)
    feed_forward.W_1.data = np.array([[1, -1]], np.float32)
    feed_forward.W_2.data = np.array([[1], [0]], np.float32)
    feed_forward.b_2.data = np.array([3], np.float32)
    x = ma.tensor(np.array([[-2], [-1], [0], [1], [2]], np.float32))
    np.testing.assert_allclose(feed_forward(x).data[:, 0], np.array(expected) + 3, rtol=1e-6)


# ---------------------------------------------------------------------------------------------- causal
@given(settings=transformers(), batch=batches(), seed=SEEDS, data=st.data())
def test_a_word_changes_nothing_before_it(settings, batch, seed, data):
    model, (source, previous, mask) = random_transformer(seed, np.float64, **settings), batch
    i = data.draw(st.integers(0, previous.shape[1] - 1))
    other = previous.copy()
    other[:, i] = (other[:, i] + 1) % SIZES["target_vocab_size"]
    logits, again = (model(source, p, mask).data for p in (previous, other))
    np.testing.assert_allclose(logits[:, :i], again[:, :i], rtol=1e-7, atol=1e-9)


def test_a_word_reaches_every_position_from_its_own_on():
    model, (source, previous, _, mask) = random_transformer(dtype=np.float64), some_batch()
    other = previous.copy()
    other[:, 1] = previous[:, 1] % 4 + 1
    change = np.abs(model(source, previous, mask).data - model(source, other, mask).data).max((0, 2))
    assert change[0] < 1e-9
    assert (change[1:] > 1e-3).all()


@NORMS
@pytest.mark.parametrize("need_weights", [True, False])
def test_no_gradient_comes_from_the_future(norm, need_weights):
    layer, decoder, t = a_layer(norm=norm), a_layer(DecoderLayer, norm=norm), 2
    memory = decoder.cross_attention.keys_values(inputs(1))
    for run in (
        lambda x: layer(x, causal=True, need_weights=need_weights)[0],
        lambda x: decoder(x, memory, need_weights=need_weights)[0],
    ):
        x = inputs()
        ma.sum(run(x)[:, t] * np.arange(4.0)).backward()
        assert (x.grad[:, t + 1 :] == 0).all()
        assert (np.abs(x.grad[:, : t + 1]) > 1e-9).any(-1).all()


# ---------------------------------------------------------------------------------------------- permutations
@NORMS
@given(seed=SEEDS)
def test_without_positions_the_encoder_does_not_see_order(norm, seed):
    layers, x = [a_layer(seed=seed + k, norm=norm) for k in range(2)], inputs(seed).data
    order = np.random.default_rng(seed).permutation(x.shape[1])

    def encoded(x):
        for layer in layers:
            x = layer(x)[0]
        return x.data

    permuted = encoded(ma.tensor(x[:, order]))
    np.testing.assert_allclose(permuted, encoded(ma.tensor(x))[:, order], rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("positions", ["sinusoidal", "learned"])
def test_with_positions_order_matters(positions):
    model = random_transformer(dtype=np.float64, positions=positions)
    logits = [model(np.array([words]), np.array([[1]])).data for words in ([1, 2, 3], [3, 2, 1])]
    assert np.abs(logits[0] - logits[1]).max() > 1e-3


# ---------------------------------------------------------------------------------------------- label smoothing
@given(st.integers(2, 6), st.floats(0.01, 0.9), SEEDS)
def test_label_smoothing_is_least_at_the_smoothed_target(words, eps, seed):
    rng = np.random.default_rng(seed)
    target = int(rng.integers(words))
    q = (1 - eps) * np.eye(words)[target] + eps / words
    entropy = -(q * np.log(q)).sum()

    def loss(logits):
        return float(ma.cross_entropy(ma.tensor(logits[None]), np.array([target]), label_smoothing=eps))

    assert loss(np.log(q)) == pytest.approx(entropy, rel=1e-12)
    for _ in range(5):
        move = rng.normal(size=words)
        assert loss(np.log(q) + move) > entropy or np.ptp(move) < 1e-6
    gradient = ma.grad(lambda x: ma.cross_entropy(x, [target], label_smoothing=eps))(np.log(q)[None])
    np.testing.assert_allclose(gradient, 0, atol=1e-15)


# ---------------------------------------------------------------------------------------------- padding
@given(settings=transformers(), batch=batches(max_time=3), seed=SEEDS, more=st.integers(1, 3))
def test_padding_changes_nothing(settings, batch, seed, more):
    model, (source, previous, mask) = random_transformer(seed, np.float64, **settings), batch
    mask = np.ones(source.shape, bool) if mask is None else mask
    padded = np.pad(source, ((0, 0), (0, more)), constant_values=1)
    wider = np.pad(mask, ((0, 0), (0, more)))
    (logits, attention), (again, others) = (
        model(s, previous, m, return_attention=True) for s, m in ((source, mask), (padded, wider))
    )
    np.testing.assert_allclose(again.data, logits.data, rtol=1e-8, atol=1e-10)
    for path in (ACROSS.format(i) for i in range(model.config.layers)):
        found, wanted = others[path], attention[path]
        assert (found.data[..., source.shape[1] :] == 0).all()
        np.testing.assert_allclose(found.data[..., : source.shape[1]], wanted.data, rtol=1e-8, atol=1e-10)


def test_padding_sends_no_gradient():
    """The source's word 0 is only ever padding, so its embedding must stay as it is."""
    model, batch = random_transformer(), some_batch()
    loss_of(model, *batch).backward()
    gradient, (source, _, _, mask) = model.source_embedding.weight.grad, batch
    assert (gradient[0] == 0).all()
    assert (gradient[np.unique(source[mask])] != 0).any(1).all()


def test_a_source_that_is_all_padding_gives_numbers():
    model, (source, previous, targets, mask) = random_transformer(), some_batch()
    mask[1] = False
    loss_of(model, source, previous, targets, mask).backward()
    assert all(np.isfinite(p.grad).all() for p in model.parameters())


# ---------------------------------------------------------------------------------------------- one by one
@given(settings=transformers(), batch=batches(), seed=SEEDS)
def test_teacher_forcing_is_one_step_after_another(settings, batch, seed):
    model, (source, previous, mask) = random_transformer(seed, np.float64, **settings), batch
    logits, attention = model(source, previous, mask, return_attention=True)
    last = attention[ACROSS.format(model.config.layers - 1)]
    read = model.encode(source, mask)
    assert (read.batch, read.state.length) == (len(source), 0)
    state = read.state
    for i in range(previous.shape[1]):
        state, log_p, alignment = model.step(state, previous[:, i], read)
        assert state.length == i + 1
        np.testing.assert_allclose(log_p.data, ma.log_softmax(logits[:, i]).data, rtol=1e-7, atol=1e-9)
        np.testing.assert_allclose(alignment.data, last.data.mean(1)[:, i], rtol=1e-7, atol=1e-9)


@given(settings=transformers(), batch=batches(max_time=3), seed=SEEDS, data=st.data())
def test_rows_of_the_state_may_be_picked_at_every_step(settings, batch, seed, data):
    """As beam search does: each row goes on from a row of its own source."""
    model, (source, _, mask) = random_transformer(seed, np.float64, **settings), batch
    beam, rng = 2, np.random.default_rng(seed)
    sources = np.repeat(np.arange(len(source)), beam)
    read = model.encode(source, mask).select(sources)
    assert read.batch == len(sources)
    state, words = read.state, np.zeros((len(sources), 0), int)
    for _ in range(data.draw(st.integers(1, 3))):
        new = rng.integers(0, SIZES["target_vocab_size"], len(sources))
        words = np.concatenate([words, new[:, None]], 1)
        state, log_p, _ = model.step(state, new, read)
        expected = model(source[sources], words, None if mask is None else mask[sources])
        np.testing.assert_allclose(log_p.data, ma.log_softmax(expected[:, -1]).data, rtol=1e-7, atol=1e-9)
        rows = np.repeat(np.arange(len(source)), beam) * beam + rng.integers(0, beam, len(sources))
        state, words = state[rows], words[rows]


def test_the_source_is_projected_once():
    model, (source, previous, _, mask) = random_transformer(), some_batch()
    read = model.encode(source, mask)
    calls = []
    for layer in model.decoder:
        layer.cross_attention.keys_values = lambda *args: calls.append(args)
    state, *_ = model.step(read.state, previous[:, 0], read)
    model.step(state, previous[:, 1], read)
    assert calls == []


# ---------------------------------------------------------------------------------------------- layer norm
@pytest.mark.parametrize("kind", [EncoderLayer, DecoderLayer])
def test_without_output_matrices_a_layer_is_its_layer_norms(kind):
    for norm in ("post", "pre"):
        layer = kind(LayerConfig(4, 2, 3, norm=norm), np.random.default_rng(0))
        attentions = [layer.self_attention] + ([layer.cross_attention] if kind is DecoderLayer else [])
        for weight in [*(attention.W_O for attention in attentions), layer.feed_forward.W_2]:
            weight.data = np.zeros_like(weight.data)
        x, plain = inputs(), LayerNorm(4, 1e-6)
        found = layer(x, layer.cross_attention.keys_values(inputs(1)))[0] if kind is DecoderLayer else layer(x)[0]
        expected = x
        for _ in range(0 if norm == "pre" else len(attentions) + 1):
            expected = plain(expected)
        np.testing.assert_array_equal(found.data, expected.data)


@NORMS
def test_pre_norm_has_a_layer_norm_more_at_the_end_of_each_stack(norm):
    names = random_transformer(norm=norm).named_parameters().keys()
    assert [name for name in names if "coder_norm" in name] == (
        []
        if norm == "post"
        else [f"{stack}_norm.{part}" for stack in ("encoder", "decoder") for part in ("weight", "bias")]
    )


# ---------------------------------------------------------------------------------------------- gradients
@pytest.mark.parametrize("settings", EVERY)
def test_gradients_of_the_loss(settings):
    model, batch = random_transformer(1, np.float64, **settings), some_batch()
    parameters = model.named_parameters()
    check_gradients(lambda: loss_of(model, *batch), parameters=parameters, method="complex")
    loss_of(model, *batch).backward()
    # a bias of the keys adds the same to all scores of a query, which the softmax takes away
    idle = [name for name, p in parameters.items() if np.abs(p.grad).max() < 1e-9]
    assert idle == [name for name, _ in parameters if name.endswith("b_K")]


def test_gradients_in_float32_and_through_the_weights():
    model, (source, previous, _, mask) = random_transformer(2, layers=1), some_batch()

    def everything():
        logits, attention = model(source, previous, mask, return_attention=True)
        return logits, *attention.values()

    check_gradients(everything, parameters=model.named_parameters(), method="complex")


# ---------------------------------------------------------------------------------------------- dropout
def test_dropout_is_on_every_sub_layer_and_on_the_embeddings(monkeypatch):
    model, (source, previous, _, mask) = random_transformer(dropout=0.5), some_batch()
    shapes, plain = [], Dropout.forward
    monkeypatch.setattr(Dropout, "forward", lambda self, x: shapes.append((self.rate, x.shape)) or plain(self, x))
    model(source, previous, mask)
    n, d = SMALL["layers"], SMALL["d_model"]
    assert shapes == [(0.5, (*source.shape, d))] * (1 + 2 * n) + [(0.5, (*previous.shape, d))] * (1 + 3 * n)


def test_a_step_of_decoding_has_the_decoders_dropout(monkeypatch):
    model, (source, previous, _, mask) = random_transformer(dropout=0.5), some_batch()
    read, shapes, plain = model.encode(source, mask), [], Dropout.forward
    monkeypatch.setattr(Dropout, "forward", lambda self, x: shapes.append(x.shape) or plain(self, x))
    model.step(read.state, previous[:, 0], read)
    assert shapes == [(len(source), 1, SMALL["d_model"])] * (1 + 3 * SMALL["layers"])


@pytest.mark.parametrize("kind", [EncoderLayer, DecoderLayer])
def test_dropout_takes_the_output_of_the_sub_layer(kind, monkeypatch):
    """With everything dropped, x goes through untouched but for the layer norms."""
    monkeypatch.setattr(Dropout, "forward", lambda self, x: x * 0)
    layer, x = a_layer(kind, norm="pre"), inputs()
    found = layer(x, layer.cross_attention.keys_values(inputs(1)))[0] if kind is DecoderLayer else layer(x)[0]
    np.testing.assert_array_equal(found.data, x.data)


def test_dropout_is_off_in_eval_and_drawn_from_the_models_generator():
    def logits(seed, training):
        model, (source, previous, _, mask) = random_transformer(seed, dropout=0.5), some_batch()
        return model.train(training)(source, previous, mask).data

    np.testing.assert_array_equal(logits(1, True), logits(1, True))
    assert np.abs(logits(1, True) - logits(1, False)).max() > 0.01


# ---------------------------------------------------------------------------------------------- errors
@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"layers": 0}, "layers must be a whole number of at least 1, got 0"),
        ({"d_model": 2.5}, "d_model must be a whole number of at least 1, got 2.5"),
        ({"d_k": 0}, "d_k must be a whole number of at least 1, got 0"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\), got 1.0"),
        ({"norm": "middle"}, 'norm must be one of "post", "pre"; got \'middle\''),
        ({"positions": "none"}, 'positions must be one of "sinusoidal", "learned"; got \'none\''),
        ({"tied": True}, 'tied must be one of "all", "target", "none"; got True'),
        ({"layer_norm_eps": 0.0}, "layer_norm_eps must be positive, got 0.0"),
        ({"d_model": 511}, "sinusoidal positions need an even d_model, got 511; hint"),
        (
            {"target_vocab_size": 5},
            'one vocabulary, got source_vocab_size = 37000 and target_vocab_size = 5; hint: tied="target"',
        ),
    ],
)
def test_a_configuration_that_makes_no_sense_is_refused(wrong, message):
    config = TransformerConfig()
    for name, value in wrong.items():
        object.__setattr__(config, name, value)  # the tests' type checks would be first to refuse it
    with pytest.raises(ConfigError, match=message):
        config.__post_init__()


def test_heads_that_do_not_divide_the_model_are_refused():
    with pytest.raises(ConfigError, match="heads must divide d_model = 512, got 7"):
        TransformerConfig(heads=7)
    with pytest.raises(ConfigError, match="heads must divide d_model = 512, got 7"):
        TransformerConfig(heads=7, d_k=2)
    TransformerConfig(heads=7, d_k=2, d_v=3)
    with pytest.raises(ConfigError, match="heads must divide d_model = 256, got 3"):
        LanguageModelConfig(heads=3)


@pytest.mark.parametrize(("source", "previous", "number"), [(6, 0, 6), (0, 5, 5), (-1, 0, -1), (0, -1, -1)])
def test_words_outside_the_vocabulary_are_refused(source, previous, number):
    with pytest.raises(IndexError, match=f"embedding: id {number}"):
        random_transformer()(np.array([[1, source]]), np.array([[previous]]))


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        (lambda mask: mask[:, :3], ShapeError, r"of shape \(2, 3\) does not fit \(batch, time\) = \(2, 4\); hint"),
        (lambda mask: np.ones((2, 4), int), TypeError, "must be boolean, got int64; hint"),
    ],
)
def test_a_mask_of_another_shape_or_kind_is_refused(wrong, error, message):
    *_, mask = some_batch()
    with pytest.raises(error, match=message):
        keys_mask(wrong(mask), inputs(n=4))  # the tests' type checks would be first to refuse it elsewhere


@pytest.mark.parametrize("shape", [(3,), (2, 0), (1, 2, 3)])
def test_ids_that_are_not_a_batch_are_refused(shape):
    with pytest.raises(ShapeError, match=r"ids must be \(batch, n\), n at least 1, got"):
        check_ids(np.zeros(shape, int))


def test_what_calls_it_says_so_too():
    """As users have it: the tests' own check of shapes in signatures would come first."""
    word_embedding = WordEmbedding(3, 2, np.random.default_rng(0))
    unchecked = inspect.unwrap(WordEmbedding.forward)
    with pytest.raises(ShapeError, match=r"ids must be \(batch, n\).*got \(3,\); hint for one text: ids\[None\]"):
        unchecked(word_embedding, np.zeros(3, int))


def test_more_words_than_learned_positions_are_refused():
    model, long, short = random_transformer(positions="learned"), np.ones((1, 8), int), np.ones((1, 7), int)
    model(short, short)
    for source, previous in ((long, short), (short, long)):
        with pytest.raises(ShapeError, match="8 positions are needed, and 7 were learned; hint"):
            model(source, previous)
    read = model.encode(short)
    state = read.state
    for _ in range(7):
        state, *_ = model.step(state, np.array([1]), read)
    with pytest.raises(ShapeError, match="8 positions are needed, and 7 were learned"):
        model.step(state, np.array([1]), read)


def test_sinusoidal_positions_have_no_end():
    long = np.ones((1, 600), int)
    assert np.isfinite(random_transformer(layers=1)(long, long).data).all()


def test_the_same_seed_gives_the_same_model():
    config = dataclasses.replace(TransformerConfig(9, 9), layers=1, d_model=8, d_ff=8)
    states = [Transformer(config, np.random.default_rng(seed)).state_dict() for seed in (3, 3, 4)]
    assert all(np.array_equal(states[0][name], states[1][name]) for name in states[0])
    assert not np.array_equal(states[0]["encoder.0.self_attention.W_Q"], states[2]["encoder.0.self_attention.W_Q"])
