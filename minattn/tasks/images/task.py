"""Image classification by a convolutional network, with the attention of its predictions.

The data are the 8x8 digits that scikit-learn ships, Fashion-MNIST, CIFAR-10, or any folder of images by class.  The
score is the share of the test images that the best model names rightly; the best is that with the fewest errors on the
dev images, which are held out of those to train on.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from minattn.data import ImageSplits, Normalization
from minattn.data.images.dataset import Images, described
from minattn.errors import DataError
from minattn.models import registry
from minattn.tasks.images.classifier import Classifier, Predictions, StoredClasses
from minattn.tasks.images.settings import DEFAULTS, MODEL_DEFAULTS, ImageConfig
from minattn.tasks.images.source import ImageSource
from minattn.tasks.task import Evaluation, OnProgress, Output, Task, ignore_progress
from minattn.training import Metric, as_kind

MAPS = "maps.png"

SHOWN = 10
"""The number of right answers, and of wrong ones, in the figure of maps."""

SHOWN_CLASSES = 3
"""The number of likeliest classes in a prediction."""


class ImageClassification(Task):
    """Image classification."""

    name = "images"
    help = "Learn to classify images."
    source = ImageSource
    items = "images"
    metrics = (Metric("error", "images", axis="error rate (%)", short="error", unit="%"),)
    shown_models = ("resnet8", "resnet20", "se_resnet20", "abn_resnet20")

    @property
    def models(self) -> dict[str, ImageConfig]:
        return {name: self.default(name) for name in registry.names("classes")}

    def default(self, model: str | None = None, source: ImageSource | None = None) -> ImageConfig:
        """The settings with this network and these data; without data, those of the digits."""
        settings = {"model": self.shown_models[0], **DEFAULTS.get((source or ImageSource()).data_set, {})}
        settings |= {} if model is None else {"model": model}
        return ImageConfig.of(**settings | MODEL_DEFAULTS.get(settings["model"], {}))

    def build(self, config: ImageConfig, splits: ImageSplits) -> Classifier:
        if len(splits.classes) < 2:
            raise DataError(
                f"there is one class of images, {splits.classes[0]}; expected two or more to tell apart; "
                "hint: a folder for each class"
            )
        return Classifier.of(config, splits)

    def restored(self, config: ImageConfig, meta: Mapping[str, Any]) -> Classifier:
        stored = as_kind(meta, StoredClasses)
        return Classifier(config, stored.classes, stored.shape, Normalization(stored.mean, stored.std))

    def evaluate(self, predictor: Classifier, data: Images, on_progress: OnProgress = ignore_progress) -> Evaluation:
        """Score a run's best model on its test images: accuracy."""
        predictions = predictor.predict(data, on_progress)
        details = scores(predictions, data, predictor.classes)
        return Evaluation({"loss": predictions.loss, "error": details["error"]}, len(data), details, predictions)

    def read(self, predictor: Classifier, path: str) -> Images:
        """Read images of a data set by its name, of a folder, or of the test part of what is divided."""
        source = ImageSource(path)
        if source.of_classes():
            return predictor.read_folder(path)
        splits = source.load_data_set()
        predictor.check_classes(splits.classes, path)
        return splits.test

    def describe(self, splits: ImageSplits) -> str:
        passed_over = f"; passed over: {', '.join(splits.passed_over)}" if splits.passed_over else ""
        return f"{described(splits.train.shape)}; {len(splits.classes)} classes{passed_over}"

    def summary(self, test: Mapping[str, Any]) -> str:
        return f"{test['accuracy']:.2f} % right, {super().summary(test)}"

    def remarks(self, report: Mapping[str, Any]) -> dict[str, str]:
        shares = report["test"]["class_accuracy"]
        hardest = min(shares, key=shares.get)
        return {"hardest": f"{hardest}, {shares[hardest]:.1f} % right"}

    def figures(self, predictor: Classifier, test: Images, evaluation: Evaluation, folder: Path) -> Sequence[str]:
        """The maps of where the model looks in some of the test images."""
        chosen = examples(evaluation.predictions.probabilities, test.labels)
        answers = evaluation.predictions.probabilities[chosen].argmax(axis=1)
        return [MAPS] if draw_maps(folder / MAPS, predictor, test.at(chosen), answers) else []

    def predict(
        self, predictor: Classifier, output: Output, paths: Annotated[list[str], "image files", "IMAGE"]
    ) -> None:
        """Classify images."""
        read = [predictor.read(path) for path in paths]
        pixels = np.stack([pixels for pixels, _ in read])
        probabilities = predictor.predict(Images(pixels, np.zeros(len(pixels), np.int64))).checked().probabilities
        for path, (_, was), row in zip(paths, read, probabilities, strict=True):
            likeliest = np.argsort(-row, kind="stable")[:SHOWN_CLASSES]
            output.line(f"{path}  " + "  ".join(f"{predictor.classes[k]} {100 * row[k]:.1f} %" for k in likeliest))
            if was != described(predictor.shape):
                output.note(f"{path} is {was}; the model saw it as {described(predictor.shape)}")

    def example(self, source: ImageSource) -> str:
        return "IMAGE.png"


def scores(predictions: Predictions, images: Images, classes: Sequence[str]) -> dict[str, Any]:
    """Accuracy and error in percent, of all images and of each class that they have, and the confusion of classes.

    `confusion[i][j]` images of class i were taken for class j.
    """
    pairs = images.labels * len(classes) + predictions.probabilities.argmax(axis=1)
    confusion = np.bincount(pairs, minlength=len(classes) ** 2).reshape(len(classes), len(classes))
    seen = confusion.sum(axis=1)
    shares = 100 * confusion.diagonal() / seen.clip(1)
    return {
        "accuracy": 100 * int(confusion.trace()) / len(images),
        "error": 100 * (len(images) - int(confusion.trace())) / len(images),
        "class_accuracy": {name: share for name, share, n in zip(classes, shares.tolist(), seen, strict=True) if n},
        "confusion": confusion.tolist(),
    }


def draw_maps(path: Path, classifier: Classifier, images: Images, answers: np.ndarray) -> bool:
    """Draw the maps of `Classifier.maps` over these images; False where the network has none."""
    from minattn.viz.maps import attention_maps

    panels = classifier.maps(images, answers)
    if panels:
        shown = images.pixels.astype(np.float32) / 255
        attention_maps(shown, panels, images.labels, answers, classifier.classes, path, columns=SHOWN)
    return bool(panels)


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
