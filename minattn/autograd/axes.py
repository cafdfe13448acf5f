"""One check of axes for all ops, so that an axis that an array does not have is the same error everywhere."""

import operator
from typing import Any

from minattn.autograd.backend import Axes
from minattn.errors import AxisError


def check_axis(axis: Any, ndim: int) -> int:
    """`axis` counted from the front, for an array of so many axes.

    Raises AxisError for one that is not there, as every axis of a 0-d array, and TypeError for one that is no int.
    """
    if type(axis) is int and -ndim <= axis < ndim:
        return axis % ndim
    try:
        found = operator.index(axis)
    except TypeError:
        raise TypeError(f"axis must be an int, got {axis!r}") from None
    if not -ndim <= found < ndim:
        raise AxisError(missing_axis(axis, ndim))
    return found % ndim


def missing_axis(axis: int, ndim: int) -> str:
    """What is said of an axis that an array with so many axes does not have."""
    hint = f"{-ndim} to {ndim - 1}" if ndim else "reshape a 0-d array to (1,)"
    return f"axis {axis} does not exist in an array with {ndim} axes; hint: {hint}"


def check_axes(axis: Axes | None, ndim: int) -> tuple[int, ...]:
    """`axis`, an int or several, as a tuple counted from the front; all axes for None.  Raises as `check_axis` does."""
    if axis is None:
        return tuple(range(ndim))
    if type(axis) is int or not isinstance(axis, (tuple, list)):
        return (check_axis(axis, ndim),)
    axes = tuple(check_axis(a, ndim) for a in axis)
    if len(set(axes)) < len(axes):
        raise AxisError(f"axis {axis} names an axis twice; hint: each once")
    return axes
