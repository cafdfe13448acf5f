"""The driver of all tasks: it starts and resumes runs, scores their best models, and loads them.

It refuses wrong arguments before it writes anything.
"""

import dataclasses
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minattn.autograd import check_device
from minattn.autograd.memory import machine_memory
from minattn.data import Splits
from minattn.data.splits import PARTS, fingerprint
from minattn.errors import CheckpointError, ConfigError, DataError, MinattnError, listed, without_hint
from minattn.nn import Module
from minattn.nn.initializers import within_memory
from minattn.tasks.config import as_json, from_json
from minattn.tasks.files import write_json
from minattn.tasks.registry import task_named
from minattn.tasks.run_folder import (
    CONFIG,
    CURVES,
    REPORT,
    check_libraries,
    check_unused,
    check_writable,
    has_started,
    locked,
    new_run,
    read_run,
)
from minattn.tasks.task import Evaluation, Predictor, Source, Task
from minattn.tasks.threads import blas_threads
from minattn.training import BEST, LAST, LOG, Batches, Outcome, Plan, Trainer, arrays_under
from minattn.training.checkpoint import Checkpoint, check_numbers
from minattn.training.loop import expected_of
from minattn.training.progress import Progress, default_progress

NEW_DATA = "start a new run with the new ones"


def nothing() -> None:
    """What is announced by default."""


# ---------------------------------------------------------------------------------------------- a run
@blas_threads()
def start(
    task: Task,
    config: Any,
    source: Source,
    folder: str | Path,
    device: str = "cpu",
    make_progress: Callable[[], Progress] = default_progress,
    announce: Callable[[], None] = nothing,
) -> Outcome:
    """Train a model in a new folder.

    When the budget is spent, the best model is scored on the test data and the figures are drawn.  After Ctrl-C
    neither is done: resume the run to finish it.  `announce` is called when the device and the data are there.
    """
    folder, source = Path(folder), source.absolute()
    check_libraries()
    check_device(device)
    source.check_run_folder(folder)
    check_unused(folder)
    progress = make_progress()
    splits = load_data(task, source, config, progress, announce)
    with within_memory(machine_memory()):
        predictor = task.build(config, splits)
    for part, data in splits.parts().items():
        predictor.check(data, f"the {part} {task.items} of {source.name(part)}")
    trainer = _trainer(task, predictor, splits, folder, device, progress)
    content = {
        **source.versions(),
        "task": task.name,
        "config": as_json(predictor.config),
        "source": dataclasses.asdict(source),
        "data": splits.fingerprints(),
    }
    with new_run(folder, content):
        return _finished(task, run_quietly(trainer), folder, splits, device, make_progress())


@blas_threads()
def resume(
    folder: str | Path,
    device: str = "cpu",
    make_progress: Callable[[], Progress] = default_progress,
    announce: Callable[[], None] = nothing,
) -> Outcome:
    """Go on with a run that was stopped, as if it had not been.  `announce` is called as by `start`.

    Raises DataError where its data have changed, CheckpointError where the folder is no run or damaged.
    """
    folder = Path(folder)
    stored = StoredRun.read(folder)
    task = stored.task
    check_libraries()
    check_device(device)
    check_writable(folder, "a folder that can be written to")
    with locked(folder):
        progress = make_progress()
        splits = load_data(task, stored.source, stored.config, progress, announce)
        stored.check_same(splits.fingerprints(), NEW_DATA)
        with within_memory(machine_memory()):
            predictor = task.build(stored.config, splits)
        trainer = _trainer(task, predictor, splits, folder, device, progress)
        if has_started(folder):
            for name in (LAST, BEST):
                if name == LAST or os.path.lexists(folder / name):
                    check_checkpoint(folder / name, trainer.meta, trainer.model)
            trainer.resume()
            progress.note(f"resuming after step {trainer.state.step:,}")
        return _finished(task, run_quietly(trainer), folder, splits, device, make_progress())


def evaluate(
    folder: str | Path,
    device: str = "cpu",
    test: str | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> dict[str, Any]:
    """The score of a run's best model, as in report.json, on its test data or on those that `test` names.

    options: those of the task's `evaluate`.
    """
    stored = StoredRun.read(folder)
    task = stored.task
    predictor = load(folder, device)
    if test is None:
        data, name = stored.source.load_test(stored.config), f"the test {task.items}"
        stored.check_same({"test": fingerprint(data)}, "name the new ones by --test")
    else:
        data, name = task.read(predictor, test), test
    predictor.check(data, name)
    return reported(task, _scored(task, predictor, data, folder, progress or Progress(), **options))


def load(folder: str | Path, device: str = "cpu", task: str | None = None) -> Any:
    """A run's best model on the device, or its last where none was evaluated yet.

    task: the name of the task that the run must be of; None: any.
    Raises CheckpointError where there is no checkpoint, or where it is damaged, another run's or not finite.
    """
    check_device(device)
    folder = Path(folder)
    stored = StoredRun.read(folder, task)
    path = folder / BEST if os.path.lexists(folder / BEST) else folder / LAST
    if not os.path.lexists(path):
        raise CheckpointError(
            f"{folder} has no checkpoint yet; hint: minattn train {stored.task.name} --resume {folder}"
        )
    checkpoint = Checkpoint.open(path)
    _check_meta(checkpoint, checkpoint_meta(stored.task, stored.config))
    try:
        with within_memory(machine_memory()):
            predictor = stored.task.restored(stored.config, checkpoint.meta)
        arrays = checkpoint.arrays(expected_of(predictor.model), "model/")
        check_numbers(arrays)
        predictor.model.load_state_dict(arrays_under("model", arrays))
    except KeyError as error:
        raise _damaged(path, f"it lacks {error}") from error
    except (MinattnError, TypeError, ValueError) as error:
        raise _damaged(path, without_hint(error)) from error
    predictor.model.to(device)
    return predictor


def _damaged(path: Path, problem: str) -> CheckpointError:
    return CheckpointError(f"{path} is damaged: {problem}; hint: put the run's own checkpoint back, or a new run")


# ---------------------------------------------------------------------------------------------- what is stored
@dataclass(frozen=True)
class StoredRun:
    """The content of a run's config.json."""

    task: Task
    config: Any
    source: Any
    data: dict[str, str]  # the fingerprints of "train", "dev" and "test"

    @classmethod
    def read(cls, folder: str | Path, task: str | None = None) -> "StoredRun":
        """Raises CheckpointError where the folder is no run, or none of this task, or of another version."""
        path = Path(folder) / CONFIG
        content = read_run(Path(folder), task)
        data = content.get("data")
        if not isinstance(data, dict) or set(data) != set(PARTS):
            raise CheckpointError(f"{path} lacks 'data', the fingerprints of the run's data; hint: a new run")
        try:
            found = task_named(str(content.get("task")))
            stored = content.get("config")
            default = found.default(str(stored.get("model")) if isinstance(stored, dict) else None)
        except ConfigError as error:
            raise CheckpointError(
                f"{path}: {error}; hint: the minattn version that made the run, or a new run"
            ) from error
        source = from_json(found.source(), content.get("source"), path)
        return cls(found, from_json(default, stored, path), source, data)

    def check_same(self, data: Mapping[str, str], hint: str) -> None:
        """Raise DataError where the fingerprints `data` are not those of the run."""
        for part, found in data.items():
            if self.data[part] != found:
                raise DataError(
                    f"the {part} {self.task.items} of {self.source.name(part)} changed since the run was started; "
                    f"hint: {self.source.hint_if_changed}, or {hint}"
                )


def checkpoint_meta(task: Task, config: Any) -> dict[str, Any]:
    """The task and the settings, for every checkpoint of a run."""
    return {"task": task.name, "config": as_json(config)}


def check_checkpoint(path: Path, expected: Mapping[str, Any], model: Module) -> None:
    """Raise CheckpointError where a checkpoint is of another run: its `meta` or its arrays are not as expected."""
    checkpoint = Checkpoint.open(path)
    _check_meta(checkpoint, expected)
    try:
        checkpoint.check(expected_of(model), "model/")
    except CheckpointError as error:
        raise _damaged(path, str(error)) from error


def _check_meta(checkpoint: Checkpoint, expected: Mapping[str, Any]) -> None:
    """Raise CheckpointError where a checkpoint says otherwise, naming what differs by its path, as "config.lr"."""
    if others := _differing(checkpoint.meta, expected):
        path = checkpoint.path
        raise CheckpointError(
            f"{path} belongs to another run, or {path.with_name(CONFIG)} was changed: they differ in "
            f"{listed(others, 3)}; hint: put the run's own back, or start a new run with the settings that you want"
        )


def _differing(found: Mapping[str, Any], expected: Mapping[str, Any], prefix: str = "") -> list[str]:
    names: list[str] = []
    for name, value in expected.items():
        other = found.get(name)
        if isinstance(value, dict) and isinstance(other, dict) and value.keys() == other.keys():
            names += _differing(other, value, f"{prefix}{name}.")
        elif other != value:
            names.append(f"{prefix}{name}")
    return names


# ---------------------------------------------------------------------------------------------- the steps of a run
def load_data(task: Task, source: Source, config: Any, progress: Progress, announce: Callable[[], None]) -> Splits[Any]:
    """The data, of which no part may be too small; `announce` is called before they are described."""
    progress.note(f"reading {source.name('train')}")
    splits = source.load(config)
    for part, data in splits.parts().items():
        if len(data) < task.least:
            raise DataError(
                f"there are {len(data) or 'no'} {part} {task.items} in {source.name(part)}, at least {task.least} "
                f"expected; hint: {source.hint_if_few}"
            )
    announce()
    counts = ", ".join(f"{len(data):,} {part}" for part, data in splits.parts().items())
    described = task.describe(splits)
    progress.note(f"{task.items}: {counts}" + (f"; {described}" if described else ""))
    return splits


def _trainer(
    task: Task, predictor: Predictor, splits: Splits[Any], folder: Path, device: str, progress: Progress
) -> Trainer:
    """The trainer of a model that has learned nothing yet."""
    predictor.model.to(device)
    batches = predictor.batches(splits.train)
    best = task.metrics[0]
    plan = dataclasses.replace(predictor.config.plan(), metric=f"dev_{best.name}", lower_is_better=best.lower_is_better)

    def validate(_: object) -> dict[str, float]:
        def on_progress(done: int, total: int) -> None:
            progress.report(f"scoring the dev {task.items}: {done:,} of {total:,}")

        scored = task.evaluate(predictor, splits.dev, on_progress, **task.validation).metrics
        task.on_evaluation(predictor, scored, trainer.state.step, folder, progress)
        return {f"dev_{name}": scored[name] for name in ("loss", *(metric.name for metric in task.metrics))}

    meta = {**checkpoint_meta(task, predictor.config), **predictor.meta()}
    trainer = make_trainer(predictor, batches, folder, plan, progress, meta, evaluate=validate, metrics=task.metrics)
    parameters, steps = predictor.model.count_parameters(), steps_of(plan, batches)
    epochs = steps / len(batches)
    progress.note(
        f"{predictor.config.model} with {parameters:,} parameters, to train for {steps:,} steps, {epochs:.3g} epochs"
    )
    return trainer


def make_trainer(
    predictor: Predictor, batches: Batches, folder: Path, plan: Plan, progress: Progress, meta: Any, **more: Any
) -> Trainer:
    """The trainer of a predictor's model, as its settings say; `more` goes to `Trainer`."""
    config = predictor.config
    return Trainer(
        predictor.model,
        config.optimizer(predictor.model.named_parameters()),
        batches,
        predictor.loss,
        folder,
        plan,
        schedule=config.schedule(steps_of(plan, batches)),
        meta=meta,
        tokens=predictor.tokens,
        progress=progress,
        threads=config.threads,
        **more,
    )


def steps_of(plan: Plan, batches: Batches) -> int:
    """The number of steps of a plan that is limited by steps or epochs."""
    return plan.steps if plan.steps is not None else plan.epochs * len(batches)


def run_quietly(trainer: Trainer) -> Outcome:
    """Train, without NumPy's warnings: the trainer looks for what is not finite, and says more of it."""
    with np.errstate(all="ignore"):
        return trainer.run()


def _finished(
    task: Task, outcome: Outcome, folder: Path, splits: Splits[Any], device: str, progress: Progress
) -> Outcome:
    """Score the best model on the test data, draw the figures and write the report, unless Ctrl-C was pressed."""
    if outcome.interrupted:
        return outcome
    progress.note(outcome.message)
    predictor = load(folder, device)
    evaluation = _scored(task, predictor, splits.test, folder, progress)
    progress.note("drawing the figures")
    best = task.metrics[0]
    report = {
        "task": task.name,
        "metrics": [dataclasses.asdict(metric) for metric in task.metrics],
        "test": reported(task, evaluation),
        "model": {"name": predictor.config.model, "parameters": predictor.model.count_parameters()},
        "training": {
            "steps": outcome.step,
            "best_step": outcome.best_step,
            f"dev_{best.name}": outcome.best,
            task.items: len(splits.train),
            "seconds": outcome.seconds,
        },
        **task.report(predictor, splits),
        "figures": draw_figures(task, predictor, splits.test, evaluation, progress, folder),
    }
    write_json(folder / REPORT, report)
    return outcome


def _scored(
    task: Task, predictor: Predictor, data: Any, folder: str | Path, progress: Progress, **options: Any
) -> Evaluation:
    """The score on the test data, which may take a while: the progress tells how far it is.

    Raises CheckpointError where it is not finite.
    """

    def on_progress(done: int, total: int) -> None:
        progress.advance(done / total)
        progress.report(f"scoring the test {task.items}: {done:,} of {total:,}")

    with progress, np.errstate(all="ignore"):
        evaluation = task.evaluate(predictor, data, on_progress, **options)
    if not all(map(math.isfinite, evaluation.metrics.values())):
        raise CheckpointError(
            f"the score of the model of {folder} is not finite: its training diverged; "
            "hint: a new run with a lower learning rate"
        )
    return evaluation


def reported(task: Task, evaluation: Evaluation) -> dict[str, Any]:
    """An evaluation as it stands in the report."""
    return {**evaluation.metrics, task.items: evaluation.count, **evaluation.details}


def draw_figures(
    task: Task, predictor: Predictor, test: Any, evaluation: Evaluation, progress: Progress, folder: Path
) -> list[str]:
    """Draw the learning curves and the task's own figures; the names of all."""
    return [*draw_curves(progress, folder), *task.figures(predictor, test, evaluation, folder)]


def draw_curves(progress: Progress, folder: Path) -> list[str]:
    """Draw the learning curves from the run's log; where that is damaged there are none, and the run goes on."""
    from minattn.viz import learning_curves, read_records, save_figure

    try:
        figure = learning_curves(read_records(folder / LOG))
    except DataError as error:
        progress.note(f"no learning curves: {error}")
        return []
    save_figure(figure, folder / CURVES)
    return [CURVES]
