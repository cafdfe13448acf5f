"""What a run of the benchmark says, in words and tables, and the files it leaves: performance.json, .md and .png."""

import json
import math
import os
from collections.abc import Iterable, Sequence
from datetime import timedelta
from pathlib import Path

from benchmarks.environments import ENGINES
from benchmarks.picture import draw_ratios
from benchmarks.results import (
    DISTURBED,
    Comparison,
    Results,
    Spread,
    noise_of,
    threads_in_words,
    title_of,
)
from benchmarks.storage import JSON, as_json
from benchmarks.workloads import Limit
from minattn.errors import ConfigError, MinattnError
from minattn.viz.saving import save_figure
from minattn.viz.style import require_matplotlib

MARKDOWN, PICTURE = "performance.md", "performance.png"
NOTHING = "–"

LIMIT_NAMES = {Limit.GEMM: "matrix products", Limit.COPY: "copying"}
LIMIT_UNITS = {Limit.GEMM: "GFLOP/s", Limit.COPY: "GB/s"}


# ---------------------------------------------------------------------------------------------- numbers
def number(value: float) -> str:
    """Three digits, or all that stand before the point."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    decimals = max(0, 2 - math.floor(math.log10(abs(float(f"{value:.3g}")))))
    return f"{value:,.{decimals}f}"


def between(spread: Spread) -> str:
    """The quartiles."""
    return f"{number(spread.lower)}–{number(spread.upper)}"


def percent(fraction: float) -> str:
    """Two digits: 0.0312 is 3.1 %."""
    return f"{100 * fraction:.{0 if fraction >= 0.0995 else 1}f}".removesuffix(".0") + " %"


def scientific(value: float) -> str:
    """One digit and the power of ten."""
    return f"{value:.0e}" if value else "0"


def duration(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))


# ---------------------------------------------------------------------------------------------- one workload
def heading(comparison: Comparison) -> list[str]:
    """The columns of a workload's table, as short as a terminal wants them."""
    columns = ["engine", comparison.definition.unit.name, "quartiles"]
    columns += [f"× {title_of(comparison.reference or '')}", "quartiles"] if has_ratios(comparison) else []
    columns += ["of limit"] if comparison.limit else []
    return [*columns, "MiB", "cores", *(["loss"] if has_losses(comparison) else [])]


def rows(comparison: Comparison) -> list[list[str]]:
    """A row for every engine that was measured; `heading` names the columns."""
    return [_row(comparison, engine) for engine in comparison.timings]


def _row(comparison: Comparison, engine: str) -> list[str]:
    timing, time = comparison.timings[engine], comparison.time(engine)
    cells = [title_of(engine), number(time.median), between(time)]
    ratio = comparison.ratio(engine)
    if has_ratios(comparison) and ratio is not None:
        cells += ["1", ""] if engine == comparison.reference else [number(ratio.median), between(ratio)]
    share = comparison.share(engine)
    if share is not None:
        cells.append(percent(share.median))
    difference = comparison.loss_difference(engine)
    return [
        *cells,
        NOTHING if timing.peak_mib is None else f"{timing.peak_mib:,.0f}",
        NOTHING if timing.processors is None else f"{timing.processors:.1f}",
        *([NOTHING if difference is None else scientific(difference)] if has_losses(comparison) else []),
    ]


def has_ratios(comparison: Comparison) -> bool:
    """Whether there is something to compare with."""
    return comparison.reference in comparison.timings and len(comparison.timings) > 1


def has_losses(comparison: Comparison) -> bool:
    """Whether steps have a loss; an import has none."""
    return any(timing.losses for timing in comparison.timings.values())


def remarks(comparison: Comparison) -> list[str]:
    """What is to be known beside the table of a workload: its limit, its noise, who was left out and why."""
    workload, said = comparison.definition, []
    rate = comparison.limit_rate()
    if rate is not None and workload.limit is not None:
        giga = Spread(*(value / 1e9 for value in rate))
        unit = LIMIT_UNITS[workload.limit]
        said.append(
            f"Limit of the machine in the same rounds: {LIMIT_NAMES[workload.limit]} {number(giga.median)} {unit} "
            f"(quartiles {between(giga)})."
        )
    largest = comparison.largest_loss_difference()
    if largest is not None:
        said.append(f"Losses of the first steps differ by {scientific(largest)} at most between any two engines.")
    said += [
        f"{title_of(engine)} has other losses: {why}."
        for engine, why in workload.other_forms.items()
        if len(comparison.timings) > 1 and engine in comparison.timings
    ]
    said += [
        f"ATTENTION: the losses of {title_of(engine)} are not those of the others: it computes something else."
        for engine in comparison.timings
        if comparison.unlike(engine)
    ]
    said += [f"Left out: {title_of(engine)}: {why}." for engine, why in comparison.skipped.items()]
    return [*said, noise_in_words([comparison])]


def noise_in_words(comparisons: Sequence[Comparison]) -> str:
    """How quiet the machine was."""
    noise = noise_of(comparisons)
    if noise.others is None:
        return "Noise: nobody can tell what else the machine did."
    return (
        f"Noise: others used {percent(noise.others)} of the machine (median); of {noise.rounds} rounds "
        f"{noise.repeated} were repeated, and {noise.disturbed} stayed disturbed (more than {percent(DISTURBED)})."
    )


# ---------------------------------------------------------------------------------------------- all workloads
def summary(comparisons: Sequence[Comparison]) -> tuple[list[str], list[list[str]]]:
    """Columns and rows of the ratios: a column for each engine that has one, a row for each workload."""
    engines = ranked_engines(comparisons)
    lines = []
    for comparison in comparisons:
        found = [comparison.ratio(engine) if engine in comparison.timings else None for engine in engines]
        cells = [NOTHING if ratio is None else number(ratio.median) for ratio in found]
        lines.append([comparison.definition.heading, *cells])
    return ["workload", *map(title_of, engines)], lines


def meaning_of_ratios(comparison: Comparison) -> str:
    return f"time of a step as a multiple of {title_of(comparison.reference or '')}'s"


def ranked_engines(comparisons: Iterable[Comparison]) -> list[str]:
    """All that were measured on any of the workloads, in the order in which they were asked for."""
    measured = [engine for comparison in comparisons for engine in comparison.timings if engine in ENGINES]
    return list(dict.fromkeys(measured))


def by_threads(comparisons: Iterable[Comparison]) -> dict[int, list[Comparison]]:
    found: dict[int, list[Comparison]] = {}
    for comparison in comparisons:
        found.setdefault(comparison.threads, []).append(comparison)
    return found


# ---------------------------------------------------------------------------------------------- Markdown
def markdown(results: Results) -> str:
    """The report for docs/performance.md: what came out first, then each workload, then how and on what."""
    parts = [
        "# How fast it is\n",
        "Measured by `python -m benchmarks`, which writes this page; to change it, measure again.\n",
    ]
    parts += [f"    {command}  # {day}" for command, day in results.commands.items()]
    parts.append("")
    compared = [comparison for comparison in results.comparisons if has_ratios(comparison)]
    if compared:
        parts.append(_headline(results, compared))
    parts += ["## Each workload\n", *map(_workload_section, _by_workload(results.comparisons))]
    parts += [_method(results), _machine(results)]
    return "\n".join(parts)


def _headline(results: Results, compared: Sequence[Comparison]) -> str:
    reference = title_of(results.reference or "")
    parts = [
        f"How many times as long as {reference} each engine takes for the same step; below 1 is faster than it.",
        f"Medians of {results.rounds} rounds, in which the engines took turns.\n",
        f"![Time of a step as a multiple of that of {reference}, for each workload and engine]({PICTURE})\n",
        "*The thin lines span the quartiles of the rounds.*\n",
    ]
    for threads, comparisons in by_threads(compared).items():
        columns, lines = summary(comparisons)
        lines = [[line[0], f"**{line[1]}**", *line[2:]] for line in lines]  # minattn's
        parts += [f"## {threads_in_words(threads).capitalize()}\n", markdown_table(columns, lines)]
        if any(NOTHING in line for line in lines):
            parts.append(f"{NOTHING} : no result; why not is said with the workload below.\n")
    return "\n".join(parts)


def _by_workload(comparisons: Iterable[Comparison]) -> list[list[Comparison]]:
    found: dict[str, list[Comparison]] = {}
    for comparison in comparisons:
        found.setdefault(comparison.workload, []).append(comparison)
    return list(found.values())


def _workload_section(comparisons: list[Comparison]) -> str:
    """One workload with every number of threads."""
    workload = comparisons[0].definition
    parts = [f"### {workload.heading}\n", f"{workload.step[0].upper()}{workload.step[1:]}.\n"]
    for comparison in comparisons:
        parts += [
            f"**{threads_in_words(comparison.threads)}**\n",
            markdown_table(heading(comparison), rows(comparison)),
        ]
        parts.append("".join(f"- {remark}\n" for remark in remarks(comparison)))
    return "\n".join(parts)


def markdown_table(columns: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A table whose first column is text and whose others are numbers."""
    lines = [columns, ["---", *("---:" for _ in columns[1:])], *lines]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


METHOD = """## How it is measured

Every engine runs in a process and an environment of its own, with the same inputs, initial weights and number of
threads, pinned to as many cores. Each workload is written for each engine as a user of that engine would write it, in
[`benchmarks/engines`](../benchmarks/engines). A step is the whole way from the inputs to the updated
weights, reading the loss included.

The processes of all engines live side by side and take turns of about {seconds:g} s, in {rounds} rounds; between
turns is a rest in which idle threads stop spinning. The time of a round is the median of its steps, and a ratio is
taken within a round, so that what slows the machine slows both sides of it. A round in which other programs used more
than {disturbed} of the machine is taken again, up to twice.

- **quartiles**: half of the rounds lie between them.
- **of limit**: the limits of the machine take turns with the engines: a product of two 1024 × 1024 matrices and a copy
  of 64 MiB, by NumPy. This is the share that an engine reaches of them, where only those operations, or bytes, count
  that no engine can do without; causal attention counts in full, though half of it could be left out.
- **MiB**: the most memory that the whole process has had, libraries and data included.
- **cores**: how many it kept busy.
- **loss**: the largest relative difference of its first losses from those of the engine that has none here.
"""


def _method(results: Results) -> str:
    return METHOD.format(seconds=results.seconds_a_round, rounds=results.rounds, disturbed=percent(DISTURBED))


def _machine(results: Results) -> str:
    machine = results.machine
    facts = [f"{machine['processor']}, {machine['processors']} cores"]
    facts += [f"{machine['memory_gib']} GiB of memory"] if "memory_gib" in machine else []
    facts += [f"{machine['system']}, Python {machine['python']}"]
    versions = [
        [title_of(engine), found["version"] or NOTHING, found["numpy"], found["python"]]
        for engine, found in results.versions.items()
    ]
    took = sum(comparison.seconds for comparison in results.comparisons)
    return "\n".join(
        [
            "## On what\n",
            "".join(f"- {fact}\n" for fact in facts),
            f"{noise_in_words(results.comparisons)} All of it took {duration(took)}.\n",
            markdown_table(["engine", "version", "NumPy", "Python"], versions),
        ]
    )


# ---------------------------------------------------------------------------------------------- files
def write_report(results: Results, folder: Path) -> list[Path]:
    """Write the files of the report; returns their paths.  The picture is left out where there is nothing to compare.

    Raises MinattnError where a file cannot be written; none is ever half written.
    """
    compared = [comparison for comparison in results.comparisons if has_ratios(comparison)]
    written = []
    folder.mkdir(parents=True, exist_ok=True)
    if compared:
        written.append(save_figure(draw_ratios(compared, results.engines), folder / PICTURE))
    content = json.dumps(as_json(results), indent=1, ensure_ascii=False)
    for name, text in ((JSON, content + "\n"), (MARKDOWN, markdown(results))):
        write_text(folder / name, text)
        written.append(folder / name)
    return written


def check_folder(folder: Path) -> None:
    """Raise ConfigError, before hours of measuring, where the files could not be written."""
    nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not nearest.is_dir():
        raise ConfigError(f"{nearest} is a file, not a folder; hint: another folder by --out")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise ConfigError(f"{nearest} cannot be written to; hint: another folder by --out")
    require_matplotlib()


def write_text(path: Path, text: str) -> None:
    """Write beside the place and move there at the end; on failure leave nothing behind."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, path)
    except OSError as error:
        raise MinattnError(f"could not write {path}: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)
