"""The oracles: derivatives that owe nothing to a backward pass.

Both give the slope of <g, fn(x)> as the variables x move along a direction d, for several upstream gradients g at once.

**The complex step**, f'(x) d = Im f(x + ihd) / h with h = 1e-20 (Squire & Trapp 1998).  Nothing is subtracted, so
nothing cancels: it is exact to rounding.  It needs a function that takes complex numbers and is analytic: |x|, x.real,
a sort by magnitude drop imaginary parts, and then the complex step drops what a wrong gradient drops.

**Differences**, f(x + sd) - f(x - sd) over 2s for four steps s, extrapolated to s = 0 (Richardson 1911; the error is
estimated within the table, Ridders 1982).  Four halvings of a first step of 1/32 leave 1e-12 or less of a smooth
function.  Where the estimate is larger than the tolerance, steps become shorter and numbers longer (`np.longdouble`,
64 bits of mantissa on x86), so that neither a kink nearby nor rounding is in the way.

The complex step is believed only where it agrees with differences to the tolerance itself, along a random direction of
all variables: whatever imaginary part an element of 200 loses, the two sides disagree by it.  Where they do not agree,
differences are the oracle.

A **kink** shows in the differences of differences: f(x + sd) + f(x - sd) - 2 f(x) over s tends to 0 with s where f is
smooth, and to the jump of the slope where it is not.  At a kink every slope between the two one-sided ones is accepted.
"""

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from minattn.testing.mismatch import GradientMismatch, Tolerance, at_index
from minattn.testing.problem import Problem, in_one_row, same_bits

STEP = 1e-20
"""The complex step: f(x + ih) = f(x) + ih f'(x) + O(h^2)."""

LEVELS = 4
"""Steps of one table of differences, each half of the one before."""

FIRST_STEPS = (2.0**-5, 2.0**-9, 2.0**-14, 2.0**-20, 2.0**-27)
"""The first steps of the tables, tried until the error is small enough."""

UNSEEN = 2.0**-20
"""Steps so many times shorter than the inputs that change nothing say nothing: fn may round its inputs to float32."""

LARGE = 2.0**10
"""For inputs larger than this the last steps tried are as many times longer: rounding hides what shorter ones do."""

NOISE = 1e-6
"""The largest error, relatively, that a derivative by differences may have; above, fn is too noisy to be judged."""

Direction = dict[int, np.ndarray]
"""How the variables move, by their number; those that are not there stay."""


class Slope(NamedTuple):
    """Derivatives of <g, fn> along one direction, one for each upstream gradient g: all of shape (upstream,)."""

    value: np.ndarray
    error: np.ndarray
    """The estimated error of `value`; 0 for the complex step."""
    jump: np.ndarray
    """The slope ahead minus the slope behind; 0 where fn is smooth."""
    doubt: np.ndarray
    """The estimated error of `jump`."""

    def or_better(self, shorter: "Slope") -> "Slope":
        """These slopes, or those by shorter steps where their errors are smaller.

        Errors are estimated too small now and then, where fn is noisy.  Noise shows in second differences, about which
        there are more doubts with shorter steps; and in two values that differ by more than their errors.
        """
        noise = shorter.doubt > self.doubt
        one, other = (np.where(noise, np.maximum(s.error, s.doubt), s.error) for s in (self, shorter))
        apart = np.abs(self.value - shorter.value)
        alike = (apart <= one + other) | np.isinf(one) | np.isinf(other)
        value, error = np.where(alike & (other < one), (shorter.value, other), (self.value, one))
        return Slope(value, np.where(alike, error, np.maximum(error, 2 * apart)), shorter.jump, shorter.doubt)

    @property
    def slack(self) -> np.ndarray:
        """How far a right gradient may be from `value`."""
        return 2 * self.error + np.abs(self.jump) / 2


# ---------------------------------------------------------------------------------------------- the complex step
def complex_step(problem: Problem, rows: np.ndarray, direction: Direction) -> Slope:
    """The slopes by one complex step; rows: the upstream gradients, (upstream, results in one row)."""
    point = _moved(problem.point(), direction)
    with np.errstate(all="ignore"):
        value = rows @ problem.output(point).imag / STEP
    return Slope(value, *np.zeros((3, len(rows))))


def _moved(point: Sequence[np.ndarray], direction: Direction) -> list[np.ndarray]:
    """The point, all of it in complex numbers, with the complex step along `direction`."""
    moved = [array.astype(np.complex128) for array in point]
    for k, d in direction.items():
        moved[k].imag = STEP * d
    return moved


# ---------------------------------------------------------------------------------------------- differences
def difference(
    problem: Problem, rows: np.ndarray, direction: Direction, wanted: float, point: Sequence[np.ndarray] | None = None
) -> Slope:
    """The slopes by extrapolated differences.

    wanted: the error that each slope may have, relatively where it is larger than 1; tables with other steps are made
    until no error is larger and what looks like a kink has been seen twice.  point: where, if not at the
    problem's own.
    """
    best, seen, failure = None, np.zeros(len(rows), bool), None
    dtypes = [np.float64]
    for first in FIRST_STEPS:
        slope = None
        for dtype in dtypes:
            try:
                slope = _table(problem, rows, direction, dtype, first, point)
                break
            except Exception as error:  # fn takes no long doubles, or a shorter step stays in its domain
                failure = error
        dtypes = [LONG, np.float64]
        if slope is None:
            continue
        if best is None:
            best, seen = slope, slope.jump == 0
        else:
            seen = np.abs(slope.jump - best.jump) <= 0.1 * np.abs(slope.jump)
            best = best.or_better(slope)
        allowed = wanted * np.maximum(1.0, np.abs(best.value))
        if ((seen | (np.abs(best.jump) <= allowed)) & (best.error <= allowed)).all():
            return best
    if best is None:
        if isinstance(failure, GradientMismatch):
            raise failure
        raise GradientMismatch(
            f"fn raises {type(failure).__name__} close to its inputs, where differences evaluate it: {failure}; "
            "hint: inputs farther inside its domain"
        ) from failure
    return _with_long_steps(problem, rows, direction, best, point)


def _with_long_steps(
    problem: Problem, rows: np.ndarray, direction: Direction, best: Slope, point: Sequence[np.ndarray] | None
) -> Slope:
    """The best slopes so far, or those by steps as long as large inputs let them be, where these are better."""
    origin = problem.point() if point is None else point
    size = max(float(np.max(np.abs(origin[k]) * (d != 0), initial=0.0)) for k, d in direction.items())
    if not LARGE < size < np.inf:
        return best
    try:
        long = FIRST_STEPS[0] * 2.0 ** np.floor(np.log2(size))
        slope = _table(problem, rows, direction, np.float64, long, point)
    except Exception:  # outside the domain of fn
        return best
    alike = np.abs(slope.value - best.value) <= best.error  # else the steps skip what fn does between them
    better = (slope.error < best.error) & (slope.jump == 0) & alike
    return Slope(*(np.where(better, a, b) for a, b in zip(slope, best, strict=True)))


def _table(
    problem: Problem,
    rows: np.ndarray,
    direction: Direction,
    dtype: Any,
    first: float,
    point: Sequence[np.ndarray] | None,
) -> Slope:
    """One table of differences with the steps first, first / 2, .."""
    origin = [array.astype(dtype) for array in (problem.point() if point is None else point)]
    moves = {k: d.astype(dtype) for k, d in direction.items()}
    weights = rows.astype(dtype)

    def at(step: float) -> np.ndarray:
        return problem.output([a + step * moves[k] if k in moves else a for k, a in enumerate(origin)])

    with np.errstate(all="ignore"):  # near the edge of fn's domain
        steps = np.array([first / 2**i for i in range(LEVELS)])
        middle, ahead, behind = at(0.0), [at(s) for s in steps], [at(-s) for s in steps]
        size = np.abs(weights) @ np.max(np.abs([middle, ahead[0], behind[0]]), axis=0)
        here, ahead, behind = weights @ middle, np.array(ahead) @ weights.T, np.array(behind) @ weights.T
        column = steps.astype(dtype)[:, None]
        value, error = _extrapolated((ahead - behind) / (2 * column), [4, 16, 64])
        jump, doubt = _extrapolated((ahead + behind - 2 * here) / column, [2, 8, 32])
        for k, d in moves.items():  # x + s d is rounded, too
            size = size + np.abs(value) * np.max(np.abs(origin[k]) * (d != 0), initial=0.0)
        rounding = np.finfo(middle.dtype).eps * size / steps[-1]
        error, doubt = error + rounding, doubt + 4 * rounding
        jump = np.where(np.abs(jump) > 8 * doubt, jump, 0.0)
        error = np.where(np.isfinite(error), error, np.inf)
        size = max(float(np.max(np.abs(origin[k]) * (d != 0), initial=0.0)) for k, d in moves.items())
        if first < UNSEEN * size and not np.ptp([*ahead, *behind, here], axis=0).any():
            error = np.full_like(error, np.inf)  # as if fn rounded its inputs
        return Slope(*(a.astype(np.float64) for a in (value, error, jump, doubt)))


def _extrapolated(column: np.ndarray, factors: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """The limit for step 0 of a (steps, upstream) column of differences whose step is halved from row to row, and an
    estimate of its error: of all entries of the table the one that differs least from the two it was made of."""
    values, errors = [], []
    for factor in factors:
        extrapolated = (factor * column[1:] - column[:-1]) / (factor - 1)
        values.append(extrapolated)
        errors.append(np.maximum(np.abs(extrapolated - column[1:]), np.abs(extrapolated - column[:-1])))
        column = extrapolated
    every, error = np.concatenate(values), np.concatenate(errors)
    error = np.where(np.isnan(error), np.inf, error)
    chosen = np.argmin(error, axis=0)[None]
    return np.take_along_axis(every, chosen, 0)[0], np.take_along_axis(error, chosen, 0)[0]


LONG: Any = np.longdouble if np.finfo(np.longdouble).eps < np.finfo(np.float64).eps else np.float64


# ---------------------------------------------------------------------------------------------- which of the two
class Oracle:
    """The oracle of each variable of a problem: the complex step where it can be believed, else differences."""

    def __init__(self, problem: Problem, rows: np.ndarray, method: str, sharp: Tolerance, seed: int) -> None:
        """rows: the upstream gradients, (upstream, results in one row).  method: "complex" (a GradientMismatch says why
        not), "difference" or "auto".  sharp: how nearly the complex step has to agree with differences."""
        self.problem, self.rows, self.sharp = problem, rows, sharp
        self.by_differences: set[int] = set()
        self.error = 0.0
        """The largest error of a slope, relatively where slopes are larger than 1, as far as is known."""
        values = self._values()
        variables = [k for k, array in enumerate(problem.arrays) if array.size]
        if not variables:
            return
        if method == "difference":
            self.by_differences = set(variables)
            return
        reason = self._why_not_complex(variables, values, seed)
        if reason is not None and method == "complex":
            raise GradientMismatch(f'the complex step is not possible: {reason}; hint: method="difference"')

    def slope(self, direction: Direction) -> Slope:
        """The derivatives along a direction, one for each of `rows`."""
        if self.by_differences.isdisjoint(direction):
            return complex_step(self.problem, self.rows, direction)
        slope = difference(self.problem, self.rows, direction, self.sharp.rtol)
        relative = slope.error / np.fmax(1.0, np.abs(slope.value))
        self.error = max(self.error, float(relative.max(initial=0.0)))
        if not self.error < max(NOISE, self.sharp.rtol):
            k = min(direction)
            moving = np.argwhere(direction[k])
            where = at_index(moving[0]) if len(direction) == len(moving) == 1 else ""
            raise GradientMismatch(
                f"fn has no slope that differences could find by {self.problem.described(k)}{where}: they leave an "
                f"error of {self.error:.2g}, relatively\n"
                "  looks like rounding inside fn (to float32 for one, or of large numbers), a jump (floor, a "
                "comparison) or an input at the edge of fn's domain; hint: compute in the dtype of the inputs, draw "
                "inputs elsewhere, or give an rtol"
            )
        return slope

    def slope_at(self, point: list[np.ndarray], direction: Direction) -> float | None:
        """The derivative at another point by the complex step; None where that cannot be had."""
        if self.by_differences or not direction:
            return None
        try:
            with np.errstate(all="ignore"):
                y = self.problem.output(_moved(point, direction))
        except Exception:  # outside the domain of fn
            return None
        slope = float(self.rows[0] @ y.imag / STEP)
        return slope if np.isfinite(slope) else None

    def is_slope(self, point: list[np.ndarray], direction: Direction, slope: float) -> bool:
        """Whether differences agree with the complex step at another point."""
        try:
            found = difference(self.problem, self.rows[:1], direction, self.sharp.rtol, point)
        except GradientMismatch:  # outside the domain of fn
            return False
        return self._agrees(np.array([slope]), found)

    def gradient_at(self, k: int, point: list[np.ndarray], row: int) -> np.ndarray | None:
        """Variable k's gradient for upstream gradient `row` at another point; None where that cannot be had."""
        if k in self.by_differences:
            return None
        found = np.zeros(point[k].shape)
        try:
            for index in np.ndindex(found.shape):
                direction = np.zeros(found.shape)
                direction[index] = 1.0
                with np.errstate(all="ignore"):
                    y = self.problem.output(_moved(point, {k: direction}))
                found[index] = self.rows[row] @ y.imag / STEP
        except Exception:  # outside the domain of fn
            return None
        return found

    def name(self, k: int) -> str:
        """What variable k's oracle is called in a message."""
        return "difference" if k in self.by_differences else "complex step"

    # ------------------------------------------------------------------------------------------ is it analytic?
    def _values(self) -> list[np.ndarray]:
        """The values of fn; raises GradientMismatch where two calls do not give the same, or a value is not finite."""
        with np.errstate(all="ignore"):
            first, second = self.problem.values(self.problem.point()), self.problem.values(self.problem.point())
        if not all(map(same_bits, first, second)):
            raise GradientMismatch(
                "fn gave two values for one input, so it has no gradient to check; hint: make its random generator "
                "inside fn, from a fixed seed"
            )
        for i, y in enumerate(first):
            if not np.isfinite(y).all():
                index = tuple(np.argwhere(~np.isfinite(y))[0])
                raise GradientMismatch(
                    f"result {self.problem.number_of_result(i)} of fn is {y[index]}{at_index(index)}, and has no slope "
                    "there; hint: inputs inside fn's domain"
                )
        return first

    def _why_not_complex(self, variables: Sequence[int], values: list[np.ndarray], seed: int) -> str | None:
        """The reason against the complex step, None if there is none; `by_differences` is told of each variable."""
        problem, rows = self.problem, self.rows[:1]
        rng = np.random.default_rng((seed, 0))
        direction = {k: random_direction(rng, problem.arrays[k].shape) for k in variables}
        try:
            with np.errstate(all="ignore"), warnings.catch_warnings():
                warnings.simplefilter("error", np.exceptions.ComplexWarning)
                moved = problem.values(_moved(problem.point(), direction))
            reason = _why_not_alike(moved, values)
        except Exception as error:  # whatever the libraries below raise for complex numbers
            reason = f"fn does not take complex numbers ({error})"
        if reason is not None:
            self.by_differences = set(variables)
            return reason
        exact = rows @ in_one_row(moved).imag / STEP
        if self._agrees(exact, difference(problem, rows, direction, self.sharp.rtol)):
            return None
        for k in variables:
            exact = complex_step(problem, rows, {k: direction[k]}).value
            found = difference(problem, rows, {k: direction[k]}, self.sharp.rtol)
            if not self._agrees(exact, found):
                self.by_differences.add(k)
                reason = reason or (
                    f"fn is not analytic in {problem.described(k)}: along one direction the complex step gives "
                    f"{exact[0]:.16g}, differences {found.value[0]:.16g}; an operation such as abs drops imaginary "
                    "parts, or the input is at a kink"
                )
        return reason

    def _agrees(self, exact: np.ndarray, found: Slope) -> bool:
        """Whether the complex step and differences say the same of one slope."""
        size = np.maximum(1.0, np.abs(exact))
        near = np.abs(found.value - exact) <= self.sharp.rtol * size + 2 * found.error
        if not (near & (found.jump == 0) & (found.error <= NOISE * size)).all():
            return False
        self.error = max(self.error, float((found.error / size).max()))
        return True


def _why_not_alike(moved: Sequence[np.ndarray], values: Sequence[np.ndarray]) -> str | None:
    """What sets the results at a complex point apart from those at its real part; None if nothing does."""
    for complex_, real in zip(moved, values, strict=True):
        if complex_.dtype.kind != "c":
            return "fn drops imaginary parts: its result for complex inputs is real"
        if not np.allclose(real, complex_.real, rtol=1e-9, atol=1e-12, equal_nan=True):
            return "fn has another value for complex inputs with the same real parts"
    return None


def random_direction(rng: np.random.Generator, shape: tuple[int, ...], low: float = 0.5) -> np.ndarray:
    """Numbers of either sign and of sizes between `low` and 1."""
    return rng.uniform(low, 1.0, shape) * rng.choice((-1.0, 1.0), shape)
