"""Text and JSON files that are written whole or not at all, and JSON that is read with care."""

import json
from pathlib import Path
from typing import Any

from minattn.errors import CheckpointError, hint_for_write_error
from minattn.whole_files import read_at_most, write_whole

LONGEST = 64 << 20  # bytes of a JSON file
HINT = "hint: restore the file, or a new run"


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write `content` as readable JSON.  Errors as of `write_text`."""
    write_text(path, json.dumps(content, indent=2) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a file: whole, or not at all.

    Raises CheckpointError where it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, text.encode("utf-8"))
    except OSError as error:
        raise CheckpointError(
            f"{path} cannot be written: {error.strerror}; hint: {hint_for_write_error(error)}"
        ) from error


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a file that `write_json` wrote.

    Raises CheckpointError where it is missing, cut off or something else.
    """
    try:
        content = json.loads(read_at_most(path, LONGEST))
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}; {HINT}") from error
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is damaged: it is no JSON ({error}); {HINT}") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} is damaged: it holds no JSON object; {HINT}")
    return content
