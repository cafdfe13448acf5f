"""The experiments in this process, as they are run on the command line."""

import runpy
import sys
from pathlib import Path

import pytest

from minattn.data.images.dataset import ImageSplits
from minattn.data.images.digits import load_digits
from minattn.tasks import driver
from minattn.tasks.images.source import ImageSource

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
sys.path.insert(0, str(EXPERIMENTS))  # as Python does for a script: they share a module


@pytest.fixture
def call(monkeypatch, capsys):
    """`call("name.py", ...)` runs an experiment and returns what it prints."""

    def run(name, *arguments):
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        runpy.run_path(str(EXPERIMENTS / name), run_name="__main__")
        return capsys.readouterr().out

    return run


@pytest.fixture
def no_run_figures(monkeypatch):
    """Runs without their figures, which take longer than all the rest."""
    monkeypatch.setattr(driver, "draw_figures", lambda *_: [])


@pytest.fixture
def refused(call):
    """`refused("name.py", ..., says="..")`: an experiment ends with one line that says so, and nothing is made."""

    def run(name, *arguments, says, folder):
        before = set(folder.rglob("*"))
        with pytest.raises(SystemExit) as caught:
            call(name, *arguments)
        assert isinstance(caught.value.code, str), "the line goes to standard error, and the exit status is 1"
        assert caught.value.code.startswith("error: ")
        assert says in caught.value.code
        assert "\n" not in caught.value.code
        assert set(folder.rglob("*")) == before

    return run


@pytest.fixture
def few_digits(monkeypatch):
    """60 digits to train on and to test on and 20 for dev, in place of the images of any source."""
    pytest.importorskip("sklearn", reason="needs the extra images")
    digits = load_digits()
    few = ImageSplits(digits.train.at(slice(60)), digits.dev.at(slice(20)), digits.test.at(slice(60)), digits.classes)
    monkeypatch.setattr(ImageSource, "load", lambda *_: few)
