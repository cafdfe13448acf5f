"""Captions of images: Show, Attend and Tell learns to describe them, and shows where it looks for every word.

The data are scenes that are drawn here, two to four articles of clothing with captions such as "a bag left of a coat
above a sneaker", or a folder of images with a file of captions.  The scores are BLEU-1 to BLEU-4, exact captions, and,
where it is known what a word names, the share of its attention that falls on that, against chance.
"""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np

from minattn.data import Normalization, tokenizer_from_json
from minattn.data.captions.dataset import CaptionedImages, CaptionSplits
from minattn.data.captions.folder import read_captioned
from minattn.data.images.dataset import described
from minattn.data.images.folder import require_pillow
from minattn.errors import ConfigError
from minattn.tasks.captions.describer import Described, Describer, StoredCaptioner
from minattn.tasks.captions.encoders import Encoder
from minattn.tasks.captions.settings import MODELS, PHOTOGRAPHS, CaptionConfig
from minattn.tasks.captions.source import SCENES, CaptionSource
from minattn.tasks.config import replaced
from minattn.tasks.fields import BEAM
from minattn.tasks.task import Evaluation, OnProgress, Output, Task, ignore_progress
from minattn.training import Metric, as_kind
from minattn.training.caption_metrics import score_captions, score_pointing
from minattn.training.translation_metrics import load_sacrebleu
from minattn.viz.saving import write_atomically

if TYPE_CHECKING:
    from minattn.viz.captions import CaptionRow

ATTENTION = "attention.png"

SCENE = "scene.png"
"""A test scene, to ask `predict` about."""

SHOWN = 3
"""Right captions in the figure of a run, and as many wrong ones."""

Beam = Annotated[int | None, "beam width; 1 is greedy  [default: the run's]", "N", BEAM]


Likeliest = Annotated[bool, "look at the likeliest location alone for each word, as hard attention may"]


class Captions(Task):
    """Captions of images."""

    name = "captions"
    help = "Learn to describe images, and show where each word was looked for."
    source = CaptionSource
    items = "images"
    metrics = (
        Metric("bleu", "BLEU-4", axis="score (0 to 100)", short="BLEU-4", lower_is_better=False),
        Metric("exact", "exact (%)", axis="score (0 to 100)", short="exact", unit="%", lower_is_better=False),
    )
    models = MODELS
    validation: ClassVar[dict[str, Any]] = {"beam": 1}

    def default(self, model: str | None = None, source: CaptionSource | None = None) -> CaptionConfig:
        """The settings with this network and these data; without data, those of drawn scenes."""
        return replaced(super().default(model), {} if source is None or source.drawn else PHOTOGRAPHS)

    def build(self, config: CaptionConfig, splits: CaptionSplits) -> Describer:
        load_sacrebleu()  # the first evaluation would miss it
        return Describer.of(config, splits.train)

    def restored(self, config: CaptionConfig, meta: Mapping[str, Any]) -> Describer:
        stored = as_kind(meta, StoredCaptioner)
        words, encoder = tokenizer_from_json(stored.words), Encoder.restored(stored.encoder)
        return Describer(config, words, stored.shape, Normalization(stored.mean, stored.std), encoder)

    def describe(self, splits: CaptionSplits) -> str:
        captions = sum(len(of_image) for of_image in splits.train.captions)
        return f"{described(splits.train.shape)}, {captions:,} captions to train on"

    # ------------------------------------------------------------------------------------------ the score
    def evaluate(
        self,
        predictor: Describer,
        data: CaptionedImages,
        on_progress: OnProgress = ignore_progress,
        *,
        beam: Beam = None,
        likeliest: Likeliest = False,
    ) -> Evaluation:
        """Score a run's best model on its test images: BLEU, exact captions, attention on what is named.

        "uneven" is the mean over the captions of the doubly stochastic penalty, without lambda and without what is
        looked at for the end of the caption.  The loss, and what is said of the attention, are those with right
        captions and the expectation of hard attention.
        """
        found = predictor.describe(data.pixels, beam, on_progress, likeliest)
        score = score_captions([one.caption for one in found], data.captions)
        loss, perplexity = predictor.mean_loss(data)
        details: dict[str, Any] = {
            **{f"bleu{order}": value for order, value in enumerate(score.bleu, 1)},
            "perplexity": perplexity,
            "signature": score.signature,
            "beam": beam or predictor.config.beam,
        }
        if predictor.config.attends:
            weights = predictor.weights_with(data)
            details["uneven"] = float(np.mean([((1 - of_image.sum(0)) ** 2).sum() for of_image in weights]))
            if data.named is not None:
                pointing = score_pointing(weights, data.named, data.shape[1:])
                details["pointing"] = None if pointing is None else pointing._asdict()
        metrics = {"loss": loss, "bleu": score.bleu[-1], "exact": score.exact}
        return Evaluation(metrics, len(data), details, found)

    def read(self, predictor: Describer, path: str) -> CaptionedImages:
        """Read the images of a folder or of a file of captions, or scenes."""
        if path == SCENES:
            return CaptionSource().load(predictor.config).test
        return read_captioned(path, predictor.shape[1], "gray" if predictor.shape[0] == 1 else "rgb")

    def summary(self, test: Mapping[str, Any]) -> str:
        bleu = ", ".join(f"{test[f'bleu{order}']:.1f}" for order in (1, 2, 3, 4))
        return f"{super().summary(test)} (BLEU-1 to 4 {bleu}, perplexity {test['perplexity']:.4g}, beam {test['beam']})"

    def remarks(self, report: Mapping[str, Any]) -> dict[str, str]:
        test = report["test"]
        remarks = {"BLEU is": test["signature"]}
        if pointing := test.get("pointing"):
            remarks["attention"] = (
                f"{pointing['share']:.1f} % of it falls into the box of what is named (chance "
                f"{pointing['chance_share']:.1f} %), its peak in {pointing['hits']:.1f} % (chance "
                f"{pointing['chance_hits']:.1f} %)"
            )
        return remarks

    # ------------------------------------------------------------------------------------------ looking at it
    def figures(
        self, predictor: Describer, test: CaptionedImages, evaluation: Evaluation, folder: Path
    ) -> Sequence[str]:
        """An image for every word, with the attention over it, of a few right and wrong captions; and a scene."""
        from minattn.viz.captions import draw_captions

        drawn = [write_scene(folder / SCENE, test.pixels[0])] if test.named is not None else []
        if not predictor.config.attends:
            return drawn
        rows = [
            caption_row(test.pixels[i], evaluation.predictions[i], test.captions[i])
            for i in examples(evaluation.predictions, test)
        ]
        if not rows:  # no caption has a word
            return drawn
        draw_captions(rows, folder / ATTENTION)
        return [ATTENTION, *drawn]

    def predict(
        self,
        predictor: Describer,
        output: Output,
        paths: Annotated[list[str], "image files", "IMAGE"],
        *,
        beam: Beam = None,
        likeliest: Likeliest = False,
        plot: Annotated[Path | None, "draw where each word was looked for: FILE.png, .svg or .pdf", "FILE"] = None,
    ) -> None:
        """Describe images, word by word."""
        from minattn.viz.captions import draw_captions
        from minattn.viz.saving import check_figure_path

        if plot is not None:
            check_figure_path(plot)
            check_attends(predictor)
        pixels = np.stack([predictor.read(path) for path in paths])
        found = predictor.describe(pixels, beam, likeliest=likeliest)
        for path, one in zip(paths, found, strict=True):
            output.line(f"{path}  {one.caption or '(nothing)'}  (probability {one.probability:.3f})")
        if plot is not None:
            draw_captions([caption_row(*pair) for pair in zip(pixels, found, strict=True)], plot)
            output.line(f"attention drawn into {plot}")

    def example(self, source: CaptionSource) -> str:
        return "IMAGE.png --plot FILE.png"


def write_scene(path: Path, pixels: np.ndarray) -> str:
    """Write a gray image (1, height, width) of bytes as PNG; returns the file's name."""
    pillow, _ = require_pillow()
    content = io.BytesIO()
    pillow.fromarray(pixels[0]).save(content, "PNG")
    write_atomically(path, content.getvalue())
    return path.name


def check_attends(predictor: Describer) -> None:
    """Raise ConfigError for a model whose attention cannot be drawn."""
    if not predictor.config.attends:
        raise ConfigError("this run's model has no attention to plot; hint: a run with --model soft or hard")


def caption_row(pixels: np.ndarray, found: Described, references: Sequence[str] | None = None) -> "CaptionRow":
    """What the figure shows of an image; no references: whether the caption is right is not known."""
    from minattn.viz.captions import CaptionRow

    return CaptionRow(pixels / 255, found.words, found.weights, references)


def examples(found: Sequence[Described], data: CaptionedImages) -> list[int]:
    """Locations of images to show: of right captions those with the most words, and the first wrong ones."""
    right = np.array([one.caption in of_image for one, of_image in zip(found, data.captions, strict=True)])
    lengths = np.array([len(one.words) for one in found])
    longest = [i for i in np.argsort(-lengths, kind="stable") if right[i]][:SHOWN]
    wrong = [i for i in np.flatnonzero(~right) if found[i].words][:SHOWN]
    return [int(i) for i in (*longest, *wrong)]
