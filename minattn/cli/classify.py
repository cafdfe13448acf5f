"""`minattn evaluate` and `minattn predict` of a run on images: what a classifier is worth, and what it sees."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from minattn.cli.app import console, errors, note_unfinished
from minattn.data.images.dataset import Images, described
from minattn.tasks.images import task as images
from minattn.tasks.images.classifier import Classifier

SHOWN_CLASSES = 3


def evaluate_images(run: Path, device: str, test: str | None) -> None:
    """Print the share of the run's test images, or of the data set or folder `test`, that are named rightly."""
    score = images.evaluate(run, device, test)
    note_unfinished(run)
    console.print(f"{score['accuracy']:.2f} % right, error {score['error']:.2f} % over {score['images']:,} images")


def classify(run: Path, paths: Sequence[str], device: str) -> None:
    """Print the likeliest classes of each image file."""
    classifier = Classifier.load(run, device)
    read = [classifier.read(path) for path in paths]
    pixels = np.stack([pixels for pixels, _ in read])
    probabilities = classifier.look(Images(pixels, np.zeros(len(pixels), np.int64))).checked(run).probabilities
    note_unfinished(run)
    for path, (_, was), row in zip(paths, read, probabilities, strict=True):
        likeliest = np.argsort(-row, kind="stable")[:SHOWN_CLASSES]
        console.print(f"{path}  " + "  ".join(f"{classifier.classes[k]} {100 * row[k]:.1f} %" for k in likeliest))
        if was != described(classifier.shape):
            errors.print(f"note: {path} is {was}; the model saw it as {described(classifier.shape)}")
