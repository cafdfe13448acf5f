"""Soft and hard attention that describe scenes: Show, Attend and Tell on things whose locations are known.

    python experiments/captions_attention.py --out runs/captions

K. Xu et al., "Show, attend and tell: neural image caption generation with visual attention", ICML 2015.  The networks:

    soft                      soft attention
    soft, doubly stochastic   with the penalty lambda sum_i (1 - sum_t alpha_ti)^2 on the weights, section 4.2.1
    hard                      hard attention by the paper's learning rule, section 4.1
    no attention              the mean annotation in place of the context

all with the same encoder, images, steps and seeds.  Each is scored on test scenes of other things: BLEU-1 to BLEU-4,
exact captions, and what the paper could only show in pictures: the share of the attention, when a thing is named, that
falls into its box, and how often the location with the largest weight lies in it (the pointing game), both against
chance; and the same one word before, at the "a" of "a bag". "uneven" is the doubly stochastic penalty without lambda;
the least that captions of so many words can have is given below the table.  Hard attention is tested with the
expectation of its context and, in a row of its own, with the likeliest location alone; the authors' code has both.

Leaves `captions.md`, `captions.json`, `curves.png` and `words.png` in the folder.  A network that is trained there
already is not trained again, one that was stopped goes on; the table has those that are finished.
"""

import argparse
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from shared import add_row_options, check_row_options, markdown_table, run, trained, wanted

from minattn.data.captions.dataset import CaptionedImages, Named
from minattn.tasks import driver
from minattn.tasks.captions.source import CaptionSource
from minattn.tasks.captions.task import Captions, caption_row
from minattn.tasks.files import read_json, write_json, write_text
from minattn.tasks.run_folder import REPORT, check_libraries, check_writable, is_finished
from minattn.training import LOG
from minattn.training.caption_metrics import score_pointing
from minattn.viz import read_records, save_figure
from minattn.viz.captions import CaptionRow, draw_captions
from minattn.viz.style import PALETTE, LineName, name_lines, styled_figure


class Network(NamedTuple):
    """A network by its row in the table, its model and the settings that differ from the model's own."""

    name: str
    model: str
    settings: tuple[str, ...] = ()


NETWORKS = {
    "soft": Network("soft", "soft"),
    "even": Network("soft, doubly stochastic", "soft", ("doubly_stochastic=0.1",)),
    "hard": Network("hard", "hard"),
    "none": Network("no attention", "none"),
}
LIKELIEST = "likeliest"  # the row of hard attention that looks at the likeliest location
TITLES = {name: network.name for name, network in NETWORKS.items()} | {LIKELIEST: "hard, likeliest location"}
MOST_SEEDS = 9
SHOWN = 1  # images in the figure that both networks describe rightly, and as many that one of them does not


def main() -> None:
    """Train the networks that are asked for, and tabulate all that are finished."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/captions"), help="folder for the runs and the table")
    parser.add_argument("--data", help="scenes, or a folder, as of minattn train captions")
    add_row_options(parser)
    arguments = parser.parse_args()

    check_row_options(arguments, list(NETWORKS), {"model", "seed", "attention", "doubly_stochastic"})
    check_writable(arguments.out)
    check_libraries()
    task, source = Captions(), CaptionSource(arguments.data)
    for seed in range(1, arguments.seeds + 1):
        for name, network in NETWORKS.items():
            if wanted(arguments, name, seed):
                config = task.configure((*network.settings, *arguments.set, f"seed={seed}"), network.model, source)
                trained(task, config, source, arguments.out / f"{name}-{seed}")
    test = source.load_test(task.configure(arguments.set, source=source))
    results = finished(arguments.out, test)
    write_json(arguments.out / "captions.json", {"results": results})
    text = f"{captions_table(results)}\n{attention_table(results)}\n{least_uneven(test, results)}"
    write_text(arguments.out / "captions.md", text)
    figures = draw(arguments.out, results, test)
    print(f"\n{text}\nfigures: {'  '.join(map(str, figures))}")


# ---------------------------------------------------------------------------------------------- the table
def finished(out: Path, test: CaptionedImages) -> list[dict[str, Any]]:
    """The test scores of every run in the folder that is finished, by row and seed."""
    results = []
    for name, network in NETWORKS.items():
        for seed in range(1, MOST_SEEDS + 1):
            folder = out / f"{name}-{seed}"
            if is_finished(folder):
                results.append({"row": name, "seed": seed, **read_json(folder / REPORT)["test"]})
                if results[-1].get("pointing"):
                    results[-1]["before"] = looked_before(folder, test)
                if network.model == "hard":
                    results.append({"row": LIKELIEST, "seed": seed, **by_likeliest(folder)})
    return results


def by_likeliest(folder: Path) -> dict[str, Any]:
    """The scores of a run's captions when it looks at the likeliest location alone; they are kept beside the run."""
    file = folder.with_name(f"{folder.name}-{LIKELIEST}.json")
    if not file.exists():
        write_json(file, driver.evaluate(folder, likeliest=True))
    return {key: value for key, value in read_json(file).items() if key.startswith("bleu") or key == "exact"}


def captions_table(results: list[dict[str, Any]]) -> str:
    """A line a network: means over its seeds, and for exact captions the spread."""
    header = ["attention", "BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "exact %", "loss"]
    rows = []
    for name, title in TITLES.items():
        if of_row := [result for result in results if result["row"] == name]:
            rows.append(
                [
                    f"{title} ({len(of_row)})",
                    *(mean([result[f"bleu{order}"] for result in of_row]) for order in (1, 2, 3, 4)),
                    mean([result["exact"] for result in of_row], spread=True),
                    mean([result["loss"] for result in of_row if "loss" in result], digits=2),
                ]
            )
    return markdown_table(header, rows)


def attention_table(results: list[dict[str, Any]]) -> str:
    """A line a network: where it looks when a thing is named, and one word before, seed by seed."""
    pairs = [(when, score) for when in ("pointing", "before") for score in ("share", "hits")]
    header = ["attention", "in the box %", "peak in the box %", "the same one word before", "peak", "uneven"]
    rows = []
    for name, title in TITLES.items():
        of_row = [result for result in results if result["row"] == name and result.get("pointing")]
        if of_row:
            cells = [" ".join(f"{result[when][score]:.0f}" for result in of_row) for when, score in pairs]
            rows.append([title, *cells, " ".join(f"{result['uneven']:.1f}" for result in of_row)])
            chance = [f"{of_row[0][when][f'chance_{score}']:.0f}" for when, score in pairs]
    return markdown_table(header, [*rows, ["chance", *chance, ""]]) if rows else ""


def looked_before(folder: Path, test: CaptionedImages) -> dict[str, Any]:
    """The pointing scores of a run one word before a thing is named; they are kept beside the run.

    What names is the second word of "a bag", and a network may look at the bag before the first and remember it.
    """
    file = folder.with_name(f"{folder.name}-before.json")
    if not file.exists():
        earlier = [
            [Named(thing.word - 1, thing.box) for thing in things if thing.word > 0] for things in test.named or ()
        ]
        score = score_pointing(driver.load(folder).weights_with(test), earlier, test.shape[1:])
        write_json(file, {} if score is None else score._asdict())
    return read_json(file)


def mean(values: list[float], digits: int = 1, spread: bool = False) -> str:
    """The mean, and the standard deviation over the seeds; nothing of nothing."""
    if not values:
        return ""
    deviation = f" ± {np.std(values, ddof=1):.{digits}f}" if spread and len(values) > 1 else ""
    return f"{np.mean(values):.{digits}f}{deviation}"


def least_uneven(test: CaptionedImages, results: list[dict[str, Any]]) -> str:
    """What "uneven" is for attention to all locations alike, and for one location at a time."""
    if not any("uneven" in result for result in results):
        return ""
    height, width = test.shape[1:]
    locations = (height // 8) * (width // 8)
    words = np.array([len(captions[0].split()) for captions in test.captions])
    evenly, one = np.mean(locations * (1 - words / locations) ** 2), np.mean(locations - words)
    return (
        "In brackets the number of seeds, whose attention stands below, one after the other.  "
        f"Uneven: {evenly:.1f} for weights that are all alike, {one:.1f} for words that each look at one location of "
        "their own.\n"
    )


# ---------------------------------------------------------------------------------------------- figures
def draw(out: Path, results: list[dict[str, Any]], test: CaptionedImages) -> list[Path]:
    """The figures that the finished runs make possible."""
    drawn = []
    if results:
        save_figure(draw_curves(out, results), out / "curves.png")
        drawn.append(out / "curves.png")
    if all(is_finished(out / f"{name}-1") for name in ("soft", "hard")):
        draw_captions(pairs(out, test), out / "words.png")
        drawn.append(out / "words.png")
    return drawn


def draw_curves(out: Path, results: list[dict[str, Any]]):
    """The loss of the dev images and the share of exact captions after every epoch, a line a run."""
    with styled_figure(7.6, 2.8) as figure:
        figure.set_layout_engine("constrained")
        for axes, (key, label) in zip(
            figure.subplots(1, 2),
            (("dev_loss", "dev loss, nats a caption"), ("dev_exact", "exact captions, %")),
            strict=True,
        ):
            names = []
            for color, (name, network) in zip(PALETTE, NETWORKS.items(), strict=False):
                ends = []
                for result in (result for result in results if result["row"] == name):
                    records = [r for r in read_records(out / f"{name}-{result['seed']}" / LOG) if key in r]
                    axes.plot([r["step"] for r in records], [r[key] for r in records], color=color, alpha=0.75)
                    ends.append(records[-1][key])
                if ends:
                    names.append(LineName(network.name, color, float(np.mean(ends))))
            axes.set(xlabel="steps", ylabel=label, ylim=(0, None))
            axes.grid(axis="y")
            name_lines(axes, names)
    return figure


def pairs(out: Path, test: CaptionedImages) -> list[CaptionRow]:
    """Images with soft attention above and hard attention below: some that both describe rightly, some that not."""
    soft, hard = (driver.load(out / f"{name}-1").describe(test.pixels) for name in ("soft", "hard"))
    right = np.array(
        [
            [one.caption in of_image for one in found]
            for found, of_image in zip(zip(soft, hard, strict=True), test.captions, strict=True)
        ]
    )
    both = np.flatnonzero(right.all(1))
    both = sorted(both, key=lambda i: -len(soft[i].words))[:SHOWN]
    rows = []
    for i in (*both, *np.flatnonzero(right.any(1) & ~right.all(1))[:SHOWN]):
        for name, found in (("soft", soft[i]), ("hard", hard[i])):
            rows.append(caption_row(test.pixels[i], found, test.captions[i])._replace(name=name))
    return rows


if __name__ == "__main__":
    run(main)
