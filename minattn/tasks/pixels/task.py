"""Images generated pixel by pixel: an Image Transformer learns what images are like, samples some and completes others.

The data are the 8x8 digits that scikit-learn ships, Fashion-MNIST, CIFAR-10 or a folder of images; their classes are
not used.  The score is bits per dimension, -log2 p of a channel of a pixel given those generated before, the mean
over the test images, beside what histograms and PNG need for the same images (`minattn.tasks.pixels.baselines`).  At
every evaluation the model samples a row of images, and in the end completes the lower halves of test images too.

`--set encoder_layers=2` is super-resolution: the model is given each image with `factor` times fewer rows and columns,
and its score is that of the image given the low-resolution one.
"""

from collections.abc import Mapping, Sequence
from math import log
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np

from minattn.data import ImageSplits
from minattn.data.images.dataset import Images, described
from minattn.data.images.folder import read_image
from minattn.data.images.levels import from_levels
from minattn.errors import ConfigError
from minattn.tasks.config import replaced
from minattn.tasks.fields import NonNegative, NonNegativeFloat
from minattn.tasks.images.source import ImageSource
from minattn.tasks.pixels.baselines import baselines
from minattn.tasks.pixels.pixel_model import PixelModel
from minattn.tasks.pixels.settings import DEFAULTS, PixelConfig, UpToHundred
from minattn.tasks.task import Evaluation, OnProgress, Output, Task, ignore_progress
from minattn.training import Metric
from minattn.training.progress import Progress

PAGE = "samples.png"


class PixelGeneration(Task):
    """Generation of images."""

    name = "pixels"
    help = "Learn to generate images, pixel by pixel."
    source = ImageSource
    items = "images"
    models: ClassVar[dict[str, PixelConfig]] = {"image_transformer": PixelConfig()}
    metrics = (
        Metric(
            "bits_per_dimension", "bits per dimension", axis="bits per dimension", unit="bits per dimension", digits=3
        ),
    )
    command = "complete"

    def default(self, model: str | None = None, source: ImageSource | None = None) -> PixelConfig:
        """The settings with this network and these data; without data, those of the digits."""
        data_set = (source or ImageSource()).data_set
        return replaced(super().default(model), DEFAULTS.get(data_set, DEFAULTS[None]))

    def build(self, config: PixelConfig, splits: ImageSplits) -> PixelModel:
        return PixelModel.of(config, splits.train)

    def restored(self, config: PixelConfig, meta: Mapping[str, Any]) -> PixelModel:
        return PixelModel(config)

    def evaluate(self, predictor: PixelModel, data: Images, on_progress: OnProgress = ignore_progress) -> Evaluation:
        """Score a run's best model on its test images: bits per dimension."""
        loss = predictor.mean_loss(data, on_progress)
        return Evaluation({"loss": loss, "bits_per_dimension": loss / log(2)}, len(data))

    def read(self, predictor: PixelModel, path: str) -> Images:
        """Read the test images of a data set by its name or of a folder."""
        return ImageSource(path).load(predictor.config).test

    def describe(self, splits: ImageSplits) -> str:
        return described(splits.train.shape)

    def on_evaluation(
        self, predictor: PixelModel, metrics: Mapping[str, float], step: int, folder: Path, progress: Progress
    ) -> None:
        """Sample a few images, unless the model needs low-resolution ones for that."""
        if not predictor.has_encoder:
            draw_page(predictor, folder / PAGE)
            progress.note(f"samples: {folder / PAGE}")

    def report(self, predictor: PixelModel, splits: ImageSplits) -> dict[str, Any]:
        train, test = (predictor.levels(images) for images in (splits.train, splits.test))
        return {"baselines": baselines(train, test, predictor.config.network.levels)}

    def remarks(self, report: Mapping[str, Any]) -> dict[str, str]:
        others = ", ".join(f"{name.replace('_', ' ')} {bits:.2f}" for name, bits in report["baselines"].items())
        return {"baselines": others}

    def figures(self, predictor: PixelModel, test: Images, evaluation: Evaluation, folder: Path) -> Sequence[str]:
        """Images that the best model samples, and test images that it completes from their upper half, or enlarges."""
        draw_page(predictor, folder / PAGE, test)
        return [PAGE]

    def predict(
        self,
        predictor: PixelModel,
        output: Output,
        paths: Annotated[list[str], "image files", "IMAGE"],
        *,
        rows: Annotated[
            NonNegative | None, "rows that stay, from the top  [default: half of them; of super-resolution none]", "N"
        ] = None,
        count: Annotated[UpToHundred, "completions of each image  [default: 4]", "N"] = 4,
        temperature: Annotated[
            NonNegativeFloat, "below 1 likely levels become likelier; 0: the likeliest  [default: 1]", "T"
        ] = 1.0,
        seed: Annotated[NonNegative, "another seed, other images  [default: 1]", "S"] = 1,
        plot: Annotated[str, "the page of pictures  [default: completed.png]", "FILE"] = "completed.png",
    ) -> None:
        """Complete images: the rows below those that stay; super-resolution enlarges a small image."""
        from minattn.viz.image_page import LARGEST, image_page
        from minattn.viz.saving import check_figure_path

        channels, height, _ = predictor.shape
        kept = rows if rows is not None else 0 if predictor.has_encoder else height // 2
        if kept >= height:
            raise ConfigError(f"--rows {kept} of {height} rows leaves none to generate; hint: {height // 2}")
        if len(paths) > LARGEST:
            raise ConfigError(f"a page has at most {LARGEST} images, got {len(paths):,}; hint: several commands")
        check_figure_path(Path(plot))
        if any(Path(path).exists() and Path(plot).exists() and Path(plot).samefile(path) for path in paths):
            raise ConfigError(f"--plot {plot} is one of the images, which it would replace; hint: another name")
        color = "gray" if channels == 1 else "rgb"
        enlarges = predictor.has_encoder and not kept
        factor = predictor.config.network.factor if enlarges else 1
        height, width = (side // factor for side in predictor.shape[1:])
        given = np.stack([read_image(path, (height, width), color) for path in paths])
        given = given.repeat(factor, axis=2).repeat(factor, axis=3)  # the encoder takes means of factor x factor

        def on_progress(done: int, total: int) -> None:
            progress.advance(done / total)
            progress.report(f"{done:,} of {total:,} positions")

        with output.progress() as progress:
            made = predictor.completed(np.repeat(given, count, axis=0), kept, temperature, seed, on_progress)
        page = [
            (name, np.concatenate([image[None], images]))
            for name, image, images in zip(
                [Path(path).name for path in paths], given, np.split(made, len(paths)), strict=True
            )
        ]
        image_page(page, plot)
        samples = "a sample" if count == 1 else f"{count} samples"
        what = " in full size" if enlarges else f", {'the lower' if kept else 'all'} rows generated"
        output.line(f"{plot}: {', '.join(name for name, _ in page)}, each with {samples}{what}")

    def example(self, source: ImageSource) -> str:
        return "IMAGE.png"


def draw_page(predictor: PixelModel, path: Path, images: Images | None = None) -> None:
    """A page of images that the model samples; and of those given, upper halves, completed, and as they are."""
    from minattn.viz.image_page import image_page

    config, (channels, height, width) = predictor.config, predictor.shape
    rows = []
    if not predictor.has_encoder:
        nothing = np.zeros((config.samples, channels, height, width), np.uint8)
        rows.append(("sampled", predictor.completed(nothing, 0, config.temperature, config.seed)))
    if images is not None:
        kept, levels = 0 if predictor.has_encoder else height // 2, config.network.levels
        whole = predictor.levels(images.at(slice(config.samples)))
        upper, small = from_levels(whole, levels), predictor.low_resolution(whole)
        upper[:, :, kept:] = 0
        given = ("upper half", upper) if small is None else ("low resolution", from_levels(small, levels))
        whole = from_levels(whole, levels)
        completed = predictor.completed(whole, kept, config.temperature, config.seed)
        rows += [given, ("completed" if small is None else "sampled", completed), ("test image", whole)]
    image_page(rows, path)
