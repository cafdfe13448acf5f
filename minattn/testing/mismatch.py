"""The comparison of arrays, and the message when two are not equal."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from minattn.errors import MinattnError


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
    notes: Callable[[np.ndarray], Sequence[str]] = lambda wrong: (),
) -> None:
    """Raise GradientMismatch unless every element of `actual` is as near to `expected` as `within` allows.

    names: what the two numbers of the message are called.  NaN is equal to nothing.  slack: the error of `expected`
    itself.  notes(wrong): further lines of the message, from the mask of the elements that are wrong.
    """
    with np.errstate(invalid="ignore"):  # inf - inf
        error = np.where(actual == expected, 0.0, np.abs(actual - expected))
    allowed = within.allowed(expected) + slack
    wrong = ~(error <= allowed)
    if not wrong.any():
        return
    excess = np.where(np.isnan(error), np.inf, error) / np.maximum(allowed, np.finfo(float).tiny)
    index = tuple(int(i) for i in np.unravel_index(np.argmax(np.where(wrong, excess, -1.0)), error.shape))
    lines = [f"{subject} is wrong" + (f" at index {index if len(index) > 1 else index[0]}" if index else "")]
    lines += _columns(
        (names[0], f"{actual[index]:.17g}"),
        (names[1], f"{expected[index]:.17g}"),
        ("error", f"{error[index]:.3g}, allowed {allowed[index]:.3g} (rtol {within.rtol:g}, atol {within.atol:g})"),
    )
    if error.size > 1:
        factor = _common_factor(actual[wrong], expected[wrong])
        lines.append(f"  {wrong.sum()} of {wrong.size} elements are wrong{factor}")
    lines += [f"  {note}" for note in notes(wrong)]
    lines.append(f"  to reproduce: seed={seed}")
    raise GradientMismatch("\n".join(lines))


def _columns(*rows: tuple[str, str]) -> list[str]:
    width = max(len(name) for name, _ in rows)
    return [f"  {name:{width}}  {text}" for name, text in rows]


def _common_factor(actual: np.ndarray, expected: np.ndarray) -> str:
    """', each by the factor -1': the commonest faults are a lost sign and a lost constant."""
    if actual.size < 2 or not np.isfinite(actual).all() or not np.isfinite(expected).all() or not expected.all():
        return ""
    ratios = actual / expected
    if np.ptp(ratios) > 1e-3 * np.abs(ratios[0]):
        return ""
    return f", each by the factor {ratios[0]:.4g}"
