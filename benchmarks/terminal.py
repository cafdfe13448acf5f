"""The benchmark in the terminal: its progress, each workload's table when it is complete, and all ratios at the end."""

from collections.abc import Sequence
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Column, Table

from benchmarks.environments import ENGINES, MINATTN
from benchmarks.harness import Watcher
from benchmarks.report import by_threads, heading, remarks, rows, summary
from benchmarks.results import Comparison, threads_in_words, title_of
from benchmarks.workloads import WORKLOADS

QUARTILES_OF_TIME = 2  # the place of that column
SIDE_BY_SIDE = 8  # workloads in a table of ratios


class TerminalWatcher(Watcher):
    """Shows the progress on a terminal; elsewhere only what is complete.

    The bar is drawn between rounds alone, never by a thread of its own: drawing would take time from what is timed.
    """

    def __init__(self, console: Console) -> None:
        self.doing = "the start"
        self.complete: list[Comparison] = []
        self._console = console
        cut = Column(ratio=1, no_wrap=True, overflow="ellipsis")
        columns = [BarColumn(bar_width=12), TaskProgressColumn(), TimeRemainingColumn()]
        doing = TextColumn("{task.fields[doing]}", markup=False, table_column=cut)
        settings = {"auto_refresh": False, "expand": True, "transient": True, "speed_estimate_period": 600.0}
        self._bar = Progress(*columns, doing, console=console, disable=not console.is_terminal, **settings)
        self._task = self._bar.add_task("bench", total=1.0, doing="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()

    def note(self, line: str) -> None:
        self.doing = line
        self._console.print(line)
        self._bar.refresh()

    def advance(self, done: float, doing: str) -> None:
        self.doing = doing
        self._bar.update(self._task, completed=done, doing=doing, refresh=True)

    def finished(self, comparison: Comparison) -> None:
        self.complete.append(comparison)
        print_comparison(comparison, self._console)


def print_comparison(comparison: Comparison, console: Console) -> None:
    """One workload."""
    console.print(f"{comparison.definition.heading}, {threads_in_words(comparison.threads)}", style="bold")
    table = Table(box=None, pad_edge=False, header_style="dim")
    columns = list(enumerate(heading(comparison)))
    if comparison.has_ratios:
        del columns[QUARTILES_OF_TIME]  # those of the ratios tell more, and the page is narrow
    for place, name in columns:
        table.add_column(name, justify="right" if place else "left", no_wrap=place > 0)
    for engine, cells in zip(comparison.timings, rows(comparison), strict=True):
        table.add_row(*(cells[place] for place, _ in columns), style="bold" if engine == MINATTN else None)
    if comparison.timings:
        console.print(table, soft_wrap=False)
    for remark in remarks(comparison):
        console.print(remark, style="dim", soft_wrap=False)
    console.print()


def print_summary(comparisons: Sequence[Comparison], console: Console) -> None:
    """The ratios on all workloads for each number of threads, in tables that fit the page."""
    for threads, compared in by_threads(each for each in comparisons if each.has_ratios).items():
        reference = title_of(compared[0].reference or "")
        console.print(f"{threads_in_words(threads)}: time of a step as a multiple of {reference}'s", style="bold")
        for start in range(0, len(compared), SIDE_BY_SIDE):
            _print_ratios(compared[start : start + SIDE_BY_SIDE], console)


def _print_ratios(compared: Sequence[Comparison], console: Console) -> None:
    """A table with a line for each engine, as there can be many."""
    table = Table(box=None, pad_edge=False, collapse_padding=True, header_style="dim")
    columns, lines = summary(compared)
    _, *engines = zip(columns, *lines, strict=True)
    table.add_column("engine")
    for comparison in compared:
        name = comparison.workload.replace("-", "\n")  # titles do not fit, and stand above
        table.add_column(name, justify="right", no_wrap=True)
    for name, *ratios in engines:
        table.add_row(name, *ratios, style="bold" if name == title_of(MINATTN) else None)
    console.print(table, soft_wrap=False)
    console.print()


def print_list(console: Console) -> None:
    """The workloads and the engines."""
    workloads = [(each.name, each.title, each.description) for each in WORKLOADS.values()]
    engines = [(each.name, each.title, ", ".join(each.requirements) or "this one") for each in ENGINES.values()]
    for title, lines in ("workloads", workloads), ("engines", engines):
        table = Table(title=title, title_justify="left", title_style="bold", box=None, show_header=False)
        for line in lines:
            table.add_row(*line)
        console.print(table, soft_wrap=False)
        console.print()
