"""What a right gradient is here, the list of all of them, and the strategies for their inputs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

from minattn.testing import strategies


@dataclass(frozen=True)
class Right:
    """A function and its pullback, and a hypothesis strategy for tuples of inputs."""

    name: str
    f: Callable[..., Any]
    vjp: Callable[..., Any]
    inputs: st.SearchStrategy[tuple[Any, ...]]


RIGHT: list[Right] = []


def right(inputs: st.SearchStrategy[tuple[Any, ...]]) -> Callable[[Callable[[], Any]], None]:
    """Decorates a function that returns (f, vjp)."""

    def enter(made: Callable[[], Any]) -> None:
        RIGHT.append(Right(made.__name__, *made(), inputs))

    return enter


def sums(g, shape):
    """g summed over the axes along which `shape` was broadcast."""
    lead = g.ndim - len(shape)
    g = g.sum(tuple(range(lead)))
    return g.sum(tuple(i for i, n in enumerate(shape) if n == 1 and g.shape[i] != 1), keepdims=True)


# ---------------------------------------------------------------------------------------------- inputs
def one(shape=None, **domain):
    return st.tuples(strategies.arrays(strategies.shapes() if shape is None else shape, np.float64, **domain))


@st.composite
def several(draw, count, *domains, same=False):
    """That many arrays, of shapes that broadcast together or (same) of one shape."""
    shapes = [draw(strategies.shapes())] * count if same else draw(strategies.broadcastable_shapes(count))
    domains = domains or ({},) * count
    return tuple(draw(strategies.arrays(s, np.float64, **d)) for s, d in zip(shapes, domains, strict=True))


@st.composite
def matrices(draw, *names, **domain):
    """Matrices whose axes have the lengths that `names` say: equal letters are equal lengths."""
    lengths = {letter: draw(st.integers(1, 4)) for name in names for letter in name}
    return tuple(draw(strategies.arrays(tuple(lengths[c] for c in name), np.float64, **domain)) for name in names)


@st.composite
def well_conditioned(draw, *others):
    """A square matrix far from singular, and others by their axes ('n' is its length)."""
    n = draw(st.integers(1, 4))
    a = draw(strategies.arrays((n, n), np.float64, low=-0.2, high=0.2)) + np.eye(n)
    lengths = {"n": n, "m": draw(st.integers(1, 3))}
    return (a, *(draw(strategies.arrays(tuple(lengths[c] for c in name), np.float64)) for name in others))


POSITIVE = {"low": 0.3, "high": 3.0}
OFF_ZERO = {"away_from": (0.0,), "margin": 0.1}
AXIS = {"min_dims": 1, "min_side": 1}
ROWS = strategies.shapes(**AXIS)
