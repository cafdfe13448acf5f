"""The heads of multi-head attention: all of them as small heat maps, or a few as lines between words.

The lines are after Figures 3 to 5 of A. Vaswani et al., "Attention is all you need", NIPS 2017: what attends on the
left, what it attends to on the right, a line for each weight, as opaque as the weight is large, and a color a head.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from minattn.errors import ConfigError, ShapeError
from minattn.viz.alignment import (
    CELL_EDGE,
    LABEL_GAP,
    PAGE_MARGIN,
    Alignment,
    checked_alignment,
    draw_color_bar,
    key_width,
)
from minattn.viz.style import (
    INK,
    LINE,
    MUTED,
    PALETTE,
    POINTS_PER_INCH,
    TEXT_SIZE,
    axes_at,
    require_matplotlib,
    styled_figure,
    text_width,
)

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure

# Of the heat maps, in inches.
SMALL_TEXT = 0.75 * TEXT_SIZE  # points, of the words around them
CELL = 1.15 * SMALL_TEXT / POINTS_PER_INCH  # a row as high as a word
LARGEST_MAP = 16 * CELL  # longer texts have smaller cells, and a label at every second cell, or third, ..
SMALLEST_MAP = 0.5
MOST_CELLS = 128  # a side; of more, each cell is the largest of a block, since a smaller cell would not be drawn at all
FULL_SCALE = 64  # words; the weights of longer texts are so small that a map from 0 to 1 would be black
MAP_GAP = 0.08
KEY_GAP = 0.2

# Of the lines, in inches.
ROW = 0.24  # from one word to the next
LINES_WIDTH = 2.2  # between the two columns of words
WORD_GAP = 0.08
BOX_WIDTH, BOX_HEIGHT = 0.19, 0.17
FAINTEST = 0.05  # the weight of the faintest line; the many below it would only make a haze
LINES_A_WORD = 4  # of those to words, on average; where there would be more, the faintest weight is higher

# Heads have the palette's colors as far as it goes; more heads have these, by hue, none paler than this.
MORE_COLORS, PALEST = "turbo", 0.55


def attention_heads(
    weights: np.ndarray,
    queries: Sequence[str],
    keys: Sequence[str],
    title: str | None = None,
) -> "matplotlib.figure.Figure":
    """A heat map for every head: layers go down the page, heads across.

    weights: (layers, heads, queries, keys), each in 0 to 1; queries, keys: the words, one a row and one a column.

    Of texts of more than 64 words, white is the largest weight of each map, not counting those to [CLS], [SEP] and
    their like, which take most of it.  Of more than 128 words, a cell is the largest of a block.  The key says both.

    Raises `ShapeError` for weights that do not match the words or are not finite numbers in 0 to 1,
    `MissingDependencyError` where matplotlib is not installed.
    """
    require_matplotlib()
    weights = _checked_heads("attention_heads", weights, queries, keys, ("layers", "heads"))
    layers, heads, n_queries, n_keys = weights.shape
    cell = min(CELL, LARGEST_MAP / max(n_queries, n_keys))
    width, height = max(n_keys * cell, SMALLEST_MAP), max(n_queries * cell, SMALLEST_MAP)
    every = round(np.ceil(CELL / cell - 1e-9))
    block = -(-max(n_queries, n_keys) // MOST_CELLS)
    own_scale = max(n_queries, n_keys) > FULL_SCALE
    most = "the map's largest to a word" if own_scale else "1"  # what white is
    most += f"; each dot is the largest of {block} x {block}" if block > 1 else ""

    side, small = LINE, SMALL_TEXT / TEXT_SIZE
    left = PAGE_MARGIN + side + LABEL_GAP + small * max(map(text_width, queries)) + LABEL_GAP
    top = PAGE_MARGIN + (1.6 * LINE if title else 0) + LINE + LABEL_GAP + small * max(map(text_width, keys)) + LABEL_GAP
    maps_width, maps_height = heads * (width + MAP_GAP) - MAP_GAP, layers * (height + MAP_GAP) - MAP_GAP
    page_width = max(left + max(maps_width, key_width(most)) + PAGE_MARGIN, _title_width(title) + 2 * PAGE_MARGIN)
    with styled_figure(page_width, top + maps_height + KEY_GAP + LINE + PAGE_MARGIN) as figure:
        for layer, head in np.ndindex(layers, heads):
            x, y = left + head * (width + MAP_GAP), top + layer * (height + MAP_GAP)
            axes = axes_at(figure, x, y, width, height)
            white = _largest_to_a_word(weights[layer, head], keys) if own_scale else 1.0
            _draw_map(axes, weights[layer, head], white, block)
            if layer == 0:
                _label(axes.xaxis, keys, every)
                _write(figure, f"head {head + 1}", x + width / 2, top - _labels_height(keys, small), ha="center")
            if head == 0:
                _label(axes.yaxis, queries, every)
                middle = y + height / 2
                _write(figure, f"layer {layer + 1}", PAGE_MARGIN, middle, rotation=90, va="center", ha="left")
        if title:
            _write(figure, title, PAGE_MARGIN, PAGE_MARGIN + LINE, weight="bold", color=INK)
        draw_color_bar(figure, left, top + maps_height + KEY_GAP, most)
    return figure


def _labels_height(keys: Sequence[str], small: float) -> float:
    return small * max(map(text_width, keys)) + 2 * LABEL_GAP


def _title_width(title: str | None) -> float:
    return 1.04 * text_width(title or "", weight="bold")  # letters are drawn on whole pixels, a little wider


def _largest_to_a_word(weights: np.ndarray, keys: Sequence[str]) -> float:
    """The largest weight (queries, keys) to a word; to anything where there is no word, or no weight to one."""
    to_words = weights[:, [not _is_special(key) for key in keys]]
    return float(to_words.max(initial=0)) or float(weights.max()) or 1.0


def _largest_of_blocks(weights: np.ndarray, block: int) -> np.ndarray:
    """The largest of each square of `block` x `block` weights; those at the right and the bottom may be smaller."""
    for axis, length in enumerate(weights.shape):
        weights = np.maximum.reduceat(weights, np.arange(0, length, block), axis=axis)
    return weights


def _draw_map(axes: "matplotlib.axes.Axes", weights: np.ndarray, white: float, block: int) -> None:
    # As an image: the rectangles of so many maps would make an SVG or a PDF of gigabytes.
    rows, columns = weights.shape
    cells = _largest_of_blocks(weights, block)
    whole = (0, block * cells.shape[1], block * cells.shape[0], 0)  # the last blocks may reach over the edge
    axes.imshow(cells, cmap="gray", vmin=0, vmax=white, extent=whole, aspect="auto", interpolation="nearest")
    axes.set(xlim=(0, columns), ylim=(rows, 0))
    axes.xaxis.tick_top()
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set(visible=True, color=CELL_EDGE)


def _label(axis: "matplotlib.axis.Axis", words: Sequence[str], every: int) -> None:
    """Words at the cells, at every second one, or third, .. where the cells are small."""
    positions = np.arange(0, len(words), every)
    axis.set_ticks(positions + 0.5, [words[i] for i in positions])
    axis.set_tick_params(length=0, pad=LABEL_GAP * POINTS_PER_INCH / 2, labelsize=SMALL_TEXT)
    for label in axis.get_ticklabels():
        label.set_color(_color(label.get_text()))
        if axis.axis_name == "x":
            label.set_rotation(90)


def _write(figure: "matplotlib.figure.Figure", text: str, x: float, y: float, **style: object) -> None:
    """Text at a position in inches from the top left corner of the page."""
    width, height = figure.get_size_inches()
    figure.text(x / width, 1 - y / height, text, **{"color": MUTED, **style})


def attention_lines(
    weights: np.ndarray,
    queries: Sequence[str],
    keys: Sequence[str],
    title: str | None = None,
    names: Sequence[str] | None = None,
) -> "matplotlib.figure.Figure":
    """Lines from what attends, on the left, to what it attends to, on the right; each head in a color of its own.

    weights: (heads, queries, keys), each in 0 to 1: how opaque the line is.  names: what to call the heads, their
    numbers from 1 on unless given.  Lines of less than 0.05 are left out; where there would still be more than 4 a
    word, so are those of less than a higher weight, which the figure names.  Those to [CLS], [SEP] and their like are
    not counted in this, and lie behind the others.  The boxes on the right name the colors: each is as opaque as the
    strongest line to its word.

    Raises what `attention_heads` raises, and `ConfigError` for another number of names than of heads.
    """
    require_matplotlib()
    from matplotlib.collections import LineCollection
    from matplotlib.patches import Rectangle

    weights = _checked_heads("attention_lines", weights, queries, keys, ("heads",))
    names = [str(head + 1) for head in range(len(weights))] if names is None else list(names)
    if len(names) != len(weights):
        raise ConfigError(f"attention_lines: {len(names)} names for {len(weights)} heads; hint: one for each head")
    colors = head_colors(len(weights))
    faintest = faintest_line(weights, keys)
    note = f"lines: weights of {faintest:.2f} and more" if faintest > FAINTEST else ""

    first = max(map(text_width, queries)) + WORD_GAP  # where the lines begin
    last = first + LINES_WIDTH
    boxes = last + 2 * WORD_GAP + max(max(map(text_width, keys)), text_width("head"))
    width = max(boxes + BOX_WIDTH * len(weights), _title_width(title))
    top = (1.6 * LINE if title else 0) + LINE + LABEL_GAP
    bottom = top + ROW * max(len(queries), len(keys))
    height = bottom + (LABEL_GAP + LINE if note else 0)

    def middle(row: int) -> float:
        return top + ROW * (row + 0.5)

    def behind(line: tuple[int, int, int]) -> tuple[bool, float]:
        return not _is_special(keys[line[2]]), weights[line]

    lines = sorted(zip(*np.nonzero(weights >= faintest), strict=True), key=behind)  # (head, query, key), furthest first
    with styled_figure(width + 2 * PAGE_MARGIN, height + 2 * PAGE_MARGIN) as figure:
        axes = axes_at(figure, PAGE_MARGIN, PAGE_MARGIN, width, height)
        axes.set(xlim=(0, width), ylim=(height, 0))  # in inches
        axes.set_axis_off()
        for words, x, align in ((queries, first - WORD_GAP, "right"), (keys, last + WORD_GAP, "left")):
            for i, word in enumerate(words):
                axes.text(x, middle(i), word, ha=align, va="center_baseline", color=_color(word))
        ends = [((first, middle(i)), (last, middle(j))) for _, i, j in lines]
        opaque = [(*colors[head], min(weights[head, i, j], 1.0)) for head, i, j in lines]
        axes.add_collection(LineCollection(ends, colors=opaque, linewidths=1.6, capstyle="butt"))
        axes.text(boxes - WORD_GAP, top - LABEL_GAP, "head", color=MUTED, size=SMALL_TEXT, ha="right")
        for head, (name, color) in enumerate(zip(names, colors, strict=True)):
            x = boxes + BOX_WIDTH * head
            axes.text(x + BOX_WIDTH / 2, top - LABEL_GAP, name, color=color, size=SMALL_TEXT, ha="center")
            for j, weight in enumerate(weights[head].max(0)):
                position = (x, middle(j) - BOX_HEIGHT / 2)
                axes.add_patch(
                    Rectangle(position, BOX_WIDTH, BOX_HEIGHT, color=color, alpha=min(weight, 1.0), linewidth=0)
                )
        if title:
            axes.text(0, 0, title, weight="bold", va="top")
        if note:
            axes.text(first, bottom + LABEL_GAP, note, color=MUTED, size=SMALL_TEXT, va="top")
    return figure


def faintest_line(weights: np.ndarray, keys: Sequence[str]) -> float:
    """The weight of the faintest line that is drawn, for weights (heads, queries, keys)."""
    to_words = weights[:, :, [not _is_special(key) for key in keys]]
    most = LINES_A_WORD * weights.shape[1]
    return max(FAINTEST, float(np.sort(to_words, axis=None)[-most])) if to_words.size > most else FAINTEST


def head_colors(count: int) -> list[tuple[float, float, float]]:
    """A color for each head, as red, green and blue in 0 to 1: the palette's, or, for more heads, one by hue."""
    import matplotlib
    from matplotlib.colors import to_rgb

    if count <= len(PALETTE):
        return [to_rgb(color) for color in PALETTE[:count]]
    by_hue = [to_rgb(color) for color in matplotlib.colormaps[MORE_COLORS](np.linspace(0.02, 0.98, count))]
    return [_darkened(color) for color in by_hue]


def _darkened(color: tuple[float, float, float]) -> tuple[float, float, float]:
    """The same hue, no paler than `PALEST`: a pale line is lost on a white page."""
    red, green, blue = color
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    scale = min(1.0, PALEST / luma)
    return red * scale, green * scale, blue * scale


def _color(word: str) -> str:
    """Words are in ink; [CLS], [SEP] and their like, which are no words, are paler."""
    return MUTED if _is_special(word) else INK


def _is_special(word: str) -> bool:
    return word.startswith("[") and word.endswith("]")


def _checked_heads(
    name: str, weights: np.ndarray, queries: Sequence[str], keys: Sequence[str], axes: tuple[str, ...]
) -> np.ndarray:
    """The weights as an array; raises `ShapeError` unless they are those of such heads over these words."""
    weights = np.asarray(weights)
    if weights.ndim != len(axes) + 2 or 0 in weights.shape[: len(axes)]:
        raise ShapeError(
            f"{name}: weights have shape {weights.shape}, expected ({', '.join((*axes, 'queries', 'keys'))}), with at "
            "least one head"
        )
    for index in np.ndindex(weights.shape[: len(axes)]):
        checked_alignment(Alignment(weights[index], keys, queries))
    return weights
