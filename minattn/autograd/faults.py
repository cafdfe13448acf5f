"""The errors of ops: what array code says of arguments that do not fit, in the caller's words.

An op checks nothing that array code would find out, so that a call costs no more than it must.  When that fails, the
error comes here, and the arguments are looked at again.
"""

import re
import types
import typing
from collections.abc import Callable, Sequence
from inspect import Parameter, signature
from typing import Any

import numpy as np

from minattn.autograd.axes import missing_axis
from minattn.autograd.backend import device_of, is_array
from minattn.errors import AxisError, DeviceError, GradientError, MinattnError, ShapeError

FAULTS = (TypeError, ValueError, IndexError, AttributeError, ZeroDivisionError, OverflowError)
"""Errors that array code raises for arguments that do not fit."""

UNIONS = (types.UnionType, typing.Union)
KINDS: dict[Any, tuple[str, tuple[type, ...]]] = {
    int: ("an int", (int, np.integer)),
    float: ("a number", (int, float, np.integer, np.floating)),
    bool: ("True or False", (bool, np.bool_)),
    str: ("a string", (str,)),
    types.NoneType: ("None", (types.NoneType,)),
}
"""What an annotation is called, and the types of the values that it stands for."""


def explained(
    name: str,
    error: Exception,
    function: Callable[..., Any],
    arrays: Sequence[Any],
    rest: Sequence[Any],
    parameters: dict[str, Any],
) -> Exception:
    """The error of an op's array code, with the op's name and what it was given."""
    given = ", ".join(describe(array) for array in arrays)
    devices = {device_of(array) for array in arrays if is_array(array)}
    if len(devices) > 1:
        return DeviceError(
            f"{name}: its arguments are on {' and '.join(sorted(devices))} (given: {given}); hint: move them to "
            'one device with .to("cpu") or .to("cuda")'
        )
    if isinstance(error, MinattnError):
        return type(error)(f"{name}: {error} (given: {given})")
    if "unpack" in str(error) and error.__traceback__ and error.__traceback__.tb_next is None:  # by the engine itself
        return TypeError(f"{name}: expected (value, pullback) from its function; hint: (value, None) for no gradient")
    if misfit := _misfit(function, arrays, rest, parameters):
        return TypeError(f"{name}: {misfit}")
    of_numbers = isinstance(error, AttributeError) or re.search("has no len|not iterable|not subscriptable", str(error))
    if of_numbers and not all(is_array(array) or array is None for array in arrays):
        return TypeError(f"{name}: expected tensors or arrays, got {given}")
    kind, message = _in_our_words(error)
    return kind(f"{name}: {message} (given: {given})")


def misfit_of_pullback(name: str, error: Exception, pullback: Any, arguments: int) -> str | None:
    """What is wrong with an op's pullback, where the engine failed at what it gives; None for an error of its own."""
    if not callable(pullback) and not isinstance(pullback, tuple):
        return (
            f"the pullback of {name} is a {type(pullback).__name__}; hint: an op's function returns (value, pullback)"
        )
    innermost = error.__traceback__
    while innermost is not None and innermost.tb_next is not None:
        innermost = innermost.tb_next
    if innermost is None or innermost.tb_frame.f_globals["__name__"] != "minattn.autograd.engine":
        return None
    if isinstance(error, ValueError):
        return (
            f"the pullback of {name} gives not as many gradients as {name} has tensor arguments, {arguments}; hint: a "
            "tuple, with None where there is no gradient"
        )
    if isinstance(error, AttributeError) and error.name == "shape":
        return f"the pullback of {name} gives a {error.obj.__class__.__name__}; expected an array"
    return None


def refusal_of_gradient(
    name: str, function: Callable[..., Any], arrays: Sequence[Any], rest: Sequence[Any], parameters: dict[str, Any]
) -> Exception:
    """The error of a call with a tensor that needs a gradient in place of a parameter, which gives none."""
    try:
        given = signature(function).bind(*arrays, *rest, **parameters).arguments
    except TypeError as error:
        return TypeError(f"{name}: {error}; hint: its arguments are {', '.join(signature(function).parameters)}")
    which = next(argument for argument, value in given.items() if getattr(value, "requires_grad", False))
    return GradientError(f"{name}: {which} gets no gradient; hint: {which}.detach()")


def _in_our_words(error: Exception) -> tuple[type[Exception], str]:
    """(kind of error, message) for one of array code: NumPy's word for shapes that do not fit is ValueError."""
    message = re.sub(r"^\w+(\(\)|:) ", "", str(error))  # Python's or NumPy's own name of the function
    if isinstance(error, np.exceptions.AxisError):
        known = error.axis is not None and error.ndim is not None
        return AxisError, missing_axis(error.axis, error.ndim) if known else message  # type: ignore[arg-type]
    if lengths := re.search(r"mismatch in its core dimension .*size (\d+) is different from (\d+)", message):
        columns, rows = lengths.groups()
        return ShapeError, f"rows of {rows} numbers do not fit columns of {columns}; hint: (.., n, k) and (.., k, m)"
    if "tuple index out of range" in message or "values to unpack" in message:
        return ShapeError, "an argument has more or fewer axes than are expected"
    if isinstance(error, ValueError):
        return ShapeError, message
    return next(kind for kind in FAULTS if isinstance(error, kind)), message


def _misfit(
    function: Callable[..., Any], arrays: Sequence[Any], rest: Sequence[Any], parameters: dict[str, Any]
) -> str | None:
    """The first argument that is not what its annotation says, in words."""
    expected = signature(function).parameters
    try:
        given = signature(function).bind(*arrays, *rest, **parameters).arguments
    except TypeError as error:
        return f"{error}; hint: its arguments are {', '.join(expected)}"
    for argument, value in given.items():
        parameter = expected[argument]
        if parameter.kind is Parameter.POSITIONAL_ONLY:
            if value is None and parameter.default is not None:
                return f"{argument} must be a tensor, an array or a number, got None"
        elif parameter.kind is not Parameter.VAR_POSITIONAL and not _fits(value, parameter.annotation):
            return f"{argument} must be {_words(parameter.annotation)}, got {_shown(value)}"
    return None


def _fits(value: Any, annotation: Any) -> bool:
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in UNIONS:
        return any(_fits(value, kind) for kind in inner)
    if origin is tuple or origin is Sequence:
        return isinstance(value, (tuple, list)) and all(_fits(part, inner[0]) for part in value)
    return annotation not in KINDS or isinstance(value, KINDS[annotation][1])


def _words(annotation: Any) -> str:
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in UNIONS:
        return " or ".join(_words(kind) for kind in inner)
    if origin is tuple or origin is Sequence:
        return f"a tuple of {_words(inner[0]).split(' ', 1)[-1]}s"
    return KINDS[annotation][0] if annotation in KINDS else "another value"


def _shown(value: Any) -> str:
    return repr(value) if isinstance(value, (str, tuple, list, dict)) and len(repr(value)) < 50 else describe(value)


def describe(value: Any) -> str:
    """An argument in an error message: 'float32 (3, 4) on cpu' for an array, its repr otherwise."""
    if is_array(value):
        return f"{value.dtype} {tuple(value.shape)} on {device_of(value)}"
    return repr(value) if isinstance(value, (int, float, complex, bool, type(None))) else type(value).__name__
