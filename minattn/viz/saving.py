"""Pictures to files: all of the picture, or nothing."""

import io
import os
from pathlib import Path
from typing import TYPE_CHECKING

from minattn.errors import ConfigError, MinattnError
from minattn.viz.style import drawing_style, require_matplotlib

if TYPE_CHECKING:
    import matplotlib.figure

# Without a date, the same picture gives the same bytes, and a repository of pictures changes only where they do.
METADATA = {".png": {}, ".svg": {"Date": None}, ".pdf": {"CreationDate": None}}


def save_figure(figure: "matplotlib.figure.Figure", path: str | os.PathLike[str]) -> Path:
    """Write a figure as PNG, SVG or PDF, by the suffix of `path`; returns the path.

    The file appears complete or not at all: it is written beside its place and moved there at the end, and a file that
    already stood there is kept until then.

    Raises `ConfigError` for another suffix or a folder that does not exist, `MinattnError` where the file cannot be
    written (a full disk, no permission), `MissingDependencyError` where matplotlib is not installed.
    """
    path = Path(path)
    check_picture_path(path)
    suffix = path.suffix.lower()
    picture = io.BytesIO()
    with drawing_style():
        figure.savefig(picture, format=suffix[1:], metadata=METADATA[suffix])
    write_atomically(path, picture.getvalue())
    return path


def check_picture_path(path: Path) -> None:
    """Raise what `save_figure` would raise for this path, before the work of drawing."""
    if path.suffix.lower() not in METADATA:
        raise ConfigError(f"cannot save a picture as {path.name!r}: its name must end in {', '.join(METADATA)}")
    if not path.parent.is_dir():
        raise ConfigError(f"cannot save the picture {path.name!r}: there is no folder {path.parent}; create it first")
    require_matplotlib()


def write_atomically(path: Path, content: bytes) -> None:
    """Write `content` to a temporary file in the same folder and move it to `path`; on failure leave nothing behind."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    except OSError as error:
        raise MinattnError(f"could not write the picture {path}: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)
