"""Parts that the experiments share: runs that are trained once, tables in Markdown, and errors as one line."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from minattn.errors import CheckpointError, MinattnError
from minattn.tasks import driver
from minattn.tasks.config import settings_of
from minattn.tasks.run_folder import CONFIG, is_finished
from minattn.tasks.task import Source, Task


def trained(task: Task, config: Any, source: Source, folder: Path) -> Any:
    """The best model of the run in this folder: trained now, resumed where it was stopped, or loaded.

    Raises CheckpointError where the run is one with other settings or data.
    """
    started = (folder / CONFIG).exists()
    if started:
        stored = driver.StoredRun.read(folder, task.name)
        if (settings_of(stored.config), stored.source) != (settings_of(config), source.absolute()):
            raise CheckpointError(f"{folder} was trained with other settings or data; hint: another --out")
    if not is_finished(folder):
        outcome = driver.resume(folder) if started else driver.start(task, config, source, folder)
        if outcome.interrupted:
            raise SystemExit(f"{folder}: {outcome.message}")
    return driver.load(folder)


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table whose first column is text, at the left, and whose others are numbers."""
    rule = ["|:---|", *["---:|"] * (len(header) - 1)]
    lines = [f"| {' | '.join(cells)} |" for cells in (header, *rows)]
    return "\n".join([lines[0], "".join(rule), *lines[1:]]) + "\n"


def run(main: Callable[[], None]) -> None:
    """Run a script; an error that is raised on purpose ends it with one line and the exit status 1."""
    try:
        main()
    except (MinattnError, OSError) as error:
        raise SystemExit(f"error: {error}") from None
