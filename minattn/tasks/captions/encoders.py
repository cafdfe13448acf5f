"""The network whose maps are attended to: the small one, one of the registry, or one that a run has trained."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from minattn.data.images.augmentation import Normalization
from minattn.data.images.dataset import described
from minattn.errors import CheckpointError, ConfigError, DataError
from minattn.kinds import shown
from minattn.models import registry
from minattn.models.captions.captioner import SmallEncoder, SmallEncoderConfig
from minattn.models.vision.layers import PooledNetwork
from minattn.nn import Module
from minattn.nn.initializers import Rng
from minattn.tasks.config import as_json, from_json

SMALL = "small"

HEAD = ("classifier", "fc1", "fc2", "fc3")
"""The linear layers behind the maps of the networks of the registry."""


@dataclass
class StoredEncoder:
    """What a checkpoint says of an encoder beside its parameters."""

    name: str
    network: dict[str, Any]
    frozen: bool


@dataclass(frozen=True)
class Encoder:
    """A network by its name, "small" or one of the registry, and its configuration.

    frozen: it is not trained; state: its parameters, None for new ones; normalization: of the images that it was
    trained on, None where it has seen none.
    """

    name: str
    network: Any
    frozen: bool = False
    state: Mapping[str, np.ndarray] | None = None
    normalization: Normalization | None = None

    @classmethod
    def of(cls, setting: str, shape: tuple[int, int, int]) -> Self:
        """The encoder that a setting names, for images of this shape (channels, height, width).

        Raises ConfigError where there is none of the name, DataError for a run on images of another shape.
        """
        if setting == SMALL:
            return cls(SMALL, SmallEncoderConfig(channels=shape[0]))
        if setting in registry.ENTRIES:
            if not issubclass(registry.ENTRIES[setting].network, PooledNetwork):
                raise ConfigError(f"{setting} does not end in maps; hint: a network that does, such as resnet20")
            vgg = hasattr(registry.ENTRIES[setting].config, "head")
            head = {"head": "mean"} if vgg else {}  # there are no large layers then, which would be left out anyway
            return cls(setting, registry.configuration(setting, channels=shape[0], **head))
        if not Path(setting).is_dir():
            raise ConfigError(
                f"there is no encoder {setting!r}; hint: small, a network that minattn summary lists, or the folder of "
                "a run of minattn train images"
            )
        return cls._of_run(setting, shape)

    @classmethod
    def _of_run(cls, folder: str, shape: tuple[int, int, int]) -> Self:
        from minattn.tasks import driver  # which imports every task

        classifier = driver.load(folder, task="images")
        if not isinstance(classifier.model, PooledNetwork):
            raise ConfigError(f"{folder}: {classifier.config.model} does not end in maps; hint: a run of resnet20")
        if classifier.shape != shape:
            raise DataError(
                f"the images are {described(shape)}, those that the encoder of {folder} was trained on "
                f"{described(classifier.shape)}; hint: images of that size, by size= and color="
            )
        state, config = classifier.model.state_dict(), classifier.config
        return cls(config.model, config.network, True, state, classifier.normalization)

    @classmethod
    def restored(cls, stored: StoredEncoder) -> Self:
        """The encoder of a checkpoint.  Raises CheckpointError where there is none of its name and configuration."""
        if stored.name != SMALL and stored.name not in registry.ENTRIES:
            raise CheckpointError(f"its encoder is {shown(stored.name)}, expected the name of a network")
        template = SmallEncoderConfig() if stored.name == SMALL else registry.ENTRIES[stored.name].config
        return cls(stored.name, from_json(template, stored.network, Path("the checkpoint")), stored.frozen)

    def build(self, rng: Rng) -> Module:
        """The network, without the linear layers behind its maps."""
        if self.name == SMALL:
            return SmallEncoder(self.network, rng)
        network = registry.ENTRIES[self.name].network(self.network, rng)
        if self.state is not None:
            network.load_state_dict(dict(self.state))
        for name in HEAD:
            vars(network).pop(name, None)
        return network

    def meta(self) -> dict[str, Any]:
        """JSON values, for a checkpoint."""
        return {"name": self.name, "network": as_json(self.network), "frozen": self.frozen}
