"""What checks the shapes in signatures while the tests run."""

from collections.abc import Callable
from typing import Any

from beartype import beartype


def checked(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function with its arguments and its result checked by beartype.

    A function inside a function, such as a pullback, is left alone: it is made anew at every call of the outer one, and
    beartype would take longer over it than the call itself.
    """
    return function if "<locals>" in function.__qualname__ else beartype(function)
