"""Normalization of images beyond the table of cases: limiting cases, what is remembered, digits, errors."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opcases import CASES

import minattn as ma
from minattn.errors import ConfigError, ShapeError

SEEDS = st.integers(0, 2**32 - 1)
BATCHES = CASES["batch_norm"].calls


def rng(seed=0):
    return np.random.default_rng(seed)


def leaves(*arrays):
    return [ma.tensor(array, requires_grad=True) for array in arrays]


def images(seed, *shape):
    return 3 * rng(seed).standard_normal(shape) + 1


def tolerance(array):
    return {"rtol": 1e-4, "atol": 1e-4} if array.dtype == np.float32 else {"rtol": 1e-9, "atol": 1e-9}


# ---------------------------------------------------------------------------------------------- batch norm
@given(BATCHES, SEEDS)
def test_fixed_statistics_that_are_the_batchs_own_give_the_same_and_its_gradients(call, seed):
    """In the second way the gradient goes through the mean and the variance outside of the op."""
    results = []
    for fixed in (False, True):
        x, weight, bias = leaves(*call.inputs)
        if fixed:
            axes = tuple(axis for axis in range(x.ndim) if axis != 1)
            y = ma.batch_norm_inference(x, weight, bias, x.mean(axes), x.var(axes), **call.parameters)
        else:
            y, _, _ = ma.batch_norm(x, weight, bias, **call.parameters)
        y.backward(rng(seed).standard_normal(y.shape).astype(y.dtype))
        results.append([y.data, x.grad, weight.grad, bias.grad])
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, **tolerance(a))


def test_every_channel_has_the_mean_and_the_deviation_that_the_weights_say():
    weight, bias = np.array([1.0, 2.0, 0.5]), np.array([0.0, -1.0, 7.0])
    y, mean, variance = ma.batch_norm(ma.tensor(images(0, 4, 3, 5, 6)), weight, bias, eps=0.0)
    np.testing.assert_allclose(y.data.mean((0, 2, 3)), bias, atol=1e-12)
    np.testing.assert_allclose(y.data.std((0, 2, 3)), weight, rtol=1e-12)
    np.testing.assert_allclose(mean.data, images(0, 4, 3, 5, 6).mean((0, 2, 3)))
    np.testing.assert_allclose(variance.data, images(0, 4, 3, 5, 6).var((0, 2, 3)))


def test_the_gradient_of_a_batch_is_orthogonal_to_what_is_normalized_away():
    """A shift and a scale of a channel change nothing, so nothing is pulled that way."""
    (x,) = leaves(images(1, 4, 3, 5, 6))
    y, _, _ = ma.batch_norm(x, np.ones(3), np.zeros(3), eps=0.0)
    y.backward(images(2, 4, 3, 5, 6))
    np.testing.assert_allclose(x.grad.sum((0, 2, 3)), 0, atol=1e-12)
    np.testing.assert_allclose((x.grad * x.data).sum((0, 2, 3)), 0, atol=1e-12)
    assert np.abs(x.grad).max() > 0.1


@pytest.mark.parametrize("last", [False, True], ids=["channels first", "channels last"])
def test_a_large_mean_costs_few_digits_in_float32(last):
    """E x^2 - (E x)^2 would have none left, nor would a sum number by number over so many."""
    noise = rng().standard_normal((8, 2, 100, 100))
    x = (noise + 1000).astype(np.float32)
    stored = x.transpose(0, 2, 3, 1).copy().transpose(0, 3, 1, 2) if last else x
    one, zero = np.ones(2, np.float32), np.zeros(2, np.float32)
    exact = x.astype(np.float64)
    expected = (exact - exact.mean((0, 2, 3), keepdims=True)) / exact.std((0, 2, 3), keepdims=True)
    y, mean, variance = ma.batch_norm(ma.tensor(stored), one, zero)
    np.testing.assert_allclose(y.data, expected, atol=1e-3)
    np.testing.assert_allclose(mean.data, exact.mean((0, 2, 3)), rtol=3e-7)
    np.testing.assert_allclose(variance.data, exact.var((0, 2, 3)), rtol=1e-5)
    np.testing.assert_allclose(ma.group_norm(ma.tensor(stored[:1]), one, zero, 2).data[0, 0].std(), 1, rtol=1e-4)


@pytest.mark.parametrize("name", ["batch_norm", "batch_norm_inference", "group_norm"])
def test_gradients_of_the_weights_keep_their_digits_where_channels_come_last(name):
    """The sums for the bias are over 80 000 numbers near 1."""
    upstream = (1 + 0.1 * rng().random((8, 2, 100, 100))).astype(np.float32)
    stored = upstream.transpose(0, 2, 3, 1).copy().transpose(0, 3, 1, 2)
    x, weight, bias = leaves(stored, np.ones(2, np.float32), np.zeros(2, np.float32))
    NORMS[name](x, weight, bias).backward(stored)
    np.testing.assert_allclose(bias.grad, upstream.sum((0, 2, 3), dtype=np.float64), rtol=3e-7)


def test_a_bias_that_is_infinite_stays_in_its_channel():
    x, one, bias = images(1, 2, 3, 4, 4), np.ones(3), np.array([np.inf, 0.0, -np.inf])
    for y in (ma.batch_norm(x, one, bias, relu=True)[0], ma.batch_norm_inference(x, one, bias, one, one, relu=True)):
        assert (y.data[:, 0] == np.inf).all()
        assert np.isfinite(y.data[:, 1]).all()
        assert (y.data[:, 2] == 0).all()


# ---------------------------------------------------------------------------------------------- group norm
def test_as_many_groups_as_channels_are_instance_normalization():
    x, weight, bias = images(3, 2, 4, 5, 3), *images(4, 2, 4)
    y = ma.group_norm(ma.tensor(x), weight, bias, groups=4)
    for image in range(2):
        alone, _, _ = ma.batch_norm(ma.tensor(x[image : image + 1]), weight, bias)
        np.testing.assert_allclose(y.data[image], alone.data[0], rtol=1e-12)


def test_one_group_is_layer_normalization_of_the_whole_image():
    x = images(5, 2, 4, 5, 3)
    rows = ma.layer_norm(ma.tensor(x.reshape(2, 60)), np.ones(60), np.zeros(60))
    y = ma.group_norm(ma.tensor(x), np.ones(4), np.zeros(4), groups=1)
    np.testing.assert_allclose(y.data, rows.data.reshape(x.shape), rtol=1e-12)


def test_no_image_and_no_group_depends_on_another():
    x, one, zero = images(6, 2, 4, 3, 3), np.ones(4), np.zeros(4)
    before = ma.group_norm(ma.tensor(x), one, zero, 2).data
    x[0, :2] += images(7, 2, 3, 3)
    after = ma.group_norm(ma.tensor(x), one, zero, 2).data
    assert (before[0, :2] != after[0, :2]).all()
    np.testing.assert_array_equal(before[0, 2:], after[0, 2:])
    np.testing.assert_array_equal(before[1], after[1])


# ---------------------------------------------------------------------------------------------- local response
def test_local_response_with_the_papers_constants():
    x = np.full((1, 4, 1, 1), 10.0)
    y = ma.local_response_norm(ma.tensor(x)).data[0, :, 0, 0]
    expected = [10 / (2 + 1e-4 * 100 * neighbors) ** 0.75 for neighbors in (3, 4, 4, 3)]
    np.testing.assert_allclose(y, expected, rtol=1e-14)


def test_without_neighbours_or_without_alpha_channels_are_on_their_own():
    x = images(8, 2, 5, 3, 2)
    np.testing.assert_allclose(
        ma.local_response_norm(ma.tensor(x), n=1, k=1.0, alpha=1.0, beta=0.5).data, x / np.sqrt(1 + x * x)
    )
    np.testing.assert_allclose(ma.local_response_norm(ma.tensor(x), k=4.0, alpha=0.0, beta=0.5).data, x / 2)


def test_enough_neighbours_are_all_channels():
    x = images(9, 2, 3, 2, 2)
    y = ma.local_response_norm(ma.tensor(x), n=99, k=1.0, alpha=0.1, beta=1.0)
    np.testing.assert_allclose(y.data, x / (1 + 0.1 * (x * x).sum(1, keepdims=True)))


# ---------------------------------------------------------------------------------------------- all of them
NORMS = {
    "batch_norm": lambda x, w, b: ma.batch_norm(x, w, b)[0],
    "batch_norm_inference": lambda x, w, b: ma.batch_norm_inference(x, w, b, [1.0, 2.0], [1.0, 4.0]),
    "group_norm": lambda x, w, b: ma.group_norm(x, w, b, 2),
    "local_response_norm": lambda x, w, b: ma.local_response_norm(x) * 1.0 + 0.0 * (w.sum() + b.sum()),
}


@pytest.mark.parametrize("name", sorted(set(NORMS) - {"batch_norm"}))
def test_an_empty_batch_stays_one_and_moves_no_weight(name):
    x, weight, bias = leaves(*(np.ones(shape, np.float32) for shape in ((0, 2, 3, 3), 2, 2)))
    y = NORMS[name](x, weight, bias)
    assert (y.shape, y.dtype) == ((0, 2, 3, 3), np.float32)
    y.sum().backward()
    assert x.grad.shape == x.shape
    assert weight.grad.tolist() == bias.grad.tolist() == [0, 0]


@pytest.mark.parametrize("name", NORMS)
def test_integers_give_what_float64_gives(name):
    x, one, zero = np.arange(24).reshape(2, 2, 3, 2), ma.tensor(np.ones(2)), ma.tensor(np.zeros(2))
    y = NORMS[name](ma.tensor(x), one, zero)
    assert y.dtype == np.float64
    np.testing.assert_allclose(y.data, NORMS[name](ma.tensor(x.astype(np.float64)), one, zero).data, rtol=1e-14)


def test_a_batch_without_a_number_has_no_statistics():
    for shape in ((0, 2, 3, 3), (3, 2, 0, 3)):
        with pytest.raises(ShapeError, match=r"batch_norm: .*no mean over axes \(0, 2, 3\).*hint: at least one"):
            ma.batch_norm(ma.tensor(np.zeros(shape)), np.ones(2), np.zeros(2))


@pytest.mark.parametrize("name", sorted(set(NORMS) - {"local_response_norm"}))
def test_weights_of_another_number_of_channels_are_refused(name):
    x, two, three = (ma.tensor(np.ones(shape)) for shape in ((2, 2, 3, 3), 2, 3))
    message = r"of shape \(3,\) does not go with 2 channels; hint: .* of shape \(2,\)"
    with pytest.raises(ShapeError, match=f"weight {message}"):
        NORMS[name](x, three, two)
    with pytest.raises(ShapeError, match=f"bias {message}"):
        NORMS[name](x, two, three)


@pytest.mark.parametrize("name", NORMS)
def test_what_has_no_channels_is_refused(name):
    with pytest.raises(ShapeError, match=r"shape \(4,\) has no channels; hint: the shape \(N, C, H, W\)"):
        NORMS[name](ma.tensor(np.ones(4)), ma.tensor(np.ones(4)), ma.tensor(np.ones(4)))


@pytest.mark.parametrize("name", NORMS)
def test_images_of_no_channels_are_refused(name):
    nothing = ma.tensor(np.ones(0))
    with pytest.raises(ShapeError, match=r"shape \(2, 0, 3, 3\) has no channels"):
        NORMS[name](ma.tensor(np.ones((2, 0, 3, 3))), nothing, nothing)


@pytest.mark.parametrize("groups", [0, 4, 12, -2])
def test_groups_that_do_not_divide_the_channels_are_refused(groups):
    with pytest.raises(ConfigError, match=f"6 channels do not make {groups} groups of one size; hint: .*divides 6"):
        ma.group_norm(ma.tensor(np.ones((1, 6, 2, 2))), np.ones(6), np.zeros(6), groups)


@pytest.mark.parametrize("n", [0, 2, -1])
def test_a_number_of_neighbours_without_a_middle_is_refused(n):
    with pytest.raises(ConfigError, match=f"{n} channels have none in their middle; hint: an odd number n"):
        ma.local_response_norm(ma.tensor(np.ones((1, 6, 2, 2))), n)
