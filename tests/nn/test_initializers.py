"""Initializers: the distribution that each one states, held to by statistics from fixed seeds."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from minattn.nn import GRU, LSTM, BidirectionalLSTM, Embedding, LayerNorm, Linear, Maxout, Parameter, initializers

MATRIX = (300, 200)  # fan_in 300, fan_out 200
CONVOLUTION = (40, 50, 3, 5)  # fan_in 50 * 15, fan_out 40 * 15


def rng(seed=0):
    return np.random.default_rng(seed)


def gaussian(std):
    return stats.norm(0, std)


def flat(bound):
    return stats.uniform(-bound, 2 * bound)


DRAWN = {
    "normal": (lambda r: initializers.normal(MATRIX, r, std=0.02), gaussian(0.02)),
    "normal by default": (lambda r: initializers.normal(MATRIX, r), gaussian(0.01)),
    "uniform": (lambda r: initializers.uniform(MATRIX, r, bound=0.3), flat(0.3)),
    "uniform by default": (lambda r: initializers.uniform(MATRIX, r), flat(0.1)),
    "glorot_uniform": (lambda r: initializers.glorot_uniform(MATRIX, r), flat(math.sqrt(6 / 500))),
    "glorot_normal": (lambda r: initializers.glorot_normal(MATRIX, r), gaussian(math.sqrt(2 / 500))),
    "he_normal": (lambda r: initializers.he_normal(MATRIX, r), gaussian(math.sqrt(2 / 300))),
    "he_uniform": (lambda r: initializers.he_uniform(MATRIX, r), flat(math.sqrt(6 / 300))),
    "glorot_normal of a convolution": (
        lambda r: initializers.glorot_normal(CONVOLUTION, r),
        gaussian(math.sqrt(2 / 1350)),
    ),
    "he_normal of a convolution": (lambda r: initializers.he_normal(CONVOLUTION, r), gaussian(math.sqrt(2 / 750))),
    "Embedding": (lambda r: Embedding(300, 200, r).weight, gaussian(0.01)),
    "Linear": (lambda r: Linear(300, 200, r).weight, flat(math.sqrt(6 / 500))),
    "Maxout": (lambda r: Maxout(300, 100, r).linear.weight, flat(math.sqrt(6 / 500))),
    "W of GRU": (lambda r: GRU(300, 200, r).W, flat(math.sqrt(6 / 500))),  # by gate: not fans (300, 600)
    "W of LSTM": (lambda r: LSTM(300, 200, r).W, flat(math.sqrt(6 / 500))),
}


@pytest.mark.parametrize("name", DRAWN)
def test_weights_follow_the_stated_distribution(name):
    draw, distribution = DRAWN[name]
    values = draw(rng(7)).data.ravel().astype(np.float64)
    assert stats.kstest(values, distribution.cdf).pvalue > 0.01
    kurtosis = distribution.stats("k")
    for mean, spread, statistic in (
        (0, distribution.std(), values.mean()),
        (distribution.var(), distribution.var() * math.sqrt(kurtosis + 2), values.var()),
    ):
        assert abs(statistic - mean) < 4 * spread / math.sqrt(values.size)
    assert np.abs(values).max() <= distribution.support()[1] * (1 + 1e-6)


@pytest.mark.parametrize("name", DRAWN)
def test_draws_are_float32_parameters_and_repeat_with_the_seed(name):
    draw, _ = DRAWN[name]
    first, again, other = draw(rng(1)), draw(rng(1)), draw(rng(2))
    assert isinstance(first, Parameter)
    assert first.dtype == np.float32
    assert first.requires_grad
    np.testing.assert_array_equal(first.data, again.data)
    assert (first.data != other.data).mean() > 0.99


def test_constants():
    for parameter, value in (
        (initializers.zeros((2, 3)), 0),
        (initializers.ones((3,)), 1),
        (initializers.constant((), 0.5), 0.5),
    ):
        assert parameter.dtype == np.float32
        assert (parameter.data == value).all()


# ---------------------------------------------------------------------------------------------- orthogonal
@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_every_block_is_orthogonal(rows, columns, blocks, seed):
    weight = initializers.orthogonal((rows, blocks * columns), rng(seed), blocks)
    assert weight.dtype == np.float32
    assert weight.shape == (rows, blocks * columns)
    parts = np.split(weight.data.astype(np.float64), blocks, axis=1)
    for part in parts:
        product = part.T @ part if rows >= columns else part @ part.T
        np.testing.assert_allclose(product, np.eye(min(rows, columns)), atol=1e-6)
    if blocks > 1 and rows > 1 and columns > 1:
        assert not np.allclose(parts[0], parts[1])


@pytest.mark.parametrize("shape", [(3, 3), (4, 3), (3, 4)])
def test_orthogonal_matrices_are_uniformly_distributed(shape):
    """Every entry of a uniform one has mean 0 and variance 1/n, whatever its place; QR alone fixes signs."""
    r, count, n = rng(3), 4000, max(shape)
    draws = np.stack([initializers.orthogonal(shape, r).data for _ in range(count)])
    assert np.abs(draws.mean(0)).max() < 4 / math.sqrt(n * count)
    assert np.abs((draws**2).mean(0) - 1 / n).max() < 4 * math.sqrt(2 / count) / n


@pytest.mark.parametrize(("unit", "blocks"), [(GRU, 3), (LSTM, 4)])
def test_recurrent_weights_are_orthogonal_by_gate_and_biases_start_at_zero(unit, blocks):
    layer = unit(3, 6, rng())
    for part in np.split(layer.U.data, blocks, axis=1):
        np.testing.assert_allclose(part @ part.T, np.eye(6), atol=1e-6)
    starts = [0, 0, 0] if unit is GRU else [0, 1, 0, 0]
    np.testing.assert_array_equal(layer.bias.data, np.repeat(starts, 6))
    assert layer.bias.dtype == np.float32
    assert unit(3, 6, rng(), bias=False).bias is None


def test_the_forget_bias_is_a_parameter_of_its_own():
    both = BidirectionalLSTM(2, 3, rng(), forget_bias=-0.5)
    for layer in (both.forwards, both.backwards):
        np.testing.assert_array_equal(layer.bias.data, np.repeat([0, -0.5, 0, 0], 3).astype(np.float32))


# ---------------------------------------------------------------------------------------------- without memory
LAYERS = {
    "Linear": lambda: Linear(5, 4, rng()),
    "Embedding": lambda: Embedding(5, 4, rng()),
    "LayerNorm": lambda: LayerNorm(5),
    "Maxout": lambda: Maxout(5, 4, rng(), bias=False),
    "GRU": lambda: GRU(5, 4, rng()),
    "BidirectionalLSTM": lambda: BidirectionalLSTM(5, 4, rng()),
}


@pytest.mark.parametrize("name", LAYERS)
def test_an_unallocated_layer_has_the_names_and_shapes_of_the_real_one(name):
    with initializers.unallocated():
        counted = LAYERS[name]()
    real = LAYERS[name]()
    shapes = {name: p.shape for name, p in real.named_parameters().items()}
    assert {name: p.shape for name, p in counted.named_parameters().items()} == shapes
    assert counted.count_parameters() == real.count_parameters()
    for parameter in counted.parameters():
        assert set(parameter.data.strides) == {0}
        assert parameter.dtype == np.float32


def test_unallocated_ends_with_its_block_even_by_an_error():
    with pytest.raises(ZeroDivisionError), initializers.unallocated():
        1 / 0  # noqa: B018
    assert Linear(2, 3, rng()).weight.data.strides == (12, 4)


def test_every_initialiser_takes_part_in_unallocated():
    with initializers.unallocated():
        drawn = [draw(rng()) for draw, _ in DRAWN.values()]
        drawn += [initializers.ones((5,)), initializers.orthogonal((4, 8), rng(), 2)]
        assert all(set(p.data.strides) == {0} for p in drawn)


# ---------------------------------------------------------------------------------------------- errors
def test_fans():
    assert initializers.fans((3, 7)) == (3, 7)
    assert initializers.fans((8, 4, 3, 5)) == (60, 120)
    with pytest.raises(ValueError, match=r"not for shape \(3,\)"):
        initializers.fans((3,))


def test_columns_must_make_whole_blocks():
    with pytest.raises(ValueError, match="7 columns do not make 3 equal blocks"):
        initializers.orthogonal((2, 7), rng(), blocks=3)
