"""The training loop: what it does when all goes well, and what when it does not."""

import itertools
import json
import math
import os
import re
import shutil
import signal
import sys
import threading
from dataclasses import asdict
from types import SimpleNamespace

import numpy as np
import pytest
from tiny_run import STEPS, TinyModel, assert_same_run, log_of, loss_of, pairs, tiny_trainer

from minattn.data.batching import LengthBucketedBatches
from minattn.errors import CheckpointError, ConfigError, DataError, MissingDependencyError, TrainingError
from minattn.training import (
    BEST,
    LAST,
    LOG,
    SGD,
    BarProgress,
    Metric,
    PlainProgress,
    Plan,
    Trainer,
    load_checkpoint,
    save_checkpoint,
)
from minattn.training.interrupt import CtrlC


def evaluations(folder):
    return [record for record in log_of(folder) if "dev_loss" in record]


def scripted(*values):
    """An evaluation that returns these, one after the other, then the last for ever."""
    remaining = itertools.chain(values, itertools.repeat(values[-1]))
    return lambda model: {"dev_loss": next(remaining)}


# ---------------------------------------------------------------------------------------------- a good run
def test_training_learns(tmp_path):
    outcome = tiny_trainer(tmp_path / "new" / "run", steps=300).run()
    losses = [record["loss"] for record in log_of(tmp_path / "new" / "run") if "loss" in record]
    assert losses[-1] < 0.75 * losses[0]
    assert not outcome.interrupted
    assert outcome.step == 300
    assert outcome.best == min(record["dev_loss"] for record in evaluations(tmp_path / "new" / "run"))
    assert outcome.message.startswith("all 300 steps are done, after step 300 and ")


def test_the_log_says_where_and_how_training_was(tmp_path):
    seen = []

    def noted(model, batch):
        loss = loss_of(model, batch)
        seen.append(loss.item())
        return loss

    trainer = tiny_trainer(tmp_path, loss_fn=noted, steps=10)
    trainer.generators["noise"] = np.random.default_rng(0)
    trainer.parallel.loss_fn = noted
    trainer.run()
    lines = [record for record in log_of(tmp_path) if "loss" in record]
    assert [(r["step"], r["epoch"], r["position"]) for r in lines] == [(4, 0, 4), (8, 1, 0)]
    assert [r["loss"] for r in lines] == [pytest.approx(np.mean(seen[:4])), pytest.approx(np.mean(seen[4:8]))]
    assert [r["lr"] for r in lines] == [pytest.approx(0.1 * 4 / 5), 0.1]
    for record in lines:
        assert record["gradient_norm"] > 0
        assert record["tokens_per_second"] > 0
        assert record["seconds"] > 0


def test_every_batch_of_an_epoch_is_used_once_and_epochs_differ(tmp_path):
    used = []

    def noted(model, batch):
        used.append(tuple(batch.indices))
        return loss_of(model, batch)

    outcome = tiny_trainer(tmp_path, loss_fn=noted, steps=None, epochs=2).run()
    assert (outcome.epoch, outcome.step) == (2, 16)
    first, second = used[:8], used[8:]
    assert sorted(itertools.chain(*first)) == sorted(itertools.chain(*second)) == list(range(40))
    assert first != second


def test_evaluation_is_after_each_epoch_by_default_and_in_evaluation_mode(tmp_path):
    modes = []
    batch = next(LengthBucketedBatches(pairs(), 5, seed=0).iterate(0))

    def noted(model):
        modes.append((model.dropout.training, loss_of(model, batch).requires_grad))
        return {"dev_loss": 1.0}

    trainer = tiny_trainer(tmp_path, evaluate=noted, evaluate_every=None, steps=None, epochs=3, patience=None)
    trainer.run()
    assert [record["step"] for record in evaluations(tmp_path)] == [8, 16, 24]
    assert modes == [(False, False)] * 3
    assert trainer.model.dropout.training


def test_what_the_budgets_end_left_unevaluated_is_evaluated(tmp_path):
    outcome = tiny_trainer(tmp_path, steps=10, evaluate=scripted(5.0, 4.0)).run()
    assert [record["step"] for record in evaluations(tmp_path)] == [6, 10]
    assert (outcome.best, outcome.best_step) == (4.0, 10)


def test_the_best_model_is_kept(tmp_path):
    held = []

    def noted(model):
        held.append(model.state_dict())
        return {"dev_loss": [3.0, 1.0, 2.0, math.nan][len(held) - 1]}

    outcome = tiny_trainer(tmp_path, evaluate=noted, steps=24).run()
    arrays, meta = load_checkpoint(outcome.best_checkpoint)
    for name, array in held[1].items():
        np.testing.assert_array_equal(arrays[f"model/{name}"], array)
    assert meta["state"]["step"] == outcome.best_step == 12
    assert (meta["model"], meta["config"]) == ("tiny", {"size": 4})
    assert [record["best"] for record in evaluations(tmp_path)] == [True, True, False, False]
    assert evaluations(tmp_path)[-1]["dev_loss"] is None  # JSON has no NaN


def test_patience_stops_early(tmp_path):
    outcome = tiny_trainer(tmp_path, evaluate=scripted(3.0, 2.0, 2.0, 2.5, 2.1), patience=3).run()
    assert outcome.step == 30
    assert outcome.message.startswith("3 evaluations in a row brought no better dev_loss, after step 30")
    assert (outcome.best, outcome.best_step) == (2.0, 12)


def test_the_schedule_hears_of_evaluations(tmp_path):
    trainer = tiny_trainer(tmp_path, evaluate=scripted(2.0, 1.0, 1.0, 1.0), steps=25, log_every=1)
    trainer.run()
    rates = [record["lr"] for record in log_of(tmp_path) if "lr" in record]
    assert rates[22:] == [0.1, 0.1, pytest.approx(0.02)]  # the second evaluation without a new best is after step 24


def test_without_an_evaluation_there_is_no_best(tmp_path):
    outcome = tiny_trainer(tmp_path, evaluate=None, patience=None, steps=3).run()
    assert (outcome.best, outcome.best_checkpoint) == (None, None)
    assert sorted(os.listdir(tmp_path)) == [LAST, LOG]


def test_the_first_spent_budget_ends_the_run(tmp_path):
    assert tiny_trainer(tmp_path / "a", steps=10, epochs=1).run().step == 8
    assert tiny_trainer(tmp_path / "b", steps=5, epochs=1, seconds=1e9).run().step == 5


def fake_clock(monkeypatch, seconds_per_look):
    clock = itertools.count(0, seconds_per_look)
    monkeypatch.setattr("minattn.training.loop.time", SimpleNamespace(monotonic=lambda: next(clock)))


def test_the_time_budget_ends_the_run_and_counts_over_resumed_parts(tmp_path, monkeypatch):
    fake_clock(monkeypatch, 1.0)
    outcome = tiny_trainer(tmp_path, steps=None, seconds=40).run()
    assert 0 < outcome.step < 40
    assert "the 40 seconds are over" in outcome.message
    again = tiny_trainer(tmp_path, steps=None, seconds=40)
    again.resume()
    assert again.run().step == outcome.step
    more = tiny_trainer(tmp_path, steps=None, seconds=80)
    more.resume()
    assert outcome.step < more.run().step <= 2 * outcome.step + 2


# ---------------------------------------------------------------------------------------------- stopped and resumed
@pytest.mark.parametrize("step", [*range(1, 25), STEPS])
def test_a_run_with_a_smaller_budget_goes_on_as_one_with_the_larger(tmp_path, straight, step):
    tiny_trainer(tmp_path, steps=step).run()
    trainer = tiny_trainer(tmp_path)
    trainer.resume()
    trainer.run()
    assert_same_run(tmp_path, straight)


class CrashError(Exception):
    """Stands for whatever ends a process."""


@pytest.mark.parametrize("crash_at", range(1, 31, 3))
def test_a_run_that_crashed_in_a_step_goes_on_as_if_it_had_not(tmp_path, straight, crash_at):
    steps = itertools.count(1)

    def crashing(model, batch):
        if next(steps) == crash_at:
            raise CrashError
        return loss_of(model, batch)

    with pytest.raises(CrashError):
        tiny_trainer(tmp_path, loss_fn=crashing).run()
    trainer = tiny_trainer(tmp_path)
    trainer.resume()
    trainer.run()
    assert_same_run(tmp_path, straight)


@pytest.mark.parametrize("crash_at", range(2, 20))
def test_a_run_that_crashed_in_a_save_goes_on_as_if_it_had_not(tmp_path, straight, monkeypatch, crash_at):
    """Between the `best` and the `last` checkpoint of an evaluation too."""
    saves = itertools.count(1)
    replace = os.replace

    def crashing(*args):
        if next(saves) == crash_at:
            raise CrashError
        replace(*args)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", crashing)
        with pytest.raises(CrashError):
            tiny_trainer(tmp_path).run()
    trainer = tiny_trainer(tmp_path)
    trainer.resume()
    trainer.run()
    assert_same_run(tmp_path, straight)


def test_when_the_clock_saves_does_not_change_the_run(tmp_path, straight, monkeypatch):
    fake_clock(monkeypatch, 0.4)
    tiny_trainer(tmp_path, save_every=None, save_seconds=3.0).run()
    assert_same_run(tmp_path, straight)


def test_the_log_is_cut_back_to_the_checkpoint(tmp_path):
    tiny_trainer(tmp_path, steps=10).run()
    with (tmp_path / LOG).open("a") as log:
        log.write('{"step": 99}\n{"half a li')
    trainer = tiny_trainer(tmp_path, steps=12)
    trainer.resume()
    trainer.run()
    assert [record["step"] for record in log_of(tmp_path)] == [4, 6, 8, 12, 12]


def test_a_lost_log_does_not_keep_a_run_from_going_on(tmp_path):
    tiny_trainer(tmp_path, steps=10).run()
    (tmp_path / LOG).unlink()
    trainer = tiny_trainer(tmp_path, steps=12)
    trainer.resume()
    assert trainer.run().step == 12
    assert [record["step"] for record in log_of(tmp_path)] == [12, 12]


def test_a_log_that_ends_within_a_line_loses_no_line_of_the_resumed_run(tmp_path):
    tiny_trainer(tmp_path, steps=10).run()
    log = (tmp_path / LOG).read_bytes()
    (tmp_path / LOG).write_bytes(log[: len(log) // 2])  # as after a power failure
    trainer = tiny_trainer(tmp_path, steps=12)
    trainer.resume()
    trainer.run()
    *_, half, first, second = (tmp_path / LOG).read_text().splitlines()
    assert log.decode().find(half) > 0
    assert [json.loads(line)["step"] for line in (first, second)] == [12, 12]


def test_a_new_run_does_not_write_over_another(tmp_path):
    tiny_trainer(tmp_path, steps=2).run()
    before = (tmp_path / LAST).read_bytes()
    with pytest.raises(CheckpointError, match="holds a run already; hint: resume it, or choose another folder"):
        tiny_trainer(tmp_path, steps=2).run()
    assert (tmp_path / LAST).read_bytes() == before


def test_resuming_needs_a_checkpoint(tmp_path):
    with pytest.raises(CheckpointError, match="there is no checkpoint"):
        tiny_trainer(tmp_path).resume()


def test_resuming_needs_the_same_model_and_a_training_run(tmp_path):
    tiny_trainer(tmp_path, steps=2).run()
    arrays, meta = load_checkpoint(tmp_path / LAST)
    save_checkpoint(tmp_path / LAST, {**arrays, "model/output.bias": np.zeros(9)}, meta)
    with pytest.raises(
        CheckpointError, match=r"last\.safetensors does not fit this run: .*output\.bias is float64 \(9,\)"
    ):
        tiny_trainer(tmp_path).resume()
    save_checkpoint(tmp_path / LAST, arrays, {"model": "tiny"})
    with pytest.raises(
        CheckpointError, match=r"last\.safetensors does not fit .*: object missing required field state"
    ):
        tiny_trainer(tmp_path).resume()


def test_resuming_needs_the_same_random_generators(tmp_path):
    tiny_trainer(tmp_path, steps=2).run()
    trainer = tiny_trainer(tmp_path)
    del trainer.generators["noise"]
    with pytest.raises(
        CheckpointError, match=r"random generators \['dropout.rng', 'noise'\], this run \['dropout.rng'\]"
    ):
        trainer.resume()


# ---------------------------------------------------------------------------------------------- gone wrong
@pytest.mark.parametrize("log_every", [1, 4, 1000])
def test_a_loss_that_is_not_finite_stops_the_run_and_is_never_saved(tmp_path, log_every):
    steps = itertools.count(1)

    def failing(model, batch):
        return loss_of(model, batch) * (math.nan if next(steps) == 13 else 1.0)

    message = (
        r"diverged at step 13 \(batch 4 of epoch 1, both from 0\): the loss is nan.*lower learning rate.*NaN locator"
    )
    with pytest.raises(TrainingError, match=message):
        tiny_trainer(tmp_path, loss_fn=failing, log_every=log_every).run()
    arrays, meta = load_checkpoint(tmp_path / LAST)
    assert meta["state"]["step"] == 12
    assert all(np.isfinite(array).all() for array in arrays.values())
    assert all(record["loss"] is not None for record in log_of(tmp_path) if "loss" in record)


def test_a_gradient_that_is_not_finite_stops_the_run(tmp_path):
    trainer = tiny_trainer(tmp_path)
    steps = itertools.count(1)
    trainer.model.output.weight.register_hook(lambda g: g * math.inf if next(steps) == 5 else g)
    with (
        np.errstate(invalid="ignore"),
        pytest.raises(TrainingError, match=r"step 5 .*the loss is \d.*, the gradient norm (inf|nan)"),
    ):
        trainer.run()
    assert load_checkpoint(tmp_path / LAST)[1]["state"]["step"] == 0


@pytest.mark.parametrize("steps", [6, 8])
def test_a_model_whose_first_measures_are_not_finite_has_diverged(tmp_path, steps):
    """At step 6 it is evaluated on the way, at step 8 at the end; the metric that the plan goes by is finite."""

    def first_bad(model):
        return {"dev_error": 50.0, "dev_loss": math.nan}

    def run(trainer):
        with pytest.raises(TrainingError, match=r"diverged at step \d: the evaluation gives .*dev_loss nan; hint: a l"):
            trainer.run()
        assert not (tmp_path / BEST).exists()

    settings = {"evaluate": first_bad, "metric": "dev_error", "evaluate_every": steps, "steps": steps}
    run(tiny_trainer(tmp_path, **settings))
    again = tiny_trainer(tmp_path, **settings)
    again.resume()
    run(again)


def test_the_best_may_be_the_highest(tmp_path):
    values = iter([20.0, 30.0, 25.0, 28.0])
    outcome = tiny_trainer(
        tmp_path, evaluate=lambda _: {"dev_hits": next(values)}, metric="dev_hits", lower_is_better=False, steps=24
    ).run()
    assert (outcome.best, outcome.best_step) == (30.0, 12)
    assert "best dev_hits 30 at step 12" in outcome.message
    assert [record["best"] for record in log_of(tmp_path) if "dev_hits" in record] == [True, True, False, False]


def test_the_log_begins_with_what_its_metrics_are_resumed_or_not(tmp_path):
    metric = Metric("loss", "loss", axis="loss (nats)")
    described = {"metrics": {"dev_loss": asdict(metric)}}

    def trainer(steps):
        made = tiny_trainer(tmp_path, steps=steps)
        made.metrics = [metric]
        return made

    trainer(7).run()
    resumed = trainer(14)
    resumed.resume()
    resumed.run()
    log = log_of(tmp_path)
    assert log[0] == described
    assert described not in log[1:]
    assert len([record for record in log if "dev_loss" in record]) == 3


def test_a_metric_that_is_not_finite_is_never_the_best(tmp_path):
    measures = iter([(9.0, 1.0), (5.0, math.inf), (7.0, 2.0), (8.0, 2.0)])

    def noted(model):
        return dict(zip(("dev_error", "dev_loss"), next(measures), strict=True))

    outcome = tiny_trainer(tmp_path, evaluate=noted, metric="dev_error", steps=24).run()
    assert (outcome.best, outcome.best_step) == (7.0, 18)


def test_weights_that_the_last_step_left_not_finite_are_never_saved(tmp_path):
    trainer = tiny_trainer(tmp_path, evaluate=None, patience=None, save_every=None, steps=3)
    step, count = trainer.optimizer.step, itertools.count(1)

    def breaks():
        step()
        if next(count) == 3:
            trainer.model.output.weight.data[0, 0] = math.inf

    trainer.optimizer.step = breaks
    with pytest.raises(TrainingError, match=r"diverged at step 3: .* output\.weight the first, .* not finite; hint"):
        trainer.run()
    assert load_checkpoint(tmp_path / LAST)[1]["state"]["step"] == 0


def test_a_metric_that_does_not_come_is_named(tmp_path):
    with pytest.raises(ConfigError, match="the evaluation returns dev_loss, and the plan goes by 'dev_per'"):
        tiny_trainer(tmp_path, metric="dev_per").run()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "nothing would end this training"),
        ({"steps": 0}, "steps of a training plan must be above 0, got 0"),
        ({"epochs": -1}, "epochs of a training plan must be above 0"),
        ({"seconds": math.nan}, "seconds of a training plan must be above 0"),
        ({"steps": 1, "log_every": 0}, "log_every"),
        ({"steps": 1, "max_norm": -1.0}, "max_norm"),
    ],
)
def test_impossible_plans_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        Plan(**settings)


def test_no_batches_and_patience_without_evaluation_are_refused(tmp_path):
    model = TinyModel()
    parts = model, SGD(model.named_parameters(), 0.1)
    with pytest.raises(DataError, match="no batches"):
        Trainer(*parts, [], loss_of, tmp_path, Plan(steps=1))
    batches = LengthBucketedBatches(pairs(), 5, seed=0)
    with pytest.raises(ConfigError, match="patience counts evaluations"):
        Trainer(*parts, batches, loss_of, tmp_path, Plan(steps=1, patience=1))


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match="cannot be made"):
        tiny_trainer(tmp_path / "file" / "run").run()


def test_a_log_that_cannot_be_written_is_an_error(tmp_path, monkeypatch):
    (tmp_path / LOG).mkdir()
    with pytest.raises(TrainingError, match=r"log\.jsonl cannot be written: .*hint"):
        tiny_trainer(tmp_path).run()
    shutil.rmtree(tmp_path / LOG)
    (tmp_path / LOG).symlink_to("/dev/full")
    with pytest.raises(TrainingError, match="cannot be written: It is a pipe or a device"):
        tiny_trainer(tmp_path).run()
    monkeypatch.setattr("minattn.training.log.check_regular", lambda path: None)
    with pytest.raises(TrainingError, match="No space left on device"):
        tiny_trainer(tmp_path).run()


# ---------------------------------------------------------------------------------------------- Ctrl-C
def test_ctrl_c_finishes_the_step_saves_and_can_be_resumed(tmp_path, straight):
    steps = itertools.count(1)

    def pressing(model, batch):
        if next(steps) == 10:
            os.kill(os.getpid(), signal.SIGINT)
        return loss_of(model, batch)

    outcome = tiny_trainer(tmp_path, loss_fn=pressing).run()
    assert outcome.interrupted
    assert outcome.message.startswith("stopped by Ctrl-C, after step 10 and ")
    assert f"resume the run in {tmp_path}" in outcome.message
    assert load_checkpoint(tmp_path / LAST)[1]["state"]["step"] == 10
    trainer = tiny_trainer(tmp_path)
    trainer.resume()
    assert not trainer.run().interrupted
    assert_same_run(tmp_path, straight)


def test_a_second_ctrl_c_stops_at_once():
    before = signal.getsignal(signal.SIGINT)  # ignored, where a shell runs the tests in the background
    with CtrlC() as ctrl_c:
        os.kill(os.getpid(), signal.SIGINT)
        assert ctrl_c.pressed
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_training_runs_in_another_thread_too(tmp_path):
    thread = threading.Thread(target=lambda: tiny_trainer(tmp_path, steps=3).run())
    thread.start()
    thread.join()
    assert load_checkpoint(tmp_path / LAST)[1]["state"]["step"] == 3


# ---------------------------------------------------------------------------------------------- what is shown
def test_plain_progress_prints_evaluations_and_a_report_now_and_then(tmp_path, capsys):
    tiny_trainer(tmp_path, steps=18, progress=PlainProgress()).run()
    lines = capsys.readouterr().out.splitlines()
    assert re.match(r" *\d+%  \d:\d\d:\d\d left  step 4  epoch 0  loss ", lines[0])
    assert "tokens/s" in lines[0]
    assert [line.split("  ")[0] for line in lines[1:]] == ["step 6", "step 12", "step 18"]
    assert "evaluation: dev_loss" in lines[1]


def test_every_report_is_printed_once_its_time_has_come(capsys):
    progress = PlainProgress(seconds=0.0)
    progress.report("a")
    progress.report("b")
    assert capsys.readouterr().out == "a\nb\n"


def test_the_bar_shows_notes_and_the_last_report(tmp_path, capsys):
    tiny_trainer(tmp_path, steps=18, progress=BarProgress()).run()
    out = capsys.readouterr().out
    assert "100%" in out
    assert "step 16  epoch 2  loss" in out.replace("\n", " ")
    assert "step 12  evaluation: dev_loss" in out


def test_without_rich_the_cure_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "rich", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'minattn\[train\]'"):
        BarProgress()
