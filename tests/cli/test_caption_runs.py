"""`minattn train captions`, `evaluate` and `predict`, from a folder of images to the caption of one."""

from importlib.util import find_spec
from pathlib import Path

import pytest
from small_captions import SMALL, train_arguments, write_pictures

from minattn.tasks.files import read_json
from minattn.tasks.run_folder import REPORT

pytestmark = pytest.mark.skipif(
    find_spec("PIL") is None or find_spec("sacrebleu") is None, reason="needs the extra captions"
)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_pictures(tmp_path)
    return tmp_path


def test_a_run_from_its_start_to_the_caption_of_an_image(minattn, folder):
    result = minattn(*train_arguments("run", "epochs=30", "embedding=32", "hidden=32"))
    assert (result.status, result.err) == (0, "")
    assert "images: 21 train, 1 dev, 2 test; 24 x 24, gray, 2" in result.out
    assert result.out.endswith("minattn predict run IMAGE.png --plot FILE.png\n")
    report = read_json(Path("run", REPORT))
    assert report["figures"][0] == "curves.png"
    bleu = report["test"]["bleu"]
    assert minattn("evaluate", "run").out.startswith(f"BLEU-4 {bleu:.2f}, exact ")
    options = ("--beam", "1", "--likeliest", "--test", "pictures/captions.txt")
    assert "over 24 images" in minattn("evaluate", "run", *options).out

    found = minattn("predict", "run", "pictures/03.png", "pictures/04.png", "--plot", "found.png")
    assert (found.status, found.err) == (0, "")
    assert found.out.startswith("pictures/03.png  a square ")
    assert found.out.endswith("attention drawn into found.png\n")
    assert Path("found.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--data", "none"), "there is no folder or file"),
        (("--data", "sceens"), "sceens; expected scenes, or one; hint: scenes"),
        (("--data", "pictures", "--set", "encoder=resnet9"), "there is no encoder 'resnet9'; hint: small"),
        (
            ("--data", "pictures", "--set", "size=8"),
            "maps of 1 x 1 of these images, and attention has nothing to choose",
        ),
        (("--data", "pictures", "--set", "sampled=1.5"), "sampled must be in [0, 1]"),
        (("--data", "pictures", "--model", "firm"), "there is no model 'firm'; hint: one of soft, hard, none"),
        (("--data", "pictures", "--set", "attention=firm"), "attention must be one of soft, hard, none, got 'firm'"),
    ],
)
def test_what_cannot_be_trained_is_one_line(refused, folder, arguments, says):
    settings = [f"--set={setting}" for setting in SMALL if not setting.startswith("size")]
    size = [] if "size=8" in arguments else ["--set=size=24"]
    refused("train", "captions", "--out", "run", *settings, *size, *arguments, says=[says], folder=folder)


def test_what_cannot_be_described_is_one_line(minattn, refused, folder):
    minattn(*train_arguments("run", "model=none"))
    Path("broken.png").write_bytes(b"no image")
    for arguments, says in [
        (("none.png",), "there is no file none.png"),
        (("broken.png",), "broken.png cannot be read as an image"),
        (("pictures/00.png", "--plot", "found.png"), "no attention to plot; hint: a run with --model soft or hard"),
        (("pictures/00.png", "--plot", "found.txt"), "its name must end in"),
    ]:
        refused("predict", "run", *arguments, says=[says], folder=folder)
