"""`minattn evaluate` and `minattn predict`: what a trained pronouncer is worth, and what it says."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from minattn.cli.app import Device, app, console, note_unfinished, option
from minattn.errors import ConfigError
from minattn.recipes import g2p
from minattn.recipes.pronouncer import Pronouncer
from minattn.training import BarProgress, Progress

RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="A folder that `minattn train g2p` made.")]
TestFile = Annotated[str | None, option("Words to report on, in the same form.", "--test", metavar="FILE")]
Beam = Annotated[int | None, option("Beam width; 1 is greedy.  [default: the run's]", min=1, metavar="N")]
Plot = Annotated[Path | None, option("Draw the alignments: FILE.png, .svg or .pdf.", metavar="FILE")]
Words = Annotated[list[str], typer.Argument(metavar="WORD...", help="Words to pronounce.")]


@app.command()
def evaluate(run: RunFolder, device: Device = "cpu", test: TestFile = None, beam: Beam = None) -> None:
    """Score a run's best model on its test words: phoneme and word error rate."""
    progress = BarProgress() if sys.stdout.isatty() else Progress()
    result, beam = g2p.evaluate(run, device, test, beam, progress)
    note_unfinished(run)
    console.print(f"{result} (beam {beam})")


@app.command()
def predict(run: RunFolder, words: Words, device: Device = "cpu", beam: Beam = None, plot: Plot = None) -> None:
    """Pronounce words, and show which letters each sound comes from."""
    from minattn.viz import terminal_alignment
    from minattn.viz.saving import check_picture_path

    if plot is not None:
        check_picture_path(plot)
    pronouncer = Pronouncer.load(run, device)
    attends = pronouncer.config.attends
    if plot is not None and not attends:
        raise ConfigError("this run's model has no attention to plot; the cure: a run with another model")
    said = pronouncer.pronounce(words, beam or pronouncer.config.beam)
    note_unfinished(run)
    for p in said:
        console.print(f"{p.word}  {' '.join(p.phonemes) or '(nothing)'}  (probability {_probability(p.probability)})")
        if attends and p.phonemes:
            console.print(terminal_alignment(p.alignment, list(p.word), p.phonemes), soft_wrap=False)
    if plot is not None:
        g2p.draw_alignments(said, plot)
        console.print(f"alignments drawn into {plot}")


def _probability(probability: float) -> str:
    return f"{probability:.3f}" if probability >= 0.0005 else "below 0.001"
