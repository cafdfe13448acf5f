"""Figures, and other results, to files: all of it, or nothing."""

import io
import os
from pathlib import Path
from typing import TYPE_CHECKING

from minattn.errors import ConfigError, MinattnError, hint_for_write_error
from minattn.viz.style import drawing_style, require_matplotlib
from minattn.whole_files import temporary_beside, write_whole

if TYPE_CHECKING:
    import matplotlib.figure

# Without a date, the same figure gives the same bytes, and a repository of figures changes only where they do.
METADATA = {".png": {}, ".svg": {"Date": None}, ".pdf": {"CreationDate": None}}


def save_figure(figure: "matplotlib.figure.Figure", path: str | os.PathLike[str]) -> Path:
    """Write a figure as PNG, SVG or PDF, by the suffix of `path`; returns the path.

    The file appears complete or not at all: it is written beside its place and moved there at the end, and a file that
    already stood there is kept until then.

    Raises `ConfigError` for another suffix and for a place where there can be no such file, `MinattnError` where the
    file cannot be written whole (a full disk), `MissingDependencyError` where matplotlib is not installed.
    """
    path = Path(path)
    check_figure_path(path)
    suffix = path.suffix.lower()
    content = io.BytesIO()
    with drawing_style():
        figure.savefig(content, format=suffix[1:], metadata=METADATA[suffix])
    write_atomically(path, content.getvalue())
    return path


def check_figure_path(path: Path) -> None:
    """Raise what `save_figure` would raise for this path, before the work of drawing."""
    if path.suffix.lower() not in METADATA:
        raise ConfigError(f"cannot save a figure as {path.name!r}: its name must end in {', '.join(METADATA)}")
    check_file_place(path)
    require_matplotlib()


def check_file_place(path: Path) -> None:
    """Raise ConfigError unless a file can be written at `path`: tried with an empty one beside it, which goes again."""
    if not path.parent.is_dir():
        raise ConfigError(f"cannot save {path}: there is no folder {path.parent}; create it first")
    if path.is_dir():
        raise ConfigError(f"cannot save {path}: it is a folder; hint: the name of a file")
    temporary = temporary_beside(path)
    try:
        temporary.touch()
        temporary.unlink()
    except OSError as error:
        raise ConfigError(f"cannot save {path}: {error.strerror}; hint: {hint_for_write_error(error)}") from error


def write_atomically(path: Path, content: bytes) -> None:
    """`write_whole`, which raises `MinattnError` where the file cannot be written."""
    try:
        write_whole(path, content)
    except OSError as error:
        hint = hint_for_write_error(error)
        raise MinattnError(f"{path} cannot be written: {error.strerror}; hint: {hint}") from error
