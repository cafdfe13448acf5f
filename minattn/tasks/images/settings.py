"""The settings of a run on images, and the networks that it can train.

`model=` names one of `minattn.models.registry`.  Those made for images of 32x32, such as resnet20, take smaller ones
too, down to the 8x8 of the digits; those of ImageNet want 224x224 or so, from a folder of images by size=224.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minattn.autograd import Tensor, no_grad
from minattn.data.images.fashion_mnist import has_idx_files
from minattn.data.images.folder import Color
from minattn.errors import ConfigError, DataError, ShapeError
from minattn.models import registry
from minattn.nn import Module, Parameter
from minattn.nn.initializers import unallocated
from minattn.tasks.config import check_kinds, with_settings
from minattn.training import SGD, Cosine, LinearWarmup, Optimizer, Schedule

SHOWN_MODELS = ("resnet8", "resnet20", "se_resnet20", "abn_resnet20")
"""Those that the help names."""

LARGEST = 2048
"""The largest side that images are scaled to: a batch of larger ones would fill the memory."""


@dataclass(frozen=True)
class ImageConfig:
    """A run's settings.  The defaults are for a folder of small images; `DEFAULTS` has those of the known data sets."""

    model: str = "resnet8"
    epochs: int = 30
    batch_size: int = 128
    lr: float = 0.1  # the highest; it rises over the first steps and then falls along a cosine to 0
    warmup: float = 0.2  # the share of the steps in which it rises
    momentum: float = 0.9  # Nesterov's
    weight_decay: float = 5e-4  # of matrices and kernels; not of biases, nor of batch normalization
    label_smoothing: float = 0.1  # in training alone: development losses are without it
    crop: int = 4  # an image is padded by so many pixels on each side, and a window of its own size cut out
    flip: bool = True  # each image is mirrored with probability 1/2, left to right
    size: int = 0  # of a folder: scale its images to squares of this side; 0: leave them as they are
    color: Color = "keep"  # of a folder: make all its images gray, or all RGB
    threads: int = 1  # that share each batch
    seed: int = 1

    def __post_init__(self) -> None:
        check_kinds(self)
        for name, least in (("epochs", 1), ("batch_size", 1), ("threads", 1), ("crop", 0), ("size", 0), ("seed", 0)):
            if getattr(self, name) < least:
                raise ConfigError(f"{name} must be at least {least}, got {getattr(self, name)}")
        if self.size > LARGEST:
            raise ConfigError(f"size must be at most {LARGEST:,} pixels, got {self.size:,}; hint: smaller images")
        if not 0 < self.lr < math.inf:
            raise ConfigError(f"lr must be a finite number above 0, got {self.lr}")
        if not 0 <= self.weight_decay < math.inf:
            raise ConfigError(f"weight_decay must be a finite number of at least 0, got {self.weight_decay}")
        for name in ("momentum", "label_smoothing"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"{name} must be in [0, 1), got {getattr(self, name)}")
        if not 0 < self.warmup <= 1:
            raise ConfigError(f"warmup, a share of the steps, must be in (0, 1], got {self.warmup}")
        if self.threads > self.batch_size:
            raise ConfigError(f"threads must be at most batch_size = {self.batch_size}, got {self.threads}")
        registry.configuration(self.model)  # refuses names that do not exist

    def build(self, classes: int, shape: tuple[int, int, int]) -> Module:
        """The untrained network for images of this shape (channels, height, width).

        Raises ConfigError where the images are too small for it, or too large.
        """
        try:
            self._try_out(0, classes, shape, training=False)  # no images go through all layers in no time
        except ShapeError as error:
            side = registry.configuration(self.model).size
            raise ConfigError(
                f"{self.model} does not take images of {shape[2]} x {shape[1]}: {error}; hint: another model, or "
                f"size={side}, for which it was made, with --data FOLDER"
            ) from error
        return registry.build(self.model, np.random.default_rng(self.seed), classes=classes, channels=shape[0])

    def check_parts(self, smallest: int, classes: int, shape: tuple[int, int, int]) -> None:
        """Raise ConfigError where a batch of `smallest` images leaves a thread one image, and the network cannot learn
        from one: its batch normalization has maps of a single place."""
        if smallest >= 2 * self.threads:
            return
        try:
            self._try_out(1, classes, shape, training=True)
        except ShapeError as error:
            raise ConfigError(
                f"{self.model} does not learn from one image of {shape[2]} x {shape[1]}, which has some maps of a "
                f"single place and so no variance to normalize by; batch_size={self.batch_size} and "
                f"threads={self.threads} leave a thread one image; hint: a larger batch_size, or fewer threads"
            ) from error

    def _try_out(self, images: int, classes: int, shape: tuple[int, int, int], training: bool) -> None:
        """Send black images through the network, without the memory of its weights."""
        with unallocated(), no_grad():
            network = registry.build(self.model, np.random.default_rng(0), classes=classes, channels=shape[0])
            network.train(training)(Tensor(np.zeros((images, *shape), np.float32)))

    def optimizer(self, parameters: Mapping[str, Parameter]) -> Optimizer:
        """Gradient descent with Nesterov's momentum; the weight decay is of all that has two axes or more."""
        nesterov = self.momentum > 0
        return SGD(
            parameters, self.lr, self.momentum, nesterov, self.weight_decay, lambda name: parameters[name].ndim > 1
        )

    def schedule(self, steps: int) -> Schedule:
        """The learning rate over a run of so many steps."""
        return LinearWarmup(Cosine(self.lr, steps), max(1, round(self.warmup * steps)))


DEFAULTS: dict[str, dict[str, Any]] = {
    "digits": {"epochs": 20, "batch_size": 32, "crop": 1, "flip": False},  # a mirrored digit is none
    "fashion-mnist": {"model": "resnet20", "epochs": 5, "batch_size": 64, "lr": 0.2, "crop": 2},
}
"""What a run on a known data set has in place of the defaults of `ImageConfig`."""


def holds_idx_files(folder: str) -> bool:
    """Whether the folder is one of the files of Fashion-MNIST.  Raises DataError where it may not be looked into."""
    try:
        return has_idx_files(Path(folder))
    except OSError as error:
        raise DataError(f"{folder} cannot be read: {error.strerror}; hint: a folder that can be read") from error


def config_from(settings: Sequence[str], model: str | None = None, data: str | None = None) -> ImageConfig:
    """The default settings for a data set or folder (None: digits), changed by `settings` of the form "key=value".

    The network is `model`, or what a setting "model=.." names, or the default.
    Raises ConfigError where the two differ.
    """
    named = [setting.partition("=")[2] for setting in settings if setting.startswith("model=")]
    if model is not None and any(name != model for name in named):
        raise ConfigError(f"the model is given twice, as {model!r} and by model={named[-1]}; hint: give it once")
    known = "fashion-mnist" if data and holds_idx_files(data) else data or "digits"
    config = ImageConfig(**DEFAULTS.get(known, {}))
    return with_settings(config if model is None else dataclasses.replace(config, model=model), settings)
