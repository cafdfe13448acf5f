"""Bodies in motion: turns, where the joints are then, recorded clips, and ranges of angles."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minattn.data.pose import motion
from minattn.data.pose.motion import (
    HINGES,
    OFFSETS,
    RANGES,
    TURNS,
    about,
    between,
    bodies,
    clips_folder,
    from_ranges,
    mirrored,
    mirrored_name,
    product,
    read_clips,
    rotations,
)
from minattn.errors import DataError, MissingDependencyError

SEEDS = st.integers(0, 2**32 - 1)


def some_turns(seed, count=3):
    return np.random.default_rng(seed).normal(size=(count, len(TURNS), 4))


def standing(**turned):
    """One body of height 1 without turns but these quaternions."""
    turns = np.tile([1.0, 0, 0, 0], (1, len(TURNS), 1))
    for name, turn in turned.items():
        turns[0, TURNS.index(name)] = turn
    return {name: point[0] for name, point in bodies(turns, np.ones(1), np.ones(1)).points.items()}


# ---------------------------------------------------------------------------------------------- quaternions
@pytest.mark.parametrize(("axis", "before", "after"), [(0, 1, 2), (1, 2, 0), (2, 0, 1)])
def test_a_turn_by_90_degrees_takes_one_axis_to_the_next(axis, before, after):
    turned = rotations(about(axis, np.array(np.pi / 2))) @ np.eye(3)[before]
    np.testing.assert_allclose(turned, np.eye(3)[after], atol=1e-12)


@given(SEEDS)
def test_rotations_are_orthogonal_and_their_product_is_that_of_the_quaternions(seed):
    p, q = np.random.default_rng(seed).normal(size=(2, 5, 4))
    r = rotations(p)
    np.testing.assert_allclose(r @ r.transpose(0, 2, 1), np.tile(np.eye(3), (5, 1, 1)), atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(r), 1)
    np.testing.assert_allclose(rotations(product(p, q)), r @ rotations(q), atol=1e-12)


# ---------------------------------------------------------------------------------------------- bodies
def test_a_standing_body_faces_forward_with_its_right_on_the_right():
    points = standing()
    assert points["right_hip"][2] > 0 > points["left_hip"][2]
    assert points["head_top"][1] > points["upper_neck"][1] > points["neck"][1] > 0 > points["right_knee"][1]
    assert points["right_toe"][0] > points["right_heel"][0]
    assert points["face"][0] > points["head"][0]
    assert points["right_ankle"].tolist() == [*points["left_ankle"][:2], -points["left_ankle"][2]]


def test_knees_bend_backward_and_elbows_forward():
    bent = standing(right_knee=about(2, np.array(-1.0)), left_elbow=about(2, np.array(1.0)))
    assert bent["right_ankle"][0] < bent["right_knee"][0]
    assert bent["left_wrist"][0] > bent["left_elbow"][0]
    assert bent["left_ankle"].tolist() == standing()["left_ankle"].tolist()


@given(SEEDS)
def test_no_turn_changes_the_length_of_a_limb(seed):
    height, widths = np.random.default_rng(seed).uniform(0.5, 2, (2, 3))
    points = bodies(some_turns(seed), height, widths).points
    for name, (on, (x, y, z)) in OFFSETS.items():
        expected = height * np.sqrt(x**2 + y**2 + (z * widths) ** 2)
        np.testing.assert_allclose(np.linalg.norm(points[name] - points[on], axis=1), expected)


@given(SEEDS)
def test_the_body_in_a_mirror_is_the_mirrored_body(seed):
    turns = some_turns(seed)
    size = np.ones(3)
    points, others = bodies(turns, size, size).points, bodies(mirrored(turns), size, size).points
    for name, point in points.items():
        np.testing.assert_allclose(others[mirrored_name(name)], point * [1, 1, -1], atol=1e-12)
    np.testing.assert_array_equal(mirrored(mirrored(turns)), turns)


# ---------------------------------------------------------------------------------------------- clips
def write_clip(path, frames):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"Loop": "wrap", "Frames": frames}))


def a_frame(seed):
    return [0.03, *np.random.default_rng(seed).normal(size=43).tolist()]


def test_clips_are_read_from_a_folder_and_those_below_it_but_for_the_dog(tmp_path, monkeypatch):
    write_clip(tmp_path / "humanoid3d_walk.txt", [a_frame(0), a_frame(1)])
    write_clip(tmp_path / "walker" / "turn.txt", [a_frame(2)])
    (tmp_path / "laikago_walk.txt").write_text("{}")
    monkeypatch.setenv(motion.FOLDER, str(tmp_path))
    clips = read_clips()
    assert {name: clip.shape for name, clip in clips.items()} == {"humanoid3d_walk": (2, 13, 4), "turn": (1, 13, 4)}
    frame, turns = a_frame(1), clips["humanoid3d_walk"][1]
    assert turns[TURNS.index("root")].tolist() == frame[4:8]
    assert turns[TURNS.index("right_hip")].tolist() == frame[16:20]
    np.testing.assert_allclose(turns[TURNS.index("right_knee")], about(2, np.array(frame[20])))
    assert turns[TURNS.index("left_shoulder")].tolist() == frame[39:43]
    np.testing.assert_allclose(turns[TURNS.index("left_elbow")], about(2, np.array(frame[43])))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("no JSON", "is no clip"),
        ('{"frames": []}', "is no clip: 'Frames'"),
        ('{"Frames": [[1, 2, 3]]}', r"its frames are \(1, 3\), expected \(frames, 44\), finite; hint"),
        ('{"Frames": []}', r"its frames are \(0,\)"),
        ('{"Frames": ["x"]}', "is no clip"),
        (json.dumps({"Frames": [[float("nan")] * 44]}), r"\(1, 44\), expected \(frames, 44\), finite"),
    ],
)
def test_what_is_no_clip_is_refused(content, says, tmp_path):
    (tmp_path / "a.txt").write_text(content)
    with pytest.raises(DataError, match=says):
        read_clips(tmp_path)


def test_without_clips_the_error_says_where_they_are(tmp_path, monkeypatch):
    with pytest.raises(DataError, match=r"there are no clips in .*; expected \*.txt; hint"):
        read_clips(tmp_path)
    monkeypatch.delenv(motion.FOLDER, raising=False)
    monkeypatch.setattr(motion, "find_spec", lambda _: None)
    assert clips_folder() is None
    with pytest.raises(MissingDependencyError, match=r"pip install pybullet \(or --data ranges\)"):
        read_clips()


@given(SEEDS)
def test_between_two_frames_turns_are_between_theirs(seed):
    """Also where the quaternions of the frames have other signs, which are the same turns."""
    angles = np.random.default_rng(seed).uniform(-1, 1, (2, len(TURNS)))
    clip = about(2, angles)
    clip[1] *= np.random.default_rng(seed).choice([-1, 1], (len(TURNS), 1))
    (found,) = between([clip], 1, np.random.default_rng(seed))
    w, z = (found / np.linalg.norm(found, axis=-1, keepdims=True))[:, [0, 3]].T
    angle = 2 * np.arctan2(z, w)
    angle = (angle + np.pi) % (2 * np.pi) - np.pi
    assert (angle >= angles.min(0) - 1e-9).all()
    assert (angle <= angles.max(0) + 1e-9).all()
    share = (angle - angles[0]) / (angles[1] - angles[0])
    assert np.ptp(share) < 0.03  # all joints are at the same moment, up to the difference of arc and chord


def test_a_clip_of_one_frame_is_that_frame():
    clip = some_turns(0, 1)
    np.testing.assert_array_equal(between([clip], 2, np.random.default_rng(0)), np.repeat(clip, 2, 0))


# ---------------------------------------------------------------------------------------------- ranges
def test_angles_are_within_their_ranges_and_near_what_is_usual():
    turns = from_ranges(500, np.random.default_rng(0))
    np.testing.assert_allclose(np.linalg.norm(turns, axis=-1), 1)
    for name in HINGES:
        least, usual, most = RANGES[mirrored_name(name) if name.startswith("left") else name][0]
        w, z = turns[:, TURNS.index(name)][:, [0, 3]].T
        angle = np.rad2deg(2 * np.arctan2(z, w))
        assert least <= angle.min() < angle.max() <= most
        assert abs(angle.mean() - (least + usual + most) / 3) < 5  # of a triangular distribution


def test_left_limbs_move_as_right_ones_do():
    points = bodies(from_ranges(4000, np.random.default_rng(0)), np.ones(4000), np.ones(4000)).points
    for name in ("right_wrist", "right_ankle"):
        right, left = points[name], points[mirrored_name(name)] * [1, 1, -1]
        np.testing.assert_allclose(right.mean(0), left.mean(0), atol=0.02)
        assert right[:, 2].mean() > 0.05  # outward, not through the body
