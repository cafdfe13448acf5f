"""The settings of a run of question answering, those of one task and those of all tasks together."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal

import numpy as np

from minattn.models.memory.memn2n import MemN2NConfig
from minattn.models.memory.restarts import Restarts
from minattn.nn import Parameter
from minattn.tasks.config import TaskConfig
from minattn.tasks.fields import AT_LEAST_ONE, Count, Fraction, NonNegative, Positive
from minattn.training import SGD, Optimizer, Plan, Schedule, StepDecay

SMALL, LARGE = MemN2NConfig(size=20), MemN2NConfig(size=50)


@dataclass(frozen=True, kw_only=True)
class QAConfig(TaskConfig):
    """A run's settings, by default those of section 4.2 of Sukhbaatar et al. 2015 for all tasks together.

    As there, the loss of a batch is the sum over its questions: the mean is trained on with batch_size times the rate.
    """

    model: Annotated[Literal["memn2n"], "the network"] = "memn2n"
    network: MemN2NConfig = LARGE
    task: Annotated[int | None, "the number of one task; none: all tasks together", "N", AT_LEAST_ONE] = None
    restarts: Annotated[Count, "networks trained at once, of which the best on the dev questions is kept"] = 1
    batch_size: Annotated[Count, "questions in a batch"] = 32
    linear_epochs: Annotated[NonNegative, "passes over the training questions with linear start, before the others"] = (
        30
    )
    epochs: Annotated[Count, "passes over the training questions, those of linear start not counted"] = 60
    lr: Annotated[Positive, "the learning rate at first, of the loss summed over a batch"] = 0.005
    halve_every: Annotated[Count, "epochs after which the learning rate is halved, again and again"] = 15
    max_norm: Annotated[Positive, "the norm that the gradient of each matrix, summed over a batch, is clipped to"] = (
        40.0
    )
    noise: Annotated[Fraction, "empty memories put in at random, as a share of a story's sentences"] = 0.1
    evaluate_every: Annotated[Count, "steps between evaluations"] = 300

    from_data: ClassVar[tuple[str, ...]] = ("vocab_size", "longest")

    def build(self) -> Restarts:
        """The untrained networks."""
        return Restarts(self.network, self.restarts, np.random.default_rng(self.seed))

    def plan(self) -> Plan:
        return Plan(
            epochs=self.linear_epochs + self.epochs,
            max_norm=self.max_norm / self.batch_size,
            clip_each=True,
            last_is_best=True,
            evaluate_every=self.evaluate_every,
        )

    def optimizer(self, parameters: Mapping[str, Parameter]) -> Optimizer:
        return SGD(parameters, self.lr * self.batch_size)

    def schedule(self, steps: int) -> Schedule:
        epoch = steps // (self.linear_epochs + self.epochs)
        milestones = range(self.linear_epochs + self.halve_every, self.linear_epochs + self.epochs, self.halve_every)
        return StepDecay(self.lr * self.batch_size, [n * epoch for n in milestones], 0.5)


ALL_TASKS = QAConfig()
ONE_TASK = replace(ALL_TASKS, network=SMALL, restarts=10, linear_epochs=20, epochs=100, halve_every=25)
