"""Hypothesis strategies for arrays as they really come: odd shapes, odd memory, kinks kept at a distance.

    @given(strategies.arrays(strategies.shapes(), away_from=(0.0,)))
    def test_relu(x):
        check_gradients(ma.relu, x)

Shapes, axes, indices and memory layouts are drawn by hypothesis and shrink.  The numbers in the arrays come from a
drawn seed: a smooth function needs well-scaled numbers rather than hostile ones, and an example is a hundred times
quicker to make so.
"""

from collections.abc import Sequence
from math import factorial
from typing import Any

import numpy as np

from minattn.errors import ConfigError, MissingDependencyError

try:
    from hypothesis import strategies as st
    from hypothesis.extra import numpy as hnp
except ImportError as error:
    raise MissingDependencyError(
        "minattn.testing.strategies needs hypothesis, which is not installed; hint: pip install 'minattn[testing]'"
    ) from error

Shape = tuple[int, ...]
Strategy = st.SearchStrategy

DTYPES = (np.float64, np.float32)
EITHER = st.sampled_from(DTYPES)
SEEDS = st.integers(0, 2**32 - 1)


# ---------------------------------------------------------------------------------------------- shapes and axes
def shapes(min_dims: int = 0, max_dims: int = 3, min_side: int = 0, max_side: int = 4) -> Strategy[Shape]:
    """Shapes, with 0-d, zero-size and length-1 axes among them."""
    return hnp.array_shapes(min_dims=min_dims, max_dims=max_dims, min_side=min_side, max_side=max_side)


def broadcastable_shapes(
    count: int, min_dims: int = 0, max_dims: int = 3, min_side: int = 0, max_side: int = 4
) -> Strategy[tuple[Shape, ...]]:
    """That many shapes which broadcast together, of equal or different numbers of axes."""
    together = hnp.mutually_broadcastable_shapes(
        num_shapes=count, min_dims=min_dims, max_dims=max_dims, min_side=min_side, max_side=max_side
    )
    return together.map(lambda drawn: drawn.input_shapes)


@st.composite
def axes(draw: Any, ndim: int, none: bool = True, several: bool = True) -> Any:
    """Values of `axis=` for that many dimensions: None, an int from either end, or a tuple of different axes."""
    kinds = ["none"] * none + ["one"] * (ndim > 0) + ["several"] * several
    if not kinds or ndim < 0:
        raise ConfigError(f"there is no axis of {ndim} to draw; hint: none=True or several=True")
    kind = draw(st.sampled_from(kinds))
    if kind == "none":
        return None
    if kind == "one":
        return draw(st.integers(-ndim, ndim - 1))
    chosen = draw(st.lists(st.sampled_from(range(ndim)), unique=True, max_size=ndim)) if ndim else []
    return tuple(axis - ndim * draw(st.booleans()) for axis in chosen)


# ---------------------------------------------------------------------------------------------- arrays
@st.composite
def arrays(
    draw: Any,
    shape: Shape | Strategy[Shape],
    dtype: Any = None,
    *,
    low: float = -2.0,
    high: float = 2.0,
    away_from: Sequence[float] = (),
    margin: float = 0.05,
    distinct: bool = False,
    plain: bool = False,
) -> Any:
    """Floating-point arrays with numbers between `low` and `high`.

    dtype: float32 or float64; None draws one.  away_from: numbers such as the kinks of a function, from which every
    element keeps `margin`.  distinct: no two elements are near each other, as sorting and maxima need.  plain: in
    plain memory; else permuted, reversed, strided or read-only memory is drawn (see `layouts`).
    """
    shape = draw(shape) if isinstance(shape, st.SearchStrategy) else shape
    dtype = np.dtype(draw(EITHER) if dtype is None else dtype)
    if dtype.kind != "f":
        raise ConfigError(f"arrays are of floating-point numbers, got {dtype}; hint: strategies.ids or masks")
    rng = np.random.default_rng(draw(SEEDS))
    size = int(np.prod(shape, dtype=int))
    if distinct:
        fractions = rng.permutation((np.arange(size) + rng.uniform(0.3, 0.7, size)) / max(size, 1))
    else:
        fractions = rng.random(size)
    values = _between(fractions, _intervals(low, high, away_from, margin)).reshape(shape).astype(dtype)
    return values if plain else draw(layouts(values))


def _intervals(low: float, high: float, away_from: Sequence[float], margin: float) -> list[tuple[float, float]]:
    """The parts of [low, high] without the surroundings of the numbers in `away_from`."""
    if not low < high:
        raise ConfigError(f"low must be below high, got {low} and {high}")
    intervals, start = [], low
    for kink in sorted(away_from):
        if start < kink - margin:
            intervals.append((start, min(kink - margin, high)))
        start = max(start, kink + margin)
    if start < high:
        intervals.append((start, high))
    if not intervals:
        raise ConfigError(f"nothing is left of [{low}, {high}] at a distance of {margin} from {tuple(away_from)}")
    return intervals


def _between(fractions: np.ndarray, intervals: Sequence[tuple[float, float]]) -> np.ndarray:
    """The numbers that lie so far, from 0 to 1, along the intervals laid end to end."""
    lengths = np.array([end - start for start, end in intervals])
    offsets = np.cumsum(lengths) - lengths
    at = fractions * lengths.sum()
    which = np.clip(np.searchsorted(offsets, at, side="right") - 1, 0, len(intervals) - 1)
    values: np.ndarray = np.array([start for start, _ in intervals])[which] + (at - offsets[which])
    return values


@st.composite
def layouts(draw: Any, values: np.ndarray) -> Any:
    """Arrays equal to `values` whose memory differs: axes in permuted order, every axis forward or backward and
    dense or with gaps (which hold NaN), writeable or read-only."""
    kind = draw(KINDS)
    if values.ndim and kind & 1:
        order, steps = _arrangement(values.ndim, draw(st.integers(0, factorial(values.ndim) * 4**values.ndim - 1)))
        room = np.full([values.shape[axis] * abs(steps[axis]) for axis in order], _gap(values.dtype), values.dtype)
        window = room.transpose(np.argsort(order))[tuple(slice(None, None, step) for step in steps)]
        window[...] = values
        values = window
    if kind & 2:
        values = values.view()
        values.flags.writeable = False
    return values


KINDS = st.integers(0, 3)
"""Of memory: 1 for rearranged, 2 for read-only; so 0, to which they shrink, is plain."""


def _arrangement(ndim: int, number: int) -> tuple[list[int], list[int]]:
    """The arrangement of axes with that number: their order, and the step along each.  Number 0 is plain."""
    axes, order = list(range(ndim)), []
    for n in range(ndim, 0, -1):
        number, index = divmod(number, n)
        order.append(axes.pop(index))
    steps = []
    for _ in range(ndim):
        number, index = divmod(number, 4)
        steps.append((1, -1, 2, -2)[index])
    return order, steps


def _gap(dtype: np.dtype) -> Any:
    return np.nan if dtype.kind in "fc" else 0


# ---------------------------------------------------------------------------------------------- masks and ids
@st.composite
def masks(draw: Any, shape: Shape, axis: int = -1, full_rows: bool = True) -> Any:
    """Boolean masks.  full_rows: rows along `axis` without a single True may occur; else every row has one."""
    if not full_rows and not -len(shape) <= axis < len(shape):
        raise ConfigError(f"masks of shape {tuple(shape)} have no rows along axis {axis}; hint: full_rows=True")
    mask = draw(hnp.arrays(bool, shape))
    if not full_rows and mask.size:
        first = np.zeros(shape[axis], bool)
        first[draw(st.integers(0, shape[axis] - 1))] = True
        empty = ~mask.any(axis, keepdims=True)
        mask = mask | (empty & first.reshape([-1 if i == axis % len(shape) else 1 for i in range(len(shape))]))
    return mask


@st.composite
def ids(draw: Any, shape: Shape | Strategy[Shape], count: int, negative: bool = False) -> Any:
    """Integer ids in [0, count), or in [-count, count) if `negative`; repeated ones among them.  For a count of 0
    there are none: the first axis is empty, and is made where there is no axis."""
    shape = draw(shape) if isinstance(shape, st.SearchStrategy) else shape
    dtype = draw(st.sampled_from((np.int64, np.int32)))
    if count < 0:
        raise ConfigError(f"ids are counted from 0, got a count of {count}; hint: negative=True for negative ones")
    if count == 0:
        return np.zeros((0, *shape[1:]), dtype)
    return draw(hnp.arrays(dtype, shape, elements=st.integers(-count * negative, count - 1)))


# ---------------------------------------------------------------------------------------------- index expressions
def index_expressions(shape: Shape) -> Strategy[Any]:
    """Indices of x[...] for an x of that shape: basic, integer-array, boolean and mixed indices."""
    kinds = [basic_indices(shape), boolean_indices(shape), mixed_indices(shape)]
    if shape and 0 not in shape:
        kinds.append(integer_indices(shape))
    return st.one_of(kinds)


def basic_indices(shape: Shape) -> Strategy[Any]:
    """Ints, slices with any step, None and Ellipsis."""
    return hnp.basic_indices(shape, allow_newaxis=True)


def integer_indices(shape: Shape) -> Strategy[Any]:
    """A tuple of integer arrays that broadcast together; the same element may be named more than once."""
    return hnp.integer_array_indices(shape, result_shape=hnp.array_shapes(max_dims=2, max_side=3))


@st.composite
def boolean_indices(draw: Any, shape: Shape) -> Any:
    """A mask over the leading axes, all of them at most."""
    if not shape:
        return draw(hnp.arrays(bool, ()))
    return draw(hnp.arrays(bool, shape[: draw(st.integers(1, len(shape)))]))


@st.composite
def mixed_indices(draw: Any, shape: Shape) -> Any:
    """A tuple with one part for each axis: slices and ints beside integer arrays of one common length."""
    length = draw(st.integers(0, 3))
    parts: list[Any] = []
    for n in shape:
        kinds: list[Strategy[Any]] = [st.slices(n)]
        if n:
            kinds += [st.integers(-n, n - 1), hnp.arrays(np.int64, length, elements=st.integers(-n, n - 1))]
        parts.append(draw(st.one_of(kinds)))
    return tuple(parts)
