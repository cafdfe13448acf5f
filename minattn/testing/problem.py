"""A function under test, with everything it is differentiated by, and the runs whose gradients are judged.

A `Problem` is what the oracle and the checks see of a function: values at any point, and the gradients that its own
backward pass gives.  `TensorProblem` is one on tensors, with the parameters it captured; `ArrayProblem` a function of
NumPy arrays beside its pullback.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np

from minattn.autograd import Array, Tensor, asnumpy, no_grad, xp
from minattn.autograd.backend import is_array, like
from minattn.errors import ConfigError
from minattn.testing.diagnosis import not_summed
from minattn.testing.mismatch import GradientMismatch

Parameters = Mapping[str, Tensor] | Sequence[Tensor] | None


class Problem:
    """A function, its inputs, and an upstream gradient for each of its results.

    The *variables* are what gradients are taken by: the floating-point inputs, then the parameters.
    """

    inputs: list[Array]
    """All arguments, ids and masks among them."""
    argnums: list[int]
    """Which inputs are variables."""
    names: list[str]
    arrays: list[Array]
    """The variables."""
    result_arrays: list[Array]
    """The results that have gradients, as the first run gave them."""
    upstream: list[Array]
    results: list[Array]
    """The results of the last run."""

    def _run(
        self, variables: Sequence[Array], upstream: Sequence[Array], between: Callable[[], Any]
    ) -> tuple[list[Array], list[Array | None]]:
        """The results at `variables`, and the gradients for `upstream`; `between` is called between the passes."""
        raise NotImplementedError

    def _evaluate(self, variables: Sequence[Array]) -> list[Array]:
        """The results at `variables`; no backward pass will follow."""
        raise NotImplementedError

    def forward_elsewhere(self) -> None:
        """Another forward pass, at a point nearby, whose results nobody wants; what it raises there is passed over."""
        raise NotImplementedError

    # ------------------------------------------------------------------------------------------ what it is
    @property
    def size(self) -> int:
        """The number of elements that gradients are taken with respect to."""
        return sum(array.size for array in self.arrays)

    @property
    def dtypes(self) -> set[str]:
        return {array.dtype.name for array in self.arrays}

    def described(self, k: int) -> str:
        """Variable k in a message: 'input 0 (float32 (3, 4))'."""
        array = self.arrays[k]
        return f"{self.names[k]} ({array.dtype} {tuple(array.shape)})"

    def point(self) -> list[np.ndarray]:
        """The variables in float64, on the host."""
        return [asnumpy(array).astype(np.float64) for array in self.arrays]

    # ------------------------------------------------------------------------------------------ running it
    def values(self, point: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The results that are judged, with the variables' values replaced by `point`, of any dtype."""
        return [asnumpy(y) for y in self._evaluate([like(p, a) for p, a in zip(point, self.arrays, strict=True)])]

    def output(self, point: Sequence[np.ndarray]) -> np.ndarray:
        """The same, all in one row."""
        return in_one_row(self.values(point))

    def gradients(
        self,
        variables: Sequence[Array] | None = None,
        upstream: Sequence[Array] | None = None,
        between: Callable[[], Any] = lambda: None,
    ) -> list[np.ndarray | None]:
        """The gradient that the backward pass gives for every variable, on the host; None where none arrived.

        variables, upstream: in place of the problem's own.  It is also made sure that no harm is done: no array is
        written to, no gradient shares memory with anything, each has the dtype and the shape of its variable.
        """
        point = self.arrays if variables is None else variables
        given = self.upstream if upstream is None else upstream
        constants = [array for i, array in enumerate(self.inputs) if i not in self.argnums]
        watched = [*point, *constants, *given]
        before = [asnumpy(array).copy() for array in watched]
        try:
            self.results, found = self._run(point, given, between)
        except ValueError as error:
            if "read-only" not in str(error):
                raise
            raise GradientMismatch(
                "fn or its backward pass writes into an array it was given; hint: copy first"
            ) from error
        self._require_unwritten(before, watched)
        self._require_own_memory(found, point, given)
        self._require_dtypes_and_shapes(found, point)
        return [None if g is None else asnumpy(g) for g in found]

    # ------------------------------------------------------------------------------------------ harm
    def _require_unwritten(self, before: Sequence[np.ndarray], after: Sequence[Array]) -> None:
        constants = [f"input {i}" for i in range(len(self.inputs)) if i not in self.argnums]
        names = [*self.names, *constants, *("the upstream gradient" for _ in self.upstream)]
        for name, old, new in zip(names, before, after, strict=True):
            if not same_bits(old, asnumpy(new)):
                raise GradientMismatch(f"{name} was written to by fn or by its backward pass; hint: copy first")

    def _require_own_memory(
        self, gradients: Sequence[Array | None], point: Sequence[Array], given: Sequence[Array]
    ) -> None:
        owners = list(zip(self.names, point, strict=True)) + [("the upstream gradient", g) for g in given]
        for name, gradient in zip(self.names, gradients, strict=True):
            if gradient is None:
                continue
            for owner, array in owners:
                if xp(gradient).may_share_memory(gradient, array):
                    raise GradientMismatch(f"the gradient of {name} shares memory with {owner}; hint: copy it")
            owners.append((f"the gradient of {name}", gradient))

    def _require_dtypes_and_shapes(self, gradients: Sequence[Array | None], point: Sequence[Array]) -> None:
        """Dtypes are judged where those of `point` are the problem's own: else fn may hold constants of another."""
        own = all(a.dtype == b.dtype for a, b in zip(point, self.arrays, strict=True))
        common = np.result_type(*(array.dtype for array in point)) if point else None
        for i, y in enumerate(self.results):
            if own and y.dtype != common:
                raise GradientMismatch(
                    f"result {self._number_of_result(i)} of fn is {y.dtype}, its inputs are {common}; hint: constants "
                    "as Python numbers, math.sqrt in place of np.sqrt, arrays made in the dtype of the input"
                )
        for name, array, gradient in zip(self.names, point, gradients, strict=True):
            if gradient is None:
                continue
            if tuple(gradient.shape) != tuple(array.shape) or (own and gradient.dtype != array.dtype):
                found, expected = (f"{a.dtype} {tuple(a.shape)}" for a in (gradient, array))
                raise GradientMismatch(
                    f"the gradient of {name} is {found}, the tensor is {expected}" + not_summed(gradient, array)
                )

    def _number_of_result(self, i: int) -> int:
        return i

    def _take(self, upstream: Any, seed: int) -> list[Array]:
        """The upstream gradients: those given, one array or a tuple, or drawn from a normal distribution."""
        if upstream is None:
            rng = np.random.default_rng(seed)
            given = [rng.standard_normal(y.shape) for y in self.result_arrays]
        else:
            given = [as_array(g) for g in (upstream if isinstance(upstream, tuple) else (upstream,))]
        shapes = [tuple(y.shape) for y in self.result_arrays]
        if [tuple(g.shape) for g in given] != shapes:
            raise ConfigError(f"upstream has shapes {[tuple(g.shape) for g in given]}, the results of fn {shapes}")
        return [like(asnumpy(g).astype(y.dtype), y) for g, y in zip(given, self.result_arrays, strict=True)]

    def _require_known_dtypes(self) -> None:
        for name, array in zip(self.names, self.arrays, strict=True):
            if array.dtype.name not in ("float32", "float64"):
                raise ConfigError(f"{name} is {array.dtype}; gradients are checked in float32 and float64")


# ---------------------------------------------------------------------------------------------- on tensors
class TensorProblem(Problem):
    """A function on minattn's tensors, and the parameters that it captured."""

    def __init__(
        self, fn: Callable[..., Any], inputs: Sequence[Any], parameters: Parameters, upstream: Any, seed: int
    ) -> None:
        """upstream: an array, or a tuple with one for each result; None draws them from a normal distribution."""
        self.fn = fn
        self.inputs = [as_array(value) for value in inputs]
        self.argnums = [i for i, array in enumerate(self.inputs) if array.dtype.kind in "fc"]
        before = [asnumpy(array).copy() for array in self.inputs]
        arguments = [Tensor(array, requires_grad=i in self.argnums) for i, array in enumerate(self.inputs)]
        results = self._results(arguments)
        self.judged = [i for i, y in enumerate(results) if isinstance(y, Tensor) and y.requires_grad]
        if not self.judged:
            raise GradientMismatch("nothing that fn returns depends on its inputs by ops that have a gradient")
        self.result_arrays = [results[i].data for i in self.judged]
        named = _named(_captured(results, arguments) if parameters is None else parameters)
        self.parameters = list(named.values())
        self.names = [f"input {i}" for i in self.argnums] + list(named)
        self.arrays = [self.inputs[i] for i in self.argnums] + [p.data for p in self.parameters]
        for i, old in enumerate(before):
            if not same_bits(old, asnumpy(self.inputs[i])):
                raise GradientMismatch(f"input {i} was written to by fn or by its backward pass; hint: copy first")
        self._require_known_dtypes()
        self.upstream = self._take(upstream, seed)

    def _number_of_result(self, i: int) -> int:
        return self.judged[i]

    def _evaluate(self, variables: Sequence[Array]) -> list[Array]:
        with no_grad(), self._arguments_at(variables) as arguments:
            results = self._results(arguments)
        return [results[i].data for i in self.judged]

    def _run(
        self, variables: Sequence[Array], upstream: Sequence[Array], between: Callable[[], Any]
    ) -> tuple[list[Array], list[Array | None]]:
        kept = [p.grad for p in self.parameters]
        with self._arguments_at(variables) as arguments:
            for parameter in self.parameters:
                parameter.grad = None
            try:
                results = self._results(arguments)
                judged = [results[i] for i in self.judged]
                between()
                walk_back(judged, upstream)
                leaves = [arguments[i] for i in self.argnums] + self.parameters
                return [y.data for y in judged], [v.grad for v in leaves]
            finally:
                for parameter, gradient in zip(self.parameters, kept, strict=True):
                    parameter.grad = gradient

    def forward_elsewhere(self) -> None:
        arguments = [Tensor(array) for array in self.inputs]
        for i in self.argnums:
            arguments[i] = Tensor(_nearby(self.inputs[i]), requires_grad=True)
        with suppress(Exception), np.errstate(all="ignore"):
            self._results(arguments)

    def _results(self, arguments: Sequence[Tensor]) -> list[Any]:
        results = self.fn(*arguments)
        return list(results) if isinstance(results, (tuple, list)) else [results]

    @contextmanager
    def _arguments_at(self, variables: Sequence[Array]) -> Iterator[list[Tensor]]:
        """Arguments for fn with these values; within the block the parameters have theirs too."""
        arguments = [Tensor(array) for array in self.inputs]
        for i, values in zip(self.argnums, variables, strict=False):
            arguments[i] = Tensor(values, requires_grad=True)
        others = list(zip(self.parameters, variables[len(self.argnums) :], strict=True))
        originals = [(p, p.data, p.grad) for p, values in others if values is not p.data]
        try:
            for parameter, values in others:
                if values is not parameter.data:
                    parameter.replace_data(values)  # `.data` keeps the dtype, and here it must change
            yield arguments
        finally:
            for parameter, data, gradient in originals:
                parameter.replace_data(data)
                parameter.grad = gradient


def walk_back(results: Sequence[Tensor], upstream: Sequence[Array]) -> None:
    """`backward` from every result with its upstream gradient, in one pass, making sure that no pullback writes
    into the gradient it is given."""
    received: list[tuple[Array, Array]] = []

    def remember(gradient: Array) -> None:
        received.append((gradient, gradient.copy()))

    undo = [y.register_hook(remember) for y in results]
    if len(results) == 1:
        results[0].backward(upstream[0])
    else:
        total = (results[0] * upstream[0]).sum()
        for y, g in zip(results[1:], upstream[1:], strict=True):
            total = total + (y * g).sum()
        total.backward()
    for remove in undo:
        remove()
    for gradient, copy in received:
        if not same_bits(asnumpy(gradient), asnumpy(copy)):
            raise GradientMismatch("a pullback wrote into the upstream gradient it was given; hint: a new array")


# ---------------------------------------------------------------------------------------------- on arrays
class ArrayProblem(Problem):
    """A function of NumPy arrays, and its pullback beside it."""

    parameters: Sequence[Any] = ()

    def __init__(
        self, f: Callable[..., Any], vjp: Callable[..., Any], inputs: Sequence[Any], upstream: Any, seed: int
    ) -> None:
        """f(*inputs): an array or a tuple of arrays; vjp(*upstream, *inputs): the gradient of every input."""
        self.f, self.vjp = f, vjp
        self.inputs = [as_array(value) for value in inputs]
        self.argnums = [i for i, array in enumerate(self.inputs) if array.dtype.kind in "fc"]
        self.names = [f"input {i}" for i in self.argnums]
        self.arrays = [self.inputs[i] for i in self.argnums]
        self._require_known_dtypes()
        before = [asnumpy(array).copy() for array in self.inputs]
        every = _as_list(f(*self.inputs))
        self.judged = [i for i, y in enumerate(every) if as_array(y).dtype.kind in "fc"]
        if not self.judged or not self.argnums:
            raise GradientMismatch("there is no floating-point input or no floating-point result, so no gradient")
        for i, old in enumerate(before):
            if not same_bits(old, asnumpy(self.inputs[i])):
                raise GradientMismatch(f"input {i} was written to by fn or by its backward pass; hint: copy first")
        self.result_arrays = [as_array(every[i]) for i in self.judged]
        self.upstream = self._take(upstream, seed)

    def _number_of_result(self, i: int) -> int:
        return self.judged[i]

    def _arguments(self, variables: Sequence[Array]) -> list[Array]:
        arguments = list(self.inputs)
        for i, values in zip(self.argnums, variables, strict=True):
            arguments[i] = values
        return arguments

    def _evaluate(self, variables: Sequence[Array]) -> list[Array]:
        results = _as_list(self.f(*self._arguments(variables)))
        return [as_array(results[i]) for i in self.judged]

    def _run(
        self, variables: Sequence[Array], upstream: Sequence[Array], between: Callable[[], Any]
    ) -> tuple[list[Array], list[Array | None]]:
        arguments = self._arguments(variables)
        results = self._evaluate(variables)
        between()
        given = _as_list(self.vjp(*upstream, *arguments))
        if len(given) == len(self.inputs):
            given = [given[i] for i in self.argnums]
        if len(given) != len(self.argnums):
            raise GradientMismatch(f"vjp returns {len(given)} gradients for {len(self.inputs)} inputs")
        return results, [None if g is None else as_array(g) for g in given]

    def forward_elsewhere(self) -> None:
        with suppress(Exception), np.errstate(all="ignore"):
            self.f(*self._arguments([_nearby(array) for array in self.arrays]))


# ---------------------------------------------------------------------------------------------- small things
NEARBY = 0.9375
"""Elsewhere the variables are so much smaller; most domains reach there."""


def _nearby(array: Array) -> Array:
    return like(NEARBY * asnumpy(array), array)


def as_array(value: Any) -> Array:
    """The raw array of a tensor; an array itself; lists and numbers as NumPy arrays."""
    if isinstance(value, Tensor):
        return value.data
    return value if is_array(value) else np.asarray(value)


def _as_list(values: Any) -> list[Any]:
    return list(values) if isinstance(values, (tuple, list)) else [values]


def in_one_row(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """The elements of all arrays."""
    return arrays[0].reshape(-1) if len(arrays) == 1 else np.concatenate([y.reshape(-1) for y in arrays])


def same_bits(a: np.ndarray, b: np.ndarray) -> bool:
    """Equal to the last bit, NaN being equal to NaN."""
    return a.tobytes() == b.tobytes()


def or_zeros(gradient: np.ndarray | None, array: Array) -> np.ndarray:
    """No gradient that arrived says the same as a gradient of zeros."""
    return np.zeros(array.shape) if gradient is None else gradient


def _named(parameters: Mapping[str, Tensor] | Sequence[Tensor]) -> dict[str, Tensor]:
    if isinstance(parameters, Mapping):
        return dict(parameters)
    return {f"parameter {i}": parameter for i, parameter in enumerate(parameters)}


def _captured(results: Sequence[Any], arguments: Sequence[Tensor]) -> list[Tensor]:
    """The leaves with a gradient that the results' graph reaches and that are not arguments, in the order found."""
    seen, found = {id(argument) for argument in arguments}, []
    stack = [y for y in reversed(results) if isinstance(y, Tensor)]
    while stack:
        node = stack.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if node._inputs is not None:
            stack += [tensor for tensor in reversed(node._inputs) if tensor is not None]
        elif node.requires_grad:
            found.append(node)
    return found
