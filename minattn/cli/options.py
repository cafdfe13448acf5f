"""Commands made from tasks: the annotations of dataclasses and functions become options and arguments, with help."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from minattn.cli.app import option
from minattn.tasks.fields import Field, check_value, fields_of
from minattn.tasks.registry import TASKS
from minattn.tasks.task import Task

METAVARS = {int: "N", float: "X", str: "TEXT"}


class CommandsOfTasks(TyperGroup):
    """A group of commands, one for each task, also for those that come into the registry later."""

    def tasks(self) -> Mapping[str, Task]:
        """The tasks that have a command here."""
        return TASKS

    def list_commands(self, ctx: Any) -> list[str]:
        return list(self.tasks())

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        with formatter.section("Tasks"):
            formatter.write_dl([(name, self.get_command(ctx, name).help) for name in self.list_commands(ctx)])


def command(
    name: str,
    text: str,
    parameters: Iterable[inspect.Parameter],
    run: Callable[..., Any],
    cls: type[TyperCommand] = TyperCommand,
) -> TyperCommand:
    """The command that calls `run` with the values of the parameters, each by its name."""

    def callback(**values: Any) -> None:
        run(**values)

    callback.__signature__ = inspect.Signature(list(parameters))  # type: ignore[attr-defined]
    callback.__annotations__ = {}
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    app.command(name, help=text, cls=cls)(callback)
    return typer.main.get_command(app)


def parameter(name: str, annotation: Any, default: Any = inspect.Parameter.empty) -> inspect.Parameter:
    """A parameter of a command, annotated as typer reads it."""
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def option_of(field: Field, default: Any) -> inspect.Parameter:
    """The option `--name` of a field."""
    kind = option(_sentence(field.help), f"--{field.name.replace('_', '-')}", metavar=_metavar(field))
    return parameter(field.name, Annotated[field.kind, kind], default)


def argument_of(field: Field, default: Any) -> inspect.Parameter:
    """The argument of a field; with a default it may be left out."""
    argument = typer.Argument(metavar=_metavar(field), help=_sentence(field.help), show_default=False)
    return parameter(field.name, Annotated[field.kind, argument], default)


def options_of(dataclass: type) -> list[inspect.Parameter]:
    """An option for each field of a dataclass; None where it is not given."""
    return [option_of(field, None) for field in fields_of(dataclass)]


class TaskParameters:
    """The parameters that a task's method has beside those of `Task`'s: what the task adds to a command."""

    def __init__(self, method: Callable[..., Any], base: Callable[..., Any]) -> None:
        common = inspect.signature(base).parameters
        self._own = [
            found for name, found in inspect.signature(method, eval_str=True).parameters.items() if name not in common
        ]
        self._fields = {found.name: Field.of(found.name, found.annotation) for found in self._own}
        self.positional = [found.name for found in self._own if found.kind is not inspect.Parameter.KEYWORD_ONLY]
        self.help = (inspect.getdoc(method) or "").partition("\n\n")[0]

    def parameters(self) -> list[inspect.Parameter]:
        """An argument for each positional parameter, an option for each that is keyword-only."""
        return [
            (argument_of if found.name in self.positional else option_of)(self._fields[found.name], found.default)
            for found in self._own
        ]

    def check(self, values: Mapping[str, Any]) -> None:
        """Raise ConfigError for a value that is out of the bounds of its parameter."""
        for name, field in self._fields.items():
            if field.bound:
                check_value(f"--{name.replace('_', '-')}", values[name], field)


def _metavar(field: Field) -> str | None:
    kinds = [kind for kind in METAVARS if field.kind in (kind, kind | None)]
    return field.metavar or (METAVARS[kinds[0]] if kinds else None)


def _sentence(text: str) -> str:
    """A help text, which is lower case and without a period, as a sentence; a "[default: ..]" stays behind it."""
    meaning, bracket, default = text.partition("  [")
    return f"{meaning[:1].upper()}{meaning[1:]}.{bracket}{default}" if meaning else ""
