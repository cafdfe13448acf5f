"""An Image Transformer on a small part of Fashion-MNIST: bits per dimension by the size of its blocks.

    python experiments/pixel_blocks.py --out runs/pixel_blocks
    python experiments/pixel_blocks.py --rows 1d-256        (one network, the others later)

N. Parmar et al., "Image Transformer", ICML 2018, compare blocks of 8, 16, 64 and 256 positions on CIFAR-10, where
longer ones need fewer bits (4.06, 3.47, 3.13, 2.99).  Here it is the small network of `minattn train pixels`,
categorical with 256 levels, and beside these blocks rectangles of 8x8, and blocks of 64 with a mixture of logistics.
The images are halved, each pixel the mean of four, unless `--no-halve` is given: 14x14, so that 256 positions are all.
All rows of a seed learn from the first `--images` training images in the same order; the model of the last step is
scored on the first `--test` of the test images, beside what histograms and PNG need for them.

Leaves `blocks.md`, `blocks.json` and `blocks.png` in the folder, and a file for each network that was trained: a second
call trains what is missing, and the table has what there is.
"""

import argparse
import dataclasses
from pathlib import Path

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
    stored_result,
    wanted,
)

from minattn.data.images.dataset import ImageSplits, described
from minattn.errors import ConfigError
from minattn.tasks.config import as_json, replaced
from minattn.tasks.files import write_json, write_text
from minattn.tasks.images.source import ImageSource
from minattn.tasks.pixels.baselines import baselines
from minattn.tasks.pixels.settings import PixelConfig
from minattn.tasks.pixels.task import PixelGeneration
from minattn.tasks.run_folder import check_libraries, check_writable
from minattn.viz import save_figure
from minattn.viz.style import PALETTE, styled_figure

SIZES = (8, 16, 64, 256)
ROWS = {
    **{f"1d-{size}": (f"1-D, blocks of {size}", {"blocks": "1d", "query": size}) for size in SIZES},
    "2d-8x8": ("2-D, blocks of 8x8", {"blocks": "2d", "query_height": 8, "query_width": 8}),
    "mixture": ("1-D, blocks of 64, mixture of logistics", {"blocks": "1d", "query": 64, "likelihood": "mixture"}),
}
"""Rows by name: what they are in words, and their settings."""


def main() -> None:
    """Train the networks that are missing; tabulate and draw those that there are."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/pixel_blocks"), help="folder for the runs and the table")
    add_image_options(parser, images=8000, halve=True)
    parser.add_argument("--test", type=int, default=2000, metavar="N", help="score on the first N test images")
    parser.add_argument("--epochs", type=int, default=4)
    add_row_options(parser)
    arguments = parser.parse_args()

    check_row_options(arguments, list(ROWS), {key for _, settings in ROWS.values() for key in settings} | {"seed"})
    source, task = ImageSource(arguments.data), PixelGeneration()
    given = ["batch_size=16", f"epochs={arguments.epochs}", *arguments.set]
    config = task.configure(given, source=source)
    check_writable(arguments.out)
    check_libraries()
    splits = image_splits(arguments, source, config)
    shape = described(splits.train.shape)
    print(f"{len(splits.train):,} images to train on, {len(splits.test):,} to test, {shape}", flush=True)
    results = []
    for seed in range(1, arguments.seeds + 1):
        for name, (_, settings) in ROWS.items():
            of_row = {f"network.{key}": value for key, value in settings.items()}
            of_row = replaced(dataclasses.replace(config, seed=seed), of_row)
            result = measured(name, of_row, splits, arguments.out, wanted(arguments, name, seed))
            results += [] if result is None else [result]
    if not results:
        raise ConfigError("there is no network to tabulate; hint: fewer of --rows and --only-seed")
    predictor = task.build(config, splits)
    train, test = (predictor.levels(images) for images in (splits.train, splits.test))
    others = baselines(train, test, config.network.levels)
    write_json(arguments.out / "blocks.json", {"results": results, "baselines": others})
    text = table(results, others)
    write_text(arguments.out / "blocks.md", text)
    save_figure(draw(results), arguments.out / "blocks.png")
    print(f"\n{text}\nfigure: {arguments.out / 'blocks.png'}")


def measured(name: str, config: PixelConfig, splits: ImageSplits, out: Path, train: bool) -> dict | None:
    """The score of a network: from its file, or else trained where it is wanted."""
    folder = out / f"{name}-seed-{config.seed}"
    given = {"settings": as_json(config), "train": splits.train.fingerprint(), "test": splits.test.fingerprint()}

    def result() -> dict:
        task = PixelGeneration()
        predictor, seconds = fitted(config, splits, folder, task)
        bits = task.evaluate(predictor, splits.test).metrics["bits_per_dimension"]
        print(f"{ROWS[name][0]}, seed {config.seed}: {bits:.3f} bits per dimension; {seconds:.0f} s", flush=True)
        parameters = predictor.model.count_parameters()
        return {"row": name, "seed": config.seed, "bits_per_dimension": bits, "parameters": parameters}

    return stored_result(folder.with_suffix(".json"), given, result if train else None)


# ---------------------------------------------------------------------------------------------- what comes out
def of(results: list[dict], name: str) -> np.ndarray:
    """The scores of a row, in the order of the seeds."""
    return np.array([result["bits_per_dimension"] for result in results if result["row"] == name])


def table(results: list[dict], others: dict[str, float]) -> str:
    """A line a row, and a line for each baseline."""
    rows = [[title, *by_seed(of(results, name))] for name, (title, _) in ROWS.items() if len(of(results, name))]
    rows += [[name.replace("_", " "), "", f"{bits:.2f}"] for name, bits in others.items()]
    return markdown_table(["", "bits per dimension, seed by seed", "mean"], rows)


def draw(results: list[dict]):
    """Bits per dimension by the length of one-dimensional blocks, with the other networks as lines."""
    with styled_figure(4.6, 2.8) as figure:
        figure.set_layout_engine("constrained")
        axes = figure.subplots()
        sizes = [size for size in SIZES if len(of(results, f"1d-{size}"))]
        axes.plot(sizes, [of(results, f"1d-{size}").mean() for size in sizes], "o-", color=PALETTE[0], label="1-D")
        lines = [
            (title, of(results, name).mean(), PALETTE[1 + i])
            for i, (name, title) in enumerate((("2d-8x8", "2-D, 8x8"), ("mixture", "mixture, 64")))
            if len(of(results, name))
        ]
        for title, bits, color in lines:
            axes.axhline(bits, color=color, linestyle="--", linewidth=1, label=title)
        axes.set(xscale="log", xlabel="positions of a block", ylabel="bits per dimension")
        axes.set_xticks(SIZES, labels=[str(size) for size in SIZES], minor=False)
        axes.minorticks_off()
        axes.grid(axis="y")
        axes.legend(frameon=False, labelcolor="linecolor")
    return figure


if __name__ == "__main__":
    run(main)
