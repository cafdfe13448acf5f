"""Observers: they are told of every op that runs, and help find what went wrong, what is slow and what is big.

with ma.observe(NaNLocator()):
    loss = model(x)
    loss.backward()
"""

import os
import sys
import traceback
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from types import FrameType
from typing import Any
from zlib import crc32

from minattn.autograd.backend import Array, asnumpy, device_of, is_array, xp
from minattn.autograd.faults import describe
from minattn.autograd.tensor import Tensor
from minattn.errors import GradientError, MinattnError

PACKAGE = str(Path(__file__).parents[1]) + os.sep


class Observer:
    """The protocol: four calls, each of which does nothing unless a subclass says otherwise."""

    def before_forward(self, name: str) -> None:
        """Op `name` is about to run."""

    def on_forward(self, name: str, inputs: Sequence[Tensor], output: Any) -> None:
        """Op `name` has made `output`, a tensor or a tuple of tensors, of `inputs`, tensors and arrays."""

    def before_backward(self, name: str, node: Any) -> None:
        """The pullback of op `name` is about to run; `node` is what `node_of(output)` gave after the forward call."""

    def on_backward(self, name: str, node: Any, upstream: Any, gradients: Sequence[Array | None]) -> None:
        """The pullback of op `name` has given `gradients` for its inputs.

        upstream: the gradient it was given; for an op with several outputs the list of theirs.
        """


def node_of(output: Any) -> Any:
    """The graph's node of an op's call: its output, or the node of its several outputs; None without one."""
    if not isinstance(output, tuple):
        return None if output.is_leaf else output
    return next((tensor._inputs[0] for tensor in output if not tensor.is_leaf), None)


class _ByNode:
    """A value for each node, found by identity (tensors compare by element), and forgotten when the node is."""

    def __init__(self) -> None:
        self._entries: dict[int, tuple[weakref.ref[Any], Any]] = {}

    def put(self, node: Any, value: Any) -> None:
        key = id(node)
        self._entries[key] = (weakref.ref(node, lambda _: self._entries.pop(key, None)), value)

    def get(self, node: Any, default: Any) -> Any:
        return self._entries.get(id(node), (None, default))[1]


class NotFiniteError(MinattnError, FloatingPointError):
    """A NaN or an infinity, found by the `NaNLocator`."""


class NaNLocator(Observer):
    """Stops at the first op that turns finite values into NaN or infinity, forward or backward.

    The error names the op, what it was given and the line outside minattn that called it.  Looking at every value
    costs time, and on a GPU a wait per op: it is for finding a fault, not for training.
    """

    def __init__(self) -> None:
        self._lines = _ByNode()

    def on_forward(self, name: str, inputs: Sequence[Tensor], output: Any) -> None:
        line, node = calling_line(), node_of(output)
        if node is not None:
            self._lines.put(node, line)
        for tensor in output if isinstance(output, tuple) else (output,):
            bad = _not_finite(tensor.data)
            if bad and not any(_not_finite(i.data) for i in inputs):
                given = ", ".join(describe(i.data) for i in inputs)
                raise NotFiniteError(f"{name} made {bad} out of finite inputs (given: {given}); called at {line}")

    def on_backward(self, name: str, node: Any, upstream: Any, gradients: Sequence[Array | None]) -> None:
        parts = upstream if isinstance(upstream, list) else [upstream]
        if any(_not_finite(part) for part in parts):
            return
        for position, gradient in enumerate(gradients):
            bad = None if gradient is None or isinstance(gradient, list) else _not_finite(gradient)
            if bad:
                line = self._lines.get(node, "a line that ran unobserved")
                raise NotFiniteError(
                    f"the gradient of {name} by its argument {position} has {bad} although the gradient coming in is "
                    f"finite; the forward call was at {line}"
                )


def _not_finite(array: Array) -> str | None:
    """What is not finite in `array`, for example 'NaN (3 of 12 elements)'; None if every element is finite."""
    if array.dtype.kind not in "fc":
        return None
    module = xp(array)
    nans = int(module.isnan(array).sum())
    if nans:
        return f"NaN ({nans} of {array.size} elements)"
    infinities = int(module.isinf(array).sum())
    return f"infinity ({infinities} of {array.size} elements)" if infinities else None


def calling_line() -> str:
    """'file.py:12: y = x.log()': the innermost line of the stack that is not minattn's own."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(PACKAGE):
        frame = frame.f_back
    if frame is None:
        return "an unknown line"
    summary = traceback.extract_stack(frame, limit=1)[0]
    return f"{summary.filename}:{summary.lineno}: {summary.line}"


class WriteDetector(Observer):
    """Finds writes into arrays that the graph still needs, such as `x.data[0] = 1` before `backward`.

    The version counter sees only assignments to `.data`; this compares a checksum of every op's inputs and output
    between forward and backward.  Meant for finding a fault: it reads every array twice.
    """

    def __init__(self) -> None:
        self._sums = _ByNode()

    def on_forward(self, name: str, inputs: Sequence[Tensor], output: Any) -> None:
        node, outputs = node_of(output), output if isinstance(output, tuple) else (output,)
        if node is not None:
            self._sums.put(node, [(t.data, _checksum(t.data)) for t in (*outputs, *inputs)])

    def before_backward(self, name: str, node: Any) -> None:
        for array, before in self._sums.get(node, []):
            if _checksum(array) != before:
                raise GradientError(
                    f"{name}: {describe(array)}, an input or the output of this op, was written to after the forward "
                    "pass; hint: call backward first, or work on a copy"
                )


def _checksum(array: Array) -> int:
    return crc32(asnumpy(array).tobytes())


@dataclass
class OpTime:
    """The calls and seconds of one op."""

    calls: int = 0
    forward: float = 0.0
    backward: float = 0.0


class OpTimer(Observer):
    """Adds up the time of every op, forward and backward, in seconds; `report()` is a table, slowest first.

    Host time: on a GPU the time to launch the work, not to finish it.
    """

    def __init__(self) -> None:
        self.times: dict[str, OpTime] = {}
        self._started = 0.0

    def before_forward(self, name: str) -> None:
        self._started = perf_counter()

    def on_forward(self, name: str, inputs: Sequence[Tensor], output: Any) -> None:
        entry = self.times.setdefault(name, OpTime())
        entry.calls += 1
        entry.forward += perf_counter() - self._started

    def before_backward(self, name: str, node: Any) -> None:
        self._started = perf_counter()

    def on_backward(self, name: str, node: Any, upstream: Any, gradients: Sequence[Array | None]) -> None:
        self.times.setdefault(name, OpTime()).backward += perf_counter() - self._started

    def report(self) -> str:
        """One line an op: name, calls, milliseconds forward and backward, share of the whole."""
        whole = sum(t.forward + t.backward for t in self.times.values()) or 1.0
        lines = [f"{'op':20} {'calls':>7} {'forward ms':>11} {'backward ms':>12} {'share':>6}"]
        for name, t in sorted(self.times.items(), key=lambda item: -(item[1].forward + item[1].backward)):
            share = (t.forward + t.backward) / whole
            lines.append(f"{name:20} {t.calls:7d} {t.forward * 1e3:11.2f} {t.backward * 1e3:12.2f} {share:6.1%}")
        return "\n".join(lines)


@dataclass
class MemoryReport:
    """The memory that a graph keeps alive: bytes by op, each buffer counted once, and the number of nodes."""

    nodes: int
    total: int
    by_op: dict[str, int]
    device: str

    def __str__(self) -> str:
        lines = [f"graph of {self.nodes} nodes holds {self.total / 2**20:.2f} MiB on {self.device}"]
        lines += [f"  {name:20} {size / 2**20:10.3f} MiB" for name, size in self.by_op.items()]
        return "\n".join(lines)


def memory_report(root: Tensor) -> MemoryReport:
    """The memory that the graph under `root` holds: results, and what pullbacks have saved.  Largest first."""
    found: dict[int, Any] = {id(root): root}
    stack: list[Any] = [root]
    while stack:
        for tensor in stack.pop()._inputs or ():
            if tensor is not None and id(tensor) not in found:
                found[id(tensor)] = tensor
                stack.append(tensor)

    seen: set[int] = set()
    by_op: dict[str, int] = {}

    def count(node: Any, held: Sequence[Array]) -> None:
        name = "leaf" if node._inputs is None else node._name
        by_op[name] = by_op.get(name, 0) + sum(_unseen_bytes(array, seen) for array in held)

    nodes = [node for node in found.values() if node._inputs is not None]
    for node in found.values():
        count(node, [node._data] if isinstance(node, Tensor) else [])
    for node in nodes:  # after the results, so that a result which a pullback has saved counts as a result
        count(node, _saved(node._pullback))
    ranked = dict(sorted(by_op.items(), key=lambda item: -item[1]))
    return MemoryReport(len(nodes), sum(by_op.values()), ranked, device_of(root.data))


def _saved(pullback: Any, depth: int = 3) -> list[Array]:
    """The arrays in a pullback's closure, looked for through nested functions and containers."""
    if is_array(pullback):
        return [pullback]
    if depth == 0:
        return []
    if isinstance(pullback, (tuple, list)):
        parts = list(pullback)
    else:
        parts = [cell.cell_contents for cell in getattr(pullback, "__closure__", None) or ()]
    return [array for part in parts for array in _saved(part, depth - 1)]


def _unseen_bytes(array: Array, seen: set[int]) -> int:
    """The bytes of the buffer under `array`, or 0 if it was counted before."""
    while is_array(base := getattr(array, "base", None)):
        array = base
    if id(array) in seen:
        return 0
    seen.add(id(array))
    return int(array.nbytes)
