"""Damage at random, to find what breaks minattn: `python -m tests.fuzz --seconds 60 --seed 0`.

A case damages one thing, a checkpoint, a file, a setting or the environment, and asks the command line to work with
it.  Whatever the damage, it must work or refuse in one line, in little time, and leave what was there as it was.
"""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1])]  # the small runs of the tests
