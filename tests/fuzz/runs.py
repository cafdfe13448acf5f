"""Small runs to damage: finished ones, and ones that were stopped."""

import contextlib
import shutil
from pathlib import Path
from typing import Any

from small_runs import SMALL_RUNS, SmallRun

from minattn.tasks import driver
from minattn.tasks.registry import TASKS
from minattn.tasks.task import Source
from minattn.training import Progress

NAMES = tuple(SMALL_RUNS)  # of all tasks


def no_figures(*_: object) -> list[str]:
    """In place of `driver.draw_figures`, which takes longer than all the rest."""
    return []


def curves_alone(*arguments: Any) -> list[str]:
    """In place of `driver.draw_figures`: the learning curves, which are made from the log."""
    return driver.draw_curves(*arguments[-2:])


class Stopped(BaseException):
    """Ends a run as SIGKILL does."""


class StopsAt(Progress):
    """Stops a run after so many steps."""

    def __init__(self, step: int) -> None:
        self.left = step

    def advance(self, fraction: float) -> None:
        self.left -= 1
        if not self.left:
            raise Stopped


class Workshop:
    """Runs of tasks in a folder, each made when it is first wanted; cases work on copies."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._sources: dict[str, Source] = {}
        TASKS["toy"] = SMALL_RUNS["toy"].task
        driver.draw_figures = no_figures

    def small(self, task: str) -> SmallRun:
        """The task with its settings."""
        return SMALL_RUNS[task]

    def source(self, task: str) -> Source:
        """The data of a task."""
        if task not in self._sources:
            (self.folder / task).mkdir()
            self._sources[task] = SMALL_RUNS[task].write(self.folder / task)
        return self._sources[task]

    def run(self, task: str, steps: int | None = None) -> Path:
        """The folder of a run of this task: finished, or stopped after so many steps."""
        run = self.folder / f"{task}, {steps or 'all'} steps"
        if not run.exists():
            small, source = SMALL_RUNS[task], self.source(task)
            config = small.task.configure(small.settings, source=source)
            progress = Progress() if steps is None else StopsAt(steps)
            with contextlib.suppress(Stopped):
                driver.start(small.task, config, source, run, make_progress=lambda: progress)
        return run

    def scratch(self) -> Path:
        """A new, empty folder."""
        number = 1 + max((int(path.name) for path in self.folder.glob("[0-9]*")), default=0)
        (self.folder / str(number)).mkdir()
        return self.folder / str(number)

    def copy(self, run: Path) -> Path:
        """A copy of a run, alone in a new folder."""
        return Path(shutil.copytree(run, self.scratch() / "run"))
