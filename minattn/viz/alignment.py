"""Alignments: attention weights as a heat map, in a figure and in a terminal.

After Figure 3 of D. Bahdanau, K. Cho and Y. Bengio, "Neural machine translation by jointly learning to align and
translate", ICLR 2015: the source along the top, one row for each output, in gray scale from black = 0 to white = 1.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from minattn.errors import ConfigError, MissingDependencyError, ShapeError
from minattn.viz.style import (
    INK,
    LINE,
    MUTED,
    POINTS_PER_INCH,
    axes_at,
    require_matplotlib,
    styled_figure,
    text_width,
)

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure
    import rich.console
    import rich.segment

# Of a figure, in inches.
CELL = 0.24  # the side of a square cell
PANEL_GAP = 0.3
LABEL_GAP = 0.06  # between cells and the labels around them
PAGE_MARGIN = 0.1
KEY_WIDTH = 0.8
KEY_HEIGHT = 0.1
KEY_TEXT = "attention weight"

CELL_EDGE = "#484848"
UPRIGHT = 2  # characters: a longer label above a column is wider than its cell, so it is turned by 90 degrees

# Of a terminal: how weights 0, 1/4, 1/2, 3/4, 1 look where there is no color.
SHADES = "·░▒▓█"
ASCII_SHADES = ".:+%@"
DARKEST = 24  # of 255, the gray of weight 0
CELL_WIDTHS = (3, 2, 1)  # characters, the first that fits; 2 is nearly square


class Alignment(NamedTuple):
    """Attention weights and their labels: `weights[i, j]` is how much output i looked at source symbol j."""

    weights: np.ndarray
    source: Sequence[str]
    target: Sequence[str]
    title: str | None = None
    probability: float | None = None


def checked_alignment(alignment: Alignment) -> Alignment:
    """The same alignment with an array of numbers and lists of labels; raises `ShapeError` or `ConfigError`."""
    weights, source, target = np.asarray(alignment.weights), list(alignment.source), list(alignment.target)
    labels = f"{len(target)} target and {len(source)} source labels"
    if weights.shape != (len(target), len(source)):
        hint = "; transpose the weights" if weights.shape == (len(source), len(target)) else ""
        raise ShapeError(
            f"attention weights have shape {weights.shape}, expected ({len(target)}, {len(source)}) for {labels}{hint}"
        )
    if weights.size == 0:
        raise ShapeError(f"attention weights have shape {weights.shape} for {labels}: there is nothing to draw")
    if weights.dtype.kind not in "biuf":
        raise ShapeError(f"attention weights are {weights.dtype}, expected real numbers, for {labels}")
    if not np.isfinite(weights).all():
        raise ShapeError(
            f"attention weights of shape {weights.shape} for {labels}: "
            f"{np.count_nonzero(~np.isfinite(weights))} of them not finite"
        )
    low, high = weights.min(), weights.max()
    if low < -1e-4 or high > 1 + 1e-4:
        raise ShapeError(
            f"attention weights of shape {weights.shape} for {labels} lie in {low:.4g} to {high:.4g}, expected 0 to 1: "
            "pass what comes out of the softmax, not its scores"
        )
    probability = alignment.probability
    if probability is not None and not 0 <= probability <= 1:
        raise ConfigError(f"the probability of an output is {probability}, expected 0 to 1")
    return Alignment(weights, source, target, alignment.title, probability)


def alignment_figure(
    weights: np.ndarray,
    source: Sequence[str],
    target: Sequence[str],
    title: str | None = None,
    probability: float | None = None,
) -> "matplotlib.figure.Figure":
    """One heat map of attention weights.

    weights: (target, source), each in 0 to 1; source, target: the symbols, one a column and one a row;
    probability: what the model gave the whole output, 0 to 1, written beside the title.

    Raises `ShapeError` for weights that do not match the labels or are not finite numbers in 0 to 1, `ConfigError`
    for a probability outside 0 to 1, `MissingDependencyError` where matplotlib is not installed.
    """
    return alignment_grid([Alignment(weights, source, target, title, probability)], columns=1)


def alignment_grid(examples: Iterable[Alignment | tuple[Any, ...]], columns: int = 3) -> "matplotlib.figure.Figure":
    """Several heat maps, `columns` to a row, in reading order, all with cells of the same size.

    examples: `Alignment`s, or tuples (weights, source, target[, title[, probability]]).

    Raises what `alignment_figure` raises, and `ConfigError` where there is no example or `columns` is less than 1.
    """
    require_matplotlib()
    panels = [_Panel(checked_alignment(Alignment(*example))) for example in examples]
    if not panels:
        raise ConfigError("alignment_grid: no example given, expected at least one (weights, source, target)")
    if columns < 1:
        raise ConfigError(f"alignment_grid: columns = {columns}, expected 1 or more")
    columns = min(columns, len(panels))
    rows = [panels[i : i + columns] for i in range(0, len(panels), columns)]

    # The heat maps of a column start at the same x, those of a row at the same y.
    lefts = [max(panel.left for panel in panels[i::columns]) for i in range(columns)]
    widths = [max(panel.width for panel in panels[i::columns]) for i in range(columns)]
    tops = [max(panel.top for panel in row) for row in rows]
    heights = [max(panel.height for panel in row) for row in rows]
    page_width = max(sum(lefts) + sum(widths) + PANEL_GAP * (columns - 1), lefts[0] + key_width()) + 2 * PAGE_MARGIN
    page_height = sum(tops) + sum(heights) + PANEL_GAP * len(rows) + LINE + 2 * PAGE_MARGIN

    with styled_figure(page_width, page_height) as figure:
        y = PAGE_MARGIN
        for row, top, height in zip(rows, tops, heights, strict=True):
            x = PAGE_MARGIN
            for panel, left, width in zip(row, lefts, widths, strict=False):
                panel.draw(axes_at(figure, x + left, y + top, panel.cells_width, panel.height))
                x += left + width + PANEL_GAP
            y += top + height + PANEL_GAP
        draw_color_bar(figure, PAGE_MARGIN + lefts[0], y)
    return figure


class _Panel:
    """One heat map: what room it needs in inches, and how it is drawn."""

    def __init__(self, alignment: Alignment):
        self.alignment = alignment
        _, source, target, title, probability = alignment
        self.title = title or ""
        self.odds = "" if probability is None else f"p = {probability:.2f}" if probability >= 0.005 else "p < 0.01"
        self.odds_at = text_width(self.title, weight="bold") + 2 * LABEL_GAP if title else 0.0

        self.cells_width, self.height = CELL * len(source), CELL * len(target)
        self.width = max(self.cells_width, self.odds_at + text_width(self.odds))
        self.left = max(map(text_width, target)) + LABEL_GAP
        n_long = sum(len(label) > UPRIGHT for label in source)
        # Among letters, only "<eos>" is turned; among words, "of" is turned too.
        self.turned = [n_long > len(source) / 2 or len(label) > UPRIGHT for label in source]
        turned_widths = [text_width(label) for label, turned in zip(source, self.turned, strict=True) if turned]
        self.labels_height = max([LINE, *turned_widths]) + LABEL_GAP
        self.top = self.labels_height + (LINE if self.title or self.odds else 0)

    def draw(self, axes: "matplotlib.axes.Axes") -> None:
        weights, source, target, _, _ = self.alignment
        # A mesh is drawn as rectangles, which stay sharp in SVG and PDF; some viewers smooth an image.
        axes.pcolormesh(weights, cmap="gray", vmin=0, vmax=1, edgecolors=CELL_EDGE, linewidth=0.35)
        axes.invert_yaxis()
        axes.xaxis.tick_top()
        axes.tick_params(length=0, pad=LABEL_GAP * POINTS_PER_INCH)
        axes.set_xticks(np.arange(len(source)) + 0.5, source)
        axes.set_yticks(np.arange(len(target)) + 0.5, target)
        for label, turned in zip(axes.get_xticklabels(), self.turned, strict=True):
            label.set_rotation(90 if turned else 0)
        axes.spines[:].set(visible=True, color=CELL_EDGE)

        above = (self.labels_height + LABEL_GAP) * POINTS_PER_INCH
        for text, x, color, weight in (
            (self.title, 0, INK, "bold"),
            (self.odds, self.odds_at * POINTS_PER_INCH, MUTED, "normal"),
        ):
            axes.annotate(
                text,
                (0, 1),
                xycoords="axes fraction",
                xytext=(x, above),
                textcoords="offset points",
                color=color,
                weight=weight,
            )


def key_width(most: str = "1") -> float:
    return text_width(f"{KEY_TEXT} 0{most}") + KEY_WIDTH + 3 * LABEL_GAP


def draw_color_bar(figure: "matplotlib.figure.Figure", x: float, y: float, most: str = "1") -> None:
    """A strip from black to white that says what the grays mean; `most` is what white is."""
    x += text_width(f"{KEY_TEXT} 0") + LABEL_GAP
    axes = axes_at(figure, x, y, KEY_WIDTH, KEY_HEIGHT)
    axes.pcolormesh(np.linspace(0, 1, 64)[None], cmap="gray", vmin=0, vmax=1, rasterized=True)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set(visible=True, color=CELL_EDGE)
    for text, at, side, align in ((f"{KEY_TEXT} 0", 0, -1, "right"), (most, 1, 1, "left")):
        axes.annotate(
            text,
            (at, 0.5),
            xycoords="axes fraction",
            xytext=(side * LABEL_GAP * POINTS_PER_INCH, 0),
            textcoords="offset points",
            ha=align,
            va="center_baseline",
            color=MUTED,
        )


def terminal_alignment(weights: np.ndarray, source: Sequence[str], target: Sequence[str]) -> "TerminalAlignment":
    """The same heat map for a terminal: print it with a `rich.console.Console`.

    Gray blocks as in the figure; where there is no color (a pipe, NO_COLOR), characters of growing density.  It is as
    wide as the console allows; a longer source goes on in a second heat map below.

    Raises `ShapeError` as `alignment_figure` does, `MissingDependencyError` where rich is not installed.
    """
    try:
        import rich  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(
            "figures in the terminal need rich, which is not installed: pip install 'minattn[train]'"
        ) from error
    alignment = checked_alignment(Alignment(weights, source, target))
    return TerminalAlignment(alignment.weights, alignment.source, alignment.target)


@dataclass(frozen=True)
class TerminalAlignment:
    """The result of `terminal_alignment`, which rich can print."""

    weights: np.ndarray  # (target, source), in 0 to 1
    source: Sequence[str]
    target: Sequence[str]

    def __rich_console__(
        self, console: "rich.console.Console", options: "rich.console.ConsoleOptions"
    ) -> "Iterator[rich.segment.Segment]":
        from rich.cells import cell_len
        from rich.segment import Segment
        from rich.style import Style

        shades = ASCII_SHADES if options.ascii_only else SHADES
        in_color = console.color_system is not None and not console.no_color

        def cell(weight: float, width: int) -> Segment:
            if in_color:
                return Segment(" " * width, Style(bgcolor=_gray(weight)))
            level = round(weight * (len(shades) - 1))
            return Segment(shades[level] * width if level else shades[0].center(width))

        margin = max(map(cell_len, self.target)) + 1
        for columns, widths in self._bands(options.max_width - margin):
            labels = "".join(_centred(self.source[j], width) for j, width in zip(columns, widths, strict=True))
            yield Segment(" " * margin + labels.rstrip() + "\n")
            for row, label in zip(self.weights, self.target, strict=True):
                yield Segment(" " * (margin - 1 - cell_len(label)) + label + " ")
                yield from (cell(float(row[j]), width) for j, width in zip(columns, widths, strict=True))
                yield Segment.line()
            yield Segment.line()
        yield Segment(" " * margin + f"{KEY_TEXT} 0 ")
        yield from (cell(level / (len(shades) - 1), 1) for level in range(len(shades)))
        yield Segment(" 1\n")

    def _bands(self, room: int) -> Iterator[tuple[range, list[int]]]:
        """Cut the source into stretches of columns that fit into `room` characters; yields columns and their widths."""
        from rich.cells import cell_len

        for cell_width in CELL_WIDTHS:
            widths = [max(cell_width, cell_len(label) + (cell_len(label) > 1)) for label in self.source]
            if sum(widths) <= room:
                break
        first = 0
        while first < len(widths):
            last = first + 1
            while last < len(widths) and sum(widths[first : last + 1]) <= room:
                last += 1
            yield range(first, last), widths[first:last]
            first = last


def _gray(weight: float) -> str:
    """The color of a weight, from nearly black, which still shows on a black terminal, to `#ffffff` for 1."""
    level = round(DARKEST + (255 - DARKEST) * min(max(weight, 0.0), 1.0))
    return f"#{level:02x}{level:02x}{level:02x}"


def _centred(label: str, width: int) -> str:
    """A label in the middle of `width` terminal columns, counted as the terminal does (a Chinese character is two)."""
    from rich.cells import cell_len

    left = (width - cell_len(label)) // 2
    return " " * left + label + " " * (width - cell_len(label) - left)
