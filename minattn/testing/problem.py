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
    count: int
    """How many results fn has, those without a gradient among them .."""
    judged: list[int]
    """.. and which have one."""

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

    def _take_inputs(self, inputs: Sequence[Any], seed: int) -> None:
        if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
            raise ConfigError(f"seed must be a whole number, 0 or more, got {seed!r}")
        self.inputs = [taken(value, f"input {i}") for i, value in enumerate(inputs)]
        self.argnums = [i for i, array in enumerate(self.inputs) if array.dtype.kind in "fc"]
        for i in self.argnums:
            _require_known_dtype(f"input {i}", self.inputs[i])

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

    def precise(self) -> list[Array]:
        """The variables in float64, where they are."""
        return [_in_float64(array) for array in self.arrays]

    # ------------------------------------------------------------------------------------------ running it
    def values(self, point: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The results that are judged, with the variables' values replaced by `point`, of any dtype; copies, since fn
        may compute into memory of its own."""
        found = self._evaluate([like(p, a) for p, a in zip(point, self.arrays, strict=True)])
        for i, (y, first) in enumerate(zip(found, self.result_arrays, strict=True)):
            if y.shape != first.shape:
                raise GradientMismatch(
                    f"result {self.number_of_result(i)} of fn has shape {tuple(first.shape)}, and {tuple(y.shape)} "
                    "at another point, so there is no gradient to check; hint: a shape that does not depend on values"
                )
        return [asnumpy(y).copy() for y in found]

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
        self._require_dtypes_and_shapes(found, point)
        self._require_own_memory(found, point, given)
        return [None if g is None else asnumpy(g) for g in found]

    def precise_gradients(self, factor: float = 1.0) -> list[np.ndarray | None]:
        """The gradients with everything in float64, for so many times the upstream gradient."""
        return self.gradients(self.precise(), [_in_float64(g, factor) for g in self.upstream])

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
            if own and y.dtype.name != common.name:
                raise GradientMismatch(
                    f"result {self.number_of_result(i)} of fn is {y.dtype}, its inputs are {common}; hint: constants "
                    "as Python numbers, math.sqrt in place of np.sqrt, arrays made in the dtype of the input"
                )
        for name, array, gradient in zip(self.names, point, gradients, strict=True):
            if gradient is None:
                continue
            if tuple(gradient.shape) != tuple(array.shape) or (own and gradient.dtype.name != array.dtype.name):
                found, expected = (f"{a.dtype} {tuple(a.shape)}" for a in (gradient, array))
                raise GradientMismatch(
                    f"the gradient of {name} is {found}, the tensor is {expected}" + not_summed(gradient, array)
                )

    def _judge(self, results: Sequence[Array], judged: Sequence[int]) -> None:
        """These results have gradients, and are what later runs are compared with."""
        for i, y in zip(judged, results, strict=True):
            if y.dtype.kind == "c" and not any(array.dtype.kind == "c" for array in self.inputs):
                raise GradientMismatch(
                    f"result {i} of fn is {y.dtype}; expected real numbers; hint: its real and its imaginary part "
                    "as two results"
                )
        self.judged, self.result_arrays = list(judged), list(results)

    def number_of_result(self, i: int) -> int:
        """The number, among all results of fn, of result i of those that are judged."""
        return self.judged[i]

    def _judged(self, results: Sequence[Any]) -> list[Any]:
        """Of all results of a later run those that are judged."""
        if len(results) != self.count:
            raise GradientMismatch(
                f"fn returns {self.count} results, and {len(results)} at another point: there is no gradient to check"
            )
        return [results[i] for i in self.judged]

    def _take(self, upstream: Any, seed: int) -> list[Array]:
        """The upstream gradients: those given, one array or a tuple, or drawn from a normal distribution."""
        if upstream is None:
            rng = np.random.default_rng(seed)
            given = [rng.standard_normal(y.shape) for y in self.result_arrays]
        else:
            given = [taken(g, "upstream") for g in (upstream if isinstance(upstream, tuple) else (upstream,))]
        shapes = [tuple(y.shape) for y in self.result_arrays]
        if [tuple(g.shape) for g in given] != shapes:
            raise ConfigError(f"upstream has shapes {[tuple(g.shape) for g in given]}, the results of fn {shapes}")
        for g in map(asnumpy, given):
            if g.dtype.kind == "c" or not np.isfinite(g).all():
                raise ConfigError(f"upstream must be real and finite, got {_first_odd(g)}")
        return [like(asnumpy(g).astype(y.dtype), y) for g, y in zip(given, self.result_arrays, strict=True)]


# ---------------------------------------------------------------------------------------------- on tensors
class TensorProblem(Problem):
    """A function on minattn's tensors, and the parameters that it captured."""

    def __init__(
        self, fn: Callable[..., Any], inputs: Sequence[Any], parameters: Parameters, upstream: Any, seed: int
    ) -> None:
        """upstream: an array, or a tuple with one for each result; None draws them from a normal distribution."""
        _require_function("fn", fn, "fn, *inputs")
        self.fn = fn
        self._take_inputs(inputs, seed)
        before = [asnumpy(array).copy() for array in self.inputs]
        arguments = [Tensor(array, requires_grad=i in self.argnums) for i, array in enumerate(self.inputs)]
        results = self._results(arguments)
        judged = [i for i, y in enumerate(results) if isinstance(y, Tensor) and y.requires_grad]
        if not judged:
            raise GradientMismatch(
                f"nothing that fn returns depends on its inputs by ops that have a gradient; {self._why_not(results)}"
            )
        self.count = len(results)
        self._judge([results[i].data for i in judged], judged)
        named = _named(_captured(results, arguments) if parameters is None else parameters)
        self.parameters = list(named.values())
        self.names = [f"input {i}" for i in self.argnums] + list(named)
        self.arrays = [self.inputs[i] for i in self.argnums] + [p.data for p in self.parameters]
        for i, old in enumerate(before):
            if not same_bits(old, asnumpy(self.inputs[i])):
                raise GradientMismatch(f"input {i} was written to by fn or by its backward pass; hint: copy first")
        for name, parameter in named.items():
            _require_known_dtype(name, parameter.data)
        self.upstream = self._take(upstream, seed)

    def _why_not(self, results: Sequence[Any]) -> str:
        """The hint where no result has a gradient."""
        if self.inputs and not self.argnums:
            return f"hint: floating-point inputs (given: {', '.join(map(_described, self.inputs))})"
        if not any(isinstance(y, Tensor) for y in results):
            returned = ", ".join(type(y).__name__ for y in results)
            return f"hint: return a tensor or a tuple of tensors (fn returned {returned or 'nothing'})"
        return "hint: compute with minattn's ops; what .data, detach() or hvp give has no gradient"

    def _evaluate(self, variables: Sequence[Array]) -> list[Array]:
        with no_grad(), self._arguments_at(variables) as arguments:
            results = self._judged(self._results(arguments))
        return [y.data for y in results]

    def _run(
        self, variables: Sequence[Array], upstream: Sequence[Array], between: Callable[[], Any]
    ) -> tuple[list[Array], list[Array | None]]:
        kept = [p.grad for p in self.parameters]
        with self._arguments_at(variables) as arguments:
            for parameter in self.parameters:
                parameter.grad = None
            try:
                judged = self._judged(self._results(arguments))
                between()
                walk_back(judged, upstream)
                leaves = [arguments[i] for i in self.argnums] + self.parameters
                return [y.data for y in judged], [leaf.grad for leaf in leaves]
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
        for name, function in (("f", f), ("vjp", vjp)):
            _require_function(name, function, "f, vjp, *inputs")
        self.f, self.vjp = f, vjp
        self._take_inputs(inputs, seed)
        if not self.argnums:
            given = ", ".join(map(_described, self.inputs)) or "none"
            raise ConfigError(f"expected a floating-point input, got {given}; hint: numbers such as 1.0")
        self.names = [f"input {i}" for i in self.argnums]
        self.arrays = [self.inputs[i] for i in self.argnums]
        before = [asnumpy(array).copy() for array in self.inputs]
        every = [_plain(as_array(y), f"result {i} of f") for i, y in enumerate(_as_list(f(*self.inputs)))]
        judged = [i for i, y in enumerate(every) if y.dtype.kind in "fc"]
        if not judged:
            given = ", ".join(map(_described, every)) or "an empty tuple"
            raise GradientMismatch(
                f"f returns {given}; expected an array of floating-point numbers, or a tuple of arrays"
            )
        for i, old in enumerate(before):
            if not same_bits(old, asnumpy(self.inputs[i])):
                raise GradientMismatch(f"input {i} was written to by fn or by its backward pass; hint: copy first")
        self.count = len(every)
        self._judge([every[i] for i in judged], judged)
        self.upstream = self._take(upstream, seed)

    def _arguments(self, variables: Sequence[Array]) -> list[Array]:
        arguments = list(self.inputs)
        for i, values in zip(self.argnums, variables, strict=True):
            arguments[i] = values
        return arguments

    def _evaluate(self, variables: Sequence[Array]) -> list[Array]:
        return [as_array(y) for y in self._judged(_as_list(self.f(*self._arguments(variables))))]

    def _run(
        self, variables: Sequence[Array], upstream: Sequence[Array], between: Callable[[], Any]
    ) -> tuple[list[Array], list[Array | None]]:
        arguments = self._arguments(variables)
        results = self._evaluate(variables)
        between()
        try:
            given = _as_list(self.vjp(*upstream, *arguments))
        except Exception as error:
            ahead, behind = (", ".join(map(_described, arrays)) for arrays in (upstream, arguments))
            error.add_note(f"minattn.testing called vjp(*upstream, *inputs) with upstream {ahead}; inputs {behind}")
            raise
        if len(given) == len(self.inputs):
            given = [given[i] for i in self.argnums]
        if len(given) != len(self.argnums):
            raise GradientMismatch(
                f"vjp returns {len(given)} gradients for {len(self.inputs)} inputs; hint: a tuple with an array for "
                "each input, None for a gradient that is 0"
            )
        pairs = zip(self.names, given, strict=True)
        return results, [
            None if g is None else taken(g, f"the gradient of {name}", GradientMismatch) for name, g in pairs
        ]

    def forward_elsewhere(self) -> None:
        with suppress(Exception), np.errstate(all="ignore"):
            self.f(*self._arguments([_nearby(array) for array in self.arrays]))


# ---------------------------------------------------------------------------------------------- small things
NEARBY = 0.9375
"""Elsewhere the variables are so much smaller; most domains reach there."""


def _in_float64(array: Array, factor: float = 1.0) -> Array:
    return like(np.asarray(factor * asnumpy(array).astype(np.float64)), array)


def _nearby(array: Array) -> Array:
    return like(NEARBY * asnumpy(array), array)


def as_array(value: Any) -> Array:
    """The raw array of a tensor; an array itself; lists and numbers as NumPy arrays."""
    if isinstance(value, Tensor):
        return value.data
    return value if is_array(value) else np.asarray(value)


def taken(value: Any, name: str, error: type[Exception] = ConfigError) -> Array:
    """What a user gives, as an array of numbers; raises `error` for what is none."""
    try:
        array = as_array(value)
    except ValueError:
        raise error(f"{name} is a ragged list; expected an array of numbers") from None
    if array.dtype.kind not in "biufc":
        found = array.dtype if is_array(value) else type(value).__name__
        hint = "; hint: bind other arguments by a lambda" if name.startswith("input") else ""
        raise error(f"{name} is {found}; expected numbers{hint}")
    return _plain(array, name, error)


def _plain(array: Array, name: str, error: type[Exception] = GradientMismatch) -> Array:
    if isinstance(array, (np.ma.MaskedArray, np.matrix)):
        raise error(f"{name} is a {type(array).__name__}; expected a plain array; hint: np.asarray(..)")
    return array


def _described(array: Array) -> str:
    """'float64 (3, 4)'; for an object its type."""
    if array.dtype == object and array.ndim == 0:
        return type(array[()]).__name__
    return f"{array.dtype} {tuple(array.shape)}"


def _first_odd(values: np.ndarray) -> str:
    odd = values[~np.isfinite(values)]
    return str(odd[0]) if odd.size else str(values.dtype)


def _require_function(name: str, function: Any, order: str) -> None:
    if not callable(function):
        raise ConfigError(f"expected a function for {name}, got {type(function).__name__}; the arguments are {order}")


def _require_known_dtype(name: str, array: Array) -> None:
    if array.dtype.name not in ("float32", "float64"):
        hint = "its real and its imaginary part as two inputs" if array.dtype.kind == "c" else ".astype(np.float64)"
        raise ConfigError(f"{name} is {array.dtype}; gradients are checked in float32 and float64; hint: {hint}")


def _as_list(values: Any) -> list[Any]:
    """Those of a tuple, or of a list of arrays; a list of numbers is one array."""
    if isinstance(values, tuple) or (isinstance(values, list) and all(v is None or is_array(v) for v in values)):
        return list(values)
    return [values]


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
    if not isinstance(parameters, (Mapping, Sequence)):
        given = type(parameters).__name__
        raise ConfigError(
            f"parameters is a {given}; expected a list or a dict of tensors; hint: module.named_parameters()"
        )
    if not isinstance(parameters, Mapping):
        parameters = {f"parameter {i}": parameter for i, parameter in enumerate(parameters)}
    named = dict(parameters)
    for name, value in named.items():
        if not isinstance(value, Tensor) or value._inputs is not None or not value.requires_grad:
            given = "a tensor" if isinstance(value, Tensor) else f"a {type(value).__name__}"
            raise ConfigError(f"{name} is {given}; expected a leaf tensor, made with requires_grad=True")
    return named


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
