"""Images in folders: each subfolder is a class, and what lies in it are its images, in any form that Pillow reads."""

from __future__ import annotations

import os
import stat
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import UInt8

from minattn.data.images.dataset import Images, ImageSplits, described, hold_out_images
from minattn.errors import ConfigError, DataError, MissingDependencyError

Color = Literal["keep", "gray", "rgb"]
"""The conversion of an image's colors; "keep" takes gray and RGB images as they are, and no others."""

MODES = {"gray": "L", "rgb": "RGB"}  # as Pillow calls them
ALPHA = ("A", "a")  # its names of the last band where that says how opaque a pixel is
DEEP = ("I", "F")  # its modes of more than 8 bits begin so; turned into bytes they would be cut off, not scaled

SIXTEEN_BITS = "I;16"  # and its modes of 16 bits so, which are scaled

LITTER = ("thumbs.db", "desktop.ini", "__macosx")  # what file managers and archives leave, in small letters

TEST_SHARE, DEV_SHARE = 0.2, 0.1


def load_image_folder(folder: str | Path, size: int = 0, color: Color = "keep") -> ImageSplits:
    """The images of a folder of classes; of each class 20 % to test on, and 10 % of the others for dev.

    Where the folder has subfolders "train" and "test", these are the folders of classes, and so is "dev" where it
    exists.
    size: scale the images to squares of this side, 0: leave them as they are; color: see `read_image`.  The errors are
    those of `read_image_folder`, and DataError for "train" or "test" with folders of classes but without the other.
    """
    folder = Path(folder)
    parts = [name for name in ("train", "test") if (folder / name).is_dir()]
    if len(parts) == 1:
        _check_class(folder, parts[0])
    if len(parts) < 2:
        images, classes = read_image_folder(folder, size, color)
        rest, test = hold_out_images(images, TEST_SHARE)
        train, dev = hold_out_images(rest, DEV_SHARE)
        return ImageSplits(train, dev, test, classes, passed_over(folder))
    train, classes = read_image_folder(folder / "train", size, color)
    test, _ = read_image_folder(folder / "test", size, color, classes)
    if (folder / "dev").is_dir():
        dev, _ = read_image_folder(folder / "dev", size, color, classes)
    else:
        train, dev = hold_out_images(train, DEV_SHARE)
    places = (folder, folder / "train", folder / "dev", folder / "test")
    return ImageSplits(train, dev, test, classes, tuple(name for place in places for name in passed_over(place)))


def read_image_folder(
    folder: str | Path, size: int = 0, color: Color = "keep", classes: Sequence[str] | None = None
) -> tuple[Images, tuple[str, ...]]:
    """All images of a folder of classes, and the classes: the names of the subfolders in their order.

    classes: those of the images that a model was trained on; the subfolders must be among them.
    Hidden files and folders are passed over, and so are Thumbs.db, desktop.ini and __MACOSX.
    Raises DataError, naming the file, where there is no class, a class without images, something that is no image, an
    image that is truncated or whose shape is not that of the first, a link that points nowhere, or a name that is not
    UTF-8; ConfigError for a size or color that `read_image` does not have.
    """
    folder = Path(folder)
    found = {path.name: path for path in _listed(folder) if stat.S_ISDIR(_kind(path))}
    if not found:
        raise DataError(
            f"{folder} has no subfolders; expected one for each class, with its images in it; hint: make them"
        )
    names = tuple(classes or found)
    unknown = [name for name in found if name not in names]
    if unknown:
        raise DataError(
            f"{found[unknown[0]]} is the folder of no class; expected {', '.join(names)}; "
            "hint: rename it, or move it away"
        )
    pixels: list[np.ndarray] = []
    labels: list[int] = []
    for name, class_folder in found.items():
        files = _listed(class_folder)
        if not files:
            raise DataError(f"the class folder {class_folder} has no images; hint: put some there, or delete it")
        for path in files:
            image = read_image(path, (size, size) if size else None, color)
            if pixels and image.shape != pixels[0].shape:
                raise DataError(
                    f"{path} is {described(image.shape)}, the first image {described(pixels[0].shape)}; "
                    "hint: images of one shape, or --set size=.. and color=gray or color=rgb"
                )
            pixels.append(image)
            labels.append(names.index(name))
    return Images(np.stack(pixels), np.array(labels, dtype=np.int64)), names


def read_image(
    path: str | Path, size: tuple[int, int] | None = None, color: Color = "keep"
) -> UInt8[np.ndarray, "channels height width"]:
    """The pixels of an image file, turned as its camera noted.

    size: (height, width): scale the image so that it covers them, and cut off what sticks out; None: leave it as it is.
    color: "gray" or "rgb" convert it.
    What is transparent is laid on white, as on a page: black lines on a transparent ground stay lines.  Gray images of
    16 bits are scaled to 8: 65,535 becomes 255.
    Raises DataError, naming the file, where Pillow cannot read it, its mode is not what is asked for, it is no file or
    its name is not UTF-8; ConfigError for another color or a side below 1; MissingDependencyError without Pillow.
    """
    pillow, ops = require_pillow()
    if color not in ("keep", *MODES):
        raise ConfigError(f"the color is {color!r}; expected keep, gray or rgb; hint: choose one of them")
    if size is not None and min(size) < 1:
        raise ConfigError(f"the size is {size}; expected a height and a width of at least 1; hint: larger sides")
    path = Path(path)
    _check_file(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pillow.DecompressionBombWarning)
            with pillow.open(path) as file:
                image = ops.exif_transpose(file)  # this reads all of it
                image.load()
    except Exception as error:  # over a damaged file, each of Pillow's plugins raises errors of its own
        reason = str(error) or type(error).__name__
        raise DataError(f"{path} cannot be read as an image: {reason}; hint: replace it, or move it away") from error
    image = _converted(image, path, color)
    if size is not None:
        image = ops.fit(image, size[::-1], pillow.Resampling.BILINEAR)
    pixels = np.asarray(image, dtype=np.uint8)
    return pixels[None] if pixels.ndim == 2 else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def _converted(image: Any, path: Path, color: Color) -> Any:
    """The image in the mode of that color, without transparency."""
    if image.mode.startswith(SIXTEEN_BITS):
        image = _in_bytes(image)
    if image.mode.startswith(DEEP):
        raise DataError(
            f"{path} has the mode {image.mode}, more than 16 bits; hint: 8 bits for each color, or 16 of gray"
        )
    mode = MODES.get(color, image.mode)
    if mode not in MODES.values():
        raise DataError(
            f"{path} has the mode {mode}; expected {' or '.join(MODES.values())}; "
            "hint: --set color=gray or color=rgb, which converts all images"
        )
    try:
        if image.getbands()[-1] in ALPHA or "transparency" in image.info:
            image = _on_white(image)
        if image.mode == "LAB":
            image = image.convert("RGB")  # Pillow has no other way from there
        return image.convert(mode)
    except Exception as error:  # such as that of a palette that is damaged
        raise DataError(
            f"{path} cannot be converted from the mode {image.mode} to {mode}: {error}; hint: save it as {mode}"
        ) from error


def _in_bytes(image: Any) -> Any:
    """A gray image of 16 bits in 8, rounded."""
    pillow, _ = require_pillow()
    return pillow.fromarray(np.round(np.asarray(image) / 257).astype(np.uint8))


def _on_white(image: Any) -> Any:
    pillow, _ = require_pillow()
    return pillow.alpha_composite(pillow.new("RGBA", image.size, "white"), image.convert("RGBA"))


def _check_class(folder: Path, name: str) -> None:
    """Raise DataError where `name`, "train" or "test" without the other, is not a class but a folder of classes."""
    if any(path.is_dir() for path in _listed(folder / name)):
        other = "test" if name == "train" else "train"
        raise DataError(
            f"{folder} has {name}, with folders in it, but no {other}; expected both or none; "
            f"hint: a folder {folder / other} with the same classes, or --data {folder / name} to divide its images"
        )


def _check_file(path: Path) -> None:
    """Raise DataError where there is no file.  Others would fail later, or be waited for without end."""
    kind = _kind(path)
    if stat.S_ISDIR(kind):
        raise DataError(
            f"{path} is a folder; expected an image file; hint: give the images in it, "
            "or move it out of the folder of its class"
        )
    if not stat.S_ISREG(kind):
        raise DataError(f"{path} is a pipe, socket or device; expected an image file; hint: move it away")


def _kind(path: Path) -> int:
    """The `st_mode` of a path.  Raises DataError where there is nothing, and for a name that is not UTF-8."""
    try:
        str(path).encode()
        return path.stat().st_mode
    except UnicodeEncodeError:
        raise DataError(f"the name {os.fsencode(path)!r} is not UTF-8; hint: rename it") from None
    except FileNotFoundError:
        if path.is_symlink():
            raise DataError(f"{path} is a link that points nowhere; hint: mend it, or delete it") from None
        raise DataError(f"there is no file {path}; hint: check the path") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}; hint: replace it, or move it away") from error


def passed_over(folder: Path) -> tuple[str, ...]:
    """The names of the folders in `folder` that are not taken for classes, such as .ipynb_checkpoints and __MACOSX."""
    content = _content(folder) if folder.is_dir() else []
    return tuple(path.name for path in content if _is_litter(path) and path.is_dir())


def _listed(folder: Path) -> list[Path]:
    """The content of a folder, by name, but for what is hidden or litter."""
    return [path for path in _content(folder) if not _is_litter(path)]


def _is_litter(path: Path) -> bool:
    return path.name.startswith(".") or path.name.lower() in LITTER


def _content(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except FileNotFoundError:
        raise DataError(f"there is no folder {folder}; hint: check the path") from None
    except NotADirectoryError:
        raise DataError(f"{folder} is a file; expected a folder; hint: give the folder of the classes") from None
    except OSError as error:
        raise DataError(f"{folder} cannot be read: {error.strerror}; hint: a folder that can be read") from error


def require_pillow() -> tuple[Any, Any]:
    """Pillow's modules Image and ImageOps.  Raises MissingDependencyError where it is not installed."""
    try:
        from PIL import Image, ImageOps
    except ImportError as error:
        raise MissingDependencyError(
            "reading image files needs Pillow, which is not installed: pip install 'minattn[images]'"
        ) from error
    return Image, ImageOps
