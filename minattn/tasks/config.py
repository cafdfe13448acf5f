"""The settings of a run: a frozen dataclass with the network's configuration in it, changed by `key=value`.

Annotations of fields say their meaning (`minattn.tasks.fields`).  `settings_of` lists them by path, such as "lr" or
"network.hidden"; `with_settings` changes them, `as_json` and `from_json` store them.
"""

import dataclasses
import difflib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, NamedTuple, TypeVar

from minattn.errors import CheckpointError, ConfigError, without_hint
from minattn.kinds import described, fits, parsed, shortened, shown
from minattn.nn import Parameter
from minattn.tasks.fields import Count, Field, NonNegative, Positive, check_value, fields_of
from minattn.training import Optimizer, Plan, Schedule

Config = TypeVar("Config")


@dataclass(frozen=True, kw_only=True)
class TaskConfig:
    """The settings that every run has; a task adds its own.

    Raises ConfigError for a setting of another type than its field's, or out of its bounds.
    """

    model: Annotated[str, "the network"]
    network: Any  # its configuration
    batch_size: Annotated[Count, "examples in a batch"]
    lr: Annotated[Positive, "the highest learning rate"]
    threads: Annotated[Count, "threads that share each batch"] = 1
    seed: Annotated[NonNegative, "decides the first parameters and the order of the data"] = 1

    from_data: ClassVar[tuple[str, ...]] = ()
    """Fields of the network's configuration that are filled in when the data are known, such as vocabulary sizes."""

    def __post_init__(self) -> None:
        for field in fields_of(self):
            check_value(field.name, getattr(self, field.name), field)
        if self.threads > self.batch_size:
            raise ConfigError(f"threads must be at most batch_size = {self.batch_size}, got {self.threads}")

    def plan(self) -> Plan:
        """The budget of training, the clipping and the intervals; the driver adds the metric."""
        raise NotImplementedError

    def optimizer(self, parameters: Mapping[str, Parameter]) -> Optimizer:
        """The optimizer of these parameters."""
        raise NotImplementedError

    def schedule(self, steps: int) -> Schedule:
        """The learning rate over a run of so many steps."""
        raise NotImplementedError


# ---------------------------------------------------------------------------------------------- settings
class Setting(NamedTuple):
    """A setting of a run: a field and its value."""

    field: Field
    value: Any


def settings_of(config: TaskConfig) -> dict[str, Setting]:
    """All settings by path, those of the network last, without those that the data decide."""
    found = {field.name: Setting(field, getattr(config, field.name)) for field in fields_of(config)}
    for name in (field.name for field in dataclasses.fields(config)):
        inner = getattr(config, name)
        if dataclasses.is_dataclass(inner):
            fields = [field for field in fields_of(inner) if field.name not in config.from_data]
            found |= {f"{name}.{field.name}": Setting(field, getattr(inner, field.name)) for field in fields}
    return found


def short_key(path: str, settings: Mapping[str, Any]) -> str:
    """The last name of a setting's path, where no other path ends so."""
    name = path.rpartition(".")[2]
    return name if sum(other.rpartition(".")[2] == name for other in settings) == 1 else path


def with_settings(config: TaskConfig, settings: Iterable[str]) -> Any:
    """`config` with settings of the form "key=value" applied; values are read by the type of the key's field.

    A key is a path, or its last name where no other path ends so.  Raises ConfigError for a key that does not exist,
    naming the nearest, and for a value of another type.
    """
    known = settings_of(config)
    changes: dict[str, Any] = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals:
            raise ConfigError(f"a setting has the form key=value, got {shown(setting)}; hint: --set lr=1e-3")
        path = _path_of(key, known)
        field = known[path].field
        try:
            changes[path] = parsed(text, field.kind)
        except ValueError:
            raise ConfigError(
                f"{key} must be {described(field.kind)}, got {shown(text)}; "
                f"hint: {key}={known[path].value} is the default"
            ) from None
    return replaced(config, changes)


def replaced(config: Config, changes: Mapping[str, Any]) -> Config:
    """A dataclass with the fields of these paths replaced."""
    own = {path: value for path, value in changes.items() if "." not in path}
    for name in {path.partition(".")[0] for path in changes if "." in path}:
        inner = {path.removeprefix(f"{name}."): value for path, value in changes.items() if path.startswith(f"{name}.")}
        own[name] = replaced(getattr(config, name), inner)
    return dataclasses.replace(config, **own)  # type: ignore[type-var]


def _path_of(key: str, known: Mapping[str, Any]) -> str:
    if key in known:
        return key
    found = [path for path in known if path.rpartition(".")[2] == key]
    if len(found) > 1:
        raise ConfigError(f"there are several settings {key!r}; hint: {' or '.join(found)}")
    if not found:
        names = [path.rpartition(".")[2] for path in known]
        raise unknown("setting", key, names, ", or another that minattn train TASK --help lists")
    return found[0]


def unknown(what: str, name: str, names: Iterable[str], others: str = "") -> ConfigError:
    """The error of a name that does not exist; its hint is the nearest ones and `others`, or all where none is near."""
    names = list(dict.fromkeys(names))
    near = difflib.get_close_matches(name.lower(), names, n=3, cutoff=0.6)
    hint = " or ".join(near) + others if near else f"one of {', '.join(names)}"
    return ConfigError(f"there is no {what} {shown(name)}; hint: {hint}")


# ---------------------------------------------------------------------------------------------- JSON
def as_json(config: Any) -> dict[str, Any]:
    """A dataclass as JSON values."""
    return json.loads(json.dumps(dataclasses.asdict(config)))


def from_json(template: Config, stored: Any, path: Path) -> Config:
    """The dataclass of the template's kind, all its fields as `as_json` stored them; path: the file they stand in.

    Raises CheckpointError naming the keys that are missing or unknown and the values that do not fit.
    """
    wrong: list[str] = []
    config = template
    try:
        config = _restored(template, stored, "", wrong)
    except ConfigError as error:
        wrong.append(without_hint(error))
    if wrong:
        kind = type(template).__name__
        raise CheckpointError(
            f"{path} does not hold the settings of this version's {kind}: {'; '.join(wrong[:20])}; "
            "hint: the minattn version that made the run, or a new run"
        )
    return config


def _restored(template: Any, stored: Any, prefix: str, wrong: list[str]) -> Any:
    """The dataclass, or None where something is wrong with it."""
    stored = stored if isinstance(stored, dict) else {}
    names = [field.name for field in dataclasses.fields(template)]
    before = len(wrong)
    wrong += [f"it lacks {prefix + name!r}" for name in names if name not in stored]
    wrong += [f"it has {prefix + key!r}, which is none of them" for key in stored if key not in names]
    values = {}
    for field in fields_of(template):
        if field.name in stored:
            value = stored[field.name]
            values[field.name] = tuple(value) if isinstance(value, list) else value
            if not fits(values[field.name], field.kind):
                wrong.append(
                    f"{prefix}{field.name} is {shortened(json.dumps(value))} and must be {described(field.kind)}"
                )
    for name in names:
        if name in stored and dataclasses.is_dataclass(inner := getattr(template, name)):
            values[name] = _restored(inner, stored[name], f"{prefix}{name}.", wrong)
    return None if len(wrong) > before else type(template)(**values)
