"""What holds for the runs of every task: they learn, resume bit for bit, report, load, and refuse before the work."""

import dataclasses
import json
import math

import pytest
from small_runs import SMALL_RUNS, SmallRun

from minattn import __version__
from minattn.errors import CheckpointError, DataError
from minattn.tasks import driver
from minattn.tasks.config import as_json
from minattn.tasks.files import read_json, write_json
from minattn.tasks.registry import TASKS
from minattn.tasks.run_folder import CONFIG, FORMAT, REPORT
from minattn.training import BEST, LAST, LOG, Progress, load_checkpoint, save_checkpoint
from minattn.viz import learning_curves, read_records


class Killed(BaseException):
    """Ends a run without another word, as SIGKILL does."""


class Kills(Progress):
    """Stops the run at one of its moments: after so many steps, or at the k-th note that begins with a word."""

    def __init__(self, step=None, note=None, k=1):
        self.step, self.word, self.left = step, note, k
        self.steps = 0

    def advance(self, fraction):
        self.steps += 1
        if self.steps == self.step:
            raise Killed

    def note(self, line):
        if self.word and line.startswith(self.word):
            self.left -= 1
            if not self.left:
                raise Killed


@pytest.fixture(scope="module", params=SMALL_RUNS)
def small(request) -> SmallRun:
    """A run of each task."""
    if request.param in ("images", "pose"):
        pytest.importorskip("PIL")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(TASKS, "toy", SMALL_RUNS["toy"].task)
        patch.setattr(driver, "draw_figures", lambda *_: [])  # they take longer than all the rest
        yield SMALL_RUNS[request.param]


@pytest.fixture(scope="module")
def source(small, tmp_path_factory):
    return small.write(tmp_path_factory.mktemp("data"))


def start(small, source, folder, *settings, progress=None):
    config = small.task.configure([*small.settings, *settings], source=source)
    return driver.start(small.task, config, source, folder, make_progress=lambda: progress or Progress())


@pytest.fixture(scope="module")
def straight(small, source, tmp_path_factory):
    """The folder of the run that nothing stopped; not to be written to."""
    folder = tmp_path_factory.mktemp("straight") / "run"
    start(small, source, folder)
    return folder


def records(folder):
    return [json.loads(line) for line in (folder / LOG).read_text().splitlines()]


# ---------------------------------------------------------------------------------------------- a run
def test_it_learns(straight):
    losses = [record["dev_loss"] for record in records(straight) if "dev_loss" in record]
    assert len(losses) > 1
    assert losses[-1] < losses[0]


def test_its_report_is_the_score_of_the_model_that_is_loaded(small, source, straight):
    report = read_json(straight / REPORT)
    assert driver.evaluate(straight) == report["test"]
    assert report["test"].keys() >= {"loss", small.task.items, *(metric.name for metric in small.task.metrics)}
    predictor = driver.load(straight)
    assert report["model"] == {"name": predictor.config.model, "parameters": predictor.model.count_parameters()}
    best = small.task.metrics[0]
    dev = small.task.evaluate(predictor, source.load(predictor.config).dev, **small.task.validation)
    assert report["training"][f"dev_{best.name}"] == pytest.approx(dev.metrics[best.name])


def test_its_best_model_has_the_best_metric(small, straight):
    name = f"dev_{small.task.metrics[0].name}"
    values = [record[name] for record in records(straight) if name in record]
    best = (min if small.task.metrics[0].lower_is_better else max)(values)
    assert read_json(straight / REPORT)["training"][name] == best


def test_its_report_and_its_log_describe_its_metrics(small, straight):
    described = [dataclasses.asdict(metric) for metric in small.task.metrics]
    assert read_json(straight / REPORT)["metrics"] == described
    assert records(straight)[0]["metrics"] == {f"dev_{metric['name']}": metric for metric in described}
    figure = learning_curves(read_records(straight / LOG))
    axes = {axes.get_ylabel(): axes for axes in figure.axes}
    assert axes.keys() == {"loss (nats)", *(f"dev {metric.axis}" for metric in small.task.metrics)}
    for metric in small.task.metrics:
        assert any(text.get_text().startswith(metric.label) for text in axes[f"dev {metric.axis}"].texts)


def test_its_settings_and_versions_are_stored(small, straight, source):
    content = read_json(straight / CONFIG)
    assert (content["format"], content["minattn"], content["task"]) == (FORMAT, __version__, small.task.name)
    stored = driver.StoredRun.read(straight)
    assert as_json(stored.config) == content["config"] == load_checkpoint(straight / BEST)[1]["config"]
    assert stored.source == source.absolute()
    assert stored.config == driver.load(straight).config


@pytest.mark.parametrize(
    "kill",
    [
        {"step": 1},
        {"step": 8},
        {"note": "step ", "k": 1},  # the first evaluation is logged, its model is not saved
        {"note": "step ", "k": 2},
        {"note": "drawing"},  # trained and scored, without a report
    ],
    ids=str,
)
def test_a_stopped_run_ends_bit_for_bit_as_if_it_had_not_been(small, source, straight, tmp_path, kill):
    folder = tmp_path / "run"
    with pytest.raises(Killed):
        start(small, source, folder, progress=Kills(**kill))
    assert not (folder / REPORT).exists()
    driver.resume(folder, make_progress=Progress)
    for name in (LAST, BEST):
        arrays, expected = (load_checkpoint(place / name)[0] for place in (folder, straight))
        assert arrays.keys() == expected.keys()
        for key, array in arrays.items():
            assert array.dtype == expected[key].dtype
            assert array.tobytes() == expected[key].tobytes(), key
    reports = [read_json(place / REPORT) for place in (folder, straight)]
    for report in reports:
        del report["training"]["seconds"]
    assert reports[0] == reports[1]
    assert {path.name for path in folder.iterdir()} == {path.name for path in straight.iterdir()}
    for path in folder.glob("*.txt"):
        assert path.read_text() == (straight / path.name).read_text()


# ---------------------------------------------------------------------------------------------- refused
def test_data_that_are_too_few_are_refused_before_anything_is_written(small, source, tmp_path, monkeypatch):
    monkeypatch.setattr(type(small.task), "least", 10**9)
    says = rf"there are \d+ train {small.task.items} in .*, at least 1000000000 expected; hint"
    with pytest.raises(DataError, match=says):
        start(small, source, tmp_path / "made" / "run")
    assert not any(tmp_path.iterdir())


@pytest.fixture
def unfinished(small, source, tmp_path):
    """A run that was stopped."""
    with pytest.raises(Killed):
        start(small, source, tmp_path / "run", progress=Kills(step=2))
    return tmp_path / "run"


@pytest.mark.parametrize("part", ["train", "dev", "test"])
def test_data_that_have_changed_are_named(small, unfinished, part):
    content = read_json(unfinished / CONFIG)
    write_json(unfinished / CONFIG, {**content, "data": {**content["data"], part: "0" * 64}})
    says = rf"the {part} {small.task.items} of .* changed since the run was started; hint: .*, or start a new run"
    with pytest.raises(DataError, match=says):
        driver.resume(unfinished, make_progress=Progress)
    if part == "test":
        with pytest.raises(DataError, match=r"changed since the run was started; hint: .*, or name .* by --test"):
            driver.evaluate(unfinished)


def test_a_checkpoint_of_another_run_is_named(small, source, unfinished, tmp_path):
    with pytest.raises(Killed):
        start(small, source, tmp_path / "other", "seed=2", progress=Kills(step=2))
    (tmp_path / "other" / LAST).replace(unfinished / LAST)
    says = r"belongs to another run, or .*config.json was changed: they differ in config\.seed; hint: "
    for use in (driver.load, lambda run: driver.resume(run, make_progress=Progress)):
        with pytest.raises(CheckpointError, match=says):
            use(unfinished)


def test_a_run_of_an_older_version_is_refused_naming_it(unfinished):
    content = read_json(unfinished / CONFIG)
    old = {"recipe": content["task"], "config": content["config"], "data": content["data"], "files": content["source"]}
    write_json(unfinished / CONFIG, old)
    for use in (driver.resume, driver.load, driver.evaluate):
        with pytest.raises(
            CheckpointError, match=r"minattn 0\.1\.0, before runs recorded their version; .*; hint: the minattn"
        ):
            use(unfinished)


def test_a_run_of_a_task_that_does_not_exist_names_the_nearest(small, unfinished):
    content = read_json(unfinished / CONFIG)
    write_json(unfinished / CONFIG, {**content, "task": f"{small.task.name}s"})
    with pytest.raises(CheckpointError, match=f"there is no task '{small.task.name}s'; hint: "):
        driver.load(unfinished)


def test_a_score_that_is_not_finite_is_refused(small, straight, monkeypatch):
    evaluate = type(small.task).evaluate

    def diverged(*arguments, **options):
        found = evaluate(*arguments, **options)
        return dataclasses.replace(found, metrics={**found.metrics, "loss": math.nan})

    monkeypatch.setattr(type(small.task), "evaluate", diverged)
    with pytest.raises(CheckpointError, match=r"the score of the model of .*run is not finite: its training diverged"):
        driver.evaluate(straight)


def test_parameters_that_are_not_finite_are_refused(unfinished):
    arrays, meta = load_checkpoint(unfinished / LAST)
    arrays[next(name for name in arrays if name.startswith("model/"))].fill(math.inf)
    save_checkpoint(unfinished / LAST, arrays, meta)
    with pytest.raises(CheckpointError, match="has parameters that are not finite"):
        driver.load(unfinished)
