"""A network with its classes and its pixels' mean: what the images recipe trains, scores and asks what it sees."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np

from minattn.attention.spatial.attention_branch import AttentionBranch
from minattn.autograd import Tensor, asnumpy, check_device, no_grad, ops, to_device
from minattn.data.images.augmentation import ImageBatch, ImageBatches, Normalization, evaluation_images
from minattn.data.images.dataset import Images, ImageSplits, described
from minattn.data.images.folder import Color, read_image, read_image_folder
from minattn.errors import CheckpointError, DataError
from minattn.models.vision.attention_branch_network import BranchedLogits, branched_loss
from minattn.nn import Linear
from minattn.tasks.config import from_stored
from minattn.tasks.driver import load_best
from minattn.tasks.images.settings import ImageConfig
from minattn.tasks.run_folder import CONFIG, read_run
from minattn.tasks.threads import blas_threads
from minattn.training import Plan, Trainer
from minattn.training.progress import Progress

RECIPE = "images"

MODE_NAMES = {"1": "black and white", "L": "gray", "LA": "gray with alpha", "P": "with a palette"}
"""What some of Pillow's modes are; the names of the others, such as RGB, say it."""

EVALUATION_BATCH = 250
"""Images that are looked at at a time."""


class Looked(NamedTuple):
    """What a network says of images: probabilities (images, classes), and their mean loss in nats."""

    probabilities: np.ndarray
    loss: float

    def checked(self, run: str | Path) -> Self:
        """Itself.  Raises CheckpointError where the model of `run` says something that is not finite."""
        if not np.isfinite(self.probabilities).all():
            raise CheckpointError(
                f"what the model of {run} says is not finite: its training diverged; hint: a new run with a lower "
                "learning rate"
            )
        return self

    def errors(self, images: Images) -> np.ndarray:
        """(images,): True where the likeliest class is not the right one."""
        return self.probabilities.argmax(axis=1) != images.labels


class Classifier:
    """A network with its classes, the shape (channels, height, width) of its images, and how they are normalized."""

    def __init__(
        self,
        config: ImageConfig,
        classes: Sequence[str],
        shape: tuple[int, int, int],
        normalization: Normalization,
    ) -> None:
        self.config, self.classes, self.shape, self.normalization = config, tuple(classes), shape, normalization
        self.model = config.build(len(self.classes), shape)

    @classmethod
    def of(cls, config: ImageConfig, splits: ImageSplits) -> Self:
        """An untrained one for images like these."""
        return cls(config, splits.classes, splits.train.shape, Normalization.of(splits.train))

    # ------------------------------------------------------------------------------------------ training
    def batches(self, images: Images) -> ImageBatches:
        """These images to train on, as the settings say."""
        config = self.config
        return ImageBatches(images, config.batch_size, config.seed, self.normalization, config.crop, config.flip)

    def trainer(
        self,
        batches: ImageBatches,
        folder: Path,
        plan: Plan,
        progress: Progress,
        meta: Mapping[str, Any],
        evaluate: Callable[[Any], dict[str, float]] | None = None,
    ) -> Trainer:
        """What trains the network on these batches, as the settings say; the other arguments are those of `Trainer`."""
        config = self.config
        return Trainer(
            self.model,
            config.optimizer(self.model.named_parameters()),
            batches,
            self.loss,
            folder,
            plan,
            schedule=config.schedule(config.epochs * len(batches)),
            evaluate=evaluate,
            meta=meta,
            progress=progress,
            threads=config.threads,
        )

    # ------------------------------------------------------------------------------------------ measuring
    def loss(self, model: Any, batch: ImageBatch) -> Tensor:
        """What training minimizes: the mean over the images of -log p(class), of smoothed classes; in nats.

        A network with an attention branch has a second answer, with a loss of its own: L_att + L_per.
        """
        output, smoothing = model(on_device(model, batch.images)), self.config.label_smoothing
        if isinstance(output, BranchedLogits):
            return branched_loss(output, batch.labels, smoothing)
        return ops.cross_entropy(output, batch.labels, label_smoothing=smoothing)

    @blas_threads()
    @no_grad()
    @np.errstate(all="ignore")
    def look(self, images: Images) -> Looked:
        """What the network says of these images, without label smoothing.

        Without NumPy's warnings: `Looked.checked` says more of what is not finite.
        """
        self.model.eval()
        probabilities, total = [], 0.0
        for batch in evaluation_images(images, EVALUATION_BATCH, self.normalization):
            output = self.model(on_device(self.model, batch.images))
            logits = output.logits if isinstance(output, BranchedLogits) else output
            probabilities.append(asnumpy(ops.softmax(logits).data))
            total += ops.cross_entropy(logits, batch.labels, reduction="sum").item()
        return Looked(np.concatenate(probabilities), total / len(images))

    @blas_threads()
    @no_grad()
    def maps(self, images: Images, answers: np.ndarray) -> list[tuple[str, np.ndarray]]:
        """Where the network looks: `(what it is, maps (images, height, width))` of each kind that it has.

        The attention branch's map, where it has one; the class activation maps of the `answers` (images,) and of the
        right classes, where it ends in pooling and a linear layer.
        """
        self.model.eval()
        pixels = on_device(self.model, self.normalization(images.pixels))
        _, attention = self.model(pixels, return_attention=True)
        modules, panels = self.model.named_modules(), []
        for path, weights in attention.items():
            maps = asnumpy(weights.data)
            if isinstance(modules[path], AttentionBranch):
                panels.append(("attention branch", maps[:, 0]))
            if isinstance(modules[path], Linear):  # class activation maps
                every = np.arange(len(images))
                for name, classes in (("answer", answers), ("right class", images.labels)):
                    panels.append((f"class map, {name}", maps[every, classes]))
        return panels

    # ------------------------------------------------------------------------------------------ reading
    @property
    def color(self) -> Color:
        """What the model sees of an image."""
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

        Raises DataError where they are of another size, or a class is one that the model was not trained on.
        """
        folder = Path(folder)
        if (folder / "train").is_dir() and (folder / "test").is_dir():
            folder = folder / "test"
        images, _ = read_image_folder(folder, self.config.size, self.color, self.classes)
        self.check_takes(images, self.classes, str(folder))
        return images

    def check_takes(self, images: Images, classes: Sequence[str], source: str) -> None:
        """Raise DataError where images are of another size or of other classes than those the model was trained on."""
        if images.shape != self.shape:
            raise DataError(
                f"the images in {source} are {described(images.shape)}, those that the model was trained on "
                f"{described(self.shape)}; hint: images of that size"
            )
        if tuple(classes) != self.classes:
            raise DataError(
                f"the classes of {source} are {', '.join(classes)}, those that the model was trained on "
                f"{', '.join(self.classes)}; hint: images of those classes"
            )

    # ------------------------------------------------------------------------------------------ checkpoints
    def meta(self) -> dict[str, Any]:
        """What a checkpoint says of its model."""
        return {
            "recipe": RECIPE,
            "config": dataclasses.asdict(self.config),
            "classes": list(self.classes),
            "shape": list(self.shape),
            "mean": list(self.normalization.mean),
            "std": list(self.normalization.std),
        }

    @classmethod
    def load(cls, run: str | Path, device: str = "cpu") -> Self:
        """The best model of a run folder, or the last where none was evaluated yet.

        Raises CheckpointError where the folder is no images run, or its checkpoint is missing, damaged or another's.
        """
        check_device(device)
        folder = Path(run)
        config = from_stored(ImageConfig, read_run(folder, RECIPE).get("config"), folder / CONFIG)

        def build(meta: Mapping[str, Any]) -> Self:
            _check_meta(meta)
            channels, height, width = meta["shape"]
            return cls(config, meta["classes"], (channels, height, width), Normalization(meta["mean"], meta["std"]))

        return load_best(folder, RECIPE, config, build, device)


def _check_meta(meta: Mapping[str, Any]) -> None:
    """Raise CheckpointError, or KeyError, where a checkpoint does not say what `Classifier.meta` does."""
    classes, shape = meta["classes"], meta["shape"]
    if not (isinstance(classes, list) and classes and all(isinstance(name, str) for name in classes)):
        raise CheckpointError(f"its classes are {classes!r}, expected a list of names")
    if not (isinstance(shape, list) and len(shape) == 3 and all(type(n) is int and n > 0 for n in shape)):
        raise CheckpointError(f"its shape is {shape!r}, expected [channels, height, width]")
    for name in ("mean", "std"):
        numbers = meta[name]
        kinds = [type(number) for number in numbers] if isinstance(numbers, list) else []
        if len(kinds) != shape[0] or not set(kinds) <= {int, float} or not np.isfinite(numbers).all():
            raise CheckpointError(
                f"its {name} is {numbers!r}, expected a finite number for each of {shape[0]} channels"
            )
    if min(meta["std"]) <= 0:
        raise CheckpointError(f"its std is {meta['std']!r}, expected numbers above 0")


def on_device(model: Any, images: np.ndarray) -> Tensor:
    """The images where the model's weights are."""
    return Tensor(to_device(images, model.parameters()[0].device))
