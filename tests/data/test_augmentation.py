"""Batches of images: every image once, the same after a stop, normalized, cropped and mirrored."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minattn.data.images.augmentation import ImageBatches, Normalization, crop_and_flip, evaluation_images
from minattn.data.images.dataset import Images
from minattn.errors import ConfigError, DataError, ShapeError

AS_IT_IS = Normalization([0.0], [1.0])


def some_images(count, shape=(1, 5, 4), seed=0):
    rng = np.random.default_rng(seed)
    return Images(rng.integers(256, size=(count, *shape), dtype=np.uint8), np.arange(count))


# ---------------------------------------------------------------------------------------------- crops and mirrors
@given(st.integers(1, 4), st.integers(1, 3), st.integers(1, 6), st.integers(1, 6), st.integers(0, 3), st.data())
def test_a_window_is_cut_out_of_the_padded_image(count, channels, height, width, padding, data):
    pixels = some_images(count, (channels, height, width)).pixels
    place = st.lists(st.integers(0, 2 * padding), min_size=count, max_size=count)
    top, left = data.draw(place), data.draw(place)
    mirrored = data.draw(st.lists(st.booleans(), min_size=count, max_size=count))
    windows = crop_and_flip(pixels, padding, np.array(top), np.array(left), np.array(mirrored))
    assert (windows.shape, windows.dtype) == (pixels.shape, np.uint8)
    for n, channel, i, j in np.ndindex(pixels.shape):
        y = top[n] + i - padding
        x = left[n] + (width - 1 - j if mirrored[n] else j) - padding
        inside = 0 <= y < height and 0 <= x < width
        assert windows[n, channel, i, j] == (pixels[n, channel, y, x] if inside else 0)


def test_every_window_and_both_directions_are_drawn():
    """Of an image whose pixels are all different, 9 windows and their mirrors."""
    image = np.arange(1, 13, dtype=np.uint8).reshape(1, 1, 3, 4)
    images = Images(np.repeat(image, 400, axis=0), np.zeros(400, np.int64))
    (batch,) = ImageBatches(images, 400, 1, AS_IT_IS, crop=1, flip=True).iterate(0)
    drawn, counts = np.unique(batch.images.reshape(400, -1), axis=0, return_counts=True)
    assert len(drawn) == 18
    assert counts.min() > 5


@pytest.mark.parametrize(("crop", "flip", "different"), [(0, False, 1), (0, True, 2), (1, False, 9)])
def test_what_is_not_asked_for_is_not_done(crop, flip, different):
    images = Images(np.repeat(some_images(1).pixels, 300, axis=0), np.zeros(300, np.int64))
    (batch,) = ImageBatches(images, 300, 1, AS_IT_IS, crop, flip).iterate(0)
    assert len(np.unique(batch.images.reshape(300, -1), axis=0)) == different


# ---------------------------------------------------------------------------------------------- batches
@given(st.integers(1, 40), st.integers(1, 12), st.integers(0, 3), st.integers(0, 3))
@settings(max_examples=40)
def test_every_image_comes_once_an_epoch_with_its_label(count, batch_size, seed, epoch):
    images = some_images(count)
    dealt = ImageBatches(images, batch_size, seed, AS_IT_IS)
    batches = list(dealt.iterate(epoch))
    sizes = [len(batch.labels) for batch in batches]
    assert max(sizes) <= batch_size
    assert max(sizes) - min(sizes) <= 1
    assert min(sizes) == dealt.smallest
    labels = np.concatenate([batch.labels for batch in batches])
    assert sorted(labels) == list(range(count))
    assert (np.concatenate([batch.images for batch in batches]) == images.pixels[labels]).all()


@given(st.integers(0, 5), st.integers(0, 3))
@settings(max_examples=20)
def test_an_epoch_goes_on_as_it_would_have(start, epoch):
    def batches(seed=3, start=0, epoch=epoch):
        return list(ImageBatches(some_images(23), 5, seed, AS_IT_IS, crop=2, flip=True).iterate(epoch, start))

    whole, rest = batches(), batches(start=start)
    assert len(rest) == len(whole) - start
    for one, other in zip(whole[start:], rest, strict=True):
        assert one.images.tobytes() == other.images.tobytes()
        assert (one.labels == other.labels).all()
    for others in (batches(seed=4), batches(epoch=epoch + 1)):
        assert any((one.images != other.images).any() for one, other in zip(whole, others, strict=True))


def test_every_epoch_and_every_seed_has_an_order_of_its_own():
    orders = set()
    for seed in range(3):
        batches = ImageBatches(some_images(30), 30, seed, AS_IT_IS)
        orders |= {tuple(batch.labels.tolist()) for epoch in range(3) for batch in batches.iterate(epoch)}
    assert len(orders) == 9


def test_orders_and_windows_are_drawn_from_different_streams(monkeypatch):
    """Of each epoch one for the order and one for each batch: the windows have nothing to do with the order."""
    batches = [ImageBatches(some_images(6), 2, seed, AS_IT_IS, crop=1) for seed in (0, 1)]
    new, states = np.random.default_rng, []

    def followed(seed):
        states.append(new(seed).bit_generator.state)
        return new(seed)

    monkeypatch.setattr(np.random, "default_rng", followed)
    for of_a_seed in batches:
        for epoch in range(2):
            list(of_a_seed.iterate(epoch))
    assert len({str(state) for state in states}) == len(states) == 2 * 2 * (1 + 3)


def test_batches_of_an_epoch_draw_different_windows():
    images = Images(np.repeat(some_images(1, (1, 8, 8)).pixels, 60, axis=0), np.zeros(60, np.int64))
    first, second, *_ = ImageBatches(images, 20, 1, AS_IT_IS, crop=4, flip=True).iterate(0)
    assert (first.images != second.images).any()


@pytest.mark.parametrize("parts", [1, 2, 3, 9])
def test_a_batch_is_dealt_out(parts):
    (batch,) = ImageBatches(some_images(7), 7, 0, AS_IT_IS).iterate(0)
    dealt = batch.split(parts)
    assert len(dealt) == min(parts, 7)
    assert sum(share for _, share in dealt) == pytest.approx(1)
    for part, share in dealt:
        assert share == len(part.labels) / 7
        assert (part.images == some_images(7).pixels[part.labels]).all()
    assert sorted(np.concatenate([part.labels for part, _ in dealt])) == list(range(7))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"batch_size": 0}, "batch size must be at least 1"),
        ({"seed": -1}, "seed"),
        ({"crop": -1}, "crop"),
        ({"crop": 4}, "crop of 4 pixels leaves nothing of .* 4 x 5, gray; hint"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changes, says):
    with pytest.raises(ConfigError, match=says):
        ImageBatches(**{"images": some_images(3), "batch_size": 2, "seed": 0, "normalization": AS_IT_IS, **changes})


def test_places_that_do_not_exist_are_refused():
    batches = ImageBatches(some_images(3), 2, 0, AS_IT_IS)
    with pytest.raises(DataError, match="an epoch has 2 batches"):
        batches.iterate(0, start=3)
    with pytest.raises(ConfigError, match="epoch -1"):
        batches.iterate(-1)
    with pytest.raises(DataError, match="no images"):
        ImageBatches(some_images(0), 2, 0, AS_IT_IS)


# ---------------------------------------------------------------------------------------------- normalized
@given(st.integers(1, 4), st.integers(1, 3), st.integers(0, 5))
def test_training_images_have_mean_0_and_deviation_1(count, channels, seed):
    images = some_images(count, (channels, 4, 3), seed)
    normalization = Normalization.of(images)
    normalized = normalization(images.pixels)
    assert normalized.dtype == np.float32
    np.testing.assert_allclose(normalized.mean((0, 2, 3)), 0, atol=1e-6)
    np.testing.assert_allclose(normalized.std((0, 2, 3)), 1, rtol=1e-5)


@given(st.integers(0, 254), st.integers(1, 23))
def test_a_channel_of_two_grays_side_by_side_has_deviation_1_too(gray, brighter):
    """Pixels that vary by less than one are not taken for ones that are all the same."""
    pixels = np.full((2, 1, 4, 3), gray, np.uint8)
    pixels.ravel()[:brighter] += 1
    normalized = Normalization.of(Images(pixels, np.zeros(2, np.int64)))(pixels)
    np.testing.assert_allclose(normalized.std(), 1, rtol=1e-3)


def test_blocks_of_images_are_counted_together(monkeypatch):
    monkeypatch.setattr("minattn.data.images.augmentation.BLOCK", 3)
    images = some_images(10)
    assert Normalization.of(images).mean == pytest.approx([images.pixels.mean()])


def test_a_channel_that_is_the_same_everywhere_becomes_0():
    images = Images(np.full((2, 1, 3, 3), 7, np.uint8), np.zeros(2, np.int64))
    assert (Normalization.of(images)(images.pixels) == 0).all()


def test_images_are_evaluated_in_their_order_as_they_are():
    images = some_images(7)
    batches = list(evaluation_images(images, 3, AS_IT_IS))
    assert [len(batch.labels) for batch in batches] == [3, 3, 1]
    assert (np.concatenate([batch.images for batch in batches]) == images.pixels).all()
    assert np.concatenate([batch.labels for batch in batches]).tolist() == list(range(7))


def test_evaluation_batches_of_no_images_are_refused():
    with pytest.raises(ConfigError, match="batch size must be at least 1, and is 0; hint"):
        evaluation_images(some_images(3), 0, AS_IT_IS)


@pytest.mark.parametrize(
    ("mean", "std"),
    [([0.0], [0.0]), ([0.0], [-1.0]), ([np.nan], [1.0]), ([0.0], [np.inf]), ([0.0, 1.0], [1.0]), ([], [])],
)
def test_a_normalization_that_cannot_be(mean, std):
    with pytest.raises(ConfigError, match=r"the mean is .* and the std .*; expected .*; hint"):
        Normalization(mean, std)


def test_normalizations_are_for_images_of_their_channels():
    with pytest.raises(ShapeError, match=r"\(2, 1, 5, 4\) cannot be normalized with 3 means; expected .*; hint"):
        Normalization([0.0] * 3, [1.0] * 3)(some_images(2).pixels)
    with pytest.raises(ShapeError, match=r"\(2, 1, 4\) cannot be normalized with 1 means"):
        AS_IT_IS(some_images(2).pixels[:, :, 0])
    with pytest.raises(DataError, match=r"images of shape \(0, 1, 5, 4\) have no mean; hint"):
        Normalization.of(some_images(0))
