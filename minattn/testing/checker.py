"""The check: every gradient of a backward pass against the oracle, again and again in other circumstances."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from minattn.autograd import asnumpy
from minattn.autograd.backend import like
from minattn.errors import ConfigError
from minattn.testing.circumstances import OWN, TRIED, Circumstance, pairs
from minattn.testing.diagnosis import in_circumstance
from minattn.testing.mismatch import GradientMismatch, Tolerance, require_close, tolerance
from minattn.testing.oracle import Oracle, random_direction
from minattn.testing.problem import NEARBY, ArrayProblem, Parameters, Problem, TensorProblem, or_zeros
from minattn.testing.reference import ByDirection, ByElement, Gradients, Reference

SMALL = 64
"""Up to so many numbers, every element of the gradients is compared; above, random directions."""


class Checked(NamedTuple):
    """How gradients were checked that turned out to be right."""

    oracles: dict[str, str]
    """By the name of each variable: "complex step" or "difference"."""
    smallest_error: float
    """The smallest error of one element that would have been refused, relatively (absolutely for derivatives below 1);
    in arrays of more than 64 numbers of an element that is as large as they are on average."""
    uncompared: dict[str, int]
    """By the name of a variable, how many of its elements were not compared, because so many of them are at kinks or
    ties; hint: `strategies.arrays(away_from=...)`."""


def check_gradients(
    fn: Callable[..., Any],
    *inputs: Any,
    parameters: Parameters = None,
    upstream: Any = None,
    seed: int = 0,
    rtol: float | None = None,
    atol: float | None = None,
    method: str = "auto",
    only_as_given: bool = False,
) -> Checked:
    """Raise GradientMismatch unless `backward` through `fn` gives the right gradients and does no harm.

    fn: takes one tensor for each of `inputs`, and returns a tensor or a tuple of tensors.  It must be the same
    function at every call: one that draws random numbers makes its generator inside.
    inputs: arrays, tensors, numbers or lists.  Gradients are checked for those in float32 and float64; the others
    (ids, masks) are passed on as they are.
    parameters: further leaf tensors that fn reads, a list or a dict by name (`module.named_parameters()`).  None
    takes every leaf that the graph of the result reaches, so a module can be checked as it stands.
    upstream: the gradient of the result, one array or a tuple of one for each result; None draws it from `seed`.
    rtol, atol: an error may be rtol |expected| + atol max(1, largest |expected|); None: by dtype, see `EXACT`.
    method: "complex", the complex step, exact to rounding; "difference", extrapolated differences, for functions that
    do not take complex numbers; "auto", the complex step for each variable where fn takes complex numbers and agrees
    with differences to the tolerance (|x|, for one, does not), else differences.  See `oracle.py`.
    only_as_given: one run with the inputs as they are, and nothing else is tried.

    The oracle always works in float64.  Gradients of float32 inputs are asked for in float64, too, and compared with
    the oracle; those in float32 are compared with these, held to float32's tolerance.  Up to 64 numbers every element
    is compared.  Above, derivatives along random directions are, which show the error of one element from about
    1e-9 sqrt(n) on, relatively to elements of average size; `Checked.smallest_error` says it.  Also checked: inputs,
    parameters and upstream gradients are not written to; gradients share no memory; a gradient's dtype and shape are
    its tensor's; the results have the dtype of the inputs.

    Then gradients must be the same in other circumstances, see `circumstances.py`: in a second call, after another
    forward pass, from strided and read-only inputs, with one array for two inputs, in float32, and for upstream
    gradients that are zero, one-hot, huge, tiny, strided or broadcast.

    At a kink or a tie every slope between the two one-sided ones is accepted; to compare with one number, draw inputs
    at a distance (`strategies.arrays(away_from=...)`).  A warning says how many elements at kinks were not compared.
    fn runs many times, so a module in training mode updates its running statistics.

    Raises ConfigError for inputs and options that cannot be checked: no floating-point numbers, a negative tolerance.
    """
    problem = TensorProblem(fn, inputs, parameters, upstream, seed)
    return check(problem, upstream is not None, seed, tolerances(rtol, atol), method, only_as_given)


def check_vjp(
    f: Callable[..., Any],
    vjp: Callable[..., Any],
    *inputs: Any,
    upstream: Any = None,
    seed: int = 0,
    rtol: float | None = None,
    atol: float | None = None,
    method: str = "auto",
    only_as_given: bool = False,
) -> Checked:
    """Raise GradientMismatch unless `vjp` is the pullback of the function `f` on NumPy arrays, and does no harm.

    f(*inputs): an array, or a tuple of arrays.
    vjp(*upstream, *inputs): the gradient of every floating-point input, or of every input (what it says of ids and
    masks is passed over): one array for one, else a tuple.  None says that a gradient is 0.

        check_vjp(np.sin, lambda g, x: g * np.cos(x), np.array([0.1, 2.0]))

    The other arguments, and what is checked, are those of `check_gradients`.
    """
    problem = ArrayProblem(f, vjp, inputs, upstream, seed)
    return check(problem, upstream is not None, seed, tolerances(rtol, atol), method, only_as_given)


class Tolerances(NamedTuple):
    float64: Tolerance
    float32: Tolerance


def tolerances(rtol: float | None, atol: float | None) -> Tolerances:
    return Tolerances(tolerance({"float64"}, rtol, atol), tolerance({"float32"}, rtol, atol))


def check(problem: Problem, given: bool, seed: int, within: Tolerances, method: str, only_as_given: bool) -> Checked:
    """given: the upstream gradient is the caller's, so that no other one is tried."""
    if method not in ("complex", "difference", "auto"):
        raise ConfigError(f'method must be "complex", "difference" or "auto", got {method!r}')
    gradients = problem.gradients()
    oracle = Oracle(problem, upstream_rows(problem, given, seed), method, within.float64, seed)
    single, small = "float32" in problem.dtypes, problem.size <= SMALL
    reference = (ByElement if small else ByDirection)(problem, oracle, seed)
    if single:
        precise = problem.precise_gradients()
        reference.require(precise, within.float64)
        require_equal(problem, gradients, precise, within.float32, "backward in float64", seed)
    else:
        reference.require(gradients, within.float64)
    if not only_as_given:
        try_elsewhere(problem, reference, within, gradients, seed)
    for name, count in reference.uncompared.items():
        warnings.warn(
            f"{count} elements of {name} at kinks or ties were not compared, for there are too many; hint: "
            "strategies.arrays(away_from=..)",
            stacklevel=3,
        )
    names = {problem.names[k]: oracle.name(k) for k in range(len(problem.arrays))}
    smallest = max(reference.smallest_error(gradients, within.float64), 2 * oracle.error)
    return Checked(names, max(smallest, within.float32.rtol) if single else smallest, reference.uncompared)


def upstream_rows(problem: Problem, given: bool, seed: int) -> np.ndarray:
    """The upstream gradients that are tried, (upstream, results in one row): the problem's own, ones, and a one-hot."""
    own = np.concatenate([asnumpy(g).astype(np.float64).reshape(-1) for g in problem.upstream])
    if given:
        return own[None]
    one_hot = np.zeros_like(own)
    if own.size:
        one_hot[np.random.default_rng((seed, 1)).integers(own.size)] = 1.0
    return np.stack([own, np.ones_like(own), one_hot])


# ---------------------------------------------------------------------------------------------- in other circumstances
def try_elsewhere(problem: Problem, reference: Reference, within: Tolerances, gradients: Gradients, seed: int) -> None:
    """Every other circumstance, after a first run whose gradients were right."""
    for circumstance in TRIED:
        try:
            _try(problem, reference, within, gradients, circumstance, seed)
        except GradientMismatch:
            for part in circumstance.parts():
                _try(problem, reference, within, gradients, part, seed)
            raise
    _try_nearby(problem, reference, within, seed)
    _try_one_array_for_two(problem, within, seed)
    if problem.dtypes == {"float64"}:
        _try_float32(problem, seed)


def _try(
    problem: Problem,
    reference: Reference,
    within: Tolerances,
    gradients: Gradients,
    circumstance: Circumstance,
    seed: int,
) -> None:
    """One circumstance.  Large gradients in float32 are compared with those of the first run, which are known."""
    by_first_run = isinstance(reference, ByDirection) and "float32" in problem.dtypes
    if _would_overflow(problem, gradients, circumstance.factor):
        circumstance = replace(circumstance, factor=1.0)
    rows = reference.oracle.rows[:1] if by_first_run else reference.oracle.rows
    row = circumstance.row if len(rows) > 1 else OWN
    found = problem.gradients(
        circumstance.variables(problem),
        circumstance.upstream(problem, rows),
        problem.forward_elsewhere if circumstance.elsewhere else lambda: None,
    )
    notes: Sequence[str] = in_circumstance(circumstance, _remarkable(found, gradients, circumstance))
    if reference.uncompared:  # then nobody knows whether the first run was right
        notes = (f"with {circumstance}; in the first run many elements at kinks were not compared",)
    if circumstance.factor == 0:
        for k, gradient in enumerate(found):
            if gradient is not None and gradient.any():  # NaN is not 0
                message = f"the gradient of {problem.described(k)} is not 0 where the upstream gradient is"
                raise GradientMismatch("\n  ".join([message, *notes, f"to reproduce: seed={seed}"]))
        return
    found = [None if g is None else g / circumstance.factor for g in found]
    if by_first_run:
        require_equal(problem, found, gradients, within.float32, "in the first run", seed, notes)
    else:
        reference.require(found, within.float32 if "float32" in problem.dtypes else within.float64, row, notes)


def _would_overflow(problem: Problem, gradients: Gradients, factor: float) -> bool:
    """Whether gradients so many times larger come near the largest number of their dtype."""
    room = min((float(np.finfo(array.dtype).max) for array in problem.arrays), default=np.inf) / 2.0**20
    values = [float(np.abs(g).max(initial=0.0)) for g in (*gradients, *map(asnumpy, problem.upstream)) if g is not None]
    return factor > 1 and max(values) * factor > room


def _remarkable(found: Gradients, gradients: Gradients, circumstance: Circumstance) -> str:
    """What there is to say of gradients in another circumstance, before it is known whether they are right."""
    if any(g is not None and np.isnan(g).any() for g in found):
        return "NaN"
    pairs = [(f, g) for f, g in zip(found, gradients, strict=True) if f is not None and g is not None and g.any()]
    another = circumstance.row != OWN or circumstance.factor != 1
    return "kept" if another and pairs and all(np.array_equal(f, g) for f, g in pairs) else ""


def _try_nearby(problem: Problem, reference: Reference, within: Tolerances, seed: int) -> None:
    """The gradients at another point, after those at the first, along one direction."""
    rng = np.random.default_rng((seed, 2))
    point = [asnumpy(a) * NEARBY for a in problem.arrays]
    point = [np.asarray(p, a.dtype) for p, a in zip(point, problem.arrays, strict=True)]
    direction = {k: random_direction(rng, a.shape) for k, a in enumerate(problem.arrays) if a.size}
    expected = reference.oracle.slope_at(point, direction)
    if expected is None:
        return
    with np.errstate(all="ignore"):
        found = problem.gradients([like(p, a) for p, a in zip(point, problem.arrays, strict=True)])
    terms = np.concatenate([(found[k] * d).reshape(-1) for k, d in direction.items() if found[k] is not None] or [[0]])
    coarse = within.float32 if "float32" in problem.dtypes else within.float64
    allowed = coarse.rtol * np.abs(terms).sum() + coarse.atol * max(1.0, abs(expected))
    if not abs(terms.sum() - expected) <= allowed and reference.oracle.is_slope(point, direction, expected):
        raise GradientMismatch(
            "the gradients are right at one point, and wrong at another in a later call\n"
            f"  backward  {terms.sum():.17g} along a random direction of all variables\n  oracle    {expected:.17g}\n"
            "  looks like something kept from the first call: a cache that does not look at the inputs\n"
            f"  to reproduce: seed={seed}"
        )


def _try_one_array_for_two(problem: Problem, within: Tolerances, seed: int) -> None:
    """One array given for two inputs has the gradients of two equal arrays."""
    for i, j in pairs(problem):
        apart, same = list(problem.arrays), list(problem.arrays)
        same[j], apart[j] = same[i], same[i].copy()
        with np.errstate(all="ignore"):  # whatever fn makes of equal inputs
            try:
                expected = problem.gradients(apart)
            except GradientMismatch:
                raise
            except Exception:  # equal inputs are outside the domain of fn
                return
            found = problem.gradients(same)
        if all(g is None or np.isfinite(g).all() for g in expected):
            notes = [f"right for two arrays, wrong with one array given for {problem.names[i]} and {problem.names[j]}"]
            coarse = within.float32 if "float32" in problem.dtypes else within.float64
            require_equal(problem, found, expected, coarse, "for two arrays", seed, notes)


def _try_float32(problem: Problem, seed: int) -> None:
    """The gradients in float32, at the nearest point that float32 has, are those of float64 there.

    A function whose values have lost their digits in float32 is let alone, and one that does not take float32.
    """
    single = [array.astype(np.float32) for array in problem.arrays]
    upstream = [g.astype(np.float32) for g in problem.upstream]
    with np.errstate(all="ignore"):
        try:
            found = problem.gradients(single, upstream)
        except GradientMismatch:
            raise
        except Exception:
            return
        values = [asnumpy(y) for y in problem.results]
        precise = problem.gradients([a.astype(np.float64) for a in single], [g.astype(np.float64) for g in upstream])
    exact = [asnumpy(y) for y in problem.results]
    if all((np.abs(value - y) <= VALUES.allowed(y)).all() for value, y in zip(values, exact, strict=True)):
        notes = ["right in float64, wrong in float32", "looks like a constant or a branch that fits float64 alone"]
        require_equal(problem, found, precise, SINGLE, "in float64", seed, notes)


VALUES = Tolerance(1e-5, 1e-5)
SINGLE = Tolerance(1e-3, 1e-4)
"""What values and gradients of a float64 function may lose in float32: a function may well be worse conditioned."""


def require_equal(
    problem: Problem,
    found: Gradients,
    expected: Gradients,
    within: Tolerance,
    name: str,
    seed: int,
    notes: Sequence[str] = (),
) -> None:
    """Raise GradientMismatch unless the gradients of two runs are equal, element by element."""
    for k, array in enumerate(problem.arrays):
        require_close(
            f"the gradient of {problem.described(k)}",
            or_zeros(found[k], array),
            or_zeros(expected[k], array),
            within,
            names=("backward", name),
            seed=seed,
            notes=lambda wrong: notes,
        )
