"""The experiments in this process, as they are run on the command line."""

import runpy
import sys
from pathlib import Path

import pytest

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
