"""Settings of a recipe: a frozen dataclass, changed by `key=value`, written to and read from JSON."""

import contextlib
import dataclasses
import json
import types
import typing
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

from minattn.errors import CheckpointError, ConfigError, hint_for_write_error

Config = TypeVar("Config")

KIND_NAMES = {int: "a whole number", float: "a number", bool: "true or false", str: "text", types.NoneType: "none"}


def with_settings(config: Config, settings: Iterable[str]) -> Config:
    """`config` with settings of the form "key=value" applied; values are read by the type of the key's field.

    Raises ConfigError for a key that does not exist, naming the ones that do, and for a value of another type.
    """
    hints = typing.get_type_hints(type(config))
    changes: dict[str, Any] = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals:
            raise ConfigError(f"a setting has the form key=value, got {setting!r}")
        if key not in hints:
            raise ConfigError(f"there is no setting {key!r}; the settings are {', '.join(hints)}")
        changes[key] = _parsed(key, text, hints[key])
    return dataclasses.replace(config, **changes)  # type: ignore[type-var]


def _parsed(key: str, text: str, kind: Any) -> Any:
    """The value of type `kind` that `text` writes."""
    value: Any = None
    if typing.get_origin(kind) is typing.Literal:
        value = text
    elif kind is bool:
        value = {"true": True, "false": False}.get(text.lower())
    else:
        with contextlib.suppress(ValueError):
            value = kind(text)
    if not _fits(value, kind):
        raise ConfigError(f"{key} must be {_described(kind)}, got {text!r}")
    return value


ADDED = {"threads": 1}
"""Settings that runs of earlier versions do not name, and what these did."""


def completed(stored: Any) -> Any:
    """The settings of a run as this version would have stored them; `stored` is what `dataclasses.asdict` made once."""
    return {**ADDED, **stored} if isinstance(stored, dict) else stored


def from_stored(kind: type[Config], stored: Any, path: Path) -> Config:
    """The dataclass `kind` from the JSON object that `dataclasses.asdict` made of it once; path: where it stood.

    Raises CheckpointError naming the keys that are missing or unknown and the values that do not fit.
    """
    hints = typing.get_type_hints(kind)
    stored = stored if isinstance(stored, dict) else {}
    stored = {**{key: value for key, value in ADDED.items() if key in hints}, **stored}
    wrong = [f"it lacks {key!r}" for key in hints if key not in stored]
    wrong += [f"it has {key!r}, which is none of them" for key in stored if key not in hints]
    wrong += [
        f"{key} is {json.dumps(stored[key])} and must be {_described(hint)}"
        for key, hint in hints.items()
        if key in stored and not _fits(stored[key], hint)
    ]
    if not wrong:
        try:
            return kind(**stored)
        except ConfigError as error:
            wrong.append(str(error))
    raise CheckpointError(
        f"{path} does not hold the settings of this version's {kind.__name__}: {'; '.join(wrong)}; "
        "hint: the minattn version that made the run, or a new run"
    )


def check_kinds(config: Any) -> None:
    """Raise ConfigError for a setting of another type than that of its field, which Python does not look at."""
    for key, kind in typing.get_type_hints(type(config)).items():
        value = getattr(config, key)
        if not _fits(value, kind):
            raise ConfigError(f"{key} must be {_described(kind)}, got {value!r}; hint: another value")


def _fits(value: Any, kind: Any) -> bool:
    if typing.get_origin(kind) is typing.Literal:
        return value in typing.get_args(kind)
    if typing.get_origin(kind) is types.UnionType:
        return any(_fits(value, choice) for choice in typing.get_args(kind))
    if kind is float:
        return type(value) in (int, float)
    return type(value) is kind


def _described(kind: Any) -> str:
    if typing.get_origin(kind) is typing.Literal:
        return f"one of {', '.join(typing.get_args(kind))}"
    if typing.get_origin(kind) is types.UnionType:
        return " or ".join(_described(choice) for choice in typing.get_args(kind))
    return KIND_NAMES[kind]


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
    """The object in a file that `write_json` wrote.

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
