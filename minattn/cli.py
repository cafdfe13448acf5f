"""The command line: `minattn train`, `evaluate`, `predict`, `list`.

Every error that minattn raises on purpose is one line on standard error and exit status 1.
"""

import dataclasses
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from minattn import __version__
from minattn.catalogue import MECHANISMS
from minattn.errors import ConfigError, MinattnError
from minattn.recipes import g2p
from minattn.recipes.config import with_settings
from minattn.training import Outcome
from minattn.training.metrics import Score

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Attention, readable, tested and fast: train the classic papers' models and look at what they attend to.",
)
console = Console(highlight=False, soft_wrap=True)
errors = Console(stderr=True, highlight=False, soft_wrap=True)

INTERRUPTED = 130  # the exit status of a program that Ctrl-C has ended


class Recipe(StrEnum):
    """What can be trained."""

    g2p = "g2p"


def option(text: str, *names: str, metavar: str | None = None, **more: Any) -> Any:
    """An option with its help; what it falls back to is said in the help where it is not obvious."""
    return typer.Option(*names, help=text, metavar=metavar, show_default=False, **more)


RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="A folder that `minattn train` made.")]
Device = Annotated[str, typer.Option(help="cpu, cuda or cuda:N.")]
RecipeName = Annotated[Recipe, typer.Argument(help="g2p: RNNsearch learns to pronounce English.")]
Out = Annotated[Path | None, option("The run's folder.  [default: runs/RECIPE]", metavar="FOLDER")]
Resume = Annotated[Path | None, option("Go on with a run that was stopped.", metavar="RUN")]
Seed = Annotated[int | None, option("Decides the weights and the order of the data.  [default: 1]")]
Settings = Annotated[list[str] | None, option("Change a setting; repeatable.", "--set", metavar="KEY=VALUE")]
TrainFile = Annotated[
    str | None, option("Words to train on, lines WORD<TAB>PH PH PH.  [default: CMUdict]", "--train", metavar="FILE")
]
DevFile = Annotated[str | None, option("Words to choose the best model by.", "--dev", metavar="FILE")]
TestFile = Annotated[str | None, option("Words to report on, in the same form.", "--test", metavar="FILE")]
Beam = Annotated[int | None, option("Beam width; 1 is greedy.  [default: the run's]", min=1)]
Plot = Annotated[Path | None, option("Draw the alignments: FILE.png, .svg or .pdf.", metavar="FILE")]
Words = Annotated[list[str], typer.Argument(metavar="WORD...", help="Words to pronounce.")]


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
        folder = resume
        files_given = {"--train": train_file, "--dev": dev_file, "--test": test_file}
        given = {"--out": out, "--seed": seed, "--set": settings, **files_given}
        extra = [name for name, value in given.items() if value is not None]
        if extra:
            raise ConfigError(f"--resume goes on with the run as it was started, so {', '.join(extra)} cannot be given")
        config, files = g2p.stored_settings(resume)
    else:
        folder = out or Path("runs") / recipe
        config = with_settings(g2p.G2PConfig(), settings or [])
        config = config if seed is None else dataclasses.replace(config, seed=seed)
        files = g2p.DataFiles(train_file, dev_file, test_file)
    console.print(_describe(config, folder, device))
    outcome = g2p.train(config, files, folder, device, resume=resume is not None)
    _tell_outcome(outcome, folder)


def _describe(config: g2p.G2PConfig, folder: Path, device: str) -> str:
    settings = "  ".join(f"{key}={value}" for key, value in dataclasses.asdict(config).items())
    return f"minattn {__version__}: training on {device}, into {folder}\n{settings}"


def _tell_outcome(outcome: Outcome, folder: Path) -> None:
    if outcome.interrupted:
        console.print(f"stopped after step {outcome.step:,} and saved.  To go on:")
        console.print(f"  minattn train g2p --resume {folder}")
        raise typer.Exit(INTERRUPTED)
    report = g2p.read_json(folder / g2p.REPORT)["test"]
    console.print(
        f"{outcome.message}\n"
        f"test words: PER {report['per']:.2f} %, WER {report['wer']:.2f} % over {report['words']:,} words "
        f"(beam {report['beam']})\n"
        f"pictures: {folder / g2p.CURVES}  {folder / g2p.ALIGNMENTS}\n"
        f"now try:  minattn predict {folder} attention"
    )


@app.command()
def evaluate(run: RunFolder, device: Device = "cpu", test: TestFile = None, beam: Beam = None) -> None:
    """Score a run's best model on its test words: phoneme and word error rate."""
    result: Score = g2p.evaluate(run, device, test, beam)
    console.print(str(result))


@app.command()
def predict(run: RunFolder, words: Words, device: Device = "cpu", beam: Beam = None, plot: Plot = None) -> None:
    """Pronounce words, and show which letters each sound comes from."""
    from minattn.viz import Alignment, alignment_grid, save_figure, terminal_alignment

    pronouncer = g2p.Pronouncer.load(run, device)
    said = pronouncer.pronounce(words, beam or pronouncer.config.beam)
    attends = pronouncer.config.model == "rnnsearch"
    for p in said:
        console.print(f"{p.word}  {' '.join(p.phonemes)}  (probability {p.probability:.3f})", markup=False)
        if attends and p.phonemes:
            console.print(terminal_alignment(p.alignment, list(p.word), p.phonemes), soft_wrap=False)
    if plot is not None:
        if not attends:
            raise ConfigError("this run's model has no attention to plot; the cure: a run with model=rnnsearch")
        panels = [Alignment(p.alignment, list(p.word), p.phonemes, p.word, p.probability) for p in said if p.phonemes]
        save_figure(alignment_grid(panels), plot)
        console.print(f"alignments drawn into {plot}")


@app.command("list")
def list_mechanisms() -> None:
    """List every mechanism: its paper, its equation, and where it is in the code."""
    for mechanism in MECHANISMS:
        table = Table(title=mechanism.name, title_justify="left", show_header=False, box=None, title_style="bold")
        table.add_column(style="dim")
        table.add_column(overflow="fold")
        for field in ("paper", "equation", "code", "model", "recipe"):
            table.add_row(field, getattr(mechanism, field))
        console.print(table, soft_wrap=False)
        console.print()


@app.callback(invoke_without_command=True)
def _version(
    version: Annotated[bool, typer.Option("--version", help="Show the version.", is_eager=True)] = False,
) -> None:
    if version:
        console.print(f"minattn {__version__}")
        raise typer.Exit


def run(arguments: list[str] | None = None) -> Any:
    """Run the command line; a `MinattnError` becomes one line and exit status 1."""
    try:
        return app(arguments)
    except MinattnError as error:
        message = " ".join(str(error).split())
        errors.print(f"error: {message}", markup=False)
        sys.exit(1)
    except KeyboardInterrupt:
        errors.print("stopped")
        sys.exit(INTERRUPTED)
