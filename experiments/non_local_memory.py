"""The memory of a non-local block against the number of positions, with its weights and without.

    python experiments/non_local_memory.py --out runs/non_local_memory

X. Wang, R. Girshick, A. Gupta and K. He, "Non-local neural networks", CVPR 2018: the weights f / C(x) of N positions
are N x N numbers.  A block of 64 channels, 32 inside, gets one image of 8x8 to 64x64 positions in float32, with no
gradient wanted.  Memory is the most that NumPy has allocated at a time during the call, less the output;
`tracemalloc` counts every array, so the numbers are exact, and the same on every machine with as many threads
(MINATTN_THREADS).

Leaves `memory.md` and `memory.png` in the folder.
"""

import argparse
import tracemalloc
from pathlib import Path

import numpy as np
from non_local import TITLES
from shared import markdown_table, run

from minattn.attention.self_attention.non_local import NonLocalBlock
from minattn.autograd import Tensor, no_grad, tensor
from minattn.errors import ConfigError
from minattn.tasks.files import write_text
from minattn.tasks.run_folder import check_writable
from minattn.viz import save_figure
from minattn.viz.style import NAME_GAP, PALETTE, LineName, axes_at, name_lines, styled_figure, text_width

CHANNELS = 64
MIB = 2**20
FORMS = {"with weights": True, "without": False}


def main() -> None:
    """Measure every pairwise function at every size; tabulate and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/non_local_memory"), help="folder for table and figure")
    parser.add_argument("--sides", type=int, nargs="+", default=[8, 16, 32, 64], metavar="N", help="rows, and columns")
    arguments = parser.parse_args()

    if min(arguments.sides) < 1:
        raise ConfigError(f"--sides are at least 1, got {min(arguments.sides)}")
    check_writable(arguments.out)
    sides = sorted(set(arguments.sides))
    found = {
        (pair, form): np.array([extra_bytes(pair, side, need_weights) for side in sides])
        for pair in TITLES
        for form, need_weights in FORMS.items()
    }
    text = table(sides, found)
    write_text(arguments.out / "memory.md", text)
    save_figure(draw(sides, found), arguments.out / "memory.png")
    print(f"{text}\nfigure: {arguments.out / 'memory.png'}")


@no_grad()
def extra_bytes(pair: str, side: int, need_weights: bool) -> int:
    """The most memory at a time during a call with side x side positions, beyond its input and output."""
    rng = np.random.default_rng(0)
    block = NonLocalBlock(CHANNELS, rng, pair=pair).eval()
    x = tensor(rng.standard_normal((1, CHANNELS, side, side)).astype(np.float32))
    block(x, need_weights)  # what a first call sets up
    tracemalloc.start()
    try:
        z: Tensor = block(x, need_weights)[0]
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return most - z.data.nbytes


def table(sides: list[int], found: dict[tuple[str, str], np.ndarray]) -> str:
    """A line a pairwise function and form, a column a number of positions."""
    rows = [
        [f"{TITLES[pair]}, {form}", *(f"{size / MIB:.2f}" for size in sizes)] for (pair, form), sizes in found.items()
    ]
    return markdown_table(["MiB", *(f"N = {side**2:,}" for side in sides)], rows)


def draw(sides: list[int], found: dict[tuple[str, str], np.ndarray]):
    """Memory against N, both logarithmic: a panel with weights, one without."""
    from matplotlib.ticker import FixedLocator, NullLocator

    left, width, height = 0.65, 2.4, 2.4
    panel = width + max(map(text_width, TITLES.values())) + NAME_GAP + 0.25
    positions = [side**2 for side in sides]
    highest, lowest = (pick(map(pick, found.values())) / MIB for pick in (max, min))
    with styled_figure(left + 2 * panel, height + 0.9) as figure:
        for i, form in enumerate(FORMS):
            axes = axes_at(figure, left + i * panel, 0.35, width, height)
            axes.set(xscale="log", yscale="log", ylim=(lowest / 1.5, highest * 1.5), title=form, xlabel="positions N")
            axes.set(ylabel="" if i else "MiB beyond input and output")
            lines = {name: found[pair, form] / MIB for pair, name in TITLES.items()}
            for (_, sizes), color in zip(lines.items(), PALETTE, strict=False):
                axes.plot(positions, sizes, "o-", color=color)
            axes.grid()
            axes.xaxis.set(major_locator=FixedLocator(positions), minor_locator=NullLocator(), major_formatter="{x:g}")
            axes.yaxis.set(minor_locator=NullLocator(), major_formatter="{x:g}")
            name_lines(
                axes,
                [
                    LineName(name, color, sizes[-1])
                    for (name, sizes), color in zip(lines.items(), PALETTE, strict=False)
                ],
            )
    return figure


if __name__ == "__main__":
    run(main)
