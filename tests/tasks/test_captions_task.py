"""The task of captions: its settings and data, its loss by hand, its encoders, its figures, and what it refuses."""

from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest
from small_captions import SMALL, write_pictures

from minattn.attention.sequence import hard_weights
from minattn.autograd import Tensor, no_grad, ops
from minattn.data.captions.dataset import CaptionedImages, Named
from minattn.data.images.dataset import Images, ImageSplits
from minattn.data.splits import Splits
from minattn.errors import CheckpointError, ConfigError, DataError
from minattn.models.captions.captioner import SmallEncoder
from minattn.tasks import driver
from minattn.tasks.captions.describer import Describer
from minattn.tasks.captions.encoders import Encoder, StoredEncoder
from minattn.tasks.captions.source import CaptionSource
from minattn.tasks.captions.task import ATTENTION, SCENE, Captions, examples
from minattn.tasks.files import read_json
from minattn.tasks.images.task import ImageClassification
from minattn.tasks.run_folder import REPORT
from minattn.training import Adam, Progress

pytestmark = pytest.mark.skipif(find_spec("PIL") is None, reason="needs the extra images")

TASK = Captions()


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return CaptionSource(write_pictures(tmp_path_factory.mktemp("data")))


@pytest.fixture(scope="module")
def splits(source):
    return source.load(TASK.configure(SMALL, source=source))


@pytest.fixture(scope="module")
def run(source, tmp_path_factory):
    """The folder of a finished run, with figures."""
    folder = tmp_path_factory.mktemp("run") / "run"
    driver.start(TASK, TASK.configure(SMALL, source=source), source, folder, make_progress=Progress)
    return folder


@pytest.fixture(scope="module")
def images_run(tmp_path_factory):
    """A run of `train images` on squares of the same size, gray."""
    rng = np.random.default_rng(0)
    part = Images(rng.integers(0, 256, (8, 1, 24, 24)).astype(np.uint8), np.arange(8) % 2)

    class InMemory(type(ImageClassification().source())):
        def load(self, config):
            return ImageSplits(part, part, part, ("left", "right"))

    task, folder = ImageClassification(), tmp_path_factory.mktemp("images") / "run"
    config = task.configure(["model=resnet8", "width=4", "epochs=1", "batch_size=4", "crop=0"])
    driver.start(task, config, InMemory(), folder, make_progress=Progress)
    return folder


def predictor_of(splits, *settings, model=None):
    return Describer.of(TASK.configure((*SMALL, *settings), model, CaptionSource("FOLDER")), splits.train)


class Lines:
    """An `Output` that keeps what it is shown."""

    def __init__(self):
        self.lines = []

    def line(self, text):
        self.lines.append(text)


# ---------------------------------------------------------------------------------------------- settings and data
def test_photographs_are_in_color_and_scenes_are_gray(source):
    assert TASK.configure(source=source).color == "rgb"
    assert TASK.configure(source=CaptionSource()).color == "keep"
    assert TASK.configure(model="coco_soft").network.hidden == 1800
    assert [TASK.configure(model=name).network.attention for name in ("soft", "hard", "none")] == [
        "soft",
        "hard",
        "none",
    ]


def test_the_network_has_the_sizes_of_the_data(splits):
    predictor = predictor_of(splits)
    assert predictor.config.network.vocab_size == len(predictor.words) == 4 + 10
    assert predictor.config.network.annotation == 128
    assert predictor.grid == (3, 3)
    assert predictor.words.encode("a square").min() > 3


# ---------------------------------------------------------------------------------------------- the loss
def test_the_loss_is_the_mean_of_the_negative_log_likelihoods(splits):
    predictor = predictor_of(splits, "doubly_stochastic=0.3")
    (batch, *_) = predictor.batches(splits.train).iterate(0)
    model = predictor.model.eval()
    with no_grad():
        logits, attention = model(Tensor(batch.images), batch.words[:, :-1], return_attention=True)
        log_p, weights = ops.log_softmax(logits).data, attention["decoder.attention"].data
        expected = []
        for i, words in enumerate(batch.words):
            length = batch.mask[i].sum() - 1
            total = -sum(log_p[i, t, words[t + 1]] for t in range(length))
            expected.append(total + 0.3 * ((1 - weights[i, :length].sum(0)) ** 2).sum())
        assert predictor.loss(model, batch).item() == pytest.approx(np.mean(expected), rel=1e-5)


def test_the_loss_of_hard_attention_is_the_learning_rule(splits):
    predictor = predictor_of(
        splits, "reward_weight=0.7", "entropy_weight=0.2", "sampled=0.6", "reward_per_word=false", model="hard"
    )
    (batch, *_) = predictor.batches(splits.train).iterate(0)
    model = predictor.model.train()
    model.hard_loss.baseline.replace_data(np.array([-2.0], np.float32))
    state = model.rng.bit_generator.state
    loss = predictor.loss(model, batch).item()
    moved = model.hard_loss.baseline.item()
    model.rng.bit_generator.state = state
    with no_grad():
        mask = batch.mask[:, 1:]
        draws = model.draw(*mask.shape, 0.6)
        logits, attention = model(Tensor(batch.images), batch.words[:, :-1], draws, return_attention=True)
        weights = attention["decoder.attention"].data
        locations = hard_weights(
            Tensor(weights), draws.uniform, np.broadcast_to(draws.sampled[:, None], mask.shape)
        ).data
        log_p, expected, rewards = ops.log_softmax(logits).data, [], []
        for i, words in enumerate(batch.words):
            steps = range(mask[i].sum())
            rewards.append(sum(log_p[i, t, words[t + 1]] for t in steps))
            log_p_s = sum(np.log((locations[i, t] * weights[i, t]).sum()) for t in steps) if draws.sampled[i] else 0.0
            H = -sum((weights[i, t] * np.log(weights[i, t])).sum() for t in steps)
            expected.append(-(rewards[-1] + 0.7 * (rewards[-1] + 2.0) * log_p_s + 0.2 * H))
    assert 0 < draws.sampled.sum() < len(words)
    assert loss == pytest.approx(np.mean(expected), rel=1e-4)
    assert moved == pytest.approx(0.9 * -2.0 + 0.1 * np.mean(rewards), rel=1e-4)


@pytest.mark.parametrize("model", ["soft", "hard"])
def test_a_network_learns_where_the_square_is(splits, model):
    one_caption = CaptionedImages(splits.train.pixels, [captions[:1] for captions in splits.train.captions])
    predictor = predictor_of(Splits(one_caption, one_caption, one_caption), "hidden=32", "embedding=32", model=model)
    optimizer = Adam(predictor.model.named_parameters(), 0.01)
    for epoch in range(40):
        for batch in predictor.batches(one_caption).iterate(epoch):
            predictor.model.train()
            optimizer.zero_grad()
            predictor.loss(predictor.model, batch).backward()
            optimizer.step()
    found = predictor.describe(one_caption.pixels)
    right = [one.caption in captions for one, captions in zip(found, one_caption.captions, strict=True)]
    assert np.mean(right) > 0.8


# ---------------------------------------------------------------------------------------------- encoders
def test_a_network_of_the_registry_is_trained_together(splits):
    predictor = predictor_of(splits, "encoder=resnet8")
    assert predictor.config.network.annotation == 64
    assert predictor.grid == (6, 6)
    (batch, *_) = predictor.batches(splits.train).iterate(0)
    predictor.loss(predictor.model, batch).backward()
    assert all(np.any(p.grad) for name, p in predictor.model.encoder.named_parameters().items())
    again = TASK.restored(predictor.config, predictor.meta())
    again.model.load_state_dict(predictor.model.state_dict())
    one, other = (p.describe(splits.test.pixels, beam=1) for p in (predictor, again))
    assert [d.caption for d in one] == [d.caption for d in other]


def test_the_network_of_a_run_stays_as_it_is_and_goes_into_the_checkpoint(splits, source, images_run, tmp_path):
    pytest.importorskip("sacrebleu")
    classifier = driver.load(images_run)
    config = TASK.configure((*SMALL, f"encoder={images_run}"), source=source)
    driver.start(TASK, config, source, tmp_path / "run", make_progress=Progress)
    predictor = driver.load(tmp_path / "run")
    assert predictor.encoder.frozen
    assert predictor.normalization == classifier.normalization
    expected = {name: array for name, array in classifier.model.state_dict().items() if "classifier" not in name}
    for name, array in predictor.model.encoder.state_dict().items():
        np.testing.assert_array_equal(array, expected.pop(name), err_msg=name)
    assert not expected


def test_an_encoder_that_does_not_fit_is_one_line(splits, images_run, run):
    for setting, error, message in [
        ("encoder=none", ConfigError, "there is no encoder 'none'; hint: small, a network that minattn summary lists"),
        ("encoder=alexnet", ConfigError, "alexnet does not end in maps; hint"),
        (f"encoder={run}", CheckpointError, "is a run of captions, not of images"),
    ]:
        with pytest.raises(error, match=message):
            predictor_of(splits, setting)
    other = CaptionedImages(splits.train.pixels[:, :, :20], splits.train.captions)
    with pytest.raises(
        DataError, match=r"the images are 24 x 20, gray, those that the encoder of .* 24 x 24, gray; hint"
    ):
        predictor_of(Splits(other, other, other), f"encoder={images_run}")
    tiny = CaptionedImages(splits.train.pixels[:, :, :8, :8], splits.train.captions)
    with pytest.raises(ConfigError, match="maps of 1 x 1 of these images, and attention has nothing to choose; hint"):
        predictor_of(Splits(tiny, tiny, tiny))
    assert predictor_of(Splits(tiny, tiny, tiny), model="none").grid == (1, 1)


def test_a_damaged_encoder_of_a_checkpoint_is_named(splits):
    predictor = predictor_of(splits)
    meta = predictor.meta()
    assert isinstance(TASK.restored(predictor.config, meta).model.encoder, SmallEncoder)
    for change, message in [
        ({"encoder": {**meta["encoder"], "name": "none"}}, "its encoder is 'none'"),
        ({"encoder": {**meta["encoder"], "name": "n" * 5000}}, r"its encoder is 'n+ \.\. n+', expected"),
        ({"encoder": {**meta["encoder"], "network": {}}}, "it lacks 'channels'"),
        ({"encoder": {**meta["encoder"], "network": []}}, "encoder.network: expected object, got array"),
        ({"encoder": {**meta["encoder"], "frozen": "yes"}}, "encoder.frozen: expected bool, got str"),
        ({"encoder": ["small"]}, "encoder: expected object, got array"),
        ({"words": None}, "words: expected object, got null"),
        ({"shape": [1, 2]}, "shape: expected array of length 3, got 2"),
        ({"shape": [0, 24, 24]}, r"images of shape \(0, 24, 24\) with"),
        ({"mean": [0.0, 0.0]}, "with means of 2 channels"),
        ({"std": [True]}, r"std\[0\]: expected float, got bool"),
    ]:
        with pytest.raises((CheckpointError, DataError), match=message):
            TASK.restored(predictor.config, meta | change)
    assert Encoder.restored(StoredEncoder(**meta["encoder"])) == replace(predictor.encoder, normalization=None)


# ---------------------------------------------------------------------------------------------- scores
def test_the_report_has_every_score(run, splits):
    test = read_json(run / REPORT)["test"]
    assert test["images"] == len(splits.test)
    assert test["bleu1"] >= test["bleu"] == test["bleu4"]
    assert "pointing" not in test  # nothing is known of what words name


def test_attention_is_held_against_boxes_where_they_are_known(splits):
    pytest.importorskip("sacrebleu")
    predictor = predictor_of(splits)
    named = [[Named(1, (0, 0, 24, 24))] for _ in splits.test.captions]
    data = CaptionedImages(splits.test.pixels, splits.test.captions, named)
    pointing = TASK.evaluate(predictor, data).details["pointing"]
    assert pointing["things"] == len(splits.test)
    for name in ("share", "chance_share", "hits", "chance_hits"):
        assert pointing[name] == pytest.approx(100)
    assert "pointing" not in TASK.evaluate(predictor_of(splits, model="none"), data).details


def test_weights_are_those_of_the_words_of_the_first_caption(splits):
    predictor = predictor_of(splits)
    found = predictor.weights_with(splits.train)
    for weights, captions in zip(found, splits.train.captions, strict=True):
        assert weights.shape == (len(captions[0].split()), 3, 3)
        np.testing.assert_allclose(weights.sum((1, 2)), 1, rtol=1e-5)


def test_the_perplexity_is_that_of_all_words(splits):
    predictor = predictor_of(splits)
    loss, perplexity = predictor.mean_loss(splits.train)
    words = [len(caption.split()) + 1 for captions in splits.train.captions for caption in captions]
    assert np.log(perplexity) == pytest.approx(loss * len(words) / sum(words))


# ---------------------------------------------------------------------------------------------- looking at it
def test_figures_show_right_captions_and_wrong_ones(run, splits, tmp_path):
    assert read_json(run / REPORT)["figures"] == ["curves.png", ATTENTION]
    predictor = driver.load(run)
    evaluation = TASK.evaluate(predictor, splits.test)
    assert TASK.figures(predictor, splits.test, evaluation, tmp_path) == [ATTENTION]
    assert (tmp_path / ATTENTION).exists()
    found = evaluation.predictions
    data = CaptionedImages(splits.test.pixels, [[one.caption or "-"] for one in found])
    assert len(examples(found, data)) == min(3, sum(bool(one.words) for one in found))


def test_a_model_that_writes_no_word_has_no_figure(run, splits, tmp_path):
    predictor = driver.load(run)
    evaluation = TASK.evaluate(predictor, splits.test)
    silent = [one._replace(words=(), weights=one.weights[:0]) for one in evaluation.predictions]
    assert TASK.figures(predictor, splits.test, replace(evaluation, predictions=silent), tmp_path) == []


def test_scenes_leave_one_to_ask_about(run, splits, tmp_path):
    predictor = driver.load(run)
    data = CaptionedImages(splits.test.pixels, splits.test.captions, [[] for _ in splits.test.captions])
    drawn = TASK.figures(predictor, data, TASK.evaluate(predictor, data), tmp_path)
    assert drawn == [ATTENTION, SCENE]
    np.testing.assert_array_equal(predictor.read(tmp_path / SCENE), data.pixels[0])


def test_predict_describes_images_and_draws_them(run, source, tmp_path):
    predictor, output = driver.load(run), Lines()
    path = f"{source.data}/00.png"
    TASK.predict(predictor, output, [path], plot=tmp_path / "words.png")
    assert output.lines[0].startswith(f"{path}  ")
    assert "(probability 0." in output.lines[0]
    assert (tmp_path / "words.png").exists() or "nothing" in output.lines[0]


def test_what_has_no_attention_cannot_be_drawn(splits, source, tmp_path):
    predictor = predictor_of(splits, model="none")
    with pytest.raises(ConfigError, match="no attention to plot; hint: a run with --model soft or hard"):
        TASK.predict(predictor, Lines(), [f"{source.data}/00.png"], plot=tmp_path / "words.png")


def test_captions_of_unknown_words_alone_are_refused(splits):
    predictor = predictor_of(splits)
    other = CaptionedImages(splits.test.pixels, [["un chien"]] * len(splits.test))
    with pytest.raises(DataError, match="x: their captions have no word that the captions trained on have; hint"):
        predictor.check(other, "x")
    with pytest.raises(DataError, match="x: the images are 20 x 24, gray, those that the model was trained on 24 x 24"):
        predictor.check(CaptionedImages(splits.test.pixels[..., :20], splits.test.captions), "x")
