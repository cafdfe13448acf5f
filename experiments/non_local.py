"""Non-local blocks where convolutions do not reach: two far items of one class or not, and which of two moves faster.

    python experiments/non_local.py same
    python experiments/non_local.py fastest --rows time --only-seed 1      (one network, the others later)

X. Wang, R. Girshick, A. Gupta and K. He, "Non-local neural networks", CVPR 2018, two comparisons of table 2 at a small
size, with items of Fashion-MNIST at half their side (`canvases.py`) and a small residual network (`clip_network.py`):

    same       pictures of two items, further apart than the network's receptive field: are they of one class?  The
               network alone, with one residual block more, and with a non-local block of each pairwise function
               (table 2a)
    fastest    clips of two items that move, of which every third frame is lit: of which class is the faster one?  C2D
               alone, and with a non-local block over each frame, over the frames of each position, and over all
               positions of all frames (table 2d); and all four with the coordinates of each pixel as channels

All rows of a seed learn from the same `--examples` canvases in the same order, whose items are drawn from the images to
train on; the model of the last step is scored on canvases of items of the test images.

Leaves `same.md`, `same.json` and the picture `same.png`, of what positions on one item attend to, or those of the other
question, in the folder, and a file for each network that was trained: a second call trains what is missing, and the
table has what there is.
"""

import argparse
import dataclasses
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from canvases import ANSWERS, BEST_SUM, BEST_SUM_BY_SIDE, fastest, same, small
from clip_network import RECEPTIVE_FIELD, STRIDE, ClipConfig, ClipNetworkConfig, multiply_adds
from shared import (
    add_row_options,
    by_seed,
    check_row_options,
    fitted,
    markdown_table,
    run,
    tested,
    wanted,
)

from minattn.autograd import asnumpy, no_grad, tensor
from minattn.data.images.dataset import Images, ImageSplits
from minattn.errors import ConfigError
from minattn.tasks.config import replaced, with_settings
from minattn.tasks.files import write_json, write_text
from minattn.tasks.images.classifier import Classifier
from minattn.tasks.images.source import ImageSource
from minattn.tasks.run_folder import check_libraries, check_writable
from minattn.viz import save_figure
from minattn.viz.maps import laid_over
from minattn.viz.style import INK, PALETTE, styled_figure

SETTINGS = ("batch_size=32", "lr=0.1", "weight_decay=1e-4", "label_smoothing=0", "crop=0", "flip=false")
TEST_SEED = 0  # of the canvases that all networks are scored on; seeds of training start at 1


class Row(NamedTuple):
    """A network by its name here, what it is in words, and its settings."""

    name: str
    title: str
    settings: dict[str, Any]


TITLES = {
    "gaussian": "Gaussian",
    "embedded": "embedded Gaussian",
    "dot": "dot product",
    "concatenation": "concatenation",
}
EXTENTS = {"space": "space", "time": "time", "spacetime": "space and time"}
ROWS = {
    "same": [
        Row("alone", "the network alone", {}),
        Row("deeper", "one residual block more", {"extra": True}),
        *(Row(pair, f"non-local block, {title}", {"pair": pair}) for pair, title in TITLES.items()),
    ],
    "fastest": [
        Row(f"{name}{suffix}", f"{title}{given}", settings | {"coordinates": bool(suffix)})
        for suffix, given in (("", ""), ("_coordinates", ", coordinates"))
        for name, title, settings in (
            ("alone", "C2D", {}),
            *(
                (extent, f"non-local block, {title}", {"pair": "embedded", "extent": extent})
                for extent, title in EXTENTS.items()
            ),
        )
    ],
}
DEFAULTS = {
    "same": {"canvas": 64, "examples": 10_000, "epochs": 6},
    "fastest": {"canvas": 40, "examples": 4000, "epochs": 6},
}
DRAWN = {"same": "embedded", "fastest": "spacetime"}  # the row, of seed 1, whose weights are in the picture
SHOWN = {"same": 8, "fastest": 3}  # canvases in the picture
ARROWS = 20  # from a position to those with the largest weights, as in figure 3


def main() -> None:
    """Train the networks that are missing; tabulate and draw those that there are."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    questions = parser.add_subparsers(dest="question", required=True, metavar="QUESTION")
    for question, default in DEFAULTS.items():
        of = questions.add_parser(question, help=f"rows: {', '.join(row.name for row in ROWS[question])}")
        of.add_argument("--out", type=Path, default=Path("runs/non_local"), help="folder for the runs and the table")
        of.add_argument(
            "--data", default="fashion-mnist", metavar="NAME|FOLDER", help="the items, by a name or a folder"
        )
        of.add_argument("--canvas", type=int, default=default["canvas"], metavar="N", help="pixels of a side")
        of.add_argument("--examples", type=int, default=default["examples"], metavar="N", help="canvases to train on")
        of.add_argument("--test", type=int, default=2000, metavar="N", help="canvases to score on")
        of.add_argument("--epochs", type=int, default=default["epochs"])
        add_row_options(of)
    arguments = parser.parse_args()

    rows, name = ROWS[arguments.question], arguments.question
    check_row_options(
        arguments, [row.name for row in rows], {"pair", "extent", "extra", "coordinates", "model", "seed"}
    )
    if arguments.canvas % STRIDE:
        raise ConfigError(f"--canvas must be a multiple of {STRIDE}, the pixels of a position; got {arguments.canvas}")
    for option in ("examples", "test"):
        if getattr(arguments, option) < 1:
            raise ConfigError(f"--{option} must be at least 1, got {getattr(arguments, option)}")
    source = ImageSource(arguments.data)
    config = ClipConfig(model="clip_network", network=ClipNetworkConfig())
    config = with_settings(config, [*SETTINGS, f"epochs={arguments.epochs}", *arguments.set])
    check_writable(arguments.out)
    check_libraries()
    splits = source.load(config)
    test = canvases(arguments, splits.test, arguments.test, TEST_SEED)
    results, drawn = [], None
    for seed in range(1, arguments.seeds + 1):
        train = canvases(arguments, splits.train, arguments.examples, seed)
        of_seed = ImageSplits(train, test, test, ANSWERS if name == "same" else splits.classes)
        for row in rows:
            settings = {f"network.{key}": value for key, value in row.settings.items()}
            config_of_row = replaced(dataclasses.replace(config, seed=seed), settings)
            folder = arguments.out / f"{name}-{row.name}-seed-{seed}"
            result = tested(row, config_of_row, of_seed, folder, wanted(arguments, row.name, seed), cost)
            results += [] if result is None else [result]
            if result is not None and (row.name, seed) == (DRAWN[name], 1):
                drawn, _ = fitted(config_of_row, of_seed, folder)
    if not results:
        raise ConfigError("there is no network to tabulate; hint: fewer of --rows and --only-seed")
    write_json(arguments.out / f"{name}.json", {"results": results})
    text = table(rows, results)
    if name == "same":
        text += (
            f"\nA sum of a score for each item is right for at most {100 * BEST_SUM:.1f} %, or "
            f"{100 * BEST_SUM_BY_SIDE:.1f} % where the scores of the two items may be different functions.\n"
        )
    write_text(arguments.out / f"{name}.md", text)
    print(f"\n{text}")
    if drawn is not None:
        save_figure(draw(drawn, test.at(slice(SHOWN[name]))), arguments.out / f"{name}.png")
        print(f"figure: {arguments.out / f'{name}.png'}")


# ---------------------------------------------------------------------------------------------- a network
def canvases(arguments: argparse.Namespace, images: Images, count: int, seed: int) -> Images:
    """`count` canvases of the question with items of these images."""
    rng = np.random.default_rng(seed)
    if arguments.question == "same":
        return same(small(images), count, arguments.canvas, RECEPTIVE_FIELD, rng)
    return fastest(small(images), count, arguments.canvas, rng)


def cost(classifier: Any) -> dict:
    """What a canvas, or a clip, takes."""
    return {"multiply_adds": multiply_adds(classifier.model.config, classifier.shape[-1])}


# ---------------------------------------------------------------------------------------------- what comes out
def table(rows: list[Row], results: list[dict]) -> str:
    """A line a row: its accuracy, seed by seed, and what it costs."""

    def of(row: Row, key: str) -> np.ndarray:
        return np.array([result[key] for result in results if result["row"] == row.name])

    header = ["network", "accuracy (%), seed by seed", "mean", "parameters", "million multiply-adds"]
    return markdown_table(
        header,
        [
            [
                row.title,
                *by_seed(of(row, "accuracy")),
                f"{of(row, 'parameters')[0]:,}",
                f"{of(row, 'multiply_adds')[0] / 1e6:.1f}",
            ]
            for row in rows
            if len(of(row, "accuracy"))
        ],
    )


@no_grad()
def draw(classifier: Classifier, images: Images):
    """What the brightest position of the first frame attends to, over canvases: heat map and arrows, as in figure 3."""
    answers = classifier.predict(images).probabilities.argmax(axis=1)
    _, attention = classifier.model(tensor(classifier.normalization(images.pixels)), return_attention=True)
    pixels = np.sqrt(images.pixels / 255)  # brighter
    frames = np.stack([pixels[:, max(0, t - 1) : t + 2].max(axis=1) for t in range(0, pixels.shape[1], 2)], axis=1)
    count, times, side, _ = frames.shape  # as C2D pools them
    cells = side // STRIDE  # positions on a side
    weights = asnumpy(attention["non_local"].data).reshape(count, times, cells, cells, times, cells, cells)
    brightness = frames[:, 0].reshape(count, cells, STRIDE, cells, STRIDE).mean(axis=(2, 4)).reshape(count, -1)
    queries = np.stack(np.unravel_index(brightness.argmax(axis=1), (cells, cells)), axis=1)
    columns = 4 if times == 1 else 1
    lines = -(-count // columns)
    with styled_figure(7.6, 2.1 * lines) as figure:
        figure.set_layout_engine("constrained", h_pad=0.04)
        grid = figure.subplots(lines, columns, squeeze=False).ravel()
        for axes in grid[count:]:
            axes.set_axis_off()
        for axes, i in zip(grid, range(count), strict=False):
            attended = np.concatenate(list(weights[i, 0, *queries[i]]), axis=1)  # frame beside frame
            (picture,) = laid_over(np.concatenate(list(frames[i]), axis=1)[None, None], attended[None])
            axes.imshow(picture, interpolation="nearest", extent=(0, times * cells, cells, 0))
            axes.set(xticks=(), yticks=(), frame_on=False)
            axes.vlines(np.arange(1, times) * cells, 0, cells, color="white", linewidth=2)
            draw_arrows(axes, queries[i], attended)
            right, title = answers[i] == images.labels[i], classifier.classes[images.labels[i]]
            note = "" if right else f", taken for {classifier.classes[answers[i]]}"
            axes.set_title(f"{title}{note}", weight="normal", color=INK if right else PALETTE[1])
    return figure


def draw_arrows(axes, query: np.ndarray, weights: np.ndarray) -> None:
    """A ring around a position, and arrows to those with the largest weights, thicker where they are larger."""
    row, column = query + 0.5
    axes.plot(column, row, "o", color="white", fillstyle="none", markersize=6)
    for largest in np.argsort(weights, axis=None)[-ARROWS:]:
        y, x = np.unravel_index(largest, weights.shape)
        width = 2 * np.sqrt(max(0, weights[y, x]) / weights.max())
        if width > 0.3 and (y, x) != tuple(query):
            arrow = {"arrowstyle": "->", "color": "white", "linewidth": width, "shrinkA": 3, "shrinkB": 0}
            axes.annotate("", (x + 0.5, y + 0.5), (column, row), arrowprops=arrow)


if __name__ == "__main__":
    run(main)
