"""Settings from `key=value` and from JSON."""

import dataclasses
import errno
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from minattn.errors import CheckpointError, ConfigError
from minattn.tasks.config import from_stored, read_json, with_settings, write_json
from minattn.tasks.g2p.settings import RNNsearchG2P


@dataclass(frozen=True)
class Sample:
    size: int = 3
    rate: float = 0.5
    kind: Literal["plain", "fancy"] = "plain"
    fast: bool = False
    name: str | None = None


WHERE = Path("run/config.json")


def test_settings_are_read_by_the_type_of_their_field():
    assert with_settings(Sample(), ["size=7", "rate=1e-3", "kind=fancy", "fast=true"]) == Sample(7, 1e-3, "fancy", True)
    assert type(with_settings(Sample(), ["rate=2"]).rate) is float


def test_a_later_setting_wins():
    assert with_settings(Sample(), ["size=1", "size=2"]) == Sample(size=2)


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("size", "a setting has the form key=value, got 'size'"),
        ("=3", "there is no setting ''; the settings are size, rate, kind, fast, name"),
        ("sise=3", "there is no setting 'sise'; the settings are size, rate, kind, fast, name"),
        ("size=3.5", "size must be a whole number, got '3.5'"),
        ("size=", "size must be a whole number, got ''"),
        ("rate=quick", "rate must be a number, got 'quick'"),
        ("kind=odd", "kind must be one of plain, fancy, got 'odd'"),
        ("fast=1", "fast must be true or false, got '1'"),
    ],
)
def test_a_setting_that_does_not_fit_is_refused(setting, says):
    with pytest.raises(ConfigError) as caught:
        with_settings(Sample(), [setting])
    assert str(caught.value) == says


@pytest.mark.parametrize("sample", [Sample(), Sample(1, 2.0, "fancy", True, "x")])
def test_settings_survive_json(sample):
    stored = json.loads(json.dumps(dataclasses.asdict(sample)))
    assert from_stored(Sample, stored, WHERE) == sample


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"size": None}, "size is null and must be a whole number"),
        ({"size": True}, "size is true and must be a whole number"),
        ({"size": 2.0}, "size is 2.0 and must be a whole number"),
        ({"rate": "1"}, 'rate is "1" and must be a number'),
        ({"kind": "odd"}, 'kind is "odd" and must be one of plain, fancy'),
        ({"kind": ["plain"]}, 'kind is ["plain"] and must be one of plain, fancy'),
        ({"name": 3}, "name is 3 and must be text or none"),
        ({"width": 3}, "it has 'width', which is none of them"),
    ],
)
def test_stored_settings_that_do_not_fit_are_refused(change, says):
    with pytest.raises(CheckpointError) as caught:
        from_stored(Sample, {**dataclasses.asdict(Sample()), **change}, WHERE)
    assert says in str(caught.value)
    assert str(caught.value).startswith(f"{WHERE} does not hold the settings of this version's Sample: ")


@pytest.mark.parametrize("stored", [{}, None, [1], "text"])
def test_missing_settings_are_all_named(stored):
    with pytest.raises(CheckpointError, match="it lacks 'size'; it lacks 'rate'; it lacks 'kind'; it lacks 'fast'"):
        from_stored(Sample, stored, WHERE)


def test_stored_settings_out_of_range_name_their_file():
    stored = {**dataclasses.asdict(RNNsearchG2P()), "epochs": 0}
    with pytest.raises(CheckpointError, match=r"run.config\.json .*: epochs must be at least 1, got 0"):
        from_stored(RNNsearchG2P, stored, WHERE)


@pytest.mark.parametrize(
    "setting",
    [
        *("batch_size=0", "epochs=-1", "warmup=0", "beam=0", "hidden=0", "embedding=-3", "alignment=0", "maxout=0"),
        *("lr=0", "lr=-1", "lr=nan", "lr=inf", "max_norm=0", "max_norm=inf", "dropout=1", "dropout=-0.1", "seed=-1"),
    ],
)
def test_g2p_refuses_settings_out_of_range_by_their_names(setting):
    with pytest.raises(ConfigError, match=f"^{setting.partition('=')[0]} must be "):
        with_settings(RNNsearchG2P(), [setting])


# ---------------------------------------------------------------------------------------------- files
def test_json_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "new" / "config.json"
    write_json(path, {"a": 1})
    monkeypatch.setattr(Path, "replace", _full_disk)
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
