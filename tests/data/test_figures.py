"""Drawn people: labels agree with pixels, mirrors with mirrored bodies, and the same seed gives the same figures."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minattn.data.pose import figures as drawn
from minattn.data.pose import motion
from minattn.data.pose.dataset import OCCLUDED, VISIBLE
from minattn.data.pose.figures import (
    JOINTS,
    LIMBS,
    OWN,
    SKELETON,
    Capsules,
    View,
    draw,
    figures,
    hidden,
    limbs_of,
    load_figures,
    seen_by_cameras,
    surface_distance,
)
from minattn.data.pose.motion import TURNS, bodies, from_ranges, mirrored_name
from minattn.errors import DataError

SEEDS = st.integers(0, 2**32 - 1)
NOTHING = Capsules(np.zeros((0, 6)), np.zeros((0, 3)))


def a_view(seed, count=1, size=256):
    rng = np.random.default_rng(seed)
    body = bodies(from_ranges(count, rng), np.ones(count), np.ones(count))
    return seen_by_cameras(body, size, rng)


def positions_of(view):
    return np.stack([view.points[point][:, :2] for point in JOINTS.values()], 1)


def in_mirror(view, size):
    """The view of the mirrored body."""
    return View(
        {mirrored_name(name): point * [-1, 1, 1] + [size, 0, 0] for name, point in view.points.items()}, view.scale
    )


# ---------------------------------------------------------------------------------------------- what a camera sees
def test_who_stands_is_seen_upright_and_who_faces_the_camera_has_the_right_on_the_left():
    count = 50
    turns = np.tile([1.0, 0, 0, 0], (count, len(TURNS), 1))
    body = bodies(turns, np.ones(count), np.ones(count))
    points = seen_by_cameras(body, 64, np.random.default_rng(0)).points
    assert (points["head_top"][:, 1] < points["root"][:, 1]).all()  # y goes down
    assert (points["root"][:, 1] < points["right_ankle"][:, 1]).all()
    facing = points["face"][:, 2] - points["head"][:, 2]  # z goes toward the camera
    clear = np.abs(facing) > 1  # pixel: not from the side
    assert clear.sum() > 20
    assert 10 < (facing > 0).sum() < 40
    np.testing.assert_array_equal((points["right_hip"][:, 0] < points["left_hip"][:, 0])[clear], facing[clear] > 0)


def test_what_is_nearer_is_drawn_later():
    view = a_view(0, 20)
    order, _ = limbs_of(view, np.random.default_rng(0))
    middles = np.stack([(view.points[limb.start] + view.points[limb.end])[:, 2] / 2 for limb in LIMBS], 1)
    nearness = middles + np.array([limb.nearer for limb in LIMBS]) * view.scale[:, None]
    assert (np.diff(np.take_along_axis(nearness, order, 1)) >= 0).all()


# ---------------------------------------------------------------------------------------------- capsules
@given(SEEDS)
def test_the_distance_to_a_capsule_is_that_to_the_nearest_ball_of_it(seed):
    """A capsule is a row of balls from one end to the other; the axis is divided as the distance to it says."""
    rng = np.random.default_rng(seed)
    line = [*rng.uniform(0, 10, 4), *np.repeat(rng.uniform(0.5, 2), 2)]  # of one radius, so that this is exact
    x, y = rng.uniform(-5, 15, 2)
    found, radius = surface_distance(x, y, line)
    along = np.linspace(0, 1, 4001)
    balls = np.hypot(x - line[0] - along * (line[2] - line[0]), y - line[1] - along * (line[3] - line[1]))
    assert found == pytest.approx(balls.min() - line[4], abs=5e-3)
    assert radius == pytest.approx(line[4])


def test_a_ball_is_drawn_as_large_as_it_is_with_a_soft_edge():
    ground = np.zeros((20, 30, 3), np.float32)
    draw(ground, Capsules(np.array([[12.0, 9, 12, 9, 5, 5]]), np.array([[100.0, 200, 50]])))
    cover = ground[..., 1] > 0
    assert ground[8, 11].tolist() == pytest.approx([100, 200, 50], rel=0.01)
    assert abs(cover.sum() - np.pi * 5.5**2) < 8  # half a pixel of edge beyond the radius
    assert ground[9, 12].max() > ground[9, 15].max() > ground[9, 16].max() > 0 == ground[9, 17].max()
    assert ground[cover][:, 0] * 2 == pytest.approx(ground[cover][:, 1])  # shade, and no other color


def test_what_lies_beyond_the_image_is_no_trouble():
    ground = np.zeros((8, 8, 3), np.float32)
    draw(ground, Capsules(np.array([[-50.0, 3, -40, 3, 2, 2], [3, 90, 3, 95, 2, 2]]), np.full((2, 3), 255.0)))
    assert not ground.any()
    draw(ground, Capsules(np.array([[-50.0, 3, 60, 3, 2, 2]]), np.full((1, 3), 255.0)))
    assert ground[3].all()


# ---------------------------------------------------------------------------------------------- labels
@given(SEEDS)
def test_a_visible_joint_has_the_color_of_its_limb_and_an_occluded_one_that_of_another(seed):
    """Limbs in colors of directions far apart, which shade does not change, and joints a pixel from every edge."""
    view = a_view(seed)
    (order,), capsules = limbs_of(view, np.random.default_rng(0))
    directions = np.random.default_rng(1).dirichlet(np.ones(3), 4000)
    chosen = [0]
    while len(chosen) < len(LIMBS):  # the farthest from those that are chosen
        chosen.append(int(np.min([np.abs(directions - directions[c]).sum(1) for c in chosen], 0).argmax()))
    colors = 255 * directions[chosen]
    limbs = Capsules(capsules.lines[0], colors[order])
    ground = np.zeros((256, 256, 3), np.float32)
    draw(ground, limbs)
    positions = positions_of(view)[0]
    covered = hidden(positions, order, limbs, NOTHING)
    clear = (np.abs(limbs.distances(positions)) > 1).all(1)
    checked = 0
    for j in np.flatnonzero(clear):
        x, y = positions[j].astype(int)
        if not (0 <= x < 256 and 0 <= y < 256):
            continue
        pixel = ground[y, x] / ground[y, x].sum()
        nearest = int(np.abs(directions[chosen] - pixel).sum(1).argmin())
        assert OWN[j, nearest] == (not covered[j]), (list(JOINTS)[j], LIMBS[nearest])
        checked += 1
    assert checked > 3


def test_a_rod_before_a_figure_hides_what_is_behind_it():
    view = a_view(0)
    (order,), capsules = limbs_of(view, np.random.default_rng(0))
    positions, limbs = positions_of(view)[0], Capsules(capsules.lines[0], capsules.colors[0])
    free = np.flatnonzero(~hidden(positions, order, limbs, NOTHING))
    assert len(free)
    x, y = positions[free[0]]
    rod = Capsules(np.array([[x - 3, y, x + 3, y, 2, 2]]), np.zeros((1, 3)))
    assert hidden(positions, order, limbs, rod)[free[0]]


def test_both_visible_and_occluded_joints_are_drawn_and_figures_fill_their_images():
    rng = np.random.default_rng(0)
    poses = figures(from_ranges(60, rng), 64, rng)
    assert set(np.unique(poses.visibility)) == {OCCLUDED, VISIBLE}
    assert 0.6 < (poses.visibility == VISIBLE).mean() < 0.95
    assert poses.inside.mean() > 0.97
    extent = (poses.positions.max(1) - poses.positions.min(1)).max(1)
    assert (extent < 64 * 0.86).all()
    assert np.median(extent) > 64 * 0.55
    lengths = np.linalg.norm(poses.positions[:, 8] - poses.positions[:, 9], axis=-1)  # as seen, never longer than it is
    assert (lengths <= poses.head * 1.0001).all()


@given(SEEDS)
def test_the_figure_of_a_mirrored_body_is_the_mirrored_figure(seed):
    view = a_view(seed, size=64)
    drawings, covered = [], []
    for each in (view, in_mirror(view, 64)):
        order, capsules = limbs_of(each, np.random.default_rng(0))
        ground = np.zeros((64, 64, 3), np.float32)
        limbs = Capsules(capsules.lines[0], capsules.colors[0])
        draw(ground, limbs)
        drawings.append(ground)
        covered.append(hidden(positions_of(each)[0], order[0], limbs, NOTHING))
    np.testing.assert_allclose(drawings[1][:, ::-1], drawings[0], atol=0.05)
    np.testing.assert_array_equal(covered[1][list(SKELETON.mirrored)], covered[0])


def test_the_skeleton_has_the_joints_of_mpii_in_pairs():
    assert len(SKELETON.joints) == 16
    for joint, other in enumerate(SKELETON.mirrored):
        assert SKELETON.joints[other] == mirrored_name(SKELETON.joints[joint])
    assert len(SKELETON.limbs) == 15
    assert {joint for limb in SKELETON.limbs for joint in limb} == set(range(16))


# ---------------------------------------------------------------------------------------------- data sets
FEW = {"train": 6, "dev": 3, "test": 4}


def test_the_same_seed_gives_the_same_figures_and_another_gives_others():
    one, same, other = (load_figures("ranges", seed, FEW, 32) for seed in (0, 0, 1))
    assert one.fingerprints() == same.fingerprints()
    assert all(a != b for a, b in zip(one.fingerprints().values(), other.fingerprints().values(), strict=True))
    assert [len(part) for part in one] == [6, 3, 4]
    assert one.train.shape == (3, 32, 32)
    assert len(set(one.fingerprints().values())) == 3


def test_dev_and_test_have_clips_of_their_own(monkeypatch):
    names = ("other", *motion.DEV_CLIPS, *motion.TEST_CLIPS)
    clips = {name: np.full((2, 13, 4), number + 1.0) for number, name in enumerate(names)}
    drawn_from = []
    monkeypatch.setattr(drawn, "read_clips", lambda: clips)
    monkeypatch.setattr(drawn, "between", lambda found, *_: drawn_from.append({c[0, 0, 0] for c in found}))
    monkeypatch.setattr(drawn, "figures", lambda *_: None)
    monkeypatch.setattr(drawn, "PoseSplits", lambda *_: None)
    load_figures("clips", 0, FEW)
    assert drawn_from == [{1.0}, {2.0, 3.0, 4.0}, {5.0, 6.0, 7.0, 8.0, 9.0}]


def test_a_folder_without_the_clips_of_a_part_is_refused(monkeypatch):
    monkeypatch.setattr(drawn, "read_clips", lambda: {"humanoid3d_spin": np.ones((2, 13, 4))})
    with pytest.raises(DataError, match="has none for dev, such as humanoid3d_punch; hint"):
        load_figures("clips", 0, FEW, 32)
    monkeypatch.setattr(drawn, "read_clips", lambda: {"humanoid3d_jump": np.ones((2, 13, 4))})
    with pytest.raises(DataError, match="has none for train, such as humanoid3d_spin; hint"):
        load_figures("clips", 0, FEW, 32)
