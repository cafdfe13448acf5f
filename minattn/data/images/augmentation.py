"""Batches of images to train on: normalized, and a little different in every epoch.

As in He et al. 2016, Deep residual learning for image recognition, section 4.2: an image is padded on each side, a
window of the image's own size is cut out of it at random, and each is mirrored with probability 1/2.  Padding is black.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Int64, UInt8

from minattn.data.batches import SeededBatches, check_least, deal_rows
from minattn.data.images.dataset import Images, described
from minattn.errors import ConfigError, DataError, ShapeError

BLOCK = 1024  # images whose pixels are counted at a time


class ImageBatch(NamedTuple):
    """Normalized images with the numbers of their classes."""

    images: Float32[np.ndarray, "batch channels height width"]
    labels: Int64[np.ndarray, " batch"]

    def split(self, parts: int) -> list[tuple[ImageBatch, float]]:
        """At most `parts` batches that have every image once, and each one's share of them."""
        return [
            (ImageBatch(self.images[rows], self.labels[rows]), share)
            for rows, share in deal_rows(len(self.labels), parts)
        ]


@dataclass(frozen=True)
class Normalization:
    """(pixel - mean) / std, with a mean and a standard deviation for each channel.

    Raises ConfigError for a mean that is not finite, an std that is not above 0, and where there are not as many of
    both; a call raises ShapeError for images that have not as many channels.
    """

    mean: Sequence[float]
    std: Sequence[float]

    def __post_init__(self) -> None:
        finite = all(map(math.isfinite, (*self.mean, *self.std)))
        if not finite or min(self.std, default=0) <= 0 or len(self.mean) != len(self.std):
            raise ConfigError(
                f"the mean is {self.mean} and the std {self.std}; expected finite numbers, one of each for each "
                "channel, and the std above 0; hint: Normalization.of(images)"
            )

    @classmethod
    def of(cls, images: Images) -> Normalization:
        """That of all pixels of these images.  A channel that is the same everywhere is divided by 1.

        Raises DataError where there are no pixels.
        """
        if not images.pixels.size:
            raise DataError(f"images of shape {images.pixels.shape} have no mean; hint: give at least one pixel")
        counts = sum(_counts(images.pixels[first : first + BLOCK]) for first in range(0, len(images), BLOCK))
        values = np.arange(256)
        mean = counts @ values / counts.sum(axis=1)
        variance = counts @ values**2 / counts.sum(axis=1) - mean**2
        return cls(mean.tolist(), [math.sqrt(v) if v > 0 else 1.0 for v in variance])

    def __call__(
        self, pixels: UInt8[np.ndarray, "batch channels height width"]
    ) -> Float32[np.ndarray, "batch channels height width"]:
        if pixels.ndim != 4 or pixels.shape[1] != len(self.mean):
            raise ShapeError(
                f"images of shape {pixels.shape} cannot be normalized with {len(self.mean)} means; expected (images, "
                f"{len(self.mean)}, height, width); hint: images like those that the means are of"
            )
        mean, std = (np.array(numbers, np.float32)[:, None, None] for numbers in (self.mean, self.std))
        return (pixels - mean) / std


def _counts(pixels: np.ndarray) -> np.ndarray:
    """(channels, 256): how often each value comes in each channel."""
    return np.stack([np.bincount(pixels[:, channel].ravel(), minlength=256) for channel in range(pixels.shape[1])])


def crop_and_flip(
    pixels: UInt8[np.ndarray, "batch channels height width"],
    padding: int,
    top: Int64[np.ndarray, " batch"],
    left: Int64[np.ndarray, " batch"],
    mirrored: Bool[np.ndarray, " batch"],
) -> UInt8[np.ndarray, "batch channels height width"]:
    """Of each padded image the window of its own size that begins at (top, left), mirrored or not."""
    count, _, height, width = pixels.shape
    sides = (padding, padding)
    padded = np.pad(pixels, ((0, 0), (0, 0), sides, sides)).transpose(0, 2, 3, 1)
    across = np.arange(width)
    rows = top[:, None] + np.arange(height)
    columns = left[:, None] + np.where(mirrored[:, None], across[::-1], across)
    windows = padded[np.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]]
    return windows.transpose(0, 3, 1, 2)


class ImageBatches(SeededBatches[ImageBatch]):
    """Training batches; their order, windows and mirrors are decided by `(seed, epoch)` and the batch's number alone.

    Every image comes once an epoch; batches differ by one image at most, so that none is too small for batch
    normalization.

    crop: how many pixels an image is padded by on each side before a window is cut out of it; 0: none is.
    flip: mirror each image with probability 1/2, left to right.
    Raises DataError where there are no images, ConfigError for a batch size below 1, a negative seed or crop, and a
    crop as large as the images.
    """

    what = "images"

    def __init__(
        self,
        images: Images,
        batch_size: int,
        seed: int,
        normalization: Normalization,
        crop: int = 0,
        flip: bool = False,
    ) -> None:
        super().__init__(len(images), batch_size, seed)
        check_least("crop", crop, 0)
        if crop and crop >= min(images.shape[1:]):
            raise ConfigError(
                f"a crop of {crop} pixels leaves nothing of some images of {described(images.shape)}; "
                "hint: crop=0, or any less than their sides"
            )
        self._images = images
        self.normalization = normalization
        self.crop = crop
        self.flip = flip

    @property
    def smallest(self) -> int:
        """The size of the smallest batch."""
        return self.examples // len(self)

    def order(self, rng: np.random.Generator) -> list[np.ndarray]:
        """The rows of each batch's images."""
        return np.array_split(rng.permutation(self.examples), len(self))

    def batch(self, examples: np.ndarray, rng: np.random.Generator) -> ImageBatch:
        """The images of these rows, cropped and mirrored by chance, and normalized."""
        chosen = self._images.at(examples)
        pixels = chosen.pixels
        if self.crop or self.flip:
            top, left = rng.integers(2 * self.crop + 1, size=(2, len(examples)))
            mirrored = rng.integers(1 + self.flip, size=len(examples)) == 1
            pixels = crop_and_flip(pixels, self.crop, top, left, mirrored)
        return ImageBatch(self.normalization(pixels), chosen.labels)


def evaluation_images(images: Images, batch_size: int, normalization: Normalization) -> Iterator[ImageBatch]:
    """Batches of all images in their order, as they are.  Raises ConfigError for a batch size below 1."""
    check_least("batch size", batch_size, 1)
    parts = (images.at(slice(first, first + batch_size)) for first in range(0, len(images), batch_size))
    return (ImageBatch(normalization(part.pixels), part.labels) for part in parts)
