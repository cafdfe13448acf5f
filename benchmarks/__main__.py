"""`python -m benchmarks`, from the root of a clone: times minattn beside other engines and writes the report."""

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console

from benchmarks.environments import DEFAULT_FOLDER, EARLIER, ENGINES, MINATTN, engine_of
from benchmarks.harness import Harness, Plan
from benchmarks.processes import processors
from benchmarks.report import check_folder, write_report
from benchmarks.results import failures_of_minattn, merged, read_results, threads_in_words
from benchmarks.terminal import TerminalWatcher, print_list, print_summary
from benchmarks.workload import Workload
from benchmarks.workloads import WORKLOADS, find_workloads
from minattn.errors import ConfigError, MinattnError

FAILED, INTERRUPTED = 1, 130  # exit statuses; the second is that of a program that Ctrl-C has ended
ALONE = "none"  # the value of --against for minattn without any other engine
DEFAULT_THREADS = 2
OUT = Path("runs") / "bench"

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
plain: dict[str, Any] = {"highlight": False, "markup": False, "emoji": False}  # paths and words as they are
console = Console(**plain, soft_wrap=True)


def option(text: str, *names: str, metavar: str | None = None, **more: Any) -> Any:
    return typer.Option(*names, help=text, metavar=metavar, show_default=False, **more)


Names = Annotated[
    list[str] | None, typer.Argument(metavar="[WORKLOAD...]", help="W1, W2, ..: see --list.  [default: all]")
]
AGAINST = (
    "Other engines, as torch,jax, or folders of other clones of minattn, as ../before; ratios are to the first."
    "  [default: torch]"
)
THREADS = "Threads of each engine; repeatable.  [default: 2 where there are]"
ENVIRONMENTS = "Where the engines are installed.  [default: ~/.cache/minattn/engines]"
SECONDS = "How long an engine's turn is, about.  [default: 0.4]"
MEMORY = "Measure instead how the memory of self-attention grows; takes --rounds, --out."


@app.command()
def bench(
    context: typer.Context,
    workloads: Names = None,
    against: Annotated[str, option(AGAINST, metavar="ENGINE,..")] = "torch",
    threads: Annotated[list[int] | None, option(THREADS, metavar="N", min=1)] = None,
    rounds: Annotated[int, option("Rounds of turns.  [default: 20]", min=1, metavar="N")] = 20,
    seconds: Annotated[float, option(SECONDS, min=0.001, max=60, metavar="S")] = 0.4,
    out: Annotated[Path, option("Where the report goes.  [default: runs/bench]", metavar="FOLDER")] = OUT,
    add: Annotated[bool, option("Keep what --out holds of other workloads and machines.", "--add")] = False,
    environments: Annotated[Path, option(ENVIRONMENTS, "--envs", metavar="FOLDER")] = DEFAULT_FOLDER,
    avx2: Annotated[bool, option("Hold all engines to AVX2, where the processor has AVX-512.", "--avx2")] = False,
    attention_memory: Annotated[bool, option(MEMORY, "--attention-memory")] = False,
    listing: Annotated[bool, option("Name the workloads and the engines, and do nothing.", "--list")] = False,
) -> None:
    """Time minattn against other engines on the same work: ratios, memory, shares of what the machine can do, noise.

    Each engine gets an environment of its own, made when it is first wanted.  --against none measures minattn alone.
    """
    if listing:
        print_list(console)
    elif attention_memory:
        _attention_memory(context, out, rounds)
    else:
        run(Request(workloads or (), against, threads or (), rounds, seconds, environments, out, add, avx2), console)


def _attention_memory(context: typer.Context, out: Path, rounds: int) -> None:
    from benchmarks import attention_memory

    sources = {name: context.get_parameter_source(name) for name in context.params}
    given = {name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"}
    if other := sorted(given - {"attention_memory", "rounds", "out"}):
        raise ConfigError(f"--attention-memory takes --rounds and --out alone; got {', '.join(other)} too")
    attention_memory.run(out, rounds, console)


@dataclass(frozen=True)
class Request:
    """The request of the command line."""

    workloads: Sequence[str] = ()  # none: all
    against: str = "torch"
    threads: Sequence[int] = ()  # none: two, or one on a machine of one core
    rounds: int = 20
    seconds: float = 0.4
    environments: Path = DEFAULT_FOLDER
    out: Path = OUT
    add: bool = False  # keep what `out` holds of other workloads and machines
    avx2: bool = False

    def plan(self) -> Plan:
        """Raises ConfigError with the first name or number that cannot be."""
        against, threads = self._against(), self._threads()
        plan = Plan(self._workloads(), against, threads, self.rounds, self.seconds, self.environments)
        return replace(plan, avx2=self.avx2)

    def _workloads(self) -> list[Workload]:
        try:
            return find_workloads(self.workloads)
        except KeyError as unknown:
            raise ConfigError(f"there is no workload {unknown}; there are {', '.join(WORKLOADS)}") from None

    def _against(self) -> list[str]:
        names = list(dict.fromkeys(map(engine_name, self.against.split(","))))
        if names == [ALONE]:
            return []
        others = [name for name in ENGINES if name != MINATTN]
        for name in names:
            if name == MINATTN:
                raise ConfigError(f"{MINATTN} is always measured; --against names others: {', '.join(others)}")
            if name.startswith(EARLIER):
                if not engine_of(name).worker.exists():
                    raise ConfigError(f"--against {name.removeprefix(EARLIER)}: there is no clone of minattn")
            elif name not in others:
                known = f"{', '.join(others)}, or {ALONE!r} alone, or the folder of a clone, as ./before"
                raise ConfigError(f"there is no engine {name!r}; there are {known}")
        return names

    def _threads(self) -> list[int]:
        available = len(processors())
        if any(not 1 <= number <= available for number in self.threads):
            given = ", ".join(map(str, self.threads))
            raise ConfigError(f"--threads takes 1 to {available}, the cores that can be used here; got {given}")
        return list(dict.fromkeys(self.threads)) or [min(DEFAULT_THREADS, available)]

    def command(self) -> str:
        """The command that measures the same again, wherever its files and environments are."""
        parts = ["python", "-m", "benchmarks", *self.workloads, "--against", self.against]
        parts += [part for number in self._threads() for part in ("--threads", str(number))]
        parts += ["--rounds", str(self.rounds)]
        parts += [] if self.seconds == Request.seconds else ["--seconds", f"{self.seconds:g}"]
        parts += ["--avx2"] if self.avx2 else []
        return shlex.join(parts)


def engine_name(given: str) -> str:
    """The name of an engine in any case; what has a slash is the folder of another clone."""
    given = given.strip()
    return f"{EARLIER}{given}" if "/" in given or given == ".." else given.casefold()


def run(request: Request, console: Console) -> None:
    """Measure, show and write.

    Raises ConfigError before anything is measured, MinattnError where minattn itself failed on a workload (after all
    else is measured and written), KeyboardInterrupt when Ctrl-C ends it, after saying what is lost.
    """
    watcher = TerminalWatcher(console)
    harness = Harness(request.plan(), watcher)
    check_folder(request.out)
    earlier = read_results(request.out) if request.add else []
    merged(harness.no_results(), earlier)  # before the work: can they be merged?
    try:
        with watcher:
            results = harness.run(request.command())
    except KeyboardInterrupt:
        console.print(lost(watcher, request.out))
        raise
    print_summary(results.comparisons, console)
    files = write_report(merged(results, earlier), request.out)
    console.print(f"written: {'  '.join(map(str, files))}")
    if failures := failures_of_minattn(results.comparisons):
        raise MinattnError(f"minattn could not do {'; '.join(failures)}")


def lost(watcher: TerminalWatcher, out: Path) -> str:
    """The remains of a stopped run: nothing but what it has shown."""
    complete = [f"{comparison.workload} ({threads_in_words(comparison.threads)})" for comparison in watcher.complete]
    return (
        f"stopped at {watcher.doing}; the engines are ended and nothing is written into {out}\n"
        f"complete, and shown above only: {', '.join(complete) or 'nothing'}"
    )


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
