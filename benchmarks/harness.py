"""Runs the benchmark: on each workload the engines take turns, A B C A B C, in rounds of a fraction of a second.

What slows one engine in a round slows the others in the same round too, so that the ratio of two engines is taken
round by round.  A round in which others used the machine is taken again, a few times at most.
"""

import dataclasses
import datetime
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Self

from threadpoolctl import threadpool_info

from benchmarks.environments import (
    AVX2,
    BASELINES,
    DEFAULT_FOLDER,
    ENGINES,
    MINATTN,
    UnavailableError,
    engine_of,
    interpreter_of,
    variables_of,
)
from benchmarks.processes import Contender, Importer, Meter, Place, Worker, processors
from benchmarks.results import LIMITS, Comparison, Results, Round, Timing, threads_in_words
from benchmarks.workload import Workload
from benchmarks.workloads import IMPORT

LEAST_STEPS = 3  # in a round: the median of fewer would follow every stall
LONGEST_ROUND = 4.0  # times the wanted length: an engine whose LEAST_STEPS take longer does one step a round
ATTEMPTS = 3  # at a round that others disturb
REST = 0.15  # s before a round with several threads: those of the engine before spin for about 0.1 s until they sleep


@dataclass(frozen=True)
class Plan:
    """A plan of measurements: the workloads, the contenders, the time."""

    workloads: list[Workload]
    against: list[str]  # engines beside minattn; the first is what the ratios are to
    threads: list[int]
    rounds: int = 20
    seconds: float = 0.4  # of an engine in a round
    environments: Path = DEFAULT_FOLDER
    time_limit: float = 120.0  # seconds that an engine may take to get ready, or for the steps of a round
    program: Path | None = None  # in place of every engine's worker
    avx2: bool = False  # hold all engines to AVX2

    @property
    def engines(self) -> list[str]:
        return [MINATTN, *self.against]

    @property
    def reference(self) -> str | None:
        return self.against[0] if self.against else None

    def pairs(self) -> list[tuple[Workload, int]]:
        """Every workload with every number of threads; importing takes one thread whatever the number, so only once."""
        return [
            (workload, threads)
            for threads in self.threads
            for workload in self.workloads
            if workload != IMPORT or threads == self.threads[0]
        ]


class Watcher:
    """Follows the benchmark; this one shows nothing."""

    def note(self, line: str) -> None:
        """Something takes long, or went wrong."""

    def advance(self, done: float, doing: str) -> None:
        """`done` of the whole (0 to 1) is measured, and next comes `doing`; called between rounds, never in one."""

    def finished(self, comparison: Comparison) -> None:
        """A workload is complete."""


@dataclass
class Harness:
    """A plan that is being carried out."""

    plan: Plan
    watcher: Watcher = field(default_factory=Watcher)
    _interpreters: dict[str, Path | UnavailableError] = field(default_factory=dict)

    def run(self, command: str) -> Results:
        """Measure all of it; `command` is what the results say they come from."""
        results = self.no_results()
        for name in self.plan.engines:
            self._find_interpreter(name)
        pairs = self.plan.pairs()
        for number, (workload, threads) in enumerate(pairs):
            comparison = self._compare(workload, threads, number / len(pairs), 1 / len(pairs))
            comparison.command = command
            results.comparisons.append(comparison)
            self.watcher.finished(comparison)
        return results

    def no_results(self) -> Results:
        """Results before anything is measured."""
        plan = self.plan
        return Results(describe_machine(plan.avx2), plan.reference, plan.rounds, plan.seconds, plan.engines)

    def _find_interpreter(self, name: str) -> None:
        try:
            self._interpreters[name] = interpreter_of(engine_of(name), self.plan.environments, self.watcher.note)
        except UnavailableError as reason:
            self.watcher.note(f"{name} is left out: {reason}")
            self._interpreters[name] = reason

    # ------------------------------------------------------------------------------------------ one workload
    def _compare(self, workload: Workload, threads: int, done: float, share: float) -> Comparison:
        """One workload; of the whole benchmark, `done` is behind it and it is `share`."""
        started = time.perf_counter()
        date = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        comparison = Comparison(workload.name, threads, self.plan.reference, date=date)
        seconds = self.plan.seconds if workload != IMPORT else 0.0  # a process a round
        label = f"{workload.name}, {threads_in_words(threads)}"
        with tempfile.TemporaryDirectory() as folder, Contest(comparison) as contest:
            for name in self._contestants(workload):
                self.watcher.advance(done, f"{label}: {name} gets ready")
                contest.enter(name, partial(self._start, name, workload, threads, Path(folder)), seconds)
            for number in range(self.plan.rounds):
                for name in contest.names():
                    here = f"round {number + 1} of {self.plan.rounds}"
                    self.watcher.advance(done + share * number / self.plan.rounds, f"{label}: {here}, {name}")
                    contest.take_turn(name, here)
            contest.read_memory()
        comparison.limit = comparison.timings.pop(LIMITS, None)
        comparison.seconds = time.perf_counter() - started
        return comparison

    def _contestants(self, workload: Workload) -> list[str]:
        """Those that take turns: the engines, and the limit of the machine, or what an import takes at least."""
        if workload == IMPORT:
            return [*(name for name in self.plan.engines if not engine_of(name).lives_with), *BASELINES]
        return [*self.plan.engines, *([LIMITS] if workload.limit else [])]

    def _start(self, name: str, workload: Workload, threads: int, folder: Path) -> Contender:
        engine = BASELINES.get(name) or (ENGINES[MINATTN] if name == LIMITS else engine_of(name))
        interpreter = self._interpreters[engine.name if engine.name in self._interpreters else MINATTN]
        if isinstance(interpreter, UnavailableError):
            raise interpreter
        place = Place(interpreter, variables_of(engine, self.plan.avx2), threads, folder, self.plan.time_limit)
        if workload == IMPORT:
            return Importer(engine, place)
        call = (LIMITS, str(workload.limit)) if name == LIMITS else (name, workload.name)
        if engine.module == MINATTN and name != LIMITS:
            call = (MINATTN, workload.name)  # as another clone's worker calls itself too
        return Worker(*call, place, self.plan.program or engine.worker)


class Contest:
    """Those that do one workload, their processes alive side by side until the end of the `with` block.

    One that fails is left out of the comparison, with the reason, and ended, so that it disturbs nobody.
    """

    def __init__(self, comparison: Comparison) -> None:
        self._comparison = comparison
        self._contenders: dict[str, Contender] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        for contender in self._contenders.values():
            contender.stop(at_once=kind is not None)

    def names(self) -> list[str]:
        """Those that have not failed."""
        return list(self._contenders)

    def enter(self, name: str, start: Callable[[], Contender], seconds: float) -> None:
        """Start its process, and do its first steps; its rounds are to take so many seconds."""
        with self._left_out_if_it_fails(name):
            self._contenders[name] = start()
            self._comparison.timings[name] = warm_up(self._contenders[name], seconds)

    def take_turn(self, name: str, when: str) -> None:
        """Do its round."""
        with self._left_out_if_it_fails(name, f", in {when}"):
            timing = self._comparison.timings[name]
            rest = REST if self._comparison.threads > 1 else 0.0
            timing.rounds.append(take_round(self._contenders[name], timing.steps, rest))

    def read_memory(self) -> None:
        """Ask all of them for the most memory that they have had."""
        for name in self.names():
            with self._left_out_if_it_fails(name):
                self._comparison.timings[name].peak_mib = self._contenders[name].peak_mib()

    @contextmanager
    def _left_out_if_it_fails(self, name: str, when: str = "") -> Iterator[None]:
        try:
            yield
        except UnavailableError as reason:
            self._comparison.skipped[name] = f"{reason}{when}"
            self._comparison.timings.pop(name, None)
            if name in self._contenders:
                self._contenders.pop(name).stop(at_once=True)


# ---------------------------------------------------------------------------------------------- rounds
def warm_up(contender: Contender, seconds: float) -> Timing:
    """Do the first steps, whose losses are kept, then a round that is not; choose how many steps a round shall have."""
    first = contender.run(contender.first_steps)
    warm = contender.run(steps_a_round(min(first.seconds), seconds))
    steps = steps_a_round(statistics.median(warm.seconds), seconds)
    return Timing(losses=first.losses, steps=steps, version=contender.version)


def steps_a_round(step: float, seconds: float) -> int:
    """The number of steps of `step` seconds in a round of about so many seconds."""
    if LEAST_STEPS * step > LONGEST_ROUND * seconds:
        return 1
    return max(LEAST_STEPS, round(seconds / max(step, 1e-9)))


def take_round(contender: Contender, steps: int, rest: float) -> Round:
    """So many steps; where others disturb them, once more, and at last the attempt that was disturbed least."""
    attempts = [attempt_round(contender, steps, rest)]
    while attempts[-1].disturbed and len(attempts) < ATTEMPTS:
        attempts.append(attempt_round(contender, steps, rest))
    best = min(attempts, key=lambda attempt: attempt.others or 0.0)
    return dataclasses.replace(best, attempts=len(attempts))


def attempt_round(contender: Contender, steps: int, rest: float) -> Round:
    """So many steps after a rest, and what else the machine did meanwhile."""
    time.sleep(rest)
    meter = Meter(contender)
    seconds = contender.run(steps).seconds
    return Round(statistics.median(seconds), *meter.read())


# ---------------------------------------------------------------------------------------------- the machine
def describe_machine(avx2: bool = False) -> dict[str, Any]:
    """Facts of the machine for the results; what the system does not tell is left out.  avx2: as in a `Plan`."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.exists() else []
    facts = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in reversed(lines))}
    machine: dict[str, Any] = {
        "processor": facts.get("model name") or platform.processor() or "unknown",
        "instructions": ", ".join(instructions(set(facts.get("flags", "").split()), avx2)),
        "processors": len(processors()),
        "system": f"{platform.system()} {'.'.join(platform.release().split('.')[:2])} on {platform.machine()}",
        "python": platform.python_version(),
    }
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        machine["memory_gib"] = round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1)
    return machine


def instructions(flags: set[str], avx2: bool) -> list[str]:
    """What decides how fast products are: the vector instructions, and the kernels that NumPy's OpenBLAS takes.

    It takes those that OPENBLAS_CORETYPE names, where that is set, in place of the processor's own.
    """
    vectors = next((name for flag, name in (("avx512f", "AVX-512"), ("avx2", "AVX2")) if flag in flags), None)
    if avx2:
        return ["held to AVX2", f"OpenBLAS: {AVX2['OPENBLAS_CORETYPE']}"]
    kernels = next((pool["architecture"] for pool in threadpool_info() if pool["internal_api"] == "openblas"), None)
    found = vectors, "AMX" if "amx_tile" in flags else None, kernels and f"OpenBLAS: {kernels}"
    return [name for name in found if name]
