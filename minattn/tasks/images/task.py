"""Images: a convolutional network learns to tell what is on them, and shows where it looks.

The data are the 8x8 digits that scikit-learn ships, Fashion-MNIST, or any folder of images by class.  The score is the
share of the test images that the best model names rightly; the best is that with the fewest errors on the dev images,
which are held out of those to train on.  The settings are told in `minattn.tasks.images.settings`.
"""

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from minattn.autograd import check_device
from minattn.data.images.dataset import Images, ImageSplits, described
from minattn.data.images.digits import load_digits
from minattn.data.images.fashion_mnist import load_fashion_mnist
from minattn.data.images.folder import load_image_folder
from minattn.errors import CheckpointError, ConfigError, DataError
from minattn.tasks import driver as runs
from minattn.tasks.config import from_stored, write_json
from minattn.tasks.driver import PARTS, begin, go_on, run_content
from minattn.tasks.images.classifier import RECIPE, Classifier, Looked
from minattn.tasks.images.settings import ImageConfig, config_from, holds_idx_files
from minattn.tasks.run_folder import CURVES, MAPS, REPORT, check_libraries, check_unused
from minattn.tasks.threads import blas_threads
from minattn.training import LOG, Outcome, Plan, Trainer
from minattn.training.progress import Progress, default_progress

__all__ = ["DATA_SETS", "DataSource", "config_from", "evaluate", "resume", "stored_run", "train"]

DATA_SETS = ("digits", "fashion-mnist")

EXPECTED = f"{', '.join(DATA_SETS)} or a folder"

SHOWN = 10
"""How many right answers, and how many wrong ones, the page of maps shows."""


# ---------------------------------------------------------------------------------------------- the data
@dataclass(frozen=True)
class DataSource:
    """Where the images come from: "digits" (None too), "fashion-mnist", or a folder: of classes, or of the files of
    Fashion-MNIST."""

    data: str | None = None

    def __post_init__(self) -> None:
        if self.data is not None and not self.data:
            raise ConfigError(f"the data have an empty name; expected {EXPECTED}; hint: name one of them")

    @property
    def named(self) -> bool:
        """Whether it is a data set that is known by name."""
        return self.data in (None, *DATA_SETS)

    def absolute(self) -> Self:
        """The same images, found from whatever folder a run is resumed in."""
        return self if self.named else replace(self, data=str(Path(self.data).absolute()))

    def source(self, part: str) -> str:
        """Where the "train", "dev" or "test" part comes from."""
        return self.data or DATA_SETS[0]

    def of_classes(self) -> bool:
        """Whether it is a folder of classes.

        Raises DataError for a folder that may not be looked into, or that is none and has nearly a data set's name.
        """
        if self.named or holds_idx_files(self.data):
            return False
        name = Path(self.data).name.lower().replace("_", "-")
        near = difflib.get_close_matches(name, DATA_SETS, n=1, cutoff=0.7)
        if near and not Path(self.data).exists():
            raise DataError(f"there is no folder {self.data}; expected {EXPECTED}; hint: {near[0]}")
        return True

    def load(self, config: ImageConfig) -> ImageSplits:
        """The images.  Raises DataError for a folder that cannot be used, ConfigError for settings that it ignores."""
        if self.of_classes():
            return load_image_folder(self.data, config.size, config.color)
        if config.size or config.color != "keep":
            raise ConfigError(f"size and color are settings of a folder of images; {self.source('train')} has its own")
        if self.data in (None, "digits"):
            return load_digits()
        return load_fashion_mnist(None if self.named else self.data)


def fingerprints(splits: ImageSplits) -> dict[str, str]:
    """Those of the train, dev and test images."""
    return {name: getattr(splits, name).fingerprint() for name in PARTS}


# ---------------------------------------------------------------------------------------------- a run
def stored_run(folder: str | Path) -> runs.StoredRun[ImageConfig, DataSource]:
    """What the run's config.json says.  Raises CheckpointError where the folder is no images run."""
    return runs.StoredRun.read(folder, RECIPE, lambda stored, path: from_stored(ImageConfig, stored, path), DataSource)


@blas_threads()
def train(
    config: ImageConfig,
    files: DataSource,
    folder: str | Path,
    device: str = "cpu",
    make_progress: Callable[[], Progress] = default_progress,
) -> Outcome:
    """Train a classifier in a new folder.

    When the budget is spent, the best model is scored on the test images and the pictures are drawn.  After Ctrl-C
    neither is done: resume the run to finish it.  Whatever is wrong with the arguments is told before anything is
    written.
    """
    folder, files = Path(folder), files.absolute()
    check_libraries()
    check_device(device)
    _check_outside(folder, files)
    check_unused(folder)
    progress = make_progress()
    splits = _load(files, config, progress)
    trainer = _trainer(Classifier.of(config, splits), splits, folder, device, progress)
    outcome = begin(trainer, run_content(RECIPE, config, files, fingerprints(splits)))
    return _finished(outcome, folder, splits, device, make_progress())


@blas_threads()
def resume(
    folder: str | Path, device: str = "cpu", make_progress: Callable[[], Progress] = default_progress
) -> Outcome:
    """Go on with a run that was stopped, as if it had not been.

    Raises DataError where its images have changed, CheckpointError where the folder is no such run or damaged.
    """
    folder = Path(folder)
    stored = stored_run(folder)
    check_libraries()
    check_device(device)
    progress = make_progress()
    splits = _load(stored.files, stored.config, progress)
    stored.check_same(fingerprints(splits), "images", "put the old ones back, or start a new run with the new ones")
    trainer = _trainer(Classifier.of(stored.config, splits), splits, folder, device, progress)
    return _finished(go_on(trainer), folder, splits, device, make_progress())


def evaluate(run: str | Path, device: str = "cpu", test: str | None = None) -> dict[str, Any]:
    """The score of a run's best model, as in report.json, on its test images, or on others.

    test: a data set's name or a folder, as `DataSource` takes them; of what is divided, the part to test on, and all
    images of a folder of classes.
    """
    stored = stored_run(run)
    classifier = Classifier.load(run, device)
    if test is not None:
        images = _to_report_on(classifier, DataSource(test))
        return score(classifier.look(images).checked(run), images, classifier.classes)
    images = stored.files.load(stored.config).test
    stored.check_same({"test": images.fingerprint()}, "images", "put the old ones back, or name the new ones by --test")
    return score(classifier.look(images).checked(run), images, classifier.classes)


# ---------------------------------------------------------------------------------------------- its parts
def _check_outside(folder: Path, files: DataSource) -> None:
    """Raise CheckpointError where the run would lie among its images, and be taken for a class of them."""
    if files.of_classes() and folder.resolve().is_relative_to(Path(files.data).resolve()):
        raise CheckpointError(
            f"{folder} is inside the folder of the images, {files.data}, and would be taken for a class; "
            "hint: another folder by --out"
        )


def _to_report_on(classifier: Classifier, files: DataSource) -> Images:
    if files.of_classes():
        return classifier.read_folder(files.data)
    splits = files.load(ImageConfig())
    classifier.check_takes(splits.test, splits.classes, files.source("test"))
    return splits.test


def _load(files: DataSource, config: ImageConfig, progress: Progress) -> ImageSplits:
    progress.note(f"reading {files.source('train')}")
    splits = files.load(config)
    for name in PARTS:
        if not len(getattr(splits, name)):
            raise DataError(f"there are no {name} images in {files.source('train')}; hint: more images of each class")
    if len(splits.classes) < 2:
        raise DataError(
            f"{files.source('train')} has one class, {splits.classes[0]}; expected two or more to tell apart; "
            "hint: a folder for each class"
        )
    counts = ", ".join(f"{len(getattr(splits, name)):,} {name}" for name in PARTS)
    progress.note(f"images: {counts}; {described(splits.train.shape)}; {len(splits.classes)} classes")
    return splits


def _trainer(classifier: Classifier, splits: ImageSplits, folder: Path, device: str, progress: Progress) -> Trainer:
    """What trains a classifier that has learned nothing yet."""
    config = classifier.config
    classifier.model.to(device)
    batches = classifier.batches(splits.train)
    config.check_parts(batches.smallest, len(splits.classes), splits.train.shape)
    steps = config.epochs * len(batches)
    progress.note(f"{config.model} with {classifier.model.count_parameters():,} weights, to train for {steps:,} steps")

    def on_dev(_: object) -> dict[str, float]:
        progress.report(f"looking at the {len(splits.dev):,} dev images")
        looked = classifier.look(splits.dev)
        return {"dev_loss": looked.loss, "dev_error": 100 * float(looked.errors(splits.dev).mean())}

    plan = Plan(epochs=config.epochs, metric="dev_error")
    return classifier.trainer(batches, folder, plan, progress, classifier.meta(), on_dev)


def _finished(outcome: Outcome, folder: Path, splits: ImageSplits, device: str, progress: Progress) -> Outcome:
    """Score the best model on the test images, draw the pictures and write the report, unless Ctrl-C was pressed."""
    if outcome.interrupted:
        return outcome
    progress.note(outcome.message)
    classifier = Classifier.load(folder, device)
    progress.note(f"looking at the {len(splits.test):,} test images")
    looked = classifier.look(splits.test).checked(folder)
    progress.note("drawing the pictures")
    draw_pictures(folder, classifier, splits.test, looked)
    report = {
        "test": score(looked, splits.test, splits.classes),
        "model": {"name": classifier.config.model, "parameters": classifier.model.count_parameters()},
        "training": {
            "steps": outcome.step,
            "best_step": outcome.best_step,
            "dev_error": outcome.best,
            "images": len(splits.train),
            "seconds": outcome.seconds,
        },
    }
    write_json(folder / REPORT, report)
    return outcome


def score(looked: Looked, images: Images, classes: Sequence[str]) -> dict[str, Any]:
    """Accuracy and error in percent, of all images and of each class that they have, and how often each class was taken
    for each.

    `confusion[i][j]` images of class i were taken for class j.
    """
    pairs = images.labels * len(classes) + looked.probabilities.argmax(axis=1)
    confusion = np.bincount(pairs, minlength=len(classes) ** 2).reshape(len(classes), len(classes))
    accuracy = 100 * int(confusion.trace()) / len(images)
    seen = confusion.sum(axis=1)
    shares = 100 * confusion.diagonal() / seen.clip(1)
    return {
        "accuracy": accuracy,
        "error": 100 * (len(images) - int(confusion.trace())) / len(images),
        "loss": looked.loss,
        "images": len(images),
        "class_accuracy": {name: share for name, share, n in zip(classes, shares.tolist(), seen, strict=True) if n},
        "confusion": confusion.tolist(),
    }


# ---------------------------------------------------------------------------------------------- pictures
def draw_pictures(folder: Path, classifier: Classifier, test: Images, looked: Looked) -> None:
    """`curves.png` from the run's log, and `maps.png` of where the model looks in some of the test images."""
    from minattn.viz import learning_curves, read_records, save_figure

    save_figure(learning_curves(read_records(folder / LOG)), folder / CURVES)
    chosen = examples(looked.probabilities, test.labels)
    draw_maps(folder / MAPS, classifier, test.at(chosen), looked.probabilities[chosen].argmax(axis=1))


def draw_maps(path: Path, classifier: Classifier, images: Images, answers: np.ndarray) -> None:
    """The maps of `Classifier.maps` over these images; nothing where the network has none."""
    from minattn.viz.maps import attention_maps

    panels = classifier.maps(images, answers)
    if panels:
        shown = images.pixels.astype(np.float32) / 255
        attention_maps(shown, panels, images.labels, answers, classifier.classes, path, columns=SHOWN)


def examples(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Places of images to show: of each class the first right answer, and the wrong one that the model was surest of.

    Of at most `SHOWN` classes each, the right ones first.
    """
    answers, sureness = probabilities.argmax(axis=1), probabilities.max(axis=1)
    right, wrong = [], []
    for label in np.unique(labels):
        right += np.flatnonzero((labels == label) & (answers == label))[:1].tolist()
        missed = np.flatnonzero((labels == label) & (answers != label))
        wrong += missed[np.argsort(-sureness[missed], kind="stable")][:1].tolist()
    return np.array(right[:SHOWN] + wrong[:SHOWN], dtype=np.int64)
