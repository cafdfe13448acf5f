"""The bar chart of a run: for each workload, how many times as long as the reference each engine takes."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from benchmarks.environments import MINATTN
from benchmarks.results import Comparison, Spread, threads_in_words, title_of
from minattn.viz.style import INK, LINE, MUTED, PALETTE, axes_at, styled_figure, text_width

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure

COLUMNS = 3  # panels beside each other

# In inches.
PANEL_WIDTH, PANEL_GAP = 2.5, 0.3
BAR, ENGINE_GAP = 0.13, 0.07  # height of a bar, and between the bars of two engines
ABOVE, BELOW = 0.3, 0.42  # room for a panel's title, and for its ticks
LEGEND_HEIGHT = 0.62
MARGIN = 0.12

OURS, OTHERS = PALETTE[0], "#9a9a9a"
PALER = 0.45  # how much is left of a color in the bars of further numbers of threads
EXPLANATION = (
    "left of the line is faster; logarithmic, each panel with a scale of its own; thin lines span the quartiles"
)
LEFT_ROOM, RIGHT_ROOM = 0.4, 0.4  # beyond the longest bars, for their numbers
REFERENCE_ROOM = 0.85  # right of 1, for what the reference takes
SMALL = 7.2  # points, of the numbers
LEAST_REACH = 1.6  # the axis goes at least so far from 1 on both sides


def draw_ratios(comparisons: Sequence[Comparison], engines: Sequence[str]) -> "matplotlib.figure.Figure":
    """A panel for each workload, in it a row for each engine and a bar for each number of threads.

    comparisons: those with a reference.  A bar starts at 1, the reference, and goes to the median of the ratios; the
    thin line over its end spans their quartiles.  Raises MissingDependencyError where matplotlib is not installed.
    """
    panels: dict[str, list[Comparison]] = {}
    for comparison in comparisons:
        panels.setdefault(comparison.workload, []).append(comparison)
    for shown in panels.values():
        shown.sort(key=lambda comparison: -comparison.threads)
    threads = sorted({comparison.threads for comparison in comparisons}, reverse=True)
    left = MARGIN + max(text_width(title_of(engine), "bold") for engine in engines) + 0.1
    columns = min(COLUMNS, len(panels))
    row_height = len(engines) * (len(threads) * BAR + ENGINE_GAP) + ENGINE_GAP
    width = left + columns * PANEL_WIDTH + (columns - 1) * PANEL_GAP + MARGIN
    width = max(width, text_width(EXPLANATION) + 2 * MARGIN)
    height = LEGEND_HEIGHT + math.ceil(len(panels) / columns) * (ABOVE + row_height + BELOW)
    with styled_figure(width, height) as figure:
        _draw_legend(figure, comparisons[0].reference or "", threads)
        for place, shown in enumerate(panels.values()):
            row, column = divmod(place, columns)
            x, y = left + column * (PANEL_WIDTH + PANEL_GAP), LEGEND_HEIGHT + ABOVE + row * (ABOVE + row_height + BELOW)
            axes = axes_at(figure, x, y, PANEL_WIDTH, row_height)
            _draw_panel(axes, shown, engines, threads)
            if column == 0:
                _name_engines(axes, engines, len(threads) * BAR + ENGINE_GAP)
    return figure


def _draw_legend(figure: "matplotlib.figure.Figure", reference: str, threads: Sequence[int]) -> None:
    """Above the panels: the meaning of the bars, and the shade of each number of threads."""
    width, height = figure.get_size_inches()
    page = axes_at(figure, 0, 0, width, height)
    page.set(xlim=(0, width), ylim=(height, 0))  # in inches
    page.axis("off")
    title = f"Time of a step as a multiple of {title_of(reference)}'s"
    page.text(MARGIN, MARGIN + LINE / 2, title, weight="bold", va="center_baseline")
    page.text(MARGIN, MARGIN + 1.5 * LINE, EXPLANATION, color=MUTED, va="center_baseline")
    x, y = MARGIN, MARGIN + 2.7 * LINE
    for place, number in enumerate(threads):
        words = threads_in_words(number)
        for color in (OURS, OTHERS):
            page.barh(y, BAR, BAR, x, align="center", color=_shade(color, place), linewidth=0)
            x += BAR + 0.03
        page.text(x + 0.03, y, words, va="center_baseline")
        x += 0.03 + text_width(words) + 0.2


def _shade(color: str, place: int) -> str:
    """The color of the bars of the first number of threads, or paler, of the others."""
    if place == 0:
        return color
    parts = [int(color[i : i + 2], 16) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(255 - PALER * (255 - part)):02x}" for part in parts)


def _draw_panel(
    axes: "matplotlib.axes.Axes", shown: Sequence[Comparison], engines: Sequence[str], threads: Sequence[int]
) -> None:
    """One workload; its vertical axis counts inches from the top."""
    from matplotlib.ticker import LogLocator, NullLocator

    step = len(threads) * BAR + ENGINE_GAP
    first, last = _limits(shown)
    axes.set_title(shown[0].definition.heading)
    axes.set(xscale="log", ylim=(len(engines) * step + ENGINE_GAP, 0), xlim=(first, last))
    axes.axvline(1, color=INK, linewidth=0.8, zorder=3)
    for place, comparison in enumerate(shown):
        for row, engine in enumerate(engines):
            y = ENGINE_GAP / 2 + (row + 0.5) * step + (place + 0.5 - len(shown) / 2) * BAR
            _draw_bar(axes, comparison, engine, y, threads.index(comparison.threads))
    axes.grid(axis="x")
    axes.tick_params(axis="y", left=False, labelleft=False)
    axes.spines.left.set_visible(False)
    ticks = LogLocator(subs=(1, 2, 5) if last / first < 60 else (1,))
    axes.xaxis.set(major_locator=ticks, minor_locator=NullLocator(), major_formatter="{x:g}")


def _draw_bar(axes: "matplotlib.axes.Axes", comparison: Comparison, engine: str, y: float, place: int) -> None:
    if engine not in comparison.timings:
        return _write(axes, 1, y, "–", color=MUTED)
    if engine == comparison.reference:
        text = f"{_number(comparison.time(engine).median)} {comparison.definition.unit.name}"
        return _write(axes, 1, y, text, color=MUTED)
    median, lower, upper = comparison.ratio(engine) or Spread(1, 1, 1)
    color, weight = (OURS, "bold") if engine == MINATTN else (OTHERS, "normal")
    axes.barh(y, median - 1, 0.86 * BAR, left=1, color=_shade(color, place), linewidth=0)
    axes.plot([lower, upper], [y, y], color=INK, linewidth=0.8, solid_capstyle="butt", zorder=4)
    return _write(axes, lower if median < 1 else upper, y, _number(median), left=median < 1, color=INK, weight=weight)


def _write(axes: "matplotlib.axes.Axes", x: float, y: float, text: str, left: bool = False, **style: str) -> None:
    """Beside a bar's end."""
    offset, side = ((-3, 0), "right") if left else ((3, 0), "left")
    place = {"xytext": offset, "textcoords": "offset points", "ha": side, "va": "center_baseline"}
    axes.annotate(text, (x, y), **place, size=SMALL, zorder=5, **style)


def _number(value: float) -> str:
    """As many digits as a figure needs."""
    if value < 0.1:
        return f"{value:.1g}"
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def _limits(shown: Sequence[Comparison]) -> tuple[float, float]:
    """The ends of the logarithmic axis: round all bars, with room for the words beside them."""
    spreads = [comparison.ratio(engine) for comparison in shown for engine in comparison.timings]
    ends = [end for spread in spreads if spread for end in (spread.lower, spread.upper)]
    least, most = math.log10(min(*ends, 1 / LEAST_REACH)), math.log10(max(*ends, LEAST_REACH))
    room = PANEL_WIDTH - LEFT_ROOM
    decades_an_inch = max((most - least) / (room - RIGHT_ROOM), -least / (room - REFERENCE_ROOM))
    start = least - LEFT_ROOM * decades_an_inch
    return 10**start, 10 ** (start + PANEL_WIDTH * decades_an_inch)


def _name_engines(axes: "matplotlib.axes.Axes", engines: Sequence[str], step: float) -> None:
    """The names of the rows, left of the first panel."""
    for row, engine in enumerate(engines):
        style = {"color": OURS, "weight": "bold"} if engine == MINATTN else {"color": INK}
        place = {"xycoords": ("axes fraction", "data"), "xytext": (-4, 0), "textcoords": "offset points"}
        place |= {"ha": "right", "va": "center_baseline", "annotation_clip": False}
        axes.annotate(title_of(engine), (0, ENGINE_GAP / 2 + (row + 0.5) * step), **place, **style)
