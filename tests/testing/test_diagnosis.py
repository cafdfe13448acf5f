"""What a wrong gradient looks like: two mistakes that would explain it are both named, and nothing is claimed that the
numbers do not show."""

import numpy as np
import pytest

from minattn.testing import GradientMismatch, check_vjp

X = np.array([[0.5, -1.0, 2.0], [1.5, 0.25, -0.75], [-0.5, 1.25, 1.0]])


def diagnosis(f, vjp, *inputs, **options):
    """What the message says that the gradient looks like; '' if it says nothing of it."""
    with pytest.raises(GradientMismatch) as caught:
        check_vjp(f, vjp, *inputs, **options)
    lines = [line.strip() for line in str(caught.value).splitlines() if "looks like" in line]
    assert len(lines) <= 1
    return lines[0].removeprefix("looks like ") if lines else ""


# ---------------------------------------------------------------------------------------------- two explanations
def test_two_mistakes_that_explain_the_same_numbers_are_both_named():
    """The gradient is antisymmetric: its transpose is its negative."""
    turned = X - X.T

    def f(x):
        return (x * turned).sum()

    said = diagnosis(f, lambda g, x: g * turned.T, X)
    assert said == "the sign lost (a factor -1), or the transpose of the right gradient"


def dead(where):
    return lambda g, x: np.where(where(x), 0.0, g * np.cos(x))


def test_two_regions_of_the_same_elements_are_both_named():
    x = np.array([1.0, 0.5, 1.5, -2.0])
    said = diagnosis(np.sin, dead(lambda x: x < 0), x)
    assert said == "no gradient only at the last index, or no gradient only where input 0 is negative"
    assert diagnosis(np.sin, dead(lambda x: x < 0), np.append(x, 0.25)) == "no gradient only where input 0 is negative"


def test_of_three_regions_none_is_named():
    x, mask = np.array([1.0, 0.5, 1.5, -2.0]), np.array([False, False, False, True])
    vjp = dead(lambda x: x < 0)
    assert diagnosis(lambda x, m: np.sin(x), lambda g, x, m: vjp(g, x), x, mask) == ""


def test_two_inputs_with_equal_gradients_are_both_named():
    a, b, c = X, X + 1, X + 2
    said = diagnosis(
        lambda a, b, c: np.sin(a) + np.sin(b - 1) + np.cos(c),
        lambda g, a, b, c: (g * np.cos(a), g * np.cos(b - 1), g * np.cos(a)),
        *(a, b, c),
    )
    assert said == "the gradient of input 0 given to input 2, or the gradient of input 1 given to input 2"


def test_an_axis_is_named_only_if_no_other_is_as_long():
    said = diagnosis(lambda x: x.mean(1), lambda g, x: np.repeat(g[:, None], x.shape[1], 1), X)
    assert said.startswith("a factor 3 too many, the length of several axes: perhaps")
    said = diagnosis(lambda x: x.mean(1), lambda g, x: np.repeat(g[:, None], x.shape[1], 1), X[:2])
    assert said.startswith("a factor 3 too many, the length of axis 1 of input 0: perhaps")


def test_what_kinks_may_hide_is_in_no_region():
    """At 0 any slope from 0 to 1 is right, and so is what the factor makes of it: the other elements show it."""
    x = np.array([1.0, 0.0, 2.0, 0.0])

    def relu_vjp(g, x):
        return 0.3 * g * (x >= 0)

    said = diagnosis(lambda x: np.maximum(x, 0), relu_vjp, x)
    assert said.startswith("a factor 0.3 too many")


# ---------------------------------------------------------------------------------------------- too little evidence
def in_single(x):
    """The sine, computed in float32."""
    return np.sin(x.astype(np.float32)).astype(np.float64)


@pytest.mark.parametrize(
    ("f", "vjp"),
    [
        (lambda x: in_single(x).T, lambda g, x: g * np.cos(x)),
        (lambda x: in_single(x)[::-1], lambda g, x: g * np.cos(x)),
        (in_single, lambda g, x: g * np.cos(x) * np.where(x < 0, 1.5, 1)),
        (in_single, lambda g, x: g * np.cos(np.sin(x))),
    ],
    ids=["transposed", "reversed", "negative ones", "the value for the input"],
)
def test_where_float32_inside_blurs_the_numbers_nothing_is_claimed(f, vjp):
    assert diagnosis(f, vjp, X, rtol=1e-3) == ""


def test_elements_within_a_wide_tolerance_are_wrong_all_the_same():
    """Only the last row is wrong by more than the tolerance, but all the others are wrong, too."""
    by = np.array([1e-6, 1e-5, 1e-2])[:, None]
    assert "last index" in diagnosis(np.sin, lambda g, x: g * np.cos(x) * (1 + by * (by > 1e-3)), X, rtol=1e-3)
    assert diagnosis(np.sin, lambda g, x: g * np.cos(x) * (1 + by), X, rtol=1e-3) == ""


def test_numbers_that_every_dtype_has_are_no_sign_of_float32():
    slope = 1 + 1e-7 * np.array([1.0, 2.0, 0.5])
    assert diagnosis(lambda x: slope * x, lambda g, x: g.copy(), X[0], upstream=np.ones(3)) == ""


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_pullback_that_fails_in_another_run_hides_no_mistake(dtype):
    """It is called again with other upstream gradients, for the diagnosis alone."""
    calls = []

    def vjp(g, x):
        calls.append(g)
        if len(calls) > 2:
            raise RuntimeError("called once too often")
        return 2 * g * np.cos(x)

    assert diagnosis(np.sin, vjp, X.astype(dtype)) == "a factor 2 too many"


def test_a_slight_error_is_explained_by_nothing_that_equals_the_right_gradient():
    """The gradient is symmetric, and the same at the value as at the input."""
    symmetric = X + X.T

    def f(x):
        return (x * symmetric).sum()

    slightly = 1 + 4e-10 * np.array([[1.0, 0.9, 0.8], [0.7, 0.6, 1.0], [0.9, 0.8, 0.7]])
    assert diagnosis(f, lambda g, x: g * symmetric * slightly, X) == ""
    assert diagnosis(lambda x: 2 * x, lambda g, x: 2 * g * slightly, X) == ""


def test_a_gradient_that_is_wrong_for_read_only_inputs_alone():
    def vjp(g, x):
        return g * np.cos(x) * (1 if x.flags.writeable else 2)

    with pytest.raises(GradientMismatch, match="right in a first run, wrong with read-only inputs"):
        check_vjp(np.sin, vjp, X)
