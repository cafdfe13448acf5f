"""A function under test, with everything it is differentiated by, and the run whose gradients are judged."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from minattn.autograd import Array, Tensor, asnumpy, no_grad, xp
from minattn.autograd.backend import is_array, like
from minattn.errors import ConfigError
from minattn.testing.mismatch import GradientMismatch

Parameters = Mapping[str, Tensor] | Sequence[Tensor] | None


class Problem:
    """`fn`, its inputs, the parameters it captured, and an upstream gradient for each of its results.

    The *variables* are the floating-point inputs, then the parameters: what gradients are taken by.
    """

    def __init__(
        self, fn: Callable[..., Any], inputs: Sequence[Any], parameters: Parameters, upstream: Any, seed: int
    ) -> None:
        """upstream: an array, or a tuple with one for each result; None draws them from a normal distribution."""
        self.fn, self.seed = fn, seed
        self.inputs = [_array(value) for value in inputs]
        self._before = [asnumpy(array).copy() for array in self.inputs]
        self.places = [i for i, array in enumerate(self.inputs) if array.dtype.kind in "fc"]
        arguments = self._arguments()
        results = self._results(arguments)
        self.judged = [i for i, y in enumerate(results) if isinstance(y, Tensor) and y.requires_grad]
        if not self.judged:
            raise GradientMismatch("nothing that fn returns depends on its inputs by ops that have a gradient")
        self.result_arrays = [results[i].data for i in self.judged]
        named = _named(_captured(results, arguments) if parameters is None else parameters)
        self.parameters = list(named.values())
        self._before += [asnumpy(p.data).copy() for p in self.parameters]
        self.names = [f"input {i}" for i in self.places] + list(named)
        self.arrays = [self.inputs[i] for i in self.places] + [p.data for p in self.parameters]
        for name, array in zip(self.names, self.arrays, strict=True):
            if array.dtype.name not in ("float32", "float64"):
                raise ConfigError(f"{name} is {array.dtype}; gradients are checked in float32 and float64")
        self.dtypes = {array.dtype.name for array in self.arrays}
        self.upstream = self._upstream(upstream)

    def _arguments(self) -> list[Tensor]:
        return [Tensor(array, requires_grad=i in self.places) for i, array in enumerate(self.inputs)]

    def _upstream(self, upstream: Any) -> list[Array]:
        if upstream is None:
            rng = np.random.default_rng(self.seed)
            given = [rng.standard_normal(y.shape) for y in self.result_arrays]
        else:
            given = [_array(g) for g in (upstream if isinstance(upstream, tuple) else (upstream,))]
        shapes = [tuple(y.shape) for y in self.result_arrays]
        if [tuple(g.shape) for g in given] != shapes:
            raise ConfigError(f"upstream has shapes {[tuple(g.shape) for g in given]}, the results of fn {shapes}")
        return [like(asnumpy(g).astype(y.dtype), y) for g, y in zip(given, self.result_arrays, strict=True)]

    @property
    def size(self) -> int:
        """The number of elements that gradients are taken with respect to."""
        return sum(array.size for array in self.arrays)

    def described(self, k: int) -> str:
        """Variable k in a message: 'input 0 (float32 (3, 4))'."""
        array = self.arrays[k]
        return f"{self.names[k]} ({array.dtype} {tuple(array.shape)})"

    def point(self) -> list[np.ndarray]:
        """The variables in float64, on the host."""
        return [asnumpy(array).astype(np.float64) for array in self.arrays]

    def objective(self, point: Sequence[np.ndarray]) -> Any:
        """The sum of <upstream, result> over the results, with the variables' values replaced by `point`."""
        with no_grad():
            values = self.values(point)
        upstream = (asnumpy(g).astype(np.float64) for g in self.upstream)
        return sum((g * y).sum() for g, y in zip(upstream, values, strict=True))

    def values(self, point: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The results that are judged, with the variables' values replaced by `point`."""
        with self._placed(point) as arguments:
            results = self._results(arguments)
        return [asnumpy(results[i].data) for i in self.judged]

    def gradients(self, point: Sequence[np.ndarray] | None = None) -> list[np.ndarray | None]:
        """The gradient that `backward` gives for every variable, on the host; None where no gradient arrived.

        At the variables' own values (point None) it is also made sure that no harm is done: the arrays are not
        written to, and no gradient shares memory with anything.
        """
        if point is not None:
            with self._placed(point) as arguments:
                return [None if g is None else asnumpy(g) for g in self._backward(arguments)]
        gradients = self._backward(self._arguments())
        self._require_unwritten()
        self._require_own_memory(gradients)
        self._require_dtypes_and_shapes(gradients)
        return [None if g is None else asnumpy(g) for g in gradients]

    # ------------------------------------------------------------------------------------------ running fn
    def _results(self, arguments: Sequence[Tensor]) -> list[Any]:
        results = self.fn(*arguments)
        return list(results) if isinstance(results, (tuple, list)) else [results]

    @contextmanager
    def _placed(self, point: Sequence[np.ndarray]) -> Iterator[list[Tensor]]:
        """Arguments for fn with the values of `point`; within the block the parameters have theirs too."""
        arguments = [Tensor(array) for array in self.inputs]
        for i, values in zip(self.places, point, strict=False):
            arguments[i] = Tensor(like(values, self.inputs[i]), requires_grad=True)
        originals = [(p.data, p.grad) for p in self.parameters]
        try:
            for parameter, values in zip(self.parameters, point[len(self.places) :], strict=True):
                parameter.replace_data(like(values, parameter.data))  # `.data` keeps the dtype, and here it must change
            yield arguments
        finally:
            for parameter, (data, gradient) in zip(self.parameters, originals, strict=True):
                parameter.replace_data(data)
                parameter.grad = gradient

    def _backward(self, arguments: Sequence[Tensor]) -> list[Array | None]:
        """The gradients that one backward pass leaves in the variables; the parameters' own `.grad` is put back."""
        variables = [arguments[i] for i in self.places] + self.parameters
        kept = [p.grad for p in self.parameters]
        for parameter in self.parameters:
            parameter.grad = None
        try:
            results = self._results(arguments)
            walk_back([results[i] for i in self.judged], self.upstream)
            return [variable.grad for variable in variables]
        finally:
            for parameter, gradient in zip(self.parameters, kept, strict=True):
                parameter.grad = gradient

    # ------------------------------------------------------------------------------------------ harm
    def _require_unwritten(self) -> None:
        names = [f"input {i}" for i in range(len(self.inputs))] + self.names[len(self.places) :]
        after = self.inputs + [p.data for p in self.parameters]
        for name, old, new in zip(names, self._before, after, strict=True):
            if not np.array_equal(old, asnumpy(new), equal_nan=old.dtype.kind in "fc"):
                raise GradientMismatch(f"{name} was written to by fn or by its backward pass; hint: copy first")

    def _require_own_memory(self, gradients: Sequence[Array | None]) -> None:
        owners = [(name, array) for name, array in zip(self.names, self.arrays, strict=True)]
        owners += [("the upstream gradient", g) for g in self.upstream]
        for name, gradient in zip(self.names, gradients, strict=True):
            if gradient is None:
                continue
            for owner, array in owners:
                if xp(gradient).may_share_memory(gradient, array):
                    raise GradientMismatch(f"the gradient of {name} shares memory with {owner}; hint: copy it")
            owners.append((f"the gradient of {name}", gradient))

    def _require_dtypes_and_shapes(self, gradients: Sequence[Array | None]) -> None:
        common = np.result_type(*(array.dtype for array in self.arrays))
        for i, y in zip(self.judged, self.result_arrays, strict=True):
            if y.dtype != common:
                raise GradientMismatch(
                    f"result {i} of fn is {y.dtype}, its inputs are {common}; hint: constants as Python numbers, "
                    "math.sqrt in place of np.sqrt, arrays made in the dtype of the input"
                )
        for name, array, gradient in zip(self.names, self.arrays, gradients, strict=True):
            if gradient is None:
                continue
            found, expected = (f"{a.dtype} {tuple(a.shape)}" for a in (gradient, array))
            if found != expected:
                raise GradientMismatch(f"the gradient of {name} is {found}, the tensor is {expected}")


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
        if not np.array_equal(asnumpy(gradient), asnumpy(copy), equal_nan=True):
            raise GradientMismatch("a pullback wrote into the upstream gradient it was given; hint: a new array")


def _array(value: Any) -> Array:
    """The raw array of a tensor; an array itself; lists and numbers as NumPy arrays."""
    if isinstance(value, Tensor):
        return value.data
    return value if is_array(value) else np.asarray(value)


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


def or_zeros(gradient: np.ndarray | None, array: Array) -> np.ndarray:
    """No gradient that arrived says the same as a gradient of zeros."""
    return np.zeros(array.shape) if gradient is None else gradient
