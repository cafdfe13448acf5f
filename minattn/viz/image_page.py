"""Rows of images with a name before each."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from minattn.errors import ShapeError
from minattn.viz.maps import shown
from minattn.viz.saving import save_figure
from minattn.viz.style import MUTED, styled_figure

if TYPE_CHECKING:
    import matplotlib.figure

SIDE = 0.62  # of an image, in inches


def image_page(
    rows: Sequence[tuple[str, np.ndarray]], path: str | os.PathLike[str] | None = None
) -> "matplotlib.figure.Figure":
    """Draw rows of images, (name, bytes (n, 1 or 3, height, width)); with a path, to that file too.

    Raises ShapeError where there are none, or images of other shapes.
    """
    if not rows or any(images.ndim != 4 or images.shape[1] not in (1, 3) or not images.size for _, images in rows):
        shapes = [images.shape for _, images in rows]
        raise ShapeError(f"a page has rows of images (n, 1 or 3, height, width), at least one each; got {shapes}")
    columns = max(len(images) for _, images in rows)
    with styled_figure(1.3 + SIDE * columns, SIDE * len(rows) + 0.1) as figure:
        figure.set_layout_engine("constrained", w_pad=0.01, h_pad=0.01, wspace=0, hspace=0)
        grid = figure.subplots(len(rows), columns, squeeze=False)
        for of_row, (name, images) in zip(grid, rows, strict=True):
            for axes in of_row:
                axes.set(xticks=(), yticks=(), frame_on=False)
            for axes, image in zip(of_row, shown(images / 255), strict=False):
                axes.imshow(image, interpolation="nearest")
            of_row[0].set_ylabel(name, rotation=0, ha="right", va="center", color=MUTED)
        if path is not None:
            save_figure(figure, path)
    return figure
