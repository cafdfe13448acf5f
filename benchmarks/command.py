"""`python -m benchmarks`: from what the user wants to a plan, and from the plan to tables and files."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from benchmarks.environments import DEFAULT_FOLDER, ENGINES, MINATTN
from benchmarks.harness import Harness, Plan
from benchmarks.processes import processors
from benchmarks.report import check_folder, write_report
from benchmarks.results import failures_of_minattn, threads_in_words
from benchmarks.storage import joined, read_results
from benchmarks.terminal import TerminalWatcher, print_summary
from benchmarks.workloads import WORKLOADS, Workload, find_workloads
from minattn.errors import ConfigError, MinattnError

ALONE = "none"  # the value of --against for minattn without any other engine
DEFAULT_THREADS = 2


@dataclass(frozen=True)
class Wanted:
    """What the command line asks for."""

    workloads: Sequence[str] = ()  # none: all
    against: str = "torch"
    threads: Sequence[int] = ()  # none: two, or one on a machine of one core
    rounds: int = 20
    seconds: float = 0.4
    environments: Path = DEFAULT_FOLDER
    out: Path = Path("runs") / "bench"
    add: bool = False  # keep what `out` holds of other workloads

    def plan(self) -> Plan:
        """Raises ConfigError with the first name or number that cannot be."""
        return Plan(
            workloads=self._workloads(),
            against=self._against(),
            threads=self._threads(),
            rounds=self.rounds,
            seconds=self.seconds,
            environments=self.environments,
        )

    def _workloads(self) -> list[Workload]:
        try:
            return find_workloads(self.workloads)
        except KeyError as unknown:
            raise ConfigError(f"there is no workload {unknown}; there are {', '.join(WORKLOADS)}") from None

    def _against(self) -> list[str]:
        names = list(dict.fromkeys(name.strip().casefold() for name in self.against.split(",")))
        if names == [ALONE]:
            return []
        others = [name for name in ENGINES if name != MINATTN]
        for name in names:
            if name == MINATTN:
                raise ConfigError(f"{MINATTN} is always measured; --against names others: {', '.join(others)}")
            if name not in others:
                raise ConfigError(f"there is no engine {name!r}; there are {', '.join(others)}, or {ALONE!r} alone")
        return names

    def _threads(self) -> list[int]:
        there = len(processors())
        if any(not 1 <= number <= there for number in self.threads):
            given = ", ".join(map(str, self.threads))
            raise ConfigError(f"--threads takes 1 to {there}, as this machine has {there} cores to use; got {given}")
        return list(dict.fromkeys(self.threads)) or [min(DEFAULT_THREADS, there)]

    def command(self) -> str:
        """The command that measures the same again, wherever its files and environments are."""
        parts = ["python", "-m", "benchmarks", *self.workloads, "--against", self.against]
        parts += [part for number in self._threads() for part in ("--threads", str(number))]
        parts += ["--rounds", str(self.rounds)]
        parts += [] if self.seconds == Wanted.seconds else ["--seconds", f"{self.seconds:g}"]
        return shlex.join(parts)


def run(wanted: Wanted, console: Console) -> None:
    """Measure, show and write.

    Raises ConfigError where that cannot be begun, MinattnError where minattn itself failed on a workload (after all
    else is measured and written), KeyboardInterrupt when Ctrl-C ends it, after saying what is lost.
    """
    watcher = TerminalWatcher(console)
    harness = Harness(wanted.plan(), watcher)
    check_folder(wanted.out)
    earlier = read_results(wanted.out) if wanted.add else None
    if earlier is not None:
        joined(harness.no_results(), earlier)  # before the work: can they be joined?
    try:
        with watcher:
            results = harness.run(wanted.command())
    except KeyboardInterrupt:
        console.print(lost(watcher, wanted.out))
        raise
    print_summary(results.comparisons, console)
    files = write_report(results if earlier is None else joined(results, earlier), wanted.out)
    console.print(f"written: {'  '.join(map(str, files))}")
    if failures := failures_of_minattn(results.comparisons):
        raise MinattnError(f"minattn could not do {'; '.join(failures)}")


def lost(watcher: TerminalWatcher, out: Path) -> str:
    """What a stopped run leaves behind: nothing but what it has shown."""
    complete = [f"{comparison.workload} ({threads_in_words(comparison.threads)})" for comparison in watcher.complete]
    return (
        f"stopped at {watcher.doing}; the engines are ended and nothing is written into {out}\n"
        f"complete, and shown above only: {', '.join(complete) or 'nothing'}"
    )
