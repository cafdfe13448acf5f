"""Functions whose pullbacks are wrong, as people get them wrong: a checker has to refuse every one of them.

Each file plants one kind of mistake, and says what the diagnosis of each has to be.
"""

from . import (  # noqa: F401
    arguments,
    broadcasting,
    conduct,
    derivatives,
    factors,
    indices,
    networks,
    not_analytic,
    regions,
    ties,
    upstream,
)
from .plant import WRONG, Wrong

__all__ = ["WRONG", "Wrong"]
