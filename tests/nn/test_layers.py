"""The plain layers against loops over indices, and what dropout and maxout have of their own."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minattn as ma
from minattn.errors import ShapeError
from minattn.nn import Dropout, Embedding, LayerNorm, Linear, Maxout, RMSNorm, maxout
from minattn.nn.layers import maxout_equation
from minattn.testing import assert_equation, check_gradients, strategies

LEADING = strategies.shapes(max_dims=2, max_side=3)
SEEDS = st.integers(0, 2**32 - 1)


def rng(seed=0):
    return np.random.default_rng(seed)


def some(shape, seed=0):
    return rng(seed).standard_normal(shape).astype(np.float32)


def tolerance(array):
    return {"rtol": 1e-5, "atol": 1e-5} if array.dtype == np.float32 else {"rtol": 1e-10, "atol": 1e-12}


# ---------------------------------------------------------------------------------------------- linear, embedding
@given(LEADING, st.integers(1, 4), st.integers(1, 4), st.booleans(), st.data())
def test_linear_is_a_weighted_sum_for_each_output(leading, inputs, outputs, bias, data):
    layer = Linear(inputs, outputs, rng(), bias)
    x = data.draw(strategies.arrays((*leading, inputs)))
    y = layer(ma.tensor(x))
    assert y.shape == (*leading, outputs)
    assert (layer.bias is not None) == bias
    if bias:
        layer.bias.data = some(outputs)
        y = layer(ma.tensor(x))
    for place in np.ndindex(leading):
        for j in range(outputs):
            expected = layer.bias.data[j] if bias else 0
            for i in range(inputs):
                expected += x[place][i] * layer.weight.data[i, j]
            np.testing.assert_allclose(y.data[(*place, j)], expected, rtol=1e-5, atol=1e-5)


@given(LEADING, st.data())
def test_embedding_gives_the_row_of_each_id(leading, data):
    layer = Embedding(5, 3, rng())
    ids = data.draw(strategies.ids(leading, 5))
    y = layer(ids)
    assert y.dtype == np.float32
    for place in np.ndindex(leading):
        np.testing.assert_array_equal(y.data[place], layer.weight.data[ids[place]])
    check_gradients(lambda: layer(ids))
    np.testing.assert_array_equal(layer(ma.tensor(ids)).data, y.data)


@pytest.mark.parametrize("bad", [5, -1])
def test_an_id_without_a_row_is_refused(bad):
    with pytest.raises(IndexError, match=rf"embedding.*id {bad} "):
        Embedding(5, 3, rng())(np.array([0, bad]))


# ---------------------------------------------------------------------------------------------- layer norm
@given(LEADING, st.integers(2, 5), st.data())
def test_layer_norm_standardises_every_row(leading, size, data):
    layer = LayerNorm(size, eps=1e-3)
    layer.weight.data, layer.bias.data = some(size, 1), some(size, 2)
    x = data.draw(strategies.arrays((*leading, size)))
    y = layer(ma.tensor(x))
    for place in np.ndindex(leading):
        row = [float(value) for value in x[place]]
        mean = sum(row) / size
        variance = sum((value - mean) ** 2 for value in row) / size
        for i in range(size):
            normal = (row[i] - mean) / math.sqrt(variance + 1e-3)
            expected = normal * layer.weight.data[i] + layer.bias.data[i]
            np.testing.assert_allclose(y.data[(*place, i)], expected, rtol=1e-4, atol=1e-4)


def test_layer_norm_starts_as_the_plain_standardisation_whatever_scale_and_shift():
    layer, x = LayerNorm(50), rng().standard_normal((4, 50))
    y = layer(ma.tensor(x)).data
    np.testing.assert_allclose(y.mean(-1), 0, atol=1e-6)
    np.testing.assert_allclose(y.var(-1), 1, rtol=1e-4)
    np.testing.assert_allclose(layer(ma.tensor(7 * x - 3)).data, y, atol=1e-4)


@given(LEADING, st.integers(1, 4), st.integers(1, 3), st.data())
def test_rms_norm_divides_by_the_root_of_the_mean_square(leading, size, more, data):
    """Over one axis and over two."""
    layer, x = RMSNorm(size, eps=1e-3), data.draw(strategies.arrays((*leading, more, size)))
    layer.weight.data = some((size,), 1)
    y = layer(ma.tensor(x))
    for place in np.ndindex(*leading, more):
        row = [float(value) for value in x[place]]
        root = math.sqrt(sum(value * value for value in row) / size + 1e-3)
        for i in range(size):
            expected = row[i] / root * layer.weight.data[i]
            np.testing.assert_allclose(y.data[(*place, i)], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("layer", [LayerNorm, RMSNorm])
def test_norms_over_several_axes_are_those_of_all_their_numbers_in_a_row(layer):
    several, one = layer((3, 4)), layer(12)
    for parameter, flat in zip(several.parameters(), one.parameters(), strict=True):
        parameter.data = some((3, 4), parameter.size)
        flat.data = parameter.data.reshape(12)
    x = some((2, 5, 3, 4), 9)
    np.testing.assert_array_equal(several(ma.tensor(x)).data, one(ma.tensor(x.reshape(2, 5, 12))).data.reshape(x.shape))


def test_norms_refuse_parameters_of_other_axes():
    x, ones = ma.tensor(np.ones((2, 3))), np.ones
    for weight, bias in (((2, 3), (3,)), ((3,), (1, 3)), ((2,), (2,)), ((), ()), ((1, 2, 3), (1, 2, 3))):
        with pytest.raises(ShapeError, match=r"layer_norm: .* does not go with x of shape .*; hint"):
            ma.layer_norm(x, ones(weight), ones(bias))
    with pytest.raises(
        ShapeError, match=r"rms_norm: weight of shape \(2,\) does not go with x of shape \(2, 3\); hint"
    ):
        ma.rms_norm(x, ones(2))


@pytest.mark.parametrize("shape", [(3, 0), (0, 3), (0, 0)])
def test_norms_of_nothing_are_nothing(shape):
    x, d = ma.tensor(np.ones(shape)), shape[-1:]
    assert ma.layer_norm(x, np.ones(d), np.ones(d)).shape == ma.rms_norm(x, np.ones(d)).shape == shape


# ---------------------------------------------------------------------------------------------- dropout
@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_dropout_keeps_the_stated_share_and_the_mean(rate):
    n = 100_000
    y = Dropout(rate, rng(5))(ma.tensor(np.ones(n, np.float32)))
    assert y.dtype == np.float32
    dropped = (y.data == 0).mean()
    assert abs(dropped - rate) < 4 * math.sqrt(rate * (1 - rate) / n)
    np.testing.assert_allclose(y.data[y.data != 0], 1 / (1 - rate), rtol=1e-6)


def test_dropped_elements_are_independent():
    n = 40_000
    dropped = Dropout(0.5, rng(6))(ma.tensor(np.ones((n, 2), np.float32))).data == 0
    pairs = [(dropped == pair).all(1).mean() for pair in ([0, 0], [0, 1], [1, 0], [1, 1])]
    np.testing.assert_allclose(pairs, 0.25, atol=4 * math.sqrt(0.25 * 0.75 / n))


def test_every_call_draws_anew_and_the_generator_decides():
    x = ma.tensor(np.ones(1000, np.float32))
    first, again = (Dropout(0.5, rng(1)) for _ in range(2))
    one, two = first(x).data, first(x).data
    assert (one != two).any()
    np.testing.assert_array_equal(again(x).data, one)
    np.testing.assert_array_equal(again(x).data, two)


@pytest.mark.parametrize("layer", [Dropout(0.5, rng()).eval(), Dropout(0.0, rng())], ids=["eval", "rate 0"])
def test_dropout_that_is_off_passes_its_input_on_and_draws_nothing(layer):
    before = layer.rng.bit_generator.state
    x = ma.tensor([1.0, 2.0])
    assert layer(x) is x
    assert layer.rng.bit_generator.state == before


def test_the_gradient_goes_the_way_of_the_kept():
    x = ma.tensor(some(200), requires_grad=True)
    y = Dropout(0.3, rng(2))(x)
    y.sum().backward()
    np.testing.assert_allclose(x.grad, np.where(y.data == 0, 0, np.float32(1 / 0.7)), rtol=1e-6)
    check_gradients(lambda x: Dropout(0.3, rng(2))(x), some((3, 4)))


@pytest.mark.parametrize("rate", [-0.1, 1.0, 50.0])
def test_a_rate_outside_its_range_is_refused(rate):
    with pytest.raises(ValueError, match=rf"rate must be in \[0, 1\), got {rate}"):
        Dropout(rate, rng())


# ---------------------------------------------------------------------------------------------- maxout
@st.composite
def groups(draw, distinct=True):
    """Rows of several groups of `pieces` neighbors."""
    pieces = draw(st.integers(1, 3))
    shape = (*draw(LEADING), pieces * draw(st.integers(0, 3)))
    return draw(strategies.arrays(shape, distinct=distinct)), pieces


@given(groups())
def test_maxout_takes_the_largest_of_each_group(drawn):
    x, pieces = drawn
    y = maxout(ma.tensor(x), pieces)
    assert y.dtype == x.dtype
    assert y.shape == (*x.shape[:-1], x.shape[-1] // pieces)
    for *place, j in np.ndindex(y.shape):
        row = x[tuple(place)]
        assert y.data[(*place, j)] == max(row[pieces * j + k] for k in range(pieces))


@given(groups(), SEEDS)
def test_maxout_is_its_equation_and_has_its_gradient(drawn, seed):
    x, pieces = drawn
    assert_equation(lambda x: maxout(x, pieces), lambda x: maxout_equation(x, pieces), x, seed=seed)
    check_gradients(lambda x: maxout(x, pieces), x, seed=seed, method="complex")


def test_members_that_are_equal_share_the_gradient():
    x = ma.tensor([[1.0, 1.0, 0.0, 2.0, 2.0, 2.0]], requires_grad=True)
    maxout(x, 3).backward(np.array([[6.0, 6.0]], np.float32))
    np.testing.assert_array_equal(x.grad, [[3, 3, 0, 2, 2, 2]])
    equation = ma.tensor(x.data, requires_grad=True)
    maxout_equation(equation, 3).backward(np.array([[6.0, 6.0]], np.float32))
    np.testing.assert_array_equal(equation.grad, x.grad)


@given(st.integers(1, 4), st.integers(1, 3), st.integers(1, 3), SEEDS)
def test_the_layer_is_the_largest_of_its_linear_maps_in_any_order(inputs, outputs, pieces, seed):
    layer, x = Maxout(inputs, outputs, rng(seed), pieces), some((5, inputs), seed)
    assert layer.linear.weight.shape == (inputs, outputs * pieces)  # pieces x outputs before the maximum
    y = layer(ma.tensor(x)).data
    maps = [x @ layer.linear.weight.data[:, k::pieces] for k in range(pieces)]
    np.testing.assert_allclose(y, np.max(maps, axis=0), rtol=1e-5, atol=1e-6)
    order = [pieces * j + k for j in range(outputs) for k in reversed(range(pieces))]
    layer.linear.weight.data = layer.linear.weight.data[:, order]
    np.testing.assert_allclose(layer(ma.tensor(x)).data, y, rtol=1e-5, atol=1e-6)


def test_features_that_make_no_groups_are_refused():
    with pytest.raises(ValueError, match="maxout: 5 features do not make groups of 2"):
        maxout(ma.tensor(np.zeros((3, 5))))


# ---------------------------------------------------------------------------------------------- all of them
LAYERS = {
    "linear": Linear(3, 4, rng()),
    "linear without bias": Linear(3, 4, rng(), bias=False),
    "layer norm": LayerNorm(3),
    "maxout": Maxout(3, 2, rng()),
}


@pytest.mark.parametrize("name", LAYERS)
@given(leading=LEADING, data=st.data(), seed=SEEDS)
def test_gradients_by_input_and_parameters(name, leading, data, seed):
    layer = LAYERS[name]
    x = data.draw(strategies.arrays((*leading, 3), distinct=True))
    parameters = layer.named_parameters()
    check_gradients(layer, x, parameters=parameters, seed=seed)


@pytest.mark.parametrize("name", LAYERS)
def test_float32_stays_float32(name):
    layer, x = LAYERS[name], ma.tensor(some((2, 3)), requires_grad=True)
    layer.zero_grad()
    y = layer(x)
    y.sum().backward()
    assert {a.dtype for a in (y, x.grad, *(p.grad for p in layer.parameters()))} == {np.dtype(np.float32)}
