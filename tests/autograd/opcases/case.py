"""What a case of an op is, and the strategies that most cases are made of."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st

from minattn.autograd import OPS
from minattn.testing import strategies

Strategy = st.SearchStrategy


@dataclass(frozen=True)
class Call:
    """One use of an op: its tensor arguments, and its parameters."""

    inputs: tuple[np.ndarray, ...]
    parameters: dict[str, Any]


@dataclass(frozen=True)
class Case:
    """How an op is tested: what it may be called with, and what NumPy or SciPy say of its value.

    A fused op may do without the latter: it has its equation.
    """

    calls: Strategy[Call]
    numpy: Callable[..., Any] | None = None
    method: str = "complex"
    """The oracle of its gradients; "" for an op whose result has none."""
    apply: Callable[..., Any] | None = None
    """For an op that users call by another function; called as the op is."""

    def on_tensors(self, name: str, parameters: dict[str, Any]) -> Callable[..., Any]:
        """The op as a function of its tensor arguments alone."""
        function = self.apply or OPS[name].apply
        return lambda *tensors: function(*tensors, **parameters)


def dtypes() -> Strategy[Any]:
    """All arguments of one call have one dtype; `test_dtypes.py` mixes them."""
    return st.sampled_from(strategies.DTYPES)


def drawn(draw: Any, parameters: dict[str, Any]) -> dict[str, Any]:
    return {name: draw(p) if isinstance(p, st.SearchStrategy) else p for name, p in parameters.items()}


@st.composite
def elementwise(draw: Any, *domains: dict[str, Any], **parameters: Any) -> Call:
    """Arguments that broadcast together, each from its domain: the keywords of `strategies.arrays`."""
    dtype = draw(dtypes())
    shapes = draw(strategies.broadcastable_shapes(len(domains), max_side=3))
    inputs = tuple(
        draw(strategies.arrays(shape, dtype, **domain)) for shape, domain in zip(shapes, domains, strict=True)
    )
    return Call(inputs, drawn(draw, parameters))


def unary(numpy: Callable[..., Any], domain: dict[str, Any] | None = None, **parameters: Any) -> Case:
    return Case(elementwise(domain or {}, **parameters), numpy)


def binary(numpy: Callable[..., Any], a: dict[str, Any] | None = None, b: dict[str, Any] | None = None) -> Case:
    return Case(elementwise(a or {}, b or {}), numpy)


@st.composite
def along_axes(
    draw: Any,
    domain: dict[str, Any] | None = None,
    *,
    empty: bool = False,
    none: bool = True,
    several: bool = True,
    **parameters: Any,
) -> Call:
    """One argument and an `axis`.  empty: the axes may hold no element; none, several: what axis may be."""
    shape = draw(strategies.shapes(min_dims=0 if none or several else 1))
    axis = draw(strategies.axes(len(shape), none=none, several=several))
    reduced = range(len(shape)) if axis is None else (axis if isinstance(axis, tuple) else (axis,))
    assume(empty or all(shape[a] for a in reduced))
    x = draw(strategies.arrays(shape, **(domain or {})))
    return Call((x,), {"axis": axis} | drawn(draw, parameters))


@st.composite
def with_parameters(draw: Any, parameters: Callable[..., Strategy[dict[str, Any]]], **shape: int) -> Call:
    """One argument, and parameters that `parameters` draws for its shape."""
    x = draw(strategies.arrays(strategies.shapes(**shape)))
    return Call((x,), draw(parameters(x.shape)))


def lengths(total: int) -> Strategy[Sequence[int]]:
    """Non-negative ints that add up to `total`."""
    cuts = st.lists(st.integers(0, total), max_size=3).map(sorted)
    return cuts.map(lambda c: [b - a for a, b in zip([0, *c], [*c, total], strict=True)])
