"""What the oracle says of every gradient, and the comparison with it."""

from collections.abc import Callable, Sequence

import numpy as np

from minattn.autograd import asnumpy
from minattn.autograd.backend import like
from minattn.testing.circumstances import OWN
from minattn.testing.diagnosis import Evidence, exactly_wrong, looks_like
from minattn.testing.mismatch import GradientMismatch, Tolerance, require_close
from minattn.testing.oracle import Direction, Oracle, Slope, random_direction
from minattn.testing.problem import Problem, or_zeros

DIRECTIONS = 4

LOWEST = 0.5
"""How far the elements move along a random direction, at least; at most 1."""

DEVIATIONS = 6.0
"""Errors of single elements along a random direction add up as a random walk, whose length this is a bound of."""

LOOKED_AT = 1000
"""Up to so many elements are compared one by one where a direction has shown that some are wrong .."""

SAMPLED = 100
""".. and of more elements so many, beside the one that halving the direction finds."""

SPLITS = 256
"""So many parts of a direction at most are tried to separate elements at kinks from the others."""

COMMONEST = 8
"""So many values at most are taken for those that elements have in common."""

Gradients = Sequence[np.ndarray | None]


class Reference:
    """The oracle's slopes for all upstream gradients, by element or along directions."""

    def __init__(self, problem: Problem, oracle: Oracle, seed: int) -> None:
        self.problem, self.oracle, self.seed = problem, oracle, seed
        self.uncompared: dict[str, int] = {}
        """By the name of a variable, how many of its elements were not compared, for so many kinks."""
        self.together: tuple[Direction, Slope] | None = None
        """A direction that shows how gradients are shared where elements tie, and the slopes along it."""

    def smallest_error(self, gradients: Gradients, within: Tolerance) -> float:
        """The smallest error of one element that `require` refuses, relatively (absolutely for derivatives below 1)."""
        return within.rtol

    def require(self, gradients: Gradients, within: Tolerance, row: int = 0, notes: Sequence[str] = ()) -> None:
        """Raise GradientMismatch unless the gradients are those for upstream gradient `row`.

        notes: further lines of the message; with any, no diagnosis is made.
        """
        for k, array in enumerate(self.problem.arrays):
            self._require(k, or_zeros(gradients[k], array), within, row, notes, gradients)
        self._require_at_ties(gradients, within, row, notes)

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

    def _require_at_ties(self, gradients: Gradients, within: Tolerance, row: int, notes: Sequence[str]) -> None:
        if self.together is None:
            return
        direction, slope = self.together
        terms = np.concatenate([or_zeros(gradients[k], d).reshape(-1) * d.reshape(-1) for k, d in direction.items()])
        allowed = _allowed(terms, slope.value[row], within)
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
        raise NotImplementedError

    def _compare(
        self,
        k: int,
        actual: np.ndarray,
        expected: np.ndarray,
        slack: np.ndarray,
        within: Tolerance,
        notes: Callable[[np.ndarray], Sequence[str]],
        compared: int | None = None,
    ) -> None:
        require_close(
            f"the gradient of {self.problem.described(k)}",
            actual,
            expected,
            within,
            names=("backward", self.oracle.name(k)),
            seed=self.seed,
            slack=slack,
            compared=compared,
            notes=notes,
        )

    def _again(self, k: int, factor: float) -> np.ndarray | None:
        """Variable k's gradient in another run, for so many times the upstream gradient; None if that fails."""
        try:
            if "float32" in self.problem.dtypes:  # what is judged are the gradients in float64
                found = self.problem.precise_gradients(factor)
            else:
                found = self.problem.gradients(upstream=[like(factor * asnumpy(g), g) for g in self.problem.upstream])
        except Exception:  # whatever is wrong with it, and makes it fail there
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
        if any(kinks.any() for kinks in self.kinks):
            self.together = self._along_ties()

    def _require(
        self, k: int, actual: np.ndarray, within: Tolerance, row: int, notes: Sequence[str], gradients: Gradients
    ) -> None:
        expected = self.expected[k][row]

        def said(wrong: np.ndarray) -> list[str]:
            lines = list(notes)
            if (wrong & self.kinks[k]).any():
                lines.append("fn has a kink or a tie there: the slopes on its two sides differ")
            if not notes:
                lines += looks_like(self._evidence(k, row, gradients))
            return lines

        self._compare(k, actual, expected, self.slack[k][row], within, said)

    def _evidence(self, k: int, row: int, gradients: Gradients) -> Evidence:
        actual = or_zeros(gradients[k], self.problem.arrays[k])
        wrong = exactly_wrong(actual, self.expected[k][row], self.slack[k][row])
        return Evidence(
            self.problem,
            k,
            [or_zeros(g, a) for g, a in zip(gradients, self.problem.arrays, strict=True)],
            [e[row] for e in self.expected],
            [e[1] for e in self.expected] if len(self.oracle.rows) > 1 else None,
            wrong,
            self.kinks[k] & ~wrong,
            missing=gradients[k] is None,
            elsewhere=lambda point: self.oracle.gradient_at(k, point, row),
            again=lambda factor: self._again(k, factor),
        )


class ByDirection(Reference):
    """The slopes along a few random directions of each variable, which show errors of single elements."""

    def __init__(self, problem: Problem, oracle: Oracle, seed: int) -> None:
        super().__init__(problem, oracle, seed)
        self.slopes: list[list[tuple[np.ndarray, Slope]]] = []
        self.known: dict[tuple[int, bytes], Slope] = {}
        """Slopes along parts of these directions, by the direction and the elements that move."""
        for k, array in enumerate(problem.arrays):
            rng = np.random.default_rng((seed, k))
            directions = [random_direction(rng, array.shape, LOWEST) for _ in range(DIRECTIONS if array.size else 0)]
            self.slopes.append([(d, oracle.slope({k: d})) for d in directions])
        if any(slope.jump.any() for slopes in self.slopes for _, slope in slopes):
            self.together = self._along_ties()

    def smallest_error(self, gradients: Gradients, within: Tolerance) -> float:
        """Of an element as large as the array's elements are on average (root mean square)."""
        smallest = within.rtol
        for k, array in enumerate(self.problem.arrays):
            gradient = or_zeros(gradients[k], array)
            size = max(1.0, float(np.sqrt(np.mean(gradient**2)))) if array.size else 1.0
            for direction, slope in self.slopes[k]:
                if not slope.jump[OWN]:
                    allowed = _allowed(gradient * direction, slope.value[OWN], within) + slope.slack[OWN]
                    smallest = max(smallest, float(allowed) / (LOWEST * size))
        return smallest

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
        if abs(terms.sum() - expected) <= _allowed(terms, expected, within) + slope.slack[row]:
            return
        self._look_at_elements(k, actual, direction, within, row, notes)
        raise GradientMismatch(
            f"the gradient of {self.problem.described(k)} is wrong along a random direction\n"
            f"  backward  {terms.sum():.17g}\n  {self.oracle.name(k)}  {expected:.17g}\n"
            + "".join(f"  {note}\n" for note in notes)
            + f"  to reproduce: seed={self.seed}"
        )

    def _look_at_elements(
        self, k: int, actual: np.ndarray, direction: np.ndarray, within: Tolerance, row: int, notes: Sequence[str]
    ) -> None:
        few = actual.size <= LOOKED_AT
        if few:
            looked_at = np.arange(actual.size)
        else:
            sample = np.random.default_rng((self.seed, k, 1)).permutation(actual.size)[:SAMPLED]
            looked_at = np.unique([*sample, self._wrong_element(k, actual, direction, row)])
        given, found, slack, jump = (np.zeros(actual.shape) for _ in range(4))  # 0 where none is looked at
        for flat in looked_at:
            index = np.unravel_index(flat, actual.shape)
            slope = self.oracle.slope({k: unit(actual.shape, index)})
            given[index], found[index] = actual[index], slope.value[row]
            slack[index], jump[index] = slope.slack[row], slope.jump[row]

        def said(wrong: np.ndarray) -> list[str]:
            if notes or not few:
                return list(notes)
            gradients = [np.zeros(a.shape) for a in self.problem.arrays]
            expected = list(gradients)
            gradients[k], expected[k] = actual, found
            exact = exactly_wrong(actual, found, slack)
            return looks_like(
                Evidence(
                    self.problem,
                    k,
                    gradients,
                    expected,
                    None,
                    exact,
                    (jump != 0) & ~exact,
                    alone=True,
                    again=lambda f: self._again(k, f),
                )
            )

        self._compare(k, given, found, slack, within, said, None if few else len(looked_at))

    def _wrong_element(self, k: int, actual: np.ndarray, direction: np.ndarray, row: int) -> int:
        """The number of an element that is wrong: of each half of a direction the one with the larger error."""
        if not np.isfinite(actual).all():
            return int(np.flatnonzero(~np.isfinite(actual))[0])
        moving = np.flatnonzero(direction)
        while len(moving) > 1:
            halves, errors = np.array_split(moving, 2), []
            for half in halves:
                part = only(direction, half)
                slope = self.oracle.slope({k: part})
                errors.append(abs((actual * part).sum() - slope.value[row]) - slope.slack[row])
            moving = halves[int(np.argmax(errors))]
        return int(moving[0])

    def _between_kinks(
        self, k: int, actual: np.ndarray, direction: np.ndarray, within: Tolerance, row: int, notes: Sequence[str]
    ) -> None:
        """The direction in parts, until each is smooth or is one element: along several at kinks, the right gradients
        are not those between two slopes.  First come elements of the same value, since kinks are at numbers such as
        0 that occur often, then halves and halves of halves."""
        waiting, made = alike(self.problem.point()[k]), 0
        while waiting and made < SPLITS:
            moving = waiting.pop(0)
            part, made = only(direction, moving), made + 1
            key = (id(direction), moving.tobytes())
            slope = self.known[key] = self.known.get(key) or self.oracle.slope({k: part})
            if slope.jump[row] and len(moving) > 1:
                waiting += np.array_split(moving, 2)
            else:
                self._along(k, actual, part, slope, within, row, notes)
        if waiting:
            name, left = self.problem.names[k], sum(map(len, waiting))
            self.uncompared[name] = max(left, self.uncompared.get(name, 0))


def _allowed(terms: np.ndarray, expected: float, within: Tolerance) -> float:
    """What a sum of an array's elements along a random direction may be off, if each element may be by `within`."""
    sizes = np.abs(terms)
    together = min(sizes.sum(), DEVIATIONS * np.sqrt((sizes**2).sum()))
    return float(within.rtol * together + within.atol * max(1.0, abs(expected)))


def only(direction: np.ndarray, moving: np.ndarray) -> np.ndarray:
    """The direction in which the elements with these numbers move, and no others."""
    part: np.ndarray = np.zeros(direction.size)
    part[moving] = direction.reshape(-1)[moving]
    return part.reshape(direction.shape)


def alike(values: np.ndarray) -> list[np.ndarray]:
    """The numbers of all elements, in groups: those of each of the commonest values, and those of no common one."""
    _, group, counts = np.unique(values.reshape(-1), return_inverse=True, return_counts=True)
    common = [i for i in np.argsort(-counts, kind="stable")[:COMMONEST] if counts[i] > 1]
    groups = [np.flatnonzero(group == i) for i in common] + [np.flatnonzero(~np.isin(group, common))]
    return [numbers for numbers in groups if len(numbers)]


def unit(shape: tuple[int, ...], index: tuple[int, ...]) -> np.ndarray:
    """The direction in which one element moves."""
    direction: np.ndarray = np.zeros(shape)
    direction[index] = 1.0
    return direction
