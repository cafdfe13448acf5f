"""Pictures and clips of two items on a dark canvas, with a question about both.

    same       a picture: are the two items of one class?  No receptive field of `reach` pixels on a side holds both
    fastest    a clip: of which class is the item that moves faster?  Every third frame is lit, the others are dark, so
               that no three frames one after another show that anything moves

Where a network ends in global average pooling and a linear layer, its score of "same" is a sum s(one) + s(other), as no
receptive field holds both.  Even if it knew every class without error, such a sum is right for 23 of 36 pairs of ten
classes at most: with five classes above 0 and five far below, it says "same" of half the pairs that are, and of 2 in 9
of those that are not.  Where the borders of the picture tell it which of the two items is at the left, or above, the
scores may be different functions, s(one) + t(other), and at most 3 of 4 pairs are right: with s = k for class k and
t = 1/2 - k it says "same" of all that are, and of half of those that are not.
"""

from typing import Literal

import numpy as np
from shared import halved

from minattn.data.images.dataset import Images, described
from minattn.errors import ConfigError, DataError

Question = Literal["same", "fastest"]
ANSWERS = ("different", "same")  # to the first question
SPEEDS = (1, 2, 3)  # pixels a frame
FRAMES, LIT = 8, slice(0, None, 3)
BEST_SUM, BEST_SUM_BY_SIDE = 23 / 36, 3 / 4


def small(images: Images, largest: int = 16) -> Images:
    """The images, each pixel the mean of 2x2 while they have more than `largest` rows and columns.

    Raises DataError for images that are not gray and square.
    """
    channels, height, width = images.shape
    if channels != 1 or height != width:
        raise DataError(f"items are gray and square, got {described(images.shape)}; hint: --data fashion-mnist")
    while max(images.shape[1:]) > largest:
        images = halved(images)
    return images


# ---------------------------------------------------------------------------------------------- pictures
def same(items: Images, count: int, canvas: int, reach: int, rng: np.random.Generator) -> Images:
    """`count` pictures (count, 1, canvas, canvas) of two items each, half of them of one class.

    reach: no receptive field with so many pixels on a side holds pixels of both.  The items are apart from left to
    right or from top to bottom, by a coin, and anywhere otherwise; both are of any class and either comes first.
    Raises ConfigError where the canvas has no room, DataError where a class has one item alone.
    """
    side, by_class = items.shape[-1], classes_of(items)
    if min(map(len, by_class)) < 2:
        raise DataError("a class has one item, and two of one class are needed; hint: more images")
    free = canvas - 2 * side - (reach - 1)
    if free < 0:
        raise ConfigError(
            f"two items of {side} pixels, {reach - 1} between them, do not fit on {canvas}; hint: "
            f"a canvas of at least {canvas - free}"
        )
    labels = rng.permutation(np.arange(count) % 2)
    pixels = np.zeros((count, 1, canvas, canvas), np.uint8)
    for picture, is_same in zip(pixels[:, 0], labels, strict=True):
        here = rng.integers(len(by_class))
        if is_same:
            pair = rng.choice(by_class[here], size=2, replace=False)
        else:
            there = (here + rng.integers(1, len(by_class))) % len(by_class)
            pair = [rng.choice(by_class[here]), rng.choice(by_class[there])]
        near, far = np.sort(rng.integers(free + 1, size=2))
        along = near, far + side + reach - 1
        across = rng.integers(canvas - side + 1, size=2)
        corners = np.stack([along, across] if rng.integers(2) else [across, along], axis=1)
        for item, (top, left) in zip(pair, corners, strict=True):
            picture[top : top + side, left : left + side] = items.pixels[item, 0]
    return Images(pixels, labels)


# ---------------------------------------------------------------------------------------------- clips
def fastest(items: Images, count: int, canvas: int, rng: np.random.Generator) -> Images:
    """`count` clips (count, FRAMES, canvas, canvas) of two items of different classes that move at different speeds.

    Each moves in its half of the canvas, to and fro at one of `SPEEDS`; the halves are above one another or, by a coin,
    side by side.  The label of a clip is the class of the faster item.  Raises ConfigError where there is no room.
    """
    side, by_class = items.shape[-1], classes_of(items)
    half, room = canvas // 2, canvas - side
    if half < side:
        raise ConfigError(f"two items of {side} pixels do not move on {canvas}; hint: a canvas of {2 * side} or more")
    labels, pixels = np.zeros(count, np.int64), np.zeros((count, FRAMES, canvas, canvas), np.uint8)
    for i, clip in enumerate(pixels):
        classes = rng.choice(len(by_class), size=2, replace=False)
        speeds = rng.choice(SPEEDS, size=2, replace=False)
        labels[i] = classes[np.argmax(speeds)]
        upright = rng.integers(2)
        for kind, speed, start in zip(classes, speeds, (0, half), strict=True):
            item = items.pixels[rng.choice(by_class[kind]), 0]
            across = start + rng.integers(half - side + 1)
            for frame, along in zip(clip[LIT], path(room, speed, rng)[LIT], strict=True):
                top, left = (along, across) if upright else (across, along)
                frame[top : top + side, left : left + side] = item
    return Images(pixels, labels)


def path(room: int, speed: int, rng: np.random.Generator) -> np.ndarray:
    """The positions (FRAMES) of an item that moves to and fro between 0 and `room`, at first in either direction.

    In any one frame all positions are alike, whatever the speed.
    """
    straight = rng.integers(2 * room) + speed * np.arange(FRAMES)
    return np.abs(straight % (2 * room) - room)  # on the way down from `room`, and up again


def classes_of(items: Images) -> list[np.ndarray]:
    """The indices of the items of each class.  Raises DataError for items of one class."""
    found = [np.flatnonzero(items.labels == label) for label in np.unique(items.labels)]
    if len(found) < 2:
        raise DataError(f"the {len(items)} items are all of one class, and two classes are needed; hint: more images")
    return found
