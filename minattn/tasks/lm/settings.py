"""The networks that learn to write, and the settings of a run with each."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Self

import numpy as np

from minattn.models.memory.memn2n_language_model import MemoryLanguageModel, MemoryLanguageModelConfig
from minattn.models.sequence.language_model import LanguageModel, LanguageModelConfig
from minattn.nn import Parameter
from minattn.tasks.config import TaskConfig
from minattn.tasks.fields import Count, Fraction, Positive
from minattn.training import Adam, Cosine, LinearWarmup, Optimizer, Plan, Schedule

SMALL = LanguageModelConfig(layers=4, d_model=128, d_ff=512, heads=4, norm="pre", positions="sinusoidal")
SMALL_MEMORY = MemoryLanguageModelConfig(size=128, hops=6, memory=32)


@dataclass(frozen=True, kw_only=True)
class LanguageConfig(TaskConfig):
    """A run's settings.  The defaults write something readable after ten minutes on one CPU core."""

    model: Annotated[str, "the network"] = "transformer"
    network: LanguageModelConfig | MemoryLanguageModelConfig = SMALL
    context: Annotated[Count, "T: how many characters back the model can look"] = 128
    batch_size: Annotated[Count, "windows of T characters in a batch"] = 8
    steps: Annotated[Count, "updates of the parameters"] = 4000
    lr: Annotated[Positive, "the highest learning rate; from there it falls along a cosine to lr / 20"] = 2e-3
    warmup: Annotated[Count, "steps in which the learning rate rises, at most a tenth of all"] = 100
    beta2: Annotated[Fraction, "beta2 of Adam"] = 0.99
    max_norm: Annotated[Positive, "the norm that the gradient is clipped to"] = 1.0
    evaluate_every: Annotated[Count, "steps between evaluations"] = 500
    sample: Annotated[Count, "characters that the model writes at each evaluation"] = 240
    temperature: Annotated[Positive, "sampling temperature"] = 0.7

    from_data: ClassVar[tuple[str, ...]] = ("vocab_size", "max_length")

    def of_size(self, symbols: int) -> Self:
        """The same settings for so many symbols."""
        longest = {"max_length": self.context} if isinstance(self.network, LanguageModelConfig) else {}
        return replace(self, network=replace(self.network, vocab_size=symbols, **longest))

    def build(self) -> LanguageModel | MemoryLanguageModel:
        """The untrained network."""
        rng = np.random.default_rng(self.seed)
        if isinstance(self.network, MemoryLanguageModelConfig):
            return MemoryLanguageModel(self.network, rng)
        return LanguageModel(self.network, rng)

    def plan(self) -> Plan:
        return Plan(steps=self.steps, max_norm=self.max_norm, evaluate_every=self.evaluate_every)

    def optimizer(self, parameters: Mapping[str, Parameter]) -> Optimizer:
        return Adam(parameters, self.lr, betas=(0.9, self.beta2))

    def schedule(self, steps: int) -> Schedule:
        return LinearWarmup(Cosine(self.lr, steps, self.lr / 20), min(self.warmup, max(1, steps // 10)))


MODELS = {
    "transformer": LanguageConfig(),
    "memory": LanguageConfig(model="memory", network=SMALL_MEMORY, batch_size=4, lr=1e-2),
}
"""The default settings of a run, by network."""
