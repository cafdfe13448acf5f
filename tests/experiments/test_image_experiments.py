"""The experiments on images: their measurements, the files they leave, and what they refuse."""

import json
import runpy
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from small_images import SMALL, write_images

from minattn import viz
from minattn.autograd import no_grad, tensor
from minattn.data.images.dataset import Images
from minattn.data.images.digits import load_digits
from minattn.tasks import driver
from minattn.tasks.images.classifier import Classifier
from minattn.tasks.images.source import ImageSource
from minattn.tasks.images.task import ImageClassification
from minattn.training import Progress

pytestmark = [
    pytest.mark.skipif(find_spec("PIL") is None or find_spec("sklearn") is None, reason="needs the extra images"),
    pytest.mark.usefixtures("no_run_figures"),
]

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
SE, ABN = "se_gates.py", "abn_noise.py"


@pytest.fixture
def no_pictures(monkeypatch):
    """Figures take longer than all the rest."""
    monkeypatch.setattr(viz, "save_figure", lambda _, path: path.touch())


def functions_of(name):
    return runpy.run_path(str(EXPERIMENTS / name))


def cells_of(markdown):
    """The cells of a table's rows."""
    lines = [line for line in markdown.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[2:]]


# ---------------------------------------------------------------------------------------------- the gates of SE
@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run of a network with SE, and one without."""
    folder = tmp_path_factory.mktemp("runs")
    data = ImageSource(write_images(folder))
    with pytest.MonkeyPatch.context() as figures:
        figures.setattr(driver, "draw_figures", lambda *_: [])
        for model in ("se_resnet8", "resnet8"):
            config = ImageClassification().configure(SMALL, model, data)
            driver.start(ImageClassification(), config, data, folder / model, make_progress=Progress)
    return folder


def test_the_gates_of_a_run_are_told_and_drawn(runs, call, tmp_path):
    output = call(SE, runs / "se_resnet8", "--out", tmp_path / "out", "--class", "dark", "--class", "bright")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {f"gates.{kind}" for kind in ("md", "json", "png")}
    markdown = (tmp_path / "out" / "gates.md").read_text(encoding="utf-8")
    assert markdown in output
    assert [row[:3] for row in cells_of(markdown)] == [["1.1", "16", "1"], ["2.1", "32", "2"], ["3.1", "64", "4"]]
    gates = 15 * (16 + 32 + 64)  # of 15 test images
    assert f"All {gates:,} gates are between 0 and 1" in markdown
    stored = json.loads((tmp_path / "out" / "gates.json").read_text())
    assert stored["chance"] == pytest.approx(2 / 14)
    assert all(0 < block["least"] < block["mean"] < block["most"] < 1 for block in stored["blocks"])
    assert (tmp_path / "out" / "gates.png").read_bytes().startswith(b"\x89PNG")


def test_the_gates_are_those_that_scale_the_channels(runs):
    """The last block's, computed by hand from what goes into it."""
    classifier = driver.load(runs / "se_resnet8")
    test = driver.StoredRun.read(runs / "se_resnet8").source.load(classifier.config).test
    blocks = functions_of(SE)["blocks_of"](classifier, test)
    model = classifier.model
    with no_grad():
        x = model.stem(tensor(classifier.normalization(test.pixels)))
        for stage in model.stages[:-1]:
            x, _ = stage(x)
        (last,) = model.stages[-1].blocks
        z = last.convolutions[1](last.convolutions[0](x)).data.mean((2, 3))
        hidden = np.maximum(z @ last.se.W_1.data + last.se.b_1.data, 0)
        s = 1 / (1 + np.exp(-(hidden @ last.se.W_2.data + last.se.b_2.data)))
    assert blocks[-1].trained == pytest.approx(s, abs=1e-5)
    assert np.abs(blocks[-1].untrained - s).max() > 0.01


def test_the_variance_is_that_between_the_classes_and_that_within():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 2, 3], [5, 20, 15])
    s = rng.random((40, 6))
    between, within = functions_of(SE)["variances"](s, labels)
    assert between + within == pytest.approx(s.var(axis=0))
    s = rng.random((4, 6))[labels]  # the class decides everything
    between, within = functions_of(SE)["variances"](s, labels)
    assert between == pytest.approx(s.var(axis=0))
    assert within == pytest.approx(0)


def test_what_the_class_explains_by_chance():
    """The mean share over random gates is (classes - 1) / (images - 1)."""
    rng = np.random.default_rng(0)
    labels = np.arange(30) % 4
    between, within = functions_of(SE)["variances"](rng.normal(size=(30, 4000)), labels)
    assert (between / (between + within)).mean() == pytest.approx(3 / 29, abs=0.004)


def test_blocks_are_named_by_stage_and_place():
    names = functions_of(SE)["block_names"]
    assert names([16, 16, 16, 32, 64, 64]) == ["1.1", "1.2", "1.3", "2.1", "3.1", "3.2"]


@pytest.mark.parametrize(
    ("shares", "says"),
    [
        ([0.1, 0.3, 0.25, 0.9], "As in the paper: with every stage the gates get more specific to the class"),
        ([0.3, 0.3, 0.1, 0.9], "In part as in the paper: the last stage is more specific"),
        ([0.5, 0.5, 0.9, 0.4], "Not as in the paper: the last stage is no more specific"),
    ],
)
def test_the_verdict_is_that_of_the_stages(shares, says):
    example = functions_of(SE)
    names = ["1.1", "1.2", "2.1", "3.1"]
    rows = [{"block": name, "share": share} for name, share in zip(names, shares, strict=True)]
    assert example["compared"](rows, "share", "the share").startswith(says)
    assert "one stage" in example["compared"](rows[:2], "share", "the share")


@pytest.mark.usefixtures("few_digits", "no_pictures")
def test_without_a_run_a_network_is_trained_on_the_digits_once(call, tmp_path):
    arguments = (SE, "--out", tmp_path / "out", "--model", "se_resnet8", "--set", "epochs=1", "--seed", 3)
    output = call(*arguments)
    assert output.count("to train for") == 1
    assert driver.StoredRun.read(tmp_path / "out" / "run").config.seed == 3
    assert "to train for" not in call(*arguments)
    with pytest.raises(SystemExit, match="run was trained with other settings or data; hint: another --out"):
        call(*arguments[:-1], 4)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["none"], "none does not exist; hint"),
        (
            ["resnet8"],
            "is a run of resnet8, which has no squeeze-and-excitation; hint: such as --model se_resnet20",
        ),
        (["se_resnet8", "--seed", "2"], "is trained already, so --seed cannot be given"),
        (["se_resnet8", "--class", "gray"], "no test images of a class 'gray'; hint: --class with one of bright"),
        (["se_resnet8", "--class", "dark", "--class", "dark"], "--class takes at most 6 classes, each once"),
        (["se_resnet8", "--out", "file"], "file is a file, not a folder; hint"),
        (["--out", "file"], "file is a file, not a folder; hint"),
        (["--out", "out", "--model", "resnet8"], "the model resnet8 has no squeeze-and-excitation"),
        (["--out", "out", "--model", "abn_resnet8"], "the model abn_resnet8 has no squeeze-and-excitation"),
        (["--out", "out", "--set", "epochs=0"], "epochs must be at least 1, got 0"),
        (["--out", "out", "--class", "dark"], "no test images of a class 'dark'; hint: --class with one of 0, 1"),
    ],
)
def test_what_has_no_gates_to_show(runs, refused, monkeypatch, arguments, says):
    monkeypatch.chdir(runs)
    (runs / "file").touch()
    refused(SE, *arguments, says=says, folder=runs)


# ---------------------------------------------------------------------------------------------- noise
QUICK = (ABN, "--images", 40, "--epochs", 1, "--set", "batch_size=20")


@pytest.mark.usefixtures("few_digits", "no_pictures")
def test_every_network_is_trained_without_and_with_noise_and_only_once(call, tmp_path, monkeypatch):
    out = tmp_path / "out"
    call(*QUICK, "--out", out, "--seeds", 1)
    folders = {f"{name}-seed-1-{kind}" for name in ("plain", "residual", "alone") for kind in ("clean", "noisy")}
    assert {path.name for path in out.iterdir() if path.is_dir()} == folders
    stored = json.loads((out / "noise.json").read_text())["results"]
    assert [row["network"] for row in stored] == ["ResNet-8", "ABN, g (1 + M)", "ABN, g M"]
    assert stored[1]["parameters"] == stored[2]["parameters"] > stored[0]["parameters"]
    assert stored[1]["on_object"] != stored[2]["on_object"]  # two forms of attention, not one
    rows = cells_of((out / "noise.md").read_text(encoding="utf-8"))
    assert [row[:2] for row in rows] == [[row["network"], f"{row['clean']:.2f} ± 0.00"] for row in stored]
    assert (out / "noise.png").exists()

    monkeypatch.setattr(Classifier, "loss", None)  # what training needs
    call(*QUICK, "--out", out, "--seeds", 1)
    again = json.loads((out / "noise.json").read_text())["results"]
    scores = ("clean", "to_noisy", "noisy", "on_object")
    assert [[row[key] for key in scores] for row in again] == [[row[key] for key in scores] for row in stored]
    with pytest.raises(SystemExit, match="plain-seed-1-noisy was trained with other settings or images; hint"):
        call(*QUICK, "--out", out, "--noise", 0.5)


def test_the_page_has_an_image_of_each_class_and_its_maps():
    example = functions_of(ABN)
    digits = load_digits()
    results = [
        {"network": network.name, "seed": 1, **dict.fromkeys(example["SCORES"], 90 + i)}
        for i, network in enumerate(example["NETWORKS"])
    ]
    splits = example["part_of"](digits, 1, 2)
    maps = np.random.default_rng(0).random((2, 4, 4))
    figure = example["draw"](results, splits, 0.3, {"ABN, g (1 + M)": maps, "ABN, g M": maps[::-1]})
    drawn = [axes.images[0].get_array() for axes in figure.axes if axes.images]
    classes, rows = len(set(splits.test.labels)), 4
    assert len(drawn) == classes * rows
    first = [np.flatnonzero(splits.test.labels == label)[0] for label in sorted(set(splits.test.labels))]
    assert [d.tolist() for d in drawn[2 * classes : 3 * classes]] == maps[first].tolist()
    assert [d.tolist() for d in drawn[3 * classes : 4 * classes]] == maps[::-1][first].tolist()
    assert any(axes.get_ylabel() == "30 % noise" for axes in figure.axes)


def test_both_forms_start_from_the_same_parameters_and_differ_in_the_form_alone(tmp_path):
    example = functions_of(ABN)
    splits = example["part_of"](load_digits(), 32, 20)
    models = []
    for network in example["NETWORKS"][1:]:
        settings = ImageClassification().configure(["epochs=1", "lr=1e-30"], network.model)  # steps that change nothing
        classifier, _ = example["trained"](network, settings, splits, tmp_path / network.folder)
        models.append(classifier.model)
    residual, alone = models
    assert (residual.config.residual, alone.config.residual) == (True, False)
    for (name, one), other in zip(residual.named_parameters().items(), alone.parameters(), strict=True):
        assert one.data == pytest.approx(other.data, abs=1e-20), name  # biases have made a step from 0


def test_noise_replaces_its_share_of_the_pixels_by_uniform_ones():
    noisy = functions_of(ABN)["noisy"]
    images = Images(np.full((200, 1, 20, 20), 77, np.uint8), np.zeros(200, np.int64))
    one = noisy(images, 0.3, 1).pixels
    kept = one == 77
    assert kept.mean() == pytest.approx(0.7 + 0.3 / 256, abs=0.01)
    assert one[~kept].mean() == pytest.approx(127.5, abs=2)
    assert (one.min(), one.max()) == (0, 255)
    assert np.array_equal(one, noisy(images, 0.3, 1).pixels)
    assert not np.array_equal(one, noisy(images, 0.3, 2).pixels)
    assert not np.array_equal(one, noisy(images, 0.3, 1, draw=1).pixels)
    assert (images.pixels == 77).all()


def test_a_map_lies_on_the_object_where_it_is_as_bright():
    on_object = functions_of(ABN)["on_object"]
    pixels = np.random.default_rng(0).integers(256, size=(3, 1, 6, 6), dtype=np.uint8)
    images = Images(pixels, np.zeros(3, np.int64))
    bright = pixels[:, 0] / np.float32(255)
    assert on_object(bright, images) == pytest.approx(1)
    assert on_object(1 - bright, images) == pytest.approx(-1)
    assert on_object(np.ones_like(bright), images) == pytest.approx(0, abs=1e-6)


def test_a_difference_is_one_where_all_seeds_agree():
    example = functions_of(ABN)
    keys = ("clean", "to_noisy", "noisy", "on_object", "parameters", "seconds")
    scores = {"ResNet-8": (90, 92), "ABN, g (1 + M)": (91, 91), "ABN, g M": (89, 90)}
    results = [
        {"network": name, "seed": seed, **dict.fromkeys(keys, values[seed])}
        for seed in (0, 1)
        for name, values in scores.items()
    ]
    assert [row[1] for row in cells_of(example["table"](results))] == [
        "91.00 ± 1.41",
        "91.00 ± 0.00",
        "89.50 ± 0.71",
    ]
    findings = example["findings"](results)
    assert findings[:5] == [
        "Without noise:",
        "",
        "- ABN, g (1 + M) against ResNet-8: +0.00 points (+1.00, -1.00), no difference that all seeds agree on",
        "- ABN, g M against ResNet-8: -1.50 points (-1.00, -2.00), worse with every seed",
        "- ABN, g M against ABN, g (1 + M): -1.50 points (-2.00, -1.00), worse with every seed",
    ]
    assert findings[-1] == "(Seeds of networks that are equally good would all agree 50 % of the time.)"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--noise", "0"], "--noise is a share above 0 and below 1, got 0"),
        (["--noise", "30"], "--noise is a share above 0 and below 1, got 30"),
        (["--seeds", "0"], "--seeds must be at least 1, got 0"),
        (["--images", "0"], "--images must be in 1 to 1,257, the images to train on; got 0"),
        (["--images", "2000"], "--images must be in 1 to 1,257, the images to train on; got 2,000"),
        (["--epochs", "0"], "epochs must be at least 1, got 0"),
        (["--set", "model=resnet20"], "the networks differ in model and seed, so --set model=resnet20 cannot be given"),
        (["--set", "foo=1"], "there is no setting 'foo'"),
        (["--out", "file"], "file is a file, not a folder; hint"),
    ],
)
def test_what_cannot_be_compared(refused, tmp_path, monkeypatch, arguments, says):
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    refused(ABN, "--out", "out", *arguments, says=says, folder=tmp_path)
