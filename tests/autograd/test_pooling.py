"""Pooling beyond the table of cases: published sizes, ties and padding, limiting cases, errors."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from opcases.images import pairs
from scipy import ndimage

import minattn as ma
from minattn.autograd import OPS
from minattn.errors import ConfigError, ShapeError
from minattn.testing import assert_equation, strategies

INF, NAN = np.inf, np.nan
POOLS = {
    "max": lambda x: ma.max_pool2d(x, 2),
    "average": lambda x: ma.average_pool2d(x, 2),
    "adaptive max": lambda x: ma.adaptive_max_pool2d(x, 2),
    "adaptive average": lambda x: ma.adaptive_average_pool2d(x, 2),
}


def gradient(function, x, upstream=None):
    tensor = ma.tensor(np.asarray(x, np.float64), requires_grad=True)
    y = function(tensor)
    y.backward(np.ones(y.shape) if upstream is None else np.asarray(upstream, np.float64))
    return tensor.grad


# ---------------------------------------------------------------------------------------------- sizes
@pytest.mark.parametrize(
    ("before", "windows", "after"),
    [
        (55, {"kernel": 3, "stride": 2}, 27),  # AlexNet
        (112, {"kernel": 3, "stride": 2, "padding": 1}, 56),  # ResNet
        (112, {"kernel": 3, "stride": 2, "ceil": True}, 56),  # GoogLeNet
        (112, {"kernel": 3, "stride": 2}, 55),
        (224, {"kernel": 2}, 112),  # VGG
        (5, {"kernel": 1, "stride": 3, "ceil": True}, 2),  # the third window would start behind the image
        (3, {"kernel": 2, "stride": 2, "padding": 1, "ceil": True}, 2),
    ],
)
@pytest.mark.parametrize("pool", [ma.max_pool2d, ma.average_pool2d])
def test_the_sizes_of_published_networks(pool, before, windows, after):
    assert pool(ma.tensor(np.zeros((1, 1, before, before), np.float32)), **windows).shape == (1, 1, after, after)


def test_height_and_width_may_differ():
    x = np.arange(24.0).reshape(1, 1, 4, 6)
    y = ma.max_pool2d(ma.tensor(x), (2, 3), (1, 3))
    np.testing.assert_array_equal(y.data, [[[[8, 11], [14, 17], [20, 23]]]])
    np.testing.assert_array_equal(
        ma.average_pool2d(ma.tensor(x), (4, 1), padding=(0, 0)).data[0, 0, 0], x.mean((0, 1, 2))
    )


# ---------------------------------------------------------------------------------------------- SciPy's opinion
@given(strategies.arrays(strategies.shapes(min_dims=2, max_dims=2, min_side=1, max_side=7)), st.sampled_from([1, 3, 5]))
def test_windows_around_every_pixel_are_the_filters_of_scipy(x, k):
    around = {"kernel": k, "stride": 1, "padding": k // 2}
    largest = ndimage.maximum_filter(x.astype(np.float64), k, mode="constant", cval=-INF)
    np.testing.assert_array_equal(ma.max_pool2d(ma.tensor(x), **around).data, largest)
    means = ndimage.uniform_filter(x.astype(np.float64), k, mode="constant")
    np.testing.assert_allclose(ma.average_pool2d(ma.tensor(x), **around).data, means, rtol=1e-5, atol=1e-6)


# ---------------------------------------------------------------------------------------------- ties and padding
def test_pixels_that_are_equally_large_share_the_gradient():
    x = [[1.0, 1.0, 5.0], [1.0, 0.0, 5.0]]
    assert gradient(lambda t: ma.max_pool2d(t, 2, 1), x, [[6, 8]]).tolist() == [[2, 2, 4], [2, 0, 4]]
    assert gradient(lambda t: ma.adaptive_max_pool2d(t, (1, 2)), x, [[6, 8]]).tolist() == [[2, 2, 4], [2, 0, 4]]


@given(
    hnp.arrays(np.float64, st.tuples(st.integers(2, 5), st.integers(2, 5)), elements=st.integers(-2, 0)),
    st.integers(2, 3),
    st.integers(1, 3),
    st.booleans(),
    st.integers(0, 2**32 - 1),
)
def test_the_gradient_of_ties_is_that_of_the_equation_and_none_of_it_is_lost(x, kernel, stride, ceil, seed):
    """Few numbers, so that ties are everywhere; none positive, so that padding by 0 would win."""
    windows = {"kernel": kernel, "stride": stride, "padding": 1, "ceil": ceil}
    assert_equation(
        lambda x: ma.max_pool2d(x, **windows), lambda x: OPS["max_pool2d"].equation(x, **windows), x, seed=seed
    )
    upstream = np.random.default_rng(seed).standard_normal(ma.max_pool2d(ma.tensor(x), **windows).shape)
    kept = gradient(lambda t: ma.max_pool2d(t, **windows), x, upstream)
    np.testing.assert_allclose(kept.sum(), upstream.sum(), atol=1e-12)


def test_padding_gets_nothing_even_of_pixels_that_are_minus_infinity():
    x = np.full((2, 2), -INF)
    y = ma.max_pool2d(ma.tensor(x), 3, 2, 1)
    np.testing.assert_array_equal(y.data, [[-INF]])
    np.testing.assert_array_equal(gradient(lambda t: ma.max_pool2d(t, 3, 2, 1), x), np.full((2, 2), 0.25))


def test_padding_counts_or_does_not():
    x = ma.tensor(np.ones((3, 3)))
    counted = ma.average_pool2d(x, 3, 2, 1, count_padding=True).data
    np.testing.assert_allclose(counted, np.full((2, 2), 4 / 9))
    np.testing.assert_array_equal(ma.average_pool2d(x, 3, 2, 1, count_padding=False).data, np.ones((2, 2)))


@pytest.mark.parametrize("count_padding", [True, False])
def test_what_ceil_adds_behind_the_padding_never_counts(count_padding):
    y = ma.average_pool2d(ma.tensor(np.ones((3, 3))), 2, ceil=True, count_padding=count_padding)
    np.testing.assert_array_equal(y.data, np.ones((2, 2)))


# ---------------------------------------------------------------------------------------------- limiting cases
IMAGES = strategies.arrays(strategies.shapes(min_dims=4, max_dims=4, min_side=1))


@given(IMAGES)
def test_one_window_over_the_whole_image(x):
    t, size = ma.tensor(x), x.shape[-2:]
    mean, largest = x.mean((-2, -1), keepdims=True, dtype=np.float64), x.max((-2, -1), keepdims=True)
    for y in (ma.average_pool2d(t, size), ma.adaptive_average_pool2d(t, 1), ma.mean(t, (-2, -1), keepdims=True)):
        np.testing.assert_allclose(y.data, mean, rtol=1e-5, atol=1e-6)
    for y in (ma.max_pool2d(t, size), ma.adaptive_max_pool2d(t, 1)):
        np.testing.assert_array_equal(y.data, largest)


@given(IMAGES)
def test_windows_of_one_pixel_change_nothing(x):
    t = ma.tensor(x)
    same = ma.max_pool2d(t, 1), ma.average_pool2d(t, 1)
    for y in (*same, ma.adaptive_max_pool2d(t, x.shape[-2:]), ma.adaptive_average_pool2d(t, x.shape[-2:])):
        np.testing.assert_array_equal(y.data, x)
        assert y.dtype == x.dtype


@given(pairs(1, 3), pairs(1, 3), st.data())
def test_a_size_that_divides_the_image_has_windows_side_by_side(size, kernel, data):
    (h, w), (a, b) = (value if isinstance(value, tuple) else (value, value) for value in (size, kernel))
    t = ma.tensor(data.draw(strategies.arrays((2, h * a, w * b))))
    np.testing.assert_array_equal(ma.adaptive_max_pool2d(t, size).data, ma.max_pool2d(t, kernel).data)
    means = ma.average_pool2d(t, kernel).data
    np.testing.assert_allclose(ma.adaptive_average_pool2d(t, size).data, means, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", POOLS)
def test_an_empty_batch_stays_one(name):
    x = ma.tensor(np.zeros((0, 3, 4, 4), np.float32), requires_grad=True)
    y = POOLS[name](x)
    assert y.shape == (0, 3, 2, 2)
    assert y.dtype == np.float32
    y.sum().backward()
    assert x.grad.shape == (0, 3, 4, 4)


@pytest.mark.parametrize("name", POOLS)
def test_integers(name):
    x = -np.arange(16).reshape(1, 4, 4)
    y = POOLS[name](ma.tensor(x))
    assert y.dtype == (np.int64 if "max" in name else np.float64)
    np.testing.assert_array_equal(y.data, POOLS[name](ma.tensor(x.astype(np.float64))).data)


def test_a_mask_is_true_where_a_window_has_a_true_pixel():
    x = np.zeros((1, 4, 4), bool)
    x[0, 1, 2] = True
    for pool in (ma.max_pool2d, ma.adaptive_max_pool2d):
        y = pool(ma.tensor(x), 2)
        assert y.dtype == np.bool_
        np.testing.assert_array_equal(y.data, [[[False, True], [False, False]]])
    np.testing.assert_array_equal(ma.max_pool2d(ma.tensor(x), 3, 1, 1).data[0], np.arange(4)[:, None] <= [-1, 2, 2, 2])


def test_what_is_not_finite_stays_in_its_windows():
    x = np.zeros((1, 4, 4))
    x[0, 0, 0], x[0, 3, 3] = NAN, INF
    for pool in (ma.max_pool2d, ma.average_pool2d):
        np.testing.assert_array_equal(pool(ma.tensor(x), 2).data, [[[NAN, 0], [0, INF]]])
    np.testing.assert_array_equal(ma.adaptive_max_pool2d(ma.tensor(x), 2).data, [[[NAN, 0], [0, INF]]])


# ---------------------------------------------------------------------------------------------- errors
@pytest.mark.parametrize("pool", [ma.max_pool2d, ma.average_pool2d])
@pytest.mark.parametrize(
    ("shape", "windows", "error", "message"),
    [
        (
            (1, 1, 4, 2),
            {"kernel": 3},
            ShapeError,
            "kernel of 3 is larger than an axis of 2 with a padding of 0 on",
        ),
        ((1, 1, 2, 2), {"kernel": 5, "padding": 1}, ShapeError, "kernel of 5 .* axis of 2 with a padding of 1"),
        ((1, 1, 0, 2), {"kernel": 2, "padding": 1}, ShapeError, "larger than an axis of 0"),
        ((1, 1, 4, 4), {"kernel": 0}, ConfigError, "a kernel of 0 with stride 0 .* both of at least 1"),
        ((1, 1, 4, 4), {"kernel": 2, "stride": (1, 0)}, ConfigError, "a kernel of 2 with stride 0"),
        (
            (1, 1, 4, 4),
            {"kernel": 2, "padding": 2},
            ConfigError,
            "padding of 2 .* kernel of 2.*between 0 and 1",
        ),
        ((1, 1, 4, 4), {"kernel": 2, "padding": -1}, ConfigError, "a padding of -1"),
        ((4,), {"kernel": 2}, ShapeError, r"shape \(4,\) holds no images; hint: the shape \(N, C, H, W\)"),
    ],
)
def test_windows_that_cannot_be(pool, shape, windows, error, message):
    with pytest.raises(error, match=message):
        pool(ma.tensor(np.zeros(shape)), **windows)


def test_numbers_of_numpy_are_taken_and_fractions_are_not():
    x = ma.tensor(np.zeros((1, 1, 4, 4)))
    assert ma.max_pool2d(x, np.int64(2), [np.int32(1), 2]).shape == (1, 1, 3, 2)
    for wrong in (2.5, (2, 2, 2), (1, None)):
        for name, how in {"kernel": {"kernel": wrong}, "stride": {"kernel": 2, "stride": wrong}}.items():
            message = f"{name} must be an int or a pair (height, width), got {wrong!r}; hint: one int or two"
            with pytest.raises(ConfigError, match=re.escape(message)):
                ma.average_pool2d(x, **how)


@pytest.mark.parametrize("pool", [ma.adaptive_max_pool2d, ma.adaptive_average_pool2d])
def test_sizes_that_cannot_be(pool):
    with pytest.raises(ShapeError, match="cannot have the size 0 x 3; hint: a height and a width of at least 1"):
        pool(ma.tensor(np.zeros((1, 1, 4, 4))), (0, 3))
    with pytest.raises(ShapeError, match="images of 4 x 0 have no pixel"):
        pool(ma.tensor(np.zeros((1, 1, 4, 0))), 2)
