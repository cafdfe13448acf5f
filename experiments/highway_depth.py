"""Training thin networks of 10 to 100 layers, plain and highway: figures 1 and 2 of the paper.

    python experiments/highway_depth.py                                       (the 8x8 digits: minutes)
    python experiments/highway_depth.py --data fashion-mnist --images 10000 --epochs 30
    python experiments/highway_depth.py --data FOLDER --images 10000 --epochs 30   (MNIST's files of training images)

R. K. Srivastava, K. Greff and J. Schmidhuber, "Training very deep networks", NIPS 2015, sections 3.1 and 4: networks of
10, 20, 50 and 100 layers learn MNIST, highway layers of 50 units beside plain layers of 71, which have as many
parameters.  What is measured is how far gradient descent gets: the cross-entropy of the images that are trained on.
There plain networks of 10 and 20 layers learn and those of 50 and 100 hardly do, while highway networks learn at any
depth: at 100 layers they end more than two orders of magnitude below.

The paper searches the settings of every depth at random, in 100 runs.  Here it is the learning rate alone: each of
`--rates` with the first seed, and the best of them, for this kind and depth, with the other seeds.  Momentum 0.9, the
rate falls by a constant factor each step, to a hundredth in all; ReLU; b_T starts at -5.

Leaves `depth.md`, `depth.json`, `depth.png` (loss by epoch) and `gates.png` (the transform gates of the deepest highway
network of the first seed, after training) in the folder, and a file for each network that was trained: a second call
with the same settings trains what is missing.
"""

import argparse
import math
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
from shared import first, markdown_table, run

import minattn as ma
from minattn.autograd import no_grad
from minattn.autograd.memory import keep_freed_memory
from minattn.data.images.augmentation import ImageBatches, Normalization, evaluation_images
from minattn.data.images.dataset import Images
from minattn.data.images.digits import load_digits
from minattn.data.images.fashion_mnist import load_fashion_mnist, read_idx
from minattn.errors import ConfigError, DataError
from minattn.models.vision.highway import ThinHighway, ThinHighwayConfig
from minattn.tasks.files import read_json, write_json, write_text
from minattn.tasks.run_folder import check_writable
from minattn.tasks.threads import blas_threads
from minattn.training import SGD, Exponential
from minattn.viz import save_figure
from minattn.viz.style import MUTED, PALETTE, styled_figure

WIDTHS = {"plain": 71, "highway": 50}  # about 5,000 parameters a layer
FALL = 0.01  # of the rate from the first step to the last
FILES = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"


class Run(NamedTuple):
    """A network that was trained: its loss by epoch, while it learned, and at last, over all images."""

    kind: str
    depth: int
    seed: int
    rate: float
    parameters: int
    losses: list[float]
    final: float
    seconds: float
    gates: list[list[float]]  # the mean of T over the images, by layer and unit
    example: list[list[float]]  # T of the first image
    bias: list[list[float]]  # b_T


def main() -> None:
    """Train all networks; tabulate and draw their losses, and the gates of one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/depth"), help="folder for the networks and the table")
    parser.add_argument("--data", default="digits", metavar="NAME|FOLDER", help="digits, fashion-mnist or a folder")
    parser.add_argument("--images", type=int, metavar="N", help="train on the first N images only")
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--depths", type=int, nargs="+", default=[10, 20, 50, 100], metavar="N")
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="train with the seeds 1 to N")
    parser.add_argument("--rates", type=float, nargs="+", default=[0.1, 0.03, 0.01], metavar="LR")
    parser.add_argument("--bias", type=float, default=-5.0, help="b_T at the start")
    parser.add_argument("--batch", type=int, default=100, metavar="N", help="images in a batch")
    arguments = parser.parse_args()
    for name in ("epochs", "seeds", "batch"):
        if getattr(arguments, name) < 1:
            raise ConfigError(f"--{name} must be at least 1, got {getattr(arguments, name)}")
    if min(arguments.depths) < 2 or not all(0 < rate < math.inf for rate in arguments.rates):
        raise ConfigError("--depths are numbers from 2 on, and --rates numbers above 0")
    images, classes = read(arguments.data, arguments.images)
    check_writable(arguments.out)
    print(f"{len(images):,} images, {arguments.epochs} epochs", flush=True)

    keep_freed_memory()
    runs = []
    for depth in sorted(set(arguments.depths)):
        for kind in WIDTHS:
            tried = [trained(kind, depth, 1, rate, images, classes, arguments) for rate in arguments.rates]
            best = min(tried, key=lambda each: each.final if math.isfinite(each.final) else math.inf)
            others = range(2, arguments.seeds + 1)
            runs += [best, *(trained(kind, depth, seed, best.rate, images, classes, arguments) for seed in others)]
    text = table(runs) + "\n" + "\n".join(findings(runs)) + "\n"
    write_json(
        arguments.out / "depth.json", {"settings": settings(images, arguments), "runs": [r._asdict() for r in runs]}
    )
    write_text(arguments.out / "depth.md", text)
    save_figure(draw_losses(runs), arguments.out / "depth.png")
    deepest = max((each for each in runs if each.kind == "highway" and each.seed == 1), key=lambda each: each.depth)
    save_figure(draw_gates(deepest), arguments.out / "gates.png")
    print(f"\n{text}\nfigures: {arguments.out / 'depth.png'}, {arguments.out / 'gates.png'}")


# ---------------------------------------------------------------------------------------------- the images
def read(data: str, count: int | None) -> tuple[Images, int]:
    """(the first `count` images to train on, the number of classes)."""
    if data == "digits":
        images = load_digits().train
    elif data == "fashion-mnist":
        images = load_fashion_mnist().train
    else:
        pixels, labels = (read_idx(file_of(Path(data), name)) for name in FILES)
        images = Images(pixels[:, None], labels.astype(np.int64))
    images = first(images, count)
    return images, int(images.labels.max()) + 1


def file_of(folder: Path, name: str) -> Path:
    """The file of that name, packed or not.  Raises DataError where there is none."""
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    raise DataError(f"there is no {name} in {folder}; hint: digits, fashion-mnist, or a folder of MNIST's files")


# ---------------------------------------------------------------------------------------------- a network
def settings(images: Images, arguments: argparse.Namespace) -> dict:
    """What decides a run beside its kind, depth, seed and rate."""
    shared = {name: getattr(arguments, name) for name in ("epochs", "batch", "bias")}
    return shared | {"images": images.fingerprint()}


def trained(
    kind: str, depth: int, seed: int, rate: float, images: Images, classes: int, arguments: argparse.Namespace
) -> Run:
    """A network after its training; one that was trained before is read from its file."""
    file = arguments.out / f"{kind}-{depth}-seed-{seed}-rate-{rate:g}.json"
    given = settings(images, arguments)
    if file.exists():
        stored = read_json(file)
        if stored["settings"] != given:
            raise ConfigError(f"{file} is of a run with other settings or images; hint: another --out")
        return Run(**stored["run"])
    found = train(kind, depth, seed, rate, images, classes, arguments)
    write_json(file, {"settings": given, "run": found._asdict()})
    print(f"{kind} {depth}, seed {seed}, rate {rate:g}: loss {found.final:.2g}; {found.seconds:.0f} s", flush=True)
    return found


@blas_threads()
@np.errstate(all="ignore")
def train(
    kind: str, depth: int, seed: int, rate: float, images: Images, classes: int, arguments: argparse.Namespace
) -> Run:
    """Train one network.  A loss that is no number any more stays so."""
    channels, height, width = images.shape
    config = ThinHighwayConfig(
        depth, WIDTHS[kind], kind == "highway", arguments.bias, "relu", classes, channels, height * width
    )
    model = ThinHighway(config, np.random.default_rng(seed))
    normalization = Normalization.of(images)
    batches = ImageBatches(images, arguments.batch, seed, normalization)
    optimizer = SGD(model.named_parameters(), rate, momentum=0.9)
    schedule = Exponential(rate, FALL, max(1, arguments.epochs * len(batches) - 1))
    losses, step, start = [], 0, time.perf_counter()
    for epoch in range(arguments.epochs):
        total = 0.0
        for batch in batches.iterate(epoch):
            step += 1
            optimizer.lr = schedule(step)
            loss = ma.cross_entropy(model(ma.tensor(batch.images)), batch.labels)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            total += loss.item() * len(batch.labels)
        losses.append(total / len(images))
    seconds = time.perf_counter() - start
    final, gates, example = measured(model, images, normalization)
    bias = [layer.b_T.data.tolist() for layer in model.layers] if config.gates else []
    return Run(kind, depth, seed, rate, model.count_parameters(), losses, final, seconds, gates, example, bias)


@no_grad()
def measured(
    model: ThinHighway, images: Images, normalization: Normalization
) -> tuple[float, list[list[float]], list[list[float]]]:
    """(the loss over all images, the mean of T by layer and unit, T of the first image)."""
    total, sums, example = 0.0, np.zeros(()), np.zeros((0, 0))
    for batch in evaluation_images(images, 1000, normalization):
        logits, attention = model(ma.tensor(batch.images), return_attention=True)
        total += ma.cross_entropy(logits, batch.labels, reduction="sum").item()
        if attention:
            gates = np.stack([t.data for t in attention.values()])  # (layers, images, units)
            example = gates[:, 0] if not sums.ndim else example
            sums = sums + gates.sum(1, dtype=np.float64)
    return total / len(images), (sums / len(images)).tolist() if sums.ndim else [], example.tolist()


# ---------------------------------------------------------------------------------------------- what comes out
def of(runs: list[Run], kind: str, depth: int) -> list[Run]:
    """The runs of a kind and a depth, by seed."""
    return [each for each in runs if (each.kind, each.depth) == (kind, depth)]


def depths_of(runs: list[Run]) -> list[int]:
    """The depths, each once."""
    return sorted({each.depth for each in runs})


def table(runs: list[Run]) -> str:
    """A line a network: the loss of each seed, and the mean of the gates of the first and the last layer."""

    def cells(kind: str, depth: int) -> list[str]:
        found = of(runs, kind, depth)
        ends = [found[0].gates[0], found[0].gates[-1]] if found[0].gates else []
        return [
            f"{kind}, {depth} layers",
            f"{found[0].parameters:,}",
            f"{found[0].rate:g}",
            " ".join(f"{each.final:.2g}" for each in found),
            f"{np.median([each.final for each in found]):.2g}",
            " ".join(f"{np.mean(layer):.3f}" for layer in ends),
            f"{np.mean([each.seconds for each in found]):.0f}",
        ]

    header = [
        "network",
        "parameters",
        "rate",
        "loss, seed by seed",
        "median",
        "mean T, first and last layer",
        "seconds",
    ]
    return markdown_table(header, [cells(kind, depth) for kind in WIDTHS for depth in depths_of(runs)])


def findings(runs: list[Run]) -> list[str]:
    """Of every depth, how far the highway network ends below the plain one."""
    lines = []
    for depth in depths_of(runs):
        plain, highway = (np.array([each.final for each in of(runs, kind, depth)]) for kind in WIDTHS)
        orders = np.log10(plain / highway)
        each = ", ".join(f"{value:.1f}" for value in orders)
        end = f"ends {np.median(orders):.1f} orders of magnitude below the plain one (seed by seed {each})"
        lines.append(f"- {depth} layers: the highway network {end}")
    return lines


# ---------------------------------------------------------------------------------------------- the figures
def draw_losses(runs: list[Run]):
    """A panel a depth: the loss of every seed by epoch."""
    depths = depths_of(runs)
    with styled_figure(2 * len(depths) + 0.8, 2.3) as figure:
        figure.set_layout_engine("constrained")
        panels = figure.subplots(1, len(depths), sharex=True, sharey=True, squeeze=False)[0]
        for axes, depth in zip(panels, depths, strict=True):
            for kind, color in zip(WIDTHS, (PALETTE[1], PALETTE[0]), strict=True):
                for each in of(runs, kind, depth):
                    label = kind if each.seed == 1 else None
                    axes.plot(range(1, len(each.losses) + 1), each.losses, color=color, linewidth=1, label=label)
            axes.set(title=f"{depth} layers", xlabel="epoch", yscale="log")
            axes.yaxis.set_major_formatter("{x:g}")
            axes.grid(axis="y")
        panels[0].set_ylabel("training loss, nats")
        panels[0].legend(frameon=False, labelcolor="linecolor", handlelength=1)
    return figure


def draw_gates(deepest: Run):
    """b_T, the mean of T over all images and T of one image: a row a layer, a column a unit."""
    panels = {"b_T after training": deepest.bias, "mean of T": deepest.gates, "T of one image": deepest.example}
    with styled_figure(7.6, 3.4) as figure:
        figure.set_layout_engine("constrained")
        for axes, (title, values) in zip(figure.subplots(1, 3, sharey=True), panels.items(), strict=True):
            top = 1.0 if title != "b_T after training" else None
            drawn = axes.imshow(
                values, aspect="auto", cmap="viridis", interpolation="nearest", vmin=0 if top else None, vmax=top
            )
            axes.set(title=title, xlabel="unit")
            figure.colorbar(drawn, ax=axes, shrink=0.8, aspect=25)
            axes.tick_params(colors=MUTED)
        figure.axes[0].set_ylabel(f"highway layer of the network of {deepest.depth} layers")
    return figure


if __name__ == "__main__":
    run(main)
