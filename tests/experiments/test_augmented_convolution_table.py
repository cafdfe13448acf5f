"""The experiment on augmented convolutions: what it trains, what it leaves, and what it refuses."""

import json
from importlib.util import find_spec

import pytest

pytestmark = [
    pytest.mark.skipif(find_spec("PIL") is None, reason="needs the extra images"),
    pytest.mark.usefixtures("few_digits"),
]

NAME = "augmented_convolution.py"
FEW = ("--data", "digits", "--images", "24", "--test", "10", "--epochs", "1", "--seeds", "1", "--set", "batch_size=12")


def test_rows_are_trained_once_and_tabulated_with_the_heads(call, tmp_path):
    out = tmp_path / "out"
    text = call(NAME, *FEW, "--out", out, "--rows", "plain", "relative")
    assert "24 images to train on, 10 to test" in text
    results = json.loads((out / "augmented.json").read_text())["results"]
    assert [(result["row"], result["seed"]) for result in results] == [("plain", 1), ("relative", 1)]
    table = (out / "augmented.md").read_text()
    assert table.count("\n") == 4
    assert f"| ResNet-20 | {results[0]['parameters']:,} | {results[0]['accuracy']:.2f} |" in table
    assert (out / "augmented.png").stat().st_size
    before = (out / "relative-seed-1.json").stat().st_mtime_ns
    assert "attention alone" in call(NAME, *FEW, "--out", out, "--rows", "relative")
    assert (out / "relative-seed-1.json").stat().st_mtime_ns == before


def test_attention_everywhere_on_images_of_half_the_side(call, tmp_path):
    text = call(NAME, *FEW, "--halve", "--out", tmp_path, "--rows", "none_everywhere")
    assert "10 to test, 4 x 4, gray, 1 epochs" in text
    settings = json.loads((tmp_path / "none_everywhere-seed-1.json").read_text())["given"]["settings"]
    assert (settings["crop"], settings["network"]["both"], settings["network"]["stages"]) == (0, True, 3)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--rows", "absolute"], "there is no row 'absolute'; hint: one of plain"),
        (["--seeds", "0"], "--seeds must be at least 1"),
        (["--set", "heads=2"], "the rows differ in"),
        (["--images", "61"], "--images must be in 1 to 60, the images to train on"),
        (["--rows", "plain", "--only-seed", "2"], "there is no network to tabulate"),
    ],
)
def test_what_it_refuses(call, tmp_path, arguments, says):
    with pytest.raises(SystemExit, match=says):
        call(NAME, *FEW, "--out", tmp_path / "out", *arguments)
