"""Heat maps of joints: targets, the quarter pixel, and the mean with the mirror image."""

import inspect
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minattn as ma
from minattn.autograd import ops
from minattn.errors import ConfigError, DataError, ShapeError
from minattn.models.pose.heat_maps import decode_heat_maps, flip_averaged, targets

SEEDS = st.integers(0, 2**32 - 1)


# ---------------------------------------------------------------------------------------------- targets
@given(SEEDS, st.sampled_from([0.5, 1.0, 1.75]))
def test_a_target_is_a_gaussian_around_the_joint(seed, sigma):
    rng = np.random.default_rng(seed)
    positions, labeled = rng.uniform(-3, 12, (2, 3, 2)), rng.random((2, 3)) < 0.7
    maps = targets(positions, labeled, (8, 9), sigma)
    assert maps.dtype == np.float32
    for n, j, y, x in np.ndindex(maps.shape):
        d = (x - math.floor(positions[n, j, 0])) ** 2 + (y - math.floor(positions[n, j, 1])) ** 2
        expected = math.exp(-d / (2 * sigma**2)) if labeled[n, j] else 0.0
        assert maps[n, j, y, x] == pytest.approx(expected, abs=1e-6)


def test_the_peak_is_one_and_the_sum_that_of_the_density():
    (map_,) = targets(np.array([[[20.3, 31.9]]]), np.array([[True]]), (64, 64))[0]
    assert map_.max() == map_[31, 20] == 1
    assert map_.sum() == pytest.approx(2 * math.pi, rel=1e-5)


def test_a_joint_without_a_label_may_have_any_place():
    positions = np.array([[[np.nan, np.inf], [1.0, 2.0]]])
    maps = targets(positions, np.array([[False, True]]), (4, 4))
    assert not maps[0, 0].any()
    assert maps[0, 1, 2, 1] == 1


# ---------------------------------------------------------------------------------------------- positions
@given(SEEDS)
def test_places_are_the_largest_number_and_a_quarter_toward_the_larger_neighbor(seed):
    maps = np.random.default_rng(seed).normal(size=(2, 3, 5, 6))
    found = decode_heat_maps(ma.tensor(maps))
    for n, j in np.ndindex(2, 3):
        score = maps[n, j]
        y, x = max(np.ndindex(score.shape), key=lambda place, score=score: score[place])
        expected = [x + 0.5, y + 0.5]
        if 0 < x < 5:
            expected[0] += 0.25 if score[y, x + 1] > score[y, x - 1] else -0.25
        if 0 < y < 4:
            expected[1] += 0.25 if score[y + 1, x] > score[y - 1, x] else -0.25
        assert found[n, j].tolist() == expected


@given(st.integers(0, 6), st.integers(0, 8))
def test_a_map_of_one_place_gives_that_place(row, column):
    maps = np.zeros((1, 1, 7, 9))
    maps[0, 0, row, column] = 1
    assert decode_heat_maps(ma.tensor(maps)).tolist() == [[[column + 0.5, row + 0.5]]]


@given(SEEDS)
def test_the_place_of_a_target_is_that_of_its_joint(seed):
    positions = np.random.default_rng(seed).uniform(0, 16, (2, 4, 2))
    maps = targets(positions, np.ones((2, 4), bool), (16, 16))
    np.testing.assert_array_equal(decode_heat_maps(ma.tensor(maps)), np.floor(positions) + 0.5)


# ---------------------------------------------------------------------------------------------- mirrors
@given(SEEDS)
def test_the_mean_with_the_mirror_image_is_mirrored_with_the_image(seed):
    rng = np.random.default_rng(seed)
    weight = rng.normal(size=(3, 2, 3, 3))
    joints = [0, 2, 1]  # a head, a left hand and a right one

    def network(images):
        return ops.conv2d(images, weight, padding=1)

    x = rng.normal(size=(2, 2, 5, 6))
    maps = flip_averaged(network, ma.tensor(x), joints).data
    mirrored = flip_averaged(network, ma.tensor(x[..., ::-1].copy()), joints).data
    np.testing.assert_allclose(mirrored, maps[:, joints][..., ::-1], rtol=1e-10, atol=1e-12)
    expected = (network(ma.tensor(x)).data + network(ma.tensor(x[..., ::-1].copy())).data[:, joints][..., ::-1]) / 2
    np.testing.assert_allclose(maps, expected, rtol=1e-10, atol=1e-12)


def test_the_maps_of_every_stack_are_averaged_as_those_of_one():
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(2, 3, 2, 3, 3))

    def network(images):
        return ops.stack([ops.conv2d(images, weight, padding=1) for weight in weights], axis=1)

    x = ma.tensor(rng.normal(size=(2, 2, 5, 6)))
    maps = flip_averaged(network, x, [0, 2, 1]).data
    for stack in range(2):
        alone = flip_averaged(lambda images, stack=stack: network(images)[:, stack], x, [0, 2, 1])
        np.testing.assert_array_equal(maps[:, stack], alone.data)


# ---------------------------------------------------------------------------------------------- refused
@pytest.mark.parametrize("joints", [[0, 1], [0, 1, 1], [1, 2, 0], [0, 1, 3]])
def test_joints_that_are_no_pairs_are_refused(joints):
    with pytest.raises(ConfigError, match="do not pair 3 joints; hint"):
        flip_averaged(lambda x: x, ma.tensor(np.zeros((1, 3, 2, 2))), joints)


def test_what_has_no_targets_and_no_places_is_refused():
    with pytest.raises(ConfigError, match=r"width of a target is 0\.0, expected a number above 0; hint: 1"):
        targets(np.zeros((1, 2, 2)), np.ones((1, 2), bool), (4, 4), 0.0)
    with pytest.raises(ShapeError, match=r"positions of shape \(1, 2, 2\) and labels of shape \(1, 3\) do not fit"):
        inspect.unwrap(targets)(np.zeros((1, 2, 2)), np.ones((1, 3), bool), (4, 4))
    with pytest.raises(ShapeError, match="no positions in maps of shape"):
        decode_heat_maps(ma.tensor(np.zeros((1, 2, 0, 4))))


def test_neighbors_are_compared_not_subtracted():
    """Equal ones that are -infinity move nothing; bytes do not wrap around."""
    masked = np.full((1, 1, 3, 3), -np.inf)
    masked[0, 0, 1, 1] = 9
    np.testing.assert_array_equal(decode_heat_maps(ma.tensor(masked)), [[[1.5, 1.5]]])
    counted = np.zeros((1, 1, 3, 3), np.uint8)
    counted[0, 0, 1] = [10, 200, 3]
    found = inspect.unwrap(decode_heat_maps)(ma.tensor(counted))
    np.testing.assert_array_equal(found, [[[1.25, 1.5]]])


@pytest.mark.parametrize("shape", [(0, 3), (2, 0)])
def test_no_images_and_no_joints_have_no_places(shape):
    assert decode_heat_maps(ma.tensor(np.zeros((*shape, 4, 4), np.float32))).shape == (*shape, 2)


def test_a_labeled_joint_has_a_place():
    positions, labeled = np.array([[[1.0, np.nan], [2.0, 2.0]]]), np.array([[True, True]])
    with pytest.raises(DataError, match="not finite; hint: label only joints"):
        targets(positions, labeled, (4, 4))
    assert np.isfinite(targets(positions, ~labeled, (4, 4))).all()
