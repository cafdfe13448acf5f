"""The settings of a run of questions about facts."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np

from minattn.data.qa.facts import Representation
from minattn.models.memory.key_value_network import KeyValueNetwork, KeyValueNetworkConfig
from minattn.nn import Parameter
from minattn.tasks.config import TaskConfig
from minattn.tasks.fields import Count, NonNegative, Positive
from minattn.training import Adam, Cosine, Optimizer, Plan, Schedule

SMALL = KeyValueNetworkConfig(size=128, rule="coded")


@dataclass(frozen=True, kw_only=True)
class FactsConfig(TaskConfig):
    """A run's settings.  Hops are those of the authors' code, and entities are permuted in training."""

    model: Annotated[Literal["key_value"], "the network"] = "key_value"
    network: KeyValueNetworkConfig = SMALL
    memory: Annotated[Representation, "how facts are stored: triples, or documents by sentences or windows"] = "triples"
    slots: Annotated[Count, "slots that a question finds, at most"] = 100
    permute_entities: Annotated[bool, "permute the names in every training batch, so that none is memorized"] = True
    two_hops: Annotated[NonNegative, "questions that need two facts"] = 3000
    batch_size: Annotated[Count, "questions in a batch"] = 64
    epochs: Annotated[Count, "passes over the training questions"] = 4
    lr: Annotated[Positive, "the highest learning rate; from there it falls along a cosine to lr / 50"] = 1e-2
    max_norm: Annotated[Positive, "the norm that the gradient is clipped to"] = 5.0

    from_data: ClassVar[tuple[str, ...]] = ("features",)

    def build(self) -> KeyValueNetwork:
        """The untrained network."""
        return KeyValueNetwork(self.network, np.random.default_rng(self.seed))

    def plan(self) -> Plan:
        return Plan(epochs=self.epochs, max_norm=self.max_norm)

    def optimizer(self, parameters: Mapping[str, Parameter]) -> Optimizer:
        return Adam(parameters, self.lr)

    def schedule(self, steps: int) -> Schedule:
        return Cosine(self.lr, steps, self.lr / 50)
