"""Benchmarks of engines that do no work, so that a test knows every number; nothing is installed or downloaded."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from benchmarks import harness
from benchmarks.__main__ import main
from benchmarks.harness import Harness, Plan
from benchmarks.workloads import WORKLOADS

FAKE_WORKER = Path(__file__).with_name("fake_worker.py")


@dataclass(frozen=True)
class Fakes:
    """Benchmarks with the fake worker."""

    log: Path
    monkeypatch: pytest.MonkeyPatch

    def behave(self, **engines):
        """`torch={"seconds": [..]}`: what each engine does; see fake_worker.py."""
        self.monkeypatch.setenv("FAKES", json.dumps(engines))

    def run(self, workload="W1", against=("torch",), rounds=3, time_limit=30.0, threads=(1,), watcher=None):
        """All comparisons of such a benchmark."""
        plan = Plan(
            [WORKLOADS[workload]], list(against), list(threads), rounds, 0.01, Path("none"), time_limit, FAKE_WORKER
        )
        return Harness(plan, watcher or harness.Watcher()).run("python -m benchmarks").comparisons

    def turns(self):
        """Who did steps, in order: (engine, workload, threads, process)."""
        return [line.split() for line in self.log.read_text().splitlines()]


@pytest.fixture
def fakes(tmp_path, monkeypatch):
    monkeypatch.setattr(harness, "interpreter_of", lambda engine, folder, tell: Path(sys.executable))
    monkeypatch.setattr(harness, "REST", 0.0)
    monkeypatch.setenv("FAKES_LOG", str(tmp_path / "turns"))
    made = Fakes(tmp_path / "turns", monkeypatch)
    made.behave()
    return made


@dataclass(frozen=True)
class Said:
    status: int
    out: str
    err: str


@pytest.fixture
def bench(capsys):
    """`bench("W1", "--rounds", 2)` runs the command in this process."""

    def call(*arguments):
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            main([*map(str, arguments)])
        return Said(caught.value.code or 0, *capsys.readouterr())

    return call
