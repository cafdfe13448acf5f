r"""Augmented convolutions on a part of Fashion-MNIST: at equal parameters, and attention alone by its positions.

    python experiments/augmented_convolution.py --out runs/augmented
    python experiments/augmented_convolution.py --rows relative --only-seed 1      (one network, the others later)
    python experiments/augmented_convolution.py --out runs/everywhere --halve --images 6000 --epochs 8 \
        --set batch_size=32 --set lr=0.1 --rows plain none_everywhere sinusoidal_everywhere relative_everywhere

I. Bello et al., "Attention augmented convolutional networks", ICCV 2019, comparisons of theirs at a small size:

    equal parameters    ResNet-20, and the same with attention beside the 3x3 convolutions of the last stage, kappa = 2
                        upsilon = 0.2, which has 408 parameters more
    attention alone     ResNet-20 whose blocks have attention in place of their first 3x3 convolution in the last two
                        stages (kappa = upsilon = 1, feature maps of 14x14 and 7x7), without positions, with
                        sinusoidal ones, with two channels of coordinates, and with relative positions
    everywhere          attention in place of every 3x3 convolution but the stem's; for smaller images (`--halve`)

The networks learn from the first `--images` of the training images, all rows of a seed from the same ones in the same
order; the model of the last step is scored on the first `--test` of the test images.

Leaves `augmented.md`, `augmented.json` and `augmented.png` in the folder, the picture being of the heads of the network
with relative positions of seed 1, and a file for each network that was trained: a second call trains what is missing,
and the table has what there is.
"""

import argparse
import dataclasses
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from shared import (
    add_image_options,
    add_row_options,
    by_seed,
    check_row_options,
    fitted,
    image_splits,
    markdown_table,
    run,
    tested,
    wanted,
)

from minattn.autograd import asnumpy, no_grad, tensor
from minattn.data.images.dataset import Images, described
from minattn.errors import ConfigError
from minattn.tasks.config import replaced
from minattn.tasks.files import write_json, write_text
from minattn.tasks.images.classifier import Classifier
from minattn.tasks.images.settings import ImageConfig
from minattn.tasks.images.source import ImageSource
from minattn.tasks.images.task import ImageClassification
from minattn.tasks.run_folder import check_libraries, check_writable
from minattn.viz import save_figure
from minattn.viz.maps import laid_over
from minattn.viz.style import MUTED, styled_figure


class Row(NamedTuple):
    """A network by its name here, what it is in words, its name in the registry and its settings."""

    name: str
    title: str
    model: str
    settings: dict[str, Any]


POSITIONS = {
    "none": "no positions",
    "sinusoidal": "sinusoidal positions",
    "coordinates": "coordinates",
    "relative": "relative positions",
}
ALONE = {"stages": 2, "heads": 4}
EVERYWHERE = {"stages": 3, "heads": 4, "both": True}
ROWS = [
    Row("plain", "ResNet-20", "resnet20", {}),
    Row("beside", "ResNet-20, attention beside the last stage", "aa_resnet20", {}),
    *(
        Row(name, f"attention alone, {title}", "aa_resnet20_1.0", {"positions": name, **ALONE})
        for name, title in POSITIONS.items()
    ),
    *(
        Row(
            f"{name}_everywhere", f"attention everywhere, {title}", "aa_resnet20_1.0", {"positions": name, **EVERYWHERE}
        )
        for name, title in POSITIONS.items()
    ),
]
SHOWN = 5  # images in the picture


def main() -> None:
    """Train the networks that are missing; tabulate and draw those that there are."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/augmented"), help="folder for the runs and the table")
    add_image_options(parser, images=2000, halve=False)
    parser.add_argument("--test", type=int, default=2000, metavar="N", help="score on the first N test images")
    parser.add_argument("--epochs", type=int, default=10)
    add_row_options(parser)
    arguments = parser.parse_args()

    differing = {key for row in ROWS for key in row.settings} | {"model", "seed"}
    check_row_options(arguments, [row.name for row in ROWS], differing)
    source = ImageSource(arguments.data)
    configs = {row.name: configuration(row, arguments, source) for row in ROWS}
    check_writable(arguments.out)
    check_libraries()
    splits = image_splits(arguments, source, configs["plain"])
    print(
        f"{len(splits.train):,} images to train on, {len(splits.test):,} to test, {described(splits.train.shape)}, "
        f"{arguments.epochs} epochs",
        flush=True,
    )
    results = []
    for seed in range(1, arguments.seeds + 1):
        for row in ROWS:
            config = dataclasses.replace(configs[row.name], seed=seed)
            folder = arguments.out / f"{row.name}-seed-{seed}"
            result = tested(row, config, splits, folder, wanted(arguments, row.name, seed), lambda classifier: {})
            results += [] if result is None else [result]
    if not results:
        raise ConfigError("there is no network to tabulate; hint: fewer of --rows and --only-seed")
    write_json(arguments.out / "augmented.json", {"results": results})
    text = table(results)
    write_text(arguments.out / "augmented.md", text)
    print(f"\n{text}")
    if any((result["row"], result["seed"]) == ("relative", 1) for result in results):
        config = dataclasses.replace(configs["relative"], seed=1)
        classifier, _ = fitted(config, splits, arguments.out / "relative-seed-1")
        save_figure(draw(classifier, splits.test), arguments.out / "augmented.png")
        print(f"figure: {arguments.out / 'augmented.png'}")


def configuration(row: Row, arguments: argparse.Namespace, source: ImageSource) -> ImageConfig:
    """The settings of a row; windows are cut out of images that are padded by half as much where they are halved."""
    task = ImageClassification()
    crop = task.default(row.model, source).crop // (2 if arguments.halve else 1)
    config = task.configure([f"epochs={arguments.epochs}", f"crop={crop}", *arguments.set], row.model, source)
    return replaced(config, {f"network.{key}": value for key, value in row.settings.items()})


# ---------------------------------------------------------------------------------------------- what comes out
def table(results: list[dict]) -> str:
    """A line a row: its accuracy, seed by seed, and what it cost."""

    def of(row: Row, key: str) -> np.ndarray:
        return np.array([result[key] for result in results if result["row"] == row.name])

    def cells(row: Row) -> list[str]:
        return [
            row.title,
            f"{of(row, 'parameters')[0]:,}",
            *by_seed(of(row, "accuracy")),
            f"{of(row, 'seconds').mean():.0f}",
        ]

    header = ["network", "parameters", "accuracy (%), seed by seed", "mean", "seconds"]
    return markdown_table(header, [cells(row) for row in ROWS if len(of(row, "accuracy"))])


@no_grad()
def draw(classifier: Classifier, test: Images):
    """What the middle position attends to with each head of the last stage's first block, over test images."""
    images = test.at(slice(SHOWN))
    _, attention = classifier.model(tensor(classifier.normalization(images.pixels)), return_attention=True)
    weights = asnumpy(attention["backbone.stages.2.blocks.0.augmented"].data)  # (image, head, y, x, y, x)
    height, width = weights.shape[-2:]
    heads = weights[:, :, height // 2, width // 2]
    with styled_figure(1.3 * (heads.shape[1] + 1), 1.25 * SHOWN) as figure:
        figure.set_layout_engine("constrained")
        grid = figure.subplots(SHOWN, heads.shape[1] + 1, squeeze=False)
        for row, image, of_image in zip(grid, images.pixels / 255, heads, strict=True):
            drawn = [np.repeat(image.transpose(1, 2, 0), 3 // len(image), axis=2)]
            drawn += list(laid_over(np.repeat(image[None], len(of_image), axis=0), of_image))
            for axes, picture in zip(row, drawn, strict=True):
                axes.imshow(picture, interpolation="nearest")
                axes.set(xticks=(), yticks=(), frame_on=False)
                rows, columns = picture.shape[:2]  # a ring around the query
                x, y = (width // 2 + 0.5) * columns / width, (height // 2 + 0.5) * rows / height
                axes.plot(x - 0.5, y - 0.5, "o", color="white", fillstyle="none", markersize=7)
        for axes, name in zip(grid[0], ["image", *(f"head {i + 1}" for i in range(heads.shape[1]))], strict=True):
            axes.set_title(name, color=MUTED)
    return figure


if __name__ == "__main__":
    run(main)
