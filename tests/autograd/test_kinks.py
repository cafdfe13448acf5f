"""Kinks, ties and singular points: there is no derivative, so each op has a convention, and it is pinned here."""

import numpy as np
import pytest

import minattn as ma
from minattn.testing import check_gradients

INF, NAN = np.inf, np.nan


def gradient(fn, *values, upstream=None):
    """What `backward` gives for every argument; ones as the upstream gradient unless told."""
    tensors = [ma.tensor(np.asarray(v, dtype=np.float64), requires_grad=True) for v in values]
    y = fn(*tensors)
    y.backward(np.ones(y.shape) if upstream is None else np.asarray(upstream, dtype=np.float64))
    gradients = [t.grad.tolist() for t in tensors]
    return gradients[0] if len(gradients) == 1 else gradients


# ---------------------------------------------------------------------------------------------- ties
@pytest.mark.parametrize("op", [ma.max, ma.min])
def test_all_ties_share_the_gradient_of_an_extreme(op):
    sign = 1 if op is ma.max else -1
    x = sign * np.array([[3.0, 1.0, 3.0, 3.0], [0.0, 2.0, 2.0, 1.0]])
    share = [[2.0, 0, 2.0, 2.0], [0, 5.0, 5.0, 0]]
    assert gradient(lambda t: op(t, -1), x, upstream=[6, 10]) == share
    assert gradient(op, [5.0, 5.0], upstream=1) == [0.5, 0.5]


@pytest.mark.parametrize("op", [ma.maximum, ma.minimum])
def test_equal_arguments_get_half_each(op):
    assert gradient(op, [1.0, 2.0], [1.0, 2.0], upstream=[4, 6]) == [[2, 3], [2, 3]]


@pytest.mark.parametrize("op", [ma.maximum, ma.minimum])
def test_the_maximum_of_a_tensor_and_itself_has_the_whole_gradient(op):
    assert gradient(lambda x: op(x, x), [1.0, -2.0], upstream=[4, 6]) == [4, 6]


def test_equal_elements_keep_their_order_when_sorted():
    x = ma.tensor([1.0, 0.0, 1.0, 0.0])
    assert ma.sort(x)[1].tolist() == [1, 3, 0, 2]
    assert ma.sort(x, descending=True)[1].tolist() == [0, 2, 1, 3]
    assert ma.topk(x, 1)[1].tolist() == [0]


def test_the_first_of_equal_extremes_is_the_index():
    assert ma.argmax(ma.tensor([1.0, 3.0, 3.0])).item() == 1
    assert ma.argmin(ma.tensor([3.0, 1.0, 1.0])).item() == 1


# ---------------------------------------------------------------------------------------------- kinks
@pytest.mark.parametrize(
    ("fn", "slope"),
    [
        (ma.relu, 0),
        (ma.leaky_relu, 0.01),
        (lambda x: ma.elu(x, 0.5), 0.5),
        (ma.abs, 0),
        (ma.sqrt, 0),
        (ma.norm, 0),
        (lambda x: ma.power(x, 2), 0),
        (lambda x: ma.power(x, 1), 1),
        (lambda x: ma.power(x, 0), 0),
        (lambda x: ma.maximum(x, 0.0), 0.5),
        (lambda x: ma.minimum(x, 0.0), 0.5),
        (lambda x: ma.clip(x, 0.0, 1.0), 1),
        (lambda x: ma.clip(x, -1.0, 0.0), 1),
        (ma.sign, 0),
        (ma.floor, 0),
        (lambda x: x // 2.0, 0),
        (lambda x: x % 2.0, 1),
        (ma.expm1, 1),
        (ma.log1p, 1),
        (ma.prod, 1),
        (ma.std, 0),
        (lambda x: ma.hard_sigmoid(x + 3.0), 0),
        (lambda x: ma.hard_sigmoid(x - 3.0), 0),
    ],
)
@pytest.mark.parametrize("shape", [(), (1,)])
def test_slopes_at_zero(fn, slope, shape):
    value = gradient(fn, np.zeros(shape))
    assert np.asarray(value).tolist() == np.full(shape, slope).tolist()


def test_powers_at_zero():
    def base_and_exponent(a, b):
        return gradient(ma.power, [a], [b])

    assert base_and_exponent(0.0, 0.0) == [[0], [0]]
    assert base_and_exponent(0.0, 2.0) == [[0], [0]]
    assert base_and_exponent(0.0, 1.0) == [[1], [0]]


@pytest.mark.parametrize("exponent", [-2, -1, 0, 1, 2, 3, 0.5, 2.5])
def test_numbers_as_exponents(exponent):
    base = np.array([0.5, 2.0, -1.5]) if isinstance(exponent, int) else np.array([0.5, 2.0])
    check_gradients(lambda x: x**exponent, base)


def test_numbers_as_bases():
    check_gradients(lambda x: 2**x, np.array([-1.0, 0.0, 1.5]))
    assert gradient(lambda x: 0**x, [2.0]) == [0]


def test_products_with_zeros():
    """dx_i is the product of the others: it is there where x_i alone is 0, and nowhere else with two zeros."""
    assert gradient(lambda x: ma.prod(x, -1), [[2.0, 3.0, 4.0], [0.0, 3.0, 4.0], [0.0, 0.0, 4.0]]) == [
        [12, 8, 6],
        [12, 0, 0],
        [0, 0, 0],
    ]
    assert ma.prod(ma.tensor(np.ones((2, 0))), 1).tolist() == [1, 1]


def test_small_numbers_keep_their_digits():
    """expm1, log1p and their slopes, where exp(x) - 1 and log(1 + x) have lost all digits."""
    assert ma.expm1(ma.tensor(np.array([1e-20, -1e-20]))).tolist() == [1e-20, -1e-20]
    assert ma.log1p(ma.tensor(np.array([1e-20, -1e-20]))).tolist() == [1e-20, -1e-20]
    assert gradient(ma.expm1, [-700.0]) == [np.exp(-700.0)]


@pytest.mark.parametrize(("a", "b"), [(5, 3), (-5, 3), (5, -3), (-5, -3), (-0.5, 2), (4, 2)])
def test_remainders_have_the_sign_of_the_divisor_as_in_python(a, b):
    for x, y in ((ma.tensor(a), ma.tensor(b)), (ma.tensor(a), b), (a, ma.tensor(b))):
        assert (x % y).item() == a % b
        assert (x // y).item() == a // b
    assert gradient(ma.remainder, float(a), float(b)) == [1, -(a // b)]


# ---------------------------------------------------------------------------------------------- nothing is NaN
@pytest.mark.parametrize(
    ("fn", "singular"),
    [
        (ma.log, 0.0),
        (ma.log1p, -1.0),
        (ma.sqrt, 0.0),
        (lambda x: 1.0 / x, 0.0),
        (lambda x: x / x, 0.0),
    ],
)
def test_where_hides_a_singular_point_from_the_gradient(fn, singular):
    """The well-known trap of 'where': 0 * inf = NaN in the branch that was not taken."""
    with np.errstate(all="ignore"):
        x = [singular, 2.0]
        chosen = gradient(lambda t: ma.where([False, True], fn(t), 0.0), x)
        alone = gradient(fn, [2.0])
    assert chosen == [0, *alone]


def test_where_gives_exact_zeros_to_what_is_not_chosen():
    assert gradient(lambda a, b: ma.where([True, False], a, b), [NAN, NAN], [INF, -INF], upstream=[3, 4]) == [
        [3, 0],
        [0, 4],
    ]


def test_the_norm_of_nothing_but_zeros():
    assert np.allclose(gradient(lambda x: ma.norm(x, -1), [[0.0, 0.0], [3.0, 4.0]]), [[0, 0], [0.6, 0.8]], 1e-15)


def test_nan_is_not_hidden_by_bounds():
    x = ma.tensor(np.array([NAN, 5.0]))
    for y in (ma.clip(x, 0.0, 1.0), ma.hard_sigmoid(x), ma.maximum(x, 0.0), ma.relu(x)):
        assert np.isnan(y.data[0])


@pytest.mark.parametrize(
    ("fn", "low", "high"),
    [
        (ma.sigmoid, 0, 1),
        (ma.tanh, -1, 1),
        (ma.relu, 0, INF),
        (ma.elu, -1, INF),
        (ma.softplus, 0, INF),
        (ma.hard_sigmoid, 0, 1),
        (ma.erf, -1, 1),
        (lambda x: ma.clip(x, -2.0, 2.0), -2, 2),
        (ma.leaky_relu, -INF, INF),
    ],
)
def test_limits_at_infinity(fn, low, high):
    assert fn(ma.tensor(np.array([-INF, INF]))).tolist() == [low, high]


@pytest.mark.parametrize("fn", [ma.softplus, ma.sigmoid, ma.silu, ma.elu, ma.gelu, ma.gelu_tanh, ma.tanh])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_large_arguments_do_not_overflow(fn, dtype):
    x = ma.tensor(np.array([-1e4, -100, 100, 1e4], dtype), requires_grad=True)
    y = fn(x)
    y.backward(np.ones(4, dtype))
    assert np.isfinite(y.data).all()
    assert np.isfinite(x.grad).all()


# ---------------------------------------------------------------------------------------------- masks
ROWS = np.array([[1.0, 2.0, 3.0], [-1.0, 0.0, 1.0]])
ONE_EMPTY = np.array([[False, False, False], [True, False, True]])


@pytest.mark.parametrize("fn", [ma.softmax, ma.log_softmax])
def test_a_fully_masked_row_is_zero_and_so_is_its_gradient(fn):
    x = ma.tensor(ROWS, requires_grad=True)
    y = fn(x, mask=ONE_EMPTY)
    y.backward(np.array([[1.0, -2.0, 3.0], [4.0, 5.0, -6.0]]))
    assert y.data[0].tolist() == [0, 0, 0]
    assert x.grad[0].tolist() == [0, 0, 0]
    assert np.isfinite(y.data).all()
    assert x.grad[1, 0] != 0
    assert x.grad[1, 1] == 0


def test_what_is_masked_has_no_influence():
    for fn in (ma.softmax, ma.log_softmax):
        base = fn(ma.tensor(ROWS), mask=ONE_EMPTY).data
        other = np.where(ONE_EMPTY, ROWS, NAN)
        assert np.array_equal(fn(ma.tensor(other), mask=ONE_EMPTY).data, base)


def test_a_mask_of_trues_changes_nothing():
    x = ma.tensor(ROWS)
    assert np.array_equal(ma.softmax(x, mask=np.ones((2, 3), bool)).data, ma.softmax(x).data)


def test_masks_must_be_boolean_and_fit():
    with pytest.raises(
        TypeError, match=r"softmax: a mask \(True = may attend\) must be boolean, got int64; hint: .astype\(bool\)"
    ):
        ma.softmax(ma.tensor(ROWS), mask=np.ones((2, 3), int))
    with pytest.raises(ValueError, match=r"softmax: a mask of shape \(3, 2\) does not broadcast to \(2, 3\)"):
        ma.softmax(ma.tensor(ROWS), mask=np.ones((3, 2), bool))
    with pytest.raises(TypeError, match="the condition must be boolean, got float64"):
        ma.where(ROWS, ma.tensor(ROWS), 0.0)


def test_huge_scores_do_not_overflow():
    near, far = np.array([0.0, -1.0, -2e4]), np.array([1e4, 1e4 - 1, -1e4])
    for fn, shift in ((ma.softmax, 0), (ma.log_softmax, 0), (ma.logsumexp, 1e4)):
        assert np.allclose(fn(ma.tensor(far)).data, fn(ma.tensor(near)).data + shift, rtol=1e-12)


def test_logsumexp_of_minus_infinities():
    x = ma.tensor(np.full((2, 2), -INF), requires_grad=True)
    y = ma.logsumexp(x, -1)
    assert y.tolist() == [-INF, -INF]
    y.backward(np.ones(2))
    assert x.grad.tolist() == [[0, 0], [0, 0]]


def test_a_batch_whose_targets_are_all_ignored_has_no_loss():
    logits = ma.tensor(ROWS, requires_grad=True)
    loss = ma.cross_entropy(logits, np.array([-1, -1]), ignore_index=-1)
    loss.backward()
    assert loss.item() == 0
    assert not logits.grad.any()
