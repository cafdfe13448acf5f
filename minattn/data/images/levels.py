"""Images as whole numbers: bytes in fewer levels, and their batches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64, UInt8

from minattn.data.batches import SeededBatches, deal_rows
from minattn.errors import ConfigError

Levels = Int64[np.ndarray, "images channels height width"]


def to_levels(pixels: UInt8[np.ndarray, "images channels height width"], levels: int) -> Levels:
    """Return bytes as levels 0 to `levels` - 1, each of as many bytes.  Raises ConfigError for more than 256 levels."""
    if not 2 <= levels <= 256:
        raise ConfigError(f"a byte has 2 to 256 levels, got {levels}; hint: 256")
    return pixels.astype(np.int64) * levels // 256


def from_levels(images: Levels, levels: int) -> UInt8[np.ndarray, "images channels height width"]:
    """Return levels as bytes, of which `to_levels` gives the levels again; the first is black, the last white."""
    return (-(-images * 255 // (levels - 1))).astype(np.uint8)


@dataclass(frozen=True, slots=True)
class LevelBatch:
    """A batch of images."""

    images: Levels

    def split(self, parts: int) -> list[tuple[LevelBatch, float]]:
        """At most `parts` batches that have every image once, and each one's share of the images."""
        return [(LevelBatch(self.images[rows]), share) for rows, share in deal_rows(len(self.images), parts)]


class LevelBatches(SeededBatches[LevelBatch]):
    """Training batches, whose order is decided by `(seed, epoch)` alone.

    Raises DataError where there are no images, ConfigError for a batch size below 1 or a negative seed.
    """

    what = "images"

    def __init__(self, images: Levels, batch_size: int, seed: int) -> None:
        super().__init__(len(images), batch_size, seed)
        self._images = images

    def order(self, rng: np.random.Generator) -> list[np.ndarray]:
        """The rows of each batch's images."""
        return np.array_split(rng.permutation(self.examples), len(self))

    def batch(self, examples: np.ndarray, rng: np.random.Generator) -> LevelBatch:
        """The images of these rows."""
        return LevelBatch(self._images[examples])
