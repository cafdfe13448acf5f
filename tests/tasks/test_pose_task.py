"""The pose task: its settings and data, its score by hand, what it finds, its figures, and what it refuses."""

import json
from importlib.util import find_spec

import fakecupy
import numpy as np
import pytest
from small_poses import SMALL, people, write_people

from minattn.autograd import Tensor, asnumpy
from minattn.data.pose.batches import PoseBatch
from minattn.data.pose.dataset import OCCLUDED, UNLABELED, VISIBLE, Poses, Skeleton
from minattn.data.pose.figures import SKELETON
from minattn.errors import CheckpointError, ConfigError, DataError
from minattn.models.pose.heat_maps import decode_heat_maps, flip_averaged, targets
from minattn.models.pose.hourglass import heat_map_loss
from minattn.tasks import driver
from minattn.tasks.images.task import ImageClassification
from minattn.tasks.pose import source as pose_source
from minattn.tasks.pose.estimator import PoseEstimator, PosePredictions
from minattn.tasks.pose.source import PoseSource
from minattn.tasks.pose.task import HEAT_MAPS, SKELETONS, STACKS, Pose, examples, most_gained, scores, square_of
from minattn.training import Progress, as_kind

pytestmark = pytest.mark.skipif(find_spec("PIL") is None, reason="needs the extra images")

TASK = Pose()


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return PoseSource(write_people(tmp_path_factory.mktemp("data")))


@pytest.fixture(scope="module")
def config(source):
    return TASK.configure(SMALL, source=source)


@pytest.fixture(scope="module")
def splits(source, config):
    return source.load(config)


@pytest.fixture(scope="module")
def run(source, config, tmp_path_factory):
    """The folder of a finished run, with figures."""
    folder = tmp_path_factory.mktemp("run") / "run"
    driver.start(TASK, config, source, folder, make_progress=Progress)
    return folder


def some_poses(positions, visibility, torso=10.0, head=4.0, size=64):
    count = len(positions)
    pixels = np.zeros((count, 3, size, size), np.uint8)
    return Poses(
        pixels, np.array(positions, float), np.array(visibility, np.uint8), np.full(count, torso), np.full(count, head)
    )


class Lines:
    """An `Output` that keeps what it is shown."""

    def __init__(self):
        self.lines = []

    def line(self, text):
        self.lines.append(text)


# ---------------------------------------------------------------------------------------------- settings and data
def test_photographs_have_the_papers_changes_and_figures_none(source):
    drawn, photographs = TASK.configure(source=PoseSource("ranges")), TASK.configure(source=source)
    assert (drawn.scale, drawn.rotation, drawn.color, drawn.flip) == (0, 0, 0, True)
    assert (photographs.scale, photographs.rotation, photographs.color, photographs.flip) == (0.25, 30, 0.4, True)
    assert drawn.network.size == 64
    published = TASK.configure(model="hourglass8", source=source)
    assert (published.network.size, published.batch_size, published.lr, published.scale) == (256, 6, 2.5e-4, 0.25)


def test_the_default_data_are_clips_where_they_are(monkeypatch, tmp_path):
    for folder, name in ((tmp_path, "clips"), (None, "ranges")):
        monkeypatch.setattr(pose_source, "clips_folder", lambda folder=folder: folder)
        assert PoseSource().known_as == name
        assert PoseSource().absolute() == PoseSource(name)  # a run that is resumed has the same ones
    assert PoseSource().name("train") == "figures from ranges"


def test_figures_are_drawn_as_large_as_the_network_takes_them(monkeypatch):
    asked = {}
    monkeypatch.setattr(pose_source, "load_figures", lambda motion, **more: asked.update(motion=motion, **more))
    PoseSource("ranges").load(TASK.configure(["order=2", "size=32"]))
    assert asked == {"motion": "ranges", "size": 32}


def test_data_that_are_not_there_are_refused(tmp_path, config, source):
    with pytest.raises(DataError, match="there is no folder clip; expected clips, ranges or a folder; hint: clips"):
        PoseSource("clip").load(config)
    with pytest.raises(ConfigError, match="the data have an empty name"):
        PoseSource("")
    with pytest.raises(CheckpointError, match="is inside the folder of the images"):
        source.check_run_folder(tmp_path.__class__(source.data) / "run")


def test_images_cannot_be_classified_by_an_hourglass():
    with pytest.raises(ConfigError, match="hourglass2 tells no classes of images apart; hint: minattn train pose"):
        ImageClassification().configure(model="hourglass2")
    assert "hourglass2" not in ImageClassification().models


def test_sizes_that_do_not_halve_are_refused():
    with pytest.raises(ConfigError, match="of order 4 do not take images of 96 x 96; hint: a size that is a multiple"):
        TASK.configure(["order=4", "size=96"])


# ---------------------------------------------------------------------------------------------- the loss
def test_the_loss_is_of_the_joints_that_have_labels(config, splits):
    predictor = PoseEstimator.of(config, splits)
    model = predictor.model.eval()
    images = splits.train.pixels[:2].astype(np.float32) / 255
    positions = splits.train.positions[:2].copy()
    labeled = splits.train.visibility[:2] > 0
    loss = predictor.loss(model, PoseBatch(images, positions, labeled)).item()
    wanted = targets(positions / 4, labeled, (4, 4))
    assert loss == heat_map_loss(model(Tensor(images)), Tensor(wanted), labeled=labeled).item()
    positions[~labeled] = np.nan  # whatever stands where there is no label
    assert predictor.loss(model, PoseBatch(images, positions, labeled)).item() == loss
    labeled = np.zeros_like(labeled)
    assert predictor.loss(model, PoseBatch(images, positions, labeled)).item() == 0


def test_a_joint_outside_of_its_image_is_to_be_found_nowhere(config, splits):
    predictor = PoseEstimator.of(config, splits)
    images, labeled = np.zeros((1, 3, 16, 16), np.float32), np.ones((1, 16), bool)
    outside = np.full((1, 16, 2), -500.0)
    maps = predictor.model.eval()(Tensor(images)).data
    loss = predictor.loss(predictor.model, PoseBatch(images, outside, labeled)).item()
    assert loss == pytest.approx((maps**2).mean((0, 2, 3, 4)).sum(), rel=1e-5)


def test_a_training_step_is_the_same_on_the_fake_gpu_and_waits_for_nothing(backend, config, splits):
    predictor = PoseEstimator.of(config, splits)
    batch = next(iter(predictor.batches(splits.train).iterate(0)))
    expected = predictor.loss(predictor.model, batch)
    expected.backward()
    there = PoseEstimator.of(config, splits)
    there.model.to(backend.device)
    with fakecupy.no_sync():
        loss = there.loss(there.model, batch)
        loss.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-4)
    for ours, theirs in zip(predictor.model.parameters(), there.model.parameters(), strict=True):
        np.testing.assert_allclose(asnumpy(theirs.grad), ours.grad, rtol=1e-2, atol=1e-4)


# ---------------------------------------------------------------------------------------------- the score
def test_joints_are_found_in_the_mean_of_both_maps_and_counted_in_pixels(run, splits):
    predictor = driver.load(run)
    found = predictor.predict_joints(splits.test)
    images = Tensor(splits.test.pixels.astype(np.float32) / 255)
    maps = flip_averaged(predictor.model.eval(), images, SKELETON.mirrored)
    for stack in range(2):
        np.testing.assert_allclose(found.positions[stack], 4 * decode_heat_maps(maps[:, stack]))
    alone = predictor.predict_joints(splits.test, single=True)
    np.testing.assert_allclose(alone.positions[1], 4 * decode_heat_maps(predictor.model(images)[:, 1]))
    assert not np.array_equal(alone.positions, found.positions)


def test_the_score_is_that_of_every_stack_by_hand():
    skeleton = Skeleton.of(["a", "b", "c"])
    poses = some_poses(
        [[[10, 10], [20, 20], [70, 5]], [[30, 30], [40, 40], [50, 50]]],
        [[VISIBLE, OCCLUDED, VISIBLE], [VISIBLE, VISIBLE, UNLABELED]],  # c: once outside, once without a label
    )
    first = poses.positions + [0, 3]  # 3 pixels: more than a fifth of the torso, 2, and than half of the head, 2
    last = poses.positions + [[[0, 0], [0, 2], [0, 0]], [[2.1, 0], [0, 0], [0, 0]]]
    found = scores(PosePredictions(np.stack([first, last]), 0.5), poses, skeleton.joints)
    assert found["stacks"][0] == {"pck": 0, "visible": 0, "occluded": 0, "pckh": 0}
    # a: 1 of 2, b: 2 of 2; visible: a 1 of 2, b 1 of 1; occluded: b 1 of 1
    assert found["stacks"][1] == {"pck": 75, "visible": 75, "occluded": 100, "pckh": 75}
    assert found["joints"] == {"a": 50, "b": 100, "c": None}
    assert found["joints_pckh"] == found["joints"]


def test_without_heads_there_is_no_pckh():
    poses = some_poses([[[10, 10]]], [[VISIBLE]], head=np.nan)
    found = scores(PosePredictions(poses.positions[None], 0.5), poses, ["a"])
    assert found["stacks"] == [{"pck": 100, "visible": 100, "occluded": None, "pckh": None}]
    assert TASK.summary({"pck": 100.0, "bodies": 1, "stacks": found["stacks"]}) == "PCK@0.2 100.00 % over 1 bodies"


def test_typical_bodies_are_shown_and_the_worst():
    truth = np.full((40, 1, 2), 20.0)
    poses = some_poses(truth, np.full((40, 1), VISIBLE))
    far = np.random.default_rng(0).permutation(40) / 4
    chosen = {name: 4 * far[rows] for name, rows in examples(truth + far[:, None, None] * [1, 0], poses).items()}
    assert sorted(chosen["typical"]) == [17, 18, 19, 20, 21, 22]
    assert chosen["the worst"].tolist() == [39, 38, 37, 36, 35, 34]
    few = examples(truth[:3], poses.at(slice(3)))
    assert {name: sorted(rows) for name, rows in few.items()} == {"typical": [0, 1, 2]}
    some = examples(truth[:8] + far[:8, None, None] * [1, 0], poses.at(slice(8)))
    assert [len(rows) for rows in some.values()] == [6, 1]


def test_the_bodies_that_the_last_stack_improves_most_are_shown():
    truth = np.full((6, 1, 2), 20.0)
    poses = some_poses(truth, np.full((6, 1), VISIBLE))
    first = truth + np.array([1, 6, 2, 5, 3, 4])[:, None, None] * [1, 0]
    assert most_gained(np.stack([first, truth]), poses).tolist() == [1, 3, 5, 4]


def test_bodies_that_the_model_cannot_take_or_score_are_refused(config, splits):
    predictor = PoseEstimator.of(config, splits)
    with pytest.raises(DataError, match=r"the photos: images of shape \(3, 64, 64\); hint: \(3, 16, 16\)"):
        predictor.check(some_poses(np.zeros((1, 16, 2)), np.ones((1, 16))), "the photos")
    with pytest.raises(DataError, match="the photos: 2 joints a body, the model predicts 16; hint: bodies with"):
        predictor.check(some_poses(np.zeros((1, 2, 2)), np.ones((1, 2)), size=16), "the photos")
    with pytest.raises(DataError, match="the photos: no body has a torso"):
        predictor.check(some_poses(np.zeros((1, 16, 2)), np.ones((1, 16)), torso=np.nan, size=16), "the photos")


# ---------------------------------------------------------------------------------------------- a run
def test_a_run_leaves_its_score_and_figures(run):
    report = json.loads((run / "report.json").read_text())
    assert set(report["figures"]) == {"curves.png", SKELETONS, HEAT_MAPS, STACKS}
    assert all((run / name).stat().st_size > 10_000 for name in report["figures"])
    assert len(report["test"]["stacks"]) == 2
    assert set(report["test"]["joints"]) == set(SKELETON.joints)
    assert report["test"]["pck"] == report["test"]["stacks"][-1]["pck"]
    assert "worst" in TASK.remarks(report)["by joint"]


def test_one_stack_has_no_figure_of_stacks(source, tmp_path):
    config = TASK.configure([*SMALL, "stacks=1"], source=source)
    driver.start(TASK, config, source, tmp_path / "run", make_progress=Progress)
    assert (tmp_path / "run" / HEAT_MAPS).exists()
    assert not (tmp_path / "run" / STACKS).exists()


def test_data_with_other_joints_are_not_scored(run, source, tmp_path):
    predictor = driver.load(run)
    assert len(TASK.read(predictor, f"{source.data}/people.json")) == 30
    assert len(TASK.read(predictor, source.data)) == 6
    write_people(tmp_path)
    content = people()[1]
    content["categories"][0]["keypoints"][0] = "tail"
    (tmp_path / "people" / "people.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"has the joints tail, .*; the model finds right_ankle"):
        TASK.read(predictor, str(tmp_path / "people"))


def test_predict_finds_the_joints_of_a_file_in_its_own_pixels(run, source, tmp_path):
    predictor, output = driver.load(run), Lines()
    plot = tmp_path / "found.png"
    TASK.predict(predictor, output, f"{source.data}/00.png", box="26,0,24,24", plot=plot)
    assert plot.stat().st_size > 10_000
    assert output.lines[-1] == f"skeleton and heat maps drawn into {plot}"
    pixels = square_of("26,0,24,24", 50, 24).cut(people()[0][0].transpose(2, 0, 1), 16)
    maps = predictor.maps(pixels[None])[0, -1]
    positions = 4 * decode_heat_maps(Tensor(maps[None]))[0] * 30 / 16 + (23, -3)  # the square: 30 pixels from there on
    for line, name, position, each in zip(output.lines, SKELETON.joints, positions, maps, strict=False):
        words = line.split()
        assert words[0] == name
        assert [float(words[2]), float(words[4])] == pytest.approx(position, abs=0.06)
        assert float(words[-1]) == pytest.approx(each.max(), abs=0.006)


@pytest.mark.parametrize("box", ["1,2,3", "a,b,c,d", "0,0,-1,5", "nan,0,5,5", "0,0,inf,5"])
def test_boxes_that_are_none_are_refused(box):
    with pytest.raises(ConfigError, match=r"--box is LEFT,TOP,WIDTH,HEIGHT in pixels, got .*; hint: such as"):
        square_of(box, 10, 10)


def test_without_a_box_all_of_the_image_is_seen():
    assert square_of(None, 30, 50) == (15, 25, 50)


# ---------------------------------------------------------------------------------------------- checkpoints
def test_a_skeleton_comes_back_from_its_checkpoint(config, splits):
    predictor = PoseEstimator.of(config, splits)
    meta = json.loads(json.dumps(predictor.meta()))
    assert as_kind(meta, Skeleton) == predictor.skeleton
    assert TASK.restored(predictor.config, meta).skeleton == predictor.skeleton


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"joints": 3}, "joints: expected array, got int"),
        ({"limbs": [1]}, r"limbs\[0\]: expected array, got int"),
        ({"mirrored": ["x"]}, r"mirrored\[0\]: expected int, got str"),
        ({"mirrored": list(range(1, 17))}, "do not pair 16 joints"),
        ({"joints": ["one"], "mirrored": [0], "limbs": []}, "the network is for 16 joints"),
    ],
)
def test_damaged_checkpoints_are_refused(change, says, config, splits):
    meta = PoseEstimator.of(config, splits).meta()
    with pytest.raises((CheckpointError, ConfigError), match=says):
        TASK.restored(config.fitted(16), meta | change)
