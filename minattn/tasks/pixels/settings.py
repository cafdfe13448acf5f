"""The settings of a run that learns to generate images."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np

from minattn.models.pixels.image_transformer import ImageTransformer, ImageTransformerConfig
from minattn.nn import Parameter
from minattn.tasks.config import TaskConfig
from minattn.tasks.fields import Bound, Count, Fraction, Positive
from minattn.tasks.images.settings import Color, Side
from minattn.training import Adam, Cosine, LinearWarmup, Optimizer, Plan, Schedule

UpToHundred = Annotated[int, Bound("in 1 to 100", lambda n: 1 <= n <= 100)]

SMALL = ImageTransformerConfig(
    height=8,
    width=8,
    channels=1,
    levels=16,
    query=32,
    query_height=4,
    query_width=4,
    layers=4,
    d_model=64,
    d_ff=256,
    heads=4,
    dropout=0.1,
)


@dataclass(frozen=True, kw_only=True)
class PixelConfig(TaskConfig):
    """A run's settings.  The defaults are for the 8x8 digits; `DEFAULTS` has those of other known data sets."""

    model: Annotated[str, "the network"] = "image_transformer"
    network: ImageTransformerConfig = SMALL
    batch_size: Annotated[Count, "images in a batch"] = 32
    epochs: Annotated[Count, "passes over the training images"] = 60
    lr: Annotated[Positive, "the highest learning rate; from there it falls along a cosine to lr / 20"] = 2e-3
    warmup: Annotated[Count, "steps in which the learning rate rises, at most a tenth of all"] = 100
    beta2: Annotated[Fraction, "beta2 of Adam"] = 0.98
    max_norm: Annotated[Positive, "the norm that the gradient is clipped to"] = 1.0
    samples: Annotated[UpToHundred, "images that the model samples and completes at each evaluation, of each kind"] = 10
    temperature: Annotated[Positive, "sampling temperature"] = 1.0
    size: Annotated[Side, "side in pixels that a folder's images are scaled to; 0: as they are"] = 0
    color: Annotated[Color, "colors of a folder's images: as they are, all gray, or all RGB"] = "keep"

    from_data: ClassVar[tuple[str, ...]] = ("height", "width", "channels")

    def build(self) -> ImageTransformer:
        """The untrained network."""
        return ImageTransformer(self.network, np.random.default_rng(self.seed))

    def plan(self) -> Plan:
        return Plan(epochs=self.epochs, max_norm=self.max_norm)

    def optimizer(self, parameters: Mapping[str, Parameter]) -> Optimizer:
        return Adam(parameters, self.lr, betas=(0.9, self.beta2))

    def schedule(self, steps: int) -> Schedule:
        return LinearWarmup(Cosine(self.lr, steps, self.lr / 20), min(self.warmup, max(1, steps // 10)))


DEFAULTS: dict[str | None, dict[str, Any]] = {
    "digits": {},
    None: {"epochs": 1, "batch_size": 16, "network.levels": 256, "network.query": 64, "network.query_width": 8},
}
"""The defaults for known data sets, and (None) for all others."""
