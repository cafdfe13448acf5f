"""Images of bodies with the positions of their joints: what a data set of poses is, whatever it was read from."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, UInt8

from minattn.data.splits import Splits
from minattn.errors import ConfigError, DataError

UNLABELED, OCCLUDED, VISIBLE = 0, 1, 2
"""The visibility of a joint, as in COCO's files: not labeled; labeled but occluded; labeled and visible."""

OTHER_SIDE = {"left": "right", "right": "left", "l": "r", "r": "l"}
SIDES = {"left": "left", "right": "right", "l": "left", "r": "right"}
WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")  # of left_hip, leftHip, LEFT-HIP and LHip


@dataclass(frozen=True)
class Skeleton:
    """The joints of a body by name, which of them limbs connect, and for each joint the one that it is in a mirror.

    Raises ConfigError where names come twice, a limb ends at no joint, or the mirrored joints are no pairs.
    """

    joints: tuple[str, ...]
    limbs: tuple[tuple[int, int], ...]
    mirrored: tuple[int, ...]

    def __post_init__(self) -> None:
        count = len(self.joints)
        if not count or len(set(self.joints)) < count:
            raise ConfigError(f"the joints are {', '.join(self.joints) or 'none'}; hint: each name once, at least one")
        for limb in self.limbs:
            if len(limb) != 2 or not all(0 <= joint < count for joint in limb):
                raise ConfigError(f"a limb connects the joints {limb}; hint: two numbers from 0 to {count - 1}")
        order = self.mirrored
        if sorted(order) != list(range(count)) or any(order[order[joint]] != joint for joint in range(count)):
            raise ConfigError(
                f"the mirrored joints {order} do not pair {count} joints; hint: for each the one in a mirror"
            )

    @classmethod
    def of(cls, joints: Sequence[str], limbs: Iterable[tuple[str, str]] = ()) -> Skeleton:
        """A skeleton whose pairs the names tell: "left_hip" is "right_hip" in a mirror, "l_hip" is "r_hip"."""
        names = tuple(joints)
        number = {name: number for number, name in enumerate(names)}
        pairs = [number.get(other_side(name), number[name]) for name in names]
        return cls(names, tuple((number[a], number[b]) for a, b in limbs), tuple(pairs))

    def find(self, *names: str) -> list[int] | None:
        """The numbers of these joints; None where one of them is not there."""
        return [self.joints.index(name) for name in names] if set(names) <= set(self.joints) else None


def side_of(name: str) -> str | None:
    """The side of the body that a joint is on by its name: "left", "right" or None."""
    sides = {SIDES[word.lower()] for word in WORDS.findall(name) if word.lower() in SIDES}
    return sides.pop() if len(sides) == 1 else None


def other_side(name: str) -> str:
    """The name of the joint on the other side of the body; that of one in the middle is its own.

    The side is a word of the name, however it is written: left_hip, l-hip, leftHip, LEFT HIP, LHip.
    """

    def other(match: re.Match[str]) -> str:
        word = match[0]
        side = OTHER_SIDE.get(word.lower(), word)
        return side.upper() if word.isupper() else side.title() if word.istitle() else side

    return WORDS.sub(other, name)


@dataclass(frozen=True, eq=False)
class Poses:
    """Images of one body each, and its joints.

    positions: (x, y) in pixels of the image, (0, 0) being its upper left corner and (0.5, 0.5) the middle of its first
    pixel; visibility: `UNLABELED`, `OCCLUDED` or `VISIBLE`; torso, head: the lengths of both in pixels, NaN where
    unknown.  A joint may lie outside of its image.
    Raises DataError where these do not fit together.
    """

    pixels: UInt8[np.ndarray, "bodies channels height width"]
    positions: Float[np.ndarray, "bodies joints 2"]
    visibility: UInt8[np.ndarray, "bodies joints"]
    torso: Float[np.ndarray, " bodies"]
    head: Float[np.ndarray, " bodies"]

    def __post_init__(self) -> None:
        count = len(self.pixels)
        if self.pixels.dtype != np.uint8 or self.pixels.ndim != 4:
            raise DataError(
                f"the pixels are {self.pixels.dtype} of shape {self.pixels.shape}; expected uint8 of shape "
                "(bodies, channels, height, width); hint: numbers from 0 to 255, and an axis for each of these"
            )
        joints = self.visibility.shape[-1]
        shapes = self.positions.shape, self.visibility.shape, self.torso.shape, self.head.shape
        if shapes != ((count, joints, 2), (count, joints), (count,), (count,)):
            raise DataError(
                f"{count:,} images have positions {shapes[0]}, labels {shapes[1]}, torsos {shapes[2]} and heads "
                f"{shapes[3]}; hint: the same joints for each image"
            )
        if not np.isfinite(self.positions[self.visibility > UNLABELED]).all():
            raise DataError(
                "a joint with a label has a position that is not finite; hint: label 0 where it is not known"
            )

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width)."""
        _, channels, height, width = self.pixels.shape
        return channels, height, width

    @property
    def inside(self) -> Bool[np.ndarray, "bodies joints"]:
        """True for a joint with a label whose position is within its image: one that can be found there."""
        _, height, width = self.shape
        with np.errstate(invalid="ignore"):
            within = ((self.positions >= 0) & (self.positions < (width, height))).all(-1)
        return within & (self.visibility > UNLABELED)

    def at(self, rows: np.ndarray | slice) -> Poses:
        """The images of these rows, with their joints."""
        return Poses(self.pixels[rows], self.positions[rows], self.visibility[rows], self.torso[rows], self.head[rows])

    def mirrored(self, skeleton: Skeleton) -> Poses:
        """The images in a mirror: what was the left hand is the right one there."""
        order = list(skeleton.mirrored)
        positions = self.positions[:, order]
        positions = np.stack([self.shape[2] - positions[..., 0], positions[..., 1]], -1)
        return Poses(self.pixels[..., ::-1], positions, self.visibility[:, order], self.torso, self.head)

    def fingerprint(self) -> str:
        """SHA-256 of the images and labels in their order: by it a resumed run knows that they are the same."""
        digest = hashlib.sha256(repr(self.pixels.shape).encode())
        for array in (self.pixels, self.positions, self.visibility, self.torso, self.head):
            digest.update(np.ascontiguousarray(array))
        return digest.hexdigest()


@dataclass(frozen=True, eq=False)
class PoseSplits(Splits[Poses]):
    """Images of bodies to train on, to choose the best model by and to report on, and the joints that they have.

    Raises DataError where a part has images of another size, or other joints.
    """

    skeleton: Skeleton

    def __post_init__(self) -> None:
        for name, part in self.parts().items():
            if part.shape != self.train.shape:
                raise DataError(
                    f"the {name} images are {part.shape}, those to train on {self.train.shape}; hint: one size"
                )
            if part.visibility.shape[1] != len(self.skeleton.joints):
                raise DataError(
                    f"the {name} images have {part.visibility.shape[1]} joints, the skeleton "
                    f"{len(self.skeleton.joints)}; hint: the same joints everywhere"
                )
