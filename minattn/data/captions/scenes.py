"""Scenes: two to four articles of clothing on a cluttered canvas, and captions that name them in reading order.

    a bag left of a coat above a sneaker

A scene has one to three rows, one above the other, and a row one to three things from left to right; the caption says
"left of" within a row and "above" between rows.  Each thing is an image of Fashion-MNIST, scaled, at a random position
in its row, so that no two overlap, and its bounding box is known.  Behind them are a background of changing brightness,
noise, and fragments of other images.  Things of the train, dev and test scenes are different images.

Shirts, pullovers and sandals are left out: at this size they are hard to tell from T-shirts, coats and sneakers.  Where
Fashion-MNIST is not installed, the things are scikit-learn's handwritten digits: "a three left of a nine".
"""

from __future__ import annotations

from functools import cache
from itertools import pairwise, product
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, UInt8

from minattn.data.captions.dataset import CaptionedImages, CaptionSplits, Named
from minattn.data.images.dataset import Images
from minattn.data.images.digits import load_digits
from minattn.data.images.fashion_mnist import load_fashion_mnist
from minattn.errors import DataError

SIZE = 64
COUNTS = {"train": 8000, "dev": 400, "test": 1000}

CLOTHES = {
    0: "a t-shirt",
    1: "trousers",
    3: "a dress",
    4: "a coat",
    7: "a sneaker",
    8: "a bag",
    9: "a boot",
}
DIGITS = dict(
    enumerate(f"a {name}" for name in ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"])
)
"""What things are called, by their class indices."""

BESIDE, ABOVE = "left of", "above"

ROWS = {
    things: [rows for height in (1, 2, 3) for rows in product((1, 2, 3), repeat=height) if sum(rows) == things]
    for things in (2, 3, 4)
}
"""By the number of things in a scene, how many are in each row, from the top: all that there is."""

MARGIN = 1  # pixels between a thing and the border of its cell
LARGEST, LEAST_SHARE = 27, 0.72  # the largest side of a thing, and the least as a share of what its cell has room for
SWAY = 8  # pixels: the most that things in a row differ in height
FRAGMENT = 7  # pixels: the side of a fragment
OPAQUE = 70  # a thing's pixels that are darker than this are see-through, the more the darker


class Things(NamedTuple):
    """Images of things, (things, side, side), and what each is called."""

    pixels: UInt8[np.ndarray, "things side side"]
    names: list[str]


def load_scenes(seed: int = 0, counts: dict[str, int] = COUNTS, size: int = SIZE) -> CaptionSplits:
    """Scenes of clothes, or of digits where Fashion-MNIST is not installed; the same seed gives the same scenes.

    Raises what `load_digits` raises where neither is there.
    """
    parts, names = _things()
    drawn = [
        scenes(_named(part, names), counts[name], size, np.random.default_rng([seed, number]))
        for number, (name, part) in enumerate(parts.parts().items())
    ]
    return CaptionSplits(*drawn)


@cache
def of_clothes() -> bool:
    """True where scenes are of clothes, False where they are of digits."""
    try:
        load_fashion_mnist()
    except DataError:
        return False
    return True


def _things():
    return (load_fashion_mnist(), CLOTHES) if of_clothes() else (load_digits(), DIGITS)


def _named(images: Images, names: dict[int, str]) -> Things:
    kept = np.flatnonzero(np.isin(images.labels, list(names)))
    return Things(images.pixels[kept, 0], [names[label] for label in images.labels[kept].tolist()])


# ---------------------------------------------------------------------------------------------- drawing
def scenes(things: Things, count: int, size: int, rng: np.random.Generator) -> CaptionedImages:
    """Draw so many scenes of these things, each of which is as likely as any other to be in one."""
    pixels = np.empty((count, 1, size, size), np.uint8)
    captions, named = [], []
    for i in range(count):
        rows = layout(size, rng)
        drawn = [rng.integers(len(things.names), size=len(row)).tolist() for row in rows]
        canvas = background(things, size, rng)
        boxes = [
            draw(canvas, things.pixels[n], square)
            for row, of_row in zip(rows, drawn, strict=True)
            for square, n in zip(row, of_row, strict=True)
        ]
        caption, words = described([[things.names[n] for n in of_row] for of_row in drawn])
        pixels[i, 0] = np.round(canvas.clip(0, 255))
        captions.append((caption,))
        named.append([Named(word, box) for word, box in zip(words, boxes, strict=True)])
    return CaptionedImages(pixels, captions, named)


def described(rows: list[list[str]]) -> tuple[str, list[int]]:
    """(the caption of rows of things, the index of the word that each thing is named by, in the same order)."""
    words, indices = [], []
    for number, row in enumerate(rows):
        words += ABOVE.split() * (number > 0)
        for column, name in enumerate(row):
            words += BESIDE.split() * (column > 0) + name.split()
            indices.append(len(words) - 1)
    return " ".join(words), indices


class Square(NamedTuple):
    """A square on the canvas, in pixels."""

    left: int
    top: int
    side: int


def layout(size: int, rng: np.random.Generator) -> list[list[Square]]:
    """The squares of the things of a scene, row by row from the top, each from the left."""
    layouts = ROWS[int(rng.integers(2, 5))]
    rows = layouts[rng.integers(len(layouts))]
    found = []
    for (top, bottom), things in zip(_cells(size, len(rows), rng), rows, strict=True):
        middle = (top + bottom) / 2 + rng.uniform(-0.5, 0.5) * max(0, bottom - top - LARGEST - SWAY)
        row = []
        for left, right in _cells(size, things, rng):
            room = int(min(right - left, bottom - top, LARGEST + 2 * MARGIN)) - 2 * MARGIN
            side = rng.integers(int(LEAST_SHARE * room), room + 1)
            x = rng.integers(left + MARGIN, right - MARGIN - side + 1)
            y = middle - side / 2 + rng.uniform(-0.5, 0.5) * SWAY
            y = min(max(round(y), top + MARGIN), bottom - MARGIN - side)
            row.append(Square(int(x), int(y), int(side)))
        found.append(row)
    return found


def _cells(size: int, count: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    """A length in so many cells of nearly equal lengths, (first, behind)."""
    borders = np.linspace(0, size, count + 1)
    borders[1:-1] += rng.uniform(-0.06, 0.06, count - 1) * size / count
    ends = np.round(borders).astype(int).tolist()
    return list(pairwise(ends))


def draw(canvas: Float32[np.ndarray, "size size"], thing: np.ndarray, square: Square) -> tuple[int, int, int, int]:
    """Draw a thing, scaled, onto the canvas, in place; returns the bounding box of what is seen of it."""
    left, top, side = square
    scaled = resized(thing, side)
    alpha = np.minimum(scaled / OPAQUE, 1)
    patch = canvas[top : top + side, left : left + side]
    patch += alpha * (scaled - patch)
    rows, columns = (np.flatnonzero((alpha > 0.5).any(axis)) for axis in (1, 0))
    if not len(rows):
        return left, top, left + side, top + side
    return left + int(columns[0]), top + int(rows[0]), left + int(columns[-1]) + 1, top + int(rows[-1]) + 1


def background(things: Things, size: int, rng: np.random.Generator) -> Float32[np.ndarray, "size size"]:
    """A background of changing brightness with noise, and on it fragments of things."""
    coarse = rng.uniform(5, 60) + rng.normal(scale=15, size=(4, 4)).astype(np.float32)
    canvas = _enlarging(4, size) @ coarse @ _enlarging(4, size).T
    for _ in range(rng.integers(3, 7)):
        thing = resized(things.pixels[rng.integers(len(things.pixels))], LARGEST)
        y, x = rng.integers(4, LARGEST - FRAGMENT - 3, 2)
        top, left = rng.integers(0, size - FRAGMENT + 1, 2)
        canvas[top : top + FRAGMENT, left : left + FRAGMENT] = 0.6 * thing[y : y + FRAGMENT, x : x + FRAGMENT]
    return (canvas + rng.normal(scale=rng.uniform(0, 10), size=canvas.shape)).astype(np.float32)


def resized(image: np.ndarray, side: int) -> Float32[np.ndarray, "side side"]:
    """A square image with another side: each pixel is a mean of those that it covers, or lies between."""
    matrix = _enlarging(len(image), side) if side > len(image) else _reducing(len(image), side)
    return matrix @ image.astype(np.float32) @ matrix.T


@cache
def _enlarging(length: int, longer: int) -> np.ndarray:
    """(longer, length): linear interpolation."""
    at = np.linspace(0, length - 1, longer)
    return np.maximum(1 - np.abs(at[:, None] - np.arange(length)), 0).astype(np.float32)


@cache
def _reducing(length: int, shorter: int) -> np.ndarray:
    """(shorter, length): the mean over the pixels that a larger one covers, by how much of them it covers."""
    borders = np.linspace(0, length, shorter + 1)
    first, behind, pixel = borders[:-1, None], borders[1:, None], np.arange(length)
    covered = np.maximum(np.minimum(behind, pixel + 1) - np.maximum(first, pixel), 0)
    return (covered * shorter / length).astype(np.float32)
