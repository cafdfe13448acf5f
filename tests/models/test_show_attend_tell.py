"""Show, Attend and Tell against the paper's equations written out by hand, its published size, and what must hold."""

import captions_by_hand
import fakecupy
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_models import SEEDS, randomised

import minattn as ma
from minattn.attention.sequence import doubly_stochastic_penalty, hard_weights
from minattn.attention.sequence.visual_hard import HardAttentionLoss
from minattn.autograd import asnumpy, ops
from minattn.errors import ConfigError, ShapeError
from minattn.models import Captioner, ShowAttendTell, ShowAttendTellConfig, beam_search
from minattn.models.captions.captioner import SmallEncoder, SmallEncoderConfig, maps_shape
from minattn.models.captions.show_attend_tell import CONFIGURATIONS, Draws
from minattn.nn import initializers
from minattn.testing import check_gradients
from minattn.training import Adam, clip_grad_norm

BOS, EOS, PAD = 1, 2, 0
SIZES = {"vocab_size": 6, "annotation": 3, "embedding": 2, "hidden": 3}
KINDS = pytest.mark.parametrize("attention", ["soft", "hard", "none"])


def random_network(seed=0, dtype=np.float64, **settings):
    config = ShowAttendTellConfig(**{**SIZES, "dropout": 0.0, **settings})
    return randomised(ShowAttendTell(config, np.random.default_rng(seed)), seed, dtype)


@st.composite
def configurations(draw):
    sizes = {name: draw(st.integers(1, 3)) for name in ("annotation", "embedding", "hidden")}
    layers = {name: draw(st.integers(1, 3)) for name in ("attention_layers", "init_layers")}
    return {**sizes, **layers, "gate": draw(st.booleans()), "attention": draw(st.sampled_from(["soft", "none"]))}


@st.composite
def batches(draw, size):
    """(annotations of this size, previous words)."""
    images, locations, words = draw(st.integers(1, 3)), draw(st.integers(2, 4)), draw(st.integers(1, 4))
    rng = np.random.default_rng(draw(SEEDS))
    return rng.normal(size=(images, locations, size)), rng.integers(0, SIZES["vocab_size"], (images, words))


def some_batch(seed=0, locations=4, size=SIZES["annotation"]):
    """Annotations, previous words, words with padding, and which are words."""
    rng = np.random.default_rng(seed)
    annotations = ma.tensor(rng.normal(size=(2, locations, size)))
    previous, words = rng.integers(1, SIZES["vocab_size"], (2, 2, 3))
    words[1, 2] = PAD
    return annotations, previous, words


def loss_of(model, annotations, previous, words, penalty=0.5):
    logits, attention = model(annotations, previous, return_attention=True)
    loss = ops.cross_entropy(logits, words, ignore_index=PAD, reduction="sum") / len(words)
    if attention:
        loss = loss + penalty * doubly_stochastic_penalty(attention["attention"], words != PAD)
    return loss


# ---------------------------------------------------------------------------------------------- the equations
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@given(settings=configurations(), seed=SEEDS, data=st.data())
def test_the_network_is_the_papers_equations(dtype, settings, seed, data):
    model = random_network(seed, dtype, **settings)
    annotations, previous = data.draw(batches(settings["annotation"]))
    annotations = ma.tensor(annotations.astype(dtype))
    logits, attention = model(annotations, previous, return_attention=True)
    assert logits.dtype == dtype
    tolerance = 2e-4 if dtype == np.float32 else 1e-10
    for b in range(len(previous)):
        expected, weights = captions_by_hand.network(model, annotations.data[b].tolist(), previous[b].tolist())
        np.testing.assert_allclose(logits.data[b], expected, rtol=tolerance, atol=tolerance)
        assert bool(attention) == (weights is not None)
        if attention:
            np.testing.assert_allclose(attention["attention"].data[b], weights, rtol=tolerance, atol=tolerance)


@given(seed=SEEDS, data=st.data())
def test_hard_attention_is_the_same_with_locations_drawn(seed, data):
    model = random_network(seed, attention="hard")
    annotations, previous = data.draw(batches(SIZES["annotation"]))
    rng = np.random.default_rng(seed)
    draws = Draws(rng.random(previous.shape), rng.random(len(previous)) < 0.5)
    logits = model(ma.tensor(annotations), previous, draws)
    for b in range(len(previous)):
        numbers = draws.uniform[b].tolist() if draws.sampled[b] else None
        expected, _ = captions_by_hand.network(model, annotations[b].tolist(), previous[b].tolist(), numbers)
        np.testing.assert_allclose(logits.data[b], expected, rtol=1e-9, atol=1e-10)


@given(settings=configurations(), seed=SEEDS, data=st.data())
def test_teacher_forcing_is_one_step_after_another(settings, seed, data):
    model = random_network(seed, **settings)
    annotations, previous = data.draw(batches(settings["annotation"]))
    logits, attention = model(ma.tensor(annotations), previous, return_attention=True)
    source = model.encode(ma.tensor(annotations))
    state = source.state
    for t in range(previous.shape[1]):
        state, log_p, weights = model.step(state, previous[:, t], source)
        np.testing.assert_allclose(log_p.data, ma.log_softmax(logits[:, t]).data, rtol=1e-9, atol=1e-11)
        if attention:
            np.testing.assert_allclose(weights.data, attention["attention"].data[:, t], rtol=1e-9, atol=1e-11)
        else:
            np.testing.assert_array_equal(weights.data, np.ones((len(previous), 1)))


# ---------------------------------------------------------------------------------------------- gradients
@pytest.mark.parametrize("settings", [{}, {"gate": False, "attention_layers": 1}, {"attention": "none"}])
def test_gradients_of_the_loss(settings):
    model, batch = random_network(1, **settings), some_batch()
    parameters = model.named_parameters()
    check_gradients(lambda: loss_of(model, *batch), parameters=parameters, method="complex")
    for parameter in model.parameters():
        parameter.grad = None
    loss_of(model, *batch).backward()
    without = [name for name, p in parameters.items() if not np.any(np.abs(p.grad) > 1e-14)]
    assert without == ["attention.c"] * (model.attention is not None)  # it moves no weight


def test_gradients_reach_the_annotations():
    model, (annotations, previous, words) = random_network(2), some_batch()
    check_gradients(lambda a: loss_of(model, a, previous, words), annotations.data, method="complex")


# ---------------------------------------------------------------------------------------------- identities
@given(seed=SEEDS, data=st.data())
def test_with_no_place_drawn_hard_attention_is_soft_attention(seed, data):
    annotations, previous = data.draw(batches(SIZES["annotation"]))
    soft, hard = random_network(seed), random_network(seed, attention="hard")
    draws = Draws(np.random.default_rng(seed).random(previous.shape), np.zeros(len(previous), bool))
    expected = soft(ma.tensor(annotations), previous)
    np.testing.assert_array_equal(hard(ma.tensor(annotations), previous, draws).data, expected.data)
    np.testing.assert_array_equal(hard(ma.tensor(annotations), previous).data, expected.data)


@given(settings=configurations(), seed=SEEDS, data=st.data())
def test_the_order_of_the_locations_changes_no_logit_and_no_gradient(settings, seed, data):
    model = random_network(seed, **settings)
    annotations, previous = data.draw(batches(settings["annotation"]))
    order = np.random.default_rng(seed).permutation(annotations.shape[1])

    def loss_and_gradients(a):
        for parameter in model.parameters():
            parameter.grad = None
        loss = loss_of(model, ma.tensor(a), previous, previous)
        loss.backward()
        return [loss.data, *(p.grad for p in model.parameters() if p.grad is not None)]

    pairs = zip(loss_and_gradients(annotations), loss_and_gradients(annotations[:, order]), strict=True)
    for one, other in pairs:
        np.testing.assert_allclose(one, other, rtol=1e-7, atol=1e-9)


@given(seed=SEEDS, data=st.data())
def test_with_the_gate_closed_only_the_first_state_knows_the_image(seed, data):
    model = random_network(seed)
    annotations, previous = data.draw(batches(SIZES["annotation"]))
    model.attention.W_beta.data, model.attention.b_beta.data = np.zeros((3, 1)), np.array([-1e3])
    other = annotations - annotations.mean(1, keepdims=True)
    other = annotations.mean(1, keepdims=True) + 3 * other  # another image with the same mean
    first, second = (model(ma.tensor(a), previous).data for a in (annotations, other))
    np.testing.assert_allclose(first, second, rtol=1e-8, atol=1e-9)


def test_steps_may_look_at_the_likeliest_place_alone():
    """Which is the same as attention whose energies are large."""
    model, (annotations, previous, _) = random_network(4, attention="hard"), some_batch()
    source = model.encode(annotations, likeliest=True)
    _, log_p, weights = model.step(source.state, previous[:, 0], source.select(np.array([0, 1])))
    _, expected, soft = model.step(source.state, previous[:, 0], model.encode(annotations))
    np.testing.assert_array_equal(weights.data, soft.data)
    assert np.abs(log_p.data - expected.data).max() > 1e-3
    model.attention.U.data = 1e6 * model.attention.U.data
    _, sharp, _ = model.step(source.state, previous[:, 0], model.encode(annotations))
    np.testing.assert_allclose(log_p.data, sharp.data, rtol=1e-9, atol=1e-12)


@KINDS
def test_dropout_is_of_training_alone(attention):
    model = random_network(attention=attention, dropout=0.5)
    annotations, previous, _ = some_batch()
    first, second = (model(annotations, previous).data for _ in range(2))
    assert (first != second).any()
    model.eval()
    np.testing.assert_array_equal(model(annotations, previous).data, model(annotations, previous).data)


# ---------------------------------------------------------------------------------------------- search
@KINDS
def test_a_beam_as_wide_as_all_sequences_finds_the_likeliest(attention):
    model = random_network(3, attention=attention, vocab_size=4)
    annotations = ma.tensor(np.random.default_rng(3).normal(size=(2, 3, SIZES["annotation"])))
    found = beam_search(model, model.encode(annotations), 16, BOS, EOS, 2)
    for b, hypotheses in enumerate(found):
        totals = {}
        for first in range(4):
            for second in range(4):
                logits = model(annotations[b : b + 1], np.array([[BOS, first]]))
                log_p = ma.log_softmax(logits).data[0]
                sequence = () if first == EOS else (first,) if second == EOS else (first, second)
                totals[sequence] = log_p[0, first] + (0 if first == EOS else log_p[1, second])
        best = max(totals, key=totals.get)
        assert tuple(hypotheses[0].ids) == best
        assert hypotheses[0].log_probability == pytest.approx(totals[best])
        assert hypotheses[0].alignment.shape[1] == (1 if attention == "none" else 3)


# ---------------------------------------------------------------------------------------------- published sizes
BLOCKS = {
    "embedding": 5_120_000,
    "lstm": 20_340_000,
    "attention": 1_184_769,
    "second attention layer": 262_656,
    "gate": 1_801,
    "first state": 2_109_456,
    "L_h": 922_112,
    "L_z": 262_656,
    "L_o": 5_130_000,
}


def block_of(name):
    first, _, rest = name.partition(".")
    if first == "attention":
        if rest in ("W_beta", "b_beta"):
            return "gate"
        return "second attention layer" if rest in ("W_c.1", "b.1") else "attention"
    if first.startswith("init_"):
        return "first state"
    return "lstm" if first in ("W", "W_z", "U", "b") else first


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_the_published_network_has_35_333_450_parameters(name):
    """Counted part by part from the authors' code and settings; the paper gives no count."""
    with initializers.unallocated():
        model = ShowAttendTell(CONFIGURATIONS[name], np.random.default_rng(0))
    counts = dict.fromkeys(BLOCKS, 0)
    for path, parameter in model.named_parameters().items():
        counts[block_of(path)] += parameter.size
    assert counts == BLOCKS
    assert model.count_parameters() == sum(BLOCKS.values()) == 35_333_450
    images = ma.tensor(np.zeros((0, 196, 512), np.float32))
    assert model(images, np.zeros((0, 3), int)).shape == (0, 3, 10_000)


def test_parameters_start_as_in_the_authors_code():
    model = ShowAttendTell(ShowAttendTellConfig(60, 40, 40, 50), np.random.default_rng(0))
    starts = {name: p.data for name, p in model.named_parameters().items()}
    for name, start in starts.items():
        if name.rpartition(".")[2] in ("b", "c", "b_beta", "bias", "0", "1") and start.ndim == 1:
            assert not start.any(), name
        elif name == "U":
            for block in np.split(start, 4, 1):
                np.testing.assert_allclose(block.T @ block, np.eye(50), atol=1e-5)
        elif start.ndim == 2 and start.shape[0] == start.shape[1] and name != "attention.W_c.0":
            np.testing.assert_allclose(start.T @ start, np.eye(len(start)), atol=1e-5, err_msg=name)
        else:
            assert start.std() == pytest.approx(0.01, rel=0.3), name


# ---------------------------------------------------------------------------------------------- what is refused
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"hidden": 0}, "hidden must be a whole number of at least 1"),
        ({"attention": "firm"}, "attention must be one of .*got 'firm'"),
        ({"init": "he"}, "init must be one of .*got 'he'"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\)"),
        ({"gate": 1}, "gate must be .*got 1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, message):
    config = ShowAttendTellConfig()
    for name, value in settings.items():
        object.__setattr__(config, name, value)  # the tests' type checks would be first to refuse it
    with pytest.raises(ConfigError, match=message):
        config.__post_init__()


@pytest.mark.parametrize(("attention", "locations"), [("soft", 1), ("hard", 1), ("none", 0)])
def test_an_image_with_nothing_to_choose_is_refused(attention, locations):
    model = random_network(attention=attention)
    with pytest.raises(ShapeError, match=f"an image of {locations} annotations leaves attention nothing to choose"):
        model(ma.tensor(np.zeros((1, locations, 3))), np.ones((1, 2), int))


# ---------------------------------------------------------------------------------------------- with an encoder
def captioner(attention="soft", frozen=False, dtype=np.float32):
    rng = np.random.default_rng(0)
    encoder = SmallEncoder(SmallEncoderConfig(channels=1, widths=(2, 3, 3, 3)), rng)
    decoder = ShowAttendTell(ShowAttendTellConfig(**SIZES, attention=attention, dropout=0.0, init="glorot"), rng)
    hard = HardAttentionLoss() if attention == "hard" else None
    model = Captioner(encoder, decoder, rng, frozen, hard)
    for parameter in model.parameters():
        parameter.replace_data(parameter.data.astype(dtype))
    return model


def some_images(seed=0, dtype=np.float32):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(3, 1, 24, 16)).astype(dtype), rng.integers(1, SIZES["vocab_size"], (3, 4))


def test_locations_are_read_row_by_row():
    model, (images, words) = captioner().eval(), some_images()
    maps = model.encoder.features(ma.tensor(images)).data
    assert maps.shape[1:] == maps_shape(model.encoder, (1, 24, 16)) == (3, 3, 2)
    annotations = model.annotations(ma.tensor(images)).data
    for i, (row, column) in enumerate(np.ndindex(3, 2)):
        np.testing.assert_array_equal(annotations[:, i], maps[:, :, row, column])
    logits, attention = model(ma.tensor(images), words, return_attention=True)
    np.testing.assert_array_equal(logits.data, model.decoder(ma.tensor(annotations), words).data)
    assert attention["decoder.attention"].shape == (3, 4, 6)
    assert model.named_modules()["decoder.attention"] is model.decoder.attention


def test_a_place_lies_in_the_middle_of_what_its_annotation_sees():
    encoder = captioner().encoder.eval()
    images = ma.tensor(np.random.default_rng(0).normal(size=(1, 1, 64, 48)).astype(np.float32), requires_grad=True)
    maps = encoder.features(images)
    seen = np.zeros((64, 48))
    for channel in range(maps.shape[1]):
        images.grad = None
        encoder.features(images)[0, channel, 4, 2].backward()
        seen += np.abs(images.grad[0, 0])
    rows, columns = np.nonzero(seen.any(1))[0], np.nonzero(seen.any(0))[0]
    assert (rows[0] + rows[-1] + 1) / 2 == 4 * 8 + 4
    assert (columns[0] + columns[-1] + 1) / 2 == 2 * 8 + 4
    assert len(rows) == len(columns) == 22


def test_the_small_encoder_sees_where_it_is():
    """A thing of the same form has other annotations on the left than on the right, far from the border."""
    encoder = captioner().encoder.eval()
    images = np.zeros((2, 1, 64, 96), np.float32)
    images[0, 0, 28:36, 24:32] = images[1, 0, 28:36, 64:72] = 1
    left, right = encoder.features(ma.tensor(images)).data
    assert np.abs(left[:, 4, 3] - right[:, 4, 8]).max() > 1e-3


def test_a_frozen_encoder_stays_as_it_is():
    model, (images, words) = captioner(frozen=True).train(), some_images()
    before = model.encoder.state_dict()
    optimizer = Adam(model.named_parameters(), 0.1)
    logits = model(ma.tensor(images), words[:, :-1])
    ops.cross_entropy(logits, words[:, 1:]).backward()
    optimizer.step()
    for name, array in model.encoder.state_dict().items():
        np.testing.assert_array_equal(array, before[name], err_msg=name)
    assert all(np.any(p.grad) for name, p in model.decoder.named_parameters().items() if name != "attention.c")


def test_chance_is_decided_for_each_caption_or_for_the_whole_batch():
    model = captioner("hard")
    each = [model.draw(200, 3, 0.5) for _ in range(3)]
    assert all(0.3 < draws.sampled.mean() < 0.7 and draws.uniform.shape == (200, 3) for draws in each)
    whole = {bool(model.draw(50, 3, 0.5, per_batch=True).sampled.all()) for _ in range(20)}
    assert whole == {True, False}
    assert all(len(set(model.draw(50, 3, 0.5, per_batch=True).sampled.tolist())) == 1 for _ in range(5))
    assert model.draw(9, 1, 1.0).sampled.all()
    assert not model.draw(9, 1, 0.0).sampled.any()


def training_step(model, images, words, draws):
    """(loss, gradient norm), unread, of one step of Adam."""
    optimizer = Adam(model.named_parameters(), 0.01, eps=1e-4)
    mask = words[:, 1:] != PAD
    logits, attention = model(ma.tensor(images), words[:, :-1], draws, return_attention=True)
    loss = ops.cross_entropy(logits, words[:, 1:], PAD, reduction="sum") / len(words)
    if draws is not None:
        weights = attention["decoder.attention"]
        chosen = np.broadcast_to(draws.sampled[:, None], mask.shape)
        log_p = -ops.cross_entropy(logits, words[:, 1:], PAD, reduction="none")
        loss = model.hard_loss(log_p, weights, hard_weights(weights, draws.uniform, chosen), draws.sampled, mask)
    if attention:
        loss = loss + doubly_stochastic_penalty(attention["decoder.attention"], mask)
    loss.backward()
    norm = clip_grad_norm(model.parameters(), 0.1)
    optimizer.step()
    return loss, norm


@KINDS
def test_a_training_step_and_a_search_on_every_backend(gpu, attention):
    images, words = some_images()
    words[1, 3] = PAD
    model, expected = captioner(attention), captioner(attention)
    draws = expected.draw(3, 3, 0.5) if attention == "hard" else None
    loss, norm = training_step(expected, images, words, draws)
    model.to(gpu.device)
    with fakecupy.no_sync():
        found_loss, found_norm = training_step(model, gpu.array(images), words, draws)
    assert float(found_loss) == pytest.approx(float(loss), rel=1e-5)
    assert float(found_norm) == pytest.approx(float(norm), rel=1e-4)
    for name, array in model.state_dict().items():
        np.testing.assert_allclose(array, expected.state_dict()[name], rtol=1e-4, atol=5e-5, err_msg=name)
    one, other = (
        beam_search(m.eval(), m.encode(ma.tensor(x)), 2, BOS, EOS, 4)
        for m, x in ((model, gpu.array(images)), (expected, images))
    )
    assert [[h.ids for h in row] for row in one] == [[h.ids for h in row] for row in other]
    assert asnumpy(one[0][0].alignment).shape == other[0][0].alignment.shape


def test_layers_before_the_first_state_drop_out_in_training():
    annotations = ma.tensor(np.random.default_rng(0).normal(size=(2, 3, 64)).astype(np.float32))
    for layers, changes in ((1, False), (2, True)):
        config = ShowAttendTellConfig(9, 64, 3, 5, init_layers=layers, dropout=0.5, init="glorot")
        model = ShowAttendTell(config, np.random.default_rng(0)).train()
        first, second = (model.encode(annotations).state.hidden.numpy() for _ in range(2))
        assert (first != second).any() == changes
        model.eval()
        first, second = (model.encode(annotations).state.hidden.numpy() for _ in range(2))
        np.testing.assert_array_equal(first, second)
