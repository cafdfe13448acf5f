"""The experiment on blocks of the Image Transformer: what it trains, what it leaves, and what it refuses."""

import json
import math
from importlib.util import find_spec

import pytest

from minattn.tasks.pixels.pixel_model import PixelModel

pytestmark = [
    pytest.mark.skipif(find_spec("PIL") is None, reason="needs the extra images"),
    pytest.mark.usefixtures("few_digits"),
]

NAME = "pixel_blocks.py"
SETTINGS = ("layers=1", "d_model=8", "d_ff=8", "heads=2", "levels=4", "mixtures=2")
FEW = (
    *("--data", "digits", "--images", "24", "--test", "6", "--seeds", "1", "--no-halve"),
    *(part for setting in SETTINGS for part in ("--set", setting)),
)


def test_rows_are_trained_once_and_tabulated_beside_what_needs_no_network(call, tmp_path):
    out = tmp_path / "out"
    assert "24 images to train on, 6 to test" in call(NAME, *FEW, "--out", out, "--rows", "1d-8", "mixture")
    found = json.loads((out / "blocks.json").read_text())
    assert [result["row"] for result in found["results"]] == ["1d-8", "mixture"]
    text = (out / "blocks.md").read_text()
    bits = f"{found['results'][0]['bits_per_dimension']:.2f}"
    assert f"| 1-D, blocks of 8 | {bits} | {bits} |" in text
    assert "| uniform |  | 2.00 |" in text
    assert (out / "blocks.png").stat().st_size
    before = (out / "1d-8-seed-1.json").stat().st_mtime_ns
    assert "blocks of 8x8" in call(NAME, *FEW, "--out", out, "--rows", "1d-8", "2d-8x8")
    assert (out / "1d-8-seed-1.json").stat().st_mtime_ns == before


def test_the_score_is_that_of_the_task(call, tmp_path, monkeypatch):
    monkeypatch.setattr(PixelModel, "mean_loss", lambda *_: 3 * math.log(2))
    call(NAME, *FEW, "--out", tmp_path, "--rows", "1d-8")
    (result,) = json.loads((tmp_path / "blocks.json").read_text())["results"]
    assert result["bits_per_dimension"] == pytest.approx(3)


def test_images_are_halved(call, tmp_path):
    assert "6 to test, 4 x 4, gray" in call(NAME, *FEW, "--halve", "--out", tmp_path, "--rows", "1d-8")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--rows", "1d-9"], "there is no row '1d-9'; hint: one of 1d-8"),
        (["--set", "query=3"], "the rows differ in"),
        (["--test", "61"], "--test must be in 1 to 60, the images to test on"),
    ],
)
def test_what_it_refuses(call, tmp_path, arguments, says):
    with pytest.raises(SystemExit, match=says):
        call(NAME, *FEW, "--out", tmp_path / "out", *arguments)
