"""Images in folders: each subfolder is a class, and what lies in it are its images, in any form that Pillow reads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import UInt8

from minattn.data.images import Images, ImageSplits, described, hold_out_images
from minattn.errors import DataError, MissingDependencyError

Color = Literal["keep", "grey", "rgb"]
"""What becomes of an image's colours; "keep" takes grey and RGB images as they are, and no others."""

MODES = {"grey": "L", "rgb": "RGB"}  # as Pillow calls them
DEEP = ("I", "F")  # its modes of more than 8 bits begin so; turned into bytes they would be cut off, not scaled

TEST_SHARE, DEV_SHARE = 0.2, 0.1


def load_image_folder(folder: str | Path, size: int = 0, color: Color = "keep") -> ImageSplits:
    """The images of a folder of classes; of each class 20 % to test on, and 10 % of the others for dev.

    Where the folder has subfolders "train" and "test", these are the folders of classes, and so is "dev" where it
    exists.
    size: scale the images to squares of this side, 0: leave them as they are; color: see `read_image`.  The errors are
    those of `read_image_folder`.
    """
    folder = Path(folder)
    if not ((folder / "train").is_dir() and (folder / "test").is_dir()):
        images, classes = read_image_folder(folder, size, color)
        rest, test = hold_out_images(images, TEST_SHARE)
        train, dev = hold_out_images(rest, DEV_SHARE)
        return ImageSplits(train, dev, test, classes)
    train, classes = read_image_folder(folder / "train", size, color)
    test, _ = read_image_folder(folder / "test", size, color, classes)
    if (folder / "dev").is_dir():
        dev, _ = read_image_folder(folder / "dev", size, color, classes)
    else:
        train, dev = hold_out_images(train, DEV_SHARE)
    return ImageSplits(train, dev, test, classes)


def read_image_folder(
    folder: str | Path, size: int = 0, color: Color = "keep", classes: Sequence[str] | None = None
) -> tuple[Images, tuple[str, ...]]:
    """All images of a folder of classes, and the classes: the names of the subfolders in their order.

    classes: those of the images that a model was trained on; the subfolders must be among them.
    Hidden files and folders are passed over.
    Raises DataError, naming the file, where there is no class, a class without images, something that is no image, or
    an image that is truncated or whose shape is not that of the first.
    """
    folder = Path(folder)
    found = {path.name: path for path in _listed(folder) if path.is_dir()}
    if not found:
        raise DataError(f"{folder} has no subfolders; expected one for each class, with its images in it")
    names = tuple(classes or found)
    unknown = [name for name in found if name not in names]
    if unknown:
        raise DataError(f"{found[unknown[0]]} is the folder of no class; expected {', '.join(names)}")
    pixels: list[np.ndarray] = []
    labels: list[int] = []
    for name, class_folder in found.items():
        files = _listed(class_folder)
        if not files:
            raise DataError(f"the class folder {class_folder} has no images; the cure: put some there, or delete it")
        for path in files:
            image = read_image(path, (size, size) if size else None, color)
            if pixels and image.shape != pixels[0].shape:
                raise DataError(
                    f"{path} is {described(image.shape)}, the first image {described(pixels[0].shape)}; "
                    "the cure: images of one shape, or --set size=.. and color=grey or color=rgb"
                )
            pixels.append(image)
            labels.append(names.index(name))
    return Images(np.stack(pixels), np.array(labels, dtype=np.int64)), names


def read_image(
    path: str | Path, size: tuple[int, int] | None = None, color: Color = "keep"
) -> UInt8[np.ndarray, "channels height width"]:
    """The pixels of an image file, turned as its camera noted.

    size: (height, width): scale the image so that it covers them, and cut off what sticks out; None: leave it as it is.
    color: "grey" or "rgb" convert it.
    Raises DataError, naming the file, where Pillow cannot read it or its mode is not what is asked for, and
    MissingDependencyError without Pillow.
    """
    pillow, ops = _pillow()
    path = Path(path)
    if path.is_dir():
        raise DataError(f"{path} is a folder; expected an image file")
    try:
        with pillow.open(path) as file:
            image = ops.exif_transpose(file)  # this reads all of it
            image.load()
    except FileNotFoundError:
        raise DataError(f"there is no file {path}: check the path") from None
    except (OSError, SyntaxError, ValueError, pillow.DecompressionBombError, pillow.DecompressionBombWarning) as error:
        raise DataError(f"{path} cannot be read as an image: {error}; the cure: replace it, or move it away") from error
    if image.mode.startswith(DEEP):
        raise DataError(
            f"{path} has the mode {image.mode}, more than 8 bits; the cure: save it with 8 bits for each colour"
        )
    if color != "keep":
        image = image.convert(MODES[color])
    elif image.mode not in MODES.values():
        raise DataError(
            f"{path} has the mode {image.mode}; expected {' or '.join(MODES.values())}; "
            "the cure: --set color=grey or color=rgb, which converts all images"
        )
    if size is not None:
        image = ops.fit(image, size[::-1], pillow.Resampling.BILINEAR)
    pixels = np.asarray(image, dtype=np.uint8)
    return pixels[None] if pixels.ndim == 2 else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def _listed(folder: Path) -> list[Path]:
    """What is in a folder, by name."""
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except FileNotFoundError:
        raise DataError(f"there is no folder {folder}: check the path") from None
    except NotADirectoryError:
        raise DataError(f"{folder} is a file; expected a folder") from None
    except OSError as error:
        raise DataError(f"{folder} cannot be read: {error.strerror}") from error


def _pillow() -> tuple[Any, Any]:
    try:
        from PIL import Image, ImageOps
    except ImportError as error:
        raise MissingDependencyError(
            "reading image files needs Pillow, which is not installed: pip install 'minattn[images]'"
        ) from error
    return Image, ImageOps
