"""Runs whose folder is wanted by two, or is taken away while they train, or whose log is damaged."""

import shutil

import pytest
from small_runs import SMALL_RUNS

from minattn.errors import MinattnError
from minattn.tasks import driver
from minattn.tasks.files import read_json
from minattn.tasks.registry import TASKS
from minattn.tasks.run_folder import CURVES, REPORT
from minattn.training import LOG, Progress


class Acts(Progress):
    """Does something after the third step."""

    def __init__(self, act):
        self.act, self.steps = act, 0

    def advance(self, fraction):
        self.steps += 1
        if self.steps == 3:
            self.act()


@pytest.fixture
def trained(tmp_path, monkeypatch):
    """`trained(act)` trains a run in the folder `run`, and does something after the third step."""
    small = SMALL_RUNS["toy"]
    monkeypatch.setitem(TASKS, "toy", small.task)
    source = small.write(tmp_path)

    def train(act):
        config = small.task.configure(small.settings, source=source)
        driver.start(small.task, config, source, tmp_path / "run", make_progress=lambda: Acts(act))

    return train


def test_a_run_that_is_being_trained_is_not_resumed(trained, tmp_path):
    def resume():
        with pytest.raises(MinattnError, match="another process is training in"):
            driver.resume(tmp_path / "run", make_progress=Progress)

    trained(resume)
    assert (tmp_path / "run" / REPORT).exists()


LOST = r"(cannot|could not) be written: No such file or directory.*hint: "


def test_a_folder_that_is_removed_while_training_is_told_in_a_line(trained, tmp_path):
    with pytest.raises(MinattnError, match=LOST):
        trained(lambda: shutil.rmtree(tmp_path / "run"))


def test_a_folder_that_is_moved_while_training_can_be_resumed(trained, tmp_path):
    with pytest.raises(MinattnError, match=LOST):
        trained(lambda: (tmp_path / "run").rename(tmp_path / "moved"))
    driver.resume(tmp_path / "moved", make_progress=Progress)
    assert (tmp_path / "moved" / REPORT).exists()


def test_a_run_whose_log_is_damaged_ends_without_learning_curves(trained, tmp_path):
    trained(lambda: None)
    run = tmp_path / "run"
    before = read_json(run / REPORT)
    assert CURVES in before["figures"]
    for name in (REPORT, CURVES):
        (run / name).unlink()
    (run / LOG).write_text("not a log\n")
    driver.resume(run, make_progress=Progress)
    after = read_json(run / REPORT)
    assert after["test"] == before["test"]
    assert CURVES not in after["figures"]
    assert not (run / CURVES).exists()
