"""Bodies with joints: skeletons, what is refused, mirrors, and batches that are turned, enlarged and mirrored."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minattn.data.pose.batches import Changes, PoseBatches, evaluation_poses, in_unit, warped
from minattn.data.pose.dataset import OCCLUDED, UNLABELED, VISIBLE, Poses, PoseSplits, Skeleton, other_side
from minattn.errors import ConfigError, DataError

SEEDS = st.integers(0, 2**32 - 1)
SKELETON = Skeleton.of(["head", "left_hand", "right_hand"], [("head", "left_hand"), ("head", "right_hand")])


def some_poses(seed=0, count=7, size=(6, 8)):
    """Each joint is a pixel of its own color in a black image."""
    rng = np.random.default_rng(seed)
    height, width = size
    pixels = np.zeros((count, 3, *size), np.uint8)
    cells = np.stack([rng.permutation(height * width)[:3] for _ in range(count)])
    positions = np.stack([cells % width, cells // width], -1) + 0.5
    for joint in range(3):
        x, y = positions[:, joint].astype(int).T
        pixels[np.arange(count), joint, y, x] = 255
    visibility = rng.integers(0, 3, (count, 3)).astype(np.uint8)
    return Poses(pixels, positions, visibility, np.full(count, 3.0), np.full(count, 2.0))


# ---------------------------------------------------------------------------------------------- skeletons
@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("left_wrist", "right_wrist"),
        ("r_hip", "l_hip"),
        ("LEFT", "RIGHT"),
        ("Right Knee", "Left Knee"),
        ("LHip", "RHip"),
        ("leftHip", "rightHip"),
        ("LEFT_HIP", "RIGHT_HIP"),
        ("left upper-arm", "right upper-arm"),
        ("Leg", "Leg"),
        ("ear-left", "ear-right"),
        ("nose", "nose"),
        ("upright", "upright"),
    ],
)
def test_names_tell_the_sides(name, other):
    assert other_side(name) == other
    assert other_side(other) == name


def test_a_joint_whose_other_side_is_missing_is_its_own_mirror():
    assert Skeleton.of(["left_hand", "head"]).mirrored == (0, 1)
    assert SKELETON.mirrored == (0, 2, 1)
    assert SKELETON.limbs == ((0, 1), (0, 2))
    assert SKELETON.find("head", "right_hand") == [0, 2]
    assert SKELETON.find("head", "foot") is None


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (((), (), ()), "the joints are none; hint"),
        ((("a", "a"), (), (0, 1)), "the joints are a, a; hint: each name once"),
        ((("a", "b"), ((0, 2),), (0, 1)), r"connects the joints \(0, 2\); hint: two numbers from 0 to 1"),
        ((("a", "b"), (), (0, 0)), r"the mirrored joints \(0, 0\) do not pair 2 joints; hint"),
        ((("a", "b", "c"), (), (1, 2, 0)), "do not pair 3 joints"),
    ],
)
def test_impossible_skeletons_are_refused(arguments, says):
    with pytest.raises(ConfigError, match=says):
        Skeleton(*arguments)


# ---------------------------------------------------------------------------------------------- bodies
def test_a_joint_is_inside_where_it_has_a_label_and_lies_in_the_image():
    poses = some_poses(count=1)
    positions = np.array([[[7.99, 0.0], [8.0, 3.0], [1.0, 1.0]]])
    visibility = np.array([[VISIBLE, OCCLUDED, UNLABELED]], np.uint8)
    assert dataclasses.replace(poses, positions=positions, visibility=visibility).inside.tolist() == [
        [True, False, False]
    ]
    nowhere = dataclasses.replace(poses, positions=positions * [[[1], [1], [np.nan]]], visibility=visibility)
    assert nowhere.inside.tolist() == [[True, False, False]]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"pixels": np.zeros((7, 3, 6, 8))}, "the pixels are float64"),
        ({"pixels": np.zeros((7, 6, 8), np.uint8)}, r"of shape \(7, 6, 8\); expected uint8"),
        ({"positions": np.zeros((7, 2, 2))}, r"7 images have positions \(7, 2, 2\), labels \(7, 3\)"),
        ({"torso": np.zeros(6)}, r"torsos \(6,\)"),
        ({"positions": np.full((7, 3, 2), np.nan)}, "a position that is not finite; hint: label 0"),
    ],
)
def test_what_does_not_fit_is_refused(change, says):
    with pytest.raises(DataError, match=says):
        dataclasses.replace(some_poses(), **change)


def test_parts_of_other_sizes_or_joints_are_refused():
    poses = some_poses()
    with pytest.raises(DataError, match=r"the test images are \(3, 5, 8\), those to train on \(3, 6, 8\); hint"):
        PoseSplits(poses, poses, some_poses(size=(5, 8)), SKELETON)
    with pytest.raises(DataError, match="the train images have 3 joints, the skeleton 1; hint"):
        PoseSplits(poses, poses, poses, Skeleton.of(["head"]))


def test_the_fingerprint_is_of_pixels_and_labels():
    poses = some_poses()
    assert poses.fingerprint() == some_poses().fingerprint()
    others = [
        dataclasses.replace(poses, pixels=poses.pixels + np.uint8(1)),
        dataclasses.replace(poses, positions=poses.positions + 1),
        dataclasses.replace(poses, visibility=2 - poses.visibility),
        dataclasses.replace(poses, torso=poses.torso + 1),
    ]
    assert len({poses.fingerprint(), *(other.fingerprint() for other in others)}) == 5


@given(SEEDS)
def test_in_a_mirror_the_left_hand_is_the_right_one_and_lies_where_it_is_seen(seed):
    poses = some_poses(seed)
    mirror = poses.mirrored(SKELETON)
    for joint, other in enumerate((0, 2, 1)):
        x, y = mirror.positions[:, joint].astype(int).T
        assert (mirror.pixels[np.arange(7), other, y, x] == 255).all()  # the color of the joint on the other side
        np.testing.assert_array_equal(mirror.visibility[:, joint], poses.visibility[:, other])
    assert mirror.mirrored(SKELETON).fingerprint() == poses.fingerprint()


# ---------------------------------------------------------------------------------------------- changes
@given(SEEDS)
def test_an_image_that_is_neither_turned_nor_enlarged_stays_as_it_is(seed):
    images = np.random.default_rng(seed).random((2, 3, 5, 7), np.float32)
    same, matrices = warped(images, np.ones(2), np.zeros(2))
    np.testing.assert_allclose(same, images, atol=1e-6)
    np.testing.assert_allclose(matrices, np.tile(np.eye(2), (2, 1, 1)))


@given(SEEDS)
def test_a_turn_by_90_degrees_takes_the_right_down(seed):
    images = np.random.default_rng(seed).random((1, 2, 6, 6), np.float32)
    turned, matrices = warped(images, np.ones(1), np.array([np.pi / 2]))
    np.testing.assert_allclose(turned, np.rot90(images, -1, (2, 3)), atol=1e-5)
    np.testing.assert_allclose(matrices[0] @ [1, 0], [0, 1], atol=1e-12)  # (x, y), y down


@given(SEEDS, st.floats(0.6, 1.6), st.floats(-1, 1))
def test_what_is_seen_at_a_place_goes_where_the_matrix_takes_the_place(seed, scale, turn):
    """A broad hill, whose top is found as the mean position by brightness."""
    y, x = np.mgrid[:64, :64] + 0.5
    top = 32 + np.random.default_rng(seed).uniform(-8, 8, 2)
    images = np.exp(-((x - top[0]) ** 2 + (y - top[1]) ** 2) / 18)[None, None].astype(np.float32)
    turned, matrices = warped(images, np.array([scale]), np.array([turn]))
    weights = turned[0, 0] / turned[0, 0].sum()
    expected = matrices[0] @ (top - 32) + 32
    np.testing.assert_allclose([(weights * x).sum(), (weights * y).sum()], expected, atol=0.05)


def test_what_comes_from_beyond_the_image_is_black():
    smaller, _ = warped(np.ones((1, 1, 8, 8), np.float32), np.array([0.5]), np.zeros(1))
    assert smaller[0, 0, 3:5, 3:5].min() == pytest.approx(1)
    assert not smaller[0, 0, :1].any()


@pytest.mark.parametrize("change", [{"scale": -1.0}, {"rotation": np.nan}, {"color": np.inf}])
def test_impossible_changes_are_refused(change):
    with pytest.raises(ConfigError, match="must be a finite number of at least 0"):
        Changes(**change)


# ---------------------------------------------------------------------------------------------- batches
ALL = Changes(scale=0.25, rotation=30.0, color=0.4)


def test_an_epoch_has_every_body_once_and_goes_on_where_it_was_stopped():
    poses = some_poses(count=10)
    batches = PoseBatches(poses, SKELETON, 4, 0, ALL)
    epoch = list(batches.iterate(3))
    assert [len(batch.images) for batch in epoch] == [4, 3, 3]
    for batch, again in zip(epoch[1:], batches.iterate(3, start=1), strict=True):
        for array, same in zip(batch, again, strict=True):
            np.testing.assert_array_equal(array, same)
    plain = PoseBatches(poses, SKELETON, 4, 0, Changes(flip=False))
    images = np.concatenate([batch.images for batch in plain.iterate(0)])
    assert {image.tobytes() for image in images} == {image.tobytes() for image in in_unit(poses.pixels)}


def test_half_of_the_images_are_mirrored_with_their_joints():
    poses = some_poses(count=200)
    mirrored = 0
    for batch in PoseBatches(poses, SKELETON, 20, 0, Changes()).iterate(0):
        for image, positions in zip(batch.images, batch.positions, strict=True):
            colors = [image[:, int(y), int(x)].argmax() for x, y in positions]
            assert colors in ([0, 1, 2], [0, 2, 1])
            mirrored += colors == [0, 2, 1]
    assert 75 < mirrored < 125


def test_places_go_with_what_is_drawn_there():
    """Of images that are turned and enlarged, the brightest pixel of a joint's color is where the joint is."""
    count, size = 60, 33
    poses = some_poses(1, count, (size, size))
    pixels = np.zeros_like(poses.pixels)
    y, x = np.mgrid[:size, :size] + 0.5
    for body, joint in np.ndindex(count, 3):
        px, py = poses.positions[body, joint]
        pixels[body, joint] = np.round(255 * np.exp(-((x - px) ** 2 + (y - py) ** 2) / 4.5))
    poses = dataclasses.replace(poses, pixels=pixels)
    found = 0
    for batch in PoseBatches(poses, SKELETON, 10, 0, Changes(0.25, 30.0, 0.0, flip=False)).iterate(0):
        for image, positions in zip(batch.images, batch.positions, strict=True):
            for color, position in zip(image, positions, strict=True):
                if (position > 3).all() and (position < size - 3).all():
                    row, column = np.unravel_index(color.argmax(), color.shape)
                    assert np.hypot(*(position - (column + 0.5, row + 0.5))) < 1.1
                    found += 1
    assert found > 60


def test_colors_are_multiplied_and_labels_stay():
    poses = some_poses()
    (batch,) = PoseBatches(poses, SKELETON, 7, 0, Changes(color=0.4, flip=False)).iterate(0)
    bright = batch.images.max((2, 3))
    assert bright.min() >= 0.6
    assert bright.max() <= 1
    assert len(np.unique(bright)) > 7
    assert batch.labeled.sum() == (poses.visibility > 0).sum()


def test_a_batch_is_dealt_out_and_evaluation_changes_nothing():
    poses = some_poses()
    (batch, *rest) = evaluation_poses(poses, 5)
    assert [len(each.images) for each in (batch, *rest)] == [5, 2]
    np.testing.assert_array_equal(batch.images, in_unit(poses.pixels[:5]))
    np.testing.assert_array_equal(batch.positions, poses.positions[:5])
    parts = batch.split(2)
    assert [(len(part.images), share) for part, share in parts] == [(3, 0.6), (2, 0.4)]
    np.testing.assert_array_equal(parts[1][0].positions, poses.positions[1:5:2])
    with pytest.raises(ConfigError, match="batch size must be at least 1"):
        evaluation_poses(poses, 0)
