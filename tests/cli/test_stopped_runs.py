"""Runs in processes of their own that are killed, interrupted, or have no room, and are then resumed."""

import os
import resource
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from small_g2p import train_arguments, write_words

from minattn.tasks.files import read_json
from minattn.tasks.run_folder import CONFIG, REPORT
from minattn.training import BEST, LAST, load_checkpoint

LONG = "epochs=40"  # a few seconds of training, so that there is something to interrupt
KILLS = 3
ENVIRONMENT = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}


def started(folder, *arguments, **options):
    """`minattn` with these arguments as a process in `folder`."""
    return subprocess.Popen(
        [sys.executable, "-m", "minattn", *arguments],
        cwd=folder,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def resumed(folder):
    return started(folder, "train", "g2p", "--resume", "run")


def wait_for(path, process):
    deadline = time.monotonic() + 60
    while not path.exists():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """The folder with the run that nothing stopped."""
    folder = tmp_path_factory.mktemp("straight")
    write_words(folder)
    output, errors = started(folder, *train_arguments("run", LONG)).communicate(timeout=120)
    assert "now try:" in output, errors
    return folder


def assert_same_run(folder, straight):
    """Bit for bit the same weights, optimizer, scores and settings."""
    for name in (LAST, BEST):
        arrays, expected = (load_checkpoint(place / "run" / name)[0] for place in (folder, straight))
        assert arrays.keys() == expected.keys()
        for key, array in arrays.items():
            assert array.dtype == expected[key].dtype
            assert array.tobytes() == expected[key].tobytes(), key
    reports = [read_json(place / "run" / REPORT) for place in (folder, straight)]
    for report in reports:
        del report["training"]["seconds"]
    assert reports[0] == reports[1]


def test_a_run_killed_at_random_moments_ends_as_if_it_had_not_been(tmp_path, straight):
    write_words(tmp_path)
    process = started(tmp_path, *train_arguments("run", LONG))
    for _ in range(KILLS):
        wait_for(tmp_path / "run" / CONFIG, process)
        time.sleep(np.random.default_rng().uniform(0, 2))
        process.kill()
        process.communicate()
        process = resumed(tmp_path)
    output, errors = process.communicate(timeout=120)
    assert (process.returncode, errors) == (0, ""), output
    assert_same_run(tmp_path, straight)


def test_ctrl_c_saves_and_says_how_to_go_on(tmp_path, straight):
    write_words(tmp_path)
    process = started(tmp_path, *train_arguments("run", LONG))
    wait_for(tmp_path / "run" / LAST, process)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, "")
    assert "stopped after step " in output
    assert output.endswith("To resume:\n  minattn train g2p --resume run\n")
    assert not (tmp_path / "run" / REPORT).exists()
    output, errors = resumed(tmp_path).communicate(timeout=120)
    assert "resuming after step " in output
    assert errors == ""
    assert_same_run(tmp_path, straight)


def test_a_disk_with_no_room_for_a_checkpoint(tmp_path):
    write_words(tmp_path)
    before = sorted(tmp_path.rglob("*"))

    def little_room():
        resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, 5_000))

    process = started(tmp_path, *train_arguments("run"), preexec_fn=little_room)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert errors.startswith("error: checkpoint run/last.safetensors could not be written: File too large;")
    assert errors.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_an_output_that_is_full_is_told_in_one_line():
    with open("/dev/full", "w") as full:
        process = subprocess.run(
            [sys.executable, "-m", "minattn", "list"], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert process.returncode == 1
    assert process.stderr == "error: No space left on device: the output\n"
