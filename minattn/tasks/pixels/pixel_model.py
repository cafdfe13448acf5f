"""An Image Transformer that is trained, scored and asked to sample and to complete images."""

import math
from dataclasses import replace
from typing import Any, Self

import numpy as np

from minattn.autograd import Tensor, no_grad, ops
from minattn.data.images.dataset import Images, described
from minattn.data.images.levels import LevelBatch, LevelBatches, Levels, from_levels, to_levels
from minattn.errors import DataError
from minattn.tasks.pixels.settings import PixelConfig
from minattn.tasks.task import OnProgress, ignore_progress
from minattn.tasks.threads import blas_threads

EVALUATION_BATCH = 32
"""Images that are scored at a time."""


class PixelModel:
    """An Image Transformer of images of one size."""

    def __init__(self, config: PixelConfig) -> None:
        self.config = config
        self.model = config.build()

    @classmethod
    def of(cls, config: PixelConfig, images: Images) -> Self:
        """An untrained one for images like these."""
        channels, height, width = images.shape
        network = replace(config.network, channels=channels, height=height, width=width)
        return cls(replace(config, network=network))

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width)."""
        return self.config.network.shape

    @property
    def has_encoder(self) -> bool:
        """True for super-resolution."""
        return self.config.network.encoder_layers > 0

    def levels(self, images: Images) -> Levels:
        """The images in as many levels as the model has."""
        return to_levels(images.pixels, self.config.network.levels)

    def low_resolution(self, images: Levels) -> Levels | None:
        """What the encoder takes of the images, each level the mean of factor x factor; None without an encoder."""
        if not self.has_encoder:
            return None
        factor, (channels, height, width) = self.config.network.factor, self.config.network.low_resolution
        blocks = images.reshape(len(images), channels, height, factor, width, factor)
        return np.rint(blocks.mean(axis=(3, 5))).astype(np.int64)

    # ------------------------------------------------------------------------------------------ training and scoring
    tokens = None  # the speed of training is not logged

    def batches(self, train: Images) -> LevelBatches:
        """Batches of images to train on."""
        return LevelBatches(self.levels(train), self.config.batch_size, self.config.seed)

    def check(self, images: Images, name: str) -> None:
        """Raise DataError where images, called `name`, are of another size than those the model was trained on."""
        if images.shape != self.shape:
            raise DataError(
                f"{name}: the images are {described(images.shape)}, those that the model was trained on "
                f"{described(self.shape)}; hint: images of that size"
            )

    def loss(self, model: Any, batch: LevelBatch) -> Tensor:
        """-log p of the images in nats, for each channel of a pixel."""
        channels, height, width = self.shape
        total = ops.sum(model.log_likelihood(batch.images, self.low_resolution(batch.images)))
        return -total / (len(batch.images) * channels * height * width)

    @blas_threads()
    @no_grad()
    def mean_loss(self, images: Images, on_progress: OnProgress = ignore_progress) -> float:
        """The mean of `loss` over the images."""
        self.model.eval()
        pixels, losses, done = self.levels(images), [], 0
        for start in range(0, len(pixels), EVALUATION_BATCH):
            batch = LevelBatch(pixels[start : start + EVALUATION_BATCH])
            losses.append(self.loss(self.model, batch).item() * len(batch.images))
            done += len(batch.images)
            on_progress(done, len(pixels))
        return math.fsum(losses) / len(pixels)

    # ------------------------------------------------------------------------------------------ sampling
    @blas_threads()
    def completed(
        self,
        pixels: np.ndarray,
        rows: int,
        temperature: float = 1.0,
        seed: int = 0,
        on_progress: OnProgress = ignore_progress,
    ) -> np.ndarray:
        """Images (count, channels, height, width) in bytes: the first `rows` rows stay, the others are sampled.

        An encoder takes the low-resolution images of all rows.
        """
        network, model = self.config.network, self.model.eval()
        images = to_levels(pixels, network.levels)
        tokens = model.tokens(images)
        given = model.order // network.columns < rows
        made = tokens
        rng = np.random.default_rng(seed)
        for made in model.sample(tokens, given, rng, temperature, self.low_resolution(images)):
            on_progress(made.shape[1], network.length)
        return from_levels(model.images(made), network.levels)

    # ------------------------------------------------------------------------------------------ checkpoints
    def meta(self) -> dict[str, Any]:
        """Nothing: the settings have the size of the images."""
        return {}
