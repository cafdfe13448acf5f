"""`minattn train TASK`: train a task's model, or resume a run that was stopped."""

import dataclasses
import shlex
import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from minattn import __version__
from minattn.cli.app import INTERRUPTED, Device, app, console, option
from minattn.cli.options import CommandsOfTasks, command, options_of, parameter
from minattn.errors import CheckpointError, ConfigError
from minattn.kinds import type_name
from minattn.tasks import driver
from minattn.tasks.config import Setting, settings_of, short_key
from minattn.tasks.files import read_json
from minattn.tasks.registry import TASKS, task_named
from minattn.tasks.run_folder import REPORT, has_started, is_finished
from minattn.tasks.task import Task
from minattn.training import Outcome

Out = Annotated[Path | None, option("The run's folder, a new one.  [default: runs/TASK]", metavar="FOLDER")]
Resume = Annotated[Path | None, option("Continue a run that was stopped.", metavar="RUN")]
Seed = Annotated[
    int | None, option("Decides the first parameters and the order of the data.  [default: 1]", metavar="N")
]
Settings = Annotated[
    list[str] | None, option("Change a setting, as lr=1e-3; repeatable.", "--set", metavar="KEY=VALUE")
]


class Tasks(CommandsOfTasks):
    """`minattn train`: a command for each task."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args:
            raise ConfigError(f"the task is missing; hint: minattn train {' or '.join(TASKS)}")
        return super().parse_args(ctx, args)

    def get_command(self, ctx: Any, cmd_name: str) -> TyperCommand:
        return train_command(task_named(cmd_name))


app.add_typer(
    typer.Typer(),
    name="train",
    cls=Tasks,
    subcommand_metavar="TASK [OPTIONS]",
    help="Train a model, and leave a folder with its checkpoints, log, score and figures.  "
    "minattn train TASK --help lists the task's options and settings.",
)


def train_command(task: Task) -> TyperCommand:
    """The command that trains this task's model."""

    class WithSettings(TyperCommand):
        """A command whose help lists the task's settings."""

        def format_epilog(self, ctx: Any, formatter: Any) -> None:
            for heading, rows in help_of_settings(task).items():
                with formatter.section(heading):
                    formatter.write_dl(rows)

    shown = ", ".join(task.shown_models)
    others = ", or another that minattn summary lists" if len(task.models) > len(task.shown_models) else ""
    model = Annotated[str | None, option(f"The network: {shown}{others}.", metavar="NAME")]
    parameters = [
        *([parameter("model", model, None)] if len(task.models) > 1 else []),
        parameter("out", Out, None),
        parameter("resume", Resume, None),
        parameter("device", Device, "cpu"),
        parameter("seed", Seed, None),
        parameter("settings", Settings, None),
        *options_of(task.source),
    ]
    return command(task.name, task.help, parameters, lambda **values: train(task, **values), WithSettings)


def help_of_settings(task: Task) -> dict[str, list[tuple[str, str]]]:
    """By heading, the key of each setting with its meaning, type and default: first those of all models."""
    models = {name: settings_of(task.default(name)) for name in task.shown_models}
    first, *others = models.values()
    common = [path for path in first if all(found.get(path) == first[path] for found in others)]
    groups: dict[tuple[str, ...], list[str]] = {tuple(common): []}
    for name, settings in models.items():
        own = tuple(path for path in settings if path not in common and path != "model")
        groups.setdefault(own, []).append(name)
    return {
        f"Settings of --model {', '.join(names)}" if names else "Settings (--set KEY=VALUE)": [
            _row(path, {name: models[name] for name in names or task.shown_models}) for path in paths
        ]
        for paths, names in groups.items()
        if paths
    }


def _row(path: str, models: Mapping[str, Mapping[str, Setting]]) -> tuple[str, str]:
    """The key of a setting, and its meaning, type and default; of several defaults that of each model."""
    first = next(iter(models.values()))
    field, default = first[path]
    defaults = {name: settings[path].value for name, settings in models.items()}
    if any(other != default for other in defaults.values()):
        default = ", ".join(f"{value} for {name}" for name, value in defaults.items())
    return short_key(path, first), f"{field.help}  [{type_name(field.kind)}, default: {default}]".strip()


def train(
    task: Task,
    out: Path | None,
    resume: Path | None,
    device: str,
    seed: int | None,
    settings: list[str] | None,
    model: str | None = None,
    **data: Any,
) -> None:
    """Train a new run of a task, or resume one."""
    if resume is not None:
        given = {"model": model, "out": out, "seed": seed, "set": settings, **data}
        if extra := [f"--{name.replace('_', '-')}" for name, value in given.items() if value is not None]:
            raise ConfigError(f"--resume continues the run as it was started, so {', '.join(extra)} cannot be given")
        _resume(task, resume, device)
        return
    source = task.source(**{name: value for name, value in data.items() if value is not None})
    config = task.configure(settings or [], model, source)
    config = config if seed is None else dataclasses.replace(config, seed=seed)
    folder = out or Path("runs") / task.name

    def announce() -> None:
        _describe(task, config, folder, device)

    _see_through(task, lambda: driver.start(task, config, source, folder, device, announce=announce), folder)


def _resume(task: Task, folder: Path, device: str) -> None:
    config = driver.StoredRun.read(folder, task.name).config
    if is_finished(folder):
        console.print(f"{folder} is finished: there is nothing to resume.")
        console.print(results(task, folder))
        budget = "steps" if config.plan().steps is not None else "epochs"
        console.print(f"to train longer:  minattn train {task.name} --out ANOTHER_FOLDER --set {budget}=N")
        return

    def announce() -> None:
        _describe(task, config, folder, device)

    _see_through(task, lambda: driver.resume(folder, device, announce=announce), folder)


def _describe(task: Task, config: Any, folder: Path, device: str) -> None:
    console.print(f"minattn {__version__}: {task.name} on {device}, into {folder}")
    settings = settings_of(config)
    line = "  ".join(f"{short_key(path, settings)}={setting.value}" for path, setting in settings.items())
    console.print(textwrap.indent(textwrap.fill(line, console.width - 2), "  "))


def _see_through(task: Task, work: Callable[[], Outcome], folder: Path) -> None:
    """Do the work of a run; tell where the results are, or how to resume after Ctrl-C."""
    try:
        outcome = work()
        stopped = f"stopped after step {outcome.step:,} and saved" if outcome.interrupted else ""
    except KeyboardInterrupt:
        if not has_started(folder):
            raise
        stopped = f"stopped at once; {folder} is as it was saved last"
    if stopped:
        console.print(f"{stopped}.  To resume:\n  minattn train {task.name} --resume {shlex.quote(str(folder))}")
        raise typer.Exit(INTERRUPTED)
    console.print(results(task, folder))


def results(task: Task, folder: Path) -> str:
    """The score of a finished run, its figures, and what to do next."""
    report = read_json(folder / REPORT)
    example = task.example(driver.StoredRun.read(folder).source)
    try:
        lines = {
            "test": task.summary(report["test"]),
            **task.remarks(report),
            "figures": "  ".join(str(folder / name) for name in report["figures"] if (folder / name).exists()),
            "now try": f"minattn {task.command} {shlex.quote(str(folder))} {example}".rstrip(),
        }
    except (AttributeError, LookupError, TypeError, ValueError, OSError) as error:
        raise CheckpointError(
            f"{folder / REPORT} is damaged: it is no report of {task.name} ({error!r}); hint: remove it, and resume"
        ) from error
    return "\n".join(f"{heading + ':':<{max(map(len, lines)) + 2}} {line}" for heading, line in lines.items())
