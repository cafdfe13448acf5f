"""`minattn train pose`, `evaluate` and `predict`, from a folder of photographs to the joints of one."""

import json
from importlib.util import find_spec
from pathlib import Path

import pytest
from small_poses import SMALL, people, train_arguments, write_people

from minattn.data.pose import motion
from minattn.tasks.files import read_json
from minattn.tasks.run_folder import CONFIG, REPORT

pytestmark = pytest.mark.skipif(find_spec("PIL") is None, reason="needs the extra images")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_people(tmp_path)
    return tmp_path


def test_a_run_from_its_start_to_the_joints_of_an_image(minattn, folder):
    result = minattn(*train_arguments("run"))
    assert (result.status, result.err) == (0, "")
    assert "bodies: 22 train, 2 dev, 6 test; 16 x 16, 16 joints" in result.out
    assert result.out.endswith("minattn predict run IMAGE.png --plot FILE.png\n")
    report = read_json(Path("run", REPORT))
    assert report["figures"] == ["curves.png", "skeletons.png", "heat_maps.png", "stacks.png"]
    pck = report["test"]["pck"]
    assert minattn("evaluate", "run").out.startswith(f"PCK@0.2 {pck:.2f} % over 6 bodies; PCKh@0.5 ")
    assert "over 6 bodies" in minattn("evaluate", "run", "--single").out
    assert "over 30 bodies" in minattn("evaluate", "run", "--test", "people/people.json").out

    found = minattn("predict", "run", "people/03.png", "--box", "0,0,24,24", "--plot", "found.png")
    assert (found.status, found.err) == (0, "")
    assert found.out.count("height of the map") == 16
    assert found.out.startswith("right_ankle")
    assert Path("found.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--data", "none"), "none does not exist; expected a folder with images and a JSON file; hint"),
        (("--data", "rangs"), "rangs; expected clips, ranges or a folder; hint: ranges"),
        (
            ("--data", "people", "--set", "size=20"),
            "do not take images of 20 x 20; hint: a size that is a multiple of 8",
        ),
        (("--data", "people", "--set", "scale=-1"), "scale must be a number from 0 to 10, got -1.0"),
        (("--data", "people", "--set", "joints=3"), "there is no setting 'joints'"),
    ],
)
def test_what_cannot_be_trained_is_one_line(refused, folder, arguments, says):
    settings = [f"--set={setting}" for setting in SMALL if not setting.startswith("size")]
    size = [] if "size=20" in arguments else ["--set=size=16"]
    refused("train", "pose", "--out", "run", *settings, *size, *arguments, says=[says], folder=folder)


def test_bodies_without_a_torso_cannot_be_scored(refused, folder):
    content = people()[1]
    for annotation in content["annotations"]:
        annotation["keypoints"][6:9] = [0, 0, 0]  # the right hip
    Path("people", "people.json").write_text(json.dumps(content))
    refused(*train_arguments("run"), says=["the train bodies of ", "no body has a torso"], folder=folder)


def test_clips_that_are_not_there_are_one_line(refused, folder, monkeypatch):
    monkeypatch.delenv(motion.FOLDER, raising=False)
    monkeypatch.setattr(motion, "find_spec", lambda _: None)
    says = ["the recorded clips come with pybullet, which is not installed: pip install pybullet (or --data ranges)"]
    refused("train", "pose", "--out", "run", "--data", "clips", says=says, folder=folder)


def test_what_cannot_be_asked_is_one_line(minattn, folder):
    minattn(*train_arguments("run", "epochs=1"))
    assert read_json(Path("run", CONFIG))["source"]["data"] == str(folder / "people")
    for arguments, message in (
        (("none.png",), "there is no file none.png"),
        (("people/people.json",), "cannot be read as an image"),
        (("people/00.png", "--box", "1,2"), "--box is LEFT,TOP,WIDTH,HEIGHT in pixels, got '1,2'; hint"),
        (("people/00.png", "--box", "900,0,9,9"), "is no part of an image of 50 x 24; hint: a box in the image"),
        (("people/00.png", "--plot", "none/x.png"), "there is no folder none"),
    ):
        result = minattn("predict", "run", *arguments)
        assert result.status != 0
        assert message in result.err
        assert result.err.count("\n") == 1
