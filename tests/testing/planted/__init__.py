"""Gradients that are known to be right or wrong: what a gradient checker is checked by.

`RIGHT` and `WRONG` are functions of NumPy arrays beside their pullbacks, so that every library's checker can be given
the same ones (`experiments/gradient_checkers.py` does).
"""

from .right import RIGHT, Right
from .wrong import WRONG, Wrong

__all__ = ["RIGHT", "WRONG", "Right", "Wrong"]
