"""The study of depth: what it trains and leaves, what it reads again, and what it refuses."""

import gzip
import json
import runpy
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from minattn import viz
from minattn.models.vision import highway

pytestmark = pytest.mark.skipif(find_spec("sklearn") is None, reason="needs the extra images")

DEPTH = "highway_depth.py"
QUICK = ("--images", 40, "--epochs", 2, "--batch", 20, "--depths", 2, 4)


@pytest.fixture
def no_pictures(monkeypatch):
    """Figures take longer than all the rest."""
    monkeypatch.setattr(viz, "save_figure", lambda _, path: path.touch())


@pytest.fixture(scope="module")
def functions():
    return runpy.run_path(str(Path(__file__).parents[2] / "experiments" / DEPTH))


def a_run(functions, kind, depth, seed, final):
    gates = [[0.25, 0.75]] * (depth - 1) if kind == "highway" else []
    return functions["Run"](kind, depth, seed, 0.1, 1234, [2.0, final], final, 1.5, gates, gates, gates)


def test_every_rate_is_tried_with_the_first_seed_and_the_best_with_the_others(call, tmp_path, monkeypatch):
    out = tmp_path / "out"
    output = call(DEPTH, *QUICK, "--out", out, "--seeds", 2, "--rates", 0.05, 1e-6)
    trained = {path.name for path in out.glob("*-seed-*.json")}
    first = {f"{k}-{d}-seed-1-rate-{r}.json" for k in ("plain", "highway") for d in (2, 4) for r in ("0.05", "1e-06")}
    others = {f"{k}-{d}-seed-2-rate-0.05.json" for k in ("plain", "highway") for d in (2, 4)}
    assert trained == first | others
    stored = json.loads((out / "depth.json").read_text())
    assert [(r["kind"], r["depth"], r["seed"], r["rate"]) for r in stored["runs"]] == [
        (kind, depth, seed, 0.05) for depth in (2, 4) for kind in ("plain", "highway") for seed in (1, 2)
    ]
    for found in stored["runs"]:
        assert len(found["losses"]) == 2
        assert np.shape(found["gates"]) == ((found["depth"] - 1, 50) if found["kind"] == "highway" else (0,))
        assert len(found["example"]) == len(found["bias"]) == len(found["gates"])
    assert (out / "depth.md").read_text(encoding="utf-8") in output
    for name in ("depth.png", "gates.png"):
        assert (out / name).read_bytes().startswith(b"\x89PNG")

    monkeypatch.setattr(highway, "ThinHighway", None)  # what training needs
    assert "seed 1" not in call(DEPTH, *QUICK, "--out", out, "--seeds", 2, "--rates", 0.05, 1e-6)


@pytest.mark.usefixtures("no_pictures")
def test_networks_of_other_settings_are_refused(call, tmp_path):
    out = tmp_path / "out"
    call(DEPTH, *QUICK, "--out", out, "--seeds", 1, "--rates", 0.05)
    with pytest.raises(SystemExit, match="is of a run with other settings or images; hint: another --out"):
        call(DEPTH, *QUICK, "--out", out, "--seeds", 1, "--rates", 0.05, "--bias", -1)


@pytest.mark.usefixtures("no_pictures")
def test_images_come_from_the_files_of_mnist_too(functions, tmp_path):
    pixels = np.random.default_rng(0).integers(256, size=(7, 5, 4), dtype=np.uint8)
    labels = np.array([0, 3, 1, 2, 0, 1, 2], np.uint8)
    for name, array, kind in zip(functions["FILES"], (pixels, labels), (3, 1), strict=True):
        header = bytes([0, 0, 8, kind]) + np.array(array.shape, ">u4").tobytes()
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(header + array.tobytes()))
    images, classes = functions["read"](str(tmp_path), 6)
    assert classes == 4
    np.testing.assert_array_equal(images.pixels, pixels[:6, None])
    assert images.labels.tolist() == labels[:6].tolist()


def test_the_highway_network_is_compared_with_the_plain_one_in_orders_of_magnitude(functions):
    finals = {("plain", 1): 1.0, ("plain", 2): 2.0, ("highway", 1): 0.01, ("highway", 2): 0.2}
    runs = [a_run(functions, kind, 10, seed, final) for (kind, seed), final in finals.items()]
    assert functions["findings"](runs) == [
        "- 10 layers: the highway network ends 1.5 orders of magnitude below the plain one (seed by seed 2.0, 1.0)"
    ]
    plain, gated = functions["table"](runs).splitlines()[2:]
    assert [cell.strip() for cell in plain.split("|")][1:-1] == [
        *("plain, 10 layers", "1,234", "0.1", "1 2", "1.5", "", "2")
    ]
    assert "| 0.500 0.500 |" in gated


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--epochs", "0"], "--epochs must be at least 1, got 0"),
        (["--seeds", "0"], "--seeds must be at least 1, got 0"),
        (["--batch", "0"], "--batch must be at least 1, got 0"),
        (["--depths", "1"], "--depths are numbers from 2 on"),
        (["--rates", "0"], "--rates numbers above 0"),
        (["--rates", "nan"], "--rates numbers above 0"),
        (["--images", "2000"], "--images must be in 1 to 1,257, the images to train on; got 2,000"),
        (["--data", "nowhere"], "no train-images-idx3-ubyte in nowhere; hint: digits, fashion-mnist, or a folder"),
        (["--out", "file"], "file is a file, not a folder; hint"),
    ],
)
def test_what_cannot_be_trained(refused, tmp_path, monkeypatch, arguments, says):
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    refused(DEPTH, "--out", "out", *arguments, says=says, folder=tmp_path)
