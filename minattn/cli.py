"""The command line: `minattn train`, `evaluate`, `predict`, `list`, `bench`.

Whatever is wrong with what the user gave is one line `error: ...` on standard error, and the exit status is not 0.
"""

import dataclasses
import io
import os
import shlex
import sys
import textwrap
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.table import Table

from minattn import __version__
from minattn.catalogue import MECHANISMS
from minattn.errors import ConfigError, MinattnError
from minattn.recipes import g2p
from minattn.recipes.config import read_json, with_settings
from minattn.recipes.folder import ALIGNMENTS, CURVES, REPORT, has_begun, is_finished
from minattn.recipes.pronouncer import G2PConfig, Pronouncer
from minattn.training import BEST, BarProgress, Outcome, Progress

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Attention, readable, tested and fast: train the classic papers' models and look at what they attend to.",
)
plain: dict[str, Any] = {"highlight": False, "markup": False, "emoji": False}  # paths and words as they are
console = Console(**plain, soft_wrap=True)
errors = Console(**plain, soft_wrap=True, stderr=True)

FAILED, INTERRUPTED = 1, 130  # exit statuses; the second is that of a program that Ctrl-C has ended


class Recipe(StrEnum):
    """What can be trained."""

    g2p = "g2p"


def option(text: str, *names: str, metavar: str | None = None, **more: Any) -> Any:
    """An option with its help; what it falls back to is said in the help where it is not obvious."""
    return typer.Option(*names, help=text, metavar=metavar, show_default=False, **more)


RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="A folder that `minattn train` made.")]
Device = Annotated[str, option("cpu, cuda or cuda:N.  [default: cpu]", metavar="DEVICE")]
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
Beam = Annotated[int | None, option("Beam width; 1 is greedy.  [default: the run's]", min=1, metavar="N")]
Plot = Annotated[Path | None, option("Draw the alignments: FILE.png, .svg or .pdf.", metavar="FILE")]
Workloads = Annotated[
    list[str] | None, typer.Argument(metavar="[WORKLOAD...]", help="W1, W2, ..: see --list.  [default: all]")
]
Against = Annotated[
    str, option("Other engines, as torch,jax; the first is what ratios are to.  [default: torch]", metavar="ENGINE,..")
]
Threads = Annotated[
    list[int] | None, option("Threads of each engine; repeatable.  [default: 2 where there are]", metavar="N", min=1)
]
Rounds = Annotated[int, option("Rounds in which the engines take turns.  [default: 20]", min=1, metavar="N")]
Seconds = Annotated[
    float, option("How long an engine's turn is, about.  [default: 0.4]", min=0.001, max=60, metavar="S")
]
BenchOut = Annotated[
    Path, option("Where performance.json, .md and .png go.  [default: runs/bench]", "--out", metavar="FOLDER")
]
Add = Annotated[bool, option("Keep what --out holds of other workloads, measured in the same way.", "--add")]
Environments = Annotated[
    Path | None,
    option("Where the other engines are installed.  [default: ~/.cache/minattn/engines]", "--envs", metavar="FOLDER"),
]
Listing = Annotated[bool, option("Name the workloads and the engines, and do nothing.", "--list")]
Words = Annotated[list[str], typer.Argument(metavar="WORD...", help="Words to pronounce.")]


# ---------------------------------------------------------------------------------------------- train
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
    config = with_settings(G2PConfig(), settings or [])
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


# ---------------------------------------------------------------------------------------------- a trained model
@app.command()
def evaluate(run: RunFolder, device: Device = "cpu", test: TestFile = None, beam: Beam = None) -> None:
    """Score a run's best model on its test words: phoneme and word error rate."""
    progress = BarProgress() if sys.stdout.isatty() else Progress()
    result, beam = g2p.evaluate(run, device, test, beam, progress)
    _note_unfinished(run)
    console.print(f"{result} (beam {beam})")


@app.command()
def predict(run: RunFolder, words: Words, device: Device = "cpu", beam: Beam = None, plot: Plot = None) -> None:
    """Pronounce words, and show which letters each sound comes from."""
    from minattn.viz import terminal_alignment
    from minattn.viz.saving import check_picture_path

    if plot is not None:
        check_picture_path(plot)
    pronouncer = Pronouncer.load(run, device)
    attends = pronouncer.config.model == "rnnsearch"
    if plot is not None and not attends:
        raise ConfigError("this run's model has no attention to plot; the cure: a run with model=rnnsearch")
    said = pronouncer.pronounce(words, beam or pronouncer.config.beam)
    _note_unfinished(run)
    for p in said:
        console.print(f"{p.word}  {' '.join(p.phonemes) or '(nothing)'}  (probability {_probability(p.probability)})")
        if attends and p.phonemes:
            console.print(terminal_alignment(p.alignment, list(p.word), p.phonemes), soft_wrap=False)
    if plot is not None:
        g2p.draw_alignments(said, plot)
        console.print(f"alignments drawn into {plot}")


def _note_unfinished(run: Path) -> None:
    if (run / BEST).exists() and not is_finished(run):
        errors.print("note: this run is not finished; this is its best model so far")
    elif has_begun(run) and not is_finished(run):
        errors.print("note: this run is not finished, and no model of it was evaluated yet; this is its last one")


def _probability(probability: float) -> str:
    return f"{probability:.3f}" if probability >= 0.0005 else "below 0.001"


# ---------------------------------------------------------------------------------------------- what there is
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


# ---------------------------------------------------------------------------------------------- how fast it is
@app.command()
def bench(
    workloads: Workloads = None,
    against: Against = "torch",
    threads: Threads = None,
    rounds: Rounds = 20,
    seconds: Seconds = 0.4,
    out: BenchOut = Path("runs") / "bench",
    add: Add = False,
    environments: Environments = None,
    listing: Listing = False,
) -> None:
    """Time minattn against other engines on the same work: ratios, memory, shares of what the machine can do, noise.

    Each engine gets an environment of its own, made when it is first wanted.  --against none measures minattn alone.
    """
    from minattn.benchmarks import command
    from minattn.benchmarks.environments import DEFAULT_FOLDER
    from minattn.benchmarks.terminal import print_list

    if listing:
        print_list(console)
        return
    folder = environments or DEFAULT_FOLDER
    wanted = command.Wanted(workloads or (), against, threads or (), rounds, seconds, folder, out, add)
    command.run(wanted, console)


@app.callback(invoke_without_command=True)
def _start(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Show the version.", is_eager=True)] = False,
) -> None:
    if version:
        console.print(f"minattn {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        console.print(context.get_help())
        raise typer.Exit


def run(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and exit; what the user can put right becomes one line and an exit status above 0."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that cannot show a phoneme shows its code
    try:
        status = app(arguments, standalone_mode=False)
    except MinattnError as error:
        status = _told(str(error))
    except typer.TyperException as error:
        status = _told(f"{error.format_message().rstrip('.')}; see minattn COMMAND --help", error.exit_code)
    except MemoryError as error:
        status = _told(f"the memory is too small ({error}); the cure: a smaller model or smaller batches")
    except OSError as error:
        status = _told(f"{error.strerror}: {error.filename or 'the output'}")
    try:
        sys.stdout.flush()
    except OSError as error:  # a full disk or a closed pipe; Python would try again when it ends, and complain
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = status or _told(f"{error.strerror}: the output")
    sys.exit(status)


def _told(message: str, status: int = FAILED) -> int:
    errors.print(f"error: {' '.join(message.split())}")
    return status
