"""Batches of bodies to train on: turned, enlarged, mirrored and colored a little differently in every epoch.

As in A. Newell et al., "Stacked hourglass networks for human pose estimation", ECCV 2016, section 3.2, and the authors'
code: a size that is multiplied by 2^N(0, 1/4), a turn by N(0, 30) degrees in two images of five, both cut off at two
standard deviations, a mirror in one of two, and colors that are multiplied by 0.6 to 1.4.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8

from minattn.data.batches import SeededBatches, check_least, deal_rows
from minattn.data.pose.dataset import UNLABELED, Poses, Skeleton
from minattn.errors import ConfigError

TURNED = 0.4  # of the images
CUT_OFF = 2.0  # standard deviations


class PoseBatch(NamedTuple):
    """Images in 0 to 1 with the positions of their joints in pixels, and which of these have a label."""

    images: Float32[np.ndarray, "batch channels height width"]
    positions: Float[np.ndarray, "batch joints 2"]
    labeled: Bool[np.ndarray, "batch joints"]

    def split(self, parts: int) -> list[tuple[PoseBatch, float]]:
        """At most `parts` batches that have every image once, and each one's share of them."""
        return [
            (PoseBatch(*(array[rows] for array in self)), share) for rows, share in deal_rows(len(self.images), parts)
        ]


@dataclass(frozen=True)
class Changes:
    """How much images differ from epoch to epoch.

    scale: the standard deviation of log2 of the size; rotation: of the turn, in degrees; color: how far the factor of
    each color is from 1 at most; flip: mirror every second image.  Raises ConfigError for what is negative.
    """

    scale: float = 0.0
    rotation: float = 0.0
    color: float = 0.0
    flip: bool = True

    def __post_init__(self) -> None:
        for name in ("scale", "rotation", "color"):
            if not 0 <= getattr(self, name) < np.inf:
                raise ConfigError(
                    f"{name} must be a finite number of at least 0, got {getattr(self, name)}; hint: 0 for none"
                )


def in_unit(
    pixels: UInt8[np.ndarray, "batch channels height width"],
) -> Float32[np.ndarray, "batch channels height width"]:
    """Bytes as numbers from 0 to 1."""
    return pixels.astype(np.float32) / 255


def warped(
    images: Float32[np.ndarray, "batch channels height width"],
    scale: Float[np.ndarray, " batch"],
    turn: Float[np.ndarray, " batch"],
) -> tuple[Float32[np.ndarray, "batch channels height width"], Float[np.ndarray, "batch 2 2"]]:
    """Images enlarged and turned, in radians, about their centers, and the matrices that do so to a position (x, y).

    Between four pixels they are linear; what comes from beyond the image is black.
    """
    count, _, height, width = images.shape
    cos, sin = np.cos(turn), np.sin(turn)
    matrices = scale[:, None, None] * np.stack([np.stack([cos, -sin], -1), np.stack([sin, cos], -1)], -2)
    middle = np.array([width / 2, height / 2])
    positions = np.stack(np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5), -1) - middle
    source = (
        np.einsum("nij,yxj->nyxi", np.linalg.inv(matrices), positions) + middle + 0.5
    )  # in an image with a black frame
    source = np.clip(source, 0, np.array([width, height]) + 0.999)
    padded = np.pad(images, ((0, 0), (0, 0), (1, 2), (1, 2))).transpose(0, 2, 3, 1)
    corner = np.floor(source).astype(np.int64)
    share_x, share_y = np.moveaxis((source - corner).astype(np.float32)[..., None], -2, 0)
    rows, (column, row) = np.arange(count)[:, None, None], np.moveaxis(corner, -1, 0)
    above = padded[rows, row, column] * (1 - share_x) + padded[rows, row, column + 1] * share_x
    below = padded[rows, row + 1, column] * (1 - share_x) + padded[rows, row + 1, column + 1] * share_x
    found = above * (1 - share_y) + below * share_y
    return np.ascontiguousarray(found.transpose(0, 3, 1, 2)), matrices


class PoseBatches(SeededBatches[PoseBatch]):
    """Training batches; their order and all changes are decided by `(seed, epoch)` and the batch's number alone.

    Every image comes once an epoch; batches differ by one image at most, so that none is too small for batch
    normalization.  Raises what `SeededBatches` does.
    """

    what = "bodies"

    def __init__(self, poses: Poses, skeleton: Skeleton, batch_size: int, seed: int, changes: Changes) -> None:
        super().__init__(len(poses), batch_size, seed)
        self._poses, self._skeleton, self._changes = poses, skeleton, changes

    def order(self, rng: np.random.Generator) -> list[np.ndarray]:
        """The rows of each batch."""
        return np.array_split(rng.permutation(self.examples), len(self))

    def batch(self, examples: np.ndarray, rng: np.random.Generator) -> PoseBatch:
        """The images of these rows, changed by chance."""
        chosen, changes = self._poses.at(examples), self._changes
        mirror = chosen.mirrored(self._skeleton)
        flipped = rng.random(len(examples)) < 0.5 * changes.flip
        pixels = np.where(flipped[:, None, None, None], mirror.pixels, chosen.pixels)
        positions = np.where(flipped[:, None, None], mirror.positions, chosen.positions)
        visibility = np.where(flipped[:, None], mirror.visibility, chosen.visibility)
        images = in_unit(pixels)
        if changes.scale or changes.rotation:
            size, turn = np.clip(rng.standard_normal((2, len(examples))), -CUT_OFF, CUT_OFF)
            turn = np.where(rng.random(len(examples)) < TURNED, np.deg2rad(changes.rotation * turn), 0)
            images, matrices = warped(images, 2 ** (changes.scale * size), turn)
            middle = np.array(images.shape[:1:-1]) / 2
            positions = np.einsum("nij,nkj->nki", matrices, positions - middle) + middle
        if changes.color:
            factors = rng.uniform(1 - changes.color, 1 + changes.color, images.shape[:2])
            images = np.clip(images * factors.astype(np.float32)[:, :, None, None], 0, 1)
        return PoseBatch(images, positions, visibility > UNLABELED)


def evaluation_poses(poses: Poses, batch_size: int) -> Iterator[PoseBatch]:
    """Batches of all images in their order, as they are.  Raises ConfigError for a batch size below 1."""
    check_least("batch size", batch_size, 1)
    parts = (poses.at(slice(first, first + batch_size)) for first in range(0, len(poses), batch_size))
    return (PoseBatch(in_unit(part.pixels), part.positions, part.visibility > UNLABELED) for part in parts)
