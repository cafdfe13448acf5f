"""The Image Transformer: published sizes, likelihoods, what a position depends on, and generation step by step."""

import inspect
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minattn as ma
from minattn.autograd import asnumpy
from minattn.errors import ConfigError, DataError, ShapeError, TrainingError
from minattn.models.pixels.image_transformer import (
    CONFIGURATIONS,
    ImageTransformer,
    ImageTransformerConfig,
    sinusoids,
)
from minattn.nn.initializers import unallocated
from minattn.testing import check_gradients

SEEDS = st.integers(0, 2**32 - 1)
SMALL = {
    "levels": 6,
    "mixtures": 2,
    "query": 4,
    "query_height": 2,
    "query_width": 2,
    "layers": 2,
    "d_model": 8,
    "d_ff": 6,
    "heads": 2,
    "dropout": 0.0,
}
FORMS = [
    {"height": 3, "width": 4, "channels": channels, "likelihood": likelihood, "blocks": blocks, "positions": positions}
    for channels, likelihood, blocks, positions in [
        (1, "categorical", "1d", "sinusoidal"),
        (3, "categorical", "2d", "learned"),
        (3, "mixture", "1d", "learned"),
        (1, "mixture", "2d", "sinusoidal"),
    ]
]
every = pytest.mark.parametrize("form", FORMS, ids=lambda form: f"{form['likelihood']} {form['blocks']}")


def small(form, seed=0, dtype=np.float64, **settings):
    config = ImageTransformerConfig(**{**SMALL, **form, **settings})
    model = ImageTransformer(config, np.random.default_rng(0)).eval()
    rng = np.random.default_rng(seed)
    for parameter in model.parameters():
        parameter.replace_data(rng.normal(scale=0.5, size=parameter.shape).astype(dtype))
    return model


def images_for(model, count=2, seed=1):
    config = model.config
    shape = count, config.channels, config.height, config.width
    return np.random.default_rng(seed).integers(0, config.levels, shape)


# ---------------------------------------------------------------------------------------------- published sizes
@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("cifar10", 38_328_576),
        ("cifar10_2d", 38_328_576),
        ("cifar10_mixture", 11_061_604 + 2 * 32 * 128),
        ("imagenet32", 38_328_576),
    ],
)
def test_parameters(name, count):
    with unallocated():
        model = ImageTransformer(CONFIGURATIONS[name], np.random.default_rng(0))
    assert model.count_parameters() == count


def test_positions_of_the_published_models():
    assert CONFIGURATIONS["cifar10"].length == 3 * 32 * 32
    assert CONFIGURATIONS["cifar10_mixture"].length == 32 * 32
    assert CONFIGURATIONS["cifar10_mixture"].mixture().size == 100


# ---------------------------------------------------------------------------------------------- likelihood
@given(st.sampled_from([2, 16, 256]), st.sampled_from([1, 3]), SEEDS)
def test_a_uniform_model_needs_the_logarithm_of_its_levels(levels, channels, seed):
    """Eight bits for 256."""
    model = small({"height": 2, "width": 3, "channels": channels}, seed, levels=levels)
    for parameter in model.output.parameters():
        parameter.replace_data(0 * parameter.numpy())
    bits = -model.log_likelihood(images_for(model)).numpy() / math.log(2)
    np.testing.assert_allclose(bits, np.full((2, 6 * channels), math.log2(levels)), rtol=1e-12)


@every
def test_all_images_together_have_probability_one(form):
    """Of a single pixel with two levels."""
    model = small({**form, "height": 1, "width": 1}, levels=2)
    channels = form["channels"]
    every_image = np.array(list(np.ndindex(*[2] * channels))).reshape(-1, channels, 1, 1)
    assert np.exp(model.log_likelihood(every_image).numpy().sum(axis=1)).sum() == pytest.approx(1)


@every
def test_gradients(form):
    model = small(form, layers=1)
    images = images_for(model, 1)
    check_gradients(lambda: model.log_likelihood(images), parameters=model.named_parameters())


# ---------------------------------------------------------------------------------------------- order
@every
def test_a_position_depends_on_what_is_generated_before_it_alone(form):
    """Changing a level changes no output up to its own position, and some later one."""
    model = small(form)
    images = images_for(model, 1)
    outputs, tokens = model(images).numpy(), model.tokens(images)
    for t in range(model.config.length):
        changed = tokens.copy()
        changed[:, t] = (changed[:, t] + 1) % model.config.levels
        found = model(model.images(changed)).numpy()
        np.testing.assert_allclose(found[:, : t + 1], outputs[:, : t + 1], rtol=1e-11, atol=1e-13)
        assert t == model.config.length - 1 or not np.allclose(found[:, t + 1 :], outputs[:, t + 1 :])


@every
def test_the_input_of_the_first_layer_by_hand(form):
    """(a) and (c) alone, without layers: the embedding of the position before, and where each position is."""
    model = small(form)
    config, images = model.config, images_for(model, 1)
    model.layers = []
    tokens, d, channels = model.tokens(images)[0], config.d_model, config.channels
    x = np.zeros((config.length, d))
    for t, position in enumerate(model.order):
        if t > 0 and model.color is None:
            table = (model.order[t - 1] % channels) * config.levels
            x[t] = np.sqrt(d) * model.embedding.numpy()[table + tokens[t - 1, 0]]
        elif t > 0:
            x[t] = (2 * tokens[t - 1] / (config.levels - 1) - 1) @ model.color.numpy()
        row, column = divmod(position, config.columns)
        if config.positions == "learned":
            x[t] += np.concatenate([model.P_row.numpy()[row], model.P_column.numpy()[column]])
        else:
            x[t] += np.concatenate([sinusoids(np.array([place]), d // 2)[0] for place in (row, column)])
    expected = x @ model.output.weight.numpy() + model.output.bias.numpy()
    np.testing.assert_allclose(model(images).numpy()[0], expected, rtol=1e-10, atol=1e-12)


@every
def test_attention_of_every_layer_is_told_and_stays_in_the_memory(form):
    model = small(form)
    images = images_for(model)
    outputs, attention = model(images, return_attention=True)
    np.testing.assert_allclose(outputs.numpy(), model(images).numpy(), rtol=1e-10, atol=1e-12)
    n = model.config.length
    assert {path: weights.shape for path, weights in attention.items()} == {
        f"layers.{i}.self_attention": (2, 2, n, n) for i in range(2)
    }
    seen = np.zeros((n, n), bool)
    for block in model.config.order()[1]:
        for i in range(block.start, block.end):
            seen[i, block.before] = True
            seen[i, block.start : i + 1] = True
    for weights in attention.values():
        assert ((weights.numpy() > 0) == seen).all()
    modules = model.named_modules()
    assert set(attention) <= {path for path, _ in modules.items()}


@every
def test_images_come_back_from_the_order_of_generation(form):
    model = small(form)
    images = images_for(model)
    np.testing.assert_array_equal(model.images(model.tokens(images)), images)


@every
@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint64])
def test_levels_may_be_whole_numbers_of_any_kind(form, dtype):
    model = small(form)
    images = images_for(model)
    found, expected = (model.log_likelihood(each).numpy() for each in (images.astype(dtype), images))
    np.testing.assert_array_equal(found, expected)
    tokens = model.tokens(images.astype(dtype))
    *_, drawn = model.sample(tokens, np.arange(model.config.length) < 3, np.random.default_rng(0))
    assert drawn.dtype == np.int64


@pytest.mark.parametrize("form", [FORMS[0], FORMS[3] | {"encoder_layers": 1, "factor": 2, "height": 4}], ids=str)
def test_keys_of_a_given_size_need_no_heads_that_divide_the_embeddings(form):
    model = small(form, heads=3, d_k=5)
    shape = (1, 1, model.config.height, 4)
    low_resolution = np.zeros((1, *model.config.low_resolution), int) if model.encoder else None
    assert np.isfinite(model.log_likelihood(np.zeros(shape, int), low_resolution).numpy()).all()
    assert {layer.self_attention.W_V.shape for layer in model.layers} == {(8, 15)}


def test_channels_of_a_pixel_follow_one_another_in_rows():
    model = small({"height": 2, "width": 2, "channels": 3})
    images = images_for(model, 1)
    assert model.tokens(images)[0, :, 0].tolist() == images[0].transpose(1, 2, 0).ravel().tolist()


def test_sines_and_cosines_from_short_waves_to_long():
    table = sinusoids(np.arange(5), 6)
    np.testing.assert_allclose(table[:, 0], np.sin(np.arange(5)))
    np.testing.assert_allclose(table[:, 2], np.sin(np.arange(5) / 10_000))
    np.testing.assert_allclose(table[:, 4], np.cos(np.arange(5) / 100))


# ---------------------------------------------------------------------------------------------- generation
@every
def test_one_position_after_another_is_the_whole(form):
    model = small(form)
    images = images_for(model)
    outputs, tokens = model(images).numpy(), model.tokens(images)
    state, new = None, tokens[:, :0]
    for t in range(model.config.length):
        state, found = model.step(state, new)
        np.testing.assert_allclose(found.numpy()[:, -1], outputs[:, t], rtol=1e-9, atol=1e-11)
        new = tokens[:, t : t + 1]


@every
@given(known=st.integers(0, 11))
def test_known_positions_stay_and_are_passed_at_once(form, known):
    model = small(form)
    tokens = model.tokens(images_for(model))
    _, found = model.step(None, tokens[:, :known])
    expected = model(model.images(tokens)).numpy()[:, : known + 1]
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-9, atol=1e-11)
    given = np.arange(model.config.length) < known
    *_, drawn = model.sample(tokens, given, np.random.default_rng(0))
    assert drawn.shape == tokens.shape
    assert (drawn[:, :known] == tokens[:, :known]).all()
    assert ((drawn >= 0) & (drawn < model.config.levels)).all()


@every
def test_what_is_given_anywhere_stays_and_the_rest_goes_by_it(form):
    """The middle rows and the last are given; the likeliest levels of the others are those of the whole pass."""
    model = small(form)
    tokens = model.tokens(images_for(model))
    given = model.order // model.config.columns > 0
    *_, drawn = model.sample(tokens, given, np.random.default_rng(0), 0.0)
    assert (drawn[:, given] == tokens[:, given]).all()
    if form["likelihood"] == "categorical":
        likeliest = model(model.images(drawn)).numpy().argmax(axis=-1)
        assert (drawn[:, ~given, 0] == likeliest[:, ~given]).all()


@every
def test_a_seed_draws_the_same_and_a_temperature_of_zero_needs_none(form):
    model = small(form)
    tokens = model.tokens(images_for(model))
    nothing = np.zeros(model.config.length, bool)

    def drawn(seed, temperature):
        *_, made = model.sample(tokens, nothing, np.random.default_rng(seed), temperature)
        return made.tolist()

    assert drawn(1, 1.0) == drawn(1, 1.0) != drawn(2, 1.0)
    assert drawn(1, 0.0) == drawn(2, 0.0)


@given(st.floats(0.05, 20), SEEDS)
def test_a_temperature_divides_the_logits(temperature, seed):
    """Levels drawn at a temperature are those that a model with such logits draws at 1."""
    model, logits = small(FORMS[0]), np.random.default_rng(seed).normal(size=(50, 1, 6))
    found = model._sampled(logits, np.random.default_rng(seed), temperature)
    expected = model._sampled(logits / temperature, np.random.default_rng(seed), 1.0)
    np.testing.assert_array_equal(found, expected)


@every
def test_a_seed_and_what_was_drawn_before_decide_a_position(form):
    """Of two images that are given alike up to a position, all is drawn alike up to it."""
    model = small(form)
    tokens, given = model.tokens(images_for(model)), np.arange(model.config.length) % 3 == 0
    *_, drawn = model.sample(tokens, given, np.random.default_rng(0))
    for t in np.flatnonzero(given)[[1, -1]]:
        changed = tokens.copy()
        changed[:, t:] = (changed[:, t:] + 1) % model.config.levels
        *_, found = model.sample(changed, given, np.random.default_rng(0))
        np.testing.assert_array_equal(found[:, :t], drawn[:, :t])


def test_draws_have_the_probabilities_of_the_model():
    """20,000 draws of the first of two pixels with three levels."""
    model = small({"height": 1, "width": 2, "channels": 1}, levels=3)
    first = next(model.sample(np.zeros((20_000, 2, 1), int), np.zeros(2, bool), np.random.default_rng(0)))
    counts = np.bincount(first[:, 0, 0], minlength=3) / 20_000
    images = np.array([[0, 0], [1, 0], [2, 0]]).reshape(3, 1, 1, 2)
    np.testing.assert_allclose(counts, np.exp(model.log_likelihood(images).numpy()[:, 0]), atol=0.015)


# ---------------------------------------------------------------------------------------------- super-resolution
LARGER = {"height": 4, "width": 4, "encoder_layers": 2, "factor": 2}
enlarged = pytest.mark.parametrize(
    "form", [{**form, **LARGER} for form in FORMS], ids=lambda form: f"{form['likelihood']} {form['blocks']}"
)


def low_resolution_for(model, count=2, seed=2):
    config = model.config
    return np.random.default_rng(seed).integers(0, config.levels, (count, *config.low_resolution))


def test_parameters_of_super_resolution():
    """Encoder layers have attention and a feed-forward network, those of the decoder attention twice."""
    config = CONFIGURATIONS["super_resolution"]
    assert (config.low_resolution, config.shape) == ((3, 8, 8), (3, 32, 32))
    with unallocated():
        model = ImageTransformer(config, np.random.default_rng(0))
    d, d_ff, rows = 512, 2048, 3 * 256
    attention, feed_forward, norm = 4 * d * d, 2 * d * d_ff + d_ff + d, 2 * d
    encoder_layer, decoder_layer = attention + feed_forward + 2 * norm, 2 * attention + feed_forward + 3 * norm
    expected = 4 * encoder_layer + 8 * decoder_layer + 2 * rows * d + d * 256 + 256
    assert model.count_parameters() == expected == 47_118_592


@enlarged
def test_with_the_low_resolution_image_the_decoder_is_causal_all_the_same(form):
    model = small(form)
    images, low_resolution = images_for(model, 1), low_resolution_for(model, 1)
    outputs, tokens = model(images, low_resolution).numpy(), model.tokens(images)
    for t in range(model.config.length):
        changed = tokens.copy()
        changed[:, t] = (changed[:, t] + 1) % model.config.levels
        found = model(model.images(changed), low_resolution).numpy()
        np.testing.assert_allclose(found[:, : t + 1], outputs[:, : t + 1], rtol=1e-11, atol=1e-13)


@enlarged
def test_every_position_depends_on_every_pixel_of_the_low_resolution_image(form):
    model = small(form)
    images, low_resolution = images_for(model, 1), low_resolution_for(model, 1)
    outputs = model(images, low_resolution).numpy()
    for place in np.ndindex(low_resolution.shape):
        changed = low_resolution.copy()
        changed[place] = (changed[place] + 1) % model.config.levels
        assert (np.abs(model(images, changed).numpy() - outputs).max(axis=-1) > 1e-12).all()


def test_the_decoder_layer_by_hand():
    """(b) and (d), in turn: local attention, attention over the encoder's output, the feed-forward network."""
    model = small(FORMS[0] | LARGER, layers=1)
    images, low_resolution = images_for(model, 1), low_resolution_for(model, 1)
    memory, _ = model.encoder(low_resolution)
    (layer,) = model.layers
    x = model._embedded(model.tokens(images)).numpy()
    q = ma.tensor(np.concatenate([np.zeros_like(x[:, :1]), x[:, :-1]], axis=1) + model._positions(0, 16))
    context, _, _ = layer.self_attention.self_attend(q, causal=True)
    q = layer.norm_1(q + context)
    context, weights = layer.cross_attention(q, memory)
    q = layer.norm_2(q + context)
    q = layer.norm_3(q + layer.feed_forward(q))
    outputs, attention = model(images, low_resolution, return_attention=True)
    np.testing.assert_allclose(outputs.numpy(), model.output(q).numpy(), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(attention["layers.0.cross_attention"].numpy(), weights.numpy(), rtol=1e-10)
    assert {path: each.shape for path, each in attention.items()} == {
        "encoder.layers.0.self_attention": (1, 2, 4, 4),
        "encoder.layers.1.self_attention": (1, 2, 4, 4),
        "layers.0.self_attention": (1, 2, 16, 16),
        "layers.0.cross_attention": (1, 2, 16, 4),
    }


@enlarged
def test_the_encoder_reads_channels_of_pixels_row_by_row(form):
    """Without layers: the level of each channel, and its row and column."""
    model = small(form)
    config, low_resolution = model.config, low_resolution_for(model, 1)
    encoder, d = model.encoder, config.d_model
    encoder.layers = []
    channels, height, width = config.low_resolution
    expected = np.zeros((height * width * channels, d))
    for i, (row, column, channel) in enumerate(np.ndindex(height, width, channels)):
        level = low_resolution[0, channel, row, column]
        expected[i] = np.sqrt(d) * encoder.embedding.numpy()[channel * config.levels + level]
        place = column * channels + channel
        if config.positions == "learned":
            expected[i] += np.concatenate([encoder.P_row.numpy()[row], encoder.P_column.numpy()[place]])
        else:
            expected[i] += np.concatenate([sinusoids(np.array([n]), d // 2)[0] for n in (row, place)])
    x, _ = encoder(low_resolution)
    np.testing.assert_allclose(x.numpy()[0], expected, rtol=1e-10, atol=1e-12)


@enlarged
def test_an_enlarged_image_is_drawn_one_position_after_another(form):
    model = small(form)
    images, low_resolution = images_for(model), low_resolution_for(model)
    outputs, tokens = model(images, low_resolution).numpy(), model.tokens(images)
    memory, state, new = model.encode(low_resolution), None, tokens[:, :0]
    for t in range(model.config.length):
        state, found = model.step(state, new, memory)
        np.testing.assert_allclose(found.numpy()[:, -1], outputs[:, t], rtol=1e-9, atol=1e-11)
        new = tokens[:, t : t + 1]
    nothing = np.zeros(model.config.length, bool)
    *_, drawn = model.sample(tokens, nothing, np.random.default_rng(0), 0.0, low_resolution)
    if form["likelihood"] == "categorical":
        likeliest = model(model.images(drawn), low_resolution).numpy().argmax(axis=-1)
        np.testing.assert_array_equal(drawn[..., 0], likeliest)


def test_gradients_reach_the_encoder():
    model = small(FORMS[1] | LARGER, layers=1)
    images, low_resolution = images_for(model, 1), low_resolution_for(model, 1)
    check_gradients(lambda: model.log_likelihood(images, low_resolution), parameters=model.encoder.named_parameters())


@pytest.mark.parametrize(
    ("encoder_layers", "low_resolution", "message"),
    [
        (1, None, "the encoder got no low-resolution images; hint: give those"),
        (0, np.zeros((1, 1, 2, 2), int), "has no encoder for low-resolution images; hint: encoder_layers=4"),
        (1, np.zeros((1, 1, 4, 4), int), r"expected whole numbers \(batch, 1, 2, 2\)"),
    ],
)
def test_low_resolution_images_that_do_not_fit_are_refused(encoder_layers, low_resolution, message):
    model = small(FORMS[0] | LARGER, encoder_layers=encoder_layers)
    with pytest.raises(ShapeError, match=message):
        model.log_likelihood(images_for(model, 1), low_resolution)


# ---------------------------------------------------------------------------------------------- what is refused
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"levels": 1}, "at least 2 levels, got 1"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\), got 1.0"),
        ({"heads": 3}, "heads must divide d_model = 512, got 3"),
        ({"d_model": 6, "heads": 2}, "share d_model by halves and quarters, got 6"),
        ({"likelihood": "mixture", "channels": 2}, "1 or 3 channels"),
        ({"encoder_layers": -1}, "at least 0 layers, got -1"),
        ({"encoder_layers": 1, "factor": 5}, "divide 32 rows and 32 columns, got 5"),
        ({"encoder_layers": 1, "factor": 1}, "factor must be at least 2"),
        ({"query": 0}, "query must be a whole number of at least 1"),
        ({"layer_norm_eps": -1.0}, "layer_norm_eps must be a positive number, got -1.0"),
        ({"layer_norm_eps": math.nan}, "layer_norm_eps must be a positive number, got nan"),
        ({"d_k": 0, "encoder_layers": 1}, "d_k must be a whole number of at least 1, got 0"),
    ],
)
def test_settings_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        replace(CONFIGURATIONS["cifar10"], **changes)


@pytest.mark.parametrize("shape", [(1, 3, 4, 3), (1, 3, 3, 4, 1), (3, 3, 4)])
def test_images_of_another_size_are_refused(shape):
    model = small(FORMS[0])
    with pytest.raises(ShapeError, match=r"expected whole numbers \(batch, 1, 3, 4\)"):
        type(model).tokens.__wrapped__(model, np.zeros(shape, int))


@pytest.mark.parametrize("level", [-1, 6])
def test_levels_that_there_are_not_are_refused(level):
    model = small(FORMS[1])
    with pytest.raises(DataError, match="expected 0 to 5; hint: images with as many levels"):
        model(np.full((1, 3, 3, 4), level))


def test_real_numbers_are_no_levels():
    model = small(FORMS[0])
    with pytest.raises(ShapeError, match="got images float64"):
        type(model).tokens.__wrapped__(model, np.zeros((1, 1, 3, 4)))


@pytest.mark.parametrize("temperature", [-1.0, 1e31, math.inf, math.nan])
def test_temperatures_that_are_none_are_refused(temperature):
    with pytest.raises(ConfigError, match="a number from 0 to 1e30"):
        small(FORMS[0]).sample(np.zeros((1, 12, 1), int), np.zeros(12, bool), np.random.default_rng(0), temperature)


@pytest.mark.parametrize(("positions", "given"), [(5, 12), (20, 12), (12, 5), (12, 20)])
def test_another_number_of_positions_is_refused(positions, given):
    with pytest.raises(ShapeError, match=f"has 12 positions, got levels of {positions} and which are given of {given}"):
        inspect.unwrap(ImageTransformer.sample)(
            small(FORMS[0]), np.zeros((1, positions, 1), int), np.zeros(given, bool), np.random.default_rng(0)
        )


def test_a_model_that_diverged_draws_nothing():
    model = small(FORMS[0])
    model.output.bias.replace_data(np.full(6, np.nan))
    with pytest.raises(TrainingError, match="NaN"):
        next(model.sample(np.zeros((1, 12, 1), int), np.zeros(12, bool), np.random.default_rng(0)))


# ---------------------------------------------------------------------------------------------- devices
@every
def test_the_same_numbers_on_every_device(backend, form):
    model = small(form, dtype=np.float32)
    images = images_for(model)
    model.log_likelihood(images).mean().backward()
    expected = {name: parameter.grad for name, parameter in model.named_parameters().items()}
    there = small(form, dtype=np.float32).to(backend.device)
    there.log_likelihood(ma.to_device(images, backend.device)).mean().backward()
    for name, parameter in there.named_parameters().items():
        found = asnumpy(parameter.grad)
        np.testing.assert_allclose(found, expected[name], rtol=1e-3, atol=1e-5, err_msg=name)


def test_the_same_numbers_of_super_resolution_on_every_device(backend):
    form = FORMS[0] | LARGER
    model, there = small(form, dtype=np.float32), small(form, dtype=np.float32).to(backend.device)
    images, low_resolution = images_for(model), low_resolution_for(model)
    model.log_likelihood(images, low_resolution).mean().backward()
    expected = {name: parameter.grad for name, parameter in model.named_parameters().items()}
    images, low_resolution = (ma.to_device(each, backend.device) for each in (images, low_resolution))
    there.log_likelihood(images, low_resolution).mean().backward()
    for name, parameter in there.named_parameters().items():
        found = asnumpy(parameter.grad)
        np.testing.assert_allclose(found, expected[name], rtol=1e-3, atol=1e-5, err_msg=name)
