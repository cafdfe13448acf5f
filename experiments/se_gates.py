"""The gates of squeeze-and-excitation for images of different classes, at every depth of a network.

    minattn train images --data fashion-mnist --model se_resnet20 --out runs/se
    python experiments/se_gates.py runs/se
    python experiments/se_gates.py --out runs/digits      (trains a network on the 8x8 digits first: a minute)

J. Hu, L. Shen and G. Sun, "Squeeze-and-excitation networks", CVPR 2018, on the role of excitation: the mean gate of
each channel, for images of a few classes and for all, in the last block of each stage, and how far it spreads within a
class.  They found that early blocks treat all classes alike, and that later ones are specific to the class.

Here that is also a number for each block.  Over the test images, the variance of a gate is that of the means of its
classes and that within the classes: "the class explains" the share of the first, of all channels together.  For gates
that know nothing of the class it is about (classes - 1) / (images - 1), "by chance".

Leaves `gates.md`, `gates.json` and `gates.png` in the folder.  Blocks are named STAGE.BLOCK; "hidden" is the width
between the two linear layers: where it is 1, one number decides all gates of a block.
"""

import argparse
import dataclasses
import itertools
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from shared import markdown_table, run, trained

from minattn.autograd import asnumpy, no_grad
from minattn.data.images.augmentation import evaluation_images
from minattn.data.images.dataset import Images
from minattn.data.images.digits import CLASSES as DIGITS
from minattn.errors import ConfigError
from minattn.tasks import driver
from minattn.tasks.files import write_json, write_text
from minattn.tasks.images.classifier import EVALUATION_BATCH, Classifier, on_device
from minattn.tasks.images.source import ImageSource
from minattn.tasks.images.task import ImageClassification
from minattn.tasks.run_folder import check_writable
from minattn.tasks.threads import blas_threads
from minattn.viz import save_figure
from minattn.viz.style import INK, MUTED, PALETTE, styled_figure

SHOWN = 4  # classes in the figure, where none are named
COLORS = tuple(color for color in PALETTE if color != INK)  # of classes; INK is for all of them


class Block(NamedTuple):
    """The gates (images, channels) of a block with SE, after and before training."""

    name: str
    trained: np.ndarray
    untrained: np.ndarray


COLUMNS = {  # of the table; distances and spreads are of gates, which lie between 0 and 1
    "block": "block",
    "channels": "channels",
    "hidden": "hidden",
    "mean": "mean gate",
    "least": "least",
    "most": "most",
    "from_half_untrained": "from 1/2, untrained",  # the mean of |s - 1/2|
    "from_half": "from 1/2",
    "between": "between classes",  # the standard deviation of the means of the classes
    "within": "within a class",  # the standard deviation within a class
    "share": "class explains %",  # of the variance
}
Row = dict[str, Any]


def main() -> None:
    """Tabulate and draw the gates of a run on images with SE."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, nargs="?", help="a run of `minattn train images --model se_...`")
    parser.add_argument("--out", type=Path, help="folder  [default: RUN/gates; without a run runs/gates]")
    parser.add_argument("--class", action="append", dest="shown", metavar="NAME", help="draw this class; repeatable")
    parser.add_argument("--model", help="without a run: what to train  [default: se_resnet20]")
    parser.add_argument("--seed", type=int, help="without a run: of the training  [default: 1]")
    parser.add_argument("--set", action="append", metavar="KEY=VALUE", help="without a run: change a setting")
    arguments = parser.parse_args()

    given = [f"--{name}" for name in ("model", "seed", "set") if getattr(arguments, name) is not None]
    if arguments.run is not None and given:
        raise ConfigError(f"{arguments.run} is trained already, so {', '.join(given)} cannot be given")
    folder = arguments.out or (arguments.run / "gates" if arguments.run else Path("runs/gates"))
    if arguments.run is None:
        check_writable(folder)
        chosen_classes(arguments.shown, DIGITS, np.arange(len(DIGITS)))  # refuses what will not be there
        small_run(folder / "run", arguments.model or "se_resnet20", arguments.seed, arguments.set or [])
    classifier, test = read_run(arguments.run or folder / "run")
    check_writable(folder)
    shown = chosen_classes(arguments.shown, classifier.classes, np.unique(test.labels))

    blocks = blocks_of(classifier, test)
    reduction = classifier.model.config.se
    rows = [row_of(block, test.labels, reduction) for block in blocks]
    chance = (len(np.unique(test.labels)) - 1) / (len(test) - 1)
    text = table(rows) + "\n" + "\n".join(findings(rows, blocks, chance)) + "\n"
    write_text(folder / "gates.md", text)
    write_json(folder / "gates.json", {"chance": chance, "blocks": rows})
    figure = draw(blocks, rows, test.labels, {label: classifier.classes[label] for label in shown}, chance)
    save_figure(figure, folder / "gates.png")
    print(f"{classifier.config.model}, {len(test):,} test images of {', '.join(classifier.classes)}\n\n{text}")
    print(f"figure: {folder / 'gates.png'}")


# ---------------------------------------------------------------------------------------------- the network
def small_run(folder: Path, model: str, seed: int | None, settings: list[str]) -> None:
    """Train a network on the digits, unless that was done before with the same settings."""
    source = ImageSource("digits")
    config = ImageClassification().configure(settings, model, source)
    config = config if seed is None else dataclasses.replace(config, seed=seed)
    refuse_without_se(config.network, f"the model {config.model}")
    trained(ImageClassification(), config, source, folder)


def read_run(run: Path) -> tuple[Classifier, Images]:
    """The best model of a run and its test images.  Raises ConfigError where the model has no gates."""
    classifier, stored = driver.load(run, task="images"), driver.StoredRun.read(run)
    refuse_without_se(classifier.model.config, f"{run} is a run of {classifier.config.model}, which")
    test = stored.source.load_test(stored.config)
    stored.check_same({"test": test.fingerprint()}, "train anew")
    return classifier, test


def refuse_without_se(config, name: str) -> None:
    """Raise ConfigError where the configuration of a network is without SE."""
    if getattr(config, "se", None) is None:
        raise ConfigError(f"{name} has no squeeze-and-excitation; hint: such as --model se_resnet20")


def chosen_classes(names: list[str] | None, classes: tuple[str, ...], labels: np.ndarray) -> list[int]:
    """The labels of the classes to draw: those named, or a few of those that the test images have."""
    if names is None:
        return labels[np.linspace(0, len(labels) - 1, min(SHOWN, len(labels))).astype(int)].tolist()
    for name in names:
        if name not in classes or classes.index(name) not in labels:
            known = ", ".join(classes[label] for label in labels)
            raise ConfigError(f"there are no test images of a class {name!r}; hint: --class with one of {known}")
    if len(names) > len(COLORS) or len(set(names)) < len(names):
        raise ConfigError(f"--class takes at most {len(COLORS)} classes, each once; got {', '.join(names)}")
    return [classes.index(name) for name in names]


# ---------------------------------------------------------------------------------------------- the gates
def blocks_of(classifier: Classifier, images: Images) -> list[Block]:
    """Of every block of the network with SE, in order, the gates of these images."""
    untrained = Classifier(classifier.config, classifier.classes, classifier.shape, classifier.normalization)
    trained, untrained = gates(classifier, images), gates(untrained, images)
    names = block_names([s.shape[1] for s in trained])
    return [Block(*of_block) for of_block in zip(names, trained, untrained, strict=True)]


@blas_threads()
@no_grad()
def gates(classifier: Classifier, images: Images) -> list[np.ndarray]:
    """The gates s (images, channels), (3), of every block."""
    classifier.model.eval()
    batches = []
    for batch in evaluation_images(images, EVALUATION_BATCH, classifier.normalization):
        _, attention = classifier.model(on_device(classifier.model, batch.images), return_attention=True)
        batches.append([asnumpy(s.data) for path, s in attention.items() if path.endswith(".se")])
    return [np.concatenate(of_block).astype(np.float64) for of_block in zip(*batches, strict=True)]


def block_names(widths: list[int]) -> list[str]:
    """STAGE.BLOCK of each block: a stage is blocks of one width, one after another."""
    names, stage, block = [], 0, 0
    for i, width in enumerate(widths):
        stage, block = (stage, block + 1) if i and width == widths[i - 1] else (stage + 1, 1)
        names.append(f"{stage}.{block}")
    return names


def row_of(block: Block, labels: np.ndarray, reduction: int) -> Row:
    """The row of a block in the table; variances are means over the channels."""
    s = block.trained
    between, within = variances(s, labels)
    return {
        "block": block.name,
        "channels": s.shape[1],
        "hidden": max(1, s.shape[1] // reduction),
        "mean": float(s.mean()),
        "least": float(s.min()),
        "most": float(s.max()),
        "from_half_untrained": float(np.abs(block.untrained - 0.5).mean()),
        "from_half": float(np.abs(s - 0.5).mean()),
        "between": float(np.sqrt(between.mean())),
        "within": float(np.sqrt(within.mean())),
        "share": float(between.sum() / max((between + within).sum(), 1e-300)),
    }


def variances(s: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(between, within), of each channel: the variance of the means of the classes, and that around these means.

    Classes count by their images, so that the two add up to the variance of the channel.
    """
    between, within = np.zeros(s.shape[1]), np.zeros(s.shape[1])
    for label in np.unique(labels):
        of_class = s[labels == label]
        between += len(of_class) / len(s) * (of_class.mean(axis=0) - s.mean(axis=0)) ** 2
        within += len(of_class) / len(s) * of_class.var(axis=0)
    return between, within


# ---------------------------------------------------------------------------------------------- what comes out
def table(rows: list[Row]) -> str:
    """A line a block."""

    def cells(row: Row) -> list[str]:
        numbers = [f"{row[key]:.3f}" for key in list(COLUMNS)[3:-1]]
        return [row["block"], str(row["channels"]), str(row["hidden"]), *numbers, f"{100 * row['share']:.1f}"]

    return markdown_table(list(COLUMNS.values()), map(cells, rows))


def findings(rows: list[Row], blocks: list[Block], chance: float) -> list[str]:
    """Sentences on the numbers, also where they are not as the paper found."""
    inside = sum(int(((b.trained > 0) & (b.trained < 1)).sum()) for b in blocks)
    count = sum(b.trained.size for b in blocks)
    which = "All" if inside == count else f"{inside:,} of"
    farthest = max(rows, key=lambda row: row["from_half"])
    untrained = max(row["from_half_untrained"] for row in rows)
    return [
        f"{which} {count:,} gates are between 0 and 1, from {min(row['least'] for row in rows):.2g} to "
        f"{max(row['most'] for row in rows):.6f}.",
        f"The block that moved away from 1/2 most is {farthest['block']}: by {farthest['from_half']:.3f} in the mean "
        f"(before training no block by more than {untrained:.3f}).",
        compared(rows, "share", "the share of the variance that the class explains"),
        compared(rows, "between", "the distance between classes"),
        f"(The class explains {100 * chance:.1f} % by chance.)",
    ]


def compared(rows: list[Row], key: str, what: str) -> str:
    """A sentence on whether something rises from stage to stage, as the paper found."""
    stages = sorted({int(row["block"].split(".")[0]) for row in rows})
    means = [np.mean([row[key] for row in rows if row["block"].startswith(f"{stage}.")]) for stage in stages]
    numbers = ", ".join(f"{100 * mean:.1f} %" if key == "share" else f"{mean:.3f}" for mean in means)
    if len(stages) == 1:
        return f"There is one stage, so {what}, {numbers}, cannot be compared."
    if all(later > earlier for earlier, later in itertools.pairwise(means)):
        verdict = "As in the paper: with every stage the gates get more specific to the class"
    elif means[-1] > means[0]:
        verdict = "In part as in the paper: the last stage is more specific to the class than the first, not each step"
    else:
        verdict = "Not as in the paper: the last stage is no more specific to the class than the first"
    return f"{verdict}, by {what}: stage by stage {numbers}."


# ---------------------------------------------------------------------------------------------- the figure
def draw(blocks: list[Block], rows: list[Row], labels: np.ndarray, shown: dict[int, str], chance: float):
    """The last block of each stage: gates by class, and their spread within two classes; below, all blocks."""
    last = [b for b, after in zip(blocks, [*blocks[1:], None], strict=True) if not after or after.name.endswith(".1")]
    classes = {name: (labels == label, color) for (label, name), color in zip(shown.items(), COLORS, strict=False)}
    with styled_figure(7.6, 1.95 * (len(last) + 1)) as figure:
        figure.set_layout_engine("constrained")
        *of_blocks, (shares, distances) = figure.subplots(len(last) + 1, 2)
        for (means, spread), block in zip(of_blocks, last, strict=True):
            s = block.trained[:, np.argsort(block.trained.mean(axis=0))]
            draw_means(means, s, classes)
            means.set_title(f"block {block.name}, mean gate of each channel")
            draw_spread(spread, s, [list(classes.values())[i] for i in sorted({0, len(classes) - 1})])
            spread.set_title("and one standard deviation in a class")
        means.set_xlabel("channels, by their mean over all classes")
        draw_shares(shares, rows, chance)
        draw_distances(distances, rows)
        legend = {"ncols": len(classes) + 1, "labelcolor": "linecolor", "frameon": False}
        figure.legend(*means.get_legend_handles_labels(), loc="outside upper left", **legend)
    return figure


def draw_means(axes, s: np.ndarray, classes: dict[str, tuple[np.ndarray, str]]) -> None:
    """The mean of each gate over all images, and over those of each class."""
    channels = np.arange(1, s.shape[1] + 1)
    axes.plot(channels, s.mean(axis=0), color=INK, linewidth=1.2, label="all classes")
    for name, (images, color) in classes.items():
        means = s[images].mean(axis=0)
        axes.plot(channels, means, color=color, linewidth=0.7, alpha=0.4)
        axes.plot(channels, means, "o", color=color, markersize=2.6, markeredgewidth=0, label=name)
    gate_axes(axes, len(channels))


def draw_spread(axes, s: np.ndarray, classes: list[tuple[np.ndarray, str]]) -> None:
    """The mean of each gate over the images of a class, and a band of one standard deviation."""
    channels = np.arange(1, s.shape[1] + 1)
    for images, color in classes:
        mean, deviation = s[images].mean(axis=0), s[images].std(axis=0)
        axes.fill_between(channels, mean - deviation, mean + deviation, color=color, alpha=0.22, linewidth=0)
        axes.plot(channels, mean, color=color, linewidth=1.2)
    gate_axes(axes, len(channels))


def gate_axes(axes, channels: int) -> None:
    axes.axhline(0.5, color=MUTED, linewidth=0.6, linestyle=":")
    axes.set(xlim=(0.5, channels + 0.5), ylim=(0, 1), yticks=(0, 0.5, 1))
    axes.set_xticks([1, channels // 4, channels // 2, 3 * channels // 4, channels])


def draw_shares(axes, rows: list[Row], chance: float) -> None:
    bars = axes.bar([row["block"] for row in rows], [100 * row["share"] for row in rows], width=0.62, color=PALETTE[0])
    axes.bar_label(bars, fmt="{:.0f}", color=MUTED)
    axes.axhline(100 * chance, color=MUTED, linewidth=0.6, linestyle=":")
    axes.margins(y=0.2)
    axes.set(xlabel="block", title="the class explains, % (dotted: chance)")


def draw_distances(axes, rows: list[Row]) -> None:
    for key, color, label in (("from_half", PALETTE[1], "trained"), ("from_half_untrained", MUTED, "untrained")):
        axes.plot([row["block"] for row in rows], [row[key] for row in rows], "o-", color=color, label=label)
    axes.set(xlim=(-0.5, len(rows) - 0.5), ylim=(0, 0.5), xlabel="block", title="mean distance of the gates from 1/2")
    axes.legend(frameon=False, loc="upper left", ncols=2, labelcolor="linecolor", borderpad=0)


if __name__ == "__main__":
    run(main)
