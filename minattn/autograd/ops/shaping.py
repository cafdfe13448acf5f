"""Ops that move elements without changing them: shape, order, joining, splitting, padding, place and dtype."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from minattn.autograd import backend
from minattn.autograd.backend import Array, Axes, Shape, device_of, xp
from minattn.autograd.engine import Result, op, unbroadcast


@op
def reshape(x: Array, /, shape: Shape) -> Result:
    """x with the same elements in another shape; one length may be -1."""
    return x.reshape(shape), lambda g: g.reshape(x.shape)


@op
def transpose(x: Array, /, axes: Shape | None = None) -> Result:
    """x with its axes in the order `axes`; reversed for None."""
    order = tuple(range(x.ndim))[::-1] if axes is None else tuple(a % x.ndim for a in axes)
    inverse = tuple(int(i) for i in np.argsort(order))
    return x.transpose(order), lambda g: g.transpose(inverse)


@op
def swapaxes(x: Array, /, first: int, second: int) -> Result:
    """x with two axes exchanged."""
    return x.swapaxes(first, second), lambda g: g.swapaxes(first, second)


@op
def moveaxis(x: Array, /, source: Axes, destination: Axes) -> Result:
    """x with axis `source` moved to place `destination`."""
    return xp(x).moveaxis(x, source, destination), lambda g: xp(g).moveaxis(g, destination, source)


@op
def squeeze(x: Array, /, axis: Axes | None = None) -> Result:
    """x without its axes of length 1, or without `axis` only."""
    return x.squeeze(axis), lambda g: g.reshape(x.shape)


@op
def expand_dims(x: Array, /, axis: Axes) -> Result:
    """x with a new axis of length 1 at place `axis` (an int or a tuple)."""
    return xp(x).expand_dims(x, axis), lambda g: g.reshape(x.shape)


@op
def broadcast_to(x: Array, /, shape: Shape) -> Result:
    """x stretched to `shape` by NumPy's rules, without a copy."""
    return xp(x).broadcast_to(x, shape), lambda g: unbroadcast(g, x.shape)


@op
def _concat(*xs: Array, axis: int = 0) -> Result:
    lengths = [x.shape[axis] for x in xs]
    ends = [int(end) for end in np.cumsum(lengths)]

    def part(i: int) -> Any:
        return lambda g: _along(g, slice(ends[i] - lengths[i], ends[i]), axis)

    return xp(*xs).concatenate(xs, axis), tuple(part(i) for i in range(len(xs)))


def concat(tensors: Any, axis: int = 0) -> Any:
    """The tensors one after another along `axis`."""
    return _concat(*tensors, axis=axis)


@op
def _stack(*xs: Array, axis: int = 0) -> Result:
    def part(i: int) -> Any:
        return lambda g: _along(g, i, axis)

    return xp(*xs).stack(xs, axis), tuple(part(i) for i in range(len(xs)))


def stack(tensors: Any, axis: int = 0) -> Any:
    """The tensors, all of one shape, side by side along a new axis at place `axis`."""
    return _stack(*tensors, axis=axis)


@op
def split(x: Array, /, sections: int | Sequence[int], axis: int = 0) -> Result:
    """The parts of x along `axis`: that many equal ones (an int), or of the given lengths (a sequence)."""
    n = x.shape[axis]
    if isinstance(sections, int):
        if sections < 1 or n % sections:
            raise ValueError(f"axis {axis} of length {n} cannot be split into {sections} equal parts")
        lengths = [n // sections] * sections
    else:
        lengths = list(sections)
        if sum(lengths) != n:
            raise ValueError(f"parts of lengths {lengths} do not make up axis {axis} of length {n}")
    ends = [int(end) for end in np.cumsum(lengths)]
    parts = tuple(_along(x, slice(end - n, end), axis) for end, n in zip(ends, lengths, strict=True))
    return parts, lambda *gs: xp(*gs).concatenate(gs, axis)


@op
def unstack(x: Array, /, axis: int = 0) -> Result:
    """The slices of x along `axis`, a tuple.  Their gradients are joined once, not slice by slice."""
    parts = tuple(_along(x, i, axis) for i in range(x.shape[axis]))
    return parts, lambda *gs: xp(*gs).stack(gs, axis)


@op
def pad(x: Array, /, widths: Sequence[tuple[int, int]], value: float = 0.0) -> Result:
    """x with `value` around it; `widths` holds (before, after) for every axis."""
    if len(widths) != x.ndim or any(len(w) != 2 or w[0] < 0 or w[1] < 0 for w in widths):
        raise ValueError(f"widths must be {x.ndim} pairs of non-negative ints, got {widths}")
    inner = tuple(slice(before, before + n) for (before, _), n in zip(widths, x.shape, strict=True))
    shape = tuple(before + n + after for (before, after), n in zip(widths, x.shape, strict=True))
    y = xp(x).full(shape, value, x.dtype)
    y[inner] = x
    return y, lambda g: g[inner]


@op
def flip(x: Array, /, axis: Axes) -> Result:
    """x in reverse order along `axis` (an int or a tuple)."""
    return xp(x).flip(x, axis), lambda g: xp(g).flip(g, axis)


@op
def roll(x: Array, /, shift: int | tuple[int, ...], axis: Axes) -> Result:
    """x shifted along `axis`; what leaves at one end enters at the other.  Ints, or tuples of the same length."""
    back = tuple(-s for s in shift) if isinstance(shift, tuple) else -shift
    return xp(x).roll(x, shift, axis), lambda g: xp(g).roll(g, back, axis)


@op
def repeat(x: Array, /, repeats: int, axis: int) -> Result:
    """x with every slice along `axis` repeated `repeats` times in a row."""
    axis = axis % x.ndim
    grouped = (*x.shape[: axis + 1], repeats, *x.shape[axis + 1 :])
    return xp(x).repeat(x, repeats, axis), lambda g: g.reshape(grouped).sum(axis + 1)


@op
def tile(x: Array, /, repeats: Sequence[int]) -> Result:
    """x laid side by side, `repeats[i]` times along axis i; one count for every axis."""
    if len(repeats) != x.ndim:
        raise ValueError(f"repeats must have {x.ndim} counts, got {repeats}")
    grouped = tuple(length for pair in zip(repeats, x.shape, strict=True) for length in pair)
    return xp(x).tile(x, repeats), lambda g: g.reshape(grouped).sum(tuple(range(0, 2 * x.ndim, 2)))


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
    """x[..., index, ...] with `index` at `axis`."""
    axis = axis % x.ndim
    return x[(slice(None),) * axis + (index,)]
