"""Fashion-MNIST and the IDX files it comes in."""

import gzip
import hashlib
import re
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minattn.data.images import fashion_mnist
from minattn.data.images.fashion_mnist import CLASSES, DEBIAN, MD5, has_idx_files, load_fashion_mnist, read_idx
from minattn.errors import DataError

shapes = st.lists(st.integers(0, 5), min_size=1, max_size=4)


def idx(numbers):
    """The bytes of an IDX file."""
    return struct.pack(f">2xBB{numbers.ndim}I", 8, numbers.ndim, *numbers.shape) + numbers.tobytes()


def some_numbers(shape):
    return np.random.default_rng(0).integers(256, size=shape, dtype=np.uint8)


# ---------------------------------------------------------------------------------------------- IDX files
@given(shapes, st.booleans())
def test_what_was_written_is_read(tmp_path_factory, shape, packed):
    path, numbers = tmp_path_factory.getbasetemp() / "numbers", some_numbers(shape)
    path.write_bytes(gzip.compress(idx(numbers)) if packed else idx(numbers))
    read = read_idx(path)
    assert (read.shape, read.dtype) == (numbers.shape, np.uint8)
    assert (read == numbers).all()


@given(st.data(), st.booleans())
def test_a_file_that_is_cut_off_is_named(tmp_path_factory, data, packed):
    path, content = tmp_path_factory.getbasetemp() / "cut", idx(some_numbers((3, 4, 5)))
    content = gzip.compress(content) if packed else content
    path.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    with pytest.raises(DataError, match=re.escape(str(path))):
        read_idx(path)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (idx(some_numbers((2, 3))) + b"\0", "6 numbers, and it has 7; hint: fetch it anew"),
        (b"\0\0\x0d\x01" + bytes(8), "the IDX type 0x0d, expected 0x08, bytes; hint"),
        (b"\0\0\x09\x01" + bytes([0, 0, 0, 1, 255]), "the IDX type 0x09, expected 0x08"),  # -1 in a signed byte
        (b"\x89PNG" + bytes(30), "is no IDX file: it begins with b'.x89PNG', .*; hint"),
        (b"", "is no IDX file"),
        (struct.pack(">2xBB", 8, 100) + bytes([0, 0, 0, 1]) * 100 + b"x", "is damaged: its header says .*; hint"),
        (struct.pack(">2xBB3I", 8, 3, 0, *[2**32 - 1] * 2), "is damaged: its header says .*; hint"),
    ],
)
def test_other_files_are_refused(tmp_path, content, says):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(DataError, match=says):
        read_idx(tmp_path / "file")


def test_what_cannot_be_read(tmp_path):
    with pytest.raises(DataError, match=r"none cannot be read: No such file.*; hint"):
        read_idx(tmp_path / "none")


# ---------------------------------------------------------------------------------------------- the data set
@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A small data set in the form of Fashion-MNIST, which is taken for it."""
    contents = {}
    for name in MD5:
        count = 360 if name.startswith("train") else 20
        labels = np.arange(count, dtype=np.uint8) % 10
        contents[name] = idx(some_numbers((count, 28, 28)) if "images" in name else labels)
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(contents[name]))
    sums = {name: hashlib.md5(content).hexdigest() for name, content in contents.items()}
    monkeypatch.setattr(fashion_mnist, "MD5", sums)
    return tmp_path


def test_its_parts(folder):
    splits = load_fashion_mnist(folder)
    assert [len(part) for part in (splits.train, splits.dev, splits.test)] == [330, 30, 20]
    assert np.bincount(splits.dev.labels).tolist() == [3] * 10
    assert splits.train.shape == (1, 28, 28)
    assert splits.classes == CLASSES
    assert (splits.test.pixels[:, 0] == some_numbers((20, 28, 28))).all()


def test_it_is_found_by_the_variable_or_where_debian_puts_it(folder, monkeypatch):
    monkeypatch.setattr(fashion_mnist, "DEBIAN", folder)
    assert len(load_fashion_mnist().test) == 20
    monkeypatch.setenv("MINATTN_FASHION_MNIST", str(folder / "none"))
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte.gz is not in .*none; hint: apt install"):
        load_fashion_mnist()
    assert len(load_fashion_mnist(folder).test) == 20  # a folder that is named goes before the variable


def test_files_without_gzip_are_taken_too(folder):
    for name in MD5:
        packed = folder / f"{name}.gz"
        (folder / name).write_bytes(gzip.decompress(packed.read_bytes()))
        packed.unlink()
    assert has_idx_files(folder)
    assert len(load_fashion_mnist(folder).test) == 20


@pytest.mark.parametrize("name", MD5)
def test_another_file_of_that_name_is_refused(folder, name):
    path = folder / f"{name}.gz"
    content = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(content[:-1] + bytes([255 - content[-1]])))
    with pytest.raises(DataError, match=rf"{name}.gz is not the {name} of Fashion-MNIST: its MD5 sum is another"):
        load_fashion_mnist(folder)


@pytest.mark.parametrize("name", MD5)
def test_a_missing_file_is_named(folder, name):
    (folder / f"{name}.gz").unlink()
    with pytest.raises(DataError, match=rf"{name}.gz is not in .*; hint: .*dataset-fashion-mnist"):
        load_fashion_mnist(folder)


@pytest.mark.skipif(not has_idx_files(DEBIAN), reason="needs the package dataset-fashion-mnist")
def test_the_published_files():
    splits = load_fashion_mnist(DEBIAN)
    assert [len(part) for part in (splits.train, splits.dev, splits.test)] == [55000, 5000, 10000]
    assert np.bincount(splits.train.labels).tolist() == [5500] * 10
    assert np.bincount(splits.test.labels).tolist() == [1000] * 10
    assert splits.test.labels[:8].tolist() == [9, 2, 1, 1, 6, 1, 4, 6]
