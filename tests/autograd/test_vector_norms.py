"""Norms of any order where they have no slope, unit vectors, and cosines."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minattn as ma
from minattn.errors import ConfigError
from minattn.testing import check_gradients, strategies

INF = float("inf")


def gradient(fn, x, upstream=None):
    t = ma.tensor(np.asarray(x, float), requires_grad=True)
    y = fn(t)
    y.backward(np.ones(y.shape) if upstream is None else upstream)
    return t.grad.tolist()


@pytest.mark.parametrize("order", [0.5, 1, 2, 3, INF])
def test_the_slope_of_a_norm_is_0_at_the_origin(order):
    assert gradient(lambda x: ma.norm(x, -1, order=order), [[0.0, 0.0]]) == [[0, 0]]
    assert gradient(lambda x: ma.norm(x, order=order), 0.0) == 0


@pytest.mark.parametrize(
    ("order", "value", "slopes"),
    [
        (1, 7, [1, -1, 0]),
        (2, 5, [0.6, -0.8, 0]),
        (3, 91 ** (1 / 3), [9 / 91 ** (2 / 3), -16 / 91 ** (2 / 3), 0]),
        (0.5, (3**0.5 + 2) ** 2, [1 + 2 / 3**0.5, -(1 + 3**0.5 / 2), 0]),
        (INF, 4, [0, -1, 0]),
    ],
)
def test_norms_of_a_vector_with_a_zero(order, value, slopes):
    x = [3.0, -4.0, 0.0]
    assert ma.norm(ma.tensor(x), order=order).item() == pytest.approx(value)
    np.testing.assert_allclose(gradient(lambda t: ma.norm(t, order=order), x), slopes, rtol=1e-12)


def test_the_largest_share_the_gradient_of_the_maximum_norm():
    assert gradient(lambda x: ma.norm(x, 1, order=INF), [[3.0, -3.0, 1.0], [0.5, 2.0, 1.0]], [6, 4]) == [
        [3, -3, 0],
        [0, 4, 0],
    ]


@pytest.mark.parametrize("order", [0, -1, float("nan")])
def test_an_order_that_is_not_positive_is_refused(order):
    with pytest.raises(ConfigError, match=f"norm: the order of a norm must be positive, got {order}; hint"):
        ma.norm(ma.tensor([1.0]), order=order)


# ---------------------------------------------------------------------------------------------- unit vectors
@given(st.data(), st.sampled_from([1.0, 2.0, 3.0, INF]))
def test_normalized_vectors_have_length_1(data, order):
    shape = data.draw(strategies.shapes(min_dims=1, min_side=1))
    x = data.draw(strategies.arrays(shape, away_from=(0.0,), distinct=True))
    axis = data.draw(strategies.axes(len(shape), none=False, several=False))
    y = ma.normalize(ma.tensor(x), axis, order)
    np.testing.assert_allclose(ma.norm(y, axis, order=order).data, 1, rtol=1e-5)
    np.testing.assert_allclose(ma.normalize(ma.tensor(3 * x), axis, order).data, y.data, rtol=1e-5)


def test_the_gradient_of_a_unit_vector_is_across_it():
    x = np.array([[3.0, 4.0], [1.0, -1.0]])
    check_gradients(ma.normalize, x)
    g = np.array(gradient(ma.normalize, x, np.array([[1.0, 2.0], [3.0, 4.0]])))
    np.testing.assert_allclose((g * x).sum(-1), 0, atol=1e-12)


def test_a_vector_of_length_0_stays_what_it_is():
    assert ma.normalize(ma.tensor([[0.0, 0.0]])).tolist() == [[0, 0]]
    assert gradient(lambda x: ma.normalize(x, eps=0.5), [[0.0, 0.0]]) == [[2, 2]]


# ---------------------------------------------------------------------------------------------- cosines
@given(st.data())
def test_cosine_similarity(data):
    dtype = data.draw(st.sampled_from(strategies.DTYPES))
    lead = data.draw(strategies.broadcastable_shapes(2, max_dims=2, min_side=1, max_side=3))
    a, b = (data.draw(strategies.arrays((*shape, 3), dtype, away_from=(0.0,), margin=0.2)) for shape in lead)
    y = ma.cosine_similarity(ma.tensor(a), ma.tensor(b))
    assert y.dtype == dtype
    expected = (a * b).sum(-1) / (np.sqrt((a * a).sum(-1)) * np.sqrt((b * b).sum(-1)))
    np.testing.assert_allclose(y.data, expected, rtol=1e-4, atol=1e-6)
    check_gradients(ma.cosine_similarity, a, b)


def test_cosines_of_known_angles():
    a = ma.tensor([[1.0, 0.0], [1.0, 1.0], [-2.0, 0.0], [0.0, 0.0]])
    np.testing.assert_allclose(ma.cosine_similarity(a, [3.0, 0.0]).data, [1, 0.5**0.5, -1, 0], rtol=1e-6)
    assert ma.cosine_similarity(a, a, axis=0).shape == (2,)
