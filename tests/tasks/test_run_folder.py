"""The folder of a run: begun whole, or not at all."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from minattn import __version__
from minattn.errors import CheckpointError, MissingDependencyError
from minattn.tasks.files import read_json, write_json
from minattn.tasks.run_folder import (
    CONFIG,
    FORMAT,
    check_libraries,
    check_unused,
    has_started,
    locked,
    new_run,
    read_run,
)
from minattn.training import LAST, LOG


def test_a_new_run_has_its_settings_when_it_begins(tmp_path):
    folder = tmp_path / "a" / "b"
    content = {"format": FORMAT, "minattn": __version__, "task": "g2p"}
    with new_run(folder, {"task": "g2p"}):
        assert read_json(folder / CONFIG) == content
    assert read_run(folder, "g2p") == read_run(folder) == content


def fail(folder, name, error):
    """Begin a run that writes one file and then fails."""
    with new_run(folder, {}):
        (folder / name).touch()
        raise error


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
@pytest.mark.parametrize("existing", ["", "a", "a/b"])
def test_a_run_that_fails_before_its_first_checkpoint_leaves_nothing(tmp_path, error, existing):
    (tmp_path / existing).mkdir(parents=True, exist_ok=True)
    before = set(tmp_path.rglob("*"))
    folder = tmp_path / "a" / "b"
    with pytest.raises(error):
        fail(folder, LOG, error)
    assert set(tmp_path.rglob("*")) == before


def test_a_run_that_fails_after_its_first_checkpoint_stays(tmp_path):
    with pytest.raises(MemoryError):
        fail(tmp_path / "run", LAST, MemoryError)
    assert {path.name for path in (tmp_path / "run").iterdir()} == {CONFIG, LAST}


def test_a_run_that_cannot_begin_leaves_nothing(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError), new_run(tmp_path / "file" / "run", {}):
        pytest.fail("there is no folder to begin in")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_of_folders_that_were_made_none_stays_where_the_last_cannot_be(tmp_path, monkeypatch):
    mkdir = Path.mkdir

    def fail(path, *arguments, **options):
        if path.name == "last" and path.parent.exists():
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        mkdir(path, *arguments, **options)

    monkeypatch.setattr(Path, "mkdir", fail)
    says = "cannot be made: Read-only file system; hint: a folder that can be written to"
    with pytest.raises(CheckpointError, match=says), new_run(tmp_path / "first" / "last", {}):
        pytest.fail("there is no folder to begin in")
    assert not list(tmp_path.iterdir())


def test_a_name_that_is_too_long_is_told_before_the_work(tmp_path):
    with pytest.raises(CheckpointError, match="cannot be made: File name too long; hint: a shorter name"):
        check_unused(tmp_path / ("a" * 300))


def test_a_new_folder_and_an_empty_one_are_unused(tmp_path):
    check_unused(tmp_path)
    check_unused(tmp_path / "new" / "one")


def test_a_link_to_nowhere_is_told_before_the_work(tmp_path):
    (tmp_path / "link").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to("loop")
    for path in (tmp_path / "link", tmp_path / "link" / "below", tmp_path / "loop"):
        with pytest.raises(CheckpointError, match=r"(link|loop) is a link to a folder that is not there; hint: "):
            check_unused(path)


@pytest.mark.skipif(sys.platform == "win32", reason="there are no locks of folders")
def test_a_folder_that_another_process_has_made_in_the_meantime_stays(tmp_path, monkeypatch):
    import fcntl

    folder, mkdir, others = tmp_path / "first" / "run", os.mkdir, []

    def too_late(path, *mode):
        mkdir(path, *mode)
        if Path(path) == folder:
            others.append(os.open(folder, os.O_RDONLY))
            fcntl.flock(others[0], fcntl.LOCK_EX)
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))

    monkeypatch.setattr(os, "mkdir", too_late)
    with pytest.raises(CheckpointError, match="another process is training in"), new_run(folder, {}):
        pytest.fail("it is another's")
    os.close(others[0])
    assert folder.is_dir()


def test_a_folder_that_holds_a_run_is_used(tmp_path):
    write_json(tmp_path / CONFIG, {})
    with pytest.raises(CheckpointError, match=r"holds a run already; hint: .*--resume .*--out"):
        check_unused(tmp_path)


def test_a_folder_that_holds_anything_is_used(tmp_path):
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(CheckpointError, match=r"is not empty; hint: .*--out"):
        check_unused(tmp_path)


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(CheckpointError, match=r"file is a file, not a folder; hint: another folder by --out"):
            check_unused(path)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="nothing is forbidden to this user")
def test_a_folder_that_cannot_be_written_to_is_told_before_the_work(tmp_path):
    tmp_path.chmod(0o500)
    for path in (tmp_path, tmp_path / "below"):
        with pytest.raises(CheckpointError, match="cannot be written to; hint: another folder by --out"):
            check_unused(path)


def test_a_folder_that_cannot_be_looked_into_is_no_missing_run(tmp_path, monkeypatch):
    def forbidden(path):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(Path, "is_symlink", forbidden)
    with pytest.raises(CheckpointError, match=r"Permission denied; hint: .* made, and that may be read"):
        read_run(tmp_path)


def test_what_is_no_run_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match="nowhere does not exist; hint: a folder that `minattn train g2p` ma"):
        read_run(tmp_path / "nowhere", "g2p")
    with pytest.raises(CheckpointError, match="hint: a folder that `minattn train TASK` made"):
        read_run(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match="file is a file, not a run's folder"):
        read_run(tmp_path / "file", "g2p")
    with pytest.raises(CheckpointError, match=r"is not a run's folder: it has no config\.json"):
        read_run(tmp_path, "g2p")


@pytest.mark.parametrize(("content", "says"), [({"task": "other"}, "of other, not of g2p"), ({}, "unknown task")])
def test_a_run_of_another_task_is_refused(tmp_path, content, says):
    write_json(tmp_path / CONFIG, {"format": FORMAT, **content})
    with pytest.raises(CheckpointError, match=says):
        read_run(tmp_path, "g2p")


@pytest.mark.parametrize(
    ("versions", "maker"),
    [({}, "0.1.0, before runs recorded"), ({"format": FORMAT + 1, "minattn": "7.0"}, f"7.0, in format {FORMAT + 1}")],
)
def test_a_run_of_another_version_is_refused_naming_it(tmp_path, versions, maker):
    write_json(tmp_path / CONFIG, {**versions, "recipe": "g2p", "config": {}})
    says = f"was made by minattn {maker}.*; this is minattn {__version__}, which reads format {FORMAT}; hint: the"
    with pytest.raises(CheckpointError, match=says):
        read_run(tmp_path)


def test_a_run_has_started_when_it_has_a_checkpoint_or_a_line_of_log(tmp_path):
    write_json(tmp_path / CONFIG, {})
    (tmp_path / LOG).touch()
    assert not has_started(tmp_path)
    (tmp_path / LOG).write_text("{}\n")
    assert has_started(tmp_path)
    (tmp_path / LOG).unlink()
    (tmp_path / LAST).touch()
    assert has_started(tmp_path)


@pytest.mark.parametrize("library", ["safetensors", "msgspec", "matplotlib"])
def test_a_missing_library_is_named_with_its_cure(monkeypatch, library):
    check_libraries()
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingDependencyError, match=rf"{library}, which is not installed: pip install 'minattn\[trai"):
        check_libraries()


# ---------------------------------------------------------------------------------------------- other processes
def test_what_a_killed_process_left_unfinished_does_not_count_and_is_removed(tmp_path):
    left = [tmp_path / ".config.json.123.tmp", tmp_path / ".curves.png.7.tmp"]
    for path in left:
        path.touch()
    check_unused(tmp_path)
    with new_run(tmp_path, {}):
        assert [path.name for path in tmp_path.iterdir()] == [CONFIG]


KILLED = """
import os, signal, sys
from pathlib import Path
from minattn.tasks.files import write_text
moment = getattr(os, sys.argv[2])
def kill(*arguments):
    if sys.argv[3] == "after":
        moment(*arguments)
    os.kill(os.getpid(), signal.SIGKILL)
setattr(os, sys.argv[2], kill)
write_text(Path(sys.argv[1]), "new")
"""


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL")
@pytest.mark.parametrize(
    ("call", "when", "content"), [("fsync", "before", "old"), ("replace", "before", "old"), ("replace", "after", "new")]
)
def test_a_file_of_a_process_that_is_killed_while_it_writes_is_the_old_or_the_new_one(tmp_path, call, when, content):
    path = tmp_path / "report.json"
    path.write_text("old")
    killed = subprocess.run([sys.executable, "-c", KILLED, path, call, when], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert path.read_text() == content
    with locked(tmp_path):
        assert list(tmp_path.iterdir()) == [path]


HOLDER = """
import sys, time
from pathlib import Path
from minattn.tasks.run_folder import locked
with locked(Path(sys.argv[1])):
    print("locked", flush=True)
    time.sleep(60)
"""


@pytest.mark.skipif(os.name == "nt", reason="folders are not locked")
def test_a_folder_is_locked_for_one_process_as_long_as_it_lives(tmp_path):
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, tmp_path], stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "locked\n"
    says = "another process is training in .*; hint: wait until it is done, or another folder"
    with pytest.raises(CheckpointError, match=says), locked(tmp_path):
        pytest.fail("two processes in one folder")
    with pytest.raises(CheckpointError, match=says), new_run(tmp_path, {}):
        pytest.fail("two processes in one folder")
    assert list(tmp_path.iterdir()) == []
    holder.kill()
    holder.communicate()
    with locked(tmp_path):
        assert list(tmp_path.iterdir()) == []


def test_a_lock_ends_with_its_block(tmp_path):
    for _ in range(3):
        with locked(tmp_path):
            pass
