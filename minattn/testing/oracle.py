"""The oracle: derivatives that owe nothing to `backward`, and the check of one against the other."""

from collections.abc import Callable
from typing import Any

import numpy as np

from minattn.errors import ConfigError
from minattn.testing.mismatch import DIFFERENCE, EXACT, GradientMismatch, Tolerance, require_close, tolerance
from minattn.testing.problem import Parameters, Problem, or_zeros

STEP = 1e-20
"""The complex step: f(x + ih) = f(x) + ih f'(x) + O(h^2).  Nothing is subtracted, so nothing cancels."""

SPAN = 1e-3
"""The step of the central differences; the error of the five points is of order SPAN^4."""

SHORT = 1e-6
PLAUSIBLE = 1e-3
"""The complex step is believed where it is this near, relatively, to a difference over +-SHORT."""

SMALL = 64
"""Up to so many numbers, every element of the gradients is compared; above, random directions."""

DIRECTIONS = 4

Oracle = Callable[[Problem, int, np.ndarray], float]


def check_gradients(
    fn: Callable[..., Any],
    *inputs: Any,
    parameters: Parameters = None,
    upstream: Any = None,
    seed: int = 0,
    rtol: float | None = None,
    atol: float | None = None,
    method: str = "auto",
) -> None:
    """Raise GradientMismatch unless `backward` through `fn` gives the right gradients and does no harm.

    fn: takes one tensor for each of `inputs`, and returns a tensor or a tuple of tensors.  It must be the same
    function at every call: one that draws random numbers makes its generator inside.
    inputs: arrays, tensors, numbers or lists.  Gradients are checked for those in float32 and float64; the others
    (ids, masks) are passed on as they are.
    parameters: further leaf tensors that fn reads, a list or a dict by name (`module.named_parameters()`).  None
    takes every leaf that the graph of the result reaches, so a module can be checked as it stands.
    upstream: the gradient of the result, one array or a tuple of one for each result; None draws it from `seed`.
    rtol, atol: an error may be rtol |expected| + atol max(1, largest |expected|); None: by dtype, see `EXACT` and
    `DIFFERENCE`.
    method: "complex", the complex step f'(x) = Im f(x + ih) / h (Squire & Trapp 1998), exact to rounding;
    "difference", five-point central differences in float64, for functions that do not take complex numbers;
    "auto", the complex step where fn takes complex numbers and is analytic (|x|, for one, is not), else differences.

    The oracle always works in float64, also for float32 inputs, whose gradients are computed in float32 and held to
    its tolerance.  Up to 64 numbers every element is compared.  Above, derivatives along random directions are,
    which no wrong element escapes in float64; float32 gradients are then compared with those of float64, element by
    element.  Also checked: inputs, parameters and upstream gradients are not written to; gradients share no memory;
    a gradient's dtype and shape are its tensor's; the results have the dtype of the inputs.

    Draw inputs at a distance from kinks and ties (`strategies.arrays(away_from=...)`): there a function has no
    derivative to compare with.
    """
    problem = Problem(fn, inputs, parameters, upstream, seed)
    gradients = problem.gradients()
    oracle, table = _chosen(problem, method)
    within = tolerance(table, problem.dtypes, rtol, atol)
    if problem.size <= SMALL:
        for k, gradient in enumerate(gradients):
            _check_elements(problem, k, or_zeros(gradient, problem.arrays[k]), oracle, within)
        return
    fine = tolerance(table, {"float64"}, rtol, atol)
    precise = gradients if problem.dtypes == {"float64"} else problem.gradients(problem.point())
    for k, array in enumerate(problem.arrays):
        _check_directions(problem, k, or_zeros(precise[k], array), oracle, fine)
        require_close(
            f"the gradient of {problem.described(k)}",
            or_zeros(gradients[k], array),
            or_zeros(precise[k], array),
            within,
            names=("backward", "backward in float64"),
            seed=seed,
        )


# ---------------------------------------------------------------------------------------------- the two oracles
def complex_step(problem: Problem, k: int, direction: np.ndarray) -> float:
    """The derivative of <upstream, results> as variable k moves along `direction`, by a complex step."""
    point: list[np.ndarray] = [array.astype(np.complex128) for array in problem.point()]
    point[k] = point[k] + 1j * STEP * direction
    return float(np.imag(problem.objective(point)) / STEP)


def central_difference(problem: Problem, k: int, direction: np.ndarray) -> float:
    """The same by five-point central differences in float64 (the middle point has no weight)."""

    def at(steps: int) -> float:
        point = problem.point()
        point[k] = point[k] + steps * SPAN * direction
        return float(problem.objective(point))

    return (8 * (at(1) - at(-1)) - (at(2) - at(-2))) / (12 * SPAN)


def _chosen(problem: Problem, method: str) -> tuple[Oracle, dict[str, Tolerance]]:
    if method not in ("complex", "difference", "auto"):
        raise ConfigError(f'method must be "complex", "difference" or "auto", got {method!r}')
    _require_repeatable(problem)
    if method == "difference":
        return central_difference, DIFFERENCE
    reason = _why_not_complex(problem)
    if reason is None:
        return complex_step, EXACT
    if method == "complex":
        raise GradientMismatch(f'the complex step is not possible: {reason}; hint: method="difference"')
    return central_difference, DIFFERENCE


def _require_repeatable(problem: Problem) -> None:
    for first, second in zip(problem.values(problem.point()), problem.values(problem.point()), strict=True):
        if not np.array_equal(first, second, equal_nan=True):
            raise GradientMismatch(
                "fn gave two values for one input, so it has no gradient to check; hint: make its random generator "
                "inside fn, from a fixed seed"
            )


def _why_not_complex(problem: Problem) -> str | None:
    """The reason why fn cannot be evaluated at a complex point; None if it can."""
    point = problem.point()
    try:
        shifted = problem.values([array + 1j * STEP for array in point])
    except (TypeError, np.exceptions.ComplexWarning) as error:
        return f"fn does not take complex numbers ({error})"
    for real, complex_ in zip(problem.values(point), shifted, strict=True):
        if complex_.dtype.kind != "c":
            return "fn drops imaginary parts: its result for complex inputs is real"
        if not np.allclose(real, complex_.real, rtol=1e-9, atol=1e-12, equal_nan=True):
            return "fn has another value for complex inputs with the same real parts"
    return _why_not_analytic(problem)


def _why_not_analytic(problem: Problem) -> str | None:
    """The reason against the complex step although fn can be evaluated; None if there is none.

    A function that drops imaginary parts on its way, as |x| does, has a complex step that is wrong, and would be
    wrong in the same way as a gradient that forgets that part.  A coarse look along one direction tells.
    """
    rng = np.random.default_rng((problem.seed, 0))
    for k, array in enumerate(problem.arrays):
        direction = rng.uniform(0.5, 1.0, array.shape) * rng.choice((-1.0, 1.0), array.shape)
        step, difference = complex_step(problem, k, direction), _slope(problem, k, direction)
        if abs(step - difference) > PLAUSIBLE * max(1.0, abs(step), abs(difference)):
            return (
                f"fn is not analytic in {problem.described(k)}: along one direction the complex step gives {step:.9g}, "
                f"differences {difference:.9g}; an operation such as abs drops imaginary parts"
            )
    return None


def _slope(problem: Problem, k: int, direction: np.ndarray) -> float:
    """A plain central difference over a very short span, so that a kink nearby does not matter."""

    def at(distance: float) -> float:
        point = problem.point()
        point[k] = point[k] + distance * direction
        with np.errstate(all="ignore"):  # near the edge of fn's domain
            return float(problem.objective(point))

    return (at(SHORT) - at(-SHORT)) / (2 * SHORT)


# ---------------------------------------------------------------------------------------------- the comparisons
def _check_elements(problem: Problem, k: int, actual: np.ndarray, oracle: Oracle, within: Tolerance) -> None:
    """Every element of variable k's gradient against the oracle."""
    expected = np.zeros(actual.shape)
    for index in np.ndindex(actual.shape):
        expected[index] = oracle(problem, k, _unit(actual.shape, index))
    _require_elements(problem, k, actual, expected, oracle, within)


def _check_directions(problem: Problem, k: int, actual: np.ndarray, oracle: Oracle, within: Tolerance) -> None:
    """Variable k's gradient against the oracle along random directions; a fault is then looked for by element."""
    rng = np.random.default_rng((problem.seed, k))
    for _ in range(DIRECTIONS):
        direction = rng.choice((-1.0, 1.0), actual.shape) * rng.uniform(0.5, 1.0, actual.shape)
        expected = oracle(problem, k, direction)
        terms = actual * direction
        allowed = within.rtol * np.abs(terms).sum() + within.atol * max(1.0, np.abs(expected))
        if abs(terms.sum() - expected) <= allowed:
            continue
        places = np.sort(rng.permutation(actual.size)[:1000])
        found = actual.astype(np.float64)
        for place in places:
            index = np.unravel_index(place, actual.shape)
            found[index] = oracle(problem, k, _unit(actual.shape, index))
        _require_elements(problem, k, actual, found, oracle, within)
        raise GradientMismatch(
            f"the gradient of {problem.described(k)} is wrong along a random direction\n"
            f"  backward  {terms.sum():.17g}\n  {_name(oracle)}  {expected:.17g}\n  to reproduce: seed={problem.seed}"
        )


def _require_elements(
    problem: Problem, k: int, actual: np.ndarray, expected: np.ndarray, oracle: Oracle, within: Tolerance
) -> None:
    require_close(
        f"the gradient of {problem.described(k)}",
        actual,
        expected,
        within,
        names=("backward", _name(oracle)),
        seed=problem.seed,
    )


def _name(oracle: Oracle) -> str:
    return "complex step" if oracle is complex_step else "central difference"


def _unit(shape: tuple[int, ...], index: tuple[Any, ...]) -> np.ndarray:
    direction = np.zeros(shape)
    direction[index] = 1.0
    return direction
