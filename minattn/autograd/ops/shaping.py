"""Ops that move elements without changing them: shape, order, concatenation, splitting, padding, device and dtype."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from minattn.autograd import backend
from minattn.autograd.axes import check_axes, check_axis
from minattn.autograd.backend import Array, Axes, Shape, device_of, xp
from minattn.autograd.engine import Result, op, unbroadcast
from minattn.errors import ConfigError, ShapeError


@op
def reshape(x: Array, /, shape: Shape) -> Result:
    """x with the same elements in another shape; one length may be -1."""
    return x.reshape(shape), lambda g: g.reshape(x.shape)


@op
def transpose(x: Array, /, axes: Shape | None = None) -> Result:
    """x with its axes in the order `axes`; reversed for None."""
    order = tuple(range(x.ndim))[::-1] if axes is None else check_axes(tuple(axes), x.ndim)
    if len(order) != x.ndim:
        raise ShapeError(f"the order {axes} does not name all of {x.ndim} axes; hint: each axis once")
    inverse = tuple(int(i) for i in np.argsort(order))
    return x.transpose(order), lambda g: g.transpose(inverse)


@op
def swapaxes(x: Array, /, first: int, second: int) -> Result:
    """x with two axes exchanged."""
    return x.swapaxes(first, second), lambda g: g.swapaxes(first, second)


@op
def moveaxis(x: Array, /, source: Axes, destination: Axes) -> Result:
    """x with axis `source` moved to position `destination`."""
    return xp(x).moveaxis(x, source, destination), lambda g: xp(g).moveaxis(g, destination, source)


@op
def squeeze(x: Array, /, axis: Axes | None = None) -> Result:
    """x without its axes of length 1, or without `axis` only."""
    return x.squeeze(None if axis is None else check_axes(axis, x.ndim)), lambda g: g.reshape(x.shape)


@op
def expand_dims(x: Array, /, axis: Axes) -> Result:
    """x with a new axis of length 1 at position `axis` (an int or a tuple)."""
    return xp(x).expand_dims(x, axis), lambda g: g.reshape(x.shape)


@op
def broadcast_to(x: Array, /, shape: Shape) -> Result:
    """x stretched to `shape` by NumPy's rules, without a copy."""
    return xp(x).broadcast_to(x, shape), lambda g: unbroadcast(g, x.shape)


@op
def _concat(*xs: Array, axis: int = 0) -> Result:
    axis = check_axis(axis, xs[0].ndim)
    lengths = [x.shape[axis] for x in xs]
    ends = [int(end) for end in np.cumsum(lengths)]

    def part(i: int) -> Any:
        return lambda g: _along(g, slice(ends[i] - lengths[i], ends[i]), axis)

    return xp(*xs).concatenate(xs, axis), tuple(part(i) for i in range(len(xs)))


def concat(tensors: Any, axis: int = 0) -> Any:
    """The tensors one after another along `axis`."""
    return _concat(*_several("concat", tensors), axis=axis)


@op
def _stack(*xs: Array, axis: int = 0) -> Result:
    axis = check_axis(axis, xs[0].ndim + 1)

    def part(i: int) -> Any:
        return lambda g: _along(g, i, axis)

    return xp(*xs).stack(xs, axis), tuple(part(i) for i in range(len(xs)))


def stack(tensors: Any, axis: int = 0) -> Any:
    """The tensors, all of one shape, side by side along a new axis at position `axis`."""
    return _stack(*_several("stack", tensors), axis=axis)


def _several(name: str, tensors: Any) -> Any:
    """The tensors to be joined.  Raises TypeError for something else than several, ShapeError for none."""
    try:
        several = list(tensors)
    except TypeError:
        raise TypeError(f"{name}: expected a list of tensors, got {type(tensors).__name__}") from None
    if not several:
        raise ShapeError(f"{name}: there are no tensors to join; hint: one or more")
    return several


@op
def split(x: Array, /, sections: int | Sequence[int], axis: int = 0) -> Result:
    """The parts of x along `axis`: that many equal ones (an int), or of the given lengths (a sequence)."""
    axis = check_axis(axis, x.ndim)
    n = x.shape[axis]
    if isinstance(sections, int):
        if sections < 1 or n % sections:
            raise ShapeError(f"axis {axis} of length {n} cannot be split into {sections} equal parts")
        lengths = [n // sections] * sections
    else:
        lengths = list(sections)
        if sum(lengths) != n or min(lengths, default=0) < 0:
            raise ShapeError(f"parts of lengths {lengths} do not make up axis {axis} of length {n}")
    ends = [int(end) for end in np.cumsum(lengths)]
    parts = tuple(_along(x, slice(end - n, end), axis) for end, n in zip(ends, lengths, strict=True))
    return parts, lambda *gs: xp(*gs).concatenate(gs, axis)


@op
def unstack(x: Array, /, axis: int = 0) -> Result:
    """The slices of x along `axis`, a tuple.  Their gradients are concatenated once, not slice by slice."""
    axis = check_axis(axis, x.ndim)
    parts = tuple(_along(x, i, axis) for i in range(x.shape[axis]))
    return parts, lambda *gs: xp(*gs).stack(gs, axis)


@op
def pad(x: Array, /, widths: Any, value: float = 0.0, mode: str = "constant") -> Result:
    """x with something around it.

    widths: (before, after) for every axis; one pair, or an int for both, is for all axes alike.
    mode: "constant" puts `value` there, "reflect" what lies as far on the other side of the border, "replicate" what
    lies on the border, "circular" what lies at the other end.

    Raises ShapeError for widths that do not fit, and where an axis has nothing to repeat; ConfigError for another mode.
    """
    pairs = _pad_widths(widths, x.ndim)
    if mode != "constant":
        return _padded_with_itself(x, pairs, mode)
    inner = tuple(slice(before, before + n) for (before, _), n in zip(pairs, x.shape, strict=True))
    shape = tuple(before + n + after for (before, after), n in zip(pairs, x.shape, strict=True))
    y = xp(x).full(shape, value, x.dtype)
    y[inner] = x
    return y, lambda g: g[inner]


def _pad_widths(widths: Any, ndim: int) -> list[tuple[int, int]]:
    try:
        pairs = np.broadcast_to(np.asarray(widths), (ndim, 2)).tolist() if ndim else []
    except ValueError:
        pairs = None
    if pairs is None or any(type(width) is not int or width < 0 for pair in pairs for width in pair):
        raise ShapeError(f"widths must be {ndim} pairs of ints of 0 or more, got {widths}; hint: (before, after) each")
    return [(before, after) for before, after in pairs]


def _padded_with_itself(x: Array, widths: list[tuple[int, int]], mode: str) -> Result:
    """x with its own elements around it.  What has been repeated gets the gradients of all its copies."""
    sources = {
        axis: _sources(np.arange(-before, n + after), n, mode)
        for axis, ((before, after), n) in enumerate(zip(widths, x.shape, strict=True))
        if before or after
    }
    y = x
    for axis, source in sources.items():
        y = y.take(backend.like(source, x), axis)

    def pullback(g: Array) -> Array:
        for axis, source in reversed(sources.items()):
            before, n = widths[axis][0], x.shape[axis]
            total = xp(g).array(_along(g, slice(before, before + n), axis))
            for position in (*range(before), *range(before + n, len(source))):
                to = (slice(None),) * axis + (int(source[position]),)
                total[to] += _along(g, position, axis)
            g = total
        return g

    return y, pullback


def _sources(positions: np.ndarray, n: int, mode: str) -> np.ndarray:
    """The element of an axis of length n that is seen at each of `positions`, some of which lie outside."""
    if n == 0:
        raise ShapeError(f'mode="{mode}" has nothing to repeat along an axis of length 0; hint: mode="constant"')
    if mode == "circular":
        return positions % n
    if mode == "replicate":
        return np.clip(positions, 0, n - 1)
    if mode == "reflect":
        there_and_back = max(1, 2 * (n - 1))
        within = positions % there_and_back
        return np.minimum(within, there_and_back - within) if n > 1 else within
    raise ConfigError(f'unknown mode {mode!r}; hint: "constant", "reflect", "replicate" or "circular"')


@op
def flip(x: Array, /, axis: Axes | None = None) -> Result:
    """x in reverse order along `axis` (an int, a tuple, or None for every axis)."""
    return xp(x).flip(x, axis), lambda g: xp(g).flip(g, axis)


@op
def roll(x: Array, /, shift: int | tuple[int, ...], axis: Axes | None = None) -> Result:
    """x shifted along `axis`; what leaves at one end enters at the other.  Ints, or tuples of the same length.

    axis=None shifts the elements of x as if they stood in one row.
    """
    back = tuple(-s for s in shift) if isinstance(shift, (tuple, list)) else -shift
    return xp(x).roll(x, shift, axis), lambda g: xp(g).roll(g, back, axis)


@op
def repeat(x: Array, /, repeats: int, axis: int | None = None) -> Result:
    """x with every slice along `axis` repeated `repeats` times in a row; axis=None repeats the elements of the
    flattened x."""
    if axis is None:
        return x.reshape(-1).repeat(repeats), lambda g: g.reshape(x.size, repeats).sum(1).reshape(x.shape)
    axis = check_axis(axis, x.ndim)
    grouped = (*x.shape[: axis + 1], repeats, *x.shape[axis + 1 :])
    return xp(x).repeat(x, repeats, axis), lambda g: g.reshape(grouped).sum(axis + 1)


@op
def tile(x: Array, /, repeats: int | Sequence[int]) -> Result:
    """x laid side by side, as often along the last axes as `repeats` says: an int is for the last axis.

    Where there are more counts than axes, x gets axes of length 1 in front.
    """
    counts = tuple(repeats) if isinstance(repeats, Sequence) else (repeats,)
    axes = max(len(counts), x.ndim)
    counts, shape = (1,) * (axes - len(counts)) + counts, (1,) * (axes - x.ndim) + x.shape
    grouped = tuple(length for pair in zip(counts, shape, strict=True) for length in pair)
    return xp(x).tile(x, counts), lambda g: g.reshape(grouped).sum(tuple(range(0, 2 * axes, 2))).reshape(x.shape)


@op
def astype(x: Array, /, dtype: Any) -> Result:
    """x in another dtype; the gradient comes back in x's own."""
    y = x.astype(dtype)
    return y, (lambda g: g) if y.dtype.kind in "fc" else None


@op
def to_device(x: Array, /, device: str) -> Result:
    """x on another device; the gradient travels back."""
    home = device_of(x)
    return backend.to_device(x, device), lambda g: backend.to_device(g, home)


def _along(x: Array, index: Any, axis: int) -> Array:
    """x[..., index, ...] with `index` at `axis`, counted from the front."""
    return x[(slice(None),) * axis + (index,)]
