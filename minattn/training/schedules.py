"""Learning-rate schedules: the number of the step, counted from 1, to the learning rate of that step.

A rate depends on the step alone (the plateau: on the evaluations too), never on the clock, so a run that was
stopped and resumed has the rates of one that was not.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from minattn.errors import ConfigError


class Schedule:
    """A schedule is called with the step; only `Plateau` makes use of the other three."""

    def __call__(self, step: int) -> float:
        """The learning rate of step 1, 2, ..."""
        raise NotImplementedError

    def observe(self, metric: float) -> None:
        """Take note of an evaluation (lower is better)."""

    def state_dict(self) -> dict[str, Any]:
        """The state to save, JSON values by name."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put back what `state_dict` gave."""


@dataclass(frozen=True)
class Constant(Schedule):
    """Always lr."""

    lr: float

    def __call__(self, step: int) -> float:
        return self.lr


@dataclass(frozen=True)
class StepDecay(Schedule):
    """lr factor^k after k milestones: a milestone is the last step before the rate drops.

    `range(n, total, n)` as milestones drops it every n steps.
    """

    lr: float
    milestones: Sequence[int]
    factor: float = 0.1

    def __call__(self, step: int) -> float:
        return self.lr * self.factor ** sum(milestone < step for milestone in self.milestones)


@dataclass(frozen=True)
class Exponential(Schedule):
    """lr factor^((step - 1) / period): the rate shrinks by `factor` over `period` steps, a little in each."""

    lr: float
    factor: float
    period: int = 1

    def __post_init__(self) -> None:
        _check(self.period >= 1, "period", self.period, "at least 1 step")

    def __call__(self, step: int) -> float:
        return self.lr * self.factor ** ((step - 1) / self.period)


@dataclass(frozen=True)
class Cosine(Schedule):
    """Half a cosine wave from lr at step 1 down to `lowest`, reached after `total` steps and kept.

    Loshchilov & Hutter 2017, SGDR: stochastic gradient descent with warm restarts, equation (5) without restarts:
    lowest + (lr - lowest) (1 + cos(pi (step - 1) / total)) / 2
    """

    lr: float
    total: int
    lowest: float = 0.0

    def __post_init__(self) -> None:
        _check(self.total >= 1, "total", self.total, "at least 1 step")

    def __call__(self, step: int) -> float:
        done = min((step - 1) / self.total, 1.0)
        return self.lowest + (self.lr - self.lowest) * (1 + math.cos(math.pi * done)) / 2


@dataclass(frozen=True)
class LinearWarmup(Schedule):
    """Another schedule, scaled by min(1, step / steps): the rate rises in a straight line over the first `steps`.

    Goyal et al. 2017, Accurate, large minibatch SGD: training ImageNet in 1 hour, section 2.2.  The other schedule's
    milestones keep their places: it does not start later.
    """

    schedule: Schedule
    steps: int

    def __post_init__(self) -> None:
        _check(self.steps >= 1, "steps", self.steps, "at least 1 step")

    def __call__(self, step: int) -> float:
        return min(1.0, step / self.steps) * self.schedule(step)

    def observe(self, metric: float) -> None:
        self.schedule.observe(metric)

    def state_dict(self) -> dict[str, Any]:
        return self.schedule.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.schedule.load_state_dict(state)


@dataclass(frozen=True)
class Noam(Schedule):
    """The Transformer's: up in a straight line for `warmup` steps, then down as 1 / sqrt(step).

    Vaswani et al. 2017, Attention is all you need, equation (3), times `scale` (1 in the paper):
    dim^-0.5 min(step^-0.5, step warmup^-1.5)
    """

    dim: int
    warmup: int = 4000
    scale: float = 1.0

    def __post_init__(self) -> None:
        _check(self.dim >= 1, "dim", self.dim, "at least 1")
        _check(self.warmup >= 1, "warmup", self.warmup, "at least 1 step")

    def __call__(self, step: int) -> float:
        return self.scale * self.dim**-0.5 * min(step**-0.5, step * self.warmup**-1.5)  # (3)


class Plateau(Schedule):
    """The rate shrinks by `factor` after `patience` evaluations in a row that brought no new best metric.

    It never goes below `lowest`.  After a drop the count starts again.
    """

    def __init__(self, lr: float, factor: float = 0.2, patience: int = 5, lowest: float = 0.0) -> None:
        _check(0 < factor < 1, "factor", factor, "between 0 and 1")
        _check(patience >= 1, "patience", patience, "at least 1 evaluation")
        self.lr, self.factor, self.patience, self.lowest = lr, factor, patience, lowest
        self.best = math.inf
        self.stale = 0

    def __call__(self, step: int) -> float:
        return self.lr

    def observe(self, metric: float) -> None:
        if metric < self.best:
            self.best, self.stale = metric, 0
            return
        self.stale += 1
        if self.stale == self.patience:
            self.lr, self.stale = max(self.lr * self.factor, self.lowest), 0

    def state_dict(self) -> dict[str, Any]:
        return {"lr": self.lr, "best": self.best, "stale": self.stale}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.lr, self.best, self.stale = state["lr"], state["best"], state["stale"]


def _check(fits: bool, name: str, value: float, expected: str) -> None:
    if not fits:
        raise ConfigError(f"{name} of a schedule must be {expected}, got {value}")
