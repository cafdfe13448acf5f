"""Attention maps laid over images: right predictions above, wrong ones below.

After the figures of B. Zhou et al., "Learning deep features for discriminative localization", CVPR 2016, and H. Fukui
et al., "Attention Branch Network", CVPR 2019.  The image is gray under its map, so that all color is the map's; the
colors go from dark to light in steps that look equal, also in print and to those who see few colors.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from minattn.attention.spatial.regions import normalized, upsampled
from minattn.errors import ConfigError, DataError, ShapeError
from minattn.viz.alignment import LABEL_GAP, PAGE_MARGIN
from minattn.viz.saving import check_figure_path, save_figure
from minattn.viz.style import INK, LINE, MUTED, PALETTE, axes_at, fitted, require_matplotlib, styled_figure, text_width

if TYPE_CHECKING:
    import matplotlib.figure

COLORS = "inferno"
LEAST_OF_IMAGE, MOST_OF_IMAGE = 0.3, 0.6  # share of the image in a blend, where its map is largest and smallest
LUMA = (0.299, 0.587, 0.114)  # how bright red, green and blue are
DOTS = 168  # least pixels of a drawn image on a side: larger squares of few pixels would show no smooth map

# In inches.
CELL = 0.84
CELL_GAP = 0.06
BLOCK_GAP = 0.16
COLORBAR_WIDTH, COLORBAR_HEIGHT = 1.4, 0.1

RIGHT, WRONG = PALETTE[2], PALETTE[1]
WRONG_NOTE = "the prediction, and below it the true class"
COLORBAR_LABELS = "least", "most in the map"


class Panel(NamedTuple):
    """Maps of one kind: a name for their row, and one map for each image, of any size."""

    title: str
    maps: np.ndarray  # (n, height, width)


def attention_maps(
    images: np.ndarray,
    panels: Sequence[Panel | tuple[str, np.ndarray]],
    labels: np.ndarray,
    predictions: np.ndarray,
    classes: Sequence[str],
    path: str | os.PathLike[str] | None = None,
    title: str | None = None,
    columns: int = 8,
) -> "matplotlib.figure.Figure":
    """Draw images and maps over them: the first `columns` right predictions above, as many wrong ones below.

    images: (n, height, width), gray, or (n, 1 or 3, height, width), in 0 to 1; panels: (title, maps (n, h, w)), one row
    each, such as the class activation map of the prediction, that of the true class, or an attention branch's map;
    labels, predictions: (n), class ids; classes: their names.  path: a file to save it in too, PNG, SVG or PDF.

    Each map is drawn from its own smallest value to its own largest.  A panel of right predictions that is the
    same as one above it, as the maps of the prediction and of the true class are, is left out.

    Raises `ShapeError` and `DataError` for images, maps and labels that do not fit, `ConfigError` for a page without
    columns or a path that cannot be, `MissingDependencyError` where matplotlib is not installed.
    """
    require_matplotlib()
    if columns < 1:
        raise ConfigError(f"attention_maps: {columns} columns, expected at least 1")
    if path is not None:
        check_figure_path(Path(path))
    images = _checked_images(images)
    panels = [_checked_panel(Panel(*panel), len(images)) for panel in panels]
    labels, predictions = _checked_labels(labels, predictions, len(images), classes)
    right = labels == predictions
    blocks = []
    for name, note, color, chosen in (("right", "", RIGHT, right), ("wrong", WRONG_NOTE, WRONG, ~right)):
        shown = np.flatnonzero(chosen)[:columns]
        if len(shown):
            heading = f"{name} predictions" + (
                f", {len(shown)} of {chosen.sum():,}" if chosen.sum() > len(shown) else ""
            )
            kept = _different([Panel(panel.title, panel.maps[shown]) for panel in panels])
            names = [_names(classes, labels[i], predictions[i]) for i in shown]
            blocks.append(_Block(heading, note, color, images[shown], kept, names))
    figure = _drawn(blocks, title)
    if path is not None:
        save_figure(figure, path)
    return figure


class _Block(NamedTuple):
    """The right predictions, or the wrong ones."""

    heading: str
    note: str  # beside the heading
    color: str
    images: np.ndarray  # (m, colors, height, width)
    panels: list[Panel]
    names: list[list[tuple[str, str]]]  # for each image, lines of (text, color)

    @property
    def top(self) -> float:
        """Inches above the images: the heading and the names."""
        return LINE * (1.25 + max(map(len, self.names))) + LABEL_GAP

    @property
    def height(self) -> float:
        """Inches of everything."""
        return self.top + (1 + len(self.panels)) * (CELL + CELL_GAP) - CELL_GAP


def _drawn(blocks: list[_Block], title: str | None) -> "matplotlib.figure.Figure":
    names = ["image", *(panel.title for block in blocks for panel in block.panels)]
    left = PAGE_MARGIN + max(map(text_width, names)) + 2 * LABEL_GAP
    columns = max(len(block.images) for block in blocks)
    top = PAGE_MARGIN + (1.6 * LINE if title else 0)
    width = max(
        left + columns * (CELL + CELL_GAP) - CELL_GAP,
        left + COLORBAR_WIDTH + 2 * LABEL_GAP + sum(map(text_width, COLORBAR_LABELS)),
        *(left + _heading_width(block) for block in blocks),
        PAGE_MARGIN + _bold_width(title or ""),
    )
    height = top + sum(block.height + BLOCK_GAP for block in blocks) + LINE
    with styled_figure(width + PAGE_MARGIN, height + PAGE_MARGIN) as figure:
        if title:
            _write(figure, title, PAGE_MARGIN, PAGE_MARGIN, weight="bold", va="top")
        for block in blocks:
            _draw_block(figure, block, left, top)
            top += block.height + BLOCK_GAP
        _draw_colorbar(figure, left, top)
    return figure


def _heading_width(block: _Block) -> float:
    return _bold_width(block.heading) + (2 * LABEL_GAP + text_width(block.note) if block.note else 0)


def _bold_width(text: str) -> float:
    return 1.04 * text_width(text, weight="bold")  # letters are drawn on whole pixels, a little wider


def _draw_block(figure: "matplotlib.figure.Figure", block: _Block, left: float, top: float) -> None:
    _write(figure, block.heading, left, top, weight="bold", color=block.color, va="top")
    if block.note:
        _write(figure, block.note, left + _bold_width(block.heading) + 2 * LABEL_GAP, top, color=MUTED, va="top")
    y = top + block.top
    for column, lines in enumerate(block.names):
        middle = left + column * (CELL + CELL_GAP) + CELL / 2
        for row, (text, color) in enumerate(reversed(lines)):
            line = y - LABEL_GAP - row * LINE
            _write(figure, fitted(text, CELL), middle, line, color=color, ha="center", va="baseline")
    rows = [("image", shown(block.images))]
    rows += [(panel.title, laid_over(block.images, panel.maps)) for panel in block.panels]
    for name, drawn in rows:
        _write(figure, name, left - 2 * LABEL_GAP, y + CELL / 2, color=MUTED, ha="right", va="center")
        for column, image in enumerate(drawn):
            axes = axes_at(figure, left + column * (CELL + CELL_GAP), y, CELL, CELL)
            axes.imshow(image, interpolation="nearest")
            axes.set_axis_off()
        y += CELL + CELL_GAP


def _draw_colorbar(figure: "matplotlib.figure.Figure", left: float, top: float) -> None:
    """A bar with the map's colors."""
    least, most = COLORBAR_LABELS
    start, middle = left + text_width(least) + LABEL_GAP, top + LINE / 2
    axes = axes_at(figure, start, middle - COLORBAR_HEIGHT / 2, COLORBAR_WIDTH, COLORBAR_HEIGHT)
    axes.imshow(_colored(np.linspace(0, 1, 256)[None]), aspect="auto")
    axes.set_axis_off()
    _write(figure, least, start - LABEL_GAP, middle, color=MUTED, ha="right", va="center")
    _write(figure, most, start + COLORBAR_WIDTH + LABEL_GAP, middle, color=MUTED, va="center")


def shown(images: np.ndarray) -> np.ndarray:
    """Return images (m, 1 or 3, height, width) as drawn: (m, rows, columns, 3), at least `DOTS` pixels on a side."""
    times = -(-DOTS // max(images.shape[2:]))
    larger = images.repeat(times, axis=2).repeat(times, axis=3).transpose(0, 2, 3, 1)
    return np.broadcast_to(larger, (*larger.shape[:3], 3))


def laid_over(images: np.ndarray, maps: np.ndarray) -> np.ndarray:
    """Return maps (m, h, w), each from its smallest value to its largest in colors, over the images in gray."""
    gray = shown(images) @ np.array(LUMA)
    height = normalized(upsampled(maps, gray.shape[1:]))
    seen = MOST_OF_IMAGE + (LEAST_OF_IMAGE - MOST_OF_IMAGE) * height[..., None]
    return np.clip(seen * gray[..., None] + (1 - seen) * _colored(height), 0, 1)


def _colored(values: np.ndarray) -> np.ndarray:
    """Numbers in 0 to 1 as red, green and blue."""
    import matplotlib

    return matplotlib.colormaps[COLORS](values)[..., :3]


def _names(classes: Sequence[str], label: int, prediction: int) -> list[tuple[str, str]]:
    """The lines above an image: its class, and above that a wrong prediction."""
    if label == prediction:
        return [(classes[label], INK)]
    return [(classes[prediction], WRONG), (f"is {classes[label]}", MUTED)]


def _different(panels: list[Panel]) -> list[Panel]:
    """The panels without those whose maps are the same as an earlier one's."""
    kept: list[Panel] = []
    for panel in panels:
        if not any(np.array_equal(panel.maps, earlier.maps) for earlier in kept):
            kept.append(panel)
    return kept


def _write(figure: "matplotlib.figure.Figure", text: str, x: float, y: float, **style: object) -> None:
    """Text at a position in inches from the top left corner of the page."""
    width, height = figure.get_size_inches()
    figure.text(x / width, 1 - y / height, text, **{"color": INK, **style})


# ---------------------------------------------------------------------------------------------- what is refused
def _checked_images(images: np.ndarray) -> np.ndarray:
    """The images as (n, 1 or 3, height, width); raises `ShapeError` and `DataError`."""
    images = np.asarray(images)
    shape = images.shape
    images = images[:, None] if images.ndim == 3 else images
    if images.ndim != 4 or images.shape[1] not in (1, 3) or not images.size:
        raise ShapeError(
            f"attention_maps: images of shape {shape}, expected (n, height, width) or (n, 1 or 3, height, width), at "
            "least one"
        )
    if not np.isfinite(images).all() or images.min() < 0 or images.max() > 1:
        raise DataError(
            f"attention_maps: images in {images.min():.4g} to {images.max():.4g}, expected 0 to 1; hint: images as "
            "they were before they were normalized"
        )
    return images


def _checked_labels(
    labels: np.ndarray, predictions: np.ndarray, n: int, classes: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Both as arrays; raises `ShapeError` and `DataError` unless they are n ids of classes."""
    labels, predictions = np.asarray(labels), np.asarray(predictions)
    for name, ids in (("labels", labels), ("predictions", predictions)):
        if ids.shape != (n,) or ids.dtype.kind not in "iu":
            raise ShapeError(f"attention_maps: {name} are {ids.dtype} {ids.shape}, expected {n} whole numbers")
        if ids.min() < 0 or ids.max() >= len(classes):
            raise DataError(
                f"attention_maps: {name} from {ids.min()} to {ids.max()}, but there are names for {len(classes)} "
                "classes; hint: a name for every class"
            )
    return labels, predictions


def _checked_panel(panel: Panel, n: int) -> Panel:
    """The panel with maps in float64; raises `ShapeError` and `DataError` unless there are n maps."""
    maps = np.asarray(panel.maps, np.float64)
    if maps.ndim != 3 or len(maps) != n or not maps.size:
        raise ShapeError(
            f"attention_maps: the maps {panel.title!r} have shape {maps.shape}, expected ({n}, height, width), one for "
            "each image"
        )
    if not np.isfinite(maps).all():
        raise DataError(
            f"attention_maps: {np.count_nonzero(~np.isfinite(maps))} numbers in the maps {panel.title!r} are not "
            "finite; hint: maps of a model whose training did not diverge"
        )
    return Panel(panel.title, maps)
