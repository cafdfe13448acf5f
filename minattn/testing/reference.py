"""What the oracle says of every gradient, and the comparison with it."""

from collections.abc import Callable, Sequence

import numpy as np

from minattn.autograd import asnumpy
from minattn.autograd.backend import like
from minattn.testing.diagnosis import Evidence, looks_like
from minattn.testing.mismatch import GradientMismatch, Tolerance, require_close
from minattn.testing.oracle import Direction, Oracle, Slope, random_direction
from minattn.testing.problem import Problem, or_zeros

DIRECTIONS = 4
LOOKED_AT = 1000
"""So many elements are compared one by one where a direction has shown that some are wrong."""

SPLITS = 256
"""So many directions at most are halved to separate elements at kinks from the others."""

Gradients = Sequence[np.ndarray | None]


class Reference:
    """The oracle's slopes for all upstream gradients, by element or along directions."""

    def __init__(self, problem: Problem, oracle: Oracle, seed: int) -> None:
        self.problem, self.oracle, self.seed = problem, oracle, seed

    def require(self, gradients: Gradients, within: Tolerance, row: int = 0, notes: Sequence[str] = ()) -> None:
        """Raise GradientMismatch unless the gradients are those for upstream gradient `row`.

        notes: further lines of the message; with any, no diagnosis is made.
        """
        for k, array in enumerate(self.problem.arrays):
            self._require(k, or_zeros(gradients[k], array), within, row, notes, gradients)

    def _require(
        self, k: int, actual: np.ndarray, within: Tolerance, row: int, notes: Sequence[str], gradients: Gradients
    ) -> None:
        raise NotImplementedError

    def _compare(
        self,
        k: int,
        actual: np.ndarray,
        expected: np.ndarray,
        slack: np.ndarray,
        within: Tolerance,
        notes: Callable[[np.ndarray], Sequence[str]],
    ) -> None:
        require_close(
            f"the gradient of {self.problem.described(k)}",
            actual,
            expected,
            within,
            names=("backward", self.oracle.name(k)),
            seed=self.seed,
            slack=slack,
            notes=notes,
        )

    def _again(self, k: int, factor: float) -> np.ndarray | None:
        """Variable k's gradient in another run, for so many times the upstream gradient; None if that fails."""
        try:
            found = self.problem.gradients(upstream=[like(factor * asnumpy(g), g) for g in self.problem.upstream])
        except GradientMismatch:
            return None
        return or_zeros(found[k], self.problem.arrays[k])


class ByElement(Reference):
    """The slope along every element of every variable."""

    def __init__(self, problem: Problem, oracle: Oracle, seed: int) -> None:
        super().__init__(problem, oracle, seed)
        rows = len(oracle.rows)
        self.expected = [np.zeros((rows, *array.shape)) for array in problem.arrays]
        self.slack = [np.zeros((rows, *array.shape)) for array in problem.arrays]
        self.kinks = [np.zeros(array.shape, bool) for array in problem.arrays]
        for k, array in enumerate(problem.arrays):
            for index in np.ndindex(array.shape):
                slope = oracle.slope({k: unit(array.shape, index)})
                at = (slice(None), *index)
                self.expected[k][at], self.slack[k][at] = slope.value, slope.slack
                self.kinks[k][index] = slope.jump.any()
        self.together = self._along_ties() if any(kinks.any() for kinks in self.kinks) else None

    def _along_ties(self) -> tuple[Direction, Slope] | None:
        """A direction in which fn is smooth although single elements are at kinks, because all elements that are equal
        move alike: where only ties are kinks, it has one slope.  None where that has a kink, too."""
        point = self.problem.point()
        every = np.unique(np.concatenate([p.reshape(-1) for p in point]))
        speed = np.random.default_rng((self.seed, 3)).uniform(0.5, 1.0, every.size)
        for at_zero in (speed, np.where(every == 0, 0.0, speed)):  # 0 is what is most often compared with
            direction = {k: at_zero[np.searchsorted(every, p)].reshape(p.shape) for k, p in enumerate(point) if p.size}
            slope = self.oracle.slope(direction)
            if not slope.jump.any():
                return direction, slope
        return None

    def require(self, gradients: Gradients, within: Tolerance, row: int = 0, notes: Sequence[str] = ()) -> None:
        super().require(gradients, within, row, notes)
        if self.together is None:
            return
        direction, slope = self.together
        terms = np.concatenate([or_zeros(gradients[k], d).reshape(-1) * d.reshape(-1) for k, d in direction.items()])
        allowed = within.rtol * np.abs(terms).sum() + within.atol * max(1.0, abs(slope.value[row]))
        if not abs(terms.sum() - slope.value[row]) <= allowed + slope.slack[row]:
            lines = [
                "the gradients are wrong at ties, where elements that are equal move together",
                f"backward    {terms.sum():.17g}",
                f"difference  {slope.value[row]:.17g}",
                *(notes or ["looks like a gradient that is given to all elements that tie, or to none of them"]),
                f"to reproduce: seed={self.seed}",
            ]
            raise GradientMismatch("\n  ".join(lines))

    def _require(
        self, k: int, actual: np.ndarray, within: Tolerance, row: int, notes: Sequence[str], gradients: Gradients
    ) -> None:
        expected = self.expected[k][row]

        def said(wrong: np.ndarray) -> list[str]:
            lines = list(notes)
            if (wrong & self.kinks[k]).any():
                lines.append("fn has a kink or a tie there: the slopes on its two sides differ")
            if not notes:
                lines += looks_like(self._evidence(k, row, wrong, gradients, within))
            return lines

        self._compare(k, actual, expected, self.slack[k][row], within, said)

    def _evidence(self, k: int, row: int, wrong: np.ndarray, gradients: Gradients, within: Tolerance) -> Evidence:
        return Evidence(
            self.problem,
            k,
            [or_zeros(g, a) for g, a in zip(gradients, self.problem.arrays, strict=True)],
            [expected[row] for expected in self.expected],
            [expected[1] for expected in self.expected] if len(self.oracle.rows) > 1 else None,
            wrong,
            within,
            missing=gradients[k] is None,
            elsewhere=lambda point: self.oracle.gradient_at(k, point, row),
            again=lambda factor: self._again(k, factor),
        )


class ByDirection(Reference):
    """The slopes along a few random directions of each variable, which no wrong element escapes."""

    def __init__(self, problem: Problem, oracle: Oracle, seed: int) -> None:
        super().__init__(problem, oracle, seed)
        self.slopes: list[list[tuple[np.ndarray, Slope]]] = []
        for k, array in enumerate(problem.arrays):
            rng = np.random.default_rng((seed, k))
            directions = [random_direction(rng, array.shape) for _ in range(DIRECTIONS if array.size else 0)]
            self.slopes.append([(d, oracle.slope({k: d})) for d in directions])

    def _require(
        self, k: int, actual: np.ndarray, within: Tolerance, row: int, notes: Sequence[str], gradients: Gradients
    ) -> None:
        for direction, slope in self.slopes[k]:
            if slope.jump[row]:
                self._between_kinks(k, actual, direction, within, row, notes)
            else:
                self._along(k, actual, direction, slope, within, row, notes)

    def _along(
        self,
        k: int,
        actual: np.ndarray,
        direction: np.ndarray,
        slope: Slope,
        within: Tolerance,
        row: int,
        notes: Sequence[str],
    ) -> None:
        """One direction; where it is wrong, the elements are looked for."""
        terms, expected = actual * direction, slope.value[row]
        allowed = within.rtol * np.abs(terms).sum() + within.atol * max(1.0, np.abs(expected)) + slope.slack[row]
        if abs(terms.sum() - expected) <= allowed:
            return
        self._look_at_elements(k, actual, within, row, notes)
        raise GradientMismatch(
            f"the gradient of {self.problem.described(k)} is wrong along a random direction\n"
            f"  backward  {terms.sum():.17g}\n  {self.oracle.name(k)}  {expected:.17g}\n"
            + "".join(f"  {note}\n" for note in notes)
            + f"  to reproduce: seed={self.seed}"
        )

    def _look_at_elements(self, k: int, actual: np.ndarray, within: Tolerance, row: int, notes: Sequence[str]) -> None:
        rng = np.random.default_rng((self.seed, k, 1))
        found, slack = actual.astype(np.float64), np.zeros(actual.shape)
        for flat in np.sort(rng.permutation(actual.size)[:LOOKED_AT]):
            index = np.unravel_index(flat, actual.shape)
            slope = self.oracle.slope({k: unit(actual.shape, index)})
            found[index], slack[index] = slope.value[row], slope.slack[row]

        def said(wrong: np.ndarray) -> list[str]:
            if notes or actual.size > LOOKED_AT:
                return list(notes)
            gradients = [np.zeros(a.shape) for a in self.problem.arrays]
            expected = list(gradients)
            gradients[k], expected[k] = actual, found
            return looks_like(
                Evidence(
                    self.problem,
                    k,
                    gradients,
                    expected,
                    None,
                    wrong,
                    within,
                    alone=True,
                    again=lambda f: self._again(k, f),
                )
            )

        self._compare(k, actual, found, slack, within, said)

    def _between_kinks(
        self, k: int, actual: np.ndarray, direction: np.ndarray, within: Tolerance, row: int, notes: Sequence[str]
    ) -> None:
        """The direction in halves and halves of halves, until each is smooth or is one element: along several at kinks,
        the right gradients are not those between two slopes."""
        waiting, made = [direction], 0
        while waiting and made < SPLITS:
            moving = np.flatnonzero(waiting[0])
            for half in np.array_split(moving, 2) if len(moving) > 1 else ():
                part = np.zeros(direction.size)
                part[half] = waiting[0].reshape(-1)[half]
                part = part.reshape(direction.shape)
                slope = self.oracle.slope({k: part})
                if slope.jump[row] and len(half) > 1:
                    waiting.append(part)
                else:
                    self._along(k, actual, part, slope, within, row, notes)
                made += 1
            del waiting[0]


def unit(shape: tuple[int, ...], index: tuple[int, ...]) -> np.ndarray:
    """The direction in which one element moves."""
    direction: np.ndarray = np.zeros(shape)
    direction[index] = 1.0
    return direction
