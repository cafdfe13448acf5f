"""Functions of other libraries as (f, vjp), a function of NumPy arrays and its pullback, for `check_vjp`:

    check_vjp(*from_torch(torch.nn.functional.gelu), x)
    check_vjp(*from_jax(jax.nn.softmax), x)

Each library is imported when its adapter is called, and computes in the dtype of the arrays it is given.  A function
takes one tensor for each input and returns a tensor, or tensors in tuples, lists and dicts.  Raises
MissingDependencyError where the library cannot be imported.
"""

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import numpy as np

from minattn.errors import ConfigError, MissingDependencyError
from minattn.testing.mismatch import GradientMismatch

Function = Callable[..., Any]


def from_torch(fn: Function) -> tuple[Function, Function]:
    """A function of PyTorch tensors, or a module.

    After its inputs a module takes its parameters, in the order of `named_parameters()`; `f.parameters` has their
    values, so that all gradients are checked:

        f, vjp = from_torch(torch.nn.Linear(3, 2).double())
        check_vjp(f, vjp, x, *f.parameters)
    """
    torch = _library("torch")
    names, values = [], []
    if isinstance(fn, torch.nn.Module):
        names = [name for name, _ in fn.named_parameters()]
        values = [parameter.detach().cpu().numpy().copy() for parameter in fn.parameters()]

    def run(tensors: Sequence[Any]) -> list[Any]:
        if not isinstance(fn, torch.nn.Module):
            return _flat(fn(*tensors), torch.Tensor)
        if len(tensors) < len(names):
            raise ConfigError(
                f"the module has {len(names)} parameters, got {len(tensors)} arrays; hint: check_vjp(f, vjp, *inputs, "
                "*f.parameters)"
            )
        inputs, given = tensors[: len(tensors) - len(names)], tensors[len(tensors) - len(names) :]
        state = dict(zip(names, given, strict=True))
        dtype = next((t.dtype for t in tensors if t.is_floating_point() or t.is_complex()), None)
        for name, buffer in fn.named_buffers():  # copies: running statistics stay as they are
            state[name] = buffer.detach().cpu().to(dtype if buffer.is_floating_point() else None, copy=True)
        return _flat(torch.func.functional_call(fn, state, tuple(inputs)), torch.Tensor)

    def tensor(array: np.ndarray) -> Any:
        return torch.from_numpy(_plain(array))

    def f(*inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        with torch.no_grad():
            return tuple(y.resolve_conj().numpy() for y in run([tensor(a) for a in inputs]))

    def gradients(upstream: Sequence[np.ndarray], inputs: Sequence[np.ndarray]) -> list[Any]:
        tensors = [tensor(a).requires_grad_(a.dtype.kind == "f") for a in inputs]
        judged = zip((y for y in run(tensors) if y.is_floating_point()), upstream, strict=True)
        pairs = [(y, tensor(g)) for y, g in judged if y.requires_grad]
        leaves = [t for t in tensors if t.requires_grad]
        if not pairs:
            return [None] * len(leaves)
        found = torch.autograd.grad([y for y, _ in pairs], leaves, [g for _, g in pairs], allow_unused=True)
        return [None if g is None else g.numpy() for g in found]

    return _pair(f, gradients, values)


def from_jax(fn: Function) -> tuple[Function, Function]:
    """A function of JAX arrays; it runs with 64 bits, whatever JAX's setting is."""
    jax = _library("jax")

    def flat(*arrays: Any) -> tuple[Any, ...]:
        return tuple(map(jax.numpy.asarray, jax.tree.leaves(fn(*arrays))))

    def f(*inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        with jax.enable_x64(True):
            return tuple(np.array(y) for y in flat(*(jax.numpy.asarray(_plain(a)) for a in inputs)))

    def gradients(upstream: Sequence[np.ndarray], inputs: Sequence[np.ndarray]) -> list[Any]:
        with jax.enable_x64(True):
            results, pullback = jax.vjp(flat, *(jax.numpy.asarray(_plain(a)) for a in inputs))
            given = iter(upstream)
            found = pullback(
                tuple(
                    jax.numpy.asarray(_plain(next(given)))
                    if y.dtype.kind == "f"
                    else np.zeros(y.shape, jax.dtypes.float0)  # what a result of whole numbers has
                    for y in results
                )
            )
            return [np.array(g) for g, a in zip(found, inputs, strict=True) if a.dtype.kind == "f"]

    return _pair(f, gradients)


def from_autograd(fn: Function) -> tuple[Function, Function]:
    """A function written with `autograd.numpy`."""
    make_vjp = _library("autograd").make_vjp
    together = _library("autograd.builtins").tuple

    def f(*inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        return tuple(np.array(y) for y in _flat(fn(*map(_plain, inputs))))

    def gradients(upstream: Sequence[np.ndarray], inputs: Sequence[np.ndarray]) -> list[Any]:
        argnums = tuple(i for i, a in enumerate(inputs) if a.dtype.kind == "f")
        pullback, results = make_vjp(lambda *a: together(_flat(fn(*a))), argnums)(*map(_plain, inputs))
        given = iter(upstream)
        every = tuple(
            _plain(next(given)) if np.asarray(y).dtype.kind == "f" else np.zeros(np.shape(y)) for y in results
        )
        return [np.array(g) for g in pullback(every)]

    return _pair(f, gradients)


def from_mygrad(fn: Function) -> tuple[Function, Function]:
    """A function of MyGrad tensors.  These take no complex numbers: differences are the oracle."""
    mygrad = _library("mygrad")

    def f(*inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        if any(a.dtype.kind == "c" for a in inputs):
            raise TypeError("MyGrad takes no complex numbers")
        return tuple(np.array(y.data) for y in _flat(fn(*(mygrad.tensor(_plain(a)) for a in inputs)), mygrad.Tensor))

    def gradients(upstream: Sequence[np.ndarray], inputs: Sequence[np.ndarray]) -> list[Any]:
        tensors = [mygrad.tensor(_plain(a)) for a in inputs]
        results = [y for y in _flat(fn(*tensors), mygrad.Tensor) if y.data.dtype.kind == "f"]
        sum((y * _plain(g)).sum() for y, g in zip(results, upstream, strict=True)).backward()
        return [None if t.grad is None else np.array(t.grad) for t in tensors if t.data.dtype.kind == "f"]

    return _pair(f, gradients)


# ---------------------------------------------------------------------------------------------- what they share
def _pair(
    f: Callable[..., tuple[np.ndarray, ...]],
    gradients: Callable[[Sequence[np.ndarray], Sequence[np.ndarray]], list[Any]],
    parameters: Sequence[np.ndarray] = (),
) -> tuple[Function, Function]:
    """f and the pullback vjp(*upstream, *inputs): as many upstream gradients come first as f has had results."""
    count = 0

    def counting(*inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        nonlocal count
        results = f(*inputs)
        count = sum(y.dtype.kind in "fc" for y in results)
        return results

    def vjp(*given: np.ndarray) -> tuple[Any, ...]:
        return tuple(gradients(given[:count], given[count:]))

    counting.parameters = list(parameters)  # type: ignore[attr-defined]
    return counting, vjp


def _flat(results: Any, kind: type = object) -> list[Any]:
    """The tensors, of that kind, in nested tuples, lists and dicts; None is passed over."""
    if results is None:
        return []
    if isinstance(results, dict):
        return _flat(list(results.values()), kind)
    if isinstance(results, (tuple, list)):
        return [y for part in results for y in _flat(part, kind)]
    if not isinstance(results, kind):
        raise GradientMismatch(f"fn returns a {type(results).__name__}; expected a tensor, or a tuple of tensors")
    return [results]


def _plain(array: np.ndarray) -> np.ndarray:
    """A copy in memory that every library takes."""
    if array.dtype == np.longdouble or array.dtype == np.clongdouble:
        raise TypeError("other libraries have no long doubles")
    return np.array(array, order="C")


def _library(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        package = name.partition(".")[0]
        raise MissingDependencyError(f"{package} cannot be imported ({error}); hint: pip install {package}") from error
