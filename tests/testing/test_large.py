"""Arrays of many elements: a single wrong one is found and named; what was not compared is said."""

import numpy as np
import pytest

from minattn.testing import GradientMismatch, check_vjp

MANY = np.random.default_rng(0).uniform(-1.0, 1.0, (100, 120))


def spoilt(index, error):
    """The pullback of the sine with an error in one element."""

    def vjp(g, x):
        gradient = g * np.cos(x)
        gradient[index] *= 1 + error
        return gradient

    return vjp


def test_one_wrong_element_of_many_is_named():
    with pytest.raises(GradientMismatch) as caught:
        check_vjp(np.sin, spoilt((73, 45), 1e-6), MANY)
    assert "is wrong at index (73, 45)" in str(caught.value)
    assert "1 of 101 elements that were compared are wrong" in str(caught.value)


def test_nan_in_one_element_of_many_is_named():
    with pytest.raises(GradientMismatch) as caught:
        check_vjp(np.sin, spoilt((99, 0), np.nan), MANY)
    assert "is wrong at index (99, 0)\n  backward      nan\n  complex step  " in str(caught.value)
    assert "complex step  nan" not in str(caught.value)


def test_the_smallest_error_is_what_is_seen():
    smallest = check_vjp(np.sin, lambda g, x: g * np.cos(x), MANY).smallest_error
    assert 1e-9 < smallest < 1e-6
    typical = tuple(np.argwhere(np.abs(np.cos(MANY) - 0.85) < 0.01)[0])
    upstream = np.ones(MANY.shape)
    smallest = check_vjp(np.sin, lambda g, x: g * np.cos(x), MANY, upstream=upstream).smallest_error
    with pytest.raises(GradientMismatch):
        check_vjp(np.sin, spoilt(typical, 1.5 * smallest), MANY, upstream=upstream)
    check_vjp(np.sin, spoilt(typical, 0.1 * smallest), MANY, upstream=upstream)


# ---------------------------------------------------------------------------------------------- kinks
def relu(x):
    return np.maximum(x, 0)


HALF_AT_ITS_KINK = np.where(np.arange(1000) % 2, 1.0, 0.0)


def test_elements_that_were_not_compared_are_counted():
    with pytest.warns(UserWarning, match="500 elements of input 0 at kinks or ties were not compared"):
        checked = check_vjp(relu, lambda g, x: g * (x > 0), HALF_AT_ITS_KINK)
    assert checked.uncompared == {"input 0": 500}
    assert check_vjp(relu, lambda g, x: g * (x > 0), HALF_AT_ITS_KINK[:100]).uncompared == {}


@pytest.mark.parametrize("bound", [0.0, 0.75])
def test_elements_beside_those_at_kinks_are_compared(bound):
    """Halves of halves would all hold kinks."""
    x = np.where(np.arange(1000) % 2, bound + 1, bound)
    with pytest.raises(GradientMismatch, match="is wrong at index 777"):
        check_vjp(
            lambda x: np.maximum(x, bound),
            lambda g, x: g * (x > bound) * np.where(np.arange(1000) == 777, 1.5, 1.0),
            x,
        )


def test_no_first_run_is_called_right_that_was_not_compared():
    """Every gradient is wrong, and along all directions hidden by the kinks of others."""
    with pytest.raises(GradientMismatch) as caught:
        check_vjp(relu, lambda g, x: -5 * g, np.zeros(1000))
    assert "right in a first run" not in str(caught.value)
    assert "looks like" not in str(caught.value)


@pytest.mark.filterwarnings("ignore:.* elements of input 0 at kinks or ties were not compared:UserWarning")
@pytest.mark.parametrize("size", [5, 100, 400])
def test_a_maximum_cannot_give_its_gradient_to_all(size):
    x = np.ones(size)
    check_vjp(np.max, lambda g, x: g * np.eye(size)[0], x)
    with pytest.raises(GradientMismatch, match="looks like a gradient that is given to all elements that tie"):
        check_vjp(np.max, lambda g, x: g * (x == x.max()), x)


# ---------------------------------------------------------------------------------------------- float32
def test_small_gradients_of_float32_are_held_to_float64():
    """The errors are below what float32 may be off."""
    x = np.linspace(0.5, 2.0, 6, dtype=np.float32)

    def f(x):
        return 1e-6 * x**3

    check_vjp(f, lambda g, x: g * 3e-6 * x**2, x)
    with pytest.raises(GradientMismatch, match=r"looks like a factor 0.666667 too many"):
        check_vjp(f, lambda g, x: g * 2e-6 * x**2, x)
