"""JSON files: written whole or not at all, and refused where they are damaged."""

import errno
import os
from pathlib import Path

import pytest

from minattn.errors import CheckpointError
from minattn.tasks.files import read_json, write_json


def test_json_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "new" / "config.json"
    write_json(path, {"a": 1})
    monkeypatch.setattr(os, "replace", _full_disk)
    with pytest.raises(CheckpointError, match="cannot be written: No space left on device"):
        write_json(path, {"a": 2})
    assert read_json(path) == {"a": 1}
    assert [file.name for file in path.parent.iterdir()] == ["config.json"]


def test_json_that_cannot_be_written_names_the_file(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match=r"file.config\.json cannot be written"):
        write_json(tmp_path / "file" / "config.json", {})


@pytest.mark.parametrize(
    ("number", "hint"),
    [
        (errno.ENOSPC, "free space"),
        (errno.EROFS, "a folder that can be written to"),
        (errno.EACCES, "a folder that can be written to"),
        (errno.ENAMETOOLONG, "a shorter name"),
        (errno.ENOENT, "another folder"),
    ],
)
def test_the_cure_of_what_cannot_be_written_is_that_of_the_error(tmp_path, monkeypatch, number, hint):
    def fail(*_, **__):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "mkdir", fail)
    with pytest.raises(CheckpointError, match=f"cannot be written: {os.strerror(number)}; hint: {hint}$"):
        write_json(tmp_path / "config.json", {})


@pytest.mark.parametrize("content", ['{"a": 1', "", "[1, 2]", "null", "\xff\x00"])
def test_damaged_json_is_refused(tmp_path, content):
    (tmp_path / "config.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(CheckpointError, match=r"config\.json is damaged"):
        read_json(tmp_path / "config.json")


def _full_disk(*_):
    raise OSError(28, "No space left on device")
