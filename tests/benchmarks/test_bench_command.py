"""`python -m benchmarks`: what it refuses, what it leaves, and a run of all workloads of minattn alone."""

import functools
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

import benchmarks
from benchmarks import __main__ as command
from benchmarks.__main__ import Request
from benchmarks.environments import ENGINES
from benchmarks.harness import Plan
from benchmarks.results import read_results
from benchmarks.workloads import WORKLOADS
from minattn.errors import ConfigError


@pytest.fixture
def faked(fakes, monkeypatch, tmp_path):
    """The command with engines that do no work, in a folder of its own."""
    monkeypatch.setattr(command, "Plan", functools.partial(Plan, program=Path(__file__).with_name("fake_worker.py")))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return fakes


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["W7x"], ["there is no workload 'W7x'", "W8-softmax"]),
        (
            ["--against", "torhc"],
            ["there is no engine 'torhc'", "torch, torch-fused, torch-channels-last", "'none'"],
        ),
        (["--against", "torch,minattn"], ["minattn is always measured"]),
        (["--against", ""], ["there is no engine ''", "the folder of a clone"]),
        (["--against", "./file"], ["--against ./file: there is no clone of minattn"]),
        (["--threads", "0"], ["--threads"]),
        (["--threads", "1000000"], ["--threads takes 1 to", "1000000"]),
        (["--threads", "many"], ["--threads", "integer"]),
        (["--rounds", "0"], ["--rounds"]),
        (["--seconds", "-1"], ["--seconds"]),
        (["--out", "file/below"], ["file is a file, not a folder", "--out"]),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(bench, tmp_path, monkeypatch, arguments, says):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    result = bench(*arguments)
    assert result.status not in (0, 130)
    assert result.err.startswith("error: ")
    assert result.err.count("\n") == 1
    for part in says:
        assert part in result.err
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_without_matplotlib_nothing_is_begun(bench, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    result = bench("W1", "--out", tmp_path / "out")
    assert result.status == 1
    assert "matplotlib, which is not installed: pip install 'minattn[train]'" in result.err


def test_the_list_names_all_workloads_and_engines(bench):
    result = bench("--list")
    assert (result.status, result.err) == (0, "")
    for name in (*WORKLOADS, *ENGINES):
        assert f" {name} " in result.out


def test_names_become_a_plan():
    plan = Request(["w8"], " Torch, jax,torch", [2, 1, 2] if len(command.processors()) > 1 else [1, 1]).plan()
    assert [workload.name for workload in plan.workloads] == ["W8-softmax", "W8-layernorm", "W8-gelu"]
    assert plan.engines == ["minattn", "torch", "jax"]
    assert plan.reference == "torch"
    assert len(set(plan.threads)) == len(plan.threads)


def test_none_is_minattn_alone():
    plan = Request(against="none").plan()
    assert plan.engines == ["minattn"]
    assert plan.reference is None
    with pytest.raises(ConfigError, match="no engine 'none'"):
        Request(against="torch,none").plan()


def test_the_command_in_the_report_measures_the_same_again():
    request = Request(["W2"], "torch,jax", [1], 7, 0.1)
    assert request.command() == "python -m benchmarks W2 --against torch,jax --threads 1 --rounds 7 --seconds 0.1"
    assert replace(request, avx2=True).command() == f"{request.command()} --avx2"


# ---------------------------------------------------------------------------------------------- what a run leaves
def test_a_run_shows_its_tables_and_writes_its_files(bench, faked):
    faked.behave(minattn={"seconds": [0.002]}, torch={"seconds": [0.004]}, jax={"trouble": "dies"})
    result = bench("W1", "W2", "--against", "torch,jax", "--rounds", 2, "--threads", 1)
    assert (result.status, result.err) == (0, "")
    for said in ("W1 tiny ops, 1 thread", "0.500", "Left out: JAX: it ended with status 1", "performance.png"):
        assert said in result.out
    assert {path.name for path in Path("runs/bench").iterdir()} == {
        "performance.json",
        "performance.md",
        "performance.png",
    }


def test_results_can_be_added_workload_by_workload(bench, faked):
    both = ["--threads", 1, "--rounds", 2, "--out", "out"]
    bench("W2", *both)
    assert bench("W1", *both, "--add").status == 0
    (content,) = json.loads(Path("out/performance.json").read_text(encoding="utf-8"))
    assert [each["workload"] for each in content["comparisons"]] == ["W1", "W2"]
    turns = len(faked.turns())
    refused = bench("W1", "--threads", 1, "--rounds", 3, "--out", "out", "--add")
    assert refused.status == 1
    assert "rounds differ: 2 there, 3 here" in refused.err
    assert len(faked.turns()) == turns, "nothing was measured"
    bench("W1", *both)
    (content,) = json.loads(Path("out/performance.json").read_text(encoding="utf-8"))
    assert [each["workload"] for each in content["comparisons"]] == ["W1"]


def test_another_clone_of_minattn_takes_turns(bench, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for link in ("minattn", "benchmarks"):
        (tmp_path / "before" / link).parent.mkdir(exist_ok=True)
        (tmp_path / "before" / link).symlink_to(Path(benchmarks.__file__).parents[1] / link)
    result = bench("W1", "--against", "./before", "--threads", 1, "--rounds", 2, "--seconds", 0.001)
    assert (result.status, result.err) == (0, "")
    assert "minattn at ./before" in result.out
    (results,) = read_results(tmp_path / "runs" / "bench")
    (found,) = results.comparisons
    assert found.skipped == {}
    assert found.reference == "minattn at ./before"
    assert found.ratio("minattn").median > 0
    assert found.loss_difference("minattn") == 0


def test_a_workload_that_minattn_fails_is_an_error_when_all_else_is_written(bench, faked):
    faked.behave(minattn={"trouble": "dies"})
    result = bench("W1", "--threads", 1, "--out", "out")
    assert result.status == 1
    assert result.err.startswith("error: minattn could not do W1 with 1 thread: it ended with status 1: ValueError")
    assert (Path("out") / "performance.md").exists()


def test_ctrl_c_says_what_is_lost(capsys, faked, monkeypatch):
    def stop_at_w2(self, done, doing):
        self.doing = doing
        if "W2, 1 thread: round 2" in doing:
            raise KeyboardInterrupt

    monkeypatch.setattr(command.TerminalWatcher, "advance", stop_at_w2)
    with pytest.raises(KeyboardInterrupt):
        command.run(Request(["W1", "W2"], threads=[1], rounds=3, seconds=0.01), Console())
    out = " ".join(capsys.readouterr().out.split())
    assert "stopped at W2, 1 thread: round 2 of 3, minattn; the engines are ended and nothing is written" in out
    assert "complete, and shown above only: W1 (1 thread)" in out
    assert list(Path().iterdir()) == []


def children(process):
    """Those processes that `process` has started (Linux)."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
        except OSError:  # it has ended
            continue
        if int(parent) == process and state != "Z":
            found.append(int(stat.parent.name))
    return found


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks processes up in /proc")
def heed_ctrl_c():
    """A shell that runs the tests in the background has them, and all that they start, ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_a_signal_ends_the_command_and_its_workers(tmp_path):
    arguments = [sys.executable, "-m", "benchmarks", "W1", "--against", "none", "--threads", "1"]
    arguments += ["--rounds", "100000", "--out", tmp_path / "out"]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, preexec_fn=heed_ctrl_c) as running:
        give_up = time.monotonic() + 60
        while not (workers := children(running.pid)) and time.monotonic() < give_up:
            time.sleep(0.05)
        assert workers
        time.sleep(0.5)
        running.send_signal(signal.SIGINT)
        try:
            out, _ = running.communicate(timeout=60)
        finally:
            running.kill()
    assert running.returncode == 130
    assert "nothing is written into" in out
    assert not any(os.path.exists(f"/proc/{worker}") for worker in workers)
    assert not (tmp_path / "out").exists()


def test_a_real_run_of_minattn_alone(tmp_path):
    """The smoke run: real processes, real work, as few steps as there can be; no time decides it.

    Without the residual network's forms with SE, which are W6 and W6i with a little more.
    """
    names = [name for name in WORKLOADS if name not in ("W6se", "W6sei")]
    arguments = ["--against", "none", "--rounds", "1", "--seconds", "0.001", "--threads", "1", "--out", str(tmp_path)]
    run = subprocess.run([sys.executable, "-m", "benchmarks", *names, *arguments], capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (0, "")
    (results,) = read_results(tmp_path)
    assert [each.workload for each in results.comparisons] == names
    for each in results.comparisons:
        assert each.skipped == {}
        assert each.time("minattn").median > 0
        assert each.timings["minattn"].peak_mib is None or each.timings["minattn"].peak_mib > 10
        assert (each.limit_rate() is not None) == (each.definition.limit is not None)
    assert "### W9 import" in (tmp_path / "performance.md").read_text(encoding="utf-8")
