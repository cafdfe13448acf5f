"""The comparison of arrays, and the message when two are not equal."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from minattn.errors import ConfigError, MinattnError


class GradientMismatch(MinattnError, AssertionError):
    """A gradient (or a value) that is not what it has to be; the message names the input, the index and the seed."""


class Tolerance(NamedTuple):
    """An error may be as large as rtol * |expected| + atol * max(1, the largest |expected| of the array)."""

    rtol: float
    atol: float

    def allowed(self, expected: np.ndarray) -> np.ndarray:
        """The error that each element may have."""
        magnitude = np.abs(expected)
        largest = np.max(magnitude, initial=1.0, where=np.isfinite(magnitude))
        allowed: np.ndarray = self.rtol * magnitude + self.atol * largest
        return allowed


EXACT = {"float64": Tolerance(1e-10, 1e-12), "float32": Tolerance(1e-4, 1e-5)}
"""What a gradient may be off, by the coarsest dtype of the variables; the error of the oracle itself is added to it."""


def tolerance(dtypes: set[str], rtol: float | None = None, atol: float | None = None) -> Tolerance:
    """The entry of `EXACT` for the coarsest of `dtypes`; `rtol` and `atol` replace its numbers where given."""
    for name, value in (("rtol", rtol), ("atol", atol)):
        if value is not None and not (isinstance(value, (int, float, np.number)) and 0 <= value < np.inf):
            raise ConfigError(f"{name} must be a number, 0 or more, got {value!r}")
    chosen = EXACT["float32" if "float32" in dtypes else "float64"]
    return Tolerance(chosen.rtol if rtol is None else rtol, chosen.atol if atol is None else atol)


def require_close(
    subject: str,
    actual: np.ndarray,
    expected: np.ndarray,
    within: Tolerance,
    *,
    names: tuple[str, str],
    seed: int,
    slack: np.ndarray | float = 0.0,
    compared: int | None = None,
    notes: Callable[[np.ndarray], Sequence[str]] = lambda wrong: (),
) -> None:
    """Raise GradientMismatch unless every element of `actual` is as near to `expected` as `within` allows.

    names: what the two numbers of the message are called.  NaN is equal to nothing.  slack: the error of `expected`
    itself.  compared: how many elements were, where not all: the others of `expected` are those of `actual`.
    notes(wrong): further lines of the message, from the mask of the elements that are wrong.
    """
    with np.errstate(invalid="ignore"):  # inf - inf
        error = np.where(actual == expected, 0.0, np.abs(actual - expected))
    allowed = within.allowed(expected) + slack
    wrong = ~(error <= allowed)
    if not wrong.any():
        return
    excess = np.where(np.isnan(error), np.inf, error) / np.maximum(allowed, np.finfo(float).tiny)
    index = tuple(int(i) for i in np.unravel_index(np.argmax(np.where(wrong, excess, -1.0)), error.shape))
    lines = [f"{subject} is wrong{at_index(index)}"]
    lines += _columns(
        (names[0], f"{actual[index]:.17g}"),
        (names[1], f"{expected[index]:.17g}"),
        ("error", f"{error[index]:.3g}, allowed {allowed[index]:.3g} (rtol {within.rtol:g}, atol {within.atol:g})"),
    )
    if error.size > 1:
        factor = _common_factor(actual[wrong], expected[wrong])
        elements = f"{wrong.size} elements" if compared is None else f"{compared} elements that were compared"
        lines.append(f"  {wrong.sum()} of {elements} are wrong{factor}")
    lines += [f"  {note}" for note in notes(wrong)]
    lines.append(f"  to reproduce: seed={seed}")
    raise GradientMismatch("\n".join(lines))


def at_index(index: Sequence[int]) -> str:
    """' at index (1, 2)', ' at index 1', and '' for a 0-d array."""
    numbers = tuple(map(int, index))
    return f" at index {numbers if len(numbers) > 1 else numbers[0]}" if numbers else ""


def _columns(*rows: tuple[str, str]) -> list[str]:
    width = max(len(name) for name, _ in rows)
    return [f"  {name:{width}}  {text}" for name, text in rows]


def _common_factor(actual: np.ndarray, expected: np.ndarray) -> str:
    """', each by the factor -1': the commonest faults are a lost sign and a lost constant."""
    if actual.size < 2 or not np.isfinite(actual).all() or not np.isfinite(expected).all() or not expected.all():
        return ""
    ratios = actual / expected
    if np.ptp(ratios) > 1e-3 * np.abs(ratios[0]) or np.abs(ratios[0] - 1) < 1e-3:
        return ""
    return f", each by the factor {ratios[0]:.4g}"
