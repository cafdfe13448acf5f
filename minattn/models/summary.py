"""A network layer by layer: output shapes, parameters and multiply-accumulates, without computing anything.

A batch of no images goes through the network.  All shapes are right, nothing is multiplied, and a network that was
built under `nn.initializers.unallocated()` stays without memory.

The multiply-accumulates (MACs) of one image are those of convolutions and linear layers, as papers count them:

    convolution             positions of its output x weights
    transposed convolution  positions of its input x weights
    linear layer            rows x weights (one row, after pooling)

Normalization, activations, pooling and sums are not counted.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from minattn.autograd import Tensor, no_grad, observe, tensor, to_device
from minattn.autograd.observers import Observer
from minattn.errors import ConfigError
from minattn.nn import BatchNorm2d, Module, Parameter

Shape = tuple[int, ...]
IMAGE = (3, 224, 224)


class Row(NamedTuple):
    """One call of a layer."""

    path: str
    kind: str  # the name of its class
    shape: Shape  # of its output, for one image
    parameters: int  # those that no row before has
    macs: int


class ParameterCounts(NamedTuple):
    """The parameters of a network by what they are."""

    weights: int
    biases: int
    batch_norm: int

    @property
    def total(self) -> int:
        """All of them."""
        return sum(self)


def summarize(network: Module, image: Shape = IMAGE, depth: int | None = None) -> list[Row]:
    """Return a row for every layer that an image (channels, height, width) passes, in the order of the calls.

    A layer is a module with no module inside it, or one that has parameters of its own beside them.  A layer that is
    called twice has two rows; its parameters are in the first.  depth: modules nested that deep are one row each, with
    the sums of all that is inside; None: every layer.

    The network runs in evaluation mode, and is then in the mode that it was in.  Raises ConfigError for a shape that is
    no image, ShapeError for one that the network cannot take.
    """
    return _rows(_calls(network, image), -1 if depth is None else depth)


def count_macs(network: Module, image: Shape = IMAGE) -> int:
    """Return the multiply-accumulates of the network for one image (channels, height, width)."""
    return _calls(network, image).total_macs


def count_parameters(network: Module) -> ParameterCounts:
    """Count weights (all that has two axes or more), scales and shifts of batch normalization, and other vectors."""
    modules = network.named_modules().values()
    batch_norm = {id(p): p for m in modules if isinstance(m, BatchNorm2d) for p in m.parameters()}
    others = [p for p in network.parameters() if id(p) not in batch_norm]
    weights = sum(p.size for p in others if p.ndim > 1)
    biases = sum(p.size for p in others if p.ndim <= 1)
    return ParameterCounts(weights, biases, sum(p.size for p in batch_norm.values()))


# ---------------------------------------------------------------------------------------------- the calls
@dataclass
class _Call:
    """A module's call: the parameters and MACs of its own ops, and the calls inside it."""

    path: str
    kind: str
    shape: Shape = ()
    parameters: int = 0
    macs: int = 0
    inside: list["_Call"] = field(default_factory=list)

    @property
    def total_parameters(self) -> int:
        return self.parameters + sum(call.total_parameters for call in self.inside)

    @property
    def total_macs(self) -> int:
        return self.macs + sum(call.total_macs for call in self.inside)


class _Ledger(Observer):
    """Counts the parameters and MACs of ops for the innermost module that is being called."""

    def __init__(self) -> None:
        self.stack = [_Call("", "")]
        self._seen: set[int] = set()

    def on_forward(self, name: str, inputs: Sequence[Tensor], output: Any) -> None:
        call = self.stack[-1]
        for value in inputs:
            if isinstance(value, Parameter) and id(value) not in self._seen:
                self._seen.add(id(value))
                call.parameters += value.size
        call.macs += _macs(name, inputs, output)


def _macs(name: str, inputs: Sequence[Tensor], output: Any) -> int:
    """The multiply-accumulates of an op for one image."""
    if name == "conv2d":
        return math.prod(output.shape[2:]) * inputs[1].size
    if name == "conv_transpose2d":
        return math.prod(inputs[0].shape[2:]) * inputs[1].size
    if name == "linear":
        return math.prod(output.shape[1:-1]) * inputs[1].size
    return 0


def _calls(network: Module, image: Shape) -> _Call:
    """The tree of calls that one image makes."""
    if len(image) != 3 or min(image) < 1:
        raise ConfigError(f"an image is (channels, height, width), got {image}; hint: three numbers above 0")
    ledger = _Ledger()
    nothing = tensor(to_device(np.zeros((0, *image), np.float32), _device(network)))
    with no_grad(), _in_evaluation(network), _followed(network, ledger), observe(ledger):
        network(nothing)
    return ledger.stack[0].inside[0]


def _rows(call: _Call, depth: int) -> list[Row]:
    if not call.inside or depth == 0:
        return [Row(call.path, call.kind, call.shape, call.total_parameters, call.total_macs)]
    own = [Row(call.path, call.kind, call.shape, call.parameters, call.macs)] if call.parameters or call.macs else []
    return own + [row for inner in call.inside for row in _rows(inner, depth - 1)]


def _device(network: Module) -> str:
    return next((parameter.device for parameter in network.parameters()), "cpu")


@contextmanager
def _in_evaluation(network: Module) -> Iterator[None]:
    """The network in evaluation mode; then each module is in the mode that it was in."""
    before = [(module, module.training) for module in network.named_modules().values()]
    network.eval()
    try:
        yield
    finally:
        for module, training in before:
            module.training = training


@contextmanager
def _followed(network: Module, ledger: _Ledger) -> Iterator[None]:
    """Every module's `forward`, on the module alone and not on its class, enters its call into the ledger."""
    modules = network.named_modules()
    try:
        for path, module in modules.items():
            vars(module)["forward"] = _entered(ledger, path, type(module).__name__, module.forward)
        yield
    finally:
        for module in modules.values():
            vars(module).pop("forward", None)  # the class has its own


def _entered(ledger: _Ledger, path: str, kind: str, forward: Callable[..., Any]) -> Callable[..., Any]:
    def entered(*args: Any, **kwargs: Any) -> Any:
        call = _Call(path, kind)
        ledger.stack[-1].inside.append(call)
        ledger.stack.append(call)
        output = forward(*args, **kwargs)
        ledger.stack.pop()
        first = output[0] if isinstance(output, tuple) else output
        call.shape = tuple(first.shape[1:])
        return output

    return entered
