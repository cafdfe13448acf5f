"""Learning curves: losses and metrics against the step, from the records of a run's log."""

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from minattn.errors import DataError
from minattn.viz.style import (
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
from minattn.whole_files import check_regular

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure

# In inches.
AXES_WIDTH, AXES_HEIGHT = 2.4, 2.0
LEFT, BOTTOM = 0.55, 0.5  # room for ticks and labels
PAGE_MARGIN = 0.1

LOG_RANGE = 8  # of the largest to the smallest value: from here on the axis is logarithmic
LONGEST, MOST_DIGITS, LARGEST = 100, 10, 1e30  # of a metric's texts and values; what is beyond is no log of a run
SMOOTHED_SHARE = 1 / 40  # of a training curve, the window of its mean


class Curve(NamedTuple):
    """A quantity over the steps: `values[i]` at `steps[i]`, the steps ascending."""

    name: str
    color: str
    steps: np.ndarray
    values: np.ndarray
    value_format: str
    lowest: bool  # the lowest value is the best one

    @property
    def best(self) -> int:
        """The position of the best value."""
        return int(self.values.argmin() if self.lowest else self.values.argmax())


class Panel(NamedTuple):
    """Curves that share their axes."""

    training: list[Curve]  # noisy: drawn raw and smoothed
    dev: list[Curve]  # drawn with their best points

    def names(self) -> list[LineName]:
        """The training curves by their names, the dev curves with their best values too."""
        return [LineName(curve.name, curve.color, smoothed(curve.values)[-1]) for curve in self.training] + [
            LineName(
                f"{curve.name}, best {curve.value_format.format(curve.values[curve.best])}",
                curve.color,
                curve.values[-1],
            )
            for curve in self.dev
        ]


def read_records(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """The records of a JSON-lines log, one object a line.

    A line that is not a whole JSON object is passed over: a run that was killed leaves one.  Raises `DataError` where
    the file cannot be read, is a pipe or a device, or holds no record at all.
    """
    path = Path(path)
    try:
        check_regular(path)
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise DataError(f"cannot read the log {path}: {error.strerror or error}") from error
    records = []
    for line in lines:
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(record, dict):
            records.append(record)
    if not records:
        raise DataError(f"the log {path} holds no record; expected a JSON object on each line")
    return records


def learning_curves(records: Iterable[Mapping[str, Any]], title: str | None = None) -> "matplotlib.figure.Figure":
    """Training and dev loss and, beside them, the dev metrics; the best point of a dev curve carries its value.

    records: training records with `step` and `loss`, evaluation records with `step`, `dev_loss` and the metrics that
    a record `{"metrics": {name: {"label", "axis", "unit", "digits", "lower_is_better"}}}` describes; those of the same
    axis share a panel.  Other records and keys are passed over, and so are values that are no numbers, or beyond 1e30.
    Where a step comes twice, as after a resumed run, the later record counts.  A log without steps is drawn against
    `epoch`.

    Raises `DataError` where no record has anything to draw, `MissingDependencyError` where matplotlib is not
    installed.
    """
    require_matplotlib()
    records = list(records)
    clock = "step" if any("step" in record for record in records) else "epoch"

    def curves(key: str, name: str, color: str, value_format: str = "{:.3f}", lowest: bool = True) -> list[Curve]:
        curve = Curve(name, color, *_read_series(records, clock, key), value_format, lowest)
        return [curve] if len(curve.steps) else []

    panels = {
        "loss (nats)": Panel(curves("loss", "training loss", PALETTE[0]), curves("dev_loss", "dev loss", PALETTE[1]))
    }
    for number, (key, metric) in enumerate(_described_metrics(records).items()):
        value_format = f"{{:.{metric['digits']}f}}" + (" %" if metric["unit"] == "%" else "")
        color = PALETTE[2 + number % (len(PALETTE) - 2)]
        panel = panels.setdefault(f"dev {metric['axis']}", Panel([], []))
        panel.dev.extend(curves(key, metric["label"], color, value_format, metric["lower_is_better"]))
    panels = {label: panel for label, panel in panels.items() if panel.training or panel.dev}
    if not panels:
        raise DataError(
            f"none of the {len(records)} records has anything to draw: "
            "expected 'step' with 'loss', 'dev_loss' or a metric that a record describes"
        )

    widths = [
        LEFT + AXES_WIDTH + NAME_GAP + max(text_width(name.text) for name in panel.names()) + PAGE_MARGIN
        for panel in panels.values()
    ]
    top = PAGE_MARGIN + (LINE if title else 0)
    with styled_figure(sum(widths), top + AXES_HEIGHT + BOTTOM) as figure:
        x = 0.0
        for (label, panel), width in zip(panels.items(), widths, strict=True):
            axes = axes_at(figure, x + LEFT, top, AXES_WIDTH, AXES_HEIGHT)
            axes.set_xlabel(clock)
            axes.set_ylabel(label)
            _draw_panel(axes, panel)
            x += width
        figure.axes[0].set_title(title or "")
    return figure


def _described_metrics(records: Iterable[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """The metrics that the records describe, by their keys in other records."""
    described = [metrics for record in records if isinstance(metrics := record.get("metrics"), dict)]
    return {key: metric for metrics in described for key, metric in metrics.items() if _is_metric(metric)}


def _is_metric(value: object) -> bool:
    """True for what `learning_curves` says of a metric, with texts that can be drawn."""
    if not isinstance(value, dict):
        return False
    texts, digits = [value.get(key) for key in ("label", "axis", "unit")], value.get("digits")
    return (
        all(isinstance(text, str) and text.isprintable() and len(text) <= LONGEST and "$" not in text for text in texts)
        and (type(digits) is int and 0 <= digits <= MOST_DIGITS)
        and isinstance(value.get("lower_is_better"), bool)
    )


def _read_series(records: Iterable[Mapping[str, Any]], clock: str, key: str) -> tuple[np.ndarray, np.ndarray]:
    """The values of `clock` ("step" or "epoch"), ascending, and those of `key` there."""
    points = {
        float(record[clock]): float(record[key])
        for record in records
        if _is_number(record.get(clock)) and _is_number(record.get(key))
    }
    steps = sorted(points)
    return np.array(steps), np.array([points[step] for step in steps])


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool) and -LARGEST < value < LARGEST


def smoothed(values: np.ndarray) -> np.ndarray:
    """The mean over a small window, centered so that it does not lag, and cut short at both ends."""
    half = round(len(values) * SMOOTHED_SHARE / 2)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    positions = np.arange(len(values))
    first, last = np.maximum(positions - half, 0), np.minimum(positions + half + 1, len(values))
    return (sums[last] - sums[first]) / (last - first)


def _draw_panel(axes: "matplotlib.axes.Axes", panel: Panel) -> None:
    for curve in panel.training:
        axes.plot(curve.steps, curve.values, color=curve.color, alpha=0.35, linewidth=0.7)
        axes.plot(curve.steps, smoothed(curve.values), color=curve.color, label=curve.name)
    for curve in panel.dev:
        best = curve.best
        axes.plot(curve.steps, curve.values, color=curve.color, label=curve.name)
        (dot,) = axes.plot(curve.steps[best], curve.values[best], "o", color=curve.color, clip_on=False, zorder=3)
        dot.set(markersize=5.5, markeredgecolor="white")

    curves = (*panel.training, *panel.dev)
    axes.set(xlim=(0, max(curve.steps[-1] for curve in curves) or 1))
    _scale_values(axes, np.concatenate([curve.values for curve in curves]))
    axes.locator_params(axis="x", nbins=5, integer=True)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.grid(axis="y")
    name_lines(axes, panel.names())


def _scale_values(axes: "matplotlib.axes.Axes", values: np.ndarray) -> None:
    """A value axis from 0, or a logarithmic one where the first losses would press all later ones flat."""
    if values.min() > 0 and values.max() > LOG_RANGE * values.min():
        from matplotlib.ticker import LogLocator, NullLocator

        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter("{x:g}")
        return
    if values.min() >= 0:
        axes.set_ylim(bottom=0)
    axes.locator_params(axis="y", nbins=5)
