"""The recipes that `minattn train` knows, and how each tells its results."""

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minattn.tasks.config import read_json
from minattn.tasks.g2p import task as g2p
from minattn.tasks.g2p.settings import MODELS
from minattn.tasks.images import task as images
from minattn.tasks.images.settings import SHOWN_MODELS
from minattn.tasks.lm import task as language
from minattn.tasks.run_folder import ALIGNMENTS, CURVES, MAPS, REPORT, SAMPLES
from minattn.training import Outcome


@dataclass(frozen=True)
class Trainable:
    """A recipe: what the command line says of it, and what it calls."""

    name: str
    what: str  # it is, in a sentence
    form: str  # of its --train file, or of --data, and what it trains on without one
    budget: str  # the setting that makes a run longer
    models: Sequence[str]  # to choose from by --model; empty where there is no choice
    config_from: Callable[..., Any]  # of settings KEY=VALUE and a model's name, and of --data where it is taken
    files: Callable[..., Any]  # of the paths of --train, --dev and --test, or of --data
    train: Callable[..., Outcome]
    resume: Callable[..., Outcome]
    stored_run: Callable[[Path], Any]
    results: Callable[[Path], str]  # of a finished run
    takes_data: bool = False  # by --data, and nothing by --train, --dev and --test


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


def images_results(folder: Path) -> str:
    """The share of the test images that were named rightly, the class that was hardest, and what to do next."""
    test = read_json(folder / REPORT)["test"]
    hardest = min(test["class_accuracy"], key=test["class_accuracy"].get)
    return (
        f"test images: {test['accuracy']:.2f} % right, error {test['error']:.2f} % over {test['images']:,} images; "
        f"the hardest class is {hardest}, {test['class_accuracy'][hardest]:.1f} % right\n"
        f"pictures:    {_existing(folder, CURVES, MAPS)}\n"
        f"now try:     minattn predict {shlex.quote(str(folder))} IMAGE.png"
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
        Trainable(
            name="images",
            what="learn to tell what is on images.",
            form="digits, fashion-mnist, or a folder of a folder for each class; by default digits",
            budget="epochs",
            models=SHOWN_MODELS,
            config_from=images.config_from,
            files=images.DataSource,
            train=images.train,
            resume=images.resume,
            stored_run=images.stored_run,
            results=images_results,
            takes_data=True,
        ),
    )
}
"""By name; a further recipe is a further entry."""
