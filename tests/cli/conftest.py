"""The command line in this process, and what it leaves behind."""

import shutil
from dataclasses import dataclass

import pytest
from small_g2p import train_arguments, write_words
from small_toy import Toy

from minattn.cli import run
from minattn.tasks.registry import TASKS


@dataclass(frozen=True)
class Result:
    status: int
    out: str
    err: str


@pytest.fixture
def minattn(capsys):
    """`minattn("list")` runs the command line."""

    def call(*arguments) -> Result:
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            run([str(argument) for argument in arguments])
        return Result(caught.value.code or 0, *capsys.readouterr())

    return call


@pytest.fixture
def refused(minattn):
    """`refused("train", ..., says=[...])`: the command line refuses with one line and leaves all files as they were."""

    def call(*arguments, says, folder):
        before = contents(folder)
        result = minattn(*arguments)
        assert result.status not in (0, 130)
        assert result.err.startswith("error: ")
        assert result.err.count("\n") == 1
        assert "Traceback" not in result.out
        for part in says:
            assert part in result.err
        assert contents(folder) == before
        return result

    return call


def contents(folder):
    """Every path below `folder` with the bytes that stand there."""
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


@pytest.fixture
def toy(monkeypatch):
    """The toy task in the registry: nothing else is told of it."""
    monkeypatch.setitem(TASKS, "toy", Toy())


@pytest.fixture
def words(tmp_path, monkeypatch):
    """Small lexicons in the folder that the test works in: their paths by name."""
    monkeypatch.chdir(tmp_path)
    return write_words(tmp_path)


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """`finished(write, arguments)`: the folder of a finished run, not to be written to.

    write(folder): what makes the data, beside the run; arguments(run): the command line that trains it.
    """

    def train(write, arguments):
        folder = tmp_path_factory.mktemp("finished") / "run"
        write(folder.parent)
        with pytest.MonkeyPatch.context() as work:
            work.chdir(folder.parent)
            with pytest.raises(SystemExit) as caught:
                run(arguments(folder))
        assert not caught.value.code
        return folder

    return train


@pytest.fixture(scope="session")
def finished_run(finished):
    """A finished run of g2p; not to be written to."""
    return finished(write_words, train_arguments)


@pytest.fixture
def a_run(finished_run, tmp_path, monkeypatch):
    """A copy of the finished run, to be damaged, with words beside it in the folder that the test works in."""
    shutil.copytree(finished_run.parent, tmp_path / "work")
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work" / "run"
