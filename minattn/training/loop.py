"""The training loop: update, log, evaluate, save, until the budget is spent.

A run lives in a folder: `last.safetensors` (where it stands), `best.safetensors` (the best model that was evaluated)
and `log.jsonl`.  However it ends, SIGKILL included, it can be resumed, and then gives the numbers that it would have
given without the stop: all that decides them is a function of the saved state, never of the clock.  On the CPU that
holds bit for bit; a GPU may add up in another order each time, resumed or not.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from minattn.autograd import Tensor, keep_freed_memory, no_grad
from minattn.autograd.backend import Array
from minattn.errors import CheckpointError, ConfigError, DataError, MinattnError, TrainingError, listed
from minattn.nn import Module
from minattn.training.checkpoint import (
    Checkpoint,
    arrays_under,
    as_kind,
    check_numbers,
    restore_rng,
    rng_state,
    save_checkpoint,
)
from minattn.training.clipping import clip_grad_norm, clip_grad_norms, grad_norm
from minattn.training.interrupt import CtrlC
from minattn.training.log import JsonLog
from minattn.training.metrics import Metric
from minattn.training.optimizers import Optimizer
from minattn.training.parallel import DataParallel
from minattn.training.plan import Outcome, Plan, Saved, State
from minattn.training.progress import Progress, Speed, default_progress
from minattn.training.schedules import Constant, Schedule

LAST, BEST, LOG = "last.safetensors", "best.safetensors", "log.jsonl"


class Batches(Protocol):
    """Batches whose order is decided by the epoch alone, such as `LengthBucketedBatches`."""

    def __len__(self) -> int:
        """Batches per epoch."""

    def iterate(self, epoch: int, start: int = 0) -> Iterator[Any]:
        """The batches of an epoch, from number `start` on; both count from 0."""


class Recent(NamedTuple):
    """A step whose loss and gradient norm are still on the device, and the place of its batch."""

    step: int
    epoch: int
    position: int
    loss: Array
    norm: Array


class Trainer:
    """Trains a model: `run()` starts in a new folder; `resume()` and then `run()` go on with a run that was stopped.

    loss_fn(model, batch): the loss of one batch, a 0-d Tensor.
    schedule: step -> learning rate; None keeps the optimizer's.
    evaluate(model): metrics by name; called in evaluation mode, without gradients.
    metrics: what the log's first line tells of those metrics that are called "dev_" and their names.
    generators: the random generators that training draws from, by name, but for those that are attributes of the
    model's modules: these are found.
    meta: JSON values stored in the checkpoints for those who load them: the model's name and configuration.
    tokens(batch): what the speed in the log is counted in; None logs no speed.
    progress: None shows a bar on a terminal and plain lines elsewhere.
    threads: how many share each batch; with several, loss_fn and the batches must be as `DataParallel` asks.
    """

    def __init__(
        self,
        model: Module,
        optimizer: Optimizer,
        batches: Batches,
        loss_fn: Callable[[Module, Any], Tensor],
        folder: str | Path,
        plan: Plan,
        *,
        schedule: Schedule | None = None,
        evaluate: Callable[[Module], Mapping[str, float]] | None = None,
        metrics: Sequence[Metric] = (),
        generators: Mapping[str, np.random.Generator] | None = None,
        meta: Mapping[str, Any] | None = None,
        tokens: Callable[[Any], int] | None = None,
        progress: Progress | None = None,
        threads: int = 1,
    ) -> None:
        if not len(batches):
            raise DataError("there are no batches to train on; hint: give at least one")
        if plan.patience is not None and evaluate is None:
            raise ConfigError("patience counts evaluations, and there are none; hint: evaluate=...")
        self.model, self.optimizer, self.batches = model, optimizer, batches
        self.parallel = DataParallel(model, loss_fn, threads)
        self.folder, self.plan = Path(folder), plan
        self.schedule = schedule or Constant(optimizer.lr)
        self.evaluate, self.metrics = evaluate, metrics
        self.generators = {**_generators_of(model), **(generators or {})}
        for number, replica in enumerate(self.parallel.replicas, start=2):
            self.generators |= {f"thread {number}: {name}": g for name, g in _generators_of(replica).items()}
        self.meta = meta or {}
        self.tokens = tokens
        self.progress = progress or default_progress()
        self.state = State()
        self._recent: list[Recent] = []
        self._resumed = False

    # ------------------------------------------------------------------------------------------ the loop
    def run(self) -> Outcome:
        """Train until the budget is spent, patience ends or Ctrl-C is pressed, and save.

        The first Ctrl-C lets the running step finish; a second one raises KeyboardInterrupt at once.
        Raises TrainingError where the loss, the gradient, the parameters or all evaluations so far are not finite (the
        last checkpoint stays as it is) or the log cannot be written, CheckpointError where nothing can be saved or the
        folder holds another run.
        """
        keep_freed_memory()
        self._make_folder()
        self._saved = time.monotonic()
        self._started = self._saved - self.state.seconds
        self._speed = Speed()
        with JsonLog(self.folder / LOG, self.state.log_bytes) as self._log, self.progress, CtrlC() as ctrl_c:
            if not self._resumed:
                self._save(LAST)  # so that there is something to resume from the first step on
            if self.metrics and not self._log.length:
                self._log.write({"metrics": {f"dev_{metric.name}": asdict(metric) for metric in self.metrics}})
            self._train(ctrl_c)
            self._save(LAST)
            if not ctrl_c.pressed:
                self._evaluate_the_end()
        return self._outcome(ctrl_c.pressed)

    def _train(self, ctrl_c: CtrlC) -> None:
        self.model.train()
        batches = self._endless_batches()
        while not ctrl_c.pressed and not self.plan.spent(self.state, self._seconds()):
            self._update(next(batches))
            if self.state.step % self.plan.log_every == 0:
                self._log_step()
            if self._evaluation_is_due():
                self._evaluate()
                self._save(LAST)
            elif self._save_is_due():
                self._save(LAST)
            self.progress.advance(self.plan.fraction_done(self.state, self._seconds(), len(self.batches)))

    def _endless_batches(self) -> Iterator[Any]:
        """Epoch after epoch, from where the state stands; `_update` moves the state on."""
        while True:
            yield from self.batches.iterate(self.state.epoch, start=self.state.position)

    def _update(self, batch: Any) -> None:
        """One step.  Nothing in it waits for the device."""
        self.optimizer.lr = self.schedule(self.state.step + 1)
        self.optimizer.zero_grad()
        loss = self.parallel.backward(batch)
        parameters = self.optimizer.parameters.values()
        clip = clip_grad_norms if self.plan.clip_each else clip_grad_norm
        norm = clip(parameters, self.plan.max_norm) if self.plan.max_norm else grad_norm(parameters)
        self.optimizer.step()
        place = self.state.epoch, self.state.position
        self.state.advance(len(self.batches))
        self._recent.append(Recent(self.state.step, *place, loss, norm))
        if self.tokens:
            self._speed.tokens += self.tokens(batch)

    # ------------------------------------------------------------------------------------------ looking at it
    def _read_losses(self) -> None:
        """Bring the losses and norms of the last steps from the device into the state.

        Raises TrainingError at the first that is not finite.
        """
        for recent in self._recent:
            loss, norm = float(recent.loss), float(recent.norm)
            if not (math.isfinite(loss) and math.isfinite(norm)):
                place = f"step {recent.step} (batch {recent.position} of epoch {recent.epoch}, both from 0)"
                raise self._diverged(place, recent.step, f"the loss is {loss:g}, the gradient norm {norm:g}")
            self.state.losses.append(loss)
            self.state.norms.append(norm)
        self._recent.clear()

    def _diverged(self, place: str, step: int, what: str) -> TrainingError:
        return TrainingError(
            f"training diverged at {place}: {what}; hint: a lower learning rate (it was "
            f"{self.schedule(step):g}), a longer warm-up or clipping (max_norm, now {self.plan.max_norm}); "
            f"minattn's NaN locator names the operation it began in; {self.folder / LAST} is from before"
        )

    def _diverged_now(self, what: str) -> TrainingError:
        return self._diverged(f"step {self.state.step}", max(1, self.state.step), what)

    def _log_step(self) -> None:
        """Log the means over the steps since the last such line."""
        self._read_losses()
        state, speed = self.state, self._speed.read()
        record = {
            **self._where(),
            "loss": math.fsum(state.losses) / len(state.losses),
            "lr": self.optimizer.lr,
            "gradient_norm": math.fsum(state.norms) / len(state.norms),
            "tokens_per_second": speed if self.tokens else None,
        }
        state.losses.clear()
        state.norms.clear()
        self._log.write(record)
        self.progress.report(
            f"step {record['step']:,}  epoch {record['epoch']}  loss {record['loss']:.4f}  lr {record['lr']:.2e}  "
            f"gradient {record['gradient_norm']:.3g}" + (f"  {speed:,.0f} tokens/s" if self.tokens else "")
        )

    def _evaluate(self) -> None:
        """Evaluate, log, tell the schedule, and save the model if it is the best so far.

        Losses are read first: a model that diverged is never evaluated.  It may have done so in the last step, which no
        loss tells: a model with a metric that is not finite is never the best, and where no better one was found
        before, there is nothing to go on with.
        """
        self._read_losses()
        with self._speed.paused():
            metrics = self._evaluated()
        cost = self.plan.cost(metrics[self.plan.metric])
        finite = all(math.isfinite(value) for value in metrics.values())
        best = self.state.judge(cost if finite else math.nan, self.plan.last_is_best)
        self.schedule.observe(cost)
        self._log.write({**metrics, **self._where(), "best": best})
        self.progress.note(f"step {self.state.step:,}  evaluation: {_told(metrics)}{'  (best)' if best else ''}")
        if best:
            self._save(BEST)
        if not finite and self.state.best == math.inf:
            raise self._diverged_now(f"the evaluation gives {_told(metrics, ', ')}")

    def _evaluated(self) -> dict[str, float]:
        assert self.evaluate is not None
        self.model.eval()
        with no_grad():
            metrics = {name: float(value) for name, value in self.evaluate(self.model).items()}
        self.model.train()
        if self.plan.metric not in metrics:
            raise ConfigError(
                f"the evaluation returns {', '.join(metrics) or 'nothing'}, and the plan goes by {self.plan.metric!r}; "
                "hint: metric=... in the plan"
            )
        return metrics

    def _evaluate_the_end(self) -> None:
        """Evaluate what the budget's end has left unevaluated.

        `last` is written before and knows nothing of it: a run that is given a larger budget later evaluates when it
        would have, had the budget been larger from the start.
        """
        if self.evaluate and self.state.evaluated_step != self.state.step:
            self._evaluate()

    def _where(self) -> dict[str, Any]:
        state = self.state
        return {"step": state.step, "epoch": state.epoch, "position": state.position, "seconds": self._seconds()}

    # ------------------------------------------------------------------------------------------ when
    def _evaluation_is_due(self) -> bool:
        if self.evaluate is None:
            return False
        if self.plan.evaluate_every is None:
            return self.state.position == 0
        return self.state.step % self.plan.evaluate_every == 0

    def _save_is_due(self) -> bool:
        if self.plan.save_every is not None and self.state.step % self.plan.save_every == 0:
            return True
        return time.monotonic() - self._saved >= self.plan.save_seconds

    def _seconds(self) -> float:
        """Seconds this run has taken, all its resumed parts together."""
        return time.monotonic() - self._started

    # ------------------------------------------------------------------------------------------ saving, resuming
    def _make_folder(self) -> None:
        if not self._resumed and (self.folder / LAST).exists():
            raise CheckpointError(
                f"{self.folder} holds a run already; hint: resume it, or choose another folder for the new run"
            )
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CheckpointError(f"the folder {self.folder} cannot be made: {error.strerror}") from error

    def _save(self, file_name: str) -> None:
        """Write a checkpoint of everything.

        A step that diverged is never saved: its loss is read first, and the parameters that it left are checked.
        """
        self._read_losses()
        model = self.model.state_dict()
        if wrong := [name for name, array in model.items() if not np.isfinite(array).all()]:
            raise self._diverged_now(f"{len(wrong)} arrays of the model, {wrong[0]} the first, hold numbers not finite")
        self.state.seconds, self.state.log_bytes = self._seconds(), self._log.length
        optimizer = self.optimizer.state_dict()
        arrays = {f"optimizer/{name}": array for name, array in optimizer.pop("arrays").items()}
        arrays |= {f"model/{name}": array for name, array in model.items()}
        meta = {
            **self.meta,
            "state": asdict(self.state),
            "optimizer": optimizer,
            "schedule": self.schedule.state_dict(),
            "generators": {name: rng_state(generator) for name, generator in self.generators.items()},
        }
        save_checkpoint(self.folder / file_name, arrays, meta)
        self._saved = time.monotonic()

    def resume(self) -> None:
        """Put model, optimizer, schedule, random generators and state where the folder's last checkpoint has them.

        Raises CheckpointError where there is none, where it belongs to another model or another optimizer, and where it
        is damaged; no file has changed then.
        """
        path = self.folder / LAST
        checkpoint = Checkpoint.open(path)
        try:
            self._restore(checkpoint, as_kind(checkpoint.meta, Saved))
        except MinattnError as error:
            raise CheckpointError(f"{path} does not fit this run: {error}") from error
        if self.state.best < math.inf:
            Checkpoint.open(self.folder / BEST)  # or there would be nothing to load at the end
        self._resumed = True

    def _restore(self, checkpoint: Checkpoint, saved: Saved) -> None:
        saved.check(len(self.batches))
        layout = self.optimizer.layout(saved.optimizer.t)
        arrays = checkpoint.arrays(
            expected_of(self.model) | {f"optimizer/{name}": array for name, array in layout.items()}
        )
        check_numbers(arrays)
        self.model.load_state_dict(arrays_under("model", arrays))
        self.optimizer.load_state_dict({**asdict(saved.optimizer), "arrays": arrays_under("optimizer", arrays)})
        if saved.schedule.keys() != self.schedule.state_dict().keys():
            raise CheckpointError(
                f"it is of another schedule of learning rates, with {listed(saved.schedule) or 'none'}"
            )
        self.schedule.load_state_dict(saved.schedule)
        if saved.generators.keys() != self.generators.keys():
            raise CheckpointError(
                f"it has the random generators {sorted(saved.generators)}, this run {sorted(self.generators)}; "
                "hint: resume with those the run was started with"
            )
        for name, generator in self.generators.items():
            restore_rng(generator, saved.generators[name])
        self.state = saved.state

    def _outcome(self, interrupted: bool) -> Outcome:
        state = self.state
        reason = "stopped by Ctrl-C" if interrupted else self.plan.spent(state, self._seconds())
        evaluated = state.best < math.inf
        value = self.plan.cost(state.best)
        best = f"; best {self.plan.metric} {value:.4g} at step {state.best_step:,}" if evaluated else ""
        hint = f"; to go on, resume the run in {self.folder}" if interrupted else ""
        return Outcome(
            interrupted=interrupted,
            message=f"{reason}, after step {state.step:,} and {self._seconds():,.0f} s{best}{hint}",
            step=state.step,
            epoch=state.epoch,
            seconds=self._seconds(),
            best=value if evaluated else None,
            best_step=state.best_step,
            last=self.folder / LAST,
            best_checkpoint=self.folder / BEST if evaluated else None,
        )


def expected_of(model: Module) -> dict[str, Tensor]:
    """The parameters and buffers of a model by the names that their arrays have in a checkpoint."""
    return {f"model/{name}": tensor for name, tensor in {**model.named_parameters(), **model.named_buffers()}.items()}


def _told(metrics: Mapping[str, float], between: str = "  ") -> str:
    return between.join(f"{name} {value:.4g}" for name, value in metrics.items())


def _generators_of(model: Module) -> dict[str, np.random.Generator]:
    """The random generators that modules hold, such as those of dropout, by attribute path."""
    return {
        f"{path}.{name}": value
        for path, module in model.named_modules().items()
        for name, value in vars(module).items()
        if isinstance(value, np.random.Generator)
    }
