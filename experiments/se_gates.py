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
from typing import NamedTuple

import numpy as np

from minattn.autograd import asnumpy, no_grad
from minattn.data.images.augmentation import evaluation_images
from minattn.data.images.dataset import Images
from minattn.data.images.digits import CLASSES as DIGITS
from minattn.errors import CheckpointError, ConfigError, MinattnError
from minattn.tasks import driver
from minattn.tasks.config import settings_of
from minattn.tasks.files import write_json, write_text
from minattn.tasks.images.classifier import EVALUATION_BATCH, Classifier, on_device
from minattn.tasks.images.source import ImageSource
from minattn.tasks.images.task import ImageClassification
from minattn.tasks.run_folder import CONFIG, check_writable, is_finished
from minattn.tasks.threads import blas_threads
from minattn.viz import save_figure
from minattn.viz.style import INK, LINE, MUTED, PALETTE, axes_at, styled_figure, text_width

SHOWN = 4  # classes in the picture, where none are named
COLORS = tuple(color for color in PALETTE if color != INK)  # of classes; INK is for all of them
MARGIN = 0.12  # inches, at the edges of the picture


class Block(NamedTuple):
    """The gates (images, channels) of a block with SE, after and before training."""

    name: str
    trained: np.ndarray
    untrained: np.ndarray


@dataclasses.dataclass(frozen=True)
class Row:
    """What is told of a block.  Distances and spreads are of gates, which lie between 0 and 1."""

    block: str
    channels: int
    hidden: int
    mean: float
    least: float
    most: float
    from_half_untrained: float  # the mean of |s - 1/2|
    from_half: float
    between: float  # the standard deviation of the means of the classes
    within: float  # the standard deviation within a class
    share: float  # of the variance, which the class explains


COLUMNS = {
    "block": "block",
    "channels": "channels",
    "hidden": "hidden",
    "mean": "mean gate",
    "least": "least",
    "most": "most",
    "from_half_untrained": "from 1/2, untrained",
    "from_half": "from 1/2",
    "between": "between classes",
    "within": "within a class",
    "share": "class explains %",
}


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
        run = small_run(folder / "run", arguments.model or "se_resnet20", arguments.seed, arguments.set or [])
    else:
        run = arguments.run
    classifier, test = read_run(run)
    check_writable(folder)
    shown = chosen_classes(arguments.shown, classifier.classes, np.unique(test.labels))

    blocks = blocks_of(classifier, test)
    reduction = classifier.model.config.se
    rows = [row_of(block, test.labels, reduction) for block in blocks]
    chance = (len(np.unique(test.labels)) - 1) / (len(test) - 1)
    text = markdown_table(rows) + "\n" + "\n".join(findings(rows, blocks, chance)) + "\n"
    write_text(folder / "gates.md", text)
    write_json(folder / "gates.json", {"chance": chance, "blocks": [dataclasses.asdict(row) for row in rows]})
    figure = picture(blocks, rows, test.labels, {label: classifier.classes[label] for label in shown}, chance)
    save_figure(figure, folder / "gates.png")
    print(f"{classifier.config.model}, {len(test):,} test images of {', '.join(classifier.classes)}\n\n{text}")
    print(f"picture: {folder / 'gates.png'}")


# ---------------------------------------------------------------------------------------------- the network
def small_run(folder: Path, model: str, seed: int | None, settings: list[str]) -> Path:
    """The folder of a network trained on the digits: trained now, or before with the same settings."""
    source = ImageSource("digits")
    config = ImageClassification().configure(settings, model, source)
    config = config if seed is None else dataclasses.replace(config, seed=seed)
    refuse_without_se(config.network, f"the model {config.model}")
    if (folder / CONFIG).exists():
        stored = driver.StoredRun.read(folder, "images").config
        if settings_of(stored) != settings_of(config):
            raise CheckpointError(f"{folder} was trained with other settings; hint: another --out")
    if not is_finished(folder):
        begun = (folder / CONFIG).exists()
        outcome = driver.resume(folder) if begun else driver.start(ImageClassification(), config, source, folder)
        if outcome.interrupted:
            raise SystemExit(outcome.message)
    return folder


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
    """What is told of a block; variances are means over the channels."""
    s = block.trained
    between, within = variances(s, labels)
    return Row(
        block.name,
        s.shape[1],
        max(1, s.shape[1] // reduction),
        float(s.mean()),
        float(s.min()),
        float(s.max()),
        float(np.abs(block.untrained - 0.5).mean()),
        float(np.abs(s - 0.5).mean()),
        float(np.sqrt(between.mean())),
        float(np.sqrt(within.mean())),
        float(between.sum() / max((between + within).sum(), 1e-300)),
    )


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
def markdown_table(rows: list[Row]) -> str:
    """A line a block."""
    lines = [f"| {' | '.join(COLUMNS.values())} |", "|:---|" + "---:|" * (len(COLUMNS) - 1)]
    for row in rows:
        numbers = [f"{getattr(row, key):.3f}" for key in list(COLUMNS)[3:-1]]
        cells = [row.block, f"{row.channels}", f"{row.hidden}", *numbers, f"{100 * row.share:.1f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def findings(rows: list[Row], blocks: list[Block], chance: float) -> list[str]:
    """What the numbers say, also where it is not what the paper found."""
    inside = sum(int(((b.trained > 0) & (b.trained < 1)).sum()) for b in blocks)
    count = sum(b.trained.size for b in blocks)
    which = "All" if inside == count else f"{inside:,} of"
    farthest = max(rows, key=lambda row: row.from_half)
    untrained = max(row.from_half_untrained for row in rows)
    return [
        f"{which} {count:,} gates are between 0 and 1, from {min(row.least for row in rows):.2g} to "
        f"{max(row.most for row in rows):.6f}.",
        f"The block that moved away from 1/2 most is {farthest.block}: by {farthest.from_half:.3f} in the mean "
        f"(before training no block by more than {untrained:.3f}).",
        compared(rows, "share", "the share of the variance that the class explains"),
        compared(rows, "between", "the distance between classes"),
        f"(The class explains {100 * chance:.1f} % by chance.)",
    ]


def compared(rows: list[Row], key: str, what: str) -> str:
    """Whether something rises from stage to stage, as the paper found of what is specific to the class."""
    stages = sorted({int(row.block.split(".")[0]) for row in rows})
    means = [np.mean([getattr(r, key) for r in rows if r.block.startswith(f"{stage}.")]) for stage in stages]
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


# ---------------------------------------------------------------------------------------------- the picture
def picture(blocks: list[Block], rows: list[Row], labels: np.ndarray, shown: dict[int, str], chance: float):
    """The last block of each stage: gates by class, and their spread within two classes; below, all blocks."""
    last = [b for b, after in zip(blocks, [*blocks[1:], None], strict=True) if not after or after.name.endswith(".1")]
    colors = dict(zip(shown, COLORS, strict=False))
    pair = list(shown)[:: max(1, len(shown) - 1)]  # the first and the last
    left, width, gap, height, between = 0.62, 3.1, 0.62, 1.35, 0.62
    top = MARGIN + 3.2 * LINE
    below = top + len(last) * (height + between) + 1.5 * LINE
    page = left + 2 * width + gap + MARGIN, below + height + 0.5
    with styled_figure(*page) as figure:
        write_key(figure, left, MARGIN + LINE, [("all classes", INK), *((shown[k], colors[k]) for k in shown)])
        for number, block in enumerate(last):
            y = top + number * (height + between)
            order = np.argsort(block.trained.mean(axis=0))
            means, spread = (axes_at(figure, left + i * (width + gap), y, width, height) for i in range(2))
            draw_means(means, block.trained[:, order], labels, colors)
            means.set_title(f"block {block.name}, mean gate of each channel")
            draw_spread(spread, block.trained[:, order], labels, {label: colors[label] for label in pair})
            spread.set_title("and one standard deviation in a class")
            if block is last[-1]:
                means.set_xlabel("channels, by their mean over all classes")
        draw_shares(axes_at(figure, left, below, width, height), rows, chance)
        draw_distances(axes_at(figure, left + width + gap, below, width, height), rows)
    return figure


def write_key(figure, x: float, y: float, names: list[tuple[str, str]]) -> None:
    """Names in their colors, side by side."""
    width, height = figure.get_size_inches()
    for name, color in names:
        figure.text(x / width, 1 - y / height, name, color=color, weight="bold", va="center")
        x += 1.05 * text_width(name, weight="bold") + 0.2


def draw_means(axes, s: np.ndarray, labels: np.ndarray, colors: dict[int, str]) -> None:
    channels = np.arange(1, s.shape[1] + 1)
    for label, color in colors.items():
        means = s[labels == label].mean(axis=0)
        axes.plot(channels, means, color=color, linewidth=0.7, alpha=0.4)
        axes.plot(channels, means, "o", color=color, markersize=2.6, markeredgewidth=0)
    axes.plot(channels, s.mean(axis=0), color=INK, linewidth=1.2)
    gate_axes(axes, len(channels))


def draw_spread(axes, s: np.ndarray, labels: np.ndarray, colors: dict[int, str]) -> None:
    channels = np.arange(1, s.shape[1] + 1)
    for label, color in colors.items():
        of_class = s[labels == label]
        mean, deviation = of_class.mean(axis=0), of_class.std(axis=0)
        axes.fill_between(channels, mean - deviation, mean + deviation, color=color, alpha=0.22, linewidth=0)
        axes.plot(channels, mean, color=color, linewidth=1.2)
    gate_axes(axes, len(channels))


def gate_axes(axes, channels: int) -> None:
    axes.axhline(0.5, color=MUTED, linewidth=0.6, linestyle=":")
    axes.set(xlim=(0.5, channels + 0.5), ylim=(0, 1), yticks=(0, 0.5, 1))
    axes.set_xticks([1, channels // 4, channels // 2, 3 * channels // 4, channels])


def draw_shares(axes, rows: list[Row], chance: float) -> None:
    values = [100 * row.share for row in rows]
    axes.bar(range(len(rows)), values, width=0.62, color=PALETTE[0])
    for x, value in enumerate(values):
        axes.annotate(f"{value:.0f}", (x, value), (0, 2), textcoords="offset points", ha="center", color=MUTED)
    axes.axhline(100 * chance, color=MUTED, linewidth=0.6, linestyle=":")
    axes.set(ylim=(0, 1.2 * max(*values, 1e-9)), title="the class explains, % (dotted: chance)")
    axes.set_xticks(range(len(rows)), [row.block for row in rows])
    axes.set_xlabel("block")


def draw_distances(axes, rows: list[Row]) -> None:
    places = range(len(rows))
    axes.plot(places, [row.from_half for row in rows], "o-", color=PALETTE[1], label="trained")
    axes.plot(places, [row.from_half_untrained for row in rows], "o-", color=MUTED, label="untrained")
    axes.set(xlim=(-0.5, len(rows) - 0.5), ylim=(0, 0.5), title="mean distance of the gates from 1/2")
    axes.set_xticks(places, [row.block for row in rows])
    axes.set_xlabel("block")
    axes.legend(frameon=False, loc="upper left", ncols=2, labelcolor="linecolor", borderpad=0)


if __name__ == "__main__":
    try:
        main()
    except (MinattnError, OSError) as error:
        raise SystemExit(f"error: {error}") from None
