"""Bodies from a folder of photographs, with joints in the format of COCO's keypoints.

    T.-Y. Lin et al. (2014). Microsoft COCO: common objects in context.  https://cocodataset.org/#format-data

A JSON file has "images" with an id and a file_name, "annotations" with an image_id, a bbox (left, top, width, height)
and keypoints x1, y1, v1, .., where v is 0 for a joint without a label, 1 for a hidden one and 2 for one in sight; and
"categories", of which one has the names of the keypoints and the skeleton, pairs of their numbers from 1 on.  The sides
of the body are told by the names, or by a list "flip_pairs" of pairs of numbers.

Each body is cut out, a square around the middle of its box, and scaled; what lies beyond the image is black.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, UInt8

from minattn.data.images.folder import read_image, require_pillow
from minattn.data.pose.dataset import UNLABELED, Poses, PoseSplits, Skeleton
from minattn.data.splits import PARTS
from minattn.errors import ConfigError, DataError

AROUND = 1.25
"""The side of the square that is cut out, in larger sides of the box."""

FARTHEST = 1e9
"""Pixels that a box may be from the corner of its image."""

LARGEST = 4
"""The side of a square at most, in larger sides of its image: it is made in the memory before it is scaled."""

TEST_SHARE, DEV_SHARE, SPLIT_SEED = 0.2, 0.1, 0

TORSO = ("left_shoulder", "right_hip"), ("l_shoulder", "r_hip")
HEAD = ("upper_neck", "head_top"), ("neck", "head_top")
"""The joints at the ends of both, by the names that they may have."""


class Square(NamedTuple):
    """A square of an image, its middle and side in pixels: what is cut out, and becomes an image of its own."""

    x: float
    y: float
    side: float

    @classmethod
    def around(cls, left: float, top: float, width: float, height: float, times: float = AROUND) -> Square:
        """A square around a box, `times` as large as its larger side."""
        return cls(left + width / 2, top + height / 2, times * max(width, height))

    def cut(
        self, pixels: UInt8[np.ndarray, "channels height width"], size: int
    ) -> UInt8[np.ndarray, "channels size size"]:
        """The square out of an image, scaled to size x size.

        Raises DataError for one that lies beside the image, or is far larger than it.
        """
        height, width = pixels.shape[1:]
        half = self.side / 2
        beside = not (-half < self.x < width + half and -half < self.y < height + half)
        if beside or self.side > LARGEST * max(width, height):
            raise DataError(
                f"a square of {self.side:.4g} pixels around {self.x:.4g}, {self.y:.4g} is no part of an image of "
                f"{width} x {height}; hint: a box in the image"
            )
        pillow, _ = require_pillow()
        image = pillow.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)))
        left, top = round(self.x - self.side / 2), round(self.y - self.side / 2)
        side = max(1, round(self.side))
        part = image.crop((left, top, left + side, top + side)).resize((size, size), pillow.Resampling.BILINEAR)
        return np.asarray(part, np.uint8).transpose(2, 0, 1)

    def into(self, positions: Float[np.ndarray, "*any 2"], size: int) -> Float[np.ndarray, "*any 2"]:
        """Positions in the image as positions in the crop."""
        return (positions - self._corner) * (size / max(1, round(self.side)))

    def back(self, positions: Float[np.ndarray, "*any 2"], size: int) -> Float[np.ndarray, "*any 2"]:
        """Positions in the crop as positions in the image."""
        return positions * (max(1, round(self.side)) / size) + self._corner

    @property
    def _corner(self) -> np.ndarray:
        return np.array([round(self.x - self.side / 2), round(self.y - self.side / 2)])


# ---------------------------------------------------------------------------------------------- a folder
def load_pose_folder(folder: str | Path, size: int) -> PoseSplits:
    """The bodies of a folder with images and JSON files, cut out to size x size.

    With train.json and test.json, dev.json too where it is there; else one file, whose images are divided: 20 % to test
    on, and 10 % of the others for dev.  Raises what `read_coco` raises.
    """
    folder = Path(folder)
    if not folder.is_dir():
        problem = "is a file" if folder.exists() else "does not exist"
        raise DataError(f"{folder} {problem}; expected a folder with images and a JSON file; hint: check the path")
    files = {path.stem: path for path in sorted(folder.glob("*.json"))}
    if {"train", "test"} <= set(files):
        read = {part: read_coco(files[part], size) for part in PARTS if part in files}
        skeleton = read["train"].skeleton
        for part, bodies in read.items():
            if bodies.skeleton != skeleton:
                raise DataError(
                    f"{files[part]} has {len(bodies.skeleton.joints)} joints, {files['train']} has "
                    f"{len(skeleton.joints)}, or they have other names or limbs; hint: the same categories in both"
                )
        train, test = read["train"], read["test"]
        if "dev" in read:
            return PoseSplits(train.poses, read["dev"].poses, test.poses, skeleton)
        kept, dev = train.divided(DEV_SHARE)
        return PoseSplits(kept.poses, dev.poses, test.poses, skeleton)
    if len(files) != 1:
        raise DataError(
            f"{folder} has {len(files) or 'no'} JSON files; expected train.json and test.json, or a single one; hint: "
            "COCO's keypoint format"
        )
    everything = read_coco(*files.values(), size)
    rest, test = everything.divided(TEST_SHARE)
    train, dev = rest.divided(DEV_SHARE)
    return PoseSplits(train.poses, dev.poses, test.poses, everything.skeleton)


class Bodies(NamedTuple):
    """The bodies of a file, the number of the image of each, and their joints."""

    poses: Poses
    images: np.ndarray
    skeleton: Skeleton

    def divided(self, share: float) -> tuple[Bodies, Bodies]:
        """(kept, held out): a share of the images, at least one, drawn at random, each with all of its bodies."""
        numbers = np.unique(self.images)
        order = np.random.default_rng(SPLIT_SEED).permutation(numbers)
        held_out = np.isin(self.images, order[: max(1, round(share * len(numbers)))])
        return self._at(~held_out), self._at(held_out)

    def _at(self, rows: np.ndarray) -> Bodies:
        return Bodies(self.poses.at(rows), self.images[rows], self.skeleton)


# ---------------------------------------------------------------------------------------------- a file
def read_coco(path: str | Path, size: int, folder: str | Path | None = None) -> Bodies:
    """Every body of a file that has a joint with a label, cut out to size x size; crowds are passed over.

    folder: of the images; None: the file's own.

    Raises DataError, naming the annotation, where the file is not in the format: joints that are not as many as the
    category has, unknown visibilities, positions that are no numbers, boxes without a side, images that are not there.
    """
    path = Path(path)
    folder = path.parent if folder is None else Path(folder)
    content = _content(path)
    category = _category(content, path)
    skeleton = _skeleton(category, path)
    images_of_file = _dicts(content, "images", path)
    if not all(isinstance(image.get("id"), int | str) for image in images_of_file):
        raise DataError(f"{path} has an image whose id is no number; hint: COCO's keypoint format")
    files = {image["id"]: image.get("file_name") for image in images_of_file}
    by_image: dict[Any, list[Mapping[str, Any]]] = {}
    for annotation in _dicts(content, "annotations", path):
        if annotation.get("category_id", category.get("id")) == category.get("id") and not annotation.get("iscrowd"):
            if not isinstance(image_id := annotation.get("image_id"), int | str) or image_id not in files:
                raise _wrong(path, annotation, f"has image_id {image_id!r}", "one of the images")
            by_image.setdefault(image_id, []).append(annotation)
    pixels, positions, visibility, torsos, heads, images = [], [], [], [], [], []
    for number, (image_id, found) in enumerate(by_image.items()):
        image = None
        for annotation in found:
            at, label = _joints(annotation, skeleton, path)
            if not (label > UNLABELED).any():
                continue
            square = _square(annotation, path)
            if image is None:
                image = read_image(folder / str(files[image_id]), color="rgb")
            try:
                pixels.append(square.cut(image, size))
            except DataError as error:
                raise DataError(f"{path}: the annotation {annotation.get('id')}: {error}") from None
            at = square.into(at, size)
            positions.append(at)
            visibility.append(label)
            torsos.append(torso_of(skeleton, at, label))
            heads.append(_length(skeleton, HEAD, at, label))
            images.append(number)
    if not pixels:
        raise DataError(f"{path} has no body with a label on a joint; hint: annotations with keypoints")
    poses = Poses(
        np.stack(pixels),
        np.stack(positions).astype(np.float32),
        np.stack(visibility).astype(np.uint8),
        np.array(torsos),
        np.array(heads),
    )
    return Bodies(poses, np.array(images), skeleton)


def torso_of(skeleton: Skeleton, positions: np.ndarray, visibility: np.ndarray) -> float:
    """The length of a torso, NaN where one of its ends has no label.

    Of a body without the joints of a torso: the larger side of the box around the joints that have a label, NaN where
    that is a point.
    """
    if any(skeleton.find(*names) for names in TORSO):
        return _length(skeleton, TORSO, positions, visibility)
    labeled = positions[visibility > UNLABELED]
    return float((labeled.max(0) - labeled.min(0)).max()) or float("nan")


def _length(skeleton: Skeleton, ends: tuple, positions: np.ndarray, visibility: np.ndarray) -> float:
    """The distance of two joints, NaN where there are none of these names, or without labels, or at one position."""
    for names in ends:
        if (found := skeleton.find(*names)) and (visibility[found] > UNLABELED).all():
            return float(np.linalg.norm(positions[found[0]] - positions[found[1]])) or float("nan")
    return float("nan")


def _content(path: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"there is no file {path}; hint: check the path") from None
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path} cannot be read: {error}; hint: a JSON file in COCO's keypoint format") from error
    if not isinstance(content, dict):
        raise DataError(
            f"{path} is no object; expected images, annotations and categories; hint: COCO's keypoint format"
        )
    return content


def _dicts(content: Mapping[str, Any], key: str, path: Path) -> list[Mapping[str, Any]]:
    found = content.get(key)
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise DataError(
            f"{path} has no list of {key}; expected images, annotations and categories; hint: COCO's keypoint format"
        )
    return found


def _category(content: Mapping[str, Any], path: Path) -> Mapping[str, Any]:
    found = [category for category in _dicts(content, "categories", path) if category.get("keypoints")]
    if len(found) != 1:
        raise DataError(
            f"{path} has {len(found) or 'no'} categories with keypoints, expected one; hint: the names of the joints "
            "of one kind of body"
        )
    return found[0]


def _skeleton(category: Mapping[str, Any], path: Path) -> Skeleton:
    """The joints of a category, their limbs and pairs."""
    names, limbs, pairs = category["keypoints"], category.get("skeleton", []), category.get("flip_pairs")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise DataError(f"{path}: the keypoints of its category are no list of names; hint: COCO's keypoint format")
    for what, found in (("skeleton", limbs), ("flip_pairs", [] if pairs is None else pairs)):
        fits = isinstance(found, list) and all(
            isinstance(pair, list) and len(pair) == 2 and all(type(n) is int and 1 <= n <= len(names) for n in pair)
            for pair in found
        )
        if not fits:
            raise DataError(
                f"{path}: the {what} of its category has another pair than two numbers from 1 to {len(names)}; hint: "
                "the numbers of joints, counted from 1"
            )
    try:
        by_name = Skeleton.of(names)
        mirrored = list(by_name.mirrored)
        if pairs is not None:
            mirrored = list(range(len(names)))
            for a, b in pairs:
                mirrored[a - 1], mirrored[b - 1] = b - 1, a - 1
        return Skeleton(by_name.joints, tuple((a - 1, b - 1) for a, b in limbs), tuple(mirrored))
    except ConfigError as error:
        raise DataError(f"{path}: {error}") from error


def _joints(annotation: Mapping[str, Any], skeleton: Skeleton, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """(positions (joints, 2), visibility (joints,)) of an annotation."""
    count = len(skeleton.joints)
    try:
        numbers = np.array(annotation.get("keypoints"), np.float64)
    except (TypeError, ValueError, OverflowError):
        raise _wrong(path, annotation, "has keypoints that are no numbers", f"x, y and v of {count} joints") from None
    if numbers.shape != (3 * count,):
        raise _wrong(
            path, annotation, f"has {numbers.size} numbers of keypoints", f"{3 * count}, x, y and v of {count} joints"
        )
    positions, visibility = numbers.reshape(count, 3)[:, :2], numbers[2::3]
    if not np.isin(visibility, (0, 1, 2)).all():
        raise _wrong(
            path, annotation, f"has the label {visibility[~np.isin(visibility, (0, 1, 2))][0]:g}", "v = 0, 1 or 2"
        )
    if not np.isfinite(positions[visibility > UNLABELED]).all():
        raise _wrong(path, annotation, "has a joint whose position is not finite", "v = 0 for a joint without a label")
    return positions, visibility


def _square(annotation: Mapping[str, Any], path: Path) -> Square:
    box = annotation.get("bbox")
    if (
        not isinstance(box, list)
        or len(box) != 4
        or not all(isinstance(n, int | float) and abs(n) <= FARTHEST for n in box)
        or min(box[2:]) <= 0
    ):
        raise _wrong(path, annotation, f"has the bbox {box}", "left, top, width and height, the last two above 0")
    return Square.around(*box)


def _wrong(path: Path, annotation: Mapping[str, Any], problem: str, hint: str) -> DataError:
    return DataError(f"{path}: the annotation {annotation.get('id')} {problem}; hint: {hint}")
