"""Indexing ops and their inverses: getitem, take, gather, put, scatter-add, one-hot.

Ids that come from the host are checked before they are used: CuPy would wrap ids out of range silently.
"""

from typing import Any

import numpy as np

from minattn.autograd import backend
from minattn.autograd.axes import check_axis
from minattn.autograd.backend import Array, as_array, as_index, xp
from minattn.autograd.engine import Result, op
from minattn.errors import ShapeError


@op
def getitem(x: Array, /, index: Any) -> Result:
    """x[index] with NumPy's rules: basic, integer-array, boolean and mixed.  A repeated index adds up backward."""
    index = _prepared(index, x)
    y = x[index]

    def pullback(g: Array) -> Array:
        out = xp(g).zeros_like(x, dtype=g.dtype)  # in memory as x is
        if _is_basic(index):
            out[index] = g
        else:
            backend.scatter_add(out, index, g)
        return out

    return y, pullback


@op
def take(x: Array, /, ids: Any, axis: int = 0) -> Result:
    """The slices of x along `axis` with the integer `ids` (an array of any shape, whose axes take axis's place)."""
    axis = check_axis(axis, x.ndim)
    ids = as_index(as_array(ids), x, x.shape[axis])

    def pullback(g: Array) -> Array:
        out = xp(g).zeros(x.shape, g.dtype)
        backend.scatter_add(out, (slice(None),) * axis + (ids,), g)
        return out

    return x.take(ids, axis), pullback


@op
def gather(x: Array, /, ids: Any, axis: int = -1) -> Result:
    """y[.., i, ..] = x[.., ids[.., i, ..], ..] along `axis`; `ids` has x's shape but for that axis."""
    axis = check_axis(axis, x.ndim)
    ids = as_index(as_array(ids), x, x.shape[axis])
    cells = _cells(x, ids, axis)

    def pullback(g: Array) -> Array:
        out = xp(g).zeros(x.shape, g.dtype)
        backend.scatter_add(out, cells, g)
        return out

    return x[cells], pullback


@op
def put(x: Array, values: Array, /, index: Any) -> Result:
    """A copy of x in which x[index] is `values`; no element may be named twice by `index`."""
    index = _prepared(index, x)
    y = x.astype(_common_dtype(x, values))
    y[index] = _for_positions(values, x[index])

    def kept(g: Array) -> Array:
        out = xp(g).array(g)
        out[index] = 0
        return out

    return y, (kept, lambda g: g[index])


@op
def scatter_add(x: Array, values: Array, /, index: Any) -> Result:
    """A copy of x with `values` added at x[index]; an element named twice gets both."""
    index = _prepared(index, x)
    y = x.astype(_common_dtype(x, values))
    if _is_basic(index):
        y[index] += values
    else:
        backend.scatter_add(y, index, _for_positions(values, x[index]))
    return y, (lambda g: g, lambda g: g[index])


def _for_positions(values: Any, positions: Array) -> Any:
    """`values` in the shape of the positions they go to: NumPy 2.4's add.at forgets some of those it would repeat."""
    return xp(positions).broadcast_to(values, positions.shape) if backend.is_array(values) else values


def _common_dtype(x: Array, values: Any) -> Any:
    """The dtype that holds both; Python numbers follow x."""
    return np.result_type(x.dtype, values.dtype) if backend.is_array(values) else x.dtype


def one_hot(ids: Any, count: int, dtype: Any = np.float32) -> Any:
    """The (.., count) tensor with a 1 at each id and 0 elsewhere; integer ids, no gradient.

    Raises IndexError for an id outside [0, count).
    """
    from minattn.autograd.tensor import Tensor

    if not isinstance(count, (int, np.integer)):
        raise TypeError(f"one_hot: count must be an int, got {count!r}")
    ids = as_array(ids)
    try:
        ids = as_index(ids, ids, count, from_end=False)
    except (IndexError, TypeError) as error:
        raise type(error)(f"one_hot: {error}") from None
    classes = xp(ids).arange(count)
    return Tensor((ids[..., None] == classes).astype(dtype))


def _raw(index: Any) -> Any:
    """A tensor's array; anything else as it is."""
    return getattr(index, "_data", index)


def _prepared(index: Any, x: Array) -> Any:
    """An index with tensors unwrapped, and lists and host arrays brought to the device of x and checked."""
    if not isinstance(index, tuple):
        return _prepared_part(index, x, 0)
    used = [_axes_used(part) for part in index]
    rest = x.ndim - sum(used)
    prepared, axis = [], 0
    for part, n in zip(index, used, strict=True):
        prepared.append(_prepared_part(part, x, axis))
        axis += rest if part is Ellipsis else n
    return tuple(prepared)


def _axes_used(part: Any) -> int:
    """The number of axes of x that one part of an index stands for."""
    if part is None or part is Ellipsis:
        return 0
    array = _raw(part)
    return array.ndim if backend.is_array(array) and array.dtype == bool else 1


def _prepared_part(part: Any, x: Array, axis: int) -> Any:
    part = _raw(part)
    if isinstance(part, list):
        part = np.asarray(part)
        part = part.astype(np.intp) if part.size == 0 else part
    if not backend.is_array(part):
        return part
    if part.dtype == bool:
        return backend.like(part, x) if isinstance(part, np.ndarray) else part
    if axis >= x.ndim:
        raise IndexError(f"too many indices for shape {x.shape}")
    return as_index(part, x, x.shape[axis], "index")


def _is_basic(index: Any) -> bool:
    """True if no element can be named twice: slices, ints, None and Ellipsis only."""
    parts = index if isinstance(index, tuple) else (index,)
    return not any(backend.is_array(part) for part in parts)


def _cells(x: Array, ids: Array, axis: int) -> tuple[Array, ...]:
    """The full index with `ids` at `axis` and every other axis counting through its positions."""
    if ids.ndim != x.ndim:
        raise ShapeError(f"ids need {x.ndim} axes as x {x.shape} has, got {ids.shape}")
    cells = []
    for i in range(x.ndim):
        if i == axis:
            cells.append(ids)
        else:
            if ids.shape[i] > x.shape[i]:
                raise ShapeError(f"ids of shape {ids.shape} are longer than x, {x.shape}, along axis {i}")
            cells.append(xp(ids).arange(ids.shape[i]).reshape((-1,) + (1,) * (x.ndim - 1 - i)))
    return tuple(cells)
