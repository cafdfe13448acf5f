"""The discretized mixture of logistics against the formula, as a distribution, and drawn from."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minattn as ma
from minattn.errors import ConfigError
from minattn.models.pixels.logistic_mixture import LogisticMixture, bits, log_probability
from minattn.testing import check_gradients

SEEDS = st.integers(0, 2**32 - 1)
SHAPES = st.sampled_from([1, 3])


def sigma(x):
    return 1 / (1 + np.exp(-x))


def p_by_hand(x, mean, scale, levels):
    """(a), one number."""
    half = 1 / (levels - 1)
    upper = 1.0 if x > 1 - half else sigma((x + half - mean) / scale)
    lower = 0.0 if x < -1 + half else sigma((x - half - mean) / scale)
    return upper - lower


@given(SHAPES, st.integers(1, 3), st.integers(2, 9), SEEDS)
def test_the_likelihood_by_hand(channels, mixtures, levels, seed):
    mixture = LogisticMixture(channels, mixtures, levels)
    rng = np.random.default_rng(seed)
    outputs, pixel = rng.normal(size=mixture.size), rng.integers(0, levels, channels)
    x = pixel * 2 / (levels - 1) - 1
    pi = np.exp(outputs[:mixtures]) / np.exp(outputs[:mixtures]).sum()
    total = 0
    for k, rest in enumerate(outputs[mixtures:].reshape(mixtures, -1)):
        mu, scale = list(rest[:channels]), np.exp(np.maximum(rest[channels : 2 * channels], -7))
        if channels == 3:
            a, b, c = np.tanh(rest[6:])
            mu[1] += a * x[0]
            mu[2] += b * x[0] + c * x[1]
        total += pi[k] * np.prod([p_by_hand(*values, levels) for values in zip(x, mu, scale, strict=True)])
    found = mixture.log_likelihood(ma.tensor(outputs[None]), pixel[None]).numpy()
    np.testing.assert_allclose(found, [np.log(total)], rtol=1e-8, atol=1e-14)  # digits of 1 - p


@given(st.integers(2, 256), st.floats(-1.5, 1.5), st.floats(-7, 3))
def test_levels_are_all_there_is(levels, mean, log_scale):
    """The bins sum to 1, the first and the last reaching to infinity."""
    x = np.arange(levels) * 2 / (levels - 1) - 1
    log_p = log_probability(x, ma.tensor(np.full(levels, mean)), ma.tensor(np.full(levels, log_scale)), levels)
    assert np.exp(log_p.numpy()).sum() == pytest.approx(1, abs=1e-12)


def test_the_surest_pixel_there_can_be():
    """With log s = -7 and the mean in the middle of its bin, p = tanh(e^7 / 510); in the first bin sigma(e^7 / 255)."""
    mixture = LogisticMixture(1, 1)
    outputs = np.array([[0, 100 * 2 / 255 - 1, -50.0], [0, -1, -50.0]])
    p = np.exp(mixture.log_likelihood(ma.tensor(outputs), np.array([[100], [0]])).numpy())
    np.testing.assert_allclose(p, [math.tanh(math.exp(7) / 510), sigma(math.exp(7) / 255)], rtol=1e-12)
    np.testing.assert_allclose([bits(-math.log(each)) for each in p], [0.03913, 0.01943], atol=5e-6)


def test_the_most_unlikely_levels_keep_their_digits():
    """A mean a thousand deviations away: log p is about -(distance in deviations), and so are its gradients."""
    x, scale = np.array([0.5]), math.exp(-7)
    mean = ma.tensor(np.array([-0.5], np.float32), requires_grad=True)
    log_p = log_probability(x.astype(np.float32), mean, ma.tensor(np.array([-7.0], np.float32)), 256)
    w = (0.5 - 1 / 255 + 0.5) / scale
    np.testing.assert_allclose(log_p.numpy(), [-w + math.log1p(-math.exp(-2 / 255 / scale))], rtol=1e-5)
    log_p.sum().backward()
    np.testing.assert_allclose(mean.grad, [1 / scale], rtol=1e-5)


@pytest.mark.parametrize("log_scale", [-20.0, -7.0, 0.0, 20.0, 59.0, 61.0, 85.0, 104.0])
def test_scales_of_any_size_have_probabilities_and_gradients_in_float32(log_scale):
    """A very flat logistic has 2h / (4s) within a bin: its logarithm falls by 1 with log s."""
    scale = ma.tensor(np.array([log_scale], np.float32), requires_grad=True)
    log_p = log_probability(np.array([0.0], np.float32), ma.tensor(np.array([0.3], np.float32)), scale, 256)
    log_p.sum().backward()
    assert np.isfinite(log_p.numpy()).all()
    assert np.isfinite(scale.grad).all()
    if log_scale >= 20:
        np.testing.assert_allclose(log_p.numpy(), [math.log(2 / 255 / 4) - log_scale], rtol=1e-5)
        np.testing.assert_allclose(scale.grad, [-1], rtol=1e-5)


@given(SHAPES, st.integers(1, 3), SEEDS)
def test_gradients(channels, mixtures, seed):
    mixture = LogisticMixture(channels, mixtures, 8)
    rng = np.random.default_rng(seed)
    outputs, pixels = rng.normal(size=(2, 3, mixture.size)), rng.integers(0, 8, (2, 3, channels))
    check_gradients(lambda outputs: mixture.log_likelihood(outputs, pixels), outputs, seed=seed)


@given(SEEDS)
def test_logistics_may_change_places(seed):
    mixture = LogisticMixture(3, 2, 16)
    rng = np.random.default_rng(seed)
    outputs, pixels = rng.normal(size=(4, mixture.size)), rng.integers(0, 16, (4, 3))
    logits, rest = outputs[:, :2], outputs[:, 2:].reshape(4, 2, -1)
    swapped = np.concatenate([logits[:, ::-1], rest[:, ::-1].reshape(4, -1)], axis=1)
    found, expected = (mixture.log_likelihood(ma.tensor(each), pixels).numpy() for each in (swapped, outputs))
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@given(SEEDS)
def test_without_coefficients_the_channels_of_a_logistic_are_independent(seed):
    mixture, single = LogisticMixture(3, 1, 16), LogisticMixture(1, 1, 16)
    rng = np.random.default_rng(seed)
    outputs, pixels = rng.normal(size=(5, mixture.size)), rng.integers(0, 16, (5, 3))
    outputs[:, 7:] = 0
    alone = [single.log_likelihood(ma.tensor(outputs[:, [0, 1 + c, 4 + c]]), pixels[:, [c]]).numpy() for c in range(3)]
    np.testing.assert_allclose(mixture.log_likelihood(ma.tensor(outputs), pixels).numpy(), sum(alone), rtol=1e-10)


def test_what_is_drawn_is_as_likely_as_it_should_be():
    """100,000 draws of one pixel whose channels depend strongly on one another, against its probabilities."""
    mixture, levels = LogisticMixture(3, 2, 4), 4
    rng = np.random.default_rng(0)
    outputs = rng.normal(size=mixture.size)
    for logistic in (2, 11):  # three means, three log scales and a, b, c
        outputs[logistic + 3 : logistic + 9] = -1, -1, -1, 1.5, -1.5, 1.5
    drawn = mixture.sample(np.broadcast_to(outputs, (100_000, mixture.size)), rng)
    every = np.stack(np.meshgrid(*[np.arange(levels)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    p = np.exp(mixture.log_likelihood(ma.tensor(np.broadcast_to(outputs, (64, mixture.size)).copy()), every).numpy())
    counts = np.bincount(drawn @ [16, 4, 1], minlength=64)
    assert p.sum() == pytest.approx(1)
    assert abs(counts / 1e5 - p).sum() / 2 < 0.015, "the total variation; 0.009 by chance"


def test_a_temperature_of_zero_takes_the_means_of_the_likeliest():
    mixture = LogisticMixture(1, 2, 5)
    outputs = np.array([[0.0, 1.0, 0.9, 0.0, -0.4, 0.0]])  # logits of two, then a mean and a log scale of each
    for seed in range(5):
        assert mixture.sample(outputs, np.random.default_rng(seed), temperature=0.0).tolist() == [[1]]


@given(SHAPES, st.floats(0.05, 20), SEEDS)
def test_a_temperature_divides_the_logits_and_multiplies_the_deviations(channels, temperature, seed):
    mixture, k = LogisticMixture(channels, 2, 16), 2
    outputs = np.random.default_rng(seed).normal(size=(50, mixture.size))
    changed = outputs.copy()
    changed[:, :k] /= temperature
    changed[:, k:].reshape(50, k, -1)[..., channels : 2 * channels] += math.log(temperature)
    found = mixture.sample(outputs, np.random.default_rng(seed), temperature)
    np.testing.assert_array_equal(found, mixture.sample(changed, np.random.default_rng(seed)))


@pytest.mark.parametrize("temperature", [0.0, 1e-300, 1.0, 1e30])
def test_scales_and_temperatures_of_any_size_draw_levels(temperature):
    """Of a flat logistic the first and the last level; at 0 the mean, however flat."""
    mixture, outputs = LogisticMixture(1, 1, 5), np.tile([0.0, 0.5, 1000.0], (200, 1))
    drawn = set(mixture.sample(outputs, np.random.default_rng(0), temperature).ravel().tolist())
    assert drawn == ({3} if temperature < 1e-200 else {0, 4})


def test_channels_are_drawn_one_after_another():
    """Without noise the levels are those of m_1, m_2 + a x_1 and m_3 + b x_1 + c x_2, x being what was drawn."""
    mixture, rng = LogisticMixture(3, 1, 256), np.random.default_rng(0)
    outputs = np.concatenate([[0], [0.5, -0.2, 0.1], rng.normal(size=3), [1.0, -0.7, 0.4]])
    a, b, c = np.tanh(outputs[7:])
    level_1 = np.rint((0.5 + 1) / 2 * 255).astype(int)
    level_2 = np.rint((-0.2 + a * mixture.scaled(level_1) + 1) / 2 * 255).astype(int)
    level_3 = np.rint((0.1 + b * mixture.scaled(level_1) + c * mixture.scaled(level_2) + 1) / 2 * 255).astype(int)
    assert mixture.sample(outputs[None], rng, temperature=0.0).tolist() == [[level_1, level_2, level_3]]


@pytest.mark.parametrize(("channels", "mixtures", "size"), [(3, 10, 100), (1, 10, 30), (1, 1, 3)])
def test_numbers_a_pixel(channels, mixtures, size):
    assert LogisticMixture(channels, mixtures).size == size


@pytest.mark.parametrize("settings", [(2, 10, 256), (3, 0, 256), (3, 10, 1)])
def test_what_is_no_mixture_is_refused(settings):
    with pytest.raises(ConfigError, match="1 or 3 channels, at least 1 logistic and 2 levels"):
        LogisticMixture(*settings)
