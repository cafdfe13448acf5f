"""Images with their classes: what a data set of images is, whatever files it was read from."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64, UInt8

from minattn.data.splits import Splits
from minattn.errors import ConfigError, DataError

SPLIT_SEED = 0
"""The same images are held out in every run, so that runs of several seeds can be compared."""


@dataclass(frozen=True, eq=False)
class Images:
    """Images and the numbers of their classes.

    Raises DataError for pixels that are not bytes with four axes, and where there is not one label for each image.
    """

    pixels: UInt8[np.ndarray, "images channels height width"]
    labels: Int64[np.ndarray, " images"]

    def __post_init__(self) -> None:
        if self.pixels.dtype != np.uint8 or self.pixels.ndim != 4:
            raise DataError(
                f"the pixels are {self.pixels.dtype} of shape {self.pixels.shape}; expected uint8 of shape "
                "(images, channels, height, width); hint: numbers from 0 to 255, and an axis for each of these"
            )
        if self.labels.shape != self.pixels.shape[:1]:
            raise DataError(
                f"the labels of {len(self.pixels):,} images have the shape {self.labels.shape}; "
                "expected one for each image; hint: give the labels of these images and no others"
            )

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width)."""
        _, channels, height, width = self.pixels.shape
        return channels, height, width

    def at(self, rows: np.ndarray | slice) -> Images:
        """The images of these rows."""
        return Images(self.pixels[rows], self.labels[rows])

    def fingerprint(self) -> str:
        """SHA-256 of the pixels and labels in their order: by it a resumed run knows that they are the same."""
        digest = hashlib.sha256(repr(self.pixels.shape).encode())
        digest.update(np.ascontiguousarray(self.pixels))
        digest.update(np.ascontiguousarray(self.labels))
        return digest.hexdigest()


@dataclass(frozen=True, eq=False)
class ImageSplits(Splits[Images]):
    """Images to train on, to choose the best model by and to report on, and the names of their classes.

    passed_over: the names of folders beside those of the classes that are none.

    Raises DataError where parts have images of different shapes, or a label that is the number of no class.
    """

    classes: tuple[str, ...]
    passed_over: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, part in self.parts().items():
            if part.shape != self.train.shape:
                raise DataError(
                    f"the {name} images are {described(part.shape)}, those to train on {described(self.train.shape)}; "
                    "hint: images of one shape, or --set size=.. and color=.."
                )
            check_labels(part.labels, len(self.classes), f"the {name} images")


def described(shape: tuple[int, int, int]) -> str:
    """Such as "28 x 28, gray"; first the width, as image programs have it."""
    channels, height, width = shape
    return f"{width} x {height}, {({1: 'gray', 3: 'RGB'}).get(channels, f'{channels} channels')}"


def check_labels(labels: np.ndarray, classes: int, name: str) -> None:
    """Raise DataError for a label outside [0, classes)."""
    wrong = labels[(labels < 0) | (labels >= classes)]
    if len(wrong):
        raise DataError(f"{name}: the label {wrong[0]} is the number of no class; expected 0 to {classes - 1}")


def hold_out_images(images: Images, share: float, seed: int = SPLIT_SEED) -> tuple[Images, Images]:
    """`(kept, held_out)`: of each class the same share, drawn at random; both parts keep the order they had.

    Of a class with two images or more, at least one is held out; of a class with one, none.
    Raises ConfigError for a share that is not between 0 and 1.
    """
    if not 0 < share < 1:
        raise ConfigError(f"the share to hold out is {share}; expected one between 0 and 1; hint: such as 0.1")
    order = np.random.default_rng(seed).permutation(len(images))
    held_out = np.zeros(len(images), dtype=bool)
    for label in np.unique(images.labels):
        of_class = order[images.labels[order] == label]
        count = max(1, round(share * len(of_class))) if len(of_class) > 1 else 0
        held_out[of_class[:count]] = True
    return images.at(~held_out), images.at(held_out)
