"""`minattn evaluate` and `minattn predict`: what a trained model is worth, and what it says to words or images."""

from pathlib import Path
from typing import Annotated

import typer

from minattn.cli.app import Device, app, option
from minattn.cli.classify import classify, evaluate_images
from minattn.cli.pronounce import evaluate_words, pronounce
from minattn.errors import ConfigError
from minattn.tasks.g2p import pronouncer
from minattn.tasks.images import classifier
from minattn.tasks.run_folder import recipe_of

RECIPES = (pronouncer.RECIPE, classifier.RECIPE)

RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="A folder that `minattn train g2p` or `images` made.")]
Test = Annotated[
    str | None, option("Words, or images, to report on, in the form of the training data.", "--test", metavar="PATH")
]
Beam = Annotated[int | None, option("g2p: beam width; 1 is greedy.  [default: the run's]", min=1, metavar="N")]
Plot = Annotated[Path | None, option("g2p: draw the alignments: FILE.png, .svg or .pdf.", metavar="FILE")]
Inputs = Annotated[list[str], typer.Argument(metavar="WORD|IMAGE...", help="Words to pronounce, or image files.")]


@app.command()
def evaluate(run: RunFolder, device: Device = "cpu", test: Test = None, beam: Beam = None) -> None:
    """Score a run's best model on its test words (phoneme and word error rate) or images (accuracy)."""
    if recipe_of(run, *RECIPES) == classifier.RECIPE:
        _check_no_words({"--beam": beam})
        evaluate_images(run, device, test)
    else:
        evaluate_words(run, device, test, beam)


@app.command()
def predict(run: RunFolder, inputs: Inputs, device: Device = "cpu", beam: Beam = None, plot: Plot = None) -> None:
    """Pronounce words, and show which letters each sound comes from; or tell what is on images."""
    if recipe_of(run, *RECIPES) == classifier.RECIPE:
        _check_no_words({"--beam": beam, "--plot": plot})
        classify(run, inputs, device)
    else:
        pronounce(run, inputs, device, beam, plot)


def _check_no_words(options: dict[str, object]) -> None:
    given = [name for name, value in options.items() if value is not None]
    if given:
        raise ConfigError(f"this run is one on images, so {', '.join(given)} cannot be given")
