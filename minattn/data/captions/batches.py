"""Batches of images with captions of nearly the same number of words.

As K. Xu et al. 2015 do, section 4.3, so that few words of a batch are padding; an image comes as often in an epoch as
it has captions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Int64

from minattn.data.batches import SeededBatches, deal_rows
from minattn.data.batching import LengthBucketedBatches, PaddedBatch, evaluation_batches
from minattn.data.captions.dataset import CaptionedImages
from minattn.data.images.augmentation import Normalization


class CaptionBatch(NamedTuple):
    """Normalized images with the words of a caption between BOS and EOS; the mask is True where they are no padding."""

    images: Float32[np.ndarray, "batch channels height width"]
    words: Int64[np.ndarray, "batch words"]
    mask: Bool[np.ndarray, "batch words"]
    image_ids: Int64[np.ndarray, " batch"]
    """The indices of the images in their data."""

    def split(self, parts: int) -> list[tuple[CaptionBatch, float]]:
        """At most `parts` batches that have every caption once, and each one's share of them."""
        return [
            (CaptionBatch(*(array[rows] for array in self)), share) for rows, share in deal_rows(len(self.words), parts)
        ]


class CaptionBatches(SeededBatches[CaptionBatch]):
    """Training batches, whose order is decided by `(seed, epoch)` alone.

    words: the ids of the words of every caption of every image, between BOS and EOS.  Raises what
    `LengthBucketedBatches` does.
    """

    what = "captions"

    def __init__(
        self,
        images: CaptionedImages,
        words: Sequence[Sequence[np.ndarray]],
        batch_size: int,
        seed: int,
        normalization: Normalization,
    ) -> None:
        self._images, self._normalization = images, normalization
        self._pairs = LengthBucketedBatches(_pairs(words), batch_size, seed)
        super().__init__(self._pairs.examples, batch_size, seed)

    def order(self, rng: np.random.Generator) -> Sequence[np.ndarray]:
        return self._pairs.order(rng)

    def batch(self, examples: np.ndarray, rng: np.random.Generator) -> CaptionBatch:
        return _with_images(self._pairs.batch(examples, rng), self._images, self._normalization)


def caption_batches(
    images: CaptionedImages, words: Sequence[Sequence[np.ndarray]], batch_size: int, normalization: Normalization
) -> Iterator[CaptionBatch]:
    """Batches in the order of the captions' lengths, the same every time; arguments as of `CaptionBatches`."""
    return (_with_images(batch, images, normalization) for batch in evaluation_batches(_pairs(words), batch_size))


def _pairs(words: Sequence[Sequence[np.ndarray]]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Every caption with the index of its image."""
    return [(np.array([index]), caption) for index, of_image in enumerate(words) for caption in of_image]


def _with_images(batch: PaddedBatch, images: CaptionedImages, normalization: Normalization) -> CaptionBatch:
    image_ids = batch.source[:, 0]
    return CaptionBatch(normalization(images.pixels[image_ids]), batch.target, batch.target_mask, image_ids)
