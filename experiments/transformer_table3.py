"""Rows A and E of the Transformer's Table 3, on pronunciations: how many heads, and which positions.

    python experiments/transformer_table3.py --out runs/table3

A. Vaswani et al., "Attention is all you need", NIPS 2017, Table 3, change one thing of the base model at a time and
score it on development sentences.  Rows A have 1, 4, 16 heads in place of 8, each narrower the more there are, so that
the number of parameters stays; row E has learned positions in place of sines and cosines.  Here the same is done to a
small model on CMUdict, every row with the same words, steps and seed, scored on the development words.

Leaves `table3.md`, `table3.json` and `table3.png` in the folder, anew after every row.  A row that is trained there
already is not trained again, one that was stopped is resumed.
"""

import argparse
import dataclasses
from pathlib import Path

from shared import markdown_table, run, trained

from minattn.data import Lexicon
from minattn.errors import ConfigError, DataError
from minattn.tasks.config import as_json
from minattn.tasks.files import read_json, write_json, write_text
from minattn.tasks.g2p.task import G2P, LexiconFiles
from minattn.tasks.run_folder import REPORT, check_writable
from minattn.tasks.sequences.settings import SequenceConfig
from minattn.viz import save_figure
from minattn.viz.style import MUTED, PALETTE, styled_figure


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of Table 3: what is set, and what the paper measured, English to German, newstest2013."""

    name: str
    settings: tuple[str, ...]
    perplexity: float  # a word piece
    bleu: float


ROWS = (
    Row("A: 1 head", ("heads=1",), 5.29, 24.9),
    Row("A: 4 heads", ("heads=4",), 5.00, 25.5),
    Row("base: 8 heads, sines", ("heads=8",), 4.92, 25.8),
    Row("A: 16 heads", ("heads=16",), 4.91, 25.8),
    Row("E: 8 heads, learned", ("heads=8", "positions=learned"), 4.92, 25.7),
)

COLUMNS = {
    "paper_perplexity": "paper: perplexity",
    "paper_bleu": "paper: BLEU",
    "perplexity": "perplexity",
    "per": "PER %",
    "wer": "WER %",
    "parameters": "parameters",
    "seconds": "seconds",
}


def main() -> None:
    """Train and score every row, and tabulate them beside the paper's."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/table3"), help="folder for the runs and the table")
    parser.add_argument("--train", metavar="FILE", help="a lexicon, lines WORD<TAB>PH PH PH, instead of CMUdict")
    parser.add_argument("--words", type=int, metavar="N", help="train on N words only, for a quick look")
    parser.add_argument("--epochs", type=int, default=2, help="epochs for each row")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change another setting")
    arguments = parser.parse_args()

    configs = configurations(arguments.epochs, arguments.set)
    if arguments.words is not None and arguments.words < 1:
        raise ConfigError(f"--words must be at least 1, got {arguments.words}")
    check_writable(arguments.out)
    files = LexiconFiles(train=arguments.train)
    if arguments.words is not None:
        files = fewer_words(files, arguments.words, arguments.out / f"{arguments.words}-words")
    dev = files.load().dev
    results = []
    for row, config in zip(ROWS, configs, strict=True):
        folder = arguments.out / row.name.replace(":", "").replace(",", "").replace(" ", "-")
        results.append(result_of(row, config, files, folder, dev))
        write_json(arguments.out / "table3.json", {"rows": results})
        write_text(arguments.out / "table3.md", table(results))
        save_figure(draw(results), arguments.out / "table3.png")
    print(table(results))


def configurations(epochs: int, settings: list[str]) -> list[SequenceConfig]:
    """The settings of every row.  Raises ConfigError where one is wrong for a row, or is what the rows differ in."""
    of_rows = {setting.partition("=")[0] for row in ROWS for setting in row.settings}
    for setting in settings:
        key = setting.partition("=")[0]
        if key in of_rows:
            raise ConfigError(f"the rows differ in {key}, so --set {setting} cannot be given; hint: leave it out")
    common = [f"epochs={epochs}", "beam=1", *settings]
    return [G2P().configure([*common, *row.settings], "transformer") for row in ROWS]


def fewer_words(files: LexiconFiles, words: int, folder: Path) -> LexiconFiles:
    """Files in `folder` with every n-th word, so many of train in all, and of dev and test what has no new symbols."""
    splits = files.load()
    every = max(1, len(splits.train) // words)
    train = splits.train.only(list(splits.train)[::every][:words])
    letters = {letter for word in train for letter in word}
    phonemes = {phoneme for _, pronunciation in train.pairs() for phoneme in pronunciation}

    def known(lexicon: Lexicon) -> Lexicon:
        other = {w for w, p in lexicon.pairs() if not (letters.issuperset(w) and phonemes.issuperset(p))}
        return lexicon.only([word for word in list(lexicon)[::every] if word not in other])

    parts = {"train": train, "dev": known(splits.dev), "test": known(splits.test)}
    for name, lexicon in parts.items():
        if not lexicon:
            raise DataError(f"no {name} words are left beside {words} to train on; hint: more --words")
    folder.mkdir(parents=True, exist_ok=True)
    paths = {}
    for name, lexicon in parts.items():
        lines = [f"{word}\t{' '.join(pronunciation)}\n" for word, pronunciation in lexicon.pairs()]
        (folder / f"{name}.tsv").write_text("".join(lines), encoding="utf-8")
        paths[name] = str(folder / f"{name}.tsv")
    return LexiconFiles(**paths)


def result_of(row: Row, config: SequenceConfig, files: LexiconFiles, folder: Path, dev: Lexicon) -> dict:
    """The scores of a row on the development words."""
    print(f"{row.name}: {folder}", flush=True)
    pronouncer = trained(G2P(), config, files, folder)
    score = pronouncer.score(dev, config.beam)
    return {
        "row": row.name,
        "paper_perplexity": row.perplexity,
        "paper_bleu": row.bleu,
        "perplexity": pronouncer.perplexity(dev),
        "per": score.per,
        "wer": score.wer,
        "parameters": pronouncer.model.count_parameters(),
        "seconds": read_json(folder / REPORT)["training"]["seconds"],
        "settings": as_json(config),
    }


def table(results: list[dict]) -> str:
    """The paper's numbers and ours, a line a row.  Perplexities are of a word piece there, of a phoneme here."""
    formats = dict.fromkeys(COLUMNS, ".2f") | {"perplexity": ".3f", "parameters": ",", "seconds": ",.0f"}
    rows = ([result["row"], *(format(result[key], formats[key]) for key in COLUMNS)] for result in results)
    return markdown_table(["row", *COLUMNS.values()], rows)


def draw(results: list[dict]):
    """Four panels of dots: perplexity and BLEU of the paper, perplexity and word error rate of ours."""
    panels = {
        "paper_perplexity": "paper: perplexity a word piece",
        "paper_bleu": "paper: BLEU",
        "perplexity": "here: perplexity a phoneme",
        "wer": "here: WER, %",
    }
    rows = range(len(results))
    with styled_figure(10.6, 0.8 + 0.27 * len(results)) as figure:
        figure.set_layout_engine("constrained")
        for axes, (key, title) in zip(figure.subplots(1, len(panels), sharey=True), panels.items(), strict=True):
            values = [result[key] for result in results]
            axes.plot(values, rows, "o", color=PALETTE[0] if key.startswith("paper") else PALETTE[1])
            for y, value in enumerate(values):
                axes.annotate(f"{value:.3g}", (value, y), (0, 5), textcoords="offset points", ha="center", color=MUTED)
            axes.margins(x=0.2)
            axes.set(title=title, ylim=(len(results) - 0.5, -0.7))
            axes.set_yticks(rows, [result["row"] for result in results])
            axes.grid(axis="y")
            axes.locator_params(axis="x", nbins=4)
    return figure


if __name__ == "__main__":
    run(main)
