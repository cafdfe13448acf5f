"""From maps to segments and boxes: the largest segment, its tight box, and the whole image for a constant map."""

import inspect

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minattn as ma
from minattn.attention.spatial import Box, box_of, class_activation_map, largest_segment, normalized, upsampled
from minattn.autograd import ops
from minattn.errors import ConfigError, DataError, ShapeError
from minattn.testing import strategies

FRAMES = st.tuples(st.integers(1, 6), st.integers(1, 6))
MAPS = FRAMES.flatmap(lambda frame: strategies.arrays(frame))


def flooded(above):
    """Every connected segment of the True pixels as a set of places, by walking from pixel to pixel."""
    waiting = [tuple(place) for place in np.argwhere(above).tolist()]
    segments = []
    while waiting:
        walk, segment = [waiting[0]], set()
        while walk:
            y, x = walk.pop()
            if (y, x) in waiting:
                waiting.remove((y, x))
                segment.add((y, x))
                walk += [(y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)]
        segments.append(segment)
    return segments


@given(MAPS, st.floats(0, 0.95))
def test_the_largest_segment_and_its_box_by_walking(map_, share):
    lowest, highest = map_.min(), map_.max()
    span = highest - lowest
    above = normalized(map_[None])[0] > share
    if span > 1e-3:  # the threshold, written out; not within rounding of it
        clear = np.abs(map_ - lowest - share * span) > 1e-5
        np.testing.assert_array_equal(above[clear], (map_ - lowest > share * span)[clear])
    largest = max(flooded(above), key=len)  # the first of those of equal size
    segment = largest_segment(map_, share)
    assert {tuple(place) for place in np.argwhere(segment).tolist()} == largest
    ys, xs = zip(*largest, strict=True)
    assert box_of(map_, share) == Box(min(ys), min(xs), max(ys) + 1, max(xs) + 1)


@given(FRAMES, st.integers(1, 4), st.integers(1, 3), st.integers(-20, 20), st.floats(0, 0.99))
def test_of_constant_features_every_box_is_the_whole_image(frame, channels, classes, value, share):
    features = np.full((1, channels, *frame), value / 7)
    weight = np.random.default_rng(0).normal(size=(channels, classes))
    maps = class_activation_map(ma.tensor(features), ma.tensor(weight)).data[0]
    np.testing.assert_allclose(maps, np.broadcast_to(maps[:, :1, :1], maps.shape), rtol=1e-12)
    for dtype in (np.float64, np.float32):
        for map_ in upsampled(maps.astype(dtype), (12, 9)):
            assert box_of(map_, share) == Box(0, 0, 12, 9)


def test_a_box_around_the_larger_of_two_segments():
    map_ = np.zeros((8, 8), np.float32)
    map_[1:3, 1:3] = 1.0  # 4 pixels, the highest
    map_[4:7, 5:8] = 0.21  # 9 pixels
    map_[3, 3] = 1.0  # touches the first at a corner alone
    assert box_of(map_) == Box(4, 5, 7, 8)
    assert box_of(map_, share=0.5) == Box(1, 1, 3, 3)


@given(MAPS, st.floats(0.1, 10), st.floats(-5, 5))
def test_normalized_maps_do_not_depend_on_scale_and_offset(map_, scale, offset):
    maps = map_.astype(np.float64)[None]
    unit = normalized(maps)
    assert unit.dtype == np.float64
    assert unit.max() == 1
    assert (unit >= 0).all()
    np.testing.assert_allclose(normalized(scale * maps + offset), unit, atol=1e-9)
    assert normalized(maps.astype(np.float32)).dtype == np.float32


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_the_largest_numbers_there_are_have_a_normalized_map_and_a_segment(dtype):
    most = np.finfo(dtype).max
    np.testing.assert_array_equal(normalized(np.array([[[-most, most, 0]]], dtype)), [[[0, 1, 0.5]]])
    assert largest_segment(np.array([[-most, most, 0]], dtype), 1 - 2**-20).tolist() == [[False, True, False]]


def test_upsampled_maps_are_bilinear_and_keep_their_type():
    maps = np.random.default_rng(0).normal(size=(2, 4, 4)).astype(np.float32)
    larger = upsampled(maps, (7, 9))
    assert larger.dtype == np.float32
    np.testing.assert_array_equal(larger, ops.resize_bilinear(maps[:, None], (7, 9)).data[:, 0])
    np.testing.assert_array_equal(upsampled(ma.tensor(maps), (7, 9)), larger)


@pytest.mark.parametrize(("maps", "size"), [((2, 4, 4), (0, 9)), ((2, 4, 4), (9, -1)), ((2, 0, 4), (3, 3))])
def test_maps_without_a_place_and_sizes_below_one_are_refused(maps, size):
    with pytest.raises(ShapeError, match="hint"):
        upsampled(np.zeros(maps, np.float32), size)


@pytest.mark.parametrize("share", [-0.1, 1.0, 20.0])
def test_a_share_that_is_none_is_refused(share):
    with pytest.raises(ConfigError, match=rf"share of the maximum is {share}, expected 0 <= share < 1; hint: 0\.2"):
        largest_segment(np.ones((2, 2)), share)


@pytest.mark.parametrize(
    ("map_", "message"),
    [
        (np.ones((1, 2, 2)), r"shape \(1, 2, 2\)"),
        (np.ones((0, 2)), r"shape \(0, 2\)"),
    ],
)
def test_a_map_without_segments_is_refused(map_, message):
    with pytest.raises(ShapeError, match=message + ".*hint: one map"):
        inspect.unwrap(largest_segment)(map_)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_is_refused(value):
    maps = np.ones((3, 2, 2))
    maps[1, 0, 1] = value
    with pytest.raises(DataError, match=r"1 of 12 values of the maps are not finite.*; hint: maps of a network"):
        normalized(maps)
    with pytest.raises(DataError, match="1 of 4 values"):
        box_of(maps[1])
    assert (normalized(maps[:1]) == 1).all()


def test_maps_on_a_device_are_brought_to_the_host(backend):
    maps = np.random.default_rng(0).normal(size=(2, 3, 3)).astype(np.float32)
    np.testing.assert_array_equal(normalized(backend.tensor(maps)), normalized(maps))
    np.testing.assert_array_equal(upsampled(backend.tensor(maps), (5, 5)), upsampled(maps, (5, 5)))
