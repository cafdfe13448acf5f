"""Style of the figures: restrained, color-blind-safe, on a light page.

Nothing here touches pyplot: a figure is a plain `matplotlib.figure.Figure` with an Agg canvas, so that the figures are
drawn the same way on a laptop, in a notebook and on a server without a display.
"""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from minattn.errors import MissingDependencyError

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure

INK = "#262626"  # words and axes
MUTED = "#6e6e6e"  # words that explain
FAINT = "#dcdcdc"  # grid lines, histograms

# The palette of Okabe & Ito (2008), which people tell apart whatever their color vision; its yellow is too pale for a
# line and is left out, and the palest come last.
PALETTE = ("#0072b2", "#d55e00", "#009e73", INK, "#cc79a7", "#e69f00", "#56b4e9")

FONT = "DejaVu Sans"  # comes with matplotlib, so that a figure is the same on every machine
TEXT_SIZE = 8.5  # points
POINTS_PER_INCH = 72
LINE = 1.3 * TEXT_SIZE / POINTS_PER_INCH  # inches, from one line of text to the next
NAME_GAP = 0.09  # inches between the axes and the names of lines right of them

STYLE = {
    "font.family": FONT,
    "font.size": TEXT_SIZE,
    "text.color": INK,
    "text.parse_math": False,  # a "$" in a word is a dollar sign
    "figure.facecolor": "white",
    "figure.dpi": 100,
    "savefig.dpi": 200,
    "savefig.facecolor": "white",
    "axes.facecolor": "white",
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.labelsize": TEXT_SIZE,
    "axes.titlesize": TEXT_SIZE,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.5,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": TEXT_SIZE,
    "ytick.labelsize": TEXT_SIZE,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 3,
    "ytick.major.size": 3,
    "lines.linewidth": 1.5,
    "lines.markersize": 3.5,
    "pdf.fonttype": 42,  # letters stay letters: searchable, and what journals ask for
    "svg.hashsalt": "minattn",  # the same figure gives the same file
}


def require_matplotlib() -> None:
    """Raise `MissingDependencyError` where matplotlib is not installed."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(
            "figures need matplotlib, which is not installed: pip install 'minattn[train]'"
        ) from error


@contextmanager
def drawing_style() -> Iterator[None]:
    """Draw and save figures in minattn's style; the user's own settings, which play no part in it, come back after.

    Raises `MissingDependencyError` where matplotlib is not installed.
    """
    require_matplotlib()
    import matplotlib.style

    with matplotlib.style.context(["default", STYLE]), _boxes_for_missing_glyphs():
        yield


@contextmanager
def _boxes_for_missing_glyphs() -> Iterator[None]:
    """Characters that the font has not are drawn as boxes, without matplotlib's warning for each time.

    `missing_glyphs` tells which they are.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph .* missing from font")
        yield


def missing_glyphs(text: str) -> str:
    """The characters of a text that the figures' font has not, each once.

    Raises `MissingDependencyError` where matplotlib is not installed.
    """
    require_matplotlib()
    from matplotlib.font_manager import FontProperties, findfont, get_font

    known = get_font(findfont(FontProperties(family=FONT))).get_charmap()
    return "".join(dict.fromkeys(c for c in text if not c.isspace() and ord(c) not in known))


@contextmanager
def styled_figure(width: float, height: float) -> "Iterator[matplotlib.figure.Figure]":
    """A new, empty figure of `width` x `height` inches; what is drawn inside the `with` block gets minattn's style.

    Raises `MissingDependencyError` where matplotlib is not installed.
    """
    require_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with drawing_style():
        figure = Figure(figsize=(width, height))
        FigureCanvasAgg(figure)
        yield figure
        figure.draw_without_rendering()  # ticks are made at the first draw: make them while the style holds


def axes_at(
    figure: "matplotlib.figure.Figure", x: float, y: float, width: float, height: float
) -> "matplotlib.axes.Axes":
    """New axes of a size and at a position in inches, `x` and `y` counted from the top left corner of the page."""
    page_width, page_height = figure.get_size_inches()
    return figure.add_axes((x / page_width, 1 - (y + height) / page_height, width / page_width, height / page_height))


def text_width(text: str, weight: str = "normal") -> float:
    """Width of one line of text in inches, at the size that all figures use."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextToPath

    font = FontProperties(family=FONT, size=TEXT_SIZE, weight=weight)
    with _boxes_for_missing_glyphs():
        return TextToPath().get_text_width_height_descent(text, font, ismath=False)[0] / POINTS_PER_INCH


def fitted(text: str, width: float) -> str:
    """The text, cut where it is wider than `width` inches."""
    if text_width(text) <= width:
        return text
    while text and text_width(text + "…") > width:
        text = text[:-1].rstrip()
    return text + "…"


class LineName(NamedTuple):
    """The name of a line, its color, and its last value, which is where the name goes."""

    text: str
    color: str
    y: float


def name_lines(axes: "matplotlib.axes.Axes", names: Sequence[LineName]) -> None:
    """Write the name of each line right of the axes, at the height where the line ends: a reader needs no legend.

    Names that would overlap are moved apart.  Call it last: it reads where the axes stand and what their limits are.
    """
    names = sorted(names, key=lambda name: name.y)
    heights = [axes.transData.transform((0, name.y))[1] / axes.figure.dpi for name in names]  # inches
    for name, height, free in zip(names, heights, spread_apart(heights, LINE), strict=True):
        axes.annotate(
            name.text,
            (1, name.y),
            xycoords=("axes fraction", "data"),
            xytext=(NAME_GAP * POINTS_PER_INCH, (free - height) * POINTS_PER_INCH),
            textcoords="offset points",
            va="center",
            color=name.color,
            annotation_clip=False,
        )


def spread_apart(positions: Sequence[float], gap: float) -> list[float]:
    """Ascending `positions` moved as little as needed so that neighbors are at least `gap` apart.

    Positions that are too close become a block centerd on their mean; blocks that then touch are joined.
    """
    blocks: list[list[float]] = []

    def start(block: list[float]) -> float:
        return sum(block) / len(block) - gap * (len(block) - 1) / 2

    for position in positions:
        blocks.append([position])
        while len(blocks) > 1 and start(blocks[-1]) - start(blocks[-2]) < gap * len(blocks[-2]):
            joined = blocks.pop()
            blocks[-1].extend(joined)
    return [start(block) + gap * i for block in blocks for i in range(len(block))]
