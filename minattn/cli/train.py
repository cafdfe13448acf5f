"""`minattn train`: train a recipe's model, or go on with a run that was stopped."""

import dataclasses
import shlex
import textwrap
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from minattn import __version__
from minattn.cli.app import INTERRUPTED, Device, app, console, option
from minattn.cli.trainable import RECIPES, Trainable
from minattn.errors import ConfigError
from minattn.tasks.run_folder import has_begun, is_finished
from minattn.training import Outcome

Recipe = StrEnum("Recipe", [(name, name) for name in RECIPES])
MODELS = "; ".join(f"{name}: {', '.join(recipe.models)}" for name, recipe in RECIPES.items() if recipe.models)
FORMS = "; ".join(f"{name}: {recipe.form}" for name, recipe in RECIPES.items() if not recipe.takes_data)
DATA = "; ".join(f"{name}: {recipe.form}" for name, recipe in RECIPES.items() if recipe.takes_data)

RecipeName = Annotated[
    Recipe,
    typer.Argument(metavar="RECIPE", help="  ".join(f"{name}: {recipe.what}" for name, recipe in RECIPES.items())),
]
Model = Annotated[str | None, option(f"The network, where there is a choice ({MODELS}).", metavar="NAME")]
Out = Annotated[Path | None, option("The run's folder, a new one.  [default: runs/RECIPE]", metavar="FOLDER")]
Resume = Annotated[Path | None, option("Go on with a run that was stopped.", metavar="RUN")]
Seed = Annotated[int | None, option("Decides the weights and the order of the data.  [default: 1]", metavar="N")]
Settings = Annotated[
    list[str] | None, option("Change a setting, as lr=1e-3; repeatable.", "--set", metavar="KEY=VALUE")
]
Data = Annotated[str | None, option(f"What to train on, choose by and report on ({DATA}).", metavar="NAME|FOLDER")]
TrainFile = Annotated[str | None, option(f"What to train on ({FORMS}).", "--train", metavar="FILE")]
DevFile = Annotated[str | None, option("What to choose the best model by, in the same form.", "--dev", metavar="FILE")]
TestFile = Annotated[str | None, option("What to report on, in the same form.", "--test", metavar="FILE")]


@app.command()
def train(
    recipe: RecipeName,
    model: Model = None,
    out: Out = None,
    resume: Resume = None,
    device: Device = "cpu",
    seed: Seed = None,
    settings: Settings = None,
    data: Data = None,
    train_file: TrainFile = None,
    dev_file: DevFile = None,
    test_file: TestFile = None,
) -> None:
    """Train a model, and leave a folder with its checkpoints, log, score and pictures."""
    trained = RECIPES[recipe]
    files_given = {"--train": train_file, "--dev": dev_file, "--test": test_file}
    if resume is not None:
        given = {"--model": model, "--out": out, "--seed": seed, "--set": settings, "--data": data, **files_given}
        if extra := _named(given):
            raise ConfigError(f"--resume goes on with the run as it was started, so {', '.join(extra)} cannot be given")
        _resume(trained, resume, device)
        return
    if model is not None and not trained.models:
        raise ConfigError(f"{recipe} has one network, so --model cannot be given; it is shaped by --set KEY=VALUE")
    if trained.takes_data:
        if extra := _named(files_given):
            raise ConfigError(f"{recipe} takes its data by --data, so {', '.join(extra)} cannot be given")
        config, files = trained.config_from(settings or [], model, data), trained.files(data)
    else:
        if data is not None:
            raise ConfigError(f"{recipe} takes its data by --train, --dev and --test, so --data cannot be given")
        config, files = trained.config_from(settings or [], model), trained.files(*files_given.values())
    config = config if seed is None else dataclasses.replace(config, seed=seed)
    folder = out or Path("runs") / recipe
    _describe(trained, config, folder, device)
    _see_through(trained, lambda: trained.train(config, files, folder, device), folder)


def _named(options: dict[str, object]) -> list[str]:
    """Those that were given."""
    return [name for name, value in options.items() if value is not None]


def _resume(trained: Trainable, folder: Path, device: str) -> None:
    config = trained.stored_run(folder).config
    if is_finished(folder):
        console.print(f"{folder} is finished: there is nothing to go on with.")
        console.print(trained.results(folder))
        longer = f"minattn train {trained.name} --out ANOTHER_FOLDER --set {trained.budget}=N"
        console.print(f"to train longer:  {longer}")
        return
    _describe(trained, config, folder, device)
    _see_through(trained, lambda: trained.resume(folder, device), folder)


def _describe(trained: Trainable, config: object, folder: Path, device: str) -> None:
    console.print(f"minattn {__version__}: {trained.name} on {device}, into {folder}")
    settings = "  ".join(f"{key}={value}" for key, value in dataclasses.asdict(config).items())
    console.print(textwrap.indent(textwrap.fill(settings, console.width - 2), "  "))


def _see_through(trained: Trainable, work: Callable[[], Outcome], folder: Path) -> None:
    """Do the work of a run; tell where the results are, or how to go on where Ctrl-C has ended it."""
    try:
        outcome = work()
        stopped = f"stopped after step {outcome.step:,} and saved" if outcome.interrupted else ""
    except KeyboardInterrupt:
        if not has_begun(folder):
            raise
        stopped = f"stopped at once; {folder} is as it was saved last"
    if stopped:
        console.print(f"{stopped}.  To go on:\n  minattn train {trained.name} --resume {shlex.quote(str(folder))}")
        raise typer.Exit(INTERRUPTED)
    console.print(trained.results(folder))
