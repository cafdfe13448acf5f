"""Fields of dataclasses and parameters of functions: what their annotations say of them.

    epochs: Annotated[Count, "passes over the training words"] = 6
    plot: Annotated[Path | None, "draw the alignments", "FILE"] = None

has the type, the bounds, the meaning and, if it is to be another than the type's, the placeholder of the help.
"""

import dataclasses
import math
import typing
from collections.abc import Callable
from typing import Annotated, Any, NamedTuple

from minattn.errors import ConfigError
from minattn.kinds import UNIONS, described, fits, shown


class Bound(NamedTuple):
    """The values that a field takes, in words and as a test."""

    words: str
    holds: Callable[[Any], bool]


LARGEST = 10**12  # whole number: what is counted here never comes to more

AT_LEAST_ONE = Bound("at least 1", lambda n: n >= 1)
BEAM = Bound("from 1 to 1,000", lambda n: 1 <= n <= 1000)  # the memory of a search grows with it
Count = Annotated[int, AT_LEAST_ONE]
BeamWidth = Annotated[int, BEAM]
NonNegative = Annotated[int, Bound("at least 0", lambda n: n >= 0)]
Positive = Annotated[float, Bound("a number above 0, 1e30 at most", lambda x: 0 < x <= 1e30)]
NonNegativeFloat = Annotated[float, Bound("a finite number of at least 0", lambda x: 0 <= x < math.inf)]
ZeroToTen = Annotated[float, Bound("a number from 0 to 10", lambda x: 0 <= x <= 10)]
ZeroToHundred = Annotated[float, Bound("a number from 0 to 100", lambda x: 0 <= x <= 100)]
Fraction = Annotated[float, Bound("in [0, 1)", lambda x: 0 <= x < 1)]


class Field(NamedTuple):
    """A field of a dataclass, or a parameter of a function: its type, and what its annotation says of it."""

    name: str
    kind: Any
    help: str = ""
    metavar: str | None = None
    bound: Bound | None = None

    @classmethod
    def of(cls, name: str, annotation: Any) -> "Field":
        """The field with this annotation: `Annotated[type, "meaning", "METAVAR"]`, both texts optional."""
        if typing.get_origin(annotation) is not Annotated:
            return cls(name, annotation)
        kind, *extra = typing.get_args(annotation)
        texts = [item for item in extra if isinstance(item, str)]
        if typing.get_origin(kind) in UNIONS:  # the bound of `Count | None` is that of Count
            parts = [cls.of(name, part) for part in typing.get_args(kind)]
            kind = typing.Union[tuple(part.kind for part in parts)]  # noqa: UP007  (of types in a variable)
            extra += [part.bound for part in parts]
        bound = next((item for item in extra if isinstance(item, Bound)), None)
        return cls(name, kind, *texts[:2], **{"bound": bound})  # type: ignore[arg-type]


def fields_of(config: Any) -> list[Field]:
    """The fields of a dataclass but for those that are dataclasses themselves."""
    hints = typing.get_type_hints(config if isinstance(config, type) else type(config), include_extras=True)
    names = [field.name for field in dataclasses.fields(config)]
    return [Field.of(name, hints[name]) for name in names if not dataclasses.is_dataclass(getattr(config, name, None))]


def check_value(name: str, value: Any, field: Field) -> None:
    """Raise ConfigError for a value of another type than the field's or out of its bounds."""
    if not fits(value, field.kind):
        raise ConfigError(f"{name} must be {described(field.kind)}, got {shown(value)}; hint: another value")
    if isinstance(value, int) and abs(value) > LARGEST:
        raise ConfigError(f"{name} must be at most {LARGEST:,}, got {shown(value)}; hint: another value")
    if field.bound and value is not None and not field.bound.holds(value):
        raise ConfigError(f"{name} must be {field.bound.words}, got {shown(value)}; hint: another value")
