"""Resizing beyond the table of cases: SciPy's opinion, what must be kept, errors."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

import minattn as ma
from minattn.errors import ShapeError
from minattn.testing import strategies

RESIZE = {
    "nearest": ma.resize_nearest,
    "bilinear": ma.resize_bilinear,
    "bilinear, corners": lambda x, size: ma.resize_bilinear(x, size, align_corners=True),
}
IMAGES = strategies.arrays(strategies.shapes(min_dims=2, max_dims=4, min_side=1))
SIZES = st.tuples(st.integers(1, 7), st.integers(1, 7))


def close(a, b):
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


# ---------------------------------------------------------------------------------------------- identities
@pytest.mark.parametrize("name", RESIZE)
@given(x=IMAGES)
def test_the_same_size_changes_nothing(name, x):
    y = RESIZE[name](ma.tensor(x), x.shape[-2:])
    assert y.dtype == x.dtype
    close(y.data, x)


@given(IMAGES, st.integers(1, 3), st.integers(1, 3))
def test_nearest_by_whole_factors_repeats_pixels(x, a, b):
    y = ma.resize_nearest(ma.tensor(x), (a * x.shape[-2], b * x.shape[-1]))
    np.testing.assert_array_equal(y.data, x.repeat(a, -2).repeat(b, -1))


@given(IMAGES, st.integers(1, 3), st.integers(1, 3))
def test_nearest_shows_the_first_pixel_of_each_block_of_a_larger_image(x, a, b):
    y = ma.resize_nearest(ma.tensor(x.repeat(a, -2).repeat(b, -1)), x.shape[-2:])
    np.testing.assert_array_equal(y.data, x)


@given(strategies.arrays((2, 6, 4)))
def test_bilinear_to_half_the_size_is_the_mean_of_four(x):
    close(ma.resize_bilinear(ma.tensor(x), (3, 2)).data, x.reshape(2, 3, 2, 2, 2).mean((2, 4)))


@given(strategies.arrays((5, 4)), SIZES)
def test_bilinear_with_pixels_as_areas_is_that_of_scipy(x, size):
    u, v = ((np.arange(m) + 0.5) * (n / m) - 0.5 for n, m in zip(x.shape, size, strict=True))
    places = np.meshgrid(u, v, indexing="ij")
    expected = ndimage.map_coordinates(x.astype(np.float64), places, order=1, mode="nearest")
    close(ma.resize_bilinear(ma.tensor(x), size).data, expected)


@given(strategies.arrays((5, 4)), st.tuples(st.integers(2, 7), st.integers(2, 7)))
def test_bilinear_with_corners_aligned_is_that_of_scipy(x, size):
    places = np.meshgrid(np.linspace(0, 4, size[0]), np.linspace(0, 3, size[1]), indexing="ij")
    expected = ndimage.map_coordinates(x.astype(np.float64), places, order=1, mode="nearest")
    y = ma.resize_bilinear(ma.tensor(x), size, align_corners=True).data
    close(y, expected)
    close(y[:: size[0] - 1, :: size[1] - 1], x[::4, ::3])


def test_the_two_conventions_by_hand():
    x = ma.tensor([[0.0, 1.0]])
    np.testing.assert_allclose(ma.resize_bilinear(x, (1, 4)).data, [[0, 0.25, 0.75, 1]])
    np.testing.assert_allclose(
        ma.resize_bilinear(x, (1, 4), align_corners=True).data, [[0, 1 / 3, 2 / 3, 1]], rtol=1e-6
    )
    np.testing.assert_allclose(ma.resize_bilinear(x, 1).data, [[0.5]])
    np.testing.assert_allclose(ma.resize_bilinear(x, 1, align_corners=True).data, [[0]])


@pytest.mark.parametrize("name", RESIZE)
@given(x=IMAGES, size=SIZES, seed=st.integers(0, 2**32 - 1))
def test_weights_add_up_to_one(name, x, size, seed):
    """A constant stays itself, and no gradient is lost."""
    flat = RESIZE[name](ma.tensor(np.full_like(x, 3)), size)
    close(flat.data, np.full(flat.shape, 3))
    upstream = np.random.default_rng(seed).standard_normal(flat.shape)
    t = ma.tensor(x.astype(np.float64), requires_grad=True)
    RESIZE[name](t, size).backward(upstream)
    np.testing.assert_allclose(t.grad.sum((-2, -1)), upstream.sum((-2, -1)), atol=1e-10)


# ---------------------------------------------------------------------------------------------- edges
@pytest.mark.parametrize("name", RESIZE)
def test_an_empty_batch_stays_one(name):
    x = ma.tensor(np.zeros((0, 3, 4, 4), np.float32), requires_grad=True)
    y = RESIZE[name](x, (2, 6))
    assert y.shape == (0, 3, 2, 6)
    assert y.dtype == np.float32
    y.sum().backward()
    assert x.grad.shape == (0, 3, 4, 4)


@pytest.mark.parametrize("name", RESIZE)
def test_integers(name):
    y = RESIZE[name](ma.tensor(np.arange(6).reshape(2, 3)), (4, 3))
    assert y.dtype == (np.int64 if name == "nearest" else np.float64)
    np.testing.assert_array_equal(y.data[[0, -1]], [[0, 1, 2], [3, 4, 5]])


@pytest.mark.parametrize("name", RESIZE)
@pytest.mark.parametrize("size", [0, (3, 0), (-1, 2)])
def test_sizes_below_one_are_refused(name, size):
    h, w = size if isinstance(size, tuple) else (size, size)
    with pytest.raises(ShapeError, match=f"cannot have the size {h} x {w}; hint: a height and a width of at least"):
        RESIZE[name](ma.tensor(np.zeros((1, 1, 4, 4))), size)


@pytest.mark.parametrize("name", RESIZE)
def test_what_is_no_image_is_refused(name):
    with pytest.raises(ShapeError, match=r"shape \(4,\) holds no images"):
        RESIZE[name](ma.tensor(np.zeros(4)), 2)
    with pytest.raises(ShapeError, match="images of 0 x 4 have no pixel; hint: images of at least 1 x 1"):
        RESIZE[name](ma.tensor(np.zeros((2, 0, 4))), 2)


# ---------------------------------------------------------------------------------------------- not finite
@pytest.mark.parametrize("name", RESIZE)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@given(x=strategies.arrays((2, 4, 5)), size=SIZES, data=st.data())
def test_what_is_not_finite_reaches_those_that_see_it(name, bad, x, size, data):
    """Among them places of the result that are places of the image, which see nothing of the next."""

    def results(x, g):
        tensor = ma.tensor(x, requires_grad=True)
        y = RESIZE[name](tensor, size)
        y.backward(g)
        return y.data, tensor.grad

    def a_place(shape):
        return tuple(data.draw(st.integers(0, n - 1)) for n in shape)

    g = np.ones((2, *size), x.dtype)
    pixel, place, marks, marked = a_place(x.shape), a_place(g.shape), np.zeros(x.shape), np.zeros(g.shape)
    marks[pixel] = marked[place] = 1
    seen, reached = results(marks, marked)
    y, d_x = results(x, g)
    x = x.copy()
    x[pixel] = g[place] = bad
    bad_y, bad_d_x = results(x, g)
    for whole, hurt, mark in ((y, bad_y, seen), (d_x, bad_d_x, reached)):
        there = mark > 1e-9
        close(hurt[~there], whole[~there])
        np.testing.assert_array_equal(hurt[there], bad)
