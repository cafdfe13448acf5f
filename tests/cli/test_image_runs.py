"""`minattn train images`, `evaluate` and `predict`, from folders of images to what is told of one."""

import re
import shutil
from importlib.util import find_spec
from pathlib import Path

import fakecupy
import numpy as np
import pytest
from small_images import CLASSES, SMALL, train_arguments, write_images

from minattn.data import Images, ImageSplits
from minattn.data.images.folder import read_image
from minattn.errors import MissingDependencyError
from minattn.tasks import driver
from minattn.tasks.files import read_json
from minattn.tasks.images import source as images
from minattn.tasks.images.classifier import Classifier
from minattn.tasks.run_folder import CONFIG, REPORT
from minattn.training import BEST, load_checkpoint, save_checkpoint

pytestmark = pytest.mark.skipif(find_spec("PIL") is None, reason="needs the extra images")

RUN_FILES = [BEST, CONFIG, "curves.png", "last.safetensors", "log.jsonl", "maps.png", REPORT]


@pytest.fixture(scope="module")
def image_run(finished):
    """A finished run; not to be written to."""
    return finished(write_images, train_arguments)


@pytest.fixture
def pictures(image_run, tmp_path, monkeypatch):
    """The images in the folder that the test works in, and a file that is no image."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(image_run.parent / "pictures", "pictures")
    Path("notes.txt").write_text("hello")
    return tmp_path


def likeliest(line):
    """The path and the classes with their percentages of a line of `predict`."""
    path, *said = line.split("  ")
    return path, {name: float(share) for name, share in (re.fullmatch(r"(\w+) (\d+\.\d) %", s).groups() for s in said)}


# ---------------------------------------------------------------------------------------------- a run
def test_a_run_leaves_its_files(image_run):
    assert sorted(path.name for path in image_run.iterdir()) == sorted(RUN_FILES)
    for picture in ("curves.png", "maps.png"):
        assert (image_run / picture).read_bytes().startswith(b"\x89PNG")
    stored = read_json(image_run / CONFIG)
    assert stored["task"] == "images"
    assert stored["source"] == {"data": str(image_run.parent / "pictures")}
    assert all(re.fullmatch("[0-9a-f]{64}", stored["data"][name]) for name in ("train", "dev", "test"))


def test_a_finished_run_tells_its_results(minattn, image_run):
    result = minattn("train", "images", "--resume", image_run)
    report = read_json(image_run / REPORT)["test"]
    assert result.status == 0
    assert f"test:     {report['accuracy']:.2f} % right, error {report['error']:.2f} % over 15 images" in result.out
    hardest = min(report["class_accuracy"].values())
    assert re.search(rf"hardest:  ({'|'.join(CLASSES)}), {hardest:.1f} % right\n", result.out)
    assert "maps.png" in result.out
    assert result.out.endswith("to train longer:  minattn train images --out ANOTHER_FOLDER --set epochs=N\n")


def test_evaluate_gives_the_number_of_the_report(minattn, image_run):
    report = read_json(image_run / REPORT)["test"]
    result = minattn("evaluate", image_run)
    said = f"{report['accuracy']:.2f} % right, error {report['error']:.2f} % over 15 images\n"
    assert (result.status, result.out, result.err) == (0, said, "")


def test_evaluate_looks_at_another_folder(minattn, image_run, pictures):
    Path("other").mkdir()
    Path("pictures/dark").rename("other/dark")
    result = minattn("evaluate", image_run, "--test", "other")
    assert (result.status, result.err) == (0, "")
    assert result.out.endswith(" over 25 images\n")


def test_evaluate_takes_the_test_part_of_a_divided_folder(minattn, image_run, pictures):
    shutil.copytree("pictures", "divided/train")
    shutil.copytree("pictures/dark", "divided/test/dark")
    result = minattn("evaluate", image_run, "--test", "divided")
    assert (result.status, result.err) == (0, "")
    assert result.out.endswith(" over 25 images\n")


@pytest.mark.parametrize("classes", [CLASSES, ("0", "1", "2")])
def test_evaluate_takes_data_sets_by_name(minattn, image_run, monkeypatch, classes):
    some = Images(np.zeros((7, 1, 8, 8), np.uint8), np.arange(7) % 3)
    monkeypatch.setattr(images, "load_digits", lambda: ImageSplits(some, some, some, classes))
    result = minattn("evaluate", image_run, "--test", "digits")
    if classes == CLASSES:
        assert (result.status, result.err) == (0, "")
        assert result.out.endswith(" over 7 images\n")
    else:
        assert result.err.startswith(
            "error: the classes of digits are 0, 1, 2, those that the model was trained on brig"
        )


def test_predict_names_the_likeliest_classes(minattn, image_run, pictures):
    paths = [f"pictures/{name}/03.png" for name in CLASSES]
    result = minattn("predict", image_run, *paths)
    assert (result.status, result.err) == (0, "")
    classifier = driver.load(image_run)
    shown = np.stack([read_image(path) for path in paths])
    probabilities = classifier.predict(Images(shown, np.zeros(3, np.int64))).probabilities
    for line, path, row in zip(result.out.splitlines(), paths, probabilities, strict=True):
        expected = {CLASSES[k]: pytest.approx(100 * row[k], abs=0.06) for k in np.argsort(-row)}
        assert likeliest(line) == (path, expected)
        assert list(likeliest(line)[1]) == list(expected)


def test_predict_scales_and_converts_what_it_is_given(minattn, image_run, pictures):
    from PIL import Image

    Image.open("pictures/dark/03.png").resize((30, 20), Image.Resampling.NEAREST).convert("RGBA").save("wide.png")
    result = minattn("predict", image_run, "wide.png")
    assert result.status == 0
    assert result.out.startswith("wide.png  ")
    assert result.err == "note: wide.png is 30 x 20, RGBA; the model saw it as 8 x 8, gray\n"


@pytest.mark.parametrize(("mode", "name"), [("RGB", "RGB"), ("CMYK", "CMYK"), ("P", "with a palette")])
def test_predict_says_what_an_image_of_the_right_size_was(minattn, image_run, pictures, mode, name):
    from PIL import Image

    Image.open("pictures/dark/03.png").convert(mode).save("other.tif")
    result = minattn("predict", image_run, "other.tif")
    assert result.status == 0
    assert result.err == f"note: other.tif is 8 x 8, {name}; the model saw it as 8 x 8, gray\n"


def test_a_run_that_is_not_finished_says_so(minattn, image_run, pictures):
    shutil.copytree(image_run, "run")
    Path("run", REPORT).unlink()
    for command in (("evaluate", "run"), ("predict", "run", "pictures/dark/00.png")):
        assert minattn(*command).err == "note: this run is not finished; this is its best model so far\n"


def test_ctrl_c_says_how_to_go_on_and_it_does(minattn, pictures, monkeypatch):
    monkeypatch.setattr(Classifier, "predict", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    result = minattn(*train_arguments("run", "epochs=1"))
    assert result.status == 130
    assert result.out.endswith("To resume:\n  minattn train images --resume run\n")
    monkeypatch.undo()
    monkeypatch.chdir(pictures)
    assert minattn("train", "images", "--resume", "run").status == 0
    assert read_json(Path("run", REPORT))["training"]["steps"] == 6


def test_on_a_gpu_with_an_attention_branch(minattn, pictures):
    with fakecupy.installed():
        result = minattn(*train_arguments("run", "epochs=1", "batch_size=40"), "--model=abn_resnet8", "--device=cuda")
        assert (result.status, result.err) == (0, "")
        assert minattn("predict", "run", "pictures/dark/00.png", "--device", "cuda").status == 0
    assert Path("run", "maps.png").exists()


# ---------------------------------------------------------------------------------------------- refused
OUT = ("--out", "deep/run")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([*OUT, "--train", "pictures"], ["No such option: --train"]),
        ([*OUT, "--data", "none"], ["there is no folder", "none; hint: check the path"]),
        ([*OUT, "--data", ""], ["the data have an empty name; expected digits, fashion-mnist or a folder", "hint"]),
        ([*OUT, "--data", "fashion_mnist"], ["there is no folder", "fashion_mnist; expected", "hint: fashion-mnist"]),
        ([*OUT, "--data", "Digits"], ["there is no folder", "Digits; expected digits", "hint: digits"]),
        ([*OUT, "--data", "cifar-10-batches-bin"], ["there is no folder", "hint: the folder with", "binary version"]),
        (
            ["--out", "pictures/run", "--data", "pictures"],
            ["pictures/run is inside the folder of the images", "hint"],
        ),
        ([*OUT, "--data", "notes.txt"], ["notes.txt is a file; expected a folder"]),
        ([*OUT, "--data", "pictures/dark"], ["has no subfolders; expected one for each class"]),
        ([*OUT, "--data", "pictures", "--model", "vgg99"], ["there is no network 'vgg99'", "hint: "]),
        ([*OUT, "--data", "pictures", "--model=alexnet"], ["alexnet does not take images of 8 x 8", "size=2"]),
        ([*OUT, "--data", "pictures", "--set", "color=red"], ["color must be one of keep, gray, rgb"]),
        ([*OUT, "--data", "pictures", "--set", "crop=8"], ["crop of 8 pixels leaves nothing of", "8 x 8, gray"]),
        ([*OUT, "--data", "digits", "--set", "size=16"], ["size and color are settings of a folder"]),
        ([*OUT, "--data", "pictures", "--seed", "-1"], ["seed must be at least 0"]),
        (["--resume", "none", "--data", "x"], ["--resume continues the run as it was started, so --data cannot"]),
        (["--resume", "none"], ["none does not exist", "minattn train images"]),
    ],
)
def test_what_cannot_be_trained(refused, pictures, arguments, says):
    refused("train", "images", *arguments, says=says, folder=pictures)


def test_one_class_alone_is_refused(refused, pictures):
    shutil.copytree("pictures/dark", "one/dark")
    refused(
        "train",
        "images",
        *OUT,
        "--data=one",
        says=["there is one class of images, dark; expected two"],
        folder=pictures,
    )


def test_training_that_diverges_in_its_last_step(minattn, pictures):
    says = "error: training diverged at step 1: the evaluation gives dev_loss "
    for arguments in (
        train_arguments("run", "epochs=1", "batch_size=99", "lr=1e6"),
        ("train", "images", "--resume=run"),
    ):
        result = minattn(*arguments)
        assert result.status == 1
        assert result.err.startswith(says)
        assert result.err.count("\n") == 1
    assert not Path("run", BEST).exists()


def damaged(image_run, change):
    """A copy of the run, with a change made to the arrays and the `meta` of its best checkpoint."""
    shutil.copytree(image_run, "run")
    arrays, meta = load_checkpoint(image_run / BEST)
    change(arrays, meta)
    save_checkpoint(Path("run", BEST), arrays, meta)
    return "run"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda arrays, meta: meta.pop("shape"), "object missing required field shape"),
        (lambda arrays, meta: meta.update(shape=[1, 8]), "shape: expected array of length 3, got 2"),
        (lambda arrays, meta: meta.update(mean=[1, 2, 3]), "images of shape (1, 8, 8) with means of 3 channels"),
        (lambda arrays, meta: meta.update(std=[0.0]), "expected finite numbers"),
        (lambda arrays, meta: meta.update(classes=["a", "b"]), "is damaged: "),
        (lambda arrays, meta: arrays.pop("model/classifier.bias"), "is damaged: "),
        (lambda arrays, meta: arrays["model/classifier.bias"].fill(np.nan), "has parameters that are not finite"),
    ],
)
def test_a_damaged_checkpoint_is_named(refused, image_run, pictures, change, says):
    run = damaged(image_run, change)
    says = [f"run/{BEST}", says, "hint: "]
    refused("predict", run, "pictures/dark/00.png", says=says, folder=pictures)


def test_answers_that_are_not_finite_are_refused(refused, image_run, pictures):
    def change(arrays, meta):
        for array in arrays.values():
            array *= 1e25

    run = damaged(image_run, change)
    says = ["predictions are not finite: its training diverged; hint: "]
    refused("predict", run, "pictures/dark/00.png", says=says, folder=pictures)
    says = ["the score of the model of run is not finite: its training diverged; hint: "]
    refused("evaluate", run, says=says, folder=pictures)


def test_a_broken_image_is_named(refused, pictures):
    path = Path("pictures/dark/07.png")
    path.write_bytes(path.read_bytes()[:50])
    refused(
        "train", "images", *OUT, "--data=pictures", says=["dark/07.png cannot be read as an image"], folder=pictures
    )


def test_without_the_digits_the_cure_is_named(refused, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def missing():
        raise MissingDependencyError("the images come with scikit-learn: pip install 'minattn[images]'")

    monkeypatch.setattr(images, "load_digits", missing)
    refused("train", "images", *OUT, says=["pip install 'minattn[images]'"], folder=tmp_path)


@pytest.mark.parametrize(
    ("command", "arguments", "says"),
    [
        ("predict", ["none.png"], ["there is no file none.png"]),
        ("predict", ["notes.txt"], ["notes.txt cannot be read as an image"]),
        ("predict", ["pictures"], ["pictures is a folder; expected an image file"]),
        ("predict", ["x.png", "--beam", "2"], ["No such option: --beam"]),
        ("predict", ["x.png", "--plot", "y.png"], ["No such option: --plot"]),
        ("evaluate", ["--beam", "2"], ["No such option: --beam"]),
        ("evaluate", ["--test", "none"], ["there is no folder none"]),
        ("evaluate", ["--test", "."], ["pictures is the folder of no class; expected bright, dark, striped"]),
    ],
)
def test_what_cannot_be_told(refused, image_run, pictures, command, arguments, says):
    refused(command, image_run, *arguments, says=says, folder=pictures)


def test_images_of_another_size_cannot_be_evaluated(refused, image_run, pictures):
    shutil.rmtree("pictures")
    write_images(pictures, (9, 9))
    says = ["pictures: the images are 9 x 9, gray, those that the model was trained on 8 x 8, gray; hint"]
    refused("evaluate", image_run, "--test", "pictures", says=says, folder=pictures)


def test_an_image_run_is_no_language_model(refused, image_run):
    says = ["is a run of images; hint: minattn predict "]
    refused("generate", image_run, "a", says=says, folder=image_run)


def test_settings_are_in_the_configuration(image_run):
    stored = read_json(image_run / CONFIG)["config"]
    assert {f"{key}={value}" for key, value in stored.items()} >= set(SMALL)
    assert (stored["network"]["classes"], stored["network"]["channels"]) == (3, 1)
