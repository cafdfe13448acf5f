"""The experiments on captions, with a few small images: what they measure and leave behind, and what they refuse."""

import runpy
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from small_captions import SMALL, write_pictures

from minattn import viz
from minattn.data.captions.dataset import CaptionedImages, CaptionSplits, Named
from minattn.tasks.captions.source import CaptionSource
from minattn.tasks.files import read_json

pytestmark = [
    pytest.mark.skipif(find_spec("PIL") is None or find_spec("sacrebleu") is None, reason="needs the extra captions"),
    pytest.mark.usefixtures("no_run_figures"),
]

ATTENTION, VARIANCE = "captions_attention.py", "hard_attention_variance.py"
EXPERIMENTS = Path(__file__).parents[2] / "experiments"


@pytest.fixture
def known_locations(monkeypatch):
    """The small images, with a box for the word "square" of every caption."""
    load = CaptionSource.load

    def with_boxes(part):
        named = [[Named(1, (2, 2, 10, 10))] for _ in part.captions]
        return CaptionedImages(part.pixels, part.captions, named)

    monkeypatch.setattr(
        CaptionSource, "load", lambda self, config: CaptionSplits(*map(with_boxes, load(self, config).parts().values()))
    )


def tables(folder):
    """Both tables that are left."""
    return (folder / "out" / "captions.md").read_text().split("\n\n")[:2]


def rows_of(text):
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[2:]]


def test_every_network_gets_a_row_and_nothing_is_trained_twice(call, known_locations, tmp_path, monkeypatch):
    settings = [f"--set={setting}" for setting in (*SMALL, "epochs=1")]
    arguments = [ATTENTION, "--out", tmp_path / "out", "--data", write_pictures(tmp_path), *settings]
    drawn = []
    monkeypatch.setattr("minattn.viz.captions.draw_captions", lambda rows, path: drawn.extend(rows))
    first = call(*arguments, "--seeds", 1)
    titles = ["soft", "soft, doubly stochastic", "hard", "no attention", "hard, likeliest location"]
    captions, locations = (rows_of(part) for part in tables(tmp_path))
    assert [row[0] for row in captions] == [f"{title} (1)" for title in titles]
    assert [bool(row[6]) for row in captions] == [True, True, True, True, False]
    assert [row[0] for row in locations] == [*titles[:3], "chance"]
    assert [float(row[1]) for row in locations[3:]] == [round(100 * 64 / 576)]
    assert all(0 <= float(cell) <= 100 for row in locations[:3] for cell in row[1:5])
    assert first.count("to train for") == 4
    assert (tmp_path / "out" / "curves.png").exists()

    second = call(*arguments, "--rows", "soft", "--only-seed", 2, "--seeds", 2)
    assert second.count("to train for") == 1
    captions, locations = (rows_of(part) for part in tables(tmp_path))
    assert [row[0] for row in captions][:2] == ["soft (2)", "soft, doubly stochastic (1)"]
    assert "±" in captions[0][5]
    assert len(locations[0][1].split()) == 2
    results = read_json(tmp_path / "out" / "captions.json")["results"]
    assert [(result["row"], result["seed"]) for result in results[:2]] == [("soft", 1), ("soft", 2)]


def test_the_least_that_a_caption_can_look_unevenly_is_told():
    module = runpy.run_path(str(EXPERIMENTS / ATTENTION))
    images = CaptionedImages(np.zeros((2, 1, 64, 64), np.uint8), [["a bag"], ["a bag above a boot"]])
    said = module["least_uneven"](images, [{"uneven": 60.0}])
    expected = np.mean([64 * (1 - n / 64) ** 2 for n in (2, 5)])
    assert f"Uneven: {expected:.1f} for weights that are all alike, {64 - 3.5:.1f} for words" in said


def test_rows_that_differ_cannot_be_set_alike(refused, tmp_path):
    refused(ATTENTION, "--out", tmp_path / "out", "--rows", "softer", says="there is no row 'softer'", folder=tmp_path)
    arguments = ("--out", tmp_path / "out", "--set", "doubly_stochastic=1")
    refused(ATTENTION, *arguments, says="the rows differ in", folder=tmp_path)


def test_the_rule_is_unbiased_and_a_baseline_lowers_its_variance(call, tmp_path, monkeypatch):
    saved = []
    monkeypatch.setattr(viz, "save_figure", lambda figure, path: saved.append(path.name))
    call(VARIANCE, "--out", tmp_path / "out", "--seed", 3)
    rows = rows_of((tmp_path / "out" / "variance.md").read_text())
    assert [row[0] for row in rows] == ["0", "E[log p(y given s, a)]", "the best constant"]
    assert all(float(row[2]) < 1e-12 for row in rows)
    zero, mean, best = (float(row[3]) for row in rows)
    assert best <= mean < 0.5 * zero
    assert saved == ["variance.png"]


def test_a_negative_seed_is_refused(refused, tmp_path):
    refused(
        VARIANCE, "--out", tmp_path / "out", "--seed", -1, says="--seed must be at least 0, got -1", folder=tmp_path
    )
