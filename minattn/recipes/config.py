"""Settings of a recipe: a frozen dataclass, changed by `key=value`, written to and read from a run's folder."""

import dataclasses
import json
import types
import typing
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

from minattn.errors import CheckpointError, ConfigError

Config = TypeVar("Config")


def with_settings(config: Config, settings: Iterable[str]) -> Config:
    """`config` with settings of the form "key=value" applied; values are read by the type of the key's field.

    Raises ConfigError for a key that does not exist, naming the ones that do, and for a value of another type.
    """
    fields = {field.name: field for field in dataclasses.fields(config)}  # type: ignore[arg-type]
    hints = typing.get_type_hints(type(config))
    changes: dict[str, Any] = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals:
            raise ConfigError(f"a setting has the form key=value, got {setting!r}")
        if key not in fields:
            raise ConfigError(f"there is no setting {key!r}; the settings are {', '.join(fields)}")
        changes[key] = _parsed(key, text, hints[key])
    return dataclasses.replace(config, **changes)  # type: ignore[type-var]


def _parsed(key: str, text: str, kind: Any) -> Any:
    if typing.get_origin(kind) is typing.Literal:
        choices = typing.get_args(kind)
        if text in choices:
            return text
        raise ConfigError(f"{key} must be one of {', '.join(choices)}, got {text!r}")
    if typing.get_origin(kind) in (typing.Union, types.UnionType):  # X | None
        if text.lower() == "none":
            return None
        kind = next(k for k in typing.get_args(kind) if k is not type(None))
    if kind is bool:
        if text.lower() in ("true", "false"):
            return text.lower() == "true"
        raise ConfigError(f"{key} must be true or false, got {text!r}")
    try:
        return kind(text)
    except ValueError as error:
        raise ConfigError(f"{key} must be of type {kind.__name__}, got {text!r}") from error


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write `content` as readable JSON: whole, or not at all.

    Raises CheckpointError where the file cannot be written.
    """
    temporary = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise CheckpointError(
            f"{path} cannot be written: {error.strerror}; the cure: free space, or another folder"
        ) from error


def read_json(path: Path) -> dict[str, Any]:
    """The content of a file that `write_json` wrote.

    Raises CheckpointError where it is missing, cut or not such a file.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CheckpointError(
            f"{path.parent} is not a run folder: it has no {path.name}; the cure: a folder that `minattn train` made"
        ) from error
    except NotADirectoryError as error:
        raise CheckpointError(f"{path.parent} is a file, not a run folder") from error
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read as JSON ({error}); the run folder is damaged") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} does not hold a run's settings; the run folder is damaged")
    return content
