"""`minattn evaluate RUN` and `minattn predict RUN ..`: score a run's best model, and ask it; the task has the options.

A task whose command of prediction is another one, such as `generate`, makes that command.
"""

import sys
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from typer.core import TyperCommand

from minattn.cli.app import Device, app, console, errors, note_unfinished, option
from minattn.cli.options import CommandsOfTasks, TaskParameters, command, parameter
from minattn.errors import CheckpointError, ConfigError, visible
from minattn.tasks import driver
from minattn.tasks.registry import TASKS
from minattn.tasks.task import Task
from minattn.training import Progress
from minattn.training.progress import patient_progress

Test = Annotated[str | None, option("Other data to score, in the form of the training data.", "--test", metavar="PATH")]


class Runs(CommandsOfTasks):
    """A command for each run, which the run's task decides; the help has one for each task."""

    def command_of(self, task: Task, run: str) -> TyperCommand:
        """The command of a run of this task."""
        raise NotImplementedError

    def get_command(self, ctx: Any, cmd_name: str) -> TyperCommand:
        return self.command_of(TASKS[cmd_name], cmd_name)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args or (args[0].startswith("-") and args[0] != "--help"):
            raise ConfigError(f"the run comes first; hint: minattn {self.name} RUN, with the options behind it")
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str, TyperCommand, list[str]]:
        run, *rest = args
        task = driver.StoredRun.read(run).task
        if task.name not in self.tasks():
            raise CheckpointError(f"{run} is a run of {task.name}; hint: minattn {task.command} {run}")
        return run, self.command_of(task, run), rest


class Evaluate(Runs):
    """`minattn evaluate RUN`."""

    def command_of(self, task: Task, run: str) -> TyperCommand:
        def evaluate(device: str, test: str | None, **options: Any) -> None:
            own.check(options)
            score = driver.evaluate(run, device, test, Terminal().progress(), **options)
            console.print(task.summary(score))
            note_unfinished(Path(run))

        own = TaskParameters(task.evaluate, Task.evaluate)
        parameters = [*own.parameters(), parameter("test", Test, None), parameter("device", Device, "cpu")]
        return command(run, own.help, parameters, evaluate)


class Predict(Runs):
    """`minattn predict RUN ..`, or another command that tasks have in its place."""

    def tasks(self) -> dict[str, Task]:
        return {name: task for name, task in TASKS.items() if task.command == self.name}

    def command_of(self, task: Task, run: str) -> TyperCommand:
        def predict(device: str, **values: Any) -> None:
            own.check(values)
            predictor = driver.load(run, device)
            arguments = [values.pop(name) for name in own.positional]
            with np.errstate(all="ignore"):
                task.predict(predictor, Terminal(), *arguments, **values)
            note_unfinished(Path(run))

        own = TaskParameters(task.predict, Task.predict)
        return command(run, own.help, [*own.parameters(), parameter("device", Device, "cpu")], predict)


class Terminal:
    """The `Output` of predictions on the terminal."""

    def line(self, text: str) -> None:
        console.print(text)

    def show(self, drawing: Any) -> None:
        console.print(drawing, soft_wrap=False)

    def write(self, text: str) -> None:
        sys.stdout.write(visible(text))
        sys.stdout.flush()

    def note(self, text: str) -> None:
        errors.print(f"note: {text}")

    def progress(self) -> Progress:
        return patient_progress()


RUN = "RUN [OPTIONS]"
app.add_typer(
    typer.Typer(),
    name="evaluate",
    cls=Evaluate,
    subcommand_metavar=RUN,
    help="Score a run's best model on its test data, or on others.  minattn evaluate RUN --help lists its options.",
)
for name in dict.fromkeys(task.command for task in TASKS.values()):
    predictions = [str(task.predict.__doc__).partition("\n")[0] for task in TASKS.values() if task.command == name]
    app.add_typer(
        typer.Typer(),
        name=name,
        cls=Predict,
        subcommand_metavar=RUN,
        help=f"{' '.join(predictions)}  minattn {name} RUN --help lists the options.",
    )
