"""The folder of a run: what lies in it, how it begins, and how it is recognized.

config.json            the task, its settings, where its data were and their fingerprints
log.jsonl              a line every few steps and at every evaluation
last.safetensors       where the run stands: it can be resumed from here
best.safetensors       the model that did best on the development data
report.json            the score on the test data; written last, so it marks a run that is finished
curves.png             the learning curves
and what the task draws and writes, such as figures of where the model looks.
"""

import contextlib
import importlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from minattn import __version__
from minattn.errors import CheckpointError, MissingDependencyError, hint_for_write_error
from minattn.tasks.files import read_json, write_json
from minattn.training import LAST, LOG
from minattn.whole_files import TEMPORARY

CONFIG, REPORT, CURVES = "config.json", "report.json", "curves.png"

FORMAT = 2
"""The version of a run's config.json and of what its checkpoints say of the model.

1: minattn 0.1.0 and before, which wrote no number.
"""

LIBRARIES = {"safetensors": "checkpoints", "msgspec": "checkpoints", "matplotlib": "figures"}
"""Of the extra `train`: what a run needs them for."""


def check_libraries() -> None:
    """Raise MissingDependencyError before the work, where a run would fail for want of a library after it."""
    for library, use in LIBRARIES.items():
        try:
            importlib.import_module(library)
        except ImportError as error:
            raise MissingDependencyError(
                f"{use} need {library}, which is not installed: pip install 'minattn[train]'"
            ) from error


def check_unused(folder: Path) -> None:
    """Raise CheckpointError where a new run would mix with what is in `folder` already."""
    check_writable(folder)
    if os.path.lexists(folder / CONFIG):
        raise CheckpointError(
            f"{folder} holds a run already; hint: continue it by --resume {folder}, choose another folder by "
            "--out, or delete this one"
        )
    if folder.exists() and set(folder.iterdir()) - set(folder.glob(TEMPORARY)):
        raise CheckpointError(f"{folder} is not empty; hint: a new folder by --out")


def check_writable(folder: Path, hint: str = "another folder by --out") -> None:
    """Raise CheckpointError where `folder` is a file, or can neither be written to nor made."""
    try:
        nearest = next(path for path in (folder, *folder.absolute().parents) if path.is_symlink() or path.exists())
    except OSError as error:
        raise CheckpointError(
            f"{folder} cannot be made: {error.strerror}; hint: {hint_for_write_error(error)}"
        ) from error
    if not nearest.exists():
        raise CheckpointError(f"{nearest} is a link to a folder that is not there; hint: {hint}")
    if not nearest.is_dir():
        raise CheckpointError(f"{nearest} is a file, not a folder; hint: {hint}")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise CheckpointError(f"{nearest} cannot be written to; hint: {hint}")


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Within the block no other process trains in this folder, and what a killed one left unfinished is removed.

    The lock is the system's and ends with the process, however that ends.  (Windows, and some network file systems,
    have no such lock for a folder; there nothing is locked.)
    Raises CheckpointError where another process has the lock.
    """
    if sys.platform == "win32":
        yield
        return
    import fcntl

    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise CheckpointError(
                f"another process is training in {folder}; hint: wait until it is done, or another folder"
            ) from error
        except OSError:  # a file system without locks
            pass
        for path in folder.glob(TEMPORARY):
            path.unlink(missing_ok=True)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def new_run(folder: Path, content: dict[str, Any]) -> Iterator[None]:
    """Make the folder of a new run, with `content` and the versions as its config.json; it starts within the block.

    Where it fails before it has a checkpoint, nothing that was made stays.
    """
    made: list[Path] = []
    try:
        try:
            for path in reversed((folder, *folder.parents)):
                if not path.is_dir() and _make(path):
                    made.insert(0, path)
        except OSError as error:
            raise CheckpointError(
                f"{folder} cannot be made: {error.strerror}; hint: {hint_for_write_error(error)}"
            ) from error
        with locked(folder):
            check_unused(folder)  # again: another process may have been quicker
            try:
                write_json(folder / CONFIG, {"format": FORMAT, "minattn": __version__, **content})
                yield
            except BaseException:
                if not (folder / LAST).exists():
                    for name in (CONFIG, LOG):
                        with contextlib.suppress(OSError):
                            (folder / name).unlink()
                raise
    except BaseException:
        for path in made:  # those that are empty
            with contextlib.suppress(OSError):
                path.rmdir()
        raise


def _make(folder: Path) -> bool:
    """Make a folder; False where another process was quicker."""
    try:
        folder.mkdir()
    except FileExistsError:
        if not folder.is_dir():
            raise
        return False
    return True


def read_run(folder: Path, task: str | None = None) -> dict[str, Any]:
    """Return the content of a run's config.json.

    Raises CheckpointError where the folder is none that this task (None: any) made, where the file is damaged, and
    where another version of minattn made it that stored runs in another way.
    """
    hint = f"hint: a folder that `minattn train {task or 'TASK'}` made"
    try:
        if not folder.is_dir():
            problem = "is a file, not a run's folder" if folder.exists() else "does not exist"
            raise CheckpointError(f"{folder} {problem}; {hint}")
        there = (folder / CONFIG).is_symlink() or (folder / CONFIG).exists()
    except OSError as error:
        raise CheckpointError(f"{folder} cannot be read: {error.strerror}; {hint}, and that may be read") from error
    if not there:
        raise CheckpointError(f"{folder} is not a run's folder: it has no {CONFIG}; {hint}")
    content = read_json(folder / CONFIG)
    if content.get("format") != FORMAT:
        maker = "0.1.0, before runs recorded their version"
        if "minattn" in content:
            maker = f"{content['minattn']}, in format {content.get('format')}"
        raise CheckpointError(
            f"{folder} was made by minattn {maker}; this is minattn {__version__}, which reads format {FORMAT}; "
            "hint: the minattn that made it, or a new run"
        )
    if task is not None and content.get("task") != task:
        raise CheckpointError(f"{folder} is a run of {content.get('task', 'an unknown task')}, not of {task}; {hint}")
    return content


def is_finished(folder: Path) -> bool:
    """True where the run was trained to its end and scored."""
    return (folder / REPORT).exists()


def has_started(folder: Path) -> bool:
    """True where training has left something: a checkpoint, or a log with a line in it."""
    log = folder / LOG
    return os.path.lexists(folder / LAST) or (log.exists() and log.stat().st_size > 0)
