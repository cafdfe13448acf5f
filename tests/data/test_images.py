"""Images with their classes: what is held out, what fits together, and by what they are recognized."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minattn.data.images.dataset import Images, ImageSplits, check_labels, hold_out_images
from minattn.errors import ConfigError, DataError


def numbered(labels, shape=(1, 2, 2)):
    """Images of these classes, each of which has its place as its pixels."""
    pixels = np.broadcast_to(np.arange(len(labels), dtype=np.uint8)[:, None, None, None], (len(labels), *shape))
    return Images(pixels, np.array(labels, dtype=np.int64))


@given(st.lists(st.integers(0, 3), min_size=1, max_size=60), st.floats(0.05, 0.5), st.integers(0, 3))
def test_the_same_share_of_each_class_is_held_out(labels, share, seed):
    images = numbered(labels)
    kept, held_out = hold_out_images(images, share, seed)
    places = [part.pixels[:, 0, 0, 0] for part in (kept, held_out)]
    assert sorted(np.concatenate(places)) == list(range(len(labels)))
    for part, of_part in zip((kept, held_out), places, strict=True):
        assert (np.diff(of_part.astype(int)) > 0).all()  # the order they had
        assert (part.labels == images.labels[of_part]).all()
    for label in set(labels):
        count = labels.count(label)
        expected = max(1, round(share * count)) if count > 1 else 0
        assert (held_out.labels == label).sum() == expected


def test_who_is_held_out_is_drawn_and_the_same_each_time():
    images = numbered([0] * 40)
    drawn = [hold_out_images(images, 0.5, seed)[1].pixels[:, 0, 0, 0].tolist() for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert drawn[0] != list(range(20))


def test_a_fingerprint_is_that_of_pixels_labels_and_shape():
    images = numbered([0, 1, 0])
    assert images.fingerprint() == Images(images.pixels.copy(), images.labels.copy()).fingerprint()
    others = [
        numbered([0, 1, 1]),
        numbered([0, 1, 0], (1, 1, 4)),
        Images(images.pixels + np.uint8(1), images.labels),
        images.at(slice(2)),
    ]
    assert len({other.fingerprint() for other in [images, *others]}) == 5


@pytest.mark.parametrize("label", [-1, 3])
def test_a_label_out_of_range_is_refused(label):
    with pytest.raises(
        DataError, match=f"the dev images: the label {label} is the number of no class; expected 0 to 2"
    ):
        ImageSplits(numbered([0]), numbered([0, label]), numbered([0]), ("a", "b", "c"))
    check_labels(np.array([0, 2]), 3, "they")


def test_parts_of_several_shapes_are_refused():
    with pytest.raises(DataError, match="the test images are 3 x 2, RGB, those to train on 2 x 2, gray"):
        ImageSplits(numbered([0]), numbered([0]), numbered([0], (3, 2, 3)), ("a",))


@pytest.mark.parametrize(
    ("pixels", "labels", "says"),
    [
        (np.zeros((2, 3, 3), np.uint8), [0, 0], r"pixels are uint8 of shape \(2, 3, 3\); expected uint8 .*; hint"),
        (np.zeros((2, 1, 3, 3)), [0, 0], r"pixels are float64 of shape \(2, 1, 3, 3\); expected uint8 .*; hint"),
        (np.zeros((2, 1, 3, 3), np.uint8), [0], r"the labels of 2 images have the shape \(1,\); .*; hint"),
        (np.zeros((2, 1, 3, 3), np.uint8), [[0], [0]], r"the labels of 2 images have the shape \(2, 1\)"),
    ],
)
def test_what_are_no_images_with_their_labels(pixels, labels, says):
    with pytest.raises(DataError, match=says):
        Images(pixels, np.array(labels))


@pytest.mark.parametrize("share", [-1, 0, 1, 2, float("nan")])
def test_a_share_that_leaves_nothing_is_refused(share):
    with pytest.raises(ConfigError, match=f"the share to hold out is {share}; expected one between 0 and 1; hint"):
        hold_out_images(numbered([0, 0, 1]), share)
