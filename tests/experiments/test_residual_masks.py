"""The experiment on residual attention: its rows, labels and images, what it leaves, and what it refuses."""

import json
import runpy
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
from shared import halved

from minattn.data.images import cifar
from minattn.data.images.dataset import Images
from minattn.tasks.images.classifier import Classifier

MASKS = "residual_attention.py"
QUICK = ("--images", 30, "--epochs", 1, "--narrow", 16, "--set", "batch_size=15", "--data")


@pytest.fixture
def folder(tmp_path):
    """A small CIFAR-10."""
    rng = np.random.default_rng(0)
    for name in (*cifar.TRAIN, cifar.TEST):
        pixels = rng.integers(256, size=(10, cifar.RECORD - 1), dtype=np.uint8)
        content = np.concatenate([np.arange(10, dtype=np.uint8)[:, None], pixels], axis=1)
        (tmp_path / name).write_bytes(content.tobytes())
    return tmp_path


def test_rows_are_trained_once_and_tabulated_with_those_that_were_there(call, folder, tmp_path, monkeypatch):
    out = tmp_path / "out"
    call(MASKS, *QUICK, folder, "--out", out, "--rows", "channel")
    assert not (out / "masks.png").exists()  # they are those of the first row
    call(MASKS, *QUICK, folder, "--out", out, "--seeds", 2, "--rows", "arl-1")
    output = call(MASKS, *QUICK, folder, "--out", out, "--seeds", 2, "--rows", "nal-1", "trunk-2", "--only-seed", 1)
    assert {path.name for path in out.glob("*-seed-*.json")} == {
        f"{name}.json" for name in ("arl-1-seed-1", "arl-1-seed-2", "channel-seed-1", "nal-1-seed-1", "trunk-2-seed-1")
    }
    results = {(r["row"], r["seed"]): r for r in json.loads((out / "residual.json").read_text())["results"]}
    assert set(results) == {("arl-1", 1), ("arl-1", 2), ("channel", 1), ("nal-1", 1), ("trunk-2", 1)}
    assert results["arl-1", 1]["parameters"] == results["nal-1", 1]["parameters"] > results["trunk-2", 1]["parameters"]
    assert [len(results[name, 1]["masks"]) for name in ("arl-1", "nal-1", "trunk-2")] == [3, 3, 0]
    assert all(0 < mean < 1 for mean in results["nal-1", 1]["masks"])
    markdown = (out / "residual.md").read_text(encoding="utf-8")
    assert markdown in output
    one, other = results["arl-1", 1]["accuracy"], results["nal-1", 1]["accuracy"]
    assert f"- ARL against NAL, m = 1: {one - other:+.2f} points ({one - other:+.2f})" in markdown
    assert "| trunk alone, m = 2 | " in markdown
    for name in ("residual.png", "masks.png"):
        assert (out / name).read_bytes().startswith(b"\x89PNG")

    monkeypatch.setattr(Classifier, "loss", None)  # what training needs
    assert markdown in call(MASKS, *QUICK, folder, "--out", out, "--seeds", 2, "--rows", "arl-1", "channel")
    with pytest.raises(SystemExit, match=r"arl-1-seed-1.json is of a network with other settings or images; hint"):
        call(MASKS, *QUICK, folder, "--out", out, "--seeds", 2, "--rows", "arl-1", "--no-halve")


@pytest.fixture
def functions():
    return runpy.run_path(str(Path(__file__).parents[2] / "experiments" / MASKS))


def test_rows_have_names_of_their_own_and_differ_in_what_they_say(functions):
    rows = functions["ROWS"]
    assert len({row.name for row in rows}) == len({row.title for row in rows}) == len(rows)
    contents = [(sorted(row.settings.items()), row.noise) for row in rows]
    assert all(contents.count(content) == 1 for content in contents)
    by_name = {row.name: row for row in rows}
    assert by_name["nal-3"].settings == {"modules": (3, 3, 3), "residual": False}
    assert by_name["arl-1-noise-70"].settings == {"modules": (1, 1, 1)}
    assert by_name["trunk-2-noise-30"] == functions["Row"](
        "trunk-2-noise-30", "trunk alone, m = 2, 30 % wrong labels", {"modules": (2, 2, 2), "masks": False}, 30, False
    )
    assert {row.noise for row in rows if row.main} == {0, 50}


@pytest.mark.parametrize("percent", [0, 30, 70])
def test_as_many_labels_are_wrong_as_it_says_and_all_others_alike(functions, percent):
    images = Images(np.zeros((20_000, 1, 1, 1), np.uint8), np.full(20_000, 4))
    labels = functions["mislabelled"](images, percent, 10, 1).labels
    counts = np.bincount(labels, minlength=10) / 20_000
    expected = np.full(10, percent / 100 / 9)
    expected[4] = 1 - percent / 100
    np.testing.assert_allclose(counts, expected, atol=0.015)
    np.testing.assert_array_equal(labels, functions["mislabelled"](images, percent, 10, 1).labels)
    if percent:
        assert (labels != functions["mislabelled"](images, percent, 10, 2).labels).any()


def test_an_image_is_halved_by_means_of_four():
    pixels = np.arange(2 * 5 * 4, dtype=np.uint8).reshape(1, 2, 5, 4)
    images = halved(Images(pixels, np.array([3])))
    assert images.labels.tolist() == [3]
    expected = [
        [[np.rint(pixels[0, c, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].mean()) for j in range(2)] for i in range(2)]
        for c in range(2)
    ]
    assert images.pixels[0].tolist() == expected


def test_the_windows_of_halved_images_move_half_as_far(functions):
    given = {"data": "fashion-mnist", "epochs": 2, "narrow": 4, "set": []}
    crops = [functions["configuration"](Namespace(halve=halve, **given)).crop for halve in (True, False)]
    assert crops == [1, 2]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--rows", "arl-9"], "there is no row 'arl-9'; hint: one of arl-1, nal-1"),
        (["--seeds", "0"], "--seeds must be at least 1, got 0"),
        (["--images", "0"], "--images must be in 1 to 40, the images to train on; got 0"),
        (["--epochs", "0"], "epochs must be at least 1, got 0"),
        (["--narrow", "3"], "narrow=3 leaves no whole number of maps"),
        (["--set", "activation=spatial"], "the rows differ in activation, masks, mod"),
        (["--images", "30", "--only-seed", "9"], "there is no network to tabulate; hint"),
        (["--data", "nowhere"], "there is no folder"),
    ],
)
def test_what_cannot_be_measured(refused, folder, tmp_path, arguments, says):
    refused(MASKS, "--data", folder, "--out", tmp_path / "out", *arguments, says=says, folder=tmp_path)
