"""The images task: its data, its score and its maps."""

import errno
import json
import os
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from small_images import CLASSES, SMALL, write_images

from minattn.autograd import no_grad, ops, tensor
from minattn.data.images import cifar
from minattn.data.images.augmentation import ImageBatch, Normalization
from minattn.data.images.dataset import Images
from minattn.errors import ConfigError, DataError
from minattn.tasks import driver
from minattn.tasks.files import read_json
from minattn.tasks.images import source as image_source
from minattn.tasks.images import task as images
from minattn.tasks.images.classifier import Classifier, Predictions
from minattn.tasks.images.settings import ImageConfig
from minattn.tasks.images.source import ImageSource
from minattn.tasks.images.task import ImageClassification, examples, scores
from minattn.tasks.run_folder import REPORT
from minattn.tasks.task import Evaluation
from minattn.training import LOG, Progress

pytestmark = pytest.mark.skipif(find_spec("PIL") is None, reason="needs the extra images")

TASK = ImageClassification()
CONFIG = TASK.configure([*SMALL, "threads=2"], source=ImageSource("pictures"))
STEPS = 18  # of such a run


def configured(*settings, model=None, data=None):
    return TASK.configure(settings, model, ImageSource(data))


@pytest.fixture(scope="module", autouse=True)
def no_pictures():
    """Pictures take longer than all the rest."""
    with pytest.MonkeyPatch.context() as pictures:
        pictures.setattr(driver, "draw_figures", lambda *_: [])
        yield


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return ImageSource(write_images(tmp_path_factory.mktemp("data")))


@pytest.fixture(scope="module")
def straight(source, tmp_path_factory):
    """The folder of the run that nothing stopped."""
    folder = tmp_path_factory.mktemp("straight") / "run"
    driver.start(TASK, CONFIG, source, folder, make_progress=Progress)
    return folder


def some_images(count=6, shape=(1, 8, 8)):
    rng = np.random.default_rng(1)
    return Images(rng.integers(256, size=(count, *shape), dtype=np.uint8), np.arange(count) % 3)


def untrained(model="resnet8", shape=(1, 8, 8), **settings):
    config = ImageConfig.of(model, **settings).fitted(len(CLASSES), shape)
    return Classifier(config, CLASSES, shape, Normalization([100.0], [50.0]))


# ---------------------------------------------------------------------------------------------- a run
def test_it_learns(straight):
    report = read_json(straight / REPORT)
    assert report["test"]["images"] == 15
    assert report["test"]["accuracy"] > 80
    assert report["training"]["steps"] == STEPS


def test_its_score_is_that_of_the_model_that_is_loaded(straight, source):
    report = read_json(straight / REPORT)
    assert driver.evaluate(straight) == report["test"]
    classifier, test = driver.load(straight), source.load(CONFIG).test
    with no_grad():
        said = classifier.model.eval()(tensor(classifier.normalization(test.pixels))).data
    assert report["test"]["accuracy"] == pytest.approx(100 * (said.argmax(1) == test.labels).mean())
    assert report["model"] == {"name": "resnet8", "parameters": classifier.model.count_parameters()}


@pytest.mark.parametrize("settings", [["batch_size=1"], ["batch_size=4", "threads=4"], ["batch_size=5", "threads=3"]])
def test_single_images_whose_maps_have_no_variance_are_refused_before_anything_is_written(source, tmp_path, settings):
    """ResNet-18 makes maps of one place of images of 8x8."""
    config = configured(*SMALL, *settings, model="resnet18", data="pictures")
    hint = "does not learn from one image of 8 x 8, .*; hint: a larger batch_size, or fewer threads"
    with pytest.raises(ConfigError, match=hint):
        driver.start(TASK, config, source, tmp_path / "made" / "run", make_progress=Progress)
    assert not any(tmp_path.iterdir())


def test_single_images_whose_maps_have_a_variance_are_learned_from():
    shape = (1, 8, 8)
    ImageConfig.of("resnet8", batch_size=1).fitted(3, shape).check_batches(1, shape)
    resnet18 = ImageConfig.of("resnet18", batch_size=4, threads=2).fitted(3, shape)
    resnet18.check_batches(4, shape)
    with pytest.raises(ConfigError, match="does not learn from one image"):
        resnet18.check_batches(3, shape)


def test_images_that_have_changed_stop_a_resumed_run(source, tmp_path):
    folder = tmp_path / "run"
    other = ImageSource(write_images(tmp_path))
    config = configured(*SMALL, "epochs=1", data="pictures")
    driver.start(TASK, config, other, folder, make_progress=Progress)
    (folder / REPORT).unlink()
    next(Path(other.data, "dark").iterdir()).unlink()
    with pytest.raises(DataError, match=r"images of .*pictures changed since the run was started; hint"):
        driver.resume(folder, make_progress=Progress)
    for path in sorted(Path(other.data, "dark").iterdir())[10:]:
        path.unlink()
    with pytest.raises(DataError, match=r"pictures changed since the run was started; hint: .* by --test"):
        driver.evaluate(folder)


def test_the_log_has_a_line_of_dev_errors_for_each_epoch(straight):
    records = [json.loads(line) for line in (straight / LOG).read_text().splitlines()]
    errors = [record["dev_error"] for record in records if "dev_error" in record]
    assert len(errors) == 3
    assert all(0 <= error <= 100 for error in errors)


def test_the_best_model_is_chosen_by_the_dev_images(straight, source):
    records = [json.loads(line) for line in (straight / LOG).read_text().splitlines()]
    best = [record for record in records if record.get("best")][-1]
    dev = source.load(CONFIG).dev
    predictions = driver.load(straight).predict(dev)
    assert best["dev_loss"] == pytest.approx(predictions.loss, rel=1e-5)
    assert best["dev_error"] == pytest.approx(100 * predictions.errors(dev).mean())


def test_every_parameter_learns(straight, source):
    start = Classifier.of(CONFIG, source.load(CONFIG)).model.named_parameters()
    trained = driver.load(straight).model.named_parameters()
    assert [name for name, p in start if (p.data == trained[name].data).all()] == []


# ---------------------------------------------------------------------------------------------- its parts
def test_the_score_counts_each_class():
    labels = np.array([0, 0, 0, 1, 1, 2])
    answers = np.array([0, 0, 1, 1, 2, 2])
    some = Images(np.zeros((6, 1, 1, 1), np.uint8), labels)
    counted = scores(Predictions(np.eye(4)[answers], 0.5), some, tuple("abcd"))
    assert counted["accuracy"] == pytest.approx(400 / 6)
    assert counted["error"] == pytest.approx(200 / 6)
    assert counted["class_accuracy"] == pytest.approx({"a": 200 / 3, "b": 50, "c": 100})
    assert counted["confusion"] == [[2, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 0], [0, 0, 0, 0]]
    json.dumps(counted)


def test_examples_are_the_first_right_and_the_surest_wrong_answer_of_each_class():
    labels = np.array([0, 0, 1, 1, 1, 0])
    probabilities = np.array([[0.2, 0.8], [0.9, 0.1], [0.6, 0.4], [0.7, 0.3], [0.1, 0.9], [0.8, 0.2]])
    assert examples(probabilities, labels).tolist() == [1, 4, 0, 3]


def test_the_page_of_maps_is_drawn_of_the_examples_and_the_answers(straight, source, tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(images, "draw_maps", lambda path, classifier, some, answers: drawn.append((some, answers)))
    test = source.load(CONFIG).test
    answers = (test.labels + np.arange(15) % 2) % 3
    predictions = Predictions(np.eye(3)[answers], 0.5)
    TASK.figures(driver.load(straight), test, Evaluation({}, len(test), predictions=predictions), tmp_path)
    ((some, taken_for),) = drawn
    chosen = examples(predictions.probabilities, test.labels)
    np.testing.assert_array_equal(some.pixels, test.pixels[chosen])
    np.testing.assert_array_equal(taken_for, answers[chosen])
    assert (taken_for != some.labels).any()


@pytest.mark.parametrize("model", ["resnet8", "se_resnet8", "abn_resnet8"])
def test_maps_are_those_of_the_answer_and_of_the_right_class(model):
    classifier, some = untrained(model), some_images()
    answers = np.array([0, 1, 2, 1, 1, 2])
    maps = dict(classifier.maps(some, answers))
    assert ("attention branch" in maps) == (model == "abn_resnet8")
    with no_grad():
        said = classifier.model.eval()(tensor(classifier.normalization(some.pixels)))
    of_branches = model == "abn_resnet8"
    said = (said.logits if of_branches else said).data
    bias = (classifier.model.backbone if of_branches else classifier.model).classifier.bias.data
    for name, classes in (("answer", answers), ("right class", some.labels)):
        scores = maps[f"class map, {name}"].mean((1, 2)) + bias[classes]
        np.testing.assert_allclose(scores, said[np.arange(6), classes], rtol=1e-4, atol=1e-5)


def test_the_loss_of_an_attention_branch_network_is_that_of_both_branches():
    classifier, some = untrained("abn_resnet8", label_smoothing=0.1), some_images()
    batch = ImageBatch(classifier.normalization(some.pixels), some.labels)
    classifier.model.eval()  # so that both passes see the same statistics
    loss = classifier.loss(classifier.model, batch).item()
    said = classifier.model(tensor(batch.images))
    parts = [ops.cross_entropy(x, some.labels, label_smoothing=0.1).item() for x in said[:2]]
    assert loss == pytest.approx(sum(parts), rel=1e-5)
    assert min(parts) > 0.1


def test_batch_size_and_order_do_not_change_what_is_seen(monkeypatch):
    classifier, some = untrained(), some_images(7)
    whole = classifier.predict(some)
    monkeypatch.setattr("minattn.tasks.images.classifier.EVALUATION_BATCH", 3)
    parts = classifier.predict(some)
    np.testing.assert_allclose(parts.probabilities, whole.probabilities, rtol=1e-4)
    assert parts.loss == pytest.approx(whole.loss, rel=1e-5)
    assert whole.loss == pytest.approx(-np.log(whole.probabilities[np.arange(7), some.labels]).mean(), rel=1e-4)


def test_matrices_and_kernels_decay_and_nothing_else():
    parameters = untrained("se_resnet8").model.named_parameters()
    optimizer = ImageConfig.of("resnet8").optimizer(parameters)
    decaying = {name for name, _ in parameters if optimizer.decays(name)}
    assert decaying
    for name, parameter in parameters.items():
        assert (name in decaying) == (parameter.ndim in (2, 4)), name
        assert not ("norm" in name or "bias" in name) or name not in decaying


def test_the_rate_rises_and_falls_to_nothing():
    schedule = ImageConfig.of("resnet8", lr=0.4, warmup=0.25).schedule(100)
    rates = [schedule(step) for step in range(1, 101)]
    assert np.argmax(rates) in (23, 24)
    assert max(rates) < 0.4
    assert rates[0] < 0.02
    assert rates[-1] < 0.001


# ---------------------------------------------------------------------------------------------- settings
def test_defaults_are_those_of_the_data(tmp_path):
    digits, fashion, other = (configured(data=data) for data in (None, "fashion-mnist", "pictures"))
    assert digits == configured(data="digits") == TASK.default()
    assert not digits.flip  # a mirrored digit is none
    assert fashion.flip
    assert (fashion.crop, other.crop) == (2, 4)
    assert configured("epochs=7", model="se_resnet8", data="fashion-mnist").network.se == 16
    assert configured("model=resnet32").network.depth == 32
    assert configured("depth=14", "se=4").network.depth == 14
    (tmp_path / "train-images-idx3-ubyte").touch()
    assert configured(data=str(tmp_path)) == fashion


def test_a_folder_of_cifar10_is_known_by_its_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "cifar10"
    folder.mkdir()
    assert ImageSource("cifar10").of_classes()  # the name says nothing
    for number, name in enumerate((*cifar.TRAIN, cifar.TEST)):
        (folder / name).write_bytes(b"".join(bytes([label]) + bytes([number]) * 3072 for label in range(10)))
    source = ImageSource("cifar10")
    assert (source.data_set, source.of_classes()) == ("cifar10", False)
    config = configured(data="cifar10")
    assert (config.model, config.crop, config.flip) == ("resnet20", 4, True)
    splits = source.load(config)
    assert (splits.classes, len(splits.train), len(splits.dev)) == (cifar.CLASSES, 40, 10)
    assert TASK.read(TASK.build(config, splits), "cifar10").pixels.tobytes() == splits.test.pixels.tobytes()
    with pytest.raises(ConfigError, match="size and color are settings of a folder of images; cifar10 has its own"):
        source.load(configured("size=16", data="cifar10"))
    (folder / cifar.TEST).unlink()
    with pytest.raises(DataError, match=r"test_batch.bin is not in cifar10; expected data_batch_1.bin to"):
        source.load(config)


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("epochs=0", "epochs must be at least 1"),
        ("crop=-1", "crop must be at least 0"),
        ("lr=0", "lr must be a number above 0, 1e30 at most"),
        ("weight_decay=-1", "weight_decay"),
        ("momentum=1", r"momentum must be in \[0, 1\)"),
        ("label_smoothing=1", "label_smoothing"),
        ("warmup=0", r"warmup must be a share of the steps in \(0, 1\]"),
        ("threads=900", "threads must be at most batch_size"),
        ("size=1000000", "size must be at least 0 and at most 2,048 pixels"),
        ("model=resnet21", "there is no network 'resnet21'; hint: resnet"),
        ("color=blue", "color must be one of keep, gray, rgb"),
        ("flip=maybe", "flip must be true or false"),
    ],
)
def test_settings_that_make_no_sense_are_refused(setting, says):
    with pytest.raises(ConfigError, match=says):
        configured(setting)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"epochs": 2.5}, "epochs must be a whole number, got 2.5; hint"),
        ({"color": "blue"}, "color must be one of keep, gray, rgb, got 'blue'; hint"),
        ({"flip": 1}, "flip must be true or false, got 1"),
        ({"lr": "0.1"}, "lr must be a number, got '0.1'"),
    ],
)
def test_settings_of_another_type_are_refused(settings, says):
    with pytest.raises(ConfigError, match=says):
        ImageConfig.of("resnet8", **settings)


def test_a_folder_that_may_not_be_looked_into_is_named(source, monkeypatch):
    def refuse(path):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(image_source, "has_idx_files", refuse)
    for look in (lambda: configured(data=source.data), lambda: source.load(CONFIG)):
        with pytest.raises(DataError, match=r"pictures cannot be read: Permission denied; hint"):
            look()


def test_a_model_that_is_given_twice():
    with pytest.raises(ConfigError, match="the model is given twice"):
        configured("model=resnet8", model="resnet20")


def test_size_and_color_are_for_folders(source):
    for data in (None, "digits", "fashion-mnist"):
        with pytest.raises(ConfigError, match="size and color are settings of a folder"):
            ImageSource(data).load(configured("size=9"))
    assert source.load(configured("size=9", "color=rgb")).train.shape == (3, 9, 9)


def test_too_few_images_for_all_parts(tmp_path):
    data = Path(write_images(tmp_path))
    for name in CLASSES:
        for path in sorted((data / name).iterdir())[1:]:
            path.unlink()
    with pytest.raises(DataError, match=r"there are no dev images in .*pictures, .*; hint: more images"):
        driver.start(TASK, CONFIG, ImageSource(str(data)), tmp_path / "run", make_progress=Progress)
    assert not (tmp_path / "run").exists()


# ---------------------------------------------------------------------------------------------- highway networks
@pytest.mark.parametrize("data", ["digits", "fashion-mnist"])
def test_networks_without_batch_norm_have_a_rate_of_their_own(data):
    source = ImageSource(data)
    thin, convolutional = (TASK.default(name, source) for name in ("highway50", "highway_mnist16"))
    assert (thin.lr, thin.weight_decay, thin.label_smoothing) == (0.03, 0.0, 0.0)
    assert (convolutional.lr, convolutional.label_smoothing) == (0.01, 0.0)
    assert thin.epochs == TASK.default("resnet8", source).epochs
    assert TASK.configure(["model=plain50", "lr=0.5"], None, source).lr == 0.5


def test_a_network_of_linear_layers_is_built_for_the_pixels_of_the_images():
    config = configured(model="highway10").fitted(3, (2, 5, 7))
    assert (config.network.pixels, config.network.channels, config.network.classes) == (35, 2, 3)
    with pytest.raises(ConfigError, match="there is no setting 'pixels'"):
        configured("pixels=9", model="highway10")


def test_a_highway_network_learns_and_is_read_again(source, tmp_path):
    config = TASK.configure([*SMALL, "depth=3"], "highway10", source)
    driver.start(TASK, config, source, tmp_path / "run", make_progress=Progress)
    restored = driver.load(tmp_path / "run")
    assert restored.model.config.pixels == 64
    test = source.load(config).test
    assert restored.predict(test).errors(test).mean() < 0.4


# ---------------------------------------------------------------------------------------------- soft masks
def test_the_maps_of_a_residual_attention_network_are_the_means_of_its_masks():
    config = ImageConfig.of("cifar_attention56").fitted(3, (1, 24, 28))
    pixels = np.random.default_rng(0).integers(256, size=(2, 1, 24, 28), dtype=np.uint8)
    images = Images(pixels, np.array([0, 2]))
    classifier = Classifier(config, CLASSES, (1, 24, 28), Normalization.of(images))
    panels = dict(classifier.maps(images, np.array([1, 2])))
    assert list(panels) == [
        *("mask 1, 28 x 24", "mask 2, 14 x 12", "mask 3, 7 x 6"),
        *("class map, answer", "class map, right class"),
    ]
    with no_grad():
        _, attention = classifier.model(tensor(classifier.normalization(pixels)), return_attention=True)
    for m, drawn in zip(list(attention.values())[:3], panels.values(), strict=False):
        assert drawn == pytest.approx(m.data.mean(1), abs=1e-6)
