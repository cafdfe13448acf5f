"""PCK and PCKh by hand."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minattn.training.pose_metrics import PCK, PCKH, correct_keypoints, distances


@given(st.integers(0, 2**32 - 1), st.sampled_from([PCK, PCKH]))
def test_the_score_is_the_mean_over_joints_of_the_share_that_is_near_enough(seed, share):
    rng = np.random.default_rng(seed)
    found, positions = rng.uniform(0, 10, (2, 6, 3, 2))
    scored, length = rng.random((6, 3)) < 0.7, np.where(rng.random(6) < 0.2, np.nan, rng.uniform(1, 30, 6))
    each = []
    for joint in range(3):
        counted = right = 0
        for body in range(6):
            if scored[body, joint] and not math.isnan(length[body]):
                counted += 1
                right += math.dist(found[body, joint], positions[body, joint]) <= share * length[body]
        each.append(100 * right / counted if counted else math.nan)
    scores = correct_keypoints(distances(found, positions), scored, length, share)
    np.testing.assert_allclose(scores.each, each)
    known = [value for value in each if not math.isnan(value)]
    assert scores.mean == pytest.approx(sum(known) / len(known) if known else math.nan, nan_ok=True)


@given(st.integers(0, 2**32 - 1))
def test_true_places_score_100_and_a_joint_half_a_head_away_0(seed):
    rng = np.random.default_rng(seed)
    positions, head = rng.uniform(0, 64, (4, 5, 2)), rng.uniform(3, 12, 4)
    everything = np.ones((4, 5), bool)
    assert correct_keypoints(distances(positions, positions), everything, head, PCKH).mean == 100
    moved = positions.copy()
    moved[:, 2, 0] += PCKH * head * 1.001
    scores = correct_keypoints(distances(moved, positions), everything, head, PCKH)
    assert scores.each.tolist() == [100, 100, 0, 100, 100]
    assert scores.mean == 80


def test_at_the_border_a_joint_is_right():
    scores = correct_keypoints(np.array([[2.0, 2.0000001]]), np.ones((1, 2), bool), np.array([10.0]), PCK)
    assert scores.each.tolist() == [100, 0]


def test_a_joint_that_was_moved_but_is_not_scored_counts_nothing():
    far = np.array([[0.0, 99.0], [0.0, np.inf]])
    scores = correct_keypoints(far, np.array([[True, False], [True, False]]), np.ones(2), PCK)
    assert scores.each[0] == scores.mean == 100
    assert np.isnan(scores.each[1])
