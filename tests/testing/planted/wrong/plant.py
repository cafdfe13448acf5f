"""What a wrong gradient is here, the list of all of them, and the arrays that several are shown on."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Wrong:
    """A function, a pullback that is not its own, and inputs that show it."""

    kind: str
    name: str
    f: Callable[..., Any]
    vjp: Callable[..., Any]
    inputs: tuple[Any, ...]
    says: str | None


WRONG: list[Wrong] = []


def plant(kind, name, f, vjp, *inputs, says=None):
    """says: what the diagnosis of minattn's message has to hold; None where the evidence is not clear enough for one,
    and then there must be none."""
    WRONG.append(Wrong(kind, name, f, vjp, inputs, says))


def draw(*shape, seed=0, low=-2.0, high=2.0):
    return np.random.default_rng(seed).uniform(low, high, shape)


X = draw(3, 4)
POSITIVE = draw(3, 4, seed=1, low=0.4, high=2.0)
OTHER = draw(3, 4, seed=2, low=0.5, high=2.0)
ROW = draw(4, seed=3, low=0.5, high=2.0)
SQUARE = draw(4, 4, seed=4)
VECTOR = draw(6, seed=5)
LONG = draw(200, seed=6)
LARGE = draw(12, 15, seed=7)
# no two elements tie; both signs in every row
NEGATIVE = np.array([[1.0, -1.5, 0.5, -0.25], [-2.0, 1.25, -0.75, 2.0], [0.75, -1.0, 1.5, -0.5]])


def spoilt(index, by=0.0):
    """The pullback of the sine, whose elements at `index` are multiplied by a number."""

    def vjp(g, x):
        gradient = g * np.cos(x)
        gradient[index] *= by
        return gradient

    return vjp
