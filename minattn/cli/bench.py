"""`minattn bench`: how fast minattn is, beside other engines."""

from pathlib import Path
from typing import Annotated

import typer

from minattn.cli.app import app, console, option

Workloads = Annotated[
    list[str] | None, typer.Argument(metavar="[WORKLOAD...]", help="W1, W2, ..: see --list.  [default: all]")
]
Against = Annotated[
    str, option("Other engines, as torch,jax; the first is what ratios are to.  [default: torch]", metavar="ENGINE,..")
]
Threads = Annotated[
    list[int] | None, option("Threads of each engine; repeatable.  [default: 2 where there are]", metavar="N", min=1)
]
Rounds = Annotated[int, option("Rounds in which the engines take turns.  [default: 20]", min=1, metavar="N")]
Seconds = Annotated[
    float, option("How long an engine's turn is, about.  [default: 0.4]", min=0.001, max=60, metavar="S")
]
BenchOut = Annotated[
    Path, option("Where performance.json, .md and .png go.  [default: runs/bench]", "--out", metavar="FOLDER")
]
Add = Annotated[bool, option("Keep what --out holds of other workloads, measured in the same way.", "--add")]
Environments = Annotated[
    Path | None,
    option("Where the other engines are installed.  [default: ~/.cache/minattn/engines]", "--envs", metavar="FOLDER"),
]
Listing = Annotated[bool, option("Name the workloads and the engines, and do nothing.", "--list")]


@app.command()
def bench(
    workloads: Workloads = None,
    against: Against = "torch",
    threads: Threads = None,
    rounds: Rounds = 20,
    seconds: Seconds = 0.4,
    out: BenchOut = Path("runs") / "bench",
    add: Add = False,
    environments: Environments = None,
    listing: Listing = False,
) -> None:
    """Time minattn against other engines on the same work: ratios, memory, shares of what the machine can do, noise.

    Each engine gets an environment of its own, made when it is first wanted.  --against none measures minattn alone.
    """
    from minattn.benchmarks import command
    from minattn.benchmarks.environments import DEFAULT_FOLDER
    from minattn.benchmarks.terminal import print_list

    if listing:
        print_list(console)
        return
    folder = environments or DEFAULT_FOLDER
    wanted = command.Wanted(workloads or (), against, threads or (), rounds, seconds, folder, out, add)
    command.run(wanted, console)
