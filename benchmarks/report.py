"""The report of a run, in words and tables, and its files: performance.json, .md and .png."""

import math
import os
from collections.abc import Iterable, Sequence
from datetime import timedelta
from pathlib import Path

from benchmarks.environments import BASELINES
from benchmarks.figure import draw_ratios
from benchmarks.results import (
    DISTURBED,
    JSON,
    Comparison,
    Results,
    Spread,
    from_json,
    noise_of,
    rank,
    threads_in_words,
    title_of,
    to_json,
)
from benchmarks.workload import Limit
from minattn.errors import ConfigError
from minattn.viz.saving import save_figure, write_atomically
from minattn.viz.style import require_matplotlib

MARKDOWN = "performance.md"
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
    columns += [f"× {title_of(comparison.reference or '')}", "quartiles"] if comparison.has_ratios else []
    columns += ["of limit"] if comparison.limit else []
    return [*columns, "MiB", "cores", *(["loss"] if comparison.has_losses else [])]


def rows(comparison: Comparison) -> list[list[str]]:
    """A row for every engine that was measured; `heading` has the columns."""
    return [_row(comparison, engine) for engine in comparison.timings]


def _row(comparison: Comparison, engine: str) -> list[str]:
    timing, time = comparison.timings[engine], comparison.time(engine)
    cells = [title_of(engine), number(time.median), between(time)]
    ratio = comparison.ratio(engine)
    if comparison.has_ratios and ratio is not None:
        cells += ["1", ""] if engine == comparison.reference else [number(ratio.median), between(ratio)]
    share = comparison.share(engine)
    if share is not None:
        cells.append(percent(share.median))
    difference = comparison.loss_difference(engine)
    return [
        *cells,
        NOTHING if timing.peak_mib is None else f"{timing.peak_mib:,.0f}",
        NOTHING if timing.processors is None else f"{timing.processors:.1f}",
        *([NOTHING if difference is None else scientific(difference)] if comparison.has_losses else []),
    ]


def remarks(comparison: Comparison) -> list[str]:
    """Remarks under the table of a workload: its limit, its noise, the engines that were left out and why."""
    workload, lines = comparison.definition, []
    rate = comparison.limit_rate()
    if rate is not None and workload.limit is not None:
        giga = Spread(*(value / 1e9 for value in rate))
        unit = LIMIT_UNITS[workload.limit]
        lines.append(
            f"Limit of the machine in the same rounds: {LIMIT_NAMES[workload.limit]} {number(giga.median)} {unit} "
            f"(quartiles {between(giga)})."
        )
    largest = comparison.largest_loss_difference()
    if largest is not None:
        lines.append(f"Losses of the first steps differ by {scientific(largest)} at most between any two engines.")
    lines += [
        f"{title_of(engine)} has other losses: {why}."
        for engine, why in workload.other_forms.items()
        if engine in comparison.timings and not all(map(comparison.has_other_form, comparison.timings))
    ]
    lines += [
        f"ATTENTION: the losses of {title_of(engine)} are not those of the others: it computes something else."
        for engine in comparison.timings
        if comparison.unlike(engine)
    ]
    lines += [f"Left out: {title_of(engine)}: {why}." for engine, why in comparison.skipped.items()]
    return [*lines, noise_in_words([comparison])]


def noise_in_words(comparisons: Sequence[Comparison]) -> str:
    """The noise of the machine."""
    noise = noise_of(comparisons)
    if noise.others is None:
        return "Noise: the system does not tell what else the machine did."
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
    """All that were measured on any of the workloads."""
    measured = [engine for comparison in comparisons for engine in comparison.timings if engine not in BASELINES]
    return sorted(dict.fromkeys(measured), key=rank)


def by_threads(comparisons: Iterable[Comparison]) -> dict[int, list[Comparison]]:
    found: dict[int, list[Comparison]] = {}
    for comparison in comparisons:
        found.setdefault(comparison.threads, []).append(comparison)
    return found


# ---------------------------------------------------------------------------------------------- Markdown
def markdown(machines: Sequence[Results]) -> str:
    """The page: the ratios on each machine first, then each workload, then how and on what."""
    parts = [
        "# How fast it is\n",
        "Measured by `python -m benchmarks`, which writes this page; to change it, measure again.\n",
    ]
    parts += [_headline(results, number) for number, results in enumerate(machines)]
    parts.append("## Each workload\n")
    workloads = dict.fromkeys(comparison.workload for results in machines for comparison in results.comparisons)
    parts += [_workload_section(workload, machines) for workload in workloads]
    return "\n".join([*parts, METHOD.format(disturbed=percent(DISTURBED)), "## On what\n", *map(_machine, machines)])


def _headline(results: Results, number: int) -> str:
    parts = [f"## {results.machine_name}\n"]
    parts += [f"    {command}  # {day}" for command, day in results.commands.items()]
    parts.append("")
    compared = [comparison for comparison in results.comparisons if comparison.has_ratios]
    if not compared:
        return "\n".join(parts)
    reference = title_of(results.reference or "")
    name = figure_name(number)
    parts += [
        f"How many times as long as {reference} each engine takes for the same step; below 1 is faster than it.",
        f"Medians of {results.rounds} rounds, in which the engines took turns.\n",
        f"![Time of a step as a multiple of that of {reference}, for each workload and engine]({name})\n",
        "*The thin lines span the quartiles of the rounds.*\n",
    ]
    for threads, comparisons in by_threads(compared).items():
        columns, lines = summary(comparisons)
        lines = [[line[0], f"**{line[1]}**", *line[2:]] for line in lines]  # minattn's
        parts += [f"### {threads_in_words(threads).capitalize()}\n", markdown_table(columns, lines)]
        if any(NOTHING in line for line in lines):
            parts.append(f"{NOTHING} : no result; the workload below gives the reason.\n")
    return "\n".join(parts)


def _workload_section(workload: str, machines: Sequence[Results]) -> str:
    """One workload on every machine with every number of threads."""
    parts = []
    for results in machines:
        for comparison in results.comparisons:
            if comparison.workload != workload:
                continue
            definition = comparison.definition
            if not parts:
                text = definition.description
                parts += [f"### {definition.heading}\n", f"{text[0].upper()}{text[1:]}.\n"]
            where = f"{results.machine_name}, " if len(machines) > 1 else ""
            parts += [f"**{where}{threads_in_words(comparison.threads)}**\n"]
            parts += [markdown_table(heading(comparison), rows(comparison))]
            parts.append("".join(f"- {remark}\n" for remark in remarks(comparison)))
    return "\n".join(parts)


def markdown_table(columns: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A table whose first column is text and whose others are numbers."""
    lines = [columns, ["---", *("---:" for _ in columns[1:])], *lines]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


METHOD = """## How it is measured

Every engine runs in a process and an environment of its own, with the same inputs, initial parameters and number of
threads, pinned to as many cores. Each workload is one file of [`benchmarks/workloads`](../benchmarks/workloads): the
networks of minattn and of PyTorch as a user of each would write them, and one text for all others over the functions
that each engine has for it, in [`benchmarks/engines`](../benchmarks/engines). A step is the whole way from the inputs
to the updated parameters, reading the loss included.

The processes of all engines live side by side and take turns of a fraction of a second, in rounds; between turns is a
rest in which idle threads stop spinning. The time of a round is the median of its steps, and a ratio is taken within a
round, so that what slows the machine slows both sides of it. A round in which other programs used more than {disturbed}
of the machine is taken again, up to twice.

- **quartiles**: half of the rounds lie between them.
- **of limit**: the limits of the machine take turns with the engines: a product of two 1024 × 1024 matrices and a copy
  of 64 MiB, by NumPy. This is the share that an engine reaches of them, where only those operations, or bytes, count
  that no engine can do without; causal attention counts in full, though half of it could be left out.
- **MiB**: the most memory that the whole process has had, libraries and data included.
- **cores**: how many it kept busy.
- **loss**: the largest relative difference of its first losses from those of the engine that has none here.
"""


def _machine(results: Results) -> str:
    machine = results.machine
    facts = [f"{results.machine_name}, {machine['processors']} cores"]
    facts += [f"{machine['memory_gib']} GiB of memory"] if "memory_gib" in machine else []
    facts += [f"{machine['system']}, Python {machine['python']}"]
    facts += [f"{results.rounds} rounds, turns of about {results.seconds_a_round:g} s"]
    versions = [
        [title_of(engine), found["version"] or NOTHING, found["numpy"], found["python"]]
        for engine, found in results.versions.items()
    ]
    took = sum(comparison.seconds for comparison in results.comparisons)
    return "\n".join(
        [
            "".join(f"- {fact}\n" for fact in facts),
            f"{noise_in_words(results.comparisons)} All of it took {duration(took)}.\n",
            markdown_table(["engine", "version", "NumPy", "Python"], versions),
        ]
    )


# ---------------------------------------------------------------------------------------------- files
def figure_name(number: int) -> str:
    """The figure of each machine, counted from 0."""
    return f"performance{f'-{number + 1}' if number else ''}.png"


def write_report(machines: Sequence[Results], folder: Path) -> list[Path]:
    """Write the files of the report; returns their paths.  A machine with nothing to compare has no figure.

    Page and figures are made of what is in the JSON, so that they can be made again.  Raises MinattnError where a file
    cannot be written; none is ever half written.
    """
    text = to_json(machines)
    machines = from_json(text)
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for number, results in enumerate(machines):
        compared = [comparison for comparison in results.comparisons if comparison.has_ratios]
        if compared:
            written.append(save_figure(draw_ratios(compared, results.engines), folder / figure_name(number)))
    for name, content in ((JSON, text), (MARKDOWN, markdown(machines))):
        write_atomically(folder / name, content.encode())
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
