"""CIFAR-10: 32x32 color images of ten classes, read from the files of its binary version.

    Krizhevsky, A. (2009). Learning Multiple Layers of Features from Tiny Images. University of Toronto.

A file is records without a header: one byte with the number of the class, and 3,072 bytes of pixels, the red ones row
by row, then the green ones and the blue ones.  There are five files of 10,000 images to train on, and one to test on.
A file with fewer records, a part of the data set, is read as well.

The Python version of the same images is not read: its files are pickles, which run what they hold when they are opened.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from minattn.data.images.dataset import Images, ImageSplits, check_labels, hold_out_images
from minattn.errors import DataError

SOURCE = "https://www.cs.toronto.edu/~kriz/cifar.html"

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
CHANNELS, SIDE = 3, 32
RECORD = 1 + CHANNELS * SIDE**2
TRAIN = tuple(f"data_batch_{number}.bin" for number in range(1, 6))
TEST = "test_batch.bin"

DEV_SHARE = 0.1


def load_cifar10(folder: str | Path) -> ImageSplits:
    """Nine tenths of the training images to train on, the others for dev, as many of each class, and those to test on.

    Of the published files these are 45,000, 5,000 and 10,000.
    Raises DataError where one of the six files is missing or cannot be used.
    """
    folder = Path(folder)
    for name in (*TRAIN, TEST):
        if not (folder / name).is_file():
            raise DataError(
                f"CIFAR-10's {name} is not in {folder}; expected {TRAIN[0]} to {TRAIN[-1]} and {TEST}; hint: unpack "
                f"the binary version (not the Python one) of {SOURCE}"
            )
    parts = [read_records(folder / name) for name in TRAIN]
    images = Images(*(np.concatenate(arrays) for arrays in zip(*((p.pixels, p.labels) for p in parts), strict=True)))
    train, dev = hold_out_images(images, DEV_SHARE)
    return ImageSplits(train, dev, read_records(folder / TEST), CLASSES)


def has_cifar10_files(folder: Path) -> bool:
    """True for a folder with one of CIFAR-10's files or more, of the binary or of the Python version."""
    return any((folder / form).is_file() for name in (*TRAIN, TEST) for form in (name, name.removesuffix(".bin")))


def read_records(path: Path) -> Images:
    """The images of one file.

    Raises DataError where it cannot be read, is empty or cut off within a record, or has a label above 9.
    """
    try:
        content = np.fromfile(path, np.uint8)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}; hint: a file that can be read") from error
    count, rest = divmod(len(content), RECORD)
    if rest or not count:
        raise DataError(
            f"{path} is cut off or no file of CIFAR-10: it has {len(content):,} bytes, {count:,} records and {rest:,} "
            f"more; expected records of {RECORD:,} bytes; hint: unpack the binary version of {SOURCE} anew"
        )
    records = content.reshape(count, RECORD)
    labels = records[:, 0].astype(np.int64)
    check_labels(labels, len(CLASSES), str(path))
    return Images(np.ascontiguousarray(records[:, 1:]).reshape(count, CHANNELS, SIDE, SIDE), labels)
