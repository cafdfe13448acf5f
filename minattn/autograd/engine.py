"""Reverse-mode automatic differentiation: how an op is recorded, and the backward pass.

An *op* is one function on raw arrays that returns its value and its *pullback*, the map from the gradient of
the value to the gradients of the arguments:

    @op
    def tanh(x, /):
        y = xp(x).tanh(x)
        return y, lambda g: g * (1 - y * y)

What every pullback would have to repeat is done here once: gradients are summed back to the shape they were
broadcast from, cast to their tensor's dtype, and never share memory with one another.

The graph is nothing but the tensors: each knows its inputs and its pullback.  Tensors are numbered as they are
made, so an input's number is smaller than its result's, and the backward pass visits nodes in descending order of
their numbers: no recursion, no global tape, and each node once however often it was used.

Pullbacks are written without complex conjugation.  A function of complex tensors is differentiated as an
analytic one, which is what makes the complex step an exact oracle for values and for gradients alike.
"""

import functools
import inspect
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from heapq import heappop, heappush
from itertools import count
from typing import TYPE_CHECKING, Any, NamedTuple, overload

import numpy as np

from minattn.autograd.backend import Array, is_array, like, xp
from minattn.autograd.faults import FAULTS, describe, explained, misfit_of_pullback, refusal_of_gradient
from minattn.errors import GradientError, ShapeError

if TYPE_CHECKING:
    from minattn.autograd.tensor import Tensor

Pullback = Callable[..., Any] | tuple[Callable[[Array], Array], ...]

Result = tuple[Any, Pullback | None]
"""The result of an op's function: its value, an array or a tuple of arrays, and its pullback."""


# ---------------------------------------------------------------------------------------------- modes
class _Mode(threading.local):
    recording = True
    observers: tuple[Any, ...] = ()


mode = _Mode()


@contextmanager
def no_grad() -> Iterator[None]:
    """Within the block nothing is recorded, so results need no gradient.  Also works as a decorator."""
    before, mode.recording = mode.recording, False
    try:
        yield
    finally:
        mode.recording = before


@contextmanager
def observe(*observers: Any) -> Iterator[None]:
    """Within the block `observers` are told of every op run, forward and backward (see `observers.py`)."""
    before, mode.observers = mode.observers, mode.observers + observers
    try:
        yield
    finally:
        mode.observers = before


# ---------------------------------------------------------------------------------------------- ops
class Op(NamedTuple):
    """One entry of the op table."""

    name: str
    function: Callable[..., Any]
    """On raw arrays; returns (value, pullback)."""
    apply: Callable[..., Any]
    """On tensors: what users call."""
    equation: Callable[..., Any] | None
    """For a fused op: the same thing composed of primitive ops."""


OPS: dict[str, Op] = {}
"""Every op of the library by name.  The tests enumerate it: an op without a test case fails them."""


@overload
def op(
    function: Callable[..., Any], /, *, equation: Callable[..., Any] | None = None, listed: bool = True
) -> Callable[..., Any]: ...
@overload
def op(
    *, equation: Callable[..., Any] | None = None, listed: bool = True
) -> Callable[[Callable[..., Any]], Callable[..., Any]]: ...
def op(
    function: Callable[..., Any] | None = None, *, equation: Callable[..., Any] | None = None, listed: bool = True
) -> Any:
    """Make an op of `function`, entered into the table: `@op`, `@op(equation=..)` or `op(function, equation=..)`.

    `function` takes raw arrays.  Its arguments before `/` (or its `*args`) are the tensor arguments: a caller may
    pass tensors, arrays or Python numbers, by position or by name.  Arguments after it are parameters without a
    gradient.  It returns `(value, pullback)`; `value` is an array, or a tuple of arrays for an op with several outputs.

    The pullback is either a tuple with one function per tensor argument, each called only where its gradient is
    needed, or one function that returns the gradients of all tensor arguments at once (the bare gradient if there
    is only one).  A gradient may be None, and may be no view of another.  A pullback runs once, so it may write over
    what it saved, but not into the upstream gradient.  With several outputs it takes one upstream gradient for each.
    An op whose result has no gradient, such as a comparison, returns None for its pullback.

    `equation` is for fused ops: the function on tensors, composed of other ops, that this one must equal.
    `listed=False` keeps the op out of the table: for ops of one's own, which may then share a name.
    """
    if function is None:
        return functools.partial(op, equation=equation, listed=listed)
    tensors = _tensor_arity(function)
    named = _tensor_parameters(function)
    optional = any(p.default is None for p in named)
    name = function.__name__.lstrip("_")  # behind a function of that name, which prepares its arguments

    @functools.wraps(function)
    def apply(*args: Any, **parameters: Any) -> Any:
        rest: tuple[Any, ...] = ()
        if tensors is not None and len(args) > tensors:
            args, rest = args[:tensors], args[tensors:]
        elif tensors is not None and len(args) < tensors:
            given = {p.name: parameters.pop(p.name, p.default) for p in named[len(args) :]}
            for missing in (argument for argument, value in given.items() if value is inspect.Parameter.empty):
                names = ", ".join(inspect.signature(function).parameters)
                raise TypeError(f"{name}: the argument {missing!r} is missing; hint: {name}({names})")
            args = (*args, *given.values())
        inputs: list[Any] = []
        arrays: list[Any] = []
        dtype: Any = None
        tracked, mixed = False, False
        for argument in args:
            if isinstance(argument, Tensor):
                inputs.append(argument)
                arrays.append(argument._data)
                if dtype is None:
                    dtype = argument._data.dtype
                elif argument._data.dtype is not dtype:
                    mixed = True
                if argument.requires_grad:
                    tracked = True
            else:
                inputs.append(None)
                if type(argument) is not float:
                    argument = _constant(name, argument, args, optional)
                    mixed = mixed or is_array(argument)
                arrays.append(argument)
        if mixed:
            arrays = _alike(arrays)
        for value in (*rest, *parameters.values()):
            if isinstance(value, Tensor) and value.requires_grad and mode.recording:
                raise refusal_of_gradient(name, function, arrays, rest, parameters)
        if mode.observers:
            return _observed(name, function, inputs, arrays, rest, parameters, tracked)
        try:
            value, pullback = function(*arrays, *rest, **parameters)
        except FAULTS as error:
            raise explained(name, error, function, arrays, rest, parameters) from error
        if not tracked or pullback is None or not mode.recording:
            return _constants(value)
        return _record(name, inputs, value, pullback, _versions(inputs))

    if listed and name in OPS:
        raise ValueError(f"an op named {name!r} exists already; hint: op(.., listed=False) for one of your own")
    of_tensors_only = len(inspect.signature(function).parameters) == tensors
    quick = {1: _unary, 2: _binary}.get(tensors or 0) if of_tensors_only else None
    made = Op(name, function, quick(name, function, apply) if quick else apply, equation)
    if listed:
        OPS[name] = made
    return made.apply


def _unary(name: str, function: Callable[..., Any], apply: Callable[..., Any]) -> Callable[..., Any]:
    """`apply` for an op of one tensor and no parameters, which is what small ops are: no loop, no lists to unpack.

    An op on a few numbers takes as long as what surrounds it; whatever is not the usual case is left to `apply`.
    """

    @functools.wraps(function)
    def apply_to_one(*args: Any, **parameters: Any) -> Any:
        if len(args) == 1 and isinstance(args[0], Tensor) and not parameters and not mode.observers:
            x = args[0]
            try:
                value, pullback = function(x._data)
            except FAULTS as error:
                raise explained(name, error, function, [x._data], (), {}) from error
            if x.requires_grad and pullback is not None and mode.recording:
                return _record(name, args, value, pullback, x._version)
            return _constants(value)
        return apply(*args, **parameters)

    return apply_to_one


def _binary(name: str, function: Callable[..., Any], apply: Callable[..., Any]) -> Callable[..., Any]:
    """`apply` for an op of two tensors and no parameters, as `_unary` is for one."""

    @functools.wraps(function)
    def apply_to_two(*args: Any, **parameters: Any) -> Any:
        if len(args) == 2 and not parameters and not mode.observers:
            a, b = args
            if isinstance(a, Tensor) and isinstance(b, Tensor):
                x, y = a._data, b._data
                if x.dtype is not y.dtype:
                    x, y = _alike([x, y])
                try:
                    value, pullback = function(x, y)
                except FAULTS as error:
                    raise explained(name, error, function, [x, y], (), {}) from error
                if (a.requires_grad or b.requires_grad) and pullback is not None and mode.recording:
                    return _record(name, args, value, pullback, a._version + b._version)
                return _constants(value)
        return apply(*args, **parameters)

    return apply_to_two


def _tensor_arity(function: Callable[..., Any]) -> int | None:
    """The number of leading arguments that are tensors: those before `/`; None for `*args`, all of them."""
    parameters = inspect.signature(function).parameters.values()
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return None
    arity = sum(p.kind is p.POSITIONAL_ONLY for p in parameters)
    if arity == 0:
        raise TypeError(f"op {function.__name__}: mark its tensor arguments by a '/' after them")
    return arity


def _tensor_parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    """The tensor arguments, which a caller may give by name; the default of one that may be left out is None."""
    parameters = inspect.signature(function).parameters.values()
    return [p for p in parameters if p.kind is p.POSITIONAL_ONLY]


def _constant(name: str, value: Any, args: Sequence[Any], optional: bool) -> Any:
    """A non-tensor argument as the op will see it: Python numbers stay weak, lists follow the tensors."""
    if isinstance(value, np.generic):
        return value.item()  # a NumPy scalar would promote float32 to float64
    if is_array(value) or isinstance(value, (int, float, complex)) or (value is None and optional):
        return value
    if not isinstance(value, (list, tuple)):
        raise TypeError(f"{name}: expected a tensor, an array or a number, got {describe(value)}")
    if any(isinstance(part, Tensor) for part in value):
        raise TypeError(f"{name}: a list of tensors is no tensor; hint: stack(..), through which gradients flow")
    try:
        host = np.asarray(value)
    except ValueError as error:
        raise ShapeError(f"{name}: the nested lists are ragged ({error})") from error
    if host.dtype.kind not in "biufc":
        raise TypeError(f"{name}: expected numbers in the list, got {host.dtype}")
    tensors = [a._data for a in args if isinstance(a, Tensor)]
    if host.dtype.kind == "f":
        host = host.astype(next((t.dtype for t in tensors if t.dtype.kind in "fc"), host.dtype), copy=False)
    return like(host, tensors[0]) if tensors else host


def _alike(arrays: list[Any]) -> list[Any]:
    """The arrays, those of integers in the dtype of the others where these are floating-point: float32 with int64 is
    float32, as for Python's numbers."""
    floats = [a.dtype for a in arrays if is_array(a) and a.dtype.kind in "fc"]
    if not floats:
        return arrays
    dtype = np.result_type(*floats)
    return [a.astype(dtype) if is_array(a) and a.dtype.kind in "iu" else a for a in arrays]


def _constants(value: Any) -> Any:
    """The result of an op that nothing is recorded of."""
    if type(value) is tuple:
        return tuple(Tensor(v if is_array(v) else np.asarray(v)) for v in value)
    out = _new(Tensor)
    out._data = value if type(value) is np.ndarray or is_array(value) else np.asarray(value)
    out.grad = None
    out.requires_grad = False
    out._inputs = None
    out._version = 0
    out._hooks = None
    return out


def _record(name: str, inputs: Sequence[Any], value: Any, pullback: Any, versions: int) -> Any:
    """The result of an op as a node of the graph; `versions` is the sum of its inputs'."""
    if type(value) is not np.ndarray:
        if type(value) is tuple:
            return _record_several(name, inputs, value, pullback)
        value = value if is_array(value) else np.asarray(value)
    out = _new(Tensor)
    out._data = value
    out.grad = None
    out.requires_grad = True
    out._inputs = inputs
    out._pullback = pullback
    out._name = name
    out._number = _numbers()
    out._stamp = versions
    out._version = 0
    out._hooks = None
    return out


_numbers = count(1).__next__


def _versions(inputs: Sequence[Any]) -> int:
    """Versions only grow, so their sum tells whether any input's data was replaced since."""
    total = 0
    for tensor in inputs:
        if tensor is not None:
            total += tensor._version
    return total


class _Joint:
    """Stands between an op with several outputs and its inputs: gathers the outputs' gradients, then calls the
    op's pullback once.  It has what the backward pass needs of a node, and no data."""

    __slots__ = ("__weakref__", "_inputs", "_name", "_number", "_pullback", "_stamp", "_version", "grad", "outputs")
    _hooks = None
    requires_grad = True

    def __init__(self, name: str, inputs: Sequence[Any], outputs: tuple[Array, ...], pullback: Any) -> None:
        self._name, self._inputs, self._version = name, inputs, 0
        self._number, self._stamp = _numbers(), _versions(inputs)
        self.grad: Any = None
        self.outputs = [(array.shape, array.dtype, xp(array)) for array in outputs]
        self._pullback = lambda upstream: pullback(*upstream)

    def deposit(self, position: int, gradient: Array) -> list[Array]:
        """The gradients so far, zeros where none has come yet, with output `position`'s entered."""
        parts: list[Array] = self.grad
        if parts is None:
            return [
                gradient if k == position else module.zeros(shape, dtype)
                for k, (shape, dtype, module) in enumerate(self.outputs)
            ]
        parts[position] = gradient
        return parts


def _record_several(name: str, inputs: Sequence[Any], values: tuple[Any, ...], pullback: Any) -> tuple[Any, ...]:
    values = tuple(v if is_array(v) else np.asarray(v) for v in values)
    joint = _Joint(name, inputs, values, pullback)

    def output(position: int, value: Array) -> Any:
        if value.dtype.kind not in "fc":  # indices and masks carry no gradient
            return _constants(value)
        return _record(name, [joint], value, functools.partial(joint.deposit, position), joint._version)

    return tuple(output(position, value) for position, value in enumerate(values))


# ---------------------------------------------------------------------------------------------- the backward pass
def backward(root: "Tensor", seed: Array) -> None:
    """Add the gradient of <seed, root> to `.grad` of every leaf that `root` depends on.

    Each node's gradient, pullback and links are dropped as soon as they are used, so memory shrinks as the pass
    proceeds, and a graph has one backward pass only.
    """
    if root._inputs is None:
        _accumulate_leaf(root, seed if root._hooks is None else _run_hooks(root, seed))
        return
    root.grad = seed
    heap: list[tuple[int, Any]] = [(-root._number, root)]
    try:
        _backward_pass(heap)
    except BaseException:
        for _, node in heap:
            node.grad = None  # or it would be taken for one of the next pass
        raise


def _backward_pass(heap: list[tuple[int, Any]]) -> None:
    """Pass gradients on from the nodes in `heap` until every leaf has its own."""
    owned: set[int] = set()  # numbers of the nodes whose gradient buffer was made here and may be added to
    watched: dict[int, tuple[Any, list[Array]]] = {}  # leaves with hooks, and their gradients
    observed = bool(mode.observers)
    while heap:
        node = heappop(heap)[1]
        upstream, inputs, pullback = node.grad, node._inputs, node._pullback
        node.grad = None
        if node._hooks is not None and inputs is not FREED:
            upstream = _run_hooks(node, upstream)
        versions = 0
        for tensor in inputs:
            if tensor is not None:
                versions += tensor._version
        if node._stamp != versions:
            raise _refusal(node)
        node._inputs, node._pullback, node._stamp = FREED, None, -1  # no sum of versions is -1: it is refused next time
        try:
            if observed:
                gradients = _observed_pullback(node, inputs, pullback, upstream)
            else:
                gradients = pull(inputs, pullback, upstream)
            for tensor, gradient in zip(inputs, gradients, strict=True):
                if gradient is None:
                    continue
                if type(gradient) is list:  # one part of the gradients of an op with several outputs
                    if type(tensor) is not _Joint:
                        raise GradientError(f"the pullback of {node._name} gave a list; hint: a tuple of arrays")
                    if tensor.grad is None:
                        heappush(heap, (-tensor._number, tensor))
                    tensor.grad = gradient
                    continue
                data = tensor._data
                if gradient.shape != data.shape:
                    gradient = _unbroadcast(node, gradient, data.shape)
                if gradient.dtype is not data.dtype and gradient.dtype != data.dtype:
                    gradient = _cast(gradient, data.dtype)
                so_far = tensor.grad
                if tensor._inputs is None:
                    if tensor._hooks is not None:
                        watched.setdefault(id(tensor), (tensor, []))[1].append(gradient)
                    elif so_far is None:
                        tensor.grad = _own(gradient, upstream, gradients)
                    else:
                        so_far += gradient  # in place, but for a scalar, which NumPy makes of 0-d arrays
                        tensor.grad = so_far
                elif so_far is None:
                    tensor.grad = gradient
                    heappush(heap, (-tensor._number, tensor))
                elif tensor._number in owned:
                    so_far += gradient
                    tensor.grad = so_far
                else:
                    tensor.grad = so_far + gradient
                    owned.add(tensor._number)
        except FAULTS as error:
            if misfit := misfit_of_pullback(node._name, error, pullback, len(inputs)):
                raise GradientError(misfit) from error
            raise
    for leaf, parts in watched.values():
        _accumulate_leaf(leaf, _run_hooks(leaf, functools.reduce(lambda a, b: a + b, parts)))


def _refusal(node: Any) -> GradientError:
    """The error of a node that has no backward pass any more."""
    if node._inputs is FREED:
        return GradientError(
            f"backward through {node._name}: an earlier backward pass has freed its graph; hint: compute the "
            "forward pass again, or add the losses and call backward once"
        )
    return GradientError(
        f"backward through {node._name}: the data of one of its inputs was written to after the forward pass, so the "
        "gradient would be wrong; hint: call backward before updating, or detach"
    )


def pull(inputs: Sequence[Any], pullback: Any, upstream: Any) -> Sequence[Any]:
    """The gradients of `inputs`, as the op's pullback gives them; None for an input that needs none."""
    if type(pullback) is tuple:
        gradients = []
        for tensor, function in zip(inputs, pullback, strict=True):
            gradients.append(function(upstream) if tensor is not None and tensor.requires_grad else None)
        return gradients
    given = pullback(upstream)
    if type(given) is not tuple:
        return (given if inputs[0].requires_grad else None,)
    pairs = zip(inputs, given, strict=True)
    return [gradient if tensor is not None and tensor.requires_grad else None for tensor, gradient in pairs]


def _accumulate_leaf(leaf: "Tensor", gradient: Array) -> None:
    """leaf.grad += gradient, which a caller or a hook may hold on to."""
    if leaf.grad is None:
        leaf.grad = _own(gradient, gradient, ())
    else:
        leaf.grad += gradient


def _own(gradient: Array, upstream: Any, gradients: Sequence[Any]) -> Array:
    """`gradient` in memory of its own: it may be a view, the upstream gradient itself, or one array that was given to
    two inputs; then it is copied."""
    if isinstance(gradient, np.generic):  # what NumPy makes of arithmetic on 0-d arrays
        return np.asarray(gradient)
    shared = gradient is upstream or gradient.base is not None or sum(other is gradient for other in gradients) > 1
    return gradient.copy() if shared else gradient


def _cast(gradient: Array, dtype: Any) -> Array:
    if gradient.dtype.kind == "c" and dtype.kind != "c":
        gradient = gradient.real  # a real tensor beside complex ones: its gradient is the real part
    return gradient.astype(dtype)


def _unbroadcast(node: Any, gradient: Array, shape: tuple[int, ...]) -> Array:
    gradient = unbroadcast(gradient, shape)
    if gradient.shape != shape:
        raise GradientError(
            f"the pullback of {node._name} gave a gradient of shape {gradient.shape} for an argument of shape {shape}"
        )
    return gradient


def unbroadcast(gradient: Array, shape: tuple[int, ...]) -> Array:
    """Sum `gradient` over the axes along which an array of `shape` was broadcast."""
    lead = gradient.ndim - len(shape)
    if lead < 0:
        return gradient  # nothing was broadcast; `backward` refuses it
    if lead:
        gradient = gradient.sum(tuple(range(lead)))
    stretched = tuple(i for i, n in enumerate(shape) if n == 1 and gradient.shape[i] != 1)
    return gradient.sum(stretched, keepdims=True) if stretched else gradient


def _run_hooks(tensor: Any, gradient: Array) -> Array:
    if isinstance(gradient, np.generic):  # what NumPy makes of arithmetic on 0-d arrays
        gradient = np.asarray(gradient)
    for hook in tensor._hooks:
        replacement = hook(gradient)
        if replacement is not None:
            gradient = replacement
    return gradient


FREED: list[Any] = []
"""In place of a node's inputs after its backward pass."""


# ---------------------------------------------------------------------------------------------- observed runs
def _observed(
    name: str, function: Any, inputs: Sequence[Any], arrays: list[Any], rest: Any, parameters: Any, tracked: bool
) -> Any:
    """Run an op as `apply` does, and tell the observers."""
    for observer in mode.observers:
        observer.before_forward(name)
    try:
        value, pullback = function(*arrays, *rest, **parameters)
    except FAULTS as error:
        raise explained(name, error, function, arrays, rest, parameters) from error
    recorded = tracked and pullback is not None and mode.recording
    out = _record(name, inputs, value, pullback, _versions(inputs)) if recorded else _constants(value)
    pairs = zip(inputs, arrays, strict=True)
    given = [t if t is not None else Tensor(a) for t, a in pairs if t is not None or is_array(a)]
    for observer in mode.observers:
        observer.on_forward(name, given, out)
    return out


def _observed_pullback(node: Any, inputs: Sequence[Any], pullback: Any, upstream: Any) -> Sequence[Any]:
    if type(inputs[0]) is _Joint:  # only passes a gradient on to the op itself
        return pull(inputs, pullback, upstream)
    for observer in mode.observers:
        observer.before_backward(node._name, node)
    gradients = pull(inputs, pullback, upstream)
    for observer in mode.observers:
        observer.on_backward(node._name, node, upstream, gradients)
    return gradients


from minattn.autograd.tensor import Tensor  # noqa: E402  (Tensor's methods are ops, and ops make tensors)

_new = Tensor.__new__
