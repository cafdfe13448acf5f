"""Text and JSON files that are written whole or not at all."""

import contextlib
import json
from pathlib import Path
from typing import Any

from minattn.errors import CheckpointError, hint_for_write_error


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write `content` as readable JSON.  Errors as of `write_text`."""
    write_text(path, json.dumps(content, indent=2) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a file: whole, or not at all.

    Raises CheckpointError where it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(text, encoding="utf-8", newline="\n")
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise CheckpointError(
            f"{path} cannot be written: {error.strerror}; hint: {hint_for_write_error(error)}"
        ) from error


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a file that `write_json` wrote.

    Raises CheckpointError where it is missing, cut off or something else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise CheckpointError(
            f"{path} is damaged: it is no JSON ({error}); hint: restore the file, or a new run"
        ) from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} is damaged: it holds no JSON object; hint: restore the file, or a new run")
    return content
