"""What a wrong gradient looks like: one line that says what was probably forgotten, where the evidence is clear.

Each rule compares the whole wrong gradient with the right one, element by element, and says nothing unless one simple
mistake explains all of it: a factor, a transpose, another input's gradient, a region, a missing term.  A wrong
diagnosis costs more time than none: where two mistakes would explain the same numbers both are named, and where more
would, none.  Numbers are compared as those of float64 are, whatever tolerance the gradient is held to: where a float32
or another rounding inside the function blurs them, they explain nothing.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from minattn.autograd import asnumpy
from minattn.testing.mismatch import EXACT, Tolerance

if TYPE_CHECKING:
    from minattn.testing.circumstances import Circumstance
    from minattn.testing.problem import Problem


@dataclass(frozen=True)
class Evidence:
    """A wrong gradient and everything that is known around it."""

    problem: "Problem"
    k: int
    """The variable whose gradient is wrong."""
    gradients: Sequence[np.ndarray]
    """Of every variable, what the backward pass gives .."""
    expected: Sequence[np.ndarray]
    """.. and what the oracle says .."""
    for_ones: Sequence[np.ndarray] | None
    """.. and what it says for an upstream gradient of ones; None where that is not known."""
    wrong: np.ndarray
    """Which elements are wrong, by `exactly_wrong`."""
    unsure: np.ndarray
    """Which elements may be wrong, too: at a kink, where any number between two is taken for right."""
    missing: bool = False
    """No gradient arrived."""
    alone: bool = False
    """Only variable k's gradients are known."""
    elsewhere: Callable[[list[np.ndarray]], np.ndarray | None] = lambda point: None
    """What the oracle says of variable k's gradient at another point; None where it cannot be had."""
    again: Callable[[float], np.ndarray | None] = lambda factor: None
    """What the backward pass gives for so many times the upstream gradient in another run; None if it fails."""

    @property
    def actual(self) -> np.ndarray:
        return self.gradients[self.k]

    @property
    def right(self) -> np.ndarray:
        return self.expected[self.k]

    def same(self, a: np.ndarray, b: np.ndarray) -> bool:
        """Whether two gradients are equal as a wrong one and its explanation are."""
        if a.shape != b.shape or not np.isfinite(a).all():
            return False
        return bool((np.abs(a - b) <= 10 * SHARP.allowed(b)).all())

    def others(self) -> Iterator[int]:
        """The other variables of the same shape."""
        if not self.alone:
            yield from (j for j, e in enumerate(self.expected) if j != self.k and e.shape == self.right.shape)


def looks_like(evidence: Evidence) -> list[str]:
    """The line that explains the evidence, or no line."""
    for rule in CONDUCT:
        for said in rule(evidence):
            return [f"looks like {said}"]
    slight = evidence.same(evidence.actual, evidence.right)  # then whatever equals the right gradient would explain it
    fitting = [said for rule in (SLIGHT if slight else RULES) for said in rule(evidence)]
    return [f"looks like {', or '.join(fitting)}"] if len(fitting) in (1, 2) else []


SHARP: Tolerance = EXACT["float64"]


def exactly_wrong(actual: np.ndarray, right: np.ndarray, slack: np.ndarray) -> np.ndarray:
    """Which elements are wrong, held to float64; slack: the error of `right`."""
    with np.errstate(invalid="ignore"):  # inf - inf
        wrong: np.ndarray = ~(np.abs(actual - right) <= SHARP.allowed(right) + slack)
    return wrong


# ---------------------------------------------------------------------------------------------- the whole gradient
def nothing_arrives(e: Evidence) -> Iterator[str]:
    if e.missing:
        yield "a gradient that is None: the pullback says nothing of it, or its values were taken out of the graph"
    elif e.actual.size and not e.actual.any() and e.right.any():
        yield "a gradient that is lost on its way: zeros arrive, as from a constant"


def upstream_ignored(e: Evidence) -> Iterator[str]:
    if e.for_ones is not None and e.same(e.actual, e.for_ones[e.k]) and e.right.size:
        yield "the upstream gradient ignored: this is the gradient for ones in its place"


def another_gradient_every_time(e: Evidence) -> Iterator[str]:
    once, scaled = e.again(1.0), e.again(-2.0)
    if once is None or scaled is None:
        return
    if not np.array_equal(once, e.actual, equal_nan=True):
        yield "a backward pass that gives another gradient every time: random numbers, or something kept from before"
    elif not np.allclose(scaled, -2.0 * once, rtol=1e-9, atol=1e-12, equal_nan=True):
        yield NOT_LINEAR


NOT_LINEAR = "a gradient that is not linear in the upstream gradient (clipped, rounded, its size taken, a term added)"


def other_input(e: Evidence) -> Iterator[str]:
    for j in e.others():
        if e.same(e.actual, e.expected[j]):
            one, other = e.problem.names[e.k], e.problem.names[j]
            swapped = e.same(e.gradients[j], e.right)
            yield (
                f"the gradients of {one} and {other} swapped" if swapped else f"the gradient of {other} given to {one}"
            )


def rearranged(e: Evidence) -> Iterator[str]:
    right = e.right
    if right.ndim >= 2 and right.shape[-1] == right.shape[-2] and e.same(e.actual, np.swapaxes(right, -1, -2)):
        yield "the transpose of the right gradient"
    for axis, n in enumerate(right.shape):
        if n < 3:
            continue
        if e.same(e.actual, np.flip(right, axis)):
            yield f"the right gradient in reversed order along axis {axis}"
        inner = tuple(slice(None) for _ in range(axis))
        for ahead, behind in ((slice(1, None), slice(None, -1)), (slice(None, -1), slice(1, None))):
            if e.same(e.actual[(*inner, ahead)], right[(*inner, behind)]) and np.ptp(right, axis).any():
                yield f"the right gradient shifted by one along axis {axis}"


# ---------------------------------------------------------------------------------------------- a factor, a region
def factor(e: Evidence) -> Iterator[str]:
    """One number by which every element is too large."""
    ratio = common_ratio(e.actual[e.wrong], e.right[e.wrong])
    if ratio is None or ratio == 0 or (e.right[~e.wrong & ~e.unsure] != 0).any():
        return
    if e.wrong.sum() == 1 and not any(abs(ratio - likely) < 1e-9 for likely in (-1.0, 2.0, 0.5)):
        return  # one element has a factor, whatever is wrong
    if abs(ratio + 1) < 1e-6:
        yield "the sign lost (a factor -1)"
    else:
        yield f"a factor {_shown(ratio)} too many" + _origin(e, ratio)


def _shown(ratio: float) -> str:
    return f"{ratio:.6g}" if abs(ratio - 1) > 1e-4 else f"{ratio:.12g}"


def _origin(e: Evidence, ratio: float) -> str:
    """Of which axis the factor is the length."""
    n = ratio if ratio > 1 else 1 / ratio
    if n < 2.5 or abs(n - round(n)) > 1e-6 * n:
        return ""
    own = [f"axis {i} of {e.problem.names[e.k]}" for i, length in enumerate(e.right.shape) if length == round(n)]
    if not own and e.right.ndim > 1 and e.right.size == round(n):
        own = [f"all of {e.problem.names[e.k]}"]
    results = [
        f"axis {axis} of result {i}"
        for i, y in enumerate(e.problem.result_arrays)
        for axis, length in enumerate(y.shape)
        if length == round(n)
    ]
    named = own or results
    if not named:
        return ""
    length = f"the length {'n ' if ratio < 1 else ''}of {named[0] if len(named) == 1 else 'several axes'}"
    if ratio < 1:
        return f", 1/n with {length}: perhaps a mean where there is a sum"
    return f", {length}: perhaps summed twice, or a mean taken for a sum"


def region(e: Evidence) -> Iterator[str]:
    """Only in one region, and everywhere there."""
    ratio = common_ratio(e.actual[e.wrong], e.right[e.wrong])
    if not np.isfinite(e.actual[e.wrong]).all():
        how = "gradients that are not finite"
    elif not e.actual[e.wrong].any():
        how = "no gradient"
    elif ratio is not None and e.wrong.sum() > 1:
        how = f"a factor {_shown(ratio)}"
    elif not e.right[e.wrong].any():
        how = "a gradient where there is none"
    else:
        how = "a mistake"
    for name, where in regions(e):
        if _explains(e, where):
            yield f"{how} only {name}"


def _explains(e: Evidence, where: np.ndarray) -> bool:
    """Whether elements are wrong inside alone, and wrong or without any gradient everywhere inside."""
    silent = (e.actual == 0) & (e.right == 0)
    inside = where & ~silent
    return bool(inside.any() and (e.unsure | (e.wrong == inside)).all() and (~where & ~silent & ~e.unsure).any())


def regions(e: Evidence) -> Iterator[tuple[str, np.ndarray]]:
    """What could set elements of variable k apart from the others."""
    shape, problem = e.right.shape, e.problem
    if e.right.size < 3:
        return
    values = asnumpy(problem.arrays[e.k])
    for axis, n in enumerate(shape):
        index = np.arange(n).reshape([-1 if i == axis else 1 for i in range(len(shape))])
        here = f"along axis {axis}" if len(shape) > 1 else ""
        if n > 2:
            yield f"at the last index {here}".rstrip(), np.broadcast_to(index == n - 1, shape)
            yield f"at the first index {here}".rstrip(), np.broadcast_to(index == 0, shape)
            yield f"at the two borders {here}".rstrip(), np.broadcast_to((index == 0) | (index == n - 1), shape)
    name = problem.names[e.k]
    if (np.sign(values) != np.sign(values).flat[0]).any():
        yield f"where {name} is negative", values < 0
        yield f"where {name} is positive", values > 0
        yield f"where {name} is 0", values == 0
    yield f"where values of {name} tie", tied(values)
    for j in range(len(problem.arrays)):
        other = asnumpy(problem.arrays[j])
        if j != e.k and other.shape == shape and (other == values).any():
            yield f"where {name} and {problem.names[j]} are equal", other == values
    for i, array in enumerate(problem.inputs):
        if i in problem.argnums:
            continue
        constant = asnumpy(array)
        if constant.dtype == bool and _broadcasts(constant.shape, shape):
            mask = np.broadcast_to(constant, shape)
            yield f"where the mask, input {i}, is False", ~mask
            yield f"where the mask, input {i}, is True", mask
        elif constant.dtype.kind in "iu" and shape and constant.size:
            counts = np.bincount(constant.reshape(-1) % shape[0], minlength=shape[0])
            if counts.max() > 1 and len(counts) == shape[0]:
                repeated = (counts > 1).reshape([-1] + [1] * (len(shape) - 1))
                yield f"where an index of input {i} is repeated", np.broadcast_to(repeated, shape)


def tied(values: np.ndarray) -> np.ndarray:
    """Where an element is equal to another one."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    where: np.ndarray = counts[inverse].reshape(values.shape) > 1
    return where


def _broadcasts(shape: tuple[int, ...], to: tuple[int, ...]) -> bool:
    return len(shape) <= len(to) and all(a in (1, b) for a, b in zip(reversed(shape), reversed(to), strict=False))


# ---------------------------------------------------------------------------------------------- a missing term
def missing_term(e: Evidence) -> Iterator[str]:
    if not np.isfinite(e.actual).all():
        return
    missing = e.right - e.actual
    for j in e.others():
        if e.same(missing, e.expected[j]):
            yield f"a term missing that is the gradient of {e.problem.names[j]}"
        if e.same(-missing, e.expected[j]):
            yield f"the gradient of {e.problem.names[j]} added to that of {e.problem.names[e.k]}"
    for axis, n in enumerate(missing.shape):
        if n < 3 or not e.wrong.any():
            continue
        if _constant(missing, axis) and not _constant(e.right, axis):
            yield f"a term missing that is constant along axis {axis}: the gradient through a sum or mean over it"
            continue
        values = [asnumpy(y).astype(np.float64) for y in e.problem.result_arrays if y.shape == missing.shape]
        if any(y.all() and not _constant(y, axis) and _constant(missing / y, axis) for y in values):
            yield (
                f"a term missing that is the value times a constant along axis {axis}: the gradient through the sum "
                "that normalizes it"
            )


def _constant(values: np.ndarray, axis: int) -> bool:
    spread = np.ptp(values, axis=axis)
    size = np.abs(values).max(axis=axis)
    return bool((spread <= 1e-7 * size).all() and size.any())


def value_for_input(e: Evidence) -> Iterator[str]:
    """The derivative at the value in place of that at the input."""
    problem = e.problem
    y = asnumpy(problem.result_arrays[0]).astype(np.float64)
    if e.alone or len(problem.result_arrays) != 1 or y.shape != e.right.shape:
        return
    point = problem.point()
    point[e.k] = y
    try:
        with np.errstate(all="ignore"):
            twice = problem.values(point)[0]
    except Exception:  # outside the domain of fn
        return
    if np.allclose(twice, y):  # fn does nothing to its own value, as sorting or clipping
        return
    found = e.elsewhere(point)
    if found is not None and e.same(e.actual, found):
        yield f"the value used where {problem.names[e.k]} stands in the derivative"


def single_precision(e: Evidence) -> Iterator[str]:
    actual, right = e.actual[e.wrong], e.right[e.wrong]
    if e.actual.dtype != np.float64 or not np.isfinite(actual).all():
        return
    with np.errstate(over="ignore"):
        telling = (actual.astype(np.float16) != actual).sum()  # numbers such as 1 and 0.5 are in every dtype
    if telling < 2 or (actual.astype(np.float32) != actual).any():
        return
    if (np.abs(actual - right) <= 1e-6 * np.abs(right).max()).all():
        yield "float32 inside: these are numbers of float32, and as near as its rounding leaves them"


Rule = Callable[[Evidence], Iterator[str]]

CONDUCT: tuple[Rule, ...] = (nothing_arrives, upstream_ignored, another_gradient_every_time)
"""What shows without a comparison with other gradients; the first of these that fits is all that is said."""

SLIGHT: tuple[Rule, ...] = (factor, single_precision)
"""Mistakes that show in numbers which are nearly right."""

RULES: tuple[Rule, ...] = (factor, other_input, rearranged, region, missing_term, value_for_input, single_precision)
"""Mistakes that would each explain the numbers; where two do, both are named, and where more do, none."""


def common_ratio(actual: np.ndarray, expected: np.ndarray) -> float | None:
    """The factor between all elements of two arrays; None without one."""
    if not actual.size or not np.isfinite(actual).all() or not np.isfinite(expected).all() or not expected.all():
        return None
    ratios = actual / expected
    if np.ptp(ratios) > min(1e-7 * np.abs(ratios[0]), 1e-3 * np.abs(ratios[0] - 1)):
        return None
    return float(ratios[0])


# ---------------------------------------------------------------------------------------------- a shape, a circumstance
def not_summed(gradient: Any, array: Any) -> str:
    """What a gradient of another shape than its variable's looks like; '' if that is not clear."""
    found, shape = tuple(gradient.shape), tuple(array.shape)
    lead = len(found) - len(shape)
    if lead >= 0 and all(n in (1, m) for n, m in zip(shape, found[lead:], strict=True)) and found != shape:
        axes = [*range(lead), *(i + lead for i, n in enumerate(shape) if n != found[i + lead])]
        if axes:
            which = f"axis {axes[0]}" if len(axes) == 1 else f"axes {', '.join(map(str, axes))}"
            return f"\n  looks like a gradient that was not summed over the broadcast {which}"
    if found == shape[::-1] and found != shape and len(shape) > 1:
        return "\n  looks like the transpose of the right gradient"
    if [n for n in found if n != 1] == [n for n in shape if n != 1] and found != shape:
        return "\n  looks like an axis of length 1 that was lost or added (keepdims)"
    if not found and shape:
        return "\n  looks like a gradient that was summed over all axes"
    return ""


@cache
def in_circumstance(circumstance: "Circumstance", found: str = "") -> tuple[str, ...]:
    """What a gradient looks like that is right in a first run and wrong in `circumstance`.

    found: "kept" for the gradient of the first run, although the upstream gradient is another one; "NaN".
    """
    line = f"right in a first run, wrong with {circumstance}"
    if len(circumstance.parts()) > 2:
        return (line,)
    if found == "kept":
        said = "something kept from the first call: a cache of its gradient"
    elif found == "NaN":
        said = "0 / 0 or 0 * inf where the upstream gradient is 0"
    elif circumstance.elsewhere:
        said = "something kept outside the call that another forward pass replaces"
    elif circumstance.inputs_memory == "strided" or circumstance.upstream_memory in ("strided", "broadcast"):
        said = "code that takes memory to be contiguous"
    elif circumstance.row or circumstance.factor != 1:
        said = NOT_LINEAR
    elif "read-only" in (circumstance.inputs_memory, circumstance.upstream_memory):
        said = "code that writes into what it is given"
    else:
        said = "something kept from the first call: a cache, or a gradient that adds up"
    return (line, f"looks like {said}")
