"""The digits that scikit-learn ships, read without it."""

import gzip
import subprocess
import sys
from importlib.machinery import ModuleSpec
from importlib.util import find_spec

import numpy as np
import pytest

from minattn.data.images import digits
from minattn.data.images.digits import load_digits, read_digits
from minattn.errors import DataError, MissingDependencyError

installed = pytest.mark.skipif(find_spec("sklearn") is None, reason="needs the extra images")


@installed
def test_all_digits_are_read():
    read = read_digits()
    assert (read.pixels.shape, read.pixels.dtype) == ((1797, 1, 8, 8), np.uint8)
    assert np.bincount(read.labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert read.labels[:12].tolist() == [*range(10), 0, 1]
    first_row = [0, 0, 5, 13, 9, 1, 0, 0]  # of the file
    assert read.pixels[0, 0, 0].tolist() == [round(pixel * 255 / 16) for pixel in first_row]
    assert (read.pixels.min(), read.pixels.max()) == (0, 255)


@installed
def test_they_are_divided_by_their_place_in_the_file():
    splits, read = load_digits(), read_digits()
    assert [len(part) for part in (splits.train, splits.dev, splits.test)] == [1257, 180, 360]
    assert splits.classes == tuple("0123456789")
    parts = [part.pixels for part in (splits.train, splits.dev, splits.test)]
    assert (np.concatenate(parts) == read.pixels).all()


@installed
def test_scikit_learn_is_not_imported():
    program = (
        "import sys; from minattn.data.images import digits; digits.read_digits(); sys.exit('sklearn' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_without_scikit_learn_the_cure_is_named(monkeypatch):
    monkeypatch.setattr(digits, "find_spec", lambda _: None)
    with pytest.raises(MissingDependencyError, match=r"not installed: pip install 'minattn\[images\]'"):
        read_digits()


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """A scikit-learn with a file of digits that a test writes: its path."""
    spec = ModuleSpec("sklearn", None, is_package=True)
    spec.submodule_search_locations.append(str(tmp_path))
    monkeypatch.setattr(digits, "find_spec", lambda _: spec)
    path = tmp_path / digits.DATA_FILE
    path.parent.mkdir(parents=True)
    return path


def test_a_file_that_is_missing(fake):
    with pytest.raises(MissingDependencyError, match=r"its file .*digits.csv.gz is missing.*--force-reinstall"):
        read_digits()


ROW = ",".join(["1"] * 65)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"no archive", "cannot be read"),
        (gzip.compress(ROW.encode() * 100, mtime=0)[:30], "cannot be read"),
        (gzip.compress(b"1,2\n3\n", mtime=0), "cannot be read"),
        (gzip.compress(b"one,two\n", mtime=0), "cannot be read"),
        (gzip.compress(ROW.encode(), mtime=0), r"a table of shape \(1, 65\), expected \(1797, 65\)"),
        (gzip.compress("\n".join([ROW] * 1796 + [ROW.replace("1", "17", 1)]).encode()), "numbers from 0 to 16"),
    ],
)
def test_a_file_that_is_damaged(fake, content, says):
    fake.write_bytes(content)
    with pytest.raises(DataError, match=f"digits.csv.gz .*{says}.*hint: pip install --force-reinstall"):
        read_digits()
