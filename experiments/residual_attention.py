"""Masks on residual networks: residual against naive learning by depth, three activations, and labels that are wrong.

    python experiments/residual_attention.py                            (a small part of Fashion-MNIST)
    python experiments/residual_attention.py --data FOLDER              (of CIFAR-10, its binary version)
    python experiments/residual_attention.py --rows arl-1 nal-1         (some of the rows, the others later)

F. Wang et al., "Residual attention network for image classification", CVPR 2017, section 4.1, at a small size:

    depth       attention residual learning (ARL), (1 + M) T, against naive attention learning (NAL), M T, with m = 1, 2
                and 3 modules a stage: 56, 92 and 128 layers
    activation  m = 1 with masks of the activations mixed, channel and spatial
    noise       m = 1 against the trunk alone with m = 2, a residual network that costs about as much, where 0, 30, 50
                and 70 % of the labels to train on are wrong: each is replaced, with that probability, by another class

The networks are the reconstruction for CIFAR with its numbers of maps divided by `--narrow`, and the images are halved,
each pixel the mean of four, unless `--no-halve` is given; all of it takes half an hour on one core.  They learn from
the first `--images` of the training images, and the model of the last step is scored on the dev images, which were held
out of them; nothing is chosen by that score.  The main rows have `--seeds` seeds, the others the first one; all rows of
a seed see the same images in the same order.

Leaves `residual.md`, `residual.json` and `residual.png` in the folder, the masks of the first network over dev images,
`masks.png`, and a file for each network that was trained: a second call trains what is missing, and the table has what
there is.
"""

import argparse
import dataclasses
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from shared import (
    accuracy,
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

from minattn.attention.spatial.residual_attention import ResidualAttention
from minattn.autograd import no_grad, tensor
from minattn.data.images.dataset import Images, ImageSplits
from minattn.errors import ConfigError
from minattn.models.summary import count_macs
from minattn.tasks.config import as_json, replaced
from minattn.tasks.files import write_json, write_text
from minattn.tasks.images.classifier import Classifier
from minattn.tasks.images.settings import ImageConfig
from minattn.tasks.images.source import ImageSource
from minattn.tasks.images.task import ImageClassification, draw_maps, examples
from minattn.tasks.run_folder import check_libraries, check_writable
from minattn.viz import save_figure
from minattn.viz.style import MUTED, PALETTE, styled_figure

MODEL = "cifar_attention56"
SETTINGS = ("batch_size=64", "lr=0.1", "weight_decay=1e-4", "label_smoothing=0")
MODULES = (1, 2, 3)
NOISE = (0, 30, 50, 70)  # percent of the labels
MASKED = 500  # dev images whose masks are averaged


class Row(NamedTuple):
    """A network by its name, what it is in words, its settings, and the percent of labels that are wrong."""

    name: str
    title: str
    settings: dict[str, Any]
    noise: int = 0
    main: bool = True  # with all seeds


def modules(m: int, **settings: Any) -> dict[str, Any]:
    """The settings of m modules a stage."""
    return {"modules": (m, m, m), **settings}


def rows_of_noise(name: str, title: str, settings: dict[str, Any]) -> list[Row]:
    """A network under each share of wrong labels but none."""
    return [
        Row(f"{name}-noise-{percent}", f"{title}, {percent} % wrong labels", settings, percent, percent == 50)
        for percent in NOISE[1:]
    ]


FORMS = {"arl": "ARL", "nal": "NAL"}
TRUNK = "trunk-2", "trunk alone, m = 2", modules(2, masks=False)
ROWS = [
    *(
        Row(f"{form}-{m}", f"{title}, m = {m}", modules(m, residual=form == "arl"))
        for m in MODULES
        for form, title in FORMS.items()
    ),
    *(Row(name, f"ARL, m = 1, {name}", modules(1, activation=name), main=False) for name in ("channel", "spatial")),
    *rows_of_noise("arl-1", "ARL, m = 1", modules(1)),
    Row(*TRUNK),
    *rows_of_noise(*TRUNK),
]


def main() -> None:
    """Train the networks that are missing; tabulate and draw those that there are."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/residual"), help="folder for the runs and the table")
    add_image_options(parser, images=5000, halve=True)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--narrow", type=int, default=4, metavar="N", help="by what numbers of maps are divided")
    add_row_options(parser)
    arguments = parser.parse_args()

    check_row_options(
        arguments, [row.name for row in ROWS], {key for row in ROWS for key in row.settings} | {"model", "seed"}
    )
    config = configuration(arguments)
    check_writable(arguments.out)
    check_libraries()
    splits = image_splits(arguments, ImageSource(arguments.data), config)
    print(f"{len(splits.train):,} images to train on, {len(splits.dev):,} held out, {config.epochs} epochs", flush=True)
    results = []
    for row in ROWS:
        for seed in range(1, arguments.seeds + 1 if row.main else 2):
            of_seed = dataclasses.replace(config, seed=seed)
            result = measured(row, of_seed, splits, arguments.out, wanted(arguments, row.name, seed))
            results += [] if result is None else [result]
    if not results:
        raise ConfigError("there is no network to tabulate; hint: fewer of --rows and --only-seed")
    write_json(arguments.out / "residual.json", {"results": results})
    text = table(results) + "\n" + "\n".join(findings(results)) + "\n"
    write_text(arguments.out / "residual.md", text)
    save_figure(draw(results), arguments.out / "residual.png")
    figures = [arguments.out / "residual.png"]
    if draw_masks(dataclasses.replace(config, seed=1), splits, arguments.out):
        figures.append(arguments.out / "masks.png")
    print(f"\n{text}\nfigures: {', '.join(map(str, figures))}")


def configuration(arguments: argparse.Namespace) -> ImageConfig:
    """The settings of all rows."""
    source = ImageSource(arguments.data)
    crop = ImageClassification().default(MODEL, source).crop // (2 if arguments.halve else 1)
    given = [*SETTINGS, f"crop={crop}", f"epochs={arguments.epochs}", f"narrow={arguments.narrow}", *arguments.set]
    return ImageClassification().configure(given, MODEL, source)


# ---------------------------------------------------------------------------------------------- the images
def mislabelled(images: Images, percent: int, classes: int, seed: int) -> Images:
    """The images with each label replaced, with that probability, by one of the other classes, all alike."""
    rng = np.random.default_rng([seed, percent])
    wrong = rng.random(len(images)) < percent / 100
    others = (images.labels + rng.integers(1, classes, size=len(images))) % classes
    return Images(images.pixels, np.where(wrong, others, images.labels))


# ---------------------------------------------------------------------------------------------- a network
def measured(row: Row, config: ImageConfig, splits: ImageSplits, out: Path, train: bool) -> dict | None:
    """The score of a network: from its file, or else trained where it is wanted."""
    config, folder = of_row(row, config, out)

    def result() -> dict:
        images = mislabelled(splits.train, row.noise, len(splits.classes), config.seed)
        classifier, seconds = fitted(config, dataclasses.replace(splits, train=images), folder)
        score = accuracy(classifier, splits.dev)
        print(f"{row.title}, seed {config.seed}: {score:.2f} %; {seconds:.0f} s", flush=True)
        return {
            "row": row.name,
            "seed": config.seed,
            "accuracy": score,
            "train_accuracy": accuracy(classifier, images),
            "masks": mean_masks(classifier, splits.dev.at(slice(MASKED))),
            "parameters": classifier.model.count_parameters(),
            "macs": count_macs(classifier.model, splits.train.shape),
            "seconds": seconds,
        }

    given = {"settings": as_json(config), "images": splits.train.fingerprint()}
    return stored_result(folder.with_suffix(".json"), given, result if train else None)


def of_row(row: Row, config: ImageConfig, out: Path) -> tuple[ImageConfig, Path]:
    """The settings of a row, and the folder of its run."""
    settings = {f"network.{key}": value for key, value in row.settings.items()}
    return replaced(config, settings), out / f"{row.name}-seed-{config.seed}"


@no_grad()
def mean_masks(classifier: Classifier, images: Images) -> list[float]:
    """The mean of M over images, places and channels, of each attention module in the order of the network."""
    _, attention = classifier.model(tensor(classifier.normalization(images.pixels)), return_attention=True)
    named = classifier.model.named_modules()
    return [float(m.data.mean()) for path, m in attention.items() if isinstance(named[path], ResidualAttention)]


# ---------------------------------------------------------------------------------------------- what comes out
def of(results: list[dict], name: str, key: str = "accuracy") -> np.ndarray:
    """The numbers of a row, in the order of the seeds."""
    return np.array([result[key] for result in results if result["row"] == name])


def table(results: list[dict]) -> str:
    """A line a row: its accuracy, seed by seed, and what it cost."""

    def cells(row: Row) -> list[str]:
        (masks, *_), (macs, *_) = of(results, row.name, "masks"), of(results, row.name, "macs")
        return [
            row.title,
            *by_seed(of(results, row.name)),
            f"{of(results, row.name, 'train_accuracy').mean():.1f}",
            " ".join(f"{mean:.2f}" for mean in masks),
            f"{of(results, row.name, 'parameters')[0]:,}",
            f"{macs / 1e6:.1f}",
            f"{of(results, row.name, 'seconds').mean():.0f}",
        ]

    header = [
        "network",
        "accuracy (%), seed by seed",
        "mean",
        "of the images it learned from",
        "mean mask, module by module",
        "parameters",
        "million multiply-adds an image",
        "seconds",
    ]
    there = [row for row in ROWS if len(of(results, row.name))]
    return markdown_table(header, [cells(row) for row in there])


def findings(results: list[dict]) -> list[str]:
    """One row against another, in points, seed by seed, as far as both have the seed."""
    pairs = [
        *((f"ARL against NAL, m = {m}", f"arl-{m}", f"nal-{m}") for m in MODULES),
        *((f"{name} against mixed", name, "arl-1") for name in ("channel", "spatial")),
        *(
            (f"ARL, m = 1, against the trunk alone, {p} % wrong labels", f"arl-1{suffix}", f"trunk-2{suffix}")
            for p, suffix in ((p, f"-noise-{p}" if p else "") for p in NOISE)
        ),
    ]
    lines = []
    for title, one, other in pairs:
        first_scores, others = of(results, one), of(results, other)
        count = min(len(first_scores), len(others))
        if count:
            difference = first_scores[:count] - others[:count]
            seeds = ", ".join(f"{value:+.2f}" for value in difference)
            lines.append(f"- {title}: {difference.mean():+.2f} points ({seeds})")
    return lines


def draw(results: list[dict]):
    """Accuracy by depth, of ARL and NAL, and by the share of wrong labels, of ARL and the trunk: a dot a seed."""
    by_depth = {title: {m: f"{form}-{m}" for m in MODULES} for form, title in FORMS.items()}
    by_noise = {
        title: {p: f"{name}-noise-{p}" if p else name for p in NOISE}
        for name, title in (("arl-1", "ARL, m = 1"), TRUNK[:2])
    }
    with styled_figure(7.6, 2.8) as figure:
        figure.set_layout_engine("constrained")
        left, right = figure.subplots(1, 2)
        for axes, lines, label in (
            (left, by_depth, "modules a stage, m"),
            (right, by_noise, "labels that are wrong, %"),
        ):
            ticks = sorted({x for line in lines.values() for x in line})
            for (title, line), color in zip(lines.items(), (PALETTE[0], PALETTE[1]), strict=True):
                there = {x: of(results, name) for x, name in line.items() if len(of(results, name))}
                axes.plot(list(there), [scores.mean() for scores in there.values()], color=color, label=title)
                for x, scores in there.items():
                    axes.plot([x] * len(scores), scores, "o", color=color, alpha=0.55, markeredgewidth=0, markersize=4)
            axes.set_xticks(ticks)
            axes.margins(x=0.08)
            axes.set_xlabel(label)
            axes.grid(axis="y")
            axes.tick_params(colors=MUTED)
            if axes.lines:
                axes.legend(frameon=False, labelcolor="linecolor", handlelength=1)
        left.set_ylabel("accuracy, %")
    return figure


def draw_masks(config: ImageConfig, splits: ImageSplits, out: Path) -> bool:
    """Draw the masks of the first row's network over dev images; False where it is not trained."""
    config, folder = of_row(ROWS[0], config, out)
    if not folder.is_dir():
        return False
    classifier, _ = fitted(config, splits, folder)
    probabilities = classifier.predict(splits.dev).probabilities
    chosen = examples(probabilities, splits.dev.labels)
    return draw_maps(out / "masks.png", classifier, splits.dev.at(chosen), probabilities[chosen].argmax(axis=1))


if __name__ == "__main__":
    run(main)
