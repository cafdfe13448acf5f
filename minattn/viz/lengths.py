"""Accuracy against length: does a model that must squeeze its input into one vector fail on long ones?

After Figure 2 of D. Bahdanau, K. Cho and Y. Bengio, "Neural machine translation by jointly learning to align and
translate", ICLR 2015, with words for sentences.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from minattn.errors import DataError
from minattn.viz.style import (
    FAINT,
    LINE,
    NAME_GAP,
    PALETTE,
    LineName,
    axes_at,
    name_lines,
    require_matplotlib,
    styled_figure,
    text_width,
)

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure

# In inches.
AXES_WIDTH, LINES_HEIGHT, COUNTS_HEIGHT = 4.2, 2.5, 0.7
LEFT, BOTTOM = 0.95, 0.5  # room for ticks and labels
PAGE_MARGIN = 0.1

MARKERS = "osD^vPX"
NORMAL_95 = 1.959964  # 95 % of a normal distribution lies within so many standard deviations


def accuracy_by_length(
    results: Mapping[str, Sequence[tuple[int, float, int]]],
    title: str | None = None,
    length_label: str = "word length (letters)",
    counted: str = "words",
) -> "matplotlib.figure.Figure":
    """Accuracy against length, one line a model with its name at the end, and below how many words each length has.

    results: for each model, (length, accuracy as a fraction, count of words) of every length; lengths without words
    are passed over.  The band around a line is Wilson's 95 % interval of a proportion, wide where there are few words.
    length_label, counted: the x axis and what was counted, for other things than words; "words" makes the y axis
    "words right (%)".

    Raises `DataError` where there is nothing to draw, two points of a model have the same length, or an accuracy is not
    in 0 to 1; `MissingDependencyError` where matplotlib is not installed.
    """
    require_matplotlib()
    lines = {name: _points(name, points) for name, points in results.items()}
    if not lines:
        raise DataError(
            "accuracy_by_length: no model given, expected a dict of name -> [(length, accuracy, count), ...]"
        )
    if len(lines) > len(PALETTE):
        raise DataError(
            f"accuracy_by_length: {len(lines)} models, but there are colors for {len(PALETTE)} only; draw fewer"
        )

    most = max(int(count.max()) for _, _, count in lines.values())
    most_label = f"{most:,} {counted}"
    left = max(LEFT, text_width(most_label) + 2 * PAGE_MARGIN)
    width = left + AXES_WIDTH + NAME_GAP + max(map(text_width, lines)) + PAGE_MARGIN
    top = PAGE_MARGIN + (LINE if title else 0)
    with styled_figure(width, top + LINES_HEIGHT + COUNTS_HEIGHT + BOTTOM) as figure:
        above = axes_at(figure, left, top, AXES_WIDTH, LINES_HEIGHT)
        below = axes_at(figure, left, top + LINES_HEIGHT, AXES_WIDTH, COUNTS_HEIGHT)
        below.sharex(above)
        _draw_counts(below, lines, most_label)
        _draw_lines(above, lines, f"{counted} right (%)")
        above.set_title(title or "")
        below.set_xlabel(length_label)
    return figure


def _points(name: str, points: Sequence[tuple[int, float, int]]) -> np.ndarray:
    """The points of a model as (3, lengths): length, accuracy, count, sorted by length."""
    drawn = sorted(point for point in points if point[2] > 0)
    if not drawn:
        raise DataError(f"accuracy_by_length: {name!r} has no length with a count above 0")
    lengths, accuracies, counts = np.array(drawn, dtype=float).T
    if len(set(lengths)) < len(lengths):
        raise DataError(f"accuracy_by_length: {name!r} has two points of the same length")
    if not ((accuracies >= 0) & (accuracies <= 1)).all():
        raise DataError(f"accuracy_by_length: {name!r} has an accuracy outside 0 to 1; pass fractions, not percents")
    return np.stack([lengths, accuracies, counts])


def wilson_interval(accuracy: np.ndarray, count: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both ends of the 95 % interval of a proportion seen in `count` trials (Wilson 1927, JASA 22, 209-212).

    Unlike the normal interval, it stays in 0 to 1 and keeps a width where every trial, or none, succeeded.
    """
    z2 = NORMAL_95**2 / count
    center = (accuracy + z2 / 2) / (1 + z2)
    half = np.sqrt(z2 * (accuracy * (1 - accuracy) + z2 / 4)) / (1 + z2)
    return center - half, center + half


def _draw_lines(axes: "matplotlib.axes.Axes", lines: Mapping[str, np.ndarray], label: str) -> None:
    names = []
    for (name, (lengths, accuracy, count)), color, marker in zip(lines.items(), PALETTE, MARKERS, strict=False):
        low, high = wilson_interval(accuracy, count)
        axes.fill_between(lengths, 100 * low, 100 * high, color=color, alpha=0.1, linewidth=0)
        (line,) = axes.plot(lengths, 100 * accuracy, color=color, marker=marker, label=name, clip_on=False)
        line.set(markeredgecolor="white", markeredgewidth=0.5)
        names.append(LineName(name, color, 100 * accuracy[-1]))
    bottom, top = axes.get_ylim()
    axes.set(ylim=(max(bottom, 0), min(top, 100)), ylabel=label)
    axes.grid(axis="y")
    axes.tick_params(axis="x", bottom=False, labelbottom=False)
    axes.spines.bottom.set_visible(False)
    name_lines(axes, names)


def _draw_counts(axes: "matplotlib.axes.Axes", lines: Mapping[str, np.ndarray], most_label: str) -> None:
    """The number of words of each length: the most that any model was given, as models commonly share a test set."""
    counts: dict[float, float] = {}
    for lengths, _, count in lines.values():
        for length, words in zip(lengths, count, strict=True):
            counts[length] = max(words, counts.get(length, 0))
    most = max(counts.values())
    axes.bar(list(counts), list(counts.values()), width=0.8, color=FAINT)
    axes.set_xlim(min(counts) - 0.6, max(counts) + 0.6)
    axes.set_ylim(0, 1.4 * most)  # keeps the tallest bar off the lines above
    axes.set_yticks([most], [most_label])
    axes.tick_params(axis="y", left=False)
    axes.spines.left.set_visible(False)
    axes.locator_params(axis="x", integer=True)
