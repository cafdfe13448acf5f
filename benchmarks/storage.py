"""Results as JSON: written, read again, and joined with later ones."""

import dataclasses
import json
from pathlib import Path
from typing import Any

from benchmarks.results import Comparison, Results, Round, Spread, Timing, noise_of
from benchmarks.workloads import WORKLOADS
from minattn.errors import ConfigError

JSON = "performance.json"


def as_json(results: Results) -> dict[str, Any]:
    """Everything that was measured, round by round, and what the tables say of it."""
    content = dataclasses.asdict(results)
    for raw, comparison in zip(content["comparisons"], results.comparisons, strict=True):
        raw["unit"] = comparison.definition.unit.name
        raw["limit_rate"] = _spread(comparison.limit_rate())
        raw["summary"] = {
            engine: {
                "time": _spread(comparison.time(engine)),
                "ratio": _spread(comparison.ratio(engine)),
                "share_of_limit": _spread(comparison.share(engine)),
                "loss_difference": comparison.loss_difference(engine),
            }
            for engine in comparison.timings
        }
    return {**content, "noise": dataclasses.asdict(noise_of(results.comparisons))}


def _spread(spread: Spread | None) -> dict[str, float] | None:
    return spread and spread._asdict()


def from_json(content: dict[str, Any]) -> Results:
    """Results from the JSON of a report; what the report adds to them is passed over.

    Raises KeyError or TypeError where something is missing.
    """
    comparisons = [
        Comparison(**{**_fields(Comparison, raw), "timings": _timings(raw["timings"]), "limit": _timing(raw["limit"])})
        for raw in content["comparisons"]
    ]
    return Results(**{**_fields(Results, content), "comparisons": comparisons})


def _timings(raw: dict[str, Any]) -> dict[str, Timing]:
    return {engine: Timing(**{**timing, "rounds": _rounds(timing)}) for engine, timing in raw.items()}


def _timing(raw: dict[str, Any] | None) -> Timing | None:
    return None if raw is None else Timing(**{**raw, "rounds": _rounds(raw)})


def _rounds(timing: dict[str, Any]) -> list[Round]:
    return [Round(**each) for each in timing["rounds"]]


def _fields(kind: type, raw: dict[str, Any]) -> dict[str, Any]:
    return {each.name: raw[each.name] for each in dataclasses.fields(kind)}


def read_results(folder: Path) -> Results | None:
    """The results in a folder; None where there are none yet.  Raises ConfigError where the file is damaged."""
    path = folder / JSON
    try:
        return from_json(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{path} is none of this version's results ({error}); hint: without --add") from error


def joined(new: Results, old: Results) -> Results:
    """The new comparisons, and those of the old on other workloads or with other numbers of threads.

    Raises ConfigError where they were not made in the same way, so that one report could not tell of both.
    """
    for what in ("machine", "reference", "rounds", "seconds_a_round"):
        if getattr(new, what) != getattr(old, what):
            raise ConfigError(
                f"--add cannot join results whose {what} differ: {getattr(old, what)} there, {getattr(new, what)} here"
            )
    found = {(each.workload, each.threads): each for each in (*old.comparisons, *new.comparisons)}
    threads = list(dict.fromkeys(each.threads for each in (*old.comparisons, *new.comparisons)))
    return dataclasses.replace(
        new,
        engines=list(dict.fromkeys((*new.engines, *old.engines))),
        comparisons=[found[name, n] for n in threads for name in WORKLOADS if (name, n) in found],
    )
