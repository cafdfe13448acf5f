"""Values, and the types that annotations say of them: whether they fit, in words, and read from text."""

import types
import typing
from numbers import Integral, Real
from typing import Any, Literal

UNIONS = (types.UnionType, typing.Union)
KIND_NAMES = {int: "a whole number", float: "a number", bool: "true or false", str: "text", types.NoneType: "none"}


def described(kind: Any) -> str:
    """A type in words."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal:
        return f"one of {', '.join(map(str, arguments))}"
    if origin in UNIONS:
        return " or ".join(map(described, arguments))
    if origin is tuple:
        count = "" if arguments[-1] is ... else f"{len(arguments)} "
        return f"{count}values with commas between them, each " + described(arguments[0])
    return KIND_NAMES.get(kind, "another value")


def type_name(kind: Any) -> str:
    """A type as the help names it, such as "int" or "int or none"."""
    if typing.get_origin(kind) is Literal:
        return " or ".join(map(str, typing.get_args(kind)))
    if typing.get_origin(kind) in UNIONS:
        return " or ".join("none" if one is types.NoneType else type_name(one) for one in typing.get_args(kind))
    return getattr(kind, "__name__", str(kind)) if typing.get_origin(kind) is None else str(kind)


def fits(value: Any, kind: Any) -> bool:
    """True where a value is of this type; floats may be whole, and whole numbers are no booleans."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal:
        return any(value == choice and type(value) is type(choice) for choice in arguments)
    if origin in UNIONS:
        return any(fits(value, choice) for choice in arguments)
    if origin is tuple:
        kinds = arguments[:1] * len(value) if arguments[-1] is ... and isinstance(value, tuple) else arguments
        return isinstance(value, tuple) and len(value) == len(kinds) and all(map(fits, value, kinds))
    if kind in (int, float):
        return isinstance(value, Integral if kind is int else Real) and not isinstance(value, bool)
    return kind is Any or type(value) is kind


def parsed(text: str, kind: Any) -> Any:
    """The value of this type that a text writes.  Raises ValueError where it writes none."""
    value = _read(text, kind)
    if not fits(value, kind):
        raise ValueError(f"{text!r} is not {described(kind)}")
    return value


def _read(text: str, kind: Any) -> Any:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal:
        return {str(choice): choice for choice in arguments}.get(text, text)
    if origin in UNIONS:
        if text == "none" and types.NoneType in arguments:
            return None
        return _read(text, next(choice for choice in arguments if choice is not types.NoneType))
    if origin is tuple:
        return tuple(_read(part.strip(), arguments[0]) for part in text.split(","))
    if kind is bool:
        return {"true": True, "false": False}.get(text.lower(), text)
    return kind(text)


def shortened(text: str, most: int = 60) -> str:
    """A text as it stands in a message: of a long one the middle is left out."""
    return text if len(text) <= most else f"{text[: most // 2]} .. {text[-(most // 3) :]}"


def shown(value: Any) -> str:
    """The repr of a value, shortened."""
    return shortened(repr(value))
