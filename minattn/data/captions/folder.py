"""Images in a folder, with a text file of their captions.

A line of the file has the name of an image, a tab and a caption; an image with several captions has several lines:

    street.jpg<TAB>a man crosses the street
    street.jpg<TAB>somebody walks to the other side

So has the file of Flickr8k (M. Hodosh, P. Young and J. Hockenmaier, "Framing image description as a ranking task",
JAIR 2013), Flickr8k.token.txt, with "#0" and so on behind the names.  Where its lists of images lie beside it,
Flickr_8k.trainImages.txt and so on, they divide the images as published.  Other images are divided by the SHA-256 of
their names: the smallest are to test on, the next for dev, the others to train on.

Captions are put into lower case; words are what spaces divide.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from minattn.data.captions.dataset import CaptionedImages, CaptionSplits
from minattn.data.images.folder import Color, read_image
from minattn.data.splits import digest_of
from minattn.data.text.parallel import read_lines, shown
from minattn.data.text.tokenization import plain
from minattn.errors import DataError

NAMES = ("captions.tsv", "captions.txt", "Flickr8k.token.txt")
"""What the file of captions is called, where a folder is given."""

LISTS = {"train": "Flickr_8k.trainImages.txt", "dev": "Flickr_8k.devImages.txt", "test": "Flickr_8k.testImages.txt"}

FOLDERS = ("", "images", "Images", "Flicker8k_Dataset", "Flickr8k_Dataset")
"""Where the images are, from the folder of the file on; the first spelling of the data set is its own."""

TEST_SHARE, DEV_SHARE = 0.1, 0.05

FORM = "IMAGE<TAB>CAPTION"

NUMBER = re.compile(r"#\d+\s*$")  # of a caption of an image


def load_captioned(path: str | Path, size: int, color: Color = "keep") -> CaptionSplits:
    """The images of a folder, or of the file of captions beside them, divided into three parts; each scaled to a square
    of side `size`.

    Raises what `read_captioned` raises, and DataError where there are fewer than three images.
    """
    file = captions_file(path)
    captions = read_captions(file)
    parts = _published(file, captions) or _divided(captions)
    return CaptionSplits(*(_images(file, {name: captions[name] for name in part}, size, color) for part in parts))


def read_captioned(path: str | Path, size: int, color: Color = "keep") -> CaptionedImages:
    """All images of a folder, or of the file of captions beside them.

    Raises DataError, naming the file, where there is no file of captions, a line has no tab or no caption, an image is
    missing or cannot be read, or images are of different shapes.
    """
    file = captions_file(path)
    return _images(file, read_captions(file), size, color)


def captions_file(path: str | Path) -> Path:
    """The file of captions of a folder, or the path itself where that is a file."""
    path = Path(path)
    if path.is_file():
        return path
    if not path.is_dir():
        raise DataError(f"there is no folder or file {path}; hint: check the path")
    found = [path / name for name in NAMES if (path / name).is_file()]
    if not found:
        raise DataError(f"{path} has no {', '.join(NAMES[:-1])} or {NAMES[-1]}; expected lines {FORM}; hint: write one")
    return found[0]


def read_captions(file: Path) -> dict[str, list[str]]:
    """The captions of every image by its name, in the order of the file."""
    captions: dict[str, list[str]] = {}
    for number, line in enumerate(read_lines(file), 1):
        if not line.strip():
            continue
        name, tab, caption = line.partition("\t")
        name, caption = NUMBER.sub("", name).strip(), plain(caption).lower()
        if not tab or not name:
            raise DataError(f"{file}, line {number:,}, reads {shown(line)}; expected {FORM}; hint: a tab between both")
        if not caption:
            raise DataError(
                f"{file}, line {number:,}: the caption of {name} is empty; expected {FORM}; hint: leave the line out"
            )
        captions.setdefault(name, []).append(caption)
    if not captions:
        raise DataError(f"{file} has no captions; expected lines {FORM}; hint: one at least")
    return captions


def _published(file: Path, captions: dict[str, list[str]]) -> list[list[str]] | None:
    """The names of the images of each part by the lists beside the file; None where these are not there."""
    lists = [file.parent / name for name in LISTS.values()]
    if not any(path.is_file() for path in lists):
        return None
    if missing := [path.name for path in lists if not path.is_file()]:
        raise DataError(f"{file.parent} lacks {missing[0]}; hint: all three lists of images, or none")
    parts: list[list[str]] = []
    for path in lists:
        names = list(dict.fromkeys(line.strip() for line in read_lines(path) if line.strip()))
        if not names:
            raise DataError(f"{path} names no image; hint: the published files")
        if unknown := [name for name in names if name not in captions]:
            raise DataError(
                f"{path} names {unknown[0]}, which has no caption in {file.name}; hint: the published files"
            )
        if twice := {name for part in parts for name in part}.intersection(names):
            raise DataError(f"{path} names {min(twice)}, which another list names too; hint: each image once")
        parts.append(names)
    return parts


def _divided(captions: Iterable[str]) -> list[list[str]]:
    names = sorted(captions, key=digest_of)
    if len(names) < 3:
        raise DataError(
            f"there are captions of {len(names)} images, expected 3 at least, one for each part; hint: more"
        )
    test, dev = (max(1, round(share * len(names))) for share in (TEST_SHARE, DEV_SHARE))
    return [sorted(part) for part in (names[test + dev :], names[test : test + dev], names[:test])]


def _images(file: Path, captions: dict[str, Sequence[str]], size: int, color: Color) -> CaptionedImages:
    pixels: list[np.ndarray] = []
    for name in captions:
        image = read_image(_image(file, name), (size, size), color)
        if pixels and image.shape != pixels[0].shape:
            raise DataError(
                f"{name} has {len(image)} channels, the first image {len(pixels[0])}; hint: color=gray or color=rgb"
            )
        pixels.append(image)
    return CaptionedImages(np.stack(pixels), list(captions.values()))


def _image(file: Path, name: str) -> Path:
    for folder in FOLDERS:
        path = file.parent / folder / name
        if path.is_file():
            return path
    raise DataError(f"there is no image {file.parent / name}, which {file.name} has a caption of; hint: check the name")
