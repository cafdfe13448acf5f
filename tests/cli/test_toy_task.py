"""A task that is in the registry and nowhere else has all of the command line."""

import re
from pathlib import Path

import pytest
from small_toy import SMALL, train_arguments, write_points

from minattn.cli.train import train_command
from minattn.tasks import driver
from minattn.tasks.config import settings_of
from minattn.tasks.files import read_json
from minattn.tasks.registry import TASKS
from minattn.tasks.run_folder import REPORT
from minattn.training import BEST, LAST

pytestmark = pytest.mark.usefixtures("toy")


@pytest.fixture
def points(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return write_points(tmp_path)


@pytest.fixture
def toy_run(minattn, points):
    """A finished run, in the folder that the test works in."""
    assert minattn(*train_arguments("run")).status == 0
    return Path("run")


def test_it_trains_scores_and_tells_what_to_try(minattn, points):
    result = minattn(*train_arguments("run"))
    assert (result.status, result.err) == (0, "")
    report = read_json(Path("run", REPORT))
    assert sorted(path.name for path in Path("run").iterdir()) == [
        *(BEST, "config.json", "curves.png", LAST, "log.jsonl", REPORT)
    ]
    assert result.out.endswith(
        f"test:     hits {report['test']['hits']:.2f} % over 15 points\n"
        "figures:  run/curves.png\n"
        "now try:  minattn predict run 1 0\n"
    )
    assert "points: 60 train, 15 dev, 15 test" in result.out
    assert "layers with 22 parameters, to train for 60 steps, 10 epochs" in result.out


def test_it_resumes(minattn, points, monkeypatch):
    with monkeypatch.context() as stop:
        stop.setattr(driver, "_finished", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        result = minattn(*train_arguments("run"))
    assert result.status == 130
    assert result.out.endswith("To resume:\n  minattn train toy --resume run\n")
    assert minattn("train", "toy", "--resume", "run").status == 0
    finished = minattn("train", "toy", "--resume", "run").out
    assert "run is finished" in finished
    assert finished.endswith("to train longer:  minattn train toy --out ANOTHER_FOLDER --set epochs=N\n")


def test_it_is_evaluated_with_its_own_options(minattn, toy_run, refused):
    assert minattn("evaluate", toy_run).out.endswith(" % over 15 points\n")
    assert minattn("evaluate", toy_run, "--first", 3, "--test", "points.txt").out.endswith(" % over 3 points\n")
    says = ["--first must be at least 1, got 0"]
    refused("evaluate", toy_run, "--first", 0, says=says, folder=toy_run)
    refused("evaluate", toy_run, "--beam", 2, says=["No such option: --beam"], folder=toy_run)


def test_it_predicts_with_its_own_arguments_and_options(minattn, toy_run, refused):
    result = minattn("predict", toy_run, 3, 1)
    assert (result.out, result.err) == ("right\n", "note: a toy said so\n")
    assert minattn("predict", toy_run, 3, 1, "--shout").out == "RIGHT\n"
    refused("predict", toy_run, says=["Missing argument 'NUMBER"], folder=toy_run)
    refused("predict", toy_run, 1, 2, "--plot", "x.png", says=["No such option: --plot"], folder=toy_run)
    refused("generate", toy_run, says=["is a run of toy; hint: minattn predict run"], folder=toy_run)


def test_the_help_has_its_options_and_settings(minattn):
    assert re.search(r"\n  toy +Learn on which side of a line points are\.", minattn("train", "--help").out)
    said = minattn("train", "toy", "--help").out
    told = " ".join(said.split())
    assert "--points FILE Points, two numbers a line." in told
    assert "--model" not in said
    assert "--train" not in said
    assert "epochs passes over the points [int, default: 5]" in told
    assert "width units of the hidden layer [int, default: 8]" in told


def test_the_help_of_a_run_is_that_of_its_task(minattn, toy_run):
    said = " ".join(minattn("predict", toy_run, "--help").out.split())
    assert "predict run [OPTIONS] {NUMBER}..." in said
    assert "--shout" in said
    said = " ".join(minattn("evaluate", toy_run, "--help").out.split())
    assert "--first N Score the first N points alone." in said
    for command in ("evaluate", "predict"):
        assert "  toy " in minattn(command, "--help").out
    assert "  toy " not in minattn("generate", "--help").out


def test_its_settings_and_data_reach_it(minattn, points):
    Path(points).rename("others.txt")
    assert minattn(*train_arguments("run", "width=3"), "--points", "others.txt", "--seed", 4).status == 0
    stored = driver.StoredRun.read("run")
    assert (stored.config.network.width, stored.config.seed) == (3, 4)
    assert stored.source.points == str(Path("others.txt").absolute())


def test_what_is_wrong_is_told_before_the_work(refused, points, tmp_path):
    for setting, says in (
        ("widht=3", "there is no setting 'widht'; hint: width"),
        ("epochs=0", "epochs must be at le"),
    ):
        refused(*train_arguments("run", setting), says=[says], folder=tmp_path)
    refused(*train_arguments("run"), "--points", "none.txt", says=["none.txt has no points"], folder=tmp_path)
    refused("train", "tyo", says=["there is no task 'tyo'; hint: toy"], folder=tmp_path)
    refused("predict", says=["the run comes first; hint: minattn predict RUN"], folder=tmp_path)
    refused("predict", "--shout", "run", says=["the run comes first; hint: minattn predict RUN"], folder=tmp_path)


# ---------------------------------------------------------------------------------------------- every task
@pytest.mark.parametrize("name", [*TASKS, "toy"])
def test_the_help_of_every_task_lists_every_setting_with_its_default_and_every_model(minattn, name):
    task = TASKS[name]
    said = minattn("train", name, "--help").out
    told = " ".join(said.split())
    for model in task.shown_models:
        assert len(task.shown_models) == 1 or model in told
        for path, setting in settings_of(task.default(model)).items():
            assert path == "model" or f"  {path.rpartition('.')[2]} " in said
            assert path == "model" or str(setting.value) in told
    options = {option for parameter in train_command(task).params for option in parameter.opts}
    assert ("--model" in options) == (len(task.models) > 1)
    assert ("--data" in options) == (name in ("captions", "images", "pixels", "pose", "translate", "qa"))
    assert ("--train" in options) == (name in ("g2p", "lm", "translate", "facts"))


def test_small_settings_are_of_the_task():
    assert {setting.partition("=")[0] for setting in SMALL} <= {"epochs", "batch_size", "width", "lr"}
