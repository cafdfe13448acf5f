"""Training in a process of its own that is stopped from outside."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from tiny_run import assert_same_run

from minattn.training import LAST

PROGRAM = Path(__file__).with_name("tiny_run.py")
KILLS = 3


def started(folder):
    """The run in `folder` as a process, begun or gone on with: about a second of steps after what Python needs."""
    return subprocess.Popen(
        [sys.executable, PROGRAM, folder, "0.02"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def wait_for(path, process):
    deadline = time.monotonic() + 60
    while not path.exists():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_run_killed_at_random_moments_ends_as_if_it_had_not_been(tmp_path, straight):
    for _ in range(KILLS):
        process = started(tmp_path)
        wait_for(tmp_path / LAST, process)
        time.sleep(np.random.default_rng().uniform(0, 1))
        process.kill()
        process.communicate()
    output, errors = started(tmp_path).communicate(timeout=60)
    assert "all 45 steps are done" in output, errors
    assert_same_run(tmp_path, straight)


def test_ctrl_c_ends_the_process_and_loses_nothing(tmp_path, straight):
    process = started(tmp_path)
    wait_for(tmp_path / LAST, process)
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert output.startswith("stopped by Ctrl-C, after step ")
    assert errors == ""
    output, _ = started(tmp_path).communicate(timeout=60)
    assert "all 45 steps are done" in output
    assert_same_run(tmp_path, straight)
