"""Damage one thing after another, and tell what broke: `python -m tests.fuzz --help`."""

import argparse
import collections
import itertools
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from . import checkpoints, environments, files, settings
from .runs import Workshop

KINDS = {
    "checkpoints": checkpoints.case,
    "files": files.case,
    "settings": settings.case,
    "environments": environments.case,
}


def main() -> int:
    """Run cases until the time is over, or there are enough; the status is 1 where anything broke."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="stop after so many  [60]")
    parser.add_argument("--seed", type=int, default=0, help="decides every case  [0]")
    parser.add_argument("--kind", choices=KINDS, action="append", help="this kind of cases alone; repeatable  [all]")
    parser.add_argument("--cases", type=int, help="stop after so many of each kind  [as many as there is time for]")
    parser.add_argument("--case", type=int, help="this case alone, of one --kind")
    parser.add_argument("--verbose", action="store_true", help="tell of every case")
    arguments = parser.parse_args()
    kinds = arguments.kind or list(KINDS)
    spent: collections.Counter[str] = collections.Counter()
    tried: collections.Counter[str] = collections.Counter()
    broke = 0
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="minattn-fuzz-") as folder:
        for kind in kinds:
            (Path(folder) / kind).mkdir()
        workshops = {kind: Workshop(Path(folder) / kind) for kind in kinds}
        for _ in itertools.count() if arguments.case is None else range(1):
            if time.monotonic() - started > arguments.seconds:
                break
            left = [kind for kind in kinds if arguments.cases is None or tried[kind] < arguments.cases]
            if not left:
                break
            kind = min(left, key=lambda kind: spent[kind])
            number = tried[kind] if arguments.case is None else arguments.case
            rng = np.random.default_rng([arguments.seed, list(KINDS).index(kind), number])
            before = time.monotonic()
            done, problems = KINDS[kind](rng, workshops[kind])
            for scratch in workshops[kind].folder.glob("[0-9]*"):
                shutil.rmtree(scratch, ignore_errors=True)
            spent[kind] += time.monotonic() - before
            tried[kind] += 1
            if problems or arguments.verbose:
                print(f"--kind {kind} --seed {arguments.seed} --case {number}: {done[:500]}")
            for problem in problems:
                print(f"  BROKE: {problem}")
            broke += bool(problems)
    print("; ".join(f"{tried[kind]:,} {kind} in {spent[kind]:.0f} s" for kind in kinds), f"; {broke:,} broke", sep="")
    return 1 if broke else 0


if __name__ == "__main__":
    sys.exit(main())
