"""The two forms of the Attention Branch Network on noisy images: does the residual one keep what the map hides?

    python experiments/abn_noise.py --out runs/noise                                  (the 8x8 digits)
    python experiments/abn_noise.py --out runs/noise-fashion --data fashion-mnist     (a small part of Fashion-MNIST)

H. Fukui et al., "Attention Branch Network: learning of attention mechanism for visual explanation", CVPR 2019: the map
M, 0 to 1, meets the features g as g (1 + M) or as g M.  Where noise misleads the map, g M loses what is under its dark
places, and g (1 + M) does not.  So one would expect g (1 + M) to keep the accuracy of the plain network, and g M to
lose some.

30 % noise: each pixel, with probability 0.3 and by itself, is replaced by one drawn uniformly from black to white.  The
noise of an image to train on is drawn once and stays; the test images are scored under several draws.

Three networks are trained with the same images, noise, steps and seeds, once without and once with noise: ResNet-8 with
projections, and ABN on it in both forms, which start from the same parameters.  The model of the last step is scored,
so there are no dev images.  "map on the object" is the correlation, over the pixels of a noisy test image, of M and the
image without its noise; M is that of the network trained with noise.

Leaves `noise.md`, `noise.json` and `noise.png` in the folder.  A network that is trained there already is not trained
again, one that was stopped goes on.
"""

import argparse
import dataclasses
from pathlib import Path
from typing import NamedTuple

import numpy as np
from shared import accuracy, first, fitted, markdown_table, run

from minattn.attention.spatial.regions import upsampled
from minattn.data.images.dataset import Images, ImageSplits
from minattn.errors import ConfigError
from minattn.tasks.config import as_json, replaced
from minattn.tasks.files import write_json, write_text
from minattn.tasks.images.classifier import Classifier
from minattn.tasks.images.settings import ImageConfig
from minattn.tasks.images.source import ImageSource
from minattn.tasks.images.task import ImageClassification
from minattn.tasks.run_folder import check_libraries, check_writable
from minattn.viz import save_figure
from minattn.viz.maps import COLORS, shown
from minattn.viz.style import MUTED, PALETTE, styled_figure

TEST_NOISE = 0  # the seed of the noise of the test images, the same for all
DRAWS = 5  # of the noise, under which the test images are scored
SHOWN = 10  # noisy images in the figure


class Network(NamedTuple):
    """A network by what it is called here, its name in the registry, and the form of its attention."""

    name: str
    folder: str
    model: str
    residual: bool | None = None  # g (1 + M), or g M; None: no attention


PLAIN = Network("ResNet-8", "plain", "resnet8_b")
RESIDUAL = Network("ABN, g (1 + M)", "residual", "abn_resnet8", True)
ALONE = Network("ABN, g M", "alone", "abn_resnet8", False)
NETWORKS = (PLAIN, RESIDUAL, ALONE)


class Size(NamedTuple):
    """The part of a data set that is used, and the length of training."""

    train: int | None
    test: int | None
    epochs: int


SIZES = {"digits": Size(None, None, 20), "fashion-mnist": Size(2000, 2000, 15)}

SCORES = {
    "clean": "without noise",
    "to_noisy": "noise in testing only",
    "noisy": "noise in training and testing",
}


def main() -> None:
    """Train all networks with all seeds, with and without noise, and tabulate their accuracies."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/noise"), help="folder for the runs and the table")
    parser.add_argument("--data", choices=SIZES, default="digits")
    parser.add_argument("--noise", type=float, default=0.3, metavar="SHARE", help="of the pixels that are replaced")
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="train with the seeds 1 to N")
    parser.add_argument("--images", type=int, metavar="N", help="train on the first N images only")
    parser.add_argument("--epochs", type=int, help="of each network  [default: 20; of fashion-mnist 15]")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change another setting")
    arguments = parser.parse_args()

    if not 0 < arguments.noise < 1:
        raise ConfigError(f"--noise is a share above 0 and below 1, got {arguments.noise:g}")
    if arguments.seeds < 1:
        raise ConfigError(f"--seeds must be at least 1, got {arguments.seeds}")
    size = SIZES[arguments.data]
    epochs = size.epochs if arguments.epochs is None else arguments.epochs
    configs = {n.model: configuration(n.model, arguments.data, epochs, arguments.set) for n in NETWORKS}
    config = configs[PLAIN.model]
    check_writable(arguments.out)
    check_libraries()
    count = size.train if arguments.images is None else arguments.images
    splits = part_of(ImageSource(arguments.data).load(config), count, size.test)
    print(f"{len(splits.train):,} images to train on, {len(splits.test):,} to test, {config.epochs} epochs", flush=True)
    results, maps_of = [], {}
    for seed in range(1, arguments.seeds + 1):
        for network in NETWORKS:
            settings = dataclasses.replace(configs[network.model], seed=seed)
            result, maps = measured(network, settings, splits, arguments.noise, arguments.out)
            results.append(result)
            if seed == 1 and maps is not None:
                maps_of[network.name] = maps
    write_json(arguments.out / "noise.json", {"noise": arguments.noise, "results": results})
    text = table(results) + "\n" + "\n".join(findings(results)) + "\n"
    write_text(arguments.out / "noise.md", text)
    save_figure(draw(results, splits, arguments.noise, maps_of), arguments.out / "noise.png")
    print(f"\n{text}\nfigure: {arguments.out / 'noise.png'}")


def configuration(model: str, data: str, epochs: int, settings: list[str]) -> ImageConfig:
    """The settings of a network.  Raises ConfigError for those in which the networks differ."""
    for setting in settings:
        if setting.partition("=")[0] in ("model", "seed"):
            raise ConfigError(f"the networks differ in model and seed, so --set {setting} cannot be given")
    return ImageClassification().configure([f"epochs={epochs}", *settings], model, ImageSource(data))


# ---------------------------------------------------------------------------------------------- the images
def part_of(splits: ImageSplits, train: int | None, test: int | None) -> ImageSplits:
    """The first images of train and test; None is all of them."""
    return dataclasses.replace(splits, train=first(splits.train, train), test=splits.test.at(slice(test)))


def noisy(images: Images, share: float, seed: int, draw: int = 0) -> Images:
    """The images with a share of their pixels replaced by uniform noise."""
    rng = np.random.default_rng([seed, draw])
    replaced = rng.random(images.pixels.shape) < share
    noise = rng.integers(256, size=images.pixels.shape, dtype=np.uint8)
    return Images(np.where(replaced, noise, images.pixels), images.labels)


# ---------------------------------------------------------------------------------------------- a network
def measured(
    network: Network, config: ImageConfig, splits: ImageSplits, noise: float, out: Path
) -> tuple[dict, np.ndarray | None]:
    """(the scores of a network in percent, its maps M of noisy test images)."""
    name = f"{network.folder}-seed-{config.seed}"
    clean, clean_seconds = trained(network, config, splits, out / f"{name}-clean")
    with_noise = dataclasses.replace(splits, train=noisy(splits.train, noise, config.seed))
    hardened, noisy_seconds = trained(network, config, with_noise, out / f"{name}-noisy")
    tests = [noisy(splits.test, noise, TEST_NOISE, draw) for draw in range(DRAWS)]
    result = {
        "network": network.name,
        "seed": config.seed,
        "clean": accuracy(clean, splits.test),
        "to_noisy": float(np.mean([accuracy(clean, test) for test in tests])),
        "noisy": float(np.mean([accuracy(hardened, test) for test in tests])),
        "on_object": None,
        "parameters": clean.model.count_parameters(),
        "seconds": clean_seconds + noisy_seconds,
        "settings": as_json(config),
    }
    maps = None
    if network.residual is not None:
        maps = attention_maps_of(hardened, tests[0])
        result["on_object"] = on_object(maps, splits.test)
    scores = ", ".join(f"{title} {result[key]:.2f} %" for key, title in SCORES.items())
    print(f"{network.name}, seed {config.seed}: {scores}; {result['seconds']:.0f} s", flush=True)
    return result, maps


def trained(network: Network, config: ImageConfig, splits: ImageSplits, folder: Path) -> tuple[Classifier, float]:
    """(a network after its last step, the seconds it took)."""
    if network.residual is not None:
        config = replaced(config, {"network.residual": network.residual})
    return fitted(config, splits, folder)


def attention_maps_of(classifier: Classifier, images: Images) -> np.ndarray:
    """M (images, height, width)."""
    (_, maps), *_ = classifier.maps(images, images.labels)
    return maps


def on_object(maps: np.ndarray, images: Images) -> float:
    """The mean over the images of the correlation of M with the image; 0 for what is the same everywhere."""
    m = upsampled(maps, images.shape[1:]).reshape(len(images), -1).astype(np.float64)
    pixels = images.pixels.mean(axis=1).reshape(len(images), -1)
    m, pixels = m - m.mean(axis=1, keepdims=True), pixels - pixels.mean(axis=1, keepdims=True)
    lengths = np.sqrt((m**2).sum(axis=1) * (pixels**2).sum(axis=1))
    return float(((m * pixels).sum(axis=1) / np.maximum(lengths, 1e-9)).mean())


# ---------------------------------------------------------------------------------------------- what comes out
def of(results: list[dict], network: Network, key: str) -> np.ndarray:
    """A network's numbers, in the order of the seeds."""
    return np.array([result[key] for result in results if result["network"] == network.name])


def spread(values: np.ndarray) -> float:
    """The standard deviation over the seeds."""
    return float(values.std(ddof=1)) if len(values) > 1 else 0.0


def table(results: list[dict]) -> str:
    """A line a network: mean and standard deviation of its accuracies over the seeds."""

    def cells(network: Network) -> list[str]:
        scores = [of(results, network, key) for key in SCORES]
        return [
            network.name,
            *(f"{values.mean():.2f} ± {spread(values):.2f}" for values in scores),
            "" if network.residual is None else f"{of(results, network, 'on_object').mean():.2f}",
            f"{of(results, network, 'parameters')[0]:,}",
            f"{of(results, network, 'seconds').mean():.0f}",
        ]

    header = ["accuracy %", *SCORES.values(), "map on the object", "parameters", "seconds"]
    return markdown_table(header, map(cells, NETWORKS))


def findings(results: list[dict]) -> list[str]:
    """Each form against the plain network and the two against each other, in points, seed by seed."""
    lines = []
    for key, title in SCORES.items():
        lines += [f"{title[0].upper()}{title[1:]}:", ""]
        for one, other in ((RESIDUAL, PLAIN), (ALONE, PLAIN), (ALONE, RESIDUAL)):
            difference = of(results, one, key) - of(results, other, key)
            seeds = ", ".join(f"{value:+.2f}" for value in difference)
            points = f"{difference.mean():+.2f} points ({seeds})"
            lines.append(f"- {one.name} against {other.name}: {points}, {verdict(difference)}")
        lines.append("")
    by_chance = 2 * 0.5 ** len(of(results, PLAIN, "seed"))
    return [*lines, f"(Seeds of networks that are equally good would all agree {100 * by_chance:.0f} % of the time.)"]


def verdict(difference: np.ndarray) -> str:
    """The verdict on differences in accuracy, one a seed."""
    if len(difference) == 1:
        return "by one seed only"
    if (difference > 0).all():
        return "better with every seed"
    if (difference < 0).all():
        return "worse with every seed"
    return "no difference that all seeds agree on"


# ---------------------------------------------------------------------------------------------- the figure
def draw(results: list[dict], splits: ImageSplits, noise: float, maps_of: dict[str, np.ndarray]):
    """Above, the accuracies of all seeds; below, test images, with noise, and the maps M of the noisy ones."""
    labels = splits.test.labels
    chosen = np.array([np.flatnonzero(labels == label)[0] for label in np.unique(labels)[:SHOWN]])
    rows = {"image": splits.test, f"{100 * noise:g} % noise": noisy(splits.test, noise, TEST_NOISE)}
    rows = {name: shown(images.at(chosen).pixels / 255) for name, images in rows.items()}
    rows |= {f"M of {name.partition(', ')[2]}": maps[chosen] for name, maps in maps_of.items()}
    with styled_figure(8, 2 + 0.75 * len(rows)) as figure:
        figure.set_layout_engine("constrained")
        above, below = figure.subfigures(2, 1, height_ratios=(2, 0.75 * len(rows)))
        for axes, (key, title) in zip(above.subplots(1, len(SCORES), sharey=True), SCORES.items(), strict=True):
            draw_accuracies(axes, results, key)
            axes.set_title(title)
        grid = below.subplots(len(rows), len(chosen), squeeze=False)
        for of_row, (name, images) in zip(grid, rows.items(), strict=True):
            for axes, image in zip(of_row, images, strict=True):
                drawn = axes.imshow(image, cmap=COLORS, vmin=0, vmax=1, interpolation="nearest")
                axes.set(xticks=(), yticks=(), frame_on=False)
            of_row[0].set_ylabel(name, rotation=0, ha="right", va="center", color=MUTED)
        below.colorbar(drawn, ax=grid, label="M", shrink=0.6, aspect=30)
    return figure


def draw_accuracies(axes, results: list[dict], key: str) -> None:
    """A dot a seed, and the mean."""
    for y, (network, color) in enumerate(zip(NETWORKS, PALETTE, strict=False)):
        values = of(results, network, key)
        mean = values.mean()
        axes.plot(values, [y] * len(values), "o", color=color, alpha=0.55, markeredgewidth=0, markersize=5)
        axes.plot([mean], [y], "|", color=color, markersize=11, markeredgewidth=1.5)
        axes.annotate(f"{mean:.1f}", (mean, y), (0, 8), textcoords="offset points", ha="center", color=MUTED)
    axes.margins(x=0.2)
    axes.set(ylim=(len(NETWORKS) - 0.5, -0.8), xlabel="accuracy, %")
    axes.set_yticks(range(len(NETWORKS)), [network.name for network in NETWORKS])
    axes.grid(axis="y")
    axes.locator_params(axis="x", nbins=4)


if __name__ == "__main__":
    run(main)
