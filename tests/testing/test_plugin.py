"""The pytest plugin: a failing example is stored, and replayed by the command that the report shows."""

import os
import re
import shlex
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given

from minattn.errors import DataError
from minattn.testing import strategies
from minattn.testing.examples import Drawn, load, store

TESTS = """
import numpy as np
import pytest
from hypothesis import given, strategies as st

from minattn.testing import check_vjp, strategies


def wrong(g, x):
    return np.where(x > 1, 2, 1) * g * np.cos(x)


@pytest.mark.gradcheck
@given(strategies.arrays(strategies.shapes(), np.float64))
def test_sine(x):
    check_vjp(np.sin, wrong, x)


class TestDrawn:
    @pytest.mark.gradcheck
    @pytest.mark.parametrize("name", ["one"])
    @given(data=st.data(), seed=st.integers(0, 9))
    def test_in_a_class(self, name, data, seed):
        x = data.draw(strategies.arrays(strategies.shapes(), np.float64))
        mask = data.draw(strategies.masks(x.shape))
        check_vjp(lambda x, m: np.where(m, np.sin(x), 0), lambda g, x, m: wrong(g, x) * m, x, mask, seed=seed)


@given(x=strategies.arrays(strategies.shapes(), np.float64))
def test_with_the_fixture(gradcheck, x):
    assert gradcheck.__name__ == "check_gradients"


def test_without_hypothesis(gradcheck):
    pass


@given(strategies.arrays(strategies.shapes(), np.float64))
def test_unmarked(x):
    check_vjp(np.sin, wrong, x)
"""


def run(folder, *arguments):
    environment = {**os.environ, "PYTEST_ADDOPTS": "", "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False).stdout


@pytest.fixture(scope="module")
def failed(tmp_path_factory):
    """A folder in which the tests have run, and what pytest said."""
    folder = tmp_path_factory.mktemp("tests")
    (folder / "conftest.py").write_text('pytest_plugins = ["minattn.testing.plugin"]\n', encoding="utf-8")
    (folder / "test_cubes.py").write_text(TESTS, encoding="utf-8")
    return folder, run(folder, "--hypothesis-profile=gradcheck-ci")


def test_failing_examples_are_stored_and_replayed_by_the_command_shown(failed):
    folder, said = failed
    assert "3 failed, 2 passed" in said
    stored = {path.name for path in (folder / ".gradcheck").iterdir()}
    assert stored == {"test_cubes.test_sine.npz", "test_cubes.TestDrawn.test_in_a_class_one.npz"}
    commands = re.findall(r"^  pytest (.*)$", said, re.MULTILINE)
    assert len(commands) == 2
    for command in commands:
        again = run(folder, *shlex.split(command), "-p", "no:hypothesispytest")
        assert "1 failed" in again
        assert "Falsifying" not in again
        assert "GradientMismatch" in again
    (folder / "test_cubes.py").write_text(TESTS.replace("np.where(x > 1, 2, 1) * g", "g"), encoding="utf-8")
    try:
        assert "1 passed" in run(folder, *shlex.split(commands[0]))
    finally:
        (folder / "test_cubes.py").write_text(TESTS, encoding="utf-8")


def test_the_stored_example_is_the_smallest(failed):
    folder, _ = failed
    _, arguments = load(folder / ".gradcheck" / "test_cubes.test_sine.npz")
    assert arguments["x"].size == 1
    assert arguments["x"].flags.writeable


def test_an_example_of_another_test_is_refused(failed):
    folder, _ = failed
    said = run(folder, "test_cubes.py::test_unmarked", "--gradcheck-replay=.gradcheck/test_cubes.test_sine.npz")
    assert "the example in .gradcheck/test_cubes.test_sine.npz is of test_cubes.py::test_sine" in said


def test_arguments_come_back_as_they_were(tmp_path):
    room = np.arange(24.0).reshape(4, 6)
    read_only = np.ones(3)
    read_only.flags.writeable = False
    arguments = {
        "strided": room[::-2, ::3].T,
        "broadcast": np.broadcast_to(np.float32(2), (2, 3)),
        "read_only": read_only,
        "nothing": np.zeros((0, 3)),
        "number": np.array(2.0),
        "mask": np.array([True, False]),
        "mixed": (1, 2.5, "a", None, [np.int64(3), {"axis": -1}]),
        "index": (slice(None, -1, np.int64(2)), ..., None, np.array([0, 1])),
        "dtype": np.float32,
        "drawn": Drawn([np.ones(2), 7]),
    }
    store(tmp_path / "a.npz", "test", arguments)
    test, found = load(tmp_path / "a.npz")
    assert test == "test"
    for name in ("strided", "broadcast", "read_only", "nothing", "number", "mask"):
        before, after = arguments[name], found[name]
        assert np.array_equal(before, after)
        assert before.dtype == after.dtype
        assert before.strides == after.strides or not before.size
        assert before.flags.writeable == after.flags.writeable
    assert found["mixed"] == (1, 2.5, "a", None, [3, {"axis": -1}])
    assert found["index"][:3] == (slice(None, -1, 2), ..., None)
    assert found["index"][3].tolist() == [0, 1]
    assert found["dtype"] is np.float32
    assert np.array_equal(found["drawn"].draw(None), np.ones(2))
    assert found["drawn"].draw(None) == 7


def test_what_cannot_be_stored_or_read(tmp_path):
    with pytest.raises(TypeError, match="a function cannot be stored"):
        store(tmp_path / "a.npz", "test", {"f": lambda x: x})
    assert not (tmp_path / "a.npz").exists()
    with pytest.raises(DataError, match="there is no file"):
        load(tmp_path / "a.npz")
    for content in (b"", b"PK nothing", b"{}"):
        (tmp_path / "b.npz").write_bytes(content)
        with pytest.raises(DataError, match="is no example that a failing gradcheck has stored"):
            load(tmp_path / "b.npz")
    np.savez(tmp_path / "c.npz", a=np.ones(3))
    with pytest.raises(DataError, match="is no example"):
        load(tmp_path / "c.npz")


@given(strategies.shapes().flatmap(strategies.index_expressions))
def test_every_index_can_be_stored(tmp_path_factory, index):
    path = tmp_path_factory.mktemp("indices") / "a.npz"
    store(path, "test", {"index": index})
    load(path)
