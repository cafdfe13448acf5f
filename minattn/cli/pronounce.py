"""`minattn evaluate` and `minattn predict` of a run of g2p: what a pronouncer is worth, and what it says."""

import sys
from collections.abc import Sequence
from pathlib import Path

from minattn.cli.app import console, note_unfinished
from minattn.errors import ConfigError
from minattn.tasks.g2p import task as g2p
from minattn.tasks.g2p.pronouncer import Pronouncer
from minattn.training import BarProgress, Progress


def evaluate_words(run: Path, device: str, test: str | None, beam: int | None) -> None:
    """Print the phoneme and word error rate over the run's test words, or those of the lexicon `test`."""
    progress = BarProgress() if sys.stdout.isatty() else Progress()
    result, beam = g2p.evaluate(run, device, test, beam, progress)
    note_unfinished(run)
    console.print(f"{result} (beam {beam})")


def pronounce(run: Path, words: Sequence[str], device: str, beam: int | None, plot: Path | None) -> None:
    """Print how the words sound, and which letters each sound comes from."""
    from minattn.viz import terminal_alignment
    from minattn.viz.saving import check_picture_path

    if plot is not None:
        check_picture_path(plot)
    pronouncer = Pronouncer.load(run, device)
    attends = pronouncer.config.attends
    if plot is not None and not attends:
        raise ConfigError("this run's model has no attention to plot; hint: a run with another model")
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
