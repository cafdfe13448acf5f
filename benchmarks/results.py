"""What was measured, and the arithmetic on it: medians, ratios round by round, shares of what the machine can do."""

import itertools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from benchmarks.environments import BASELINES, ENGINES, MINATTN
from benchmarks.workloads import LIMIT_WORK, WORKLOADS, Workload

DISTURBED = 0.04  # of the machine: from here on, what others have used counts as a disturbance
LIMITS = "limits"  # the engine of worker.py that measures what the machine can do
ALIKE = 1e-2  # losses whose relative difference is larger are not of the same computation


class Spread(NamedTuple):
    """The middle of some values, and between what half of them lie."""

    median: float
    lower: float  # quartile
    upper: float


def spread(values: Sequence[float]) -> Spread:
    """Median and quartiles, interpolated between the values (of one value: itself)."""
    if len(values) == 1:
        return Spread(values[0], values[0], values[0])
    lower, median, upper = statistics.quantiles(values, n=4, method="inclusive")
    return Spread(median, lower, upper)


@dataclass(frozen=True)
class Round:
    """What an engine, or a limit, did in one round."""

    seconds: float  # of a step: the median of the round's
    processors: float | None = None  # that it kept busy; None where nobody can tell
    others: float | None = None  # the share of the machine that others used meanwhile
    attempts: int = 1  # how often the round was taken until it was not disturbed, or was given up

    @property
    def disturbed(self) -> bool:
        return self.others is not None and self.others > DISTURBED


@dataclass
class Timing:
    """One engine on one workload."""

    rounds: list[Round] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)  # of its first steps
    steps: int = 1  # in a round
    peak_mib: float | None = None
    version: dict[str, str] = field(default_factory=dict)  # of the engine, its NumPy, its Python

    @property
    def seconds(self) -> list[float]:
        """Of a step, round by round."""
        return [each.seconds for each in self.rounds]

    @property
    def processors(self) -> float | None:
        """That it kept busy, median; None where nobody can tell."""
        told = [each.processors for each in self.rounds if each.processors is not None]
        return statistics.median(told) if told else None


@dataclass
class Comparison:
    """All engines on one workload with one number of threads.

    A round has an entry in every timing, so that timings can be compared round by round.
    """

    workload: str
    threads: int
    reference: str | None
    timings: dict[str, Timing] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)  # engine -> why it has no timing
    limit: Timing | None = None  # of the machine, where the workload has one
    seconds: float = 0.0  # that the whole took
    date: str = ""  # when it began, as ISO 8601
    command: str = ""  # that asked for it

    @property
    def definition(self) -> Workload:
        return WORKLOADS[self.workload]

    @property
    def all_rounds(self) -> list[Round]:
        timings = [*self.timings.values(), *([self.limit] if self.limit else [])]
        return [each for timing in timings for each in timing.rounds]

    def time(self, engine: str) -> Spread:
        """Of a step, in the workload's unit."""
        return spread([seconds * self.definition.unit.a_second for seconds in self.timings[engine].seconds])

    def ratio(self, engine: str) -> Spread | None:
        """How many times as long as the reference a step takes, round by round; None without a reference."""
        reference = self.timings.get(self.reference or "")
        if reference is None:
            return None
        return spread(ratios(self.timings[engine].seconds, reference.seconds))

    def share(self, engine: str) -> Spread | None:
        """The share of the machine's limit that the work of a step reaches, round by round; None without a limit."""
        if self.limit is None or self.definition.limit is None:
            return None
        step_per_limit = self.definition.work / LIMIT_WORK[self.definition.limit]
        return spread([step_per_limit * r for r in ratios(self.limit.seconds, self.timings[engine].seconds)])

    def limit_rate(self) -> Spread | None:
        """What the machine can do at most, operations or bytes a second."""
        if self.limit is None or self.definition.limit is None:
            return None
        return spread([LIMIT_WORK[self.definition.limit] / seconds for seconds in self.limit.seconds])

    def loss_difference(self, engine: str) -> float | None:
        """The largest relative difference of its first losses from those of the reference, or else of the first engine
        there is; None where there is nothing to compare.
        """
        compared = self.reference if self.reference in self.timings else next(iter(self.timings))
        if engine == compared:
            return None
        return largest_difference(self.timings[engine].losses, self.timings[compared].losses)

    def largest_loss_difference(self) -> float | None:
        """The largest between any two engines that compute the same."""
        losses = [timing.losses for engine, timing in self.timings.items() if engine not in self.definition.other_forms]
        found = [largest_difference(one, other) for one, other in itertools.combinations(losses, 2)]
        return max((difference for difference in found if difference is not None), default=None)

    def unlike(self, engine: str) -> bool:
        """Whether its losses say that it computes something else, without having told so."""
        difference = self.loss_difference(engine)
        return difference is not None and not difference <= ALIKE and engine not in self.definition.other_forms


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Ours divided by theirs, round by round."""
    return [own / other for own, other in zip(ours, theirs, strict=True)]


def largest_difference(ours: Sequence[float], theirs: Sequence[float]) -> float | None:
    """The largest relative difference, step by step; NaN where one of them is no number, None of nothing."""
    found = [abs(own - other) / max(abs(own), abs(other), 1e-30) for own, other in zip(ours, theirs, strict=False)]
    return math.nan if any(map(math.isnan, found)) else max(found, default=None)


@dataclass(frozen=True)
class Noise:
    """How quiet the machine was."""

    rounds: int  # an engine's round counts as one
    repeated: int  # were taken once more
    disturbed: int  # stayed disturbed
    others: float | None  # median share of the machine that others used


def noise_of(comparisons: Sequence[Comparison]) -> Noise:
    """Of all rounds together."""
    rounds = [each for comparison in comparisons for each in comparison.all_rounds]
    others = [each.others for each in rounds if each.others is not None]
    return Noise(
        rounds=len(rounds),
        repeated=sum(each.attempts > 1 for each in rounds),
        disturbed=sum(each.disturbed for each in rounds),
        others=statistics.median(others) if others else None,
    )


@dataclass
class Results:
    """A whole run of the benchmark, or several that belong together."""

    machine: dict[str, Any]
    reference: str | None
    rounds: int
    seconds_a_round: float
    engines: list[str]  # that were asked for
    comparisons: list[Comparison] = field(default_factory=list)

    @property
    def commands(self) -> dict[str, str]:
        """The commands that made these results, and the day of each."""
        return {comparison.command: comparison.date[:10] for comparison in self.comparisons}

    @property
    def versions(self) -> dict[str, dict[str, str]]:
        """Of each engine that was measured."""
        found: dict[str, dict[str, str]] = {}
        for comparison in self.comparisons:
            for engine in filter(ENGINES.__contains__, comparison.timings):
                found.setdefault(engine, comparison.timings[engine].version)
        return found


def threads_in_words(threads: int) -> str:
    return f"{threads} thread" if threads == 1 else f"{threads} threads"


def title_of(engine: str) -> str:
    """How the engine calls itself."""
    if engine == LIMITS:
        return "the machine's limit"
    return {**ENGINES, **BASELINES}[engine].title


def failures_of_minattn(comparisons: Sequence[Comparison]) -> list[str]:
    """Workloads that minattn itself could not do, each with the reason."""
    return [
        f"{each.workload} with {threads_in_words(each.threads)}: {each.skipped[MINATTN]}"
        for each in comparisons
        if MINATTN in each.skipped
    ]
