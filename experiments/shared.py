"""Parts that the experiments share: runs that are trained once, tables in Markdown, and errors as one line."""

import dataclasses
from argparse import ArgumentParser, BooleanOptionalAction, Namespace
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from minattn.data.images.dataset import Images, ImageSplits
from minattn.errors import CheckpointError, ConfigError, MinattnError
from minattn.tasks import driver
from minattn.tasks.config import TaskConfig, as_json, settings_of
from minattn.tasks.files import read_json, write_json
from minattn.tasks.images.classifier import Classifier
from minattn.tasks.images.settings import ImageConfig
from minattn.tasks.images.task import ImageClassification
from minattn.tasks.run_folder import CONFIG, has_started, is_finished
from minattn.tasks.task import Source, Task
from minattn.tasks.threads import blas_threads
from minattn.training import LAST, Progress, load_checkpoint

CLASSIFICATION = ImageClassification()


def trained(task: Task, config: Any, source: Source, folder: Path) -> Any:
    """The best model of the run in this folder: trained now, resumed where it was stopped, or loaded.

    Raises CheckpointError where the run is one with other settings or data.
    """
    started = (folder / CONFIG).exists()
    if started:
        stored = driver.StoredRun.read(folder, task.name)
        if (settings_of(stored.config), stored.source) != (settings_of(config), source.absolute()):
            raise CheckpointError(f"{folder} was trained with other settings or data; hint: another --out")
    if not is_finished(folder):
        outcome = driver.resume(folder) if started else driver.start(task, config, source, folder)
        if outcome.interrupted:
            raise SystemExit(f"{folder}: {outcome.message}")
    return driver.load(folder)


# ---------------------------------------------------------------------------------------------- rows of a table
def add_row_options(parser: ArgumentParser) -> None:
    """Add the options of a table whose rows are trained with several seeds, some now and the others later."""
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="1 to N")
    parser.add_argument("--rows", nargs="+", metavar="ROW", help="train these only")
    parser.add_argument("--only-seed", type=int, metavar="N", help="train this seed only")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change another setting")


def check_row_options(arguments: Namespace, known: Sequence[str], differing: Collection[str]) -> None:
    """Raise ConfigError for a row that there is not, less than one seed, and a setting in which the rows differ."""
    for name in arguments.rows or ():
        if name not in known:
            raise ConfigError(f"there is no row {name!r}; hint: one of {', '.join(known)}")
    if arguments.seeds < 1:
        raise ConfigError(f"--seeds must be at least 1, got {arguments.seeds}")
    for setting in arguments.set:
        if setting.partition("=")[0].removeprefix("network.") in differing:
            raise ConfigError(f"the rows differ in {', '.join(sorted(differing))}: --set {setting} cannot be given")


def wanted(arguments: Namespace, row: str, seed: int) -> bool:
    """True where this row is to be trained with this seed."""
    return (arguments.rows is None or row in arguments.rows) and arguments.only_seed in (None, seed)


def stored_result(file: Path, given: dict[str, Any], train: Callable[[], dict] | None) -> dict | None:
    """The result in the file, or else that of `train`, which is written there with what it was made from.

    given: the settings and data of the result, as JSON has them; train: None where it is not wanted now.  Raises
    ConfigError where the file has a result of others.
    """
    if file.exists():
        stored = read_json(file)
        if stored["given"] != given:
            raise ConfigError(f"{file} is of a network with other settings or images; hint: another --out")
        return stored["result"]
    if train is None:
        return None
    result = train()
    write_json(file, {"given": given, "result": result})
    return result


def tested(
    row: Any, config: ImageConfig, splits: ImageSplits, folder: Path, train: bool, cost: Callable[[Any], dict]
) -> dict | None:
    """The accuracy of a network on the test images: from its file, or else trained where it is wanted.

    row: with a name and a title; cost: what more is kept of the classifier.
    """
    given = {"settings": as_json(config), "train": splits.train.fingerprint(), "test": splits.test.fingerprint()}

    def result() -> dict:
        classifier, seconds = fitted(config, splits, folder)
        score, parameters = accuracy(classifier, splits.test), classifier.model.count_parameters()
        print(f"{row.title}, seed {config.seed}: {score:.2f} %; {seconds:.0f} s", flush=True)
        kept = {"row": row.name, "seed": config.seed, "accuracy": score, "parameters": parameters, "seconds": seconds}
        return kept | cost(classifier)

    return stored_result(folder.with_suffix(".json"), given, result if train else None)


def by_seed(scores: np.ndarray) -> tuple[str, str]:
    """Two cells of a table: the scores of all seeds, and their mean with its standard deviation over the seeds."""
    deviation = f" ± {scores.std(ddof=1):.2f}" if len(scores) > 1 else ""
    return " ".join(f"{score:.2f}" for score in scores), f"{scores.mean():.2f}{deviation}"


# ---------------------------------------------------------------------------------------------- images
def add_image_options(parser: ArgumentParser, images: int, halve: bool) -> None:
    """Add the options of `image_splits`, with these defaults, but for --test."""
    parser.add_argument("--data", default="fashion-mnist", metavar="NAME|FOLDER", help="as of minattn train images")
    parser.add_argument("--images", type=int, default=images, metavar="N", help="train on the first N images only")
    parser.add_argument("--halve", action=BooleanOptionalAction, default=halve, help="images of half the side")


def image_splits(arguments: Namespace, source: Source, config: TaskConfig) -> ImageSplits:
    """The first `--images` images to train on, and the first `--test` to test on where there is that option.

    With --halve they have half their height and width.
    """
    splits = source.load(config)
    test = first(splits.test, getattr(arguments, "test", None), "--test", "test on")
    splits = dataclasses.replace(splits, train=first(splits.train, arguments.images), test=test)
    if arguments.halve:
        splits = dataclasses.replace(splits, **{name: halved(part) for name, part in splits.parts().items()})
    return splits


def halved(images: Images) -> Images:
    """The images with half as many rows and columns, each pixel the mean of 2x2; an odd last one is left out."""
    count, channels, height, width = images.pixels.shape
    even = images.pixels[:, :, : height // 2 * 2, : width // 2 * 2]
    means = even.reshape(count, channels, height // 2, 2, width // 2, 2).mean(axis=(3, 5))
    return Images(np.rint(means).astype(np.uint8), images.labels)


def first(images: Images, count: int | None, option: str = "--images", use: str = "train on") -> Images:
    """The first images; None is all of them.  Raises ConfigError for a count, of that option, that there is not."""
    if count is not None and not 1 <= count <= len(images):
        raise ConfigError(f"{option} must be in 1 to {len(images):,}, the images to {use}; got {count:,}")
    return images.at(slice(count))


@blas_threads()
def fitted(config: TaskConfig, splits: ImageSplits, folder: Path, task: Task = CLASSIFICATION) -> tuple[Any, float]:
    """(the task's predictor after its last step, the seconds it took), without a look at the dev or test images.

    One that is trained already is read from its folder, one that was stopped goes on.  Raises CheckpointError where the
    folder's is one with other settings or images.
    """
    predictor = task.build(config, splits)
    meta = {
        **driver.checkpoint_meta(task, predictor.config),
        **predictor.meta(),
        "images": splits.train.fingerprint(),
    }
    batches = predictor.batches(splits.train)
    trainer = driver.make_trainer(predictor, batches, folder, config.plan(), Progress(), meta)
    if has_started(folder):
        _, stored = load_checkpoint(folder / LAST)
        if any(stored.get(key) != meta[key] for key in meta):
            raise CheckpointError(f"{folder} was trained with other settings or images; hint: another --out")
        trainer.resume()
    outcome = driver.run_quietly(trainer)
    if outcome.interrupted:
        raise SystemExit(f"{folder}: stopped after step {outcome.step:,}; the same command goes on")
    return predictor, outcome.seconds


def accuracy(classifier: Classifier, images: Images) -> float:
    """Percent of the images that are classified correctly."""
    return 100 * (1 - float(classifier.predict(images).errors(images).mean()))


# ---------------------------------------------------------------------------------------------- what comes out
def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table whose first column is text, at the left, and whose others are numbers."""
    rule = ["|:---|", *["---:|"] * (len(header) - 1)]
    lines = [f"| {' | '.join(cells)} |" for cells in (header, *rows)]
    return "\n".join([lines[0], "".join(rule), *lines[1:]]) + "\n"


def run(main: Callable[[], None]) -> None:
    """Run a script; an error that is raised on purpose ends it with one line and the exit status 1."""
    try:
        main()
    except (MinattnError, OSError) as error:
        raise SystemExit(f"error: {error}") from None
