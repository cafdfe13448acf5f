"""Figures of poses: what is drawn where, in which color, and what is refused."""

import numpy as np
import pytest

from minattn.data.pose.dataset import OCCLUDED, VISIBLE, Skeleton
from minattn.errors import ShapeError
from minattn.viz.poses import LEFT, MIDDLE, RIGHT, Row, draw_joint_maps, draw_skeletons, draw_stacks, side_color

pytest.importorskip("matplotlib")

SKELETON = Skeleton.of(["head", "left_hand", "right_hand"], [("head", "left_hand"), ("head", "right_hand")])


def images(count, side=16):
    return np.random.default_rng(0).random((count, 3, side, side))


def positions(count, side=16):
    return np.random.default_rng(1).uniform(0, side, (count, 3, 2))


def texts(figure):
    return [text.get_text() for text in figure.texts]


def test_sides_have_colors():
    assert side_color("left_hand") == side_color("L-ear", "nose") == LEFT
    assert side_color("right_hip", "pelvis") == side_color("r_hip") == RIGHT
    assert side_color("head") == side_color("left_hip", "right_hip") == MIDDLE


def test_skeletons_are_drawn_where_the_joints_are():
    found = positions(5)
    found[1, 2] = np.nan
    figure = draw_skeletons([Row("found", images(3), found[:3]), Row("true", images(2), found[3:])], SKELETON)
    assert len(figure.axes) == 5
    assert texts(figure) == ["found", "true"]
    for i, axes in enumerate(figure.axes):
        assert (axes.get_xlim(), axes.get_ylim()) == ((0, 16), (16, 0))
        lines = axes.get_lines()
        assert len(lines) == 4  # two limbs, each on a wider white line
        np.testing.assert_array_equal(lines[1].get_xydata(), found[i, [0, 1]])
        assert (lines[1].get_color(), lines[3].get_color()) == (LEFT, RIGHT)
        np.testing.assert_allclose(axes.collections[0].get_offsets().filled(np.nan), found[i])
    tops = [axes.get_position().y1 for axes in figure.axes]
    assert tops[0] == tops[2] > tops[3] == tops[4]


def test_every_joint_has_a_map_with_its_name():
    maps = np.random.default_rng(0).random((3, 4, 4))
    figure = draw_joint_maps(images(1)[0], maps, positions(1)[0], SKELETON)
    assert texts(figure) == ["predicted", "head", "left hand", "right hand"]
    assert [len(axes.get_lines()) for axes in figure.axes] == [4, 0, 0, 0]
    first, second = (axes.images[0].get_array() for axes in figure.axes[1:3])
    assert not np.array_equal(first, second)


def test_stacks_stand_side_by_side_with_the_maps_of_the_joint_that_gained_most():
    truth = positions(2)
    found = np.stack([truth.copy(), truth.copy()])
    found[0, 0, 2, 0] += 5  # the first stack misses the right hand of one body, and the head of the other
    found[0, 1, 0, 1] -= 4
    visibility = np.array([[VISIBLE, VISIBLE, OCCLUDED], [VISIBLE, VISIBLE, VISIBLE]])
    maps = np.random.default_rng(0).random((2, 2, 3, 4, 4))
    figure = draw_stacks(images(2), found, maps, truth, visibility, SKELETON)
    assert len(figure.axes) == 2 * 5
    titles = ["true skeleton", "stack 1", "stack 2", "map of stack 1", "map of stack 2"]
    assert texts(figure) == [*titles, "right hand", "occluded", "head", "visible"]
    for row, joint in enumerate((2, 0)):
        for axes in figure.axes[5 * row : 5 * row + 5]:
            np.testing.assert_allclose(axes.collections[-1].get_offsets(), truth[row, [joint]])
    np.testing.assert_allclose(figure.axes[1].collections[0].get_offsets(), found[0, 0])


def test_what_does_not_fit_is_refused():
    with pytest.raises(
        ShapeError, match=r"images of shape \(2, 3, 16, 16\) and positions of shape \(1, 3, 2\) do not fit"
    ):
        draw_skeletons([Row("", images(2), positions(1))], SKELETON)
    with pytest.raises(ShapeError, match="do not fit"):
        draw_joint_maps(images(1)[0, :1], np.zeros((3, 4, 4)), positions(1)[0], SKELETON)
