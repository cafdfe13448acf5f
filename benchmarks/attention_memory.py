"""The memory of self-attention against the length of the sequence: minattn's against that of the equation as printed.

`python -m benchmarks --attention-memory`.  With no gradient wanted, one sequence of T positions attends to itself, with
4 heads of 64 numbers each.  The equation, softmax(Q K^T / sqrt(d_k)) V, has all T x T scores in memory;
`scaled_dot_product_attention(.., need_weights=False)` need not.

Memory is the most that NumPy has allocated at a time during the call, less the result: what is needed beyond inputs and
output.  NumPy reports every array to `tracemalloc`, so the number is exact; what BLAS allocates for itself, which does
not grow with T, is not in it.  Both are called in turns for their time, and the ratio is taken turn by turn, with as
many threads as BLAS has: the environment variable OPENBLAS_NUM_THREADS, or else one a core.
"""

import datetime
import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.harness import describe_machine
from benchmarks.report import between, check_folder, markdown_table, number
from benchmarks.results import Spread, ratios, spread
from minattn.attention.self_attention import scaled_dot_product_attention
from minattn.attention.self_attention.scaled_dot_product import attention_context_equation
from minattn.autograd import Tensor, no_grad, tensor
from minattn.viz.saving import save_figure, write_atomically
from minattn.viz.style import MUTED, NAME_GAP, PALETTE, LineName, axes_at, name_lines, styled_figure, text_width

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure

LENGTHS = tuple(256 * 2**i for i in range(6))  # 256 .. 8192
HEADS, D_K = 4, 64
MIB = 2**20
NAME = "attention_memory"

Attend = Callable[[Tensor, Tensor, Tensor, bool], Tensor]


def lean(q: Tensor, k: Tensor, v: Tensor, causal: bool) -> Tensor:
    """minattn's."""
    context, _ = scaled_dot_product_attention(q, k, v, causal=causal, need_weights=False)
    return context


def equation(q: Tensor, k: Tensor, v: Tensor, causal: bool) -> Tensor:
    """As printed, with everything that it goes through in memory."""
    return attention_context_equation(q, k, v, None, causal)


@dataclass(frozen=True)
class Point:
    """Both at one length."""

    length: int
    causal: bool
    given_bytes: int  # inputs and output
    lean_bytes: int  # beyond these
    equation_bytes: int
    lean_seconds: list[float]  # turn by turn
    equation_seconds: list[float]

    @property
    def ratio(self) -> Spread:
        """The time of minattn as a multiple of the equation's."""
        return spread(ratios(self.lean_seconds, self.equation_seconds))


def measure(lengths: Sequence[int], rounds: int) -> Iterator[Point]:
    """Every length, causal and not, from the shortest on: what an earlier call keeps must not count as saved."""
    with no_grad():
        for causal in (False, True):
            lean(*_inputs(2), causal)  # what a first call sets up
            equation(*_inputs(2), causal)
            for length in sorted(lengths):
                yield _point(length, causal, rounds)


def _point(length: int, causal: bool, rounds: int) -> Point:
    qkv = _inputs(length)
    memory = [extra_bytes(attend, qkv, causal) for attend in (lean, equation)]
    seconds: list[list[float]] = [[], []]
    for _ in range(rounds):
        for attend, found in zip((lean, equation), seconds, strict=True):
            started = time.perf_counter()
            attend(*qkv, causal)
            found.append(time.perf_counter() - started)
    given = sum(x.data.nbytes for x in qkv) + qkv[2].data.nbytes
    return Point(length, causal, given, *memory, *seconds)


def extra_bytes(attend: Attend, qkv: Sequence[Tensor], causal: bool) -> int:
    """The most memory at a time during a call, beyond inputs and output."""
    tracemalloc.start()
    try:
        context = attend(*qkv, causal)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return most - context.data.nbytes


def _inputs(length: int) -> list[Tensor]:
    """Queries, keys and values (1, 4, length, 64)."""
    rng = np.random.RandomState(length)
    return [tensor(rng.standard_normal((1, HEADS, length, D_K)).astype(np.float32)) for _ in range(3)]


# ---------------------------------------------------------------------------------------------- what is said of it
COLUMNS = ["T", "keys", "equation, MiB", "minattn, MiB", "in and out, MiB", "× time", "quartiles"]


def row(point: Point) -> list[str]:
    """The rows of the tables; `COLUMNS` names the cells."""
    sizes = (point.equation_bytes, point.lean_bytes, point.given_bytes)
    return [
        str(point.length),
        "earlier" if point.causal else "all",
        *(number(size / MIB) for size in sizes),
        number(point.ratio.median),
        between(point.ratio),
    ]


TEXT = """# Memory of self-attention

    python -m benchmarks --attention-memory --rounds {rounds}  # {day}

![Memory of self-attention against the length of the sequence]({name}.png)

One sequence of T positions attends to itself, {heads} heads of {d_k} numbers each, in float32 and with no gradient
wanted. **equation**: softmax(QKᵀ/√d)V as printed, with all T × T scores in memory. **minattn**:
`scaled_dot_product_attention(.., need_weights=False)`. Memory is the most at a time beyond inputs and output (**in and
out**), as NumPy reports it to `tracemalloc`; the keys are **all**, or with `causal=True` the **earlier** ones and a
query's own. **× time**: how many times as long as the equation minattn takes; both take turns.

{table}
From T = {shortest} to {longest}, the memory of the equation grows {equation} times, that of minattn {lean} times.

{processor}, {processors} cores; {system}, Python {python}, NumPy {numpy}.
"""


def markdown(points: Sequence[Point], day: str) -> str:
    """The report, with the figure beside it."""
    first, *_, last = [point for point in points if not point.causal]
    return TEXT.format(
        **describe_machine(),
        numpy=np.__version__,
        rounds=len(first.lean_seconds),
        day=day,
        name=NAME,
        heads=HEADS,
        d_k=D_K,
        table=markdown_table(COLUMNS, map(row, points)),
        shortest=first.length,
        longest=last.length,
        equation=number(last.equation_bytes / first.equation_bytes),
        lean=number(last.lean_bytes / first.lean_bytes),
    )


# ---------------------------------------------------------------------------------------------- the figure
AXES_WIDTH, AXES_HEIGHT = 2.6, 2.4  # inches
LEFT, TOP, BOTTOM, MARGIN = 0.65, 0.3, 0.5, 0.1
LINEAR, QUADRATIC = "inputs and output, ∝ T", "∝ T²"


def draw_memory(points: Sequence[Point]) -> "matplotlib.figure.Figure":
    """Memory against length, both logarithmic, where a power of T is a straight line: a panel for all keys, one for
    causal attention.
    """
    panel = AXES_WIDTH + text_width(LINEAR) + NAME_GAP + 0.15
    with styled_figure(LEFT + 2 * panel + MARGIN, TOP + AXES_HEIGHT + BOTTOM) as figure:
        for place, causal in enumerate((False, True)):
            axes = axes_at(figure, LEFT + place * panel, TOP, AXES_WIDTH, AXES_HEIGHT)
            axes.set(title="causal" if causal else "all keys", xlabel="length T", ylabel="" if place else "MiB")
            highest = max(point.equation_bytes for point in points)
            axes.set(xscale="log", yscale="log", ylim=(points[0].given_bytes / MIB / 1.5, highest / MIB * 1.5))
            _draw_lines(axes, [point for point in points if point.causal == causal])
    return figure


def _draw_lines(axes: "matplotlib.axes.Axes", points: Sequence[Point]) -> None:
    from matplotlib.ticker import FixedLocator, NullLocator

    lengths = [point.length for point in points]
    given = points[0].given_bytes
    lines = {
        "the equation": ([point.equation_bytes for point in points], PALETTE[1]),
        QUADRATIC: ([given * (length / lengths[0]) ** 2 for length in lengths], MUTED),
        LINEAR: ([point.given_bytes for point in points], MUTED),
        "minattn": ([point.lean_bytes for point in points], PALETTE[0]),
    }
    for size, color in lines.values():
        style = {"linewidth": 0.7, "dashes": (5, 3)} if color == MUTED else {"marker": "o"}
        axes.plot(lengths, [each / MIB for each in size], color=color, **style)
    axes.grid()
    axes.xaxis.set(major_locator=FixedLocator(lengths), minor_locator=NullLocator(), major_formatter="{x:g}")
    axes.yaxis.set(minor_locator=NullLocator(), major_formatter="{x:,g}")
    name_lines(axes, [LineName(name, color, size[-1] / MIB) for name, (size, color) in lines.items()])


# ---------------------------------------------------------------------------------------------- the command
def run(out: Path, rounds: int, console: Console) -> None:
    """Measure, show and write.  Raises ConfigError where `out` cannot take the files."""
    check_folder(out)
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in COLUMNS:
        table.add_column(column, justify="right", no_wrap=True)
    points = []
    for point in measure(LENGTHS, rounds):
        points.append(point)
        table.add_row(*row(point))
        console.print(f"T = {point.length}, {'earlier' if point.causal else 'all'} keys: measured", style="dim")
    console.print(table, soft_wrap=False)
    console.print(f"written: {'  '.join(map(str, write(points, out)))}")


def write(points: Sequence[Point], folder: Path) -> list[Path]:
    """Write page and figure; returns their paths.  Raises MinattnError where one cannot be written."""
    folder.mkdir(parents=True, exist_ok=True)
    page, figure = (folder / f"{NAME}.{suffix}" for suffix in ("md", "png"))
    save_figure(draw_memory(points), figure)
    write_atomically(page, markdown(points, datetime.date.today().isoformat()).encode())
    return [page, figure]
