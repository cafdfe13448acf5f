"""In what circumstances a gradient is asked for again: the right one is the same in all of them.

What hides in a gradient that is right once: a cache that the second call finds, a value that another forward pass has
replaced, memory that was thought to be contiguous, an upstream gradient that was thought to be small, or to be ones.
The oracle is not asked again: its slopes are known for every upstream gradient that is used here, and a gradient is
linear in it.  Several circumstances share a run; only when that run goes wrong is each tried alone, so that the message
can name one.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from minattn.autograd import Array, xp
from minattn.autograd.backend import like
from minattn.testing.problem import Problem

OWN, ONES, ONE_HOT = range(3)
"""The upstream gradients by their row: the problem's own, ones, and a one-hot."""

HUGE, TINY = 2.0**40, 2.0**-40
"""Powers of two, so that a right gradient is larger or smaller by exactly this."""


@dataclass(frozen=True)
class Circumstance:
    """How one more run of forward and backward pass differs from the first; by default it is a second call."""

    row: int = OWN
    factor: float = 1.0
    """The upstream gradient is this times its row."""
    upstream_memory: str = "plain"
    inputs_memory: str = "plain"
    elsewhere: bool = False
    """Another forward pass, at another point, comes between forward and backward pass."""

    def parts(self) -> list["Circumstance"]:
        """The second call, and each of the differences alone."""
        differ = [field.name for field in fields(self) if getattr(self, field.name) != field.default]
        return [Circumstance(), *(replace(Circumstance(), **{name: getattr(self, name)}) for name in differ)]

    def __str__(self) -> str:
        said = []
        if self.elsewhere:
            said.append("another forward pass before the backward pass")
        if self.inputs_memory != "plain":
            said.append(f"{self.inputs_memory} inputs")
        if self.row or self.factor != 1 or self.upstream_memory != "plain":
            size = {HUGE: "huge, ", TINY: "tiny, ", 0.0: "zero, "}.get(self.factor, "")
            memory = "" if self.upstream_memory == "plain" else f"{self.upstream_memory}, "
            what = ("", "constant, ", "one-hot, ")[self.row]
            said.append(f"the upstream gradient {(size + memory + what).removesuffix(', ')}")
        return " and ".join(said) or "a second call with the same inputs"

    def variables(self, problem: Problem) -> list[Array]:
        """The problem's variables, in the memory that is asked for."""
        return [MEMORY[self.inputs_memory](array) for array in problem.arrays]

    def upstream(self, problem: Problem, rows: np.ndarray) -> list[Array]:
        """The upstream gradient of each result, in the memory that is asked for."""
        given, start = [], 0
        for y in problem.result_arrays:
            row = rows[self.row if len(rows) > 1 else OWN]
            part = (self.factor * row[start : start + y.size]).reshape(y.shape).astype(y.dtype)
            start += y.size
            given.append(MEMORY[self.upstream_memory](like(part, y)))
        return given


TRIED = (
    Circumstance(row=ONE_HOT, upstream_memory="strided", inputs_memory="read-only"),
    Circumstance(inputs_memory="strided", factor=HUGE, upstream_memory="read-only"),
    Circumstance(elsewhere=True, row=ONES, factor=TINY, upstream_memory="broadcast"),
    Circumstance(factor=0.0),
)


# ---------------------------------------------------------------------------------------------- memory
def strided(array: Array) -> Array:
    """Equal to `array`, but every axis backward and with gaps, which hold NaN, and the axes in reversed order."""
    module = xp(array)
    room = module.full(tuple(2 * n for n in reversed(array.shape)), np.nan, array.dtype)
    view = room.transpose()[(..., *(slice(None, None, -2) for _ in array.shape))]
    view[...] = array
    return view


def read_only(array: Array) -> Array:
    """`array` in memory of its own that cannot be written to (on a GPU it can)."""
    copied = array.copy()
    if xp(array) is np:
        copied.flags.writeable = False
    return copied


def broadcast(array: Array) -> Array:
    """Equal to `array` if all its elements are equal, all of them one number in memory; other arrays as they are."""
    if array.size < 2 or not bool((array == array.reshape(-1)[0]).all()):
        return array
    return xp(array).broadcast_to(array.reshape(-1)[:1].reshape((1,) * array.ndim), array.shape)


MEMORY: dict[str, Callable[[Array], Any]] = {
    "plain": lambda array: array,
    "strided": strided,
    "read-only": read_only,
    "broadcast": broadcast,
}


# ---------------------------------------------------------------------------------------------- other runs
def pairs(problem: Problem) -> Iterator[tuple[int, int]]:
    """The first two inputs that one array can stand for, if there are any."""
    variables = [problem.arrays[k] for k in range(len(problem.argnums))]
    for j, b in enumerate(variables):
        for i, a in enumerate(variables[:j]):
            if a.shape == b.shape and a.dtype == b.dtype and a.size:
                yield i, j
                return
