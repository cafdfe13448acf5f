"""The experiments with hourglasses: what they train and tabulate, what they read again, and what they refuse."""

import json
import runpy
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from small_poses import write_people

from minattn.tasks import driver
from minattn.tasks.pose.settings import MODELS

pytestmark = pytest.mark.skipif(find_spec("PIL") is None or find_spec("scipy") is None, reason="needs the extra images")

SUPERVISION, LSP = "hourglass_supervision.py", "hourglass_lsp.py"


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Small images, narrow networks, and no pictures, which take longer than all the rest."""
    monkeypatch.setattr(driver, "draw_figures", lambda *_: [])
    small = {"order": 1, "size": 16, "features": 8}
    for name, config in MODELS.items():
        network = type(config.network)(**vars(config.network) | small)
        monkeypatch.setitem(MODELS, name, type(config)(**vars(config) | {"network": network, "epochs": 1}))


@pytest.fixture
def people(tmp_path):
    return write_people(tmp_path)


# ---------------------------------------------------------------------------------------------- supervision
def test_every_network_is_trained_once_with_every_seed_and_tabulated(call, people, tmp_path):
    arguments = ("--data", people, "--out", tmp_path / "out", "--epochs", 1, "--seeds", 1, 2)
    output = call(SUPERVISION, *arguments)
    reports = sorted((tmp_path / "out").glob("*/report.json"))
    names = ["one_wide_stack", "two_stacks-final_supervision", "two_stacks-intermediate_supervision"]
    assert [path.parent.name for path in reports] == [f"{name}-seed-{seed}" for name in names for seed in (1, 2)]
    before = [path.stat().st_mtime_ns for path in reports]
    table = (tmp_path / "out" / "supervision.md").read_text()
    assert table in output
    lines = [line.split(" | ")[0].strip("| ") for line in table.splitlines()[2:]]
    assert lines == [
        "two stacks, intermediate supervision: stack 1",
        "two stacks, intermediate supervision: stack 2",
        "two stacks, final supervision: stack 1",
        "two stacks, final supervision: stack 2",
        "one wide stack",
    ]
    settings = json.loads((tmp_path / "out" / "two_stacks-final_supervision-seed-2" / "config.json").read_text())[
        "config"
    ]
    assert (settings["intermediate"], settings["seed"], settings["network"]["stacks"]) == (False, 2, 2)
    assert table in call(SUPERVISION, *arguments)
    assert [path.stat().st_mtime_ns for path in reports] == before


def test_a_line_has_the_mean_and_each_seed():
    functions = runpy.run_path(str(Path(__file__).parents[2] / "experiments" / SUPERVISION))
    stacks = [{"pck": 50.0 + i, "visible": 60.0 + i, "occluded": 30.0 + 2 * i} for i in range(4)]
    row = functions["Row"]("two", 1234, [stacks[:2], stacks[2:]])
    lines = functions["table"]([row]).splitlines()
    assert lines[0] == "| PCK@0.2, % | parameters | all joints | visible joints | occluded joints |"
    assert lines[2] == ("| two: stack 1 | 1,234 | 51.0 (50.0 52.0) | 61.0 (60.0 62.0) | 32.0 (30.0 34.0) |")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--seeds", 1, 1), "--seeds are different numbers from 0 on, got [1, 1]"),
        (("--seeds", -1), "--seeds are different numbers"),
        (("--epochs", 0), "epochs must be at least 1"),
        (("--data", "clip"), "clip; expected clips, ranges or a folder; hint: clips"),
    ],
)
def test_impossible_arguments_are_refused(refused, arguments, says, tmp_path):
    refused(SUPERVISION, "--out", tmp_path / "out", *arguments, says=says, folder=tmp_path)


# ---------------------------------------------------------------------------------------------- photographs
@pytest.fixture
def sports(tmp_path):
    """A folder as that of Leeds Sports Pose Extended: 20 images with 14 joints, some of them marked as not visible."""
    from PIL import Image
    from scipy.io import savemat

    rng = np.random.default_rng(0)
    (tmp_path / "sports" / "images").mkdir(parents=True)
    joints = np.concatenate([rng.uniform(5, 35, (14, 2, 20)), rng.random((14, 1, 20)) < 0.9], 1)
    for number in range(20):
        image = Image.fromarray(rng.integers(0, 255, (40, 44, 3), np.uint8))
        image.save(tmp_path / "sports" / "images" / f"im{number + 1:05}.jpg")
    savemat(tmp_path / "sports" / "joints.mat", {"joints": joints})
    return tmp_path / "sports"


def test_photographs_are_learned_from_their_labels(call, sports, tmp_path):
    output = call(LSP, "--data", sports, "--out", tmp_path / "out", "--test", 6, "--epochs", 2)
    table = (tmp_path / "out" / "lsp.md").read_text()
    assert table in output
    assert table.startswith("PCK@0.2 ")
    assert table.splitlines()[2] == "| PCK@0.2, % | network | mean position |"
    assert len(table.splitlines()) == 2 + 2 + 14 + 1
    labels = {part: json.loads((tmp_path / "out" / "labels" / f"{part}.json").read_text()) for part in ("train", "dev")}
    assert [len(each["images"]) for each in labels.values()] == [13, 1]
    from scipy.io import loadmat

    joints = loadmat(sports / "joints.mat")["joints"]
    for body, annotation in enumerate(labels["train"]["annotations"]):
        keypoints = np.array(annotation["keypoints"]).reshape(14, 3)
        labeled = joints[:, 2, body] > 0
        np.testing.assert_allclose(keypoints[labeled, :2], joints[labeled, :2, body])
        assert set(keypoints[labeled, 2]) == {2}
        assert not keypoints[~labeled].any()
        left, top, width, height = annotation["bbox"]
        x, y = keypoints[labeled, :2].T
        assert left < x.min() < x.max() < left + width
        assert top < y.min() < y.max() < top + height


def test_folders_that_are_none_are_refused(refused, sports, tmp_path):
    out = ("--out", tmp_path / "out")
    refused(LSP, *out, "--data", tmp_path, says="has no joints", folder=tmp_path)
    refused(LSP, *out, "--data", sports, "--test", 19, says="20 images and 20 bodies", folder=tmp_path)
    (sports / "images" / "im00001.jpg").unlink()
    refused(LSP, *out, "--data", sports, says="19 images and 20 bodies in joints.mat", folder=tmp_path)
