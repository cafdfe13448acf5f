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
from minattn.errors import ConfigError
from minattn.recipes import g2p
from minattn.recipes.config import read_json
from minattn.recipes.folder import ALIGNMENTS, CURVES, REPORT, has_begun, is_finished
from minattn.recipes.networks import G2PConfig
from minattn.training import Outcome


class Recipe(StrEnum):
    """What can be trained."""

    g2p = "g2p"


RecipeName = Annotated[Recipe, typer.Argument(metavar="RECIPE", help="g2p: RNNsearch learns to pronounce English.")]
Out = Annotated[Path | None, option("The run's folder, a new one.  [default: runs/RECIPE]", metavar="FOLDER")]
Resume = Annotated[Path | None, option("Go on with a run that was stopped.", metavar="RUN")]
Seed = Annotated[int | None, option("Decides the weights and the order of the data.  [default: 1]", metavar="N")]
Settings = Annotated[
    list[str] | None, option("Change a setting, as epochs=3; repeatable.", "--set", metavar="KEY=VALUE")
]
TrainFile = Annotated[
    str | None, option("Words to train on, lines WORD<TAB>PH PH PH.  [default: CMUdict]", "--train", metavar="FILE")
]
DevFile = Annotated[str | None, option("Words to choose the best model by.", "--dev", metavar="FILE")]
TestFile = Annotated[str | None, option("Words to report on, in the same form.", "--test", metavar="FILE")]


@app.command()
def train(
    recipe: RecipeName,
    out: Out = None,
    resume: Resume = None,
    device: Device = "cpu",
    seed: Seed = None,
    settings: Settings = None,
    train_file: TrainFile = None,
    dev_file: DevFile = None,
    test_file: TestFile = None,
) -> None:
    """Train a model, and leave a folder with its checkpoints, log, score and pictures."""
    if resume is not None:
        files_given = {"--train": train_file, "--dev": dev_file, "--test": test_file}
        given = {"--out": out, "--seed": seed, "--set": settings, **files_given}
        extra = [name for name, value in given.items() if value is not None]
        if extra:
            raise ConfigError(f"--resume goes on with the run as it was started, so {', '.join(extra)} cannot be given")
        _resume(resume, device)
        return
    config = g2p.config_from(settings or [])
    config = config if seed is None else dataclasses.replace(config, seed=seed)
    files = g2p.DataFiles(train_file, dev_file, test_file)
    folder = out or Path("runs") / recipe
    _describe(config, folder, device)
    _see_through(lambda: g2p.train(config, files, folder, device), folder)


def _resume(folder: Path, device: str) -> None:
    config = g2p.StoredRun.read(folder).config
    if is_finished(folder):
        console.print(f"{folder} is finished: there is nothing to go on with.")
        _tell_results(folder)
        console.print("to train longer:  minattn train g2p --out ANOTHER_FOLDER --set epochs=N")
        return
    _describe(config, folder, device)
    _see_through(lambda: g2p.resume(folder, device), folder)


def _describe(config: G2PConfig, folder: Path, device: str) -> None:
    console.print(f"minattn {__version__}: g2p on {device}, into {folder}")
    settings = "  ".join(f"{key}={value}" for key, value in dataclasses.asdict(config).items())
    console.print(textwrap.indent(textwrap.fill(settings, console.width - 2), "  "))


def _see_through(work: Callable[[], Outcome], folder: Path) -> None:
    """Do the work of a run; tell where the results are, or how to go on where Ctrl-C has ended it."""
    try:
        outcome = work()
        stopped = f"stopped after step {outcome.step:,} and saved" if outcome.interrupted else ""
    except KeyboardInterrupt:
        if not has_begun(folder):
            raise
        stopped = f"stopped at once; {folder} is as it was saved last"
    if stopped:
        console.print(f"{stopped}.  To go on:\n  minattn train g2p --resume {shlex.quote(str(folder))}")
        raise typer.Exit(INTERRUPTED)
    _tell_results(folder)


def _tell_results(folder: Path) -> None:
    test = read_json(folder / REPORT)["test"]
    word = "attention" if g2p.StoredRun.read(folder).files.train is None else "WORD"  # other words, other letters
    pictures = [str(folder / name) for name in (CURVES, ALIGNMENTS) if (folder / name).exists()]
    console.print(
        f"test words: PER {test['per']:.2f} %, WER {test['wer']:.2f} % over {test['words']:,} words "
        f"(beam {test['beam']})\n"
        f"pictures:   {'  '.join(pictures)}\n"
        f"now try:    minattn predict {shlex.quote(str(folder))} {word}"
    )
