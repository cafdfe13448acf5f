"""The recipes that `minattn train` knows, and how each tells its results."""

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minattn.recipes import g2p, language
from minattn.recipes.config import read_json
from minattn.recipes.folder import ALIGNMENTS, CURVES, REPORT, SAMPLES
from minattn.recipes.networks import MODELS
from minattn.training import Outcome


@dataclass(frozen=True)
class Trainable:
    """A recipe: what the command line says of it, and what it calls."""

    name: str
    what: str  # it is, in a sentence
    form: str  # of its --train file, and what it trains on without one
    budget: str  # the setting that makes a run longer
    models: Sequence[str]  # to choose from by --model; empty where there is no choice
    config_from: Callable[[Sequence[str], str | None], Any]  # of settings KEY=VALUE and a model's name
    files: Callable[..., Any]  # of the paths of --train, --dev and --test
    train: Callable[..., Outcome]
    resume: Callable[..., Outcome]
    stored_run: Callable[[Path], Any]
    results: Callable[[Path], str]  # of a finished run


def g2p_results(folder: Path) -> str:
    """The score on the test words, and what to do next."""
    test = read_json(folder / REPORT)["test"]
    word = "attention" if g2p.stored_run(folder).files.train is None else "WORD"  # other words, other letters
    return (
        f"test words: PER {test['per']:.2f} %, WER {test['wer']:.2f} % over {test['words']:,} words "
        f"(beam {test['beam']})\n"
        f"pictures:   {_existing(folder, CURVES, ALIGNMENTS)}\n"
        f"now try:    minattn predict {shlex.quote(str(folder))} {word}"
    )


def language_results(folder: Path) -> str:
    """The bits per character of the test text beside those of the baselines, and what to do next."""
    report = read_json(folder / REPORT)
    test = report["test"]
    others = ", ".join(f"{name.replace('_', ' ')} {bits:.2f}" for name, bits in report["baselines"].items())
    return (
        f"test text:  {test['bits_per_character']:.3f} bits per character over {test['characters']:,} characters\n"
        f"baselines:  {others}\n"
        f"samples:    {_existing(folder, SAMPLES)}\n"
        f"pictures:   {_existing(folder, CURVES)}\n"
        f"now try:    minattn generate {shlex.quote(str(folder))}"
    )


def _existing(folder: Path, *names: str) -> str:
    return "  ".join(str(folder / name) for name in names if (folder / name).exists())


RECIPES = {
    recipe.name: recipe
    for recipe in (
        Trainable(
            name="g2p",
            what="learn to pronounce English words.",
            form="lines WORD<TAB>PH PH PH; by default CMUdict",
            budget="epochs",
            models=tuple(MODELS),
            config_from=g2p.config_from,
            files=g2p.DataFiles,
            train=g2p.train,
            resume=g2p.resume,
            stored_run=g2p.stored_run,
            results=g2p_results,
        ),
        Trainable(
            name="lm",
            what="learn to write, character by character.",
            form="any text; by default Python's documentation strings",
            budget="steps",
            models=(),
            config_from=language.config_from,
            files=language.DataFiles,
            train=language.train,
            resume=language.resume,
            stored_run=language.stored_run,
            results=language_results,
        ),
    )
}
"""By name; a further recipe is a further entry."""
