"""Rows of images with a name before each."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from minattn.errors import ShapeError
from minattn.viz.saving import save_figure
from minattn.viz.style import MUTED, axes_at, fitted, styled_figure

if TYPE_CHECKING:
    import matplotlib.figure

# In inches.
SIDE = 0.62  # of an image
GAP = 0.04
NAMES = 1.3

LARGEST = 128  # rows, and images in a row: of many more, no file of pixels could be made


def image_page(
    rows: Sequence[tuple[str, np.ndarray]], path: str | os.PathLike[str] | None = None
) -> "matplotlib.figure.Figure":
    """Draw rows of images, (name, bytes (n, 1 or 3, height, width)); with a path, to that file too.

    Raises ShapeError where there are none, more than `LARGEST` rows or images in a row, or images of other shapes.
    """
    fit = all(images.ndim == 4 and images.shape[1] in (1, 3) and images.size for _, images in rows)
    if not fit or not 1 <= max(len(rows), *(len(images) for _, images in rows), 0) <= LARGEST:
        shapes = [images.shape for _, images in rows[:9]]
        raise ShapeError(
            f"a page has rows of images (n, 1 or 3, height, width), 1 to {LARGEST} each; got {len(rows)} rows of "
            f"{shapes}; hint: fewer images, or several pages"
        )
    columns = max(len(images) for _, images in rows)
    with styled_figure(NAMES + SIDE * columns + GAP, SIDE * len(rows) + GAP) as figure:
        for i, (name, images) in enumerate(rows):
            axes = axes_at(figure, NAMES, GAP + SIDE * i, SIDE * columns, SIDE)
            height, width = (side / max(images.shape[2:]) * (1 - GAP / SIDE) for side in images.shape[2:])
            for j, image in enumerate(np.broadcast_to(images, (len(images), 3, *images.shape[2:]))):
                axes.imshow(image.transpose(1, 2, 0), interpolation="nearest", extent=(j, j + width, height, 0))
            axes.set(xlim=(0, columns), ylim=(1, 0), aspect="auto")
            axes.set_axis_off()
            label = {"ha": "right", "va": "center", "color": MUTED}
            axes.text(-0.1, height / 2, fitted(name, NAMES - 0.15), **label)
        if path is not None:
            save_figure(figure, path)
    return figure
