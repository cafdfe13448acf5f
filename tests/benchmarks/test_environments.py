"""The environment of an engine is made once, made anew when its requirements change, and its absence has a reason."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import environments
from benchmarks.environments import (
    ENGINES,
    RECIPE,
    Engine,
    UnavailableError,
    engine_of,
    interpreter_of,
    variables_of,
)

LIBRARY = Engine("library", "Library", "library", ("library==1.0", "other<2"))


@pytest.fixture
def commands(monkeypatch):
    """What would be run, and what its output would be: `commands.fails["pip"] = output`."""

    class Commands(list):
        def run(self, command, **_):
            self.append([str(part) for part in command])
            if "venv" in self[-1]:
                place = Path(command[-1])
                place.mkdir(parents=True, exist_ok=True)
                (place / "pyvenv.cfg").touch()
                (place / RECIPE).unlink(missing_ok=True)  # --clear
            output = next((said for name, said in self.fails.items() if name in self[-1]), None)
            return subprocess.CompletedProcess(command, output is not None, output or "")

    made = Commands()
    made.fails = {}
    monkeypatch.setattr(subprocess, "run", made.run)
    return made


def made(folder, engine=LIBRARY):
    return interpreter_of(engine, folder, lambda line: None)


def test_it_is_made_of_pinned_requirements_and_tried(commands, tmp_path):
    told = []
    python = interpreter_of(LIBRARY, tmp_path, told.append)
    make, install, attempt = commands
    assert python.is_relative_to(tmp_path / "library")
    assert make[0] == sys.executable
    assert install[0] == attempt[0] == str(python)
    assert install[-2:] == ["library==1.0", "other<2"]
    assert attempt[1:] == ["-c", "import library"]
    assert told == ["making the environment of library, once: pip install library==1.0 other<2"]


def test_it_is_used_again(commands, tmp_path):
    assert made(tmp_path) == made(tmp_path)
    assert len(commands) == 3


def test_other_requirements_make_it_anew(commands, tmp_path):
    made(tmp_path)
    made(tmp_path, Engine("library", "Library", "library", ("library==1.1",)))
    assert commands[4][-1] == "library==1.1"


@pytest.mark.parametrize(
    ("failing", "said", "reason"),
    [
        (
            "pip",
            "WARNING: Retrying\nERROR: No matching distribution found for library==1.0\n\n[notice] new pip\n",
            "pip install failed: ERROR: No matching distribution found for library==1.0",
        ),
        ("import library", "Traceback\nAttributeError: np.int", "import library failed: AttributeError: np.int"),
        ("venv", "", "python -m venv failed: no output"),
    ],
)
def test_what_fails_is_told_and_tried_again_the_next_time(commands, tmp_path, failing, said, reason):
    commands.fails[failing] = said
    with pytest.raises(UnavailableError) as told:
        made(tmp_path)
    assert str(told.value) == reason
    commands.fails.clear()
    made(tmp_path)
    assert (tmp_path / "library" / RECIPE).exists()


def test_what_builds_it_is_installed_first(commands, tmp_path):
    made(tmp_path, Engine("library", "Library", "library", ("library==1.0",), build=("setuptools<81",)))
    _, build, install, _ = commands
    assert build[-1] == "setuptools<81"
    assert install[-2:] == ["--no-build-isolation", "library==1.0"]


def test_something_else_in_its_place_is_left_alone(commands, tmp_path):
    (tmp_path / "library").mkdir()
    (tmp_path / "library" / "thesis.txt").write_text("all of it")
    with pytest.raises(UnavailableError, match="is in the way"):
        made(tmp_path)
    assert commands == []
    assert (tmp_path / "library" / "thesis.txt").exists()


def test_a_folder_that_cannot_be_made_is_a_reason(commands, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UnavailableError, match="no environment can be made in"):
        made(tmp_path / "file" / "envs")


def test_an_old_library_needs_an_old_python(commands, tmp_path, monkeypatch):
    old = Engine("library", "Library", "library", ("library==1.0",), (3, 1))
    with pytest.raises(UnavailableError, match=r"no packages for Python 3\.\d+, and there is no python3\.1$"):
        made(tmp_path, old)
    monkeypatch.setattr(environments.shutil, "which", lambda name: f"/old/{name}")
    made(tmp_path, old)
    assert commands[0][0] == "/old/python3.1"


def test_minattn_needs_no_environment(commands, tmp_path):
    assert made(tmp_path, ENGINES["minattn"]) == Path(sys.executable)
    assert commands == []


def test_packages_of_this_environment_do_not_leak_into_another(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    assert "PYTHONPATH" not in variables_of(LIBRARY)
    ours = variables_of(ENGINES["minattn"])["PYTHONPATH"].split(os.pathsep)
    assert ours[-1] == "/somewhere"
    assert (Path(ours[0]) / "minattn" / "__init__.py").exists()


@pytest.mark.parametrize("worker", ["benchmarks/worker.py", "minattn/benchmarks/worker.py"])
def test_another_clone_runs_its_own_worker_and_package(tmp_path, worker):
    (tmp_path / worker).parent.mkdir(parents=True)
    (tmp_path / worker).touch()
    earlier = engine_of(f"minattn at {tmp_path}")
    assert earlier.worker == tmp_path / worker
    assert variables_of(earlier)["PYTHONPATH"].split(os.pathsep)[0] == str(tmp_path)
    assert interpreter_of(earlier, tmp_path, print) == Path(sys.executable)


def test_every_engine_is_pinned():
    for engine in ENGINES.values():
        assert all("==" in each or "<" in each for each in engine.requirements)
        assert engine.name == "minattn" or f"{engine.lives_with or engine.name}==" in engine.requirements[0]


def test_one_library_used_in_two_ways_has_one_environment(commands, tmp_path):
    assert made(tmp_path, ENGINES["torch-fused"]) == made(tmp_path, ENGINES["torch"])
