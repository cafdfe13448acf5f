"""Progress of a run: a bar where somebody watches a terminal, else a line now and then."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any, Self

from minattn.errors import MissingDependencyError, visible

LONGEST = 10**13  # seconds, of which timedelta takes a few more


class Progress:
    """Shows nothing; the base of those that do."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """The run is over, or has failed."""

    def advance(self, fraction: float) -> None:
        """The run has spent `fraction` (0 to 1) of its budget; called after every step."""

    def report(self, line: str) -> None:
        """Show the state of training; called at every line of the log."""

    def note(self, line: str) -> None:
        """Something that is to stay readable, such as an evaluation."""


class PlainProgress(Progress):
    """Prints lines: all notes, and at most once every `seconds` a report, with the share that is done and an estimate
    of the time that is left; where none comes for so long, these two alone.
    """

    def __init__(self, seconds: float = 10.0) -> None:
        self._seconds = seconds
        self._reported = -float("inf")
        self._first: tuple[float, float] | None = None  # when the first step was done, and the fraction then
        self._fraction = 0.0
        self._over = threading.Event()

    def __enter__(self) -> Self:
        self._over.clear()
        threading.Thread(target=self._watch, name="minattn-progress", daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()

    def _watch(self) -> None:
        """Report where nobody else does: a step may take long, or what comes between steps.

        Where the output is gone, the main thread will find out by itself, and can end the program.
        """
        with suppress(OSError):
            while not self._over.wait(self._seconds or 1):
                self.report("")

    def advance(self, fraction: float) -> None:
        self._first = self._first or (time.monotonic(), fraction)
        self._fraction = fraction

    def report(self, line: str) -> None:
        now = time.monotonic()
        if now - self._reported >= self._seconds:
            self._reported = now
            self.note((self._done(now) + line).rstrip() or "still at work")

    def _done(self, now: float) -> str:
        """The share, and the time left if all goes on as it did since the first step."""
        if self._first is None:
            return ""
        since, fraction = self._first
        if self._fraction == fraction:
            return f"{fraction:4.0%}  "
        seconds = (now - since) * (1 - self._fraction) / (self._fraction - fraction)
        return f"{self._fraction:4.0%}  {timedelta(seconds=min(round(seconds), LONGEST))} left  "

    def note(self, line: str) -> None:
        print(visible(line), flush=True)


class PatientProgress(PlainProgress):
    """Lines on standard error, the first when `seconds` are over: for a command whose output is its answer."""

    def __init__(self, seconds: float = 10.0) -> None:
        super().__init__(seconds)
        self._reported = time.monotonic()

    def note(self, line: str) -> None:
        print(visible(line), file=sys.stderr, flush=True)


class BarProgress(Progress):
    """A bar at the foot of the terminal, the last report beside it; notes scroll by above.

    Raises MissingDependencyError where rich is not installed.
    """

    def __init__(self) -> None:
        self._bar = _rich_bar()
        self._task = self._bar.add_task("training", total=1.0, report="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()

    def advance(self, fraction: float) -> None:
        self._bar.update(self._task, completed=fraction)

    def report(self, line: str) -> None:
        self._bar.update(self._task, report=visible(line))

    def note(self, line: str) -> None:
        self._bar.console.print(visible(line), markup=False, highlight=False)


def default_progress() -> Progress:
    """A bar where standard output is a terminal, else plain lines."""
    return BarProgress() if sys.stdout.isatty() else PlainProgress()


def patient_progress() -> Progress:
    """A bar where standard output is a terminal, else lines on standard error where it takes long."""
    return BarProgress() if sys.stdout.isatty() else PatientProgress()


def _rich_bar() -> Any:
    try:
        from rich import progress
        from rich.table import Column
    except ImportError as error:
        raise MissingDependencyError(
            "the progress bar needs rich, which is not installed: pip install 'minattn[train]' "
            "(plain lines, which come where the output is a file or a pipe, do without)"
        ) from error
    cut = Column(ratio=1, no_wrap=True, overflow="ellipsis")  # of a line that is too long, only the end is lost
    return progress.Progress(
        progress.BarColumn(bar_width=12),
        progress.TaskProgressColumn(),
        progress.TimeRemainingColumn(),
        progress.TextColumn("{task.fields[report]}", markup=False, table_column=cut),
        expand=True,
    )


class Speed:
    """Tokens a second between two readings.  Add to `tokens` as they are trained on."""

    def __init__(self) -> None:
        self.tokens = 0
        self._since = time.monotonic()

    def read(self) -> float:
        """The speed since the last reading; starts the next."""
        now = time.monotonic()
        speed = self.tokens / max(now - self._since, 1e-9)
        self.tokens, self._since = 0, now
        return speed

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leaves the time spent within out of the speed."""
        start = time.monotonic()
        yield
        self._since += time.monotonic() - start
