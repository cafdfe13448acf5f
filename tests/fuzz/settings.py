"""Settings of runs that make no sense, or little, and options of the other commands."""

import dataclasses
from typing import Any

import numpy as np
from small_runs import SMALL_RUNS

from minattn.tasks import driver
from minattn.tasks.config import settings_of, short_key
from minattn.training import Outcome, Trainer

from .commands import contents, minattn
from .damage import Rng, pick
from .runs import Workshop

VALUES = (
    *("0", "-1", "1", "2", "3", "5", "7", "16", "100", "1000", "12345", "1000000", "1000000000", "1000000000000"),
    *("1" + "0" * 30, "9" * 5000, "0.5", "1.5", "-0.1", "1e-300", "1e308", "1e400", "nan", "inf", "-inf", "1_000"),
    *("", " 5 ", "none", "true", "false", "maybe", "a", "a,b", "1,2,3", "0,0", "=", "٣", "x" * 50_000, "\x1b[31m"),
)
LONGEST = 300  # characters of a refusal


def one_step(trainer: Trainer) -> Outcome:
    """Train for a step: what a run does with its settings, without the time that it takes."""
    trainer.plan = dataclasses.replace(trainer.plan, steps=1, epochs=None)
    with np.errstate(all="ignore"):
        return trainer.run()


def options_of(source: Any) -> list[str]:
    """The options of `minattn train` that name these data."""
    values = dataclasses.asdict(source)
    return [f"--{name.replace('_', '-')}={value}" for name, value in values.items() if value is not None]


def case(rng: Rng, workshop: Workshop) -> tuple[str, list[str]]:
    """(what was done, what was wrong with what came of it)."""
    driver.run_quietly = one_step
    task = pick(rng, [name for name in SMALL_RUNS if name != "toy"])
    small, source = SMALL_RUNS[task], workshop.source(task)
    model = pick(rng, small.task.models) if rng.random() < 0.4 else None
    config = small.task.configure([] if model else small.settings, model)
    known = settings_of(config)
    keys = [short_key(path, known) for path in known if path != "model"]
    chosen = [f"{pick(rng, keys)}={pick(rng, VALUES)}" for _ in range(int(rng.integers(1, 3)))]
    smaller = [setting for setting in small.settings if setting.partition("=")[0] in keys] if model else small.settings
    given = [*([f"model={model}"] if model else []), *smaller, *chosen]
    run = workshop.scratch() / "run"
    told = minattn("train", task, "--out", run, *options_of(source), *(f"--set={setting}" for setting in given))
    found = told.problems(LONGEST + len(str(run)))
    diverged = "diverged" in told.err or "not finite" in told.err
    if told.status in (1, 2) and not diverged and contents(run.parent):
        found.append("it left something behind")
    done = f"{task}{' ' + model if model else ''} {' '.join(setting[:60] for setting in chosen)!r}"
    return f"{done}; {told.err.strip() or told.out.strip().splitlines()[-1:]}", found
