"""`python -m benchmarks`, from the root of a clone: times minattn beside other engines and writes the report."""

import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console

from minattn.errors import ConfigError, MinattnError

FAILED, INTERRUPTED = 1, 130  # exit statuses; the second is that of a program that Ctrl-C has ended

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
plain: dict[str, Any] = {"highlight": False, "markup": False, "emoji": False}  # paths and words as they are
console = Console(**plain, soft_wrap=True)


def option(text: str, *names: str, metavar: str | None = None, **more: Any) -> Any:
    return typer.Option(*names, help=text, metavar=metavar, show_default=False, **more)


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
Out = Annotated[
    Path, option("Where performance.json, .md and .png go.  [default: runs/bench]", "--out", metavar="FOLDER")
]
Add = Annotated[bool, option("Keep what --out holds of other workloads, measured in the same way.", "--add")]
Environments = Annotated[
    Path | None,
    option("Where the other engines are installed.  [default: ~/.cache/minattn/engines]", "--envs", metavar="FOLDER"),
]
AttentionMemory = Annotated[
    bool,
    option(
        "Measure instead how the memory of self-attention grows with the length; takes --rounds, --out.",
        "--attention-memory",
    ),
]
Listing = Annotated[bool, option("Name the workloads and the engines, and do nothing.", "--list")]


@app.command()
def bench(
    context: typer.Context,
    workloads: Workloads = None,
    against: Against = "torch",
    threads: Threads = None,
    rounds: Rounds = 20,
    seconds: Seconds = 0.4,
    out: Out = Path("runs") / "bench",
    add: Add = False,
    environments: Environments = None,
    attention_memory: AttentionMemory = False,
    listing: Listing = False,
) -> None:
    """Time minattn against other engines on the same work: ratios, memory, shares of what the machine can do, noise.

    Each engine gets an environment of its own, made when it is first wanted.  --against none measures minattn alone.
    """
    from benchmarks import command
    from benchmarks.environments import DEFAULT_FOLDER
    from benchmarks.terminal import print_list

    if listing:
        print_list(console)
        return
    if attention_memory:
        _attention_memory(context, out, rounds)
        return
    folder = environments or DEFAULT_FOLDER
    wanted = command.Wanted(workloads or (), against, threads or (), rounds, seconds, folder, out, add)
    command.run(wanted, console)


def _attention_memory(context: typer.Context, out: Path, rounds: int) -> None:
    from benchmarks import attention_memory

    sources = {name: context.get_parameter_source(name) for name in context.params}
    given = {name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"}
    if other := sorted(given - {"attention_memory", "rounds", "out"}):
        raise ConfigError(f"--attention-memory takes --rounds and --out alone; got {', '.join(other)} too")
    attention_memory.run(out, rounds, console)


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command and exit; what the user can put right becomes one line and an exit status above 0."""
    status = FAILED
    try:
        status = app(arguments, prog_name="python -m benchmarks", standalone_mode=False)
    except MinattnError as error:
        message = str(error)
    except typer.TyperException as error:
        message, status = f"{error.format_message().rstrip('.')}; see python -m benchmarks --help", error.exit_code
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    else:
        sys.exit(status)
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(status)


if __name__ == "__main__":
    main()
