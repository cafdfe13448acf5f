"""The settings of a run that finds joints."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

import numpy as np

from minattn.data.pose.batches import Changes
from minattn.models.pose.hourglass import CONFIGURATIONS, HourglassConfig, StackedHourglass
from minattn.nn import Parameter
from minattn.tasks.config import TaskConfig
from minattn.tasks.fields import Count, NonNegativeFloat, Positive, ZeroToTen
from minattn.training import Adam, Cosine, LinearWarmup, Optimizer, Plan, Schedule


@dataclass(frozen=True, kw_only=True)
class PoseConfig(TaskConfig):
    """A run's settings.  The defaults are for drawn figures; those for photographs are in `PHOTOGRAPHS`."""

    network: HourglassConfig
    batch_size: Annotated[Count, "bodies in a batch"] = 16
    epochs: Annotated[Count, "passes over the bodies to train on"] = 4
    lr: Annotated[Positive, "the highest learning rate; from there it falls along a cosine to 0"] = 4e-3
    intermediate: Annotated[bool, "intermediate supervision: the loss of every stack, not of the last alone"] = True
    sigma: Annotated[Positive, "the width of the targets, in pixels of the maps"] = 1.0
    flip: Annotated[bool, "mirror each image with probability 1/2"] = True
    scale: Annotated[ZeroToTen, "standard deviation of log2 of a random size"] = 0.0
    rotation: Annotated[NonNegativeFloat, "standard deviation of a random turn of 2 images in 5, in degrees"] = 0.0
    color: Annotated[NonNegativeFloat, "the most that each color's random factor differs from 1"] = 0.0

    from_data: ClassVar[tuple[str, ...]] = ("joints", "channels")

    def fitted(self, joints: int) -> "PoseConfig":
        """The settings with the network for so many joints."""
        return replace(self, network=replace(self.network, joints=joints))

    def build(self) -> StackedHourglass:
        """The untrained network."""
        return StackedHourglass(self.network, np.random.default_rng(self.seed))

    @property
    def changes(self) -> Changes:
        """How much images differ from epoch to epoch."""
        return Changes(self.scale, self.rotation, self.color, self.flip)

    def plan(self) -> Plan:
        return Plan(epochs=self.epochs)

    def optimizer(self, parameters: Mapping[str, Parameter]) -> Optimizer:
        return Adam(parameters, self.lr)

    def schedule(self, steps: int) -> Schedule:
        return LinearWarmup(Cosine(self.lr, steps), max(1, steps // 20))


PHOTOGRAPHS: dict[str, Any] = {"epochs": 60, "scale": 0.25, "rotation": 30.0, "color": 0.4}
"""As in the paper, but for the epochs."""

PUBLISHED: dict[str, Any] = {"batch_size": 6, "lr": 2.5e-4}
"""Of the published networks, as in the authors' code, but for Adam in place of RMSprop."""

MODELS = {
    name: PoseConfig(model=name, network=CONFIGURATIONS[name], **({} if name.startswith("small") else PUBLISHED))
    for name in ("small_hourglass2", *CONFIGURATIONS)
}
