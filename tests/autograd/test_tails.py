"""Functions keep their digits where they are small, and what is infinite stays where it is."""

import numpy as np
import pytest

import minattn as ma
from minattn.autograd import ops
from minattn.nn.recurrent.gru import gru_cell
from minattn.nn.recurrent.lstm import lstm_cell

DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def _far(dtype):
    """Numbers from far below 0 to far above, as long as e^x is a normal number."""
    return np.linspace(-80 if dtype == np.float32 else -700, 30, 301).astype(dtype)


def _s(x):
    """The sigmoid in long double, in the form that keeps its digits on each side."""
    x = x.astype(np.longdouble)
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, 1) / (1 + e)


VALUES = {
    "sigmoid": _s,
    "silu": lambda x: x * _s(x),
    "softplus": lambda x: np.where(x > 0, x, 0) + np.log1p(np.exp(-np.abs(x.astype(np.longdouble)))),
    "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0).astype(np.longdouble))),
}
SLOPES = {
    "sigmoid": lambda x: _s(x) * _s(-x),
    "silu": lambda x: _s(x) * (1 + x * _s(-x)),
    "softplus": _s,
    "elu": lambda x: np.where(x > 0, 1, np.exp(np.minimum(x, 0).astype(np.longdouble))),
}


@DTYPES
@pytest.mark.parametrize("name", VALUES)
def test_the_tails_keep_their_digits(name, dtype):
    x = ma.tensor(_far(dtype), requires_grad=True)
    y = getattr(ops, name)(x)
    digits = 50 * np.finfo(dtype).eps
    np.testing.assert_allclose(y.data, VALUES[name](x.data).astype(dtype), rtol=digits)
    y.sum().backward()
    below = (x.data < 0) | (name == "sigmoid")  # the slopes of the others are near 1 above
    away = np.abs(SLOPES[name](x.data)) > 0.01 if name == "silu" else np.ones_like(below)
    away |= x.data < -5  # the slope of silu is 0 near -1.28
    where = below & away
    np.testing.assert_allclose(x.grad[where], SLOPES[name](x.data)[where].astype(dtype), rtol=digits)


@DTYPES
def test_the_sigmoid_ends_at_0_and_at_1_without_a_warning(dtype):
    x = ma.tensor(np.array([-np.inf, -1e4, 0, 1e4, np.inf], dtype), requires_grad=True)
    y = ma.sigmoid(x)
    assert y.tolist() == [0, 0, 0.5, 1, 1]
    y.sum().backward()
    assert x.grad.tolist() == [0, 0, 0.25, 0, 0]
    assert np.isnan(ma.sigmoid(ma.tensor(np.array([np.nan], dtype))).item())


@DTYPES
def test_the_logarithm_of_a_small_sigmoid_has_a_gradient(dtype):
    x = ma.tensor(np.array([-20.0, -60.0], dtype), requires_grad=True)
    y = ma.log(ma.sigmoid(x))
    np.testing.assert_allclose(y.data, x.data, rtol=1e-6)
    y.sum().backward()
    np.testing.assert_allclose(x.grad, 1, rtol=1e-6)


@DTYPES
def test_a_gate_that_is_nearly_closed_lets_its_share_through(dtype):
    """z = sigma(-30) renews that much of the state; o = sigma(-30) shows that much of the cell."""
    closed, one = np.exp(-30.0), np.ones((1, 1), dtype)
    projected = np.array([[-30.0, 0.0, 1.0]], dtype)
    new = gru_cell(projected, 0 * one, np.zeros((1, 3), dtype))
    np.testing.assert_allclose(new.data, closed * np.tanh(1), rtol=1e-5)
    projected = np.array([[0.0, 0.0, -30.0, 0.0]], dtype)
    hidden, _ = lstm_cell(projected, 0 * one, one, np.zeros((1, 4), dtype))
    np.testing.assert_allclose(hidden.data, closed * np.tanh(0.5), rtol=1e-5)


@DTYPES
@pytest.mark.parametrize("far", [25.0, -25.0])
def test_a_gate_far_from_its_middle_still_learns(dtype, far):
    """Its slope is s(x) s(-x), where 1 - s(x) is 0 in float32 from 17 on."""
    slope, one = float(_s(np.array(far)) * _s(np.array(-far))), np.ones((1, 1), dtype)
    gates = ma.tensor(np.array([[far, 0.0, 1.0]], dtype), requires_grad=True)
    gru_cell(gates, 0 * one, np.zeros((1, 3), dtype)).sum().backward()
    np.testing.assert_allclose(gates.grad[0, 0], slope * np.tanh(1), rtol=1e-5)
    gates = ma.tensor(np.array([[0.0, 0.0, far, 0.0]], dtype), requires_grad=True)
    lstm_cell(gates, 0 * one, one, np.zeros((1, 4), dtype))[0].sum().backward()
    np.testing.assert_allclose(gates.grad[0, 2], slope * np.tanh(0.5), rtol=1e-5)


# ---------------------------------------------------------------------------------------------- infinite pixels
def test_a_window_does_not_see_what_is_outside_of_it():
    x = ma.tensor(np.array([[np.inf, 1.0, 2.0, 3.0]]), requires_grad=True)
    y = ma.adaptive_average_pool2d(x, (1, 2))
    assert y.tolist() == [[np.inf, 2.5]]
    y.backward(np.array([[1.0, np.nan]]))
    np.testing.assert_array_equal(x.grad, [[0.5, 0.5, np.nan, np.nan]])


@pytest.mark.parametrize("align_corners", [False, True])
def test_resizing_to_the_same_size_is_the_identity(align_corners):
    x = ma.tensor(np.array([[np.inf, 1.0], [np.nan, 3.0]]), requires_grad=True)
    y = ma.resize_bilinear(x, (2, 2), align_corners)
    np.testing.assert_array_equal(y.data, x.data)
    y.backward(np.array([[np.nan, 1.0], [2.0, 3.0]]))
    np.testing.assert_array_equal(x.grad, [[np.nan, 1.0], [2.0, 3.0]])


# ---------------------------------------------------------------------------------------------- dtypes
@pytest.mark.parametrize("operand", [[2, 3], np.array([2, 3]), np.array([2, 3], np.int32), np.array([2, 3], np.uint64)])
@DTYPES
def test_integers_follow_floats(operand, dtype):
    x = ma.tensor(np.ones(2, dtype), requires_grad=True)
    for other in (operand, ma.tensor(np.array(operand))):
        for y in (x * other, other * x, x / other, ma.maximum(x, other), ma.where([True, False], x, other)):
            assert y.dtype == dtype
    (x * ma.tensor(np.array(operand))).sum().backward()
    assert (x.grad.tolist(), x.grad.dtype) == ([2, 3], dtype)


def test_a_list_of_fractions_beside_integers_keeps_them():
    y = ma.tensor([1, 2]) * [0.5, 0.25]
    assert y.tolist() == [0.5, 0.5]
    assert (ma.tensor([1.0, 2.0]) * [0.5, 0.25]).dtype == np.float32
