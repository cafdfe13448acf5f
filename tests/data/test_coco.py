"""Bodies in COCO's keypoint format: what is cut out and where the joints are there, and what is refused."""

import copy
import json
from importlib.util import find_spec

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_poses import COUNT, category, people, write_people

from minattn.data.pose.coco import Square, load_pose_folder, read_coco
from minattn.data.pose.figures import SKELETON
from minattn.errors import DataError

pytestmark = pytest.mark.skipif(find_spec("PIL") is None, reason="needs the extra images")


@pytest.fixture(scope="module")
def content():
    return people()[1]


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "people" if write_people(tmp_path) else None


def rewritten(folder, content, name="people.json"):
    (folder / name).write_text(json.dumps(content))
    return folder / name


def changed(content, **changes):
    """The content with other values of the first annotation."""
    found = copy.deepcopy(content)
    found["annotations"][0] |= changes
    return found


# ---------------------------------------------------------------------------------------------- squares
@given(st.integers(0, 2**32 - 1))
def test_places_go_into_a_square_and_back(seed):
    rng = np.random.default_rng(seed)
    square = Square.around(*rng.uniform(-10, 50, 2), *rng.uniform(1, 90, 2))
    positions = rng.uniform(-5, 70, (4, 2))
    np.testing.assert_allclose(square.back(square.into(positions, 32), 32), positions)


def test_a_square_is_a_quarter_larger_than_the_box_and_black_beyond_the_image():
    square = Square.around(2, 0, 4, 8)
    assert square == (4, 4, 10)
    cut = square.cut(np.full((3, 8, 8), 200, np.uint8), 10)
    assert cut.shape == (3, 10, 10)
    assert (cut[:, 1:9, 1:9] == 200).all()
    assert not cut[:, 0].any()
    assert not cut[:, :, 0].any()


@pytest.mark.parametrize("box", [(30, 0, 5, 5), (-9, 0, 5, 5), (0, 90, 9, 1), (0, 0, 30, 1), (0, 0, 1e9, 1)])
def test_squares_that_are_no_part_of_an_image_are_refused(box):
    with pytest.raises(DataError, match=r"a square of .* is no part of an image of 7 x 8; hint: a box in the image"):
        Square.around(*box).cut(np.zeros((3, 8, 7), np.uint8), 16)


# ---------------------------------------------------------------------------------------------- reading
def test_every_body_is_cut_out_of_its_image(folder, content):
    images, _ = people()
    found = read_coco(folder / "people.json", 30)  # 1.25 x 24: pixels stay pixels
    assert found.poses.pixels.shape == (COUNT, 3, 30, 30)
    assert found.images.tolist() == [body // 2 for body in range(COUNT)]
    assert found.skeleton.joints == tuple(content["categories"][0]["keypoints"])
    assert found.skeleton == SKELETON
    for body, annotation in enumerate(content["annotations"]):
        keypoints = np.array(annotation["keypoints"]).reshape(-1, 3)
        np.testing.assert_array_equal(found.poses.visibility[body], keypoints[:, 2])
        labeled = keypoints[:, 2] > 0
        left = annotation["bbox"][0]
        np.testing.assert_allclose(
            found.poses.positions[body][labeled], keypoints[labeled, :2] - (left - 3, -3), rtol=1e-5, atol=1e-4
        )
        picture = images[annotation["image_id"]]
        inside = found.poses.pixels[body][:, 3:27, 3:27]
        np.testing.assert_array_equal(inside.transpose(1, 2, 0), picture[:24, left : left + 24])


def test_torso_and_head_are_measured_where_both_ends_have_labels(folder):
    found = read_coco(folder / "people.json", 30)
    poses, joints = found.poses, list(found.skeleton.joints)
    for lengths, ends in ((poses.torso, ("left_shoulder", "right_hip")), (poses.head, ("upper_neck", "head_top"))):
        a, b = (joints.index(name) for name in ends)
        known = (poses.visibility[:, [a, b]] > 0).all(1)
        assert 0 < known.sum() < COUNT
        np.testing.assert_array_equal(np.isfinite(lengths), known)
        expected = np.linalg.norm(poses.positions[:, a] - poses.positions[:, b], axis=1)
        np.testing.assert_allclose(lengths[known], expected[known], rtol=1e-5)


def test_of_what_has_no_torso_the_larger_side_of_the_joints_box_is_taken(folder, content):
    hands = copy.deepcopy(content)
    hands["categories"] = [{"id": 1, "keypoints": ["thumb", "palm"]}]
    for annotation in hands["annotations"]:
        annotation["keypoints"] = [3, 4, 2, 6, 14, 1]
    poses = read_coco(rewritten(folder, hands), 30).poses
    np.testing.assert_allclose(poses.torso, 10)
    assert np.isnan(poses.head).all()


def test_crowds_other_categories_and_bodies_without_labels_are_passed_over(folder, content):
    found = copy.deepcopy(content)
    found["categories"].append({"id": 7, "name": "dog"})
    found["annotations"][0]["iscrowd"] = 1
    found["annotations"][1]["category_id"] = 7
    found["annotations"][2]["keypoints"] = [0] * 48
    assert len(read_coco(rewritten(folder, found), 30).poses) == COUNT - 3


def test_pairs_that_the_file_names_count(folder, content):
    found = copy.deepcopy(content)
    found["categories"][0]["flip_pairs"] = [[1, 2]]
    assert read_coco(rewritten(folder, found), 30).skeleton.mirrored == (1, 0, *range(2, 16))


def test_joints_may_lie_outside_of_the_image(folder, content):
    keypoints = [-5.0, 900.0, 2.0, *content["annotations"][0]["keypoints"][3:]]
    poses = read_coco(rewritten(folder, changed(content, keypoints=keypoints)), 30).poses
    assert poses.positions[0, 0].tolist() == [-2, 903]
    assert not poses.inside[0, 0]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"keypoints": [1, 2, 2]}, r"annotation 0 has 3 numbers of keypoints; hint: 48, x, y and v of 16 joints"),
        ({"keypoints": None}, "annotation 0 has 1 numbers of keypoints"),
        ({"keypoints": ["x"] * 48}, "has keypoints that are no numbers"),
        ({"keypoints": [1, 2, 3] * 16}, "has the label 3; hint: v = 0, 1 or 2"),
        ({"keypoints": [float("nan"), 2, 1] * 16}, "has a joint whose position is not finite; hint: v = 0"),
        ({"bbox": [0, 0, 0, 5]}, r"has the bbox \[0, 0, 0, 5\]; hint: left, top, width and height"),
        ({"bbox": [0, 0, float("inf"), 5]}, "has the bbox"),
        ({"bbox": None}, "has the bbox None"),
        ({"bbox": [0, 0, 10**400, 5]}, "has the bbox"),
        ({"keypoints": [10**400, 2, 1] * 16}, "has keypoints that are no numbers"),
        ({"image_id": [1]}, r"has image_id \[1\]; hint: one of the images"),
        (
            {"bbox": [900, 0, 9, 9]},
            "the annotation 0: a square of 11.25 pixels around 904.5, 4.5 is no part of an image",
        ),
        ({"image_id": 99}, "has image_id 99; hint: one of the images"),
    ],
)
def test_annotations_that_do_not_fit_are_refused(changes, says, folder, content):
    with pytest.raises(DataError, match=says):
        read_coco(rewritten(folder, changed(content, **changes)), 30)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"images": None}, "has no list of images"),
        ({"annotations": [1]}, "has no list of annotations"),
        ({"categories": []}, "has no categories with keypoints, expected one"),
        ({"categories": [category(), category()]}, "has 2 categories with keypoints"),
        ({"categories": [{"keypoints": "nose"}]}, "are no list of names"),
        ({"categories": [{"keypoints": ["nose", "nose"]}]}, "the joints are nose, nose; hint: each name once"),
        ({"categories": [{"keypoints": ["nose"], "skeleton": [[0, 1]]}]}, "the skeleton .* two numbers from 1 to 1"),
        ({"categories": [{"keypoints": ["nose"], "flip_pairs": [1]}]}, "the flip_pairs of its category"),
        ({"categories": [{"keypoints": ["nose"], "flip_pairs": False}]}, "the flip_pairs of its category"),
        ({"images": [{"id": [1], "file_name": "00.png"}]}, "has an image whose id is no number"),
        ({"annotations": []}, "has no body with a label on a joint"),
    ],
)
def test_files_that_are_not_in_the_format_are_refused(change, says, folder, content):
    with pytest.raises(DataError, match=says):
        read_coco(rewritten(folder, content | change), 30)


def test_files_that_cannot_be_read_are_refused(folder):
    (folder / "a.json").write_text("{")
    with pytest.raises(DataError, match="cannot be read: Expecting"):
        read_coco(folder / "a.json", 30)
    (folder / "a.json").write_text("[" * 200_000)
    with pytest.raises(DataError, match=r"cannot be read: .*recursion"):
        read_coco(folder / "a.json", 30)
    (folder / "a.json").write_text("[]")
    with pytest.raises(DataError, match="is no object"):
        read_coco(folder / "a.json", 30)
    with pytest.raises(DataError, match="there is no file"):
        read_coco(folder / "b.json", 30)
    (folder / "00.png").unlink()
    with pytest.raises(DataError, match=r"there is no file .*00\.png"):
        read_coco(folder / "people.json", 30)


# ---------------------------------------------------------------------------------------------- folders
def test_one_file_is_divided_by_images(folder):
    splits = load_pose_folder(folder, 30)
    assert [len(part) for part in splits] == [22, 2, 6]  # of 15 images 3 to test on, and 1 of the others
    whole = read_coco(folder / "people.json", 30)
    image_of = {pixels.tobytes(): image for pixels, image in zip(whole.poses.pixels, whole.images, strict=True)}
    train, dev, test = ({image_of[pixels.tobytes()] for pixels in part.pixels} for part in splits)
    assert not train & dev | train & test | dev & test
    assert len(train | dev | test) == 15
    assert load_pose_folder(folder, 30).fingerprints() == splits.fingerprints()


def test_files_of_the_parts_are_taken_as_they_are(folder, content):
    (folder / "people.json").unlink()
    rewritten(folder, content, "train.json")
    rewritten(folder, content | {"annotations": content["annotations"][:4]}, "test.json")
    assert [len(part) for part in load_pose_folder(folder, 30)] == [26, 4, 4]
    rewritten(folder, content | {"annotations": content["annotations"][:3]}, "dev.json")
    assert [len(part) for part in load_pose_folder(folder, 30)] == [30, 3, 4]


def test_parts_with_other_joints_are_refused(folder, content):
    rewritten(folder, content, "train.json")
    other = {"categories": [{"keypoints": ["nose"]}], "annotations": []}
    found = content | other
    found["annotations"] = [{"image_id": 0, "bbox": [0, 0, 9, 9], "keypoints": [1, 2, 2]}]
    rewritten(folder, found, "test.json")
    with pytest.raises(DataError, match=r"test\.json has 1 joints, .*train\.json has 16, or they have other names"):
        load_pose_folder(folder, 30)


def test_folders_that_cannot_be_used_are_refused(folder, content, tmp_path):
    with pytest.raises(DataError, match="does not exist; expected a folder"):
        load_pose_folder(tmp_path / "none", 30)
    with pytest.raises(DataError, match="is a file; expected a folder"):
        load_pose_folder(folder / "people.json", 30)
    rewritten(folder, content, "more.json")
    with pytest.raises(DataError, match=r"has 2 JSON files; expected train\.json and test\.json, or a single one"):
        load_pose_folder(folder, 30)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="has no JSON files"):
        load_pose_folder(tmp_path / "empty", 30)
