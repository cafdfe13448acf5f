"""CIFAR-10's binary files."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minattn.data.images.cifar import CLASSES, RECORD, TEST, TRAIN, has_cifar10_files, load_cifar10, read_records
from minattn.errors import DataError


def records(labels, seed=0):
    """The bytes of a file, and the pixels that are in it."""
    pixels = np.random.default_rng(seed).integers(256, size=(len(labels), 3, 32, 32), dtype=np.uint8)
    content = b"".join(bytes([label]) + image.tobytes() for label, image in zip(labels, pixels, strict=True))
    return content, pixels


@pytest.fixture
def folder(tmp_path):
    """Six files: of 40 images each to train on, each class four times, and of 7 to test on."""
    for seed, name in enumerate(TRAIN):
        (tmp_path / name).write_bytes(records(list(range(10)) * 4, seed)[0])
    (tmp_path / TEST).write_bytes(records(range(3, 10), 9)[0])
    return tmp_path


@given(st.lists(st.integers(0, 9), min_size=1, max_size=4), st.integers(0, 2**16))
def test_what_was_written_is_read(tmp_path_factory, labels, seed):
    path = tmp_path_factory.getbasetemp() / "records.bin"
    content, pixels = records(labels, seed)
    path.write_bytes(content)
    images = read_records(path)
    assert images.labels.tolist() == labels
    np.testing.assert_array_equal(images.pixels, pixels)


def test_planes_are_red_green_and_blue_and_go_row_by_row(tmp_path):
    content = np.zeros(RECORD, np.uint8)
    content[0] = 6
    content[1 + 5] = 11  # the first row's sixth pixel
    content[1 + 1024 + 32] = 22  # the second row's first
    content[1 + 2 * 1024 + 1023] = 33  # the last
    (tmp_path / "one.bin").write_bytes(content.tobytes())
    images = read_records(tmp_path / "one.bin")
    assert CLASSES[images.labels[0]] == "frog"
    assert [images.pixels[0, c, i, j] for c, i, j in ((0, 0, 5), (1, 1, 0), (2, 31, 31))] == [11, 22, 33]
    assert images.pixels.sum(dtype=int) == 66


def test_its_parts(folder):
    splits = load_cifar10(folder)
    assert [len(part) for part in (splits.train, splits.dev, splits.test)] == [180, 20, 7]
    assert np.bincount(splits.dev.labels).tolist() == [2] * 10
    assert splits.classes == CLASSES
    assert splits.train.shape == (3, 32, 32)
    assert splits.test.labels.tolist() == list(range(3, 10))
    np.testing.assert_array_equal(splits.test.pixels, records(range(3, 10), 9)[1])
    every = {image.tobytes() for part in (splits.train, splits.dev) for image in part.pixels}
    assert every == {image.tobytes() for seed in range(5) for image in records(range(40), seed)[1]}


@pytest.mark.parametrize("name", [*TRAIN, TEST])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    assert has_cifar10_files(folder)
    with pytest.raises(DataError, match=rf"CIFAR-10's {name} is not in .*; hint: unpack the binary version"):
        load_cifar10(folder)


def test_the_python_version_is_told_from_the_binary_one(tmp_path):
    assert not has_cifar10_files(tmp_path)
    (tmp_path / "data_batch_1").write_bytes(b"a pickle")
    assert has_cifar10_files(tmp_path)
    with pytest.raises(DataError, match=r"data_batch_1.bin is not in .*; hint: .* \(not the Python one\)"):
        load_cifar10(tmp_path)


@pytest.mark.parametrize("bytes_left", [0, 1, RECORD - 1, RECORD + 1, 40 * RECORD - 1])
@pytest.mark.parametrize("name", [TRAIN[2], TEST])
def test_a_file_that_is_cut_off_is_named(folder, name, bytes_left):
    (folder / name).write_bytes((folder / TRAIN[2]).read_bytes()[:bytes_left])
    count, rest = divmod(bytes_left, RECORD)
    says = rf"{name} is cut off .* it has {bytes_left:,} bytes, {count} records and {rest:,} more; .*; hint: unpack"
    with pytest.raises(DataError, match=says):
        load_cifar10(folder)


def test_a_label_of_no_class_is_refused(folder):
    (folder / TRAIN[1]).write_bytes(records([1, 10])[0])
    with pytest.raises(DataError, match=r"data_batch_2.bin: the label 10 is the number of no class; expected 0 to 9"):
        load_cifar10(folder)


def test_what_cannot_be_read(tmp_path):
    with pytest.raises(DataError, match=r"none.bin cannot be read: No such file.*; hint"):
        read_records(tmp_path / "none.bin")
