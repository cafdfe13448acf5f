"""Images with captions, and where in an image the things are that its caption names."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8

from minattn.data.images.dataset import described
from minattn.data.splits import Splits
from minattn.errors import DataError


class Named(NamedTuple):
    """A thing that a caption names: the index of the word, and the thing's bounding box, in pixels.

    box: (left, top, right, bottom), right and bottom being the first pixels behind it.
    """

    word: int
    box: tuple[int, int, int, int]


@dataclass(frozen=True, eq=False)
class CaptionedImages:
    """Images, the captions of each, and what the first caption of each names; named: None where that is not known.

    Words of captions have spaces between them.
    Raises DataError where these do not fit together, or an image has no caption, or one without a word.
    """

    pixels: UInt8[np.ndarray, "images channels height width"]
    captions: Sequence[Sequence[str]]
    named: Sequence[Sequence[Named]] | None = None

    def __post_init__(self) -> None:
        count = len(self.pixels)
        if self.pixels.dtype != np.uint8 or self.pixels.ndim != 4:
            raise DataError(
                f"the pixels are {self.pixels.dtype} of shape {self.pixels.shape}; expected uint8 of shape "
                "(images, channels, height, width); hint: numbers from 0 to 255, and an axis for each of these"
            )
        if len(self.captions) != count or (self.named is not None and len(self.named) != count):
            raise DataError(
                f"there are {count:,} images and captions of {len(self.captions):,}; hint: one list for each image"
            )
        for number, captions in enumerate(self.captions):
            if not captions or not all(caption.split() for caption in captions):
                raise DataError(f"image {number} has an empty caption, or none; hint: a caption of one word at least")

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width)."""
        _, channels, height, width = self.pixels.shape
        return channels, height, width

    def at(self, indices: np.ndarray) -> CaptionedImages:
        """The images of these indices, with all that belongs to them."""
        named = None if self.named is None else [self.named[i] for i in indices]
        return CaptionedImages(self.pixels[indices], [self.captions[i] for i in indices], named)

    def fingerprint(self) -> str:
        """SHA-256 of the pixels, captions and boxes: by it a resumed run knows that they are the same."""
        digest = hashlib.sha256(repr(self.pixels.shape).encode())
        digest.update(np.ascontiguousarray(self.pixels))
        digest.update("\n".join("\t".join(captions) for captions in self.captions).encode())
        named = None if self.named is None else [[tuple(one) for one in of_image] for of_image in self.named]
        digest.update(repr(named).encode())
        return digest.hexdigest()


@dataclass(frozen=True, eq=False)
class CaptionSplits(Splits[CaptionedImages]):
    """Images to train on, to choose the best model by and to report on.

    Raises DataError where parts have images of different shapes.
    """

    def __post_init__(self) -> None:
        for name, part in self.parts().items():
            if part.shape != self.train.shape:
                raise DataError(
                    f"the {name} images are {described(part.shape)}, those to train on {described(self.train.shape)}; "
                    "hint: images of one shape"
                )


def box_shares(
    box: tuple[int, int, int, int], grid: tuple[int, int], size: tuple[int, int]
) -> Float[np.ndarray, "rows columns"]:
    """The share of each cell of a grid that a box covers; size: (height, width) of the image, grid: rows and columns.

    Attention over the cells, times these shares, is the attention that falls into the box.
    """

    def along(first: int, behind: int, cells: int, length: int) -> np.ndarray:
        borders = np.linspace(0, length, cells + 1)
        inside = np.minimum(borders[1:], behind) - np.maximum(borders[:-1], first)
        return np.maximum(inside, 0) * cells / length

    left, top, right, bottom = box
    return np.outer(along(top, bottom, grid[0], size[0]), along(left, right, grid[1], size[1]))
