"""The folder of a run: what lies in it, how it begins, and how it is recognized.

config.json            the recipe, its settings, where its data was and the data's fingerprints
log.jsonl              a line every few steps and at every evaluation
last.safetensors       where the run stands: it can be resumed from here
best.safetensors       the model that did best on the development words, text or images
report.json            the score on the test words, text or images; written last, so it marks a run that is finished
curves.png             how training went
alignments.png         g2p: where the model looks
maps.png               images: where the model looks
samples.txt            lm: what the model wrote at each evaluation
"""

import contextlib
import importlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from minattn.errors import CheckpointError, MissingDependencyError, hint_for_write_error
from minattn.tasks.config import read_json, write_json
from minattn.training import LAST, LOG

CONFIG, REPORT, CURVES = "config.json", "report.json", "curves.png"
ALIGNMENTS, MAPS, SAMPLES = "alignments.png", "maps.png", "samples.txt"

LIBRARIES = {"safetensors": "checkpoints", "matplotlib": "pictures"}  # of the extra `train`: what a run needs them for


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
    if (folder / CONFIG).exists():
        raise CheckpointError(
            f"{folder} holds a run already; hint: go on with it by --resume {folder}, choose another folder by "
            "--out, or delete this one"
        )
    if folder.exists() and any(folder.iterdir()):
        raise CheckpointError(f"{folder} is not empty; hint: a new folder by --out")


def check_writable(folder: Path) -> None:
    """Raise CheckpointError where `folder` is a file, or can neither be written to nor made."""
    try:
        nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    except OSError as error:
        raise CheckpointError(
            f"{folder} cannot be made: {error.strerror}; hint: {hint_for_write_error(error)}"
        ) from error
    if not nearest.is_dir():
        raise CheckpointError(f"{nearest} is a file, not a folder; hint: another folder by --out")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise CheckpointError(f"{nearest} cannot be written to; hint: another folder by --out")


@contextlib.contextmanager
def new_run(folder: Path, content: dict[str, Any]) -> Iterator[None]:
    """Make the folder of a new run, with `content` as its config.json; the run begins within the `with` block.

    Where it fails before it has a checkpoint, nothing that was made stays.
    """
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        write_json(folder / CONFIG, content)
        yield
    except BaseException:
        if not (folder / LAST).exists():
            for name in (CONFIG, LOG):
                with contextlib.suppress(OSError):
                    (folder / name).unlink()
            for path in made:  # the last of them may not have been made
                with contextlib.suppress(OSError):
                    path.rmdir()
        raise


def read_run(folder: Path, *recipes: str) -> dict[str, Any]:
    """The content of a run's config.json.

    Raises CheckpointError where the folder is none that one of these recipes made, or the file is damaged.
    """
    hint = f"hint: a folder that {' or '.join(f'`minattn train {recipe}`' for recipe in recipes)} made"
    if not folder.is_dir():
        what = "is a file, not a run's folder" if folder.exists() else "does not exist"
        raise CheckpointError(f"{folder} {what}; {hint}")
    if not (folder / CONFIG).exists():
        raise CheckpointError(f"{folder} is not a run's folder: it has no {CONFIG}; {hint}")
    content = read_json(folder / CONFIG)
    if content.get("recipe") not in recipes:
        made_by = content.get("recipe", "an unknown recipe")
        raise CheckpointError(f"{folder} is a run of {made_by}, not of {' or '.join(recipes)}; {hint}")
    return content


def recipe_of(folder: Path, *recipes: str) -> str:
    """Which of these recipes made a run's folder.  Errors as of `read_run`."""
    return str(read_run(folder, *recipes)["recipe"])


def is_finished(folder: Path) -> bool:
    """Whether the run was trained to its end and scored."""
    return (folder / REPORT).exists()


def has_begun(folder: Path) -> bool:
    """Whether training has left something: a checkpoint, or a log with a line in it."""
    log = folder / LOG
    return (folder / LAST).exists() or (log.exists() and log.stat().st_size > 0)
