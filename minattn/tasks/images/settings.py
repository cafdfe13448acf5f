"""The settings of a run on images, and the networks that it can train.

`model=` names one of `minattn.models.registry`.  Those made for images of 32x32, such as resnet20, take smaller ones
too, down to the 8x8 of the digits; those of ImageNet want 224x224 or so, from a folder of images by size=224.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

import numpy as np

from minattn.autograd import Tensor, no_grad
from minattn.data.images.folder import Color
from minattn.errors import ConfigError, ShapeError
from minattn.models import registry
from minattn.models.vision import highway
from minattn.nn import Module, Parameter
from minattn.nn.initializers import unallocated
from minattn.tasks.config import TaskConfig
from minattn.tasks.fields import Bound, Count, Fraction, NonNegative, NonNegativeFloat, Positive
from minattn.training import SGD, Cosine, LinearWarmup, Optimizer, Plan, Schedule

LARGEST = 2048
"""The largest side that images are scaled to: a batch of larger ones would fill the memory."""

Side = Annotated[int, Bound(f"at least 0 and at most {LARGEST:,} pixels", lambda n: 0 <= n <= LARGEST)]
ShareOfSteps = Annotated[float, Bound("a share of the steps in (0, 1]", lambda x: 0 < x <= 1)]


@dataclass(frozen=True, kw_only=True)
class ImageConfig(TaskConfig):
    """A run's settings.  The defaults are for a folder of small images; `DEFAULTS` has those of the known data sets."""

    batch_size: Annotated[Count, "images in a batch"] = 128
    epochs: Annotated[Count, "passes over the training images"] = 30
    lr: Annotated[Positive, "the highest learning rate; from there it falls along a cosine to 0"] = 0.1
    warmup: Annotated[ShareOfSteps, "the share of the steps in which the learning rate rises"] = 0.2
    momentum: Annotated[Fraction, "Nesterov momentum"] = 0.9
    weight_decay: Annotated[NonNegativeFloat, "weight decay of matrices and kernels, not of biases or batch norm"] = (
        5e-4
    )
    label_smoothing: Annotated[Fraction, "label smoothing of the training loss"] = 0.1
    crop: Annotated[NonNegative, "pixels of padding on each side before a window of the image's size is cut out"] = 4
    flip: Annotated[bool, "mirror each image with probability 1/2, left to right"] = True
    size: Annotated[Side, "side in pixels that a folder's images are scaled to; 0: as they are"] = 0
    color: Annotated[Color, "colors of a folder's images: as they are, all gray, or all RGB"] = "keep"

    from_data: ClassVar[tuple[str, ...]] = ("classes", "channels", "pixels", "sides")

    @classmethod
    def of(cls, model: str, **settings: Any) -> "ImageConfig":
        """The settings with this network, as it was published.

        Raises ConfigError where there is none of the name, and for one that tells no classes apart.
        """
        network = registry.configuration(model)
        if not hasattr(network, "classes"):
            raise ConfigError(f"{model} tells no classes of images apart; hint: minattn train pose --model {model}")
        return cls(model=model, network=network, **settings)

    def fitted(self, classes: int, shape: tuple[int, int, int]) -> "ImageConfig":
        """The settings with the network for so many classes and images of this shape (channels, height, width).

        Raises ConfigError where the images are too small for it, or too large.
        """
        found = {"classes": classes, "channels": shape[0]}
        if hasattr(self.network, "pixels"):  # linear layers alone: the first one takes an image as one row
            found["pixels"] = shape[1] * shape[2]
        if hasattr(self.network, "sides"):  # positions are embedded
            found["sides"] = shape[1:]
        config = replace(self, network=replace(self.network, **found))
        try:
            config._try_out(0, shape, training=False)  # no images go through all layers in no time
        except ShapeError as error:
            raise ConfigError(
                f"{self.model} does not take images of {shape[2]} x {shape[1]}: {error}; hint: another model, or "
                f"size={self.network.size}, for which it was made, with --data FOLDER"
            ) from error
        return config

    def build(self) -> Module:
        """The untrained network."""
        return registry.ENTRIES[self.model].network(self.network, np.random.default_rng(self.seed))

    def check_batches(self, smallest: int, shape: tuple[int, int, int]) -> None:
        """Raise ConfigError where a batch of `smallest` images leaves a thread one image, and the network cannot learn
        from one: its batch normalization has maps of a single location."""
        if smallest >= 2 * self.threads:
            return
        try:
            self._try_out(1, shape, training=True)
        except ShapeError as error:
            raise ConfigError(
                f"{self.model} does not learn from one image of {shape[2]} x {shape[1]}, which has some maps of a "
                f"single location and so no variance to normalize by; batch_size={self.batch_size} and "
                f"threads={self.threads} leave a thread one image; hint: a larger batch_size, or fewer threads"
            ) from error

    def _try_out(self, images: int, shape: tuple[int, int, int], training: bool) -> None:
        """Send black images through the network, without the memory of its parameters."""
        with unallocated(), no_grad():
            self.build().train(training)(Tensor(np.zeros((images, *shape), np.float32)))

    def plan(self) -> Plan:
        return Plan(epochs=self.epochs)

    def optimizer(self, parameters: Mapping[str, Parameter]) -> Optimizer:
        """Gradient descent with Nesterov's momentum; the weight decay is of all that has two axes or more."""
        nesterov = self.momentum > 0
        return SGD(
            parameters, self.lr, self.momentum, nesterov, self.weight_decay, lambda name: parameters[name].ndim > 1
        )

    def schedule(self, steps: int) -> Schedule:
        return LinearWarmup(Cosine(self.lr, steps), max(1, round(self.warmup * steps)))


DEFAULTS: dict[str, dict[str, Any]] = {
    "digits": {"epochs": 20, "batch_size": 32, "crop": 1, "flip": False},  # a mirrored digit is none
    "fashion-mnist": {"model": "resnet20", "epochs": 5, "batch_size": 64, "lr": 0.2, "crop": 2},
    "cifar10": {"model": "resnet20"},
}
"""The defaults for known data sets, in place of those of `ImageConfig`."""

MODEL_DEFAULTS: dict[str, dict[str, Any]] = {
    name: {"lr": 0.03, "weight_decay": 0.0, "label_smoothing": 0.0} for name in highway.THIN
} | {name: {"lr": 0.01, "label_smoothing": 0.0} for name in (*highway.MNIST, *highway.CIFAR)}
"""The defaults for networks that want others than the rest: those without batch normalization, a lower rate."""
