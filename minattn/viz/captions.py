"""An image once for every word of its caption, with the attention over it.

After Figures 2 and 3 of K. Xu et al., "Show, attend and tell: neural image caption generation with visual attention",
ICML 2015.  The image is gray under its map, as in `maps.py`; each map is drawn from its own smallest weight to its own
largest.
"""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from minattn.errors import DataError, ShapeError
from minattn.viz.alignment import LABEL_GAP, PAGE_MARGIN
from minattn.viz.maps import RIGHT, WRONG, laid_over, shown
from minattn.viz.saving import save_figure
from minattn.viz.style import INK, LINE, MUTED, axes_at, styled_figure, text_width

if TYPE_CHECKING:
    import matplotlib.figure

# In inches.
CELL = 0.86
CELL_GAP = 0.05
ROW_GAP = 0.14

WORDS = 13
"""Words in a line of images; a longer caption takes several."""


class CaptionRow(NamedTuple):
    """An image, its caption and the weights (words, rows, columns); the image is (1 or 3, height, width) in 0 to 1.

    correct: the right captions, None or none where they are not known; name: before the heading, such as that of a
    network.
    """

    image: np.ndarray
    words: Sequence[str]
    weights: np.ndarray
    correct: Sequence[str] | None = None
    name: str = ""


def draw_captions(rows: Sequence[CaptionRow], path: str | os.PathLike[str] | None = None) -> "matplotlib.figure.Figure":
    """Draw every row: the caption, the image, and the image for every word with its map over it; with a path, to that
    file too.

    Raises ShapeError where weights do not fit the words, DataError where no caption has a word.
    """
    rows = [_checked(row) for row in rows if row.words]
    if not rows:
        raise DataError("there is nothing to draw: no caption has a word; hint: train the model longer")
    columns = 1 + min(WORDS, max(len(row.words) for row in rows))
    headings = [_heading(row) for row in rows]
    width = max(
        columns * (CELL + CELL_GAP) - CELL_GAP, *(sum(1.05 * text_width(t, w) for t, _, w in one) for one in headings)
    )
    height = sum(_height(row) + ROW_GAP for row in rows) - ROW_GAP
    with styled_figure(width + 2 * PAGE_MARGIN, height + 2 * PAGE_MARGIN) as figure:
        top = PAGE_MARGIN
        for row, heading in zip(rows, headings, strict=True):
            _draw(figure, row, heading, top)
            top += _height(row) + ROW_GAP
        if path is not None:
            save_figure(figure, path)
    return figure


def _lines(row: CaptionRow) -> int:
    return -(-len(row.words) // WORDS)


def _height(row: CaptionRow) -> float:
    return 1.3 * LINE + _lines(row) * (LINE + LABEL_GAP + CELL)


def _heading(row: CaptionRow) -> list[tuple[str, str, str]]:
    """The parts of the line above a row: (text, color, weight)."""
    caption = " ".join(row.words)
    parts = [(f"{row.name}:  ", MUTED, "normal")] if row.name else []
    if not row.correct:
        return [*parts, (caption, INK, "bold")]
    if caption in row.correct:
        return [*parts, (caption, RIGHT, "bold")]
    return [*parts, (caption, WRONG, "bold"), (f"   correct: {row.correct[0]}", MUTED, "normal")]


def _draw(figure: "matplotlib.figure.Figure", row: CaptionRow, heading: list[tuple[str, str, str]], top: float) -> None:
    x = PAGE_MARGIN
    for text, color, weight in heading:
        _write(figure, text, x, top, color=color, weight=weight, va="top")
        x += 1.05 * text_width(text, weight)
    images = np.broadcast_to(row.image, (len(row.words), *row.image.shape))
    lit = laid_over(images, row.weights)
    for number, (word, picture) in enumerate([("", shown(row.image[None])[0]), *zip(row.words, lit, strict=True)]):
        line, column = divmod(max(number - 1, 0), WORDS)
        x = PAGE_MARGIN + (column + (number > 0)) * (CELL + CELL_GAP)
        y = top + 1.3 * LINE + line * (LINE + LABEL_GAP + CELL) + LINE + LABEL_GAP
        axes = axes_at(figure, x, y, CELL, CELL)
        axes.imshow(picture, interpolation="nearest")
        axes.set_axis_off()
        if word:
            _write(figure, word, x + CELL / 2, y - LABEL_GAP, ha="center", va="baseline", color=INK)


def _write(figure: "matplotlib.figure.Figure", text: str, x: float, y: float, **style: object) -> None:
    """Text at a position in inches from the top left corner of the page."""
    width, height = figure.get_size_inches()
    figure.text(x / width, 1 - y / height, text, **style)


def _checked(row: CaptionRow) -> CaptionRow:
    if (
        row.image.ndim != 3
        or row.image.shape[0] not in (1, 3)
        or row.weights.ndim != 3
        or len(row.weights) != len(row.words)
    ):
        raise ShapeError(
            f"an image of shape {row.image.shape} and weights of shape {row.weights.shape} for {len(row.words)} words; "
            "expected (1 or 3, height, width) and (words, rows, columns)"
        )
    return row
