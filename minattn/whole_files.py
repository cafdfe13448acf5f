"""Files that are written whole or not at all, and read only where they are files of a size that can be meant."""

import errno
import os
import stat
from pathlib import Path

PathLike = str | os.PathLike[str]

TEMPORARY = ".*.tmp"
"""The names of files that are not whole yet; where a process was killed, one may be left."""


def temporary_beside(path: Path) -> Path:
    """Where this process writes what is to be at `path`."""
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


def write_whole(path: Path, content: bytes) -> None:
    """Write beside `path`, wait for the disk, then move into place: the move is one step for everybody who looks.

    Raises OSError where it cannot be written; whatever stops it, what stood there before is untouched, and nothing else
    is left.
    """
    temporary = temporary_beside(path)
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def check_regular(path: PathLike) -> None:
    """Raise OSError where there is no file at `path`, or what is there may have no end, such as a pipe or a device."""
    mode = os.stat(path).st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "It is a pipe or a device, not a file", str(path))


def read_at_most(path: PathLike, most: int) -> bytes:
    """The bytes of a file.  Raises OSError as `check_regular` does, and where there are more than `most`."""
    check_regular(path)
    with open(path, "rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, f"It is longer than the {most:,} bytes that are read", str(path))
    return content


def _sync_folder(folder: Path) -> None:
    """Wait until the folder's own entry of the new name is on the disk; Windows has no way to."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
