"""Intermediate supervision of a stacked hourglass, and one stack after another.

    python experiments/hourglass_supervision.py               (nine networks, half an hour on one core; resumable)
    python experiments/hourglass_supervision.py --data ranges --epochs 2 --seeds 1

A. Newell, K. Yang and J. Deng, "Stacked hourglass networks for human pose estimation", ECCV 2016, section 4.3: two
stacks with intermediate supervision, two stacks of which the last alone is supervised, and one stack with as many
parameters.  They learn the joints of drawn people.  The table has PCK@0.2 of all test joints, of visible and of
occluded ones, for each stack.
"""

import argparse
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from shared import markdown_table, run, trained

from minattn.errors import ConfigError
from minattn.tasks.files import read_json, write_text
from minattn.tasks.pose.source import PoseSource
from minattn.tasks.pose.task import Pose
from minattn.tasks.run_folder import REPORT, check_writable

NETWORKS = {
    "two stacks, intermediate supervision": ("model=small_hourglass2",),
    "two stacks, final supervision": ("model=small_hourglass2", "intermediate=false"),
    "one wide stack": ("model=small_hourglass1", "features=68"),  # 203,081 parameters; two stacks have 195,032
}
SHARES = {"pck": "all joints", "visible": "visible joints", "occluded": "occluded joints"}


class Row(NamedTuple):
    """A network: its parameters, and of every seed the scores of every stack."""

    name: str
    parameters: int
    stacks: list[list[dict[str, float]]]


def main() -> None:
    """Train every network with every seed; tabulate how many joints they find."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/supervision"), help="folder for the runs and the table")
    parser.add_argument("--data", metavar="clips|ranges|FOLDER", help="as of minattn train pose")
    parser.add_argument("--epochs", type=int, help="passes over the bodies  [default: those of minattn train pose]")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3], metavar="N")
    arguments = parser.parse_args()
    if min(arguments.seeds) < 0 or len(set(arguments.seeds)) < len(arguments.seeds):
        raise ConfigError(f"--seeds are different numbers from 0 on, got {arguments.seeds}")
    check_writable(arguments.out)
    rows = {name: [] for name in NETWORKS}
    for seed in arguments.seeds:
        for name in NETWORKS:
            rows[name].append(scored(name, seed, arguments))
    text = table([row_of(name, reports) for name, reports in rows.items()])
    write_text(arguments.out / "supervision.md", text)
    print(f"\n{text}")


def scored(name: str, seed: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """The report of a network with this seed, which is trained where it is not there."""
    task, source = Pose(), PoseSource(arguments.data)
    epochs = [] if arguments.epochs is None else [f"epochs={arguments.epochs}"]
    config = task.configure([*NETWORKS[name], f"seed={seed}", *epochs], source=source)
    folder = arguments.out / f"{name.replace(', ', '-').replace(' ', '_')}-seed-{seed}"
    trained(task, config, source, folder)
    report = read_json(folder / REPORT)
    print(f"{name}, seed {seed}: {task.summary(report['test'])}; {report['training']['seconds']:.0f} s", flush=True)
    return report


def row_of(name: str, reports: list[dict[str, Any]]) -> Row:
    """What the reports of a network say."""
    return Row(
        name,
        reports[0]["model"]["parameters"],
        [report["test"]["stacks"] for report in reports],
    )


def table(rows: list[Row]) -> str:
    """A line for each stack of a network: the mean over the seeds, and below it the scores of all."""
    lines = []
    for row in rows:
        for stack in range(len(row.stacks[0])):
            of_stack = [scores[stack] for scores in row.stacks]
            cells = [_cell([scores[key] for scores in of_stack]) for key in SHARES]
            name = row.name if len(row.stacks[0]) == 1 else f"{row.name}: stack {stack + 1}"
            lines.append([name, f"{row.parameters:,}", *cells])
    return markdown_table(["PCK@0.2, %", "parameters", *SHARES.values()], lines)


def _cell(values: list[float]) -> str:
    each = " ".join(f"{value:.1f}" for value in values)
    return f"{np.mean(values):.1f} ({each})" if len(values) > 1 else each


if __name__ == "__main__":
    run(main)
