"""A network with its classes and its pixels' mean: trained, scored, and asked what it sees."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np

from minattn.attention.spatial.attention_branch import AttentionBranch
from minattn.attention.spatial.residual_attention import ResidualAttention
from minattn.autograd import Tensor, asnumpy, no_grad, ops, to_device
from minattn.data.images.augmentation import ImageBatch, ImageBatches, Normalization, evaluation_images
from minattn.data.images.dataset import Images, ImageSplits, described
from minattn.data.images.folder import Color, read_image, read_image_folder
from minattn.errors import CheckpointError, ConfigError, DataError
from minattn.models.vision.attention_branch_network import BranchedLogits, branched_loss
from minattn.nn import Linear
from minattn.tasks.images.settings import ImageConfig
from minattn.tasks.task import OnProgress, ignore_progress
from minattn.tasks.threads import blas_threads

MODE_NAMES = {"1": "black and white", "L": "gray", "LA": "gray with alpha", "P": "with a palette"}
"""The meaning of some of Pillow's modes; the names of the others, such as RGB, say it."""

EVALUATION_BATCH = 250
"""Images that are scored at a time."""


class Predictions(NamedTuple):
    """The predictions of a network for images: probabilities (images, classes), and their mean loss in nats."""

    probabilities: np.ndarray
    loss: float

    def checked(self) -> Self:
        """Itself.  Raises CheckpointError where a probability is not finite."""
        if not np.isfinite(self.probabilities).all():
            raise CheckpointError(
                "the model's predictions are not finite: its training diverged; hint: a new run with a lower "
                "learning rate"
            )
        return self

    def errors(self, images: Images) -> np.ndarray:
        """(images,): True where the likeliest class is not the right one."""
        return self.probabilities.argmax(axis=1) != images.labels


@dataclass
class StoredClasses:
    """What a checkpoint says beside the network's parameters."""

    classes: list[str]
    shape: tuple[int, int, int]
    mean: list[float]
    std: list[float]

    def __post_init__(self) -> None:
        if min(self.shape) < 1 or len(self.mean) != self.shape[0]:
            raise ConfigError(f"images of shape {self.shape} with means of {len(self.mean)} channels")


class Classifier:
    """A network with its classes, the shape (channels, height, width) of its images, and how they are normalized."""

    def __init__(
        self,
        config: ImageConfig,
        classes: Sequence[str],
        shape: tuple[int, int, int],
        normalization: Normalization,
    ) -> None:
        if (config.network.classes, config.network.channels) != (len(classes), shape[0]):
            raise ConfigError(f"the network is not one for {len(classes)} classes and {shape[0]} channels")
        self.config, self.classes, self.shape, self.normalization = config, tuple(classes), shape, normalization
        self.model = config.build()

    @classmethod
    def of(cls, config: ImageConfig, splits: ImageSplits) -> Self:
        """An untrained one for images like these."""
        config = config.fitted(len(splits.classes), splits.train.shape)
        return cls(config, splits.classes, splits.train.shape, Normalization.of(splits.train))

    # ------------------------------------------------------------------------------------------ training
    tokens = None  # the speed of training is not logged

    def batches(self, images: Images) -> ImageBatches:
        """Batches of images to train on, as the settings say."""
        config = self.config
        found = ImageBatches(images, config.batch_size, config.seed, self.normalization, config.crop, config.flip)
        config.check_batches(found.smallest, images.shape)
        return found

    # ------------------------------------------------------------------------------------------ scoring
    def loss(self, model: Any, batch: ImageBatch) -> Tensor:
        """The training loss: the mean over the images of -log p(class), of smoothed classes; in nats.

        A network with an attention branch has a second answer, with a loss of its own: L_att + L_per.
        """
        output, smoothing = model(on_device(model, batch.images)), self.config.label_smoothing
        if isinstance(output, BranchedLogits):
            return branched_loss(output, batch.labels, smoothing)
        return ops.cross_entropy(output, batch.labels, label_smoothing=smoothing)

    @blas_threads()
    @no_grad()
    @np.errstate(all="ignore")
    def predict(self, images: Images, on_progress: OnProgress = ignore_progress) -> Predictions:
        """The predictions for these images, without label smoothing; `on_progress` counts the images.

        Without NumPy's warnings: `Predictions.checked` says more of what is not finite.
        """
        self.model.eval()
        probabilities, total, done = [], 0.0, 0
        for batch in evaluation_images(images, EVALUATION_BATCH, self.normalization):
            output = self.model(on_device(self.model, batch.images))
            logits = output.logits if isinstance(output, BranchedLogits) else output
            probabilities.append(asnumpy(ops.softmax(logits).data))
            total += ops.cross_entropy(logits, batch.labels, reduction="sum").item()
            done += len(batch.labels)
            on_progress(done, len(images))
        return Predictions(np.concatenate(probabilities), total / len(images))

    @blas_threads()
    @no_grad()
    def maps(self, images: Images, answers: np.ndarray) -> list[tuple[str, np.ndarray]]:
        """Maps of where the network looks: `(name, maps (images, height, width))` of each kind that it has.

        The attention branch's map, where it has one; the mean over the channels of every soft mask; where it ends in
        pooling and a linear layer, the class activation maps of the `answers` (images,) and of the right classes.
        """
        self.model.eval()
        pixels = on_device(self.model, self.normalization(images.pixels))
        _, attention = self.model(pixels, return_attention=True)
        modules, panels = self.model.named_modules(), []
        for path, weights in attention.items():
            maps = asnumpy(weights.data)
            if isinstance(modules[path], AttentionBranch):
                panels.append(("attention branch", maps[:, 0]))
            if isinstance(modules[path], ResidualAttention):
                panels.append((f"mask {len(panels) + 1}, {maps.shape[3]} x {maps.shape[2]}", maps.mean(1)))
            if isinstance(modules[path], Linear):  # class activation maps
                every = np.arange(len(images))
                for name, classes in (("answer", answers), ("right class", images.labels)):
                    panels.append((f"class map, {name}", maps[every, classes]))
        return panels

    # ------------------------------------------------------------------------------------------ reading
    @property
    def color(self) -> Color:
        """The colors that the model sees."""
        return "gray" if self.shape[0] == 1 else "rgb"

    def read(self, path: str | Path) -> tuple[np.ndarray, str]:
        """(the pixels of an image file as this model takes them, what the file has, such as "28 x 28, RGBA")."""
        pixels = read_image(path, color=self.color)
        from PIL import Image  # it is there, or reading would have failed

        with Image.open(path) as file:
            mode = MODE_NAMES.get(file.mode, file.mode)
        _, height, width = pixels.shape
        taken = pixels if pixels.shape == self.shape else read_image(path, self.shape[1:], self.color)
        return taken, f"{width} x {height}, {mode}"

    def read_folder(self, folder: str | Path) -> Images:
        """The images of a folder of classes; of one that is divided into "train" and "test", those to test on.

        Raises DataError where a class is one that the model was not trained on.
        """
        folder = Path(folder)
        if (folder / "train").is_dir() and (folder / "test").is_dir():
            folder = folder / "test"
        images, _ = read_image_folder(folder, self.config.size, self.color, self.classes)
        return images

    def check(self, images: Images, name: str) -> None:
        """Raise DataError where images, called `name`, are of another size than those the model was trained on."""
        if images.shape != self.shape:
            raise DataError(
                f"{name}: the images are {described(images.shape)}, those that the model was trained on "
                f"{described(self.shape)}; hint: images of that size"
            )

    def check_classes(self, classes: Sequence[str], source: str) -> None:
        """Raise DataError where the classes are other ones than those the model was trained on."""
        if tuple(classes) != self.classes:
            raise DataError(
                f"the classes of {source} are {', '.join(classes)}, those that the model was trained on "
                f"{', '.join(self.classes)}; hint: images of those classes"
            )

    # ------------------------------------------------------------------------------------------ checkpoints
    def meta(self) -> dict[str, Any]:
        """The classes, shape and normalization, for a checkpoint."""
        return {
            "classes": list(self.classes),
            "shape": list(self.shape),
            "mean": list(self.normalization.mean),
            "std": list(self.normalization.std),
        }


def on_device(model: Any, images: np.ndarray) -> Tensor:
    """The images where the model's parameters are."""
    return Tensor(to_device(images, model.parameters()[0].device))
