"""8x8 images of handwritten digits, from the file that scikit-learn ships.

    Alpaydin, E. & Kaynak, C. (1998). Optical Recognition of Handwritten Digits. UCI Machine Learning Repository.

scikit-learn's file is a copy of the test set: 1,797 digits of 13 writers, one writer after the other.  It is read where
it lies, and scikit-learn is never imported.  Its pixels, 0 to 16, become 0 to 255.
"""

from __future__ import annotations

import gzip
import zlib
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from minattn.data.images.dataset import Images, ImageSplits
from minattn.errors import DataError, MissingDependencyError

DATA_FILE = "datasets/data/digits.csv.gz"
COUNT, SIDE, BRIGHTEST = 1797, 8, 16
CLASSES = tuple("0123456789")
TRAIN, DEV = 1257, 180  # and 360 to test on


def load_digits() -> ImageSplits:
    """The digits, in the order of the file, 1,257 to train on, 180 for dev and 360 to test on.

    So dev and test are digits of other people, but for two whose digits are divided between two parts.  Errors as in
    `read_digits`.
    """
    digits = read_digits()
    train, dev, test = slice(TRAIN), slice(TRAIN, TRAIN + DEV), slice(TRAIN + DEV, None)
    return ImageSplits(digits.at(train), digits.at(dev), digits.at(test), CLASSES)


def read_digits() -> Images:
    """All digits, pixels (1797, 1, 8, 8).

    Raises MissingDependencyError where scikit-learn or its file is not installed, DataError where it is damaged.
    """
    path = _data_file()
    try:
        with gzip.open(path, "rt", encoding="ascii") as lines:
            table = np.loadtxt(lines, delimiter=",", dtype=np.int64, ndmin=2)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise DataError(f"{path} cannot be read: {error}; hint: pip install --force-reinstall scikit-learn") from error
    if table.shape != (COUNT, SIDE * SIDE + 1) or table.min() < 0 or table.max() > BRIGHTEST:
        raise DataError(
            f"{path} is not the file of the digits: it has a table of shape {table.shape}, expected "
            f"{(COUNT, SIDE * SIDE + 1)} with numbers from 0 to {BRIGHTEST}; "
            "hint: pip install --force-reinstall scikit-learn"
        )
    pixels = np.round(table[:, :-1] * (255 / BRIGHTEST)).astype(np.uint8)
    return Images(pixels.reshape(COUNT, 1, SIDE, SIDE), table[:, -1])


def _data_file() -> Path:
    found = find_spec("sklearn")
    if found is None or not found.submodule_search_locations:
        raise MissingDependencyError(
            "the images of digits come with scikit-learn, which is not installed: pip install 'minattn[images]' "
            "(or give other images by --data)"
        )
    path = Path(found.submodule_search_locations[0], DATA_FILE)
    if not path.is_file():
        raise MissingDependencyError(
            f"scikit-learn is installed, but its file {path} is missing: pip install --force-reinstall scikit-learn"
        )
    return path
