"""Results, and the arithmetic on them: medians, ratios round by round, shares of what the machine can do.

Results are kept as JSON, machine by machine, round by round, with as many digits as the report needs.
"""

import dataclasses
import itertools
import json
import math
import re
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.environments import BASELINES, ENGINES, MINATTN, engine_of
from benchmarks.workload import LIMIT_WORK, Workload
from benchmarks.workloads import WORKLOADS
from minattn.errors import ConfigError

JSON = "performance.json"
DISTURBED = 0.04  # of the machine: from here on, what others have used counts as a disturbance
LIMITS = "limits"  # the engine of worker.py that measures what the machine can do
ALIKE = 1e-2  # losses whose relative difference is larger are not of the same computation


class Spread(NamedTuple):
    """The median of some values, and their quartiles."""

    median: float
    lower: float
    upper: float


def spread(values: Sequence[float]) -> Spread:
    """Median and quartiles, interpolated between the values (of one value: itself)."""
    if len(values) == 1:
        return Spread(values[0], values[0], values[0])
    lower, median, upper = statistics.quantiles(values, n=4, method="inclusive")
    return Spread(median, lower, upper)


@dataclass(frozen=True)
class Round:
    """The measurements of an engine, or a limit, in one round."""

    seconds: float  # of a step: the median of the round's
    processors: float | None = None  # that it kept busy; None where the system does not tell
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
        """The median of the processors that it kept busy."""
        known = [each.processors for each in self.rounds if each.processors is not None]
        return statistics.median(known) if known else None


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
    def has_ratios(self) -> bool:
        """True if there is something to compare with."""
        return self.reference in self.timings and len(self.timings) > 1

    @property
    def has_losses(self) -> bool:
        """True if steps have a loss; an import has none."""
        return any(timing.losses for timing in self.timings.values())

    @property
    def all_rounds(self) -> list[Round]:
        timings = [*self.timings.values(), *([self.limit] if self.limit else [])]
        return [each for timing in timings for each in timing.rounds]

    def time(self, engine: str) -> Spread:
        """Of a step, in the workload's unit."""
        return spread([seconds * self.definition.unit.per_second for seconds in self.timings[engine].seconds])

    def ratio(self, engine: str) -> Spread | None:
        """The time of a step as a multiple of the reference's, round by round; None without a reference."""
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
        """The limit of the machine, operations or bytes a second."""
        if self.limit is None or self.definition.limit is None:
            return None
        return spread([LIMIT_WORK[self.definition.limit] / seconds for seconds in self.limit.seconds])

    def loss_difference(self, engine: str) -> float | None:
        """The largest relative difference of its first losses from those of the reference, or else of the first engine
        there is; None where there is nothing to compare.
        """
        if engine == self._standard:
            return None
        return largest_difference(self.timings[engine].losses, self.timings[self._standard].losses)

    def largest_loss_difference(self) -> float | None:
        """The largest between any two engines that compute the same."""
        pairs = itertools.combinations(self.timings, 2)
        alike = [pair for pair in pairs if self.has_other_form(pair[0]) == self.has_other_form(pair[1])]
        found = [largest_difference(self.timings[one].losses, self.timings[other].losses) for one, other in alike]
        return max((difference for difference in found if difference is not None), default=None)

    def unlike(self, engine: str) -> bool:
        """True if its losses show that it computes something else, undeclared."""
        difference = self.loss_difference(engine)
        if difference is None or difference <= ALIKE:
            return False
        return self.has_other_form(engine) == self.has_other_form(self._standard)

    @property
    def _standard(self) -> str:
        """The engine whose losses are those to compare with."""
        return self.reference if self.reference in self.timings else next(iter(self.timings))

    def has_other_form(self, engine: str) -> bool:
        """Whether it is declared to compute something else than most; another clone of minattn is as minattn."""
        return (MINATTN if engine.startswith(MINATTN) else engine) in self.definition.other_forms


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Ours divided by theirs, round by round."""
    return [own / other for own, other in zip(ours, theirs, strict=True)]


def largest_difference(ours: Sequence[float], theirs: Sequence[float]) -> float | None:
    """The largest relative difference, step by step; NaN where one of them is no number, None of nothing."""
    found = [abs(own - other) / max(abs(own), abs(other), 1e-30) for own, other in zip(ours, theirs, strict=False)]
    return math.nan if any(map(math.isnan, found)) else max(found, default=None)


@dataclass(frozen=True)
class Noise:
    """The noise of the machine."""

    rounds: int  # an engine's round counts as one
    repeated: int  # were taken once more
    disturbed: int  # stayed disturbed
    others: float | None  # median share of the machine that others used


def noise_of(comparisons: Iterable[Comparison]) -> Noise:
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
    """The results of one machine."""

    machine: dict[str, Any]
    reference: str | None
    rounds: int
    seconds_a_round: float
    engines: list[str]  # that were asked for
    comparisons: list[Comparison] = field(default_factory=list)

    @property
    def machine_name(self) -> str:
        """The processor, by which machines are told apart."""
        instructions = self.machine.get("instructions")
        return f"{self.machine['processor']}{f' ({instructions})' if instructions else ''}"

    @property
    def commands(self) -> dict[str, str]:
        """The commands that made these results, and the day of each."""
        return {comparison.command: comparison.date[:10] for comparison in self.comparisons}

    @property
    def versions(self) -> dict[str, dict[str, str]]:
        """Of each engine that was measured."""
        found: dict[str, dict[str, str]] = {}
        for comparison in self.comparisons:
            for engine in comparison.timings:
                if engine not in BASELINES:
                    found.setdefault(engine, comparison.timings[engine].version)
        return found


def threads_in_words(threads: int) -> str:
    return f"{threads} thread" if threads == 1 else f"{threads} threads"


def title_of(engine: str) -> str:
    """The name by which the engine calls itself."""
    if engine == LIMITS:
        return "the machine's limit"
    return BASELINES[engine].title if engine in BASELINES else engine_of(engine).title


def rank(engine: str) -> int:
    """The place of an engine in tables: other clones first, after minattn."""
    return list(ENGINES).index(engine) if engine in ENGINES else 0


def failures_of_minattn(comparisons: Iterable[Comparison]) -> list[str]:
    """Workloads that minattn itself could not do, each with the reason."""
    return [
        f"{each.workload} with {threads_in_words(each.threads)}: {each.skipped[MINATTN]}"
        for each in comparisons
        if MINATTN in each.skipped
    ]


# ---------------------------------------------------------------------------------------------- JSON
def to_json(machines: Sequence[Results]) -> str:
    """Text with a line for each engine on each workload; `from_json` reads it."""
    content = [dataclasses.asdict(results) for results in machines]
    for comparison in (each for results in content for each in results["comparisons"]):
        timings = comparison["timings"]
        comparison["timings"] = {engine: _columns(timing) for engine, timing in timings.items()}
        comparison["limit"] = comparison["limit"] and _columns(comparison["limit"])
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    return re.sub(r'("\w[^"]*":)?\{"(rounds|workload|machine)":', r"\n\g<0>", text) + "\n"


def _columns(timing: dict[str, Any]) -> dict[str, Any]:
    """The timing with each kind of number of its rounds in a list, and with as many digits as the report needs."""
    digits = {"seconds": 5, "processors": 3, "others": 2, "attempts": 2}
    rounds = {name: [_digits(each[name], d) for each in timing["rounds"]] for name, d in digits.items()}
    losses = [_digits(loss, 9) for loss in timing["losses"]]
    return {**timing, "rounds": rounds, "losses": losses, "peak_mib": _digits(timing["peak_mib"], 5)}


def _digits(value: float | None, digits: int) -> float | None:
    """The value with so many significant digits; a share of nothing is 0."""
    if value is None or not math.isfinite(value) or isinstance(value, int):
        return value
    return 0.0 if abs(value) < 1e-9 and digits == 2 else float(f"{value:.{digits}g}")


def from_json(text: str) -> list[Results]:
    """Results of machines.  Raises KeyError, TypeError or ValueError where something is missing or wrong."""
    machines = []
    for raw in json.loads(text):
        comparisons = []
        for each in raw.pop("comparisons"):
            timings, limit = each.pop("timings"), each.pop("limit")
            timings = {engine: _timing(timing) for engine, timing in timings.items()}
            comparisons.append(Comparison(**each, timings=timings, limit=limit and _timing(limit)))
        machines.append(Results(**raw, comparisons=comparisons))
    return machines


def _timing(raw: dict[str, Any]) -> Timing:
    columns = raw["rounds"]
    rows = zip(*columns.values(), strict=True)
    return Timing(**{**raw, "rounds": [Round(**dict(zip(columns, row, strict=True))) for row in rows]})


def read_results(folder: Path) -> list[Results]:
    """The results in a folder; none where there are none yet.  Raises ConfigError where the file is damaged."""
    path = folder / JSON
    try:
        return from_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{path} is none of this version's results ({error}); hint: without --add") from error


def merged(new: Results, machines: Sequence[Results]) -> list[Results]:
    """All machines, that of the new results with their comparisons in place of those of the same workload and threads.

    Raises ConfigError where those of the same machine were not made in the same way, or those of any machine have
    another reference, so that one report could not show both.
    """
    places = {each.machine_name: place for place, each in enumerate(machines)}
    place = places.get(new.machine_name)
    for number, old in enumerate(machines):
        for what in ("reference", *(("rounds", "seconds_a_round") if number == place else ())):
            if getattr(new, what) != getattr(old, what):
                there, here = getattr(old, what), getattr(new, what)
                raise ConfigError(f"--add cannot merge results whose {what} differ: {there} there, {here} here")
    if place is None:
        return [*machines, new]
    together = (*machines[place].comparisons, *new.comparisons)
    found = {(each.workload, each.threads): each for each in together}
    threads = dict.fromkeys(each.threads for each in together)
    engines = sorted(dict.fromkeys((*new.engines, *machines[place].engines)), key=rank)
    comparisons = [found[name, n] for n in threads for name in WORKLOADS if (name, n) in found]
    both = dataclasses.replace(new, engines=engines, comparisons=comparisons)
    return [*machines[:place], both, *machines[place + 1 :]]
