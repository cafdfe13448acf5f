"""Columns of Table 1 of "End-to-end memory networks": wrong answers, task by task, beside the paper's.

    python experiments/memn2n_table1.py --data tasks_1-20_v1-2/en --out runs/table1
    python experiments/memn2n_table1.py --columns PE_LS_RN --tasks 1,15,16

S. Sukhbaatar, A. Szlam, J. Weston and R. Fergus, NIPS 2015.  BoW: a bag of words; PE: position encoding; LS: linear
start; RN: random noise; each with three hops and a network for every task.  The best of some restarts by the held-out
questions is scored on the test questions.  The joint columns are one network for all tasks, of one, two or three hops
with PE and LS, and of three with RN too.  Without --data the tasks are those that are simulated, and the numbers are
not the paper's.

Leaves `table1.md`, `table1.json` and `table1.png` in the folder, anew after every run.  What is trained there already
is not trained again, what was stopped is resumed.
"""

import argparse
from pathlib import Path
from typing import Any, NamedTuple

from shared import markdown_table, run, trained

from minattn.data.qa.simulated import TASKS as SIMULATED
from minattn.errors import ConfigError
from minattn.tasks.files import read_json, write_json, write_text
from minattn.tasks.qa.task import BabiSource, QuestionAnswering
from minattn.tasks.run_folder import REPORT, check_writable
from minattn.viz import save_figure
from minattn.viz.style import MUTED, PALETTE, styled_figure


class Column(NamedTuple):
    """A column of Table 1: what is set, and the paper's wrong answers in percent of tasks 1 to 20."""

    settings: tuple[str, ...]
    paper: tuple[float, ...]


WITHOUT_START = ("linear_epochs=0", "lr=0.01")
COLUMNS = {
    "BoW": Column(
        ("encoding=bag", "noise=0", *WITHOUT_START),
        (0.6, 17.6, 71, 32, 18.3, 8.7, 23.5, 11.4, 21.1, 22.8, 4.1, 0.3, 10.5, 1.3, 24.3, 52, 45.4, 48.1, 89.7, 0.1),
    ),
    "PE": Column(
        ("noise=0", *WITHOUT_START),
        (0.1, 21.6, 64.2, 3.8, 14.1, 7.9, 21.6, 12.6, 23.3, 17.4, 4.3, 0.3, 9.9, 1.8, 0, 52.1, 50.1, 13.6, 87.4, 0),
    ),
    "PE_LS": Column(
        ("noise=0",),
        (0.2, 12.8, 58.8, 11.6, 15.7, 8.7, 20.3, 12.7, 17, 18.6, 0, 0.1, 0.3, 2, 0, 1.6, 49, 10.1, 85.6, 0),
    ),
    "PE_LS_RN": Column(
        (), (0, 8.3, 40.3, 2.8, 13.1, 7.6, 17.3, 10, 13.2, 15.1, 0.9, 0.2, 0.4, 1.7, 0, 1.3, 51, 11.1, 82.8, 0)
    ),
    "joint_1_hop": Column(
        ("hops=1", "noise=0"),
        (0.8, 62, 76.9, 22.8, 11, 7.2, 15.9, 13.2, 5.1, 10.6, 8.4, 0.4, 6.3, 36.9, 46.4, 47.4, 44.4, 9.6, 90.7, 0),
    ),
    "joint_2_hops": Column(
        ("hops=2", "noise=0"),
        (0, 15.6, 31.6, 2.2, 13.4, 2.3, 25.4, 11.7, 2, 5, 1.2, 0, 0.2, 8.1, 0.5, 51.3, 41.2, 10.3, 89.9, 0.1),
    ),
    "joint_3_hops": Column(
        ("hops=3", "noise=0"),
        (0.1, 14, 33.1, 5.7, 14.8, 3.3, 17.9, 10.1, 3.1, 6.6, 0.9, 0.3, 1.4, 8.2, 0, 3.5, 44.5, 9.2, 90.2, 0),
    ),
    "joint_RN": Column(
        (), (0, 11.4, 21.9, 13.4, 14.4, 2.8, 18.3, 9.3, 1.9, 6.5, 0.3, 0.1, 0.2, 6.9, 0, 2.7, 40.4, 9.4, 88, 0)
    ),
}


def main() -> None:
    """Train and score every column, and tabulate them beside the paper's."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/table1"), help="folder for the runs and the table")
    parser.add_argument("--data", metavar="FOLDER", help="bAbI's files, instead of simulated tasks")
    parser.add_argument("--tasks", metavar="N,N", help="these tasks only")
    parser.add_argument("--columns", default="BoW,PE,PE_LS,PE_LS_RN", help=f"of {', '.join(COLUMNS)}")
    parser.add_argument("--restarts", type=int, default=10, help="networks of which the best is kept")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change another setting")
    arguments = parser.parse_args()

    check_writable(arguments.out)
    columns = arguments.columns.split(",")
    if unknown := [name for name in columns if name not in COLUMNS]:
        raise ConfigError(f"there is no column {unknown[0]!r}; hint: {', '.join(COLUMNS)}")
    source = BabiSource(arguments.data)
    every = [int(task) for task in arguments.tasks.split(",")] if arguments.tasks else tasks_of(source)
    results: dict[str, dict[str, Any]] = {}
    for name in columns:
        results[name] = {}
        for task in [None] if name.startswith("joint") else every:
            settings = [*COLUMNS[name].settings, f"restarts={arguments.restarts}", *arguments.set]
            config = QuestionAnswering().configure(settings if task is None else [f"task={task}", *settings])
            folder = arguments.out / (name if task is None else f"{name}-{task}")
            trained(QuestionAnswering(), config, source, folder)
            results[name] |= read_json(folder / REPORT)["test"]["tasks"]
            write_json(arguments.out / "table1.json", results)
            write_text(arguments.out / "table1.md", table(results))
            save_figure(draw(results), arguments.out / "table1.png")
    print(table(results))


def tasks_of(source: BabiSource) -> list[int]:
    """The tasks in the folder, or those that are simulated."""
    return list(SIMULATED) if source.data is None else source.load(QuestionAnswering().configure()).train.tasks


def table(results: dict[str, dict[str, float]]) -> str:
    """Wrong answers in percent, ours and in brackets the paper's, for every task and on average."""
    tasks = sorted({int(task) for found in results.values() for task in found})
    rows = [[f"{task}", *(cell(found, name, task) for name, found in results.items())] for task in tasks]
    means = []
    for name, found in results.items():
        paper = [COLUMNS[name].paper[int(task) - 1] for task in found]
        means.append(f"{sum(found.values()) / len(found):.1f} ({sum(paper) / len(paper):.1f})" if found else "")
    return markdown_table(["task", *(name.replace("_", " ") for name in results)], [*rows, ["mean", *means]])


def cell(found: dict[str, float], name: str, task: int) -> str:
    """Ours, and the paper's in brackets."""
    return f"{found[str(task)]:.1f} ({COLUMNS[name].paper[task - 1]:.1f})" if str(task) in found else ""


def draw(results: dict[str, dict[str, float]]) -> Any:
    """The paper's wrong answers and ours, task by task, a panel for each column."""
    with styled_figure(7.2, 1.5 * len(results) + 0.3) as figure:
        figure.set_layout_engine("constrained")
        panels = figure.subplots(len(results), squeeze=False)[:, 0]
        for axes, (name, found) in zip(panels, results.items(), strict=True):
            tasks = sorted(map(int, found))
            paper = [COLUMNS[name].paper[task - 1] for task in tasks]
            axes.bar([task - 0.2 for task in tasks], paper, 0.4, color=MUTED, label="paper")
            axes.bar(
                [task + 0.2 for task in tasks],
                [found[str(task)] for task in tasks],
                0.4,
                color=PALETTE[0],
                label="here",
            )
            axes.set(title=name.replace("_", " "), ylim=(0, 100), ylabel="% wrong")
            axes.set_xticks(tasks)
        panels[0].legend()
        panels[-1].set_xlabel("task")
    return figure


if __name__ == "__main__":
    run(main)
