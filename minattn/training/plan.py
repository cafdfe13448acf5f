"""The plan of a training run, its state, and its outcome."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from minattn.errors import CheckpointError, ConfigError


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The limits and intervals of a run; steps are updates of the parameters, intervals are in steps.

    epochs, steps, seconds: the budget; the first that is spent ends the run.  Seconds count over all resumed parts.
    max_norm: clip the gradient to this norm; clip_each: that of every parameter by itself.
    evaluate_every: evaluate after so many steps; None: after each epoch.
    metric: chooses the best model, and stops early: a name that the evaluation returns; a model with any metric that
    is not finite is never the best.
    lower_is_better: False where the best model has the highest value of the metric.
    last_is_best: the best model is the last, whatever its metric, for papers that report the end of training.
    patience: stop after so many evaluations in a row without a new best.
    log_every: read the loss from the device and log it after so many steps.
    save_every, save_seconds: write the `last` checkpoint after so many steps, and after so many seconds.
    Raises ConfigError for values that are out of range, and where nothing would ever end the run.
    """

    epochs: int | None = None
    steps: int | None = None
    seconds: float | None = None
    max_norm: float | None = None
    clip_each: bool = False
    evaluate_every: int | None = None
    metric: str = "dev_loss"
    lower_is_better: bool = True
    last_is_best: bool = False
    patience: int | None = None
    log_every: int = 20
    save_every: int | None = None
    save_seconds: float = 300.0

    def __post_init__(self) -> None:
        numbers = {name: value for name, value in vars(self).items() if type(value) in (int, float)}
        for name, value in numbers.items():
            if not value > 0:
                raise ConfigError(f"{name} of a training plan must be above 0, got {value}")
        if self.epochs is None and self.steps is None and self.seconds is None:
            raise ConfigError("nothing would end this training; hint: give epochs, steps or seconds")

    def cost(self, metric: float) -> float:
        """The metric, or its negative: the lower the better."""
        return metric if self.lower_is_better else -metric

    def spent(self, state: "State", seconds: float) -> str:
        """The limit that is reached, in words; empty while none is."""
        if self.steps is not None and state.step >= self.steps:
            return f"all {self.steps:,} steps are done"
        if self.epochs is not None and state.epoch >= self.epochs:
            return f"all {self.epochs:,} epochs are done"
        if self.patience is not None and state.stale >= self.patience:
            return f"{state.stale} evaluations in a row brought no better {self.metric}"
        if self.seconds is not None and seconds >= self.seconds:
            return f"the {self.seconds:g} seconds are over"
        return ""

    def fraction_done(self, state: "State", seconds: float, batches_per_epoch: int) -> float:
        """The share of the budget that is spent, 0 to 1."""
        epochs = state.epoch + state.position / batches_per_epoch
        spent = ((state.step, self.steps), (epochs, self.epochs), (seconds, self.seconds))
        return min(1.0, max(used / limit for used, limit in spent if limit is not None))


@dataclass
class State:
    """The state of a run; with the arrays and the random generators it is all that a resumed run needs.

    step: updates made.  epoch, position: the next batch is number `position` of epoch `epoch`, both from 0.
    best, best_step: the best value of the plan's metric, negated where higher is better, and its step.
    stale: evaluations since.
    losses, norms: of the steps since the last line of the log, whose means the next line gives.
    log_bytes: the length of the log when this state was saved.
    """

    step: int = 0
    epoch: int = 0
    position: int = 0
    seconds: float = 0.0
    best: float = math.inf
    best_step: int = 0
    stale: int = 0
    evaluated_step: int = 0
    log_bytes: int = 0
    losses: list[float] = field(default_factory=list)
    norms: list[float] = field(default_factory=list)

    def advance(self, batches_per_epoch: int) -> None:
        """Count one update and move to the next batch, which may be the first of the next epoch."""
        self.step += 1
        self.position += 1
        if self.position == batches_per_epoch:
            self.epoch, self.position = self.epoch + 1, 0

    def judge(self, cost: float, last_is_best: bool = False) -> bool:
        """Take note of an evaluation, the lower the better; True where it is the best so far.  NaN never is."""
        self.evaluated_step = self.step
        if cost < self.best or (last_is_best and not math.isnan(cost)):
            self.best, self.best_step, self.stale = cost, self.step, 0
            return True
        self.stale += 1
        return False


@dataclass
class OptimizerState:
    """The state of an optimizer beside its arrays; t: the updates that each parameter has had."""

    kind: str
    lr: float
    t: dict[str, int]


@dataclass
class Saved:
    """What a checkpoint says of training beside the arrays, with the types that it must have."""

    state: State
    optimizer: OptimizerState
    schedule: dict[str, int | float]
    generators: dict[str, dict[str, Any]]

    def check(self, batches_per_epoch: int) -> None:
        """Raise CheckpointError where these numbers are none that training comes to."""
        state = self.state
        counts = (state.step, state.position, state.best_step, state.stale, state.evaluated_step, state.log_bytes)
        numbers = (state.best, *state.losses, *state.norms, *self.schedule.values())
        evaluations = max(state.best_step, state.evaluated_step, state.stale)
        for holds, words in (
            (min(counts) >= 0 <= state.epoch, "counts from 0 on"),
            (state.position < batches_per_epoch, f"one of the {batches_per_epoch} batches of an epoch"),
            (state.step == state.epoch * batches_per_epoch + state.position, "the step that its batch belongs to"),
            (evaluations <= state.step, "no evaluation after its last step"),
            (len(state.losses) == len(state.norms) <= state.step, "as many norms as losses"),
            (all(0 <= t <= state.step for t in self.optimizer.t.values()), "no more updates than steps"),
            (-math.inf not in numbers and not any(map(math.isnan, numbers)), "numbers, none of them NaN or -Infinity"),
            (0 <= state.seconds < math.inf, "the seconds that it took"),
        ):
            if not holds:
                raise CheckpointError(f"its state is none of a run: expected {words}")


@dataclass(frozen=True)
class Outcome:
    """The end of a run: `interrupted` by Ctrl-C (then it can be resumed), or done; `message` says it in a sentence.

    best: the best value of the plan's metric, at `best_step`; None where there was no evaluation.
    last, best_checkpoint: the checkpoints, the second being None where there is none.
    """

    interrupted: bool
    message: str
    step: int
    epoch: int
    seconds: float
    best: float | None
    best_step: int
    last: Path
    best_checkpoint: Path | None
