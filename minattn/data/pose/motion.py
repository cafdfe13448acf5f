"""Bodies in motion: the angles of a person's joints, and where the joints are then.

The angles are those of people that were recorded, or drawn from the ranges that healthy joints have:

    clips   20 recorded clips, such as running, dancing, a cartwheel: JSON files in the format of X. B. Peng et al.,
            "DeepMimic", SIGGRAPH 2018, which the package pybullet ships.  They are read where they lie; nothing of it
            is imported.
    ranges  each angle by itself between the limits of the American Academy of Orthopaedic Surgeons, "Joint motion:
            method of measuring and recording", 1965, rounded; most are near the middle of the body's usual postures.

The lengths of the body are shares of its height, as in D. A. Winter, "Biomechanics and motor control of human
movement", chapter 4 (after R. Drillis and R. Contini, 1966); every body differs a little from them.

Axes: x forward, y up, z to the body's right.  A body that stands upright with hanging arms has all rotations 1.
"""

from __future__ import annotations

import json
import os
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from minattn.errors import DataError, MissingDependencyError

FOLDER = "MINATTN_MOTIONS"
"""The environment variable with the folder of the clips."""

TURNS = (
    "root",
    "chest",
    "neck",
    "right_hip",
    "right_knee",
    "right_ankle",
    "right_shoulder",
    "right_elbow",
    "left_hip",
    "left_knee",
    "left_ankle",
    "left_shoulder",
    "left_elbow",
)
"""The joints that turn, in the order of the clips."""

HINGES = ("right_knee", "right_elbow", "left_knee", "left_elbow")  # one angle about z; the others are quaternions
FRAME = 44  # numbers: the frame's duration, the root's position, and the turns
FIRST_TURN = 4

DEV_CLIPS = ("humanoid3d_punch", "humanoid3d_walk", "turn_left1")
TEST_CLIPS = ("humanoid3d_dance_b", "humanoid3d_jump", "humanoid3d_kick", "humanoid3d_run", "humanoid3d_getup_facedown")

Turns = Float[np.ndarray, "bodies turns 4"]
"""Quaternions (w, x, y, z) of every joint of `TURNS`, each against the part of the body that it hangs on."""


class Body(NamedTuple):
    """The positions of a body's points (bodies, 3) by name: joints, and what is drawn beside them, such as toes.

    height: (bodies,).
    """

    points: dict[str, Float[np.ndarray, "bodies 3"]]
    height: Float[np.ndarray, " bodies"]


# ---------------------------------------------------------------------------------------------- lengths
OFFSETS = {
    "chest": ("root", (0.0, 0.14, 0.0)),
    "neck": ("chest", (0.0, 0.15, 0.0)),
    "right_hip": ("root", (0.0, 0.0, 0.052)),
    "right_knee": ("right_hip", (0.0, -0.245, 0.0)),
    "right_ankle": ("right_knee", (0.0, -0.246, 0.0)),
    "right_toe": ("right_ankle", (0.1, -0.035, 0.0)),
    "right_heel": ("right_ankle", (-0.02, -0.035, 0.0)),
    "right_shoulder": ("chest", (0.0, 0.14, 0.108)),
    "right_elbow": ("right_shoulder", (0.0, -0.186, 0.0)),
    "right_wrist": ("right_elbow", (0.0, -0.146, 0.0)),
    "right_hand": ("right_wrist", (0.0, -0.035, 0.0)),
    "upper_neck": ("neck", (0.01, 0.055, 0.0)),
    "head": ("neck", (0.015, 0.115, 0.0)),
    "head_top": ("neck", (0.01, 0.19, 0.0)),
    "face": ("neck", (0.05, 0.105, 0.0)),
    "belly": ("root", (0.045, 0.07, 0.0)),
    "breast": ("chest", (0.05, 0.08, 0.0)),
}
"""Where each point hangs: on which other, and where there, in heights of the body.  The left is as the right."""


def mirrored_name(name: str) -> str:
    """The name of the point on the other side of the body, such as "left_hip"; a point in the middle is its own."""
    for side, other in (("right", "left"), ("left", "right")):
        if name.startswith(f"{side}_"):
            return f"{other}_{name.removeprefix(f'{side}_')}"
    return name


OFFSETS |= {
    mirrored_name(name): (mirrored_name(on), (x, y, -z))
    for name, (on, (x, y, z)) in OFFSETS.items()
    if name != mirrored_name(name)
}


def bodies(turns: Turns, height: Float[np.ndarray, " bodies"], widths: Float[np.ndarray, " bodies"]) -> Body:
    """The points of bodies with these turns, their root at 0.

    widths: of the hips and shoulders, as multiples of the usual ones.
    """
    local = dict(zip(TURNS, rotations(turns).transpose(1, 0, 2, 3), strict=True))
    frames = {"root": local["root"]}
    points = {"root": np.zeros((len(turns), 3))}
    scale = np.stack([height, height, height * widths], -1)
    waiting = dict(OFFSETS)
    while waiting:
        for name, (on, offset) in list(waiting.items()):
            if on in points:
                frame = frames[on]
                points[name] = points[on] + np.einsum("nij,nj->ni", frame, np.array(offset) * scale)
                frames[name] = frame @ local[name] if name in local else frame
                del waiting[name]
    return Body(points, height)


def rotations(quaternions: Float[np.ndarray, "*any 4"]) -> Float[np.ndarray, "*any 3 3"]:
    """The rotation matrices of quaternions (w, x, y, z) of any length above 0."""
    w, x, y, z = np.moveaxis(quaternions / np.linalg.norm(quaternions, axis=-1, keepdims=True), -1, 0)
    rows = (
        (1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
        (2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
        (2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)),
    )
    return np.stack([np.stack(row, -1) for row in rows], -2)


def product(p: Float[np.ndarray, "*any 4"], q: Float[np.ndarray, "*any 4"]) -> Float[np.ndarray, "*any 4"]:
    """The quaternion of first turning by q, then by p."""
    w, v = p[..., :1], p[..., 1:]
    u, r = q[..., :1], q[..., 1:]
    return np.concatenate([w * u - (v * r).sum(-1, keepdims=True), w * r + u * v + np.cross(v, r)], -1)


def about(axis: int, angle: Float[np.ndarray, "*any"]) -> Float[np.ndarray, "*any 4"]:
    """The quaternion of a turn by an angle, in radians, about the axis x (0), y (1) or z (2)."""
    turn = np.zeros((*np.shape(angle), 4))
    turn[..., 0], turn[..., 1 + axis] = np.cos(angle / 2), np.sin(angle / 2)
    return turn


def mirrored(turns: Turns) -> Turns:
    """The turns of the bodies in a mirror: left and right are changed."""
    order = [TURNS.index(mirrored_name(name)) for name in TURNS]
    return turns[:, order] * np.array([1, -1, -1, 1])


# ---------------------------------------------------------------------------------------------- recorded
def clips_folder() -> Path | None:
    """The folder of the clips: that of the environment variable, or pybullet's; None where there is neither."""
    if folder := os.environ.get(FOLDER):
        return Path(folder)
    found = find_spec("pybullet_data")  # this imports nothing
    folders = found.submodule_search_locations if found else None
    path = Path(folders[0], "data", "motions") if folders else None
    return path if path is not None and path.is_dir() else None


def read_clips(folder: Path | None = None) -> dict[str, Turns]:
    """The turns of every frame of the clips of people, by the clip's name; folder: None for that of `clips_folder`.

    Raises MissingDependencyError where there are no clips, DataError for a file that is none.
    """
    folder = clips_folder() if folder is None else folder
    if folder is None:
        raise MissingDependencyError(
            "the recorded clips come with pybullet, which is not installed: pip install pybullet (or --data ranges)"
        )
    files = [path for path in sorted(folder.rglob("*.txt")) if not path.name.startswith("laikago")]  # a robot dog
    if not files:
        raise DataError(
            f"there are no clips in {folder}; expected *.txt; hint: the folder of pybullet_data/data/motions"
        )
    return {path.stem: _read_clip(path) for path in files}


def _read_clip(path: Path) -> Turns:
    try:
        frames = np.array(json.loads(path.read_text(encoding="utf-8"))["Frames"], np.float64)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is no clip: {error}; hint: the JSON files of pybullet_data/data/motions") from error
    if frames.ndim != 2 or frames.shape[1] != FRAME or not len(frames) or not np.isfinite(frames).all():
        raise DataError(
            f"{path} is no clip of a person: its frames are {frames.shape}, expected (frames, {FRAME}), finite; hint: "
            "the JSON files of pybullet_data/data/motions"
        )
    turns, at = [], FIRST_TURN
    for name in TURNS:
        if name in HINGES:
            turns.append(about(2, frames[:, at]))
            at += 1
        else:
            turns.append(frames[:, at : at + 4])
            at += 4
    return np.stack(turns, 1)


def between(clips: list[Turns], count: int, rng: np.random.Generator) -> Turns:
    """Turns at random moments of clips, each clip as likely as any other: between two frames, by how near each is."""
    found = np.empty((count, len(TURNS), 4))
    for i in range(count):
        clip = clips[rng.integers(len(clips))]
        moment = rng.uniform(0, len(clip) - 1)
        before = min(int(moment), len(clip) - 2) if len(clip) > 1 else 0
        p, q = clip[before], clip[min(before + 1, len(clip) - 1)]
        q = np.where((p * q).sum(-1, keepdims=True) < 0, -q, q)  # q and -q are the same turn: take the nearer
        share = moment - before
        found[i] = (1 - share) * p + share * q
    return found


# ---------------------------------------------------------------------------------------------- from ranges
RANGES = {
    # least, usual and most in degrees, about z (forward, backward), x (to the side) and y (along)
    "root": ((-15, 0, 15), (-10, 0, 10), (0, 0, 0)),
    "chest": ((-60, -5, 20), (-30, 0, 30), (-35, 0, 35)),
    "neck": ((-40, -5, 40), (-35, 0, 35), (-60, 0, 60)),
    "right_hip": ((-25, 15, 115), (-40, -5, 15), (-30, 0, 30)),
    "right_knee": ((-130, -15, 0), (0, 0, 0), (0, 0, 0)),
    "right_ankle": ((-35, 0, 20), (0, 0, 0), (0, 0, 0)),
    "right_shoulder": ((-50, 25, 170), (-130, -15, 10), (-60, 0, 60)),
    "right_elbow": ((0, 35, 145), (0, 0, 0), (0, 0, 0)),
}
"""Of every joint; the left ones are as the right ones in a mirror.  By negative angles a trunk bends forward about z, a
limb backward, and a right limb goes outward about x."""


def from_ranges(count: int, rng: np.random.Generator) -> Turns:
    """Turns with each angle drawn by itself: triangular between its limits, the peak at what is usual."""
    found = np.empty((count, len(TURNS), 4))
    for i, name in enumerate(TURNS):
        left = name.startswith("left_")
        turn = about(0, np.zeros(count))
        for axis, limits in zip((2, 0, 1), RANGES[mirrored_name(name) if left else name], strict=True):
            least, usual, most = map(np.deg2rad, limits)
            angle = rng.triangular(least, usual, most, count) if least < most else np.zeros(count)
            turn = product(turn, about(axis, -angle if left and axis < 2 else angle))
        found[:, i] = turn
    return found
