"""Drawn people: figures of rounded limbs before a cluttered ground, with the positions of their joints.

A figure is a body of `motion.py` seen by a camera that stands anywhere around it, above or below, and tilted.  It is
made of capsules, tapering limbs with round ends, that are drawn from the farthest to the nearest: with soft edges,
darker toward their rims, and the darker the farther away they are.  Nothing tells a left limb from a right one but the
body itself, as in photographs: hair and face, the light front of the shirt, toes.  So the mirror image of a figure is a
figure with left and right changed.  Behind it are patches and rods in other colors, and before it there may be a rod
that hides some of it.

The joints are the 16 of MPII (M. Andriluka et al., "2D human pose estimation: new benchmark and state of the art
analysis", CVPR 2014), in its order.  One is visible where nothing is drawn over it but its own limbs.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int64

from minattn.data.pose.dataset import OCCLUDED, VISIBLE, Poses, PoseSplits, Skeleton
from minattn.data.pose.motion import (
    DEV_CLIPS,
    TEST_CLIPS,
    Body,
    Turns,
    about,
    between,
    bodies,
    from_ranges,
    read_clips,
    rotations,
)
from minattn.errors import DataError

SIZE = 64
COUNTS = {"train": 6000, "dev": 300, "test": 1000}

JOINTS = {
    "right_ankle": "right_ankle",
    "right_knee": "right_knee",
    "right_hip": "right_hip",
    "left_hip": "left_hip",
    "left_knee": "left_knee",
    "left_ankle": "left_ankle",
    "pelvis": "root",
    "thorax": "neck",
    "upper_neck": "upper_neck",
    "head_top": "head_top",
    "right_wrist": "right_wrist",
    "right_elbow": "right_elbow",
    "right_shoulder": "right_shoulder",
    "left_shoulder": "left_shoulder",
    "left_elbow": "left_elbow",
    "left_wrist": "left_wrist",
}
"""The joints, and the points of a body that they are."""

SKELETON = Skeleton.of(
    list(JOINTS),
    [
        ("right_ankle", "right_knee"),
        ("right_knee", "right_hip"),
        ("right_hip", "pelvis"),
        ("left_hip", "pelvis"),
        ("left_knee", "left_hip"),
        ("left_ankle", "left_knee"),
        ("pelvis", "thorax"),
        ("thorax", "upper_neck"),
        ("upper_neck", "head_top"),
        ("right_wrist", "right_elbow"),
        ("right_elbow", "right_shoulder"),
        ("right_shoulder", "thorax"),
        ("left_shoulder", "thorax"),
        ("left_elbow", "left_shoulder"),
        ("left_wrist", "left_elbow"),
    ],
)


class Limb(NamedTuple):
    """A capsule between two points of a body, its radii in heights of the body, and what its color is of."""

    start: str
    end: str
    start_radius: float
    end_radius: float
    color: str
    nearer: float = 0.0  # in heights: so much nearer it counts, where it lies on another one


def _limbs() -> list[Limb]:
    found = [
        Limb("right_shoulder", "left_shoulder", 0.035, 0.035, "shirt"),
        Limb("neck", "root", 0.085, 0.07, "shirt"),
        Limb("right_shoulder", "right_hip", 0.04, 0.045, "shirt"),
        Limb("left_shoulder", "left_hip", 0.04, 0.045, "shirt"),
        Limb("right_hip", "left_hip", 0.05, 0.05, "trousers"),
        Limb("breast", "belly", 0.05, 0.045, "front"),
        Limb("neck", "upper_neck", 0.032, 0.03, "skin"),
        Limb("head", "head", 0.073, 0.073, "hair"),
        Limb("face", "face", 0.058, 0.058, "skin", 0.02),
    ]
    for side in ("right", "left"):
        found += [
            Limb(f"{side}_hip", f"{side}_knee", 0.048, 0.035, "trousers"),
            Limb(f"{side}_knee", f"{side}_ankle", 0.035, 0.024, "trousers"),
            Limb(f"{side}_heel", f"{side}_toe", 0.024, 0.02, "shoes"),
            Limb(f"{side}_shoulder", f"{side}_elbow", 0.034, 0.027, "shirt"),
            Limb(f"{side}_elbow", f"{side}_wrist", 0.026, 0.02, "skin"),
            Limb(f"{side}_wrist", f"{side}_hand", 0.022, 0.024, "skin"),
        ]
    return found


LIMBS = _limbs()
COLORS = tuple(dict.fromkeys(limb.color for limb in LIMBS))
SKIN = np.array([(244, 208, 177), (231, 180, 143), (210, 153, 108), (172, 112, 74), (120, 75, 48), (84, 52, 36)])
HAIR = np.array([(35, 28, 26), (70, 44, 28), (110, 72, 40), (160, 120, 60), (120, 116, 112)])


class Capsules(NamedTuple):
    """Capsules of one image, in the order in which they are drawn: `lines` has (x, y) of both ends and both radii, in
    pixels; colors are from 0 to 255."""

    lines: Float[np.ndarray, "capsules 6"]
    colors: Float[np.ndarray, "capsules 3"]

    def distances(self, points: Float[np.ndarray, "points 2"]) -> Float[np.ndarray, "points capsules"]:
        """How far each point is from each capsule's surface; below 0 inside."""
        return surface_distance(points[:, :1], points[:, 1:], self.lines.T)[0]


def surface_distance(x, y, line):
    """(distance from (x, y) to a capsule's surface, below 0 inside; its radius where its axis is nearest).

    line: (x, y) of one end, of the other, and their radii; numbers, or arrays that broadcast with x and y.
    """
    ax, ay, bx, by, start, end = line
    dx, dy = bx - ax, by - ay
    along = ((x - ax) * dx + (y - ay) * dy) / np.maximum(dx * dx + dy * dy, 1e-9)
    along = np.minimum(np.maximum(along, 0), 1)
    radius = start + along * (end - start)
    return np.hypot(x - ax - along * dx, y - ay - along * dy) - radius, radius


# ---------------------------------------------------------------------------------------------- what a camera sees
class View(NamedTuple):
    """Bodies as a camera sees them: points (bodies, 3) by name, x and y in pixels and z toward the camera."""

    points: dict[str, Float[np.ndarray, "bodies 3"]]
    scale: Float[np.ndarray, " bodies"]  # pixels of a body's height


def seen_by_cameras(body: Body, size: int, rng: np.random.Generator) -> View:
    """Bodies seen from anywhere around them, so large that they fill most of the image, and not quite in its middle."""
    count = len(body.height)
    yaw = about(1, rng.uniform(0, 2 * np.pi, count))
    pitch = about(0, np.deg2rad(np.clip(rng.normal(5, 12, count), -25, 35)))
    roll = about(2, np.deg2rad(np.clip(rng.normal(0, 6, count), -15, 15)))
    turn = rotations(roll) @ rotations(pitch) @ rotations(yaw)
    turned = {name: np.einsum("nij,nj->ni", turn, point) for name, point in body.points.items()}
    flat = np.stack([turned[point][:, :2] for point in JOINTS.values()], 1)
    least, most = flat.min(1), flat.max(1)
    extent = (most - least).max(-1)
    scale = np.minimum(size * rng.uniform(0.6, 0.85, count) / extent, size * 0.95 / body.height)
    middle = (least + most) / 2 - rng.uniform(-0.07, 0.07, (count, 2)) * size / scale[:, None]
    points = {}
    for name, point in turned.items():
        x, y = (point[:, :2] - middle).T * scale
        points[name] = np.stack([size / 2 + x, size / 2 - y, point[:, 2] * scale], -1)
    return View(points, scale * body.height)


# ---------------------------------------------------------------------------------------------- drawing
def draw(ground: np.ndarray, capsules: Capsules) -> None:
    """Draw capsules onto a ground (height, width, 3), float32, in place: soft edges, and darker toward the rims."""
    height, width, _ = ground.shape
    for line, color in zip(capsules.lines.tolist(), capsules.colors.astype(np.float32), strict=True):
        ax, ay, bx, by, start, end = line
        left, right = int(max(min(ax - start, bx - end) - 1, 0)), int(min(max(ax + start, bx + end) + 2, width))
        top, bottom = int(max(min(ay - start, by - end) - 1, 0)), int(min(max(ay + start, by + end) + 2, height))
        if left >= right or top >= bottom:
            continue
        x = np.arange(left, right, dtype=np.float32) + 0.5
        y = np.arange(top, bottom, dtype=np.float32)[:, None] + 0.5
        outside, radius = surface_distance(x, y, line)
        cover = np.minimum(np.maximum(0.5 - outside, 0), 1)
        rim = np.minimum(np.maximum(1 + outside / radius, 0), 1)  # 0 on the axis, 1 at the surface
        patch = ground[top:bottom, left:right]
        patch += cover[..., None] * ((1 - 0.45 * rim * rim)[..., None] * color - patch)


def figures(turns: Turns, size: int, rng: np.random.Generator) -> Poses:
    """Draw a figure for each of these turns, with all else drawn by chance."""
    count = len(turns)
    body = bodies(turns, rng.normal(1, 0.05, count), rng.uniform(0.85, 1.2, count))
    view = seen_by_cameras(body, size, rng)
    positions = np.stack([view.points[point][:, :2] for point in JOINTS.values()], 1)
    pixels = np.empty((count, 3, size, size), np.uint8)
    visibility = np.empty((count, len(JOINTS)), np.uint8)
    order, capsules = limbs_of(view, rng)
    for i in range(count):
        ground, before = scenery(size, rng)
        drawn = Capsules(*(part[i] for part in capsules))
        draw(ground, drawn)
        draw(ground, before)
        pixels[i] = np.round(ground.clip(0, 255)).astype(np.uint8).transpose(2, 0, 1)
        visibility[i] = np.where(hidden(positions[i], order[i], drawn, before), OCCLUDED, VISIBLE)
    torso = length(body, "left_shoulder", "right_hip") / body.height * view.scale
    head = length(body, "upper_neck", "head_top") / body.height * view.scale
    return Poses(pixels, positions.astype(np.float32), visibility, torso, head)


def length(body: Body, start: str, end: str) -> Float[np.ndarray, " bodies"]:
    """The distance of two points of each body."""
    return np.linalg.norm(body.points[end] - body.points[start], axis=-1)


def limbs_of(view: View, rng: np.random.Generator) -> tuple[Int64[np.ndarray, "bodies limbs"], Capsules]:
    """(the numbers of the limbs from the farthest to the nearest, their capsules in that order), of every body."""
    count = len(view.scale)
    ends = np.stack([np.stack([view.points[limb.start], view.points[limb.end]], 1) for limb in LIMBS], 1)
    radii = np.array([(limb.start_radius, limb.end_radius) for limb in LIMBS]) * view.scale[:, None, None]
    depth = ends[..., 2].mean(-1)
    palette = clothes(count, rng)
    colors = palette[:, [COLORS.index(limb.color) for limb in LIMBS]]
    far = np.clip(depth / view.scale[:, None], -0.25, 0.25)
    colors = colors * (0.85 + 0.6 * far)[..., None]
    nearness = depth + np.array([limb.nearer for limb in LIMBS]) * view.scale[:, None]
    order = np.argsort(nearness, axis=1, kind="stable")
    rows = np.arange(count)[:, None]
    lines = np.concatenate([ends[..., 0, :2], ends[..., 1, :2], radii], -1)
    return order, Capsules(lines[rows, order], colors[rows, order])


def clothes(count: int, rng: np.random.Generator) -> Float[np.ndarray, "bodies colors 3"]:
    """The colors of every figure, in the order of `COLORS`: the front of a shirt is lighter than the rest of it."""
    shirt = rng.uniform(20, 170, (count, 3))
    found = {
        "shirt": shirt,
        "front": shirt + 0.75 * (255 - shirt),
        "trousers": rng.uniform(20, 200, (count, 3)),
        "shoes": rng.uniform(10, 230, (count, 3)),
        "skin": SKIN[rng.integers(len(SKIN), size=count)],
        "hair": HAIR[rng.integers(len(HAIR), size=count)],
    }
    return np.stack([found[color] for color in COLORS], 1)


def scenery(size: int, rng: np.random.Generator) -> tuple[np.ndarray, Capsules]:
    """(a ground with patches and rods, float32; the capsules that are drawn before a figure, often none)."""
    base = rng.uniform(40, 215) + rng.normal(scale=35, size=3)
    coarse = base + rng.normal(scale=rng.uniform(5, 40), size=(5, 5, 3))
    ground = stretched(coarse.astype(np.float32), size)
    ground += rng.uniform(0, 8) * rng.standard_normal(ground.shape, np.float32)
    draw(ground, rods(rng.integers(2, 8), size, (0.01, 0.09), rng))
    return ground, rods(rng.choice(3, p=(0.6, 0.3, 0.1)), size, (0.03, 0.07), rng)


def rods(count: int, size: int, radii: tuple[float, float], rng: np.random.Generator) -> Capsules:
    """Capsules anywhere, of any color, their radii a share of the size."""
    start = rng.uniform(0, size, (count, 2))
    end = start + rng.normal(scale=0.35 * size, size=(count, 2))
    radius = size * rng.uniform(*radii, (count, 1))
    return Capsules(np.concatenate([start, end, radius, radius], 1), rng.uniform(0, 255, (count, 3)))


def stretched(coarse: np.ndarray, size: int) -> np.ndarray:
    """A grid (n, n, 3) resized to (size, size, 3), bilinearly."""
    at = np.linspace(0, len(coarse) - 1, size)
    weights = np.maximum(1 - np.abs(at[:, None] - np.arange(len(coarse))), 0).astype(coarse.dtype)
    return np.tensordot(weights, np.tensordot(weights, coarse, (1, 0)), (1, 1)).transpose(1, 0, 2).copy()


# ---------------------------------------------------------------------------------------------- what hides a joint
TRUNK = {"neck", "root", "right_shoulder", "left_shoulder", "right_hip", "left_hip", "breast", "belly"}
SPINE = {"neck", "root", "breast", "belly"}
HEAD = {"head", "face"}
AROUND = {
    "root": TRUNK,
    "neck": TRUNK | {"upper_neck"},
    "upper_neck": HEAD | {"neck", "root"},
    "head_top": HEAD,
    "right_hip": SPINE,
    "left_hip": SPINE,
    "right_ankle": {"right_heel", "right_toe"},
    "left_ankle": {"left_heel", "left_toe"},
}
"""Of joints that lie within other limbs than those that end there, the points between which these are."""


def _own() -> np.ndarray:
    """(joints, limbs): True for a limb that a joint belongs to, so that it does not hide the joint."""
    own = np.zeros((len(JOINTS), len(LIMBS)), bool)
    for j, point in enumerate(JOINTS.values()):
        for i, limb in enumerate(LIMBS):
            ends = {limb.start, limb.end}
            own[j, i] = point in ends or ends <= AROUND.get(point, set())
    return own


OWN = _own()


def hidden(
    positions: Float[np.ndarray, "joints 2"], order: Int64[np.ndarray, " limbs"], limbs: Capsules, before: Capsules
) -> np.ndarray:
    """(joints,): True where what is drawn last over a joint is no limb that it belongs to."""
    over = limbs.distances(positions) < 0
    last = order[len(order) - 1 - np.argmax(over[:, ::-1], axis=1)]
    other = over.any(1) & ~OWN[np.arange(len(positions)), last]
    return other | (before.distances(positions) < 0).any(1)


# ---------------------------------------------------------------------------------------------- data sets
def load_figures(motion: str, seed: int = 0, counts: dict[str, int] = COUNTS, size: int = SIZE) -> PoseSplits:
    """Figures in motion: "clips" or "ranges" of `motion.py`; dev and test have clips of their own.

    The same seed gives the same figures.  Raises what `read_clips` raises, and DataError where a part has no clip.
    """
    clips = read_clips() if motion == "clips" else {}
    held_out = {"dev": DEV_CLIPS, "test": TEST_CLIPS}
    parts = []
    for number, (part, count) in enumerate(counts.items()):
        rng = np.random.default_rng([seed, number])
        names = held_out.get(part) or [name for name in clips if name not in DEV_CLIPS + TEST_CLIPS]
        of_part = [clips[name] for name in names if name in clips]
        if clips and not of_part:
            example = names[0] if names else "humanoid3d_spin"
            raise DataError(
                f"the folder of the clips has none for {part}, such as {example}; hint: all clips of "
                "pybullet_data/data/motions"
            )
        parts.append(figures(between(of_part, count, rng) if clips else from_ranges(count, rng), size, rng))
    return PoseSplits(*parts, SKELETON)
