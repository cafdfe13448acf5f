"""Fashion-MNIST: 28x28 gray images of 70,000 articles of clothing in ten classes, read from its original files.

    Xiao, H., Rasul, K. & Vollgraf, R. (2017). Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning
    Algorithms. arXiv:1708.07747.

The files are in the IDX format of MNIST: two zero bytes, the type of the numbers (8: bytes), how many axes there are,
the length of each as four bytes with the highest first, and then the numbers.
"""

from __future__ import annotations

import gzip
import hashlib
import math
import os
import zlib
from pathlib import Path

import numpy as np

from minattn.data.images.dataset import Images, ImageSplits, hold_out_images
from minattn.errors import DataError

VARIABLE = "MINATTN_FASHION_MNIST"
DEBIAN = Path("/usr/share/datasets/fashion-mnist")
SOURCE = "https://github.com/zalandoresearch/fashion-mnist"

CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)

MD5 = {
    "train-images-idx3-ubyte": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
    "train-labels-idx1-ubyte": "9018921c3c673c538a1fc5bad174d6f9",
    "t10k-images-idx3-ubyte": "8181f5470baa50b63fa0f6fddb340f0a",
    "t10k-labels-idx1-ubyte": "15d484375f8d13e6eb1aabb0c3f46965",
}
"""Of what is inside the published archives.

The sums that the authors publish are those of the archives themselves, which have another one once they are packed
anew, as Debian does.  These were computed of Debian's files; with the name and the time of the authors' files put back
into their headers, all four archives have the published sums.
"""

DEV_SHARE = 1 / 12


def load_fashion_mnist(folder: str | Path | None = None) -> ImageSplits:
    """55,000 images to train on, 5,000 for dev, as many of each class, and the 10,000 of the published test set.

    folder: where the four files lie, packed or not; None: where the environment variable MINATTN_FASHION_MNIST says,
    or else where Debian's package dataset-fashion-mnist puts them.
    Raises DataError where they are missing, damaged or not those of Fashion-MNIST.
    """
    folder = Path(folder or os.environ.get(VARIABLE) or DEBIAN)
    train_images, train_labels, test_images, test_labels = (_checked(_file(folder, name), name) for name in MD5)
    train, dev = hold_out_images(_images(train_images, train_labels), DEV_SHARE)
    return ImageSplits(train, dev, _images(test_images, test_labels), CLASSES)


def has_idx_files(folder: Path) -> bool:
    """True for a folder of IDX files, packed or not."""
    name = next(iter(MD5))
    return (folder / name).is_file() or (folder / f"{name}.gz").is_file()


def read_idx(path: Path) -> np.ndarray:
    """The numbers of an IDX file of bytes, packed by gzip or not; their shape is in the file.

    Raises DataError where it cannot be read, is cut off, is no IDX file or has numbers of another type than bytes.
    """
    return _parsed(_content(path), path)


def _file(folder: Path, name: str) -> Path:
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    raise DataError(
        f"Fashion-MNIST's {name}.gz is not in {folder}; hint: apt install dataset-fashion-mnist, or the four files "
        f"of {SOURCE} and their folder as --data FOLDER or in {VARIABLE}"
    )


def _checked(path: Path, name: str) -> np.ndarray:
    """The numbers of one of the four files; the file must be the published one."""
    content = _content(path)
    numbers = _parsed(content, path)
    if hashlib.md5(content, usedforsecurity=False).hexdigest() != MD5[name]:
        raise DataError(
            f"{path} is not the {name} of Fashion-MNIST: its MD5 sum is another one; hint: fetch it anew from {SOURCE}"
        )
    return numbers


def _content(path: Path) -> bytes:
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path} is damaged or cut off: {error}; hint: fetch it anew") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}; hint: a file that can be read") from error


def _parsed(content: bytes, path: Path) -> np.ndarray:
    if len(content) < 4 or content[:2] != b"\0\0":
        raise DataError(
            f"{path} is no IDX file: it begins with {content[:4]!r}, expected two zero bytes; hint: fetch it anew"
        )
    kind, axes = content[2], content[3]
    if kind != 8:
        raise DataError(f"{path} has numbers of the IDX type {kind:#04x}, expected 0x08, bytes; hint: a file of bytes")
    first = 4 + 4 * axes
    if len(content) < first:
        raise DataError(f"{path} is cut off within its header; hint: fetch it anew")
    shape = tuple(np.frombuffer(content[4:first], ">u4").tolist())
    if len(content) - first != math.prod(shape):
        raise DataError(
            f"{path} is cut off or damaged: its header says {shape}, {math.prod(shape):,} numbers, and it has "
            f"{len(content) - first:,}; hint: fetch it anew"
        )
    try:
        return np.frombuffer(content, np.uint8, offset=first).reshape(shape)
    except ValueError as error:  # more axes than NumPy takes, or no numbers on axes too long for it
        raise DataError(f"{path} is damaged: its header says {shape}; hint: fetch it anew") from error


def _images(pixels: np.ndarray, labels: np.ndarray) -> Images:
    return Images(pixels[:, None], labels.astype(np.int64))
