"""The log of a run: one JSON object a line."""

import json
import math
import os
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from minattn.errors import TrainingError
from minattn.whole_files import check_regular


class JsonLog:
    """Appends records to a JSON-lines file; each is out of this process when `write` returns.

    length: a log that is there already is cut back to this many bytes first, so that a resumed run writes again what
    it does again.  One that is shorter, as after a power failure, may end within a line: that line is ended.
    Raises TrainingError where the file cannot be written, or is none.
    """

    def __init__(self, path: Path, length: int = 0) -> None:
        self.path = path
        try:
            cut = False
            if path.exists():
                check_regular(path)
                cut = _cut_back(path, length)
            self._file = path.open("a", encoding="utf-8")
            if cut:
                self._file.write("\n")
        except OSError as error:
            raise self._failure(error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        with suppress(OSError):  # every record was flushed, or has raised its error then
            self._file.close()

    def write(self, record: dict[str, Any]) -> None:
        """Append one record.  Numbers that are not finite become null, which JSON has instead."""
        try:
            self._file.write(json.dumps(_finite(record), allow_nan=False) + "\n")
            self._file.flush()
        except OSError as error:
            raise self._failure(error) from error

    @property
    def length(self) -> int:
        """Bytes in the file.  Raises TrainingError where it is gone."""
        try:
            return self.path.stat().st_size
        except OSError as error:
            raise self._failure(error) from error

    def _failure(self, error: OSError) -> TrainingError:
        return TrainingError(
            f"the log {self.path} cannot be written: {error.strerror}; hint: free space or choose a folder that "
            "can be written to, then resume the run from its last checkpoint"
        )


def _cut_back(path: Path, length: int) -> bool:
    """Cut a file back to this many bytes at most; True where its last line is not whole then."""
    if path.stat().st_size > length:
        os.truncate(path, length)
    with open(path, "rb") as file:
        if not file.seek(0, os.SEEK_END):
            return False
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
