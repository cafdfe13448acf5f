"""Table 4 of Luong, Pham & Manning 2015 on dates or pronunciations: what each attention, and input feeding, bring.

    python experiments/luong_ladder.py --out runs/ladder
    python experiments/luong_ladder.py --out runs/ladder --main --seeds 3
    python experiments/luong_ladder.py --out runs/ladder_g2p --task g2p --set epochs=1

Every row is Luong's network with another attention, and all else equal: data, size, updates, seed.  Leaves a table in
the folder, with the perplexity and the score of the test data and the time of training; for dates, whose alignments are
known, also the alignment error rate, as it is and with all links shifted by one character: a character that a reversed
encoder has read is in the state at its own place and, more and more, in those before it.  A row that is trained there
already is not trained again.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, NamedTuple

from shared import markdown_table, run, trained

from minattn.tasks.files import read_json, write_text
from minattn.tasks.registry import TASKS
from minattn.tasks.run_folder import REPORT, check_writable
from minattn.tasks.task import Task

SIZE = ("embedding=32", "hidden=64", "layers=2", "lr=4e-3")
EPOCHS = {"translate": 2, "g2p": 1}
SCORES = {"translate": ("exact", "bleu", "aer", "aer_moved"), "g2p": ("per", "wer")}
HEADINGS = {
    "exact": "exact (%)",
    "bleu": "BLEU",
    "aer": "AER (%)",
    "aer_moved": "AER, shifted (%)",
    "per": "PER (%)",
    "wer": "WER (%)",
}


class Row(NamedTuple):
    """A row of the table: its name and its settings."""

    name: str
    settings: Sequence[str]

    @property
    def folder(self) -> str:
        return "".join(character if character.isalnum() else "_" for character in self.name)


def attention_rows(kind: str, score: str) -> list[Row]:
    """The rows of an attention, without input feeding and with it."""
    settings = (f"attention={kind}", f"score={score}")
    name = f"{kind} ({score})"
    return [Row(name, (*settings, "feeding=false")), Row(f"{name}, feed", (*settings, "feeding=true"))]


NONE = ("attention=none", "feeding=false")
ROWS = [
    Row("none", (*NONE, "reverse=false")),
    Row("none, reversed", (*NONE, "reverse=true")),
    *(row for score in ("location", "dot", "general", "concat") for row in attention_rows("global", score)),
    *(row for kind in ("local-m", "local-p") for row in attention_rows(kind, "general")),
]
MAIN = ("none, reversed", "global (location), feed", "global (general), feed", "local-p (general), feed")
"""The rows whose spread over seeds is worth its time."""


def main() -> None:
    """Train every row, then tabulate them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/ladder"), help="folder for the runs and the table")
    parser.add_argument("--task", choices=list(SCORES), default="translate", help="dates, or pronunciations")
    parser.add_argument("--train", metavar="FILE", help="a training file of the task, instead of its own data")
    parser.add_argument("--main", action="store_true", help="the main rows only")
    parser.add_argument("--seeds", type=int, default=1, metavar="N", help="seeds 1 to N of every row")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change a setting of all rows")
    arguments = parser.parse_args()

    check_writable(arguments.out)
    task = TASKS[arguments.task]
    source = task.source(train=arguments.train)
    rows = [row for row in ROWS if row.name in MAIN or not arguments.main]
    common = [f"epochs={EPOCHS[task.name]}", *SIZE, *arguments.set]
    configs = [
        [task.configure([*common, *row.settings, f"seed={seed}"], "luong", source) for row in rows]
        for seed in range(1, arguments.seeds + 1)
    ]
    results: dict[str, list[dict[str, Any]]] = {row.name: [] for row in rows}
    for seed, of_seed in enumerate(configs, start=1):
        for row, config in zip(rows, of_seed, strict=True):
            folder = arguments.out / f"{row.folder}_{seed}"
            print(f"{row.name}, seed {seed}: {folder}", flush=True)
            results[row.name].append(result_of(task, config, source, folder))
    text = table(results, SCORES[task.name])
    write_text(arguments.out / ("ladder_main.md" if arguments.main else "ladder.md"), text)
    print(text)


def result_of(task: Task, config: Any, source: Any, folder: Path) -> dict[str, Any]:
    """What a row's run has reached."""
    predictor = trained(task, config, source, folder)
    report = read_json(folder / REPORT)
    test = report["test"]
    data = source.load_test(config)
    if "perplexity" not in test:
        test["perplexity"] = predictor.perplexity(data)
    if "aer" in test:
        test["aer_moved"] = predictor.alignment_score(data, moved=1).aer
    return {**test, "parameters": report["model"]["parameters"], "seconds": report["training"]["seconds"]}


def table(results: dict[str, list[dict[str, Any]]], scores: Sequence[str]) -> str:
    """A row for each attention; of several seeds the mean and the standard deviation."""
    header = ["attention", "parameters", "perplexity", *(HEADINGS[score] for score in scores), "training (s)"]
    return markdown_table(
        header,
        (
            [
                name,
                f"{of_seeds[0]['parameters']:,}",
                spread(of_seeds, "perplexity", 4),
                *(spread(of_seeds, score, 1) for score in scores),
                spread(of_seeds, "seconds", 0),
            ]
            for name, of_seeds in results.items()
        ),
    )


def spread(results: Sequence[dict[str, Any]], name: str, digits: int) -> str:
    """The mean of a number over seeds, and its standard deviation where there are several; a dash where it is none."""
    values = [result[name] for result in results if name in result]
    if not values:
        return "–"
    mean = f"{fmean(values):.{digits}f}"
    return mean if len(values) == 1 else f"{mean} ± {stdev(values):.{digits}f}"


if __name__ == "__main__":
    run(main)
