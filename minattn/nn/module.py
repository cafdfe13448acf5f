"""Modules: parameters found by looking through attributes, buffers, train and eval, state in and out."""

import inspect
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self, TypeVar

import numpy as np

from minattn.autograd import Array, Tensor, asnumpy, to_device
from minattn.autograd.backend import is_array
from minattn.autograd.faults import FAULTS, describe
from minattn.errors import ConfigError, ShapeError, listed


class Parameter(Tensor):
    """A tensor that training changes: a leaf that requires a gradient."""

    __slots__ = ()

    def __init__(self, data: Array) -> None:
        super().__init__(data, requires_grad=True)


class Buffer(Tensor):
    """A tensor that belongs to a module's state and is not trained, such as a running mean."""

    __slots__ = ()


T = TypeVar("T")
UNIONS = (types.UnionType, typing.Union)


class Named(dict[str, T]):
    """What is found in a module, by attribute path: a dict whose iteration gives pairs, as PyTorch's users write it.

        for path, parameter in model.named_parameters(): ..

    Everything else is a dict's: keys(), values(), items(), model.named_parameters()["encoder.weight"], in, len.
    """

    def __iter__(self) -> Iterator[tuple[str, T]]:  # type: ignore[override]
        return iter(self.items())


class Module:
    """The base of layers and models.

    Its parameters are the `Parameter`s among its attributes and, recursively, those of modules among them; lists,
    tuples and dicts are looked through.  Names are attribute paths: "encoder.layers.0.weight".
    """

    training = True

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} has no forward")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return self.forward(*args, **kwargs)
        except FAULTS as error:
            if misfit := _misfit(self.forward, args, kwargs):
                raise ShapeError(f"{type(self).__name__}: {misfit}") from error
            raise

    # ------------------------------------------------------------------------------------------ looking inside
    def named_modules(self) -> Named["Module"]:
        """This module (named "") and every module inside it, each once, by attribute path."""
        return _named(self, Module)

    def named_parameters(self) -> Named[Parameter]:
        """Every parameter by attribute path; one that is shared appears once, under its first name."""
        return _named(self, Parameter)

    def named_buffers(self) -> Named[Buffer]:
        """Every buffer by attribute path, each once."""
        return _named(self, Buffer)

    def parameters(self) -> list[Parameter]:
        """Every parameter, each once."""
        return list(self.named_parameters().values())

    def count_parameters(self) -> int:
        """The number of elements of all parameters, shared ones counted once."""
        return sum(p.size for p in self.parameters())

    # ------------------------------------------------------------------------------------------ mode and place
    def train(self, training: bool = True) -> Self:
        """Set `training` here and in every module inside; returns the module.  Independent of `no_grad`."""
        for module in self.named_modules().values():
            module.training = training
        return self

    def eval(self) -> Self:
        """`train(False)`: dropout and the like are off."""
        return self.train(False)

    def zero_grad(self) -> None:
        """Forget the gradient of every parameter."""
        for parameter in self.parameters():
            parameter.grad = None

    def to(self, device: str) -> Self:
        """Move every parameter and buffer to `device`, in place; returns the module.  Gradients are dropped."""
        for tensor in (*self.parameters(), *self.named_buffers().values()):
            tensor.replace_data(to_device(tensor.data, device))
        return self

    # ------------------------------------------------------------------------------------------ state
    def state_dict(self) -> dict[str, np.ndarray]:
        """A copy of every parameter and buffer on the host, by name."""
        return {name: np.array(asnumpy(tensor.data)) for name, tensor in self._state().items()}

    def load_state_dict(self, state: dict[str, np.ndarray]) -> None:
        """Put the arrays of `state` in the parameters and buffers of the same names.

        Strict: raises `ShapeError` that says how many names are missing, unexpected, mis-shaped or of another kind of
        number, and which the first are, and then changes nothing.
        """
        own = self._state()
        missing = [name for name in own if name not in state]
        unexpected = [name for name in state if name not in own]
        both = [(name, state[name], own[name]) for name in own if name in state]
        shapes = [f"{name} is {a.shape}, expected {p.shape}" for name, a, p in both if tuple(a.shape) != p.shape]
        kinds = [
            f"{name} is {a.dtype}, expected {p.dtype}"
            for name, a, p in both
            if np.dtype(a.dtype).kind != np.dtype(p.dtype).kind and not (a.dtype.kind == "f" and p.dtype.kind == "c")
        ]
        found = {"missing": missing, "unexpected": unexpected, "wrong shapes": shapes, "wrong kinds of numbers": kinds}
        problems = [f"{what}: {listed(names, 100)}" for what, names in found.items() if names]
        if problems:
            raise ShapeError(
                f"this state does not fit {type(self).__name__}; {'; '.join(problems)}; hint: build the model with "
                "the sizes that the state was saved from"
            )
        arrays = {name: to_device(np.array(state[name], tensor.dtype), tensor.device) for name, tensor in own.items()}
        for name, tensor in own.items():
            tensor.data = arrays[name]

    def _state(self) -> dict[str, Tensor]:
        return _named(self, Parameter) | _named(self, Buffer)


def _misfit(forward: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str | None:
    """The first argument of a call that has not as many axes as the tensor of its annotation, in words.

    A call checks nothing that array code would find out; when that has failed, the arguments are looked at again.
    """
    signature = inspect.signature(forward)
    try:
        given = signature.bind(*args, **kwargs).arguments
    except TypeError:
        return None  # the error says it
    for name, value in given.items():
        annotation = signature.parameters[name].annotation
        kinds = typing.get_args(annotation) if typing.get_origin(annotation) in UNIONS else (annotation,)
        expected = next((kind for kind in kinds if getattr(kind, "array_type", None) is Tensor), None)
        if expected is None or (value is None and types.NoneType in kinds) or _fits(value, expected.dim_str.split()):
            continue
        axes = ", ".join(".." if axis.startswith(("*", "...")) else axis for axis in expected.dim_str.split())
        shown = describe(value.data if isinstance(value, Tensor) else value)
        return f"{name} must be a tensor ({axes}), got {shown}"
    return None


def _fits(value: Any, axes: list[str]) -> bool:
    """True for a tensor, or what can be made one, of as many axes."""
    try:
        ndim = value.ndim if isinstance(value, Tensor) or is_array(value) else np.asarray(value, float).ndim
    except (TypeError, ValueError):
        return False
    fixed = [axis for axis in axes if not axis.startswith(("*", "..."))]
    return ndim == len(axes) if len(fixed) == len(axes) else ndim >= len(fixed)


def _named(root: Module, kind: type[T]) -> Named[T]:
    """Everything of that kind under `root` by path, in the order of the attributes, each once."""
    found: Named[T] = Named()
    for path, value in _walk(root):
        if isinstance(value, kind):
            if path in found:
                raise ConfigError(f"{type(root).__name__} has two things named {path!r}; hint: rename a dict's key")
            found[path] = value
    return found


def _walk(root: Module) -> Iterator[tuple[str, Any]]:
    """(path, value) of everything under `root`, in the order of the attributes, each once."""
    seen: set[int] = set()
    stack: list[tuple[str, Any]] = [("", root)]
    while stack:
        path, value = stack.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        yield path, value
        prefix = f"{path}." if path else ""
        stack += [(f"{prefix}{name}", child) for name, child in reversed(_children(value))]


def _children(value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, Module):
        return list(vars(value).items())
    if isinstance(value, dict):
        return [(str(key), child) for key, child in value.items()]
    if isinstance(value, (list, tuple)):
        return [(str(i), child) for i, child in enumerate(value)]
    return []
