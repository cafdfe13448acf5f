"""The pixels task: levels, baselines, and what a model of images is asked for."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_pixels import SMALL

from minattn.data.images.dataset import Images
from minattn.data.images.levels import LevelBatch, LevelBatches, from_levels, to_levels
from minattn.errors import ConfigError, DataError
from minattn.tasks.images.source import ImageSource
from minattn.tasks.pixels.baselines import baselines, histogram_bits
from minattn.tasks.pixels.pixel_model import PixelModel
from minattn.tasks.pixels.settings import DEFAULTS
from minattn.tasks.pixels.task import PixelGeneration

TASK = PixelGeneration()


def some_images(count=6, shape=(1, 4, 6), seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (count, *shape)).astype(np.uint8)
    return Images(pixels, np.zeros(count, np.int64))


def model(shape=(1, 4, 6), **settings):
    return PixelModel.of(TASK.configure([*SMALL, *(f"{k}={v}" for k, v in settings.items())]), some_images(shape=shape))


# ---------------------------------------------------------------------------------------------- levels and batches
@given(st.integers(2, 256))
def test_levels_have_as_many_bytes_each_and_come_back(levels):
    every_byte = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)
    found = to_levels(every_byte, levels)
    counts = np.bincount(found.ravel(), minlength=levels)
    assert counts.max() - counts.min() <= 1
    back = from_levels(found, levels)
    assert back.min() == 0
    assert back.max() == 255
    np.testing.assert_array_equal(to_levels(back, levels), found)


@pytest.mark.parametrize("levels", [1, 257])
def test_levels_that_a_byte_has_not_are_refused(levels):
    with pytest.raises(ConfigError, match=f"2 to 256 levels, got {levels}"):
        to_levels(np.zeros((1, 1, 1, 1), np.uint8), levels)


def test_every_image_comes_once_an_epoch_and_a_part_has_its_share():
    images = np.arange(7).reshape(7, 1, 1, 1)
    batches = LevelBatches(images, 3, seed=1)
    seen = [batches.batch(rows, np.random.default_rng(0)).images for rows in batches.order(np.random.default_rng(0))]
    assert sorted(np.concatenate(seen).ravel()) == list(range(7))
    parts = LevelBatch(images).split(2)
    assert sum(share for _, share in parts) == 1
    assert sorted(np.concatenate([part.images for part, _ in parts]).ravel()) == list(range(7))


# ---------------------------------------------------------------------------------------------- scores
def test_the_score_is_bits_of_a_channel_of_a_pixel():
    """A uniform model of four levels needs two bits, whatever the number of channels."""
    for channels in (1, 3):
        predictor = model((channels, 4, 6))
        for parameter in predictor.model.output.parameters():
            parameter.replace_data(0 * parameter.numpy())
        evaluation = TASK.evaluate(predictor, some_images(shape=(channels, 4, 6)))
        assert evaluation.metrics["bits_per_dimension"] == pytest.approx(2)
        assert evaluation.count == 6


def test_the_score_is_the_mean_over_batches_of_any_size(monkeypatch):
    predictor, images = model(), some_images(7)
    whole = predictor.mean_loss(images)
    monkeypatch.setattr("minattn.tasks.pixels.pixel_model.EVALUATION_BATCH", 3)
    done = []
    assert predictor.mean_loss(images, lambda n, total: done.append((n, total))) == pytest.approx(whole)
    assert done == [(3, 7), (6, 7), (7, 7)]
    batch = LevelBatch(predictor.levels(images))
    assert predictor.loss(predictor.model, batch).item() == pytest.approx(whole)


def test_a_mixture_is_scored_too():
    predictor = model(likelihood="mixture", mixtures=2)
    assert math.isfinite(predictor.mean_loss(some_images()))


def test_histograms_by_hand():
    """Two levels; of three images the first pixel is 1 twice, the second never; counts are one higher."""
    train, test = np.array([[1, 0], [1, 0], [0, 0]]), np.array([[1, 1]])
    assert histogram_bits(train, test, 2) == pytest.approx(-(math.log2(3 / 5) + math.log2(1 / 5)) / 2)
    together = train.reshape(-1, 1), test.reshape(-1, 1)
    assert histogram_bits(*together, 2) == pytest.approx(-math.log2(3 / 8))


def test_baselines_know_more_and_more():
    rng = np.random.default_rng(0)
    edges = np.zeros((50, 1, 8, 8), np.int64)
    edges[:, :, :, 4:] = 3
    edges ^= rng.random(edges.shape) < 0.05
    found = baselines(edges[:40], edges[40:], 4)
    assert found["uniform"] == 2
    assert found["a_histogram_for_each_pixel"] < found["one_histogram"] < 2
    assert found["png_of_test_alone"] > 0
    assert baselines(np.repeat(edges, 3, axis=1)[:40], np.repeat(edges, 3, axis=1)[40:], 4)["uniform"] == 2


# ---------------------------------------------------------------------------------------------- drawing
def test_rows_that_stay_stay_and_a_seed_draws_the_same():
    predictor, pixels = model(), from_levels(to_levels(some_images(3).pixels, 4), 4)
    done = []
    first = predictor.completed(pixels, 2, seed=1, on_progress=lambda n, total: done.append((n, total)))
    np.testing.assert_array_equal(first[:, :, :2], pixels[:, :, :2])
    np.testing.assert_array_equal(predictor.completed(pixels, 2, seed=1), first)
    assert (predictor.completed(pixels, 2, seed=2) != first).any()
    assert done == [(n, 24) for n in range(13, 25)]
    np.testing.assert_array_equal(predictor.completed(pixels, 4), pixels)


@pytest.mark.parametrize("blocks", ["1d", "2d"])
def test_what_is_below_the_rows_that_stay_does_not_matter(blocks):
    predictor, pixels = model(blocks=blocks), some_images(2).pixels
    other = pixels.copy()
    other[:, :, 3:] = 255 - other[:, :, 3:]
    np.testing.assert_array_equal(predictor.completed(pixels, 3), predictor.completed(other, 3))


# ---------------------------------------------------------------------------------------------- super-resolution
def test_a_low_resolution_image_has_the_means_of_its_blocks():
    predictor = model(encoder_layers=1, factor=2)
    levels = predictor.levels(some_images(2))
    low_resolution = predictor.low_resolution(levels)
    assert low_resolution.shape == (2, 1, 2, 3)
    for n, c, y, x in np.ndindex(low_resolution.shape):
        block = levels[n, c, 2 * y : 2 * y + 2, 2 * x : 2 * x + 2]
        assert low_resolution[n, c, y, x] == round(block.mean())
    assert model().low_resolution(levels) is None


def test_the_score_of_super_resolution_is_of_images_given_their_smaller_ones():
    predictor, images = model(encoder_layers=1, factor=2), some_images()
    levels = predictor.levels(images)
    found = predictor.model.eval().log_likelihood(levels, predictor.low_resolution(levels)).numpy()
    assert predictor.mean_loss(images) == pytest.approx(-found.mean(), rel=1e-5)


def test_images_are_drawn_from_their_smaller_ones():
    predictor, pixels = model(encoder_layers=1, factor=2), some_images(2).pixels
    drawn = predictor.completed(pixels, 0, seed=1)
    shuffled = pixels.copy()
    shuffled[:, :, :2, :2] = pixels[:, :, :2, :2].swapaxes(2, 3)  # the same mean
    np.testing.assert_array_equal(predictor.completed(shuffled, 0, seed=1), drawn)


# ---------------------------------------------------------------------------------------------- settings
def test_known_data_have_settings_of_their_own():
    assert TASK.configure().network.levels == 16
    assert TASK.configure(source=ImageSource("fashion-mnist")).network.levels == 256
    assert TASK.configure(source=ImageSource("fashion-mnist")).epochs == DEFAULTS[None]["epochs"]


def test_images_of_another_size_are_refused():
    with pytest.raises(DataError, match=r"test.png: the images are 5 x 4, gray, .* on 6 x 4, gray; hint"):
        model().check(some_images(shape=(1, 4, 5)), "test.png")
